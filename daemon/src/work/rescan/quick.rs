//! The quick look: a folder in which everything is as the catalogue says, as nearly all are at nearly every look.
//!
//! Decides only that a file is as it was. Whatever else it meets is left to the thorough comparison.
use crate::model::path::{RelPath, is_stored_as_named};
use crate::model::place::{Place, Shelf};
use crate::plan::editing::{self, Look};
use crate::store::catalogue::names::Known;
use crate::store::volume::{Entry, EntryKind, Stat};
use crate::work::error::Refusal;
use crate::work::primary::Primary;
use crate::work::rescan::photo_path;

/// An entry of a folder on the drive.
pub(super) struct Met {
    pub(super) entry: Entry,
    stat: Option<Stat>,
    /// A file that is as the catalogue has it, or a folder that it has.
    pub(super) settled: bool,
}

/// The entries in the order of their names, and where the last one was found: the catalogue has nearly the same order.
pub(super) struct Quick {
    pub(super) met: Vec<Met>,
    at: usize,
    /// Names that the catalogue has and that were not settled.
    left: bool,
}

impl Quick {
    pub(super) fn new(entries: Vec<(Entry, Option<Stat>)>) -> Self {
        let met = |(entry, stat)| Met { entry, stat, settled: false };
        let mut met: Vec<Met> = entries.into_iter().map(met).collect();
        met.sort_unstable_by(|a, b| a.entry.name.cmp(&b.entry.name));
        Self { met, at: 0, left: false }
    }

    /// Compares with the catalogue, which is read after the drive: an upload in between is known then. `true`: all is as it was.
    pub(super) fn compare(&mut self, primary: &Primary, dir: &Place) -> Result<bool, Refusal> {
        const PAGE: usize = 500;
        let path = photo_path(dir);
        // Where other hands spelled a folder's name their own way, everything in it is for the thorough.
        if path.as_ref().map_or_else(Place::photos, Place::photo) != *dir {
            return Ok(false);
        }
        let (id, fold) = (primary.attached.id(), path.as_ref().map(RelPath::fold_key).unwrap_or_default());
        let above = path.as_ref().map_or("", RelPath::as_str);
        let misses = primary.catalogue.read(|r| r.misses_any(id))?;
        let missing =
            if misses { primary.catalogue.read(|r| r.missing_in(id, &fold))? } else { Default::default() };
        let mut after = Some(String::new());
        while let Some(from) = after {
            after = primary.catalogue.read(|r| {
                r.look_through(&fold, &from, PAGE, |known| {
                    let settled = !missing.contains(&known.id) && self.settle(above, known);
                    // What is in scratch lies elsewhere.
                    self.left |= !settled && known.shelf == Shelf::Photos;
                })
            })?;
        }
        Ok(!self.left && self.met.iter().all(|met| met.settled))
    }

    fn settle(&mut self, above: &str, known: Known<'_>) -> bool {
        let below =
            |path| -> Option<&str> { if above.is_empty() { Some(path) } else { path_below(path, above) } };
        let Some(name) = below(known.path).filter(|_| known.shelf == Shelf::Photos) else { return false };
        let is = |met: &Met| met.entry.name.as_deref() == Some(name);
        let found = match self.met.get(self.at) {
            Some(met) if is(met) => self.at,
            Some(_) | None => {
                match self.met.binary_search_by(|met| met.entry.name.as_deref().cmp(&Some(name))) {
                    Ok(found) => found,
                    Err(_) => return false,
                }
            }
        };
        self.at = found + 1;
        let Some(met) = self.met.get_mut(found) else { return false };
        met.settled = is_stored_as_named(name)
            && match (met.entry.kind, met.stat) {
                (EntryKind::Dir, _) => known.is_folder,
                (EntryKind::File, Some(stat)) => {
                    let look = editing::look(known.size, &[known.mtime], stat.size, stat.mtime);
                    !known.is_folder && look == Look::Same
                }
                (EntryKind::File, None) | (EntryKind::Other, _) => false,
            };
        met.settled
    }
}

fn path_below<'p>(path: &'p str, above: &str) -> Option<&'p str> {
    path.strip_prefix(above)?.strip_prefix('/')
}
