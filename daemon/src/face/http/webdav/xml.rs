//! XML as WebDAV needs it: small bodies read into a tree, namespaces resolved; elements written back as they came.
//!
//! Refuses what could cost more than it is worth: document types and their entities, deep nesting, many elements.
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// The largest body that is read.
pub(in crate::face::http) const MOST_BYTES: usize = 1024 * 1024;
const MOST_DEPTH: usize = 32;
/// Elements and attributes together. A tree costs far more memory than its text.
const MOST_PARTS: usize = 4096;
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

/// The namespace of WebDAV itself.
pub(in crate::face::http) const DAV: &str = "DAV:";

/// A name in a namespace, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::face::http) struct Name {
    /// The namespace.
    pub(in crate::face::http) namespace: String,
    /// The local name.
    pub(in crate::face::http) local: String,
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::face::http) struct Element {
    /// What it is.
    pub(in crate::face::http) name: Name,
    prefix: String,
    declared: Vec<(String, String)>,
    attributes: Vec<Attribute>,
    children: Vec<Child>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    prefix: String,
    name: Name,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Child {
    Element(Element),
    Text(String),
}

/// A body that is not XML as we take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::face::http) struct BadXml;

impl Element {
    /// Whether this is the element of that name in WebDAV's namespace.
    pub(in crate::face::http) fn is_dav(&self, local: &str) -> bool {
        self.name.namespace == DAV && self.name.local == local
    }

    /// The elements directly inside.
    pub(in crate::face::http) fn elements(&self) -> impl Iterator<Item = &Self> {
        self.children.iter().filter_map(|child| match child {
            Child::Element(element) => Some(element),
            Child::Text(_) => None,
        })
    }

    /// The text directly inside.
    pub(in crate::face::http) fn text(&self) -> String {
        self.children
            .iter()
            .filter_map(|child| match child {
                Child::Text(text) => Some(text.as_str()),
                Child::Element(_) => None,
            })
            .collect()
    }

    /// The value of `xml:lang`, if it is set here.
    pub(super) fn lang(&self) -> Option<&str> {
        let lang = |attribute: &&Attribute| {
            attribute.name.namespace == XML_NAMESPACE && attribute.name.local == "lang"
        };
        self.attributes.iter().find(lang).map(|attribute| attribute.value.as_str())
    }

    /// This element as text that stands for itself: every prefix it uses is declared in it. `lang` is the language
    /// it inherits, to be kept with it (RFC 4918 §4.3).
    pub(super) fn write(&self, lang: Option<&str>) -> String {
        let mut out = String::new();
        let inherited = lang.filter(|_| self.lang().is_none());
        self.write_into(&mut out, &mut vec![(String::new(), String::new())], inherited);
        out
    }

    fn write_into(&self, out: &mut String, scope: &mut Vec<(String, String)>, lang: Option<&str>) {
        let outer = scope.len();
        let qualified = qualified(&self.prefix, &self.name.local);
        out.push('<');
        out.push_str(&qualified);
        for (prefix, namespace) in &self.declared {
            declare(out, scope, outer, prefix, namespace);
        }
        declare(out, scope, outer, &self.prefix, &self.name.namespace);
        for attribute in self.attributes.iter().filter(|attribute| !attribute.prefix.is_empty()) {
            if attribute.prefix != "xml" {
                declare(out, scope, outer, &attribute.prefix, &attribute.name.namespace);
            }
        }
        if let Some(lang) = lang {
            push_attribute(out, "xml:lang", lang);
        }
        for attribute in &self.attributes {
            push_attribute(out, &self::qualified(&attribute.prefix, &attribute.name.local), &attribute.value);
        }
        if self.children.is_empty() {
            out.push_str("/>");
        } else {
            out.push('>');
            for child in &self.children {
                match child {
                    Child::Element(element) => element.write_into(out, scope, None),
                    Child::Text(text) => escape_into(out, text),
                }
            }
            out.push_str("</");
            out.push_str(&qualified);
            out.push('>');
        }
        scope.truncate(outer);
    }
}

fn qualified(prefix: &str, local: &str) -> String {
    if prefix.is_empty() { local.to_owned() } else { format!("{prefix}:{local}") }
}

/// Declares a prefix unless it means that already. `outer`: what was declared before this element.
fn declare(out: &mut String, scope: &mut Vec<(String, String)>, outer: usize, prefix: &str, namespace: &str) {
    let bound = scope.iter().rev().find(|(bound, _)| bound == prefix);
    if bound.is_some_and(|(_, bound)| bound == namespace) || scope[outer..].iter().any(|(p, _)| p == prefix) {
        return;
    }
    let attribute = if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{prefix}") };
    push_attribute(out, &attribute, namespace);
    scope.push((prefix.to_owned(), namespace.to_owned()));
}

fn push_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape_into(out, value);
    out.push('"');
}

/// Text for content or a quoted attribute. Line breaks in attributes would be turned into blanks, so they, too,
/// are spelled out.
pub(in crate::face::http) fn escape_into(out: &mut String, text: &str) {
    if text.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'&' | b'<' | b'>' | b'"' | b'\'')) {
        return out.push_str(text);
    }
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\r' => out.push_str("&#13;"),
            // Not even as a reference may these stand in XML 1.0 (§2.2).
            c if !is_char(c) => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
}

/// Escaped text.
pub(in crate::face::http) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(&mut out, text);
    out
}

fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && c != '\u{FFFE}' && c != '\u{FFFF}')
}

/// Reads a body.
pub(in crate::face::http) fn parse(bytes: &[u8]) -> Result<Element, BadXml> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.len() > MOST_BYTES {
        return Err(BadXml);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BadXml)?;
    if !text.chars().all(is_char) {
        return Err(BadXml);
    }
    let mut reader = Reader::from_str(text);
    let mut builder = Builder::default();
    loop {
        match reader.read_event().map_err(|_| BadXml)? {
            Event::Start(start) => builder.open(&start)?,
            Event::Empty(start) => {
                builder.open(&start)?;
                builder.close()?;
            }
            Event::End(_) => builder.close()?,
            Event::Text(text) => builder.text(&text.xml10_content())?,
            Event::CData(text) => builder.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let c = match reference.resolve_char_ref().map_err(|_| BadXml)? {
                    Some(c) if is_char(c) => c,
                    Some(_) => return Err(BadXml),
                    None => match &*reference {
                        "lt" => '<',
                        "gt" => '>',
                        "amp" => '&',
                        "quot" => '"',
                        "apos" => '\'',
                        _ => return Err(BadXml),
                    },
                };
                builder.text(c.encode_utf8(&mut [0; 4]))?;
            }
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::DocType(_) => return Err(BadXml),
            Event::Eof => return builder.root.filter(|_| builder.open.is_empty()).ok_or(BadXml),
        }
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    /// Declarations in force, and how many there were before each open element.
    scope: Vec<(String, String)>,
    marks: Vec<usize>,
    parts: usize,
}

impl Builder {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), BadXml> {
        if self.open.len() >= MOST_DEPTH || (self.open.is_empty() && self.root.is_some()) {
            return Err(BadXml);
        }
        self.marks.push(self.scope.len());
        let (mut declared, mut plain) = (Vec::new(), Vec::new());
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| BadXml)?;
            self.count()?;
            let value = quick_xml::escape::unescape(&attribute.value).map_err(|_| BadXml)?.into_owned();
            if attribute.value.contains('<') || !value.chars().all(is_char) {
                return Err(BadXml);
            }
            match split(attribute.key.0)? {
                ("", "xmlns") => declared.push((String::new(), value)),
                ("xmlns", prefix) => declared.push((prefix.to_owned(), value)),
                (prefix, local) => plain.push((prefix.to_owned(), local.to_owned(), value)),
            }
        }
        for (prefix, namespace) in &declared {
            // Namespaces in XML 1.0 §2.2, §3: a prefix cannot be undeclared, and these two are taken.
            let undeclared = !prefix.is_empty() && namespace.is_empty();
            let reserved = (prefix == "xml") != (namespace == XML_NAMESPACE);
            if undeclared || reserved || prefix == "xmlns" || namespace == "http://www.w3.org/2000/xmlns/" {
                return Err(BadXml);
            }
        }
        self.scope.extend(declared.iter().cloned());
        self.count()?;
        let (prefix, local) = split(start.name().0)?;
        let name = Name { namespace: self.resolve(prefix)?, local: local.to_owned() };
        let mut attributes: Vec<Attribute> = Vec::with_capacity(plain.len());
        for (prefix, local, value) in plain {
            // An attribute without a prefix is in no namespace, whatever the default is.
            let namespace = if prefix.is_empty() { String::new() } else { self.resolve(&prefix)? };
            let name = Name { namespace, local };
            if attributes.iter().any(|other| other.name == name) {
                return Err(BadXml);
            }
            attributes.push(Attribute { prefix, name, value });
        }
        let prefix = prefix.to_owned();
        self.open.push(Element { name, prefix, declared, attributes, children: Vec::new() });
        Ok(())
    }

    fn count(&mut self) -> Result<(), BadXml> {
        self.parts += 1;
        if self.parts > MOST_PARTS { Err(BadXml) } else { Ok(()) }
    }

    fn resolve(&self, prefix: &str) -> Result<String, BadXml> {
        if prefix == "xml" {
            return Ok(XML_NAMESPACE.to_owned());
        }
        match self.scope.iter().rev().find(|(bound, _)| bound == prefix) {
            Some((_, namespace)) => Ok(namespace.clone()),
            None if prefix.is_empty() => Ok(String::new()),
            None => Err(BadXml),
        }
    }

    fn close(&mut self) -> Result<(), BadXml> {
        let (Some(element), Some(mark)) = (self.open.pop(), self.marks.pop()) else { return Err(BadXml) };
        self.scope.truncate(mark);
        match self.open.last_mut() {
            Some(parent) => parent.children.push(Child::Element(element)),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), BadXml> {
        match self.open.last_mut() {
            None if text.trim().is_empty() => Ok(()),
            None => Err(BadXml),
            Some(parent) => {
                match parent.children.last_mut() {
                    Some(Child::Text(before)) => before.push_str(text),
                    Some(Child::Element(_)) | None => parent.children.push(Child::Text(text.to_owned())),
                }
                Ok(())
            }
        }
    }
}

/// Prefix and local name of a qualified name. The reader does not look at the letters; we write them back.
fn split(name: &str) -> Result<(&str, &str), BadXml> {
    let (prefix, local) = name.split_once(':').unwrap_or(("", name));
    let prefixed = name.contains(':');
    if !is_ncname(local) || (prefixed && !is_ncname(prefix)) {
        return Err(BadXml);
    }
    Ok((prefix, local))
}

fn is_ncname(name: &str) -> bool {
    let first = |c: char| c.is_alphabetic() || c == '_';
    name.chars().next().is_some_and(first)
        && name.chars().all(|c| first(c) || c.is_numeric() || matches!(c, '-' | '.' | '\u{B7}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again(text: &str) -> Option<String> {
        parse(text.as_bytes()).ok().map(|element| element.write(None))
    }

    #[test]
    fn read_and_written_back() {
        for (text, expected) in [
            ("<a/>", Some("<a/>")),
            ("\u{FEFF}<?xml version=\"1.0\"?><!-- c --><a/>\n", Some("<a/>")),
            ("<a>1 &lt; 2 &#x41;<![CDATA[<&]]></a>", Some("<a>1 &lt; 2 A&lt;&amp;</a>")),
            ("<D:a xmlns:D=\"DAV:\"><D:b/></D:a>", Some("<D:a xmlns:D=\"DAV:\"><D:b/></D:a>")),
            ("<a xmlns=\"x\"><b xmlns=\"\"/></a>", Some("<a xmlns=\"x\"><b xmlns=\"\"/></a>")),
            ("<a q=\"'&quot;&amp;\"/>", Some("<a q=\"&#39;&quot;&amp;\"/>")),
            ("<a xml:lang=\"de\"/>", Some("<a xml:lang=\"de\"/>")),
            ("<a xmlns:x=\"u\" x:q=\"1\"/>", Some("<a xmlns:x=\"u\" x:q=\"1\"/>")),
            ("", None),
            ("<a>", None),
            ("<a/><b/>", None),
            ("<a/>b", None),
            ("<a></b>", None),
            ("<x:a/>", None),
            ("<a x:q=\"1\"/>", None),
            ("<a xmlns:x=\"\"/>", None),
            ("<a q=\"1\" q=\"2\"/>", None),
            ("<a xmlns:x=\"u\" xmlns:y=\"u\" x:q=\"1\" y:q=\"2\"/>", None),
            ("<a>&nbsp;</a>", None),
            ("<a>&#0;</a>", None),
            ("<a>\u{1}</a>", None),
            ("<a&b/>", None),
            ("<1/>", None),
            ("<a:b:c xmlns:a=\"u\"/>", None),
            ("<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>", None),
            ("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>", None),
        ] {
            assert_eq!(again(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_inner_element_stands_for_itself() {
        let root =
            "<D:prop xmlns:D=\"DAV:\" xmlns:x=\"urn:x\" xmlns=\"urn:d\"><x:p D:q=\"1\"><y/></x:p></D:prop>";
        let root = parse(root.as_bytes()).unwrap();
        let inner = root.elements().next().unwrap();
        assert_eq!(
            inner.write(Some("de")),
            "<x:p xmlns:x=\"urn:x\" xmlns:D=\"DAV:\" xml:lang=\"de\" D:q=\"1\"><y xmlns=\"urn:d\"/></x:p>"
        );
    }

    #[test]
    fn bounds() {
        let deep = |n: usize| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
        assert!(parse(deep(MOST_DEPTH).as_bytes()).is_ok());
        assert!(parse(deep(MOST_DEPTH + 1).as_bytes()).is_err());
        assert!(parse(format!("<a>{}</a>", "<b/>".repeat(MOST_PARTS)).as_bytes()).is_err());
        assert!(parse(format!("<a>{}</a>", "x".repeat(MOST_BYTES)).as_bytes()).is_err());
        let attributes: String = (0..5000).map(|n| format!(" a{n}=\"\"")).collect();
        assert!(parse(format!("<a{attributes}/>").as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}|(<a|<x:b| xmlns:x=\"u\"| xmlns=\"\"|>|/>|</a>|</x:b>|&amp;|&#x41;|<!\\[CDATA\\[|\\]\\]>|t){0,16}") {
            let _read = parse(text.as_bytes());
        }

        #[test]
        fn what_is_written_reads_the_same(text in "(<a>|<x:b xmlns:x=\"u\">|<x:c xmlns:x=\"v\" x:q=\"1\">|<d xmlns=\"w\">|t|&lt;|</>){0,14}") {
            // Close what was opened, in order, so that most inputs are well formed.
            let mut open = Vec::new();
            let mut body = String::from("<r>");
            for token in text.split_inclusive('>').flat_map(|t| t.split_inclusive(';')) {
                if let Some(name) = token.strip_prefix('<').and_then(|t| t.split([' ', '>', '/']).next()).filter(|n| !n.is_empty()) {
                    open.push(name.to_owned());
                    body.push_str(token);
                } else if token == "</>" {
                    if let Some(name) = open.pop() { body.push_str(&format!("</{name}>")); }
                } else {
                    body.push_str(token);
                }
            }
            while let Some(name) = open.pop() { body.push_str(&format!("</{name}>")); }
            body.push_str("</r>");
            if let Ok(element) = parse(body.as_bytes()) {
                let written = element.write(None);
                let again = parse(written.as_bytes()).unwrap();
                prop_assert_eq!(again.write(None), written);
            }
        }
    }
}
