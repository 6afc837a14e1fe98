//! PROPPATCH (RFC 4918 §9.2): stores what clients want to keep with a file, and lets them set its date.
use hyper::StatusCode;
use jiff::Timestamp;

use super::locks::Touched;
use super::propfind::{HEAD, TAIL, empty, is_live};
use super::xml::{self, DAV, Element, Name};
use super::{Cx, date, xml_reply};
use crate::face::http::nextcloud::properties;
use crate::face::http::reply::{Deny, Reply};
use crate::work::error::Refusal;
use crate::work::favourites::FAVOURITE;
use crate::work::tree::{NodeKind, Property, PropertyChange};

/// The most bytes of stored properties one file or folder may have.
const MOST_STORED: usize = 64 * 1024;
/// Windows' names for a file's dates and attributes.
const MICROSOFT: &str = "urn:schemas-microsoft-com:";

/// One step of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    name: Name,
    act: Act,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    /// Keep or drop a stored property.
    Store(PropertyChange),
    /// The modification time, in one of the ways clients set it.
    Mtime(Timestamp),
    /// The box itself says what this is (403).
    Protected,
    /// A date that is none (409).
    Unreadable,
}

pub(super) fn proppatch(cx: &Cx, body: &[u8]) -> Result<Reply, Deny> {
    let mut steps = read(body)?;
    steps.iter_mut().for_each(Step::unmark);
    let node = cx.node()?;
    cx.preconditions(Some(&node))?;
    cx.guard(&[Touched { path: &node.path, member: false, deep: false }])?;
    let mut verdict = judge(&steps);
    if verdict == Verdict::Fine {
        let changes: Vec<PropertyChange> = steps.iter().filter_map(Step::change).collect();
        if !changes.is_empty() {
            let stored = cx.tree().properties(&node.path)?;
            if too_much(&stored, &changes) {
                verdict = Verdict::NoRoom;
            } else {
                match cx.tree().change_properties(&cx.device, &node.path, &changes) {
                    // The root before anything was put into it has nowhere to keep properties.
                    Err(Refusal::NotFound) if cx.target.is_root => verdict = Verdict::NoRoom,
                    other => other?,
                }
            }
        }
        let mtime = steps.iter().rev().find_map(|step| match step.act {
            Act::Mtime(at) => Some(at),
            Act::Store(_) | Act::Protected | Act::Unreadable => None,
        });
        if verdict == Verdict::Fine && steps.iter().any(Step::is_favourite) {
            cx.tree().follow_favourite(&cx.device, &node.path)?;
        }
        // A folder's date is that of the last change below it; a wish for another is heard and passed over.
        if let (Verdict::Fine, Some(at), NodeKind::File { .. }) = (verdict, mtime, node.kind) {
            cx.tree().set_mtime(&cx.device, &node.path, at)?;
        }
    }
    Ok(xml_reply(StatusCode::MULTI_STATUS, write(&cx.href_of(&node), &steps, verdict)))
}

impl Step {
    fn is_favourite(&self) -> bool {
        (self.name.namespace.as_str(), self.name.local.as_str()) == FAVOURITE
    }

    /// A mark that says no is no mark.
    fn unmark(&mut self) {
        let is_no =
            |xml: &str| !xml::parse(xml.as_bytes()).is_ok_and(|element| properties::is_yes(&element.text()));
        if self.is_favourite()
            && let Act::Store(PropertyChange::Set(property)) = &self.act
            && is_no(&property.xml)
        {
            let (namespace, name) = (property.namespace.clone(), property.name.clone());
            self.act = Act::Store(PropertyChange::Remove { namespace, name });
        }
    }

    pub(super) fn change(&self) -> Option<PropertyChange> {
        match &self.act {
            Act::Store(change) => Some(change.clone()),
            Act::Mtime(_) | Act::Protected | Act::Unreadable => None,
        }
    }

    fn set(element: &Element, lang: Option<&str>) -> Self {
        let name = element.name.clone();
        let date = |parsed: Option<Timestamp>| parsed.map_or(Act::Unreadable, Act::Mtime);
        let act = match (name.namespace.as_str(), name.local.as_str()) {
            (DAV, "lastmodified") => date(date::parse_unix(&element.text())),
            (DAV, "getlastmodified") | (MICROSOFT, "Win32LastModifiedTime") => {
                date(date::parse_http(&element.text()))
            }
            _ if is_live(&name) => Act::Protected,
            _ => Act::Store(PropertyChange::Set(Property {
                namespace: name.namespace.clone(),
                name: name.local.clone(),
                xml: element.write(lang),
            })),
        };
        Self { name, act }
    }

    fn remove(element: &Element) -> Self {
        let name = element.name.clone();
        let act = if is_live(&name) {
            Act::Protected
        } else {
            let (namespace, name) = (name.namespace.clone(), name.local.clone());
            Act::Store(PropertyChange::Remove { namespace, name })
        };
        Self { name, act }
    }
}

/// Reads the steps, in document order.
pub(super) fn read(body: &[u8]) -> Result<Vec<Step>, Deny> {
    let bad = Deny::Bad("unreadable propertyupdate");
    let Ok(root) = xml::parse(body) else { return Err(bad) };
    if !root.is_dav("propertyupdate") {
        return Err(bad);
    }
    let mut steps = Vec::new();
    for action in root.elements() {
        let sets = action.is_dav("set");
        if !sets && !action.is_dav("remove") {
            continue;
        }
        for prop in action.elements().filter(|element| element.is_dav("prop")) {
            let lang = prop.lang().or_else(|| action.lang()).or_else(|| root.lang());
            steps.extend(
                prop.elements().map(|one| if sets { Step::set(one, lang) } else { Step::remove(one) }),
            );
        }
    }
    if steps.is_empty() { Err(bad) } else { Ok(steps) }
}

/// What becomes of the request as a whole: all of it or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Refused,
    NoRoom,
}

fn judge(steps: &[Step]) -> Verdict {
    let refused = |step: &Step| match step.act {
        Act::Protected | Act::Unreadable => true,
        Act::Store(_) | Act::Mtime(_) => false,
    };
    if steps.iter().any(refused) { Verdict::Refused } else { Verdict::Fine }
}

fn too_much(stored: &[Property], changes: &[PropertyChange]) -> bool {
    let replaced = |property: &Property| {
        changes.iter().any(|change| match change {
            PropertyChange::Set(new) => new.namespace == property.namespace && new.name == property.name,
            PropertyChange::Remove { namespace, name } => {
                *namespace == property.namespace && *name == property.name
            }
        })
    };
    let kept = stored.iter().filter(|property| !replaced(property)).map(|property| property.xml.len());
    let new = changes.iter().map(|change| match change {
        PropertyChange::Set(property) => property.xml.len(),
        PropertyChange::Remove { .. } => 0,
    });
    kept.chain(new).sum::<usize>() > MOST_STORED
}

fn write(href: &str, steps: &[Step], verdict: Verdict) -> String {
    let status = |step: &Step| match (verdict, &step.act) {
        (Verdict::Fine, _) => "200 OK",
        (Verdict::NoRoom, _) => "507 Insufficient Storage",
        (Verdict::Refused, Act::Protected) => "403 Forbidden",
        (Verdict::Refused, Act::Unreadable) => "409 Conflict",
        (Verdict::Refused, Act::Store(_) | Act::Mtime(_)) => "424 Failed Dependency",
    };
    let mut out = format!("{HEAD}<D:response><D:href>{href}</D:href>");
    for line in
        ["200 OK", "403 Forbidden", "409 Conflict", "424 Failed Dependency", "507 Insufficient Storage"]
    {
        let mut names: Vec<&Name> = Vec::new();
        for step in steps.iter().filter(|step| status(step) == line) {
            if !names.contains(&&step.name) {
                names.push(&step.name);
            }
        }
        if names.is_empty() {
            continue;
        }
        out.push_str("<D:propstat><D:prop>");
        names.iter().for_each(|name| empty(name, &mut out));
        out.push_str(&format!("</D:prop><D:status>HTTP/1.1 {line}</D:status>"));
        if line.starts_with("403") {
            out.push_str("<D:error><D:cannot-modify-protected-property/></D:error>");
        }
        out.push_str("</D:propstat>");
    }
    out.push_str("</D:response>\n");
    out.push_str(TAIL);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps(inner: &str) -> Option<Vec<Step>> {
        let body = format!(
            "<D:propertyupdate xmlns:D=\"DAV:\" xmlns:Z=\"urn:schemas-microsoft-com:\">{inner}</D:propertyupdate>"
        );
        read(body.as_bytes()).ok()
    }

    fn set(inner: &str) -> Act {
        steps(&format!("<D:set><D:prop>{inner}</D:prop></D:set>")).unwrap().remove(0).act
    }

    #[test]
    fn ways_to_set_the_date() {
        let at = Act::Mtime(Timestamp::from_second(784_111_777).unwrap());
        assert_eq!(set("<D:lastmodified>784111777</D:lastmodified>"), at);
        assert_eq!(set("<D:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</D:getlastmodified>"), at);
        assert_eq!(
            set("<Z:Win32LastModifiedTime>Sun, 06 Nov 1994 08:49:37 GMT</Z:Win32LastModifiedTime>"),
            at
        );
        assert_eq!(set("<D:lastmodified>soon</D:lastmodified>"), Act::Unreadable);
    }

    #[test]
    fn what_is_stored_and_what_is_not() {
        assert_eq!(set("<D:getetag>x</D:getetag>"), Act::Protected);
        assert_eq!(set("<D:resourcetype/>"), Act::Protected);
        for stored in ["<Z:Win32FileAttributes>20</Z:Win32FileAttributes>", "<x/>", "<D:author/>"] {
            assert!(matches!(set(stored), Act::Store(PropertyChange::Set(_))), "{stored}");
        }
        let all = steps("<D:remove><D:prop><D:getetag/><x/></D:prop></D:remove>").unwrap();
        assert_eq!(all[0].act, Act::Protected);
        assert!(matches!(all[1].act, Act::Store(PropertyChange::Remove { .. })));
    }

    #[test]
    fn order_and_language_are_kept() {
        let all = steps(
            "<D:set xml:lang=\"de\"><D:prop><a>1</a></D:prop></D:set>\
             <D:remove><D:prop><a/></D:prop></D:remove>\
             <D:set><D:prop xml:lang=\"fr\"><a>2</a></D:prop></D:set>",
        )
        .unwrap();
        let xml: Vec<Option<String>> = all
            .iter()
            .map(|step| match &step.act {
                Act::Store(PropertyChange::Set(property)) => Some(property.xml.clone()),
                Act::Store(_) | Act::Mtime(_) | Act::Protected | Act::Unreadable => None,
            })
            .collect();
        assert_eq!(
            xml,
            [Some("<a xml:lang=\"de\">1</a>".to_owned()), None, Some("<a xml:lang=\"fr\">2</a>".to_owned())]
        );
        for bad in ["", "<D:set/>", "<D:set><D:prop/></D:set>"] {
            assert_eq!(steps(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_refusal_fails_all() {
        let all = steps("<D:set><D:prop><a/><D:getetag/><D:lastmodified>x</D:lastmodified></D:prop></D:set>");
        let all = all.unwrap();
        let text = write("/dav/a", &all, judge(&all));
        let status = |name: &str| text.split("<D:propstat>").find(|part| part.contains(name)).unwrap();
        assert!(status("<a ").contains("424 "));
        assert!(status("<D:getetag/>").contains("403 "));
        assert!(status("<D:lastmodified/>").contains("409 "));
        assert!(!text.contains("200 OK"));
    }

    #[test]
    fn stored_properties_are_bounded() {
        let property = |name: &str, len: usize| Property {
            namespace: String::new(),
            name: name.to_owned(),
            xml: "x".repeat(len),
        };
        let old = [property("a", MOST_STORED)];
        assert!(too_much(&old, &[PropertyChange::Set(property("b", 1))]));
        assert!(!too_much(&old, &[PropertyChange::Set(property("a", 9))]));
        assert!(!too_much(&old, &[PropertyChange::Remove { namespace: String::new(), name: "a".into() }]));
    }

    proptest! {
        #[test]
        fn never_panics(inner in "\\PC{0,80}|(<D:set>|</D:set>|<D:prop>|</D:prop>|<a/>|<D:getetag/>|t){0,12}") {
            let _read = steps(&inner);
        }
    }
}
