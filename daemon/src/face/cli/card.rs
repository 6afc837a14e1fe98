//! The card for a new device: address, user, password, a code to scan, and what to type into an app.
use std::io::{self, IsTerminal as _, Write};

use super::screen;
use crate::face::address::Address;
use crate::face::apps::Setup;
use crate::model::account::{DeviceKind, Slug};

/// What comes before everything else where HTTPS is on.
pub(super) fn trust(out: &mut dyn Write, page: &str) -> io::Result<()> {
    writeln!(
        out,
        "First, once on this device: open {page}\nin its browser, and do what is said there, so that it trusts this box.\n"
    )
}

/// How one app is set up: its code, what to type, and the switches.
pub(super) fn setup(out: &mut dyn Write, setup: &Setup) -> io::Result<()> {
    if let Some(code) = &setup.code {
        if let Some(drawn) = screen::qr(&code.content, io::stdout().is_terminal()) {
            write!(out, "{drawn}")?;
        }
        writeln!(out, "  {}\n", code.how)?;
    }
    let width = setup.settings.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in &setup.settings {
        writeln!(out, "  {name:width$}  {value}")?;
    }
    writeln!(out)?;
    setup.switches.iter().try_for_each(|switch| writeln!(out, "- {switch}"))?;
    writeln!(out, "\nIts files lie in {} on the drives.", setup.folder)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::apps::{App, NewDevice};

    fn shown(app: App, one_time: bool) -> String {
        let (person, device) = ("anna".parse().unwrap(), "phone".parse().unwrap());
        let new = NewDevice {
            address: &Address::for_this_machine("192.168.1.5:8080".parse().unwrap()),
            person: &person,
            device: &device,
            kind: app.kind(),
            password: "abcd-efgh-jkmn-pqrs",
            one_time,
        };
        let wanted = app.setup(&new);
        let mut out = Vec::new();
        setup(&mut out, &wanted).unwrap();
        let code = wanted.code.map_or_else(|| "no code".to_owned(), |code| code.content);
        let text = String::from_utf8(out).unwrap();
        let drawn = |line: &&str| !line.contains('█') && !line.contains('▀');
        format!("{code}\n{}\n", text.lines().filter(drawn).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn what_is_printed_for_each_app_is_what_it_was() {
        let mut text = String::new();
        for app in App::ALL {
            text.push_str(&format!("$ --app {}: {}\n{}\n", app.word(), app.about(), shown(app, false)));
        }
        text.push_str(&format!("$ --app nextcloud --one-time\n{}", shown(App::Nextcloud, true)));
        expect_test::expect_file!["cards.txt"].assert_eq(&text);
    }
}
