//! The simulated medium: what is in the page cache, what is on the platter, and what of the difference a power
//! cut leaves. Stricter than ext4 (where one fsync commits the whole journal): only what was asked for is durable. Of the
//! journal's order only two things are believed: that a file's bytes, once written back, come no later than a name given
//! afterwards, to it or, if it had one, to another file, and that what a directory had comes no later than a line appended afterwards.
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use shoebox::model::place::Place;

use crate::faults::Pending;
use crate::file::File;
use crate::rng::Rng;

/// An inode number.
pub(crate) type Ino = u64;

/// The root directory.
pub(crate) const ROOT: Ino = 2;

const DEEPEST: usize = 80;

/// The filesystem it behaves like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Journal: operations become durable in their order, each as a whole. Hard links, nameless files.
    Ext4,
    /// No journal: each name becomes durable on its own, a rename in two halves. No hard links, 2 s times.
    Exfat,
}

/// What the filesystem itself answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Full,
    Exists,
    NotFound,
    NotEmpty,
    Unsupported,
    /// Anything a caller does not branch on, as the errno's `io::ErrorKind`.
    Other(std::io::ErrorKind),
}

/// Names, cached and on the medium.
#[derive(Debug, Clone, Default)]
struct Dir {
    live: BTreeMap<String, Ino>,
    durable: BTreeMap<String, Ino>,
    mtime: Timestamp,
}

#[derive(Debug, Clone)]
enum Node {
    File(File),
    Dir(Dir),
}

/// One name set or taken away.
#[derive(Debug, Clone)]
struct Change {
    dir: Ino,
    name: String,
    to: Option<Ino>,
}

impl Change {
    fn is_same_name(&self, other: &Self) -> bool {
        self.dir == other.dir && self.name == other.name
    }
}

/// Changes that become durable together.
#[derive(Debug, Clone)]
struct Step {
    changes: Vec<Change>,
    /// A file that had its name already was written back.
    written: Option<Ino>,
    /// The directory that `remove_dir` took away: a journal has all that emptied it before.
    emptied: Option<Ino>,
    /// A directory flush failed: no later one brings it to the medium.
    stuck: bool,
    /// Durable no later than the next line of the manifest.
    ordered: bool,
}

impl Step {
    /// Whether a journal that has this step has `earlier`, too.
    fn implies(&self, earlier: &Self) -> bool {
        let same = |change: &Change| {
            self.emptied == Some(change.dir) || self.changes.iter().any(|own| own.is_same_name(change))
        };
        earlier.written.is_some() || earlier.changes.iter().any(same)
    }
}

/// The filesystem on a simulated medium.
#[derive(Debug)]
pub(crate) struct Medium {
    kind: Kind,
    nodes: BTreeMap<Ino, Node>,
    next: Ino,
    /// Done in the cache, not durable; oldest first.
    steps: Vec<Step>,
    /// Nameless files that somebody holds open.
    held: BTreeSet<Ino>,
    /// Given to new files and changed directories.
    pub(crate) now: Timestamp,
}

impl Medium {
    /// Freshly made.
    pub(crate) fn new(kind: Kind, now: Timestamp) -> Self {
        let root = Node::Dir(Dir { mtime: now, ..Dir::default() });
        let nodes = BTreeMap::from([(ROOT, root)]);
        Self { kind, nodes, next: ROOT + 1, steps: Vec::new(), held: BTreeSet::new(), now }
    }

    fn add(&mut self, node: Node) -> Ino {
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, node);
        ino
    }

    /// A new file without a name, held until [`Medium::release`].
    pub(crate) fn new_file(&mut self) -> Ino {
        let ino = self.add(Node::File(File::new(self.now)));
        self.held.insert(ino);
        ino
    }

    /// The holder of a new file is done with it.
    pub(crate) fn release(&mut self, ino: Ino) {
        self.held.remove(&ino);
        if let Ok(file) = self.file_mut(ino) {
            file.reserved = 0;
        }
    }

    fn dir(&self, ino: Ino) -> Result<&Dir, Problem> {
        match self.nodes.get(&ino) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(Problem::Other(std::io::ErrorKind::NotADirectory)),
            None => Err(Problem::NotFound),
        }
    }

    /// The file with this number.
    pub(crate) fn file(&self, ino: Ino) -> Result<&File, Problem> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(Problem::Other(std::io::ErrorKind::IsADirectory)),
            None => Err(Problem::NotFound),
        }
    }

    /// The same, to change it.
    pub(crate) fn file_mut(&mut self, ino: Ino) -> Result<&mut File, Problem> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(Problem::Other(std::io::ErrorKind::IsADirectory)),
            None => Err(Problem::NotFound),
        }
    }

    /// Whether it is a directory, and since when it is as it is.
    pub(crate) fn dir_mtime(&self, ino: Ino) -> Option<Timestamp> {
        self.dir(ino).ok().map(|dir| dir.mtime)
    }

    /// Names and numbers in a directory, as cached.
    pub(crate) fn names(&self, ino: Ino) -> Result<&BTreeMap<String, Ino>, Problem> {
        Ok(&self.dir(ino)?.live)
    }

    /// What a path leads to.
    pub(crate) fn walk(&self, place: &Place) -> Result<Ino, Problem> {
        let mut at = ROOT;
        for name in place.as_str().split('/').filter(|name| !name.is_empty()) {
            at = *self.dir(at)?.live.get(name).ok_or(Problem::NotFound)?;
        }
        Ok(at)
    }

    /// The directory that `place` lies in and its name there.
    pub(crate) fn slot(&self, place: &Place) -> Result<(Ino, String), Problem> {
        let parent = place.parent().ok_or(Problem::Other(std::io::ErrorKind::ResourceBusy))?;
        let dir = self.walk(&parent)?;
        self.dir(dir)?;
        Ok((dir, place.name().to_owned()))
    }

    /// The same, if the name is free.
    pub(crate) fn free_slot(&self, place: &Place) -> Result<(Ino, String), Problem> {
        let slot = self.slot(place)?;
        if self.dir(slot.0)?.live.contains_key(&slot.1) { Err(Problem::Exists) } else { Ok(slot) }
    }

    /// Bytes in files that have a name or a holder.
    pub(crate) fn used(&self) -> u64 {
        let size = |(ino, node): (&Ino, &Node)| match node {
            Node::File(file) if file.names > 0 || self.held.contains(ino) => {
                u64::try_from(file.live.len()).unwrap_or(u64::MAX).max(file.reserved)
            }
            Node::File(_) | Node::Dir(_) => 0,
        };
        self.nodes.iter().map(size).sum()
    }

    /// Makes a directory.
    pub(crate) fn make_dir(&mut self, place: &Place) -> Result<bool, Problem> {
        let (parent, name) = match self.walk(place) {
            Ok(there) => return self.dir(there).map(|_| false).map_err(|_| Problem::Exists),
            Err(_) => self.free_slot(place)?,
        };
        let new = self.add(Node::Dir(Dir { mtime: self.now, ..Dir::default() }));
        self.change(vec![Change { dir: parent, name, to: Some(new) }], None);
        Ok(true)
    }

    /// Takes an empty directory away.
    pub(crate) fn remove_dir(&mut self, place: &Place) -> Result<(), Problem> {
        let ino = self.walk(place)?;
        if !self.dir(ino)?.live.is_empty() {
            return Err(Problem::NotEmpty);
        }
        let (dir, name) = self.slot(place)?;
        self.change(vec![Change { dir, name, to: None }], Some(ino));
        Ok(())
    }

    /// Sets a name, replacing what has it.
    pub(crate) fn set(&mut self, (dir, name): (Ino, String), ino: Ino) {
        self.change(vec![Change { dir, name, to: Some(ino) }], None);
    }

    /// Takes a name away.
    pub(crate) fn unset(&mut self, (dir, name): (Ino, String)) {
        self.change(vec![Change { dir, name, to: None }], None);
    }

    /// Takes one name away and sets another, replacing what has it.
    pub(crate) fn rename(&mut self, from: (Ino, String), to: (Ino, String)) -> Result<(), Problem> {
        let ino = *self.dir(from.0)?.live.get(&from.1).ok_or(Problem::NotFound)?;
        let set = Change { dir: to.0, name: to.1, to: Some(ino) };
        self.change(vec![set, Change { dir: from.0, name: from.1, to: None }], None);
        Ok(())
    }

    fn change(&mut self, changes: Vec<Change>, emptied: Option<Ino>) {
        for change in &changes {
            self.apply_live(change);
        }
        let step = |changes| Step { changes, written: None, emptied, stuck: false, ordered: false };
        match self.kind {
            Kind::Ext4 => self.steps.push(step(changes)),
            // Without a journal even a replaced name is gone for a moment before it is back.
            Kind::Exfat => {
                for change in changes {
                    if change.to.is_some() {
                        self.steps.push(step(vec![Change { to: None, ..change.clone() }]));
                    }
                    self.steps.push(step(vec![change]));
                }
            }
        }
    }

    /// The bytes of a file that has a name are on the drive, to stay no later than any name that is given from now on.
    pub(crate) fn written_back(&mut self, ino: Ino) {
        let changes = Vec::new();
        self.steps.push(Step { changes, written: Some(ino), emptied: None, stuck: false, ordered: false });
    }

    fn carry_out(&mut self, step: Step) {
        step.changes.into_iter().for_each(|change| self.apply_durable(change));
        if let Some(Node::File(file)) = step.written.and_then(|ino| self.nodes.get_mut(&ino)) {
            file.named();
        }
    }

    fn apply_live(&mut self, change: &Change) {
        let now = self.now;
        let Some(Node::Dir(dir)) = self.nodes.get_mut(&change.dir) else { return };
        dir.mtime = now;
        let before = match change.to {
            Some(ino) => dir.live.insert(change.name.clone(), ino),
            None => dir.live.remove(&change.name),
        };
        if let Some(Node::File(file)) = before.and_then(|ino| self.nodes.get_mut(&ino)) {
            file.names -= 1;
        }
        if let Some(Node::File(file)) = change.to.and_then(|ino| self.nodes.get_mut(&ino)) {
            file.names += 1;
        }
    }

    fn apply_durable(&mut self, change: Change) {
        let Some(Node::Dir(dir)) = self.nodes.get_mut(&change.dir) else { return };
        match change.to {
            Some(ino) => dir.durable.insert(change.name, ino),
            None => dir.durable.remove(&change.name),
        };
        if let Some(Node::File(file)) = change.to.and_then(|ino| self.nodes.get_mut(&ino)) {
            file.named();
        }
    }

    /// What a directory has that is not durable.
    pub(crate) fn pending(&self, dir: Ino) -> Pending {
        let mut found = Pending::Nothing;
        for change in self.steps.iter().flat_map(|step| &step.changes).filter(|change| change.dir == dir) {
            let here = match change.to.and_then(|ino| self.nodes.get(&ino)) {
                Some(Node::File(_)) => Pending::Files,
                Some(Node::Dir(_)) => Pending::Folders,
                None => Pending::Removals,
            };
            found = found.min(here);
        }
        found
    }

    /// Makes the names in `dir` durable (only `name`, if given), and with a journal what these steps imply.
    pub(crate) fn commit(&mut self, dir: Ino, name: Option<&str>) {
        let wanted = |change: &Change| change.dir == dir && name.is_none_or(|name| name == change.name);
        self.commit_steps(|step| step.changes.iter().any(wanted));
    }

    /// What `dir` has now is to be durable no later than the next line of the manifest.
    pub(crate) fn order(&mut self, dir: Ino) {
        let here = |step: &&mut Step| step.changes.iter().any(|change| change.dir == dir);
        self.steps.iter_mut().filter(here).for_each(|step| step.ordered = true);
    }

    /// Makes durable what was ordered, and what it implies.
    pub(crate) fn commit_ordered(&mut self) {
        self.commit_steps(|step| step.ordered);
    }

    fn commit_steps(&mut self, wanted: impl Fn(&Step) -> bool) {
        let mut taken: Vec<bool> = self.steps.iter().map(|step| !step.stuck && wanted(step)).collect();
        for later in (0..self.steps.len()).rev().filter(|&at| taken[at]).collect::<Vec<_>>() {
            self.take_implied(later, &mut taken);
        }
        let steps = std::mem::take(&mut self.steps);
        for (step, taken) in steps.into_iter().zip(taken) {
            if taken {
                self.carry_out(step);
            } else {
                self.steps.push(step);
            }
        }
    }

    fn take_implied(&self, later: usize, taken: &mut [bool]) {
        for earlier in (0..later).rev() {
            if !taken[earlier] && self.steps[later].implies(&self.steps[earlier]) {
                taken[earlier] = true;
                self.take_implied(earlier, taken);
            }
        }
    }

    /// A flush of `dir` failed: its entries are forgotten by the cache and no later flush brings them out.
    pub(crate) fn fail_commit(&mut self, dir: Ino) {
        for step in self.steps.iter_mut().filter(|step| step.changes.iter().any(|change| change.dir == dir)) {
            step.stuck = true;
        }
    }

    /// Whether names were forgotten so.
    pub(crate) fn lost_names(&self) -> bool {
        self.steps.iter().any(|step| step.stuck)
    }

    /// Everything is written back, as by `sync(2)`.
    pub(crate) fn flush_all(&mut self) {
        for step in std::mem::take(&mut self.steps) {
            self.carry_out(step);
        }
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.flush();
            }
        }
    }

    /// Power is gone and back: `rng` says what of the pending had become durable by itself.
    pub(crate) fn cut(&mut self, rng: &mut Rng) {
        let steps = std::mem::take(&mut self.steps);
        for step in survivors(self.kind, steps, rng) {
            self.carry_out(step);
        }
        self.held.clear();
        let mut reachable = BTreeSet::new();
        self.reach(ROOT, &mut reachable);
        self.nodes.retain(|ino, _| reachable.contains(ino));
        for node in self.nodes.values_mut() {
            match node {
                Node::Dir(dir) => dir.live = dir.durable.clone(),
                Node::File(file) => {
                    file.cut(rng);
                    file.names = 0;
                }
            }
        }
        match self.kind {
            Kind::Ext4 => {}
            Kind::Exfat => self.split(ROOT, &mut BTreeSet::new(), 0),
        }
        self.count_names();
    }

    fn reach(&self, dir: Ino, reachable: &mut BTreeSet<Ino>) {
        if !reachable.insert(dir) {
            return;
        }
        let below: Vec<Ino> =
            self.dir(dir).map(|dir| dir.durable.values().copied().collect()).unwrap_or_default();
        for ino in below {
            self.reach(ino, reachable);
        }
    }

    /// Half a rename left two entries for one file: without hard links these are two files with the same bytes.
    /// Two half renames can leave a circle of directories, which is cut off where no path of ours could go.
    fn split(&mut self, dir: Ino, seen: &mut BTreeSet<Ino>, depth: usize) {
        if depth > DEEPEST {
            if let Some(Node::Dir(dir)) = self.nodes.get_mut(&dir) {
                *dir = Dir::default();
            }
            return;
        }
        let names = self.dir(dir).map(|dir| dir.durable.clone()).unwrap_or_default();
        for (name, ino) in names {
            let ino = if seen.insert(ino) {
                ino
            } else {
                let Some(twin) = self.nodes.get(&ino).cloned() else { continue };
                let twin = self.add(twin);
                if let Some(Node::Dir(dir)) = self.nodes.get_mut(&dir) {
                    dir.live.insert(name.clone(), twin);
                    dir.durable.insert(name, twin);
                }
                twin
            };
            self.split(ino, seen, depth + 1);
        }
    }

    fn count_names(&mut self) {
        let dirs = self.nodes.values().filter_map(|node| match node {
            Node::Dir(dir) => Some(dir),
            Node::File(_) => None,
        });
        let named: Vec<Ino> = dirs.flat_map(|dir| dir.live.values().copied()).collect();
        for ino in named {
            if let Ok(file) = self.file_mut(ino) {
                file.names += 1;
            }
        }
    }
}

/// The steps that made it. With a journal: the first so many, each whole. Without: for each name by itself.
fn survivors(kind: Kind, mut steps: Vec<Step>, rng: &mut Rng) -> Vec<Step> {
    match kind {
        Kind::Ext4 => {
            steps.truncate(rng.prefix(steps.len()));
            steps
        }
        Kind::Exfat => {
            let mut by_name: BTreeMap<(Ino, String), Vec<Step>> = BTreeMap::new();
            for step in steps {
                for change in &step.changes {
                    let only = Step { changes: vec![change.clone()], ..step.clone() };
                    by_name.entry((change.dir, change.name.clone())).or_default().push(only);
                }
            }
            let first = |mut steps: Vec<Step>, rng: &mut Rng| {
                steps.truncate(rng.prefix(steps.len()));
                steps
            };
            by_name.into_values().flat_map(|steps| first(steps, rng)).collect()
        }
    }
}
