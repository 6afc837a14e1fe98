//! Sectors that cannot be read, under one photo on both drives: what either drive still gives is brought together on request, and
//! the box tells it, keeps both copies and writes over neither (P2, P4; goals 12 and 13). The real binary, real ext4, disks with bad
//! sectors.
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::{Account, Daemon};
use crate::support::disk::Disk;
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

/// With the blocks of large drives: mkfs takes smaller ones for a small drive.
const MKFS: &[&str] = &["mkfs.ext4", "-q", "-F", "-b", "4096"];
const DRIVES: [&str; 2] = ["a", "b"];
/// So much that memory takes many blocks at once, all of which one bad sector keeps out of it.
const SIZE: usize = 6_000_100;
/// What one bad sector costs: nothing reads less than a block.
const BLOCK: usize = 4096;

/// Bad in different blocks of A and B; bad in some that are the same, the last one among them.
const APART: &str = "anna/apart.jpg";
const SAME: &str = "anna/same.jpg";
const PHOTOS: [(&str, u64, [&[usize]; 2]); 2] =
    [(APART, 31, [&[49, 1299, 1301], &[1300, 1464]]), (SAME, 32, [&[10, 1000, 1464], &[1000, 1001, 1464]])];

struct Box {
    daemon: Daemon,
    who: Account,
    mounted: Vec<Mounted>,
    disks: Vec<Disk>,
}

/// Two photos on both drives, and nothing running; nothing of them is in memory.
fn furnish(dir: &Path) -> Result<Box, String> {
    let (mut mounted, mut disks) = (Vec::new(), Vec::new());
    for drive in DRIVES {
        fs::create_dir(dir.join(drive)).unwrap();
        let (disk, at) = Disk::mounted(64, MKFS, &dir.join(drive))?;
        mounted.push(at);
        disks.push(disk);
    }
    let mut daemon = Daemon::new(dir, 5, &[]);
    daemon.require_mount = true;
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    for (name, number, _) in PHOTOS {
        let target = name.replace("anna/", "/dav/");
        assert_eq!(daemon.request(&who, "PUT", &target, "", &luck::bytes(number, SIZE)).status, 201);
        daemon.until("B has it", |d| d.is_mirrored(name));
    }
    daemon.kill();
    for one in &mounted {
        one.unmount()?;
        one.mount_again();
    }
    Ok(Box { daemon, who, mounted, disks })
}

impl Box {
    fn spoil(&self) {
        for (name, number, bad) in PHOTOS {
            let photo = luck::bytes(number, SIZE);
            for (disk, blocks) in self.disks.iter().zip(bad) {
                for block in blocks {
                    // Any one sector of it.
                    let at = block * BLOCK + (block % 8) * 512;
                    assert!(disk.spoil(&photo[at..at + 64]), "{name} is on the medium");
                }
            }
        }
    }

    fn bad_sectors(&self) -> Vec<usize> {
        self.disks.iter().map(Disk::unreadable).collect()
    }

    /// Inode, size and date of every copy.
    fn originals(&self) -> Vec<(u64, u64, i64, i64)> {
        let all = DRIVES.iter().flat_map(|drive| PHOTOS.map(|(name, ..)| format!("{drive}/photos/{name}")));
        let looks = all.map(|at| fs::metadata(self.daemon.dir.join(at)).unwrap());
        looks.map(|look| (look.ino(), look.len(), look.mtime(), look.ctime())).collect()
    }

    fn restore(&self, to: &Path, more: &[&str]) -> (i32, Value) {
        let from = DRIVES.map(|drive| self.daemon.dir.join(drive).to_str().unwrap().to_owned());
        let line =
            ["restore", "--json", "--to", to.to_str().unwrap(), "--from", &from[0], "--from", &from[1]];
        let (code, text) = self.daemon.run(&[&line, more].concat());
        (code, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{code}: {text}")))
    }
}

/// Blocks as byte ranges of the photo.
fn ranges(blocks: &[(usize, usize)]) -> Value {
    json!(blocks.iter().map(|(from, to)| [from * BLOCK, (to * BLOCK).min(SIZE)]).collect::<Vec<_>>())
}

fn brings_what_can_be_read(all: &Box) {
    let [apart, same] = PHOTOS.map(|(_, number, _)| luck::bytes(number, SIZE));
    let to = all.daemon.dir.join("back");
    let (code, report) = all.restore(&to, &[]);
    let failed: Vec<&Value> = report["failed"].as_array().unwrap().iter().map(|one| &one["path"]).collect();
    assert_eq!((code, failed), (1, vec![&json!(APART), &json!(SAME)]), "{report}");
    assert!(!to.join("anna").exists(), "nothing that is not asked for");

    for _again in 0..2 {
        let (code, report) = all.restore(&to, &["--salvage", "anna"]);
        assert_eq!((code, &report["failed"]), (1, &json!([])), "{report}");
        let [first, second] = [0, 1].map(|nth| &report["salvaged"][nth]);
        assert_eq!(
            (&first["path"], &first["whole"], &first["lost"], &first["unsure"]),
            (&json!(APART), &json!(true), &json!([]), &json!([])),
            "{report}"
        );
        assert_eq!(
            (&second["path"], &second["whole"], &second["lost"], &second["unsure"]),
            (&json!(SAME), &json!(false), &ranges(&[(1000, 1001), (1464, 1465)]), &json!([])),
            "{report}"
        );
        let mut there: Vec<_> =
            fs::read_dir(to.join("anna")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        there.sort();
        let names =
            ["apart.salvaged.jpg", "apart.salvaged.jpg.txt", "same.salvaged.jpg", "same.salvaged.jpg.txt"];
        assert_eq!(there, names, "never under the photo's own name");
        assert!(fs::read(to.join("anna/apart.salvaged.jpg")).unwrap() == apart, "whole and equal");
        let mut expected = same.clone();
        for lost in [1000, 1464] {
            let end = SIZE.min((lost + 1) * BLOCK);
            expected[lost * BLOCK..end].fill(0);
        }
        assert!(fs::read(to.join("anna/same.salvaged.jpg")).unwrap() == expected, "all but what is lost");
        let told = fs::read_to_string(to.join("anna/same.salvaged.jpg.txt")).unwrap();
        for line in ["bytes 4096000 to 4100095\n", "bytes 5996544 to 6000099\n"] {
            assert!(told.contains(&format!("missing, zeros instead: {line}")), "{told}");
        }
    }
}

/// Both are told as damaged, both are kept, and nobody is given bytes that are not the photo's.
fn the_box_tells_it(all: &mut Box) {
    all.daemon.start();
    let Box { daemon, .. } = all;
    // The scrub is at it, too, after a stop without notice; and a drive that fails to read is left alone for a moment.
    daemon.until("every copy is found to be bad", |d| {
        let report = d.ask(&["verify", "--json"]);
        assert_eq!(report["equal"].as_u64().unwrap_or(0), 0, "{report}");
        report["damaged"] == json!([APART, SAME, APART, SAME])
    });
    daemon.until("people are told", |d| {
        let status = d.ask(&["status", "--json"]);
        let findings = status["findings"].as_array().unwrap();
        findings.iter().filter(|f| f["code"] == "copies-damaged" && f["light"] == "red").count() == 2
    });
    assert_eq!(all.daemon.run(&["rescan"]).0, 0);
    for (name, number, _) in PHOTOS {
        let receipt = all.daemon.ask(&["receipt", name, "--json"]);
        let copies = receipt["copies"].as_array().unwrap();
        let damaged = copies.iter().filter(|copy| copy["state"] == "damaged").count();
        assert_eq!((damaged, &receipt["safe_to_delete"]), (2, &json!(false)), "{receipt}");
        let target = name.replace("anna/", "/dav/");
        let reply = all.daemon.request(&all.who, "GET", &target, "", b"");
        let photo = luck::bytes(number, SIZE);
        assert!(
            reply.status != 200 || photo.starts_with(&reply.body),
            "{name}: other bytes than the photo's"
        );
        println!("salvage: {name}: {} with {} of {SIZE} bytes", reply.status, reply.body.len());
    }
}

#[test]
fn bad_sectors_on_both_drives() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("salvage-from-bad-sectors", &why),
    };
    all.spoil();
    let before = (all.bad_sectors(), all.originals());
    brings_what_can_be_read(&all);
    the_box_tells_it(&mut all);
    // What is written to a bad sector is put elsewhere: they are all still bad, so nobody wrote there.
    assert_eq!((all.bad_sectors(), all.originals()), before, "the originals are as they were");
    for drive in DRIVES {
        let aside = all.daemon.dir.join(drive).join(".shoebox/quarantine");
        assert!(fs::read_dir(aside).map_or(0, Iterator::count) == 0, "both stay where they are");
    }
    let Box { daemon, mounted, disks, .. } = all;
    drop(daemon);
    drop(mounted);
    drop(disks);
}
