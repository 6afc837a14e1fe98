//! Routing: which part of the house a request is for, and who may ask. Unlisted means 404.
use hyper::Method;

use super::lomorage::{self, Door};
use super::nextcloud::login::Login;
use super::nextcloud::{self, CloudRoute};
use super::pages::authority::Door as AuthorityDoor;
use super::pages::setup;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// WebDAV: what follows `/dav`, still percent-encoded; empty or starting with `/`.
    Dav(&'a str),
    /// WebDAV's questions about the server's root: Windows asks there before it looks below.
    DavRoot,
    /// One file in one request: what follows `/inbox/`, still percent-encoded.
    Inbox(&'a str),
    /// Nextcloud's apps.
    Cloud(CloudRoute<'a>),
    /// Immich's API, and where it is.
    Immich,
    /// The Lomorage app's.
    Lomorage(Door<'a>),
    /// Uploads that are resumed: nothing, or the id of one.
    Tus(&'a str),
    /// The set-up page.
    Setup,
    /// The page that sends photos from a browser.
    UploadPage,
    /// What is shared with the page, where no service worker of its took it.
    Share,
    /// What pages are made of: what follows `/upload/assets/`.
    Asset(&'a str),
    /// Who is signed in on a page.
    Session,
    /// What is proved of photos that a page sent.
    Proofs,
    /// The authority of the box's certificates, for phones to know it.
    Authority(AuthorityDoor),
    /// How the Nextcloud apps sign in.
    Login(Login<'a>),
    /// The findings.
    Health,
    /// Figures for a monitoring program.
    Metrics,
    /// What this is.
    Page,
    /// A known path with a method it has not; these it has.
    WrongMethod(&'static str),
    /// Nothing.
    Unknown,
}

/// Where photos are shared to. A browser sends there in nobody's name (`Origin: null`), and what comes is never read.
pub(super) const SHARE: &str = "/upload/share";

/// Who may ask (invariant I27).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody who reaches the port; nothing of anybody's is shown.
    Open,
    /// A device that signs in.
    Device,
    /// Each of the dialect's own routes says who, in a table of its own.
    Dialect,
    /// A device that signs in, or did so on a page of ours.
    Page,
}

impl Route<'_> {
    /// Who may ask.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Dav(_) | Self::DavRoot | Self::Inbox(_) => Access::Device,
            Self::Cloud(route) => {
                if route.is_open() {
                    Access::Open
                } else {
                    Access::Device
                }
            }
            Self::Immich | Self::Lomorage(_) => Access::Dialect,
            Self::Tus(_) | Self::Proofs => Access::Page,
            Self::Login(Login::GiveBack) => Access::Device,
            // A one-time password is no device's.
            Self::Login(Login::OneTime) => Access::Dialect,
            // What asks for a password is open to those who have not given one yet.
            Self::Session => Access::Open,
            // What leads to anything there is random; the page asks a person.
            Self::Login(Login::Begin | Login::Poll | Login::Page(_)) => Access::Open,
            // Whose turn it is there, the page finds out.
            Self::Setup => Access::Open,
            // A certificate is no secret.
            Self::Authority(_) => Access::Open,
            Self::UploadPage | Self::Share | Self::Asset(_) | Self::Health | Self::Metrics => Access::Open,
            Self::Page | Self::WrongMethod(_) | Self::Unknown => Access::Open,
        }
    }
}

/// Decides by the path as it was sent. Prefixes are compared before any decoding, so that no spelling of a path
/// reaches a route that its plain spelling does not.
pub(super) fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if let Some(login) = login(method, path) {
        return login;
    }
    match path {
        "/" if reads => Route::Page,
        "/" | "*" if matches!(method.as_str(), "OPTIONS" | "PROPFIND") => Route::DavRoot,
        "/" => Route::WrongMethod("GET, HEAD, OPTIONS, PROPFIND"),
        setup::PATH if reads || *method == Method::POST => Route::Setup,
        setup::PATH => Route::WrongMethod("GET, HEAD, POST"),
        "/upload" if reads => Route::UploadPage,
        "/upload/session" if matches!(*method, Method::GET | Method::POST | Method::DELETE) => Route::Session,
        "/upload/session" => Route::WrongMethod("GET, POST, DELETE"),
        SHARE if *method == Method::POST => Route::Share,
        SHARE => Route::WrongMethod("POST"),
        "/upload/proofs" if *method == Method::POST => Route::Proofs,
        "/upload/proofs" => Route::WrongMethod("POST"),
        "/ca" if reads => Route::Authority(AuthorityDoor::Page),
        "/ca.crt" if reads => Route::Authority(AuthorityDoor::Certificate),
        "/ca.pem" if reads => Route::Authority(AuthorityDoor::Text),
        "/health" if reads => Route::Health,
        "/metrics" if reads => Route::Metrics,
        "/health" | "/metrics" | "/upload" | "/ca" | "/ca.crt" | "/ca.pem" => Route::WrongMethod("GET, HEAD"),
        "/.well-known/immich" => Route::Immich,
        _ if path.starts_with("/api/") => Route::Immich,
        _ => route_below(method, path),
    }
}

/// Routes that have something below them.
fn route_below<'a>(method: &Method, path: &'a str) -> Route<'a> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if let Some(rest) = below(path, "/dav") {
        return Route::Dav(rest);
    }
    let below = |prefix| below(path, prefix).map(|rest| rest.strip_prefix('/').unwrap_or(rest));
    match (below("/inbox"), below("/tus"), below("/upload/assets")) {
        (Some(rest), _, _) if matches!(*method, Method::PUT | Method::POST) => Route::Inbox(rest),
        (Some(_), _, _) => Route::WrongMethod("PUT, POST"),
        (_, Some(rest), _) => Route::Tus(rest),
        (_, _, Some(rest)) if reads => Route::Asset(rest),
        (_, _, Some(_)) => Route::WrongMethod("GET, HEAD"),
        (None, None, None) => route_by_app(method, path),
    }
}

/// Paths that apps chose.
fn route_by_app<'a>(method: &Method, path: &'a str) -> Route<'a> {
    match lomorage::door(path) {
        Some((door, methods)) if methods.split(", ").any(|one| one == method.as_str()) => {
            Route::Lomorage(door)
        }
        Some((_, methods)) => Route::WrongMethod(methods),
        None => nextcloud::route(method, path).map_or(Route::Unknown, Route::Cloud),
    }
}

/// What follows a prefix that is a folder.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where the Nextcloud apps sign in.
fn login<'a>(method: &Method, path: &'a str) -> Option<Route<'a>> {
    let only = |wanted: &[Method], login, allowed| {
        Some(if wanted.contains(method) { Route::Login(login) } else { Route::WrongMethod(allowed) })
    };
    match path {
        "/index.php/login/v2" => only(&[Method::POST], Login::Begin, "POST"),
        "/index.php/login/v2/poll" => only(&[Method::POST], Login::Poll, "POST"),
        "/ocs/v2.php/core/getapppassword-onetime" | "/ocs/v1.php/core/getapppassword-onetime" => {
            only(&[Method::GET], Login::OneTime, "GET")
        }
        "/ocs/v2.php/core/apppassword" | "/ocs/v1.php/core/apppassword" => {
            only(&[Method::DELETE], Login::GiveBack, "DELETE")
        }
        _ => match path.strip_prefix("/index.php/login/v2/flow/") {
            Some(id) => only(&[Method::GET, Method::HEAD, Method::POST], Login::Page(id), "GET, HEAD, POST"),
            None if *method == Method::DELETE && is_misdirected(path) => Some(Route::Login(Login::GiveBack)),
            None => None,
        },
    }
}

/// Android asks there to give its password back, a defect of old (`…/files/USER` before a path that has its own root). No file
/// is meant, whatever there may be.
fn is_misdirected(path: &str) -> bool {
    let below = path.strip_prefix("/remote.php/dav/files/").and_then(|rest| rest.split_once('/'));
    below.is_some_and(|(_, rest)| {
        rest.trim_start_matches('/').trim_end_matches('/') == "ocs/v2.php/core/apppassword"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        use Route::{
            Asset, Dav, DavRoot, Health, Immich, Inbox, Metrics, Page, Proofs, Session, Share, Tus, Unknown,
            UploadPage, WrongMethod,
        };
        for (method, path, expected) in [
            ("GET", "/", Page),
            ("HEAD", "/", Page),
            ("OPTIONS", "/", DavRoot),
            ("OPTIONS", "*", DavRoot),
            ("PROPFIND", "/", DavRoot),
            ("PUT", "/", WrongMethod("GET, HEAD, OPTIONS, PROPFIND")),
            ("GET", "/health", Health),
            ("POST", "/health", WrongMethod("GET, HEAD")),
            ("GET", "/health/", Unknown),
            ("GET", "/ca", Route::Authority(AuthorityDoor::Page)),
            ("HEAD", "/ca.crt", Route::Authority(AuthorityDoor::Certificate)),
            ("GET", "/ca.pem", Route::Authority(AuthorityDoor::Text)),
            ("PUT", "/ca.crt", WrongMethod("GET, HEAD")),
            ("GET", "/ca/", Unknown),
            ("GET", "/metrics", Metrics),
            ("GET", "/dav", Dav("")),
            ("PUT", "/dav/a%2Fb", Dav("/a%2Fb")),
            ("PUT", "/dav//a", Dav("//a")),
            ("GET", "/.well-known/immich", Immich),
            ("POST", "/api/assets", Immich),
            ("GET", "/api", Unknown),
            ("GET", "/apis", Unknown),
            ("PUT", "/inbox/a%2Fb", Inbox("a%2Fb")),
            ("POST", "/inbox/x/a", Inbox("x/a")),
            ("PUT", "/inbox", Inbox("")),
            ("PUT", "/inbox/", Inbox("")),
            ("GET", "/inbox/a", WrongMethod("PUT, POST")),
            ("PUT", "/inboxes/a", Unknown),
            ("POST", "/tus", Tus("")),
            ("POST", "/tus/", Tus("")),
            ("PATCH", "/tus/x/y", Tus("x/y")),
            ("GET", "/setup", Route::Setup),
            ("POST", "/setup", Route::Setup),
            ("PUT", "/setup", WrongMethod("GET, HEAD, POST")),
            ("GET", "/setup/", Unknown),
            ("GET", "/upload", UploadPage),
            ("PUT", "/upload", WrongMethod("GET, HEAD")),
            ("GET", "/upload/", Unknown),
            ("POST", "/upload/session", Session),
            ("PUT", "/upload/session", WrongMethod("GET, POST, DELETE")),
            ("POST", "/upload/proofs", Proofs),
            ("GET", "/upload/proofs", WrongMethod("POST")),
            ("POST", "/upload/share", Share),
            ("GET", "/upload/share", WrongMethod("POST")),
            ("POST", "/upload/share/", Unknown),
            ("GET", "/upload/assets/upload.js", Asset("upload.js")),
            ("POST", "/upload/assets/upload.js", WrongMethod("GET, HEAD")),
            ("GET", "/davos", Unknown),
            ("GET", "/DAV/", Unknown),
            ("GET", "/%64av/", Unknown),
            ("GET", "//dav/", Unknown),
            ("GET", "/x/../dav/", Unknown),
            ("GET", "", Unknown),
        ] {
            leads(method, path, &expected);
        }
    }

    #[test]
    fn paths_that_apps_chose() {
        use Route::WrongMethod;
        for (method, path, expected) in [
            ("POST", "/index.php/login/v2", Route::Login(Login::Begin)),
            ("GET", "/index.php/login/v2", WrongMethod("POST")),
            ("POST", "/index.php/login/v2/poll", Route::Login(Login::Poll)),
            ("GET", "/index.php/login/v2/flow/ab", Route::Login(Login::Page("ab"))),
            ("POST", "/index.php/login/v2/flow/ab", Route::Login(Login::Page("ab"))),
            ("PUT", "/index.php/login/v2/flow/ab", WrongMethod("GET, HEAD, POST")),
            ("GET", "/ocs/v2.php/core/getapppassword-onetime", Route::Login(Login::OneTime)),
            ("DELETE", "/ocs/v2.php/core/apppassword", Route::Login(Login::GiveBack)),
            ("GET", "/ocs/v2.php/core/apppassword", WrongMethod("DELETE")),
            (
                "DELETE",
                "/remote.php/dav/files/anna/ocs/v2.php/core/apppassword",
                Route::Login(Login::GiveBack),
            ),
            (
                "DELETE",
                "/remote.php/dav/files/anna//ocs/v2.php/core/apppassword/",
                Route::Login(Login::GiveBack),
            ),
            ("GET", "/system", Route::Lomorage(Door::System)),
            ("GET", "/login", Route::Lomorage(Door::Login)),
            ("POST", "/login", WrongMethod("GET")),
            ("HEAD", "/asset/aa", Route::Lomorage(Door::Asset("aa"))),
            ("PATCH", "/asset/aa", Route::Lomorage(Door::Asset("aa"))),
            ("DELETE", "/asset/aa", WrongMethod("HEAD, POST, PATCH")),
            ("GET", "/assets/merkletree/2024/3", Route::Lomorage(Door::Month("2024/3"))),
        ] {
            leads(method, path, &expected);
        }
    }

    fn leads(method: &str, path: &str, expected: &Route<'_>) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(route(&method, path), *expected, "{method} {path}");
    }

    proptest! {
        #[test]
        fn only_the_tree_needs_a_device_and_only_the_listed_is_open(path in "/?[a-z/%.]{0,12}") {
            let routed = route(&Method::GET, &path);
            let open = ["/", "/ca", "/ca.crt", "/ca.pem", "/health", "/metrics", "/setup", "/upload", "/upload/session"].contains(&path.as_str());
            let answers_itself = matches!(routed, Route::Unknown | Route::Asset(_) | Route::WrongMethod(_));
            prop_assert_eq!(!answers_itself && routed.access() == Access::Open, open);
        }
    }
}
