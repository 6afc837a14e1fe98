//! Previews as replies: one JPEG, whichever dialect asked for it. Blocking.
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, StatusCode};

use super::reply::{self, Deny, Reply};
use crate::model::preview::Edge;
use crate::work::error::Refusal;
use crate::work::previews::Previews;
use crate::work::tree::{Node, NodeKind};

/// A preview of a file, its longer side as long as was asked for, or a little longer.
pub(super) fn reply(
    previews: &Previews,
    node: &Node,
    edge: Edge,
    headers: &HeaderMap,
) -> Result<Reply, Deny> {
    let NodeKind::File { hash, .. } = node.kind else { return Err(Deny::Refused(Refusal::NotFound)) };
    let tag = format!("\"{hash}-{}\"", edge.pixels());
    let same = |has: &HeaderValue| has.to_str().is_ok_and(|has| has.split(',').any(|one| one.trim() == tag));
    let mut reply = if headers.get_all(IF_NONE_MATCH).iter().any(same) {
        reply::bare(StatusCode::NOT_MODIFIED)
    } else {
        reply::whole(StatusCode::OK, "image/jpeg", previews.of(node, edge)?)
    };
    reply::set_text(&mut reply, ETAG, &tag);
    // The tag is the content's: it is asked for again when there is another photo under the name.
    reply::set(&mut reply, CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    Ok(reply)
}
