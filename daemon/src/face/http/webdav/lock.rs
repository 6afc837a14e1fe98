//! LOCK and UNLOCK (RFC 4918 §9.10, §9.11).
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::HeaderName;

use super::locks::{Lock, Scope, Touched, timeout};
use super::{Cx, Depth, xml, xml_reply};
use crate::face::http::reply::{self, Deny, Reply};
use crate::model::offer::{Expect, Offer};
use crate::model::path::RelPath;
use crate::os::clock;
use crate::work::error::Refusal;

/// The longest `owner` element that is kept.
const LONGEST_OWNER: usize = 4096;

pub(super) fn lock(cx: &Cx, body: &[u8]) -> Result<Reply, Deny> {
    let time = timeout(cx.header("timeout"));
    if body.is_empty() {
        let tokens = cx.conditions()?;
        let now = clock::monotonic();
        let lock = cx.shared.locks().refresh(&cx.target.path, &tokens, &cx.device.person, time, now);
        let lock =
            lock.ok_or(Deny::Condition(StatusCode::PRECONDITION_FAILED, "lock-token-matches-request-uri"))?;
        // Without a Lock-Token header (RFC 4918 §9.10.2): no new token was made.
        return Ok(discovery(cx, &lock, StatusCode::OK));
    }
    let wish = Wish::read(body)?;
    let deep = match cx.depth()? {
        Depth::Zero => false,
        Depth::One => return Err(Deny::Bad("a lock goes to depth 0 or infinity")),
        Depth::Infinity => true,
    };
    cx.conditions()?;
    let there = cx.find(&cx.target.path)?;
    cx.preconditions(there.as_ref())?;
    if there.is_none() {
        // A new name changes the folder above, which may be locked.
        cx.guard(&[Touched { path: &cx.target.path, member: true, deep: false }])?;
    }
    let path = there.as_ref().map_or_else(|| cx.target.path.clone(), |node| node.path.clone());
    let mut lock = Lock::new(new_token()?, path, deep, wish.scope, cx.device.person.clone());
    lock.owner = wish.owner;
    let added = cx.shared.locks().add(lock, time, clock::monotonic());
    let lock = added.map_err(|clash| clash.deny(|path| cx.href(path, false)))?;
    if there.is_some() {
        return Ok(granted(cx, &lock, StatusCode::OK));
    }
    if let Err(refusal) = placeholder(cx) {
        cx.shared.locks().remove(&lock.path, &lock.token, &lock.person, clock::monotonic());
        return Err(refusal.into());
    }
    Ok(granted(cx, &lock, StatusCode::CREATED))
}

/// Makes the empty file that a lock on a missing name stands for (RFC 4918 §7.3).
fn placeholder(cx: &Cx) -> Result<(), Refusal> {
    let offer = Offer {
        by: cx.device.clone(),
        path: cx.target.path.clone(),
        size: Some(0),
        declared: Vec::new(),
        mtime: None,
        expect: Expect::Absent,
        ctime: None,
        make_parents: cx.is_in_root(&cx.target.path),
    };
    let incoming = cx.shared.face.ingest.begin(offer)?;
    incoming.finish()?.settle().map(|_ack| ())
}

fn granted(cx: &Cx, lock: &Lock, status: StatusCode) -> Reply {
    let mut reply = discovery(cx, lock, status);
    reply::set_text(&mut reply, HeaderName::from_static("lock-token"), &format!("<{}>", lock.token));
    reply
}

fn discovery(cx: &Cx, lock: &Lock, status: StatusCode) -> Reply {
    let mut body = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:prop xmlns:D=\"DAV:\">");
    body.push_str("<D:lockdiscovery>");
    body.push_str(&describe(lock, &cx.root, clock::monotonic()));
    body.push_str("</D:lockdiscovery></D:prop>\n");
    xml_reply(status, body)
}

/// The `activelock` element.
pub(super) fn describe(lock: &Lock, root: &RelPath, now: Instant) -> String {
    let scope = match lock.scope {
        Scope::Exclusive => "exclusive",
        Scope::Shared => "shared",
    };
    let depth = if lock.deep { "infinity" } else { "0" };
    let owner = lock.owner.as_deref().unwrap_or("");
    let (left, token) = (lock.left(now), &lock.token);
    let href = super::path::href(super::flavour::PLAIN, root, &lock.path, false);
    format!(
        "<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{scope}/></D:lockscope>\
         <D:depth>{depth}</D:depth>{owner}<D:timeout>Second-{left}</D:timeout>\
         <D:locktoken><D:href>{token}</D:href></D:locktoken>\
         <D:lockroot><D:href>{href}</D:href></D:lockroot></D:activelock>"
    )
}

/// 122 random bits in the form of RFC 9562 §5.4.
fn new_token() -> Result<String, Deny> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| Deny::Status(StatusCode::SERVICE_UNAVAILABLE, "no lock can be given now"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = crate::model::hash::hex(&bytes);
    let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Ok(format!("urn:uuid:{}", groups.join("-")))
}

/// What a `lockinfo` body asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    scope: Scope,
    pub(super) owner: Option<String>,
}

impl Wish {
    pub(super) fn read(body: &[u8]) -> Result<Self, Deny> {
        let bad = Deny::Bad("unreadable lockinfo");
        let Ok(info) = xml::parse(body) else { return Err(bad) };
        let within = |outer: &str, inner: &str| {
            let outer = info.elements().find(|element| element.is_dav(outer));
            outer.is_some_and(|outer| outer.elements().any(|element| element.is_dav(inner)))
        };
        if !info.is_dav("lockinfo") || !within("locktype", "write") {
            return Err(bad);
        }
        let scope = match (within("lockscope", "exclusive"), within("lockscope", "shared")) {
            (true, false) => Scope::Exclusive,
            (false, true) => Scope::Shared,
            (true, true) | (false, false) => return Err(bad),
        };
        let owner = info.elements().find(|element| element.is_dav("owner"));
        let owner = owner.map(|owner| owner.write(info.lang()));
        if owner.as_ref().is_some_and(|owner| owner.len() > LONGEST_OWNER) {
            return Err(Deny::Bad("the owner of the lock is too long"));
        }
        Ok(Self { scope, owner })
    }
}

pub(super) fn unlock(cx: &Cx) -> Result<Reply, Deny> {
    let token = cx.header("lock-token").and_then(|text| text.strip_prefix('<')?.strip_suffix('>'));
    let token = token.ok_or(Deny::Bad("no readable Lock-Token header"))?;
    // The locks are in memory and what they are on is not: without the drive there is no answer.
    cx.find(&cx.target.path)?;
    let removed = cx.shared.locks().remove(&cx.target.path, token, &cx.device.person, clock::monotonic());
    if !removed {
        return Err(Deny::Condition(StatusCode::CONFLICT, "lock-token-matches-request-uri"));
    }
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wishes() {
        let body = |scope: &str, rest: &str| {
            format!(
                "<lockinfo xmlns=\"DAV:\"><lockscope>{scope}</lockscope><locktype><write/></locktype>{rest}</lockinfo>"
            )
        };
        let read = |body: &str| Wish::read(body.as_bytes());
        let wish = read(&body("<shared/>", "<owner><href>x</href></owner>")).unwrap();
        assert_eq!(wish.scope, Scope::Shared);
        assert_eq!(wish.owner.as_deref(), Some("<owner xmlns=\"DAV:\"><href>x</href></owner>"));
        assert_eq!(read(&body("<exclusive/>", "")).unwrap(), Wish { scope: Scope::Exclusive, owner: None });
        let long = body("<exclusive/>", &format!("<owner>{}</owner>", "x".repeat(LONGEST_OWNER)));
        for bad in ["", "<a/>", &body("", ""), &body("<exclusive/><shared/>", ""), &long] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_are_uuids_and_differ() {
        let (one, two) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), "urn:uuid:00000000-0000-4000-8000-000000000000".len());
        assert_eq!(&one[23..24], "4");
    }

    proptest! {
        /// An owner that is kept is shown to others in our own XML: it must stand for itself, and be short.
        #[test]
        fn an_owner_that_is_kept_is_one_short_element(
            body in "\\PC{0,80}",
            inner in "(<exclusive/>|<shared/>|<write/>|<lockscope>|</lockscope>|<locktype>|</locktype>|\
                      <owner>|<owner xmlns=\"u\">|<owner a=\"&lt;\"/>|</owner>|<x:a xmlns:x=\"v\"/>|&amp;|&gt;|t){0,16}",
            owner in "(<owner>|<owner xml:lang=\"de\">)(<a/>|<x:b xmlns:x=\"u\" x:c=\"&quot;\"/>|&lt;|\\PC){0,9}</owner>",
        ) {
            let whole = format!(
                "<D:lockinfo xmlns:D=\"DAV:\" xmlns=\"DAV:\"><lockscope><shared/></lockscope>\
                 <locktype><write/></locktype>{owner}</D:lockinfo>"
            );
            for body in [body, format!("<lockinfo xmlns=\"DAV:\">{inner}</lockinfo>"), whole] {
                let Ok(Wish { owner: Some(owner), .. }) = Wish::read(body.as_bytes()) else { continue };
                prop_assert!(owner.len() <= LONGEST_OWNER);
                let again = xml::parse(owner.as_bytes()).unwrap();
                prop_assert!(again.is_dav("owner"));
                prop_assert_eq!(again.write(None), owner);
            }
        }

        #[test]
        fn a_wish_is_read_as_it_was_written(shared: bool, name in "[a-zA-Z0-9 .@]{0,30}", named: bool) {
            let scope = if shared { "shared" } else { "exclusive" };
            let owner = if named { format!("<owner xmlns=\"DAV:\">{name}</owner>") } else { String::new() };
            let body = format!(
                "<lockinfo xmlns=\"DAV:\"><locktype><write/></locktype>{owner}<lockscope><{scope}/></lockscope></lockinfo>"
            );
            let wish = Wish::read(body.as_bytes()).unwrap();
            prop_assert_eq!(wish.scope, if shared { Scope::Shared } else { Scope::Exclusive });
            prop_assert_eq!(wish.owner.is_some(), named);
            let kept = wish.owner.map(|owner| xml::parse(owner.as_bytes()).unwrap().text());
            prop_assert_eq!(kept.unwrap_or_default().trim().to_owned(), if named { name.trim() } else { "" });
        }
    }
}
