//! What was sent already: SQLite in the user's own state folder, a row for each file and box.
//!
//! It only saves work. Lost, every file is read once more, and the box is asked for each whether it has it.
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::scan::Look;
use crate::model::hash::ContentHash;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS box (
        id TEXT PRIMARY KEY, address TEXT NOT NULL, user TEXT NOT NULL, run INTEGER, whole INTEGER
    );
    CREATE TABLE IF NOT EXISTS file (
        box TEXT NOT NULL, path BLOB NOT NULL, name TEXT NOT NULL,
        size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, inode INTEGER NOT NULL,
        hash TEXT, state TEXT NOT NULL CHECK (state IN ('sent', 'there', 'missing', 'failed')),
        why TEXT NOT NULL, attempts INTEGER NOT NULL, at INTEGER NOT NULL, confirmed INTEGER NOT NULL,
        PRIMARY KEY (box, path)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS file_confirmed ON file (box, confirmed);
    PRAGMA user_version = 1;";

/// A file written to so shortly before it was read may be written to again without looking different: its date has a grain
/// (FAT's is two seconds). It is read once more in the next run.
const GRAIN: i64 = 3_000_000_000;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    /// It was sent.
    Sent,
    /// The box had it.
    There,
    /// It was there, and the box has it no more.
    Missing,
    /// It could not be sent.
    Failed,
}

impl Became {
    const ALL: [Self; 4] = [Self::Sent, Self::There, Self::Missing, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::There => "there",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }

    fn read(text: &str) -> Self {
        Self::ALL.into_iter().find(|one| one.as_str() == text).unwrap_or(Self::Failed)
    }
}

/// What is on record of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) path: PathBuf,
    /// Under which name the box has it.
    pub(super) name: String,
    pub(super) look: Look,
    pub(super) hash: Option<ContentHash>,
    pub(super) became: Became,
    pub(super) why: String,
    pub(super) attempts: u32,
    pub(super) at: Timestamp,
}

/// Counts of all that is on record for a box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) there: u64,
    pub(super) missing: u64,
    pub(super) failed: u64,
}

/// When something was run last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// Any run.
    pub(super) last: Option<Timestamp>,
    /// One that left nothing to be sent.
    pub(super) whole: Option<Timestamp>,
}

/// The record.
pub(super) struct State(Mutex<Connection>);

impl State {
    /// Opens it, or begins it.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("push.db");
        let what = || {
            format!(
                "could not open {}: move it away, and every file is asked about once more",
                path.display()
            )
        };
        let connection = Connection::open(&path).with_context(what)?;
        connection.busy_timeout(Duration::from_secs(30)).with_context(what)?;
        // A power cut may take the last rows: they are found to be there by asking.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
            .with_context(what)?;
        connection.execute_batch(SCHEMA).with_context(what)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where a box is found.
    pub(super) fn note_box(&self, id: &str, address: &str, user: &str) -> anyhow::Result<()> {
        self.lock().execute(
            "INSERT INTO box (id, address, user) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET address = excluded.address, user = excluded.user",
            params![id, address, user],
        )?;
        Ok(())
    }

    /// The box that was last found there.
    pub(super) fn box_at(&self, address: &str, user: &str) -> anyhow::Result<Option<String>> {
        let sql = "SELECT id FROM box WHERE address = ?1 AND user = ?2 ORDER BY run DESC LIMIT 1";
        Ok(self.lock().query_row(sql, [address, user], |row| row.get(0)).optional()?)
    }

    /// Notes that a run ended; `whole`: with nothing left to be sent.
    pub(super) fn note_run(&self, id: &str, now: Timestamp, whole: bool) -> anyhow::Result<()> {
        let sql = if whole {
            "UPDATE box SET run = ?2, whole = ?2 WHERE id = ?1"
        } else {
            "UPDATE box SET run = ?2 WHERE id = ?1"
        };
        self.lock().execute(sql, params![id, now.as_second()])?;
        Ok(())
    }

    /// When the last runs were.
    pub(super) fn runs(&self, id: &str) -> anyhow::Result<Runs> {
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?));
        let found =
            self.lock().query_row("SELECT run, whole FROM box WHERE id = ?1", [id], read).optional()?;
        let at = |second: Option<i64>| second.and_then(|second| Timestamp::from_second(second).ok());
        Ok(found.map_or_else(Runs::default, |(last, whole)| Runs { last: at(last), whole: at(whole) }))
    }

    /// What is on record of a file.
    pub(super) fn find(&self, id: &str, path: &Path) -> anyhow::Result<Option<Row>> {
        let sql = format!("SELECT {COLUMNS} FROM file WHERE box = ?1 AND path = ?2");
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&sql)?;
        Ok(statement.query_row(params![id, bytes(path)], row).optional()?)
    }

    /// All that failed, or is missing.
    pub(super) fn having(&self, id: &str, became: Became) -> anyhow::Result<Vec<Row>> {
        let sql = format!("SELECT {COLUMNS} FROM file WHERE box = ?1 AND state = ?2 ORDER BY path");
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![id, became.as_str()], row)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Notes what became of a file.
    pub(super) fn put(&self, id: &str, file: &Row) -> anyhow::Result<()> {
        let at = file.at.as_nanosecond() as i64;
        let is_fresh = file.look.ctime > at.saturating_sub(GRAIN);
        // No file has this inode: it will look different, and be read.
        let inode = if is_fresh { -1 } else { file.look.inode as i64 };
        self.lock().execute(
            "INSERT OR REPLACE INTO file (box, path, name, size, mtime, ctime, inode, hash, state, why, attempts, at, confirmed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)",
            params![
                id, bytes(&file.path), file.name, file.look.size as i64, file.look.mtime, file.look.ctime, inode,
                file.hash.map(|hash| hash.to_string()), file.became.as_str(), file.why, file.attempts, file.at.as_second(),
            ],
        )?;
        Ok(())
    }

    /// Forgets a file that is gone and was never on the box.
    pub(super) fn forget(&self, id: &str, path: &Path) -> anyhow::Result<()> {
        let sql = "DELETE FROM file WHERE box = ?1 AND path = ?2 AND state = 'failed'";
        self.lock().execute(sql, params![id, bytes(path)])?;
        Ok(())
    }

    /// Up to `most` files that were on the box and have not been asked about since `before`, those first that wait longest.
    pub(super) fn unconfirmed(&self, id: &str, before: Timestamp, most: u32) -> anyhow::Result<Vec<Row>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM file WHERE box = ?1 AND confirmed < ?2 AND state IN ('sent', 'there') AND hash IS NOT NULL
             ORDER BY confirmed LIMIT ?3"
        );
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&sql)?;
        let rows =
            statement.query_map(params![id, before.as_second(), most], row)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Notes that the box was asked about a file, and has it or not.
    pub(super) fn confirm(
        &self,
        id: &str,
        path: &Path,
        is_there: bool,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let sql = "UPDATE file SET confirmed = ?3, state = CASE WHEN ?4 THEN state ELSE 'missing' END WHERE box = ?1 AND path = ?2";
        self.lock().execute(sql, params![id, bytes(path), now.as_second(), is_there])?;
        Ok(())
    }

    /// How many of each there are.
    pub(super) fn counts(&self, id: &str) -> anyhow::Result<Counts> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT state, count(*) FROM file WHERE box = ?1 GROUP BY state")?;
        let mut counts = Counts::default();
        for pair in statement.query_map([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))? {
            let (state, count) = pair?;
            let count = u64::try_from(count).unwrap_or(0);
            match Became::read(&state) {
                Became::Sent => counts.sent = count,
                Became::There => counts.there = count,
                Became::Missing => counts.missing = count,
                Became::Failed => counts.failed = count,
            }
        }
        Ok(counts)
    }
}

const COLUMNS: &str = "path, name, size, mtime, ctime, inode, hash, state, why, attempts, at";

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    use std::os::unix::ffi::OsStringExt as _;
    let hash: Option<String> = row.get(6)?;
    Ok(Row {
        path: PathBuf::from(std::ffi::OsString::from_vec(row.get(0)?)),
        name: row.get(1)?,
        look: Look {
            size: row.get::<_, i64>(2)? as u64,
            mtime: row.get(3)?,
            ctime: row.get(4)?,
            inode: row.get::<_, i64>(5)? as u64,
        },
        hash: hash.and_then(|text| text.parse().ok()),
        became: Became::read(&row.get::<_, String>(7)?),
        why: row.get(8)?,
        attempts: row.get(9)?,
        at: Timestamp::from_second(row.get(10)?).unwrap_or_default(),
    })
}

fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn file(path: &str, became: Became, second: i64) -> Row {
        Row {
            path: path.into(),
            name: path.into(),
            look: Look { size: 3, mtime: 100_000_000_000, ctime: 100_000_000_001, inode: 7 },
            hash: Some(ContentHash::of(path.as_bytes())),
            became,
            why: String::new(),
            attempts: 1,
            at: at(second),
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.note_box("b", "box:80", "anna").unwrap();
        for became in Became::ALL {
            let row = file(became.as_str(), became, 200);
            state.put("b", &row).unwrap();
            assert_eq!(state.find("b", &row.path).unwrap(), Some(row));
        }
        assert_eq!(state.counts("b").unwrap(), Counts { sent: 1, there: 1, missing: 1, failed: 1 });
        assert_eq!(state.counts("other").unwrap(), Counts::default());
        assert_eq!(state.find("other", Path::new("sent")).unwrap(), None);
        // Only what never was on the box is forgotten.
        for path in ["sent", "failed"] {
            state.forget("b", Path::new(path)).unwrap();
        }
        assert_eq!(state.counts("b").unwrap(), Counts { sent: 1, there: 1, missing: 1, failed: 0 });
        drop(state);
        let state = State::open(dir.path()).unwrap();
        assert_eq!(state.box_at("box:80", "anna").unwrap().as_deref(), Some("b"));
        assert_eq!(state.box_at("box:80", "ben").unwrap(), None);
        state.note_run("b", at(300), false).unwrap();
        assert_eq!(state.runs("b").unwrap(), Runs { last: Some(at(300)), whole: None });
        state.note_run("b", at(400), true).unwrap();
        assert_eq!(state.runs("b").unwrap(), Runs { last: Some(at(400)), whole: Some(at(400)) });
    }

    #[test]
    fn what_was_written_to_just_before_looks_different_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let row = file("a", Became::Sent, 101);
        state.put("b", &row).unwrap();
        assert_ne!(state.find("b", &row.path).unwrap().unwrap().look, row.look);
        let row = file("a", Became::Sent, 104);
        state.put("b", &row).unwrap();
        assert_eq!(state.find("b", &row.path).unwrap().unwrap().look, row.look);
    }

    #[test]
    fn those_asked_about_longest_ago_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        for (path, second) in [("c", 300), ("a", 100), ("b", 200)] {
            state.put("x", &file(path, Became::Sent, second)).unwrap();
        }
        let paths = |most| {
            let rows = state.unconfirmed("x", at(300), most).unwrap();
            rows.iter().map(|row| row.path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(paths(9), ["a", "b"]);
        assert_eq!(paths(1), ["a"]);
        state.confirm("x", Path::new("a"), true, at(400)).unwrap();
        state.confirm("x", Path::new("b"), false, at(400)).unwrap();
        assert!(paths(9).is_empty());
        assert_eq!(state.having("x", Became::Missing).unwrap().len(), 1);
    }
}
