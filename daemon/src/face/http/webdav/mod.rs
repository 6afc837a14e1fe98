//! The WebDAV dialect (RFC 4918, classes 1, 2 and 3): one file per method or concern.
//!
//! Every method but PUT runs as one piece of blocking work. Names arrive as a [`path::Target`] and nothing else.
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;

use super::announced;
use super::hosts::Authority;
use super::reply::{self, Deny, Reply};
use super::upload;
use super::{Limits, Shared, nextcloud};
use crate::model::account::Device;
use crate::model::path::RelPath;
use crate::model::place::Shelf;
use crate::os::clock;
use crate::plan::rights::{Losing, may_replace, may_take_away};
use crate::work::error::Refusal;
use crate::work::tree::{Node, NodeKind, Tree};
use condition::{IfHeader, State};
pub(super) use flavour::Flavour;
pub(super) use kind::content_type;
use locks::Touched;
use path::Target;
use precondition::Verdict;
pub(super) use put::{assemble_offer, assembled_reply};
pub(super) use xml::escape;

mod condition;
pub(super) mod date;
mod delete;
mod flavour;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod get;
pub(super) mod kind;
mod lock;
pub(super) mod locks;
mod mkcol;
mod path;
mod precondition;
pub(super) mod propfind;
mod proppatch;
mod put;
mod range;
mod transfer;
pub(super) mod xml;

/// One request: who asks, for what, with which headers.
pub(super) struct Cx {
    pub(super) shared: Arc<Shared>,
    pub(super) device: Device,
    /// The device's root.
    root: RelPath,
    /// The server's name as the client used it.
    here: Authority,
    /// Under which path the tree is shown, and what is shown with it.
    flavour: Flavour,
    method: Method,
    pub(super) headers: HeaderMap,
    pub(super) target: Target,
}

/// Answers a request below a flavour's path; `path` is what follows.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    device: Device,
    (here, flavour): (Authority, Flavour),
    parts: &Parts,
    path: &str,
    body: &mut Option<Incoming>,
) -> Result<Reply, Deny> {
    let target = path::target(&device.root(), path)?;
    // The `?` of a name that was not encoded: what is behind it would be cut off, and one photo would replace another.
    if parts.uri.query().is_some()
        && !matches!(parts.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "PROPFIND")
    {
        return Err(Deny::Bad("a name's ? is written %3F, and nothing else has a query"));
    }
    let cx = Cx::new(shared, device, (here, flavour), parts, target);
    let limits = &shared.face.limits;
    let handler: fn(&Cx, &[u8]) -> Result<Reply, Deny> = match parts.method.as_str() {
        "OPTIONS" => return Ok(options()),
        "PUT" => return put::put(cx, body).await,
        "GET" | "HEAD" => |cx, _| get::get(cx),
        "DELETE" => |cx, _| delete::delete(cx),
        "MKCOL" => |cx, _| mkcol::mkcol(cx),
        "MOVE" | "COPY" => |cx, _| transfer::transfer(cx),
        "PROPFIND" => propfind::propfind,
        "PROPPATCH" => proppatch::proppatch,
        "REPORT" if cx.flavour.cloud.is_some() => nextcloud::search::report,
        "LOCK" => lock::lock,
        "UNLOCK" => |cx, _| lock::unlock(cx),
        _ => return Err(Deny::Method(reply::ALLOWED)),
    };
    let text = upload::collect(body.take(), xml::MOST_BYTES as u64, limits.body_idle).await?;
    // RFC 4918 §8.4: a body that would be ignored may have meant something that was not done.
    if !text.is_empty() && matches!(parts.method.as_str(), "DELETE" | "MKCOL" | "MOVE" | "COPY" | "UNLOCK") {
        return Err(Deny::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this takes no body"));
    }
    upload::blocking(&shared.face.pool, move || handler(&cx, &text)).await
}

/// Answers OPTIONS and PROPFIND for the server's root: a folder with the tree in it.
pub(super) async fn answer_root(
    parts: &Parts,
    body: &mut Option<Incoming>,
    limits: &Limits,
) -> Result<Reply, Deny> {
    let text = upload::collect(body.take(), xml::MOST_BYTES as u64, limits.body_idle).await?;
    match parts.method.as_str() {
        "OPTIONS" => Ok(options()),
        _ => propfind::root(&parts.headers, &text),
    }
}

/// A file as GET and HEAD of the tree answer it, for a dialect that found it in another way. Blocking.
pub(super) fn download(
    shared: &Arc<Shared>,
    device: Device,
    here: Authority,
    parts: &Parts,
    path: RelPath,
) -> Result<Reply, Deny> {
    let target = Target { path, is_root: false, slash: false };
    get::get(&Cx::new(shared, device, (here, Flavour::plain()), parts, target))
}

/// What the tree can do. Windows wants 200, and `MS-Author-Via` to take it for WebDAV at all.
fn options() -> Reply {
    let mut reply = reply::bare(StatusCode::OK);
    reply::set(&mut reply, hyper::header::ALLOW, HeaderValue::from_static(reply::ALLOWED));
    reply::set(&mut reply, HeaderName::from_static("dav"), HeaderValue::from_static("1, 2, 3"));
    reply::set(&mut reply, HeaderName::from_static("ms-author-via"), HeaderValue::from_static("DAV"));
    reply::set(&mut reply, hyper::header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    reply
}

/// How deep a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Zero,
    One,
    Infinity,
}

impl Cx {
    /// Of a request for `target`.
    pub(super) fn new(
        shared: &Arc<Shared>,
        device: Device,
        (here, flavour): (Authority, Flavour),
        parts: &Parts,
        target: Target,
    ) -> Self {
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        let root = device.root();
        Self { shared: Arc::clone(shared), device, root, here, flavour, method, headers, target }
    }

    /// Of a request for the device's root.
    pub(super) fn at_root(
        shared: &Arc<Shared>,
        device: Device,
        from: (Authority, Flavour),
        parts: &Parts,
    ) -> Self {
        let target = Target { path: device.root(), is_root: true, slash: true };
        Self::new(shared, device, from, parts, target)
    }

    /// Of a request about what its `Destination` names.
    pub(super) fn towards(
        shared: &Arc<Shared>,
        device: Device,
        (here, flavour): (Authority, Flavour),
        parts: &Parts,
    ) -> Result<Self, Deny> {
        let text = parts.headers.get("destination").and_then(|text| text.to_str().ok());
        let text = text.ok_or(Deny::Bad("no readable Destination header"))?.trim();
        let target = path::destination(&device.root(), (&here, &flavour), text)?;
        Ok(Self::new(shared, device, (here, flavour), parts, target))
    }

    /// What a path on this server names in the tree, if it names anything there.
    pub(super) fn below(&self, path: &str) -> Option<Target> {
        path::target(&self.root, self.flavour.below(path)?).ok()
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.shared.face.tree
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
    }

    /// The `Depth` header; missing means infinity (RFC 4918 §10.2).
    fn depth(&self) -> Result<Depth, Deny> {
        depth(&self.headers)
    }

    fn href(&self, path: &RelPath, folder: bool) -> String {
        path::href(&self.flavour.base, &self.root, path, folder)
    }

    fn href_of(&self, node: &Node) -> String {
        self.href(&node.path, node.kind == NodeKind::Folder)
    }

    /// What has a name. The device's root is always there, also before anything was put into it.
    pub(super) fn find(&self, path: &RelPath) -> Result<Option<Node>, Deny> {
        let found = self.tree().find(path)?;
        if found.is_some() || *path != self.root {
            return Ok(found);
        }
        Ok(Some(Node {
            id: 0,
            path: self.root.clone(),
            kind: NodeKind::Folder,
            mtime: Timestamp::UNIX_EPOCH,
            ctime: None,
            changed: 0,
            created: Timestamp::UNIX_EPOCH,
            shelf: Shelf::Photos,
        }))
    }

    /// Whether `path` is directly in the device's root. A computer of the same person may have moved that away, for the
    /// phone it is still there, and its next upload makes it anew.
    fn is_in_root(&self, path: &RelPath) -> bool {
        path.parent().is_some_and(|parent| parent.fold_key() == self.root.fold_key())
    }

    /// What the request is about, which must be there.
    pub(super) fn node(&self) -> Result<Node, Deny> {
        self.find(&self.target.path)?.ok_or(Deny::Refused(Refusal::NotFound))
    }

    /// Refuses to change the root itself.
    fn not_root(&self) -> Result<(), Deny> {
        if self.target.is_root { Err(Deny::Refused(Refusal::Forbidden)) } else { Ok(()) }
    }

    /// The `If` header, read and found to hold (412 otherwise); the lock tokens it shows.
    fn conditions(&self) -> Result<Vec<String>, Deny> {
        let lines: Vec<&str> =
            self.headers.get_all("if").iter().map(|value| value.to_str().unwrap_or("")).collect();
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let header = IfHeader::parse(&lines.join(" "))?;
        let holds = header.holds(|tag| {
            let path = match tag {
                None => self.target.path.clone(),
                Some(uri) => match path::destination(&self.root, (&self.here, &self.flavour), uri) {
                    Ok(target) => target.path,
                    // Nothing of ours is there: a state without a tag and without locks.
                    Err(_) => return Ok(State::default()),
                },
            };
            let etag = self.find(&path)?.as_ref().and_then(etag);
            let locks = self.shared.locks().on(&path, clock::monotonic());
            Ok(State { etag, tokens: locks.into_iter().map(|lock| lock.token).collect() })
        })?;
        if holds { Ok(header.tokens()) } else { Err(Deny::Refused(Refusal::Changed)) }
    }

    /// The conditions of RFC 9110 §13.1 on what a request is about to change (412 otherwise).
    fn preconditions(&self, there: Option<&Node>) -> Result<(), Deny> {
        match precondition::judge(&self.headers, false, there.map(current).as_ref()) {
            Verdict::Proceed => Ok(()),
            Verdict::NotModified | Verdict::Failed => Err(Deny::Refused(Refusal::Changed)),
        }
    }

    /// Checks the `If` header and the locks on everything that is about to change.
    fn guard(&self, touched: &[Touched<'_>]) -> Result<(), Deny> {
        let tokens = self.conditions()?;
        let checked = self.shared.locks().check(touched, &tokens, &self.device.person, clock::monotonic());
        checked.map_err(|locked| Deny::Locked(self.href(&locked, false)))
    }

    /// Whether the device may take the name away from what has it.
    fn may_take_away(&self, node: &Node) -> Result<(), Deny> {
        let allowed = may_take_away(self.device.kind, &node.path, losing(node));
        if allowed { Ok(()) } else { Err(Deny::Refused(Refusal::Forbidden)) }
    }

    /// Whether the device may put something else in its place.
    fn may_replace(&self, node: &Node) -> Result<(), Deny> {
        let allowed = may_replace(self.device.kind, losing(node));
        if allowed { Ok(()) } else { Err(Deny::Refused(Refusal::Forbidden)) }
    }

    /// The modification time announced in `X-OC-Mtime`. An unreadable one is left out, and so is the
    /// `accepted` that tells the client that it was taken.
    fn announced_mtime(&self) -> Option<Timestamp> {
        announced::mtime(&self.headers)
    }

    /// The time of making announced in `X-OC-Ctime`.
    fn announced_ctime(&self) -> Option<Timestamp> {
        self.header("x-oc-ctime").and_then(date::parse_unix)
    }
}

fn depth(headers: &HeaderMap) -> Result<Depth, Deny> {
    match headers.get("depth").map(HeaderValue::as_bytes) {
        None => Ok(Depth::Infinity),
        Some(b"0") => Ok(Depth::Zero),
        Some(b"1") => Ok(Depth::One),
        Some(word) if word.eq_ignore_ascii_case(b"infinity") => Ok(Depth::Infinity),
        Some(_) => Err(Deny::Bad("unreadable Depth header")),
    }
}

fn losing(node: &Node) -> Losing {
    match node.kind {
        NodeKind::File { size, .. } => Losing::File { size, shelf: node.shelf },
        NodeKind::Folder => Losing::Folder,
    }
}

/// The entity tag of a file.
fn etag(node: &Node) -> Option<String> {
    match node.kind {
        NodeKind::File { hash, .. } => Some(hash.etag()),
        NodeKind::Folder => None,
    }
}

/// What conditions are judged by.
fn current(node: &Node) -> precondition::Current {
    precondition::Current { etag: etag(node), mtime: node.mtime }
}

/// Which of the announced times were taken.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    mtime: bool,
    ctime: bool,
}

impl Cx {
    /// The announced times that can be read.
    fn taken(&self) -> Taken {
        Taken { mtime: self.announced_mtime().is_some(), ctime: self.announced_ctime().is_some() }
    }
}

/// Says how the file or folder is now, in the headers upload programs look for.
fn describe(flavour: &Flavour, reply: &mut Reply, node: &Node, taken: Taken) {
    const FILE_ID: HeaderName = HeaderName::from_static("oc-fileid");
    let marks = flavour.marks(node);
    let tag = marks.as_ref().map(|(_, tag)| tag.clone()).or_else(|| etag(node));
    if let Some(etag) = tag {
        reply::set_text(reply, hyper::header::ETAG, &etag);
        reply::set_text(reply, HeaderName::from_static("oc-etag"), &etag);
    }
    if let Some((id, _)) = marks {
        reply::set_text(reply, FILE_ID, &id);
    }
    for (name, taken) in [("x-oc-mtime", taken.mtime), ("x-oc-ctime", taken.ctime && flavour.cloud.is_some())]
    {
        if taken {
            reply::set(reply, HeaderName::from_static(name), HeaderValue::from_static("accepted"));
        }
    }
}

/// A reply of XML.
pub(super) fn xml_reply(status: StatusCode, body: String) -> Reply {
    let mut reply = reply::whole(status, reply::XML, body);
    reply::set(&mut reply, CONTENT_TYPE, HeaderValue::from_static(reply::XML));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(word: &[u8]) -> Option<Result<Depth, Deny>> {
        let value = HeaderValue::from_bytes(word).ok()?;
        Some(depth(&HeaderMap::from_iter([(HeaderName::from_static("depth"), value)])))
    }

    #[test]
    fn depths() {
        assert_eq!(depth(&HeaderMap::new()).unwrap(), Depth::Infinity);
        for (word, expected) in [("0", Depth::Zero), ("1", Depth::One), ("Infinity", Depth::Infinity)] {
            assert_eq!(read(word.as_bytes()).unwrap().unwrap(), expected);
        }
    }

    proptest! {
        /// What is not understood is refused: taken for infinity, it would lock or copy more than was meant.
        #[test]
        fn a_depth_that_is_read_was_written(bytes in proptest::collection::vec(any::<u8>(), 0..4), word in "[01 ]{0,2}|[iI]n[fF]init[yY]?,?") {
            for word in [bytes.as_slice(), word.as_bytes()] {
                let Some(Ok(depth)) = read(word) else { continue };
                let expected: &[u8] = match depth {
                    Depth::Zero => b"0",
                    Depth::One => b"1",
                    Depth::Infinity => b"infinity",
                };
                prop_assert!(word.eq_ignore_ascii_case(expected));
            }
        }
    }
}
