//! What is asked of the box, one function for each request: Nextcloud's dialect, which keeps a tree of folders, sends large files in chunks
//! that wait on the box, and makes folders as they are needed; and the box's own question for what it has (docs/decisions/0025).
use std::collections::{BTreeMap, HashSet};

use hyper::Method;
use hyper::header::{CONTENT_TYPE, ETAG};
use hyper::http::request::Builder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::trouble::Trouble;
use super::wire::{Answer, Sending, Stretch, Wire};
use crate::model::hash::{ContentHash, hex};
use crate::model::path::RelPath;

/// So many at once (`face/http/pages/proofs.rs`).
pub(super) const MOST_HASHES: usize = 100;
/// The box keeps up to 10,000 parts of one upload.
const MOST_CHUNKS: u64 = 9000;
const MIB: u64 = 1 << 20;
/// What a chunk has at least, and what is sent in one request.
pub(super) const CHUNK: u64 = 16 * MIB;

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What must hold of the name that a file gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Nobody has it.
    Free,
    /// These very bytes have it.
    Has(ContentHash),
}

/// A file as the box is told of it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) name: RelPath,
    pub(super) hash: ContentHash,
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) mtime: i64,
    pub(super) expect: Expect,
}

/// The length of the chunks that a file of this size is sent in. It depends on nothing else: a later run finds the same.
pub(super) fn chunk_of(size: u64) -> u64 {
    size.div_ceil(MOST_CHUNKS).div_ceil(MIB).saturating_mul(MIB).max(CHUNK)
}

/// Under what an upload in chunks is found again: of other bytes, or under another name, it is another one.
pub(super) fn upload_id(told: &Told) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(told.name.as_str().as_bytes()).update(&[0]).update(told.hash.as_bytes());
    format!("shoebox-push-{}", hex(&hasher.finalize().as_bytes()[..16]))
}

/// The box, as one worker talks to it.
pub(super) struct Remote {
    wire: Wire,
    user: String,
}

impl Remote {
    pub(super) fn new(wire: Wire, user: &str) -> Self {
        Self { wire, user: user.to_owned() }
    }

    fn file(&self, name: &str) -> String {
        format!("/remote.php/dav/files/{}/{}", self.user, utf8_percent_encode(name, PLAIN))
    }

    fn upload(&self, id: &str, below: &str) -> String {
        format!("/remote.php/dav/uploads/{}/{id}{below}", self.user)
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        sending: &Sending,
    ) -> Result<Answer, Trouble> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|e| Trouble::Failed(e.to_string()))?;
        let head = |builder: Builder| {
            more.iter().fold(builder.method(method.clone()).uri(path), |builder, (name, value)| {
                builder.header(*name, *value)
            })
        };
        self.wire.ask(&head, sending)
    }

    /// Signs in: which box this is, whatever its address is. Drives that were put into another box are the same one.
    pub(super) fn who(&mut self) -> Result<String, Trouble> {
        let body = "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\"><d:prop><oc:id/></d:prop></d:propfind>";
        let path = self.file("");
        let answer = self.send("PROPFIND", &path, &[("depth", "0")], &Sending::Text(body.to_owned()));
        let no_box = || Trouble::SignIn(format!("what answers at {} is no Shoebox", self.wire.address()));
        let text = match answer?.success() {
            Ok(answer) => answer.text(),
            // A Shoebox has a root for everybody.
            Err(Trouble::NotFound | Trouble::Failed(_) | Trouble::Taken) => return Err(no_box()),
            Err(other) => return Err(other),
        };
        let id = text.split_once("<oc:id>").and_then(|(_, rest)| rest.split_once("</oc:id>"));
        let instance = id.and_then(|(id, _)| id.split_once("oc")).map(|(_, instance)| instance);
        instance
            .filter(|text| !text.is_empty())
            .map(|text| format!("{text}/{}", self.user))
            .ok_or_else(no_box)
    }

    /// Which of these the box has a good copy of, under some name of this person.
    pub(super) fn there(&mut self, hashes: &[ContentHash]) -> Result<HashSet<ContentHash>, Trouble> {
        #[derive(serde::Deserialize)]
        struct Said {
            proofs: Vec<Proof>,
        }
        #[derive(serde::Deserialize)]
        struct Proof {
            hash: ContentHash,
            on_a: Option<serde::de::IgnoredAny>,
        }
        let mut there = HashSet::new();
        for some in hashes.chunks(MOST_HASHES) {
            let question = serde_json::json!({ "hashes": some }).to_string();
            let more = [(CONTENT_TYPE.as_str(), "application/json")];
            let answer = self.send("POST", "/upload/proofs", &more, &Sending::Text(question))?.success()?;
            let said: Said = serde_json::from_slice(&answer.body).map_err(|e| {
                Trouble::Failed(format!("the box's answer about what it has makes no sense: {e}"))
            })?;
            // Of its own accord it could only say too much.
            let good = said.proofs.into_iter().filter(|proof| proof.on_a.is_some()).map(|proof| proof.hash);
            there.extend(good.filter(|hash| some.contains(hash)));
        }
        Ok(there)
    }

    /// The entity tag of what has a name on the box.
    pub(super) fn look(&mut self, name: &RelPath) -> Result<Option<String>, Trouble> {
        let path = self.file(name.as_str());
        match self.send("HEAD", &path, &[], &Sending::Nothing)?.success() {
            // A folder has none, and is in the way all the same.
            Ok(answer) => Ok(Some(answer.header(ETAG.as_str()).unwrap_or_default().to_owned())),
            Err(Trouble::NotFound) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Sends a whole file in one request.
    pub(super) fn put(&mut self, told: &Told, stretch: Stretch) -> Result<(), Trouble> {
        let path = self.file(told.name.as_str());
        let more = headers(told);
        let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.send("PUT", &path, &more, &Sending::File(stretch))?.success()?;
        kept(&answer, told)
    }

    /// The chunks that are there of an upload, with their lengths. `None`: it was not begun.
    pub(super) fn chunks(&mut self, id: &str) -> Result<Option<BTreeMap<u64, u64>>, Trouble> {
        let path = self.upload(id, "");
        match self.send("PROPFIND", &path, &[("depth", "1")], &Sending::Nothing)?.success() {
            Ok(answer) => Ok(Some(listed(&answer.text()))),
            Err(Trouble::NotFound) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Begins an upload in chunks.
    pub(super) fn begin(&mut self, id: &str, total: u64) -> Result<(), Trouble> {
        let path = self.upload(id, "");
        let answer =
            self.send("MKCOL", &path, &[("oc-total-length", &total.to_string())], &Sending::Nothing)?;
        // 405: it is there, by a request whose answer was lost.
        if answer.status == 405 { Ok(()) } else { answer.success().map(|_| ()) }
    }

    /// Sends a chunk; it is durable on the box when this returns.
    pub(super) fn chunk(&mut self, id: &str, number: u64, stretch: Stretch) -> Result<(), Trouble> {
        let path = self.upload(id, &format!("/{number:05}"));
        self.send("PUT", &path, &[], &Sending::File(stretch))?.success().map(|_| ())
    }

    /// Makes a file of the chunks. The box compares the whole with the hash before it gets its name.
    pub(super) fn assemble(&mut self, id: &str, told: &Told) -> Result<(), Trouble> {
        let path = self.upload(id, "/.file");
        let (destination, total) = (self.file(told.name.as_str()), told.size.to_string());
        let more = headers(told);
        let mut more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
        more.extend([("destination", destination.as_str()), ("oc-total-length", &total)]);
        let answer = self.send("MOVE", &path, &more, &Sending::Nothing)?.success()?;
        kept(&answer, told)
    }

    /// Throws away what is there of an upload.
    pub(super) fn abandon(&mut self, id: &str) -> Result<(), Trouble> {
        let path = self.upload(id, "");
        match self.send("DELETE", &path, &[], &Sending::Nothing)?.success() {
            Ok(_) | Err(Trouble::NotFound) => Ok(()),
            Err(other) => Err(other),
        }
    }
}

/// What is said of a file: its date, its hash, and what must hold of the name.
fn headers(told: &Told) -> Vec<(&'static str, String)> {
    let (seconds, nanos) = (told.mtime.div_euclid(1_000_000_000), told.mtime.rem_euclid(1_000_000_000));
    // Before 1970 the fraction counts the other way; it is left out there.
    let mtime = if seconds < 0 { seconds.to_string() } else { format!("{seconds}.{nanos:09}") };
    let (condition, value) = match told.expect {
        Expect::Free => ("if-none-match", "*".to_owned()),
        Expect::Has(hash) => ("if-match", hash.etag()),
    };
    vec![
        ("x-oc-mtime", mtime),
        ("oc-checksum", format!("BLAKE3:{}", told.hash)),
        ("x-nc-webdav-auto-mkcol", "1".to_owned()),
        (condition, value),
    ]
}

/// Whether the answer speaks of these bytes.
fn kept(answer: &Answer, told: &Told) -> Result<(), Trouble> {
    if answer.header(ETAG.as_str()) == Some(&told.hash.etag()) {
        return Ok(());
    }
    Err(Trouble::Failed("the box did not say that it has these bytes".to_owned()))
}

/// Chunks in a multistatus: number and length.
fn listed(text: &str) -> BTreeMap<u64, u64> {
    let one = |response: &str| {
        let inner = |tag: &str| {
            Some(response.split_once(&format!("<d:{tag}>"))?.1.split_once("</")?.0.trim().to_owned())
        };
        let number = inner("href")?.rsplit('/').next()?.parse().ok()?;
        Some((number, inner("getcontentlength")?.parse().ok()?))
    };
    text.split("<d:response>").skip(1).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, size: u64, expect: Expect) -> Told {
        Told {
            name: RelPath::parse(name).unwrap(),
            hash: ContentHash::of(b"abc"),
            size,
            mtime: 1_600_000_000_000_000_001,
            expect,
        }
    }

    #[test]
    fn chunks_are_of_one_length_and_not_too_many() {
        for (size, chunk) in
            [(0, CHUNK), (CHUNK, CHUNK), (CHUNK * MOST_CHUNKS, CHUNK), (CHUNK * MOST_CHUNKS + 1, CHUNK + MIB)]
        {
            assert_eq!(chunk_of(size), chunk, "{size}");
            assert!(size.div_ceil(chunk_of(size)) <= MOST_CHUNKS);
        }
        assert!(u64::MAX.div_ceil(chunk_of(u64::MAX)) <= MOST_CHUNKS);
    }

    #[test]
    fn other_bytes_or_another_name_are_another_upload() {
        let id = |name| upload_id(&told(name, 3, Expect::Free));
        assert_eq!(id("a.mov"), id("a.mov"));
        assert_ne!(id("a.mov"), id("b.mov"));
        assert!(id("a.mov").len() < 100);
    }

    #[test]
    fn what_is_said_of_a_file() {
        let said = |told: &Told| {
            headers(told).into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        let free = said(&told("a.jpg", 3, Expect::Free));
        assert_eq!(free[0], "x-oc-mtime: 1600000000.000000001");
        assert!(free[1].starts_with("oc-checksum: BLAKE3:6437b3ac"));
        assert_eq!(free[3], "if-none-match: *");
        let again = said(&told("a.jpg", 3, Expect::Has(ContentHash::of(b"abc"))));
        assert_eq!(again[3], "if-match: \"6437b3ac38465133ffb63b75273a8db5\"");
        let early = said(&Told { mtime: -1, ..told("a.jpg", 3, Expect::Free) });
        assert_eq!(early[0], "x-oc-mtime: -1");
    }

    #[test]
    fn a_listing_of_chunks() {
        let text = "<d:multistatus><d:response><d:href>/remote.php/dav/uploads/anna/x/</d:href><d:propstat><d:prop><d:resourcetype/></d:prop></d:propstat></d:response>\n\
            <d:response><d:href>/remote.php/dav/uploads/anna/x/000002</d:href><d:propstat><d:prop><d:getcontentlength>17</d:getcontentlength></d:prop></d:propstat></d:response></d:multistatus>";
        assert_eq!(listed(text), BTreeMap::from([(2, 17)]));
        assert!(listed("<html>").is_empty());
    }
}
