//! Every request of the Immich dialect, in one table: method, path below the server's root, and who may ask. Unlisted means 404.
use hyper::Method;

/// What a request asks for, and thereby who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Anybody may: nothing of anybody's is shown.
    Open(Open),
    /// One photo, with what belongs to it, from a device that signs in.
    Upload,
    /// A device that signs in. What it may take away is decided with each photo: a phone nothing (403).
    Device(Own),
    /// The same, where the phone app is answered (`immich.phone_app`); else there is nothing here.
    App(App),
}

/// What anybody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    /// Where the API is.
    WellKnown,
    /// Whether anybody is there.
    Ping,
    /// The version announced.
    Version,
    /// Since when.
    VersionHistory,
    /// What this server can do.
    Features,
    /// How it is set up.
    Config,
    /// Which endings are photos and videos.
    MediaTypes,
    /// A token for a name and a password.
    Login,
}

/// What a device may ask of its person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// The end of a login.
    Logout,
    /// Whether a token is good.
    ValidateToken,
    /// The version, at length.
    About,
    /// Room on the drive.
    Storage,
    /// Who asks.
    Me,
    /// Everybody who can be seen: who asks.
    Users,
    /// The token, described.
    ApiKey,
    /// How many photos and videos.
    Statistics,
    /// Which of these SHA-1 are here.
    BulkCheck,
    /// Which of the device's own ids are here.
    Exist,
    /// Photos to the trash.
    Trash,
    /// One photo, described.
    Asset,
    /// A small picture of it.
    Thumbnail,
    /// Photos, described, page by page.
    Search,
    /// All albums.
    Albums,
    /// A new one.
    MakeAlbum,
    /// How many.
    AlbumStatistics,
    /// One album.
    Album,
    /// Photos into an album.
    AddToAlbum,
    /// Photos out of one.
    TakeFromAlbum,
    /// Photos into an album by its name, which is made.
    AddToAlbumNamed,
    /// To pause or resume what works in the background.
    Job,
}

/// A line of the table. `*` stands for one component.
pub(super) struct Line {
    /// The method.
    pub(super) method: &'static str,
    /// The path.
    pub(super) path: &'static str,
    /// What it is.
    pub(super) call: Call,
}

/// What only the phone app asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum App {
    /// What changed since it asked last.
    Stream,
    /// What it has heard of.
    Heard,
    /// That it has what it was told.
    Hear,
    /// That it wants to be told again.
    Unhear,
    /// A connection on which it is told that something changed.
    Socket,
    /// One person.
    User,
    /// One photo, changed: among the favourites or not.
    Change,
    /// Several.
    ChangeMany,
    /// Its bytes.
    Original,
    /// Something that there is nothing of here, in the form in which it is expected.
    Nothing(&'static str),
}

const fn open(method: &'static str, path: &'static str, call: Open) -> Line {
    Line { method, path, call: Call::Open(call) }
}

const fn device(method: &'static str, path: &'static str, call: Own) -> Line {
    Line { method, path, call: Call::Device(call) }
}

const fn app(method: &'static str, path: &'static str, call: App) -> Line {
    Line { method, path, call: Call::App(call) }
}

const fn nothing(path: &'static str, answer: &'static str) -> Line {
    app("GET", path, App::Nothing(answer))
}

/// The table. `/api/assets/exist` and a name instead of an id in `/api/albums/*/assets` are of servers before 3.0.
pub(super) const TABLE: &[Line] = &[
    open("GET", "/.well-known/immich", Open::WellKnown),
    open("GET", "/api/server/ping", Open::Ping),
    open("GET", "/api/server/version", Open::Version),
    open("GET", "/api/server/version-history", Open::VersionHistory),
    open("GET", "/api/server/features", Open::Features),
    open("GET", "/api/server/config", Open::Config),
    open("GET", "/api/server/media-types", Open::MediaTypes),
    open("POST", "/api/auth/login", Open::Login),
    device("POST", "/api/auth/logout", Own::Logout),
    device("POST", "/api/auth/validateToken", Own::ValidateToken),
    device("GET", "/api/server/about", Own::About),
    device("GET", "/api/server/storage", Own::Storage),
    device("GET", "/api/users/me", Own::Me),
    device("GET", "/api/users", Own::Users),
    device("GET", "/api/api-keys/me", Own::ApiKey),
    device("GET", "/api/assets/statistics", Own::Statistics),
    device("POST", "/api/assets/bulk-upload-check", Own::BulkCheck),
    device("POST", "/api/assets/exist", Own::Exist),
    Line { method: "POST", path: "/api/assets", call: Call::Upload },
    device("DELETE", "/api/assets", Own::Trash),
    device("GET", "/api/assets/*", Own::Asset),
    device("GET", "/api/assets/*/thumbnail", Own::Thumbnail),
    device("POST", "/api/search/metadata", Own::Search),
    device("GET", "/api/albums", Own::Albums),
    device("POST", "/api/albums", Own::MakeAlbum),
    device("GET", "/api/albums/statistics", Own::AlbumStatistics),
    device("GET", "/api/albums/*", Own::Album),
    device("PUT", "/api/albums/*/assets", Own::AddToAlbum),
    device("DELETE", "/api/albums/*/assets", Own::TakeFromAlbum),
    device("POST", "/api/albums/*/assets", Own::AddToAlbumNamed),
    device("PUT", "/api/jobs/*", Own::Job),
    app("POST", "/api/sync/stream", App::Stream),
    app("GET", "/api/sync/ack", App::Heard),
    app("POST", "/api/sync/ack", App::Hear),
    app("DELETE", "/api/sync/ack", App::Unhear),
    app("GET", "/api/socket.io", App::Socket),
    nothing("/api/users/me/preferences", PREFERENCES),
    app("GET", "/api/users/*", App::User),
    app("PUT", "/api/assets", App::ChangeMany),
    app("PUT", "/api/assets/*", App::Change),
    app("GET", "/api/assets/*/original", App::Original),
    app("GET", "/api/assets/*/video/playback", App::Original),
    nothing("/api/activities", "[]"),
    nothing("/api/activities/statistics", r#"{"comments":0,"likes":0}"#),
    nothing("/api/auth/status", r#"{"isElevated":false,"password":true,"pinCode":false}"#),
    nothing("/api/faces", "[]"),
    nothing("/api/map/markers", "[]"),
    nothing("/api/memories", "[]"),
    nothing("/api/memories/statistics", r#"{"total":0}"#),
    nothing("/api/notifications", "[]"),
    nothing("/api/partners", "[]"),
    nothing("/api/people", r#"{"hasNextPage":false,"hidden":0,"people":[],"total":0}"#),
    nothing("/api/search/cities", "[]"),
    nothing("/api/search/explore", "[]"),
    nothing("/api/search/suggestions", "[]"),
    nothing("/api/server/version-check", r#"{"checkedAt":null,"releaseVersion":null}"#),
    nothing("/api/sessions", "[]"),
    nothing("/api/shared-links", "[]"),
    nothing("/api/stacks", "[]"),
    nothing("/api/tags", "[]"),
];

/// `UserPreferencesResponseDto` of SDK 3.2, and what 3.3 adds: nothing that is not here is shown.
const PREFERENCES: &str = concat!(
    r#"{"albums":{"defaultAssetOrder":"desc"},"cast":{"gCastEnabled":false},"#,
    r#""download":{"archiveSize":4294967296,"includeEmbeddedVideos":false},"#,
    r#""emailNotifications":{"albumInvite":false,"albumUpdate":false,"enabled":false},"#,
    r#""folders":{"enabled":false,"sidebarWeb":false},"memories":{"duration":5,"enabled":false,"sidebarWeb":false},"#,
    r#""people":{"enabled":false,"minimumFaces":3,"sidebarWeb":false,"updateStrategy":"self"},"#,
    r#""purchase":{"hideBuyButtonUntil":"2100-01-01T00:00:00.000Z","showSupportBadge":false},"#,
    r#""ratings":{"enabled":false},"recentlyAdded":{"sidebarWeb":false},"sharedLinks":{"enabled":false,"sidebarWeb":false},"#,
    r#""tags":{"enabled":false,"sidebarWeb":false}}"#
);

/// The line of a request, and what stands for `*` in it, as it was sent. The path is compared before any decoding.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> Option<(&'static Line, Option<&'p str>)> {
    // A slash at the end is another spelling of the same.
    let path = path.strip_suffix('/').unwrap_or(path);
    TABLE.iter().filter(|line| line.method == method.as_str()).find_map(|line| {
        let mut argument = None;
        let mut given = path.split('/');
        for wanted in line.path.split('/') {
            let component = given.next()?;
            match wanted {
                "*" if !component.is_empty() => argument = Some(component),
                _ if wanted == component => {}
                _ => return None,
            }
        }
        given.next().is_none().then_some((line, argument))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Option<(Call, Option<String>)> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        find(&method, path).map(|(line, argument)| (line.call, argument.map(str::to_owned)))
    }

    #[test]
    fn table() {
        assert_eq!(found("GET", "/api/users/me"), Some((Call::Device(Own::Me), None)));
        assert_eq!(found("GET", "/api/users/me/"), Some((Call::Device(Own::Me), None)));
        assert_eq!(found("GET", "/api/assets/statistics"), Some((Call::Device(Own::Statistics), None)));
        assert_eq!(found("GET", "/api/assets/x"), Some((Call::Device(Own::Asset), Some("x".to_owned()))));
        assert_eq!(
            found("PUT", "/api/albums/a%2Fb/assets"),
            Some((Call::Device(Own::AddToAlbum), Some("a%2Fb".to_owned())))
        );
        for (method, path) in [
            ("PUT", "/api/users/me"),
            ("GET", "/api"),
            ("GET", "/api/"),
            ("GET", "/api/assets//"),
            ("GET", "/api/assets/x/y"),
            ("GET", "/API/users/me"),
            ("GET", "/api/us%65rs/me"),
            ("GET", "/api/admin/users"),
        ] {
            assert_eq!(found(method, path), None, "{method} {path}");
        }
    }

    /// What shows something of somebody's, or changes anything, is not open.
    #[test]
    fn who_may_ask() {
        let open: Vec<&str> =
            TABLE.iter().filter(|line| matches!(line.call, Call::Open(_))).map(|line| line.path).collect();
        assert_eq!(
            open,
            [
                "/.well-known/immich",
                "/api/server/ping",
                "/api/server/version",
                "/api/server/version-history",
                "/api/server/features",
                "/api/server/config",
                "/api/server/media-types",
                "/api/auth/login"
            ]
        );
    }

    #[test]
    fn what_is_nothing_is_json() {
        for line in TABLE {
            if let Call::App(App::Nothing(text)) = line.call {
                serde_json::from_str::<serde_json::Value>(text).unwrap();
            }
        }
    }

    #[test]
    fn every_line_is_found_by_its_own_path() {
        for line in TABLE {
            let path = line.path.replace('*', "0f");
            assert_eq!(found(line.method, &path).map(|(call, _)| call), Some(line.call), "{path}");
        }
    }
}
