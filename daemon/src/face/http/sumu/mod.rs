//! The dialect of the Sumu Backup app for iPhone (hamikm/sumu-backup, `ios/sumubackup`): four routes of JSON on an address of their own, which is
//! off unless the settings have one.
//!
//! The app looks at little of what it is told. To `/health` any answer means that the box is there, so whoever cannot send now is given none: the
//! connection breaks off, and the app waits and goes on by itself. From `/timestamps` it takes `true` for "here", leaves such a photo out for
//! ever, and ends itself at a `false`. Of `/part` it ignores the outcome; only 200 from `/save` is success. Each attempt at a file has a new id.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use super::accept::Limits;
use super::body::Payload;
use super::query::value;
use super::reply::{self, Deny, Reply};
use super::{Shared, hosts, upload};
use crate::model::account::Device;
use crate::model::upload::UploadId;
use crate::os::clock;
use crate::work::error::Refusal;

mod part;
mod reader;
mod save;
mod sidecar;

#[cfg(any(test, fuzzing))]
pub use reader::sumu_part;

/// Its uploads in parts are called so.
const DIALECT: &str = "sumu";
/// A password has 39 characters.
const LONGEST_PASSWORD: usize = 200;
/// Connections at once: the app opens one for each part of a file. The others wait in the kernel's queue, which costs nothing.
const CONNECTIONS: usize = 16;
/// Under what failures with a password alone are counted.
const NOBODY: &str = "(sumu)";
const WRONG: Deny = Deny::Status(StatusCode::UNAUTHORIZED, "this password is no device's");

/// What the app asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Whether it may send.
    Health,
    /// What is here.
    Timestamps,
    /// A part of a file.
    Part,
    /// All parts were sent.
    Save,
}

/// Every request there is; whoever shows a device's password may make it, and nobody else.
const DOORS: [(&str, Method, Door); 4] = [
    ("/health", Method::GET, Door::Health),
    ("/timestamps", Method::GET, Door::Timestamps),
    ("/part", Method::POST, Door::Part),
    ("/save", Method::POST, Door::Save),
];

/// What the app may take.
pub(super) fn limits(others: &Limits) -> Limits {
    let connections = CONNECTIONS.min(others.connections);
    Limits { connections, per_address: connections, ..others.clone() }
}

/// From where somebody signed in lately. The app asks every five seconds whether the box is there, its password in the address; in a part it may
/// stand behind the bytes. From anywhere else no bytes are taken before a password is known.
#[derive(Default)]
pub(super) struct Callers(Mutex<HashMap<IpAddr, Instant>>);

impl Callers {
    const LATELY: Duration = Duration::from_secs(600);
    const MOST: usize = 256;

    fn came(&self, from: IpAddr, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, at| now.saturating_duration_since(*at) < Self::LATELY);
        if all.len() < Self::MOST || all.contains_key(&from) {
            all.entry(from).and_modify(|at| *at = now).or_insert(now);
        }
    }

    fn knows(&self, from: IpAddr, now: Instant) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&from).is_some_and(|at| now.saturating_duration_since(*at) < Self::LATELY)
    }
}

/// Answers a request of the app's. It keeps no connection, so none is kept for it.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>, from: IpAddr) -> Reply {
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let done = respond(&shared, &parts, &mut body, from).await;
    let reply = done.unwrap_or_else(|deny| {
        let mut reply = in_words_of_the_app(&reply::deny(&parts.method, &deny));
        if parts.uri.path() == "/health" {
            *reply.body_mut() = Payload::broken_off("not now");
        }
        reply
    });
    upload::let_go(&parts.headers, body);
    reply::close(reply)
}

async fn respond(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    let _here = hosts::check(&shared.face.hosts, &parts.method, &parts.uri, &parts.headers)?;
    let door = door(&parts.method, parts.uri.path())?;
    let query = |name| value(parts.uri.query().unwrap_or_default(), name);
    match door {
        Door::Health => {
            sign_in(shared, query("p").as_deref(), from).await?;
            ready(&"ok")
        }
        Door::Timestamps => {
            let device = sign_in(shared, query("p").as_deref(), from).await?;
            shared.came(&device, &parts.headers);
            is_theirs(&device, query("u").as_deref())?;
            let asked = Arc::clone(shared);
            upload::blocking(&shared.face.pool, move || timestamps(&asked, &device)).await
        }
        Door::Part => part::take(shared, parts, body, from).await,
        Door::Save => save::save(shared, body, from).await,
    }
}

fn door(method: &Method, path: &str) -> Result<Door, Deny> {
    let nothing = Deny::Status(StatusCode::NOT_FOUND, "nothing here");
    let (_, its, door) = DOORS.iter().find(|(known, ..)| *known == path).ok_or(nothing)?;
    match (its == method, door) {
        (true, door) => Ok(*door),
        (false, Door::Health | Door::Timestamps) => Err(Deny::Method("GET")),
        (false, Door::Part | Door::Save) => Err(Deny::Method("POST")),
    }
}

/// The device whose password this is. While the drives are away nobody is told anything about passwords.
async fn sign_in(shared: &Shared, password: Option<&str>, from: IpAddr) -> Result<Device, Deny> {
    shared.face.pool.available()?;
    match known(shared, password)? {
        Some(device) => {
            shared.throttle().succeeded(from, NOBODY);
            shared.callers.came(from, clock::monotonic());
            Ok(device)
        }
        None => {
            let wait = shared.throttle().failed(from, NOBODY, clock::monotonic());
            tokio::time::sleep(wait).await;
            Err(WRONG)
        }
    }
}

fn known(shared: &Shared, password: Option<&str>) -> Result<Option<Device>, Refusal> {
    let Some(password) = password.filter(|password| password.len() <= LONGEST_PASSWORD) else {
        return Ok(None);
    };
    Ok(shared.face.pool.sign_in_by_token(password)?.map(|signed_in| signed_in.device))
}

/// One build of the app on two people's phones would send both with one password. What is here of one phone must never stand for what
/// is on the other.
fn is_theirs(device: &Device, user: Option<&str>) -> Result<(), Deny> {
    let user = user.unwrap_or_default().trim().to_lowercase();
    if user == device.person.as_str() {
        return Ok(());
    }
    Err(Deny::Status(StatusCode::FORBIDDEN, "this password is another person's: each phone needs its own"))
}

fn id(device: &Device, upload: &str) -> UploadId {
    UploadId::of(device, DIALECT, upload)
}

/// Which half of a photo, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Whole,
    Picture,
    Video,
}

impl Half {
    fn of(is_live: bool, is_video: bool) -> Self {
        match (is_live, is_video) {
            (false, _) => Self::Whole,
            (true, false) => Self::Picture,
            (true, true) => Self::Video,
        }
    }

    fn other(self) -> Option<Self> {
        match self {
            Self::Whole => None,
            Self::Picture => Some(Self::Video),
            Self::Video => Some(Self::Picture),
        }
    }
}

/// What the keys of this dialect begin with.
const KEYS: &str = "sumu ";

/// What a phone calls a photo: the moment it was taken, milliseconds since 1970.
fn key(at: u64, half: Half) -> String {
    match half {
        Half::Whole => format!("{KEYS}{at}"),
        Half::Picture => format!("{KEYS}{at} picture"),
        Half::Video => format!("{KEYS}{at} video"),
    }
}

/// What of this phone is here: of a Live Photo, both halves. Blocking.
fn timestamps(shared: &Shared, device: &Device) -> Result<Reply, Deny> {
    let held = shared.face.library.keys_held(device, KEYS)?;
    let mut here = serde_json::Map::new();
    for key in &held {
        let at = key.strip_prefix(KEYS).unwrap_or_default();
        let at = match at.strip_suffix(" picture") {
            Some(at) if held.contains(&format!("{KEYS}{at} video")) => at,
            Some(_) | None => at,
        };
        // The app takes what is here for a number.
        if at.bytes().all(|byte| byte.is_ascii_digit()) && !at.is_empty() {
            here.insert(at.to_owned(), true.into());
        }
    }
    ready(&here)
}

fn ready(value: &impl serde::Serialize) -> Result<Reply, Deny> {
    Ok(reply::json(StatusCode::OK, value))
}

/// A status for the app: 200 is success, and nothing that failed may look like it.
fn for_the_app(status: StatusCode) -> StatusCode {
    if status.is_success() { StatusCode::SERVICE_UNAVAILABLE } else { status }
}

/// An error as the app's own server has it.
fn in_words_of_the_app(denied: &Reply) -> Reply {
    let status = for_the_app(denied.status());
    let words = match denied.body() {
        Payload::Whole(bytes) => String::from_utf8_lossy(bytes).trim().to_owned(),
        Payload::Pieces { .. } => String::new(),
    };
    let mut reply = reply::json(status, &json!({ "message": words, "status": status.as_u16() }));
    reply::take_headers(&mut reply, denied);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_doors() {
        let leads = |method: Method, path: &str| door(&method, path).ok();
        for (path, method, expected) in DOORS {
            assert_eq!(leads(method, path), Some(expected));
            for other in [Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS] {
                assert!(matches!(door(&other, path), Err(Deny::Method(_))), "{other} {path}");
            }
        }
        assert_eq!(leads(Method::POST, "/health"), None);
        for path in ["/", "/health/", "/dav/", "/parts", "//part", ""] {
            assert_eq!(leads(Method::GET, path), None, "{path}");
        }
    }

    #[test]
    fn only_success_looks_like_success() {
        for (status, expect) in [(200, 503), (204, 503), (400, 400), (401, 401), (503, 503), (507, 507)] {
            assert_eq!(for_the_app(StatusCode::from_u16(status).unwrap()).as_u16(), expect);
        }
    }

    #[test]
    fn callers_are_known_for_a_while() {
        let (callers, now) = (Callers::default(), clock::monotonic());
        let from = |last: u16| IpAddr::from([10, 0, (last >> 8) as u8, last as u8]);
        assert!(!callers.knows(from(1), now));
        callers.came(from(1), now);
        assert!(callers.knows(from(1), now + Duration::from_secs(599)));
        assert!(!callers.knows(from(2), now) && !callers.knows(from(1), now + Callers::LATELY));
        for n in 2..1000 {
            callers.came(from(n), now);
        }
        assert!(callers.knows(from(1), now) && !callers.knows(from(999), now));
        callers.came(from(999), now + Callers::LATELY);
        assert!(callers.knows(from(999), now + Callers::LATELY));
    }

    #[test]
    fn a_password_is_one_persons() {
        use crate::model::account::DeviceKind;
        let device = Device {
            person: "anna".parse().unwrap(),
            name: "sumu".parse().unwrap(),
            kind: DeviceKind::Phone,
        };
        for user in ["anna", "Anna", " anna "] {
            assert!(is_theirs(&device, Some(user)).is_ok());
        }
        for user in [None, Some(""), Some("ben"), Some("../anna")] {
            assert!(is_theirs(&device, user).is_err(), "{user:?}");
        }
    }
}
