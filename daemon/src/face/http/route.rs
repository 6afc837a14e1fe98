//! Routing: which part of the house a request is for, and who may ask. Unlisted means 404.
use hyper::Method;

use super::nextcloud::login::Login;
use super::nextcloud::{self, CloudRoute};

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// WebDAV: what follows `/dav`, still percent-encoded; empty or starting with `/`.
    Dav(&'a str),
    /// WebDAV's questions about the server's root: Windows asks there before it looks below.
    DavRoot,
    /// Nextcloud's apps.
    Cloud(CloudRoute<'a>),
    /// Immich's API, and where it is.
    Immich,
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

/// Who may ask (invariant I27).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody who reaches the port; nothing of anybody's is shown.
    Open,
    /// A device that signs in.
    Device,
    /// Each of the dialect's own routes says who, in a table of its own.
    Dialect,
}

impl Route<'_> {
    /// Who may ask.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Cloud(route) => {
                if route.is_open() {
                    Access::Open
                } else {
                    Access::Device
                }
            }
            Self::Dav(_) | Self::DavRoot | Self::Login(Login::GiveBack) => Access::Device,
            // A one-time password is no device's.
            Self::Immich | Self::Login(Login::OneTime) => Access::Dialect,
            // What leads to anything there is random; the page asks a person.
            Self::Login(Login::Begin | Login::Poll | Login::Page(_)) => Access::Open,
            Self::Health | Self::Metrics | Self::Page | Self::WrongMethod(_) | Self::Unknown => Access::Open,
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
        "/health" if reads => Route::Health,
        "/metrics" if reads => Route::Metrics,
        "/health" | "/metrics" => Route::WrongMethod("GET, HEAD"),
        "/.well-known/immich" => Route::Immich,
        _ if path.starts_with("/api/") => Route::Immich,
        _ => match path.strip_prefix("/dav") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Route::Dav(rest),
            Some(_) | None => nextcloud::route(method, path).map_or(Route::Unknown, Route::Cloud),
        },
    }
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
        use Route::{Dav, DavRoot, Health, Immich, Metrics, Page, Unknown, WrongMethod};
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
            ("GET", "/metrics", Metrics),
            ("GET", "/dav", Dav("")),
            ("PUT", "/dav/a%2Fb", Dav("/a%2Fb")),
            ("PUT", "/dav//a", Dav("//a")),
            ("GET", "/.well-known/immich", Immich),
            ("POST", "/api/assets", Immich),
            ("GET", "/api", Unknown),
            ("GET", "/apis", Unknown),
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
            ("GET", "/davos", Unknown),
            ("GET", "/DAV/", Unknown),
            ("GET", "/%64av/", Unknown),
            ("GET", "//dav/", Unknown),
            ("GET", "/x/../dav/", Unknown),
            ("GET", "", Unknown),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(route(&method, path), expected, "{method} {path}");
        }
    }

    proptest! {
        #[test]
        fn only_the_tree_needs_a_device_and_only_the_listed_is_open(path in "/?[a-z/%.]{0,12}") {
            let routed = route(&Method::GET, &path);
            let open = ["/", "/health", "/metrics"].contains(&path.as_str());
            prop_assert_eq!(routed != Route::Unknown && routed.access() == Access::Open, open);
        }
    }
}
