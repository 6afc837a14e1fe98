//! `Volume`: what we ask of a drive, each call proved to be on that drive, each error named by what a caller does about it.
//!
//! Two implementations: `disk::DiskVolume` on a real directory, and the power-cut simulation in `tests/sim`.
//! Durability is explicit: nothing is durable until the call that says so returned `Ok`.
use std::io;
use std::os::fd::OwnedFd;

use jiff::Timestamp;

use crate::model::drive::Space;
use crate::model::place::Place;

/// A drive as a place for files.
pub trait Volume: Send + Sync {
    /// Proves once more that the handle is on the drive it was opened for: same mount, same marker.
    fn prove(&self) -> Result<(), VolumeError>;

    /// Lets go of the drive for good: every later call, also on what was opened before, answers `Gone`. Its files close as
    /// their users take that answer, and then it can be unmounted.
    fn let_go(&self);

    /// Whether the marker could not be read, and the drive is known by the marker's copy.
    fn is_known_by_copy(&self) -> bool {
        false
    }

    /// Has the marker be there twice, both readable, with the bytes that the drive was recognised by and no others.
    fn double_marker(&self) -> Result<(), VolumeError> {
        Ok(())
    }

    /// Opens a nameless new file, with room for `expected` bytes set aside where the filesystem can.
    fn stage(&self, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError>;

    /// The same for bytes that nobody will read soon: they do not pass through memory where the filesystem can do without.
    fn stage_past_memory(&self, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        self.stage(expected)
    }

    /// Opens a file for which [`Place::may_grow`] holds to be appended to from `at` on, with room for `expected` bytes: what is there
    /// behind `at` goes. It keeps its name, also when this is dropped; what was not synced goes then. Not there, it is made, if `at`
    /// is 0; durable after [`Volume::sync_dir`]. Named by [`Synced::publish`], it has both names.
    ///
    /// `Unsupported`: the filesystem has no nameless files, or no hard links; the file is shorter than `at`; or it has another name
    /// as well, and is somebody's photo by now.
    fn grow(&self, file: &Place, at: u64, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError>;

    /// Has the drive empty its own memory of all that was staged and synced, before it is read back: a copy is to be proved
    /// on the medium, as far as the drive is honest.
    fn drain(&self) -> Result<(), VolumeError>;

    /// Makes one directory; its parent exists. `true`: it is new. Durable after [`Volume::sync_dir`] of the parent.
    fn make_dir(&self, dir: &Place) -> Result<bool, VolumeError>;

    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &Place) -> Result<(), VolumeError>;

    /// Makes the entries of a directory durable no later than the next line that is appended to the manifest: after that
    /// append returned, they are, and at no moment is the line without them.
    fn order_dir(&self, dir: &Place) -> Result<(), VolumeError>;

    /// Gives a file or directory another name, which must be free. Durable after both directories are synced.
    fn rename_new(&self, from: &Place, to: &Place) -> Result<(), VolumeError>;

    /// Gives a file a second name, which must be free; `Unsupported` where the filesystem has no hard links.
    fn link(&self, from: &Place, to: &Place) -> Result<(), VolumeError>;

    /// Removes an empty directory; `NotEmpty` otherwise.
    fn remove_dir(&self, dir: &Place) -> Result<(), VolumeError>;

    /// Unlinks a file for which [`Place::may_be_unlinked`] holds; refuses all others.
    fn discard(&self, file: &Place) -> Result<(), VolumeError>;

    /// Sets a file's modification time, as far as the filesystem can hold it. Not durable by itself: the record is.
    fn set_mtime(&self, file: &Place, mtime: Timestamp) -> Result<(), VolumeError>;

    /// What is there.
    fn stat(&self, place: &Place) -> Result<Stat, VolumeError>;

    /// The entries of a directory, in no particular order.
    fn list(&self, dir: &Place) -> Result<Vec<Entry>, VolumeError>;

    /// The same with a look at each file, which is cheaper than a look at each by its whole name. `None`: it does not bear looking
    /// at. `beat` is called from time to time.
    fn survey(&self, dir: &Place, beat: &mut dyn FnMut()) -> Result<Vec<(Entry, Option<Stat>)>, VolumeError> {
        let look = |entry: Entry| {
            beat();
            let place = entry.name.as_deref().and_then(|name| dir.entry(name));
            let stat = place.filter(|_| entry.kind == EntryKind::File).and_then(|at| self.stat(&at).ok());
            (entry, stat)
        };
        Ok(self.list(dir)?.into_iter().map(look).collect())
    }

    /// Opens a file for ordinary reading, through the page cache.
    fn open(&self, file: &Place) -> Result<Box<dyn ReadAt>, VolumeError>;

    /// Opens a file for reading from the medium, the page cache bypassed and proved so.
    fn open_medium(&self, file: &Place) -> Result<Box<dyn MediumRead>, VolumeError>;

    /// Makes durable what some other hand wrote into a file (adoption of foreign files).
    fn sync_file(&self, file: &Place) -> Result<(), VolumeError>;

    /// Has the kernel seal a file: no byte of it is written any more by anybody, and none is read that differs from what the drive
    /// held now. Names and times change as before. `false`: it was sealed before. `Unsupported`: not on this filesystem, or kernel.
    ///
    /// Needs no flush to be safe: until the kernel has it durable, the file is as it was, sealed or not.
    fn seal(&self, file: &Place) -> Result<bool, VolumeError>;

    /// Appends to a file of the manifest, making it if need be, and makes the bytes durable.
    /// The directory entry of a new file is durable after [`Volume::sync_dir`].
    fn append(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError>;

    /// Replaces a small derived file (`.sha256`, probe) with `bytes`, atomically and durably.
    fn write_small(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError>;

    /// Room on the drive.
    fn space(&self) -> Result<Space, VolumeError>;

    /// Where ordinary programs find a file of this drive; `None` in the simulation.
    fn os_path(&self, place: &Place) -> Option<std::path::PathBuf>;
}

/// A file being written that has no name yet. Dropping it leaves nothing behind.
pub trait Staged: Send {
    /// Whether room for what is expected is set aside, and nobody else can take it.
    fn has_its_room(&self) -> bool;

    /// Has it be read by nobody but us, where the filesystem has modes. To be called before anything is written.
    fn keep_secret(&mut self) -> Result<(), VolumeError> {
        Ok(())
    }

    /// Takes all of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> Result<(), VolumeError>;

    /// Sets the modification time and makes the data durable no later than any name the file gets: when the name is, it is.
    /// Consumes the file: a flush that failed is never repeated on the same inode, because the kernel has already
    /// forgotten which pages were lost (invariant I5).
    fn sync(self: Box<Self>, mtime: Option<Timestamp>) -> Result<Box<dyn Synced>, VolumeError>;
}

/// A file whose data is durable no later than its name, and that has no final name yet. Dropping it leaves nothing behind.
pub trait Synced: Send {
    /// Reads the data back from the medium, after [`Volume::drain`].
    fn medium(&self) -> Result<Box<dyn MediumRead>, VolumeError>;

    /// Gives it its name, which must be free (`Exists` otherwise). Durable after the directory is synced.
    fn publish(&mut self, to: &Place) -> Result<(), VolumeError>;

    /// Gives it a name that another file has now. The caller has made sure that the other file has a second,
    /// durable name in the trash: this is the one call that takes a name away.
    fn publish_over(&mut self, to: &Place) -> Result<(), VolumeError>;
}

/// Reading at an offset.
pub trait ReadAt: Send {
    /// Fills `buf` from `offset` as far as the file goes; the number of bytes read, 0 at the end.
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError>;

    /// The same as far as it takes no waiting for the drive, because memory holds the bytes. 0: nothing is known without waiting.
    fn read_cached(&mut self, _buf: &mut [u8], _offset: u64) -> usize {
        0
    }

    /// What the file is now. `None`: memory does not hold all of it, or nobody knows; then a read may find what the medium made of it.
    fn footprint(&self) -> Option<Footprint> {
        None
    }

    /// The same file, open for reading only, at its beginning: for a process of its own. `None`: there is no such thing here.
    fn descriptor(&self) -> Option<OwnedFd> {
        None
    }
}

/// A file that memory holds all of. Two that are equal: nothing was written to it between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time, which may be any.
    pub mtime: Timestamp,
    /// Change time, which nobody can choose.
    pub ctime: Timestamp,
}

/// Reading a whole file from the medium, in order.
pub trait MediumRead: Send {
    /// The next piece; empty at the end.
    fn next(&mut self) -> Result<&[u8], VolumeError>;
}

/// A file's or directory's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// A directory.
    pub is_dir: bool,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// Inode number: equal for two names of one file.
    pub inode: u64,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as the drive spells it; `None` if it is not UTF-8.
    pub name: Option<String>,
    /// Kind.
    pub kind: EntryKind,
}

/// Kind of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symlink, socket, device: never followed, never kept.
    Other,
}

/// What went wrong on a drive. A variant exists where a caller does something different about it.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// No room (also: quota, no inodes, file too large for the filesystem).
    #[error("could not {op} {place}: no room on the drive")]
    Full {
        /// What was tried.
        op: &'static str,
        /// Where.
        place: Place,
    },
    /// The drive is not there any more, or is not the one it was.
    #[error("could not {op} {place}: the drive is gone ({why})")]
    Gone {
        /// What was tried.
        op: &'static str,
        /// Where.
        place: Place,
        /// What was observed.
        why: String,
    },
    /// The drive takes no writes.
    #[error("could not {op} {place}: the drive is read-only")]
    ReadOnly {
        /// What was tried.
        op: &'static str,
        /// Where.
        place: Place,
    },
    /// The name is taken.
    #[error("could not {op} {place}: already there")]
    Exists {
        /// What was tried.
        op: &'static str,
        /// Where.
        place: Place,
    },
    /// Nothing under that name (or a directory above it is missing).
    #[error("could not {op} {place}: not there")]
    NotFound {
        /// What was tried.
        op: &'static str,
        /// Where.
        place: Place,
    },
    /// The directory still has entries.
    #[error("could not {op} {place}: not empty")]
    NotEmpty {
        /// What was tried.
        op: &'static str,
        /// Where.
        place: Place,
    },
    /// The filesystem cannot do this at all (hard links on exFAT).
    #[error("could not {op} {place}: the filesystem cannot")]
    Unsupported {
        /// What was tried.
        op: &'static str,
        /// Where.
        place: Place,
    },
    /// Anything else the kernel answered.
    #[error("could not {op} {place}: {source}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// Where.
        place: Place,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl VolumeError {
    /// Whether this says something against the drive. An I/O error does: the kernel may by now show as written what never
    /// reached the medium. That a file belongs to another user, that a name is too long or a link, that this process has
    /// no descriptors left, or that this kernel knows no seals, or not their hash, and opens no sealed file, is no fault of the drive's.
    pub fn doubts_the_drive(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        let innocent = [
            libc::EACCES,
            libc::EPERM,
            libc::ELOOP,
            libc::ENAMETOOLONG,
            libc::EISDIR,
            libc::EINVAL,
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOMEM,
            libc::EINTR,
            libc::EAGAIN,
            libc::EBUSY,
            libc::ETXTBSY,
            libc::EMLINK,
            libc::EXDEV,
            libc::EOPNOTSUPP,
            libc::ENOPKG,
        ];
        match source.raw_os_error() {
            Some(code) => !innocent.contains(&code),
            None => source.kind() != io::ErrorKind::PermissionDenied,
        }
    }
}
