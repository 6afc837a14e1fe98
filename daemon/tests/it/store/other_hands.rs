//! What other programs do on drive A: it is taken over, or told, and it never takes the drive out of use.
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};
use shoebox::model::hash::ContentHash;
use shoebox::model::path::RelPath;
use shoebox::store::volume::VolumeError;
use shoebox::work::drive::Doubt;
use shoebox::work::error::Refusal;
use shoebox::work::rescan::Rescan;

use super::decorated::{Call, eio};
use super::furnished::{Furnished, computer, path, upload};
use crate::support::mounted::{Mounted, leave_out};

fn write(home: &Furnished, name: &str, bytes: &[u8]) {
    let file = home.at("a", name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
}

/// Every name in the catalogue has its file on A, with its bytes.
fn rows_tell_the_truth(home: &Furnished) -> usize {
    let primary = home.pool.primary().unwrap();
    let rows = primary.catalogue.read(|r| r.names_below("anna", "", 1000)).unwrap();
    let files: Vec<_> = rows.iter().filter_map(|row| Some((row, row.hash?))).collect();
    for (row, hash) in &files {
        let bytes = fs::read(home.mount("a").join(row.place().as_str())).unwrap();
        assert_eq!(ContentHash::of(&bytes), *hash, "{}", row.path);
    }
    files.len()
}

/// After the next probe, which reads beside what could not be read.
fn is_trusted(home: &Furnished) {
    home.watch("a");
    let doubt = home.pool.primary().unwrap().attached.doubt();
    assert_eq!(Doubt { passed: 0, ..doubt }, Doubt::default());
}

#[test]
fn what_cannot_be_read_is_told_and_stops_nothing() {
    let home = Furnished::new();
    write(&home, "anna/card/a.jpg", b"a");
    write(&home, "anna/closed/b.jpg", b"b");
    write(&home, "anna/card/rotten.jpg", b"r");
    std::os::unix::fs::symlink("/etc", home.at("a", "anna/link")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(home.at("a", "anna/socket")).unwrap());
    let (home, a, _) = home.decorated();
    a.step_in(|call, place| {
        let closed = || io::Error::from_raw_os_error(libc::EACCES);
        if call == Call::List && place.as_str() == "photos/anna/closed" {
            return Err(VolumeError::Io { op: "list", place: place.clone(), source: closed() });
        }
        let rotten = call == Call::Medium && place.as_str() == "photos/anna/card/rotten.jpg";
        if rotten { Err(eio(place)) } else { Ok(()) }
    });
    let report = home.rescanned();
    assert_eq!((report.adopted, report.unholdable), (1, 4));
    is_trusted(&home);
    // A name that leads through the link is refused and nothing more.
    assert!(upload(&home.pool, "anna/link/x", b"x").is_err());
    // What is no file makes room, into the trash like any other file of other hands.
    for name in ["anna/socket", "anna/link"] {
        home.put(name, b"a file");
        assert_eq!(fs::read(home.at("a", name)).unwrap(), b"a file");
    }
    is_trusted(&home);
    home.put("anna/next.jpg", b"next");
    assert!(!std::path::Path::new("/etc/x").exists());
}

/// What the kernel says where a block of inodes is bad.
#[test]
fn a_file_that_cannot_even_be_looked_at_keeps_no_other_from_being_found() {
    for known in [true, false] {
        let home = Furnished::new();
        write(&home, "anna/a/first.jpg", b"first");
        if known {
            home.rescanned();
        }
        write(&home, "anna/z.jpg", b"found later");
        let (home, a, _) = home.decorated();
        a.step_in(|call, place| {
            let bad = call == Call::Stat && place.as_str() == "photos/anna/a/first.jpg";
            if bad { Err(eio(place)) } else { Ok(()) }
        });
        let report = home.rescanned();
        assert_eq!((report.adopted, report.missing, report.unholdable), (1, 0, 1), "{known}");
        assert_eq!(home.state("anna/z.jpg", "a"), "settled");
        is_trusted(&home);
    }
}

#[test]
fn names_from_a_mac_are_taken_over_in_the_spelling_of_the_box() {
    let mut home = Furnished::new();
    write(&home, "anna/Fotos fu\u{308}r Oma/A\u{308}pfel.jpg", b"apples");
    write(&home, "anna/A:B?.jpg", b"colons");
    let report = home.rescanned();
    assert_eq!((report.adopted, report.unholdable), (2, 0));
    assert_eq!(home.rescanned().adopted, 0);
    home.mirrored();
    assert_eq!(home.state("anna/Fotos für Oma/Äpfel.jpg", "b"), "verified");
    assert_eq!(fs::read(home.at("b", "anna/A\u{F03A}B\u{F03F}.jpg")).unwrap(), b"colons");
    assert_eq!(rows_tell_the_truth(&home), 2);
}

#[test]
fn two_files_that_are_one_name_are_one_name_and_a_finding() {
    let home = Furnished::new();
    write(&home, "anna/a\u{308}.jpg", b"decomposed");
    write(&home, "anna/ä.jpg", b"composed");
    write(&home, "anna/IMG.jpg", b"large");
    write(&home, "anna/img.jpg", b"small letters");
    let report = home.rescanned();
    assert_eq!((report.adopted, report.unholdable), (2, 2));
    assert_eq!(rows_tell_the_truth(&home), 2);
    assert_eq!(home.rescanned().unholdable, 2, "as long as it is so");
    let left: usize = fs::read_dir(home.at("a", "anna")).unwrap().count();
    assert_eq!(left, 5, "all four are still there, and the phone's folder");
}

#[test]
fn another_case_by_other_hands_is_the_same_name() {
    let home = Furnished::new();
    home.put("anna/Album/IMG.jpg", b"photo");
    fs::rename(home.at("a", "anna/Album/IMG.jpg"), home.at("a", "anna/Album/img.jpg")).unwrap();
    fs::rename(home.at("a", "anna/Album"), home.at("a", "anna/album")).unwrap();
    let report = home.rescanned();
    assert_eq!((report.missing, report.unholdable, report.files), (0, 0, 1));
    assert_eq!(home.state("anna/album/img.jpg", "a"), "settled");
    assert_eq!(rows_tell_the_truth(&home), 1);
    // A folder of other hands joins the one it is.
    write(&home, "anna/ALBUM/new.jpg", b"new");
    assert_eq!(home.rescanned().adopted, 1);
    assert_eq!(rows_tell_the_truth(&home), 2);
    home.rename("anna/album", "anna/Summer");
    assert_eq!((rows_tell_the_truth(&home), home.rescanned().missing), (2, 0));
}

#[test]
fn a_folder_that_vanished_is_missed_and_found_again() {
    let home = Furnished::new();
    home.put("anna/trip/1/a.jpg", b"a");
    home.put("anna/trip/b.jpg", b"b");
    let away = home.mount("a").join("away");
    fs::rename(home.at("a", "anna/trip"), &away).unwrap();
    assert_eq!(home.rescanned().missing, 2);
    assert_eq!(
        (home.state("anna/trip/1/a.jpg", "a"), home.state("anna/trip/b.jpg", "a")),
        ("missing", "missing")
    );
    fs::rename(&away, home.at("a", "anna/trip")).unwrap();
    assert_eq!(home.rescanned().missing, 0);
    assert_eq!(
        (home.state("anna/trip/1/a.jpg", "a"), home.state("anna/trip/b.jpg", "a")),
        ("settled", "settled")
    );
}

#[test]
fn a_file_that_came_and_went_is_not_waited_for() {
    let home = Furnished::quiet_after(SignedDuration::from_hours(1));
    let walk = |rescan: &mut Rescan| {
        rescan.start();
        while rescan.step(&|| true).unwrap() {}
        rescan.report()
    };
    let mut rescan = Rescan::new(home.pool.clone());
    write(&home, "anna/coming.jpg", b"coming");
    write(&home, "anna/going.jpg", b"going");
    assert_eq!((walk(&mut rescan).waiting, rescan.is_waiting()), (2, true));
    fs::remove_file(home.at("a", "anna/going.jpg")).unwrap();
    home.pass(2);
    let report = walk(&mut rescan);
    assert_eq!((report.adopted, report.waiting, rescan.is_waiting()), (1, 0, false));
}

#[test]
fn a_quiet_file_is_taken_over_although_the_clock_was_set_back() {
    let home = Furnished::quiet_after(SignedDuration::from_hours(1));
    let mut rescan = Rescan::new(home.pool.clone());
    let mut adopted_after = |hours: i64| {
        home.pass(hours);
        rescan.start();
        while rescan.step(&|| true).unwrap() {}
        rescan.report().adopted
    };
    write(&home, "anna/a.jpg", b"a");
    assert_eq!([adopted_after(0), adopted_after(-1000), adopted_after(2)], [0, 0, 1]);
}

#[test]
fn something_mounted_among_the_photos_does_not_take_the_drive_out() {
    let home = Furnished::new();
    let card = home.at("a", "anna/card");
    fs::create_dir_all(&card).unwrap();
    let _card = match Mounted::tmpfs(&card, "size=1m") {
        Ok(guard) => guard,
        Err(why) => return leave_out("something-mounted-among-the-photos", &why),
    };
    fs::write(card.join("a.jpg"), b"on the card").unwrap();
    assert_eq!(home.rescanned().unholdable, 1);
    assert!(upload(&home.pool, "anna/card/b.jpg", b"b").is_err(), "nothing goes to another filesystem");
    is_trusted(&home);
    home.put("anna/next.jpg", b"next");
}

#[test]
fn a_long_name_is_refused_at_the_door() {
    let long = vec![":".repeat(80); 15].join("/");
    assert!(RelPath::parse(&long).is_err());
    let home = Furnished::new();
    let deep = vec!["d".repeat(200); 9].join("/");
    home.put(&format!("anna/{deep}"), b"deep");
    home.tree().trash(&super::furnished::computer(), &path(&format!("anna/{deep}"))).unwrap();
    is_trusted(&home);
}

fn dated(home: &Furnished, drive: &str, name: &str) -> i64 {
    fs::metadata(home.at(drive, name))
        .unwrap()
        .modified()
        .unwrap()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64
}

fn set_time(home: &Furnished, name: &str, second: u64) {
    let file = fs::File::options().write(true).open(home.at("a", name)).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
}

#[test]
fn a_photo_renamed_while_it_is_asked_for_is_not_there_and_one_that_vanished_may_come_back() {
    let home = Furnished::new();
    for name in ["anna/renamed.jpg", "anna/vanished.jpg"] {
        home.put(name, name.as_bytes());
    }
    let asked = |name: &str| home.tree().find(&path(name)).unwrap().unwrap();
    let (renamed, vanished) = (asked("anna/renamed.jpg"), asked("anna/vanished.jpg"));
    home.tree().rename(&computer(), &renamed.path, &path("anna/new.jpg"), false).unwrap();
    fs::remove_file(home.at("a", "anna/vanished.jpg")).unwrap();
    let refusal = |node| home.tree().open(node).err().unwrap();
    assert!(matches!(refusal(&renamed), Refusal::NotFound), "503 would make a client come again for it");
    assert!(
        matches!(refusal(&vanished), Refusal::Drive(VolumeError::NotFound { .. })),
        "503: its row is still there"
    );
}

#[test]
fn what_other_hands_wrote_anew_is_another_version_and_b_keeps_the_old() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"as it was");
    home.put("anna/b.jpg", b"also here");
    home.mirrored();
    fs::write(home.at("a", "anna/a.jpg"), b"edited, and longer").unwrap();
    set_time(&home, "anna/a.jpg", 1_400_000_000);
    let node = home.tree().find(&path("anna/a.jpg")).unwrap().unwrap();
    let mut read = [0; 9];
    assert_eq!(home.tree().open(&node).unwrap().read_at(&mut read, 0).unwrap(), 9);
    assert_eq!(&read, b"as it was", "B's copy: what A has now is not known yet");
    // Same length, another time.
    fs::write(home.at("a", "anna/b.jpg"), b"ALSO HERE").unwrap();
    set_time(&home, "anna/b.jpg", 1_500_000_000);
    assert_eq!(home.rescanned().adopted, 2);
    assert_eq!(home.rescanned().adopted, 0);
    home.mirrored();
    for (name, bytes) in [("anna/a.jpg", &b"edited, and longer"[..]), ("anna/b.jpg", b"ALSO HERE")] {
        assert_eq!((home.state(name, "a"), home.state(name, "b")), ("settled", "verified"));
        assert_eq!(fs::read(home.at("b", name)).unwrap(), bytes);
    }
    let trash = home.mount("b").join(".shoebox/trash");
    let found = Command::new("grep").args(["-rl", "as it was"]).arg(trash).output().unwrap();
    assert_eq!(found.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn a_photo_renamed_over_another_by_hand_takes_its_name() {
    let mut home = Furnished::new();
    home.put("anna/good.jpg", b"the good one");
    home.put("anna/bad.jpg", b"blurred");
    let taken: Timestamp = "2010-05-01T12:00:00Z".parse().unwrap();
    home.tree().set_mtime(&computer(), &path("anna/good.jpg"), taken).unwrap();
    home.mirrored();
    let on_b = fs::metadata(home.at("b", "anna/good.jpg")).unwrap().ino();
    fs::rename(home.at("a", "anna/good.jpg"), home.at("a", "anna/bad.jpg")).unwrap();
    assert_eq!(home.rescanned().missing, 0);
    assert_eq!(home.rescanned().missing, 0);
    home.mirrored();
    assert_eq!((home.state("anna/good.jpg", "a"), home.state("anna/bad.jpg", "a")), ("none", "settled"));
    assert_eq!(home.state("anna/bad.jpg", "b"), "verified");
    assert_eq!(fs::read(home.at("b", "anna/bad.jpg")).unwrap(), b"the good one");
    assert_eq!(fs::metadata(home.at("b", "anna/bad.jpg")).unwrap().ino(), on_b, "moved, not copied");
    let trash = home.mount("b").join(".shoebox/trash");
    let found = Command::new("grep").args(["-rl", "blurred"]).arg(trash).output().unwrap();
    assert_eq!(found.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(rows_tell_the_truth(&home), 1);
    let home = home.restarted();
    assert_eq!((rows_tell_the_truth(&home), home.rescanned().missing), (1, 0));
}

#[test]
fn a_time_that_changed_alone_is_set_back_and_one_that_a_program_asks_for_reaches_the_files() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"the photo");
    home.mirrored();
    let before = dated(&home, "a", "anna/a.jpg");
    set_time(&home, "anna/a.jpg", 1_500_000_000);
    assert_eq!(home.rescanned().adopted, 0);
    assert_eq!(dated(&home, "a", "anna/a.jpg"), before);
    let taken: Timestamp = "2010-05-01T12:00:00Z".parse().unwrap();
    home.tree().set_mtime(&computer(), &path("anna/a.jpg"), taken).unwrap();
    home.mirrored();
    for drive in ["a", "b"] {
        assert_eq!(dated(&home, drive, "anna/a.jpg"), taken.as_second(), "{drive}");
    }
    assert_eq!(home.state("anna/a.jpg", "b"), "verified");
    assert!(!home.mirror.step(&|| true).unwrap(), "and that is all");
}

#[test]
fn a_file_that_lost_its_end_is_damaged_and_no_new_version() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"the photo");
    home.mirrored();
    let at = dated(&home, "a", "anna/a.jpg");
    fs::write(home.at("a", "anna/a.jpg"), b"the").unwrap();
    set_time(&home, "anna/a.jpg", u64::try_from(at).unwrap());
    home.rescanned();
    assert_eq!((home.state("anna/a.jpg", "a"), home.state("anna/a.jpg", "b")), ("damaged", "verified"));
    fs::write(home.at("a", "anna/a.jpg"), b"").unwrap();
    home.rescanned();
    assert_eq!(home.state("anna/a.jpg", "a"), "damaged");
}
