//! Reply bodies: a few bytes at once, or pieces made one at a time on a blocking thread as the reader takes them.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::work::error::Refusal;

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

    /// `next` runs on a blocking thread, at most one piece ahead of the reader, until it returns `None`. No thread
    /// is held while the reader is slow. An error ends the connection, so that what was sent cannot be taken for
    /// the whole.
    pub(super) fn pieces<N>(left: Option<u64>, mut next: N) -> Self
    where
        N: FnMut() -> Result<Option<Bytes>, Refusal> + Send + 'static,
    {
        let (sender, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(permit) = sender.reserve().await {
                let made = tokio::task::spawn_blocking(move || (next(), next)).await;
                let Ok((piece, again)) = made else {
                    permit.send(Err(io::Error::other("the reader failed")));
                    return;
                };
                next = again;
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
