//! What a crash left in the trash without a record: found at start by its number, and put in step with the catalogue.
//!
//! A file goes to the trash before the event is recorded, under a number above the last recorded event's. Whatever lies
//! under a higher number than the last event was never acknowledged to anybody.
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::store::catalogue::Catalogue;
use crate::store::volume::{EntryKind, VolumeError};
use crate::work::drive::Attached;
use crate::work::error::Refusal;

/// What was found.
#[derive(Default)]
pub(crate) struct Unrecorded {
    /// Deleted but not recorded: renamed back under their names, which were free.
    pub(crate) put_back: u64,
    /// Replaced but not recorded: the name, and where its old file lies in the trash.
    pub(crate) replaced: Vec<(RelPath, Place)>,
}

impl Unrecorded {
    /// Looks through the trash for numbers above `last`.
    pub(crate) fn find(attached: &Attached, catalogue: &Catalogue, last: u64) -> Result<Self, Refusal> {
        let mut found = Self::default();
        for day in dirs_in(attached, &Place::trashes())? {
            for numbered in dirs_in(attached, &day)? {
                if numbered.name().parse::<u64>().is_ok_and(|serial| serial > last) {
                    found.look_below(attached, catalogue, &numbered)?;
                }
            }
        }
        Ok(found)
    }

    fn look_below(
        &mut self,
        attached: &Attached,
        catalogue: &Catalogue,
        numbered: &Place,
    ) -> Result<(), Refusal> {
        let heed = |e| Refusal::Drive(attached.heed(e));
        let volume = &*attached.volume;
        let mut todo = vec![numbered.clone()];
        while let Some(dir) = todo.pop() {
            for entry in volume.list(&dir).map_err(heed)? {
                let Some(place) = entry.name.as_deref().and_then(|n| dir.entry(n)) else { continue };
                let below = place.as_str().strip_prefix(numbered.as_str()).and_then(|p| p.strip_prefix('/'));
                let Some(path) = below.and_then(RelPath::from_disk) else { continue };
                let known = catalogue.read(|r| r.name(&path.fold_key()))?;
                let Some(row) = known.filter(|row| row.shelf == Shelf::Photos) else {
                    if entry.kind == EntryKind::Dir {
                        todo.push(place);
                    }
                    continue;
                };
                match volume.stat(&row.place()) {
                    Err(VolumeError::NotFound { .. }) => {
                        put_back(attached, &place, &row.place())?;
                        self.put_back += 1;
                    }
                    Ok(_) if entry.kind == EntryKind::Dir => todo.push(place),
                    // One file under both names: the crash came before the name was taken over, and nothing happened.
                    Ok(home) => {
                        let there = volume.stat(&place).map_err(heed)?;
                        if there.inode != home.inode {
                            self.replaced.push((row.path, place));
                        }
                    }
                    Err(e) => return Err(heed(e)),
                }
            }
        }
        Ok(())
    }
}

fn put_back(attached: &Attached, from: &Place, to: &Place) -> Result<(), Refusal> {
    let heed = |e| Refusal::Drive(attached.heed(e));
    match attached.volume.rename_new(from, to) {
        // The folder above is gone as well: other hands; the rescan says what is missing.
        Ok(()) | Err(VolumeError::NotFound { .. }) => {}
        Err(e) => return Err(heed(e)),
    }
    for dir in [from.parent(), to.parent()].into_iter().flatten() {
        match attached.volume.sync_dir(&dir) {
            Ok(()) | Err(VolumeError::NotFound { .. }) => {}
            Err(e) => return Err(heed(e)),
        }
    }
    Ok(())
}

fn dirs_in(attached: &Attached, dir: &Place) -> Result<Vec<Place>, Refusal> {
    let entries = match attached.volume.list(dir) {
        Ok(entries) => entries,
        Err(VolumeError::NotFound { .. }) => return Ok(Vec::new()),
        Err(e) => return Err(Refusal::Drive(attached.heed(e))),
    };
    let dirs = entries.into_iter().filter(|e| e.kind == EntryKind::Dir);
    Ok(dirs.filter_map(|e| dir.entry(e.name.as_deref()?)).collect())
}
