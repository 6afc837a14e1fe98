//! The lists for strangers: one `.sha256` file a month on every drive, so that `sha256sum -c` checks it without us.
//! Derived from the catalogue; never read back by Shoebox.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::model::drive::DriveId;
use crate::model::place::Place;
use crate::store::catalogue::checksums::{self, Stale};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// Keeps the lists.
pub struct Checksums {
    pool: Arc<Pool>,
    /// Written in this round: a list that is out of date again waits for the next.
    written: BTreeSet<(DriveId, String)>,
}

impl Checksums {
    /// For the drives of a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool, written: BTreeSet::new() }
    }

    /// Writes one list per drive that is out of date. `true`: there may be more. `false`: the round is over, and each was
    /// written once at most, however fast it goes out of date.
    pub fn step(&mut self) -> Result<bool, Refusal> {
        let primary = self.pool.primary()?;
        let mut more = false;
        for attached in self.pool.others().into_iter().chain([Arc::clone(&primary.attached)]) {
            if attached.takes_writes().is_err() {
                continue;
            }
            let stale = primary.catalogue.read(|r| r.stale(attached.id()))?;
            let next = stale.into_iter().find(|s| !self.written.contains(&(s.drive, s.month.clone())));
            if let Some(stale) = next {
                write_list(&primary, &attached, &stale)?;
                primary.catalogue.write(|tx| checksums::fresh(tx, &stale))?;
                self.written.insert((stale.drive, stale.month));
                more = true;
            }
        }
        if !more {
            self.written.clear();
        }
        Ok(more)
    }
}

fn write_list(primary: &Primary, attached: &Attached, stale: &Stale) -> Result<(), Refusal> {
    const PAGE: usize = 2000;
    let Some((from, to)) = span(&stale.month) else { return Ok(()) };
    let mut text = String::new();
    let mut next = (from, 0);
    loop {
        let page = primary.catalogue.read(|r| r.sha256_lines(attached.id(), next.0, to, next.1, PAGE))?;
        let Some(last) = page.last() else { break };
        next = (last.received, last.id);
        for line in &page {
            text.push_str(&format!("{}  {}\n", line.sha256, Place::photo(&line.at).as_str()));
        }
    }
    let file = Place::manifest(&format!("{}.sha256", stale.month));
    let _lane = attached.turns.background();
    attached.volume.write_small(&file, text.as_bytes()).map_err(|e| Refusal::Drive(attached.heed(e)))
}

/// The first moment of a month `YYYY-MM` and of the next, in UTC.
fn span(month: &str) -> Option<(Timestamp, Timestamp)> {
    let first: Date = format!("{month}-01").parse().ok()?;
    let next = first.last_of_month().tomorrow().ok()?;
    let at = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    Some((at(first)?, at(next)?))
}

impl Worker for Checksums {
    fn name(&self) -> &'static str {
        "checksums"
    }

    /// Once a minute is enough: a burst of uploads rewrites a list once, not once a photo.
    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn critical(&self) -> bool {
        false
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        let Ok(primary) = self.pool.primary() else { return Ok(Outcome::Rest) };
        let _drive = cx.blocked_on(&primary.attached.id().short());
        if !primary.has_room_to_record() {
            return Ok(Outcome::Rest);
        }
        match Checksums::step(self) {
            Ok(true) => Ok(Outcome::More),
            Ok(false) => Ok(Outcome::Rest),
            Err(e) => Err(WorkError::new("write the checksum lists", e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let (from, to) = span("2026-12").unwrap();
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("2026-12-01T00:00:00Z".into(), "2027-01-01T00:00:00Z".into())
        );
        assert_eq!(span("2026-13"), None);
    }
}
