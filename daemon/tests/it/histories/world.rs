//! A box that a history happens to: each step is done to the real binary and its drives, and to what is known of them.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::steps::{Drive, Step, Tree, content};
use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, listing};
use crate::support::wire::{self, Reply};

pub(super) struct World {
    pub(super) daemon: Daemon,
    pub(super) who: Account,
    pub(super) tree: Tree,
    /// Contents that were acknowledged, or taken in, and that no hand but ours has had since.
    pub(super) kept: BTreeSet<u64>,
    /// Everything that was ever offered in any way.
    pub(super) offered: BTreeSet<u64>,
    /// Of which drive a copy was damaged: of no content on both, or there would be nothing to heal from.
    pub(super) flipped: BTreeMap<u64, Drive>,
    /// All that were ever damaged, as they are then.
    pub(super) spoiled: BTreeSet<String>,
    /// What a healthy box says of itself.
    pub(super) usual: BTreeSet<String>,
    pub(super) granted: u64,
    /// Waits for what is written once a minute, too.
    pub(super) patient: bool,
    away: BTreeSet<Drive>,
    /// Edits so far, each with a date of its own.
    minutes: u64,
}

impl World {
    pub(super) fn new(dir: &Path, quick: bool) -> Self {
        for drive in Drive::ALL {
            fs::create_dir(dir.join(drive.dir())).unwrap();
        }
        let mut daemon = Daemon::new(dir, 20, &[]);
        if quick {
            daemon.more = "[mirror]\ndelete_delay_hours = 0\n".to_owned();
        }
        daemon.begin();
        let who = daemon.add_person("anna", "laptop", "computer");
        let mut world = Self {
            daemon,
            who,
            tree: Tree::default(),
            kept: BTreeSet::new(),
            offered: BTreeSet::new(),
            flipped: BTreeMap::new(),
            spoiled: BTreeSet::new(),
            usual: BTreeSet::new(),
            granted: 0,
            patient: false,
            away: BTreeSet::new(),
            minutes: 0,
        };
        world.daemon.until("both are ready", |d| Drive::ALL.iter().all(|one| standing(d, *one) == "ready"));
        world.usual = findings(&world.daemon);
        world
    }

    pub(super) fn photos(&self, drive: Drive) -> PathBuf {
        self.daemon.dir.join(drive.dir()).join("photos/anna")
    }

    pub(super) fn has(&self, drive: Drive) -> bool {
        !self.away.contains(&drive)
    }

    pub(super) fn act(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Put(..) | Step::Folder(_) | Step::Delete(_) | Step::Move(..) | Step::Copy(..) => {
                self.asked(step)?;
            }
            Step::Drop(name, number) => self.drop_file(name, *number),
            Step::Rewrite(name, number) => self.write_over(name, *number, false),
            Step::Overwrite(name, number) => self.write_over(name, *number, true),
            Step::Flip(drive, name) => self.flip(*drive, name),
            Step::Away(drive) => self.take_out(*drive, false),
            Step::Ejected(drive) => self.take_out(*drive, true),
            Step::Back(drive) => self.bring_back(*drive),
            Step::Kill => {
                self.daemon.kill();
                self.start();
            }
            Step::Cut(request, micros) => self.cut(request, Duration::from_micros(*micros))?,
            Step::Terminate => {
                let code = self.daemon.end(Signal::SIGTERM);
                if code != Some(0) {
                    return Err(format!("SIGTERM ended it with {code:?}"));
                }
                self.start();
            }
            Step::Verify => drop(self.daemon.run(&["verify"])),
            Step::Rescan => drop(self.daemon.run(&["rescan"])),
            Step::Rest => self.rest(),
        }
        self.looks_right()
    }

    /// Starts it with the drives that are there.
    pub(super) fn start(&mut self) {
        self.daemon.spawn();
        self.daemon.until_it_answers();
        let there: Vec<Drive> = Drive::ALL.into_iter().filter(|drive| self.has(*drive)).collect();
        self.daemon.until("the drives are ready", |d| there.iter().all(|one| standing(d, *one) == "ready"));
    }

    /// A step that is a request, sent.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are no requests")]
    fn send(&self, step: &Step) -> std::io::Result<Reply> {
        let at = |path: &str| format!("/dav/{path}");
        let to = |path: &str| format!("Destination: {}\r\n", at(path));
        let (method, target, more, body) = match step {
            // Dated as photos are: long ago.
            Step::Put(name, number) => {
                ("PUT", at(name), "X-OC-Mtime: 1700000000\r\n".into(), content(*number))
            }
            Step::Folder(name) => ("MKCOL", at(name), String::new(), Vec::new()),
            Step::Delete(name) => ("DELETE", at(name), String::new(), Vec::new()),
            Step::Move(from, name) => ("MOVE", at(from), to(name), Vec::new()),
            Step::Copy(from, name) => ("COPY", at(from), to(name), Vec::new()),
            other => panic!("{other:?} is no request"),
        };
        wire::request(self.daemon.address, &self.who.basic(), method, &target, &more, &body)
    }

    fn offer(&mut self, step: &Step) {
        if let Step::Put(_, number) = step {
            self.offered.insert(*number);
        }
    }

    /// A request, and whether its answer is what the tree makes it.
    fn asked(&mut self, step: &Step) -> Result<(), String> {
        if !self.tree.is_sensible(step) {
            return Ok(());
        }
        self.offer(step);
        let reply = self.send(step).map_err(|e| format!("no answer: {e}"))?;
        match self.tree.after(step) {
            _ if !self.has(Drive::A) => {
                if reply.status != 503 {
                    return Err(format!("without drive A: {}", reply.text));
                }
            }
            Some(next) if reply.is_success() => self.become_of(next),
            None if (400..500).contains(&reply.status) => {}
            expected => return Err(format!("{}, and granted: {}", reply.text, expected.is_some())),
        }
        Ok(())
    }

    fn become_of(&mut self, next: Tree) {
        self.granted += 1;
        self.kept.extend(next.files.values());
        self.tree = next;
    }

    fn cut(&mut self, step: &Step, after: Duration) -> Result<(), String> {
        if !self.has(Drive::A) || !self.tree.is_sensible(step) {
            return Ok(());
        }
        self.offer(step);
        let reply = {
            let (world, done) = (&*self, std::sync::mpsc::channel());
            std::thread::scope(|scope| {
                scope.spawn(move || done.0.send(world.send(step)).unwrap());
                std::thread::sleep(after);
                nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(i32::try_from(world.daemon.pid()).unwrap()),
                    Signal::SIGKILL,
                )
                .unwrap();
                done.1.recv().unwrap()
            })
        };
        self.daemon.kill();
        let answered = reply.ok().filter(Reply::is_success).is_some();
        self.start();
        // What was named and not recorded is found by a comparison.
        self.compared();
        let mut found = self.found(Drive::A);
        // A folder that was made and not recorded, and in which nothing is, is nobody's.
        found.retain(|name, _| !name.ends_with('/') || self.is_shown(name));
        let states =
            if answered { self.tree.after(step).into_iter().collect() } else { self.tree.after_a_cut(step) };
        let state = states.into_iter().find(|state| self.shown(state) == found);
        let Some(state) = state else {
            return Err(format!("answered: {answered}; found {found:#?}, before {:#?}", self.tree));
        };
        self.become_of(state);
        Ok(())
    }

    fn is_shown(&self, name: &str) -> bool {
        let reply = self.daemon.request(&self.who, "PROPFIND", &format!("/dav/{name}"), "Depth: 0\r\n", b"");
        reply.status == 207
    }

    /// The tree as it is to be found on a drive; damaged copies are as they are.
    fn shown(&self, tree: &Tree) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> =
            tree.files.iter().map(|(name, number)| (name.clone(), self.hash_of(*number))).collect();
        all.extend(tree.folders.iter().map(|name| (format!("{name}/"), String::new())));
        all
    }

    /// Of a content, damaged or not: what is damaged is compared when it is healed.
    fn hash_of(&self, number: u64) -> String {
        if self.flipped.contains_key(&number) { "damaged once".to_owned() } else { hash(&content(number)) }
    }

    fn found(&self, drive: Drive) -> BTreeMap<String, String> {
        let damaged: BTreeSet<String> = self
            .flipped
            .keys()
            .flat_map(|number| [hash(&content(*number)), hash(&flipped(&content(*number)))])
            .collect();
        let mut all = listing(&self.photos(drive));
        for found in all.values_mut().filter(|found| damaged.contains(*found)) {
            *found = "damaged once".to_owned();
        }
        all
    }

    fn drop_file(&mut self, name: &str, number: u64) {
        let taken = self.tree.files.contains_key(name) || !self.tree.has_parent(name);
        if !self.has(Drive::A) || taken {
            return;
        }
        fs::create_dir_all(self.photos(Drive::A)).unwrap();
        fs::write(self.photos(Drive::A).join(name), content(number)).unwrap();
        self.taken_in(&[name.to_owned()], number);
    }

    /// By hand, over a file. What only that file held is gone by that hand.
    fn write_over(&mut self, name: &str, number: u64, in_place: bool) {
        let Some(old) = self.tree.files.get(name).copied().filter(|_| self.has(Drive::A)) else { return };
        if old == number {
            return;
        }
        if self.flipped.contains_key(&old) || !self.daemon.is_mirrored(&format!("anna/{name}")) {
            self.kept.remove(&old);
        }
        let file = self.photos(Drive::A).join(name);
        let inode = fs::metadata(&file).unwrap().ino();
        let same = |one: &&String| {
            *one == name
                || in_place
                    && fs::metadata(self.photos(Drive::A).join(one)).is_ok_and(|meta| meta.ino() == inode)
        };
        let names: Vec<String> = self.tree.files.keys().filter(same).cloned().collect();
        let written = if in_place { file.clone() } else { file.with_extension("part") };
        fs::write(&written, content(number)).unwrap();
        // An edit within two seconds of what it changes cannot be told from damage.
        self.minutes += 1;
        let dated = UNIX_EPOCH + Duration::from_secs(1_710_000_000 + 60 * self.minutes);
        File::options().write(true).open(&written).unwrap().set_modified(dated).unwrap();
        if !in_place {
            fs::rename(&written, &file).unwrap();
        }
        self.taken_in(&names, number);
    }

    /// Waits until the box knows what other hands wrote.
    fn taken_in(&mut self, names: &[String], number: u64) {
        self.offered.insert(number);
        let wanted = hash(&content(number));
        for name in names {
            self.daemon.until(&format!("{name} is taken in as content {number}"), |d| {
                // Of a file with several names, the others are seen by a walk.
                if names.len() > 1 {
                    drop(d.run(&["rescan"]));
                }
                let (_, text) = d.run(&["receipt", &format!("anna/{name}"), "--json"]);
                serde_json::from_str::<Value>(&text).is_ok_and(|receipt| receipt["hash"] == *wanted)
            });
            self.tree.files.insert(name.clone(), number);
        }
        self.kept.insert(number);
    }

    /// Only what has another good copy, or nothing could heal it.
    fn flip(&mut self, drive: Drive, name: &str) {
        let Some(number) = self.tree.files.get(name).copied() else { return };
        let both = Drive::ALL.into_iter().all(|one| self.has(one));
        if !both || self.flipped.get(&number).is_some_and(|at| *at != drive) {
            return;
        }
        if !self.daemon.is_mirrored(&format!("anna/{name}")) {
            return;
        }
        let path = self.photos(drive).join(name);
        // B follows a rename when it comes to it.
        let Ok(bytes) = fs::read(&path) else { return };
        if bytes != content(number) {
            return;
        }
        self.flipped.insert(number, drive);
        self.spoiled.insert(hash(&flipped(&bytes)));
        let file = File::options().write(true).open(&path).unwrap();
        let dated = file.metadata().unwrap().modified().unwrap();
        let at = bytes.len() / 2;
        file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
        file.set_modified(dated).unwrap();
        file.sync_all().unwrap();
    }

    fn take_out(&mut self, drive: Drive, ejected: bool) {
        if !self.has(drive) {
            return;
        }
        if ejected {
            let done = self.daemon.run(&["drive", "eject", drive.role()]);
            assert_eq!(done.0, 0, "{done:?}");
        }
        let at = self.daemon.dir.join(drive.dir());
        fs::rename(&at, at.with_extension("away")).unwrap();
        fs::create_dir(&at).unwrap();
        self.away.insert(drive);
        self.daemon.until("it is seen to be away", |d| standing(d, drive) == "away");
    }

    fn bring_back(&mut self, drive: Drive) {
        if self.has(drive) {
            return;
        }
        let at = self.daemon.dir.join(drive.dir());
        // Nothing was written where it had been.
        fs::remove_dir(&at).unwrap();
        fs::rename(at.with_extension("away"), &at).unwrap();
        self.away.remove(&drive);
        self.daemon.until("it is used again", |d| standing(d, drive) == "ready");
    }

    pub(super) fn all_back(&mut self) {
        for drive in Drive::ALL {
            self.bring_back(drive);
        }
    }

    /// The tree and the catalogue are compared, and nothing waits.
    pub(super) fn compared(&mut self) {
        self.daemon.until("the rescan has nothing to wait for", |d| {
            let (_, text) = d.run(&["rescan", "--json"]);
            serde_json::from_str::<Value>(&text).is_ok_and(|report| report["waiting"] == 0)
        });
    }

    pub(super) fn rest(&mut self) {
        if !Drive::ALL.into_iter().all(|one| self.has(one)) {
            return;
        }
        self.daemon.until("the mirror has nothing to do", |d| {
            let status = d.ask(&["status", "--json"]);
            status["drives"].as_array().is_some_and(|all| all.iter().all(|drive| drive["wanted"] == 0))
        });
    }

    /// Every name is what it is to be, by request.
    fn looks_right(&self) -> Result<(), String> {
        if !self.has(Drive::A) {
            return Ok(());
        }
        for (name, number) in &self.tree.files {
            let reply = self.daemon.request(&self.who, "GET", &format!("/dav/{name}"), "", b"");
            let whole = content(*number);
            let damaged = self.flipped.contains_key(number) && reply.body == flipped(&whole);
            // Found damaged on A: what is not as it was received is not sent, and B may be away, or have it damaged, too.
            let refused = self.flipped.contains_key(number) && matches!(reply.status, 500 | 503);
            if !refused && (reply.status != 200 || (reply.body != whole && !damaged)) {
                return Err(format!("GET {name}: {} and not content {number}", reply.status));
            }
        }
        Ok(())
    }
}

/// As `World::flip` leaves it.
pub(super) fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    bytes
}

pub(super) fn standing(daemon: &Daemon, drive: Drive) -> String {
    let (_, text) = daemon.run(&["drive", "list", "--json"]);
    let drives: Value = serde_json::from_str(&text).unwrap_or_default();
    let found = drives.as_array().and_then(|all| all.iter().find(|one| one["role"] == drive.role()));
    let word = found.and_then(|one| one["standing"]["standing"].as_str());
    word.filter(|word| *word != "absent").unwrap_or("away").to_owned()
}

pub(super) fn findings(daemon: &Daemon) -> BTreeSet<String> {
    let status = daemon.ask(&["status", "--json"]);
    let all = status["findings"].as_array().cloned().unwrap_or_default();
    all.iter().filter_map(|one| Some(one["code"].as_str()?.to_owned())).collect()
}
