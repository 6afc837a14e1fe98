//! The record of a drive other than the primary: its manifest and what the catalogue knows of it, kept in step.
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::drive::DriveRole;
use crate::model::event::What;
use crate::store::catalogue::apply::{self, On};
use crate::store::catalogue::{Catalogue, accounts, copies};
use crate::store::manifest::{self, Manifest};
use crate::work::changes::Change;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::primary::Primary;

/// Makes a drive known to the catalogue, with everything wanted on one that is new to it, and carries into the catalogue
/// what the drive's manifest has and the catalogue lacks: the drive's own record turns wanted copies into proved ones.
pub(crate) fn enrol(attached: &Attached, catalogue: &Catalogue, now: Timestamp) -> Result<(), Refusal> {
    let mut open = attached.manifest();
    let heed = |e| Refusal::Drive(attached.heed(e));
    let (id, role) = (attached.id(), attached.role());
    let known = catalogue.read(|r| r.drive(id))?;
    if known.as_ref().is_none_or(|d| d.role != role) {
        catalogue.write(|tx| {
            accounts::put_drive(tx, id, role, attached.marker.adopted)?;
            if known.is_none() { copies::want_everything(tx, id, now) } else { Ok(()) }
        })?;
    }
    let manifest = Manifest::open(Arc::clone(&attached.volume)).map_err(heed)?;
    let from = known.map_or(0, |d| d.position.seq);
    if manifest.position().seq > from {
        let mut events = Vec::new();
        manifest::read(&*attached.volume, from, &mut |event| events.push(event)).map_err(heed)?;
        for piece in events.chunks(5000) {
            catalogue
                .write(|tx| piece.iter().try_for_each(|e| apply::apply(tx, On { drive: id, role }, e)))?;
        }
        catalogue.write(|tx| apply::reached(tx, id, manifest.position()))?;
    }
    *open = Some(manifest);
    Ok(())
}

/// Makes events durable on a drive's manifest, then carries them into the catalogue.
pub(crate) fn record(
    attached: &Attached,
    catalogue: &Catalogue,
    what: &[What],
    now: Timestamp,
) -> Result<(), Refusal> {
    if what.is_empty() {
        return Ok(());
    }
    let mut open = attached.manifest();
    let manifest = match &mut *open {
        Some(manifest) => manifest,
        none => {
            let manifest = Manifest::open(Arc::clone(&attached.volume));
            none.insert(manifest.map_err(|e| Refusal::Drive(attached.heed(e)))?)
        }
    };
    let events = manifest.append(now, what).map_err(|e| Refusal::Drive(attached.heed(e)))?;
    let position = manifest.position();
    let on = On { drive: attached.id(), role: attached.role() };
    catalogue.write(|tx| {
        events.iter().try_for_each(|event| apply::apply(tx, on, event))?;
        apply::reached(tx, on.drive, position)
    })?;
    Ok(())
}

/// Records what re-reading copies of any drive showed, on that drive.
pub(crate) fn proofs(
    primary: &Primary,
    attached: &Attached,
    proofs: Vec<What>,
    now: Timestamp,
) -> Result<(), Refusal> {
    match attached.role() {
        DriveRole::Primary => primary.submit(Change::Proofs { proofs }, now).map(drop),
        DriveRole::Mirror | DriveRole::Offline => record(attached, &primary.catalogue, &proofs, now),
    }
}
