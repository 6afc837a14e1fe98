//! What the daemon does for each request: one call into the pool, never more. Blocking.
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::devices;
use super::serve::InVain;
use super::wire::{Added, Counts, Fault, FaultKind, FoundPage, Request, StatusReport};
use crate::model::account::{Slug, Token};
use crate::model::health::Light;
use crate::model::password::Password;
use crate::model::path::RelPath;
use crate::work::eject::EjectError;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::promote::PromoteError;
use crate::work::replace::ReplaceError;
use crate::work::views::{FindQuery, Progress, VerifyScope};

/// The most names in one reply.
const MAX_PAGE: usize = 1000;

/// Carries out `request`, reporting how far it is, and returns what goes into `done`.
pub(super) fn answer(
    pool: &Arc<Pool>,
    request: Request,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Value, Fault> {
    let refused = |what: &str| {
        let what = what.to_owned();
        move |refusal: Refusal| Fault::refused(&refusal, &what)
    };
    if takes_the_catalogue(&request) && !tells_of_it(&request) {
        pool.available().map_err(refused("main drive"))?;
    }
    match request {
        Request::Status {} => json(&status(pool)),
        Request::CaShow {} => json(&pool.certificates().view()),
        Request::PersonList {} => json(&pool.people().map_err(refused("catalogue"))?),
        Request::PersonAdd { name, quota, password } => add_person(pool, &name, quota, password.as_ref()),
        Request::PersonQuota { name, quota } => {
            json(&pool.set_quota(&name, quota).map_err(refused(&format!("person {name}")))?)
        }
        Request::PersonPassword { name, password } => set_password(pool, &name, password.as_ref()),
        Request::DeviceList {} => json(&pool.devices().map_err(refused("catalogue"))?),
        Request::DeviceAdd { person, name, kind, app } => {
            added(pool.add_device_for(&person, &name, kind, app), &person, &name)
        }
        Request::DeviceOneTime { person, name, kind } => {
            added(pool.add_one_time(&person, &name, kind), &person, &name)
        }
        Request::DeviceRevoke { person, name } => {
            let what = format!("device {person}/{name}");
            json(&pool.revoke_device(&person, &name).map_err(refused(&what))?)
        }
        Request::DriveList {} => json(&pool.drives_counted()),
        Request::DriveAdopt { mount, role } => {
            json(&pool.adopt(&mount, role).map_err(|e| Fault::new(FaultKind::Declined, one_line(&e), ""))?)
        }
        Request::DriveEject { drive } => json(&pool.eject_and_unmount(drive).map_err(|e| eject_fault(&e))?),
        Request::Device { request } => devices::answer(pool, request),
        Request::DrivePromote { drive, agreed } => {
            json(&pool.promote(drive, agreed).map_err(|e| promote_fault(&e))?)
        }
        Request::DriveReplace { old, with, agreed } => {
            json(&pool.replace(&old, &with, agreed, progress).map_err(|e| replace_fault(&e))?)
        }
        Request::Find { query, after, limit } => {
            json(&find(pool, &query, after, limit.clamp(1, MAX_PAGE)).map_err(refused("catalogue"))?)
        }
        Request::Receipt { key } => match pool.receipt(&key).map_err(refused("such photo"))? {
            Some(receipt) => json(&receipt),
            None => Err(Fault::new(
                FaultKind::NotFound,
                format!("there is no photo {key:?}"),
                "give a hash of 64 hex digits, or a path as `shoebox find` prints it",
            )),
        },
        Request::Verify { drive, below, read_before } => {
            let scope = VerifyScope { drive, below, read_before };
            json(&pool.verify_now(&scope, progress).map_err(refused("such drive or folder"))?)
        }
        Request::Rescan {} => json(&pool.rescan_now(progress).map_err(refused("such drive"))?),
        Request::Changes { after, limit } => {
            json(&pool.changes(after, limit.clamp(1, MAX_PAGE)).map_err(refused("catalogue"))?)
        }
        Request::PutItBack { below } => {
            json(&pool.put_it_back(&below, progress).map_err(refused("such name"))?)
        }
        Request::ItWasMe { below, seen } => it_was_me(pool, &below, seen.as_deref(), progress),
    }
}

/// All of it is answered for only by whoever has seen all of it.
fn it_was_me(
    pool: &Pool,
    below: &[RelPath],
    seen: Option<&str>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Value, Fault> {
    let look = "`shoebox changes show` shows it, and how to answer for it";
    if below.is_empty() && seen.is_none() {
        return Err(Fault::new(FaultKind::BadRequest, "it is not said what the answer is for", look));
    }
    match pool.it_was_me(below, seen, progress) {
        Err(Refusal::Changed) => {
            Err(Fault::new(FaultKind::Declined, "more has changed since that was shown: look again", look))
        }
        answered => json(&answered.map_err(|refusal| Fault::refused(&refusal, "such name"))?),
    }
}

fn add_person(
    pool: &Pool,
    name: &Slug,
    quota: Option<u64>,
    password: Option<&Password>,
) -> Result<Value, Fault> {
    let refused = |refusal: Refusal| Fault::refused(&refusal, &format!("person {name}"));
    pool.add_person(name).map_err(refused)?;
    // Killed in between, the person is there without them, and the answer was not given.
    if let Some(password) = password {
        pool.set_password(name, Some(password)).map_err(refused)?;
    }
    json(&quota.map_or(Ok(()), |bytes| pool.set_quota(name, Some(bytes))).map_err(refused)?)
}

fn set_password(pool: &Pool, name: &Slug, password: Option<&Password>) -> Result<Value, Fault> {
    let refused = |refusal: Refusal| Fault::refused(&refusal, &format!("person {name}"));
    json(&pool.set_password(name, password).map_err(refused)?)
}

fn added(token: Result<Token, Refusal>, person: &Slug, name: &Slug) -> Result<Value, Fault> {
    let token = token.map_err(|refusal| add_fault(&refusal, person, name))?;
    json(&Added { password: token.reveal().to_owned() })
}

fn add_fault(refusal: &Refusal, person: &Slug, name: &Slug) -> Fault {
    let mut fault = Fault::refused(refusal, &format!("device {person}/{name}"));
    if matches!(refusal, Refusal::NotFound) {
        fault = Fault::refused(refusal, &format!("person {person}"));
        fault.remedy = format!("make one: shoebox person add {person}");
    } else if matches!(refusal, Refusal::Exists) {
        fault.remedy = format!(
            "choose another name; or, if its password is lost: shoebox device revoke {person} {name}, and add it again"
        );
    } else if matches!(refusal, Refusal::Reserved) {
        fault.remedy = format!("choose another name, e.g. {name}-phone");
    }
    fault
}

/// Whether an answer takes the catalogue, and with it the main drive.
const fn takes_the_catalogue(request: &Request) -> bool {
    match request {
        Request::CaShow {}
        | Request::DriveAdopt { .. }
        | Request::DriveEject { .. }
        | Request::Device { .. }
        | Request::DrivePromote { .. }
        | Request::DriveReplace { .. } => false,
        Request::Status {}
        | Request::DriveList {}
        | Request::PersonList {}
        | Request::PersonAdd { .. }
        | Request::PersonQuota { .. }
        | Request::PersonPassword { .. }
        | Request::DeviceList {}
        | Request::DeviceAdd { .. }
        | Request::DeviceOneTime { .. }
        | Request::DeviceRevoke { .. }
        | Request::Find { .. }
        | Request::Receipt { .. }
        | Request::Verify { .. }
        | Request::Changes { .. }
        | Request::PutItBack { .. }
        | Request::ItWasMe { .. }
        | Request::Rescan {} => true,
    }
}

/// Whether a request says how the main drive stands, and what can be said without it.
const fn tells_of_it(request: &Request) -> bool {
    matches!(request, Request::Status {} | Request::DriveList {})
}

/// What becomes of a request that was begun and waits for a main drive that does not respond.
pub(super) fn waits_in_vain(pool: &Pool, request: &Request) -> Option<InVain> {
    if !takes_the_catalogue(request) || !pool.is_primary_stuck() {
        return None;
    }
    if tells_of_it(request) {
        return Some(InVain::AskAgain);
    }
    Some(InVain::Refuse(Fault::new(
        FaultKind::Unavailable,
        "the main drive does not respond",
        "what was begun may still be done when it answers again: look before you repeat it",
    )))
}

fn eject_fault(error: &EjectError) -> Fault {
    let (kind, remedy) = match error {
        EjectError::NotThere => (FaultKind::NotFound, "`shoebox drive list` shows them"),
        EjectError::StillOpen(_) => (
            FaultKind::Unavailable,
            "the box has let go of it; wait a minute and repeat the command before you unmount it",
        ),
        EjectError::Unknown(_) => {
            (FaultKind::Unavailable, "the box has let go of it; if it can be unmounted, it may be unplugged")
        }
    };
    Fault::new(kind, error.to_string(), remedy)
}

fn promote_fault(error: &PromoteError) -> Fault {
    let list = "`shoebox drive list` shows them";
    let (kind, remedy) = match error {
        PromoteError::NotThere => (FaultKind::NotFound, list),
        PromoteError::IsPrimary => (FaultKind::BadRequest, list),
        PromoteError::PrimaryThere => (
            FaultKind::Declined,
            "eject it first, if another drive is to take its place: shoebox drive eject primary",
        ),
        PromoteError::NotReady(_) => {
            (FaultKind::Unavailable, "see `shoebox status`; check its cable and its power")
        }
        PromoteError::MayLose(_) => (
            FaultKind::Declined,
            "if the old main drive can be had, plug it in instead. If it is dead, repeat the command with --yes. What only \
             the old drive has is not lost: if it ever comes back, `shoebox drive adopt … --role mirror` takes it in",
        ),
        PromoteError::Refused(_) => {
            (FaultKind::Unavailable, "see `shoebox drive list`, and repeat the command")
        }
    };
    Fault::new(kind, one_line(error), remedy)
}

fn replace_fault(error: &ReplaceError) -> Fault {
    let again = "what was done stays done; repeat the command, and it goes on from there";
    match error {
        ReplaceError::Promote(e) => promote_fault(e),
        ReplaceError::Eject(e) => eject_fault(e),
        ReplaceError::Unknown(_) => Fault::new(
            FaultKind::NotFound,
            one_line(error),
            "`shoebox drive list` shows those that are there",
        ),
        ReplaceError::Several(_) => {
            Fault::new(FaultKind::BadRequest, one_line(error), "say which by the beginning of its id")
        }
        ReplaceError::Unfit(_) | ReplaceError::Adopt(_) => {
            Fault::new(FaultKind::Declined, one_line(error), "")
        }
        ReplaceError::Hopeless { .. } => Fault::new(
            FaultKind::Declined,
            one_line(error),
            "everything else is on the new drive. Let the phones that still have them send them once more, or plug in another drive \
             that may have them, and repeat the command; with --yes it goes on without them, and what is left of them stays on the \
             old drive",
        ),
        ReplaceError::NotFilled(_) => Fault::new(FaultKind::Unavailable, one_line(error), again),
        ReplaceError::Refused(refusal) => {
            Fault { remedy: again.to_owned(), ..Fault::refused(refusal, "such drive") }
        }
    }
}

fn status(pool: &Pool) -> StatusReport {
    let findings = pool.findings().to_vec();
    StatusReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        light: findings.iter().map(|finding| finding.light).max().unwrap_or(Light::Green),
        findings,
        drives: pool.drives_counted(),
        plugged: pool.plugged().devices,
        counts: counts(pool).ok(),
    }
}

fn counts(pool: &Pool) -> Result<Counts, Refusal> {
    pool.available()?;
    let people = pool.people()?;
    let devices = pool.devices()?;
    Ok(Counts {
        people: people.len(),
        devices: devices.iter().filter(|device| !device.revoked).count(),
        files: people.iter().map(|person| person.files).sum(),
        bytes: people.iter().map(|person| person.bytes).sum(),
    })
}

fn find(pool: &Pool, query: &FindQuery, after: Option<i64>, limit: usize) -> Result<FoundPage, Refusal> {
    // One more than asked for tells whether there is a next page.
    let mut names = pool.find(query, after, limit + 1)?;
    let more = names.len() > limit;
    names.truncate(limit);
    Ok(FoundPage { next: names.last().map(|name| name.id).filter(|_| more), names })
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|e| Fault::new(FaultKind::Internal, e.to_string(), ""))
}

/// An error with its sources, as one line.
pub(super) fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
