//! A sector that cannot be read, under a photo on A or on B: found, and the photo made anew from the other drive (P4, goal 12).
//! The real binary, real ext4, and a disk with bad sectors.
use std::fs;
use std::path::Path;

use crate::support::daemon::{Account, Daemon};
use crate::support::disk::Disk;
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

const NAME: &str = "anna/a.jpg";
const MKFS: &[&str] = &["mkfs.ext4", "-q", "-F"];

pub(crate) struct Box {
    pub(crate) daemon: Daemon,
    pub(crate) who: Account,
    pub(crate) mounted: [Mounted; 2],
    pub(crate) disks: [Disk; 2],
    pub(crate) photo: Vec<u8>,
}

pub(crate) fn furnish(dir: &Path) -> Result<Box, String> {
    let mount = |drive: &str| {
        fs::create_dir(dir.join(drive)).unwrap();
        Disk::mounted(64, MKFS, &dir.join(drive))
    };
    let ((a, at_a), (b, at_b)) = (mount("a")?, mount("b")?);
    let mut daemon = Daemon::new(dir, 5, &[]);
    daemon.require_mount = true;
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    let photo = luck::bytes(12, 400_000);
    for (name, bytes) in [("a.jpg", &photo[..]), ("b.jpg", b"another")] {
        assert_eq!(daemon.request(&who, "PUT", &format!("/dav/{name}"), "", bytes).status, 201);
        daemon.until("B has it", |d| d.is_mirrored(&format!("anna/{name}")));
    }
    assert_eq!(daemon.run(&["verify"]).0, 0);
    Ok(Box { daemon, who, mounted: [at_a, at_b], disks: [a, b], photo })
}

impl Box {
    pub(crate) fn is_whole(&self) -> bool {
        let reply = self.daemon.request(&self.who, "GET", "/dav/a.jpg", "", b"");
        reply.status == 200 && reply.body == self.photo
    }
}

/// What is in memory of it would be read from there.
pub(crate) fn forget(path: &Path) {
    let file = fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

/// Nobody runs a check: that somebody wanted to see the photo is enough.
#[test]
fn a_download_that_meets_a_bad_sector_has_the_copy_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("bad-sectors-of-a-download", &why),
    };
    let there = dir.path().join("a/photos").join(NAME);
    forget(&there);
    let bad = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&there).unwrap());
    assert!(all.disks[0].spoil(&all.photo[199_680..199_744]), "the photo is on the medium");
    let read_on = |d: &Daemon| d.log().matches("read on from another drive").count();
    assert!(all.is_whole());
    assert_eq!(read_on(&all.daemon), 1);
    assert!(all.is_whole());
    assert_eq!(read_on(&all.daemon), 1, "the second one comes from B from its first byte");
    all.daemon.until("it is made anew", |d| {
        let receipt = d.ask(&["receipt", NAME, "--json"]);
        let inode = fs::metadata(&there).map_or(bad, |m| std::os::unix::fs::MetadataExt::ino(&m));
        inode != bad && receipt["copies"].as_array().unwrap().iter().all(|copy| copy["state"] == "verified")
    });
    assert!(fs::read(&there).unwrap() == all.photo);
    assert!(all.is_whole());
    all.daemon.until("it counts against the drive", |d| d.log().contains("made an error, and answers"));
    let status = all.daemon.request(&all.who, "PUT", "/dav/c.jpg", "", b"after").status;
    assert_eq!(status, 201, "once is forgiven");
    assert_eq!(all.daemon.run(&["verify"]).0, 0);
}

#[test]
fn a_bad_sector_is_found_and_the_photo_made_anew() {
    for (drive, name) in ["a", "b"].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = match furnish(dir.path()) {
            Ok(all) => all,
            Err(why) => return leave_out("bad-sectors", &why),
        };
        // Nobody asks for it before it is looked for: a download would have it made anew at once.
        assert!(all.disks[drive].spoil(&all.photo[199_680..199_744]), "the photo is on the medium");
        let report = all.daemon.ask(&["verify", "--json"]);
        assert_eq!((&report["damaged"], &report["equal"]), (&serde_json::json!([NAME]), &3.into()), "{name}");
        assert!(all.is_whole(), "{name}: served all the same");
        let Box { daemon, .. } = &mut all;
        daemon.until("it is healed", |d| {
            let receipt = d.ask(&["receipt", NAME, "--json"]);
            receipt["copies"].as_array().unwrap().iter().all(|copy| copy["state"] == "verified")
        });
        let there = fs::read(dir.path().join(name).join("photos").join(NAME)).unwrap();
        assert!(there == all.photo && all.is_whole(), "{name}: made anew");
        let (code, text) = all.daemon.run(&["verify"]);
        assert_eq!(code, 0, "{name}: {text}");
        let Box { daemon, who, .. } = &mut all;
        daemon.until("uploads go on", |d| {
            matches!(d.request(who, "PUT", "/dav/c.jpg", "", b"after").status, 201 | 204)
        });
        daemon.until("B has it", |d| d.is_mirrored("anna/c.jpg"));
    }
}

/// The record of a drive is read whenever it is opened.
#[test]
fn a_bad_sector_in_a_record_keeps_its_drive_from_nothing() {
    for (drive, name) in ["a", "b"].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = match furnish(dir.path()) {
            Ok(all) => all,
            Err(why) => return leave_out("bad-sectors-of-a-record", &why),
        };
        all.daemon.kill();
        let records = fs::read_dir(dir.path().join(name).join(".shoebox/manifest")).unwrap();
        let mut records = records.map(|entry| entry.unwrap().path());
        let record = records.find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap();
        let lines = fs::read(&record).unwrap();
        assert!(all.disks[drive].spoil(&lines[..64]), "the record is on the medium");
        forget(&record);
        assert!(fs::read(&record).is_err(), "{name}");
        let Box { daemon, who, .. } = &mut all;
        daemon.start();
        daemon.until("uploads go on", |d| d.request(who, "PUT", "/dav/c.jpg", "", b"after").status == 201);
        daemon.until("B has it", |d| d.is_mirrored("anna/c.jpg"));
        daemon.until("B has all of it", |d| d.is_mirrored(NAME));
        assert!(all.is_whole(), "{name}");
        assert_eq!(all.daemon.run(&["verify"]).0, 0, "{name}");
        assert_eq!(
            all.daemon
                .run(&[
                    "restore",
                    "--from",
                    dir.path().join(name).to_str().unwrap(),
                    "--to",
                    dir.path().join("out").to_str().unwrap()
                ])
                .0,
            0
        );
    }
}

/// What is left of the catalogue is of no use: it is made anew.
#[test]
fn a_bad_sector_in_the_catalogue_has_it_made_anew() {
    for page in [0, 2] {
        let dir = tempfile::tempdir().unwrap();
        let mut all = match furnish(dir.path()) {
            Ok(all) => all,
            Err(why) => return leave_out("bad-sectors-of-a-catalogue", &why),
        };
        assert_eq!(all.daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
        let catalogue = dir.path().join("a/.shoebox/catalogue.db");
        let bytes = fs::read(&catalogue).unwrap();
        let at = page * 4096;
        // A snapshot begins with the same bytes.
        let hit = || {
            forget(&catalogue);
            fs::read(&catalogue).is_err()
        };
        assert!(all.disks[0].spoil_where(&bytes[at..at + 512], hit), "page {page} is on the medium");
        let Box { daemon, who, .. } = &mut all;
        daemon.start();
        daemon.until("uploads go on", |d| d.request(who, "PUT", "/dav/c.jpg", "", b"after").status == 201);
        daemon.until("B has all of it", |d| d.is_mirrored("anna/c.jpg") && d.is_mirrored(NAME));
        assert!(all.is_whole(), "page {page}");
        let (code, text) = all.daemon.run(&["verify"]);
        assert_eq!(code, 0, "page {page}: {text}\n{}", all.daemon.log());
    }
}
