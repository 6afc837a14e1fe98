//! What the kernel says of a block device: from `/sys` only, so it answers while the drive does not.
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};

use serde::Serialize;

use crate::failure::Failure;
use crate::name::Name;

/// How it is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// A stick, an enclosure, a card reader.
    Usb,
    /// On a board's own connector.
    Nvme,
    /// The card the system starts from, as a rule.
    Card,
    /// Made by the kernel: loop devices, memory.
    Virtual,
    /// Anything else.
    Other,
}

impl Bus {
    /// By the path of the device below `/sys/devices`. Not by udev's `ID_BUS`: that is "ata" for a disk in a USB enclosure.
    pub fn of(path: &Path) -> Self {
        let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
        if parts.iter().any(|part| part.strip_prefix("usb").is_some_and(|n| n.parse::<u8>().is_ok())) {
            Self::Usb
        } else if parts.contains(&"nvme") {
            Self::Nvme
        } else if parts.iter().any(|part| part.starts_with("mmc_host")) {
            Self::Card
        } else if parts.contains(&"virtual") {
            Self::Virtual
        } else {
            Self::Other
        }
    }
}

/// A block device with a filesystem on it, or none: a partition, or a whole disk.
#[derive(Debug, Clone, Serialize)]
pub struct Device {
    /// `sda1`.
    #[serde(serialize_with = "as_text")]
    pub name: Name,
    /// `sda`: itself, if it is no partition.
    #[serde(serialize_with = "as_text")]
    pub disk: Name,
    /// How it is attached.
    pub bus: Bus,
    /// Bytes.
    pub size: u64,
    /// The kernel takes no writes for it.
    pub read_only: bool,
    /// Who made it, and what they call it.
    pub model: String,
    /// Its own, as the vendor gave it; bridges often have the same for all.
    pub serial: String,
    /// Where it is below `/sys`.
    #[serde(skip)]
    pub path: PathBuf,
    /// Open as long as anything is decided or done: the kernel gives a name to another disk only when nobody has the old one open.
    #[serde(skip)]
    pub held: Option<Arc<File>>,
}

fn as_text<S: serde::Serializer>(name: &Name, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

impl Device {
    /// Asks the kernel, and holds the device open.
    ///
    /// # Errors
    /// There is no such device (any more).
    pub fn read(name: &Name) -> Result<Self, Failure> {
        let class = name.class();
        let held = hold(name)?;
        let path = fs::canonicalize(&class).map_err(|e| Failure::io("find", &class, e))?;
        // A partition's folder lies in its disk's.
        let whole = if path.join("partition").exists() {
            path.parent().map(Path::to_owned)
        } else {
            Some(path.clone())
        };
        let whole = whole.ok_or_else(|| Failure::new(format!("{name} has no disk")))?;
        let disk = whole.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let disk = disk.ok_or_else(|| Failure::new(format!("the disk of {name} has no name")))?;
        let sectors: u64 = said(&path.join("size")).parse().unwrap_or(0);
        let usb = usb_device(&whole);
        let vendor = [said(&whole.join("device/vendor")), said(&whole.join("device/model"))].join(" ");
        let serial = usb.as_deref().map(|usb| said(&usb.join("serial"))).filter(|serial| !serial.is_empty());
        Ok(Self {
            name: name.clone(),
            disk,
            bus: Bus::of(&path),
            // Always in units of 512 bytes, whatever the drive's own are (Documentation/ABI/stable/sysfs-block).
            size: sectors.saturating_mul(512),
            read_only: said(&path.join("ro")) == "1" || said(&whole.join("ro")) == "1",
            model: vendor.trim().to_owned(),
            serial: serial.unwrap_or_else(|| said(&whole.join("device/serial"))),
            path,
            held: Some(Arc::new(held)),
        })
    }

    /// The folder of its disk below `/sys`.
    pub fn disk_path(&self) -> PathBuf {
        fs::canonicalize(self.disk.class()).unwrap_or_else(|_| self.disk.class())
    }

    /// The folder of the USB device it is on, where it is on one.
    pub fn usb(&self) -> Option<PathBuf> {
        usb_device(&self.disk_path())
    }

    /// All disks that go when its USB device is let go by the port: those of a bay for two are one device. Without one: its own disk.
    pub fn companions(&self) -> Vec<Name> {
        let Some(usb) = self.usb() else { return vec![self.disk.clone()] };
        let entries = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
        let disks = entries.filter_map(|entry| {
            let path = fs::canonicalize(entry.path()).ok()?;
            let whole = path.starts_with(&usb) && !path.join("partition").exists();
            whole.then(|| entry.file_name().to_str()?.parse::<Name>().ok()).flatten()
        });
        disks.collect()
    }

    /// Partitions of its disk, and the disk itself: all that goes when the disk is switched off.
    pub fn siblings(&self) -> Vec<Name> {
        let whole = self.disk_path();
        let names = fs::read_dir(&whole).into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name().to_str()?.parse::<Name>().ok()?;
            entry.path().join("partition").exists().then_some(name)
        });
        let mut all: Vec<Name> = names.collect();
        all.push(self.disk.clone());
        all.sort();
        all
    }
}

/// Opens the node, and sees to it that it is the device that `/sys` has under this name.
fn hold(name: &Name) -> Result<File, Failure> {
    let node = name.node();
    let mut how = File::options();
    let file = how
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&node)
        .map_err(|e| Failure::io("open", &node, e))?;
    let number = file.metadata().map_err(|e| Failure::io("look at", &node, e))?.rdev();
    let told = said(&name.class().join("dev"));
    if told == format!("{}:{}", major(number), minor(number)) {
        return Ok(file);
    }
    Err(Failure::new(format!("{} is not the device that the kernel calls {name} ({told:?})", node.display())))
}

/// The nearest folder above that is a USB device, and not an interface of one: it has a product's number.
fn usb_device(whole: &Path) -> Option<PathBuf> {
    whole.ancestors().find(|above| above.join("idProduct").exists()).map(Path::to_owned)
}

/// A file of one line. Missing is empty: what a device has differs from driver to driver.
pub fn said(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_is_where_it_hangs() {
        let check = |path: &str, bus| assert_eq!(Bus::of(Path::new(path)), bus, "{path}");
        check(
            "/sys/devices/platform/scb/fd500000.pcie/usb2/2-1/2-1:1.0/host0/target0:0:0/0:0:0:0/block/sda/sda1",
            Bus::Usb,
        );
        check(
            "/sys/devices/platform/emmc2bus/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0/mmcblk0p2",
            Bus::Card,
        );
        check("/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/nvme/nvme0/nvme0n1", Bus::Nvme);
        check("/sys/devices/virtual/block/loop3", Bus::Virtual);
        check("/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", Bus::Other);
        // A name that only begins like a bus.
        check("/sys/devices/platform/usbish/block/sda", Bus::Other);
    }
}
