//! `POST`: an upload begins, and with it perhaps its first bytes or all of them (tus 1.0 "Creation", "Creation With Upload").
use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderName, LOCATION};

use super::look::BY_CONTENT;
use super::metadata::{self, Metadata};
use super::{Became, Cx, LENGTH, MOST_BYTES, PATH, SAID, checksum, expires, number, offered, patch};
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::{announced, upload};
use crate::model::hash::hex;
use crate::model::offer::Offer;
use crate::os::clock;
use crate::work::parts::Said;

pub(super) async fn create(cx: Cx, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
    announced::whole_file(&cx.headers)?;
    // Were a piece of another upload taken for a file, it would become a photo.
    for unknown in ["upload-concat", "upload-defer-length"] {
        if cx.headers.contains_key(HeaderName::from_static(unknown)) {
            return Err(Deny::Bad("only whole files of a known length are taken"));
        }
    }
    let total = number(&cx.headers, &LENGTH).ok_or(Deny::Bad("Upload-Length is needed"))?;
    if total == 0 {
        return Err(Deny::Bad("an empty file is not kept"));
    }
    if total > MOST_BYTES {
        return Err(Deny::Status(StatusCode::PAYLOAD_TOO_LARGE, "more than Tus-Max-Size"));
    }
    let text = metadata::header(&cx.headers)?.to_owned();
    let metadata = Metadata::parse(&text)?;
    let path = metadata.target(&cx.device, clock::now())?;
    let length = body.as_ref().and_then(|body| body.size_hint().exact());
    let comes_along = length != Some(0) && patch::is_bytes(&cx.headers);
    if length != Some(0) && !comes_along {
        return Err(patch::NOT_BYTES);
    }
    if length.is_some_and(|length| length > total) {
        return Err(Deny::Status(StatusCode::PAYLOAD_TOO_LARGE, "more than Upload-Length"));
    }
    let check = checksum::announced(&cx.headers)?;
    if comes_along && length == Some(total) {
        let mut offer = offered(&cx.device, path, &metadata, Some(total));
        offer.declared.extend(check);
        return whole(&cx, offer, body).await;
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|_| Deny::Status(StatusCode::SERVICE_UNAVAILABLE, "no randomness"))?;
    let client_id = hex(&random);
    let notes = BTreeMap::from([(SAID.to_owned(), text), (PATH.to_owned(), path.to_string())]);
    let said = Said { total: Some(total), notes, sha1: false };
    let (parts, device, id) = (cx.shared.face.parts.clone(), cx.device.clone(), cx.id(&client_id));
    let begun = upload::blocking(&cx.shared.face.pool, move || Ok(parts.open(&device, &id, &said)?));
    let (opened, _is_new) = begun.await?;
    let mut reply = if comes_along {
        let id = cx.id(&client_id);
        let turn = cx.shared.turns.take(&id).await?;
        patch::stretch(cx, id, turn, opened, 0, body).await?
    } else {
        let mut reply = reply::bare(StatusCode::CREATED);
        expires(&mut reply);
        reply
    };
    *reply.status_mut() = StatusCode::CREATED;
    reply::set_text(&mut reply, LOCATION, &format!("/tus/{client_id}"));
    Ok(reply)
}

/// A file that comes whole goes the way of every upload at once: it is written once and waits nowhere.
async fn whole(cx: &Cx, offer: Offer, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
    let ack = upload::receive(body, &cx.shared.face, offer, upload::waits(&cx.headers)).await?;
    let became = Became::of(&ack, true)?;
    let mut reply = reply::bare(StatusCode::CREATED);
    became.tell(&mut reply);
    // Where the client may look again: by its content, of which nothing needs to be kept.
    reply::set_text(&mut reply, LOCATION, &format!("/tus/{BY_CONTENT}{}", became.hash));
    Ok(reply)
}
