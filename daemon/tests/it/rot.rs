//! A bit flips on the medium behind memory's back: found by the next verification, kept aside, made anew from the other drive
//! (P4; invariants I13, I14). The real binary on real filesystems.
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::support::daemon::{Account, Daemon};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

const NAME: &str = "anna/a.jpg";

struct Box {
    daemon: Daemon,
    who: Account,
    _a: Mounted,
    _b: Mounted,
    dir: PathBuf,
    photo: Vec<u8>,
}

fn furnish(dir: &Path) -> Result<Box, String> {
    let mount = |drive: &str| {
        fs::create_dir(dir.join(drive)).unwrap();
        let image = dir.join(format!("{drive}.img"));
        Mounted::image(&image, 64, &["mkfs.ext4", "-q", "-F"], &dir.join(drive))
    };
    let (a, b) = (mount("a")?, mount("b")?);
    let mut daemon = Daemon::new(dir, 5, &[]);
    daemon.require_mount = true;
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    let photo = luck::bytes(5, 300_000);
    for (name, bytes) in [("a.jpg", &photo[..]), ("b.jpg", b"another")] {
        assert_eq!(daemon.request(&who, "PUT", &format!("/dav/{name}"), "", bytes).status, 201);
        daemon.until("B has it", |d| d.is_mirrored(&format!("anna/{name}")));
    }
    assert_eq!(daemon.run(&["verify"]).0, 0);
    Ok(Box { daemon, who, _a: a, _b: b, dir: dir.to_owned(), photo })
}

impl Box {
    /// Flips a bit of the photo on the medium of one drive.
    fn rot(&self, drive: &str) {
        let image = self.dir.join(format!("{drive}.img"));
        let raw = fs::read(&image).unwrap();
        let piece = &self.photo[100_000..100_064];
        let at = raw.windows(piece.len()).position(|window| window == piece).unwrap();
        let file = File::options().write(true).open(&image).unwrap();
        file.write_all_at(&[raw[at] ^ 1], at as u64).unwrap();
    }

    fn states(&self) -> Vec<String> {
        let receipt = self.daemon.ask(&["receipt", NAME, "--json"]);
        let copies = receipt["copies"].as_array().unwrap();
        copies.iter().map(|copy| copy["state"].as_str().unwrap().to_owned()).collect()
    }

    /// What lies in a drive's quarantine.
    fn aside(&self, drive: &str) -> Vec<Vec<u8>> {
        let (mut found, mut below) = (Vec::new(), vec![self.dir.join(drive).join(".shoebox/quarantine")]);
        while let Some(dir) = below.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { below.push(path) } else { found.push(fs::read(path).unwrap()) }
            }
        }
        found
    }

    fn on(&self, drive: &str) -> Vec<u8> {
        fs::read(self.dir.join(drive).join("photos").join(NAME)).unwrap()
    }
}

#[test]
fn one_bad_copy_heals_by_itself() {
    for drive in ["a", "b"] {
        let dir = tempfile::tempdir().unwrap();
        let mut all = match furnish(dir.path()) {
            Ok(all) => all,
            Err(why) => return leave_out("a-flipped-bit-heals", &why),
        };
        all.rot(drive);
        let report = all.daemon.ask(&["verify", "--json"]);
        assert_eq!(
            (&report["damaged"], &report["equal"]),
            (&serde_json::json!([NAME]), &3.into()),
            "{drive}"
        );
        let Box { daemon, .. } = &mut all;
        daemon.until("it is healed", |d| {
            let receipt = d.ask(&["receipt", NAME, "--json"]);
            receipt["copies"].as_array().unwrap().iter().all(|copy| copy["state"] == "verified")
        });
        let bad = all.aside(drive);
        let differing = bad[0].iter().zip(&all.photo).filter(|(a, b)| a != b).count();
        assert_eq!((bad.len(), bad[0].len(), differing), (1, all.photo.len(), 1), "the bad copy, as it was");
        assert!(all.on(drive) == all.photo, "made anew");
        let (code, text) = all.daemon.run(&["verify"]);
        assert_eq!(code, 0, "{text}");
        assert!(text.starts_with("4 copies read back equal"), "{text}");
        assert_eq!(all.daemon.run(&["rescan"]).0, 0);
        let reply = all.daemon.request(&all.who, "GET", "/dav/a.jpg", "", b"");
        assert!(reply.status == 200 && reply.body == all.photo);
    }
}

#[test]
fn two_bad_copies_are_told_and_both_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("two-flipped-bits", &why),
    };
    all.rot("a");
    all.rot("b");
    let report = all.daemon.ask(&["verify", "--json"]);
    assert_eq!((&report["damaged"], &report["equal"]), (&serde_json::json!([NAME, NAME]), &2.into()));
    let Box { daemon, .. } = &mut all;
    daemon.until("people are told", |d| {
        let status = d.ask(&["status", "--json"]);
        let findings = status["findings"].as_array().unwrap();
        findings.iter().filter(|f| f["code"] == "copies-damaged" && f["light"] == "red").count() == 2
    });
    assert_eq!(all.daemon.run(&["rescan"]).0, 0);
    assert_eq!(all.states(), ["damaged", "damaged"]);
    for drive in ["a", "b"] {
        assert_eq!(all.aside(drive), Vec::<Vec<u8>>::new(), "both stay where they are");
        let there = all.on(drive);
        assert_eq!(there.iter().zip(&all.photo).filter(|(a, b)| a != b).count(), 1, "as it was");
    }
    let receipt = all.daemon.ask(&["receipt", NAME, "--json"]);
    assert_eq!(receipt["safe_to_delete"], false);
    let reply = all.daemon.request(&all.who, "GET", "/dav/a.jpg", "", b"");
    assert!(
        reply.status == 500 && reply.body.len() < 200,
        "what is known to be wrong is not sent as the photo"
    );
    assert_eq!(all.daemon.request(&all.who, "GET", "/dav/b.jpg", "", b"").status, 200);
    // The phone that still has it makes it good.
    let photo = all.photo.clone();
    let status = all.daemon.request(&all.who, "PUT", "/dav/a.jpg", "", &photo).status;
    assert!(matches!(status, 201 | 204), "{status}");
    let reply = all.daemon.request(&all.who, "GET", "/dav/a.jpg", "", b"");
    assert!(reply.status == 200 && reply.body == photo);
    let Box { daemon, .. } = &mut all;
    daemon.until("B has it again", |d| d.is_mirrored(NAME));
    assert!(all.on("b") == photo);
    let (code, text) = all.daemon.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_damaged_copy_is_not_served_and_the_good_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("a-damaged-copy-is-not-served", &why),
    };
    // Healing waits while B takes no writes; it is read all the same.
    let remount = |how: &str| {
        let b = dir.path().join("b");
        let done = std::process::Command::new("mount").args(["-o", how]).arg(b).status().unwrap();
        assert!(done.success());
    };
    all.rot("a");
    remount("remount,ro");
    all.daemon.until("B takes no writes", |d| {
        d.ask(&["drive", "list", "--json"])
            .as_array()
            .unwrap()
            .iter()
            .any(|d| d["standing"]["standing"] == "read-only")
    });
    assert_eq!(all.daemon.ask(&["verify", "--json"])["damaged"], serde_json::json!([NAME]));
    for _ in 0..20 {
        let reply = all.daemon.request(&all.who, "GET", "/dav/a.jpg", "", b"");
        assert!(reply.status == 200 && reply.body == all.photo, "never the damaged one");
    }
    remount("remount,rw");
    let Box { daemon, .. } = &mut all;
    daemon.until("it is healed", |d| d.ask(&["receipt", NAME, "--json"])["copies"][0]["state"] == "verified");
    assert!(all.on("a") == all.photo);
}
