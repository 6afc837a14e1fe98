//! The card for a new device: address, user, password, a code to scan, and what to type into an app.
use std::io::{self, IsTerminal as _, Write};

use super::address::Address;
use super::screen;
use crate::model::account::{DeviceKind, Slug};

/// What a device needs to sign in.
pub(super) struct Card<'a> {
    pub(super) address: &'a Address,
    pub(super) person: &'a Slug,
    pub(super) device: &'a Slug,
    pub(super) kind: DeviceKind,
    pub(super) password: &'a str,
}

impl Card<'_> {
    /// Address, user, password and code.
    pub(super) fn facts(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "  address   {}", self.address.dav())?;
        writeln!(out, "  user      {}", self.person)?;
        writeln!(out, "  password  {}", self.password)?;
        writeln!(out)?;
        let content = self.address.dav_signed_in(self.person.as_str(), self.password);
        if let Some(code) = screen::qr(&content, io::stdout().is_terminal()) {
            write!(out, "{code}")?;
            writeln!(out, "  (address, user and password in one: keep it to yourself)\n")?;
        }
        Ok(())
    }

    /// For the Lomorage app: what to type, and the code that it pairs by (lomo-mobile, `lomorage-pairing-v1`).
    pub(super) fn lomorage(&self, out: &mut dyn Write) -> io::Result<()> {
        let (protocol, server, port) = self.address.pieces();
        let server = format!("{protocol}://{server}:{port}");
        let pairing = serde_json::json!({
            "type": "lomorage-pairing-v1", "server": server, "username": self.person.as_str(), "password": self.password,
        });
        writeln!(out, "  server    {server}\n  user      {}\n  password  {}\n", self.person, self.password)?;
        if let Some(code) = screen::qr(&pairing.to_string(), io::stdout().is_terminal()) {
            write!(out, "{code}")?;
            writeln!(out, "  (server, user and password in one: keep it to yourself)\n")?;
        }
        writeln!(
            out,
            "Only the Lomorage app can sign in with this password. A phone only adds: its photos lie in\n\
             photos/{}/{}/ by year and month.",
            self.person, self.device
        )
    }

    /// What to type into an app.
    pub(super) fn settings(&self, out: &mut dyn Write) -> io::Result<()> {
        let (protocol, server, port) = self.address.pieces();
        writeln!(out, "In an app that uploads to WebDAV (PhotoSync, FolderSync, rclone and the like):")?;
        writeln!(out, "  address (URL)   {}", self.address.dav())?;
        writeln!(
            out,
            "  or, one by one  protocol {protocol}, server {server}, port {port}, path {}",
            Address::path()
        )?;
        writeln!(out, "  user, password  as above")?;
        match self.kind {
            DeviceKind::Phone => writeln!(
                out,
                "A phone only adds: it cannot delete or rename what is here, whatever is done to the phone.\n\
                 Its photos lie in photos/{}/{}/. Sign in only with this phone; every device gets its own password.",
                self.person, self.device
            ),
            DeviceKind::Computer => writeln!(
                out,
                "A computer sees all of photos/{}/ and may rename and delete; what it deletes goes to the trash.\n\
                 File managers open it too: {} in the place for a network address.",
                self.person,
                self.address.dav().replacen("http", "dav", 1)
            ),
        }
    }
}
