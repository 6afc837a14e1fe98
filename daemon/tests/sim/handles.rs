//! Open files of a `SimVolume`: staged, synced, being read. All are dead once the mount is.
use std::sync::Arc;

use jiff::Timestamp;
use shoebox::model::place::Place;
use shoebox::store::volume::{Footprint, MediumRead, ReadAt, Staged, Synced, VolumeError};

use crate::call::call;
use crate::faults::{Failure, Op};
use crate::medium::{Ino, Kind, Problem};
use crate::volume::{Drive, SimVolume};

/// What one `MediumRead::next` yields at most.
const PIECE: usize = 256 << 10;

/// A file without a final name; dropped, it is gone.
pub(crate) struct Held {
    pub(crate) volume: SimVolume,
    pub(crate) ino: Ino,
    /// Its name in the staging directory, where files cannot be nameless.
    pub(crate) slot: Option<(Ino, String)>,
    /// It grows, and goes back to this length if it is not flushed.
    pub(crate) back_to: Option<usize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.volume.is_alive() {
            return;
        }
        let mut drive = self.volume.lock();
        drive.medium.release(self.ino);
        if let (Some(before), Ok(file)) = (self.back_to, drive.medium.file_mut(self.ino)) {
            file.cut_off(before);
        }
        if let Some(slot) = self.slot.take() {
            drive.medium.unset(slot);
        }
    }
}

/// Being written.
pub(crate) struct Staging(pub(crate) Held);

impl Staged for Staging {
    fn has_its_room(&self) -> bool {
        self.0.volume.lock().kind == Kind::Ext4
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), VolumeError> {
        let ino = self.0.ino;
        self.0.volume.run(&call(Op::Write, "write", &Place::incoming()), |drive| drive.extend(ino, bytes))
    }

    fn sync(mut self: Box<Self>, mtime: Option<Timestamp>) -> Result<Box<dyn Synced>, VolumeError> {
        let (incoming, ino) = (Place::incoming(), self.0.ino);
        self.0.back_to = None;
        let harm = |drive: &mut Drive, failure| {
            if let (Failure::Io, Ok(file)) = (failure, drive.medium.file_mut(ino)) {
                file.fail_flush();
            }
        };
        self.0.volume.run_or(&call(Op::SyncStaged, "flush", &incoming), harm, |drive| {
            let file = drive.medium.file_mut(ino)?;
            // The API consumes the file: nobody can come a second time (invariant I5).
            assert!(!file.flush_failed, "a staged file was flushed again after a failed flush");
            file.mtime = mtime.unwrap_or(file.mtime);
            drive.settle(ino, &incoming)
        })?;
        Ok(Box::new(Unnamed { held: self.0, published: false }))
    }
}

/// Durable no later than the name it is on its way to.
struct Unnamed {
    held: Held,
    published: bool,
}

impl Synced for Unnamed {
    fn medium(&self) -> Result<Box<dyn MediumRead>, VolumeError> {
        let (incoming, ino) = (Place::incoming(), self.held.ino);
        let bytes = self
            .held
            .volume
            .run(&call(Op::OpenMedium, "open", &incoming), |drive| Ok(drive.medium.file(ino)?.on_medium()))?;
        Ok(Box::new(Platter::new(self.held.volume.clone(), incoming, bytes, false)))
    }

    fn publish(&mut self, to: &Place) -> Result<(), VolumeError> {
        let Self { held: Held { volume, ino, slot, .. }, published } = self;
        volume.run(&call(Op::Publish, "name", to), |drive| {
            if *published {
                return Err(Problem::Unsupported);
            }
            let free = drive.medium.free_slot(to)?;
            match slot.take() {
                // A file that has a name already has two then.
                None => drive.medium.set(free, *ino),
                Some(slot) => drive.medium.rename(slot, free)?,
            }
            *published = true;
            Ok(())
        })
    }

    fn publish_over(&mut self, to: &Place) -> Result<(), VolumeError> {
        let Self { held: Held { volume, ino, slot, .. }, published } = self;
        volume.run(&call(Op::PublishOver, "name", to), |drive| {
            if *published {
                return Err(Problem::Unsupported);
            }
            let target = drive.medium.slot(to)?;
            if let Ok(there) = drive.medium.walk(to) {
                drive.medium.file(there)?;
            }
            let from = if let Some(slot) = slot.take() {
                slot
            } else {
                // A nameless file can only be linked to a free name: it goes by way of a staging name.
                let by_way = drive.staging_slot()?;
                drive.medium.set(by_way.clone(), *ino);
                by_way
            };
            *published = true;
            drive.medium.rename(from, target)
        })
    }
}

/// Being read through the page cache.
pub(crate) struct Reading {
    pub(crate) volume: SimVolume,
    pub(crate) ino: Ino,
    pub(crate) place: Place,
}

impl ReadAt for Reading {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
        self.volume.run(&call(Op::Read, "read", &self.place), |drive| {
            let file = drive.medium.file(self.ino)?;
            let bytes = &file.live;
            if file.breaks_seal(bytes) {
                return Err(Problem::Other(std::io::ErrorKind::Other));
            }
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let len = buf.len().min(bytes.len() - from);
            buf[..len].copy_from_slice(&bytes[from..from + len]);
            Ok(len)
        })
    }

    fn footprint(&self) -> Option<Footprint> {
        if !self.volume.is_alive() {
            return None;
        }
        let drive = self.volume.lock();
        let file = drive.medium.file(self.ino).ok().filter(|file| !file.forgotten)?;
        let size = u64::try_from(file.live.len()).ok()?;
        Some(Footprint { inode: self.ino, size, mtime: file.mtime, ctime: file.mtime })
    }
}

/// Being read from the medium.
pub(crate) struct Platter {
    volume: SimVolume,
    place: Place,
    bytes: Arc<Vec<u8>>,
    unreadable: bool,
    at: usize,
}

impl Platter {
    /// At the start.
    pub(crate) const fn new(volume: SimVolume, place: Place, bytes: Arc<Vec<u8>>, unreadable: bool) -> Self {
        Self { volume, place, bytes, unreadable, at: 0 }
    }
}

impl MediumRead for Platter {
    fn next(&mut self) -> Result<&[u8], VolumeError> {
        let unreadable = self.unreadable;
        self.volume.run(&call(Op::MediumRead, "read", &self.place), |_| {
            if unreadable { Err(Problem::Other(std::io::ErrorKind::Other)) } else { Ok(()) }
        })?;
        let from = self.at;
        self.at = self.bytes.len().min(from + PIECE);
        Ok(&self.bytes[from..self.at])
    }
}
