//! An upload that comes in parts: whose it is, what its client said of it, and the parts that are here.
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::account::Device;
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;

/// Which upload: a device's, in a dialect, under the id its client gave it. As text it is the name of a directory, `person.device.dialect.`
/// and 32 hex digits of BLAKE3 over the client's id, so that no client chooses a name on a drive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(String);

/// A text that is no upload's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an upload")]
pub struct BadUploadId;

impl UploadId {
    /// The upload that `client_id` means when this device says it. `dialect`: lower-case letters.
    pub fn of(by: &Device, dialect: &'static str, client_id: &str) -> Self {
        let hash = blake3::hash(client_id.as_bytes()).to_hex();
        Self(format!("{}.{}.{dialect}.{}", by.person, by.name, &hash[..32]))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of this device's.
    pub fn is_of(&self, by: &Device) -> bool {
        self.0.strip_prefix(&format!("{}.{}.", by.person, by.name)).is_some()
    }

    /// The dialect it came in.
    pub fn dialect(&self) -> &str {
        self.0.split('.').nth(2).unwrap_or_default()
    }

    /// The person it belongs to.
    pub fn person(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl FromStr for UploadId {
    type Err = BadUploadId;
    fn from_str(text: &str) -> Result<Self, BadUploadId> {
        let mut parts = text.split('.');
        let (person, device, dialect, hash, end) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next());
        let slug =
            |part: Option<&str>| part.is_some_and(|part| part.parse::<crate::model::account::Slug>().is_ok());
        let lower = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
        let hex =
            |part: &str| part.len() == 32 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = slug(person) && slug(device) && dialect.is_some_and(lower) && hash.is_some_and(hex);
        if fits && end.is_none() { Ok(Self(text.to_owned())) } else { Err(BadUploadId) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client says of an upload when it begins one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The length of the whole, bytes, where it is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Whatever the dialect wants to find again: names and dates, as text.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
    /// It is known by its SHA-1, which is computed as its parts come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sha1: bool,
}

/// A part that is here, whole and durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Its number: counted by the client, or the offset of its first byte.
    pub number: u64,
    /// Bytes.
    pub size: u64,
}

impl Part {
    /// The name of its file: twenty digits, as many as the largest number has.
    pub fn file_name(number: u64) -> String {
        format!("{number:020}")
    }

    /// The number of a part from the name of its file.
    pub fn number_of(file_name: &str) -> Option<u64> {
        let digits = file_name.len() == 20 && file_name.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| file_name.parse().ok()).flatten()
    }
}

/// A part that was appended to the growing file of its upload: which bytes of that it is, and what they are. As text it is the name of
/// a file, so that a directory's flush is all it takes to have it on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Appended {
    /// The part.
    pub part: Part,
    /// Where it begins.
    pub offset: u64,
    /// What the bytes are of which that is told.
    pub hash: ContentHash,
    /// Which those are.
    pub of: HashOf,
}

/// Of which bytes a record of a part has the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashOf {
    /// Of the part.
    Part,
    /// Of all of the growing file, from its beginning to the end of the part: who hashed all of that as it came needs no second hash.
    AllSoFar,
}

/// What a record ends with that has the hash of all so far.
const ALL: &str = "all";

impl Appended {
    /// Where it ends. `None`: no file is that long.
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.part.size)
    }

    /// From the name of its file.
    pub fn of(file_name: &str) -> Option<Self> {
        let mut fields = file_name.split('.');
        let mut number = || fields.next().and_then(Part::number_of);
        let (number, offset, size) = (number()?, number()?, number()?);
        let hash = fields.next()?.parse().ok()?;
        let of = match fields.next() {
            None => HashOf::Part,
            Some(ALL) => HashOf::AllSoFar,
            Some(_) => return None,
        };
        fields.next().is_none().then_some(Self { part: Part { number, size }, offset, hash, of })
    }
}

impl fmt::Display for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part: Part { number, size }, offset, hash, of } = self;
        write!(f, "{number:020}.{offset:020}.{size:020}.{hash}")?;
        match of {
            HashOf::Part => Ok(()),
            HashOf::AllSoFar => write!(f, ".{ALL}"),
        }
    }
}

/// A part that is here, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lying {
    /// The part.
    pub part: Part,
    /// In the growing file; `None`: in a file of its own.
    pub within: Option<Appended>,
}

/// What became of an upload whose parts were put together: told again to a client that did not hear it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assembled {
    /// The full name.
    pub path: RelPath,
    /// What it is.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
    /// Whether the name was new.
    pub created: bool,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::account::DeviceKind;
    use proptest::prelude::*;

    fn phone() -> Device {
        Device {
            person: "anna".parse().unwrap(),
            name: "annas-iphone".parse().unwrap(),
            kind: DeviceKind::Phone,
        }
    }

    #[test]
    fn an_id_is_of_one_device_and_one_dialect() {
        let id = UploadId::of(&phone(), "nextcloud", "1");
        let other = Device { name: "annas".parse().unwrap(), ..phone() };
        assert!(id.is_of(&phone()) && !id.is_of(&other));
        assert_eq!((id.person(), id.dialect()), ("anna", "nextcloud"));
        assert_ne!(id, UploadId::of(&phone(), "tus", "1"));
        assert_ne!(id, UploadId::of(&other, "nextcloud", "1"));
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_it_is_one_plain_name(client_id in "\\PC{0,60}") {
            let id = UploadId::of(&phone(), "nextcloud", &client_id);
            prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')));
            prop_assert!(id.as_str().len() <= 255);
            prop_assert_eq!(id.as_str().parse::<UploadId>().unwrap(), id);
        }

        #[test]
        fn what_is_not_made_by_us_is_no_id(text in "[a-z./0-9]{0,60}") {
            if let Ok(id) = text.parse::<UploadId>() {
                prop_assert!(!id.as_str().contains('/'));
                prop_assert_eq!(id.as_str().split('.').count(), 4);
            }
        }

        #[test]
        fn an_appended_part_is_told_by_its_name(number: u64, size: u64, offset: u64, bytes: [u8; 4], all: bool) {
            let of = if all { HashOf::AllSoFar } else { HashOf::Part };
            let appended = Appended { part: Part { number, size }, offset, hash: ContentHash::of(&bytes), of };
            let name = appended.to_string();
            prop_assert_eq!(Appended::of(&name), Some(appended));
            prop_assert_eq!(Part::number_of(&name), None);
            prop_assert_eq!(Appended::of(&name[1..]), None);
            prop_assert_eq!(Appended::of(&format!("{name}.")), None);
            prop_assert_eq!(Appended::of(&format!("{name}.other")), None);
            prop_assert_eq!(Appended::of(&format!("{name}.all")).is_some(), !all);
            prop_assert_eq!(Appended::of(&Part::file_name(number)), None);
        }

        #[test]
        fn numbers_sort_as_names_do(a: u64, b: u64) {
            prop_assert_eq!(a.cmp(&b), Part::file_name(a).cmp(&Part::file_name(b)));
            prop_assert_eq!(Part::number_of(&Part::file_name(a)), Some(a));
        }
    }
}
