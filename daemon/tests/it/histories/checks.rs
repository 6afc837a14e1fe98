//! What holds at the end of every history, by the numbers of the invariants.
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::steps::{Drive, content};
use super::world::{World, findings};
use crate::support::listing::{hash, hashes, listing};

impl World {
    /// Brings everything to rest with both drives, and looks at all of it.
    pub(super) fn ends_well(&mut self) -> Result<(), String> {
        self.all_back();
        self.compared();
        self.rest();
        self.healed()?;
        self.compared();
        self.rest();
        self.is_on_both()?;
        self.nothing_is_lost()?;
        self.forgets_nothing_with_its_catalogue()?;
        self.is_on_both()?;
        if self.patient {
            self.strangers_can_check()?;
        }
        let usual = self.usual.clone();
        self.daemon.until("it says nothing but the usual", |d| findings(d).is_subset(&usual));
        Ok(())
    }

    /// I13, I14: what was damaged is found by one pass and made anew from the other drive.
    fn healed(&mut self) -> Result<(), String> {
        let report = self.daemon.ask(&["verify", "--json"]);
        for trouble in ["missing", "unreadable_drives"] {
            if report[trouble].as_array().is_none_or(|all| !all.is_empty()) {
                return Err(format!("verify: {report}"));
            }
        }
        self.daemon.until("all copies are good", |d| d.run(&["verify"]).0 == 0);
        self.flipped.clear();
        Ok(())
    }

    /// I1, I2, I6, I12: A has the tree and nothing else; B has all of that, and only what is not to be deleted yet besides.
    fn is_on_both(&self) -> Result<(), String> {
        let wanted: Vec<(String, String)> =
            self.tree.files.iter().map(|(name, number)| (name.clone(), hash(&content(*number)))).collect();
        let files = |drive: Drive| {
            let mut all = listing(&self.photos(drive));
            all.retain(|name, _| !name.ends_with('/'));
            all
        };
        let (on_a, on_b) = (files(Drive::A), files(Drive::B));
        if on_a != wanted.iter().cloned().collect() {
            return Err(format!("A: {on_a:#?} instead of {wanted:#?}"));
        }
        if let Some(lacks) = wanted.iter().find(|(name, hash)| on_b.get(name) != Some(hash)) {
            return Err(format!("B: {on_b:#?} without {lacks:?}"));
        }
        let offered: BTreeSet<String> = self.offered.iter().map(|number| hash(&content(*number))).collect();
        // What is deleted, and waits for its day to leave, is re-read by nobody: as it was damaged before, it stays.
        let known = |hash: &String| offered.contains(hash) || self.spoiled.contains(hash);
        if let Some(strange) = on_b.iter().find(|(_, hash)| !known(hash)) {
            return Err(format!("B: {strange:?} is nothing that anybody ever sent"));
        }
        let found = listing(&self.photos(Drive::A));
        if let Some(lacks) = self.tree.folders.iter().find(|name| !found.contains_key(&format!("{name}/"))) {
            return Err(format!("A: no folder {lacks}"));
        }
        for drive in Drive::ALL {
            let left = listing(&self.daemon.dir.join(drive.dir()).join(".shoebox/incoming"));
            if !left.is_empty() {
                return Err(format!("left in incoming of {drive:?}: {left:?}"));
            }
        }
        Ok(())
    }

    /// I1, I3, I15: everything ever acknowledged is somewhere.
    fn nothing_is_lost(&self) -> Result<(), String> {
        let mut held = BTreeSet::new();
        for drive in Drive::ALL {
            held.extend(hashes(&self.daemon.dir.join(drive.dir())));
        }
        match self.kept.iter().find(|number| !held.contains(&hash(&content(**number)))) {
            None => Ok(()),
            Some(lost) => Err(format!("content {lost} was acknowledged and is nowhere, not even in a trash")),
        }
    }

    /// All that is known of names, copies and dates that photos carry.
    fn knows(&self) -> Vec<Value> {
        let names = self.tree.files.keys();
        let receipt = |name: &String| {
            let mut receipt = self.daemon.ask(&["receipt", &format!("anna/{name}"), "--json"]);
            let all = receipt.as_object_mut().unwrap();
            // Of copies, what is on which drive: when they were read is told anew.
            all.retain(|key, _| matches!(key.as_str(), "hash" | "size" | "names"));
            receipt
        };
        names.map(receipt).collect()
    }

    /// I9: the catalogue can be deleted, and the same names come back.
    fn forgets_nothing_with_its_catalogue(&mut self) -> Result<(), String> {
        let before = self.knows();
        if self.daemon.end(Signal::SIGTERM) != Some(0) {
            return Err("SIGTERM did not end it well".to_owned());
        }
        let shoebox = self.daemon.dir.join("a/.shoebox");
        for entry in fs::read_dir(&shoebox).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("catalogue.db") {
                fs::remove_file(path).unwrap();
            }
        }
        self.start();
        self.compared();
        self.rest();
        let after = self.knows();
        if before != after {
            return Err(format!("without its catalogue it knows {after:#?} instead of {before:#?}"));
        }
        let (code, text) = self.daemon.run(&["verify"]);
        if code != 0 {
            return Err(format!("verify without the old catalogue: {text}"));
        }
        Ok(())
    }

    /// P7: `sha256sum` is content with both drives, once their lists were written, which is done every minute.
    fn strangers_can_check(&self) -> Result<(), String> {
        let (began, many) = (Instant::now(), self.tree.files.len());
        let check =
            "cat .shoebox/manifest/*.sha256 >../lists && LC_ALL=C.UTF-8 sha256sum --quiet -c ../lists 2>&1";
        for root in Drive::ALL.map(|drive| self.daemon.dir.join(drive.dir())) {
            loop {
                let done = Command::new("sh").args(["-c", check]).current_dir(&root).output().unwrap();
                let lists = fs::read_to_string(root.join("../lists")).unwrap_or_default();
                if many == 0 || done.status.success() && lists.lines().count() >= many {
                    break;
                }
                if began.elapsed() > Duration::from_secs(150) {
                    let said = String::from_utf8_lossy(&done.stdout).into_owned();
                    return Err(format!("sha256sum on {}: {said}\nlists: {lists}", root.display()));
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Ok(())
    }
}
