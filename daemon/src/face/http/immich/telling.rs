//! Lines of the sync stream: one change each, as the phone app reads it. A type that the app does not know ends its sync, so none is sent
//! that it did not ask for.
use serde::Serialize;

use super::assets::{checksum, kind};
use super::details::{SyncExif, clock, created, local};
use super::users::{email, time, user_id};
use crate::face::http::reply::Deny;
use crate::model::account::Device;
use crate::model::uuid::Uuid;
use crate::work::library::{Album, Asset, Feed, Library};

/// Lines on their way.
pub(super) struct Lines<'f> {
    /// All of them.
    pub(super) text: String,
    edition: &'f str,
}

#[derive(Serialize)]
struct Line<'t, T> {
    #[serde(rename = "type")]
    entity: &'t str,
    data: T,
    ack: String,
}

/// Which of two forms of a record is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Of servers before 3.0.
    V1,
    /// Since.
    V2,
}

impl Form {
    /// As photos of this form are called.
    pub(super) fn asset(self) -> &'static str {
        match self {
            Self::V1 => "AssetV1",
            Self::V2 => "AssetV2",
        }
    }

    /// And albums.
    pub(super) fn album(self) -> &'static str {
        match self {
            Self::V1 => "AlbumV1",
            Self::V2 => "AlbumV2",
        }
    }
}

impl<'f> Lines<'f> {
    /// None yet, of a feed.
    pub(super) fn of(feed: &'f Feed) -> Self {
        Self { text: String::new(), edition: &feed.edition }
    }

    /// One more: what it tells of, and up to which change whoever has it has all of its kind.
    pub(super) fn tell(&mut self, entity: &str, seq: i64, data: &impl Serialize) -> Result<(), Deny> {
        let ack = format!("{entity}|{seq}|{}", self.edition);
        self.line(entity, ack, data)
    }

    /// The end: who has it has all of these kinds up to this change.
    pub(super) fn complete(&mut self, seq: i64, entities: &str) -> Result<(), Deny> {
        let ack = format!("{COMPLETE}|{seq}|{}|{entities}", self.edition);
        self.line(COMPLETE, ack, &Nothing {})
    }

    fn line(&mut self, entity: &str, ack: String, data: &impl Serialize) -> Result<(), Deny> {
        let line = serde_json::to_string(&Line { entity, data, ack });
        self.text.push_str(&line.map_err(|_| Deny::Bad("this cannot be told"))?);
        self.text.push('\n');
        Ok(())
    }

    /// A photo.
    pub(super) fn asset(&mut self, form: Form, seq: i64, device: &Device, asset: &Asset) -> Result<(), Deny> {
        self.tell(form.asset(), seq, &SyncAsset::new(form, device, asset))
    }

    /// What a photo says of itself.
    pub(super) fn details(&mut self, seq: i64, asset: &Asset) -> Result<(), Deny> {
        self.tell(EXIF, seq, &SyncExif::new(asset))
    }

    /// A photo that is not there any more.
    pub(super) fn asset_gone(&mut self, seq: i64, asset: Uuid) -> Result<(), Deny> {
        self.tell(ASSET_GONE, seq, &AssetId { asset_id: asset.to_string() })
    }

    /// An album.
    pub(super) fn album(&mut self, form: Form, seq: i64, device: &Device, album: &Album) -> Result<(), Deny> {
        self.tell(form.album(), seq, &SyncAlbum::new(form, device, album))
    }

    /// An album that is not there any more.
    pub(super) fn album_gone(&mut self, seq: i64, album: Uuid) -> Result<(), Deny> {
        self.tell(ALBUM_GONE, seq, &AlbumId { album_id: album.to_string() })
    }

    /// Whose an album is: the app shows none that is nobody's.
    pub(super) fn owner(&mut self, seq: i64, device: &Device, album: Uuid) -> Result<(), Deny> {
        let user_id = user_id(&device.person).to_string();
        self.tell(OWNER, seq, &Owner { album_id: album.to_string(), user_id, role: "owner" })
    }

    /// A photo in an album, or out of it.
    pub(super) fn member(&mut self, seq: i64, album: Uuid, asset: Uuid, is_in: bool) -> Result<(), Deny> {
        let data = Pair { album_id: album.to_string(), asset_id: asset.to_string() };
        self.tell(if is_in { MEMBER } else { MEMBER_GONE }, seq, &data)
    }

    /// Who asks, with and without what is nobody else's business.
    pub(super) fn people(
        &mut self,
        library: &Library,
        device: &Device,
        asked: (bool, bool),
    ) -> Result<(), Deny> {
        let person = &device.person;
        let (quota, used) = library.quota(person)?;
        let user = || -> Result<SyncUser, Deny> {
            Ok(SyncUser {
                id: user_id(person).to_string(),
                name: person.to_string(),
                email: email(person),
                avatar_color: "primary",
                deleted_at: None,
                has_profile_image: false,
                profile_changed_at: time(library.person_since(person)?),
            })
        };
        if asked.0 {
            let data = AuthUser {
                user: user()?,
                is_admin: false,
                pin_code: None,
                oauth_id: "",
                storage_label: person.to_string(),
                quota_size_in_bytes: quota,
                quota_usage_in_bytes: used,
            };
            self.tell("AuthUserV1", 0, &data)?;
        }
        if asked.1 {
            self.tell("UserV1", 0, &user()?)?;
        }
        Ok(())
    }
}

/// The news that a photo was uploaded, as an event of Socket.IO.
pub(super) fn upload_ready(form: Form, device: &Device, asset: &Asset) -> Option<String> {
    let name = match form {
        Form::V1 => "AssetUploadReadyV1",
        Form::V2 => "AssetUploadReadyV2",
    };
    let ready = Ready { asset: SyncAsset::new(form, device, asset), exif: SyncExif::new(asset) };
    serde_json::to_string(&(name, ready)).ok()
}

#[derive(Serialize)]
struct Ready {
    asset: SyncAsset,
    exif: SyncExif,
}

/// The end of a stream.
pub(super) const COMPLETE: &str = "SyncCompleteV1";
/// All that was told is to be forgotten.
pub(super) const RESET: &str = "SyncResetV1";
pub(super) const ASSET_GONE: &str = "AssetDeleteV1";
pub(super) const EXIF: &str = "AssetExifV1";
pub(super) const ALBUM_GONE: &str = "AlbumDeleteV1";
pub(super) const OWNER: &str = "AlbumUserV1";
pub(super) const MEMBER: &str = "AlbumToAssetV1";
pub(super) const MEMBER_GONE: &str = "AlbumToAssetDeleteV1";

/// That all is to be forgotten: the only line of its stream.
pub(super) fn reset() -> String {
    format!("{{\"type\":\"{RESET}\",\"data\":{{}},\"ack\":\"{RESET}|reset\"}}\n")
}

/// An object with nothing in it.
#[derive(Serialize)]
struct Nothing {}

/// How long something plays: a text before 3.0, milliseconds since.
#[derive(Serialize)]
#[serde(untagged)]
enum Plays {
    Clock(String),
    Millis(u64),
}

/// `SyncAssetV1` and `SyncAssetV2`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncAsset {
    checksum: String,
    created_at: String,
    deleted_at: Option<()>,
    duration: Option<Plays>,
    file_created_at: String,
    file_modified_at: String,
    height: Option<u32>,
    id: String,
    is_edited: bool,
    is_favorite: bool,
    library_id: Option<()>,
    live_photo_video_id: Option<String>,
    local_date_time: String,
    original_file_name: String,
    owner_id: String,
    stack_id: Option<()>,
    thumbhash: Option<()>,
    #[serde(rename = "type")]
    kind: &'static str,
    visibility: &'static str,
    /// `null` where it is not known: at 0 the app's viewer ends.
    width: Option<u32>,
}

impl SyncAsset {
    fn new(form: Form, device: &Device, asset: &Asset) -> Self {
        let media = asset.media.as_ref();
        let size = media.and_then(|media| media.size);
        let plays = |millis| match form {
            Form::V1 => Plays::Clock(clock(millis)),
            Form::V2 => Plays::Millis(millis),
        };
        Self {
            checksum: checksum(asset),
            created_at: time(asset.received),
            deleted_at: None,
            duration: media.and_then(|media| media.duration).map(plays),
            file_created_at: time(created(asset)),
            file_modified_at: time(asset.mtime),
            height: size.map(|size| size.height),
            id: asset.id.to_string(),
            is_edited: false,
            is_favorite: asset.favourite,
            library_id: None,
            live_photo_video_id: asset.motion.map(|id| id.to_string()),
            local_date_time: local(asset),
            original_file_name: asset.path.name().to_owned(),
            owner_id: user_id(&device.person).to_string(),
            stack_id: None,
            thumbhash: None,
            kind: kind(asset.medium()),
            // The moving half of a Live Photo is shown with its still, and not beside it.
            visibility: if asset.is_half { "hidden" } else { "timeline" },
            width: size.map(|size| size.width),
        }
    }
}

/// `SyncAlbumV1` and `SyncAlbumV2`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncAlbum {
    created_at: String,
    description: &'static str,
    id: String,
    is_activity_enabled: bool,
    name: String,
    order: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_id: Option<String>,
    thumbnail_asset_id: Option<String>,
    updated_at: String,
}

impl SyncAlbum {
    fn new(form: Form, device: &Device, album: &Album) -> Self {
        Self {
            created_at: time(album.created),
            description: "",
            id: album.id.to_string(),
            is_activity_enabled: false,
            name: album.name.clone(),
            order: "desc",
            owner_id: (form == Form::V1).then(|| user_id(&device.person).to_string()),
            thumbnail_asset_id: album.cover.map(|id| id.to_string()),
            updated_at: time(album.changed),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AssetId {
    asset_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlbumId {
    album_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    album_id: String,
    user_id: String,
    role: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pair {
    album_id: String,
    asset_id: String,
}

/// `SyncUserV1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncUser {
    id: String,
    name: String,
    email: String,
    avatar_color: &'static str,
    deleted_at: Option<()>,
    has_profile_image: bool,
    profile_changed_at: String,
}

/// `SyncAuthUserV1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthUser {
    #[serde(flatten)]
    user: SyncUser,
    is_admin: bool,
    pin_code: Option<()>,
    oauth_id: &'static str,
    storage_label: String,
    quota_size_in_bytes: Option<u64>,
    quota_usage_in_bytes: u64,
}
