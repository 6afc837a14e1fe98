//! What the command that root runs (`shoebox-drive`) says of a device: what it is, what is on it, and what was done with it. Its
//! words are those of its reports in `/run/shoebox-drive` (docs/decisions/0031).
//!
//! What is not understood in one is passed over: the command may be newer than the daemon.
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::drive::{DriveId, DriveRole, Id, PoolId};

/// The kernel's name of a block device, `sda1`: letters and digits, and nothing that leads elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName(String);

/// A text that is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the kernel's name of a device, as sda1 is")]
pub struct BadDeviceName(String);

impl FromStr for DeviceName {
    type Err = BadDeviceName;
    fn from_str(text: &str) -> Result<Self, BadDeviceName> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        // BDEVNAME_SIZE of the kernel.
        if plain && begins && text.len() < 32 {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadDeviceName(text.to_owned()))
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = BadDeviceName;
    fn try_from(text: String) -> Result<Self, BadDeviceName> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DeviceName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a table of mounts names what is mounted: `/dev/sda1`.
    pub fn of_source(source: &str) -> Option<Self> {
        source.strip_prefix("/dev/")?.parse().ok()
    }
}

/// One device, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugged {
    /// The device itself.
    pub device: Device,
    /// What is on it.
    #[serde(default)]
    pub filesystem: Option<Filesystem>,
    /// What it says of itself, if it bears a marker.
    #[serde(default)]
    pub marker: Option<Mark>,
    /// What was decided.
    #[serde(flatten)]
    pub decision: Option<Decision>,
    /// What the check of its filesystem found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
    /// What a flush is worth on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Flush>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What the kernel says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// `sda1`.
    pub name: DeviceName,
    /// The disk it is a part of, `sda`; itself, if it is the whole.
    pub disk: DeviceName,
    /// By which bus it is attached: `usb`.
    #[serde(default)]
    pub bus: String,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// Nothing can be written to it.
    #[serde(default)]
    pub read_only: bool,
    /// Who made it, and what they call it.
    #[serde(default)]
    pub model: String,
    /// Its own number.
    #[serde(default)]
    pub serial: String,
}

/// A filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// `ext4`.
    pub kind: String,
    /// As that filesystem writes it.
    #[serde(default)]
    pub uuid: String,
    /// What people called it.
    #[serde(default)]
    pub label: String,
}

impl Filesystem {
    /// Its UUID, if that has 128 bits.
    pub fn id(&self) -> Option<Id> {
        self.uuid.replace('-', "").to_ascii_lowercase().parse().ok()
    }
}

/// What a drive says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The set of drives it belongs to.
    pub pool: PoolId,
    /// Its own id.
    pub drive: DriveId,
    /// What it is for.
    pub role: DriveRole,
}

/// What was decided about a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum Decision {
    /// It was mounted there.
    Mount {
        /// There.
        at: PathBuf,
    },
    /// The administrator has a place for it.
    AsFstabSays {
        /// There.
        at: PathBuf,
    },
    /// It had been mounted there before.
    Mounted {
        /// There.
        at: PathBuf,
    },
    /// Nothing was done to it.
    Leave {
        /// Why, for people.
        why: String,
        /// The same for programs.
        #[serde(default)]
        reason: Reason,
        /// How it can become one of the box's drives.
        #[serde(default)]
        offer: Offer,
    },
}

/// Why nothing was done to a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Drives for photos do not come this way, or it is the system's.
    NotOurs,
    /// There is nothing on it.
    Empty,
    /// What is on it is nothing that drives for photos have.
    Filesystem,
    /// It bears no marker.
    Unmarked,
    /// It bears a marker that was written to another filesystem.
    Copied,
    /// It cannot be told from another one that is plugged in.
    Twin,
    /// All places are taken.
    NoPlace,
    /// Anything else.
    #[default]
    #[serde(other)]
    Other,
}

/// How a device that is none of the box's can become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offer {
    /// As it is; everything on it stays.
    Adopt,
    /// With a new filesystem; everything on it is lost.
    Format,
    /// Not at all.
    #[default]
    #[serde(other)]
    No,
}

/// What the check of a filesystem found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "kebab-case")]
pub enum Checked {
    /// Nothing.
    Sound,
    /// Something, and put it right.
    Mended {
        /// What the program said.
        said: String,
    },
    /// Something that takes a person; it was mounted for reading only.
    Unsound {
        /// What the program said.
        said: String,
    },
}

/// What a flush is worth on a drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "flush", rename_all = "kebab-case")]
pub enum Flush {
    /// The kernel sends it.
    Sent,
    /// It did not, and does now.
    SentNow,
    /// It is not sent: what this drive was given last is lost with its power.
    NotSent {
        /// Why that could not be put right.
        why: String,
    },
    /// There is nothing to flush.
    NotNeeded,
}

impl Plugged {
    /// Where it is mounted by the box.
    pub fn at(&self) -> Option<&Path> {
        match self.decision.as_ref()? {
            Decision::Mount { at } | Decision::AsFstabSays { at } | Decision::Mounted { at } => Some(at),
            Decision::Leave { .. } => None,
        }
    }
}

/// What a whole disk is, and all that would be lost by formatting it: shown to a person, confirmed, and compared once more by the
/// command that root runs with what is plugged in at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Who made it and what they call it.
    pub model: String,
    /// Its own number.
    pub serial: String,
    /// Bytes.
    pub size: u64,
    /// Every signature on it, as `sda1 ext4 0f6c… "Photos"`.
    pub lost: Vec<String>,
}

/// What a new filesystem is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewFilesystem {
    /// For drives that stay.
    Ext4,
    /// For one that other computers should read.
    Exfat,
}

/// A word that is no such filesystem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a new filesystem is 'ext4' or 'exfat', not {0:?}")]
pub struct UnknownFilesystem(String);

impl FromStr for NewFilesystem {
    type Err = UnknownFilesystem;
    fn from_str(text: &str) -> Result<Self, UnknownFilesystem> {
        match text {
            "ext4" => Ok(Self::Ext4),
            "exfat" => Ok(Self::Exfat),
            other => Err(UnknownFilesystem(other.to_owned())),
        }
    }
}

/// What was switched off when a drive was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// Its USB port.
    Port,
    /// The disk.
    Disk,
    /// Nothing: another part of the same disk is used, or there is nothing to switch.
    #[serde(other)]
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_report_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,40}") {
            drop(serde_json::from_slice::<Plugged>(&bytes));
            if let Ok(name) = text.parse::<DeviceName>() {
                prop_assert!(name.to_string() == text && !text.contains(['/', '.', ' ']));
            }
        }
    }

    #[test]
    fn what_is_new_in_a_report_is_passed_over() {
        let text = r#"{"device":{"name":"sda1","disk":"sda","bus":"usb","size":7,"read_only":false,"model":"M","serial":"S","speed":9},
            "filesystem":{"kind":"ext4","uuid":"0F6C0F6C-0f6c-0f6c-0f6c-0f6c0f6c0f6c","label":""},"marker":null,
            "decision":"leave","why":"the moon","reason":"moon","offer":"burn","cache":{"flush":"sent-now"}}"#;
        let plugged: Plugged = serde_json::from_str(text).unwrap();
        let decision = Decision::Leave { why: "the moon".into(), reason: Reason::Other, offer: Offer::No };
        assert_eq!(plugged.decision, Some(decision));
        assert_eq!(plugged.cache, Some(Flush::SentNow));
        let id = plugged.filesystem.as_ref().and_then(Filesystem::id).unwrap();
        assert_eq!(id.short(), "0f6c0f6c");
        let again: Plugged = serde_json::from_str(&serde_json::to_string(&plugged).unwrap()).unwrap();
        assert_eq!(again, plugged);
        let unknown = text.replace("leave", "swallow");
        assert_eq!(serde_json::from_str::<Plugged>(&unknown).unwrap().decision, None);
        assert!(serde_json::from_str::<Plugged>(&text.replace("sda1", "../sda")).is_err());
    }
}
