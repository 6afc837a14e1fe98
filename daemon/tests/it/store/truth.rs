//! What the box says: of copies, of drives that are away or hang, and of who may sign in.
use std::fs::{self, File};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use shoebox::model::account::DeviceKind;
use shoebox::model::drive::{DriveRole, Standing};
use shoebox::model::health::{Finding, Light};
use shoebox::model::path::RelPath;
use shoebox::model::place::{Place, Shelf};
use shoebox::plan::facts::{Facts, Limits};
use shoebox::plan::failing::Kind;
use shoebox::work::error::Refusal;
use shoebox::work::health::HealthCheck;
use shoebox::work::ingest::{Ingest, Outcome};
use shoebox::work::views::{FindQuery, VerifyReport, VerifyScope};
use shoebox::work::watch::DriveWatch;

use super::decorated::{Call, eio};
use super::furnished::{Furnished, computer, offer, path, phone, upload};

fn verify(home: &Furnished) -> VerifyReport {
    home.pool.verify_now(&VerifyScope::default(), &mut |_| {}).unwrap()
}

#[test]
fn a_copy_that_is_not_there_is_no_longer_called_verified_and_b_gets_it_again() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"on both");
    home.put("anna/b.jpg", b"here, too");
    home.mirrored();
    assert_eq!((verify(&home).equal, home.state("anna/a.jpg", "a")), (4, "verified"));
    home.looked();
    assert!(home.pool.receipt("anna/a.jpg").unwrap().unwrap().safe_to_delete);
    fs::remove_file(home.at("b", "anna/a.jpg")).unwrap();
    fs::remove_file(home.at("a", "anna/b.jpg")).unwrap();
    let report = verify(&home);
    assert_eq!((report.equal, report.missing), (2, vec![path("anna/b.jpg"), path("anna/a.jpg")]));
    assert_eq!((home.state("anna/a.jpg", "b"), home.state("anna/b.jpg", "a")), ("wanted", "missing"));
    for name in ["anna/a.jpg", "anna/b.jpg"] {
        assert!(!home.pool.receipt(name).unwrap().unwrap().safe_to_delete);
    }
    home.mirrored();
    assert_eq!(home.state("anna/a.jpg", "b"), "verified");
    assert_eq!(fs::read(home.at("b", "anna/a.jpg")).unwrap(), b"on both");
}

#[test]
fn one_error_in_reading_is_no_damage_and_two_are() {
    for (errors, state) in [(1, "verified"), (2, "damaged")] {
        let home = Furnished::new();
        home.put("anna/a.jpg", b"content");
        let (home, a, _) = home.decorated();
        let left = AtomicU32::new(errors);
        a.step_in(move |call, place| {
            let photo = call == Call::Medium && place.as_str() == "photos/anna/a.jpg";
            let fails =
                photo && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            if fails { Err(eio(place)) } else { Ok(()) }
        });
        verify(&home);
        assert_eq!(home.state("anna/a.jpg", "a"), state);
        // What could not be read is held against it.
        let incident = (errors == 2).then_some(Kind::Read);
        let doubt = home.pool.primary().unwrap().attached.doubt();
        assert_eq!((doubt.incident, doubt.suspect, doubt.unread.is_some()), (incident, None, errors == 2));
    }
}

/// Nothing is acknowledged on it until a probe passes, which reads beside the bad block; uploads wait for that, and are refused nothing.
#[test]
fn after_a_read_that_failed_uploads_wait_for_a_probe_that_reads_beside_it() {
    let home = Furnished::new();
    for name in ["a", "b", "c"] {
        home.put(&format!("anna/{name}.jpg"), name.as_bytes());
    }
    let (home, a, _) = home.decorated();
    let bad = Arc::new(Mutex::new(vec!["a"]));
    let known = Arc::clone(&bad);
    a.step_in(move |call, place| {
        let is_bad = |name: &&str| place.as_str() == format!("photos/anna/{name}.jpg");
        if call == Call::Medium && known.lock().unwrap().iter().any(is_bad) {
            Err(eio(place))
        } else {
            Ok(())
        }
    });
    verify(&home);
    let attached = Arc::clone(&home.pool.primary().unwrap().attached);
    let uploaded = |name: &'static str| {
        let pool = Arc::clone(&home.pool);
        std::thread::spawn(move || upload(&pool, name, name.as_bytes()).map(drop))
    };
    let waiting = uploaded("anna/d.jpg");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished(), "suspect until a probe passes");
    home.watch("a");
    waiting.join().unwrap().expect("one bad block refuses nobody anything");
    // All the others of its folder cannot be read either: that is more than a bad block.
    *bad.lock().unwrap() = vec!["a", "b", "c", "d"];
    attached.file_only(eio(&Place::photo(&path("anna/a.jpg")))).unwrap();
    let refused = uploaded("anna/e.jpg");
    home.watch("a");
    home.watch("a");
    assert!(!refused.is_finished() && attached.doubt().unread.is_some());
    assert!(matches!(home.standing("a"), Standing::Suspect { .. }), "{:?}", home.standing("a"));
    // And for all that goes on what it writes is safe on it: nobody is refused for ever.
    home.watch("a");
    refused.join().unwrap().unwrap();
}

/// A shortage in the daemon itself says nothing about a photo: it is no damage, and verifying does not pass it over either.
#[test]
fn what_could_not_be_read_for_other_reasons_is_told_and_is_no_damage() {
    let home = Furnished::new();
    home.put("anna/a.jpg", b"content");
    let (home, a, _) = home.decorated();
    a.step_in(|call, place| {
        if call == Call::Medium && place.as_str() == "photos/anna/a.jpg" {
            let source = std::io::Error::from_raw_os_error(libc::EMFILE);
            return Err(shoebox::store::volume::VolumeError::Io { op: "open", place: place.clone(), source });
        }
        Ok(())
    });
    let report = verify(&home);
    assert_eq!((report.not_read.as_slice(), report.damaged.len()), ([path("anna/a.jpg")].as_slice(), 0));
    assert_eq!(home.state("anna/a.jpg", "a"), "settled");
}

#[test]
fn a_file_replaced_or_renamed_while_it_is_verified_is_neither_damaged_nor_missing() {
    for rename in [false, true] {
        let home = Furnished::new();
        home.put("anna/a.jpg", b"before");
        let (home, a, _) = home.decorated();
        let (pool, tree, left) = (Arc::clone(&home.pool), home.tree(), AtomicU32::new(1));
        a.step_in(move |call, place| {
            if call == Call::Medium
                && place.as_str() == "photos/anna/a.jpg"
                && left.swap(0, Ordering::SeqCst) == 1
            {
                if rename {
                    tree.rename(&computer(), &path("anna/a.jpg"), &path("anna/z.jpg"), false).unwrap();
                } else {
                    upload(&pool, "anna/a.jpg", b"after!").unwrap();
                }
            }
            Ok(())
        });
        let report = verify(&home);
        assert_eq!((report.damaged.len(), report.missing.len()), (0, 0));
        assert_eq!(home.state(if rename { "anna/z.jpg" } else { "anna/a.jpg" }, "a"), "settled");
    }
}

#[test]
fn a_drive_that_was_taken_away_proves_nothing() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", b"content");
    home.mirrored();
    verify(&home);
    let safe = |home: &Furnished| home.pool.receipt("anna/a.jpg").unwrap().unwrap().safe_to_delete;
    let finding = Finding {
        code: "drive-absent".to_owned(),
        about: home.id("b").short(),
        light: Light::Red,
        sentence: String::new(),
        remedy: String::new(),
        since: Timestamp::UNIX_EPOCH,
    };
    home.looked();
    assert!(safe(&home));
    fs::rename(home.mount("b"), home.mount("taken")).unwrap();
    home.watch("b");
    home.pool.set_findings(vec![finding]);
    assert!(!safe(&home));
}

#[test]
fn the_minute_check_waits_for_no_drive_and_names_the_one_that_hangs() {
    let home = Furnished::new();
    let facts = Arc::new(Mutex::new(Facts::default()));
    let reports: shoebox::work::health::Reports = Arc::new(Vec::new);
    let minute = Duration::from_secs(60);
    let mut check = HealthCheck::new(Arc::clone(&home.pool), Limits::default(), minute, reports, facts);
    home.watch("a");
    check.check();
    let stuck = |home: &Furnished| home.pool.findings().iter().any(|f| f.code == "drive-stuck");
    assert!(!stuck(&home));
    // A commit that never comes back holds the catalogue.
    let primary = home.pool.primary().unwrap();
    let (release, held) = mpsc::channel::<()>();
    let (entered, enter) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            primary.catalogue.read(|_| {
                entered.send(()).unwrap();
                assert!(held.recv().is_err(), "let go, not told");
                Ok(())
            })
        });
        enter.recv().unwrap();
        let (pool, mount) = (Arc::clone(&home.pool), home.mount("a"));
        scope.spawn(move || DriveWatch::new(pool, mount).step().unwrap());
        let begun = || home.pool.slot_views()[0].probing_since.is_some();
        while !begun() {
            std::thread::sleep(Duration::from_millis(1));
        }
        home.pass(1);
        check.check();
        let told = stuck(&home);
        let refused = home.pool.available().is_err();
        drop(release);
        assert!(told && refused);
    });
    home.watch("a");
    check.check();
    assert!(!stuck(&home), "and it heals");
}

#[test]
fn a_token_is_good_for_its_person_until_it_is_revoked() {
    let home = Furnished::new();
    let anna = phone().person;
    home.pool.add_person(&"ben".parse().unwrap()).unwrap();
    let token = home.pool.add_device(&anna, &"tablet".parse().unwrap(), DeviceKind::Phone).unwrap();
    let known = |user: &str, password: &str| home.pool.sign_in(user, password).unwrap().is_some();
    assert!(known("anna", token.reveal()) && known("anna", &token.reveal().replace('-', "")));
    assert!(!known("ben", token.reveal()) && !known("Anna", token.reveal()) && !known("", token.reveal()));
    assert!(!known("anna", "") && !known("anna", &token.reveal()[1..]));
    let seen = home.pool.devices().unwrap().into_iter().find(|d| d.name.as_str() == "tablet").unwrap();
    assert!(seen.last_seen.is_some() && !seen.revoked);
    home.pool.revoke_device(&anna, &"tablet".parse().unwrap()).unwrap();
    assert!(!known("anna", token.reveal()));
    assert!(home.pool.revoke_device(&anna, &"tablet".parse().unwrap()).is_err());
    let again = home.pool.add_device(&anna, &"tablet".parse().unwrap(), DeviceKind::Phone).unwrap();
    assert!(known("anna", again.reveal()) && !known("anna", token.reveal()));
    let home = home.restarted();
    assert!(home.pool.sign_in("anna", again.reveal()).unwrap().is_some());
    assert!(home.pool.sign_in("anna", token.reveal()).unwrap().is_none());
}

#[test]
fn a_revoked_token_stays_revoked_whatever_else_happens_at_that_moment() {
    let home = Furnished::new();
    let anna = phone().person;
    for round in 0..40 {
        let name = format!("old-{round}").parse().unwrap();
        let token = home.pool.add_device(&anna, &name, DeviceKind::Phone).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| home.pool.revoke_device(&anna, &name).unwrap());
            scope.spawn(|| {
                let other = format!("new-{round}").parse().unwrap();
                drop(home.pool.add_device(&anna, &other, DeviceKind::Phone).unwrap());
            });
        });
        assert!(home.pool.sign_in("anna", token.reveal()).unwrap().is_none(), "round {round}");
    }
}

#[test]
fn find_looks_by_person_device_text_date_and_state() {
    let mut home = Furnished::new();
    home.put("anna/Summer/IMG_1.jpg", b"1");
    home.mirrored();
    home.pass(1);
    home.put("anna/img_2.jpg", b"2");
    let find = |query: FindQuery| -> Vec<String> {
        let found = home.pool.find(&query, None, 10).unwrap();
        found.into_iter().map(|f| f.path.name().to_owned()).collect()
    };
    let all = ["IMG_1.jpg", "img_2.jpg"];
    assert_eq!(find(FindQuery::default()), all);
    let device = |name: &str| Some(name.parse().unwrap());
    assert_eq!(find(FindQuery { device: device("mac"), ..FindQuery::default() }), all);
    for other in ["m_c", "phone", "ma"] {
        assert_eq!(find(FindQuery { device: device(other), ..FindQuery::default() }), [""; 0], "{other}");
    }
    assert_eq!(find(FindQuery { person: device("anna"), ..FindQuery::default() }), all);
    assert_eq!(find(FindQuery { person: device("ann"), ..FindQuery::default() }), [""; 0]);
    let text = |text: &str| FindQuery { name_contains: Some(text.to_owned()), ..FindQuery::default() };
    assert_eq!(find(text("IMG_2")), ["img_2.jpg"]);
    assert_eq!(find(text("summer/")), ["IMG_1.jpg"]);
    assert_eq!(find(text("%")), [""; 0]);
    let now = Some(home.pool.now());
    assert_eq!(find(FindQuery { received_from: now, ..FindQuery::default() }), ["img_2.jpg"]);
    assert_eq!(find(FindQuery { received_to: now, ..FindQuery::default() }), ["IMG_1.jpg"]);
    let state = |state: &str| FindQuery { state: Some(state.parse().unwrap()), ..FindQuery::default() };
    assert_eq!(find(state("wanted")), ["img_2.jpg"]);
    assert_eq!(find(state("verified")), ["IMG_1.jpg"]);
    let page = home.pool.find(&FindQuery::default(), None, 1).unwrap();
    assert_eq!(
        home.pool.find(&FindQuery::default(), Some(page[0].id), 1).unwrap()[0].path.name(),
        "img_2.jpg"
    );
}

/// A row is no proof: bytes that arrive once more are thrown away only when those on the drive were read and are the same.
#[test]
fn an_upload_is_not_acknowledged_on_bytes_that_spoiled_on_the_drive() {
    let home = Furnished::new();
    home.put("anna/a.jpg", b"the photo");
    fs::write(home.at("a", "anna/a.jpg"), b"not it at").unwrap();
    home.put("anna/b.jpg", b"the photo");
    assert_eq!(fs::read(home.at("a", "anna/b.jpg")).unwrap(), b"the photo", "no link to the spoiled one");
    home.put("anna/a.jpg", b"the photo");
    assert_eq!(fs::read(home.at("a", "anna/a.jpg")).unwrap(), b"the photo");
    assert_eq!(verify(&home).damaged, Vec::<RelPath>::new());
    // Scratch lies under its hash: what spoiled there is not handed to the next upload either.
    home.put("anna/c.part", b"a long film");
    let scratch = home.mount("a").join(".shoebox/scratch");
    let file = fs::read_dir(&scratch).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, b"a lost film").unwrap();
    home.put("anna/d.part", b"a long film");
    assert_eq!(fs::read(&file).unwrap(), b"a long film");
}

#[test]
fn a_damaged_photo_gets_no_second_name() {
    let home = Furnished::new();
    home.put("anna/a.jpg", b"the photo");
    // Bits that rot change no dates.
    let before = fs::metadata(home.at("a", "anna/a.jpg")).unwrap().modified().unwrap();
    fs::write(home.at("a", "anna/a.jpg"), b"not it at").unwrap();
    File::options().write(true).open(home.at("a", "anna/a.jpg")).unwrap().set_modified(before).unwrap();
    assert_eq!(verify(&home).damaged, [path("anna/a.jpg")]);
    let copied = home.tree().copy(&computer(), &path("anna/a.jpg"), &path("anna/b.jpg"), false, false);
    assert!(matches!(copied, Err(Refusal::Unavailable { .. })));
    assert!(!home.at("a", "anna/b.jpg").exists());
}

#[test]
fn an_empty_file_from_a_phone_takes_no_photo_away() {
    let home = Furnished::new();
    home.put("anna/phone/a.jpg", b"the photo");
    let send = |by| {
        let mut offer = offer("anna/phone/a.jpg", 0);
        offer.by = by;
        Ingest::new(Arc::clone(&home.pool)).begin(offer).unwrap().finish().unwrap().settle().unwrap()
    };
    let kept = send(phone());
    assert_eq!((kept.outcome(), kept.node().shelf), (Outcome::Unchanged, Shelf::Photos));
    assert_eq!(fs::read(home.at("a", "anna/phone/a.jpg")).unwrap(), b"the photo");
    // An editor does this before it writes; the photo is in the trash, as after a deletion.
    assert_eq!(send(computer()).outcome(), Outcome::Replaced);
    assert!(!home.at("a", "anna/phone/a.jpg").exists());
}

#[test]
fn what_is_gone_and_on_no_other_drive_is_counted_apart() {
    let mut home = Furnished::new();
    home.put("anna/copied.jpg", b"on both");
    home.mirrored();
    home.put("anna/new.jpg", b"on A alone");
    for name in ["anna/copied.jpg", "anna/new.jpg"] {
        fs::remove_file(home.at("a", name)).unwrap();
    }
    home.rescanned();
    let counted = |home: &Furnished| {
        let drives = home.pool.drives_counted();
        let tally = drives.iter().find(|drive| drive.mount == home.mount("a")).unwrap().tally;
        (tally.missing, tally.nowhere)
    };
    assert_eq!(counted(&home), (2, 1));
    // Its phone sends it again.
    home.put("anna/new.jpg", b"on A alone");
    assert_eq!(counted(&home), (1, 0));
}

/// It is plugged in, and nobody is sent to look for it.
#[test]
fn a_main_drive_that_cannot_be_opened_is_not_said_to_be_away() {
    let home = Furnished::new().away();
    // No probe can be written here.
    let probe = home.mount("a").join(".shoebox/probe");
    drop(fs::remove_file(&probe));
    fs::create_dir_all(probe.join("in the way")).unwrap();
    home.watch("b");
    home.watch("a");
    let reports: shoebox::work::health::Reports = Arc::new(Vec::new);
    let limits = Limits { starting: Duration::ZERO, ..Limits::default() };
    let minute = Duration::from_secs(60);
    let mut check = HealthCheck::new(Arc::clone(&home.pool), limits, minute, reports, Arc::default());
    let told = |check: &mut HealthCheck| -> Vec<(String, bool)> {
        check.check();
        let findings = home.pool.findings();
        let mut told: Vec<_> =
            findings.iter().map(|f| (f.code.clone(), f.sentence.starts_with("Drive A (main)"))).collect();
        // How full the disk is that this test runs on is nothing to it.
        told.retain(|(code, _)| code.starts_with("drive-") || code.starts_with("primary-"));
        told.retain(|(code, _)| code != "drive-filling");
        told
    };
    assert_eq!(told(&mut check), [("drive-suspect".to_owned(), true)]);
    let listed = home.pool.drives().into_iter().find(|drive| drive.mount == home.mount("a")).unwrap();
    assert_eq!(
        (listed.role, listed.id.is_some()),
        (Some(DriveRole::Primary), true),
        "which one it is, is known"
    );
    fs::remove_dir_all(&probe).unwrap();
    home.watch("a");
    assert_eq!(told(&mut check), []);
}
