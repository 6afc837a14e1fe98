//! Photos, described as Immich describes assets; how many there are; and their way to the trash.
use base64::Engine as _;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::{json, read};
use super::details::{Exif, created, local};
use super::users::{time, user_id};
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::webdav::kind::content_type;
use crate::model::account::Device;
use crate::model::extension::Medium;
use crate::model::uuid::Uuid;
use crate::work::error::Refusal;
use crate::work::library::{Asset, Library};

/// Photos in one request.
pub(super) const MOST_IDS: usize = 20_000;

/// `AssetResponseDto` of SDK 3.2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the client's own list of switches")]
pub(super) struct Described {
    checksum: String,
    created_at: String,
    duplicate_id: Option<String>,
    /// A string in servers before 3.0 and a number since: nothing is what both read.
    duration: Option<u64>,
    exif_info: Exif,
    file_created_at: String,
    file_modified_at: String,
    has_metadata: bool,
    height: Option<u32>,
    pub(super) id: String,
    is_archived: bool,
    is_edited: bool,
    is_favorite: bool,
    is_offline: bool,
    is_trashed: bool,
    library_id: Option<String>,
    live_photo_video_id: Option<String>,
    local_date_time: String,
    original_file_name: String,
    original_mime_type: &'static str,
    original_path: String,
    owner_id: String,
    people: [(); 0],
    stack: Option<()>,
    tags: [(); 0],
    thumbhash: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    updated_at: String,
    visibility: &'static str,
    width: Option<u32>,
}

/// SHA-1 as Immich writes it; empty while it is not known.
pub(super) fn checksum(asset: &Asset) -> String {
    asset.sha1.map(|sha1| base64::engine::general_purpose::STANDARD.encode(sha1)).unwrap_or_default()
}

impl Described {
    /// A photo of a person.
    pub(super) fn new(device: &Device, asset: &Asset) -> Self {
        let (changed, received) = (time(asset.mtime), time(asset.received));
        let size = asset.media.as_ref().and_then(|media| media.size);
        Self {
            checksum: checksum(asset),
            created_at: received.clone(),
            duplicate_id: None,
            duration: None,
            exif_info: Exif::new(asset),
            file_created_at: time(created(asset)),
            file_modified_at: changed,
            has_metadata: asset.media.is_some(),
            height: size.map(|size| size.height),
            id: asset.id.to_string(),
            is_archived: false,
            is_edited: false,
            is_favorite: asset.favourite,
            is_offline: false,
            is_trashed: false,
            library_id: None,
            live_photo_video_id: asset.motion.map(|id| id.to_string()),
            local_date_time: local(asset),
            original_file_name: asset.path.name().to_owned(),
            original_mime_type: content_type(asset.path.name()),
            original_path: asset.path.to_string(),
            owner_id: user_id(&device.person).to_string(),
            people: [],
            stack: None,
            tags: [],
            thumbhash: None,
            kind: kind(asset.medium()),
            updated_at: received,
            visibility: "timeline",
            width: size.map(|size| size.width),
        }
    }
}

/// `AssetTypeEnum`.
pub(super) fn kind(medium: Medium) -> &'static str {
    match medium {
        Medium::Image => "IMAGE",
        Medium::Video => "VIDEO",
        Medium::Sidecar | Medium::Other => "OTHER",
    }
}

/// The photo with an id, as sent.
pub(super) fn find(library: &Library, device: &Device, id: &str) -> Result<Asset, Deny> {
    let id: Uuid = id.parse().map_err(|_| Deny::Bad("id must be a UUID"))?;
    library.asset(&device.person, id)?.ok_or(Deny::Refused(Refusal::NotFound))
}

/// One photo.
pub(super) fn one(library: &Library, device: &Device, id: &str) -> Result<Reply, Deny> {
    Ok(json(StatusCode::OK, &Described::new(device, &find(library, device, id)?)))
}

/// `UpdateAssetDto` and `AssetBulkUpdateDto`, as far as they mean anything here. Whatever else is to change is refused: an answer that
/// left it out would say that it was done.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    is_favorite: Option<bool>,
}

/// Photos into or from among the favourites.
fn favour(library: &Library, device: &Device, photos: &[Asset], change: &Change) -> Result<(), Deny> {
    for asset in photos {
        match change.is_favorite {
            Some(true) => library.favour(device, &asset.hash)?,
            Some(false) => library.unfavour(device, &asset.hash)?,
            None => {}
        }
    }
    Ok(())
}

/// One photo, changed; the photo as it is then.
pub(super) fn change(library: &Library, device: &Device, id: &str, body: &[u8]) -> Result<Reply, Deny> {
    favour(library, device, &[find(library, device, id)?], &read(body)?)?;
    one(library, device, id)
}

/// Several. All must be there before one is changed.
pub(super) fn change_many(library: &Library, device: &Device, body: &[u8]) -> Result<Reply, Deny> {
    let change: Change = read(body)?;
    if change.ids.len() > MOST_IDS {
        return Err(Deny::Bad("too many ids at once"));
    }
    let photos: Result<Vec<Asset>, Deny> = change.ids.iter().map(|id| find(library, device, id)).collect();
    favour(library, device, &photos?, &change)?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// `AssetStatsResponseDto`.
#[derive(Serialize)]
struct Statistics {
    images: u64,
    total: u64,
    videos: u64,
}

/// How many photos and videos.
pub(super) fn statistics(library: &Library, device: &Device) -> Result<Reply, Deny> {
    let (images, videos) = library.count(&device.person)?;
    Ok(json(StatusCode::OK, &Statistics { images, total: images + videos, videos }))
}

/// `AssetBulkDeleteDto`. `force`, which means for ever, means nothing here: whatever is deleted goes to the trash.
#[derive(Deserialize)]
struct Unwanted {
    ids: Vec<String>,
}

/// All names of some photos to the trash, by a computer. A phone takes nothing away (403).
pub(super) fn trash(library: &Library, device: &Device, body: &[u8]) -> Result<Reply, Deny> {
    let unwanted: Unwanted = read(body)?;
    let ids = ids(&unwanted.ids)?;
    library.trash(device, &ids)?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// Ids as sent; 400 if one is none.
pub(super) fn ids(sent: &[String]) -> Result<Vec<Uuid>, Deny> {
    if sent.len() > MOST_IDS {
        return Err(Deny::Bad("too many ids at once"));
    }
    sent.iter().map(|id| id.parse().map_err(|_| Deny::Bad("ids must be UUIDs"))).collect()
}
