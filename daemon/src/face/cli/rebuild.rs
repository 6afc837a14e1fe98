//! `shoebox rebuild`: everything anew from one bare drive.
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Cx, Exit, screen};
use crate::face::control::{Fault, FaultKind};
use crate::os::clock;
use crate::work::rebuild::{Rebuild as What, RebuildError, rebuild};
use crate::work::views::RebuildReport;

/// Make the catalogue anew from one bare drive, without the daemon
///
/// For a drive of a Shoebox whose catalogue is lost or not to be trusted, or for one drive that is left of a box. Reads the
/// drive's own record, compares it with the files in photos/, and takes files over that the record does not know. A catalogue
/// that is there is kept beside the new one; one that is sound and knows more than a record which lost its
/// end is gone on from. No photo is changed. The daemon must not be running on this drive.
///
/// Exit code 1 if a photo is missing, damaged or could not be read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox rebuild --from /mnt/drive
  shoebox rebuild --from /mnt/drive --promote --verify
  shoebox rebuild --from /mnt/drive --json | jq .missing")]
pub(super) struct Rebuild {
    /// Where the drive is mounted
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// A copy becomes the main drive of its box; what it never got is missing from then on
    #[arg(long)]
    promote: bool,
    /// Read every photo back from the medium and compare it
    #[arg(long)]
    verify: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Rebuild {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let what = What { from: self.from, promote: self.promote, verify: self.verify };
        let mut line = screen::ProgressLine::new("rebuilding");
        let report = rebuild(&what, Arc::new(clock::now), &mut |stage, now| line.show_stage(stage, now));
        line.clear();
        let report = report.map_err(|e| fault(&e))?;
        if self.json {
            cx.json(&report)?;
        } else {
            write!(cx.out, "{}", text(&report))?;
        }
        let fine = report.missing == 0 && report.damaged.is_empty() && report.not_read.is_empty();
        Ok(if fine { Exit::Fine } else { Exit::NeedsPerson })
    }
}

fn fault(error: &RebuildError) -> Fault {
    let kind = match error {
        RebuildError::Nothing(..) => FaultKind::NotFound,
        RebuildError::Unmarked(_) | RebuildError::Unreadable(..) | RebuildError::IsCopy(..) => {
            FaultKind::Declined
        }
        RebuildError::Standing(_)
        | RebuildError::InUse
        | RebuildError::Promote(_)
        | RebuildError::Refused(_) => FaultKind::Unavailable,
    };
    Fault::new(kind, error.to_string(), "")
}

fn text(report: &RebuildReport) -> String {
    let (files, size) = (screen::many(report.files, "file", "files"), screen::size(report.bytes));
    let people = screen::many(report.people, "person", "people");
    let devices = screen::many(report.devices, "device", "devices");
    let lines = screen::many(report.lines, "line", "lines");
    let mut text = format!("{people}, {devices}, {files} ({size}), from {lines} of the drive's record.\n");
    if report.catalogue_kept {
        text.push_str(
            "The record lost its end; the drive's catalogue, which is sound, knows more and was kept\n",
        );
    }
    let mut say = |count: u64, one: &str, more: &str| {
        if count > 0 {
            text.push_str(&format!("{}\n", screen::many(count, one, more)));
        }
    };
    say(
        report.adopted,
        "file was not in the record and was taken over",
        "files were not in the record and were taken over",
    );
    say(
        report.missing,
        "file is in the record and not on the drive",
        "files are in the record and not on the drive",
    );
    say(
        report.unholdable,
        "file has a name that no drive could hold",
        "files have names that no drive could hold",
    );
    say(report.bad_lines, "line of the record is torn or changed", "lines of the record are torn or changed");
    say(
        report.breaks,
        "place in the record where lines are missing",
        "places in the record where lines are missing",
    );
    if let Some(equal) = report.equal {
        text.push_str(&format!("{} read back equal\n", screen::many(equal, "file", "files")));
    }
    for path in &report.damaged {
        text.push_str(&format!("DAMAGED  {}\n", screen::plain(path.as_str())));
    }
    for path in &report.not_read {
        text.push_str(&format!("NOT READ {}\n", screen::plain(path.as_str())));
    }
    text
}
