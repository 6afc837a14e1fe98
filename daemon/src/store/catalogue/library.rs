//! The tree as a library: a person's photos by content, each once however many names it has, and what clients call them.
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, params, params_from_iter};

use crate::model::drive::DriveId;
use crate::model::extension::SIDECARS;
use crate::model::hash::{ContentHash, hex};
use crate::model::path::RelPath;
use crate::store::catalogue::names::{NameRow, below, name_row};
use crate::store::catalogue::read::{Reader, at_or_none, count, hash};
use crate::store::catalogue::{CatalogueError, Tried, Tx};

/// From the keys to their names to these names' copies: `CROSS JOIN` is what SQLite keeps to (https://sqlite.org/optoverview.html, "Manual
/// Control Of Query Plans"). Left to choose, it goes through all copies and, for each, through all keys of the device: with
/// fifty thousand photos it held the catalogue, and the box with it, for minutes.
const KEYS_HELD: &str = "
    SELECT k.key, n.id FROM client_key k CROSS JOIN name n CROSS JOIN copy c
    WHERE k.device = ?1 AND k.key >= ?2 AND k.key < ?3
    AND n.hash = k.hash AND n.shelf = 'photos' AND n.fold >= ?4 AND n.fold < ?5
    AND c.name = n.id AND c.drive = ?6 AND c.hash = k.hash AND c.state IN ('settled', 'verified')";

/// A photo, under the first name that it has in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetName {
    /// The name.
    pub name: NameRow,
    /// SHA-1, hex, once it is known.
    pub sha1: Option<String>,
}

/// How many photos a folder has, and between which dates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderSum {
    /// Different contents directly in it.
    pub assets: u64,
    /// The earliest modification time of any.
    pub earliest: Option<Timestamp>,
    /// The latest.
    pub latest: Option<Timestamp>,
}

/// Which of a person's photos are listed.
#[derive(Debug, Clone, Default)]
pub struct Among {
    /// Those with a name directly in one of these folders; empty: in any.
    pub folders: Vec<RelPath>,
    /// The one with this SHA-1.
    pub sha1: Option<[u8; 20]>,
    /// Those whose name, in this or another case, is this.
    pub called: Option<String>,
}

const COLUMNS: &str =
    "n.id, n.path, n.shelf, n.hash, n.size, n.mtime, n.received, n.by, n.ctime, n.changed, a.sha1";

/// That a name of this table is a photo's, and not that of what lies beside one.
fn photo(table: &str) -> String {
    let is_none = |ending: &str| format!("substr({table}.fold, -{}) <> '{ending}'", ending.len());
    SIDECARS.map(is_none).join(" AND ")
}

fn asset_name(row: &rusqlite::Row<'_>) -> rusqlite::Result<AssetName> {
    Ok(AssetName { name: name_row(row)?, sha1: row.get(10)? })
}

impl Reader<'_> {
    /// Which content has this SHA-1, if that is known of it.
    pub fn content_by_sha1(&self, sha1: &[u8; 20]) -> Result<Option<ContentHash>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT hash FROM asset WHERE sha1 = ?1 LIMIT 1")
            .and_then(|mut s| s.query_row([hex(sha1)], |row| hash(row, 0)).optional())
            .tried("look a SHA-1 up")
    }

    /// Every name below a folder of a content between two hashes, oldest first.
    pub fn names_between(
        &self,
        folder: &RelPath,
        from: &ContentHash,
        to: &ContentHash,
    ) -> Result<Vec<AssetName>, CatalogueError> {
        let (first, last) = below(&folder.fold_key());
        let sql = format!(
            "SELECT {COLUMNS} FROM name n JOIN asset a ON a.hash = n.hash
             WHERE n.hash BETWEEN ?1 AND ?2 AND n.shelf = 'photos' AND n.fold >= ?3 AND n.fold < ?4
             ORDER BY n.id LIMIT 1000"
        );
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| {
                s.query_map(params![from.as_bytes(), to.as_bytes(), first, last], asset_name)?.collect()
            })
            .tried("look content up")
    }

    /// Up to `limit` photos below a folder whose SHA-1 is known, after the name with the id `after` and `skip` more, in the order they
    /// came. One photo is there once, under its oldest name.
    pub fn assets_among(
        &self,
        folder: &RelPath,
        among: &Among,
        (after, skip): (i64, u64),
        limit: u64,
    ) -> Result<Vec<AssetName>, CatalogueError> {
        let (first, last) = below(&folder.fold_key());
        let mut values: Vec<Value> = vec![first.into(), last.into(), after.into()];
        // The `+`: by id or by content, and never by the names of all photos, which every page would go through again.
        let mut within = format!(
            "+{{t}}.fold >= ?1 AND +{{t}}.fold < ?2 AND {{t}}.shelf = 'photos' AND {{t}}.hash IS NOT NULL AND {}",
            photo("{t}")
        );
        if !among.folders.is_empty() {
            let marks: Vec<String> = among
                .folders
                .iter()
                .map(|folder| {
                    values.push(folder.fold_key().into());
                    format!("?{}", values.len())
                })
                .collect();
            within += &format!(" AND {{t}}.parent IN ({})", marks.join(", "));
        }
        if let Some(called) = &among.called {
            values.push(crate::model::path::fold_text(called).into());
            within += &format!(" AND substr({{t}}.fold, length({{t}}.parent) + 2) = ?{}", values.len());
        }
        let mut sql = format!(
            "SELECT {COLUMNS} FROM name n JOIN asset a ON a.hash = n.hash WHERE n.id > ?3 AND a.sha1 IS NOT NULL AND {} AND n.id =
             (SELECT min(m.id) FROM name m WHERE m.hash = n.hash AND {})",
            within.replace("{t}", "n"),
            within.replace("{t}", "m"),
        );
        if let Some(sha1) = &among.sha1 {
            values.push(hex(sha1).into());
            sql += &format!(" AND a.sha1 = ?{}", values.len());
        }
        values.extend([Value::from(limit as i64), Value::from(skip as i64)]);
        sql += &format!(" ORDER BY n.id LIMIT ?{} OFFSET ?{}", values.len() - 1, values.len());
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map(params_from_iter(values), asset_name)?.collect())
            .tried("list photos")
    }

    /// How many different photos lie below a folder, and how many of them have one of these endings.
    pub fn count_assets(&self, folder: &RelPath, endings: &[&str]) -> Result<(u64, u64), CatalogueError> {
        let (first, last) = below(&folder.fold_key());
        let mut values: Vec<Value> = vec![first.into(), last.into()];
        let fits: Vec<String> = endings
            .iter()
            .map(|ending| {
                values.push((*ending).to_owned().into());
                format!("substr(fold, -{}) = ?{}", ending.len(), values.len())
            })
            .collect();
        let sql = format!(
            "SELECT count(*), coalesce(sum(one), 0) FROM (SELECT max({}) AS one FROM name
             WHERE fold >= ?1 AND fold < ?2 AND shelf = 'photos' AND hash IS NOT NULL AND {} GROUP BY hash)",
            fits.join(" OR "),
            photo("name"),
        );
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| {
                s.query_row(params_from_iter(values), |row| Ok((count(row, 0)?, count(row, 1)?)))
            })
            .tried("count photos")
    }

    /// What is directly in a folder.
    pub fn folder_sum(&self, folder: &RelPath) -> Result<FolderSum, CatalogueError> {
        self.connection
            .prepare_cached(&format!(
                "SELECT count(DISTINCT hash), min(mtime), max(mtime) FROM name
                 WHERE parent = ?1 AND shelf = 'photos' AND hash IS NOT NULL AND {}",
                photo("name"),
            ))
            .and_then(|mut s| {
                s.query_row([folder.fold_key()], |row| {
                    Ok(FolderSum {
                        assets: count(row, 0)?,
                        earliest: at_or_none(row, 1)?,
                        latest: at_or_none(row, 2)?,
                    })
                })
            })
            .tried("sum a folder up")
    }

    /// Which keys of a device, of those that begin with `start`, stand for contents that have a name below a folder with a good copy on
    /// this drive: the key and the name's row, once for each such name. `start` ends with a blank.
    pub fn client_keys_held(
        &self,
        device: &str,
        start: &str,
        folder: &RelPath,
        drive: DriveId,
    ) -> Result<Vec<(String, i64)>, CatalogueError> {
        let (first, last) = below(&folder.fold_key());
        // Behind a blank comes '!'.
        let end = format!("{}!", start.trim_end());
        self.connection
            .prepare_cached(KEYS_HELD)
            .and_then(|mut s| {
                s.query_map(params![device, start, end, first, last, drive.to_string()], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
            })
            .tried("look a client's keys up")
    }

    /// The content that a device calls by this key.
    pub fn content_by_client_key(
        &self,
        device: &str,
        key: &str,
    ) -> Result<Option<ContentHash>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT hash FROM client_key WHERE device = ?1 AND key = ?2")
            .and_then(|mut s| s.query_row([device, key], |row| hash(row, 0)).optional())
            .tried("look a client's key up")
    }
}

/// Remembers what a device calls a content.
pub fn put_client_key(
    tx: &Tx<'_>,
    device: &str,
    key: &str,
    hash: &ContentHash,
) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "INSERT INTO client_key (device, key, hash) VALUES (?1, ?2, ?3)
         ON CONFLICT (device, key) DO UPDATE SET hash = excluded.hash",
    )
    .and_then(|mut s| s.execute(params![device, key, hash.as_bytes()]))
    .tried("remember a client's key")
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::catalogue::LADDER;

    #[test]
    fn each_key_is_looked_up_and_no_key_looks_through_all_names_or_copies() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        LADDER.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {KEYS_HELD}")).unwrap();
        let rows = statement.query_map(params!["", "", "", "", "", ""], |row| row.get::<_, String>(3));
        let steps: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
        assert_eq!(
            steps,
            [
                "SEARCH k USING PRIMARY KEY (device=? AND key>? AND key<?)",
                "SEARCH n USING INDEX name_of_asset (hash=?)",
                "SEARCH c USING PRIMARY KEY (name=? AND drive=?)",
            ]
        );
    }
}
