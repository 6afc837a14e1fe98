//! The rescan: compares the primary's tree with the catalogue, folder by folder, takes over what other hands put there,
//! takes in what they wrote anew, and notes what is gone. Changes nothing it finds, but for the spelling of a name a FAT drive
//! could not hold, and for the time of a file that is not what was recorded.
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::copy::CopyEvent;
use crate::model::hash::{Also, Digests};
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::os::clock;
use crate::plan::shelving;
use crate::store::catalogue::copies;
use crate::store::catalogue::names::NameRow;
use crate::store::volume::{EntryKind, Stat, VolumeError};
use crate::work::carry::GoOn;
use crate::work::changes::Change;
use crate::work::error::Refusal;
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::reading;
use crate::work::rescan::quick::{Met, Quick};
use crate::work::views::RescanReport;

mod edits;
mod quick;

/// How many files are taken over in one commit.
const TOGETHER: usize = 64;

/// A file of other hands that is quiet and hashed.
struct Found {
    path: RelPath,
    digests: Digests,
    mtime: Timestamp,
}

type Waiting = HashMap<String, (Stat, Timestamp)>;

/// A folder being compared.
struct Folder {
    place: Place,
    /// Its name in the spelling the catalogue has; `None` at the top.
    name: Option<RelPath>,
    /// What the catalogue has in it, by fold key.
    known: HashMap<String, NameRow>,
    /// Those of them whose file was gone the last time.
    missing: HashSet<i64>,
    /// Names in it that were found in this walk to be taken over.
    found: HashSet<String>,
    /// Files in it that were not quiet the last time.
    before: Waiting,
    /// And that are not quiet now.
    still: Waiting,
}

/// What reading a file of other hands came to.
enum Hashed {
    Quiet(Digests),
    /// Somebody is at it.
    Busy,
    /// It cannot be read, and not for the drive's fault.
    Unreadable,
}

/// One walk over the tree.
pub struct Rescan {
    pool: Arc<Pool>,
    /// Folders still to compare, deepest last.
    todo: Vec<Place>,
    /// Files of other hands seen and not quiet yet, by folder and name: what they looked like, since when unchanged.
    waiting: HashMap<Place, Waiting>,
    /// Files to be taken over together.
    adopting: Vec<Found>,
    /// Empty folders that are not there.
    gone: Vec<RelPath>,
    report: RescanReport,
    /// Whether this walk is over the whole tree.
    everything: bool,
    /// How long comparing took, without what was read and taken over for it.
    spent: Duration,
    /// How long reading and taking over took, in the folder being compared.
    apart: Duration,
    /// Whose whole tree was walked last.
    walked: Weak<Primary>,
}

impl Rescan {
    /// A walk that has not begun.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            todo: Vec::new(),
            waiting: HashMap::new(),
            adopting: Vec::new(),
            gone: Vec::new(),
            report: RescanReport::default(),
            everything: false,
            spent: Duration::ZERO,
            apart: Duration::ZERO,
            walked: Weak::new(),
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
        self.waiting.keys().cloned().collect()
    }

    /// Whether a walk is under way.
    pub fn is_walking(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Whether files wait to be quiet: look again soon.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How long comparing took since this was last asked: what a look costs if nothing is new.
    pub(super) fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    /// What the walk found so far.
    pub fn report(&self) -> RescanReport {
        self.report
    }

    /// Compares one folder. `true`: there is more.
    pub fn step(&mut self, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        let Some(dir) = self.todo.pop() else { return Ok(false) };
        let primary = self.pool.primary()?;
        self.apart = Duration::ZERO;
        let began = clock::monotonic();
        let compared = self.compare(&primary, &dir, go_on);
        self.spent += began.elapsed().saturating_sub(self.apart);
        match compared {
            Ok(()) => {}
            // Removed or renamed since it was listed: the next walk sees what is then.
            Err(Refusal::Drive(VolumeError::NotFound { .. })) => {}
            Err(e) => {
                self.todo.push(dir);
                return Err(e);
            }
        }
        if self.todo.is_empty() {
            self.forget_folders(&primary)?;
        }
        if self.todo.is_empty() && std::mem::take(&mut self.everything) {
            let done = Some((self.pool.now(), self.report));
            *self.pool.last_rescan.lock().unwrap_or_else(PoisonError::into_inner) = done;
            self.walked = Arc::downgrade(&primary);
            self.pool.at_rest();
        }
        if self.todo.is_empty() && !self.is_waiting() && std::ptr::eq(self.walked.as_ptr(), &*primary) {
            self.pool.set_compared(&self.walked);
        }
        Ok(!self.todo.is_empty() && go_on())
    }

    fn compare(&mut self, primary: &Primary, dir: &Place, go_on: GoOn<'_>) -> Result<(), Refusal> {
        let lane = primary.attached.turns.background();
        let listed = primary.attached.volume.survey(dir, &mut || {
            go_on();
        });
        let entries = match listed {
            Ok(entries) => entries,
            // The folder is gone: so is what the catalogue has below it. Also the topmost: the drive has just proved to be ours.
            Err(VolumeError::NotFound { .. }) => Vec::new(),
            Err(e) => {
                let why = primary.attached.file_only(e).map_err(Refusal::Drive)?;
                return self.cannot_hold(dir, &why);
            }
        };
        drop(lane);
        self.report.folders += 1;
        let mut quick = Quick::new(entries);
        let as_it_was = quick.compare(primary, dir)?;
        let settled = quick.met.iter().filter(|met| met.settled);
        self.report.files += settled.filter(|met| met.entry.kind == EntryKind::File).count() as u64;
        if as_it_was {
            let folders = quick.met.iter().filter(|met| met.entry.kind == EntryKind::Dir);
            let places = folders.filter_map(|met| dir.entry(met.entry.name.as_deref()?));
            // The last one is next: the walk goes on in the order of the catalogue, which is read ahead so, and backwards is not.
            self.todo.extend(places.rev());
            self.waiting.remove(dir);
            go_on();
            return Ok(());
        }
        self.compare_thoroughly(primary, dir, quick.met, go_on)
    }

    fn compare_thoroughly(
        &mut self,
        primary: &Primary,
        dir: &Place,
        met: Vec<Met>,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let mut folder = self.folder(primary, dir)?;
        let mut on_disk: HashSet<String> = HashSet::with_capacity(met.len());
        for Met { entry, settled, .. } in met {
            let Some(place) = entry.name.as_deref().and_then(|n| dir.entry(n)) else {
                self.cannot_hold(dir, "it holds a name that is not UTF-8")?;
                continue;
            };
            let Some(path) = photo_path(&place) else {
                self.cannot_hold(&place, "no drive could hold its name")?;
                continue;
            };
            on_disk.insert(path.fold_key());
            match entry.kind {
                EntryKind::Dir => self.todo.push(place),
                EntryKind::File if settled => {}
                EntryKind::File => self.meet(primary, &mut folder, &place, &path, go_on)?,
                EntryKind::Other => self.cannot_hold(&place, "it is neither file nor folder")?,
            }
            if !go_on() {
                self.todo.push(dir.clone());
                folder.still.extend(folder.before);
                self.keep_waiting(dir, folder.still);
                return self.adopt(primary);
            }
        }
        self.keep_waiting(dir, std::mem::take(&mut folder.still));
        self.adopt(primary)?;
        self.miss(primary, &folder, &on_disk)
    }

    /// What the catalogue has in a folder, read after the folder was listed: an upload in between is known then.
    fn folder(&mut self, primary: &Primary, dir: &Place) -> Result<Folder, Refusal> {
        let (id, path) = (primary.attached.id(), photo_path(dir));
        let fold = path.as_ref().map(RelPath::fold_key).unwrap_or_default();
        let name = path.map(|path| spelled(primary, path)).transpose()?;
        let mut known = HashMap::new();
        let mut after = String::new();
        loop {
            let rows = primary.catalogue.read(|r| r.children(&fold, &after, 500))?;
            let Some(last) = rows.last() else { break };
            after = last.path.fold_key();
            known.extend(rows.into_iter().map(|row| (row.path.fold_key(), row)));
        }
        let missing = primary.catalogue.read(|r| r.missing_in(id, &fold))?;
        let before = self.waiting.remove(dir).unwrap_or_default();
        let (found, still) = (HashSet::new(), Waiting::new());
        Ok(Folder { place: dir.clone(), name, known, missing, found, before, still })
    }

    /// Bounded: a card of more photos than that is taken over in several walks.
    fn keep_waiting(&mut self, dir: &Place, still: Waiting) {
        const MOST: usize = 100_000;
        let held: usize = self.waiting.values().map(HashMap::len).sum();
        if !still.is_empty() && held + still.len() <= MOST {
            self.waiting.insert(dir.clone(), still);
        }
    }

    /// Something on the drive that is not taken over: it has no second copy, and people are told.
    fn cannot_hold(&mut self, place: &Place, why: &str) -> Result<(), Refusal> {
        self.report.unholdable += 1;
        // Of a card full of them, the first tell enough.
        if self.everything && self.report.unholdable <= 100 {
            log::warn!("{place} is not taken over: {why}");
        }
        Ok(())
    }

    /// A file whose size and time cannot be had, because what tells them is a bad block: the walk goes on without it.
    fn cannot_look(&mut self, primary: &Primary, place: &Place, error: VolumeError) -> Result<(), Refusal> {
        let why = primary.attached.file_only(error).map_err(Refusal::Drive)?;
        self.cannot_hold(place, &why)
    }

    /// A file on the drive.
    fn meet(
        &mut self,
        primary: &Primary,
        folder: &mut Folder,
        place: &Place,
        path: &RelPath,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let Some(row) = folder.known.get(&path.fold_key()) else {
            return self.consider(primary, folder, place, path, go_on);
        };
        let row = row.clone();
        if row.shelf == Shelf::Scratch {
            return Ok(()); // an upload cut off before its record: it comes again, or the scratch name is swept
        }
        if row.hash.is_none() {
            return self.cannot_hold(place, "a folder has its name");
        }
        // Spelled otherwise: if the name's own file is not there, this is it; if it is, this is a second one.
        if self.respell(primary, place, &row.path)?.is_none() {
            return Ok(());
        }
        self.report.files += 1;
        if folder.missing.contains(&row.id) {
            return self.found_again(primary, &row, go_on);
        }
        self.look_again(primary, folder, &row, go_on)
    }

    /// A file that was missing is back: it counts again when its bytes are right.
    fn found_again(&mut self, primary: &Primary, row: &NameRow, go_on: GoOn<'_>) -> Result<(), Refusal> {
        let place = row.place();
        let Hashed::Quiet(digests) = self.hash_quiet(primary, &place, go_on)? else { return Ok(()) };
        if Some(digests.content) == row.hash {
            let heed = |e| Refusal::Drive(primary.attached.heed(e));
            primary.attached.volume.sync_file(&place).map_err(heed)?;
            primary.attached.volume.sync_dir(&place.parent().unwrap_or_else(Place::root)).map_err(heed)?;
            let (id, now) = (primary.attached.id(), self.pool.now());
            primary.catalogue.write(|tx| copies::observe(tx, row.id, id, CopyEvent::SettledOnDrive, now))?;
        }
        Ok(())
    }

    /// A file the catalogue does not know: taken over once it has been quiet.
    fn consider(
        &mut self,
        primary: &Primary,
        folder: &mut Folder,
        place: &Place,
        path: &RelPath,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let stat = match primary.attached.volume.stat(place) {
            Ok(stat) => stat,
            Err(VolumeError::NotFound { .. }) => return Ok(()),
            Err(e) => return self.cannot_look(primary, place, e),
        };
        if shelving::shelf(path.name(), stat.size) == Shelf::Scratch {
            return Ok(());
        }
        if !self.is_quiet(folder, place.name(), stat) {
            self.report.waiting += 1;
            return Ok(());
        }
        let path = match &folder.name {
            Some(above) => above.child(path.name()).map_err(|_| Refusal::NoParent)?,
            None => path.clone(),
        };
        if folder.found.contains(&path.fold_key()) {
            return self.cannot_hold(place, "a name that differs in case only is there");
        }
        let Some(place) = self.respell(primary, place, &path)? else { return Ok(()) };
        folder.found.insert(path.fold_key());
        match self.hash_quiet(primary, &place, go_on)? {
            Hashed::Quiet(digests) => self.adopting.push(Found { path, digests, mtime: stat.mtime }),
            Hashed::Busy => self.report.waiting += 1,
            Hashed::Unreadable => {}
        }
        if self.adopting.len() >= TOGETHER { self.adopt(primary) } else { Ok(()) }
    }

    /// Takes over what was found, in one commit: a card of a thousand photos shares its flushes.
    fn adopt(&mut self, primary: &Primary) -> Result<(), Refusal> {
        if self.adopting.is_empty() {
            return Ok(());
        }
        let now = self.pool.now();
        let found = std::mem::take(&mut self.adopting);
        let change = |f: &Found| Change::Adopt { path: f.path.clone(), digests: f.digests, mtime: f.mtime };
        let began = clock::monotonic();
        let results = primary.submit_all(found.iter().map(change).collect(), now)?;
        self.apart += began.elapsed();
        for (found, result) in found.into_iter().zip(results) {
            match result {
                Ok(_) => {
                    self.report.adopted += 1;
                    let what = NewsKind::Received { size: found.digests.size };
                    self.pool.news().tell(&PhotoNews { path: found.path, what, at: now });
                }
                // An upload took the name meanwhile, a folder of the catalogue has it, or the file went away again.
                Err(Refusal::Exists | Refusal::NotAFolder | Refusal::NotFound) => {}
                Err(e) => return Err(e),
            }
        }
        self.pool.wake_mirror();
        Ok(())
    }

    /// Unchanged since it was first seen so, long enough ago. The file's own time is not asked: copying programs set it back.
    fn is_quiet(&self, folder: &mut Folder, name: &str, stat: Stat) -> bool {
        let (now, quiet) = (self.pool.now(), self.pool.options.quiet);
        let since = match folder.before.remove(name) {
            // Seen in the future: the clock was set back meanwhile, and the waiting starts anew.
            Some((before, since)) if before == stat && since <= now => since,
            Some(_) | None => now,
        };
        let is_quiet = now.duration_since(since) >= quiet;
        if !is_quiet {
            folder.still.insert(name.to_owned(), (stat, since));
        }
        is_quiet
    }

    /// A name in another normalisation, in another case of a folder that is known, or with characters that FAT forbids, gets
    /// the spelling that every drive can hold and the catalogue has. `None`: not possible, and told.
    fn respell(
        &mut self,
        primary: &Primary,
        place: &Place,
        path: &RelPath,
    ) -> Result<Option<Place>, Refusal> {
        let heed = |e| Refusal::Drive(primary.attached.heed(e));
        let right = Place::photo(path);
        if right == *place {
            return Ok(Some(right));
        }
        for folder in path.ancestors() {
            match primary.attached.volume.make_dir(&Place::photo(&folder)) {
                Ok(_) => {}
                Err(VolumeError::Exists { .. } | VolumeError::NotFound { .. }) => {
                    return self.cannot_hold(place, "a file stands where its folder belongs").map(|()| None);
                }
                Err(e) => return Err(heed(e)),
            }
        }
        match primary.attached.volume.rename_new(place, &right) {
            Ok(()) => Ok(Some(right)),
            Err(VolumeError::NotFound { .. }) => Ok(None),
            Err(VolumeError::Exists { .. }) => {
                self.cannot_hold(place, "its name in the spelling of this box is taken").map(|()| None)
            }
            Err(e) => Err(heed(e)),
        }
    }

    /// The digests of a file, if nobody changed it while it was read.
    fn hash_quiet(&mut self, primary: &Primary, place: &Place, go_on: GoOn<'_>) -> Result<Hashed, Refusal> {
        let volume = &primary.attached.volume;
        let read = || -> Result<Hashed, VolumeError> {
            let before = volume.stat(place)?;
            let digests = reading::hash_sound(&**volume, place, Also::default(), &mut || {
                drop(primary.attached.turns.background());
                go_on();
                Ok(())
            })?;
            let after = volume.stat(place)?;
            Ok(match digests {
                _ if before != after => Hashed::Busy,
                Some(digests) if digests.size == after.size => Hashed::Quiet(digests),
                Some(_) => Hashed::Busy,
                None => Hashed::Unreadable,
            })
        };
        let began = clock::monotonic();
        let hashed = read();
        self.apart += began.elapsed();
        match hashed {
            Ok(Hashed::Unreadable) => {
                let why = "it did not reach the medium whole, because a write failed; bring it once more";
                self.cannot_hold(place, why).map(|()| Hashed::Unreadable)
            }
            Ok(hashed) => Ok(hashed),
            Err(VolumeError::NotFound { .. }) => Ok(Hashed::Busy),
            Err(e) => {
                let why = primary.attached.file_only(e).map_err(Refusal::Drive)?;
                self.cannot_hold(place, &why).map(|()| Hashed::Unreadable)
            }
        }
    }

    /// Names of this folder whose file is not on the drive any more. Only noted: nothing is forgotten and nothing
    /// reaches another drive for it (promise P5).
    fn miss(&mut self, primary: &Primary, folder: &Folder, on_disk: &HashSet<String>) -> Result<(), Refusal> {
        let gone =
            |place: &Place| matches!(primary.attached.volume.stat(place), Err(VolumeError::NotFound { .. }));
        let absent = folder.known.iter().filter(|(fold, row)| {
            row.shelf == Shelf::Photos && !on_disk.contains(*fold) && gone(&row.place())
        });
        let absent: Vec<&NameRow> = absent.map(|(_, row)| row).collect();
        if absent.is_empty() {
            return Ok(());
        }
        // A rename or a deletion may be between its file and its row: what the catalogue says after that counts.
        primary.quiesce();
        let (id, now) = (primary.attached.id(), self.pool.now());
        let mut lost: Vec<i64> = Vec::new();
        for row in absent {
            let same =
                primary.catalogue.read(|r| r.name_by_id(row.id))?.is_some_and(|now| now.path == row.path);
            if !same || !gone(&row.place()) {
                continue;
            }
            if row.hash.is_some() {
                self.report.missing += 1;
                lost.push(row.id);
            } else if primary.catalogue.read(|r| r.children(&row.path.fold_key(), "", 1))?.is_empty() {
                self.gone.push(row.path.clone());
            } else {
                self.todo.push(row.place());
            }
        }
        lost.retain(|name| !folder.missing.contains(name));
        if lost.is_empty() {
            return Ok(());
        }
        log::warn!("{}: {} files are gone", folder.place, lost.len());
        primary.catalogue.write(|tx| {
            lost.iter().try_for_each(|name| copies::observe(tx, *name, id, CopyEvent::NotThere, now))
        })?;
        Ok(())
    }
}

impl Rescan {
    /// An empty folder that is not there holds nothing to lose: its name goes. But not while so much is gone that nothing may be
    /// concluded from what is not there.
    fn forget_folders(&mut self, primary: &Arc<Primary>) -> Result<(), Refusal> {
        let gone = std::mem::take(&mut self.gone);
        if gone.is_empty() || self.pool.alarm(primary)?.is_some() {
            return Ok(());
        }
        for path in gone {
            match primary.submit(Change::Forget { path }, self.pool.now()) {
                Ok(_) | Err(Refusal::NotFound) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// A path in the spelling that its folders have in the catalogue, as far as it knows them.
fn spelled(primary: &Primary, path: RelPath) -> Result<RelPath, Refusal> {
    if let Some(row) = primary.catalogue.read(|r| r.name(&path.fold_key()))?.filter(|row| row.hash.is_none())
    {
        return Ok(row.path);
    }
    let Some(above) = path.parent() else { return Ok(path) };
    spelled(primary, above)?.child(path.name()).map_err(|_| Refusal::NoParent)
}

/// The name of a place below `photos/`, whatever spelling other hands gave it; `None` for what cannot be a name.
fn photo_path(place: &Place) -> Option<RelPath> {
    RelPath::parse(place.as_str().strip_prefix("photos/")?).ok()
}
