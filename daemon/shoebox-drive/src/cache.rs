//! Whether a flush reaches the medium: what the kernel believes of a drive's write cache, and putting that right.
//!
//! Bridges that give no page about their cache are taken for "write through" by the kernel, which then sends no flush at all: everything
//! an fsync was good for is in the drive's memory only, and gone with its power (drivers/scsi/sd.c, `sd_read_cache_type`).
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::device::{Bus, Device, said};
use crate::failure::Failure;
use crate::program;

const WITHIN: Duration = Duration::from_secs(30);

/// What a flush is worth on a drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "flush")]
pub enum Flush {
    /// The kernel sends it.
    Sent,
    /// It did not, and does now: the drive takes the command (SYNCHRONIZE CACHE).
    SentNow,
    /// It is not sent, and whether the drive writes at once is only an assumption: nothing on this drive alone can be promised.
    NotSent {
        /// Why it could not be put right.
        why: String,
    },
    /// There is nothing to flush: the drive is made of memory, or writes before it answers as its kind does.
    NotNeeded,
}

/// Looks, and puts right what can be.
///
/// # Errors
/// The kernel tells nothing about this drive.
pub fn look(device: &Device) -> Result<Flush, Failure> {
    let disk = device.disk_path();
    match believed(&disk)?.as_str() {
        "write back" => Ok(Flush::Sent),
        // What is on no bus of disks is the kernel's own.
        _ if matches!(device.bus, Bus::Virtual | Bus::Card) => Ok(Flush::NotNeeded),
        _ => Ok(mend(device, &disk)
            .map_or_else(|why| Flush::NotSent { why: why.to_string() }, |()| Flush::SentNow)),
    }
}

/// What the kernel believes: `write back` or `write through` (Documentation/ABI/stable/sysfs-block).
fn believed(disk: &Path) -> Result<String, Failure> {
    let file = disk.join("queue/write_cache");
    fs::read_to_string(&file).map(|text| text.trim().to_owned()).map_err(|e| Failure::io("read", &file, e))
}

/// First it is tried whether the drive takes the command: a kernel that sends one which the drive refuses makes errors of good flushes.
fn mend(device: &Device, disk: &Path) -> Result<(), Failure> {
    let node = device.disk.node();
    let ended = program::run("sg_sync", &[&node], WITHIN)?;
    if ended.code != 0 {
        return Err(Failure::new(format!("the drive does not take a flush (sg_sync: {})", ended.code)));
    }
    let file = cache_type(disk).ok_or_else(|| Failure::new("the kernel has no setting for it"))?;
    // "temporary": the drive itself is told nothing, many do not keep it (drivers/scsi/sd.c, `cache_type_store`).
    fs::write(&file, "temporary write back").map_err(|e| Failure::io("set", &file, e))?;
    match believed(disk)?.as_str() {
        "write back" => Ok(()),
        other => Err(Failure::new(format!("the kernel goes on believing {other:?}"))),
    }
}

fn cache_type(disk: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(disk.join("device/scsi_disk")).ok()?;
    let file = entries.flatten().next()?.path().join("cache_type");
    (!said(&file).is_empty()).then_some(file)
}
