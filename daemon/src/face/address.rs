//! One way to the box, as people and apps type it.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where the WebDAV tree of whoever signs in begins.
const TREE: &str = "/dav/";

/// One way to the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::face) struct Address {
    base: String,
}

impl Address {
    /// As a client used it, without a slash at the end.
    pub(in crate::face) const fn known(base: String) -> Self {
        Self { base }
    }

    /// For programs on this machine.
    pub(in crate::face) fn for_this_machine(listen: SocketAddr) -> Self {
        Self::at(listen, || None)
    }

    pub(in crate::face) fn at(listen: SocketAddr, own: impl FnOnce() -> Option<IpAddr>) -> Self {
        Self::through("http", listen, own)
    }

    /// At an address that is listened on; where that is all of them, at the one that `own` finds.
    pub(in crate::face) fn through(
        scheme: &str,
        listen: SocketAddr,
        own: impl FnOnce() -> Option<IpAddr>,
    ) -> Self {
        let mut shown = listen;
        if listen.ip().is_unspecified() {
            shown.set_ip(own().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        Self { base: format!("{scheme}://{shown}") }
    }

    /// Whether no other machine finds it there.
    pub(in crate::face) fn is_of_this_machine_only(&self) -> bool {
        let (_, server, _) = self.pieces();
        let bare = server.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
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
}
