//! `Uuid`: ids for clients that want UUIDs, derived from what they stand for, so that no table keeps them and a lost catalogue changes none.
use std::fmt;
use std::str::FromStr;

use crate::model::hash::{ContentHash, hex};

/// An id in the form of a random UUID (RFC 9562 §5.4): 122 bits, and six that say so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

/// A text that is no UUID of version 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID")]
pub struct BadUuid;

/// The bits of version and variant (RFC 9562 §4.1, §4.2).
const FIXED: u128 = 0x4 << 76 | 0b10 << 62;
const LOW: u128 = (1 << 62) - 1;
const MIDDLE: u128 = (1 << 12) - 1;

impl Uuid {
    /// The id of an asset: the first 122 bits of its content's hash, in their order.
    pub fn of_content(hash: &ContentHash) -> Self {
        let bytes = hash.as_bytes();
        let mut first = [0; 16];
        first.copy_from_slice(&bytes[..16]);
        Self::spread(u128::from_be_bytes(first) >> 6)
    }

    /// The id of anything else that has a name of its own; `kind` keeps those of one text apart.
    pub fn of_name(kind: &str, name: &str) -> Self {
        Self::of_content(&ContentHash::of(format!("{kind}\0{name}").as_bytes()))
    }

    /// The lowest and the highest hash with this id: all content that it can stand for lies between.
    pub fn contents(&self) -> (ContentHash, ContentHash) {
        let bits = self.gathered();
        let whole = |first: u128, rest: u8| {
            let mut bytes = [rest; 32];
            bytes[..16].copy_from_slice(&first.to_be_bytes());
            ContentHash::from_bytes(bytes)
        };
        (whole(bits << 6, 0), whole(bits << 6 | 0x3f, 0xff))
    }

    fn spread(bits: u128) -> Self {
        let (high, middle, low) = (bits >> 74, bits >> 62 & MIDDLE, bits & LOW);
        Self((high << 80 | middle << 64 | low | FIXED).to_be_bytes())
    }

    fn gathered(&self) -> u128 {
        let all = u128::from_be_bytes(self.0);
        (all >> 80) << 74 | (all >> 64 & MIDDLE) << 62 | all & LOW
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex(&self.0);
        let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

impl FromStr for Uuid {
    type Err = BadUuid;
    fn from_str(text: &str) -> Result<Self, BadUuid> {
        let bytes = text.as_bytes();
        let dashes = [8, 13, 18, 23];
        if bytes.len() != 36 || dashes.iter().any(|at| bytes[*at] != b'-') {
            return Err(BadUuid);
        }
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadUuid);
        }
        let all = u128::from_str_radix(&digits, 16).map_err(|_| BadUuid)?;
        let id = Self(all.to_be_bytes());
        if Self::spread(id.gathered()) == id { Ok(id) } else { Err(BadUuid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_ids() {
        assert_eq!(
            Uuid::of_content(&ContentHash::from_bytes([0xff; 32])).to_string(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(
            Uuid::of_content(&ContentHash::from_bytes([0; 32])).to_string(),
            "00000000-0000-4000-8000-000000000000"
        );
        assert_ne!(Uuid::of_name("album", "anna/a"), Uuid::of_name("person", "anna/a"));
    }

    #[test]
    fn what_is_no_uuid_of_ours() {
        for bad in [
            "",
            "ffffffff-ffff-1fff-bfff-ffffffffffff",
            "ffffffff-ffff-4fff-3fff-ffffffffffff",
            "ffffffffffff4fffbfffffffffffffff",
            "+fffffff-ffff-4fff-bfff-ffffffffffff",
            "gfffffff-ffff-4fff-bfff-ffffffffffff",
            "ffffffff-ffff-4fff-bfff-fffffffffff-",
            "ääffffff-ffff-4fff-bfff-fffffffffff",
        ] {
            assert_eq!(bad.parse::<Uuid>(), Err(BadUuid), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(bytes: [u8; 32], other: [u8; 32]) {
            let (hash, other) = (ContentHash::from_bytes(bytes), ContentHash::from_bytes(other));
            let id = Uuid::of_content(&hash);
            prop_assert_eq!(id.to_string().parse::<Uuid>(), Ok(id));
            prop_assert_eq!(id.to_string().to_uppercase().parse::<Uuid>(), Ok(id));
            let (low, high) = id.contents();
            prop_assert!(low <= hash && hash <= high);
            prop_assert_eq!((Uuid::of_content(&low), Uuid::of_content(&high)), (id, id));
            prop_assert_eq!(low <= other && other <= high, Uuid::of_content(&other) == id);
        }

        #[test]
        fn any_text(text in "\\PC{0,40}|[0-9a-f-]{36}") {
            if let Ok(id) = text.parse::<Uuid>() {
                prop_assert_eq!(id.to_string(), text.to_ascii_lowercase());
            }
        }
    }
}
