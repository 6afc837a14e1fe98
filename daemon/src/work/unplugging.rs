//! Whether an offline drive may be unplugged, asked of the catalogue whenever people ask: an answer of a minute ago would be
//! about a drive that has got another photo since.
use jiff::Timestamp;

use crate::model::drive::{DriveRole, Space};
use crate::plan::unplugging::{self, Copies, Known, Unplugging};
use crate::store::catalogue::CatalogueError;
use crate::work::drive::Attached;
use crate::work::pool::{Pool, Slot};
use crate::work::primary::Primary;

impl Pool {
    /// `None`: it is no offline drive, or not in use. Blocking, while the primary answers; the offline drive itself is asked nothing.
    pub(super) fn unplugging(&self, primary: Option<&Primary>, slot: &Slot) -> Option<Unplugging> {
        let attached = slot.attached.as_ref().filter(|drive| drive.role() == DriveRole::Offline)?;
        let ready = slot.standing.takes_writes() && attached.takes_writes().is_ok();
        // Of one that cannot be used nothing more is asked: that is all there is to say.
        let known = primary.filter(|_| ready);
        let copies = known.and_then(|primary| self.copies_on(primary, attached, slot.space).ok());
        Some(unplugging::judge(&Known { ready, copies }))
    }

    fn copies_on(
        &self,
        primary: &Primary,
        attached: &Attached,
        space: Option<Space>,
    ) -> Result<Copies, CatalogueError> {
        let id = attached.id();
        let (tally, hopeless, tail, lists) = primary.catalogue.read(|r| {
            Ok((r.tally(id, Timestamp::MIN)?, r.hopeless(id)?, r.has_tail(id)?, r.stale(id)?.len()))
        })?;
        let enrolled = attached.is_enrolled();
        let no_room = |space: Space| space.available < tally.wanted_bytes || space.inodes < tally.wanted;
        Ok(Copies {
            // Last: a photo that came meanwhile makes it false. Until it is enrolled, nobody has compared this drive's record
            // with what is known of it, and it may be an older state of itself.
            level: enrolled && self.is_level(id),
            enrolled,
            wanted: tally.wanted.saturating_sub(hopeless.wanted),
            full: space.is_some_and(no_room),
            bad: (tally.damaged + tally.missing).saturating_sub(hopeless.bad),
            hopeless: hopeless.wanted + hopeless.bad,
            unread: tally.settled,
            tail,
            stale_lists: lists as u64,
        })
    }
}
