//! The front page: where to go from here. A browser at a box that is nobody's yet is led to setting it up.
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{ACCEPT, HeaderValue, LOCATION};
use hyper::{HeaderMap, StatusCode};
use maud::{Markup, html};

use super::super::nextcloud::login::page::document;
use super::setup;
use crate::face::http::Shared;
use crate::face::http::hosts::Authority;
use crate::face::http::reply::{self, Reply};
use crate::model::health::Finding;

const WORDS: &str = "This is a Shoebox: it keeps a family's photos.\n\
    It is set up at /setup, and photos are sent from a browser at /upload.\n\
    Upload programs sign in at /dav/ with a person's name and a device's password.\n\
    How the box is doing is at /health.";

/// `GET /`.
pub(in crate::face::http) async fn answer(
    shared: &Arc<Shared>,
    here: &Authority,
    headers: &HeaderMap,
    from: IpAddr,
) -> Reply {
    let browser = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if !browser.is_some_and(|accept| accept.contains("text/html")) {
        return reply::text(StatusCode::OK, WORDS);
    }
    if setup::is_near(shared, here, from) && setup::is_nobodys(shared).await {
        let mut reply = reply::bare(StatusCode::SEE_OTHER);
        reply::set(&mut reply, LOCATION, HeaderValue::from_static(setup::PATH));
        return reply;
    }
    document(StatusCode::OK, "Shoebox", &page(&shared.face.pool.findings()))
}

fn page(findings: &[Finding]) -> Markup {
    html! {
        h1 { "The family's photos" }
        @if findings.is_empty() {
            p .note { "All is well." }
        }
        @for finding in findings {
            p .bad { (finding.sentence) " " (finding.remedy) }
        }
        p { a href="/upload" { "Send photos from this browser" } }
        p { a href=(setup::PATH) { "Add a person, a phone or a drive" } }
        p { a href="/ca" { "Trust this box (HTTPS)" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::health::Light;

    #[test]
    fn what_needs_a_person_is_said_first() {
        assert!(page(&[]).into_string().contains("All is well."));
        let finding = Finding {
            code: "drive-absent".into(),
            about: String::new(),
            light: Light::Red,
            sentence: "Drive A is <away>.".into(),
            remedy: "Plug it in.".into(),
            since: jiff::Timestamp::UNIX_EPOCH,
        };
        let text = page(&[finding]).into_string();
        assert!(
            text.contains("Drive A is &lt;away&gt;. Plug it in.") && !text.contains("All is well"),
            "{text}"
        );
    }
}
