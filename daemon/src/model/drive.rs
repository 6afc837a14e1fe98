//! Drives: who they are (the marker we wrote on them), what they are for, and how they stand now.
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::account::TokenKey;
use crate::model::hash::{hex, unhex};

/// 128 random bits, as 32 hex digits. Used for drives and for the pool they belong to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id([u8; 16]);

/// A drive's own id, from its marker; never a device name or a path.
pub type DriveId = Id;
/// The id of a set of drives that belong together.
pub type PoolId = Id;

impl Id {
    /// An id from 16 random bytes.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The first 8 digits, enough for people.
    pub fn short(&self) -> String {
        hex(&self.0[..4])
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.short())
    }
}

/// A text that is not 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 32 lower-case hex digits")]
pub struct BadId;

impl FromStr for Id {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        unhex(text).map(Self).ok_or(BadId)
    }
}

impl TryFrom<String> for Id {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

/// What a filesystem that has no UUID of 128 bits is known by: `1A2B-3C4D` on exFAT, `01D8F2A07C9E4B10` on NTFS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeId(String);

/// A text that is no such number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a volume's number of 8 or 16 hex digits")]
pub struct BadVolumeId;

impl FromStr for VolumeId {
    type Err = BadVolumeId;
    fn from_str(text: &str) -> Result<Self, BadVolumeId> {
        let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
        let dashes = text.bytes().filter(|byte| *byte == b'-').count();
        let fits = matches!((digits, dashes), (8, 0 | 1) | (16, 0)) && digits + dashes == text.len();
        if fits { Ok(Self(text.to_ascii_uppercase())) } else { Err(BadVolumeId) }
    }
}

impl TryFrom<String> for VolumeId {
    type Error = BadVolumeId;
    fn try_from(text: String) -> Result<Self, BadVolumeId> {
        text.parse()
    }
}

impl From<VolumeId> for String {
    fn from(volume: VolumeId) -> Self {
        volume.0
    }
}

/// What a drive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriveRole {
    /// A: uploads land here.
    Primary,
    /// B: always attached, exported, brought up to date within seconds.
    Mirror,
    /// Brought up to date whenever it is plugged in.
    Offline,
}

impl DriveRole {
    /// The word stored in the catalogue and the marker.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Mirror => "mirror",
            Self::Offline => "offline",
        }
    }
}

impl fmt::Display for DriveRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no drive role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a drive is 'primary', 'mirror' or 'offline', not {0:?}")]
pub struct UnknownRole(String);

impl FromStr for DriveRole {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Primary, Self::Mirror, Self::Offline]
            .into_iter()
            .find(|r| r.as_str() == text)
            .ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// The content of `.shoebox/drive.toml`: the identity we gave a drive when it was adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// Version of this file's format: 1.
    pub format: u32,
    /// The set of drives it belongs to.
    pub pool: PoolId,
    /// Its own id.
    pub drive: DriveId,
    /// What it is for.
    pub role: DriveRole,
    /// Raised whenever roles change; the higher one is right.
    pub generation: u64,
    /// When we adopted it.
    pub adopted: Timestamp,
    /// UUID of its filesystem as the kernel told it at adoption; absent where the filesystem has none to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Id>,
    /// What its filesystem is known by where it has no UUID of that length (exFAT), as far as somebody could tell at adoption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// The pool's key for device tokens, so that one drive is enough to bring all devices back (P7).
    pub token_key: TokenKey,
}

impl Marker {
    /// Of a pool whose roles never changed.
    pub const FIRST_GENERATION: u64 = 1;
}

/// How a drive stands, as last observed by real I/O.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing of ours is mounted there.
    Absent,
    /// Ours, let go at a person's request; left alone until it was unplugged or unmounted.
    Ejected,
    /// Something is mounted there, but it is not the drive we adopted.
    Foreign {
        /// What does not fit, for people.
        why: String,
    },
    /// Ours, and the primary once: another drive took its place while it was away.
    Former,
    /// Ours once, and used no more.
    Retired,
    /// Ours, but another program has it: two of them must not write to it.
    InUse,
    /// A drive without our marker: it waits to be adopted.
    Blank,
    /// Ours, and every probe passed.
    Ready,
    /// Ours, but it takes no writes.
    ReadOnly,
    /// Ours, but a write, a flush or a read failed; refused until a probe passes.
    Suspect {
        /// What failed.
        why: String,
    },
    /// Ours, but a probe has not come back in time.
    Stuck,
    /// It says that it is a drive of ours, and another one says the same.
    Clone {
        /// Which drive.
        of: DriveId,
        /// What that is for.
        role: DriveRole,
        /// Each of them has something that the other has not, and none is used. Otherwise the other one is.
        diverged: bool,
    },
    /// Ours and answering, but it made an error again and again.
    Failing {
        /// How often, lately.
        incidents: u64,
        /// When last.
        last: Timestamp,
        /// Writes or flushes among them: clients get nothing more acknowledged on it.
        closed: bool,
    },
}

impl Standing {
    /// Whether the box itself may write to it. Of one that is failing nothing new is acknowledged, and what is on it has still to be
    /// brought to safety.
    pub const fn takes_writes(&self) -> bool {
        matches!(self, Self::Ready | Self::Failing { .. })
    }

    /// One or two words for tables.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Ejected => "ejected",
            Self::Foreign { .. } => "foreign",
            Self::Former => "former main drive",
            Self::Retired => "retired",
            Self::InUse => "in use",
            Self::Blank => "blank",
            Self::Ready => "ready",
            Self::ReadOnly => "read-only",
            Self::Suspect { .. } => "suspect",
            Self::Stuck => "not responding",
            Self::Failing { .. } => "failing",
            Self::Clone { .. } => "clone",
        }
    }
}

/// Room on a drive, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Size of the filesystem.
    pub total: u64,
    /// What an ordinary user may still write.
    pub available: u64,
    /// Free inodes; `u64::MAX` where the filesystem does not count them.
    pub inodes: u64,
}

impl Space {
    /// What uploads must leave free for the catalogue and the manifest: 2 %, at least 1 GiB, but never more than
    /// a tenth of a small drive (invariant I11).
    pub fn reserve(&self) -> u64 {
        const GIB: u64 = 1 << 30;
        (self.total / 50).max(GIB).min(self.total / 10)
    }

    /// What uploads may still take.
    pub fn for_uploads(&self) -> u64 {
        self.available.saturating_sub(self.reserve())
    }

    /// What must be left before a change is begun that touches photos or the trash before its record, so that it can be recorded:
    /// the lines and rows of many changes. Less is left only when other programs filled the drive.
    pub fn to_record(&self) -> u64 {
        (1 << 20).min(self.total / 256)
    }

    /// What must be left before a change is begun that is no more than lines and rows: those of a few. What makes room is tried
    /// without.
    pub fn to_note(&self) -> u64 {
        (64 << 10).min(self.total / 1024)
    }

    /// Whether so little is left that what is to be recorded had better be written at once: within its reserve.
    pub fn is_scarce(&self) -> bool {
        self.available < self.reserve()
    }

    /// How full it is, 0 to 100.
    pub fn percent_used(&self) -> u8 {
        let used = u128::from(self.total.saturating_sub(self.available));
        u8::try_from((used * 100).checked_div(u128::from(self.total)).unwrap_or(0)).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_no_id_or_role_is_refused(text in ".{0,40}", digits in "[0-9a-f]{32}") {
            drop(toml::from_str::<Marker>(&text));
            let is_id = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            prop_assert_eq!(text.parse::<Id>().is_ok(), is_id);
            prop_assert_eq!(digits.parse::<Id>().unwrap().to_string(), digits);
            prop_assert_eq!(text.parse::<DriveRole>().is_ok_and(|role| role.as_str() != text), false);
        }
    }

    #[test]
    fn the_marker_round_trips_and_refuses_strangers() {
        let marker = Marker {
            format: 1,
            pool: Id::from_random([1; 16]),
            drive: Id::from_random([2; 16]),
            role: DriveRole::Primary,
            generation: 3,
            adopted: Timestamp::UNIX_EPOCH,
            filesystem: Some(Id::from_random([4; 16])),
            volume: Some("1a2b-3c4d".parse().unwrap()),
            token_key: TokenKey::from_random([5; 32]),
        };
        let text = toml::to_string(&marker).unwrap();
        assert_eq!(toml::from_str::<Marker>(&text).unwrap(), marker);
        assert!(text.contains("volume = \"1A2B-3C4D\""), "{text}");
        assert!(toml::from_str::<Marker>(&format!("{text}\nother = 1\n")).is_err());
        assert!(toml::from_str::<Marker>(&text.replace("1A2B-3C4D", "../x")).is_err());
        assert!(!format!("{marker:?}").contains("0505"));
    }

    #[test]
    fn the_reserve_grows_with_the_drive() {
        let space = |total: u64| Space { total, available: total, inodes: u64::MAX };
        assert_eq!(space(1 << 40).reserve(), (1 << 40) / 50);
        assert_eq!(space(20 << 30).reserve(), 1 << 30);
        assert_eq!(space(1 << 30).reserve(), (1 << 30) / 10);
        assert_eq!(space(0).percent_used(), 0);
    }
}
