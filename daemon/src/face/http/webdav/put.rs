//! PUT: the headers of an upload turned into an `Offer`.
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{IF_MATCH, IF_NONE_MATCH};
use hyper::{HeaderMap, StatusCode};

use super::locks::Touched;
use super::{Cx, Flavour, Taken, describe};
use crate::face::http::announced;
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::upload;
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
    announced::whole_file(&cx.headers)?;
    let size = announced::size(&cx.headers, length);
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
    let declared = announced::checksums(&cx.headers)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::ContentHash;
    use crate::model::path::RelPath;
    use crate::model::place::Shelf;
    use jiff::Timestamp;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
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
}
