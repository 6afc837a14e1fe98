//! The few calls that no safe wrapper offers: cachestat, mincore of a mapped file, sync_file_range, statx's mount id and its word
//! on seals, fs-verity, the filesystem's UUID, mallopt, madvise.
//! The only file with `unsafe`; `tests/tidy.rs` keeps it so.
#![expect(unsafe_code, reason = "these calls have no safe wrapper in nix or std")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

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

/// How much of a file the page cache holds.
pub(crate) fn cached_pages(file: BorrowedFd<'_>) -> io::Result<u64> {
    match cachestat(file)? {
        Some(stat) => Ok(stat.cache + stat.dirty + stat.writeback),
        None => resident_pages(file),
    }
}

/// Whether the page cache holds all of a file of this size, which may have room set aside behind its end.
pub(crate) fn is_cached(file: BorrowedFd<'_>, size: u64) -> io::Result<bool> {
    // Of a large page that reaches over the end, what is within counts.
    let held = match cachestat_of(file, size)? {
        Some(stat) => stat.cache,
        None => resident_pages(file)?,
    };
    // SAFETY: a question about the system, without any memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = u64::try_from(page).map_err(|_| io::Error::last_os_error())?;
    Ok(held >= size.div_ceil(page.max(1)))
}

/// How much of a file the page cache holds, for kernels before Linux 6.5: by way of a mapping that nobody reads through (mincore(2)). Who may not write the file
/// is told that all of it is there.
fn resident_pages(file: BorrowedFd<'_>) -> io::Result<u64> {
    const WINDOW: u64 = 256 << 20;
    let size = u64::try_from(nix::sys::stat::fstat(file)?.st_size).unwrap_or(0);
    let mut found = 0;
    let mut resident = Vec::new();
    for offset in (0..size).step_by(WINDOW as usize) {
        let len = usize::try_from(WINDOW.min(size - offset)).map_err(|_| io::ErrorKind::InvalidInput)?;
        let at = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // At most one byte for each 4 KiB page, the smallest there is.
        resident.clear();
        resident.resize(len.div_ceil(4096), 0u8);
        // SAFETY: a new mapping at an address of the kernel's choice; nothing is read through it, and it is gone before the next.
        let answer = unsafe {
            let map = libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                at,
            );
            if map == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            let answer = libc::mincore(map, len, resident.as_mut_ptr());
            let error = io::Error::last_os_error();
            libc::munmap(map, len);
            if answer == 0 { Ok(()) } else { Err(error) }
        };
        answer?;
        found += resident.iter().map(|page| u64::from(page & 1)).sum::<u64>();
    }
    Ok(found)
}

/// Has the kernel seal a file (FS_IOC_ENABLE_VERITY, Documentation/filesystems/fsverity.rst): a SHA-256 tree over blocks of 4 KiB
/// is built from what the drive gives now, and from then on no write is let through, and no byte is read that differs.
pub(crate) fn seal(file: BorrowedFd<'_>) -> io::Result<()> {
    // struct fsverity_enable_arg and FS_IOC_ENABLE_VERITY = _IOW('f', 133, struct fsverity_enable_arg), include/uapi/linux/fsverity.h
    #[repr(C)]
    struct Enable {
        version: u32,
        hash_algorithm: u32,
        block_size: u32,
        salt_size: u32,
        salt: u64,
        signature_size: u32,
        reserved: u32,
        signature: u64,
        more_reserved: [u64; 11],
    }
    const ENABLE_VERITY: libc::c_ulong = 1 << 30 | 128 << 16 | 0x66 << 8 | 133;
    const _: () = assert!(size_of::<Enable>() == 128, "the size encoded in the request");
    const SHA256: u32 = 1;
    let wanted = Enable {
        version: 1,
        hash_algorithm: SHA256,
        block_size: 4096,
        salt_size: 0,
        salt: 0,
        signature_size: 0,
        reserved: 0,
        signature: 0,
        more_reserved: [0; 11],
    };
    // SAFETY: the structure has the size encoded in the request and outlives the call; it names no other memory.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), ENABLE_VERITY as _, &raw const wanted) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the kernel sealed a file. A handle opened with O_PATH will do.
pub(crate) fn is_sealed(file: BorrowedFd<'_>) -> bool {
    look(Some(file), c"", 0).is_ok_and(|out| out.stx_attributes & libc::STATX_ATTR_VERITY as u64 != 0)
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
    cachestat_of(file, 0)
}

/// Of so much from the beginning; 0: of all.
fn cachestat_of(file: BorrowedFd<'_>, len: u64) -> io::Result<Option<CacheStat>> {
    #[repr(C)]
    struct Range {
        off: u64,
        len: u64,
    }
    const CACHESTAT: libc::c_long = 451; // the same number on every architecture (unified table)
    let range = Range { off: 0, len };
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
pub(crate) fn whereabouts(dir: Option<BorrowedFd<'_>>, path: &CStr) -> io::Result<Whereabouts> {
    // A kernel that does not know a bit of the mask passes over it.
    let out = look(dir, path, libc::STATX_INO | libc::STATX_MNT_ID | libc::STATX_MNT_ID_UNIQUE)?;
    Ok(Whereabouts {
        mount: out.stx_mnt_id,
        device: (out.stx_dev_major, out.stx_dev_minor),
        inode: out.stx_ino,
    })
}

/// The whereabouts of a path.
pub(crate) fn whereabouts_of(path: &Path) -> io::Result<Whereabouts> {
    whereabouts(None, &CString::new(path.as_os_str().as_encoded_bytes())?)
}

fn look(dir: Option<BorrowedFd<'_>>, path: &CStr, mask: libc::c_uint) -> io::Result<libc::statx> {
    let dir = dir.map_or(libc::AT_FDCWD, |d| d.as_raw_fd());
    let mut out = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    // SAFETY: `path` ends in NUL and `out` has room for one statx; both outlive the call.
    let answer = unsafe { libc::statx(dir, path.as_ptr(), flags, mask, out.as_mut_ptr()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, and the kernel filled what it could.
    Ok(unsafe { out.assume_init() })
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
        let by_handle = whereabouts(Some(handle.as_fd()), c"").unwrap();
        let by_path = whereabouts_of(dir.path()).unwrap();
        assert_eq!(by_handle, by_path);
        assert_ne!(by_handle, whereabouts(None, c"/proc").unwrap());
        assert!(whereabouts_of(Path::new("/a\0b")).is_err());
    }

    #[test]
    fn a_written_file_is_cached() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 100_000]).unwrap();
        start_write_back(file.as_fd(), 0, 65_536).unwrap();
        assert!(await_write_back(file.as_fd(), 0, 65_536).unwrap());
        assert!(cached_pages(file.as_fd()).unwrap() >= 1);
        assert!(resident_pages(file.as_fd()).unwrap() >= 1);
    }

    #[test]
    fn what_was_dropped_from_memory_is_not_resident() {
        // On the disk that holds the build: a tmpfs has nowhere to drop to.
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&[1; 100_000]).unwrap();
        assert_eq!(resident_pages(file.as_fd()).unwrap(), 25);
        assert!(
            is_cached(file.as_fd(), 100_000).unwrap() && !is_cached(file.as_fd(), 25 * 4096 + 1).unwrap()
        );
        file.sync_all().unwrap();
        let all = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        // All of it: a single page of a large folio (Linux 6.x on ext4) would stay.
        nix::fcntl::posix_fadvise(&file, 0, 0, all).unwrap();
        assert_eq!(resident_pages(file.as_fd()).unwrap(), 0);
        assert!(!is_cached(file.as_fd(), 100_000).unwrap());
        assert!(!is_sealed(file.as_fd()));
    }
}
