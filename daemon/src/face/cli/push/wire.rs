//! HTTP, as a client: one connection of one worker's own, kept from request to request.
//!
//! hyper's client on a runtime of one thread (docs/decisions/0025): answers are read while a body is still being sent, so that a refusal
//! is heard where a plain socket would only be reset. Bodies are read from their files here, on the worker's own thread, which
//! nobody else waits for.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig};

use super::address::Address;
use super::trouble::Trouble;

const CONNECTING: Duration = Duration::from_secs(15);
/// A connection on which nothing has moved for so long is dead. A box may wait a minute for a drive before it answers.
const STILL: Duration = Duration::from_secs(120);
/// Read from a file at once.
const PIECE: u64 = 256 << 10;
/// Answers are short; a longer one is not the box's.
const LONGEST_ANSWER: usize = 16 << 20;
/// Of an answer's words, so many characters are shown.
const WORDS: usize = 300;

/// A part of a file as the body of a request.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) file: Arc<File>,
    pub(super) from: u64,
    pub(super) length: u64,
    /// Counts what was sent, over all requests of a file.
    pub(super) sent: Arc<AtomicU64>,
}

/// What is sent with a request.
#[derive(Debug, Clone)]
pub(super) enum Sending {
    Nothing,
    Text(String),
    File(Stretch),
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer, if it is a success.
    pub(super) fn success(self) -> Result<Self, Trouble> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let after =
            self.header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        Err(Trouble::answered(self.status, &words(&self.text()), after))
    }
}

/// What an error says for people: plain text, or the message within XML.
fn words(text: &str) -> String {
    let message =
        |text: &str| Some(text.split_once("<s:message>")?.1.split_once("</s:message>")?.0.to_owned());
    let said = message(text)
        .unwrap_or_else(|| if text.trim_start().starts_with('<') { String::new() } else { text.to_owned() });
    let said = said
        .replace("&apos;", "'")
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS).collect()
}

/// A connection to the box, made when it is needed.
pub(super) struct Wire {
    runtime: Runtime,
    address: Address,
    authorization: HeaderValue,
    /// Whom the other side has to prove to be.
    trust: Option<Arc<ClientConfig>>,
    open: Option<SendRequest<Outgoing>>,
}

impl Wire {
    pub(super) fn new(
        address: Address,
        authorization: HeaderValue,
        trust: Option<Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, address, authorization, trust, open: None })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends one request, and waits for its whole answer. A connection that was kept and is dead is replaced at once: every request
    /// here may be repeated.
    pub(super) fn ask(
        &mut self,
        head: &dyn Fn(Builder) -> Builder,
        sending: &Sending,
    ) -> Result<Answer, Trouble> {
        let kept = self.open.is_some();
        let before = progress(sending);
        match self.ask_once(head, sending) {
            Err(Trouble::Wait { .. }) if kept && progress(sending) == before => self.ask_once(head, sending),
            done => done,
        }
    }

    fn ask_once(&mut self, head: &dyn Fn(Builder) -> Builder, sending: &Sending) -> Result<Answer, Trouble> {
        let broke = Arc::default();
        let body = Outgoing::new(sending, &broke);
        let builder = Request::builder()
            .header(HOST, self.address.authority())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(USER_AGENT, concat!("shoebox/", env!("CARGO_PKG_VERSION")));
        let request = head(builder)
            .body(body)
            .map_err(|e| Trouble::Failed(format!("could not make a request: {e}")))?;
        let (address, trust, open) = (self.address.clone(), self.trust.clone(), self.open.take());
        let done = self.runtime.block_on(async {
            let mut connection = match open.filter(|open| !open.is_closed()) {
                Some(open) => open,
                None => connect(&address, trust).await?,
            };
            let answer = exchange(&mut connection, request, sending).await?;
            Ok((answer, connection))
        });
        match done {
            Ok((answer, connection)) => {
                // What was refused before all of its body was sent leaves a connection in the middle of it.
                let is_all_sent = (200..300).contains(&answer.status) || !matches!(sending, Sending::File(_));
                self.open = Some(connection).filter(|_| is_all_sent);
                Ok(answer)
            }
            Err(trouble) => Err(reading(&broke, sending).unwrap_or(trouble)),
        }
    }
}

/// Where what is sent was got to.
fn progress(sending: &Sending) -> u64 {
    match sending {
        Sending::File(stretch) => stretch.sent.load(Ordering::Relaxed),
        Sending::Nothing | Sending::Text(_) => 0,
    }
}

type Broke = Arc<Mutex<Option<io::Error>>>;

/// What failed here, where that is why the connection broke.
fn reading(broke: &Broke, sending: &Sending) -> Option<Trouble> {
    let error = broke.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    match sending {
        Sending::File(_) => Some(Trouble::reading(std::path::Path::new("it"), &error)),
        Sending::Nothing | Sending::Text(_) => None,
    }
}

async fn connect(
    address: &Address,
    trust: Option<Arc<ClientConfig>>,
) -> Result<SendRequest<Outgoing>, Trouble> {
    let to = address.authority();
    let failed = |e: &dyn std::fmt::Display| Trouble::network(&format!("could not reach {to}"), e);
    let connecting = TcpStream::connect((address.host(), address.port()));
    let stream = match tokio::time::timeout(CONNECTING, connecting).await {
        Ok(connected) => connected.map_err(|e| failed(&e))?,
        Err(_) => return Err(failed(&"no answer")),
    };
    stream.set_nodelay(true).map_err(|e| failed(&e))?;
    let Some(trust) = trust else { return speak(stream, &to).await };
    let name = ServerName::try_from(address.host().to_owned()).map_err(|e| failed(&e))?;
    let shaking = TlsConnector::from(trust).connect(name, stream);
    match tokio::time::timeout(CONNECTING, shaking).await {
        Ok(Ok(stream)) => speak(stream, &to).await,
        Ok(Err(e)) if is_an_impostors(&e) => {
            Err(Trouble::Impostor(format!("what answers at {to} does not prove to be the box: {e}")))
        }
        Ok(Err(e)) => Err(failed(&e)),
        Err(_) => Err(failed(&"no answer")),
    }
}

/// Whether a certificate was shown that does not fit. Nothing was said to whoever showed it.
fn is_an_impostors(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    to: &str,
) -> Result<SendRequest<Outgoing>, Trouble> {
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|e| Trouble::network(&format!("could not reach {to}"), e))?;
    // Ends with the connection; what breaks it is told to the request.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn exchange(
    connection: &mut SendRequest<Outgoing>,
    request: Request<Outgoing>,
    sending: &Sending,
) -> Result<Answer, Trouble> {
    let lost = |e: hyper::Error| Trouble::network("the connection broke", e);
    connection.ready().await.map_err(lost)?;
    let answer = moving(connection.send_request(request), sending).await?.map_err(lost)?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = moving(collect(answer), sending).await??;
    Ok(Answer { status, headers, body })
}

async fn collect(answer: Response<Incoming>) -> Result<Vec<u8>, Trouble> {
    let mut body = answer.into_body();
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Trouble::network("the answer broke off", e))?;
        all.extend(frame.data_ref().into_iter().flatten());
        if all.len() > LONGEST_ANSWER {
            return Err(Trouble::Failed("the answer is too long: is this a Shoebox?".to_owned()));
        }
    }
    Ok(all)
}

/// Waits for as long as something moves.
async fn moving<T>(work: impl Future<Output = T>, sending: &Sending) -> Result<T, Trouble> {
    let mut work = std::pin::pin!(work);
    let mut before = None;
    loop {
        if let Ok(done) = tokio::time::timeout(STILL, work.as_mut()).await {
            return Ok(done);
        }
        let now = progress(sending);
        if before.replace(now).is_some_and(|before| before == now) || now == 0 {
            return Err(Trouble::network("the box does not answer", "nothing came for minutes"));
        }
    }
}

/// The body of a request.
struct Outgoing {
    text: Option<Bytes>,
    stretch: Option<Stretch>,
    broke: Broke,
}

impl Outgoing {
    fn new(sending: &Sending, broke: &Broke) -> Self {
        let (text, stretch) = match sending {
            Sending::Nothing => (None, None),
            Sending::Text(text) => (Some(Bytes::from(text.clone())), None),
            Sending::File(stretch) => (None, Some(stretch.clone())),
        };
        Self { text, stretch, broke: Arc::clone(broke) }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(text) = self.text.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        let Some(stretch) = self.stretch.as_mut().filter(|stretch| stretch.length > 0) else {
            return Poll::Ready(None);
        };
        let length = usize::try_from(stretch.length.min(PIECE)).unwrap_or(0);
        let mut piece = vec![0; length];
        match stretch.file.read_exact_at(&mut piece, stretch.from) {
            Ok(()) => {
                let read = length as u64;
                stretch.from += read;
                stretch.length -= read;
                stretch.sent.fetch_add(read, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(piece.into()))))
            }
            Err(error) => {
                let kind = error.kind();
                *self.broke.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Poll::Ready(Some(Err(kind.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none() && self.stretch.as_ref().is_none_or(|stretch| stretch.length == 0)
    }

    fn size_hint(&self) -> SizeHint {
        let text = self.text.as_ref().map_or(0, |text| text.len() as u64);
        SizeHint::with_exact(text + self.stretch.as_ref().map_or(0, |stretch| stretch.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_its_own_words() {
        let xml = "<?xml version=\"1.0\"?>\n<d:error><s:exception>X</s:exception><s:message>no room: 5 &lt; 7</s:message></d:error>";
        assert_eq!(words(xml), "no room: 5 < 7");
        assert_eq!(words("plain\nwords\n"), "plain words");
        assert_eq!(words("<html>a proxy</html>"), "");
        assert_eq!(words(&"x".repeat(5000)).len(), WORDS);
    }
}
