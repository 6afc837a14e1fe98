//! The catalogue: SQLite on the primary, an index over files and manifests that can be deleted and rebuilt.
//!
//! One connection, exclusive, WAL, synchronous=FULL except where rows only follow durable lines (docs/decisions/0007, 0013, 0015).
//! Rows for names, copies and accounts are derived from manifest events by [`apply`] and nowhere else, so that replaying manifests rebuilds them.
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use crate::model::event::Event;
use crate::model::hash::ContentHash;
use crate::store::catalogue::read::Reader;

pub mod accounts;
pub mod apply;
pub mod changes;
pub mod checksums;
pub mod copies;
pub mod facts;
pub mod feed;
pub mod find;
pub mod library;
pub mod media;
pub mod names;
pub mod queue;
pub mod read;
pub mod reread;
pub mod snapshot;
pub mod tail;
pub mod timeline;
mod transactions;

pub use transactions::Tx;
use transactions::{Following, Level};

const VERSION: i64 = LADDER.len() as i64;
/// What makes each version of the one before.
const LADDER: [&str; 12] = [
    include_str!("schema.sql"),
    include_str!("reread.sql"),
    include_str!("changes.sql"),
    include_str!("tail.sql"),
    include_str!("facts.sql"),
    include_str!("quota.sql"),
    include_str!("media.sql"),
    include_str!("cloud.sql"),
    include_str!("library.sql"),
    include_str!("people.sql"),
    include_str!("already.sql"),
    include_str!("feed.sql"),
];

/// The open catalogue.
pub struct Catalogue {
    /// `None` once it was closed.
    open: Mutex<Option<Open>>,
    /// Counts changes to what every drive is told of the pool.
    facts: AtomicU64,
    doubt: AtomicU8,
    /// Not looked at all of it yet since it was opened: what its file must hash to, if that is known.
    unproved: Mutex<Option<Unproved>>,
    opening: u64,
}

/// How many catalogues this process opened.
static OPENINGS: AtomicU64 = AtomicU64::new(0);

/// What is still to be found out about a catalogue that is too large to be looked through before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unproved {
    /// It was closed in order, and its file must have this hash. Until that is compared, the file is at rest.
    Sealed(ContentHash),
    /// It was not: it must pass its check.
    Unchecked,
}

/// What was noticed of the catalogue's file while it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// Nothing.
    None,
    /// It lost rows that follow from lines of the manifests: it is to be opened anew, which replays them.
    Behind,
    /// It could not be read or written: it is to be opened anew, and checked all through.
    Unread,
    /// It is damaged: it is to be made anew.
    Damaged,
}

/// A catalogue up to this size, bytes, is looked through before it is used; a larger one while it is.
const AT_ONCE: u64 = 16 << 20;

/// The one connection. Fields drop in this order: see [`snapshot`].
struct Open {
    connection: Connection,
    /// A second descriptor of the database's file, for copying it.
    file: Option<Arc<File>>,
    /// Nothing is moved from the log into the file.
    at_rest: bool,
    /// What was set last.
    level: Option<Level>,
    /// A transaction that is left open.
    following: Option<Following>,
}

/// Pages in the log that are moved into the database in one go.
const CHECKPOINT_PAGES: u32 = 1000;

/// A statement failed. Nobody branches on which: the change did not happen.
#[derive(Debug, thiserror::Error)]
#[error("catalogue could not {op}: {source}")]
pub struct CatalogueError {
    /// What was tried.
    pub op: &'static str,
    /// SQLite's answer.
    #[source]
    pub source: rusqlite::Error,
}

impl CatalogueError {
    /// Whether the file itself is bad, so that it has to be rebuilt. A catalogue that is locked, made by a newer program,
    /// or on a drive that is full or read-only is nothing of the kind: it stays where it is.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        matches!(self.source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase | SystemIoFailure))
    }

    /// Whether the bytes are at fault, and not a drive that hiccups or a process that is short of something.
    pub fn proves_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        matches!(self.source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
    }

    fn doubt(&self) -> Doubt {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        match self.source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Doubt::Damaged,
            // SQLITE_IOERR_NOMEM: the memory was at an end, not the drive.
            Some(SystemIoFailure)
                if self.source.sqlite_error().is_some_and(|e| e.extended_code == ffi::SQLITE_IOERR_NOMEM) =>
            {
                Doubt::None
            }
            Some(SystemIoFailure) => Doubt::Unread,
            Some(_) | None => Doubt::None,
        }
    }

    /// Whether SQLite said it, and not the parser of a value that a row has.
    pub fn is_of_the_file(&self) -> bool {
        self.source.sqlite_error_code().is_some()
    }

    /// Whether the drive has no room for it.
    pub fn is_full(&self) -> bool {
        self.source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}

/// Adds what was tried to SQLite's answer.
pub(crate) trait Tried<T> {
    fn tried(self, op: &'static str) -> Result<T, CatalogueError>;
}

impl<T> Tried<T> for Result<T, rusqlite::Error> {
    fn tried(self, op: &'static str) -> Result<T, CatalogueError> {
        self.map_err(|source| CatalogueError { op, source })
    }
}

impl Catalogue {
    /// Opens or makes the catalogue at `path`.
    pub fn open(path: &Path) -> Result<Self, CatalogueError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        // NOFOLLOW refuses a link anywhere in the path; links above our own directory are the administrator's business.
        let whole = path
            .parent()
            .zip(path.file_name())
            .and_then(|(dir, name)| Some(dir.canonicalize().ok()?.join(name)));
        let path = whole.as_deref().unwrap_or(path);
        Self::prepare(Connection::open_with_flags(path, flags).tried("open")?, "wal")
    }

    /// Opens a catalogue that must be sound. `seal`: what the file hashes to, if it was closed in order. Without a seal it is checked all
    /// through. A large one is proved in the background, by whoever asks [`Catalogue::unproved`]; `at_once`: not so.
    pub fn open_checked(
        path: &Path,
        seal: Option<ContentHash>,
        at_once: bool,
    ) -> Result<Self, CatalogueError> {
        let corrupt = |words| CatalogueError { op: "open", source: said(ffi::SQLITE_CORRUPT, words) };
        let size = std::fs::metadata(path).map_or(0, |m| m.len());
        let (at_once, logged) = (at_once || size <= AT_ONCE, snapshot::has_log(path));
        // What is in a log is not under the seal: whoever left one did not close in order.
        let seal = seal.filter(|_| !logged);
        if at_once && let Some(seal) = seal {
            let found = snapshot::hash(path)?;
            if found != seal {
                return Err(corrupt("its bytes are not those it was closed with".to_owned()));
            }
        }
        let seal =
            if !at_once && seal.is_some() && !snapshot::is_of_this_version(path)? { None } else { seal };
        let catalogue = Self::open(path)?;
        match (at_once, seal) {
            (true, Some(_)) => {}
            (true, None) => snapshot::look_through(catalogue.lock().as_ref().ok_or_else(closed)?)?,
            (false, Some(seal)) => {
                if let Some(at_rest) = catalogue.at_rest()? {
                    at_rest.keep();
                    catalogue.set_unproved(Some(Unproved::Sealed(seal)));
                }
            }
            (false, None) => catalogue.set_unproved(Some(Unproved::Unchecked)),
        }
        Ok(catalogue)
    }

    /// What is still to be found out about it.
    pub fn unproved(&self) -> Option<Unproved> {
        *self.unproved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is to be found out.
    pub fn set_unproved(&self, what: Option<Unproved>) {
        *self.unproved.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// What was noticed of its file while it was used.
    pub fn doubt(&self) -> Doubt {
        match self.doubt.load(Ordering::Acquire) {
            0 => Doubt::None,
            1 => Doubt::Behind,
            2 => Doubt::Unread,
            _ => Doubt::Damaged,
        }
    }

    /// A catalogue in memory, for the simulation.
    pub fn in_memory() -> Result<Self, CatalogueError> {
        Self::prepare(Connection::open_in_memory().tried("open")?, "memory")
    }

    fn prepare(mut connection: Connection, journal: &str) -> Result<Self, CatalogueError> {
        // EXCLUSIVE before WAL: no shared-memory file, whose mapping would kill the process when the drive is pulled.
        connection
            .execute_batch(&format!(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
                 PRAGMA foreign_keys=ON; PRAGMA mmap_size=0; PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF;
                 PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}; PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-8192;
                 PRAGMA temp_store=MEMORY;",
            ))
            .tried("set up")?;
        // A plan is made once: builds with STAT4 make it anew whenever a bound value changes that a range begins or ends with.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).tried("set up")?;
        // Some builds and some filesystems answer a PRAGMA with something else: believe only what reads back (I10).
        expect_pragma(&connection, "journal_mode", journal)?;
        expect_pragma(&connection, "synchronous", "2")?;
        expect_pragma(&connection, "foreign_keys", "1")?;
        migrate(&mut connection)?;
        connection.set_prepared_statement_cache_capacity(64);
        let open =
            Mutex::new(Some(Open { connection, file: None, at_rest: false, level: None, following: None }));
        let facts = AtomicU64::default();
        let opening = OPENINGS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { open, facts, doubt: AtomicU8::new(0), unproved: Mutex::default(), opening })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        // A panic while holding it leaves SQLite consistent: the transaction rolled back when it was dropped.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the file free, whoever still holds this: the drive is about to go, or to be opened anew. Everything
    /// asked of it from now on fails.
    pub fn close(&self) {
        let mut open = self.lock();
        // One in memory holds no file, and what it knows exists nowhere else (the simulation's stands for a durable one).
        if open.as_ref().is_some_and(|o| o.connection.path().is_some_and(|path| !path.is_empty())) {
            drop(open.take());
        }
    }

    /// Runs a bounded number of queries. Holds up writers as long as it takes: pages, not whole tables.
    pub fn read<T>(
        &self,
        body: impl FnOnce(&Reader<'_>) -> Result<T, CatalogueError>,
    ) -> Result<T, CatalogueError> {
        let open = self.lock();
        self.heed(body(&Reader::new(&open.as_ref().ok_or_else(closed)?.connection)))
    }

    /// Which opening of a catalogue in this process this is: what a power cut took, another one may give the numbers of.
    pub fn opening(&self) -> u64 {
        self.opening
    }

    /// Another number than before whenever [`facts`] may have changed since: cheap to ask.
    pub fn facts_version(&self) -> u64 {
        self.facts.load(Ordering::Acquire)
    }

    /// After a transaction with events in it.
    pub fn count_facts(&self, events: &[Event]) {
        if events.iter().any(|event| facts::concerned(&event.what)) {
            self.facts.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Gives the memory back in which pages of the file are kept. They are in the page cache, too.
    pub fn shrink(&self) {
        if let Some(open) = self.lock().as_ref() {
            // Nothing depends on it.
            drop(open.connection.execute_batch("PRAGMA shrink_memory"));
        }
    }

    /// Moves the write-ahead log into the database, for a small file at rest.
    pub fn checkpoint(&self) -> Result<(), CatalogueError> {
        let mut open = self.lock();
        let open = open.as_mut().ok_or_else(closed)?;
        self.settle(open)?;
        if open.at_rest {
            return Ok(());
        }
        open.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).tried("checkpoint")
    }
}

fn expect_pragma(connection: &Connection, name: &'static str, want: &str) -> Result<(), CatalogueError> {
    let value: rusqlite::types::Value =
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).tried("read a setting back")?;
    let text = match value {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(n) => n.to_string(),
        other @ (rusqlite::types::Value::Null
        | rusqlite::types::Value::Real(_)
        | rusqlite::types::Value::Blob(_)) => format!("{other:?}"),
    };
    if text == want {
        return Ok(());
    }
    let source = said(ffi::SQLITE_CANTOPEN, format!("{name} is {text}, must be {want}"));
    Err(CatalogueError { op: "set up", source })
}

fn said(code: i32, what: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(what))
}

fn closed() -> CatalogueError {
    CatalogueError { op: "answer", source: said(ffi::SQLITE_MISUSE, "it was closed".to_owned()) }
}

/// The ladder of versions: each step in one transaction together with its `user_version`.
fn migrate(connection: &mut Connection) -> Result<(), CatalogueError> {
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).tried("read version")?;
    if version > VERSION {
        let source = said(ffi::SQLITE_CANTOPEN, format!("version {version} is newer than this program"));
        return Err(CatalogueError { op: "open", source });
    }
    for (step, sql) in (0..).zip(LADDER).skip_while(|(step, _)| *step < version) {
        let tx = connection.transaction().tried("begin")?;
        tx.execute_batch(sql).tried("make tables")?;
        tx.pragma_update(None, "user_version", step + 1).tried("set version")?;
        tx.commit().tried("commit")?;
    }
    Ok(())
}

/// Nanoseconds since 1970, as stored. Times outside 1677–2262 are held at the edge.
pub(crate) fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(if at < Timestamp::UNIX_EPOCH { i64::MIN } else { i64::MAX })
}

/// A stored time.
pub(crate) fn time(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_is_built_as_the_settings_of_the_build_say() {
        let connection = Connection::open_in_memory().unwrap();
        let has = |option: &str| -> bool {
            connection.query_row("SELECT sqlite_compileoption_used(?1)", [option], |row| row.get(0)).unwrap()
        };
        assert!(has("DEFAULT_MEMSTATUS=0") && has("OMIT_SHARED_CACHE") && has("THREADSAFE=1"));
        assert!(!has("ENABLE_FTS5") && !has("ENABLE_API_ARMOR") && !has("ENABLE_STAT4"));
    }

    #[test]
    fn a_setting_that_reads_back_otherwise_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        expect_pragma(&connection, "journal_mode", "memory").unwrap();
        expect_pragma(&connection, "user_version", "0").unwrap();
        for (name, want, said) in [
            ("journal_mode", "wal", "journal_mode is memory, must be wal"),
            ("user_version", "2", "user_version is 0, must be 2"),
        ] {
            let refused = expect_pragma(&connection, name, want).unwrap_err();
            assert!(refused.to_string().contains(said), "{refused}");
            assert!(!refused.is_damage(), "the file is sound: it is not to be set aside");
        }
        // A name that SQLite does not know is answered with no row at all.
        assert!(expect_pragma(&connection, "synchronos", "2").is_err());
    }

    #[test]
    fn an_older_catalogue_climbs_the_ladder_and_a_newer_one_is_left_alone() {
        let made_by = |version: usize| {
            let connection = Connection::open_in_memory().unwrap();
            LADDER[..version].iter().for_each(|sql| connection.execute_batch(sql).unwrap());
            connection.pragma_update(None, "user_version", version as i64).unwrap();
            connection
        };
        let shape = |catalogue: &Catalogue| -> Vec<String> {
            let open = catalogue.lock();
            let mut all = open
                .as_ref()
                .unwrap()
                .connection
                .prepare("SELECT name FROM sqlite_schema ORDER BY name")
                .unwrap();
            all.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let new = Catalogue::in_memory().unwrap();
        for version in 1..=LADDER.len() {
            let climbed = Catalogue::prepare(made_by(version), "memory").unwrap();
            assert_eq!(shape(&climbed), shape(&new), "from version {version}");
        }
        let newer = made_by(LADDER.len());
        newer.pragma_update(None, "user_version", VERSION + 1).unwrap();
        let refused = Catalogue::prepare(newer, "memory").map(drop).unwrap_err();
        assert!(refused.to_string().contains("newer than this program") && !refused.is_damage(), "{refused}");
    }

    /// A database in memory takes no write-ahead log and says so by another word: as some filesystems do.
    #[test]
    fn a_catalogue_without_its_settings_does_not_open() {
        let prepare = |journal| Catalogue::prepare(Connection::open_in_memory().unwrap(), journal).map(drop);
        prepare("memory").unwrap();
        assert_eq!(prepare("wal").unwrap_err().op, "set up");
    }
}
