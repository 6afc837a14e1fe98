//! MKCOL: one new folder.
use hyper::StatusCode;

use super::locks::Touched;
use super::{Cx, Taken, describe};
use crate::face::http::reply::{self, Deny, Reply};
use crate::model::path::RelPath;
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
        make_above(cx, &cx.target.path)?;
    }
    if cx.flavour.makes_parents(&cx.headers, &cx.device) {
        make_above(cx, &cx.target.path)?;
    }
    cx.tree().make_folder(&cx.device, &cx.target.path)?;
    let mut reply = reply::bare(StatusCode::CREATED);
    if cx.flavour.cloud.is_some() {
        describe(&cx.flavour, &mut reply, &cx.node()?, Taken::default());
    }
    Ok(reply)
}

/// Makes the folders above a name, as far as they are missing.
fn make_above(cx: &Cx, path: &RelPath) -> Result<(), Deny> {
    for folder in path.ancestors() {
        match cx.tree().make_folder(&cx.device, &folder) {
            Ok(()) | Err(Refusal::Exists) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Ok(())
}
