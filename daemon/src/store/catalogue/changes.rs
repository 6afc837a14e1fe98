//! What was changed or taken away on the primary and not answered for yet, what vanished from it, and where lost content lies.
use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::model::drive::DriveId;
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::store::catalogue::names::{NameRow, name_row};
use crate::store::catalogue::read::{Reader, at, count, hash, parsed, path};
use crate::store::catalogue::{CatalogueError, Tried, Tx, nanos};

/// A change on the primary that took content from its name, in the order of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    /// Rises with every change.
    pub id: i64,
    /// The name.
    pub path: RelPath,
    /// The content it had.
    pub hash: ContentHash,
    /// Bytes of that.
    pub size: u64,
    /// Its modification time.
    pub mtime: Timestamp,
    /// When the box had received it.
    pub received: Timestamp,
    /// From whom.
    pub sender: String,
    /// When the change was recorded.
    pub since: Timestamp,
    /// Who made it; empty: other hands.
    pub by: String,
    /// `deleted` or `replaced`.
    pub why: String,
}

/// Files of a drive that are gone, and nobody asked for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingCount {
    /// How many.
    pub count: u64,
    /// When the first of them was found to be.
    pub first: Timestamp,
    /// And the last.
    pub last: Timestamp,
}

/// Where content lies, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRow {
    /// On which drive.
    pub drive: DriveId,
    /// Under which name; or the name it had, if it is in the trash.
    pub path: RelPath,
    /// In the trash: where the name `top`, which was moved there, lies now.
    pub trash: Option<(String, RelPath)>,
}

const CHANGE: &str = "SELECT id, path, hash, size, mtime, received, sender, since, by, why FROM trashed";

fn change_row(row: &Row<'_>) -> rusqlite::Result<ChangeRow> {
    Ok(ChangeRow {
        id: row.get(0)?,
        path: path(row, 1)?,
        hash: hash(row, 2)?,
        size: count(row, 3)?,
        mtime: at(row, 4)?,
        received: at(row, 5)?,
        sender: row.get(6)?,
        since: at(row, 7)?,
        by: row.get(8)?,
        why: row.get(9)?,
    })
}

impl Reader<'_> {
    /// The last change that nobody has answered for; 0: there is none.
    pub fn newest_change(&self) -> Result<i64, CatalogueError> {
        self.connection
            .prepare_cached("SELECT coalesce(max(id), 0) FROM trashed WHERE open = 1")
            .and_then(|mut s| s.query_row([], |row| row.get(0)))
            .tried("look for changes")
    }

    /// When which names were changed, after the change `after`, in the order of the record.
    pub fn changes_after(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Timestamp, String)>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT id, since, path FROM trashed WHERE open = 1 AND id > ?1 ORDER BY id LIMIT ?2",
            )
            .and_then(|mut s| {
                s.query_map(params![after, limit as i64], |row| Ok((row.get(0)?, at(row, 1)?, row.get(2)?)))?
                    .collect()
            })
            .tried("read changes")
    }

    /// Changes since `from`, after `after`: of each name the first only, which tells what it was before them all.
    pub fn first_changes(
        &self,
        from: i64,
        after: i64,
        limit: usize,
    ) -> Result<Vec<ChangeRow>, CatalogueError> {
        self.connection
            .prepare_cached(&format!(
                "{CHANGE} AS t WHERE open = 1 AND id >= ?1 AND id > ?2 AND NOT EXISTS
                   (SELECT 1 FROM trashed e WHERE e.path = t.path AND e.open = 1 AND e.id >= ?1 AND e.id < t.id)
                 ORDER BY id LIMIT ?3"
            ))
            .and_then(|mut s| s.query_map(params![from, after, limit as i64], change_row)?.collect())
            .tried("read changes")
    }

    /// How many names were replaced, and how many deleted, by changes since `from`.
    pub fn count_changes(&self, from: i64) -> Result<(u64, u64), CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT coalesce(sum(why = 'replaced'), 0), coalesce(sum(why = 'deleted'), 0)
                 FROM (SELECT DISTINCT path, why FROM trashed WHERE open = 1 AND id >= ?1)",
            )
            .and_then(|mut s| s.query_row([from], |row| Ok((count(row, 0)?, count(row, 1)?))))
            .tried("count changes")
    }

    /// Numbers that stand for all that is missing from a drive, and all that was changed since `from`: when anything comes or goes,
    /// they are others.
    pub fn question(&self, drive: DriveId, from: i64) -> Result<[i64; 5], CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT m.*, t.* FROM
                   (SELECT count(*), coalesce(sum(name), 0), coalesce(sum(name * (name % 8191)), 0)
                    FROM copy WHERE drive = ?1 AND state = 'missing') m,
                   (SELECT count(*), coalesce(max(id), 0) FROM trashed WHERE open = 1 AND id >= ?2) t",
            )
            .and_then(|mut s| {
                s.query_row(params![drive.to_string(), from], |row| {
                    Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?])
                })
            })
            .tried("name the question")
    }

    /// How many files of a drive are gone.
    pub fn count_missing(&self, drive: DriveId) -> Result<u64, CatalogueError> {
        self.connection
            .prepare_cached("SELECT count(*) FROM copy WHERE drive = ?1 AND state = 'missing'")
            .and_then(|mut s| s.query_row([drive.to_string()], |row| count(row, 0)))
            .tried("count what is missing")
    }

    /// The same, and since when; `None`: all are there.
    pub fn missing_since(&self, drive: DriveId) -> Result<Option<MissingCount>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT count(*), coalesce(min(since), 0), coalesce(max(since), 0)
                 FROM copy WHERE drive = ?1 AND state = 'missing'",
            )
            .and_then(|mut s| {
                s.query_row([drive.to_string()], |row| {
                    let count = count(row, 0)?;
                    Ok((count > 0).then_some(MissingCount { count, first: at(row, 1)?, last: at(row, 2)? }))
                })
            })
            .tried("count what is missing")
    }

    /// A page of the names whose file on a drive is gone, after a name id, with the time when that was found.
    pub fn missing_names(
        &self,
        drive: DriveId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(NameRow, Timestamp)>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT n.id, n.path, n.shelf, n.hash, n.size, n.mtime, n.received, n.by, n.ctime, n.changed, c.since
                 FROM copy c JOIN name n ON n.id = c.name
                 WHERE c.drive = ?1 AND c.state = 'missing' AND c.name > ?2 ORDER BY c.name LIMIT ?3",
            )
            .and_then(|mut s| {
                let page = params![drive.to_string(), after, limit as i64];
                s.query_map(page, |row| Ok((name_row(row)?, at(row, 10)?)))?.collect()
            })
            .tried("read what is missing")
    }

    /// How many files a drive is to hold.
    pub fn count_copies(&self, drive: DriveId) -> Result<u64, CatalogueError> {
        self.connection
            .prepare_cached("SELECT count(*) FROM copy WHERE drive = ?1")
            .and_then(|mut s| s.query_row([drive.to_string()], |row| count(row, 0)))
            .tried("count copies")
    }

    /// Where this content may lie on any drive: as a copy, as what is to leave a drive, in a trash.
    pub fn kept(&self, content: &ContentHash) -> Result<Vec<KeptRow>, CatalogueError> {
        const MOST: i64 = 100;
        self.connection
            .prepare_cached(
                "SELECT drive, at, NULL, NULL, 0 AS turn FROM copy WHERE hash = ?1 AND state IN ('settled', 'verified')
                 UNION ALL SELECT drive, at, NULL, NULL, 1 FROM leaving WHERE hash = ?1
                 UNION ALL SELECT drive, path, at, top, 2 FROM trashed WHERE hash = ?1 AND at <> ''
                 ORDER BY turn LIMIT ?2",
            )
            .and_then(|mut s| {
                s.query_map(params![content.as_bytes(), MOST], |row| {
                    let trash = match row.get::<_, Option<String>>(2)? {
                        Some(at) => Some((at, path(row, 3)?)),
                        None => None,
                    };
                    Ok(KeptRow { drive: parsed(row, 0)?, path: path(row, 1)?, trash })
                })?
                .collect()
            })
            .tried("look content up")
    }
}

/// A person answered: what was changed so far counts no more.
pub(super) fn answered(tx: &Tx<'_>) -> Result<(), CatalogueError> {
    tx.execute("UPDATE trashed SET open = 0 WHERE open = 1", []).tried("record an answer").map(drop)
}

/// What left a drive while it was a copy had been answered for, or was no more than a hand does: as the primary it asks about
/// nothing of that.
pub(super) fn no_question(tx: &Tx<'_>, drive: DriveId) -> Result<(), CatalogueError> {
    tx.prepare_cached("UPDATE trashed SET open = 0 WHERE open = 1 AND drive = ?1")
        .and_then(|mut s| s.execute([drive.to_string()]))
        .tried("record an answer")
        .map(drop)
}

/// A name, and all below it, lost its content to the trash of the primary, or to other hands.
#[expect(clippy::too_many_arguments, reason = "the fields of one event")]
pub(super) fn lost(
    tx: &Tx<'_>,
    drive: DriveId,
    top: &RelPath,
    to: &str,
    by: &str,
    why: &str,
    since: Timestamp,
    (fold, from, until): (&str, &str, &str),
) -> Result<(), CatalogueError> {
    // What people and programs do to photos that we knew. The rest is housekeeping of ours.
    let open = matches!(why, "deleted" | "replaced");
    tx.execute(
        "INSERT INTO trashed (drive, path, top, at, hash, since, by, why, open, size, mtime, received, sender)
         SELECT ?1, path, ?2, ?3, hash, ?4, ?5, ?6, ?10, size, mtime, received, by
         FROM name WHERE (fold = ?7 OR (fold >= ?8 AND fold < ?9)) AND shelf = 'photos' AND hash IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM trashed t
             WHERE t.drive = ?1 AND t.at = ?3 AND t.path = name.path AND t.since = ?4)",
        params![drive.to_string(), top.as_str(), to, nanos(since), by, why, fold, from, until, open],
    )
    .tried("record the trash")
    .map(drop)
}
