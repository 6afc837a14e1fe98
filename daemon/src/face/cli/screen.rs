//! What people read: dates in their time zone, sizes, tables, one progress line, codes to scan.
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::os::clock::monotonic;
use crate::work::views::Progress;

/// Not more often: a terminal over a slow line would hold up the work.
const REDRAWN: Duration = Duration::from_millis(100);

/// `14 Nov 2026 18:02:11`
pub(super) fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%-d %b %Y %H:%M:%S").to_string()
}

/// `14 Nov 2026`
pub(super) fn day(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%-d %b %Y").to_string()
}

/// `18:02:11`
pub(super) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// The time alone on the day of `reference`, else day and time.
pub(super) fn moment_beside(at: Timestamp, reference: Timestamp, zone: &TimeZone) -> String {
    if day(at, zone) == day(reference, zone) { clock(at, zone) } else { moment(at, zone) }
}

/// `3.2 MB`, in powers of ten as on a drive's label.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Tenths, so that no floating point is needed; the last unit always fits a u64.
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `40 seconds`, `3 minutes`, `5 hours`: as exact as a guess can be.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..=89 => many(seconds.max(1), "second", "seconds"),
        90..=5399 => many(seconds.div_ceil(60), "minute", "minutes"),
        _ => many(seconds.div_ceil(3600), "hour", "hours"),
    }
}

/// Reads a size as people write it: `200G`, `1.5TB`, `500 MB`, or bytes; in powers of ten, as [`size`] writes it.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no size like 200G, 1.5T or 500000000");
    let plain = text.trim().to_ascii_lowercase();
    let plain = plain.strip_suffix('b').unwrap_or(&plain).trim_end();
    let unit = plain.chars().last().ok_or_else(bad)?;
    let (digits, zeros) = match "kmgtp".find(unit) {
        Some(at) => (plain[..plain.len() - 1].trim_end(), 3 * (at + 1)),
        None => (plain, 0),
    };
    let (whole, tenths) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{tenths}");
    if whole.is_empty() || tenths.len() > zeros || !all.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let power = u32::try_from(zeros - tenths.len()).map_err(|_| bad())?;
    let number: u64 = all.parse().map_err(|_| bad())?;
    10u64.checked_pow(power).and_then(|unit| number.checked_mul(unit)).ok_or_else(bad)
}

/// `1 file`, `2 files`
pub(super) fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Text from a client or a drive, made safe to show: no control characters, so no escape sequences.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// Columns, as wide as they need to be.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One line on standard error that is rewritten; nothing at all if that is not a terminal.
pub(super) struct ProgressLine {
    doing: String,
    terminal: bool,
    began: Instant,
    /// When it was last drawn.
    drawn: Option<Instant>,
}

impl ProgressLine {
    pub(super) fn new(doing: &str) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { doing: doing.to_owned(), terminal, began: monotonic(), drawn: None }
    }

    pub(super) fn show(&mut self, now: &Progress) {
        let time = monotonic();
        let lately = self.drawn.is_some_and(|drawn| time.saturating_duration_since(drawn) < REDRAWN);
        if self.terminal && !lately {
            self.drawn = Some(time);
            let left = left(now, time.saturating_duration_since(self.began));
            // Progress that cannot be shown is no reason to stop.
            drop(write!(io::stderr(), "\r\x1b[K{}: {}{left}", self.doing, progress(now)));
        }
    }

    /// With what is being done now in the place of what was said at first.
    pub(super) fn show_stage(&mut self, stage: &str, now: &Progress) {
        stage.clone_into(&mut self.doing);
        self.show(now);
    }

    pub(super) fn clear(&mut self) {
        if self.terminal {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}

fn progress(now: &Progress) -> String {
    let mut text = format!("{} of {} files", now.files, now.files_total);
    if now.bytes_total > 0 {
        let percent = u128::from(now.bytes) * 100 / u128::from(now.bytes_total);
        text.push_str(&format!(", {} of {} ({percent} %)", size(now.bytes), size(now.bytes_total)));
    }
    text
}

/// How long the rest takes if it goes on as it went; nothing before there is something to tell from.
fn left(now: &Progress, taken: Duration) -> String {
    let (done, all) =
        if now.bytes_total > 0 { (now.bytes, now.bytes_total) } else { (now.files, now.files_total) };
    if done == 0 || done >= all || taken < Duration::from_secs(5) {
        return String::new();
    }
    let seconds = u128::from(taken.as_secs()) * u128::from(all - done) / u128::from(done);
    match seconds {
        0..60 => format!(", {seconds} s left"),
        60..7200 => format!(", {} min left", seconds / 60),
        _ => format!(", {} h left", seconds / 3600),
    }
}

/// A code to scan, drawn with half blocks. In colour its background is set too, because many scanners refuse
/// a code whose dark and light are swapped, as a dark terminal would show it.
pub(super) fn qr(content: &str, colour: bool) -> Option<String> {
    use qrcode::render::unicode::Dense1x2;
    let code = qrcode::QrCode::with_error_correction_level(content, qrcode::EcLevel::L).ok()?;
    let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let (before, after) = if colour { ("\x1b[97;40m", "\x1b[0m") } else { ("", "") };
    Some(drawn.lines().map(|line| format!("  {before}{line}{after}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_999, "999.9 kB"),
            (1_000_000, "1.0 MB"),
            (3_210_000, "3.2 MB"),
            (2_000_000_000_000, "2.0 TB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn what_is_left_is_told_once_it_can_be() {
        let at = |bytes, seconds| {
            let now = Progress { bytes, bytes_total: 1000, ..Progress::default() };
            left(&now, Duration::from_secs(seconds))
        };
        assert_eq!((at(0, 60), at(10, 4), at(1000, 60)), Default::default());
        assert_eq!(at(500, 30), ", 30 s left");
        assert_eq!(at(100, 60), ", 9 min left");
        assert_eq!(at(10, 3600), ", 99 h left");
    }

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, number) in
            [("0", 0), ("200G", 200_000_000_000), ("1.5 TB", 1_500_000_000_000), ("12kb", 12_000), ("7 b", 7)]
        {
            assert_eq!(bytes(text), Ok(number), "{text}");
        }
        for bad in ["", "G", ".5G", "1.2345k", "-1", "1e9", "200GiB", "99999999999P", "1.5"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_are_local() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let at: Timestamp = "2026-11-14T23:30:00Z".parse().unwrap();
        assert_eq!(moment(at, &zone), "15 Nov 2026 01:30:00");
        assert_eq!(moment_beside(at, at, &zone), "01:30:00");
        let before = "2026-11-14T21:59:59Z".parse().unwrap();
        assert_eq!(moment_beside(before, at, &zone), "14 Nov 2026 23:59:59");
    }

    #[test]
    fn tables_line_up_and_have_no_trailing_blanks() {
        let rows = [["ä", "bb", ""], ["ccc", "d", "e"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        assert_eq!(table(&rows), "ä    bb\nccc  d   e\n");
    }

    #[test]
    fn a_code_is_square_and_has_its_quiet_zone() {
        let drawn = qr("http://127.0.0.1:8080/", false).unwrap();
        let lines: Vec<&str> = drawn.lines().collect();
        let width = lines[0].chars().count() - 2;
        assert!(lines.iter().all(|line| line.chars().count() - 2 == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].trim().chars().all(|c| c == '█'));
    }

    #[test]
    fn no_escape_sequence_gets_through() {
        assert_eq!(plain("a\x1b[2Jb"), "a\u{FFFD}[2Jb");
    }
}
