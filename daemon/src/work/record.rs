//! The record of a drive other than the primary: its manifest and what the catalogue knows of it, kept in step.
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::drive::{DriveId, DriveRole, Marker};
use crate::model::event::{Event, Line, What};
use crate::plan::facts::LostFacts;
use crate::store::catalogue::apply::{self, On};
use crate::store::catalogue::read::Reader;
use crate::store::catalogue::{Catalogue, CatalogueError, accounts, copies, nanos, time};
use crate::store::manifest::{self, Fit, Manifest, Position, RoleChange};
use crate::work::changes::Change;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::primary::Primary;
use crate::work::tail;

/// Makes a drive known to the catalogue, with everything wanted on one that is new to it, and carries into the catalogue
/// what the drive's manifest has and the catalogue lacks: the drive's own record turns wanted copies into proved ones.
pub(crate) fn enrol(attached: &Attached, catalogue: &Catalogue, now: Timestamp) -> Result<(), Refusal> {
    let mut open = attached.manifest();
    attached.set_enrolled(false);
    let heed = |e| Refusal::Drive(attached.heed(e));
    let (id, role) = (attached.id(), attached.role());
    let known = catalogue.read(|r| r.drive(id))?;
    if known.as_ref().is_none_or(|d| d.role != role) {
        catalogue.write(|tx| {
            accounts::put_drive(tx, id, role, attached.marker.adopted)?;
            if known.is_none() { copies::want_everything(tx, id, now) } else { Ok(()) }
        })?;
    }
    let mut manifest = Manifest::open(Arc::clone(&attached.volume)).map_err(heed)?;
    let mut from = known.as_ref().map_or(0, |d| d.position.seq);
    if let Some(known) = known
        && manifest::fit(&*attached.volume, known.position).map_err(heed)? != Fit::Prefix
    {
        // An older state of the drive, or one that lost the end of its record: what it holds is what it says now.
        log::error!("drive {} does not have what it had: its record is read anew", id.short());
        catalogue.write(|tx| copies::forget_drive(tx, id, now))?;
        from = 0;
    }
    let end = manifest.position().seq;
    let note = |received| note_forgotten(attached, catalogue, end, received, now);
    let (mut noted, mut earliest, mut failed) = (None, None, None);
    replay(attached, catalogue, &mut manifest, from, &mut |event| {
        if failed.is_none() {
            match forgotten(catalogue, event) {
                Ok(None) => {}
                // Before the catalogue reaches this line: whoever comes after a crash finds the line, or the note.
                Ok(Some(received)) => {
                    earliest = Some(earliest.map_or(received, |known| received.min(known)));
                    if noted.is_none() {
                        noted = Some(received);
                        failed = note(received).err();
                    }
                }
                Err(e) => failed = Some(e.into()),
            }
        }
    })?;
    failed.map_or(Ok(()), Err)?;
    // Copies are not made in the order in which photos came.
    if let Some(earliest) = earliest.filter(|_| earliest != noted) {
        note(earliest)?;
    }
    tail::opened(attached, catalogue, end)?;
    *open = Some(manifest);
    attached.set_enrolled(true);
    Ok(())
}

/// When a photo was received of which the primary knows nothing although a copy names it. What is on a copy was on the primary first,
/// with its record flushed: that primary lied about its flushes, or another drive took its place, and the record was lost.
fn forgotten(catalogue: &Catalogue, event: &Event) -> Result<Option<Timestamp>, CatalogueError> {
    let What::Stored { hash, received, .. } = &event.what else { return Ok(None) };
    let known = catalogue.read(|r| r.asset(hash))?.is_some();
    Ok((!known).then_some(*received))
}

/// Notes that this drive's record names what the primary forgot. And that the primary lost it, if it was the primary from the beginning:
/// of one that took another's place, nobody can tell whether it ever had it.
fn note_forgotten(
    attached: &Attached,
    catalogue: &Catalogue,
    end: u64,
    received: Timestamp,
    now: Timestamp,
) -> Result<(), Refusal> {
    let original = attached.marker.generation == Marker::FIRST_GENERATION;
    // What came after the last photo that it knows of may have reached no other drive, and be in no record.
    let since = catalogue.read(|r| r.last_received_before(received))?.unwrap_or(received);
    catalogue.write(|tx| {
        accounts::set_meta(tx, &forgot(attached.id()), &end.to_string())?;
        let reader = Reader::new(tx);
        let primary = reader.drives()?.into_iter().find(|drive| drive.role == DriveRole::Primary);
        let Some(primary) = primary.filter(|_| original) else { return Ok(()) };
        let since = lost_by(&reader, primary.id)?.map_or(since, |known| known.since.min(since));
        accounts::set_meta(tx, &lost_key(primary.id), &format!("{} {}", nanos(now), nanos(since)))
    })?;
    Ok(())
}

/// Where it is noted that a primary lost the end of its record.
fn lost_key(primary: DriveId) -> String {
    format!("lost the end of its record: {primary}")
}

/// When that was seen, and since when photos may be gone of which no record is left: nanoseconds since 1970.
fn lost_by(reader: &Reader<'_>, primary: DriveId) -> Result<Option<LostFacts>, CatalogueError> {
    let noted = reader.meta(&lost_key(primary))?;
    Ok(noted.and_then(|noted| {
        let (noted, since) = noted.split_once(' ')?;
        Some(LostFacts { noted: time(noted.parse().ok()?), since: time(since.parse().ok()?) })
    }))
}

/// What is noted of the primary's losses.
pub(crate) fn lost_of(primary: &Primary) -> Result<Option<LostFacts>, CatalogueError> {
    primary.catalogue.read(|r| lost_by(r, primary.attached.id()))
}

/// Where it is noted, up to which line a drive's record names what the primary forgot.
pub(crate) fn forgot(drive: DriveId) -> String {
    format!("forgot {drive}")
}

/// Carries into the catalogue what a manifest has after `from`. In pieces, each of which records how far it reaches: the
/// catalogue never contains an event twice, wherever a crash comes in between. What is carried over is flushed first, so that
/// the catalogue never knows more than the medium. Lines that are not believed are returned.
pub(crate) fn replay(
    attached: &Attached,
    catalogue: &Catalogue,
    manifest: &mut Manifest,
    from: u64,
    each: &mut dyn FnMut(&Event),
) -> Result<Vec<String>, Refusal> {
    // At the end of every statement SQLite walks through the pages that the savepoint around it keeps in memory: of a thousand lines
    // in one, two thirds of the time was that.
    const PIECE: usize = 64;
    let (drive, role) = (attached.id(), attached.role());
    let mut piece: Vec<Line> = Vec::with_capacity(PIECE);
    let carry = |roles: &[RoleChange], piece: &mut Vec<Line>| -> Result<(), CatalogueError> {
        let Some(last) = piece.last() else { return Ok(()) };
        let position = Position { seq: last.event.seq, sum: last.sum };
        catalogue.follow(|tx| {
            piece.iter().try_for_each(|line| {
                let wrote_as = manifest::role_at(roles, line.event.seq).unwrap_or(role);
                apply::apply(tx, On { drive, role, wrote_as }, &line.event)
            })?;
            apply::reached(tx, drive, position)
        })?;
        piece.clear();
        Ok(())
    };
    let mut bad = Vec::new();
    let end = manifest.position().seq;
    if end > from {
        manifest.settle().map_err(|e| Refusal::Drive(attached.heed(e)))?;
        let changes = manifest::role_changes(&*attached.volume, attached.marker.generation);
        let mut roles = changes.map_err(|e| Refusal::Drive(attached.heed(e)))?;
        // For a copy nothing counts from before it last was the primary: what it had been proved to have may have changed.
        if role != DriveRole::Primary
            && let Some(last) = roles.iter().rposition(|change| change.was == DriveRole::Primary)
        {
            roles.drain(..last);
        }
        let mut failed = None;
        let mut take = |line: Line| {
            // Memory may show more than the medium has.
            if line.event.seq > end {
                return false;
            }
            each(&line.event);
            piece.push(line);
            if piece.len() == PIECE {
                failed = carry(&roles, &mut piece).err();
            }
            failed.is_none()
        };
        let reading = manifest::read_lines(&*attached.volume, from, &mut take);
        bad = reading.map_err(|e| Refusal::Drive(attached.heed(e)))?.bad;
        failed.map_or_else(|| carry(&roles, &mut piece), Err)?;
    }
    if manifest.position().seq != from {
        catalogue.write(|tx| apply::reached(tx, drive, manifest.position()))?;
    }
    Ok(bad)
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
    let on = On::now(attached.id(), attached.role());
    // Durable in the line: a start that does not find it here reads it there.
    catalogue.follow(|tx| {
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
