//! The few calls that no safe wrapper offers: cachestat, sync_file_range, statx's mount id, the filesystem's UUID, mallopt, madvise.
//! The only file with `unsafe`; `tests/tidy.rs` keeps it so.
#![expect(unsafe_code, reason = "these calls have no safe wrapper in nix or std")]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Has the C library give freed memory back to the kernel. By itself it keeps what a burst of uploads needed, in an
/// arena for each pair of threads of which only the first is ever trimmed at its end, and learns from the first large buffer to keep all of them (mallopt(3), "Environment variables").
pub(crate) fn keep_little_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, 256 << 10), (libc::M_TRIM_THRESHOLD, 4 << 20)]
    {
        // SAFETY: it may be called at any time and changes how much is kept, not what is allocated.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Asks for large pages behind memory that begins at a boundary of one. A wish: where the kernel has none, or none to spare, small
/// ones serve.
pub(crate) fn prefer_large_pages(memory: &mut [u8]) {
    // SAFETY: this advice changes which pages are behind the range, which is borrowed whole, and never what is in them.
    unsafe { libc::madvise(memory.as_mut_ptr().cast(), memory.len(), libc::MADV_HUGEPAGE) };
}

/// Has the C library give back what it keeps after all, for the next burst: now, because there is none. The pages between what is
/// still used, and the four megabytes it is allowed above.
pub(crate) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time and changes how much is kept, not what is allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Reads what the page cache holds and waits for no drive (preadv2(2), RWF_NOWAIT). An error where the first byte is not
/// there, and on filesystems that cannot tell.
pub(crate) fn read_cached(file: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let slice = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: `slice` is all of `buf`, which is ours alone across the call.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const slice, 1, offset, libc::RWF_NOWAIT) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// How much of a file the page cache holds. `None`: the kernel cannot tell (before Linux 6.5).
pub(crate) fn cached_pages(file: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    Ok(cachestat(file)?.map(|stat| stat.cache + stat.dirty + stat.writeback))
}

/// Whether the page cache holds nothing of a file that the drive was not given. `false` where the kernel cannot tell.
pub(crate) fn is_written_back(file: BorrowedFd<'_>) -> bool {
    matches!(cachestat(file), Ok(Some(CacheStat { dirty: 0, writeback: 0, .. })))
}

// include/uapi/linux/mman.h
#[repr(C)]
#[derive(Default)]
struct CacheStat {
    cache: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

fn cachestat(file: BorrowedFd<'_>) -> io::Result<Option<CacheStat>> {
    #[repr(C)]
    struct Range {
        off: u64,
        len: u64,
    }
    const CACHESTAT: libc::c_long = 451; // the same number on every architecture (unified table)
    let range = Range { off: 0, len: 0 }; // length 0: to the end of the file
    let mut stat = CacheStat::default();
    // SAFETY: both structures live across the call and have the layout the kernel documents.
    let answer = unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut stat, 0u32) };
    if answer == 0 {
        return Ok(Some(stat));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // EPERM: the service manager's system call filter does not know the call yet.
        Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM) => Ok(None),
        _ => Err(error),
    }
}

/// Starts write-back of a range, without waiting.
pub(crate) fn start_write_back(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<bool> {
    sync_range(file, offset, len, libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits until a range is written; length 0: to the end of the file. Says nothing about the drive's own cache or the file's
/// metadata. With all three flags no dirty page is passed over (Linux 5.2; `openat2` needs 5.6).
pub(crate) fn await_write_back(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<bool> {
    let all =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_range(file, offset, len, all)
}

/// `false`: this filesystem knows no ranges.
fn sync_range(file: BorrowedFd<'_>, offset: u64, len: u64, flags: libc::c_uint) -> io::Result<bool> {
    let (Ok(offset), Ok(len)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len)) else {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    };
    // SAFETY: plain integers; the descriptor is borrowed for the call.
    let answer = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, flags) };
    if answer == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Some FUSE: the flush at the end does all the work then.
        Some(libc::ESPIPE | libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) => Ok(false),
        _ => Err(error),
    }
}

/// Which mount, device and inode a path or directory handle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// Mount id (statx(2)): never used again where the kernel tells `STATX_MNT_ID_UNIQUE` (6.8), else unique among the
    /// mounts of this moment (`STATX_MNT_ID`).
    pub(crate) mount: u64,
    /// Device number.
    pub(crate) device: (u32, u32),
    /// Inode.
    pub(crate) inode: u64,
}

/// The whereabouts of `path`, relative to `dir`; the handle itself if `path` is empty. Follows no symlink at the end.
pub(crate) fn whereabouts(dir: Option<BorrowedFd<'_>>, path: &[u8]) -> io::Result<Whereabouts> {
    let path = CString::new(path).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let dir = dir.map_or(libc::AT_FDCWD, |d| d.as_raw_fd());
    let mut out = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    // A kernel that does not know a bit of the mask passes over it.
    let mask = libc::STATX_INO | libc::STATX_MNT_ID | libc::STATX_MNT_ID_UNIQUE;
    // SAFETY: `path` ends in NUL and `out` has room for one statx; both outlive the call.
    let answer = unsafe { libc::statx(dir, path.as_ptr(), flags, mask, out.as_mut_ptr()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, and the kernel filled what it could.
    let out = unsafe { out.assume_init() };
    Ok(Whereabouts {
        mount: out.stx_mnt_id,
        device: (out.stx_dev_major, out.stx_dev_minor),
        inode: out.stx_ino,
    })
}

/// The UUID of the filesystem a handle is on; `None` where the filesystem or the kernel (before 6.9) tells none.
pub(crate) fn filesystem_uuid(dir: BorrowedFd<'_>) -> Option<[u8; 16]> {
    // struct fsuuid2 and FS_IOC_GETFSUUID = _IOR(0x15, 0, struct fsuuid2), include/uapi/linux/fs.h
    #[repr(C)]
    struct FsUuid {
        len: u8,
        uuid: [u8; 16],
    }
    const GETFSUUID: libc::c_ulong = 2 << 30 | 17 << 16 | 0x15 << 8;
    let mut answer = FsUuid { len: 0, uuid: [0; 16] };
    // SAFETY: the structure has the size encoded in the request and outlives the call.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), GETFSUUID as _, &raw mut answer) };
    (done == 0 && answer.len == 16 && answer.uuid != [0; 16]).then_some(answer.uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_handle_and_its_path_are_the_same_place() {
        let dir = tempfile::tempdir().unwrap();
        let handle = File::open(dir.path()).unwrap();
        let by_handle = whereabouts(Some(handle.as_fd()), b"").unwrap();
        let by_path = whereabouts(None, dir.path().as_os_str().as_encoded_bytes()).unwrap();
        assert_eq!(by_handle, by_path);
        assert_ne!(by_handle, whereabouts(None, b"/proc").unwrap());
        assert!(whereabouts(None, b"/a\0b").is_err());
    }

    #[test]
    fn a_written_file_is_cached() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 100_000]).unwrap();
        start_write_back(file.as_fd(), 0, 65_536).unwrap();
        assert!(await_write_back(file.as_fd(), 0, 65_536).unwrap());
        if let Some(pages) = cached_pages(file.as_fd()).unwrap() {
            assert!(pages >= 1);
        }
    }
}
