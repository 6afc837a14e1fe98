//! Room for uploads on the primary. Where a filesystem can set nothing aside for a file (exFAT), what was announced and is not
//! written yet is counted here: of uploads that come at once, only those are let in for which there is room together.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;

/// Of uploads under way.
#[derive(Default)]
pub(super) struct Room {
    /// Announced and not written, bytes, where the drive keeps no room for them.
    announced: Mutex<u64>,
    /// One at a time asks for the second time.
    again: Mutex<()>,
}

/// What one upload announced and has not written; given back when this is dropped.
pub(super) struct Aside {
    pool: Arc<Pool>,
    left: u64,
}

impl Room {
    fn announced(&self) -> MutexGuard<'_, u64> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever was refused beside others that were asking waits here, and asks once more.
    pub(super) fn again(&self) -> MutexGuard<'_, ()> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// What uploads may take now that have no room yet.
    pub(super) fn space_for_uploads(&self, primary: &Primary) -> Result<u64, Refusal> {
        let announced = *self.room.announced();
        Ok(self.measure_for_uploads(primary)?.saturating_sub(announced))
    }

    /// Counts what an upload announced, if there is room for it beside the others.
    pub(super) fn set_aside(self: &Arc<Self>, primary: &Primary, needed: u64) -> Result<Aside, Refusal> {
        let mut announced = self.room.announced();
        let available = self.measure_for_uploads(primary)?.saturating_sub(*announced);
        if needed > available {
            return Err(Refusal::Full { needed, available });
        }
        *announced += needed;
        Ok(Aside { pool: Arc::clone(self), left: needed })
    }
}

impl Aside {
    /// So much of it is about to be written.
    pub(super) fn take(&mut self, bytes: u64) {
        let taken = self.left.min(bytes);
        self.left -= taken;
        let mut announced = self.pool.room.announced();
        *announced = announced.saturating_sub(taken);
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.take(self.left);
    }
}
