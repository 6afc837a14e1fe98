//! The tail: what a drive was given before it stopped without notice, and may have lost although it said that all was written.
use jiff::{SignedDuration, Timestamp};

/// What was recorded within so long before the stop is re-read.
const SPAN: SignedDuration = SignedDuration::from_hours(24);

/// Two records in a row that are further apart tell of a clock that was set, and not of time that passed (invariant I24).
const SET: SignedDuration = SignedDuration::from_hours(366 * 24);

/// The first record of the tail, out of the last ones of a drive, in their order: sequence number and date. `None`: the tail begins
/// before the first of these. Time is counted from record to record: a clock that was wrong for a while, or was set back, makes the tail
/// longer and never shorter.
pub fn begins(records: &[(u64, Timestamp)]) -> Option<u64> {
    let mut span = SignedDuration::ZERO;
    for pair in records.windows(2).rev() {
        let [(_, before), (seq, after)] = pair else { continue };
        let apart = after.duration_since(*before);
        if apart.is_positive() && apart < SET {
            span = span.saturating_add(apart);
        }
        if span > SPAN {
            return Some(*seq);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbered from 1, at these hours.
    fn begins_at(hours: &[i64]) -> Option<u64> {
        let records: Vec<_> = (1..)
            .zip(hours)
            .map(|(n, h)| (n, Timestamp::from_second(1_800_000_000 + h * 3600).unwrap()))
            .collect();
        begins(&records)
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
