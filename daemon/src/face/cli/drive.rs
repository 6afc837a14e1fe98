//! `shoebox drive`: what is plugged in, and making a drive one of ours.
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use jiff::tz::TimeZone;

use super::disk::{self, Format, Prepare};
use super::{Cx, Exit, screen};
use crate::face::control::{DeviceRequest, Fault, FaultKind, Request};
use crate::model::drive::{DriveId, DriveRole, Standing};
use crate::model::plugged::{DeviceName, Plugged, Power};
use crate::work::views::{DriveView, Ejection, Forecast, Promotion, Released, Replacement};

/// List drives, make a new drive one of the box's, and let go of one
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
        /// List devices instead: everything that was plugged in, and what was done with it
        #[arg(long)]
        plugged: bool,
    },
    /// Make a drive one of the box's
    ///
    /// Writes a marker on the drive that says which drive it is and what for. From then on the box knows the drive
    /// by that marker, wherever it is plugged in. Nothing that is on the drive already is deleted, moved or
    /// formatted, and a drive that belongs to another box is declined.
    ///
    /// A former main drive, or one that was replaced, becomes a copy: photos, people and devices that only it has are taken
    /// in first, and what it has already is not copied again.
    #[command(after_long_help = "\
Examples:
  shoebox drive adopt /srv/shoebox/a --role primary
  shoebox drive adopt sdb1 --role mirror          # where a service mounts drives for the box")]
    Adopt {
        /// The drive's mount point, one of those in the settings; or the device, as `shoebox drive list` names it
        #[arg(value_name = "PATH|DEVICE")]
        mount: PathBuf,
        /// What it is for: 'primary' (uploads land there), 'mirror' or 'offline'
        #[arg(long)]
        role: DriveRole,
        /// Print the drive as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let go of a drive, unmount it and switch it off, so that it can be unplugged
    ///
    /// What is being written to it is finished or given up as a whole, and every file of it is closed; then it is unmounted and switched
    /// off. Where no service of this machine does that for the box, it can be unmounted by hand then. Every photo that was acknowledged or copied is on the medium already.
    /// Without the primary drive the box takes no photos; the apps try again later. Without another drive photos get no
    /// copy on it; the box makes them when it is back. A drive that is plugged in again is used again by itself.
    ///
    /// Exit code 5 if a transfer still has files of it open: the box has let go of it then, and the same command, a
    /// little later, says whether they are closed.
    #[command(after_long_help = "\
Examples:
  shoebox drive eject mirror
  shoebox drive eject 3f9a")]
    Eject {
        /// Which drive: 'primary', 'mirror', 'offline', the beginning of its id, its mount point or its device
        #[arg(value_name = "DRIVE")]
        drive: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    Prepare(Prepare),
    Format(Format),
    /// Make a copy the main drive, because the main drive is dead
    ///
    /// The box goes on with the copy as its main drive: people, devices, folders and photos are those that the copy's own
    /// record has, and the devices' passwords stay as they are. It is declined while the main drive is there. If something may
    /// be missing on the copy it says what is known of that, and is declined without --yes.
    ///
    /// A former main drive that comes back is not used by itself, and nothing on it is changed. `shoebox drive adopt PATH
    /// --role mirror` makes it a copy: what only it has is taken in first.
    #[command(after_long_help = "\
Examples:
  shoebox drive promote mirror
  shoebox drive promote 3f9a --yes")]
    Promote {
        /// Which drive: 'mirror', 'offline', the beginning of its id, or its mount point
        #[arg(value_name = "DRIVE")]
        drive: String,
        /// Although something may be missing on it
        #[arg(long)]
        yes: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Put a new drive in the place of another one
    ///
    /// OLD may be there, away or dead. The new drive is adopted as a copy and filled. If OLD works, it is used until the new
    /// one has everything, and the command waits for that; then the new one takes its place, as the main drive if OLD was that.
    /// If the main drive is dead, the copy takes its place, and the new drive becomes the copy. A drive that was replaced is
    /// not missed any more and nothing on it is changed.
    ///
    /// Killed or broken off, the command goes on from where it was when it is repeated. `shoebox drive list` shows how far a
    /// drive is.
    #[command(after_long_help = "\
Examples:
  shoebox drive replace mirror --with /srv/shoebox/c
  shoebox drive replace 3f9a --with /srv/shoebox/c
  shoebox drive replace primary --with /srv/shoebox/c --yes")]
    Replace {
        /// The drive to be replaced: 'primary', 'mirror', 'offline', or the beginning of its id
        #[arg(value_name = "OLD")]
        old: String,
        /// Where the new drive is mounted
        #[arg(long, value_name = "PATH")]
        with: PathBuf,
        /// Although something may be missing on the copy that takes a dead main drive's place, or no drive has a good copy of
        /// something, which stays on OLD
        #[arg(long)]
        yes: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Drive {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let zone = TimeZone::system();
        match self {
            Self::List { json, plugged } => return list(cx, json, plugged, &zone),
            Self::Prepare(command) => return command.run(cx),
            Self::Format(command) => return command.run(cx),
            Self::Adopt { mount, role, json } => {
                let device = mount.to_str().and_then(|text| text.parse().ok());
                let request = match device.filter(|_| !mount.exists()) {
                    Some(device) => Request::Device { request: DeviceRequest::Adopt { device, role } },
                    // The daemon has its own working directory.
                    None => Request::DriveAdopt { mount: std::path::absolute(mount)?, role },
                };
                let drive: DriveView = cx.ask(&request)?;
                if json {
                    cx.json(&drive)?;
                } else {
                    writeln!(cx.out, "Adopted:")?;
                    write!(cx.out, "{}", table(&[drive], &zone))?;
                }
            }
            Self::Eject { drive, json } => return eject(cx, &drive, json),
            Self::Promote { drive, yes, json } => {
                let drive = choose(&cx.ask::<Vec<DriveView>>(&Request::DriveList {})?, &drive)?;
                let promotion: Promotion = cx.ask(&Request::DrivePromote { drive, agreed: yes })?;
                if json {
                    cx.json(&promotion)?;
                } else {
                    writeln!(cx.out, "This is the main drive now:")?;
                    write!(cx.out, "{}", table(std::slice::from_ref(&promotion.drive), &zone))?;
                    if let Some(losses) = &promotion.losses {
                        writeln!(cx.out, "What may be missing: {losses}.")?;
                    }
                }
            }
            Self::Replace { old, with, yes, json } => {
                let with = std::path::absolute(with)?;
                let request = Request::DriveReplace { old, with, agreed: yes };
                let replacement: Replacement = cx.ask_and_watch(&request, "filling the new drive")?;
                if json {
                    cx.json(&replacement)?;
                } else {
                    write!(cx.out, "{}", replaced(&replacement, &zone))?;
                }
            }
        }
        Ok(Exit::Fine)
    }
}

fn list(cx: &mut Cx<'_>, json: bool, plugged: bool, zone: &TimeZone) -> anyhow::Result<Exit> {
    let devices = |cx: &Cx<'_>| cx.ask::<Vec<Plugged>>(&Request::Device { request: DeviceRequest::List {} });
    if plugged {
        let devices = devices(cx)?;
        if json {
            cx.json(&devices)?;
        } else {
            let at = |one: &Plugged| {
                one.at().map_or_else(String::new, |at| screen::plain(&at.display().to_string()))
            };
            let rows: Vec<Vec<String>> =
                devices.iter().map(|one| vec![disk::in_words(one), at(one)]).collect();
            write!(cx.out, "{}", screen::table(&rows))?;
        }
        return Ok(Exit::Fine);
    }
    let drives: Vec<DriveView> = cx.ask(&Request::DriveList {})?;
    if json {
        cx.json(&drives)?;
    } else {
        write!(cx.out, "{}{}", table(&drives, zone), disk::besides(&devices(cx)?))?;
    }
    Ok(Exit::Fine)
}

fn eject(cx: &mut Cx<'_>, word: &str, json: bool) -> anyhow::Result<Exit> {
    let drives = cx.ask::<Vec<DriveView>>(&Request::DriveList {})?;
    let drive = match (choose(&drives, word), word.parse::<DeviceName>()) {
        (Ok(drive), _) => drive,
        // One that was prepared, and is none of the box's.
        (Err(_), Ok(device)) if word.parse::<DriveRole>().is_err() && !is_hex(word) => {
            let released: Released = cx.ask(&Request::Device { request: DeviceRequest::Eject { device } })?;
            if json {
                cx.json(&released)?;
            } else {
                write!(cx.out, "{}", unplug(&released))?;
            }
            return Ok(Exit::Fine);
        }
        (Err(why), _) => return Err(why),
    };
    let ejection: Ejection = cx.ask(&Request::DriveEject { drive })?;
    if json {
        cx.json(&ejection)?;
    } else {
        write!(cx.out, "{}", ejected(&ejection))?;
    }
    let failed = matches!(ejection.released, Some(Released::Failed { .. }));
    Ok(if failed { Exit::Unavailable } else { Exit::Fine })
}

/// The beginning of an id, as `ff`, is no device.
fn is_hex(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn unplug(released: &Released) -> String {
    match released {
        Released::Off { power: Power::Port | Power::Disk } => {
            "It was unmounted and switched off: it may be unplugged.\n".to_owned()
        }
        Released::Off { power: Power::Nothing } => "It was unmounted: it may be unplugged.\n".to_owned(),
        Released::Failed { why } => {
            format!(
                "It could not be unmounted: {}. Repeat the command before you unplug it.\n",
                screen::plain(why)
            )
        }
    }
}

fn replaced(replacement: &Replacement, zone: &TimeZone) -> String {
    let mut text = String::new();
    if let Some(promotion) = &replacement.promotion {
        text.push_str("This is the main drive now:\n");
        text.push_str(&table(std::slice::from_ref(&promotion.drive), zone));
        if let Some(losses) = &promotion.losses {
            text.push_str(&format!("What may be missing: {losses}.\n"));
        }
    }
    text.push_str("This is the new drive:\n");
    text.push_str(&table(std::slice::from_ref(&replacement.drive), zone));
    text
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
    // A place where nothing is, and nothing was, says nothing.
    let is_empty = |drive: &&DriveView| drive.id.is_none() && drive.standing == Standing::Absent;
    let all_empty = drives.iter().all(|drive| is_empty(&drive));
    let shown = drives.iter().filter(|drive| all_empty || !is_empty(drive));
    let rows = shown.map(|drive| {
        let name = drive.role.map_or("no drive of ours", role_name);
        let space = drive.space.map_or_else(String::new, |space| {
            let soon = drive.full_in_days.map_or_else(String::new, |days| {
                format!(", full in about {}", screen::many(days, "day", "days"))
            });
            format!("{} % of {} used{soon}", space.percent_used(), screen::size(space.total))
        });
        vec![
            name.to_owned(),
            screen::plain(&drive.mount.display().to_string()),
            drive.id.map_or_else(|| "-".to_owned(), |id| id.short()),
            format!("{} since {}", standing(&drive.standing), screen::moment(drive.since, zone)),
            space,
            what_lacks(drive, zone),
            drive.disk.as_ref().map(disk::in_words).unwrap_or_default(),
        ]
    });
    screen::table(&rows.collect::<Vec<_>>())
}

/// Whether a drive may be unplugged, what it has not got yet, and how far the re-reading of what it has is.
fn what_lacks(drive: &DriveView, zone: &TimeZone) -> String {
    let tally = &drive.tally;
    let mut words: Vec<String> = drive.unplugging.iter().map(|answer| answer.sentence.clone()).collect();
    if tally.wanted > 0 {
        let files = screen::many(tally.wanted, "file", "files");
        let left = match drive.seconds_left {
            Some(seconds) => format!(", about {}", screen::span(seconds)),
            None => String::new(),
        };
        words.push(format!("{files} ({}) still to copy{left}", screen::size(tally.wanted_bytes)));
    }
    if tally.settled > 0 {
        words.push(format!("{} not read back yet", screen::many(tally.settled, "file", "files")));
    }
    match tally.read_back_since {
        _ if tally.overdue > 0 => {
            let files = screen::many(tally.overdue, "file", "files");
            words.push(format!("{files} not read back for over a month"));
        }
        Some(since) if tally.settled == 0 => {
            words.push(format!("all read back since {}", screen::day(since, zone)));
        }
        Some(_) | None => {}
    }
    words.extend(drive.reread.as_ref().and_then(|reread| how_far(reread, zone)));
    words.join(", ")
}

/// How far the re-reading of a drive is.
fn how_far(reread: &Forecast, zone: &TimeZone) -> Option<String> {
    let day = |at| screen::day(at, zone);
    if reread.due == 0 {
        return reread.next.map(|next| format!("due again from {}", day(next)));
    }
    let done = (reread.copies - reread.due.min(reread.copies)) * 100 / reread.copies.max(1);
    let files = screen::many(reread.due, "file", "files");
    let late = if reread.late { ", TOO LATE: not all of them within 30 days" } else { "" };
    let (size, through) = (screen::size(reread.due_bytes), day(reread.through));
    Some(format!("{done} % re-read, {files} ({size}) due, through by {through}{late}"))
}

fn ejected(ejection: &Ejection) -> String {
    let drive = &ejection.drive;
    let name = drive.role.map_or("the drive", role_name);
    let mut text = format!("The box has let go of {name}: none of its files is open.\n");
    if drive.tally.wanted > 0 {
        let files = screen::many(drive.tally.wanted, "file", "files");
        let size = screen::size(drive.tally.wanted_bytes);
        text.push_str(&format!("{files} ({size}) are not on it yet; they are copied when it is back.\n"));
    }
    if drive.role == Some(DriveRole::Primary) {
        text.push_str("New photos are refused until it is back; the apps send them again by themselves.\n");
    }
    if let Some(released) = &ejection.released {
        text.push_str(&unplug(released));
    } else if ejection.mounted {
        let mount = screen::plain(&drive.mount.display().to_string());
        text.push_str(&format!("It is still mounted: unplug it after `umount {mount}`.\n"));
    }
    text
}

fn standing(standing: &Standing) -> String {
    match standing {
        Standing::Foreign { why } | Standing::Suspect { why } => {
            format!("{} ({})", standing.word(), screen::plain(why))
        }
        Standing::Failing { incidents, .. } => {
            format!("{} ({})", standing.word(), screen::many(*incidents, "error lately", "errors lately"))
        }
        Standing::Absent
        | Standing::Ejected
        | Standing::Former
        | Standing::Retired
        | Standing::InUse
        | Standing::Blank
        | Standing::Ready
        | Standing::ReadOnly
        | Standing::Clone { .. }
        | Standing::Stuck => standing.word().to_owned(),
    }
}

/// The one drive that `word` means.
pub(super) fn choose(drives: &[DriveView], word: &str) -> anyhow::Result<DriveId> {
    let role = word.parse::<DriveRole>().ok();
    let fits = |drive: &&DriveView| match role {
        Some(role) => drive.role == Some(role),
        None => drive.id.is_some_and(|id| {
            let device = drive.disk.as_ref().map(|disk| disk.device.name.as_str());
            let fits =
                id.to_string().starts_with(word) || drive.mount == Path::new(word) || device == Some(word);
            !word.is_empty() && fits
        }),
    };
    let found: Vec<&DriveView> = drives.iter().filter(fits).collect();
    let fault = |kind, what: String| Fault::new(kind, what, "`shoebox drive list` shows them");
    match found.as_slice() {
        [one] => one.id.context("a drive with a role has an id"),
        [] => Err(fault(FaultKind::NotFound, format!("there is no drive {word:?}")).into()),
        [_, _, ..] => {
            let names: Vec<String> = found
                .iter()
                .map(|d| format!("{} {}", d.role.map_or("", role_name), d.mount.display()))
                .collect();
            let what = format!("{word:?} fits several drives: {}", names.join(", "));
            Err(fault(FaultKind::BadRequest, what).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drive::Id;
    use crate::work::views::Tally;

    fn drive(role: DriveRole, wanted: u64) -> DriveView {
        DriveView {
            mount: "/srv/shoebox/x".into(),
            id: Some(Id::from_random([1; 16])),
            role: Some(role),
            standing: Standing::Ejected,
            space: None,
            since: jiff::Timestamp::UNIX_EPOCH,
            tally: Tally { wanted, wanted_bytes: wanted * 3_000_000, ..Tally::default() },
            probe_ms: None,
            device: None,
            snapshot: None,
            seconds_left: None,
            full_in_days: None,
            reread: None,
            unplugging: None,
            disk: None,
        }
    }

    #[test]
    fn what_an_ejected_drive_lacks_and_what_is_to_be_done_is_said() {
        let mirror =
            ejected(&Ejection { drive: drive(DriveRole::Mirror, 17), mounted: true, released: None });
        let primary =
            ejected(&Ejection { drive: drive(DriveRole::Primary, 0), mounted: false, released: None });
        expect_test::expect![[r#"
            The box has let go of drive B: none of its files is open.
            17 files (51.0 MB) are not on it yet; they are copied when it is back.
            It is still mounted: unplug it after `umount /srv/shoebox/x`.
            The box has let go of drive A: none of its files is open.
            New photos are refused until it is back; the apps send them again by themselves.
        "#]]
        .assert_eq(&(mirror + &primary));
        let after = |released| {
            let ejection =
                Ejection { drive: drive(DriveRole::Offline, 0), mounted: true, released: Some(released) };
            ejected(&ejection).lines().last().unwrap_or_default().to_owned() + "\n"
        };
        expect_test::expect![[r#"
            It was unmounted and switched off: it may be unplugged.
            It was unmounted: it may be unplugged.
            It could not be unmounted: it is busy. Repeat the command before you unplug it.
        "#]]
        .assert_eq(
            &[
                after(Released::Off { power: Power::Port }),
                after(Released::Off { power: Power::Nothing }),
                after(Released::Failed { why: "it is busy".to_owned() }),
            ]
            .concat(),
        );
    }

    #[test]
    fn how_far_the_re_reading_is_and_whether_it_is_in_time_is_said() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let forecast = |due, late| Forecast {
            due,
            due_bytes: due * 4_000_000,
            copies: 2000,
            through: at("2026-11-25T06:01:00Z"),
            next: (due == 0).then(|| at("2026-12-15T18:00:00Z")),
            late,
        };
        let told = |tally: Tally, reread| {
            let drive = DriveView { tally, reread: Some(reread), ..drive(DriveRole::Mirror, 0) };
            what_lacks(&drive, &TimeZone::UTC) + "\n"
        };
        let read =
            Tally { read_back_since: Some(at("2026-11-20T18:00:00Z")), verified: 2000, ..Tally::default() };
        let overdue = Tally { overdue: 7, ..read };
        expect_test::expect![[r#"
            all read back since 20 Nov 2026, due again from 15 Dec 2026
            all read back since 20 Nov 2026, 97 % re-read, 41 files (164.0 MB) due, through by 25 Nov 2026
            7 files not read back for over a month, 25 % re-read, 1500 files (6.0 GB) due, through by 25 Nov 2026, TOO LATE: not all of them within 30 days
        "#]]
        .assert_eq(&[
            told(read, forecast(0, false)),
            told(read, forecast(41, false)),
            told(overdue, forecast(1500, true)),
        ].concat());
    }

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
            snapshot: None,
            seconds_left: None,
            full_in_days: None,
            reread: None,
            unplugging: None,
            disk: None,
        };
        let drives =
            [drive(1, DriveRole::Primary), drive(2, DriveRole::Offline), drive(0x23, DriveRole::Offline)];
        let code = |word| Exit::of(&choose(&drives, word).unwrap_err()).code();
        assert_eq!(choose(&drives, "primary").unwrap(), Id::from_random([1; 16]));
        assert_eq!(choose(&drives, "0202").unwrap(), Id::from_random([2; 16]));
        assert_eq!(choose(&drives, "/35").unwrap(), Id::from_random([0x23; 16]));
        assert_eq!((code("offline"), code("mirror"), code(""), code("ff")), (2, 4, 4, 4));
    }
}
