//! The addresses to print for people: where a phone, and where a program on this machine, finds the box.
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::settings::Settings;

/// Where the WebDAV tree of whoever signs in begins.
const TREE: &str = "/dav/";

/// One way to the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::face) struct Address {
    base: String,
}

impl Address {
    /// For other machines: as configured, or this machine's address in its network, through HTTPS where that is on.
    pub(in crate::face) fn for_phones(settings: &Settings) -> Self {
        if let Some(url) = &settings.http.public_url {
            return Self { base: url.clone() };
        }
        match settings.tls.listen.first() {
            Some(listen) => Self::through("https", *listen, own_address),
            None => Self::plain(settings),
        }
    }

    /// For other machines, plain HTTP: where a phone gets the certificate that HTTPS takes. `None`: it takes none of ours.
    pub(in crate::face) fn for_trust(settings: &Settings) -> Option<String> {
        let own = settings.tls.is_on() && settings.http.public_url.is_none();
        own.then(|| format!("{}/ca", Self::plain(settings).base))
    }

    fn plain(settings: &Settings) -> Self {
        let first = settings.http.listen.first().copied();
        Self::at(first.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 80))), own_address)
    }

    /// For programs on this machine.
    pub(in crate::face) fn for_this_machine(listen: SocketAddr) -> Self {
        Self::at(listen, || None)
    }

    fn at(listen: SocketAddr, own: impl FnOnce() -> Option<IpAddr>) -> Self {
        Self::through("http", listen, own)
    }

    fn through(scheme: &str, listen: SocketAddr, own: impl FnOnce() -> Option<IpAddr>) -> Self {
        let mut shown = listen;
        if listen.ip().is_unspecified() {
            shown.set_ip(own().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        Self { base: format!("{scheme}://{shown}") }
    }

    /// Where pages are.
    pub(in crate::face) fn web(&self) -> String {
        format!("{}/", self.base)
    }

    /// The box itself, without a slash at the end.
    pub(in crate::face) fn server(&self) -> String {
        self.base.clone()
    }

    /// Where photos are sent to.
    pub(in crate::face) fn dav(&self) -> String {
        format!("{}{TREE}", self.base)
    }

    /// The same with user and password in it, as one text to scan. `user` and `password` are plain letters.
    pub(in crate::face) fn dav_signed_in(&self, user: &str, password: &str) -> String {
        let (scheme, rest) = self.base.split_once("://").unwrap_or(("http", &self.base));
        format!("{scheme}://{user}:{password}@{rest}{TREE}")
    }

    /// The pieces that some apps ask for one by one: protocol, server, port.
    pub(in crate::face) fn pieces(&self) -> (&str, &str, &str) {
        let (scheme, host) = self.base.split_once("://").unwrap_or(("http", &self.base));
        let usual = if scheme == "https" { "443" } else { "80" };
        match host.rsplit_once(':') {
            Some((server, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => {
                (scheme, server, port)
            }
            Some(_) | None => (scheme, host, usual),
        }
    }

    /// The path that goes with [`Address::pieces`].
    pub(in crate::face) const fn path() -> &'static str {
        TREE
    }
}

/// This machine's address on the way to the rest of its network. "Connecting" a UDP socket only makes the kernel
/// choose a route (connect(2)): no packet is sent to this address, which is reserved for documents (RFC 5737).
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|own| own.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_a_client_can_use() {
        let lan = || Some(IpAddr::from([192, 168, 1, 5]));
        let at = Address::at("0.0.0.0:8080".parse().unwrap(), lan);
        assert_eq!(at.dav(), "http://192.168.1.5:8080/dav/");
        assert_eq!(at.web(), "http://192.168.1.5:8080/");
        assert_eq!(at.dav_signed_in("anna", "a-b"), "http://anna:a-b@192.168.1.5:8080/dav/");
        assert_eq!(at.pieces(), ("http", "192.168.1.5", "8080"));
        let one = Address::at("10.0.0.9:80".parse().unwrap(), lan);
        assert_eq!(one.dav(), "http://10.0.0.9:80/dav/");
        let local = Address::for_this_machine("[::]:81".parse().unwrap());
        assert_eq!(local.dav(), "http://127.0.0.1:81/dav/");
        let six = Address::for_this_machine("[::1]:81".parse().unwrap());
        assert_eq!(six.pieces(), ("http", "[::1]", "81"));
    }

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
