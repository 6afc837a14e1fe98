//! When a copy is re-read, and how much of a drive at once: every one within a month, a new one soon, all of it gently.
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::copy::{Backlog, Due};

/// After this a copy is due again. Invariant I17 allows 30 days: the rest is for boxes that are switched off at times.
const CYCLE: SignedDuration = SignedDuration::from_hours(25 * 24);
/// A copy that was not read for longer is told of.
const OVERDUE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A copy that waits for longer is read at a faster pace.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);
/// At that pace all of a drive is read in so long. With `PATIENCE` it is less than what lies between `CYCLE` and `OVERDUE`.
const CATCH_UP: SignedDuration = SignedDuration::from_hours(84);
/// Copies that are due are counted by their age, in steps of this.
const HALF_A_DAY: SignedDuration = SignedDuration::from_hours(12);
/// A copy nobody has read back yet is left alone for so long: right after it was written, the drive's own memory would answer,
/// and that proves nothing about the medium.
const SETTLES: SignedDuration = SignedDuration::from_mins(10);
/// So long uploads are let go before a copy that nobody has read back yet.
const FIRST_WAITS: SignedDuration = SignedDuration::from_hours(1);
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

/// How much a copy that is due presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// It has days.
    Steady,
    /// It waits for more than a day: at the steady pace, what was copied all at once would not be through in time.
    Late,
    /// Nobody has read it back yet, and a phone waits to be told that it is safe; or it is of the tail of an unclean stop.
    First,
}

/// How much the next copy presses.
pub fn haste(tail: bool, reread: Option<Timestamp>, now: Timestamp) -> Haste {
    match reread {
        _ if tail => Haste::First,
        None => Haste::First,
        Some(at) if now.duration_since(at) > CYCLE + PATIENCE => Haste::Late,
        Some(_) => Haste::Steady,
    }
}

/// What the scrub does while uploads go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Nothing is read.
    Pause,
    /// A little is, so that all of it is through in time.
    Slowly,
}

/// What it does once there have been uploads without a pause for `busy`, with the copy that is next. One that has days waits for as long
/// as it has them: from the day on which it is late, a month's term is kept, slowly. One that nobody has read back yet waits an hour. The
/// tail of an unclean stop waits for nothing: whether a drive lost what was acknowledged is to be known soon.
pub fn under_load(haste: Haste, tail: bool, busy: SignedDuration) -> Load {
    match haste {
        _ if tail => Load::Slowly,
        Haste::Steady => Load::Pause,
        Haste::First if busy < FIRST_WAITS => Load::Pause,
        Haste::First | Haste::Late => Load::Slowly,
    }
}

/// Bytes that may be re-read within a minute on a drive that holds `held` bytes: all of it in half a cycle, and a small drive
/// at once. Where copies wait for more than a day, all of it in three and a half days, so that none waits for five.
pub fn allowance(held: u64, haste: Haste) -> u64 {
    const AT_LEAST: u64 = 64 << 20;
    const FIRST: u64 = 2 << 30;
    let within = |span: SignedDuration| held / u64::try_from(span.as_mins()).unwrap_or(1).max(1);
    match haste {
        Haste::Steady => within(CYCLE / 2).max(AT_LEAST),
        Haste::Late => within(CATCH_UP).max(AT_LEAST),
        Haste::First => within(CYCLE / 2).max(FIRST),
    }
}

/// Where copies that are due are divided by when they were last read, ascending: those that are overdue, then every half day.
pub fn lots(now: Timestamp) -> Vec<Timestamp> {
    let halves = (OVERDUE - CYCLE).as_hours() / HALF_A_DAY.as_hours();
    let ago = |half: i64| OVERDUE - SignedDuration::from_hours(half * HALF_A_DAY.as_hours());
    (0..=halves).map(|half| now.saturating_sub(ago(half)).unwrap_or(Timestamp::MIN)).collect()
}

/// How far the re-reading of one drive is, and when it is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// Copies that are due to be re-read.
    pub due: u64,
    /// Their bytes. Of many files it is an estimate, by the size of the first of them.
    pub due_bytes: u64,
    /// Copies to be re-read in all, due or not.
    pub copies: u64,
    /// When those that are due will be re-read if the box stays switched on, as far as uploads and the drive let it; nothing is due: now.
    pub through: Timestamp,
    /// When the next copies are due, if none is.
    pub next: Option<Timestamp>,
    /// Some are older than 30 days, or will be before they are read.
    pub late: bool,
}

/// When what is due will be re-read, on a drive that holds `held` bytes in `copies`, the one that was read longest ago `oldest`.
pub fn forecast(
    backlog: &Backlog,
    copies: u64,
    oldest: Option<Timestamp>,
    held: u64,
    now: Timestamp,
) -> Forecast {
    let at = |minutes: u64| {
        let minutes = i64::try_from(minutes).unwrap_or(i64::MAX).min(CYCLE.as_mins() * 1000);
        now.saturating_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX)
    };
    let mut minutes = backlog.first.bytes.div_ceil(allowance(held, Haste::First));
    let (mut due, mut late) = (backlog.first, false);
    // Of a lot the older end is known. All of the first one are overdue.
    let mut older_end = None;
    for (newer_end, lot) in &backlog.again {
        let older = older_end.replace(*newer_end);
        if lot.copies == 0 {
            continue;
        }
        due += *lot;
        let age = older.map_or(OVERDUE, |older| at(minutes).duration_since(older));
        let calm = u64::try_from((CYCLE + PATIENCE - age).as_mins()).unwrap_or(0);
        let (steady, fast) = (allowance(held, Haste::Steady), allowance(held, Haste::Late));
        let at_first = lot.bytes.min(calm.saturating_mul(steady));
        let pressing = lot.bytes - at_first;
        minutes = minutes.saturating_add(at_first.div_ceil(steady)).saturating_add(pressing.div_ceil(fast));
        late |= older.is_none_or(|older| at(minutes).duration_since(older) > OVERDUE);
    }
    let next = oldest.filter(|_| due.copies == 0).and_then(|oldest| oldest.checked_add(CYCLE).ok());
    let (due, due_bytes) = (due.copies, due.bytes);
    Forecast { due, due_bytes, copies: copies.max(due), through: at(minutes), next, late }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::copy::Lot;

    const GB: u64 = 1_000_000_000;
    const TB: u64 = 1000 * GB;

    #[test]
    fn a_drive_is_read_within_half_a_cycle() {
        for held in [GB, TB, 8 * TB, 20 * TB] {
            let minutes = held.div_ceil(allowance(held, Haste::Steady));
            assert!(minutes <= 25 * 24 * 60 / 2 + 1, "{held} bytes take {minutes} minutes");
        }
        assert_eq!(allowance(TB, Haste::Steady), 64 << 20, "a terabyte needs no more than the least");
        for haste in [Haste::Late, Haste::First] {
            assert!(allowance(0, haste) >= allowance(0, Haste::Steady));
            assert!(allowance(u64::MAX, haste) > 0);
        }
    }

    #[test]
    fn what_has_time_waits_for_uploads_and_what_is_late_goes_on() {
        let day = SignedDuration::from_hours(24);
        let now: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        for busy in [SignedDuration::ZERO, day * 4] {
            assert_eq!(under_load(haste(false, Some(now - day * 25), now), false, busy), Load::Pause);
            assert_eq!(under_load(haste(false, Some(now - day * 27), now), false, busy), Load::Slowly);
            assert_eq!(under_load(haste(true, Some(now), now), true, busy), Load::Slowly);
        }
        let first = |minutes| under_load(haste(false, None, now), false, SignedDuration::from_mins(minutes));
        assert_eq!((first(59), first(60)), (Load::Pause, Load::Slowly));
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

    fn ago(hours: i64, now: Timestamp) -> Timestamp {
        now - SignedDuration::from_hours(hours)
    }

    /// A drive on which every file has 1 GB, and when each was read last: what is due now, as the catalogue counts it.
    fn backlog(read: &[Timestamp], now: Timestamp) -> Backlog {
        let mut from = Timestamp::MIN;
        let lot = |to| {
            let copies = read.iter().filter(|at| (from..to).contains(*at)).count() as u64;
            from = to;
            (to, Lot { copies, bytes: copies * GB })
        };
        Backlog { first: Lot::default(), again: lots(now).into_iter().map(lot).collect() }
    }

    #[test]
    fn what_was_copied_at_once_is_all_re_read_within_thirty_days_and_the_forecast_knows() {
        const MINUTES: u64 = 10;
        let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (files, filled_in_hours) in [(1000, 1), (1000, 48), (8000, 30), (8000, 24 * 20), (20_000, 24)] {
            let held = files * GB;
            let when = |n: u64| begin + SignedDuration::from_mins((filled_in_hours * 60 * n / files) as i64);
            let mut read: std::collections::VecDeque<Timestamp> = (0..files).map(when).collect();
            let (mut eldest, mut credit, mut foretold, mut popped) = (SignedDuration::ZERO, 0, None, 0);
            for step in 0..60 * 24 * 60 / MINUTES {
                let now = begin + SignedDuration::from_mins((step * MINUTES) as i64);
                let head = read[0];
                if head < due(now).read_before {
                    credit += MINUTES * allowance(held, haste(false, Some(head), now));
                    if foretold.is_none() && now.duration_since(when(files - 1)) > CYCLE {
                        let told = forecast(&backlog(read.make_contiguous(), now), files, None, held, now);
                        assert!(!told.late, "{files} {filled_in_hours}: {told:?}");
                        foretold = Some(told.through);
                    }
                }
                while credit >= GB && read[0] < due(now).read_before {
                    credit -= GB;
                    eldest = eldest.max(now.duration_since(read[0]));
                    read.pop_front();
                    read.push_back(now);
                    popped += 1;
                    if let Some(through) = foretold.filter(|_| popped == files) {
                        let off = now.duration_since(through).abs();
                        assert!(off < SignedDuration::from_hours(15), "{files}: {now}, foretold {through}");
                    }
                }
            }
            assert!(
                eldest >= CYCLE && eldest < OVERDUE,
                "{files} {filled_in_hours}: {} h",
                eldest.as_hours()
            );
        }
    }

    #[test]
    fn the_forecast_says_how_far_when_and_whether_in_time() {
        let now: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        let told = |read: &[Timestamp], held: u64| forecast(&backlog(read, now), 2000, None, held, now);
        // Nothing is due: the next is, 25 days after the oldest was read.
        let rest = forecast(&backlog(&[ago(24, now)], now), 1, Some(ago(24, now)), GB, now);
        assert_eq!((rest.due, rest.due_bytes, rest.through, rest.late), (0, 0, now, false));
        assert_eq!(rest.next.unwrap().to_string(), "2026-12-15T18:00:00Z");
        // A minute reads 64 MiB of a small drive.
        let three = told(&[ago(25 * 24 + 1, now); 3], 3 * GB);
        assert_eq!((three.due, three.due_bytes, three.copies, three.next), (3, 3 * GB, 2000, None));
        assert_eq!((three.through.to_string().as_str(), three.late), ("2026-11-21T18:45:00Z", false));
        // Switched off until some had a day left: a terabyte takes three and a half.
        let off = told(&[ago(29 * 24, now); 1000], TB);
        assert_eq!((off.through.to_string().as_str(), off.late), ("2026-11-25T06:01:00Z", true));
        assert!(!told(&[ago(26 * 24, now); 1000], TB).late);
        // A single old one is read first, and the others have time.
        let mixed = [vec![ago(29 * 24, now)], vec![ago(25 * 24 + 6, now); 400]].concat();
        assert!(!told(&mixed, TB).late);
        assert!(told(&[ago(30 * 24 + 1, now)], TB).late, "it is too late");
        // What nobody has read back yet goes first and fast.
        let first = Backlog { first: Lot { copies: 9, bytes: 4 << 30 }, ..Backlog::default() };
        let first = forecast(&first, 9, None, TB, now);
        assert_eq!((first.due, first.through, first.late), (9, now + SignedDuration::from_mins(2), false));
    }

    proptest::proptest! {
        #[test]
        fn the_forecast_never_panics(
            now in -100_000_000_000i64..100_000_000_000,
            bytes: u64,
            held: u64,
            lots in proptest::collection::vec((-300_000_000_000i64..200_000_000_000, 0u64..9, 0u64..u64::MAX), 0..12),
        ) {
            let at = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
            let again = lots.into_iter().map(|(second, copies, bytes)| (at(second), Lot { copies, bytes })).collect();
            let backlog = Backlog { first: Lot { copies: 1, bytes }, again };
            let told = forecast(&backlog, 1, Some(at(now)), held, at(now));
            proptest::prop_assert!(told.through >= at(now) && told.due <= told.copies);
        }
    }
}
