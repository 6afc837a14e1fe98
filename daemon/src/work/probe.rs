//! The probe: real I/O that shows whether a drive is there, holds what it is given, and gives it back.
use crate::model::place::Place;
use crate::store::volume::{EntryKind, VolumeError};
use crate::work::drive::Attached;

/// Writes, flushes, and reads back from the medium. Only real I/O shows that a drive is there: statfs and the mount
/// table go on looking healthy after it was pulled (invariant I20).
pub(super) fn probe(attached: &Attached) -> Result<(), VolumeError> {
    let _lane = attached.turns.background();
    let mut bytes = vec![0; 4096];
    let no_random = |e: getrandom::Error| VolumeError::Io {
        op: "probe",
        place: Place::probe(),
        source: std::io::Error::other(e.to_string()),
    };
    getrandom::fill(&mut bytes).map_err(no_random)?;
    attached.volume.write_small(&Place::probe(), &bytes)?;
    let mut medium = attached.volume.open_medium(&Place::probe())?;
    if medium.next()? == bytes.as_slice() {
        return Ok(());
    }
    let source = std::io::Error::other("what was read back differs from what was written");
    Err(VolumeError::Io { op: "probe", place: Place::probe(), source })
}

/// Whether the medium gives anything beside what could not be read: the beginning of another file of that folder, if there is one. One
/// bad block is its file's problem; where several in a row are bad, more is wrong.
pub(super) fn reads_beside(attached: &Attached, unread: &Place) -> bool {
    const OTHERS: usize = 8;
    let dir = unread.parent().unwrap_or_else(Place::root);
    // A folder that cannot be read has nothing beside it that could be.
    let Ok(entries) = attached.volume.list(&dir) else { return true };
    let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
    let mut others = files
        .filter_map(|entry| dir.entry(entry.name.as_deref()?))
        .filter(|place| place != unread)
        .take(OTHERS)
        .peekable();
    others.peek().is_none()
        || others.any(|place| {
            match attached.volume.open_medium(&place).and_then(|mut medium| medium.next().map(drop)) {
                Ok(()) => true,
                Err(e) => !e.doubts_the_drive(),
            }
        })
}

/// Reads what the last probe wrote from the medium.
pub(super) fn glance(attached: &Attached) -> Result<(), VolumeError> {
    match attached.volume.open_medium(&Place::probe()) {
        Ok(mut medium) => medium.next().map(drop),
        // Other hands: the next probe writes it again.
        Err(VolumeError::NotFound { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}
