//! The inbox: `PUT` or `POST /inbox/NAME`, one file in one request, for programs that know nothing else (iOS Shortcuts).
//!
//! Such a program cannot make folders, ask what is there, or know what a name stands for: folders are made, a name is made
//! safe, the same bytes again are a success, and other bytes under the name get a free one beside it.
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;

use super::reply::{self, Deny, Reply};
use super::{Shared, announced, upload};
use crate::model::account::Device;
use crate::model::naming;
use crate::model::offer::{Expect, Offer};
use crate::model::path::RelPath;
use crate::model::place::Shelf;
use crate::work::ingest::{Ack, Outcome};
use crate::work::tree::NodeKind;

/// The folder below the device's root.
const FOLDER: &str = "inbox";

/// Takes one file; `rest` is what follows `/inbox/` in the path, as it was sent.
pub(super) async fn take(
    shared: &Arc<Shared>,
    device: Device,
    parts: &Parts,
    rest: &str,
    body: &mut Option<Incoming>,
) -> Result<Reply, Deny> {
    let headers = &parts.headers;
    announced::whole_file(headers)?;
    if is_form(headers) {
        return Err(Deny::Status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the request's body has to be the file itself: in Shortcuts choose Request Body: File",
        ));
    }
    if parts.uri.query().is_some() {
        return Err(Deny::Bad("a name's ? is written %3F, and nothing else has a query"));
    }
    let length = body.as_ref().and_then(|body| body.size_hint().exact());
    let size = announced::size(headers, length);
    if size == Some(0) {
        return Err(Deny::Bad("nothing came: the request's body has to be the file"));
    }
    let mtime = announced::mtime(headers);
    let offer = Offer {
        path: target(&device, rest)?,
        by: device,
        size,
        declared: announced::checksums(headers)?,
        mtime,
        ctime: None,
        expect: Expect::FreeOrSame,
        make_parents: true,
    };
    let ack = upload::receive(body, &shared.face, offer, upload::waits(headers)).await?;
    said(&ack, mtime.is_some())
}

/// A form wraps the file in something that is not the file.
fn is_form(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        [&b"multipart/form-data"[..], b"application/x-www-form-urlencoded"]
            .iter()
            .any(|form| kind.eq_ignore_ascii_case(form))
    })
}

/// The name below the device's root. A slash that was encoded is part of a name, and made safe like the rest.
fn target(device: &Device, rest: &str) -> Result<RelPath, Deny> {
    const NAMELESS: Deny = Deny::Bad("a name is needed: /inbox/IMG_0001.HEIC");
    if rest.is_empty() || rest.ends_with('/') {
        return Err(NAMELESS);
    }
    let mut text = format!("{}/{FOLDER}", device.root());
    for raw in rest.split('/').filter(|raw| !raw.is_empty()) {
        let decoded =
            percent_decode_str(raw).decode_utf8().map_err(|_| Deny::Bad("the name is not UTF-8"))?;
        text.push('/');
        text.push_str(&naming::fitting(&decoded).ok_or(NAMELESS)?);
    }
    RelPath::parse(&text).map_err(|_| Deny::Bad("too long, or too many folders"))
}

/// What became of it.
#[derive(serde::Serialize)]
struct Said<'a> {
    /// The name below `photos/`.
    path: &'a str,
    /// `stored`: it is new. `already there`: these bytes were.
    outcome: &'static str,
    /// Bytes.
    size: u64,
    /// BLAKE3, hex: `shoebox receipt` knows it.
    hash: String,
}

fn said(ack: &Ack, mtime_taken: bool) -> Result<Reply, Deny> {
    let node = ack.node();
    let (NodeKind::File { hash, size }, Shelf::Photos) = (node.kind, node.shelf) else {
        return Err(Deny::Bad("an empty file, or one with the name of a temporary one, is not kept"));
    };
    let (status, outcome) = match ack.outcome() {
        Outcome::Created | Outcome::Replaced => (StatusCode::CREATED, "stored"),
        Outcome::Unchanged => (StatusCode::OK, "already there"),
    };
    let said = Said { path: node.path.as_str(), outcome, size, hash: hash.to_string() };
    let mut reply = reply::json(status, &said);
    reply::set_text(&mut reply, hyper::header::ETAG, &hash.etag());
    if mtime_taken {
        reply::set(&mut reply, HeaderName::from_static("x-oc-mtime"), HeaderValue::from_static("accepted"));
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::account::DeviceKind;
    use proptest::prelude::*;

    fn phone() -> Device {
        Device { person: "anna".parse().unwrap(), name: "iphone".parse().unwrap(), kind: DeviceKind::Phone }
    }

    #[test]
    fn names() {
        for (rest, expected) in [
            ("IMG_1.HEIC", Some("anna/iphone/inbox/IMG_1.HEIC")),
            ("2026-11/IMG%201.HEIC", Some("anna/iphone/inbox/2026-11/IMG 1.HEIC")),
            ("//a//b.jpg", Some("anna/iphone/inbox/a/b.jpg")),
            ("a%2Fb.jpg", Some("anna/iphone/inbox/a_b.jpg")),
            ("100%.jpg", Some("anna/iphone/inbox/100%.jpg")),
            (".shoebox/x.jpg", Some("anna/iphone/inbox/_.shoebox/x.jpg")),
            ("%2e%2e/x.jpg", None),
            ("../x.jpg", None),
            ("a/", None),
            ("", None),
            ("%20", None),
            ("%ff.jpg", None),
        ] {
            let found = target(&phone(), rest).ok();
            assert_eq!(found.as_ref().map(RelPath::as_str), expected, "{rest}");
        }
    }

    #[test]
    fn forms_are_no_files() {
        for (kind, expected) in [
            ("multipart/form-data; boundary=x", true),
            ("Application/X-WWW-Form-Urlencoded", true),
            ("image/heic", false),
            ("application/octet-stream", false),
            ("multipart/form-database", false),
        ] {
            let value = HeaderValue::from_static(kind);
            assert_eq!(is_form(&HeaderMap::from_iter([(CONTENT_TYPE, value)])), expected, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_is_below_the_inbox(rest in "\\PC{0,80}|[a-z./%0-9]{0,40}") {
            if let Ok(path) = target(&phone(), &rest) {
                let inbox = RelPath::parse("anna/iphone/inbox").unwrap();
                prop_assert!(path.below(&inbox).is_some(), "{}", path);
            }
        }
    }
}
