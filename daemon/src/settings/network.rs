//! Settings of what others in the network see: HTTPS, what plain HTTP is still good for, what is announced, and what NFS exports.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Http;
use super::file::Visit;
use super::values::{absolute, distinct, host_name, web_address};

/// HTTPS, with certificates of the box's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Addresses to listen on; none: there is no HTTPS.
    pub listen: Vec<SocketAddr>,
    /// What plain HTTP is good for beside it.
    pub plain: Plain,
}

impl Tls {
    /// Whether there is HTTPS.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }
}

/// What plain HTTP is good for beside HTTPS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Plain {
    /// For everything, in the home's own networks; others are sent on to HTTPS.
    #[default]
    Lan,
    /// Everybody but programs on this machine is sent on to HTTPS.
    Redirect,
}

impl Plain {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Redirect => "redirect",
        }
    }

    pub(super) fn read(word: &str) -> Result<Self, String> {
        [Self::Lan, Self::Redirect]
            .into_iter()
            .find(|plain| plain.word() == word)
            .ok_or_else(|| format!("{word:?} is not one of lan, redirect"))
    }
}

/// What is announced in the network (DNS-SD), by way of avahi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// Where avahi looks for files; nothing is done when it is not there.
    pub directory: PathBuf,
    /// A path that NFS exports, to be announced whatever the box finds; empty: what it exports itself.
    pub nfs: String,
}

impl Default for Announce {
    fn default() -> Self {
        Self { directory: "/etc/avahi/services".into(), nfs: String::new() }
    }
}

/// Photos for the computers of the house.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nfs {
    /// Whether it is seen to that they are exported.
    pub wanted: Wanted,
    /// Under which path clients know them.
    pub path: PathBuf,
}

impl Default for Nfs {
    fn default() -> Self {
        Self { wanted: Wanted::Auto, path: "/photos".into() }
    }
}

/// Whether it is seen to that photos are exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Where an NFS server is installed, and root does what the box asks.
    #[default]
    Auto,
    /// That they are not is a finding.
    On,
    /// Nobody looks.
    Off,
}

impl Wanted {
    const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }

    fn read(word: &str) -> Result<Self, String> {
        [Self::Auto, Self::On, Self::Off]
            .into_iter()
            .find(|wanted| wanted.word() == word)
            .ok_or_else(|| format!("{word:?} is not one of auto, on, off"))
    }
}

/// The part of the list that says how the box is reached.
pub(super) fn walk_network(
    (http, tls, announce, nfs): (&mut Http, &mut Tls, &mut Announce, &mut Nfs),
    visit: &mut impl Visit,
) {
    visit.section("http");
    visit.value("listen", &mut http.listen, |all| distinct(all, "an address"));
    visit.value("hosts", &mut http.hosts, |all| all.iter().try_for_each(|host| host_name(host)));
    let mut url = http.public_url.clone().unwrap_or_default();
    visit.value("public_url", &mut url, |url| web_address(url));
    http.public_url = Some(url.trim_end_matches('/').to_owned()).filter(|url| !url.is_empty());
    visit.count("connections", &mut http.connections, 1..=4096);
    visit.count("per_ip", &mut http.per_ip, 1..=4096);
    visit.time("header_seconds", 1, &mut http.header, 1..=600);
    visit.time("idle_seconds", 1, &mut http.idle, 1..=3600);

    visit.section("tls");
    visit.value("listen", &mut tls.listen, |all| if all.is_empty() { Ok(()) } else { distinct(all, "") });
    let mut plain = tls.plain.word().to_owned();
    visit.value("plain", &mut plain, |word| Plain::read(word).map(|_| ()));
    tls.plain = Plain::read(&plain).unwrap_or(tls.plain);

    visit.section("announce");
    visit.value("directory", &mut announce.directory, |directory| absolute(directory));
    visit.value(
        "nfs",
        &mut announce.nfs,
        |path| if path.is_empty() { Ok(()) } else { absolute(Path::new(path)) },
    );

    visit.section("nfs");
    let mut wanted = nfs.wanted.word().to_owned();
    visit.value("enabled", &mut wanted, |word| Wanted::read(word).map(|_| ()));
    nfs.wanted = Wanted::read(&wanted).unwrap_or(nfs.wanted);
    visit.value("path", &mut nfs.path, |path| absolute(path));
}
