//! `PATCH`: bytes from an offset on (tus 1.0 "Core Protocol").
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use tokio::sync::OwnedMutexGuard;

use super::turns::Turn;
use super::{Became, Cx, OFFSET, assemble, checksum, expires, number, offset};
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::upload::{self, Sink};
use crate::face::http::{Shared, announced};
use crate::model::account::Device;
use crate::model::hash::{Also, DeclaredHash, Hasher};
use crate::work::error::Refusal;
use crate::work::parts::{Incomplete, Upload, UploadId};

/// A body is put away in parts of this length while it comes: no more than that of it is sent again after a power cut.
pub(super) const PIECE: u64 = 32 << 20;

pub(super) const NOT_BYTES: Deny =
    Deny::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body has to be application/offset+octet-stream");

pub(super) fn is_bytes(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let (kind, more) = (all.next(), all.next());
    more.is_none()
        && kind.is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"application/offset+octet-stream"))
}

pub(super) async fn patch(cx: Cx, client_id: &str, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
    announced::whole_file(&cx.headers)?;
    if !is_bytes(&cx.headers) {
        return Err(NOT_BYTES);
    }
    let from = number(&cx.headers, &OFFSET).ok_or(Deny::Bad("Upload-Offset is needed"))?;
    let id = cx.id(client_id);
    let turn = cx.shared.turns.take(&id).await?;
    let (asking, wanted) = (cx.clone(), id.clone());
    let upload = upload::blocking(&cx.shared.face.pool, move || asking.find(&wanted)).await?;
    stretch(cx, id, turn, upload, from, body).await
}

/// Takes the body from `from` on, and puts the whole together if that was the last of it.
pub(super) async fn stretch(
    cx: Cx,
    id: UploadId,
    turn: Turn,
    upload: Upload,
    from: u64,
    body: &mut Option<Incoming>,
) -> Result<Reply, Deny> {
    let total = upload.said.total.unwrap_or(0);
    let here = if upload.assembled.is_some() { total } else { offset(&upload.parts) };
    if from != here {
        return Err(Deny::Status(
            StatusCode::CONFLICT,
            "this is not where the upload is: ask for its offset",
        ));
    }
    let length = body.as_ref().and_then(|body| body.size_hint().exact());
    if length.is_some_and(|length| length > total - here) {
        return Err(Deny::Status(StatusCode::PAYLOAD_TOO_LARGE, "more than Upload-Length"));
    }
    let (held, give_way) = turn.split();
    let check = checksum::announced(&cx.headers)?;
    let end = here + length.unwrap_or(total - here);
    let (shared, device) = (Arc::clone(&cx.shared), cx.device.clone());
    let begin = move || Stretch::begin(shared, device, id, upload, here..end, check, held);
    let outcome = tokio::select! {
        outcome = upload::pump(body, &cx.shared.face, begin) => outcome?,
        // What came is kept by the thread that writes it; only then is the other told how much that is.
        () = give_way => return Err(Deny::Status(StatusCode::CONFLICT, "the client came back on another connection")),
    };
    let mut reply = reply::bare(StatusCode::NO_CONTENT);
    match outcome {
        Reached::Offset(offset) => {
            reply::set(&mut reply, OFFSET, HeaderValue::from(offset));
            expires(&mut reply);
        }
        Reached::End(became) => became.tell(&mut reply),
    }
    Ok(reply)
}

/// How far a request got.
pub(super) enum Reached {
    /// To here.
    Offset(u64),
    /// To the end: this became of the whole.
    End(Became),
}

/// The bytes of one request on their way into parts.
struct Stretch {
    shared: Arc<Shared>,
    device: Device,
    id: UploadId,
    upload: Upload,
    /// The part that grows.
    part: Option<Incomplete>,
    /// Where it begins.
    at: u64,
    /// Where the request ends, if it says so.
    end: u64,
    /// What all its bytes must hash to. Nothing of it is kept before that is known.
    check: Option<Hasher>,
    /// Given back when what came is put away, also if the request is long gone by then.
    _held: OwnedMutexGuard<()>,
}

impl Stretch {
    fn begin(
        shared: Arc<Shared>,
        device: Device,
        id: UploadId,
        upload: Upload,
        range: std::ops::Range<u64>,
        check: Option<DeclaredHash>,
        held: OwnedMutexGuard<()>,
    ) -> Result<Self, Deny> {
        let check = check.map(|hash| Hasher::new(Also::default(), &[hash]));
        let (at, end) = (range.start, range.end);
        let mut stretch = Self { shared, device, id, upload, part: None, at, end, check, _held: held };
        // Refused before a byte has come, where it is refused at all.
        if at < end {
            stretch.part = Some(stretch.open()?);
        }
        Ok(stretch)
    }

    fn open(&self) -> Result<Incomplete, Refusal> {
        let left = self.end - self.at;
        let size = if self.check.is_some() { left } else { left.min(PIECE) };
        self.shared.face.parts.begin(&self.id, self.at, Some(size))
    }

    /// Puts the part that grows away; it is durable from then on.
    fn keep(&mut self) -> Result<(), Refusal> {
        if let Some(part) = self.part.take().filter(|part| part.received() > 0) {
            self.at += part.keep()?.size;
        }
        Ok(())
    }
}

impl Sink for Stretch {
    type Done = Reached;

    fn write(&mut self, bytes: &Bytes) -> Result<(), Deny> {
        let mut bytes: &[u8] = bytes;
        if let Some(check) = &mut self.check {
            check.update(bytes);
        }
        while !bytes.is_empty() {
            let mut part = match self.part.take() {
                Some(part) => part,
                None if self.at < self.end => self.open()?,
                None => {
                    let received = self.at + bytes.len() as u64;
                    return Err(Deny::Refused(Refusal::WrongLength { announced: self.end, received }));
                }
            };
            let most = if self.check.is_some() { u64::MAX } else { PIECE - part.received() };
            let (now, rest) = bytes.split_at(bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX)));
            part.write(now)?;
            bytes = rest;
            let is_full = self.check.is_none() && part.received() >= PIECE;
            self.part = Some(part);
            if is_full {
                self.keep()?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Reached, Deny> {
        if let Some(check) = self.check.take() {
            let _digests = check.finish().map_err(Refusal::WrongHash)?;
        }
        self.keep()?;
        if Some(self.at) != self.upload.said.total {
            return Ok(Reached::Offset(self.at));
        }
        Ok(Reached::End(assemble(&self.shared, &self.device, &self.id, &self.upload)?))
    }

    fn break_off(mut self) {
        // What nobody can compare any more is not kept.
        if self.check.is_some() {
            return;
        }
        if let Err(e) = self.keep() {
            log::info!("what came of an upload is not kept: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_said_to_be_bytes() {
        for (kind, expected) in [
            ("application/offset+octet-stream", true),
            ("Application/Offset+Octet-Stream", true),
            ("application/octet-stream", false),
            ("application/offset+octet-stream; charset=utf-8", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(is_bytes(&headers), expected, "{kind}");
            headers.append(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert!(!is_bytes(&headers));
        }
        assert!(!is_bytes(&HeaderMap::new()));
    }
}
