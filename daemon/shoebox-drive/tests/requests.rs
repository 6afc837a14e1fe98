//! What the daemon asks for, over real disks: ejecting, preparing and formatting, and everything that is refused.
#![expect(clippy::unwrap_used, clippy::panic, reason = "panicking is how a test reports")]
mod plugged;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use plugged::{Home, Plugged, bytes, run};
use serde_json::{Value, json};
use shoebox_drive::asking;
use shoebox_drive::attaching;
use shoebox_drive::device::Bus;

fn ask(home: &Home, request: &str) -> Value {
    let mut answer = Vec::new();
    asking::serve(request.as_bytes(), &mut answer, &home.settings).unwrap();
    let text = String::from_utf8(answer).unwrap();
    assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "one line: {text}");
    serde_json::from_str(&text).unwrap()
}

fn about(home: &Home, ask_for: &str, name: impl std::fmt::Display) -> Value {
    ask(home, &json!({ "ask": ask_for, "device": name.to_string() }).to_string())
}

fn failed(answer: &Value) -> &str {
    answer["failed"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn a_drive_is_ejected_when_nobody_uses_it_and_not_before() {
    let Some(home) = Home::new("requests") else { return };
    let image = home.ext4("own.img");
    home.adopt(&image, "mirror");
    let plugged = Plugged::new(&image);
    assert_eq!(failed(&about(&home, "eject", &plugged.name)), format!("{} is not mounted", plugged.name));
    home.attach(&plugged);
    let held = fs::File::open(home.at("b/.shoebox/drive.toml")).unwrap();
    assert!(failed(&about(&home, "eject", &plugged.name)).contains("busy"), "somebody reads it");
    assert_eq!(home.mounts().len(), 1);
    drop(held);
    assert_eq!(about(&home, "eject", &plugged.name), json!({ "ejected": { "power": "nothing" } }));
    assert_eq!(home.mounts(), Vec::<String>::new());
    assert_eq!(ask(&home, r#"{"ask":"list"}"#), json!({ "drives": [] }));
    // Not what is mounted where the box has no place.
    fs::create_dir_all(home.at("by-hand")).unwrap();
    run("mount", &[&plugged.node, home.at("by-hand").to_str().unwrap()]);
    assert!(failed(&about(&home, "eject", &plugged.name)).contains("no place of the box's"));
    run("umount", &[home.at("by-hand").to_str().unwrap()]);
}

/// How often a filesystem was mounted for writing, as it counts itself. The kernel's numbers of mounts do not tell: they are given again.
fn times_mounted(plugged: &Plugged) -> u32 {
    let told = run("dumpe2fs", &["-h", &plugged.node]);
    let line = told.lines().find_map(|line| line.strip_prefix("Mount count:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn a_drive_is_unmounted_checked_and_mounted_anew_where_it_was() {
    let Some(home) = Home::new("requests") else { return };
    let image = home.ext4("own.img");
    home.adopt(&image, "offline");
    let plugged = Plugged::new(&image);
    assert!(failed(&about(&home, "again", &plugged.name)).contains("is not mounted"));
    home.attach(&plugged);
    let (before, times) = (home.mounts(), times_mounted(&plugged));
    fs::write(home.at("offline/photo.jpg"), "kept").unwrap();
    let held = fs::File::open(home.at("offline/photo.jpg")).unwrap();
    assert!(failed(&about(&home, "again", &plugged.name)).contains("busy"), "somebody reads it");
    assert_eq!((home.mounts(), times_mounted(&plugged)), (before, times), "and it stays");
    drop(held);
    let answer = about(&home, "again", &plugged.name);
    assert_eq!(answer, json!({ "prepared": { "at": home.at("offline") } }));
    assert_eq!((home.mounts().len(), times_mounted(&plugged)), (1, times + 1), "one mount, and another one");
    assert_eq!(fs::read(home.at("offline/photo.jpg")).unwrap(), b"kept");
    assert_eq!(ask(&home, r#"{"ask":"list"}"#)["drives"][0]["checked"]["check"], "sound");
    attaching::detach(&plugged.name, &home.settings).unwrap();
}

#[test]
fn a_drive_that_is_to_be_adopted_keeps_everything_and_has_two_folders_more() {
    let Some(home) = Home::new("requests") else { return };
    let image = home.ext4("old.img");
    home.within(&image, |root| {
        fs::create_dir(root.join("photos")).unwrap();
        fs::write(root.join("photos/old.jpg"), "from before").unwrap();
        fs::write(root.join("taxes.ods"), "not a photo").unwrap();
    });
    let plugged = Plugged::new(&image);
    assert_eq!(home.attach(&plugged)["offer"], "adopt");
    let answer = about(&home, "prepare", &plugged.name);
    assert_eq!(answer, json!({ "prepared": { "at": home.at("a") } }), "the first free place");
    assert_eq!(about(&home, "prepare", &plugged.name), answer, "twice is once");
    let owner = |end: &str| fs::metadata(home.at(end)).map(|meta| (meta.uid(), meta.mode() & 0o777)).unwrap();
    assert_eq!(owner("a/.shoebox"), (12_345, 0o700));
    assert_eq!(owner("a/photos").0, 0, "it was there, and is left to whom it belongs");
    assert_eq!(fs::read(home.at("a/photos/old.jpg")).unwrap(), b"from before");
    assert_eq!(fs::read(home.at("a/taxes.ods")).unwrap(), b"not a photo");
    assert_eq!(ask(&home, r#"{"ask":"list"}"#)["drives"][0]["at"], home.at("a").to_str().unwrap());
    assert_eq!(about(&home, "eject", &plugged.name)["ejected"]["power"], "nothing");
}

#[test]
fn what_is_the_systems_or_cannot_be_taken_is_not_prepared() {
    let Some(mut home) = Home::new("requests") else { return };
    let image = home.image("none.img");
    let plugged = Plugged::new(&image);
    let answer = about(&home, "prepare", &plugged.name);
    assert!(failed(&answer).contains("no filesystem"), "{answer}");
    drop(plugged);
    let (image, before) = {
        let image = home.ext4("other.img");
        let before = bytes(&image);
        (image, before)
    };
    home.settings.places.buses = vec![Bus::Usb];
    let plugged = Plugged::new(&image);
    assert!(failed(&about(&home, "prepare", &plugged.name)).contains("not attached by a bus"));
    assert!(failed(&about(&home, "prepare", "sdzz")).contains("could not open"));
    assert!(failed(&ask(&home, r#"{"ask":"prepare","device":"/dev/sda"}"#)).starts_with("not understood"));
    assert_eq!(home.mounts(), Vec::<String>::new());
    drop(plugged);
    assert!(bytes(&image) == before);
}

fn format(home: &Home, plugged: &Plugged, kind: &str, confirmed: &Value) -> Value {
    let request = json!({ "ask": "format", "device": plugged.name.to_string(), "filesystem": kind, "confirmed": confirmed });
    ask(home, &request.to_string())
}

#[test]
fn only_the_disk_that_was_confirmed_is_formatted_with_everything_on_it_named() {
    let Some(home) = Home::new("requests") else { return };
    let image = home.ext4("precious.img");
    run("tune2fs", &["-L", "Holidays", image.to_str().unwrap()]);
    let before = bytes(&image);
    let plugged = Plugged::new(&image);
    let named = about(&home, "name", &plugged.name)["disk"].clone();
    let uuid = run("blkid", &["-p", "-o", "value", "-s", "UUID", image.to_str().unwrap()]);
    assert_eq!(named["lost"], json!([format!("{} ext4 {uuid} \"Holidays\"", plugged.name)]));
    let but = |key: &str, value: Value| {
        let mut other = named.clone();
        other[key] = value;
        other
    };
    let refusals = [
        (but("lost", json!([])), "not confirmed to be lost"),
        (but("size", json!(1)), "its size differs"),
        (but("serial", json!("X")), "its serial number differs"),
        (but("model", json!("X")), "its model differs"),
    ];
    for (confirmed, why) in refusals {
        let answer = format(&home, &plugged, "ext4", &confirmed);
        assert!(failed(&answer).contains(why), "{answer}");
    }
    fs::create_dir_all(home.at("by-hand")).unwrap();
    run("mount", &["-o", "ro,noload", &plugged.node, home.at("by-hand").to_str().unwrap()]);
    assert!(failed(&format(&home, &plugged, "ext4", &named)).contains("in use at"));
    run("umount", &[home.at("by-hand").to_str().unwrap()]);
    assert!(bytes(&image) == before, "nothing of all that wrote a byte");

    let answer = format(&home, &plugged, "ext4", &named);
    let part = answer["formatted"]["device"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    assert_eq!(part, format!("{}p1", plugged.name));
    let node = format!("/dev/{part}");
    let features = run("dumpe2fs", &["-h", &node]);
    for word in ["verity", "metadata_csum", "SHOEBOX"] {
        assert!(features.contains(word), "{word}: {features}");
    }
    assert!(!features.contains("orphan_file"), "{features}");
    // What was made can be adopted.
    let answer = about(&home, "prepare", &part);
    assert_eq!(answer, json!({ "prepared": { "at": home.at("a") } }));
    assert!(
        failed(&format(&home, &plugged, "ext4", &named)).contains("in use at"),
        "not what is mounted now"
    );
    assert!(Path::new(&home.at("a/photos")).is_dir());
    assert_eq!(about(&home, "eject", &part)["ejected"]["power"], "nothing");
    assert!(failed(&about(&home, "name", &part)).contains("whole disks"));
}

#[test]
fn a_disk_with_partitions_is_formatted_at_once_and_a_drive_of_a_shoebox_never() {
    let Some(home) = Home::new("requests") else { return };
    let image = home.image("shop.img");
    let plugged = Plugged::new(&image);
    let table = [
        "mklabel", "msdos", "mkpart", "primary", "ntfs", "1MiB", "20MiB", "mkpart", "primary", "21MiB",
        "60MiB",
    ];
    run("parted", &[&["--script", plugged.node.as_str()], &table[..]].concat());
    let part = format!("{}p1", plugged.node);
    run("mkfs.ext4", &["-q", "-F", &part]);
    let named = about(&home, "name", &plugged.name)["disk"].clone();
    assert_eq!(named["lost"].as_array().unwrap().len(), 2, "the table and the filesystem: {named}");
    for (kind, word) in [("ext4", "ext4"), ("exfat", "exfat")] {
        let named = about(&home, "name", &plugged.name)["disk"].clone();
        let answer = format(&home, &plugged, kind, &named);
        let part = answer["formatted"]["device"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        assert_eq!(part, format!("{}p1", plugged.name));
        assert_eq!(run("blkid", &["-p", "-o", "value", "-s", "TYPE", &format!("/dev/{part}")]), word);
        assert!(!Path::new(&format!("{}p2", plugged.node)).exists());
    }
    drop(plugged);
    let own = home.ext4("own.img");
    home.adopt(&own, "mirror");
    let before = bytes(&own);
    let plugged = Plugged::new(&own);
    let named = about(&home, "name", &plugged.name)["disk"].clone();
    assert!(failed(&format(&home, &plugged, "ext4", &named)).contains("not formatted here"));
    drop(plugged);
    assert!(bytes(&own) == before);
}
