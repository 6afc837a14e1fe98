//! The offline drive, which is plugged in once in a while: pulled again and again while it is brought up to date, away while much
//! changed, and another box's (row 18). The real binary, real ext4, and a disk that loses what was not flushed.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::disk::{Disk, Plug};
use crate::support::listing::hash;
use crate::support::luck::{self, Luck};
use crate::support::mounted::{Mounted, leave_out};

/// Inode tables are written at once: afterwards the filesystem writes only what somebody asked for.
const MKFS: &[&str] = &["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"];

/// Photos lie in so many folders.
const FOLDERS: u64 = 5;

/// Path below `photos` to content, by hash.
type Tree = BTreeMap<String, String>;

/// The offline drive, plugged in.
struct Plugged {
    plug: Plug,
    /// Unmounted before the disk goes.
    mounted: Mounted,
    disk: Disk,
}

impl Plugged {
    fn plug_in(dir: &Path) -> Result<Self, String> {
        Self::plug_in_once_seen(dir, |_| {})
    }

    /// What is on it is looked at where the box does not know it, before it is plugged in: from then on there are copies on it that
    /// have their names and not yet their record, which the next pull may take away again.
    fn plug_in_once_seen(dir: &Path, look: impl FnOnce(&Path)) -> Result<Self, String> {
        let plug = Plug::default();
        // Another place each time: the one that was pulled goes only when its last user has let go of it.
        let (shown_at, aside) =
            (tempfile::tempdir_in(dir).unwrap().keep(), tempfile::tempdir_in(dir).unwrap());
        let disk = Disk::show(&dir.join("c.img"), &shown_at, &plug)?;
        let mounted = disk.mount_to_look_at(aside.path())?;
        look(aside.path());
        // Nobody but this test was there; but a child that another one begins at this moment holds what was open here until it has become
        // another program (fork(2), execve(2)).
        let mut tries = 0;
        while let Err(why) = mounted.unmount() {
            tries += 1;
            if tries == 50 {
                return Err(why);
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        drop(mounted);
        let mounted = disk.mount(&dir.join("c"))?;
        Ok(Self { plug, mounted, disk })
    }

    /// Out of its socket, whatever is under way. Bytes it was given since it was plugged in.
    fn pull(self, luck: &mut Luck) -> u64 {
        self.plug.pull();
        self.disk.lose_power(luck);
        let written = self.disk.written();
        drop(self.mounted);
        written
    }
}

struct Box {
    daemon: Daemon,
    who: Account,
    _mounted: [Mounted; 2],
}

/// A, B, and an image for the offline drive, which is not plugged in.
fn furnish(dir: &Path, more: &str) -> Result<Box, String> {
    let image = |drive: &str| {
        fs::create_dir(dir.join(drive)).unwrap();
        Mounted::image(&dir.join(format!("{drive}.img")), 512, MKFS, &dir.join(drive))
    };
    let (a, b) = (image("a")?, image("b")?);
    image("c")?.unmount()?;
    let mut daemon = Daemon::new(dir, 20, &[]);
    daemon.require_mount = true;
    daemon.more = more.to_owned();
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    for folder in 0..FOLDERS {
        assert_eq!(daemon.request(&who, "MKCOL", &format!("/dav/{folder}"), "", b"").status, 201);
    }
    Ok(Box { daemon, who, _mounted: [a, b] })
}

fn adopt(daemon: &Daemon) {
    let mount = daemon.dir.join("c");
    let adopted = daemon.run(&["drive", "adopt", mount.to_str().unwrap(), "--role", "offline"]);
    assert_eq!(adopted.0, 0, "{adopted:?}");
}

/// What the box says of the drive at `c`.
fn view(daemon: &Daemon) -> Value {
    let mount = daemon.dir.join("c");
    let drives = daemon.ask(&["drive", "list", "--json"]);
    drives.as_array().unwrap().iter().find(|d| d["mount"] == mount.to_str().unwrap()).cloned().unwrap()
}

fn may_be_unplugged(daemon: &Daemon) -> bool {
    view(daemon)["unplugging"]["may"] == true
}

fn photo(number: u64) -> Vec<u8> {
    // A film now and then.
    let len = if number % 23 == 7 { 1 << 20 } else { 1 + (number as usize * 7919) % 90_000 };
    luck::bytes(number, len)
}

fn put(daemon: &Daemon, who: &Account, name: &str, body: &[u8]) {
    let reply = daemon.request(who, "PUT", &format!("/dav/{name}"), "", body);
    assert!(reply.is_success(), "{name}, though A is there all the time: {}\n{}", reply.text, daemon.log());
}

/// Photos on a drive: their inodes, content and names, none of them half.
fn photos(drive: &Path) -> BTreeMap<String, (u64, String)> {
    let (mut found, mut todo) = (BTreeMap::new(), vec![drive.join("photos")]);
    while let Some(folder) = todo.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let name = path.strip_prefix(drive.join("photos")).unwrap().to_str().unwrap().to_owned();
            let (about, bytes) = (fs::metadata(&path).unwrap(), fs::read(&path).unwrap());
            found.insert(name, (about.ino(), hash(&bytes)));
        }
    }
    found
}

fn tree(drive: &Path) -> Tree {
    photos(drive).into_iter().map(|(name, (_, hash))| (name, hash)).collect()
}

/// What the drive's own record says that it was given, in its order.
fn stored(drive: &Path) -> Vec<(String, String)> {
    let mut months: Vec<PathBuf> =
        fs::read_dir(drive.join(".shoebox/manifest")).unwrap().map(|entry| entry.unwrap().path()).collect();
    months.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    months.sort();
    let mut found = Vec::new();
    for line in months
        .iter()
        .flat_map(|month| fs::read_to_string(month).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
    {
        // A line ends with its sum; what is before it is JSON.
        let end = line.rfind('}').unwrap();
        let event: Value = serde_json::from_str(&line[..=end]).unwrap();
        if event["event"] == "stored" {
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            found.push((text("path"), text("hash")));
        }
    }
    found
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let all = entries.map(|entry| entry.unwrap().path());
    all.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Sends photo after photo until it is over, and notes which were taken.
#[derive(Default)]
struct Uploads {
    taken: Mutex<Tree>,
    bytes: AtomicU64,
    over: AtomicBool,
    next: AtomicU64,
}

impl Uploads {
    fn send(&self, daemon: &Daemon, who: &Account) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let (name, body) = (format!("{}/{number}.jpg", number % FOLDERS), photo(number));
        put(daemon, who, &name, &body);
        self.bytes.fetch_add(body.len() as u64, Ordering::SeqCst);
        self.taken.lock().unwrap().insert(format!("anna/{name}"), hash(&body));
    }

    fn go_on(&self, daemon: &Daemon, who: &Account) {
        while !self.over.load(Ordering::SeqCst) {
            self.send(daemon, who);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Ends the uploads, also when something else failed.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What is on the drive before it is plugged in again: nothing half, and nothing that was there before was made once more.
fn check(before: &mut BTreeMap<String, (u64, String)>, taken: &Tree, drive: &Path) {
    let now = photos(drive);
    let about = |name: &String| {
        let aside = files_below(&drive.join(".shoebox"));
        let record = files_below(&drive.join(".shoebox/manifest"))
            .into_iter()
            .map(|file| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned());
        let lines: Vec<String> = record
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| line.contains(name.as_str()))
            .collect();
        let file = Path::new(name).file_name();
        let aside: Vec<_> = aside.iter().filter(|path| path.file_name() == file).collect();
        let (then, now, sent) = (before.get(name), now.get(name), taken.get(name));
        format!(
            "{name}: before {then:?}, now {now:?}, sent {sent:?}; in its record {lines:?}; aside {aside:?}"
        )
    };
    for (name, (inode, content)) in &now {
        // What was on its way when the lock was taken is looked at the next time.
        if let Some(sent) = taken.get(name) {
            assert_eq!(content, sent, "not what was sent: {}", about(name));
        }
        if let Some((then, _)) = before.get(name) {
            assert_eq!(then, inode, "copied twice: {}", about(name));
        }
    }
    for name in before.keys() {
        assert!(now.contains_key(name), "was there and is gone: {}", about(name));
    }
    *before = now;
}

/// The one before the drive is pulled in the middle of being brought up to date: photos are sent until it is.
fn until_it_is_pulled(daemon: &Daemon, plugged: &Plugged, uploads: &Uploads, who: &Account) {
    let began = Instant::now();
    while !plugged.plug.is_pulled() {
        assert!(began.elapsed() < Duration::from_secs(120), "nothing is written to it:\n{}", daemon.log());
        uploads.send(daemon, who);
        let all: Vec<String> = uploads.taken.lock().unwrap().keys().cloned().collect();
        let may = may_be_unplugged(daemon);
        let lacking = all.iter().find(|name| !daemon.dir.join("c/photos").join(name).exists());
        let early = may && lacking.is_some() && !plugged.plug.is_pulled();
        assert!(!early, "said too early: {lacking:?}\n{:#}\n{}", view(daemon), daemon.log());
    }
}

#[test]
fn it_is_pulled_again_and_again_and_then_has_everything_once() {
    let (pulls, seed) = (luck::size("SHOEBOX_PULLS", 20), luck::seed("offline"));
    let mut luck = Luck::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("c");
    let Box { mut daemon, who, _mounted } = match furnish(dir.path(), "") {
        Ok(all) => all,
        Err(why) => return leave_out("offline-drive-pulled", &why),
    };
    let uploads = Uploads::default();
    for _ in 0..40 {
        uploads.send(&daemon, &who);
    }
    let plugged = Plugged::plug_in(dir.path()).unwrap();
    adopt(&daemon);
    let (mut written, mut before) = (0, BTreeMap::new());
    let plugged = std::thread::scope(|scope| {
        let mut plugged = plugged;
        let (lent, uploads, who, _over) = (&daemon, &uploads, &who, Over(&uploads.over));
        scope.spawn(move || uploads.go_on(lent, who));
        for _ in 0..pulls {
            plugged.disk.pull_at(1 + luck.below(250));
            until_it_is_pulled(lent, &plugged, uploads, who);
            written += plugged.pull(&mut luck);
            let look = |aside: &Path| check(&mut before, &uploads.taken.lock().unwrap(), aside);
            plugged = Plugged::plug_in_once_seen(dir.path(), look).unwrap();
        }
        plugged
    });
    daemon.until("it may be unplugged", may_be_unplugged);
    assert!(daemon.run(&["status"]).1.contains("may be unplugged"), "{}", daemon.run(&["status"]).1);
    // At this very moment: what was never flushed is lost.
    let state = plugged.disk.state();
    written += plugged.pull(&mut luck);
    let taken = uploads.taken.into_inner().unwrap();
    let look = |aside: &Path| check(&mut before, &taken, aside);
    let _again = Plugged::plug_in_once_seen(dir.path(), look).unwrap();
    let there = tree(&at);
    let lacking: Vec<&String> = taken.keys().filter(|name| !there.contains_key(*name)).collect();
    let strange: Vec<&String> = there.keys().filter(|name| !taken.contains_key(*name)).collect();
    assert!(there == taken, "pulled after {state}: it lacks {lacking:?}, and has {strange:?} besides");
    let (lines, once): (Vec<_>, BTreeSet<_>) = (stored(&at), stored(&at).into_iter().collect());
    assert_eq!((lines.len(), once.len()), (taken.len(), taken.len()), "each was recorded once");
    let aside = ["trash", "quarantine"].map(|place| files_below(&at.join(".shoebox").join(place)));
    assert!(aside.iter().all(Vec::is_empty), "{aside:?}");
    assert_eq!(listed(&at), taken.len(), "its lists name every photo, and sha256sum agrees");
    daemon.until("it is used again, and all of it reads back", |d| {
        let (code, text) = d.run(&["verify", "--drive", "offline"]);
        code == 0 && text.starts_with(&format!("{} copies read back equal", taken.len()))
    });
    let sent = uploads.bytes.load(Ordering::SeqCst);
    println!(
        "offline: pulled {pulls} times while it was brought up to date, {} photos of {} MiB, {} MiB written, 0 half, 0 twice",
        taken.len(),
        sent >> 20,
        written >> 20,
    );
    assert!(written < 2 * sent, "{written} bytes were written to it");
}

/// How many photos its lists name, all of which `sha256sum` finds to be what they should.
fn listed(drive: &Path) -> usize {
    let mut many = 0;
    for list in files_below(&drive.join(".shoebox/manifest")) {
        if list.extension().is_some_and(|ending| ending == "sha256") {
            let done = Command::new("sha256sum")
                .args(["-c", "--quiet"])
                .arg(&list)
                .current_dir(drive)
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
            many += fs::read_to_string(&list).unwrap().lines().count();
        }
    }
    many
}

#[test]
fn an_old_one_gets_only_the_difference() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("c");
    let Box { mut daemon, who, _mounted } = match furnish(dir.path(), "[mirror]\ndelete_delay_hours = 0\n") {
        Ok(all) => all,
        Err(why) => return leave_out("offline-drive-old", &why),
    };
    let name = |number: u64| format!("{}/{number}.jpg", number % FOLDERS);
    for number in 0..30 {
        put(&daemon, &who, &name(number), &photo(number));
    }
    let mounted = Mounted::behind(&dir.path().join("c.img"), &at).unwrap();
    adopt(&daemon);
    daemon.until("it may be unplugged", may_be_unplugged);
    assert_eq!(daemon.run(&["drive", "eject", "offline"]).0, 0);
    let before = photos(&at);
    // What a person's own program left of a copy that was broken off, under a name that comes later.
    fs::write(at.join("photos/anna/1/new-1.jpg"), &photo(101)[..photo(101).len() / 2]).unwrap();
    mounted.unmount().unwrap();
    daemon.until("it is seen to be away", |d| view(d)["standing"]["standing"] == "absent");
    assert_eq!(view(&daemon)["unplugging"], Value::Null);

    for number in 0..3 {
        assert!(daemon.request(&who, "DELETE", &format!("/dav/{}", name(number)), "", b"").is_success());
        put(&daemon, &who, &name(10 + number), &photo(200 + number));
        let to = format!("Destination: /dav/{}/moved-{number}.jpg\r\n", (number + 2) % FOLDERS);
        assert!(daemon.request(&who, "MOVE", &format!("/dav/{}", name(20 + number)), &to, b"").is_success());
        put(&daemon, &who, &format!("{number}/new-{number}.jpg"), &photo(100 + number));
    }
    mounted.mount_again();
    daemon.until("it may be unplugged", may_be_unplugged);
    daemon.until("what was deleted left it", |d| view(d)["leaving"] == 0);
    let (now, on_a) = (photos(&at), tree(&dir.path().join("a")));
    assert_eq!(tree(&at), on_a);
    assert_eq!(stored(&at).len(), 30 + 3 + 3, "what was replaced, and what is new");
    for number in (3..10).chain(13..20).chain(23..30) {
        let name = format!("anna/{}", name(number));
        assert_eq!(now[&name], before[&name], "{name} was left where it was");
    }
    for number in 0..3 {
        let (was, is) = (
            format!("anna/{}", name(20 + number)),
            format!("anna/{}/moved-{number}.jpg", (number + 2) % FOLDERS),
        );
        assert_eq!(now[&is], before[&was], "{was} was moved, and not copied");
    }
    let mut trash: Vec<String> =
        files_below(&at.join(".shoebox/trash")).iter().map(|path| hash(&fs::read(path).unwrap())).collect();
    let half = hash(&photo(101)[..photo(101).len() / 2]);
    let mut gone: Vec<String> = [0, 1, 2, 10, 11, 12].map(|number| hash(&photo(number))).into();
    gone.push(half);
    trash.sort();
    gone.sort();
    assert_eq!(trash, gone, "deleted, replaced, and the half one: nothing is lost");
    let (code, text) = daemon.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn another_boxes_is_left_alone_byte_for_byte() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut home, mut other) = match (furnish(ours.path(), ""), furnish(theirs.path(), "")) {
        (Ok(home), Ok(other)) => (home, other),
        (Err(why), _) | (_, Err(why)) => return leave_out("offline-drive-of-another-box", &why),
    };
    let image = theirs.path().join("c.img");
    // Without a journal: what is in it is written to its place some time after it was flushed, and that is no change.
    let mkfs = [MKFS, &["-O", "^has_journal"]].concat();
    let mounted = Mounted::existing_image(&image, &mkfs, &theirs.path().join("c")).unwrap();
    adopt(&other.daemon);
    put(&other.daemon, &other.who, "theirs.jpg", &photo(1));
    other.daemon.until("it has it", may_be_unplugged);
    assert_eq!(other.daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
    mounted.unmount().unwrap();

    let at = ours.path().join("c");
    let _mounted = Mounted::behind(&image, &at).unwrap();
    // Looking at it changes dates of access, once.
    let there = files_below(&at).iter().map(|path| fs::read(path).unwrap().len()).sum::<usize>();
    assert!(there > 0);
    let written = || {
        assert!(Command::new("sync").arg("-f").arg(&at).status().unwrap().success());
        hash(&fs::read(&image).unwrap())
    };
    let before = written();
    for restart in [false, true] {
        if restart {
            home.daemon.kill();
            home.daemon.spawn();
            home.daemon.until_it_answers();
        }
        home.daemon.until("it is seen to be another's", |d| view(d)["standing"]["standing"] == "foreign");
        assert_eq!(view(&home.daemon)["unplugging"], Value::Null);
        home.daemon.until("A takes photos", |d| {
            matches!(d.request(&home.who, "PUT", "/dav/ours.jpg", "", b"private").status, 201 | 204)
        });
        home.daemon.until("B has it", |d| d.is_mirrored("anna/ours.jpg"));
        for role in ["offline", "mirror", "primary"] {
            assert_eq!(
                home.daemon.run(&["drive", "adopt", at.to_str().unwrap(), "--role", role]).0,
                1,
                "{role}"
            );
        }
        assert_eq!(home.daemon.run(&["rescan"]).0, 0);
        assert_eq!(home.daemon.run(&["verify"]).0, 0);
        assert_eq!(written(), before, "not a byte of it changed");
    }
}

#[test]
fn a_broken_one_keeps_drive_b_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Box { mut daemon, who, _mounted } = match furnish(dir.path(), "") {
        Ok(all) => all,
        Err(why) => return leave_out("offline-drive-broken", &why),
    };
    let plugged = Plugged::plug_in(dir.path()).unwrap();
    adopt(&daemon);
    daemon.until("it may be unplugged", may_be_unplugged);
    // It answers nothing but errors, and nobody unplugs it.
    plugged.plug.pull();
    let began = Instant::now();
    for number in 0..12 {
        let name = format!("{number}.jpg");
        put(&daemon, &who, &name, &photo(number));
        daemon.until("B has it", |d| d.is_mirrored(&format!("anna/{name}")));
        std::thread::sleep(Duration::from_millis(250));
    }
    assert_ne!(view(&daemon)["unplugging"]["may"], true);
    // A pause after every failure, of 1, 2, 4, 8, 16 and 32 s, would be more than a minute by now.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn one_that_gets_nothing_though_it_answers_is_told_of_while_drive_b_works() {
    let dir = tempfile::tempdir().unwrap();
    let Box { mut daemon, who, _mounted } = match furnish(dir.path(), "") {
        Ok(all) => all,
        Err(why) => return leave_out("offline-drive-failing", &why),
    };
    let _plugged = Plugged::plug_in(dir.path()).unwrap();
    adopt(&daemon);
    put(&daemon, &who, "before.jpg", &photo(1));
    daemon.until("it may be unplugged", may_be_unplugged);
    let protect = |how: &str| {
        let folder = dir.path().join("c/photos/anna");
        assert!(Command::new("chattr").arg(how).arg(folder).status().unwrap().success());
    };
    // Nothing speaks against the drive, and nothing new gets its name there.
    protect("+i");
    put(&daemon, &who, "during.jpg", &photo(2));
    let told = |daemon: &Daemon| {
        let health = daemon.request(&who, "GET", "/health", "", b"");
        let health: Value = serde_json::from_slice(&health.body).unwrap();
        let all = health["findings"].as_array().unwrap().clone();
        assert!(
            !all.iter().any(|f| f["code"] == "worker-failing" || f["code"] == "drive-suspect"),
            "{all:?}"
        );
        all.into_iter().find(|f| f["code"] == "copies-failing")
    };
    daemon.until("it is told", |d| told(d).is_some());
    let finding = told(&daemon).unwrap();
    assert_eq!(finding["light"], "amber");
    let sentence = finding["sentence"].as_str().unwrap();
    assert!(sentence.contains("does not get its copies") && !sentence.contains("during"), "{sentence}");
    daemon.until("B has it", |d| d.is_mirrored("anna/during.jpg"));
    assert!(!may_be_unplugged(&daemon));
    protect("-i");
    daemon.until("it has everything", may_be_unplugged);
    daemon.until("no more is said of it", |d| told(d).is_none());
}
