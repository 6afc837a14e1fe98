//! What takes root: asked of the command that root runs, where there is one. Drives are unmounted, switched off, prepared and formatted
//! by it alone; the daemon passes on what a person said, and has no code for any of it (promise P2).
//!
//! Nobody holds a drive, or anything of the pool, while it is waited for.
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::drive::{DriveId, DriveRole};
use crate::model::plugged::{DeviceName, Named, NewFilesystem, Plugged};
use crate::os::mounts::Mounts;
use crate::os::plugged::{self, Seen};
pub use crate::os::requests::AskError;
use crate::os::requests::{self, Answer, Ask};
use crate::plan::belonging::Told;
use crate::store::disk;
use crate::store::identity::Identity;
use crate::work::eject::EjectError;
use crate::work::pool::Pool;
use crate::work::views::{DriveView, Ejection, Released};
use crate::work::watch::AdoptError;

/// It waits five seconds for others to close their files, and a disk may have to write what it holds.
const TO_EJECT: Duration = Duration::from_secs(60);
/// Reading what is on a disk that has to wake up first.
const TO_NAME: Duration = Duration::from_secs(120);
/// A filesystem is checked before it is mounted, which takes as long as it is large; systemd ends the request after an hour.
const TO_MOUNT: Duration = Duration::from_secs(3600);

/// Who does for the box what takes root. By default nobody.
#[derive(Debug, Clone, Default)]
pub struct Appliance {
    /// Where it tells what was plugged in.
    pub reports: Option<PathBuf>,
    /// Where it is asked.
    pub requests: Option<PathBuf>,
    /// Whether an offline drive that has everything is let go, unmounted and switched off.
    pub eject_when_done: bool,
}

/// Why something was not done to a device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// It was asked for, and was not done.
    #[error(transparent)]
    Asked(#[from] AskError),
    /// It was prepared, and could not be adopted.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
}

impl Pool {
    /// What was plugged in, as the command that root runs tells it. Touches no drive.
    pub fn plugged(&self) -> Seen {
        self.options.appliance.reports.as_deref().map(plugged::read).unwrap_or_default()
    }

    /// Every mount point with what is known of the disk there.
    pub(super) fn with_disks(&self, mut drives: Vec<DriveView>) -> Vec<DriveView> {
        let seen = self.plugged();
        if !seen.devices.is_empty() {
            let mounts = Mounts::read().unwrap_or_default();
            for drive in &mut drives {
                drive.disk = of_place(&seen, &mounts, &drive.mount).cloned();
            }
        }
        drives
    }

    /// What can be told of the filesystem at a mount point: by the kernel, and by the command that mounted it, where that is the one.
    pub(super) fn told_of(&self, identity: Identity, mount: &Path) -> Told {
        let Identity { uuid, has_no_uuid } = identity;
        let mut told = Told { uuid, volume: None, has_no_uuid };
        if uuid.is_some() {
            return told;
        }
        let device = Mounts::read().ok().and_then(|mounts| device_at(&mounts, mount));
        let filesystem = device.and_then(|device| self.plugged().named(&device)?.filesystem.clone());
        if let Some(filesystem) = filesystem {
            told.uuid = filesystem.id().filter(|_| !has_no_uuid);
            told.volume = filesystem.uuid.parse().ok().filter(|_| told.uuid.is_none());
        }
        told
    }

    fn ask(&self, request: &Ask, within: Duration) -> Result<Answer, AskError> {
        let socket = self.options.appliance.requests.as_deref().ok_or(AskError::Nobody)?;
        requests::ask(socket, request, within)
    }

    /// Lets go of a drive, and has it unmounted and switched off where somebody does that for the box.
    pub fn eject_and_unmount(&self, id: DriveId) -> Result<Ejection, EjectError> {
        let ejection = self.eject(id)?;
        Ok(self.have_unmounted(ejection))
    }

    /// Has a drive that was let go unmounted and switched off.
    pub(super) fn have_unmounted(&self, mut ejection: Ejection) -> Ejection {
        let mount = ejection.drive.mount.clone();
        if !ejection.mounted {
            return ejection;
        }
        let Some(device) = Mounts::read().ok().and_then(|mounts| device_at(&mounts, &mount)) else {
            return ejection;
        };
        ejection.released = match self.ask(&Ask::Eject { device: device.clone() }, TO_EJECT) {
            Ok(Answer::Ejected { power }) => {
                log::info!("{device} was unmounted and may be unplugged");
                Some(Released::Off { power })
            }
            Ok(_) => Some(Released::Failed { why: AskError::NotUnderstood.to_string() }),
            Err(AskError::Nobody) => None,
            Err(why) => {
                log::warn!("{device} could not be unmounted: {why}");
                Some(Released::Failed { why: why.to_string() })
            }
        };
        ejection.mounted = disk::is_mount_point(&mount);
        ejection
    }

    /// Has a device unmounted that is none of the box's drives: one that was prepared and not adopted.
    pub fn unmount_device(&self, device: DeviceName) -> Result<Released, DeviceError> {
        let Answer::Ejected { power } = self.ask(&Ask::Eject { device }, TO_EJECT)? else {
            return Err(AskError::NotUnderstood.into());
        };
        Ok(Released::Off { power })
    }

    /// Has a drive that was let go unmounted, checked and mounted again: what is read from it then was not in anybody's memory.
    pub(super) fn mount_again(&self, mount: &Path) -> Result<(), AskError> {
        let device = Mounts::read().ok().and_then(|mounts| device_at(&mounts, mount));
        let device = device.ok_or(AskError::Nobody)?;
        self.ask(&Ask::Again { device }, TO_MOUNT).map(drop)
    }

    /// Has a device mounted where it can be adopted. Everything on it stays.
    pub fn prepare(&self, device: DeviceName) -> Result<PathBuf, DeviceError> {
        let Answer::Prepared { at } = self.ask(&Ask::Prepare { device }, TO_MOUNT)? else {
            return Err(AskError::NotUnderstood.into());
        };
        Ok(at)
    }

    /// Has a device mounted, and makes it one of the box's drives.
    pub fn adopt_device(&self, device: DeviceName, role: DriveRole) -> Result<DriveView, DeviceError> {
        let at = self.prepare(device)?;
        Ok(self.adopt(&at, role)?)
    }

    /// What a whole disk is, and what would be lost by formatting it.
    pub fn name_disk(&self, device: DeviceName) -> Result<Named, DeviceError> {
        let Answer::Disk(named) = self.ask(&Ask::Name { device }, TO_NAME)? else {
            return Err(AskError::NotUnderstood.into());
        };
        Ok(named)
    }

    /// Passes on that a person wants a disk formatted, and what that person was shown. Whether it is that disk, and whether it may be,
    /// is not decided here.
    pub fn pass_on_format(
        &self,
        device: DeviceName,
        filesystem: NewFilesystem,
        confirmed: Named,
    ) -> Result<DeviceName, DeviceError> {
        let Answer::Formatted { device } =
            self.ask(&Ask::Format { device, filesystem, confirmed }, TO_MOUNT)?
        else {
            return Err(AskError::NotUnderstood.into());
        };
        Ok(device)
    }
}

/// The device that is mounted at a place, if anything is.
pub(super) fn device_at(mounts: &Mounts, mount: &Path) -> Option<DeviceName> {
    let place = mount.canonicalize().ok()?;
    DeviceName::of_source(&mounts.at(&place)?.source)
}

/// Of these the drive that is mounted at a place.
pub(super) fn of_place<'s>(seen: &'s Seen, mounts: &Mounts, mount: &Path) -> Option<&'s Plugged> {
    seen.named(&device_at(mounts, mount)?)
}
