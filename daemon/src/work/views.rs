//! What the pool shows of itself: people, devices, drives, names, progress. Plain values for faces to print.
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::model::account::{DeviceKind, Slug};
use crate::model::copy::CopyState;
use crate::model::drive::{DriveId, DriveRole, Space, Standing};
use crate::model::hash::ContentHash;
use crate::model::media::Media;
use crate::model::path::RelPath;
use crate::model::plugged::{Plugged, Power};
pub use crate::plan::scrubbing::Forecast;
pub use crate::plan::unplugging::Unplugging;
pub use crate::store::catalogue::copies::Tally;

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonView {
    /// Name.
    pub name: Slug,
    /// Devices that may sign in.
    pub devices: u64,
    /// Files in the person's folder.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the person can sign in on the login page.
    #[serde(default)]
    pub password: bool,
    /// What the person may use at most; none: as much as there is.
    #[serde(default)]
    pub quota: Option<QuotaView>,
}

/// A person's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaView {
    /// Bytes.
    pub bytes: u64,
    /// What is used of it: what is there twice counts once.
    pub used: u64,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// Its person.
    pub person: Slug,
    /// Its name.
    pub name: Slug,
    /// What it may do.
    pub kind: DeviceKind,
    /// Since when.
    pub created: Timestamp,
    /// When it last signed in.
    pub last_seen: Option<Timestamp>,
    /// The program it last came with, as that names itself.
    #[serde(default)]
    pub app: Option<String>,
    /// That program's version.
    #[serde(default)]
    pub app_version: Option<String>,
    /// Whether it may no longer sign in.
    pub revoked: bool,
    /// Files it sent.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads of it that were here already, since it was added.
    #[serde(default)]
    pub already: u64,
}

/// A mount point and the drive there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveView {
    /// Where it is looked for.
    pub mount: PathBuf,
    /// The drive found there.
    pub id: Option<DriveId>,
    /// Its role.
    pub role: Option<DriveRole>,
    /// How it stands.
    pub standing: Standing,
    /// Room, as last measured.
    pub space: Option<Space>,
    /// Since when it stands so.
    pub since: Timestamp,
    /// How long the last probe took, milliseconds.
    pub probe_ms: Option<u64>,
    /// Device number of its filesystem.
    pub device: Option<(u32, u32)>,
    /// When it has all it lacks, at the pace of the last minutes: seconds from now. `None`: nothing is being copied.
    #[serde(default)]
    pub seconds_left: Option<u64>,
    /// In about how many days it is full, if photos go on coming as they did; none: not soon, or not known.
    #[serde(default)]
    pub full_in_days: Option<u64>,
    /// Its copies, counted.
    #[serde(flatten)]
    pub tally: Tally,
    /// Of a drive in use: how far the re-reading of its copies is, and when it is through.
    #[serde(default)]
    pub reread: Option<Forecast>,
    /// The date of its newest snapshot of the catalogue.
    #[serde(default)]
    pub snapshot: Option<Timestamp>,
    /// Of an offline drive in use: whether it may be unplugged.
    #[serde(default)]
    pub unplugging: Option<Unplugging>,
    /// What is known of the disk itself, where somebody tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Plugged>,
}

/// What became of a drive that was let go, where somebody unmounts drives for the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Released {
    /// It is unmounted, and may be unplugged.
    Off {
        /// What was switched off.
        power: Power,
    },
    /// It is still mounted, or still on.
    Failed {
        /// Why.
        why: String,
    },
}

/// A drive that was let go, and of which no file is open any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    /// How it stands.
    pub drive: DriveView,
    /// Whether it is still mounted.
    pub mounted: bool,
    /// What became of it then; none: nobody unmounts drives for the box.
    #[serde(default)]
    pub released: Option<Released>,
}

/// What may be missing on a drive that takes the primary's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Files that the primary had and this drive had not, and their bytes, as last counted; `None`: this box has not seen the
    /// primary since it was started.
    pub lacking: Option<(u64, u64)>,
    /// When the newest file on this drive was received.
    pub newest: Option<Timestamp>,
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lacking {
            None => f.write_str("what the main drive had and this one never got is not known")?,
            Some((0, _)) => f.write_str("this drive may lack what came to the main drive last")?,
            Some((files, bytes)) => write!(
                f,
                "this drive was known to lack {files} files ({bytes} bytes) of the main drive, and may lack what came last"
            )?,
        }
        match self.newest {
            Some(at) => {
                write!(f, "; the newest photo on it was received {}", at.strftime("%Y-%m-%d %H:%M:%S UTC"))
            }
            None => f.write_str("; there is no photo on it"),
        }
    }
}

/// A drive that took the primary's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// How it stands.
    pub drive: DriveView,
    /// What may be missing on it; `None`: nothing.
    pub losses: Option<Losses>,
}

/// A drive that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The new drive.
    pub drive: DriveView,
    /// Where the primary was dead: the copy that took its place.
    pub promotion: Option<Promotion>,
}

/// What a rebuild from one drive found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildReport {
    /// The drive.
    pub drive: DriveId,
    /// People.
    pub people: u64,
    /// Devices that may sign in.
    pub devices: u64,
    /// Files with a name.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Good lines of the drive's record.
    pub lines: u64,
    /// Lines that are not believed.
    pub bad_lines: u64,
    /// Places where lines are missing.
    pub breaks: u64,
    /// The record ends before what the drive's catalogue knows: that was gone on from.
    pub catalogue_kept: bool,
    /// Files that the record does not know, taken over.
    pub adopted: u64,
    /// Files that the record knows and that are not there.
    pub missing: u64,
    /// Files whose names no drive could hold.
    pub unholdable: u64,
    /// Files read back equal; `None`: that was not asked for.
    pub equal: Option<u64>,
    /// Names whose file differs or cannot be read.
    pub damaged: Vec<RelPath>,
    /// Names whose file could not be read for a reason that says nothing about its bytes.
    pub not_read: Vec<RelPath>,
}

/// What to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindQuery {
    /// Only this person's.
    pub person: Option<Slug>,
    /// Only what this device sent.
    pub device: Option<Slug>,
    /// Only names that contain this, without regard to case.
    pub name_contains: Option<String>,
    /// Only received at or after.
    pub received_from: Option<Timestamp>,
    /// Only received before.
    pub received_to: Option<Timestamp>,
    /// Only taken on or after this day, as clocks showed it there. What has no date does not fit.
    #[serde(default)]
    pub taken_from: Option<Date>,
    /// Only taken on or before this day.
    #[serde(default)]
    pub taken_to: Option<Date>,
    /// Only what is suspect.
    #[serde(default)]
    pub suspect: bool,
    /// Only with a copy in this state on some drive.
    pub state: Option<CopyState>,
}

/// A name found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundName {
    /// Its row id; the next page starts after it.
    pub id: i64,
    /// The name.
    pub path: RelPath,
    /// Its content.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
    /// When it was received.
    pub received_at: Timestamp,
    /// From whom.
    pub by: String,
    /// The state of its worst copy.
    pub worst: CopyState,
    /// What it says of itself; `None`: nobody looked yet.
    #[serde(default)]
    pub media: Option<Media>,
    /// Why it is suspect, in a sentence.
    #[serde(default)]
    pub suspect: Option<String>,
}

/// How far a long task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Files done.
    pub files: u64,
    /// Files in all, as far as known.
    pub files_total: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all, as far as known.
    pub bytes_total: u64,
}

/// What to verify.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyScope {
    /// Only this drive.
    pub drive: Option<DriveId>,
    /// Only this folder or file.
    pub below: Option<RelPath>,
    /// Only what was not read back since.
    pub read_before: Option<Timestamp>,
}

/// What verifying found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Copies read back equal.
    pub equal: u64,
    /// Names with a copy that differs or cannot be read.
    pub damaged: Vec<RelPath>,
    /// Names with a copy that is not there.
    pub missing: Vec<RelPath>,
    /// Names with a copy that could not be read, for a reason that says nothing about its bytes: no permission, or a daemon short
    /// of something.
    #[serde(default)]
    pub not_read: Vec<RelPath>,
    /// Drives that are not there or stopped answering.
    pub unreadable_drives: Vec<String>,
    /// Bytes read.
    pub bytes: u64,
}

/// What a rescan found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescanReport {
    /// Folders compared.
    pub folders: u64,
    /// Files compared.
    pub files: u64,
    /// Files taken over that other hands put there.
    pub adopted: u64,
    /// Names whose file is gone.
    pub missing: u64,
    /// Files that are still being written, for the next time.
    pub waiting: u64,
    /// Files whose names no drive could hold (control characters, not UTF-8), or that are no files.
    pub unholdable: u64,
}

/// What was changed or vanished at once on the primary, counted: it waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesSummary {
    /// When it began.
    pub since: Timestamp,
    /// Names whose file is gone.
    pub vanished: u64,
    /// Names that have other bytes.
    pub changed: u64,
    /// Names that were deleted.
    pub deleted: u64,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Gone, and nobody asked for that.
    Vanished,
    /// It has other bytes.
    Changed,
    /// Deleted by a device.
    Deleted,
}

/// One file that was changed or vanished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeLine {
    /// What happened to it.
    pub kind: ChangeKind,
    /// Its name.
    pub path: RelPath,
    /// When that was seen.
    pub at: Timestamp,
    /// Which device did it; empty: another program.
    pub by: String,
    /// Bytes it had before.
    pub size: u64,
    /// Its content before.
    pub hash: ContentHash,
}

/// Where the next page of changes starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// After this name.
    pub vanished: i64,
    /// After this change.
    pub changed: i64,
}

/// A part of what was changed or vanished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesPage {
    /// Set while the mirror is held back until somebody answers.
    pub summary: Option<ChangesSummary>,
    /// Names whose file is gone, held back or not.
    pub missing: u64,
    /// The number of the question: an answer that names it is for this, and for nothing that came since.
    #[serde(default)]
    pub question: String,
    /// What vanished, and with `summary` what was changed.
    pub lines: Vec<ChangeLine>,
    /// Where the next page starts; `None`: there is none.
    pub next: Option<Cursor>,
}

/// A file that could not be put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotPutBack {
    /// Its name.
    pub path: RelPath,
    /// Why.
    pub why: String,
}

/// What came of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Files put back, or let go.
    pub done: u64,
    /// Files that were as they had been.
    pub already: u64,
    /// Files that could not be put back.
    pub failed: u64,
    /// The first thousand of them.
    pub not_put_back: Vec<NotPutBack>,
    /// Whether the mirror is still held back.
    pub open: bool,
}
