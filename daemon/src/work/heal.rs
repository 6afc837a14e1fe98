//! Healing the primary: each of its damaged copies, and each that it lost in an unclean stop, is made anew from a good one on another
//! drive. The other drives' copies are the mirror's work.
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::drive::DriveRole;
use crate::model::place::Place;
use crate::plan::mirroring;
use crate::store::catalogue::copies;
use crate::store::catalogue::queue::WantedRow;
use crate::store::volume::VolumeError;
use crate::work::carry::{self, Carried, GoOn, Load};
use crate::work::changes::{Change, Heal};
use crate::work::error::Refusal;
use crate::work::ingest;
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// Heals the primary's copies.
pub struct Healer {
    pool: Arc<Pool>,
}

impl Healer {
    /// For a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// Makes some damaged copies anew. `true`: there may be more. What nobody has a good copy of stays as it is.
    pub fn step(&self, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        const PAGE: usize = 16;
        let primary = self.pool.primary()?;
        primary.attached.takes_writes().map_err(|why| Refusal::Unavailable { why })?;
        let (id, now) = (primary.attached.id(), self.pool.now());
        let latest = now.saturating_add(mirroring::LONGEST_WAIT).unwrap_or(Timestamp::MAX);
        let mut rows = primary.catalogue.read(|r| r.curable(id, None, now, latest, PAGE))?;
        // Before the whole tree was looked at, a file that is not under its name may lie under another: a rename that was cut off.
        // And where too much is gone at once a person is asked (promise P5): nothing of it comes back unasked.
        if self.pool.is_compared(&primary) && self.pool.alarm(&primary)?.is_none() {
            let left = PAGE.saturating_sub(rows.len());
            rows.extend(primary.catalogue.read(|r| r.lost(id, now, latest, left))?);
        }
        let full = rows.len() == PAGE;
        for row in rows {
            if !go_on() {
                return Ok(false);
            }
            let healed = match self.heal(&primary, &row, go_on) {
                // No room for this one; smaller ones may fit.
                Err(Refusal::Drive(VolumeError::Full { .. })) => Ok(false),
                other => other,
            };
            if !matches!(healed, Ok(true)) {
                // Not now: no drive with a good copy is there, or it turned out to be none. It must not keep the others waiting.
                let retry = mirroring::retry_at(row.tries, self.pool.now());
                let noted = primary.catalogue.write(|tx| copies::failed(tx, row.name, id, retry));
                healed?;
                noted?;
            }
        }
        Ok(full)
    }

    /// From the first drive that has it. `false`: from none.
    fn heal(&self, primary: &Primary, row: &WantedRow, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        for source in self.pool.others() {
            let Some(copy) = primary.catalogue.read(|r| r.verified_twin(source.id(), &row.hash))? else {
                continue;
            };
            let load =
                Load { from: Place::photo(&copy.at), hash: row.hash, size: row.size, mtime: row.mtime };
            match carry::carry(&load, &source, &primary.attached, go_on)? {
                Carried::Proved(synced, digests) => {
                    let heal = Heal { path: row.path.clone(), synced, digests: *digests };
                    let now = self.pool.now();
                    let done = primary.submit(Change::Heal(Box::new(heal)), now)?;
                    if done.outcome != ingest::Outcome::Unchanged {
                        // It became something else while the bytes were carried.
                        return Ok(false);
                    }
                    let what = NewsKind::Healed { drive_role: DriveRole::Primary };
                    self.pool.news().tell(&PhotoNews { path: row.path.clone(), what, at: now });
                    log::warn!("{}: the copy on the main drive was made anew", row.path);
                    return Ok(true);
                }
                // Read once more by itself, and recorded if it stays so: then it is no source any more.
                Carried::BadSource(_) => {
                    let mut beat = || {
                        go_on();
                        Ok(())
                    };
                    self.pool.doubt_copy(primary, &source, &copy, &mut beat)?;
                }
                Carried::BadReadBack => return Err(carry::lied(&primary.attached, load.from)),
                Carried::Stopped => return Ok(true),
            }
        }
        Ok(false)
    }
}

impl Worker for Healer {
    fn name(&self) -> &'static str {
        "heal"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn critical(&self) -> bool {
        false
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        let Ok(primary) = self.pool.primary() else { return Ok(Outcome::Rest) };
        let _drive = cx.blocked_on(&primary.attached.id().short());
        if !primary.has_room_to_record() {
            return Ok(Outcome::Rest);
        }
        let go_on = || {
            cx.beat();
            !cx.stopping()
        };
        let more =
            Healer::step(self, &go_on).map_err(|e| WorkError::new("heal the main drive's copies", e))?;
        Ok(if more { Outcome::More } else { Outcome::Rest })
    }
}
