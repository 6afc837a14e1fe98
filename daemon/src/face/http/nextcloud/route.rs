//! The paths of the Nextcloud apps: which of them there are here, and who may ask.
use hyper::Method;

/// A request of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::face::http) enum CloudRoute<'a> {
    /// `status.php`.
    Status,
    /// Whether there is a network at all: 204.
    NoContent,
    /// What the server can do. `v2`: which of the two forms; the rest of the query decides the format.
    Capabilities { v2: bool },
    /// Who has signed in.
    User { v2: bool },
    /// Another question of the OCS interface: there is no such thing.
    OtherOcs { v2: bool },
    /// The start of WebDAV, where clients find out how to sign in, and search.
    Discovery,
    /// A person's files: what follows the person, still percent-encoded. `base`: what stands before it.
    Files { user: Option<&'a str>, base: &'a str, rest: &'a str },
    /// Uploads in chunks: what follows the person.
    Uploads { user: &'a str, rest: &'a str },
    /// Whether a lost phone is to be wiped. It is not.
    Wipe,
    /// A preview of a file.
    Preview(Pictured<'a>),
    /// Avatars, trash, versions, comments: there are none.
    Nothing,
}

/// How a request for a preview says of which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::face::http) enum Pictured<'a> {
    /// By its number or name in the query.
    Query,
    /// By its number, as the app for photos does.
    Photo(&'a str),
    /// Width, height and name, as old apps do, still percent-encoded.
    Sized(&'a str),
}

/// The form an app means by `/ocs/v1.php` or `/ocs/v2.php`, and what follows it.
fn ocs(path: &str) -> Option<(bool, &str)> {
    let one = path.strip_prefix("/ocs/v1.php/").map(|rest| (false, rest));
    one.or_else(|| path.strip_prefix("/ocs/v2.php/").map(|rest| (true, rest)))
}

impl CloudRoute<'_> {
    /// Whether anybody may ask. The others need a device that signs in.
    pub(in crate::face::http) fn is_open(&self) -> bool {
        match self {
            Self::Status | Self::NoContent | Self::Capabilities { .. } | Self::Wipe | Self::Nothing => true,
            Self::User { .. }
            | Self::OtherOcs { .. }
            | Self::Discovery
            | Self::Files { .. }
            | Self::Preview(_)
            | Self::Uploads { .. } => false,
        }
    }
}

/// Decides by the path as it was sent. `None`: no path of these apps.
pub(in crate::face::http) fn route<'a>(method: &Method, path: &'a str) -> Option<CloudRoute<'a>> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match path {
        "/status.php" if reads => return Some(CloudRoute::Status),
        "/index.php/204" | "/204" if reads => return Some(CloudRoute::NoContent),
        "/index.php/core/wipe/check" if *method == Method::POST => return Some(CloudRoute::Wipe),
        _ => {}
    }
    if let Some((v2, rest)) = ocs(path) {
        return match rest.trim_end_matches('/') {
            "cloud/capabilities" if reads => Some(CloudRoute::Capabilities { v2 }),
            "cloud/user" if reads => Some(CloudRoute::User { v2 }),
            _ => Some(CloudRoute::OtherOcs { v2 }),
        };
    }
    if path.starts_with("/index.php/avatar/") {
        return reads.then_some(CloudRoute::Nothing);
    }
    preview(path).map_or_else(|| dav(path), |pictured| reads.then_some(CloudRoute::Preview(pictured)))
}

/// With `/index.php` before it, or without where a server is set up so.
fn preview(path: &str) -> Option<Pictured<'_>> {
    let path = path.strip_prefix("/index.php").unwrap_or(path);
    match path.trim_end_matches('/') {
        "/core/preview" | "/core/preview.png" => Some(Pictured::Query),
        _ => {
            let photo = path.strip_prefix("/apps/photos/api/v1/preview/").map(Pictured::Photo);
            photo.or_else(|| path.strip_prefix("/apps/files/api/v1/thumbnail/").map(Pictured::Sized))
        }
    }
}

fn dav(path: &str) -> Option<CloudRoute<'_>> {
    const ALIAS: &str = "/remote.php/webdav";
    if let Some(rest) = after(path, ALIAS) {
        return Some(CloudRoute::Files { user: None, base: ALIAS, rest });
    }
    let below = after(path, "/remote.php/dav")?;
    if below.trim_matches('/').is_empty() {
        return Some(CloudRoute::Discovery);
    }
    for kind in ["/files/", "/uploads/"] {
        let Some(at) = below.strip_prefix(kind) else { continue };
        let user = at.split('/').next().unwrap_or_default();
        let rest = &at[user.len()..];
        let base = &path[..path.len() - rest.len()];
        return Some(match kind {
            "/files/" => CloudRoute::Files { user: Some(user), base, rest },
            _ => CloudRoute::Uploads { user, rest },
        });
    }
    Some(CloudRoute::Nothing)
}

/// What follows a prefix that is a whole number of components.
pub(in crate::face::http) fn after<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        use CloudRoute::{
            Capabilities, Discovery, Files, NoContent, Nothing, OtherOcs, Preview, Status, Uploads, User,
            Wipe,
        };
        let files = |user, base, rest| Some(Files { user, base, rest });
        for (method, path, expected) in [
            ("GET", "/status.php", Some(Status)),
            ("GET", "/index.php/204", Some(NoContent)),
            ("POST", "/index.php/204", None),
            ("GET", "/ocs/v1.php/cloud/capabilities", Some(Capabilities { v2: false })),
            ("GET", "/ocs/v2.php/cloud/capabilities", Some(Capabilities { v2: true })),
            ("GET", "/ocs/v2.php/cloud/user", Some(User { v2: true })),
            ("GET", "/ocs/v3.php/cloud/user", None),
            ("DELETE", "/ocs/v2.php/cloud/user", Some(OtherOcs { v2: true })),
            ("GET", "/ocs/v1.php/apps/files_sharing/api/v1/shares", Some(OtherOcs { v2: false })),
            ("HEAD", "/remote.php/dav", Some(Discovery)),
            ("PROPFIND", "/remote.php/dav/", Some(Discovery)),
            (
                "PUT",
                "/remote.php/dav/files/anna/a.jpg",
                files(Some("anna"), "/remote.php/dav/files/anna", "/a.jpg"),
            ),
            ("PROPFIND", "/remote.php/dav/files/anna", files(Some("anna"), "/remote.php/dav/files/anna", "")),
            (
                "PROPFIND",
                "/remote.php/dav/files/anna//",
                files(Some("anna"), "/remote.php/dav/files/anna", "//"),
            ),
            ("GET", "/remote.php/webdav/a", files(None, "/remote.php/webdav", "/a")),
            ("GET", "/remote.php/webdavs/a", None),
            ("MKCOL", "/remote.php/dav/uploads/anna/1", Some(Uploads { user: "anna", rest: "/1" })),
            ("GET", "/remote.php/dav/trashbin/anna/trash", Some(Nothing)),
            ("GET", "/remote.php/davos", None),
            ("GET", "/index.php/avatar/anna/64", Some(Nothing)),
            ("GET", "/index.php/core/preview.png", Some(Preview(Pictured::Query))),
            ("GET", "/core/preview", Some(Preview(Pictured::Query))),
            ("POST", "/index.php/core/preview", None),
            ("GET", "/index.php/core/previews", None),
            ("GET", "/index.php/apps/photos/api/v1/preview/7", Some(Preview(Pictured::Photo("7")))),
            ("GET", "/apps/files/api/v1/thumbnail/1/2/a/b", Some(Preview(Pictured::Sized("1/2/a/b")))),
            ("POST", "/index.php/core/wipe/check", Some(Wipe)),
            ("GET", "/index.php/other", None),
            ("GET", "/%72emote.php/dav/", None),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(route(&method, path), expected, "{method} {path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_of_a_person_needs_a_device(rest in "[a-z/%.]{0,30}") {
            for tree in ["/remote.php/dav/files/", "/remote.php/dav/uploads/", "/remote.php/webdav/"] {
                let path = format!("{tree}{rest}");
                let routed = route(&Method::GET, &path);
                prop_assert!(routed.is_some_and(|routed| !routed.is_open()), "{path}");
            }
        }
    }
}
