//! The dialect of the Lomorage app (lomorage/lomo-mobile, `src/services`): photos by SHA-1, each in one request that can be gone on with.
//!
//! The app takes 200, 201 and 409 for "it is safe": nothing else may be answered with one of these.
use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use serde::Serialize;

use super::auth;
use super::query::value;
use super::reply::{self, Deny, Reply};
use super::{Shared, upload as bodies};
use crate::model::account::Device;
use crate::model::hash::unhex;

mod live;
mod name;
mod tree;
mod upload;

/// Its uploads in parts are called so.
const DIALECT: &str = "lomorage";

/// What the app asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door<'a> {
    /// What this is. It is asked before anybody signs in, and must be answered within 0.8 s.
    System,
    /// Signing in.
    Login,
    /// A photo, by its SHA-1 as it was sent.
    Asset(&'a str),
    /// All months.
    Months,
    /// One of them.
    Month(&'a str),
}

/// Which door a path leads to, and the methods it has.
pub(super) fn door(path: &str) -> Option<(Door<'_>, &'static str)> {
    match path {
        "/system" => Some((Door::System, "GET, HEAD")),
        "/login" => Some((Door::Login, "GET")),
        "/assets/merkletree" => Some((Door::Months, "GET")),
        _ => {
            let asset = path.strip_prefix("/asset/").map(|sha1| (Door::Asset(sha1), "HEAD, POST, PATCH"));
            asset.or_else(|| Some((Door::Month(path.strip_prefix("/assets/merkletree/")?), "GET")))
        }
    }
}

/// One request of a device.
struct Cx {
    shared: Arc<Shared>,
    device: Device,
    headers: HeaderMap,
    query: String,
    /// Of the photo it is about; zeros where it is about none.
    sha1: [u8; 20],
}

impl Cx {
    /// A value of the query, decoded.
    fn query(&self, name: &str) -> Option<String> {
        value(&self.query, name)
    }
}

/// The device that asks: with the app's word for its password to sign in, with what it got for that afterwards.
async fn sign_in(
    shared: &Shared,
    door: Door<'_>,
    parts: &Parts,
    from: IpAddr,
) -> Result<Device, Result<Reply, Deny>> {
    if door == Door::Login {
        let Some(given) = auth::credentials(&parts.headers) else { return Err(Ok(reply::unauthorized())) };
        // `user:word:id of the phone`
        let word = given.password.split(':').next().unwrap_or_default();
        return super::signed_in(shared, from, &given.user, || shared.face.pool.sign_in(&given.user, word))
            .await;
    }
    let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = header.and_then(|text| text.strip_prefix("token=")).map(str::to_owned);
    let Some(pass) = shown.or_else(|| value(parts.uri.query().unwrap_or_default(), "token")) else {
        return Err(Ok(reply::unauthorized()));
    };
    super::signed_in(shared, from, "", || shared.face.pool.sign_in_by_pass(&pass)).await
}

/// Answers a request through one of the app's doors.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    door: Door<'_>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Reply {
    match carry_out(shared, door, parts, body, from).await {
        Ok(reply) => reply,
        Err(deny) => in_words_of_the_app(&reply::deny(&parts.method, &deny)),
    }
}

async fn carry_out(
    shared: &Arc<Shared>,
    door: Door<'_>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct System {
        lomod_version: &'static str,
    }
    // It looks for a box before anybody signs in.
    if door == Door::System {
        return json(&System { lomod_version: env!("CARGO_PKG_VERSION") });
    }
    let device = match sign_in(shared, door, parts, from).await {
        Ok(device) => device,
        Err(refused) => return refused,
    };
    let sha1 = match door {
        Door::Asset(text) => {
            unhex(text).ok_or(Deny::Bad("a photo is named by its SHA-1, 40 lower-case hex digits"))?
        }
        Door::System | Door::Login | Door::Months | Door::Month(_) => [0; 20],
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let cx = Arc::new(Cx { shared: Arc::clone(shared), device, headers: parts.headers.clone(), query, sha1 });
    let pool = &shared.face.pool;
    match (door, &parts.method) {
        (Door::Asset(_), &Method::HEAD) => bodies::blocking(pool, move || upload::have(&cx)).await,
        (Door::Asset(_), &Method::POST) => upload::post(cx, body).await,
        (Door::Asset(_), &Method::PATCH) => upload::patch(cx, body).await,
        (Door::Login, _) => bodies::blocking(pool, move || login(&cx)).await,
        (Door::Months, _) => bodies::blocking(pool, move || tree::all(&cx)).await,
        (Door::Month(which), _) => {
            let which = which.to_owned();
            bodies::blocking(pool, move || tree::month(&cx, &which)).await
        }
        (Door::Asset(_) | Door::System, _) => Err(Deny::Method("HEAD, POST, PATCH")),
    }
}

/// What the app shows from now on, and a number for the person.
fn login(cx: &Cx) -> Result<Reply, Deny> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Login {
        token: String,
        userid: u32,
    }
    let token = cx.shared.face.pool.pass_of(&cx.device)?;
    let [a, b, c, d, ..] = *blake3::hash(cx.device.person.as_str().as_bytes()).as_bytes();
    json(&Login { token, userid: u32::from_be_bytes([a, b, c, d]) >> 1 })
}

fn json(value: &impl Serialize) -> Result<Reply, Deny> {
    let text = serde_json::to_string(value)
        .map_err(|_| Deny::Status(StatusCode::INTERNAL_SERVER_ERROR, "no JSON"))?;
    Ok(reply::whole(StatusCode::OK, "application/json", text))
}

/// A status for the app: what it would take for success is none, and may heal by asking again.
fn for_the_app(status: StatusCode) -> StatusCode {
    match status.as_u16() {
        200..=299 | 409 => StatusCode::SERVICE_UNAVAILABLE,
        _ => status,
    }
}

/// An error as the app shows it: `{"text": …}`.
fn in_words_of_the_app(denied: &Reply) -> Reply {
    let status = for_the_app(denied.status());
    let words = match status {
        // The app reads the file again then (`UploadService.js`: "different hash").
        StatusCode::BAD_REQUEST => "the bytes or the request are not what was announced: different hash",
        StatusCode::INSUFFICIENT_STORAGE => "there is no room for it",
        StatusCode::SERVICE_UNAVAILABLE => "the drive cannot be used at the moment, try again later",
        StatusCode::NOT_FOUND => "not here",
        StatusCode::PRECONDITION_FAILED => "another number of bytes is here, ask again",
        _ => "this was not carried out",
    };
    let text = serde_json::json!({ "text": words }).to_string();
    let mut reply = reply::whole(status, "application/json", text);
    reply::take_headers(&mut reply, denied);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_failed_looks_like_success() {
        for (status, expect) in [
            (200, 503),
            (201, 503),
            (409, 503),
            (400, 400),
            (404, 404),
            (412, 412),
            (503, 503),
            (507, 507),
            (500, 500),
        ] {
            assert_eq!(for_the_app(StatusCode::from_u16(status).unwrap()).as_u16(), expect);
        }
    }

    #[test]
    fn doors() {
        let kind = |path| door(path).map(|(door, _)| door);
        assert_eq!(kind("/system"), Some(Door::System));
        assert_eq!(kind("/login"), Some(Door::Login));
        assert_eq!(kind("/asset/abc"), Some(Door::Asset("abc")));
        assert_eq!(kind("/assets/merkletree"), Some(Door::Months));
        assert_eq!(kind("/assets/merkletree/2024/3"), Some(Door::Month("2024/3")));
        assert_eq!(
            [kind("/asset"), kind("/assets"), kind("/login/"), kind("/systems"), kind("/")],
            [None; 5]
        );
    }
}
