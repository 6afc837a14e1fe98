//! A drive's marker as a file: reading it, comparing it before every operation, writing it once. It lies on the drive twice, because
//! without it nothing there can be proved ours (docs/decisions/0026).
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat2};
use nix::sys::stat::Mode;

use crate::model::drive::Marker;
use crate::model::place::Place;
use crate::store::disk::{beneath, fault, io_fault, open_dir};
use crate::store::volume::VolumeError;

/// A marker as text.
pub(super) fn parse(text: &str) -> Result<Marker, String> {
    let marker: Marker = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    if marker.format == 1 {
        Ok(marker)
    } else {
        Err(format!("format {} is newer than this program", marker.format))
    }
}

/// O_EXCL: an existing marker is never replaced here. Directory flushes last, so a marker that survives a power
/// cut stands in directories that survive it too.
pub(super) fn write(root: &OwnedFd, text: &[u8]) -> Result<(), VolumeError> {
    let place = Place::marker();
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let how = beneath(flags).mode(Mode::from_bits_truncate(0o600));
    let fd = openat2(root, place.as_str(), how).map_err(|e| fault("write", &place, e))?;
    let mut file = File::from(fd);
    io::Write::write_all(&mut file, text).map_err(|e| io_fault("write", &place, e))?;
    file.sync_all().map_err(|e| io_fault("flush", &place, e))?;
    for dir in [Place::own(), Place::root()] {
        let fd = open_dir(root, &dir).map_err(|e| fault("open", &dir, e))?;
        File::from(fd).sync_all().map_err(|e| io_fault("flush", &dir, e))?;
    }
    // And out of the journal to where it belongs, this once: a drive is recognised without its journal being replayed
    // (docs/decisions/0031), so one that is pulled within the minute would be nobody's. What cannot do it is no worse than before.
    let _at_its_place = open_dir(root, &Place::root()).and_then(nix::unistd::syncfs);
    Ok(())
}

fn open(root: &OwnedFd, place: &Place) -> Result<File, Errno> {
    openat2(root, place.as_str(), beneath(OFlag::O_RDONLY | OFlag::O_CLOEXEC)).map(File::from)
}

/// Whether an answer says that the medium does not give a file, or what the filesystem knows of it (its checksum is wrong). That there
/// is none, or that it belongs to somebody else, says no such thing: only what cannot be read is looked for in its copy.
fn is_of_the_medium(errno: Errno) -> bool {
    matches!(errno, Errno::EIO | Errno::EBADMSG | Errno::EUCLEAN)
}

/// All of it. `true`: the marker itself cannot be read, and this is its copy.
pub(super) fn read(root: &OwnedFd) -> Result<(Vec<u8>, bool), Errno> {
    match read_at(root, &Place::marker()) {
        Ok(bytes) => Ok((bytes, false)),
        Err(e) if is_of_the_medium(e) => {
            read_at(root, &Place::marker_copy()).map(|bytes| (bytes, true)).map_err(|_| e)
        }
        Err(e) => Err(e),
    }
}

fn read_at(root: &OwnedFd, place: &Place) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::with_capacity(1024);
    io::Read::read_to_end(&mut io::Read::take(open(root, place)?, 16 * 1024), &mut bytes).map_err(errno)?;
    Ok(bytes)
}

/// Whether the copy is these bytes.
pub(super) fn is_twofold(root: &OwnedFd, marker: &[u8]) -> bool {
    read_at(root, &Place::marker_copy()).is_ok_and(|copy| copy == marker)
}

/// Whether the marker is these bytes. Asked before every operation, so in as few calls as can be: with room for one byte more
/// than there should be, a whole marker and nothing else is one read (read(2): fewer bytes than asked for are the end of a file).
/// `by_copy`: it could not be read before, and each attempt may take a drive seconds; from then on its copy is asked.
pub(super) fn is(root: &OwnedFd, marker: &[u8], by_copy: &AtomicBool) -> Result<bool, Errno> {
    if by_copy.load(Ordering::Relaxed) {
        return is_at(root, &Place::marker_copy(), marker);
    }
    match is_at(root, &Place::marker(), marker) {
        Err(e) if is_of_the_medium(e) => {
            let same = is_at(root, &Place::marker_copy(), marker).map_err(|_| e)?;
            by_copy.store(same, Ordering::Relaxed);
            Ok(same)
        }
        other => other,
    }
}

fn is_at(root: &OwnedFd, place: &Place, marker: &[u8]) -> Result<bool, Errno> {
    let mut file = open(root, place)?;
    let mut found = vec![0; marker.len() + 1];
    let mut held = 0;
    while held < marker.len() {
        match io::Read::read(&mut file, &mut found[held..]) {
            Ok(0) => break,
            Ok(read) => held += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(errno(e)),
        }
    }
    Ok(found[..held] == *marker)
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_all_of_its_bytes_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".shoebox")).unwrap();
        let root = OwnedFd::from(File::open(dir.path()).unwrap());
        let by_copy = AtomicBool::default();
        let is = |marker: &[u8]| is(&root, marker, &by_copy);
        assert_eq!(is(b"format = 1").unwrap_err(), Errno::ENOENT);
        let put = |text: &[u8]| std::fs::write(dir.path().join(".shoebox/drive.toml"), text).unwrap();
        for (there, same) in [
            (&b"format = 1"[..], true),
            (b"format = 2", false),
            (b"format = 1\n", false),
            (b"format =", false),
            (b"", false),
        ] {
            put(there);
            assert_eq!(is(b"format = 1"), Ok(same), "{there:?}");
            assert_eq!(read(&root), Ok((there.to_vec(), false)));
        }
        std::fs::remove_file(dir.path().join(".shoebox/drive.toml")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(".shoebox/drive.toml")).unwrap();
        assert!(is(b"format = 1").is_err());
    }

    /// Only what cannot be read is looked for elsewhere: whoever takes the marker away takes the drive out of the pool.
    #[test]
    fn a_marker_that_is_not_there_has_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".shoebox")).unwrap();
        let root = OwnedFd::from(File::open(dir.path()).unwrap());
        std::fs::write(dir.path().join(".shoebox/drive.copy.toml"), b"format = 1").unwrap();
        assert_eq!(read(&root), Err(Errno::ENOENT));
        assert_eq!(is(&root, b"format = 1", &AtomicBool::default()), Err(Errno::ENOENT));
        assert!(is_twofold(&root, b"format = 1") && !is_twofold(&root, b"format = 2"));
    }
}
