//! What is mounted where, and where `/etc/fstab` wants it: asked of findmnt(8).
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::device::Device;
use crate::failure::Failure;
use crate::name::Name;
use crate::program;

const WITHIN: Duration = Duration::from_secs(20);

fn targets(table: &str, source: &Name) -> Result<Vec<PathBuf>, Failure> {
    let node = source.node();
    let node = node.to_string_lossy();
    let ask = [table, "--evaluate", "--noheadings", "--raw", "--output", "TARGET", "--source", &node];
    let ended = program::run("findmnt", &ask, WITHIN)?;
    match ended.code {
        0 => Ok(ended.out.lines().map(|line| PathBuf::from(unescaped(line))).collect()),
        1 if ended.said.trim().is_empty() => Ok(Vec::new()),
        code => Err(Failure::new(format!("findmnt ended with {code}: {}", ended.said.trim()))),
    }
}

/// `--raw`: blanks and the like come as `\x20`.
fn unescaped(text: &str) -> String {
    text.replace("\\x20", " ").replace("\\x09", "\t").replace("\\x5c", "\\")
}

/// Where something of the device's disk is mounted or used as swap, and whether it is the device itself.
///
/// # Errors
/// findmnt(8) is missing.
pub fn in_use(device: &Device) -> Result<Vec<(PathBuf, bool)>, Failure> {
    let mut all = Vec::new();
    for name in device.siblings() {
        let itself = name == device.name;
        all.extend(targets("--kernel", &name)?.into_iter().map(|at| (at, itself)));
        if swaps().contains(&name.node()) {
            all.push((PathBuf::from("swap"), itself));
        }
    }
    Ok(all)
}

/// proc_swaps(5): a line of headings, then the device first.
fn swaps() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/swaps").unwrap_or_default();
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(PathBuf::from).collect()
}

/// Where `/etc/fstab` wants it.
///
/// # Errors
/// findmnt(8) is missing.
pub fn fstab(name: &Name) -> Result<Option<PathBuf>, Failure> {
    Ok(targets("--fstab", name)?.into_iter().next())
}

/// Which of these places something is mounted at.
///
/// # Errors
/// The kernel's list cannot be read.
pub fn taken(points: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let text = mountinfo()?;
    let at: Vec<&Path> = text.lines().filter_map(point).collect();
    Ok(points.iter().filter(|point| at.contains(&point.as_path())).cloned().collect())
}

/// Whether what is mounted there, on top of all else, is this device. It goes on being so when the device is gone.
///
/// # Errors
/// The kernel's list cannot be read.
pub fn is_at(name: &Name, at: &Path) -> Result<bool, Failure> {
    Ok(source(&mountinfo()?, at).is_some_and(|source| Path::new(source) == name.node()))
}

fn mountinfo() -> Result<String, Failure> {
    let list = "/proc/self/mountinfo";
    fs::read_to_string(list).map_err(|e| Failure::io("read", list, e))
}

/// proc_pid_mountinfo(5): the fifth field is the mount point.
fn point(line: &str) -> Option<&Path> {
    line.split(' ').nth(4).map(Path::new)
}

/// The last line of a place is what is seen there. What is mounted follows the hyphen and the filesystem's kind.
fn source<'t>(mountinfo: &'t str, at: &Path) -> Option<&'t str> {
    let line = mountinfo.lines().rfind(|line| point(line) == Some(at))?;
    line.split_once(" - ")?.1.split(' ').nth(1)
}

/// Whether another device has a filesystem of the same UUID. Asked of the devices and not of udev's links, of which there is one a UUID.
///
/// # Errors
/// `/sys` cannot be read.
pub fn has_twin(name: &Name, uuid: &str) -> Result<bool, Failure> {
    let class = Path::new("/sys/class/block");
    let entries = fs::read_dir(class).map_err(|e| Failure::io("list", class, e))?;
    let others = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<Name>().ok());
    Ok(others.filter(|other| other != name).any(|other| {
        // One that cannot be read is nobody's twin yet: it is looked at when it comes.
        matches!(crate::filesystem::on(&other), Ok(Some(found)) if found.uuid == uuid)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_top_is_what_is_mounted() {
        let text = "30 1 8:1 / / rw - ext4 /dev/sda1 rw\n31 30 8:17 / /srv/a rw,nosuid shared:5 - ext4 /dev/sdb1 rw\n\
                    32 31 8:33 / /srv/a rw shared:6 master:1 - exfat /dev/sdc1 rw\n";
        assert_eq!(source(text, Path::new("/srv/a")), Some("/dev/sdc1"));
        assert_eq!(source(text, Path::new("/")), Some("/dev/sda1"));
        assert_eq!(source(text, Path::new("/srv")), None);
    }
}
