//! Granting a login: a person signs in on its page, and the program that began it gets a device with a password of its own.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, RETRY_AFTER, SET_COOKIE, USER_AGENT};
use tokio::sync::OwnedSemaphorePermit;

use super::flows::{Grant, Shown};
use super::form::{self, Form};
use super::page::{self, Filled};
use super::{Cx, drawn, turn};
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::{Shared, upload};
use crate::model::account::{DeviceKind, Slug};
use crate::model::agent::likely_device;
use crate::os::clock;
use crate::work::error::Refusal;

const WRONG: &str = "This name and this password do not belong together.";
const BUSY: &str = "Too many tries at the moment. Wait a minute, and send this again.";
const AWAY: &str =
    "The box cannot reach its main drive at the moment. Nothing was added; try again in a minute.";

/// The page as it is opened.
pub(super) fn first_page(cx: &Cx<'_>, id: &str) -> Result<Reply, Deny> {
    let browser = form::browser(&cx.parts.headers).map_or_else(drawn, Ok)?;
    let Some((shown, mark)) = look(cx, id, &browser) else { return Ok(gone()) };
    if shown.done {
        return Ok(page::reply(StatusCode::OK, &page::done(None)));
    }
    let agent = cx.parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (name, is_phone) = likely_device(agent);
    let device = Slug::made_of(name).map_or_else(String::new, String::from);
    let kind = if is_phone { DeviceKind::Phone } else { DeviceKind::Computer };
    let filled = Filled {
        shown: &shown,
        mark: &mark,
        elsewhere: shown.from != cx.from,
        person: "",
        device: &device,
        kind,
        problem: None,
    };
    let mut reply = page::reply(StatusCode::OK, &page::form(&filled));
    let secure = if cx.shared.face.hosts.base(cx.here).starts_with("https") { "; Secure" } else { "" };
    let cookie = format!("{}={browser}; Path=/; HttpOnly; SameSite=Strict{secure}", form::COOKIE_NAME);
    reply::set_text(&mut reply, SET_COOKIE, &cookie);
    Ok(reply)
}

fn look(cx: &Cx<'_>, id: &str, browser: &str) -> Option<(Shown, String)> {
    let (mut flows, now) = (cx.shared.desk.flows(), clock::monotonic());
    Some((flows.look(id, now)?, flows.mark(id, browser, now)?))
}

fn gone() -> Reply {
    let words = "It took longer than twenty minutes, or the box was started anew. Close this page, and begin again in the app.";
    page::reply(StatusCode::NOT_FOUND, &page::dead_end("This sign-in is over", words))
}

/// What the form asks for.
#[derive(Clone)]
struct Wish {
    person: Slug,
    device: Slug,
    kind: DeviceKind,
    replace: bool,
}

impl Wish {
    fn read(form: &Form) -> Result<Self, &'static str> {
        // Phones like to capitalise names, and to add a blank.
        let person = form.person.trim().to_lowercase().parse().map_err(|_| WRONG)?;
        let device = Slug::made_of(&form.device)
            .ok_or("A device's name has letters from a to z, or digits. Choose another one.")?;
        let kind = form.kind.parse().map_err(|_| "Say what the device may do.")?;
        Ok(Self { person, device, kind, replace: form.replace })
    }
}

/// What came of a form.
enum Outcome {
    Added,
    /// The name or the password is wrong: how long the answer has to wait.
    Wrong(Duration),
    /// There is a device of that name.
    Taken,
    /// The login is no more.
    Gone,
    Refused(Refusal),
}

/// The form as it is sent.
pub(super) async fn answer(cx: &Cx<'_>, id: &str, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
    let sent = upload::collect(body.take(), form::MOST, cx.shared.face.limits.body_idle).await?;
    let form = form::read(&sent);
    let Some(browser) = form::browser(&cx.parts.headers) else { return Ok(stale()) };
    let Some((shown, mark)) = look(cx, id, &browser) else { return Ok(gone()) };
    if form.mark != mark {
        return Ok(stale());
    }
    let again = |status, problem| again(cx, &form, (&shown, &mark), status, problem);
    let wish = match Wish::read(&form) {
        Ok(wish) => wish,
        Err(problem) => return Ok(again(StatusCode::BAD_REQUEST, problem)),
    };
    if cx.shared.face.pool.available().is_err() {
        return Ok(again(StatusCode::SERVICE_UNAVAILABLE, AWAY));
    }
    let Some(turn) = turn(cx.shared, cx.from, &wish.person).await else {
        return Ok(again(StatusCode::SERVICE_UNAVAILABLE, BUSY));
    };
    let job = Job {
        shared: Arc::clone(cx.shared),
        id: id.to_owned(),
        browser,
        from: cx.from,
        wish: wish.clone(),
        password: form.password.clone(),
        _turn: turn,
    };
    match upload::blocking(&cx.shared.face.pool, move || Ok(job.carry_out())).await? {
        Outcome::Added => {
            let (person, device) = (&wish.person, &wish.device);
            cx.shared.throttle().succeeded(cx.from, person.as_str());
            log::info!("{person}/{device} was added on the login page, from {}", cx.from);
            Ok(page::reply(StatusCode::OK, &page::done(Some((person, device)))))
        }
        Outcome::Wrong(wait) => {
            tokio::time::sleep(wait).await;
            // Not 401: that would have the browser ask by itself, and for what nobody has.
            Ok(again(StatusCode::FORBIDDEN, WRONG))
        }
        Outcome::Taken => {
            cx.shared.throttle().succeeded(cx.from, wish.person.as_str());
            let filled =
                filled(cx, (&shown, &mark), (wish.person.as_str(), wish.device.as_str()), wish.kind, None);
            Ok(page::reply(StatusCode::CONFLICT, &page::ask(&filled)))
        }
        Outcome::Gone => Ok(gone()),
        Outcome::Refused(refusal) => {
            log::warn!("a device could not be added on the login page: {refusal}");
            Ok(again(StatusCode::SERVICE_UNAVAILABLE, AWAY))
        }
    }
}

/// The form once more, as it was filled in, but for the password.
fn again(cx: &Cx<'_>, form: &Form, shown: (&Shown, &str), status: StatusCode, problem: &str) -> Reply {
    let kind = form.kind.parse().unwrap_or(DeviceKind::Phone);
    let filled = filled(cx, shown, (&form.person, &form.device), kind, Some(problem));
    let mut reply = page::reply(status, &page::form(&filled));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        reply::set(&mut reply, RETRY_AFTER, HeaderValue::from_static("30"));
    }
    reply
}

fn filled<'a>(
    cx: &Cx<'_>,
    (shown, mark): (&'a Shown, &'a str),
    (person, device): (&'a str, &'a str),
    kind: DeviceKind,
    problem: Option<&'a str>,
) -> Filled<'a> {
    Filled { shown, mark, elsewhere: shown.from != cx.from, person, device, kind, problem }
}

fn stale() -> Reply {
    let words = "This page was not opened here, or it is an old one, or the browser keeps no cookies. Nothing was sent on. \
                 Close it, and begin again in the app.";
    page::reply(StatusCode::FORBIDDEN, &page::dead_end("This did not come from our page", words))
}

/// A form to be carried out: to its end, even if the browser goes away meanwhile.
struct Job {
    shared: Arc<Shared>,
    id: String,
    browser: String,
    from: IpAddr,
    wish: Wish,
    password: String,
    _turn: OwnedSemaphorePermit,
}

impl Job {
    fn carry_out(self) -> Outcome {
        let (flows, id, wish) = (|| self.shared.desk.flows(), &self.id, &self.wish);
        let vouched = flows().is_vouched(id, &wish.person, &self.browser, clock::monotonic());
        if !flows().claim(id, clock::monotonic()) {
            let shown = flows().look(id, clock::monotonic());
            return if shown.is_some_and(|shown| shown.done) { Outcome::Added } else { Outcome::Gone };
        }
        let outcome = self.add(vouched);
        // Somebody who has signed in and is asked a question need not sign in again to answer it.
        let known = matches!(outcome, Outcome::Taken).then(|| (wish.person.clone(), self.browser.clone()));
        flows().release(id, known, clock::monotonic());
        outcome
    }

    fn add(&self, vouched: bool) -> Outcome {
        let (pool, wish) = (&self.shared.face.pool, &self.wish);
        if !vouched {
            match pool.check_password(&wish.person, &self.password) {
                Ok(true) => {}
                // Noted while it is still this form's turn: the next one sees it.
                Ok(false) => {
                    let person = wish.person.as_str();
                    return Outcome::Wrong(self.shared.throttle().failed(
                        self.from,
                        person,
                        clock::monotonic(),
                    ));
                }
                Err(refusal) => return Outcome::Refused(refusal),
            }
        }
        // Only where somebody was asked is anything replaced.
        let added = if wish.replace && vouched {
            pool.renew_device(&wish.person, &wish.device, wish.kind)
        } else {
            pool.add_device(&wish.person, &wish.device, wish.kind)
        };
        let password = match added {
            Ok(password) => password,
            Err(Refusal::Exists) => return Outcome::Taken,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let grant = Grant { person: wish.person.clone(), password };
        if self.shared.desk.flows().grant(&self.id, grant, clock::monotonic()) {
            return Outcome::Added;
        }
        // It ended this very moment. Nobody will ever know that password.
        match pool.revoke_device(&wish.person, &wish.device) {
            Ok(()) => Outcome::Gone,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }
}
