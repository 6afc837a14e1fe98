//! What is remembered of uploads while the box runs: the hashes of all that was appended so far, so that the end of a film needs no
//! second look at it.
//!
//! It holds only as long as memory held all of the file since it was hashed, and nobody wrote to it: then a read at the end would have been
//! given just what was hashed, and nothing of the medium. Otherwise it is forgotten, and the file is read, from the medium where memory
//! has it no more: what rotted while it waited is found then, as it is after a restart.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;

use crate::model::hash::Hasher;
use crate::model::place::Place;
use crate::model::upload::UploadId;
use crate::plan::parts::{MOST_REMEMBERED, is_remembered};
use crate::store::volume::Footprint;
use crate::work::pool::Pool;
use crate::work::primary::Primary;

/// Of all uploads.
#[derive(Default)]
pub(super) struct Memories(Mutex<HashMap<UploadId, Memory>>);

/// Of one.
struct Memory {
    /// Another mount of the drive has nothing in memory.
    primary: Weak<Primary>,
    footprint: Footprint,
    hasher: Hasher,
    at: Timestamp,
}

impl Memories {
    /// The hashes of the growing file, which is so long; it is forgotten by this.
    pub(super) fn recall(
        &self,
        primary: &Arc<Primary>,
        id: &UploadId,
        size: u64,
        now: Timestamp,
    ) -> Option<Hasher> {
        let Memory { primary: of, footprint, hasher, at } =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id)?;
        let holds = hasher.size() == size
            && is_remembered(at, now)
            && std::ptr::eq(of.as_ptr(), Arc::as_ptr(primary))
            && look(primary, id) == Some(footprint);
        holds.then_some(hasher)
    }

    fn keep(&self, primary: &Arc<Primary>, id: &UploadId, hasher: Hasher, now: Timestamp) {
        let Some(footprint) = look(primary, id).filter(|is| is.size == hasher.size()) else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, memory| is_remembered(memory.at, now));
        if all.len() >= MOST_REMEMBERED
            && let Some(oldest) = all.iter().min_by_key(|(_, memory)| memory.at).map(|(id, _)| id.clone())
        {
            all.remove(&oldest);
        }
        all.insert(id.clone(), Memory { primary: Arc::downgrade(primary), footprint, hasher, at: now });
    }
}

fn look(primary: &Primary, id: &UploadId) -> Option<Footprint> {
    primary.attached.volume.open(&Place::upload_whole(id)).ok()?.footprint()
}

/// The hashes of the growing file while it is written to; dropped, they are remembered, if they are of all that is there then: what broke
/// off in the middle is cut off again by that time.
pub(super) struct Remembered {
    pool: Arc<Pool>,
    primary: Arc<Primary>,
    id: UploadId,
    hasher: Option<Hasher>,
}

impl Remembered {
    pub(super) fn new(
        pool: &Arc<Pool>,
        primary: &Arc<Primary>,
        id: &UploadId,
        hasher: Option<Hasher>,
    ) -> Self {
        Self { pool: Arc::clone(pool), primary: Arc::clone(primary), id: id.clone(), hasher }
    }

    /// It is longer now, durably, and on record.
    pub(super) fn grown(&mut self, hasher: Option<Hasher>) {
        self.hasher = hasher;
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        if let Some(hasher) = self.hasher.take() {
            self.pool.uploads.memories.keep(&self.primary, &self.id, hasher, self.pool.now());
        }
    }
}
