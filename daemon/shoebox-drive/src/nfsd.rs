//! The kernel's NFS server: what its clients keep open, and starting it anew.
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::failure::Failure;
use crate::program;

/// One folder a client (nfsd(7)).
const CLIENTS: &str = "/proc/fs/nfsd/clients";
/// Starting it interrupts everybody who reads; when that did not mend it, more of it will not.
const BETWEEN_STARTS: Duration = Duration::from_secs(600);
/// Stopping it waits for requests under way, which a drive may keep waiting.
const WITHIN: Duration = Duration::from_secs(120);
/// What is told of itself by the time of its last change.
const STARTED: &str = ".nfs-started";

/// Makes the server forget the clients that have something open on a filesystem, which keeps it from being unmounted. They ask anew, and find
/// that it is gone. Nobody loses anything: they only read.
pub(crate) fn forget_holders(device: &str) {
    let Some(mark) = superblock(device) else { return };
    for client in fs::read_dir(CLIENTS).into_iter().flatten().flatten() {
        let states = fs::read_to_string(client.path().join("states")).unwrap_or_default();
        if states.contains(&mark) {
            // One that has left meanwhile has no file any more. Kernels before 5.3 have none at all, and the unmounting tells.
            let _told = fs::write(client.path().join("ctl"), "expire\n");
        }
    }
}

/// How `states` names a filesystem (`nfs4_show_superblock` in fs/nfsd/nfs4state.c), from mountinfo's `8:17`.
fn superblock(device: &str) -> Option<String> {
    let (major, minor) = device.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(format!("superblock: \"{major:02x}:{minor:02x}:"))
}

/// Starts the server anew, unless that was done a short while ago.
///
/// # Errors
/// It was; or systemd says why not.
pub(crate) fn start_anew(folder: &Path) -> Result<(), Failure> {
    let note = folder.join(STARTED);
    let last = fs::metadata(&note).and_then(|meta| meta.modified()).ok();
    // A clock that was set back makes it long ago.
    let since = last.and_then(|last| SystemTime::now().duration_since(last).ok());
    if since.is_some_and(|since| since < BETWEEN_STARTS) {
        return Err(Failure::new(
            "the NFS server was started anew less than ten minutes ago; that did not mend it",
        ));
    }
    fs::write(&note, "").map_err(|e| Failure::io("write", &note, e))?;
    let ended = program::run("systemctl", &["restart", "nfs-server.service"], WITHIN)?;
    if ended.code == 0 {
        return Ok(());
    }
    Err(Failure::new(format!("the NFS server could not be started: {}", ended.said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_is_named_as_the_kernel_names_it() {
        assert_eq!(superblock("8:17").as_deref(), Some("superblock: \"08:11:"));
        assert_eq!(superblock("259:3").as_deref(), Some("superblock: \"103:03:"));
        assert_eq!(superblock("none"), None);
    }

    #[test]
    fn it_is_not_started_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(STARTED), "").unwrap();
        assert!(start_anew(dir.path()).unwrap_err().to_string().contains("less than ten minutes"));
    }
}
