//! When a copy is re-read, and how much of a drive at once: every one within a month, a new one soon, all of it gently.
use jiff::{SignedDuration, Timestamp};

use crate::model::copy::Due;

/// After this a copy is due again. Invariant I17 allows 30 days: the rest is for boxes that are switched off at times.
const CYCLE: SignedDuration = SignedDuration::from_hours(25 * 24);
/// A copy that was not read for longer is told of.
const OVERDUE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A copy nobody has read back yet is left alone for so long: right after it was written, the drive's own memory would answer,
/// and that proves nothing about the medium.
const SETTLES: SignedDuration = SignedDuration::from_mins(10);
/// A date of proof may be ahead of the clock by as much as clocks are set now and then.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(24);

/// What was not read since is overdue.
pub fn overdue_before(now: Timestamp) -> Timestamp {
    now.saturating_sub(OVERDUE).unwrap_or(Timestamp::MIN)
}

/// What is due now.
pub fn due(now: Timestamp) -> Due {
    let ago = |span| now.saturating_sub(span).unwrap_or(Timestamp::MIN);
    Due {
        made_before: ago(SETTLES),
        read_before: ago(CYCLE),
        read_after: now.saturating_add(CLOCKS_DIFFER).unwrap_or(Timestamp::MAX),
    }
}

/// Bytes that may be re-read within a minute on a drive that holds `held` bytes: all of it in half a cycle, and a small drive
/// at once. `unread`: nobody has read the next copy back yet, and a phone waits to be told that it is safe.
pub fn allowance(held: u64, unread: bool) -> u64 {
    const AT_LEAST: u64 = 64 << 20;
    const UNREAD: u64 = 2 << 30;
    let minutes = u64::try_from(CYCLE.as_mins() / 2).unwrap_or(1).max(1);
    let steady = (held / minutes).max(AT_LEAST);
    if unread { steady.max(UNREAD) } else { steady }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_is_read_within_half_a_cycle() {
        let tb: u64 = 1_000_000_000_000;
        for held in [tb / 1000, tb, 8 * tb, 20 * tb] {
            let minutes = held.div_ceil(allowance(held, false));
            assert!(minutes <= 25 * 24 * 60 / 2 + 1, "{held} bytes take {minutes} minutes");
        }
        assert!(allowance(tb, false) < 64 << 20 | 1, "a terabyte needs no more than the least");
        assert!(allowance(0, true) >= allowance(0, false));
        assert!(allowance(u64::MAX, true) > 0);
    }

    #[test]
    fn what_is_due_follows_the_clock() {
        let now: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        let due = due(now);
        assert_eq!(due.made_before.to_string(), "2026-11-21T17:50:00Z");
        assert_eq!(due.read_before.to_string(), "2026-10-27T18:00:00Z");
        assert_eq!(due.read_after.to_string(), "2026-11-22T18:00:00Z");
        assert_eq!(super::due(Timestamp::MIN).read_before, Timestamp::MIN);
        assert_eq!(super::due(Timestamp::MAX).read_after, Timestamp::MAX);
    }
}
