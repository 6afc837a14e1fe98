//! The tail: what a drive was given before it stopped without notice, and may have lost although it said that all was written.
use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// What was recorded within so long before the stop is re-read.
const SPAN: SignedDuration = SignedDuration::from_hours(24);

/// Two records in a row that are further apart tell of a clock that was set, and not of time that passed (invariant I24).
const SET: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Records that are closer together than this count as one: the tail may begin so much earlier than it has to, and a day's records are few,
/// however many there are of them.
const STEP: SignedDuration = SignedDuration::from_mins(10);

/// The last records of a drive, taken in in their order. Time is counted from record to record: a clock that was wrong for a while, or was set
/// back, makes the tail longer and never shorter.
#[derive(Debug, Default)]
pub struct Records {
    last: Option<Timestamp>,
    /// From the first record to the last.
    span: SignedDuration,
    /// Of each step the first record, and the span up to the record before it.
    steps: VecDeque<(u64, SignedDuration)>,
}

impl Records {
    /// The next one: its sequence number and date.
    pub fn take(&mut self, seq: u64, at: Timestamp) {
        let Some(last) = self.last.replace(at) else { return };
        let before = self.span;
        let apart = at.duration_since(last);
        let passed = apart.is_positive() && apart < SET;
        if passed {
            self.span = self.span.saturating_add(apart);
        }
        // What comes after a pause is apart from what was before it, to the record.
        let paused = passed && apart >= STEP;
        if paused || self.steps.back().is_none_or(|(_, begun)| before - *begun >= STEP) {
            self.steps.push_back((seq, before));
        }
        while self.steps.get(1).is_some_and(|(_, begun)| self.span - *begun > SPAN) {
            self.steps.pop_front();
        }
    }

    /// The first record of the tail. `None`: it begins before the first of these.
    pub fn begins(&self) -> Option<u64> {
        let (seq, begun) = self.steps.front()?;
        (self.span - *begun > SPAN).then_some(*seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbered from 1, at these hours.
    fn begins_at(hours: &[i64]) -> Option<u64> {
        let mut records = Records::default();
        for (n, h) in (1..).zip(hours) {
            records.take(n, Timestamp::from_second(1_800_000_000 + h * 3600).unwrap());
        }
        records.begins()
    }

    /// Minutes apart count as one, and a pause divides them all the same.
    #[test]
    fn what_came_before_a_pause_is_no_part_of_what_came_after() {
        let mut records = Records::default();
        for (seq, minute) in [(1, 0), (2, 1), (3, 2), (4, 25 * 60), (5, 25 * 60 + 1)] {
            records.take(seq, Timestamp::from_second(1_800_000_000 + minute * 60).unwrap());
        }
        assert_eq!(records.begins(), Some(4));
    }

    /// A day in which a family's whole archive came.
    #[test]
    fn of_two_hundred_thousand_records_a_day_few_are_remembered() {
        const RECORDS: u64 = 400_000;
        let mut records = Records::default();
        for seq in 1..=RECORDS {
            let at = 1_800_000_000_000 + i64::try_from(seq).unwrap() * 432;
            records.take(seq, Timestamp::from_millisecond(at).unwrap());
            assert!(records.steps.len() <= 147, "{}", records.steps.len());
        }
        let begins = records.begins().unwrap();
        // Two days of them: the last half, and at most ten minutes more.
        assert!((198_600..=200_000).contains(&begins), "{begins}");
    }

    #[test]
    fn a_day_of_records_whatever_the_clock_says() {
        assert_eq!(begins_at(&[]), None);
        assert_eq!(begins_at(&[0]), None);
        assert_eq!(begins_at(&[0, 10, 20, 24]), None);
        assert_eq!(begins_at(&[0, 10, 20, 30, 40]), Some(3));
        assert_eq!(begins_at(&[0, 1, 100]), Some(3), "the last one always belongs to it");
        // Started in 1970 and set right: the hours before and after count, the leap does not.
        let leap = -400_000;
        assert_eq!(begins_at(&[0, 20, leap, leap + 1, 22, 23]), None);
        assert_eq!(begins_at(&[0, 20, leap, leap + 1, 40, 63]), Some(2));
        // Set back by some hours.
        assert_eq!(begins_at(&[0, 20, 10, 12, 30]), Some(2));
    }
}
