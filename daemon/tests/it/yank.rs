//! A drive is pulled out in the middle of everything and plugged in again, over and over, under one daemon that goes on: nothing
//! acknowledged is lost, the other drive is not disturbed, nothing of the drive that is gone is held, and what it was given last is
//! re-read when it is back (I1, I7, I20). The real binary on real ext4.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::disk::{Disk, Plug, Remains};
use crate::support::luck::{self, Luck};
use crate::support::mounted::{Mounted, leave_out};
use crate::support::wire;

const DRIVES: [&str; 2] = ["a", "b"];
const ROLES: [&str; 2] = ["primary", "mirror"];
/// Goal 6.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// A drive that can be pulled.
struct Drive {
    name: &'static str,
    plug: Plug,
    /// Unmounted before the disk goes.
    mounted: Option<Mounted>,
    disk: Option<Disk>,
}

impl Drive {
    fn plug_in(dir: &Path, name: &'static str) -> Result<Self, String> {
        let plug = Plug::default();
        // Another place each time: the one that was pulled goes only when its last user has let go of it.
        let shown_at = tempfile::tempdir_in(dir).unwrap().keep();
        let disk = Disk::show(&dir.join(format!("{name}.img")), &shown_at, &plug)?;
        let mounted = disk.mount(&dir.join(name))?;
        Ok(Self { name, plug, mounted: Some(mounted), disk: Some(disk) })
    }

    /// Out of its socket, whatever is under way; then the system lets go of what is no longer there.
    fn pull(&mut self, luck: &mut Luck) -> Remains {
        let disk = self.disk.take().unwrap();
        self.plug.pull();
        disk.lose_power(luck);
        let remains = disk.remains();
        drop((self.mounted.take(), disk));
        remains
    }
}

/// How long it takes until the box no longer says that a drive is ready which was pulled just now.
fn noticed(daemon: &Daemon, role: &str) -> Duration {
    let began = Instant::now();
    while standing(daemon, role) == "ready" {
        assert!(began.elapsed() < NOTICED_WITHIN, "{role} is gone and nobody noticed");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

fn both_are_ready(daemon: &Daemon) -> bool {
    ROLES.iter().all(|role| standing(daemon, role) == "ready")
}

fn standing(daemon: &Daemon, role: &str) -> String {
    let (_, text) = daemon.run(&["drive", "list", "--json"]);
    let drives: Value = serde_json::from_str(&text).unwrap_or_default();
    let found = drives.as_array().and_then(|all| all.iter().find(|drive| drive["role"] == role));
    found
        .map_or_else(|| "away".to_owned(), |drive| drive["standing"]["standing"].as_str().unwrap().to_owned())
}

fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// Sends photo after photo, each until it is taken, and notes which were.
struct Clients<'s> {
    acknowledged: &'s Mutex<BTreeMap<String, u64>>,
    next: &'s AtomicU64,
    over: &'s AtomicBool,
}

/// Ends the clients, also when something else failed.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Clients<'_> {
    fn send(&self, daemon: &Daemon, who: &Account) {
        while !self.over.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let (name, body) = (format!("{number}.jpg"), photo(number));
            while !self.over.load(Ordering::SeqCst) {
                let target = format!("/dav/{name}");
                let reply = wire::request(daemon.address, &who.basic(), "PUT", &target, "", &body);
                if let Ok(reply) = reply {
                    assert!(matches!(reply.status, 201 | 204 | 503), "{name}: {}", reply.text);
                    if reply.is_success() {
                        self.acknowledged.lock().unwrap().insert(name, number);
                        break;
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn photo(number: u64) -> Vec<u8> {
    luck::bytes(number, 1 + (number as usize * 7919) % 60_000)
}

fn furnish(dir: &Path) -> Result<(Daemon, Account, Vec<Drive>), String> {
    let mut drives = Vec::new();
    for name in DRIVES {
        fs::create_dir(dir.join(name)).unwrap();
        let image = dir.join(format!("{name}.img"));
        Mounted::image(&image, 256, &["mkfs.ext4", "-q", "-F"], &dir.join(name))?.unmount()?;
        drives.push(Drive::plug_in(dir, name)?);
    }
    let mut daemon = Daemon::new(dir, 20, &[]);
    daemon.require_mount = true;
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    Ok((daemon, who, drives))
}

#[test]
fn a_drive_is_pulled_and_comes_back_again_and_again() {
    let (times, seed) = (luck::size("SHOEBOX_YANKS", 2), luck::seed("yank"));
    let mut luck = Luck::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, who, mut drives) = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("yanks", &why),
    };
    daemon.until("both are ready", both_are_ready);
    let open = descriptors(&daemon);
    let acknowledged = Mutex::new(BTreeMap::new());
    let (mut longest, mut remains) = (Duration::ZERO, Vec::new());
    for time in 0..times {
        let which = (time % 2) as usize;
        let (next, over) = (AtomicU64::new(time * 100_000), AtomicBool::new(false));
        let clients = Clients { acknowledged: &acknowledged, next: &next, over: &over };
        std::thread::scope(|scope| {
            let (daemon, who, clients, _over) = (&daemon, &who, &clients, Over(&over));
            for _ in 0..2 {
                scope.spawn(move || clients.send(daemon, who));
            }
            std::thread::sleep(Duration::from_millis(100 + luck.below(500)));
            remains.push(drives[which].pull(&mut luck));
            longest = longest.max(noticed(daemon, ROLES[which]));
            if which == 1 {
                // A goes on alone.
                let before = acknowledged.lock().unwrap().len();
                let began = Instant::now();
                while acknowledged.lock().unwrap().len() < before + 3 {
                    assert!(began.elapsed() < Duration::from_secs(30), "no upload without B");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        drives[which] = Drive::plug_in(dir.path(), drives[which].name).unwrap();
        daemon.until("it is used again", both_are_ready);
        daemon.until("nothing is left of what was pulled", |_| !remains.iter().any(Remains::are_there));
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    for (name, number) in &acknowledged {
        let reply = daemon.request(&who, "GET", &format!("/dav/{name}"), "", b"");
        assert!(reply.status == 200 && reply.body == photo(*number), "{name}: {}", reply.status);
    }
    daemon.until("B has everything", |d| {
        d.ask(&["status", "--json"])["drives"].as_array().unwrap().iter().all(|drive| drive["wanted"] == 0)
    });
    let (code, text) = daemon.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
    let held = descriptors(&daemon).saturating_sub(open);
    println!(
        "yank: {times} times, {} acknowledged, 0 lost, noticed after {:.1} s at most, {held} descriptors more",
        acknowledged.len(),
        longest.as_secs_f32()
    );
    assert!(held < 10, "{held} files of drives that are gone");
}

/// Flips a bit of a photo on a medium that is out: no date, no size and no inode says so.
fn flip(image: &Path, photo: &[u8]) {
    let raw = fs::read(image).unwrap();
    let at = 512 * raw.chunks(512).position(|sector| sector == &photo[..512]).unwrap();
    let file = fs::File::options().write(true).open(image).unwrap();
    file.write_all_at(&[raw[at] ^ 1], at as u64).unwrap();
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Nobody asks for it, and by the month's scrub the turn of a photo of today is not before it is an hour old.
#[test]
fn what_a_drive_was_given_last_is_re_read_when_it_is_back() {
    let mut luck = Luck::new(luck::seed("yank"));
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, who, mut drives) = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("tail-after-a-yank", &why),
    };
    for (which, role) in ROLES.into_iter().enumerate() {
        daemon.until("both are ready", both_are_ready);
        let (name, body) = (format!("last-{role}.jpg"), luck::bytes(which as u64, 50_000));
        assert_eq!(daemon.request(&who, "PUT", &format!("/dav/{name}"), "", &body).status, 201);
        daemon.until("B has it", |d| d.is_mirrored(&format!("anna/{name}")));
        let remains = drives[which].pull(&mut luck);
        noticed(&daemon, role);
        daemon.until("nothing is left of it", |_| !remains.are_there());
        let (image, root) =
            (dir.path().join(format!("{}.img", DRIVES[which])), dir.path().join(DRIVES[which]));
        flip(&image, &body);
        drives[which] = Drive::plug_in(dir.path(), DRIVES[which]).unwrap();
        let began = Instant::now();
        daemon.until("it is found", |_| !files_below(&root.join(".shoebox/quarantine")).is_empty());
        let on_it = root.join("photos/anna").join(&name);
        daemon.until("it is healed", |d| {
            let (_, text) = d.run(&["receipt", &format!("anna/{name}"), "--json"]);
            let receipt: Value = serde_json::from_str(&text).unwrap_or_default();
            let copies = receipt["copies"].as_array().map(Vec::as_slice).unwrap_or_default();
            copies.iter().any(|copy| copy["role"] == role && copy["state"] == "verified")
                && fs::read(&on_it).is_ok_and(|bytes| bytes == body)
        });
        println!("yank: {role}, found and healed after {:.1} s", began.elapsed().as_secs_f32());
        let [aside]: [PathBuf; 1] = files_below(&root.join(".shoebox/quarantine")).try_into().unwrap();
        let bad = fs::read(aside).unwrap();
        assert_eq!((bad.len(), bad[0] ^ body[0], bad[1..] == body[1..]), (body.len(), 1, true));
    }
}
