//! When the box says that an offline drive may be unplugged, and when it does not.
use std::fs;
use std::sync::Arc;

use shoebox::work::checksums::Checksums;
use shoebox::work::mirror::Mirror;
use shoebox::work::scrub::{Manners, Scrub};
use shoebox::work::views::VerifyScope;

use super::furnished::Furnished;

/// A box whose second drive is an offline drive.
fn furnished() -> Furnished {
    let home = Furnished::new();
    let marker = home.mount("b").join(".shoebox/drive.toml");
    let home = home.away();
    let text = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, text.replace("\"mirror\"", "\"offline\"")).unwrap();
    for drive in ["a", "b"] {
        home.watch(drive);
    }
    home
}

fn says(home: &Furnished) -> (bool, String) {
    let drives = home.pool.drives_counted();
    assert_eq!(drives[0].unplugging, None, "the main drive is never to be unplugged");
    let answer = drives[1].unplugging.clone().unwrap();
    (answer.may, answer.sentence)
}

fn refuses(home: &Furnished, why: &str) {
    let (may, sentence) = says(home);
    assert!(!may && sentence.contains(why), "{may}: {sentence}");
}

fn listed(home: &Furnished) {
    let mut lists = Checksums::new(Arc::clone(&home.pool));
    while lists.step().unwrap() {}
}

fn scrubbed(home: &Furnished) {
    let mut scrub = Scrub::new(Arc::clone(&home.pool), home.mount("b"), Manners::NONE);
    while scrub.step(&|| true).unwrap() {}
}

/// Everything that is done in the background is done.
fn settled(home: &mut Furnished) {
    home.mirrored();
    scrubbed(home);
    home.mirrored();
    listed(home);
}

#[test]
fn it_is_said_when_all_is_on_it_and_was_read_back_and_not_before() {
    let mut home = furnished();
    home.put("anna/a.jpg", b"a photo");
    refuses(&home, "still being compared");
    home.mirrored();
    refuses(&home, "lists for sha256sum");
    listed(&home);
    assert_eq!(
        says(&home),
        (true, "may be unplugged: it has everything, and every copy was read back from it".to_owned())
    );
    // Each of these is something it does not have yet.
    home.put("anna/b.jpg", b"another");
    refuses(&home, "does not have everything");
    settled(&mut home);
    assert!(says(&home).0);
    home.rename("anna/b.jpg", "anna/c.jpg");
    refuses(&home, "still being compared");
    settled(&mut home);
    assert!(says(&home).0);
    home.pool.add_person(&"bob".parse().unwrap()).unwrap();
    refuses(&home, "still being compared");
    settled(&mut home);
    assert!(says(&home).0);
}

#[test]
fn after_it_was_pulled_what_it_was_given_last_is_read_back_first() {
    for orderly in [false, true] {
        let mut home = furnished();
        home.put("anna/a.jpg", b"a photo");
        settled(&mut home);
        assert!(says(&home).0);
        if orderly {
            home.pool.rest();
        }
        let mut home = home.restarted();
        refuses(&home, "still being compared");
        home.mirrored();
        if orderly {
            assert!(says(&home).0, "{:?}", says(&home));
            continue;
        }
        refuses(&home, "read back yet");
        scrubbed(&home);
        assert!(says(&home).0, "{:?}", says(&home));
    }
}

#[test]
fn what_it_lost_or_has_damaged_is_made_anew_first() {
    let home = furnished();
    for name in ["anna/a.jpg", "anna/b.jpg"] {
        home.put(name, name.as_bytes());
    }
    let mut home = home;
    settled(&mut home);
    assert!(says(&home).0);
    let mut home = home.away();
    fs::write(home.at("b", "anna/a.jpg"), b"anna/A.jpg").unwrap();
    for drive in ["a", "b"] {
        home.watch(drive);
    }
    home.mirrored();
    refuses(&home, "read back yet");
    scrubbed(&home);
    refuses(&home, "bad or gone");
    settled(&mut home);
    assert!(says(&home).0, "{:?}", says(&home));
    assert_eq!(fs::read(home.at("b", "anna/a.jpg")).unwrap(), b"anna/a.jpg");
}

#[test]
fn what_no_drive_has_good_is_not_waited_for() {
    let home = furnished();
    for name in ["anna/a.jpg", "anna/b.jpg"] {
        home.put(name, name.as_bytes());
    }
    let mut home = home;
    settled(&mut home);
    let mut home = home.away();
    for drive in ["a", "b"] {
        let file = home.at(drive, "anna/a.jpg");
        let dated = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, b"anna/A.jpg").unwrap();
        // No hand did that.
        fs::File::open(&file).unwrap().set_modified(dated).unwrap();
    }
    for drive in ["a", "b"] {
        home.watch(drive);
    }
    home.mirrored();
    refuses(&home, "read back yet");
    home.pool.verify_now(&VerifyScope::default(), &mut |_| {}).unwrap();
    settled(&mut home);
    refuses(&home, "no drive has a good copy");
    // A phone sends it once more.
    home.put("anna/a.jpg", b"anna/a.jpg");
    settled(&mut home);
    assert!(says(&home).0, "{:?}", says(&home));
}

#[test]
fn without_the_main_drive_nothing_is_said_of_it() {
    let mut home = furnished();
    home.put("anna/a.jpg", b"a photo");
    settled(&mut home);
    let home = home.away();
    home.watch("b");
    refuses(&home, "without the main drive");
    let mut home = home;
    home.watch("a");
    home.mirror = Mirror::new(Arc::clone(&home.pool));
    settled(&mut home);
    assert!(says(&home).0, "{:?}", says(&home));
}

#[test]
fn a_mirror_is_never_to_be_unplugged() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"a photo");
    settled(&mut home);
    assert!(home.pool.drives_counted().iter().all(|drive| drive.unplugging.is_none()));
}
