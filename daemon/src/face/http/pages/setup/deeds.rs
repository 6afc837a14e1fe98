//! What the set-up page's forms do: each one call into the pool, and only for whom the page shows that form.
use std::path::Path;
use std::sync::Arc;

use hyper::StatusCode;

use super::Cx;
use super::form::Form;
use super::page::Shown;
use super::stage::{Found, Stage};
use crate::face::address::Address;
use crate::face::apps::{App, NewDevice};
use crate::face::http::nextcloud::login;
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::upload;
use crate::model::account::{self, Slug, Token};
use crate::model::drive::DriveRole;
use crate::model::hash::hex;
use crate::model::password::Password;
use crate::model::plugged::{DeviceName, Offer};
use crate::os::clock;
use crate::work::error::Refusal;

const NOT_YOU: &str = "Sign in first, as the one who set this box up.";
const WRONG: &str = "This name and this password do not belong together.";
const THEIRS: &str = "Who has a password adds phones of their own: let them sign in here.";
const AWAY: &str =
    "The box cannot reach its main drive at the moment. Nothing was done; try again in a minute.";
const BUSY: &str = "Too many tries at the moment. Wait a minute, and send this again.";
const BAD_NAME: &str = "A name has letters from a to z, or digits. Choose another one.";
const DIFFERENT: &str = "These were two different passwords. Type the same one twice.";

/// What came of a form: the page anew, or what is wrong with it.
type Done = Result<Reply, (StatusCode, String)>;

/// Does what a form says.
pub(super) async fn carry_out(cx: &Cx<'_>, form: Form) -> Result<Reply, Deny> {
    let found = cx.found().await?;
    let stage = cx.stage(&found);
    let done = match (form.what.as_str(), &stage) {
        ("drive", Stage::Drives | Stage::Claim | Stage::Owner(_)) => drive(cx, &found, &form).await?,
        ("prepare", Stage::Drives | Stage::Claim | Stage::Owner(_)) => prepare(cx, &found, &form).await?,
        ("claim", Stage::Claim) => claim(cx, &form).await?,
        ("sign-in", Stage::Locked(true)) => sign_in(cx, &form).await?,
        ("person", Stage::Owner(_)) => person(cx, &form).await?,
        ("phone", Stage::Owner(who) | Stage::Member(who)) => phone(cx, (&found, who), &form).await?,
        ("out", _) => Ok(out(cx)),
        (_, Stage::Away) => wrong(StatusCode::SERVICE_UNAVAILABLE, AWAY),
        // Who is here already signs in once more, from another page that was open.
        ("sign-in", _) => Ok(cx.onwards()),
        ("drive" | "prepare" | "claim" | "person" | "phone", _) => wrong(StatusCode::FORBIDDEN, NOT_YOU),
        _ => wrong(StatusCode::BAD_REQUEST, "That form is none of this page's."),
    };
    match done {
        Ok(reply) => Ok(reply),
        Err((status, problem)) => Ok(reply::come_back(cx.again(status, &problem, form).await?)),
    }
}

fn wrong<T>(status: StatusCode, words: impl Into<String>) -> Result<T, (StatusCode, String)> {
    Err((status, words.into()))
}

fn refused<T>(refusal: &Refusal) -> Result<T, (StatusCode, String)> {
    if matches!(refusal, Refusal::Exists) {
        return wrong(StatusCode::CONFLICT, "There is one of this name already. Choose another name.");
    }
    if matches!(refusal, Refusal::Reserved) {
        return wrong(StatusCode::CONFLICT, "The box uses this name itself. Choose another name.");
    }
    wrong(reply::status(&hyper::Method::POST, refusal), reply::words(refusal))
}

/// A drive becomes one of the box's: only such a one as the page offers, for what it offers.
async fn drive(cx: &Cx<'_>, found: &Found, form: &Form) -> Result<Done, Deny> {
    let offered = found.adoptable().into_iter().find(|(mount, role)| {
        mount.as_path() == Path::new(&form.mount) && form.role.parse::<DriveRole>().ok() == Some(*role)
    });
    let Some((mount, role)) = offered else {
        return Ok(wrong(
            StatusCode::CONFLICT,
            "The drive is not there any more, or has become something else.",
        ));
    };
    if role == DriveRole::Primary && !form.fresh {
        return Ok(wrong(StatusCode::BAD_REQUEST, "Say first that this box never kept photos."));
    }
    let pool = Arc::clone(&cx.shared.face.pool);
    let at = mount.clone();
    let adopted = upload::blocking(&cx.shared.face.pool, move || Ok(pool.adopt(&at, role))).await?;
    Ok(match adopted {
        Ok(_) => {
            let role = role.as_str();
            log::info!(
                "the drive at {} was adopted as {role} on the set-up page, from {}",
                mount.display(),
                cx.from
            );
            Ok(cx.onwards())
        }
        Err(why) => {
            log::warn!("the drive at {} could not be adopted on the set-up page: {why}", mount.display());
            let (status, words) = reply::adoption(&why);
            wrong(status, words)
        }
    })
}

/// A device is mounted where it can be adopted; everything on it stays. Only such a one as the page offers.
async fn prepare(cx: &Cx<'_>, found: &Found, form: &Form) -> Result<Done, Deny> {
    let offered = |name: &DeviceName| {
        found.left().any(|(one, offer, _)| one.device.name == *name && offer == Offer::Adopt)
    };
    let Some(device) = form.device.parse::<DeviceName>().ok().filter(offered) else {
        return Ok(wrong(
            StatusCode::CONFLICT,
            "The drive is not there any more, or has become something else.",
        ));
    };
    let (pool, name) = (Arc::clone(&cx.shared.face.pool), device.clone());
    let prepared = upload::blocking(&cx.shared.face.pool, move || Ok(pool.prepare(name))).await?;
    Ok(match prepared {
        Ok(place) => {
            log::info!(
                "{device} was mounted at {} for the set-up page, asked from {}",
                place.display(),
                cx.from
            );
            Ok(cx.onwards())
        }
        Err(why) => {
            log::warn!("{device} could not be mounted for the set-up page: {why}");
            wrong(StatusCode::SERVICE_UNAVAILABLE, format!("This drive cannot be used: {why}."))
        }
    })
}

/// Two new passwords that were typed alike.
fn new_password(form: &Form) -> Result<Password, (StatusCode, String)> {
    let password = Password::parse(&form.password)
        .or_else(|bad| wrong(StatusCode::BAD_REQUEST, format!("That cannot be taken: {bad}.")))?;
    match Password::parse(&form.again) {
        Ok(again) if again == password => Ok(password),
        Ok(_) | Err(_) => wrong(StatusCode::BAD_REQUEST, DIFFERENT),
    }
}

fn new_name(text: &str) -> Result<Slug, (StatusCode, String)> {
    Slug::made_of(text).map_or_else(|| wrong(StatusCode::BAD_REQUEST, BAD_NAME), Ok)
}

/// The first person. Of two that come at once one is the second.
async fn claim(cx: &Cx<'_>, form: &Form) -> Result<Done, Deny> {
    let (name, password) = match new_name(&form.name).and_then(|name| Ok((name, new_password(form)?))) {
        Ok(both) => both,
        Err(problem) => return Ok(Err(problem)),
    };
    let (shared, who) = (Arc::clone(cx.shared), name.clone());
    let made = upload::blocking(&cx.shared.face.pool, move || {
        let _one = shared.setup.claiming();
        let pool = &shared.face.pool;
        if !pool.people()?.is_empty() {
            return Ok(Err(Refusal::Forbidden));
        }
        Ok(pool.add_person_with(&who, &password))
    })
    .await?;
    match made {
        Ok(()) => {
            log::info!(
                "{name} looks after the box from now on: claimed on the set-up page, from {}",
                cx.from
            );
            Ok(Ok(begin(cx, name)?))
        }
        Err(Refusal::Forbidden) => Ok(wrong(StatusCode::CONFLICT, NOT_YOU)),
        Err(refusal) => Ok(refused(&refusal)),
    }
}

async fn sign_in(cx: &Cx<'_>, form: &Form) -> Result<Done, Deny> {
    // As it was made of what was typed when the person was added.
    let Some(name) = Slug::made_of(&form.name) else { return Ok(wrong(StatusCode::FORBIDDEN, WRONG)) };
    let Some(turn) = login::turn(cx.shared, cx.from, &name).await else {
        return Ok(wrong(StatusCode::SERVICE_UNAVAILABLE, BUSY));
    };
    let (pool, who, typed) = (Arc::clone(&cx.shared.face.pool), name.clone(), form.password.clone());
    let fits = upload::blocking(&cx.shared.face.pool, move || Ok(pool.check_password(&who, &typed)?)).await?;
    if fits {
        cx.shared.throttle().succeeded(cx.from, name.as_str());
        return Ok(Ok(begin(cx, name)?));
    }
    // Noted while it is still this form's turn: the next one sees it.
    let wait = cx.shared.throttle().failed(cx.from, name.as_str(), clock::monotonic());
    drop(turn);
    tokio::time::sleep(wait).await;
    Ok(wrong(StatusCode::FORBIDDEN, WRONG))
}

/// Somebody is signed in from here on.
fn begin(cx: &Cx<'_>, person: Slug) -> Result<Reply, Deny> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes)
        .map_err(|_| Deny::Status(StatusCode::SERVICE_UNAVAILABLE, "no randomness"))?;
    let id = hex(&bytes);
    let reply = cx.with_cookie(cx.onwards(), &id);
    cx.shared.setup.visits().begin(id, person, clock::monotonic());
    Ok(reply)
}

fn out(cx: &Cx<'_>) -> Reply {
    if let Some(id) = cx.visit() {
        cx.shared.setup.visits().end(id);
    }
    cx.with_cookie(cx.onwards(), "")
}

async fn person(cx: &Cx<'_>, form: &Form) -> Result<Done, Deny> {
    let name = match new_name(&form.name) {
        Ok(name) => name,
        Err(problem) => return Ok(Err(problem)),
    };
    let password = match (form.password.is_empty() && form.again.is_empty()).then_some(None) {
        Some(none) => none,
        None => match new_password(form) {
            Ok(password) => Some(password),
            Err(problem) => return Ok(Err(problem)),
        },
    };
    let (pool, who) = (Arc::clone(&cx.shared.face.pool), name.clone());
    let made = upload::blocking(&cx.shared.face.pool, move || {
        Ok(password.map_or_else(|| pool.add_person(&who), |password| pool.add_person_with(&who, &password)))
    })
    .await?;
    Ok(match made {
        Ok(()) => {
            log::info!("{name} was added on the set-up page, from {}", cx.from);
            Ok(cx.onwards())
        }
        Err(refusal) => refused(&refusal),
    })
}

/// A phone gets a password of its own, and the page shows what to do with it: the one answer that is no new page.
async fn phone(cx: &Cx<'_>, (found, who): (&Found, &Slug), form: &Form) -> Result<Done, Deny> {
    let app =
        App::ALL.into_iter().find(|app| app.word() == form.app && app.kind() == account::DeviceKind::Phone);
    let Some(app) = app else { return Ok(wrong(StatusCode::BAD_REQUEST, "Choose one of the apps.")) };
    let (Ok(person), Some(device)) = (form.name.parse::<Slug>(), Slug::made_of(&form.phone)) else {
        return Ok(wrong(StatusCode::BAD_REQUEST, BAD_NAME));
    };
    if !found.may_add_for(who).contains(&&person) {
        return Ok(wrong(StatusCode::FORBIDDEN, THEIRS));
    }
    let sends = if app == App::Lomorage { account::App::Lomorage } else { account::App::Any };
    let (pool, whose, name) = (Arc::clone(&cx.shared.face.pool), person.clone(), device.clone());
    let added: Result<Token, Refusal> = upload::blocking(&cx.shared.face.pool, move || {
        Ok(pool.add_device_for(&whose, &name, app.kind(), sends))
    })
    .await?;
    let token = match added {
        Ok(token) => token,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    log::info!("{person}/{device} was added on the set-up page, from {}", cx.from);
    let address = Address::known(cx.shared.face.hosts.base(cx.here));
    let new = NewDevice {
        address: &address,
        person: &person,
        device: &device,
        kind: app.kind(),
        password: token.reveal(),
        one_time: false,
    };
    let label = format!("{device} of {person}");
    let shown = Shown { added: Some((label, app.setup(&new))), ..Shown::default() };
    Ok(Ok(cx.show(StatusCode::OK, &shown).await?))
}
