//! How a phone comes to trust the box: a page with the authority's certificate and what to do with it.
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, HeaderValue};
use maud::{Markup, html};

use crate::face::http::Shared;
use crate::face::http::hosts::Authority;
use crate::face::http::nextcloud::login::page::document;
use crate::face::http::reply::{self, Deny, Reply};
use crate::work::certificates::{Certificates, Served};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::face::http) enum Door {
    /// The page.
    Page,
    /// The certificate as phones take it (DER).
    Certificate,
    /// The certificate as programs take it (PEM).
    Text,
}

/// `GET /ca`, `/ca.crt`, `/ca.pem`.
pub(in crate::face::http) fn answer(shared: &Shared, here: &Authority, door: Door) -> Result<Reply, Deny> {
    let certificates = shared.face.pool.certificates();
    let Some(served) = certificates.served() else { return nothing(certificates, door) };
    let mut reply = match door {
        Door::Page => {
            let address = shared.face.moving.port.map(|port| format!("https://{}:{port}/", here.host));
            document(StatusCode::OK, "Shoebox: trust this box", &page(&served, address.as_deref()))
        }
        // The type by which phones know what it is (RFC 2585 has no other for an authority's).
        Door::Certificate => {
            reply::whole(StatusCode::OK, "application/x-x509-ca-cert", served.authority().to_vec())
        }
        Door::Text => {
            let pem = certificates.view().authority.map(|authority| authority.pem).unwrap_or_default();
            reply::whole(StatusCode::OK, "application/x-pem-file", pem)
        }
    };
    if door != Door::Page {
        let end = if door == Door::Certificate { "crt" } else { "pem" };
        let name = format!("attachment; filename=\"shoebox.{end}\"");
        reply::set_text(&mut reply, CONTENT_DISPOSITION, &name);
        reply::set(&mut reply, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(reply)
}

fn nothing(certificates: &Certificates, door: Door) -> Result<Reply, Deny> {
    if certificates.is_wanted() {
        return Err(Deny::Status(StatusCode::SERVICE_UNAVAILABLE, "the certificate is not there yet"));
    }
    if door != Door::Page {
        return Err(Deny::Status(StatusCode::NOT_FOUND, "HTTPS is not on"));
    }
    let words = "This box is reached over plain HTTP in your own network. Whoever looks after it can turn HTTPS on: section [tls] of its settings.";
    let content = html! { h1 { "HTTPS is not on" } p .note { (words) } };
    Ok(document(StatusCode::NOT_FOUND, "Shoebox: HTTPS is not on", &content))
}

fn page(served: &Served, address: Option<&str>) -> Markup {
    html! {
        h1 { "Trust this box" }
        p { "Once on each phone and computer: then everything that goes to this box is encrypted, and nobody in between can pretend to be it." }
        p .note { a href="/ca.crt" { "Get the certificate" } " (" (served.name()) ")" }
        h2 { "iPhone and iPad" }
        ol {
            li { "Open this page in Safari, tap " strong { "Get the certificate" } ", and allow the download." }
            li { strong { "Settings → Profile Downloaded → Install" } ", and compare the name: " (served.name()) "." }
            li { strong { "Settings → General → About → Certificate Trust Settings" } ": turn it on for " (served.name()) ". Without this step nothing changes." }
        }
        h2 { "Android" }
        ol {
            li { "Tap " strong { "Get the certificate" } "; it goes to the downloads." }
            li {
                strong { "Settings → Security → More → Encryption & credentials → Install a certificate → CA certificate" }
                " (look for “CA certificate” in the settings), then choose " em { "shoebox.crt" } "."
            }
            li { "Android warns of any certificate that you add. This one can vouch for this box, for addresses in homes and for the names of the box, and for no other site: that is written in it." }
        }
        h2 { "Computers" }
        p { "Programs ask for a file: " a href="/ca.pem" { "shoebox.pem" } ". Firefox has a list of its own, under “View Certificates → Authorities”." }
        h2 { "Is it the right one?" }
        p { "Whoever looks after the box sees the same with " em { "shoebox ca show" } ". Compare, if you want to be sure:" }
        p .note { (served.fingerprint()) }
        @if let Some(address) = address {
            p .after { "Afterwards the box is at " a href=(address) { (address) } ". An app that was set up with http:// before has to be set up with this address." }
        }
    }
}
