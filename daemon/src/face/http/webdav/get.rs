//! GET and HEAD: a file, a part of it, or the list of a folder.
//!
//! What people upload is never shown as a page: it goes out as an attachment that no browser may run (I31).
use std::collections::VecDeque;

use bytes::BytesMut;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, HeaderValue, LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};

use super::kind::content_type;
use super::precondition::{Verdict, judge, range_applies};
use super::range::{Part, part};
use super::xml::escape;
use super::{Cx, Taken, current, date, describe, etag, path};
use crate::face::http::body::{Payload, Source};
use crate::face::http::reply::{self, Deny, Reply};
use crate::model::path::RelPath;
use crate::store::volume::ReadAt;
use crate::work::error::Refusal;
use crate::work::tree::{Node, NodeKind, Tree};

/// How much of a file is read at once.
const PIECE: usize = 192 * 1024;
/// Names of a folder that are listed at once.
pub(super) const PAGE: usize = 500;

pub(super) fn get(cx: &Cx) -> Result<Reply, Deny> {
    let node = cx.node()?;
    cx.conditions()?;
    match node.kind {
        NodeKind::Folder => folder(cx, &node),
        NodeKind::File { .. } if cx.target.slash => Err(Deny::Refused(Refusal::NotFound)),
        NodeKind::File { size, .. } => file(cx, &node, size),
    }
}

fn file(cx: &Cx, node: &Node, size: u64) -> Result<Reply, Deny> {
    let current = current(node);
    match judge(&cx.headers, true, Some(&current)) {
        Verdict::Proceed => {}
        Verdict::NotModified => {
            let mut reply = reply::bare(StatusCode::NOT_MODIFIED);
            validators(cx, &mut reply, node);
            return Ok(reply);
        }
        Verdict::Failed => return Err(Deny::Refused(Refusal::Changed)),
    }
    let ranged = cx.method == Method::GET && range_applies(&cx.headers, &current);
    let header = if ranged { cx.header(RANGE.as_str()) } else { None };
    let (status, from, to) = match part(header, size) {
        Part::Whole => (StatusCode::OK, 0, size),
        Part::Piece(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Part::Beyond => {
            let mut reply = reply::text(StatusCode::RANGE_NOT_SATISFIABLE, "the file is shorter");
            reply::set_text(&mut reply, CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(reply);
        }
    };
    let payload =
        if cx.method == Method::HEAD { Payload::empty() } else { contents(cx.tree(), node, from, to)? };
    let mut reply = Response::new(payload);
    *reply.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        reply::set_text(&mut reply, CONTENT_RANGE, &format!("bytes {from}-{}/{size}", to - 1));
    }
    reply::set_text(&mut reply, CONTENT_LENGTH, &(to - from).to_string());
    reply::set(&mut reply, CONTENT_TYPE, HeaderValue::from_static(content_type(node.path.name())));
    reply::set(&mut reply, ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    reply::set(&mut reply, CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    reply::set(&mut reply, X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply::set(&mut reply, CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    validators(cx, &mut reply, node);
    Ok(reply)
}

fn validators(cx: &Cx, reply: &mut Reply, node: &Node) {
    if let Some(etag) = etag(node) {
        reply::set_text(reply, ETAG, &etag);
    }
    if cx.flavour.cloud.is_some() {
        describe(&cx.flavour, reply, node, Taken::default());
    }
    if let Some(date) = date::http(node.mtime) {
        reply::set_text(reply, LAST_MODIFIED, &date);
    }
}

/// The bytes of a file from one position to another. A file that turns out shorter than the catalogue says ends
/// the connection: the client must not take it for complete.
fn contents(tree: &Tree, node: &Node, from: u64, to: u64) -> Result<Payload, Deny> {
    let file = Contents { reader: tree.open(node)?, at: from, to, sent: VecDeque::new() };
    Ok(Payload::pieces(Some(to - from), file))
}

/// A file being sent.
struct Contents {
    reader: Box<dyn ReadAt>,
    at: u64,
    to: u64,
    /// Pieces that went out last: their memory is used again when nobody else holds them any more.
    sent: VecDeque<Bytes>,
}

impl Contents {
    /// Room for the next piece.
    fn room(&mut self) -> BytesMut {
        let wanted = usize::try_from(self.to - self.at).unwrap_or(PIECE).min(PIECE);
        let used = self.sent.pop_front().and_then(|piece| piece.try_into_mut().ok());
        let mut room = used.unwrap_or_default();
        room.resize(wanted, 0);
        room
    }

    fn send(&mut self, mut piece: BytesMut, read: usize) -> Bytes {
        self.at += read as u64;
        piece.truncate(read);
        let piece = piece.freeze();
        // One is being sent and one waits.
        if self.sent.len() < 3 {
            self.sent.push_back(piece.clone());
        }
        piece
    }
}

impl Source for Contents {
    fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if self.at >= self.to {
            return Ok(None);
        }
        let mut piece = self.room();
        let read = self.reader.read_at(&mut piece, self.at).map_err(Refusal::Drive)?;
        if read == 0 {
            return Err(Refusal::Unavailable { why: "a file is shorter than it was".to_owned() });
        }
        Ok(Some(self.send(piece, read)))
    }

    fn at_hand(&mut self) -> Option<Bytes> {
        if self.at >= self.to {
            return None;
        }
        let mut piece = self.room();
        let read = self.reader.read_cached(&mut piece, self.at);
        if read == 0 {
            self.sent.push_front(piece.freeze());
            return None;
        }
        Some(self.send(piece, read))
    }
}

/// A page of links, for a person with a browser who looks what is there.
fn folder(cx: &Cx, node: &Node) -> Result<Reply, Deny> {
    let mut pages = Pages::new(cx.tree().clone(), node.path.clone());
    // The first page before the status: a drive that is away must answer 503, not an empty list.
    let first = pages.next()?;
    let kind = "text/html; charset=utf-8";
    if cx.method == Method::HEAD {
        let mut reply = reply::whole(StatusCode::OK, kind, Bytes::new());
        // How long the list would be is not known without writing it.
        *reply.body_mut() = Payload::pieces(None, || Ok(None));
        if cx.flavour.cloud.is_some() {
            describe(&cx.flavour, &mut reply, node, Taken::default());
        }
        return Ok(reply);
    }
    let title = if cx.target.is_root { "photos" } else { node.path.name() };
    let head = format!("<!DOCTYPE html>\n<title>{0}</title>\n<h1>{0}</h1>\n<ul>\n", escape(title));
    let (root, base) = (cx.root.clone(), cx.flavour.base.clone());
    let (mut head, mut next) = (Some(head), Some(first));
    let payload = Payload::pieces(None, move || {
        let mut html = head.take().unwrap_or_default();
        let Some(page) = next.take() else { return Ok(None) };
        for node in &page {
            let folder = node.kind == NodeKind::Folder;
            let (href, slash) = (path::href(&base, &root, &node.path, folder), if folder { "/" } else { "" });
            let name = escape(node.path.name());
            html.push_str(&format!("<li><a href=\"{href}\">{name}{slash}</a></li>\n"));
        }
        if page.is_empty() {
            html.push_str("</ul>\n");
        } else {
            next = Some(pages.next()?);
        }
        Ok(Some(Bytes::from(html)))
    });
    let mut reply = reply::whole(StatusCode::OK, kind, Bytes::new());
    // Our own page, not somebody's upload: in a sandbox a browser would refuse to save what its links lead to.
    let policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    reply::set(&mut reply, CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    *reply.body_mut() = payload;
    Ok(reply)
}

/// The children of a folder, page by page.
pub(super) struct Pages {
    tree: Tree,
    folder: RelPath,
    after: Option<String>,
    ended: bool,
}

impl Pages {
    /// From the first name on.
    pub(super) fn new(tree: Tree, folder: RelPath) -> Self {
        Self { tree, folder, after: None, ended: false }
    }

    /// The next page; empty at the end.
    pub(super) fn next(&mut self) -> Result<Vec<Node>, Refusal> {
        if self.ended {
            return Ok(Vec::new());
        }
        let page = match self.tree.list(&self.folder, self.after.as_deref(), PAGE) {
            // A root that nothing was put into yet.
            Err(Refusal::NotFound) if self.after.is_none() => Vec::new(),
            other => other?,
        };
        self.ended = page.len() < PAGE;
        self.after = page.last().map(|node| node.path.fold_key());
        Ok(page)
    }
}
