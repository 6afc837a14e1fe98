//! `shoebox push --setup`: asks who we are, tries it, and keeps it.
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::address::Address;
use super::dialect::Remote;
use super::stored::{Stored, basic};
use super::trouble::Trouble;
use super::trust;
use super::wire::Wire;
use crate::face::control::{Fault, FaultKind};

/// A longer line is no name and no password.
const LONGEST: u64 = 4096;

/// Asks, tries, and writes the settings; who we are, as the box sees it.
pub(super) fn set_up(
    address: &Address,
    user: Option<&str>,
    mut stored: Stored,
    path: &Path,
) -> anyhow::Result<String> {
    stored.address = address.to_string();
    // Before anything is asked: what comes next is sent to nobody who cannot prove who it is.
    let trust = trust::of(address, &stored.authority)?;
    if let Some(user) = user {
        user.clone_into(&mut stored.user);
    } else {
        stored.user = asked("Your name on the box: ", false)?;
    }
    stored.user = stored.user.trim().to_lowercase();
    stored.password = asked("The device's password (`shoebox device add` prints it): ", true)?;
    let user = stored.user.clone();
    let plain =
        !user.is_empty() && user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !plain || stored.password.is_empty() {
        return Err(Fault::new(
            FaultKind::BadRequest,
            "a name and a password are needed",
            "nothing was kept",
        )
        .into());
    }
    let wire = Wire::new(address.clone(), basic(&user, &stored.password)?, trust)
        .context("could not begin to send")?;
    if let Err(trouble) = Remote::new(wire, &user).who() {
        let why = trouble.sentence();
        let (kind, remedy) = if matches!(trouble, Trouble::Impostor(_)) {
            (
                FaultKind::Declined,
                "save the box's certificate again (http://BOX:8080/ca.pem), and name it: --ca FILE; nothing was kept",
            )
        } else if matches!(trouble, Trouble::SignIn(_)) {
            let remedy = "make the device a password on the box, for example `shoebox device add anna laptop --kind computer`";
            (FaultKind::Declined, remedy)
        } else {
            (FaultKind::Unavailable, "check the address, and that the box is on; nothing was kept")
        };
        return Err(Fault::new(kind, why, remedy).into());
    }
    stored.save(path)?;
    Ok(user)
}

/// A line from a person, or from standard input.
fn asked(what: &str, secret: bool) -> anyhow::Result<String> {
    if secret && io::stdin().is_terminal() {
        return Ok(rpassword::prompt_password(what)
            .context("could not ask for a password")?
            .trim()
            .to_owned());
    }
    if io::stdin().is_terminal() {
        let mut out = io::stderr();
        write!(out, "{what}").and_then(|()| out.flush()).context("could not ask")?;
    }
    let mut line = String::new();
    io::stdin().lock().take(LONGEST).read_line(&mut line).context("could not read from standard input")?;
    Ok(line.trim().to_owned())
}
