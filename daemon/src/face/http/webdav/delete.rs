//! DELETE: a name goes to the trash, where the device may do that.
use hyper::StatusCode;

use super::locks::Touched;
use super::{Cx, Depth};
use crate::face::http::reply::{self, Deny, Reply};
use crate::work::error::Refusal;
use crate::work::tree::NodeKind;

pub(super) fn delete(cx: &Cx) -> Result<Reply, Deny> {
    cx.not_root()?;
    let node = cx.node()?;
    if node.kind == NodeKind::Folder && cx.depth()? != Depth::Infinity {
        return Err(Deny::Bad("a folder is deleted with all below it"));
    }
    if node.kind != NodeKind::Folder && cx.target.slash {
        return Err(Deny::Refused(Refusal::NotFound));
    }
    cx.preconditions(Some(&node))?;
    cx.guard(&[Touched { path: &node.path, member: true, deep: true }])?;
    cx.may_take_away(&node)?;
    cx.tree().trash(&cx.device, &node.path)?;
    cx.shared.locks().forget(&node.path);
    Ok(reply::bare(StatusCode::NO_CONTENT))
}
