//! The card that the box itself runs from is full, can only be read, or breaks down: nothing but previews is on it, so everything
//! goes on, and it starts again (goals 8 and 10). The real binary, the card a real ext4.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::support::daemon::{Account, Daemon};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

const MKFS: &[&str] = &["mkfs.ext4", "-q", "-F"];
/// Stops writing at the first error, as cards are mounted.
const MKFS_CARD: &[&str] = &["mkfs.ext4", "-q", "-F", "-e", "remount-ro"];

/// What a box is made of: a card with everything but photos, what is in memory only, and two drives. Unmounted in this order.
struct Parts {
    _drives: [Mounted; 2],
    _run: Mounted,
    card: Mounted,
    at: PathBuf,
    _dir: tempfile::TempDir,
}

impl Parts {
    fn mount() -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("card");
        let image = |name: &str| dir.path().join(format!("{name}.img"));
        let place = |path: PathBuf| {
            fs::create_dir(&path).unwrap();
            path
        };
        let card = Mounted::image(&image("card"), 16, MKFS_CARD, &place(at.clone()))?;
        let run = Mounted::tmpfs(&place(at.join("run")), "size=1m")?;
        let drive = |name: &str| Mounted::image(&image(name), 64, MKFS, &place(at.join(name)));
        Ok(Self { _drives: [drive("a")?, drive("b")?], _run: run, card, at, _dir: dir })
    }

    /// A box on them; its home and its place for passing things are on the card.
    fn furnish(&self, under: &[&str]) -> (Daemon, Account) {
        let card = self.at.to_str().unwrap();
        let own = ["env", "-C", card, &format!("HOME={card}"), &format!("TMPDIR={card}")].map(str::to_owned);
        let under: Vec<&str> = under.iter().copied().chain(own.iter().map(String::as_str)).collect();
        let mut daemon = Daemon::new(&self.at, 5, &under);
        daemon.require_mount = true;
        daemon.socket = self.at.join("run/shoebox/control.sock");
        daemon.begin();
        let who = daemon.add_person("anna", "laptop", "computer");
        (daemon, who)
    }

    /// To the last byte, what is kept for root included; and what is in memory.
    fn fill(&self) {
        for dir in [self.at.clone(), self.at.join("run")] {
            let mut file = File::create(dir.join("other-hands")).unwrap();
            let piece = vec![7; 64 * 1024];
            while file.write_all(&piece).is_ok() {}
            while file.write_all(&piece[..512]).is_ok() {}
            let more =
                File::create(dir.join("x")).and_then(|mut x| x.write_all(&piece).and_then(|()| x.sync_all()));
            assert!(more.is_err(), "{} is full", dir.display());
        }
    }

    fn make_room(&self) {
        for dir in [self.at.clone(), self.at.join("run")] {
            fs::remove_file(dir.join("other-hands")).unwrap();
        }
    }

    /// What is on the card: inode, size, and when it was last changed. Without what the test itself writes there, and previews.
    fn looks(&self) -> BTreeMap<PathBuf, (u64, u64, i64)> {
        let (mut found, mut todo) = (BTreeMap::new(), vec![self.at.clone()]);
        let card = fs::metadata(&self.at).unwrap().dev();
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                let look = entry.metadata().unwrap();
                if look.dev() != card
                    || ["log", "config.toml", "x", CACHE].iter().any(|own| entry.file_name() == *own)
                {
                    continue;
                }
                if look.is_dir() {
                    todo.push(entry.path());
                }
                found.insert(entry.path(), (look.ino(), look.size(), look.ctime_nsec()));
            }
        }
        found
    }
}

/// Where the test's box keeps previews.
const CACHE: &str = "previews";
const PICTURE: &[u8] = include_bytes!("../fixtures/media/bare.jpg");

/// What a family does in a day, in names that end in `day`.
fn a_day(daemon: &mut Daemon, who: &Account, day: u64) {
    let photo = luck::bytes(day, 300_000);
    let ask = |d: &Daemon, method: &str, name: &str, more: &str, body: &[u8]| {
        d.request(who, method, &format!("/dav/{name}{day}"), more, body).status
    };
    assert_eq!(ask(daemon, "MKCOL", "trip", "", b""), 201);
    for name in ["a", "b", "c"] {
        assert_eq!(ask(daemon, "PUT", name, "", &[&photo[..], name.as_bytes()].concat()), 201);
    }
    let to = format!("Destination: /dav/trip{day}/b\r\n");
    assert_eq!(ask(daemon, "MOVE", "b", &to, b""), 201);
    assert_eq!(ask(daemon, "DELETE", "c", "", b""), 204);
    let names = [format!("anna/a{day}"), format!("anna/trip{day}/b")];
    // Previews are kept on the card; where they cannot be, they are shown all the same.
    let (name, picture) = (format!("picture{day}.jpg"), [PICTURE, &day.to_le_bytes()].concat());
    assert_eq!(daemon.request(who, "PUT", &format!("/dav/{name}"), "", &picture).status, 201);
    let preview = format!("/index.php/core/preview?file={name}&x=1000&y=1000");
    assert_eq!(daemon.request(who, "GET", &preview, "", b"").status, 200);
    daemon.until("B has them", |d| names.iter().all(|name| d.is_mirrored(name)));
    let phone = daemon.add_device("anna", &format!("phone{day}"), "phone");
    assert_eq!(daemon.request(&phone, "PUT", "/dav/p", "", b"from the phone").status, 201);
    assert_eq!(daemon.run(&["rescan"]).0, 0);
    let (code, text) = daemon.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
    for day in 1..=day {
        let reply = daemon.request(who, "GET", &format!("/dav/a{day}"), "", b"");
        assert!(reply.status == 200 && reply.body.starts_with(&luck::bytes(day, 300_000)), "day {day}");
    }
}

#[test]
fn a_full_card_and_one_that_breaks_down_concern_nobody() {
    let parts = match Parts::mount() {
        Ok(parts) => parts,
        Err(why) => return leave_out("full-card", &why),
    };
    let (mut daemon, who) = parts.furnish(&[]);
    a_day(&mut daemon, &who, 1);
    parts.fill();
    let before = parts.looks();
    a_day(&mut daemon, &who, 2);
    daemon.kill();
    daemon.start();
    a_day(&mut daemon, &who, 3);
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    daemon.start();
    a_day(&mut daemon, &who, 4);
    assert_eq!(parts.looks(), before, "nothing is made on the card, and nothing is changed");
    parts.make_room();
    a_day(&mut daemon, &who, 5);

    if let Err(why) = parts.card.break_down() {
        leave_out("broken-card", &why);
    } else {
        assert!(File::create(parts.at.join("y")).is_err(), "nobody writes to the card any more");
        a_day(&mut daemon, &who, 6);
        // What it says has nowhere to go, either.
        assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    }
    drop(daemon);
    drop(parts);
}

/// In a world of its own, in which everything but the drives and what is in memory can only be read.
const READ_ONLY: &str = "mount --make-rprivate / && for at in / /tmp \"$0\"; do \
     ! mountpoint -q \"$at\" || mount -o remount,bind,ro \"$at\" || exit 99; done && ! touch \"$0/x\" 2>/dev/null && exec \"$@\"";

#[test]
fn a_card_that_can_only_be_read_is_enough() {
    let parts = match Parts::mount() {
        Ok(parts) => parts,
        Err(why) => return leave_out("read-only-card", &why),
    };
    let under = ["unshare", "--mount", "sh", "-c", READ_ONLY, parts.at.to_str().unwrap()];
    let (mut daemon, who) = parts.furnish(&under);
    a_day(&mut daemon, &who, 1);
    daemon.kill();
    daemon.start();
    a_day(&mut daemon, &who, 2);
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    daemon.start();
    a_day(&mut daemon, &who, 3);
    drop(daemon);
    drop(parts);
}

/// Calls by which something is made or changed, as strace names them.
const CHANGING: [&str; 12] = [
    "creat(",
    "mkdir",
    "mknod",
    "rename",
    "link(",
    "linkat(",
    "symlink",
    "truncate(",
    "chmod",
    "chown",
    "utime",
    "setxattr(",
];
const FOR_WRITING: [&str; 4] = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];

/// Whether a traced call makes or changes something, or asks for a way to. Its first half, if it is traced in two: in it is the name.
fn changes_something(line: &str) -> bool {
    let call = line.split_once(' ').map_or("", |(_pid, call)| call.trim_start());
    let name = call.split_inclusive('(').next().unwrap_or_default();
    (name.starts_with("open") && FOR_WRITING.iter().any(|flag| call.contains(flag)))
        || (!call.starts_with("<...")
            && !name.contains("readlink")
            && CHANGING.iter().any(|part| name.contains(part)))
}

#[test]
fn nothing_is_opened_for_writing_but_the_drives_the_socket_and_previews() {
    let parts = match Parts::mount() {
        Ok(parts) => parts,
        Err(why) => return leave_out("what-is-written-where", &why),
    };
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return leave_out("what-is-written-where", "strace is not installed");
    }
    let trace = parts.at.with_extension("trace");
    // The daemon stays the test's own child (-D); descriptors are shown with their paths (-y).
    let line =
        ["strace", "-D", "-f", "-q", "-y", "-A", "-s", "400", "-e", "signal=none", "-e", "trace=%file"];
    let (mut daemon, who) = parts.furnish(&[&line[..], &["-o", trace.to_str().unwrap()]].concat());
    a_day(&mut daemon, &who, 1);
    daemon.kill();
    daemon.start();
    a_day(&mut daemon, &who, 2);
    let pid = daemon.pid();
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    let mut text = String::new();
    for _ in 0..200 {
        text = fs::read_to_string(&trace).unwrap();
        if text
            .lines()
            .any(|line| line.starts_with(&format!("{pid} ")) && line.ends_with("+++ exited with 0 +++"))
        {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let changing: Vec<&str> = text.lines().filter(|line| changes_something(line)).collect();
    // A descriptor's path is in angle brackets, what a call was given in quotes. The socket is named by a number and a name.
    let mut allowed = vec!["/control.sock".to_owned()];
    // Whoever draws a preview says nothing, and asks the kernel to be the first to go.
    allowed.extend(["\"/dev/null\"", "\"/proc/self/oom_score_adj\""].map(str::to_owned));
    for own in ["a", "b", "run", CACHE].map(|below| parts.at.join(below)) {
        let ways = [("<", ">"), ("<", "/"), ("\"", "\""), ("\"", "/")];
        allowed.extend(ways.map(|(before, after)| format!("{before}{}{after}", own.display())));
    }
    let elsewhere: Vec<&&str> =
        changing.iter().filter(|line| !allowed.iter().any(|at| line.contains(at))).collect();
    println!(
        "card: {} calls make or change something, {} of them elsewhere",
        changing.len(),
        elsewhere.len()
    );
    assert!(changing.len() > 100, "the trace shows nothing");
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    drop(parts);
}
