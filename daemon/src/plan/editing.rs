//! Whether a file that the catalogue knows looks as it did, or has to be read again.
use jiff::Timestamp;

/// What a look at size and time says of a known file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// As it was.
    Same,
    /// Its time is another: whoever wrote it may have written other bytes.
    Written,
    /// Another size at the old time, or nothing left: no program that writes does that.
    Damaged,
}

/// `size` and `dated` are on record; of several names for one file, each has its own time, and the file has one of them.
pub fn look(size: u64, dated: &[Timestamp], found_size: u64, found: Timestamp) -> Look {
    let same_time = dated.iter().any(|at| at.duration_since(found).abs() <= COARSE);
    if found_size == 0 && size > 0 {
        Look::Damaged
    } else if !same_time {
        Look::Written
    } else if found_size == size {
        Look::Same
    } else {
        Look::Damaged
    }
}

/// FAT keeps even seconds only.
const COARSE: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_and_what_is_not() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let known = [at(1000), at(5000)];
        for (size, time, expected) in [
            (8, 1000, Look::Same),
            (8, 5000, Look::Same),
            (8, 1002, Look::Same),
            (8, 1003, Look::Written),
            (9, 1003, Look::Written),
            (9, 1000, Look::Damaged),
            (0, 1000, Look::Damaged),
            (0, 1003, Look::Damaged),
        ] {
            assert_eq!(look(8, &known, size, at(time)), expected, "{size} bytes at {time}");
        }
        assert_eq!(look(0, &known, 0, at(9000)), Look::Written);
    }
}
