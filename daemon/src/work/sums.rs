//! How many bytes lie below a folder. Each folder's sum is kept for as long as nothing below it changes, so that a listing after one
//! upload adds up what is directly in the folders above it, and not the whole tree.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::store::catalogue::names::NameRow;
use crate::work::error::Refusal;
use crate::work::primary::Primary;
use crate::work::tree::Node;

/// Folders that are remembered: more than a family has.
const MOST: usize = 100_000;

/// Sums by the folders' rows, each with what the folder said of its last change then.
#[derive(Default)]
pub(super) struct Sums(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Whose rows they are: another catalogue may give the same numbers to others.
    of: Weak<Primary>,
    sums: HashMap<i64, (i64, u64)>,
}

/// A folder being added up: what was found so far, and the folders in it that were not looked at yet.
struct Open {
    id: i64,
    changed: i64,
    bytes: u64,
    folders: Vec<NameRow>,
}

impl Sums {
    fn known(&self, primary: &Arc<Primary>, id: i64, changed: i64) -> Option<u64> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = std::ptr::eq(kept.of.as_ptr(), Arc::as_ptr(primary));
        kept.sums.get(&id).filter(|(at, _)| same && *at == changed).map(|(_, bytes)| *bytes)
    }

    fn keep(&self, primary: &Arc<Primary>, folder: &Open) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(kept.of.as_ptr(), Arc::as_ptr(primary)) || kept.sums.len() >= MOST {
            *kept = Kept { of: Arc::downgrade(primary), sums: HashMap::new() };
        }
        // A root that nothing was put into yet has no row.
        if folder.id > 0 {
            kept.sums.insert(folder.id, (folder.changed, folder.bytes));
        }
    }

    /// Adds a folder up. The catalogue is held for one folder at a time: uploads go on between.
    pub(super) fn of(&self, primary: &Arc<Primary>, folder: &Node) -> Result<u64, Refusal> {
        if let Some(bytes) = self.known(primary, folder.id, folder.changed) {
            return Ok(bytes);
        }
        let open = |id, changed, fold: &str| -> Result<Open, Refusal> {
            let (bytes, folders) = primary.catalogue.read(|r| r.directly_in(fold))?;
            Ok(Open { id, changed, bytes, folders })
        };
        let mut above = Vec::new();
        let mut here = open(folder.id, folder.changed, &folder.path.fold_key())?;
        loop {
            if let Some(next) = here.folders.pop() {
                match self.known(primary, next.id, next.changed) {
                    Some(bytes) => here.bytes = here.bytes.saturating_add(bytes),
                    None => {
                        let below = open(next.id, next.changed, &next.path.fold_key())?;
                        above.push(std::mem::replace(&mut here, below));
                    }
                }
                continue;
            }
            self.keep(primary, &here);
            let Some(parent) = above.pop() else { return Ok(here.bytes) };
            let bytes = here.bytes;
            here = parent;
            here.bytes = here.bytes.saturating_add(bytes);
        }
    }
}
