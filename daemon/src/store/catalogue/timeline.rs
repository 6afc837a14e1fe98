//! A person's photos by the month they were taken in.
use rusqlite::{Row, params};

use crate::store::catalogue::names::below;
use crate::store::catalogue::read::{Reader, count};
use crate::store::catalogue::{CatalogueError, Tried};

/// Days, months and years of a photo: by what it says itself, else by the date of its file.
const DATED: &str = "strftime(?3, coalesce(m.taken / 1000, n.mtime / 1000000000), 'unixepoch')";
/// A person's photos of which the SHA-1 is known.
const OF_PERSON: &str = "FROM name n JOIN asset a ON a.hash = n.hash LEFT JOIN media m ON m.hash = n.hash
    WHERE n.fold >= ?1 AND n.fold < ?2 AND n.shelf = 'photos' AND a.sha1 IS NOT NULL";

/// A month with photos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthSum {
    /// `YYYY-MM`.
    pub month: String,
    /// How many.
    pub photos: u64,
    /// The newest of their rows, and the sum of all: with the number, another for nearly every change.
    pub newest: u64,
    /// See `newest`.
    pub sum: u64,
}

/// A photo in a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// `YYYY-MM-DDTHH:MM:SS`, where it was taken.
    pub at: String,
    /// Its name, without folders.
    pub name: String,
    /// SHA-1, hex.
    pub sha1: String,
}

impl Reader<'_> {
    /// The months below a person's folder, in order.
    pub fn months(&self, fold: &str) -> Result<Vec<MonthSum>, CatalogueError> {
        let (from, to) = below(fold);
        let sql = format!(
            "SELECT {DATED} AS month, count(*), max(n.id), sum(n.id) {OF_PERSON} GROUP BY month ORDER BY month"
        );
        let month = |row: &Row<'_>| {
            Ok(MonthSum {
                month: row.get(0)?,
                photos: count(row, 1)?,
                newest: count(row, 2)?,
                sum: count(row, 3)?,
            })
        };
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map(params![from, to, "%Y-%m"], month)?.collect())
            .tried("list months")
    }

    /// Up to `limit` photos of a month (`YYYY-MM`) below a person's folder, in order of their dates.
    pub fn photos_of_month(
        &self,
        fold: &str,
        month: &str,
        limit: usize,
    ) -> Result<Vec<Dated>, CatalogueError> {
        let (from, to) = below(fold);
        let sql = format!(
            "SELECT {DATED} AS at, n.path, a.sha1 {OF_PERSON} AND at >= ?4 AND at < ?5 GROUP BY a.sha1 ORDER BY at, n.id LIMIT ?6"
        );
        let photo = |row: &Row<'_>| {
            let path: String = row.get(1)?;
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            Ok(Dated { at: row.get(0)?, name, sha1: row.get(2)? })
        };
        // Behind the month: a letter after all digits and `-`.
        let values = params![from, to, "%Y-%m-%dT%H:%M:%S", month, format!("{month}~"), limit as i64];
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map(values, photo)?.collect())
            .tried("list a month")
    }
}
