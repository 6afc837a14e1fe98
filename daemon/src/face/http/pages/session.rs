//! Who is signed in on a page: a device's password once, a cookie from then on.
//!
//! A session is 160 random bits in a cookie that no script can read and no other site can send (`HttpOnly`, `SameSite=Strict`;
//! [`super::super::hosts`] looks at the origin of every change besides). Sessions are kept in memory only, in a bounded number,
//! and each ends with its device's password.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, COOKIE, HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};

use crate::face::http::auth::Credentials;
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::{Shared, check, tls, upload};
use crate::model::account::{Device, TokenHash};
use crate::model::hash::hex;
use crate::os::clock;

const NAME: &str = "shoebox_session";
/// So many at once: each of a family's browsers has one. Whoever came longest ago makes room.
const MOST: usize = 256;
/// After so long without a request a session ends.
const IDLE: Duration = Duration::from_secs(7 * 24 * 3600);
/// A name and a password are shorter than this.
const MOST_BYTES: u64 = 1024;

/// One browser that is signed in.
struct Session {
    device: Device,
    token: TokenHash,
    used: Instant,
}

/// All of them, by the text in their cookies.
#[derive(Default)]
pub(in crate::face::http) struct Sessions(HashMap<String, Session>);

impl Sessions {
    fn begin(&mut self, id: String, device: Device, token: TokenHash, now: Instant) {
        self.0.retain(|_, session| now.saturating_duration_since(session.used) < IDLE);
        if self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.0.remove(&id));
        }
        drop(self.0.insert(id, Session { device, token, used: now }));
    }

    /// Whose it is, if it is one.
    fn find(&mut self, id: &str, now: Instant) -> Option<(Device, TokenHash)> {
        let session = self.0.get_mut(id)?;
        if now.saturating_duration_since(session.used) >= IDLE {
            drop(self.0.remove(id));
            return None;
        }
        session.used = now;
        Some((session.device.clone(), session.token))
    }
}

/// The session's text in a request's cookies.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == NAME && value.len() == 40 && value.bytes().all(|b| b.is_ascii_hexdigit())).then_some(value)
    });
    // Two of a name: somebody else may have put one of them there.
    let (Some(value), None) = (found.next(), found.next()) else { return None };
    Some(value)
}

/// The device of the page that asks. `None`: nobody is signed in there.
pub(in crate::face::http) fn device(shared: &Shared, headers: &HeaderMap) -> Result<Option<Device>, Deny> {
    let Some(id) = cookie(headers) else { return Ok(None) };
    let found = shared.sessions.lock().unwrap_or_else(PoisonError::into_inner).find(id, clock::monotonic());
    let Some((device, token)) = found else { return Ok(None) };
    if shared.face.pool.is_signed_in(&device, &token)? {
        return Ok(Some(device));
    }
    forget(shared, id);
    Ok(None)
}

fn forget(shared: &Shared, id: &str) {
    drop(shared.sessions.lock().unwrap_or_else(PoisonError::into_inner).0.remove(id));
}

/// The answer to whoever is not signed in. Of a scheme that no browser knows: it shows no window of its own.
pub(in crate::face::http) fn nobody() -> Reply {
    let mut reply = reply::text(StatusCode::UNAUTHORIZED, "sign in first");
    reply::set(&mut reply, WWW_AUTHENTICATE, HeaderValue::from_static("Shoebox-Session realm=\"Shoebox\""));
    reply
}

/// What a page asks with.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    user: String,
    password: String,
}

/// Who is signed in.
#[derive(serde::Serialize)]
struct Who<'a> {
    person: &'a str,
    device: &'a str,
}

/// `GET`, `POST` and `DELETE /upload/session`: who is signed in, signing in, signing out.
pub(in crate::face::http) async fn answer(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    let mut reply = match parts.method {
        Method::POST => sign_in(shared, parts, body, from).await?,
        Method::DELETE => {
            if let Some(id) = cookie(&parts.headers) {
                forget(shared, id);
            }
            let mut reply = reply::bare(StatusCode::NO_CONTENT);
            reply::set_text(&mut reply, SET_COOKIE, &set_cookie("", 0, tls::is_secured(parts)));
            reply
        }
        _ => {
            shared.face.pool.available()?;
            device(shared, &parts.headers)?.map_or_else(nobody, |device| who(&device))
        }
    };
    reply::set(&mut reply, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

fn who(device: &Device) -> Reply {
    reply::json(StatusCode::OK, &Who { person: device.person.as_str(), device: device.name.as_str() })
}

async fn sign_in(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    shared.face.pool.available()?;
    let text = upload::collect(body.take(), MOST_BYTES, shared.face.limits.body_idle).await?;
    let wish: Wish =
        serde_json::from_slice(&text).map_err(|_| Deny::Bad("a user and a password are needed"))?;
    let given = Credentials { user: wish.user.trim().to_lowercase(), password: wish.password };
    let whose = || shared.face.pool.sign_in(&given.user, &given.password);
    let Some(signed_in) = check(shared, from, &given.user, whose).await? else { return Ok(nobody()) };
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes)
        .map_err(|_| Deny::Status(StatusCode::SERVICE_UNAVAILABLE, "no randomness"))?;
    let id = hex(&bytes);
    let mut reply = who(&signed_in.device);
    reply::set_text(&mut reply, SET_COOKIE, &set_cookie(&id, IDLE.as_secs(), tls::is_secured(parts)));
    let mut sessions = shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
    sessions.begin(id, signed_in.device, signed_in.token, clock::monotonic());
    Ok(reply)
}

/// `Secure` where it is set through TLS: it then never travels without. Over plain HTTP, which is all that many a home has, such a
/// cookie would never come back.
fn set_cookie(id: &str, seconds: u64, secured: bool) -> String {
    let secure = if secured { "; Secure" } else { "" };
    format!("{NAME}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::account::DeviceKind;
    use proptest::prelude::*;

    fn device(name: &str) -> Device {
        Device { person: "anna".parse().unwrap(), name: name.parse().unwrap(), kind: DeviceKind::Phone }
    }

    #[test]
    fn sessions_are_bounded_and_end() {
        let (mut sessions, start) = (Sessions::default(), clock::monotonic());
        let token = TokenHash::from_bytes([7; 32]);
        for n in 0..(MOST as u64 + 10) {
            sessions.begin(n.to_string(), device("web"), token, start + Duration::from_secs(n));
        }
        assert_eq!(sessions.0.len(), MOST);
        let now = start + Duration::from_secs(MOST as u64 + 10);
        assert!(sessions.find("0", now).is_none());
        assert_eq!(sessions.find("100", now), Some((device("web"), token)));
        // Used, it goes on; unused, it does not.
        let later = now + IDLE - Duration::from_secs(1);
        assert!(sessions.find("100", later).is_some());
        assert!(sessions.find("101", later + Duration::from_secs(2)).is_none());
        assert!(sessions.find("100", later + Duration::from_secs(2)).is_some());
    }

    fn read(line: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(line).ok()?);
        cookie(&headers).map(str::to_owned)
    }

    #[test]
    fn cookies() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(read(&format!("a=b; {NAME}={id}; c=d")).as_deref(), Some(id));
        assert_eq!(read(&format!("{NAME}={id}; {NAME}={id}")), None);
        assert_eq!(read(&format!("{NAME}x={id}")), None);
        assert_eq!(read(&format!("{NAME}={}", &id[1..])), None);
        assert_eq!(read(&format!("{NAME}=")), None);
        assert!(set_cookie(id, 1, false).ends_with("HttpOnly; SameSite=Strict"));
        assert!(set_cookie(id, 1, true).ends_with("HttpOnly; SameSite=Strict; Secure"));
    }

    proptest! {
        #[test]
        fn never_panics(line in "\\PC{0,80}") {
            let _read = read(&line);
        }
    }
}
