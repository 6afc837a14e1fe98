//! Group commit: shared flushes, nothing lost between two uploads of one moment.
use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use shoebox::model::hash::ContentHash;
use shoebox::model::path::RelPath;
use shoebox::store::volume::VolumeError;
use shoebox::work::ingest::{Ingest, Outcome};

use super::decorated::Call;
use super::furnished::{Furnished, offer, path, upload};

/// All files below a directory, with their content.
fn contents(dir: &std::path::Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(contents(&entry.path()));
        } else {
            found.push(fs::read(entry.path()).unwrap());
        }
    }
    found
}

#[test]
fn eight_phones_at_once_share_flushes_and_lose_nothing() {
    const PHONES: u32 = 8;
    const PHOTOS: u32 = 50;
    let (home, a, _) = Furnished::new().decorated();
    let before = a.appends.load(Ordering::SeqCst);
    let start = Barrier::new(PHONES as usize);
    std::thread::scope(|scope| {
        for phone in 0..PHONES {
            let (pool, start) = (&home.pool, &start);
            scope.spawn(move || {
                start.wait();
                for photo in 0..PHOTOS {
                    let name = format!("anna/p{phone}/{photo}.jpg");
                    let ack = upload(pool, &name, name.as_bytes()).unwrap();
                    assert_eq!((ack.outcome(), ack.node().path.as_str()), (Outcome::Created, name.as_str()));
                }
            });
        }
    });
    let appends = a.appends.load(Ordering::SeqCst) - before;
    assert!(
        appends < u64::from(PHONES * PHOTOS),
        "{appends} flushes of the manifest for {} uploads",
        PHONES * PHOTOS
    );
    eprintln!("{} uploads, {appends} flushes of the manifest", PHONES * PHOTOS);
    let home = home.restarted();
    for phone in 0..PHONES {
        for photo in 0..PHOTOS {
            let name = format!("anna/p{phone}/{photo}.jpg");
            assert_eq!(fs::read_to_string(home.at("a", &name)).unwrap(), name);
            assert_eq!(home.copy(&name, "a").unwrap().hash, ContentHash::of(name.as_bytes()));
        }
    }
}

#[test]
fn different_contents_under_one_name_at_once_are_all_kept() {
    let home = Furnished::new();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for phone in 0..8 {
            let (pool, start) = (&home.pool, &start);
            scope.spawn(move || {
                let bytes = format!("content {phone}");
                let mut incoming =
                    Ingest::new(Arc::clone(pool)).begin(offer("anna/one.jpg", bytes.len() as u64)).unwrap();
                incoming.write(bytes.as_bytes()).unwrap();
                let received = incoming.finish().unwrap();
                start.wait();
                received.settle().unwrap();
            });
        }
    });
    let kept: HashSet<Vec<u8>> = [home.mount("a").join("photos"), home.mount("a").join(".shoebox/trash")]
        .iter()
        .flat_map(|d| contents(d))
        .collect();
    let sent: HashSet<Vec<u8>> = (0..8).map(|n| format!("content {n}").into_bytes()).collect();
    assert_eq!(kept, sent);
    let named = fs::read(home.at("a", "anna/one.jpg")).unwrap();
    assert_eq!(home.copy("anna/one.jpg", "a").unwrap().hash, ContentHash::of(&named));
}

#[test]
fn folders_that_two_phones_spell_differently_at_once_are_one_folder() {
    for round in 0..10 {
        let home = Furnished::new();
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for phone in 0..8 {
                let (pool, start) = (&home.pool, &start);
                scope.spawn(move || {
                    let folder = if phone % 2 == 0 { "Album" } else { "album" };
                    let name = format!("anna/{folder}/{phone}");
                    let mut incoming = Ingest::new(Arc::clone(pool)).begin(offer(&name, 1)).unwrap();
                    incoming.write(b"x").unwrap();
                    let received = incoming.finish().unwrap();
                    start.wait();
                    received.settle().unwrap();
                });
            }
        });
        let folders: Vec<_> =
            fs::read_dir(home.at("a", "anna")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(folders.len(), 2, "round {round}: the phone's and one album: {folders:?}");
        let below = home.tree().list(&path("anna/album"), None, 100).unwrap();
        let parents: HashSet<Option<RelPath>> = below.iter().map(|n| n.path.parent()).collect();
        assert_eq!((below.len(), parents.len()), (8, 1));
    }
}

#[test]
fn a_folder_made_by_an_upload_that_failed_is_flushed_for_the_next_one() {
    let (home, a, _) = Furnished::new().decorated();
    let refused = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&refused);
    // The second of the two new folders cannot be made: the upload fails after it made the first.
    a.step_in(move |call, place| {
        let second = call == Call::MakeDir && place.as_str() == "photos/anna/new/er";
        if second && !seen.swap(true, Ordering::SeqCst) {
            return Err(VolumeError::Exists { op: "make directory", place: place.clone() });
        }
        Ok(())
    });
    assert!(upload(&home.pool, "anna/new/er/a", b"a").is_err());
    assert!(refused.load(Ordering::SeqCst) && home.at("a", "anna/new").is_dir());
    let flushed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&flushed);
    a.step_in(move |call, place| {
        if call == Call::SyncDir {
            seen.lock().unwrap().push(place.to_string());
        }
        Ok(())
    });
    upload(&home.pool, "anna/new/b", b"b").unwrap();
    let flushed = flushed.lock().unwrap();
    assert!(flushed.contains(&"photos/anna".to_owned()), "it holds the entry of the folder: {flushed:?}");
}
