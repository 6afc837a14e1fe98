//! `shoebox mount-help`: the lines by which the computers of the house get at the photos, with this box's own name and path in them.
use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::reached::own_address;
use super::{Cx, Exit};
use crate::face::address::Address;
use crate::settings::{Settings, Wanted};

/// Print how computers of the house open the photos, for this box
///
/// Linux and macOS read drive B over NFS, without a password and without being able to change anything. Windows does it by WebDAV. Whether
/// it works at the moment is in `shoebox status`; all of it is explained in docs/desktops.md.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox mount-help
  shoebox mount-help --json | jq -r .fstab | sudo tee -a /etc/fstab")]
pub(super) struct MountHelp {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The lines.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Lines {
    /// Whether the box sees to it that there is something to mount.
    nfs: bool,
    /// The box's name in its network.
    server: String,
    /// Its address, where a name is of no use.
    address: String,
    path: String,
    /// One line for fstab(5), with systemd's automount.
    fstab: String,
    /// The same as units of systemd's, for who keeps fstab as it is.
    automount_unit: String,
    mount_unit: String,
    /// Once, by hand.
    mount: String,
    mac: String,
    mac_automount: String,
    windows: String,
}

/// `soft`: a box that is away is an error after a while and not a program that hangs; nobody writes, so nothing is lost by it. Unmounted when
/// nobody looks: the next look finds the box as it is then.
const OPTIONS: &str = "ro,soft,timeo=100,retrans=2";
const FOLDER: &str = "/mnt/shoebox";

impl Lines {
    fn of(settings: &Settings, name: &str, address: &str) -> Self {
        let path = settings.nfs.path.display().to_string();
        // What the box is called in its own network (RFC 6762).
        let label = name.split('.').next().unwrap_or_default();
        let server = if label.is_empty() { address.to_owned() } else { format!("{label}.local") };
        let what = format!("{server}:{path}");
        let dav = Address::for_phones(settings).dav();
        Self {
            nfs: settings.nfs.wanted != Wanted::Off,
            fstab: format!(
                "{what} {FOLDER} nfs4 {OPTIONS},noauto,nofail,_netdev,x-systemd.automount,x-systemd.idle-timeout=60,\
                 x-systemd.mount-timeout=30 0 0"
            ),
            automount_unit: format!(
                "[Automount]\nWhere={FOLDER}\nTimeoutIdleSec=60\n\n[Install]\nWantedBy=multi-user.target\n"
            ),
            mount_unit: format!(
                "[Unit]\nDescription=Photos on the Shoebox\n\n[Mount]\nWhat={what}\nWhere={FOLDER}\nType=nfs4\n\
                 Options={OPTIONS}\nTimeoutSec=30\n"
            ),
            mount: format!("sudo mount -t nfs4 -o {OPTIONS} {what} {FOLDER}"),
            mac: format!("sudo mount -t nfs -o vers=4.0,ro,soft,intr {what} ~/Shoebox"),
            mac_automount: format!("{FOLDER} -fstype=nfs,vers=4.0,ro,soft,intr {what}"),
            windows: format!("net use S: {dav} /user:NAME *"),
            address: address.to_owned(),
            server,
            path,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        if !self.nfs {
            let _ = writeln!(
                text,
                "Nobody looks after NFS on this box: [nfs] enabled is \"off\". What follows works if you export the photos yourself.\n"
            );
        }
        let _ = write!(
            text,
            "The photos are {}:{} (or by address, {}), for reading only.\n\n\
             Linux (Debian, Ubuntu: install nfs-common). As a line in /etc/fstab, mounted when somebody looks:\n  {}\nthen\n  \
             sudo mkdir -p {FOLDER} && sudo systemctl daemon-reload && sudo systemctl start mnt-shoebox.automount\n\
             or once, by hand:\n  {}\n\n",
            self.server, self.path, self.address, self.fstab, self.mount
        );
        let _ = write!(
            text,
            "macOS. Once, in the Terminal:\n  mkdir -p ~/Shoebox && {}\nFor good, as a line in /etc/auto_shoebox (and \"/- auto_shoebox\" in /etc/auto_master):\n  {}\n\n",
            self.mac, self.mac_automount
        );
        let _ = write!(
            text,
            "Windows. Add a device for the computer (shoebox device add PERSON NAME --kind computer); then, with the user that it prints:\n  {}\n\
             This is WebDAV, and not for reading only: what is deleted there goes to the trash of the box.\n",
            self.windows
        );
        text
    }
}

impl MountHelp {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let settings = cx.settings()?;
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        // Without avahi nobody finds it by its name.
        let name = name.filter(|_| settings.announce.directory.is_dir()).unwrap_or_default();
        let own = own_address().map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
        let lines = Lines::of(&settings, &name, &own);
        if self.json {
            cx.json(&lines)?;
        } else {
            write!(cx.out, "{}", lines.text())?;
        }
        Ok(Exit::Fine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_this_boxs() {
        let mut settings = Settings::default();
        settings.http.public_url = Some("https://box.example".to_owned());
        let lines = Lines::of(&settings, "shoebox", "192.168.1.5");
        expect_test::expect![[r#"
            The photos are shoebox.local:/photos (or by address, 192.168.1.5), for reading only.

            Linux (Debian, Ubuntu: install nfs-common). As a line in /etc/fstab, mounted when somebody looks:
              shoebox.local:/photos /mnt/shoebox nfs4 ro,soft,timeo=100,retrans=2,noauto,nofail,_netdev,x-systemd.automount,x-systemd.idle-timeout=60,x-systemd.mount-timeout=30 0 0
            then
              sudo mkdir -p /mnt/shoebox && sudo systemctl daemon-reload && sudo systemctl start mnt-shoebox.automount
            or once, by hand:
              sudo mount -t nfs4 -o ro,soft,timeo=100,retrans=2 shoebox.local:/photos /mnt/shoebox

            macOS. Once, in the Terminal:
              mkdir -p ~/Shoebox && sudo mount -t nfs -o vers=4.0,ro,soft,intr shoebox.local:/photos ~/Shoebox
            For good, as a line in /etc/auto_shoebox (and "/- auto_shoebox" in /etc/auto_master):
              /mnt/shoebox -fstype=nfs,vers=4.0,ro,soft,intr shoebox.local:/photos

            Windows. Add a device for the computer (shoebox device add PERSON NAME --kind computer); then, with the user that it prints:
              net use S: https://box.example/dav/ /user:NAME *
            This is WebDAV, and not for reading only: what is deleted there goes to the trash of the box.
        "#]]
        .assert_eq(&lines.text());
        settings.nfs.path = "/srv/shoebox/nfs/photos".into();
        let whole = Lines::of(&settings, "", "192.168.1.5");
        assert!(
            whole.fstab.starts_with("192.168.1.5:/srv/shoebox/nfs/photos /mnt/shoebox nfs4 ro,"),
            "{}",
            whole.fstab
        );
        settings.nfs.wanted = Wanted::Off;
        assert!(Lines::of(&settings, "shoebox", "192.168.1.5").text().starts_with("Nobody looks after NFS"));
    }
}
