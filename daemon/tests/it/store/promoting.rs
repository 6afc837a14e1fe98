//! The main drive dies, and its copy goes on in its place; and what becomes of the dead one when it is alive after all (P7).
use std::collections::BTreeSet;
use std::fs;

use jiff::Timestamp;
use shoebox::model::account::{Device, Token};
use shoebox::model::drive::{DriveRole, Standing};
use shoebox::work::promote::PromoteError;
use shoebox::work::watch::AdoptError;

use super::furnished::{Furnished, computer, path};
use super::standing_in::all_of;

/// A pool with some history, all of it on both drives.
fn lived() -> (Furnished, Token) {
    let mut home = Furnished::new();
    let tablet = device();
    let token = home.pool.add_device(&tablet.person, &tablet.name, tablet.kind).unwrap();
    for (name, bytes) in [("anna/one.jpg", "one"), ("anna/trip/two.jpg", "two"), ("anna/three.jpg", "three")]
    {
        home.put(name, bytes.as_bytes());
    }
    home.tree().make_folder(&computer(), &path("anna/empty")).unwrap();
    home.mirrored();
    home.rename("anna/trip/two.jpg", "anna/trip/deux.jpg");
    home.put("anna/one.jpg", b"one, edited");
    home.tree().trash(&computer(), &path("anna/three.jpg")).unwrap();
    home.mirrored();
    (home, token)
}

fn device() -> Device {
    Device { name: "tablet".parse().unwrap(), ..computer() }
}

/// The drive is pulled for good, or for now.
fn dies(home: &Furnished, drive: &str) {
    let mount = home.mount(drive);
    fs::rename(&mount, mount.with_extension("gone")).unwrap();
    fs::create_dir(&mount).unwrap();
    home.watch(drive);
    home.watch(drive);
    assert_eq!(home.standing(drive), Standing::Blank);
}

fn is_back(home: &Furnished, drive: &str) {
    let mount = home.mount(drive);
    fs::remove_dir(&mount).unwrap();
    fs::rename(mount.with_extension("gone"), &mount).unwrap();
    home.watch(drive);
}

fn known(home: &Furnished) -> BTreeSet<String> {
    all_of(&home.pool.primary().unwrap().catalogue)
}

fn role_of(home: &Furnished, drive: &str) -> Option<DriveRole> {
    let mount = home.mount(drive);
    home.pool.drives().into_iter().find(|d| d.mount == mount).unwrap().role
}

#[test]
fn the_copy_goes_on_where_the_main_drive_died() {
    let (home, token) = lived();
    let before = known(&home);
    let b = home.id("b");
    assert!(matches!(home.pool.promote(b, true), Err(PromoteError::PrimaryThere)));
    assert!(matches!(home.pool.promote(home.id("a"), true), Err(PromoteError::IsPrimary)));
    dies(&home, "a");
    // Nothing is missing, and nobody is asked.
    let promotion = home.pool.promote(b, false).unwrap();
    assert_eq!((promotion.losses, promotion.drive.role), (None, Some(DriveRole::Primary)));
    home.rescanned();
    // A deletion reaches a copy late: what was deleted last is back.
    let back: Vec<String> = known(&home).difference(&before).cloned().collect();
    assert!(matches!(&back[..], [one] if one.starts_with("file anna/three.jpg ")), "{back:?}");
    assert!(known(&home).is_superset(&before), "{:?}", before.difference(&known(&home)));
    assert_eq!(home.pool.sign_in("anna", token.reveal()).unwrap().unwrap().device, device());
    // What was proved on it while it was a copy is proved.
    assert_eq!(home.state("anna/trip/deux.jpg", "b"), "verified");
    home.put("anna/new.jpg", b"new");
    let after = known(&home);
    // And so it is for a box that starts anew, with whatever drives.
    let home = home.away();
    home.watch("b");
    assert_eq!(known(&home), after);
    is_back(&home, "a");
    home.watch("a");
    assert_eq!((home.standing("a"), role_of(&home, "b")), (Standing::Former, Some(DriveRole::Primary)));
    assert_eq!(known(&home), after);
}

#[test]
fn what_may_be_missing_is_said_before_it_is_too_late() {
    let (mut home, _) = lived();
    home.mirrored();
    home.put("anna/late.jpg", b"late");
    home.pool.take_census().unwrap();
    dies(&home, "a");
    let b = home.id("b");
    let Err(PromoteError::MayLose(losses)) = home.pool.promote(b, false) else { panic!("nobody was asked") };
    assert_eq!(losses.lacking, Some((1, 4)));
    assert_eq!(losses.newest, Some("2026-11-21T18:02:11Z".parse::<Timestamp>().unwrap()));
    assert_eq!((home.standing("b"), role_of(&home, "b")), (Standing::Ready, Some(DriveRole::Mirror)));
    // A box that never saw the main drive knows nothing of what it had.
    let home = home.away();
    home.watch("b");
    let Err(PromoteError::MayLose(losses)) = home.pool.promote(b, false) else { panic!("nobody was asked") };
    assert_eq!(losses.lacking, None);
    assert!(home.pool.promote(b, true).unwrap().losses.is_some());
    home.put("anna/new.jpg", b"new");
}

#[test]
fn a_former_main_drive_that_was_plugged_in_first_gives_way() {
    let (home, _) = lived();
    dies(&home, "a");
    home.pool.promote(home.id("b"), false).unwrap();
    home.put("anna/new.jpg", b"new");
    let home = home.away();
    is_back(&home, "a");
    // Alone it cannot be told from a main drive.
    assert_eq!(role_of(&home, "a"), Some(DriveRole::Primary));
    home.watch("b");
    assert_eq!((home.standing("b"), role_of(&home, "b")), (Standing::Ready, Some(DriveRole::Primary)));
    home.watch("a");
    assert_eq!(home.standing("a"), Standing::Former);
    let refused = home.pool.adopt(&home.mount("a"), DriveRole::Primary).unwrap_err();
    assert!(matches!(refused, AdoptError::Marked(_)), "{refused}");
    assert_eq!(fs::read(home.at("b", "anna/new.jpg")).unwrap(), b"new");
}

#[test]
fn what_only_the_former_main_drive_has_is_taken_in() {
    let (home, _) = lived();
    // All this never reaches B: photos, one of them over another, one under a new name, a person, a device.
    home.put("anna/late.jpg", b"late");
    home.put("anna/one.jpg", b"one, edited once more");
    home.rename("anna/trip/deux.jpg", "anna/trip/ii.jpg");
    let bob = "bob".parse().unwrap();
    home.pool.add_person(&bob).unwrap();
    let token = home.pool.add_device(&bob, &"phone".parse().unwrap(), device().kind).unwrap();
    fs::write(home.at("a", "anna/by-hand.jpg"), b"by hand").unwrap();
    dies(&home, "a");
    home.pool.promote(home.id("b"), true).unwrap();
    home.rescanned();
    home.pass(1);
    home.put("anna/one.jpg", b"one, on B");
    assert_eq!(home.pool.sign_in("bob", token.reveal()).unwrap(), None);
    is_back(&home, "a");
    let everything: BTreeSet<Vec<u8>> = ["late", "one, edited once more", "two", "by hand", "one, edited"]
        .map(|text| text.as_bytes().to_vec())
        .into();

    let mut home = home;
    let adopted = home.pool.adopt(&home.mount("a"), DriveRole::Mirror).unwrap();
    assert_eq!((adopted.standing, adopted.role), (Standing::Ready, Some(DriveRole::Mirror)));
    home.mirrored();
    for (name, bytes) in [
        ("anna/late.jpg", "late"),
        ("anna/one.jpg", "one, on B"),
        ("anna/one (2).jpg", "one, edited once more"),
        ("anna/trip/deux.jpg", "two"),
        ("anna/by-hand.jpg", "by hand"),
        ("anna/three.jpg", "three"),
    ] {
        assert!(
            ["settled", "verified"].contains(&home.state(name, "a")),
            "{name}: {}",
            home.state(name, "a")
        );
        for drive in ["a", "b"] {
            assert_eq!(
                fs::read(home.at(drive, name)).ok(),
                Some(bytes.as_bytes().to_vec()),
                "{name} on {drive}"
            );
        }
    }
    // Who sent it and when is what its record says.
    let late = known(&home).into_iter().find(|line| line.starts_with("file anna/late.jpg ")).unwrap();
    assert!(late.contains(" 2026-11-21T18:02:11Z anna/mac"), "{late}");
    assert!(home.pool.sign_in("bob", token.reveal()).unwrap().is_some());
    // Nothing that was anywhere is nowhere.
    let mut left: BTreeSet<Vec<u8>> = BTreeSet::new();
    for drive in ["a", "b"] {
        contents(&home.mount(drive), &mut left);
    }
    let lost: Vec<_> = everything.difference(&left).map(|bytes| String::from_utf8_lossy(bytes)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    // It is looked through once. What comes to it now is the mirror's, and a new box knows that, too.
    let before = known(&home);
    let mut home = home.restarted();
    home.mirrored();
    assert_eq!(known(&home), before);
    // Nothing was copied that was there: the same file under the same name.
    let report = home.pool.verify_now(&Default::default(), &mut |_| ()).unwrap();
    assert_eq!((report.damaged.len(), report.missing.len()), (0, 0), "{report:?}");
}

fn contents(dir: &std::path::Path, all: &mut BTreeSet<Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            contents(&entry.path(), all);
        } else {
            all.insert(fs::read(entry.path()).unwrap());
        }
    }
}

#[test]
fn what_the_former_main_drive_has_is_not_copied_again() {
    use std::os::unix::fs::MetadataExt as _;
    let (mut home, _) = lived();
    let inode = |home: &Furnished, name: &str| fs::metadata(home.at("a", name)).unwrap().ino();
    let before = [inode(&home, "anna/one.jpg"), inode(&home, "anna/trip/deux.jpg")];
    dies(&home, "a");
    home.pool.promote(home.id("b"), false).unwrap();
    home.rescanned();
    home.rename("anna/trip/deux.jpg", "anna/trip/ii.jpg");
    is_back(&home, "a");
    home.pool.adopt(&home.mount("a"), DriveRole::Mirror).unwrap();
    home.mirrored();
    assert_eq!(before, [inode(&home, "anna/one.jpg"), inode(&home, "anna/trip/ii.jpg")]);
    assert_eq!(home.state("anna/one.jpg", "a"), "verified", "read, and found to be what it should be");
    // Nobody has read the renamed one yet.
    assert_eq!(home.state("anna/trip/ii.jpg", "a"), "settled");
    // And back again: the former copy becomes the copy.
    dies(&home, "b");
    let promotion = home.pool.promote(home.id("a"), true).unwrap();
    assert_eq!(promotion.drive.role, Some(DriveRole::Primary));
    home.rescanned();
    is_back(&home, "b");
    assert_eq!(home.standing("b"), Standing::Former);
    home.pool.adopt(&home.mount("b"), DriveRole::Mirror).unwrap();
    home.put("anna/last.jpg", b"last");
    home.mirrored();
    for name in ["anna/one.jpg", "anna/trip/ii.jpg", "anna/last.jpg"] {
        assert_eq!(home.state(name, "b"), "verified", "{name}");
    }
}

#[test]
fn a_drive_that_is_retired_is_left_alone_until_it_is_adopted_anew() {
    let (mut home, _) = lived();
    let (b, mount) = (home.id("b"), home.mount("b"));
    home.pool.retire(b).unwrap();
    home.watch("b");
    assert_eq!(home.standing("b"), Standing::Retired);
    assert_eq!(home.copy_count("anna/one.jpg"), 1);
    // A box that starts anew, and one that has lost its catalogue, know it as well.
    let home2 = home.restarted();
    assert_eq!(home2.standing("b"), Standing::Retired);
    home = home2.away();
    fs::remove_file(home.mount("a").join(".shoebox/catalogue.db")).unwrap();
    home.watch("b");
    home.watch("a");
    home.watch("b");
    home.watch("b");
    assert_eq!(home.standing("b"), Standing::Retired);
    home.pool.adopt(&mount, DriveRole::Mirror).unwrap();
    assert_ne!(home.id("b"), b);
    home.mirrored();
    assert_eq!(home.state("anna/one.jpg", "b"), "verified");
}

/// A person had said yes to all of it before it reached the copy: the box does not ask again.
#[test]
fn what_was_deleted_on_a_copy_long_ago_is_no_alarm_after_a_promotion() {
    const MANY: usize = 33;
    let mut home = Furnished::new();
    let name = |number: usize| format!("anna/album/{number}.jpg");
    (0..MANY).for_each(|number| drop(home.put(&name(number), format!("{number}").as_bytes())));
    home.put("anna/kept.jpg", b"kept");
    home.mirrored();
    home.pass(3);
    (0..MANY).for_each(|number| home.tree().trash(&computer(), &path(&name(number))).unwrap());
    home.pool.take_census().unwrap();
    home.pool.it_was_me(&[], None, &mut |_| ()).unwrap();
    home.pass(48);
    home.mirrored();
    assert!(!home.at("b", &name(0)).exists(), "it reached B");
    dies(&home, "a");
    home.pool.promote(home.id("b"), true).unwrap();
    home.rescanned();
    home.pool.take_census().unwrap();
    assert_eq!(home.pool.changes(None, 0).unwrap().summary, None);
    assert_eq!(home.state("anna/kept.jpg", "b"), "verified");
}
