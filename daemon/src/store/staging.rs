//! Files on their way onto a drive: nameless where the filesystem can (O_TMPFILE), under a staging name where not.
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsFd;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, RenameFlags, fallocate, fcntl, renameat2};
use nix::sys::stat::{Mode, fchmod, fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::model::hash::hex;
use crate::model::place::Place;
use crate::store::aligned::{self, Aligned, BLOCK, PIECE};
use crate::store::disk::{DiskVolume, fault, io_fault, rename_noreplace};
use crate::store::medium::DiskMedium;
use crate::store::syscall;
use crate::store::volume::{MediumRead, Staged, Synced, Volume as _, VolumeError};

/// Write-back is started in pieces of this size while a long body streams in, so that the flush at the end finds
/// little left to do and the answer follows the last byte.
const WINDOW: u64 = 8 << 20;

/// A file being written.
pub(super) struct DiskStaged {
    open: OpenFile,
    /// Where whole pieces are collected that go to the drive past the page cache.
    direct: Option<Piece>,
    written: u64,
    started: u64,
    reserved: u64,
    /// The filesystem keeps `reserved` for it.
    has_its_room: bool,
}

/// The descriptor that writes is the one that flushes: a descriptor opened later may never hear of an error.
///
/// Fields drop in this order, so that the file is closed before its name goes: a filesystem served by FUSE only hides a
/// file that is removed while open, until it is closed.
struct OpenFile {
    file: File,
    /// A file that grows and was not flushed goes back to this length.
    back_to: Option<u64>,
    staging: StagingName,
    volume: DiskVolume,
}

/// The name in the staging directory, as long as there is one. Dropped, it is removed.
struct StagingName {
    volume: DiskVolume,
    place: Option<Place>,
}

impl Drop for StagingName {
    fn drop(&mut self) {
        if let Some(place) = self.place.take()
            && let Ok((dir, name)) = self.volume.holder("discard", &place)
        {
            // Left behind, it is swept at the next start.
            let _swept_later = unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(before) = self.back_to {
            // Litter that is left is overwritten by what is appended next, and cut off before the file gets a name.
            let _litter = self.file.set_len(before);
        }
    }
}

fn staging_name() -> Result<Place, VolumeError> {
    let mut id = [0; 12];
    getrandom::fill(&mut id).map_err(|e| VolumeError::Io {
        op: "name",
        place: Place::incoming(),
        source: io::Error::other(e.to_string()),
    })?;
    Ok(Place::staged(&hex(&id)))
}

impl DiskStaged {
    pub(super) fn open(volume: DiskVolume, expected: Option<u64>) -> Result<Self, VolumeError> {
        let incoming = Place::incoming();
        let nameless = nameless_file(&volume);
        let (file, place) = match nameless {
            Ok(file) => (file, None),
            // EISDIR: kernels and FUSE servers that do not know the flag take it for O_DIRECTORY.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOSYS) => {
                let place = staging_name()?;
                let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
                (File::from(volume.open_at("stage", &place, flags)?), Some(place))
            }
            Err(e) => return Err(fault("stage", &incoming, e)),
        };
        // The umask of the service would hide photos from NFS readers; filesystems without modes refuse, which is fine.
        let _without_modes = fchmod(&file, Mode::from_bits_truncate(0o644));
        let staging = StagingName { volume: volume.clone(), place };
        Self::over(OpenFile { file, back_to: None, staging, volume }, 0, expected)
    }

    /// A file that has its name, for what comes behind `at`. It is never removed by this, and named by a link.
    pub(super) fn grow(
        volume: DiskVolume,
        place: &Place,
        at: u64,
        expected: Option<u64>,
    ) -> Result<Self, VolumeError> {
        let unsupported = || VolumeError::Unsupported { op: "grow", place: place.clone() };
        let mut file = match volume.open_at("grow", place, OFlag::O_RDWR | OFlag::O_NONBLOCK) {
            Ok(fd) => File::from(fd),
            Err(VolumeError::NotFound { .. }) if at == 0 => named_file(&volume, place)?,
            Err(VolumeError::NotFound { .. }) => return Err(unsupported()),
            Err(e) => return Err(e),
        };
        let there = fstat(&file).map_err(|e| fault("grow", place, e))?;
        let lost = |e| io_fault("grow", place, e);
        let len = file.metadata().map_err(lost)?.len();
        if there.st_nlink != 1 || there.st_mode & libc::S_IFMT != libc::S_IFREG || len < at {
            return Err(unsupported());
        }
        // Litter, and room behind the end that was set aside by a program that was killed.
        file.set_len(at).map_err(lost)?;
        file.seek(SeekFrom::Start(at)).map_err(lost)?;
        let staging = StagingName { volume: volume.clone(), place: None };
        Self::over(OpenFile { file, back_to: Some(at), staging, volume }, at, expected)
    }

    fn over(open: OpenFile, at: u64, expected: Option<u64>) -> Result<Self, VolumeError> {
        let reserved = at.saturating_add(expected.unwrap_or(0));
        let mut staged = Self { open, direct: None, written: at, started: at, reserved, has_its_room: false };
        staged.has_its_room = staged.reserve()?;
        Ok(staged)
    }

    /// Writes past the page cache from now on (O_DIRECT), where the filesystem takes it: the pages would only push out others
    /// that somebody wants.
    pub(super) fn past_memory(mut self) -> Self {
        if set_direct(&self.open.file, true).is_ok() {
            self.direct = Some(Piece::default());
        }
        self
    }

    fn write_past_memory(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(piece) = &mut self.direct
            && !bytes.is_empty()
        {
            if piece.held == 0 && aligned::is_whole(bytes) {
                if write_direct(&mut self.open.file, bytes)? {
                    return Ok(());
                }
                self.direct = None;
                break;
            }
            let taken = piece.take(bytes);
            bytes = &bytes[taken..];
            if piece.held == PIECE {
                self.pour()?;
            }
        }
        // A filesystem that took the flag and not the write: the rest goes through memory.
        self.open.file.write_all(bytes)
    }

    /// Writes what was collected. The last piece is filled up to a whole block, which `sync` cuts off again.
    fn pour(&mut self) -> io::Result<()> {
        let Some(piece) = &mut self.direct else { return Ok(()) };
        if piece.held == 0 || write_direct(&mut self.open.file, piece.whole_blocks())? {
            piece.held = 0;
        } else {
            self.open.file.write_all(piece.held())?;
            self.direct = None;
        }
        Ok(())
    }

    /// Sets room aside, so that a drive too full says so before a byte moves. The size stays 0: a reader of a torn
    /// file must never find zeros that look like content. `false`: the filesystem keeps nothing for it.
    fn reserve(&self) -> Result<bool, VolumeError> {
        let ahead = self.reserved - self.written;
        let offsets = (libc::off_t::try_from(self.written), libc::off_t::try_from(ahead));
        let (Ok(at), Ok(len), Ok(_end)) = (offsets.0, offsets.1, libc::off_t::try_from(self.reserved)) else {
            return Err(fault("reserve", &Place::incoming(), Errno::EFBIG));
        };
        if len == 0 {
            return Ok(true);
        }
        match fallocate(&self.open.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, at, len) {
            Ok(()) => Ok(true),
            // exFAT can set nothing aside: what there is now has to do.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => match self.open.volume.space()? {
                space if space.available < ahead => Err(fault("reserve", &Place::incoming(), Errno::ENOSPC)),
                _ => Ok(false),
            },
            Err(e) => Err(fault("reserve", &Place::incoming(), e)),
        }
    }

    /// An error from either call ends the attempt: the wait consumes the kernel's one report of a lost page, and
    /// the flush at the end would not hear of it again.
    fn write_behind(&mut self) -> Result<(), VolumeError> {
        while self.written - self.started >= WINDOW {
            let file = self.open.file.as_fd();
            let lost = |e| io_fault("write", &Place::incoming(), e);
            syscall::start_write_back(file, self.started, WINDOW).map_err(lost)?;
            if self.started >= WINDOW {
                syscall::await_write_back(file, self.started - WINDOW, WINDOW).map_err(lost)?;
            }
            self.started += WINDOW;
        }
        Ok(())
    }
}

/// What is collected for a write past the page cache.
#[derive(Default)]
struct Piece {
    /// Only where what comes is not in whole blocks already.
    memory: Option<Aligned>,
    held: usize,
}

impl Piece {
    fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(PIECE - self.held);
        let memory = self.memory.get_or_insert_with(Aligned::new);
        memory.bytes_mut()[self.held..self.held + taken].copy_from_slice(&bytes[..taken]);
        self.held += taken;
        taken
    }

    fn held(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory.bytes()[..self.held])
    }

    /// With zeros up to the end of the last block.
    fn whole_blocks(&mut self) -> &[u8] {
        let (held, end) = (self.held, self.held.next_multiple_of(BLOCK));
        let Some(memory) = &mut self.memory else { return &[] };
        memory.bytes_mut()[held..end].fill(0);
        &memory.bytes()[..end]
    }
}

/// Writes whole blocks past the page cache. `false`: this filesystem took the flag and not the write, of which nothing was
/// done; from now on the file is written through memory.
fn write_direct(file: &mut File, blocks: &[u8]) -> io::Result<bool> {
    let mut rest = blocks;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) && rest.len() == blocks.len() => {
                return set_direct(file, false).map(|()| false);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// The flag of an open file; EINVAL where the filesystem has no such way.
fn set_direct(file: &File, on: bool) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    let flags = if on { flags | OFlag::O_DIRECT } else { flags - OFlag::O_DIRECT };
    fcntl(file, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// A new file under a name that is kept.
fn named_file(volume: &DiskVolume, place: &Place) -> Result<File, VolumeError> {
    let unsupported = || VolumeError::Unsupported { op: "grow", place: place.clone() };
    let file = match nameless_file(volume) {
        Ok(file) => file,
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOSYS) => return Err(unsupported()),
        Err(e) => return Err(fault("grow", place, e)),
    };
    let _without_modes = fchmod(&file, Mode::from_bits_truncate(0o644));
    let (dir, name) = volume.holder("grow", place)?;
    match DiskVolume::link_open_file(&file, &dir, name) {
        Ok(()) => Ok(file),
        Err(Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS) => Err(unsupported()),
        Err(e) => Err(fault("grow", place, e)),
    }
}

fn nameless_file(volume: &DiskVolume) -> Result<File, Errno> {
    let incoming = Place::incoming();
    match volume.open_at("stage", &incoming, OFlag::O_TMPFILE | OFlag::O_RDWR) {
        Ok(fd) => Ok(File::from(fd)),
        Err(VolumeError::Io { source, .. }) => Err(source.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
        Err(VolumeError::Full { .. }) => Err(Errno::ENOSPC),
        Err(VolumeError::ReadOnly { .. }) => Err(Errno::EROFS),
        Err(VolumeError::NotFound { .. }) => Err(Errno::ENOENT),
        Err(VolumeError::Exists { .. } | VolumeError::NotEmpty { .. } | VolumeError::Unsupported { .. }) => {
            Err(Errno::EOPNOTSUPP)
        }
        Err(VolumeError::Gone { .. }) => Err(Errno::ENODEV),
    }
}

pub(super) fn time_spec(at: Timestamp) -> TimeSpec {
    TimeSpec::new(at.as_second(), at.subsec_nanosecond().max(0).into())
}

impl Staged for DiskStaged {
    fn has_its_room(&self) -> bool {
        self.has_its_room
    }

    fn keep_secret(&mut self) -> Result<(), VolumeError> {
        match fchmod(&self.open.file, Mode::from_bits_truncate(0o600)) {
            // A filesystem without modes: who mounts it says who may read it.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EPERM | Errno::ENOSYS | Errno::EINVAL) => Ok(()),
            Err(e) => Err(fault("keep secret", &Place::incoming(), e)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), VolumeError> {
        self.open.volume.gate().pass("write", &Place::incoming())?;
        let lost = |e| io_fault("write", &Place::incoming(), e);
        if self.direct.is_some() {
            self.written += bytes.len() as u64;
            return self.write_past_memory(bytes).map_err(lost);
        }
        self.open.file.write_all(bytes).map_err(lost)?;
        self.written += bytes.len() as u64;
        self.write_behind()
    }

    fn sync(mut self: Box<Self>, mtime: Option<Timestamp>) -> Result<Box<dyn Synced>, VolumeError> {
        let incoming = Place::incoming();
        self.pour().map_err(|e| io_fault("write", &incoming, e))?;
        let Self { mut open, written, reserved, direct, .. } = *self;
        open.volume.prove()?;
        // From here on it is flushed, or was flushed for the last time.
        open.back_to = None;
        if reserved > written || direct.is_some() {
            open.file.set_len(written).map_err(|e| io_fault("trim", &incoming, e))?;
        }
        if let Some(mtime) = mtime {
            let spec = time_spec(mtime);
            match futimens(&open.file, &spec, &spec) {
                // A time the filesystem cannot hold is kept in the catalogue and the manifest all the same.
                Ok(()) | Err(Errno::EINVAL | Errno::ERANGE | Errno::EPERM) => {}
                Err(e) => return Err(fault("set time of", &incoming, e)),
            }
        }
        // The data is durable no later than any name it gets: no reader and no power cut ever shows a name without its bytes.
        // With one journal it is enough that the drive has it. Its blocks and its size are in the journal by the time the
        // write-back was waited for, so a name that is given afterwards comes behind them; and the journal is written
        // only after the drive's own memory was flushed, which has the bytes in it.
        let flush = |e| io_fault("flush", &incoming, e);
        let ordered = open.volume.has_one_journal()
            && syscall::await_write_back(open.file.as_fd(), 0, 0).map_err(flush)?;
        if !ordered {
            open.file.sync_all().map_err(flush)?;
        }
        Ok(Box::new(DiskSynced { open }))
    }
}

/// A file whose data is durable no later than its name.
struct DiskSynced {
    open: OpenFile,
}

impl Synced for DiskSynced {
    fn medium(&self) -> Result<Box<dyn MediumRead>, VolumeError> {
        let place = self.open.staging.place.clone().unwrap_or_else(Place::incoming);
        let file = self.open.file.try_clone().map_err(|e| io_fault("open", &place, e))?;
        Ok(Box::new(DiskMedium::open(file, place, self.open.volume.gate())?))
    }

    fn publish(&mut self, to: &Place) -> Result<(), VolumeError> {
        self.open.volume.prove()?;
        let (to_dir, to_name) = self.open.volume.holder("name", to)?;
        match &self.open.staging.place {
            None => {
                DiskVolume::link_open_file(&self.open.file, &to_dir, to_name)
                    .map_err(|e| fault("name", to, e))?;
            }
            Some(staging) => {
                let (dir, name) = self.open.volume.holder("name", staging)?;
                rename_noreplace(&dir, name, &to_dir, to_name).map_err(|e| fault("name", to, e))?;
                self.open.staging.place = None;
            }
        }
        Ok(())
    }

    fn publish_over(&mut self, to: &Place) -> Result<(), VolumeError> {
        self.open.volume.prove()?;
        let staging = match &self.open.staging.place {
            Some(place) => place.clone(),
            None => {
                let place = staging_name()?;
                let (dir, name) = self.open.volume.holder("name", &place)?;
                DiskVolume::link_open_file(&self.open.file, &dir, name)
                    .map_err(|e| fault("name", &place, e))?;
                self.open.staging.place = Some(place.clone());
                place
            }
        };
        let (from_dir, from_name) = self.open.volume.holder("name", &staging)?;
        let (to_dir, to_name) = self.open.volume.holder("name", to)?;
        renameat2(&from_dir, from_name, &to_dir, to_name, RenameFlags::empty())
            .map_err(|e| fault("name", to, e))?;
        self.open.staging.place = None;
        Ok(())
    }
}
