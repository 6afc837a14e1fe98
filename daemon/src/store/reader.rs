//! Ordinary reading of a file on a drive, through the page cache.
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use jiff::Timestamp;
use nix::sys::stat::fstat;

use crate::model::place::Place;
use crate::store::disk::io_fault;
use crate::store::gate::Gate;
use crate::store::syscall;
use crate::store::volume::{Footprint, ReadAt, VolumeError};

/// Reads at an offset, as often as it is asked.
pub(super) struct DiskReader {
    file: File,
    place: Place,
    gate: Gate,
}

impl DiskReader {
    pub(super) fn new(file: File, place: Place, gate: Gate) -> Self {
        Self { file, place, gate }
    }
}

impl ReadAt for DiskReader {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
        self.gate.pass("read", &self.place)?;
        let mut done = 0;
        while done < buf.len() {
            match std::os::unix::fs::FileExt::read_at(&self.file, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io_fault("read", &self.place, e)),
            }
        }
        Ok(done)
    }

    fn read_cached(&mut self, buf: &mut [u8], offset: u64) -> usize {
        if self.gate.pass("read", &self.place).is_err() {
            return 0;
        }
        syscall::read_cached(self.file.as_fd(), buf, offset).unwrap_or(0)
    }

    fn footprint(&self) -> Option<Footprint> {
        self.gate.pass("read", &self.place).ok()?;
        let stat = fstat(&self.file).ok()?;
        let time = |secs: i64, nanos: i64| Timestamp::new(secs, i32::try_from(nanos).ok()?).ok();
        let size = u64::try_from(stat.st_size).ok()?;
        // After what was written to it is known, and before it is compared with anything: what goes from memory later is not asked for.
        if !syscall::is_cached(self.file.as_fd(), size).ok()? {
            return None;
        }
        let mtime = time(stat.st_mtime, stat.st_mtime_nsec)?;
        Some(Footprint { inode: stat.st_ino, size, mtime, ctime: time(stat.st_ctime, stat.st_ctime_nsec)? })
    }

    fn descriptor(&self) -> Option<OwnedFd> {
        self.gate.pass("read", &self.place).ok()?;
        // It shares this one's position, which nobody moves: here every read says where.
        self.file.as_fd().try_clone_to_owned().ok()
    }
}
