//! The census: what the catalogue says of every drive, counted by whoever looks after the primary, once its probe came back.
//!
//! Counting may wait for the drive. The minute check reads the last count and waits for nobody.
use std::sync::{Arc, PoisonError};

use crate::model::drive::{DriveId, DriveRole};
use crate::plan::facts::CatalogueFacts;
use crate::plan::scrubbing;
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Wake};
use crate::work::primary::Primary;

/// What was counted.
#[derive(Debug, Clone)]
pub(super) struct Census {
    /// How the catalogue answered.
    pub(super) catalogue: CatalogueFacts,
    /// Every drive it knows, there or not.
    pub(super) drives: Vec<(DriveId, DriveRole)>,
    /// Of everybody with a quota: bytes used, and the quota.
    pub(super) quotas: Vec<(u64, u64)>,
}

impl Pool {
    /// Counts. Blocking, as long as the primary takes.
    pub fn take_census(&self) -> Result<(), Refusal> {
        let primary = self.primary()?;
        drop(self.record_seen());
        let quotas = self.quotas_used(&primary).unwrap_or_default();
        let counted = self.count(&primary);
        let trouble = |e: &Refusal| CatalogueFacts::Trouble { why: e.to_string() };
        let census = match &counted {
            Ok(drives) => Census { catalogue: CatalogueFacts::Open, drives: drives.clone(), quotas },
            Err(e) => Census { catalogue: trouble(e), drives: Vec::new(), quotas },
        };
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = Some(census);
        self.wake(Wake::Health);
        counted.map(drop)
    }

    fn count(&self, primary: &Arc<Primary>) -> Result<Vec<(DriveId, DriveRole)>, Refusal> {
        let now = self.now();
        let drives = primary.catalogue.read(|r| r.drives())?;
        for drive in &drives {
            self.set_tally(
                drive.id,
                primary.catalogue.read(|r| r.tally(drive.id, scrubbing::overdue_before(now)))?,
            );
        }
        // Said at once, long before the first deletion would reach another drive.
        self.count_held(primary)?;
        Ok(drives.into_iter().map(|drive| (drive.id, drive.role)).collect())
    }

    pub(super) fn census(&self) -> Option<Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
