//! Copying the catalogue while it is used, and checking such a copy.
//!
//! While nothing is moved from the write-ahead log into the database, the database's own file does not change, and is the
//! catalogue as it was at the last checkpoint: whole, and consistent. So a copy is begun with a checkpoint, checkpoints rest
//! until it is done, and uploads go on meanwhile, into the log. SQLite's backup interface would do the same in rusqlite with the one
//! connection borrowed, and uploads waiting, from its first page to its last.
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, ffi};

use crate::model::hash::{Also, ContentHash, Hasher};
use crate::model::path::RelPath;
use crate::store::catalogue::accounts::DriveRow;
use crate::store::catalogue::read::{Reader, path};
use crate::store::catalogue::{
    CHECKPOINT_PAGES, Catalogue, CatalogueError, Open, Tried, Unproved, VERSION, closed, said,
};

/// Uploads during a copy make the log grow; beyond this, bytes, they come first.
const LOG_AT_MOST: u64 = 64 << 20;

/// The catalogue's file, at rest as long as this is held.
pub struct AtRest<'c> {
    catalogue: &'c Catalogue,
    file: Arc<File>,
    /// Bytes.
    pub size: u64,
    /// It stays at rest when this is dropped.
    kept: bool,
}

impl Catalogue {
    /// Puts the file to rest: what was committed so far is in it, what comes later goes to the log beside it. `None` for one in
    /// memory, and while somebody else has it at rest.
    pub fn at_rest(&self) -> Result<Option<AtRest<'_>>, CatalogueError> {
        let mut guard = self.lock();
        let open = guard.as_mut().ok_or_else(closed)?;
        let Some(path) = open.connection.path().filter(|path| !path.is_empty()).map(str::to_owned) else {
            return Ok(None);
        };
        // At rest since it was opened, for whoever proves it: its log may have something by now, and is left as it is.
        let sealed = matches!(self.unproved(), Some(Unproved::Sealed(_)));
        if open.at_rest && !sealed {
            return Ok(None);
        }
        // A second descriptor of the file: POSIX drops all of a process's locks on a file when any descriptor of it is closed, SQLite's
        // among them. So this one is opened once, and closed after the connection.
        let file = match &open.file {
            Some(file) => Arc::clone(file),
            None => {
                let unreadable = |e: std::io::Error| CatalogueError {
                    op: "open the file",
                    source: said(ffi::SQLITE_CANTOPEN, e.to_string()),
                };
                Arc::clone(open.file.insert(Arc::new(File::open(&path).map_err(unreadable)?)))
            }
        };
        self.settle(open)?;
        open.connection.execute_batch("PRAGMA wal_autocheckpoint=0").tried("hold checkpoints back")?;
        open.at_rest = true;
        if sealed {
            drop(guard);
            let size = file.metadata().map_or(0, |m| m.len());
            return Ok(Some(AtRest { catalogue: self, file, size, kept: false }));
        }
        let checkpoint = open.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        let busy: i64 = match checkpoint {
            Ok(busy) => busy,
            Err(e) => {
                drop(guard);
                self.go_on();
                return Err(CatalogueError { op: "checkpoint", source: e });
            }
        };
        drop(guard);
        let size = file.metadata().map_or(0, |m| m.len());
        let at_rest = AtRest { catalogue: self, file, size, kept: false };
        // Nobody else has a connection: there is nothing to be busy with. If there is, the file is not at rest.
        Ok((busy == 0 && size > 0).then_some(at_rest))
    }

    fn go_on(&self) {
        // From now on the file changes: whoever has not compared it with its seal by now has to check it.
        if matches!(self.unproved(), Some(Unproved::Sealed(_))) {
            self.set_unproved(Some(Unproved::Unchecked));
        }
        if let Some(open) = &mut *self.lock() {
            open.at_rest = false;
            // On failure the log grows until the next opening, and nothing else is lost.
            let pages = format!("PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}");
            if let Err(e) = open.connection.execute_batch(&pages) {
                log::warn!("checkpoints of the catalogue stay off: {e}");
            }
        }
    }
}

impl AtRest<'_> {
    /// Reads at an offset; 0 at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        self.file.read_at(&mut buffer[..left], offset)
    }

    /// Whether the file was at rest until now: a catalogue that was closed meanwhile has moved its log into it.
    pub fn is_whole(&self) -> bool {
        self.catalogue.lock().as_ref().is_some_and(|open| open.at_rest)
    }

    /// Whether so much was committed meanwhile that the log should be emptied.
    pub fn is_pressed(&self) -> bool {
        let open = self.catalogue.lock();
        let path = open.as_ref().and_then(|open| open.connection.path()).map(|path| format!("{path}-wal"));
        drop(open);
        path.is_some_and(|path| std::fs::metadata(path).is_ok_and(|m| m.len() > LOG_AT_MOST))
    }

    /// Leaves the file at rest when this is dropped: whoever asks for it next takes over.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for AtRest<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.catalogue.go_on();
        }
    }
}

/// Whether a write-ahead log is left beside a catalogue's file: nobody closed it in order.
pub(super) fn has_log(path: &Path) -> bool {
    std::fs::metadata(path.with_extension("db-wal")).is_ok_and(|m| m.len() > 0)
}

/// Whether it is of this version: opening an older one changes it.
pub(super) fn is_of_this_version(path: &Path) -> Result<bool, CatalogueError> {
    let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let version = open_resting(path)?.query_row("PRAGMA user_version", [], read).tried("read version")?;
    Ok(version == VERSION)
}

/// What a catalogue's file hashes to. Not while it is open: closing a descriptor of it takes SQLite's locks away.
pub fn hash(path: &Path) -> Result<ContentHash, CatalogueError> {
    let unreadable =
        |e: std::io::Error| CatalogueError { op: "read", source: said(ffi::SQLITE_IOERR, e.to_string()) };
    let mut hasher = Hasher::new(Also::default(), &[]);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).map_err(unreadable)? {
            0 => return Ok(hasher.digests().content),
            read => hasher.update(&piece[..read]),
        }
    }
}

/// Checks a catalogue's file that nobody has open. Answers which drives it knows, and how far each one's manifest is contained in it. Writes
/// nothing, and takes no lock.
pub fn check(path: &Path) -> Result<Vec<DriveRow>, CatalogueError> {
    let connection = open_resting(path)?;
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).tried("read version")?;
    if version == 0 || version > VERSION {
        let source = said(ffi::SQLITE_CANTOPEN, format!("version {version} is not one of ours"));
        return Err(CatalogueError { op: "check", source });
    }
    sound(&connection)?;
    Reader::new(&connection).drives()
}

/// The same for one that is open.
pub(super) fn look_through(open: &Open) -> Result<(), CatalogueError> {
    sound(&open.connection)
}

/// SQLite's whole integrity check, which also compares every indexed column with its index, foreign keys included; and whether rows say
/// the same of one another where they say it twice: a name and its key, a name and its asset, a name and its copies.
fn sound(connection: &Connection) -> Result<(), CatalogueError> {
    let bad = |word: String| CatalogueError { op: "check", source: said(ffi::SQLITE_CORRUPT, word) };
    let word: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).tried("check")?;
    if word != "ok" {
        return Err(bad(word));
    }
    let twice = [
        ("PRAGMA foreign_key_check", "a row refers to none"),
        (
            "SELECT 1 FROM name n LEFT JOIN asset a ON a.hash = n.hash
             WHERE n.shelf = 'photos' AND n.hash IS NOT NULL AND (a.hash IS NULL OR a.size <> n.size) LIMIT 1",
            "a name differs from its content",
        ),
        (
            "SELECT 1 FROM copy c JOIN name n ON n.id = c.name JOIN drive d ON d.id = c.drive
             WHERE c.hash IS NOT n.hash OR (d.role = 'primary' AND c.at <> n.path) LIMIT 1",
            "a copy differs from its name",
        ),
    ];
    for (sql, word) in twice {
        if connection.prepare(sql).and_then(|mut s| s.exists([])).tried("check")? {
            return Err(bad(word.to_owned()));
        }
    }
    let mut statement = connection.prepare("SELECT fold, parent, path FROM name").tried("check")?;
    let mut rows = statement.query([]).tried("check")?;
    while let Some(row) = rows.next().tried("check")? {
        let (fold, parent) = (row.get_ref(0).tried("check")?, row.get_ref(1).tried("check")?);
        let path: RelPath = path(row, 2).tried("check").map_err(|e| bad(e.to_string()))?;
        let above = path.parent().map(|above| above.fold_key()).unwrap_or_default();
        if fold.as_str().ok() != Some(&path.fold_key()) || parent.as_str().ok() != Some(&above) {
            return Err(bad("a name differs from its key".to_owned()));
        }
    }
    Ok(())
}

/// Opens a catalogue's file for reading, as it is: whatever lies beside it is not looked at.
pub(super) fn open_resting(path: &Path) -> Result<Connection, CatalogueError> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).tried("open")?;
    connection
        .execute_batch(
            "PRAGMA mmap_size=0; PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF; PRAGMA cache_size=-4096;
             PRAGMA temp_store=MEMORY;",
        )
        .tried("set up")?;
    Ok(connection)
}
