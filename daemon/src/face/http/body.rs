//! Reply bodies: a few bytes at once, or pieces made one at a time on a blocking thread as the reader takes them.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::work::error::Refusal;

/// How long one piece may take to be made. A drive that hangs must not keep connections for as long as it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the pieces of a reply come from.
pub(super) trait Source: Send + 'static {
    /// The next piece, `None` at the end. May wait for a drive.
    fn next(&mut self) -> Result<Option<Bytes>, Refusal>;

    /// The next piece if it is in memory: two changes of threads are dearer than copying it.
    fn at_hand(&mut self) -> Option<Bytes> {
        None
    }
}

impl<N> Source for N
where
    N: FnMut() -> Result<Option<Bytes>, Refusal> + Send + 'static,
{
    fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        self()
    }
}

/// The body of a reply.
pub(super) enum Payload {
    /// All of it.
    Whole(Bytes),
    /// Pieces to come. `left`: how many bytes, where that is known.
    Pieces {
        /// Where they come from.
        pieces: mpsc::Receiver<io::Result<Bytes>>,
        /// Bytes still to come.
        left: Option<u64>,
    },
}

impl Payload {
    /// No bytes.
    pub(super) fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// A text, and the end of the connection before all came that was announced: for clients to which every answer is a good one.
    pub(super) fn broken_off(text: &'static str) -> Self {
        // So that the answer's head is on its way: without it, nobody who looks would know why.
        const MOMENT: Duration = Duration::from_millis(50);
        let (sender, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            if sender.send(Ok(Bytes::from_static(text.as_bytes()))).await.is_ok() {
                tokio::time::sleep(MOMENT).await;
                let _gone = sender.send(Err(io::ErrorKind::ConnectionAborted.into())).await.is_err();
            }
        });
        Self::Pieces { pieces, left: Some(text.len() as u64 + 1) }
    }

    /// Pieces that are not at hand are made on a blocking thread, at most one piece ahead of the reader, until there are
    /// none. No thread is held while the reader is slow. An error ends the connection, so that what was sent cannot be
    /// taken for the whole.
    pub(super) fn pieces(left: Option<u64>, source: impl Source) -> Self {
        Self::pieces_within(PATIENCE, left, source)
    }

    fn pieces_within(patience: Duration, left: Option<u64>, mut source: impl Source) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(permit) = sender.reserve().await {
                if let Some(bytes) = source.at_hand() {
                    permit.send(Ok(bytes));
                    continue;
                }
                let making = tokio::task::spawn_blocking(move || (source.next(), source));
                let Ok(made) = tokio::time::timeout(patience, making).await else {
                    permit.send(Err(io::ErrorKind::TimedOut.into()));
                    return;
                };
                let Ok((piece, again)) = made else {
                    permit.send(Err(io::Error::other("the reader failed")));
                    return;
                };
                source = again;
                match piece {
                    Ok(Some(bytes)) => permit.send(Ok(bytes)),
                    Ok(None) => return,
                    Err(refusal) => {
                        permit.send(Err(io::Error::other(refusal)));
                        return;
                    }
                }
            }
        });
        Self::Pieces { pieces, left }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Pieces { pieces, left } => pieces.poll_recv(cx).map(|piece| {
                piece.map(|piece| {
                    piece.map(|bytes| {
                        *left = left.map(|left| left.saturating_sub(bytes.len() as u64));
                        Frame::data(bytes)
                    })
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pieces { left, .. } => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces { left, .. } => left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[test]
    fn a_drive_that_hangs_ends_the_reply() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (hang, hanging) = std::sync::mpsc::channel::<()>();
            let mut made = 0;
            let mut reply = Payload::pieces_within(Duration::from_millis(50), None, move || {
                made += 1;
                if made > 1 {
                    let _woken = hanging.recv();
                }
                Ok(Some(Bytes::from_static(b"piece")))
            });
            assert!(reply.frame().await.unwrap().is_ok());
            let error = reply.frame().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(reply.frame().await.is_none());
            drop(hang);
        });
    }
}
