//! Looking at keys and certificates: whether they are whole, belong together, and are good for what they are needed for. What is written
//! in a file is not believed: the signatures are checked, as a phone would.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::model::certificate::{Fingerprint, Names};

/// A certificate and its key, as a file has them.
struct Pair {
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
}

impl Pair {
    /// `None`: there is no key, no certificate, or they do not belong together.
    fn read(file: &[u8]) -> Option<Self> {
        let key = PrivateKeyDer::from_pem_slice(file).ok()?;
        let certificate = CertificateDer::from_pem_slice(file).ok()?;
        let signing = ring::sign::any_supported_type(&key).ok()?;
        CertifiedKey::new(vec![certificate.clone()], signing).keys_match().ok()?;
        Some(Self { key, certificate })
    }
}

/// An authority: its certificate, which phones know, and its key.
pub(super) struct Authority {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    file: Vec<u8>,
}

impl Authority {
    /// `None`: that is none.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        let pair = Pair::read(file)?;
        webpki::anchor_from_trusted_cert(&pair.certificate).ok()?;
        let key = KeyPair::try_from(&pair.key).ok()?;
        Some(Self { key, certificate: pair.certificate, file: file.to_vec() })
    }

    pub(super) const fn key(&self) -> &KeyPair {
        &self.key
    }

    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub(super) fn file(&self) -> &[u8] {
        &self.file
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }
}

/// What the box shows.
pub(super) struct Shown {
    pair: Pair,
    file: Vec<u8>,
}

/// Why a certificate will not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// It is good at another time.
    #[error("its time has come")]
    Time,
    /// It does not have this name.
    #[error("it does not name {0}")]
    Name(String),
    /// The authority may not sign for what is in it.
    #[error("its names are not the authority's to sign")]
    Constraint,
    /// Anything else: another authority's, damaged, of no server.
    #[error("it does not come from the authority ({0})")]
    Other(String),
}

impl Shown {
    /// `None`: that is none.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        Some(Self { pair: Pair::read(file)?, file: file.to_vec() })
    }

    pub(super) fn file(&self) -> &[u8] {
        &self.file
    }

    /// Whether a phone that knows the authority takes it at each of these moments, under each of these names.
    pub(super) fn fits(&self, authority: &Authority, names: &Names, at: &[Timestamp]) -> Result<(), Unfit> {
        let other = |error: Error| {
            if matches!(error, Error::CertExpired { .. } | Error::CertNotValidYet { .. }) {
                Unfit::Time
            } else if matches!(error, Error::NameConstraintViolation) {
                Unfit::Constraint
            } else {
                Unfit::Other(error.to_string())
            }
        };
        let anchors = [webpki::anchor_from_trusted_cert(&authority.certificate).map_err(other)?];
        let certificate = EndEntityCert::try_from(&self.pair.certificate).map_err(other)?;
        let algorithms = [webpki::ring::ECDSA_P256_SHA256];
        for moment in at {
            let seconds = u64::try_from(moment.as_second()).unwrap_or_default();
            let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            let usage = KeyUsage::server_auth();
            let path = certificate.verify_for_usage(&algorithms, &anchors, &[], at, usage, None, None);
            drop(path.map_err(other)?);
        }
        let named = |name: ServerName<'_>| certificate.verify_is_valid_for_subject_name(&name).is_ok();
        let host = |host: &&String| !ServerName::try_from(host.as_str()).is_ok_and(named);
        let address = |ip: &&IpAddr| !named(ServerName::from(**ip));
        let missing = names.hosts.iter().find(host).cloned();
        match missing.or_else(|| names.addresses.iter().find(address).map(ToString::to_string)) {
            Some(name) => Err(Unfit::Name(name)),
            None => Ok(()),
        }
    }

    /// When it ends.
    pub(super) fn until(&self) -> Option<Timestamp> {
        // Late enough for any certificate of this century to be over: the refusal says since when.
        let late = UnixTime::since_unix_epoch(Duration::from_secs(4_102_444_800));
        let algorithms = [webpki::ring::ECDSA_P256_SHA256];
        let certificate = EndEntityCert::try_from(&self.pair.certificate).ok()?;
        match certificate.verify_for_usage(&algorithms, &[], &[], late, KeyUsage::server_auth(), None, None) {
            Err(Error::CertExpired { not_after, .. }) => {
                Timestamp::from_second(i64::try_from(not_after.as_secs()).ok()?).ok()
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// How connections are secured with it.
    pub(super) fn config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.pair.certificate.clone()], self.pair.key.clone_key())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
