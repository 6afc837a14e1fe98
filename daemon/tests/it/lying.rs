//! Drive A says of its flushes that they are done, and they are not; then the power goes. Whatever reached B is on A again
//! afterwards, without anybody's help, and what did not is not called safe (goal 15). The real binary on real ext4.
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::disk::{Disk, Plug};
use crate::support::luck::{self, Luck};
use crate::support::mounted::{Mounted, leave_out};

const DRIVES: [&str; 2] = ["a", "b"];

struct Box {
    daemon: Daemon,
    who: Account,
    plugs: [Plug; 2],
    disks: Vec<Disk>,
    mounted: Vec<Mounted>,
}

fn furnish(dir: &Path, more: &str) -> Result<Box, String> {
    let plugs = [Plug::default(), Plug::default()];
    let (mut disks, mut mounted) = (Vec::new(), Vec::new());
    for (drive, plug) in DRIVES.into_iter().zip(&plugs) {
        fs::create_dir(dir.join(drive)).unwrap();
        let image = dir.join(format!("{drive}.img"));
        Mounted::image(&image, 64, &["mkfs.ext4", "-q", "-F"], &dir.join(drive))?.unmount()?;
        let disk = Disk::show(&image, &dir.join(format!("{drive}.disk")), plug)?;
        mounted.push(disk.mount(&dir.join(drive))?);
        disks.push(disk);
    }
    let mut daemon = Daemon::new(dir, 20, &[]);
    daemon.require_mount = true;
    daemon.more = more.to_owned();
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    Ok(Box { daemon, who, plugs, disks, mounted })
}

fn photo(number: u64) -> Vec<u8> {
    luck::bytes(number, 1 + (number as usize * 7919) % 60_000)
}

impl Box {
    fn put(&mut self, number: u64, mirrored: bool) {
        let reply = self.daemon.request(&self.who, "PUT", &format!("/dav/{number}.jpg"), "", &photo(number));
        assert_eq!(reply.status, 201, "{}", reply.text);
        if mirrored {
            self.daemon.until("B has it", |d| d.is_mirrored(&format!("anna/{number}.jpg")));
        }
    }
}

/// That photos may be gone, since a time that is not after `first`.
fn says_what_is_lost(daemon: &Daemon, first: Timestamp) -> bool {
    let status = daemon.ask(&["status", "--json"]);
    let found = status["findings"].as_array().unwrap().iter().find(|one| one["code"] == "record-lost");
    found.is_some_and(|one| {
        let since: Timestamp = one["since"].as_str().unwrap().parse().unwrap();
        one["light"] == "red" && since <= first
    })
}

/// A box after the power was cut, not started yet.
struct Again {
    daemon: Daemon,
    who: Account,
    mounted: Vec<Mounted>,
}

impl Box {
    fn lose_power(self, dir: &Path, luck: &mut Luck) -> Again {
        self.plugs.iter().for_each(Plug::pull);
        let Self { mut daemon, who, plugs: _, disks, mounted } = self;
        daemon.kill();
        drop(mounted);
        disks.iter().for_each(|disk| disk.lose_power(luck));
        drop(disks);
        let again = DRIVES.map(|drive| {
            let image = dir.join(format!("{drive}.img"));
            // As a Pi does it at every start.
            let _corrected = Command::new("e2fsck").arg("-fy").arg(&image).output().unwrap();
            Mounted::behind(&image, &dir.join(drive)).unwrap()
        });
        Again { daemon, who, mounted: again.into() }
    }
}

/// The main drive is told to be away, and what is in its place to be no drive of ours.
fn is_lost(daemon: &Daemon) -> bool {
    let status = daemon.ask(&["status", "--json"]);
    status["findings"].as_array().unwrap().iter().any(|one| one["code"] == "primary-blank")
}

/// Which of these photos the record on A still names, after all that it lost.
fn on_record(dir: &Path, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let months = fs::read_dir(dir.join("a/.shoebox/manifest")).into_iter().flatten();
    let lines: Vec<String> = months
        .filter_map(|month| fs::read(month.unwrap().path()).ok())
        .flat_map(|bytes| String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let named = |line: &String, path: &str| {
        serde_json::from_str::<Value>(line)
            .is_ok_and(|line| line["event"] == "stored" && line["path"] == path)
    };
    let is_named = |number: &u64| lines.iter().any(|line| named(line, &format!("anna/{number}.jpg")));
    numbers.filter(is_named).collect()
}

#[test]
fn what_reached_b_comes_back_to_a_drive_that_lied() {
    let (times, seed) = (luck::size("SHOEBOX_LIES", 2), luck::seed("lying"));
    let (mut back, mut named, mut said, mut promoted, mut traceless) = (0, 0, 0, 0, 0);
    for time in 0..times {
        let mut luck = Luck::new(seed.wrapping_add(time));
        let dir = tempfile::tempdir().unwrap();
        let mut all = match furnish(dir.path(), "") {
            Ok(all) => all,
            Err(why) => return leave_out("a-drive-that-lies", &why),
        };
        (0..3).for_each(|number| all.put(number, true));
        all.plugs[0].lie();
        let mut came = Vec::new();
        for number in 3..9 {
            came.push(Timestamp::now());
            all.put(number, true);
        }
        // One that B never gets.
        assert_eq!(all.daemon.run(&["drive", "eject", "mirror"]).0, 0);
        all.put(9, false);

        let Again { mut daemon, who, mounted: there } = all.lose_power(dir.path(), &mut luck);
        let known = on_record(dir.path(), 3..9);
        daemon.spawn();
        daemon.until_it_answers();
        let on =
            |drive: &str, number: u64| fs::read(dir.path().join(format!("{drive}/photos/anna/{number}.jpg")));
        let serves = |d: &Daemon| d.request(&who, "PROPFIND", "/dav/", "Depth: 0\r\n", b"").status == 207;
        daemon.until("A serves, or nobody knows it any more", |d| serves(d) || is_lost(d));
        let mut main = "a";
        if !serves(&daemon) {
            // It lost even its marker: a dead main drive, and a person says so.
            let (code, text) = daemon.run(&["drive", "promote", "mirror", "--yes"]);
            assert!(code == 0 && text.contains("What may be missing: "), "{code}: {text}");
            (main, promoted) = ("b", promoted + 1);
        }
        for number in 0..9 {
            daemon.until(&format!("{number} is on A again, time {time}"), |d| {
                let reply = d.request(&who, "GET", &format!("/dav/{number}.jpg"), "", b"");
                reply.status == 200
                    && reply.body == photo(number)
                    && on(main, number).is_ok_and(|bytes| bytes == photo(number))
            });
            assert!(
                on("b", number).is_ok_and(|bytes| bytes == photo(number)),
                "{number} was proved on B, time {time}"
            );
            back += 1;
        }
        let (_, text) = daemon.run(&["receipt", "anna/9.jpg", "--json"]);
        let receipt: Value = serde_json::from_str(&text).unwrap_or_default();
        // It may have reached the medium in spite of the lie; B has it then by now, or it is not called safe.
        let on_both = DRIVES.iter().all(|drive| on(drive, 9).is_ok_and(|bytes| bytes == photo(9)));
        assert!(receipt["safe_to_delete"] != true || on_both, "{text}");
        // What it alone had is named, or it is said since when something of that kind is gone. A record that lost nothing but the
        // last line looks like one that never had it, and no other drive was there to know.
        let first_forgotten = (3..9).zip(&came).find(|(number, _)| !known.contains(number));
        match first_forgotten {
            _ if !receipt.is_null() => named += 1,
            _ if main == "b" => {}
            Some((_, came)) => {
                daemon.until("it says since when photos may be gone", |d| says_what_is_lost(d, *came));
                said += 1;
            }
            None => traceless += 1,
        }
        daemon.kill();
        drop(there);
    }
    println!(
        "lying: {times} times, {back} photos that were on B are on A again ({promoted} times A had lost its marker, and B went on); \
         of {times} that only A had {named} are still known, of {said} it is said since when they are gone, {traceless} left no trace"
    );
}

const BOTH: &str = "[mirror]\nacknowledge_after_copy = true\n";

/// Where uploads wait for both drives, one that lies loses nothing that was acknowledged, whichever it is.
#[test]
fn with_both_drives_waited_for_one_that_lies_loses_nothing() {
    let (times, seed) = (luck::size("SHOEBOX_LIES", 2), luck::seed("lying, both"));
    let (mut acknowledged, mut slowest) = (0, Duration::ZERO);
    for time in 0..times {
        let mut luck = Luck::new(seed.wrapping_add(time));
        let liar = (time % 2) as usize;
        let dir = tempfile::tempdir().unwrap();
        let mut all = match furnish(dir.path(), BOTH) {
            Ok(all) => all,
            Err(why) => return leave_out("both-drives-and-a-liar", &why),
        };
        (0..3).for_each(|number| all.put(number, false));
        all.plugs[liar].lie();
        for number in 3..9 {
            let began = Instant::now();
            all.put(number, false);
            slowest = slowest.max(began.elapsed());
            // Nobody waited: with the answer it is on both.
            assert!(all.daemon.is_mirrored(&format!("anna/{number}.jpg")), "{number}");
        }
        // By the name under which uploads come first, too.
        let part = photo(9);
        assert_eq!(all.daemon.request(&all.who, "PUT", "/dav/9.jpg.part", "", &part).status, 201);
        let to = "Destination: /dav/9.jpg\r\n";
        assert_eq!(all.daemon.request(&all.who, "MOVE", "/dav/9.jpg.part", to, b"").status, 201);
        assert!(all.daemon.is_mirrored("anna/9.jpg"));
        // Without B nothing is taken, and phones are told to come back.
        assert_eq!(all.daemon.run(&["drive", "eject", "mirror"]).0, 0);
        let refused = all.daemon.request(&all.who, "PUT", "/dav/10.jpg", "", &photo(10));
        assert_eq!(refused.status, 503, "{}", refused.text);
        assert!(refused.text.to_ascii_lowercase().contains("\r\nretry-after: "), "{}", refused.text);
        assert_eq!(all.daemon.request(&all.who, "GET", "/dav/9.jpg", "", b"").status, 200);

        let Again { mut daemon, who, mounted } = all.lose_power(dir.path(), &mut luck);
        daemon.spawn();
        daemon.until_it_answers();
        let serves = |d: &Daemon| d.request(&who, "PROPFIND", "/dav/", "Depth: 0\r\n", b"").status == 207;
        daemon.until("A serves, or nobody knows it any more", |d| serves(d) || is_lost(d));
        if !serves(&daemon) {
            let (code, text) = daemon.run(&["drive", "promote", "mirror", "--yes"]);
            assert_eq!(code, 0, "{text}");
        }
        for number in 0..10 {
            daemon.until(&format!("{number} is served, time {time}"), |d| {
                let reply = d.request(&who, "GET", &format!("/dav/{number}.jpg"), "", b"");
                reply.status == 200 && reply.body == photo(number)
            });
            acknowledged += 1;
        }
        daemon.kill();
        drop(mounted);
    }
    println!(
        "lying: {times} times one of two drives lied that both were waited for: {acknowledged} acknowledged, 0 lost; the slowest answer \
         took {:.2} s",
        slowest.as_secs_f32()
    );
}

/// B is there and has no room: nothing is acknowledged, however often the app tries its way of uploading, until B has it.
#[test]
fn a_photo_that_b_cannot_take_is_not_acknowledged_by_another_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), BOTH) {
        Ok(all) => all,
        Err(why) => return leave_out("both-drives-one-full", &why),
    };
    let filler = dir.path().join("b/other-hands");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    let upload = |all: &Box| {
        let put = all.daemon.request(&all.who, "PUT", "/dav/1.jpg.part", "", &photo(1));
        assert!(put.is_success(), "{}", put.text);
        let to = "Destination: /dav/1.jpg\r\nOverwrite: T\r\n";
        all.daemon.request(&all.who, "MOVE", "/dav/1.jpg.part", to, b"").status
    };
    assert_eq!([upload(&all), upload(&all)], [503, 503], "{}", all.daemon.log());
    assert!(!all.daemon.is_mirrored("anna/1.jpg"));
    drop(file);
    fs::remove_file(&filler).unwrap();
    all.daemon.until("B has room, and it is acknowledged", {
        let who = all.who.clone();
        move |d| {
            let reply = d.request(&who, "PUT", "/dav/1.jpg", "", &photo(1));
            assert!(!reply.is_success() || d.is_mirrored("anna/1.jpg"), "{}", reply.text);
            reply.is_success()
        }
    });
}
