//! Any one drive holds what is needed to rebuild the rest (P7): the record of a mere copy says who is who and what was where.
use std::collections::BTreeSet;

use jiff::Timestamp;
use shoebox::model::drive::DriveRole;
use shoebox::model::event::What;
use shoebox::store::catalogue::apply::{self, On};
use shoebox::store::catalogue::{Catalogue, accounts};
use shoebox::store::disk::{DiskVolume, Found, look};
use shoebox::store::manifest;

use super::furnished::{Furnished, computer, path, phone};

/// Everything that people would miss, in words.
pub(super) fn all_of(catalogue: &Catalogue) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let (people, devices, retired) =
        catalogue.read(|r| Ok((r.people_since()?, r.devices()?, r.retired()?))).unwrap();
    all.extend(people.into_iter().map(|person| format!("person {person:?}")));
    all.extend(
        devices
            .into_iter()
            .map(|d| format!("device {:?} {:?} {} {:?}", d.device, d.token.as_bytes(), d.created, d.revoked)),
    );
    all.extend(retired.into_iter().map(|drive| format!("retired {drive:?}")));
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for row in catalogue.read(|r| r.children(&folder, "", 1000)).unwrap() {
            match row.hash {
                // When a folder was made is no promise.
                None => {
                    folders.push(row.path.fold_key());
                    all.insert(format!("folder {}", row.path));
                }
                Some(hash) => {
                    let (size, mtime, received) = (row.size, row.mtime, row.received);
                    let file = format!("file {} {hash} {size} {mtime} {received} {}", row.path, row.by);
                    all.insert(file);
                }
            }
        }
    }
    all
}

/// A catalogue from nothing but a drive's own record, as if the drive were the primary.
fn from_record_of(home: &Furnished, drive: &str, wrote_as: DriveRole) -> Catalogue {
    let catalogue = Catalogue::in_memory().unwrap();
    let id = home.id(drive);
    let on = On { drive: id, role: DriveRole::Primary, wrote_as };
    catalogue
        .write(|tx| {
            accounts::put_drive(tx, id, DriveRole::Primary, Timestamp::UNIX_EPOCH)?;
            manifest::read(&volume(home, drive), 0, &mut |event| {
                apply::apply(tx, on, &event).unwrap();
            })
            .unwrap();
            Ok(())
        })
        .unwrap();
    catalogue
}

fn volume(home: &Furnished, drive: &str) -> DiskVolume {
    let Found::Marked(volume, _) = look(&home.mount(drive)) else { panic!("no drive {drive}") };
    volume
}

fn told(home: &Furnished) -> usize {
    let mut told = 0;
    let mut count = |what: What| {
        told += usize::from(!matches!(what, What::Stored { .. }));
    };
    manifest::read(&volume(home, "b"), 0, &mut |event| count(event.what)).unwrap();
    told
}

#[test]
fn the_record_of_a_copy_says_who_is_who_and_what_was_where() {
    let mut home = Furnished::new();
    home.put("anna/one.jpg", b"one");
    home.put("anna/album/two.jpg", b"two");
    home.put("anna/three.jpg", b"three");
    home.tree().make_folder(&computer(), &path("anna/empty")).unwrap();
    home.tree().make_folder(&computer(), &path("anna/passing")).unwrap();
    home.mirrored();
    assert!(home.at("b", "anna/empty").is_dir() && home.at("b", "anna/passing").is_dir());
    home.pass(1);
    let bob = "bob".parse().unwrap();
    home.pool.add_person(&bob).unwrap();
    drop(home.pool.add_device(&bob, &"phone".parse().unwrap(), phone().kind).unwrap());
    home.pass(1);
    home.pool.revoke_device(&phone().person, &phone().name).unwrap();
    home.rename("anna/album", "anna/Album of 2026");
    home.rename("anna/empty", "anna/still empty");
    home.tree().trash(&computer(), &path("anna/passing")).unwrap();
    home.tree()
        .set_mtime(&computer(), &path("anna/one.jpg"), "2020-01-01T00:00:00Z".parse().unwrap())
        .unwrap();
    home.tree()
        .set_mtime(&computer(), &path("anna/Album of 2026/two.jpg"), "2021-01-01T00:00:00Z".parse().unwrap())
        .unwrap();
    home.tree().trash(&computer(), &path("anna/three.jpg")).unwrap();
    home.put("anna/one.jpg", b"another one");
    // Deletions reach B a day later.
    home.mirrored();
    home.pass(48);
    home.mirrored();
    assert!(home.at("b", "anna/still empty").is_dir() && !home.at("b", "anna/passing").exists());

    let known = all_of(&home.pool.primary().unwrap().catalogue);
    let by_b = from_record_of(&home, "b", DriveRole::Mirror);
    let by_a = from_record_of(&home, "a", DriveRole::Primary);
    assert_eq!(all_of(&by_a), known);
    // Folders whose last file moved away are known by their names only until somebody looks at the drive.
    let mut by_b = all_of(&by_b);
    let passed = by_b.remove("folder anna/album");
    assert_eq!(by_b, known, "{passed}");

    // Told once, whatever is asked again; and told anew to a catalogue that does not know it was told, without harm.
    let before = told(&home);
    home.mirrored();
    let mut home = home.restarted();
    home.mirrored();
    assert_eq!(told(&home), before);
    let again = home.away();
    std::fs::remove_file(again.mount("a").join(".shoebox/catalogue.db")).unwrap();
    let mut home = again;
    home.watch("a");
    home.watch("b");
    home.mirrored();
    assert_eq!(told(&home), before, "the record itself says what it was told");
    assert_eq!(all_of(&home.pool.primary().unwrap().catalogue), known);
}

#[test]
fn a_device_that_may_sign_in_again_is_told_as_such() {
    let mut home = Furnished::new();
    let phone = phone();
    for _ in 0..2 {
        home.mirrored();
        home.pass(1);
        home.pool.revoke_device(&phone.person, &phone.name).unwrap();
        home.mirrored();
        home.pass(1);
        drop(home.pool.add_device(&phone.person, &phone.name, phone.kind).unwrap());
    }
    home.mirrored();
    let known = all_of(&home.pool.primary().unwrap().catalogue);
    assert_eq!(all_of(&from_record_of(&home, "b", DriveRole::Mirror)), known);
    // Revoked and added and revoked while B was not looking.
    home.pool.revoke_device(&phone.person, &phone.name).unwrap();
    drop(home.pool.add_device(&phone.person, &phone.name, phone.kind).unwrap());
    home.pool.revoke_device(&phone.person, &phone.name).unwrap();
    home.mirrored();
    let known = all_of(&home.pool.primary().unwrap().catalogue);
    assert!(known.iter().any(|line| line.contains("Some(")), "{known:?}");
    assert_eq!(all_of(&from_record_of(&home, "b", DriveRole::Mirror)), known);
}
