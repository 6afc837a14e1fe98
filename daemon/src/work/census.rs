//! The census: what the catalogue says of every drive, counted by whoever looks after the primary, once its probe came back.
//!
//! Counting may wait for the drive. The minute check reads the last count and waits for nobody.
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::model::drive::{DriveId, DriveRole};
use crate::os::clock;
use crate::plan::facts::{CatalogueFacts, LostFacts};
use crate::plan::{forecasting, scrubbing};
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Slot, Wake};
use crate::work::primary::Primary;
use crate::work::record;

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Census {
    /// How the catalogue answered.
    pub(super) catalogue: CatalogueFacts,
    /// Every drive it knows, there or not; of an offline drive that is away, when it was last read from.
    pub(super) drives: Vec<(DriveId, DriveRole, Option<Timestamp>)>,
    /// Of everybody with a quota: bytes used, and the quota.
    pub(super) quotas: Vec<(u64, u64)>,
    /// What the primary lost of its record.
    pub(super) lost: Option<LostFacts>,
}

/// How much came on which day, and when the first photo came.
pub(super) struct Inflow {
    counted: Instant,
    days: Vec<forecasting::Day>,
    first: Option<Timestamp>,
}

/// It is counted again so often.
const INFLOW_KEPT: Duration = Duration::from_secs(3600);

impl Pool {
    /// Counts. Blocking, as long as the primary takes.
    pub fn take_census(&self) -> Result<(), Refusal> {
        let primary = self.primary()?;
        let before = self.counted();
        drop(self.record_seen());
        if let Err(e) = self.save_incidents(&primary) {
            log::warn!("{e}");
        }
        let quotas = self.quotas_used(&primary).unwrap_or_default();
        let counted = self.count(&primary);
        let trouble = |e: &Refusal| CatalogueFacts::Trouble { why: e.to_string() };
        let lost = record::lost_of(&primary).unwrap_or_default();
        let census = match &counted {
            Ok(drives) => Census { catalogue: CatalogueFacts::Open, drives: drives.clone(), quotas, lost },
            Err(e) => Census { catalogue: trouble(e), drives: Vec::new(), quotas, lost },
        };
        self.forecast(&primary);
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = Some(census);
        // Nobody is woken to hear that all is as it was.
        if self.counted() != before {
            self.wake(Wake::Health);
        }
        counted.map(drop)
    }

    /// What findings are about, of all that a census counts.
    fn counted(&self) -> impl PartialEq + use<> {
        let of_slot = |slot: &Slot| (slot.tally, slot.full_in, slot.space.map(|space| space.percent_used()));
        let slots: Vec<_> = self.slot_views().iter().map(of_slot).collect();
        (self.census(), slots, self.held())
    }

    fn count(&self, primary: &Arc<Primary>) -> Result<Vec<(DriveId, DriveRole, Option<Timestamp>)>, Refusal> {
        let drives = primary.catalogue.read(|r| r.drives())?;
        for drive in &drives {
            self.count_copies(primary, drive.id, self.is_reread_stale(drive.id))?;
        }
        // Said at once, long before the first deletion would reach another drive.
        self.count_held(primary)?;
        let last = |id| primary.catalogue.read(|r| r.last_reread(id));
        let mut counted = Vec::with_capacity(drives.len());
        for drive in drives {
            let away = drive.role == DriveRole::Offline && self.attached(drive.id).is_none();
            counted.push((drive.id, drive.role, if away { last(drive.id)? } else { None }));
        }
        Ok(counted)
    }

    /// Counts one drive's copies, and what of them is due to be re-read, if `reread`.
    pub(super) fn count_copies(
        &self,
        primary: &Primary,
        drive: DriveId,
        reread: bool,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let tally = primary.catalogue.read(|r| r.tally(drive, scrubbing::overdue_before(now)))?;
        self.set_tally(drive, tally);
        if !reread {
            return Ok(());
        }
        let (began, lots) = (clock::monotonic(), scrubbing::lots(now));
        let backlog = primary.catalogue.read(|r| r.backlog(drive, &scrubbing::due(now), &lots))?;
        let copies = tally.settled + tally.verified;
        self.set_reread(drive, began, |held| {
            scrubbing::forecast(&backlog, copies, tally.read_back_since, held, now)
        });
        Ok(())
    }

    /// Says of every drive in about how many days it is full. Without a count, what was said before holds.
    fn forecast(&self, primary: &Primary) {
        let (now, counting) = (self.now(), clock::monotonic());
        let mut inflow = self.inflow.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |inflow: &Inflow| counting.saturating_duration_since(inflow.counted) < INFLOW_KEPT;
        if !inflow.as_ref().is_some_and(fresh) {
            let span = SignedDuration::from_hours(24 * forecasting::LONG);
            let from = now.saturating_sub(span).unwrap_or(Timestamp::MIN);
            let Ok((days, first)) = primary.catalogue.read(|r| r.received_by_day(from)) else { return };
            *inflow = Some(Inflow { counted: counting, days, first });
        }
        let Some(Inflow { days, first: Some(first), .. }) = &*inflow else { return };
        let (first, today) = (forecasting::day(*first), forecasting::day(now));
        self.set_forecast(|room| forecasting::full_in(room, days, first, today));
    }

    pub(super) fn census(&self) -> Option<Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
