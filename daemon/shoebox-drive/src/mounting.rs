//! Mounting and unmounting: with which options each filesystem is taken, and that it is the drive that was meant.
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::failure::Failure;
use crate::name::Name;
use crate::program;

/// What a stranger may have put on it starts no program, is no device, and gives nobody rights; and a date of reading is not worth a write.
const FLAGS: MsFlags =
    MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC).union(MsFlags::MS_NOATIME);
const WITHIN: Duration = Duration::from_secs(60);

/// How one filesystem is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Data for mount(2) when the box works with it.
    pub working: &'static str,
    /// When it is only looked at: a journal that is replayed is written to.
    pub looking: &'static str,
    /// It has owners and modes of its own; otherwise everything on it belongs to the daemon.
    pub owners: bool,
}

/// # Errors
/// Why drives with this filesystem are not taken.
pub fn options(kind: &str) -> Result<Options, String> {
    let options = |working, looking, owners| Ok(Options { working, looking, owners });
    match kind {
        // ext4(5): noload does not replay the journal. Ordered data and barriers are what the kernel does if nobody says otherwise.
        "ext4" => options("errors=remount-ro", "noload", true),
        // btrfs(5), xfs(5).
        "btrfs" => options("", "rescue=nologreplay", true),
        // nouuid: a clone beside its original can be looked at.
        "xfs" => options("", "norecovery,nouuid", true),
        "exfat" => options("errors=remount-ro", "", false),
        "ext2" | "ext3" => Err("ext2 and ext3 are not taken; ext4 is".into()),
        "vfat" => Err("FAT32 has no files above 4 GiB, and videos have; exFAT and ext4 are taken".into()),
        "ntfs" => Err("NTFS is not taken yet; exFAT and ext4 are".into()),
        "hfsplus" | "apfs" => {
            Err("Linux does not write to a Mac's own filesystems; exFAT and ext4 are taken".into())
        }
        "crypto_LUKS" => Err("encrypted drives are not taken yet".into()),
        "swap" => Err("it is swap space".into()),
        other => Err(format!("{other} is not taken; ext4, btrfs, XFS and exFAT are")),
    }
}

/// Who everything belongs to on a filesystem without owners.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Mounts it for the box to work with.
///
/// # Errors
/// The kernel did not take it.
pub fn attach(name: &Name, kind: &str, at: &Path, owner: Owner, read_only: bool) -> Result<(), Failure> {
    let options = options(kind).map_err(Failure::new)?;
    // A journal that is replayed is written to, also by a mount for reading only: not on a filesystem that takes a person.
    let mut data = if read_only { options.looking } else { options.working }.to_owned();
    if !options.owners {
        // Hashes of passwords lie on it, and modes cannot keep them from anybody.
        data.push_str(&format!(",uid={},gid={},umask=0077", owner.uid, owner.gid));
    }
    let flags = if read_only { FLAGS | MsFlags::MS_RDONLY } else { FLAGS };
    mount_at(name, kind, at, flags, data.trim_start_matches(','))
}

/// Mounts it so that nothing on it changes.
///
/// # Errors
/// The kernel did not take it.
pub fn look(name: &Name, kind: &str, at: &Path) -> Result<(), Failure> {
    let options = options(kind).map_err(Failure::new)?;
    mount_at(name, kind, at, FLAGS | MsFlags::MS_RDONLY, options.looking)
}

fn mount_at(name: &Name, kind: &str, at: &Path, flags: MsFlags, data: &str) -> Result<(), Failure> {
    let node = name.node();
    mount(Some(&node), at, Some(kind), flags, Some(data)).map_err(|e| Failure::io("mount", &node, e))
}

/// As `/etc/fstab` says.
///
/// # Errors
/// mount(8) says why not.
pub fn by_fstab(name: &Name) -> Result<(), Failure> {
    let node = name.node();
    let ended = program::run("mount", &[&node], WITHIN)?;
    if ended.code == 0 {
        Ok(())
    } else {
        Err(Failure::new(format!("could not mount {}: {}", node.display(), ended.said.trim())))
    }
}

/// Takes it from its place at once. Whoever has files of it open keeps them, and they answer errors when the drive is gone.
///
/// # Errors
/// Nothing is mounted there.
pub fn detach(at: &Path) -> Result<(), Failure> {
    umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).map_err(|e| Failure::io("unmount", at, e))
}

/// How long somebody who has files of it open is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries, a quarter of a second apart.
    pub tries: u32,
}

/// Takes it from its place when nobody uses it any more.
///
/// # Errors
/// Somebody goes on using it.
pub fn release(at: &Path, patience: Patience) -> Result<(), Failure> {
    for _ in 1..patience.tries {
        if umount2(at, MntFlags::UMOUNT_NOFOLLOW) == Ok(()) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(250));
    }
    umount2(at, MntFlags::UMOUNT_NOFOLLOW).map_err(|e| Failure::io("unmount", at, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filesystem_has_its_options_or_a_reason() {
        for kind in ["ext4", "btrfs", "xfs", "exfat"] {
            assert!(options(kind).is_ok(), "{kind}");
        }
        for kind in ["ext3", "vfat", "ntfs", "hfsplus", "apfs", "crypto_LUKS", "swap", "iso9660", ""] {
            let why = options(kind).unwrap_err();
            assert!(why.len() > 15, "{kind}: {why}");
        }
        assert_eq!(options("iso9660").unwrap_err(), "iso9660 is not taken; ext4, btrfs, XFS and exFAT are");
    }
}
