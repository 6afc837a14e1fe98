//! `shoebox verify`: re-read copies from the medium now.
use anyhow::Context as _;
use clap::Args;

use super::{Cx, Exit, drive, screen};
use crate::face::control::{Fault, FaultKind, Request};
use crate::model::drive::{DriveId, DriveRole};
use crate::model::path::RelPath;
use crate::work::views::{DriveView, VerifyReport};

/// Read copies back from the drives now and compare them
///
/// Every copy in question is read from the medium, not from memory, and its hash is compared. Exit code 1 if a copy
/// is damaged or missing, or a drive could not be read; 4 if there is nothing in the folder of --below.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox verify
  shoebox verify --drive mirror --below anna/iphone
  shoebox verify --json | jq -r '.damaged[]'")]
pub(super) struct Verify {
    /// Only this drive: 'primary', 'mirror', 'offline', or the beginning of its id
    #[arg(long, value_name = "DRIVE")]
    drive: Option<String>,
    /// Only below this folder of photos/
    #[arg(long, value_name = "FOLDER", value_parser = below_photos)]
    below: Option<RelPath>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let drive = match &self.drive {
            Some(word) => Some(choose(&cx.ask::<Vec<DriveView>>(&Request::DriveList {})?, word)?),
            None => None,
        };
        let request = Request::Verify { drive, below: self.below.clone() };
        let report: VerifyReport = cx.ask_and_watch(&request, "verifying")?;
        if let (Some(below), true) = (&self.below, report == VerifyReport::default()) {
            // A misspelt folder must not pass for a good one.
            let what = format!("there is no photo below {below}");
            return Err(Fault::new(FaultKind::NotFound, what, "`shoebox find` shows what there is").into());
        }
        if self.json {
            cx.json(&report)?;
        } else {
            write!(cx.out, "{}", text(&report))?;
        }
        let fine =
            report.damaged.is_empty() && report.missing.is_empty() && report.unreadable_drives.is_empty();
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
    for drive in &report.unreadable_drives {
        text.push_str(&format!("NOT READ {}\n", screen::plain(drive)));
    }
    text
}

fn below_photos(text: &str) -> Result<RelPath, crate::model::path::BadPath> {
    let text = text.trim_matches('/');
    RelPath::parse(text.strip_prefix("photos/").unwrap_or(text))
}

/// The one drive that `word` means.
fn choose(drives: &[DriveView], word: &str) -> anyhow::Result<DriveId> {
    let role = word.parse::<DriveRole>().ok();
    let fits = |drive: &&DriveView| match role {
        Some(role) => drive.role == Some(role),
        None => drive.id.is_some_and(|id| !word.is_empty() && id.to_string().starts_with(word)),
    };
    let found: Vec<&DriveView> = drives.iter().filter(fits).collect();
    let fault = |kind, what: String| Fault::new(kind, what, "`shoebox drive list` shows them");
    match found.as_slice() {
        [one] => one.id.context("a drive with a role has an id"),
        [] => Err(fault(FaultKind::NotFound, format!("there is no drive {word:?}")).into()),
        [_, _, ..] => {
            let names: Vec<String> = found
                .iter()
                .map(|d| format!("{} {}", d.role.map_or("", drive::role_name), d.mount.display()))
                .collect();
            let what = format!("{word:?} fits several drives: {}", names.join(", "));
            Err(fault(FaultKind::BadRequest, what).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drive::{Id, Standing};

    #[test]
    fn a_drive_is_chosen_only_if_it_is_the_only_one() {
        let drive = |id: u8, role| DriveView {
            mount: format!("/{id}").into(),
            id: Some(Id::from_random([id; 16])),
            role: Some(role),
            standing: Standing::Ready,
            space: None,
            since: jiff::Timestamp::UNIX_EPOCH,
            tally: Default::default(),
            probe_ms: None,
            device: None,
        };
        let drives =
            [drive(1, DriveRole::Primary), drive(2, DriveRole::Offline), drive(0x23, DriveRole::Offline)];
        let code = |word| Exit::of(&choose(&drives, word).unwrap_err()).code();
        assert_eq!(choose(&drives, "primary").unwrap(), Id::from_random([1; 16]));
        assert_eq!(choose(&drives, "0202").unwrap(), Id::from_random([2; 16]));
        assert_eq!((code("offline"), code("mirror"), code(""), code("ff")), (2, 4, 4, 4));
    }

    #[test]
    fn folders_are_below_photos_however_they_are_written() {
        for text in ["anna/iphone", "photos/anna/iphone/", "/photos/anna/iphone"] {
            assert_eq!(below_photos(text).unwrap().as_str(), "anna/iphone");
        }
        assert!(below_photos("../etc").is_err());
    }
}
