//! The rescan: compares the primary's tree with the catalogue, folder by folder, takes over what other hands put there,
//! and notes what is gone. Changes nothing it finds, but for the spelling of a name a FAT drive could not hold.
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use crate::model::copy::{CopyEvent, CopyState};
use crate::model::hash::{Also, Digests};
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::plan::shelving;
use crate::store::catalogue::copies;
use crate::store::catalogue::names::NameRow;
use crate::store::volume::{EntryKind, Stat, VolumeError};
use crate::work::changes::Change;
use crate::work::error::Refusal;
use crate::work::mirror::GoOn;
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::reading;
use crate::work::views::RescanReport;

/// How many files are taken over in one commit.
const TOGETHER: usize = 64;

/// A file of other hands that is quiet and hashed.
struct Found {
    path: RelPath,
    digests: Digests,
    mtime: Timestamp,
}

/// One walk over the tree.
pub struct Rescan {
    pool: Arc<Pool>,
    /// Folders still to compare, deepest last.
    todo: Vec<Place>,
    /// Files of other hands seen and not quiet yet: size, time, since when unchanged.
    waiting: HashMap<Place, (Stat, Timestamp)>,
    /// Files to be taken over together.
    adopting: Vec<Found>,
    report: RescanReport,
    /// Whether this walk is over the whole tree.
    everything: bool,
}

impl Rescan {
    /// A walk that has not begun.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            todo: Vec::new(),
            waiting: HashMap::new(),
            adopting: Vec::new(),
            report: RescanReport::default(),
            everything: false,
        }
    }

    /// Begins a walk over everything; one under way starts over.
    pub fn start(&mut self) {
        self.todo = vec![Place::photos()];
        self.report = RescanReport::default();
        self.everything = true;
    }

    /// Compares these folders soon, without a walk over everything.
    pub(super) fn look_into(&mut self, folders: impl IntoIterator<Item = Place>) {
        for folder in folders {
            if !self.todo.contains(&folder) {
                self.todo.push(folder);
            }
        }
    }

    /// The folders of files that wait to be quiet.
    pub(super) fn waiting_in(&self) -> Vec<Place> {
        let mut folders: Vec<Place> = self.waiting.keys().filter_map(Place::parent).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// Whether a walk is under way.
    pub fn is_walking(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Whether files wait to be quiet: look again soon.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What the walk found so far.
    pub fn report(&self) -> RescanReport {
        self.report
    }

    /// Compares one folder. `true`: there is more.
    pub fn step(&mut self, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        let Some(dir) = self.todo.pop() else { return Ok(false) };
        let primary = self.pool.primary()?;
        match self.compare(&primary, &dir, go_on) {
            Ok(()) => {}
            // Removed or renamed since it was listed: the next walk sees what is then.
            Err(Refusal::Drive(VolumeError::NotFound { .. })) if dir != Place::photos() => {}
            Err(e) => {
                self.todo.push(dir);
                return Err(e);
            }
        }
        if self.todo.is_empty() && std::mem::take(&mut self.everything) {
            let done = Some((self.pool.now(), self.report));
            *self.pool.last_rescan.lock().unwrap_or_else(PoisonError::into_inner) = done;
        }
        Ok(!self.todo.is_empty() && go_on())
    }

    fn compare(&mut self, primary: &Primary, dir: &Place, go_on: GoOn<'_>) -> Result<(), Refusal> {
        let heed = |e| Refusal::Drive(primary.attached.heed(e));
        let lane = primary.attached.turns.background();
        let entries = match primary.attached.volume.list(dir) {
            // The folder is gone: so is what the catalogue has below it. A drive without its top folder is no such case.
            Err(VolumeError::NotFound { .. }) if *dir != Place::photos() => Vec::new(),
            other => other.map_err(heed)?,
        };
        drop(lane);
        self.report.folders += 1;
        let mut on_disk: HashSet<String> = HashSet::with_capacity(entries.len());
        for entry in entries {
            let Some(place) = entry.name.as_deref().and_then(|n| dir.entry(n)) else {
                self.report.unholdable += 1;
                continue;
            };
            let Some(path) = photo_path(&place) else {
                self.report.unholdable += 1;
                continue;
            };
            on_disk.insert(path.fold_key());
            match entry.kind {
                EntryKind::Dir => self.todo.push(place),
                EntryKind::File => self.meet(primary, &place, &path, go_on)?,
                EntryKind::Other => self.report.unholdable += 1,
            }
            if !go_on() {
                self.todo.push(dir.clone());
                return self.adopt(primary);
            }
        }
        self.adopt(primary)?;
        self.miss(primary, dir, &on_disk)
    }

    /// A file on the drive.
    fn meet(
        &mut self,
        primary: &Primary,
        place: &Place,
        path: &RelPath,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let row = primary.catalogue.read(|r| r.name(&path.fold_key()))?;
        match row {
            Some(row) if row.shelf == Shelf::Photos => {
                self.report.files += 1;
                self.found_again(primary, place, &row, go_on)
            }
            Some(_) | None => self.consider(primary, place, path, go_on),
        }
    }

    /// A file that was missing is back: it counts again when its bytes are right.
    fn found_again(
        &self,
        primary: &Primary,
        place: &Place,
        row: &NameRow,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let id = primary.attached.id();
        let copies = primary.catalogue.read(|r| r.copies_of_name(row.id))?;
        if !copies.iter().any(|c| c.drive == id && c.state == CopyState::Missing) {
            return Ok(());
        }
        let Some(digests) = self.hash_quiet(primary, place, go_on)? else { return Ok(()) };
        if Some(digests.content) == row.hash {
            let heed = |e| Refusal::Drive(primary.attached.heed(e));
            primary.attached.volume.sync_file(place).map_err(heed)?;
            primary.attached.volume.sync_dir(&place.parent().unwrap_or_else(Place::root)).map_err(heed)?;
            let now = self.pool.now();
            primary.catalogue.write(|tx| copies::observe(tx, row.id, id, CopyEvent::SettledOnDrive, now))?;
        }
        Ok(())
    }

    /// A file the catalogue does not know: taken over once it has been quiet.
    fn consider(
        &mut self,
        primary: &Primary,
        place: &Place,
        path: &RelPath,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let heed = |e| Refusal::Drive(primary.attached.heed(e));
        let stat = match primary.attached.volume.stat(place) {
            Ok(stat) => stat,
            Err(VolumeError::NotFound { .. }) => return Ok(()),
            Err(e) => return Err(heed(e)),
        };
        if shelving::shelf(path.name(), stat.size) == Shelf::Scratch {
            return Ok(());
        }
        if !self.is_quiet(place, stat) {
            self.report.waiting += 1;
            return Ok(());
        }
        let place = self.respell(primary, place, path)?;
        let Some(digests) = self.hash_quiet(primary, &place, go_on)? else {
            self.report.waiting += 1;
            return Ok(());
        };
        self.adopting.push(Found { path: path.clone(), digests, mtime: stat.mtime });
        if self.adopting.len() >= TOGETHER { self.adopt(primary) } else { Ok(()) }
    }

    /// Takes over what was found, in one commit: a card of a thousand photos shares its flushes.
    fn adopt(&mut self, primary: &Primary) -> Result<(), Refusal> {
        let now = self.pool.now();
        let found = std::mem::take(&mut self.adopting);
        let change = |f: &Found| Change::Adopt { path: f.path.clone(), digests: f.digests, mtime: f.mtime };
        let results = primary.submit_all(found.iter().map(change).collect(), now)?;
        for (found, result) in found.into_iter().zip(results) {
            match result {
                Ok(_) => {
                    self.report.adopted += 1;
                    let what = NewsKind::Received { size: found.digests.size };
                    self.pool.news().tell(&PhotoNews { path: found.path, what, at: now });
                }
                // An upload took the name meanwhile, or a folder of the catalogue has it.
                Err(Refusal::Exists | Refusal::NotAFolder) => {}
                Err(e) => return Err(e),
            }
        }
        self.pool.wake_mirror();
        Ok(())
    }

    /// Unchanged since it was first seen so, long enough ago. The file's own time is not asked: copying programs set it back.
    fn is_quiet(&mut self, place: &Place, stat: Stat) -> bool {
        let now = self.pool.now();
        match self.waiting.get(place) {
            // Seen in the future: the clock was set back meanwhile, and the waiting starts anew.
            Some((before, since)) if *before == stat && *since <= now => {
                let quiet = now.duration_since(*since) >= self.pool.options.quiet;
                if quiet {
                    self.waiting.remove(place);
                }
                quiet
            }
            Some(_) | None => {
                const MOST: usize = 100_000;
                if self.waiting.len() < MOST {
                    self.waiting.insert(place.clone(), (stat, now));
                }
                self.pool.options.quiet.is_zero()
            }
        }
    }

    /// A name in another normalisation, or with characters that FAT forbids, gets the spelling every drive can hold.
    fn respell(&self, primary: &Primary, place: &Place, path: &RelPath) -> Result<Place, Refusal> {
        let heed = |e| Refusal::Drive(primary.attached.heed(e));
        let right = Place::photo(path);
        if right == *place || right.parent() != place.parent() {
            return Ok(place.clone());
        }
        match primary.attached.volume.rename_new(place, &right) {
            Ok(()) => Ok(right),
            Err(VolumeError::Exists { .. } | VolumeError::NotFound { .. }) => Ok(place.clone()),
            Err(e) => Err(heed(e)),
        }
    }

    /// The digests of a file, if nobody changed it while it was read.
    fn hash_quiet(
        &self,
        primary: &Primary,
        place: &Place,
        go_on: GoOn<'_>,
    ) -> Result<Option<Digests>, Refusal> {
        let heed = |e| Refusal::Drive(primary.attached.heed(e));
        let volume = &primary.attached.volume;
        let before = volume.stat(place).map_err(heed)?;
        let digests = reading::hash_medium(&**volume, place, Also::default(), &mut || {
            drop(primary.attached.turns.background());
            go_on();
            Ok(())
        })
        .map_err(heed)?;
        let after = volume.stat(place).map_err(heed)?;
        Ok((before == after && digests.size == after.size).then_some(digests))
    }

    /// Names of this folder whose file is not on the drive any more. Only noted: nothing is forgotten and nothing
    /// reaches another drive for it (promise P5).
    fn miss(&mut self, primary: &Primary, dir: &Place, on_disk: &HashSet<String>) -> Result<(), Refusal> {
        let folder = photo_path(dir).map(|p| p.fold_key()).unwrap_or_default();
        let mut after = String::new();
        loop {
            let rows = primary.catalogue.read(|r| r.children(&folder, &after, 500))?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.path.fold_key();
            for row in rows {
                if row.shelf == Shelf::Photos && !on_disk.contains(&row.path.fold_key()) {
                    self.miss_one(primary, &row)?;
                }
            }
        }
    }

    fn miss_one(&mut self, primary: &Primary, row: &NameRow) -> Result<(), Refusal> {
        // An upload may have come between the listing and now: ask the drive for this one.
        let place = Place::photo(&row.path);
        if !matches!(primary.attached.volume.stat(&place), Err(VolumeError::NotFound { .. })) {
            return Ok(());
        }
        let (id, now) = (primary.attached.id(), self.pool.now());
        if row.hash.is_some() {
            self.report.missing += 1;
            primary.catalogue.write(|tx| copies::observe(tx, row.id, id, CopyEvent::NotThere, now))?;
            return Ok(());
        }
        let below = primary.catalogue.read(|r| r.children(&row.path.fold_key(), "", 1))?;
        if below.is_empty() {
            // An empty folder that is not there holds nothing to lose: its name goes.
            return primary.submit(Change::Forget { path: row.path.clone() }, now).map(drop);
        }
        self.todo.push(place);
        Ok(())
    }
}

/// The name of a place below `photos/`, whatever spelling other hands gave it; `None` for what cannot be a name.
fn photo_path(place: &Place) -> Option<RelPath> {
    RelPath::parse(place.as_str().strip_prefix("photos/")?).ok()
}
