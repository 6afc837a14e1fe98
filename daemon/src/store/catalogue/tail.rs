//! How a drive was left, and which of its copies belong to the tail of an unclean stop.
use rusqlite::params;

use crate::model::drive::DriveId;
use crate::model::hash::ContentHash;
use crate::store::catalogue::accounts::{forget_meta, set_meta};
use crate::store::catalogue::read::Reader;
use crate::store::catalogue::{CatalogueError, Tried, Tx};

fn rested_key(drive: DriveId) -> String {
    format!("rested {drive}")
}

fn tail_key(drive: DriveId) -> String {
    format!("tail {drive}")
}

/// Records that a drive is let go in order, with its record ending at `end`.
pub fn rest(tx: &Tx<'_>, drive: DriveId, end: u64) -> Result<(), CatalogueError> {
    set_meta(tx, &rested_key(drive), &end.to_string())
}

/// A drive is opened whose record ends at `end`. Unless it was let go in order at just that, its tail is to be looked at.
pub fn wake(tx: &Tx<'_>, drive: DriveId, end: u64) -> Result<bool, CatalogueError> {
    let rested = Reader::new(tx).meta(&rested_key(drive))?;
    let clean = end == 0 || rested.is_some_and(|at| at == end.to_string());
    if !clean {
        set_meta(tx, &tail_key(drive), &end.to_string())?;
        // Seen to be gone before the stop: not lost by it. Told apart by order, not by dates (invariant I24).
        tx.execute(
            "UPDATE copy SET tail = 2 WHERE drive = ?1 AND state = 'missing' AND tail = 0",
            [drive.to_string()],
        )
        .tried("set what was missing apart")?;
    }
    forget_meta(tx, &rested_key(drive))?;
    Ok(clean)
}

/// The tail of a drive is marked.
pub fn marked(tx: &Tx<'_>, drive: DriveId) -> Result<(), CatalogueError> {
    forget_meta(tx, &tail_key(drive))
}

/// Marks a drive's copies of this content as part of its tail, wherever they lie by now.
pub fn mark(tx: &Tx<'_>, drive: DriveId, content: &ContentHash) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "UPDATE copy SET tail = 1 WHERE hash = ?2 AND +drive = ?1 AND state <> 'wanted' AND tail = 0",
    )
    .and_then(|mut s| s.execute(params![drive.to_string(), content.as_bytes()]))
    .tried("mark a copy")
    .map(drop)
}

impl Reader<'_> {
    /// Where the tail of a drive ends that is still to be marked.
    pub fn unmarked_tail(&self, drive: DriveId) -> Result<Option<u64>, CatalogueError> {
        Ok(self.meta(&tail_key(drive))?.and_then(|end| end.parse().ok()))
    }

    /// Whether a drive has a tail of which not all that is there was re-read yet.
    pub fn has_tail(&self, drive: DriveId) -> Result<bool, CatalogueError> {
        if self.unmarked_tail(drive)?.is_some() {
            return Ok(true);
        }
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM copy WHERE drive = ?1 AND tail = 1 AND state IN ('settled', 'verified'))",
            )
            .and_then(|mut s| s.query_row([drive.to_string()], |row| row.get(0)))
            .tried("look for a tail")
    }
}
