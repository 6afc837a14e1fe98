//! PROPFIND (RFC 4918 §9.1): properties of a file, or of a folder and what is directly in it.
//!
//! The answer is written page by page, so that a folder of 50 000 photos needs no more memory than one of 500.
use std::collections::HashMap;
use std::sync::Arc;

use hyper::body::Bytes;
use hyper::{HeaderMap, StatusCode};

use super::flavour::Flavour;
use super::get::Pages;
use super::kind::content_type;
use super::xml::{self, DAV, Name, escape_into};
use super::{Cx, Depth, date, depth, lock, path, xml_reply};
use crate::face::http::Shared;
use crate::face::http::body::Payload;
use crate::face::http::nextcloud::properties;
use crate::face::http::reply::{Deny, Reply};
use crate::model::account::Device;
use crate::model::path::RelPath;
use crate::os::clock;
use crate::work::error::Refusal;
use crate::work::tree::{About, Details, Node, NodeKind, Property};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::face::http) enum Wanted {
    /// Everything there is by default, and these.
    All(Vec<Name>),
    /// The names only.
    Names,
    /// These.
    These(Vec<Name>),
}

/// The most properties one request may name; each costs a line for every child.
pub(in crate::face::http) const MOST_NAMES: usize = 200;

impl Wanted {
    /// Reads a body; an empty one asks for all (RFC 4918 §9.1).
    pub(in crate::face::http) fn read(body: &[u8]) -> Result<Self, Deny> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::All(Vec::new()));
        }
        let bad = Deny::Bad("unreadable propfind");
        let Ok(root) = xml::parse(body) else { return Err(bad) };
        if !root.is_dav("propfind") {
            return Err(bad);
        }
        let names_in = |local: &str| -> Option<Vec<Name>> {
            let list = root.elements().find(|element| element.is_dav(local))?;
            Some(list.elements().map(|element| element.name.clone()).collect())
        };
        let has = |local: &str| root.elements().any(|element| element.is_dav(local));
        let wanted = match (has("allprop"), has("propname"), names_in("prop")) {
            (true, false, None) => Self::All(names_in("include").unwrap_or_default()),
            (false, true, None) => Self::Names,
            (false, false, Some(names)) => Self::These(names),
            (_, _, _) => return Err(bad),
        };
        match &wanted {
            Self::All(names) | Self::These(names) if names.len() > MOST_NAMES => {
                Err(Deny::Bad("too many properties"))
            }
            Self::All(_) | Self::These(_) | Self::Names => Ok(wanted),
        }
    }

    pub(super) fn names(&self) -> &[Name] {
        match self {
            Self::All(names) | Self::These(names) => names,
            Self::Names => &[],
        }
    }

    /// Whether stored properties have to be looked up. Most clients ask only for what every file has.
    fn needs_stored(&self) -> bool {
        match self {
            Self::All(_) | Self::Names => true,
            Self::These(names) => names.iter().any(|name| !is_live(name)),
        }
    }
}

/// The properties every file or folder has by itself (RFC 4918 §15, RFC 4331).
const LIVE: [&str; 11] = [
    "creationdate",
    "displayname",
    "getcontentlength",
    "getcontenttype",
    "getetag",
    "getlastmodified",
    "lockdiscovery",
    "resourcetype",
    "supportedlock",
    QUOTA_AVAILABLE,
    QUOTA_USED,
];
const QUOTA_AVAILABLE: &str = "quota-available-bytes";
const QUOTA_USED: &str = "quota-used-bytes";

/// Whether the box itself says what this property is. A PROPPATCH cannot.
pub(super) fn is_live(name: &Name) -> bool {
    name.namespace == DAV && LIVE.contains(&name.local.as_str())
}

pub(super) fn propfind(cx: &Cx, body: &[u8]) -> Result<Reply, Deny> {
    let wanted = Wanted::read(body)?;
    let depth = match cx.depth()? {
        // Nextcloud's apps mean one level when they do not say.
        Depth::Infinity if cx.flavour.cloud.is_some() => Depth::One,
        depth @ (Depth::Zero | Depth::One | Depth::Infinity) => depth,
    };
    let node = cx.node()?;
    cx.conditions()?;
    let folder = node.kind == NodeKind::Folder;
    if folder && depth == Depth::Infinity {
        return Err(Deny::Condition(StatusCode::FORBIDDEN, "propfind-finite-depth"));
    }
    let view = View::new(cx, wanted)?;
    let mut text = String::from(view.head());
    view.write_all(std::slice::from_ref(&node), &mut text)?;
    if !folder || depth == Depth::Zero {
        text.push_str(view.tail());
        return Ok(xml_reply(StatusCode::MULTI_STATUS, text));
    }
    let mut pages = Pages::new(cx.tree().clone(), node.path.clone());
    // The first page before the status: a drive that is away must answer 503, not an empty folder.
    let (mut text, mut next) = (Some(text), Some(pages.next()?));
    let payload = Payload::pieces(None, move || {
        let mut text = text.take().unwrap_or_default();
        let Some(page) = next.take() else { return Ok(None) };
        view.write_all(&page, &mut text)?;
        if page.is_empty() {
            text.push_str(view.tail());
        } else {
            next = Some(pages.next()?);
        }
        Ok(Some(Bytes::from(text)))
    });
    let mut reply = xml_reply(StatusCode::MULTI_STATUS, String::new());
    *reply.body_mut() = payload;
    Ok(reply)
}

/// A multistatus of these, which were found somewhere in the tree.
pub(in crate::face::http) fn found(cx: &Cx, wanted: Wanted, nodes: &[Node]) -> Result<Reply, Deny> {
    let view = View::new(cx, wanted)?;
    let mut text = String::from(view.head());
    view.write_all(nodes, &mut text)?;
    text.push_str(view.tail());
    Ok(xml_reply(StatusCode::MULTI_STATUS, text))
}

/// The server's root, for clients that look there first: a folder with the tree in it.
pub(super) fn root(headers: &HeaderMap, body: &[u8]) -> Result<Reply, Deny> {
    let _understood = Wanted::read(body)?;
    let hrefs: &[&str] = match depth(headers)? {
        Depth::Zero => &["/"],
        Depth::One => &["/", "/dav/"],
        Depth::Infinity => return Err(Deny::Condition(StatusCode::FORBIDDEN, "propfind-finite-depth")),
    };
    let mut text = String::from(HEAD);
    for href in hrefs {
        text.push_str(&format!(
            "<D:response><D:href>{href}</D:href><D:propstat><D:prop><D:resourcetype><D:collection/>\
             </D:resourcetype></D:prop>{OK}</D:propstat></D:response>\n"
        ));
    }
    text.push_str(TAIL);
    Ok(xml_reply(StatusCode::MULTI_STATUS, text))
}

/// How a multistatus begins.
pub(super) const HEAD: &str =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n";
/// How it ends.
pub(super) const TAIL: &str = "</D:multistatus>\n";
const OK: &str = "<D:status>HTTP/1.1 200 OK</D:status>";

/// What is needed to write one `response` after the other.
struct View {
    shared: Arc<Shared>,
    device: Device,
    root: RelPath,
    flavour: Flavour,
    /// What may still be stored, and what is used.
    room: Option<(u64, u64)>,
    wanted: Wanted,
}

impl View {
    fn new(cx: &Cx, wanted: Wanted) -> Result<Self, Deny> {
        let quota = [QUOTA_AVAILABLE, QUOTA_USED];
        let asks_quota = wanted.names().iter().any(|name| quota.contains(&name.local.as_str()));
        let room = if asks_quota { Some(cx.tree().room(&cx.device.person)?) } else { None };
        let (shared, device, root) = (cx.shared.clone(), cx.device.clone(), cx.root.clone());
        Ok(Self { shared, device, root, flavour: cx.flavour.clone(), room, wanted })
    }

    fn head(&self) -> &'static str {
        if self.flavour.cloud.is_some() { properties::HEAD } else { HEAD }
    }

    fn tail(&self) -> &'static str {
        if self.flavour.cloud.is_some() { properties::TAIL } else { TAIL }
    }

    fn about(&self) -> About {
        match self.flavour.cloud {
            None => About { properties: self.wanted.needs_stored(), ..About::default() },
            Some(_) => properties::about(self.wanted.names()),
        }
    }

    fn write_all(&self, nodes: &[Node], out: &mut String) -> Result<(), Refusal> {
        let about = self.about();
        let mut details = if about == About::default() {
            HashMap::new()
        } else {
            self.shared.face.tree.details_of(nodes, about)?
        };
        for node in nodes {
            self.write(node, &details.remove(&node.id).unwrap_or_default(), out);
        }
        Ok(())
    }

    fn href(&self, node: &Node) -> String {
        path::href(&self.flavour.base, &self.root, &node.path, node.kind == NodeKind::Folder)
    }

    fn write(&self, node: &Node, details: &Details, out: &mut String) {
        if let Some(instance) = &self.flavour.cloud {
            let is_root = node.path.fold_key() == self.root.fold_key();
            let (device, room) = (&self.device, self.room);
            let has_preview = self.shared.face.previews.can_show(node, details.media.as_ref());
            let showing = properties::Showing { instance, device, node, is_root, details, has_preview, room };
            return properties::write(&showing, &self.wanted, &self.href(node), out);
        }
        let stored = &details.properties;
        let (mut found, mut missing) = (String::new(), String::new());
        match &self.wanted {
            Wanted::All(more) => {
                for local in LIVE {
                    let asked = more.iter().any(|name| is_live(name) && name.local == local);
                    // RFC 4331 §3: quotas only for those who ask.
                    if asked || ![QUOTA_AVAILABLE, QUOTA_USED].contains(&local) {
                        self.live(node, local, &mut found);
                    }
                }
                stored.iter().for_each(|property| found.push_str(&property.xml));
                for name in more.iter().filter(|name| !is_live(name) && stored_as(stored, name).is_none()) {
                    empty(name, &mut missing);
                }
            }
            Wanted::Names => {
                for local in LIVE {
                    if self.live(node, local, &mut String::new()) {
                        found.push_str(&format!("<D:{local}/>"));
                    }
                }
                for property in stored {
                    let (namespace, local) = (property.namespace.clone(), property.name.clone());
                    empty(&Name { namespace, local }, &mut found);
                }
            }
            Wanted::These(names) => {
                for name in names {
                    if is_live(name) && self.live(node, &name.local, &mut found) {
                        continue;
                    }
                    match stored_as(stored, name) {
                        Some(property) => found.push_str(&property.xml),
                        None => empty(name, &mut missing),
                    }
                }
            }
        }
        let href = self.href(node);
        let mut push = |pieces: &[&str]| pieces.iter().for_each(|piece| out.push_str(piece));
        push(&["<D:response><D:href>", &href, "</D:href>"]);
        // RFC 4918 §14.24: at least one propstat, even if nothing was asked for.
        if !found.is_empty() || missing.is_empty() {
            push(&["<D:propstat><D:prop>", &found, "</D:prop>", OK, "</D:propstat>"]);
        }
        if !missing.is_empty() {
            let status = "</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>";
            push(&["<D:propstat><D:prop>", &missing, status]);
        }
        push(&["</D:response>\n"]);
    }

    /// Writes a live property. `false`: this file or folder has none of that name.
    fn live(&self, node: &Node, local: &str, out: &mut String) -> bool {
        let before = out.len();
        out.extend(["<D:", local, ">"]);
        let has = self.value(node, local, out).is_some();
        if has {
            out.extend(["</D:", local, ">"])
        } else {
            out.truncate(before)
        }
        has
    }

    fn value(&self, node: &Node, local: &str, value: &mut String) -> Option<()> {
        let file = match node.kind {
            NodeKind::File { hash, size } => Some((hash, size)),
            NodeKind::Folder => None,
        };
        match local {
            "creationdate" => value.push_str(&date::iso(node.created)),
            "displayname" => escape_into(value, node.path.name()),
            "getcontentlength" => value.push_str(&file?.1.to_string()),
            "getcontenttype" => value.push_str(file.map(|_| content_type(node.path.name()))?),
            "getetag" => escape_into(value, &file?.0.etag()),
            "getlastmodified" => value.push_str(&date::http(node.mtime)?),
            "lockdiscovery" => {
                let now = clock::monotonic();
                for held in self.shared.locks().on(&node.path, now) {
                    value.push_str(&lock::describe(&held, &self.root, now));
                }
            }
            "resourcetype" if file.is_none() => value.push_str("<D:collection/>"),
            "resourcetype" => {}
            "supportedlock" => value.push_str(SUPPORTED_LOCKS),
            QUOTA_AVAILABLE if file.is_none() => {
                value.push_str(&self.room?.0.to_string());
            }
            QUOTA_USED if file.is_none() => {
                value.push_str(&self.room?.1.to_string());
            }
            _ => return None,
        }
        Some(())
    }
}

const SUPPORTED_LOCKS: &str = "<D:lockentry><D:lockscope><D:exclusive/></D:lockscope>\
    <D:locktype><D:write/></D:locktype></D:lockentry>\
    <D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>";

fn stored_as<'a>(stored: &'a [Property], name: &Name) -> Option<&'a Property> {
    stored.iter().find(|property| property.namespace == name.namespace && property.name == name.local)
}

/// Writes a property's name as an empty element.
pub(super) fn empty(name: &Name, out: &mut String) {
    if name.namespace == DAV {
        out.push_str(&format!("<D:{}/>", name.local));
    } else {
        out.push_str(&format!("<{} xmlns=\"", name.local));
        escape_into(out, &name.namespace);
        out.push_str("\"/>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(namespace: &str, local: &str) -> Name {
        Name { namespace: namespace.to_owned(), local: local.to_owned() }
    }

    #[test]
    fn bodies() {
        let read = |inner: &str| {
            Wanted::read(format!("<D:propfind xmlns:D=\"DAV:\">{inner}</D:propfind>").as_bytes()).ok()
        };
        assert_eq!(Wanted::read(b" \r\n").ok(), Some(Wanted::All(Vec::new())));
        assert_eq!(read("<D:allprop/>"), Some(Wanted::All(Vec::new())));
        assert_eq!(
            read("<D:allprop/><D:include><D:quota-used-bytes/></D:include>"),
            Some(Wanted::All(vec![name(DAV, QUOTA_USED)]))
        );
        assert_eq!(read("<D:propname/>"), Some(Wanted::Names));
        assert_eq!(
            read("<D:prop><D:getetag/><x xmlns=\"u\"/></D:prop>"),
            Some(Wanted::These(vec![name(DAV, "getetag"), name("u", "x")]))
        );
        for bad in
            ["", "<D:allprop/><D:propname/>", "<D:allprop/><D:prop/>", "<D:other/>", "<b:x xmlns:b=\"\"/>"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&format!("<D:prop>{}</D:prop>", "<D:getetag/>".repeat(MOST_NAMES + 1))), None);
        assert!(Wanted::read(b"<propfind><allprop/></propfind>").is_err());
    }

    #[test]
    fn only_other_names_need_a_look() {
        assert!(!Wanted::These(vec![name(DAV, "getetag")]).needs_stored());
        assert!(Wanted::These(vec![name(DAV, "getetag"), name("u", "x")]).needs_stored());
        assert!(Wanted::Names.needs_stored());
    }

    proptest! {
        #[test]
        fn never_panics(body in "\\PC{0,80}") {
            let _read = Wanted::read(body.as_bytes());
            let _read = Wanted::read(format!("<propfind xmlns=\"DAV:\"><prop>{body}</prop></propfind>").as_bytes());
        }
    }
}
