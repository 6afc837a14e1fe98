//! Passwords that people type: twice and unseen at a terminal, or the first line of standard input; or drawn for them.
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use anyhow::{Context as _, anyhow};

use crate::face::control::{Fault, FaultKind};
use crate::model::account::{Slug, Token};
use crate::model::password::Password;

/// A longer line is no password.
const LONGEST: u64 = 4096;

/// Asks for a person's new password.
pub(super) fn asked(person: &Slug) -> anyhow::Result<Password> {
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        io::stdin()
            .lock()
            .take(LONGEST)
            .read_line(&mut line)
            .context("could not read a password from standard input")?;
        if line.is_empty() {
            return Err(refused(
                "no password came on standard input",
                "give one line there, or use --generate",
            ));
        }
        return parse(&line);
    }
    let ask = |what: String| rpassword::prompt_password(what).context("could not ask for a password");
    let first = parse(&ask(format!("New password for {person}: "))?)?;
    if Password::parse(&ask("The same again: ".to_owned())?).ok().as_ref() != Some(&first) {
        return Err(refused(
            "these were two different passwords",
            "nothing was changed; run the command again",
        ));
    }
    Ok(first)
}

fn parse(text: &str) -> anyhow::Result<Password> {
    Password::parse(text).map_err(|bad| {
        refused(&bad.to_string(), "nothing was changed; choose another one, or use --generate")
    })
}

fn refused(why: &str, remedy: &str) -> anyhow::Error {
    Fault::new(FaultKind::BadRequest, why.to_owned(), remedy).into()
}

/// Draws a password: 80 random bits, in four groups of four letters.
pub(super) fn drawn() -> anyhow::Result<Password> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).map_err(|e| anyhow!("could not draw a password: {e}"))?;
    let all = Token::from_random(bytes);
    Ok(Password::parse(&all.reveal()[..19])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_ones_can_be_typed_and_differ() {
        let (one, two) = (drawn().unwrap(), drawn().unwrap());
        assert_eq!(one.reveal().split('-').map(str::len).collect::<Vec<_>>(), [4; 4]);
        assert_ne!(one, two);
    }
}
