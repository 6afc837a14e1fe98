//! The scrub: a new copy is read back soon, every other one within a month, the oldest first; what it finds is healed.
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shoebox::plan::scrubbing;
use shoebox::store::volume::VolumeError;
use shoebox::work::heal::Healer;
use shoebox::work::rescan::Rescan;
use shoebox::work::scrub::{Manners, Scrub};
use shoebox::work::views::VerifyScope;

use super::decorated::{Call, eio};
use super::furnished::Furnished;
use crate::support::luck;

fn scrub(home: &Furnished, drive: &str) -> Scrub {
    Scrub::new(Arc::clone(&home.pool), home.mount(drive), Manners::NONE)
}

/// Lets both scrubs read until they rest.
fn scrubbed(home: &Furnished) {
    for drive in ["a", "b"] {
        let mut scrub = scrub(home, drive);
        for round in 0.. {
            assert!(round < 100, "the scrub does not come to rest");
            if !scrub.step(&|| true).unwrap() {
                break;
            }
        }
    }
}

fn read_at(home: &Furnished, name: &str, drive: &str) -> Option<Timestamp> {
    home.copy(name, drive).unwrap().reread
}

/// Names that are due on a drive, in their order.
fn due(home: &Furnished, drive: &str) -> Vec<String> {
    let due = scrubbing::due(home.pool.now());
    let rows = home.pool.primary().unwrap().catalogue.read(|r| r.reread_due(home.id(drive), &due, 100));
    rows.unwrap().iter().map(|row| row.at.name().to_owned()).collect()
}

fn overdue(home: &Furnished, drive: &str) -> u64 {
    let drives = home.pool.drives_counted();
    drives.iter().find(|view| view.mount == home.mount(drive)).unwrap().tally.overdue
}

fn forecast(home: &Furnished, drive: &str) -> scrubbing::Forecast {
    let drives = home.pool.drives_counted();
    drives.iter().find(|view| view.mount == home.mount(drive)).unwrap().reread.unwrap()
}

#[test]
fn how_far_it_is_and_when_it_is_through_is_known() {
    let mut home = Furnished::new();
    for number in 0..3 {
        home.put(&format!("anna/{number}.jpg"), &luck::bytes(number, 1_000_000));
    }
    home.mirrored();
    let told = |home: &Furnished, drive| {
        home.watch(drive);
        let told = forecast(home, drive);
        (told.due, told.due_bytes, told.copies, told.through > home.pool.now(), told.late)
    };
    assert_eq!(told(&home, "a"), (0, 0, 3, false, false), "just made");
    home.pass(1);
    assert_eq!(told(&home, "a"), (3, 3_000_000, 3, true, false), "nobody has read them back yet");
    scrubbed(&home);
    let next = home.pool.now() + SignedDuration::from_hours(25 * 24);
    assert_eq!((told(&home, "a"), forecast(&home, "a").next), ((0, 0, 3, false, false), Some(next)));
    home.pass(26 * 24);
    home.put("anna/new.jpg", b"another");
    home.mirrored();
    assert_eq!(told(&home, "a"), (3, 3_000_000, 4, true, false));
    assert_eq!(told(&home, "b"), (3, 3_000_000, 4, true, false));
    // Half of it done: the rest is what is told.
    let mut scrub = scrub(&home, "b");
    let asked = std::cell::Cell::new(0);
    drop(scrub.step(&|| {
        asked.set(asked.get() + 1);
        asked.get() < 4
    }));
    let (due, bytes, ..) = told(&home, "b");
    assert!((1..3).contains(&due) && bytes == due * 1_000_000, "{due} {bytes}");
    home.pass(5 * 24);
    assert_eq!(told(&home, "a"), (4, 3_000_007, 4, true, true), "too late for three of these");
    scrubbed(&home);
    assert_eq!((told(&home, "a").4, told(&home, "b").0), (false, 0));
}

#[test]
fn a_new_copy_is_read_back_soon_and_then_the_photo_is_safe() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"a photo");
    home.mirrored();
    home.looked();
    let safe = |home: &Furnished| home.pool.receipt("anna/a.jpg").unwrap().unwrap().safe_to_delete;
    scrubbed(&home);
    assert_eq!(
        (home.state("anna/a.jpg", "a"), safe(&home)),
        ("settled", false),
        "the drive's memory proves nothing"
    );
    home.pass(1);
    scrubbed(&home);
    assert_eq!((home.state("anna/a.jpg", "a"), safe(&home)), ("verified", true));
    assert_eq!(read_at(&home, "anna/a.jpg", "a"), Some(home.pool.now()));
    let before = read_at(&home, "anna/a.jpg", "b");
    home.pass(24 * 24);
    scrubbed(&home);
    assert_eq!(read_at(&home, "anna/a.jpg", "b"), before, "not due yet");
}

#[test]
fn the_oldest_is_read_first_and_all_within_a_month() {
    let mut home = Furnished::new();
    for name in ["one", "two", "three"] {
        home.put(&format!("anna/{name}.jpg"), name.as_bytes());
        home.mirrored();
        home.pass(1);
        scrubbed(&home);
    }
    for drive in ["a", "b"] {
        assert_eq!(due(&home, drive), [""; 0]);
    }
    home.pass(25 * 24 - 1);
    assert_eq!(due(&home, "a"), ["one.jpg"]);
    home.pass(3);
    home.put("anna/new.jpg", b"new");
    home.mirrored();
    home.pass(1);
    assert_eq!(due(&home, "a"), ["new.jpg", "one.jpg", "two.jpg", "three.jpg"]);
    assert_eq!(due(&home, "b"), ["one.jpg", "two.jpg", "three.jpg"]);
    scrubbed(&home);
    for drive in ["a", "b"] {
        assert_eq!((due(&home, drive), overdue(&home, drive)), (Vec::new(), 0));
    }
    // Switched off for long: that is told, and caught up with.
    home.pass(31 * 24);
    assert_eq!((overdue(&home, "a"), overdue(&home, "b")), (4, 4));
    scrubbed(&home);
    assert_eq!((overdue(&home, "a"), overdue(&home, "b")), (0, 0));
    // Read, says a clock that was wrong, in a year from now.
    home.pass(365 * 24);
    scrubbed(&home);
    home.pass(-365 * 24);
    assert_eq!(due(&home, "a").len(), 4);
    scrubbed(&home);
    assert_eq!(due(&home, "a"), [""; 0]);
}

#[test]
fn no_more_is_read_in_a_minute_than_may_be() {
    let mut home = Furnished::new();
    for number in 0..3 {
        home.put(&format!("anna/{number}.mov"), &luck::bytes(number, 40 << 20));
    }
    home.mirrored();
    home.pass(1);
    scrubbed(&home);
    home.pass(26 * 24);
    let mut scrub = scrub(&home, "a");
    while scrub.step(&|| true).unwrap() {}
    assert_eq!(due(&home, "a").len(), 1, "64 MiB a minute, and the file that is begun");
    while scrub.step(&|| true).unwrap() {}
    assert_eq!(due(&home, "a").len(), 1, "the same minute");
    home.pass(1);
    while scrub.step(&|| true).unwrap() {}
    assert_eq!(due(&home, "a").len(), 0);
    // Asked to stop, it stops before the next file.
    home.pass(26 * 24);
    assert!(!scrub.step(&|| false).unwrap());
    assert_eq!(due(&home, "a").len(), 3);
}

/// Under load it pauses; only what would not be through within a month goes on, slowly.
#[test]
fn while_uploads_go_on_nothing_is_read_that_has_time() {
    let short = Duration::from_millis(5);
    let manners = Manners { calm: short, patience: short, pause: short };
    let mut home = Furnished::new();
    for number in 0..3 {
        home.put(&format!("anna/{number}.jpg"), &luck::bytes(number, 3_000_000));
    }
    home.mirrored();
    home.pass(1);
    let primary = home.pool.primary().unwrap();
    let gentle = |drive: &str| Scrub::new(Arc::clone(&home.pool), home.mount(drive), manners);
    let [mut a, mut b] = ["a", "b"].map(gentle);
    let upload = primary.attached.turns.upload();
    assert!(!a.step(&|| true).unwrap());
    assert_eq!(due(&home, "a").len(), 3, "nobody has read them yet, and uploads go on");
    home.pass(1);
    while a.step(&|| true).unwrap() {}
    assert_eq!(due(&home, "a").len(), 0, "for an hour now");
    home.pass(25 * 24 - 1);
    for _ in 0..3 {
        assert!(!a.step(&|| true).unwrap() && !b.step(&|| true).unwrap());
        home.pass(1);
    }
    assert_eq!((due(&home, "a").len(), due(&home, "b").len()), (3, 3), "they have days");
    // The uploads are over.
    drop(upload);
    std::thread::sleep(short);
    while b.step(&|| true).unwrap() {}
    assert_eq!((due(&home, "a").len(), due(&home, "b").len()), (3, 0));
    // They are not, and there is no more time.
    let _upload = primary.attached.turns.upload();
    home.pass(24);
    while a.step(&|| true).unwrap() {}
    assert_eq!((due(&home, "a").len(), overdue(&home, "a")), (0, 0));
}

/// More than a batch of them, and all of them due first.
#[test]
fn copies_that_may_not_be_read_keep_no_others_from_being_read() {
    let mut home = Furnished::new();
    for number in 0..150 {
        home.put(&format!("anna/closed/{number}.jpg"), &luck::bytes(number, 100));
    }
    home.mirrored();
    home.pass(1);
    for number in 0..3 {
        home.put(&format!("anna/{number}.jpg"), &luck::bytes(1000 + number, 100));
    }
    home.mirrored();
    home.pass(1);
    let (home, a, _) = home.decorated();
    let closed = |call: Call, place: &shoebox::model::place::Place| {
        call == Call::Medium && place.as_str().starts_with("photos/anna/closed/")
    };
    a.step_in(move |call, place| {
        let source = std::io::Error::from_raw_os_error(libc::EACCES);
        if !closed(call, place) {
            Ok(())
        } else {
            Err(VolumeError::Io { op: "open", place: place.clone(), source })
        }
    });
    home.pass(24);
    let mut worker = scrub(&home, "a");
    for _ in 0..10 {
        while worker.step(&|| true).unwrap() {}
    }
    for number in 0..3 {
        assert_eq!(home.state(&format!("anna/{number}.jpg"), "a"), "verified");
    }
    assert_eq!(home.state("anna/closed/0.jpg", "a"), "settled", "nobody has seen its bytes");
    // Once they may be read again, they are.
    a.step_in(|_, _| Ok(()));
    home.pass(1);
    while worker.step(&|| true).unwrap() {}
    assert_eq!((home.state("anna/closed/0.jpg", "a"), due(&home, "a").len()), ("verified", 0));
}

/// What the kernel says where a block of inodes is bad.
#[test]
fn a_file_that_cannot_even_be_looked_at_keeps_no_other_from_being_read_and_the_drive_from_nothing() {
    let mut home = Furnished::new();
    for name in ["1.jpg", "2.jpg", "3.jpg"] {
        home.put(&format!("anna/{name}"), name.as_bytes());
    }
    home.mirrored();
    let (home, a, _) = home.decorated();
    a.step_in(|call, place| {
        let bad =
            matches!(call, Call::Stat | Call::Open | Call::Medium) && place.as_str() == "photos/anna/1.jpg";
        if bad { Err(eio(place)) } else { Ok(()) }
    });
    home.pass(1);
    let mut worker = scrub(&home, "a");
    while worker.step(&|| true).unwrap() {}
    let states = ["1.jpg", "2.jpg", "3.jpg"].map(|name| home.state(&format!("anna/{name}"), "a"));
    assert_eq!(states, ["damaged", "verified", "verified"]);
    home.watch("a");
    // Its name cannot be taken over before the filesystem is checked; the drive is not suspected for that.
    drop(Healer::new(Arc::clone(&home.pool)).step(&|| true));
    assert_eq!(home.pool.primary().unwrap().attached.takes_writes(), Ok(()));
    home.watch("a");
    home.put("anna/4.jpg", b"uploads go on");
    a.step_in(|_, _| Ok(()));
    home.pass(1);
    Healer::new(Arc::clone(&home.pool)).step(&|| true).unwrap();
    assert_eq!(home.state("anna/1.jpg", "a"), "verified");
}

#[test]
fn what_the_scrub_finds_is_healed() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"a photo");
    home.mirrored();
    home.pass(26 * 24);
    fs::write(home.at("b", "anna/a.jpg"), b"a ph0to").unwrap();
    scrubbed(&home);
    assert_eq!(home.state("anna/a.jpg", "b"), "damaged");
    home.mirrored();
    assert_eq!(home.state("anna/a.jpg", "b"), "verified");
    assert_eq!(fs::read(home.at("b", "anna/a.jpg")).unwrap(), b"a photo");
    // What is gone from B is made again, too.
    home.pass(26 * 24);
    fs::remove_file(home.at("b", "anna/a.jpg")).unwrap();
    scrubbed(&home);
    home.mirrored();
    assert_eq!(home.state("anna/a.jpg", "b"), "verified");
}

/// Other hands saved another version on A, and nobody has looked yet: it is no damage, and nothing undoes it.
#[test]
fn an_edit_is_not_taken_for_damage() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"a photo");
    home.mirrored();
    home.pass(26 * 24);
    fs::write(home.at("a", "anna/a.jpg"), b"edited!").unwrap();
    scrubbed(&home);
    let report = home.pool.verify_now(&VerifyScope::default(), &mut |_| {}).unwrap();
    assert_eq!(
        (report.damaged.len(), report.missing.len(), home.state("anna/a.jpg", "a")),
        (0, 0, "settled")
    );
    home.rescanned();
    home.mirrored();
    assert_eq!(fs::read(home.at("a", "anna/a.jpg")).unwrap(), b"edited!");
    assert_eq!(fs::read(home.at("b", "anna/a.jpg")).unwrap(), b"edited!");
}

#[test]
fn what_was_made_in_the_future_or_moved_by_hand_is_read_soon() {
    let mut home = Furnished::quiet_after(SignedDuration::from_mins(30));
    home.pass(10 * 365 * 24);
    home.put("anna/future.jpg", b"of a clock that was wrong");
    home.mirrored();
    home.pass(-10 * 365 * 24);
    assert_eq!(due(&home, "a"), ["future.jpg"]);
    scrubbed(&home);
    assert_eq!(home.state("anna/future.jpg", "a"), "verified");
    fs::rename(home.at("a", "anna/future.jpg"), home.at("a", "anna/moved.jpg")).unwrap();
    let mut rescan = Rescan::new(Arc::clone(&home.pool));
    for _ in 0..3 {
        rescan.start();
        while rescan.step(&|| true).unwrap() {}
        home.pass(1);
    }
    home.mirrored();
    assert_eq!(home.state("anna/moved.jpg", "a"), "settled", "it was away for a while");
    assert_eq!(due(&home, "a"), ["moved.jpg"]);
    scrubbed(&home);
    assert_eq!(home.state("anna/moved.jpg", "a"), "verified");
}
