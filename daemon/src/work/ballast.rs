//! Ballast: room set aside on the primary and given back at every opening, so that a drive others filled to the last byte
//! can be opened and read.
//!
//! Opening may have to write: what the manifest has and the catalogue lacks, after a kill. Uploads leave more than this free
//! (`Space::reserve`), other programs need not.
use crate::model::place::Place;
use crate::store::volume::VolumeError;
use crate::work::drive::Attached;

/// Bytes. A replay after a kill is at most one batch of uploads; this is room for some thousand rows.
const SIZE: u64 = 8 << 20;

/// Gives the room back.
pub(crate) fn throw(attached: &Attached) -> Result<(), VolumeError> {
    match attached.volume.discard(&Place::ballast()) {
        Ok(()) | Err(VolumeError::NotFound { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Sets the room aside, where there is plenty.
pub(crate) fn take(attached: &Attached) -> Result<(), VolumeError> {
    let space = attached.volume.space()?;
    let size = SIZE.min(space.total / 64);
    if space.for_uploads() < size.saturating_mul(2) {
        return Ok(());
    }
    let filling = vec![0; usize::try_from(size).unwrap_or_default()];
    match attached.volume.write_small(&Place::ballast(), &filling) {
        Ok(()) | Err(VolumeError::Full { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}
