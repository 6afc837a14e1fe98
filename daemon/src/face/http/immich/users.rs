//! Who asks, as Immich describes users and API keys.
use hyper::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use super::answer::json;
use crate::face::http::reply::{Deny, Reply};
use crate::model::account::{Device, DeviceKind, Slug};
use crate::model::uuid::Uuid;
use crate::work::error::Refusal;
use crate::work::library::Library;

/// A person's id.
pub(super) fn user_id(person: &Slug) -> Uuid {
    Uuid::of_name("person", person.as_str())
}

/// Something in the form of a mail address: clients show it, and nothing is ever sent there.
pub(super) fn email(person: &Slug) -> String {
    format!("{person}@shoebox.local")
}

/// A time as Immich writes it: milliseconds, UTC.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// `UserResponseDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    avatar_color: &'static str,
    email: String,
    id: String,
    name: String,
    profile_changed_at: String,
    profile_image_path: &'static str,
}

impl User {
    /// A person.
    pub(super) fn new(library: &Library, person: &Slug) -> Result<Self, Deny> {
        Ok(Self {
            avatar_color: "primary",
            email: email(person),
            id: user_id(person).to_string(),
            name: person.to_string(),
            profile_changed_at: time(library.person_since(person)?),
            profile_image_path: "",
        })
    }
}

/// `UserAdminResponseDto` of SDK 3.2: what `users/me` answers to everybody.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    #[serde(flatten)]
    user: User,
    cluster_group_id: String,
    created_at: String,
    deleted_at: Option<String>,
    is_admin: bool,
    license: Option<()>,
    oauth_id: &'static str,
    quota_size_in_bytes: Option<u64>,
    quota_usage_in_bytes: u64,
    should_change_password: bool,
    status: &'static str,
    storage_label: String,
    updated_at: String,
}

/// Who asks, with quota and use.
pub(super) fn me(library: &Library, device: &Device) -> Result<Reply, Deny> {
    let person = &device.person;
    let (quota, used) = library.quota(person)?;
    let user = User::new(library, person)?;
    let since = user.profile_changed_at.clone();
    let me = Me {
        user,
        cluster_group_id: Uuid::of_name("group", "shoebox").to_string(),
        created_at: since.clone(),
        deleted_at: None,
        is_admin: false,
        license: None,
        oauth_id: "",
        quota_size_in_bytes: quota,
        quota_usage_in_bytes: used,
        should_change_password: false,
        status: "active",
        storage_label: person.to_string(),
        updated_at: since,
    };
    Ok(json(StatusCode::OK, &me))
}

/// A person by id: everybody sees himself.
pub(super) fn one(library: &Library, device: &Device, id: &str) -> Result<Reply, Deny> {
    if id.parse() != Ok(user_id(&device.person)) {
        return Err(Deny::Refused(Refusal::NotFound));
    }
    Ok(json(StatusCode::OK, &User::new(library, &device.person)?))
}

/// Everybody whom a person can see here.
pub(super) fn all(library: &Library, device: &Device) -> Result<Reply, Deny> {
    Ok(json(StatusCode::OK, &[User::new(library, &device.person)?]))
}

/// `ApiKeyResponseDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiKey {
    created_at: String,
    id: String,
    name: String,
    permissions: &'static [&'static str],
    updated_at: String,
}

/// What a phone may: read and add.
const PHONE: &[&str] = &[
    "album.create",
    "album.read",
    "albumAsset.create",
    "apiKey.read",
    "asset.read",
    "asset.statistics",
    "asset.upload",
    "job.read",
    "server.about",
    "server.storage",
    "user.read",
];

/// The token, as a key that has these rights.
pub(super) fn api_key(library: &Library, device: &Device) -> Result<Reply, Deny> {
    let since = time(library.device_since(device)?);
    let permissions: &[&str] = match device.kind {
        DeviceKind::Computer => &["all"],
        DeviceKind::Phone => PHONE,
    };
    let id = Uuid::of_name("device", &device.label()).to_string();
    let name = device.name.to_string();
    Ok(json(StatusCode::OK, &ApiKey { created_at: since.clone(), id, name, permissions, updated_at: since }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(time(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(time("2026-11-14T18:02:11.123456789Z".parse().unwrap()), "2026-11-14T18:02:11.123Z");
    }
}
