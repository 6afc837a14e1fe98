//! `shoebox person`: accounts.
use clap::Subcommand;

use super::{Cx, Exit, screen};
use crate::face::control::Request;
use crate::model::account::Slug;
use crate::work::views::PersonView;

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
  shoebox device add anna iphone --kind phone")]
    Add {
        /// The person's short name
        name: Slug,
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
            Self::Add { name, json } => {
                cx.ask::<()>(&Request::PersonAdd { name: name.clone() })?;
                if json {
                    return cx.json(&serde_json::json!({ "person": name })).map(|()| Exit::Fine);
                }
                writeln!(cx.out, "Added {name}. Next: shoebox device add {name} phone --kind phone")?;
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

fn table(people: &[PersonView]) -> String {
    let rows = people.iter().map(|person| {
        vec![
            person.name.to_string(),
            screen::many(person.devices, "device", "devices"),
            screen::many(person.files, "file", "files"),
            screen::size(person.bytes),
        ]
    });
    screen::table(&rows.collect::<Vec<_>>())
}
