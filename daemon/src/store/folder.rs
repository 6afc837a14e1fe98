//! `Folder`: a directory that is no drive of the pool, with all below it: one that restored files are written into, or a drive's
//! root that is only read. Nothing that is there is ever overwritten or removed, and no link is followed.
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, OpenHow, PosixFadviseAdvice, ResolveFlag, openat2, posix_fadvise};
use nix::sys::stat::{Mode, fchmod, fstat, futimens, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::model::hash::hex;
use crate::store::aligned::{Aligned, BLOCK, PIECE};
use crate::store::disk::{self, DiskVolume};
use crate::store::staging;
use crate::store::volume::EntryKind;

/// What files are called that have no name yet, where a filesystem knows no nameless ones.
const STAGED: &str = ".shoebox-restoring-";

/// An open directory.
pub struct Folder {
    root: OwnedFd,
    path: PathBuf,
}

/// What is under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// A file, or what else it is.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
}

/// An entry of a directory: its name as spelled there, `None` if it is not UTF-8.
pub type Listed = (Option<String>, EntryKind);

/// openat2(2): nothing outside the directory, whatever a name or a link in it says.
fn beneath(flags: OFlag) -> OpenHow {
    OpenHow::new()
        .flags(flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS)
}

fn dot(text: &str) -> &str {
    if text.is_empty() { "." } else { text }
}

fn parent(text: &str) -> (&str, &str) {
    text.rsplit_once('/').unwrap_or(("", text))
}

impl Folder {
    /// Opens a directory that is there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = nix::fcntl::open(&path, flags, Mode::empty())?;
        Ok(Self { root, path })
    }

    /// Opens a directory, and makes it, and those above it, as far as they are missing.
    pub fn make(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
        for dir in missing.into_iter().rev() {
            std::fs::create_dir(dir)?;
            if let Some(above) = dir.parent() {
                flush(File::open(above)?)?;
            }
        }
        Self::open(&path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is `other`, or lies in it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.path.starts_with(&other.path)
    }

    /// Whether its filesystem has the names that FAT and NTFS forbid (statfs(2)). What is served by a program may be either.
    pub fn takes_any_name(&self) -> bool {
        const FORBIDDING: [i64; 4] = [0x4d44, 0x2011_bab0, 0x7366_746e, 0x6573_5546];
        #[expect(clippy::useless_conversion, reason = "32 bits wide on 32-bit machines")]
        let kind = nix::sys::statfs::fstatfs(&self.root).map(|s| i64::from(s.filesystem_type().0));
        kind.is_ok_and(|kind| !FORBIDDING.contains(&kind))
    }

    /// Bytes that may still be written.
    pub fn room(&self) -> io::Result<u64> {
        let stat = nix::sys::statvfs::fstatvfs(&self.root)?;
        #[expect(clippy::useless_conversion, reason = "these fields are 32 bits wide on 32-bit machines")]
        Ok(u64::from(stat.fragment_size()) * u64::from(stat.blocks_available()))
    }

    /// What is under a name; `None`: nothing.
    pub fn look(&self, at: &str) -> io::Result<Option<Look>> {
        let fd = match openat2(&self.root, dot(at), beneath(OFlag::O_PATH)) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let stat = fstat(&fd)?;
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => EntryKind::File,
            libc::S_IFDIR => EntryKind::Dir,
            _ => EntryKind::Other,
        };
        let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let mtime = Timestamp::new(stat.st_mtime, nanos).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Some(Look { kind, size: u64::try_from(stat.st_size).unwrap_or(0), mtime }))
    }

    /// The entries of a directory.
    pub fn list(&self, dir: &str) -> io::Result<Vec<Listed>> {
        let fd = self.directory(dir)?;
        let mut entries = Vec::new();
        for entry in nix::dir::Dir::from_fd(fd)?.iter() {
            let entry = entry?;
            let name = entry.file_name().to_str().ok().map(str::to_owned);
            if matches!(name.as_deref(), Some("." | "..")) {
                continue;
            }
            let kind = match (entry.file_type(), &name) {
                (Some(nix::dir::Type::File), _) => EntryKind::File,
                (Some(nix::dir::Type::Directory), _) => EntryKind::Dir,
                (None, Some(name)) => {
                    let at = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
                    self.look(&at)?.map_or(EntryKind::Other, |look| look.kind)
                }
                (Some(_), _) | (None, None) => EntryKind::Other,
            };
            entries.push((name, kind));
        }
        Ok(entries)
    }

    /// Opens a file for reading.
    pub fn read(&self, at: &str) -> io::Result<Reading> {
        let file = File::from(openat2(&self.root, at, beneath(OFlag::O_RDONLY | OFlag::O_NONBLOCK))?);
        if file.metadata()?.is_file() {
            Ok(Reading { file, medium: None })
        } else {
            Err(Errno::ENOENT.into())
        }
    }

    /// Makes a directory and those above it. The directories that got a new entry, to be flushed.
    pub fn ensure(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut changed = Vec::new();
        let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
        for below in ends.map(|end| &dir[..end]).filter(|below| !below.is_empty()) {
            let (above, name) = parent(below);
            match mkdirat(&self.directory(above)?, name, Mode::from_bits_truncate(0o777)) {
                Ok(()) => changed.push(above.to_owned()),
                Err(Errno::EEXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.directory(dir).map(|_is_one| changed)
    }

    /// Makes the entries of a directory durable.
    pub fn flush(&self, dir: &str) -> io::Result<()> {
        flush(File::from(self.directory(dir)?))
    }

    fn directory(&self, dir: &str) -> io::Result<OwnedFd> {
        Ok(openat2(&self.root, dot(dir), beneath(OFlag::O_RDONLY | OFlag::O_DIRECTORY))?)
    }

    /// A new file without a name.
    pub fn stage(&self) -> io::Result<Unnamed<'_>> {
        let mode = Mode::from_bits_truncate(0o644);
        let flags = OFlag::O_RDWR | OFlag::O_TMPFILE;
        let (file, name) = match openat2(&self.root, ".", beneath(flags).mode(mode)) {
            Ok(fd) => (Open::Free(File::from(fd)), None),
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOSYS) => {
                let mut id = [0; 12];
                getrandom::fill(&mut id).map_err(|e| io::Error::other(e.to_string()))?;
                let name = format!("{STAGED}{}", hex(&id));
                let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
                let file = File::from(openat2(&self.root, name.as_str(), beneath(flags).mode(mode))?);
                // Where nothing can be locked, nothing is swept either.
                let file = Flock::lock(file, FlockArg::LockExclusiveNonblock);
                (file.map_or_else(|(file, _)| Open::Free(file), Open::Held), Some(name))
            }
            Err(e) => return Err(e.into()),
        };
        let _without_modes = fchmod(file.file(), mode);
        Ok(Unnamed { file, name: StagingName { folder: self, name } })
    }

    /// Removes what a restore that was killed left under a staging name, and nobody holds any more.
    pub fn sweep(&self) -> io::Result<()> {
        for (name, kind) in self.list("")? {
            let Some(name) = name.filter(|name| name.starts_with(STAGED) && kind == EntryKind::File) else {
                continue;
            };
            let file = File::from(openat2(&self.root, name.as_str(), beneath(OFlag::O_RDWR))?);
            if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
                unlinkat(&self.root, name.as_str(), UnlinkatFlags::NoRemoveDir)?;
            }
        }
        Ok(())
    }
}

/// A file opened once more, with O_DIRECT. Where the filesystem has no such way, memory at least takes no more than it is asked for.
fn past_memory(file: &File) -> io::Result<File> {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    let by_number = format!("/proc/self/fd/{}", file.as_raw_fd());
    match File::options().read(true).custom_flags(libc::O_DIRECT).open(&by_number) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            let again = File::open(by_number)?;
            posix_fadvise(&again, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM)?;
            Ok(again)
        }
        opened => opened,
    }
}

fn flush(dir: File) -> io::Result<()> {
    match dir.sync_all() {
        // Some filesystems have nothing to flush for a directory and say EINVAL; EIO is never tolerated.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

/// A file being read.
pub struct Reading {
    file: File,
    /// The same, past memory; once it was asked for.
    medium: Option<(File, Aligned)>,
}

/// How a file is opened once more to be read past memory.
type Again = fn(&File) -> io::Result<File>;

impl Reading {
    /// Makes durable what was just read: whoever wrote it may not have done so.
    pub fn settle(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Fills `buf`, no more than a piece, from `offset`, a whole number of blocks, by one read of the medium that is no longer
    /// than that. Memory takes many blocks at once, and all of them are lost to whoever reads one of them if a single sector among
    /// them is bad.
    pub fn read_alone(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_alone_by(past_memory, buf, offset)
    }

    fn read_alone_by(&mut self, again: Again, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (file, memory) = match &mut self.medium {
            Some(medium) => medium,
            None => match again(&self.file) {
                Ok(file) => self.medium.insert((file, Aligned::new())),
                // No /proc, no descriptors left, a filesystem that will not: none of it says that this block is bad.
                Err(_) => {
                    let _reads_ahead = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM);
                    return self.read_at(buf, offset);
                }
            },
        };
        let asked = buf.len().next_multiple_of(BLOCK).min(PIECE);
        let read = match file.read_at(&mut memory.bytes_mut()[..asked], offset) {
            Ok(read) => read.min(buf.len()),
            // Interrupted, or a filesystem that took the flag and not the read.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::EINVAL | libc::EOPNOTSUPP)) => {
                return self.read_at(buf, offset);
            }
            Err(e) => return Err(e),
        };
        buf[..read].copy_from_slice(&memory.bytes()[..read]);
        Ok(read)
    }

    /// Fills `buf` from `offset` as far as the file goes.
    pub fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}

/// A file that has no name yet. Dropped, it leaves nothing behind.
pub struct Unnamed<'f> {
    /// Closed before its name goes.
    file: Open,
    name: StagingName<'f>,
}

/// Held: under a staging name that whoever sweeps must leave alone.
enum Open {
    Held(Flock<File>),
    Free(File),
}

impl Open {
    fn file(&self) -> &File {
        match self {
            Self::Held(file) => file,
            Self::Free(file) => file,
        }
    }
}

struct StagingName<'f> {
    folder: &'f Folder,
    name: Option<String>,
}

impl Drop for StagingName<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let _swept_next_time = unlinkat(&self.folder.root, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

impl Unnamed<'_> {
    /// Takes all of `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.file().write_all(bytes)
    }

    /// Dates it, makes it durable, and gives it a name that must be free. The data is durable before the name is there: no power
    /// cut shows a name without its bytes. The name is durable once its directory is flushed. A flush that failed is not
    /// repeated: the file goes with its unreported pages (invariant I5).
    pub fn name(mut self, mtime: Timestamp, to: &str) -> io::Result<()> {
        let spec = staging::time_spec(mtime);
        match futimens(self.file.file(), &spec, &spec) {
            Ok(()) | Err(Errno::EINVAL | Errno::ERANGE | Errno::EPERM) => {}
            Err(e) => return Err(e.into()),
        }
        self.file.file().sync_all()?;
        let folder = self.name.folder;
        let (dir, name) = parent(to);
        let dir = folder.directory(dir)?;
        match &self.name.name {
            None => DiskVolume::link_open_file(self.file.file(), &dir, name)?,
            Some(staged) => {
                disk::rename_noreplace(&folder.root, staged, &dir, name)?;
                self.name.name = None;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_where_the_file_cannot_be_opened_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let photo: Vec<u8> = (0..3 * BLOCK + 100).map(|n| (n % 251) as u8).collect();
        std::fs::write(dir.path().join("photo"), &photo).unwrap();
        let refusals: [Again; 4] = [
            |_| Err(io::Error::from_raw_os_error(libc::ENOENT)),
            |_| Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
            |_| Err(io::Error::from_raw_os_error(libc::EPERM)),
            |_| Err(io::Error::from_raw_os_error(libc::EMFILE)),
        ];
        for again in refusals.into_iter().chain([past_memory as Again]) {
            let file = File::open(dir.path().join("photo")).unwrap();
            let mut reading = Reading { file, medium: None };
            for (number, wanted) in photo.chunks(BLOCK).enumerate() {
                let mut block = vec![0; wanted.len()];
                let read = reading.read_alone_by(again, &mut block, (number * BLOCK) as u64).unwrap();
                assert_eq!((read, &*block), (wanted.len(), wanted));
            }
        }
    }
}
