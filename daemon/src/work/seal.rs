//! Sealing copies: one that was just read back equal from the medium of a drive that is not the primary gets the kernel's seal, where
//! the filesystem offers it (docs/decisions/0012). Nothing depends on it having worked.
use crate::model::drive::DriveRole;
use crate::model::place::Place;
use crate::store::volume::VolumeError;
use crate::work::drive::Attached;
use crate::work::pool::Pool;

impl Pool {
    /// Seals the file at `place`, `size` bytes long, that the caller has just read back and found to be what was received.
    pub(super) fn seal_copy(&self, drive: &Attached, place: &Place, size: u64) {
        // On the main drive people edit photos, and the box takes in what they made of them.
        if !self.options.seal_copies || drive.role() == DriveRole::Primary || drive.seals() == Some(false) {
            return;
        }
        // The tree of hashes takes one byte in 127; it must not take the room that records are kept in.
        let tree = size / 64;
        let has_room = drive.volume.space().is_ok_and(|space| space.available > space.to_record() + tree);
        if !has_room {
            return;
        }
        match drive.volume.seal(place) {
            Ok(new) => {
                if drive.note_seals(true) && new {
                    log::info!("drive {}: copies are sealed as they are read back", drive.id().short());
                }
            }
            // It seals others: this one file it cannot (a drive that once was ext3).
            Err(VolumeError::Unsupported { .. }) if drive.seals() == Some(true) => {}
            Err(VolumeError::Unsupported { .. }) => {
                if drive.note_seals(false) {
                    log::info!("drive {}: its filesystem does not offer seals", drive.id().short());
                }
            }
            // Renamed or taken away meanwhile, or no room: not this time.
            Err(VolumeError::NotFound { .. } | VolumeError::Full { .. }) => {}
            Err(e) if matches!(e, VolumeError::Io { .. }) && !e.doubts_the_drive() => {
                log::debug!("not sealed: {e}");
            }
            // A block that cannot be read the second time is that file's problem, and found by the next look.
            Err(e) => match drive.file_only(e) {
                Ok(words) => log::warn!("not sealed: {words}"),
                Err(e) => log::warn!("not sealed: {e}"),
            },
        }
    }
}
