//! Asking an NFS server over its own wire whether it works: a call that does nothing, and reading a few bytes of a photo as a computer of the
//! house would. ONC RPC over TCP (RFC 5531) and NFS version 4.0 (RFC 7530); what is not needed for that is not here.
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::os::clock;

/// Debian's server.
const INSTALLED: &str = "/usr/sbin/rpc.nfsd";
/// RFC 7530, section 3.1 and appendix of RFC 7531.
const PROGRAM: u32 = 100_003;
const VERSION: u32 = 4;
const NULL: u32 = 0;
const COMPOUND: u32 = 1;
/// RFC 7531, `nfs_opnum4`.
const GETATTR: u32 = 9;
const LOOKUP: u32 = 15;
const PUTROOTFH: u32 = 24;
const READ: u32 = 25;
/// RFC 7530, section 5.8.1.5: the attribute `size` is the fourth.
const SIZE: u32 = 1 << 4;
/// The most that an answer of ours has: a few bytes of a photo, and what is around them.
const MOST_BYTES: usize = 64 * 1024;
/// Linux takes so many operations in one call (`NFSD_MAX_OPS_PER_COMPOUND`, 16 until 6.10); three of them are no part of a path.
pub const MOST_STEPS: usize = 13;

/// What a server said of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How long it is.
    pub size: u64,
    /// Its first bytes.
    pub bytes: Vec<u8>,
}

/// Why there is no answer, or none that is of use.
#[derive(Debug, thiserror::Error)]
pub enum NfsError {
    /// There is nothing of that name: it is not exported.
    #[error("there is nothing of that name")]
    NotThere,
    /// It answers, and does not do it.
    #[error("the server answers with error {0}")]
    Refused(u32),
    /// What comes is no answer.
    #[error("what the server answers is not understood")]
    NotUnderstood,
    /// It does not answer.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A server, and how long it is waited for altogether.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// Where it is.
    pub at: SocketAddr,
    /// How long.
    pub patience: Duration,
}

impl Server {
    /// Whether it answers at all: the procedure that does nothing.
    pub fn answers(&self) -> Result<(), NfsError> {
        self.call(NULL, &[], &[]).map(drop)
    }

    /// Whether there is something of this name, from the root of what is exported.
    pub fn has(&self, path: &[&str]) -> Result<(), NfsError> {
        let reply = self.compound(path, |_| 0)?;
        walked(&mut Words(&reply), path.len()).map(drop)
    }

    /// The size and at most `most` first bytes of a file.
    pub fn read(&self, path: &[&str], most: u32) -> Result<Seen, NfsError> {
        let reply = self.compound(path, |call| {
            words(call, &[GETATTR, 1, SIZE]);
            words(call, &[READ]);
            // The state of all ones (RFC 7530, section 9.1.4.3) reads without opening, also shortly after the server was started.
            words(call, &[u32::MAX; 4]);
            words(call, &[0, 0, most]);
            2
        })?;
        let mut reply = Words(&reply);
        walked(&mut reply, path.len())?;
        done(&mut reply, GETATTR)?;
        if (reply.word()?, reply.word()?, reply.word()?) != (1, SIZE, 8) {
            return Err(NfsError::NotUnderstood);
        }
        let size = u64::from(reply.word()?) << 32 | u64::from(reply.word()?);
        done(&mut reply, READ)?;
        let _is_end = reply.word()?;
        Ok(Seen { size, bytes: reply.opaque()?.to_vec() })
    }

    fn compound(&self, path: &[&str], more: impl FnOnce(&mut Vec<u8>) -> u32) -> Result<Vec<u8>, NfsError> {
        let mut steps = Vec::new();
        words(&mut steps, &[PUTROOTFH]);
        for name in path {
            words(&mut steps, &[LOOKUP]);
            opaque(&mut steps, name.as_bytes());
        }
        let count = path.len() as u32 + 1 + more(&mut steps);
        let mut call = Vec::new();
        // No tag, and minor version 0: the one that reads without a session.
        words(&mut call, &[0, 0, count]);
        call.extend_from_slice(&steps);
        self.call(COMPOUND, &nobody(), &call)
    }

    /// One call on a connection of its own, and what it returned.
    fn call(&self, procedure: u32, credential: &[u8], arguments: &[u8]) -> Result<Vec<u8>, NfsError> {
        const CALL: u32 = 0;
        const RPC: u32 = 2;
        let until = clock::monotonic() + self.patience;
        let mut stream = TcpStream::connect_timeout(&self.at, self.patience)?;
        stream.set_write_timeout(Some(self.patience))?;
        let number = std::process::id();
        let mut call = Vec::new();
        words(&mut call, &[number, CALL, RPC, PROGRAM, VERSION, procedure]);
        match credential {
            [] => words(&mut call, &[0, 0]),
            own => {
                words(&mut call, &[1]);
                opaque(&mut call, own);
            }
        }
        // The verifier: none.
        words(&mut call, &[0, 0]);
        call.extend_from_slice(arguments);
        let mut record = Vec::new();
        // RFC 5531, section 11: the length, and that it is the last piece.
        words(&mut record, &[call.len() as u32 | LAST]);
        record.extend_from_slice(&call);
        stream.write_all(&record)?;
        let reply = receive(&mut stream, until)?;
        accepted(&reply, number).map(<[u8]>::to_vec)
    }
}

const LAST: u32 = 1 << 31;

/// Who asks (RFC 5531, appendix A): nobody, from nowhere, which the server would make of anybody else.
fn nobody() -> Vec<u8> {
    const NOBODY: u32 = 65_534;
    let mut own = Vec::new();
    words(&mut own, &[0, 0, NOBODY, NOBODY, 0]);
    own
}

fn words(to: &mut Vec<u8>, all: &[u32]) {
    to.extend(all.iter().flat_map(|word| word.to_be_bytes()));
}

/// A length, the bytes, and zeros up to the next word (RFC 4506, section 4.10).
fn opaque(to: &mut Vec<u8>, bytes: &[u8]) {
    words(to, &[bytes.len() as u32]);
    to.extend_from_slice(bytes);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// A record, however many pieces it comes in.
fn receive(stream: &mut TcpStream, until: Instant) -> Result<Vec<u8>, NfsError> {
    let mut record = Vec::new();
    loop {
        let mut head = [0; 4];
        fill(stream, &mut head, until)?;
        let head = u32::from_be_bytes(head);
        let (length, start) = ((head & !LAST) as usize, record.len());
        if start + length > MOST_BYTES {
            return Err(NfsError::NotUnderstood);
        }
        record.resize(start + length, 0);
        fill(stream, record.get_mut(start..).unwrap_or_default(), until)?;
        if head & LAST != 0 {
            return Ok(record);
        }
    }
}

/// A byte now and then keeps nobody waiting for ever: the time is for all of it.
fn fill(stream: &mut TcpStream, mut buffer: &mut [u8], until: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        let left = until.saturating_duration_since(clock::monotonic());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => buffer = buffer.get_mut(n..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// What comes after the head of a reply that says that the call was carried out (RFC 5531, section 9).
fn accepted(reply: &[u8], number: u32) -> Result<&[u8], NfsError> {
    let mut reply = Words(reply);
    // Its number, that it is a reply, that it was accepted.
    match (reply.word()?, reply.word()?, reply.word()?) {
        (own, 1, 0) if own == number => {}
        // Denied for who asks (MSG_DENIED, AUTH_ERROR): Linux says so to whom nothing is exported at all.
        (own, 1, 1) if own == number && reply.word()? == 1 => return Err(NfsError::NotThere),
        _ => return Err(NfsError::NotUnderstood),
    }
    let _verifier = (reply.word()?, reply.opaque()?);
    match reply.word()? {
        0 => Ok(reply.0),
        // PROG_UNAVAIL and the like: something listens there, and it is no server of NFSv4.
        _ => Err(NfsError::NotUnderstood),
    }
}

/// The answers to the steps of a path.
fn walked(reply: &mut Words<'_>, steps: usize) -> Result<(), NfsError> {
    let _status = reply.word()?;
    let _tag = reply.opaque()?;
    let _count = reply.word()?;
    done(reply, PUTROOTFH)?;
    for _ in 0..steps {
        done(reply, LOOKUP)?;
    }
    Ok(())
}

/// The answer to one step; the first that fails is the last there is (RFC 7530, section 14.2).
fn done(reply: &mut Words<'_>, step: u32) -> Result<(), NfsError> {
    const NOENT: u32 = 2;
    if reply.word()? != step {
        return Err(NfsError::NotUnderstood);
    }
    match reply.word()? {
        0 => Ok(()),
        NOENT => Err(NfsError::NotThere),
        other => Err(NfsError::Refused(other)),
    }
}

/// What is still to be read of an answer.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn word(&mut self) -> Result<u32, NfsError> {
        let (word, rest) = self.0.split_first_chunk().ok_or(NfsError::NotUnderstood)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*word))
    }

    fn opaque(&mut self) -> Result<&'a [u8], NfsError> {
        let length = self.word()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(NfsError::NotUnderstood)?;
        // The zeros at the end.
        let padding = length.next_multiple_of(4) - length;
        self.0 = rest.get(padding..).ok_or(NfsError::NotUnderstood)?;
        Ok(bytes)
    }
}

/// Whether this machine has an NFS server.
pub fn is_installed() -> bool {
    std::path::Path::new(INSTALLED).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;

    /// A server that takes one call, and answers as it was told: bytes, after so long.
    fn server(pieces: Vec<Vec<u8>>) -> (Server, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let took = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4];
            stream.read_exact(&mut head).unwrap();
            let mut call = vec![0; (u32::from_be_bytes(head) & !LAST) as usize];
            stream.read_exact(&mut call).unwrap();
            for (index, piece) in pieces.iter().enumerate() {
                let last = if index + 1 == pieces.len() { LAST } else { 0 };
                stream.write_all(&(piece.len() as u32 | last).to_be_bytes()).unwrap();
                stream.write_all(piece).unwrap();
            }
            if pieces.is_empty() {
                // Nothing, until the other end has gone.
                let _gone = stream.read(&mut [0]);
            }
            call
        });
        (Server { at, patience: Duration::from_millis(700) }, took)
    }

    fn reply(all: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        words(&mut bytes, &[std::process::id(), 1, 0, 0, 0, 0]);
        words(&mut bytes, all);
        bytes
    }

    #[test]
    fn the_call_that_does_nothing_is_forty_bytes() {
        let (asked, took) = server(vec![reply(&[])]);
        asked.answers().unwrap();
        let call = took.join().unwrap();
        let mut expect = Vec::new();
        words(&mut expect, &[std::process::id(), 0, 2, 100_003, 4, 0, 0, 0, 0, 0]);
        assert_eq!(call, expect);
        assert_eq!(call.len(), 40);
    }

    #[test]
    fn a_file_is_read_from_an_answer_in_pieces() {
        let mut answer =
            reply(&[0, 0, 5, PUTROOTFH, 0, LOOKUP, 0, LOOKUP, 0, GETATTR, 0, 1, SIZE, 8, 0, 5, READ, 0, 1]);
        opaque(&mut answer, b"hello");
        let (first, second) = answer.split_at(30);
        let (asked, took) = server(vec![first.to_vec(), second.to_vec()]);
        let seen = asked.read(&["photos", "a.jpg"], 4096).unwrap();
        assert_eq!(seen, Seen { size: 5, bytes: b"hello".to_vec() });
        let call = took.join().unwrap();
        assert!(call.windows(9).any(|part| part == b"\0\0\0\x05a.jpg"), "names are in it as they are");
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is_refused_and_from_no_answer() {
        let ask = |pieces| {
            let (asked, took) = server(pieces);
            let said = asked.has(&["photos"]).map_err(|e| e.to_string());
            took.join().unwrap();
            said
        };
        assert_eq!(ask(vec![reply(&[0, 0, 2, PUTROOTFH, 0, LOOKUP, 0])]), Ok(()));
        assert_eq!(
            ask(vec![reply(&[2, 0, 2, PUTROOTFH, 0, LOOKUP, 2])]).unwrap_err(),
            "there is nothing of that name"
        );
        assert_eq!(ask(vec![reply(&[2, 0, 1, PUTROOTFH, 2])]).unwrap_err(), "there is nothing of that name");
        assert_eq!(
            ask(vec![reply(&[13, 0, 2, PUTROOTFH, 0, LOOKUP, 13])]).unwrap_err(),
            "the server answers with error 13"
        );
        assert_eq!(
            ask(vec![b"HTTP/1.1 400 Bad Request".to_vec()]).unwrap_err(),
            "what the server answers is not understood"
        );
        let mut denied = Vec::new();
        words(&mut denied, &[std::process::id(), 1, 1, 1, 1]);
        assert_eq!(
            ask(vec![denied]).unwrap_err(),
            "there is nothing of that name",
            "nothing is exported to us"
        );
        let began = clock::monotonic();
        assert!(
            ask(vec![]).unwrap_err().contains("timed out"),
            "a server whose threads are gone says nothing"
        );
        assert!(clock::monotonic() - began < Duration::from_secs(20));
        let nobody = Server { at: "127.0.0.1:1".parse().unwrap(), patience: Duration::from_secs(5) };
        assert!(matches!(nobody.answers(), Err(NfsError::Io(_))));
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let mut head = reply(&[0, 0, 3]);
            head.extend_from_slice(&bytes);
            for answer in [&bytes, &head] {
                if let Ok(rest) = accepted(answer, std::process::id()) {
                    drop(walked(&mut Words(rest), 2));
                }
            }
        }
    }
}
