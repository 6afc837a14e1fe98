//! Disks before they are drives of the box: `shoebox drive prepare` and `shoebox drive format`, and what is plugged in besides.
use std::io::{self, BufRead as _, Read as _, Write as _};

use anyhow::Context as _;
use clap::Args;

use super::{Cx, Exit, screen};
use crate::face::control::{DeviceRequest, Fault, FaultKind, Request};
use crate::model::plugged::{Decision, DeviceName, Named, NewFilesystem, Offer, Plugged};

/// A longer line confirms nothing.
const LONGEST: u64 = 4096;

/// Mount a drive that is to become one of the box's, without adopting it yet
///
/// Everything on it stays; two folders are made there, `.shoebox` and `photos`. `shoebox drive list` shows what is plugged in, and under
/// which name. `shoebox drive adopt DEVICE` does the same and adopts it at once; `shoebox drive eject DEVICE` takes it back.
///
/// Where no service of this machine mounts drives for the box, mount it by hand, and adopt it by its mount point.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox drive prepare sdb1 && shoebox drive adopt /srv/shoebox/b --role mirror")]
pub(super) struct Prepare {
    /// The device, as `shoebox drive list` names it
    #[arg(value_name = "DEVICE")]
    device: DeviceName,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Make a new filesystem on a whole disk: everything on it is lost
///
/// Shows what the disk is and everything that is found on it, and asks for that to be typed. Then the disk gets one partition with one
/// filesystem, which can be adopted. Declined for a disk of which anything is in use, and for every drive of a Shoebox, whoever asks.
///
/// The daemon does not do this. It passes on what was shown and typed, and the command that root runs compares it once more with the disk
/// that is plugged in at that moment.
///
/// What is to be typed may come on standard input, as one line.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox drive format sdb
  shoebox drive format sdb --filesystem exfat    # for an offline drive that other computers should read")]
pub(super) struct Format {
    /// The whole disk, as `shoebox drive list` names it: sdb, not sdb1
    #[arg(value_name = "DISK")]
    disk: DeviceName,
    /// 'ext4', for drives that stay, or 'exfat', for one that other computers should read
    #[arg(long, default_value = "ext4")]
    filesystem: NewFilesystem,
    /// Print one JSON object; the disk is shown on standard error
    #[arg(long)]
    json: bool,
}

impl Prepare {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let at: std::path::PathBuf =
            cx.ask(&Request::Device { request: DeviceRequest::Prepare { device: self.device } })?;
        let at = screen::plain(&at.display().to_string());
        if self.json {
            cx.json(&serde_json::json!({ "at": at }))?;
        } else {
            writeln!(
                cx.out,
                "It is at {at} now. To make it one of the box's: shoebox drive adopt {at} --role …"
            )?;
        }
        Ok(Exit::Fine)
    }
}

impl Format {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let named: Named =
            cx.ask(&Request::Device { request: DeviceRequest::Name { device: self.disk.clone() } })?;
        // There, in both cases, somebody may be reading.
        write!(io::stderr(), "{}", question(&self.disk, &named))?;
        let mut line = String::new();
        io::stdin().lock().take(LONGEST).read_line(&mut line).context("could not read what was typed")?;
        if !is_confirmed(&named, &line) {
            return Err(Fault::new(
                FaultKind::Declined,
                "that is not what was to be typed; nothing was done",
                "look whether it is the right disk, and run the command again",
            )
            .into());
        }
        let request =
            DeviceRequest::Format { device: self.disk, filesystem: self.filesystem, confirmed: named };
        let made: DeviceName = cx.ask(&Request::Device { request })?;
        if self.json {
            cx.json(&serde_json::json!({ "device": made }))?;
        } else {
            writeln!(cx.out, "Its new filesystem is on {made}: shoebox drive adopt {made} --role …")?;
        }
        Ok(Exit::Fine)
    }
}

/// What has to be typed: what the disk is called, its number and its size.
fn sentence(named: &Named) -> String {
    let words = [screen::plain(&named.model), screen::plain(&named.serial), screen::size(named.size)];
    let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
    words.join(" ")
}

fn is_confirmed(named: &Named, line: &str) -> bool {
    let typed: Vec<&str> = line.split_whitespace().collect();
    !typed.is_empty() && typed.join(" ") == sentence(named)
}

fn question(disk: &DeviceName, named: &Named) -> String {
    let or_none = |text: &str| if text.is_empty() { "not known".to_owned() } else { screen::plain(text) };
    let mut text = format!(
        "Disk {disk}\n  model          {}\n  serial number  {}\n  size           {} ({} bytes)\n",
        or_none(&named.model),
        or_none(&named.serial),
        screen::size(named.size),
        named.size
    );
    if named.lost.is_empty() {
        text.push_str("Nothing is known to be on it. If there is something all the same, it will be lost.\n");
    } else {
        text.push_str("All of this will be lost:\n");
        for one in &named.lost {
            text.push_str(&format!("  {}\n", screen::plain(one)));
        }
    }
    text.push_str(&format!("To go on, type: {}\n> ", sentence(named)));
    text
}

/// A disk in a few words: `Samsung T7, 1.0 TB, ext4, sda1`.
pub(super) fn in_words(plugged: &Plugged) -> String {
    let device = &plugged.device;
    let model =
        if device.model.is_empty() { "of unknown make".to_owned() } else { screen::plain(&device.model) };
    let filesystem = plugged.filesystem.as_ref().map_or("no filesystem".to_owned(), |filesystem| {
        let label = screen::plain(&filesystem.label);
        let label = if label.is_empty() { label } else { format!(" {label:?}") };
        format!("{}{label}", screen::plain(&filesystem.kind))
    });
    format!("{model}, {}, {filesystem}, {}", screen::size(device.size), device.name)
}

/// What is plugged in and none of the places shows: strange drives, and those that could not be taken into use. Of a disk that has
/// parts, its parts.
pub(super) fn besides(plugged: &[Plugged]) -> String {
    let is_shown = |one: &&Plugged| {
        let whole = one.device.name == one.device.disk;
        let has_parts = || plugged.iter().any(|other| other.device.disk == one.device.disk && other != *one);
        let is_used = matches!(
            one.decision,
            Some(Decision::Mount { .. } | Decision::AsFstabSays { .. } | Decision::Mounted { .. })
        );
        one.failed.is_some() || !(is_used || whole && has_parts())
    };
    let mut text = String::new();
    for one in plugged.iter().filter(is_shown) {
        let (why, offer) = match (&one.failed, &one.decision) {
            (Some(why), _) => (why.as_str(), Offer::No),
            (None, Some(Decision::Leave { why, offer, .. })) => (why.as_str(), *offer),
            (None, _) => ("nobody looked at it yet", Offer::No),
        };
        text.push_str(&format!("plugged in besides: {}: {}\n", in_words(one), screen::plain(why)));
        let name = &one.device.name;
        match offer {
            Offer::Adopt => text.push_str(&format!("  → shoebox drive adopt {name} --role …\n")),
            Offer::Format => text.push_str(&format!("  → shoebox drive format {}\n", one.device.disk)),
            Offer::No => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> Named {
        Named {
            model: "Samsung  T7\n".into(),
            serial: "S5".into(),
            size: 1_000_204_886_016,
            lost: vec!["sdb gpt".into(), "sdb1 exfat 1A2B-3C4D \"T7\"".into()],
        }
    }

    #[test]
    fn what_is_lost_is_shown_and_what_the_disk_is_has_to_be_typed() {
        let disk = "sdb".parse().unwrap();
        expect_test::expect![[r#"
            Disk sdb
              model          Samsung  T7�
              serial number  S5
              size           1.0 TB (1000204886016 bytes)
            All of this will be lost:
              sdb gpt
              sdb1 exfat 1A2B-3C4D "T7"
            To go on, type: Samsung T7� S5 1.0 TB
            > "#]]
        .assert_eq(&question(&disk, &named()));
        let plain = Named { model: "Samsung T7".into(), ..named() };
        for (line, fits) in [
            ("Samsung T7 S5 1.0 TB\n", true),
            ("  Samsung T7  S5 1.0  TB", true),
            ("Samsung T7 S5", false),
            ("Samsung T7 S6 1.0 TB", false),
            ("yes\n", false),
            ("", false),
        ] {
            assert_eq!(is_confirmed(&plain, line), fits, "{line:?}");
        }
        // A disk that says nothing of itself is named by its size, and never by nothing at all.
        let nameless = Named { model: String::new(), serial: String::new(), size: 64, lost: Vec::new() };
        assert!(is_confirmed(&nameless, "64 B") && !is_confirmed(&nameless, "\n"));
        assert!(question(&disk, &nameless).contains("Nothing is known to be on it"));
    }

    #[test]
    fn strange_disks_are_told_of_by_their_parts() {
        let plugged = |text: &str| serde_json::from_str::<Plugged>(text).unwrap();
        let all = [
            plugged(
                r#"{"device":{"name":"sda","disk":"sda","size":2000000000},"decision":"leave","why":"no filesystem","offer":"format"}"#,
            ),
            plugged(
                r#"{"device":{"name":"sda1","disk":"sda","size":1000000000,"model":"T7"},"filesystem":{"kind":"ext4","label":"Old"},"decision":"leave","why":"it is no drive of a Shoebox","offer":"adopt"}"#,
            ),
            plugged(r#"{"device":{"name":"sdb1","disk":"sdb"},"decision":"mount","at":"/srv/shoebox/a"}"#),
            plugged(
                r#"{"device":{"name":"sdc","disk":"sdc","size":64},"decision":"leave","why":"no filesystem","offer":"format"}"#,
            ),
            plugged(r#"{"device":{"name":"sdd1","disk":"sdd","size":64},"failed":"could not mount"}"#),
        ];
        expect_test::expect![[r#"
            plugged in besides: T7, 1.0 GB, ext4 "Old", sda1: it is no drive of a Shoebox
              → shoebox drive adopt sda1 --role …
            plugged in besides: of unknown make, 64 B, no filesystem, sdc: no filesystem
              → shoebox drive format sdc
            plugged in besides: of unknown make, 64 B, no filesystem, sdd1: could not mount
        "#]]
        .assert_eq(&besides(&all));
    }
}
