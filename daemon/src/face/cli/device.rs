//! `shoebox device`: what may sign in.
use clap::Subcommand;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::card::{self, Card};
use super::{Cx, Exit, screen};
use crate::face::address::Address;
use crate::face::apps::{App, Choice, NewDevice, Setup};
use crate::face::control::{Added, Fault, FaultKind, Request};
use crate::model::account::{self, DeviceKind, Slug};
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
  shoebox device add --app list
  shoebox device add anna iphone --app nextcloud
  shoebox device add anna pixel --app nextcloud --one-time
  shoebox device add anna tablet --kind phone
  shoebox device add anna laptop --kind computer --json | jq -r .password")]
    Add {
        /// Whose device it is
        person: Option<Slug>,
        /// Its name, a folder on the drives
        name: Option<Slug>,
        /// What it may do: 'phone' or 'computer' [default: what the app is for]
        #[arg(long, required_unless_present = "app")]
        kind: Option<DeviceKind>,
        /// For which app to print the settings and the code to scan; 'list' prints them all
        #[arg(long, value_name = "APP")]
        app: Option<Choice>,
        /// Put a password into the code that works once, within 15 minutes, and with which the app fetches its own: whoever
        /// sees the code later has nothing. The device is added when it does
        #[arg(long, requires = "app")]
        one_time: bool,
        /// Print one JSON object: dav_url, user, password, person, device, kind; with HTTPS ca_url; with --app setup
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
    /// Where the certificate is that the device has to know first.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup: Option<Setup>,
}

impl Device {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        match self {
            Self::Add { app: Some(Choice::List), json, .. } => list_apps(cx, json)?,
            Self::Add { person, name, kind, app, one_time, json } => {
                let app = app.and_then(Choice::one);
                let wish = Wish::read(person, name, kind, app, one_time)?;
                add(cx, &wish, json)?;
            }
            Self::List { person, json } => list(cx, person.as_ref(), json)?,
            Self::Revoke { person, name } => {
                cx.ask::<()>(&Request::DeviceRevoke { person: person.clone(), name: name.clone() })?;
                writeln!(cx.out, "{person}/{name} can no longer sign in. Its photos stay where they are.")?;
            }
        }
        Ok(Exit::Fine)
    }
}

/// What is to be added.
struct Wish {
    person: Slug,
    name: Slug,
    kind: DeviceKind,
    app: Option<App>,
    one_time: bool,
}

impl Wish {
    fn read(
        person: Option<Slug>,
        name: Option<Slug>,
        kind: Option<DeviceKind>,
        app: Option<App>,
        one_time: bool,
    ) -> anyhow::Result<Self> {
        let refused = |why: &str, remedy: &str| Fault::new(FaultKind::BadRequest, why.to_owned(), remedy);
        let (Some(person), Some(name)) = (person, name) else {
            return Err(
                refused("whose device, and what is it called?", "shoebox device add PERSON NAME").into()
            );
        };
        if let Some(app) = app.filter(|app| one_time && !app.takes_one_time()) {
            let why = format!("{} cannot fetch a password of its own", app.word());
            return Err(refused(&why, "leave --one-time out; `--app nextcloud` can").into());
        }
        let kind = kind.or(app.map(App::kind)).unwrap_or(DeviceKind::Phone);
        Ok(Self { person, name, kind, app, one_time })
    }
}

fn add(cx: &mut Cx<'_>, wish: &Wish, json: bool) -> anyhow::Result<()> {
    let settings = cx.settings()?;
    let address = Address::for_phones(&settings);
    let (person, name, kind) = (wish.person.clone(), wish.name.clone(), wish.kind);
    let request = if wish.one_time {
        Request::DeviceOneTime { person, name, kind }
    } else {
        let app = match wish.app {
            Some(App::Lomorage) => account::App::Lomorage,
            Some(_) | None => account::App::Any,
        };
        Request::DeviceAdd { person, name, kind, app }
    };
    let added: Added = cx.ask(&request)?;
    let (person, device, password) = (&wish.person, &wish.name, added.password.as_str());
    let new = NewDevice { address: &address, person, device, kind, password, one_time: wish.one_time };
    let setup = wish.app.map(|app| app.setup(&new));
    if json {
        let dav_url = address.dav();
        let ca_url = Address::for_trust(&settings);
        return cx.json(&AddedJson { dav_url, user: person, password, person, device, kind, ca_url, setup });
    }
    if let Some(page) = Address::for_trust(&settings) {
        card::trust(cx.out, &page)?;
    }
    if wish.one_time {
        writeln!(cx.out, "{person}/{device} is added when it comes with this code, shown only now:\n")?;
    } else {
        writeln!(cx.out, "Added {person}/{device}. This password is shown only now:\n")?;
    }
    if let Some(setup) = &setup {
        return Ok(card::setup(cx.out, setup)?);
    }
    let card = Card { address: &address, person, device, kind, password };
    card.facts(cx.out)?;
    card.settings(cx.out)?;
    Ok(())
}

fn list_apps(cx: &mut Cx<'_>, json: bool) -> anyhow::Result<()> {
    if json {
        let all: Vec<_> = App::ALL
            .iter()
            .map(|app| serde_json::json!({ "app": app.word(), "about": app.about(), "kind": app.kind() }))
            .collect();
        return cx.json(&all);
    }
    let rows: Vec<_> =
        App::ALL.iter().map(|app| vec![app.word().to_owned(), app.about().to_owned()]).collect();
    write!(cx.out, "{}", screen::table(&rows))?;
    writeln!(cx.out, "\nNext: shoebox device add PERSON NAME --app {}", App::ALL[0].word())?;
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
            match device.already {
                0 => String::new(),
                already => format!("already had {already}"),
            },
            seen,
            app(device),
        ]
    });
    screen::table(&rows.collect::<Vec<_>>())
}
