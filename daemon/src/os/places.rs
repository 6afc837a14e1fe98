//! Hearing of it when something is mounted at one of the places where drives may be, or goes from there. Costs nothing while
//! nothing is mounted anywhere.
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::os::mounts::Mounts;

/// Calls `changed` whenever the mount at one of `places` is another one than before, for as long as the process lives: from a
/// thread of its own, and only to wake somebody.
pub fn follow(places: Vec<PathBuf>, changed: impl Fn() + Send + 'static) -> io::Result<()> {
    let list = File::open("/proc/self/mountinfo")?;
    let mut known = mounted(&places)?;
    std::thread::Builder::new().name("mounts".to_owned()).spawn(move || {
        // proc_pid_mountinfo(5): a change in the list makes it readable with POLLPRI.
        loop {
            let mut wait = [PollFd::new(list.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut wait, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return log::warn!("mounts are no longer followed: {e}"),
            }
            match mounted(&places) {
                Ok(now) if now == known => {}
                Ok(now) => {
                    known = now;
                    changed();
                }
                // Whoever is woken looks for himself.
                Err(_) => changed(),
            }
        }
    })?;
    Ok(())
}

fn mounted(places: &[PathBuf]) -> io::Result<Vec<Option<u64>>> {
    let mounts = Mounts::read()?;
    Ok(places.iter().map(|place| mounts.at(place).map(|mount| mount.id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_mount_at_a_place_is_heard_of_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (place, other) = (dir.path().join("place"), dir.path().join("other"));
        std::fs::create_dir(&place).unwrap();
        std::fs::create_dir(&other).unwrap();
        let (tell, told) = mpsc::channel();
        follow(vec![place.clone()], move || tell.send(()).unwrap_or_default()).unwrap();
        let mount = |at: &PathBuf| {
            let done = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(at).output();
            done.is_ok_and(|done| done.status.success())
        };
        let unmount = |at: &PathBuf| assert!(Command::new("umount").arg(at).status().unwrap().success());
        if !mount(&other) {
            return; // not root
        }
        unmount(&other);
        assert_eq!(told.recv_timeout(Duration::from_millis(300)), Err(mpsc::RecvTimeoutError::Timeout));
        assert!(mount(&place));
        told.recv_timeout(Duration::from_secs(20)).unwrap();
        unmount(&place);
        told.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
