//! Silence: a connection that asks nothing gives way to one that comes, when there is no room for both.
//!
//! Whoever has something to send says so within a round trip of being let in. A thousand clients that say nothing, from as many
//! addresses, would otherwise keep a phone waiting until each of them ran out of the time for a head (goal 19).
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::os::clock;

/// So long a connection may ask nothing although others wait at the door. Many times the round trip of a slow wireless network: what
/// waited in the kernel's queue has sent its head by the time it is let in.
const PATIENCE: Duration = Duration::from_millis(500);
/// Whether somebody gives way is looked at so often while somebody waits.
const MOMENT: Duration = Duration::from_millis(50);

/// All connections that are open.
#[derive(Clone, Default)]
pub(super) struct Silences(Arc<Mutex<Talks>>);

#[derive(Default)]
struct Talks {
    next: u64,
    open: BTreeMap<u64, State>,
}

struct State {
    /// When it was let in, or its last answer was ready.
    since: Instant,
    /// Something was ever asked.
    asked: bool,
    /// An answer is being made.
    busy: bool,
    leave: Arc<Notify>,
}

/// One connection, until it is dropped.
pub(super) struct Talk {
    silences: Silences,
    id: u64,
    leave: Arc<Notify>,
}

/// Who gives way: of those that never asked anything the one that has been silent longest, else of the others. Whoever reads or writes
/// a body after its answer was begun is asked to end after it, which does no harm.
fn gives_way(open: &BTreeMap<u64, State>, now: Instant) -> Option<u64> {
    open.iter()
        .filter(|(_, state)| !state.busy && now.saturating_duration_since(state.since) >= PATIENCE)
        .min_by_key(|(_, state)| (state.asked, state.since))
        .map(|(id, _)| *id)
}

impl Silences {
    fn talks(&self) -> MutexGuard<'_, Talks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection was let in.
    pub(super) fn enter(&self) -> Talk {
        let leave = Arc::<Notify>::default();
        let mut talks = self.talks();
        let id = talks.next;
        talks.next += 1;
        let state = State { since: clock::monotonic(), asked: false, busy: false, leave: leave.clone() };
        talks.open.insert(id, state);
        drop(talks);
        Talk { silences: self.clone(), id, leave }
    }

    /// Waits for room, and makes some where that is silence. `None`: there will never be any again.
    pub(super) async fn room(&self, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = room.clone().try_acquire_owned() {
            return Some(permit);
        }
        loop {
            self.shed();
            if let Ok(permit) = tokio::time::timeout(MOMENT, room.clone().acquire_owned()).await {
                return permit.ok();
            }
        }
    }

    fn shed(&self) {
        let mut talks = self.talks();
        let state = gives_way(&talks.open, clock::monotonic()).and_then(|id| talks.open.remove(&id));
        if let Some(state) = state {
            state.leave.notify_one();
        }
    }
}

impl Talk {
    /// A head is complete.
    pub(super) fn asks(&self) {
        if let Some(state) = self.silences.talks().open.get_mut(&self.id) {
            (state.asked, state.busy) = (true, true);
        }
    }

    /// Its answer is ready to be sent.
    pub(super) fn is_answered(&self) {
        if let Some(state) = self.silences.talks().open.get_mut(&self.id) {
            (state.since, state.busy) = (clock::monotonic(), false);
        }
    }

    /// Returns when it is to give way.
    pub(super) async fn leaves(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.silences.talks().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_never_asked_gives_way_first_and_whoever_is_busy_never() {
        let began = clock::monotonic();
        let state = |since: u64, asked, busy| State {
            since: began + Duration::from_millis(since),
            asked,
            busy,
            leave: Arc::default(),
        };
        let open = BTreeMap::from([
            (0, state(0, true, false)),
            (1, state(0, true, true)),
            (2, state(30, false, false)),
            (3, state(20, false, false)),
        ]);
        let at = |ms: u64| gives_way(&open, began + Duration::from_millis(ms));
        assert_eq!([at(499), at(500), at(520), at(9000)], [None, Some(0), Some(3), Some(3)]);
    }
}
