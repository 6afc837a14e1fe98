//! What a client says of a file before it sends it (`Upload-Metadata`, tus 1.0 "Creation"), and the name the file gets by that.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::face::http::reply::Deny;
use crate::model::account::Device;
use crate::model::hash::DeclaredHash;
use crate::model::naming;
use crate::model::path::RelPath;

/// The header, bytes: names are short, and it is kept with the upload.
const MOST_BYTES: usize = 4096;
const MOST_PAIRS: usize = 32;
const UNREADABLE: Deny = Deny::Bad("unreadable Upload-Metadata");

/// What was said that means something here. What else was said is kept, and told again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The name, made safe (`filename`, or `name`).
    pub(super) name: Option<String>,
    /// The album, made safe (`album`).
    pub(super) album: Option<String>,
    /// The local month it was taken in, `2026-11` (`month`).
    pub(super) month: Option<String>,
    /// Its date (`lastModified`, milliseconds since 1970, as browsers say it).
    pub(super) mtime: Option<Timestamp>,
    /// Hashes of the whole (`sha1`, `sha256`, `blake3`; hex).
    pub(super) declared: Vec<DeclaredHash>,
}

/// The header as it came, if there is one.
pub(super) fn header(headers: &HeaderMap) -> Result<&str, Deny> {
    let mut all = headers.get_all("upload-metadata").iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(""),
        (Some(value), None) if value.len() <= MOST_BYTES => value.to_str().map_err(|_| UNREADABLE),
        (Some(_), _) => Err(Deny::Bad("more Upload-Metadata than is taken")),
    }
}

/// Keys and values: pairs separated by commas, each a key and, after a blank, its value in Base64; no key twice.
fn pairs(text: &str) -> Result<Vec<(&str, String)>, Deny> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, encoded) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = STANDARD.decode(encoded.trim()).map_err(|_| UNREADABLE)?;
        if found.len() >= MOST_PAIRS || found.iter().any(|(other, _)| *other == key) {
            return Err(UNREADABLE);
        }
        found.push((key, String::from_utf8(value).map_err(|_| UNREADABLE)?));
    }
    Ok(found)
}

impl Metadata {
    /// Reads the header. A value that means something here and makes no sense is refused: its client would believe that it
    /// was understood.
    pub(super) fn parse(text: &str) -> Result<Self, Deny> {
        let mut read = Self::default();
        for (key, value) in pairs(text)? {
            match key {
                "filename" => read.name = naming::fitting(&value),
                "name" => read.name = read.name.or_else(|| naming::fitting(&value)),
                "album" => read.album = naming::fitting(&value),
                "month" => read.month = Some(month(&value).ok_or(Deny::Bad("a month is written 2026-11"))?),
                "lastModified" => read.mtime = Some(milliseconds(&value)?),
                "sha1" | "sha256" | "blake3" => {
                    let one = DeclaredHash::parse_oc(&format!("{key}:{value}"));
                    read.declared.extend(one.map_err(|_| Deny::Bad("unreadable hash in Upload-Metadata"))?);
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// Where the file goes: `<person>/<album, else month>/<name>`, whatever the device's own folder is.
    pub(super) fn target(&self, device: &Device, now: Timestamp) -> Result<RelPath, Deny> {
        let name = self.name.as_ref().ok_or(Deny::Bad("Upload-Metadata needs a filename"))?;
        let folder = self.album.clone().or_else(|| self.month.clone());
        let folder = folder.unwrap_or_else(|| month_of(self.mtime.unwrap_or(now)));
        let text = format!("{}/{folder}/{name}", device.person);
        RelPath::parse(&text).map_err(|_| Deny::Bad("not a name that can be kept"))
    }
}

fn milliseconds(value: &str) -> Result<Timestamp, Deny> {
    let number = value.parse().ok().and_then(|number| Timestamp::from_millisecond(number).ok());
    number.ok_or(Deny::Bad("lastModified is in milliseconds since 1970"))
}

fn month(text: &str) -> Option<String> {
    let (year, month) = text.split_once('-')?;
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let fits = year.len() == 4 && month.len() == 2 && digits(year) && digits(month);
    let number = month.parse::<u8>().ok()?;
    (fits && (1..=12).contains(&number)).then(|| text.to_owned())
}

/// Where nobody said in which month it was taken: that of its date, in UTC.
fn month_of(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::account::DeviceKind;
    use proptest::prelude::*;

    fn device() -> Device {
        Device { person: "anna".parse().unwrap(), name: "web".parse().unwrap(), kind: DeviceKind::Phone }
    }

    fn written(pairs: &[(&str, &str)]) -> String {
        let pair = |(key, value): &(&str, &str)| format!("{key} {}", STANDARD.encode(value));
        pairs.iter().map(pair).collect::<Vec<_>>().join(",")
    }

    fn placed(pairs: &[(&str, &str)]) -> Result<String, Deny> {
        let now = "2026-11-14T18:02:11Z".parse().unwrap();
        Metadata::parse(&written(pairs))?.target(&device(), now).map(|path| path.to_string())
    }

    #[test]
    fn where_a_file_goes() {
        for (pairs, expected) in [
            (&[("filename", "IMG_1.HEIC")][..], "anna/2026-11/IMG_1.HEIC"),
            (&[("name", "a.jpg")], "anna/2026-11/a.jpg"),
            (&[("name", "b.jpg"), ("filename", "a.jpg")], "anna/2026-11/a.jpg"),
            (&[("filename", "a.jpg"), ("name", "b.jpg")], "anna/2026-11/a.jpg"),
            (&[("filename", "a.jpg"), ("lastModified", "1600000000000")], "anna/2020-09/a.jpg"),
            (
                &[("filename", "a.jpg"), ("lastModified", "1600000000000"), ("month", "2020-10")],
                "anna/2020-10/a.jpg",
            ),
            (&[("filename", "a.jpg"), ("month", "2020-10"), ("album", "Rome")], "anna/Rome/a.jpg"),
            (&[("filename", "../b/a.jpg"), ("album", "../../ben")], "anna/.._.._ben/.._b_a.jpg"),
            (&[("filename", "a.jpg"), ("album", "..")], "anna/2026-11/a.jpg"),
            (&[("filename", "a.jpg"), ("album", ".shoebox")], "anna/_.shoebox/a.jpg"),
            (&[("filename", "a.jpg"), ("album", ""), ("whatever", "x")], "anna/2026-11/a.jpg"),
        ] {
            assert_eq!(placed(pairs).unwrap(), expected, "{pairs:?}");
        }
        for pairs in [
            &[][..],
            &[("filename", "..")],
            &[("filename", "a.jpg"), ("filename", "b.jpg")],
            &[("filename", "a.jpg"), ("month", "2026-13")],
            &[("filename", "a.jpg"), ("month", "11-2026")],
            &[("filename", "a.jpg"), ("month", "2026-1")],
            &[("filename", "a.jpg"), ("lastModified", "yesterday")],
            &[("filename", "a.jpg"), ("lastModified", "99999999999999999999")],
            &[("filename", "a.jpg"), ("sha1", "123")],
        ] {
            assert!(placed(pairs).is_err(), "{pairs:?}");
        }
        let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(Metadata::parse(&written(&[("sha1", sha1)])).unwrap().declared.len(), 1);
    }

    #[test]
    fn headers() {
        assert_eq!(Metadata::parse("").unwrap(), Metadata::default());
        // tus 1.0: a value may be empty.
        assert!(Metadata::parse("is_confidential,filename YS5qcGc=").unwrap().name.is_some());
        for bad in ["filename a.jpg", "filename YS5qcGc= x", "filename /w==", "filename YS5qcGc"] {
            assert!(Metadata::parse(bad).is_err(), "{bad}");
        }
        let map = |values: &[&str]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append("upload-metadata", value.parse().unwrap());
            }
            map
        };
        assert_eq!(header(&map(&[])).unwrap(), "");
        assert!(header(&map(&["a", "b"])).is_err() && header(&map(&[&"a".repeat(5000)])).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_said_the_file_is_the_persons(
            text in "\\PC{0,80}",
            pairs in proptest::collection::vec(("filename|name|album|month|lastModified|[a-z]{1,5}", "\\PC{0,40}"), 0..6),
        ) {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            for text in [text, written(&pairs)] {
                let Ok(metadata) = Metadata::parse(&text) else { continue };
                let Ok(path) = metadata.target(&device(), Timestamp::UNIX_EPOCH) else { continue };
                prop_assert_eq!(path.components().count(), 3);
                prop_assert_eq!(path.components().next(), Some("anna"));
            }
        }
    }
}
