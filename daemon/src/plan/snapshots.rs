//! When the catalogue is copied onto the drives, and which of the copies are kept.
use jiff::{SignedDuration, Timestamp};

use crate::model::snapshot::Snapshot;
use crate::plan::retrying::is_due;

/// Snapshots kept on each drive.
pub const KEEP: usize = 3;

/// How long no upload came before the box counts as quiet.
pub const QUIET: SignedDuration = SignedDuration::from_hours(1);
/// In quiet, about once a day: a little less, so that it does not wander into the busy hours.
const DAILY: SignedDuration = SignedDuration::from_hours(20);
/// A box that is never quiet gets one all the same.
const AT_MOST: SignedDuration = SignedDuration::from_hours(24);
/// Restarts in a row do not make one each.
const BETWEEN_STOPS: SignedDuration = SignedDuration::from_hours(1);

/// What is known when it is decided.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The last snapshot's date; `None`: there is none.
    pub last: Option<Timestamp>,
    /// Since when there is something to keep: when the primary was adopted.
    pub adopted: Timestamp,
    /// Something was recorded since.
    pub changed: bool,
    /// When the last upload came, as far as this process knows.
    pub stirred: Timestamp,
    /// The box is ending, in order.
    pub stopping: bool,
}

/// Whether a snapshot is to be made now: after a quiet hour and at an orderly stop; at most about once a day otherwise.
pub fn is_wanted(know: &Now, now: Timestamp) -> bool {
    let older = |than| is_due(Some(know.last.unwrap_or(know.adopted)), than, now);
    let quiet = is_due(Some(know.stirred), QUIET, now);
    if !know.changed {
        return false;
    }
    if know.stopping {
        return know.last.is_none() || older(BETWEEN_STOPS);
    }
    older(AT_MOST) || (quiet && (know.last.is_none() || older(DAILY)))
}

/// Which of a drive's snapshots are to go: all but the newest of the primary `of`, which is at `end`. Those of another primary, or of a
/// record that reached further than it does now, are the first to go.
pub fn superfluous(mut all: Vec<Snapshot>, of: &str, end: u64) -> Vec<Snapshot> {
    all.sort_by_key(|s| std::cmp::Reverse((s.of == of, s.seq <= end, s.seq)));
    all.split_off(KEEP.min(all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::ContentHash;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    #[test]
    fn once_a_day_in_quiet_and_at_a_stop() {
        let wanted = |last: Option<i64>, stirred: i64, stopping: bool| {
            let last = last.map(at);
            let know = Now { last, adopted: at(0), changed: true, stirred: at(stirred), stopping };
            assert!(!is_wanted(&Now { changed: false, ..know }, at(100)), "nothing new");
            is_wanted(&know, at(100))
        };
        // Last, last upload, stopping: wanted.
        let table = [
            (None, 99, false, true),
            (Some(81), 99, false, false),
            (Some(80), 99, false, true),
            (Some(80), 100, false, false),
            (Some(76), 100, false, true),
            (Some(99), 100, true, true),
            (Some(100), 100, true, false),
            (None, 100, true, true),
            // The trace of a clock that ran ahead (invariant I24).
            (Some(5000), 100, false, true),
            (Some(80), 5000, false, true),
        ];
        for (last, stirred, stopping, expected) in table {
            assert_eq!(wanted(last, stirred, stopping), expected, "{last:?} {stirred} {stopping}");
        }
        let new = Now { last: None, adopted: at(99), changed: true, stirred: at(100), stopping: false };
        assert!(!is_wanted(&new, at(100)), "a new box in the middle of its first uploads");
    }

    #[test]
    fn the_newest_of_this_primary_are_kept() {
        let one = |of: &str, seq| Snapshot {
            day: "2026-11-21".into(),
            of: of.into(),
            seq,
            hash: ContentHash::of(b"x"),
        };
        let all = vec![one("aa", 5), one("bb", 900), one("aa", 70), one("aa", 8), one("aa", 9), one("bb", 7)];
        let gone: Vec<_> = superfluous(all, "aa", 60).into_iter().map(|s| (s.of, s.seq)).collect();
        assert_eq!(gone, [("aa".into(), 70), ("bb".into(), 7), ("bb".into(), 900)]);
        assert_eq!(superfluous(vec![one("aa", 5), one("aa", 6)], "aa", 60), []);
    }
}
