//! Photos by their SHA-1: whether one is here, sending it, and going on where sending was cut off.
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderValue, IF_MATCH};
use hyper::{HeaderMap, StatusCode};
use jiff::tz::TimeZone;

use super::live;
use super::name::Told;
use super::{Cx, DIALECT};
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::upload::{self, IfBroken};
use crate::model::hash::{DeclaredHash, hex};
use crate::model::offer::{Expect, Offer};
use crate::work::error::Refusal;
use crate::work::ingest::{Ack, Outcome};
use crate::work::parts::{Numbering, Said, Upload, UploadId, Whole};

/// From this size on, what came of an upload that is cut off is kept, and gone on with. Below it is sent again, which costs less
/// than a record, and the flush of that, for every photo.
const RESUMED: u64 = 4 << 20;

impl Cx {
    fn id(&self) -> UploadId {
        UploadId::of(&self.device, DIALECT, &hex(&self.sha1))
    }

    fn zone() -> TimeZone {
        TimeZone::system()
    }

    /// Whether the person has it, whole.
    fn is_here(&self) -> Result<bool, Refusal> {
        let found = self.shared.face.library.by_sha1(&self.device.person, &[self.sha1])?;
        Ok(found.iter().any(Option::is_some) || live::is_here(self)?)
    }

    fn unfinished(&self) -> Result<Option<Upload>, Refusal> {
        Ok(self.shared.face.parts.look(&self.id())?.filter(|upload| upload.assembled.is_none()))
    }

    /// An offer under the name that bytes lie under first: an archive waits to be taken apart.
    fn first(&self, told: &Told, size: Option<u64>) -> Result<Offer, Deny> {
        let offer = self.offer(told, size)?;
        let path = if live::is_archive(told) { live::waiting(&offer.path)? } else { offer.path.clone() };
        Ok(Offer { path, ..offer })
    }

    pub(super) fn offer(&self, told: &Told, size: Option<u64>) -> Result<Offer, Deny> {
        let pool = &self.shared.face.pool;
        let path = told.path(&self.device.root(), &self.sha1, pool.now(), &Self::zone());
        Ok(Offer {
            by: self.device.clone(),
            path: path.ok_or(Deny::Bad("this date gives no name"))?,
            size,
            declared: vec![DeclaredHash::Sha1(self.sha1)],
            mtime: told.at,
            ctime: told.at,
            expect: Expect::Anything,
            make_parents: true,
        })
    }
}

/// `HEAD /asset/SHA1`: 200 here, 206 a part of it, 404 nothing. Blocking.
pub(super) fn have(cx: &Cx) -> Result<Reply, Deny> {
    if cx.is_here()? {
        return Ok(reply::bare(StatusCode::OK));
    }
    match cx.unfinished()?.map(|upload| upload.received()) {
        Some(received) if received > 0 => {
            let mut reply = reply::bare(StatusCode::PARTIAL_CONTENT);
            reply::set_text(&mut reply, IF_MATCH, &format!("size={received},sha1={}", hex(&cx.sha1)));
            Ok(reply)
        }
        Some(_) | None => Err(Deny::Status(StatusCode::NOT_FOUND, "not here")),
    }
}

/// What there is to do for a body.
enum Todo {
    /// It is here.
    Nothing,
    /// It is taken in one go.
    Store(Box<Offer>, Told),
    /// It is a part, from this byte on.
    Part(u64),
}

/// `POST /asset/SHA1?ext=…&createtime=…`: the whole photo.
pub(super) async fn post(cx: Arc<Cx>, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
    let length = length(body)?;
    let told = Told::new(
        cx.query("ext").as_deref().unwrap_or(""),
        cx.query("createtime").as_deref().unwrap_or(""),
        &Cx::zone(),
    );
    let (asked, shared) = (Arc::clone(&cx), Arc::clone(&cx.shared));
    let face = &shared.face;
    let todo = upload::blocking(&face.pool, move || {
        if asked.is_here()? {
            return Ok(Todo::Nothing);
        }
        if length < RESUMED {
            return asked.first(&told, Some(length)).map(|offer| Todo::Store(Box::new(offer), told));
        }
        let (parts, id) = (&asked.shared.face.parts, asked.id());
        // From the beginning: whatever came before was asked for and not wanted.
        if asked.unfinished()?.is_some() {
            parts.abandon(&id)?;
        }
        let notes = [("ext", told.ending), ("createtime", told.created)];
        let notes = notes.map(|(name, text)| (name.to_owned(), text)).into_iter().collect();
        parts.open(&asked.device, &id, &Said { total: Some(length), notes, sha1: true })?;
        Ok(Todo::Part(0))
    });
    match todo.await? {
        Todo::Nothing => Ok(reply::bare(StatusCode::OK)),
        Todo::Store(offer, told) => {
            let ack = upload::receive(body, face, *offer, upload::waits(&cx.headers)).await?;
            upload::blocking(&face.pool, move || done(&cx, &told, &ack)).await
        }
        Todo::Part(from) => {
            take(&cx, body, from, length).await?;
            upload::blocking(&face.pool, move || assemble(&cx)).await
        }
    }
}

/// `PATCH /asset/SHA1` with `If-Match: size=N,…`: all that comes behind the first N bytes.
pub(super) async fn patch(cx: Arc<Cx>, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
    let length = length(body)?;
    let from = offset(&cx.headers).ok_or(Deny::Bad("from which byte on? If-Match says size=N"))?;
    let (asked, shared) = (Arc::clone(&cx), Arc::clone(&cx.shared));
    let face = &shared.face;
    let todo = upload::blocking(&face.pool, move || {
        if asked.is_here()? {
            return Ok(Todo::Nothing);
        }
        let Some(upload) = asked.unfinished()? else {
            return Err(Deny::Status(
                StatusCode::NOT_FOUND,
                "nothing of it is here, send it from the beginning",
            ));
        };
        if upload.received() != from {
            return Err(Deny::Status(
                StatusCode::PRECONDITION_FAILED,
                "another number of bytes is here, ask again",
            ));
        }
        if upload.said.total.is_some_and(|total| from.checked_add(length) != Some(total)) {
            return Err(Deny::Bad("what is missing has another length"));
        }
        Ok(Todo::Part(from))
    });
    if matches!(todo.await?, Todo::Nothing) {
        return Ok(reply::bare(StatusCode::OK));
    }
    if length > 0 {
        take(&cx, body, from, length).await?;
    }
    upload::blocking(&face.pool, move || assemble(&cx)).await
}

/// One part. What of it came before it broke off is kept.
async fn take(cx: &Cx, body: &mut Option<Incoming>, from: u64, length: u64) -> Result<(), Deny> {
    let (parts, id) = (cx.shared.face.parts.clone(), cx.id());
    let begin = move || parts.begin(&id, from, Some(length));
    upload::receive_part(body, &cx.shared.face, IfBroken::Keep, begin).await.map(drop)
}

/// All parts are here: the photo is stored, if it is the one that was announced. Blocking.
fn assemble(cx: &Cx) -> Result<Reply, Deny> {
    let (parts, id) = (&cx.shared.face.parts, cx.id());
    let upload = parts.look(&id)?.ok_or(Refusal::NotFound)?;
    let note = |name: &str| upload.said.notes.get(name).cloned().unwrap_or_default();
    let told = Told::new(&note("ext"), &note("createtime"), &Cx::zone());
    let whole = Whole { total: upload.said.total, numbering: Numbering::Offsets };
    match parts.assemble(&id, whole, cx.first(&told, upload.said.total)?) {
        Ok(ack) => done(cx, &told, &ack),
        Err(refusal @ Refusal::WrongHash(_)) => {
            // Nothing that is sent behind these bytes makes them right.
            parts.abandon(&id)?;
            Err(refusal.into())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// The answer to what is safe. Blocking.
fn done(cx: &Cx, told: &Told, ack: &Ack) -> Result<Reply, Deny> {
    if live::is_archive(told) {
        live::settle(cx, told, ack.node())?;
    }
    Ok(reply::bare(match ack.outcome() {
        Outcome::Created | Outcome::Replaced => StatusCode::CREATED,
        Outcome::Unchanged => StatusCode::OK,
    }))
}

fn length(body: &Option<Incoming>) -> Result<u64, Deny> {
    let exact = body.as_ref().and_then(|body| body.size_hint().exact());
    exact.ok_or(Deny::Status(StatusCode::LENGTH_REQUIRED, "how long is it?"))
}

/// `size=N` in `If-Match`, wherever it stands.
fn offset(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(IF_MATCH).and_then(|value: &HeaderValue| value.to_str().ok())?;
    let digits = text.split(',').find_map(|part| part.trim().trim_matches('"').strip_prefix("size="))?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(IF_MATCH, text.parse().ok()?);
        offset(&headers)
    }

    #[test]
    fn where_to_go_on() {
        assert_eq!(read("size=4711,sha1=a9993e364706816aba3e25717850c26c9cd0d89d"), Some(4711));
        assert_eq!(read("sha1=aa, size=0"), Some(0));
        assert_eq!(read("\"size=5\""), Some(5));
        for bad in ["", "size=", "size=-1", "size=+1", "size=99999999999999999999", "4711", "sha1=size"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}|[size=0-9,]{0,30}") {
            let _read = read(&text);
        }
    }
}
