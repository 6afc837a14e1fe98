//! A disk in user space: a file that FUSE shows, behind a loop device, with a filesystem on it. It has a memory of its own, as
//! disks do, which is lost with the power unless it was flushed; and it hangs when it is told to.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};

use super::luck::Luck;
use super::mounted::Mounted;

const NAME: &str = "disk";
const DISK: INodeNo = INodeNo(2);
/// Nothing about it ever changes.
const VALID: Duration = Duration::from_secs(3600);

/// What a disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// The plug of one or more disks.
#[derive(Clone, Default)]
pub(crate) struct Plug {
    pulled: Arc<AtomicBool>,
    lies: Arc<AtomicBool>,
}

impl Plug {
    /// Of disks that say of every flush that it is done, and do nothing.
    pub(crate) fn of_liars() -> Self {
        let plug = Self::default();
        plug.lie();
        plug
    }

    /// From now on they do.
    pub(crate) fn lie(&self) {
        self.lies.store(true, Ordering::SeqCst);
    }

    /// From now on the disks answer nothing but errors.
    pub(crate) fn pull(&self) {
        self.pulled.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_pulled(&self) -> bool {
        self.pulled.load(Ordering::SeqCst)
    }
}

/// What a disk was given and has not written yet: sectors by number.
#[derive(Default)]
struct Cache {
    sectors: BTreeMap<u64, [u8; SECTOR]>,
    /// Writes and flushes since it was asked to count.
    calls: u64,
    /// Bytes it was given since it was shown, and flushes.
    written: u64,
    flushes: u64,
    /// The call at which the plug is pulled.
    pull_at: Option<u64>,
    /// The call that fails, once.
    fail_at: Option<u64>,
    /// What a sector begins with that is not written.
    refused: Option<Vec<u8>>,
    /// Sectors that cannot be read until they are written anew.
    unreadable: BTreeSet<u64>,
}

/// A request that is carried out when the disk answers again.
type Waiting = Box<dyn FnOnce(&Medium) + Send>;

struct Medium {
    file: File,
    size: u64,
    plug: Plug,
    cache: Mutex<Cache>,
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

    /// Counts a write or a flush. An error: the power went at it.
    fn call(&self, cache: &mut Cache) -> std::io::Result<()> {
        if self.plug.is_pulled() {
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        cache.calls += 1;
        if cache.pull_at == Some(cache.calls) {
            self.plug.pull();
        }
        if cache.fail_at == Some(cache.calls) {
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }

    fn read(&self, offset: u64, size: u32) -> std::io::Result<Vec<u8>> {
        if self.plug.is_pulled() {
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        let left = self.size.saturating_sub(offset).min(u64::from(size));
        let mut bytes = vec![0; usize::try_from(left).unwrap()];
        self.file.read_exact_at(&mut bytes, offset)?;
        let cache = self.cache.lock().unwrap();
        let first = offset / SECTOR as u64;
        if cache.unreadable.range(first..(offset + left).div_ceil(SECTOR as u64)).next().is_some() {
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        for (number, sector) in cache.sectors.range(first..=first + bytes.len().div_ceil(SECTOR) as u64) {
            for (at, byte) in (number * SECTOR as u64..).zip(sector) {
                if let Some(there) = at.checked_sub(offset).and_then(|at| bytes.get_mut(at as usize)) {
                    *there = *byte;
                }
            }
        }
        Ok(bytes)
    }

    /// A write at which the power goes may be in the cache or not, as a whole or in part: that is drawn later.
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let mut cache = self.cache.lock().unwrap();
        self.call(&mut cache)?;
        let is_refused =
            |sector: &[u8]| cache.refused.as_ref().is_some_and(|start| sector.starts_with(start));
        if data.chunks(SECTOR).any(is_refused) {
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        cache.written += data.len() as u64;
        let (mut at, mut data) = (offset, data);
        // mkfs, which writes without the loop device, writes parts of sectors.
        while !data.is_empty() {
            let (number, within) = (at / SECTOR as u64, at as usize % SECTOR);
            let (piece, rest) = data.split_at(data.len().min(SECTOR - within));
            let mut sector = match cache.sectors.get(&number) {
                Some(sector) => *sector,
                None => {
                    let mut sector = [0; SECTOR];
                    self.file.read_exact_at(&mut sector, number * SECTOR as u64)?;
                    sector
                }
            };
            sector[within..within + piece.len()].copy_from_slice(piece);
            cache.sectors.insert(number, sector);
            // As disks do it: another place is taken for it.
            cache.unreadable.remove(&number);
            (at, data) = (at + piece.len() as u64, rest);
        }
        if self.plug.is_pulled() { Err(std::io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    fn flush(&self) -> std::io::Result<()> {
        let mut cache = self.cache.lock().unwrap();
        self.call(&mut cache)?;
        if self.plug.is_pulled() {
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        if self.plug.lies.load(Ordering::SeqCst) {
            return Ok(());
        }
        cache.flushes += 1;
        for (number, sector) in std::mem::take(&mut cache.sectors) {
            self.file.write_all_at(&sector, number * SECTOR as u64)?;
        }
        Ok(())
    }

    /// What was given and never flushed is there or not, sector by sector, in any order.
    fn lose_power(&self, luck: &mut Luck) {
        let sectors = std::mem::take(&mut self.cache.lock().unwrap().sectors);
        let survive = luck.below(4);
        // Runs of neighbours share their fate more often than not.
        let mut fate = true;
        for (number, sector) in sectors {
            if luck.below(6) == 0 {
                fate = luck.below(2) == 0;
            }
            let there = match survive {
                0 => false,
                1 => true,
                _ => fate,
            };
            if there {
                self.file.write_all_at(&sector, number * SECTOR as u64).unwrap();
            }
        }
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
        self.0.carry_out(Box::new(move |medium| match medium.read(offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(e) => reply.error(e.into()),
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
        self.0.carry_out(Box::new(move |medium| match medium.write(offset, &data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(e) => reply.error(e.into()),
        }));
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.0.carry_out(Box::new(move |medium| match medium.flush() {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(e.into()),
        }));
    }
}

/// A disk. What is on it outlives it as an image file.
pub(crate) struct Disk {
    medium: Arc<Medium>,
    image: PathBuf,
    shown_at: PathBuf,
    _session: BackgroundSession,
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The loop device may still have it open: it lets go when its own last user is gone.
        super::mounted::detach(&self.shown_at);
    }
}

/// Whether anybody still has something of a disk, when it is gone.
pub(crate) struct Remains(Weak<Medium>);

impl Remains {
    /// The kernel lets go of a disk when the last file on it is closed and its filesystem is mounted nowhere.
    pub(crate) fn are_there(&self) -> bool {
        self.0.strong_count() > 0
    }
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
        let image = at.with_extension("medium");
        File::create_new(&image).and_then(|file| file.set_len(mib << 20)).map_err(|e| e.to_string())?;
        let disk = Self::show(&image, &at.with_extension("disk"), &Plug::default())?;
        let mounted = Mounted::existing_image(&disk.shown_at.join(NAME), mkfs, at)?;
        Ok((disk, mounted))
    }

    /// A disk whose medium is an image file, shown in a directory of its own.
    pub(crate) fn show(image: &Path, shown_at: &Path, plug: &Plug) -> Result<Self, String> {
        let plain = |e: std::io::Error| format!("a disk by FUSE: {e}");
        let file = File::options().read(true).write(true).open(image).map_err(plain)?;
        let size = file.metadata().map_err(plain)?.len();
        std::fs::create_dir_all(shown_at).map_err(plain)?;
        let (plug, cache, hangs) = (plug.clone(), Mutex::default(), Mutex::default());
        let medium = Arc::new(Medium { file, size, plug, cache, hangs });
        let session = fuser::spawn_mount(Shown(Arc::clone(&medium)), shown_at, &fuser::Config::default());
        Ok(Self {
            medium,
            image: image.to_owned(),
            shown_at: shown_at.to_owned(),
            _session: session.map_err(plain)?,
        })
    }

    /// Mounts the filesystem that is on it.
    pub(crate) fn mount(&self, at: &Path) -> Result<Mounted, String> {
        Mounted::behind(&self.shown_at.join(NAME), at)
    }

    /// The same for whoever only looks.
    pub(crate) fn mount_to_look_at(&self, at: &Path) -> Result<Mounted, String> {
        Mounted::to_look_at(&self.shown_at.join(NAME), at)
    }

    /// Counts writes and flushes from now on, and pulls the plug at one of them.
    pub(crate) fn pull_at(&self, call: u64) {
        let mut cache = self.medium.cache.lock().unwrap();
        (cache.calls, cache.pull_at) = (0, Some(call));
    }

    /// Counts writes and flushes from now on, and answers one of them with an error; all others are carried out.
    pub(crate) fn fail_at(&self, call: u64) {
        let mut cache = self.medium.cache.lock().unwrap();
        (cache.calls, cache.fail_at) = (0, Some(call));
    }

    /// From now on a write of a sector that begins with these bytes fails; without any, none does.
    pub(crate) fn refuse(&self, bytes: Option<&[u8]>) {
        self.medium.cache.lock().unwrap().refused = bytes.map(<[u8]>::to_vec);
    }

    /// From now on the sector that begins with these bytes cannot be read. `false`: there is none on the medium.
    pub(crate) fn spoil(&self, bytes: &[u8]) -> bool {
        let image = std::fs::read(&self.image).unwrap();
        let Some(number) = image.chunks(SECTOR).position(|sector| sector.starts_with(bytes)) else {
            return false;
        };
        self.medium.cache.lock().unwrap().unreadable.insert(number as u64)
    }

    /// The same of all sectors that begin with them: how many there are.
    pub(crate) fn spoil_all(&self, bytes: &[u8]) -> usize {
        let image = std::fs::read(&self.image).unwrap();
        let all = (0..).zip(image.chunks(SECTOR)).filter(|(_, sector)| sector.starts_with(bytes));
        let all: Vec<u64> = all.map(|(number, _)| number).collect();
        self.medium.cache.lock().unwrap().unreadable.extend(&all);
        all.len()
    }

    /// The same where several files have such a sector: that one for which `hit` holds. `false`: for none.
    pub(crate) fn spoil_where(&self, bytes: &[u8], hit: impl Fn() -> bool) -> bool {
        let image = std::fs::read(&self.image).unwrap();
        let begins = |(_, sector): &(u64, &[u8])| sector.starts_with(bytes);
        let all = (0..).zip(image.chunks(SECTOR)).filter(begins);
        all.map(|(number, _)| number).any(|number| {
            let fresh = self.medium.cache.lock().unwrap().unreadable.insert(number);
            let is_hit = fresh && hit();
            if fresh && !is_hit {
                self.medium.cache.lock().unwrap().unreadable.remove(&number);
            }
            is_hit
        })
    }

    /// How many sectors cannot be read.
    pub(crate) fn unreadable(&self) -> usize {
        self.medium.cache.lock().unwrap().unreadable.len()
    }

    /// Writes and flushes since it was asked to count.
    pub(crate) fn calls(&self) -> u64 {
        self.medium.cache.lock().unwrap().calls
    }

    /// Bytes it was given since it was shown, the filesystem's own among them.
    pub(crate) fn written(&self) -> u64 {
        self.medium.cache.lock().unwrap().written
    }

    /// How far what it was given is on its medium, in words.
    pub(crate) fn state(&self) -> String {
        let cache = self.medium.cache.lock().unwrap();
        let (written, flushes, sectors) = (cache.written, cache.flushes, cache.sectors.len());
        format!("{written} bytes written, {flushes} flushes, {sectors} sectors since the last one")
    }

    /// The power is gone: of what was never flushed, `luck` decides what had been written.
    pub(crate) fn lose_power(&self, luck: &mut Luck) {
        self.medium.plug.pull();
        self.medium.lose_power(luck);
    }

    /// From now on it answers nothing, until the guard is dropped. A process that waits for it cannot even be killed: let
    /// the guard be the first thing to go.
    pub(crate) fn hang(&self) -> Hanging<'_> {
        *self.medium.hangs.lock().unwrap() = Some(Vec::new());
        Hanging(self)
    }

    /// What stays of it after it is gone.
    pub(crate) fn remains(&self) -> Remains {
        Remains(Arc::downgrade(&self.medium))
    }

    /// How many requests wait for it.
    pub(crate) fn waiting(&self) -> usize {
        self.medium.hangs.lock().unwrap().as_ref().map_or(0, Vec::len)
    }
}
