//! `shoebox drive`: what is plugged in, and making a drive one of ours.
use std::path::PathBuf;

use clap::Subcommand;
use jiff::tz::TimeZone;

use super::{Cx, Exit, screen};
use crate::face::control::Request;
use crate::model::drive::{DriveRole, Standing};
use crate::work::views::DriveView;

/// List drives, and make a new drive one of the box's
#[derive(Debug, Subcommand)]
pub(super) enum Drive {
    /// List every place where a drive may be, and what is there
    #[command(after_long_help = "\
Examples:
  shoebox drive list
  shoebox drive list --json | jq '.[] | select(.role == \"mirror\")'")]
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Make the drive mounted at PATH one of the box's
    ///
    /// Writes a marker on the drive that says which drive it is and what for. From then on the box knows the drive
    /// by that marker, wherever it is plugged in. Nothing that is on the drive already is deleted, moved or
    /// formatted, and a drive that belongs to another box is declined.
    #[command(after_long_help = "\
Examples:
  shoebox drive adopt /srv/shoebox/a --role primary
  shoebox drive adopt /srv/shoebox/b --role mirror")]
    Adopt {
        /// The drive's mount point, one of those in the settings
        #[arg(value_name = "PATH")]
        mount: PathBuf,
        /// What it is for: 'primary' (uploads land there), 'mirror' or 'offline'
        #[arg(long)]
        role: DriveRole,
        /// Print the drive as one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Drive {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let zone = TimeZone::system();
        match self {
            Self::List { json } => {
                let drives: Vec<DriveView> = cx.ask(&Request::DriveList {})?;
                if json {
                    cx.json(&drives)?;
                } else {
                    write!(cx.out, "{}", table(&drives, &zone))?;
                }
            }
            Self::Adopt { mount, role, json } => {
                // The daemon has its own working directory.
                let mount = std::path::absolute(mount)?;
                let drive: DriveView = cx.ask(&Request::DriveAdopt { mount, role })?;
                if json {
                    cx.json(&drive)?;
                } else {
                    writeln!(cx.out, "Adopted:")?;
                    write!(cx.out, "{}", table(&[drive], &zone))?;
                }
            }
        }
        Ok(Exit::Fine)
    }
}

/// What people call a role.
pub(super) const fn role_name(role: DriveRole) -> &'static str {
    match role {
        DriveRole::Primary => "drive A",
        DriveRole::Mirror => "drive B",
        DriveRole::Offline => "offline drive",
    }
}

/// Drives as people read them.
pub(super) fn table(drives: &[DriveView], zone: &TimeZone) -> String {
    let rows = drives.iter().map(|drive| {
        let name = drive.role.map_or("no drive of ours", role_name);
        let space = drive.space.map_or_else(String::new, |space| {
            format!("{} % of {} used", space.percent_used(), screen::size(space.total))
        });
        let lag = if drive.tally.wanted == 0 {
            String::new()
        } else {
            let files = screen::many(drive.tally.wanted, "file", "files");
            format!("{files} ({}) still to copy", screen::size(drive.tally.wanted_bytes))
        };
        vec![
            name.to_owned(),
            screen::plain(&drive.mount.display().to_string()),
            drive.id.map_or_else(|| "-".to_owned(), |id| id.short()),
            format!("{} since {}", standing(&drive.standing), screen::moment(drive.since, zone)),
            space,
            lag,
        ]
    });
    screen::table(&rows.collect::<Vec<_>>())
}

fn standing(standing: &Standing) -> String {
    match standing {
        Standing::Foreign { why } | Standing::Suspect { why } => {
            format!("{} ({})", standing.word(), screen::plain(why))
        }
        Standing::Absent
        | Standing::InUse
        | Standing::Blank
        | Standing::Ready
        | Standing::ReadOnly
        | Standing::Stuck => standing.word().to_owned(),
    }
}
