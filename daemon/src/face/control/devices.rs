//! Requests about devices, which the daemon passes on to the command that root runs: what they say, and what is answered.
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{json, one_line};
use super::wire::{Fault, FaultKind};
use crate::model::drive::DriveRole;
use crate::model::plugged::{DeviceName, Named, NewFilesystem};
use crate::work::appliance::{AskError, DeviceError};
use crate::work::pool::Pool;

/// What may be asked about devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DeviceRequest {
    /// All that are plugged in, as the command that root runs tells of them: `Vec<Plugged>`.
    List {},
    /// Unmount one that is none of the box's drives, and switch it off: a `Released`.
    Eject {
        /// Which.
        device: DeviceName,
    },
    /// Mount one where it can be adopted: its mount point.
    Prepare {
        /// Which.
        device: DeviceName,
    },
    /// The same, and make it one of ours: a `DriveView`.
    Adopt {
        /// Which.
        device: DeviceName,
        /// What it is to be.
        role: DriveRole,
    },
    /// What a whole disk is, and what would be lost by formatting it: a `Named`.
    Name {
        /// Which.
        device: DeviceName,
    },
    /// Pass on that a disk is to be formatted: the device with the new filesystem.
    Format {
        /// Which.
        device: DeviceName,
        /// What kind.
        filesystem: NewFilesystem,
        /// What was shown to a person, and confirmed.
        confirmed: Named,
    },
}

impl DeviceRequest {
    /// How long the command line waits; `None`: as long as it takes, because a filesystem is checked, or made.
    pub(super) const fn patience(&self) -> Option<Duration> {
        match self {
            Self::List {} | Self::Eject { .. } | Self::Name { .. } => Some(Duration::from_secs(150)),
            Self::Prepare { .. } | Self::Adopt { .. } | Self::Format { .. } => None,
        }
    }
}

/// Passes it on.
pub(super) fn answer(pool: &Pool, request: DeviceRequest) -> Result<Value, Fault> {
    let done = match request {
        DeviceRequest::List {} => return json(&pool.plugged().devices),
        DeviceRequest::Eject { device } => pool.unmount_device(device).map(|released| json(&released)),
        DeviceRequest::Prepare { device } => pool.prepare(device).map(|at| json(&at)),
        DeviceRequest::Adopt { device, role } => pool.adopt_device(device, role).map(|drive| json(&drive)),
        DeviceRequest::Name { device } => pool.name_disk(device).map(|named| json(&named)),
        DeviceRequest::Format { device, filesystem, confirmed } => {
            pool.pass_on_format(device, filesystem, confirmed).map(|device| json(&device))
        }
    };
    done.unwrap_or_else(|e| Err(fault(&e)))
}

fn fault(error: &DeviceError) -> Fault {
    let (kind, remedy) = match error {
        DeviceError::Adopt(_) => {
            (FaultKind::Declined, "it is mounted; `shoebox drive eject DEVICE` takes it back")
        }
        DeviceError::Asked(AskError::Nobody) => (
            FaultKind::Unavailable,
            "on this machine drives are mounted, unmounted and formatted by hand; adopt one by its mount point",
        ),
        DeviceError::Asked(AskError::Refused(_)) => {
            (FaultKind::Declined, "`shoebox drive list` shows what is plugged in")
        }
        DeviceError::Asked(AskError::NotUnderstood | AskError::Io(_)) => {
            (FaultKind::Unavailable, "see `journalctl -u 'shoebox-drive*'`")
        }
    };
    Fault::new(kind, one_line(error), remedy)
}
