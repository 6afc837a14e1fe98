//! Albums: a person's folders, in which photos appear by a second name.
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::{json, read};
use super::assets::ids;
use super::users::{User, time};
use crate::face::http::reply::{Deny, Reply};
use crate::model::account::Device;
use crate::model::uuid::Uuid;
use crate::work::error::Refusal;
use crate::work::library::{Added, Album, Library};

/// `AlbumResponseDto` of SDK 3.2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    album_name: String,
    album_thumbnail_asset_id: Option<String>,
    /// Whose it is, the owner first.
    album_users: [AlbumUser; 1],
    asset_count: u64,
    /// Clients of servers before 3.0 read them here; now they search.
    assets: [(); 0],
    created_at: String,
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_date: Option<String>,
    has_shared_link: bool,
    id: String,
    is_activity_enabled: bool,
    order: &'static str,
    shared: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_date: Option<String>,
    updated_at: String,
}

#[derive(Serialize)]
struct AlbumUser {
    role: &'static str,
    user: User,
}

fn described(library: &Library, device: &Device, album: &Album) -> Result<Described, Deny> {
    Ok(Described {
        album_name: album.name.clone(),
        album_thumbnail_asset_id: album.cover.map(|id| id.to_string()),
        album_users: [AlbumUser { role: "owner", user: User::new(library, &device.person)? }],
        asset_count: album.assets,
        assets: [],
        created_at: time(album.created),
        description: "",
        end_date: album.span.map(|(_, last)| time(last)),
        has_shared_link: false,
        id: album.id.to_string(),
        is_activity_enabled: false,
        order: "desc",
        shared: false,
        start_date: album.span.map(|(first, _)| time(first)),
        updated_at: time(album.changed),
    })
}

/// All albums, or those that a query asks for: none is shared with anybody, and all are their owner's.
pub(super) fn all(library: &Library, device: &Device, query: Option<&str>) -> Result<Reply, Deny> {
    let asks = |wanted: &str| query.is_some_and(|query| query.split('&').any(|pair| pair == wanted));
    let albums = if asks("shared=true") || asks("isShared=true") || asks("isOwned=false") {
        Vec::new()
    } else {
        library.albums(&device.person)?
    };
    let albums: Result<Vec<_>, _> = albums.iter().map(|album| described(library, device, album)).collect();
    Ok(json(StatusCode::OK, &albums?))
}

/// `CreateAlbumDto`, as far as it means anything here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    album_name: String,
    #[serde(default)]
    asset_ids: Vec<String>,
}

/// A new album, or the one of that name, with these photos in it.
pub(super) fn make(library: &Library, device: &Device, body: &[u8]) -> Result<Reply, Deny> {
    let wanted: Wanted = read(body)?;
    let ids = ids(&wanted.asset_ids)?;
    let album = named(library, device, &wanted.album_name)?;
    library.add_to_album(device, &album, &ids)?;
    let album = library.album(&device.person, album.id)?.ok_or(Deny::Refused(Refusal::NotFound))?;
    Ok(json(StatusCode::CREATED, &described(library, device, &album)?))
}

fn named(library: &Library, device: &Device, name: &str) -> Result<Album, Deny> {
    library.make_album(device, name).map_err(|refusal| {
        let is_bad = matches!(refusal, Refusal::NotAFolder);
        if is_bad { Deny::Bad("no album can have this name") } else { Deny::Refused(refusal) }
    })
}

fn find(library: &Library, device: &Device, id: &str) -> Result<Album, Deny> {
    let id: Uuid = id.parse().map_err(|_| Deny::Bad("id must be a UUID"))?;
    library.album(&device.person, id)?.ok_or(Deny::Refused(Refusal::NotFound))
}

/// One album.
pub(super) fn one(library: &Library, device: &Device, id: &str) -> Result<Reply, Deny> {
    let album = find(library, device, id)?;
    Ok(json(StatusCode::OK, &described(library, device, &album)?))
}

/// `AlbumStatisticsResponseDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    not_shared: usize,
    owned: usize,
    shared: usize,
}

/// How many albums.
pub(super) fn statistics(library: &Library, device: &Device) -> Result<Reply, Deny> {
    let owned = library.albums(&device.person)?.len();
    Ok(json(StatusCode::OK, &Statistics { not_shared: owned, owned, shared: 0 }))
}

/// `BulkIdsDto`.
#[derive(Deserialize)]
struct Ids {
    ids: Vec<String>,
}

/// `BulkIdResponseDto`.
#[derive(Serialize)]
struct Outcome {
    id: String,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

fn outcomes(ids: &[Uuid], added: &[Added]) -> Reply {
    let outcome = |(id, added): (&Uuid, &Added)| {
        let error = match added {
            Added::Now => None,
            Added::Before => Some("duplicate"),
            Added::Unknown => Some("not_found"),
        };
        Outcome { id: id.to_string(), success: error.is_none(), error }
    };
    json(StatusCode::OK, &ids.iter().zip(added).map(outcome).collect::<Vec<_>>())
}

/// Photos into an album: an answer for each.
pub(super) fn add(library: &Library, device: &Device, id: &str, body: &[u8]) -> Result<Reply, Deny> {
    let album = find(library, device, id)?;
    let ids = ids(&read::<Ids>(body)?.ids)?;
    Ok(outcomes(&ids, &library.add_to_album(device, &album, &ids)?))
}

/// Photos out of an album, by a computer. They stay photos.
pub(super) fn take(library: &Library, device: &Device, id: &str, body: &[u8]) -> Result<Reply, Deny> {
    let album = find(library, device, id)?;
    let ids = ids(&read::<Ids>(body)?.ids)?;
    Ok(outcomes(&ids, &library.take_from_album(device, &album, &ids)?))
}

/// `{"assetIds": […]}`, of apps before 3.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssetIds {
    asset_ids: Vec<String>,
}

/// Photos into the album of a name, which is made where there is none.
pub(super) fn add_named(library: &Library, device: &Device, name: &str, body: &[u8]) -> Result<Reply, Deny> {
    let name = percent_encoding::percent_decode_str(name)
        .decode_utf8()
        .map_err(|_| Deny::Bad("the name is not UTF-8"))?;
    let ids = ids(&read::<AssetIds>(body)?.asset_ids)?;
    let album = named(library, device, &name)?;
    Ok(outcomes(&ids, &library.add_to_album(device, &album, &ids)?))
}
