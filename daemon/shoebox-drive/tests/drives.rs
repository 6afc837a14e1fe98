//! Real filesystems on loop devices, plugged in and pulled: what is done to drives of ours, and that nothing is done to others.
#![expect(clippy::unwrap_used, clippy::panic, reason = "panicking is how a test reports")]
mod plugged;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use plugged::{Home, Plugged, bytes, leave_out, run};
use shoebox_drive::attaching;
use shoebox_drive::device::Bus;
use shoebox_drive::name::Name;

#[test]
fn a_drive_of_ours_is_checked_and_mounted_and_its_place_is_free_when_it_is_gone() {
    let Some(home) = Home::new("drives") else { return };
    for (role, place) in [("primary", "a"), ("mirror", "b"), ("offline", "offline")] {
        let image = home.ext4(&format!("{role}.img"));
        home.adopt(&image, role);
        let plugged = Plugged::new(&image);
        let looked = attaching::probe(&plugged.name, &home.settings).unwrap();
        assert_eq!(serde_json::to_value(&looked).unwrap()["decision"], "mount");
        assert_eq!(home.mounts(), Vec::<String>::new(), "looking mounts nothing that stays");
        let report = home.attach(&plugged);
        assert_eq!(report["at"], home.at(place).to_str().unwrap());
        assert_eq!(report["checked"]["check"], "sound");
        assert_eq!(report["cache"]["flush"], "sent", "a loop device passes flushes on");
        let mounts = home.mounts();
        assert_eq!(mounts.len(), 1);
        for option in ["rw", "nosuid", "nodev", "noexec", "noatime"] {
            assert!(mounts[0].contains(option), "{option}: {}", mounts[0]);
        }
        fs::write(home.at(place).join("written"), "to").unwrap();
        assert_eq!(home.attach(&plugged)["decision"], "mounted", "twice is once");
        // As the kernel leaves it when a drive is pulled: mounted, and in use.
        let held = fs::File::open(home.at(place).join("written")).unwrap();
        home.attach(&plugged);
        attaching::detach(&plugged.name, &home.settings).unwrap();
        drop(held);
        assert_eq!(home.mounts(), Vec::<String>::new());
        assert_eq!(
            fs::metadata(home.at(place)).unwrap().mode() & 0o777,
            0o555,
            "nobody writes there meanwhile"
        );
        attaching::detach(&plugged.name, &home.settings).unwrap();
    }
}

#[test]
fn a_strange_drive_stays_as_it_is_to_the_byte_even_where_its_journal_asks_to_be_replayed() {
    let Some(home) = Home::new("drives") else { return };
    let (image, pulled) = (home.ext4("one.img"), home.at("pulled.img"));
    home.within(&image, |root| {
        fs::write(root.join("holiday.jpg"), vec![7; 300_000]).unwrap();
        fs::create_dir(root.join("more")).unwrap();
        run("sync", &[]);
        // Pulled while it was mounted.
        fs::copy(&image, &pulled).unwrap();
    });
    let features = run("dumpe2fs", &["-h", pulled.to_str().unwrap()]);
    assert!(features.contains("needs_recovery"), "there is a journal to replay");
    let before = bytes(&pulled);
    let plugged = Plugged::new(&pulled);
    let report = home.attach(&plugged);
    assert_eq!((report["decision"].as_str(), report["offer"].as_str()), (Some("leave"), Some("adopt")));
    assert_eq!(report["why"], "it is no drive of a Shoebox");
    assert_eq!(home.mounts(), Vec::<String>::new());
    assert!(
        fs::read_to_string(format!("/sys/class/block/{}/ro", plugged.name)).unwrap().starts_with('0'),
        "nor is it left unwritable"
    );
    drop(plugged);
    assert!(bytes(&pulled) == before, "it was written to");
}

#[test]
fn what_is_no_drive_for_photos_is_left_alone_with_a_reason() {
    let Some(mut home) = Home::new("drives") else { return };
    let check = |home: &Home, make: &[&str], reason: &str| {
        let image = home.image("strange.img");
        if let Some((program, arguments)) = make.split_first() {
            if Command::new(program).arg("--help").output().is_err() {
                return leave_out("drives", &format!("{program} is not installed"));
            }
            run(program, &[arguments, &[image.to_str().unwrap()]].concat());
        }
        let before = bytes(&image);
        let plugged = Plugged::new(&image);
        let report = home.attach(&plugged);
        assert_eq!(report["decision"], "leave");
        assert!(report["why"].as_str().unwrap().contains(reason), "{report}");
        drop(plugged);
        assert!(bytes(&image) == before, "{make:?}: it was written to");
    };
    check(&home, &[], "no filesystem");
    check(&home, &["mkswap", "-q"], "swap");
    check(&home, &["mkfs.vfat"], "4 GiB");
    check(&home, &["mkfs.ext4", "-q", "-F"], "no drive of a Shoebox");
    let own = home.ext4("own.img");
    home.adopt(&own, "primary");
    // Its filesystem got another UUID: somebody copied the marker.
    run("e2fsck", &["-fy", own.to_str().unwrap()]);
    run("tune2fs", &["-U", "random", own.to_str().unwrap()]);
    let plugged = Plugged::new(&own);
    assert_eq!(home.attach(&plugged)["why"], "its marker was copied from another drive");
    drop(plugged);
    home.settings.places.buses = vec![Bus::Usb];
    check(&home, &["mkfs.ext4", "-q", "-F"], "not attached by a bus");
}

#[test]
fn a_clone_has_a_place_of_its_own_and_when_all_are_taken_none() {
    let Some(home) = Home::new("drives") else { return };
    let image = home.ext4("one.img");
    home.adopt(&image, "primary");
    let mut plugged = Vec::new();
    for place in ["a", "offline", "b"] {
        let copy = home.at(&format!("copy-{place}.img"));
        fs::copy(&image, &copy).unwrap();
        plugged.push(Plugged::new(&copy));
        assert_eq!(home.attach(plugged.last().unwrap())["at"], home.at(place).to_str().unwrap());
    }
    let last = Plugged::new(&image);
    assert!(home.attach(&last)["why"].as_str().unwrap().contains("more drives"));
    // The first goes, and its place is there for the last.
    attaching::detach(&plugged[0].name, &home.settings).unwrap();
    assert_eq!(home.attach(&last)["at"], home.at("a").to_str().unwrap());
    for drive in plugged.iter().chain([&last]) {
        attaching::detach(&drive.name, &home.settings).unwrap();
    }
    assert_eq!(home.mounts(), Vec::<String>::new());
}

#[test]
fn a_filesystem_that_takes_a_person_is_mounted_for_reading_only() {
    let Some(home) = Home::new("drives") else { return };
    let image = home.ext4("broken.img");
    home.adopt(&image, "mirror");
    home.within(&image, |root| {
        for n in 0..20 {
            fs::write(root.join(format!("{n}.jpg")), vec![n; 9000]).unwrap();
        }
    });
    // Two files of the same blocks: e2fsck does not decide by itself whose they are.
    let blocks = |n: u8| run("debugfs", &["-R", &format!("blocks {n}.jpg"), image.to_str().unwrap()]);
    let first = blocks(1).split_whitespace().next().unwrap().to_owned();
    let claim = |field: &str| {
        run("debugfs", &["-w", "-R", &format!("sif 2.jpg {field} {first}"), image.to_str().unwrap()]);
    };
    // The extent's start lies in the third word after the header (ext4_extent.ee_start_lo).
    claim("block[5]");
    // As the kernel does it when it meets something that cannot be: until then nobody looks.
    run("tune2fs", &["-E", "force_fsck", image.to_str().unwrap()]);
    let plugged = Plugged::new(&image);
    let report = home.attach(&plugged);
    assert_eq!(report["checked"]["check"], "unsound", "{report}");
    assert_eq!(report["at"], home.at("b").to_str().unwrap());
    assert!(home.mounts()[0].contains(" ro,"), "{:?}", home.mounts());
    assert_eq!(fs::read(home.at("b/7.jpg")).unwrap(), vec![7; 9000], "it can be read");
    assert!(fs::write(home.at("b/new"), "").is_err());
    attaching::detach(&plugged.name, &home.settings).unwrap();
}

#[test]
fn a_journal_of_ours_is_replayed_and_what_an_interrupted_write_left_behind_is_put_right() {
    let Some(home) = Home::new("drives") else { return };
    let (image, pulled) = (home.ext4("one.img"), home.at("pulled.img"));
    home.adopt(&image, "primary");
    home.within(&image, |root| {
        fs::write(root.join("safe.jpg"), vec![9; 200_000]).unwrap();
        run("sync", &[]);
        fs::copy(&image, &pulled).unwrap();
    });
    let plugged = Plugged::new(&pulled);
    let report = home.attach(&plugged);
    assert_ne!(report["checked"]["check"], "unsound", "{report}");
    assert_eq!(fs::read(home.at("a/safe.jpg")).unwrap().len(), 200_000);
    assert!(home.mounts()[0].contains(" rw,"));
    attaching::detach(&plugged.name, &home.settings).unwrap();
}

#[test]
fn a_disk_that_the_system_uses_is_not_ours_whatever_is_on_its_other_parts() {
    let Some(home) = Home::new("drives") else { return };
    let image = home.image("disk.img");
    let plugged = Plugged::new(&image);
    // parted(8) tells the kernel of each, which may know no such table by itself.
    let table = ["mklabel", "gpt", "mkpart", "one", "1MiB", "30MiB", "mkpart", "two", "31MiB", "60MiB"];
    run("parted", &[&["--script", plugged.node.as_str()], &table[..]].concat());
    let parts = [1, 2].map(|n| format!("{}p{n}", plugged.node));
    run("mkfs.ext4", &["-q", "-F", &parts[0]]);
    run("mkfs.ext4", &["-q", "-F", &parts[1]]);
    fs::create_dir(home.at("by-hand")).unwrap();
    run("mount", &[&parts[0], home.at("by-hand").to_str().unwrap()]);
    let name: Name = parts[1].strip_prefix("/dev/").unwrap().parse().unwrap();
    let report = serde_json::to_value(attaching::probe(&name, &home.settings).unwrap()).unwrap();
    assert!(
        report["why"].as_str().unwrap().starts_with("the system uses another part of this disk"),
        "{report}"
    );
    run("umount", &[home.at("by-hand").to_str().unwrap()]);
    let report = serde_json::to_value(attaching::probe(&name, &home.settings).unwrap()).unwrap();
    assert_eq!(report["why"], "it is no drive of a Shoebox");
}

#[test]
fn a_drive_that_is_gone_takes_no_other_with_it() {
    let Some(home) = Home::new("drives") else { return };
    let (one, other) = (home.ext4("one.img"), home.ext4("other.img"));
    home.adopt(&one, "primary");
    home.adopt(&other, "primary");
    let (one, other) = (Plugged::new(&one), Plugged::new(&other));
    home.attach(&one);
    // By hand, and then another comes to its place.
    run("umount", &[home.at("a").to_str().unwrap()]);
    assert_eq!(home.attach(&other)["at"], home.at("a").to_str().unwrap());
    attaching::detach(&one.name, &home.settings).unwrap();
    assert_eq!(home.mounts().len(), 1, "the other one stays");
    // What was mounted elsewhere, by whoever, is not let go either.
    attaching::detach(&other.name, &home.settings).unwrap();
    fs::create_dir_all(home.at("by-hand")).unwrap();
    run("mount", &[&other.node, home.at("by-hand").to_str().unwrap()]);
    assert_eq!(home.attach(&other)["decision"], "mounted");
    attaching::detach(&other.name, &home.settings).unwrap();
    assert_eq!(home.mounts().len(), 1, "it stays where somebody mounted it");
    run("umount", &[home.at("by-hand").to_str().unwrap()]);
}

#[test]
fn a_look_that_was_killed_is_tidied_up_by_the_next() {
    let Some(home) = Home::new("drives") else { return };
    let image = home.ext4("own.img");
    home.adopt(&image, "mirror");
    let plugged = Plugged::new(&image);
    // As it is in the middle of one.
    let (look, note) = (
        home.at(&format!("run/.look-{}", plugged.name)),
        home.at(&format!("run/.unwritable-{}", plugged.name)),
    );
    fs::create_dir_all(&look).unwrap();
    fs::write(&note, "").unwrap();
    run("blockdev", &["--setro", &plugged.node]);
    run("mount", &["-o", "ro,noload", &plugged.node, look.to_str().unwrap()]);
    let report = home.attach(&plugged);
    assert_eq!(report["at"], home.at("b").to_str().unwrap(), "{report}");
    assert!(home.mounts()[0].contains(" rw,"), "{:?}", home.mounts());
    assert!(!note.exists());
    attaching::detach(&plugged.name, &home.settings).unwrap();
    assert_eq!(home.mounts(), Vec::<String>::new());
}
