//! The steps of a history: what clients, other hands, workers, the clock and the drives do, chosen by the seed, with
//! what the model says must come of it.
use jiff::SignedDuration;
use shoebox::model::account::DeviceKind;
use shoebox::model::hash::{ContentHash, DeclaredHash};
use shoebox::model::offer::{Expect, Offer};
use shoebox::model::path::RelPath;
use shoebox::model::place::{Place, Shelf};
use shoebox::plan::shelving;
use shoebox::work::error::Refusal;
use shoebox::work::ingest::{Ack, Ingest, Outcome};
use shoebox::work::sweep::Sweep;
use shoebox::work::tree::Tree;
use shoebox::work::views::VerifyScope;

use crate::faults::{Failure, Fault, Op};
use crate::model::Kept;
use crate::world::{Which, World, device};

/// Steps that must have ended after so many calls do not end at all.
const ENDLESS: usize = 400;

const FOLDERS: [&str; 5] =
    ["anna/phone", "anna/phone/2026", "anna/phone/2026/11", "anna/phone/trip", "anna/mac"];
const NAMES: [&str; 6] = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"];

/// Whether a refusal tells of a passing trouble, so that nobody knows what is; otherwise nothing has happened.
fn is_passing(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Unavailable { .. }
            | Refusal::Full { .. }
            | Refusal::OverQuota { .. }
            | Refusal::Drive(_)
            | Refusal::Catalogue(_)
    )
}

impl World {
    pub(crate) fn some_path(&mut self) -> RelPath {
        let folder = self.rng.pick(&FOLDERS);
        let mut name = self.rng.pick(&NAMES).to_owned();
        if self.rng.one_in(12) {
            name = name.to_uppercase();
        }
        RelPath::parse(&format!("{folder}/{name}")).expect("a path of ours")
    }

    pub(crate) fn some_name(&mut self) -> Option<Kept> {
        let names: Vec<&Kept> = self.model.names.values().collect();
        if names.is_empty() { None } else { Some(names[self.rng.below(names.len())].clone()) }
    }

    /// Bytes of a photo: a few that come again and again, and many that come once.
    pub(crate) fn some_bytes(&mut self) -> Vec<u8> {
        let kind = if self.rng.one_in(2) { self.rng.below(5) as u64 } else { self.rng.next() };
        let mut rng = crate::rng::Rng::new(kind);
        let len = rng.pick(&[1, 700, 4096, 9000]);
        let mut bytes = rng.bytes(len);
        bytes.extend(kind.to_le_bytes().map(|byte| byte | 1));
        bytes
    }

    /// A failure that nothing explains is a failure of the property.
    fn unless_disturbed(&mut self, what: &str, refusal: &Refusal) -> Result<(), String> {
        self.note(format!("  refused: {refusal}"));
        if is_passing(refusal) && !self.disturbed {
            return Err(format!("{what} was refused though nothing was wrong: {refusal}"));
        }
        Ok(())
    }

    fn in_doubt(&mut self, trees: &[&RelPath]) {
        let (goes_on, now) = (self.a.is_alive(), self.now());
        self.model.in_doubt(trees, goes_on, now);
    }

    pub(crate) fn send(&self, offer: Offer, bytes: &[u8]) -> Result<Ack, Refusal> {
        let mut incoming = Ingest::new(std::sync::Arc::clone(&self.pool)).begin(offer)?;
        for piece in bytes.chunks(5000) {
            incoming.write(piece)?;
        }
        incoming.finish()?.settle()
    }

    pub(crate) fn offer(&mut self, path: &RelPath, bytes: &[u8]) -> Offer {
        let size = (!self.rng.one_in(3)).then_some(bytes.len() as u64);
        let declared =
            if self.rng.one_in(3) { vec![DeclaredHash::Blake3(ContentHash::of(bytes))] } else { Vec::new() };
        let shift = SignedDuration::from_secs(self.rng.below(1000) as i64);
        let mtime = (!self.rng.one_in(3)).then(|| self.now().saturating_sub(shift).expect("a time"));
        let by = device(DeviceKind::Phone);
        Offer {
            by,
            path: path.clone(),
            size,
            declared,
            mtime,
            ctime: None,
            expect: Expect::Anything,
            make_parents: true,
        }
    }

    /// A whole upload: new, known, or other bytes under any name.
    pub(crate) fn upload(&mut self) -> Result<(), String> {
        let mut path = self.some_path();
        let stranger = self.model.foreign.values().next().cloned().filter(|_| self.rng.one_in(5));
        let temporary = stranger.is_none() && self.rng.one_in(6);
        if temporary {
            path = RelPath::parse(&format!("{path}.part")).expect("a path of ours");
        }
        let mut bytes = if self.rng.one_in(10) { Vec::new() } else { self.some_bytes() };
        if let Some(stranger) = stranger {
            // Under the name of a file that another hand has just brought; often the same file.
            let there = self.a.files().get(Place::photo(&stranger).as_str()).map(|there| there.to_vec());
            bytes = there.filter(|_| !self.rng.one_in(3)).unwrap_or(bytes);
            path = stranger;
        }
        let offer = self.offer(&path, &bytes);
        self.note(format!("upload {path} {} bytes", bytes.len()));
        let (hash, fold) = (ContentHash::of(&bytes), path.fold_key());
        self.model.given.insert(hash);
        let (mtime, by, now) = (offer.mtime, offer.by.label(), self.now());
        let old = self.model.names.get(&fold).cloned();
        let ack = match self.send(offer, &bytes) {
            Ok(ack) => ack,
            Err(refusal) => {
                if is_passing(&refusal) {
                    self.in_doubt(&[&path]);
                }
                return self.unless_disturbed("an upload", &refusal);
            }
        };
        self.note(format!("  {:?}", ack.outcome()));
        if shelving::shelf(path.name(), bytes.len() as u64) == Shelf::Scratch {
            // From a phone: it takes no photo's name away.
            if ack.node().shelf == Shelf::Photos {
                let kept = self.model.names.contains_key(&fold) || self.model.haunted(&fold);
                return if kept { Ok(()) } else { Err(format!("{path} is a photo that nobody sent")) };
            }
            self.model.emptied(&path, now);
            self.model.scratch.insert(fold, hash);
            return Ok(());
        }
        let expected = match &old {
            None if self.model.scratch.contains_key(&fold) => Outcome::Replaced,
            None if self.model.unsure_of_scratch && ack.outcome() == Outcome::Replaced => Outcome::Replaced,
            None => Outcome::Created,
            Some(kept) if kept.hash == hash => Outcome::Unchanged,
            Some(_) => Outcome::Replaced,
        };
        if ack.outcome() != expected && !self.model.haunted(&fold) && !self.model.foreign.contains_key(&fold)
        {
            return Err(format!("{path} should be {expected:?} and is {:?}", ack.outcome()));
        }
        let path = ack.node().path.clone();
        let kept = match (ack.outcome(), old) {
            (Outcome::Unchanged, Some(old)) if old.hash == hash => {
                // Bytes that healed a lost file are received anew.
                let healed = self.model.is_removed(&fold) || self.model.haunted(&fold);
                let received = if healed { Some(ack.node().created) } else { old.received };
                let by = if healed && ack.node().created == now { by } else { old.by };
                Kept { mtime: Some(ack.node().mtime), by, received, ..old }
            }
            _ => Kept { path, hash, mtime: Some(mtime.unwrap_or(now)), by, received: Some(now) },
        };
        self.model.stored(kept, now);
        Ok(())
    }

    /// An upload whose announced length or hash is wrong: it must be refused and leave nothing.
    pub(crate) fn upload_wrong(&mut self) -> Result<(), String> {
        let (path, bytes) = (self.some_path(), self.some_bytes());
        let mut bytes = bytes;
        // Bytes that nobody gives rightly: whatever has them was put there wrongly.
        bytes.extend_from_slice(b"wrong");
        let mut offer = self.offer(&path, &bytes);
        self.note(format!("upload of wrong bytes to {path}"));
        match self.rng.below(3) {
            0 => offer.size = Some(bytes.len() as u64 + 1),
            1 => offer.size = Some(bytes.len() as u64 - 1),
            _ => offer.declared = vec![DeclaredHash::Blake3(ContentHash::of(b"other"))],
        }
        match self.send(offer, &bytes) {
            Ok(_) => Err(format!("{path}: bytes that do not fit the announcement were acknowledged")),
            Err(refusal) => self.unless_disturbed("a wrong upload", &refusal),
        }
    }

    /// A change by the computer, of which the model follows the success.
    pub(crate) fn change_tree(&mut self) -> Result<(), String> {
        match self.rng.below(9) {
            0 => self.make_folder(),
            1..=2 => self.rename_file(),
            3 => self.rename_folder(),
            4 => self.copy_file(),
            5..=6 => self.trash_file(),
            7 => self.trash_folder(),
            _ => self.touch(),
        }
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::new(std::sync::Arc::clone(&self.pool))
    }

    /// Notes how a change went: `true`, it was acknowledged. `whole`: it is one change and not two, of which the
    /// first may have been made when the second is refused.
    fn went(
        &mut self,
        what: &str,
        result: Result<(), Refusal>,
        trees: &[&RelPath],
        whole: bool,
    ) -> Result<bool, String> {
        match result {
            Ok(()) => Ok(true),
            Err(refusal) => {
                if is_passing(&refusal) || !whole {
                    self.in_doubt(trees);
                }
                self.unless_disturbed(what, &refusal)?;
                Ok(false)
            }
        }
    }

    fn make_folder(&mut self) -> Result<(), String> {
        let path = RelPath::parse(self.rng.pick(&FOLDERS)).expect("a path");
        self.note(format!("make folder {path}"));
        let result = self.tree().make_folder(&device(DeviceKind::Computer), &path);
        // A folder in doubt has nothing in it that is in doubt.
        match result {
            Ok(()) => Ok(()),
            Err(refusal) => self.unless_disturbed("a new folder", &refusal),
        }
    }

    fn rename_file(&mut self) -> Result<(), String> {
        if let Some(fold) = self.model.scratch.keys().next().cloned().filter(|_| self.rng.one_in(2)) {
            return self.rename_temporary(&fold);
        }
        let (Some(kept), to) = (self.some_name(), self.some_path()) else { return Ok(()) };
        let overwrite = self.rng.one_in(2);
        self.note(format!("rename {} to {to}, overwrite {overwrite}", kept.path));
        let by = device(DeviceKind::Computer);
        let result = self.tree().rename(&by, &kept.path, &to, overwrite).map(drop);
        let now = self.now();
        if self.went("a rename", result, &[&kept.path, &to], !overwrite)? && kept.path != to {
            let stayed = self.stayed(&kept, &to);
            if kept.path.fold_key() != to.fold_key() {
                self.model.trashed(&to, now);
            }
            let to = self.spelled(&to);
            self.model.renamed(&kept.path, &to);
            if let Some(stayed) = stayed {
                self.model.names.insert(to.fold_key(), stayed);
            }
        }
        Ok(())
    }

    /// A file renamed over one of equal content: the target may have stayed what it was, but for the time, and the source
    /// have gone.
    fn stayed(&self, from: &Kept, to: &RelPath) -> Option<Kept> {
        let target = self.model.names.get(&to.fold_key()).filter(|target| target.hash == from.hash)?;
        let node = self.tree().find(to).ok().flatten()?;
        let is_target = from.path.fold_key() != to.fold_key() && Some(node.created) == target.received;
        is_target.then(|| Kept { mtime: from.mtime, ..target.clone() })
    }

    /// As the box spells a name.
    fn spelled(&self, path: &RelPath) -> RelPath {
        self.tree().find(path).ok().flatten().map_or_else(|| path.clone(), |node| node.path)
    }

    /// The end of an upload under a temporary name.
    fn rename_temporary(&mut self, fold: &str) -> Result<(), String> {
        let from = RelPath::parse(fold).expect("a path of ours");
        let to = RelPath::parse(fold.trim_end_matches(".part")).expect("a path of ours");
        if from == to {
            return Ok(());
        }
        self.note(format!("rename {from} to {to}"));
        let result = self.tree().rename(&device(DeviceKind::Computer), &from, &to, true).map(drop);
        let now = self.now();
        if self.went("the end of an upload", result, &[&from, &to], false)? {
            let node = self.tree().find(&to).ok().flatten();
            let hash = self.model.scratch.remove(fold);
            let target = self.model.names.get(&to.fold_key()).cloned();
            if let (Some(target), Some(node)) = (target.filter(|t| Some(t.hash) == hash), &node)
                && Some(node.created) == target.received
            {
                // The target had these bytes already: it has only the new one's time.
                self.model.stored(Kept { mtime: Some(node.mtime), ..target }, now);
                return Ok(());
            }
            self.model.trashed(&to, now);
            if let (Some(hash), Some(node)) = (hash, node.as_ref())
                && node.shelf == Shelf::Scratch
            {
                // An empty file stays a placeholder under any name.
                self.model.scratch.insert(to.fold_key(), hash);
            } else if let (Some(hash), Some(node)) = (hash, node) {
                let by = device(DeviceKind::Computer).label();
                let kept = Kept { path: node.path, hash, mtime: Some(node.mtime), by, received: Some(now) };
                self.model.stored(kept, now);
            }
        }
        Ok(())
    }

    fn rename_folder(&mut self) -> Result<(), String> {
        let from = RelPath::parse(self.rng.pick(&FOLDERS[1..])).expect("a path");
        let to = RelPath::parse(self.rng.pick(&["anna/phone/moved", "anna/mac/moved", "anna/phone/trip"]))
            .expect("ours");
        self.note(format!("rename folder {from} to {to}"));
        let result = self.tree().rename(&device(DeviceKind::Computer), &from, &to, false).map(drop);
        if self.went("a rename", result, &[&from, &to], true)? && from != to {
            self.model.renamed(&from, &to);
        }
        Ok(())
    }

    fn copy_file(&mut self) -> Result<(), String> {
        let (Some(kept), to) = (self.some_name(), self.some_path()) else { return Ok(()) };
        self.note(format!("copy {} to {to}", kept.path));
        let by = device(DeviceKind::Computer);
        let result = self.tree().copy(&by, &kept.path, &to, true, true).map(drop);
        let now = self.now();
        if self.model.is_removed(&kept.path.fold_key()) && result.is_err() {
            self.in_doubt(&[&to]);
            return Ok(());
        }
        if self.went("a copy", result, &[&to], false)? && kept.path.fold_key() != to.fold_key() {
            self.model.trashed(&to, now);
            let path = self.spelled(&to);
            let copy = Kept { path, by: by.label(), received: Some(now), ..kept };
            self.model.stored(copy, now);
        }
        Ok(())
    }

    fn trash_file(&mut self) -> Result<(), String> {
        let Some(kept) = self.some_name() else { return Ok(()) };
        self.trash(&kept.path)
    }

    fn trash_folder(&mut self) -> Result<(), String> {
        let path = RelPath::parse(self.rng.pick(&FOLDERS[1..])).expect("a path");
        self.trash(&path)
    }

    fn trash(&mut self, path: &RelPath) -> Result<(), String> {
        self.note(format!("trash {path}"));
        let result = self.tree().trash(&device(DeviceKind::Computer), path);
        let now = self.now();
        if self.went("a deletion", result, &[path], true)? {
            self.model.trashed(path, now);
        }
        Ok(())
    }

    fn touch(&mut self) -> Result<(), String> {
        let Some(kept) = self.some_name() else { return Ok(()) };
        let mtime = self.now().saturating_sub(SignedDuration::from_hours(9)).expect("a time");
        self.note(format!("touch {}", kept.path));
        let result = self.tree().set_mtime(&device(DeviceKind::Computer), &kept.path, mtime);
        if self.went("a touch", result, &[&kept.path], true)?
            && let Some(own) = self.model.names.get_mut(&kept.path.fold_key())
        {
            own.mtime = Some(mtime);
        }
        Ok(())
    }

    /// Runs the mirror for a while, looking at what it does to B.
    pub(crate) fn mirror_some(&mut self) -> Result<(), String> {
        let pieces = self.rng.below(4);
        let patience = if self.rng.one_in(6) { self.rng.below(6) } else { usize::MAX };
        self.note(format!("mirror {pieces} steps, patience {patience}"));
        for _ in 0..=pieces {
            if !self.mirror_step(patience)? {
                break;
            }
        }
        Ok(())
    }

    /// One step of the mirror. `true`: there is more.
    pub(crate) fn mirror_step(&mut self, patience: usize) -> Result<bool, String> {
        let before = self.before_mirror()?;
        let left = std::cell::Cell::new(patience);
        let go_on = || {
            left.set(left.get().saturating_sub(1));
            left.get() > 0
        };
        let result = self.mirror.step(&go_on);
        let more = match result {
            Ok(more) => {
                self.model.b_unread &= !self.is_attached(Which::B);
                more
            }
            Err(refusal) => {
                self.unless_disturbed("the mirror", &refusal)?;
                self.model.b_in_flight = true;
                false
            }
        };
        self.after_mirror(&before)?;
        Ok(more)
    }

    /// Walks the tree, or a part of it.
    pub(crate) fn rescan_some(&mut self) -> Result<(), String> {
        self.note("rescan".to_owned());
        if !self.rescan.is_walking() {
            self.rescan.start();
        }
        let most = if self.rng.one_in(4) { self.rng.below(4) } else { ENDLESS };
        self.rescan_steps(most).map(drop)
    }

    /// So many steps of the rescan; `true`: it is done.
    fn rescan_steps(&mut self, most: usize) -> Result<bool, String> {
        for _ in 0..most {
            let result = self.rescan.step(&|| true);
            self.take_over()?;
            match result {
                Ok(true) => {}
                Ok(false) => return Ok(true),
                Err(refusal) => {
                    self.unless_disturbed("the rescan", &refusal)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Walks the whole tree once.
    pub(crate) fn rescan_all(&mut self) -> Result<(), String> {
        self.rescan.start();
        if self.rescan_steps(ENDLESS)? { Ok(()) } else { Err("the rescan does not end".to_owned()) }
    }

    /// Reads all copies back.
    pub(crate) fn verify(&mut self) -> Result<(), String> {
        self.note("verify".to_owned());
        self.model.shaken |= self.disturbed;
        let report = match self.pool.verify_now(&VerifyScope::default(), &mut |_| ()) {
            Ok(report) => report,
            Err(refusal) => return self.unless_disturbed("verifying", &refusal),
        };
        if !self.disturbed {
            let lost = |path: &&RelPath| {
                !self.model.is_removed(&path.fold_key()) && !self.model.haunted(&path.fold_key())
            };
            if let Some(path) = report.damaged.iter().chain(&report.missing).find(lost) {
                return Err(format!("verifying found {path} damaged or missing"));
            }
        }
        Ok(())
    }

    /// Sweeps scratch.
    pub(crate) fn sweep(&mut self) -> Result<(), String> {
        self.note("sweep".to_owned());
        let sweep = Sweep::new(std::sync::Arc::clone(&self.pool));
        for _ in 0..ENDLESS {
            match sweep.step() {
                Ok(true) => {}
                Ok(false) => {
                    self.forget_swept();
                    return Ok(());
                }
                Err(refusal) => return self.unless_disturbed("the sweep", &refusal),
            }
        }
        Err("the sweep does not end".to_owned())
    }

    fn forget_swept(&mut self) {
        let tree = self.tree();
        let there = |fold: &str| {
            let path = RelPath::parse(fold).expect("a path of ours");
            tree.find(&path).is_ok_and(|node| node.is_some_and(|node| node.shelf == Shelf::Scratch))
        };
        self.model.scratch.retain(|fold, _| there(fold));
    }

    /// Time goes by, or jumps.
    pub(crate) fn time(&mut self) {
        let seconds =
            self.rng.pick(&[1, 11, 60, 1800, 3600, 40_000, 86_400, 3 * 86_400, 12 * 86_400, -7200, -200_000]);
        self.note(format!("the clock goes {seconds} s"));
        self.turn(seconds);
    }

    /// Something will go wrong at some call on one of the drives.
    pub(crate) fn lay_fault(&mut self) {
        let which = self.rng.pick(&[Which::A, Which::A, Which::B]);
        let failure =
            self.rng.pick(&[Failure::Full, Failure::Io, Failure::Io, Failure::Gone, Failure::ReadOnly]);
        let mut fault = if self.rng.one_in(3) { Fault::lasting(failure) } else { Fault::once(failure) };
        if self.rng.one_in(3) {
            fault = fault.after_the_deed();
        }
        let nth = 1 + self.rng.below(60) as u64;
        self.disturbed = true;
        if self.rng.one_in(3) {
            // Where it hurts most, and often twice in a row: the second flush of what the first one lost says all is well.
            let ops = [Op::SyncFile, Op::SyncFile, Op::Append, Op::SyncDir, Op::SyncStaged];
            let (op, nth) = (self.rng.pick(&ops), 1 + nth % 4);
            self.note(format!("{which:?} will fail at {op:?} {nth} with {fault:?}"));
            self.volume(which).fail_nth(op, nth, fault);
            return;
        }
        self.note(format!("{which:?} will fail at call {nth} with {fault:?}"));
        self.volume(which).fail_any(nth, fault);
    }

    /// Power will go at some call; until then everything works.
    pub(crate) fn lay_cut(&mut self) {
        let which = self.rng.pick(&[Which::A, Which::A, Which::B]);
        let mut fault = Fault::lasting(Failure::Gone);
        if self.rng.one_in(2) {
            fault = fault.after_the_deed();
        }
        let nth = 1 + self.rng.below(40) as u64;
        self.note(format!("{which:?} will lose power at call {nth}"));
        self.disturbed = true;
        self.volume(which).fail_any(nth, fault);
    }

    /// `single` files are deleted, and in the next hour but one a folder of `many`; B was there before and is after.
    pub(crate) fn delete_in_two_hours(&mut self, single: usize, many: usize) -> Result<(), String> {
        for number in 0..single + many {
            let folder = if number < single { "single" } else { "many" };
            let path = RelPath::parse(&format!("anna/phone/{folder}/{number}.jpg")).expect("a path");
            let bytes = number.to_le_bytes().map(|byte| byte | 64);
            let offer = self.offer(&path, &bytes);
            let (by, now) = (offer.by.label(), self.now());
            let ack = self.send(offer, &bytes).map_err(|e| e.to_string())?;
            let hash = ContentHash::of(&bytes);
            self.model.given.insert(hash);
            let kept = Kept { path, hash, mtime: Some(ack.node().mtime), by, received: Some(now) };
            self.model.stored(kept, now);
        }
        self.settle()?;
        for (folder, files) in [("single", single), ("many", many)] {
            if files > 0 {
                self.trash(&RelPath::parse(&format!("anna/phone/{folder}")).expect("a path"))?;
                self.turn(7200);
            }
        }
        Ok(())
    }
}
