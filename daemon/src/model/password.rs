//! A person's password, as typed and as stored: for the login page, never for uploads.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A person's password as typed: 8 to 200 bytes of UTF-8, no control characters, blanks around it cut off (phones add them).
/// Neither `Debug` nor anything else shows it; [`Password::reveal`] is for whoever hashes or sends it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Password(String);

/// Why a text cannot be a person's password. The text itself is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Fewer than eight characters.
    #[error("a person's password has at least 8 characters")]
    Short,
    /// More than 200 bytes.
    #[error("a person's password has at most 200 bytes")]
    Long,
    /// A character that nobody types.
    #[error("a person's password has no control characters")]
    Control,
}

impl Password {
    /// Reads a password as it was typed.
    pub fn parse(text: &str) -> Result<Self, BadPassword> {
        let text = text.trim();
        if text.len() > 200 {
            return Err(BadPassword::Long);
        }
        if text.chars().any(char::is_control) {
            return Err(BadPassword::Control);
        }
        if text.chars().count() < 8 {
            return Err(BadPassword::Short);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text, for hashing, and for showing it to its owner where it was drawn for them.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl TryFrom<String> for Password {
    type Error = BadPassword;
    fn try_from(text: String) -> Result<Self, BadPassword> {
        Self::parse(&text)
    }
}

impl From<Password> for String {
    fn from(password: Password) -> Self {
        password.0
    }
}

/// What is stored of a password: argon2id in the PHC string format (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`; RFC 9106, and
/// the "PHC string format" specification), with costs that this box can pay: it is read from drives, and a drive must not be able to
/// make the box take all of its memory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

/// A text that is no hash we make or take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an argon2id hash with costs that this box can pay")]
pub struct BadPasswordHash;

/// The most memory that checking a password may take, KiB.
const MOST_MEMORY: u32 = 64 * 1024;
const MOST_PASSES: u32 = 10;
const MOST_LANES: u32 = 4;

impl FromStr for PasswordHash {
    type Err = BadPasswordHash;
    fn from_str(text: &str) -> Result<Self, BadPasswordHash> {
        if fits(text) { Ok(Self(text.to_owned())) } else { Err(BadPasswordHash) }
    }
}

impl PasswordHash {
    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn fits(text: &str) -> bool {
    let b64 = |part: &str, length: std::ops::RangeInclusive<usize>| {
        length.contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
    };
    let cost = |pair: Option<&str>, name: &str, most: u32| {
        let digits = pair.and_then(|pair| pair.strip_prefix(name));
        digits.is_some_and(|digits| {
            digits.len() <= 6 && digits.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n))
        })
    };
    let parts: Vec<&str> = text.split('$').collect();
    let ["", "argon2id", "v=19", costs, salt, hash] = parts[..] else { return false };
    let mut costs = costs.split(',');
    cost(costs.next(), "m=", MOST_MEMORY)
        && cost(costs.next(), "t=", MOST_PASSES)
        && cost(costs.next(), "p=", MOST_LANES)
        && costs.next().is_none()
        && b64(salt, 11..=64)
        && b64(hash, 22..=86)
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = BadPasswordHash;
    fn try_from(text: String) -> Result<Self, BadPasswordHash> {
        text.parse()
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str =
        "$argon2id$v=19$m=32768,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$ZmluZTMyYnl0ZXNvZmhhc2hmaW5lMzJieXRlcw";

    #[test]
    fn passwords() {
        for (text, expected) in [
            ("correct horse", Ok("correct horse")),
            (" 12345678\n", Ok("12345678")),
            ("äöüäöüäö", Ok("äöüäöüäö")),
            ("1234567", Err(BadPassword::Short)),
            ("äöüäöü", Err(BadPassword::Short)),
            ("        ", Err(BadPassword::Short)),
            ("1234\u{0}5678", Err(BadPassword::Control)),
        ] {
            assert_eq!(
                Password::parse(text).as_ref().map(Password::reveal),
                expected.as_ref().copied(),
                "{text:?}"
            );
        }
        assert_eq!(Password::parse(&"x".repeat(200)).map(|p| p.reveal().len()), Ok(200));
        assert_eq!(Password::parse(&"x".repeat(201)), Err(BadPassword::Long));
    }

    #[test]
    fn only_hashes_that_the_box_can_check() {
        assert!(HASH.parse::<PasswordHash>().is_ok());
        for (from, to) in [
            ("argon2id", "argon2i"),
            ("v=19", "v=16"),
            ("m=32768", "m=65537"),
            ("m=32768", "m=4294967295"),
            ("m=32768", "m=0"),
            ("t=3", "t=11"),
            ("p=1", "p=5"),
            ("p=1", "p=1,keyid=x"),
            ("m=32768,t=3", "t=3,m=32768"),
            ("$c29t", "$\n"),
            ("ZmluZT", ""),
            ("c29tZXNhbHRzb21lc2FsdA", "c29t"),
        ] {
            let bad = HASH.replacen(from, to, 1);
            assert!(bad != HASH && (bad.parse::<PasswordHash>().is_err() || to.is_empty()), "{bad}");
        }
        for bad in ["", "$", "$argon2id$v=19$m=1,t=1,p=1$$", &format!("{HASH}$")] {
            assert!(bad.parse::<PasswordHash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_shows_them() {
        let password = Password::parse("correct horse").unwrap();
        assert_eq!(
            format!("{password:?} {:?}", HASH.parse::<PasswordHash>().unwrap()),
            "Password(…) PasswordHash(…)"
        );
        let refused = serde_json::from_str::<Password>("\"secret\"").unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,300}") {
            if let Ok(hash) = text.parse::<PasswordHash>() {
                prop_assert_eq!(hash.as_str(), &text);
            }
            if let Ok(password) = Password::parse(&text) {
                prop_assert_eq!(Password::parse(password.reveal()), Ok(password));
            }
        }
    }
}
