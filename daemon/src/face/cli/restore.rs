//! `shoebox restore`: files from a drive into a folder, with or without a daemon.
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Cx, Exit, find, screen, verify};
use crate::face::control::{Fault, FaultKind, Request};
use crate::model::account::Slug;
use crate::model::drive::Standing;
use crate::model::path::RelPath;
use crate::work::restore::{self, Order, Planned, Remark, RestoreError, RestoreReport, Salvaged, Wish};
use crate::work::views::DriveView;

/// Of a long list, people are shown so many; `--json` has all.
const SHOWN: usize = 20;

/// Bring photos back from a drive into a folder
///
/// Works from any one drive of the box, plugged into any Linux computer, also when the box and all other drives are gone: with
/// --from no daemon is needed, and the drive is only read. Without --from the drives that the running daemon knows are used.
///
/// Every file is compared with the drive's own record while it is copied. A copy that is damaged is never restored silently: the
/// next drive's is taken, and if there is none, the file is named and left out. Files of which the drive has no record are
/// restored, and named. Run it as the owner of the drive's folder .shoebox (or as root), or the record cannot be read.
///
/// Nothing in the folder is overwritten. A file that is there already and equal counts as done, so that a restore that was broken
/// off is simply run again; beside a different one the restored file is called 'IMG_1 (restored).JPG'.
///
/// With --salvage, and only then, what can be read of a file whose every copy is damaged is written beside, block by block from
/// whichever drive has it, never under the file's own name. If the copies are damaged in different places it may be whole again.
///
/// Exit code 1 if a file could not be restored or not be proved, 4 if nothing fits or there is no such drive, 5 if there is not
/// enough room.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox restore --from /media/me/drive --to ~/photos
  shoebox restore --from /media/me/a --from /media/me/b --to ~/photos anna/iphone
  shoebox restore --to /tmp/back --person anna --since 2026-11-01 --until 2026-11-30
  shoebox restore --to /tmp/back --salvage anna/iphone/IMG_4711.HEIC
  shoebox restore --to /tmp/back --deleted --since 2026-11-14 --dry-run")]
pub(super) struct Restore {
    /// Only these files and folders, as they are called below photos/
    #[arg(value_name = "PATH", value_parser = verify::below_photos)]
    paths: Vec<RelPath>,
    /// Where a drive is mounted; several: the first is believed first, and the others fill in
    #[arg(long, value_name = "DIR")]
    from: Vec<PathBuf>,
    /// The folder to restore into; made if it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only this person's
    #[arg(long, value_name = "PERSON")]
    person: Option<Slug>,
    /// Only those sent by a device of this name
    #[arg(long, value_name = "DEVICE")]
    device: Option<Slug>,
    /// Received (with --deleted: deleted) on or after this day (2026-11-14) or moment (2026-11-14T18:02:11Z)
    #[arg(long, value_name = "DATE", value_parser = find::beginning)]
    since: Option<Timestamp>,
    /// Received (with --deleted: deleted) on or before this day, or before this moment
    #[arg(long, value_name = "DATE", value_parser = find::end)]
    until: Option<Timestamp>,
    /// What was deleted or replaced and still lies in the drive's trash
    #[arg(long)]
    deleted: bool,
    /// Of files without a good copy on any drive, bring what can be read, as NAME.salvaged.END with a list of what is missing
    #[arg(long, requires = "paths")]
    salvage: bool,
    /// Only list what would be restored
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let from = if self.from.is_empty() { known_drives(cx)? } else { self.from };
        let wish = Wish {
            paths: self.paths,
            person: self.person,
            device: self.device,
            since: self.since,
            until: self.until,
            deleted: self.deleted,
        };
        let order = Order { from, to: self.to, wish, salvage: self.salvage, dry_run: self.dry_run };
        let mut line = screen::ProgressLine::new("restoring");
        let done = restore::restore(&order, &mut |now| line.show(now));
        line.clear();
        let report = done.map_err(fault)?;
        if self.json {
            cx.json(&report)?;
        } else if self.dry_run {
            write!(cx.out, "{}{}", drives(&report), list(&report.planned, &TimeZone::system()))?;
        } else {
            write!(cx.out, "{}{}", drives(&report), text(&report))?;
        }
        Ok(match report.files {
            0 if report.unread.is_empty() => Exit::NotFound,
            _ if report.is_whole() => Exit::Fine,
            _ => Exit::NeedsPerson,
        })
    }
}

/// The drives that are there, the primary first.
fn known_drives(cx: &Cx<'_>) -> anyhow::Result<Vec<PathBuf>> {
    let mut drives: Vec<DriveView> = cx
        .ask(&Request::DriveList {})
        .context("without the daemon, --from DIR says where a drive is mounted")?;
    drives.retain(|drive| drive.id.is_some() && may_be_read(&drive.standing));
    drives.sort_by_key(|drive| drive.role);
    if drives.is_empty() {
        let remedy = "plug one in, or say where one is mounted with --from DIR";
        return Err(Fault::new(FaultKind::Unavailable, "no drive of the box is there", remedy).into());
    }
    Ok(drives.into_iter().map(|drive| drive.mount).collect())
}

const fn may_be_read(standing: &Standing) -> bool {
    match standing {
        Standing::Ready
        | Standing::ReadOnly
        | Standing::Suspect { .. }
        | Standing::Failing { .. }
        | Standing::InUse => true,
        Standing::Absent
        | Standing::Ejected
        | Standing::Foreign { .. }
        | Standing::Blank
        // They may name what the pool has since deleted; with --from they are read all the same.
        | Standing::Former
        | Standing::Retired
        | Standing::Clone { .. }
        // Whoever reads from it hangs with it.
        | Standing::Stuck => false,
    }
}

fn fault(error: RestoreError) -> anyhow::Error {
    let (kind, remedy) = match &error {
        RestoreError::NoDrive { .. } => {
            (FaultKind::NotFound, "--from is where a drive is mounted: the folder with photos/ in it")
        }
        RestoreError::OnTheDrive { .. } => (FaultKind::BadRequest, "choose a folder elsewhere"),
        RestoreError::NoTarget { .. } => (FaultKind::Unavailable, "choose another folder with --to"),
        RestoreError::NoRoom { needed, available } => {
            let what = format!(
                "there is no room: {} are to be restored, and {} are free",
                screen::size(*needed),
                screen::size(*available)
            );
            let remedy = "choose another folder with --to, or fewer files; nothing was restored";
            return Fault::new(FaultKind::Unavailable, what, remedy).into();
        }
    };
    Fault::new(kind, screen::plain(&error.to_string()), remedy).into()
}

/// What could be read of each drive; nothing about one that is as it should be.
fn drives(report: &RestoreReport) -> String {
    let mut text = String::new();
    for drive in report.drives.iter().filter(|drive| !drive.trouble.is_empty()) {
        let mount = drive.mount.display().to_string();
        let _always_fits = writeln!(
            text,
            "{}: {}. What no record names cannot be proved.",
            screen::plain(&mount),
            screen::plain(&drive.trouble)
        );
    }
    text
}

fn list(planned: &[Planned], zone: &TimeZone) -> String {
    let rows = planned.iter().map(|file| {
        let deleted = file.deleted.as_ref().map(|how| {
            let by = if how.by.is_empty() { String::new() } else { format!(" by {}", how.by) };
            let why = if how.why.is_empty() { "in the trash" } else { how.why.as_str() };
            screen::plain(&format!("{why} {}{by}", screen::moment(how.at, zone)))
        });
        vec![
            screen::size(file.size),
            if file.provable { String::new() } else { "not provable".to_owned() },
            deleted.unwrap_or_default(),
            screen::plain(file.path.as_str()),
        ]
    });
    let bytes = planned.iter().map(|file| file.size).sum();
    let sum = format!("{}, {}\n", screen::many(planned.len() as u64, "file", "files"), screen::size(bytes));
    screen::table(&rows.collect::<Vec<_>>()) + &sum
}

fn text(report: &RestoreReport) -> String {
    let files = |count| screen::many(count, "file", "files");
    let mut text = format!("{} restored, {}", files(report.restored), screen::size(report.bytes));
    if report.already > 0 {
        let _always_fits = write!(text, "; {} there already, equal", files(report.already));
    }
    text.push_str(".\n");
    if report.files == 0 {
        "Nothing fits.\n".clone_into(&mut text);
    }
    remarks(&mut text, "NOT RESTORED", &report.failed);
    named(&mut text, "SALVAGED    ", report.salvaged.iter().map(salvaged));
    named(&mut text, "NOT PROVED  ", report.unproved.iter().map(|path| path.as_str().to_owned()));
    named(&mut text, "NOT READ    ", report.unread.iter().cloned());
    remarks(&mut text, "bad copy    ", &report.passed_over);
    named(&mut text, "beside      ", report.beside.iter().map(|r| format!("{} is now {}", r.path, r.what)));
    if let Some(why) = &report.stopped {
        let left = report.files
            - report.restored
            - report.already
            - (report.failed.len() + report.salvaged.len()) as u64;
        let why = screen::plain(why);
        let _always_fits = writeln!(text, "Ended early: {why}. {} not looked at.", files(left));
    }
    text
}

fn salvaged(file: &Salvaged) -> String {
    let bytes = |ranges: &[(u64, u64)]| screen::size(ranges.iter().map(|(from, to)| to - from).sum());
    let state = match (file.whole, file.lost.is_empty(), file.unsure.is_empty()) {
        (true, ..) => "whole again: it has the content that was received".to_owned(),
        (false, true, true) => "nobody can say which of its bytes are wrong".to_owned(),
        (false, ..) => format!("{} missing, {} unsure", bytes(&file.lost), bytes(&file.unsure)),
    };
    format!("{}: {state}", file.name)
}

fn remarks(text: &mut String, word: &str, remarks: &[Remark]) {
    named(text, word, remarks.iter().map(|remark| format!("{}: {}", remark.path, remark.what)));
}

fn named(text: &mut String, word: &str, lines: impl ExactSizeIterator<Item = String>) {
    let all = lines.len();
    for line in lines.take(SHOWN) {
        let _always_fits = writeln!(text, "{word}  {}", screen::plain(&line));
    }
    if all > SHOWN {
        let _always_fits = writeln!(text, "{word}  and {} more: --json has all", all - SHOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_a_person_must_know() {
        let remark =
            |path: &str, what: &str| Remark { path: RelPath::parse(path).unwrap(), what: what.to_owned() };
        let report = RestoreReport {
            files: 27,
            restored: 1,
            bytes: 3_200_000,
            already: 2,
            beside: vec![remark("anna/1.jpg", "anna/1 (restored).jpg")],
            failed: vec![remark(
                "anna/2.jpg",
                "/m/photos/anna/2.jpg: it is damaged: it differs from its record",
            )],
            unproved: (0..22).map(|n| RelPath::parse(&format!("anna/{n}")).unwrap()).collect(),
            stopped: Some("could not write it: no space left on device".to_owned()),
            ..RestoreReport::default()
        };
        let text = text(&report);
        assert!(
            text.starts_with(
                "1 file restored, 3.2 MB; 2 files there already, equal.\nNOT RESTORED  anna/2.jpg: /m/"
            ),
            "{text}"
        );
        assert!(text.contains("beside        anna/1.jpg is now anna/1 (restored).jpg\n"), "{text}");
        assert!(text.contains("NOT PROVED    and 2 more: --json has all\n"), "{text}");
        assert!(text.ends_with("no space left on device. 23 files not looked at.\n"), "{text}");
    }
}
