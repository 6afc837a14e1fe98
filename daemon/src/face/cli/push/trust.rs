//! Whom an `https://` address has to prove to be: a server that the box's own authority vouches for, and nobody else. The systems' own
//! lists of authorities are not asked: a box in a living room is in none of them.
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::address::Address;
use crate::face::control::{Fault, FaultKind};

/// How somebody gets the certificate that is missing.
const REMEDY: &str = "save it from http://BOX:8080/ca.pem (or `shoebox ca show --pem` on the box), compare its fingerprint with what \
                      `shoebox ca show` prints, and name it: shoebox push --setup https://… --ca FILE";

/// Whom to trust at this address; `None` where it is plain HTTP. `authority`: certificates as text (PEM, RFC 7468).
pub(super) fn of(address: &Address, authority: &str) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    if !address.is_secure() {
        return Ok(None);
    }
    if authority.is_empty() {
        let what = format!(
            "{address} has to prove who it is, and the certificate of its authority is not known here"
        );
        return Err(Fault::new(FaultKind::BadRequest, what, REMEDY).into());
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(|e| bad(&e))?;
        roots.add(certificate).map_err(|e| bad(&e))?;
    }
    if roots.is_empty() {
        return Err(bad(&"there is no certificate in it").into());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("could not begin to speak TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(Arc::new(config)))
}

fn bad(why: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultKind::BadRequest, format!("that is no authority's certificate: {why}"), REMEDY)
}

/// The certificate in a file, as it is kept.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_trusted_without_a_certificate() {
        let plain: Address = "http://box:8080".parse().unwrap();
        assert!(of(&plain, "").unwrap().is_none());
        let secure: Address = "https://box:8443".parse().unwrap();
        for (text, why) in [("", "is not known here"), ("nothing", "no certificate in it")] {
            let refused = of(&secure, text).unwrap_err();
            assert!(refused.to_string().contains(why), "{text}: {refused}");
        }
        let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(of(&secure, torn).is_err());
    }
}
