//! `HEAD` and `GET`: how much of an upload is here, and what became of it; `DELETE`: it is not wanted any more (tus 1.0
//! "Termination").
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::{Became, Cx, LENGTH, METADATA, OFFSET, SAID, assemble, expires, offset};
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::upload;
use crate::model::hash::ContentHash;
use crate::work::error::Refusal;

/// The id of a file that came whole says what it is, and nothing is kept of its upload.
pub(super) const BY_CONTENT: &str = "whole-";

/// How an upload stands.
enum Standing {
    /// So much is here.
    Under { offset: u64, total: u64, metadata: String },
    /// All of it, and this became of it.
    Done(Became, String),
}

pub(super) async fn look(cx: Cx, client_id: &str) -> Result<Reply, Deny> {
    let pool = Arc::clone(&cx.shared.face.pool);
    let standing = if let Some(hash) = client_id.strip_prefix(BY_CONTENT) {
        let hash: ContentHash = hash.parse().map_err(|_| Deny::Refused(Refusal::NotFound))?;
        upload::blocking(&pool, move || by_content(&cx, &hash)).await?
    } else {
        let id = cx.id(client_id);
        // What another connection still holds of it is put away first, and counts.
        let turn = cx.shared.turns.take(&id).await?;
        let look = move || {
            let found = cx.find(&id)?;
            let metadata = found.said.notes.get(SAID).cloned().unwrap_or_default();
            let (offset, total) = (offset(&found.parts), found.said.total.unwrap_or(0));
            let standing = if found.assembled.is_some() || offset == total {
                // All of it is here, and the client would take that for the end of it: it is put together first.
                Standing::Done(assemble(&cx.shared, &cx.device, &id, &found)?, metadata)
            } else {
                Standing::Under { offset, total, metadata }
            };
            drop(turn);
            Ok(standing)
        };
        upload::blocking(&pool, look).await?
    };
    Ok(told(&standing))
}

/// A file that came whole: whether the person has it.
fn by_content(cx: &Cx, hash: &ContentHash) -> Result<Standing, Deny> {
    let receipt = cx.shared.face.pool.receipt(&hash.to_string())?;
    let receipt = receipt.ok_or(Deny::Refused(Refusal::NotFound))?;
    let mut names = receipt.names.into_iter().map(|name| name.path);
    let path = names.find(|path| path.components().next() == Some(cx.device.person.as_str()));
    let path = path.ok_or(Deny::Refused(Refusal::NotFound))?;
    Ok(Standing::Done(Became { path, hash: *hash, size: receipt.size, stored: true }, String::new()))
}

fn told(standing: &Standing) -> Reply {
    let mut reply = reply::bare(StatusCode::OK);
    let (total, metadata) = match standing {
        Standing::Under { offset, total, metadata } => {
            reply::set(&mut reply, OFFSET, HeaderValue::from(*offset));
            expires(&mut reply);
            (*total, metadata)
        }
        Standing::Done(became, metadata) => {
            became.tell(&mut reply);
            (became.size, metadata)
        }
    };
    reply::set(&mut reply, LENGTH, HeaderValue::from(total));
    if !metadata.is_empty() {
        reply::set_text(&mut reply, METADATA, metadata);
    }
    reply
}

/// Throws away what is here of an upload. A photo is none any more, and stays.
pub(super) async fn end(cx: Cx, client_id: &str) -> Result<Reply, Deny> {
    let id = cx.id(client_id);
    let turn = cx.shared.turns.take(&id).await?;
    let (parts, pool) = (cx.shared.face.parts.clone(), Arc::clone(&cx.shared.face.pool));
    let ended = upload::blocking(&pool, move || {
        parts.abandon(&id)?;
        drop(turn);
        Ok(())
    });
    ended.await?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}
