//! `shoebox device`: what may sign in.
use clap::Subcommand;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::address::Address;
use super::card::Card;
use super::{Cx, Exit, screen};
use crate::face::control::{Added, Request};
use crate::model::account::{DeviceKind, Slug};
use crate::work::views::DeviceView;

/// Add, list and revoke phones and computers
#[derive(Debug, Subcommand)]
pub(super) enum Device {
    /// Add a device and print its password, once
    ///
    /// Every device gets a password of its own, which is shown now and never again: only a keyed hash of it is
    /// kept. A phone only adds photos, in its own folder. A computer sees all of the person's photos and may
    /// rename and delete; deleting means the trash.
    #[command(after_long_help = "\
Examples:
  shoebox device add anna iphone --kind phone
  shoebox device add anna laptop --kind computer --json | jq -r .password")]
    Add {
        /// Whose device it is
        person: Slug,
        /// Its name, a folder on the drives
        name: Slug,
        /// What it may do: 'phone' or 'computer'
        #[arg(long)]
        kind: DeviceKind,
        /// Print one JSON object: dav_url, user, password, person, device, kind
        #[arg(long)]
        json: bool,
    },
    /// List devices, and when each was last seen
    #[command(after_long_help = "\
Examples:
  shoebox device list
  shoebox device list --person anna --json")]
    List {
        /// Only this person's
        #[arg(long, value_name = "PERSON")]
        person: Option<Slug>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Take a lost device's right to sign in; its photos stay
    #[command(after_long_help = "\
Examples:
  shoebox device revoke anna iphone")]
    Revoke {
        /// Whose device it is
        person: Slug,
        /// Its name
        name: Slug,
    },
}

#[derive(Serialize)]
struct AddedJson<'a> {
    dav_url: String,
    user: &'a Slug,
    password: &'a str,
    person: &'a Slug,
    device: &'a Slug,
    kind: DeviceKind,
}

impl Device {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        match self {
            Self::Add { person, name, kind, json } => add(cx, &person, &name, kind, json)?,
            Self::List { person, json } => list(cx, person.as_ref(), json)?,
            Self::Revoke { person, name } => {
                cx.ask::<()>(&Request::DeviceRevoke { person: person.clone(), name: name.clone() })?;
                writeln!(cx.out, "{person}/{name} can no longer sign in. Its photos stay where they are.")?;
            }
        }
        Ok(Exit::Fine)
    }
}

fn add(cx: &mut Cx<'_>, person: &Slug, name: &Slug, kind: DeviceKind, json: bool) -> anyhow::Result<()> {
    let settings = cx.settings()?;
    let address = Address::for_phones(&settings.http);
    let request = Request::DeviceAdd { person: person.clone(), name: name.clone(), kind };
    let added: Added = cx.ask(&request)?;
    if json {
        return cx.json(&AddedJson {
            dav_url: address.dav(),
            user: person,
            password: &added.password,
            person,
            device: name,
            kind,
        });
    }
    writeln!(cx.out, "Added {person}/{name}. This password is shown only now:\n")?;
    let card = Card { address: &address, person, device: name, kind, password: &added.password };
    card.facts(cx.out)?;
    card.settings(cx.out)?;
    Ok(())
}

fn list(cx: &mut Cx<'_>, person: Option<&Slug>, json: bool) -> anyhow::Result<()> {
    let mut devices: Vec<DeviceView> = cx.ask(&Request::DeviceList {})?;
    devices.retain(|device| person.is_none_or(|person| device.person == *person));
    if json {
        return cx.json(&devices);
    }
    if devices.is_empty() {
        writeln!(cx.out, "No devices. Next: shoebox device add PERSON NAME --kind phone")?;
    }
    write!(cx.out, "{}", table(&devices, &TimeZone::system()))?;
    Ok(())
}

/// The program it came with; what it says of itself is shown without what a terminal would obey.
fn app(device: &DeviceView) -> String {
    let version = device.app_version.as_deref().unwrap_or_default();
    screen::plain(format!("{} {version}", device.app.as_deref().unwrap_or_default()).trim())
}

fn table(devices: &[DeviceView], zone: &TimeZone) -> String {
    let rows = devices.iter().map(|device| {
        let seen = match device.last_seen {
            _ if device.revoked => "revoked".to_owned(),
            Some(at) => format!("last seen {}", screen::moment(at, zone)),
            None => "never seen".to_owned(),
        };
        vec![
            format!("{}/{}", device.person, device.name),
            device.kind.as_str().to_owned(),
            screen::many(device.files, "file", "files"),
            screen::size(device.bytes),
            seen,
            app(device),
        ]
    });
    screen::table(&rows.collect::<Vec<_>>())
}
