//! Who may be addressed, and from which page: the answer to DNS rebinding and cross-site requests (invariant I29).
use std::net::IpAddr;

use hyper::header::{HOST, ORIGIN};
use hyper::{HeaderMap, Method, StatusCode, Uri};

use super::reply::Deny;
use super::route::SHARE;

/// Under which names the box answers. Addresses, `localhost` and `*.local` always count: no web site can make a
/// browser send one of these for a name of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPolicy {
    names: Vec<String>,
    /// The address for people, and its host and port.
    public: Option<(String, Authority)>,
}

impl HostPolicy {
    /// With these further names, as configured.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().map(|name| plain(&name)).collect(), public: None }
    }

    /// With this address for people, `scheme://host[:port][/path]`.
    #[must_use]
    pub fn known_as(mut self, url: Option<&str>) -> Self {
        let authority = |url: &str| Authority::parse(url.split_once("://")?.1.split('/').next()?);
        self.public = url.and_then(|url| Some((url.to_owned(), authority(url)?)));
        self
    }

    /// The beginning of addresses that lead the client back here: as it came, by the name that it used. The scheme is not in a
    /// request: it is that of the connection, or, where the client used the configured address, of that, which is how a proxy that ends
    /// TLS is known.
    pub(super) fn base(&self, here: &Authority) -> String {
        match &self.public {
            _ if here.secure => format!("https://{here}"),
            Some((url, public)) if public.is(here) => url.clone(),
            Some(_) | None => format!("http://{here}"),
        }
    }

    /// Whether a host, without its port, is one of ours.
    pub fn allows(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(bare) = bare {
            return bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        }
        let host = plain(host);
        host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4())
            || host == "localhost"
            || host.strip_suffix(".local").is_some_and(|label| !label.is_empty())
            || self.names.contains(&host)
    }
}

fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// A host and a port as in a URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    /// Lower case, without a trailing dot.
    pub(super) host: String,
    /// As given.
    pub(super) port: Option<u16>,
    /// The request came through TLS that ends here.
    pub(super) secure: bool,
}

impl std::fmt::Display for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Authority {
    /// Reads `host[:port]`; no user information, no other characters than a host has.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end =
            if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (host, rest) = text.split_at(end);
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'[' | b']' | b':');
        (!host.is_empty() && host.bytes().all(fits)).then(|| Self { host: plain(host), port, secure: false })
    }

    /// Whether both mean one server. A port that is not given is the scheme's; behind a proxy that ends TLS the
    /// scheme is not known here, so either default counts.
    pub(super) fn is(&self, other: &Self) -> bool {
        let default = |port: Option<u16>| port.is_none_or(|port| matches!(port, 80 | 443));
        self.host == other.host && (self.port == other.port || (default(self.port) && default(other.port)))
    }
}

/// Methods that change nothing.
fn is_safe(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "PROPFIND")
}

/// The authority a request is for, or why it gets no answer. Comes before everything else, on every route.
pub(super) fn check(
    policy: &HostPolicy,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Authority, Deny> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).and_then(Authority::parse);
    let (Some(host), None) = (host, hosts.next()) else {
        return Err(Deny::Bad("exactly one Host is needed"));
    };
    let named = match uri.authority() {
        None => host.clone(),
        Some(given) => Authority::parse(given.as_str()).ok_or(Deny::Bad("unreadable address"))?,
    };
    if !policy.allows(&host.host) || !policy.allows(&named.host) {
        return Err(Deny::Status(StatusCode::MISDIRECTED_REQUEST, "not under this name"));
    }
    if !is_safe(method) && uri.path() != SHARE && is_foreign(&host, headers) {
        return Err(Deny::Status(StatusCode::FORBIDDEN, "not from another site"));
    }
    Ok(named)
}

/// Whether a browser says that a page of another site made this request. Programs that are no browsers send
/// neither header.
fn is_foreign(host: &Authority, headers: &HeaderMap) -> bool {
    let from_elsewhere = headers.get_all("sec-fetch-site").iter().any(|site| {
        let site = site.as_bytes();
        !site.eq_ignore_ascii_case(b"same-origin") && !site.eq_ignore_ascii_case(b"none")
    });
    let other_origin = headers.get_all(ORIGIN).iter().any(|origin| {
        let origin = origin.to_str().ok();
        let authority = origin.and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
        !authority.and_then(Authority::parse).is_some_and(|authority| authority.is(host))
    });
    from_elsewhere || other_origin
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        let policy = HostPolicy::new(["Photos.example.org".to_owned()]);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        match check(&policy, &method, &uri.parse().unwrap(), &map) {
            Ok(_) => 200,
            Err(deny) => super::super::reply::deny(&method, &deny).status().as_u16(),
        }
    }

    #[test]
    fn hosts() {
        for (host, expected) in [
            ("192.168.1.9", 200),
            ("192.168.1.9:8080", 200),
            ("[fe80::1]:8080", 200),
            ("localhost:1", 200),
            ("shoebox.local", 200),
            ("SHOEBOX.LOCAL.", 200),
            ("photos.example.org:443", 200),
            ("evil.example", 421),
            ("photos.example.org.evil.example", 421),
            (".local", 421),
            ("local", 421),
            ("[evil.example]", 421),
            ("192.168.1.9.evil.example", 421),
            ("a@localhost", 400),
            ("localhost:x", 400),
            ("localhost:99999", 400),
            ("", 400),
        ] {
            assert_eq!(status("GET", "/", &[("host", host)]), expected, "{host:?}");
        }
        assert_eq!(status("GET", "/", &[]), 400);
        assert_eq!(status("GET", "/", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(status("GET", "http://evil.example/", &[("host", "localhost")]), 421);
        assert_eq!(status("GET", "http://localhost/", &[("host", "evil.example")]), 421);
    }

    #[test]
    fn clients_are_led_back_the_way_they_came() {
        let base = |url: Option<&str>, here: &str| {
            HostPolicy::default().known_as(url).base(&Authority::parse(here).unwrap())
        };
        let public = Some("https://photos.example.org");
        for (url, here, expected) in [
            (None, "192.168.1.9:8080", "http://192.168.1.9:8080"),
            (None, "[fe80::1]:8080", "http://[fe80::1]:8080"),
            (public, "192.168.1.9", "http://192.168.1.9"),
            (public, "Photos.Example.org", "https://photos.example.org"),
            (public, "photos.example.org:443", "https://photos.example.org"),
            (public, "photos.example.org:8080", "http://photos.example.org:8080"),
            (Some("https://box.example:8443/shoe"), "box.example:8443", "https://box.example:8443/shoe"),
        ] {
            assert_eq!(base(url, here), expected, "{here}");
        }
        let secure = Authority { secure: true, ..Authority::parse("192.168.1.9:8443").unwrap() };
        assert_eq!(HostPolicy::default().known_as(public).base(&secure), "https://192.168.1.9:8443");
    }

    #[test]
    fn other_sites_change_nothing() {
        let host = ("host", "shoebox.local:8080");
        for (method, header, value, expected) in [
            ("PUT", "origin", "http://shoebox.local:8080", 200),
            ("PUT", "origin", "http://shoebox.local", 403),
            ("PUT", "origin", "http://evil.example", 403),
            ("DELETE", "origin", "null", 403),
            ("POST", "origin", "http://shoebox.local:8080.evil.example", 403),
            ("PUT", "sec-fetch-site", "cross-site", 403),
            ("MOVE", "sec-fetch-site", "same-site", 403),
            ("PUT", "sec-fetch-site", "same-origin", 200),
            ("PUT", "sec-fetch-site", "none", 200),
            ("PUT", "sec-fetch-site", "", 403),
            ("GET", "sec-fetch-site", "cross-site", 200),
            ("PROPFIND", "origin", "http://evil.example", 200),
            ("UNKNOWN", "origin", "http://evil.example", 403),
        ] {
            assert_eq!(
                status(method, "/dav/", &[host, (header, value)]),
                expected,
                "{method} {header}: {value}"
            );
        }
        // What is shared comes in nobody's name, and is not read; under a foreign name not even that is answered.
        assert_eq!(status("POST", SHARE, &[host, ("origin", "null")]), 200);
        assert_eq!(status("POST", "/upload/share/", &[host, ("origin", "null")]), 403);
        assert_eq!(status("POST", SHARE, &[("host", "evil.example"), ("origin", "null")]), 421);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _read = Authority::parse(&text);
            let _read = HostPolicy::default().allows(&text);
        }
    }
}
