//! The brake: whether so much was changed or vanished at once that nothing more is taken away from any drive until a person has
//! answered (promise P5).
//!
//! Judged from what is on record, in its order, and from no clock: what once was too much stays so, however long ago it was
//! and whatever the clock has said since (invariant I24).
use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::plan::mirroring::Brake;

/// Changes so close to each other count together.
const TOGETHER: SignedDuration = SignedDuration::from_hours(1);

/// What is gone from the primary and nobody asked for that: counts as long as it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vanished {
    /// How many files.
    pub files: u64,
    /// When the first of them was missed.
    pub first: Timestamp,
    /// And the last.
    pub last: Timestamp,
}

/// Too much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// The first change that belongs to it; the highest number there is if only files vanished.
    pub from: i64,
    /// When it began.
    pub since: Timestamp,
}

/// Changes as they are recorded, weighed.
#[derive(Debug, Default)]
pub struct Scales {
    /// The changes of the last hour before the newest.
    recent: VecDeque<(i64, Timestamp, String)>,
    /// How often each name is among them: one that is saved every minute is one.
    names: HashMap<String, u32>,
    vanished: Option<Vanished>,
    alarm: Option<Alarm>,
}

impl Scales {
    /// With what is gone as it is now. When that changes, everything is weighed anew.
    pub fn new(vanished: Option<Vanished>) -> Self {
        Self { vanished, ..Self::default() }
    }

    /// What is gone, as it was weighed.
    pub fn vanished(&self) -> Option<Vanished> {
        self.vanished
    }

    /// Takes in the next change. `all`: how many files there are.
    pub fn take(&mut self, change: i64, at: Timestamp, name: String, brake: Brake, all: u64) {
        while let Some((_, first, _)) = self.recent.front()
            && at.duration_since(*first).abs() > TOGETHER
        {
            self.drop_first();
        }
        *self.names.entry(name.clone()).or_default() += 1;
        self.recent.push_back((change, at, name));
        self.weigh(brake, all);
    }

    fn drop_first(&mut self) {
        let Some((_, _, name)) = self.recent.pop_front() else { return };
        if let Some(times) = self.names.get_mut(&name) {
            *times -= 1;
            if *times == 0 {
                self.names.remove(&name);
            }
        }
    }

    /// Whether there is too much, with everything taken in so far.
    pub fn weigh(&mut self, brake: Brake, all: u64) -> Option<Alarm> {
        let changed = self.names.len() as u64;
        let vanished = self.vanished.map_or(0, |v| v.files);
        let together = if self.meet() { changed.saturating_add(vanished) } else { changed };
        let first = self.recent.front().map(|(change, at, _)| (*change, *at));
        if brake.holds(together, all)
            && let Some((from, since)) = first
        {
            self.raise(Alarm { from, since });
        }
        if let Some(vanished) = self.vanished.filter(|v| brake.holds(v.files, all)) {
            self.raise(Alarm { from: i64::MAX, since: vanished.first });
        }
        self.alarm
    }

    /// Two that are one began with the first.
    fn raise(&mut self, new: Alarm) {
        let alarm = self.alarm.get_or_insert(new);
        alarm.from = alarm.from.min(new.from);
        alarm.since = alarm.since.min(new.since);
    }

    /// Whether what changed last and what vanished are of one hour.
    fn meet(&self) -> bool {
        let Some((vanished, (_, first, _))) = self.vanished.zip(self.recent.front()) else { return false };
        let last = self.recent.back().map_or(*first, |(_, at, _)| *at);
        let near = |one: Timestamp, other: Timestamp| one.duration_since(other) <= TOGETHER;
        near(vanished.first, last) && near(*first, vanished.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BRAKE: Brake = Brake { percent: 1, files: 200 };
    const MANY: u64 = 1_000_000;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    /// Changes of so many names, at this minute.
    fn change(scales: &mut Scales, names: std::ops::Range<i64>, minute: i64) -> Option<Alarm> {
        for number in names {
            scales.take(number, at(minute), number.to_string(), BRAKE, MANY);
        }
        scales.weigh(BRAKE, MANY)
    }

    fn gone(files: u64, minute: i64) -> Scales {
        Scales::new(Some(Vanished { files, first: at(minute), last: at(minute) }))
    }

    #[test]
    fn two_hundred_an_hour_are_a_hand_and_one_more_is_not() {
        let mut scales = Scales::default();
        assert_eq!(change(&mut scales, 0..200, 0), None);
        let mut later = Scales::default();
        change(&mut later, 0..200, 0);
        assert_eq!(change(&mut later, 200..400, 61), None, "another hour");
        assert_eq!(change(&mut scales, 200..201, 59), Some(Alarm { from: 0, since: at(0) }));
        // Once it was too much, it stays so, however quiet it gets.
        assert_eq!(change(&mut scales, 201..202, 600_000), Some(Alarm { from: 0, since: at(0) }));
    }

    #[test]
    fn a_file_that_is_saved_again_and_again_is_one() {
        let mut scales = Scales::default();
        for number in 0..1000 {
            scales.take(number, at(number / 20), "anna/diary.txt".to_owned(), BRAKE, MANY);
        }
        assert_eq!(scales.weigh(BRAKE, MANY), None);
    }

    #[test]
    fn what_vanished_and_what_changed_count_together_within_the_hour() {
        assert_eq!(gone(200, 0).weigh(BRAKE, MANY), None);
        assert_eq!(gone(201, 0).weigh(BRAKE, MANY), Some(Alarm { from: i64::MAX, since: at(0) }));
        for (minute, expected) in [(-61, None), (-60, Some(at(-60))), (60, Some(at(0))), (61, None)] {
            let alarm = change(&mut gone(101, 0), 0..100, minute);
            assert_eq!(alarm.map(|a| a.from), expected.map(|_| 0), "{minute}");
        }
        // A small pool: a hundredth of it, and more than a handful.
        let mut small = gone(21, 0);
        assert_eq!(small.weigh(BRAKE, 2100), None);
        assert!(small.weigh(BRAKE, 2099).is_some());
        // Both are one alarm, with all the changes of that hour.
        assert_eq!(change(&mut gone(300, 5), 7..9, 0), Some(Alarm { from: 7, since: at(0) }));
    }

    proptest! {
        /// The clock may jump as it likes between two changes: what was held stays held (invariant I24).
        #[test]
        fn no_jump_of_the_clock_lets_go(jumps in prop::collection::vec(-50_000_000i64..50_000_000, 1..60)) {
            let mut scales = Scales::default();
            change(&mut scales, 0..201, 0);
            for (number, minute) in (201..).zip(jumps) {
                prop_assert!(change(&mut scales, number..number + 1, minute).is_some_and(|a| a.from == 0));
            }
        }

        /// What is counted is what is in the window, and every name in it once.
        #[test]
        fn the_window_is_what_it_says(minutes in prop::collection::vec((0i64..300, 0u8..40), 1..200)) {
            let mut minutes = minutes;
            minutes.sort_unstable();
            let mut scales = Scales::default();
            for (number, (minute, name)) in (0..).zip(&minutes) {
                scales.take(number, at(*minute), name.to_string(), BRAKE, MANY);
                let upto = usize::try_from(number).unwrap();
                let near = minutes[..=upto].iter().filter(|(other, _)| minute - other <= 60);
                let names: std::collections::BTreeSet<_> = near.map(|(_, name)| name).collect();
                prop_assert_eq!(scales.names.len(), names.len());
            }
        }
    }
}
