//! The lists for strangers: one `.sha256` file a month on every drive, so that `sha256sum -c` checks it without us.
//! Derived from the catalogue; never read back by Shoebox.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::model::drive::{DriveId, DriveRole};
use crate::model::place::Place;
use crate::os::clock;
use crate::store::catalogue::checksums::{self, Stale};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// Once a minute is enough: a burst of uploads rewrites a list once, not once a photo.
const PERIOD: Duration = Duration::from_secs(60);

/// However long the list of a month is, it is never older than this.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Keeps the lists.
pub struct Checksums {
    pool: Arc<Pool>,
    /// Until when a list that was written is left alone, however fast it goes out of date again.
    rests: BTreeMap<(DriveId, String), Instant>,
}

impl Checksums {
    /// For the drives of a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool, rests: BTreeMap::new() }
    }

    /// Writes one list per drive that is out of date and was not written a moment ago. `true`: there may be more.
    pub fn step(&mut self) -> Result<bool, Refusal> {
        let primary = self.pool.primary()?;
        let mut more = false;
        for attached in self.pool.others().into_iter().chain([Arc::clone(&primary.attached)]) {
            if attached.takes_writes().is_err() {
                continue;
            }
            let began = clock::monotonic();
            self.rests.retain(|_, until| *until > began);
            let stale = primary.catalogue.read(|r| r.stale(attached.id()))?;
            let next = stale.into_iter().find(|s| !self.rests.contains_key(&(s.drive, s.month.clone())));
            if let Some(stale) = next {
                write_list(&primary, &attached, &stale)?;
                primary.catalogue.write(|tx| checksums::fresh(tx, &stale))?;
                let until = clock::monotonic() + rest(attached.role(), began.elapsed());
                self.rests.insert((stale.drive, stale.month), until);
                more = true;
            }
        }
        Ok(more)
    }
}

/// How long a list that took so long to write stays as it is: a twentieth of the time at most goes into writing lists. Somebody
/// may wait to unplug an offline drive, and its lists are the last that is done on it: they follow at once.
fn rest(role: DriveRole, took: Duration) -> Duration {
    let least = match role {
        DriveRole::Offline => Duration::from_secs(1),
        DriveRole::Primary | DriveRole::Mirror => PERIOD,
    };
    (took * 20).clamp(least, LONGEST)
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

    /// Until the first list may be written again.
    fn period(&self) -> Duration {
        let now = clock::monotonic();
        self.rests
            .values()
            .map(|until| until.saturating_duration_since(now))
            .min()
            .map_or(PERIOD, |left| left.min(PERIOD))
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
    fn somebody_waits_for_the_lists_of_an_offline_drive() {
        let second = Duration::from_secs(1);
        assert_eq!(rest(DriveRole::Primary, second / 1000), PERIOD);
        assert_eq!(rest(DriveRole::Mirror, second), PERIOD);
        assert_eq!(rest(DriveRole::Mirror, 5 * second), 100 * second);
        assert_eq!(rest(DriveRole::Offline, second / 1000), second);
        assert_eq!(rest(DriveRole::Offline, second / 2), 10 * second);
        assert_eq!(rest(DriveRole::Offline, 90 * second), LONGEST);
    }

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
