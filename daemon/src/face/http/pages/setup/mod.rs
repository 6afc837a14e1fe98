//! The set-up page: makes two drives the box's, names the people, and shows what each phone scans. One form at a time, without scripts.
//!
//! While the box is nobody's, whoever is in the home's network may begin (docs/decisions/0037). From then on its owner, who is the first
//! person with a password, adds people and drives; everybody with a password adds phones of their own.
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION, REFRESH, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use self::form::Form;
use self::page::Shown;
use self::stage::{Found, Stage};
use self::visits::Visits;
use super::super::nextcloud::login::page::document;
use crate::face::http::hosts::Authority;
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::{Shared, tls, upload};
use crate::model::certificate::is_home;
use crate::os::clock;
use crate::work::error::Refusal;
use crate::work::pool::Pool;

mod deeds;
mod form;
mod page;
mod stage;
mod visits;

/// Where it is.
pub(in crate::face::http) const PATH: &str = "/setup";

/// What the page remembers between requests.
#[derive(Default)]
pub(in crate::face::http) struct Desk {
    visits: Mutex<Visits>,
    /// Held while a box becomes somebody's: two cannot be the first.
    claiming: Mutex<()>,
}

impl Desk {
    fn visits(&self) -> MutexGuard<'_, Visits> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claiming(&self) -> MutexGuard<'_, ()> {
        self.claiming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request.
struct Cx<'r> {
    shared: &'r Arc<Shared>,
    here: &'r Authority,
    parts: &'r Parts,
    from: IpAddr,
}

/// `GET` and `POST /setup`.
pub(in crate::face::http) async fn answer(
    shared: &Arc<Shared>,
    here: &Authority,
    (parts, body): (&Parts, &mut Option<Incoming>),
    from: IpAddr,
) -> Result<Reply, Deny> {
    if !is_near(shared, here, from) {
        return Err(Deny::Status(StatusCode::FORBIDDEN, "only from the home's own network"));
    }
    let cx = Cx { shared, here, parts, from };
    if parts.method != Method::POST {
        return cx.show(StatusCode::OK, &Shown::default()).await;
    }
    let sent = upload::collect(body.take(), form::MOST, shared.face.limits.body_idle).await?;
    deeds::carry_out(&cx, form::read(&sent)).await
}

/// Whether somebody asks from the home's network. Behind a program that ends TLS before us everybody seems to: whoever comes through the
/// address for people, without TLS of ours, may be anybody. In IPv6 a home's addresses are the Internet's, and alike in their first half.
pub(super) fn is_near(shared: &Shared, here: &Authority, from: IpAddr) -> bool {
    let through_another = !here.secure && shared.face.hosts.base(here).starts_with("https");
    let half = |ip: &IpAddr| match ip.to_canonical() {
        IpAddr::V6(ip) => Some(u128::from(ip) >> 64),
        IpAddr::V4(_) => None,
    };
    let beside =
        || half(&from).is_some_and(|net| (shared.face.own)().iter().any(|own| half(own) == Some(net)));
    !through_another && (is_home(from) || beside())
}

/// Whether nobody has made this box theirs: a browser that comes is led to the page then.
pub(in crate::face::http) async fn is_nobodys(shared: &Arc<Shared>) -> bool {
    let pool = Arc::clone(&shared.face.pool);
    if pool.available().is_err() {
        return !pool.may_be_a_pool();
    }
    upload::blocking(&shared.face.pool, move || Ok(pool.is_nobodys()?)).await.unwrap_or(false)
}

/// How the box stands, as far as setting it up goes.
fn found(pool: &Pool) -> Result<Found, Refusal> {
    let (drives, may_be_a_pool, findings) = (pool.drives(), pool.may_be_a_pool(), pool.findings().to_vec());
    let (people, owner) = match pool.available() {
        Ok(()) => (Some(pool.people()?), pool.owner()?),
        Err(_) => (None, None),
    };
    let plugged = pool.plugged().devices;
    Ok(Found { drives, may_be_a_pool, people, owner, plugged, findings })
}

impl Cx<'_> {
    async fn found(&self) -> Result<Found, Deny> {
        let pool = Arc::clone(&self.shared.face.pool);
        upload::blocking(&self.shared.face.pool, move || Ok(found(&pool)?)).await
    }

    fn visit(&self) -> Option<&str> {
        visits::cookie(&self.parts.headers, tls::is_secured(self.parts))
    }

    /// How far the box is for whoever asks.
    fn stage(&self, found: &Found) -> Stage {
        let visitor = self.visit().and_then(|id| self.shared.setup.visits().find(id, clock::monotonic()));
        found.stage(visitor.as_ref())
    }

    async fn show(&self, status: StatusCode, shown: &Shown) -> Result<Reply, Deny> {
        let found = self.found().await?;
        let stage = self.stage(&found);
        let mut reply = document(status, "Shoebox: set up", &page::whole(&found, &stage, shown));
        // While something is to be plugged in, the page finds out by itself. Never over what somebody types.
        let waits = matches!(stage, Stage::Drives | Stage::Away)
            && found.adoptable().is_empty()
            && found.left().next().is_none();
        if waits && shown.is_plain() {
            reply::set(&mut reply, REFRESH, HeaderValue::from_static("5"));
        }
        Ok(reply)
    }

    /// The page again, with what is wrong.
    async fn again(&self, status: StatusCode, problem: &str, form: Form) -> Result<Reply, Deny> {
        let shown = Shown { problem: Some(problem.to_owned()), typed: form, added: None };
        self.show(status, &shown).await
    }

    /// Done: the page anew, so that going back or loading it again does nothing twice.
    fn onwards(&self) -> Reply {
        let mut reply = reply::bare(StatusCode::SEE_OTHER);
        reply::set(&mut reply, LOCATION, HeaderValue::from_static(PATH));
        reply
    }

    fn with_cookie(&self, mut reply: Reply, id: &str) -> Reply {
        let line = visits::set_cookie(id, tls::is_secured(self.parts));
        reply::set_text(&mut reply, SET_COOKIE, &line);
        reply
    }
}
