//! Content hashes: ours (BLAKE3, over the exact bytes received) and those a client may announce.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha1::Digest as _;

/// BLAKE3 of an asset's exact bytes: the asset's identity. Text form: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of `bytes` held in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// A hash read back from a place that stored the 32 bytes (the catalogue).
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The strong entity tag of this content, quotes included (RFC 9110 §8.8.3).
    pub fn etag(&self) -> String {
        format!("\"{}\"", &hex(&self.0)[..32])
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({}…)", &hex(&self.0)[..12])
    }
}

/// A text that is not a hash of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct BadHash(&'static str);

impl FromStr for ContentHash {
    type Err = BadHash;
    fn from_str(text: &str) -> Result<Self, BadHash> {
        unhex(text).map(Self).ok_or(BadHash("BLAKE3 hash of 64 lower-case hex digits"))
    }
}

impl TryFrom<String> for ContentHash {
    type Error = BadHash;
    fn try_from(text: String) -> Result<Self, BadHash> {
        text.parse()
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

/// A checksum the client announced for the bytes it is about to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredHash {
    /// SHA-1 (rclone, Nextcloud desktop, Immich).
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
    /// MD5 (some sync clients).
    Md5([u8; 16]),
    /// Adler-32, the oldest form of the ownCloud header.
    Adler32(u32),
    /// BLAKE3, our own uploader.
    Blake3(ContentHash),
}

/// A checksum header that cannot be read. An unknown algorithm is not an error: it is skipped by [`DeclaredHash::parse_oc`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable checksum {0:?}")]
pub struct BadChecksum(String);

impl DeclaredHash {
    /// Reads an `OC-Checksum` value: `ALGO:hex`, several separated by spaces (ownCloud and Nextcloud clients).
    /// Algorithms unknown to us are skipped; a known one with a malformed value is an error, because the
    /// client believes it is being protected.
    pub fn parse_oc(value: &str) -> Result<Vec<Self>, BadChecksum> {
        let mut found = Vec::new();
        for part in value.split_ascii_whitespace() {
            let bad = || BadChecksum(part.chars().take(80).collect());
            let (algorithm, hex) = part.split_once(':').ok_or_else(bad)?;
            let hex = hex.to_ascii_lowercase();
            let declared = match algorithm.to_ascii_uppercase().as_str() {
                "SHA1" => Self::Sha1(unhex(&hex).ok_or_else(bad)?),
                "SHA256" => Self::Sha256(unhex(&hex).ok_or_else(bad)?),
                "MD5" => Self::Md5(unhex(&hex).ok_or_else(bad)?),
                "BLAKE3" => Self::Blake3(hex.parse().map_err(|_| bad())?),
                "ADLER32" => {
                    if hex.is_empty() || hex.len() > 8 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                        return Err(bad());
                    }
                    Self::Adler32(u32::from_str_radix(&hex, 16).map_err(|_| bad())?)
                }
                _ => continue,
            };
            found.push(declared);
        }
        Ok(found)
    }
}

/// What is known of some bytes after they went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// Our hash.
    pub content: ContentHash,
    /// How many bytes went by.
    pub size: u64,
    /// SHA-1, if it was asked for.
    pub sha1: Option<[u8; 20]>,
    /// SHA-256, if it was asked for.
    pub sha256: Option<[u8; 32]>,
}

/// Which other hashes a [`Hasher`] computes beside BLAKE3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Also {
    /// Compute SHA-1.
    pub sha1: bool,
    /// Compute SHA-256.
    pub sha256: bool,
}

/// In each of SHA-1 and SHA-256 every instruction waits for the one before. In turns of two blocks, a processor that looks ahead
/// works on both at once: a sixth less time than one after the other.
const IN_TURN: usize = 128;

/// The hashes beside ours. They may be lent to another thread ([`Hasher::lend`]), which has to see the same bytes in the same order.
#[derive(Clone, Default)]
pub struct Others {
    sha1: Option<sha1::Sha1>,
    sha256: Option<sha2::Sha256>,
    md5: Option<md5::Md5>,
    adler: Option<Adler32>,
}

impl Others {
    fn new(also: Also, declared: &[DeclaredHash]) -> Self {
        let wants = |test: fn(&DeclaredHash) -> bool| declared.iter().any(test);
        Self {
            sha1: (also.sha1 || wants(|d| matches!(d, DeclaredHash::Sha1(_)))).then(sha1::Sha1::new),
            sha256: (also.sha256 || wants(|d| matches!(d, DeclaredHash::Sha256(_)))).then(sha2::Sha256::new),
            md5: wants(|d| matches!(d, DeclaredHash::Md5(_))).then(md5::Md5::new),
            adler: wants(|d| matches!(d, DeclaredHash::Adler32(_))).then(Adler32::default),
        }
    }

    /// Whether it computes what is needed to compare with this.
    const fn covers(&self, declared: &DeclaredHash) -> bool {
        match declared {
            DeclaredHash::Sha1(_) => self.sha1.is_some(),
            DeclaredHash::Sha256(_) => self.sha256.is_some(),
            DeclaredHash::Md5(_) => self.md5.is_some(),
            DeclaredHash::Adler32(_) => self.adler.is_some(),
            DeclaredHash::Blake3(_) => true,
        }
    }

    const fn is_none(&self) -> bool {
        self.sha1.is_none() && self.sha256.is_none() && self.md5.is_none() && self.adler.is_none()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match (&mut self.sha1, &mut self.sha256) {
            (Some(sha1), Some(sha256)) => {
                for blocks in bytes.chunks(IN_TURN) {
                    sha1.update(blocks);
                    sha256.update(blocks);
                }
            }
            (Some(sha1), None) => sha1.update(bytes),
            (None, Some(sha256)) => sha256.update(bytes),
            (None, None) => {}
        }
        if let Some(h) = &mut self.md5 {
            h.update(bytes);
        }
        if let Some(h) = &mut self.adler {
            h.update(bytes);
        }
    }
}

/// Hashes bytes as they go by and compares the result with what was announced.
#[derive(Clone)]
pub struct Hasher {
    blake3: blake3::Hasher,
    size: u64,
    others: Others,
    declared: Vec<DeclaredHash>,
}

impl Hasher {
    /// A hasher that computes BLAKE3, what `also` names, and whatever `declared` needs to be checked.
    pub fn new(also: Also, declared: &[DeclaredHash]) -> Self {
        let others = Others::new(also, declared);
        Self { blake3: blake3::Hasher::new(), size: 0, others, declared: declared.to_vec() }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.blake3.update(bytes);
        self.others.update(bytes);
    }

    /// Whether it computes any hashes beside ours, unless they are lent.
    pub const fn wants_others(&self) -> bool {
        !self.others.is_none()
    }

    /// Lends the hashes beside ours, if there are any, to whoever hashes the rest of the bytes for them.
    pub fn lend(&mut self) -> Option<Others> {
        self.wants_others().then(|| std::mem::take(&mut self.others))
    }

    /// Takes them back, all bytes seen. What was announced and never came back fits nothing.
    pub fn take_back(&mut self, others: Others) {
        self.others = others;
    }

    /// Has it compare with what is announced only now; `None` if that takes a hash that was not computed from the first byte on.
    #[must_use]
    pub fn declare(self, declared: &[DeclaredHash]) -> Option<Self> {
        let covered = declared.iter().all(|declared| self.others.covers(declared));
        covered.then(|| Self { declared: declared.to_vec(), ..self })
    }

    /// Our hash of what went by so far.
    pub fn content_so_far(&self) -> ContentHash {
        ContentHash(*self.blake3.finalize().as_bytes())
    }

    /// How many bytes went by so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The digests, when nothing was announced.
    pub fn digests(self) -> Digests {
        self.take().0
    }

    /// The digests, or the first announced hash that does not fit.
    pub fn finish(self) -> Result<Digests, DeclaredHash> {
        let declared = self.declared.clone();
        let (digests, md5, adler) = self.take();
        for declared in declared {
            let fits = match declared {
                DeclaredHash::Sha1(want) => digests.sha1 == Some(want),
                DeclaredHash::Sha256(want) => digests.sha256 == Some(want),
                DeclaredHash::Md5(want) => md5 == Some(want),
                DeclaredHash::Adler32(want) => adler == Some(want),
                DeclaredHash::Blake3(want) => digests.content == want,
            };
            if !fits {
                return Err(declared);
            }
        }
        Ok(digests)
    }

    fn take(self) -> (Digests, Option<[u8; 16]>, Option<u32>) {
        let Others { sha1, sha256, md5, adler } = self.others;
        let digests = Digests {
            content: ContentHash(*self.blake3.finalize().as_bytes()),
            size: self.size,
            sha1: sha1.map(|h| h.finalize().into()),
            sha256: sha256.map(|h| h.finalize().into()),
        };
        (digests, md5.map(|h| h.finalize().into()), adler.map(|a| a.value()))
    }
}

/// Adler-32 (RFC 1950 §9): two running sums modulo 65521.
#[derive(Clone)]
struct Adler32 {
    a: u32,
    b: u32,
}

impl Default for Adler32 {
    fn default() -> Self {
        Self { a: 1, b: 0 }
    }
}

impl Adler32 {
    fn update(&mut self, bytes: &[u8]) {
        // 5552 is the longest run for which b cannot overflow 32 bits.
        for run in bytes.chunks(5552) {
            for &byte in run {
                self.a += u32::from(byte);
                self.b += self.a;
            }
            self.a %= 65521;
            self.b %= 65521;
        }
    }
    fn value(&self) -> u32 {
        (self.b << 16) | self.a
    }
}

/// Lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Exactly `N` bytes from lower-case hex; anything else is `None`.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_answers() {
        let mut hasher = Hasher::new(
            Also { sha1: true, sha256: true },
            &DeclaredHash::parse_oc("MD5:900150983cd24fb0d6963f7d28e17f72 ADLER32:024d0127 FUTURE:00")
                .unwrap(),
        );
        hasher.update(b"a");
        hasher.update(b"bc");
        let digests = hasher.finish().unwrap();
        assert_eq!(hex(&digests.sha1.unwrap()), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(&digests.sha256.unwrap()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(digests.content, ContentHash::of(b"abc"));
        assert_eq!(digests.size, 3);
    }

    #[test]
    fn a_wrong_announcement_is_named() {
        let declared = DeclaredHash::parse_oc("SHA1:0000000000000000000000000000000000000000").unwrap();
        let mut hasher = Hasher::new(Also::default(), &declared);
        hasher.update(b"abc");
        assert_eq!(hasher.finish(), Err(declared[0]));
    }

    #[test]
    fn what_was_lent_and_not_given_back_fits_nothing() {
        let declared = DeclaredHash::parse_oc("SHA1:a9993e364706816aba3e25717850c26c9cd0d89d").unwrap();
        let lent = |give_back: bool| {
            let mut hasher = Hasher::new(Also::default(), &declared);
            hasher.update(b"a");
            let mut others = hasher.lend().unwrap();
            assert!(hasher.lend().is_none());
            hasher.update(b"bc");
            others.update(b"bc");
            if give_back {
                hasher.take_back(others);
            }
            hasher.finish().map(|digests| digests.sha1)
        };
        let DeclaredHash::Sha1(sha1) = declared[0] else { unreachable!() };
        assert_eq!(lent(true), Ok(Some(sha1)));
        assert_eq!(lent(false), Err(declared[0]));
        assert!(Hasher::new(Also::default(), &[]).lend().is_none());
    }

    #[test]
    fn malformed_announcements_are_refused() {
        for bad in ["SHA1", "SHA1:xyz", "SHA1:00", "MD5:", "ADLER32:123456789", "ADLER32:+1", "ADLER32:"] {
            assert!(DeclaredHash::parse_oc(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// However the bytes come, SHA-1 and SHA-256 side by side are what each is by itself.
        #[test]
        fn hashes_in_turns_are_the_hashes(bytes in proptest::collection::vec(any::<u8>(), 0..2000), piece in 1..500usize) {
            let hash = |also: Also| {
                let mut hasher = Hasher::new(also, &[]);
                bytes.chunks(piece).for_each(|piece| hasher.update(piece));
                hasher.digests()
            };
            let both = hash(Also { sha1: true, sha256: true });
            prop_assert_eq!(both.sha1, hash(Also { sha1: true, sha256: false }).sha1);
            prop_assert_eq!(both.sha256, hash(Also { sha1: false, sha256: true }).sha256);
        }

        #[test]
        fn text_form_round_trips(bytes: [u8; 32]) {
            let hash = ContentHash::from_bytes(bytes);
            prop_assert_eq!(hash.to_string().parse::<ContentHash>().unwrap(), hash);
        }

        #[test]
        fn parsers_never_panic(text in ".{0,200}") {
            drop(text.parse::<ContentHash>());
            drop(DeclaredHash::parse_oc(&text));
        }

        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..20_000), cut in 0usize..20_000) {
            let declared = |b: &[u8]| { let mut a = Adler32::default(); a.update(b); a.value() };
            let cut = cut.min(bytes.len());
            let mut parts = Adler32::default();
            parts.update(&bytes[..cut]);
            parts.update(&bytes[cut..]);
            prop_assert_eq!(parts.value(), declared(&bytes));
        }
    }
}
