//! The accept loop: how many connections, how long each may take, and how they end.
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::TRANSFER_ENCODING;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::reply::{self, Reply};
use super::silence::{Silences, Talk};
use super::tls;
use super::wire::Wire;
use crate::os::clock;

/// What one client, and all of them together, may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Connections at once from one address; more are closed.
    pub per_address: usize,
    /// Time for a request's head, also the time a connection may lie idle between requests.
    pub head_time: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// How long the next piece of a body may be on its way, in either direction.
    pub body_idle: Duration,
    /// The longest piece of a body that is taken at once.
    pub piece: usize,
    /// How long requests in flight may go on when the daemon stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            per_address: 32,
            head_time: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            headers: 64,
            body_idle: Duration::from_secs(60),
            piece: 128 * 1024,
            drain: Duration::from_secs(20),
        }
    }
}

/// At least this often the loop reports that it is alive. Seldom: it wakes a box that has nothing else to do.
const BEAT: Duration = Duration::from_secs(30);
/// So long after the last connection ended, what serving took is given back. Not at once: programs that open one after the
/// other would pay for it each time.
const AT_REST: Duration = Duration::from_secs(2);
/// The pause after an `accept` that failed for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(200);

/// Who may come in, over all listeners together.
#[derive(Clone)]
pub(super) struct House {
    limits: Limits,
    room: Arc<Semaphore>,
    guests: Guests,
    silences: Silences,
}

impl House {
    /// An empty one.
    pub(super) fn new(limits: Limits) -> Self {
        let room = Arc::new(Semaphore::new(limits.connections));
        Self { room, guests: Guests::default(), silences: Silences::default(), limits }
    }
}

/// What a listener speaks.
#[derive(Clone)]
pub(super) enum Speech {
    /// HTTP.
    Plain,
    /// HTTPS, with whatever is to be shown when a connection comes.
    Tls(tls::Source),
}

/// Serves connections until `stop` becomes true, then lets those in flight end.
pub(super) async fn run<H, F>(
    (listener, speech): (TcpListener, Speech),
    house: House,
    mut stop: watch::Receiver<bool>,
    beat: impl Fn() + Send,
    at_rest: impl Fn() + Clone + Send + 'static,
    handler: H,
) -> io::Result<()>
where
    H: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let House { limits, room, guests, silences } = house;
    let mut open = JoinSet::new();
    let mut turn = tokio::time::interval_at(clock::next_turn(BEAT).into(), BEAT);
    let (mut rest, mut door) = (None, None);
    loop {
        beat();
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            _ = turn.tick() => continue,
            Some(_) = open.join_next() => {
                rest = open.is_empty().then(|| clock::monotonic() + AT_REST);
                continue;
            }
            () = tokio::time::sleep_until(rest.unwrap_or_else(clock::monotonic).into()), if rest.is_some() => {
                rest = None;
                // It may wait for the catalogue.
                drop(tokio::task::spawn_blocking(at_rest.clone()));
                continue;
            }
            accepted = accept(&listener, &mut door, &room, &silences) => accepted,
        };
        match accepted {
            Ok((stream, from, permit)) => {
                let (limits, stop, handler) = (limits.clone(), stop.clone(), handler.clone());
                let (guests, silences, speech) = (guests.clone(), silences.clone(), speech.clone());
                keep_alive(&stream);
                rest = None;
                open.spawn(async move {
                    match (guests.wait(from, limits.per_address).await, speech) {
                        (Some(_guest), Speech::Plain) => {
                            connection(stream, from, limits, stop, silences.enter(), handler).await
                        }
                        (Some(_guest), Speech::Tls(source)) => {
                            let (talk, mut stopping) = (silences.enter(), stop.clone());
                            let shaken = tls::shake(stream, &source, &limits, &mut stopping, &talk).await;
                            if let Some(stream) = shaken {
                                connection(stream, from, limits, stop, talk, handler).await;
                            }
                        }
                        (None, Speech::Plain) => send_away(stream).await,
                        // Whoever waits for a handshake can read no answer.
                        (None, Speech::Tls(_)) => {}
                    }
                    drop(permit);
                });
            }
            // Out of descriptors or memory (accept(2)): the queue stays as it is, so asking again at once would spin.
            Err(error) if !is_about_one_connection(&error) => {
                log::warn!("could not accept a connection: {error}");
                tokio::time::sleep(BREATH).await;
            }
            Err(_) => {}
        }
    }
    drop(listener);
    // Every connection knows about `stop` and ends within `drain`; a little more, and what is left is cut off.
    let ended = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain + Duration::from_secs(1), ended).await.is_err() {
        log::warn!("connections were cut off at the stop");
    }
    Ok(())
}

type Accepted = (TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection that there is room for. The one that waits at the door stays there when this is dropped.
async fn accept(
    listener: &TcpListener,
    door: &mut Option<(TcpStream, IpAddr)>,
    room: &Arc<Semaphore>,
    silences: &Silences,
) -> io::Result<Accepted> {
    if door.is_none() {
        let (stream, from) = listener.accept().await?;
        *door = Some((stream, from.ip().to_canonical()));
    }
    let closed = || io::Error::other("the house is closed");
    let permit = silences.room(room).await.ok_or_else(closed)?;
    let (stream, from) = door.take().ok_or_else(closed)?;
    Ok((stream, from, permit))
}

/// Errors that concern a connection which is gone already, not the listener (accept(2), "Error handling").
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Returns when it is time to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone can no longer say stop: whoever held it has stopped.
    let _gone = stop.wait_for(|stop| *stop).await.is_err();
}

/// One connection, over whatever carries its bytes.
pub(super) async fn connection<S, H, F>(
    stream: S,
    from: IpAddr,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    talk: Talk,
    handler: H,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let ambiguous = Arc::new(AtomicBool::new(false));
    let wire = Wire::new(stream, ambiguous.clone(), limits.body_idle);
    let talk = Arc::new(talk);
    let asked = Arc::new(AtomicBool::new(false));
    let (talks, asks) = (Arc::clone(&talk), Arc::clone(&asked));
    let service = service_fn(move |request: Request<Incoming>| {
        talks.asks();
        asks.store(true, Ordering::Relaxed);
        let talk = Arc::clone(&talks);
        let answer = (!ambiguous.load(Ordering::Relaxed)).then(|| {
            let last = request.headers().contains_key(TRANSFER_ENCODING);
            (handler(request, from), last)
        });
        async move {
            let Some((answer, last)) = answer else {
                let reply = reply::text(StatusCode::BAD_REQUEST, "this request can be read in two ways");
                return Ok::<_, Infallible>(reply::close(reply));
            };
            let reply = answer.await;
            talk.is_answered();
            // RFC 9112 §6.1; and `Wire` does not look for heads behind a chunked body.
            Ok(if last { reply::close(reply) } else { reply })
        }
    });
    let connection = http1::Builder::new()
        .timer(super::alarm::Alarms::default())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.headers)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.piece)
        .keep_alive(true)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.drain, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
        // Silent, and others wait: nothing was asked, or what was is answered first.
        () = talk.leaves() => {
            if !asked.load(Ordering::Relaxed) {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!("a connection ended early: {error}");
    }
}

/// Lets the kernel find out about peers that vanished: first question after 60 s, then every 10 s, six in all.
fn keep_alive(stream: &TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    let set = setsockopt(stream, sockopt::KeepAlive, &true)
        .and_then(|()| setsockopt(stream, sockopt::TcpKeepIdle, &60))
        .and_then(|()| setsockopt(stream, sockopt::TcpKeepInterval, &10))
        .and_then(|()| setsockopt(stream, sockopt::TcpKeepCount, &6));
    if let Err(error) = set {
        log::debug!("could not set keep-alive: {error}");
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Guests {
    present: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of an address, counted until it is dropped.
struct Guest {
    guests: Guests,
    from: IpAddr,
}

/// Tells a client that has too many connections to come back. What it sent meanwhile is read for a moment: closing on unread
/// bytes resets the connection, and the answer would be lost with it (RFC 9112 §9.6).
async fn send_away(mut stream: TcpStream) {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let said = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Whoever goes on sending for longer has had his answer.
    let _ended = tokio::time::timeout(Duration::from_secs(1), said).await;
}

impl Guests {
    /// A place of this address's share, perhaps in a moment: a connection that was closed may not be known to be yet.
    async fn wait(&self, from: IpAddr, most: usize) -> Option<Guest> {
        const MOMENT: Duration = Duration::from_millis(50);
        for _ in 0..20 {
            if let Some(guest) = self.admit(from, most) {
                return Some(guest);
            }
            tokio::time::sleep(MOMENT).await;
        }
        None
    }

    fn admit(&self, from: IpAddr, most: usize) -> Option<Guest> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let count = present.entry(from).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Guest { guests: self.clone(), from })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut present = self.guests.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = present.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                present.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests;
