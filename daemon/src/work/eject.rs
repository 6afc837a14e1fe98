//! Letting go of drives: of one that is gone, and of one that a person wants to unplug.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::drive::{DriveId, DriveRole, Standing};
use crate::os::{clock, process};
use crate::store::disk::{self, Spot};
use crate::work::drive::Attached;
use crate::work::opening;
use crate::work::pool::{Pool, Slot, Wake};
use crate::work::primary::Primary;
use crate::work::views::{DriveView, Ejection};
use crate::work::watch::Moving;

/// A drive that was let go on request, and is left alone until it was away.
#[derive(Debug, Clone)]
pub struct Ejected {
    /// The drive.
    pub id: DriveId,
    /// Its role.
    pub role: DriveRole,
    /// Where it was: what is mounted there later is another spot, be it the same drive.
    spot: Option<Spot>,
}

impl Ejected {
    /// Whether the mount it was let go at is still the one at its mount point. Opens nothing: an open file would be in the way of
    /// whoever unmounts it.
    pub(super) fn is_still_there(&self, mount: &Path) -> bool {
        self.spot.is_some() && disk::spot(mount) == self.spot
    }
}

/// Why a drive could not be ejected, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum EjectError {
    /// No drive of this id is attached.
    #[error("there is no such drive")]
    NotThere,
    /// The pool has let go of it, and transfers still hold files of it.
    #[error("{0} of its files are still open, by a transfer that has not noticed yet")]
    StillOpen(u64),
    /// Which files are open cannot be told.
    #[error("could not tell whether all of its files are closed: {0}")]
    Unknown(#[from] std::io::Error),
}

impl Pool {
    /// Lets go of a drive so that it can be unmounted, and leaves it alone until it was away. What was being written to it is
    /// finished or given up as a whole; `Ok` is said when this process has no file of it open any more. Repeated, it waits once
    /// more for that.
    pub fn eject(&self, id: DriveId) -> Result<Ejection, EjectError> {
        let slot = self.slot_views().into_iter().find(|s| s.drive().is_some_and(|(there, _)| there == id));
        let Slot { mount, attached, .. } = slot.ok_or(EjectError::NotThere)?;
        if let Some(attached) = attached {
            let ejected = Ejected { id, role: attached.role(), spot: disk::spot(&mount) };
            self.let_go(&attached, Some(ejected));
            // It went by itself at this very moment, and comes back by itself.
            let is_ours = |slot: Slot| slot.ejected.is_some_and(|ejected| ejected.id == id);
            if !self.slot_at(&mount).is_some_and(is_ours) {
                return Err(EjectError::NotThere);
            }
        }
        await_closed(&mount)?;
        let slot = self.slot_at(&mount).ok_or(EjectError::NotThere)?;
        let mounted = disk::is_mount_point(&slot.mount);
        Ok(Ejection { drive: DriveView::from(slot), mounted, released: None })
    }

    /// The box ends in order, and nobody writes to a drive any more: what they were given is not doubted at the next start.
    pub fn rest(&self) {
        let (Ok(()), Ok(primary)) = (self.available(), self.primary()) else { return };
        for other in self.others().into_iter().filter(|other| other.is_enrolled()) {
            primary.rests(&other);
        }
        primary.rest();
        seal(&primary);
    }

    /// Lets go of a drive that is gone, or is to be opened anew.
    pub(super) fn detach(&self, attached: &Arc<Attached>) {
        self.let_go(attached, None);
    }

    fn let_go(&self, attached: &Arc<Attached>, ejected: Option<Ejected>) {
        let mount = &attached.mount;
        let (asked, mut ours) = (ejected.is_some(), false);
        self.update_slot(mount, |slot| {
            // Somebody else may have been first, and another drive be there by now.
            ours = slot.attached.as_ref().is_some_and(|there| Arc::ptr_eq(there, attached));
            if ours {
                slot.attached = None;
                slot.moving = Some((attached.id(), attached.role()));
                slot.standing = if asked { Standing::Ejected } else { Standing::Absent };
                slot.ejected = ejected;
                slot.probing_since = None;
                slot.probe_ms = None;
            }
        });
        if !ours {
            return;
        }
        let _moving = Moving::of(self, mount);
        let (drive, role) = (attached.id().short(), attached.role());
        if let (true, Ok(primary)) = (asked, self.primary()) {
            match role {
                DriveRole::Primary => primary.rest(),
                DriveRole::Mirror | DriveRole::Offline => primary.rests(attached),
            }
        }
        if asked {
            log::info!("drive {drive} ({role}) was ejected");
        } else {
            log::warn!("drive {drive} ({role}) is gone");
        }
        if role == DriveRole::Primary {
            // Ends the commit under way, and closes the catalogue.
            let primary = self.primary().ok().filter(|_| asked);
            drop(self.set_primary(None));
            primary.iter().for_each(|primary| seal(primary));
        }
        attached.volume.let_go();
        self.holds().remove(mount);
        // The mirror's end of a drive and the watched tree are held until their workers look again.
        self.wake(Wake::Mirror);
        self.wake(Wake::Rescan);
    }
}

/// Closes the catalogue of a primary that was let go in order, and puts down what it is.
fn seal(primary: &Primary) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let until = clock::monotonic() + PATIENCE;
    primary.close();
    if primary.catalogue.unproved().is_some() {
        return; // nobody has found out yet whether it is what it should be
    }
    if let Err(e) = opening::seal(&primary.attached, &|| clock::monotonic() < until) {
        log::warn!("the catalogue will be checked at the next start: {e}");
    }
}

/// Waits until this process has no file below `mount` open: a transfer notices at its next piece, and one that stands still
/// when its client is given up.
fn await_closed(mount: &Path) -> Result<(), EjectError> {
    const PAUSE: Duration = Duration::from_millis(50);
    const TRIES: u32 = 400;
    // As the kernel spells it: open files are told by their real paths.
    let mount = mount.canonicalize()?;
    for _ in 0..TRIES {
        if process::open_below(&mount)? == 0 {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(EjectError::StillOpen(process::open_below(&mount)?))
}
