//! The receipt: everything provable about one asset, with dates. What `shoebox receipt` prints.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::copy::CopyState;
use crate::model::drive::{DriveId, DriveRole};
use crate::model::hash::ContentHash;
use crate::model::media::Media;
use crate::model::path::RelPath;

/// The dated record of one asset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// BLAKE3 of the content.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
    /// SHA-1, hex, once computed.
    pub sha1: Option<String>,
    /// SHA-256, hex, once computed.
    pub sha256: Option<String>,
    /// When the first upload of it was complete.
    pub received_at: Timestamp,
    /// Every name under which a person sees it.
    pub names: Vec<NamedAs>,
    /// One line per drive that should hold it.
    pub copies: Vec<CopyLine>,
    /// What it says of itself; `None`: nobody looked yet.
    #[serde(default)]
    pub media: Option<Media>,
    /// Why it is suspect, in a sentence; `None`: nothing speaks against it.
    #[serde(default)]
    pub suspect: Option<String>,
    /// Set for half of a Live Photo.
    #[serde(default)]
    pub live_photo: Option<LivePhoto>,
    /// The product's definition, evaluated: two drives verified and re-read within 35 days, none in alarm, not suspect, both
    /// halves of a Live Photo.
    pub safe_to_delete: bool,
    /// What is missing for that, in sentences; empty when it is safe.
    pub not_yet_because: Vec<String>,
}

/// The other half of a Live Photo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivePhoto {
    /// Its name below `photos/`; `None`: it has not been received.
    pub other_half: Option<RelPath>,
    /// Its content.
    pub other_hash: Option<ContentHash>,
}

/// One name of an asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedAs {
    /// The name below `photos/`.
    pub path: RelPath,
    /// `person/device` that sent it; empty for a file found on the drive.
    pub by: String,
    /// When it got this name.
    pub received_at: Timestamp,
}

/// An asset on one drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyLine {
    /// The drive.
    pub drive: DriveId,
    /// Its role.
    pub role: DriveRole,
    /// State, as in the product's words.
    pub state: CopyState,
    /// When it was durable there.
    pub settled_at: Option<Timestamp>,
    /// When it was first read back from the medium and equal.
    pub verified_at: Option<Timestamp>,
    /// When it was last re-read and equal.
    pub reread_at: Option<Timestamp>,
}
