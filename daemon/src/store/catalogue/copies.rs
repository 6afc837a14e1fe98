//! Copies: which drive holds which name's content, in which state; assets; and how both change with events.
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::model::copy::{CopyEvent, CopyState};
use crate::model::drive::{DriveId, DriveRole};
use crate::model::event::{Event, What};
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::store::catalogue::names::below;
use crate::store::catalogue::read::{Reader, at, at_or_none, count, hash, parsed, path};
use crate::store::catalogue::{CatalogueError, Tried, Tx, checksums, media, nanos};

/// A copy and its dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRow {
    /// The name's row id.
    pub name: i64,
    /// The drive.
    pub drive: DriveId,
    /// Its role.
    pub role: DriveRole,
    /// Its name on the drive.
    pub at: RelPath,
    /// Content it should have.
    pub hash: ContentHash,
    /// State.
    pub state: CopyState,
    /// Durable since.
    pub settled: Option<Timestamp>,
    /// First read back equal.
    pub verified: Option<Timestamp>,
    /// Last read back equal.
    pub reread: Option<Timestamp>,
    /// It was given to the drive shortly before a stop without notice, and was not re-read since.
    pub tail: bool,
}

/// Counts of one drive's copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Copies it lacks.
    pub wanted: u64,
    /// Their bytes.
    pub wanted_bytes: u64,
    /// The oldest of them is wanted since.
    pub oldest_wanted: Option<Timestamp>,
    /// Durable, not yet read back.
    pub settled: u64,
    /// Read back and equal.
    pub verified: u64,
    /// Gone.
    pub missing: u64,
    /// Of these, no other drive is known to have the content.
    #[serde(default)]
    pub nowhere: u64,
    /// Different.
    pub damaged: u64,
    /// Waiting to go to this drive's trash.
    pub leaving: u64,
    /// Not read back for over a month.
    #[serde(default)]
    pub overdue: u64,
    /// All others that were ever read back, were so since.
    #[serde(default)]
    pub read_back_since: Option<Timestamp>,
}

pub(super) fn asset(
    tx: &Tx<'_>,
    hash: &ContentHash,
    size: u64,
    received: Timestamp,
    sha1: Option<&str>,
    sha256: Option<&str>,
) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "INSERT INTO asset (hash, size, received, sha1, sha256) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (hash) DO UPDATE SET received = min(received, excluded.received),
           sha1 = coalesce(sha1, excluded.sha1), sha256 = coalesce(sha256, excluded.sha256)",
    )
    .and_then(|mut s| s.execute(params![hash.as_bytes(), size as i64, nanos(received), sha1, sha256]))
    .tried("store an asset")?;
    media::unread(tx, hash)
}

pub(super) fn settled_on_primary(
    tx: &Tx<'_>,
    drive: DriveId,
    name: i64,
    hash: &ContentHash,
    path: &RelPath,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "INSERT INTO copy (name, drive, hash, at, state, big, since, settled)
         VALUES (?1, ?2, ?3, ?4, 'settled', 0, ?5, ?5)
         ON CONFLICT (name, drive) DO UPDATE SET hash = ?3, at = ?4, state = 'settled', since = ?5, settled = ?5,
           verified = NULL, reread = NULL, tries = 0, retry = 0, moved = 0, tail = 0
         WHERE hash <> ?3 OR state IN ('wanted', 'missing', 'damaged')",
    )
    .and_then(|mut s| s.execute(params![name, drive.to_string(), hash.as_bytes(), path.as_str(), nanos(now)]))
    .tried("store a copy")
    .map(drop)
}

/// Every other drive should have it, too. A copy it has already of the same content stays as it is.
pub(super) fn want_elsewhere(
    tx: &Tx<'_>,
    primary: DriveId,
    name: i64,
    hash: &ContentHash,
    path: &RelPath,
    big: bool,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "INSERT INTO copy (name, drive, hash, at, state, big, since)
         SELECT ?1, id, ?2, ?3, 'wanted', ?4, ?5 FROM drive WHERE id <> ?6
         ON CONFLICT (name, drive) DO UPDATE SET hash = ?2, at = ?3, state = 'wanted', big = ?4, since = ?5,
           settled = NULL, verified = NULL, reread = NULL, tries = 0, retry = 0, moved = 0, tail = 0
         WHERE hash <> ?2",
    )
    .and_then(|mut s| {
        s.execute(params![name, hash.as_bytes(), path.as_str(), big, nanos(now), primary.to_string()])
    })
    .tried("queue copies")
    .map(drop)
}

/// The content that other drives hold for a name stops being that name's content.
pub(super) fn leave(
    tx: &Tx<'_>,
    primary: DriveId,
    name: i64,
    by: &str,
    why: &str,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO leaving (drive, at, hash, since, by, why, received)
         SELECT c.drive, c.at, c.hash, ?3, ?4, ?5, n.received FROM copy c JOIN name n ON n.id = c.name
         WHERE c.name = ?1 AND c.drive <> ?2 AND c.settled IS NOT NULL",
    )
    .and_then(|mut s| s.execute(params![name, primary.to_string(), nanos(now), by, why]))
    .tried("let copies go")
    .map(drop)
}

pub(super) fn leave_tree(
    tx: &Tx<'_>,
    primary: DriveId,
    fold: &str,
    by: &str,
    why: &str,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    let (low, high) = below(fold);
    tx.execute(
        "INSERT OR IGNORE INTO leaving (drive, at, hash, since, by, why, received)
         SELECT c.drive, c.at, c.hash, ?3, ?4, ?5, n.received FROM copy c JOIN name n ON n.id = c.name
         WHERE (n.fold = ?1 OR (n.fold >= ?6 AND n.fold < ?7)) AND c.drive <> ?2 AND c.settled IS NOT NULL",
        params![fold, primary.to_string(), nanos(now), by, why, low, high],
    )
    .tried("let copies go")
    .map(drop)
}

/// Copies on other drives below a renamed name have to follow.
pub(super) fn requeue_moved(tx: &Tx<'_>, primary: DriveId, fold: &str) -> Result<(), CatalogueError> {
    let (low, high) = below(fold);
    tx.execute(
        "UPDATE copy SET moved = 1 WHERE drive <> ?1 AND settled IS NOT NULL
           AND name IN (SELECT id FROM name WHERE fold = ?2 OR (fold >= ?3 AND fold < ?4))",
        params![primary.to_string(), fold, low, high],
    )
    .tried("queue renames")
    .map(drop)
}

/// Copies of one name on other drives have to get its time.
pub(super) fn follow_time(tx: &Tx<'_>, primary: DriveId, fold: &str) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "UPDATE copy SET moved = 1 WHERE drive <> ?1 AND settled IS NOT NULL
           AND name = (SELECT id FROM name WHERE fold = ?2 AND hash IS NOT NULL)",
    )
    .and_then(|mut s| s.execute(params![primary.to_string(), fold]))
    .tried("queue a time")
    .map(drop)
}

/// Events about the copies of a drive itself; `path` in them is the name on that drive.
pub(super) fn apply_other(tx: &Tx<'_>, drive: DriveId, event: &Event) -> Result<(), CatalogueError> {
    let id = drive.to_string();
    let now = nanos(event.at);
    match &event.what {
        What::Stored { .. } => record_copy(tx, &id, event)?,
        What::Moved { path, to, .. } => {
            checksums::stale_copy(tx, drive, path)?;
            // Whether it lies where it belongs now is compared and not taken for granted: in a replay the names are already
            // those of today, and this may be the first of several moves. What is only wanted does not lie anywhere.
            tx.prepare_cached(
                "UPDATE copy SET at = ?3, moved = (SELECT n.path <> ?3 FROM name n WHERE n.id = copy.name)
                 WHERE drive = ?1 AND at = ?2 AND settled IS NOT NULL",
            )
            .and_then(|mut s| s.execute(params![id, path.as_str(), to.as_str()]))
            .tried("record a rename")?;
        }
        What::Trashed { path, to, by, why } => {
            checksums::stale_leaving(tx, drive, path)?;
            tx.execute(
                "INSERT INTO trashed (drive, path, top, at, hash, since, by, why)
                 SELECT ?1, ?2, ?2, ?3, hash, ?4, ?5, ?6 FROM leaving WHERE drive = ?1 AND at = ?2",
                params![id, path.as_str(), to, now, by, why],
            )
            .tried("record the trash")?;
            tx.execute("DELETE FROM leaving WHERE drive = ?1 AND at = ?2", params![id, path.as_str()])
                .tried("let a copy go")?;
        }
        What::Proved { path, hash } => {
            tx.prepare_cached(
                "UPDATE copy SET state = 'verified', verified = coalesce(verified, ?4), reread = ?4, tail = 0
                 WHERE drive = ?1 AND at = ?2 AND hash = ?3 AND state IN ('settled', 'verified')",
            )
            .and_then(|mut s| s.execute(params![id, path.as_str(), hash.as_bytes(), now]))
            .tried("record a proof")?;
        }
        What::Damaged { path, hash, .. } => {
            tx.prepare_cached(
                "UPDATE copy SET state = 'damaged', since = ?4, tail = 0 WHERE drive = ?1 AND at = ?2 AND hash = ?3
                   AND state IN ('settled', 'verified')",
            )
            .and_then(|mut s| s.execute(params![id, path.as_str(), hash.as_bytes(), now]))
            .tried("record damage")?;
        }
        What::Touched { path, mtime } => {
            // Compared, as with renames.
            tx.prepare_cached(
                "UPDATE copy SET moved = (SELECT n.path <> ?2 OR n.mtime <> ?3 FROM name n WHERE n.id = copy.name)
                 WHERE drive = ?1 AND at = ?2 AND settled IS NOT NULL",
            )
            .and_then(|mut s| s.execute(params![id, path.as_str(), nanos(*mtime)]))
            .tried("record a time")?;
        }
        // The copy stays damaged until a new one is stored.
        What::Quarantined { .. }
        | What::Person { .. }
        | What::Device { .. }
        | What::Revoked { .. }
        | What::Quota { .. }
        | What::Password { .. }
        | What::Answered { .. }
        | What::Folder { .. }
        | What::Retired { .. }
        | What::Role { .. } => {}
    }
    Ok(())
}

/// A copy that was made, and read back equal before it got its name.
fn record_copy(tx: &Tx<'_>, id: &str, event: &Event) -> Result<(), CatalogueError> {
    let What::Stored { path, hash, sha1, sha256, received, mtime, .. } = &event.what else { return Ok(()) };
    let now = nanos(event.at);
    // The primary's list gains the SHA-256 that was computed in this pass.
    checksums::stale_everywhere(tx, *received)?;
    // The name's time may be another by now than when the copy was begun.
    tx.prepare_cached(
        "UPDATE copy SET state = 'verified', settled = ?4, verified = ?4, reread = ?4, tries = 0, retry = 0, tail = 0,
           moved = (SELECT n.mtime <> ?5 FROM name n WHERE n.id = copy.name)
         WHERE drive = ?1 AND at = ?2 AND hash = ?3 AND state IN ('wanted', 'settled', 'missing', 'damaged')",
    )
    .and_then(|mut s| s.execute(params![id, path.as_str(), hash.as_bytes(), now, nanos(*mtime)]))
    .tried("record a copy")?;
    tx.prepare_cached(
        "UPDATE asset SET sha1 = coalesce(sha1, ?2), sha256 = coalesce(sha256, ?3) WHERE hash = ?1",
    )
    .and_then(|mut s| s.execute(params![hash.as_bytes(), sha1, sha256]))
    .tried("record hashes")?;
    tx.prepare_cached("DELETE FROM leaving WHERE drive = ?1 AND at = ?2 AND hash = ?3")
        .and_then(|mut s| s.execute(params![id, path.as_str(), hash.as_bytes()]))
        .tried("keep a copy")
        .map(drop)
}

/// A state observed outside the manifest (missing, requeued), through the one table of transitions.
pub fn observe(
    tx: &Tx<'_>,
    name: i64,
    drive: DriveId,
    event: CopyEvent,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    let id = drive.to_string();
    let state: Option<CopyState> = tx
        .prepare_cached("SELECT state FROM copy WHERE name = ?1 AND drive = ?2")
        .and_then(|mut s| s.query_row(params![name, id], |row| parsed(row, 0)).optional())
        .tried("read a copy's state")?;
    let Some(Ok(next)) = state.map(|s| s.on(event)) else { return Ok(()) };
    if state == Some(next) {
        return Ok(());
    }
    // A copy that is to be made anew lies nowhere: it has no dates, and belongs under the name's present path. One that was away
    // and is there again is as good as new: what was read of it before proves nothing any more.
    let (wanted, again) = (next == CopyState::Wanted, next == CopyState::Settled);
    tx.prepare_cached(
        "UPDATE copy SET state = ?3, since = ?4, settled = CASE WHEN ?5 THEN NULL WHEN ?6 THEN ?4 ELSE settled END,
           verified = CASE WHEN ?5 OR ?6 THEN NULL ELSE verified END,
           reread = CASE WHEN ?5 OR ?6 THEN NULL ELSE reread END,
           moved = CASE WHEN ?5 THEN 0 ELSE moved END,
           tail = CASE WHEN ?5 OR ?6 THEN 0 ELSE tail END,
           at = CASE WHEN ?5 THEN (SELECT path FROM name WHERE id = ?1) ELSE at END
         WHERE name = ?1 AND drive = ?2",
    )
    .and_then(|mut s| s.execute(params![name, id, next.as_str(), nanos(now), wanted, again]))
    .tried("change a copy's state")
    .map(drop)
}

/// An attempt at a copy failed: try again not before `retry`.
pub fn failed(tx: &Tx<'_>, name: i64, drive: DriveId, retry: Timestamp) -> Result<(), CatalogueError> {
    tx.prepare_cached("UPDATE copy SET tries = tries + 1, retry = ?3 WHERE name = ?1 AND drive = ?2")
        .and_then(|mut s| s.execute(params![name, drive.to_string(), nanos(retry)]))
        .tried("record a failure")
        .map(drop)
}

/// Nothing is known any more of what a drive holds: its record is about to be read from its beginning.
pub fn forget_drive(tx: &Tx<'_>, drive: DriveId, now: Timestamp) -> Result<(), CatalogueError> {
    let id = drive.to_string();
    tx.execute(
        "UPDATE copy SET state = 'wanted', since = ?2, settled = NULL, verified = NULL, reread = NULL, tries = 0,
           retry = 0, moved = 0, tail = 0, at = (SELECT path FROM name WHERE id = copy.name) WHERE drive = ?1",
        params![id, nanos(now)],
    )
    .and_then(|_| tx.execute("UPDATE drive SET seq = 0, sum = '' WHERE id = ?1", [&id]))
    .tried("forget a drive's copies")
    .map(drop)
}

/// What waits for its next try on a drive need not wait any longer.
pub fn try_again(tx: &Tx<'_>, drive: DriveId) -> Result<(), CatalogueError> {
    tx.prepare_cached("UPDATE copy SET retry = 0 WHERE drive = ?1 AND state = 'wanted' AND retry > 0")
        .and_then(|mut s| s.execute([drive.to_string()]))
        .tried("let copies be tried again")
        .map(drop)
}

/// Fills the queue of a drive that is new in the pool: everything, at once.
pub fn want_everything(tx: &Tx<'_>, drive: DriveId, now: Timestamp) -> Result<(), CatalogueError> {
    tx.execute(
        "INSERT OR IGNORE INTO copy (name, drive, hash, at, state, big, since)
         SELECT id, ?1, hash, path, 'wanted', size > ?2, ?3 FROM name WHERE shelf = 'photos' AND hash IS NOT NULL",
        params![drive.to_string(), super::apply::BIG as i64, nanos(now)],
    )
    .tried("queue everything")
    .map(drop)
}

/// A drive has content under a name that is not the one it belongs under: it is to be moved there, if a name of this content
/// waits for its copy. `false`: none does.
pub fn lies_at(
    tx: &Tx<'_>,
    drive: DriveId,
    content: &ContentHash,
    at: &RelPath,
    now: Timestamp,
) -> Result<bool, CatalogueError> {
    tx.prepare_cached(
        "UPDATE copy SET at = ?3, moved = 1, state = 'settled', since = ?4, settled = ?4
         WHERE drive = ?1 AND name = (SELECT c.name FROM copy c WHERE c.hash = ?2 AND c.drive = ?1 AND c.state = 'wanted'
                                      AND c.settled IS NULL AND c.at <> ?3 LIMIT 1)",
    )
    .and_then(|mut s| s.execute(params![drive.to_string(), content.as_bytes(), at.as_str(), nanos(now)]))
    .tried("note where a copy lies")
    .map(|changed| changed > 0)
}

/// A drive has content under a name that the pool does not have any more.
pub fn leave_stray(
    tx: &Tx<'_>,
    drive: DriveId,
    content: &ContentHash,
    at: &RelPath,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    tx.execute(
        "INSERT OR IGNORE INTO leaving (drive, at, hash, since, by, why, received)
         VALUES (?1, ?2, ?3, ?4, '', 'deleted', ?4)",
        params![drive.to_string(), at.as_str(), content.as_bytes(), nanos(now)],
    )
    .tried("let a copy go")
    .map(drop)
}

pub(super) fn copy_row(row: &Row<'_>) -> rusqlite::Result<CopyRow> {
    Ok(CopyRow {
        name: row.get(0)?,
        drive: parsed(row, 1)?,
        role: parsed(row, 2)?,
        at: path(row, 3)?,
        hash: hash(row, 4)?,
        state: parsed(row, 5)?,
        settled: at_or_none(row, 6)?,
        verified: at_or_none(row, 7)?,
        reread: at_or_none(row, 8)?,
        tail: row.get(9)?,
    })
}

pub(super) const COPY: &str =
    "SELECT c.name, c.drive, d.role, c.at, c.hash, c.state, c.settled, c.verified, c.reread, c.tail = 1
                    FROM copy c JOIN drive d ON d.id = c.drive";

impl Reader<'_> {
    /// Another name of this content with a verified copy on a drive.
    pub fn verified_twin(
        &self,
        drive: DriveId,
        content: &ContentHash,
    ) -> Result<Option<CopyRow>, CatalogueError> {
        self.connection
            .prepare_cached(&format!(
                "{COPY} WHERE c.hash = ?2 AND +c.drive = ?1 AND +c.state = 'verified' AND +c.moved = 0 LIMIT 1"
            ))
            .and_then(|mut s| {
                s.query_row(params![drive.to_string(), content.as_bytes()], copy_row).optional()
            })
            .tried("look a copy up")
    }

    /// All copies of a name.
    pub fn copies_of_name(&self, name: i64) -> Result<Vec<CopyRow>, CatalogueError> {
        self.connection
            .prepare_cached(&format!("{COPY} WHERE c.name = ?1 ORDER BY d.role DESC, d.id"))
            .and_then(|mut s| s.query_map([name], copy_row)?.collect())
            .tried("read copies")
    }

    /// Whether a name's copy on this drive is known to be damaged.
    pub fn is_damaged(&self, name: i64, drive: DriveId) -> Result<bool, CatalogueError> {
        self.connection
            .prepare_cached("SELECT 1 FROM copy WHERE name = ?1 AND drive = ?2 AND state = 'damaged'")
            .and_then(|mut s| s.exists(params![name, drive.to_string()]))
            .tried("read a copy")
    }

    /// A page of one drive's copies that should be there, after a name id, optionally below a folder.
    pub fn copies_on(
        &self,
        drive: DriveId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<CopyRow>, CatalogueError> {
        self.connection
            .prepare_cached(&format!(
                "{COPY} WHERE +c.drive = ?1 AND c.name > ?2 AND +c.state <> 'wanted' ORDER BY c.name LIMIT ?3"
            ))
            .and_then(|mut s| {
                s.query_map(params![drive.to_string(), after, limit as i64], copy_row)?.collect()
            })
            .tried("read copies")
    }

    /// Which name has a copy on this drive under `at`.
    pub fn copy_at(&self, drive: DriveId, name: &RelPath) -> Result<Option<CopyRow>, CatalogueError> {
        self.connection
            .prepare_cached(&format!("{COPY} WHERE c.drive = ?1 AND c.at = ?2 AND c.state <> 'wanted'"))
            .and_then(|mut s| s.query_row(params![drive.to_string(), name.as_str()], copy_row).optional())
            .tried("read a copy")
    }

    /// Counts of a drive's copies.
    pub fn tally(&self, drive: DriveId, overdue_before: Timestamp) -> Result<Tally, CatalogueError> {
        let id = drive.to_string();
        let mut tally = Tally::default();
        let states: Vec<(CopyState, u64)> = self
            .connection
            .prepare_cached("SELECT state, count(*) FROM copy WHERE drive = ?1 GROUP BY state")
            .and_then(|mut s| s.query_map([&id], |row| Ok((parsed(row, 0)?, count(row, 1)?)))?.collect())
            .tried("count copies")?;
        for (state, n) in states {
            match state {
                CopyState::Wanted => tally.wanted = n,
                CopyState::Settled => tally.settled = n,
                CopyState::Verified => tally.verified = n,
                CopyState::Missing => tally.missing = n,
                CopyState::Damaged => tally.damaged = n,
            }
        }
        if tally.wanted > 0 {
            (tally.wanted_bytes, tally.oldest_wanted) = self
                .connection
                .query_row(
                    "SELECT coalesce(sum(n.size), 0), min(c.since) FROM copy c JOIN name n ON n.id = c.name
                     WHERE c.drive = ?1 AND c.state = 'wanted'",
                    [&id],
                    |row| Ok((count(row, 0)?, at_or_none(row, 1)?)),
                )
                .tried("count the queue")?;
        }
        if tally.missing > 0 {
            tally.nowhere = self
                .connection
                .query_row(
                    "SELECT count(*) FROM copy c WHERE c.drive = ?1 AND c.state = 'missing' AND NOT EXISTS
                       (SELECT 1 FROM copy g WHERE g.hash = c.hash AND +g.drive <> ?1 AND g.state IN ('settled', 'verified'))",
                    [&id],
                    |row| count(row, 0),
                )
                .tried("count what is on no other drive")?;
        }
        tally.leaving = self
            .connection
            .query_row("SELECT count(*) FROM leaving WHERE drive = ?1", [&id], |row| count(row, 0))
            .tried("count what leaves")?;
        let scrubbed = self.reread(drive, overdue_before)?;
        (tally.overdue, tally.read_back_since) = (scrubbed.overdue, scrubbed.oldest);
        Ok(tally)
    }

    /// Which asset has this SHA-256 or SHA-1, in lower-case hex. Reads all of them: asked by people, and seldom.
    pub fn asset_by_sha(&self, digits: &str) -> Result<Option<ContentHash>, CatalogueError> {
        if !matches!(digits.len(), 40 | 64) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        self.connection
            .prepare_cached("SELECT hash FROM asset WHERE sha256 = ?1 OR sha1 = ?1 LIMIT 1")
            .and_then(|mut s| s.query_row([digits], |row| hash(row, 0)).optional())
            .tried("look a hash up")
    }

    /// When the last asset was received before a moment. Reads all of them: asked when a primary lost its record.
    pub fn last_received_before(&self, moment: Timestamp) -> Result<Option<Timestamp>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT max(received) FROM asset WHERE received < ?1")
            .and_then(|mut s| s.query_row([nanos(moment)], |row| at_or_none(row, 0)))
            .tried("find the last photo before another")
    }

    /// Size, first receipt and hashes of an asset.
    pub fn asset(&self, hash: &ContentHash) -> Result<Option<AssetRow>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT size, received, sha1, sha256 FROM asset WHERE hash = ?1")
            .and_then(|mut s| {
                s.query_row([hash.as_bytes()], |row| {
                    Ok(AssetRow {
                        size: count(row, 0)?,
                        received: at(row, 1)?,
                        sha1: row.get(2)?,
                        sha256: row.get(3)?,
                    })
                })
                .optional()
            })
            .tried("read an asset")
    }
}

/// What is known of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetRow {
    /// Bytes.
    pub size: u64,
    /// First receipt.
    pub received: Timestamp,
    /// SHA-1, hex.
    pub sha1: Option<String>,
    /// SHA-256, hex.
    pub sha256: Option<String>,
}
