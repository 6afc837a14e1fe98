//! How the Nextcloud apps sign in: login flow 2 with its page, one-time passwords, and giving an app password back.
//!
//! Sources: Nextcloud's developer manual, "Login Flow"; `core/Controller/ClientFlowLoginV2Controller.php`, `AppPasswordController.php`.
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::flows::{Asker, Flows, Keys};
use crate::face::http::auth;
use crate::face::http::hosts::Authority;
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::{Shared, upload};
use crate::model::account::{Device, Slug};
use crate::os::clock;
use crate::work::error::Refusal;

mod flows;
mod form;
mod grant;
pub(in crate::face::http) mod page;
mod passwords;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::face::http) enum Login<'a> {
    /// A program begins a login.
    Begin,
    /// It asks whether the login was granted.
    Poll,
    /// A browser looks at the login of this id, or sends its form.
    Page(&'a str),
    /// A program with a one-time password asks for one of its own.
    OneTime,
    /// A device gives its password back.
    GiveBack,
}

/// What the login remembers between requests.
pub(in crate::face::http) struct Desk {
    flows: Mutex<Flows>,
    /// One password is compared at a time; others wait here, where they cost no thread.
    comparing: Arc<Semaphore>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { flows: Mutex::default(), comparing: Arc::new(Semaphore::new(1)) }
    }
}

impl Desk {
    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request.
struct Cx<'r> {
    shared: &'r Arc<Shared>,
    here: &'r Authority,
    parts: &'r Parts,
    from: IpAddr,
}

/// Answers. `device`: who signed in, where that is asked for.
pub(in crate::face::http) async fn answer(
    shared: &Arc<Shared>,
    here: &Authority,
    (parts, body): (&Parts, &mut Option<Incoming>),
    (from, device): (IpAddr, Option<Device>),
    login: Login<'_>,
) -> Result<Reply, Deny> {
    let cx = Cx { shared, here, parts, from };
    match (login, device) {
        (Login::Begin, _) => cx.begin(),
        (Login::Poll, _) => cx.poll(body).await,
        (Login::Page(id), _) if parts.method == Method::POST => grant::answer(&cx, id, body).await,
        (Login::Page(id), _) => cx.page(id),
        (Login::OneTime, _) => passwords::one_time(&cx).await,
        (Login::GiveBack, Some(device)) => passwords::give_back(&cx, device).await,
        (Login::GiveBack, None) => Ok(reply::unauthorized()),
    }
}

#[derive(serde::Serialize)]
struct Begun {
    poll: Poll,
    login: String,
}

#[derive(serde::Serialize)]
struct Poll {
    token: String,
    endpoint: String,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Granted<'a> {
    server: &'a str,
    login_name: &'a str,
    app_password: &'a str,
}

impl Cx<'_> {
    fn begin(&self) -> Result<Reply, Deny> {
        let (token, id) = (drawn()?, drawn()?);
        let server = self.shared.face.hosts.base(self.here);
        let begun = Begun {
            poll: Poll { token: token.clone(), endpoint: format!("{server}/index.php/login/v2/poll") },
            login: format!("{server}/index.php/login/v2/flow/{id}"),
        };
        let keys = Keys { token, id, form: random()? };
        let asker = Asker { server, from: self.from, agent: auth::agent(&self.parts.headers) };
        self.shared.desk.flows().begin(keys, asker, clock::monotonic());
        json(&begun)
    }

    /// The token comes in the body (Android, desktop) or in the query (iOS). "Not yet" has no body: Android stops asking when it gets one.
    async fn poll(&self, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
        let in_query = self.parts.uri.query().and_then(|query| form::field(query.as_bytes(), "token"));
        let token = match in_query {
            Some(token) => Some(token),
            None => {
                let sent =
                    upload::collect(body.take(), form::MOST, self.shared.face.limits.body_idle).await?;
                form::field(&sent, "token")
            }
        };
        let granted = token.and_then(|token| self.shared.desk.flows().fetch(&token, clock::monotonic()));
        let Some((server, grant)) = granted else { return Ok(reply::bare(StatusCode::NOT_FOUND)) };
        json(&Granted {
            server: &server,
            login_name: grant.person.as_str(),
            app_password: grant.password.reveal(),
        })
    }

    fn page(&self, id: &str) -> Result<Reply, Deny> {
        grant::first_page(self, id)
    }
}

/// How long a form waits for its turn; then the person is told to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until no other password is compared, and until tries before this one with the same name and from the same address are paid for: who
/// guesses gets no further with many connections than with one. `None`: that takes too long.
pub(in crate::face::http) async fn turn(
    shared: &Arc<Shared>,
    from: IpAddr,
    person: &Slug,
) -> Option<OwnedSemaphorePermit> {
    let until = clock::monotonic() + PATIENCE;
    loop {
        let comparing = Arc::clone(&shared.desk.comparing).acquire_owned();
        let turn = tokio::time::timeout(PATIENCE, comparing).await.ok()?.ok()?;
        let now = clock::monotonic();
        let owed = shared.throttle().owed(from, person.as_str(), now);
        if owed.is_zero() {
            return Some(turn);
        }
        drop(turn);
        if now + owed > until {
            return None;
        }
        tokio::time::sleep(owed).await;
    }
}

/// 256 random bits.
fn random() -> Result<[u8; 32], Deny> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| Deny::Refused(Refusal::Unavailable { why: format!("no randomness: {e}") }))?;
    Ok(bytes)
}

/// The same as 64 hex digits.
fn drawn() -> Result<String, Deny> {
    Ok(crate::model::hash::hex(&random()?))
}

/// JSON with a secret in it: nobody keeps it.
fn json(value: &impl serde::Serialize) -> Result<Reply, Deny> {
    let body = serde_json::to_string(value)
        .map_err(|_| Deny::Status(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written"))?;
    let mut reply = reply::whole(StatusCode::OK, "application/json; charset=utf-8", body);
    reply::set(&mut reply, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}
