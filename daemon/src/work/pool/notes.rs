//! What workers note down for people and for each other: how far, how fast, how much, since when.
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::drive::{DriveId, Standing};
use crate::os::clock;
use crate::plan::facts::SharingFacts;
use crate::plan::scrubbing;
use crate::store::catalogue::copies::Tally;
use crate::work::pace::Pace;
use crate::work::pool::Pool;
use crate::work::views::RescanReport;

impl Pool {
    /// Every mount at one of the places is heard of at once, and nothing but a mount is a drive.
    pub fn hear_of_mounts(&self, heard: bool) {
        self.hears_of_mounts.store(heard, Ordering::Relaxed);
    }

    pub(in crate::work) fn is_told_of_mounts(&self) -> bool {
        self.hears_of_mounts.load(Ordering::Relaxed)
    }

    /// When the tree was last compared from end to end, and what came of it.
    pub(in crate::work) fn last_rescan(&self) -> Option<(Timestamp, RescanReport)> {
        *self.last_rescan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the computers of the house see the photos, as of the last look.
    pub fn sharing(&self) -> SharingFacts {
        self.sharing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::work) fn set_sharing(&self, facts: SharingFacts) {
        *self.sharing.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    /// A drive got so many bytes of what it lacked.
    pub(in crate::work) fn note_pace(&self, id: DriveId, bytes: u64) {
        for slot in self.slots().iter_mut().filter(|s| s.attached.as_ref().is_some_and(|a| a.id() == id)) {
            slot.pace = Some(Pace::next(slot.pace.take(), bytes));
        }
    }

    /// Counts of a drive's copies, as just read.
    pub(in crate::work) fn set_tally(&self, id: DriveId, tally: Tally) {
        for slot in self.slots().iter_mut() {
            if slot.drive().is_some_and(|(there, _)| there == id) {
                slot.tally = tally;
            }
        }
    }

    /// When all copies of a drive are re-read, as just forecast from the bytes it holds; counting began at `began`.
    pub(in crate::work) fn set_reread(
        &self,
        id: DriveId,
        began: Instant,
        forecast: impl Fn(u64) -> scrubbing::Forecast,
    ) {
        // Counting a million copies that are due takes a second or two, during which nobody else is answered. What is counted in a moment
        // is counted whenever somebody asks.
        const AT_MOST_ONE_IN: u32 = 100;
        const MOMENT: Duration = Duration::from_millis(20);
        let now = clock::monotonic();
        let took = now.saturating_duration_since(began);
        let stale = if took < MOMENT { now } else { now + took * AT_MOST_ONE_IN };
        for slot in self.slots().iter_mut() {
            if slot.attached.as_ref().is_some_and(|a| a.id() == id) {
                let held = slot.space.map(|space| space.total.saturating_sub(space.available));
                slot.reread = held.map(|held| (id, forecast(held), stale));
            }
        }
    }

    /// Whether it is time to forecast anew when all copies of a drive are re-read.
    pub(in crate::work) fn is_reread_stale(&self, id: DriveId) -> bool {
        let now = clock::monotonic();
        let slots = self.slots();
        let slot = slots.iter().find(|s| s.attached.as_ref().is_some_and(|a| a.id() == id));
        slot.is_some_and(|slot| slot.reread.is_none_or(|(of, _, stale)| of != id || stale <= now))
    }

    /// In about how many days a drive is full, as just forecast from its room and what it lacks.
    pub(in crate::work) fn set_forecast(&self, forecast: impl Fn(u64) -> Option<u64>) {
        for slot in self.slots().iter_mut() {
            let lacks = slot.tally.wanted_bytes;
            let ours = slot.attached.is_some();
            let room = slot.space.filter(|_| ours).map(|space| space.for_uploads().saturating_sub(lacks));
            slot.full_in = room.and_then(&forecast);
        }
    }

    /// Whether something changed that people should see, since this was last asked.
    pub(in crate::work) fn stirred(&self) -> bool {
        self.stirred.swap(false, Ordering::AcqRel)
    }

    /// A drive's probe has not come back in time.
    pub(in crate::work) fn set_stuck(&self, mount: &std::path::Path) {
        let now = self.now();
        for slot in self.slots().iter_mut().filter(|s| s.mount == mount && s.standing != Standing::Stuck) {
            slot.standing = Standing::Stuck;
            slot.since = now;
        }
    }

    /// Whether changes by other hands are seen at once.
    pub(in crate::work) fn watching(&self, watched: bool) {
        let now = self.now();
        let mut unwatched = self.unwatched.lock().unwrap_or_else(PoisonError::into_inner);
        *unwatched = if watched { None } else { unwatched.or(Some(now)) };
    }

    /// Whether files of other hands are being looked for or taken in.
    pub(in crate::work) fn taking_in(&self, busy: bool) {
        self.busy_taking_in.store(busy, Ordering::Release);
    }

    pub(in crate::work) fn is_taking_in(&self) -> bool {
        self.busy_taking_in.load(Ordering::Acquire)
    }

    /// Since when they are not.
    pub(in crate::work) fn unwatched_since(&self) -> Option<Timestamp> {
        *self.unwatched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::work) fn set_unsaved_since(&self, since: Option<Timestamp>) {
        *self.unsaved.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Since when the catalogue has had something that no snapshot contains.
    pub(in crate::work) fn unsaved_since(&self) -> Option<Timestamp> {
        *self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::work) fn count_received(&self, bytes: u64) {
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        self.counters.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(in crate::work) fn count_refused_full(&self, needed: u64) {
        // A length that no drive could hold says nothing about this one.
        let counts = u64::from(needed <= self.primary_size());
        self.counters.refused_full.fetch_add(counts, Ordering::Relaxed);
    }

    pub(in crate::work) fn count_proved(&self, bytes: u64) {
        self.counters.proved.fetch_add(1, Ordering::Relaxed);
        self.counters.proved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
