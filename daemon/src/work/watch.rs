//! Watching one mount point: recognises the drive there, opens it, probes it with real I/O, and lets go of it when it is
//! gone. One of these per mount point, each on its own thread, so that a drive that hangs keeps only its own waiting.
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::account::TokenKey;
use crate::model::drive::{DriveId, DriveRole, Id, Marker, Standing};
use crate::plan::failing::Kind;
use crate::plan::{belonging, mirroring, retrying};
use crate::store::catalogue::{Doubt, copies};
use crate::store::disk::{self, DiskVolume, Found};
use crate::store::volume::VolumeError;
use crate::work::ballast;
use crate::work::clones::{self, Seen};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Slot};
use crate::work::primary;
use crate::work::probe::{glance, probe, reads_beside};
use crate::work::promote::PromoteError;
use crate::work::views::DriveView;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// How often a drive that is there is written to and read back from its medium: one that takes no writes is to be told of within
/// half a minute (invariant I20).
const PROBE_EVERY: SignedDuration = SignedDuration::from_secs(20);
/// In between it is read. One that was pulled is to be noticed within 10 s, and one that hangs to be told of within half a minute,
/// 20 s of which it is waited for. Each look wakes the box twice: by the clock, and by the drive's answer.
const GLANCE_EVERY: Duration = Duration::from_secs(8);
/// A drive that is not there, or of which something is doubted, is looked at oftener: somebody waits for it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A place where nothing is mounted, while it is heard of when something is: a word that was lost costs some minutes.
const LOOK_AT_NOTHING_EVERY: Duration = Duration::from_secs(300);

/// Watches one mount point.
pub struct DriveWatch {
    pool: Arc<Pool>,
    mount: PathBuf,
    probed: Option<Timestamp>,
    /// A drive was let go: there is something to look at once more, at once.
    again: bool,
    /// Nothing is mounted there.
    is_empty: bool,
}

/// Why a drive could not be adopted, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Not one of the mount points in the configuration.
    #[error("{0} is not one of the configured mount points; add it to drives.mounts and restart")]
    NotConfigured(PathBuf),
    /// No directory there.
    #[error("nothing is mounted at {0}: {1}")]
    Nothing(PathBuf, String),
    /// It has a marker already.
    #[error("the drive at {0} already belongs to a pool; it is used by itself, or shown as foreign")]
    Marked(PathBuf),
    /// A directory of the system drive.
    #[error("{0} is a folder of the system drive and not a drive of its own; mount the drive there first")]
    NotAMount(PathBuf),
    /// There is a primary.
    #[error("there is a primary drive already; adopt this one as mirror or offline")]
    SecondPrimary,
    /// A drive of a pool is here, or was, and the primary it belongs with is not.
    #[error(
        "the main drive of this box is not there, and another one in its place would know nothing of the photos on the other \
         drives; plug in the one that belongs here (to start a new box, unplug the other drives and restart)"
    )]
    PrimaryAway,
    /// No primary yet.
    #[error("adopt the primary drive first")]
    NoPrimary,
    /// Writing the marker failed.
    #[error("could not adopt: {0}")]
    Drive(#[from] VolumeError),
    /// The pool could not be opened on it.
    #[error("could not open the drive: {0}")]
    Refused(#[from] Refusal),
    /// A drive that was ours before could not be taken back.
    #[error("could not take it back into use: {0}")]
    Again(#[from] PromoteError),
    /// No random numbers.
    #[error("no random numbers from the kernel: {0}")]
    Random(String),
}

impl DriveWatch {
    /// For one mount point of the pool.
    pub fn new(pool: Arc<Pool>, mount: PathBuf) -> Self {
        Self { pool, mount, probed: None, again: false, is_empty: false }
    }

    /// Compares what is known of the mount point with what is there.
    pub fn step(&mut self) -> Result<(), Refusal> {
        let slot = self.pool.slot_at(&self.mount);
        let (attached, ejected) = slot.map_or((None, None), |s| (s.attached, s.ejected));
        match (attached, ejected) {
            (Some(attached), _) => self.look_after(&attached),
            (None, Some(ejected)) if ejected.is_still_there(&self.mount) => Ok(()),
            (None, _) => {
                self.probed = None;
                self.pool.update_slot(&self.mount, |slot| slot.ejected = None);
                self.pool.look_first(&self.mount);
                // Before the look: what is mounted between the two is heard of.
                self.is_empty = !disk::is_mount_point(&self.mount);
                self.pool.look_at(&self.mount)
            }
        }
    }

    fn look_after(&mut self, attached: &Arc<Attached>) -> Result<(), Refusal> {
        // Attached before the pool's own primary was seen, and not of this pool after all (promise P3). Or another drive took
        // its place before this box was started, as one that was found later says.
        if self.pool.identity().is_some_and(|pool| pool != attached.marker.pool)
            || self.pool.put_out(&attached.marker).is_some()
        {
            self.pool.detach(attached);
            return self.pool.look_at(&self.mount);
        }
        let now = self.pool.now();
        if self.has_bad_catalogue(attached, now) {
            // Closed, set aside and made anew: requests are told to come back meanwhile.
            self.pool.detach(attached);
            return self.pool.look_at(&self.mount);
        }
        self.pool.update_slot(&self.mount, |slot| slot.probing_since = Some(now));
        self.pool.commit_what_follows(attached);
        // Whether it is still the drive it was: cheap, and at every look.
        let proved = attached.volume.prove();
        let doubt = attached.doubt();
        let doubtful = attached.takes_writes().is_err() || doubt.incident.is_some() || doubt.unread.is_some();
        let due = retrying::is_due(self.probed, PROBE_EVERY, now) || doubtful;
        let due = due && self.pool.is_known(attached);
        let probed = match proved {
            Ok(()) if due => {
                self.probed = Some(now);
                probe(attached).map(Some)
            }
            Ok(()) => glance(attached).map(|()| None),
            Err(e) => Err(e),
        };
        if probed.is_ok() {
            clones::leave_others_alone(&mut self.pool.slots(), &self.mount, attached.id());
        }
        let took = self.pool.now().duration_since(now).as_millis();
        match probed {
            Ok(Some(())) => {
                // Before it takes anything again.
                self.pool.note_incident(attached, now);
                self.pool.stands(attached, now);
                match doubt.unread {
                    Some(unread) if !reads_beside(attached, &unread.place) => {
                        log::error!(
                            "drive {} cannot be read beside {} either",
                            attached.id().short(),
                            unread.place
                        );
                        attached.cleared_but_for_reading();
                    }
                    Some(_) | None => attached.cleared(),
                }
                self.double_marker(attached);
                self.pool.update_slot(&self.mount, |slot| slot.probe_ms = u64::try_from(took).ok());
                // While `probing_since` stands: if the catalogue never answers, that is said of this drive.
                if attached.role() == DriveRole::Primary {
                    if let Err(e) = self.pool.take_census() {
                        log::warn!("could not count: {e}");
                    }
                    if let Err(e) = ballast::renew(attached) {
                        drop(attached.heed(e));
                    }
                }
            }
            Ok(None) => {}
            Err(e) => {
                // One that is pulled fails like one that breaks, and reads nothing any more.
                if attached.doubt().incident.is_some() && glance(attached).is_ok() {
                    self.pool.note_incident(attached, now);
                }
                drop(attached.heed(e));
            }
        }
        self.conclude(attached, now);
        Ok(())
    }

    /// Has the marker of a drive of ours be there twice. Where it could not be read, it is made anew, and held in its new file: the old
    /// one is held until then, so that no other program takes the drive meanwhile.
    fn double_marker(&self, attached: &Attached) {
        let by_copy = attached.volume.is_known_by_copy();
        if by_copy {
            log::error!(
                "the marker of drive {} cannot be read; it is known by its copy",
                attached.id().short()
            );
            attached.note_error(Kind::Read);
        }
        match attached.volume.double_marker() {
            Ok(()) if by_copy => {
                if let Found::Marked(volume, marker) = disk::look(&self.mount)
                    && *marker == attached.marker
                    && let Ok(Some(hold)) = volume.hold()
                {
                    self.pool.holds().insert(self.mount.clone(), hold);
                }
            }
            // On a drive that is full there is no room for it: later.
            Ok(()) | Err(VolumeError::Full { .. }) => {}
            Err(e) => log::warn!("the marker of drive {} is there once only: {e}", attached.id().short()),
        }
    }

    /// Whether the catalogue on it is to be opened anew.
    fn has_bad_catalogue(&self, attached: &Attached, now: Timestamp) -> bool {
        // Read or written is not told apart: it is written to all day, and mostly read from memory.
        // On a drive without room it says nothing against the drive.
        let has_room = attached.volume.space().is_ok_and(|space| space.available >= space.to_record());
        let doubt = self.pool.catalogue_doubt(attached);
        if doubt == Doubt::Unread && has_room {
            attached.note_error(Kind::Write);
        }
        // Whatever it was, it is put down before the drive is let go and opened anew.
        if doubt != Doubt::None && attached.doubt().incident.is_some() && glance(attached).is_ok() {
            self.pool.note_incident(attached, now);
        }
        self.pool.condemn(attached, now)
    }

    /// What was found, put down; a drive that is gone is let go.
    fn conclude(&mut self, attached: &Arc<Attached>, now: Timestamp) {
        let space = attached.volume.space().ok();
        let doubt = attached.doubt();
        if doubt.gone.is_some() {
            self.pool.detach(attached);
            // What was unplugged may be plugged in again already.
            self.again = true;
            return;
        }
        let standing = if let Some(why) = doubt.suspect.or(doubt.unread.map(|unread| unread.why)) {
            Standing::Suspect { why }
        } else if doubt.read_only {
            Standing::ReadOnly
        } else {
            self.pool.stands(attached, now)
        };
        let mut more_room = false;
        self.pool.update_slot(&self.mount, |slot| {
            // It may have been ejected meanwhile.
            if slot.attached.as_ref().is_some_and(|there| Arc::ptr_eq(there, attached)) {
                slot.probing_since = None;
                more_room = mirroring::has_more_room(slot.space, space);
                slot.space = space.or(slot.space);
                slot.standing = standing;
            }
        });
        if more_room && attached.role() != DriveRole::Primary {
            self.fill_up(attached);
        }
    }

    /// What did not fit on a drive is tried again now.
    fn fill_up(&self, attached: &Attached) {
        let Ok(primary) = self.pool.primary() else { return };
        if let Err(e) = primary.catalogue.write(|tx| copies::try_again(tx, attached.id())) {
            log::warn!("{e}");
        }
        self.pool.wake_healing();
    }
}

impl Worker for DriveWatch {
    fn name(&self) -> &'static str {
        "drive"
    }

    fn period(&self) -> Duration {
        let Some(slot) = self.pool.slot_at(&self.mount) else { return LOOK_EVERY };
        let well = slot.standing == Standing::Ready
            && slot.attached.as_ref().is_some_and(|drive| drive.takes_writes().is_ok());
        match (well, self.is_empty && self.pool.is_told_of_mounts()) {
            (true, _) => GLANCE_EVERY,
            (false, true) => LOOK_AT_NOTHING_EVERY,
            (false, false) => LOOK_EVERY,
        }
    }

    fn critical(&self) -> bool {
        false // a drive that hangs keeps its own watcher waiting, and that is no reason to restart
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        let attached = self.pool.slot_at(&self.mount).and_then(|s| s.attached);
        let label = attached.map_or_else(|| self.mount.display().to_string(), |a| a.id().short());
        let _drive = cx.blocked_on(&label);
        self.is_empty = false;
        DriveWatch::step(self).map_err(|e| WorkError::new(format!("watch {}", self.mount.display()), e))?;
        Ok(if std::mem::take(&mut self.again) { Outcome::More } else { Outcome::Rest })
    }
}

impl Pool {
    /// Looks at a mount point where nothing of ours is open, and opens what belongs to us.
    pub(super) fn look_at(&self, mount: &Path) -> Result<(), Refusal> {
        let refused = |drive: Option<(DriveId, DriveRole)>, standing: Standing| {
            self.update_slot(mount, |slot| {
                slot.standing = standing;
                slot.refused = drive;
                slot.probing_since = None;
            });
            Ok(())
        };
        let stands = |standing: Standing| refused(None, standing);
        let found = disk::look(mount);
        self.note_seen(
            mount,
            if let Found::Marked(_, marker) = &found { Seen::of(marker, mount) } else { Seen::NoDrive },
        );
        match found {
            Found::Nothing(_) => stands(Standing::Absent),
            Found::Unmarked if self.options.require_mount && !disk::is_mount_point(mount) => {
                stands(Standing::Absent)
            }
            Found::Unmarked => stands(Standing::Blank),
            Found::Unreadable(why) => {
                stands(Standing::Foreign { why: format!("its marker is unreadable: {why}") })
            }
            Found::Marked(volume, marker) => match self.claim(mount, &volume, &marker) {
                Claim::Not(standing) => stands(standing),
                // Adopted, and opened by somebody else at this moment.
                Claim::Busy => Ok(()),
                Claim::Ours(_moving) => {
                    let hold = match volume.hold() {
                        Ok(Some(hold)) => hold,
                        Ok(None) => return stands(Standing::InUse),
                        Err(e) => return stands(Standing::Suspect { why: e.to_string() }),
                    };
                    let device = volume.device();
                    let attached = Attached::new(*marker, Arc::new(volume), mount.to_owned());
                    let drive = self.is_known(&attached).then(|| (attached.id(), attached.role()));
                    // Only a drive that writes, flushes and reads back is taken into use, also after a failure
                    // closed it. A full one still serves what it has; uploads are refused by their size.
                    let probed = match drive {
                        Some(_) => primary::staging_anew(&attached).and_then(|()| probe(&attached)),
                        None => glance(&attached),
                    };
                    match probed {
                        Ok(()) | Err(VolumeError::Full { .. }) => {}
                        Err(VolumeError::ReadOnly { .. }) => return refused(drive, Standing::ReadOnly),
                        Err(e) => return refused(drive, Standing::Suspect { why: e.to_string() }),
                    }
                    // Before anybody can eject it, who gives the hold up with it.
                    self.holds().insert(mount.to_owned(), hold);
                    self.attach(Arc::new(attached), Some(device)).or_else(|e| {
                        self.holds().remove(mount);
                        refused(drive, Standing::Suspect { why: e.to_string() }).and(Err(e))
                    })
                }
            },
        }
    }

    /// Whether a drive is known to be this box's: until the primary has said which pool that is, a copy may be another family's,
    /// and not a byte is written to it (promise P3).
    fn is_known(&self, attached: &Attached) -> bool {
        attached.role() == DriveRole::Primary || *self.identity() == Some(attached.marker.pool)
    }

    /// Decides whether a marked drive is to be used, and keeps everybody else from opening it, or another one in the same
    /// role, until the answer is dropped.
    fn claim(&self, mount: &Path, volume: &DiskVolume, marker: &Marker) -> Claim<'_> {
        let foreign = |why: &str| Claim::Not(Standing::Foreign { why: why.to_owned() });
        let objection = self.objection(mount, volume, marker).map(|why| Standing::Foreign { why });
        if let Some(standing) = objection.or_else(|| self.put_out(marker)) {
            // Whatever it says, it is no rival of the one that it says it is.
            self.note_seen(mount, Seen::NoDrive);
            return Claim::Not(standing);
        }
        match self.among_clones(mount, volume, marker) {
            Ok(None) => {}
            Ok(Some(standing)) => return Claim::Not(standing),
            Err(e) => return Claim::Not(Standing::Suspect { why: e.to_string() }),
        }
        if marker.role == DriveRole::Primary {
            self.let_former_go(marker);
        }
        let mut slots = self.slots();
        let taken = |slot: &Slot| slot.attached.as_ref().map(|a| (a.id(), a.role())).or(slot.moving);
        if slots.iter().any(|s| s.mount == mount && taken(s).is_some()) {
            return Claim::Busy;
        }
        let others: Vec<_> = slots.iter().filter_map(taken).collect();
        if others.iter().any(|(id, _)| *id == marker.drive) {
            // Opened at this very moment: what that makes of this one is seen at the next look.
            return Claim::Busy;
        }
        let primary = DriveRole::Primary;
        if marker.role == primary && others.iter().any(|(_, role)| *role == primary) {
            return foreign("it claims to be a second primary drive");
        }
        if let Some(slot) = slots.iter_mut().find(|s| s.mount == mount) {
            slot.moving = Some((marker.drive, marker.role));
        }
        Claim::Ours(Moving::of(self, mount))
    }

    /// The primary in use gives way at once to one of a higher generation: it is a former one that was plugged in first.
    fn let_former_go(&self, marker: &Marker) {
        let former = self.slots().iter().filter_map(|s| s.attached.clone()).find(|there| {
            there.role() == DriveRole::Primary
                && there.marker.pool == marker.pool
                && there.marker.generation < marker.generation
        });
        if let Some(former) = former {
            log::warn!("drive {} is a former main drive and gives way", former.id().short());
            self.detach(&former);
        }
    }

    /// Why a marked drive is not to be used, whatever else is attached.
    fn objection(&self, mount: &Path, volume: &DiskVolume, marker: &Marker) -> Option<String> {
        if self.options.require_mount && !volume.is_mount_point() {
            return Some("it is a folder of the system drive, not a drive of its own".to_owned());
        }
        if belonging::is_elsewheres(marker, &self.told_of(volume.identity(), mount)) {
            return Some("it is a copy of one of our drives on another filesystem".to_owned());
        }
        let other = self.identity().is_some_and(|pool| pool != marker.pool);
        other.then(|| "it belongs to another Shoebox".to_owned())
    }

    /// Takes a recognised drive into use.
    pub fn attach(&self, attached: Arc<Attached>, device: Option<(u32, u32)>) -> Result<(), Refusal> {
        let mount = attached.mount.clone();
        if attached.role() == DriveRole::Primary {
            self.open_primary(&attached)?;
        }
        let space = attached.volume.space().ok();
        // It is written to from now on: where its record ended says nothing any more.
        let (standing, seen) = (self.stands(&attached, self.now()), Seen::of(&attached.marker, &mount));
        let id = attached.id();
        self.update_slot(&mount, |slot| {
            slot.attached = Some(attached);
            slot.refused = None;
            slot.standing = standing;
            slot.seen = seen;
            slot.space = space;
            slot.device = device;
            slot.probing_since = None;
        });
        clones::leave_others_alone(&mut self.slots(), &mount, id);
        self.wake_healing();
        self.wake(crate::work::pool::Wake::Rescan);
        self.wake(crate::work::pool::Wake::Scrub);
        self.wake(crate::work::pool::Wake::Offline);
        Ok(())
    }

    /// The watch of the mount point may have been the first to see a new marker, and be opening the drive at this moment.
    pub(super) fn wait_while_moving(&self, mount: &Path) {
        const PAUSE: Duration = Duration::from_millis(10);
        for _ in 0..3000 {
            if self.slot_at(mount).is_none_or(|slot| slot.moving.is_none()) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether there is a pool, or may be one: there is a sign of it, or a place has not been looked at yet. As long as that is so,
    /// nobody is asked to begin anew.
    pub fn may_be_a_pool(&self) -> bool {
        self.is_pool_known() || self.slots().iter().any(|slot| slot.seen == Seen::NotYet)
    }

    /// Whether there is a sign of a pool: a primary was seen since the start, or something that bears a marker lies in a place of ours, however
    /// it stands.
    fn is_pool_known(&self) -> bool {
        let bears_one = |slot: &Slot| !matches!(slot.standing, Standing::Absent | Standing::Blank);
        // Seen, and not yet opened: that is no moment to begin anew, either.
        let seen = |slot: &Slot| matches!(slot.seen, Seen::Drive { .. });
        let is_sign =
            |slot: &Slot| slot.attached.is_some() || slot.moving.is_some() || bears_one(slot) || seen(slot);
        self.identity().is_some() || self.slots().iter().any(is_sign)
    }

    /// A drive that was put out of the pool comes back into it as a copy.
    fn adopt_again(&self, mount: &Path, marker: &Marker, role: DriveRole) -> Result<DriveView, AdoptError> {
        let Ok(primary) = self.primary() else { return Err(AdoptError::NoPrimary) };
        if primary.attached.marker.pool != marker.pool {
            return Err(AdoptError::Marked(mount.to_owned()));
        }
        let drive = if self.is_retired(marker.drive) { random_id()? } else { marker.drive };
        let generation = primary.attached.marker.generation;
        let next = Marker { drive, role, generation, ..marker.clone() };
        Ok(self.rejoin(mount, marker, &next)?)
    }

    /// Makes the drive at a mount point one of ours: writes our marker beside what is there. Formats nothing.
    pub fn adopt(&self, mount: &Path, role: DriveRole) -> Result<DriveView, AdoptError> {
        let here = || mount.to_owned();
        if self.slot_at(mount).is_none() {
            return Err(AdoptError::NotConfigured(here()));
        }
        // Two that are adopted at one time would both be the first.
        let _one = self.adopting.lock().unwrap_or_else(PoisonError::into_inner);
        match disk::look(mount) {
            Found::Unmarked => {}
            Found::Nothing(why) => return Err(AdoptError::Nothing(here(), why)),
            Found::Marked(_, marker) if role != DriveRole::Primary && self.put_out(&marker).is_some() => {
                return self.adopt_again(mount, &marker, role);
            }
            Found::Marked(..) | Found::Unreadable(_) => return Err(AdoptError::Marked(here())),
        }
        if self.options.require_mount && !disk::is_mount_point(mount) {
            return Err(AdoptError::NotAMount(here()));
        }
        let primary = self.primary().ok();
        match (&primary, role) {
            (Some(_), DriveRole::Primary) => return Err(AdoptError::SecondPrimary),
            (None, DriveRole::Mirror | DriveRole::Offline) => return Err(AdoptError::NoPrimary),
            (None, DriveRole::Primary) if self.is_pool_known() => return Err(AdoptError::PrimaryAway),
            (Some(_), DriveRole::Mirror | DriveRole::Offline) | (None, DriveRole::Primary) => {}
        }
        let known = primary.map(|p| (p.attached.marker.pool, p.attached.marker.token_key.clone()));
        let (pool, token_key) = match known {
            Some(known) => known,
            None => (random_id()?, TokenKey::from_random(random()?)),
        };
        let told = self.told_of(disk::identity(mount), mount);
        let marker = Marker {
            format: 1,
            pool,
            drive: random_id()?,
            role,
            generation: Marker::FIRST_GENERATION,
            adopted: self.now(),
            filesystem: told.uuid,
            volume: told.volume,
            token_key,
        };
        disk::adopt(mount, &marker)?;
        self.look_at(mount)?;
        self.wait_while_moving(mount);
        self.slot_at(mount).map(DriveView::from).ok_or_else(|| AdoptError::NotConfigured(here()))
    }
}

/// What is to become of a marked drive.
enum Claim<'p> {
    Ours(Moving<'p>),
    Not(Standing),
    Busy,
}

/// A drive on its way in or out: while this is held, nobody else opens it.
pub(super) struct Moving<'p> {
    pool: &'p Pool,
    mount: PathBuf,
}

impl<'p> Moving<'p> {
    /// At a mount point whose slot says, or is about to say, which drive it is.
    pub(super) fn of(pool: &'p Pool, mount: &Path) -> Self {
        Self { pool, mount: mount.to_owned() }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.pool.update_slot(&self.mount, |slot| slot.moving = None);
    }
}

fn random<const N: usize>() -> Result<[u8; N], AdoptError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| AdoptError::Random(e.to_string()))?;
    Ok(bytes)
}

fn random_id() -> Result<Id, AdoptError> {
    random().map(Id::from_random)
}
