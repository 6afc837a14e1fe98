//! Files that the catalogue knows and other hands wrote anew: their new bytes are taken in, as by an upload.
use crate::model::copy::CopyState;
use crate::model::event::What;
use crate::model::place::Place;
use crate::plan::editing::{self, Look};
use crate::store::catalogue::names::NameRow;
use crate::store::volume::{Stat, VolumeError};
use crate::work::carry::GoOn;
use crate::work::changes::Change;
use crate::work::error::Refusal;
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::primary::Primary;
use crate::work::rescan::{Folder, Hashed, Rescan};

impl Rescan {
    /// A file under its name: as it was, or to be read again once nobody is at it any more.
    pub(super) fn look_again(
        &mut self,
        primary: &Primary,
        folder: &mut Folder,
        row: &NameRow,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let place = row.place();
        let stat = match primary.attached.volume.stat(&place) {
            Ok(stat) => stat,
            // Gone since it was listed: the next look says so.
            Err(VolumeError::NotFound { .. }) => return Ok(()),
            Err(e) => return self.cannot_look(primary, &place, e),
        };
        match self.look(primary, row, stat)? {
            Look::Same => Ok(()),
            Look::Damaged => self.tell_damaged(primary, row, stat),
            Look::Written if !self.is_quiet(folder, place.name(), stat) => {
                self.report.waiting += 1;
                Ok(())
            }
            Look::Written => self.read_again(primary, row, &place, stat, go_on),
        }
    }

    fn look(&self, primary: &Primary, row: &NameRow, stat: Stat) -> Result<Look, Refusal> {
        let own = editing::look(row.size, &[row.mtime], stat.size, stat.mtime);
        let (Look::Written, Some(hash)) = (own, row.hash) else { return Ok(own) };
        let names = primary.catalogue.read(|r| r.names_of_content(&hash))?;
        let times: Vec<_> = names.iter().map(|name| name.mtime).collect();
        Ok(editing::look(row.size, &times, stat.size, stat.mtime))
    }

    /// Other bytes are another version; the same ones get their time back.
    fn read_again(
        &mut self,
        primary: &Primary,
        row: &NameRow,
        place: &Place,
        stat: Stat,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let digests = match self.hash_quiet(primary, place, go_on)? {
            Hashed::Quiet(digests) => digests,
            Hashed::Busy => {
                self.report.waiting += 1;
                return Ok(());
            }
            Hashed::Unreadable => return Ok(()),
        };
        if Some(digests.content) == row.hash {
            let dated = primary.attached.volume.set_mtime(place, row.mtime);
            return dated.map_err(|e| Refusal::Drive(primary.attached.heed(e)));
        }
        let now = self.pool.now();
        match primary.submit(Change::Edited { path: row.path.clone(), digests, seen: stat }, now) {
            // An upload, a rename or a deletion came in between.
            Ok(_) => {}
            Err(Refusal::NotFound | Refusal::Changed) => return Ok(()),
            Err(e) => return Err(e),
        }
        self.report.adopted += 1;
        let what = NewsKind::Received { size: digests.size };
        self.pool.news().tell(&PhotoNews { path: row.path.clone(), what, at: now });
        self.pool.wake_mirror();
        Ok(())
    }

    fn tell_damaged(&self, primary: &Primary, row: &NameRow, stat: Stat) -> Result<(), Refusal> {
        // An upload may have been between its file and its row.
        primary.quiesce();
        let id = primary.attached.id();
        let known = primary.catalogue.read(|r| Ok((r.name_by_id(row.id)?, r.copies_of_name(row.id)?)))?;
        let good = |state| matches!(state, CopyState::Settled | CopyState::Verified);
        let counts = known.1.iter().any(|copy| copy.drive == id && good(copy.state));
        let (true, Some(hash)) = (counts && known.0.as_ref() == Some(row), row.hash) else { return Ok(()) };
        let found = format!("{} bytes instead of {}", stat.size, row.size);
        log::warn!("{}: {found}", row.place());
        let damaged = What::Damaged { path: row.path.clone(), hash, found };
        primary.submit(Change::Proofs { proofs: vec![damaged] }, self.pool.now())?;
        self.pool.wake_healing();
        Ok(())
    }
}
