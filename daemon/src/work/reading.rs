//! Reading a whole file to hash it: from the medium, in pieces, with a say for the caller after each.
use crate::model::hash::{Also, Digests, Hasher};
use crate::model::place::Place;
use crate::store::volume::{MediumRead, Volume, VolumeError};

/// Hashes the file at `place` as the medium has it. `piece` is called after every piece: to beat, to yield, to stop.
pub(crate) fn hash_medium(
    volume: &dyn Volume,
    place: &Place,
    also: Also,
    piece: &mut dyn FnMut() -> Result<(), VolumeError>,
) -> Result<Digests, VolumeError> {
    hash_all(&mut *volume.open_medium(place)?, also, piece)
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
