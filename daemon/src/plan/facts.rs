//! What the minute check knows, as plain values: gathered by `work/health.rs`, judged by [`crate::plan::verdict`].
//!
//! `Default` is a box with nothing wrong that it knows of, and nothing attached.
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::drive::{DriveRole, Space, Standing};
use crate::model::plugged::Plugged;

/// Everything judged at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// A demonstration: one disk stands in for two, and that is no fault.
    pub demo: bool,
    /// How long the daemon has run: what has not happened yet is not overdue at once.
    pub uptime: Duration,
    /// One per drive that was adopted, and one per configured mount with a drive that was not.
    pub drives: Vec<DriveFacts>,
    /// The catalogue.
    pub catalogue: CatalogueFacts,
    /// Since when the catalogue has had something that no snapshot of it contains.
    pub unsaved_since: Option<Timestamp>,
    /// Set while removals and replacements are held back from the mirror.
    pub brake: Option<BrakeFacts>,
    /// The watch on drive A's tree.
    pub watching: WatchingFacts,
    /// Nothing vouches for the wall clock.
    pub clock_unsure: bool,
    /// Resident memory, bytes.
    pub memory: u64,
    /// The most the process may use, where there is a limit.
    pub memory_limit: Option<u64>,
    /// Open file descriptors.
    pub descriptors: u64,
    /// How many may be open; 0: not known.
    pub descriptor_limit: u64,
    /// The workers, from `Supervisor::report`.
    pub workers: Vec<WorkerReport>,
    /// When drive A's tree was last compared with the catalogue from end to end.
    pub last_rescan: Option<Timestamp>,
    /// Files on drive A whose names cannot be spelled on every drive, so that they are not mirrored.
    pub unholdable: u64,
    /// Of everybody with a quota: bytes used, and the quota.
    pub quotas: Vec<(u64, u64)>,
    /// Uploads refused for lack of room since the last check.
    pub refused_for_room: u64,
    /// Devices that are plugged in, as the command that root runs tells of them.
    pub plugged: Vec<PluggedFacts>,
    /// Devices of which that cannot be read.
    pub unreadable_reports: Vec<String>,
    /// The photos for the computers of the house.
    pub sharing: SharingFacts,
    /// Set when the primary's record turned out to end before what another drive had seen of it.
    pub lost: Option<LostFacts>,
}

/// The photos of drive B, as the computers of the house see them over NFS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SharingFacts {
    /// Nobody looks, or not yet.
    #[default]
    Off,
    /// Drive B is not there, and neither are they; the drive's own finding says so.
    Away,
    /// One was read.
    Well,
    /// The server does not answer.
    Silent {
        /// What was observed, or what root said about starting it.
        why: String,
    },
    /// It answers, and they are not there.
    NotExported {
        /// Why, as root said.
        why: String,
    },
    /// They are there, and cannot be read.
    Unreadable {
        /// What was observed.
        why: String,
    },
}

/// What a primary lost that lied about its flushes, as far as another drive can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostFacts {
    /// When it was noticed.
    pub noted: Timestamp,
    /// When the last photo was received that it still knew of, before the first of those that it did not.
    pub since: Timestamp,
}

/// A device that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluggedFacts {
    /// What is told of it.
    pub plugged: Plugged,
    /// Which drive is mounted from it, as in [`DriveFacts::id`].
    pub drive: Option<String>,
}

/// One drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveFacts {
    /// The drive's short id, or its mount point while it has none. Stable: findings are matched by it.
    pub id: String,
    /// What people call it, where that is not "A" or "B": `Grandma`.
    pub label: String,
    /// What it is for; `None` until it is adopted.
    pub role: Option<DriveRole>,
    /// How it stands.
    pub standing: Standing,
    /// Since when it stands so.
    pub since: Option<Timestamp>,
    /// When it was last ready.
    pub last_ready: Option<Timestamp>,
    /// Room, as last measured.
    pub space: Option<Space>,
    /// In about how many days it is full.
    pub full_in: Option<u64>,
    /// How long the last probe took.
    pub probe: Option<Duration>,
    /// How long the probe under way has been waiting.
    pub probe_waiting: Option<Duration>,
    /// Copies it should have and has not.
    pub wanted: u64,
    /// Since when it has lacked the one it has lacked longest.
    pub oldest_wanted: Option<Timestamp>,
    /// Copies that differ from what was received, or cannot be read.
    pub damaged: u64,
    /// Copies that were there and are not.
    pub missing: u64,
    /// Of these, no other drive is known to have the content.
    pub nowhere: u64,
    /// Copies not re-read within the period.
    pub unread: u64,
    /// Parts of its own folders that could not be read when it was opened.
    pub unreadable: Vec<String>,
    /// Since when an offline drive has had everything, and may be unplugged.
    pub unpluggable: Option<Timestamp>,
    /// How bringing it up to date goes.
    pub steps: StepFacts,
    /// The id of another of our drives that is on the same disk.
    pub same_disk_as: Option<String>,
}

impl Default for DriveFacts {
    fn default() -> Self {
        Self {
            id: String::new(),
            label: String::new(),
            role: None,
            standing: Standing::Absent,
            since: None,
            last_ready: None,
            space: None,
            full_in: None,
            probe: None,
            probe_waiting: None,
            wanted: 0,
            oldest_wanted: None,
            damaged: 0,
            missing: 0,
            nowhere: 0,
            unread: 0,
            unreadable: Vec::new(),
            unpluggable: None,
            steps: StepFacts::default(),
            same_disk_as: None,
        }
    }
}

/// How bringing a drive up to date goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepFacts {
    /// Failures since the last step on it that went well.
    pub failures: u32,
    /// What the last of them said.
    pub last: String,
}

/// The catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CatalogueFacts {
    /// Its drive is not there; the drive's own finding says so.
    #[default]
    Away,
    /// Open, and every check so far passed.
    Open,
    /// It could not be opened, or a check failed.
    Trouble {
        /// What was observed, for the log.
        why: String,
    },
}

/// Removals and replacements held back because too much vanished or was changed at once (promise P5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrakeFacts {
    /// Since when.
    pub since: Timestamp,
    /// Names whose file is gone from drive A.
    pub vanished: u64,
    /// Names that have other bytes there.
    pub changed: u64,
    /// Names that were deleted.
    pub deleted: u64,
}

/// The watch for changes by other hands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchingFacts {
    /// Since when there has been no working watch although drive A is there.
    pub lost_since: Option<Timestamp>,
    /// Folders to be watched.
    pub folders: u64,
    /// How many the kernel lets us watch; 0: not known.
    pub limit: u64,
}

/// How a worker has been doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Its name: `mirror`.
    pub name: String,
    /// Whether promises wait for it.
    pub critical: bool,
    /// When its last step ended, well or not.
    pub last_step: Option<Timestamp>,
    /// What its last failed step said.
    pub last_error: Option<WorkerError>,
    /// Failures since the last step that went well.
    pub failures: u32,
    /// Steps that went well.
    pub steps: u64,
    /// Steps that failed.
    pub errors: u64,
    /// Panics.
    pub panics: u64,
    /// The drive it is waiting for.
    pub blocked_on: Option<BlockedOn>,
    /// It has not been heard of for too long, and no drive explains it.
    pub silent: bool,
}

/// A failure with its date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerError {
    /// When.
    pub at: Timestamp,
    /// What, with its causes.
    pub what: String,
}

/// Waiting for a drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedOn {
    /// The drive's short id, as in [`DriveFacts::id`].
    pub drive: String,
    /// For how long, seconds.
    pub seconds: u64,
}

/// Where something becomes worth saying. `Default` is what the product promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For so long after the start, a drive that is not there may still be on its way.
    pub starting: Duration,
    /// A probe that took longer makes a drive slow.
    pub slow_probe: Duration,
    /// A probe that waits longer makes a drive stuck (invariant I20).
    pub stuck_probe: Duration,
    /// A worker that waits longer for a drive makes it stuck. Longer than for a probe: flushing a film takes time.
    pub stuck_worker: Duration,
    /// Fuller than this, percent: filling.
    pub filling_percent: u8,
    /// Fuller than this, percent: full.
    pub full_percent: u8,
    /// Full in fewer days than this: soon.
    pub soon_days: u64,
    /// Fewer free inodes than this: full.
    pub inodes: u64,
    /// A copy wanted for longer: behind.
    pub mirror_lag: Duration,
    /// Trouble with the copies stays amber for so long, then it is red.
    pub one_copy: Duration,
    /// An offline drive not seen for longer is worth a word.
    pub offline_reminder: Duration,
    /// And for longer than this an alarm.
    pub offline_absence: Duration,
    /// No comparison of the whole tree for longer: overdue.
    pub rescan: Duration,
    /// A catalogue without a snapshot for longer: overdue.
    pub snapshot: Duration,
    /// But not before the daemon has run so long.
    pub snapshot_grace: Duration,
    /// Failures in a row after which a worker is failing, or the copying to one drive.
    pub worker_failures: u32,
    /// Memory is high above this where no limit is set, bytes.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            starting: Duration::from_secs(10),
            slow_probe: Duration::from_secs(5),
            stuck_probe: Duration::from_secs(20),
            stuck_worker: Duration::from_secs(90),
            filling_percent: 85,
            full_percent: 95,
            soon_days: 30,
            inodes: 1000,
            mirror_lag: Duration::from_secs(15 * 60),
            one_copy: Duration::from_secs(HOUR),
            offline_reminder: Duration::from_secs(45 * 24 * HOUR),
            offline_absence: Duration::from_secs(60 * 24 * HOUR),
            rescan: Duration::from_secs(26 * HOUR),
            snapshot: Duration::from_secs(7 * 24 * HOUR),
            snapshot_grace: Duration::from_secs(3 * HOUR),
            worker_failures: 5,
            memory: 400 << 20,
        }
    }
}
