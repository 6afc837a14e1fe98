//! What the mirror may do next: how many files in one batch, when to try again, when to hold deletions back.
use jiff::{SignedDuration, Timestamp};

use crate::model::drive::Space;

/// Files in one batch at most: they share the flush before they are read back, and that of names and manifest.
pub const BATCH_FILES: usize = 32;
/// Bytes in one batch at most, unless a single file is larger.
pub const BATCH_BYTES: u64 = 256 << 20;

/// How many of the next files, given their sizes in order, make one batch.
pub fn batch(sizes: impl IntoIterator<Item = u64>) -> usize {
    let mut bytes = 0u64;
    let mut files = 0;
    for size in sizes.into_iter().take(BATCH_FILES) {
        bytes = bytes.saturating_add(size);
        if files > 0 && bytes > BATCH_BYTES {
            break;
        }
        files += 1;
    }
    files
}

/// No copy waits longer for its next try. A date further off is the trace of a clock that was set back.
pub const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(900);

/// When to try a copy again that failed `tries` times: 2 s, 4 s, 8 s … at most 15 minutes.
pub fn retry_at(tries: u32, now: Timestamp) -> Timestamp {
    let seconds = 1i64.checked_shl(tries.saturating_add(1).min(20)).unwrap_or(900);
    now.saturating_add(SignedDuration::from_secs(seconds).min(LONGEST_WAIT)).unwrap_or(Timestamp::MAX)
}

/// Whether a drive has noticeably more room than when it was last measured: what did not fit may fit now. What comes back
/// little by little is met by the tries that come anyway.
pub fn has_more_room(before: Option<Space>, now: Option<Space>) -> bool {
    let (Some(before), Some(now)) = (before, now) else { return false };
    now.for_uploads() > before.for_uploads().saturating_add(now.total / 200)
}

/// The brake on deletions (promise P5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brake {
    /// More than this share of all copies within an hour holds deletions back.
    pub percent: u64,
    /// So does more than this number.
    pub files: u64,
}

impl Brake {
    /// Whether deletions are held back when `leaving` of `all` copies began to leave within the hour.
    /// A handful is never a catastrophe, whatever share of a small pool it is.
    pub fn holds(&self, leaving: u64, all: u64) -> bool {
        const HANDFUL: u64 = 20;
        leaving > self.files
            || (leaving > HANDFUL && leaving.saturating_mul(100) > all.saturating_mul(self.percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn room_that_came_back_is_noticed() {
        let space = |available| Some(Space { total: 1000, available, inodes: u64::MAX });
        for (before, now, more) in
            [(150, 160, true), (150, 155, false), (160, 150, false), (0, 100, false), (0, 120, true)]
        {
            assert_eq!(has_more_room(space(before), space(now)), more, "{before} {now}");
        }
        assert!(!has_more_room(None, space(900)) && !has_more_room(space(900), None));
    }

    #[test]
    fn the_brake() {
        let brake = Brake { percent: 1, files: 200 };
        assert!(!brake.holds(20, 20));
        assert!(brake.holds(21, 2000));
        assert!(!brake.holds(21, 2100));
        assert!(brake.holds(201, 1_000_000));
        assert!(!brake.holds(200, 1_000_000));
    }

    #[test]
    fn retries_grow_and_stop_growing() {
        let start = Timestamp::UNIX_EPOCH;
        let after = |tries| retry_at(tries, start).as_second();
        assert_eq!([after(0), after(1), after(2), after(30)], [2, 4, 8, 900]);
        assert!(retry_at(u32::MAX, Timestamp::MAX) <= Timestamp::MAX);
    }

    proptest! {
        #[test]
        fn a_batch_is_never_empty_and_never_large(sizes in proptest::collection::vec(0u64..1 << 30, 1..40)) {
            let n = batch(sizes.iter().copied());
            prop_assert!((1..=BATCH_FILES).contains(&n));
            prop_assert!(n == 1 || sizes[..n].iter().sum::<u64>() <= BATCH_BYTES);
        }
    }
}
