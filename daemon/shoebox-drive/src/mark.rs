//! The marker by which a drive says that it belongs to a Shoebox (docs/FORMAT.md, "drive.toml").
//!
//! Only enough of it is read to know where to mount the drive: whether it is the right one is the daemon's to prove, on every operation.
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::filesystem::Filesystem;

/// Both places, the second for the day on which the first cannot be read.
const PLACES: [&str; 2] = [".shoebox/drive.toml", ".shoebox/drive.copy.toml"];
/// A marker has half a kilobyte.
const MOST_BYTES: u64 = 16 * 1024;

/// What a drive says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The set of drives it belongs to.
    pub pool: String,
    /// Its own id.
    pub drive: String,
    /// What it is for.
    pub role: Role,
    /// The UUID of the filesystem that it was written to; one that was copied to another filesystem is none of ours.
    #[serde(default)]
    pub filesystem: Option<String>,
    /// The number of the filesystem where that has no UUID, as exFAT has none.
    #[serde(default)]
    pub volume: Option<String>,
}

/// What a drive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A.
    Primary,
    /// B.
    Mirror,
    /// One that is kept elsewhere.
    Offline,
}

impl Mark {
    /// Reads it from a mounted drive; nothing that lies there can lead out of it.
    ///
    /// # Errors
    /// What is mounted there cannot be read.
    pub fn below(root: &Path) -> Result<Option<Self>, Failure> {
        let dir = File::open(root).map_err(|e| Failure::io("open", root, e))?;
        Ok(PLACES.iter().find_map(|place| read(&dir, place)))
    }

    /// Whether it was written for this filesystem. One that names a UUID was not written to a filesystem that has none of 128 bits: all of
    /// a drive was copied to a stick then.
    pub fn is_of(&self, filesystem: &Filesystem) -> bool {
        let digits: String = filesystem.uuid.chars().filter(|c| *c != '-').collect::<String>().to_lowercase();
        let uuid = self.filesystem.as_ref().is_none_or(|own| *own == digits);
        uuid && self.volume.as_ref().is_none_or(|own| own.replace('-', "").to_lowercase() == digits)
    }
}

/// A file that is not there, is no marker or cannot be read is no marker: the drive is left alone then.
fn read(dir: &impl AsFd, place: &str) -> Option<Mark> {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK);
    let how = how.resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV,
    );
    let file = File::from(openat2(dir, place, how).ok()?);
    // A device node or a pipe on a stranger's drive must not keep root waiting.
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    parse(&text)
}

fn parse(text: &str) -> Option<Mark> {
    let mark: Mark = toml::from_str(text).ok()?;
    let id = |text: &str| text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (id(&mark.pool) && id(&mark.drive) && mark.filesystem.as_deref().is_none_or(id)).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
format = 1
pool = "00112233445566778899aabbccddeeff"
drive = "ffeeddccbbaa99887766554433221100"
role = "mirror"
generation = 3
adopted = "2026-11-30T12:00:00Z"
filesystem = "0f6c0f6c0f6c0f6c0f6c0f6c0f6c0f6c"
token_key = "0000000000000000000000000000000000000000000000000000000000000000"
"#;

    fn drive(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".shoebox")).unwrap();
        std::fs::write(dir.path().join(PLACES[0]), text).unwrap();
        dir
    }

    #[test]
    fn a_marker_is_read_and_its_copy_where_it_is_none() {
        let dir = drive(TEXT);
        let mark = Mark::below(dir.path()).unwrap().unwrap();
        assert_eq!(mark.role, Role::Mirror);
        std::fs::rename(dir.path().join(PLACES[0]), dir.path().join(PLACES[1])).unwrap();
        assert_eq!(Mark::below(dir.path()).unwrap(), Some(mark));
        let none = tempfile::tempdir().unwrap();
        assert_eq!(Mark::below(none.path()).unwrap(), None);
        assert!(Mark::below(&none.path().join("gone")).is_err());
    }

    #[test]
    fn nothing_on_a_strangers_drive_leads_out_of_it_or_keeps_us_waiting() {
        let outside = drive(TEXT);
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path().join(".shoebox"), dir.path().join(".shoebox")).unwrap();
        assert_eq!(Mark::below(dir.path()).unwrap(), None);
        let dir = drive("");
        std::fs::remove_file(dir.path().join(PLACES[0])).unwrap();
        nix::unistd::mkfifo(&dir.path().join(PLACES[0]), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(Mark::below(dir.path()).unwrap(), None);
        for bad in [
            "",
            "pool = 1",
            &TEXT.replace("0011", "../."),
            &TEXT.replace("mirror", "boss"),
            &"#".repeat(20_000),
        ] {
            assert_eq!(Mark::below(drive(bad).path()).unwrap(), None, "{bad:.40}");
        }
    }

    #[test]
    fn a_marker_that_was_copied_to_another_filesystem_is_none_of_it() {
        let mark = parse(TEXT).unwrap();
        let on = |uuid: &str| Filesystem { kind: "ext4".into(), uuid: uuid.into(), label: String::new() };
        assert!(mark.is_of(&on("0F6C0F6C-0f6c-0f6c-0f6c-0f6c0f6c0f6c")));
        assert!(!mark.is_of(&on("1f6c0f6c-0f6c-0f6c-0f6c-0f6c0f6c0f6c")));
        assert!(!mark.is_of(&on("1A2B-3C4D")), "copied to a stick");
        let unnamed = Mark { filesystem: None, ..mark };
        assert!(unnamed.is_of(&on("1A2B-3C4D")), "written to one");
        let numbered = Mark { volume: Some("1a2b-3C4D".into()), ..unnamed };
        assert!(numbered.is_of(&on("1A2B-3C4D")) && !numbered.is_of(&on("1A2B-3C4E")));
        assert!(!numbered.is_of(&on("0F6C0F6C-0f6c-0f6c-0f6c-0f6c0f6c0f6c")), "copied from one");
    }
}
