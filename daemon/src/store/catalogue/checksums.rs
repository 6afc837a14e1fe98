//! Which months' `.sha256` files are out of date on which drive, and what they should say.
use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::model::drive::DriveId;
use crate::model::path::RelPath;
use crate::store::catalogue::names::below;
use crate::store::catalogue::read::{Reader, at, parsed, path};
use crate::store::catalogue::{CatalogueError, Tried, Tx, nanos};
use crate::store::manifest::month;

/// A list that is out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// On which drive.
    pub drive: DriveId,
    /// `YYYY-MM` of receipt.
    pub month: String,
    /// Rises with every change: [`fresh`] forgets the month only if nothing came in between.
    pub mark: i64,
}

const MONTH: &str = "strftime('%Y-%m', received / 1000000000, 'unixepoch')";
const ON_CONFLICT: &str = "ON CONFLICT (drive, month) DO UPDATE SET mark = mark + 1";

pub(super) fn stale(tx: &Tx<'_>, drive: DriveId, received: Timestamp) -> Result<(), CatalogueError> {
    tx.prepare_cached(&format!("INSERT INTO stale (drive, month) VALUES (?1, ?2) {ON_CONFLICT}"))
        .and_then(|mut s| s.execute(params![drive.to_string(), month(received)]))
        .tried("mark a list")
        .map(drop)
}

pub(super) fn stale_everywhere(tx: &Tx<'_>, received: Timestamp) -> Result<(), CatalogueError> {
    tx.prepare_cached(&format!(
        "INSERT INTO stale (drive, month) SELECT id, ?1 FROM drive WHERE true {ON_CONFLICT}"
    ))
    .and_then(|mut s| s.execute(params![month(received)]))
    .tried("mark a list")
    .map(drop)
}

pub(super) fn stale_tree(tx: &Tx<'_>, drive: DriveId, fold: &str) -> Result<(), CatalogueError> {
    let (low, high) = below(fold);
    tx.prepare_cached(&format!(
        "INSERT INTO stale (drive, month) SELECT DISTINCT ?1, {MONTH} FROM name
         WHERE (fold = ?2 OR (fold >= ?3 AND fold < ?4)) AND shelf = 'photos' AND hash IS NOT NULL {ON_CONFLICT}"
    ))
    .and_then(|mut s| s.execute(params![drive.to_string(), fold, low, high]))
    .tried("mark lists")
    .map(drop)
}

pub(super) fn stale_copy(tx: &Tx<'_>, drive: DriveId, at: &RelPath) -> Result<(), CatalogueError> {
    tx.prepare_cached(&format!(
        "INSERT INTO stale (drive, month) SELECT ?1, {MONTH} FROM copy c JOIN name n ON n.id = c.name
         WHERE c.drive = ?1 AND c.at = ?2 {ON_CONFLICT}"
    ))
    .and_then(|mut s| s.execute(params![drive.to_string(), at.as_str()]))
    .tried("mark a list")
    .map(drop)
}

pub(super) fn stale_leaving(tx: &Tx<'_>, drive: DriveId, at: &RelPath) -> Result<(), CatalogueError> {
    tx.prepare_cached(&format!(
        "INSERT INTO stale (drive, month) SELECT ?1, {MONTH} FROM leaving WHERE drive = ?1 AND at = ?2 {ON_CONFLICT}"
    ))
    .and_then(|mut s| s.execute(params![drive.to_string(), at.as_str()]))
    .tried("mark a list")
    .map(drop)
}

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// When it was received; with the row id, where the next page starts.
    pub received: Timestamp,
    /// The row id.
    pub id: i64,
    /// SHA-256, hex.
    pub sha256: String,
    /// Its name on the drive.
    pub at: RelPath,
}

/// A list was written that says what held at `stale.mark`.
pub fn fresh(tx: &Tx<'_>, stale: &Stale) -> Result<(), CatalogueError> {
    tx.execute(
        "DELETE FROM stale WHERE drive = ?1 AND month = ?2 AND mark = ?3",
        params![stale.drive.to_string(), stale.month, stale.mark],
    )
    .tried("clear a mark")
    .map(drop)
}

impl Reader<'_> {
    /// The lists of this drive that are out of date.
    pub fn stale(&self, drive: DriveId) -> Result<Vec<Stale>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT drive, month, mark FROM stale WHERE drive = ?1 ORDER BY month")
            .and_then(|mut s| {
                s.query_map([drive.to_string()], |row| {
                    Ok(Stale { drive: parsed(row, 0)?, month: row.get(1)?, mark: row.get(2)? })
                })?
                .collect()
            })
            .tried("look for lists")
    }

    /// A page of what a drive holds of what was received from `from` on and before `to`, in that order. `after`: the row id of
    /// the last one that was received exactly at `from`.
    pub fn sha256_lines(
        &self,
        drive: DriveId,
        from: Timestamp,
        to: Timestamp,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Listed>, CatalogueError> {
        self.connection
            .prepare_cached(
                // In the order of the index: a page costs what is on it, and not a look at the whole month.
                "SELECT n.received, n.id, a.sha256, c.at FROM name n INDEXED BY name_received
                 JOIN copy c ON c.name = n.id AND c.drive = ?1 JOIN asset a ON a.hash = c.hash
                 WHERE n.received >= ?2 AND n.received < ?3 AND n.shelf = 'photos' AND n.hash IS NOT NULL
                   AND (n.received > ?2 OR n.id > ?4)
                   AND a.sha256 IS NOT NULL AND c.state IN ('settled', 'verified')
                 ORDER BY n.received, n.id LIMIT ?5",
            )
            .and_then(|mut s| {
                let values = params![drive.to_string(), nanos(from), nanos(to), after, limit as i64];
                let line = |row: &Row<'_>| {
                    let (received, id) = (at(row, 0)?, row.get(1)?);
                    Ok(Listed { received, id, sha256: row.get(2)?, at: path(row, 3)? })
                };
                s.query_map(values, line)?.collect()
            })
            .tried("list hashes")
    }
}
