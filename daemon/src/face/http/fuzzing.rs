//! What must hold for any bytes on a connection: nobody can be made to read two requests where we read one.
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::Request;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

pub use super::multipart::form;
use super::silence::Silences;
pub use super::sumu::sumu_part;
pub use super::webdav::fuzzing::{condition, range, request_path, xml};
use super::{Limits, accept, reply, upload};

/// A request as one party reads it: method, target, body.
type Seen = (String, String, Vec<u8>);

const MOST: u64 = 16 * 1024;
/// Answers to that many bytes of requests fit in here: nobody waits for the client to read.
const ROOM: usize = 1024 * 1024;
/// A connection that has not moved for so many turns waits for more.
const AT_REST: usize = 8;

/// Bodies: what is answered was framed in one way only, in however many pieces it arrives. The first byte says in how many.
pub fn framing(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    if stream.len() as u64 > MOST {
        return;
    }
    let strict = strict(stream);
    for piece in [stream.len().max(1), usize::from(*piece) + 1] {
        let served = served(stream, piece);
        // Fewer may be served: whatever follows an ambiguous head, and what came in the same piece before it.
        for (number, one) in served.iter().enumerate() {
            assert_eq!(Some(one), strict.get(number), "request {number} can be read in two ways");
        }
    }
}

thread_local! {
    static RUNTIME: RefCell<Option<tokio::runtime::Runtime>> = RefCell::default();
}

/// The requests that the server takes from a stream, with whole bodies.
fn served(stream: &[u8], piece: usize) -> Vec<Seen> {
    RUNTIME.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = tokio::runtime::Builder::new_current_thread().enable_time().build().ok();
        }
        slot.as_ref().map(|runtime| runtime.block_on(serve(stream, piece))).unwrap_or_default()
    })
}

async fn serve(stream: &[u8], piece: usize) -> Vec<Seen> {
    let (mut client, server) = tokio::io::duplex(ROOM);
    let (_stop, stopped) = watch::channel(false);
    let taken = Arc::new(Mutex::new(Vec::new()));
    let limits = Limits::default();
    let (noted, sent, idle) = (taken.clone(), taken.clone(), limits.body_idle);
    let handler = move |request: Request<Incoming>, _| {
        let noted = noted.clone();
        async move {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            match upload::collect(Some(request.into_body()), MOST, idle).await {
                Ok(body) => {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push((method, target, body));
                    reply::bare(hyper::StatusCode::NO_CONTENT)
                }
                Err(deny) => reply::deny(&hyper::Method::PUT, &deny),
            }
        }
    };
    let send = async move {
        for piece in stream.chunks(piece) {
            if client.write_all(piece).await.is_err() {
                break;
            }
            at_rest(&sent).await;
        }
        // hyper gives up on who hangs up before the answer: only now.
        drop(client.shutdown().await);
        client
    };
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (client, ()) = tokio::join!(
        send,
        accept::connection(server, from, limits, stopped, Silences::default().enter(), handler)
    );
    drop(client);
    std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn at_rest(taken: &Mutex<Vec<Seen>>) {
    let count = || taken.lock().unwrap_or_else(PoisonError::into_inner).len();
    let (mut before, mut turns) = (count(), 0);
    while turns < AT_REST {
        tokio::task::yield_now().await;
        let now = count();
        turns = if now == before { turns + 1 } else { 0 };
        before = now;
    }
}

/// The same stream as a strict reader of RFC 9112 has it, up to the first thing that it would refuse.
fn strict(mut stream: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some((one, rest, last)) = request(stream) {
        all.push(one);
        stream = rest;
        if last {
            break;
        }
    }
    all
}

/// One line, and what follows it. A bare LF may end a line (RFC 9112 §2.2).
fn line(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = stream.iter().position(|b| *b == b'\n')?;
    let line = &stream[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &stream[end + 1..]))
}

fn request(mut stream: &[u8]) -> Option<(Seen, &[u8], bool)> {
    let first = loop {
        let (first, rest) = line(stream)?;
        stream = rest;
        if !first.is_empty() {
            break std::str::from_utf8(first).ok()?;
        }
    };
    let mut words = first.split(' ');
    let (method, target, _version) = (words.next()?, words.next()?, words.next()?);
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    loop {
        let (header, rest) = line(stream)?;
        stream = rest;
        if header.is_empty() {
            break;
        }
        let colon = header.iter().position(|b| *b == b':')?;
        let (name, value) = (&header[..colon], header[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths.push(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings.push(value);
        }
    }
    let seen = |body: &[u8]| (method.to_owned(), target.to_owned(), body.to_vec());
    match (&lengths[..], &codings[..]) {
        ([], []) => Some((seen(&[]), stream, false)),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
            let (body, rest) = stream.split_at_checked(length)?;
            Some((seen(body), rest, false))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => {
            Some((seen(&chunks(stream)?), &[], true))
        }
        (_, _) => None,
    }
}

/// A chunked body (RFC 9112 §7.1), whole.
fn chunks(mut stream: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (head, rest) = line(stream)?;
        let digits = head.split(|b| *b == b';').next()?.trim_ascii_end();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            stream = rest;
            break;
        }
        let (chunk, rest) = rest.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        stream = rest.strip_prefix(b"\r\n")?;
    }
    loop {
        let (trailer, rest) = line(stream)?;
        stream = rest;
        if trailer.is_empty() {
            return Some(body);
        }
    }
}
