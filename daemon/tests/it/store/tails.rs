//! What a drive was given before it stopped without notice is re-read first, and what it lost is made anew; what people removed is not.
use std::fs;
use std::sync::Arc;

use shoebox::work::heal::Healer;
use shoebox::work::mirror::Mirror;
use shoebox::work::scrub::{Manners, Scrub};

use super::furnished::Furnished;

const NAMES: [&str; 3] = ["anna/mac/a.jpg", "anna/mac/deep/b.jpg", "anna/mac/c.jpg"];

/// Three photos, on both drives.
fn furnished() -> Furnished {
    let mut home = Furnished::new();
    for name in NAMES {
        home.put(name, name.as_bytes());
    }
    home.mirrored();
    home
}

fn scrub(home: &Furnished) {
    for drive in ["a", "b"] {
        let mut scrub = Scrub::new(Arc::clone(&home.pool), home.mount(drive), Manners::NONE);
        while scrub.step(&|| true).unwrap() {}
    }
}

/// Everything that is done in the background is done.
fn settle(home: &mut Furnished) {
    home.mirrored();
    scrub(home);
    // Before the tree was compared nothing that is gone is put back: it may lie under another name.
    home.rescanned();
    let healer = Healer::new(Arc::clone(&home.pool));
    while healer.step(&|| true).unwrap() {}
    home.mirrored();
}

fn tail(home: &Furnished) -> Vec<bool> {
    let copies = ["a", "b"].into_iter().flat_map(|drive| NAMES.map(|name| home.copy(name, drive)));
    copies.map(|copy| copy.is_some_and(|copy| copy.tail)).collect()
}

fn states(home: &Furnished, drive: &str) -> [&'static str; 3] {
    NAMES.map(|name| home.state(name, drive))
}

fn lose(home: &Furnished, drive: &str, name: &str) {
    fs::remove_file(home.at(drive, name)).unwrap();
}

#[test]
fn after_a_stop_without_notice_the_last_day_is_re_read_and_after_an_orderly_one_nothing_is() {
    for orderly in [false, true] {
        let home = furnished();
        scrub(&home);
        let read = |home: &Furnished| home.copy(NAMES[0], "a").unwrap().reread;
        assert_eq!(read(&home), None, "too new");
        if orderly {
            home.pool.rest();
        }
        let mut home = home.restarted();
        home.mirrored();
        assert!(!home.pool.receipt(NAMES[0]).unwrap().unwrap().safe_to_delete);
        scrub(&home);
        assert_eq!(read(&home).is_some(), !orderly);
        assert_eq!(tail(&home), [false; 6], "read by now");
    }
}

#[test]
fn until_it_is_re_read_a_proof_from_before_the_stop_does_not_count() {
    let mut home = furnished();
    home.pass(1);
    settle(&mut home);
    home.looked();
    let safe = |home: &Furnished| home.pool.receipt(NAMES[0]).unwrap().unwrap().safe_to_delete;
    assert!(safe(&home));
    let mut home = home.restarted();
    home.mirrored();
    // One piece of work: the tail is marked, and nothing is read yet.
    let mut a = Scrub::new(Arc::clone(&home.pool), home.mount("a"), Manners::NONE);
    assert!(a.step(&|| true).unwrap());
    assert!(tail(&home).iter().take(3).all(|tail| *tail) && !safe(&home));
    scrub(&home);
    assert!(safe(&home));
}

#[test]
fn what_a_drive_lost_of_its_tail_is_made_anew_from_the_other() {
    for rescan_first in [false, true] {
        let home = furnished().away();
        lose(&home, "a", NAMES[1]);
        fs::remove_dir(home.at("a", "anna/mac/deep")).unwrap();
        fs::write(home.at("a", NAMES[0]), vec![0; NAMES[0].len()]).unwrap();
        let time = fs::metadata(home.at("b", NAMES[0])).unwrap().modified().unwrap();
        fs::File::options().write(true).open(home.at("a", NAMES[0])).unwrap().set_modified(time).unwrap();
        lose(&home, "b", NAMES[2]);
        home.watch("a");
        home.watch("b");
        let mut home = home;
        if rescan_first {
            home.rescanned();
        }
        settle(&mut home);
        settle(&mut home);
        for (drive, name) in ["a", "b"].into_iter().flat_map(|drive| NAMES.map(|name| (drive, name))) {
            assert_eq!(fs::read(home.at(drive, name)).unwrap(), name.as_bytes(), "{name} on {drive}");
            assert_eq!(home.state(name, drive), "verified", "{name} on {drive}");
        }
        assert_eq!(tail(&home), [false; 6]);
        // From the manifest alone it is the same.
        let home = home.away();
        fs::remove_file(home.mount("a").join(".shoebox/catalogue.db")).unwrap();
        home.watch("a");
        assert_eq!(states(&home, "a"), ["verified"; 3]);
    }
}

/// A rename that was cut off before its record: the file is under its new name, and does not come back under the old one.
#[test]
fn a_rename_that_was_cut_off_is_no_loss() {
    let home = furnished().away();
    fs::rename(home.at("a", NAMES[0]), home.at("a", "anna/mac/z.jpg")).unwrap();
    home.watch("a");
    home.watch("b");
    let mut home = home;
    home.mirrored();
    scrub(&home);
    assert_eq!(home.state(NAMES[0], "a"), "missing");
    let healer = Healer::new(Arc::clone(&home.pool));
    while healer.step(&|| true).unwrap() {}
    assert!(!home.at("a", NAMES[0]).exists(), "nobody has looked for it yet");
    settle(&mut home);
    settle(&mut home);
    assert!(!home.at("a", NAMES[0]).exists());
    assert_eq!((home.state(NAMES[0], "a"), home.state("anna/mac/z.jpg", "b")), ("none", "verified"));
}

/// Gone from both: told, under its name.
#[test]
fn what_nobody_has_any_more_is_named() {
    let home = furnished().away();
    lose(&home, "a", NAMES[1]);
    lose(&home, "b", NAMES[1]);
    home.watch("a");
    home.watch("b");
    let mut home = home;
    settle(&mut home);
    assert_eq!(states(&home, "a"), ["verified", "missing", "verified"]);
    assert_ne!(home.state(NAMES[1], "b"), "verified");
}

#[test]
fn what_people_removed_is_not_put_back() {
    // While the box ran, and was seen to be gone before it stopped.
    let home = furnished();
    lose(&home, "a", NAMES[0]);
    home.rescanned();
    home.rescanned();
    assert_eq!(home.state(NAMES[0], "a"), "missing");
    let mut home = home.restarted();
    settle(&mut home);
    home.rescanned();
    settle(&mut home);
    assert_eq!(states(&home, "a"), ["missing", "verified", "verified"]);
    // While it was stopped in order.
    let home = furnished();
    home.pool.rest();
    let home = home.away();
    lose(&home, "a", NAMES[0]);
    home.watch("a");
    home.watch("b");
    let mut home = home;
    home.rescanned();
    settle(&mut home);
    assert_eq!(home.state(NAMES[0], "a"), "missing");
    // Longer ago than a day.
    let mut home = furnished();
    home.pass(25);
    home.put("anna/mac/later.jpg", b"later");
    home.mirrored();
    let home = home.away();
    lose(&home, "a", NAMES[0]);
    lose(&home, "a", "anna/mac/later.jpg");
    home.watch("a");
    home.watch("b");
    let mut home = home;
    home.rescanned();
    settle(&mut home);
    assert_eq!(home.state(NAMES[0], "a"), "missing");
    assert_eq!(fs::read(home.at("a", "anna/mac/later.jpg")).unwrap(), b"later");
}

#[test]
fn a_drive_that_was_ejected_has_no_tail_and_one_that_was_pulled_has() {
    for pulled in [false, true] {
        for drive in ["a", "b"] {
            let mut home = furnished();
            if !pulled {
                // The mirror's worker would let go by itself.
                home.mirror = Mirror::new(Arc::clone(&home.pool));
                home.pool.eject(home.id(drive)).unwrap();
            }
            let mount = home.mount(drive);
            fs::rename(&mount, home.mount("elsewhere")).unwrap();
            fs::create_dir(&mount).unwrap();
            home.watch(drive);
            fs::remove_dir(&mount).unwrap();
            fs::rename(home.mount("elsewhere"), &mount).unwrap();
            home.watch(drive);
            home.mirrored();
            scrub(&home);
            let read = home.copy(NAMES[0], "a").unwrap().reread.is_some();
            assert_eq!(read, pulled && drive == "a", "{drive}, pulled: {pulled}");
            if drive == "b" {
                let unmarked = home.pool.primary().unwrap().catalogue.read(|r| r.unmarked_tail(home.id("b")));
                assert_eq!(unmarked.unwrap(), None, "marked by now, if it was pulled");
            }
        }
    }
}
