//! A drive that is to become one of the box's: mounted where the daemon can adopt it, with nothing on it changed but two new folders.
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use serde::Serialize;

use crate::attaching::{self, Look};
use crate::failure::Failure;
use crate::mounting::{self, Owner};
use crate::name::Name;
use crate::placing::{Decision, Offer};
use crate::settings::Settings;
use crate::{checking, mounted, report};

/// Where it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// There the daemon finds it.
    pub at: PathBuf,
}

/// The only folders that the daemon makes in a drive's root; everything else there stays whose it is. The modes are the daemon's own.
const FOLDERS: [(&str, u32); 2] = [(".shoebox", 0o700), ("photos", 0o755)];

/// Mounts a drive that was offered, in any free place.
///
/// # Errors
/// It is one of the system's, or cannot be taken, and why; its filesystem needs a person.
pub fn prepare(name: &Name, settings: &Settings) -> Result<Prepared, Failure> {
    let _device = attaching::alone_with(&settings.reports, name)?;
    let mut found = Look::at(name, &settings.reports)?.report(settings)?;
    match found.decision.take() {
        Some(Decision::Leave { offer: Offer::Adopt, .. }) => {}
        Some(Decision::Leave { why, .. }) => return Err(Failure::new(why)),
        Some(Decision::Mounted { at }) if settings.places.points.contains(&at) => return Ok(Prepared { at }),
        Some(other) => return Err(Failure::new(format!("it needs no preparing: {other:?}"))),
        None => return Err(Failure::new("nothing was decided about it")),
    }
    let first = settings
        .places
        .points
        .iter()
        .find(|at| mounted::taken(std::slice::from_ref(at)).is_ok_and(|taken| taken.is_empty()));
    let at = attaching::mount(&mut found, settings, first.cloned())?;
    let writable = found.checked.as_ref().is_some_and(checking::Checked::may_be_written);
    let done = if writable {
        furnish(&at, settings.owner)
    } else {
        Err(Failure::new("nothing can be written to it, or its filesystem needs a person"))
    };
    if let Err(failure) = done {
        mounting::detach(&at)?;
        return Err(failure);
    }
    report::put(&settings.reports, &found)?;
    Ok(Prepared { at })
}

/// What is there already is left to whom it belongs: a folder of that name that is not the daemon's is refused by the daemon.
///
/// By handles, and never by a path: the drive's root may belong to somebody who exchanges what was just made for a link to elsewhere.
fn furnish(at: &Path, owner: Owner) -> Result<(), Failure> {
    let root = fs::File::open(at).map_err(|e| Failure::io("open", at, e))?;
    for (folder, mode) in FOLDERS {
        let path = at.join(folder);
        match mkdirat(&root, folder, Mode::from_bits_truncate(mode)) {
            Ok(()) => give(&root, folder, owner).map_err(|e| Failure::io("give away", &path, e))?,
            Err(Errno::EEXIST) => {}
            Err(e) => return Err(Failure::io("make", &path, e)),
        }
    }
    Ok(())
}

fn give(root: &fs::File, folder: &str, owner: Owner) -> io::Result<()> {
    let how =
        OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC);
    let how = how.resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV,
    );
    let made = fs::File::from(openat2(root, folder, how)?);
    let own = made.metadata()?;
    // On a filesystem without owners it belongs to the daemon as it is, and fchown(2) is refused.
    if (own.uid(), own.gid()) == (owner.uid, owner.gid) {
        return Ok(());
    }
    // Only what was just made: root's, and empty.
    if own.uid() != 0 || own.nlink() > 2 {
        return Err(io::Error::other("it is not what was made there"));
    }
    fchown(&made, Some(owner.uid), Some(owner.gid))
}
