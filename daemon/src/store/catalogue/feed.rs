//! What phones that follow a person's photos are to look at again, and up to where each of them has heard. The triggers that write it are
//! in `feed.sql`.
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};

use crate::model::hash::ContentHash;
use crate::store::catalogue::names::below;
use crate::store::catalogue::read::Reader;
use crate::store::catalogue::{CatalogueError, Tried, Tx, nanos};

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Photos.
    Photos,
    /// Folders.
    Folders,
    /// Photos in folders.
    Members,
}

/// Something to look at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Rises with every change.
    pub seq: i64,
    /// The folder's folded name; empty: the photo itself.
    pub folder: String,
    /// The photo; `None`: the folder itself.
    pub hash: Option<ContentHash>,
}

fn touched(row: &Row<'_>) -> rusqlite::Result<Touched> {
    let hash: Vec<u8> = row.get(2)?;
    let hash = <[u8; 32]>::try_from(hash.as_slice()).ok().map(ContentHash::from_bytes);
    Ok(Touched { seq: row.get(0)?, folder: row.get(1)?, hash })
}

impl Reader<'_> {
    /// Up to `limit` changes of a home after `after` and up to `until`, in their order.
    pub fn feed(
        &self,
        home: &str,
        about: About,
        (after, until): (i64, i64),
        limit: usize,
    ) -> Result<Vec<Touched>, CatalogueError> {
        let about = match about {
            About::Photos => "folder = ''",
            About::Folders => "folder <> '' AND hash = x''",
            About::Members => "folder <> '' AND hash <> x''",
        };
        // In the order of the changes, whatever the planner thinks of the other index.
        let sql = format!(
            "SELECT seq, folder, hash FROM feed NOT INDEXED WHERE seq > ?1 AND seq <= ?2 AND home = ?3 AND {about} ORDER BY seq LIMIT ?4"
        );
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map(params![after, until, home, limit as i64], touched)?.collect())
            .tried("read what changed")
    }

    /// When a photo (`folder` empty) or a folder (no hash) changed last; 0: never.
    pub fn last_touched(
        &self,
        home: &str,
        folder: &str,
        hash: Option<&ContentHash>,
    ) -> Result<i64, CatalogueError> {
        let hash: &[u8] = hash.map_or(&[], |hash| hash.as_bytes());
        self.connection
            .prepare_cached("SELECT seq FROM feed WHERE home = ?1 AND folder = ?2 AND hash = ?3")
            .and_then(|mut s| s.query_row(params![home, folder, hash], |row| row.get(0)).optional())
            .map(Option::unwrap_or_default)
            .tried("read when something changed")
    }

    /// The last change there is.
    pub fn feed_end(&self) -> Result<i64, CatalogueError> {
        self.connection
            .prepare_cached("SELECT coalesce(max(seq), 0) FROM feed")
            .and_then(|mut s| s.query_row([], |row| row.get(0)))
            .tried("read the last change")
    }

    /// When the device that follows under this name was added; `None`: none does.
    pub fn follower(&self, device: &str) -> Result<Option<i64>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT since FROM follower WHERE device = ?1")
            .and_then(|mut s| s.query_row([device], |row| row.get(0)).optional())
            .tried("look a follower up")
    }

    /// Up to which change a follower has heard of what.
    pub fn heard(&self, device: &str) -> Result<Vec<(String, i64)>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT entity, seq FROM heard WHERE device = ?1 ORDER BY entity")
            .and_then(|mut s| s.query_map([device], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .tried("read what was heard")
    }
}

/// A device follows a home from the beginning, having heard of nothing.
pub fn follow(
    tx: &Tx<'_>,
    device: &str,
    home: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    unfollow(tx, device)?;
    let values = params![device, home, nanos(since), nanos(now)];
    tx.execute("INSERT INTO follower (device, home, since, seen) VALUES (?1, ?2, ?3, ?4)", values)
        .and_then(|_| tx.execute("INSERT OR IGNORE INTO followed (home, filled) VALUES (?1, 0)", [home]))
        .tried("note a follower")
        .map(drop)
}

/// A device follows no longer, nor do those that were not seen since `idle`. What nobody follows leaves the feed.
pub fn unfollow(tx: &Tx<'_>, device: &str) -> Result<(), CatalogueError> {
    tx.execute("DELETE FROM follower WHERE device = ?1", [device])
        .and_then(|_| tx.execute("DELETE FROM followed WHERE home NOT IN (SELECT home FROM follower)", []))
        .and_then(|_| tx.execute("DELETE FROM feed WHERE home NOT IN (SELECT home FROM followed)", []))
        .tried("forget a follower")
        .map(drop)
}

/// Those that did not ask since `idle` follow no longer.
pub fn forget_idle(tx: &Tx<'_>, idle: Timestamp) -> Result<(), CatalogueError> {
    tx.execute("DELETE FROM follower WHERE seen < ?1", [nanos(idle)]).tried("forget followers").map(drop)
}

/// Puts the next `limit` names that were there before anybody followed into a home's feed. `true`: that was all.
pub fn fill(tx: &Tx<'_>, home: &str, limit: usize) -> Result<bool, CatalogueError> {
    let from: Option<i64> = tx
        .prepare_cached("SELECT filled FROM followed WHERE home = ?1")
        .and_then(|mut s| s.query_row([home], |row| row.get(0)).optional())
        .tried("look how far a feed is")?;
    let Some(from) = from.filter(|from| *from >= 0) else { return Ok(true) };
    let (first, last) = below(home);
    // By row id: the names of all people are passed over once, and none twice.
    let page = "FROM name WHERE id > ?2 AND +fold >= ?3 AND +fold < ?4 AND shelf = 'photos'";
    let until: Option<i64> = tx
        .prepare_cached(&format!("SELECT max(id) FROM (SELECT id {page} ORDER BY id LIMIT ?1)"))
        .and_then(|mut s| s.query_row(params![limit as i64, from, first, last], |row| row.get(0)))
        .tried("look for names")?;
    let inserts = [
        "SELECT DISTINCT ?1, '', hash",
        "SELECT DISTINCT ?1, parent, hash",
        "SELECT DISTINCT ?1, iif(hash IS NULL, fold, parent), x''",
    ];
    if let Some(until) = until {
        for (n, select) in inserts.iter().enumerate() {
            let files = if n < 2 { "AND hash IS NOT NULL" } else { "" };
            // What is there was touched since, and is further on.
            tx.prepare_cached(&format!(
                "INSERT OR IGNORE INTO feed (home, folder, hash) {select} {page} AND id <= ?5 {files}"
            ))
            .and_then(|mut s| s.execute(params![home, from, first, last, until]))
            .tried("fill a feed")?;
        }
    }
    tx.prepare_cached("UPDATE followed SET filled = ?2 WHERE home = ?1")
        .and_then(|mut s| s.execute(params![home, until.unwrap_or(-1)]))
        .tried("fill a feed")?;
    Ok(until.is_none())
}

/// A follower has heard of all of a kind up to a change. What it heard before it does not forget by this.
pub fn hear(tx: &Tx<'_>, device: &str, entity: &str, seq: i64, now: Timestamp) -> Result<(), CatalogueError> {
    tx.prepare_cached("UPDATE follower SET seen = ?2 WHERE device = ?1")
        .and_then(|mut s| s.execute(params![device, nanos(now)]))
        .and_then(|_| {
            tx.prepare_cached(
                "INSERT INTO heard (device, entity, seq) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM follower WHERE device = ?1)
                 ON CONFLICT (device, entity) DO UPDATE SET seq = max(seq, excluded.seq)",
            )
        })
        .and_then(|mut s| s.execute(params![device, entity, seq]))
        .tried("note what was heard")
        .map(drop)
}

/// A follower is to be told anew of one kind, or of all.
pub fn unhear(tx: &Tx<'_>, device: &str, entity: Option<&str>) -> Result<(), CatalogueError> {
    tx.prepare_cached("DELETE FROM heard WHERE device = ?1 AND (?2 IS NULL OR entity = ?2)")
        .and_then(|mut s| s.execute(params![device, entity]))
        .tried("forget what was heard")
        .map(drop)
}
