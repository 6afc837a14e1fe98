//! A drive that makes an error, passes its probe, and makes another: it is failing, and is told of as that until a day was quiet or
//! another drive is in its place. The real binary, real ext4, a disk that refuses writes, and a clock that is set.
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::clock;
use crate::support::daemon::{Account, Daemon};
use crate::support::disk::Disk;
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

const MKFS: &[&str] = &["mkfs.ext4", "-q", "-F"];

struct Box {
    daemon: Daemon,
    who: Account,
    _mounted: [Mounted; 2],
    disks: [Disk; 2],
}

fn furnish(dir: &Path) -> Result<Box, String> {
    let mount = |drive: &str| {
        fs::create_dir(dir.join(drive)).unwrap();
        Disk::mounted(64, MKFS, &dir.join(drive))
    };
    let ((a, at_a), (b, at_b)) = (mount("a")?, mount("b")?);
    let under = clock::under(&dir.join("clock")).ok_or("no libfaketime")?;
    set(dir, "+0");
    let mut daemon = Daemon::new(dir, 5, &under.iter().map(String::as_str).collect::<Vec<_>>());
    daemon.require_mount = true;
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    Ok(Box { daemon, who, _mounted: [at_a, at_b], disks: [a, b] })
}

fn set(dir: &Path, clock: &str) {
    fs::write(dir.join("clock"), format!("{clock}\n")).unwrap();
}

fn standing(daemon: &Daemon, role: &str) -> String {
    let (_, text) = daemon.run(&["drive", "list", "--json"]);
    let drives: Value = serde_json::from_str(&text).unwrap_or_default();
    let found = drives.as_array().and_then(|all| all.iter().find(|drive| drive["role"] == role));
    found.map_or_else(String::new, |drive| drive["standing"]["standing"].as_str().unwrap().to_owned())
}

/// The finding about it: its light, its sentence and its remedy.
fn failing(daemon: &Daemon) -> Option<[String; 3]> {
    let status = daemon.ask(&["status", "--json"]);
    let found = status["findings"].as_array().unwrap().iter().find(|f| f["code"] == "drive-failing")?;
    Some(["light", "sentence", "remedy"].map(|key| found[key].as_str().unwrap().to_owned()))
}

impl Box {
    fn put(&self, name: &str, seed: u64) -> u16 {
        let photo = luck::bytes(seed, 100_000);
        self.daemon.request(&self.who, "PUT", &format!("/dav/{name}"), "", &photo).status
    }

    fn get(&self, name: &str, seed: u64) -> bool {
        let reply = self.daemon.request(&self.who, "GET", &format!("/dav/{name}"), "", b"");
        reply.status == 200 && reply.body == luck::bytes(seed, 100_000)
    }

    /// A write of an upload fails on A; after the next probe the drive is used again.
    fn fail_once(&mut self, seed: u64) {
        self.disks[0].refuse(Some(&luck::bytes(seed, 100_000)[..64]));
        let status = self.put("refused.jpg", seed);
        assert!(status >= 500, "{status}: its data cannot be written");
        self.disks[0].refuse(None);
        self.daemon
            .until("the drive was probed", |d| matches!(&*standing(d, "primary"), "ready" | "failing"));
        // The standing may be the one from before the error.
        let Self { daemon, .. } = self;
        daemon.until("the probe is noted", |d| {
            d.log().matches("made an error, and answers").count() as u64 >= seed
        });
    }

    /// Two errors on A, two hours apart.
    fn fail_twice(&mut self, dir: &Path) {
        self.fail_once(1);
        assert_eq!(
            (standing(&self.daemon, "primary").as_str(), failing(&self.daemon)),
            ("ready", None),
            "forgiven"
        );
        assert_eq!(self.put("a.jpg", 11), 201);
        set(dir, "+2h");
        self.fail_once(2);
        self.daemon.until("it is failing", |d| standing(d, "primary") == "failing" && failing(d).is_some());
        let [light, sentence, remedy] = failing(&self.daemon).unwrap();
        assert_eq!(light, "red");
        assert!(sentence.starts_with("Drive A (main) is failing"), "{sentence}");
        assert!(remedy.contains("shoebox drive replace primary --with PATH"), "{remedy}");
        self.takes_nothing_and_serves();
    }

    fn takes_nothing_and_serves(&self) {
        assert_eq!(self.put("b.jpg", 12), 503);
        for (method, more) in [("DELETE", ""), ("MOVE", "Destination: /dav/c.jpg\r\n")] {
            assert_eq!(
                self.daemon.request(&self.who, method, "/dav/a.jpg", more, b"").status,
                503,
                "{method}"
            );
        }
        assert!(self.get("a.jpg", 11), "what is there is there");
    }
}

#[test]
fn a_main_drive_that_fails_again_and_again_takes_nothing_new_until_a_day_was_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("failing-main-drive", &why),
    };
    all.fail_twice(dir.path());
    all.daemon.until("B has it all the same", |d| d.is_mirrored("anna/a.jpg"));
    let receipt = all.daemon.ask(&["receipt", "anna/a.jpg", "--json"]);
    assert_eq!(receipt["safe_to_delete"], false, "a drive is in alarm: {receipt}");

    all.daemon.kill();
    all.daemon.spawn();
    all.daemon.until("it is failing still", |d| standing(d, "primary") == "failing" && failing(d).is_some());
    all.takes_nothing_and_serves();
    set(dir.path(), "+25h");
    // As long as it takes for the clock to be noticed, below.
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        assert_eq!(all.put("b.jpg", 12), 503, "not a day yet");
        std::thread::sleep(Duration::from_millis(200));
    }

    set(dir.path(), "+27h");
    let noticed = Instant::now();
    all.daemon.until("a day was quiet", |d| standing(d, "primary") == "ready" && failing(d).is_none());
    assert!(
        noticed.elapsed() < Duration::from_secs(12),
        "what was waited for above: {:?}",
        noticed.elapsed()
    );
    assert_eq!(all.put("b.jpg", 12), 201);
    assert_eq!(all.daemon.run(&["verify"]).0, 0);
}

#[test]
fn a_main_drive_that_is_failing_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let c = dir.path().join("c");
    fs::create_dir(&c).unwrap();
    let furnished = furnish(dir.path());
    let new = Mounted::image(&dir.path().join("c.img"), 64, MKFS, &c);
    let (mut all, _new) = match (furnished, new) {
        (Ok(all), Ok(new)) => (all, new),
        (Err(why), _) | (_, Err(why)) => return leave_out("failing-main-drive-replaced", &why),
    };
    all.fail_twice(dir.path());
    let replaced = all.daemon.run(&["drive", "replace", "primary", "--with", c.to_str().unwrap()]);
    assert_eq!(replaced.0, 0, "{replaced:?}\n{}", all.daemon.log());
    all.daemon.until("nothing is failing", |d| failing(d).is_none() && standing(d, "primary") == "ready");
    assert_eq!(all.put("b.jpg", 12), 201);
    assert!(all.get("a.jpg", 11));
    assert!(c.join("photos/anna/b.jpg").exists(), "on the new one");
}

#[test]
fn a_copy_that_fails_again_and_again_counts_for_nothing_and_gets_its_copies() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("failing-mirror", &why),
    };
    for (seed, clock) in [(1, "+0"), (2, "+2h")] {
        set(dir.path(), clock);
        all.disks[1].refuse(Some(&luck::bytes(seed, 100_000)[..64]));
        let name = format!("{seed}.jpg");
        assert_eq!(all.put(&name, seed), 201, "A is well");
        let noted = |d: &Daemon| d.log().matches("made an error, and answers").count() as u64 >= seed;
        all.daemon.until("the error is noted", noted);
        all.disks[1].refuse(None);
        all.daemon.until("B has it", |d| d.is_mirrored(&format!("anna/{name}")));
    }
    all.daemon.until("it is failing", |d| standing(d, "mirror") == "failing" && failing(d).is_some());
    assert!(failing(&all.daemon).unwrap()[1].starts_with("Drive B (copy) is failing"));
    assert_eq!(all.put("3.jpg", 3), 201);
    all.daemon.until("B gets it all the same", |d| d.is_mirrored("anna/3.jpg"));
    let receipt = all.daemon.ask(&["receipt", "anna/3.jpg", "--json"]);
    assert_eq!(receipt["safe_to_delete"], false, "{receipt}");
}
