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
    Ok(there(at)?.is_some_and(|there| Path::new(&there.source) == name.node()))
}

/// What is mounted at a place, on top of all else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// What was mounted: `/dev/sda1`.
    pub source: String,
    /// Which folder of it is seen there: not `/` where only a part of it is.
    pub root: String,
    /// The number of its filesystem: `8:1`.
    pub number: String,
}

impl There {
    /// The device, where it is one.
    pub fn device(&self) -> Option<Name> {
        self.source.strip_prefix("/dev/")?.parse().ok()
    }
}

/// What is mounted there.
///
/// # Errors
/// The kernel's list cannot be read.
pub fn there(at: &Path) -> Result<Option<There>, Failure> {
    Ok(seen(&mountinfo()?, at))
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
fn seen(mountinfo: &str, at: &Path) -> Option<There> {
    let line = mountinfo.lines().rfind(|line| point(line) == Some(at))?;
    let source = line.split_once(" - ")?.1.split(' ').nth(1)?.to_owned();
    let mut fields = line.split(' ').skip(2);
    let (number, root) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    Some(There { source, root, number })
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
        let source = |at: &str| seen(text, Path::new(at)).map(|there| there.source);
        assert_eq!(source("/srv/a").as_deref(), Some("/dev/sdc1"));
        assert_eq!(source("/").as_deref(), Some("/dev/sda1"));
        assert_eq!(source("/srv"), None);
        let part = "40 31 8:17 /photos /srv/n/photos ro,nosuid - ext4 /dev/sdb1 rw\n";
        let there = seen(part, Path::new("/srv/n/photos")).unwrap();
        assert_eq!((there.root.as_str(), there.number.as_str()), ("/photos", "8:17"));
        assert_eq!(there.device(), Some("sdb1".parse().unwrap()));
    }
}
