//! HTTPS: the handshake, within the bounds of all connections, and who is sent on to it from plain HTTP.
use std::net::IpAddr;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Face;
use super::accept::{Limits, stopped};
use super::hosts::Authority;
use super::reply::{self, Deny, Reply};
use super::route::Route;
use super::silence::Talk;
use crate::model::certificate::is_home;
use crate::work::pool::Pool;

/// What is shown to whoever connects now; `None`: nothing yet.
pub(super) type Source = Arc<dyn Fn() -> Option<Arc<ServerConfig>> + Send + Sync>;

/// As the pool has it.
pub(super) fn source(pool: Arc<Pool>) -> Source {
    Arc::new(move || pool.certificates().served().map(|served| Arc::clone(served.config())))
}

/// Put into requests that came through TLS.
#[derive(Clone)]
pub(super) struct Secured;

/// Whether a request did.
pub(super) fn is_secured(parts: &Parts) -> bool {
    parts.extensions.get::<Secured>().is_some()
}

/// Shakes hands. Until that is done the connection is one that has asked nothing: it has the time of a request's head, ends at a stop, and
/// gives way to others when there is no room. No thread waits for it. `None`: there is nobody to serve.
pub(super) async fn shake(
    stream: TcpStream,
    source: &Source,
    limits: &Limits,
    stop: &mut watch::Receiver<bool>,
    talk: &Talk,
) -> Option<TlsStream<TcpStream>> {
    // The drives, on which keys are, were not there yet: as if nobody listened.
    let config = source()?;
    let shaking = tokio::time::timeout(limits.head_time, TlsAcceptor::from(config).accept(stream));
    let shaken = tokio::select! {
        biased;
        shaken = shaking => shaken,
        () = stopped(stop) => return None,
        () = talk.leaves() => return None,
    };
    match shaken {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            log::debug!("a TLS handshake failed: {error}");
            None
        }
        Err(_) => None,
    }
}

/// Who is sent on from plain HTTP to HTTPS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moving {
    /// Where HTTPS is; `None`: nowhere, and nobody is.
    pub port: Option<u16>,
    /// Also those of the home's own networks.
    pub everybody: bool,
}

impl Moving {
    /// Where somebody is sent who asks from there. Programs on this machine stay: a proxy that ends TLS may be one of them.
    fn of(self, from: IpAddr) -> Option<u16> {
        let stays = if self.everybody { from.is_loopback() } else { is_home(from) };
        self.port.filter(|_| !stays)
    }
}

/// The answer to a request that is to come through TLS and did not. What it takes to trust the box, and how the box is, is told without.
pub(super) fn send_on(
    face: &Face,
    here: &Authority,
    parts: &Parts,
    route: &Route<'_>,
    from: IpAddr,
) -> Result<Option<Reply>, Deny> {
    // A box that is not set up has no certificate yet: that lies on its drives.
    let setting_up =
        matches!(route, Route::Setup | Route::Page) && face.pool.certificates().served().is_none();
    let told_anyway = setting_up || matches!(route, Route::Authority(_) | Route::Health);
    let Some(port) = face.moving.of(from).filter(|_| !here.secure && !told_anyway) else { return Ok(None) };
    if face.pool.certificates().served().is_none() {
        return Err(Deny::Status(StatusCode::SERVICE_UNAVAILABLE, "HTTPS is not ready yet"));
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let to = format!("https://{}:{port}{path}", here.host);
    let mut reply = reply::text(StatusCode::TEMPORARY_REDIRECT, "over HTTPS only");
    reply::set_text(&mut reply, LOCATION, &to);
    // Until the settings are changed, and no longer.
    reply::set(&mut reply, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Some(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_sent_on() {
        let (home, out, own) = ([192, 168, 1, 9], [8, 8, 8, 8], [127, 0, 0, 1]);
        let sent = |port, everybody| {
            [home, out, own].map(|from| Moving { port, everybody }.of(IpAddr::from(from)).is_some())
        };
        assert_eq!(sent(None, true), [false, false, false]);
        assert_eq!(sent(Some(8443), false), [false, true, false]);
        assert_eq!(sent(Some(8443), true), [true, true, false]);
    }
}
