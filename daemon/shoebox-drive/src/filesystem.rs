//! Which filesystem is on a device, by its own bytes and not by what udev remembers of it.
use std::time::Duration;

use serde::Serialize;

use crate::failure::Failure;
use crate::name::Name;
use crate::program;

/// A disk that must wake up first takes ten seconds and more.
const WITHIN: Duration = Duration::from_secs(60);

/// What blkid(8) says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filesystem {
    /// `ext4`, `exfat`, `crypto_LUKS`.
    pub kind: String,
    /// As that filesystem writes it: `6c1e…-…`, or `1A2B-3C4D` of exFAT.
    pub uuid: String,
    /// What people called it.
    pub label: String,
}

/// Looks at the device.
///
/// # Errors
/// It cannot be read, or it says to be several things at once: an old signature that nobody wiped. Whatever mounts that may take the wrong one.
pub fn on(name: &Name) -> Result<Option<Filesystem>, Failure> {
    let node = name.node();
    let node = node.to_string_lossy();
    let ended = program::run("blkid", &["--probe", "--output", "export", &node], WITHIN)?;
    match ended.code {
        0 => Ok(parse(&ended.out)),
        2 => Ok(None),
        8 => Err(Failure::new(format!("{name} bears the marks of several filesystems at once"))),
        code => Err(Failure::new(format!("blkid ended with {code}: {}", ended.said.trim()))),
    }
}

/// `NAME=value` a line; blanks and special characters have a backslash before them.
fn parse(text: &str) -> Option<Filesystem> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().replace('\\', "")
    };
    let found = Filesystem { kind: value("TYPE"), uuid: value("UUID"), label: value("LABEL") };
    // A partition table has a PTTYPE and no TYPE.
    (!found.kind.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blkids_words_are_understood() {
        let ext4 =
            "DEVNAME=/dev/sda1\nLABEL=Photos\\ A\nUUID=0f6c\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n";
        let expect = Filesystem { kind: "ext4".into(), uuid: "0f6c".into(), label: "Photos A".into() };
        assert_eq!(parse(ext4), Some(expect));
        assert_eq!(parse("DEVNAME=/dev/sda\nPTUUID=1\nPTTYPE=dos\n"), None);
        assert_eq!(parse(""), None);
    }
}
