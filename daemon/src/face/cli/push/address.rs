//! Where the box is: `http://shoebox.local:8080`, the same without the scheme, or `https://shoebox.local:8443`.
use std::fmt;
use std::str::FromStr;

/// An address of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// As in a URI: an IPv6 address in brackets.
    host: String,
    port: u16,
    secure: bool,
}

impl Address {
    /// As the system resolves it.
    pub(super) fn host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether it has to prove who it is.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// As the box is named in a request.
    pub(super) fn authority(&self) -> String {
        if self.port == usual(self.secure) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// The port of an address that names none (RFC 9110, section 4.2).
const fn usual(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no address like http://shoebox.local:8080");
        let (secure, rest) = match text.trim().split_once("://") {
            None => (false, text.trim()),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return Err(bad()),
        };
        // What the card prints for WebDAV programs means the same box.
        let authority = rest.split('/').next().unwrap_or_default();
        let end = if authority.starts_with('[') {
            authority.find(']').ok_or_else(bad)? + 1
        } else {
            authority.find(':').unwrap_or(authority.len())
        };
        let (host, port) = authority.split_at(end);
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => usual(secure),
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| bad())?
            }
            None | Some(_) => return Err(bad()),
        };
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'[' | b']' | b':');
        if host.is_empty() || !host.bytes().all(fits) || port == 0 {
            return Err(bad());
        }
        Ok(Self { host: host.to_ascii_lowercase(), port, secure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, host, port, shown) in [
            ("http://shoebox.local:8080", "shoebox.local", 8080, "http://shoebox.local:8080"),
            ("Shoebox.local", "shoebox.local", 80, "http://shoebox.local"),
            ("192.168.1.5:8080/dav/", "192.168.1.5", 8080, "http://192.168.1.5:8080"),
            (" http://[fd00::1]:8080/ ", "fd00::1", 8080, "http://[fd00::1]:8080"),
            ("http://box/", "box", 80, "http://box"),
            ("https://Box", "box", 443, "https://box"),
            ("HTTPS://box:8443/", "box", 8443, "https://box:8443"),
            ("https://box:80", "box", 80, "https://box:80"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.host(), address.port(), &*address.to_string()),
                (host, port, shown),
                "{text}"
            );
            assert_eq!(address.to_string().parse::<Address>().as_ref(), Ok(&address));
        }
        for bad in [
            "",
            "http://",
            "ftp://box",
            "box:",
            "box:x",
            "box:99999",
            "box:0",
            "a b",
            "user@box",
            "[::1",
            "box?x",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
