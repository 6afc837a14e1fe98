//! The Nextcloud dialect: what Nextcloud's apps for Android, iOS and computers ask of a server, over the one WebDAV tree.
//!
//! Whatever may heal is answered 503 ([`policy`]): these apps give a photo up for good after most other errors.
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};

use super::hosts::Authority;
use super::reply::{self, Deny, Reply};
use super::webdav::{self, Cx, Flavour, xml};
use super::{Shared, upload};
use crate::model::account::Device;
use crate::work::error::Refusal;
use ids::Instance;
pub(super) use route::{CloudRoute, route};

mod android;
pub(super) mod ids;
pub(super) mod login;
mod ocs;
pub(super) mod policy;
mod preview;
pub(super) mod properties;
mod route;
pub(super) mod search;
mod uploads;

/// Answers what anybody may ask.
pub(super) fn answer_anybody(route: &CloudRoute<'_>, parts: &Parts) -> Result<Reply, Deny> {
    match route {
        CloudRoute::Status => Ok(ocs::status()),
        CloudRoute::NoContent => Ok(reply::bare(StatusCode::NO_CONTENT)),
        CloudRoute::Capabilities { v2 } => Ok(ocs::envelope(parts, *v2, StatusCode::OK, ocs::capabilities())),
        // A phone is never told to wipe itself; and there is nothing else for whoever does not sign in.
        CloudRoute::Wipe
        | CloudRoute::Nothing
        | CloudRoute::User { .. }
        | CloudRoute::OtherOcs { .. }
        | CloudRoute::Discovery
        | CloudRoute::Files { .. }
        | CloudRoute::Preview(_)
        | CloudRoute::Uploads { .. } => Err(Deny::Refused(Refusal::NotFound)),
    }
}

/// Answers a device that signed in.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    device: Device,
    here: Authority,
    parts: &Parts,
    route: CloudRoute<'_>,
    body: &mut Option<Incoming>,
) -> Result<Reply, Deny> {
    let own = |user: &str| user.eq_ignore_ascii_case(device.person.as_str());
    match route {
        CloudRoute::User { v2 } => {
            let (tree, person) = (shared.face.tree.clone(), device.person.clone());
            let room = upload::blocking(&shared.face.pool, move || Ok(tree.room(&person)?)).await?;
            let user = ocs::user(device.person.as_str(), room);
            Ok(ocs::envelope(parts, v2, StatusCode::OK, user))
        }
        CloudRoute::OtherOcs { v2 } => {
            let nothing = serde_json::Value::Array(Vec::new());
            Ok(ocs::envelope(parts, v2, StatusCode::NOT_FOUND, nothing))
        }
        CloudRoute::Preview(pictured) => preview::answer(shared, device, parts, pictured).await,
        CloudRoute::Discovery => discover(shared, device, here, parts, body).await,
        CloudRoute::Files { user, base, rest } => {
            if user.is_some_and(|user| !own(user)) || is_strayed(&parts.method, rest) {
                return Err(Deny::Refused(Refusal::NotFound));
            }
            let flavour = Flavour::cloud(base, &device, instance(shared)?);
            webdav::answer(shared, device, (here, flavour), parts, rest, body).await
        }
        CloudRoute::Uploads { user, rest } if own(user) => {
            let base = format!("/remote.php/dav/files/{}", device.person);
            let flavour = Flavour::cloud(&base, &device, instance(shared)?);
            uploads::answer(shared, device, (here, flavour), parts, rest, body).await
        }
        CloudRoute::Uploads { .. } => Err(Deny::Refused(Refusal::NotFound)),
        CloudRoute::Status
        | CloudRoute::NoContent
        | CloudRoute::Capabilities { .. }
        | CloudRoute::Wipe
        | CloudRoute::Nothing => answer_anybody(&route, parts),
    }
}

/// A request that an app joined to the wrong base, such as the deletion of its password: whatever it means, it means no file.
fn is_strayed(method: &Method, rest: &str) -> bool {
    let rest = rest.trim_start_matches('/');
    *method == Method::DELETE && (rest.starts_with("ocs/v1.php/") || rest.starts_with("ocs/v2.php/"))
}

fn instance(shared: &Shared) -> Result<Instance, Deny> {
    let (pool, generation) = shared.face.tree.identity()?;
    Ok(Instance::new(pool, generation))
}

/// Where WebDAV begins: clients look here whether they may sign in, and search from here.
async fn discover(
    shared: &Arc<Shared>,
    device: Device,
    here: Authority,
    parts: &Parts,
    body: &mut Option<Incoming>,
) -> Result<Reply, Deny> {
    let base = format!("/remote.php/dav/files/{}", device.person);
    let flavour = Flavour::cloud(&base, &device, instance(shared)?);
    match parts.method.as_str() {
        "GET" | "HEAD" => Ok(reply::bare(StatusCode::OK)),
        "OPTIONS" | "PROPFIND" => webdav::answer(shared, device, (here, flavour), parts, "", body).await,
        "SEARCH" => {
            let limits = &shared.face.limits;
            let text = upload::collect(body.take(), xml::MOST_BYTES as u64, limits.body_idle).await?;
            let cx = Cx::at_root(shared, device, (here, flavour), parts);
            upload::blocking(&shared.face.pool, move || search::search(&cx, &text)).await
        }
        _ => Err(Deny::Method("OPTIONS, GET, HEAD, PROPFIND, SEARCH")),
    }
}

/// The answer to a request of this dialect that is not carried out.
pub(super) fn deny(method: &Method, headers: &HeaderMap, deny: &Deny) -> Reply {
    policy::answer(method, headers, deny)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_deleted_at_the_wrong_address_is_no_file() {
        assert!(is_strayed(&Method::DELETE, "/ocs/v2.php/core/apppassword"));
        assert!(!is_strayed(&Method::GET, "/ocs/v2.php/core/apppassword"));
        assert!(!is_strayed(&Method::DELETE, "/ocs/a.jpg"));
    }
}
