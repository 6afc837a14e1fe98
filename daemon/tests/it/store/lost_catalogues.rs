//! A catalogue that is lost, cut, flipped, old, or another box's, at rest or in the middle of use: found out, and made anew with the same
//! names, people and copies (invariants I8, I9).
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use shoebox::store::catalogue::Doubt;
use shoebox::work::snapshots::Snapshots;
use shoebox::work::tree::Node;

use super::furnished::{Furnished, path, upload};
use super::snapshots::{a_quiet_day, kept};
use crate::support::luck::{self, Luck};

/// What must be the same afterwards.
#[derive(Debug, PartialEq)]
struct Known {
    names: Vec<(String, String)>,
    dates: Vec<String>,
    people: String,
    copies: Vec<String>,
}

fn catalogue(home: &Furnished) -> PathBuf {
    home.mount("a").join(".shoebox/catalogue.db")
}

fn asides(home: &Furnished) -> usize {
    let entries = fs::read_dir(home.mount("a").join(".shoebox")).unwrap();
    entries
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains(".db.aside"))
        .count()
}

fn known(home: &Furnished) -> Known {
    let (mut nodes, mut open): (Vec<Node>, _) = (Vec::new(), vec![path("anna")]);
    while let Some(folder) = open.pop() {
        for node in home.tree().list(&folder, None, 1000).unwrap().into_iter().filter(|n| n.path != folder) {
            open.push(node.path.clone());
            nodes.push(node);
        }
    }
    nodes.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
    let copies = nodes.iter().flat_map(|node| {
        ["a", "b"].map(|drive| {
            let copy = home.copy(node.path.as_str(), drive);
            copy.map_or(String::new(), |c| format!("{} {} {} {}", c.at, c.hash, c.state, c.role))
        })
    });
    Known {
        copies: copies.collect(),
        names: nodes.iter().map(|n| (n.path.as_str().to_owned(), format!("{:?}", n.kind))).collect(),
        dates: nodes.iter().map(|n| format!("{} {}", n.mtime, n.created)).collect(),
        people: format!("{:?} {:?}", home.pool.people().unwrap(), home.pool.devices().unwrap()),
    }
}

/// Says where they differ, and not all they have.
fn assert_same(home: &Furnished, before: &Known, when: &str) {
    let now = known(home);
    assert_eq!(now.names.len(), before.names.len(), "{when}");
    let name = now.names.iter().zip(&before.names).find(|(now, before)| now != before);
    assert!(name.is_none(), "{when}: {name:?}");
    for (now, before) in [(&now.dates, &before.dates), (&now.copies, &before.copies)] {
        let differ = now.iter().zip(before).find(|(now, before)| now != before);
        assert!(differ.is_none() && now.len() == before.len(), "{when}: {differ:?}");
    }
    assert_eq!(now.people, before.people, "{when}");
}

/// Photos, a rename, a deletion and a replacement, on both drives.
fn furnished(photos: usize) -> Furnished {
    let mut home = Furnished::new();
    for number in 0..photos {
        home.put(&format!("anna/mac/{}/{number}.jpg", number % 7), format!("photo {number}").as_bytes());
    }
    home.rename("anna/mac/3", "anna/mac/moved");
    home.put("anna/mac/1/1.jpg", b"another");
    home.mirrored();
    home
}

/// The box is stopped, something happens to its files, and it is started.
fn after(home: Furnished, orderly: bool, harm: impl FnOnce(&Furnished)) -> Furnished {
    if orderly {
        home.pool.rest();
    }
    let home = home.away();
    harm(&home);
    home.watch("a");
    home.watch("b");
    let mut home = home;
    home.mirrored();
    home
}

/// Nothing was copied once more for it.
fn nothing_was_copied(home: &Furnished, since: &[u64]) {
    assert_eq!(inodes(home), since, "the same files on B");
}

fn inodes(home: &Furnished) -> Vec<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut found, mut open) = (Vec::new(), vec![home.mount("b").join("photos")]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() { open.push(entry.path()) } else { found.push(meta.ino()) }
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn a_lost_or_cut_catalogue_comes_back_with_and_without_a_snapshot() {
    for snapshot in [false, true] {
        let mut home = furnished(60);
        if snapshot {
            a_quiet_day(&home, &mut Snapshots::new(Arc::clone(&home.pool)));
            assert_eq!(kept(&home, "a").len(), 1);
            home.put("anna/mac/after.jpg", b"after the snapshot");
            home.mirrored();
        }
        let (before, files) = (known(&home), inodes(&home));
        home = after(home, false, |home| fs::remove_file(catalogue(home)).unwrap());
        assert_same(&home, &before, &format!("deleted, snapshot: {snapshot}"));
        let len = fs::metadata(catalogue(&home)).unwrap().len();
        for (round, cut) in [0, 1, 99, 4096, 8192 + 17, len / 2, len - 1].into_iter().enumerate() {
            home = after(home, round % 2 == 0, |home| {
                fs::File::options().write(true).open(catalogue(home)).unwrap().set_len(cut).unwrap();
            });
            assert_same(&home, &before, &format!("cut to {cut}, snapshot: {snapshot}"));
            nothing_was_copied(&home, &files);
        }
        assert!((1..=4).contains(&asides(&home)), "some are kept, not all: {}", asides(&home));
    }
}

/// Any byte, at rest. After an orderly stop each one is found out; after one without notice those that say what is where.
#[test]
fn a_flipped_byte_anywhere_is_found_out() {
    let flips = luck::size("SHOEBOX_FLIPS", 24);
    let mut luck = Luck::new(luck::seed("flips"));
    let mut home = furnished(60);
    let (before, files) = (known(&home), inodes(&home));
    let mut noticed = 0;
    for flip in 0..flips {
        let orderly = flip % 2 == 0;
        let was = asides(&home);
        let mut at = 0;
        home = after(home, orderly, |home| {
            let file = fs::File::options().read(true).write(true).open(catalogue(home)).unwrap();
            at = luck.below(file.metadata().unwrap().len());
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << luck.below(8))], at).unwrap();
        });
        noticed += u64::from(asides(&home) != was || was >= 2);
        if orderly {
            assert_same(&home, &before, &format!("byte {at}"));
        } else {
            let now = known(&home);
            let same = now.names == before.names && now.copies == before.copies;
            assert!(same, "byte {at}");
            // Dates and senders that nothing else repeats may differ: begin the next round as it was.
            home = after(home, false, |home| fs::remove_file(catalogue(home)).unwrap());
        }
        nothing_was_copied(&home, &files);
    }
    println!("flips: {flips} bytes, {noticed} noticed");
}

#[test]
fn an_older_catalogue_catches_up_and_one_of_another_history_is_put_aside() {
    let mut home = furnished(20);
    home.pool.rest();
    home = home.away();
    let old = fs::read(catalogue(&home)).unwrap();
    home.watch("a");
    home.watch("b");
    home.put("anna/mac/later.jpg", b"later");
    home.mirrored();
    let before = known(&home);
    // Older: after a stop of any kind it catches up, or is made anew.
    for orderly in [false, true] {
        home = after(home, orderly, |home| {
            fs::write(catalogue(home), &old).unwrap();
            let _stale_log_or_none = fs::remove_file(catalogue(home).with_extension("db-wal"));
        });
        assert_same(&home, &before, &format!("orderly: {orderly}"));
    }
    // Another box's.
    let other = furnished(30);
    let foreign = fs::read(catalogue(&other.away())).unwrap();
    home = after(home, false, |home| fs::write(catalogue(home), &foreign).unwrap());
    assert_same(&home, &before, "afterwards");
    // This drive's, of a history that its manifest does not have.
    let fork = after(home, true, |_| {});
    let manifest = |home: &Furnished| {
        let dir = home.mount("a").join(".shoebox/manifest");
        let mut all = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
        all.find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap()
    };
    let short = fs::read(manifest(&fork)).unwrap();
    fork.put("anna/mac/fork.jpg", b"one way");
    fork.put("anna/mac/fork2.jpg", b"one way");
    let way = fork.away();
    let ahead = fs::read(catalogue(&way)).unwrap();
    fs::write(manifest(&way), &short).unwrap();
    fs::remove_file(catalogue(&way)).unwrap();
    way.watch("a");
    way.watch("b");
    for number in 0..5 {
        upload(&way.pool, &format!("anna/mac/other{number}.jpg"), b"the other way").unwrap();
    }
    let was = asides(&way);
    let way = after(way, false, |home| fs::write(catalogue(home), &ahead).unwrap());
    assert!(asides(&way) > was || was >= 2);
    let names = known(&way).names;
    let has = |name: &str| names.iter().any(|(path, _)| path.ends_with(name));
    assert!(has("other4.jpg") && !has("fork2.jpg"), "{names:?}");
}

/// The drive lost the end of its record: what the catalogue knows is not forgotten, and no number is given twice.
#[test]
fn what_the_manifest_lost_is_not_forgotten() {
    let home = furnished(10);
    let dir = home.mount("a").join(".shoebox/manifest");
    let file =
        fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().unwrap() == "jsonl");
    let file = file.unwrap();
    let before = known(&home);
    let home = after(home, false, |_| {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        fs::write(&file, lines[..lines.len() - 4].join("\n") + "\n").unwrap();
    });
    assert_eq!(known(&home).names, before.names);
    home.put("anna/mac/new.jpg", b"new");
    let text = fs::read_to_string(&file).unwrap();
    let seq = |line: &str| {
        line.split(['{', ',']).nth(1).unwrap().split(':').nth(1).unwrap().parse::<u64>().unwrap()
    };
    let numbers: Vec<u64> = text.lines().map(seq).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(
        numbers.last().unwrap() - numbers[numbers.len() - 2] > 4,
        "the lost ones are left out: {numbers:?}"
    );
}

#[test]
fn damage_that_shows_in_the_middle_of_use_is_put_aside_once() {
    let mut home = furnished(50);
    let before = known(&home);
    for round in 0..6 {
        let primary = home.pool.primary().unwrap();
        primary.catalogue.condemn(Doubt::Damaged);
        assert!(home.pool.primary().is_err() && upload(&home.pool, "anna/no.jpg", b"no").is_err());
        if round < 3 {
            home.watch("a");
            home.mirrored();
            assert_same(&home, &before, "put aside");
            home.watch("a");
            assert!(home.pool.primary().is_ok(), "and that was that");
        } else {
            // Again and again: it is the drive, or the memory, and no loop of rebuilding.
            let was = asides(&home);
            assert!(
                shoebox::work::watch::DriveWatch::new(Arc::clone(&home.pool), home.mount("a"))
                    .step()
                    .is_err()
            );
            assert_eq!(home.standing("a").word(), "suspect");
            assert_eq!(asides(&home), was);
            home.pass(2);
            home.watch("a");
            home.mirrored();
            assert_same(&home, &before, "an hour later");
            return;
        }
    }
}

#[test]
fn garbage_written_into_the_open_file_is_met_with_a_refusal_and_a_new_catalogue() {
    let home = furnished(300);
    let before = known(&home);
    let primary = home.pool.primary().unwrap();
    primary.catalogue.checkpoint().unwrap();
    let file = fs::File::options().write(true).open(catalogue(&home)).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in 1..pages {
        file.write_all_at(&[0x5a; 4096], page * 4096).unwrap();
    }
    // What SQLite holds in memory is still right; sooner or later it reads.
    let mut refused = false;
    for number in 0..300 {
        let name = path(&format!("anna/mac/{}/{number}.jpg", number % 7));
        refused |= primary.catalogue.read(|r| r.find(&Default::default(), number, 100)).is_err();
        refused |= primary.catalogue.read(|r| r.name(&name.fold_key())).is_err();
    }
    if !refused {
        // The cache holds all of it: the next snapshot reads the file.
        a_quiet_day_that_may_fail(&home);
    }
    assert_ne!(primary.catalogue.doubt(), Doubt::None);
    home.watch("a");
    let mut home = home;
    home.mirrored();
    assert_same(&home, &before, "afterwards");
}

fn a_quiet_day_that_may_fail(home: &Furnished) {
    let mut worker = Snapshots::new(Arc::clone(&home.pool));
    worker.step(&|| true).unwrap();
    home.pass(24);
    assert!(worker.step(&|| true).is_err());
}

/// B as it was a day ago, put back from an image: what it lacks is copied again, and nothing is said to be on it that is not.
#[test]
fn an_older_state_of_b_is_not_taken_for_what_it_was() {
    let mut home = furnished(10);
    let copy = |from: &PathBuf, to: &PathBuf| {
        assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    let (b, image) = (home.mount("b"), home.mount("image"));
    copy(&b, &image);
    home.put("anna/mac/later.jpg", b"later");
    home.mirrored();
    assert_eq!(home.state("anna/mac/later.jpg", "b"), "verified");
    let mut home = after(home, true, |_| {
        fs::remove_dir_all(&b).unwrap();
        fs::rename(&image, &b).unwrap();
    });
    home.mirrored();
    assert_eq!(fs::read(home.at("b", "anna/mac/later.jpg")).unwrap(), b"later");
    home.verified_copies_are_there(&["anna/mac/later.jpg", "anna/mac/moved/3.jpg", "anna/mac/1/1.jpg"]);
}
