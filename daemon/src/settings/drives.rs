//! Settings of where drives are, who mounts them for the box, and what becomes of the ones that are kept elsewhere.
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::Visit;
use super::values::{absolute, distinct};

const DAY: u64 = 86_400;

/// Where drives are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drives {
    /// Mount points; which drive is which is written on the drives.
    pub mounts: Vec<PathBuf>,
    /// Refuse a directory that is not a mount point of its own.
    pub require_mount: bool,
    /// Where it is told what was plugged in, and what was done with it; `None`: nowhere.
    pub reports: Option<PathBuf>,
    /// Where what takes root is asked for; `None`: nowhere.
    pub requests: Option<PathBuf>,
}

/// Drives that are kept elsewhere, and plugged in once in a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offline {
    /// Unmount and switch off one that has everything.
    pub eject_when_done: bool,
    /// One that was not here for longer is worth a word.
    pub remind: Duration,
    /// One that was not here for longer is worth an alarm.
    pub alarm: Duration,
}

impl Default for Drives {
    fn default() -> Self {
        let places = ["a", "b", "offline", "offline-2", "offline-3"];
        Self {
            mounts: places.map(|end| Path::new("/srv/shoebox").join(end)).to_vec(),
            require_mount: true,
            reports: Some("/run/shoebox-drive".into()),
            requests: Some("/run/shoebox-drive.sock".into()),
        }
    }
}

impl Default for Offline {
    fn default() -> Self {
        Self {
            eject_when_done: true,
            remind: Duration::from_secs(45 * DAY),
            alarm: Duration::from_secs(60 * DAY),
        }
    }
}

pub(super) fn walk(drives: &mut Drives, offline: &mut Offline, visit: &mut impl Visit) {
    visit.section("drives");
    visit.value("mounts", &mut drives.mounts, |all| {
        distinct(all, "a mount point")?;
        all.iter().try_for_each(|mount| absolute(mount))
    });
    visit.value("require_mount", &mut drives.require_mount, |_| Ok(()));
    path_or_none("reports", &mut drives.reports, visit);
    path_or_none("requests", &mut drives.requests, visit);

    visit.section("offline");
    visit.value("eject_when_done", &mut offline.eject_when_done, |_| Ok(()));
    visit.time("remind_after_days", DAY, &mut offline.remind, 1..=3650);
    visit.time("alarm_after_days", DAY, &mut offline.alarm, 1..=3650);
}

/// An empty text is none.
fn path_or_none(key: &'static str, field: &mut Option<PathBuf>, visit: &mut impl Visit) {
    let mut path = field.clone().unwrap_or_default();
    visit.value(key, &mut path, |path| if path.as_os_str().is_empty() { Ok(()) } else { absolute(path) });
    *field = Some(path).filter(|path| !path.as_os_str().is_empty());
}
