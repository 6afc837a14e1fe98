//! What a filesystem is known by: the UUID that the kernel tells of it, and whether it is of a kind that never has one.
use std::os::fd::BorrowedFd;

use nix::sys::statfs::fstatfs;

use crate::model::drive::Id;
use crate::store::syscall;

/// What is known of a filesystem without reading its device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its UUID of 128 bits, where the kernel (6.9 and later) tells it.
    pub uuid: Option<Id>,
    /// It is of a kind that never has one.
    pub has_no_uuid: bool,
}

/// `f_type` of statfs(2), from the kernel's `include/uapi/linux/magic.h`, `fs/ntfs3` and NTFS-3G (which is FUSE).
const WITHOUT_UUID: [u32; 5] = [
    0x2011_bab0, // exFAT
    0x4d44,      // FAT
    0x7366_746e, // ntfs3
    0x5346_544e, // the kernel's older NTFS
    0x6573_5546, // FUSE: exFAT and NTFS by a process
];

/// Of the filesystem a handle is on.
pub(super) fn of(root: BorrowedFd<'_>) -> Identity {
    let magic = fstatfs(root).ok().map(|stat| stat.filesystem_type().0);
    // 32 bits, in a field whose width and sign differ from machine to machine.
    let magic = magic.map(|magic| magic as u32);
    Identity {
        uuid: syscall::filesystem_uuid(root).map(Id::from_random),
        has_no_uuid: magic.is_some_and(|magic| WITHOUT_UUID.contains(&magic)),
    }
}
