//! Which status an app gets for what was not done. One function: for some of these programs a status is a decision about the photo.
//!
//! Nextcloud's Android app gives a photo up for good after any of 400, 401, 403, 404, 409, 412, 413, 423, 429, 500 and 507, and tries
//! again only after 503; its iOS app pauses at 503 and 507, and older ones drop an upload at 400. So whatever may heal is 503.
use hyper::header::{HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Method, StatusCode};

use crate::face::http::reply::{self, Deny, Reply};
use crate::work::error::Refusal;

/// Which program asks, as far as its answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// Nextcloud's app for Android.
    Android,
    /// Nextcloud's app for iOS.
    Ios,
    /// The desktop client, and whatever else speaks this dialect.
    Other,
}

impl Client {
    /// By the name it gives itself.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        match agent.to_ascii_lowercase() {
            agent if agent.contains("nextcloud-android") => Self::Android,
            agent if agent.contains("nextcloud-ios") => Self::Ios,
            _ => Self::Other,
        }
    }
}

/// The status for what was not done.
pub(super) fn status(method: &Method, deny: &Deny, client: Client) -> StatusCode {
    let phone = client != Client::Other;
    match deny {
        Deny::Refused(refusal) => match refusal {
            // The phone would give the photo up for good, and the drive is emptied, or the quota raised, by tomorrow.
            Refusal::Full { .. } | Refusal::OverQuota { .. } if client == Client::Android => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            // What is left of earlier attempts goes by itself.
            Refusal::TooMany(_) => StatusCode::SERVICE_UNAVAILABLE,
            // The body was cut: a new attempt is all there is to do.
            Refusal::WrongLength { .. } | Refusal::WrongHash(_) if phone => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Unavailable { .. }
            | Refusal::Drive(_)
            | Refusal::Catalogue(_)
            | Refusal::Full { .. }
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
            | Refusal::WrongLength { .. }
            | Refusal::WrongHash(_)
            | Refusal::NotWhole(_)
            | Refusal::Damaged => reply::status(method, refusal),
        },
        // A lock of another program is gone in a while, and these programs take 423 for the end.
        Deny::Locked(_) => StatusCode::SERVICE_UNAVAILABLE,
        Deny::Status(StatusCode::REQUEST_TIMEOUT | StatusCode::INTERNAL_SERVER_ERROR, _) if phone => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Deny::Status(status, _) | Deny::Condition(status, _) => *status,
        Deny::Bad(_) => StatusCode::BAD_REQUEST,
        Deny::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
    }
}

/// The exception these programs know for a status. By the one for 503 the desktop client ends its run in order.
fn exception(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "Sabre\\DAV\\Exception\\ServiceUnavailable",
        StatusCode::NOT_FOUND => "Sabre\\DAV\\Exception\\NotFound",
        StatusCode::FORBIDDEN => "Sabre\\DAV\\Exception\\Forbidden",
        StatusCode::CONFLICT => "Sabre\\DAV\\Exception\\Conflict",
        StatusCode::METHOD_NOT_ALLOWED => "Sabre\\DAV\\Exception\\MethodNotAllowed",
        StatusCode::PRECONDITION_FAILED => "Sabre\\DAV\\Exception\\PreconditionFailed",
        StatusCode::INSUFFICIENT_STORAGE => "Sabre\\DAV\\Exception\\InsufficientStorage",
        StatusCode::NOT_IMPLEMENTED => "Sabre\\DAV\\Exception\\NotImplemented",
        _ => "Sabre\\DAV\\Exception\\BadRequest",
    }
}

/// The answer to a request that is not carried out.
pub(in crate::face::http) fn answer(method: &Method, headers: &HeaderMap, deny: &Deny) -> Reply {
    let status = status(method, deny, Client::of(headers));
    let words = match deny {
        // The newest iOS app sends everything again when it finds "filesize".
        Deny::Refused(refusal @ Refusal::NotWhole(_)) => format!("filesize: {refusal}"),
        Deny::Refused(refusal) => reply::words(refusal),
        Deny::Bad(words) | Deny::Status(_, words) | Deny::Condition(_, words) => (*words).to_owned(),
        Deny::Locked(_) => "somebody has locked this".to_owned(),
        Deny::Method(_) => "not with this method".to_owned(),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\">\
         <s:exception>{}</s:exception><s:message>{}</s:message></d:error>\n",
        exception(status),
        crate::face::http::webdav::escape(&words)
    );
    let mut reply = reply::whole(status, reply::XML, body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        reply::set(&mut reply, RETRY_AFTER, HeaderValue::from_static("30"));
    }
    if let Deny::Method(allowed) = deny {
        reply::set(&mut reply, hyper::header::ALLOW, HeaderValue::from_static(allowed));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::DeclaredHash;
    use crate::model::place::Place;
    use crate::plan::parts::Gap;
    use crate::store::volume::VolumeError;

    fn refusals() -> Vec<(&'static str, Refusal)> {
        let gone = VolumeError::Gone { op: "write", place: Place::root(), why: String::new() };
        let sha1 = DeclaredHash::parse_oc("SHA1:a9993e364706816aba3e25717850c26c9cd0d89d").unwrap().remove(0);
        vec![
            ("unavailable", Refusal::Unavailable { why: String::new() }),
            ("drive", Refusal::Drive(gone)),
            ("catalogue", Refusal::Catalogue(String::new())),
            ("full", Refusal::Full { needed: 1, available: 0 }),
            ("quota", Refusal::OverQuota { needed: 1, available: 0 }),
            ("not found", Refusal::NotFound),
            ("no parent", Refusal::NoParent),
            ("not a folder", Refusal::NotAFolder),
            ("is a folder", Refusal::IsAFolder),
            ("exists", Refusal::Exists),
            ("changed", Refusal::Changed),
            ("overlap", Refusal::Overlap),
            ("forbidden", Refusal::Forbidden),
            ("reserved", Refusal::Reserved),
            ("wrong length", Refusal::WrongLength { announced: 2, received: 1 }),
            ("wrong hash", Refusal::WrongHash(sha1)),
            ("not whole", Refusal::NotWhole(Gap::Missing(2))),
            ("too many", Refusal::TooMany("parts")),
            ("damaged", Refusal::Damaged),
        ]
    }

    #[test]
    fn every_refusal_for_every_client() {
        let table: Vec<String> = refusals()
            .into_iter()
            .map(|(what, refusal)| {
                let deny = Deny::Refused(refusal);
                let code = |client| status(&Method::PUT, &deny, client).as_u16();
                format!("{what}: {} {} {}", code(Client::Android), code(Client::Ios), code(Client::Other))
            })
            .collect();
        expect_test::expect![[r#"
            unavailable: 503 503 503
            drive: 503 503 503
            catalogue: 503 503 503
            full: 503 507 507
            quota: 503 507 507
            not found: 404 404 404
            no parent: 409 409 409
            not a folder: 409 409 409
            is a folder: 405 405 405
            exists: 412 412 412
            changed: 412 412 412
            overlap: 403 403 403
            forbidden: 403 403 403
            reserved: 409 409 409
            wrong length: 503 503 400
            wrong hash: 503 503 400
            not whole: 400 400 400
            too many: 503 503 503
            damaged: 500 500 500"#]]
        .assert_eq(&table.join("\n"));
    }

    #[test]
    fn never_locked_and_never_a_timeout() {
        for client in [Client::Android, Client::Ios, Client::Other] {
            let locked = Deny::Locked("/remote.php/dav/files/anna/a".to_owned());
            assert_eq!(status(&Method::PUT, &locked, client), StatusCode::SERVICE_UNAVAILABLE);
        }
        let late = Deny::Status(StatusCode::REQUEST_TIMEOUT, "late");
        assert_eq!(status(&Method::PUT, &late, Client::Android), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&Method::PUT, &late, Client::Other), StatusCode::REQUEST_TIMEOUT);
    }

    #[test]
    fn clients_by_their_names() {
        for (agent, expected) in [
            ("Mozilla/5.0 (Android) Nextcloud-android/3.33.0", Client::Android),
            ("Mozilla/5.0 (iOS) Nextcloud-iOS/7.1.0", Client::Ios),
            ("Mozilla/5.0 (Linux) mirall/3.16.7 (Nextcloud)", Client::Other),
            ("", Client::Other),
        ] {
            let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_str(agent).unwrap())]);
            assert_eq!(Client::of(&headers), expected, "{agent}");
        }
    }

    #[test]
    fn what_may_heal_says_so_in_the_clients_words() {
        let refused = Deny::Refused(Refusal::Unavailable { why: "/mnt/a".to_owned() });
        let reply = answer(&Method::GET, &HeaderMap::new(), &refused);
        assert_eq!(reply.headers().get(RETRY_AFTER).unwrap(), "30");
        let crate::face::http::body::Payload::Whole(body) = reply.into_body() else { panic!("short") };
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            body.contains("Sabre\\DAV\\Exception\\ServiceUnavailable") && !body.contains("/mnt"),
            "{body}"
        );
    }
}
