//! The clock is wrong at the start, jumps, and is set right: nothing is lost, nothing is put in another order, nothing stops
//! (I24). The real binary under libfaketime.
use std::collections::BTreeSet;
use std::fs;

use crate::support::clock;
use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, hashes};
use crate::support::mounted::leave_out;

/// A box whose clock is what a file says.
struct Box {
    daemon: Daemon,
    who: Account,
    sent: BTreeSet<String>,
}

impl Box {
    /// `clock`: a jump from the true time, or a date, as faketime(1) has it.
    fn set(&self, clock: &str) {
        fs::write(self.daemon.dir.join("clock"), format!("{clock}\n")).unwrap();
    }

    fn put(&mut self, name: &str, text: &str) {
        let reply = self.daemon.request(&self.who, "PUT", &format!("/dav/{name}"), "", text.as_bytes());
        assert!(matches!(reply.status, 201 | 204), "{name}: {}", reply.text);
        self.sent.insert(hash(text.as_bytes()));
        let path = format!("anna/{name}");
        self.daemon.until(&format!("B has {name}"), |d| d.is_mirrored(&path));
        self.all_is_well();
    }

    fn is(&self, name: &str, text: &str) {
        let reply = self.daemon.request(&self.who, "GET", &format!("/dav/{name}"), "", b"");
        assert_eq!((reply.status, reply.body.as_slice()), (200, text.as_bytes()), "{name}");
    }

    /// Everything ever sent is on both drives, in the tree or in the trash, and reads back equal.
    fn all_is_well(&self) {
        let (code, text) = self.daemon.run(&["verify"]);
        assert_eq!(code, 0, "{text}");
        for drive in ["a", "b"] {
            let held: BTreeSet<String> = hashes(&self.daemon.dir.join(drive)).into_iter().collect();
            assert!(self.sent.is_subset(&held), "drive {drive} lacks something");
        }
    }

    fn dates(&self, name: &str) -> String {
        let receipt = self.daemon.ask(&["receipt", &format!("anna/{name}"), "--json"]);
        receipt["received_at"].as_str().unwrap().to_owned()
    }

    fn restart(&mut self) {
        self.daemon.kill();
        self.daemon.start();
    }
}

#[test]
fn whatever_the_clock_says_nothing_is_lost_or_out_of_order() {
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    fs::write(&clock, "@1970-01-02 00:00:00\n").unwrap();
    let Some(under) = clock::under(&clock) else { return leave_out("wrong-clocks", "no libfaketime") };
    let under: Vec<&str> = under.iter().map(String::as_str).collect();
    for drive in ["a", "b"] {
        fs::create_dir(dir.path().join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir.path(), 20, &under);
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    let mut all = Box { daemon, who, sent: BTreeSet::new() };

    // A Pi without a clock, before the network answers.
    all.put("a.jpg", "of 1970");
    assert!(all.dates("a.jpg").starts_with("1970-"), "{}: the clock is not the one set", all.dates("a.jpg"));
    all.put("gone.jpg", "deleted in 1970");
    assert_eq!(all.daemon.request(&all.who, "DELETE", "/dav/gone.jpg", "", b"").status, 204);
    // Set right, ten years too far, back, and a day back: without a restart, and with one.
    for (number, clock) in
        ["+0", "+315360000", "+0", "-86400", "@1970-01-03 00:00:00"].into_iter().enumerate()
    {
        all.set(clock);
        let text = format!("after clock {number}");
        all.put("a.jpg", &text);
        all.put(&format!("{number}.jpg"), &format!("new by clock {number}"));
        all.restart();
        all.is("a.jpg", &text);
        assert_eq!(all.daemon.request(&all.who, "GET", "/dav/gone.jpg", "", b"").status, 404);
        all.put("a.jpg", &format!("after the restart, {number}"));
        all.all_is_well();
    }
    // The last of all is the last, by the manifest too, whatever dates its lines have.
    all.set("+0");
    all.daemon.kill();
    for name in ["catalogue.db", "catalogue.db-wal", "catalogue.db-shm"] {
        // Some of them may not be there.
        drop(fs::remove_file(dir.path().join("a/.shoebox").join(name)));
    }
    all.daemon.start();
    all.is("a.jpg", "after the restart, 4");
    for number in 0..5 {
        all.is(&format!("{number}.jpg"), &format!("new by clock {number}"));
    }
    assert_eq!(all.daemon.request(&all.who, "GET", "/dav/gone.jpg", "", b"").status, 404);
    all.put("b.jpg", "at last");
    println!("clocks: 6 clocks, {} contents, all on both drives", all.sent.len());
}
