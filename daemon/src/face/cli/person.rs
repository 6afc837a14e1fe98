//! `shoebox person`: accounts.
use clap::Subcommand;

use super::{Cx, Exit, screen};
use crate::face::control::Request;
use crate::model::account::Slug;
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
  shoebox person add bob --quota 200G
  shoebox device add anna iphone --kind phone")]
    Add {
        /// The person's short name
        name: Slug,
        /// What they may use at most: 200G, 1.5T or bytes, in powers of ten as on a drive's label
        #[arg(long, value_name = "SIZE", value_parser = screen::bytes)]
        quota: Option<u64>,
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
            Self::Add { name, quota, json } => {
                cx.ask::<()>(&Request::PersonAdd { name: name.clone(), quota })?;
                if json {
                    return cx.json(&serde_json::json!({ "person": name })).map(|()| Exit::Fine);
                }
                writeln!(cx.out, "Added {name}. Next: shoebox device add {name} phone --kind phone")?;
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
            person.quota.map_or_else(String::new, used),
        ]
    });
    screen::table(&rows.collect::<Vec<_>>())
}
