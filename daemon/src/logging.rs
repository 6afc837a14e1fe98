//! Logging: to the journal when standard error is connected to it, else plain lines on standard error.
//!
//! Key-value pairs of a record become journal fields; on standard error they follow the message.
use std::fmt::Write as _;
use std::io::Write as _;

use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Starts logging. A second call in one process only changes the level.
pub fn start(level: LevelFilter) {
    log::set_max_level(level);
    // Both can only fail because a logger is installed already, which then stays.
    if connected_to_journal()
        && let Ok(journal) = JournalLog::new()
    {
        drop(journal.with_syslog_identifier("shoebox".to_owned()).install());
    } else {
        drop(log::set_logger(&Plain));
    }
}

/// One line per record on standard error, without a date: whoever runs this in a terminal sees it happen.
struct Plain;

impl Log for Plain {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // A log line that cannot be written has nowhere else to go.
            drop(std::io::stderr().lock().write_all(line(record).as_bytes()));
        }
    }

    fn flush(&self) {}
}

fn line(record: &Record<'_>) -> String {
    let mut text = String::new();
    let level = record.level().as_str().to_ascii_lowercase();
    // Writing to a String cannot fail.
    let _ = write!(text, "{level}: {}", record.args());
    drop(record.key_values().visit(&mut Pairs(&mut text)));
    // A line break in a client's file name must not look like a second record.
    let mut text: String = text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    text.push('\n');
    text
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let _ = write!(self.0, " {key}={value}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_with_its_pairs() {
        let pairs = [("drive", "a"), ("path", "x\ny")];
        let record = Record::builder()
            .level(log::Level::Warn)
            .args(format_args!("slow\nerror: forged"))
            .key_values(&pairs)
            .build();
        assert_eq!(line(&record), "warn: slow\u{FFFD}error: forged drive=a path=x\u{FFFD}y\n");
    }
}
