//! Names: the tree as people see it, files and folders in one table.
use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Statement, params};

use crate::model::drive::DriveId;
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::store::catalogue::read::{Reader, at, count, hash_or_none, path};
use crate::store::catalogue::{CatalogueError, Tried, Tx, nanos};

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRow {
    /// Stable across renames.
    pub id: i64,
    /// The full name.
    pub path: RelPath,
    /// Which tree.
    pub shelf: Shelf,
    /// `None`: a folder.
    pub hash: Option<ContentHash>,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// When the client says that it was made.
    pub ctime: Option<Timestamp>,
    /// When the box got it.
    pub received: Timestamp,
    /// `person/device`.
    pub by: String,
    /// Of a folder: differs after every change of anything below it.
    pub changed: i64,
}

impl NameRow {
    /// Where its file (or, for a folder, its directory) lies on the primary.
    pub fn place(&self) -> Place {
        match (self.shelf, &self.hash) {
            (Shelf::Scratch, Some(hash)) => Place::scratch(hash),
            (Shelf::Scratch, None) | (Shelf::Photos, _) => Place::photo(&self.path),
        }
    }
}

/// Dead property as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyRow {
    /// XML namespace.
    pub namespace: String,
    /// Local name.
    pub local: String,
    /// The element.
    pub xml: String,
}

/// A file in a drive's trash, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashedRow {
    /// Where what was moved there lies, from the drive's root: the file, or a folder above it; empty if nothing was there.
    pub at: String,
    /// Nothing went to this drive's trash after it.
    pub last: bool,
}

/// A name in a folder, as far as its file is compared with it.
#[derive(Debug, Clone, Copy)]
pub struct Known<'r> {
    /// Stable across renames.
    pub id: i64,
    /// The full name.
    pub path: &'r str,
    /// Which tree.
    pub shelf: Shelf,
    /// A folder.
    pub is_folder: bool,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
}

/// What [`name_row`] reads.
pub(super) const COLUMNS: &str = "id, path, shelf, hash, size, mtime, received, by, ctime, changed";

pub(super) fn name_row(row: &Row<'_>) -> rusqlite::Result<NameRow> {
    let shelf: String = row.get(2)?;
    Ok(NameRow {
        id: row.get(0)?,
        path: path(row, 1)?,
        shelf: if shelf == Shelf::Scratch.as_str() { Shelf::Scratch } else { Shelf::Photos },
        hash: hash_or_none(row, 3)?,
        size: count(row, 4)?,
        mtime: at(row, 5)?,
        received: at(row, 6)?,
        by: row.get(7)?,
        ctime: row.get::<_, Option<i64>>(8)?.map(|_| at(row, 8)).transpose()?,
        changed: row.get(9)?,
    })
}

/// The half-open range of fold keys strictly below a folder: `/` is followed by `0` in the byte order SQLite compares by.
pub(super) fn below(fold: &str) -> (String, String) {
    (format!("{fold}/"), format!("{fold}0"))
}

impl Reader<'_> {
    /// What is under a name, by its fold key.
    pub fn name(&self, fold: &str) -> Result<Option<NameRow>, CatalogueError> {
        self.connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM name WHERE fold = ?1"))
            .and_then(|mut s| s.query_row([fold], name_row).optional())
            .tried("look a name up")
    }

    /// A name by its id.
    pub fn name_by_id(&self, id: i64) -> Result<Option<NameRow>, CatalogueError> {
        self.connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM name WHERE id = ?1"))
            .and_then(|mut s| s.query_row([id], name_row).optional())
            .tried("look a name up")
    }

    /// Up to `limit` children of the folder with fold key `parent` (`""`: the top), after the fold key `after`.
    pub fn children(&self, parent: &str, after: &str, limit: usize) -> Result<Vec<NameRow>, CatalogueError> {
        let sql =
            format!("SELECT {COLUMNS} FROM name WHERE parent = ?1 AND fold > ?2 ORDER BY fold LIMIT ?3");
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map(params![parent, after, limit as i64], name_row)?.collect())
            .tried("list a folder")
    }

    /// Bytes of the files directly in a folder, and the folders in it.
    pub fn directly_in(&self, parent: &str) -> Result<(u64, Vec<NameRow>), CatalogueError> {
        let files = "SELECT coalesce(sum(size), 0) FROM name WHERE parent = ?1 AND hash IS NOT NULL";
        let folders = format!("SELECT {COLUMNS} FROM name WHERE parent = ?1 AND hash IS NULL");
        let bytes = self
            .connection
            .prepare_cached(files)
            .and_then(|mut s| s.query_row([parent], |row| count(row, 0)));
        let folders = self
            .connection
            .prepare_cached(&folders)
            .and_then(|mut s| s.query_map([parent], name_row)?.collect());
        bytes.and_then(|bytes| Ok((bytes, folders?))).tried("add a folder up")
    }

    /// Shows up to `limit` children of a folder after a fold key, in that order, and copies none. The key to go on after, if
    /// there may be more.
    pub fn look_through(
        &self,
        parent: &str,
        after: &str,
        limit: usize,
        mut each: impl FnMut(Known<'_>),
    ) -> Result<Option<String>, CatalogueError> {
        let sql = "SELECT id, path, shelf, hash IS NULL, size, mtime, fold FROM name
                   WHERE parent = ?1 AND fold > ?2 ORDER BY fold LIMIT ?3";
        let mut all = |statement: &mut Statement<'_>| -> rusqlite::Result<Option<String>> {
            let mut rows = statement.query(params![parent, after, limit as i64])?;
            let (mut left, mut last) = (limit, None);
            while let Some(row) = rows.next()? {
                let shelf = row.get_ref(2)?.as_str()?;
                each(Known {
                    id: row.get(0)?,
                    path: row.get_ref(1)?.as_str()?,
                    shelf: if shelf == Shelf::Scratch.as_str() { Shelf::Scratch } else { Shelf::Photos },
                    is_folder: row.get(3)?,
                    size: count(row, 4)?,
                    mtime: at(row, 5)?,
                });
                left -= 1;
                if left == 0 {
                    last = Some(row.get(6)?);
                }
            }
            Ok(last)
        };
        self.connection.prepare_cached(sql).and_then(|mut s| all(&mut s)).tried("look through a folder")
    }

    /// Whether any copy on a drive is missing.
    pub fn misses_any(&self, drive: DriveId) -> Result<bool, CatalogueError> {
        self.connection
            .prepare_cached("SELECT 1 FROM copy WHERE drive = ?1 AND state = 'missing' LIMIT 1")
            .and_then(|mut s| s.exists([drive.to_string()]))
            .tried("look for what is missing")
    }

    /// Ids of the files directly in a folder whose copy on a drive is missing.
    pub fn missing_in(&self, drive: DriveId, parent: &str) -> Result<HashSet<i64>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT c.name FROM copy c JOIN name n ON n.id = c.name
                 WHERE c.drive = ?1 AND c.state = 'missing' AND n.parent = ?2",
            )
            .and_then(|mut s| s.query_map(params![drive.to_string(), parent], |row| row.get(0))?.collect())
            .tried("look for what is missing")
    }

    /// Up to `limit` names strictly below a folder, in fold order, after `after`.
    pub fn names_below(&self, fold: &str, after: &str, limit: usize) -> Result<Vec<NameRow>, CatalogueError> {
        let (from, to) = below(fold);
        let sql = format!(
            "SELECT {COLUMNS} FROM name WHERE fold >= ?1 AND fold < ?2 AND fold > ?3 ORDER BY fold LIMIT ?4"
        );
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map(params![from, to, after, limit as i64], name_row)?.collect())
            .tried("list a tree")
    }

    /// Another name on the same shelf with this content, if there is one.
    pub fn name_of_content(&self, hash: &ContentHash) -> Result<Option<NameRow>, CatalogueError> {
        let sql = format!("SELECT {COLUMNS} FROM name WHERE hash = ?1 AND shelf = 'photos' LIMIT 1");
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_row([hash.as_bytes()], name_row).optional())
            .tried("look content up")
    }

    /// All names with this content, scratch included.
    pub fn holders_of_content(&self, hash: &ContentHash) -> Result<Vec<NameRow>, CatalogueError> {
        let sql = format!("SELECT {COLUMNS} FROM name WHERE hash = ?1 ORDER BY id LIMIT 1000");
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map([hash.as_bytes()], name_row)?.collect())
            .tried("look content up")
    }

    /// All names of an asset.
    pub fn names_of_content(&self, hash: &ContentHash) -> Result<Vec<NameRow>, CatalogueError> {
        let sql =
            format!("SELECT {COLUMNS} FROM name WHERE hash = ?1 AND shelf = 'photos' ORDER BY id LIMIT 1000");
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map([hash.as_bytes()], name_row)?.collect())
            .tried("look content up")
    }

    /// Names in scratch received before a time, oldest first.
    pub fn scratch_before(&self, before: Timestamp, limit: usize) -> Result<Vec<NameRow>, CatalogueError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM name WHERE shelf = 'scratch' AND received < ?1 ORDER BY received LIMIT ?2"
        );
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map(params![nanos(before), limit as i64], name_row)?.collect())
            .tried("list scratch")
    }

    /// Whether a scratch name has this content.
    pub fn is_in_scratch(&self, hash: &ContentHash) -> Result<bool, CatalogueError> {
        self.connection
            .prepare_cached("SELECT 1 FROM name WHERE hash = ?1 AND shelf = 'scratch'")
            .and_then(|mut s| s.exists([hash.as_bytes()]))
            .tried("look scratch up")
    }

    /// What a drive's trash has on record under the name a file had.
    pub fn trashed(&self, drive: DriveId, name: &RelPath) -> Result<Vec<TrashedRow>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT at, id = (SELECT id FROM trashed WHERE drive = ?1 ORDER BY id DESC LIMIT 1)
                 FROM trashed WHERE path = ?2 AND drive = ?1",
            )
            .and_then(|mut s| {
                s.query_map(params![drive.to_string(), name.as_str()], |row| {
                    Ok(TrashedRow { at: row.get(0)?, last: row.get(1)? })
                })?
                .collect()
            })
            .tried("look into the trash")
    }

    /// Up to `limit` names below a folder that have a property, by its namespace and local name.
    pub fn names_with(
        &self,
        (namespace, local): (&str, &str),
        fold: &str,
        limit: usize,
    ) -> Result<Vec<NameRow>, CatalogueError> {
        let (from, to) = below(fold);
        let sql = format!(
            "SELECT {COLUMNS} FROM name WHERE id IN (SELECT name FROM property WHERE local = ?1 AND namespace = ?2)
               AND fold >= ?3 AND fold < ?4 ORDER BY id LIMIT ?5"
        );
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| {
                s.query_map(params![local, namespace, from, to, limit as i64], name_row)?.collect()
            })
            .tried("look for a property")
    }

    /// Files and bytes in `photos/`.
    pub fn totals(&self) -> Result<(u64, u64), CatalogueError> {
        self.connection
            .query_row(
                "SELECT count(*), coalesce(sum(size), 0) FROM name WHERE shelf = 'photos' AND hash IS NOT NULL",
                [],
                |row| Ok((count(row, 0)?, count(row, 1)?)),
            )
            .tried("count")
    }

    /// Dead properties of a name.
    pub fn properties(&self, name: i64) -> Result<Vec<PropertyRow>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT namespace, local, xml FROM property WHERE name = ?1 ORDER BY namespace, local",
            )
            .and_then(|mut s| {
                s.query_map([name], |row| {
                    Ok(PropertyRow { namespace: row.get(0)?, local: row.get(1)?, xml: row.get(2)? })
                })?
                .collect()
            })
            .tried("read properties")
    }
}

/// A file for the scratch shelf: not an event, because scratch is not part of what a drive promises.
pub struct ScratchFile<'a> {
    /// Its name.
    pub path: &'a RelPath,
    /// Its content.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// When it came.
    pub received: Timestamp,
    /// From whom.
    pub by: &'a str,
}

/// Puts a file into scratch under its name, replacing a scratch file of that name. Returns the row id.
pub fn put_scratch(tx: &Tx<'_>, file: &ScratchFile<'_>) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "INSERT INTO name (fold, parent, path, shelf, hash, size, mtime, received, by)
         VALUES (?1, ?2, ?3, 'scratch', ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (fold) DO UPDATE SET shelf = 'scratch', hash = ?4, size = ?5, mtime = ?6, received = ?7, by = ?8",
    )
    .and_then(|mut s| {
        s.execute(params![
            file.path.fold_key(),
            file.path.parent().map(|p| p.fold_key()).unwrap_or_default(),
            file.path.as_str(),
            file.hash.as_bytes(),
            file.size as i64,
            nanos(file.mtime),
            nanos(file.received),
            file.by
        ])
    })
    .tried("store a scratch name")
    .map(drop)
}

/// Forgets a scratch name.
pub fn drop_scratch(tx: &Tx<'_>, fold: &str) -> Result<(), CatalogueError> {
    tx.prepare_cached("DELETE FROM name WHERE fold = ?1 AND shelf = 'scratch'")
        .and_then(|mut s| s.execute([fold]))
        .tried("forget a scratch name")
        .map(drop)
}

/// A scratch name became a photo's: what was said of it is said of the photo. Nothing happens if the name has other bytes by
/// now.
pub(super) fn leave_scratch(
    tx: &Tx<'_>,
    fold: &str,
    hash: &ContentHash,
    photo_fold: &str,
) -> Result<(), CatalogueError> {
    let scratch: Option<i64> = tx
        .prepare_cached("SELECT id FROM name WHERE fold = ?1 AND shelf = 'scratch' AND hash = ?2")
        .and_then(|mut s| s.query_row(params![fold, hash.as_bytes()], |row| row.get(0)).optional())
        .tried("look a scratch name up")?;
    let Some(scratch) = scratch else { return Ok(()) };
    copy_properties(tx, scratch, photo_fold)?;
    drop_scratch(tx, fold)
}

/// Renames a scratch file within scratch.
pub fn rename_scratch(tx: &Tx<'_>, id: i64, to: &RelPath) -> Result<(), CatalogueError> {
    tx.prepare_cached("UPDATE name SET fold = ?2, parent = ?3, path = ?4 WHERE id = ?1")
        .and_then(|mut s| {
            let parent = to.parent().map(|p| p.fold_key()).unwrap_or_default();
            s.execute(params![id, to.fold_key(), parent, to.as_str()])
        })
        .tried("rename a scratch file")
        .map(drop)
}

/// Sets or removes a dead property; `xml` `None` removes.
pub fn set_property(
    tx: &Tx<'_>,
    name: i64,
    namespace: &str,
    local: &str,
    xml: Option<&str>,
) -> Result<(), CatalogueError> {
    match xml {
        Some(xml) => tx
            .prepare_cached(
                "INSERT OR REPLACE INTO property (name, namespace, local, xml) VALUES (?1, ?2, ?3, ?4)",
            )
            .and_then(|mut s| s.execute(params![name, namespace, local, xml])),
        None => tx
            .prepare_cached("DELETE FROM property WHERE name = ?1 AND namespace = ?2 AND local = ?3")
            .and_then(|mut s| s.execute(params![name, namespace, local])),
    }
    .tried("store a property")
    .map(drop)
}

/// Copies all dead properties of one name to another.
pub fn copy_properties(tx: &Tx<'_>, from: i64, to_fold: &str) -> Result<(), CatalogueError> {
    tx.execute(
        "INSERT OR REPLACE INTO property (name, namespace, local, xml)
         SELECT t.id, p.namespace, p.local, p.xml FROM property p JOIN name t ON t.fold = ?2 WHERE p.name = ?1",
        params![from, to_fold],
    )
    .tried("copy properties")
    .map(drop)
}
