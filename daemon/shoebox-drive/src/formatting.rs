//! Making a filesystem on a disk: the only thing here that destroys, and only what a person named.
//!
//! What is confirmed (by a person, as far as the daemon's word goes) is compared with what is plugged in at that moment: model, serial number and
//! size, and each thing that would be lost. A disk that was swapped meanwhile, or that has more on it than was shown, is refused.
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::attaching::Look;
use crate::device::Device;
use crate::failure::Failure;
use crate::name::Name;
use crate::settings::Settings;
use crate::{attaching, mounted, program};

/// What a disk is and what is on it: shown to a person, and typed back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Who made it and what they call it.
    pub model: String,
    /// Its own number.
    pub serial: String,
    /// Bytes.
    pub size: u64,
    /// All that would be lost, as `sda1 ext4 "Photos"`: of every part of the disk, in order.
    pub lost: Vec<String>,
}

/// What the new filesystem is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// For drives that stay.
    Ext4,
    /// For one that other computers should read.
    Exfat,
}

impl Kind {
    const fn maker(self) -> &'static str {
        match self {
            Self::Ext4 => "mkfs.ext4",
            Self::Exfat => "mkfs.exfat",
        }
    }

    /// parted(8) knows no exFAT; what it does for NTFS is the same.
    const fn hint(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Exfat => "ntfs",
        }
    }
}

/// Minutes for a disk of many terabytes behind a slow bridge.
const WITHIN: Duration = Duration::from_secs(20 * 60);

/// What the whole disk behind a name is, and has.
///
/// # Errors
/// It is a part of a disk; it cannot be read.
pub fn named(name: &Name) -> Result<Named, Failure> {
    let device = Device::read(name)?;
    if device.name != device.disk {
        return Err(Failure::new(format!("{name} is a part of {}; whole disks are prepared", device.disk)));
    }
    let mut lost = Vec::new();
    for part in device.siblings() {
        lost.extend(signatures(&part)?);
    }
    Ok(Named { model: device.model, serial: device.serial, size: device.size, lost })
}

/// All that wipefs(8) knows, and not only what would be mounted: a disk of another system's array bears no filesystem.
fn signatures(name: &Name) -> Result<Vec<String>, Failure> {
    let node = name.node();
    let node = node.to_string_lossy();
    let ended = program::run(
        "wipefs",
        &["--noheadings", "--parsable", "--output", "TYPE,UUID,LABEL", &node],
        WITHIN,
    )?;
    if ended.code != 0 {
        return Err(Failure::new(format!("wipefs {node}: {}", ended.said.trim())));
    }
    let mut all: Vec<String> =
        ended.out.lines().filter(|line| !line.is_empty()).map(|line| sentence(name, line)).collect();
    // A table has a copy at the disk's end, and a filesystem several marks.
    all.sort();
    all.dedup();
    Ok(all)
}

/// With its UUID: two disks of one model behind bridges of one serial number differ in nothing else.
fn sentence(name: &Name, line: &str) -> String {
    let mut columns = line.splitn(3, ',');
    let mut next = || columns.next().unwrap_or_default().to_owned();
    let (kind, uuid, label) = (next(), next(), next());
    let uuid = if uuid.is_empty() { String::new() } else { format!(" {uuid}") };
    let label = if label.is_empty() { String::new() } else { format!(" {label:?}") };
    format!("{name} {kind}{uuid}{label}")
}

/// What is asked for against what there is.
///
/// # Errors
/// In which they differ, for people.
fn compare(confirmed: &Named, found: &Named) -> Result<(), Failure> {
    let differs =
        |what: &str| Err(Failure::new(format!("this is not the disk that was confirmed: {what} differs")));
    if confirmed.model != found.model {
        return differs("its model");
    }
    if confirmed.serial != found.serial {
        return differs("its serial number");
    }
    if confirmed.size != found.size {
        return differs("its size");
    }
    if let Some(more) = found.lost.iter().find(|one| !confirmed.lost.contains(one)) {
        return Err(Failure::new(format!(
            "there is something on it that was not confirmed to be lost: {more}"
        )));
    }
    Ok(())
}

/// Makes one partition with one filesystem. Everything that was on the disk is gone.
///
/// # Errors
/// It is not what was confirmed; anything of it is in use; a program failed, and then the disk may hold nothing any more.
pub fn format(name: &Name, kind: Kind, confirmed: &Named, settings: &Settings) -> Result<Name, Failure> {
    let _device = attaching::alone_with(&settings.reports, name)?;
    let device = Device::read(name)?;
    if !settings.places.buses.contains(&device.bus) {
        return Err(Failure::new("it is not attached by a bus that drives for photos come by"));
    }
    if device.read_only {
        return Err(Failure::new("nothing can be written to it"));
    }
    if let Some((at, _)) = mounted::in_use(&device)?.first() {
        return Err(Failure::new(format!("a part of it is in use at {}", at.display())));
    }
    // What cannot be done to its end is not begun.
    for needed in ["wipefs", "parted", kind.maker()] {
        program::find(needed)?;
    }
    // udev reads no table while this is held (systemd's "Locking Block Device Access"): partitions come and go by our hand alone.
    let _quiet = device
        .held
        .as_deref()
        .and_then(|held| held.try_clone().ok())
        .map(|held| Flock::lock(held, FlockArg::LockExclusive));
    compare(confirmed, &named(name)?)?;
    for part in device.siblings() {
        refuse_ours(&part, settings)?;
    }
    // All at once, the disk first: it is given to one alone only if nobody uses any part of it, and read anew at the end only.
    let nodes: Vec<String> = [device.disk.clone()]
        .into_iter()
        .chain(parts(&device))
        .map(|part| part.node().display().to_string())
        .collect();
    step(
        "wipefs",
        &[&["--all", "--quiet"], &nodes.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat(),
    )?;
    // One partition over all of it: computers offer to "initialise" a disk without a table. By the word behind its name Windows takes it
    // for one of its own or not.
    let table = ["mklabel", "gpt", "mkpart", "Shoebox", kind.hint(), "1MiB", "100%"];
    step(
        "parted",
        &[&["--script", "--align", "optimal", &name.node().display().to_string()], &table[..]].concat(),
    )?;
    let part = first_part(&device)?;
    make(&part, kind)?;
    Ok(part)
}

fn parts(device: &Device) -> Vec<Name> {
    device.siblings().into_iter().filter(|part| *part != device.disk).collect()
}

/// A drive of a Shoebox is never formatted, whoever asks: the daemon has no way to destroy what it keeps (promise P2).
fn refuse_ours(part: &Name, settings: &Settings) -> Result<(), Failure> {
    // One that cannot be looked at is no drive that anybody could use.
    let Ok(report) = Look::at(part, &settings.reports).and_then(|look| look.report(settings)) else {
        return Ok(());
    };
    match report.marker {
        Some(_) => {
            Err(Failure::new(format!("{part} is a drive of a Shoebox, and those are not formatted here")))
        }
        None => Ok(()),
    }
}

/// udev takes a moment to make the node.
fn first_part(device: &Device) -> Result<Name, Failure> {
    for _ in 0..100 {
        let found = parts(device).into_iter().next();
        if let Some(part) = found.filter(|part| Path::new(&part.node()).exists()) {
            return Ok(part);
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(Failure::new(format!("the new partition of {} did not appear", device.disk)))
}

fn make(part: &Name, kind: Kind) -> Result<(), Failure> {
    let node = part.node();
    let node = node.to_string_lossy();
    match kind {
        // Seals (fs-verity) need their feature from the beginning; orphan_file is not read by older systems; a hundredth for root is enough.
        Kind::Ext4 => step(
            "mkfs.ext4",
            &["-q", "-F", "-O", "verity,metadata_csum,^orphan_file", "-m", "1", "-L", "SHOEBOX", &node],
        ),
        Kind::Exfat => step("mkfs.exfat", &["-L", "SHOEBOX", &node]),
    }
}

fn step(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let ended = program::run(program, arguments, WITHIN)?;
    if ended.code == 0 {
        return Ok(());
    }
    Err(Failure::new(format!("{program} ended with {}: {}", ended.code, ended.said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Named {
        Named {
            model: "Samsung T7".into(),
            serial: "S5".into(),
            size: 1 << 40,
            lost: vec!["sda gpt".into(), "sda1 exfat \"T7\"".into()],
        }
    }

    #[test]
    fn only_what_was_named_is_lost() {
        assert!(compare(&disk(), &disk()).is_ok());
        let said = |confirmed: Named| compare(&confirmed, &disk()).unwrap_err().to_string();
        assert!(said(Named { model: "Samsung T5".into(), ..disk() }).ends_with("its model differs"));
        assert!(said(Named { serial: String::new(), ..disk() }).ends_with("its serial number differs"));
        assert!(said(Named { size: 1, ..disk() }).ends_with("its size differs"));
        assert!(
            said(Named { lost: vec!["sda gpt".into()], ..disk() }).ends_with("to be lost: sda1 exfat \"T7\"")
        );
        // Less than was confirmed is no reason.
        let empty = Named { lost: Vec::new(), ..disk() };
        assert!(compare(&disk(), &empty).is_ok());
    }

    #[test]
    fn signatures_are_said_with_their_labels() {
        let name = "sda1".parse().unwrap();
        assert_eq!(sentence(&name, "ext4,0f6c-1,Photos, A"), "sda1 ext4 0f6c-1 \"Photos, A\"");
        assert_eq!(sentence(&name, "linux_raid_member,,"), "sda1 linux_raid_member");
    }
}
