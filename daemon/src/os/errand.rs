//! An errand: a process that is given one open file, says what it found on a pipe, and is killed when that takes too long.
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::os::clock;

/// How long one that was killed is waited for. A process that waits for a drive that hangs does not die before the drive answers.
const DYING: Duration = Duration::from_secs(1);

/// How an errand ended.
#[derive(Debug)]
pub enum Ended {
    /// In order, with these bytes.
    Well(Vec<u8>),
    /// Otherwise, with this code.
    Code(i32),
    /// It crashed, took more than it may, or said more, and is dead.
    Killed,
    /// It was not done in time, and was killed.
    Late,
}

/// Those who run errands, and those of them who do not die.
#[derive(Default)]
pub struct Errands {
    undead: Mutex<Vec<Child>>,
}

impl Errands {
    /// Sends a program with `input` for its standard input, and waits for what it says: at most `most` bytes, within `patience`. It
    /// inherits nothing else. `Err`: it could not be sent.
    pub fn run(
        &self,
        program: &Path,
        arguments: &[String],
        input: OwnedFd,
        (most, patience): (usize, Duration),
    ) -> io::Result<Ended> {
        self.bury()?;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let until = clock::monotonic() + patience;
        let said = listen(&mut child, most, until);
        let status = said.as_ref().ok().map(|_| wait(&mut child, until)).transpose()?.flatten();
        match (status, said) {
            (Some(status), Ok(said)) if status.success() => Ok(Ended::Well(said)),
            (Some(status), _) => Ok(status.code().map_or(Ended::Killed, Ended::Code)),
            (None, said) => {
                // Either it is dead by now, which is as well.
                drop(child.kill());
                if wait(&mut child, clock::monotonic() + DYING)?.is_none() {
                    self.undead.lock().unwrap_or_else(PoisonError::into_inner).push(child);
                }
                let late = said.map_or_else(|e| e.kind() == io::ErrorKind::TimedOut, |_| true);
                Ok(if late { Ended::Late } else { Ended::Killed })
            }
        }
    }

    /// While one waits for a drive that does not answer, nobody is sent after it.
    fn bury(&self) -> io::Result<()> {
        let mut undead = self.undead.lock().unwrap_or_else(PoisonError::into_inner);
        undead.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if undead.is_empty() { Ok(()) } else { Err(io::Error::other("the one before waits for a drive")) }
    }
}

/// What it says, to the end. `Err`: too much, or too late.
fn listen(child: &mut Child, most: usize, until: Instant) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    let Some(pipe) = child.stdout.as_mut() else { return Ok(said) };
    let mut piece = vec![0; 64 * 1024];
    loop {
        let left = until.saturating_duration_since(clock::monotonic());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let ready = match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        if ready == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match pipe.read(&mut piece)? {
            0 => return Ok(said),
            read => said.extend_from_slice(&piece[..read]),
        }
        if said.len() > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// `None`: it lives on.
fn wait(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    const PAUSE: Duration = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if clock::monotonic() >= until {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn run(script: &str, most: usize) -> Ended {
        let input = File::open("/proc/self/cmdline").unwrap().into();
        let arguments = ["-c".to_owned(), script.to_owned()];
        Errands::default()
            .run(Path::new("/bin/sh"), &arguments, input, (most, Duration::from_millis(800)))
            .unwrap()
    }

    #[test]
    fn every_end_is_told_from_the_others() {
        assert!(matches!(run("echo -n a; echo -n b", 2), Ended::Well(said) if said == b"ab"));
        assert!(
            matches!(run("cat", 1 << 20), Ended::Well(said) if !said.is_empty()),
            "its input is the file"
        );
        assert!(matches!(run("exit 3", 2), Ended::Code(3)));
        assert!(matches!(run("kill -9 $$", 2), Ended::Killed));
        assert!(matches!(run("echo abc", 2), Ended::Killed), "too much");
        assert!(matches!(run("exec sleep 60", 2), Ended::Late), "too late");
        assert!(matches!(run("exec >&-; exec sleep 60", 2), Ended::Late), "too late, and silent");
        assert!(matches!(run("env | grep -c PATH", 9), Ended::Well(_) | Ended::Code(_)));
    }

    #[test]
    fn who_cannot_be_sent_is_an_error() {
        let input = File::open("/proc/self/cmdline").unwrap().into();
        assert!(Errands::default().run(Path::new("/none"), &[], input, (1, Duration::from_secs(1))).is_err());
    }
}
