//! MOVE and COPY.
use hyper::{HeaderMap, StatusCode};

use super::locks::Touched;
use super::path::{Target, destination};
use super::{Cx, Depth, Taken, describe};
use crate::face::http::reply::{self, Deny, Reply};
use crate::model::path::RelPath;
use crate::work::error::Refusal;
use crate::work::ingest::Outcome;
use crate::work::tree::{Node, NodeKind};

pub(super) fn transfer(cx: &Cx) -> Result<Reply, Deny> {
    let moves = cx.method.as_str() == "MOVE";
    let to = wanted_target(cx)?;
    let overwrite = overwrite(&cx.headers)?;
    let source = cx.node()?;
    let depth = if source.kind == NodeKind::Folder { cx.depth()? } else { Depth::Infinity };
    match depth {
        Depth::One => return Err(Deny::Bad("not with Depth: 1")),
        Depth::Zero if moves => return Err(Deny::Bad("a folder moves with all below it")),
        Depth::Zero | Depth::Infinity => {}
    }
    if to.is_root || (moves && cx.target.is_root) {
        return Err(Deny::Refused(Refusal::Forbidden));
    }
    cx.preconditions(Some(&source))?;
    // RFC 4918 §9.8.5, §9.9.4: onto itself.
    if to.path == source.path {
        return Err(Deny::Refused(Refusal::Overlap));
    }
    // Another spelling of the same name has nothing in its way but itself.
    let respelled = to.path.fold_key() == source.path.fold_key();
    let in_the_way = if respelled { None } else { cx.find(&to.path)? };
    let mut touched = vec![Touched { path: &to.path, member: true, deep: in_the_way.is_some() }];
    if moves {
        touched.push(Touched { path: &source.path, member: true, deep: true });
    }
    cx.guard(&touched)?;
    if moves {
        cx.may_take_away(&source)?;
    }
    if let Some(node) = &in_the_way {
        if !overwrite {
            return Err(Deny::Refused(Refusal::Exists));
        }
        cx.may_replace(node)?;
    }
    let outcome = carry_out(cx, &source, &to.path, overwrite, depth)?;
    let mut reply = reply::bare(match outcome {
        Outcome::Created => StatusCode::CREATED,
        Outcome::Replaced | Outcome::Unchanged => StatusCode::NO_CONTENT,
    });
    let file = matches!(source.kind, NodeKind::File { .. });
    if file || cx.flavour.cloud.is_some() {
        // The name is there. Whatever happens to its date now, a refusal would make the client ask again for a
        // source that is gone; without the `accepted` it sets the date by PROPPATCH.
        let mtime = file
            && cx.announced_mtime().is_some_and(|at| cx.tree().set_mtime(&cx.device, &to.path, at).is_ok());
        if let Ok(Some(node)) = cx.find(&to.path) {
            describe(&cx.flavour, &mut reply, &node, Taken { mtime, ctime: false });
        }
    }
    Ok(reply)
}

fn carry_out(cx: &Cx, source: &Node, to: &RelPath, overwrite: bool, depth: Depth) -> Result<Outcome, Deny> {
    if cx.method.as_str() == "COPY" {
        let deep = depth == Depth::Infinity;
        return Ok(cx.tree().copy(&cx.device, &source.path, to, overwrite, deep)?);
    }
    let outcome = cx.tree().rename(&cx.device, &source.path, to, overwrite)?;
    cx.shared.locks().forget(&source.path);
    Ok(outcome)
}

fn wanted_target(cx: &Cx) -> Result<Target, Deny> {
    let text = cx.header("destination").ok_or(Deny::Bad("no readable Destination header"))?;
    destination(&cx.root, (&cx.here, &cx.flavour), text)
}

/// RFC 4918 §10.6: `T` unless it says `F`.
fn overwrite(headers: &HeaderMap) -> Result<bool, Deny> {
    match headers.get("overwrite").map(|value| value.as_bytes()) {
        None | Some(b"T" | b"t") => Ok(true),
        Some(b"F" | b"f") => Ok(false),
        Some(_) => Err(Deny::Bad("unreadable Overwrite header")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    fn read(word: &[u8]) -> Option<Result<bool, Deny>> {
        let value = HeaderValue::from_bytes(word).ok()?;
        Some(overwrite(&HeaderMap::from_iter([(hyper::header::HeaderName::from_static("overwrite"), value)])))
    }

    #[test]
    fn overwriting_is_what_happens_unless_it_is_forbidden() {
        assert!(overwrite(&HeaderMap::new()).unwrap());
        assert!(read(b"T").unwrap().unwrap() && !read(b"F").unwrap().unwrap());
    }

    proptest! {
        /// What is not understood is refused: taken for `T`, it would send a file to the trash.
        #[test]
        fn nothing_is_overwritten_for_a_word_that_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..4), word in "[TtFf ]{0,2}") {
            for word in [bytes.as_slice(), word.as_bytes()] {
                if let Some(Ok(may)) = read(word) {
                    let expected = if may { b"T" } else { b"F" };
                    prop_assert!(word.eq_ignore_ascii_case(expected));
                }
            }
        }
    }
}
