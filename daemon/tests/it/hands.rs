//! What other programs put on drive A while the daemon runs: seen by inotify, not by the walk of the hour.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::support::daemon::Daemon;
use crate::support::luck;

#[test]
fn a_file_that_others_put_on_a_is_mirrored_long_before_the_next_walk() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let photos = daemon.photos();
    let put = |daemon: &mut Daemon, name: &str| {
        let file = photos.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, name).unwrap();
        daemon.until(&format!("B has {name}"), |d| d.is_mirrored(name));
        let copy = fs::read_to_string(daemon.dir.join("b/photos").join(name)).unwrap();
        assert_eq!(copy, name);
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
