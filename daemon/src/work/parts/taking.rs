//! Parts on their way in: appended to those before them, or as files of their own.
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::lying::read_through;
use super::remembering::Remembered;
use super::{Growing, Stage, put, refuse, stage};
use crate::model::hash::{Also, ContentHash, Hasher};
use crate::model::place::Place;
use crate::model::upload::{Appended, HashOf, Part, UploadId};
use crate::store::volume::{Synced, VolumeError};
use crate::work::body::Body;
use crate::work::error::Refusal;
use crate::work::hashing::Hashing;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::quotas::Promise;

/// A part of which nobody knows yet whose it is; dropping it leaves nothing behind.
pub struct Loose {
    pub(super) body: Body,
    hashing: Hashing,
}

impl Loose {
    pub(super) fn over(body: Body) -> Self {
        Self { body, hashing: Hashing::new(Also::default(), &[], 0) }
    }

    /// Takes the next bytes. Blocking.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.hashing.is_shared() {
            return self.take(&Bytes::copy_from_slice(bytes));
        }
        self.body.write(bytes)?;
        self.hashing.update(bytes);
        Ok(())
    }

    fn take(&mut self, bytes: &Bytes) -> Result<(), Refusal> {
        self.hashing.share(&self.body.pool.hashers, bytes);
        self.body.write(bytes)?;
        self.hashing.update(bytes);
        Ok(())
    }

    /// Bytes that came so far.
    pub fn received(&self) -> u64 {
        self.body.received()
    }
}

/// A part under way; dropping it leaves nothing behind.
pub struct Incomplete {
    id: UploadId,
    number: u64,
    loose: Loose,
    /// What was appended under this number before, and to what.
    again: Option<(Appended, Place)>,
    /// It is appended itself.
    growth: Option<Growth>,
}

/// Where a part is appended.
struct Growth {
    at: u64,
    /// Of the file, which may have lost its name since.
    inode: u64,
    /// Of what its hash is: of all so far, if the hashes of what was there are remembered.
    of: HashOf,
    /// Before the right to the file goes to somebody else.
    remembered: Remembered,
    _alone: Growing,
}

impl Incomplete {
    /// A part that becomes a file of its own.
    pub(super) fn apart(id: UploadId, number: u64, loose: Loose, again: Option<(Appended, Place)>) -> Self {
        Self { id, number, loose, again, growth: None }
    }

    /// A part that goes behind the first `at` bytes of the growing file. `None`: somebody else appends just now, or nobody may.
    pub(super) fn append(
        pool: &Arc<Pool>,
        primary: &Arc<Primary>,
        (id, number): (&UploadId, u64),
        (at, also): (u64, Also),
        size: Option<u64>,
    ) -> Result<Option<Self>, Refusal> {
        let Some(alone) = pool.uploads.claim(id) else { return Ok(None) };
        let file = Place::upload_whole(id);
        // Before the file is touched.
        let known = match at {
            0 => Some(Hasher::new(also, &[])),
            at => pool.uploads.memories.recall(primary, id, at, pool.now()),
        };
        // Of the first part both are the same.
        let of = if known.is_some() && at > 0 { HashOf::AllSoFar } else { HashOf::Part };
        let remembered = Remembered::new(pool, primary, id, known.clone());
        let body = match Body::behind(pool, Arc::clone(primary), (&file, at), size) {
            Err(Refusal::Drive(VolumeError::Unsupported { .. })) => return Ok(None),
            body => body?,
        };
        let hasher = known.unwrap_or_else(|| Hasher::new(Also::default(), &[]));
        let loose = Loose { body, hashing: Hashing::from(hasher, size.unwrap_or(0)) };
        let inode = primary.attached.volume.stat(&file).map_err(|e| refuse(primary, e))?.inode;
        let growth = Some(Growth { at, inode, of, remembered, _alone: alone });
        Ok(Some(Self { id: id.clone(), number, loose, again: None, growth }))
    }

    pub(super) fn promise(&mut self, promise: Option<Promise>) {
        self.loose.body.promise = promise;
    }

    /// Takes the next bytes. Blocking.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let written = self.loose.write(bytes);
        self.heard(written)
    }

    /// The same for bytes that can be shared with another thread as they are. Blocking.
    pub fn take(&mut self, bytes: &Bytes) -> Result<(), Refusal> {
        let written = self.loose.take(bytes);
        self.heard(written)
    }

    fn heard(&self, written: Result<(), Refusal>) -> Result<(), Refusal> {
        if let (Err(Refusal::Drive(_)), Some(growth)) = (&written, &self.growth) {
            // A wait for what is written behind was told of lost bytes, and nobody else is.
            close(&self.loose.body.pool, &self.loose.body.primary, &self.id, growth.inode);
        }
        written
    }

    /// Bytes that came so far.
    pub fn received(&self) -> u64 {
        self.loose.received()
    }

    /// Ends the part, which must be as long as was said; it is durable on return. Blocking.
    pub fn finish(self) -> Result<Part, Refusal> {
        self.loose.body.is_whole()?;
        self.keep()
    }

    /// Ends the part with what came of it, however little was said to come: for dialects that go on from there. Blocking.
    pub fn keep(self) -> Result<Part, Refusal> {
        let Some(growth) = self.growth else {
            let Self { id, number, loose, again, .. } = self;
            return keep_apart(&id, number, loose, again);
        };
        let Self { id, number, loose: Loose { body, hashing }, .. } = self;
        let part = Part { number, size: body.received() };
        let (pool, primary) = (Arc::clone(&body.pool), Arc::clone(&body.primary));
        let (turns, now, ended) = (pool.uploads.of(&id), pool.now(), hashing.end());
        let synced = body.sync(now);
        if synced.is_err() {
            close(&pool, &primary, &id, growth.inode);
        }
        synced?;
        let Growth { at: offset, inode, of, mut remembered, _alone: right } = growth;
        let hasher = ended.hasher()?;
        let appended = Appended { part, offset, hash: hasher.content_so_far(), of };
        let alone = turns.work();
        recorded(&primary, &id, &appended, Some(inode), now)?;
        drop(alone);
        remembered.grown((offset + part.size == hasher.size()).then_some(hasher));
        drop((remembered, right));
        Ok(part)
    }
}

/// Ends a part that is a file of its own.
fn keep_apart(
    id: &UploadId,
    number: u64,
    Loose { mut body, hashing }: Loose,
    again: Option<(Appended, Place)>,
) -> Result<Part, Refusal> {
    let part = Part { number, size: body.received() };
    let hash = hashing.end().hasher()?.content_so_far();
    let (pool, primary) = (Arc::clone(&body.pool), Arc::clone(&body.primary));
    let (turns, now) = (pool.uploads.of(id), pool.now());
    if let Some((before, grown)) = again.filter(|(before, _)| before.part == part)
        && hash_of(&primary, &before, &grown)? == Some(hash)
    {
        let _alone = turns.work();
        return recorded(&primary, id, &before, None, now).map(|()| part);
    }
    body.append(hash.as_bytes())?;
    let (synced, _promise) = body.sync(now)?;
    let _alone = turns.work();
    named(&primary, id, number, synced).map(|()| part)
}

/// Ends the first part of an upload, as the growing file where nothing has grown yet: a photo that has no other part is not written again.
pub(super) fn keep_first(id: &UploadId, loose: Loose) -> Result<Part, Refusal> {
    const NUMBER: u64 = 1;
    let (pool, primary) = (Arc::clone(&loose.body.pool), Arc::clone(&loose.body.primary));
    let (whole, volume) = (Place::upload_whole(id), &*primary.attached.volume);
    let right = pool.uploads.claim(id);
    let is_empty = match volume.stat(&whole) {
        Ok(stat) => stat.size == 0,
        Err(VolumeError::NotFound { .. }) => false,
        Err(e) => return Err(refuse(&primary, e)),
    };
    if right.is_none() || !is_empty {
        return keep_apart(id, NUMBER, loose, None);
    }
    let Loose { body, hashing } = loose;
    let part = Part { number: NUMBER, size: body.received() };
    let (turns, now, ended) = (pool.uploads.of(id), pool.now(), hashing.end());
    let (mut synced, _promise) = body.sync(now)?;
    let hasher = ended.hasher()?;
    let appended = Appended { part, offset: 0, hash: hasher.content_so_far(), of: HashOf::Part };
    let alone = turns.work();
    is_open(&primary, id)?;
    // All its bytes are with the drive before it has this name, in the place of a file that has none. The record comes behind, and both names
    // are durable by the flush of their directory: what a power cut leaves is all of it, or no record.
    synced.publish_over(&whole).map_err(|e| refuse(&primary, e))?;
    let inode = volume.stat(&whole).map_err(|e| refuse(&primary, e))?.inode;
    recorded(&primary, id, &appended, Some(inode), now)?;
    drop((synced, alone));
    drop(Remembered::new(&pool, &primary, id, Some(hasher)));
    drop(right);
    Ok(part)
}

/// What the bytes of a part are that was appended: by its record, or as they are there now, where that tells of more than them. `None`: there
/// are fewer.
fn hash_of(primary: &Primary, appended: &Appended, grown: &Place) -> Result<Option<ContentHash>, Refusal> {
    if appended.of == HashOf::Part {
        return Ok(Some(appended.hash));
    }
    let mut hasher = Hasher::new(Also::default(), &[]);
    let mut reader = primary.attached.volume.open(grown).map_err(|e| refuse(primary, e))?;
    let end = appended.end().unwrap_or(appended.offset);
    let is_there = read_through(primary, &mut *reader, appended.offset..end, &mut |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(is_there.then(|| hasher.content_so_far()))
}

/// Puts on record what was appended, to the file of this number if it is new. It is on its drive by now.
fn recorded(
    primary: &Primary,
    id: &UploadId,
    appended: &Appended,
    new_in: Option<u64>,
    now: Timestamp,
) -> Result<(), Refusal> {
    is_open(primary, id)?;
    let (volume, place) = (&*primary.attached.volume, Place::appended(id, appended));
    let heed = |e| refuse(primary, e);
    let is_there = |place: &Place| match volume.stat(place) {
        Ok(stat) => Ok(Some(stat.inode)),
        Err(VolumeError::NotFound { .. }) => Ok(None),
        Err(e) => Err(heed(e)),
    };
    let holds = match new_in {
        // Begun anew, its bytes went with the file that lost its name; a file of its own under the number would be what counts.
        Some(inode) => {
            is_there(&Place::upload_whole(id))? == Some(inode)
                && is_there(&Place::part(id, appended.part.number))?.is_none()
        }
        None => is_there(&place)?.is_some(),
    };
    if !holds {
        return Err(Refusal::Unavailable {
            why: "this part came twice at once, and is to be sent again".to_owned(),
        });
    }
    // The record comes behind the bytes: they, and the length of the file, were flushed before it has a name. The flush of the directory
    // makes the name durable, and is the last thing before the answer. After a power cut either all of it is there, or no record, and
    // what lies in the file behind the last record is litter. A record that was made before, and perhaps not
    // flushed, is made again.
    put(volume, &place, b"", now).map_err(heed)
}

/// Gives a part that is a file of its own its name.
fn named(primary: &Primary, id: &UploadId, number: u64, mut synced: Box<dyn Synced>) -> Result<(), Refusal> {
    is_open(primary, id)?;
    let (volume, place) = (&primary.attached.volume, Place::part(id, number));
    // All its bytes are with the drive before it has a name, and the flush of the directory makes both durable: after a power cut
    // the part is there whole, its hash at its end, or, if it was not acknowledged, perhaps not at all. Of one that
    // is sent again the name changes hands in one step; one that was appended counts no more.
    let named = match synced.publish(&place) {
        Err(VolumeError::Exists { .. }) => synced.publish_over(&place),
        other => other,
    };
    named.and_then(|()| volume.sync_dir(&Place::upload(id))).map_err(|e| refuse(primary, e))
}

/// Given up, or put together, by another request meanwhile, it takes no part any more.
fn is_open(primary: &Primary, id: &UploadId) -> Result<(), Refusal> {
    if stage(primary, id)? == Stage::Open { Ok(()) } else { Err(Refusal::NotFound) }
}

/// Ends the growth of a file of which a flush failed: the kernel takes lost pages for clean, and a second flush would not hear of them
/// (invariant I5). What was on record by then was flushed; it is read from there, and what comes is kept apart.
/// The other name has to outlive this program, and not this mount of the drive: after that memory knows nothing that the
/// medium does not. So it needs no flush.
pub(super) fn close(pool: &Pool, primary: &Primary, id: &UploadId, inode: u64) {
    pool.uploads.closed().insert(id.clone());
    let volume = &*primary.attached.volume;
    let (grown, closed) = (Place::upload_whole(id), Place::upload_closed(id));
    if volume.stat(&grown).is_ok_and(|stat| stat.inode == inode)
        && let Err(e) = volume.rename_new(&grown, &closed)
    {
        log::warn!(
            "what a flush failed of keeps its name until the drive is mounted anew: {}",
            primary.attached.heed(e)
        );
    }
}
