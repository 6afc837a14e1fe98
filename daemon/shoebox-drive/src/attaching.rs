//! A drive that was plugged in, from the kernel's word that it is there to its place; and one that is gone, away from it.
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
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
use crate::{cache, checking, mounted, program};

/// Two drives that come at once are placed one after the other.
pub(crate) fn alone(folder: &Path) -> Result<Flock<fs::File>, Failure> {
    report::make(folder)?;
    let at = folder.join(".lock");
    let file = fs::File::create(&at).map_err(|e| Failure::io("open", &at, e))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| Failure::io("lock", &at, e))
}

/// Looks at a drive and tells what would become of it. Changes nothing on it.
///
/// # Errors
/// It cannot be looked at.
pub fn probe(name: &Name, settings: &Settings) -> Result<Report, Failure> {
    let _alone = alone(&settings.reports)?;
    Look::at(name)?.report(settings)
}

/// Recognises, checks and mounts it. What became of it is reported, also when that failed.
///
/// # Errors
/// A drive of ours could not be mounted.
pub fn attach(name: &Name, settings: &Settings) -> Result<Report, Failure> {
    let _alone = alone(&settings.reports)?;
    let mut report = Look::at(name)?.report(settings)?;
    let done = place(&mut report, settings);
    report.failed = done.as_ref().err().map(Failure::to_string);
    report::put(&settings.reports, &report)?;
    done.map(|()| report)
}

fn place(report: &mut Report, settings: &Settings) -> Result<(), Failure> {
    let name = report.device.name.clone();
    let (at, by_fstab) = match report.decision.clone() {
        Some(Decision::Mount { at }) => (at, false),
        Some(Decision::AsFstabSays { at }) => (at, true),
        Some(Decision::Look | Decision::Mounted { .. } | Decision::Leave { .. }) | None => return Ok(()),
    };
    if !by_fstab {
        return mount(report, settings, &at);
    }
    if !examine(report)? {
        return Err(Failure::new("its filesystem needs a person, and /etc/fstab wants it written to"));
    }
    mounting::by_fstab(&name)
}

/// Looks at its cache and its filesystem, and tells whether it may be written to.
fn examine(report: &mut Report) -> Result<bool, Failure> {
    // Before the first write: the journal's own flushes are worth nothing either while none is sent.
    report.cache = Some(cache::look(&report.device)?);
    let kind = report.filesystem.as_ref().map(|filesystem| filesystem.kind.as_str()).unwrap_or_default();
    let checked = checking::check(&report.device.name, kind)?;
    let writable = !report.device.read_only && checked.may_be_written();
    report.checked = Some(checked);
    Ok(writable)
}

/// Mounts it there, for reading only where it may not be written to.
///
/// # Errors
/// The kernel did not take it, or something else has its name by now.
pub(crate) fn mount(report: &mut Report, settings: &Settings, at: &Path) -> Result<(), Failure> {
    let writable = examine(report)?;
    let kind = report.filesystem.as_ref().map(|filesystem| filesystem.kind.as_str()).unwrap_or_default();
    make(at)?;
    mounting::attach(&report.device.name, kind, at, settings.owner, !writable)?;
    // Between the look and the mount another drive can have taken its name.
    if Mark::below(at)? == report.marker {
        return Ok(());
    }
    mounting::detach(at)?;
    Err(Failure::new("what was mounted is not what was looked at; it was let go again"))
}

/// Nobody may write there while nothing is mounted (promise P3).
fn make(at: &Path) -> Result<(), Failure> {
    match fs::DirBuilder::new().mode(0o555).create(at) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Failure::io("make", at, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// It is gone, or is to be: its place is freed at once.
///
/// # Errors
/// It is still there.
pub fn detach(name: &Name, settings: &Settings) -> Result<(), Failure> {
    let _alone = alone(&settings.reports)?;
    let reported = report::take(&settings.reports, name);
    // The mount outlives the device, and findmnt finds it by the name it was mounted under.
    match reported {
        Some(at) if !mounted::taken(std::slice::from_ref(&at))?.is_empty() => mounting::detach(&at),
        Some(_) | None => Ok(()),
    }
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
    pub(crate) fn at(name: &Name) -> Result<Self, Failure> {
        let device = Device::read(name)?;
        let filesystem = filesystem::on(name)?;
        let twin = match &filesystem {
            Some(found) if found.kind == "btrfs" => mounted::has_twin(name, &found.uuid)?,
            Some(_) | None => false,
        };
        Ok(Self { in_use: mounted::in_use(&device)?, fstab: mounted::fstab(name)?, device, filesystem, twin })
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

    /// Looks for a marker while the kernel refuses every write to the device: a strange drive stays as it is to the byte, whatever its
    /// filesystem would like to put right when it is mounted.
    fn marker(&self, folder: &Path) -> Result<Option<Mark>, Failure> {
        let kind = self.filesystem.as_ref().map(|found| found.kind.as_str()).unwrap_or_default();
        let at = folder.join("look");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&at);
        made.map_err(|e| Failure::io("make", &at, e))?;
        let _unwritable = Unwritable::begin(&self.device)?;
        mounting::look(&self.device.name, kind, &at)?;
        let found = Mark::below(&at);
        // Only root may go in there; what may have it open for a moment is a process that is about to become another program.
        mounting::release(&at, Patience { tries: 20 })?;
        found
    }
}

/// The kernel takes no writes for the device meanwhile (BLKROSET, blockdev(8)).
struct Unwritable<'d>(Option<&'d Device>);

impl<'d> Unwritable<'d> {
    fn begin(device: &'d Device) -> Result<Self, Failure> {
        if device.read_only {
            return Ok(Self(None));
        }
        set(device, "--setro")?;
        Ok(Self(Some(device)))
    }
}

impl Drop for Unwritable<'_> {
    fn drop(&mut self) {
        // Where that fails the drive stays read-only, and mounting it for writing says so.
        let _left = self.0.map(|device| set(device, "--setrw"));
    }
}

fn set(device: &Device, how: &str) -> Result<(), Failure> {
    let node = device.name.node();
    let ended = program::run("blockdev", &[how.as_ref(), node.as_os_str()], Duration::from_secs(30))?;
    if ended.code == 0 {
        Ok(())
    } else {
        Err(Failure::new(format!("blockdev {how} {}: {}", node.display(), ended.said.trim())))
    }
}
