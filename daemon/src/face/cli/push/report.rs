//! What a run, and all runs together, came to: for people and as JSON.
use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::run::{End, Tally};
use super::state::{Counts, Row, Runs};
use crate::face::cli::exit::Exit;
use crate::face::cli::screen;

/// Of a long list, people are shown so many; `--json` has all.
const SHOWN: usize = 20;

/// A file that could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    pub(super) path: PathBuf,
    pub(super) why: String,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// `done`, `unreachable`, `full`, `sign-in`, `not-now`, `here`.
    pub(super) outcome: &'static str,
    /// Why it ended before all was sent.
    pub(super) because: Option<String>,
    /// Files found in the folders.
    pub(super) total: u64,
    /// On the box since an earlier run.
    pub(super) unchanged: u64,
    pub(super) uploaded: u64,
    pub(super) uploaded_bytes: u64,
    /// The box had them from elsewhere.
    pub(super) already_there: u64,
    pub(super) failed: Vec<Failure>,
    /// Of those, as many as were not tried again.
    pub(super) given_up: u64,
    pub(super) gone: u64,
    /// Not over this network.
    pub(super) held_back: u64,
    /// Not reached before the run ended.
    pub(super) left: u64,
    /// Files that are no photos or videos.
    pub(super) not_photos: u64,
    /// Sent earlier, and not on the box any more.
    pub(super) missing: u64,
    /// When a run last left nothing to be sent.
    pub(super) last_backup: Option<Timestamp>,
}

impl Report {
    /// Takes over what became of the files.
    pub(super) fn take(&mut self, end: Option<End>, tally: Tally) {
        (self.outcome, self.because) = match end {
            None => ("done", None),
            Some(End::Unreachable(why)) => ("unreachable", Some(why)),
            Some(End::Full(why)) => ("full", Some(why)),
            Some(End::SignIn(why)) => ("sign-in", Some(why)),
            Some(End::NotNow(why)) => ("not-now", Some(why)),
            Some(End::Here(why)) => ("here", Some(why)),
        };
        self.unchanged += tally.unchanged;
        self.uploaded = tally.sent;
        self.uploaded_bytes = tally.sent_bytes;
        self.already_there = tally.there;
        self.gone = tally.gone;
        self.held_back = tally.held_back;
        self.left += tally.left;
        self.failed.extend(tally.failed.into_iter().map(|(path, why)| Failure { path, why }));
        self.failed.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// Whether nothing is left to be sent.
    pub(super) fn is_whole(&self) -> bool {
        self.outcome == "done" && self.failed.is_empty() && self.held_back == 0 && self.left == 0
    }

    /// How the command ends. That it is not the time to send is no failure: the next run may find it better.
    pub(super) fn exit(&self) -> Exit {
        match self.outcome {
            "unreachable" => Exit::Unreachable,
            "full" => Exit::Unavailable,
            "sign-in" => Exit::NeedsPerson,
            "here" => Exit::Internal,
            _ if !self.failed.is_empty() => Exit::NeedsPerson,
            _ => Exit::Fine,
        }
    }

    /// For people.
    pub(super) fn text(&self, zone: &TimeZone) -> String {
        let mut text = String::new();
        for failure in self.failed.iter().take(SHOWN) {
            let path = screen::plain(&failure.path.display().to_string());
            let _infallible = writeln!(text, "not sent: {path}: {}", failure.why);
        }
        if self.failed.len() > SHOWN {
            let _infallible =
                writeln!(text, "… and {} more; --status --json lists all", self.failed.len() - SHOWN);
        }
        let files = |count| screen::many(count, "file", "files");
        let _infallible = write!(text, "{}: {} uploaded", files(self.total), self.uploaded);
        if self.uploaded > 0 {
            let _infallible = write!(text, " ({})", screen::size(self.uploaded_bytes));
        }
        let _infallible = write!(
            text,
            ", {} already there, {} sent earlier, {} failed",
            self.already_there,
            self.unchanged,
            self.failed.len()
        );
        for (count, what) in [
            (self.gone, "gone before they were sent"),
            (self.held_back, "waiting for an unmetered network"),
            (self.left, "left for the next run"),
        ] {
            if count > 0 {
                let _infallible = write!(text, ", {count} {what}");
            }
        }
        text.push_str(".\n");
        if self.not_photos > 0 {
            let _infallible = writeln!(text, "{} no photos or videos (--all-files sends them, too).", {
                if self.not_photos == 1 {
                    "1 file is".to_owned()
                } else {
                    format!("{} files are", self.not_photos)
                }
            });
        }
        if self.missing > 0 {
            let _infallible = writeln!(
                text,
                "{} sent earlier and not on the box any more, perhaps deleted there: --again sends what it does not have.",
                if self.missing == 1 {
                    "1 file was".to_owned()
                } else {
                    format!("{} files were", self.missing)
                }
            );
        }
        if self.given_up > 0 || !self.failed.is_empty() {
            text.push_str("What failed is tried again in the next runs, and at once with --retry-failed.\n");
        }
        if let Some(why) = &self.because {
            let _infallible = writeln!(text, "Stopped: {}.{}", why.trim_end_matches('.'), self.remedy());
        }
        text.push_str(&last_backup(self.last_backup, zone));
        text
    }

    fn remedy(&self) -> &'static str {
        match self.outcome {
            "unreachable" => {
                " Nothing is lost: run it again once the box can be reached, and it goes on where it stopped."
            }
            "full" => {
                " Make room on the box, or have the quota raised (`shoebox person quota`), and run it again."
            }
            "sign-in" => {
                " Make the device a password on the box (`shoebox device add`), and run `shoebox push --setup` again."
            }
            "not-now" => " The next run looks again.",
            _ => "",
        }
    }
}

fn last_backup(at: Option<Timestamp>, zone: &TimeZone) -> String {
    match at {
        Some(at) => format!("Last complete backup: {}.\n", screen::moment(at, zone)),
        None => "There was no complete backup yet.\n".to_owned(),
    }
}

/// What is on record, without a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    pub(super) address: String,
    pub(super) user: String,
    /// Files on record.
    pub(super) total: u64,
    pub(super) uploaded: u64,
    pub(super) already_there: u64,
    pub(super) missing: u64,
    pub(super) failed: Vec<Failure>,
    pub(super) last_run: Option<Timestamp>,
    pub(super) last_backup: Option<Timestamp>,
}

impl Standing {
    pub(super) fn of(whose: (String, String), counts: &Counts, runs: Runs, failed: Vec<Row>) -> Self {
        let failure = |row: Row| Failure { path: row.path, why: row.why };
        Self {
            address: whose.0,
            user: whose.1,
            total: counts.sent + counts.there + counts.missing + counts.failed,
            uploaded: counts.sent,
            already_there: counts.there,
            missing: counts.missing,
            failed: failed.into_iter().map(failure).collect(),
            last_run: runs.last,
            last_backup: runs.whole,
        }
    }

    /// For people.
    pub(super) fn text(&self, zone: &TimeZone) -> String {
        let mut text = format!("{} of {}\n", self.address, self.user);
        for failure in self.failed.iter().take(SHOWN) {
            let _infallible = writeln!(
                text,
                "not sent: {}: {}",
                screen::plain(&failure.path.display().to_string()),
                failure.why
            );
        }
        let _infallible = writeln!(
            text,
            "{} on record: {} uploaded, {} already there, {} failed, {} not on the box any more.",
            screen::many(self.total, "file", "files"),
            self.uploaded,
            self.already_there,
            self.failed.len(),
            self.missing
        );
        if let Some(at) = self.last_run {
            let _infallible = writeln!(text, "Last run: {}.", screen::moment(at, zone));
        }
        text + &last_backup(self.last_backup, zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_came_to() {
        let mut report = Report { total: 60, unchanged: 7, not_photos: 1, missing: 2, ..Report::default() };
        let tally = Tally {
            sent: 41,
            sent_bytes: 3_200_000,
            there: 5,
            unchanged: 1,
            gone: 1,
            held_back: 2,
            left: 2,
            failed: vec![("/p/b.jpg".into(), "the box answers 400".into())],
        };
        report.take(Some(End::Full("no room in this person's quota".into())), tally);
        assert_eq!(report.exit(), Exit::Unavailable);
        assert!(!report.is_whole());
        report.last_backup = Some("2026-11-14T18:02:11Z".parse().unwrap());
        expect_test::expect![[r#"
            not sent: /p/b.jpg: the box answers 400
            60 files: 41 uploaded (3.2 MB), 5 already there, 8 sent earlier, 1 failed, 1 gone before they were sent, 2 waiting for an unmetered network, 2 left for the next run.
            1 file is no photos or videos (--all-files sends them, too).
            2 files were sent earlier and not on the box any more, perhaps deleted there: --again sends what it does not have.
            What failed is tried again in the next runs, and at once with --retry-failed.
            Stopped: no room in this person's quota. Make room on the box, or have the quota raised (`shoebox person quota`), and run it again.
            Last complete backup: 14 Nov 2026 18:02:11.
        "#]]
        .assert_eq(&report.text(&TimeZone::UTC));
    }

    #[test]
    fn how_each_end_is_told_to_the_shell() {
        let exit = |end| {
            let mut report = Report::default();
            report.take(end, Tally::default());
            report.exit()
        };
        assert_eq!(exit(None), Exit::Fine);
        assert_eq!(exit(Some(End::Unreachable(String::new()))), Exit::Unreachable);
        assert_eq!(exit(Some(End::Full(String::new()))), Exit::Unavailable);
        assert_eq!(exit(Some(End::SignIn(String::new()))), Exit::NeedsPerson);
        assert_eq!(exit(Some(End::NotNow(String::new()))), Exit::Fine);
        assert_eq!(exit(Some(End::Here(String::new()))), Exit::Internal);
        let mut report = Report::default();
        report.take(None, Tally { failed: vec![("a".into(), "b".into())], ..Tally::default() });
        assert_eq!(report.exit(), Exit::NeedsPerson);
    }
}
