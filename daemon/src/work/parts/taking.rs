//! Parts on their way in: appended to those before them, or as files of their own.
use std::sync::Arc;

use jiff::Timestamp;

use super::{Growing, Stage, put, refuse, stage};
use crate::model::hash::ContentHash;
use crate::model::place::Place;
use crate::model::upload::{Appended, Part, UploadId};
use crate::store::volume::{Synced, VolumeError};
use crate::work::body::Body;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::quotas::Promise;

/// A part of which nobody knows yet whose it is; dropping it leaves nothing behind.
pub struct Loose {
    pub(super) body: Body,
    hasher: blake3::Hasher,
}

impl Loose {
    pub(super) fn over(body: Body) -> Self {
        Self { body, hasher: blake3::Hasher::new() }
    }

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
}

/// A part under way; dropping it leaves nothing behind.
pub struct Incomplete {
    id: UploadId,
    number: u64,
    loose: Loose,
    /// What was appended under this number before.
    again: Option<Appended>,
    /// It is appended itself.
    growth: Option<Growth>,
}

/// Where a part is appended.
struct Growth {
    at: u64,
    /// Of the file, which may have lost its name since.
    inode: u64,
    _alone: Growing,
}

impl Incomplete {
    /// A part that becomes a file of its own.
    pub(super) fn apart(id: UploadId, number: u64, loose: Loose, again: Option<Appended>) -> Self {
        Self { id, number, loose, again, growth: None }
    }

    /// A part that goes behind the first `at` bytes of the growing file. `None`: somebody else appends just now, or nobody may.
    pub(super) fn append(
        pool: &Arc<Pool>,
        primary: &Arc<Primary>,
        id: &UploadId,
        number: u64,
        at: u64,
        size: Option<u64>,
    ) -> Result<Option<Self>, Refusal> {
        let Some(alone) = pool.uploads.claim(id) else { return Ok(None) };
        let file = Place::upload_whole(id);
        let loose = match Body::behind(pool, Arc::clone(primary), (&file, at), size) {
            Err(Refusal::Drive(VolumeError::Unsupported { .. })) => return Ok(None),
            body => Loose::over(body?),
        };
        let inode = primary.attached.volume.stat(&file).map_err(|e| refuse(primary, e))?.inode;
        let growth = Some(Growth { at, inode, _alone: alone });
        Ok(Some(Self { id: id.clone(), number, loose, again: None, growth }))
    }

    pub(super) fn promise(&mut self, promise: Option<Promise>) {
        self.loose.body.promise = promise;
    }

    /// Takes the next bytes. Blocking.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let written = self.loose.write(bytes);
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
        let Self { id, number, loose: Loose { mut body, hasher }, again, growth } = self;
        let part = Part { number, size: body.received() };
        let hash = ContentHash::from_bytes(*hasher.finalize().as_bytes());
        let (pool, primary) = (Arc::clone(&body.pool), Arc::clone(&body.primary));
        let (turns, now) = (pool.uploads.of(&id), pool.now());
        if let Some(same) = again.filter(|before| before.part == part && before.hash == hash) {
            let _alone = turns.work();
            return recorded(&primary, &id, &same, None, now).map(|()| part);
        }
        if growth.is_none() {
            body.append(hash.as_bytes())?;
        }
        let synced = body.sync(now);
        if let (Err(_), Some(growth)) = (&synced, &growth) {
            close(&pool, &primary, &id, growth.inode);
        }
        let (synced, _promise) = synced?;
        let _alone = turns.work();
        match growth {
            Some(Growth { at, inode, .. }) => {
                recorded(&primary, &id, &Appended { part, offset: at, hash }, Some(inode), now)
            }
            None => named(&primary, &id, number, synced),
        }
        .map(|()| part)
    }
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
