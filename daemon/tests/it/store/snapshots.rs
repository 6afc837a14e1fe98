//! Snapshots of the catalogue: whole, checked, on every drive, while the box is used.
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use shoebox::model::hash::ContentHash;
use shoebox::model::snapshot::Snapshot;
use shoebox::store::catalogue::snapshot::check;
use shoebox::store::volume::VolumeError;
use shoebox::work::snapshots::Snapshots;

use super::decorated::Call;
use super::furnished::{Furnished, upload};

/// The snapshots on a drive, oldest first, with their files.
pub(super) fn kept(home: &Furnished, drive: &str) -> Vec<(Snapshot, PathBuf)> {
    let Ok(entries) = fs::read_dir(home.mount(drive).join(".shoebox/snapshots")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        paths.map(|path| (path.file_name().unwrap().to_str().unwrap().parse().unwrap(), path)).collect();
    all.sort_by_key(|(snapshot, _): &(Snapshot, _)| snapshot.seq);
    all
}

fn seq(home: &Furnished) -> u64 {
    let primary = home.pool.primary().unwrap();
    primary.catalogue.read(|r| r.drive(home.id("a"))).unwrap().unwrap().position.seq
}

/// Lets a quiet day go by for the worker.
pub(super) fn a_quiet_day(home: &Furnished, worker: &mut Snapshots) {
    worker.step(&|| true).unwrap();
    home.pass(24);
    worker.step(&|| true).unwrap();
}

fn staged(home: &Furnished) -> usize {
    fs::read_dir(home.mount("a").join(".shoebox/incoming")).unwrap().count()
}

#[test]
fn a_snapshot_is_made_checked_and_carried_to_every_drive() {
    let mut home = Furnished::new();
    let mut worker = Snapshots::new(Arc::clone(&home.pool));
    home.put("anna/a.jpg", b"a photo");
    home.mirrored();
    worker.step(&|| true).unwrap();
    assert!(kept(&home, "a").is_empty(), "not in the middle of the first uploads");
    a_quiet_day(&home, &mut worker);
    let [(snapshot, path)] = kept(&home, "a").try_into().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!((snapshot.seq, snapshot.hash), (seq(&home), ContentHash::of(&bytes)));
    assert!(snapshot.is_of(home.id("a")));
    let drives = check(&path).unwrap();
    assert_eq!(drives.len(), 2);
    let [(on_b, copy)] = kept(&home, "b").try_into().unwrap();
    assert!(on_b == snapshot && fs::read(copy).unwrap() == bytes);
    assert_eq!(staged(&home), 0);
    let dates: Vec<_> = home.pool.drives().into_iter().map(|drive| drive.snapshot).collect();
    assert_eq!(dates, [Some(home.pool.now()); 2]);
    // Nothing new: no other one.
    a_quiet_day(&home, &mut worker);
    assert_eq!((kept(&home, "a").len(), kept(&home, "b").len()), (1, 1));
}

#[test]
fn three_are_kept_on_each_drive() {
    let home = Furnished::new();
    let mut worker = Snapshots::new(Arc::clone(&home.pool));
    for day in 0..5 {
        home.put(&format!("anna/{day}.jpg"), format!("photo {day}").as_bytes());
        a_quiet_day(&home, &mut worker);
    }
    for drive in ["a", "b"] {
        let all = kept(&home, drive);
        assert_eq!(all.len(), 3, "{drive}");
        assert_eq!(all[2].0.seq, seq(&home), "{drive}");
    }
}

/// Uploads go on while a copy is made, and the copy is of the moment it was begun at.
#[test]
fn uploads_do_not_wait_for_a_copy_and_are_not_half_in_it() {
    let home = Furnished::new();
    for number in 0..50 {
        home.put(&format!("anna/{number}.jpg"), format!("photo {number}").as_bytes());
    }
    let primary = home.pool.primary().unwrap();
    let before = seq(&home);
    let at_rest = primary.catalogue.at_rest().unwrap().unwrap();
    assert!(primary.catalogue.at_rest().unwrap().is_none(), "one at a time");
    let copy = home.mount("copy.db");
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 4096]);
    // More than a checkpoint's worth of pages, in the middle.
    loop {
        let read = at_rest.read_at(&mut piece, bytes.len() as u64).unwrap();
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..read]);
        for number in 0..3 {
            upload(&home.pool, &format!("anna/during/{}-{number}.jpg", bytes.len()), &piece).unwrap();
        }
    }
    primary.catalogue.checkpoint().unwrap();
    assert!(at_rest.is_whole());
    fs::write(&copy, &bytes).unwrap();
    let position = |path| check(path).unwrap().iter().find(|d| d.id == home.id("a")).unwrap().position.seq;
    assert_eq!(position(&copy), before);
    drop(at_rest);
    primary.catalogue.checkpoint().unwrap();
    assert!(seq(&home) > before + 100);
    assert_eq!(position(&home.mount("a").join(".shoebox/catalogue.db")), seq(&home));
    let at_rest = primary.catalogue.at_rest().unwrap().unwrap();
    primary.catalogue.close();
    assert!(!at_rest.is_whole(), "closing moved the log into the file");
}

#[test]
fn a_catalogue_that_fails_its_check_becomes_no_snapshot() {
    let home = Furnished::new();
    for number in 0..100 {
        home.put(&format!("anna/{number}.jpg"), format!("photo {number}").as_bytes());
    }
    let mut worker = Snapshots::new(Arc::clone(&home.pool));
    worker.step(&|| true).unwrap();
    home.pass(24);
    home.pool.primary().unwrap().catalogue.checkpoint().unwrap();
    let file = home.mount("a").join(".shoebox/catalogue.db");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0x5a);
    // In place, behind SQLite's back.
    let open = fs::File::options().write(true).open(&file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&open, &bytes[last..], last as u64).unwrap();
    assert!(worker.step(&|| true).is_err());
    assert!(kept(&home, "a").is_empty() && kept(&home, "b").is_empty());
    assert_eq!(staged(&home), 0);
}

#[test]
fn a_snapshot_that_rotted_is_not_carried_and_another_is_made() {
    let home = Furnished::new();
    let mut worker = Snapshots::new(Arc::clone(&home.pool));
    home.put("anna/a.jpg", b"a photo");
    worker.step(&|| true).unwrap();
    fs::rename(home.mount("b"), home.mount("away")).unwrap();
    home.watch("b");
    home.pass(24);
    worker.step(&|| true).unwrap();
    let [(snapshot, path)] = kept(&home, "a").try_into().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    fs::rename(home.mount("away"), home.mount("b")).unwrap();
    home.watch("b");
    worker.step(&|| true).unwrap();
    assert!(kept(&home, "b").is_empty() && kept(&home, "a").is_empty(), "{snapshot}");
    a_quiet_day(&home, &mut worker);
    assert_eq!((kept(&home, "a").len(), kept(&home, "b").len()), (1, 1));
}

/// A process that is short of descriptors, a rule of the system's, a bus that hiccups: none of them says anything about its bytes.
#[test]
fn a_snapshot_that_could_not_be_read_for_a_moment_stays_and_is_carried_later() {
    for errno in [libc::EMFILE, libc::EACCES, libc::EIO] {
        let home = Furnished::new();
        home.put("anna/a.jpg", b"a photo");
        let (home, a, b) = home.decorated();
        let mut worker = Snapshots::new(Arc::clone(&home.pool));
        // B has no place for it at first.
        b.step_in(|call, place| {
            if matches!(call, Call::Stage(_)) && place.as_str().ends_with("incoming") {
                return Err(VolumeError::Full { op: "stage", place: place.clone() });
            }
            Ok(())
        });
        a_quiet_day(&home, &mut worker);
        let [(snapshot, _)] = kept(&home, "a").try_into().unwrap();
        assert!(kept(&home, "b").is_empty());
        b.step_in(|_, _| Ok(()));
        let left = std::sync::atomic::AtomicBool::new(true);
        a.step_in(move |call, place| {
            let first = call == Call::Open
                && place.as_str().contains("/snapshots/")
                && left.swap(false, std::sync::atomic::Ordering::SeqCst);
            let source = std::io::Error::from_raw_os_error(errno);
            if first { Err(VolumeError::Io { op: "open", place: place.clone(), source }) } else { Ok(()) }
        });
        drop(worker.step(&|| true));
        assert_eq!(kept(&home, "a").len(), 1, "{errno}: nothing is proved against it");
        worker.step(&|| true).unwrap();
        let [(on_b, _)] = kept(&home, "b").try_into().unwrap();
        assert!(on_b == snapshot, "{errno}");
    }
}

/// Its bytes are those of its name, and no catalogue: it is opened and checked on each drive before it gets its name there.
#[test]
fn what_is_no_catalogue_gets_the_name_of_a_snapshot_on_no_other_drive() {
    let home = Furnished::new();
    let mut worker = Snapshots::new(Arc::clone(&home.pool));
    home.put("anna/a.jpg", b"a photo");
    a_quiet_day(&home, &mut worker);
    let [(good, path)] = kept(&home, "a").try_into().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0x5a);
    fs::remove_file(&path).unwrap();
    let bad = Snapshot { hash: ContentHash::of(&bytes), ..good };
    fs::write(path.with_file_name(bad.to_string()), &bytes).unwrap();
    fs::remove_dir_all(home.mount("b").join(".shoebox/snapshots")).unwrap();
    assert!(worker.step(&|| true).is_err());
    assert!(kept(&home, "b").is_empty(), "checked there");
    a_quiet_day(&home, &mut worker);
    assert_eq!((kept(&home, "a").len(), kept(&home, "b").len()), (1, 1), "another one is made");
    assert!(kept(&home, "a")[0].0 != bad);
}
