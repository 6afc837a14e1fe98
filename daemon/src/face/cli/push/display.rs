//! What is seen while photos are sent: at a terminal one line that is rewritten (file, percent, how many of how many, bytes), elsewhere a
//! line for each file.
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::face::cli::screen;

/// How often the line is drawn.
const TICK: Duration = Duration::from_millis(200);
const BAR: u64 = 20;
/// Of a long name, so many characters are shown.
const NAME: usize = 32;

/// A file on its way.
#[derive(Debug, Clone)]
struct Flight {
    id: u64,
    name: String,
    size: u64,
    sent: Arc<AtomicU64>,
}

/// How far all of it is.
#[derive(Debug, Default)]
struct Shown {
    files: u64,
    files_total: u64,
    /// Bytes of files that are done.
    bytes: u64,
    bytes_total: u64,
    flights: Vec<Flight>,
    next: u64,
    /// Why nothing moves.
    waiting: Option<String>,
    ended: bool,
}

/// The display.
pub(super) struct Display {
    shown: Mutex<Shown>,
    terminal: bool,
    quiet: bool,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Self {
        Self { shown: Mutex::default(), terminal: io::stderr().is_terminal(), quiet }
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much there is to do.
    pub(super) fn expect(&self, files: u64, bytes: u64) {
        let mut shown = self.lock();
        (shown.files_total, shown.bytes_total) = (files, bytes);
    }

    /// A file begins; what is sent of it is counted in `sent`.
    pub(super) fn begin(&self, name: &str, size: u64, sent: &Arc<AtomicU64>) -> u64 {
        let mut shown = self.lock();
        shown.next += 1;
        let flight = Flight { id: shown.next, name: screen::plain(name), size, sent: Arc::clone(sent) };
        shown.flights.push(flight);
        shown.next
    }

    /// And is not on its way any more.
    pub(super) fn land(&self, id: u64) {
        self.lock().flights.retain(|flight| flight.id != id);
    }

    /// A file is done, well or not. `said`: what became of it; none: nothing worth a line.
    pub(super) fn done(&self, name: &str, size: u64, said: Option<&str>) {
        let mut shown = self.lock();
        shown.files += 1;
        shown.bytes += size;
        if let Some(said) = said.filter(|_| !self.quiet && !self.terminal) {
            let (files, total) = (shown.files, shown.files_total);
            line(&format!("{files} of {total}  {}  {said}", screen::plain(name)));
        }
    }

    /// Something that is to be seen in any case.
    pub(super) fn say(&self, text: &str) {
        let _alone = self.lock();
        self.clear();
        line(&screen::plain(text));
    }

    /// Nothing moves, and why; `None`: it does again.
    pub(super) fn waits(&self, why: Option<&str>) {
        let mut shown = self.lock();
        let is_new = shown.waiting.is_none();
        shown.waiting = why.map(screen::plain);
        if let (Some(why), true, false, false) = (&shown.waiting, is_new, self.terminal, self.quiet) {
            line(&format!("waiting: {why}"));
        }
    }

    fn clear(&self) {
        if self.terminal {
            // What cannot be shown is no reason to stop.
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }

    /// Draws until the end; on a thread of its own.
    pub(super) fn draw(&self) {
        if !self.terminal || self.quiet {
            return;
        }
        loop {
            {
                let shown = self.lock();
                if shown.ended {
                    return;
                }
                drop(write!(io::stderr(), "\r\x1b[K{}", text(&shown)));
            }
            std::thread::sleep(TICK);
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.clear();
    }
}

fn line(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

fn text(shown: &Shown) -> String {
    let flying: u64 =
        shown.flights.iter().map(|flight| flight.sent.load(Ordering::Relaxed).min(flight.size)).sum();
    let bytes = (shown.bytes + flying).min(shown.bytes_total);
    let mut text = String::new();
    if let Some(why) = &shown.waiting {
        let _infallible = write!(text, "waiting: {}  ", cut(why, 60));
    } else if let Some(flight) = shown.flights.first() {
        let sent = flight.sent.load(Ordering::Relaxed).min(flight.size);
        let part = |of: u64| {
            u64::try_from(u128::from(sent) * u128::from(of) / u128::from(flight.size.max(1))).unwrap_or(0)
        };
        let bar: String = (0..BAR).map(|at| if at < part(BAR) { '█' } else { '░' }).collect();
        let _infallible = write!(text, "{}  [{bar}] {} %  ", cut(&flight.name, NAME), part(100));
        if shown.flights.len() > 1 {
            let _infallible = write!(text, "and {} more · ", shown.flights.len() - 1);
        }
    }
    let _infallible = write!(
        text,
        "{} of {} · {} of {}",
        shown.files,
        shown.files_total,
        screen::size(bytes),
        screen::size(shown.bytes_total)
    );
    text
}

/// The end of a text that is too long: there names differ.
fn cut(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        text.to_owned()
    } else {
        format!("…{}", text.chars().skip(count - most + 1).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_percent_count_and_bytes() {
        let sent = Arc::new(AtomicU64::new(0));
        let display = Display::new(true);
        display.expect(50, 5_100_000);
        display.begin("Camera/IMG_1234.jpg", 2_000_000, &sent);
        sent.store(900_000, Ordering::Relaxed);
        for _ in 0..12 {
            display.done("x", 125_000, None);
        }
        let shown = text(&display.lock());
        assert_eq!(shown, "Camera/IMG_1234.jpg  [█████████░░░░░░░░░░░] 45 %  12 of 50 · 2.4 MB of 5.1 MB");
        let more = display.begin("b.jpg", 1, &sent);
        assert!(text(&display.lock()).contains("45 %  and 1 more · 12 of 50"));
        display.land(more);
        display.waits(Some("no network"));
        assert!(text(&display.lock()).starts_with("waiting: no network  12 of 50"));
    }

    #[test]
    fn what_was_sent_twice_is_not_more_than_all() {
        let sent = Arc::new(AtomicU64::new(999));
        let display = Display::new(true);
        display.expect(1, 10);
        display.begin("a", 10, &sent);
        assert_eq!(text(&display.lock()), "a  [████████████████████] 100 %  0 of 1 · 10 B of 10 B");
        assert_eq!(cut("abcdef", 4), "…def");
    }
}
