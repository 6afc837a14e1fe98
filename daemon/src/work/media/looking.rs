//! The worker that reads metadata: soon after a photo settled, while memory still has it, and never on an upload's way.
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::media::Media;
use crate::model::place::Place;
use crate::os::clock;
use crate::plan::retrying::Backoff;
use crate::store::catalogue::media::{self, Unread};
use crate::store::volume::VolumeError;
use crate::work::carry::GoOn;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// Assets read in one step, whose results are recorded together.
const BATCH: usize = 128;
/// Uploads first: nothing is read until there was none for so long.
const CALM: Duration = Duration::from_millis(500);
/// After this some are read all the same: memory does not keep them for ever.
const PATIENCE: Duration = Duration::from_secs(3);
/// Reading took longer: the drive was asked.
const FROM_MEMORY: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// What cannot be read is tried again after a minute, and in the end once a day.
const AGAIN: Backoff = Backoff { first: Duration::from_secs(60), most: Duration::from_secs(86_400) };

/// Reads what assets say of themselves.
pub struct Looking {
    pool: Arc<Pool>,
    zone: TimeZone,
    calm: Duration,
}

/// What became of one.
enum Found {
    Read(Media),
    /// It has no name any more, or the file of that name is not its: whoever gives it one notes it again.
    NoName,
    Later(Timestamp),
}

impl Looking {
    /// For the primary of a pool; `zone`: the box's, for videos that know no other.
    pub fn new(pool: Arc<Pool>, zone: TimeZone) -> Self {
        Self { pool, zone, calm: CALM }
    }

    /// The same, waiting for nobody.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { calm: Duration::ZERO, ..self }
    }

    /// Reads some assets. `true`: there may be more.
    pub fn step(&mut self, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        let primary = self.pool.primary()?;
        let now = self.pool.now();
        // Asked first: at rest this is one look at an empty table.
        if primary.catalogue.read(|r| r.unread(now, 1))?.is_empty() || !primary.has_room_to_record() {
            return Ok(false);
        }
        primary.attached.turns.wait_for_calm(self.calm, PATIENCE);
        let due = primary.catalogue.read(|r| r.unread(now, BATCH))?;
        let mut found = Vec::with_capacity(due.len());
        for asset in &due {
            if !go_on() {
                break;
            }
            let lane = primary.attached.turns.background();
            let began = clock::monotonic();
            found.push((asset.hash, self.look(&primary, asset, now)?));
            drop(lane);
            let took = clock::monotonic().saturating_duration_since(began);
            // What memory had costs nothing. What the drive was asked for, of many old photos, leaves it twice as long to others.
            if took > FROM_MEMORY {
                std::thread::sleep((took * 2).min(LONGEST_PAUSE));
            }
        }
        let more = found.len() == BATCH;
        primary.catalogue.follow(|tx| {
            found.iter().try_for_each(|(hash, found)| match found {
                Found::Read(read) => media::record(tx, hash, read),
                Found::NoName => media::forget(tx, hash),
                Found::Later(at) => media::postpone(tx, hash, *at),
            })
        })?;
        Ok(more)
    }

    fn look(&self, primary: &Primary, asset: &Unread, now: Timestamp) -> Result<Found, Refusal> {
        let Some(path) = &asset.path else { return Ok(Found::NoName) };
        let drive = &primary.attached;
        let read = drive
            .volume
            .open(&Place::photo(path))
            .and_then(|mut file| super::read(&mut *file, asset.size, &self.zone));
        let later = || {
            let pause = AGAIN.after(asset.tries.saturating_add(1), 0);
            Found::Later(
                now.saturating_add(SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO))
                    .unwrap_or(now),
            )
        };
        match read {
            Ok(read) => Ok(Found::Read(read)),
            // Gone by other hands, or under another name by now: the rescan finds out. This process is short of something: later.
            Err(VolumeError::NotFound { .. }) => Ok(later()),
            Err(e @ VolumeError::Io { .. }) if !e.doubts_the_drive() => {
                log::warn!("metadata not read: {e}");
                Ok(later())
            }
            Err(e) => {
                let words = drive.file_only(e).map_err(Refusal::Drive)?;
                log::warn!("metadata not read: {words}");
                Ok(later())
            }
        }
    }
}

impl Worker for Looking {
    fn name(&self) -> &'static str {
        "metadata"
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
        let go_on = || {
            cx.beat();
            !cx.stopping()
        };
        let more = Looking::step(self, &go_on).map_err(|e| WorkError::new("read metadata", e))?;
        Ok(if more { Outcome::More } else { Outcome::Rest })
    }
}
