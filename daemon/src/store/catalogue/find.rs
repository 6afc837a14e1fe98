//! Finding names by person, device, date, text and state of copies.
use jiff::Timestamp;
use rusqlite::params;

use crate::model::copy::CopyState;
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
    /// Some copy is in this state.
    pub state: Option<CopyState>,
}

impl Reader<'_> {
    /// Names that fit, in order of row id, with the state of the worst copy of each.
    pub fn find(
        &self,
        fits: &Fits,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(NameRow, CopyState)>, CatalogueError> {
        let (from, to) = fits.person.as_deref().map(below).unzip();
        // NULL parameters fit everything. The worst copy: damaged, missing, wanted, settled, verified.
        let sql = "
            SELECT n.id, n.path, n.shelf, n.hash, n.size, n.mtime, n.received, n.by,
              coalesce((SELECT c.state FROM copy c WHERE c.name = n.id ORDER BY CASE c.state WHEN 'damaged' THEN 0
                WHEN 'missing' THEN 1 WHEN 'wanted' THEN 2 WHEN 'settled' THEN 3 ELSE 4 END LIMIT 1), 'wanted')
            FROM name n
            WHERE n.id > ?1 AND n.hash IS NOT NULL AND n.shelf = 'photos'
              AND (?3 IS NULL OR (n.fold >= ?3 AND n.fold < ?4))
              AND (?5 IS NULL OR substr(n.by, instr(n.by, '/') + 1) = ?5)
              AND (?6 IS NULL OR instr(n.fold, ?6) > 0)
              AND (?7 IS NULL OR n.received >= ?7) AND (?8 IS NULL OR n.received < ?8)
              AND (?9 IS NULL OR EXISTS (SELECT 1 FROM copy c WHERE c.name = n.id AND c.state = ?9))
            ORDER BY n.id LIMIT ?2";
        let values = params![
            after,
            limit as i64,
            from,
            to,
            fits.device,
            fits.fold_contains,
            fits.received_from.map(nanos),
            fits.received_to.map(nanos),
            fits.state.map(CopyState::as_str)
        ];
        self.connection
            .prepare_cached(sql)
            .and_then(|mut s| s.query_map(values, |row| Ok((name_row(row)?, parsed(row, 8)?)))?.collect())
            .tried("find")
    }
}
