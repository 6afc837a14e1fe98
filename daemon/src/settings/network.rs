//! Settings of what others in the network see: HTTPS, what plain HTTP is still good for, and what is announced.
use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// The path that NFS exports; empty: none.
    pub nfs: String,
}

impl Default for Announce {
    fn default() -> Self {
        Self { directory: "/etc/avahi/services".into(), nfs: String::new() }
    }
}
