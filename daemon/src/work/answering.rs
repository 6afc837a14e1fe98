//! Answering for what was changed or vanished all at once: showing it, putting it back as it was, or letting it through.
//!
//! Putting back is the same step for every file, found from what is on record: cut off, it is begun once more and goes on with
//! what is still to do. Nothing is destroyed by it: what stands under a name goes to the trash first.
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use crate::model::copy::CopyState;
use crate::model::event::Answer;
use crate::model::hash::{Also, ContentHash, Digests};
use crate::model::offer::Expect;
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::plan::braking::Alarm;
use crate::plan::mirroring;
use crate::store::catalogue::changes::{ChangeRow, KeptRow};
use crate::store::catalogue::names::NameRow;
use crate::store::volume::{MediumRead, Synced, Volume, VolumeError};
use crate::work::carry::{self, Carried, Load};
use crate::work::changes::{Change, Store};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::reading;
use crate::work::views::{
    Answered, ChangeKind, ChangeLine, ChangesPage, ChangesSummary, Cursor, NotPutBack, Progress,
};

/// Rows read at once.
const PAGE: usize = 200;
/// Files that are missing and let go in one commit.
const TOGETHER: usize = 64;
/// Files that could not be put back are named up to here.
const NAMED: usize = 1000;

/// A file to be put back as it was.
struct Lost {
    path: RelPath,
    hash: ContentHash,
    size: u64,
    mtime: Timestamp,
    received: Timestamp,
    sender: String,
}

impl From<ChangeRow> for Lost {
    fn from(row: ChangeRow) -> Self {
        let ChangeRow { path, hash, size, mtime, received, sender, .. } = row;
        Self { path, hash, size, mtime, received, sender }
    }
}

impl Lost {
    fn missing(row: NameRow) -> Option<Self> {
        let NameRow { path, size, mtime, received, by, .. } = row;
        Some(Self { path, hash: row.hash?, size, mtime, received, sender: by })
    }
}

/// The number of the question that all that vanished and was changed makes up.
fn question(primary: &Primary, alarm: Option<Alarm>) -> Result<String, Refusal> {
    let from = alarm.map_or(i64::MAX, |alarm| alarm.from);
    let numbers = primary.catalogue.read(|r| r.question(primary.attached.id(), from))?;
    let mut text = ContentHash::of(format!("{numbers:?}").as_bytes()).to_string();
    text.truncate(8);
    Ok(text)
}

/// Whether an answer is about this name: no folder or file named means all.
fn covers(below: &[RelPath], path: &RelPath) -> bool {
    below.is_empty() || below.iter().any(|top| path.is_within(top))
}

/// Putting back, under way.
struct Restoring<'p> {
    pool: &'p Pool,
    primary: Arc<Primary>,
    report: Answered,
    progress: &'p mut dyn FnMut(&Progress),
    so_far: Progress,
    /// Ready to get their names, in one commit.
    ready: Vec<Store>,
    bytes: u64,
}

impl Pool {
    /// A page of what vanished, and of what was changed in an alarm that nobody has answered for.
    pub fn changes(&self, after: Option<Cursor>, limit: usize) -> Result<ChangesPage, Refusal> {
        let primary = self.primary()?;
        let alarm = self.alarm(&primary)?;
        self.count_held(&primary)?;
        let summary = self.held().map(|held| ChangesSummary {
            since: held.since,
            vanished: held.vanished,
            changed: held.changed,
            deleted: held.deleted,
        });
        let id = primary.attached.id();
        let missing = primary.catalogue.read(|r| r.count_missing(id))?;
        let mut at = after.unwrap_or_default();
        let mut lines = Vec::new();
        // One more than asked for tells whether there is a next page.
        let vanished = primary.catalogue.read(|r| r.missing_names(id, at.vanished, limit + 1))?;
        let mut more = vanished.len() > limit;
        for (row, since) in vanished.into_iter().take(limit) {
            at.vanished = row.id;
            let Some(hash) = row.hash else { continue };
            let (kind, by) = (ChangeKind::Vanished, String::new());
            lines.push(ChangeLine { kind, path: row.path, at: since, by, size: row.size, hash });
        }
        if let Some(alarm) = alarm {
            let left = limit.saturating_sub(lines.len());
            let changed = primary.catalogue.read(|r| r.first_changes(alarm.from, at.changed, left + 1))?;
            more |= changed.len() > left;
            for row in changed.into_iter().take(left) {
                at.changed = row.id;
                let kind = if row.why == "deleted" { ChangeKind::Deleted } else { ChangeKind::Changed };
                let ChangeRow { path, since, by, size, hash, .. } = row;
                lines.push(ChangeLine { kind, path, at: since, by, size, hash });
            }
        }
        let question = question(&primary, alarm)?;
        Ok(ChangesPage { summary, missing, question, lines, next: more.then_some(at) })
    }

    /// Puts back what vanished, and what was changed in an alarm, each from any copy that is proved good while it is read.
    /// `below`: only these names and folders. With everything put back, the alarm is answered.
    pub fn put_it_back(
        &self,
        below: &[RelPath],
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Answered, Refusal> {
        let _one_at_a_time = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        let primary = self.primary()?;
        primary.attached.takes_writes().map_err(|why| Refusal::Unavailable { why })?;
        let alarm = self.alarm(&primary)?;
        self.count_held(&primary)?;
        let missing = primary.catalogue.read(|r| r.count_missing(primary.attached.id()))?;
        let files_total = self.held().map_or(missing, |h| h.vanished + h.changed + h.deleted);
        let mut work = Restoring {
            pool: self,
            primary: Arc::clone(&primary),
            report: Answered::default(),
            progress,
            so_far: Progress { files_total, ..Progress::default() },
            ready: Vec::new(),
            bytes: 0,
        };
        if let Some(alarm) = alarm {
            work.changed(alarm.from, below)?;
        }
        work.vanished(below)?;
        let mut report = work.report;
        if alarm.is_some() && below.is_empty() && report.failed == 0 {
            primary.submit(Change::Answer { answer: Answer::PutItBack }, self.now())?;
            self.release();
        }
        report.open = self.alarm(&primary)?.is_some();
        self.count_held(&primary)?;
        self.wake_healing();
        Ok(report)
    }

    /// Lets through what was changed in an alarm, and takes what vanished for deleted: it reaches the other drives' trash in its
    /// time. `below`: only what vanished of these names and folders, and the alarm stays. `seen`: the number of the question that was
    /// shown; if more was changed or vanished since, nothing is answered (`Changed`).
    pub fn it_was_me(
        &self,
        below: &[RelPath],
        seen: Option<&str>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Answered, Refusal> {
        let _one_at_a_time = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        let primary = self.primary()?;
        let (id, mut after) = (primary.attached.id(), 0);
        if seen.is_some() && seen != Some(question(&primary, self.alarm(&primary)?)?.as_str()) {
            return Err(Refusal::Changed);
        }
        let files_total = primary.catalogue.read(|r| r.count_missing(id))?;
        let mut report = Answered::default();
        loop {
            let rows = primary.catalogue.read(|r| r.missing_names(id, after, TOGETHER))?;
            let Some((last, _)) = rows.last() else { break };
            after = last.id;
            let names: Vec<RelPath> =
                rows.into_iter().map(|(row, _)| row.path).filter(|path| covers(below, path)).collect();
            report.done += names.len() as u64;
            if !names.is_empty() {
                primary.submit(Change::LetGo { names }, self.now())?;
            }
            progress(&Progress { files: report.done, files_total, ..Progress::default() });
        }
        // Last: cut off before it, the question is still open, and the answer is given once more.
        if below.is_empty() && self.alarm(&primary)?.is_some() {
            primary.submit(Change::Answer { answer: Answer::ItWasMe }, self.now())?;
            self.release();
        }
        report.open = self.alarm(&primary)?.is_some();
        self.count_held(&primary)?;
        self.wake_healing();
        Ok(report)
    }
}

impl Restoring<'_> {
    /// What was changed: of each name, the content it had before the first of these changes.
    fn changed(&mut self, from: i64, below: &[RelPath]) -> Result<(), Refusal> {
        let mut after = 0;
        loop {
            let rows = self.primary.catalogue.read(|r| r.first_changes(from, after, PAGE))?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            for row in rows.into_iter().filter(|row| covers(below, &row.path)) {
                self.put_back(row.into())?;
            }
        }
        self.name_ready()
    }

    /// What vanished. One that cannot be put back is passed over: the next page begins after it.
    fn vanished(&mut self, below: &[RelPath]) -> Result<(), Refusal> {
        let (id, mut after) = (self.primary.attached.id(), 0);
        loop {
            let rows = self.primary.catalogue.read(|r| r.missing_names(id, after, PAGE))?;
            let Some((last, _)) = rows.last() else { break };
            after = last.id;
            for (row, _) in rows.into_iter().filter(|(row, _)| covers(below, &row.path)) {
                if let Some(lost) = Lost::missing(row) {
                    self.put_back(lost)?;
                }
            }
            self.name_ready()?;
        }
        self.name_ready()
    }

    /// Finds a file's bytes and makes them ready for its name.
    fn put_back(&mut self, lost: Lost) -> Result<(), Refusal> {
        self.so_far.files += 1;
        (self.progress)(&self.so_far);
        let catalogue = &self.primary.catalogue;
        let row = catalogue.read(|r| r.name(&lost.path.fold_key()))?;
        let own = row.as_ref().filter(|row| row.hash == Some(lost.hash) && row.shelf == Shelf::Photos);
        if let Some(row) = own {
            let there = self.primary.attached.volume.stat(&row.place());
            if there.is_ok_and(|stat| !stat.is_dir && stat.size == lost.size) && !self.is_missing(row)? {
                self.report.already += 1;
                return Ok(());
            }
        }
        match self.find_bytes(&lost, row.is_none()) {
            Ok(Ok(synced)) => {
                self.bytes += lost.size;
                self.so_far.bytes += lost.size;
                self.ready.push(lost.store(synced));
            }
            Ok(Err(why)) => self.failed(lost.path, why),
            Err(Refusal::Drive(e @ VolumeError::Full { .. })) => self.failed(lost.path, e.to_string()),
            Err(e) => return Err(e),
        }
        if self.ready.len() >= mirroring::BATCH_FILES || self.bytes >= mirroring::BATCH_BYTES {
            self.name_ready()?;
        }
        Ok(())
    }

    fn is_missing(&self, row: &NameRow) -> Result<bool, Refusal> {
        let id = self.primary.attached.id();
        let copies = self.primary.catalogue.read(|r| r.copies_of_name(row.id))?;
        Ok(copies.iter().any(|c| c.drive == id && c.state == CopyState::Missing))
    }

    fn failed(&mut self, path: RelPath, why: String) {
        self.report.failed += 1;
        if self.report.not_put_back.len() < NAMED {
            self.report.not_put_back.push(NotPutBack { path, why });
        }
    }

    /// The bytes, proved: in the primary's own trash, where they only need their name again, else from any drive that is here.
    fn find_bytes(&self, lost: &Lost, free: bool) -> Result<Result<Box<dyn Synced>, String>, Refusal> {
        let mut kept = self.primary.catalogue.read(|r| r.kept(&lost.hash))?;
        let mut drives = self.pool.others();
        // A catalogue made anew does not know what waits to leave a drive: it lies under its name there.
        kept.extend(drives.iter().map(|d| KeptRow { drive: d.id(), path: lost.path.clone(), trash: None }));
        drives.push(Arc::clone(&self.primary.attached));
        let mut why = "no drive that is here has it".to_owned();
        for row in &kept {
            let Some(drive) = drives.iter().find(|d| d.id() == row.drive) else { continue };
            let Some(place) = place(row) else { continue };
            let own = drive.id() == self.primary.attached.id();
            if own && free && row.trash.is_some() {
                if self.is_sound(drive, &place, lost)? {
                    let volume = Arc::clone(&drive.volume);
                    return Ok(Ok(Box::new(InTrash { volume, place })));
                }
                continue;
            }
            // What is missing here has no other name that would not be looked at by itself.
            let load = Load { from: place, hash: lost.hash, size: lost.size, mtime: lost.mtime };
            match carry::carry(&load, drive, &self.primary.attached, &|| true)? {
                Carried::Proved(synced, _) => return Ok(Ok(synced)),
                Carried::BadSource(carry::Bad::Missing) => {}
                Carried::BadSource(carry::Bad::Different(found)) => {
                    why = format!("{found} on drive {}", drive.id().short());
                }
                Carried::BadReadBack => return Err(carry::lied(&self.primary.attached, load.from)),
                Carried::Stopped => return Ok(Err("broken off".to_owned())),
            }
        }
        Ok(Err(why))
    }

    fn is_sound(&self, drive: &Attached, place: &Place, lost: &Lost) -> Result<bool, Refusal> {
        let read = reading::hash_medium(&*drive.volume, place, Also::default(), &mut || {
            drop(drive.turns.background());
            Ok(())
        });
        match read {
            Ok(found) => Ok(found.content == lost.hash),
            Err(VolumeError::NotFound { .. }) => Ok(false),
            Err(e) => drive.file_only(e).map(|_| false).map_err(Refusal::Drive),
        }
    }

    /// Gives names to what is ready: the commit of an upload.
    fn name_ready(&mut self) -> Result<(), Refusal> {
        let ready = std::mem::take(&mut self.ready);
        self.bytes = 0;
        if ready.is_empty() {
            return Ok(());
        }
        let names: Vec<RelPath> = ready.iter().map(|store| store.path.clone()).collect();
        let changes = ready.into_iter().map(|store| Change::Store(Box::new(store))).collect();
        let results = self.primary.submit_all(changes, self.pool.now())?;
        for (path, result) in names.into_iter().zip(results) {
            match result {
                Ok(_) => self.report.done += 1,
                Err(e @ (Refusal::Drive(_) | Refusal::Catalogue(_) | Refusal::Unavailable { .. })) => {
                    return Err(e);
                }
                // A folder has its name, or a file stands where its folder belongs.
                Err(e) => self.failed(path, e.to_string()),
            }
        }
        Ok(())
    }
}

impl Lost {
    /// As an upload of the device that once sent it.
    fn store(self, synced: Box<dyn Synced>) -> Store {
        let Self { path, hash, size, mtime, received, sender } = self;
        Store {
            path,
            synced,
            digests: Digests { content: hash, size, sha1: None, sha256: None },
            mtime: Some(mtime),
            dated: mtime,
            ctime: None,
            expect: Expect::Anything,
            make_parents: true,
            by: sender,
            only_adds: true,
            known: None,
            received: Some(received),
        }
    }
}

/// Where a kept file lies.
fn place(row: &KeptRow) -> Option<Place> {
    let Some((at, top)) = &row.trash else { return Some(Place::photo(&row.path)) };
    let base = at.split('/').try_fold(Place::root(), |place, name| place.entry(name))?;
    match row.path.below(top) {
        Some(rest) => rest.on_disk().split('/').try_fold(base, |place, name| place.entry(name)),
        None => Some(base),
    }
}

/// A file in the primary's trash that was proved, and is to have its name again. It keeps its place in the trash where the
/// filesystem has links.
struct InTrash {
    volume: Arc<dyn Volume>,
    place: Place,
}

impl Synced for InTrash {
    fn medium(&self) -> Result<Box<dyn MediumRead>, VolumeError> {
        self.volume.open_medium(&self.place)
    }

    fn publish(&mut self, to: &Place) -> Result<(), VolumeError> {
        match self.volume.link(&self.place, to) {
            Err(VolumeError::Unsupported { .. }) => self.volume.rename_new(&self.place, to),
            other => other,
        }
    }

    /// Only names that are free are given to it. One that was taken since is somebody's.
    fn publish_over(&mut self, to: &Place) -> Result<(), VolumeError> {
        Err(VolumeError::Exists { op: "put back", place: to.clone() })
    }
}
