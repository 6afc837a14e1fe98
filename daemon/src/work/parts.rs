//! Uploads that come in parts, hours or days apart: each part is durable before it is acknowledged, and together they go the one way
//! of all uploads, [`Ingest`]. Blocking.
//!
//! They lie in `.shoebox/uploads/<id>/` on the primary: what the client said (`said`), the file that parts are appended to as long as
//! they come in order (`whole`), a record of each of those, an empty file whose name says where it lies and what it is; parts that
//! came otherwise under their numbers, each ended by the BLAKE3 of its bytes; and what became of it (`assembled`). Nothing is kept
//! elsewhere: a restart or a power cut in the middle of a long upload changes nothing of it. They are never mirrored and never shown.
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;

use crate::model::account::{Device, Slug};
use crate::model::hash::Also;
use crate::model::place::Place;
use crate::model::upload::{Appended, HashOf, Lying};
pub use crate::model::upload::{Assembled, Part, Said, UploadId};
pub use crate::plan::parts::{KEPT, Numbering, Whole};
use crate::plan::parts::{MOST_LEFT_BEHIND, MOST_NOTES, MOST_PARTS, MOST_SHORT_PARTS, MOST_UPLOADS};
use crate::plan::parts::{in_one, is_over, next_at, to_copy};
use crate::store::volume::VolumeError;
use crate::work::body::{Body, full_or};
use crate::work::error::Refusal;
use crate::work::ingest::Ingest;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::quotas::Promise;

mod joining;
mod lying;
mod remembering;
mod taking;

use lying::{Found, Stage, clear, discard_parts, find, last_written, note, put, stage, unfinished, uploads};
use remembering::Memories;
use taking::keep_first;
pub use taking::{Incomplete, Loose};

/// Who works on which upload.
#[derive(Default)]
pub(super) struct Uploads {
    turns: Mutex<HashMap<UploadId, Weak<Turns>>>,
    /// A flush of what these were growing in failed: nothing is appended to that any more, nor is it flushed.
    closed: Mutex<HashSet<UploadId>>,
    /// What came of them, as it was hashed then.
    memories: Memories,
}

/// Of one upload.
#[derive(Default)]
struct Turns {
    /// One at a time, for all but the bytes of a part.
    work: Mutex<()>,
    /// Somebody has the growing file open to write, or makes a photo of it.
    grows: AtomicBool,
}

impl Turns {
    fn work(&self) -> MutexGuard<'_, ()> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn, unless somebody has it.
    fn try_work(&self) -> Option<MutexGuard<'_, ()>> {
        match self.work.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

/// The right to the growing file, one's alone until this is dropped.
struct Growing(Arc<Turns>);

impl Drop for Growing {
    fn drop(&mut self) {
        self.0.grows.store(false, Ordering::Release);
    }
}

impl Uploads {
    fn of(&self, id: &UploadId) -> Arc<Turns> {
        let mut all = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, turns| turns.strong_count() > 0);
        if let Some(turns) = all.get(id).and_then(Weak::upgrade) {
            return turns;
        }
        let turns = Arc::default();
        all.insert(id.clone(), Arc::downgrade(&turns));
        turns
    }

    fn closed(&self) -> MutexGuard<'_, HashSet<UploadId>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: somebody has it, or it is nobody's any more.
    fn claim(&self, id: &UploadId) -> Option<Growing> {
        let turns = self.of(id);
        if turns.grows.swap(true, Ordering::AcqRel) {
            return None;
        }
        let right = Growing(turns);
        // Only now: whoever had the right until this moment may have closed the file before giving it back.
        (!self.closed().contains(id)).then_some(right)
    }
}

/// An upload in parts, as it stands.
#[derive(Debug, Clone)]
pub struct Upload {
    /// What its client said when it began.
    pub said: Said,
    /// Its parts, in the order of their numbers.
    pub parts: Vec<Part>,
    /// What became of it, for a day: its parts are gone then.
    pub assembled: Option<Assembled>,
}

impl Upload {
    /// Bytes in all parts.
    pub fn received(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }
}

/// Takes uploads in parts.
#[derive(Clone)]
pub struct Parts {
    pool: Arc<Pool>,
    ingest: Ingest,
}

impl Parts {
    /// For the uploads of a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { ingest: Ingest::new(Arc::clone(&pool)), pool }
    }

    /// Begins an upload, or finds it. `true`: it is new, also when one of this id was put together before. What is said of one
    /// that is there already is not taken. `Full`, `TooMany`.
    pub fn open(&self, by: &Device, id: &UploadId, said: &Said) -> Result<(Upload, bool), Refusal> {
        let primary = self.changeable()?;
        let turns = self.pool.uploads.of(id);
        let _alone = turns.work();
        if let Some(there) = find(&primary, id)?.filter(|found| found.assembled.is_none()) {
            return Ok((there.into(), false));
        }
        let noted: usize = said.notes.iter().map(|(name, text)| name.len() + text.len()).sum();
        if noted > MOST_NOTES {
            return Err(Refusal::TooMany("notes on an upload"));
        }
        let total = said.total.unwrap_or(0);
        self.has_room(&primary, total)?;
        let volume = &*primary.attached.volume;
        let refuse = |e| refuse(&primary, e);
        let unfinished = uploads(volume).map_err(refuse)?;
        if unfinished.iter().filter(|other| other.is_of(by) && *other != id).count() >= MOST_UPLOADS {
            return Err(Refusal::TooMany("unfinished uploads of this device"));
        }
        clear(volume, id).map_err(refuse)?;
        self.pool.uploads.closed().remove(id);
        // Top down, each in a directory that a power cut cannot take away any more: what is said is there only if all above it is.
        for (dir, holder) in [(Place::uploads(), Place::own()), (Place::upload(id), Place::uploads())] {
            volume.make_dir(&dir).map_err(refuse)?;
            volume.sync_dir(&holder).map_err(refuse)?;
        }
        // In the directory before what is said, whose flush of that is its own, too.
        match volume.grow(&Place::upload_whole(id), 0, None) {
            Ok(_grows) => {}
            Err(VolumeError::Unsupported { .. }) => {
                self.has_room(&primary, to_copy(total, 0)).inspect_err(|_| drop(clear(volume, id)))?;
            }
            Err(e) => return Err(refuse(e)),
        }
        let text = serde_json::to_vec(said).map_err(|e| Refusal::Catalogue(e.to_string()))?;
        put(volume, &Place::upload_said(id), &text, self.pool.now()).map_err(refuse)?;
        Ok((Upload { said: said.clone(), parts: Vec::new(), assembled: None }, true))
    }

    fn has_room(&self, primary: &Primary, needed: u64) -> Result<(), Refusal> {
        let available = self.pool.space_for_uploads(primary)?;
        if needed > available { Err(Refusal::Full { needed, available }) } else { Ok(()) }
    }

    /// What is here of an upload. `None`: nothing, or it is too long ago.
    pub fn look(&self, id: &UploadId) -> Result<Option<Upload>, Refusal> {
        Ok(find(&*self.pool.proved_primary()?, id)?.map(Upload::from))
    }

    /// Takes a part of `size` bytes, or of however many come. One that is there under this number is replaced when this one is
    /// whole. The next one by its number is appended to those before it. `NotFound`: no such upload. `Full`: also if it comes out of
    /// order, and there is no room to put all of them together once more.
    pub fn begin(&self, id: &UploadId, number: u64, size: Option<u64>) -> Result<Incomplete, Refusal> {
        let primary = self.changeable()?;
        self.pool.expects_second()?;
        let turns = self.pool.uploads.of(id);
        // Whoever works on it now may throw away what this would be appended to.
        let alone = turns.try_work();
        let found = unfinished(&primary, id)?;
        let there = found.lying.iter().find(|one| one.part.number == number);
        if found.lying.len() >= MOST_PARTS && there.is_none() {
            return Err(Refusal::TooMany("parts"));
        }
        let promise = self.promise(&primary, id, size.unwrap_or(0))?;
        let at = next_at(&found.lying, number).filter(|_| found.grows && alone.is_some());
        let also = Also { sha1: found.said.sha1, sha256: false };
        let appending = at.map_or(Ok(None), |at| {
            Incomplete::append(&self.pool, &primary, (id, number), (at, also), size)
        })?;
        drop(alone);
        if let Some(mut appending) = appending {
            appending.promise(promise);
            return Ok(appending);
        }
        if let Some(total) = found.said.total.filter(|_| found.grows && there.is_none()) {
            self.has_room(&primary, to_copy(total, found.received()))?;
        }
        let again = there.and_then(|one| one.within).map(|within| (within, found.grown.clone()));
        let loose = Loose::over(Body::open(&self.pool, primary, size, promise)?);
        Ok(Incomplete::apart(id.clone(), number, loose, again))
    }

    /// Room in the person's quota, of which the parts that wait here take some as well.
    fn promise(&self, primary: &Primary, id: &UploadId, size: u64) -> Result<Option<Promise>, Refusal> {
        let Ok(person) = id.person().parse::<Slug>() else { return Ok(None) };
        let Some(quota) = primary.catalogue.read(|r| r.quota(&person))? else { return Ok(None) };
        let mut waiting = 0;
        let all = uploads(&*primary.attached.volume).map_err(|e| refuse(primary, e))?;
        for id in all.iter().filter(|other| other.person() == id.person()) {
            waiting += find(primary, id)?.map_or(0, |found| found.received());
        }
        self.pool.promise(primary, &person, (quota.saturating_sub(waiting), 0), (size, size..=size)).map(Some)
    }

    /// Throws a part away. `NotFound`.
    pub fn drop_part(&self, id: &UploadId, number: u64) -> Result<(), Refusal> {
        let primary = self.changeable()?;
        let turns = self.pool.uploads.of(id);
        let _alone = turns.work();
        unfinished(&primary, id)?;
        let volume = &*primary.attached.volume;
        if discard_parts(volume, id, |other| other == number).map_err(|e| refuse(&primary, e))? == 0 {
            return Err(Refusal::NotFound);
        }
        volume.sync_dir(&Place::upload(id)).map_err(|e| refuse(&primary, e))
    }

    /// Throws an upload away that nobody will finish. `NotFound`.
    pub fn abandon(&self, id: &UploadId) -> Result<(), Refusal> {
        let primary = self.changeable()?;
        let turns = self.pool.uploads.of(id);
        let _alone = turns.work();
        unfinished(&primary, id)?;
        clear(&*primary.attached.volume, id).map_err(|e| refuse(&primary, e))
    }

    /// Takes a part before it is known whose it is, and of what: where a client says that behind the bytes. `expected`: bytes that are
    /// known to be on their way. Nothing of it has a name until [`Parts::keep`]. Blocking.
    pub fn begin_loose(&self, expected: u64) -> Result<Loose, Refusal> {
        let primary = self.changeable()?;
        self.pool.expects_second()?;
        let available = self.pool.space_for_uploads(&primary)?;
        if expected > available {
            self.pool.count_refused_full(expected);
            return Err(Refusal::Full { needed: expected, available });
        }
        let body = Body::open(&self.pool, primary, None, None)?;
        Ok(Loose::over(body))
    }

    /// Ends such a part as this one of this upload, which begins with the first; it is durable on return. The first becomes what a photo is
    /// made of that has no other. Of an upload that was put
    /// together already nothing more is kept, and that is no error. What is left of older ones of this device and dialect goes, but for a
    /// few. Blocking.
    pub fn keep(&self, by: &Device, id: &UploadId, number: u64, loose: Loose) -> Result<(), Refusal> {
        if !(1..=MOST_SHORT_PARTS).contains(&number) {
            return Err(Refusal::TooMany("parts"));
        }
        let mut loose = loose;
        let primary = Arc::clone(&loose.body.primary);
        match stage(&primary, id)? {
            Stage::Open => {}
            Stage::Assembled => return Ok(()),
            Stage::Unknown => {
                self.make_way(&primary, by, id)?;
                let (_upload, _is_new) = self.open(by, id, &Said::default())?;
            }
        }
        loose.body.promise = self.promise(&primary, id, loose.received())?;
        match number {
            1 => keep_first(id, loose),
            _ => Incomplete::apart(id.clone(), number, loose, None).keep(),
        }
        .map(drop)
    }

    /// Throws away what a client will not go on with, so that it can begin another upload: the ones that were left alone the longest.
    fn make_way(&self, primary: &Primary, by: &Device, id: &UploadId) -> Result<(), Refusal> {
        let volume = &*primary.attached.volume;
        let all = uploads(volume).map_err(|e| refuse(primary, e))?;
        let mut others = Vec::new();
        for other in
            all.into_iter().filter(|other| other.is_of(by) && other.dialect() == id.dialect() && other != id)
        {
            if stage(primary, &other)? == Stage::Open {
                let entries =
                    volume.survey(&Place::upload(&other), &mut || ()).map_err(|e| refuse(primary, e))?;
                others.push((last_written(&entries), other));
            }
        }
        others.sort();
        let many = (others.len() + 1).saturating_sub(MOST_LEFT_BEHIND);
        for (_, other) in others.into_iter().take(many) {
            let turns = self.pool.uploads.of(&other);
            let Some(_alone) = turns.try_work() else { continue };
            clear(volume, &other).map_err(|e| refuse(primary, e))?;
        }
        Ok(())
    }

    fn changeable(&self) -> Result<Arc<Primary>, Refusal> {
        let primary = self.pool.proved_primary()?;
        primary.attached.takes_changes().map_err(|why| Refusal::Unavailable { why })?;
        Ok(primary)
    }
}

/// Throws away what nobody went on with, and outcomes that nobody asks for any more.
pub(super) fn sweep(pool: &Pool, primary: &Primary, now: Timestamp) -> Result<(), Refusal> {
    let volume = &*primary.attached.volume;
    for id in uploads(volume).map_err(|e| refuse(primary, e))? {
        let turns = pool.uploads.of(&id);
        let Some(_alone) = turns.try_work() else { continue };
        let entries = volume.survey(&Place::upload(&id), &mut || ()).map_err(|e| refuse(primary, e))?;
        let assembled = note::<Assembled>(primary, &Place::upload_assembled(&id))?.is_some();
        if is_over(last_written(&entries), assembled, now) {
            clear(volume, &id).map_err(|e| refuse(primary, e))?;
        }
    }
    Ok(())
}

fn refuse(primary: &Primary, error: VolumeError) -> Refusal {
    match error {
        VolumeError::NotFound { .. } => Refusal::NotFound,
        other @ (VolumeError::Full { .. }
        | VolumeError::Gone { .. }
        | VolumeError::ReadOnly { .. }
        | VolumeError::Exists { .. }
        | VolumeError::NotEmpty { .. }
        | VolumeError::Unsupported { .. }
        | VolumeError::Io { .. }) => full_or(primary.attached.heed(other), 0, 0),
    }
}
