//! Making keys and certificates: an authority of the pool's own, and what the box shows, signed by it.
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
    date_time_ymd,
};

use super::looking::Authority;
use crate::model::certificate::{HOME, Names};
use crate::plan::certifying::{DAYS, DAYS_BACK};

/// Why there is none: the random numbers, or a name that no certificate can hold.
pub(super) type MakeError = rcgen::Error;

/// An authority's dates do not depend on a clock, which a new box may not have yet. The last day is the last one that every program reads
/// in two digits of a year (RFC 5280 §4.1.2.5).
pub(super) const UNTIL: (i32, u8, u8) = (2049, 12, 31);
const SINCE: (i32, u8, u8) = (2024, 1, 1);
const DAY: u64 = 86_400;

/// Its name, by which people find it among others on their phones. `pool` is the beginning of the pool's id.
pub(super) fn name(pool: &str) -> String {
    format!("Shoebox {pool}")
}

/// What an authority says of itself. The name, the usage and the way its key is named are in every certificate that it signs.
fn params(pool: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let date = |(year, month, day)| date_time_ymd(year, month, day);
    (params.not_before, params.not_after) = (date(SINCE), date(UNTIL));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name(pool));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A new authority as a file: its key, its certificate. It may sign for these host names and all below them, for addresses of homes, and
/// for nothing else (RFC 5280 §4.2.1.10): its key lies on drives that leave the house.
pub(super) fn authority(pool: &str, permitted: &[String]) -> Result<String, MakeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = params(pool);
    let hosts = permitted.iter().cloned().map(GeneralSubtree::DnsName);
    let homes = HOME
        .iter()
        .map(|(network, length)| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*network, *length)));
    let permitted_subtrees = hosts.chain(homes).collect();
    params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    let certificate = params.self_signed(&key)?;
    let about =
        "The authority of this Shoebox, with its private key. Phones know its certificate: keep this file.";
    Ok(format!("{about}\n{}{}", key.serialize_pem(), certificate.pem()))
}

/// A new certificate for these names as a file, good from about `from` on: its key, and itself.
pub(super) fn certificate(
    pool: &str,
    authority: &Authority,
    names: &Names,
    from: Timestamp,
) -> Result<String, MakeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    let seconds = u64::try_from(from.as_second()).unwrap_or_default().saturating_sub(DAYS_BACK * DAY);
    params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_after = params.not_before + Duration::from_secs(DAYS * DAY);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Shoebox");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    for host in &names.hosts {
        params.subject_alt_names.push(SanType::DnsName(host.as_str().try_into()?));
    }
    params.subject_alt_names.extend(names.addresses.iter().map(|ip: &IpAddr| SanType::IpAddress(*ip)));
    let issuer = Issuer::new(self::params(pool), authority.key());
    let certificate = params.signed_by(&key, &issuer)?;
    let about = "What this Shoebox shows to phones, with its private key. Made anew when needed.";
    Ok(format!("{about}\n{}{}", key.serialize_pem(), certificate.pem()))
}
