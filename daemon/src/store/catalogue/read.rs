//! `Reader`: the read side of the catalogue within one hold of its lock, and how rows become values.
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::store::catalogue::time;

/// Queries. Made by `Catalogue::read`, or over a transaction.
pub struct Reader<'c> {
    pub(super) connection: &'c Connection,
}

impl<'c> Reader<'c> {
    /// Over a connection or (by dereference) a transaction.
    pub fn new(connection: &'c Connection) -> Self {
        Self { connection }
    }
}

/// Reads a text column through its type's parser: stored data is checked like any other.
pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

/// A path column.
pub(super) fn path(row: &Row<'_>, column: usize) -> rusqlite::Result<RelPath> {
    parsed(row, column)
}

/// A hash column.
pub(super) fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<ContentHash> {
    row.get(column).map(ContentHash::from_bytes)
}

/// A hash column that may be NULL.
pub(super) fn hash_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ContentHash>> {
    row.get::<_, Option<[u8; 32]>>(column).map(|h| h.map(ContentHash::from_bytes))
}

/// A time column.
pub(super) fn at(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(time)
}

/// A time column that may be NULL.
pub(super) fn at_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column).map(|t| t.map(time))
}

/// A count or size column.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or(0))
}
