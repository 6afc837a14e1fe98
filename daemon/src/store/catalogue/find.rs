//! Finding names by person, device, date, text and state of copies.
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use rusqlite::types::ValueRef;
use rusqlite::{Row, params};

use crate::model::copy::CopyState;
use crate::model::media::Media;
use crate::store::catalogue::media::{MEDIA, media_row};
use crate::store::catalogue::names::{NameRow, below, name_row};
use crate::store::catalogue::read::{Reader, parsed};
use crate::store::catalogue::{CatalogueError, Tried, nanos};

/// What a name must fit; `None` fits all.
#[derive(Debug, Clone, Default)]
pub struct Fits {
    /// Person's folder.
    pub person: Option<String>,
    /// Device that sent it.
    pub device: Option<String>,
    /// Text in the folded name.
    pub fold_contains: Option<String>,
    /// Received at or after.
    pub received_from: Option<Timestamp>,
    /// Received before.
    pub received_to: Option<Timestamp>,
    /// Taken on or after this day, where it was taken.
    pub taken_from: Option<Date>,
    /// Taken on or before this day.
    pub taken_to: Option<Date>,
    /// Only what is suspect.
    pub suspect: bool,
    /// Some copy is in this state.
    pub state: Option<CopyState>,
}

impl Reader<'_> {
    /// Names that fit, in order of row id, with the state of the worst copy of each, and what each says of itself.
    pub fn find(
        &self,
        fits: &Fits,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(NameRow, CopyState, Option<Media>)>, CatalogueError> {
        let (from, to) = fits.person.as_deref().map(below).unzip();
        // NULL parameters fit everything. The worst copy: damaged, missing, wanted, settled, verified.
        let sql = format!("
            SELECT n.id, n.path, n.shelf, n.hash, n.size, n.mtime, n.received, n.by, n.ctime, n.changed,
              coalesce((SELECT c.state FROM copy c WHERE c.name = n.id ORDER BY CASE c.state WHEN 'damaged' THEN 0
                WHEN 'missing' THEN 1 WHEN 'wanted' THEN 2 WHEN 'settled' THEN 3 ELSE 4 END LIMIT 1), 'wanted'), {MEDIA}
            FROM name n LEFT JOIN media m ON m.hash = n.hash
            WHERE n.id > ?1 AND n.hash IS NOT NULL AND n.shelf = 'photos'
              AND (?3 IS NULL OR (n.fold >= ?3 AND n.fold < ?4))
              AND (?5 IS NULL OR substr(n.by, instr(n.by, '/') + 1) = ?5)
              AND (?6 IS NULL OR instr(n.fold, ?6) > 0)
              AND (?7 IS NULL OR n.received >= ?7) AND (?8 IS NULL OR n.received < ?8)
              AND (?9 IS NULL OR EXISTS (SELECT 1 FROM copy c WHERE c.name = n.id AND c.state = ?9))
              AND (?10 IS NULL OR m.taken >= ?10) AND (?11 IS NULL OR m.taken < ?11)
              AND (NOT ?12 OR m.structure NOT IN ('whole', 'unchecked'))
            ORDER BY n.id LIMIT ?2");
        let values = params![
            after,
            limit as i64,
            from,
            to,
            fits.device,
            fits.fold_contains,
            fits.received_from.map(nanos),
            fits.received_to.map(nanos),
            fits.state.map(CopyState::as_str),
            fits.taken_from.map(midnight),
            fits.taken_to.map(|day| midnight(day.saturating_add(jiff::Span::new().days(1)))),
            fits.suspect
        ];
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_map(values, found)?.collect())
            .tried("find")
    }
}

/// The first moment of a day, in the milliseconds that dates of photos are stored in.
fn midnight(day: Date) -> i64 {
    Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).map_or(i64::MAX, |at| at.as_millisecond())
}

fn found(row: &Row<'_>) -> rusqlite::Result<(NameRow, CopyState, Option<Media>)> {
    const FIRST: usize = 11;
    let known = !matches!(row.get_ref(FIRST)?, ValueRef::Null);
    let media = if known { Some(media_row(row, FIRST)?) } else { None };
    Ok((name_row(row)?, parsed(row, FIRST - 1)?, media))
}
