//! The forecast: in how many days a drive is full, if photos go on coming as they did.
use jiff::Timestamp;

/// Days that are looked back at.
pub const LONG: i64 = 90;
/// The last of them, in case more comes lately.
const SHORT: i64 = 30;
/// With less to go by, nothing is said: the first days of a box are those when people send all they have.
const LEAST: i64 = 14;
/// What is further away is no forecast.
const FURTHEST: u64 = 3650;

/// Bytes received on one day, counted in days since 1970.
pub type Day = (i64, u64);

/// The number of a day, in UTC.
pub fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(24 * 3600)
}

/// In about how many days `room` bytes are used up. `first`: the day of the first photo of all.
///
/// The fullest day counts for nothing: that is when somebody brought an old collection. Days that are yet to come are the trace
/// of a clock that was wrong, and count for nothing either; photos whose dates are too old make the forecast a later one, never
/// an alarm (invariant I24).
pub fn full_in(room: u64, received: &[Day], first: i64, today: i64) -> Option<u64> {
    let history = today.saturating_sub(first).saturating_add(1);
    if history < LEAST {
        return None;
    }
    let rate = |window: i64| {
        let days = || {
            received.iter().filter(|(day, _)| *day <= today && *day > today - window).map(|(_, bytes)| *bytes)
        };
        let usual = days().sum::<u64>() - days().max().unwrap_or(0);
        // Of the days, one is left out.
        usual / window.min(history).saturating_sub(1).max(1).unsigned_abs()
    };
    let rate = rate(LONG).max(rate(SHORT));
    room.checked_div(rate).filter(|days| *days <= FURTHEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GB: u64 = 1_000_000_000;

    fn daily(days: std::ops::Range<i64>, bytes: u64) -> Vec<Day> {
        days.map(|day| (day, bytes)).collect()
    }

    #[test]
    fn a_steady_stream_fills_a_drive_when_it_does() {
        let days = daily(1..101, GB);
        assert_eq!(full_in(30 * GB, &days, 1, 100), Some(30));
        assert_eq!(full_in(0, &days, 1, 100), Some(0));
        assert_eq!(full_in(4000 * GB, &days, 1, 100), None, "too far away");
        assert_eq!(full_in(30 * GB, &[], 1, 100), None);
    }

    #[test]
    fn what_comes_lately_counts() {
        let days = [daily(11..71, GB), daily(71..101, 3 * GB)].concat();
        assert_eq!(full_in(30 * GB, &days, 1, 100), Some(10));
    }

    #[test]
    fn a_collection_brought_in_one_day_and_a_new_box_raise_no_alarm() {
        let mut days = daily(1..21, GB);
        days.push((21, 500 * GB));
        let forecast = full_in(100 * GB, &days, 1, 30).unwrap();
        assert!(forecast >= 100, "{forecast}");
        assert_eq!(full_in(GB, &daily(1..14, GB), 1, 13), None);
        assert_eq!(full_in(GB, &[(100, 500 * GB)], 1, 100), None);
    }

    #[test]
    fn wrong_clocks_raise_no_alarm() {
        let days = daily(20_000..20_090, GB);
        for (first, today) in [(0, 0), (20_000, 0), (20_000, 23_740), (-5, 40_000)] {
            assert_eq!(full_in(GB, &days, first, today), None, "{first} {today}");
        }
        let future = daily(20_100..20_200, 100 * GB);
        assert_eq!(full_in(30 * GB, &[days, future].concat(), 20_000, 20_089), Some(30));
    }

    proptest! {
        #[test]
        fn never_panics(
            room: u64,
            days in proptest::collection::vec((-50_000i64..50_000, 0u64..1 << 50), 0..100),
            first in -50_000i64..50_000,
            today in -50_000i64..50_000,
        ) {
            prop_assert!(full_in(room, &days, first, today).is_none_or(|days| days <= FURTHEST));
        }
    }
}
