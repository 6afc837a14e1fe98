//! `shoebox status`: what needs a person, every drive, how much there is.
use std::fmt::Write as _;

use clap::Args;
use jiff::tz::TimeZone;

use super::{Cx, Exit, disk, drive, screen};
use crate::face::control::{Request, StatusReport};
use crate::model::health::Light;

/// Show what needs you, the drives, and how much there is
///
/// Green means that every promise holds at this moment. Anything else is named together with what to do about it
/// and since when it has been so, and makes the exit code 1.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox status
  shoebox status --json | jq -r '.findings[].sentence'
  shoebox status >/dev/null || echo 'have a look at the photo box'")]
pub(super) struct Status {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let report: StatusReport = cx.ask(&Request::Status {})?;
        if self.json {
            cx.json(&report)?;
        } else {
            write!(cx.out, "{}", text(&report, &TimeZone::system()))?;
        }
        Ok(if report.light == Light::Green { Exit::Fine } else { Exit::NeedsPerson })
    }
}

/// The report as people read it.
pub(super) fn text(report: &StatusReport, zone: &TimeZone) -> String {
    let mut text = String::new();
    if report.findings.iter().all(|finding| finding.light == Light::Green) {
        text.push_str("green: nothing needs you.\n");
    }
    for finding in &report.findings {
        let since = screen::moment(finding.since, zone);
        text.push_str(&format!(
            "{}: {} (since {since})\n",
            finding.light.as_str(),
            screen::plain(&finding.sentence)
        ));
        if !finding.remedy.is_empty() {
            text.push_str(&format!("  → {}\n", screen::plain(&finding.remedy)));
        }
    }
    text.push('\n');
    text.push_str(&drive::table(&report.drives, zone));
    text.push_str(&disk::besides(&report.plugged));
    text.push('\n');
    match &report.counts {
        // Writing to a String cannot fail.
        Some(counts) => drop(writeln!(
            text,
            "{}, {}, {}, {}",
            screen::many(counts.people as u64, "person", "people"),
            screen::many(counts.devices as u64, "device", "devices"),
            screen::many(counts.files, "file", "files"),
            screen::size(counts.bytes)
        )),
        None => text.push_str("People and files cannot be counted while the primary drive is away.\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::control::Counts;
    use crate::model::drive::{DriveRole, Id, Space, Standing};
    use crate::model::health::Finding;
    use crate::work::views::{DriveView, Tally};

    #[test]
    fn a_report_reads_like_this() {
        let since = "2026-11-20T08:00:00Z".parse().unwrap();
        let drive = |id: u8, role, standing, (wanted, wanted_bytes)| DriveView {
            mount: format!("/srv/shoebox/{id}").into(),
            id: Some(Id::from_random([id; 16])),
            role: Some(role),
            standing,
            space: Some(Space { total: 2_000_000_000_000, available: 500_000_000_000, inodes: 9 }),
            since,
            tally: Tally { wanted, wanted_bytes, ..Tally::default() },
            probe_ms: None,
            device: None,
            snapshot: None,
            seconds_left: None,
            full_in_days: None,
            reread: None,
            unplugging: None,
            disk: None,
        };
        let mut report = StatusReport {
            version: "0.1.0".to_owned(),
            light: Light::Red,
            findings: vec![Finding {
                code: "drive-absent".to_owned(),
                about: "B".to_owned(),
                light: Light::Red,
                sentence: "Drive B is not there.".to_owned(),
                remedy: "Plug it in.".to_owned(),
                since,
            }],
            drives: vec![
                drive(1, DriveRole::Primary, Standing::Ready, (0, 0)),
                drive(2, DriveRole::Mirror, Standing::Absent, (17, 51_000_000)),
                DriveView {
                    id: None,
                    role: None,
                    standing: Standing::Blank,
                    space: None,
                    ..drive(3, DriveRole::Mirror, Standing::Blank, (0, 0))
                },
            ],
            plugged: Vec::new(),
            counts: Some(Counts { people: 1, devices: 2, files: 1234, bytes: 5_600_000_000 }),
        };
        expect_test::expect![[r#"
            red: Drive B is not there. (since 20 Nov 2026 08:00:00)
              → Plug it in.

            drive A           /srv/shoebox/1  01010101  ready since 20 Nov 2026 08:00:00   75 % of 2.0 TB used
            drive B           /srv/shoebox/2  02020202  absent since 20 Nov 2026 08:00:00  75 % of 2.0 TB used  17 files (51.0 MB) still to copy
            no drive of ours  /srv/shoebox/3  -         blank since 20 Nov 2026 08:00:00

            1 person, 2 devices, 1234 files, 5.6 GB
        "#]].assert_eq(&text(&report, &TimeZone::UTC));
        report.findings.clear();
        report.drives.clear();
        report.counts = None;
        expect_test::expect![[r#"
            green: nothing needs you.


            People and files cannot be counted while the primary drive is away.
        "#]]
        .assert_eq(&text(&report, &TimeZone::UTC));
    }
}
