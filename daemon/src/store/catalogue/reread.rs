//! What is to be re-read on a drive: copies nobody has read back yet, and those that were read longest ago.
use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::model::copy::{Backlog, Due, Lot};
use crate::model::drive::DriveId;
use crate::store::catalogue::copies::{COPY, CopyRow, copy_row};
use crate::store::catalogue::read::{Reader, at_or_none, count};
use crate::store::catalogue::{CatalogueError, Tried, nanos};

/// So many copies are looked up to know how large they are.
const WEIGHED: u32 = 2_000;

/// Of the tail. With a plus before the state the larger index is out of the question.
const TAIL: (&str, &str) = ("+c.state", "c.tail = 1 AND ?2 IS NOT NULL");
/// Read back before.
const OLD: &str = "c.tail = 0 AND c.reread < ?2";
/// Read back at a moment or later.
const SINCE: &str = "c.reread >= ?2";
/// Never read back, and made between two moments.
const DUE_UNREAD: &str =
    "c.state IN ('settled', 'verified') AND c.reread IS NULL AND c.settled >= ?2 AND c.settled < ?3";
/// Of the tail, and read back between two moments.
const DUE_TAIL: &str =
    "+c.state IN ('settled', 'verified') AND c.tail = 1 AND c.reread >= ?2 AND c.reread < ?3";
/// Of the tail, never read back, and made between two moments.
const DUE_TAIL_UNREAD: &str = "+c.state IN ('settled', 'verified') AND c.tail = 1 AND c.reread IS NULL
    AND c.settled >= ?2 AND c.settled < ?3";
/// Read back between two moments.
const DUE_AGAIN: &str = "c.state IN ('settled', 'verified') AND c.reread >= ?2 AND c.reread < ?3";

/// How far the scrub of a drive is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reread {
    /// Copies that were not read for too long.
    pub overdue: u64,
    /// All others were read back since.
    pub oldest: Option<Timestamp>,
}

impl Reader<'_> {
    /// The next copies of a drive that are due: those of the tail first, then what was never read back, then the oldest.
    pub fn reread_due(
        &self,
        drive: DriveId,
        due: &Due,
        limit: usize,
    ) -> Result<Vec<CopyRow>, CatalogueError> {
        let (id, limit) = (drive.to_string(), limit as i64);
        let mut rows = self.due(TAIL.0, TAIL.1, &id, due.made_before, limit)?;
        for (which, at) in [
            ("c.tail = 0 AND c.reread IS NULL AND c.settled <= ?2", due.made_before),
            ("c.tail = 0 AND c.reread IS NULL AND c.settled > ?2", due.read_after),
            ("c.tail = 0 AND c.reread > ?2", due.read_after),
            (OLD, due.read_before),
        ] {
            let left = limit - rows.len() as i64;
            rows.extend(self.due("c.state", which, &id, at, left)?);
        }
        Ok(rows)
    }

    /// Copies of a drive that were last read back before a moment, the oldest first.
    pub fn reread_before(
        &self,
        drive: DriveId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<CopyRow>, CatalogueError> {
        self.due("c.state", OLD, &drive.to_string(), before, limit as i64)
    }

    /// Copies of a drive that were last read back at a moment or later, but before another one.
    pub fn reread_between(
        &self,
        drive: DriveId,
        from: Timestamp,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<CopyRow>, CatalogueError> {
        let mut rows = self.due("c.state", SINCE, &drive.to_string(), from, limit as i64)?;
        rows.retain(|row| row.reread.is_some_and(|at| at < before));
        Ok(rows)
    }

    /// When a copy on a drive was last read back: the drive was here then.
    pub fn last_reread(&self, drive: DriveId) -> Result<Option<Timestamp>, CatalogueError> {
        let sql = "SELECT max(reread) FROM copy WHERE drive = ?1 AND state IN ('settled', 'verified')";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut s| s.query_row(params![drive.to_string()], |row| at_or_none(row, 0)))
            .tried("read when a drive was last here")
    }

    /// Whole states in the text of each query: only then the partial index answers it, and nothing is sorted.
    fn due(
        &self,
        state: &str,
        which: &str,
        id: &str,
        at: Timestamp,
        limit: i64,
    ) -> Result<Vec<CopyRow>, CatalogueError> {
        self.connection
            .prepare_cached(&due_sql(state, which))
            .and_then(|mut s| s.query_map(params![id, nanos(at), limit], copy_row)?.collect())
            .tried("read what is to be re-read")
    }

    /// How far the scrub of a drive is. `before`: what was not read since is overdue.
    pub fn reread(&self, drive: DriveId, before: Timestamp) -> Result<Reread, CatalogueError> {
        let sql = "SELECT
            (SELECT count(*) FROM copy WHERE drive = ?1 AND state IN ('settled', 'verified') AND reread IS NULL AND settled < ?2)
            + (SELECT count(*) FROM copy WHERE drive = ?1 AND state IN ('settled', 'verified') AND reread < ?2),
            (SELECT min(reread) FROM copy WHERE drive = ?1 AND state IN ('settled', 'verified') AND reread >= ?2)";
        let read = |row: &Row<'_>| Ok(Reread { overdue: count(row, 0)?, oldest: at_or_none(row, 1)? });
        self.connection
            .prepare_cached(sql)
            .and_then(|mut s| s.query_row(params![drive.to_string(), nanos(before)], read))
            .tried("count what is to be re-read")
    }

    /// What is due on a drive, by age: `lots` ascending, the last of them what is due now. Only what is due is looked at;
    /// of many copies the bytes are taken to be like those of the first few thousand.
    pub fn backlog(&self, drive: DriveId, due: &Due, lots: &[Timestamp]) -> Result<Backlog, CatalogueError> {
        let id = drive.to_string();
        let lot = |which, from, to| self.lot(which, &id, from, to);
        let after = nanos(due.read_after);
        let mut first = lot(DUE_UNREAD, i64::MIN, nanos(due.made_before))?;
        first += lot(DUE_UNREAD, after, i64::MAX)?;
        // Of the tail what is in none of the others: young, or read not long ago.
        first += lot(DUE_TAIL, nanos(due.read_before), after)?;
        first += lot(DUE_TAIL_UNREAD, nanos(due.made_before), after)?;
        let (mut again, mut from) = (Vec::with_capacity(lots.len()), i64::MIN);
        for to in lots {
            again.push((*to, lot(DUE_AGAIN, from, nanos(*to))?));
            from = nanos(*to);
        }
        // When these were read nobody knows: they are due, and not known to be old.
        if let Some((_, youngest)) = again.last_mut() {
            *youngest += lot(DUE_AGAIN, after, i64::MAX)?;
        }
        Ok(Backlog { first, again })
    }

    fn lot(&self, which: &str, id: &str, from: i64, to: i64) -> Result<Lot, CatalogueError> {
        let copies = self
            .connection
            .prepare_cached(&count_sql(which))
            .and_then(|mut s| s.query_row(params![id, from, to], |row| count(row, 0)))
            .tried("count what is due to be re-read")?;
        if copies == 0 {
            return Ok(Lot::default());
        }
        let (weighed, bytes) = self
            .connection
            .prepare_cached(&format!(
                "SELECT count(*), coalesce(sum(n.size), 0) FROM name n JOIN
                 (SELECT c.name FROM copy c WHERE c.drive = ?1 AND {which} ORDER BY c.reread LIMIT {WEIGHED}) due
                 ON due.name = n.id"
            ))
            .and_then(|mut s| s.query_row(params![id, from, to], |row| Ok((count(row, 0)?, count(row, 1)?))))
            .tried("weigh what is due to be re-read")?;
        let bytes = u128::from(bytes) * u128::from(copies) / u128::from(weighed.max(1));
        Ok(Lot { copies, bytes: u64::try_from(bytes).unwrap_or(u64::MAX) })
    }
}

fn count_sql(which: &str) -> String {
    format!("SELECT count(*) FROM copy c WHERE c.drive = ?1 AND {which}")
}

fn due_sql(state: &str, which: &str) -> String {
    format!(
        "{COPY} WHERE c.drive = ?1 AND {state} IN ('settled', 'verified') AND {which} AND c.moved = 0
         ORDER BY c.reread LIMIT ?3"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_next_and_what_is_due_are_found_without_walking_over_the_rest() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for schema in [include_str!("schema.sql"), include_str!("reread.sql"), include_str!("tail.sql")] {
            connection.execute_batch(schema).unwrap();
        }
        let how = |sql: &str| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map(params!["", 0, 0], |row| row.get::<_, String>(3)).unwrap();
            let of_copies = rows.map(Result::unwrap).find(|row| row.contains(" c USING"));
            of_copies.unwrap().split_once("USING ").unwrap().1.to_owned()
        };
        assert_eq!(how(&due_sql(TAIL.0, TAIL.1)), "INDEX copy_tail (drive=?)");
        assert_eq!(how(&due_sql("c.state", OLD)), "INDEX copy_reread (drive=? AND reread<?)");
        assert_eq!(how(&due_sql("c.state", SINCE)), "INDEX copy_reread (drive=? AND reread>?)");
        let (unread, tail, again) =
            (how(&count_sql(DUE_UNREAD)), how(&count_sql(DUE_TAIL)), how(&count_sql(DUE_AGAIN)));
        assert_eq!(unread, "INDEX copy_reread (drive=? AND reread=? AND settled>? AND settled<?)");
        assert_eq!(
            [tail, how(&count_sql(DUE_TAIL_UNREAD))],
            ["INDEX copy_tail (drive=?)"; 2].map(str::to_owned)
        );
        assert_eq!(again, "INDEX copy_reread (drive=? AND reread>? AND reread<?)");
    }
}
