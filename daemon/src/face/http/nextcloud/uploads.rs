//! Uploads in chunks, version 2: a folder of one's own, numbered chunks in it, and a MOVE that makes a file of them.
//!
//! Every client names its chunks in its own way (`1`, `000001`, `0000000000000000`, rclone `000000000000000-000000005000000`); the first
//! number is what counts.
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};

use super::android::{self, Told};
use super::properties::{HEAD, TAIL};
use crate::face::http::Shared;
use crate::face::http::hosts::Authority;
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::upload::{self, IfBroken};
use crate::face::http::webdav::propfind::Wanted;
use crate::face::http::webdav::xml::{self, DAV, Name};
use crate::face::http::webdav::{Cx, Flavour, assemble_offer, assembled_reply, xml_reply};
use crate::model::account::Device;
use crate::work::error::Refusal;
use crate::work::parts::{Numbering, Part, Said, Upload, UploadId, Whole};

/// The longest id of an upload, bytes.
const MOST_ID: usize = 200;

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// The folder of all uploads.
    All,
    /// An upload.
    Upload(String),
    /// A chunk of it.
    Chunk(String, u64),
    /// All its chunks as one file.
    File(String),
}

impl Named {
    /// Reads what follows the person. `None`: there is nothing of the kind.
    fn read(rest: &str) -> Option<Self> {
        let mut parts = rest.split('/').filter(|part| !part.is_empty());
        let (Some(id), chunk, None) = (parts.next(), parts.next(), parts.next()) else {
            return rest.bytes().all(|b| b == b'/').then_some(Self::All);
        };
        if id.len() > MOST_ID || id.starts_with('.') {
            return None;
        }
        let id = id.to_owned();
        match chunk {
            None => Some(Self::Upload(id)),
            Some(".file") => Some(Self::File(id)),
            Some(name) => {
                // rclone's names say from where to where.
                let (from, to) = name.split_once('-').map_or((name, None), |(from, to)| (from, Some(to)));
                to.map_or(Some(0), number)?;
                Some(Self::Chunk(id, number(from)?))
            }
        }
    }
}

fn number(digits: &str) -> Option<u64> {
    let fits = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| digits.parse().ok()).flatten()
}

/// One request.
struct Asked {
    shared: Arc<Shared>,
    device: Device,
    id: UploadId,
}

/// Answers a request below `/remote.php/dav/uploads/<person>`.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    device: Device,
    (here, flavour): (Authority, Flavour),
    parts: &Parts,
    rest: &str,
    body: &mut Option<Incoming>,
) -> Result<Reply, Deny> {
    let named = Named::read(rest).ok_or(Deny::Refused(Refusal::NotFound))?;
    let (method, headers) = (parts.method.as_str(), parts.headers.clone());
    let href = parts.uri.path().trim_end_matches('/').to_owned();
    let text = match method {
        "PUT" => Vec::new(),
        _ => upload::collect(body.take(), xml::MOST_BYTES as u64, shared.face.limits.body_idle).await?,
    };
    let client_id = match &named {
        Named::All => String::new(),
        Named::Upload(id) | Named::Chunk(id, _) | Named::File(id) => id.clone(),
    };
    let id = UploadId::of(&device, "nextcloud", &client_id);
    let asked = Asked { shared: Arc::clone(shared), device: device.clone(), id };
    let pool = &shared.face.pool;
    match (method, named) {
        ("PROPFIND", Named::All) => upload::blocking(pool, move || list(&headers, &text, &href, &[])).await,
        ("PROPFIND", Named::Upload(_)) => {
            upload::blocking(pool, move || {
                let upload = asked.find()?;
                list(&headers, &text, &href, &upload.parts)
            })
            .await
        }
        ("MKCOL", Named::Upload(_)) => {
            let total = total(&headers)?;
            upload::blocking(pool, move || asked.open(total)).await
        }
        ("PUT", Named::Chunk(_, number)) => asked.put(number, body).await,
        ("DELETE", Named::Upload(_)) => {
            upload::blocking(pool, move || asked.give_up(|parts, id| parts.abandon(id))).await
        }
        ("DELETE", Named::Chunk(_, number)) => {
            upload::blocking(pool, move || asked.give_up(|parts, id| parts.drop_part(id, number))).await
        }
        ("MOVE", Named::File(client_id)) => {
            let cx = Cx::towards(shared, device, (here, flavour), parts)?;
            upload::blocking(pool, move || asked.assemble(&cx, &client_id)).await
        }
        (_, Named::Upload(_)) => Err(Deny::Method("MKCOL, PROPFIND, DELETE")),
        (_, Named::Chunk(..)) => Err(Deny::Method("PUT, DELETE")),
        (_, Named::File(_)) => Err(Deny::Method("MOVE")),
        (_, Named::All) => Err(Deny::Method("PROPFIND")),
    }
}

impl Asked {
    fn find(&self) -> Result<Upload, Deny> {
        let found = self.shared.face.parts.look(&self.id)?;
        found.filter(|upload| upload.assembled.is_none()).ok_or(Deny::Refused(Refusal::NotFound))
    }

    fn open(&self, total: Option<u64>) -> Result<Reply, Deny> {
        let said = Said { total, ..Said::default() };
        match self.shared.face.parts.open(&self.device, &self.id, &said)? {
            (_, true) => Ok(reply::bare(StatusCode::CREATED)),
            (_, false) => Err(Deny::Method("PROPFIND, DELETE")),
        }
    }

    fn give_up(
        &self,
        act: impl FnOnce(&crate::work::parts::Parts, &UploadId) -> Result<(), Refusal>,
    ) -> Result<Reply, Deny> {
        act(&self.shared.face.parts, &self.id)?;
        Ok(reply::bare(StatusCode::NO_CONTENT))
    }

    async fn put(self, number: u64, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
        let size = body.as_ref().and_then(|body| body.size_hint().exact());
        let (parts, id, face) = (self.shared.face.parts.clone(), self.id, Arc::clone(&self.shared));
        let begin = move || parts.begin(&id, number, size);
        upload::receive_part(body, &face.face, IfBroken::Drop, begin).await?;
        Ok(reply::bare(StatusCode::CREATED))
    }

    /// Makes a file of the chunks, or says once more what became of them.
    fn assemble(&self, cx: &Cx, client_id: &str) -> Result<Reply, Deny> {
        let upload = self.shared.face.parts.look(&self.id)?.ok_or(Deny::Refused(Refusal::NotFound))?;
        let stated = total(&cx.headers)?;
        if let (Some(now), Some(before)) = (stated, upload.said.total)
            && now != before
        {
            return Err(Deny::Bad("another OC-Total-Length than before"));
        }
        let total = stated.or(upload.said.total);
        let whole = whole(total, &upload);
        // What the name had when the first attempt was made holds no more if that was carried out.
        let offer = assemble_offer(cx, upload.assembled.is_some())?;
        if upload.assembled.is_none()
            && total.is_none()
            && let Some(made) = offer.mtime
        {
            let received = upload.received();
            if android::told(client_id, offer.path.name(), made.as_second(), received) == Told::OneShort {
                return Err(Deny::Refused(Refusal::WrongLength { announced: received + 1, received }));
            }
        }
        let ack = self.shared.face.parts.assemble(&self.id, whole, offer)?;
        Ok(assembled_reply(cx, &ack))
    }
}

/// What the chunks have to be. Who states no length counts them from one (Android), or numbers them by their offsets (rclone): no gap
/// between them goes unseen.
fn whole(total: Option<u64>, upload: &Upload) -> Whole {
    let is_offset = upload.parts.first().is_some_and(|first| first.number == 0);
    match total {
        Some(_) => Whole { total, numbering: Numbering::Rising },
        None if is_offset => Whole { total: Some(upload.received()), numbering: Numbering::Offsets },
        None => Whole { total: None, numbering: Numbering::From(1) },
    }
}

/// `OC-Total-Length`, if it is stated.
fn total(headers: &HeaderMap) -> Result<Option<u64>, Deny> {
    let Some(text) = headers.get("oc-total-length") else { return Ok(None) };
    let digits = text.to_str().ok().map(str::trim).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let total = digits.and_then(|digits| digits.parse().ok());
    total.map(Some).ok_or(Deny::Bad("unreadable OC-Total-Length header"))
}

/// What is here of an upload. Only what was asked for: whatever else is shown, the Android app takes for names.
fn list(headers: &HeaderMap, body: &[u8], href: &str, parts: &[Part]) -> Result<Reply, Deny> {
    let names = match Wanted::read(body)? {
        Wanted::These(names) => names,
        Wanted::All(_) | Wanted::Names => {
            let name = |local: &str| Name { namespace: DAV.to_owned(), local: local.to_owned() };
            ["resourcetype", "getcontentlength", "getcontenttype"].map(name).to_vec()
        }
    };
    let mut out = String::from(HEAD);
    write(&names, &format!("{href}/"), None, &mut out);
    if super::properties::is_deep(headers) {
        for part in parts {
            write(&names, &format!("{href}/{:06}", part.number), Some(part.size), &mut out);
        }
    }
    out.push_str(TAIL);
    Ok(xml_reply(StatusCode::MULTI_STATUS, out))
}

fn write(names: &[Name], href: &str, size: Option<u64>, out: &mut String) {
    let mut props = String::new();
    for name in names.iter().filter(|name| name.namespace == DAV) {
        match (name.local.as_str(), size) {
            ("resourcetype", None) => props.push_str("<d:resourcetype><d:collection/></d:resourcetype>"),
            ("resourcetype", Some(_)) => props.push_str("<d:resourcetype/>"),
            ("getcontentlength", Some(size)) => {
                props.push_str(&format!("<d:getcontentlength>{size}</d:getcontentlength>"));
            }
            ("getcontenttype", Some(_)) => {
                props.push_str("<d:getcontenttype>application/octet-stream</d:getcontenttype>");
            }
            _ => {}
        }
    }
    out.extend(["<d:response><d:href>", href, "</d:href><d:propstat><d:prop>", &props]);
    out.push_str("</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_every_client() {
        let chunk = |id: &str, number| Some(Named::Chunk(id.to_owned(), number));
        for (rest, expected) in [
            ("", Some(Named::All)),
            ("//", Some(Named::All)),
            ("/abc", Some(Named::Upload("abc".to_owned()))),
            ("/abc/", Some(Named::Upload("abc".to_owned()))),
            ("/abc/1", chunk("abc", 1)),
            ("/abc/10", chunk("abc", 10)),
            ("/abc/000001", chunk("abc", 1)),
            ("/abc//00001", chunk("abc", 1)),
            ("/abc/0000000000000000", chunk("abc", 0)),
            ("/abc/000000005000000-000000010000000", chunk("abc", 5_000_000)),
            ("/abc/1-", None),
            ("/abc/-1", None),
            ("/abc/1-2-3", None),
            ("/abc/18446744073709551615", chunk("abc", u64::MAX)),
            ("/abc/18446744073709551616", None),
            ("/abc/000000000000000000001", None),
            ("/abc/+1", None),
            ("/abc/x", None),
            ("/abc/.file", Some(Named::File("abc".to_owned()))),
            ("/abc/.file/x", None),
            ("/../x", None),
            ("/.file", None),
        ] {
            assert_eq!(Named::read(rest), expected, "{rest}");
        }
    }

    #[test]
    fn without_a_length_no_gap_goes_unseen() {
        let of = |parts: &[(u64, u64)], total| {
            let parts: Vec<Part> = parts.iter().map(|&(number, size)| Part { number, size }).collect();
            let upload = Upload { said: Said::default(), parts: parts.clone(), assembled: None };
            whole(total, &upload).of(&parts).is_ok()
        };
        assert!(of(&[(1, 10), (2, 10)], None) && of(&[(0, 10), (10, 3)], None));
        assert!(!of(&[(2, 10)], None) && !of(&[(1, 10), (3, 10)], None) && !of(&[], None));
        assert!(!of(&[(0, 10), (20, 3)], None) && !of(&[(10, 3)], None) && !of(&[(0, 10), (1, 10)], None));
        assert!(of(&[(0, 10), (1, 10)], Some(20)) && !of(&[(0, 10), (1, 10)], Some(30)));
    }

    #[test]
    fn a_listing_has_only_what_was_asked_for() {
        let body = b"<d:propfind xmlns:d=\"DAV:\"><d:prop><d:getcontentlength/><d:displayname/></d:prop></d:propfind>";
        let headers = HeaderMap::from_iter([(
            hyper::header::HeaderName::from_static("depth"),
            hyper::header::HeaderValue::from_static("1"),
        )]);
        let reply = list(
            &headers,
            body,
            "/remote.php/dav/uploads/anna/x",
            &[Part { number: 0, size: 7 }, Part { number: 12, size: 8 }],
        )
        .unwrap();
        let crate::face::http::body::Payload::Whole(body) = reply.into_body() else { panic!("short") };
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("/x/000000</d:href>") && text.contains("/x/000012</d:href>"), "{text}");
        assert!(text.contains("<d:getcontentlength>8</d:getcontentlength>"), "{text}");
        assert!(!text.contains("displayname") && !text.contains("resourcetype"), "{text}");
    }

    proptest! {
        #[test]
        fn never_panics(rest in "\\PC{0,40}", digits in "/[a-z]{1,3}/[0-9+. -]{0,22}") {
            for rest in [rest, digits] {
                if let Some(Named::Chunk(_, number)) = Named::read(&rest) {
                    prop_assert!(rest.contains(&number.to_string()));
                }
            }
        }
    }
}
