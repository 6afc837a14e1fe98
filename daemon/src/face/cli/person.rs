//! `shoebox person`: accounts.
use clap::Subcommand;
use serde::Serialize;

use super::{Cx, Exit, screen, typed};
use crate::face::control::Request;
use crate::model::account::Slug;
use crate::model::password::Password;
use crate::work::views::{PersonView, QuotaView};

/// Add and list the people whose photos are kept
#[derive(Debug, Subcommand)]
pub(super) enum Person {
    /// Add a person
    ///
    /// The name is the user name typed on phones and a folder on the drives: a-z, 0-9, '-' and '_'. It stays for
    /// good. A person signs in with a device: add one next.
    #[command(after_long_help = "\
Examples:
  shoebox person add anna
  shoebox person add bob --quota 200G --password
  shoebox device add anna iphone --kind phone")]
    Add {
        /// The person's short name
        name: Slug,
        /// What they may use at most: 200G, 1.5T or bytes, in powers of ten as on a drive's label
        #[arg(long, value_name = "SIZE", value_parser = screen::bytes)]
        quota: Option<u64>,
        /// Ask for a password for the login page, too: see `shoebox person password --help`
        #[arg(long, conflicts_with = "generate")]
        password: bool,
        /// Draw a password for the login page, and print it once
        #[arg(long)]
        generate: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Set what a person may use at most, or lift it
    ///
    /// An upload that would exceed it is refused before its first byte where the app tells its length; nothing that is there is
    /// touched. What is there twice counts once, and what lies in the trash does not count.
    #[command(after_long_help = "\
Examples:
  shoebox person quota anna 200G
  shoebox person quota anna none")]
    Quota {
        /// The person's short name
        name: Slug,
        /// 200G, 1.5T or bytes, in powers of ten as on a drive's label; or 'none'
        #[arg(value_name = "SIZE", value_parser = quota)]
        size: Quota,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Set the password a person signs in with on the login page
    ///
    /// Apps that know how (Nextcloud's) open a page of the box on which a person signs in with this password and adds the device
    /// they hold. Uploads never use it: every device has a password of its own. It is asked for twice, without showing it;
    /// where standard input is no terminal, it is the first line there. It has at least 8 characters. Devices that were
    /// added before keep working.
    #[command(after_long_help = "\
Examples:
  shoebox person password anna
  shoebox person password anna --generate
  shoebox person password anna < secret.txt
  shoebox person password anna --remove")]
    Password {
        /// The person's short name
        name: Slug,
        /// Draw one, and print it once
        #[arg(long, conflicts_with = "remove")]
        generate: bool,
        /// Take the password away: nobody signs in as this person on the login page any more
        #[arg(long)]
        remove: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List all people
    #[command(after_long_help = "\
Examples:
  shoebox person list
  shoebox person list --json | jq -r '.[].name'")]
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

impl Person {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        match self {
            Self::Add { name, quota, password, generate, json } => {
                let password = new_password(&name, password, generate)?;
                let request = Request::PersonAdd { name: name.clone(), quota, password: password.clone() };
                cx.ask::<()>(&request)?;
                let shown = password.filter(|_| generate);
                if json {
                    return cx.json(&Told::new(&name, shown.as_ref())).map(|()| Exit::Fine);
                }
                writeln!(cx.out, "Added {name}. Next: shoebox device add {name} phone --kind phone")?;
                drawn(cx, shown.as_ref())?;
            }
            Self::Password { name, generate, remove, json } => {
                let password = new_password(&name, !generate && !remove, generate)?;
                cx.ask::<()>(&Request::PersonPassword { name: name.clone(), password: password.clone() })?;
                let shown = password.filter(|_| generate);
                if json {
                    return cx.json(&Told::new(&name, shown.as_ref())).map(|()| Exit::Fine);
                }
                if remove {
                    writeln!(
                        cx.out,
                        "{name} can no longer sign in on the login page. Devices go on as before."
                    )?;
                } else {
                    writeln!(cx.out, "{name} signs in on the login page with the new password from now on.")?;
                    drawn(cx, shown.as_ref())?;
                }
            }
            Self::Quota { name, size: Quota(quota), json } => {
                cx.ask::<()>(&Request::PersonQuota { name: name.clone(), quota })?;
                if json {
                    return cx
                        .json(&serde_json::json!({ "person": name, "quota": quota }))
                        .map(|()| Exit::Fine);
                }
                match quota {
                    Some(bytes) => writeln!(cx.out, "{name} may use {}.", screen::size(bytes))?,
                    None => writeln!(cx.out, "{name} may use as much as there is.")?,
                }
            }
            Self::List { json } => {
                let people: Vec<PersonView> = cx.ask(&Request::PersonList {})?;
                if json {
                    cx.json(&people)?;
                } else if people.is_empty() {
                    writeln!(cx.out, "Nobody yet. Next: shoebox person add NAME")?;
                } else {
                    write!(cx.out, "{}", table(&people))?;
                }
            }
        }
        Ok(Exit::Fine)
    }
}

/// What is printed as JSON; the password only where it was drawn.
#[derive(Serialize)]
struct Told<'a> {
    person: &'a Slug,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn new(person: &'a Slug, password: Option<&'a Password>) -> Self {
        Self { person, password: password.map(Password::reveal) }
    }
}

fn drawn(cx: &mut Cx<'_>, password: Option<&Password>) -> std::io::Result<()> {
    password
        .map_or(Ok(()), |password| writeln!(cx.out, "The password, shown only now: {}", password.reveal()))
}

fn new_password(name: &Slug, ask: bool, generate: bool) -> anyhow::Result<Option<Password>> {
    if generate {
        return typed::drawn().map(Some);
    }
    if ask { typed::asked(name).map(Some) } else { Ok(None) }
}

/// A quota, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota(Option<u64>);

fn quota(text: &str) -> Result<Quota, String> {
    if text == "none" { Ok(Quota(None)) } else { screen::bytes(text).map(|bytes| Quota(Some(bytes))) }
}

fn used(quota: QuotaView) -> String {
    format!("{} of {} used", screen::size(quota.used), screen::size(quota.bytes))
}

fn table(people: &[PersonView]) -> String {
    let rows = people.iter().map(|person| {
        vec![
            person.name.to_string(),
            screen::many(person.devices, "device", "devices"),
            screen::many(person.files, "file", "files"),
            screen::size(person.bytes),
            if person.password { "password set" } else { "no password" }.to_owned(),
            person.quota.map_or_else(String::new, used),
        ]
    });
    screen::table(&rows.collect::<Vec<_>>())
}
