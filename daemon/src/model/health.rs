//! What the box says about itself: a finding has a stable code, a light, a sentence, a remedy and a date.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How bad it is. `Ord` runs from fine to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Light {
    /// All promises hold.
    Green,
    /// A promise is late or a margin is thin; somebody should look this week.
    Amber,
    /// A promise is broken or uploads are refused; somebody should act today.
    Red,
}

impl Light {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable, kebab-case: `drive-absent`, `mirror-behind`.
    pub code: String,
    /// What it is about, where there can be several: a drive's short id, a device's label.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// How bad.
    pub light: Light,
    /// One sentence for a family member.
    pub sentence: String,
    /// What to do about it.
    pub remedy: String,
    /// Since when it has been so.
    pub since: Timestamp,
}
