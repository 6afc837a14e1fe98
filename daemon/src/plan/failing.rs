//! Whether a drive is failing: from the dates at which it made an error and was there, and answering, afterwards.
//!
//! An error that a probe clears is forgiven, and the drive is used on. One that makes errors again and again would be forgiven each
//! time: the second within a day says that it is failing (docs/decisions/0016).
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// Errors so close together are one incident: a bus that was reset fails every request that was under way, and some after it.
const ONE: SignedDuration = SignedDuration::from_mins(10);
/// Two incidents no further apart than this: failing.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// Nothing for so long, with a probe three times a minute: failing no more.
const QUIET: SignedDuration = SignedDuration::from_hours(24);
/// So many are kept: more say nothing more.
const KEPT: usize = 32;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A block could not be read: one file's problem, which another drive's copy mends.
    Read,
    /// A write or a flush: what was said to be written may not be.
    Write,
}

/// A drive made an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incident {
    /// When, to the second.
    pub at: Timestamp,
    /// The worst of what failed then.
    pub kind: Kind,
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Read => 'r',
            Kind::Write => 'w',
        };
        write!(f, "{kind}{}", self.at.as_second())
    }
}

/// A text that tells of no incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an incident is 'r' or 'w' and a second, counted from 1970")]
pub struct NoIncident;

impl FromStr for Incident {
    type Err = NoIncident;
    fn from_str(text: &str) -> Result<Self, NoIncident> {
        let (kind, second) = match (text.strip_prefix('r'), text.strip_prefix('w')) {
            (Some(second), _) => (Kind::Read, second),
            (None, Some(second)) => (Kind::Write, second),
            (None, None) => return Err(NoIncident),
        };
        let second = second.parse().map_err(|_| NoIncident)?;
        Ok(Self { at: Timestamp::from_second(second).map_err(|_| NoIncident)?, kind })
    }
}

/// What is known of one drive, in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(Vec<Incident>);

/// A drive is failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// Incidents that say so.
    pub incidents: u64,
    /// The last of them.
    pub last: Timestamp,
    /// Two of them were writes or flushes: nothing more is acknowledged on it.
    pub closed: bool,
}

impl History {
    /// As it is written down.
    pub fn parse(text: &str) -> Self {
        let mut all: Vec<Incident> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        all.sort_unstable();
        Self(all)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more. Errors shortly after an incident belong to it, and may make it a worse one.
    pub fn note(&mut self, kind: Kind, now: Timestamp) {
        self.settle(now);
        let at = second(now);
        match self.0.last_mut() {
            Some(last) if now.duration_since(last.at) < ONE => last.kind = last.kind.max(kind),
            Some(_) | None => self.0.push(Incident { at, kind }),
        }
        self.settle(now);
    }

    /// What somebody else knows of the same drive is added. An incident that became a worse one since it was written down, or was
    /// dated anew, is one.
    pub fn merge(&mut self, other: &Self) {
        self.0.extend(&other.0);
        self.0.sort_unstable();
        let mut all: Vec<Incident> = Vec::with_capacity(self.0.len());
        for one in self.0.drain(..) {
            match all.last_mut() {
                Some(last) if one.at.duration_since(last.at) < ONE => last.kind = last.kind.max(one.kind),
                Some(_) | None => all.push(one),
            }
        }
        self.0 = all;
    }

    /// Dates that have not come yet are the trace of a clock that was wrong, and would never age: they are now. What is long past
    /// is left out. `true`: something changed.
    pub fn settle(&mut self, now: Timestamp) -> bool {
        let before = self.0.clone();
        for incident in &mut self.0 {
            incident.at = incident.at.min(second(now));
        }
        self.0.sort_unstable();
        self.0.retain(|incident| now.duration_since(incident.at) < WINDOW.saturating_add(QUIET));
        let many = self.0.len().saturating_sub(KEPT);
        self.0.drain(..many);
        before != self.0
    }

    /// Whether the drive is failing.
    pub fn judge(&self, now: Timestamp) -> Option<Failing> {
        let writes: Vec<Timestamp> =
            self.0.iter().filter(|one| one.kind == Kind::Write).map(|one| one.at).collect();
        let all: Vec<Timestamp> = self.0.iter().map(|one| one.at).collect();
        let last = again_and_again(&all, now)?;
        let closed = again_and_again(&writes, now).is_some();
        Some(Failing { incidents: all.len() as u64, last, closed })
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&words.join(" "))
    }
}

/// As exactly as it is written down.
fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The last of these dates, if it was within the window of the one before, and has not been quiet since.
fn again_and_again(dates: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    let [.., before, last] = dates else { return None };
    let close = last.duration_since(*before) <= WINDOW;
    (close && now.duration_since(*last) < QUIET).then_some(*last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    const DAY: i64 = 24 * 60;

    /// Incidents at these minutes, judged at another: `None`, or how many, and whether it is closed.
    fn judged(minutes: &[(char, i64)], now: i64) -> Option<(u64, bool)> {
        let mut history = History::default();
        for (kind, minute) in minutes {
            history.note(if *kind == 'w' { Kind::Write } else { Kind::Read }, at(*minute));
        }
        history.settle(at(now));
        assert_eq!(History::parse(&history.to_string()), history, "written down and read again");
        history.judge(at(now)).map(|failing| (failing.incidents, failing.closed))
    }

    #[test]
    fn the_second_within_a_day_says_it_until_a_day_was_quiet() {
        assert_eq!(judged(&[], 0), None);
        assert_eq!(judged(&[('w', 0)], 0), None, "once is forgiven");
        assert_eq!(judged(&[('w', 0), ('w', 60)], 60), Some((2, true)));
        assert_eq!(judged(&[('w', 0), ('w', DAY)], DAY), Some((2, true)));
        assert_eq!(judged(&[('w', 0), ('w', DAY + 1)], DAY + 1), None, "further apart");
        assert_eq!(judged(&[('w', 0), ('w', 60)], 60 + DAY - 1), Some((2, true)));
        assert_eq!(judged(&[('w', 0), ('w', 60)], 60 + DAY), None, "a quiet day");
        assert_eq!(
            judged(&[('w', 0), ('w', 60), ('w', 60 + DAY + 300)], 60 + DAY + 300),
            None,
            "once since a quiet day"
        );
        let hourly: Vec<(char, i64)> = (0..100).map(|hour| ('w', hour * 60)).collect();
        assert!(judged(&hourly, 100 * 60).is_some(), "an error every hour is never forgiven");
    }

    #[test]
    fn errors_in_one_go_are_one_incident() {
        assert_eq!(judged(&[('w', 0), ('w', 1), ('w', 9)], 9), None);
        assert_eq!(judged(&[('w', 0), ('w', 9), ('w', 10)], 10), Some((2, true)), "counted from the first");
    }

    #[test]
    fn blocks_that_cannot_be_read_close_nothing() {
        assert_eq!(judged(&[('r', 0), ('r', 60)], 60), Some((2, false)));
        assert_eq!(judged(&[('r', 0), ('w', 60)], 60), Some((2, false)));
        assert_eq!(judged(&[('r', 0), ('w', 60), ('w', 120)], 120), Some((3, true)));
        assert_eq!(judged(&[('r', 0), ('w', 1), ('w', 60)], 60), Some((2, true)), "the worst of an incident");
    }

    #[test]
    fn a_clock_that_was_wrong_condemns_nobody_for_ever() {
        let ten_years = 3650 * DAY;
        let mut history = History::default();
        history.note(Kind::Write, at(ten_years));
        history.note(Kind::Write, at(ten_years + 60));
        assert!(history.settle(at(0)), "set right");
        assert!(history.judge(at(0)).is_some());
        assert!(!history.settle(at(DAY)));
        assert!(history.judge(at(DAY)).is_none());
    }

    #[test]
    fn what_two_know_of_one_drive_is_told_once() {
        let (mut one, other) = (History::parse("w100 r5000"), History::parse("r5000 w9000 nonsense x1"));
        one.merge(&other);
        assert_eq!(one.to_string(), "w100 r5000 w9000");
        // Written down before the incident became a worse one.
        let (mut one, other) = (History::parse("w100"), History::parse("r100 w130"));
        one.merge(&other);
        assert_eq!((one.to_string().as_str(), one.judge(at(0))), ("w100", None));
    }

    proptest! {
        #[test]
        fn whatever_happened_it_is_bounded_and_a_quiet_day_ends_it(
            minutes in proptest::collection::vec((any::<bool>(), -5_000i64..5_000), 0..80),
        ) {
            let mut history = History::default();
            for (write, minute) in minutes {
                history.note(if write { Kind::Write } else { Kind::Read }, at(minute));
                prop_assert!(history.0.len() <= KEPT && history.0.is_sorted());
            }
            history.settle(at(5_000 + DAY));
            prop_assert!(history.judge(at(5_000 + DAY)).is_none());
        }
    }
}
