//! `Listing`: an open directory, what is in it, and a look at each file that costs one call.
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat, major, minor};

use crate::model::place::Place;
use crate::store::disk::fault;
use crate::store::volume::{Entry, EntryKind, Stat, VolumeError};

/// A directory on a drive.
pub(super) struct Listing {
    handle: Dir,
    place: Place,
    /// The filesystem that the drive is.
    device: (u32, u32),
}

impl Listing {
    pub(super) fn open(fd: OwnedFd, place: &Place, device: (u32, u32)) -> Result<Self, Errno> {
        Ok(Self { handle: Dir::from_fd(fd)?, place: place.clone(), device })
    }

    /// The entries with their inode numbers. `kind_of` is asked where the filesystem does not say what an entry is.
    pub(super) fn entries(
        &mut self,
        kind_of: impl Fn(&Place) -> EntryKind,
    ) -> Result<Vec<(u64, Entry)>, VolumeError> {
        let mut entries = Vec::new();
        for entry in self.handle.iter() {
            let entry = entry.map_err(|e| fault("list", &self.place, e))?;
            let name = entry.file_name().to_str().ok().map(str::to_owned);
            if matches!(name.as_deref(), Some("." | "..")) {
                continue;
            }
            let kind = match entry.file_type() {
                Some(Type::File) => EntryKind::File,
                Some(Type::Directory) => EntryKind::Dir,
                Some(_) => EntryKind::Other,
                None => {
                    let place = name.as_deref().and_then(|name| self.place.entry(name));
                    place.map_or(EntryKind::Other, |place| kind_of(&place))
                }
            };
            entries.push((entry.ino(), Entry { name, kind }));
        }
        Ok(entries)
    }

    /// The entries and a look at each file.
    pub(super) fn survey(
        mut self,
        kind_of: impl Fn(&Place) -> EntryKind,
        beat: &mut dyn FnMut(),
    ) -> Result<Vec<(Entry, Option<Stat>)>, VolumeError> {
        let mut entries = self.entries(kind_of)?;
        // In this order they lie on the disk; directories of ext4 list what is in them in that of a hash.
        entries.sort_unstable_by_key(|(inode, _)| *inode);
        let mut seen = Vec::with_capacity(entries.len());
        for (index, (_, entry)) in entries.into_iter().enumerate() {
            if index % 256 == 255 {
                beat();
            }
            let name = entry.name.as_deref().filter(|_| entry.kind == EntryKind::File);
            let stat = name.and_then(|name| self.look(name));
            seen.push((entry, stat));
        }
        Ok(seen)
    }

    /// A regular file. `None` also for one that another filesystem is mounted over.
    fn look(&self, name: &str) -> Option<Stat> {
        let stat = fstatat(&self.handle, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        let device = (major(stat.st_dev), minor(stat.st_dev));
        let ours = device == (self.device.0.into(), self.device.1.into());
        (ours && stat.st_mode & libc::S_IFMT == libc::S_IFREG).then(|| told(&stat))
    }
}

/// What the kernel tells of a file or directory.
pub(super) fn told(stat: &FileStat) -> Stat {
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Stat {
        is_dir: stat.st_mode & libc::S_IFMT == libc::S_IFDIR,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: Timestamp::new(stat.st_mtime, nanos).unwrap_or(Timestamp::UNIX_EPOCH),
        inode: stat.st_ino,
    }
}
