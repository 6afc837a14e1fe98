//! A replacement that a crash cut off between taking the name over and its record: recorded as it is, or taken back.
use std::sync::Arc;

use jiff::Timestamp;

use super::store::stored;
use crate::model::event::What;
use crate::model::hash::Also;
use crate::model::path::RelPath;
use crate::model::place::Place;
use crate::store::catalogue::names::NameRow;
use crate::store::manifest::day;
use crate::work::commit::{Committer, Draft};
use crate::work::error::Refusal;
use crate::work::reading;

impl Committer {
    /// Both files are on the drive, the old one in the trash and the new one under the name. The record follows what is.
    pub(super) fn draft_record_replaced(
        &mut self,
        path: &RelPath,
        to: &Place,
        now: Timestamp,
    ) -> Result<Draft, Refusal> {
        let row = self.row(path)?.ok_or(Refusal::NotFound)?;
        let volume = Arc::clone(&self.attached.volume);
        let place = row.place();
        let stat = volume.stat(&place).map_err(|e| self.heed(e))?;
        volume.sync_file(&place).map_err(|e| self.heed(e))?;
        let digests = match reading::hash_medium(&*volume, &place, Also::default(), &mut || Ok(())) {
            Ok(digests) => digests,
            Err(e) => {
                self.attached.pass_over(&place, e).map_err(Refusal::Drive)?;
                return self.take_back(&row, to, now);
            }
        };
        // The name has the content that is on record: the file in the trash is of some other time.
        if row.hash == Some(digests.content) {
            return Ok(Draft::default());
        }
        let mut draft = Draft { name: Some(row.path.clone()), ..Draft::default() };
        for dir in [place.parent(), to.parent()].into_iter().flatten() {
            self.ensure(&dir, &mut draft.dirs)?;
            draft.dirs.insert(dir);
        }
        let (by, why) = (String::new(), "replaced".to_owned());
        draft.events.push(What::Trashed { path: row.path.clone(), to: to.as_str().to_owned(), by, why });
        draft.events.push(stored(&row.path, &digests, (stat.mtime, None), String::new(), now));
        Ok(draft)
    }

    /// The new file cannot be read, and nobody was promised it: it goes to the quarantine, and the old one gets its name back. Cut off
    /// between the two, the name has no file, and the next opening puts the old one back.
    fn take_back(&mut self, row: &NameRow, from: &Place, now: Timestamp) -> Result<Draft, Refusal> {
        let home = row.place();
        let number = from.as_str().split('/').nth(3).and_then(|serial| serial.parse().ok());
        // Of the same number as what it replaced, which no event has.
        let kept = Place::quarantine(&day(now), number.unwrap_or_default(), &row.path);
        let mut draft = Draft::default();
        for dir in [kept.parent(), home.parent(), from.parent()].into_iter().flatten() {
            self.ensure(&dir, &mut draft.dirs)?;
            draft.dirs.insert(dir);
        }
        for (from, to) in [(&home, &kept), (from, &home)] {
            if let Err(e) = self.attached.volume.rename_new(from, to) {
                self.attached.pass_over(from, e).map_err(Refusal::Drive)?;
                break;
            }
        }
        log::error!(
            "{} cannot be read and was acknowledged to nobody: what it replaced is there again",
            home
        );
        Ok(draft)
    }
}
