//! What assets say of themselves, as it was read from their bytes; which of them are still to be read; and what lies beside a name.
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

use crate::model::hash::ContentHash;
use crate::model::media::{ContentId, Coordinates, Media, Pixels, Taken};
use crate::model::path::RelPath;
use crate::store::catalogue::read::{Reader, count, hash, parsed, path};
use crate::store::catalogue::{CatalogueError, Tried, Tx, nanos};

/// The columns that [`media_row`] reads, of a table called `m`.
pub(super) const MEDIA: &str =
    "m.kind, m.structure, m.width, m.height, m.taken, m.taken_offset, m.taken_from, m.make, m.model,
    m.latitude, m.longitude, m.duration, m.content_id, m.motion";

/// An asset whose metadata is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its row.
    pub id: i64,
    /// The asset.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
    /// One of its names; `None`: it has none any more.
    pub path: Option<RelPath>,
    /// How often it could not be read.
    pub tries: u32,
}

/// An asset came that may not be known yet.
pub(super) fn unread(tx: &Tx<'_>, hash: &ContentHash) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO unread (hash) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM media WHERE hash = ?1)",
    )
    .and_then(|mut s| s.execute([hash.as_bytes()]))
    .tried("note an asset to be read")
    .map(drop)
}

/// Records what an asset says of itself: it is read.
pub fn record(tx: &Tx<'_>, hash: &ContentHash, media: &Media) -> Result<(), CatalogueError> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO media (hash, kind, structure, width, height, taken, taken_offset, taken_from, make, model, latitude,
           longitude, duration, content_id, motion)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )
    .and_then(|mut s| {
        let whole = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        s.execute(params![
            hash.as_bytes(),
            media.kind.as_str(),
            media.structure.as_str(),
            media.size.map(|s| s.width),
            media.size.map(|s| s.height),
            media.taken.map(|t| t.local_millis()),
            media.taken.and_then(|t| t.offset),
            media.taken.map(|t| t.from.as_str()),
            media.make,
            media.model,
            media.place.map(|p| p.latitude),
            media.place.map(|p| p.longitude),
            whole(media.duration),
            media.content_id.as_ref().map(ContentId::as_str),
            whole(media.motion),
        ])
    })
    .tried("record metadata")?;
    forget(tx, hash)
}

/// An asset without a name is not read; when it gets one, it is noted again.
pub fn forget(tx: &Tx<'_>, hash: &ContentHash) -> Result<(), CatalogueError> {
    tx.prepare_cached("DELETE FROM unread WHERE hash = ?1")
        .and_then(|mut s| s.execute([hash.as_bytes()]))
        .tried("take an asset off the list")
        .map(drop)
}

/// An asset could not be read: not before `retry` again.
pub fn postpone(tx: &Tx<'_>, hash: &ContentHash, retry: Timestamp) -> Result<(), CatalogueError> {
    tx.prepare_cached("UPDATE unread SET tries = tries + 1, retry = ?2 WHERE hash = ?1")
        .and_then(|mut s| s.execute(params![hash.as_bytes(), nanos(retry)]))
        .tried("put an asset off")
        .map(drop)
}

impl Reader<'_> {
    /// Assets to be read, those that came last first: memory still has them.
    pub fn unread(&self, now: Timestamp, limit: usize) -> Result<Vec<Unread>, CatalogueError> {
        // A clock that was set back does not hold an asset up for years (invariant I24).
        const FARTHEST: SignedDuration = SignedDuration::from_hours(48);
        let far = now.saturating_add(FARTHEST).unwrap_or(Timestamp::MAX);
        self.connection
            .prepare_cached(
                "SELECT u.id, u.hash, coalesce(a.size, 0), (SELECT n.path FROM name n WHERE n.hash = u.hash AND n.shelf = 'photos' LIMIT 1), u.tries
                 FROM unread u LEFT JOIN asset a ON a.hash = u.hash WHERE u.retry <= ?1 OR u.retry > ?2 ORDER BY u.id DESC LIMIT ?3",
            )
            .and_then(|mut s| {
                let row = |row: &Row<'_>| {
                    let path_text: Option<String> = row.get(3)?;
                    let path = path_text.map(|_| path(row, 3)).transpose()?;
                    let tries = u32::try_from(count(row, 4)?).unwrap_or(u32::MAX);
                    Ok(Unread { id: row.get(0)?, hash: hash(row, 1)?, size: count(row, 2)?, path, tries })
                };
                s.query_map(params![nanos(now), nanos(far), limit as i64], row)?.collect()
            })
            .tried("list what is to be read")
    }

    /// What an asset says of itself; `None`: it was not read yet.
    pub fn media(&self, hash: &ContentHash) -> Result<Option<Media>, CatalogueError> {
        self.connection
            .prepare_cached(&format!("SELECT {MEDIA} FROM media m WHERE m.hash = ?1"))
            .and_then(|mut s| s.query_row([hash.as_bytes()], |row| media_row(row, 0)).optional())
            .tried("look metadata up")
    }

    /// Names that may be the other half of a Live Photo: those with its identifier, and those with the same name but for the ending in the
    /// same folder. `stem`: folded, without the ending.
    pub fn halves(
        &self,
        id: Option<&ContentId>,
        stem: &str,
    ) -> Result<Vec<(ContentHash, RelPath, Media)>, CatalogueError> {
        const MOST: u32 = 64;
        let row = |row: &Row<'_>| Ok((hash(row, 0)?, path(row, 1)?, media_row(row, 2)?));
        let by_id = format!(
            "SELECT n.hash, n.path, {MEDIA} FROM media m JOIN name n ON n.hash = m.hash
             WHERE m.content_id = ?1 AND n.shelf = 'photos' ORDER BY n.id LIMIT {MOST}"
        );
        // `.` is followed by `/` in the order SQLite compares by: all that has this name and an ending, and nothing below a folder.
        let by_name = format!(
            "SELECT n.hash, n.path, {MEDIA} FROM name n JOIN media m ON m.hash = n.hash
             WHERE n.fold >= ?1 AND n.fold < ?2 AND n.shelf = 'photos' ORDER BY n.fold LIMIT {MOST}"
        );
        let mut found: Vec<_> = match id {
            Some(id) => self
                .connection
                .prepare_cached(&by_id)
                .and_then(|mut s| s.query_map([id.as_str()], row)?.collect::<Result<_, _>>())
                .tried("look for the other half")?,
            None => Vec::new(),
        };
        let beside: Vec<_> = self
            .connection
            .prepare_cached(&by_name)
            .and_then(|mut s| {
                s.query_map([format!("{stem}."), format!("{stem}/")], row)?.collect::<Result<_, _>>()
            })
            .tried("look for the other half")?;
        found.extend(beside);
        Ok(found)
    }
}

/// Reads [`MEDIA`] from `first` on.
pub(super) fn media_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Media> {
    let number = |column: usize| {
        row.get::<_, Option<i64>>(first + column).map(|n| n.and_then(|n| u64::try_from(n).ok()))
    };
    let taken = match (row.get::<_, Option<i64>>(first + 4)?, row.get_ref(first + 6)?) {
        (Some(_), rusqlite::types::ValueRef::Null) | (None, _) => None,
        (Some(at), _) => Taken::from_millis(at, row.get(first + 5)?, parsed(row, first + 6)?),
    };
    let place: (Option<f64>, Option<f64>) = (row.get(first + 9)?, row.get(first + 10)?);
    let id: Option<String> = row.get(first + 12)?;
    Ok(Media {
        kind: parsed(row, first)?,
        structure: parsed(row, first + 1)?,
        size: number(2)?.zip(number(3)?).and_then(|(width, height)| Pixels::new(width, height)),
        taken,
        make: row.get(first + 7)?,
        model: row.get(first + 8)?,
        place: place.0.zip(place.1).and_then(|(latitude, longitude)| Coordinates::new(latitude, longitude)),
        duration: number(11)?,
        content_id: id.and_then(|id| ContentId::parse(&id)),
        motion: number(13)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::media::{MediaKind, Structure, TakenFrom};
    use crate::store::catalogue::Catalogue;

    #[test]
    fn what_was_read_comes_back_and_is_not_read_again() {
        let catalogue = Catalogue::in_memory().unwrap();
        let (one, two) = (ContentHash::of(b"one"), ContentHash::of(b"two"));
        let full = Media {
            kind: MediaKind::Heif,
            structure: Structure::Whole,
            size: Pixels::new(3024, 4032),
            taken: Taken::from_millis(1_700_000_000_123, Some(3600), TakenFrom::Exif),
            make: Some("Apple".to_owned()),
            model: Some("iPhone 15".to_owned()),
            place: Coordinates::new(48.2082, -16.3738),
            duration: Some(2900),
            content_id: ContentId::parse("4e1f9c0e-8aa3"),
            motion: Some(0),
        };
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        catalogue.write(|tx| unread(tx, &one).and_then(|()| unread(tx, &two))).unwrap();
        let hashes = |now| -> Vec<_> {
            catalogue.read(|r| r.unread(now, 10)).unwrap().into_iter().map(|u| (u.hash, u.tries)).collect()
        };
        assert_eq!(hashes(now), [(two, 0), (one, 0)], "the newest first");
        catalogue.write(|tx| record(tx, &one, &full).and_then(|()| unread(tx, &one))).unwrap();
        assert_eq!(hashes(now), [(two, 0)]);
        assert_eq!(catalogue.read(|r| r.media(&one)).unwrap(), Some(full));
        assert_eq!(catalogue.read(|r| r.media(&two)).unwrap(), None);
        let later = now.saturating_add(SignedDuration::from_mins(1)).unwrap();
        catalogue.write(|tx| postpone(tx, &two, later)).unwrap();
        assert_eq!((hashes(now), hashes(later)), (vec![], vec![(two, 1)]));
        // The clock was set back by years.
        assert_eq!(hashes(Timestamp::from_second(1_000_000_000).unwrap()), [(two, 1)]);
        catalogue.write(|tx| record(tx, &two, &Media::unknown())).unwrap();
        assert_eq!(catalogue.read(|r| r.media(&two)).unwrap(), Some(Media::unknown()));
        assert_eq!(hashes(later), []);
    }
}
