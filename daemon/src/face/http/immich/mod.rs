//! The Immich dialect: what its command line, immich-go and the clients built on its SDK need to send photos and to see what is here, and,
//! where the settings want it, what its phone app needs to back up.
//!
//! A person is a user, a device's token an API key, a folder of the person an album. Made after SDK 3.2; the routes are in [`routes`].
use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::http::request::Parts;

pub(super) use search::Pages;
pub use server::Announced;
pub(super) use socket::Sockets;

use super::Shared;
use super::hosts::Authority;
use super::reply::{self, Deny, Reply};
use super::upload;
use super::webdav;
use crate::model::account::{Device, DeviceKind};
use routes::{App, Call, Open, Own};

mod albums;
mod answer;
mod assets;
mod check;
mod details;
mod form;
mod frames;
mod routes;
mod search;
mod server;
mod signing;
mod socket;
mod sync;
mod telling;
mod thumbnail;
mod users;

const NOTHING: Deny = Deny::Status(StatusCode::NOT_FOUND, "nothing here");
/// A body of JSON: five thousand checksums with long paths.
const MOST_JSON: u64 = 8 << 20;
/// A body of whoever has not signed in.
const MOST_OPEN: u64 = 16 << 10;

/// What clients are told.
#[derive(Debug, Clone, Copy)]
pub struct Immich {
    /// The version.
    pub announced: Announced,
    /// The phone app is answered.
    pub phone_app: bool,
}

/// An example of each request in the table, and whether anybody may make it.
pub(super) fn listed() -> impl Iterator<Item = (&'static str, String, bool)> {
    const SOME: &str = "00000000-0000-4000-8000-000000000000";
    routes::TABLE.iter().map(|line| {
        let one = if line.path.starts_with("/api/assets/") { "{asset}" } else { SOME };
        (line.method, line.path.replace('*', one), matches!(line.call, Call::Open(_)))
    })
}

/// One request of a device.
struct Cx {
    shared: Arc<Shared>,
    device: Device,
    headers: HeaderMap,
}

/// Answers a request for `/.well-known/immich`, or one below `/api`.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    here: Authority,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Reply {
    match respond(shared, here, parts, body, from).await {
        Ok(reply) => reply,
        Err(deny) => answer::denied(&parts.method, &deny),
    }
}

async fn respond(
    shared: &Arc<Shared>,
    here: Authority,
    parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    let (line, argument) = routes::find(&parts.method, parts.uri.path()).ok_or(NOTHING)?;
    let face = &shared.face;
    let call = match line.call {
        Call::Open(call) => return open(shared, call, body, from).await,
        Call::Upload => {
            let device = signing::sign_in(shared, &parts.headers, from).await?;
            let cx = Cx { shared: Arc::clone(shared), device, headers: parts.headers.clone() };
            return form::upload(cx, body).await;
        }
        Call::App(_) if !face.immich.phone_app => return Err(NOTHING),
        Call::App(call) => return app(shared, here, parts, (call, argument), body, from).await,
        Call::Device(call) => call,
    };
    let device = signing::sign_in(shared, &parts.headers, from).await?;
    let text = upload::collect(body.take(), MOST_JSON, face.limits.body_idle).await?;
    let (library, announced) = (face.library.clone(), face.immich.announced);
    let (pages, phone_app) = (Arc::clone(shared), face.immich.phone_app);
    let (own, headers) = (Arc::clone(face), parts.headers.clone());
    let (query, argument) = (parts.uri.query().map(str::to_owned), argument.unwrap_or_default().to_owned());
    upload::blocking(&face.pool, move || {
        let (query, argument) = (query.as_deref(), argument.as_str());
        match call {
            Own::Logout => signing::logout(&library, &device, phone_app),
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
            Own::Search => search::metadata(&library, &pages.pages, &device, &text),
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
        Open::Version => server::version(face.immich.announced),
        Open::VersionHistory => server::version_history(face.immich.announced),
        Open::Features => server::features(),
        Open::Config => server::config(),
        Open::MediaTypes => server::media_types(),
        Open::Login => {
            let text = upload::collect(body.take(), MOST_OPEN, face.limits.body_idle).await?;
            signing::login(shared, from, &text).await?
        }
    })
}

/// What only the phone app asks.
async fn app(
    shared: &Arc<Shared>,
    here: Authority,
    parts: &Parts,
    (call, argument): (App, Option<&str>),
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    let face = &shared.face;
    let device = signing::sign_in(shared, &parts.headers, from).await?;
    if call == App::Socket {
        return socket::open(shared, device, parts);
    }
    let text = upload::collect(body.take(), MOST_JSON, face.limits.body_idle).await?;
    let (library, argument) = (face.library.clone(), argument.unwrap_or_default().to_owned());
    let (shared, head) = (Arc::clone(shared), parts.clone());
    upload::blocking(&face.pool, move || match call {
        App::Stream => sync::stream(&library, &device, &text),
        App::Heard => sync::heard(&library, &device),
        App::Hear => sync::hear(&library, &device, &text),
        App::Unhear => sync::unhear(&library, &device, &text),
        App::User => users::one(&library, &device, &argument),
        App::Change => assets::change(&library, &device, &argument, &text),
        App::ChangeMany => assets::change_many(&library, &device, &text),
        App::Original => {
            let path = assets::find(&library, &device, &argument)?.path;
            // It may read whatever its person has, as everywhere in this dialect.
            let reader = Device { kind: DeviceKind::Computer, ..device };
            webdav::download(&shared, reader, here, &head, path)
        }
        App::Nothing(answer) => Ok(reply::whole(StatusCode::OK, answer::JSON, answer)),
        App::Socket => Err(NOTHING),
    })
    .await
}
