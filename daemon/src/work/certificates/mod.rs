//! Certificates: the box's own authority, and what it shows to phones. Both lie on every drive of the pool, so that neither a new card
//! nor a new drive changes what phones know (promise P7); found on any, they are used again.
//!
//! Keys leave the drives for this process's memory only: no face is given one, and nothing here is logged but fingerprints.
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::model::certificate::{Fingerprint, Names};
use crate::model::drive::DriveId;
use crate::work::pool::Pool;

pub use keeper::Keeper;

mod keeper;
mod keeping;
mod looking;
mod making;
#[cfg(test)]
mod tests;

/// What the box shows now, for whoever serves and for whoever asks.
#[derive(Default)]
pub struct Certificates {
    /// Whether there is to be one at all.
    wanted: AtomicBool,
    now: RwLock<Now>,
}

#[derive(Default, Clone)]
struct Now {
    served: Option<Arc<Served>>,
    /// Why there is nothing, or why something is not as it should be.
    waiting: Option<String>,
}

/// One that is used.
pub struct Served {
    authority: CertificateDer<'static>,
    name: String,
    names: Names,
    until: Option<Timestamp>,
    kept_on: BTreeSet<DriveId>,
    /// The file it was read from.
    file: Vec<u8>,
    config: Arc<ServerConfig>,
}

impl Served {
    /// How connections are secured.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The authority's certificate (DER), which is no secret.
    pub fn authority(&self) -> &[u8] {
        &self.authority
    }

    /// What the authority is called on phones.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The authority's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.authority)
    }
}

impl Certificates {
    /// What is used now; `None`: nothing yet.
    pub fn served(&self) -> Option<Arc<Served>> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).served.clone()
    }

    /// Whether there is to be one.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    fn set(&self, served: Option<Arc<Served>>, waiting: Option<String>) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        // What was read once goes on when its drives go away: a phone is to be told that they are away.
        now.served = served.or_else(|| now.served.take());
        now.waiting = waiting;
    }

    /// For people.
    pub fn view(&self) -> CertificateView {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner).clone();
        let authority = now.served.as_ref().map(|served| AuthorityView {
            name: served.name.clone(),
            fingerprint: served.fingerprint().to_string(),
            pem: pem(&served.authority),
            kept_on: served.kept_on.iter().copied().collect(),
        });
        let names = now.served.as_ref().map(|served| served.names.clone()).unwrap_or_default();
        let until = now.served.as_ref().and_then(|served| served.until);
        CertificateView { wanted: self.is_wanted(), waiting: now.waiting, authority, names, until }
    }
}

/// The box's certificate, and what phones are to know to believe it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CertificateView {
    /// Whether HTTPS is on.
    pub wanted: bool,
    /// What is waited for, or not as it should be.
    pub waiting: Option<String>,
    /// Where it comes from.
    pub authority: Option<AuthorityView>,
    /// What the certificate names.
    pub names: Names,
    /// When it ends; it is made anew before.
    pub until: Option<Timestamp>,
}

/// The authority, without its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuthorityView {
    /// What it is called on phones.
    pub name: String,
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    /// Its certificate.
    pub pem: String,
    /// The drives that have it, key and all.
    pub kept_on: Vec<DriveId>,
}

/// A certificate as text (RFC 7468).
fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = &*text;
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem + "-----END CERTIFICATE-----\n"
}

impl Pool {
    /// What the box shows to whoever connects.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }
}

/// Under which names the box is reached.
pub struct Reached {
    /// The machine's name.
    pub machine: String,
    /// Those of the settings.
    pub configured: Vec<String>,
    /// Asks for this machine's addresses.
    pub addresses: Box<dyn Fn() -> BTreeSet<IpAddr> + Send>,
}
