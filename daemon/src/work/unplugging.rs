//! Whether an offline drive may be unplugged, asked of the catalogue whenever people ask: an answer of a minute ago would be
//! about a drive that has got another photo since.
use jiff::Timestamp;

use crate::model::drive::{DriveRole, Standing};
use crate::plan::unplugging::{self, Copies, Known, Unplugging};
use crate::store::catalogue::CatalogueError;
use crate::work::drive::Attached;
use crate::work::pool::{Pool, Slot};
use crate::work::primary::Primary;

impl Pool {
    /// `None`: it is no offline drive, or not in use. Blocking, while the primary answers; the offline drive itself is asked nothing.
    pub(super) fn unplugging(&self, primary: Option<&Primary>, slot: &Slot) -> Option<Unplugging> {
        let attached = slot.attached.as_ref().filter(|drive| drive.role() == DriveRole::Offline)?;
        let ready = slot.standing == Standing::Ready && attached.takes_writes().is_ok();
        // Of one that cannot be used nothing more is asked: that is all there is to say.
        let known = primary.filter(|_| ready);
        let copies = known.and_then(|primary| self.copies_on(primary, attached).ok());
        Some(unplugging::judge(&Known { ready, copies }))
    }

    fn copies_on(&self, primary: &Primary, attached: &Attached) -> Result<Copies, CatalogueError> {
        let id = attached.id();
        let (tally, tail, lists) = primary
            .catalogue
            .read(|r| Ok((r.tally(id, Timestamp::MIN)?, r.has_tail(id)?, r.stale(id)?.len())))?;
        Ok(Copies {
            // Last: a photo that came meanwhile makes it false. Until it is enrolled, nobody has compared this drive's record
            // with what is known of it, and it may be an older state of itself.
            level: attached.is_enrolled() && self.is_level(id),
            wanted: tally.wanted,
            bad: tally.damaged + tally.missing,
            unread: tally.settled,
            tail,
            stale_lists: lists as u64,
        })
    }
}
