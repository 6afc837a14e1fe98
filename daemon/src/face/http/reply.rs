//! Replies: the only mapping from our refusals to status codes. Bodies are short and name no secret and no path
//! of the machine.
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};

use super::body::Payload;
use crate::work::error::Refusal;
use crate::work::watch::AdoptError;

/// What goes back to the client.
pub(super) type Reply = Response<Payload>;

/// Why a request gets an error for an answer.
#[derive(Debug)]
pub(super) enum Deny {
    /// The work floor refused.
    Refused(Refusal),
    /// The request makes no sense (400).
    Bad(&'static str),
    /// A status with a few words.
    Status(StatusCode, &'static str),
    /// A status with a WebDAV condition for a body (RFC 4918 §16).
    Condition(StatusCode, &'static str),
    /// Somebody holds a lock; the href says on what (RFC 4918 §16, `lock-token-submitted`). The token stays ours.
    Locked(String),
    /// The method is not for this resource (405), these are.
    Method(&'static str),
}

impl From<Refusal> for Deny {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The status for a refusal. The method matters where RFC 4918 gives one situation two codes.
pub(super) fn status(method: &Method, refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unavailable { .. } | Refusal::Drive(_) | Refusal::Catalogue(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Refusal::Full { .. } | Refusal::OverQuota { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::NoParent | Refusal::NotAFolder | Refusal::Reserved => StatusCode::CONFLICT,
        // RFC 4918 §9.7.2: PUT on a collection.
        Refusal::IsAFolder if method == Method::PUT => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::IsAFolder => StatusCode::CONFLICT,
        // RFC 4918 §9.3.1: MKCOL on anything that is there.
        Refusal::Exists if method.as_str() == "MKCOL" => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::Exists | Refusal::Changed => StatusCode::PRECONDITION_FAILED,
        Refusal::Overlap | Refusal::Forbidden => StatusCode::FORBIDDEN,
        Refusal::WrongLength { .. } | Refusal::WrongHash(_) | Refusal::NotWhole(_) | Refusal::TooMany(_) => {
            StatusCode::BAD_REQUEST
        }
        // No wait heals it, and 503 would make a sync program give up all the rest of its run.
        Refusal::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The words for a refusal. Details of drives stay in the journal.
pub(super) fn words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Unavailable { .. } | Refusal::Drive(_) | Refusal::Catalogue(_) => {
            "the drive cannot be used at the moment, try again later".to_owned()
        }
        Refusal::WrongHash(_) => "the bytes do not have the announced checksum".to_owned(),
        Refusal::Damaged => {
            "this photo is damaged, and no good copy of it is on record; if a phone still has it, send it again".to_owned()
        }
        Refusal::Full { .. }
        | Refusal::OverQuota { .. }
        | Refusal::NotFound
        | Refusal::NoParent
        | Refusal::NotAFolder
        | Refusal::IsAFolder
        | Refusal::Exists
        | Refusal::Changed
        | Refusal::Overlap
        | Refusal::Forbidden
        | Refusal::Reserved
        | Refusal::NotWhole(_)
        | Refusal::TooMany(_)
        | Refusal::WrongLength { .. } => refusal.to_string(),
    }
}

/// The answer to a request that is not carried out.
pub(super) fn deny(method: &Method, deny: &Deny) -> Reply {
    match deny {
        Deny::Refused(refusal) => {
            let mut reply = come_back(text(status(method, refusal), &words(refusal)));
            if reply.status() == StatusCode::METHOD_NOT_ALLOWED {
                set(&mut reply, ALLOW, HeaderValue::from_static(ALLOWED));
            }
            reply
        }
        Deny::Bad(words) => text(StatusCode::BAD_REQUEST, words),
        Deny::Status(status, words) => come_back(text(*status, words)),
        Deny::Condition(status, condition) => dav_error(*status, &format!("<D:{condition}/>")),
        Deny::Locked(href) => dav_error(
            StatusCode::LOCKED,
            &format!("<D:lock-token-submitted><D:href>{href}</D:href></D:lock-token-submitted>"),
        ),
        Deny::Method(allowed) => {
            let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "not with this method");
            set(&mut reply, ALLOW, HeaderValue::from_static(allowed));
            reply
        }
    }
}

/// The status and the words for a drive that could not be adopted.
pub(super) fn adoption(error: &AdoptError) -> (StatusCode, String) {
    match error {
        AdoptError::Drive(_) | AdoptError::Random(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The drive made an error. Nothing was done; try again.".to_owned(),
        ),
        AdoptError::Refused(refusal) => (status(&Method::POST, refusal), words(refusal)),
        AdoptError::NotConfigured(_)
        | AdoptError::Nothing(..)
        | AdoptError::Marked(_)
        | AdoptError::NotAMount(_)
        | AdoptError::SecondPrimary
        | AdoptError::PrimaryAway
        | AdoptError::NoPrimary
        | AdoptError::Again(_) => (StatusCode::CONFLICT, format!("This drive cannot be taken: {error}.")),
    }
}

/// Says when to try again what may heal.
pub(super) fn come_back(mut reply: Reply) -> Reply {
    if reply.status() == StatusCode::SERVICE_UNAVAILABLE {
        set(&mut reply, RETRY_AFTER, HeaderValue::from_static("30"));
    }
    reply
}

/// Every method of the WebDAV tree.
pub(super) const ALLOWED: &str =
    "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK";

/// A status and nothing else.
pub(super) fn bare(status: StatusCode) -> Reply {
    let mut reply = Response::new(Payload::empty());
    *reply.status_mut() = status;
    reply
}

/// A body of a known kind.
pub(super) fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Payload::Whole(body.into()));
    *reply.status_mut() = status;
    set(&mut reply, CONTENT_TYPE, HeaderValue::from_static(kind));
    set(&mut reply, X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(&mut reply, CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    reply
}

/// A line of plain text.
pub(super) fn text(status: StatusCode, words: &str) -> Reply {
    whole(status, "text/plain; charset=utf-8", format!("{words}\n"))
}

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl serde::Serialize) -> Reply {
    match serde_json::to_string(value) {
        Ok(json) => whole(status, "application/json", json + "\n"),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "this cannot be shown"),
    }
}

/// A body of XML.
pub(super) const XML: &str = "application/xml; charset=utf-8";

fn dav_error(status: StatusCode, inner: &str) -> Reply {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:error xmlns:D=\"DAV:\">{inner}</D:error>\n");
    whole(status, XML, body)
}

/// Asks for credentials.
pub(super) fn unauthorized() -> Reply {
    let mut reply = text(StatusCode::UNAUTHORIZED, "who is this?");
    set(&mut reply, WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Shoebox\", charset=\"UTF-8\""));
    reply
}

/// Sets a header, replacing what was there.
pub(super) fn set(reply: &mut Reply, name: HeaderName, value: HeaderValue) {
    drop(reply.headers_mut().insert(name, value));
}

/// Gives a reply in an app's words the headers of the denial it stands for, but those that it has itself.
pub(super) fn take_headers(reply: &mut Reply, denied: &Reply) {
    for (name, value) in denied.headers() {
        if !reply.headers().contains_key(name) {
            set(reply, name.clone(), value.clone());
        }
    }
}

/// Sets a header from text; text that no header can carry is left out.
pub(super) fn set_text(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        set(reply, name, value);
    }
}

/// Ends the connection after this reply.
pub(super) fn close(mut reply: Reply) -> Reply {
    set(&mut reply, CONNECTION, HeaderValue::from_static("close"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(method: &str, refusal: Refusal) -> u16 {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        deny(&method, &Deny::Refused(refusal)).status().as_u16()
    }

    #[test]
    fn every_refusal_has_its_status() {
        assert_eq!(code("PUT", Refusal::Unavailable { why: String::new() }), 503);
        assert_eq!(code("PUT", Refusal::Catalogue(String::new())), 503);
        assert_eq!(code("PUT", Refusal::Full { needed: 1, available: 0 }), 507);
        assert_eq!(code("PUT", Refusal::OverQuota { needed: 1, available: 0 }), 507);
        assert_eq!(code("GET", Refusal::NotFound), 404);
        assert_eq!(code("PUT", Refusal::NoParent), 409);
        assert_eq!(code("MKCOL", Refusal::NotAFolder), 409);
        assert_eq!(code("PUT", Refusal::IsAFolder), 405);
        assert_eq!(code("MKCOL", Refusal::Exists), 405);
        assert_eq!(code("MOVE", Refusal::Exists), 412);
        assert_eq!(code("PUT", Refusal::Exists), 412);
        assert_eq!(code("PUT", Refusal::Changed), 412);
        assert_eq!(code("MOVE", Refusal::Overlap), 403);
        assert_eq!(code("DELETE", Refusal::Forbidden), 403);
        assert_eq!(code("PUT", Refusal::WrongLength { announced: 1, received: 0 }), 400);
        assert_eq!(code("GET", Refusal::Damaged), 500);
    }

    #[test]
    fn what_may_heal_says_when_to_come_back() {
        let reply = deny(&Method::PUT, &Deny::Refused(Refusal::Unavailable { why: "/mnt/a is gone".into() }));
        assert_eq!(reply.headers().get(RETRY_AFTER).unwrap(), "30");
        let Payload::Whole(body) = reply.into_body() else { panic!("short") };
        assert!(!String::from_utf8_lossy(&body).contains("/mnt"));
    }

    #[test]
    fn one_challenge_only() {
        let all: Vec<_> = unauthorized().headers().get_all(WWW_AUTHENTICATE).iter().cloned().collect();
        assert_eq!(all, ["Basic realm=\"Shoebox\", charset=\"UTF-8\""]);
    }
}
