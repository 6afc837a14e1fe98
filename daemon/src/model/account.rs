//! People and their devices: names, kinds, and the tokens devices sign in with.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use crate::model::hash::{hex, unhex};
use crate::model::path::RelPath;

/// A person's or a device's short name: `a`–`z`, `0`–`9`, `-`, `_`, starting with a letter or digit, 1–40 bytes.
/// It is a directory under `photos/` and the user name typed on phones, hence the plain alphabet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

/// A text that cannot be a person's or device's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a usable name: 1 to 40 of a-z, 0-9, '-' and '_', starting with a letter or a digit")]
pub struct BadSlug(String);

impl Slug {
    /// A name made of what a person calls a thing: `Anna's iPhone` is `annas-iphone`. `None`: nothing of it can be in a name.
    pub fn made_of(text: &str) -> Option<Self> {
        let mut slug = String::new();
        // Decomposed, an ä is an a and its dots.
        for c in text.nfd().flat_map(char::to_lowercase).take(400) {
            if slug.len() == 40 {
                break;
            }
            if c.is_ascii_lowercase() || c.is_ascii_digit() || (c == '_' && !slug.is_empty()) {
                slug.push(c);
            } else if c == 'ß' {
                slug.push_str(if slug.len() < 39 { "ss" } else { "s" });
            } else if !slug.is_empty()
                && !slug.ends_with('-')
                && (c.is_whitespace() || c.is_ascii_punctuation())
                && c != '\''
            {
                slug.push('-');
            }
        }
        slug.trim_end_matches('-').parse().ok()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = BadSlug;
    fn from_str(text: &str) -> Result<Self, BadSlug> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = (1..=40).contains(&text.len())
            && text.bytes().all(|b| plain(b) || matches!(b, b'-' | b'_'))
            && text.bytes().next().is_some_and(plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(BadSlug(text.chars().take(60).collect())) }
    }
}

impl TryFrom<String> for Slug {
    type Error = BadSlug;
    fn try_from(text: String) -> Result<Self, BadSlug> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a device may do: a phone only ever adds; a computer may also rename and move to trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Append-only, in its own folder.
    Phone,
    /// Sees all of the person's photos; may rename and trash.
    Computer,
}

impl DeviceKind {
    /// The word stored in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Computer => "computer",
        }
    }
}

/// A word that is no device kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a device is a 'phone' or a 'computer', not {0:?}")]
pub struct UnknownKind(String);

impl FromStr for DeviceKind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        match text {
            "phone" => Ok(Self::Phone),
            "computer" => Ok(Self::Computer),
            other => Err(UnknownKind(other.to_owned())),
        }
    }
}

/// A device with the right to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The person it belongs to.
    pub person: Slug,
    /// Its name, unique for the person.
    pub name: Slug,
    /// What it may do.
    pub kind: DeviceKind,
}

/// What a device signs in with: most apps send its password as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum App {
    /// Any app that sends it as it is.
    #[default]
    Any,
    /// Lomorage, which sends what [`crate::model::lomorage::sent_for`] says: no other app can use such a password.
    Lomorage,
}

impl Device {
    /// The folder its requests are relative to: its own for a phone, the person's for a computer.
    pub fn root(&self) -> RelPath {
        let text = match self.kind {
            DeviceKind::Phone => format!("{}/{}", self.person, self.name),
            DeviceKind::Computer => self.person.to_string(),
        };
        #[expect(clippy::expect_used, reason = "a slug is a valid component and no slug is reserved")]
        RelPath::parse(&text).expect("slugs are valid components")
    }

    /// The text that names this device in events and receipts: `person/device`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.person, self.name)
    }
}

/// A device's password: 160 random bits, shown once, in 8 groups of 4 letters.
pub struct Token(String);

impl Token {
    /// Spells 20 random bytes.
    pub fn from_random(bytes: [u8; 20]) -> Self {
        // No i, l, o, 0: these are typed from a screen.
        const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
        let mut text = String::with_capacity(39);
        let mut bits: u32 = 0;
        let mut held = 0;
        for byte in bytes {
            bits = bits << 8 | u32::from(byte);
            held += 8;
            while held >= 5 {
                held -= 5;
                if text.len() % 5 == 4 {
                    text.push('-');
                }
                text.push(char::from(LETTERS[(bits >> held & 31) as usize]));
            }
        }
        Self(text)
    }

    /// The text to print for its owner. Nothing else may show it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The pool's key for hashing tokens: 32 random bytes, kept on the drives.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// A key from 32 random bytes.
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The keyed BLAKE3 of a password as typed; dashes and surrounding blanks do not count.
    pub fn hash(&self, password: &str) -> TokenHash {
        let typed: String = password.trim().chars().filter(|c| *c != '-').collect();
        TokenHash(*blake3::keyed_hash(&self.0, typed.as_bytes()).as_bytes())
    }

    /// What a client gets for a token and shows instead of it: it ends with the token.
    pub fn pass(&self, token: &TokenHash) -> String {
        blake3::keyed_hash(&self.0, &[b"pass\0".as_slice(), &token.0].concat()).to_hex().to_string()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

/// A text that is not 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not 64 lower-case hex digits")]
pub struct BadHex;

impl TryFrom<String> for TokenKey {
    type Error = BadHex;
    fn try_from(text: String) -> Result<Self, BadHex> {
        unhex(&text).map(Self).ok_or(BadHex)
    }
}

impl From<TokenKey> for String {
    fn from(key: TokenKey) -> Self {
        hex(&key.0)
    }
}

/// What is stored of a token. Compared as a whole; it is keyed, so its timing tells nothing about a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A hash read back from the catalogue.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl TryFrom<String> for TokenHash {
    type Error = BadHex;
    fn try_from(text: String) -> Result<Self, BadHex> {
        unhex(&text).map(Self).ok_or(BadHex)
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hex(&hash.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slugs() {
        for good in ["anna", "annas-iphone", "0", "a_b"] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "Anna", "a/b", "..", "a b", "ä", &"a".repeat(41)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }

    #[test]
    fn slugs_are_made_of_what_people_say() {
        for (text, slug) in [
            ("Anna's iPhone", Some("annas-iphone")),
            ("Pixel 8", Some("pixel-8")),
            ("  SM-G991B  ", Some("sm-g991b")),
            ("Büro (groß) #2!", Some("buro-gross-2")),
            ("-_x", Some("x")),
            ("a__b", Some("a__b")),
            ("телефон", None),
            ("", None),
            ("../../etc", Some("etc")),
        ] {
            assert_eq!(Slug::made_of(text).as_ref().map(Slug::as_str), slug, "{text}");
        }
    }

    #[test]
    fn a_token_has_eight_groups_and_no_debug() {
        let token = Token::from_random([7; 20]);
        assert_eq!(token.reveal().split('-').map(str::len).collect::<Vec<_>>(), [4; 8]);
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    proptest! {
        #[test]
        fn tokens_differ_with_every_bit(bytes: [u8; 20], bit in 0usize..160) {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            let (one, two) = (Token::from_random(bytes), Token::from_random(other));
            prop_assert_ne!(one.reveal(), two.reveal());
        }

        #[test]
        fn dashes_do_not_count(bytes: [u8; 20], key: [u8; 32]) {
            let key = TokenKey::from_random(key);
            let token = Token::from_random(bytes);
            prop_assert_eq!(key.hash(token.reveal()), key.hash(&token.reveal().replace('-', "")));
        }

        #[test]
        fn any_text_makes_a_slug_or_none(text in "\\PC{0,80}") {
            if let Some(slug) = Slug::made_of(&text) {
                prop_assert_eq!(Slug::made_of(slug.as_str()), Some(slug));
            }
        }

        #[test]
        fn device_roots_are_paths(person in "[a-z0-9][a-z0-9_-]{0,39}", name in "[a-z0-9][a-z0-9_-]{0,39}") {
            let device = Device { person: person.parse().unwrap(), name: name.parse().unwrap(), kind: DeviceKind::Phone };
            prop_assert_eq!(device.root().to_string(), format!("{person}/{name}"));
        }
    }
}
