//! A disk in user space: a file that FUSE shows, behind a loop device, with a filesystem on it. It hangs when it is told to.
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};

use super::mounted::Mounted;

const NAME: &str = "disk";
const DISK: INodeNo = INodeNo(2);
/// Nothing about it ever changes.
const VALID: Duration = Duration::from_secs(3600);

/// A request that is carried out when the disk answers again.
type Waiting = Box<dyn FnOnce(&Medium) + Send>;

struct Medium {
    file: File,
    size: u64,
    /// What waits while the disk hangs.
    hangs: Mutex<Option<Vec<Waiting>>>,
}

impl Medium {
    /// At once, or when the disk answers again.
    fn carry_out(&self, request: Waiting) {
        let mut hangs = self.hangs.lock().unwrap();
        match &mut *hangs {
            Some(waiting) => waiting.push(request),
            None => {
                drop(hangs);
                request(self);
            }
        }
    }

    fn answer_again(&self) {
        let waiting = self.hangs.lock().unwrap().take();
        waiting.into_iter().flatten().for_each(|request| request(self));
    }

    fn attributes(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, size, perm) = match ino {
            INodeNo::ROOT => (FileType::Directory, 0, 0o700),
            DISK => (FileType::RegularFile, self.size, 0o600),
            _ => return None,
        };
        let (atime, mtime, ctime, crtime) = (UNIX_EPOCH, UNIX_EPOCH, UNIX_EPOCH, UNIX_EPOCH);
        let (blocks, nlink, uid, gid, rdev, blksize, flags) = (size / 512, 1, 0, 0, 0, 4096, 0);
        Some(FileAttr {
            ino,
            size,
            blocks,
            atime,
            mtime,
            ctime,
            crtime,
            kind,
            perm,
            nlink,
            uid,
            gid,
            rdev,
            blksize,
            flags,
        })
    }
}

/// What the kernel asks. The loop device asks for nothing else.
struct Shown(Arc<Medium>);

impl Filesystem for Shown {
    fn lookup(&self, _req: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.0.attributes(DISK).filter(|_| name == NAME) {
            Some(attributes) => reply.entry(&VALID, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.attributes(ino) {
            Some(attributes) => reply.attr(&VALID, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    /// Past the page cache: what the kernel writes and flushes is told as it happens.
    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.0.carry_out(Box::new(move |medium| {
            let left = medium.size.saturating_sub(offset).min(u64::from(size));
            let mut bytes = vec![0; usize::try_from(left).unwrap()];
            match medium.file.read_exact_at(&mut bytes, offset) {
                Ok(()) => reply.data(&bytes),
                Err(e) => reply.error(e.into()),
            }
        }));
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = data.to_vec();
        self.0.carry_out(Box::new(move |medium| match medium.file.write_all_at(&data, offset) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(e) => reply.error(e.into()),
        }));
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.0.carry_out(Box::new(move |_| reply.ok()));
    }
}

/// A disk. What is on it outlives it as an image file.
pub(crate) struct Disk {
    medium: Arc<Medium>,
    shown_at: PathBuf,
    _session: BackgroundSession,
}

/// As long as this lives, the disk answers nothing.
pub(crate) struct Hanging<'d>(&'d Disk);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.medium.answer_again();
    }
}

impl Disk {
    /// A disk of `mib` MiB, formatted by `mkfs` and mounted `at` a directory. Everything else it needs is put beside that.
    pub(crate) fn mounted(mib: u64, mkfs: &[&str], at: &Path) -> Result<(Self, Mounted), String> {
        let (image, shown_at) = (at.with_extension("medium"), at.with_extension("disk"));
        let plain = |e: std::io::Error| format!("a disk by FUSE: {e}");
        let file = File::options().read(true).write(true).create_new(true).open(&image).map_err(plain)?;
        let size = mib << 20;
        file.set_len(size).map_err(plain)?;
        std::fs::create_dir(&shown_at).map_err(plain)?;
        let medium = Arc::new(Medium { file, size, hangs: Mutex::default() });
        let session = fuser::spawn_mount(Shown(Arc::clone(&medium)), &shown_at, &fuser::Config::default());
        let disk = Self { medium, shown_at, _session: session.map_err(plain)? };
        let mounted = Mounted::existing_image(&disk.shown_at.join(NAME), mkfs, at)?;
        Ok((disk, mounted))
    }

    /// From now on it answers nothing, until the guard is dropped. A process that waits for it cannot even be killed: let
    /// the guard be the first thing to go.
    pub(crate) fn hang(&self) -> Hanging<'_> {
        *self.medium.hangs.lock().unwrap() = Some(Vec::new());
        Hanging(self)
    }

    /// How many requests wait for it.
    pub(crate) fn waiting(&self) -> usize {
        self.medium.hangs.lock().unwrap().as_ref().map_or(0, Vec::len)
    }
}
