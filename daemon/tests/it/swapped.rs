//! Another disk where a drive should be: swapped sockets, a clone beside its original, a blank disk in A's place. Nothing is
//! written to a wrong one, byte for byte (P3, P5; rows 4 and 17). The real binary on real ext4.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::listing;
use crate::support::mounted::{Mounted, leave_out};

const EXT4: &[&str] = &["mkfs.ext4", "-q", "-F"];

struct Box {
    daemon: Daemon,
    who: Account,
    a: Mounted,
    b: Mounted,
}

fn furnish(dir: &Path) -> Result<Box, String> {
    let mount = |drive: &str| {
        fs::create_dir(dir.join(drive)).unwrap();
        Mounted::image(&dir.join(format!("{drive}.img")), 32, EXT4, &dir.join(drive))
    };
    let (a, b) = (mount("a")?, mount("b")?);
    let mut daemon = Daemon::new(dir, 5, &[]);
    daemon.require_mount = true;
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    assert_eq!(daemon.request(&who, "PUT", "/dav/a.jpg", "", b"kept").status, 201);
    daemon.until("B has it", |d| d.is_mirrored("anna/a.jpg"));
    Ok(Box { daemon, who, a, b })
}

/// All that is on a disk, but for the probe of a drive in use.
fn tree(at: &Path) -> BTreeMap<String, String> {
    let mut all = listing(at);
    all.retain(|name, _| !name.ends_with("/probe") && !name.contains("/incoming/"));
    all
}

fn standing(daemon: &Daemon, mount: &Path) -> String {
    let drives = daemon.ask(&["drive", "list", "--json"]);
    let found = drives.as_array().unwrap().iter().find(|d| d["mount"] == mount.to_str().unwrap()).cloned();
    found.unwrap()["standing"]["standing"].as_str().unwrap().to_owned()
}

fn findings(daemon: &Daemon) -> Vec<(String, String)> {
    let status = daemon.ask(&["status", "--json"]);
    let text = |f: &serde_json::Value, key: &str| f[key].as_str().unwrap().to_owned();
    status["findings"].as_array().unwrap().iter().map(|f| (text(f, "code"), text(f, "remedy"))).collect()
}

#[test]
fn drives_in_each_others_sockets_keep_their_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("drives-in-each-others-sockets", &why),
    };
    let marker = |at: &str| fs::read(dir.path().join(at).join(".shoebox/drive.toml")).unwrap();
    let (of_a, of_b) = (marker("a"), marker("b"));
    all.daemon.kill();
    drop((all.a, all.b));
    let there = |drive: &str, at: &str| {
        Mounted::behind(&dir.path().join(format!("{drive}.img")), &dir.path().join(at)).unwrap()
    };
    let (_a, _b) = (there("a", "b"), there("b", "a"));
    all.daemon.start();
    assert_eq!((marker("b"), marker("a")), (of_a, of_b));
    assert_eq!(all.daemon.request(&all.who, "PUT", "/dav/b.jpg", "", b"new").status, 201);
    // On A, wherever it is plugged in, before anywhere else; then on B.
    assert_eq!(fs::read(dir.path().join("b/photos/anna/b.jpg")).unwrap(), b"new");
    all.daemon.until("B has it", |d| d.is_mirrored("anna/b.jpg"));
    assert_eq!(fs::read(dir.path().join("a/photos/anna/b.jpg")).unwrap(), b"new");
    assert!(dir.path().join("b/.shoebox/catalogue.db").exists());
    assert!(!dir.path().join("a/.shoebox/catalogue.db").exists());
    let verified = all.daemon.ask(&["verify", "--json"]);
    assert_eq!((&verified["equal"], &verified["damaged"]), (&4.into(), &serde_json::json!([])));
}

#[test]
fn a_clone_of_a_drive_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("a-clone-of-a-drive", &why),
    };
    // Every byte of A, marker and UUID and all, in B's socket.
    all.daemon.kill();
    all.a.unmount().unwrap();
    fs::copy(dir.path().join("a.img"), dir.path().join("clone.img")).unwrap();
    all.a.mount_again();
    all.daemon.start();
    all.b.pull();
    let at = dir.path().join("b");
    let clone = Mounted::behind(&dir.path().join("clone.img"), &at).unwrap();
    let before = tree(&at);
    all.daemon.until("the clone is seen", |d| standing(d, &at) == "foreign");
    assert_eq!(all.daemon.request(&all.who, "PUT", "/dav/b.jpg", "", b"new").status, 201);
    assert_eq!(
        fs::read(dir.path().join("a/photos/anna/b.jpg")).unwrap(),
        b"new",
        "on the one that is in use"
    );
    assert_ne!(all.daemon.run(&["drive", "adopt", at.to_str().unwrap(), "--role", "mirror"]).0, 0);
    assert_eq!(tree(&at), before, "nothing on the clone");
    clone.pull();
    all.b.mount_again();
    all.daemon.until("B is back and has it", |d| d.is_mirrored("anna/b.jpg"));
}

#[test]
fn a_blank_disk_in_as_place_stays_blank() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("a-blank-disk-in-as-place", &why),
    };
    let (at, b) = (dir.path().join("a"), dir.path().join("b"));
    for restart in [false, true] {
        if restart {
            all.daemon.kill();
        }
        all.a.pull();
        let image = dir.path().join(format!("blank-{restart}.img"));
        let blank = Mounted::image(&image, 32, EXT4, &at).unwrap();
        // What somebody had on it.
        fs::write(at.join("taxes.pdf"), b"not ours").unwrap();
        let before = (tree(&at), listing(&b.join("photos")));
        if restart {
            all.daemon.spawn();
            all.daemon.until_it_answers();
        }
        all.daemon.until("people are told what it is", |d| {
            let found = findings(d);
            let says = |code: &str| found.iter().any(|(c, remedy)| c == code && !remedy.is_empty());
            says("drive-new") || says("primary-absent") || says("drive-blank")
        });
        println!("{:?}", findings(&all.daemon));
        for method in ["PUT", "GET", "DELETE", "PROPFIND"] {
            let reply = all.daemon.request(&all.who, method, "/dav/a.jpg", "", b"");
            assert_eq!(reply.status, 503, "{method}");
        }
        let adopted = all.daemon.run(&["drive", "adopt", at.to_str().unwrap(), "--role", "primary"]);
        assert_eq!(adopted.0, 1, "declined: {adopted:?}");
        assert_eq!((tree(&at), listing(&b.join("photos"))), before);
        blank.pull();
        all.a.mount_again();
        let Box { daemon, who, .. } = &mut all;
        daemon.until("A is back", |d| d.request(who, "GET", "/dav/a.jpg", "", b"").status == 200);
    }
}
