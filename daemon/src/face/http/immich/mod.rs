//! The Immich dialect: what its command line, immich-go and the clients built on its SDK need to send photos and to see what is here.
//!
//! A person is a user, a device's token an API key, a folder of the person an album. Made after SDK 3.2; the routes are in [`routes`].
use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::http::request::Parts;

pub use server::Announced;

use super::Shared;
use super::reply::{Deny, Reply};
use super::upload;
use crate::model::account::Device;
use routes::{Call, Open, Own};

mod albums;
mod answer;
mod assets;
mod check;
mod form;
mod routes;
mod search;
mod server;
mod signing;
mod thumbnail;
mod users;

/// A body of JSON: five thousand checksums with long paths.
const MOST_JSON: u64 = 8 << 20;
/// A body of whoever has not signed in.
const MOST_OPEN: u64 = 16 << 10;

/// One request of a device.
struct Cx {
    shared: Arc<Shared>,
    device: Device,
    headers: HeaderMap,
}

/// Answers a request for `/.well-known/immich`, or one below `/api`.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Reply {
    match respond(shared, parts, body, from).await {
        Ok(reply) => reply,
        Err(deny) => answer::denied(&parts.method, &deny),
    }
}

async fn respond(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    const NOTHING: Deny = Deny::Status(StatusCode::NOT_FOUND, "nothing here");
    let (line, argument) = routes::find(&parts.method, parts.uri.path()).ok_or(NOTHING)?;
    let face = &shared.face;
    let call = match line.call {
        Call::Open(call) => return open(shared, call, body, from).await,
        Call::Upload => {
            let device = signing::sign_in(shared, &parts.headers, from).await?;
            let cx = Cx { shared: Arc::clone(shared), device, headers: parts.headers.clone() };
            return form::upload(cx, body).await;
        }
        Call::Device(call) => call,
    };
    let device = signing::sign_in(shared, &parts.headers, from).await?;
    let text = upload::collect(body.take(), MOST_JSON, face.limits.body_idle).await?;
    let (library, announced) = (face.library.clone(), face.immich);
    let (own, headers) = (Arc::clone(face), parts.headers.clone());
    let (query, argument) = (parts.uri.query().map(str::to_owned), argument.unwrap_or_default().to_owned());
    upload::blocking(&face.pool, move || {
        let (query, argument) = (query.as_deref(), argument.as_str());
        match call {
            Own::Logout => Ok(signing::logout()),
            Own::ValidateToken => Ok(signing::validated()),
            Own::About => Ok(server::about(announced)),
            Own::Storage => server::storage(&library),
            Own::Me => users::me(&library, &device),
            Own::Users => users::all(&library, &device),
            Own::ApiKey => users::api_key(&library, &device),
            Own::Statistics => assets::statistics(&library, &device),
            Own::BulkCheck => check::bulk(&library, &device, &text),
            Own::Exist => check::exist(&library, &device, &text),
            Own::Trash => assets::trash(&library, &device, &text),
            Own::Asset => assets::one(&library, &device, argument),
            Own::Thumbnail => thumbnail::of(&own, &device, (argument, query), &headers),
            Own::Search => search::metadata(&library, &device, &text),
            Own::Albums => albums::all(&library, &device, query),
            Own::MakeAlbum => albums::make(&library, &device, &text),
            Own::AlbumStatistics => albums::statistics(&library, &device),
            Own::Album => albums::one(&library, &device, argument),
            Own::AddToAlbum => albums::add(&library, &device, argument, &text),
            Own::TakeFromAlbum => albums::take(&library, &device, argument, &text),
            Own::AddToAlbumNamed => albums::add_named(&library, &device, argument, &text),
            Own::Job => Ok(server::job()),
        }
    })
    .await
}

async fn open(shared: &Shared, call: Open, body: &mut Option<Incoming>, from: IpAddr) -> Result<Reply, Deny> {
    let face = &shared.face;
    Ok(match call {
        Open::WellKnown => server::well_known(),
        Open::Ping => server::ping(),
        Open::Version => server::version(face.immich),
        Open::VersionHistory => server::version_history(face.immich),
        Open::Features => server::features(),
        Open::Config => server::config(),
        Open::MediaTypes => server::media_types(),
        Open::Login => {
            let text = upload::collect(body.take(), MOST_OPEN, face.limits.body_idle).await?;
            signing::login(shared, from, &text).await?
        }
    })
}
