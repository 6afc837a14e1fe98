//! The scrub in the real binary: a month passes, and nobody calls `verify`. What rotted on A and on B is found and healed, and a
//! scrub that is killed goes on where it was (P4; I12 to I14, I17, I19). Under libfaketime, on real filesystems.
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::clock;
use crate::support::daemon::{Account, Daemon};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

pub(crate) const DAY: i64 = 24 * 3600;
/// The scrub looks for work every minute by itself.
const PATIENCE: Duration = Duration::from_secs(200);

/// A box on two images, whose clock is what a file says.
pub(crate) struct Box {
    pub(crate) daemon: Daemon,
    pub(crate) who: Account,
    _mounted: [Mounted; 2],
}

pub(crate) fn furnish(dir: &Path, mib: u64) -> Result<Box, String> {
    let mount = |drive: &str| {
        fs::create_dir(dir.join(drive)).unwrap();
        Mounted::image(&dir.join(format!("{drive}.img")), mib, &["mkfs.ext4", "-q", "-F"], &dir.join(drive))
    };
    let mounted = [mount("a")?, mount("b")?];
    let under = clock::under(&dir.join("clock")).ok_or_else(|| "no libfaketime".to_owned())?;
    let mut daemon = Daemon::new(dir, 20, &under.iter().map(String::as_str).collect::<Vec<_>>());
    daemon.require_mount = true;
    fs::write(dir.join("clock"), "+0\n").unwrap();
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    Ok(Box { daemon, who, _mounted: mounted })
}

impl Box {
    /// So many seconds later than it is, or earlier.
    pub(crate) fn later(&self, seconds: i64) {
        fs::write(self.daemon.dir.join("clock"), format!("{seconds:+}\n")).unwrap();
    }

    /// Stopped, and started again when it is later.
    fn restart_later(&mut self, seconds: i64) {
        assert_eq!(self.daemon.end(Signal::SIGTERM), Some(0));
        self.later(seconds);
        self.daemon.start();
    }

    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) {
        let reply = self.daemon.request(&self.who, "PUT", &format!("/dav/{name}"), "", bytes);
        assert_eq!(reply.status, 201, "{name}: {}", reply.text);
    }

    /// What is told of the drives, A first.
    fn drives(&self) -> [Value; 2] {
        let drives = self.daemon.ask(&["drive", "list", "--json"]);
        ["primary", "mirror"].map(|role| {
            let all = drives.as_array().unwrap();
            all.iter().find(|drive| drive["role"] == role).cloned().unwrap_or_default()
        })
    }

    /// Copies that are due on A and on B.
    fn due(&self) -> [u64; 2] {
        self.drives().map(|drive| drive["reread"]["due"].as_u64().unwrap_or(u64::MAX))
    }

    fn until(&mut self, what: &str, mut there: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !there(self) {
            assert!(began.elapsed() < PATIENCE, "never {what}: {:?}\n{}", self.drives(), self.daemon.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn all_verified(&mut self, copies: u64) {
        self.until("all is read back", |all| {
            all.drives().iter().all(|drive| drive["verified"] == copies && drive["reread"]["due"] == 0)
        });
    }

    /// The lines of a drive's record of this kind.
    fn recorded(&self, drive: &str, what: &str) -> Vec<String> {
        let dir = self.daemon.dir.join(drive).join(".shoebox/manifest");
        let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let text: String = files
            .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        text.lines().filter(|line| line.contains(&format!("\"{what}\""))).map(str::to_owned).collect()
    }
}

/// Flips a bit of these bytes on a medium, behind the filesystem's back.
pub(crate) fn flip(image: &Path, bytes: &[u8]) {
    let raw = fs::read(image).unwrap();
    let at = raw.windows(64).position(|window| window == &bytes[1000..1064]).unwrap();
    let file = File::options().write(true).open(image).unwrap();
    file.write_all_at(&[raw[at] ^ 1], at as u64).unwrap();
}

#[test]
fn what_rots_within_a_month_is_found_and_healed_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), 64) {
        Ok(all) => all,
        Err(why) => return leave_out("the-scrub-heals-by-itself", &why),
    };
    let photos: Vec<Vec<u8>> = (0..4).map(|n| luck::bytes(n, 300_000)).collect();
    for (n, photo) in photos.iter().enumerate() {
        all.put(&format!("{n}.jpg"), photo);
    }
    // A's copies are proved when they were there for a while.
    all.restart_later(3600);
    all.all_verified(4);
    assert_eq!(all.drives().map(|drive| drive["reread"]["late"].clone()), [Value::Bool(false), false.into()]);
    flip(&dir.path().join("a.img"), &photos[1]);
    flip(&dir.path().join("b.img"), &photos[2]);
    all.later(26 * DAY);
    all.until("both are found and healed", |all| {
        ["a", "b"].iter().all(|drive| !all.recorded(drive, "quarantined").is_empty()) && all.due() == [0, 0]
    });
    all.all_verified(4);
    for (drive, bad) in [("a", 1), ("b", 2)] {
        let name = format!("anna/{bad}.jpg");
        for what in ["damaged", "quarantined"] {
            let lines = all.recorded(drive, what);
            assert!(lines.len() == 1 && lines[0].contains(&name), "{drive}: {lines:?}");
        }
        let root = dir.path().join(drive);
        for (n, photo) in photos.iter().enumerate() {
            assert!(fs::read(root.join(format!("photos/anna/{n}.jpg"))).unwrap() == *photo, "{n} on {drive}");
        }
        let aside = files_below(&root.join(".shoebox/quarantine"));
        let differing = |bytes: &[u8]| bytes.iter().zip(&photos[bad]).filter(|(a, b)| a != b).count();
        assert_eq!(
            aside.iter().map(|bytes| (bytes.len(), differing(bytes))).collect::<Vec<_>>(),
            [(300_000, 1)]
        );
    }
    let long_ago = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(25 * 24);
    for n in 0..4 {
        let receipt = all.daemon.ask(&["receipt", &format!("anna/{n}.jpg"), "--json"]);
        for copy in receipt["copies"].as_array().unwrap() {
            let read: jiff::Timestamp = copy["reread_at"].as_str().unwrap().parse().unwrap();
            assert!(copy["state"] == "verified" && read > long_ago, "{n}: {receipt}");
        }
        assert_eq!(receipt["safe_to_delete"], true, "{n}: {receipt}");
    }
    let findings = all.daemon.ask(&["status", "--json"])["findings"].clone();
    let of_copies = |f: &&Value| f["code"] == "copies-damaged" || f["code"] == "reread-overdue";
    assert_eq!(findings.as_array().unwrap().iter().filter(of_copies).count(), 0, "{findings}");
}

fn files_below(dir: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![fs::read(path).unwrap()] })
        .collect()
}

/// Bytes that the process had read from block devices.
fn read_from_media(daemon: &Daemon) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_scrub_that_is_killed_goes_on_where_it_was() {
    const COPIES: u64 = 500;
    const SIZE: u64 = 200_000;
    /// Proofs that are recorded together; what was read of such a batch is read again.
    const BATCH: u64 = 64;
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), 512) {
        Ok(all) => all,
        Err(why) => return leave_out("a-killed-scrub-goes-on", &why),
    };
    for n in 0..COPIES {
        all.put(&format!("{n}.jpg"), &luck::bytes(n, SIZE as usize));
    }
    all.restart_later(3600);
    all.all_verified(COPIES);
    all.restart_later(26 * DAY);
    let (mut read, mut due, mut kills) = (0, [COPIES; 2], 0);
    while kills < 3 {
        let before = due;
        // Read first and asked then: what is counted as done was not read later.
        let mut so_far = 0;
        all.until("some were re-read", |all| {
            so_far = read_from_media(&all.daemon);
            due = all.due();
            (0..2).all(|drive| due[drive] < before[drive])
        });
        so_far = so_far.max(read_from_media(&all.daemon));
        all.daemon.kill();
        (read, kills) = (read + so_far, kills + 1);
        if due == [0, 0] {
            break;
        }
        all.daemon.start();
    }
    assert!(kills >= 2, "killed in the middle");
    if due == [0, 0] {
        all.daemon.start();
    }
    all.all_verified(COPIES);
    read += read_from_media(&all.daemon);
    let needed = 2 * COPIES * SIZE;
    // And the catalogue, the record, folders.
    let again = kills * 2 * BATCH * SIZE + (8 << 20);
    println!("scrubbing: killed {kills} times, {read} bytes read for {needed}");
    assert!(read >= needed * 9 / 10 && read <= needed + again, "{read} read, {needed} needed");
}
