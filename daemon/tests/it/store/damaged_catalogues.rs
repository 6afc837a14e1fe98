//! A catalogue that is no database any more: kept beside under a dated name, and rebuilt from the manifest.
use std::fs;
use std::path::PathBuf;

use shoebox::work::tree::Node;

use super::furnished::{Furnished, path};

/// SQLite's usual page, in bytes.
const PAGE: usize = 4096;

/// One of this size is opened before it is looked through, and so written to.
const LARGE: usize = 20 << 20;

const GARBAGE: &[u8] = b"no database ";

fn garbage(len: usize) -> Vec<u8> {
    GARBAGE.iter().copied().cycle().take(len).collect()
}

fn catalogue(home: &Furnished) -> PathBuf {
    home.mount("a").join(".shoebox/catalogue.db")
}

/// What was set aside.
fn aside(home: &Furnished) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(home.mount("a").join(".shoebox")).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    let mut found: Vec<(String, Vec<u8>)> = named
        .filter(|(name, _)| name.contains("aside"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect();
    found.sort();
    found
}

/// Everything that has a name, but for the row's number.
fn names(home: &Furnished) -> Vec<Node> {
    let (mut found, mut open) = (Vec::new(), vec![path("anna")]);
    while let Some(folder) = open.pop() {
        for node in home.tree().list(&folder, None, 100).unwrap() {
            if node.path == folder {
                continue;
            }
            open.push(node.path.clone());
            found.push(Node { id: 0, ..node });
        }
    }
    found.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
    found
}

/// Stops the box, damages its catalogue, starts it, and looks whether everything is as before.
fn survives(damage: impl FnOnce(&mut Vec<u8>), log_left: bool) {
    let mut home = Furnished::new();
    for number in 0..40 {
        home.put(&format!("anna/mac/2026/{number}.jpg"), format!("photo {number}").as_bytes());
    }
    home.rename("anna/mac/2026/7.jpg", "anna/mac/moved.jpg");
    home.mirrored();
    let (before, devices) = (names(&home), home.pool.people().unwrap());
    assert_eq!(before.iter().filter(|node| node.path.as_str().ends_with(".jpg")).count(), 40);
    let home = home.away();
    let mut bytes = fs::read(catalogue(&home)).unwrap();
    damage(&mut bytes);
    fs::write(catalogue(&home), &bytes).unwrap();
    if log_left {
        fs::write(home.mount("a").join(".shoebox/catalogue.db-wal"), garbage(100)).unwrap();
    }
    home.watch("a");
    home.watch("b");
    assert_eq!(names(&home), before);
    assert_eq!(format!("{:?}", home.pool.people().unwrap()), format!("{devices:?}"));
    let aside = aside(&home);
    // 2026-11-21T18:02:11Z, the time of the start.
    assert_eq!(aside[0].0, "catalogue.db.aside-1795284131");
    if bytes.len() < LARGE {
        assert!(aside[0].1 == bytes, "kept as it was found");
    }
    home.put("anna/mac/after.jpg", b"after");
    let home = home.restarted();
    assert_eq!(names(&home).len(), before.len() + 1);
    assert_eq!(self::aside(&home).len(), aside.len(), "the new one is sound");
}

#[test]
fn a_catalogue_of_garbage_is_set_aside_and_the_same_names_come_back() {
    survives(|bytes| *bytes = garbage(bytes.len()), false);
}

#[test]
fn half_a_catalogue_is_set_aside_and_the_same_names_come_back() {
    survives(|bytes| bytes.truncate(bytes.len() / 2), false);
}

/// After a power cut all pages are looked at: opening alone reads the first few, and these are good.
#[test]
fn a_catalogue_with_a_bad_page_is_set_aside_after_a_power_cut() {
    survives(
        |bytes| {
            let last = bytes.len() - PAGE;
            bytes.truncate(last);
            bytes.extend(garbage(PAGE));
        },
        true,
    );
}

/// A large one is not looked through before it is used: what is damaged of it shows while the drive is being opened.
#[test]
fn a_large_catalogue_whose_devices_cannot_be_read_is_set_aside_at_once() {
    for table in ["device", "drive"] {
        survives(
            |bytes| {
                let copy = tempfile::NamedTempFile::new().unwrap();
                fs::write(copy.path(), &*bytes).unwrap();
                let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
                let connection = rusqlite::Connection::open(copy.path()).unwrap();
                let root: i64 = connection.query_row(root, [table], |row| row.get(0)).unwrap();
                let at = (usize::try_from(root).unwrap() - 1) * PAGE;
                bytes[at..at + PAGE].copy_from_slice(&garbage(PAGE));
                // Room behind the last page is nothing to SQLite, and makes the file a large one.
                bytes.resize(LARGE, 0);
            },
            false,
        );
    }
}
