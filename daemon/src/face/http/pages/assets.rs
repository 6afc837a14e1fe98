//! The files that pages are made of, compiled into the program. None of them is a secret.
use std::sync::LazyLock;

use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
};
use hyper::{HeaderMap, StatusCode};

use crate::face::http::reply::{self, Deny, Reply};
use crate::model::hash::ContentHash;

/// A file: its path below `/upload/assets/`, its kind, its bytes.
type Asset = (&'static str, &'static str, &'static [u8]);

const ASSETS: &[Asset] = &[
    ("upload.js", SCRIPT, include_bytes!("../../../../assets/upload.js")),
    ("upload.css", "text/css; charset=utf-8", include_bytes!("../../../../assets/upload.css")),
    ("sending.js", SCRIPT, include_bytes!("../../../../assets/sending.js")),
    ("queue.js", SCRIPT, include_bytes!("../../../../assets/queue.js")),
    ("secure.js", SCRIPT, include_bytes!("../../../../assets/secure.js")),
    ("taken.js", SCRIPT, include_bytes!("../../../../assets/taken.js")),
    (
        "upload.webmanifest",
        "application/manifest+json",
        include_bytes!("../../../../assets/upload.webmanifest"),
    ),
    ("icon.svg", "image/svg+xml", include_bytes!("../../../../assets/icon.svg")),
    ("icon-192.png", PNG, include_bytes!("../../../../assets/icon-192.png")),
    ("icon-512.png", PNG, include_bytes!("../../../../assets/icon-512.png")),
    ("icon-whole.png", PNG, include_bytes!("../../../../assets/icon-whole.png")),
    (
        "vendor/tus-js-client/tus.min.js",
        SCRIPT,
        include_bytes!("../../../../assets/vendor/tus-js-client/tus.min.js"),
    ),
    (
        "vendor/tus-js-client/LICENSE",
        "text/plain; charset=utf-8",
        include_bytes!("../../../../assets/vendor/tus-js-client/LICENSE"),
    ),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PNG: &str = "image/png";
const PAGE: &str = include_str!("../../../../assets/upload.html");
/// What the page says to whoever shared photos where no service worker took them.
const LOST: (&str, &str) = (
    "<p id=\"lost\" class=\"banner\" role=\"alert\" hidden>",
    "<p id=\"lost\" class=\"banner\" role=\"alert\">",
);

/// The page's service worker, below `/upload/assets/`.
const WORKER: &str = "worker.js";
/// Where the worker may answer: the page lies above its own folder (Service Workers, "Service-Worker-Allowed").
const SCOPE: &str = "/upload";
/// The worker, led by the version it is of and the files it keeps. A change in any of them is another version, so that a phone never
/// has files of two.
static WORKER_TEXT: LazyLock<String> = LazyLock::new(|| {
    let text = include_str!("../../../../assets/worker.js");
    let mut all = format!("{PAGE}{text}").into_bytes();
    all.extend(ASSETS.iter().flat_map(|(_, _, bytes)| *bytes));
    let hash = ContentHash::of(&all).to_string();
    let version = format!("{}-{}", env!("CARGO_PKG_VERSION"), hash.get(..12).unwrap_or(&hash));
    let below = ASSETS.iter().map(|(name, _, _)| format!("/upload/assets/{name}"));
    let files: Vec<String> = std::iter::once("/upload".to_owned()).chain(below).collect();
    format!("const SHELL = {};\n{text}", serde_json::json!({ "version": version, "files": files }))
});

/// What a page of ours may load and do: its own files and its own server, nothing written into it, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    worker-src 'self'; manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// What the worker may: its own files and its own server.
const WORKER_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'";

/// The upload page.
pub(in crate::face::http) fn page(headers: &HeaderMap) -> Reply {
    html(headers, PAGE.as_bytes())
}

/// `POST /upload/share`: the page, saying that what was shared was not taken. Where the browser has the page's service worker, that
/// takes it and nothing comes here. What comes is not read, so whoever sends it changes nothing.
pub(in crate::face::http) fn share() -> Reply {
    html(&HeaderMap::new(), PAGE.replacen(LOST.0, LOST.1, 1))
}

fn html(headers: &HeaderMap, text: impl Into<Bytes>) -> Reply {
    let mut reply = file(headers, "text/html; charset=utf-8", text);
    reply::set(&mut reply, CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    reply
}

/// What it is made of; `path` is what follows `/upload/assets/`.
pub(in crate::face::http) fn asset(headers: &HeaderMap, path: &str) -> Result<Reply, Deny> {
    if path == WORKER {
        return Ok(worker(headers));
    }
    let found = ASSETS.iter().find(|(name, _, _)| *name == path);
    let (_, kind, bytes) = found.ok_or(Deny::Status(StatusCode::NOT_FOUND, "nothing here"))?;
    Ok(file(headers, kind, *bytes))
}

fn worker(headers: &HeaderMap) -> Reply {
    let mut reply = file(headers, SCRIPT, WORKER_TEXT.as_bytes());
    reply::set(&mut reply, CONTENT_SECURITY_POLICY, HeaderValue::from_static(WORKER_POLICY));
    let allowed = HeaderName::from_static("service-worker-allowed");
    reply::set(&mut reply, allowed, HeaderValue::from_static(SCOPE));
    reply
}

/// Kept by the browser, which asks each time whether it is still the same: a new version of the box is used at once.
fn file(headers: &HeaderMap, kind: &'static str, bytes: impl Into<Bytes>) -> Reply {
    let bytes = bytes.into();
    let etag = ContentHash::of(&bytes).etag();
    let mut asked = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut reply = if asked.any(|tags| tags.split(',').any(|tag| tag.trim() == etag)) {
        reply::bare(StatusCode::NOT_MODIFIED)
    } else {
        reply::whole(StatusCode::OK, kind, bytes)
    };
    reply::set_text(&mut reply, ETAG, &etag);
    reply::set(&mut reply, CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply::set(&mut reply, REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let resource = HeaderName::from_static("cross-origin-resource-policy");
    reply::set(&mut reply, resource, HeaderValue::from_static("same-origin"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest as _;

    #[test]
    fn the_page_loads_what_there_is_and_nothing_else() {
        let mut loaded = 0;
        for attribute in ["src=\"", "href=\""] {
            for rest in PAGE.split(attribute).skip(1) {
                let address = rest.split('"').next().unwrap();
                let path = address.strip_prefix("/upload/assets/").unwrap_or_else(|| panic!("{address}"));
                assert!(asset(&HeaderMap::new(), path).is_ok(), "{address}");
                loaded += 1;
            }
        }
        assert!(loaded >= 5, "{loaded}");
        for forbidden in ["style=", "<style", "javascript:", " onclick", " onload", "http://", "https://"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        assert!(
            PAGE.split("<script").skip(1).all(|rest| rest.trim_start().starts_with("src=\"/upload/assets/"))
        );
    }

    fn text(reply: Reply) -> String {
        let crate::face::http::body::Payload::Whole(body) = reply.into_body() else { panic!("short") };
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn the_worker_keeps_all_that_the_page_is_made_of_and_says_of_which_version() {
        let reply = asset(&HeaderMap::new(), WORKER).unwrap();
        assert_eq!(reply.headers()["service-worker-allowed"], "/upload");
        assert_eq!(reply.headers()[CONTENT_SECURITY_POLICY], WORKER_POLICY);
        let text = text(reply);
        let line = text.lines().next().and_then(|line| line.strip_prefix("const SHELL = ")).unwrap();
        let shell: serde_json::Value = serde_json::from_str(line.trim_end_matches(';')).unwrap();
        assert!(shell["version"].as_str().unwrap().starts_with(concat!(env!("CARGO_PKG_VERSION"), "-")));
        let files: Vec<&str> = shell["files"].as_array().unwrap().iter().flat_map(|f| f.as_str()).collect();
        for rest in PAGE.split("=\"/upload/").skip(1) {
            let loaded = format!("/upload/{}", rest.split('"').next().unwrap());
            assert!(files.contains(&loaded.as_str()), "{loaded}");
        }
        // Nothing that is somebody's, and not the worker itself: a browser looks for a new one at the server.
        for file in files.iter().skip(1) {
            let path = file.strip_prefix("/upload/assets/").unwrap();
            assert!(path != WORKER && asset(&HeaderMap::new(), path).is_ok(), "{file}");
        }
        assert_eq!(files[0], "/upload");
    }

    #[test]
    fn what_is_shared_and_not_taken_is_said_on_the_page() {
        assert_eq!(PAGE.matches(LOST.0).count(), 1);
        let reply = share();
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(reply.headers()[CONTENT_SECURITY_POLICY], POLICY);
        assert!(text(reply).contains(LOST.1));
    }

    #[test]
    fn the_manifest_names_files_that_are_there_and_the_route_that_takes_what_is_shared() {
        let text = text(asset(&HeaderMap::new(), "upload.webmanifest").unwrap());
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        for icon in manifest["icons"].as_array().unwrap() {
            let path = icon["src"].as_str().unwrap().strip_prefix("/upload/assets/").unwrap();
            let reply = asset(&HeaderMap::new(), path).unwrap();
            assert_eq!(reply.headers()[hyper::header::CONTENT_TYPE], icon["type"].as_str().unwrap());
        }
        let target = manifest["share_target"]["action"].as_str().unwrap();
        assert_eq!(crate::face::http::route::SHARE, target);
        assert_eq!((&manifest["scope"], &manifest["start_url"]), (&SCOPE.into(), &SCOPE.into()));
    }

    #[test]
    fn what_is_not_listed_is_not_there() {
        for path in
            ["", "upload.html", "../upload.css", "vendor/", "UPLOAD.JS", "vendor/tus-js-client/README.md"]
        {
            assert!(asset(&HeaderMap::new(), path).is_err(), "{path}");
        }
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let first = asset(&HeaderMap::new(), "upload.js").unwrap();
        let etag = first.headers().get(ETAG).unwrap().clone();
        let again = asset(&HeaderMap::from_iter([(IF_NONE_MATCH, etag)]), "upload.js").unwrap();
        assert_eq!((first.status(), again.status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
        assert_eq!(
            asset(&HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("\"x\""))]), "upload.js")
                .unwrap()
                .status(),
            200
        );
    }

    #[test]
    fn what_others_wrote_is_as_they_published_it() {
        let about = include_str!("../../../../assets/vendor/tus-js-client/README.md");
        let (_, _, text) = ASSETS.iter().find(|(name, _, _)| name.ends_with("tus.min.js")).unwrap();
        let hash = crate::model::hash::hex(&sha2::Sha256::digest(text));
        assert!(about.contains(&hash), "{hash}");
    }
}
