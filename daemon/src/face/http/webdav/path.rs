//! Request paths to names and back: decoded exactly once, and from then on only a `RelPath` (invariant I28).
use hyper::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::hosts::Authority;
use super::super::reply::Deny;
use super::flavour::Flavour;
use crate::model::path::{BadPath, RelPath};

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::face::http) struct Target {
    /// The full name, the device's root in front.
    pub(in crate::face::http) path: RelPath,
    /// It is the device's root itself.
    pub(in crate::face::http) is_root: bool,
    /// It was written with a slash at the end: a folder is meant.
    pub(super) slash: bool,
}

/// Reads what follows `/dav` in a request path.
pub(super) fn target(root: &RelPath, raw: &str) -> Result<Target, Deny> {
    let decoded = decode(raw)?;
    // An empty component says nothing ("/dav//a"): clients join a base that ends in a slash with a path that
    // starts with one.
    let components: Vec<&str> = decoded.split('/').filter(|component| !component.is_empty()).collect();
    let slash = decoded.is_empty() || decoded.ends_with('/');
    if components.is_empty() {
        return Ok(Target { path: root.clone(), is_root: true, slash });
    }
    let below = RelPath::parse(&components.join("/")).map_err(refuse)?;
    Ok(Target { path: root.join(&below).map_err(refuse)?, is_root: false, slash })
}

fn refuse(why: BadPath) -> Deny {
    match why {
        BadPath::Reserved => Deny::Status(StatusCode::FORBIDDEN, "this name is the box's own"),
        BadPath::Empty | BadPath::Dots => Deny::Bad("not a path"),
        BadPath::Control => Deny::Bad("a name may hold no control characters"),
        BadPath::TooLong => Deny::Bad("this name is too long"),
    }
}

/// Percent-decoding, once and strictly: a stray `%` or an encoded `/` means that the client and we would disagree
/// about the name.
fn decode(raw: &str) -> Result<String, Deny> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let [high, low, tail @ ..] = rest else { return Err(Deny::Bad("a stray % in the path")) };
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
            return Err(Deny::Bad("a stray % in the path"));
        };
        let byte = high << 4 | low;
        if byte == b'/' {
            return Err(Deny::Bad("a name may hold no slash"));
        }
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| Deny::Bad("the path is not UTF-8"))
}

/// Reads a `Destination` or a tagged resource: an absolute URI or an absolute path, on this server (502 otherwise).
pub(super) fn destination(
    root: &RelPath,
    (here, flavour): (&Authority, &Flavour),
    text: &str,
) -> Result<Target, Deny> {
    const ELSEWHERE: Deny = Deny::Status(StatusCode::BAD_GATEWAY, "the destination is not on this server");
    let path = if text.starts_with('/') {
        text
    } else {
        let (scheme, rest) = text.split_once("://").ok_or(Deny::Bad("unreadable destination"))?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(ELSEWHERE);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = Authority::parse(authority).ok_or(Deny::Bad("unreadable destination"))?;
        if !authority.is(here) {
            return Err(ELSEWHERE);
        }
        path
    };
    if path.contains(['?', '#']) {
        return Err(Deny::Bad("a destination has no query and no fragment"));
    }
    target(
        root,
        flavour
            .below(path)
            .ok_or(Deny::Status(StatusCode::FORBIDDEN, "the destination is not in the tree"))?,
    )
}

/// All but RFC 3986's unreserved characters, and the slash.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The path to show for a full name, `base` before it; folders end in a slash. Holds nothing that XML or HTML would have to escape.
pub(super) fn href(base: &str, root: &RelPath, path: &RelPath, folder: bool) -> String {
    let mut text = format!("{base}/");
    // Component-wise: a root that a drive spells in other letters is still the root.
    let mut below = path.components().skip(root.components().count()).peekable();
    let any = below.peek().is_some();
    while let Some(component) = below.next() {
        text.extend(utf8_percent_encode(component, ESCAPED));
        if below.peek().is_some() {
            text.push('/');
        }
    }
    if folder && any {
        text.push('/');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::flavour::PLAIN;
    use super::*;
    use proptest::prelude::*;

    fn root() -> RelPath {
        RelPath::parse("anna/iphone").unwrap()
    }

    fn read(raw: &str) -> Result<String, u16> {
        target(&root(), raw)
            .map(|t| t.path.to_string())
            .map_err(|deny| super::super::super::reply::deny(&hyper::Method::GET, &deny).status().as_u16())
    }

    #[test]
    fn paths() {
        for (raw, expected) in [
            ("", Ok("anna/iphone")),
            ("/", Ok("anna/iphone")),
            ("//", Ok("anna/iphone")),
            ("/a", Ok("anna/iphone/a")),
            ("/a/", Ok("anna/iphone/a")),
            ("/a//b", Ok("anna/iphone/a/b")),
            ("/a%20b", Ok("anna/iphone/a b")),
            ("/100%25", Ok("anna/iphone/100%")),
            ("/%2541", Ok("anna/iphone/%41")),
            ("/a+b", Ok("anna/iphone/a+b")),
            ("/A%CC%88", Ok("anna/iphone/Ä")),
            ("/..", Err(400)),
            ("/a/../b", Err(400)),
            ("/%2e%2e/b", Err(400)),
            ("/%2E./b", Err(400)),
            ("/..%5c..%5cb", Err(400)),
            ("/a%2Fb", Err(400)),
            ("/%2e%2e%2fbert", Err(400)),
            ("/a%00b", Err(400)),
            ("/a%0ab", Err(400)),
            ("/%ff", Err(400)),
            ("/%c0%ae%c0%ae/", Err(400)),
            ("/%", Err(400)),
            ("/%4", Err(400)),
            ("/%zz", Err(400)),
            ("/.shoebox/drive.toml", Err(403)),
            ("/a/.SHOEBOX", Err(403)),
        ] {
            assert_eq!(read(raw), expected.map(str::to_owned), "{raw}");
        }
        assert_eq!(read(&format!("/{}", "x".repeat(256))), Err(400));
        assert_eq!(read(&"/x".repeat(100)), Err(400));
        assert!(target(&root(), "/a/").unwrap().slash);
        assert!(target(&root(), "").unwrap().is_root);
    }

    #[test]
    fn destinations() {
        let here = Authority::parse("box.local:8080").unwrap();
        for (text, expected) in [
            ("/dav/a", Ok("anna/iphone/a")),
            ("http://box.local:8080/dav/a%20b/", Ok("anna/iphone/a b")),
            ("HTTPS://BOX.local:8080/dav/a", Ok("anna/iphone/a")),
            ("http://box.local:8080/dav", Ok("anna/iphone")),
            ("http://box.local/dav/a", Err(502)),
            ("http://other.local:8080/dav/a", Err(502)),
            ("ftp://box.local:8080/dav/a", Err(502)),
            ("http://anna@box.local:8080/dav/a", Err(400)),
            ("http://box.local:8080", Err(403)),
            ("//box.local/dav/a", Err(403)),
            ("/davos/a", Err(403)),
            ("/other", Err(403)),
            ("a", Err(400)),
            ("", Err(400)),
            ("/dav/a?b", Err(400)),
            ("/dav/a#b", Err(400)),
            ("/dav/../bert/a", Err(400)),
            ("http://box.local:8080/dav/%2e%2e/a", Err(400)),
        ] {
            let read =
                destination(&root(), (&here, &Flavour::plain()), text).map(|t| t.path.to_string()).map_err(
                    |deny| super::super::super::reply::deny(&hyper::Method::GET, &deny).status().as_u16(),
                );
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn hrefs() {
        let path = |text: &str| RelPath::parse(text).unwrap();
        assert_eq!(href(PLAIN, &root(), &root(), true), "/dav/");
        assert_eq!(href(PLAIN, &root(), &path("anna/iphone/a b"), true), "/dav/a%20b/");
        assert_eq!(
            href(PLAIN, &root(), &path("anna/iphone/<&>\"'%/ö.jpg"), false),
            "/dav/%3C%26%3E%22%27%25/%C3%B6.jpg"
        );
    }

    proptest! {
        #[test]
        fn nothing_escapes_the_root(raw in "/(%2e|%2E|\\.|/|%2f|%5c|\\\\|%00|a|%|\u{e9}){0,12}") {
            if let Ok(target) = target(&root(), &raw) {
                prop_assert!(target.path.is_within(&root()));
            }
        }

        #[test]
        fn hrefs_come_back(name in "\\PC{1,40}") {
            if let Ok(path) = RelPath::parse(&format!("anna/iphone/{name}")) {
                let href = href(PLAIN, &root(), &path, false);
                let back = target(&root(), href.strip_prefix("/dav").unwrap());
                prop_assert_eq!(back.unwrap().path, path);
            }
        }

        #[test]
        fn never_panics(raw in "\\PC{0,80}") {
            let _read = target(&root(), &raw);
            let _read = destination(&root(), (&Authority::parse("a").unwrap(), &Flavour::plain()), &raw);
        }
    }
}
