//! What a crash left in the trash or the quarantine without a record: found at start by its number, and put in step with the
//! catalogue.
//!
//! A file goes to the trash before the event is recorded, under a number above the last event's. Whatever lies under a
//! higher number than the last event was never acknowledged to anybody. Uploads that replace something share their commits:
//! a line torn in the middle of one leaves some of them recorded and others not, or the half of one, all with one number.
use crate::model::hash::Also;
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::store::catalogue::Catalogue;
use crate::store::catalogue::names::NameRow;
use crate::store::volume::{EntryKind, VolumeError};
use crate::work::commit::EVENTS_TOGETHER;
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
        let heed = |e| Refusal::Drive(attached.heed(e));
        let volume = &*attached.volume;
        let mut todo = vec![numbered.clone()];
        while let Some(dir) = todo.pop() {
            for entry in volume.list(&dir).map_err(heed)? {
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
                        let there = volume.stat(&place).map_err(heed)?;
                        if there.inode != home.inode && (fresh || is_half(attached, catalogue, &place, &row)?)
                        {
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

/// On a drive that is not the primary: what was on its way to the trash or the quarantine when a step broke off gets its name back, and
/// whoever wanted it away does so again, with a record. Where something has that name, it stays, and is made durable where it is: its
/// old name may be gone from the medium before the new one is there. `last` is the number of the drive's last event.
pub(crate) fn undo(attached: &Attached, last: u64) -> Result<u64, Refusal> {
    let mut back = 0;
    for tree in [Place::trashes(), Place::quarantines()] {
        for day in dirs_in(attached, &tree)? {
            for numbered in dirs_in(attached, &day)? {
                if numbered.name().parse::<u64>().is_ok_and(|serial| serial > last) {
                    back += undo_below(attached, &numbered)?;
                    sync_dirs(attached, &[&day, &tree])?;
                }
            }
        }
    }
    Ok(back)
}

fn undo_below(attached: &Attached, numbered: &Place) -> Result<u64, Refusal> {
    let heed = |e| Refusal::Drive(attached.heed(e));
    let (mut back, mut todo) = (0, vec![numbered.clone()]);
    while let Some(dir) = todo.pop() {
        for entry in attached.volume.list(&dir).map_err(heed)? {
            let Some(place) = entry.name.as_deref().and_then(|n| dir.entry(n)) else { continue };
            if entry.kind == EntryKind::Dir {
                todo.push(place);
                continue;
            }
            let below = place.as_str().strip_prefix(numbered.as_str()).and_then(|p| p.strip_prefix('/'));
            let Some(name) = below.and_then(RelPath::from_disk).map(|path| Place::photo(&path)) else {
                continue;
            };
            match attached.volume.rename_new(&place, &name) {
                Ok(()) => {
                    back += 1;
                    sync_dirs(attached, &name.parent().iter().collect::<Vec<_>>())?;
                }
                Err(VolumeError::Exists { .. } | VolumeError::NotFound { .. }) => {}
                Err(e) => return Err(heed(e)),
            }
        }
        sync_dirs(attached, &[&dir])?;
    }
    Ok(back)
}

fn sync_dirs(attached: &Attached, dirs: &[&Place]) -> Result<(), Refusal> {
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
