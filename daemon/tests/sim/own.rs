//! The simulation's own tests: it loses what it should, keeps what it must, and does so the same way every time.
use jiff::Timestamp;
use shoebox::model::path::RelPath;
use shoebox::model::place::Place;
use shoebox::store::volume::{MediumRead, Volume, VolumeError};

use crate::faults::{Area, Failure, Fault, Op, Pending, Site};
use crate::medium::Kind;
use crate::rng::Rng;
use crate::volume::SimVolume;

const KINDS: [Kind; 2] = [Kind::Ext4, Kind::Exfat];

fn drive(kind: Kind) -> SimVolume {
    SimVolume::with_our_folders(kind, 1 << 20)
}

fn photo(name: &str) -> Place {
    Place::photo(&RelPath::parse(name).unwrap())
}

fn photos() -> Place {
    Place::photos()
}

fn write(volume: &SimVolume, place: &Place, bytes: &[u8]) -> Result<(), VolumeError> {
    let mut staged = volume.stage(None)?;
    staged.write(bytes)?;
    staged.sync(None)?.publish(place)
}

fn medium(mut reader: Box<dyn MediumRead>) -> Result<Vec<u8>, VolumeError> {
    let mut bytes = Vec::new();
    loop {
        match reader.next()? {
            [] => return Ok(bytes),
            piece => bytes.extend_from_slice(piece),
        }
    }
}

fn content(volume: &SimVolume, place: &Place) -> Option<Vec<u8>> {
    volume.files().get(place.as_str()).map(|bytes| bytes.to_vec())
}

/// Whether `place` survived a cut with exactly `bytes`, for each of 64 seeds.
fn outcomes(make: impl Fn() -> SimVolume, place: &Place, bytes: &[u8]) -> Vec<Option<bool>> {
    let after = |seed| make().cut(&mut Rng::new(seed));
    (0..64).map(|seed| content(&after(seed), place).map(|found| found == bytes)).collect()
}

#[test]
fn a_synced_file_in_a_synced_folder_always_survives() {
    for kind in KINDS {
        let make = || {
            let volume = drive(kind);
            write(&volume, &photo("a"), b"abc").unwrap();
            volume.sync_dir(&photos()).unwrap();
            volume
        };
        assert_eq!(outcomes(make, &photo("a"), b"abc"), [Some(true); 64]);
    }
}

#[test]
fn a_name_that_was_not_synced_may_be_lost_but_is_never_wrong() {
    for kind in KINDS {
        let make = || {
            let volume = drive(kind);
            write(&volume, &photo("a"), b"abc").unwrap();
            volume
        };
        let found = outcomes(make, &photo("a"), b"abc");
        assert!(found.contains(&None) && found.contains(&Some(true)));
        assert!(!found.contains(&Some(false)));
    }
}

#[test]
fn a_new_folder_needs_the_folder_above() {
    for kind in KINDS {
        let make = |above: bool| {
            move || {
                let volume = drive(kind);
                volume.make_dir(&photo("new")).unwrap();
                write(&volume, &photo("new/a"), b"abc").unwrap();
                volume.sync_dir(&photo("new")).unwrap();
                if above {
                    volume.sync_dir(&photos()).unwrap();
                }
                volume
            }
        };
        let place = photo("new/a");
        assert!(outcomes(make(false), &place, b"abc").contains(&None));
        assert_eq!(outcomes(make(true), &place, b"abc"), [Some(true); 64]);
    }
}

#[test]
fn another_hands_file_can_be_short_or_zeros_until_it_is_synced() {
    let bytes = vec![7; 9000];
    let make = |synced: bool| {
        let bytes = bytes.clone();
        move || {
            let volume = drive(Kind::Ext4);
            volume.put_by_other_hand(&photo("card/a"), &bytes);
            if synced {
                volume.sync_file(&photo("card/a")).unwrap();
            }
            volume.sync_dir(&photo("card")).unwrap();
            volume.sync_dir(&photos()).unwrap();
            volume
        }
    };
    let place = photo("card/a");
    let after = |seed| content(&make(false)().cut(&mut Rng::new(seed)), &place).unwrap();
    let found: Vec<Vec<u8>> = (0..64).map(after).collect();
    assert!(found.contains(&Vec::new()), "nothing was written back");
    assert!(found.contains(&vec![0; 9000]), "full length, all zeros");
    assert!(found.contains(&bytes), "all was written back");
    assert!(found.iter().any(|found| found.len() < 9000 && found.starts_with(&[7])), "a prefix");
    assert_eq!(outcomes(make(true), &place, &bytes), [Some(true); 64]);
}

#[test]
fn a_rename_is_whole_with_a_journal_and_halves_without() {
    let states = |kind| {
        let after = |seed| {
            let volume = drive(kind);
            volume.put_by_other_hand(&photo("from/a"), b"abc");
            volume.put_by_other_hand(&photo("to/b"), b"");
            volume.settle();
            volume.rename_new(&photo("from/a"), &photo("to/a")).unwrap();
            let after = volume.cut(&mut Rng::new(seed));
            let there = |name| content(&after, &photo(name)).is_some();
            (there("from/a"), there("to/a"))
        };
        let mut states: Vec<(bool, bool)> = (0..64).map(after).collect();
        states.sort_unstable();
        states.dedup();
        states
    };
    assert_eq!(states(Kind::Ext4), [(false, true), (true, false)]);
    assert_eq!(states(Kind::Exfat), [(false, false), (false, true), (true, false), (true, true)]);
}

#[test]
fn with_a_journal_an_earlier_step_is_never_missing() {
    for seed in 0..64 {
        let volume = drive(Kind::Ext4);
        write(&volume, &photo("first"), b"1").unwrap();
        write(&volume, &photo("second"), b"2").unwrap();
        let after = volume.cut(&mut Rng::new(seed));
        assert!(content(&after, &photo("second")).is_none() || content(&after, &photo("first")).is_some());
    }
}

#[test]
fn a_removed_folder_never_takes_along_what_was_moved_out_of_it() {
    for seed in 0..64 {
        let volume = drive(Kind::Ext4);
        volume.put_by_other_hand(&photo("old/a"), b"abc");
        volume.make_dir(&photo("new")).unwrap();
        volume.settle();
        volume.rename_new(&photo("old/a"), &photo("new/a")).unwrap();
        volume.remove_dir(&photo("old")).unwrap();
        volume.sync_dir(&photos()).unwrap();
        let after = volume.cut(&mut Rng::new(seed));
        assert_eq!(content(&after, &photo("new/a")).as_deref(), Some(b"abc".as_slice()));
    }
}

#[test]
fn a_swallowed_flush_is_the_same_as_none() {
    for site in [Site::Data, Site::Dir(Area::Photos, Pending::Files)] {
        let make = || {
            let volume = drive(Kind::Ext4);
            volume.swallow(site);
            write(&volume, &photo("a"), b"abc").unwrap();
            volume.sync_dir(&photos()).unwrap();
            assert_eq!(volume.sites().get(&site), Some(&1));
            volume
        };
        let found = outcomes(make, &photo("a"), b"abc");
        assert!(found.contains(&Some(true)) && found.iter().any(|found| *found != Some(true)), "{site:?}");
    }
}

#[test]
fn other_flushes_can_be_swallowed_too() {
    let (lines, small) = (Place::manifest("m"), Place::probe());
    let make = |site: Option<Site>| {
        let (lines, small) = (lines.clone(), small.clone());
        move || {
            let volume = drive(Kind::Exfat);
            site.into_iter().for_each(|site| volume.swallow(site));
            volume.append(&lines, b"line").unwrap();
            volume.sync_dir(&Place::manifests()).unwrap();
            volume.write_small(&small, b"old").unwrap();
            volume.write_small(&small, b"new").unwrap();
            volume.put_by_other_hand(&photo("a"), b"abc");
            volume.sync_file(&photo("a")).unwrap();
            volume.sync_dir(&photos()).unwrap();
            volume
        }
    };
    let cases = [
        (Site::Append, &lines, b"line".as_slice()),
        (Site::WriteSmall, &small, b"new"),
        (Site::SyncFile, &photo("a"), b"abc"),
    ];
    for (site, place, bytes) in cases {
        assert_eq!(outcomes(make(None), place, bytes), [Some(true); 64]);
        assert!(
            outcomes(make(Some(site)), place, bytes).iter().any(|found| *found != Some(true)),
            "{site:?}"
        );
    }
}

#[test]
fn the_medium_shows_what_was_written_back_and_nothing_else() {
    for kind in KINDS {
        let volume = drive(kind);
        volume.put_by_other_hand(&photo("a"), b"abc");
        assert_eq!(
            medium(volume.open_medium(&photo("a")).unwrap()).unwrap(),
            b"abc",
            "written back to be read"
        );
        volume.sync_file(&photo("a")).unwrap();
        assert_eq!(medium(volume.open_medium(&photo("a")).unwrap()).unwrap(), b"abc");
        volume.put_by_other_hand(&photo("a"), b"xyz+");
        assert_eq!(medium(volume.open_medium(&photo("a")).unwrap()).unwrap(), b"xyz+");
        volume.settle();
        volume.rot(&photo("a"), 1);
        assert_eq!(medium(volume.open_medium(&photo("a")).unwrap()).unwrap(), b"xiz+");
        assert_eq!(content(&volume, &photo("a")).unwrap(), b"xyz+", "the page cache has the good byte");
        let after = volume.cut(&mut Rng::new(1));
        assert_eq!(content(&after, &photo("a")).unwrap(), b"xiz+");
        after.break_sector(&photo("a"));
        assert!(matches!(medium(after.open_medium(&photo("a")).unwrap()), Err(VolumeError::Io { .. })));
    }
}

#[test]
fn rot_in_a_manifest_stays_when_more_is_appended() {
    let (volume, lines) = (drive(Kind::Ext4), Place::manifest("m"));
    volume.append(&lines, b"abc").unwrap();
    volume.rot(&lines, 0);
    volume.append(&lines, b"def").unwrap();
    assert_eq!(medium(volume.open_medium(&lines).unwrap()).unwrap(), b"qbcdef");
}

#[test]
fn a_mount_and_all_its_handles_die_with_it() {
    for kind in KINDS {
        let volume = drive(kind);
        volume.put_by_other_hand(&photo("a"), b"abc");
        volume.settle();
        let mut reader = volume.open(&photo("a")).unwrap();
        let mut staged = volume.stage(None).unwrap();
        staged.write(b"staged").unwrap();
        volume.unplug();
        let gone = |result: Result<(), VolumeError>| assert!(matches!(result, Err(VolumeError::Gone { .. })));
        gone(volume.prove());
        gone(reader.read_at(&mut [0], 0).map(drop));
        let back = volume.replug(&mut Rng::new(3));
        gone(volume.prove());
        gone(reader.read_at(&mut [0], 0).map(drop));
        gone(staged.write(b"more"));
        gone(staged.sync(None).map(drop));
        back.prove().unwrap();
        volume.mounted().prove().unwrap();
        assert_eq!(content(&back, &photo("a")).unwrap(), b"abc");
    }
}

#[test]
fn staged_files_without_a_name_vanish_and_those_with_one_may_stay() {
    let left = |kind| {
        let after = |seed| {
            let volume = drive(kind);
            let mut staged = volume.stage(None).unwrap();
            staged.write(b"abc").unwrap();
            let synced = staged.sync(None).unwrap();
            let left = volume.cut(&mut Rng::new(seed)).files().len();
            drop(synced);
            left
        };
        (0..64).map(after).max()
    };
    assert_eq!((left(Kind::Ext4), left(Kind::Exfat)), (Some(0), Some(1)));
}

#[test]
fn half_a_rename_leaves_two_files_that_go_their_own_ways() {
    let inodes = |seed| {
        let volume = drive(Kind::Exfat);
        volume.put_by_other_hand(&photo("from/a"), b"abc");
        volume.settle();
        volume.rename_new(&photo("from"), &photo("to")).unwrap();
        let after = volume.cut(&mut Rng::new(seed));
        let inode = |name| Some(after.stat(&photo(name)).ok()?.inode);
        Some([inode("from")?, inode("to")?, inode("from/a")?, inode("to/a")?])
    };
    let both: Vec<[u64; 4]> = (0..64).filter_map(inodes).collect();
    assert!(!both.is_empty() && both.iter().all(|[from, to, old, new]| from != to && old != new));
}

#[test]
fn a_failed_flush_is_never_made_good() {
    let place = photo("a");
    let make = || {
        let volume = drive(Kind::Ext4);
        volume.put_by_other_hand(&photo("a"), b"abc");
        volume.sync_dir(&photos()).unwrap();
        volume.fail_nth(Op::SyncFile, 1, Fault::once(Failure::Io));
        assert!(matches!(volume.sync_file(&photo("a")), Err(VolumeError::Io { .. })));
        assert_eq!(volume.repeated_flushes(), Vec::<String>::new());
        volume.sync_file(&photo("a")).unwrap();
        volume
    };
    let volume = make();
    assert_eq!(volume.repeated_flushes(), ["SyncFile photos/a"]);
    assert_eq!(content(&volume, &place).unwrap(), b"abc", "the page cache shows the new bytes");
    assert_eq!(medium(volume.open_medium(&place).unwrap()).unwrap(), [0; 3]);
    assert_eq!(outcomes(make, &place, b"abc"), [Some(false); 64], "the medium never has them");
}

#[test]
fn a_failed_append_leaves_a_torn_line() {
    let (volume, lines) = (drive(Kind::Ext4), Place::manifest("m"));
    volume.append(&lines, b"one\n").unwrap();
    volume.fail_nth(Op::Append, 2, Fault::once(Failure::Io));
    volume.append(&lines, b"two\n").unwrap();
    volume.append(&lines, b"three\n").unwrap_err();
    assert_eq!(content(&volume, &lines).unwrap(), b"one\ntwo\nthr");
    assert_eq!(medium(volume.open_medium(&lines).unwrap()).unwrap(), b"one\ntwo\n\0\0\0");
}

#[test]
fn a_failed_folder_flush_stops_a_journal_and_loses_names_without_one() {
    let fail = |kind| {
        let volume = drive(kind);
        write(&volume, &photo("a"), b"abc").unwrap();
        volume.fail_nth(Op::SyncDir, 1, Fault::once(Failure::Io));
        volume.sync_dir(&photos()).unwrap_err();
        volume
    };
    let aborted = fail(Kind::Ext4);
    assert!(matches!(aborted.sync_dir(&photos()), Err(VolumeError::ReadOnly { .. })));
    aborted.stat(&photo("a")).unwrap();
    aborted.cut(&mut Rng::new(1)).sync_dir(&photos()).unwrap();
    let again = || {
        let volume = fail(Kind::Exfat);
        volume.sync_dir(&photos()).unwrap();
        volume
    };
    assert!(outcomes(again, &photo("a"), b"abc").contains(&None), "the second flush said Ok and did nothing");
}

#[test]
fn faults_fire_when_told_once_or_for_good_before_or_after_the_deed() {
    let volume = drive(Kind::Ext4);
    volume.fail_nth(Op::MakeDir, 2, Fault::once(Failure::Full));
    volume.make_dir(&photo("a")).unwrap();
    assert!(matches!(volume.make_dir(&photo("b")), Err(VolumeError::Full { .. })));
    volume.make_dir(&photo("b")).unwrap();
    volume.fail_nth(Op::MakeDir, 1, Fault::once(Failure::Io).after_the_deed());
    assert!(matches!(volume.make_dir(&photo("c")), Err(VolumeError::Io { .. })));
    assert!(volume.stat(&photo("c")).unwrap().is_dir);
    volume.fail_nth(Op::List, 1, Fault::lasting(Failure::Io));
    assert!(volume.list(&photos()).is_err() && volume.list(&photos()).is_err());
    volume.heal();
    volume.list(&photos()).unwrap();
    volume.fail_nth(Op::MakeDir, 1, Fault::lasting(Failure::ReadOnly));
    volume.make_dir(&photo("d")).unwrap_err();
    assert!(matches!(volume.stage(None).map(drop), Err(VolumeError::ReadOnly { .. })));
    volume.list(&photos()).unwrap();
}

#[test]
fn room_is_counted() {
    let volume = drive(Kind::Ext4);
    let total = volume.space().unwrap().total;
    let held = volume.stage(Some(total / 2)).unwrap();
    assert_eq!(volume.space().unwrap().available, total / 2);
    let mut more = volume.stage(None).unwrap();
    more.write(&vec![1; usize::try_from(total / 2).unwrap()]).unwrap();
    assert!(matches!(more.write(&[1]), Err(VolumeError::Full { .. })));
    assert!(matches!(volume.append(&Place::manifest("m"), b"line"), Err(VolumeError::Full { .. })));
    drop((held, more));
    assert_eq!(volume.space().unwrap().available, total);
}

#[test]
fn other_hands_remove_and_the_clock_is_ours() {
    let volume = drive(Kind::Ext4);
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    volume.set_now(now);
    volume.put_by_other_hand(&photo("a"), b"abc");
    assert_eq!(volume.stat(&photo("a")).unwrap().mtime, now);
    volume.remove_by_other_hand(&photo("a"));
    assert!(matches!(volume.stat(&photo("a")), Err(VolumeError::NotFound { .. })));
}

#[test]
fn a_seed_gives_the_same_drive_every_time() {
    for kind in KINDS {
        let after = |seed| {
            let volume = drive(kind);
            for name in ["a", "b", "c", "d"] {
                volume.put_by_other_hand(&photo(name), name.repeat(3000).as_bytes());
            }
            volume.cut(&mut Rng::new(seed)).files()
        };
        let first: Vec<_> = (0..16).map(after).collect();
        assert_eq!(first, (0..16).map(after).collect::<Vec<_>>());
        assert!(first.iter().any(|files| *files != first[0]));
    }
}
