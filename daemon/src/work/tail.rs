//! The tail of an unclean stop: what a drive was given in the day before it is marked, so that the scrub re-reads it before anything
//! else, and what of it is gone is made anew from another drive.
//!
//! A drive that says of a flush that it is done and loses what it holds with the power cannot be told from an honest one before. So
//! after a stop without notice nothing of the last day is taken for granted (reliability: goal 15).
use crate::model::event::{Line, What};
use crate::model::hash::ContentHash;
use crate::plan::tail;
use crate::store::catalogue::{self, Catalogue};
use crate::store::manifest;
use crate::work::carry::GoOn;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::primary::Primary;

/// Copies marked in one transaction.
const PIECE: usize = 500;
/// How far back the record is read at first.
const LOOK_BACK: u64 = 20_000;

/// A drive was opened, and its record ends at `end`.
pub(crate) fn opened(attached: &Attached, catalogue: &Catalogue, end: u64) -> Result<(), Refusal> {
    let clean = match catalogue.write(|tx| catalogue::tail::wake(tx, attached.id(), end)) {
        Ok(clean) => clean,
        // A drive that is full has no room for a row, and can be read all the same. Nothing is acknowledged on it meanwhile.
        Err(e) if e.is_full() => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    if !clean {
        log::info!(end; "drive {} was not let go in order: what it was given last is re-read", attached.id().short());
    }
    Ok(())
}

/// Marks the tail of a drive, if there is one that is not marked yet. `true`: there was. Broken off, it begins anew.
pub(crate) fn mark(primary: &Primary, drive: &Attached, go_on: GoOn<'_>) -> Result<bool, Refusal> {
    let id = drive.id();
    let Some(end) = primary.catalogue.read(|r| r.unmarked_tail(id))? else { return Ok(false) };
    let Some(begin) = begin(drive, end, go_on)? else { return Ok(false) };
    let mut piece: Vec<ContentHash> = Vec::with_capacity(PIECE);
    let carry = |piece: &mut Vec<ContentHash>| {
        let marked = primary
            .catalogue
            .write(|tx| piece.iter().try_for_each(|hash| catalogue::tail::mark(tx, id, hash)));
        piece.clear();
        marked
    };
    let (mut failed, mut stopped) = (None, false);
    let mut take = |line: Line| {
        if line.event.seq > end {
            return false;
        }
        if let What::Stored { hash, .. } = line.event.what {
            piece.push(hash);
        }
        if piece.len() == PIECE {
            failed = carry(&mut piece).err();
            stopped = !go_on();
        }
        failed.is_none() && !stopped
    };
    let read = manifest::read_lines(&*drive.volume, begin.saturating_sub(1), &mut take);
    read.map_err(|e| Refusal::Drive(drive.heed(e)))?;
    if stopped {
        return Ok(false);
    }
    failed.map_or_else(|| carry(&mut piece), Err)?;
    primary.catalogue.write(|tx| catalogue::tail::marked(tx, id))?;
    Ok(true)
}

/// The first record of the tail that ends at `end`. `None`: asked to stop.
fn begin(drive: &Attached, end: u64, go_on: GoOn<'_>) -> Result<Option<u64>, Refusal> {
    let mut back = LOOK_BACK;
    loop {
        let after = end.saturating_sub(back);
        let mut records = tail::Records::default();
        let mut take = |line: Line| {
            if line.event.seq <= end {
                records.take(line.event.seq, line.event.at);
            }
            line.event.seq < end
        };
        let read = manifest::read_lines(&*drive.volume, after, &mut take);
        read.map_err(|e| Refusal::Drive(drive.heed(e)))?;
        match records.begins() {
            Some(seq) => return Ok(Some(seq)),
            None if after == 0 => return Ok(Some(1)),
            None if !go_on() => return Ok(None),
            None => back = back.saturating_mul(4),
        }
    }
}
