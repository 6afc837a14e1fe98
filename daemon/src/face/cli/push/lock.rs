//! One run at a time: a lock that the kernel lets go when its holder ends, however it ends (flock(2)).
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::face::control::{Fault, FaultKind};

/// Held for as long as a run goes on.
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

impl Lock {
    /// Takes it, or says that another run has it.
    pub(super) fn take(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = opened.with_context(|| format!("could not open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Self(held)),
            Err((_, Errno::EWOULDBLOCK)) => Err(Fault::new(
                FaultKind::Unavailable,
                "another `shoebox push` is under way",
                "let it finish; `shoebox push --status` shows how far it is",
            )
            .into()),
            Err((_, e)) => Err(e).with_context(|| format!("could not lock {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path()).unwrap();
        let other = Lock::take(dir.path()).err().unwrap();
        assert!(other.to_string().contains("under way"), "{other}");
        drop(held);
        assert!(Lock::take(dir.path()).is_ok());
    }
}
