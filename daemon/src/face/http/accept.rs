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
const BEAT: Duration = Duration::from_secs(20);
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

/// Serves connections until `stop` becomes true, then lets those in flight end.
pub(super) async fn run<H, F>(
    listener: TcpListener,
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
    let mut turn = tokio::time::interval(BEAT);
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
                let (guests, silences) = (guests.clone(), silences.clone());
                keep_alive(&stream);
                rest = None;
                open.spawn(async move {
                    match guests.wait(from, limits.per_address).await {
                        Some(_guest) => {
                            connection(stream, from, limits, stop, silences.enter(), handler).await
                        }
                        None => send_away(stream).await,
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

async fn stopped(stop: &mut watch::Receiver<bool>) {
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
mod tests {
    use super::super::upload;
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// A server that answers with the length of the body, after `wait`.
    struct Server {
        port: u16,
        stop: watch::Sender<bool>,
        beats: Arc<AtomicUsize>,
        ended: tokio::task::JoinHandle<io::Result<()>>,
    }

    async fn server(limits: Limits, wait: Duration) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = watch::channel(false);
        let beats = Arc::new(AtomicUsize::new(0));
        let counted = beats.clone();
        let idle = limits.body_idle;
        let handler = move |request: Request<Incoming>, _| async move {
            let collected = upload::collect(Some(request.into_body()), 1 << 20, idle).await;
            tokio::time::sleep(wait).await;
            match collected {
                Ok(body) if body == b"much" => reply::whole(StatusCode::OK, "text/plain", vec![0; 64 << 20]),
                Ok(body) => reply::text(StatusCode::OK, &format!("{} bytes", body.len())),
                Err(deny) => reply::deny(&hyper::Method::PUT, &deny),
            }
        };
        let beat = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let ended = tokio::spawn(run(listener, House::new(limits), stopped, beat, || (), handler));
        Server { port, stop, beats, ended }
    }

    impl Server {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
        }

        /// Sends bytes and reads until the server closes.
        async fn talk(&self, request: &str) -> String {
            let mut stream = self.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            read(&mut stream).await
        }
    }

    async fn read(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        // A reset after the answer is as good as an end.
        let _end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
            .await
            .expect("the server closes");
        String::from_utf8(answer).unwrap()
    }

    fn run_test(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn requests_with_two_framings_are_refused_and_the_connection_ends() {
        run_test(async {
            let server = server(Limits::default(), Duration::ZERO).await;
            for head in [
                "Content-Length: 5\r\nTransfer-Encoding: chunked",
                "Transfer-Encoding: chunked\r\nContent-Length: 5",
                "Content-Length: 5\r\nContent-Length: 5",
                "Content-Length: 5\r\nContent-Length: 6",
                "Content-Length: +5",
                "Content-Length: 5, 5",
                "Content-Length: 18446744073709551616",
                "Transfer-Encoding: gzip",
                "Transfer-Encoding: chunked, identity",
                "Content-Length : 5",
                "Host: b\r\n X: folded",
            ] {
                let answer = server.talk(&format!("PUT /a HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\nhello")).await;
                assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
                assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head}");
            }
            for chunk in
                ["FFFFFFFFFFFFFFFFF\r\nhello", "-5\r\nhello", "+5\r\nhello\r\n0\r\n\r\n", "5 5\r\nhello"]
            {
                let head = "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
                let answer = server.talk(&format!("{head}{chunk}")).await;
                assert!(answer.starts_with("HTTP/1.1 400 "), "{chunk}: {answer}");
            }
            let answer = server.talk("PUT /a#b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        });
    }

    #[test]
    fn ordinary_requests_share_a_connection_and_chunked_ones_end_it() {
        run_test(async {
            let server = server(Limits::default(), Duration::ZERO).await;
            let answer = server
                .talk(
                    "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
                     PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                     PUT /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                )
                .await;
            assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
            assert!(answer.contains("5 bytes") && answer.contains("3 bytes"), "{answer}");
        });
    }

    #[test]
    fn heads_are_bounded_in_size_number_and_time() {
        run_test(async {
            let limits = Limits { head_time: Duration::from_millis(200), ..Limits::default() };
            let server = server(limits, Duration::ZERO).await;
            let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(17 * 1024));
            assert!(server.talk(&long).await.starts_with("HTTP/1.1 431 "));
            let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(64));
            assert!(server.talk(&many).await.starts_with("HTTP/1.1 431 "));
            assert!(!server.talk("GET / HTTP/1.1\r\nHost").await.contains("200"));
            assert_eq!(server.talk("").await, "");
        });
    }

    #[test]
    fn a_body_that_stops_coming_is_given_up() {
        run_test(async {
            let limits = Limits { body_idle: Duration::from_millis(200), ..Limits::default() };
            let server = server(limits, Duration::ZERO).await;
            let answer = server.talk("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel").await;
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        });
    }

    #[test]
    fn a_reader_that_stands_still_is_given_up() {
        run_test(async {
            let limits = Limits { body_idle: Duration::from_millis(200), ..Limits::default() };
            let server = server(limits, Duration::ZERO).await;
            let mut stream = server.connect().await;
            let request = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nmuch";
            stream.write_all(request).await.unwrap();
            tokio::time::sleep(Duration::from_millis(600)).await;
            let mut came = Vec::new();
            let _end =
                tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut came)).await.unwrap();
            assert!(came.len() < 64 << 20, "what the kernel holds, and no more");
        });
    }

    #[test]
    fn one_address_gets_its_share_and_no_more() {
        run_test(async {
            let limits = Limits { per_address: 2, ..Limits::default() };
            let server = server(limits, Duration::ZERO).await;
            let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let (first, second) = (server.connect().await, server.connect().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut third = server.connect().await;
            third.write_all(request.as_bytes()).await.unwrap();
            let answer = read(&mut third).await;
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 2"), "{answer}");
            drop((first, second));
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(server.talk(request).await.starts_with("HTTP/1.1 200 "));
        });
    }

    #[test]
    fn connections_are_counted_over_all_listeners() {
        run_test(async {
            let house = House::new(Limits { per_address: 1, ..Limits::default() });
            let (_stop, stopped) = watch::channel(false);
            let mut at = Vec::new();
            for _ in 0..2 {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                at.push(listener.local_addr().unwrap());
                let handler = |_, _| async { reply::text(StatusCode::OK, "here") };
                tokio::spawn(run(listener, house.clone(), stopped.clone(), || (), || (), handler));
            }
            let _first = TcpStream::connect(at[0]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut second = TcpStream::connect(at[1]).await.unwrap();
            second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
            assert!(read(&mut second).await.starts_with("HTTP/1.1 503 "));
        });
    }

    #[test]
    fn a_full_house_waits_and_still_beats() {
        run_test(async {
            let limits =
                Limits { connections: 1, head_time: Duration::from_millis(300), ..Limits::default() };
            let server = server(limits, Duration::ZERO).await;
            let idle = server.connect().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            // Waits until the idle one has run out of time.
            let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            assert!(server.talk(request).await.starts_with("HTTP/1.1 200 "));
            assert!(server.beats.load(Ordering::Relaxed) >= 2);
            drop(idle);
        });
    }

    /// An upload that stops, and a download that nobody reads, for longer than silence is borne with.
    #[test]
    fn whoever_is_in_the_middle_of_a_body_does_not_give_way() {
        run_test(async {
            let server =
                Arc::new(server(Limits { connections: 1, ..Limits::default() }, Duration::ZERO).await);
            let newcomer = || {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    server.talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await
                })
            };
            let mut slow = server.connect().await;
            slow.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let waits = newcomer();
            tokio::time::sleep(Duration::from_millis(1200)).await;
            slow.write_all(b"llo").await.unwrap();
            assert!(read(&mut slow).await.contains("5 bytes") && waits.await.unwrap().contains("200 OK"));
            let mut slow = server.connect().await;
            slow.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nmuch").await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let waits = newcomer();
            tokio::time::sleep(Duration::from_millis(1200)).await;
            assert!(read(&mut slow).await.len() > 64 << 20);
            assert!(waits.await.unwrap().starts_with("HTTP/1.1 200 "));
        });
    }

    #[test]
    fn a_stop_lets_requests_in_flight_end() {
        run_test(async {
            let server = server(Limits::default(), Duration::from_millis(500)).await;
            let mut busy = server.connect().await;
            busy.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
            let mut idle = server.connect().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.stop.send(true).unwrap();
            assert_eq!(read(&mut idle).await, "");
            let answer = read(&mut busy).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            server.ended.await.unwrap().unwrap();
            assert!(TcpStream::connect(("127.0.0.1", server.port)).await.is_err());
        });
    }

    #[test]
    fn a_stop_waits_only_so_long() {
        run_test(async {
            let limits = Limits { drain: Duration::from_millis(200), ..Limits::default() };
            let server = server(limits, Duration::from_secs(60)).await;
            let mut stuck = server.connect().await;
            stuck.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.stop.send(true).unwrap();
            tokio::time::timeout(Duration::from_secs(5), server.ended).await.unwrap().unwrap().unwrap();
        });
    }
}
