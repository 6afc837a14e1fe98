//! A drive that was plugged in, from the kernel's word that it is there to its place; and one that is gone, away from it.
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::device::Device;
use crate::failure::Failure;
use crate::filesystem::{self, Filesystem};
use crate::mark::Mark;
use crate::mounting::{self, Patience};
use crate::name::Name;
use crate::placing::{Decision, Facts, decide};
use crate::report::{self, Report};
use crate::settings::Settings;
use crate::{cache, checking, exporting, mounted, program};

/// Held while something is mounted or let go: two drives that come at once are placed one after the other. Never while a drive is checked.
pub(crate) fn alone(folder: &Path) -> Result<Flock<fs::File>, Failure> {
    lock(folder, ".lock")
}

/// Held while anything is done with a device.
pub(crate) fn alone_with(folder: &Path, name: &Name) -> Result<Flock<fs::File>, Failure> {
    lock(folder, &format!(".{name}.lock"))
}

/// For root only: whoever may read such a file can hold it.
fn lock(folder: &Path, file: &str) -> Result<Flock<fs::File>, Failure> {
    report::make(folder)?;
    let at = folder.join(file);
    let file = fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(&at);
    let file = file.map_err(|e| Failure::io("open", &at, e))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| Failure::io("lock", &at, e))
}

/// Looks at a drive and tells what would become of it. Changes nothing on it.
///
/// # Errors
/// It cannot be looked at.
pub fn probe(name: &Name, settings: &Settings) -> Result<Report, Failure> {
    let _device = alone_with(&settings.reports, name)?;
    Look::at(name, &settings.reports)?.report(settings)
}

/// Recognises, checks and mounts it. What became of it is reported, also when that failed.
///
/// # Errors
/// It cannot be looked at; a drive of ours could not be mounted.
pub fn attach(name: &Name, settings: &Settings) -> Result<Report, Failure> {
    let _device = alone_with(&settings.reports, name)?;
    let device = Device::read(name)?;
    let mut report = match Look::of(device.clone(), &settings.reports).and_then(|look| look.report(settings))
    {
        Ok(report) => report,
        Err(failure) => {
            report::put(&settings.reports, &Report::failed(device, &failure))?;
            return Err(failure);
        }
    };
    let done = place(&mut report, settings);
    report.failed = done.as_ref().err().map(Failure::to_string);
    report::put(&settings.reports, &report)?;
    done.map(|()| report)
}

fn place(report: &mut Report, settings: &Settings) -> Result<(), Failure> {
    match report.decision.clone() {
        Some(Decision::Mount { at }) => mount(report, settings, Some(at)).map(drop),
        Some(Decision::AsFstabSays { at }) => {
            if !examine(report)? {
                return Err(Failure::new(
                    "its filesystem needs a person, and /etc/fstab wants it written to",
                ));
            }
            let name = &report.device.name;
            let done = mounting::by_fstab(name);
            // systemd may have been quicker: it reads that file, too.
            if done.is_err() && mounted::is_at(name, &at)? { Ok(()) } else { done }
        }
        Some(Decision::Look | Decision::Mounted { .. } | Decision::Leave { .. }) | None => Ok(()),
    }
}

/// Looks at its cache and its filesystem, and tells whether it may be written to.
fn examine(report: &mut Report) -> Result<bool, Failure> {
    // Before the first write: the journal's own flushes are worth nothing either while none is sent.
    report.cache = Some(cache::look(&report.device)?);
    let kind = report.filesystem.as_ref().map(|filesystem| filesystem.kind.as_str()).unwrap_or_default();
    // A journal that cannot be replayed is nothing to be checked.
    if report.device.read_only {
        return Ok(false);
    }
    let checked = checking::check(&report.device.name, kind)?;
    let writable = checked.may_be_written();
    report.checked = Some(checked);
    Ok(writable)
}

/// Mounts it where the decision says, or in any free place, if that was taken while it was checked; for reading only where it may
/// not be written to. Tells where.
///
/// # Errors
/// The kernel did not take it, or there is no place any more.
pub(crate) fn mount(
    report: &mut Report,
    settings: &Settings,
    wanted: Option<PathBuf>,
) -> Result<PathBuf, Failure> {
    let writable = examine(report)?;
    let kind = report.filesystem.as_ref().map(|filesystem| filesystem.kind.as_str()).unwrap_or_default();
    let _alone = alone(&settings.reports)?;
    let taken = mounted::taken(&settings.places.points)?;
    let free = wanted.iter().chain(settings.places.points.iter().rev()).find(|at| !taken.contains(at));
    let at =
        free.ok_or_else(|| Failure::new("there is no place for another drive; eject one first"))?.clone();
    make(&at)?;
    mounting::attach(&report.device.name, kind, &at, settings.owner, !writable)?;
    report.decision = Some(Decision::Mount { at: at.clone() });
    // What is mounted is the device that is held open. That it can be read is seen here, or it is no drive to work with.
    match Mark::below(&at) {
        Ok(mark) if mark == report.marker => Ok(at),
        Ok(_) => {
            mounting::detach(&at)?;
            Err(Failure::new("what was mounted is not what was looked at; it was let go again"))
        }
        Err(failure) => {
            mounting::detach(&at)?;
            Err(failure)
        }
    }
}

/// Nobody may write there while nothing is mounted (promise P3).
fn make(at: &Path) -> Result<(), Failure> {
    match fs::DirBuilder::new().mode(0o555).create(at) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Failure::io("make", at, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// It is gone, or is to be: its place is freed at once. Only a place of the box's, and only if it is this device that is there.
///
/// # Errors
/// It is still there.
pub fn detach(name: &Name, settings: &Settings) -> Result<(), Failure> {
    let _alone = alone(&settings.reports)?;
    // Before it is unmounted: the server would go on showing what it remembers of it. Its place is freed also where that failed.
    let withdrawn = exporting::withdraw_of(name, settings, exporting::Manner::AtOnce);
    let Some(at) = report::take(&settings.reports, name) else { return withdrawn };
    if settings.places.points.contains(&at) && mounted::is_at(name, &at)? {
        mounting::detach(&at)?;
    }
    withdrawn
}

/// What there is to see of a drive, without its marker.
pub(crate) struct Look {
    device: Device,
    filesystem: Option<Filesystem>,
    in_use: Vec<(PathBuf, bool)>,
    fstab: Option<PathBuf>,
    twin: bool,
}

impl Look {
    pub(crate) fn at(name: &Name, folder: &Path) -> Result<Self, Failure> {
        Self::of(Device::read(name)?, folder)
    }

    fn of(device: Device, folder: &Path) -> Result<Self, Failure> {
        let name = &device.name;
        if tidy(folder, name)? {
            // It was told to take no writes.
            return Self::at(name, folder);
        }
        let filesystem = filesystem::on(name)?;
        let twin = match &filesystem {
            Some(found) if found.kind == "btrfs" => mounted::has_twin(name, &found.uuid)?,
            Some(_) | None => false,
        };
        let (in_use, fstab) = (mounted::in_use(&device)?, mounted::fstab(name)?);
        Ok(Self { in_use, fstab, device, filesystem, twin })
    }

    pub(crate) fn report(self, settings: &Settings) -> Result<Report, Failure> {
        let taken = mounted::taken(&settings.places.points)?;
        let mut marker = None;
        let mut decision = self.decide(None, settings, &taken);
        if decision == Decision::Look {
            marker = self.marker(&settings.reports)?;
            decision = self.decide(Some(marker.as_ref()), settings, &taken);
        }
        let Self { device, filesystem, .. } = self;
        Ok(Report {
            device,
            filesystem,
            marker,
            decision: Some(decision),
            checked: None,
            cache: None,
            failed: None,
        })
    }

    fn decide(&self, mark: Option<Option<&Mark>>, settings: &Settings, taken: &[PathBuf]) -> Decision {
        let Self { device, filesystem, in_use, fstab, twin } = self;
        let fstab = fstab.as_deref();
        decide(
            &Facts { device, filesystem: filesystem.as_ref(), in_use, fstab, twin: *twin, mark },
            &settings.places,
            taken,
        )
    }

    /// Looks for a marker with the device marked as one that takes no writes, which filesystems heed, and without its journal being replayed:
    /// a strange drive stays as it is to the byte, whatever its filesystem would like to put right when it is mounted.
    fn marker(&self, folder: &Path) -> Result<Option<Mark>, Failure> {
        let kind = self.filesystem.as_ref().map(|found| found.kind.as_str()).unwrap_or_default();
        report::make(folder)?;
        let at = folder.join(format!(".look-{}", self.device.name));
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&at);
        made.map_err(|e| Failure::io("make", &at, e))?;
        let unwritable = Unwritable::begin(&self.device, folder)?;
        let found = mounting::look(&self.device.name, kind, &at).and_then(|()| {
            let found = Mark::below(&at);
            // Only root may go in there; what may have it open for a moment is a process that is about to become another program.
            let released = mounting::release(&at, Patience { tries: 20 });
            if released.is_err() {
                mounting::detach(&at)?;
            }
            found
        });
        unwritable.end()?;
        found
    }
}

/// The device takes no writes meanwhile (BLKROSET, blockdev(8)). It is noted first, so that whoever comes after a kill undoes it.
struct Unwritable<'d>(Option<(&'d Device, PathBuf)>);

impl<'d> Unwritable<'d> {
    fn begin(device: &'d Device, folder: &Path) -> Result<Self, Failure> {
        if device.read_only {
            return Ok(Self(None));
        }
        let note = note(folder, &device.name);
        fs::write(&note, "").map_err(|e| Failure::io("write", &note, e))?;
        set(&device.name, "--setro")?;
        Ok(Self(Some((device, note))))
    }

    fn end(self) -> Result<(), Failure> {
        let Some((device, note)) = self.0 else { return Ok(()) };
        set(&device.name, "--setrw")?;
        fs::remove_file(&note).map_err(|e| Failure::io("remove", &note, e))
    }
}

fn note(folder: &Path, name: &Name) -> PathBuf {
    folder.join(format!(".unwritable-{name}"))
}

/// Puts right what a look that was killed left behind. `true`: the device takes writes again, which it did not.
fn tidy(folder: &Path, name: &Name) -> Result<bool, Failure> {
    let at = folder.join(format!(".look-{name}"));
    if mounted::is_at(name, &at)? {
        mounting::detach(&at)?;
    }
    let note = note(folder, name);
    let noted = note.exists();
    if noted {
        set(name, "--setrw")?;
        fs::remove_file(&note).map_err(|e| Failure::io("remove", &note, e))?;
    }
    Ok(noted)
}

fn set(name: &Name, how: &str) -> Result<(), Failure> {
    let node = name.node();
    let ended = program::run("blockdev", &[how.as_ref(), node.as_os_str()], Duration::from_secs(30))?;
    if ended.code == 0 {
        Ok(())
    } else {
        Err(Failure::new(format!("blockdev {how} {}: {}", node.display(), ended.said.trim())))
    }
}
