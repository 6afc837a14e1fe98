//! The pool: all drives of the box, who may use it, and the one primary that uploads go to. Shared by every worker and
//! every face. Nothing here waits for a drive except where it says so.
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::model::account::{Device, TokenHash, TokenKey};
use crate::model::drive::{DriveId, DriveRole, PoolId, Space, Standing};
use crate::model::health::Finding;
use crate::plan::facts::SharingFacts;
use crate::plan::mirroring::Brake;
use crate::store::aligned;
use crate::store::catalogue::Doubt;
use crate::store::disk::Hold;
use crate::store::syscall;
use crate::work::appliance::Appliance;
use crate::work::beside::Naming;
use crate::work::brake::{Braking, Held};
use crate::work::census::{Census, Inflow};
use crate::work::certificates::Certificates;
use crate::work::doubts::Doubts;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::hashing::Threads;
use crate::work::incidents::Incidents;
use crate::work::news::{Feed, PhotoNews};
use crate::work::onetime::OneTimes;
use crate::work::opening::Condemned;
use crate::work::parts::Uploads;
use crate::work::passwords::OneAtATime;
use crate::work::primary::Primary;
use crate::work::promote::Roles;
use crate::work::quotas::Quotas;
use crate::work::room::Room;
use crate::work::views::{DriveView, RescanReport};

mod notes;
mod signing;
mod slot;

pub use signing::SignedIn;
pub(in crate::work) use signing::Visit;
pub use slot::Slot;

/// The clock everything below is given: `os::clock` in the daemon, a manual one in the simulation.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How the pool behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where drives are looked for.
    pub mounts: Vec<PathBuf>,
    /// Whether a drive must be the root of a mount of its own. False only in the demo.
    pub require_mount: bool,
    /// How long a deletion waits before it reaches other drives' trash.
    pub delete_delay: SignedDuration,
    /// When deletions are held back.
    pub brake: Brake,
    /// How long a file of other hands must be quiet before it is taken over.
    pub quiet: SignedDuration,
    /// How long scratch files are kept.
    pub scratch_keep: SignedDuration,
    /// Uploads are acknowledged only when they were read back from drive B as well.
    pub acknowledge_after_copy: bool,
    /// Copies on other drives than the primary are sealed where the filesystem offers it.
    pub seal_copies: bool,
    /// Who does for the box what takes root.
    pub appliance: Appliance,
}

/// What can be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wake {
    /// The mirror: there is something to copy.
    Mirror,
    /// The healer: a copy is damaged, or a drive with good ones came.
    Heal,
    /// The rescan: other hands did something.
    Rescan,
    /// The minute check: something changed that people should see.
    Health,
    /// The scrub: a drive came, and may have a tail to be re-read.
    Scrub,
    /// The watchers of the drives: one was closed and is to be opened again.
    Drives,
    /// The lists for strangers: a drive that came has everything.
    Lists,
    /// The reader of metadata: something came.
    Metadata,
    /// The keeper of certificates: a drive came.
    Certificates,
    /// What brings the visit of an offline drive to its end: one came, or its lists are written.
    Offline,
}

/// Counters since start, for `/metrics` and the minute check.
#[derive(Debug, Default)]
pub struct Counters {
    /// Uploads acknowledged.
    pub received: AtomicU64,
    /// Their bytes.
    pub received_bytes: AtomicU64,
    /// Uploads refused for want of room.
    pub refused_full: AtomicU64,
    /// Copies made and proved on other drives.
    pub proved: AtomicU64,
    /// Their bytes.
    pub proved_bytes: AtomicU64,
}

/// Who may sign in: held in memory, so that no request waits for a drive to be told no.
#[derive(Default)]
struct Accounts {
    key: Option<TokenKey>,
    devices: HashMap<TokenHash, Device>,
}

type Waker = Box<dyn Fn() + Send + Sync>;

/// Shared by every worker and every face.
pub struct Pool {
    pub(super) options: Options,
    clock: Clock,
    slots: Mutex<Vec<Slot>>,
    primary: RwLock<Option<Arc<Primary>>>,
    /// By mount point: what keeps other programs from the drives attached there.
    holds: Mutex<HashMap<PathBuf, Hold>>,
    identity: Mutex<Option<PoolId>>,
    accounts: RwLock<Accounts>,
    /// What is known of the roles of drives.
    pub(super) roles: Mutex<Roles>,
    /// Who was seen since it was last written down. Apart from `accounts`, which every request reads.
    seen: Mutex<HashMap<String, Visit>>,
    /// What was last counted.
    pub(super) census: Mutex<Option<Census>>,
    /// Held while `accounts` is read anew: what was read first must not be put there last.
    reloading: Mutex<()>,
    pub(super) quotas: Quotas,
    /// Held while a password is hashed.
    pub(super) hashing: OneAtATime,
    pub(super) onetimes: OneTimes,
    pub(super) certificates: Certificates,
    /// Held while a device is added: two at once of one name must not both find it free.
    pub(super) adding: Mutex<()>,
    /// Held while a drive is adopted.
    pub(super) adopting: Mutex<()>,
    pub(super) room: Room,
    pub(super) uploads: Uploads,
    pub(super) naming: Naming,
    pub(super) hashers: Threads,
    pub(super) inflow: Mutex<Option<Inflow>>,
    findings: RwLock<Arc<Vec<Finding>>>,
    feed: Feed,
    wakers: Mutex<Vec<(Wake, Waker)>>,
    /// Counters since start.
    pub counters: Counters,
    /// What the last rescan could not take over.
    pub(super) last_rescan: Mutex<Option<(Timestamp, RescanReport)>>,
    /// What was weighed of the changes on the primary, and what of them is held back.
    pub(super) braking: Mutex<Braking>,
    pub(super) held: Mutex<Option<Held>>,
    /// Held while an answer is carried out: one at a time.
    pub(super) answering: Mutex<()>,
    unwatched: Mutex<Option<Timestamp>>,
    /// How the photos are seen over NFS.
    pub(super) sharing: Mutex<SharingFacts>,
    condemned: Mutex<Condemned>,
    /// Copies that could not be read while somebody waited for them.
    pub(super) doubts: Mutex<Doubts>,
    /// Offline drives that may be unplugged, and since when.
    pub(super) unpluggable: Mutex<HashMap<DriveId, Timestamp>>,
    /// Since when every mount point has somebody who watches it.
    pub(super) watched_since: Mutex<Option<Instant>>,
    /// Which drive made an error when.
    pub(super) incidents: Mutex<Incidents>,
    /// Whose whole tree was compared with the catalogue, with nothing left to wait for.
    compared: Mutex<Weak<Primary>>,
    /// Since when the catalogue has had something that no snapshot contains.
    unsaved: Mutex<Option<Timestamp>>,
    /// Something changed that people should see, since the minute check last asked.
    stirred: AtomicBool,
    busy_taking_in: AtomicBool,
    hears_of_mounts: AtomicBool,
}

impl Pool {
    /// A pool with no drive attached yet.
    pub fn new(options: Options, clock: Clock) -> Self {
        let now = clock();
        let slot = |mount: &PathBuf| Slot::new(mount.clone(), now);
        Self {
            slots: Mutex::new(options.mounts.iter().map(slot).collect()),
            options,
            clock,
            primary: RwLock::default(),
            holds: Mutex::default(),
            identity: Mutex::default(),
            accounts: RwLock::default(),
            roles: Mutex::default(),
            seen: Mutex::default(),
            census: Mutex::default(),
            reloading: Mutex::default(),
            quotas: Quotas::default(),
            hashing: OneAtATime::default(),
            onetimes: OneTimes::default(),
            certificates: Certificates::default(),
            adding: Mutex::default(),
            adopting: Mutex::default(),
            room: Room::default(),
            uploads: Uploads::default(),
            naming: Naming::default(),
            hashers: Threads::default(),
            inflow: Mutex::default(),
            findings: RwLock::default(),
            feed: Feed::default(),
            wakers: Mutex::default(),
            counters: Counters::default(),
            last_rescan: Mutex::default(),
            braking: Mutex::default(),
            held: Mutex::default(),
            answering: Mutex::default(),
            unwatched: Mutex::default(),
            sharing: Mutex::default(),
            condemned: Mutex::default(),
            doubts: Mutex::default(),
            unpluggable: Mutex::default(),
            watched_since: Mutex::default(),
            incidents: Mutex::default(),
            compared: Mutex::default(),
            unsaved: Mutex::default(),
            stirred: AtomicBool::default(),
            busy_taking_in: AtomicBool::default(),
            hears_of_mounts: AtomicBool::default(),
        }
    }

    /// The time, by the clock this pool was given.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// How it behaves.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where news of photos goes.
    pub(super) fn news(&self) -> &Feed {
        &self.feed
    }

    /// News of photos from now on. A reader that falls behind misses some.
    pub fn feed(&self) -> std::sync::mpsc::Receiver<PhotoNews> {
        self.feed.listen()
    }

    /// Gives back the memory that a burst of work needed, now that it is over.
    pub fn at_rest(&self) {
        if let Ok(primary) = self.primary() {
            primary.catalogue.shrink();
        }
        aligned::let_go();
        syscall::give_memory_back();
    }

    /// Calls `waker` whenever `what` should look for work.
    pub fn on_wake(&self, what: Wake, waker: impl Fn() + Send + Sync + 'static) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push((what, Box::new(waker)));
    }

    /// Wakes a worker. Losing a wake costs a period, never a photo.
    pub fn wake(&self, what: Wake) {
        if what == Wake::Health {
            self.stirred.store(true, Ordering::Release);
        }
        for (kind, waker) in self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if *kind == what {
                waker();
            }
        }
    }

    /// There is something for other drives to follow, if there are any: one that comes wakes the mirror itself.
    pub(super) fn wake_mirror(&self) {
        if !self.others().is_empty() {
            self.wake(Wake::Mirror);
        }
        self.wake(Wake::Metadata);
    }

    /// There may be something to make anew, here or on another drive, or to make it anew from.
    pub(super) fn wake_healing(&self) {
        self.wake(Wake::Heal);
        self.wake(Wake::Mirror);
    }

    /// The primary, ready for uploads and requests.
    pub fn primary(&self) -> Result<Arc<Primary>, Refusal> {
        let primary = self.primary.read().unwrap_or_else(PoisonError::into_inner).clone();
        let primary = primary.ok_or_else(|| {
            let slots = self.slots();
            let why = slots
                .iter()
                .find_map(|s| match &s.standing {
                    Standing::Foreign { why } | Standing::Suspect { why } => Some(why.clone()),
                    Standing::InUse => Some("another program uses its drives".to_owned()),
                    Standing::Clone { role: DriveRole::Primary, diverged: true, .. } => {
                        Some("two drives say that they are the main drive".to_owned())
                    }
                    Standing::Ejected if s.drive().is_some_and(|(_, role)| role == DriveRole::Primary) => {
                        Some("the main drive was ejected".to_owned())
                    }
                    Standing::Absent
                    | Standing::Ejected
                    | Standing::Former
                    | Standing::Retired
                    | Standing::Blank
                    | Standing::Ready
                    | Standing::ReadOnly
                    | Standing::Failing { .. }
                    | Standing::Clone { .. }
                    | Standing::Stuck => None,
                })
                .unwrap_or_else(|| "the main drive is not there".to_owned());
            Refusal::Unavailable { why }
        })?;
        if primary.catalogue.doubt() != Doubt::None {
            self.wake(Wake::Drives);
            return Err(Refusal::Unavailable { why: "the list of all photos is being made anew".to_owned() });
        }
        match primary.attached.doubt().gone {
            Some(why) => {
                self.wake(Wake::Drives);
                Err(Refusal::Unavailable { why })
            }
            None => Ok(primary),
        }
    }

    /// The primary, proved to be there at this moment: what the catalogue remembers of a drive that was pulled is no answer
    /// (promise P3).
    pub(super) fn proved_primary(&self) -> Result<Arc<Primary>, Refusal> {
        let primary = self.primary()?;
        match primary.attached.volume.prove() {
            Ok(()) => Ok(primary),
            Err(e) => {
                let why = primary.attached.heed(e).to_string();
                self.wake(Wake::Drives);
                Err(Refusal::Unavailable { why })
            }
        }
    }

    /// The whole tree of this primary was compared since it was opened.
    pub(super) fn set_compared(&self, primary: &Weak<Primary>) {
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if !compared.ptr_eq(primary) {
            *compared = Weak::clone(primary);
            drop(compared);
            self.wake_healing();
        }
    }

    /// Whether it was.
    pub(super) fn is_compared(&self, primary: &Arc<Primary>) -> bool {
        let compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        std::ptr::eq(compared.as_ptr(), Arc::as_ptr(primary))
    }

    pub(super) fn condemned(&self) -> MutexGuard<'_, Condemned> {
        self.condemned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was noticed of the catalogue on this drive.
    pub(super) fn catalogue_doubt(&self, attached: &Attached) -> Doubt {
        let primary = self.primary.read().unwrap_or_else(PoisonError::into_inner);
        let its = primary.as_ref().filter(|primary| std::ptr::eq(&*primary.attached, attached));
        its.map_or(Doubt::None, |primary| primary.catalogue.doubt())
    }

    /// Commits what the catalogue on this drive was left with uncommitted. On failure it is condemned by that. Blocking.
    pub(super) fn commit_what_follows(&self, attached: &Attached) {
        let primary = self.primary.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(primary) = primary.filter(|primary| std::ptr::eq(&*primary.attached, attached))
            && let Err(e) = primary.catalogue.commit_what_follows()
        {
            log::warn!("{e}");
        }
    }

    /// Whether the primary can take requests at this moment. Never touches a drive.
    pub fn available(&self) -> Result<(), Refusal> {
        self.primary()?;
        if self.is_primary_stuck() {
            Err(Refusal::Unavailable { why: "the main drive does not respond".to_owned() })
        } else {
            Ok(())
        }
    }

    /// Whether the main drive is there and has not answered for too long.
    pub(crate) fn is_primary_stuck(&self) -> bool {
        let is_primary = |s: &Slot| s.drive().is_some_and(|(_, role)| role == DriveRole::Primary);
        self.slots().iter().any(|s| s.standing == Standing::Stuck && is_primary(s))
    }

    /// A drive of the pool that is there now.
    pub fn attached(&self, id: DriveId) -> Option<Arc<Attached>> {
        self.slots().iter().filter_map(|s| s.attached.clone()).find(|a| a.id() == id)
    }

    /// All drives of this pool other than the primary that are there now.
    pub fn others(&self) -> Vec<Arc<Attached>> {
        let pool = *self.identity();
        let attached = self.slots().iter().filter_map(|s| s.attached.clone()).collect::<Vec<_>>();
        let ours = |a: &Arc<Attached>| a.role() != DriveRole::Primary && Some(a.marker.pool) == pool;
        attached.into_iter().filter(ours).collect()
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the mount points now.
    pub fn slot_views(&self) -> Vec<Slot> {
        self.slots().clone()
    }

    /// What is known of one mount point.
    pub(super) fn slot_at(&self, mount: &std::path::Path) -> Option<Slot> {
        self.slots().iter().find(|s| s.mount == mount).cloned()
    }

    /// Changes what is known of a mount point; a change of standing gets a date and wakes the minute check.
    pub(super) fn update_slot(&self, mount: &std::path::Path, change: impl FnOnce(&mut Slot)) {
        let now = self.now();
        let mut changed = false;
        if let Some(slot) = self.slots().iter_mut().find(|s| s.mount == mount) {
            let before = slot.standing.clone();
            change(slot);
            if slot.standing != before {
                slot.since = now;
                changed = true;
            }
        }
        if changed {
            self.wake(Wake::Health);
            self.wake(Wake::Certificates);
        }
    }

    /// The pool's identity, once a primary was seen.
    pub(super) fn identity(&self) -> MutexGuard<'_, Option<PoolId>> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the pool on a primary, and its accounts with it. The one before, if any, is closed.
    pub fn set_primary(&self, primary: Option<Arc<Primary>>) -> Result<(), Refusal> {
        if let Some(primary) = &primary {
            *self.identity() = Some(primary.attached.marker.pool);
            self.load_accounts(primary)?;
            self.remember_primary(primary)?;
            self.load_incidents(primary)?;
        }
        let was =
            std::mem::replace(&mut *self.primary.write().unwrap_or_else(PoisonError::into_inner), primary);
        let now = self.primary.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(was) = was.filter(|was| !now.as_ref().is_some_and(|now| Arc::ptr_eq(was, now))) {
            was.close();
        }
        self.wake(Wake::Certificates);
        Ok(())
    }

    pub(super) fn holds(&self) -> MutexGuard<'_, HashMap<PathBuf, Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every mount point and the drive there, with its copies counted now. Blocking, while the primary answers.
    pub fn drives_counted(&self) -> Vec<DriveView> {
        let primary = self.available().and_then(|()| self.primary()).ok();
        if let Some(primary) = &primary {
            let drives: Vec<_> = self.slots().iter().filter_map(Slot::drive).collect();
            for (id, _) in drives {
                // What cannot be counted stays as it was counted last.
                drop(self.count_copies(primary, id, self.is_reread_stale(id)));
            }
        }
        let view = |slot: Slot| {
            let unplugging = self.unplugging(primary.as_deref(), &slot);
            DriveView { unplugging, ..DriveView::from(slot) }
        };
        self.with_disks(self.slot_views().into_iter().map(view).collect())
    }

    /// Every mount point and the drive there, as last seen. Never touches a drive.
    pub fn drives(&self) -> Vec<DriveView> {
        self.slot_views().into_iter().map(DriveView::from).collect()
    }

    /// The findings of the last minute check, worst first. Never touches a drive.
    pub fn findings(&self) -> Arc<Vec<Finding>> {
        Arc::clone(&self.findings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the findings.
    pub fn set_findings(&self, findings: Vec<Finding>) {
        *self.findings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(findings);
    }

    /// Room on the primary, as last measured.
    pub(super) fn primary_space(&self) -> Result<Space, Refusal> {
        let id = self.primary()?.attached.id();
        let slots = self.slots();
        let slot = slots.iter().find(|s| s.attached.as_ref().is_some_and(|a| a.id() == id));
        Ok(slot.and_then(|s| s.space).unwrap_or_default())
    }

    /// What uploads may take now, measured on the drive: one statfs.
    pub(super) fn measure_for_uploads(&self, primary: &Primary) -> Result<u64, Refusal> {
        let space = primary.attached.volume.space().map_err(|e| Refusal::Drive(primary.attached.heed(e)))?;
        let id = primary.attached.id();
        for slot in self.slots().iter_mut() {
            if slot.attached.as_ref().is_some_and(|a| a.id() == id) {
                slot.space = Some(space);
            }
        }
        Ok(if space.inodes == 0 { 0 } else { space.for_uploads() })
    }

    /// Whether less is left than uploads must leave.
    pub(super) fn is_reserve_touched(&self, primary: &Primary) -> Result<bool, Refusal> {
        let space = primary.attached.volume.space().map_err(|e| Refusal::Drive(primary.attached.heed(e)))?;
        Ok(space.available < space.reserve())
    }

    /// How large the primary is, as last measured.
    fn primary_size(&self) -> u64 {
        let primary = |s: &&Slot| s.attached.as_ref().is_some_and(|a| a.role() == DriveRole::Primary);
        self.slots().iter().find(primary).and_then(|s| s.space).map_or(0, |space| space.total)
    }
}
