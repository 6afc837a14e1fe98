//! The wire under hyper: notices requests framed in two ways at once, and gives up on readers that stand still.
//!
//! hyper forgives what it can make sense of: it drops a Content-Length beside a Transfer-Encoding, a second equal
//! Content-Length, and a fragment in the request target. Each of these lets two parties read one byte stream
//! differently (RFC 9112 §6.1, §11.2), so the heads are watched as they go by and the service answers 400.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A connection whose heads are watched.
pub(super) struct Wire<S> {
    inner: S,
    framing: Framing,
    ambiguous: Arc<AtomicBool>,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    /// `ambiguous` becomes true before the service sees the request in question. A write that makes no progress
    /// for `patience` ends the connection.
    pub(super) fn new(inner: S, ambiguous: Arc<AtomicBool>, patience: Duration) -> Self {
        Self { inner, framing: Framing::default(), ambiguous, patience, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        if timer.deadline() <= Instant::now() || timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(cx, buf);
        if result.is_ready() {
            this.framing.feed(&buf.filled()[before..]);
            if this.framing.ambiguous {
                this.ambiguous.store(true, Ordering::Relaxed);
            }
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.watch(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.watch(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.watch(cx, ended)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Where in the byte stream we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Head,
    /// That many bytes of a body are still to come.
    Body(u64),
    /// After the head of a chunked request: the service closes the connection after it, so no further head comes.
    Beyond,
}

/// Follows request heads, keeping no more than the start of one line.
#[derive(Debug)]
struct Framing {
    at: At,
    line: Vec<u8>,
    lines: usize,
    lengths: usize,
    length: u64,
    chunked: bool,
    ambiguous: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            at: At::Head,
            line: Vec::new(),
            lines: 0,
            lengths: 0,
            length: 0,
            chunked: false,
            ambiguous: false,
        }
    }
}

/// Longest part of a line that is looked at: the two headers of interest are short, and a request target is
/// searched for `#` byte by byte.
const LOOKED_AT: usize = 128;

impl Framing {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.at {
                At::Beyond => return,
                At::Body(left) => {
                    let here = left.min(bytes.len() as u64);
                    bytes = &bytes[usize::try_from(here).unwrap_or(bytes.len())..];
                    self.at = if left == here { At::Head } else { At::Body(left - here) };
                }
                At::Head => {
                    let end = bytes.iter().position(|b| *b == b'\n');
                    let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    self.take(part);
                    bytes = rest;
                    if end.is_some() {
                        self.end_of_line();
                    }
                }
            }
        }
    }

    fn take(&mut self, part: &[u8]) {
        // The request target may hold no fragment (RFC 9112 §3.2); hyper would cut it off, and a DELETE of
        // `a#b` would delete `a`.
        self.ambiguous |= self.lines == 0 && part.contains(&b'#');
        let room = LOOKED_AT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_ascii_end();
        if line.is_empty() {
            if self.lines > 0 {
                self.end_of_head();
            }
            return; // Empty lines before a request are skipped (RFC 9112 §2.2).
        }
        self.lines += 1;
        if self.lines == 1 {
            return;
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else { return };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            match std::str::from_utf8(value).ok().filter(|_| digits).and_then(|v| v.parse().ok()) {
                Some(length) => self.length = length,
                None => self.ambiguous = true,
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // Codings beneath it would be stored as if they were the file; a second header is a second framing.
            self.ambiguous |= self.chunked || !value.eq_ignore_ascii_case(b"chunked");
            self.chunked = true;
        }
    }

    fn end_of_head(&mut self) {
        self.ambiguous |= self.lengths > 1 || (self.lengths > 0 && self.chunked);
        self.at = match (self.chunked, self.length) {
            (true, _) => At::Beyond,
            (false, 0) => At::Head,
            (false, length) => At::Body(length),
        };
        (self.lines, self.lengths, self.length, self.chunked) = (0, 0, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ambiguous(stream: &str) -> bool {
        let mut framing = Framing::default();
        framing.feed(stream.as_bytes());
        framing.ambiguous
    }

    #[test]
    fn one_framing_per_request() {
        for (stream, expected) in [
            ("PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", false),
            ("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false),
            ("PUT /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", true),
            ("PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n", true),
            ("PUT /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", true),
            ("PUT /a HTTP/1.1\r\nContent-Length: +5\r\n\r\n", true),
            ("PUT /a HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", true),
            ("PUT /a HTTP/1.1\r\nContent-Length:\r\n\r\n", true),
            ("PUT /a HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", true),
            ("PUT /a HTTP/1.1\nContent-Length: 5\nContent-Length: 6\n\n", true),
            ("PUT /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", true),
            ("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", true),
            ("DELETE /a#b HTTP/1.1\r\n\r\n", true),
            // A body that looks like a head is a body; the head after it is a head.
            ("PUT /a HTTP/1.1\r\nContent-Length: 26\r\n\r\nContent-Length: 1\r\n\r\n#####", false),
            (
                "PUT /a HTTP/1.1\r\nContent-Length: 1\r\n\r\nxPUT /b HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                true,
            ),
            ("\r\n\r\nGET /a HTTP/1.1\r\nReferer: /x#y\r\n\r\n", false),
        ] {
            assert_eq!(ambiguous(stream), expected, "{stream:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(stream in "(PUT /a HTTP/1.1\r\n|Content-Length: [0-9]\r\n|Transfer-Encoding: chunked\r\n|\r\n|[#-~]{0,5}){0,12}", cut in 0usize..200) {
            let bytes = stream.as_bytes();
            let cut = cut.min(bytes.len());
            let mut framing = Framing::default();
            framing.feed(&bytes[..cut]);
            framing.feed(&bytes[cut..]);
            prop_assert_eq!(framing.ambiguous, ambiguous(&stream));
        }

        #[test]
        fn never_panics_and_stays_small(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let mut framing = Framing::default();
            framing.feed(&bytes);
            prop_assert!(framing.line.len() <= LOOKED_AT);
        }
    }
}
