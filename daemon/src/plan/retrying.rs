//! How long to wait before the next attempt: doubling, capped, spread by a number the caller draws.
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A schedule of pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never more than this.
    pub most: Duration,
}

impl Default for Backoff {
    /// For workers: a drive that comes back is used again within a minute.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), most: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// The pause after `failures` failures in a row. `jitter`, any number, takes away up to a quarter, so that what
    /// failed together does not try again together.
    pub fn after(&self, failures: u32, jitter: u32) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let doubled = self.first.saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        let pause = doubled.min(self.most);
        pause - pause.mul_f64(f64::from(jitter) / f64::from(u32::MAX) / 4.0)
    }
}

/// Whether what is done every so often is due. A clock that was set back makes it due at once (invariant I24): waiting until
/// the old time comes again could take years.
pub fn is_due(last: Option<Timestamp>, every: SignedDuration, now: Timestamp) -> bool {
    last.is_none_or(|last| last > now || now.duration_since(last) >= every)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pauses_double_up_to_the_most() {
        let pauses: Vec<u64> = (0..9).map(|n| Backoff::default().after(n, 0).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_clock_set_back_delays_nothing() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let every = SignedDuration::from_secs(60);
        for (last, due) in
            [(None, true), (Some(940), true), (Some(941), false), (Some(1000), false), (Some(9999), true)]
        {
            assert_eq!(is_due(last.map(at), every, at(1000)), due, "{last:?}");
        }
    }

    proptest! {
        #[test]
        fn never_none_never_over_and_jitter_takes_at_most_a_quarter(failures in 1u32.., jitter: u32) {
            let backoff = Backoff::default();
            let (plain, pause) = (backoff.after(failures, 0), backoff.after(failures, jitter));
            prop_assert!(pause <= plain && plain <= backoff.most);
            prop_assert!(pause >= plain.mul_f64(0.749));
            prop_assert!(backoff.after(failures.saturating_add(1), 0) >= plain);
        }
    }
}
