//! `RelPath`: the one canonical form of a name a person sees, and its reversible spelling on a drive.
//!
//! Authorisation, lookup and opening all use this same value (invariant I28). What cannot be a `RelPath`
//! cannot reach a drive: `..`, empty components, NUL and control characters, names over 255 bytes on disk,
//! and our own `.shoebox`.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// The directory at a drive's root that is ours alone.
pub const RESERVED: &str = ".shoebox";

const MAX_COMPONENT: usize = 255;
const MAX_PATH: usize = 2048;
const MAX_DEPTH: usize = 64;
/// As spelled on a drive. Linux takes 4096 bytes for a whole path: this leaves room for the mount point and the trash.
const MAX_STORED: usize = 3500;

/// A relative path of one or more components, UTF-8 in NFC, separated by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(String);

/// Why a text is not a [`RelPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// No component at all.
    #[error("empty path")]
    Empty,
    /// An empty component, `.` or `..` (also when spelled with backslashes).
    #[error("path with an empty, '.' or '..' component")]
    Dots,
    /// NUL or another control character.
    #[error("path with a control character")]
    Control,
    /// A component over 255 bytes as stored, a path over 2048 bytes (3500 as stored), or more than 64 levels.
    #[error("name too long")]
    TooLong,
    /// A component that is ours.
    #[error("reserved name")]
    Reserved,
}

impl RelPath {
    /// Parses a decoded path. Leading and trailing `/` are the caller's to remove.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        if is_plain(text) { Ok(Self(text.to_owned())) } else { Self::parse_any(text) }
    }

    fn parse_any(text: &str) -> Result<Self, BadPath> {
        if text.is_empty() {
            return Err(BadPath::Empty);
        }
        if text.len() > 2 * MAX_PATH {
            return Err(BadPath::TooLong);
        }
        let text: String = text.chars().map(from_private_use).nfc().collect();
        if text.len() > MAX_PATH || text.split('/').count() > MAX_DEPTH {
            return Err(BadPath::TooLong);
        }
        let mut stored = 0;
        for component in text.split('/') {
            stored += check_component(component)? + 1;
        }
        if stored > MAX_STORED { Err(BadPath::TooLong) } else { Ok(Self(text)) }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, first to last.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path without its last component; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// Every directory above this path, topmost first, without the path itself.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.match_indices('/').map(|(at, _)| Self(self.0[..at].to_owned()))
    }

    /// This path with `below` under it.
    pub fn join(&self, below: &Self) -> Result<Self, BadPath> {
        Self::parse(&format!("{}/{}", self.0, below.0))
    }

    /// This path with one more component, checked like any other text from outside.
    pub fn child(&self, name: &str) -> Result<Self, BadPath> {
        if name.contains('/') {
            return Err(BadPath::Dots);
        }
        Self::parse(&format!("{}/{name}", self.0))
    }

    /// Another name in the same folder, checked in the same way.
    pub fn sibling(&self, name: &str) -> Result<Self, BadPath> {
        match self.parent() {
            Some(parent) => parent.child(name),
            None if name.contains('/') => Err(BadPath::Dots),
            None => Self::parse(name),
        }
    }

    /// Whether this is `other` or lies below it, case- and normalisation-blind.
    pub fn is_within(&self, other: &Self) -> bool {
        let (own, other) = (self.fold_key(), other.fold_key());
        own == other || own.strip_prefix(&other).is_some_and(|rest| rest.starts_with('/'))
    }

    /// What is left of this path below `base`, if it is strictly below it.
    pub fn below(&self, base: &Self) -> Option<Self> {
        self.0.strip_prefix(&base.0)?.strip_prefix('/').map(|rest| Self(rest.to_owned()))
    }

    /// Equal keys mean the same name on a drive that ignores case and normalisation. Simple case mapping,
    /// character by character, as NTFS and exFAT do it: `ß` stays apart from `ss`.
    pub fn fold_key(&self) -> String {
        fold_text(&self.0)
    }

    /// The spelling on a drive: what FAT and NTFS forbid moves to U+F000 + code, as Cygwin and WSL do it.
    pub fn on_disk(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for (index, component) in self.components().enumerate() {
            if index > 0 {
                text.push('/');
            }
            encode_component(component, &mut text);
        }
        text
    }

    /// Reads a path found on a drive. `None`: not a spelling [`RelPath::on_disk`] produces.
    pub fn from_disk(text: &str) -> Option<Self> {
        let path = Self::parse(text).ok()?;
        (path.on_disk() == text).then_some(path)
    }
}

/// Whether a path is one that every rule lets pass as it is. Nearly all are, and listings and rescans read them by the
/// hundred thousand; the rules themselves cost thirty times as much.
fn is_plain(text: &str) -> bool {
    // With its last or first character moved to the private use area, a component grows by four bytes at most, and all
    // of them together stay below `MAX_STORED`.
    let plain = |component: &str| {
        !matches!(component, "" | "." | "..")
            && component.len() <= MAX_COMPONENT - 4
            && !component.eq_ignore_ascii_case(RESERVED)
    };
    text.len() <= MAX_PATH
        && text.bytes().all(|b| matches!(b, b' '..=b'~') && !is_forbidden(char::from(b)))
        && text.split('/').count() <= MAX_DEPTH
        && text.split('/').all(plain)
}

/// Whether a file of this name lies on a drive under the very same name.
pub fn is_stored_as_named(component: &str) -> bool {
    let mut stored = String::new();
    is_stored_plainly(component) || {
        encode_component(component, &mut stored);
        stored == component
    }
}

fn is_stored_plainly(component: &str) -> bool {
    component.is_ascii()
        && !component.ends_with(['.', ' '])
        && !component.bytes().any(|b| is_forbidden(char::from(b)))
        && !is_device_name(component)
}

/// Any text in the form names are compared by.
pub fn fold_text(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { fold_any(text) }
}

fn fold_any(text: &str) -> String {
    text.nfc().map(fold_char).nfc().collect()
}

/// The length of a component as stored, if it may be one.
fn check_component(component: &str) -> Result<usize, BadPath> {
    if component.is_empty() || component.split('\\').any(|piece| matches!(piece, "." | "..")) {
        return Err(BadPath::Dots);
    }
    if component.chars().any(char::is_control) {
        return Err(BadPath::Control);
    }
    let folded: String = component.chars().map(fold_char).collect();
    if folded == RESERVED {
        return Err(BadPath::Reserved);
    }
    let mut stored = String::with_capacity(component.len());
    encode_component(component, &mut stored);
    if stored.len() > MAX_COMPONENT { Err(BadPath::TooLong) } else { Ok(stored.len()) }
}

fn fold_char(c: char) -> char {
    let one = |mut mapped: std::char::ToUppercase| match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => c,
    };
    let upper = one(c.to_uppercase());
    let mut lower = upper.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(only), None) => only,
        _ => upper,
    }
}

/// Device names that Windows reserves, with any extension (Microsoft, "Naming Files, Paths, and Namespaces").
fn is_device_name(component: &str) -> bool {
    let stem = component.split('.').next().unwrap_or(component).trim_end_matches(' ');
    let is = |name: &str| stem.eq_ignore_ascii_case(name);
    let numbered = |(name, number): (&[u8], &u8)| {
        number.is_ascii_digit() && (name.eq_ignore_ascii_case(b"COM") || name.eq_ignore_ascii_case(b"LPT"))
    };
    is("CON")
        || is("PRN")
        || is("AUX")
        || is("NUL")
        || (stem.len() == 4
            && stem.as_bytes().split_last().is_some_and(|(last, first)| numbered((first, last))))
}

/// FAT and NTFS take none of these in a name.
fn is_forbidden(c: char) -> bool {
    matches!(c, '<' | '>' | ':' | '"' | '\\' | '|' | '?' | '*')
}

fn to_private_use(c: char) -> char {
    char::from_u32(0xF000 + u32::from(c)).unwrap_or(c)
}

fn from_private_use(c: char) -> char {
    match u32::from(c) {
        code @ 0xF001..=0xF07F => char::from_u32(code - 0xF000).unwrap_or(c),
        _ => c,
    }
}

fn encode_component(component: &str, out: &mut String) {
    if is_stored_plainly(component) {
        return out.push_str(component);
    }
    let device = is_device_name(component);
    let last = component.chars().count().saturating_sub(1);
    for (index, c) in component.chars().enumerate() {
        let forbidden =
            is_forbidden(c) || (index == last && matches!(c, '.' | ' ')) || (index == 0 && device);
        out.push(if forbidden { to_private_use(c) } else { c });
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({:?})", self.0)
    }
}

impl FromStr for RelPath {
    type Err = BadPath;
    fn from_str(text: &str) -> Result<Self, BadPath> {
        Self::parse(text)
    }
}

impl TryFrom<String> for RelPath {
    type Error = BadPath;
    fn try_from(text: String) -> Result<Self, BadPath> {
        Self::parse(&text)
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn laws() {
        use BadPath::{Control, Dots, Empty, Reserved, TooLong};
        let long = "x".repeat(256);
        let colons = ":".repeat(86); // 86 × 3 bytes on disk
        let deep = [":".repeat(85).as_str(); 16].join("/"); // 1375 bytes, 4096 on disk
        for (text, why) in [
            ("", Empty),
            ("/", Dots),
            ("a//b", Dots),
            ("/a", Dots),
            ("a/", Dots),
            ("..", Dots),
            ("a/../b", Dots),
            ("a/./b", Dots),
            ("..\\..\\etc", Dots),
            ("\u{F02E}\u{F02E}", Dots),
            ("a\0b", Control),
            ("a\u{F00A}b", Control),
            ("a\u{1b}b", Control),
            (".shoebox", Reserved),
            ("a/.SHOEBOX/b", Reserved),
            (&long, TooLong),
            (&colons, TooLong),
            (&deep, TooLong),
        ] {
            assert_eq!(RelPath::parse(text), Err(why), "{text:?}");
        }
        for text in
            ["a", "a b/c.jpg", "...", "..a", ".hidden", "ä/ö", ".shoebox2", "CON", "a:b", "end.", "\u{F8FF}"]
        {
            assert!(RelPath::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn one_name_in_any_case_and_normalisation() {
        assert_eq!(path("Ä/IMG.JPG").fold_key(), path("A\u{308}/img.jpg").fold_key());
        assert_ne!(path("straße").fold_key(), path("strasse").fold_key());
        assert!(path("Photos/a").is_within(&path("photos")));
        assert!(!path("photos2/a").is_within(&path("photos")));
    }

    #[test]
    fn what_fat_forbids_is_mapped_and_comes_back() {
        let name = path("IMG 12:30?.jpg");
        assert_eq!(name.on_disk(), "IMG 12\u{F03A}30\u{F03F}.jpg");
        assert_eq!(RelPath::from_disk(&name.on_disk()), Some(name));
        assert_eq!(path("con.txt").on_disk(), "\u{F063}on.txt");
        assert_eq!(path("a. ").on_disk(), "a.\u{F020}");
        assert_eq!(RelPath::from_disk("a:b"), None);
        assert_eq!(RelPath::from_disk("A\u{308}"), None);
    }

    #[test]
    fn ancestors_are_topmost_first() {
        let all: Vec<String> = path("a/b/c").ancestors().map(String::from).collect();
        assert_eq!(all, ["a", "a/b"]);
        assert_eq!(path("a/b").below(&path("a")), Some(path("b")));
        assert_eq!(path("ab").below(&path("a")), None);
    }

    proptest! {
        #[test]
        fn parse_is_idempotent_and_disk_form_reversible(text in "[a-zA-Z0-9äÄ\u{308}:?* ./\\\\\u{F000}-\u{F0FF}]{0,40}") {
            if let Ok(path) = RelPath::parse(&text) {
                prop_assert_eq!(RelPath::parse(path.as_str()), Ok(path.clone()));
                let disk = path.on_disk();
                prop_assert_eq!(RelPath::from_disk(&disk), Some(path.clone()));
                prop_assert!(!disk.contains(['<', '>', ':', '"', '\\', '|', '?', '*']));
                for component in disk.split('/') {
                    prop_assert!(component != "." && component != ".." && component.len() <= 255 && !component.is_empty());
                    prop_assert!(!component.ends_with('.') && !component.ends_with(' '));
                }
            }
        }

        #[test]
        fn the_short_way_says_the_same(text in "[a-zA-Z0-9äſK:. /~-]{0,40}|(con|COM1|lpt9|nul|\\.shoebox|\\.SHOEBOX|x)?[./ a]{0,9}|(x{240,260}/?){1,9}") {
            prop_assert_eq!(RelPath::parse(&text), RelPath::parse_any(&text));
            prop_assert_eq!(fold_text(&text), fold_any(&text));
        }

        #[test]
        fn any_text_is_path_or_error(text in "\\PC{0,300}|.{0,300}") {
            if let Ok(path) = RelPath::parse(&text) {
                prop_assert_eq!(path.fold_key(), path.fold_key().parse::<RelPath>().map(|p| p.fold_key()).unwrap_or(path.fold_key()));
            }
        }
    }
}
