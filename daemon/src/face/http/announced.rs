//! What the headers of an upload announce: that the body is a whole file, its length, its hashes, its date.
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::reply::Deny;
use super::webdav::date;
use crate::model::hash::DeclaredHash;

/// Refuses bodies that are not the bytes of a file from its first to its last.
pub(super) fn whole_file(headers: &HeaderMap) -> Result<(), Deny> {
    // A part of a file sent as PUT would become the whole file (RFC 9110 §14.5).
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Deny::Bad("a part of a file cannot be PUT"));
    }
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(Deny::Status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "files are taken as they are, not encoded",
        ));
    }
    // RFC 9112 §6.1: what was encoded on the way would be stored as it came.
    let coded = |coding: &HeaderValue| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if headers.get_all(TRANSFER_ENCODING).iter().any(coded) {
        return Err(Deny::Status(
            StatusCode::NOT_IMPLEMENTED,
            "only chunked is known of the transfer codings",
        ));
    }
    // Without a length there is no body (RFC 9112 §6.3), but a client that sends one and then closes, as a
    // few old programs do, would take our answer for an acknowledgement of it.
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        return Err(Deny::Status(StatusCode::LENGTH_REQUIRED, "how long is it?"));
    }
    Ok(())
}

/// The length the client announces: HTTP's own, or what the Finder says when it sends in chunks.
pub(super) fn size(headers: &HeaderMap, length: Option<u64>) -> Option<u64> {
    let expected = || {
        let text = headers.get("x-expected-entity-length")?.to_str().ok()?.trim();
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
    };
    // hyper knows a chunked body only as "no exact length"; a length of 0 without the header is no announcement.
    length.filter(|length| *length > 0 || headers.contains_key(CONTENT_LENGTH)).or_else(expected).or(length)
}

/// The hashes the client announces (`OC-Checksum`, as ownCloud's and Nextcloud's programs send it).
pub(super) fn checksums(headers: &HeaderMap) -> Result<Vec<DeclaredHash>, Deny> {
    let mut all = Vec::new();
    for value in headers.get_all("oc-checksum") {
        let found = value.to_str().ok().and_then(|text| DeclaredHash::parse_oc(text).ok());
        all.extend(found.ok_or(Deny::Bad("unreadable OC-Checksum header"))?);
    }
    Ok(all)
}

/// The modification time the client announces (`X-OC-Mtime`: seconds since 1970). An unreadable one is left out, and so is
/// the `accepted` that tells the client that it was taken.
pub(super) fn mtime(headers: &HeaderMap) -> Option<Timestamp> {
    headers.get("x-oc-mtime").and_then(|value| value.to_str().ok()).and_then(date::parse_unix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn lengths() {
        let finder = headers(&[("x-expected-entity-length", "12")]);
        assert_eq!(size(&finder, None), Some(12));
        assert_eq!(size(&headers(&[("content-length", "5")]), Some(5)), Some(5));
        assert_eq!(size(&headers(&[]), None), None);
        assert_eq!(size(&headers(&[("x-expected-entity-length", "+1")]), None), None);
        assert_eq!(size(&headers(&[]), Some(0)), Some(0));
    }

    #[test]
    fn announced_checksums() {
        let sha1 = "SHA1:a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(checksums(&headers(&[("oc-checksum", sha1)])).unwrap().len(), 1);
        assert!(checksums(&headers(&[("oc-checksum", "SHA1:xyz")])).is_err());
        assert!(checksums(&headers(&[])).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn an_expected_length_is_a_number_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..24), digits in "[ +0-9]{0,22}") {
            for bytes in [bytes.as_slice(), digits.as_bytes()] {
                let Ok(value) = hyper::header::HeaderValue::from_bytes(bytes) else { continue };
                let mut map = HeaderMap::new();
                map.insert("x-expected-entity-length", value);
                if let Some(found) = size(&map, None) {
                    let text = std::str::from_utf8(bytes).unwrap().trim();
                    prop_assert_eq!(format!("{found:0>width$}", width = text.len()), text);
                }
            }
        }

        #[test]
        fn the_length_of_http_comes_first(expected: u64, length: u64) {
            let text = expected.to_string();
            let chunked = headers(&[("x-expected-entity-length", &text)]);
            prop_assert_eq!(size(&chunked, None), Some(expected));
            prop_assert_eq!(size(&chunked, Some(0)), Some(expected));
            let plain = headers(&[("x-expected-entity-length", &text), ("content-length", "1")]);
            prop_assert_eq!(size(&plain, Some(length)), Some(length));
        }
    }
}
