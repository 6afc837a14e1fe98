//! Reading a whole file to hash it: from the medium, in pieces, with a say for the caller after each.
use crate::model::hash::{Also, Digests, Hasher};
use crate::model::place::Place;
use crate::store::volume::{MediumRead, Volume, VolumeError};

/// Bytes read from memory at once.
const PIECE: usize = 1 << 20;

/// Hashes the file at `place` as the medium has it. `piece` is called after every piece: to beat, to yield, to stop.
pub(crate) fn hash_medium(
    volume: &dyn Volume,
    place: &Place,
    also: Also,
    piece: &mut dyn FnMut() -> Result<(), VolumeError>,
) -> Result<Digests, VolumeError> {
    hash_all(&mut *volume.open_medium(place)?, also, piece)
}

/// Hashes a file that others wrote, if memory shows of it what the medium has; `None` if not. After a flush that failed,
/// whoever's it was, the kernel takes the lost pages for clean: memory goes on showing them, the medium has zeros there, and
/// the next flush says that all is well (invariant I5). Memory is asked first: reading the medium drops its pages.
pub(crate) fn hash_sound(
    volume: &dyn Volume,
    place: &Place,
    also: Also,
    piece: &mut dyn FnMut() -> Result<(), VolumeError>,
) -> Result<Option<Digests>, VolumeError> {
    let shown = hash_memory(volume, place, piece)?;
    let found = hash_medium(volume, place, also, piece)?;
    Ok((found.content == shown.content).then_some(found))
}

/// Hashes the file at `place` as memory shows it.
pub(crate) fn hash_memory(
    volume: &dyn Volume,
    place: &Place,
    piece: &mut dyn FnMut() -> Result<(), VolumeError>,
) -> Result<Digests, VolumeError> {
    let mut memory = volume.open(place)?;
    let mut shown = Hasher::new(Also::default(), &[]);
    let mut buffer = vec![0; PIECE];
    loop {
        let read = memory.read_at(&mut buffer, shown.size())?;
        if read == 0 {
            break;
        }
        shown.update(&buffer[..read]);
        piece()?;
    }
    Ok(shown.digests())
}

/// Hashes what a reader gives.
pub(crate) fn hash_all(
    medium: &mut dyn MediumRead,
    also: Also,
    piece: &mut dyn FnMut() -> Result<(), VolumeError>,
) -> Result<Digests, VolumeError> {
    let mut hasher = Hasher::new(also, &[]);
    loop {
        let bytes = medium.next()?;
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        piece()?;
    }
    Ok(hasher.digests())
}
