//! Changes to the tree: folders, renames, second names, trash.
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::account::Device;
use crate::model::event::What;
use crate::model::hash::Digests;
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::plan::placing::Above;
use crate::plan::shelving;
use crate::store::catalogue::names::NameRow;
use crate::store::volume::VolumeError;
use crate::work::changes::store::{renamed_from, stored};
use crate::work::commit::{Committer, Draft, Row};
use crate::work::error::Refusal;
use crate::work::ingest::Outcome;

impl Committer {
    pub(super) fn draft_folder(&mut self, path: &RelPath, parents: bool) -> Result<Draft, Refusal> {
        if let Some(row) = self.row(path)? {
            return Err(if row.hash.is_none() { Refusal::Exists } else { Refusal::NotAFolder });
        }
        let (above, path) = self.above(path)?;
        match above {
            Above::File => return Err(Refusal::NotAFolder),
            Above::Nothing if !parents => return Err(Refusal::NoParent),
            Above::Nothing | Above::Folder => {}
        }
        let mut draft = Draft::of(vec![What::Folder { path: path.clone() }]);
        self.ensure(&Place::photo(&path), &mut draft.dirs)?;
        draft.name = Some(path);
        Ok(draft)
    }

    pub(super) fn draft_rename(
        &mut self,
        by: &Device,
        from: &RelPath,
        to: &RelPath,
        now: Timestamp,
    ) -> Result<Draft, Refusal> {
        let row = self.row(from)?.ok_or(Refusal::NotFound)?;
        if to.is_within(from) && to.fold_key() != from.fold_key() {
            return Err(Refusal::Overlap);
        }
        let to = self.free_target(to, Some(row.id))?;
        match (row.shelf, row.hash) {
            (Shelf::Scratch, Some(hash)) => {
                let digests = Digests { content: hash, size: row.size, sha1: None, sha256: None };
                self.rename_from_scratch(&row, &digests, &to, by, now)
            }
            (Shelf::Photos, _) | (Shelf::Scratch, None) => self.rename_in_photos(&row, &to, by),
        }
    }

    /// The target's spelling, once it is known to be free and to have a folder above it.
    fn free_target(&self, to: &RelPath, except: Option<i64>) -> Result<RelPath, Refusal> {
        match self.row(to)? {
            Some(row) if Some(row.id) != except => return Err(Refusal::Exists),
            Some(_) | None => {}
        }
        match self.above(to)? {
            (Above::Folder, spelled) => Ok(spelled),
            (Above::Nothing, _) => Err(Refusal::NoParent),
            (Above::File, _) => Err(Refusal::NotAFolder),
        }
    }

    fn rename_in_photos(&mut self, row: &NameRow, to: &RelPath, by: &Device) -> Result<Draft, Refusal> {
        let mut draft =
            Draft::of(vec![What::Moved { path: row.path.clone(), to: to.clone(), by: by.label() }]);
        self.move_place(row, to, &mut draft)?;
        if row.hash.is_none() {
            self.directories.forget();
        }
        draft.name = Some(to.clone());
        Ok(draft)
    }

    fn move_place(&mut self, row: &NameRow, to: &RelPath, draft: &mut Draft) -> Result<(), Refusal> {
        let (from, to) = (Place::photo(&row.path), Place::photo(to));
        let dir = to.parent().unwrap_or_else(Place::root);
        let volume = Arc::clone(&self.attached.volume);
        let moved = self.within(&dir, &mut draft.dirs, || volume.rename_new(&from, &to))?;
        match moved {
            Ok(()) => {}
            Err(VolumeError::Exists { .. }) => return Err(Refusal::Exists),
            // The same request once more, after a crash came between the rename and its record: it is done already.
            Err(VolumeError::NotFound { .. }) if self.is_content_of(row, &to)? => {}
            Err(VolumeError::NotFound { .. }) => return Err(Refusal::NotFound),
            Err(e) => return Err(self.heed(e)),
        }
        draft.dirs.extend(from.parent());
        draft.dirs.insert(dir);
        Ok(())
    }

    fn is_content_of(&self, row: &NameRow, place: &Place) -> Result<bool, Refusal> {
        let Some(content) = row.hash else { return Ok(false) };
        self.is_content(place, &Digests { content, size: row.size, sha1: None, sha256: None })
    }

    /// The end of an upload under a temporary name: its bytes were flushed when they came, so the new name, its
    /// directory, manifest and catalogue are all that is missing for the same promise as a direct upload. The scratch
    /// file keeps its own name until it is swept; until then the two are links of one file.
    fn rename_from_scratch(
        &mut self,
        row: &NameRow,
        digests: &Digests,
        to: &RelPath,
        by: &Device,
        now: Timestamp,
    ) -> Result<Draft, Refusal> {
        let mut draft = Draft { name: Some(to.clone()), ..Draft::default() };
        if shelving::shelf(to.name(), row.size) == Shelf::Scratch {
            draft.rows.push(Row::RenameScratch { id: row.id, to: to.clone() });
            return Ok(draft);
        }
        self.link_into_photos(row, to, &mut draft)?;
        draft.events.push(renamed_from(row, to, digests, by.label(), now));
        Ok(draft)
    }

    /// Gives the file of a row a name in `photos/` that the catalogue knows to be free.
    fn link_into_photos(&mut self, row: &NameRow, to: &RelPath, draft: &mut Draft) -> Result<(), Refusal> {
        let (from_place, to_place) = (row.place(), Place::photo(to));
        let dir = to_place.parent().unwrap_or_else(Place::root);
        let volume = Arc::clone(&self.attached.volume);
        let linked = self.within(&dir, &mut draft.dirs, || volume.link(&from_place, &to_place))?;
        match linked {
            Ok(()) => {}
            Err(VolumeError::Exists { .. }) => {
                // A stranger, or this very link, made before a power cut and never recorded.
                if !self.is_content_of(row, &to_place)? {
                    return Err(Refusal::Exists);
                }
            }
            Err(VolumeError::NotFound { .. }) => return Err(Refusal::NotFound),
            // A filesystem without links says nothing against the drive: the caller copies instead.
            Err(e @ VolumeError::Unsupported { .. }) => return Err(Refusal::Drive(e)),
            Err(e) => return Err(self.heed(e)),
        }
        draft.dirs.insert(dir);
        Ok(())
    }

    pub(super) fn draft_link(
        &mut self,
        by: &Device,
        from: &RelPath,
        to: &RelPath,
        now: Timestamp,
    ) -> Result<Draft, Refusal> {
        let row = self.row(from)?.ok_or(Refusal::NotFound)?;
        let hash = row.hash.ok_or(Refusal::IsAFolder)?;
        // A second name for bytes that are not what was received would be a second lie.
        if row.shelf == Shelf::Photos && self.is_doubted(Some(&row))? {
            let why = "the photo on the main drive is damaged or missing".to_owned();
            return Err(Refusal::Unavailable { why });
        }
        let to = self.free_target(to, None)?;
        let mut draft = Draft { name: Some(to.clone()), ..Draft::default() };
        let digests = Digests { content: hash, size: row.size, sha1: None, sha256: None };
        self.link_into_photos(&row, &to, &mut draft)?;
        draft.events.push(stored(&to, &digests, (row.mtime, row.ctime), by.label(), now));
        draft.rows.push(Row::CopyProperties { from: row.id, to_fold: to.fold_key() });
        Ok(draft)
    }

    pub(super) fn draft_trash(
        &mut self,
        by: &Device,
        path: &RelPath,
        now: Timestamp,
    ) -> Result<Draft, Refusal> {
        let row = self.row(path)?.ok_or(Refusal::NotFound)?;
        if row.shelf == Shelf::Scratch {
            let row = Row::DropScratch { fold: row.path.fold_key() };
            return Ok(Draft { rows: vec![row], ..Draft::default() });
        }
        let place = Place::photo(&row.path);
        let mut draft = Draft::default();
        let emptied = row.hash.is_none() && self.attached.volume.remove_dir(&place).is_ok();
        let moved = if emptied { None } else { Some(self.trash_place(&row.path, now)?) };
        let to = match moved {
            None => {
                draft.dirs.extend(place.parent());
                String::new()
            }
            Some((to, dirs)) => {
                draft.dirs.extend(dirs);
                match self.attached.volume.rename_new(&place, &to) {
                    Ok(()) => {
                        draft.dirs.extend(place.parent());
                        to.as_str().to_owned()
                    }
                    // Gone already by other hands, perhaps with its folder: the name goes, too.
                    Err(VolumeError::NotFound { .. }) => String::new(),
                    Err(e) => return Err(self.heed(e)),
                }
            }
        };
        if row.hash.is_none() {
            self.directories.forget();
        }
        draft.events.push(What::Trashed { path: row.path, to, by: by.label(), why: "deleted".to_owned() });
        draft.outcome = Some(Outcome::Replaced);
        Ok(draft)
    }
}
