//! How long the file is that Nextcloud's Android app sends in chunks: it never says so, but the id of its upload is a hash of the length.
use md5::{Digest as _, Md5};

use crate::model::hash::hex;

/// What an upload's id says of the length of all chunks together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is the length the app meant.
    Whole,
    /// The app meant one byte more: it never sends a last chunk of one byte.
    OneShort,
    /// The id is of another kind, or the file has another name or date on the phone.
    Nothing,
}

/// The id is the MD5 of the file's name, its date in milliseconds and its length, as text one after the other; of the date only
/// the seconds are known here. `sum`: bytes of all chunks.
pub(super) fn told(id: &str, name: &str, seconds: i64, sum: u64) -> Told {
    let is_hash = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hash {
        return Told::Nothing;
    }
    let fits = |length: u64| {
        (0..1000).any(|millis| {
            let Some(date) = seconds.checked_mul(1000).and_then(|date| date.checked_add(millis)) else {
                return false;
            };
            hex(&Md5::digest(format!("{name}{date}{length}"))) == id
        })
    };
    if fits(sum) {
        Told::Whole
    } else if fits(sum.saturating_add(1)) {
        Told::OneShort
    } else {
        Told::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_tells_the_length() {
        // printf '%s' 'VID_1.mp4' 1712345678123 40960000 | md5sum
        let id = hex(&Md5::digest("VID_1.mp4171234567812340960000"));
        let told = |seconds, sum| told(&id, "VID_1.mp4", seconds, sum);
        assert_eq!(told(1_712_345_678, 40_960_000), Told::Whole);
        assert_eq!(told(1_712_345_678, 40_959_999), Told::OneShort);
        assert_eq!(told(1_712_345_678, 40_959_998), Told::Nothing);
        assert_eq!(told(1_712_345_679, 40_960_000), Told::Nothing);
        assert_eq!(told(i64::MAX, u64::MAX), Told::Nothing);
        assert_eq!(super::told("2F5C", "VID_1.mp4", 1, 1), Told::Nothing);
    }
}
