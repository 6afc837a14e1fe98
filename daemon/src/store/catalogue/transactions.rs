//! Transactions on the one connection: those that are durable when they return, and those that only follow durable lines, many of which
//! share one commit.
//!
//! A commit writes every page it touched into the log, about seventeen for one photo. Rows that follow from lines of a manifest are read by
//! this connection and by nobody else, so their transaction is left open for 64 changes, or some seconds: the
//! pages are written once for all of them. What a kill or a power cut takes of it is a number of whole changes, the last ones, and the
//! next start replays their lines (docs/decisions/0015).
use std::sync::atomic::Ordering;

use rusqlite::{Savepoint, TransactionBehavior};

use crate::store::catalogue::{Catalogue, CatalogueError, Doubt, Open, Tried, closed};

/// A transaction of the catalogue, as the write functions of this module take it.
pub type Tx<'c> = Savepoint<'c>;

/// How many changes share a commit at most.
const TOGETHER: u32 = 64;

/// So many changes are carried out and not committed.
pub(super) type Following = u32;

/// What a COMMIT waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// The log is flushed.
    Full,
    /// Nothing: the log is flushed before anything of it is moved into the database.
    Normal,
}

impl Open {
    /// Each transaction says for itself what it needs: none inherits it from the one before. Not within a transaction.
    fn set_level(&mut self, level: Level) -> Result<(), CatalogueError> {
        if self.level != Some(level) {
            self.level = None;
            let pragma = match level {
                Level::Full => "PRAGMA synchronous=FULL",
                Level::Normal => "PRAGMA synchronous=NORMAL",
            };
            self.connection.execute_batch(pragma).tried("set up")?;
            self.level = Some(level);
        }
        Ok(())
    }

    /// Commits what follows. On failure it is all taken back: the file is as it was, and behind the manifests.
    pub(super) fn settle(&mut self) -> Result<(), CatalogueError> {
        if self.following.is_none() {
            return Ok(());
        }
        let committed = self.connection.execute_batch("COMMIT").tried("commit");
        if committed.is_err() && !self.connection.is_autocommit() {
            // What this leaves open, closing the connection takes back.
            drop(self.connection.execute_batch("ROLLBACK"));
        }
        self.following = None;
        committed
    }

    fn write<T>(
        &mut self,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogueError>,
    ) -> Result<T, CatalogueError> {
        self.set_level(Level::Full)?;
        let mut tx =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).tried("begin")?;
        let inner = tx.savepoint().tried("begin")?;
        let value = body(&inner)?;
        inner.commit().tried("commit")?;
        tx.commit().tried("commit")?;
        Ok(value)
    }

    fn follow<T>(
        &mut self,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogueError>,
    ) -> Result<T, CatalogueError> {
        if self.following.is_none() {
            self.set_level(Level::Normal)?;
            self.connection.execute_batch("BEGIN IMMEDIATE").tried("begin")?;
        }
        let following = *self.following.get_or_insert(0);
        let inner = self.connection.savepoint().tried("begin")?;
        let value = body(&inner)?;
        inner.commit().tried("commit")?;
        self.following = Some(following + 1);
        Ok(value)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Not committed, it is replayed by the next start.
        drop(self.settle());
    }
}

impl Catalogue {
    /// Runs `body` in one transaction; durable on `Ok`, with all that was done before.
    pub fn write<T>(
        &self,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogueError>,
    ) -> Result<T, CatalogueError> {
        let mut open = self.lock();
        let open = open.as_mut().ok_or_else(closed)?;
        self.settle(open)?;
        self.heed(open.write(body))
    }

    /// The same for rows that follow from lines which are durable in a manifest, with the position they reach: a power cut or a kill
    /// may take them, as a whole and with all that came after, and the next start replays those lines. What is left is
    /// sound: the log is flushed before any of it is moved into the database (docs/decisions/0013, 0015).
    pub fn follow<T>(
        &self,
        body: impl FnOnce(&Tx<'_>) -> Result<T, CatalogueError>,
    ) -> Result<T, CatalogueError> {
        let mut open = self.lock();
        let open = open.as_mut().ok_or_else(closed)?;
        let before = open.following.unwrap_or(0);
        let result = self.heed(open.follow(body));
        if open.following.is_some() && open.connection.is_autocommit() {
            // SQLite took everything back with the statement that failed (no room, no memory, no drive).
            open.following = None;
            if before > 0 {
                self.condemn(Doubt::Behind);
            }
        }
        if open.following.is_some_and(|changes| changes >= TOGETHER) {
            self.settle(open)?;
        }
        result
    }

    /// Commits what follows, for whoever looks after the drive: nothing waits for a sixty-fourth change for long.
    pub fn commit_what_follows(&self) -> Result<(), CatalogueError> {
        self.lock().as_mut().map_or(Ok(()), |open| self.settle(open))
    }

    /// Commits what follows. What cannot be committed is lost here and stands in the manifests: the catalogue is to be opened anew, and
    /// answers nothing until then.
    pub(super) fn settle(&self, open: &mut Open) -> Result<(), CatalogueError> {
        self.heed(open.settle()).inspect_err(|_| self.condemn(Doubt::Behind))
    }

    /// Something is wrong with its file: nothing more is answered from it.
    pub fn condemn(&self, doubt: Doubt) {
        self.doubt.fetch_max(doubt as u8, Ordering::AcqRel);
    }

    pub(super) fn heed<T>(&self, result: Result<T, CatalogueError>) -> Result<T, CatalogueError> {
        result.inspect_err(|e| self.condemn(e.doubt()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::catalogue::accounts::set_meta;

    fn follow(catalogue: &Catalogue, number: u32) {
        catalogue.follow(|tx| set_meta(tx, &format!("n{number}"), "here")).unwrap();
    }

    /// How many of them a catalogue has that was killed now.
    fn after_a_kill(path: &Path, of: u32) -> u32 {
        let dir = tempfile::tempdir().unwrap();
        for name in ["c.db", "c.db-wal"] {
            drop(std::fs::copy(path.with_file_name(name), dir.path().join(name)));
        }
        let killed = Catalogue::open(&dir.path().join("c.db")).unwrap();
        (0..of).filter(|n| killed.read(|r| r.meta(&format!("n{n}"))).unwrap().is_some()).count() as u32
    }

    #[test]
    fn what_follows_is_seen_at_once_and_committed_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.db");
        let catalogue = Catalogue::open(&path).unwrap();
        (0..10).for_each(|n| follow(&catalogue, n));
        assert_eq!(catalogue.read(|r| r.meta("n9")).unwrap().as_deref(), Some("here"));
        assert_eq!(after_a_kill(&path, 10), 0);
        // Whoever must be durable takes them along.
        catalogue.write(|tx| set_meta(tx, "n10", "here")).unwrap();
        assert_eq!(after_a_kill(&path, 11), 11);
        (11..11 + TOGETHER).for_each(|n| follow(&catalogue, n));
        assert_eq!(after_a_kill(&path, 200), 11 + TOGETHER);
        follow(&catalogue, 100);
        catalogue.commit_what_follows().unwrap();
        assert_eq!(after_a_kill(&path, 200), 12 + TOGETHER);
        follow(&catalogue, 101);
        catalogue.close();
        assert_eq!(after_a_kill(&path, 200), 13 + TOGETHER);
    }

    #[test]
    fn one_that_fails_takes_back_itself_only() {
        let catalogue = Catalogue::in_memory().unwrap();
        follow(&catalogue, 1);
        let refused: Result<(), _> = catalogue.follow(|tx| {
            set_meta(tx, "n2", "here")?;
            Err(closed())
        });
        assert!(refused.is_err());
        follow(&catalogue, 3);
        let there = |n| catalogue.read(|r| r.meta(&format!("n{n}"))).unwrap().is_some();
        assert_eq!([1, 2, 3].map(there), [true, false, true]);
        assert_eq!(catalogue.doubt(), Doubt::None);
    }

    #[test]
    fn a_catalogue_that_lost_what_it_followed_answers_nothing_more() {
        let catalogue = Catalogue::in_memory().unwrap();
        follow(&catalogue, 1);
        // As SQLite does by itself when it runs out of room, memory or drive.
        let lost: Result<(), _> = catalogue.follow(|tx| {
            tx.execute_batch("ROLLBACK").tried("lose")?;
            Err(closed())
        });
        assert!(lost.is_err());
        assert_eq!(catalogue.doubt(), Doubt::Behind);
    }
}
