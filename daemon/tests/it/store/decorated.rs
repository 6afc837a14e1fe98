//! A volume around a real one that counts flushes and lets a test step in: before a call, or instead of it.
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use shoebox::model::drive::Space;
use shoebox::model::place::Place;
use shoebox::store::disk::{Found, look};
use shoebox::store::volume::{
    Entry, Footprint, MediumRead, ReadAt, Staged, Stat, Synced, Volume, VolumeError,
};
use shoebox::work::drive::Attached;
use shoebox::work::pool::Pool;

/// Which call a test steps into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Stage(Option<u64>),
    Grow(u64),
    /// Of what grows.
    Flush,
    Open,
    ReadAt,
    Medium,
    List,
    SyncDir,
    Append,
    MakeDir,
    Stat,
}

type Hook = Arc<dyn Fn(Call, &Place) -> Result<(), VolumeError> + Send + Sync>;

pub(super) struct Decorated {
    inner: Box<dyn Volume>,
    hook: Mutex<Hook>,
    /// What the medium has of a file, where that is not what memory shows.
    medium: Mutex<HashMap<Place, Vec<u8>>>,
    pub(super) appends: AtomicU64,
    pub(super) dir_flushes: AtomicU64,
}

/// What the kernel says of a sector that cannot be read.
pub(super) fn eio(place: &Place) -> VolumeError {
    VolumeError::Io { op: "read", place: place.clone(), source: std::io::Error::from_raw_os_error(libc::EIO) }
}

impl Decorated {
    pub(super) fn new(inner: Box<dyn Volume>) -> Self {
        let hook: Hook = Arc::new(|_, _| Ok(()));
        let medium = Mutex::default();
        Self {
            inner,
            hook: Mutex::new(hook),
            medium,
            appends: AtomicU64::new(0),
            dir_flushes: AtomicU64::new(0),
        }
    }

    pub(super) fn step_in(
        &self,
        hook: impl Fn(Call, &Place) -> Result<(), VolumeError> + Send + Sync + 'static,
    ) {
        *self.hook.lock().unwrap() = Arc::new(hook);
    }

    pub(super) fn medium_has(&self, place: &Place, bytes: &[u8]) {
        self.medium.lock().unwrap().insert(place.clone(), bytes.to_vec());
    }

    /// The handle for code under test.
    pub(super) fn volume(this: &Arc<Self>) -> Arc<dyn Volume> {
        Arc::new(Shared(Arc::clone(this)))
    }

    fn call(&self, call: Call, place: &Place) -> Result<(), VolumeError> {
        let hook = Arc::clone(&self.hook.lock().unwrap());
        hook(call, place)
    }

    /// Attaches the drive at `mount` of a fresh pool through a decoration.
    pub(super) fn attach(pool: &Pool, mount: PathBuf) -> Arc<Self> {
        let Found::Marked(volume, marker) = look(&mount) else { panic!("no drive at {}", mount.display()) };
        let decorated = Arc::new(Self::new(Box::new(volume)));
        pool.attach(Arc::new(Attached::new(*marker, Self::volume(&decorated), mount)), None).unwrap();
        decorated
    }
}

/// The handle the pool has; the test keeps another.
struct Shared(Arc<Decorated>);

impl Volume for Shared {
    fn prove(&self) -> Result<(), VolumeError> {
        self.0.inner.prove()
    }
    fn let_go(&self) {
        self.0.inner.let_go();
    }
    fn stage(&self, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        self.0.call(Call::Stage(expected), &Place::incoming())?;
        self.0.inner.stage(expected)
    }
    fn grow(&self, file: &Place, at: u64, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        self.0.call(Call::Grow(at), file)?;
        let inner = self.0.inner.grow(file, at, expected)?;
        Ok(Box::new(Growing { volume: Arc::clone(&self.0), place: file.clone(), inner }))
    }
    fn drain(&self) -> Result<(), VolumeError> {
        self.0.inner.drain()
    }
    fn make_dir(&self, dir: &Place) -> Result<bool, VolumeError> {
        self.0.call(Call::MakeDir, dir)?;
        self.0.inner.make_dir(dir)
    }
    fn sync_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        self.0.dir_flushes.fetch_add(1, Ordering::SeqCst);
        self.0.call(Call::SyncDir, dir)?;
        self.0.inner.sync_dir(dir)
    }
    /// As on a filesystem that keeps no order.
    fn order_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        self.sync_dir(dir)
    }
    fn rename_new(&self, from: &Place, to: &Place) -> Result<(), VolumeError> {
        self.0.inner.rename_new(from, to)
    }
    fn link(&self, from: &Place, to: &Place) -> Result<(), VolumeError> {
        self.0.inner.link(from, to)
    }
    fn remove_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        self.0.inner.remove_dir(dir)
    }
    fn discard(&self, file: &Place) -> Result<(), VolumeError> {
        self.0.inner.discard(file)
    }
    fn set_mtime(&self, file: &Place, mtime: Timestamp) -> Result<(), VolumeError> {
        self.0.inner.set_mtime(file, mtime)
    }
    fn stat(&self, place: &Place) -> Result<Stat, VolumeError> {
        self.0.call(Call::Stat, place)?;
        self.0.inner.stat(place)
    }
    fn list(&self, dir: &Place) -> Result<Vec<Entry>, VolumeError> {
        self.0.call(Call::List, dir)?;
        self.0.inner.list(dir)
    }
    fn open(&self, file: &Place) -> Result<Box<dyn ReadAt>, VolumeError> {
        self.0.call(Call::Open, file)?;
        let inner = self.0.inner.open(file)?;
        Ok(Box::new(Reader { volume: Arc::clone(&self.0), place: file.clone(), inner }))
    }
    fn open_medium(&self, file: &Place) -> Result<Box<dyn MediumRead>, VolumeError> {
        self.0.call(Call::Medium, file)?;
        match self.0.medium.lock().unwrap().get(file) {
            Some(bytes) => Ok(Box::new(Platter { bytes: bytes.clone(), read: false })),
            None => self.0.inner.open_medium(file),
        }
    }
    fn sync_file(&self, file: &Place) -> Result<(), VolumeError> {
        self.0.inner.sync_file(file)
    }
    fn seal(&self, file: &Place) -> Result<bool, VolumeError> {
        self.0.inner.seal(file)
    }
    fn append(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError> {
        self.0.appends.fetch_add(1, Ordering::SeqCst);
        self.0.call(Call::Append, file)?;
        self.0.inner.append(file, bytes)
    }
    fn write_small(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError> {
        self.0.inner.write_small(file, bytes)
    }
    fn space(&self) -> Result<Space, VolumeError> {
        self.0.inner.space()
    }
    fn os_path(&self, place: &Place) -> Option<PathBuf> {
        self.0.inner.os_path(place)
    }
}

/// A file that grows.
struct Growing {
    volume: Arc<Decorated>,
    place: Place,
    inner: Box<dyn Staged>,
}

impl Staged for Growing {
    fn has_its_room(&self) -> bool {
        self.inner.has_its_room()
    }
    fn write(&mut self, bytes: &[u8]) -> Result<(), VolumeError> {
        self.inner.write(bytes)
    }
    fn sync(self: Box<Self>, mtime: Option<Timestamp>) -> Result<Box<dyn Synced>, VolumeError> {
        self.volume.call(Call::Flush, &self.place)?;
        self.inner.sync(mtime)
    }
}

struct Reader {
    volume: Arc<Decorated>,
    place: Place,
    inner: Box<dyn ReadAt>,
}

impl ReadAt for Reader {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
        self.volume.call(Call::ReadAt, &self.place)?;
        self.inner.read_at(buf, offset)
    }
    fn footprint(&self) -> Option<Footprint> {
        self.inner.footprint()
    }
}

struct Platter {
    bytes: Vec<u8>,
    read: bool,
}

impl MediumRead for Platter {
    fn next(&mut self) -> Result<&[u8], VolumeError> {
        Ok(if std::mem::replace(&mut self.read, true) { &[] } else { &self.bytes })
    }
}
