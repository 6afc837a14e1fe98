//! What other programs put on drive A while the daemon runs: seen by inotify, not by the walk of the hour.
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::daemon::Daemon;
use crate::support::listing::{hash, hashes, listing};
use crate::support::luck;
use crate::support::mounted::leave_out;

/// Goal 9: so much later a file is on B that other hands put on A. With an hour between two walks, no walk helps.
const LAG: Duration = Duration::from_secs(300);

#[test]
fn a_file_that_others_put_on_a_is_mirrored_long_before_the_next_walk() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let photos = daemon.photos();
    let mut longest = Duration::ZERO;
    let mut put = |daemon: &mut Daemon, name: &str| {
        let began = Instant::now();
        let file = photos.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, name).unwrap();
        daemon.until(&format!("B has {name}"), |d| d.is_mirrored(name));
        let copy = fs::read_to_string(daemon.dir.join("b/photos").join(name)).unwrap();
        assert_eq!(copy, name);
        longest = longest.max(began.elapsed());
    };
    // This one may be found by the walk that begins with the drive. Once it is on B that walk is over, and the next
    // begins in an hour: what follows can only be seen by inotify.
    put(&mut daemon, "anna/first/a.jpg");
    put(&mut daemon, "anna/second.jpg");
    put(&mut daemon, "anna/first/third.jpg");
    put(&mut daemon, "bob/made/just/now/fourth.jpg");
    fs::rename(photos.join("bob/made"), photos.join("anna/moved")).unwrap();
    daemon.until("B has followed", |d| d.is_mirrored("anna/moved/just/now/fourth.jpg"));
    put(&mut daemon, "anna/moved/just/fifth.jpg");
    println!("hands: on B after {:.1} s at most", longest.as_secs_f32());
    assert!(longest < LAG, "{longest:?}");
}

/// Files below a directory: which inode each is.
fn inodes(dir: &Path) -> BTreeMap<String, u64> {
    let (mut all, mut todo) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(next) = todo.pop() {
        // What goes while it is looked at is not there.
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            match fs::metadata(&path) {
                Ok(there) if there.is_dir() => todo.push(path),
                Ok(there) => drop(all.insert(name, there.ino())),
                Err(_) => {}
            }
        }
    }
    all
}

/// Bytes the daemon has written, to files of any kind.
fn written(daemon: &Daemon) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}

fn red(daemon: &Daemon) -> Vec<String> {
    let status = daemon.ask(&["status", "--json"]);
    let findings = status["findings"].as_array().unwrap();
    let red = findings.iter().filter(|f| f["light"] == "red" && f["code"] != "two-drives-one-disk");
    red.map(|f| f["sentence"].as_str().unwrap().to_owned()).collect()
}

/// Far more than the brake lets vanish: what moves does not vanish, and nobody is alarmed.
#[test]
fn a_folder_that_is_moved_by_hand_is_moved_on_b_and_not_a_byte_is_copied() {
    const FILES: usize = 120;
    const SIZE: usize = 150_000;
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let (a, b) = (daemon.photos(), daemon.dir.join("b/photos"));
    let photo = |number: usize| luck::bytes(number as u64, SIZE);
    fs::create_dir_all(a.join("anna/2026/summer/deep")).unwrap();
    for number in 0..FILES {
        let folder = ["summer", "summer/deep", "."][number % 3];
        fs::write(a.join(format!("anna/2026/{folder}/{number}.jpg")), photo(number)).unwrap();
    }
    let on_b = |d: &Daemon| fs::read_dir(d.dir.join("b/photos/anna")).is_ok() && inodes(&b).len() == FILES;
    daemon.until("B has all", on_b);
    daemon.until("all are recorded", |d| d.ask(&["drive", "list", "--json"])[1]["verified"] == FILES);
    let (before, wrote) = (inodes(&b), written(&daemon));

    // The folder to another person's, one of its folders back out of it, and every tenth file renamed.
    fs::create_dir_all(a.join("bob")).unwrap();
    fs::rename(a.join("anna/2026"), a.join("bob/from anna")).unwrap();
    fs::rename(a.join("bob/from anna/summer/deep"), a.join("anna/deep")).unwrap();
    let mut expected = BTreeMap::new();
    for (name, inode) in &before {
        let mut to =
            name.replace("anna/2026/summer/deep/", "anna/deep/").replace("anna/2026/", "bob/from anna/");
        if name.ends_with("0.jpg") {
            let renamed = to.replace("0.jpg", "0 (renamed).jpg");
            fs::rename(a.join(&to), a.join(&renamed)).unwrap();
            to = renamed;
        }
        expected.insert(to, *inode);
    }
    let mut alarms = Vec::new();
    daemon.until("B has followed", |d| {
        alarms.extend(red(d));
        inodes(&b) == expected
    });
    daemon.until("it is recorded", |d| d.ask(&["drive", "list", "--json"])[1]["verified"] == FILES);
    let wrote = written(&daemon) - wrote;
    println!(
        "{FILES} files of {} MB in all moved: {} KB written, none of it photos",
        FILES * SIZE / 1_000_000,
        wrote / 1000
    );
    assert!(wrote < (FILES * SIZE) as u64 / 3, "{wrote} bytes were written for a move");
    assert_eq!(alarms, Vec::<String>::new(), "nothing vanished");
    assert_eq!(daemon.run(&["rescan"]).0, 0);
    assert_eq!(red(&daemon), Vec::<String>::new());
    assert_eq!(fs::read_dir(daemon.dir.join("b/.shoebox/trash")).unwrap().count(), 0);
    let receipt = daemon.ask(&["receipt", "bob/from anna/2.jpg", "--json"]);
    assert_eq!(receipt["names"].as_array().map(Vec::len), Some(1), "{receipt}");
}

/// Files of B's photos, once there are as many as there should be.
fn until_on_b(daemon: &mut Daemon, files: usize) -> BTreeMap<String, String> {
    let photos = daemon.dir.join("b/photos");
    daemon.until(&format!("B has {files} files"), |_| inodes(&photos).len() >= files);
    let mut found = listing(&photos);
    found.retain(|_, hash| !hash.is_empty());
    found
}

/// A folder's watch stands only after the folder does: what is put in at once is found by looking into it (invariant I16).
#[test]
fn folders_made_and_filled_at_once_are_seen_whole() {
    const FOLDERS: usize = 50;
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let photos = daemon.photos();
    fs::create_dir_all(photos.join("anna")).unwrap();
    fs::write(photos.join("anna/first.jpg"), b"first").unwrap();
    until_on_b(&mut daemon, 1);
    let mut expected = BTreeMap::from([("anna/first.jpg".to_owned(), hash(b"first"))]);
    for folder in 0..FOLDERS {
        let deep = format!("anna/{}/{}/{folder}", folder % 5, folder % 7);
        fs::create_dir_all(photos.join(&deep)).unwrap();
        for file in 0..5 {
            let (name, bytes) = (format!("{deep}/{file}.jpg"), format!("{folder} {file}"));
            fs::write(photos.join(&name), &bytes).unwrap();
            expected.insert(name, hash(bytes.as_bytes()));
        }
    }
    assert_eq!(until_on_b(&mut daemon, 5 * FOLDERS + 1), expected);
}

/// More happens than the kernel keeps for us: everything is looked at.
#[test]
fn a_burst_that_overflows_the_queue_of_events_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let photos = daemon.photos();
    fs::create_dir_all(photos.join("anna")).unwrap();
    fs::write(photos.join("anna/first.jpg"), b"first").unwrap();
    until_on_b(&mut daemon, 1);
    let queued: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let signal = |daemon: &Daemon, signal| kill(Pid::from_raw(daemon.pid() as i32), signal).unwrap();
    // While it stands still, nobody empties the queue. Litter fills it: what comes after is never announced.
    signal(&daemon, Signal::SIGSTOP);
    for number in 0..=queued / 3 {
        let litter = photos.join(format!("anna/.tmp-{number}"));
        fs::write(&litter, b"x").unwrap();
        fs::remove_file(litter).unwrap();
    }
    let mut expected = BTreeMap::from([("anna/first.jpg".to_owned(), hash(b"first"))]);
    for number in 0..60 {
        let (name, bytes) = (format!("anna/burst {}/{number}.jpg", number % 4), number.to_string());
        fs::create_dir_all(photos.join(&name).parent().unwrap()).unwrap();
        fs::write(photos.join(&name), &bytes).unwrap();
        expected.insert(name, hash(bytes.as_bytes()));
    }
    signal(&daemon, Signal::SIGCONT);
    assert_eq!(until_on_b(&mut daemon, 61), expected);
    assert!(daemon.log().contains("lost sight of the tree (Overflow)"), "{}", daemon.log());
    // And it sees again.
    fs::write(photos.join("anna/burst 1/after.jpg"), b"after").unwrap();
    until_on_b(&mut daemon, 62);
}

/// No watch can be had at all: the walks alone find everything, within one period.
#[test]
fn without_inotify_everything_is_found_within_a_period() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"";
    let under = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"];
    if !Command::new(under[0]).args(&under[1..]).arg("true").status().is_ok_and(|s| s.success()) {
        return leave_out("without-inotify", "no user namespace of our own");
    }
    for drive in ["a", "b"] {
        fs::create_dir(dir.path().join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir.path(), 5, &under);
    daemon.walk_minutes = 1;
    daemon.begin();
    let photos = daemon.photos();
    daemon.until("people are told", |d| {
        let status = d.ask(&["status", "--json"]);
        status["findings"].as_array().unwrap().iter().any(|f| f["code"] == "watcher-lost")
    });
    let began = Instant::now();
    for number in 0..40 {
        let folder = photos.join(format!("anna/{}", number % 4));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number}.jpg")), number.to_string()).unwrap();
    }
    // Goal 9 for the period of an hour that it has by itself, with the same pauses besides: half a minute until it looks whether a
    // walk is due, the walk, and the copies.
    let within = Duration::from_secs(60 + 60);
    while inodes(&daemon.dir.join("b/photos")).len() < 40 {
        assert!(daemon.lives() && began.elapsed() < within, "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("without a watch: complete after {:.0} s, a period is 60", began.elapsed().as_secs_f64());
}

#[test]
fn a_file_is_taken_in_when_its_writer_is_done_and_a_second_writing_is_another_version() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let (photos, b) = (daemon.photos(), daemon.dir.join("b"));
    fs::create_dir_all(photos.join("anna")).unwrap();
    let film = luck::bytes(3, 1_200_000);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::create(photos.join("anna/film.mov")).unwrap();
            // Twelve pieces, each long before the second for which a file must be quiet is over.
            for piece in film.chunks(100_000) {
                file.write_all(piece).unwrap();
                std::thread::sleep(Duration::from_millis(300));
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            // Asked first: what is there now was there before the writer was done.
            let early = fs::metadata(b.join("photos/anna/film.mov")).is_ok();
            assert!(!early || done.load(Ordering::SeqCst), "a part of a file got its name on B");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    assert_eq!(until_on_b(&mut daemon, 1)["anna/film.mov"], hash(&film));
    daemon.until("it is recorded", |d| d.is_mirrored("anna/film.mov"));
    // Once more, some time later.
    std::thread::sleep(Duration::from_secs(3));
    fs::write(photos.join("anna/film.mov"), b"cut shorter").unwrap();
    daemon.until("B has the new version", |_| {
        fs::read(b.join("photos/anna/film.mov")).is_ok_and(|there| there == b"cut shorter")
    });
    assert!(hashes(&b.join(".shoebox/trash")).contains(&hash(&film)), "and keeps the old one");
}

#[test]
fn links_and_strangers_from_outside_are_files_and_what_is_no_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let photos = daemon.photos();
    fs::create_dir_all(photos.join("anna/card")).unwrap();
    fs::write(photos.join("anna/one.jpg"), b"one file").unwrap();
    until_on_b(&mut daemon, 1);
    // A second name for a photo, a folder that comes whole from elsewhere on the drive, and what is no photo at all.
    fs::hard_link(photos.join("anna/one.jpg"), photos.join("anna/two.jpg")).unwrap();
    fs::create_dir_all(daemon.dir.join("a/outside/deep")).unwrap();
    fs::write(daemon.dir.join("a/outside/deep/three.jpg"), b"three").unwrap();
    fs::rename(daemon.dir.join("a/outside"), photos.join("anna/inside")).unwrap();
    std::os::unix::fs::symlink("/etc", photos.join("anna/card/link")).unwrap();
    std::os::unix::fs::symlink(".", photos.join("anna/card/round and round")).unwrap();
    nix::unistd::mkfifo(&photos.join("anna/card/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    drop(std::os::unix::net::UnixListener::bind(photos.join("anna/card/socket")).unwrap());
    fs::write(photos.join("anna/card/four.jpg"), b"four").unwrap();
    fs::write(photos.join("anna/card/FOUR.JPG"), b"the same name to some").unwrap();

    let on_b = until_on_b(&mut daemon, 4);
    assert_eq!(on_b.len(), 4, "{on_b:?}");
    assert_eq!(on_b["anna/inside/deep/three.jpg"], hash(b"three"));
    let of_b = inodes(&daemon.dir.join("b/photos"));
    assert_eq!(of_b["anna/one.jpg"], of_b["anna/two.jpg"], "one file under two names there, too");
    let (code, text) = daemon.run(&["rescan", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["unholdable"]), (1, &5.into()), "{report}");
    daemon.until("people are told, once", |d| {
        let status = d.ask(&["status", "--json"]);
        let findings = status["findings"].as_array().unwrap();
        findings.iter().filter(|f| f["code"] == "names-unholdable").count() == 1
    });
    for name in ["link", "fifo", "socket", "four.jpg", "FOUR.JPG"] {
        assert!(fs::symlink_metadata(photos.join("anna/card").join(name)).is_ok(), "{name} is left as it is");
    }
}
