//! The brake as it stands: what is on record of changes and of what vanished, weighed by [`crate::plan::braking`] as it comes.
//!
//! Nothing of it is kept but in memory: it follows from the catalogue, and so from the primary's manifest and files.
use std::sync::{Arc, PoisonError, Weak};

use jiff::Timestamp;

use crate::model::drive::DriveId;
use crate::plan::braking::{Alarm, Scales, Vanished};
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Wake};
use crate::work::primary::Primary;

/// What was weighed so far.
#[derive(Default)]
pub(super) struct Braking {
    /// Whose record it is.
    primary: Weak<Primary>,
    scales: Scales,
    /// The last change weighed.
    seen: i64,
    alarm: Option<Alarm>,
}

/// What the brake holds, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// When it began.
    pub(super) since: Timestamp,
    /// Files that are gone.
    pub(super) vanished: u64,
    /// Files that have other bytes.
    pub(super) changed: u64,
    /// Files that were deleted.
    pub(super) deleted: u64,
}

impl Pool {
    /// Whether too much was changed or vanished at once and nobody has answered for it yet: then nothing is removed from, or
    /// replaced on, any drive but the primary, and nothing leaves a trash.
    pub(super) fn alarm(&self, primary: &Arc<Primary>) -> Result<Option<Alarm>, Refusal> {
        const PAGE: usize = 1000;
        let id = primary.attached.id();
        let mut braking = self.braking.lock().unwrap_or_else(PoisonError::into_inner);
        let (missing, newest) = primary.catalogue.read(|r| Ok((r.count_missing(id)?, r.newest_change()?)))?;
        let weighed = braking.scales.vanished().map_or(0, |v| v.files);
        let same = std::ptr::eq(braking.primary.as_ptr(), Arc::as_ptr(primary));
        if !same || missing != weighed || newest < braking.seen {
            let since = primary.catalogue.read(|r| r.missing_since(id))?;
            let vanished = since.map(|m| Vanished { files: m.count, first: m.first, last: m.last });
            let primary = Arc::downgrade(primary);
            *braking = Braking { primary, scales: Scales::new(vanished), ..Braking::default() };
        } else if newest == braking.seen {
            return Ok(braking.alarm);
        }
        let (brake, all) = (self.options().brake, self.files_on(primary, id)?);
        while braking.seen < newest {
            let seen = braking.seen;
            let page = primary.catalogue.read(|r| r.changes_after(seen, PAGE))?;
            let Some((last, ..)) = page.last() else { break };
            braking.seen = *last;
            for (change, at, name) in page {
                braking.scales.take(change, at, name, brake, all);
            }
        }
        let alarm = braking.scales.weigh(brake, all);
        let was = std::mem::replace(&mut braking.alarm, alarm);
        drop(braking);
        if was != alarm {
            self.count_held(primary)?;
            self.wake(Wake::Health);
        }
        Ok(alarm)
    }

    /// How many files the primary is to hold: as last counted, or counted now.
    fn files_on(&self, primary: &Primary, id: DriveId) -> Result<u64, Refusal> {
        let views = self.slot_views();
        let tally = views.iter().find(|s| s.drive().is_some_and(|(there, _)| there == id)).map(|s| s.tally);
        let counted = tally.map_or(0, |t| t.settled + t.verified + t.missing + t.damaged);
        if counted > 0 { Ok(counted) } else { Ok(primary.catalogue.read(|r| r.count_copies(id))?) }
    }

    /// A person answered: everything is weighed anew.
    pub(super) fn release(&self) {
        *self.braking.lock().unwrap_or_else(PoisonError::into_inner) = Braking::default();
    }

    /// Counts what the brake holds, for the minute check.
    pub(super) fn count_held(&self, primary: &Arc<Primary>) -> Result<(), Refusal> {
        let held = match self.alarm(primary)? {
            None => None,
            Some(alarm) => {
                let (changed, deleted) = primary.catalogue.read(|r| r.count_changes(alarm.from))?;
                let vanished = primary.catalogue.read(|r| r.count_missing(primary.attached.id()))?;
                Some(Held { since: alarm.since, vanished, changed, deleted })
            }
        };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    /// What the brake holds, as last counted.
    pub(super) fn held(&self) -> Option<Held> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
