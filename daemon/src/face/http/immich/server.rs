//! What the server says of itself: version, features, room. None of it is anybody's.
use std::fmt;
use std::str::FromStr;

use hyper::StatusCode;
use serde::Serialize;

use super::answer::json;
use super::users::time;
use crate::face::http::reply::{Deny, Reply};
use crate::model::extension::{IMAGES, SIDECARS, VIDEOS};
use crate::model::uuid::Uuid;
use crate::work::library::Library;
use jiff::Timestamp;

/// The version that clients are told: they choose by it what they ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Apps of another major version warn.
    pub major: u64,
    /// Apps of a lower minor version ask to be updated.
    pub minor: u64,
    /// Says nothing.
    pub patch: u64,
}

impl Default for Announced {
    fn default() -> Self {
        Self { major: 3, minor: 0, patch: 0 }
    }
}

impl FromStr for Announced {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: &str = "not a version such as 3.0.0";
        let number = |part: &str| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
        let mut parts = text.split('.').map(number);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None) => {
                Ok(Self { major, minor, patch })
            }
            _ => Err(BAD),
        }
    }
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[derive(Serialize)]
struct WellKnown {
    api: Endpoint,
}

#[derive(Serialize)]
struct Endpoint {
    endpoint: &'static str,
}

/// Where the API is.
pub(super) fn well_known() -> Reply {
    json(StatusCode::OK, &WellKnown { api: Endpoint { endpoint: "/api" } })
}

#[derive(Serialize)]
struct Pong {
    res: &'static str,
}

pub(super) fn ping() -> Reply {
    json(StatusCode::OK, &Pong { res: "pong" })
}

/// `ServerVersionResponseDto`.
#[derive(Serialize)]
struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: Option<u64>,
}

pub(super) fn version(announced: Announced) -> Reply {
    let Announced { major, minor, patch } = announced;
    json(StatusCode::OK, &Version { major, minor, patch, prerelease: None })
}

/// `ServerVersionHistoryResponseDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Since {
    created_at: String,
    id: String,
    version: String,
}

pub(super) fn version_history(announced: Announced) -> Reply {
    let version = announced.to_string();
    let id = Uuid::of_name("version", &version).to_string();
    json(StatusCode::OK, &[Since { created_at: time(Timestamp::UNIX_EPOCH), id, version }])
}

/// `ServerFeaturesDto`.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the client's own list of switches")]
struct Features {
    config_file: bool,
    duplicate_detection: bool,
    email: bool,
    facial_recognition: bool,
    import_faces: bool,
    map: bool,
    oauth: bool,
    oauth_auto_launch: bool,
    ocr: bool,
    password_login: bool,
    realtime_transcoding: bool,
    reverse_geocoding: bool,
    search: bool,
    sidecar: bool,
    smart_search: bool,
    trash: bool,
}

pub(super) fn features() -> Reply {
    let features = Features {
        config_file: true,
        password_login: true,
        sidecar: true,
        trash: true,
        ..Features::default()
    };
    json(StatusCode::OK, &features)
}

/// `ServerConfigDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    external_domain: &'static str,
    is_initialized: bool,
    is_onboarded: bool,
    login_page_message: &'static str,
    maintenance_mode: bool,
    map_dark_style_url: &'static str,
    map_light_style_url: &'static str,
    min_faces: u64,
    oauth_button_text: &'static str,
    public_users: bool,
    trash_days: u64,
    user_delete_delay: u64,
}

pub(super) fn config() -> Reply {
    let config = Config {
        external_domain: "",
        is_initialized: true,
        is_onboarded: true,
        login_page_message: "Your name before the @, and a device's password from `shoebox device add`.",
        maintenance_mode: false,
        map_dark_style_url: "",
        map_light_style_url: "",
        min_faces: 3,
        oauth_button_text: "",
        public_users: false,
        trash_days: 30,
        user_delete_delay: 0,
    };
    json(StatusCode::OK, &config)
}

/// `ServerMediaTypesResponseDto`: clients send what has one of these endings.
#[derive(Serialize)]
struct MediaTypes {
    image: &'static [&'static str],
    sidecar: &'static [&'static str],
    video: &'static [&'static str],
}

pub(super) fn media_types() -> Reply {
    json(StatusCode::OK, &MediaTypes { image: &IMAGES, sidecar: &SIDECARS, video: &VIDEOS })
}

/// `ServerAboutResponseDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct About {
    licensed: bool,
    version: String,
    version_url: &'static str,
    build: &'static str,
}

pub(super) fn about(announced: Announced) -> Reply {
    // The `v` is what immich-go reads.
    let version = format!("v{announced}");
    let build = concat!("shoebox ", env!("CARGO_PKG_VERSION"));
    json(StatusCode::OK, &About { licensed: false, version, version_url: "", build })
}

/// `ServerStorageResponseDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    disk_available: String,
    disk_available_raw: u64,
    disk_size: String,
    disk_size_raw: u64,
    disk_usage_percentage: f64,
    disk_use: String,
    disk_use_raw: u64,
}

/// Room for uploads on the main drive, as last measured.
pub(super) fn storage(library: &Library) -> Result<Reply, Deny> {
    let (left, used) = library.space()?;
    let size = left.saturating_add(used);
    // At most a drive's size: exact enough for a percentage.
    let percent = if size == 0 { 0.0 } else { (used as f64 / size as f64 * 1000.0).round() / 10.0 };
    let storage = Storage {
        disk_available: shown(left),
        disk_available_raw: left,
        disk_size: shown(size),
        disk_size_raw: size,
        disk_usage_percentage: percent,
        disk_use: shown(used),
        disk_use_raw: used,
    };
    Ok(json(StatusCode::OK, &storage))
}

fn shown(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.1} {unit}")
}

/// `QueueResponseLegacyDto`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    job_counts: Counts,
    queue_status: Status,
}

#[derive(Serialize, Default)]
struct Counts {
    active: u64,
    completed: u64,
    delayed: u64,
    failed: u64,
    paused: u64,
    waiting: u64,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Status {
    is_active: bool,
    is_paused: bool,
}

/// immich-go pauses the server's work on photos before it sends any. There is none of the kind here, and there never waits any.
pub(super) fn job() -> Reply {
    json(StatusCode::OK, &Queue { job_counts: Counts::default(), queue_status: Status::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!("3.0.0".parse(), Ok(Announced::default()));
        assert_eq!("2.7.15".parse::<Announced>().unwrap().to_string(), "2.7.15");
        for bad in
            ["", "3", "3.0", "3.0.0.1", "v3.0.0", "3.0.x", "3.-1.0", "+3.0.0", "99999999999999999999.0.0"]
        {
            assert!(bad.parse::<Announced>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(shown(0), "0.0 B");
        assert_eq!(shown(1536), "1.5 KiB");
        assert_eq!(shown(3 << 40), "3.0 TiB");
        assert_eq!(shown(5000 << 40), "5000.0 TiB");
    }
}
