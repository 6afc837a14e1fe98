//! How fast a drive is being filled, for people who wait: bytes over the last minutes of copying.
use std::time::{Duration, Instant};

use crate::os::clock;

/// What was copied before a pause of this length says nothing about what comes.
const PAUSE: Duration = Duration::from_secs(120);
/// Half of what is known is forgotten after so long: a drive full of small files is slower than it was with large ones.
const MEMORY: Duration = Duration::from_secs(300);

/// Bytes since a moment.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    since: Instant,
    last: Instant,
    bytes: u64,
}

impl Pace {
    /// With so many bytes more.
    pub(super) fn next(before: Option<Self>, bytes: u64) -> Self {
        Self::at(before, bytes, clock::monotonic())
    }

    fn at(before: Option<Self>, bytes: u64, now: Instant) -> Self {
        let fresh = |pace: &Self| now.saturating_duration_since(pace.last) < PAUSE;
        match before.filter(fresh) {
            // The first batch is where counting starts: how long it took is not known.
            None => Self { since: now, last: now, bytes: 0 },
            Some(pace) => {
                let mut pace = Self { last: now, bytes: pace.bytes + bytes, ..pace };
                let known = now.saturating_duration_since(pace.since);
                if known > MEMORY {
                    pace.since += known / 2;
                    pace.bytes /= 2;
                }
                pace
            }
        }
    }

    /// Seconds until so many bytes more are copied. `None`: nobody knows.
    pub(super) fn left(&self, bytes: u64) -> Option<u64> {
        self.left_at(bytes, clock::monotonic())
    }

    fn left_at(&self, bytes: u64, now: Instant) -> Option<u64> {
        let millis = self.last.saturating_duration_since(self.since).as_millis();
        if bytes == 0 || self.bytes == 0 || millis < 1000 || now.saturating_duration_since(self.last) >= PAUSE
        {
            return None;
        }
        u64::try_from(u128::from(bytes) * millis / u128::from(self.bytes) / 1000).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_last_minutes() {
        let start = clock::monotonic();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::at(None, 1000, start);
        assert_eq!(pace.left_at(1000, after(1)), None, "one batch is no pace");
        for second in 1..=10 {
            pace = Pace::at(Some(pace), 100, after(second));
        }
        assert_eq!(pace.left_at(1000, after(10)), Some(10));
        assert_eq!((pace.left_at(0, after(10)), pace.left_at(1000, after(200))), (None, None));
        // Ten times as slow from here on: in a while that is what counts.
        for second in 11..=2000 {
            pace = Pace::at(Some(pace), 10, after(second));
        }
        let left = pace.left_at(1000, after(2000)).unwrap();
        assert!((95..=100).contains(&left), "{left}");
        // After a pause it begins anew.
        assert_eq!(Pace::at(Some(pace), 10, after(3000)).left_at(1000, after(3000)), None);
    }
}
