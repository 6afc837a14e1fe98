//! Uploads in parts: whether what is here is the whole, in which order, and how long it is kept.
use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};

use crate::model::upload::{Lying, Part};

/// So many parts one upload has at most: of 10 MB each, as phones send them, that is 100 GB.
pub const MOST_PARTS: usize = 10_000;

/// So many uploads of one device may be unfinished at once.
pub const MOST_UPLOADS: usize = 500;

/// The highest number of a part whose client chooses how long parts are, and sends short ones: of 64 KiB each that is 6 GB.
pub const MOST_SHORT_PARTS: u64 = 100_000;

/// So many uploads of one device are kept unfinished in a dialect whose client begins anew under another id after each failure: what it
/// left behind is of no use to anybody.
pub const MOST_LEFT_BEHIND: usize = 4;

/// What a client may note of one upload, bytes.
pub const MOST_NOTES: usize = 8 << 10;

/// How long the parts of an upload are kept after the last one came. Phones forget for days that they began a video, and some of them
/// forget at once which parts they sent.
pub const KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long the outcome is told again to whoever did not hear it.
pub const TOLD: SignedDuration = SignedDuration::from_hours(24);

/// So many uploads are remembered at most with the hashes of what came: a few KiB each.
pub const MOST_REMEMBERED: usize = 32;

/// How long: what memory holds of a file for longer was perhaps let go meanwhile, and read again from a medium that has changed.
pub const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);

/// How a dialect numbers parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// They rise, and nothing is said by a gap: the total must be stated.
    Rising,
    /// They count up by one from this number.
    From(u64),
    /// They count up by one from 1, and there are so many.
    Counted(u64),
    /// Each is the offset of its first byte.
    Offsets,
}

/// What has to hold of the parts before they are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Bytes in all, where the client stated it.
    pub total: Option<u64>,
    /// How they are numbered.
    pub numbering: Numbering,
}

/// Why parts are not a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// This part is missing, or another one is where it should be.
    #[error("part {0} is missing")]
    Missing(u64),
    /// The sum is not what was stated.
    #[error("the parts have {received} bytes in all, where {announced} were announced")]
    Sum {
        /// Announced, bytes.
        announced: u64,
        /// In all parts, bytes.
        received: u64,
    },
    /// There are more parts than were announced.
    #[error("there are {received} parts where {announced} were announced")]
    Count {
        /// Announced.
        announced: u64,
        /// Here.
        received: u64,
    },
    /// Nobody said how long it is, and the numbers do not tell either.
    #[error("nobody said how long it is")]
    Unknown,
}

impl Whole {
    /// The length of the whole, if `parts` (in the order of their numbers) are all of it.
    pub fn of(&self, parts: &[Part]) -> Result<u64, Gap> {
        let mut received: u64 = 0;
        for (at, part) in (0..).zip(parts) {
            let expected = match self.numbering {
                Numbering::Rising => part.number,
                Numbering::From(first) => first.saturating_add(at),
                Numbering::Counted(_) => at.saturating_add(1),
                Numbering::Offsets => received,
            };
            if part.number != expected {
                return Err(Gap::Missing(expected));
            }
            received = received.saturating_add(part.size);
        }
        if let Numbering::Counted(announced) = self.numbering {
            let here = parts.len() as u64;
            match here.cmp(&announced) {
                Ordering::Less => return Err(Gap::Missing(here.saturating_add(1))),
                Ordering::Greater => return Err(Gap::Count { announced, received: here }),
                Ordering::Equal => {}
            }
        }
        match (self.total, self.numbering) {
            (Some(announced), _) if announced != received => Err(Gap::Sum { announced, received }),
            (Some(_), _) => Ok(received),
            (None, Numbering::From(first)) if parts.is_empty() => Err(Gap::Missing(first)),
            (None, Numbering::From(_) | Numbering::Counted(_)) => Ok(received),
            (None, Numbering::Rising | Numbering::Offsets) => Err(Gap::Unknown),
        }
    }
}

/// How long the growing file is, if all parts (in the order of their numbers) lie in it, one behind the other, and nothing between them.
pub fn in_one(lying: &[Lying]) -> Option<u64> {
    lying.iter().try_fold(0, |end, one| one.within.filter(|within| within.offset == end)?.end())
}

/// Where in the growing file a part goes that comes now: behind all others, if it is the next of them by its number, counted or an
/// offset. `None`: it is a file of its own.
pub fn next_at(lying: &[Lying], number: u64) -> Option<u64> {
    let end = in_one(lying)?;
    let is_next = match lying.last() {
        None => number <= 1,
        Some(Lying { part: last, .. }) => {
            number > last.number && (number == end || number - 1 == last.number)
        }
    };
    is_next.then_some(end)
}

/// Bytes that are still to be written of an upload of `total` bytes whose parts have to be copied to be one file.
pub fn to_copy(total: u64, received: u64) -> u64 {
    total.saturating_sub(received).saturating_add(total)
}

/// Whether an upload is thrown away. `last`: when something of it was written last; `None`: nothing of it is left. A clock that
/// was ahead then makes nothing old.
pub fn is_over(last: Option<Timestamp>, assembled: bool, now: Timestamp) -> bool {
    let keep = if assembled { TOLD } else { KEPT };
    last.is_none_or(|last| now.duration_since(last) > keep)
}

/// Whether what was remembered of an upload then may still be used. A clock that was set meanwhile makes it old.
pub fn is_remembered(then: Timestamp, now: Timestamp) -> bool {
    now.duration_since(then).abs() <= REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::upload::{Appended, HashOf};
    use proptest::prelude::*;

    fn parts(all: &[(u64, u64)]) -> Vec<Part> {
        all.iter().map(|&(number, size)| Part { number, size }).collect()
    }

    #[test]
    fn what_is_a_whole() {
        use Numbering::{Counted, From, Offsets, Rising};
        let sum = |announced, received| Err(Gap::Sum { announced, received });
        for (all, total, numbering, expected) in [
            // A phone that never states the total.
            (&[(1, 10), (2, 10), (3, 1)][..], None, From(1), Ok(21)),
            (&[(1, 10), (3, 1)], None, From(1), Err(Gap::Missing(2))),
            (&[(2, 10)], None, From(1), Err(Gap::Missing(1))),
            (&[], None, From(1), Err(Gap::Missing(1))),
            (&[(0, 10), (1, 1)], None, From(1), Err(Gap::Missing(1))),
            // One that states how many there are.
            (&[(1, 10), (2, 0), (3, 1)], None, Counted(3), Ok(11)),
            (&[(1, 10), (2, 10)], None, Counted(3), Err(Gap::Missing(3))),
            (&[(1, 10), (3, 10)], None, Counted(2), Err(Gap::Missing(2))),
            (&[(0, 10), (1, 10)], None, Counted(2), Err(Gap::Missing(1))),
            (&[(1, 10), (2, 10)], None, Counted(1), Err(Gap::Count { announced: 1, received: 2 })),
            (&[], None, Counted(1), Err(Gap::Missing(1))),
            // Those that do.
            (&[(0, 10), (7, 1)], Some(11), Rising, Ok(11)),
            (&[(7, 1)], Some(11), Rising, sum(11, 1)),
            (&[(0, 10), (7, 2)], Some(11), Rising, sum(11, 12)),
            (&[(0, 10)], None, Rising, Err(Gap::Unknown)),
            (&[], Some(0), Rising, Ok(0)),
            // Offsets.
            (&[(0, 10), (10, 1)], Some(11), Offsets, Ok(11)),
            (&[(0, 10), (11, 1)], Some(11), Offsets, Err(Gap::Missing(10))),
            (&[(0, 10), (9, 1)], Some(11), Offsets, Err(Gap::Missing(10))),
            (&[(0, 10)], Some(11), Offsets, sum(11, 10)),
            (&[(0, 10)], None, Offsets, Err(Gap::Unknown)),
            (&[(0, u64::MAX), (u64::MAX, 9)], Some(u64::MAX), Rising, Ok(u64::MAX)),
        ] {
            assert_eq!(
                Whole { total, numbering }.of(&parts(all)),
                expected,
                "{all:?} {total:?} {numbering:?}"
            );
        }
    }

    #[test]
    fn what_is_appended() {
        let hash = crate::model::hash::ContentHash::of(b"x");
        let of = |all: &[(u64, u64, Option<u64>)]| -> Vec<Lying> {
            let one = |&(number, size, offset): &(u64, u64, Option<u64>)| {
                let part = Part { number, size };
                Lying { part, within: offset.map(|offset| Appended { part, offset, hash, of: HashOf::Part }) }
            };
            all.iter().map(one).collect()
        };
        for (all, number, expected) in [
            (&[][..], 0, Some(0)),
            (&[], 1, Some(0)),
            (&[], 2, None),
            // Counted.
            (&[(1, 10, Some(0))], 2, Some(10)),
            (&[(1, 10, Some(0)), (2, 5, Some(10))], 3, Some(15)),
            (&[(1, 10, Some(0))], 3, None),
            (&[(1, 10, Some(0))], 1, None),
            (&[(1, 10, Some(0)), (2, 5, Some(10))], 1, None),
            (&[(1, 10, Some(0)), (2, 5, Some(10))], 0, None),
            // Offsets.
            (&[(0, 10, Some(0))], 10, Some(10)),
            (&[(0, 10, Some(0)), (10, 7, Some(10))], 17, Some(17)),
            (&[(0, 10, Some(0))], 9, None),
            (&[(0, 0, Some(0))], 0, None),
            // Behind one that lies elsewhere, one that is missing, or a gap, nothing is gained by it.
            (&[(1, 10, None)], 2, None),
            (&[(1, 10, Some(0)), (2, 5, None)], 3, None),
            (&[(1, 10, Some(0)), (3, 5, Some(15))], 4, None),
            (&[(1, 10, Some(5))], 2, None),
            (&[(u64::MAX, 1, Some(0))], u64::MAX, None),
            (&[(1, 10, Some(u64::MAX))], 2, None),
        ] {
            assert_eq!(next_at(&of(all), number), expected, "{all:?} {number}");
        }
        assert_eq!(in_one(&of(&[(1, 10, Some(0)), (2, 0, Some(10)), (3, 5, Some(10))])), Some(15));
        assert_eq!(in_one(&of(&[(1, 10, Some(10)), (2, 10, Some(0))])), None);
        assert_eq!(
            (to_copy(10, 0), to_copy(10, 4), to_copy(10, 12), to_copy(u64::MAX, 0)),
            (20, 16, 10, u64::MAX)
        );
    }

    #[test]
    fn what_is_kept() {
        let then: Timestamp = "2026-11-14T18:02:11Z".parse().unwrap();
        let day = SignedDuration::from_hours(24);
        assert!(!is_over(Some(then), false, then + day * 14));
        assert!(is_over(Some(then), false, then + day * 14 + SignedDuration::from_secs(1)));
        assert!(!is_over(Some(then), true, then + day));
        assert!(is_over(Some(then), true, then + day * 2));
        assert!(is_over(None, false, then));
        for (later, expected) in [(0, true), (600, true), (601, false), (-600, true), (-601, false)] {
            assert_eq!(is_remembered(then, then + SignedDuration::from_secs(later)), expected, "{later}");
        }
        assert!(!is_over(Some(then + day * 400), true, then));
    }

    proptest! {
        /// A file that lacks a part, or has one of another length, is never taken for whole.
        #[test]
        fn nothing_is_whole_that_lacks_a_byte(sizes in proptest::collection::vec(1u64..50, 1..20), gone in any::<prop::sample::Index>(), by in 1u64..50) {
            let total: u64 = sizes.iter().sum();
            let mut at = 0;
            let offsets: Vec<Part> = sizes.iter().map(|&size| { let part = Part { number: at, size }; at += size; part }).collect();
            let counted: Vec<Part> = (1..).zip(&sizes).map(|(number, &size)| Part { number, size }).collect();
            for (all, numbering) in [(offsets, Numbering::Offsets), (counted.clone(), Numbering::From(1)), (counted, Numbering::Rising)] {
                let whole = Whole { total: Some(total), numbering };
                prop_assert_eq!(whole.of(&all), Ok(total));
                let gone = gone.index(all.len());
                let mut less = all.clone();
                less.remove(gone);
                prop_assert!(whole.of(&less).is_err());
                let mut other = all;
                other[gone].size += by;
                prop_assert!(whole.of(&other).is_err());
            }
        }
    }
}
