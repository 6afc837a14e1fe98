//! "Have you got this?": by SHA-1, as the command line and the SDKs ask, and by the device's own ids, as apps before 3.0 do.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::{json, read};
use crate::face::http::reply::{Deny, Reply};
use crate::model::account::Device;
use crate::model::hash::unhex;
use crate::model::uuid::Uuid;
use crate::work::library::Library;

/// Photos in one request: the command line asks for 5,000.
const MOST: usize = 20_000;

/// SHA-1 in hex or in base64.
pub(super) fn sha1(text: &str) -> Option<[u8; 20]> {
    match text.len() {
        40 => unhex(&text.to_ascii_lowercase()),
        28 => STANDARD.decode(text).ok()?.try_into().ok(),
        _ => None,
    }
}

/// `AssetBulkUploadCheckDto`.
#[derive(Deserialize)]
struct Asked {
    assets: Vec<AskedFor>,
}

#[derive(Deserialize)]
struct AskedFor {
    id: String,
    checksum: String,
}

#[derive(Serialize)]
struct Results {
    results: Vec<Found>,
}

/// `AssetBulkUploadCheckResult`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    id: String,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_trashed: Option<bool>,
}

/// Says `reject` only of what is here and good now: the client may delete its own for it. What lies in the trash is accepted.
pub(super) fn bulk(library: &Library, device: &Device, body: &[u8]) -> Result<Reply, Deny> {
    let asked: Asked = read(body)?;
    if asked.assets.len() > MOST {
        return Err(Deny::Bad("too many checksums at once"));
    }
    let all =
        asked.assets.iter().map(|asset| sha1(&asset.checksum).ok_or(Deny::Bad("checksum must be a SHA-1")));
    let all = all.collect::<Result<Vec<_>, _>>()?;
    let known = library.by_sha1(&device.person, &all)?;
    let result = |(asked, hash): (AskedFor, Option<_>)| match hash {
        None => Found { id: asked.id, action: "accept", reason: None, asset_id: None, is_trashed: None },
        Some(hash) => Found {
            id: asked.id,
            action: "reject",
            reason: Some("duplicate"),
            asset_id: Some(Uuid::of_content(&hash).to_string()),
            is_trashed: Some(false),
        },
    };
    Ok(json(StatusCode::OK, &Results { results: asked.assets.into_iter().zip(known).map(result).collect() }))
}

/// `CheckExistingAssetsDto` of servers before 3.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnIds {
    device_asset_ids: Vec<String>,
    device_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Existing {
    existing_ids: Vec<String>,
}

/// Under what a device's own id for a photo is remembered. `None`: too long to be remembered.
pub(super) fn own_key(device_id: &str, asset_id: &str) -> Option<String> {
    const LONGEST: usize = 512;
    let key = format!("{device_id}\n{asset_id}");
    (!asset_id.is_empty() && key.len() <= LONGEST).then_some(key)
}

/// Which of its own ids this device has sent photos for that are here and good.
pub(super) fn exist(library: &Library, device: &Device, body: &[u8]) -> Result<Reply, Deny> {
    let asked: OwnIds = read(body)?;
    if asked.device_asset_ids.len() > MOST {
        return Err(Deny::Bad("too many ids at once"));
    }
    let keys: Vec<String> =
        asked.device_asset_ids.iter().filter_map(|id| own_key(&asked.device_id, id)).collect();
    let known = library.known_keys(device, &keys)?;
    let own = |key: &str| key.split_once('\n').map(|(_, id)| id.to_owned());
    Ok(json(StatusCode::OK, &Existing { existing_ids: known.into_iter().filter_map(own).collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksums() {
        let abc = Some([
            0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c,
            0x9c, 0xd0, 0xd8, 0x9d,
        ]);
        assert_eq!(sha1("a9993e364706816aba3e25717850c26c9cd0d89d"), abc);
        assert_eq!(sha1("A9993E364706816ABA3E25717850C26C9CD0D89D"), abc);
        assert_eq!(sha1("qZk+NkcGgWq6PiVxeFDCbJzQ2J0="), abc);
        for bad in [
            "",
            "a9993e",
            "qZk-NkcGgWq6PiVxeFDCbJzQ2J0=",
            "qZk+NkcGgWq6PiVxeFDCbJzQ2J0==",
            "ä".repeat(20).as_str(),
        ] {
            assert_eq!(sha1(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "\\PC{0,44}|[0-9a-fA-F]{40}|[a-zA-Z0-9+/=]{28}") {
            if let Some(bytes) = sha1(&text) {
                prop_assert!(text == STANDARD.encode(bytes) || text.to_ascii_lowercase() == crate::model::hash::hex(&bytes));
            }
        }
    }
}
