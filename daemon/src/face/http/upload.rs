//! Uploads: a request body to an [`Ack`], the same for every dialect.
//!
//! Bytes go from the connection through a bounded channel to a blocking thread. The ingest has agreed to the
//! offer before the first byte of the body is asked for, so that a client that waits for `100 Continue` gets a
//! refusal without sending anything.
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::header::EXPECT;
use hyper::{HeaderMap, StatusCode};
use tokio::sync::{mpsc, oneshot};

use super::Face;
use super::reply::Deny;
use crate::model::offer::Offer;
use crate::work::error::Refusal;
use crate::work::ingest::{self, Ack, Ingest};
use crate::work::parts::{Incomplete, Part};
use crate::work::pool::Pool;

/// Bodies below this are collected and handed over as one: a channel and a waiting thread cost more than they save.
const SMALL: u64 = 256 * 1024;
/// What goes to the blocking thread at once, in pieces as they came: waking it costs as much as copying tens of KiB.
const LOAD: usize = 512 * 1024;
/// So many pieces are a load whatever their size: each takes some room of its own.
const PIECES: usize = 64;
/// Loads on their way to the blocking thread, besides the one that grows and the one that is written.
const IN_FLIGHT: usize = 1;

/// After this long, and again and again, a request that waits for a drive asks whether the drive still answers, and is
/// told to come back if it does not (invariant I22). The thread that waits in the kernel is left behind; a drive that
/// hangs is soon known as such, and then nobody is let in to wait. Work that only takes long, such as the copy of a
/// large folder, is not given up: it would go on, and the client, told to ask again, begin it a second time.
const DRIVE_PATIENCE: Duration = Duration::from_secs(60);
/// So often; then it is given up all the same.
const MOST_TIMES: u32 = 60;

/// What the blocking thread is told.
enum Load {
    More(Vec<Bytes>),
    /// The body is complete with these. A channel that closes without it means that the client gave up.
    Last(Vec<Bytes>),
}

/// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1).
pub(super) fn waits(headers: &HeaderMap) -> bool {
    headers.get_all(EXPECT).iter().any(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Takes a body in, out of its slot only when its bytes are wanted. `waits`: see [`waits`].
pub(super) async fn receive(
    body: &mut Option<Incoming>,
    face: &Face,
    offer: Offer,
    waits: bool,
) -> Result<Ack, Deny> {
    let (pool, ingest, limits) = (&face.pool, face.ingest.clone(), &face.limits);
    match offer.size {
        Some(size) if size < SMALL && !waits => {
            let pieces = gather(body.take(), SMALL, limits.body_idle).await?;
            blocking(pool, move || store(&ingest, offer, &pieces)).await
        }
        Some(_) | None => pump(body, face, move || Ok(Whole(ingest.begin(offer)?))).await,
    }
}

/// The whole of a small body, so that all there is to do for it is done by one blocking thread, woken once. `None`: a client that waits
/// to be asked, or a large one, which both have to hear a refusal first.
pub(super) async fn whole(
    body: &mut Option<Incoming>,
    face: &Face,
    length: Option<u64>,
    waits: bool,
) -> Result<Option<Vec<Bytes>>, Deny> {
    if waits || length.is_none_or(|length| length >= SMALL) {
        return Ok(None);
    }
    gather(body.take(), SMALL, face.limits.body_idle).await.map(Some)
}

/// Stores a body that is here. Blocking.
pub(super) fn store(ingest: &Ingest, offer: Offer, pieces: &[Bytes]) -> Result<Ack, Deny> {
    let mut incoming = ingest.begin(offer)?;
    pieces.iter().try_for_each(|bytes| incoming.take(bytes))?;
    Ok(incoming.finish()?.settle()?)
}

/// What the bytes of a body go into, on the blocking thread.
pub(super) trait Sink: Send + Sized + 'static {
    /// What its end is answered with.
    type Done: Send + 'static;

    /// Takes the next bytes, which it may share.
    fn write(&mut self, bytes: &Bytes) -> Result<(), Deny>;

    /// All of it came.
    fn finish(self) -> Result<Self::Done, Deny>;

    /// The body ended too early; what came is dropped, unless the sink wants to keep it.
    fn break_off(self) {}
}

impl Sink for Whole {
    type Done = Ack;

    fn write(&mut self, bytes: &Bytes) -> Result<(), Deny> {
        Ok(self.0.take(bytes)?)
    }

    fn finish(self) -> Result<Ack, Deny> {
        Ok(self.0.finish()?.settle()?)
    }
}

/// A whole file.
struct Whole(ingest::Incoming);

/// A part of one.
struct InPart {
    part: Incomplete,
    if_broken: IfBroken,
}

/// What becomes of a part whose body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfBroken {
    /// Nothing of it is kept.
    Drop,
    /// What came is kept, as a shorter part.
    Keep,
}

impl Sink for InPart {
    type Done = Part;

    fn write(&mut self, bytes: &Bytes) -> Result<(), Deny> {
        Ok(self.part.take(bytes)?)
    }

    fn finish(self) -> Result<Part, Deny> {
        Ok(self.part.finish()?)
    }

    fn break_off(self) {
        if self.if_broken == IfBroken::Keep
            && self.part.received() > 0
            && let Err(e) = self.part.keep()
        {
            log::info!("what came of a part is not kept: {e}");
        }
    }
}

/// Takes a part of an upload in; `begin` opens it, on the blocking thread.
pub(super) async fn receive_part(
    body: &mut Option<Incoming>,
    face: &Face,
    if_broken: IfBroken,
    begin: impl FnOnce() -> Result<Incomplete, Refusal> + Send + 'static,
) -> Result<Part, Deny> {
    pump(body, face, move || Ok(InPart { part: begin()?, if_broken })).await
}

/// Takes a body in through what `open` makes on the blocking thread, before the first byte is asked for.
pub(super) async fn pump<S: Sink>(
    slot: &mut Option<Incoming>,
    face: &Face,
    open: impl FnOnce() -> Result<S, Deny> + Send + 'static,
) -> Result<S::Done, Deny> {
    let (pool, limits) = (&face.pool, &face.limits);
    let (agreed, agreement) = oneshot::channel();
    let (sender, mut loads) = mpsc::channel(IN_FLIGHT);
    let work = tokio::task::spawn_blocking(move || -> Result<Option<S::Done>, Deny> {
        let mut sink = open()?;
        if agreed.send(()).is_err() {
            return Ok(None);
        }
        while let Some(load) = loads.blocking_recv() {
            let (Load::More(pieces) | Load::Last(pieces)) = &load;
            pieces.iter().try_for_each(|bytes| sink.write(bytes))?;
            if matches!(load, Load::Last(_)) {
                return sink.finish().map(Some);
            }
        }
        sink.break_off();
        Ok(None)
    });
    let mut ended = Ok(());
    if patient(pool, agreement).await?.is_ok()
        && let Some(mut body) = slot.take()
    {
        ended = forward(pool, &mut body, sender, limits.body_idle).await;
        // The sink may have hung up in the middle.
        linger(body);
    } else {
        drop(sender);
    }
    let outcome = patient(pool, work).await?.map_err(|_| failed())?;
    match (outcome, ended) {
        (Ok(Some(done)), _) => Ok(done),
        (Err(deny), _) => Err(deny),
        (Ok(None), Err(deny)) => Err(deny),
        (Ok(None), Ok(())) => Err(failed()),
    }
}

/// Waits for a drive's work, but not for ever.
async fn patient<T>(pool: &Pool, work: impl Future<Output = T>) -> Result<T, Deny> {
    waited(DRIVE_PATIENCE, || pool.available(), work).await
}

async fn waited<T>(
    turn: Duration,
    answers: impl Fn() -> Result<(), Refusal>,
    work: impl Future<Output = T>,
) -> Result<T, Deny> {
    let mut work = std::pin::pin!(work);
    for _ in 0..MOST_TIMES {
        if let Ok(done) = tokio::time::timeout(turn, work.as_mut()).await {
            return Ok(done);
        }
        answers()?;
    }
    Err(Deny::Refused(Refusal::Unavailable { why: "the drive does not respond".to_owned() }))
}

/// Sends the body on, load by load. An ingest that hangs up early has a refusal to tell.
async fn forward(
    pool: &Pool,
    body: &mut Incoming,
    sender: mpsc::Sender<Load>,
    idle: Duration,
) -> Result<(), Deny> {
    let (mut load, mut size) = (Vec::new(), 0);
    loop {
        let bytes = match next(body, idle).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break,
            Err(deny) => {
                // Some sinks keep what came.
                let _hung_up = patient(pool, sender.send(Load::More(load))).await?.is_err();
                return Err(deny);
            }
        };
        size += bytes.len();
        load.push(bytes);
        if size >= LOAD || load.len() >= PIECES {
            size = 0;
            if patient(pool, sender.send(Load::More(std::mem::take(&mut load)))).await?.is_err() {
                return Ok(());
            }
        }
    }
    let _hung_up = patient(pool, sender.send(Load::Last(load))).await?.is_err();
    Ok(())
}

/// The next bytes of a body; `None` at its end. Trailers are passed over.
async fn next(body: &mut Incoming, idle: Duration) -> Result<Option<Bytes>, Deny> {
    loop {
        let frame = tokio::time::timeout(idle, body.frame())
            .await
            .map_err(|_| Deny::Status(StatusCode::REQUEST_TIMEOUT, "the body stopped coming"))?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Deny::Bad("the body ended too early")),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// A whole body of at most `most` bytes; 413 for more.
pub(super) async fn collect(body: Option<Incoming>, most: u64, idle: Duration) -> Result<Vec<u8>, Deny> {
    Ok(gather(body, most, idle).await?.concat())
}

/// The same in pieces, as they came.
async fn gather(body: Option<Incoming>, most: u64, idle: Duration) -> Result<Vec<Bytes>, Deny> {
    let (mut all, mut size) = (Vec::new(), 0);
    let Some(mut body) = body else { return Ok(all) };
    while let Some(bytes) = next(&mut body, idle).await? {
        size += bytes.len() as u64;
        if size > most {
            linger(body);
            return Err(Deny::Status(StatusCode::PAYLOAD_TOO_LARGE, "too large for this kind of request"));
        }
        // A body in thousands of small pieces takes no more room for it.
        if all.len() == PIECES {
            all = vec![all.concat().into()];
        }
        all.push(bytes);
    }
    Ok(all)
}

/// Runs blocking work of the floors below.
pub(super) async fn blocking<T, W>(pool: &Pool, work: W) -> Result<T, Deny>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, Deny> + Send + 'static,
{
    patient(pool, tokio::task::spawn_blocking(work)).await?.map_err(|_| failed())?
}

fn failed() -> Deny {
    Deny::Refused(Refusal::Unavailable { why: "a blocking task did not end well".to_owned() })
}

/// What is done about a body that nobody took.
pub(super) fn let_go(headers: &HeaderMap, left: Option<Incoming>) {
    if let Some(body) = left.filter(|_| !waits(headers)) {
        linger(body);
    }
}

/// Reads on for a while after a refusal, and throws away what comes. A connection closed with bytes unread is
/// reset, and the reset overtakes the refusal: the client would report a broken network, not a full drive.
/// Not for a client that still waits for `100 Continue`: asking for its body tells it to send.
fn linger(mut body: Incoming) {
    const LONGEST: Duration = Duration::from_secs(10);
    const MOST: usize = 32 * 1024 * 1024;
    if hyper::body::Body::is_end_stream(&body) {
        return;
    }
    tokio::spawn(tokio::time::timeout(LONGEST, async move {
        let mut left = MOST;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn wait(turns: u32, answers: impl Fn() -> Result<(), Refusal>) -> Result<&'static str, Deny> {
        let turn = Duration::from_millis(10);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(waited(turn, answers, async {
            tokio::time::sleep(turn * turns).await;
            "done"
        }))
    }

    #[test]
    fn long_work_is_waited_for_while_the_drive_answers() {
        let asked = AtomicU32::new(0);
        let answers = || {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        assert_eq!(wait(5, answers).unwrap(), "done");
        assert!(asked.load(Ordering::Relaxed) > 1);
        let hangs = || Err(Refusal::Unavailable { why: String::new() });
        assert!(matches!(wait(5, hangs), Err(Deny::Refused(Refusal::Unavailable { .. }))));
        assert!(matches!(wait(1_000_000, || Ok(())), Err(Deny::Refused(Refusal::Unavailable { .. }))));
    }
}
