//! PUT: the headers of an upload turned into an `Offer`.
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, IF_MATCH, IF_NONE_MATCH, TRANSFER_ENCODING,
};
use hyper::{HeaderMap, StatusCode};

use super::locks::Touched;
use super::{Cx, Flavour, Taken, describe};
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::upload;
use crate::model::hash::DeclaredHash;
use crate::model::offer::{Expect, Offer};
use crate::work::error::Refusal;
use crate::work::ingest::{Ack, Outcome};
use crate::work::tree::{Node, NodeKind};

pub(super) async fn put(cx: Cx, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
    let waits = upload::waits(&cx.headers);
    let shared = Arc::clone(&cx.shared);
    let length = body.as_ref().and_then(|body| body.size_hint().exact());
    let pool = &shared.face.pool;
    let (flavour, taken) = (cx.flavour.clone(), cx.taken());
    let ack = match upload::whole(body, &shared.face, length, waits).await? {
        Some(pieces) => {
            let ingest = shared.face.ingest.clone();
            let stored = upload::blocking(pool, move || upload::store(&ingest, offer(&cx, length)?, &pieces));
            stored.await?
        }
        None => {
            let offer = upload::blocking(pool, move || offer(&cx, length)).await?;
            upload::receive(body, &shared.face, offer, waits).await?
        }
    };
    Ok(created(&flavour, &ack, taken))
}

/// The offer of a file whose parts are here already. `repeated`: the name has it already, and what the client expected of the name is no
/// question any more.
pub(in crate::face::http) fn assemble_offer(cx: &Cx, repeated: bool) -> Result<Offer, Deny> {
    if !repeated {
        return offered(cx, None);
    }
    Ok(Offer {
        by: cx.device.clone(),
        path: cx.target.path.clone(),
        size: None,
        declared: Vec::new(),
        mtime: cx.announced_mtime(),
        ctime: cx.announced_ctime(),
        expect: Expect::Anything,
        make_parents: false,
    })
}

/// The answer to an upload that was put together.
pub(in crate::face::http) fn assembled_reply(cx: &Cx, ack: &Ack) -> Reply {
    created(&cx.flavour, ack, cx.taken())
}

fn created(flavour: &Flavour, ack: &Ack, taken: Taken) -> Reply {
    let mut reply = reply::bare(match ack.outcome() {
        Outcome::Created => StatusCode::CREATED,
        Outcome::Replaced | Outcome::Unchanged => StatusCode::NO_CONTENT,
    });
    describe(flavour, &mut reply, ack.node(), taken);
    reply
}

/// Everything that can be said before the body. `length`: what HTTP knows of it.
fn offer(cx: &Cx, length: Option<u64>) -> Result<Offer, Deny> {
    // A part of a file sent as PUT would become the whole file (RFC 9110 §14.5).
    if cx.headers.contains_key(CONTENT_RANGE) {
        return Err(Deny::Bad("a part of a file cannot be PUT"));
    }
    if cx
        .headers
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
    if cx.headers.get_all(TRANSFER_ENCODING).iter().any(coded) {
        return Err(Deny::Status(
            StatusCode::NOT_IMPLEMENTED,
            "only chunked is known of the transfer codings",
        ));
    }
    // Without a length there is no body (RFC 9112 §6.3), but a client that sends one and then closes, as a
    // few old programs do, would take our answer for an acknowledgement of it.
    if !cx.headers.contains_key(CONTENT_LENGTH) && !cx.headers.contains_key(TRANSFER_ENCODING) {
        return Err(Deny::Status(StatusCode::LENGTH_REQUIRED, "how long is it?"));
    }
    let size = announced_size(&cx.headers, length);
    if cx.flavour.cloud.is_some() {
        in_one_piece(&cx.headers, size)?;
    }
    offered(cx, size)
}

/// What can be said of an upload whose length is known, or not: under which name, and whether that may be.
pub(super) fn offered(cx: &Cx, size: Option<u64>) -> Result<Offer, Deny> {
    if cx.target.is_root || cx.target.slash {
        return Err(Deny::Refused(Refusal::IsAFolder));
    }
    let declared = declared(&cx.headers)?;
    let there = cx.find(&cx.target.path)?;
    if there.as_ref().is_some_and(|node| node.kind == NodeKind::Folder) {
        return Err(Deny::Refused(Refusal::IsAFolder));
    }
    cx.guard(&[Touched { path: &cx.target.path, member: there.is_none(), deep: false }])?;
    cx.preconditions(there.as_ref())?;
    Ok(Offer {
        by: cx.device.clone(),
        path: cx.target.path.clone(),
        size,
        declared,
        mtime: cx.announced_mtime(),
        ctime: cx.announced_ctime(),
        expect: expect(&cx.headers, there.as_ref()),
        make_parents: cx.is_in_root(&cx.target.path) || cx.flavour.makes_parents(&cx.headers, &cx.device),
    })
}

/// Nextcloud's PUT is a whole file. The chunks of its first protocol, taken for files, would be a tenth of one under a strange name.
fn in_one_piece(headers: &HeaderMap, size: Option<u64>) -> Result<(), Deny> {
    if headers.contains_key("oc-chunked") {
        return Err(Deny::Status(StatusCode::NOT_IMPLEMENTED, "chunks go to /remote.php/dav/uploads"));
    }
    let Some(total) = headers.get("oc-total-length") else { return Ok(()) };
    let total = total.to_str().ok().and_then(|text| text.trim().parse().ok());
    let total: u64 = total.ok_or(Deny::Bad("unreadable OC-Total-Length header"))?;
    match size {
        Some(size) if size != total => {
            Err(Deny::Refused(Refusal::WrongLength { announced: total, received: size }))
        }
        Some(_) | None => Ok(()),
    }
}

/// What must still hold when the bytes are here; the conditions were judged once already.
fn expect(headers: &HeaderMap, there: Option<&Node>) -> Expect {
    match there.map(|node| node.kind) {
        Some(NodeKind::File { hash, .. }) if headers.contains_key(IF_MATCH) || headers.contains_key("if") => {
            Expect::Content(hash)
        }
        None if headers.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == b"*") => Expect::Absent,
        Some(NodeKind::File { .. } | NodeKind::Folder) | None => Expect::Anything,
    }
}

/// The length the client announces: HTTP's own, or what the Finder says when it sends in chunks.
fn announced_size(headers: &HeaderMap, length: Option<u64>) -> Option<u64> {
    let expected = || {
        let text = headers.get("x-expected-entity-length")?.to_str().ok()?.trim();
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
    };
    // hyper knows a chunked body only as "no exact length"; a length of 0 without the header is no announcement.
    length.filter(|length| *length > 0 || headers.contains_key(CONTENT_LENGTH)).or_else(expected).or(length)
}

fn declared(headers: &HeaderMap) -> Result<Vec<DeclaredHash>, Deny> {
    let mut all = Vec::new();
    for value in headers.get_all("oc-checksum") {
        let found = value.to_str().ok().and_then(|text| DeclaredHash::parse_oc(text).ok());
        all.extend(found.ok_or(Deny::Bad("unreadable OC-Checksum header"))?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::ContentHash;
    use crate::model::path::RelPath;
    use crate::model::place::Shelf;
    use jiff::Timestamp;
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
        assert_eq!(announced_size(&finder, None), Some(12));
        assert_eq!(announced_size(&headers(&[("content-length", "5")]), Some(5)), Some(5));
        assert_eq!(announced_size(&headers(&[]), None), None);
        assert_eq!(announced_size(&headers(&[("x-expected-entity-length", "+1")]), None), None);
        assert_eq!(announced_size(&headers(&[]), Some(0)), Some(0));
    }

    #[test]
    fn checksums() {
        let sha1 = "SHA1:a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(declared(&headers(&[("oc-checksum", sha1)])).unwrap().len(), 1);
        assert!(declared(&headers(&[("oc-checksum", "SHA1:xyz")])).is_err());
        assert!(declared(&headers(&[])).unwrap().is_empty());
    }

    #[test]
    fn expectations_outlive_the_body() {
        let hash = ContentHash::of(b"abc");
        let node = Node {
            id: 1,
            path: RelPath::parse("anna/a").unwrap(),
            kind: NodeKind::File { hash, size: 3 },
            mtime: Timestamp::UNIX_EPOCH,
            ctime: None,
            changed: 0,
            created: Timestamp::UNIX_EPOCH,
            shelf: Shelf::Photos,
        };
        assert_eq!(expect(&headers(&[("if-match", "*")]), Some(&node)), Expect::Content(hash));
        assert_eq!(expect(&headers(&[("if-none-match", "*")]), None), Expect::Absent);
        assert_eq!(expect(&headers(&[]), Some(&node)), Expect::Anything);
    }

    proptest! {
        #[test]
        fn an_expected_length_is_a_number_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..24), digits in "[ +0-9]{0,22}") {
            for bytes in [bytes.as_slice(), digits.as_bytes()] {
                let Ok(value) = hyper::header::HeaderValue::from_bytes(bytes) else { continue };
                let mut map = HeaderMap::new();
                map.insert("x-expected-entity-length", value);
                if let Some(size) = announced_size(&map, None) {
                    let text = std::str::from_utf8(bytes).unwrap().trim();
                    prop_assert_eq!(format!("{size:0>width$}", width = text.len()), text);
                }
            }
        }

        #[test]
        fn the_length_of_http_comes_first(expected: u64, length: u64) {
            let text = expected.to_string();
            let chunked = headers(&[("x-expected-entity-length", &text)]);
            prop_assert_eq!(announced_size(&chunked, None), Some(expected));
            prop_assert_eq!(announced_size(&chunked, Some(0)), Some(expected));
            let plain = headers(&[("x-expected-entity-length", &text), ("content-length", "1")]);
            prop_assert_eq!(announced_size(&plain, Some(length)), Some(length));
        }
    }
}
