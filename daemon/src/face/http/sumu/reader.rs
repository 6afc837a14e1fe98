//! The JSON of a part, read as it comes: an object of a few short values and one long text of Base64, in any order. The bytes of that text
//! are handed on as they are decoded, so that no part is ever held in memory.
//!
//! Stricter than JSON in one way only: no value may be an object or a list.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::Value;

use crate::face::http::reply::Deny;

/// A key, or a short value with its quotes, bytes.
const MOST_SHORT: usize = 1024;
/// Keys in one object.
const MOST_KEYS: usize = 16;
/// Characters of Base64 that are decoded at once: a multiple of four.
const RUN: usize = 64 << 10;

const NO_JSON: Deny = Deny::Bad("a part comes as one JSON object of plain values");
const NO_BASE64: Deny = Deny::Bad("the bytes of a part come as Base64");

/// What was said besides the bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// `p`: the password.
    pub(super) password: Option<String>,
    /// `d`: of which upload it is a part.
    pub(super) upload: Option<String>,
    /// `o`: its number.
    pub(super) number: Option<u64>,
}

/// Where in the text the reader is.
#[derive(Debug, PartialEq, Eq)]
enum At {
    Begin,
    /// Before a key, or (before the first) the end.
    Key {
        first: bool,
    },
    InKey,
    Colon,
    Value,
    /// In a short text, or in a number or a word.
    Text,
    Bare,
    Image,
    Behind,
    End,
}

/// Reads one object.
pub(super) struct Reader {
    at: At,
    /// The last character was a backslash.
    escaped: bool,
    key: String,
    keys: usize,
    short: Vec<u8>,
    image: Image,
    said: Said,
    /// The longest the bytes may be.
    most: u64,
}

impl Reader {
    /// Takes at most so many bytes.
    pub(super) fn new(most: u64) -> Self {
        let (key, short, image, said) = (String::new(), Vec::new(), Image::default(), Said::default());
        Self { at: At::Begin, escaped: false, key, keys: 0, short, image, said, most }
    }

    /// Reads on; `take` gets what was said so far, and the next bytes.
    pub(super) fn feed(
        &mut self,
        mut text: &[u8],
        mut take: impl FnMut(&Said, &[u8]) -> Result<(), Deny>,
    ) -> Result<(), Deny> {
        while let Some(&byte) = text.first() {
            if self.at == At::Image {
                let used = self.image(text, &mut take)?;
                text = &text[used..];
                continue;
            }
            // A number ends with what comes behind it.
            if self.at == At::Bare && !is_bare(byte) {
                self.value()?;
                continue;
            }
            self.step(byte)?;
            text = &text[1..];
        }
        Ok(())
    }

    /// What was said, if the object is whole and has bytes in it.
    pub(super) fn finish(self) -> Result<Said, Deny> {
        if self.at != At::End || !self.image.is_whole() {
            return Err(NO_JSON);
        }
        Ok(self.said)
    }

    /// One character that is none of the bytes'.
    fn step(&mut self, byte: u8) -> Result<(), Deny> {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.at {
            At::InKey | At::Text => return self.in_text(byte),
            At::Bare => return self.push(byte),
            At::Begin | At::Key { .. } | At::Colon | At::Value | At::Behind | At::End if is_blank => {}
            At::Begin if byte == b'{' => self.at = At::Key { first: true },
            At::Key { .. } if byte == b'"' => {
                self.at = At::InKey;
                return self.push(byte);
            }
            At::Key { first: true } | At::Behind if byte == b'}' => self.at = At::End,
            At::Behind if byte == b',' => self.at = At::Key { first: false },
            At::Colon if byte == b':' => self.at = At::Value,
            At::Value if byte == b'"' && self.key == "i" => {
                self.image.begin()?;
                self.at = At::Image;
            }
            At::Value if byte == b'"' => {
                self.at = At::Text;
                return self.push(byte);
            }
            At::Value if is_bare(byte) => {
                self.at = At::Bare;
                return self.push(byte);
            }
            At::Begin | At::Key { .. } | At::Colon | At::Value | At::Behind | At::End | At::Image => {
                return Err(NO_JSON);
            }
        }
        Ok(())
    }

    fn push(&mut self, byte: u8) -> Result<(), Deny> {
        if self.short.len() >= MOST_SHORT {
            return Err(Deny::Bad("a value is too long"));
        }
        self.short.push(byte);
        Ok(())
    }

    /// In quotes: as it stands, to be read when its end is known.
    fn in_text(&mut self, byte: u8) -> Result<(), Deny> {
        self.push(byte)?;
        match (self.escaped, byte) {
            (false, b'"') if self.at == At::InKey => {
                self.key = serde_json::from_slice(&std::mem::take(&mut self.short)).map_err(|_| NO_JSON)?;
                self.keys += 1;
                self.at = At::Colon;
                if self.keys > MOST_KEYS { Err(NO_JSON) } else { Ok(()) }
            }
            (false, b'"') => self.value(),
            (escaped, byte) => {
                self.escaped = !escaped && byte == b'\\';
                Ok(())
            }
        }
    }

    /// A short value is whole.
    fn value(&mut self) -> Result<(), Deny> {
        let value: Value = serde_json::from_slice(&std::mem::take(&mut self.short)).map_err(|_| NO_JSON)?;
        self.at = At::Behind;
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(NO_JSON);
        let is_new = match self.key.as_str() {
            "p" => self.said.password.replace(text(&value)?).is_none(),
            "d" => self.said.upload.replace(text(&value)?).is_none(),
            "o" => self.said.number.replace(value.as_u64().ok_or(NO_JSON)?).is_none(),
            "i" => return Err(NO_BASE64),
            _ => true,
        };
        if is_new { Ok(()) } else { Err(NO_JSON) }
    }

    /// Bytes, up to the end of what is here or of the Base64; how many characters were read.
    fn image(
        &mut self,
        text: &[u8],
        take: &mut impl FnMut(&Said, &[u8]) -> Result<(), Deny>,
    ) -> Result<usize, Deny> {
        let (said, most) = (&self.said, self.most);
        let mut hand_on = |received: u64, bytes: &[u8]| {
            if received > most {
                return Err(Deny::Status(StatusCode::PAYLOAD_TOO_LARGE, "a part is too long"));
            }
            take(said, bytes)
        };
        if self.escaped {
            // As Apple's writer has every slash: one character in sixty-four. Nothing else of Base64 needs a backslash.
            if text[0] != b'/' {
                return Err(NO_BASE64);
            }
            self.escaped = false;
            self.image.feed(b"/", &mut hand_on)?;
            return Ok(1);
        }
        let run = memchr::memchr2(b'"', b'\\', text).unwrap_or(text.len());
        self.image.feed(&text[..run], &mut hand_on)?;
        match text.get(run) {
            None => Ok(run),
            Some(b'\\') => {
                self.escaped = true;
                Ok(run + 1)
            }
            Some(_) => {
                self.image.end(&mut hand_on)?;
                self.at = At::Behind;
                Ok(run + 1)
            }
        }
    }
}

/// What numbers and the words true, false and null are made of.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// Base64 in pieces of any length.
#[derive(Default)]
struct Image {
    /// Characters that wait for more, fewer than are decoded at once.
    waiting: Vec<u8>,
    bytes: Vec<u8>,
    received: u64,
    begun: bool,
    /// The padding was there: nothing follows.
    padded: bool,
    ended: bool,
}

impl Image {
    fn begin(&mut self) -> Result<(), Deny> {
        if std::mem::replace(&mut self.begun, true) { Err(NO_JSON) } else { Ok(()) }
    }

    fn feed(
        &mut self,
        mut text: &[u8],
        take: &mut impl FnMut(u64, &[u8]) -> Result<(), Deny>,
    ) -> Result<(), Deny> {
        while !text.is_empty() {
            let (now, rest) = text.split_at((RUN - self.waiting.len()).min(text.len()));
            self.waiting.extend_from_slice(now);
            text = rest;
            if self.waiting.len() == RUN {
                self.decode(take)?;
            }
        }
        Ok(())
    }

    fn decode(&mut self, take: &mut impl FnMut(u64, &[u8]) -> Result<(), Deny>) -> Result<(), Deny> {
        if self.padded {
            return Err(NO_BASE64);
        }
        self.bytes.clear();
        STANDARD.decode_vec(&self.waiting, &mut self.bytes).map_err(|_| NO_BASE64)?;
        self.padded = self.waiting.ends_with(b"=");
        self.waiting.clear();
        self.received += self.bytes.len() as u64;
        take(self.received, &self.bytes)
    }

    fn end(&mut self, take: &mut impl FnMut(u64, &[u8]) -> Result<(), Deny>) -> Result<(), Deny> {
        self.ended = true;
        if self.waiting.is_empty() { Ok(()) } else { self.decode(take) }
    }

    fn is_whole(&self) -> bool {
        self.ended
    }
}

/// Parts: the same in however many pieces they arrive, and what JSON and Base64 say. The first byte says in how many.
#[cfg(any(test, fuzzing))]
pub fn sumu_part(bytes: &[u8]) {
    let Some((piece, text)) = bytes.split_first() else { return };
    let read = |piece: usize| {
        let (mut reader, mut found) = (Reader::new(text.len() as u64), Vec::new());
        for piece in text.chunks(piece.max(1)) {
            let more = reader.feed(piece, |_, bytes| {
                found.extend_from_slice(bytes);
                Ok(())
            });
            more.ok()?;
        }
        Some((reader.finish().ok()?, found))
    };
    let whole = read(text.len());
    assert_eq!(whole, read(usize::from(*piece)), "in pieces of {piece}");
    let Some((said, bytes)) = whole else { return };
    let value: Value = serde_json::from_slice(text).unwrap_or_default();
    assert_eq!(value["i"].as_str().and_then(|image| STANDARD.decode(image).ok()), Some(bytes));
    assert_eq!((said.password.as_deref(), said.number), (value["p"].as_str(), value["o"].as_u64()));
    assert_eq!(said.upload.as_deref(), value["d"].as_str());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes out, fed in pieces of this length.
    fn read(text: &str, piece: usize) -> Result<(Said, Vec<u8>), Deny> {
        let (mut reader, mut bytes) = (Reader::new(1000), Vec::new());
        for part in text.as_bytes().chunks(piece) {
            reader.feed(part, |_, more| {
                bytes.extend_from_slice(more);
                Ok(())
            })?;
        }
        Ok((reader.finish()?, bytes))
    }

    #[test]
    fn a_part_in_any_order() {
        let said = Said { password: Some("a/b\"ü".into()), upload: Some("D-1".into()), number: Some(3) };
        for text in [
            r#"{"p":"a\/b\"ü","i":"aGkgdGhlcmU=","d":"D-1","o":3}"#,
            r#" { "i" : "aGkgdGhlcmU=" , "o" : 3 , "x":null, "y":true,"z":-1.5e3, "d":"D-1","p":"a/b\"\u00fc" } "#,
        ] {
            for piece in [1, 2, 3, 5, 7, 1000] {
                assert_eq!(read(text, piece).unwrap(), (said.clone(), b"hi there".to_vec()), "{text}");
            }
        }
        let slashes = r#"{"i":"\/\/\/\/"}"#;
        assert_eq!(read(slashes, 1).unwrap().1, [0xff; 3]);
        assert_eq!(read(r#"{"i":""}"#, 100).unwrap(), (Said::default(), Vec::new()));
    }

    /// More than is decoded at once, with a backslash before each of its many slashes.
    #[test]
    fn a_long_part_comes_in_few_pieces() {
        let bytes: Vec<u8> = (0..200_001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let text = format!(r#"{{"p":"a","i":"{}","o":1}}"#, STANDARD.encode(&bytes).replace('/', "\\/"));
        for piece in [1, 4711, RUN, 300_000] {
            let (mut reader, mut found, mut taken) = (Reader::new(1 << 20), Vec::new(), 0);
            for part in text.as_bytes().chunks(piece) {
                let fed = reader.feed(part, |_, more| {
                    found.extend_from_slice(more);
                    taken += 1;
                    Ok(())
                });
                fed.unwrap();
            }
            assert!(reader.finish().is_ok() && found == bytes, "{piece}");
            assert_eq!(taken, bytes.len().div_ceil(RUN / 4 * 3), "{piece}");
        }
    }

    #[test]
    fn what_is_no_part() {
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"i":"aGk="#,
            r#"{"i":"aGk="}x"#,
            r#"{"i":"aGk"}"#,
            r#"{"i":"aGk=aGk="}"#,
            r#"{"i":"aG k="}"#,
            r#"{"i":"\u0061Gk="}"#,
            r#"{"i":"aGk=","i":"aGk="}"#,
            r#"{"i":7}"#,
            r#"{"i":null}"#,
            r#"{"p":1,"i":""}"#,
            r#"{"o":"1","i":""}"#,
            r#"{"o":-1,"i":""}"#,
            r#"{"o":1,"o":2,"i":""}"#,
            r#"{"x":{},"i":""}"#,
            r#"{"x":[1],"i":""}"#,
            r#"{"x":tru,"i":""}"#,
            r#"{"i":"",}"#,
            r#"{,"i":""}"#,
            r#"{"i" ""}"#,
        ] {
            for piece in [1, 1000] {
                assert!(read(bad, piece).is_err(), "{bad}");
            }
        }
        let long = format!(r#"{{"p":"{}","i":""}}"#, "x".repeat(2000));
        assert!(read(&long, 100).is_err());
        let large = format!(r#"{{"i":"{}"}}"#, STANDARD.encode([1; 1001]));
        assert!(matches!(read(&large, 100), Err(Deny::Status(StatusCode::PAYLOAD_TOO_LARGE, _))));
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1usize..50, slashes: bool) {
            let encoded = STANDARD.encode(&bytes);
            let encoded = if slashes { encoded.replace('/', "\\/") } else { encoded };
            let (said, found) = read(&format!(r#"{{"d":"a","i":"{encoded}","o":1}}"#), piece).unwrap();
            prop_assert_eq!(found, bytes);
            prop_assert_eq!(said.number, Some(1));
        }

        #[test]
        fn whatever_comes_is_read_like_json_or_refused(text in "\\PC{0,60}|[{}\\[\\]\",:ipdo0-9a=\\\\ ]{0,40}", piece in 1u8..9) {
            sumu_part(&[&[piece], text.as_bytes()].concat());
        }
    }
}
