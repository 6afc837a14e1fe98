//! Whether a filesystem carries all its changes in one journal, in their order: then one flush of one file makes durable
//! all that was done before it, and no flush is needed between the data, the name and the line that speaks of both.
//!
//! That is ext4 as it comes (docs/decisions/0013), and nothing else until it was cut open as often as that was.
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::statfs::{EXT4_SUPER_MAGIC, fstatfs};

/// Whether it does. In doubt (another filesystem, no journal or one on another disk, options that loosen the order, a
/// kernel that does not tell) it does not, and everything is flushed one by one.
pub(super) fn orders_all(root: impl AsFd, (major, minor): (u32, u32)) -> bool {
    // ext2, and ext4 made without a journal, have the same number.
    if !fstatfs(root).is_ok_and(|fs| fs.filesystem_type() == EXT4_SUPER_MAGIC) {
        return false;
    }
    // A link to the device's directory, whose name is what ext4 calls it.
    let Ok(device) = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")) else { return false };
    let Some(name) = device.file_name().and_then(|name| name.to_str()) else { return false };
    // jbd2 names a journal inside a filesystem after its inode, which is always 8; one elsewhere has another name.
    let inside = Path::new(&format!("/proc/fs/jbd2/{name}-8")).is_dir();
    inside
        && std::fs::read_to_string(format!("/proc/fs/ext4/{name}/options")).is_ok_and(|text| is_strict(&text))
}

/// The options as the kernel lists them, defaults included, one a line.
fn is_strict(options: &str) -> bool {
    let has = |option: &str| options.lines().any(|line| line == option);
    has("barrier") && has("data=ordered") && !has("journal_async_commit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_strict_order_counts() {
        assert!(is_strict("rw\ndelalloc\nbarrier\ndata=ordered\ncommit=5\n"));
        for loose in [
            "",
            "rw\nbarrier\n",
            "rw\nnobarrier\ndata=ordered\n",
            "rw\nbarrier\ndata=writeback\n",
            "rw\nbarrier\ndata=journal\n",
            "rw\njournal_async_commit\nbarrier\ndata=ordered\n",
        ] {
            assert!(!is_strict(loose), "{loose}");
        }
    }

    #[test]
    fn what_is_no_ext4_is_flushed_one_by_one() {
        assert!(!orders_all(std::fs::File::open("/proc").unwrap(), (0, 5)));
    }
}
