//! Reading a record around blocks that cannot be read: a bad sector takes lines away, and not the drive that they are on.
use crate::model::place::Place;
use crate::store::volume::{ReadAt, Volume, VolumeError};

/// Drives lose no less than this at once, bytes.
const BLOCK: usize = 4096;

/// Of a file of which more blocks than these cannot be read nothing is believed. Each may take a drive seconds to give up.
const MOST: usize = 64;

/// A file of which some blocks may be bad.
pub(super) struct Around<'v> {
    volume: &'v dyn Volume,
    place: Place,
    reader: Box<dyn ReadAt>,
    bad: usize,
}

impl<'v> Around<'v> {
    /// Opens a file for reading through memory.
    pub(super) fn open(volume: &'v dyn Volume, place: Place) -> Result<Self, VolumeError> {
        let reader = volume.open(&place)?;
        Ok(Self { volume, place, reader, bad: 0 })
    }

    /// Fills `buf` from `offset` as far as the file goes; what cannot be read is zeros, which are no line.
    pub(super) fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
        match self.reader.read_at(buf, offset) {
            Err(error) if is_bad_block(self.volume, &error) => self.block_by_block(buf, offset),
            other => other,
        }
    }

    fn block_by_block(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
        let left = self.volume.stat(&self.place)?.size.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(buf.len()).min(buf.len());
        let mut done = 0;
        while done < wanted {
            let at = offset + done as u64;
            // To the end of the block: only so is no good one lost with it.
            let len = (BLOCK - usize::try_from(at % BLOCK as u64).unwrap_or_default()).min(wanted - done);
            let block = &mut buf[done..done + len];
            done += match self.reader.read_at(block, at) {
                Ok(0) => return Ok(done),
                Ok(read) => read,
                Err(error) if self.bad < MOST && is_bad_block(self.volume, &error) => {
                    log::error!("{error}: at {at}, read around");
                    self.bad += 1;
                    block.fill(0);
                    len
                }
                Err(error) => return Err(error),
            };
        }
        Ok(done)
    }
}

/// Whether an error in reading is about the blocks that were read. A drive that was pulled, or whose bus is being reset, gives nothing
/// else from its medium either, and its record is not to be taken for a shorter one.
pub(crate) fn is_bad_block(volume: &dyn Volume, error: &VolumeError) -> bool {
    let gives = |place: Place| Ok::<_, VolumeError>(!volume.open_medium(&place)?.next()?.is_empty());
    // The marker may be the very thing that cannot be read.
    let gives_other_things =
        || [Place::marker(), Place::marker_copy()].into_iter().any(|at| gives(at).unwrap_or(false));
    matches!(error, VolumeError::Io { .. })
        && error.doubts_the_drive()
        && volume.prove().is_ok()
        && gives_other_things()
}

/// Whether what memory shows of a file is what the medium has, and all of it can be read.
pub(super) fn same_on_medium(volume: &dyn Volume, place: &Place) -> Result<bool, VolumeError> {
    match compare(volume, place) {
        Err(e) if is_bad_block(volume, &e) => Ok(false),
        compared => compared,
    }
}

/// Memory is asked first: reading the medium drops its pages.
fn compare(volume: &dyn Volume, place: &Place) -> Result<bool, VolumeError> {
    let mut in_memory = blake3::Hasher::new();
    let mut reader = volume.open(place)?;
    let mut piece = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        let read = reader.read_at(&mut piece, offset)?;
        if read == 0 {
            break;
        }
        in_memory.update(&piece[..read]);
        offset += read as u64;
    }
    let mut on_medium = blake3::Hasher::new();
    let mut medium = volume.open_medium(place)?;
    loop {
        let bytes = medium.next()?;
        if bytes.is_empty() {
            return Ok(in_memory.finalize() == on_medium.finalize());
        }
        on_medium.update(bytes);
    }
}
