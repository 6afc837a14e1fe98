//! The files that pages are made of, compiled into the program. None of them is a secret.
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
};
use hyper::{HeaderMap, StatusCode};

use crate::face::http::reply::{self, Deny, Reply};
use crate::model::hash::ContentHash;

/// A file: its path below `/upload/assets/`, its kind, its text.
type Asset = (&'static str, &'static str, &'static str);

const ASSETS: &[Asset] = &[
    ("upload.js", SCRIPT, include_str!("../../../../assets/upload.js")),
    ("upload.css", "text/css; charset=utf-8", include_str!("../../../../assets/upload.css")),
    ("taken.js", SCRIPT, include_str!("../../../../assets/taken.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../../../assets/icon.svg")),
    (
        "vendor/tus-js-client/tus.min.js",
        SCRIPT,
        include_str!("../../../../assets/vendor/tus-js-client/tus.min.js"),
    ),
    (
        "vendor/tus-js-client/LICENSE",
        "text/plain; charset=utf-8",
        include_str!("../../../../assets/vendor/tus-js-client/LICENSE"),
    ),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PAGE: &str = include_str!("../../../../assets/upload.html");

/// What a page of ours may load and do: its own files and its own server, nothing written into it, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// The upload page.
pub(in crate::face::http) fn page(headers: &HeaderMap) -> Reply {
    let mut reply = file(headers, "text/html; charset=utf-8", PAGE);
    reply::set(&mut reply, CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    reply
}

/// What it is made of; `path` is what follows `/upload/assets/`.
pub(in crate::face::http) fn asset(headers: &HeaderMap, path: &str) -> Result<Reply, Deny> {
    let found = ASSETS.iter().find(|(name, _, _)| *name == path);
    let (_, kind, text) = found.ok_or(Deny::Status(StatusCode::NOT_FOUND, "nothing here"))?;
    Ok(file(headers, kind, text))
}

/// Kept by the browser, which asks each time whether it is still the same: a new version of the box is used at once.
fn file(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Reply {
    let etag = ContentHash::of(text.as_bytes()).etag();
    let mut asked = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut reply = if asked.any(|tags| tags.split(',').any(|tag| tag.trim() == etag)) {
        reply::bare(StatusCode::NOT_MODIFIED)
    } else {
        reply::whole(StatusCode::OK, kind, text)
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
        let hash = crate::model::hash::hex(&sha2::Sha256::digest(text.as_bytes()));
        assert!(about.contains(&hash), "{hash}");
    }
}
