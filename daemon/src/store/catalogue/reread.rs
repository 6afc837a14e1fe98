//! What is to be re-read on a drive: copies nobody has read back yet, and those that were read longest ago.
use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::model::copy::Due;
use crate::model::drive::DriveId;
use crate::store::catalogue::copies::{COPY, CopyRow, copy_row};
use crate::store::catalogue::read::{Reader, at_or_none, count};
use crate::store::catalogue::{CatalogueError, Tried, nanos};

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
        let mut rows = self.due("c.tail = 1 AND ?2 IS NOT NULL", &id, due.made_before, limit)?;
        for (which, at) in [
            ("c.tail = 0 AND c.reread IS NULL AND c.settled <= ?2", due.made_before),
            ("c.tail = 0 AND c.reread IS NULL AND c.settled > ?2", due.read_after),
            ("c.tail = 0 AND c.reread > ?2", due.read_after),
            ("c.tail = 0 AND c.reread < ?2", due.read_before),
        ] {
            let left = limit - rows.len() as i64;
            rows.extend(self.due(which, &id, at, left)?);
        }
        Ok(rows)
    }

    /// Whole states in the text of each query: only then the partial index answers it, and nothing is sorted.
    fn due(&self, which: &str, id: &str, at: Timestamp, limit: i64) -> Result<Vec<CopyRow>, CatalogueError> {
        self.connection
            .prepare_cached(&format!(
                "{COPY} WHERE c.drive = ?1 AND c.state IN ('settled', 'verified') AND {which} AND c.moved = 0
                 ORDER BY c.reread LIMIT ?3"
            ))
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
}
