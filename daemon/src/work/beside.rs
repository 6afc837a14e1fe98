//! Names for uploads that take nobody's name away: the name itself, the one that has these very bytes already, or a free one
//! beside it.
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::model::hash::ContentHash;
use crate::model::naming::{free_path, is_beside};
use crate::model::path::RelPath;
use crate::model::place::Shelf;
use crate::store::catalogue::{Catalogue, CatalogueError};
use crate::work::error::Refusal;

/// Names that uploads are being named after at the moment. Two of the same name take turns, from the look for a free name
/// until they have it: else both would be told of the same one, and equal bytes would not find each other.
#[derive(Default)]
pub(crate) struct Naming {
    busy: Mutex<HashSet<String>>,
    freed: Condvar,
}

/// The turn of one upload; ends when it is dropped.
pub(crate) struct Turn<'a> {
    naming: &'a Naming,
    fold: String,
}

impl Naming {
    /// Waits for whoever is being named after `path`. Blocking.
    pub(crate) fn turn(&self, path: &RelPath) -> Turn<'_> {
        let fold = path.fold_key();
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.freed.wait_while(busy, |busy| busy.contains(&fold));
        let _is_new = free.unwrap_or_else(PoisonError::into_inner).insert(fold.clone());
        Turn { naming: self, fold }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _was_there = self.naming.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.fold);
        self.naming.freed.notify_all();
    }
}

/// The name for bytes that were offered as `path`. Whether it still fits is the commit's to say.
pub(crate) fn name_for(
    catalogue: &Catalogue,
    path: &RelPath,
    content: &ContentHash,
) -> Result<RelPath, Refusal> {
    let Some(parent) = path.parent() else { return Ok(path.clone()) };
    let found = catalogue.read(|r| {
        let is_others = |path: &RelPath| -> Result<bool, CatalogueError> {
            Ok(r.name(&path.fold_key())?
                .is_some_and(|row| row.shelf == Shelf::Photos && row.hash != Some(*content)))
        };
        if !is_others(path)? {
            return Ok(Some(path.clone()));
        }
        let folder = parent.fold_key();
        let same = r.names_of_content(content)?.into_iter().map(|row| row.path).find(|other| {
            other.parent().is_some_and(|parent| parent.fold_key() == folder)
                && is_beside(path.name(), other.name())
        });
        if same.is_some() {
            return Ok(same);
        }
        free_path(path, is_others)
    })?;
    found.ok_or(Refusal::Exists)
}
