//! `DiskVolume`: a `Volume` on a real directory, usually a mount point. Every path is resolved beneath a directory
//! handle that was opened when the drive was recognised, and every operation proves that handle once more.
#![expect(clippy::wildcard_enum_match_arm, reason = "Errno is the kernel's list, not ours")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{
    AT_FDCWD, AtFlags, Flock, FlockArg, OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, renameat2,
};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, fstat, mkdirat, utimensat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::model::drive::{Marker, Space};
use crate::model::path::RESERVED;
use crate::model::place::Place;
use crate::store::gate::Gate;
use crate::store::identity::{self, Identity};
use crate::store::journal;
use crate::store::listing::{Listing, told};
use crate::store::marker;
use crate::store::medium::DiskMedium;
use crate::store::reader::DiskReader;
use crate::store::sealing;
use crate::store::staging::{self, DiskStaged};
use crate::store::syscall::{self, Whereabouts};
use crate::store::volume::{Entry, EntryKind, MediumRead, ReadAt, Staged, Stat, Volume, VolumeError};

/// A drive at a path. Cheap to clone.
#[derive(Clone)]
pub struct DiskVolume {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// The same with a dot at the end: what a symlink at the mount point leads to.
    at: CString,
    root: OwnedFd,
    here: Whereabouts,
    gate: Gate,
    /// Whether one flush makes durable all that was done before it.
    one_journal: bool,
    /// The marker's exact bytes at attachment; compared on every operation.
    marker: Vec<u8>,
    /// The marker itself could not be read: its copy is compared.
    by_copy: AtomicBool,
}

/// What lies at a path that was asked to be a drive.
pub enum Found {
    /// A drive with a marker. Whether it is one of ours is the caller's to decide.
    Marked(DiskVolume, Box<Marker>),
    /// A directory without our marker.
    Unmarked,
    /// A marker that cannot be read as one.
    Unreadable(String),
    /// No such directory, or it does not answer.
    Nothing(String),
}

/// Looks at `path`. Opens nothing outside it and writes nothing.
pub fn look(path: &Path) -> Found {
    let root = match open_root(path) {
        Ok(root) => root,
        Err(e) => return Found::Nothing(e.to_string()),
    };
    let (text, by_copy) = match marker::read(&root) {
        Ok(read) => read,
        Err(Errno::ENOENT) => return Found::Unmarked,
        Err(e) => return Found::Nothing(e.desc().to_owned()),
    };
    let marker: Marker = match std::str::from_utf8(&text).map_err(|e| e.to_string()).and_then(marker::parse) {
        Ok(marker) => marker,
        Err(why) => return Found::Unreadable(why),
    };
    let Ok(at) = CString::new(path.join(".").into_os_string().into_encoded_bytes()) else {
        return Found::Nothing("its path is none".to_owned());
    };
    match syscall::whereabouts(Some(root.as_fd()), c"") {
        Ok(here) => {
            let (gate, one_journal) = (Gate::default(), journal::orders_all(&root, here.device));
            let (path, by_copy) = (path.to_owned(), AtomicBool::new(by_copy));
            let inner = Inner { path, at, root, here, gate, one_journal, marker: text, by_copy };
            Found::Marked(DiskVolume { inner: Arc::new(inner) }, Box::new(marker))
        }
        Err(e) => Found::Nothing(e.to_string()),
    }
}

/// A drive that is this program's alone until this is dropped, or the program ends, however it ends.
pub struct Hold(#[expect(dead_code, reason = "held, not used")] Option<Flock<File>>);

impl DiskVolume {
    /// Takes the drive for this program: two of them, each with its own idea of where a manifest ends, would break the chain
    /// of its lines. `None`: another program has it. flock(2) on the marker, which every filesystem of a disk knows; where
    /// it is unknown all the same, nobody can be kept out.
    pub fn hold(&self) -> Result<Option<Hold>, VolumeError> {
        let place = Place::marker();
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat2(&self.inner.root, place.as_str(), beneath(flags))
            .map_err(|e| fault("hold", &place, e))?;
        match Flock::lock(File::from(fd), FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Hold(Some(lock)))),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::ENOSYS)) => Ok(Some(Hold(None))),
            Err((_, e)) => Err(fault("hold", &place, e)),
        }
    }
}

/// Writes a marker onto a directory that has none and makes our directories there: adoption. Formats nothing,
/// touches nothing that is there.
pub fn adopt(path: &Path, marker: &Marker) -> Result<DiskVolume, VolumeError> {
    let place = Place::marker();
    let root = open_root(path).map_err(|e| fault("open", &Place::root(), e))?;
    let mut made: Vec<&str> = Vec::new();
    for dir in [
        RESERVED,
        ".shoebox/incoming",
        ".shoebox/scratch",
        ".shoebox/trash",
        ".shoebox/quarantine",
        ".shoebox/manifest",
        "photos",
    ] {
        let mode = if dir == RESERVED { 0o700 } else { 0o755 };
        match mkdirat(&root, dir, Mode::from_bits_truncate(mode)) {
            Ok(()) => made.push(dir),
            Err(Errno::EEXIST) => {}
            Err(e) => return Err(fault("make directory", &place, e)),
        }
    }
    let text = toml::to_string(marker).map_err(|e| io_fault("write", &place, io::Error::other(e)))?;
    marker::write(&root, text.as_bytes())?;
    match look(path) {
        Found::Marked(volume, found) if *found == *marker => {
            // Without its copy the drive is whole; the next probe tries again.
            drop(volume.double_marker());
            Ok(volume)
        }
        Found::Marked(..) | Found::Unmarked | Found::Unreadable(_) | Found::Nothing(_) => {
            Err(VolumeError::Gone { op: "adopt", place, why: "the marker did not read back".to_owned() })
        }
    }
}

fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
}

/// openat2(2): no symlink, no mount crossing, nothing above the handle (invariants I7, I28).
pub(super) fn beneath(flags: OFlag) -> OpenHow {
    OpenHow::new().flags(flags | OFlag::O_NOFOLLOW).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV,
    )
}

pub(super) fn open_dir(root: &OwnedFd, dir: &Place) -> Result<OwnedFd, Errno> {
    let path = if dir.as_str().is_empty() { "." } else { dir.as_str() };
    openat2(root, path, beneath(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC))
}

/// Sorts a kernel answer into what callers distinguish.
pub(super) fn fault(op: &'static str, place: &Place, errno: Errno) -> VolumeError {
    let place = place.clone();
    match errno {
        Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => VolumeError::Full { op, place },
        Errno::EROFS => VolumeError::ReadOnly { op, place },
        Errno::EEXIST => VolumeError::Exists { op, place },
        Errno::ENOENT | Errno::ENOTDIR => VolumeError::NotFound { op, place },
        Errno::ENOTEMPTY => VolumeError::NotEmpty { op, place },
        Errno::ENODEV | Errno::ENXIO | Errno::ENOTCONN | Errno::ESHUTDOWN => {
            VolumeError::Gone { op, place, why: errno.desc().to_owned() }
        }
        other => VolumeError::Io { op, place, source: io::Error::from_raw_os_error(other as i32) },
    }
}

pub(super) fn io_fault(op: &'static str, place: &Place, error: io::Error) -> VolumeError {
    match error.raw_os_error() {
        Some(code) => fault(op, place, Errno::from_raw(code)),
        None => VolumeError::Io { op, place: place.clone(), source: error },
    }
}

impl DiskVolume {
    /// What its filesystem is known by.
    pub fn identity(&self) -> Identity {
        identity::of(self.inner.root.as_fd())
    }

    /// Device number of the filesystem: two drives must not share one outside the demo.
    pub fn device(&self) -> (u32, u32) {
        self.inner.here.device
    }

    /// Whether the drive's root directory is the root of a mount.
    pub fn is_mount_point(&self) -> bool {
        is_mount_point(&self.inner.path)
    }

    pub(super) fn gate(&self) -> Gate {
        self.inner.gate.clone()
    }

    /// Whether the filesystem keeps the order of what is done on it, so that the last flush is enough.
    pub(super) fn has_one_journal(&self) -> bool {
        self.inner.one_journal
    }

    /// The directory that holds `place`, and the last component.
    pub(super) fn holder<'p>(
        &self,
        op: &'static str,
        place: &'p Place,
    ) -> Result<(OwnedFd, &'p str), VolumeError> {
        let parent = place.parent().unwrap_or_else(Place::root);
        let fd = open_dir(&self.inner.root, &parent).map_err(|e| fault(op, place, e))?;
        Ok((fd, place.name()))
    }

    pub(super) fn open_at(
        &self,
        op: &'static str,
        place: &Place,
        flags: OFlag,
    ) -> Result<OwnedFd, VolumeError> {
        let how = beneath(flags | OFlag::O_CLOEXEC);
        let how = if flags.intersects(OFlag::O_CREAT | OFlag::O_TMPFILE) {
            how.mode(Mode::from_bits_truncate(0o644))
        } else {
            how
        };
        openat2(&self.inner.root, place.as_str(), how).map_err(|e| fault(op, place, e))
    }
}

/// Link-less move: fails with `EEXIST` if the name is taken. Filesystems whose rename takes no flags get a look first;
/// between look and rename only another program on the same drive could slip in, never another upload.
pub(super) fn rename_noreplace(
    from_dir: &OwnedFd,
    from: &str,
    to_dir: &OwnedFd,
    to: &str,
) -> Result<(), Errno> {
    match renameat2(from_dir, from, to_dir, to, RenameFlags::RENAME_NOREPLACE) {
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
            let name = CString::new(to).map_err(|_| Errno::EINVAL)?;
            if syscall::whereabouts(Some(to_dir.as_fd()), &name).is_ok() {
                return Err(Errno::EEXIST);
            }
            renameat2(from_dir, from, to_dir, to, RenameFlags::empty())
        }
        other => other,
    }
}

/// The last line of defence of promise P2: whatever a caller believes, originals are not touched by these calls.
fn allowed(allowed: bool, op: &'static str, place: &Place) -> Result<(), VolumeError> {
    if allowed {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::PermissionDenied, "originals are never changed");
    Err(VolumeError::Io { op, place: place.clone(), source })
}

impl Volume for DiskVolume {
    fn prove(&self) -> Result<(), VolumeError> {
        self.inner.gate.pass("prove", &Place::marker())?;
        let gone = |why: &str| VolumeError::Gone { op: "prove", place: Place::marker(), why: why.to_owned() };
        // Same mount and same directory behind the path as when the drive was recognised: an unmounted drive shows
        // the SD card's empty directory here, a swapped one another mount id.
        let now = syscall::whereabouts(None, &self.inner.at).map_err(|e| gone(&e.to_string()))?;
        if now != self.inner.here {
            return Err(gone("something else is mounted at its place"));
        }
        // Opening reaches the filesystem even when stat and statfs answer from memory (reliability: a yanked drive
        // still answers those).
        match marker::is(&self.inner.root, &self.inner.marker, &self.inner.by_copy) {
            Ok(true) => Ok(()),
            Ok(false) => Err(gone("its marker changed")),
            // This process is short of something, and the drive is none the worse for it.
            Err(e @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EINTR)) => {
                let source = io::Error::from_raw_os_error(e as i32);
                Err(VolumeError::Io { op: "prove", place: Place::marker(), source })
            }
            Err(e) => Err(gone(e.desc())),
        }
    }

    fn let_go(&self) {
        self.inner.gate.close();
    }

    fn is_known_by_copy(&self) -> bool {
        self.inner.by_copy.load(Ordering::Relaxed)
    }

    fn double_marker(&self) -> Result<(), VolumeError> {
        if self.is_known_by_copy() {
            self.write_small(&Place::marker(), &self.inner.marker)?;
            self.inner.by_copy.store(false, Ordering::Relaxed);
        } else if !marker::is_twofold(&self.inner.root, &self.inner.marker) {
            self.write_small(&Place::marker_copy(), &self.inner.marker)?;
        }
        Ok(())
    }

    fn stage(&self, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        self.prove()?;
        Ok(Box::new(DiskStaged::open(self.clone(), expected)?))
    }

    fn stage_past_memory(&self, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        self.prove()?;
        Ok(Box::new(DiskStaged::open(self.clone(), expected)?.past_memory()))
    }

    fn grow(&self, file: &Place, at: u64, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        allowed(file.may_grow(), "grow", file)?;
        self.prove()?;
        Ok(Box::new(DiskStaged::grow(self.clone(), file, at, expected)?))
    }

    fn drain(&self) -> Result<(), VolumeError> {
        // Where there is no one journal, each staged file was flushed by itself. A flush of a directory that has nothing to write is
        // one of the drive's memory alone. Not syncfs(2): that also writes metadata that is in the journal to where it
        // belongs, ext4's superblock among it, and a disk that tears that block in two cannot be mounted any more.
        if self.has_one_journal() { self.sync_dir(&Place::root()) } else { self.prove() }
    }

    fn make_dir(&self, dir: &Place) -> Result<bool, VolumeError> {
        self.prove()?;
        let (holder, name) = self.holder("make directory", dir)?;
        match mkdirat(&holder, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => {
                // The service's umask would hide photos from NFS readers. Filesystems without modes refuse: fine.
                let mode = Mode::from_bits_truncate(0o755);
                let _without_modes = fchmodat(&holder, name, mode, FchmodatFlags::FollowSymlink);
                Ok(true)
            }
            Err(Errno::EEXIST) if self.stat(dir)?.is_dir => Ok(false),
            Err(e) => Err(fault("make directory", dir, e)),
        }
    }

    fn sync_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        self.prove()?;
        let fd = open_dir(&self.inner.root, dir).map_err(|e| fault("flush directory", dir, e))?;
        match File::from(fd).sync_all() {
            Ok(()) => Ok(()),
            // Some filesystems have nothing to flush for a directory and say EINVAL; EIO is never tolerated.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            Err(e) => Err(io_fault("flush directory", dir, e)),
        }
    }

    fn order_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        // The journal has the entries before any line appended later, and the flush of that line writes it.
        if self.has_one_journal() { Ok(()) } else { self.sync_dir(dir) }
    }

    fn rename_new(&self, from: &Place, to: &Place) -> Result<(), VolumeError> {
        self.prove()?;
        let (from_dir, from_name) = self.holder("rename", from)?;
        let (to_dir, to_name) = self.holder("rename", to)?;
        rename_noreplace(&from_dir, from_name, &to_dir, to_name).map_err(|e| match e {
            Errno::EEXIST | Errno::ENOTEMPTY => fault("rename to", to, Errno::EEXIST),
            other => fault("rename", from, other),
        })
    }

    fn link(&self, from: &Place, to: &Place) -> Result<(), VolumeError> {
        self.prove()?;
        let (from_dir, from_name) = self.holder("link", from)?;
        let (to_dir, to_name) = self.holder("link", to)?;
        linkat(&from_dir, from_name, &to_dir, to_name, AtFlags::empty()).map_err(|e| match e {
            Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMLINK => {
                VolumeError::Unsupported { op: "link", place: to.clone() }
            }
            Errno::EEXIST => fault("link to", to, e),
            other => fault("link", from, other),
        })
    }

    fn remove_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        self.prove()?;
        let (holder, name) = self.holder("remove directory", dir)?;
        unlinkat(&holder, name, UnlinkatFlags::RemoveDir).map_err(|e| fault("remove directory", dir, e))
    }

    fn discard(&self, file: &Place) -> Result<(), VolumeError> {
        allowed(file.may_be_unlinked(), "discard", file)?;
        self.prove()?;
        let (holder, name) = self.holder("discard", file)?;
        unlinkat(&holder, name, UnlinkatFlags::NoRemoveDir).map_err(|e| fault("discard", file, e))
    }

    fn set_mtime(&self, file: &Place, mtime: Timestamp) -> Result<(), VolumeError> {
        self.prove()?;
        let (holder, name) = self.holder("set time of", file)?;
        let spec = staging::time_spec(mtime);
        match utimensat(&holder, name, &spec, &spec, UtimensatFlags::NoFollowSymlink) {
            // A time the filesystem cannot hold is kept in the catalogue and the manifest all the same.
            Ok(()) | Err(Errno::EINVAL | Errno::ERANGE | Errno::EPERM) => Ok(()),
            Err(e) => Err(fault("set time of", file, e)),
        }
    }

    fn stat(&self, place: &Place) -> Result<Stat, VolumeError> {
        self.inner.gate.pass("look at", place)?;
        let path = if place.as_str().is_empty() { "." } else { place.as_str() };
        let fd = openat2(&self.inner.root, path, beneath(OFlag::O_PATH | OFlag::O_CLOEXEC))
            .map_err(|e| fault("look at", place, e))?;
        let stat = fstat(&fd).map_err(|e| fault("look at", place, e))?;
        Ok(told(&stat))
    }

    fn list(&self, dir: &Place) -> Result<Vec<Entry>, VolumeError> {
        let entries = self.listing(dir)?.entries(|place| self.kind_of(place))?;
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    fn survey(&self, dir: &Place, beat: &mut dyn FnMut()) -> Result<Vec<(Entry, Option<Stat>)>, VolumeError> {
        self.listing(dir)?.survey(|place| self.kind_of(place), beat)
    }

    fn open(&self, file: &Place) -> Result<Box<dyn ReadAt>, VolumeError> {
        self.prove()?;
        let fd = self.open_file("open", file)?;
        Ok(Box::new(DiskReader::new(File::from(fd), file.clone(), self.gate())))
    }

    fn open_medium(&self, file: &Place) -> Result<Box<dyn MediumRead>, VolumeError> {
        self.prove()?;
        let fd = self.open_file("open", file)?;
        Ok(Box::new(DiskMedium::open(File::from(fd), file.clone(), self.gate())?))
    }

    fn sync_file(&self, file: &Place) -> Result<(), VolumeError> {
        self.prove()?;
        let fd = self.open_file("flush", file)?;
        File::from(fd).sync_all().map_err(|e| io_fault("flush", file, e))
    }

    fn seal(&self, file: &Place) -> Result<bool, VolumeError> {
        self.prove()?;
        sealing::seal(&self.open_file("seal", file)?, file)
    }

    fn append(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError> {
        allowed(file.may_be_appended(), "append to", file)?;
        self.prove()?;
        let fd = self.open_at("append to", file, OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT)?;
        let mut file_handle = File::from(fd);
        io::Write::write_all(&mut file_handle, bytes).map_err(|e| io_fault("append to", file, e))?;
        // On one journal this flush is that of all names and data before it: fsync(2) waits for the transaction of the last
        // change to this file, its size or only its time, and that is the present one or one behind it.
        // fdatasync(2) flushes the new size too, because it is needed to read the bytes back.
        let flushed = if self.has_one_journal() { file_handle.sync_all() } else { file_handle.sync_data() };
        flushed.map_err(|e| io_fault("flush", file, e))
    }

    fn write_small(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError> {
        allowed(file.may_be_rewritten(), "rewrite", file)?;
        let mut staged = self.stage(Some(bytes.len() as u64))?;
        if file.is_secret() {
            staged.keep_secret()?;
        }
        staged.write(bytes)?;
        staged.sync(None)?.publish_over(file)?;
        let dir = file.parent().unwrap_or_else(Place::root);
        if *file == Place::marker() {
            // By its new marker this is another drive than was opened: nothing proves it from here on.
            let fd = open_dir(&self.inner.root, &dir).map_err(|e| fault("flush directory", &dir, e))?;
            return match File::from(fd).sync_all() {
                Err(e) if e.raw_os_error() != Some(libc::EINVAL) => Err(io_fault("flush directory", &dir, e)),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        self.sync_dir(&dir)
    }

    fn space(&self) -> Result<Space, VolumeError> {
        let root = Place::root();
        self.inner.gate.pass("measure", &root)?;
        let stat = nix::sys::statvfs::fstatvfs(&self.inner.root).map_err(|e| fault("measure", &root, e))?;
        #[expect(clippy::useless_conversion, reason = "these fields are 32 bits wide on 32-bit machines")]
        let (block, blocks, free) =
            (u64::from(stat.fragment_size()), u64::from(stat.blocks()), u64::from(stat.blocks_available()));
        #[expect(clippy::useless_conversion, reason = "these fields are 32 bits wide on 32-bit machines")]
        let (files, inodes) = (u64::from(stat.files()), u64::from(stat.files_available()));
        Ok(Space {
            total: block * blocks,
            available: block * free,
            inodes: if files == 0 { u64::MAX } else { inodes },
        })
    }

    fn os_path(&self, place: &Place) -> Option<PathBuf> {
        Some(self.inner.path.join(place.as_str()))
    }
}

/// Whether `path` is the root of a mount: its parent is on another one.
pub fn is_mount_point(path: &Path) -> bool {
    match (syscall::whereabouts_of(&path.join(".")), syscall::whereabouts_of(&path.join(".."))) {
        (Ok(here), Ok(above)) => here.mount != above.mount,
        (Ok(_) | Err(_), _) => false,
    }
}

/// What is mounted at a path, and which directory it shows there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot(Whereabouts);

/// The spot behind a path, without opening anything there. `None`: nothing is there.
pub fn spot(path: &Path) -> Option<Spot> {
    syscall::whereabouts_of(&path.join(".")).ok().map(Spot)
}

/// What the filesystem at `path` is known by.
pub fn identity(path: &Path) -> Identity {
    open_root(path).map(|root| identity::of(root.as_fd())).unwrap_or_default()
}

impl DiskVolume {
    fn listing(&self, dir: &Place) -> Result<Listing, VolumeError> {
        self.prove()?;
        open_dir(&self.inner.root, dir)
            .and_then(|fd| Listing::open(fd, dir, self.inner.here.device))
            .map_err(|e| fault("list", dir, e))
    }

    /// A regular file, for reading.
    fn open_file(&self, op: &'static str, file: &Place) -> Result<OwnedFd, VolumeError> {
        // A socket answers ENXIO: no file, and no sign that the drive is gone.
        let fd = self.open_at(op, file, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(|e| match e {
            VolumeError::Gone { .. } if self.kind_of(file) == EntryKind::Other => {
                fault(op, file, Errno::ENOENT)
            }
            other => other,
        })?;
        let stat = fstat(&fd).map_err(|e| fault(op, file, e))?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFREG {
            Ok(fd)
        } else {
            Err(fault(op, file, Errno::ENOENT))
        }
    }

    fn kind_of(&self, place: &Place) -> EntryKind {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let Ok(fd) = openat2(&self.inner.root, place.as_str(), beneath(flags)) else {
            return EntryKind::Other;
        };
        match fstat(&fd).map(|s| s.st_mode & libc::S_IFMT) {
            Ok(libc::S_IFREG) => EntryKind::File,
            Ok(libc::S_IFDIR) => EntryKind::Dir,
            Ok(_) | Err(_) => EntryKind::Other,
        }
    }

    /// A name for an open file that has none.
    pub(super) fn link_open_file(file: &File, to_dir: &OwnedFd, to: &str) -> Result<(), Errno> {
        use std::os::fd::AsRawFd;
        match linkat(file, "", to_dir, to, AtFlags::AT_EMPTY_PATH) {
            // Before Linux 6.10 only a privileged process may do so, and is told ENOENT. By its number anybody may, through three
            // directories of /proc.
            Err(Errno::ENOENT) => {
                let by_number = format!("/proc/self/fd/{}", file.as_raw_fd());
                linkat(AT_FDCWD, by_number.as_str(), to_dir, to, AtFlags::AT_SYMLINK_FOLLOW)
            }
            linked => linked,
        }
    }
}
