//! What is mounted where, from `/proc/self/mountinfo`: which mount a path is on, and which disk is behind it.
//!
//! Reads `/proc` and `/sys` only and never touches a drive, so it answers while a drive hangs. It also never tells
//! that a drive is well: a yanked one stays in this list, unchanged (that takes real I/O, invariant I20).
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line of mountinfo: proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Changes with every mount, also when the same filesystem comes back; reused only after an unmount.
    pub id: u64,
    /// The mount this one is attached to.
    pub parent: u64,
    /// Device number of the filesystem; major 0 for those without a block device.
    pub device: Device,
    /// The directory of the filesystem that is shown here: not `/` for a bind mount.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Options of this mount: `rw,noatime`.
    pub options: String,
    /// `ext4`, `exfat`, `tmpfs`.
    pub fs_type: String,
    /// What was mounted, as the mounter spelled it; no identity.
    pub source: String,
    /// Options of the filesystem: `rw,errors=remount-ro`.
    pub super_options: String,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    /// Driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Mount {
    /// Whether the mount or its filesystem says that it takes no writes. `false` proves nothing.
    pub fn says_read_only(&self) -> bool {
        [&self.options, &self.super_options].into_iter().any(|all| all.split(',').any(|one| one == "ro"))
    }
}

/// All mounts this process sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

/// A line of mountinfo that has another form than documented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {0} of mountinfo is not of the documented form")]
pub struct BadLine(usize);

impl Mounts {
    /// Asks the kernel.
    pub fn read() -> io::Result<Self> {
        Self::parse(&std::fs::read("/proc/self/mountinfo")?)
            .map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))
    }

    /// Reads the text of a mountinfo file, which is bytes: mount points need not be UTF-8.
    pub fn parse(text: &[u8]) -> Result<Self, BadLine> {
        text.split(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
            .map(|(index, line)| parse_line(line).ok_or(BadLine(index + 1)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The mount that an absolute path without `.`, `..` or symbolic links is on, found as the kernel finds it: from
    /// the root down, so that what a later mount covers is not seen.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        let mut here: Option<&Mount> = None;
        let mut steps: Vec<&Path> = path.ancestors().collect();
        steps.reverse();
        for step in steps {
            // As many as there are: a table whose mounts lie upon each other in a ring is none of the kernel's.
            for _ in &self.0 {
                let Some(upon) = self.0.iter().find(|m| m.point == step && self.lies_upon(m, here)) else {
                    break;
                };
                here = Some(upon);
            }
        }
        here
    }

    /// The topmost mount whose mount point is exactly `path`.
    pub fn at(&self, path: &Path) -> Option<&Mount> {
        self.of(path).filter(|mount| mount.point == path)
    }

    fn lies_upon(&self, mount: &Mount, here: Option<&Mount>) -> bool {
        match here {
            Some(below) => mount.parent == below.id && mount.id != below.id,
            // The root mount's parent is itself or outside what this process sees.
            None => mount.parent == mount.id || !self.0.iter().any(|other| other.id == mount.parent),
        }
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = || fields.next().filter(|field| !field.is_empty());
    let id = number(next()?)?;
    let parent = number(next()?)?;
    let (major, minor) = text(next()?).split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    let device = Device { major: major.parse().ok()?, minor: minor.parse().ok()? };
    let root = unescape(next()?);
    let point = unescape(next()?);
    let options = text(next()?);
    // Any number of optional fields (shared:1, master:2), ended by a lone hyphen.
    while next()? != b"-" {}
    let fs_type = text(next()?);
    // The source may be empty (some FUSE filesystems): two blanks in a row.
    let source = unescape(fields.next()?).to_string_lossy().into_owned();
    let super_options = text(fields.next()?);
    Some(Mount { id, parent, device, root, point, options, fs_type, source, super_options })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Blank, tab, newline and backslash come as three octal digits: `show_mountinfo` in the kernel's
/// `fs/proc_namespace.c` calls `seq_path` with `" \t\n\\"`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'\\'
            && let [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] = after
        {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = tail;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The name of the whole disk behind a device (`sda` for the first partition of `sda`), as `/sys` tells it; `None`
/// for filesystems without a block device, and for disks that are gone.
pub fn disk(device: Device) -> Option<String> {
    disk_below(Path::new("/sys"), device)
}

fn disk_below(sys: &Path, device: Device) -> Option<String> {
    let node = sys.join(format!("dev/block/{}:{}", device.major, device.minor));
    let real = std::fs::canonicalize(node).ok()?;
    let whole = if real.join("partition").exists() { real.parent()? } else { &real };
    Some(whole.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_table_panics_or_never_ends(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            lines in prop::collection::vec((0u64..5, 0u64..5, "(/[ab]){0,2}|/"), 0..8),
        ) {
            drop(Mounts::parse(&bytes));
            let line = |(id, parent, point): &(u64, u64, String)| format!("{id} {parent} 8:1 / /{point} rw - ext4 x rw\n");
            let table = Mounts::parse(lines.iter().map(line).collect::<String>().as_bytes()).unwrap();
            prop_assert_eq!(table.0.len(), lines.len());
            for path in ["/", "/a", "/a/b"] {
                table.of(Path::new(path));
            }
        }

        #[test]
        fn any_mount_point_is_read_as_the_kernel_wrote_it(point in "/[a-z \t\n\\\\0-9]{0,20}") {
            let escape = |byte: u8| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}"),
                byte => char::from(byte).to_string(),
            };
            let escaped: String = point.bytes().map(escape).collect();
            let table = Mounts::parse(format!("1 1 8:1 / {escaped} rw - ext4 x rw\n").as_bytes()).unwrap();
            prop_assert_eq!(&table.0[0].point, Path::new(&point));
        }
    }

    const TABLE: &[u8] = b"\
21 1 179:2 / / rw,noatime - ext4 /dev/root ro,errors=remount-ro
22 21 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw,size=1k
30 21 8:1 / /srv/shoebox/a rw,noatime shared:9 master:4 - ext4 /dev/sda1 rw
31 21 8:17 / /srv/shoebox/b\\040of\\011Anna\\134x rw - exfat /dev/sdb1 rw,uid=900
32 21 0:40 / /old rw - tmpfs tmpfs rw
33 21 8:33 / /old/deep rw - ext4 /dev/sdc1 rw
34 21 8:1 /photos /srv/export ro - ext4 /dev/sda1 rw
35 32 0:41 / /old rw - tmpfs tmpfs rw
36 21 0:50 / /fuse rw - fuse.x  rw
";

    #[test]
    fn paths_are_on_the_mount_the_kernel_would_find() {
        let mounts = Mounts::parse(TABLE).unwrap();
        for (path, id) in [
            ("/", 21),
            ("/home/anna", 21),
            ("/srv/shoebox/a", 30),
            ("/srv/shoebox/a/photos/x.jpg", 30),
            ("/srv/shoebox/ab", 21),
            ("/srv/shoebox/b of\tAnna\\x/photos", 31),
            ("/dev/null", 22),
            ("/old", 35),
            ("/old/deep/x", 35), // /old was mounted over: what lay below is covered
            ("/fuse/x", 36),
        ] {
            assert_eq!(mounts.of(Path::new(path)).map(|m| m.id), Some(id), "{path}");
        }
        assert_eq!(mounts.at(Path::new("/srv/shoebox/a")).map(|m| m.id), Some(30));
        assert_eq!(mounts.at(Path::new("/srv/shoebox/a/photos")), None);
    }

    #[test]
    fn fields_are_read_past_any_number_of_optional_ones() {
        let mounts = Mounts::parse(TABLE).unwrap();
        let a = mounts.at(Path::new("/srv/shoebox/a")).unwrap();
        assert_eq!((a.device, a.fs_type.as_str()), (Device { major: 8, minor: 1 }, "ext4"));
        assert!(!a.says_read_only());
        assert!(mounts.at(Path::new("/")).unwrap().says_read_only(), "the filesystem says ro, the mount rw");
        assert!(mounts.at(Path::new("/srv/export")).unwrap().says_read_only());
        assert_eq!(mounts.at(Path::new("/fuse")).unwrap().source, "");
        assert_eq!(mounts.at(Path::new("/srv/export")).unwrap().root, Path::new("/photos"));
    }

    #[test]
    fn another_form_is_an_error_and_not_a_guess() {
        for bad in ["1", "1 2 8:1 / / rw ext4 x rw", "x 2 8:1 / / rw - ext4 s rw", "1 2 8 / / rw - ext4 s rw"]
        {
            let text = format!("21 1 8:1 / / rw - ext4 /dev/root rw\n{bad}\n");
            assert_eq!(Mounts::parse(text.as_bytes()), Err(BadLine(2)), "{bad}");
        }
        assert_eq!(Mounts::parse(b""), Ok(Mounts::default()));
    }

    #[test]
    fn the_running_kernel_is_understood() {
        let mounts = Mounts::read().unwrap();
        assert!(mounts.of(Path::new("/proc/self")).is_some_and(|m| m.fs_type == "proc"));
    }

    #[test]
    fn a_partition_belongs_to_its_disk() {
        let sys = tempfile::tempdir().unwrap();
        let disk = sys.path().join("devices/usb1/block/sda");
        std::fs::create_dir_all(disk.join("sda1")).unwrap();
        std::fs::write(disk.join("sda1/partition"), "1\n").unwrap();
        let numbers = sys.path().join("dev/block");
        std::fs::create_dir_all(&numbers).unwrap();
        std::os::unix::fs::symlink("../../devices/usb1/block/sda", numbers.join("8:0")).unwrap();
        std::os::unix::fs::symlink("../../devices/usb1/block/sda/sda1", numbers.join("8:1")).unwrap();
        let name = |minor| disk_below(sys.path(), Device { major: 8, minor });
        assert_eq!(name(0).as_deref(), Some("sda"));
        assert_eq!(name(1).as_deref(), Some("sda"));
        assert_eq!(name(17), None);
    }
}
