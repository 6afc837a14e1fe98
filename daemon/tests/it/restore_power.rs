//! Power goes while photos are restored, at any write or flush of the disk they are restored to: no name ever shows part of a
//! photo, what a restore said to be done is there, and run again it comes to its end (P7; I2). The real binary, real ext4, and a
//! disk that loses what was not flushed.
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::disk::{Disk, Plug};
use crate::support::listing::{hash, listing};
use crate::support::luck::{self, Luck};
use crate::support::mounted::{Mounted, leave_out};

const MKFS: &[&str] = &["mkfs.ext4", "-q", "-F"];
const DATED: u64 = 1_600_000_000;

/// A drive with photos on it, whose box is gone, and the image of an empty disk.
struct Source {
    drive: PathBuf,
    empty: PathBuf,
    /// What is to come of it, by path: content, by hash.
    all: BTreeMap<String, String>,
    _dir: tempfile::TempDir,
}

impl Source {
    fn new() -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let (drive, empty) = (dir.path().join("a"), dir.path().join("empty.img"));
        fs::create_dir(dir.path().join("empty")).unwrap();
        drop(Mounted::image(&empty, 32, MKFS, &dir.path().join("empty"))?);
        let mut daemon = Daemon::furnish(dir.path(), 5);
        let who = daemon.add_person("anna", "laptop", "computer");
        let (mut luck, mut all) = (Luck::new(3), BTreeMap::new());
        for folder in ["one", "two", "two/deep", "three"] {
            assert_eq!(daemon.request(&who, "MKCOL", &format!("/dav/{folder}"), "", b"").status, 201);
            for number in 0..8 {
                let len =
                    if luck.below(4) == 0 { 300_000 + luck.below(400_000) } else { 1 + luck.below(30_000) };
                let (name, photo) =
                    (format!("{folder}/{number}.jpg"), luck::bytes(luck.next(), len as usize));
                let more = format!("X-OC-Mtime: {DATED}\r\n");
                assert_eq!(daemon.request(&who, "PUT", &format!("/dav/{name}"), &more, &photo).status, 201);
                all.insert(format!("anna/{name}"), hash(&photo));
            }
        }
        daemon.kill();
        Ok(Self { drive, empty, all, _dir: dir })
    }

    fn restore(&self, to: &Path) -> Child {
        let mut line = Command::new(env!("CARGO_BIN_EXE_shoebox"));
        line.args(["restore", "--json", "--from"]).arg(&self.drive).arg("--to").arg(to);
        line.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// All that is there, if it is nothing but photos of the drive, each as it was.
    fn whole(&self, to: &Path) -> Result<BTreeMap<String, String>, String> {
        let mut there = listing(to);
        there.retain(|name, _| !name.ends_with('/'));
        match there.iter().find(|(name, content)| self.all.get(*name) != Some(content)) {
            Some((name, _)) => Err(format!("{name} is there, and is no photo of the drive")),
            None => Ok(there),
        }
    }
}

/// Exit code and report.
fn done(mut child: Child) -> (Option<i32>, Value) {
    let mut text = String::new();
    let _not_utf8 = child.stdout.take().unwrap().read_to_string(&mut text);
    (child.wait().unwrap().code(), serde_json::from_str(&text).unwrap_or_default())
}

/// What happens before the power goes.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// A restore is under way.
    Restore,
    /// A restore was killed, and another one came to its end.
    Killed,
    /// Other hands copied some of the photos, or all, and a restore came to its end.
    Copied,
}

/// Copies photos as `cp` does.
fn copy_by_hand(source: &Source, to: &Path, luck: &mut Luck) {
    let of = luck.below(3);
    for name in source.all.keys().filter(|_| of == 0 || luck.below(3) == 0) {
        let to = to.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(source.drive.join("photos").join(name), to).unwrap();
    }
}

/// `Ok`: whether the power went before the end. `calls`: how many a restore took at most.
fn cut(source: &Source, plug: &Plug, calls: &AtomicU64, luck: &mut Luck) -> Result<bool, String> {
    let dir = tempfile::tempdir().unwrap();
    let (image, at) = (dir.path().join("target.img"), dir.path().join("target"));
    fs::copy(&source.empty, &image).unwrap();
    fs::create_dir(&at).unwrap();
    let to = at.join("back");
    let usual = calls.load(Ordering::SeqCst);
    let before = [Before::Restore, Before::Restore, Before::Restore, Before::Killed, Before::Copied];
    let before = before[luck.below(5) as usize];
    // Until one has come to its end, nobody knows how long it is.
    let call = if usual == 0 { u64::MAX } else { 1 + luck.below(usual) };
    let when = format!("{before:?}, call {call}");

    let disk = Disk::show(&image, &dir.path().join("disk"), plug)?;
    let mounted = disk.mount(&at)?;
    disk.pull_at(u64::MAX);
    match before {
        Before::Restore => disk.pull_at(call),
        Before::Killed => {
            let mut child = source.restore(&to);
            while disk.calls() < call && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        Before::Copied => copy_by_hand(source, &to, luck),
    }
    let (code, report) = done(source.restore(&to));
    let was_cut = plug.is_pulled();
    let said = if was_cut { code.is_some_and(|code| code != 0) } else { code == Some(0) };
    if !was_cut && matches!(before, Before::Restore) {
        calls.fetch_max(disk.calls(), Ordering::SeqCst);
    }
    plug.pull();
    drop(mounted);
    disk.lose_power(luck);
    drop(disk);
    // A restore that was done when the power went at its last call says so, and rightly.
    if !said && code != Some(0) {
        return Err(format!("{when}: it ended with {code:?}: {report}"));
    }

    let _mounted = Mounted::behind(&image, &at)?;
    let there = source.whole(&to).map_err(|why| format!("{when}: {why}"))?;
    if code == Some(0) && there.len() < source.all.len() {
        return Err(format!("{when}: {} of {} are there: {report}", there.len(), source.all.len()));
    }
    let (code, report) = done(source.restore(&to));
    let there = source.whole(&to).map_err(|why| format!("{when}, once more: {why}"))?;
    if code != Some(0) || there != source.all {
        return Err(format!("{when}: once more it ended with {code:?}: {report}"));
    }
    let dated = |name: &String| fs::metadata(to.join(name)).unwrap().modified().unwrap();
    let right = UNIX_EPOCH + Duration::from_secs(DATED);
    match source.all.keys().find(|name| dated(name) != right) {
        Some(name) if !matches!(before, Before::Copied) => Err(format!("{when}: {name} lost its date")),
        Some(_) | None => Ok(was_cut),
    }
}

#[test]
fn power_goes_while_photos_are_restored() {
    let seed = luck::seed("restore-power");
    let source = match Source::new() {
        Ok(source) => source,
        Err(why) => return leave_out("power-cuts-of-restores", &why),
    };
    let times = luck::size("SHOEBOX_RESTORE_CUTS", 48);
    let (calls, next, cuts) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= times {
                        return;
                    }
                    let mut luck = Luck::new(seed.wrapping_add(number * 7919));
                    match cut(&source, &Plug::default(), &calls, &mut luck) {
                        Ok(was_cut) => drop(cuts.fetch_add(u64::from(was_cut), Ordering::SeqCst)),
                        Err(why) => {
                            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            failed.push(format!("restore-power {number}: {why}"));
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let (cuts, calls) = (cuts.into_inner(), calls.into_inner());
    println!("restore-power: {times} times, {cuts} in the middle, {} failed (calls: {calls})", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The same on disks that lie about every flush: if that goes unnoticed, the test above proves nothing.
#[test]
fn restores_to_disks_that_lie_are_caught() {
    let source = match Source::new() {
        Ok(source) => source,
        Err(why) => return leave_out("restores-to-liars", &why),
    };
    let calls = AtomicU64::new(0);
    let caught =
        (0..20).find_map(|number| cut(&source, &Plug::of_liars(), &calls, &mut Luck::new(number)).err());
    println!("restore-power: of liars: {caught:?}");
    assert!(caught.is_some(), "20 cuts on disks that lie, and all was well");
}
