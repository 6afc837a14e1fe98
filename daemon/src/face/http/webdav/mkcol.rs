//! MKCOL: one new folder.
use hyper::StatusCode;

use super::Cx;
use super::locks::Touched;
use crate::face::http::reply::{self, Deny, Reply};
use crate::work::error::Refusal;

pub(super) fn mkcol(cx: &Cx) -> Result<Reply, Deny> {
    if cx.target.is_root {
        return Err(Deny::Refused(Refusal::Exists));
    }
    // A file, too (RFC 4918 §9.3.1), and before any condition is looked at (RFC 9110 §13.2.1).
    if cx.find(&cx.target.path)?.is_some() {
        return Err(Deny::Refused(Refusal::Exists));
    }
    cx.preconditions(None)?;
    cx.guard(&[Touched { path: &cx.target.path, member: true, deep: false }])?;
    if cx.is_in_root(&cx.target.path) && cx.tree().find(&cx.root)?.is_none() {
        make_root(cx)?;
    }
    cx.tree().make_folder(&cx.device, &cx.target.path)?;
    Ok(reply::bare(StatusCode::CREATED))
}

fn make_root(cx: &Cx) -> Result<(), Deny> {
    for folder in cx.root.ancestors().chain([cx.root.clone()]) {
        match cx.tree().make_folder(&cx.device, &folder) {
            Ok(()) | Err(Refusal::Exists) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Ok(())
}
