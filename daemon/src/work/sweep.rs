//! The sweep: scratch files older than their keep are unlinked, and uploads in parts that nobody went on with. Photos, trash and quarantine are never touched here.
use std::sync::Arc;
use std::time::Duration;

use crate::model::place::Shelf;
use crate::work::changes::Change;
use crate::work::error::Refusal;
use crate::work::parts;
use crate::work::pool::Pool;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// Empties scratch of what nobody came back for.
pub struct Sweep {
    pool: Arc<Pool>,
}

impl Sweep {
    /// For a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// Drops up to a page of old scratch files. `true`: there may be more.
    pub fn step(&self) -> Result<bool, Refusal> {
        const PAGE: usize = 100;
        let primary = self.pool.primary()?;
        let now = self.pool.now();
        let before = now.saturating_sub(self.pool.options().scratch_keep).unwrap_or(now);
        let rows = primary.catalogue.read(|r| r.scratch_before(before, PAGE))?;
        let full = rows.len() == PAGE;
        for row in rows {
            debug_assert_eq!(row.shelf, Shelf::Scratch);
            primary.submit(Change::DropScratch { path: row.path, older_than: before }, now)?;
        }
        if !full {
            primary.submit(Change::SweepScratch, now)?;
            parts::sweep(&self.pool, &primary, now)?;
        }
        Ok(full)
    }
}

impl Worker for Sweep {
    fn name(&self) -> &'static str {
        "sweep"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn critical(&self) -> bool {
        false
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        let Ok(primary) = self.pool.primary() else { return Ok(Outcome::Rest) };
        let _drive = cx.blocked_on(&primary.attached.id().short());
        let more = Sweep::step(self).map_err(|e| WorkError::new("sweep scratch", e))?;
        Ok(if more { Outcome::More } else { Outcome::Rest })
    }
}
