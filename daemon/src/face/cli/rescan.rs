//! `shoebox rescan`: compare the drives with the catalogue now.
use clap::Args;

use super::{Cx, Exit, screen};
use crate::face::control::Request;
use crate::work::views::RescanReport;

/// Compare the drives with the catalogue now
///
/// The box does this by itself, at least hourly and soon after something changes. Files that were put on drive A by
/// hand are taken in; files that are gone are noted. Nothing is deleted. Exit code 1 if something is missing or
/// cannot be kept (a name or kind of file that no mirror could hold).
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox rescan
  shoebox rescan --json | jq .adopted")]
pub(super) struct Rescan {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Rescan {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let report: RescanReport = cx.ask_and_watch(&Request::Rescan {}, "rescanning")?;
        if self.json {
            cx.json(&report)?;
        } else {
            writeln!(
                cx.out,
                "{} in {} compared: {} taken in, {} missing, {} that cannot be kept.",
                screen::many(report.files, "file", "files"),
                screen::many(report.folders, "folder", "folders"),
                report.adopted,
                report.missing,
                report.unholdable
            )?;
        }
        Ok(if report.missing == 0 && report.unholdable == 0 { Exit::Fine } else { Exit::NeedsPerson })
    }
}
