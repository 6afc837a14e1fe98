//! The HTTP face: accepts connections, finds out who asks for what, and hands over to a dialect.
//!
//! Opens no file, decides no rights and knows no drive: it asks the work floor and translates the answer.
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use accept::Speech;

pub use accept::Limits;
pub use hosts::HostPolicy;
pub use immich::{Announced, Immich};

use crate::model::account::Device;
use crate::model::health::{Finding, Light};
use crate::os::clock;
use crate::work::error::Refusal;
use crate::work::ingest::Ingest;
use crate::work::library::Library;
use crate::work::pool::{Pool, SignedIn};
use crate::work::previews::Previews;
use crate::work::tree::Tree;
use auth::Throttle;
use pages::session::{self, Sessions};
use reply::{Deny, Reply};
use route::{Access, Route, route};
use tus::turns::Turns;
use webdav::Flavour;
use webdav::locks::Locks;

mod accept;
mod alarm;
mod announced;
mod auth;
mod body;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hosts;
mod immich;
mod inbox;
pub mod listed;
mod lomorage;
pub mod metrics;
mod multipart;
mod nextcloud;
mod pages;
mod previews;
mod query;
mod reply;
mod route;
mod silence;
mod sumu;
pub mod tls;
mod tus;
mod upload;
mod webdav;
mod wire;

/// What the face talks to and keeps to.
pub struct Face {
    /// The machine's own addresses.
    pub own: fn() -> std::collections::BTreeSet<IpAddr>,
    /// Who may sign in, and how things stand.
    pub pool: Arc<Pool>,
    /// Takes uploads.
    pub ingest: Ingest,
    /// Takes uploads that come in parts.
    pub parts: crate::work::parts::Parts,
    /// The tree a device sees.
    pub tree: Tree,
    /// People's photos, for dialects that know no folders.
    pub library: Library,
    /// Small pictures of photos.
    pub previews: Previews,
    /// What clients of Immich are told.
    pub immich: Immich,
    /// Renders the figures for `/metrics`; must not block.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Under which names the box answers.
    pub hosts: HostPolicy,
    /// Who is sent on from plain HTTP to HTTPS.
    pub moving: tls::Moving,
    /// What clients may take.
    pub limits: Limits,
}

/// The face, and what it remembers between requests.
struct Shared {
    face: Arc<Face>,
    throttle: Mutex<Throttle>,
    desk: nextcloud::login::Desk,
    locks: Mutex<Locks>,
    /// Who is signed in on a page.
    sessions: Mutex<Sessions>,
    /// Who sets the box up.
    setup: pages::setup::Desk,
    /// Whose turn it is on uploads that are resumed.
    turns: Turns,
    /// From where a Sumu app signed in lately.
    callers: sumu::Callers,
    /// Where pages of Immich's searches begin.
    pages: immich::Pages,
    /// Phones that listen.
    sockets: immich::Sockets,
}

impl Shared {
    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes with which program a device came.
    fn came(&self, device: &Device, headers: &HeaderMap) {
        if let Some(agent) = auth::agent(headers) {
            self.face.pool.note_visit(device, Some(agent));
        }
    }

    fn locks(&self) -> std::sync::MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server: one for all addresses, because a lock taken through one holds for the others, and connections are
/// counted together.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    house: accept::House,
    /// For the Sumu app: it opens a connection for each part of a file, all at once, and must not take the others' places.
    side_house: accept::House,
}

impl Server {
    /// Behind this face; nobody is served yet.
    pub fn new(face: Arc<Face>) -> Self {
        let house = accept::House::new(face.limits.clone());
        let side_house = accept::House::new(sumu::limits(&face.limits));
        let shared = Shared {
            face,
            throttle: Mutex::default(),
            desk: nextcloud::login::Desk::default(),
            locks: Mutex::default(),
            sessions: Mutex::default(),
            setup: pages::setup::Desk::default(),
            turns: Turns::default(),
            callers: sumu::Callers::default(),
            pages: immich::Pages::default(),
            sockets: immich::Sockets::default(),
        };
        Self { shared: Arc::new(shared), house, side_house }
    }

    /// Serves HTTP, or, where `secure`, HTTPS, on `listener` until `stop` becomes true. `beat` is called whenever the accept loop
    /// turns, at least every twenty seconds.
    pub async fn serve(
        self,
        (listener, secure): (TcpListener, bool),
        stop: watch::Receiver<bool>,
        beat: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        let shared = self.shared;
        let pool = Arc::clone(&shared.face.pool);
        let speech = if secure { Speech::Tls(tls::source(Arc::clone(&pool))) } else { Speech::Plain };
        let at_rest = move || pool.at_rest();
        accept::run((listener, speech), self.house, stop, beat, at_rest, move |mut request, from| {
            if secure {
                let _before = request.extensions_mut().insert(tls::Secured);
            }
            answer(shared.clone(), request, from)
        })
        .await
    }

    /// The same for the Sumu app, which has an address of its own.
    pub async fn serve_sumu(
        self,
        listener: TcpListener,
        stop: watch::Receiver<bool>,
        beat: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        let shared = self.shared;
        let pool = Arc::clone(&shared.face.pool);
        let at_rest = move || pool.at_rest();
        accept::run((listener, Speech::Plain), self.side_house, stop, beat, at_rest, move |request, from| {
            sumu::answer(shared.clone(), request, from)
        })
        .await
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>, from: IpAddr) -> Reply {
    let (parts, body) = request.into_parts();
    // Whoever needs the body takes it; what is left was not asked for.
    let mut body = Some(body);
    let reply = match respond(&shared, &parts, &mut body, from).await {
        Ok(reply) => reply,
        Err(deny) if matches!(route(&parts.method, parts.uri.path()), Route::Cloud(_)) => {
            nextcloud::deny(&parts.method, &parts.headers, &deny)
        }
        Err(deny) => reply::deny(&parts.method, &deny),
    };
    upload::let_go(&parts.headers, body);
    reply
}

async fn respond(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    let mut here = hosts::check(&shared.face.hosts, &parts.method, &parts.uri, &parts.headers)?;
    here.secure = tls::is_secured(parts);
    let route = route(&parts.method, parts.uri.path());
    if let Some(reply) = tls::send_on(&shared.face, &here, parts, &route, from)? {
        return Ok(reply);
    }
    let device = match route.access() {
        Access::Open | Access::Dialect => None,
        Access::Device => match sign_in(shared, &parts.headers, from).await {
            Ok(device) => Some(device),
            Err(refused) => return refused,
        },
        Access::Page => match page_device(shared, &parts.headers, from).await {
            Ok(device) => Some(device),
            Err(refused) if matches!(route, Route::Tus(_)) => return Ok(tus::refuse(&parts.method, refused)),
            Err(refused) => return refused,
        },
    };
    match (route, device) {
        (Route::Dav(path), Some(device)) => {
            webdav::answer(shared, device, (here, Flavour::plain()), parts, path, body).await
        }
        (Route::Cloud(route), Some(device)) => {
            nextcloud::answer(shared, device, here, parts, route, body).await
        }
        (Route::Cloud(route), None) => nextcloud::answer_anybody(&route, parts),
        (Route::DavRoot, Some(_)) => webdav::answer_root(parts, body, &shared.face.limits).await,
        (Route::Immich, _) => Ok(immich::answer(shared, here, parts, body, from).await),
        (Route::Lomorage(door), _) => Ok(lomorage::answer(shared, door, parts, body, from).await),
        (Route::Inbox(rest), Some(device)) => inbox::take(shared, device, parts, rest, body).await,
        (Route::Tus(rest), Some(device)) => Ok(tus::answer(shared, device, parts, rest, body).await),
        (Route::Setup, _) => pages::setup::answer(shared, &here, (parts, body), from).await,
        (Route::UploadPage, _) => Ok(pages::assets::page(&parts.headers)),
        (Route::Share, _) => Ok(pages::assets::share()),
        (Route::Asset(path), _) => pages::assets::asset(&parts.headers, path),
        (Route::Authority(door), _) => pages::authority::answer(shared, &here, door),
        (Route::Session, _) => session::answer(shared, parts, body, from).await,
        (Route::Proofs, Some(device)) => pages::proofs::answer(shared, device, body).await,
        (Route::Login(login), device) => {
            nextcloud::login::answer(shared, &here, (parts, body), (from, device), login).await
        }
        (Route::Health, _) => Ok(health(&parts.headers, &shared.face.pool.findings())),
        (Route::Metrics, _) => {
            Ok(reply::whole(StatusCode::OK, metrics::CONTENT_TYPE, (shared.face.metrics)()))
        }
        (Route::Page, _) => Ok(pages::front::answer(shared, &here, &parts.headers, from).await),
        (Route::WrongMethod(allowed), _) => Err(Deny::Method(allowed)),
        (
            Route::Unknown | Route::Dav(_) | Route::DavRoot | Route::Inbox(_) | Route::Tus(_) | Route::Proofs,
            _,
        ) => Err(Deny::Status(StatusCode::NOT_FOUND, "nothing here")),
    }
}

/// The device that asks, or the answer to whoever it is. While the drives are away nobody is told anything about
/// passwords: who may sign in is known from the drives.
async fn sign_in(shared: &Shared, headers: &HeaderMap, from: IpAddr) -> Result<Device, Result<Reply, Deny>> {
    shared.face.pool.available().map_err(|refusal| Err(refusal.into()))?;
    let Some(given) = auth::credentials(headers) else { return Err(Ok(reply::unauthorized())) };
    let device =
        signed_in(shared, from, &given.user, || shared.face.pool.sign_in(&given.user, &given.password))
            .await?;
    shared.came(&device, headers);
    Ok(device)
}

/// The device that `who` finds, with a pause for whoever is found to be nobody.
async fn signed_in(
    shared: &Shared,
    from: IpAddr,
    user: &str,
    who: impl FnOnce() -> Result<Option<SignedIn>, Refusal>,
) -> Result<Device, Result<Reply, Deny>> {
    match check(shared, from, user, who).await {
        Ok(Some(signed_in)) => Ok(signed_in.device),
        Ok(None) => Err(Ok(reply::unauthorized())),
        Err(deny) => Err(Err(deny)),
    }
}

/// Who `who` finds; nobody is told late. The drives have to be there.
async fn check(
    shared: &Shared,
    from: IpAddr,
    user: &str,
    who: impl FnOnce() -> Result<Option<SignedIn>, Refusal>,
) -> Result<Option<SignedIn>, Deny> {
    shared.face.pool.available()?;
    let found = who()?;
    if found.is_some() {
        shared.throttle().succeeded(from, user);
    } else {
        let wait = shared.throttle().failed(from, user, clock::monotonic());
        tokio::time::sleep(wait).await;
    }
    Ok(found)
}

/// The device that asks from a page, or with a program that signs in as for everything else.
async fn page_device(
    shared: &Shared,
    headers: &HeaderMap,
    from: IpAddr,
) -> Result<Device, Result<Reply, Deny>> {
    if headers.contains_key(AUTHORIZATION) {
        return sign_in(shared, headers, from).await;
    }
    shared.face.pool.available().map_err(|refusal| Err(refusal.into()))?;
    session::device(shared, headers).map_err(Err)?.ok_or_else(|| Ok(session::nobody()))
}

#[derive(serde::Serialize)]
struct Health<'a> {
    light: Light,
    findings: &'a [Finding],
    version: &'static str,
}

/// How the box is doing: JSON, or one line where the client prefers text. Always 200: whoever asks got an answer.
fn health(headers: &HeaderMap, findings: &[Finding]) -> Reply {
    let light = findings.iter().map(|finding| finding.light).max().unwrap_or(Light::Green);
    let wants_text = headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/plain"));
    if wants_text {
        let line = match findings.first() {
            None => format!("{}: all is well", light.as_str()),
            Some(first) if findings.len() == 1 => format!("{}: {}", light.as_str(), first.sentence),
            Some(first) => {
                format!("{}: {} (and {} more)", light.as_str(), first.sentence, findings.len() - 1)
            }
        };
        return reply::text(StatusCode::OK, &line);
    }
    let health = Health { light, findings, version: env!("CARGO_PKG_VERSION") };
    reply::json(StatusCode::OK, &health)
}

#[cfg(test)]
mod tests {
    use super::*;
    use body::Payload;
    use jiff::Timestamp;

    fn shown(accept: &str, findings: &[Finding]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let Payload::Whole(body) = health(&headers, findings).into_body() else { panic!("short") };
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn finding(light: Light, sentence: &str) -> Finding {
        Finding {
            code: "drive-absent".into(),
            about: String::new(),
            light,
            sentence: sentence.into(),
            remedy: "Plug it in.".into(),
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn health_in_one_line_or_in_full() {
        let findings = [finding(Light::Red, "Drive A is away."), finding(Light::Amber, "B is late.")];
        assert_eq!(shown("text/plain", &[]), "green: all is well\n");
        assert_eq!(shown("text/plain", &findings[..1]), "red: Drive A is away.\n");
        assert_eq!(shown("text/plain, */*", &findings), "red: Drive A is away. (and 1 more)\n");
        let json: serde_json::Value = serde_json::from_str(&shown("*/*", &findings)).unwrap();
        assert_eq!(json["light"], "red");
        assert_eq!(json["findings"][1]["sentence"], "B is late.");
        assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    }
}
