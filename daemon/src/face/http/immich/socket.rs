//! The socket on which the phone app waits for news: Engine.IO 4 and Socket.IO 5 over a WebSocket, which is the one transport the app uses.
//!
//! It is told of photos that were uploaded, so that it need not ask. It learns nothing here that its next question would not tell it.
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, broadcast};

use super::answer::json;
use super::frames::{self, Frame};
use super::telling::{Form, upload_ready};
use crate::face::http::Shared;
use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::upload;
use crate::model::account::{Device, Slug};
use crate::model::uuid::Uuid;

/// Phones that listen at once.
const MOST: usize = 32;
/// News that a slow phone has not heard yet; it misses more than these, and asks.
const NEWS: usize = 32;
/// How often a phone is asked whether it is still there, and how long it has for the answer: until the next time.
const PING: Duration = Duration::from_secs(25);

/// Phones that listen, and what they are told.
pub(in crate::face::http) struct Sockets {
    room: Arc<Semaphore>,
    news: broadcast::Sender<(Slug, Arc<str>)>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(MOST)), news: broadcast::channel(NEWS).0 }
    }
}

/// Tells the phones of a person that a photo came. Nothing depends on it.
pub(super) async fn tell(shared: &Shared, device: &Device, id: Uuid) {
    let sockets = &shared.sockets;
    if sockets.news.receiver_count() == 0 {
        return;
    }
    let form = if shared.face.immich.announced.major >= 3 { Form::V2 } else { Form::V1 };
    let (library, by) = (shared.face.library.clone(), device.clone());
    let made = upload::blocking(&shared.face.pool, move || {
        Ok(library.asset(&by.person, id)?.and_then(|asset| upload_ready(form, &by, &asset)))
    });
    if let Ok(Some(event)) = made.await {
        // Nobody listens any more: then nobody is told.
        let _listeners = sockets.news.send((device.person.clone(), format!("42{event}").into()));
    }
}

/// What Engine.IO answers to what it cannot do.
#[derive(Serialize)]
struct Refused {
    code: u8,
    message: &'static str,
}

fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// Opens a socket.
pub(super) fn open(shared: &Arc<Shared>, device: Device, parts: &Parts) -> Result<Reply, Deny> {
    let asks =
        |wanted: &str| parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == wanted));
    if !asks("EIO=4") {
        let refused = Refused { code: 5, message: "Unsupported protocol version" };
        return Ok(json(StatusCode::BAD_REQUEST, &refused));
    }
    let key = parts.headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).map(str::trim);
    let is_asked = asks("transport=websocket")
        && has(&parts.headers, &UPGRADE, "websocket")
        && has(&parts.headers, &CONNECTION, "upgrade")
        && parts.headers.get("sec-websocket-version").is_some_and(|version| version == "13");
    let upgrade = parts.extensions.get::<OnUpgrade>().cloned();
    let (true, Some(key), Some(upgrade)) = (is_asked, key.filter(|key| frames::is_key(key)), upgrade) else {
        return Ok(json(StatusCode::BAD_REQUEST, &Refused { code: 0, message: "Transport unknown" }));
    };
    let Ok(permit) = Arc::clone(&shared.sockets.room).try_acquire_owned() else {
        return Err(Deny::Status(StatusCode::SERVICE_UNAVAILABLE, "too many phones listen"));
    };
    let mut reply = reply::bare(StatusCode::SWITCHING_PROTOCOLS);
    reply::set(&mut reply, UPGRADE, HeaderValue::from_static("websocket"));
    reply::set(&mut reply, CONNECTION, HeaderValue::from_static("Upgrade"));
    reply::set_text(&mut reply, SEC_WEBSOCKET_ACCEPT, &frames::accept(key));
    let (shared, news) = (Arc::clone(shared), shared.sockets.news.subscribe());
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let ended =
                Socket { io: TokioIo::new(upgraded), is_open: false }.talk(&shared, &device, news).await;
            if let Err(error) = ended {
                log::debug!("a phone listens no longer: {error}");
            }
        }
        drop(permit);
    });
    Ok(reply)
}

/// A phone that listens.
struct Socket<S> {
    io: S,
    /// It said to what it wants to listen; there is one thing.
    is_open: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Opened {
    sid: String,
    upgrades: [(); 0],
    ping_interval: u128,
    ping_timeout: u128,
    max_payload: usize,
}

/// Whether to go on.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Alive,
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    async fn talk(
        mut self,
        shared: &Shared,
        device: &Device,
        mut news: broadcast::Receiver<(Slug, Arc<str>)>,
    ) -> std::io::Result<()> {
        let millis = PING.as_millis();
        let opened = Opened {
            sid: sid(),
            upgrades: [],
            ping_interval: millis,
            ping_timeout: millis,
            max_payload: frames::LONGEST,
        };
        self.say(&format!("0{}", serde_json::to_string(&opened)?)).await?;
        let (mut unread, mut is_alive) = (Vec::new(), true);
        let mut ping = tokio::time::interval(PING);
        ping.tick().await;
        loop {
            tokio::select! {
                read = self.io.read_buf(&mut unread) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    match self.hear(&mut unread).await? {
                        Then::GoOn => {}
                        Then::Alive => is_alive = true,
                        Then::End => return Ok(()),
                    }
                }
                _ = ping.tick() => {
                    if !is_alive || !shared.face.pool.may_sign_in(device) {
                        return self.io.write_all(&frames::close(1001)).await;
                    }
                    is_alive = false;
                    self.say("2").await?;
                }
                // What was missed is found by the next question.
                told = news.recv() => if let Ok((person, event)) = told && self.is_open && person == device.person {
                    self.say(&event).await?;
                },
            }
        }
    }

    async fn say(&mut self, message: &str) -> std::io::Result<()> {
        self.io.write_all(&frames::text(message)).await?;
        self.io.flush().await
    }

    /// Answers whatever came whole.
    async fn hear(&mut self, unread: &mut Vec<u8>) -> std::io::Result<Then> {
        let mut then = Then::GoOn;
        loop {
            let (frame, taken) = match frames::parse(unread) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(then),
                Err(bad) => {
                    log::debug!("a phone listens no longer: it sent {}", bad.0);
                    self.io.write_all(&frames::close(1002)).await?;
                    return Ok(Then::End);
                }
            };
            unread.drain(..taken);
            match frame {
                Frame::Ping(bytes) => self.io.write_all(&frames::pong(&bytes)).await?,
                Frame::Pong => {}
                Frame::Close => {
                    self.io.write_all(&frames::close(1000)).await?;
                    return Ok(Then::End);
                }
                Frame::Text(message) => match self.heed(&message).await? {
                    Then::GoOn => {}
                    Then::Alive => then = Then::Alive,
                    Then::End => return Ok(Then::End),
                },
            }
        }
    }

    /// A packet of Engine.IO, and what it carries of Socket.IO.
    async fn heed(&mut self, message: &str) -> std::io::Result<Then> {
        match message.as_bytes() {
            [b'3', ..] => return Ok(Then::Alive),
            [b'1', ..] | [b'4', b'1', ..] => return Ok(Then::End),
            [b'2', rest @ ..] => self.say(&format!("3{}", String::from_utf8_lossy(rest))).await?,
            // To the one namespace there is; its name comes before what the client says of itself.
            [b'4', b'0'] | [b'4', b'0', b'{', ..] => {
                self.say(&format!("40{{\"sid\":\"{}\"}}", sid())).await?;
                self.is_open = true;
            }
            [b'4', b'0', ..] => self.say("44{\"message\":\"Invalid namespace\"}").await?,
            _ => {}
        }
        Ok(Then::GoOn)
    }
}

/// A number for a connection. It opens nothing: a socket is one connection, and ends with it.
fn sid() -> String {
    format!("{:016x}", RandomState::new().hash_one(0))
}
