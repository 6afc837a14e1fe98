//! Real filesystems behind loop devices: the contract of a volume, another disk in a drive's place, and a medium that differs
//! from what memory holds. Needs root; what cannot be done is told as left out.
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use shoebox::model::drive::{Marker, Standing};
use shoebox::model::place::Place;
use shoebox::store::contract::contract;
use shoebox::store::disk::{self, Found};
use shoebox::store::volume::{Volume, VolumeError};
use shoebox::work::views::VerifyScope;

use super::furnished::{Furnished, computer, path, upload};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

/// What drives are formatted with, and what a small image of each needs, MiB. exFAT has neither nameless files nor links nor,
/// served by FUSE, a rename that refuses to replace.
const KINDS: [(&str, u64, &[&str]); 4] = [
    ("ext4", 96, &["mkfs.ext4", "-q", "-F"]),
    ("xfs", 320, &["mkfs.xfs", "-q", "-f"]),
    ("btrfs", 160, &["mkfs.btrfs", "-q", "-f"]),
    ("exfat", 64, &["mkfs.exfat"]),
];

fn ext4(dir: &Path, at: &Path) -> Result<Mounted, String> {
    Mounted::image(&dir.join("ext4.img"), 64, KINDS[0].2, at)
}

#[test]
fn every_kind_of_filesystem_keeps_the_contract() {
    for (kind, mib, mkfs) in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("mount");
        fs::create_dir(&at).unwrap();
        let _mounted = match Mounted::image(&dir.path().join("image"), mib, mkfs, &at) {
            Ok(mounted) => mounted,
            Err(why) => {
                leave_out(&format!("contract-on-{kind}"), &why);
                continue;
            }
        };
        let marker = marker();
        let made = Mutex::new(0);
        let fresh = || {
            let mut made = made.lock().unwrap();
            *made += 1;
            let root = at.join(made.to_string());
            fs::create_dir(&root).unwrap();
            let volume: Box<dyn Volume> = Box::new(disk::adopt(&root, &marker).unwrap());
            volume
        };
        contract(&fresh).unwrap_or_else(|why| panic!("{kind}:\n{why}"));
    }
}

fn marker() -> Marker {
    let home = Furnished::new();
    match disk::look(&home.mount("a")) {
        Found::Marked(_, marker) => *marker,
        Found::Unmarked | Found::Unreadable(_) | Found::Nothing(_) => panic!("not adopted"),
    }
}

/// Names below a directory, our own folder left out.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name != "lost+found").collect();
    names.sort();
    names
}

#[test]
fn another_disk_in_its_place_gets_nothing() {
    let spare = tempfile::tempdir().unwrap();
    let (home, a) = match Furnished::mounted("a", |at| ext4(spare.path(), at)) {
        Ok(home) => home,
        Err(why) => return leave_out("another-disk-in-its-place", &why),
    };
    let at = home.mount("a");
    home.put("anna/a.jpg", b"on the drive");
    let volume = home.pool.primary().unwrap().attached.volume.clone();
    let refused = |when: &str| {
        assert!(matches!(volume.prove(), Err(VolumeError::Gone { .. })), "{when}");
        assert!(matches!(volume.stage(None), Err(VolumeError::Gone { .. })), "{when}");
        assert!(matches!(volume.list(&Place::root()), Err(VolumeError::Gone { .. })), "{when}");
        assert!(upload(&home.pool, "anna/b.jpg", b"never").is_err(), "{when}");
        home.watch("a");
        assert_ne!(home.standing("a"), Standing::Ready, "{when}");
        assert!(upload(&home.pool, "anna/b.jpg", b"never").is_err(), "{when}");
    };

    a.pull();
    refused("unmounted");
    assert_eq!(names(&at), [""; 0], "nothing on the card beneath");

    let blank = Mounted::image(&spare.path().join("blank.img"), 64, KINDS[0].2, &at).unwrap();
    refused("a blank disk");
    assert_eq!(names(&at), [""; 0], "a blank disk stays blank");
    blank.pull();

    // The whole content of the drive, marker and all, on another filesystem.
    let copied = Mounted::image(&spare.path().join("copy.img"), 64, KINDS[0].2, &at).unwrap();
    let original = spare.path().join("original");
    fs::create_dir(&original).unwrap();
    let second = a.mount_also(&original);
    copy_all(&original, &at);
    refused("a copy of the drive");
    assert!(matches!(home.standing("a"), Standing::Foreign { .. }), "{:?}", home.standing("a"));
    assert!(!at.join("photos/anna/b.jpg").exists());
    copied.pull();
    drop(second);

    a.mount_again();
    home.comes_back("a");
    home.put("anna/b.jpg", b"at last");
    assert_eq!(names(&at.join("photos/anna")), ["a.jpg", "b.jpg", "phone"]);
}

fn copy_all(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_marker_that_changed_is_another_drive() {
    let home = Furnished::new();
    let volume = home.pool.primary().unwrap().attached.volume.clone();
    volume.prove().unwrap();
    let file = home.mount("a").join(Place::marker().as_str());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("role = \"primary\"", "role = \"offline\"")).unwrap();
    assert!(matches!(volume.prove(), Err(VolumeError::Gone { .. })));
    assert!(upload(&home.pool, "anna/a.jpg", b"never").is_err());
    fs::write(&file, text).unwrap();
    home.comes_back("a");
    home.put("anna/a.jpg", b"again");
}

#[test]
fn what_the_medium_lost_is_seen_although_memory_has_it() {
    let spare = tempfile::tempdir().unwrap();
    let (mut home, _b) = match Furnished::mounted("b", |at| ext4(spare.path(), at)) {
        Ok(home) => home,
        Err(why) => return leave_out("medium-behind-the-cache", &why),
    };
    let photo = luck::bytes(11, 300_000);
    home.put("anna/a.jpg", &photo);
    home.mirrored();
    assert_eq!(home.state("anna/a.jpg", "b"), "verified");
    let on_b = home.at("b", "anna/a.jpg");
    assert_eq!(fs::read(&on_b).unwrap(), photo, "now memory has it");

    let image = spare.path().join("ext4.img");
    let raw = fs::read(&image).unwrap();
    let offset = raw.windows(64).position(|piece| *piece == photo[200_000..200_064]).unwrap();
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&[raw[offset] ^ 1], offset as u64).unwrap();

    assert_eq!(fs::read(&on_b).unwrap(), photo, "memory does not know");
    let report = home.pool.verify_now(&VerifyScope::default(), &mut |_| {}).unwrap();
    assert_eq!(report.damaged, [path("anna/a.jpg")]);
    assert_eq!((home.state("anna/a.jpg", "a"), home.state("anna/a.jpg", "b")), ("verified", "damaged"));
    assert!(!home.pool.receipt("anna/a.jpg").unwrap().unwrap().safe_to_delete);
}

#[test]
fn a_drive_without_links_and_nameless_files_holds_all_that_the_others_do() {
    for drive in ["a", "b"] {
        let spare = tempfile::tempdir().unwrap();
        let exfat = |at: &Path| Mounted::image(&spare.path().join("exfat.img"), KINDS[3].1, KINDS[3].2, at);
        let (mut home, _mounted) = match Furnished::mounted(drive, exfat) {
            Ok(home) => home,
            Err(why) => return leave_out("a-box-on-exfat", &why),
        };
        let film = luck::bytes(7, 20 << 20);
        home.put("anna/film.mov", &film);
        home.put("anna/a.jpg", b"first");
        home.put("anna/same.jpg", b"first");
        home.mirrored();
        home.put("anna/a.jpg", b"second");
        home.tree().make_folder(&computer(), &path("anna/Trip: 1")).unwrap();
        home.rename("anna/same.jpg", "anna/Trip: 1/other.jpg");
        home.mirrored();
        let names = ["anna/film.mov", "anna/a.jpg", "anna/Trip: 1/other.jpg"];
        let bytes: [&[u8]; 3] = [&film, b"second", b"first"];
        let home = home.restarted();
        for (name, bytes) in names.iter().zip(bytes) {
            assert_eq!(home.state(name, "b"), "verified", "{name}, {drive} is exFAT");
            for on in ["a", "b"] {
                let place = home.mount(on).join(Place::photo(&path(name)).as_str());
                assert!(fs::read(place).unwrap() == bytes, "{name} on {on}, {drive} is exFAT");
            }
        }
        let report = home.pool.verify_now(&VerifyScope::default(), &mut |_| {}).unwrap();
        assert_eq!((report.equal, report.damaged.len(), report.missing.len()), (6, 0, 0));
        assert_eq!(fs::read_dir(home.mount(drive).join(".shoebox/incoming")).unwrap().count(), 0);
    }
}
