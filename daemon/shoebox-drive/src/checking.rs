//! The check of a filesystem before it is mounted: what it may put right by itself, and when nobody may write any more.
use std::time::Duration;

use serde::Serialize;

use crate::failure::Failure;
use crate::name::Name;
use crate::program;

/// A full check of a large drive with many files on a Pi. Nothing waits for it but this drive.
const WITHIN: Duration = Duration::from_secs(6 * 60 * 60);

/// What it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "check")]
pub enum Checked {
    /// Nothing, or its filesystem checks itself when it is mounted.
    Sound,
    /// Something, and put it right: what an interrupted write left behind.
    Mended {
        /// What the program said.
        said: String,
    },
    /// Something that takes a person. It is mounted for reading only.
    Unsound {
        /// What the program said.
        said: String,
    },
}

impl Checked {
    /// Whether anybody may write to it.
    pub fn may_be_written(&self) -> bool {
        matches!(self, Self::Sound | Self::Mended { .. })
    }
}

/// Checks it. Never with an answer of "yes" to everything: that repairs a filesystem by throwing files away.
///
/// # Errors
/// The program is missing, or did not come back.
pub fn check(name: &Name, kind: &str) -> Result<Checked, Failure> {
    let node = name.node();
    let node = node.to_string_lossy();
    let ended = match kind {
        // e2fsck(8): -p does what is safe without a question, and replays the journal.
        "ext4" => program::run("e2fsck", &["-p", &node], WITHIN)?,
        "exfat" => program::run("fsck.exfat", &["-p", &node], WITHIN)?,
        // btrfs and XFS say so in their fsck(8): nothing is to be done before a mount.
        _ => return Ok(Checked::Sound),
    };
    Ok(judge(ended.code, format!("{}\n{}", ended.out.trim(), ended.said.trim()).trim()))
}

/// fsck(8): 0 nothing, 1 put right, 2 the same and a reboot, which is for the disk the system runs from. From 4 on it was not put right.
fn judge(code: i32, said: &str) -> Checked {
    let said: String = said.chars().take(2000).collect();
    match code {
        0 => Checked::Sound,
        1..=3 => Checked::Mended { said },
        _ => Checked::Unsound { said },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_four_on_nobody_writes() {
        let writable = |code| judge(code, "said").may_be_written();
        assert_eq!([0, 1, 2, 3].map(writable), [true; 4]);
        // Not corrected; the program failed; wrong usage; cancelled; a library is missing; killed.
        assert_eq!([4, 5, 8, 12, 16, 32, 128, 137].map(writable), [false; 8]);
        assert_eq!(judge(1, "said"), Checked::Mended { said: "said".into() });
    }
}
