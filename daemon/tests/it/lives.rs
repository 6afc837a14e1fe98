//! Drives die, are replaced and come back: the real binary goes on with the others, and nothing is lost (P7).
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::listing;
use crate::support::luck;

/// A box with a third, blank drive.
fn furnish(dir: &Path) -> (Daemon, Account) {
    fs::create_dir(dir.join("c")).unwrap();
    let daemon = Daemon::furnish(dir, 5);
    let who = daemon.add_person("anna", "laptop", "computer");
    (daemon, who)
}

fn put(daemon: &Daemon, who: &Account, name: &str, bytes: &[u8]) -> u16 {
    daemon.request(who, "PUT", &format!("/dav/{name}"), "", bytes).status
}

fn drive(daemon: &Daemon, mount: &str) -> Value {
    let drives = daemon.ask(&["drive", "list", "--json"]);
    let mount = daemon.dir.join(mount);
    let there = |d: &&Value| d["mount"] == mount.to_str().unwrap();
    drives.as_array().unwrap().iter().find(there).unwrap().clone()
}

/// Role and standing of a drive, in words.
fn state(daemon: &Daemon, mount: &str) -> String {
    let drive = drive(daemon, mount);
    let word = |v: &Value| v.as_str().unwrap_or("none").to_owned();
    format!("{} {}", word(&drive["role"]), word(&drive["standing"]["standing"]))
}

fn photos(dir: &Path, drive: &str) -> BTreeMap<String, String> {
    listing(&dir.join(drive).join("photos"))
}

fn has_everything(daemon: &Daemon, mount: &str) -> bool {
    let drive = drive(daemon, mount);
    ["wanted", "missing", "damaged"].iter().all(|what| drive[what] == 0) && drive["verified"] != 0
}

/// The drive stops being there, and another, blank one is.
fn dies(dir: &Path, drive: &str) {
    fs::rename(dir.join(drive), dir.join(format!("{drive}.dead"))).unwrap();
    fs::create_dir(dir.join(drive)).unwrap();
}

fn finding(daemon: &Daemon, code: &str) -> bool {
    let status = daemon.ask(&["status", "--json"]);
    status["findings"].as_array().unwrap().iter().any(|f| f["code"] == code)
}

/// Of one photo no drive has a good copy: that is said at once, with its name, and it is gone on without it if that is wanted.
#[test]
fn a_drive_is_replaced_although_a_photo_is_past_hope() {
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, who) = furnish(dir.path());
    for n in 0..3u8 {
        assert_eq!(put(&daemon, &who, &format!("{n}.jpg"), &luck::bytes(n.into(), 50_000)), 201);
    }
    daemon.until("B has all", |d| has_everything(d, "b") && d.is_mirrored("anna/2.jpg"));
    daemon.kill();
    for drive in ["a", "b"] {
        let file = dir.path().join(drive).join("photos/anna/1.jpg");
        let dated = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, luck::bytes(99, 50_000)).unwrap();
        // No hand did that.
        fs::File::open(&file).unwrap().set_modified(dated).unwrap();
    }
    daemon.spawn();
    daemon.until("both are ready", |d| {
        let (_, text) = d.run(&["drive", "list", "--json"]);
        text.matches("\"standing\":\"ready\"").count() == 2
    });
    assert_ne!(daemon.run(&["verify"]).0, 0);
    let c = dir.path().join("c");
    let replace = ["drive", "replace", "primary", "--with", c.to_str().unwrap(), "--json"];
    let began = std::time::Instant::now();
    let (code, text) = daemon.run(&replace);
    assert_eq!(code, 1, "{text}\n{}", daemon.log());
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(
        (state(&daemon, "a").as_str(), state(&daemon, "c").as_str()),
        ("primary ready", "mirror ready")
    );
    let (code, text) = daemon.run(&[&replace[..], &["--yes"]].concat());
    assert_eq!(code, 0, "{text}\n{}", daemon.log());
    assert_eq!(state(&daemon, "c"), "primary ready");
    for n in [0, 2u8] {
        let reply = daemon.request(&who, "GET", &format!("/dav/{n}.jpg"), "", b"");
        assert!(reply.body == luck::bytes(n.into(), 50_000), "{n}");
    }
    assert!(
        fs::read(dir.path().join("a/photos/anna/1.jpg")).unwrap() == luck::bytes(99, 50_000),
        "what is left of it"
    );
}

#[test]
fn the_main_drive_dies_and_the_box_goes_on_with_the_copy_and_a_new_drive() {
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, who) = furnish(dir.path());
    let phone = daemon.add_device("anna", "phone", "phone");
    let gone = daemon.add_device("anna", "old-phone", "phone");
    assert_eq!(daemon.run(&["device", "revoke", "anna", "old-phone"]).0, 0);
    let files: Vec<(String, Vec<u8>)> =
        (0..40u8).map(|n| (format!("{n}.jpg"), luck::bytes(n.into(), 400_000))).collect();
    for (name, bytes) in &files {
        assert_eq!(put(&daemon, &who, name, bytes), 201);
    }
    assert_eq!(daemon.request(&who, "MKCOL", "/dav/empty", "", b"").status, 201);
    daemon.until("B has everything", |d| {
        has_everything(d, "b") && dir.path().join("b/photos/anna/empty").exists()
    });
    let (people, devices) =
        (daemon.ask(&["person", "list", "--json"]), daemon.ask(&["device", "list", "--json"]));
    let refused = daemon.run(&["drive", "promote", "mirror", "--yes"]);
    assert_eq!(refused.0, 1, "while the main drive is there: {refused:?}");
    daemon.kill();
    dies(dir.path(), "a");
    daemon.spawn();
    daemon.until("it is said that A is not there", |d| {
        d.run(&["status", "--json"]).0 != 3 && state(d, "b") == "mirror ready"
    });
    assert_eq!(put(&daemon, &who, "new.jpg", b"never"), 503);
    // It has never seen A: what A had last is unknown, and a person has to agree.
    assert_eq!(daemon.run(&["drive", "promote", "mirror"]).0, 1);
    let promoted = daemon.run(&["drive", "promote", "mirror", "--yes"]);
    assert_eq!(promoted.0, 0, "{promoted:?}");
    assert!(promoted.1.contains("What may be missing: "), "{}", promoted.1);

    assert_eq!(put(&daemon, &who, "new.jpg", b"taken by B"), 201, "with the password it always had");
    assert_eq!(daemon.request(&phone, "GET", "/dav/", "", b"").status, 200);
    assert_eq!(daemon.request(&gone, "GET", "/dav/", "", b"").status, 401, "revoked is revoked");
    for (name, bytes) in &files {
        let got = daemon.request(&who, "GET", &format!("/dav/{name}"), "", b"");
        assert!(got.body == *bytes, "{name}");
    }
    let mut now = daemon.ask(&["person", "list", "--json"]);
    assert_eq!(now[0]["files"], 41);
    now[0]["files"] = people[0]["files"].clone();
    now[0]["bytes"] = people[0]["bytes"].clone();
    assert_eq!(now, people);
    for (was, is) in
        devices.as_array().unwrap().iter().zip(daemon.ask(&["device", "list", "--json"]).as_array().unwrap())
    {
        for key in ["person", "name", "kind", "created", "revoked"] {
            assert_eq!(was[key], is[key]);
        }
    }

    a_new_drive_is_filled(&mut daemon, files.len() + 1);
    the_old_one_comes_back(&mut daemon, &who);
}

/// And kill -9 in the middle of it.
fn a_new_drive_is_filled(daemon: &mut Daemon, files: usize) {
    let dir = daemon.dir.clone();
    let c = dir.join("c");
    let replaced = daemon.run(&["drive", "adopt", c.to_str().unwrap(), "--role", "mirror"]);
    assert_eq!(replaced.0, 0, "{replaced:?}");
    daemon.until("some are copied", |d| drive(d, "c")["verified"].as_u64() > Some(0));
    daemon.kill();
    let part = hashes(&photos(&dir, "c"));
    let inodes = inodes(&c);
    daemon.spawn();
    daemon.until("C has everything", |d| d.run(&["status", "--json"]).0 != 3 && has_everything(d, "c"));
    assert_eq!(photos(&dir, "c"), photos(&dir, "b"));
    assert!(inodes.iter().all(|(name, inode)| self::inodes(&c).get(name) == Some(inode)), "copied twice");
    println!("{part} of {} files were there when it was killed", files);
}

/// With what only it has.
fn the_old_one_comes_back(daemon: &mut Daemon, who: &Account) {
    let dir = daemon.dir.clone();
    fs::remove_dir(dir.join("a")).unwrap();
    fs::write(dir.join("a.dead/photos/anna/only-on-a.jpg"), b"only on A").unwrap();
    fs::rename(dir.join("a.dead"), dir.join("a")).unwrap();
    daemon
        .until("A is seen for what it is", |d| state(d, "a") == "none former" && finding(d, "drive-former"));
    assert_eq!(put(daemon, who, "more.jpg", b"more"), 201);
    let a = dir.join("a");
    assert_eq!(daemon.run(&["drive", "adopt", a.to_str().unwrap(), "--role", "mirror"]).0, 0);
    daemon.until("all have all", |d| {
        d.is_mirrored("anna/only-on-a.jpg") && has_everything(d, "a") && has_everything(d, "c")
    });
    assert_eq!(daemon.request(who, "GET", "/dav/only-on-a.jpg", "", b"").body, b"only on A");
    assert_eq!(photos(&dir, "a"), photos(&dir, "b"));
    assert_eq!(photos(&dir, "c"), photos(&dir, "b"));
    daemon.until("nothing is found", |d| !finding(d, "drive-former") && !finding(d, "drive-absent"));
    assert_eq!(daemon.run(&["verify"]).0, 0);
}

fn hashes(photos: &BTreeMap<String, String>) -> usize {
    photos.values().filter(|hash| !hash.is_empty()).count()
}

fn inodes(drive: &Path) -> BTreeMap<String, u64> {
    use std::os::unix::fs::MetadataExt as _;
    let photos = drive.join("photos");
    let all = listing(&photos).into_iter().filter(|(_, hash)| !hash.is_empty());
    all.map(|(name, _)| (name.clone(), fs::metadata(photos.join(name)).unwrap().ino())).collect()
}

#[test]
fn drives_that_live_and_drives_that_are_dead_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, who) = furnish(dir.path());
    for n in 0..10u8 {
        assert_eq!(put(&daemon, &who, &format!("{n}.jpg"), &luck::bytes(n.into(), 50_000)), 201);
    }
    let path = |drive: &str| dir.path().join(drive).to_str().unwrap().to_owned();
    assert_eq!(daemon.run(&["drive", "replace", "ffff", "--with", &path("c")]).0, 4);
    let itself = daemon.run(&["drive", "replace", "mirror", "--with", &path("b")]);
    assert_eq!(itself.0, 1, "{itself:?}");
    // The main drive, while it works.
    let replaced = daemon.run(&["drive", "replace", "primary", "--with", &path("c")]);
    assert_eq!(replaced.0, 0, "{replaced:?}\n{}", daemon.log());
    assert_eq!(state(&daemon, "c"), "primary ready");
    assert_eq!(put(&daemon, &who, "new.jpg", b"new"), 201);
    daemon.until("the others know", |d| state(d, "a") == "none retired" && has_everything(d, "b"));
    assert_eq!(photos(dir.path(), "c"), photos(dir.path(), "b"));
    // The copy, which is dead; the new drive is one that was retired.
    dies(dir.path(), "b");
    daemon.until("B is missed", |d| finding(d, "drive-absent"));
    let id = drive(&daemon, "c")["id"].as_str().unwrap().to_owned();
    let replaced = daemon.run(&["drive", "replace", "mirror", "--with", &path("a"), "--json"]);
    assert_eq!(replaced.0, 0, "{replaced:?}\n{}", daemon.log());
    daemon.until("B is missed no more", |d| !finding(d, "drive-absent") && has_everything(d, "a"));
    assert_eq!(photos(dir.path(), "a"), photos(dir.path(), "c"));
    // The main drive, which is dead, by the beginning of its id, and a new box that has only heard of it.
    dies(dir.path(), "c");
    daemon.until("the main drive is missed", |d| put(d, &who, "x.jpg", b"x") == 503);
    fs::remove_dir(dir.path().join("b")).unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    let replaced = daemon.run(&["drive", "replace", "primary", "--with", &path("b"), "--yes"]);
    assert_eq!(replaced.0, 0, "{replaced:?}\n{}", daemon.log());
    assert_eq!(put(&daemon, &who, "last.jpg", b"last"), 201);
    daemon.until("B has everything", |d| has_everything(d, "b") && d.is_mirrored("anna/last.jpg"));
    assert_eq!(photos(dir.path(), "a"), photos(dir.path(), "b"));
    assert_eq!(hashes(&photos(dir.path(), "b")), 12);
    assert_ne!(drive(&daemon, "a")["id"], Value::from(id));
    assert_eq!(daemon.run(&["verify"]).0, 0);
}

#[test]
fn everything_comes_back_from_one_bare_drive() {
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, who) = furnish(dir.path());
    for n in 0..5u8 {
        assert_eq!(put(&daemon, &who, &format!("{n}.jpg"), &luck::bytes(n.into(), 5000)), 201);
    }
    daemon.until("B has everything", |d| has_everything(d, "b"));
    let a = dir.path().join("a");
    assert_eq!(rebuild(&daemon, &a, &[]).0, 5, "while the daemon has it");
    daemon.kill();
    let before = photos(dir.path(), "a");

    // The main drive without its catalogue, the last line of its record torn, one file of other hands, one gone.
    fs::remove_file(a.join(".shoebox/catalogue.db")).unwrap();
    let manifest = fs::read_dir(a.join(".shoebox/manifest")).unwrap().map(|e| e.unwrap().path());
    let manifest = manifest.into_iter().find(|p| p.extension().is_some_and(|e| e == "jsonl")).unwrap();
    fs::File::options()
        .append(true)
        .open(&manifest)
        .and_then(|mut f| std::io::Write::write_all(&mut f, b"{\"seq\":99"))
        .unwrap();
    fs::write(a.join("photos/anna/by-hand.jpg"), b"by hand").unwrap();
    fs::rename(a.join("photos/anna/0.jpg"), dir.path().join("0.jpg")).unwrap();
    let (code, report) = rebuild(&daemon, &a, &["--verify"]);
    assert_eq!(code, 1, "something is missing: {report}");
    for (what, count) in [
        ("people", 1),
        ("devices", 1),
        ("files", 6),
        ("adopted", 1),
        ("missing", 1),
        ("bad_lines", 1),
        ("equal", 5),
    ] {
        assert_eq!(report[what], count, "{what}: {report}");
    }
    fs::rename(dir.path().join("0.jpg"), a.join("photos/anna/0.jpg")).unwrap();
    let (code, report) = rebuild(&daemon, &a, &[]);
    assert_eq!((code, &report["missing"]), (0, &Value::from(0)), "{report}");
    daemon.spawn();
    daemon.until("it takes photos", |d| {
        d.run(&["status", "--json"]).0 != 3 && state(d, "a") == "primary ready"
    });
    assert_eq!(daemon.request(&who, "GET", "/dav/by-hand.jpg", "", b"").body, b"by hand");
    daemon.until("B has it, too", |d| d.is_mirrored("anna/by-hand.jpg"));
    daemon.kill();

    from_a_copy_without_a_record(&mut daemon, &before);
}

/// Everything the box says of its people, devices and photos, that a drive's record has to bring back.
fn told(daemon: &Daemon, names: &[&str]) -> Vec<Value> {
    let people = daemon.ask(&["person", "list", "--json"]);
    let people = people
        .as_array()
        .unwrap()
        .iter()
        .map(|p| [p["name"].clone(), p["quota"]["bytes"].clone(), p["password"].clone()]);
    let mut devices = daemon.ask(&["device", "list", "--json"]);
    for device in devices.as_array_mut().unwrap() {
        // Nobody records when it was last seen, and a photo that was deleted today comes back.
        for volatile in ["last_seen", "app", "app_version", "files", "bytes", "already"] {
            device.as_object_mut().unwrap().remove(volatile);
        }
    }
    let receipts = names.iter().map(|name| {
        let receipt = daemon.ask(&["receipt", name, "--json"]);
        serde_json::json!([receipt["hash"], receipt["size"], receipt["received_at"], receipt["names"]])
    });
    people.flatten().chain([devices]).chain(receipts).collect()
}

#[test]
fn people_devices_and_receipts_come_back_from_a_bare_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, anna) = furnish(dir.path());
    let bob = daemon.add_person("bob", "phone", "phone");
    assert_eq!(daemon.run(&["person", "quota", "bob", "20G"]).0, 0);
    assert_eq!(daemon.run(&["person", "password", "bob", "--generate"]).0, 0);
    let lost = daemon.add_device("bob", "lost-phone", "phone");
    assert_eq!(put(&daemon, &lost, "of-lost.jpg", b"sent before it was lost"), 201);
    assert_eq!(daemon.run(&["device", "revoke", "bob", "lost-phone"]).0, 0);
    for n in 0..5u8 {
        assert_eq!(put(&daemon, &anna, &format!("{n}.jpg"), &luck::bytes(n.into(), 5000)), 201);
        assert_eq!(put(&daemon, &bob, &format!("{n}.jpg"), &luck::bytes(100 + u64::from(n), 5000)), 201);
    }
    // What is deleted below is there as well.
    daemon.until("B has all that was sent", |d| has_everything(d, "b"));
    let to = format!("Destination: http://{}/dav/renamed.jpg\r\n", daemon.address);
    assert_eq!(daemon.request(&anna, "MOVE", "/dav/4.jpg", &to, b"").status, 201);
    assert_eq!(daemon.request(&anna, "DELETE", "/dav/3.jpg", "", b"").status, 204);
    daemon.until("B has everything", |d| {
        has_everything(d, "b") && dir.path().join("b/photos/anna/renamed.jpg").exists()
    });
    let names = [
        "anna/0.jpg",
        "anna/1.jpg",
        "anna/2.jpg",
        "anna/renamed.jpg",
        "bob/phone/0.jpg",
        "bob/phone/4.jpg",
        "bob/lost-phone/of-lost.jpg",
    ];
    let before = told(&daemon, &names);
    daemon.kill();
    // Nothing is left but B, and a second has to pass for dates of today to differ from the first ones.
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let b = dir.path().join("b");
    let originals = photos(dir.path(), "b");
    assert_eq!(rebuild(&daemon, &b, &[]).0, 1, "a copy becomes the main drive only if that is said");
    let (code, report) = rebuild(&daemon, &b, &["--promote", "--verify"]);
    assert_eq!(code, 0, "{report}");
    for (what, count) in [
        ("people", 2),
        ("devices", 2),
        // What was deleted is back: it would have left B a day later.
        ("files", 11),
        ("adopted", 0),
        ("missing", 0),
        ("bad_lines", 0),
        ("breaks", 0),
        ("equal", 11),
    ] {
        assert_eq!(report[what], count, "{what}: {report}");
    }
    assert_eq!(photos(dir.path(), "b"), originals, "no original changed");
    daemon.spawn();
    daemon.until("it takes photos", |d| {
        d.run(&["status", "--json"]).0 != 3 && state(d, "b") == "primary ready"
    });
    for (now, before) in told(&daemon, &names).iter().zip(&before) {
        assert_eq!(now, before);
    }
    // The apps go on with the passwords they have; the one that was revoked does not.
    assert_eq!(daemon.request(&anna, "GET", "/dav/renamed.jpg", "", b"").body, luck::bytes(4, 5000));
    assert_eq!(put(&daemon, &bob, "after.jpg", b"after"), 201);
    assert_eq!(put(&daemon, &lost, "after.jpg", b"after"), 401);
}

#[test]
fn where_the_record_lost_its_end_a_sound_catalogue_is_gone_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 20);
    let anna = daemon.add_person("anna", "laptop", "computer");
    let names = ["anna/0.jpg", "anna/1.jpg", "anna/2.jpg"];
    for n in 0..3u8 {
        assert_eq!(put(&daemon, &anna, &format!("{n}.jpg"), &luck::bytes(n.into(), 5000)), 201);
    }
    daemon.until("B has everything", |d| has_everything(d, "b"));
    let before = told(&daemon, &names);
    assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
    let a = dir.path().join("a");
    for entry in fs::read_dir(a.join(".shoebox/manifest")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (code, report) = rebuild(&daemon, &a, &["--verify"]);
    assert_eq!((code, &report["catalogue_kept"]), (0, &true.into()), "{report}");
    for (what, count) in
        [("people", 1), ("devices", 1), ("files", 3), ("adopted", 0), ("missing", 0), ("equal", 3)]
    {
        assert_eq!(report[what], count, "{what}: {report}");
    }
    daemon.start();
    assert_eq!(told(&daemon, &names), before, "first received when it was");
    assert_eq!(put(&daemon, &anna, "after.jpg", b"after"), 201);
    daemon.until("B has everything", |d| has_everything(d, "b"));
    assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
    // A catalogue that is not sound is not gone on from.
    let catalogue = fs::File::options().write(true).open(a.join(".shoebox/catalogue.db")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&catalogue, &[9; 4096], 4096).unwrap();
    let (code, report) = rebuild(&daemon, &a, &[]);
    assert_eq!((code, &report["catalogue_kept"]), (0, &false.into()), "{report}");
}

fn rebuild(daemon: &Daemon, from: &Path, more: &[&str]) -> (i32, Value) {
    let args = [&["rebuild", "--from", from.to_str().unwrap(), "--json"], more].concat();
    let (code, text) = daemon.run(&args);
    (code, serde_json::from_str(&text).unwrap_or_default())
}

fn from_a_copy_without_a_record(daemon: &mut Daemon, before: &BTreeMap<String, String>) {
    let dir = daemon.dir.clone();
    let (a, b) = (dir.join("a"), dir.join("b"));
    fs::remove_dir_all(&a).unwrap();
    fs::create_dir(&a).unwrap();
    assert_eq!(rebuild(daemon, &b, &[]).0, 1, "a copy has no catalogue");
    for entry in fs::read_dir(b.join(".shoebox/manifest")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let (code, report) = rebuild(daemon, &b, &["--promote", "--verify"]);
    assert_eq!(code, 0, "{report}");
    for (what, count) in [("people", 1), ("devices", 0), ("files", 6), ("adopted", 6), ("equal", 6)] {
        assert_eq!(report[what], count, "{what}: {report}");
    }
    assert!(
        before.iter().all(|file| listing(&b.join("photos")).get(file.0) == Some(file.1)),
        "no original changed"
    );
    daemon.spawn();
    daemon.until("it takes photos", |d| {
        d.run(&["status", "--json"]).0 != 3 && state(d, "b") == "primary ready"
    });
    let new = daemon.add_device("anna", "new-laptop", "computer");
    assert_eq!(put(daemon, &new, "after.jpg", b"after"), 201);
    daemon.kill();

    // Without its marker nobody can tell whose it is.
    fs::rename(b.join(".shoebox/drive.toml"), dir.join("drive.toml")).unwrap();
    assert_eq!(rebuild(daemon, &b, &[]).0, 1);
    assert_eq!(rebuild(daemon, &dir.join("nothing"), &[]).0, 4);
}
