//! The addresses to print for people, from the settings: where a phone finds the box, and where it gets the certificate.
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::face::address::Address;
use crate::settings::Settings;

impl Address {
    /// For other machines: as configured, or this machine's address in its network, through HTTPS where that is on.
    pub(super) fn for_phones(settings: &Settings) -> Self {
        if let Some(url) = &settings.http.public_url {
            return Self::known(url.clone());
        }
        match settings.tls.listen.first() {
            Some(listen) => Self::through("https", *listen, own_address),
            None => Self::plain(settings),
        }
    }

    /// For other machines, plain HTTP: where a phone gets the certificate that HTTPS takes. `None`: it takes none of ours.
    pub(super) fn for_trust(settings: &Settings) -> Option<String> {
        let own = settings.tls.is_on() && settings.http.public_url.is_none();
        own.then(|| format!("{}/ca", Self::plain(settings).server()))
    }

    fn plain(settings: &Settings) -> Self {
        let first = settings.http.listen.first().copied();
        Self::at(first.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 80))), own_address)
    }
}

/// This machine's address on the way to the rest of its network. "Connecting" a UDP socket only makes the kernel
/// choose a route (connect(2)): no packet is sent to this address, which is reserved for documents (RFC 5737).
pub(super) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|own| own.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_https_on_phones_are_told_that_address_and_where_to_get_the_certificate() {
        let mut settings = Settings::default();
        settings.http.listen = vec!["10.0.0.9:8080".parse().unwrap()];
        assert_eq!(Address::for_trust(&settings), None);
        settings.tls.listen = vec!["10.0.0.9:8443".parse().unwrap()];
        assert_eq!(Address::for_phones(&settings).dav(), "https://10.0.0.9:8443/dav/");
        assert_eq!(Address::for_trust(&settings).as_deref(), Some("http://10.0.0.9:8080/ca"));
    }

    #[test]
    fn a_configured_address_wins() {
        let mut settings = Settings::default();
        settings.http.public_url = Some("https://box.example".to_owned());
        let at = Address::for_phones(&settings);
        assert_eq!(Address::for_trust(&settings), None);
        assert_eq!(at.dav(), "https://box.example/dav/");
        assert_eq!(at.pieces(), ("https", "box.example", "443"));
        assert_eq!(at.dav_signed_in("a", "b"), "https://a:b@box.example/dav/");
    }
}
