//! Telling a drive what it needs to stand for the whole pool one day: people, devices, retired drives, empty folders (P7).
use crate::model::event::What;
use crate::model::path::RelPath;
use crate::model::place::Place;
use crate::store::volume::VolumeError;
use crate::work::error::Refusal;
use crate::work::mirror::{End, PIECE, Piece};
use crate::work::pool::Pool;
use crate::work::primary::Primary;

impl End {
    /// Records on this drive what its record lacks. Only what is durable there counts as told: a crash in between tells it
    /// once more, and hearing it twice changes nothing. `true`: something was recorded.
    pub(super) fn tell(&mut self, pool: &Pool, primary: &Primary) -> Result<bool, Refusal> {
        // Asked before anything is read: what changes meanwhile is told the next time.
        let version = primary.catalogue.facts_version();
        if self.told == Some(version) {
            return Ok(false);
        }
        let id = self.attached.id();
        let (facts, gone, folders) = primary
            .catalogue
            .read(|r| Ok((r.untold(id)?, r.folders_gone(id, PIECE)?, r.untold_folders(id, PIECE)?)))?;
        let attached = std::sync::Arc::clone(&self.attached);
        let _lane = attached.turns.background();
        self.directories.start();
        let mut piece = Piece { events: facts, ..Piece::default() };
        for path in gone {
            self.forget_folder(path, &mut piece)?;
        }
        for path in folders {
            self.make_folder(path, &mut piece)?;
        }
        let told = !piece.events.is_empty();
        self.commit(&primary.catalogue, piece, pool.now())?;
        // With nothing left to say, until something changes.
        self.told = (!told).then_some(version);
        Ok(told)
    }

    fn make_folder(&mut self, path: RelPath, piece: &mut Piece) -> Result<(), Refusal> {
        match self.directories.ensure(&Place::photo(&path), &mut piece.dirs) {
            Ok(()) => {}
            // A file stands there that is to leave this drive later.
            Err(VolumeError::Exists { .. } | VolumeError::NotFound { .. }) => return Ok(()),
            Err(e) => return Err(self.heed(e)),
        }
        piece.events.push(What::Folder { path });
        Ok(())
    }

    fn forget_folder(&mut self, path: RelPath, piece: &mut Piece) -> Result<(), Refusal> {
        let place = Place::photo(&path);
        match self.attached.volume.remove_dir(&place) {
            Ok(()) => {
                piece.dirs.extend(place.parent());
                self.directories.forget();
            }
            Err(VolumeError::NotFound { .. }) => {}
            // Copies in it are to leave later, and it with the last of them; or a file has its name.
            Err(VolumeError::NotEmpty { .. } | VolumeError::Exists { .. }) => return Ok(()),
            Err(e) => return Err(self.heed(e)),
        }
        let (to, by, why) = (String::new(), String::new(), "gone".to_owned());
        piece.events.push(What::Trashed { path, to, by, why });
        Ok(())
    }
}
