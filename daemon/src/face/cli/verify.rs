//! `shoebox verify`: re-read copies from the medium now.
use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::{Cx, Exit, drive, screen};
use crate::face::control::{Fault, FaultKind, Request};
use crate::model::path::RelPath;
use crate::os::clock;
use crate::work::views::{DriveView, VerifyReport};

/// Read copies back from the drives now and compare them
///
/// Every copy in question is read from the medium, not from memory, and its hash is compared. Exit code 1 if a copy
/// is damaged or missing, or it or its drive could not be read; 4 if there is nothing in the folder of --below.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox verify
  shoebox verify --drive mirror --below anna/iphone
  shoebox verify --older 7
  shoebox verify --json | jq -r '.damaged[]'")]
pub(super) struct Verify {
    /// Only this drive: 'primary', 'mirror', 'offline', the beginning of its id, or its mount point
    #[arg(long, value_name = "DRIVE")]
    drive: Option<String>,
    /// Only below this folder of photos/
    #[arg(long, value_name = "FOLDER", value_parser = below_photos)]
    below: Option<RelPath>,
    /// Only copies that were not read back in the last so many days
    #[arg(long, value_name = "DAYS")]
    older: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let drive = match &self.drive {
            Some(word) => Some(drive::choose(&cx.ask::<Vec<DriveView>>(&Request::DriveList {})?, word)?),
            None => None,
        };
        let read_before = self.older.map(|days| {
            let age = SignedDuration::from_hours(24 * i64::from(days));
            clock::now().saturating_sub(age).unwrap_or(Timestamp::MIN)
        });
        let request = Request::Verify { drive, below: self.below.clone(), read_before };
        let report: VerifyReport = cx.ask_and_watch(&request, "verifying")?;
        if let (Some(below), None, true) = (&self.below, self.older, report == VerifyReport::default()) {
            // A misspelt folder must not pass for a good one.
            let what = format!("there is no photo below {below}");
            return Err(Fault::new(FaultKind::NotFound, what, "`shoebox find` shows what there is").into());
        }
        if self.json {
            cx.json(&report)?;
        } else {
            write!(cx.out, "{}", text(&report))?;
        }
        let fine = report.damaged.is_empty()
            && report.missing.is_empty()
            && report.not_read.is_empty()
            && report.unreadable_drives.is_empty();
        Ok(if fine { Exit::Fine } else { Exit::NeedsPerson })
    }
}

fn text(report: &VerifyReport) -> String {
    let copies = screen::many(report.equal, "copy", "copies");
    let mut text = format!("{copies} read back equal, {}.\n", screen::size(report.bytes));
    for path in &report.damaged {
        text.push_str(&format!("DAMAGED  {}\n", screen::plain(path.as_str())));
    }
    for path in &report.missing {
        text.push_str(&format!("MISSING  {}\n", screen::plain(path.as_str())));
    }
    for path in &report.not_read {
        text.push_str(&format!("NOT READ {}\n", screen::plain(path.as_str())));
    }
    for drive in &report.unreadable_drives {
        text.push_str(&format!("NOT READ {}\n", screen::plain(drive)));
    }
    text
}

/// A name below `photos/`, however it is written.
pub(super) fn below_photos(text: &str) -> Result<RelPath, crate::model::path::BadPath> {
    let text = text.trim_matches('/');
    RelPath::parse(text.strip_prefix("photos/").unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_below_photos_however_they_are_written() {
        for text in ["anna/iphone", "photos/anna/iphone/", "/photos/anna/iphone"] {
            assert_eq!(below_photos(text).unwrap().as_str(), "anna/iphone");
        }
        assert!(below_photos("../etc").is_err());
    }
}
