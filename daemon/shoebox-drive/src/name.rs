//! The kernel's name of a block device, `sda1`: the only way a drive is named to this command.
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A name that can be put behind `/dev/` and `/sys/class/block/` without leading anywhere else.
///
/// The kernel's own names are letters and digits (`disk_name` in `block/genhd.c`; partitions append digits, with a `p` between
/// them where the disk's name ends in one). A slash, which some drivers have in theirs, is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// A text that is no such name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the kernel's name of a block device, as sda1 is")]
pub struct BadName(String);

impl FromStr for Name {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let of_letters = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        // BDEVNAME_SIZE of the kernel.
        if of_letters && begins && text.len() < 32 {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Name {
    /// Its node.
    pub fn node(&self) -> PathBuf {
        PathBuf::from("/dev").join(&self.0)
    }

    /// What the kernel says of it (a link to the device's own folder).
    pub fn class(&self) -> PathBuf {
        PathBuf::from("/sys/class/block").join(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_lead_nowhere_else() {
        for good in ["sda", "sda1", "nvme0n1p2", "mmcblk0p1", "loop7", "dm0"] {
            assert_eq!(good.parse::<Name>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "/",
            "sda/1",
            "../sda",
            "sda 1",
            "SDA",
            "1a",
            "sda\n",
            "sd\0a",
            "-rf",
            "sdä",
            &"a".repeat(32),
        ] {
            assert_eq!(bad.parse::<Name>(), Err(BadName(bad.to_owned())));
        }
        assert_eq!("sda1".parse::<Name>().unwrap().node(), PathBuf::from("/dev/sda1"));
    }
}
