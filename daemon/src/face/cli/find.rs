//! `shoebox find`: names that fit.
use std::io::Write as _;

use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Cx, Exit, screen};
use crate::face::control::{FoundPage, Request};
use crate::model::account::Slug;
use crate::model::copy::CopyState;
use crate::work::views::{FindQuery, FoundName};

const PAGE: usize = 500;

/// Find photos by person, device, date, name or state
///
/// All filters given must fit. --from and --to are about when a photo was received, in this machine's time zone, --taken-from and
/// --taken-to about when it was taken. A state fits if
/// the photo has a copy in it on any drive: 'wanted', 'settled', 'verified', 'missing' or 'damaged'. Exit code 4 if nothing fits.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox find --person anna --from 2026-11-01 --to 2026-11-30
  shoebox find --name IMG_4711
  shoebox find --taken-from 2024-12-24 --taken-to 2024-12-26
  shoebox find --suspect
  shoebox find --state damaged --json --limit 0 | jq -r .path")]
pub(super) struct Find {
    /// Only this person's
    #[arg(long, value_name = "PERSON")]
    person: Option<Slug>,
    /// Only those sent by a device of this name
    #[arg(long, value_name = "DEVICE")]
    device: Option<Slug>,
    /// Only those with this text in their name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Received on or after this day (2026-11-14) or moment (2026-11-14T18:02:11Z)
    #[arg(long, value_name = "WHEN", value_parser = beginning)]
    from: Option<Timestamp>,
    /// Received on or before this day, or before this moment
    #[arg(long, value_name = "WHEN", value_parser = end)]
    to: Option<Timestamp>,
    /// Taken on or after this day (2026-11-14), by the clock where it was taken; photos that know no date do not fit
    #[arg(long, value_name = "DAY", value_parser = day)]
    taken_from: Option<Date>,
    /// Taken on or before this day
    #[arg(long, value_name = "DAY", value_parser = day)]
    taken_to: Option<Date>,
    /// Only those that are suspect: cut off before they came, as far as their bytes show
    #[arg(long)]
    suspect: bool,
    /// Only those with a copy in this state
    #[arg(long, value_name = "STATE")]
    state: Option<CopyState>,
    /// Print at most so many; 0: all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Go on after this row, as printed at the end of the part before
    #[arg(long, value_name = "ROW")]
    after: Option<i64>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

impl Find {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let zone = TimeZone::system();
        let mut left = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut after = self.after;
        let mut any = false;
        loop {
            let page: FoundPage = cx.ask(&self.request(after, left.min(PAGE)))?;
            any |= !page.names.is_empty();
            left = left.saturating_sub(page.names.len());
            if self.json {
                for name in &page.names {
                    cx.json(name)?;
                }
            } else {
                write!(cx.out, "{}", table(&page.names, &zone))?;
            }
            after = page.next;
            if after.is_none() || left == 0 {
                break;
            }
        }
        // On standard error: these are no results.
        if let Some(row) = after {
            drop(writeln!(std::io::stderr(), "There are more: --after {row}, or --limit 0 for all."));
        } else if !any {
            drop(writeln!(std::io::stderr(), "Nothing fits."));
        }
        Ok(if any { Exit::Fine } else { Exit::NotFound })
    }

    fn request(&self, after: Option<i64>, limit: usize) -> Request {
        let query = FindQuery {
            person: self.person.clone(),
            device: self.device.clone(),
            name_contains: self.name.clone(),
            received_from: self.from,
            received_to: self.to,
            taken_from: self.taken_from,
            taken_to: self.taken_to,
            suspect: self.suspect,
            state: self.state,
        };
        Request::Find { query, after, limit }
    }
}

fn table(names: &[FoundName], zone: &TimeZone) -> String {
    let rows = names.iter().map(|name| {
        vec![
            screen::moment(name.received_at, zone),
            screen::size(name.size),
            if name.suspect.is_some() { format!("{}, suspect", name.worst) } else { name.worst.to_string() },
            taken(name),
            screen::plain(name.path.as_str()),
        ]
    });
    screen::table(&rows.collect::<Vec<_>>())
}

/// The day and minute it was taken, by the clock there.
fn taken(name: &FoundName) -> String {
    let taken = name.media.as_ref().and_then(|media| media.taken);
    taken.map_or_else(String::new, |taken| format!("taken {}", taken.local.strftime("%Y-%m-%d %H:%M")))
}

fn day(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| format!("{text:?} is no day like 2026-11-14"))
}

pub(super) fn beginning(text: &str) -> Result<Timestamp, String> {
    instant(text, 0, &TimeZone::system())
}

pub(super) fn end(text: &str) -> Result<Timestamp, String> {
    instant(text, 1, &TimeZone::system())
}

/// A moment as it is, or the midnight `days` after the beginning of a day.
fn instant(text: &str, days: i64, zone: &TimeZone) -> Result<Timestamp, String> {
    if text.contains('T') {
        return text.parse().map_err(|_| format!("{text:?} is no moment like 2026-11-14T18:02:11Z"));
    }
    let bad = |_| format!("{text:?} is no day like 2026-11-14");
    let day: Date = text.parse().map_err(bad)?;
    let day = day.checked_add(jiff::Span::new().days(days)).map_err(bad)?;
    Ok(day.to_zoned(zone.clone()).map_err(bad)?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_are_local_and_inclusive() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let at = |text, days| instant(text, days, &zone).map(|at| at.to_string());
        assert_eq!(at("2026-11-14", 0).unwrap(), "2026-11-13T23:00:00Z");
        assert_eq!(at("2026-11-14", 1).unwrap(), "2026-11-14T23:00:00Z");
        assert_eq!(at("2026-11-14T18:02:11Z", 1).unwrap(), "2026-11-14T18:02:11Z");
        for bad in ["", "yesterday", "2026-13-01", "2026-11-14T99:00Z", "14.11.2026"] {
            assert!(at(bad, 0).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,30}|[+-]?[0-9]{1,6}-[0-9]{1,2}-[0-9]{1,2}(T[0-9:.]{0,12}(Z|[+-][0-9:]{0,6})?)?", days in 0..=1i64) {
            // Summer time begins and ends at night: some midnights are there twice or not at all.
            for zone in [TimeZone::UTC, TimeZone::posix("EET-2EEST,M3.5.0/0,M10.5.0/0").unwrap()] {
                let _read = instant(&text, days, &zone);
            }
        }

        #[test]
        fn a_moment_is_itself(second in -377_705_023_201..253_402_207_200i64, days in 0..=1i64, hours in -23..=23i8) {
            let at = Timestamp::from_second(second).unwrap();
            let zone = TimeZone::fixed(jiff::tz::offset(hours));
            prop_assert_eq!(instant(&at.to_string(), days, &zone), Ok(at));
        }

        /// From a day to that same day is that day: it begins at its first moment, and ends where the next begins.
        #[test]
        fn a_day_is_whole(
            year in 1..=9998i16,
            // Half of them where summer time begins and ends.
            (month, day) in prop_oneof![(1..=12i8, 1..=28i8), (prop_oneof![Just(3i8), Just(10i8)], 25..=31i8)],
            hours in -23..=23i8,
        ) {
            let day = Date::new(year, month, day).unwrap();
            for zone in [TimeZone::fixed(jiff::tz::offset(hours)), TimeZone::posix("EET-2EEST,M3.5.0/0,M10.5.0/0").unwrap()] {
                let [from, to] = [0, 1].map(|days| instant(&day.to_string(), days, &zone).unwrap());
                let dated = |at: Timestamp| at.to_zoned(zone.clone()).date();
                let moment = |at: Timestamp, nanos| at.checked_add(jiff::Span::new().nanoseconds(nanos)).unwrap();
                prop_assert_eq!(dated(from), day);
                prop_assert_eq!(dated(moment(to, -1)), day);
                prop_assert!(dated(moment(from, -1)) < day && dated(to) > day);
                prop_assert_eq!(instant(&day.tomorrow().unwrap().to_string(), 0, &zone).unwrap(), to);
            }
        }
    }
}
