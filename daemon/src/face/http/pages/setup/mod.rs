//! The set-up page: makes two drives the box's, names the people, and shows what each phone scans. One form at a time, without scripts.
//!
//! While the box is nobody's, whoever is in the home's network may begin (docs/decisions/0037); from then on only its keeper, who is the
//! first person with a password, and signs in here with that.
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION, REFRESH, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use self::form::Form;
use self::page::Shown;
use self::stage::{Stage, Standing};
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
    if !is_home(from) {
        return Err(Deny::Status(StatusCode::FORBIDDEN, "only from the home's own network"));
    }
    let cx = Cx { shared, here, parts, from };
    if parts.method != Method::POST {
        return cx.show(StatusCode::OK, &Shown::default()).await;
    }
    let sent = upload::collect(body.take(), form::MOST, shared.face.limits.body_idle).await?;
    deeds::carry_out(&cx, form::read(&sent)).await
}

/// Whether nobody has made this box theirs: a browser that comes is led to the page then.
pub(in crate::face::http) async fn is_nobodys(shared: &Arc<Shared>) -> bool {
    let pool = Arc::clone(&shared.face.pool);
    if pool.available().is_err() {
        return !pool.drives().iter().any(|drive| drive.role.is_some());
    }
    upload::blocking(&shared.face.pool, move || Ok(pool.is_nobodys()?)).await.unwrap_or(false)
}

/// How the box stands, as far as setting it up goes.
fn standing(pool: &Pool) -> Result<Standing, Refusal> {
    let drives = pool.drives();
    if pool.available().is_err() {
        return Ok(Standing { drives, people: None, keeper: None });
    }
    Ok(Standing { drives, people: Some(pool.people()?), keeper: pool.keeper()? })
}

impl Cx<'_> {
    async fn standing(&self) -> Result<Standing, Deny> {
        let pool = Arc::clone(&self.shared.face.pool);
        upload::blocking(&self.shared.face.pool, move || Ok(standing(&pool)?)).await
    }

    /// How far the box is for whoever asks.
    fn stage(&self, standing: &Standing) -> Stage {
        let visitor = visits::cookie(&self.parts.headers)
            .and_then(|id| self.shared.setup.visits().find(id, clock::monotonic()));
        standing.stage(visitor.as_ref())
    }

    async fn show(&self, status: StatusCode, shown: &Shown) -> Result<Reply, Deny> {
        let standing = self.standing().await?;
        let stage = self.stage(&standing);
        let mut reply = document(status, "Shoebox: set up", &page::whole(&standing, &stage, shown));
        // While something is to be plugged in, the page finds out by itself. Never over what somebody types.
        if stage == Stage::Drives && shown.is_plain() && standing.adoptable().is_empty() {
            reply::set(&mut reply, REFRESH, HeaderValue::from_static("5"));
        }
        Ok(reply)
    }

    /// The page again, with what is wrong.
    async fn again(&self, status: StatusCode, problem: &str, form: &Form) -> Result<Reply, Deny> {
        let shown =
            Shown { problem: Some(problem.to_owned()), typed: Some(form.name.clone()), ..Shown::default() };
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
