//! Uploads that come in parts, hours or days apart: each part is durable before it is acknowledged, and together they go the one way
//! of all uploads, [`Ingest`]. Blocking.
//!
//! They lie in `.shoebox/uploads/<id>/` on the primary: what the client said (`said`), its parts under their numbers, each ended by
//! the BLAKE3 of its bytes, and what became of it (`assembled`). Nothing is kept elsewhere: a restart or a power cut in the middle
//! of a long upload changes nothing of it. They are never mirrored and never shown.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;

use crate::model::account::{Device, Slug};
use crate::model::offer::Offer;
use crate::model::place::Place;
pub use crate::model::upload::{Assembled, Part, Said, UploadId};
pub use crate::plan::parts::{KEPT, Numbering, Whole};
use crate::plan::parts::{MOST_NOTES, MOST_PARTS, MOST_UPLOADS, is_over};
use crate::store::volume::{Entry, Stat, Volume, VolumeError};
use crate::work::body::{Body, full_or};
use crate::work::error::Refusal;
use crate::work::ingest::{Ack, Incoming, Ingest, Outcome};
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::quotas::Promise;

/// Each part ends with its hash, so that what rots between two requests never becomes a photo.
const SEAL: u64 = blake3::OUT_LEN as u64;

/// What is read at once while parts are put together.
const PIECE: usize = 512 << 10;

/// Who works on which upload: one at a time, for all but the bytes of a part.
#[derive(Default)]
pub(super) struct Uploads(Mutex<HashMap<UploadId, Weak<Mutex<()>>>>);

impl Uploads {
    fn of(&self, id: &UploadId) -> Arc<Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = all.get(id).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        all.insert(id.clone(), Arc::downgrade(&lock));
        lock
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
        let lock = self.pool.uploads.of(id);
        let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = look(&primary, id)?.filter(|upload| upload.assembled.is_none()) {
            return Ok((there, false));
        }
        let noted: usize = said.notes.iter().map(|(name, text)| name.len() + text.len()).sum();
        if noted > MOST_NOTES {
            return Err(Refusal::TooMany("notes on an upload"));
        }
        // The parts, and the whole beside them while they are put together.
        let (needed, available) =
            (said.total.unwrap_or(0).saturating_mul(2), self.pool.space_for_uploads(&primary)?);
        if needed > available {
            return Err(Refusal::Full { needed, available });
        }
        let volume = &*primary.attached.volume;
        let refuse = |e| refuse(&primary, e);
        let unfinished = uploads(volume).map_err(refuse)?;
        if unfinished.iter().filter(|other| other.is_of(by) && *other != id).count() >= MOST_UPLOADS {
            return Err(Refusal::TooMany("unfinished uploads of this device"));
        }
        clear(volume, id).map_err(refuse)?;
        // Top down, each in a directory that a power cut cannot take away any more: what is said is there only if all above it is.
        for (dir, holder) in [(Place::uploads(), Place::own()), (Place::upload(id), Place::uploads())] {
            volume.make_dir(&dir).map_err(refuse)?;
            volume.sync_dir(&holder).map_err(refuse)?;
        }
        let text = serde_json::to_vec(said).map_err(|e| Refusal::Catalogue(e.to_string()))?;
        put(volume, &Place::upload_said(id), &text, self.pool.now()).map_err(refuse)?;
        Ok((Upload { said: said.clone(), parts: Vec::new(), assembled: None }, true))
    }

    /// What is here of an upload. `None`: nothing, or it is too long ago.
    pub fn look(&self, id: &UploadId) -> Result<Option<Upload>, Refusal> {
        look(&*self.pool.proved_primary()?, id)
    }

    /// Takes a part of `size` bytes, or of however many come. One that is there under this number is replaced when this one is
    /// whole. `NotFound`: no such upload.
    pub fn begin(&self, id: &UploadId, number: u64, size: Option<u64>) -> Result<Incomplete, Refusal> {
        let primary = self.changeable()?;
        self.pool.expects_second()?;
        let upload = unfinished(&primary, id)?;
        if upload.parts.len() >= MOST_PARTS && !upload.parts.iter().any(|part| part.number == number) {
            return Err(Refusal::TooMany("parts"));
        }
        let promise = self.promise(&primary, id, size.unwrap_or(0))?;
        let body = Body::open(&self.pool, primary, size, promise)?;
        Ok(Incomplete { id: id.clone(), number, body, hasher: blake3::Hasher::new() })
    }

    /// Room in the person's quota, of which the parts that wait here take some as well.
    fn promise(&self, primary: &Primary, id: &UploadId, size: u64) -> Result<Option<Promise>, Refusal> {
        let Ok(person) = id.person().parse::<Slug>() else { return Ok(None) };
        let Some(quota) = primary.catalogue.read(|r| r.quota(&person))? else { return Ok(None) };
        let mut waiting = 0;
        let all = uploads(&*primary.attached.volume).map_err(|e| refuse(primary, e))?;
        for id in all.iter().filter(|other| other.person() == id.person()) {
            waiting += look(primary, id)?.map_or(0, |upload| upload.received());
        }
        self.pool.promise(primary, &person, (quota.saturating_sub(waiting), 0), (size, size..=size)).map(Some)
    }

    /// Throws a part away. `NotFound`.
    pub fn drop_part(&self, id: &UploadId, number: u64) -> Result<(), Refusal> {
        let primary = self.changeable()?;
        let lock = self.pool.uploads.of(id);
        let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
        unfinished(&primary, id)?;
        let volume = &*primary.attached.volume;
        volume.discard(&Place::part(id, number)).map_err(|e| refuse(&primary, e))?;
        volume.sync_dir(&Place::upload(id)).map_err(|e| refuse(&primary, e))
    }

    /// Throws an upload away that nobody will finish. `NotFound`.
    pub fn abandon(&self, id: &UploadId) -> Result<(), Refusal> {
        let primary = self.changeable()?;
        let lock = self.pool.uploads.of(id);
        let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
        unfinished(&primary, id)?;
        clear(&*primary.attached.volume, id).map_err(|e| refuse(&primary, e))
    }

    /// Puts the parts together under the offer's name, by way of an ordinary upload. Repeated, also while the first attempt goes on,
    /// it has the same outcome, for a day. `NotFound`, `NotWhole`, and what any upload is refused for; the parts stay then.
    pub fn assemble(&self, id: &UploadId, whole: Whole, offer: Offer) -> Result<Ack, Refusal> {
        let primary = self.changeable()?;
        let lock = self.pool.uploads.of(id);
        let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let upload = look(&primary, id)?.ok_or(Refusal::NotFound)?;
        if let Some(before) = &upload.assembled {
            return self.ingest.again(before);
        }
        let total = whole.of(&upload.parts).map_err(Refusal::NotWhole)?;
        let mut incoming = self.ingest.begin(Offer { size: Some(total), ..offer })?;
        for part in &upload.parts {
            pour(&primary, id, *part, &upload.parts, &mut incoming)?;
        }
        let received = incoming.finish()?;
        let (hash, at) = (received.digests().content, self.pool.now());
        let ack = received.settle()?;
        let (path, created) = (ack.node().path.clone(), ack.outcome() == Outcome::Created);
        let assembled = Assembled { path, hash, size: total, created, at };
        // The photo is safe from here on, whatever happens to its parts. They go only when the outcome is on record: until then, a
        // repeated request finds them, and the same bytes under the name.
        if let Err(e) = conclude(&*primary.attached.volume, id, &assembled, &upload.parts) {
            log::warn!("parts of an upload are left to the sweep: {}", primary.attached.heed(e));
        }
        Ok(ack)
    }

    fn changeable(&self) -> Result<Arc<Primary>, Refusal> {
        let primary = self.pool.proved_primary()?;
        primary.attached.takes_changes().map_err(|why| Refusal::Unavailable { why })?;
        Ok(primary)
    }
}

/// A part under way; dropping it leaves nothing behind.
pub struct Incomplete {
    id: UploadId,
    number: u64,
    body: Body,
    hasher: blake3::Hasher,
}

impl Incomplete {
    /// Takes the next bytes. Blocking.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.body.write(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Bytes that came so far.
    pub fn received(&self) -> u64 {
        self.body.received()
    }

    /// Ends the part, which must be as long as was said; it is durable on return. Blocking.
    pub fn finish(self) -> Result<Part, Refusal> {
        self.body.is_whole()?;
        self.keep()
    }

    /// Ends the part with what came of it, however little was said to come: for dialects that go on from there. Blocking.
    pub fn keep(self) -> Result<Part, Refusal> {
        let Self { id, number, mut body, hasher } = self;
        let part = Part { number, size: body.received() };
        body.append(hasher.finalize().as_bytes())?;
        let (pool, primary) = (Arc::clone(&body.pool), Arc::clone(&body.primary));
        let lock = pool.uploads.of(&id);
        let (mut synced, _promise) = body.sync(pool.now())?;
        let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Given up, or put together, by another request meanwhile.
        unfinished(&primary, &id)?;
        let (volume, place) = (&primary.attached.volume, Place::part(&id, number));
        // All its bytes are with the drive before it has a name, and the flush of the directory makes both durable: after a power cut
        // the part is there whole, its hash at its end, or, if it was not acknowledged, perhaps not at all. Of one that
        // is sent again the name changes hands in one step.
        let named = match synced.publish(&place) {
            Err(VolumeError::Exists { .. }) => synced.publish_over(&place),
            other => other,
        };
        named.and_then(|()| volume.sync_dir(&Place::upload(&id))).map_err(|e| refuse(&primary, e))?;
        Ok(part)
    }
}

/// One part into the whole. If its bytes are not those that came, it and all behind it are thrown away: every client can go on from
/// the end of what is there.
fn pour(
    primary: &Primary,
    id: &UploadId,
    part: Part,
    all: &[Part],
    into: &mut Incoming,
) -> Result<(), Refusal> {
    let volume = &*primary.attached.volume;
    let heed = |e| Refusal::Drive(primary.attached.heed(e));
    let mut reader = volume.open(&Place::part(id, part.number)).map_err(heed)?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE];
    let (mut offset, mut seal) = (0, Vec::new());
    loop {
        let read = reader.read_at(&mut piece, offset).map_err(heed)?;
        if read == 0 {
            break;
        }
        let left = usize::try_from(part.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (bytes, rest) = piece[..read].split_at(left.min(read));
        hasher.update(bytes);
        seal.extend_from_slice(rest);
        into.write(bytes)?;
        offset += read as u64;
    }
    if seal == hasher.finalize().as_bytes() {
        return Ok(());
    }
    for bad in all.iter().filter(|other| other.number >= part.number) {
        volume.discard(&Place::part(id, bad.number)).map_err(heed)?;
    }
    log::error!("part {} of an upload was damaged on the drive, and is to be sent again", part.number);
    Err(Refusal::Unavailable { why: "a part was damaged on the drive, and is to be sent again".to_owned() })
}

/// Puts the outcome on record, then throws the parts away.
fn conclude(
    volume: &dyn Volume,
    id: &UploadId,
    assembled: &Assembled,
    parts: &[Part],
) -> Result<(), VolumeError> {
    let place = Place::upload_assembled(id);
    let text = serde_json::to_vec(assembled).map_err(|e| VolumeError::Io {
        op: "write",
        place: place.clone(),
        source: e.into(),
    })?;
    put(volume, &place, &text, assembled.at)?;
    parts.iter().try_for_each(|part| volume.discard(&Place::part(id, part.number)))
}

/// One that is not put together yet.
fn unfinished(primary: &Primary, id: &UploadId) -> Result<Upload, Refusal> {
    look(primary, id)?.filter(|upload| upload.assembled.is_none()).ok_or(Refusal::NotFound)
}

fn look(primary: &Primary, id: &UploadId) -> Result<Option<Upload>, Refusal> {
    let volume = &*primary.attached.volume;
    let entries = match volume.survey(&Place::upload(id), &mut || ()) {
        Err(VolumeError::NotFound { .. }) => return Ok(None),
        found => found.map_err(|e| refuse(primary, e))?,
    };
    let Some(said) = note(primary, &Place::upload_said(id))? else { return Ok(None) };
    let assembled = note(primary, &Place::upload_assembled(id))?;
    let part = |(entry, stat): (Entry, Option<Stat>)| {
        let number = Part::number_of(entry.name.as_deref()?)?;
        Some(Part { number, size: stat?.size.checked_sub(SEAL)? })
    };
    let mut parts: Vec<Part> = entries.into_iter().filter_map(part).collect();
    parts.sort_unstable();
    if assembled.is_some() {
        parts.clear();
    }
    Ok(Some(Upload { said, parts, assembled }))
}

/// A note of ours; `None` if it is not there, or not what we write.
fn note<T: serde::de::DeserializeOwned>(primary: &Primary, place: &Place) -> Result<Option<T>, Refusal> {
    let mut text = vec![0; 4 * MOST_NOTES];
    let read = primary.attached.volume.open(place).and_then(|mut file| file.read_at(&mut text, 0));
    match read {
        Ok(read) => Ok(serde_json::from_slice(&text[..read]).ok()),
        Err(VolumeError::NotFound { .. }) => Ok(None),
        Err(e) => Err(refuse(primary, e)),
    }
}

/// Writes a note, durable on return.
fn put(volume: &dyn Volume, place: &Place, text: &[u8], now: Timestamp) -> Result<(), VolumeError> {
    let mut staged = volume.stage(Some(text.len() as u64))?;
    staged.write(text)?;
    let mut synced = staged.sync(Some(now))?;
    match synced.publish(place) {
        Err(VolumeError::Exists { .. }) => synced.publish_over(place)?,
        other => other?,
    }
    volume.sync_dir(&place.parent().unwrap_or_else(Place::root))
}

/// All uploads there are.
fn uploads(volume: &dyn Volume) -> Result<Vec<UploadId>, VolumeError> {
    match volume.list(&Place::uploads()) {
        Ok(entries) => Ok(entries.into_iter().filter_map(|entry| entry.name?.parse().ok()).collect()),
        Err(VolumeError::NotFound { .. }) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Removes all there is of an upload. What was said of it first, durably: without that it is none, and a power cut in the middle
/// leaves no upload that lost its end.
fn clear(volume: &dyn Volume, id: &UploadId) -> Result<(), VolumeError> {
    let dir = Place::upload(id);
    let entries = match volume.list(&dir) {
        Err(VolumeError::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    match volume.discard(&Place::upload_said(id)) {
        Ok(()) => volume.sync_dir(&dir)?,
        Err(VolumeError::NotFound { .. }) => {}
        Err(e) => return Err(e),
    }
    for entry in entries {
        let Some(file) = entry.name.as_deref().and_then(|name| dir.entry(name)) else { continue };
        match volume.discard(&file) {
            Ok(()) | Err(VolumeError::NotFound { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    volume.remove_dir(&dir)
}

/// Throws away what nobody went on with, and outcomes that nobody asks for any more.
pub(super) fn sweep(pool: &Pool, primary: &Primary, now: Timestamp) -> Result<(), Refusal> {
    let volume = &*primary.attached.volume;
    for id in uploads(volume).map_err(|e| refuse(primary, e))? {
        let lock = pool.uploads.of(&id);
        let Some(_alone) = try_lock(&lock) else { continue };
        let entries = volume.survey(&Place::upload(&id), &mut || ()).map_err(|e| refuse(primary, e))?;
        let last = entries.iter().filter_map(|(_, stat)| Some(stat.as_ref()?.mtime)).max();
        let assembled = note::<Assembled>(primary, &Place::upload_assembled(&id))?.is_some();
        if is_over(last, assembled, now) {
            clear(volume, &id).map_err(|e| refuse(primary, e))?;
        }
    }
    Ok(())
}

/// The lock, unless somebody works on it.
fn try_lock(lock: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    match lock.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
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
