//! The mirror: it ends, it is not stopped by one file, and what it says is verified is there.
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shoebox::store::volume::VolumeError;

use super::decorated::{Call, eio};
use super::furnished::{Furnished, computer, path, upload};

fn trash(home: &Furnished, name: &str) {
    home.tree().trash(&computer(), &path(name)).unwrap();
}

fn folder(home: &Furnished, name: &str) {
    home.tree().make_folder(&computer(), &path(name)).unwrap();
}

#[test]
fn names_that_were_exchanged_are_exchanged_there_too() {
    let mut home = Furnished::new();
    home.put("anna/a", b"first");
    home.put("anna/b", b"second, longer");
    home.put("anna/c", b"third");
    home.mirrored();
    home.rename("anna/a", "anna/t");
    home.rename("anna/b", "anna/a");
    home.rename("anna/c", "anna/b");
    home.rename("anna/t", "anna/c");
    home.mirrored();
    for (name, bytes) in [("a", "second, longer"), ("b", "third"), ("c", "first")] {
        let name = format!("anna/{name}");
        assert_eq!(fs::read_to_string(home.at("b", &name)).unwrap(), bytes, "{name}");
        assert_eq!(home.state(&name, "b"), "verified");
    }
    home.verified_copies_are_there(&["anna/a", "anna/b", "anna/c"]);
}

#[test]
fn a_file_that_became_a_folder_does_not_stop_the_mirror() {
    let mut home = Furnished::new();
    home.put("anna/x", b"a file");
    home.put("anna/q/f", b"in q");
    home.mirrored();
    trash(&home, "anna/x");
    folder(&home, "anna/x");
    home.put("anna/x/y", b"below it");
    home.mirrored();
    assert_eq!(fs::read(home.at("b", "anna/x/y")).unwrap(), b"below it");
    home.put("anna/p", b"another file");
    home.mirrored();
    trash(&home, "anna/p");
    home.rename("anna/q", "anna/p");
    home.mirrored();
    assert_eq!(fs::read(home.at("b", "anna/p/f")).unwrap(), b"in q");
    home.verified_copies_are_there(&["anna/x/y", "anna/p/f"]);
}

#[test]
fn a_folder_that_became_a_file_does_not_stop_the_mirror() {
    let mut home = Furnished::new();
    home.put("anna/d/1", b"one");
    home.put("anna/d/2", b"two");
    home.mirrored();
    trash(&home, "anna/d");
    home.put("anna/d", b"now a file");
    home.mirrored();
    assert_eq!(fs::read(home.at("b", "anna/d")).unwrap(), b"now a file");
    home.pass(30);
    home.mirrored();
    home.verified_copies_are_there(&["anna/d"]);
}

#[test]
fn one_bad_sector_on_the_primary_stops_neither_uploads_nor_the_mirror() {
    let home = Furnished::new();
    home.put("anna/good", b"good");
    home.put("anna/bad", b"bad!");
    let (mut home, a, _) = home.decorated();
    a.step_in(|call, place| {
        let bad = matches!(call, Call::ReadAt | Call::Medium) && place.as_str() == "photos/anna/bad";
        if bad { Err(eio(place)) } else { Ok(()) }
    });
    home.mirrored();
    assert_eq!(home.state("anna/good", "b"), "verified", "the older one is not stopped by the newer one");
    assert_eq!(home.state("anna/bad", "a"), "settled", "once is a hiccup");
    for _ in 0..2 {
        home.pass(1);
        home.mirrored();
    }
    assert_eq!((home.state("anna/bad", "a"), home.state("anna/bad", "b")), ("damaged", "wanted"));
    let doubt = home.pool.primary().unwrap().attached.doubt();
    assert_eq!(doubt.suspect, None, "a drive is not its worst sector");
    // The probe that the daemon's watch makes at once.
    home.watch("a");
    home.put("anna/next", b"taken");
    // The phone still has it: its bytes heal the name.
    a.step_in(|_, _| Ok(()));
    home.put("anna/bad", b"bad!");
    assert_eq!(home.state("anna/bad", "a"), "settled");
    home.pass(1);
    home.mirrored();
    assert_eq!(home.state("anna/bad", "b"), "verified");
}

#[test]
fn a_photo_that_could_not_be_opened_for_a_while_is_not_called_damaged() {
    for code in [libc::EMFILE, libc::EACCES] {
        let home = Furnished::new();
        home.put("anna/a.jpg", b"the only copy");
        let (mut home, a, _) = home.decorated();
        a.step_in(move |call, place| {
            let source = std::io::Error::from_raw_os_error(code);
            let refused = matches!(call, Call::Open | Call::Medium) && place.as_str() == "photos/anna/a.jpg";
            if refused { Err(VolumeError::Io { op: "open", place: place.clone(), source }) } else { Ok(()) }
        });
        for _ in 0..5 {
            home.mirrored();
            home.pass(1);
        }
        assert_eq!(home.state("anna/a.jpg", "a"), "settled", "{code}: nobody has seen its bytes");
        a.step_in(|_, _| Ok(()));
        home.mirrored();
        assert_eq!((home.state("anna/a.jpg", "a"), home.state("anna/a.jpg", "b")), ("settled", "verified"));
    }
}

#[test]
fn a_hiccup_after_days_without_room_is_no_damage() {
    let home = Furnished::new();
    home.put("anna/a.jpg", b"the only copy");
    let (mut home, a, b) = home.decorated();
    b.step_in(|call, place| {
        let full = matches!(call, Call::Stage(_));
        if full { Err(VolumeError::Full { op: "reserve", place: place.clone() }) } else { Ok(()) }
    });
    for _ in 0..4 {
        home.mirrored();
        home.pass(1);
    }
    b.step_in(|_, _| Ok(()));
    let once = AtomicBool::new(true);
    a.step_in(move |call, place| {
        let hiccup = call == Call::ReadAt && place.as_str() == "photos/anna/a.jpg";
        if hiccup && once.swap(false, Ordering::SeqCst) { Err(eio(place)) } else { Ok(()) }
    });
    home.mirrored();
    assert_ne!(home.state("anna/a.jpg", "a"), "damaged");
    home.pass(1);
    home.mirrored();
    assert_eq!(home.state("anna/a.jpg", "b"), "verified");
}

#[test]
fn a_folder_that_the_copy_cannot_make_keeps_no_other_photo_waiting() {
    let home = Furnished::new();
    home.put("anna/good/1.jpg", b"one");
    home.put("anna/bad/2.jpg", b"two");
    let (mut home, _, b) = home.decorated();
    b.step_in(|call, place| {
        let bad = matches!(call, Call::MakeDir | Call::Stat) && place.as_str() == "photos/anna/bad";
        if bad { Err(eio(place)) } else { Ok(()) }
    });
    for _ in 0..5 {
        // The drive is suspect after each failure, until its next probe.
        drop(home.mirror.step(&|| true));
        home.watch("b");
    }
    assert_eq!(home.state("anna/good/1.jpg", "b"), "verified");
    assert_eq!(home.state("anna/bad/2.jpg", "b"), "wanted");
    b.step_in(|_, _| Ok(()));
    home.pass(1);
    home.mirrored();
    assert_eq!(home.state("anna/bad/2.jpg", "b"), "verified");
}

#[test]
fn a_copy_that_cannot_be_renamed_keeps_no_other_photo_waiting() {
    let mut home = Furnished::new();
    home.put("anna/old.jpg", b"renamed");
    home.mirrored();
    home.rename("anna/old.jpg", "anna/new.jpg");
    home.put("anna/next.jpg", b"next");
    let (mut home, _, b) = home.decorated();
    b.step_in(|call, place| {
        let bad = call == Call::Stat && place.as_str() == "photos/anna/old.jpg";
        if bad { Err(eio(place)) } else { Ok(()) }
    });
    for _ in 0..5 {
        drop(home.mirror.step(&|| true));
        home.watch("b");
    }
    assert_eq!(home.state("anna/next.jpg", "b"), "verified");
    assert_eq!(home.state("anna/new.jpg", "b"), "verified", "made anew under its new name");
    home.verified_copies_are_there(&["anna/new.jpg", "anna/next.jpg"]);
}

#[test]
fn a_file_replaced_while_it_is_read_is_not_called_damaged() {
    let home = Furnished::new();
    home.put("anna/a", b"before");
    let (mut home, a, _) = home.decorated();
    let (pool, once) = (Arc::clone(&home.pool), AtomicBool::new(true));
    a.step_in(move |call, place| {
        if call == Call::Open && place.as_str() == "photos/anna/a" && once.swap(false, Ordering::SeqCst) {
            upload(&pool, "anna/a", b"after!").unwrap();
        }
        Ok(())
    });
    home.mirrored();
    assert_eq!((home.state("anna/a", "a"), home.state("anna/a", "b")), ("settled", "verified"));
    assert_eq!(fs::read(home.at("b", "anna/a")).unwrap(), b"after!");
}

#[test]
fn a_name_that_changes_while_it_is_copied_leaves_nothing_behind() {
    for replaced in [false, true] {
        let home = Furnished::new();
        home.put("anna/a", b"content");
        let (mut home, _, b) = home.decorated();
        let (tree, pool, once) = (home.tree(), Arc::clone(&home.pool), AtomicBool::new(true));
        b.step_in(move |call, _| {
            if matches!(call, Call::Stage(Some(7))) && once.swap(false, Ordering::SeqCst) {
                if replaced {
                    upload(&pool, "anna/a", b"other").unwrap();
                } else {
                    tree.rename(&computer(), &path("anna/a"), &path("anna/z"), false).unwrap();
                }
            }
            Ok(())
        });
        home.mirrored();
        let (now, bytes) = if replaced { ("anna/a", "other") } else { ("anna/z", "content") };
        assert_eq!(home.state(now, "b"), "verified");
        let entries = fs::read_dir(home.at("b", "anna")).unwrap().map(|e| e.unwrap());
        let files = entries.filter(|e| e.file_type().unwrap().is_file());
        let left: Vec<_> = files.map(|e| e.file_name()).collect();
        assert_eq!(left, [now.trim_start_matches("anna/")]);
        assert_eq!(fs::read_to_string(home.at("b", now)).unwrap(), bytes);
    }
}

#[test]
fn a_file_too_large_for_the_other_drive_does_not_hold_up_the_small_ones() {
    let home = Furnished::new();
    home.put("anna/small", b"small");
    home.put("anna/large", &[7; 100_000]);
    let (mut home, _, b) = home.decorated();
    b.step_in(|call, place| {
        let large = matches!(call, Call::Stage(Some(100_000)));
        if large { Err(VolumeError::Full { op: "reserve", place: place.clone() }) } else { Ok(()) }
    });
    home.mirrored();
    assert_eq!((home.state("anna/small", "b"), home.state("anna/large", "b")), ("verified", "wanted"));
    b.step_in(|_, _| Ok(()));
    home.mirrored();
    assert_eq!(home.state("anna/large", "b"), "wanted", "not yet");
    home.pass(1);
    home.mirrored();
    assert_eq!(home.state("anna/large", "b"), "verified");
}

#[test]
fn an_unreadable_file_in_the_way_makes_room() {
    let home = Furnished::new();
    home.put("anna/a", b"content");
    fs::create_dir_all(home.at("b", "anna")).unwrap();
    fs::write(home.at("b", "anna/a"), b"rubbish").unwrap();
    let (mut home, _, b) = home.decorated();
    b.step_in(|call, place| {
        let bad = call == Call::Medium && place.as_str() == "photos/anna/a";
        if bad { Err(eio(place)) } else { Ok(()) }
    });
    home.mirrored();
    assert_eq!(home.state("anna/a", "b"), "verified");
    assert_eq!(fs::read(home.at("b", "anna/a")).unwrap(), b"content");
}

#[test]
fn a_lost_catalogue_learns_from_the_mirror_what_the_mirror_has_proved() {
    let mut home = Furnished::new();
    home.put("anna/a", b"content");
    home.mirrored();
    let proved = home.copy("anna/a", "b").unwrap();
    let home = home.away();
    for end in ["", "-wal"] {
        drop(fs::remove_file(home.mount("a").join(format!(".shoebox/catalogue.db{end}"))));
    }
    home.pass(5);
    let mut home = home.restarted();
    home.pass(5);
    home.mirror.step(&|| true).unwrap();
    let again = home.copy("anna/a", "b").unwrap();
    assert_eq!((again.state, again.verified), (proved.state, proved.verified));
}

#[test]
fn a_catalogue_made_anew_while_the_mirror_works_hears_of_its_drives() {
    let mut home = Furnished::new();
    home.put("anna/a", b"content");
    home.mirrored();
    let marker = home.mount("a").join(".shoebox/drive.toml");
    let text = fs::read(&marker).unwrap();
    fs::write(&marker, "x").unwrap();
    home.watch("a");
    fs::write(&marker, text).unwrap();
    for end in ["", "-wal"] {
        drop(fs::remove_file(home.mount("a").join(format!(".shoebox/catalogue.db{end}"))));
    }
    home.watch("a");
    home.put("anna/b", b"new");
    home.mirrored();
    assert_eq!((home.state("anna/a", "b"), home.state("anna/b", "b")), ("verified", "verified"));
}
