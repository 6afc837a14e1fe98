//! Doubts: copies that could not be read while somebody waited for them. The scrub reads them again at once, from the medium, and
//! until it has they are served from another drive.
//!
//! In memory: one that is forgotten is found within a month, as if nobody had asked for it.
use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use crate::model::drive::DriveId;
use crate::plan::failing::Kind;
use crate::store::volume::VolumeError;
use crate::work::carry::GoOn;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Wake};
use crate::work::primary::Primary;
use crate::work::reread::{Found, Reread};

/// Of one drive. More than these at once are no single bad blocks: the drive's own troubles are told otherwise.
const MOST: usize = 256;

/// Which copies: their drive, and the row of their name.
pub(super) type Doubts = BTreeSet<(DriveId, i64)>;

impl Pool {
    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked for could not be read. A block is its file's problem, and counts against the drive; that the drive is gone is
    /// the drive's. Nobody is waited for.
    pub(super) fn doubt(&self, drive: &Attached, name: i64, error: &VolumeError) {
        match error {
            VolumeError::Io { .. } if error.doubts_the_drive() => {
                drive.note_error(Kind::Read);
                if let VolumeError::Io { place, .. } = error {
                    drive.suspect_reading(&error.to_string(), place);
                }
                let mut doubts = self.doubts();
                if doubts.iter().filter(|(id, _)| *id == drive.id()).count() < MOST {
                    doubts.insert((drive.id(), name));
                }
                drop(doubts);
                self.wake(Wake::Scrub);
            }
            VolumeError::Gone { why, .. } => drive.reopen(why),
            VolumeError::Io { .. }
            | VolumeError::Full { .. }
            | VolumeError::ReadOnly { .. }
            | VolumeError::Exists { .. }
            | VolumeError::NotFound { .. }
            | VolumeError::NotEmpty { .. }
            | VolumeError::Unsupported { .. } => return,
        }
        // Probed now.
        self.wake(Wake::Drives);
    }

    /// Whether a copy is in doubt.
    pub(super) fn is_doubted(&self, drive: DriveId, name: i64) -> bool {
        self.doubts().contains(&(drive, name))
    }

    /// Reads the copies of a drive again that are in doubt, and records what they are.
    pub(super) fn settle_doubts(
        &self,
        primary: &Primary,
        drive: &Attached,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let names: Vec<i64> =
            self.doubts().iter().filter(|(id, _)| *id == drive.id()).map(|(_, name)| *name).collect();
        for name in names {
            if !go_on() {
                return Ok(());
            }
            let copies = primary.catalogue.read(|r| r.copies_of_name(name))?;
            if let Some(row) = copies.iter().find(|copy| copy.drive == drive.id()) {
                let mut batch = Reread::default();
                let found = self.reread(primary, drive, row, &mut batch, &mut || {
                    go_on();
                    Ok(())
                })?;
                self.record_reread(primary, drive, batch)?;
                if let Found::Damaged(path) = found {
                    log::warn!("{path}: asked for, and its copy on {} is damaged", drive.role());
                    // Found before, perhaps, and not healed since.
                    self.wake_healing();
                }
            }
            self.doubts().remove(&(drive.id(), name));
        }
        Ok(())
    }
}
