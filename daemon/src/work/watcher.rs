//! The worker around the rescan: a full walk at start and every period, a look into folders where inotify saw something,
//! and everything again when inotify lost sight.
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::drive::DriveId;
use crate::model::place::Place;
use crate::os::inotify::Watch;
use crate::plan::retrying;
use crate::work::pool::{Pool, Wake};
use crate::work::primary::Primary;
use crate::work::rescan::Rescan;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// Hints are gathered this long before their folders are listed: one listing for a burst of files.
const GATHER: SignedDuration = SignedDuration::from_secs(2);

/// And so many times as long as the last such look took: a folder of a hundred thousand photos that fills up one by one is
/// read all of it at every look, and may take a twentieth of the box.
const GENTLY: i32 = 20;

/// But not longer than this.
const GATHER_AT_MOST: SignedDuration = SignedDuration::from_mins(1);

/// How long hints are gathered, by how long the last look took.
fn gather(took: Duration) -> SignedDuration {
    let gently = SignedDuration::try_from(took).unwrap_or(GATHER_AT_MOST).saturating_mul(GENTLY);
    gently.clamp(GATHER, GATHER_AT_MOST)
}

/// Finds what other hands put on the primary.
pub struct Watcher {
    pool: Arc<Pool>,
    period: SignedDuration,
    rescan: Rescan,
    /// The drive being watched, and the watch. `None` inside: the watch failed and only the period counts.
    watch: Option<(DriveId, Arc<Primary>, Option<Watch>)>,
    walked: Option<Timestamp>,
    looked: Option<Timestamp>,
    hinted: BTreeSet<Place>,
    /// A look is under way, and how long the last one took.
    looking: bool,
    took: Duration,
}

impl Watcher {
    /// Walks the whole tree every `period`.
    pub fn new(pool: Arc<Pool>, period: SignedDuration) -> Self {
        let rescan = Rescan::new(Arc::clone(&pool));
        let (watch, walked, looked) = (None, None, None);
        Self {
            pool,
            period,
            rescan,
            watch,
            walked,
            looked,
            hinted: BTreeSet::new(),
            looking: false,
            took: Duration::ZERO,
        }
    }

    /// Watches the primary that is there now; a new one is walked from end to end.
    fn follow(&mut self, primary: &Arc<Primary>) {
        if self.watch.as_ref().is_some_and(|(_, known, _)| Arc::ptr_eq(known, primary)) {
            return;
        }
        let root = primary.attached.volume.os_path(&Place::photos());
        // The watch comes before the walk: what happens in between is seen twice and not missed.
        let watch = root.and_then(|root| {
            let pool = Arc::downgrade(&self.pool);
            let wake = move || {
                // Every upload is seen here, too. Whoever is taking something in looks again within a second.
                if let Some(pool) = pool.upgrade().filter(|pool| !pool.is_taking_in()) {
                    pool.wake(Wake::Rescan);
                }
            };
            match Watch::start(&root, wake) {
                Ok(watch) => Some(watch),
                Err(e) => {
                    log::warn!("changes by other programs will be found late: {e}");
                    None
                }
            }
        });
        self.pool.watching(watch.is_some());
        self.watch = Some((primary.attached.id(), Arc::clone(primary), watch));
        self.walked = None;
    }

    /// Takes what inotify saw. `true`: it may have missed something.
    fn take_hints(&mut self) -> bool {
        let Some((_, primary, Some(watch))) = &self.watch else { return false };
        let hints = watch.take();
        let Some(root) = primary.attached.volume.os_path(&Place::root()) else { return false };
        self.hinted.extend(hints.folders.iter().filter_map(|folder| place_of(&root, folder)));
        if let Some(lost) = &hints.lost {
            log::warn!("inotify lost sight of the tree ({lost:?}): looking at everything");
            self.watch = None;
        }
        hints.more || hints.lost.is_some()
    }
}

fn place_of(root: &Path, folder: &Path) -> Option<Place> {
    let below = folder.strip_prefix(root).ok()?.to_str()?;
    below.split('/').try_fold(Place::root(), |place, name| place.entry(name))
}

impl Worker for Watcher {
    fn name(&self) -> &'static str {
        "rescan"
    }

    fn period(&self) -> Duration {
        let waiting = self.rescan.is_waiting() || !self.hinted.is_empty();
        // What is watched says itself when there is something to do, but for the walk of the hour.
        let quiet = matches!(&self.watch, Some((_, _, Some(watch))) if !watch.has_seen());
        let watched = if quiet { 60 } else { 30 };
        Duration::from_secs(if waiting { 1 } else { watched })
    }

    fn critical(&self) -> bool {
        false
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        let Ok(primary) = self.pool.primary() else {
            self.watch = None;
            return Ok(Outcome::Rest);
        };
        let _drive = cx.blocked_on(&primary.attached.id().short());
        self.follow(&primary);
        if !primary.has_room_to_record() {
            // What is heard meanwhile is kept.
            return Ok(Outcome::Rest);
        }
        let now = self.pool.now();
        let lost = self.take_hints();
        let due = retrying::is_due(self.walked, self.period, now);
        if (lost || due) && !self.rescan.is_walking() {
            self.rescan.start();
            self.walked = Some(now);
            self.hinted.clear();
        }
        let gathered = retrying::is_due(self.looked, gather(self.took), now);
        if gathered && !self.rescan.is_walking() && (!self.hinted.is_empty() || self.rescan.is_waiting()) {
            self.looked = Some(now);
            self.looking = true;
            self.rescan.take_spent();
            let waiting = self.rescan.waiting_in();
            self.rescan.look_into(std::mem::take(&mut self.hinted).into_iter().chain(waiting));
        }
        let go_on = || {
            cx.beat();
            !cx.stopping()
        };
        let walked = self.rescan.step(&go_on);
        let more = self.rescan.is_walking() || self.rescan.is_waiting();
        self.pool.taking_in(more || !self.hinted.is_empty());
        match walked {
            Ok(true) => Ok(Outcome::More),
            Ok(false) => {
                if std::mem::take(&mut self.looking) {
                    self.took = self.rescan.take_spent();
                }
                // Seen after it was last taken, and before it was said that nothing is being taken in: nobody woke for it.
                let seen = matches!(&self.watch, Some((_, _, Some(watch))) if watch.has_seen());
                let busy = more || !self.hinted.is_empty();
                Ok(if seen && !busy { Outcome::More } else { Outcome::Rest })
            }
            Err(e) => Err(WorkError::new("compare the tree", e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_take_no_more_than_a_twentieth_and_come_within_a_minute() {
        let seconds = |millis| gather(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 100, 500, 3_000, 60_000].map(seconds), [2_000, 2_000, 10_000, 60_000, 60_000]);
        assert_eq!(gather(Duration::MAX), GATHER_AT_MOST);
    }
}
