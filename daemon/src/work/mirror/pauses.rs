//! Pauses: a drive that fails is left alone for a while, longer each time, and the other drives are not.
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::plan::retrying::Backoff;

/// Of every drive that failed last time. One that was away is opened anew, and is another `T`: it has none.
pub(super) struct Pauses<T>(Vec<Pause<T>>);

struct Pause<T> {
    /// Keeps nothing open.
    of: Weak<T>,
    failures: u32,
    until: Instant,
}

impl<T> Default for Pauses<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Pauses<T> {
    /// It failed once more.
    pub(super) fn begin(&mut self, of: &Arc<T>, now: Instant) {
        self.0.retain(|pause| pause.of.strong_count() > 0);
        let before = self.0.iter().find(|pause| pause.is_of(of)).map_or(0, |pause| pause.failures);
        self.end(of);
        let failures = before.saturating_add(1);
        // Every drive has its own: there is nothing to be spread.
        let until = now + Backoff::default().after(failures, 0);
        self.0.push(Pause { of: Arc::downgrade(of), failures, until });
    }

    /// It works.
    pub(super) fn end(&mut self, of: &Arc<T>) {
        self.0.retain(|pause| !pause.is_of(of));
    }

    /// Whether a drive is to be left alone.
    pub(super) fn is_on(&self, of: &Arc<T>, now: Instant) -> bool {
        self.0.iter().any(|pause| pause.is_of(of) && pause.until > now)
    }

    /// When the next pause is over. One that was over before is of a drive that is not used.
    pub(super) fn until_next(&self, now: Instant) -> Option<Duration> {
        self.0
            .iter()
            .map(|pause| pause.until.saturating_duration_since(now))
            .filter(|left| !left.is_zero())
            .min()
    }
}

impl<T> Pause<T> {
    fn is_of(&self, other: &Arc<T>) -> bool {
        std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;

    #[test]
    fn each_drive_has_a_pause_of_its_own_that_grows_and_ends() {
        let (one, other, now) = (Arc::new(1), Arc::new(2), clock::monotonic());
        let mut pauses = Pauses::default();
        assert_eq!(pauses.until_next(now), None);
        for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
            pauses.begin(&one, now);
            assert!(pauses.is_on(&one, now) && !pauses.is_on(&other, now), "{failures}");
            assert_eq!(pauses.until_next(now), Some(Duration::from_secs(seconds)));
        }
        assert!(!pauses.is_on(&one, now + Duration::from_secs(8)));
        assert_eq!(pauses.until_next(now + Duration::from_secs(8)), None, "nothing to wait for");
        assert!(!pauses.is_on(&Arc::new(1), now), "it was away and is back");
        pauses.end(&one);
        pauses.begin(&one, now);
        assert_eq!(pauses.until_next(now), Some(Duration::from_secs(1)), "from the beginning");
        for _ in 0..100 {
            pauses.begin(&one, now);
        }
        assert_eq!(pauses.until_next(now), Some(Duration::from_secs(60)));
    }
}
