//! Asking root to see to what is exported over NFS: a line of JSON on a socket of systemd's, a line back
//! (`daemon/shoebox-drive/src/asking.rs`). No word of it says what is exported.
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

/// Where systemd listens for requests.
pub const SOCKET: &str = "/run/shoebox-drive.sock";
/// Debian's NFS server.
const SERVER: &str = "/usr/sbin/rpc.nfsd";
/// An answer is a line.
const MOST_BYTES: u64 = 64 * 1024;

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// To make what is exported equal to what should be.
    Settle,
    /// To start the server anew.
    StartAnew,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Exported(Exported),
    Failed(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
enum Exported {
    Photos {},
    Nothing { why: String },
}

/// Whether this machine has an NFS server, and somebody to ask.
pub fn can_be() -> bool {
    Path::new(SERVER).exists() && Path::new(SOCKET).exists()
}

/// Asks. `Some`: why the photos are not exported now.
pub fn ask(socket: &Path, ask: Ask, within: Duration) -> io::Result<Option<String>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(within))?;
    stream.set_read_timeout(Some(within))?;
    let line: &[u8] = match ask {
        Ask::Settle => b"{\"ask\":\"export\"}\n",
        Ask::StartAnew => b"{\"ask\":\"mend-export\"}\n",
    };
    stream.write_all(line)?;
    let mut text = String::new();
    // It is root who answers, and closes the line after it.
    stream.take(MOST_BYTES).read_to_string(&mut text)?;
    match serde_json::from_str(&text).map_err(io::Error::other)? {
        Answer::Exported(Exported::Photos {}) => Ok(None),
        Answer::Exported(Exported::Nothing { why }) | Answer::Failed(why) => Ok(Some(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn root_is_asked_and_what_it_says_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let said = |what, answer: &'static [u8]| {
            let listener = listener.try_clone().unwrap();
            let other = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 100];
                let n = stream.read(&mut asked).unwrap();
                stream.write_all(answer).unwrap();
                String::from_utf8_lossy(&asked[..n]).into_owned()
            });
            let answered = ask(&socket, what, Duration::from_secs(20));
            (answered, other.join().unwrap())
        };
        let photos = br#"{"exported":{"is":"photos","drive":"00"}}"#;
        let (answer, asked) = said(Ask::Settle, photos);
        assert_eq!((answer.unwrap(), asked.as_str()), (None, "{\"ask\":\"export\"}\n"));
        let (answer, asked) = said(Ask::StartAnew, br#"{"exported":{"is":"nothing","why":"so"}}"#);
        assert_eq!((answer.unwrap().as_deref(), asked.as_str()), (Some("so"), "{\"ask\":\"mend-export\"}\n"));
        assert_eq!(said(Ask::Settle, br#"{"failed":"no"}"#).0.unwrap().as_deref(), Some("no"));
        assert!(said(Ask::Settle, b"hello").0.is_err());
        assert!(ask(&dir.path().join("none"), Ask::Settle, Duration::from_secs(1)).is_err());
    }
}
