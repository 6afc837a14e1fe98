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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::catalogue::Catalogue;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn do_it(catalogue: &Catalogue, sql: &str) {
        catalogue.write(|tx| tx.execute_batch(sql).tried("try")).unwrap();
    }

    fn store(catalogue: &Catalogue, fold: &str, hash: Option<&[u8]>) {
        let parent = fold.rsplit_once('/').map_or("", |(parent, _)| parent);
        let hash = hash.map(|content| *ContentHash::of(content).as_bytes());
        let put = |tx: &Tx<'_>| {
            tx.execute(
                "INSERT OR IGNORE INTO name (fold, parent, path, shelf, hash, mtime, received, by)
                 VALUES (?1, ?2, ?1, 'photos', ?3, 0, 0, 'anna/phone')",
                params![fold, parent, hash],
            )
            .tried("store")
        };
        catalogue.write(put).unwrap();
    }

    /// What changed after a change, and where the last one is.
    fn since(catalogue: &Catalogue, home: &str, about: About, after: i64) -> (Vec<Touched>, i64) {
        let read = |r: &Reader<'_>| {
            let end = r.feed_end()?;
            Ok((r.feed(home, about, (after, end), 100)?, end))
        };
        catalogue.read(read).unwrap()
    }

    fn photos(catalogue: &Catalogue, after: i64) -> Vec<ContentHash> {
        since(catalogue, "anna", About::Photos, after).0.into_iter().filter_map(|t| t.hash).collect()
    }

    fn followed() -> Catalogue {
        let catalogue = Catalogue::in_memory().unwrap();
        catalogue.write(|tx| follow(tx, "anna/phone", "anna", NOW, NOW)).unwrap();
        assert!(catalogue.write(|tx| fill(tx, "anna", 100)).unwrap());
        catalogue
    }

    #[test]
    fn nothing_is_noted_for_whom_nobody_follows() {
        let catalogue = followed();
        for fold in ["ben/2026-11/a.jpg", "annabel/a.jpg", "ann/a.jpg", "loose.jpg"] {
            store(&catalogue, fold, Some(b"a"));
        }
        assert_eq!(catalogue.read(|r| r.feed_end()).unwrap(), 0);
        store(&catalogue, "anna/2026-11/a.jpg", Some(b"a"));
        assert_eq!(photos(&catalogue, 0), [ContentHash::of(b"a")]);
        catalogue.write(|tx| unfollow(tx, "anna/phone")).unwrap();
        store(&catalogue, "anna/2026-11/b.jpg", Some(b"b"));
        assert_eq!(catalogue.read(|r| r.feed_end()).unwrap(), 0);
    }

    #[test]
    fn what_was_there_is_filled_in_whatever_the_steps_and_what_changes_meanwhile_is_further_on() {
        let catalogue = Catalogue::in_memory().unwrap();
        for n in 0..7 {
            store(&catalogue, &format!("anna/trip/{n}.jpg"), Some(format!("{n}").as_bytes()));
            store(&catalogue, &format!("ben/trip/{n}.jpg"), Some(b"ben"));
        }
        store(&catalogue, "anna/empty", None);
        catalogue.write(|tx| follow(tx, "anna/phone", "anna", NOW, NOW)).unwrap();
        assert!(!catalogue.write(|tx| fill(tx, "anna", 3)).unwrap());
        do_it(&catalogue, "DELETE FROM name WHERE fold = 'anna/trip/5.jpg'");
        while !catalogue.write(|tx| fill(tx, "anna", 3)).unwrap() {}
        assert!(catalogue.write(|tx| fill(tx, "anna", 3)).unwrap());
        let hashes = photos(&catalogue, 0);
        assert_eq!(hashes.len(), 7, "the one that went is told of as gone");
        let (folders, _) = since(&catalogue, "anna", About::Folders, 0);
        let folders: Vec<&str> = folders.iter().map(|t| t.folder.as_str()).collect();
        assert_eq!(folders, ["anna/trip", "anna/empty"]);
        assert_eq!(since(&catalogue, "anna", About::Members, 0).0.len(), 7);
    }

    /// Each kind of change moves what it is about to the end, once.
    #[test]
    fn every_change_is_noted() {
        let catalogue = followed();
        let a = hex_of(b"a");
        do_it(
            &catalogue,
            "INSERT INTO drive (id, role, adopted) VALUES ('d', 'primary', 0), ('m', 'mirror', 0)",
        );
        do_it(&catalogue, &format!("INSERT INTO asset (hash, size, received) VALUES (x'{a}', 1, 0)"));
        store(&catalogue, "anna/trip/a.jpg", Some(b"a"));
        let copy = |drive| {
            format!(
                "INSERT INTO copy (name, drive, hash, at, state, big, since) SELECT id, '{drive}', hash, path, 'wanted', 0, 0 FROM name"
            )
        };
        do_it(&catalogue, &copy("d"));
        do_it(&catalogue, &copy("m"));
        let (_, mut end) = since(&catalogue, "anna", About::Photos, 0);
        let changes = [
            format!("UPDATE asset SET sha1 = 'x' WHERE hash = x'{a}'"),
            "UPDATE copy SET state = 'settled' WHERE drive = 'd'".to_owned(),
            format!("INSERT OR REPLACE INTO media (hash, kind, structure) VALUES (x'{a}', 'jpeg', 'whole')"),
            "UPDATE name SET mtime = 5".to_owned(),
            "UPDATE OR REPLACE name SET fold = 'anna/trip/b.jpg', path = 'anna/trip/b.jpg'".to_owned(),
            "UPDATE name SET shelf = 'scratch'".to_owned(),
            "UPDATE name SET shelf = 'photos'".to_owned(),
            "DELETE FROM name".to_owned(),
        ];
        for change in changes {
            do_it(&catalogue, &change);
            assert_eq!(photos(&catalogue, end), [ContentHash::of(b"a")], "{change}");
            let (members, last) = since(&catalogue, "anna", About::Members, end);
            assert_eq!(members.len(), 1, "{change}");
            end = last;
        }
        assert_eq!(photos(&catalogue, 0).len(), 1);
        // Not what makes no difference.
        store(&catalogue, "anna/trip/a.jpg", Some(b"a"));
        do_it(&catalogue, &copy("m"));
        let (_, end) = since(&catalogue, "anna", About::Photos, 0);
        do_it(&catalogue, &format!("UPDATE asset SET sha1 = 'x', received = 7 WHERE hash = x'{a}'"));
        do_it(&catalogue, "UPDATE copy SET state = 'settled' WHERE drive = 'm'");
        do_it(&catalogue, "UPDATE name SET changed = 7");
        assert_eq!(catalogue.read(|r| r.feed_end()).unwrap(), end);
    }

    fn hex_of(content: &[u8]) -> String {
        crate::model::hash::hex(ContentHash::of(content).as_bytes())
    }

    #[test]
    fn the_halves_of_a_live_photo_touch_each_other_and_nothing_else() {
        let catalogue = followed();
        for (fold, content) in
            [("anna/x.y/img.heic", "still"), ("anna/x.y/img2.heic", "other"), ("anna/x.y/plain", "plain")]
        {
            store(&catalogue, fold, Some(content.as_bytes()));
        }
        let (_, end) = since(&catalogue, "anna", About::Photos, 0);
        store(&catalogue, "anna/x.y/img.mov", Some(b"moves"));
        let touched = photos(&catalogue, end);
        assert!(touched.contains(&ContentHash::of(b"still")) && touched.len() == 2, "{touched:?}");
        let (_, end) = since(&catalogue, "anna", About::Photos, 0);
        // Its folder has a dot, and it has none.
        store(&catalogue, "anna/x.y/another", Some(b"another"));
        assert_eq!(photos(&catalogue, end), [ContentHash::of(b"another")]);
    }

    #[test]
    fn what_was_heard_only_rises() {
        let catalogue = followed();
        let heard = |catalogue: &Catalogue| catalogue.read(|r| r.heard("anna/phone")).unwrap();
        catalogue.write(|tx| hear(tx, "anna/phone", "AssetV2", 7, NOW)).unwrap();
        catalogue.write(|tx| hear(tx, "anna/phone", "AssetV2", 3, NOW)).unwrap();
        catalogue.write(|tx| hear(tx, "ben/phone", "AssetV2", 3, NOW)).unwrap();
        assert_eq!(heard(&catalogue), [("AssetV2".to_owned(), 7)]);
        catalogue.write(|tx| unhear(tx, "anna/phone", Some("AssetV2"))).unwrap();
        assert_eq!(heard(&catalogue), []);
        catalogue.write(|tx| hear(tx, "anna/phone", "AssetV2", 7, NOW)).unwrap();
        catalogue.write(|tx| follow(tx, "anna/phone", "anna", NOW, NOW)).unwrap();
        assert_eq!(heard(&catalogue), [], "whoever begins anew has heard nothing");
        catalogue.write(|tx| forget_idle(tx, Timestamp::from_second(1).unwrap())).unwrap();
        assert_eq!(catalogue.read(|r| r.follower("anna/phone")).unwrap(), None);
    }
}
