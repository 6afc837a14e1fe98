//! Whether a drive was let go: shared by the drive and everything that was opened on it.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::place::Place;
use crate::store::volume::VolumeError;

/// Open, until it is closed for good.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<AtomicBool>);

impl Gate {
    /// From now on nothing passes.
    pub(super) fn close(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether an operation may still be begun. One that was is carried out: letting go is no yanking.
    pub(super) fn pass(&self, op: &'static str, place: &Place) -> Result<(), VolumeError> {
        if self.0.load(Ordering::Acquire) {
            let why = "it was ejected".to_owned();
            return Err(VolumeError::Gone { op, place: place.clone(), why });
        }
        Ok(())
    }
}
