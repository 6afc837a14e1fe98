//! The day of a photo, for folders named by month and for people: what it says itself, else its name, else its file's date, else when it came.
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::model::media::Taken;

/// Who says when a photo was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dated {
    /// Its own bytes.
    Itself,
    /// Its name.
    Name,
    /// The modification time that the client gave.
    File,
    /// Nobody: it is the day it came.
    Arrival,
}

/// The local day of a photo, and who says so. `zone`: the box's, for what is a moment and no time of day.
pub fn day(
    taken: Option<&Taken>,
    name: &str,
    mtime: Option<Timestamp>,
    received: Timestamp,
    zone: &TimeZone,
) -> (Date, Dated) {
    let local = |at: Timestamp| at.to_zoned(zone.clone()).date();
    let today = local(received);
    // Of names only what can be: a number of eight digits is not always a date.
    let possible =
        |date: &Date| date.year() >= 1990 && *date <= today.saturating_add(jiff::Span::new().days(2));
    if let Some(taken) = taken {
        return (taken.date(), Dated::Itself);
    }
    if let Some(date) = in_name(name).filter(possible) {
        return (date, Dated::Name);
    }
    // A client that knows no date sends 1970, or none.
    const NONE: i64 = 86_400;
    match mtime.filter(|at| at.as_second() > NONE) {
        Some(at) => (local(at), Dated::File),
        None => (today, Dated::Arrival),
    }
}

/// `YYYY-MM`: the folder of photos that came without an album.
pub fn month(day: Date) -> String {
    format!("{:04}-{:02}", day.year(), day.month())
}

/// The date in a name as phones and programs write it: `IMG_20240131_183000`, `IMG-20240131-WA0001`, `Screenshot_2024-01-31-…`.
fn in_name(name: &str) -> Option<Date> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    // Runs of digits, and where each begins.
    let mut runs: Vec<(usize, &str)> = Vec::new();
    for part in name.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()) {
        runs.push((part.as_ptr() as usize - name.as_ptr() as usize, part));
    }
    let date = |y: &str, m: &str, d: &str| Date::new(y.parse().ok()?, m.parse().ok()?, d.parse().ok()?).ok();
    let whole = |run: &str| {
        let long = matches!(run.len(), 8 | 14 | 17) && digits(run);
        long.then(|| date(&run[..4], &run[4..6], &run[6..8])).flatten()
    };
    let parted = |three: &[(usize, &str)]| {
        let [(y_at, y), (m_at, m), (d_at, d)] = three else { return None };
        let close = *m_at == y_at + 5 && *d_at == m_at + 3;
        (close && y.len() == 4 && m.len() == 2 && d.len() == 2).then(|| date(y, m, d)).flatten()
    };
    runs.iter().find_map(|(_, run)| whole(run)).or_else(|| runs.windows(3).find_map(parted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::media::TakenFrom;
    use proptest::prelude::*;

    #[test]
    fn the_best_that_is_known() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let taken = Taken::new("2023-12-31T23:30:00".parse().unwrap(), Some(-3600), TakenFrom::Exif);
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let file = Some(at("2022-06-30T23:00:00Z"));
        let now = at("2026-11-30T23:00:00Z");
        for (what, taken, name, mtime, expect) in [
            (
                "itself, where it was taken",
                taken.as_ref(),
                "IMG_20200101_000000.jpg",
                file,
                ("2023-12-31", Dated::Itself),
            ),
            ("its name", None, "IMG_20200101_000000.jpg", file, ("2020-01-01", Dated::Name)),
            ("WhatsApp", None, "IMG-20240131-WA0001.jpg", file, ("2024-01-31", Dated::Name)),
            ("milliseconds", None, "PXL_20240131183000123.jpg", file, ("2024-01-31", Dated::Name)),
            (
                "a screenshot",
                None,
                "Screenshot 2024-01-31 at 18.30.00.png",
                file,
                ("2024-01-31", Dated::Name),
            ),
            ("no such day", None, "IMG_20241331_000000.jpg", file, ("2022-07-01", Dated::File)),
            ("a number", None, "DSC_12345678.jpg", file, ("2022-07-01", Dated::File)),
            ("not yet", None, "20261224.jpg", file, ("2022-07-01", Dated::File)),
            ("its file, here", None, "IMG_4711.HEIC", file, ("2022-07-01", Dated::File)),
            (
                "1970 is no date",
                None,
                "IMG_4711.HEIC",
                Some(Timestamp::UNIX_EPOCH),
                ("2026-12-01", Dated::Arrival),
            ),
            ("nothing", None, "", None, ("2026-12-01", Dated::Arrival)),
        ] {
            let (date, from) = day(taken, name, mtime, now, &zone);
            assert_eq!((date.to_string().as_str(), from), expect, "{what}");
        }
        assert_eq!(month("0987-01-02".parse().unwrap()), "0987-01");
    }

    proptest! {
        #[test]
        fn no_name_is_too_odd(name in "\\PC{0,40}|[0-9_.-]{0,40}", second in -1_000_000..4_000_000_000i64) {
            let at = Timestamp::from_second(second).unwrap();
            let (date, from) = day(None, &name, Some(at), at, &TimeZone::UTC);
            prop_assert!(from != Dated::Itself);
            prop_assert_eq!(month(date).len(), 7);
        }
    }
}
