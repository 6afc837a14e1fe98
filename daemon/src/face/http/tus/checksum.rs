//! `Upload-Checksum`: what the bytes of one request hash to (tus 1.0 "Checksum").
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;

use crate::face::http::reply::Deny;
use crate::model::hash::{DeclaredHash, hex};

/// What may be announced, as `Tus-Checksum-Algorithm` lists it.
pub(super) const ALGORITHMS: &str = "sha1,sha256,blake3,md5";

/// The hash the client announces for this body. An algorithm that is not known is an error (400): the client believes that it is
/// being protected.
pub(super) fn announced(headers: &HeaderMap) -> Result<Option<DeclaredHash>, Deny> {
    let mut all = headers.get_all("upload-checksum").iter();
    let (value, more) = (all.next(), all.next());
    let Some(value) = value else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| more.is_none());
    text.and_then(parse).map(Some).ok_or(Deny::Bad("unreadable Upload-Checksum"))
}

/// An algorithm, a blank, the hash in Base64.
fn parse(text: &str) -> Option<DeclaredHash> {
    let (algorithm, encoded) = text.trim().split_once(' ')?;
    if !ALGORITHMS.split(',').any(|known| known == algorithm) {
        return None;
    }
    let hash = STANDARD.decode(encoded.trim()).ok().filter(|hash| hash.len() <= 32)?;
    DeclaredHash::parse_oc(&format!("{algorithm}:{}", hex(&hash))).ok()?.pop()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        for (text, known) in [
            ("sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", true),
            ("sha256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", true),
            ("md5 kAFQmDzST7DWlj99KOF/cg==", true),
            ("blake3 ZDezrDhGUTP/tjt1JzqNtUjFWEZduzC8gCB5Y4zuC0c=", true),
            ("sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0", false),
            ("sha1 YWJj", false),
            ("sha512 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", false),
            ("SHA1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", false),
            ("sha1", false),
            ("", false),
        ] {
            assert_eq!(parse(text).is_some(), known, "{text}");
        }
        // Each algorithm that is listed is one that is computed.
        for algorithm in ALGORITHMS.split(',') {
            let fits = |length| parse(&format!("{algorithm} {}", STANDARD.encode(vec![7; length]))).is_some();
            assert_eq!([16, 20, 32].iter().filter(|length| fits(**length)).count(), 1, "{algorithm}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}|(sha1|sha256|blake3) [A-Za-z0-9+/=]{0,60}") {
            let _read = parse(&text);
        }
    }
}
