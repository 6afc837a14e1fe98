//! The box on two simulated drives: the real pool, primary, mirror and rescan, a clock turned by hand, and the
//! hand that pulls plugs. One thread; everything that happens follows from the seed.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use shoebox::model::account::{Device, DeviceKind, TokenKey};
use shoebox::model::drive::{DriveRole, Id, Marker};
use shoebox::model::hash::ContentHash;
use shoebox::model::place::Place;
use shoebox::plan::mirroring::Brake;
use shoebox::store::catalogue::Catalogue;
use shoebox::store::volume::Volume;
use shoebox::work::appliance::Appliance;
use shoebox::work::drive::Attached;
use shoebox::work::error::Refusal;
use shoebox::work::mirror::Mirror;
use shoebox::work::pool::{Options, Pool};
use shoebox::work::primary::Primary;
use shoebox::work::rescan::Rescan;
use shoebox::work::watch::DriveWatch;

use crate::look::Picture;
use crate::medium::Kind;
use crate::model::Model;
use crate::rng::Rng;
use crate::volume::SimVolume;

const CAPACITY: u64 = 64 << 20;
const START: i64 = 1_790_000_000;
/// How long a deletion waits before it reaches B.
pub(crate) const DELAY: SignedDuration = SignedDuration::from_hours(24);
/// More deletions than this within an hour are held back.
pub(crate) const BRAKE: u64 = 4;
/// How long other hands must be quiet.
pub(crate) const QUIET: SignedDuration = SignedDuration::from_secs(10);

/// What becomes of the catalogue when A loses power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// It is what it was: SQLite kept its promise.
    Kept,
    /// It is gone, and everything must come back from the manifest and the files.
    Lost,
    /// It is what it was some commits ago.
    Older,
}

/// Which of the two drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    A,
    B,
}

/// The box.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) a: SimVolume,
    pub(crate) b: SimVolume,
    pub(crate) kinds: (Kind, Kind),
    pub(crate) pool: Arc<Pool>,
    pub(crate) catalogue: Arc<Catalogue>,
    /// A picture of the catalogue from before.
    pub(crate) older: Option<Picture>,
    pub(crate) mirror: Mirror,
    pub(crate) rescan: Rescan,
    pub(crate) model: Model,
    /// Something may fail: a fault lies in wait, or a drive is away.
    pub(crate) disturbed: bool,
    /// Somebody answers when the box asks; until when he did.
    pub(crate) answers: bool,
    pub(crate) answered: i64,
    /// What happened, for the eye and for the comparison of two runs.
    pub(crate) log: Vec<String>,
    attached_a: Option<Arc<Attached>>,
    clock: Arc<AtomicI64>,
}

/// Anna's phone, or her computer.
pub(crate) fn device(kind: DeviceKind) -> Device {
    let name = match kind {
        DeviceKind::Phone => "phone",
        DeviceKind::Computer => "mac",
    };
    Device { person: "anna".parse().expect("a slug"), name: name.parse().expect("a slug"), kind }
}

pub(crate) fn marker(which: Which) -> Marker {
    let (number, role) = match which {
        Which::A => (1, DriveRole::Primary),
        Which::B => (2, DriveRole::Mirror),
    };
    Marker {
        format: 1,
        pool: Id::from_random([9; 16]),
        drive: Id::from_random([number; 16]),
        role,
        generation: 1,
        adopted: Timestamp::UNIX_EPOCH,
        filesystem: None,
        volume: None,
        token_key: TokenKey::from_random([5; 32]),
    }
}

fn mount(which: Which) -> PathBuf {
    // Nothing is ever there: what the watcher looks for at a mount point is found by `World::attach` instead.
    PathBuf::from(match which {
        Which::A => "/nonexistent/a",
        Which::B => "/nonexistent/b",
    })
}

fn new_pool(clock: &Arc<AtomicI64>) -> Arc<Pool> {
    let options = Options {
        mounts: vec![mount(Which::B)],
        require_mount: true,
        delete_delay: DELAY,
        brake: Brake { percent: 100, files: BRAKE },
        quiet: QUIET,
        scratch_keep: SignedDuration::from_hours(48),
        acknowledge_after_copy: false,
        seal_copies: true,
        appliance: Appliance::default(),
    };
    let clock = Arc::clone(clock);
    Arc::new(Pool::new(options, Arc::new(move || at(clock.load(Ordering::Relaxed)))))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

impl World {
    /// Two empty drives, attached.
    pub(crate) fn new(seed: u64, kinds: (Kind, Kind)) -> Self {
        let drive = |kind| SimVolume::with_our_folders(kind, CAPACITY);
        let clock = Arc::new(AtomicI64::new(START));
        let pool = new_pool(&clock);
        Self {
            rng: Rng::new(seed),
            a: drive(kinds.0),
            b: drive(kinds.1),
            kinds,
            catalogue: Arc::new(Catalogue::in_memory().expect("a catalogue")),
            older: None,
            mirror: Mirror::new(Arc::clone(&pool)),
            rescan: Rescan::new(Arc::clone(&pool)),
            pool,
            model: Model::default(),
            disturbed: false,
            answers: true,
            answered: 0,
            log: Vec::new(),
            attached_a: None,
            clock,
        }
    }

    /// Writes a line into the log.
    pub(crate) fn note(&mut self, line: String) {
        if std::env::var_os("SHOEBOX_LOG").is_some() {
            println!("{line}");
        }
        self.log.push(line);
    }

    /// Prints what is on the drives and in the catalogue, for whoever looks at a failure.
    pub(crate) fn show(&self) {
        if std::env::var_os("SHOEBOX_LOG").is_none() {
            return;
        }
        for which in [Which::A, Which::B] {
            println!("{which:?} has");
            for (path, bytes) in self.volume(which).files() {
                println!("  {path} {} bytes {:.12}", bytes.len(), ContentHash::of(&bytes).to_string());
                if path.starts_with(".shoebox/manifest/") {
                    println!("{}", String::from_utf8_lossy(&bytes));
                }
            }
        }
        println!("the catalogue has\n{}", Picture::of(&self.catalogue).map_or_else(|why| why, |p| p.text()));
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        at(self.clock.load(Ordering::Relaxed))
    }

    /// Turns the clock, backwards if need be.
    pub(crate) fn turn(&mut self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
        let now = self.now();
        self.a.set_now(now);
        self.b.set_now(now);
    }

    /// Who a drive is.
    pub(crate) fn id(which: Which) -> Id {
        marker(which).drive
    }

    /// The present mount of a drive.
    pub(crate) fn volume(&self, which: Which) -> &SimVolume {
        match which {
            Which::A => &self.a,
            Which::B => &self.b,
        }
    }

    /// Whether the box has the drive in use.
    pub(crate) fn is_attached(&self, which: Which) -> bool {
        match which {
            Which::A => self.pool.primary().is_ok(),
            Which::B => !self.pool.others().is_empty(),
        }
    }

    /// Takes the present mount of a drive into use, with all the recovery that belongs to it.
    pub(crate) fn attach(&mut self, which: Which) -> Result<(), Refusal> {
        // One that was let go of is opened anew, as a mount point is: what was open on it stays dead.
        match which {
            Which::A => self.a = self.a.mounted(),
            Which::B => self.b = self.b.mounted(),
        }
        let volume: Arc<dyn Volume> = Arc::new(self.volume(which).clone());
        let attached = Arc::new(Attached::new(marker(which), volume, mount(which)));
        match which {
            Which::A => {
                let catalogue = Arc::clone(&self.catalogue);
                let (primary, recovered) = Primary::open(Arc::clone(&attached), catalogue, self.now())?;
                self.note(format!("A opened: {recovered:?}"));
                self.attached_a = Some(attached);
                self.pool.set_primary(Some(Arc::new(primary)))
            }
            Which::B => {
                self.note("B attached".to_owned());
                self.pool.attach(attached, None)
            }
        }
    }

    /// Lets go of a drive, as the watcher does when it finds it gone.
    pub(crate) fn let_go(&mut self, which: Which) -> Result<(), String> {
        match which {
            Which::A => {
                self.attached_a = None;
                self.pool.set_primary(None).map_err(|e| e.to_string())
            }
            Which::B => {
                self.volume(which).unplug();
                self.watch_b()
            }
        }
    }

    /// One look of the watcher at B: probes it, or lets go of it.
    fn watch_b(&self) -> Result<(), String> {
        if self.pool.others().is_empty() {
            return Ok(());
        }
        DriveWatch::new(Arc::clone(&self.pool), mount(Which::B)).step().map_err(|e| e.to_string())
    }

    /// One look of the watcher at a drive: what was suspected is cleared by a probe that passes.
    pub(crate) fn watch(&mut self, which: Which) -> Result<(), String> {
        match (which, &self.attached_a) {
            (Which::B, _) => self.watch_b(),
            (Which::A, Some(attached)) => {
                let bytes = [7; 100];
                let probe = attached.volume.write_small(&Place::probe(), &bytes).and_then(|()| {
                    attached.volume.open_medium(&Place::probe())?.next().map(|back| back == bytes)
                });
                match probe {
                    Ok(true) => attached.cleared(),
                    Ok(false) => return Err("the probe of A read back something else".to_owned()),
                    Err(e) => drop(attached.heed(e)),
                }
                if attached.doubt().gone.is_some() { self.let_go(Which::A) } else { Ok(()) }
            }
            (Which::A, None) => Ok(()),
        }
    }

    /// The box starts anew, with nothing in its memory. The drives stay as they are.
    pub(crate) fn restart(&mut self) {
        self.attached_a = None;
        self.pool = new_pool(&self.clock);
        self.mirror = Mirror::new(Arc::clone(&self.pool));
        self.rescan = Rescan::new(Arc::clone(&self.pool));
    }

    /// A drive loses what it had not made durable, and is mounted anew.
    pub(crate) fn cut(&mut self, which: Which) {
        let mut rng = Rng::new(self.rng.next());
        match which {
            Which::A => {
                self.a = self.a.cut(&mut rng);
                self.model.a_was_cut(&self.a.files());
            }
            Which::B => {
                self.b = self.b.cut(&mut rng);
                self.model.was_torn(&self.b.files());
            }
        }
    }

    /// Takes back all faults of a drive. One that stopped writing, or was pulled, is mounted anew. So is one without a journal
    /// of which a directory's flush failed: nothing but a mount can tell what of it there is.
    pub(crate) fn heal(&mut self, which: Which) -> Result<(), String> {
        let volume = self.volume(which);
        let dead = !volume.is_alive() || volume.is_read_only() || volume.lost_names();
        self.volume(which).heal();
        if dead {
            if self.is_attached(which) {
                self.let_go(which)?;
            }
            self.cut(which);
        }
        Ok(())
    }
}
