//! The daemon's end of the control socket: a bounded number of connections, one bounded request each.
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::answer::{answer, waits_in_vain};
use super::wire::{Fault, FaultKind, MAX_REQUEST, Reply, Request};
use crate::work::pool::Pool;
use crate::work::views::Progress;

/// People type these commands: more at one time is a script gone wrong.
const CONNECTIONS: usize = 16;
/// A request is one line that is sent at once.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// A client that does not take its answer in this time is gone.
const REPLY_TIME: Duration = Duration::from_secs(30);
/// How often it is asked whether what is waited for will come.
const LOOK: Duration = Duration::from_secs(1);
/// Progress lines under way; a slow reader misses some.
const QUEUE: usize = 16;

/// Answers requests until `stop` says so or is dropped. Commands under way are then cut off; each is safe to repeat.
pub async fn serve_control(listener: UnixListener, pool: Arc<Pool>, stop: watch::Receiver<bool>) {
    serve(listener, stop, Arc::new(pool)).await;
}

/// What answers requests.
pub(super) trait Answers: Send + Sync + 'static {
    /// Carries one out. Blocking.
    fn answer(
        &self,
        request: Request,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<serde_json::Value, Fault>;

    /// What to do about one that is being carried out, if it waits for a drive that does not respond.
    fn waits_in_vain(&self, request: &Request) -> Option<InVain>;
}

/// What becomes of a request that waits in vain.
pub(super) enum InVain {
    /// It only asks how things stand, and asked again it is answered without the drive.
    AskAgain,
    /// It may yet be carried out, and must not be begun twice.
    Refuse(Fault),
}

impl Answers for Arc<Pool> {
    fn answer(
        &self,
        request: Request,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<serde_json::Value, Fault> {
        answer(self, request, progress)
    }

    fn waits_in_vain(&self, request: &Request) -> Option<InVain> {
        waits_in_vain(self, request)
    }
}

pub(super) async fn serve(
    listener: UnixListener,
    mut stop: watch::Receiver<bool>,
    answers: Arc<impl Answers>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &permits) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, permit)) => {
                let answers = Arc::clone(&answers);
                connections.spawn(async move {
                    if let Err(e) = converse(stream, answers).await {
                        log::debug!("control connection ended: {e}");
                    }
                    drop(permit);
                });
            }
            Err(e) => {
                // Out of file descriptors, most likely: it passes, and spinning would not help.
                log::warn!("could not accept a control connection: {e}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn accept(
    listener: &UnixListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn converse(stream: UnixStream, answers: Arc<impl Answers>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let request = match tokio::time::timeout(REQUEST_TIME, read_request(read)).await {
        Ok(request) => request?,
        Err(_late) => Err(Fault::new(FaultKind::BadRequest, "no request came", "")),
    };
    let request = match request {
        Ok(request) => request,
        Err(fault) => return send(&mut write, &Reply::Error(fault)).await,
    };
    let (mut work, mut under_way) = carry_out(&answers, request.clone());
    let mut told = Ok(());
    loop {
        tokio::select! {
            reply = &mut work => {
                while let Ok(now) = under_way.try_recv() {
                    told = told.and(send(&mut write, &Reply::Progress(now)).await);
                }
                told?;
                return send(&mut write, &reply.map_err(std::io::Error::other)?).await;
            }
            Some(now) = under_way.recv() => {
                if told.is_ok() {
                    told = send(&mut write, &Reply::Progress(now)).await;
                }
            }
            () = tokio::time::sleep(LOOK) => {
                if let Some(in_vain) = answers.waits_in_vain(&request) {
                    let reply = match in_vain {
                        InVain::AskAgain => carry_out(&answers, request).0.await.map_err(std::io::Error::other)?,
                        InVain::Refuse(fault) => Reply::Error(fault),
                    };
                    told = told.and(send(&mut write, &reply).await);
                    drop(write);
                    break;
                }
            }
        }
    }
    // Also for a client that is gone or was told something else meanwhile: its work goes on, and counts as one of the
    // connections until it ends, or a command started and broken off again and again would have the drives read many times
    // at once.
    work.await.map(drop).map_err(std::io::Error::other)?;
    told
}

/// Has a request carried out on a thread of its own: what is to be replied, and progress until then.
fn carry_out(answers: &Arc<impl Answers>, request: Request) -> (JoinHandle<Reply>, mpsc::Receiver<Progress>) {
    let (progress, under_way) = mpsc::channel(QUEUE);
    let answers = Arc::clone(answers);
    let work = tokio::task::spawn_blocking(move || {
        // A reader that is slow, or gone, misses this line; the work goes on.
        let mut report = |now: &Progress| {
            let _ = progress.try_send(*now);
        };
        match std::panic::catch_unwind(AssertUnwindSafe(|| answers.answer(request, &mut report))) {
            Ok(Ok(done)) => Reply::Done(done),
            Ok(Err(fault)) => Reply::Error(fault),
            Err(_panic) => Reply::Error(Fault::new(
                FaultKind::Internal,
                "the daemon hit a defect in itself",
                "please report it with the output of `shoebox doctor` and the log",
            )),
        }
    });
    (work, under_way)
}

/// One line, or what is wrong with it. The outer error: the connection is gone.
async fn read_request(read: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<Result<Request, Fault>> {
    let mut line = Vec::new();
    let limit = MAX_REQUEST as u64 + 1;
    BufReader::new(read.take(limit)).read_until(b'\n', &mut line).await?;
    if line.len() > MAX_REQUEST {
        return Ok(Err(Fault::new(FaultKind::BadRequest, "the request is too long", "")));
    }
    Ok(serde_json::from_slice(&line).map_err(|e| {
        Fault::new(
            FaultKind::BadRequest,
            format!("the daemon does not understand the request: {e}"),
            "after an update, restart the daemon: it and the command line must be of one version",
        )
    }))
}

async fn send(write: &mut (impl tokio::io::AsyncWrite + Unpin), reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply).map_err(std::io::Error::other)?;
    line.push(b'\n');
    tokio::time::timeout(REPLY_TIME, write.write_all(&line)).await.map_err(std::io::Error::other)?
}
