//! A pool on two temporary directories, with one person, a phone and a computer, and a clock that stands still.
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use shoebox::model::account::{Device, DeviceKind};
use shoebox::model::drive::{DriveId, DriveRole, Standing};
use shoebox::model::offer::{Expect, Offer};
use shoebox::model::path::RelPath;
use shoebox::plan::mirroring::Brake;
use shoebox::store::catalogue::copies::CopyRow;
use shoebox::work::appliance::Appliance;
use shoebox::work::error::Refusal;
use shoebox::work::ingest::{Ack, Ingest};
use shoebox::work::media::Looking;
use shoebox::work::mirror::Mirror;
use shoebox::work::pool::{Options, Pool};
use shoebox::work::rescan::Rescan;
use shoebox::work::tree::Tree;
use shoebox::work::views::RescanReport;
use shoebox::work::watch::DriveWatch;

use super::decorated::Decorated;
use crate::support::mounted::Mounted;

pub(super) struct Furnished {
    pub(super) pool: Arc<Pool>,
    pub(super) mirror: Mirror,
    now: Arc<Mutex<Timestamp>>,
    dir: tempfile::TempDir,
}

pub(super) fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

pub(super) fn phone() -> Device {
    device("phone", DeviceKind::Phone)
}

pub(super) fn computer() -> Device {
    device("mac", DeviceKind::Computer)
}

fn device(name: &str, kind: DeviceKind) -> Device {
    Device { person: "anna".parse().unwrap(), name: name.parse().unwrap(), kind }
}

pub(super) fn offer(name: &str, size: u64) -> Offer {
    Offer {
        by: computer(),
        path: path(name),
        size: Some(size),
        declared: Vec::new(),
        mtime: None,
        ctime: None,
        expect: Expect::Anything,
        make_parents: true,
    }
}

pub(super) fn upload(pool: &Arc<Pool>, name: &str, bytes: &[u8]) -> Result<Ack, Refusal> {
    let mut incoming = Ingest::new(Arc::clone(pool)).begin(offer(name, bytes.len() as u64))?;
    incoming.write(bytes)?;
    incoming.finish()?.settle()
}

impl Furnished {
    pub(super) fn new() -> Self {
        Self::quiet_after(SignedDuration::ZERO)
    }

    /// Files of other hands wait this long.
    pub(super) fn quiet_after(quiet: SignedDuration) -> Self {
        Self::on(Self::mount_points(), quiet)
    }

    /// With a filesystem of its own under the drive `a` or `b`, mounted by `mount`.
    pub(super) fn mounted(
        drive: &str,
        mount: impl FnOnce(&Path) -> Result<Mounted, String>,
    ) -> Result<(Self, Mounted), String> {
        let dir = Self::mount_points();
        let mounted = mount(&dir.path().join(drive))?;
        Ok((Self::on(dir, SignedDuration::ZERO), mounted))
    }

    /// A pool with two blank drives.
    pub(super) fn blank() -> (Arc<Pool>, Vec<PathBuf>, tempfile::TempDir) {
        let dir = Self::mount_points();
        let mounts: Vec<PathBuf> = ["a", "b"].map(|name| dir.path().join(name)).to_vec();
        (Self::pool(mounts.clone(), SignedDuration::ZERO).0, mounts, dir)
    }

    fn mount_points() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        ["a", "b"].iter().for_each(|mount| std::fs::create_dir(dir.path().join(mount)).unwrap());
        dir
    }

    fn on(dir: tempfile::TempDir, quiet: SignedDuration) -> Self {
        let mounts: Vec<PathBuf> = ["a", "b"].map(|name| dir.path().join(name)).to_vec();
        let (pool, now) = Self::pool(mounts.clone(), quiet);
        pool.adopt(&mounts[0], DriveRole::Primary).unwrap();
        pool.adopt(&mounts[1], DriveRole::Mirror).unwrap();
        pool.add_person(&phone().person).unwrap();
        for device in [phone(), computer()] {
            drop(pool.add_device(&device.person, &device.name, device.kind).unwrap());
        }
        let mirror = Mirror::new(Arc::clone(&pool));
        Self { pool, mirror, now, dir }
    }

    fn pool(mounts: Vec<PathBuf>, quiet: SignedDuration) -> (Arc<Pool>, Arc<Mutex<Timestamp>>) {
        let options = Options {
            mounts,
            require_mount: false,
            delete_delay: SignedDuration::from_hours(24),
            brake: Brake { percent: 1, files: 200 },
            quiet,
            scratch_keep: SignedDuration::from_hours(24),
            acknowledge_after_copy: false,
            seal_copies: true,
            appliance: Appliance::default(),
        };
        let now = Arc::new(Mutex::new("2026-11-21T18:02:11Z".parse().unwrap()));
        let clock = Arc::clone(&now);
        (Arc::new(Pool::new(options, Arc::new(move || *clock.lock().unwrap()))), now)
    }

    /// The same drives under a new daemon, as after a power cut.
    pub(super) fn restarted(self) -> Self {
        let new = self.away();
        new.watch("a");
        new.watch("b");
        new
    }

    /// A new daemon that has not looked at its drives yet.
    pub(super) fn away(self) -> Self {
        let Self { pool, mirror, now: _, dir } = self;
        drop((pool, mirror));
        let mounts = ["a", "b"].map(|name| dir.path().join(name)).to_vec();
        let (pool, now) = Self::pool(mounts, SignedDuration::ZERO);
        let mirror = Mirror::new(Arc::clone(&pool));
        Self { pool, mirror, now, dir }
    }

    /// The same drives under a new daemon, with a test's hand in every call.
    pub(super) fn decorated(self) -> (Self, Arc<Decorated>, Arc<Decorated>) {
        let new = self.away();
        let [a, b] = ["a", "b"].map(|drive| Decorated::attach(&new.pool, new.mount(drive)));
        (new, a, b)
    }

    /// A new daemon that has not looked at its drives yet, with another drive at the mount of B.
    pub(super) fn with_another_b(self, content: &std::path::Path) -> Self {
        let new = self.away();
        std::fs::remove_dir_all(new.mount("b")).unwrap();
        std::fs::rename(content, new.mount("b")).unwrap();
        new
    }

    pub(super) fn mount(&self, drive: &str) -> PathBuf {
        self.dir.path().join(drive)
    }

    /// Where a name lies on a drive.
    pub(super) fn at(&self, drive: &str, name: &str) -> PathBuf {
        self.mount(drive).join("photos").join(name)
    }

    pub(super) fn pass(&self, hours: i64) {
        let mut now = self.now.lock().unwrap();
        *now = now.checked_add(SignedDuration::from_hours(hours)).unwrap();
    }

    pub(super) fn watch(&self, drive: &str) {
        DriveWatch::new(Arc::clone(&self.pool), self.mount(drive)).step().unwrap();
    }

    /// The first look lets go of the drive that was, the second takes the one that is.
    pub(super) fn comes_back(&self, drive: &str) {
        self.watch(drive);
        self.watch(drive);
        assert_eq!(self.standing(drive), Standing::Ready);
    }

    pub(super) fn tree(&self) -> Tree {
        Tree::new(Arc::clone(&self.pool))
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Ack {
        upload(&self.pool, name, bytes).unwrap()
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        self.tree().rename(&computer(), &path(from), &path(to), false).unwrap();
    }

    /// Lets the mirror work until it rests; a worker that never rests fails here.
    pub(super) fn mirrored(&mut self) {
        for _ in 0..200 {
            if !self.mirror.step(&|| true).unwrap() {
                return;
            }
        }
        panic!("the mirror does not come to rest");
    }

    /// Reads the metadata of what came.
    pub(super) fn looked(&self) {
        let mut looking = Looking::new(Arc::clone(&self.pool), jiff::tz::TimeZone::UTC).at_once();
        for _ in 0..200 {
            if !looking.step(&|| true).unwrap() {
                return;
            }
        }
        panic!("the reader of metadata does not come to rest");
    }

    /// Compares the whole tree of A until nothing waits.
    pub(super) fn rescanned(&self) -> RescanReport {
        let mut rescan = Rescan::new(Arc::clone(&self.pool));
        rescan.start();
        for _ in 0..1000 {
            if !rescan.step(&|| true).unwrap() {
                return rescan.report();
            }
        }
        panic!("the rescan does not come to rest");
    }

    pub(super) fn standing(&self, drive: &str) -> Standing {
        let mount = self.mount(drive);
        self.pool.drives().into_iter().find(|d| d.mount == mount).unwrap().standing
    }

    pub(super) fn id(&self, drive: &str) -> DriveId {
        let mount = self.mount(drive);
        self.pool.drives().into_iter().find(|d| d.mount == mount).unwrap().id.unwrap()
    }

    /// What the catalogue says of a name's copy on a drive.
    pub(super) fn copy(&self, name: &str, drive: &str) -> Option<CopyRow> {
        let id = self.id(drive);
        let primary = self.pool.primary().unwrap();
        let rows = primary.catalogue.read(|r| match r.name(&path(name).fold_key())? {
            Some(row) => r.copies_of_name(row.id),
            None => Ok(Vec::new()),
        });
        rows.unwrap().into_iter().find(|c| c.drive == id)
    }

    /// How many copies the catalogue knows of a name, made or not.
    pub(super) fn copy_count(&self, name: &str) -> usize {
        let primary = self.pool.primary().unwrap();
        let row = primary.catalogue.read(|r| r.name(&path(name).fold_key())).unwrap().unwrap();
        primary.catalogue.read(|r| r.copies_of_name(row.id)).unwrap().len()
    }

    /// The state of a name's copy on a drive, as a word.
    pub(super) fn state(&self, name: &str, drive: &str) -> &'static str {
        self.copy(name, drive).map_or("none", |c| c.state.as_str())
    }

    /// Every copy that the catalogue calls verified is on its drive with its bytes.
    pub(super) fn verified_copies_are_there(&self, names: &[&str]) {
        for name in names {
            for drive in ["a", "b"] {
                let Some(copy) = self.copy(name, drive).filter(|c| c.state.as_str() == "verified") else {
                    continue;
                };
                let bytes = std::fs::read(self.at(drive, copy.at.as_str()));
                let hash = bytes.map(|b| shoebox::model::hash::ContentHash::of(&b));
                assert_eq!(hash.ok(), Some(copy.hash), "{name} on {drive}, which is said to be verified");
            }
        }
    }
}
