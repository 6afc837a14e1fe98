//! Asking the command that root runs for what the daemon may not do itself: a line of JSON on a socket of systemd's, a line back.
//! The other end is `daemon/shoebox-drive/src/asking.rs`.
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::model::plugged::{DeviceName, Named, NewFilesystem, Power};
use crate::os::clock;

/// An answer is a line; a longer one is nobody's.
const MOST_BYTES: u64 = 256 * 1024;

/// What may be asked. No word of it is a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// Unmount and switch off.
    Eject {
        /// Which.
        device: DeviceName,
    },
    /// Unmount, check, and mount again.
    Again {
        /// Which.
        device: DeviceName,
    },
    /// Mount a drive that is to be adopted.
    Prepare {
        /// Which.
        device: DeviceName,
    },
    /// What a whole disk is, and what would be lost by formatting it.
    Name {
        /// Which.
        device: DeviceName,
    },
    /// Make a filesystem on a whole disk.
    Format {
        /// Which.
        device: DeviceName,
        /// What kind.
        filesystem: NewFilesystem,
        /// What a person was shown, and agreed to lose.
        confirmed: Named,
    },
    /// Make what is exported over NFS equal to what should be. What that is, is not said.
    Export {},
    /// The same, with the server started anew.
    MendExport {},
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was unmounted.
    Ejected {
        /// And this was switched off.
        power: Power,
    },
    /// It is mounted.
    Prepared {
        /// There.
        at: PathBuf,
    },
    /// A disk, and what is on it.
    Disk(Named),
    /// It has a new filesystem.
    Formatted {
        /// On this part of it.
        device: DeviceName,
    },
    /// What is exported over NFS was seen to.
    Exported(Exported),
    /// It was not done.
    Failed(String),
}

/// What is exported now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Exported {
    /// Drive B's photos.
    Photos {},
    /// Nothing.
    Nothing {
        /// Because of this.
        why: String,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there to be asked: drives are mounted by hand on this machine.
    #[error("this machine has no service that does such things for the box")]
    Nobody,
    /// It was asked, and said why not.
    #[error("{0}")]
    Refused(String),
    /// What came is no answer.
    #[error("its answer is not understood")]
    NotUnderstood,
    /// It was not in time, or the connection broke.
    #[error("could not ask: {0}")]
    Io(#[from] io::Error),
}

/// Asks, and waits for the answer at most `within`.
pub fn ask(socket: &Path, ask: &Ask, within: Duration) -> Result<Answer, AskError> {
    let until = clock::monotonic() + within;
    let mut stream = UnixStream::connect(socket).map_err(|e| {
        if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            AskError::Nobody
        } else {
            AskError::Io(e)
        }
    })?;
    stream.set_write_timeout(Some(within))?;
    let mut line = serde_json::to_string(ask).map_err(io::Error::other)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let text = read_line(&stream, until)?;
    match serde_json::from_str(&text) {
        Ok(Answer::Failed(why)) => Err(AskError::Refused(why)),
        Ok(answer) => Ok(answer),
        Err(_) => Err(AskError::NotUnderstood),
    }
}

/// A byte now and then must not keep anybody waiting for ever: the time is for all of it.
fn read_line(stream: &UnixStream, until: Instant) -> io::Result<String> {
    let mut reader = BufReader::new(stream.take(MOST_BYTES));
    let mut line = Vec::new();
    loop {
        let left = until.saturating_duration_since(clock::monotonic());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let (used, ended) = match reader.fill_buf() {
            Ok([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
                (end.map_or(bytes.len(), |end| end + 1), end.is_some())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(e) => return Err(e),
        };
        reader.consume(used);
        if ended {
            return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answered(reply: &'static [u8]) -> (Result<Answer, AskError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let other = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(&stream).read_line(&mut asked).unwrap();
            // Whoever is told too much goes first.
            drop(stream.write_all(reply));
            if reply.is_empty() {
                std::thread::sleep(Duration::from_millis(600));
            }
            asked
        });
        let eject = Ask::Eject { device: "sda1".parse().unwrap() };
        let answer = ask(&socket, &eject, Duration::from_millis(500));
        (answer, other.join().unwrap())
    }

    #[test]
    fn a_request_and_its_answer_are_a_line_each() {
        let (answer, asked) = answered(b"{\"ejected\":{\"power\":\"port\"}}\n");
        assert_eq!(asked, "{\"ask\":\"eject\",\"device\":\"sda1\"}\n");
        assert_eq!(answer.unwrap(), Answer::Ejected { power: Power::Port });
        let (answer, _) = answered(b"{\"exported\":{\"is\":\"photos\",\"drive\":\"00\"}}\n");
        assert_eq!(answer.unwrap(), Answer::Exported(Exported::Photos {}));
        let (answer, _) = answered(b"{\"exported\":{\"is\":\"nothing\",\"why\":\"so\"}}\n");
        assert_eq!(answer.unwrap(), Answer::Exported(Exported::Nothing { why: "so".to_owned() }));
        for (ask, line) in
            [(Ask::Export {}, r#"{"ask":"export"}"#), (Ask::MendExport {}, r#"{"ask":"mend-export"}"#)]
        {
            assert_eq!(serde_json::to_string(&ask).unwrap(), line);
        }
        let (answer, _) = answered(b"{\"failed\":\"it is busy\"}\n");
        assert_eq!(answer.unwrap_err().to_string(), "it is busy");
        let (answer, _) = answered(b"{\"gone\":{}}\n");
        assert!(matches!(answer, Err(AskError::NotUnderstood)));
        let (answer, _) = answered(b"{\"ejected\":");
        assert!(matches!(answer, Err(AskError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn nobody_is_waited_for_without_end_or_listened_to_without_bound() {
        let (answer, _) = answered(b"");
        assert!(matches!(answer, Err(AskError::Io(e)) if e.kind() == io::ErrorKind::TimedOut));
        let long: &'static [u8] = Vec::leak(vec![b'x'; 300 * 1024]);
        let (answer, _) = answered(long);
        assert!(matches!(answer, Err(AskError::Io(_))));
        let nowhere = tempfile::tempdir().unwrap();
        let eject = Ask::Name { device: "sda".parse().unwrap() };
        let answer = ask(&nowhere.path().join("none"), &eject, Duration::from_secs(1));
        assert!(matches!(answer, Err(AskError::Nobody)));
    }
}
