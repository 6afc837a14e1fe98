//! The mirror: brings every other drive to what the primary has, reads each copy back from the medium, and only then
//! gives it its name. Adds at once; takes away late, and into the trash.
//!
//! Works from the catalogue's queue alone: wakes from ingest or inotify only make it sooner (invariant I16).
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::copy::CopyEvent;
use crate::model::drive::{DriveId, DriveRole};
use crate::model::event::What;
use crate::model::path::RelPath;
use crate::model::place::Place;
use crate::os::clock;
use crate::plan::failing::Kind;
use crate::store::aligned;
use crate::store::catalogue::Catalogue;
use crate::store::catalogue::copies;
use crate::store::catalogue::queue::{LeavingRow, MovedRow};
use crate::store::volume::VolumeError;
use crate::work::carry::GoOn;
use crate::work::directories::Directories;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::mirror::pauses::Pauses;
use crate::work::mirror::strays::Strays;
use crate::work::pool::{Pool, Wake};
use crate::work::primary::{Primary, sweep};
use crate::work::promote;
use crate::work::record;
use crate::work::unrecorded;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

mod copying;
mod pauses;
mod strays;
mod telling;

/// Without a wake it looks for work so often.
const PERIOD: Duration = Duration::from_secs(60);
/// Renames and removals done in one step at most.
const PIECE: usize = 64;

/// The mirror's side of every drive but the primary.
pub struct Mirror {
    pool: Arc<Pool>,
    ends: HashMap<DriveId, End>,
    /// Whose catalogue `ends` were opened with: another one may know nothing of these drives.
    primary: Weak<Primary>,
    pauses: Pauses<Attached>,
}

/// What came of one piece of work on every drive.
#[derive(Default)]
struct Round {
    /// There is more to do on some drive.
    more: bool,
    well: Vec<Arc<Attached>>,
    failed: Vec<(Arc<Attached>, Refusal)>,
}

/// One drive being brought up to date.
struct End {
    attached: Arc<Attached>,
    /// The catalogue it was opened with: another one has to learn of this drive first. Holds nothing open.
    catalogue: Weak<Catalogue>,
    directories: Directories,
    /// The state of the pool's facts of which this drive has been told all.
    told: Option<u64>,
    /// Set until a drive that was the primary once was looked through.
    strays: Option<Strays>,
    /// It had everything after the last step.
    is_level: bool,
}

/// What one piece of work on a drive amounts to, before it is durable.
#[derive(Default)]
struct Piece {
    dirs: BTreeSet<Place>,
    events: Vec<What>,
}

impl Mirror {
    /// A mirror for the drives of a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool, ends: HashMap::new(), primary: Weak::new(), pauses: Pauses::default() }
    }

    /// Does one bounded piece on every drive that is there. `true`: there is more to do. A drive that fails does not
    /// keep the others from theirs; the first failure is returned when all had their turn.
    pub fn step(&mut self, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        let Round { more, failed, .. } = self.round(&|_| false, go_on)?;
        failed.into_iter().next().map_or(Ok(more), |(_, refusal)| Err(refusal))
    }

    /// The same, without the drives that are passed over this time.
    fn round(&mut self, passed: &dyn Fn(&Arc<Attached>) -> bool, go_on: GoOn<'_>) -> Result<Round, Refusal> {
        let primary = self.pool.primary()?;
        if !std::ptr::eq(self.primary.as_ptr(), Arc::as_ptr(&primary)) {
            self.ends.clear();
            self.primary = Arc::downgrade(&primary);
        }
        let others = self.pool.others();
        self.ends.retain(|id, end| {
            std::ptr::eq(end.catalogue.as_ptr(), Arc::as_ptr(&primary.catalogue))
                && others.iter().any(|a| a.id() == *id && Arc::ptr_eq(a, &end.attached))
        });
        let mut round = Round::default();
        for attached in others.into_iter().filter(|attached| !passed(attached)) {
            let result = self.step_on(&primary, &attached, go_on);
            self.note(&attached, &result);
            match result {
                Ok(left) => {
                    round.more |= left;
                    round.well.push(attached);
                }
                Err(refusal) => {
                    // It may be gone, or be another one by now: whoever watches it finds out at once.
                    self.pool.wake(Wake::Drives);
                    round.failed.push((attached, refusal));
                }
            }
        }
        Ok(round)
    }

    /// How it went is known of each drive by itself: that others work is no reason to say nothing of the one that does not.
    fn note(&self, attached: &Attached, result: &Result<bool, Refusal>) {
        let news = match result {
            Ok(_) => attached.note_step(None),
            // Nothing was tried: what is doubted of the drive, or of the primary, is told as it is.
            Err(Refusal::Unavailable { .. }) => false,
            Err(refusal) => attached.note_step(Some(refusal.to_string())),
        };
        if news {
            self.pool.wake(Wake::Health);
        }
    }

    /// A round that passes over drives which failed a moment ago: while one does not work, the others do not wait for the end
    /// of its pauses. Where none works, it is this worker that fails.
    fn paced(&mut self, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        let (now, pauses) = (clock::monotonic(), std::mem::take(&mut self.pauses));
        let round = self.round(&|attached| pauses.is_on(attached, now), go_on);
        self.pauses = pauses;
        let mut round = round?;
        round.well.iter().for_each(|attached| self.pauses.end(attached));
        if round.well.is_empty() && !round.failed.is_empty() {
            return Err(round.failed.swap_remove(0).1);
        }
        for (attached, refusal) in round.failed {
            log::warn!("drive {} could not be brought up to date: {refusal}", attached.id().short());
            self.pauses.begin(&attached, clock::monotonic());
        }
        Ok(round.more)
    }

    /// The drive a step will most likely wait for.
    fn busiest(&self, primary: &Primary) -> String {
        let others = self.pool.others();
        others.first().map_or_else(|| primary.attached.id().short(), |a| a.id().short())
    }

    fn step_on(
        &mut self,
        primary: &Arc<Primary>,
        attached: &Arc<Attached>,
        go_on: GoOn<'_>,
    ) -> Result<bool, Refusal> {
        attached.takes_writes().map_err(|why| Refusal::Unavailable { why })?;
        let id = attached.id();
        let generation = primary.attached.marker.generation;
        if attached.marker.generation < generation {
            self.ends.remove(&id);
            promote::raise(attached, generation)?;
            attached.reopen("its marker was brought up to date");
            self.pool.wake(Wake::Drives);
            return Ok(false);
        }
        let changes = primary.changes.load(Ordering::Acquire);
        let mut end = match self.ends.remove(&id) {
            Some(end) => end,
            None => {
                let end = End::open(Arc::clone(attached), primary, self.pool.now())?;
                self.pool.wake(Wake::Scrub);
                end
            }
        };
        let result = end.step(&self.pool, primary, go_on);
        end.is_level &= !matches!(result, Ok(true));
        if matches!(result, Ok(false)) && end.has_all_there_is(primary)? {
            self.pool.note_filled(id, primary, changes);
        }
        if matches!(result, Ok(false)) && end.has_all(primary)? {
            self.pool.note_level(id, primary, changes);
            // Somebody may wait to unplug it: its lists are the last that is done.
            if !std::mem::replace(&mut end.is_level, true) && attached.role() == DriveRole::Offline {
                self.pool.wake(Wake::Lists);
            }
        }
        // After a failure nothing is assumed of the drive: manifest and directories are looked at anew.
        if result.is_ok() {
            self.ends.insert(id, end);
        }
        result
    }
}

impl Worker for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn period(&self) -> Duration {
        self.pauses.until_next(clock::monotonic()).map_or(PERIOD, |left| left.min(PERIOD))
    }

    fn critical(&self) -> bool {
        true
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        let Ok(primary) = self.pool.primary() else {
            // Nothing to copy from, and no reason to keep the other drives from being unmounted.
            self.ends.clear();
            return Ok(Outcome::Rest);
        };
        let _drive = cx.blocked_on(&self.busiest(&primary));
        if !primary.has_room_to_record() {
            // However long that lasts, no drive is kept from being unmounted.
            self.ends.clear();
            return Ok(Outcome::Rest);
        }
        let go_on = || {
            cx.beat();
            !cx.stopping()
        };
        match self.paced(&go_on) {
            Ok(true) => Ok(Outcome::More),
            Ok(false) => {
                aligned::let_go();
                Ok(Outcome::Rest)
            }
            Err(e) => Err(WorkError::new("bring the copies up to date", e)),
        }
    }
}

impl End {
    /// Recovery of a drive that just came: staging swept, its manifest's tail carried into the catalogue, its queue
    /// filled if it is new.
    fn open(attached: Arc<Attached>, primary: &Primary, now: Timestamp) -> Result<Self, Refusal> {
        sweep(&attached).map_err(Refusal::Drive)?;
        record::enrol(&attached, &primary.catalogue, now)?;
        let last = primary.catalogue.read(|r| r.drive(attached.id()))?.map_or(0, |row| row.position.seq);
        let back = unrecorded::undo(&attached, &primary.catalogue, last)?;
        if back > 0 {
            log::warn!(files = back; "a step on drive {} had broken off: taken back", attached.id().short());
        }
        let directories = Directories::new(Arc::clone(&attached.volume));
        let strays = Strays::of(&attached, primary)?;
        let catalogue = Arc::downgrade(&primary.catalogue);
        Ok(Self { attached, catalogue, directories, told: None, strays, is_level: false })
    }

    fn step(&mut self, pool: &Pool, primary: &Arc<Primary>, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        if self.look_through(pool, primary, go_on)? || self.tell(pool, primary)? {
            return Ok(go_on());
        }
        let held = pool.alarm(primary)?.is_some();
        // All renames before the first copy: a name that a new file wants may still be held by a renamed one.
        if self.follow_renames(pool, primary, held)? {
            return Ok(go_on());
        }
        let copied = self.copy_batch(pool, primary, held, go_on)?;
        let left = !held && self.let_go(pool, primary)?;
        Ok((copied || left) && go_on())
    }

    /// Whether this drive lacks nothing of what the primary has.
    fn has_all(&self, primary: &Primary) -> Result<bool, Refusal> {
        Ok(self.told.is_some() && !primary.catalogue.read(|r| r.lacks_any(self.attached.id()))?)
    }

    /// Whether it lacks nothing that can be copied: the rest no drive has good.
    fn has_all_there_is(&self, primary: &Primary) -> Result<bool, Refusal> {
        Ok(self.told.is_some() && !primary.catalogue.read(|r| r.lacks_what_is_good(self.attached.id()))?)
    }

    fn heed(&self, error: VolumeError) -> Refusal {
        Refusal::Drive(self.attached.heed(error))
    }

    /// The shared flushes of a piece, in the order of every promise: names, manifest, catalogue.
    fn commit(&mut self, catalogue: &Catalogue, piece: Piece, now: Timestamp) -> Result<(), Refusal> {
        // Nothing is said of them, and what was met on the way does not count as durable.
        if piece.events.is_empty() {
            return Ok(());
        }
        for dir in &piece.dirs {
            self.attached.volume.order_dir(dir).map_err(|e| self.heed(e))?;
        }
        record::record(&self.attached, catalogue, &piece.events, now)?;
        self.directories.settle(&piece.dirs);
        Ok(())
    }

    /// Names that changed on the primary change here, without a byte being copied. `held`: nothing makes room for them.
    fn follow_renames(&mut self, pool: &Pool, primary: &Primary, held: bool) -> Result<bool, Refusal> {
        let id = self.attached.id();
        let rows = primary.catalogue.read(|r| r.moved(id, PIECE))?;
        if rows.is_empty() {
            return Ok(false);
        }
        let now = pool.now();
        let attached = Arc::clone(&self.attached);
        let _lane = attached.turns.background();
        self.directories.start();
        let mut piece = Piece::default();
        let mut blocked: Option<RelPath> = None;
        for row in rows {
            let renamed = if row.at == row.path { Renamed::Done } else { self.rename(&row, &mut piece)? };
            match renamed {
                Renamed::Done => self.date(&row, &mut piece)?,
                Renamed::Taken(name) => blocked = blocked.or(Some(name)),
                // Not here under its old name: to be copied like any other that is lacking.
                Renamed::Gone => primary
                    .catalogue
                    .write(|tx| copies::observe(tx, row.name, id, CopyEvent::Requeued, now))?,
            }
        }
        // Only when nothing else moved is a name in the way for good (two names that were exchanged).
        if let (true, Some(name)) = (piece.events.is_empty(), blocked) {
            if held {
                return Ok(false);
            }
            self.clear_name(primary, &name, &mut piece, now)?;
        }
        self.commit(&primary.catalogue, piece, now)?;
        Ok(true)
    }

    fn rename(&mut self, row: &MovedRow, piece: &mut Piece) -> Result<Renamed, Refusal> {
        let (from, to) = (Place::photo(&row.at), Place::photo(&row.path));
        let volume = Arc::clone(&self.attached.volume);
        match volume.stat(&from) {
            Ok(_) => {}
            Err(VolumeError::NotFound { .. }) => return Ok(Renamed::Gone),
            // All copies wait for all renames: where its block is bad, it is made anew under the new name.
            Err(e) => {
                let why = self.attached.file_only(e).map_err(Refusal::Drive)?;
                log::warn!("a copy cannot be renamed, and is made anew: {why}");
                self.attached.note_error(Kind::Read);
                return Ok(Renamed::Gone);
            }
        }
        let dir = to.parent().unwrap_or_else(Place::root);
        match self.directories.within(&dir, &mut piece.dirs, || volume.rename_new(&from, &to)) {
            Ok(Ok(())) => {}
            // A drive that is blind to case has it under both spellings already.
            Ok(Err(VolumeError::Exists { .. })) if self.is_one_file(row) => return Ok(Renamed::Done),
            Ok(Err(VolumeError::Exists { .. })) => return Ok(Renamed::Taken(row.path.clone())),
            Ok(Err(e)) => return Err(self.heed(e)),
            Err(e) => match self.file_above(&row.path)? {
                Some(name) => return Ok(Renamed::Taken(name)),
                None => return Err(self.heed(e)),
            },
        }
        piece.dirs.extend(from.parent());
        piece.dirs.insert(dir);
        self.prune(&row.at, piece)?;
        Ok(Renamed::Done)
    }

    /// A renamed copy, or one that lies where it belongs, gets the name's time. Not flushed: the record has it.
    fn date(&self, row: &MovedRow, piece: &mut Piece) -> Result<(), Refusal> {
        let place = Place::photo(&row.path);
        let dated = self.attached.volume.stat(&place).is_ok_and(|stat| stat.mtime == row.mtime);
        match self.attached.volume.set_mtime(&place, row.mtime) {
            // Not there after all: what has to be done about that is the verification's to say.
            Ok(()) | Err(VolumeError::NotFound { .. }) => {}
            Err(e) => return Err(self.heed(e)),
        }
        let moved = row.at != row.path;
        if moved {
            piece.events.push(What::Moved { path: row.at.clone(), to: row.path.clone(), by: String::new() });
        }
        // One that changed with the name is part of what this drive's record has to say by itself.
        if !moved || !dated {
            piece.events.push(What::Touched { path: row.path.clone(), mtime: row.mtime });
        }
        Ok(())
    }

    fn is_one_file(&self, row: &MovedRow) -> bool {
        let inode = |name: &RelPath| self.attached.volume.stat(&Place::photo(name)).ok().map(|s| s.inode);
        row.at.fold_key() == row.path.fold_key()
            && inode(&row.at).is_some_and(|n| inode(&row.path) == Some(n))
    }

    /// The file that stands on this drive where a folder above `name` belongs: it was one on the primary, too, before it
    /// was deleted there, and is to leave this drive later.
    fn file_above(&self, name: &RelPath) -> Result<Option<RelPath>, Refusal> {
        for folder in name.ancestors() {
            match self.attached.volume.stat(&Place::photo(&folder)) {
                Ok(stat) if !stat.is_dir => return Ok(Some(folder)),
                Ok(_) => {}
                Err(VolumeError::NotFound { .. }) => return Ok(None),
                Err(e) => return Err(self.heed(e)),
            }
        }
        Ok(None)
    }

    /// Makes a name on this drive free: what has it goes to this drive's trash, and what the catalogue says of it follows.
    fn clear_name(
        &mut self,
        primary: &Primary,
        name: &RelPath,
        piece: &mut Piece,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let id = self.attached.id();
        let (leaving, copy) =
            primary.catalogue.read(|r| Ok((r.leaving_at(id, name)?, r.copy_at(id, name)?)))?;
        let (by, why) = match &leaving {
            Some(row) => (row.by.clone(), row.why.clone()),
            None => (String::new(), "foreign".to_owned()),
        };
        let from = Place::photo(name);
        self.retire(name, &from, &by, &why, piece, now)?;
        if let (None, Some(copy)) = (leaving, copy) {
            primary.catalogue.write(|tx| copies::observe(tx, copy.name, id, CopyEvent::Requeued, now))?;
        }
        Ok(())
    }

    /// A rename into the dated trash, made durable with the piece.
    fn retire(
        &mut self,
        name: &RelPath,
        from: &Place,
        by: &str,
        why: &str,
        piece: &mut Piece,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let serial = self.attached.events_so_far() + 1 + piece.events.len() as u64;
        let (to, dirs) = self.directories.trash_place(name, serial, now).map_err(|e| self.heed(e))?;
        let to_text = match self.attached.volume.rename_new(from, &to) {
            Ok(()) => {
                piece.dirs.extend(from.parent());
                to.as_str().to_owned()
            }
            // Its folder may be gone as well: there is nothing to flush.
            Err(VolumeError::NotFound { .. }) => String::new(),
            Err(e) => return Err(self.heed(e)),
        };
        piece.dirs.extend(dirs);
        let (by, why) = (by.to_owned(), why.to_owned());
        piece.events.push(What::Trashed { path: name.clone(), to: to_text, by, why });
        Ok(())
    }

    /// A damaged copy makes room for one made anew from good bytes, which are on this drive already.
    fn quarantine(
        &mut self,
        name: &RelPath,
        from: &Place,
        piece: &mut Piece,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let serial = self.attached.events_so_far() + 1 + piece.events.len() as u64;
        let (to, dirs) = self.directories.quarantine_place(name, serial, now).map_err(|e| self.heed(e))?;
        self.attached.volume.rename_new(from, &to).map_err(|e| self.heed(e))?;
        piece.dirs.extend(from.parent());
        piece.dirs.extend(dirs);
        piece.events.push(What::Quarantined { path: name.clone(), to: to.as_str().to_owned() });
        Ok(())
    }

    /// Deletions reach this drive late, and as trash (promise P5).
    fn let_go(&mut self, pool: &Pool, primary: &Primary) -> Result<bool, Refusal> {
        let (id, now) = (self.attached.id(), pool.now());
        let due = now.saturating_sub(pool.options.delete_delay).unwrap_or(Timestamp::MIN);
        let rows = primary.catalogue.read(|r| r.leaving(id, due, PIECE))?;
        if rows.is_empty() {
            return Ok(false);
        }
        let attached = Arc::clone(&self.attached);
        let _lane = attached.turns.background();
        self.directories.start();
        let mut piece = Piece::default();
        for row in rows {
            self.let_one_go(primary, &row, &mut piece, now)?;
        }
        self.commit(&primary.catalogue, piece, now)?;
        Ok(true)
    }

    fn let_one_go(
        &mut self,
        primary: &Primary,
        row: &LeavingRow,
        piece: &mut Piece,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let id = self.attached.id();
        // The name came back meanwhile and its copy lies there: the entry is stale, the file stays.
        if primary.catalogue.read(|r| r.copy_at(id, &row.at))?.is_some() {
            let (path, to) = (row.at.clone(), String::new());
            piece.events.push(What::Trashed { path, to, by: row.by.clone(), why: "kept".to_owned() });
            return Ok(());
        }
        let from = Place::photo(&row.at);
        self.retire(&row.at, &from, &row.by, &row.why, piece, now)?;
        self.prune(&row.at, piece)
    }

    /// Removes the directories above a name that are empty now and that the pool has no folders for. Only ever empty ones:
    /// rmdir(2) sees to that.
    fn prune(&mut self, name: &RelPath, piece: &mut Piece) -> Result<(), Refusal> {
        let mut above: Vec<RelPath> = name.ancestors().collect();
        while let Some(folder) = above.pop() {
            let known = match self.catalogue.upgrade() {
                Some(catalogue) => catalogue.read(|r| r.name(&folder.fold_key()))?,
                None => None,
            };
            let place = Place::photo(&folder);
            if known.is_some_and(|row| row.hash.is_none() && row.path == folder)
                || self.attached.volume.remove_dir(&place).is_err()
            {
                return Ok(());
            }
            piece.dirs.remove(&place);
            piece.dirs.extend(place.parent());
            self.directories.forget();
        }
        Ok(())
    }
}

enum Renamed {
    Done,
    /// This name has to be free first.
    Taken(RelPath),
    Gone,
}
