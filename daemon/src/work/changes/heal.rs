//! Healing on the primary: bytes proved good get the name of a damaged copy, which goes to the quarantine, or of one that is gone.
use jiff::Timestamp;

use crate::model::copy::CopyState;
use crate::model::event::What;
use crate::model::hash::Digests;
use crate::model::path::RelPath;
use crate::model::place::Place;
use crate::store::catalogue::copies::CopyRow;
use crate::store::catalogue::names::NameRow;
use crate::store::volume::{Synced, VolumeError};
use crate::work::changes::store::{Kept, stored};
use crate::work::commit::{Committer, Draft};
use crate::work::error::Refusal;
use crate::work::ingest::Outcome;
use crate::work::reread::written_anew;

/// A copy made anew, durable and read back from the primary's medium, without a name yet.
pub(crate) struct Heal {
    pub(crate) path: RelPath,
    pub(crate) synced: Box<dyn Synced>,
    pub(crate) digests: Digests,
}

impl Committer {
    /// The same order as for a replaced file: the damaged one is durable in the quarantine before its name is taken over.
    pub(super) fn draft_heal(&mut self, heal: &mut Heal, now: Timestamp) -> Result<Draft, Refusal> {
        let Some((row, state)) = self.bad(heal)? else { return Ok(Draft::default()) };
        match self.attached.volume.stat(&Place::photo(&row.path)) {
            // What is there again, whoever put it there, is for the rescan to look at.
            Ok(_) if state == CopyState::Missing => return Ok(Draft::default()),
            Ok(_) | Err(VolumeError::NotFound { .. }) => {}
            // It can be given no second name, and not be kept: its own is not taken over.
            Err(e) => {
                let why = self.attached.file_only(e).map_err(Refusal::Drive)?;
                log::error!("{} cannot be healed before the filesystem is checked: {why}", row.path);
                return Ok(Draft::default());
            }
        }
        if written_anew(&self.attached, &self.catalogue, &row.path, &heal.digests.content)? {
            return Ok(Draft::default());
        }
        let mut draft =
            Draft { name: Some(row.path.clone()), outcome: Some(Outcome::Unchanged), ..Draft::default() };
        let home = Place::photo(&row.path);
        let serial = self.manifest.position().seq + 1;
        let placed = self.directories.quarantine_place(&row.path, serial, now);
        let (to, dirs) = placed.map_err(|e| self.heed(e))?;
        let kept = self.keep_as(&home, &to, dirs, &mut draft)?;
        let dir = home.parent().unwrap_or_else(Place::root);
        let named = self.within(&dir, &mut draft.dirs, || match kept {
            Kept::StillNamed => heal.synced.publish_over(&home),
            Kept::Moved | Kept::Nothing => heal.synced.publish(&home),
        })?;
        named.map_err(|e| self.heed(e))?;
        draft.dirs.insert(dir);
        if kept != Kept::Nothing {
            draft.events.push(What::Quarantined { path: row.path.clone(), to: to.as_str().to_owned() });
        }
        // Who sent it, and when it was received, is as it was.
        draft.events.push(stored(&row.path, &heal.digests, (row.mtime, row.ctime), row.by, row.received));
        draft.events.push(What::Proved { path: row.path, hash: heal.digests.content });
        Ok(draft)
    }

    /// The name, if its copy here is still the damaged or missing one that these bytes are for.
    fn bad(&self, heal: &Heal) -> Result<Option<(NameRow, CopyState)>, Refusal> {
        let row = self.row(&heal.path)?.filter(|row| row.hash == Some(heal.digests.content));
        let Some(row) = row else { return Ok(None) };
        let copies = self.catalogue.read(|r| r.copies_of_name(row.id))?;
        let here = |c: &&CopyRow| c.drive == self.attached.id();
        let state = copies.iter().find(here).map(|c| c.state);
        Ok(state.filter(|s| matches!(s, CopyState::Damaged | CopyState::Missing)).map(|state| (row, state)))
    }
}
