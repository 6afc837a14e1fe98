//! Looking into a catalogue with SQL of the tests' own, and taking and restoring a picture of it.
use rusqlite::types::Value;
use shoebox::store::catalogue::{Catalogue, CatalogueError};

/// One row as SQLite has it.
pub(crate) type Row = Vec<Value>;

/// All tables, in an order in which what is referred to comes first.
const TABLES: [&str; 9] =
    ["meta", "person", "device", "drive", "asset", "name", "copy", "leaving", "trashed"];

/// What a catalogue contains.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture(Vec<(&'static str, Vec<Row>)>);

/// The rows a query gives.
pub(crate) fn rows(catalogue: &Catalogue, sql: &str) -> Result<Vec<Row>, String> {
    let query = |tx: &shoebox::store::catalogue::Tx<'_>| -> rusqlite::Result<Vec<Row>> {
        let mut statement = tx.prepare_cached(sql)?;
        let columns = statement.column_count();
        statement.query_map([], |row| (0..columns).map(|at| row.get(at)).collect())?.collect()
    };
    catalogue
        .write(|tx| query(tx).map_err(|source| CatalogueError { op: "look", source }))
        .map_err(|e| e.to_string())
}

/// A text column.
pub(crate) fn text(row: &Row, at: usize) -> String {
    match &row[at] {
        Value::Text(text) => text.clone(),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => String::new(),
    }
}

/// A number column; 0 for NULL.
pub(crate) fn number(row: &Row, at: usize) -> i64 {
    match &row[at] {
        Value::Integer(number) => *number,
        Value::Null | Value::Text(_) | Value::Real(_) | Value::Blob(_) => 0,
    }
}

/// A hash column.
pub(crate) fn hash(row: &Row, at: usize) -> Result<shoebox::model::hash::ContentHash, String> {
    let Value::Blob(bytes) = &row[at] else { return Err("a hash that is none".to_owned()) };
    let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|e| e.to_string())?;
    Ok(shoebox::model::hash::ContentHash::from_bytes(bytes))
}

impl Picture {
    /// Takes one.
    pub(crate) fn of(catalogue: &Catalogue) -> Result<Self, String> {
        let take = |table: &'static str| {
            Ok((table, rows(catalogue, &format!("SELECT * FROM {table} ORDER BY 1, 2"))?))
        };
        TABLES.into_iter().map(take).collect::<Result<_, String>>().map(Self)
    }

    /// All rows, for the eye.
    pub(crate) fn text(&self) -> String {
        let line = |table: &str, row: &Row| {
            let values = row.iter().map(|value| match value {
                Value::Null => "-".to_owned(),
                Value::Integer(number) => number.to_string(),
                Value::Real(number) => number.to_string(),
                Value::Text(text) => text.clone(),
                Value::Blob(bytes) => bytes.iter().take(6).map(|byte| format!("{byte:02x}")).collect(),
            });
            format!("  {table}: {}\n", values.collect::<Vec<_>>().join(" | "))
        };
        self.0.iter().flat_map(|(table, rows)| rows.iter().map(|row| line(table, row))).collect()
    }

    /// The first row that one has and the other has not.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let pairs = self.0.iter().zip(&other.0);
        let lacks = |(table, own): &(&str, Vec<Row>), theirs: &[Row], sign: char| {
            own.iter().find(|row| !theirs.contains(row)).map(|row| format!("{sign}{table} {row:?}"))
        };
        let mut found = pairs.flat_map(|(one, two)| [lacks(one, &two.1, '-'), lacks(two, &one.1, '+')]);
        let all: Vec<String> = found.by_ref().flatten().collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }

    /// A new catalogue in memory with this in it.
    pub(crate) fn restore(&self) -> Result<Catalogue, String> {
        let catalogue = Catalogue::in_memory().map_err(|e| e.to_string())?;
        let fill = |tx: &shoebox::store::catalogue::Tx<'_>| -> rusqlite::Result<()> {
            for (table, rows) in &self.0 {
                for row in rows {
                    let marks = vec!["?"; row.len()].join(", ");
                    let sql = format!("INSERT INTO {table} VALUES ({marks})");
                    tx.prepare_cached(&sql)?.execute(rusqlite::params_from_iter(row))?;
                }
            }
            Ok(())
        };
        catalogue
            .write(|tx| fill(tx).map_err(|source| CatalogueError { op: "restore", source }))
            .map_err(|e| e.to_string())?;
        Ok(catalogue)
    }
}
