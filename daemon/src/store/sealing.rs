//! Sealing files with fs-verity, where the filesystem offers it: the kernel refuses every later write, and reading a byte that is not
//! what it was is an error, whoever reads.
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::statfs::{BTRFS_SUPER_MAGIC, fstatfs};

use crate::model::place::Place;
use crate::store::disk::io_fault;
use crate::store::syscall;
use crate::store::volume::VolumeError;

/// Seals an open file. `false`: it was sealed before.
///
/// A power cut at any moment leaves it sealed or not, and its bytes as they were: the kernel writes the tree behind the end of
/// the file first, and the mark that it is sealed in one transaction of the journal after that; what lies behind the end of a file
/// without the mark is cut off at the next mount (ext4_end_enable_verity in fs/ext4/verity.c). So nothing is flushed here: a seal
/// that was lost is set again when the copy is next read.
pub(super) fn seal(file: &OwnedFd, place: &Place) -> Result<bool, VolumeError> {
    // Seals on btrfs would keep older kernels from writing to the drive (a read-only compatible feature, set by the first), and
    // nobody asked for that as `mkfs.ext4 -O verity` does. It has checksums of its own.
    if fstatfs(file).is_ok_and(|fs| fs.filesystem_type() == BTRFS_SUPER_MAGIC) {
        return Err(not_offered(place));
    }
    if syscall::is_sealed(file.as_fd()) {
        return Ok(false);
    }
    match syscall::seal(file.as_fd()) {
        Ok(()) => Ok(true),
        Err(e) => answered(&e, place),
    }
}

/// What an answer of the kernel's other than "done" means.
fn answered(error: &io::Error, place: &Place) -> Result<bool, VolumeError> {
    match error.raw_os_error() {
        // Another sealed it in between.
        Some(libc::EEXIST) => Ok(false),
        // No such request; not on this filesystem, or not with its features; not with these blocks, or pages; a kernel without SHA-256.
        Some(libc::ENOTTY | libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOPKG) => {
            Err(not_offered(place))
        }
        _ => Err(io_fault(
            "seal",
            place,
            io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO)),
        )),
    }
}

fn not_offered(place: &Place) -> VolumeError {
    VolumeError::Unsupported { op: "seal", place: place.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_told_for_what_it_is() {
        let place = Place::photos();
        let told = |code| match answered(&io::Error::from_raw_os_error(code), &place) {
            Ok(new) => format!("new: {new}"),
            Err(VolumeError::Unsupported { .. }) => "not offered".to_owned(),
            Err(VolumeError::Full { .. }) => "no room".to_owned(),
            Err(VolumeError::ReadOnly { .. }) => "read-only".to_owned(),
            Err(e @ VolumeError::Io { .. }) if e.doubts_the_drive() => "damage".to_owned(),
            Err(VolumeError::Io { .. }) => "not now".to_owned(),
            Err(e) => e.to_string(),
        };
        let codes = [
            (libc::EEXIST, "new: false"),
            (libc::ENOTTY, "not offered"),
            (libc::EOPNOTSUPP, "not offered"),
            (libc::EINVAL, "not offered"),
            (libc::ENOPKG, "not offered"),
            (libc::ETXTBSY, "not now"),
            (libc::EBUSY, "not now"),
            (libc::EINTR, "not now"),
            (libc::EACCES, "not now"),
            (libc::ENOSPC, "no room"),
            (libc::EFBIG, "no room"),
            (libc::EROFS, "read-only"),
            (libc::EIO, "damage"),
        ];
        for (code, wanted) in codes {
            assert_eq!(told(code), wanted, "{code}");
        }
    }

    /// Such a kernel mounts the drive all the same, and answers so when a sealed file is opened: good copies must not be taken for bad.
    #[test]
    fn a_kernel_that_knows_no_seals_is_no_damage() {
        for code in [libc::EOPNOTSUPP, libc::ENOPKG] {
            let error = io_fault("open", &Place::photos(), io::Error::from_raw_os_error(code));
            assert!(!error.doubts_the_drive(), "{error}");
        }
    }
}
