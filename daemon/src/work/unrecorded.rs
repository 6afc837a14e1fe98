//! What a crash left in the trash or the quarantine without a record: found at start by its number, and put in step with the
//! catalogue.
//!
//! A file goes to the trash before the event is recorded, under a number above the last event's. Whatever lies under a
//! higher number than the last event was never acknowledged to anybody. Uploads that replace something share their commits:
//! a line torn in the middle of one leaves some of them recorded and others not, or the half of one, all with one number.
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::hash::Also;
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::store::catalogue::Catalogue;
use crate::store::catalogue::names::NameRow;
use crate::store::volume::{Entry, EntryKind, VolumeError};
use crate::work::commit::EVENTS_TOGETHER;
use crate::work::directories::Directories;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::reading;

/// What was found.
#[derive(Default)]
pub(crate) struct Unrecorded {
    /// Deleted but not recorded: renamed back under their names, which were free.
    pub(crate) put_back: u64,
    /// Replaced but not recorded: the name, and where its old file lies in the trash.
    pub(crate) replaced: Vec<(RelPath, Place)>,
}

impl Unrecorded {
    /// Looks through the trash for numbers that the commit broken off may have given; `last` is that of the last event.
    pub(crate) fn find(attached: &Attached, catalogue: &Catalogue, last: u64) -> Result<Self, Refusal> {
        let mut found = Self::default();
        for day in dirs_in(attached, &Place::trashes())? {
            for numbered in dirs_in(attached, &day)? {
                let Ok(serial) = numbered.name().parse::<u64>() else { continue };
                if serial.saturating_add(EVENTS_TOGETHER) > last {
                    found.look_below(attached, catalogue, &numbered, serial > last)?;
                }
            }
        }
        // A healing is a commit of its own. Its new file has the damaged one's name, or nothing has: nothing was replaced.
        let mut healed = Self::default();
        for day in dirs_in(attached, &Place::quarantines())? {
            for numbered in dirs_in(attached, &day)? {
                if numbered.name().parse::<u64>().is_ok_and(|serial| serial > last) {
                    healed.look_below(attached, catalogue, &numbered, true)?;
                }
            }
        }
        found.put_back += healed.put_back;
        Ok(found)
    }

    /// `fresh`: under a number that no recorded event has. A deletion is a commit of its own, so that only such numbers can
    /// have one, and nothing below them is recorded.
    fn look_below(
        &mut self,
        attached: &Attached,
        catalogue: &Catalogue,
        numbered: &Place,
        fresh: bool,
    ) -> Result<(), Refusal> {
        let volume = &*attached.volume;
        let mut todo = vec![numbered.clone()];
        while let Some(dir) = todo.pop() {
            for entry in entries_of(attached, &dir)? {
                let Some(place) = entry.name.as_deref().and_then(|n| dir.entry(n)) else { continue };
                let below = place.as_str().strip_prefix(numbered.as_str()).and_then(|p| p.strip_prefix('/'));
                let Some(path) = below.and_then(RelPath::from_disk) else { continue };
                let known = catalogue.read(|r| r.name(&path.fold_key()))?;
                let known = known.filter(|row| row.shelf == Shelf::Photos && (fresh || row.hash.is_some()));
                let Some(row) = known else {
                    if entry.kind == EntryKind::Dir {
                        todo.push(place);
                    }
                    continue;
                };
                match volume.stat(&row.place()) {
                    // Names are flushed before the first line of a commit: with one of its lines here, other hands took the file.
                    Err(VolumeError::NotFound { .. }) if !fresh => {}
                    Err(VolumeError::NotFound { .. }) => {
                        put_back(attached, &place, &row.place())?;
                        self.put_back += 1;
                    }
                    Ok(_) if entry.kind == EntryKind::Dir => todo.push(place),
                    // One file under both names: the crash came before the name was taken over, and nothing happened.
                    Ok(home) => {
                        let there = match volume.stat(&place) {
                            Ok(there) => there,
                            Err(e) => {
                                attached.pass_over(&place, e).map_err(Refusal::Drive)?;
                                continue;
                            }
                        };
                        if there.inode != home.inode && (fresh || is_half(attached, catalogue, &place, &row)?)
                        {
                            self.replaced.push((row.path, place));
                        }
                    }
                    Err(e) => attached.pass_over(&row.place(), e).map_err(Refusal::Drive)?,
                }
            }
        }
        Ok(())
    }
}

/// A step of the mirror gives its numbers before it commits, and others may record that many proofs on the same drive meanwhile.
const PROOFS_MEANWHILE: u64 = 4096;

/// On a drive that is not the primary: what was on its way to the trash or the quarantine when a step broke off, and is not on record,
/// gets its name back, and whoever wanted it away does so again, with a record. Where something has that name, or nobody would, it stays
/// and is made durable where it is: its old name may be gone from the medium before the new one is there. `last` is the number of
/// the drive's last event.
pub(crate) fn undo(attached: &Attached, catalogue: &Catalogue, last: u64) -> Result<u64, Refusal> {
    let mut back = 0;
    // What is in the quarantine is not listed anywhere: only numbers that no event has can be without a record.
    for (tree, from) in
        [(Place::trashes(), last.saturating_sub(PROOFS_MEANWHILE)), (Place::quarantines(), last)]
    {
        for day in dirs_in(attached, &tree)? {
            for numbered in dirs_in(attached, &day)? {
                if numbered.name().parse::<u64>().is_ok_and(|serial| serial > from) {
                    let found = undo_below(attached, catalogue, &numbered)?;
                    back += found.back;
                    if found.unrecorded {
                        sync_dirs(attached, &[day.clone(), tree.clone()])?;
                    }
                }
            }
        }
    }
    Ok(back)
}

/// What lay under one number.
#[derive(Default)]
struct Undone {
    back: u64,
    unrecorded: bool,
}

fn undo_below(attached: &Attached, catalogue: &Catalogue, numbered: &Place) -> Result<Undone, Refusal> {
    let (mut found, mut todo) = (Undone::default(), vec![numbered.clone()]);
    let (mut names, mut trash) = (BTreeSet::new(), Vec::new());
    while let Some(dir) = todo.pop() {
        for entry in entries_of(attached, &dir)? {
            let Some(place) = entry.name.as_deref().and_then(|n| dir.entry(n)) else { continue };
            if entry.kind == EntryKind::Dir {
                todo.push(place);
                continue;
            }
            let below = place.as_str().strip_prefix(numbered.as_str()).and_then(|p| p.strip_prefix('/'));
            let Some(path) = below.and_then(RelPath::from_disk) else { continue };
            let id = attached.id();
            let (on_record, wanted_away) = catalogue.read(|r| {
                let wanted_away = r.leaving_at(id, &path)?.is_some() || r.copy_at(id, &path)?.is_some();
                Ok((r.trashed(id, &path)?.iter().any(|t| t.at == place.as_str()), wanted_away))
            })?;
            if on_record {
                continue;
            }
            found.unrecorded = true;
            if wanted_away && name_again(attached, &place, &path, &mut names)? {
                found.back += 1;
            }
        }
        trash.push(dir);
    }
    if found.unrecorded {
        // The names first: a file that has none for a moment would be lost by a cut in between.
        sync_dirs(attached, &names.into_iter().collect::<Vec<_>>())?;
        sync_dirs(attached, &trash)?;
    }
    Ok(found)
}

/// Renames a file of the trash back; `false` if something has its name. Its folder may have been emptied and removed by that step.
fn name_again(
    attached: &Attached,
    from: &Place,
    path: &RelPath,
    dirs: &mut BTreeSet<Place>,
) -> Result<bool, Refusal> {
    let heed = |e| Refusal::Drive(attached.heed(e));
    let to = Place::photo(path);
    let above = to.parent().unwrap_or_else(Place::root);
    match Directories::new(Arc::clone(&attached.volume)).ensure(&above, dirs) {
        Ok(()) => {}
        Err(e @ (VolumeError::Gone { .. } | VolumeError::ReadOnly { .. })) => return Err(heed(e)),
        // A file where the folder was, as filesystems say it in their ways; or no room for a folder.
        Err(_) => return Ok(false),
    }
    match attached.volume.rename_new(from, &to) {
        Ok(()) => {
            dirs.insert(above);
            Ok(true)
        }
        Err(VolumeError::Exists { .. } | VolumeError::NotFound { .. }) => Ok(false),
        Err(e) => Err(heed(e)),
    }
}

fn sync_dirs(attached: &Attached, dirs: &[Place]) -> Result<(), Refusal> {
    dirs.iter()
        .try_for_each(|dir| attached.volume.sync_dir(dir))
        .map_err(|e| Refusal::Drive(attached.heed(e)))
}

/// Whether a file in the trash is the one that the catalogue believes under its name: no line tells of it, or the last that
/// tells of the trash does, and not of what replaced it.
fn is_half(
    attached: &Attached,
    catalogue: &Catalogue,
    place: &Place,
    row: &NameRow,
) -> Result<bool, Refusal> {
    let on_record = catalogue.read(|r| r.trashed(attached.id(), &row.path))?;
    if on_record.iter().any(|trashed| trashed.at == place.as_str() && !trashed.last) {
        return Ok(false);
    }
    match reading::hash_medium(&*attached.volume, place, Also::default(), &mut || Ok(())) {
        Ok(found) => Ok(Some(found.content) == row.hash),
        Err(e) => attached.file_only(e).map(|_| false).map_err(Refusal::Drive),
    }
}

fn put_back(attached: &Attached, from: &Place, to: &Place) -> Result<(), Refusal> {
    let heed = |e| Refusal::Drive(attached.heed(e));
    match attached.volume.rename_new(from, to) {
        // The folder above is gone as well: other hands; the rescan says what is missing.
        Ok(()) | Err(VolumeError::NotFound { .. }) => {}
        Err(e) => attached.pass_over(from, e).map_err(Refusal::Drive)?,
    }
    for dir in [from.parent(), to.parent()].into_iter().flatten() {
        match attached.volume.sync_dir(&dir) {
            Ok(()) | Err(VolumeError::NotFound { .. }) => {}
            Err(e) => return Err(heed(e)),
        }
    }
    Ok(())
}

/// What is in a folder. One that cannot be read is passed over: what a crash may have left there stays there.
fn entries_of(attached: &Attached, dir: &Place) -> Result<Vec<Entry>, Refusal> {
    match attached.volume.list(dir) {
        Ok(entries) => Ok(entries),
        Err(VolumeError::NotFound { .. }) => Ok(Vec::new()),
        Err(e) => attached.pass_over(dir, e).map(|()| Vec::new()).map_err(Refusal::Drive),
    }
}

fn dirs_in(attached: &Attached, dir: &Place) -> Result<Vec<Place>, Refusal> {
    let dirs = entries_of(attached, dir)?.into_iter().filter(|e| e.kind == EntryKind::Dir);
    Ok(dirs.filter_map(|e| dir.entry(e.name.as_deref()?)).collect())
}
