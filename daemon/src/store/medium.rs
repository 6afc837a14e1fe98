//! Reading a file from the medium and not from memory: the page cache is dropped, and the drop is proved or bypassed.
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::model::place::Place;
use crate::store::aligned::Aligned;
use crate::store::disk::{fault, io_fault};
use crate::store::gate::Gate;
use crate::store::syscall;
use crate::store::volume::{MediumRead, VolumeError};

/// An uncached reader.
pub(super) struct DiskMedium {
    file: File,
    place: Place,
    gate: Gate,
    piece: Aligned,
    offset: u64,
    /// Read by way of memory, which is emptied again behind each piece.
    by_memory: bool,
}

impl DiskMedium {
    /// Prepares `file` for reading from the medium.
    ///
    /// Dirty pages are flushed (DONTNEED keeps dirty pages; where there are none, the flush would be one of the whole drive), the
    /// cached ones dropped, then the file is opened anew
    /// with O_DIRECT. Where the filesystem refuses O_DIRECT, the kernel must say that nothing is cached any more; and for a sealed
    /// file, too, because there it takes O_DIRECT and reads by way of memory all the same (ext4_should_use_dio in fs/ext4/file.c).
    /// Neither: an error, because a read from memory proves nothing (invariant I12).
    pub(super) fn open(file: File, place: Place, gate: Gate) -> Result<Self, VolumeError> {
        gate.pass("open", &place)?;
        if !syscall::is_written_back(file.as_fd()) {
            file.sync_data().map_err(|e| io_fault("flush", &place, e))?;
        }
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .map_err(|e| fault("drop from memory", &place, e))?;
        let by_number = format!("/proc/self/fd/{}", file.as_raw_fd());
        let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(by_number);
        let (file, by_memory) = match direct {
            Ok(_) if syscall::is_sealed(file.as_fd()) => (file, true),
            Ok(direct) => (direct, false),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => (file, true),
            Err(e) => return Err(io_fault("open", &place, e)),
        };
        if by_memory {
            prove_dropped(&file, &place)?;
        }
        let size = file.metadata().map_err(|e| io_fault("read", &place, e))?.len();
        Ok(Self { file, place, gate, piece: Aligned::for_file(size), offset: 0, by_memory })
    }
}

fn prove_dropped(file: &File, place: &Place) -> Result<(), VolumeError> {
    match syscall::cached_pages(file.as_fd()) {
        Ok(0) => Ok(()),
        // Another program is reading this file at this moment: later.
        Ok(_) if syscall::is_sealed(file.as_fd()) => Err(fault("read from the medium", place, Errno::EBUSY)),
        Ok(_) => Err(VolumeError::Unsupported { op: "read from the medium", place: place.clone() }),
        Err(e) => Err(io_fault("measure memory of", place, e)),
    }
}

impl MediumRead for DiskMedium {
    fn next(&mut self) -> Result<&[u8], VolumeError> {
        self.gate.pass("read", &self.place)?;
        // A short read can only be the end of the file: O_DIRECT may not continue from an odd offset.
        let size = self.file.metadata().map_err(|e| io_fault("read", &self.place, e))?.len();
        if self.offset >= size {
            return Ok(&[]);
        }
        let read = loop {
            match self.file.read_at(self.piece.bytes_mut(), self.offset) {
                Ok(n) => break n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io_fault("read", &self.place, e)),
            }
        };
        let left = size - self.offset;
        if (read as u64) < left.min(self.piece.bytes().len() as u64) {
            let short =
                io::Error::new(io::ErrorKind::UnexpectedEof, "the drive gave fewer bytes than the file has");
            return Err(VolumeError::Io { op: "read", place: self.place.clone(), source: short });
        }
        if self.by_memory
            && let (Ok(from), Ok(len)) = (libc::off_t::try_from(self.offset), libc::off_t::try_from(read))
        {
            // Nobody asked for these pages, and others' are worth more. What it answers changes nothing.
            let _kept = posix_fadvise(&self.file, from, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        self.offset += read as u64;
        Ok(&self.piece.bytes()[..read])
    }
}
