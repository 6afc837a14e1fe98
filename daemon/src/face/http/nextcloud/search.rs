//! REPORT and SEARCH: the favourites and the media the apps show, answered from the catalogue.
//!
//! Of RFC 5323's queries there is what the apps ask: types, dates, sizes and names, joined by and, or and not. What is not known holds.
use jiff::Timestamp;

use super::properties::{NC, OC};
use crate::face::http::reply::{Deny, Reply};
use crate::face::http::webdav::propfind::{self, Wanted};
use crate::face::http::webdav::xml::{self, DAV, Element, Name};
use crate::face::http::webdav::{Cx, content_type, date};
use crate::model::path::RelPath;
use crate::work::tree::{Node, NodeKind};

/// The most that is answered at once.
const MOST: usize = 2000;
/// How deep conditions may be nested.
const MOST_DEPTH: usize = 16;

/// REPORT: the favourites. Of other reports there is nothing to tell.
pub(in crate::face::http) fn report(cx: &Cx, body: &[u8]) -> Result<Reply, Deny> {
    let Ok(root) = xml::parse(body) else { return Err(Deny::Bad("unreadable report")) };
    let wanted = props(&root).map_or(Wanted::All(Vec::new()), Wanted::These);
    let rules = root.elements().find(|element| element.name.local == "filter-rules");
    let favourites = rules.is_some_and(|rules| {
        rules.elements().any(|rule| {
            rule.name.namespace == OC
                && rule.name.local == "favorite"
                && super::properties::is_yes(&rule.text())
        })
    });
    let node = cx.node()?;
    let found = if favourites && root.name.local == "filter-files" {
        cx.tree().favourites(&node.path, &cx.device, MOST)?
    } else {
        Vec::new()
    };
    propfind::found(cx, wanted, &found)
}

/// SEARCH: the media of a time.
pub(in crate::face::http) fn search(cx: &Cx, body: &[u8]) -> Result<Reply, Deny> {
    let query = Query::read(body)?;
    let below = query.scope(cx)?;
    let fits = |node: &Node| query.condition.holds(node);
    let found = match below {
        Some(below) => cx.tree().dated(&below, (query.limit, query.newest), &fits)?,
        None => Vec::new(),
    };
    propfind::found(cx, query.wanted.clone(), &found)
}

fn props(within: &Element) -> Option<Vec<Name>> {
    let list = within.elements().find(|element| element.is_dav("prop"))?;
    let names: Vec<Name> = list.elements().map(|element| element.name.clone()).collect();
    (names.len() <= propfind::MOST_NAMES).then_some(names)
}

/// A `searchrequest`.
#[derive(Debug, Clone)]
struct Query {
    wanted: Wanted,
    /// Where, as a path below `/remote.php/dav`.
    href: String,
    condition: Condition,
    limit: usize,
    newest: bool,
}

impl Query {
    fn read(body: &[u8]) -> Result<Self, Deny> {
        let bad = || Deny::Bad("unreadable searchrequest");
        let root = xml::parse(body).map_err(|_| bad())?;
        let basic = root.elements().find(|element| element.is_dav("basicsearch")).ok_or_else(bad)?;
        let part = |name: &str| basic.elements().find(|element| element.is_dav(name));
        let wanted = part("select").and_then(props).map_or(Wanted::All(Vec::new()), Wanted::These);
        let href = part("from").and_then(|from| find(from, "href", 0)).map_or(String::new(), Element::text);
        let condition = match part("where").map(|all| Condition::all(all, 0)) {
            None => Condition::Always,
            Some(condition) => condition.ok_or_else(bad)?,
        };
        let nresults = part("limit").and_then(|limit| find(limit, "nresults", 0)).map(Element::text);
        let limit = nresults.and_then(|text| text.trim().parse().ok()).unwrap_or(MOST);
        let newest = part("orderby").is_none_or(|order| find(order, "ascending", 0).is_none());
        Ok(Self { wanted, href: href.trim().to_owned(), condition, limit: limit.min(MOST), newest })
    }

    /// The folder that is searched. `None`: there is none of that name.
    fn scope(&self, cx: &Cx) -> Result<Option<RelPath>, Deny> {
        let path = self.href.strip_prefix("/remote.php/dav").unwrap_or(&self.href);
        let target = cx.below(&format!("/remote.php/dav{path}"));
        let path = target.map_or_else(|| cx.target.path.clone(), |target| target.path);
        Ok(cx.find(&path)?.map(|node| node.path))
    }
}

fn find<'e>(within: &'e Element, local: &str, depth: usize) -> Option<&'e Element> {
    if depth > MOST_DEPTH {
        return None;
    }
    within.elements().find_map(|element| {
        if element.is_dav(local) { Some(element) } else { find(element, local, depth + 1) }
    })
}

/// What a file must fit.
#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Always,
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Folder,
    /// The type or the name, `%` for anything.
    Like(Text, String),
    /// A number or a date compared with one.
    Compare(Number, Comparison, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Type,
    Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Modified,
    Made,
    Received,
    Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// All that is inside an element, which must all hold. `None`: nested too deep.
    fn all(within: &Element, depth: usize) -> Option<Self> {
        Self::parts(within, depth).map(Self::All)
    }

    fn parts(within: &Element, depth: usize) -> Option<Vec<Self>> {
        if depth > MOST_DEPTH {
            return None;
        }
        within.elements().map(|element| Self::read(element, depth + 1)).collect()
    }

    fn read(element: &Element, depth: usize) -> Option<Self> {
        if element.name.namespace != DAV {
            return Some(Self::Always);
        }
        match element.name.local.as_str() {
            "and" => Self::all(element, depth),
            "or" => Some(Self::Any(Self::parts(element, depth)?)),
            "not" => Some(Self::Not(Box::new(Self::all(element, depth)?))),
            "is-collection" => Some(Self::Folder),
            comparison => Some(Self::compare(element, comparison)),
        }
    }

    fn compare(element: &Element, word: &str) -> Self {
        let name = props(element).and_then(|names| names.into_iter().next());
        let literal = element.elements().find(|inner| inner.is_dav("literal")).map(Element::text);
        let (Some(name), Some(literal)) = (name, literal) else { return Self::Always };
        let text = match (name.namespace.as_str(), name.local.as_str()) {
            (DAV, "getcontenttype") => Some(Text::Type),
            (DAV, "displayname") => Some(Text::Name),
            _ => None,
        };
        if let (Some(text), "like" | "eq") = (text, word) {
            return Self::Like(text, literal.trim().to_lowercase());
        }
        let number = match (name.namespace.as_str(), name.local.as_str()) {
            (DAV, "getlastmodified") => Number::Modified,
            (NC, "creation_time") => Number::Made,
            (NC, "upload_time") => Number::Received,
            (OC, "size") => Number::Size,
            _ => return Self::Always,
        };
        let comparison = match word {
            "eq" => Comparison::Equal,
            "lt" => Comparison::Less,
            "lte" => Comparison::LessOrEqual,
            "gt" => Comparison::Greater,
            "gte" => Comparison::GreaterOrEqual,
            _ => return Self::Always,
        };
        number_of(literal.trim()).map_or(Self::Always, |value| Self::Compare(number, comparison, value))
    }

    fn holds(&self, node: &Node) -> bool {
        match self {
            Self::Always => true,
            Self::All(all) => all.iter().all(|one| one.holds(node)),
            Self::Any(some) => some.is_empty() || some.iter().any(|one| one.holds(node)),
            Self::Not(one) => !one.holds(node),
            Self::Folder => node.kind == NodeKind::Folder,
            Self::Like(text, pattern) => {
                let value = match (text, node.kind) {
                    (Text::Type, NodeKind::Folder) => return false,
                    (Text::Type, NodeKind::File { .. }) => content_type(node.path.name()).to_owned(),
                    (Text::Name, _) => node.path.name().to_lowercase(),
                };
                is_like(&value, pattern)
            }
            Self::Compare(number, comparison, value) => {
                let its = match (number, node.kind) {
                    (Number::Modified, _) => node.mtime.as_second(),
                    (Number::Made, _) => node.ctime.unwrap_or(node.created).as_second(),
                    (Number::Received, _) => node.created.as_second(),
                    (Number::Size, NodeKind::File { size, .. }) => i64::try_from(size).unwrap_or(i64::MAX),
                    (Number::Size, NodeKind::Folder) => return false,
                };
                match comparison {
                    Comparison::Equal => its == *value,
                    Comparison::Less => its < *value,
                    Comparison::LessOrEqual => its <= *value,
                    Comparison::Greater => its > *value,
                    Comparison::GreaterOrEqual => its >= *value,
                }
            }
        }
    }
}

/// A date in any form the apps write one, or a number.
fn number_of(text: &str) -> Option<i64> {
    let date = text.parse::<Timestamp>().ok().or_else(|| date::parse_http(text));
    date.or_else(|| date::parse_unix(text)).map(Timestamp::as_second).or_else(|| text.parse().ok())
}

/// `%` stands for any text.
fn is_like(value: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('%');
    let Some(rest) = parts.next().and_then(|first| value.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::ContentHash;
    use crate::model::place::Shelf;
    use proptest::prelude::*;

    fn node(name: &str, modified: i64) -> Node {
        Node {
            id: 1,
            path: RelPath::parse(&format!("anna/{name}")).unwrap(),
            kind: NodeKind::File { hash: ContentHash::of(b"x"), size: 10 },
            mtime: Timestamp::from_second(modified).unwrap(),
            ctime: None,
            created: Timestamp::from_second(500).unwrap(),
            changed: 0,
            shelf: Shelf::Photos,
        }
    }

    fn query(inner: &str) -> Option<Query> {
        let body = format!(
            "<d:searchrequest xmlns:d=\"DAV:\" xmlns:nc=\"http://nextcloud.org/ns\" xmlns:oc=\"http://owncloud.org/ns\">\
             <d:basicsearch>{inner}</d:basicsearch></d:searchrequest>"
        );
        Query::read(body.as_bytes()).ok()
    }

    #[test]
    fn what_the_media_tab_asks() {
        let like = |kind: &str| {
            format!("<d:like><d:prop><d:getcontenttype/></d:prop><d:literal>{kind}/%</d:literal></d:like>")
        };
        let when = |word: &str, date: &str| {
            format!("<d:{word}><d:prop><d:getlastmodified/></d:prop><d:literal>{date}</d:literal></d:{word}>")
        };
        let early = when("lt", "1970-01-01T01:00:01+01:00") + when("gte", "1970-01-01T00:00:00Z").as_str();
        let (images, videos, late) = (like("image"), like("video"), when("gt", "3000"));
        let asked = query(&format!(
            "<d:select><d:prop><d:getetag/></d:prop></d:select><d:from><d:scope><d:href>/files/anna</d:href>\
             <d:depth>infinity</d:depth></d:scope></d:from><d:where><d:and><d:or>{images}{videos}</d:or><d:or><d:and>\
             {early}</d:and>{late}</d:or></d:and></d:where><d:limit><d:nresults>3</d:nresults></d:limit>"
        ))
        .unwrap();
        assert_eq!((asked.href.as_str(), asked.limit, asked.newest), ("/files/anna", 3, true));
        let holds = |name, at| asked.condition.holds(&node(name, at));
        assert!(holds("a.jpg", 0) && holds("a.MOV", 3001));
        assert!(!holds("a.jpg", 1) && !holds("a.jpg", 3000) && !holds("a.txt", 0));
    }

    #[test]
    fn patterns() {
        for (value, pattern, expected) in [
            ("image/jpeg", "image/%", true),
            ("image/jpeg", "%", true),
            ("image/jpeg", "image/jpeg", true),
            ("image/jpeg", "%jpeg", true),
            ("image/jpeg", "%e%e%", true),
            ("image/jpeg", "image", false),
            ("image/jpeg", "%png", false),
            ("image/jpeg", "video/%", false),
            ("", "", true),
        ] {
            assert_eq!(is_like(value, pattern), expected, "{value} {pattern}");
        }
    }

    #[test]
    fn nested_too_deep_is_refused() {
        let deep = format!("{}{}", "<d:not>".repeat(20), "</d:not>".repeat(20));
        assert!(query(&format!("<d:where>{deep}</d:where>")).is_none());
        assert!(query("<d:where><d:not><d:is-collection/></d:not></d:where>").is_some());
    }

    proptest! {
        #[test]
        fn never_panics(body in "\\PC{0,80}", inner in "(<d:(and|or|not|like|eq)>|</d:(and|or|not|like|eq)>|%|é){0,8}") {
            let _read = Query::read(body.as_bytes());
            if let Some(query) = query(&format!("<d:where>{inner}</d:where>")) {
                let _holds = query.condition.holds(&node("a.jpg", 1));
            }
            let _like = is_like(&body, &inner);
        }
    }
}
