//! What became of each drive, for the daemon and its page: one JSON file a device in `/run`, gone when the device is.
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::Flush;
use crate::checking::Checked;
use crate::device::Device;
use crate::failure::Failure;
use crate::filesystem::Filesystem;
use crate::mark::Mark;
use crate::name::Name;
use crate::placing::Decision;

/// Where they are.
pub const FOLDER: &str = "/run/shoebox-drive";

/// All that is known of one.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What the kernel says.
    pub device: Device,
    /// What is on it.
    pub filesystem: Option<Filesystem>,
    /// What it says of itself.
    pub marker: Option<Mark>,
    /// What was decided.
    #[serde(flatten)]
    pub decision: Option<Decision>,
    /// What the check of its filesystem found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
    /// What a flush is worth on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Flush>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Report {
    /// Of one that could not even be looked at.
    pub fn failed(device: Device, failure: &Failure) -> Self {
        let (filesystem, marker, decision, checked, cache) = (None, None, None, None, None);
        Self { device, filesystem, marker, decision, checked, cache, failed: Some(failure.to_string()) }
    }
}

fn file(folder: &Path, name: &Name) -> PathBuf {
    folder.join(format!("{name}.json"))
}

/// Makes the folder, which everybody may read.
///
/// # Errors
/// `/run` takes nothing.
pub fn make(folder: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
    made.map_err(|e| Failure::io("make", folder, e))
}

/// Puts it there as a whole: whoever reads beside it has the old one or the new one.
///
/// # Errors
/// `/run` takes nothing.
pub fn put(folder: &Path, report: &Report) -> Result<(), Failure> {
    make(folder)?;
    let (at, name) = (file(folder, &report.device.name), &report.device.name);
    let beside = folder.join(format!(".{name}.new"));
    let text =
        serde_json::to_string_pretty(report).map_err(|e| Failure::io("write", &at, io::Error::other(e)))?;
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, &at)
    };
    write().map_err(|e| Failure::io("write", &at, e))
}

/// Takes it away, and tells where the drive was mounted by it. Nothing, if there is none.
pub fn take(folder: &Path, name: &Name) -> Option<PathBuf> {
    let text = fs::read_to_string(file(folder, name)).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    // One that cannot be taken away is overwritten by the next.
    let _gone = fs::remove_file(file(folder, name));
    value.get("at").and_then(|at| at.as_str()).map(PathBuf::from)
}

/// All of them, as they are, but for devices that are gone: systemd does not stop what never started.
pub fn all(folder: &Path) -> Vec<serde_json::Value> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let is_there = |path: &&PathBuf| {
        let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<Name>().ok());
        name.is_some_and(|name| name.class().exists())
    };
    files
        .iter()
        .filter(is_there)
        .filter_map(|path| serde_json::from_str(&fs::read_to_string(path).ok()?).ok())
        .collect()
}
