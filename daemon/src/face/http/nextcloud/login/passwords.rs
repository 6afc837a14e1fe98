//! App passwords: fetched with a one-time password, given back by the device that signs in with it.
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde_json::{Value, json};

use super::super::ocs;
use super::Cx;
use crate::face::http::auth;
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::upload;
use crate::model::account::Device;
use crate::os::clock;
use crate::work::error::Refusal;

/// `GET /ocs/v2.php/core/getapppassword-onetime` with Basic(user, one-time password). What it is exchanged for is given out once.
pub(super) async fn one_time(cx: &Cx<'_>) -> Result<Reply, Deny> {
    let pool = &cx.shared.face.pool;
    pool.available()?;
    let Some(given) = auth::credentials(&cx.parts.headers) else { return Ok(reply::unauthorized()) };
    let redeeming = std::sync::Arc::clone(pool);
    let (user, password) = (given.user.clone(), given.password);
    match upload::blocking(pool, move || Ok(redeeming.redeem(&user, &password)?)).await? {
        Some((device, token)) => {
            cx.shared.throttle().succeeded(cx.from, &given.user);
            log::info!("{} was added with a one-time password, from {}", device.label(), cx.from);
            Ok(ocs(cx, json!({ "apppassword": token.reveal() })))
        }
        None => {
            let wait = cx.shared.throttle().failed(cx.from, &given.user, clock::monotonic());
            tokio::time::sleep(wait).await;
            Ok(reply::unauthorized())
        }
    }
}

/// `DELETE …/core/apppassword`: the device that signs in signs in no more. Its photos stay.
pub(super) async fn give_back(cx: &Cx<'_>, device: Device) -> Result<Reply, Deny> {
    let pool = std::sync::Arc::clone(&cx.shared.face.pool);
    let label = device.label();
    let revoked = move || match pool.revoke_device(&device.person, &device.name) {
        // A moment ago, by somebody else.
        Ok(()) | Err(Refusal::NotFound) => Ok(()),
        Err(refusal) => Err(Deny::Refused(refusal)),
    };
    upload::blocking(&cx.shared.face.pool, revoked).await?;
    log::info!("{label} gave its password back, from {}", cx.from);
    Ok(ocs(cx, json!({})))
}

/// An answer of which nobody keeps a copy: there may be a password in it.
fn ocs(cx: &Cx<'_>, data: Value) -> Reply {
    let v2 = cx.parts.uri.path().contains("/ocs/v2.php/");
    let mut reply = ocs::envelope(cx.parts, v2, StatusCode::OK, data);
    reply::set(&mut reply, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
