//! Answers in Immich's shapes: JSON, and errors with a message, the name of the status and the status.
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::face::http::reply::{self, Deny, Reply};
use crate::work::error::Refusal;

pub(super) const JSON: &str = "application/json; charset=utf-8";
/// The phone app ends its whole run at this text, and at nothing else (`requireQuota` in the server's `asset-media.service.ts`).
const QUOTA: &str = "Quota has been exceeded!";

/// A body of JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    match serde_json::to_string(body) {
        Ok(text) => reply::whole(status, JSON, text),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "this cannot be shown"),
    }
}

/// The value that a body of JSON has; 400 otherwise.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Deny> {
    serde_json::from_slice(body).map_err(|_| Deny::Bad("the body is not what this request takes"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    message: &'a str,
    error: &'a str,
    status_code: u16,
}

/// An error.
pub(super) fn error(status: StatusCode, message: &str) -> Reply {
    let problem = Problem {
        message,
        error: status.canonical_reason().unwrap_or("Error"),
        status_code: status.as_u16(),
    };
    let text = serde_json::to_string(&problem).unwrap_or_default();
    reply::come_back(reply::whole(status, JSON, text))
}

/// The answer to a request that is not carried out.
pub(super) fn denied(method: &Method, deny: &Deny) -> Reply {
    let (status, message) = meaning(method, deny);
    error(status, &message)
}

/// Status and message. They are the house's own, but where there is no room: the apps know only one answer that ends a run, and repeat
/// all others for ever.
fn meaning(method: &Method, deny: &Deny) -> (StatusCode, String) {
    match deny {
        Deny::Refused(Refusal::Full { .. } | Refusal::OverQuota { .. }) => {
            (StatusCode::BAD_REQUEST, QUOTA.to_owned())
        }
        Deny::Refused(refusal) => (reply::status(method, refusal), reply::words(refusal)),
        Deny::Bad(words) => (StatusCode::BAD_REQUEST, (*words).to_owned()),
        Deny::Status(status, words) => (*status, (*words).to_owned()),
        Deny::Condition(status, _) => (*status, "not possible".to_owned()),
        Deny::Locked(_) => (StatusCode::LOCKED, "somebody else writes to it".to_owned()),
        Deny::Method(_) => (StatusCode::NOT_FOUND, "nothing here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::http::body::Payload;
    use crate::model::hash::DeclaredHash;
    use hyper::header::RETRY_AFTER;

    #[test]
    fn every_refusal() {
        let unavailable = || Refusal::Unavailable { why: "/mnt/a is gone".into() };
        for (refusal, expected) in [
            (unavailable(), 503),
            (Refusal::Catalogue("busy".into()), 503),
            (Refusal::Full { needed: 2, available: 1 }, 400),
            (Refusal::OverQuota { needed: 2, available: 1 }, 400),
            (Refusal::NotFound, 404),
            (Refusal::NoParent, 409),
            (Refusal::NotAFolder, 409),
            (Refusal::IsAFolder, 409),
            (Refusal::Exists, 412),
            (Refusal::Changed, 412),
            (Refusal::Overlap, 403),
            (Refusal::Forbidden, 403),
            (Refusal::WrongLength { announced: 2, received: 1 }, 400),
            (Refusal::WrongHash(DeclaredHash::Sha1([0; 20])), 400),
            (Refusal::Damaged, 500),
        ] {
            let is_quota = matches!(refusal, Refusal::Full { .. } | Refusal::OverQuota { .. });
            let (status, message) = meaning(&Method::POST, &Deny::Refused(refusal));
            assert_eq!(status.as_u16(), expected, "{message}");
            assert_eq!(message == QUOTA, is_quota, "{message}");
        }
        assert_eq!(meaning(&Method::POST, &Deny::Bad("x")).0, 400);
        assert_eq!(meaning(&Method::POST, &Deny::Method("GET")).0, 404);
        assert_eq!(meaning(&Method::POST, &Deny::Status(StatusCode::PAYLOAD_TOO_LARGE, "x")).0, 413);
        let reply = denied(&Method::POST, &Deny::Refused(unavailable()));
        assert_eq!(reply.headers().get(RETRY_AFTER).unwrap(), "30");
        let Payload::Whole(body) = reply.into_body() else { panic!("short") };
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["statusCode"], &body["error"]), (&503.into(), &"Service Unavailable".into()));
        assert!(!body["message"].as_str().unwrap().contains("/mnt"));
    }
}
