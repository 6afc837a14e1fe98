//! HTTP by hand: requests as bytes, answers read whole, clients that stop in the middle.
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer for this long is a hang, and a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Everything that came, heads and bodies: what must not leak is looked for here.
    pub(crate) text: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// `None`: the connection ended before a whole head came.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Self { status, text, body: bytes[end + 4..].to_vec() })
    }

    /// The body without its framing, if that was in chunks. `None`: it ended before the last of them.
    pub(crate) fn unchunked(&self) -> Option<Vec<u8>> {
        let head = self.text.split("\r\n\r\n").next()?.to_lowercase();
        if !head.contains("transfer-encoding: chunked") {
            return Some(self.body.clone());
        }
        let (mut body, mut rest) = (Vec::new(), self.body.as_slice());
        loop {
            let end = rest.windows(2).position(|two| two == b"\r\n")?;
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
            if length == 0 {
                return Some(body);
            }
            body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
            rest = rest.get(end + length + 4..)?;
        }
    }
}

/// One whole request with a length, on a connection of its own.
pub(crate) fn request(
    to: SocketAddr,
    authorization: &str,
    method: &str,
    target: &str,
    more: &str,
    body: &[u8],
) -> io::Result<Reply> {
    let length = if matches!(method, "GET" | "HEAD" | "DELETE") && body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {to}\r\nAuthorization: {authorization}\r\nConnection: close\r\n{length}{more}\r\n"
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    let answer = exchange(to, &bytes)?;
    Reply::parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no whole answer"))
}

/// Sends bytes and reads until the other side closes.
pub(crate) fn exchange(to: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(to)?;
    // An answer may come, and the connection close, before all is sent.
    let _sent = stream.write_all(bytes);
    read_all(&mut stream)
}

pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Until the other side closes. What came before a reset counts.
pub(crate) fn read_all(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut piece = [0; 64 * 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(all),
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset && !all.is_empty() => return Ok(all),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// A body in chunks of at most `piece` bytes.
pub(crate) fn chunked(body: &[u8], piece: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in body.chunks(piece) {
        all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Closes in order: FIN.
    Fin,
    /// SO_LINGER of zero: RST (socket(7)).
    Reset,
    /// Says nothing more and stays.
    Stall,
}

/// Sends the first bytes of a request and leaves. A client that stalls gets its connection back, to hold on to.
pub(crate) fn cut(to: SocketAddr, bytes: &[u8], leaving: Leaving) -> io::Result<Option<TcpStream>> {
    let mut stream = connect(to)?;
    let _sent = stream.write_all(bytes);
    match leaving {
        Leaving::Fin => Ok(None),
        Leaving::Reset => {
            let now = libc::linger { l_onoff: 1, l_linger: 0 };
            nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &now)?;
            Ok(None)
        }
        Leaving::Stall => Ok(Some(stream)),
    }
}
