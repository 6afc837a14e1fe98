//! The command line's end of the control socket. Blocking, and without a runtime.
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::socket;
use super::wire::{Fault, FaultKind, Reply, Request};
use crate::work::views::Progress;

/// A reply is refused beyond this size.
const MAX_REPLY: u64 = 64 * 1024 * 1024;

/// Where a daemon is asked.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answers.
    #[error(
        "could not reach the daemon on {}: {why}\nIs it running? Try `systemctl status shoebox`, or name its \
         settings with --config",
        socket.display()
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The kernel's answer, or what was wrong with the daemon's.
        why: String,
    },
    /// This user may not ask.
    #[error(
        "may not talk to the daemon on {}\nRun it with sudo, or join the group that owns the socket",
        socket.display()
    )]
    Forbidden {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon said no.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Client {
    /// A client for the daemon behind `socket`; does nothing yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks, hands every progress line to `progress`, and reads the answer.
    pub fn call<T: DeserializeOwned>(
        &self,
        request: &Request,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<T, CallError> {
        let reply = self.exchange(request, progress).map_err(|e| self.no_answer(&e))??;
        serde_json::from_value(reply).map_err(|e| {
            CallError::Fault(Fault::new(
                FaultKind::Internal,
                format!("the daemon's answer is not understood: {e}"),
                "after an update, restart the daemon: it and the command line must be of one version",
            ))
        })
    }

    fn no_answer(&self, e: &io::Error) -> CallError {
        let socket = self.socket.clone();
        if e.kind() == ErrorKind::PermissionDenied {
            CallError::Forbidden { socket }
        } else if e.kind() == ErrorKind::WouldBlock {
            CallError::Unreachable { socket, why: "it does not answer in time".to_owned() }
        } else {
            CallError::Unreachable { socket, why: e.to_string() }
        }
    }

    fn exchange(
        &self,
        request: &Request,
        progress: &mut dyn FnMut(&Progress),
    ) -> io::Result<Result<serde_json::Value, Fault>> {
        let mut stream = socket::connect(&self.socket)?;
        stream.set_read_timeout(request.patience())?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut reader = BufReader::new(stream).take(MAX_REPLY);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "it went away without an answer"));
            }
            reader.set_limit(MAX_REPLY);
            match serde_json::from_str(&line)? {
                Reply::Progress(now) => progress(&now),
                Reply::Done(value) => return Ok(Ok(value)),
                Reply::Error(fault) => return Ok(Err(fault)),
            }
        }
    }
}
