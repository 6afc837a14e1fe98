//! What is kept on the drives, because the card is disposable: the key of the wireless network, in `.shoebox/wifi.toml`.
//!
//! Only on a drive that is mounted at a place of the box's and bears the marker of a Shoebox; by handles, never by a path that somebody could
//! have made a link of. The new file is whole and flushed before it has the name.
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fstat, fstatat};

use crate::wifi::Kept;
use shoebox_drive::failure::Failure;

const OWN: &str = ".shoebox";
const MARKER: &str = "drive.toml";
const FILE: &str = "wifi.toml";
const NEW: &str = "wifi.toml.new";
const MOST_BYTES: u64 = 4096;

/// The box's own folder on each drive that is there.
#[must_use]
pub fn drives(places: &Path) -> Vec<OwnedFd> {
    let Ok(above) = fs::metadata(places) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(places) else { return Vec::new() };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    names.sort();
    names.iter().filter_map(|path| own(path, above.dev()).ok().flatten()).collect()
}

fn own(place: &Path, card: u64) -> Result<Option<OwnedFd>, Errno> {
    let folder = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let root = open(place, folder, Mode::empty())?;
    // Nothing is mounted there: that is the card itself.
    if fstat(&root)?.st_dev == card {
        return Ok(None);
    }
    let own = openat(&root, OWN, folder, Mode::empty())?;
    fstatat(&own, MARKER, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(Some(own))
}

/// What a drive has of it, if it is as we would write it.
#[must_use]
pub fn read(own: &OwnedFd) -> Option<Kept> {
    let file =
        openat(own, FILE, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let mut text = String::new();
    File::from(file).take(MOST_BYTES).read_to_string(&mut text).ok()?;
    toml::from_str::<Kept>(&text).ok().filter(Kept::is_lawful)
}

/// Durable when this returns.
///
/// # Errors
/// The drive is read-only, full or gone.
pub fn write(own: &OwnedFd, kept: &Kept) -> Result<(), Failure> {
    let text = toml::to_string(kept).map_err(|e| Failure::new(format!("could not write {FILE}: {e}")))?;
    let failed = |errno: Errno| Failure::io("keep", FILE, errno);
    let how = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(own, NEW, how, Mode::from_bits_truncate(0o600)).map_err(failed)?);
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|e| Failure::io("keep", FILE, e))?;
    renameat(own, NEW, own, FILE).map_err(failed)?;
    nix::unistd::fsync(own).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(OWN)).unwrap();
        fs::write(dir.path().join(OWN).join(MARKER), "").unwrap();
        // Any number of a device but its own: nothing can be mounted here.
        let own = own(dir.path(), u64::MAX).unwrap().unwrap();
        assert_eq!(read(&own), None);
        let kept = Kept { network: "Home".into(), country: "DE".into(), psk: "0a".repeat(32) };
        write(&own, &kept).unwrap();
        write(&own, &kept).unwrap();
        assert_eq!(read(&own), Some(kept));
        let file = dir.path().join(OWN).join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        fs::write(&file, "network = \"x\"\ncountry = \"DE\"\npsk = \"}\"").unwrap();
        assert_eq!(read(&own), None);
    }

    #[test]
    fn a_place_where_nothing_is_mounted_is_no_drive() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a").join(OWN)).unwrap();
        fs::write(dir.path().join("a").join(OWN).join(MARKER), "").unwrap();
        assert!(drives(dir.path()).is_empty());
        assert!(own(&dir.path().join("a"), u64::MAX).unwrap().is_some());
    }
}
