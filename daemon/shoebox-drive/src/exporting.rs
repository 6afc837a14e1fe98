//! Photos for the computers of the house: drive B's are exported over NFS while it is there, and nothing else ever is.
//!
//! What is exported is made equal to what should be, whoever asks and however often; nobody says what. The photos are shown in a place of
//! their own that stays the same wherever the drive is (a bind mount on a tiny filesystem of memory), so that clients need not know. The list
//! for exports(5) is in `/run`: it is gone after a start of the machine, and there after one of the server.
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::Serialize;

use crate::exports;
use crate::failure::Failure;
use crate::filesystem;
use crate::mark::{Mark, Role};
use crate::mounted::{self, There};
use crate::mounting;
use crate::name::Name;
use crate::settings::Settings;
use crate::{attaching, nfsd, program, report};

/// The folder of a drive that is exported.
const PHOTOS: &str = "photos";
const WITHIN: Duration = Duration::from_secs(30);
/// Tries to let the photos go, a quarter of a second apart.
const TRIES: u32 = 20;
/// What is shown starts no program, is no device, gives nobody rights, and is not written to.
const FLAGS: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC)
    .union(MsFlags::MS_NOATIME)
    .union(MsFlags::MS_RDONLY);

/// What is exported now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Exported {
    /// The photos of this drive.
    Photos {
        /// Its id.
        drive: String,
    },
    /// Nothing.
    Nothing {
        /// Why, for people.
        why: String,
    },
}

/// A drive that says that it is B, and is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    at: PathBuf,
    number: String,
    mark: Mark,
}

/// Makes what is exported equal to what should be.
///
/// # Errors
/// What should not be exported still is, or what should be is not.
pub fn settle(settings: &Settings) -> Result<Exported, Failure> {
    // A drive that hangs is waited for without the lock: others must be able to go.
    let found = candidates(settings);
    let _alone = attaching::alone(&settings.reports)?;
    let found = found.into_iter().filter(is_still).collect();
    match choose(found, mounted::there(&settings.places.photos())?.as_ref(), settings) {
        Ok(one) => show(&one, settings).map(|()| Exported::Photos { drive: one.mark.drive }),
        Err(why) => withdraw(settings, Manner::Gently).map(|()| Exported::Nothing { why }),
    }
}

/// Which drive it is; or why none.
fn choose(
    mut found: Vec<Candidate>,
    shown: Option<&There>,
    settings: &Settings,
) -> Result<Candidate, String> {
    if !settings.nfs.export {
        return Err("exporting is off in /etc/shoebox/drive.toml".into());
    }
    if program::find("exportfs").is_err() {
        return Err("no NFS server is installed (nfs-kernel-server)".into());
    }
    if found.len() > 1 {
        // A clone that is plugged in beside it changes nothing.
        found.retain(|one| shown.is_some_and(|shown| shown.number == one.number));
        return found
            .pop()
            .ok_or_else(|| "more than one drive says that it is drive B (copy); unplug one".into());
    }
    found.pop().ok_or_else(|| "drive B (copy) is not there".into())
}

/// Every drive in a place of the box's whose marker, which fits its filesystem, says that it is B.
fn candidates(settings: &Settings) -> Vec<Candidate> {
    let look = |at: &PathBuf| {
        let there = mounted::there(at).ok()??;
        // One that cannot be read is not exported.
        let mark = Mark::below(at).ok()??;
        let filesystem = filesystem::on(&there.device()?).ok()??;
        let is_b = mark.role == Role::Mirror && mark.is_of(&filesystem) && there.root == "/";
        is_b.then(|| Candidate { at: at.clone(), number: there.number, mark })
    };
    settings.places.points.iter().filter_map(look).collect()
}

fn is_still(one: &Candidate) -> bool {
    matches!(mounted::there(&one.at), Ok(Some(there)) if there.number == one.number)
}

/// Shows and exports the photos of a drive. Done already is done.
fn show(one: &Candidate, settings: &Settings) -> Result<(), Failure> {
    let (root, photos) = (&settings.places.shown, settings.places.photos());
    let number = exports::number(&one.mark.pool);
    let lines = exports::lines(root, &photos, number, &settings.nfs.networks, settings.nfs.root);
    let own = |there: &There| there.number == one.number;
    let shown = mounted::there(&photos)?;
    if !shown.as_ref().is_some_and(own) {
        if shown.is_some() {
            withdraw(settings, Manner::Gently)?;
        }
        stand(root, &photos)?;
        bind(one, &photos)?;
    }
    if fs::read_to_string(&settings.nfs.list).is_ok_and(|there| there == lines) && is_told(&photos)? {
        return Ok(());
    }
    let said = list(settings, &lines).and_then(|()| tell())?;
    if is_told(&photos)? {
        return Ok(());
    }
    withdraw(settings, Manner::Gently)?;
    Err(Failure::new(format!("the NFS server did not take it: {}", said.trim())))
}

/// Takes no photo that a link on the drive leads to: only the folder itself, on this very filesystem.
fn bind(one: &Candidate, photos: &Path) -> Result<(), Failure> {
    let root = fs::File::open(&one.at).map_err(|e| Failure::io("open", &one.at, e))?;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
    let how = how.resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV,
    );
    let folder = openat2(&root, PHOTOS, how).map_err(|e| Failure::io("open", one.at.join(PHOTOS), e))?;
    let source = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let bound = mount(Some(source.as_str()), photos, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    bound.map_err(|e| Failure::io("mount", photos, e))?;
    // A bind mount takes no options when it is made (mount(2)).
    let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | FLAGS;
    let limited = mount(None::<&str>, photos, None::<&str>, again, None::<&str>);
    let right = matches!(mounted::there(photos)?, Some(there) if there.number == one.number);
    if limited.is_ok() && right {
        return Ok(());
    }
    mounting::detach(photos)?;
    limited.map_err(|e| Failure::io("mount", photos, e))?;
    Err(Failure::new("what was mounted is not what was looked at; it was let go again"))
}

/// The root of what clients see: a filesystem of memory with nothing on it but the folder for the photos, so that no handle that somebody makes
/// up leads anywhere; and where the system's root is an overlay, the server could not show that.
fn stand(root: &Path, photos: &Path) -> Result<(), Failure> {
    if mounted::there(root)?.is_some() {
        return Ok(());
    }
    make(root)?;
    let data = "size=64k,nr_inodes=8,mode=0755";
    let flags = FLAGS.difference(MsFlags::MS_RDONLY);
    mount(Some("shoebox"), root, Some("tmpfs"), flags, Some(data))
        .map_err(|e| Failure::io("mount", root, e))?;
    let made = make(photos).and_then(|()| {
        let again = MsFlags::MS_REMOUNT | FLAGS;
        mount(None::<&str>, root, None::<&str>, again, None::<&str>)
            .map_err(|e| Failure::io("mount", root, e))
    });
    if made.is_err() {
        mounting::detach(root)?;
    }
    made
}

fn make(at: &Path) -> Result<(), Failure> {
    match fs::DirBuilder::new().mode(0o555).create(at) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Failure::io("make", at, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// How photos are let go that somebody has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// They are waited for; and if that is in vain nothing is said to be done.
    Gently,
    /// The drive is gone.
    AtOnce,
}

/// Exports a drive's photos no more, if it is that drive's that are. Whoever calls holds the lock.
///
/// # Errors
/// They still are.
pub(crate) fn withdraw_of(name: &Name, settings: &Settings, manner: Manner) -> Result<(), Failure> {
    match mounted::there(&settings.places.photos())? {
        Some(there) if there.device().as_ref() == Some(name) => withdraw(settings, manner),
        Some(_) | None => Ok(()),
    }
}

/// Exports nothing, whatever should be. Until the next that settles it.
///
/// # Errors
/// Something still is.
pub fn stop(settings: &Settings) -> Result<(), Failure> {
    let _alone = attaching::alone(&settings.reports)?;
    withdraw(settings, Manner::Gently)
}

/// First the server is told, then it is unmounted: a server that is not told goes on answering from memory.
fn withdraw(settings: &Settings, manner: Manner) -> Result<(), Failure> {
    let photos = settings.places.photos();
    let told =
        if fs::read_to_string(&settings.nfs.list).is_ok_and(|text| !text.is_empty()) || is_told(&photos)? {
            list(settings, "").and_then(|()| tell())
        } else {
            Ok(String::new())
        };
    let Some(there) = mounted::there(&photos)? else { return told.map(drop) };
    for _ in 0..TRIES {
        match umount2(&photos, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {
                // Nothing is on it, and it may stay: the next time it is there already.
                let _root = umount2(&settings.places.shown, MntFlags::UMOUNT_NOFOLLOW);
                return told.map(drop);
            }
            Err(Errno::EBUSY) if manner == Manner::Gently => nfsd::forget_holders(&there.number),
            Err(_) => break,
        }
        thread::sleep(Duration::from_millis(250));
    }
    if manner == Manner::Gently {
        return Err(Failure::new("a program still uses the photos that are exported"));
    }
    nfsd::forget_holders(&there.number);
    mounting::detach(&photos).and(told.map(drop))
}

/// As a whole: the server may look at any moment.
fn list(settings: &Settings, lines: &str) -> Result<(), Failure> {
    let at = &settings.nfs.list;
    report::make(&settings.reports)?;
    let beside = at.with_extension("new");
    let mut how = fs::File::options();
    let file = how.write(true).create(true).truncate(true).mode(0o644).open(&beside);
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, lines.as_bytes()));
    written.and_then(|()| fs::rename(&beside, at)).map_err(|e| Failure::io("write", at, e))
}

/// Has the server look at the lists. What it says, also of what others export; that tells nothing of ours.
fn tell() -> Result<String, Failure> {
    Ok(program::run("exportfs", &["-ra"], WITHIN)?.said)
}

/// Whether exportfs(8) has taken it: the table that the server is told from, one line a place and network.
fn is_told(photos: &Path) -> Result<bool, Failure> {
    const TABLE: &str = "/var/lib/nfs/etab";
    let place = photos.to_string_lossy();
    match fs::read_to_string(TABLE) {
        Ok(text) => Ok(text.lines().any(|line| line.split('\t').next() == Some(place.as_ref()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Failure::io("read", TABLE, e)),
    }
}

/// Starts the server anew, which does not answer, and settles what is exported.
///
/// # Errors
/// That was done a short while ago; it does not start.
pub fn mend(settings: &Settings) -> Result<Exported, Failure> {
    report::make(&settings.reports)?;
    nfsd::start_anew(&settings.reports)?;
    settle(settings)
}
