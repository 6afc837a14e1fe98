//! A drive that is to become one of the box's: mounted where the daemon can adopt it, with nothing on it changed but two new folders.
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::attaching::{self, Look};
use crate::failure::Failure;
use crate::mounting::{self, Owner, Patience};
use crate::name::Name;
use crate::placing::{Decision, Offer};
use crate::settings::Settings;
use crate::{mounted, report};

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
    let _alone = attaching::alone(&settings.reports)?;
    let mut found = Look::at(name)?.report(settings)?;
    match found.decision.take() {
        Some(Decision::Leave { offer: Offer::Adopt, .. }) => {}
        Some(Decision::Leave { why, .. }) => return Err(Failure::new(why)),
        Some(Decision::Mounted { at }) if settings.places.points.contains(&at) => return Ok(Prepared { at }),
        Some(other) => return Err(Failure::new(format!("it needs no preparing: {other:?}"))),
        None => return Err(Failure::new("nothing was decided about it")),
    }
    let taken = mounted::taken(&settings.places.points)?;
    let free = settings.places.points.iter().find(|at| !taken.contains(at)).cloned();
    let at = free.ok_or_else(|| Failure::new("there is no place for another drive; eject one first"))?;
    found.decision = Some(Decision::Mount { at: at.clone() });
    let done = attaching::mount(&mut found, settings, &at).and_then(|()| {
        let writable = found.checked.as_ref().is_some_and(crate::checking::Checked::may_be_written)
            && !found.device.read_only;
        if writable {
            furnish(&at, settings.owner)
        } else {
            Err(Failure::new("nothing can be written to it; its filesystem needs a person"))
        }
    });
    if let Err(failure) = done {
        // Where it was not mounted there is nothing to let go.
        let _gone = mounting::release(&at, Patience { tries: 4 });
        return Err(failure);
    }
    report::put(&settings.reports, &found)?;
    Ok(Prepared { at })
}

/// What is there already is left to whom it belongs: a folder of that name that is not the daemon's is refused by the daemon.
fn furnish(at: &Path, owner: Owner) -> Result<(), Failure> {
    for (folder, mode) in FOLDERS {
        let path = at.join(folder);
        match fs::DirBuilder::new().mode(mode).create(&path) {
            Ok(()) => {
                // On a filesystem without owners it belongs to the daemon as it is, and chown(2) is refused.
                let own = fs::metadata(&path).map_err(|e| Failure::io("look at", &path, e))?;
                if (own.uid(), own.gid()) != (owner.uid, owner.gid) {
                    chown(&path, Some(owner.uid), Some(owner.gid))
                        .map_err(|e| Failure::io("give away", &path, e))?;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::io("make", &path, e)),
        }
    }
    Ok(())
}
