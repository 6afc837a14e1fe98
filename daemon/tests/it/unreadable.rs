//! Sectors that cannot be read, met while a drive is opened: in a folder of the box's own, in the marker, under a file that a crash
//! left. The main drive opens whenever its photos and its record can be read, and what cannot be read is told (goal 12).
//! The real binary, real ext4, and a disk with bad sectors.
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::sectors::{Box, forget, furnish};
use crate::support::daemon::Daemon;
use crate::support::luck;
use crate::support::mounted::leave_out;

/// A number that no event has yet.
const LATER: &str = "900000";

fn codes(daemon: &Daemon) -> Vec<String> {
    let status = daemon.ask(&["status", "--json"]);
    let findings = status["findings"].as_array().cloned().unwrap_or_default();
    findings.iter().map(|f| f["code"].as_str().unwrap_or_default().to_owned()).collect()
}

impl Box {
    fn serves_and_takes(&mut self) {
        let Self { daemon, who, .. } = self;
        daemon.until("uploads go on", |d| d.request(who, "PUT", "/dav/c.jpg", "", b"after").status == 201);
        daemon.until("B has it", |d| d.is_mirrored("anna/c.jpg"));
        assert!(self.is_whole());
    }

    /// Stops, and has nothing of the main drive in memory.
    fn away(&mut self, meanwhile: impl FnOnce(&Path, &crate::support::disk::Disk)) {
        self.daemon.kill();
        let a = self.daemon.dir.join("a");
        meanwhile(&a, &self.disks[0]);
    }

    fn mount_anew(&self) {
        self.mounted[0].unmount().unwrap();
        self.mounted[0].mount_again();
    }
}

/// The block of a small folder on ext4 begins with the entry of the folder itself.
fn first_entry(dir: &Path) -> Vec<u8> {
    let inode = u32::try_from(fs::metadata(dir).unwrap().ino()).unwrap();
    [&inode.to_le_bytes()[..], &[12, 0, 1, 2, b'.', 0, 0, 0]].concat()
}

#[test]
fn a_folder_of_the_trash_that_cannot_be_read_keeps_the_main_drive_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("bad-sectors-of-a-trash", &why),
    };
    for below in ["trash/2026-11-01", "incoming"] {
        all.daemon.kill();
        let bad = dir.path().join("a/.shoebox").join(below);
        fs::create_dir_all(&bad).unwrap();
        fs::write(bad.join("something"), b"").unwrap();
        let begins = first_entry(&bad);
        all.mount_anew();
        assert!(all.disks[0].spoil_all(&begins) > 0, "{below} is on the medium");
        assert!(fs::read_dir(&bad).unwrap().any(|entry| entry.is_err()), "{below}");
        all.daemon.start();
        all.serves_and_takes();
        all.daemon.until("it is told", |d| codes(d).contains(&"drive-unreadable".to_owned()));
        let status = all.daemon.ask(&["status", "--json"]).to_string();
        assert!(status.contains(&format!(".shoebox/{below}")), "{status}");
        assert_eq!(all.daemon.request(&all.who, "DELETE", "/dav/c.jpg", "", b"").status, 204);
    }
}

/// It is there twice, and made anew from the second.
#[test]
fn a_marker_that_cannot_be_read_is_made_anew_from_its_copy() {
    for (drive, name) in ["a", "b"].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = match furnish(dir.path()) {
            Ok(all) => all,
            Err(why) => return leave_out("bad-sectors-of-a-marker", &why),
        };
        let marker = dir.path().join(name).join(".shoebox/drive.toml");
        let text = fs::read(&marker).unwrap();
        // While it is in use as well as when it is plugged in.
        let unreadable = || {
            forget(&marker);
            fs::read(&marker).is_err()
        };
        all.daemon.until("it is there twice", |_| {
            fs::read(marker.with_file_name("drive.copy.toml")).is_ok_and(|copy| copy == text)
        });
        assert!(all.disks[drive].spoil_where(&text[..64], unreadable), "{name}: it is on the medium");
        all.serves_and_takes();
        all.daemon.kill();
        forget(&marker);
        assert!(fs::read(&marker).is_err(), "{name}");
        all.daemon.start();
        let Box { daemon, who, .. } = &mut all;
        daemon.until("uploads go on", |d| d.request(who, "PUT", "/dav/d.jpg", "", b"later").status == 201);
        daemon.until("B has it", |d| d.is_mirrored("anna/d.jpg"));
        assert!(all.is_whole(), "{name}");
        all.daemon.until("it is made anew", |_| {
            forget(&marker);
            fs::read(&marker).is_ok_and(|again| again == text)
        });
        all.daemon.kill();
        all.daemon.start();
    }
}

/// A photo was being replaced when the power went: its old bytes are in the trash, no line tells of the new ones, and these cannot be
/// read. Nobody was promised them.
#[test]
fn a_replacement_that_nobody_was_promised_and_that_cannot_be_read_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("bad-sectors-of-a-replacement", &why),
    };
    let new = luck::bytes(13, 50_000);
    all.away(|a, disk| {
        let (home, trash) =
            (a.join("photos/anna/a.jpg"), a.join(format!(".shoebox/trash/2026-11-30/{LATER}/anna")));
        fs::create_dir_all(&trash).unwrap();
        fs::rename(&home, trash.join("a.jpg")).unwrap();
        fs::write(&home, &new).unwrap();
        forget(&home);
        assert!(disk.spoil(&new[4096..4160]), "it is on the medium");
        assert!(fs::read(&home).is_err());
    });
    all.daemon.start();
    all.serves_and_takes();
    assert!(fs::read(dir.path().join("a/photos/anna/a.jpg")).unwrap() == all.photo);
    let days = fs::read_dir(dir.path().join("a/.shoebox/quarantine")).unwrap();
    let mut kept = days.map(|day| day.unwrap().path().join(LATER).join("anna/a.jpg"));
    assert!(
        kept.any(|kept| fs::metadata(kept).is_ok_and(|kept| kept.len() == 50_000)),
        "what there is of it is kept"
    );
    let (code, text) = all.daemon.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
}
