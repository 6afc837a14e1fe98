//! `Slot`: a mount point, and what is known of the drive there.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::model::drive::{DriveId, DriveRole, Space, Standing};
use crate::plan::scrubbing;
use crate::store::catalogue::copies::Tally;
use crate::store::disk::Spot;
use crate::work::clones::Seen;
use crate::work::drive::Attached;
use crate::work::eject::Ejected;
use crate::work::pace::Pace;
use crate::work::views::DriveView;

/// A mount point and what is known of it, without touching it.
#[derive(Clone)]
pub struct Slot {
    /// Where.
    pub mount: PathBuf,
    /// How it stands.
    pub standing: Standing,
    /// Since when.
    pub since: Timestamp,
    /// The drive, if it is one of ours and answers.
    pub attached: Option<Arc<Attached>>,
    /// The drive, if it was let go on request and was not away since.
    pub ejected: Option<Ejected>,
    /// What was last seen there.
    pub(in crate::work) seen: Seen,
    /// Where a clone is mounted that was left alone beside the drive in use.
    pub(in crate::work) left_alone: Option<Spot>,
    /// A drive of ours that is being opened, or let go, at this moment.
    pub moving: Option<(DriveId, DriveRole)>,
    /// A drive of ours that is there and could not be taken into use.
    pub(in crate::work) refused: Option<(DriveId, DriveRole)>,
    /// Room, as last measured.
    pub space: Option<Space>,
    /// In about how many days it is full.
    pub full_in: Option<u64>,
    /// How long the last probe took, milliseconds.
    pub probe_ms: Option<u64>,
    /// When the probe that has not come back yet was started.
    pub probing_since: Option<Timestamp>,
    /// Device number of its filesystem.
    pub device: Option<(u32, u32)>,
    /// Counts of its copies, as last read.
    pub tally: Tally,
    /// How far the re-reading of a drive's copies is, and when that is to be counted anew.
    pub(in crate::work) reread: Option<(DriveId, scrubbing::Forecast, Instant)>,
    /// The date of its newest snapshot of the catalogue.
    pub snapshot: Option<Timestamp>,
    /// How fast it is being filled.
    pub(in crate::work) pace: Option<Pace>,
}

impl Slot {
    /// Nobody has looked there yet.
    pub(super) fn new(mount: PathBuf, now: Timestamp) -> Self {
        Self {
            mount,
            standing: Standing::Absent,
            since: now,
            attached: None,
            ejected: None,
            seen: Seen::NotYet,
            left_alone: None,
            moving: None,
            refused: None,
            space: None,
            full_in: None,
            probe_ms: None,
            probing_since: None,
            device: None,
            tally: Tally::default(),
            reread: None,
            snapshot: None,
            pace: None,
        }
    }

    /// Which drive is there and what for, in use or ejected.
    pub fn drive(&self) -> Option<(DriveId, DriveRole)> {
        let ejected = self.ejected.as_ref().map(|e| (e.id, e.role));
        self.attached.as_ref().map(|a| (a.id(), a.role())).or(ejected)
    }

    /// The same, and one that could not be taken into use: it is there, and nobody is to look for it.
    pub(in crate::work) fn recognised(&self) -> Option<(DriveId, DriveRole)> {
        self.drive().or(self.refused)
    }

    /// Which drive is in use there, or about to be.
    pub(in crate::work) fn drive_or_moving(&self) -> Option<DriveId> {
        self.attached.as_ref().map(|a| a.id()).or(self.moving.map(|(id, _)| id))
    }
}

impl From<Slot> for DriveView {
    fn from(slot: Slot) -> Self {
        let drive = slot.recognised();
        let seconds_left = slot.pace.as_ref().and_then(|pace| pace.left(slot.tally.wanted_bytes));
        let attached = slot.attached.as_ref().map(|a| a.id());
        let reread = slot.reread.filter(|(of, ..)| attached == Some(*of)).map(|(_, reread, _)| reread);
        Self {
            seconds_left,
            mount: slot.mount,
            id: drive.map(|(id, _)| id),
            role: drive.map(|(_, role)| role),
            standing: slot.standing,
            space: slot.space,
            since: slot.since,
            probe_ms: slot.probe_ms,
            device: slot.device,
            full_in_days: slot.full_in,
            tally: slot.tally,
            reread,
            snapshot: slot.snapshot,
            unplugging: None,
            disk: None,
        }
    }
}
