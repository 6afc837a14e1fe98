//! tus 1.0, uploads that can be resumed: core, creation, creation-with-upload, termination, checksum and expiration
//! (<https://tus.io/protocols/resumable-upload>, version 1.0.0). For the upload page, and for any tus client that signs in as a
//! device does.
//!
//! A file that comes whole in its creation request goes the ordinary way of an upload at once. Any other waits in parts
//! ([`crate::work::parts`]), each durable before its offset is told, and is put together when the last byte is here; only then
//! is the last request answered. What became of it is told in three headers: `Shoebox-Path` (percent-encoded, below `photos/`),
//! `Shoebox-Hash` (BLAKE3) and `Shoebox-Outcome` (`stored`, or `already-there`).
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Shared;
use super::reply::{self, Deny, Reply};
use super::webdav::date;
use crate::model::account::Device;
use crate::model::hash::ContentHash;
use crate::model::offer::{Expect, Offer};
use crate::model::path::RelPath;
use crate::model::place::Shelf;
use crate::os::clock;
use crate::work::error::Refusal;
use crate::work::ingest::{Ack, Outcome};
use crate::work::parts::{KEPT, Numbering, Part, Said, Upload, UploadId, Whole};
use crate::work::tree::NodeKind;
use metadata::Metadata;

mod checksum;
mod create;
mod look;
mod metadata;
mod patch;
pub(super) mod turns;

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,termination,checksum,expiration";
/// As much as the most parts of one upload hold when none of them is shorter than it must be.
const MOST_BYTES: u64 = 10_000 * patch::PIECE;
/// Methods, for who uses another.
pub(super) const ALLOWED: &str = "OPTIONS, POST, HEAD, GET, PATCH, DELETE";

const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// One request.
#[derive(Clone)]
struct Cx {
    shared: Arc<Shared>,
    device: Device,
    headers: HeaderMap,
}

/// Answers a request at `/tus`; `rest` is what follows: nothing, or the upload's id.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    device: Device,
    parts: &Parts,
    rest: &str,
    body: &mut Option<Incoming>,
) -> Reply {
    let cx = Cx { shared: Arc::clone(shared), device, headers: parts.headers.clone() };
    let done = respond(cx, &parts.method, rest, body).await.map_err(|deny| {
        if matches!(deny, Deny::Refused(Refusal::WrongHash(_))) { wrong_hash() } else { deny }
    });
    refuse(&parts.method, done)
}

/// The answer, also to who was refused at the door.
pub(super) fn refuse(method: &Method, done: Result<Reply, Deny>) -> Reply {
    let mut reply = done.unwrap_or_else(|deny| reply::deny(method, &deny));
    let own = own_status(method, reply.status());
    if own != reply.status() {
        *reply.status_mut() = own;
    }
    reply::set(&mut reply, HeaderName::from_static("tus-resumable"), HeaderValue::from_static(VERSION));
    reply::set(&mut reply, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Where this dialect has a status of its own. tus-js-client takes any answer to `HEAD` but a success and 423 for the end of the
/// upload, and begins it anew (`lib/upload.js`): what may heal is locked to it, as long as that lasts.
fn own_status(method: &Method, status: StatusCode) -> StatusCode {
    if *method == Method::HEAD && status == StatusCode::SERVICE_UNAVAILABLE {
        StatusCode::LOCKED
    } else {
        status
    }
}

async fn respond(cx: Cx, method: &Method, rest: &str, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
    // What a proxy does not let through comes as POST.
    let method = match single(&cx.headers, "x-http-method-override") {
        Some(other) if *method == Method::POST => {
            Method::from_bytes(other.as_bytes()).map_err(|_| Deny::Method(ALLOWED))?
        }
        Some(_) | None => method.clone(),
    };
    if method == Method::OPTIONS {
        return Ok(about());
    }
    if single(&cx.headers, "tus-resumable") != Some(VERSION) {
        let mut reply = reply::text(StatusCode::PRECONDITION_FAILED, "this is tus 1.0.0");
        reply::set(&mut reply, HeaderName::from_static("tus-version"), HeaderValue::from_static(VERSION));
        return Ok(reply);
    }
    match (method, rest) {
        (Method::POST, "") => create::create(cx, body).await,
        (Method::HEAD | Method::GET, id) if !id.is_empty() => look::look(cx, id).await,
        (Method::PATCH, id) if !id.is_empty() => patch::patch(cx, id, body).await,
        (Method::DELETE, id) if !id.is_empty() => look::end(cx, id).await,
        _ => Err(Deny::Method(ALLOWED)),
    }
}

/// What this server speaks.
fn about() -> Reply {
    let mut reply = reply::bare(StatusCode::NO_CONTENT);
    for (name, value) in [
        ("tus-version", VERSION),
        ("tus-extension", EXTENSIONS),
        ("tus-checksum-algorithm", checksum::ALGORITHMS),
    ] {
        reply::set(&mut reply, HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    reply::set(&mut reply, HeaderName::from_static("tus-max-size"), HeaderValue::from(MOST_BYTES));
    reply
}

/// 460, for bytes that do not hash to what was announced (tus 1.0 "Checksum").
fn wrong_hash() -> Deny {
    let mismatch = StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST);
    Deny::Status(mismatch, "the bytes do not have the announced checksum")
}

/// A header that is there once, as text.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let (value, None) = (all.next()?, all.next()) else { return None };
    value.to_str().ok().map(str::trim)
}

/// A number as tus writes it: digits and nothing else.
fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = single(headers, name.as_str())?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// How much is here without a gap: where the client goes on.
fn offset(parts: &[Part]) -> u64 {
    parts.iter().fold(0, |at, part| if part.number == at { at + part.size } else { at })
}

/// The note under which the name is kept that an upload was given when it began.
const PATH: &str = "path";
/// And the header with all that its client said.
const SAID: &str = "metadata";

impl Cx {
    fn id(&self, client_id: &str) -> UploadId {
        UploadId::of(&self.device, "tus", client_id)
    }

    /// Finds an upload of this device. Blocking.
    fn find(&self, id: &UploadId) -> Result<Upload, Deny> {
        self.shared.face.parts.look(id)?.ok_or(Deny::Refused(Refusal::NotFound))
    }
}

/// The offer of a file whose parts are all here.
fn offer(by: &Device, said: &Said) -> Result<Offer, Deny> {
    let note = |key: &str| said.notes.get(key).map(String::as_str);
    let metadata = Metadata::parse(note(SAID).unwrap_or_default())?;
    let path =
        note(PATH).and_then(|path| RelPath::parse(path).ok()).ok_or(Deny::Refused(Refusal::NotFound))?;
    Ok(offered(by, path, &metadata, said.total))
}

fn offered(by: &Device, path: RelPath, metadata: &Metadata, size: Option<u64>) -> Offer {
    Offer {
        by: by.clone(),
        path,
        size,
        declared: metadata.declared.clone(),
        mtime: metadata.mtime,
        ctime: None,
        // A browser does not know what a name stands for, and some phones call every photo image.jpg.
        expect: Expect::FreeOrSame,
        make_parents: true,
    }
}

/// Puts the parts together, or tells again what became of them. Blocking.
fn assemble(shared: &Shared, by: &Device, id: &UploadId, upload: &Upload) -> Result<Became, Deny> {
    let parts = &shared.face.parts;
    let whole = Whole { total: upload.said.total, numbering: Numbering::Offsets };
    let ack = match parts.assemble(id, whole, offer(by, &upload.said)?) {
        Ok(ack) => ack,
        Err(wrong @ Refusal::WrongHash(_)) => {
            // No other bytes will come for these: the client begins anew.
            parts.abandon(id)?;
            return Err(Deny::Refused(wrong));
        }
        Err(refusal) => return Err(Deny::Refused(refusal)),
    };
    Became::of(&ack, upload.assembled.as_ref().is_none_or(|before| before.created))
}

/// What became of an upload that is whole.
struct Became {
    path: RelPath,
    hash: ContentHash,
    size: u64,
    stored: bool,
}

impl Became {
    /// `created`: what was on record of it, if it is told again.
    fn of(ack: &Ack, created: bool) -> Result<Self, Deny> {
        let node = ack.node();
        let (NodeKind::File { hash, size }, Shelf::Photos) = (node.kind, node.shelf) else {
            return Err(Deny::Bad("an empty file, or one with the name of a temporary one, is not kept"));
        };
        let stored = created && ack.outcome() != Outcome::Unchanged;
        Ok(Self { path: node.path.clone(), hash, size, stored })
    }

    fn tell(&self, reply: &mut Reply) {
        const PLAIN: &AsciiSet =
            &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
        let path = utf8_percent_encode(self.path.as_str(), PLAIN).to_string();
        reply::set_text(reply, HeaderName::from_static("shoebox-path"), &path);
        reply::set_text(reply, HeaderName::from_static("shoebox-hash"), &self.hash.to_string());
        let outcome = HeaderValue::from_static(if self.stored { "stored" } else { "already-there" });
        reply::set(reply, HeaderName::from_static("shoebox-outcome"), outcome);
        reply::set(reply, OFFSET, HeaderValue::from(self.size));
    }
}

/// Until when what is here is kept if nothing more comes (tus 1.0 "Expiration").
fn expires(reply: &mut Reply) {
    if let Some(date) = clock::now().checked_add(KEPT).ok().and_then(date::http) {
        reply::set_text(reply, HeaderName::from_static("upload-expires"), &date);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_refusal_has_its_status() {
        let code = |method: &Method, deny| refuse(method, Err(deny)).status().as_u16();
        type Make = fn() -> Refusal;
        let table: [(Make, u16, u16); 6] = [
            (|| Refusal::Unavailable { why: String::new() }, 503, 423),
            (|| Refusal::Catalogue(String::new()), 503, 423),
            (|| Refusal::Full { needed: 1, available: 0 }, 507, 507),
            (|| Refusal::OverQuota { needed: 1, available: 0 }, 507, 507),
            (|| Refusal::NotFound, 404, 404),
            (|| Refusal::TooMany("parts"), 400, 400),
        ];
        for (refusal, to_patch, to_head) in table {
            let words = refusal().to_string();
            assert_eq!(code(&Method::PATCH, Deny::Refused(refusal())), to_patch, "{words}");
            assert_eq!(code(&Method::HEAD, Deny::Refused(refusal())), to_head, "{words}");
        }
        assert_eq!(code(&Method::PATCH, wrong_hash()), 460);
        let locked = refuse(&Method::HEAD, Err(Deny::Refused(Refusal::Catalogue(String::new()))));
        assert!(locked.headers().contains_key(hyper::header::RETRY_AFTER));
    }

    fn parts(all: &[(u64, u64)]) -> Vec<Part> {
        all.iter().map(|&(number, size)| Part { number, size }).collect()
    }

    #[test]
    fn offsets() {
        for (all, expected) in
            [(&[][..], 0), (&[(0, 5)], 5), (&[(0, 5), (5, 7)], 12), (&[(0, 5), (6, 7)], 5), (&[(1, 5)], 0)]
        {
            assert_eq!(offset(&parts(all)), expected, "{all:?}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_digits_or_none(text in "[ +0-9a-f]{0,24}") {
            let mut headers = HeaderMap::new();
            headers.insert(LENGTH, text.parse().unwrap());
            if let Some(found) = number(&headers, &LENGTH) {
                let digits = text.trim();
                prop_assert_eq!(format!("{found:0>width$}", width = digits.len()), digits);
            }
            headers.append(LENGTH, text.parse().unwrap());
            prop_assert_eq!(number(&headers, &LENGTH), None);
        }
    }
}
