//! `POST /save`: all parts of a file were sent. It is put together under a name by its date in its album, and a Live Photo's two halves lie beside
//! each other under one name.
use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{Half, Shared, id, is_theirs, key, ready, sidecar, sign_in};
use crate::face::http::reply::{Deny, Reply};
use crate::face::http::upload;
use crate::model::account::Device;
use crate::model::offer::{Expect, Offer};
use crate::model::path::RelPath;
use crate::model::place::Shelf;
use crate::work::error::Refusal;
use crate::work::ingest::Ack;
use crate::work::parts::{Numbering, Whole};
use crate::work::tree::NodeKind;

/// A dozen short values.
const MOST_BYTES: u64 = 16 << 10;
/// What the app says in place of an album's name where there is none; it never sends it.
const NO_ALBUM: &str = "default";

/// What the app says of a file.
#[derive(Debug, Clone, Deserialize)]
struct Save {
    /// The password.
    p: String,
    /// The person.
    u: String,
    /// The album; where none was typed the app sends the month.
    a: Option<String>,
    /// When it was taken, milliseconds since 1970.
    t: u64,
    lat: Option<f64>,
    long: Option<f64>,
    /// A favourite.
    f: Option<bool>,
    /// A video.
    #[serde(default)]
    v: bool,
    /// Half of a Live Photo.
    #[serde(default)]
    l: bool,
    /// The upload's id.
    d: String,
    /// How many parts it has.
    n: u64,
    /// Its ending, without a dot.
    x: String,
}

/// Puts a file together. 200 only when all of it is safe.
pub(super) async fn save(
    shared: &Arc<Shared>,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    let text = upload::collect(body.take(), MOST_BYTES, shared.face.limits.body_idle).await?;
    shared.face.pool.available()?;
    let said: Save = serde_json::from_slice(&text)
        .map_err(|_| Deny::Bad("what is said of a file comes as one JSON object"))?;
    let device = sign_in(shared, Some(&said.p), from).await?;
    is_theirs(&device, Some(&said.u))?;
    let asked = Arc::clone(shared);
    upload::blocking(&shared.face.pool, move || {
        settle(&asked, &device, &said)?;
        ready(&"")
    })
    .await
}

/// Blocking.
fn settle(shared: &Shared, device: &Device, said: &Save) -> Result<(), Deny> {
    let face = &shared.face;
    let at = moment(said.t).ok_or(Deny::Bad("t is in milliseconds since 1970"))?;
    let half = Half::of(said.l, said.v);
    let folder = folder(shared, device, said, at)?;
    let path = name(shared, device, said, (half, at, &folder))?;
    let offer = Offer {
        by: device.clone(),
        path,
        size: None,
        declared: Vec::new(),
        mtime: Some(at),
        ctime: Some(at),
        expect: Expect::FreeOrSame,
        make_parents: true,
    };
    let whole = Whole { total: None, numbering: Numbering::Counted(said.n) };
    let ack = match face.parts.assemble(&id(device, &said.d), whole, offer) {
        // No part of it came.
        Err(Refusal::NotFound) => return Err(Deny::Bad("no part of it is here, send it from the beginning")),
        done => done?,
    };
    finish(shared, device, said, (half, at, &ack))
}

/// What belongs to a file that is safe. It is called here only when all of that is, too.
fn finish(
    shared: &Shared,
    device: &Device,
    said: &Save,
    (half, at, ack): (Half, Timestamp, &Ack),
) -> Result<(), Deny> {
    let node = ack.node();
    let (NodeKind::File { hash, .. }, Shelf::Photos) = (node.kind, node.shelf) else {
        return Err(Deny::Bad("an empty file, or one with the ending of a temporary one, is not kept"));
    };
    if let (Some(latitude), Some(longitude)) = (said.lat, said.long) {
        // The still of a Live Photo has it for both.
        if half != Half::Video {
            sidecar::keep(
                shared,
                device,
                &node.path,
                &sidecar::text(latitude, longitude, at, &TimeZone::system()),
            )?;
        }
    }
    if said.f == Some(true) {
        shared.face.library.favour(device, &hash)?;
    }
    Ok(shared.face.library.remember_key_now(device, &key(said.t, half), &hash)?)
}

fn moment(millis: u64) -> Option<Timestamp> {
    i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok())
}

/// The album's folder, or the month's.
fn folder(shared: &Shared, device: &Device, said: &Save, at: Timestamp) -> Result<RelPath, Deny> {
    let album = said.a.as_deref().map(str::trim).filter(|album| !album.is_empty() && *album != NO_ALBUM);
    let month = at.to_zoned(TimeZone::system()).strftime("%Y-%m").to_string();
    // One that cannot be a folder must not cost the photo.
    match shared.face.library.folder_for(&device.person, album.unwrap_or(&month)) {
        Err(Refusal::NotAFolder) => Ok(shared.face.library.folder_for(&device.person, &month)?),
        found => Ok(found?),
    }
}

/// By its date; of the second half of a Live Photo, that of the first.
fn name(
    shared: &Shared,
    device: &Device,
    said: &Save,
    (half, at, folder): (Half, Timestamp, &RelPath),
) -> Result<RelPath, Deny> {
    let first = match half.other() {
        Some(other) => shared.face.library.name_by_key(device, &key(said.t, other), folder)?,
        None => None,
    };
    let name = named(first.as_ref().map(RelPath::name), at, &said.x, &TimeZone::system());
    folder.child(&name).map_err(|_| Deny::Bad("not a name that can be kept"))
}

/// `20240305_123344_250.jpg`, or with the stem of the other half.
fn named(other: Option<&str>, at: Timestamp, ending: &str, zone: &TimeZone) -> String {
    const LONGEST: usize = 8;
    let plain = ending.trim().trim_start_matches('.').to_ascii_lowercase();
    let fits = (1..=LONGEST).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_alphanumeric());
    let ending = if fits { plain.as_str() } else { "bin" };
    let stem = other.and_then(|name| name.rsplit_once('.')).map(|(stem, _)| stem.to_owned());
    let stem = stem.unwrap_or_else(|| {
        let millis = at.as_millisecond().rem_euclid(1000);
        format!("{}_{millis:03}", at.to_zoned(zone.clone()).strftime("%Y%m%d_%H%M%S"))
    });
    format!("{stem}.{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_by_date() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (millis, ending, other, expect) in [
            (1_709_638_424_250, "jpg", None, "20240305_123344_250.jpg"),
            (1_709_638_424_250, "MOV", Some("20240305_123344_250 (2).jpg"), "20240305_123344_250 (2).mov"),
            (5, ".heic", None, "19700101_010000_005.heic"),
            (5, "../../x", None, "19700101_010000_005.bin"),
            (5, "", None, "19700101_010000_005.bin"),
        ] {
            assert_eq!(named(other, moment(millis).unwrap(), ending, &zone), expect);
        }
        assert_eq!(moment(u64::MAX), None);
        assert_eq!(moment(253_402_207_200_001), None);
    }

    #[test]
    fn what_the_app_says() {
        let text = r#"{"a":"2020-04","p":"pw","u":"anna","t":1586700000123,"lat":null,"long":null,"f":false,"v":true,"d":"D","n":2,"l":false,"x":"mov"}"#;
        let said: Save = serde_json::from_str(text).unwrap();
        assert_eq!((said.t, said.n, said.v, said.l, said.lat), (1_586_700_000_123, 2, true, false, None));
        assert!(serde_json::from_str::<Save>(&text.replace("1586700000123", "-1")).is_err());
        assert!(serde_json::from_str::<Save>(&text.replace("1586700000123", "1.5")).is_err());
    }

    proptest! {
        #[test]
        fn whatever_it_says_it_is_one_plain_name(millis in 0u64..300_000_000_000_000, ending in "\\PC{0,12}") {
            if let Some(at) = moment(millis) {
                let name = named(None, at, &ending, &TimeZone::UTC);
                prop_assert_eq!(RelPath::parse(&name).unwrap().components().count(), 1);
            }
        }
    }
}
