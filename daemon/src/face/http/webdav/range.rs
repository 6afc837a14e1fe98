//! The `Range` header (RFC 9110 §14): one part of a file.

/// What of a file to send. Positions count bytes; the end is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// From here to there.
    Piece(u64, u64),
    /// Nothing of what was asked for is there (416).
    Beyond,
}

/// Reads the header. What is unreadable, in other units, or asks for several parts, is ignored, as §14.2 allows:
/// the answer is then the whole file.
pub(super) fn part(header: Option<&str>, size: u64) -> Part {
    let Some(set) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    let Some((first, last)) = set.trim().split_once('-') else { return Part::Whole };
    let (first, last) = (first.trim(), last.trim());
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Part::Whole;
    }
    // More digits than a length can have mean "to the end", or beyond it.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Part::Whole,
        (true, false) => match number(last) {
            0 => Part::Beyond,
            count if size > 0 => Part::Piece(size.saturating_sub(count), size),
            _ => Part::Beyond,
        },
        (false, true) if number(first) < size => Part::Piece(number(first), size),
        (false, true) => Part::Beyond,
        (false, false) if number(last) < number(first) => Part::Whole,
        (false, false) if number(first) < size => {
            Part::Piece(number(first), number(last).saturating_add(1).min(size))
        }
        (false, false) => Part::Beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_of_ten_bytes() {
        use Part::{Beyond, Piece, Whole};
        for (header, expected) in [
            ("bytes=0-4", Piece(0, 5)),
            ("bytes=0-0", Piece(0, 1)),
            ("bytes=5-", Piece(5, 10)),
            ("bytes=-3", Piece(7, 10)),
            ("bytes=-30", Piece(0, 10)),
            ("bytes=9-99", Piece(9, 10)),
            ("bytes=0-18446744073709551615", Piece(0, 10)),
            ("bytes=0-99999999999999999999999", Piece(0, 10)),
            ("bytes=10-", Beyond),
            ("bytes=-0", Beyond),
            ("bytes=99999999999999999999-", Beyond),
            ("bytes=5-4", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=--1", Whole),
            ("items=0-1", Whole),
        ] {
            assert_eq!(part(Some(header), 10), expected, "{header}");
        }
        assert_eq!(part(None, 10), Whole);
        assert_eq!(part(Some("bytes=0-"), 0), Beyond);
        assert_eq!(part(Some("bytes=-1"), 0), Beyond);
    }

    proptest! {
        #[test]
        fn a_piece_is_inside(text in "bytes=[0-9]{0,21}-[0-9]{0,21}|\\PC{0,30}", size: u64) {
            if let Part::Piece(from, to) = part(Some(&text), size) {
                prop_assert!(from < to && to <= size);
            }
        }
    }
}
