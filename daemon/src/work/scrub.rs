//! The scrub: re-reads the copies of one drive from its medium, those of the tail of an unclean stop first, then those nobody has read
//! yet, then the oldest. One of these
//! per mount point, each on its own thread. Where it was is in the catalogue, as the dates of what was read.
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::drive::{DriveId, DriveRole};
use crate::plan::scrubbing::Load;
use crate::plan::{retrying, scrubbing};
use crate::store::aligned;
use crate::store::catalogue::copies::CopyRow;
use crate::work::carry::GoOn;
use crate::work::drive::{Attached, Turns};
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::reread::{Found, Reread};
use crate::work::tail;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// Proofs recorded together: they share the flush of the manifest.
const BATCH: usize = 64;

/// A copy that could not be read, for no fault of the drive's, keeps none of those that are due after it waiting for so long.
const PASSED_FOR: SignedDuration = SignedDuration::from_mins(10);
/// Of more than these nothing is remembered.
const PASSED_AT_MOST: usize = 10_000;

/// How uploads are let go first.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// Nothing is read until there was no upload for so long.
    pub calm: Duration,
    /// Where something has to be read all the same, a piece is read after this.
    pub patience: Duration,
    /// In the middle of a file that has time, a piece is read after this: a long film is not begun anew for every upload.
    pub pause: Duration,
}

impl Manners {
    /// Nothing beside uploads without a pause; what is late, a megabyte a second.
    pub const GENTLE: Self = Self {
        calm: Duration::from_secs(10),
        patience: Duration::from_secs(1),
        pause: Duration::from_secs(60),
    };
    /// Waits for nobody.
    pub const NONE: Self = Self { calm: Duration::ZERO, patience: Duration::ZERO, pause: Duration::ZERO };
}

/// Re-reads what is on the drive at one mount point.
pub struct Scrub {
    pool: Arc<Pool>,
    mount: PathBuf,
    manners: Manners,
    /// When this minute's allowance began, and what is used up of it, bytes.
    minute: Option<Timestamp>,
    used: u64,
    /// Copies that could not be read, and since when they are remembered.
    passed: BTreeSet<(DriveId, i64)>,
    passed_since: Option<Timestamp>,
    /// Since when there were uploads whenever it looked.
    busy_since: Option<Timestamp>,
    /// It left something for them.
    paused: bool,
}

impl Scrub {
    /// For one mount point of the pool.
    pub fn new(pool: Arc<Pool>, mount: PathBuf, manners: Manners) -> Self {
        let (minute, used, passed, passed_since, busy_since) = (None, 0, BTreeSet::new(), None, None);
        Self { pool, mount, manners, minute, used, passed, passed_since, busy_since, paused: false }
    }

    /// The drive there, if it is one whose copies are known.
    fn drive(&self) -> Option<Arc<Attached>> {
        let attached = self.pool.slot_at(&self.mount)?.attached?;
        // The manifest of another drive is opened by the mirror, which first reads what the catalogue may lack of it.
        let ours = attached.role() == DriveRole::Primary
            || (self.pool.others().iter().any(|other| Arc::ptr_eq(other, &attached))
                && attached.is_enrolled());
        (ours && attached.takes_writes().is_ok()).then_some(attached)
    }

    /// Re-reads some copies that are due. `true`: there may be more, and the allowance is not used up.
    pub fn step(&mut self, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        const MINUTE: SignedDuration = SignedDuration::from_mins(1);
        let primary = self.pool.primary()?;
        let Some(drive) = self.drive() else { return Ok(false) };
        let now = self.pool.now();
        self.paused = false;
        if retrying::is_due(self.minute, MINUTE, now) {
            (self.minute, self.used) = (Some(now), 0);
        }
        // Proofs take a little room, on both. Where others filled a drive to the last byte, they wait.
        let space = drive.volume.space().map_err(|e| Refusal::Drive(drive.heed(e)))?;
        if space.available < space.to_record() || !primary.has_room_to_record() {
            return Ok(false);
        }
        self.pool.settle_doubts(&primary, &drive, go_on)?;
        if tail::mark(&primary, &drive, go_on)? {
            return Ok(true);
        }
        let rows = self.next(&primary, &drive, now)?;
        let held = space.total.saturating_sub(space.available);
        let (manners, uploads) = (self.manners, &primary.attached.turns);
        let busy = self.busy(uploads, now);
        let (mut batch, mut moved, mut more) = (Reread::default(), 0, rows.len() == BATCH);
        let of = rows.len();
        for row in rows {
            // Somebody waits for these.
            self.pool.settle_doubts(&primary, &drive, go_on)?;
            let haste = scrubbing::haste(row.tail, row.reread, now);
            let left = scrubbing::allowance(held, haste).saturating_sub(self.used);
            if batch.bytes >= left || !go_on() {
                more = false;
                break;
            }
            let load = scrubbing::under_load(haste, row.tail, busy.unwrap_or_default());
            if load == Load::Pause && self.busy(uploads, now).is_some() {
                (self.paused, more) = (true, false);
                break;
            }
            let found = self.pool.reread(&primary, &drive, &row, &mut batch, &mut || {
                give_way(uploads, manners, load, go_on);
                Ok(())
            })?;
            match found {
                Found::NotRead(_) if self.passed.len() < PASSED_AT_MOST => {
                    self.passed.insert((drive.id(), row.name));
                }
                Found::Moved | Found::NotRead(_) => moved += 1,
                Found::Equal(_) | Found::Damaged(_) | Found::Missing(_) => {}
            }
            if matches!(found, Found::Damaged(_)) {
                // At once: healing may begin, and what is recorded late may be about a copy that was healed by then.
                self.used += batch.bytes;
                self.pool.record_reread(&primary, &drive, std::mem::take(&mut batch))?;
            }
        }
        self.used += batch.bytes;
        self.pool.record_reread(&primary, &drive, batch)?;
        // What is on its way to another name is due still: later.
        Ok(more && moved < of)
    }

    /// For how long there have been uploads whenever it looked; `None`: there are none.
    fn busy(&mut self, uploads: &Turns, now: Timestamp) -> Option<SignedDuration> {
        let calm = self.manners.patience.is_zero() || uploads.is_calm(self.manners.calm);
        // A date that has not come yet is the trace of a clock that was wrong.
        self.busy_since = (!calm).then(|| self.busy_since.map_or(now, |since| since.min(now)));
        self.busy_since.map(|since| now.duration_since(since))
    }

    /// The next copies that are due, without those that could not be read a moment ago.
    fn next(&mut self, primary: &Primary, drive: &Attached, now: Timestamp) -> Result<Vec<CopyRow>, Refusal> {
        if retrying::is_due(self.passed_since, PASSED_FOR, now) {
            self.passed.clear();
            self.passed_since = Some(now);
        }
        let (due, limit) = (scrubbing::due(now), BATCH + self.passed.len());
        let mut rows = primary.catalogue.read(|r| r.reread_due(drive.id(), &due, limit))?;
        rows.retain(|row| !self.passed.contains(&(row.drive, row.name)));
        rows.truncate(BATCH);
        Ok(rows)
    }
}

/// Before the next piece of a file that is begun.
fn give_way(uploads: &Turns, manners: Manners, load: Load, go_on: GoOn<'_>) {
    let mut left = if load == Load::Pause { manners.pause } else { manners.patience };
    while go_on() && !left.is_zero() && !uploads.is_calm(manners.calm) {
        let slice = left.min(manners.patience);
        uploads.wait_for_calm(manners.calm, slice);
        left = left.saturating_sub(slice);
    }
}

impl Worker for Scrub {
    fn name(&self) -> &'static str {
        "scrub"
    }

    fn period(&self) -> Duration {
        // Uploads are over between two looks of a minute, or are not: what was left for them is gone on with soon. Where no drive is,
        // one that comes wakes it.
        let here = self.pool.slot_at(&self.mount).is_some_and(|slot| slot.attached.is_some());
        Duration::from_secs(match (self.paused, here) {
            (true, true) => 2,
            (false, true) => 60,
            (_, false) => 600,
        })
    }

    fn critical(&self) -> bool {
        false
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        if self.pool.primary().is_err() {
            return Ok(Outcome::Rest);
        }
        let _drive = cx.blocked_on(&self.drive().map(|d| d.id().short()).unwrap_or_default());
        let go_on = || {
            cx.beat();
            !cx.stopping()
        };
        let more = Scrub::step(self, &go_on)
            .map_err(|e| WorkError::new(format!("re-read {}", self.mount.display()), e))?;
        if more {
            return Ok(Outcome::More);
        }
        aligned::let_go();
        Ok(Outcome::Rest)
    }
}
