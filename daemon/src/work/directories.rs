//! Directories on a drive: making them, knowing which are durable, and finding free places in the trash.
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::path::RelPath;
use crate::model::place::Place;
use crate::store::manifest::day;
use crate::store::volume::{Volume, VolumeError};

/// What is known of the directories of one drive.
pub(crate) struct Directories {
    volume: Arc<dyn Volume>,
    /// Directories whose own entries, up to the root, are known to be durable.
    durable: HashSet<Place>,
    /// Made or met since the last [`Directories::settle`]; they join `durable` when they are.
    fresh: Vec<Place>,
}

impl Directories {
    pub(crate) fn new(volume: Arc<dyn Volume>) -> Self {
        Self { volume, durable: HashSet::new(), fresh: Vec::new() }
    }

    /// Makes a directory and those above it as needed, and adds to `dirs` whose entries must become durable for it.
    /// A directory that exists but is not known to be durable counts as new: a crash may have come between its
    /// making and its flush.
    pub(crate) fn ensure(&mut self, dir: &Place, dirs: &mut BTreeSet<Place>) -> Result<(), VolumeError> {
        let mut new = Vec::new();
        let mut next = Some(dir.clone());
        while let Some(place) = next {
            if place == Place::root() || self.durable.contains(&place) {
                break;
            }
            next = place.parent();
            new.push(place);
        }
        for place in new.into_iter().rev() {
            self.volume.make_dir(&place)?;
            dirs.extend(place.parent());
            self.fresh.push(place);
        }
        Ok(())
    }

    /// Runs an operation in `dir`, making the directory first. If it turns out to be missing although it was known
    /// (other hands removed it), makes it once more. The outer error is about the directory.
    pub(crate) fn within<T>(
        &mut self,
        dir: &Place,
        dirs: &mut BTreeSet<Place>,
        mut operation: impl FnMut() -> Result<T, VolumeError>,
    ) -> Result<Result<T, VolumeError>, VolumeError> {
        self.ensure(dir, dirs)?;
        match operation() {
            Err(VolumeError::NotFound { .. }) => {
                self.forget();
                self.ensure(dir, dirs)?;
                Ok(operation())
            }
            other => Ok(other),
        }
    }

    /// A free place in today's trash whose directory exists, and the directories to flush for it. `serial` is where
    /// counting starts: any number that rises, so that two retirements of one name stay apart.
    pub(crate) fn trash_place(
        &mut self,
        path: &RelPath,
        serial: u64,
        now: Timestamp,
    ) -> Result<(Place, BTreeSet<Place>), VolumeError> {
        self.free_place(serial, |serial| Place::trash(&day(now), serial, path))
    }

    /// The same in today's quarantine.
    pub(crate) fn quarantine_place(
        &mut self,
        path: &RelPath,
        serial: u64,
        now: Timestamp,
    ) -> Result<(Place, BTreeSet<Place>), VolumeError> {
        self.free_place(serial, |serial| Place::quarantine(&day(now), serial, path))
    }

    fn free_place(
        &mut self,
        mut serial: u64,
        numbered: impl Fn(u64) -> Place,
    ) -> Result<(Place, BTreeSet<Place>), VolumeError> {
        loop {
            let place = numbered(serial);
            match self.volume.stat(&place) {
                Err(VolumeError::NotFound { .. }) => {
                    let mut dirs = BTreeSet::new();
                    self.ensure(&place.parent().unwrap_or_else(Place::root), &mut dirs)?;
                    dirs.extend(place.parent());
                    return Ok((place, dirs));
                }
                Ok(_) => serial += 1,
                Err(e) => return Err(e),
            }
        }
    }

    /// These directories were flushed: what was met in them since the last call is durable. What was met for a change that
    /// was refused, and flushed by nobody, is not.
    pub(crate) fn settle(&mut self, flushed: &BTreeSet<Place>) {
        // Topmost first, as `ensure` pushed them: a directory counts only when those above it do.
        for place in self.fresh.drain(..) {
            let Some(above) = place.parent() else { continue };
            if flushed.contains(&above) && (above == Place::root() || self.durable.contains(&above)) {
                self.durable.insert(place);
            }
        }
    }

    /// Nothing met since the last [`Directories::settle`] counts.
    pub(crate) fn start(&mut self) {
        self.fresh.clear();
    }

    /// Other hands, a rename or a failure: nothing is known any more.
    pub(crate) fn forget(&mut self) {
        self.durable.clear();
    }
}
