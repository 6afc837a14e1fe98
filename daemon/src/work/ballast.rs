//! Ballast: room set aside on the primary and given back at every opening, so that a drive others filled to the last byte
//! can be opened and read.
//!
//! Opening may have to write: what the manifest has and the catalogue lacks, after a kill. Uploads leave more than this free
//! (`Space::reserve`), other programs need not.
use crate::model::drive::Space;
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

/// Sets the room aside at an opening: of what uploads must leave, too, and of little what there is. What was given back so that
/// the drive could be opened is for the next opening, and not for whoever is first to ask.
pub(crate) fn take(attached: &Attached) -> Result<(), VolumeError> {
    let space = attached.volume.space()?;
    let whole = size(&space);
    // Rather with room for changes and workers beside it.
    for left in [space.to_record(), space.to_note()] {
        let size = whole.min(space.available.saturating_sub(left));
        if size >= whole / 4 {
            return set_aside(attached, size);
        }
    }
    Ok(())
}

/// Sets it aside again, where an opening needed it or had no room for it, and there is plenty now.
pub(crate) fn renew(attached: &Attached) -> Result<(), VolumeError> {
    let space = attached.volume.space()?;
    let size = size(&space);
    let is_missing = || matches!(attached.volume.stat(&Place::ballast()), Err(VolumeError::NotFound { .. }));
    if space.for_uploads() >= size.saturating_mul(2) && is_missing() {
        set_aside(attached, size)?;
    }
    Ok(())
}

fn size(space: &Space) -> u64 {
    SIZE.min(space.total / 64)
}

fn set_aside(attached: &Attached, size: u64) -> Result<(), VolumeError> {
    let filling = vec![0; usize::try_from(size).unwrap_or_default()];
    match attached.volume.write_small(&Place::ballast(), &filling) {
        Ok(()) | Err(VolumeError::Full { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}
