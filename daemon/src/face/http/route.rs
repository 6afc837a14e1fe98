//! Routing: which part of the house a request is for, and who may ask. Unlisted means 404.
use hyper::Method;

use super::lomorage::{self, Door};
use super::nextcloud::{self, CloudRoute};

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
            Self::Dav(_) | Self::DavRoot | Self::Inbox(_) => Access::Device,
            Self::Cloud(route) => {
                if route.is_open() {
                    Access::Open
                } else {
                    Access::Device
                }
            }
            Self::Immich => Access::Dialect,
            Self::Lomorage(_) => Access::Dialect,
            Self::Health | Self::Metrics | Self::Page | Self::WrongMethod(_) | Self::Unknown => Access::Open,
        }
    }
}

/// Decides by the path as it was sent. Prefixes are compared before any decoding, so that no spelling of a path
/// reaches a route that its plain spelling does not.
pub(super) fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match path {
        "/" if reads => Route::Page,
        "/" | "*" if matches!(method.as_str(), "OPTIONS" | "PROPFIND") => Route::DavRoot,
        "/" => Route::WrongMethod("GET, HEAD, OPTIONS, PROPFIND"),
        "/health" if reads => Route::Health,
        "/metrics" if reads => Route::Metrics,
        "/health" | "/metrics" => Route::WrongMethod("GET, HEAD"),
        "/.well-known/immich" => Route::Immich,
        _ if path.starts_with("/api/") => Route::Immich,
        _ => match (below(path, "/dav"), below(path, "/inbox")) {
            (Some(rest), _) => Route::Dav(rest),
            (None, Some(rest)) if matches!(*method, Method::PUT | Method::POST) => {
                Route::Inbox(rest.strip_prefix('/').unwrap_or(rest))
            }
            (None, Some(_)) => Route::WrongMethod("PUT, POST"),
            (None, None) => route_by_app(method, path),
        },
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        use Route::{Dav, DavRoot, Health, Immich, Inbox, Metrics, Page, Unknown, WrongMethod};
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
            ("PUT", "/inbox/a%2Fb", Inbox("a%2Fb")),
            ("POST", "/inbox/x/a", Inbox("x/a")),
            ("PUT", "/inbox", Inbox("")),
            ("PUT", "/inbox/", Inbox("")),
            ("GET", "/inbox/a", WrongMethod("PUT, POST")),
            ("PUT", "/inboxes/a", Unknown),
            ("GET", "/davos", Unknown),
            ("GET", "/DAV/", Unknown),
            ("GET", "/%64av/", Unknown),
            ("GET", "//dav/", Unknown),
            ("GET", "/x/../dav/", Unknown),
            ("GET", "", Unknown),
            ("GET", "/system", Route::Lomorage(Door::System)),
            ("GET", "/login", Route::Lomorage(Door::Login)),
            ("POST", "/login", WrongMethod("GET")),
            ("HEAD", "/asset/aa", Route::Lomorage(Door::Asset("aa"))),
            ("PATCH", "/asset/aa", Route::Lomorage(Door::Asset("aa"))),
            ("DELETE", "/asset/aa", WrongMethod("HEAD, POST, PATCH")),
            ("GET", "/assets/merkletree/2024/3", Route::Lomorage(Door::Month("2024/3"))),
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
