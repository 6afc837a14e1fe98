//! Letting a disk go for good: its heads are parked and its port is switched off, so that pulling it interrupts nothing.
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use serde::Serialize;

use crate::device::Device;
use crate::failure::Failure;
use crate::name::Name;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Down {
    /// The USB device was let go by its port.
    Port,
    /// The disk was told to stop; it is on no USB port.
    Disk,
    /// Nothing to switch off: it is made of memory or of a file.
    Nothing,
}

/// Where the kernel takes the word, and what it amounts to. `remove` of a USB device suspends its port
/// (Documentation/ABI/testing/sysfs-bus-usb); `delete` of a SCSI disk flushes and stops it first (drivers/scsi/sd.c, `sd_shutdown`).
fn switch(device: &Device) -> Option<(PathBuf, Down)> {
    let usb = device.usb().map(|usb| (usb.join("remove"), Down::Port));
    let disk = || {
        let file = device.disk_path().join("device/delete");
        file.exists().then_some((file, Down::Disk))
    };
    usb.or_else(disk)
}

/// Whether anybody uses anything that would be switched off with it: another disk in the same bay, a partition, whatever lies upon them
/// (encryption, volumes, arrays), here or where other namespaces have mounted it. The kernel gives a disk to one alone only if nobody
/// has any of that (open(2), `O_EXCL` on block devices).
pub fn is_used(device: &Device) -> bool {
    let alone = |disk: &Name| {
        let exclusively = OFlag::O_EXCL | OFlag::O_NONBLOCK;
        fs::File::options().read(true).custom_flags(exclusively.bits()).open(disk.node()).is_ok()
    };
    !device.companions().iter().all(alone)
}

/// Switches the disk off that the device is on. Nothing of it may be mounted any more.
///
/// # Errors
/// The kernel refused.
pub fn down(device: &Device) -> Result<Down, Failure> {
    let Some((file, what)) = switch(device) else { return Ok(Down::Nothing) };
    // A flush of the disk first, whatever its filesystem did: of a port it is nowhere said.
    let node = device.disk.node();
    let disk = fs::File::open(&node).map_err(|e| Failure::io("open", &node, e))?;
    disk.sync_all().map_err(|e| Failure::io("flush", &node, e))?;
    drop(disk);
    fs::write(&file, "1").map_err(|e| Failure::io("switch off", &file, e))?;
    Ok(what)
}
