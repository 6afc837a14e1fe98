//! The queue: what a drive lacks, what lies on it under an old name or with an old time, and what is to leave it.
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use crate::model::drive::DriveId;
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::store::catalogue::read::{Reader, at, count, hash, path};
use crate::store::catalogue::{CatalogueError, Tried, nanos};

/// A copy that a drive lacks, with what is needed to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRow {
    /// The name's row id.
    pub name: i64,
    /// The name it has on the primary, and is to get on the other drive.
    pub path: RelPath,
    /// Its content.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// When the box received it.
    pub received: Timestamp,
    /// From whom.
    pub by: String,
    /// Failed attempts so far.
    pub tries: u32,
    /// There is a copy, and it is damaged.
    pub damaged: bool,
}

/// A copy that lies under an old name on a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedRow {
    /// The name's row id.
    pub name: i64,
    /// Where it lies on the drive.
    pub at: RelPath,
    /// Where it belongs.
    pub path: RelPath,
    /// The modification time it is to have.
    pub mtime: Timestamp,
}

/// What a drive holds under a name that no longer has this content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingRow {
    /// Its name on the drive.
    pub at: RelPath,
    /// Its content.
    pub hash: ContentHash,
    /// Since when it is to leave.
    pub since: Timestamp,
    /// Who caused it.
    pub by: String,
    /// `deleted` or `replaced`.
    pub why: String,
}

/// Copies of a drive of which there is no good one on any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hopeless {
    /// It lacks them.
    pub wanted: u64,
    /// They are bad on it, or gone.
    pub bad: u64,
}

impl Reader<'_> {
    /// The next copies a drive lacks: small before big, newest first, those due for another try. `latest`: no try is put off
    /// further than this. `adding`: only those for which nothing on the drive has to make room, as far as is known.
    pub fn wanted(
        &self,
        drive: DriveId,
        now: Timestamp,
        latest: Timestamp,
        adding: bool,
        limit: usize,
    ) -> Result<Vec<WantedRow>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT c.name, n.path, c.hash, n.size, n.mtime, n.received, n.by, c.tries
                 FROM copy c JOIN name n ON n.id = c.name
                 WHERE c.drive = ?1 AND c.state = 'wanted' AND (c.retry <= ?2 OR c.retry > ?3)
                   AND (NOT ?5 OR NOT EXISTS
                     (SELECT 1 FROM leaving l WHERE l.drive = ?1 AND l.at = n.path AND l.hash <> c.hash))
                 ORDER BY c.big, c.name DESC LIMIT ?4",
            )
            .and_then(|mut s| {
                let due = params![drive.to_string(), nanos(now), nanos(latest), limit as i64, adding];
                s.query_map(due, wanted_row(false))?.collect()
            })
            .tried("read the queue")
    }

    /// Damaged copies of a drive that some other drive has a good one of, as far as is known, due for another try like those
    /// of [`Reader::wanted`]. `from`: only what this other drive has.
    pub fn curable(
        &self,
        drive: DriveId,
        from: Option<DriveId>,
        now: Timestamp,
        latest: Timestamp,
        limit: usize,
    ) -> Result<Vec<WantedRow>, CatalogueError> {
        self.bad("c.state = 'damaged'", drive, from, [now, latest], limit)
    }

    /// The same for copies that the drive lost in the tail of an unclean stop. What other hands removed is for people to decide about.
    pub fn lost(
        &self,
        drive: DriveId,
        now: Timestamp,
        latest: Timestamp,
        limit: usize,
    ) -> Result<Vec<WantedRow>, CatalogueError> {
        self.bad("c.tail = 1 AND +c.state = 'missing'", drive, None, [now, latest], limit)
    }

    fn bad(
        &self,
        which: &str,
        drive: DriveId,
        from: Option<DriveId>,
        [now, latest]: [Timestamp; 2],
        limit: usize,
    ) -> Result<Vec<WantedRow>, CatalogueError> {
        self.connection
            .prepare_cached(&format!(
                "SELECT c.name, n.path, c.hash, n.size, n.mtime, n.received, n.by, c.tries
                 FROM copy c JOIN name n ON n.id = c.name
                 WHERE c.drive = ?1 AND {which} AND c.moved = 0 AND (c.retry <= ?2 OR c.retry > ?3)
                   AND EXISTS (SELECT 1 FROM copy g WHERE g.name = c.name AND g.state IN ('settled', 'verified')
                               AND (?5 IS NULL OR g.drive = ?5))
                 LIMIT ?4"
            ))
            .and_then(|mut s| {
                let from = from.map(|id| id.to_string());
                let due = params![drive.to_string(), nanos(now), nanos(latest), limit as i64, from];
                s.query_map(due, wanted_row(true))?.collect()
            })
            .tried("read what can be healed")
    }

    /// Copies that a drive lacks or has bad, and that no drive has good.
    pub fn hopeless(&self, drive: DriveId) -> Result<Hopeless, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT coalesce(sum(c.state = 'wanted'), 0), coalesce(sum(c.state <> 'wanted'), 0) FROM copy c
                 WHERE c.drive = ?1 AND c.state IN ('wanted', 'missing', 'damaged')
                   AND NOT EXISTS (SELECT 1 FROM copy g WHERE g.name = c.name AND g.state IN ('settled', 'verified'))",
            )
            .and_then(|mut s| {
                s.query_row([drive.to_string()], |row| {
                    Ok(Hopeless { wanted: count(row, 0)?, bad: count(row, 1)? })
                })
            })
            .tried("count what has no good copy")
    }

    /// Their names, the first of them.
    pub fn hopeless_names(&self, drive: DriveId, limit: usize) -> Result<Vec<RelPath>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT n.path FROM copy c JOIN name n ON n.id = c.name
                 WHERE c.drive = ?1 AND c.state IN ('wanted', 'missing', 'damaged')
                   AND NOT EXISTS (SELECT 1 FROM copy g WHERE g.name = c.name AND g.state IN ('settled', 'verified'))
                 ORDER BY n.path LIMIT ?2",
            )
            .and_then(|mut s| {
                s.query_map(params![drive.to_string(), limit as i64], |row| path(row, 0))?.collect()
            })
            .tried("read what has no good copy")
    }

    /// Whether anything is missing on a drive, or bad, of which there is a good copy, or is not where it belongs.
    pub fn lacks_what_is_good(&self, drive: DriveId) -> Result<bool, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM copy c
                                WHERE c.drive = ?1 AND c.state IN ('wanted', 'missing', 'damaged')
                                  AND EXISTS (SELECT 1 FROM copy g WHERE g.name = c.name AND g.state IN ('settled', 'verified')))
                     OR EXISTS (SELECT 1 FROM copy WHERE drive = ?1 AND moved = 1)",
            )
            .and_then(|mut s| s.query_row([drive.to_string()], |row| row.get(0)))
            .tried("look for what could be copied")
    }

    /// Whether anything is missing on a drive, bad, or not where it belongs.
    pub fn lacks_any(&self, drive: DriveId) -> Result<bool, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM copy WHERE drive = ?1 AND state IN ('wanted', 'missing', 'damaged'))
                     OR EXISTS (SELECT 1 FROM copy WHERE drive = ?1 AND moved = 1)",
            )
            .and_then(|mut s| s.query_row([drive.to_string()], |row| row.get(0)))
            .tried("look for what is lacking")
    }

    /// Copies that lie under an old name on a drive.
    pub fn moved(&self, drive: DriveId, limit: usize) -> Result<Vec<MovedRow>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT c.name, c.at, n.path, n.mtime FROM copy c JOIN name n ON n.id = c.name
                 WHERE c.drive = ?1 AND c.moved = 1 LIMIT ?2",
            )
            .and_then(|mut s| {
                s.query_map(params![drive.to_string(), limit as i64], |row| {
                    Ok(MovedRow {
                        name: row.get(0)?,
                        at: path(row, 1)?,
                        path: path(row, 2)?,
                        mtime: at(row, 3)?,
                    })
                })?
                .collect()
            })
            .tried("read renames")
    }

    /// What is to leave a drive since before a time, oldest first. What was put back meanwhile, and is only to be looked at on
    /// the drive once more, stays.
    pub fn leaving(
        &self,
        drive: DriveId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<LeavingRow>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT at, hash, since, by, why FROM leaving l WHERE drive = ?1 AND since <= ?2 AND NOT EXISTS
                   (SELECT 1 FROM copy c WHERE c.drive = ?1 AND c.at = l.at AND c.hash = l.hash AND c.state = 'wanted')
                 ORDER BY since LIMIT ?3",
            )
            .and_then(|mut s| {
                s.query_map(params![drive.to_string(), nanos(before), limit as i64], leaving_row)?.collect()
            })
            .tried("read what leaves")
    }

    /// What is to leave a drive under one name.
    pub fn leaving_at(&self, drive: DriveId, name: &RelPath) -> Result<Option<LeavingRow>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT at, hash, since, by, why FROM leaving WHERE drive = ?1 AND at = ?2")
            .and_then(|mut s| s.query_row(params![drive.to_string(), name.as_str()], leaving_row).optional())
            .tried("read what leaves")
    }
}

fn wanted_row(damaged: bool) -> impl Fn(&Row<'_>) -> rusqlite::Result<WantedRow> {
    move |row| {
        Ok(WantedRow {
            name: row.get(0)?,
            path: path(row, 1)?,
            hash: hash(row, 2)?,
            size: count(row, 3)?,
            mtime: at(row, 4)?,
            received: at(row, 5)?,
            by: row.get(6)?,
            tries: row.get(7)?,
            damaged,
        })
    }
}

fn leaving_row(row: &Row<'_>) -> rusqlite::Result<LeavingRow> {
    Ok(LeavingRow {
        at: path(row, 0)?,
        hash: hash(row, 1)?,
        since: at(row, 2)?,
        by: row.get(3)?,
        why: row.get(4)?,
    })
}
