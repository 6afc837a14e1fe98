//! The end of an offline drive's visit: when it has everything, some of what it had before is re-read, and it is let go, unmounted and
//! switched off, so that whoever comes by may take it away.
//!
//! Where nobody unmounts drives for the box, or the settings want it to stay, it is only said that it may be unplugged.
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::drive::{DriveId, DriveRole};
use crate::os::clock;
use crate::os::mounts::Mounts;
use crate::plan::unplugging::{self, Rereading};
use crate::store::disk;
use crate::work::carry::GoOn;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Slot, Wake};
use crate::work::primary::Primary;
use crate::work::reread::{Found, Reread};
use crate::work::views::{DriveView, Ejection, Released};
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// Proofs recorded together.
const BATCH: usize = 64;
/// While one is here it is looked at so often: somebody may be waiting.
const HERE: Duration = Duration::from_secs(5);
/// Otherwise it is enough to be woken.
const AWAY: Duration = Duration::from_secs(600);
/// One that could not be unmounted is tried again so often, with so long a pause.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_secs(30);

/// Watches over visits of offline drives.
pub struct Offline {
    pool: Arc<Pool>,
    visits: HashMap<DriveId, Visit>,
}

/// A drive that is here.
struct Visit {
    attached: Weak<Attached>,
    /// Since when, by the clock that only goes forward and by the one that dates are written by.
    began: Instant,
    since: Timestamp,
    /// How many copies were re-read.
    reread: u64,
    /// Copies that were made, or read, since then are read once more: the drive was unmounted in between.
    again: Option<Timestamp>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is being brought up to date, or re-read.
    Working,
    /// It was let go to be mounted anew.
    Remounting,
    /// It was let go, and is to be unmounted.
    Leaving { tries: u32, next: Instant },
    /// Nothing more is done to it.
    Over,
}

/// What is to be done to a drive next, by somebody who has nothing of it open: whatever holds it would be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    /// There is more to be read of it.
    ReadOn,
    Remount(DriveId),
    LetGo(DriveId),
    SeeOff(DriveId),
}

impl Visit {
    fn new(attached: &Arc<Attached>, now: Timestamp) -> Self {
        let (began, attached) = (clock::monotonic(), Arc::downgrade(attached));
        Self { attached, began, since: now, reread: 0, again: None, stage: Stage::Working }
    }
}

impl Offline {
    /// For the drives of a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool, visits: HashMap::new() }
    }

    /// Does one bounded piece. `true`: there is more to do now.
    pub fn step(&mut self, go_on: GoOn<'_>) -> Result<bool, Refusal> {
        let mut more = false;
        let places: Vec<PathBuf> = self.pool.slot_views().into_iter().map(|slot| slot.mount).collect();
        for place in places {
            match self.look(&place, go_on)? {
                Next::Nothing => {}
                Next::ReadOn => more = true,
                Next::Remount(id) => more |= self.remount(id, &place),
                Next::LetGo(id) => self.let_go(id, &place),
                Next::SeeOff(id) => self.see_off(id, &place),
            }
        }
        Ok(more)
    }

    fn look(&mut self, place: &Path, go_on: GoOn<'_>) -> Result<Next, Refusal> {
        let Some(slot) = self.pool.slot_at(place) else { return Ok(Next::Nothing) };
        match (&slot.attached, &slot.ejected) {
            (Some(attached), _) if attached.role() == DriveRole::Offline => {
                self.look_after(&slot, attached, go_on)
            }
            (None, Some(ejected)) if ejected.role == DriveRole::Offline => Ok(Next::SeeOff(ejected.id)),
            (Some(_) | None, _) => Ok(Next::Nothing),
        }
    }

    fn is_here(&self) -> bool {
        let is_offline = |slot: &Slot| slot.drive().is_some_and(|(_, role)| role == DriveRole::Offline);
        self.pool.slot_views().iter().any(is_offline)
    }

    fn look_after(
        &mut self,
        slot: &Slot,
        attached: &Arc<Attached>,
        go_on: GoOn<'_>,
    ) -> Result<Next, Refusal> {
        let (id, now) = (attached.id(), self.pool.now());
        self.greet(attached, now);
        let Ok(primary) = self.pool.primary() else { return Ok(Next::Nothing) };
        let may = self.pool.unplugging(Some(&primary), slot).is_some_and(|answer| answer.may);
        self.pool.note_unpluggable(id, may.then_some(now));
        let Some(visit) = self.visits.get_mut(&id).filter(|visit| may && visit.stage == Stage::Working)
        else {
            return Ok(Next::Nothing);
        };
        if reread_some(&self.pool, &primary, attached, visit, go_on)? {
            return Ok(Next::ReadOn);
        }
        if !self.pool.options.appliance.eject_when_done || !go_on() {
            return Ok(Next::Nothing);
        }
        if visit.again.is_none() && has_no_journal(&slot.mount) {
            visit.stage = Stage::Remounting;
            return Ok(Next::Remount(id));
        }
        visit.stage = Stage::Leaving { tries: 0, next: clock::monotonic() };
        Ok(Next::LetGo(id))
    }

    fn let_go(&mut self, id: DriveId, place: &Path) {
        match self.pool.eject(id) {
            Ok(_) => self.see_off(id, place),
            // A transfer has not noticed yet: the next look tries on.
            Err(e) => log::info!("drive {} is let go soon: {e}", id.short()),
        }
    }

    /// A drive that came, or came back, begins a visit.
    fn greet(&mut self, attached: &Arc<Attached>, now: Timestamp) {
        let id = attached.id();
        let same = |visit: &Visit| std::ptr::eq(visit.attached.as_ptr(), Arc::as_ptr(attached));
        if self.visits.get(&id).is_some_and(same) {
            return;
        }
        let before = self.visits.remove(&id).filter(|visit| visit.stage == Stage::Remounting);
        let visit = Visit { again: before.map(|visit| visit.since), ..Visit::new(attached, now) };
        self.pool.note_here(id);
        self.visits.insert(id, visit);
    }

    /// Has it unmounted, checked and mounted anew. Where nobody does that, what was read past memory has to do.
    fn remount(&mut self, id: DriveId, mount: &Path) -> bool {
        let done = self
            .pool
            .eject(id)
            .map_err(|e| e.to_string())
            .and_then(|_| self.pool.mount_again(mount).map_err(|e| e.to_string()));
        if let Err(why) = done {
            log::warn!("drive {} could not be mounted anew to be read once more: {why}", id.short());
            if let Some(visit) = self.visits.get_mut(&id) {
                visit.stage = Stage::Leaving { tries: 0, next: clock::monotonic() };
            }
        }
        self.pool.wake(Wake::Drives);
        true
    }

    /// It was let go: it is unmounted as soon as nobody has a file of it open.
    fn see_off(&mut self, id: DriveId, mount: &Path) {
        let now = clock::monotonic();
        let Some(visit) = self.visits.get_mut(&id) else { return };
        let Stage::Leaving { tries, next } = visit.stage else { return };
        if now < next {
            return;
        }
        visit.stage =
            if tries < TRIES { Stage::Leaving { tries: tries + 1, next: now + PAUSE } } else { Stage::Over };
        let Some(slot) = self.pool.slot_at(mount) else { return };
        let mounted = disk::is_mount_point(mount);
        let ejection = Ejection { drive: DriveView::from(slot), mounted, released: None };
        let ejection = self.pool.have_unmounted(ejection);
        match ejection.released {
            Some(Released::Failed { .. }) => {}
            Some(Released::Off { .. }) | None => {
                visit.stage = Stage::Over;
                self.pool.note_unpluggable(id, Some(self.pool.now()));
                log::info!("the offline drive {} has everything and may be unplugged", id.short());
            }
        }
        self.pool.wake(Wake::Drives);
        self.pool.wake(Wake::Health);
    }
}

/// Re-reads a batch of what is to be re-read in this visit. `true`: there may be more.
fn reread_some(
    pool: &Pool,
    primary: &Arc<Primary>,
    drive: &Arc<Attached>,
    visit: &mut Visit,
    go_on: GoOn<'_>,
) -> Result<bool, Refusal> {
    let id = drive.id();
    let since = visit.since;
    let mut rows = match visit.again {
        Some(from) => primary.catalogue.read(|r| r.reread_between(id, from, since, BATCH))?,
        None => Vec::new(),
    };
    let of_this_time = !rows.is_empty();
    if !of_this_time {
        let tally = primary.catalogue.read(|r| r.tally(id, Timestamp::MIN))?;
        let taken = clock::monotonic().saturating_duration_since(visit.began);
        let done = Rereading { copies: tally.verified, reread: visit.reread, taken };
        let left = unplugging::still_to_reread(&done);
        let limit = usize::try_from(left).unwrap_or(BATCH).min(BATCH);
        if limit > 0 {
            rows = primary.catalogue.read(|r| r.reread_before(id, since, limit))?;
        }
    }
    if rows.is_empty() {
        return Ok(false);
    }
    let (mut batch, mut proved) = (Reread::default(), 0_u64);
    for row in rows {
        if !go_on() {
            break;
        }
        let found = pool.reread(primary, drive, &row, &mut batch, &mut || Ok(()))?;
        proved += u64::from(matches!(found, Found::Equal(_)));
        visit.reread += u64::from(!of_this_time);
    }
    pool.record_reread(primary, drive, batch)?;
    // What cannot be read is not asked for again and again: it is somebody else's finding.
    Ok(proved > 0)
}

/// Whether what a filesystem knows of its files is only as good as the last time it was unmounted.
fn has_no_journal(mount: &Path) -> bool {
    let kind = |mounts: Mounts, place: PathBuf| mounts.at(&place).map(|mount| mount.fs_type.clone());
    let kind =
        Mounts::read().ok().zip(mount.canonicalize().ok()).and_then(|(mounts, place)| kind(mounts, place));
    kind.is_some_and(|kind| matches!(kind.as_str(), "exfat" | "vfat" | "fuseblk" | "ext2"))
}

impl Worker for Offline {
    fn name(&self) -> &'static str {
        "offline"
    }

    fn period(&self) -> Duration {
        if self.is_here() { HERE } else { AWAY }
    }

    fn critical(&self) -> bool {
        false
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        let offline = self.pool.others().into_iter().find(|drive| drive.role() == DriveRole::Offline);
        let _drive = cx.blocked_on(&offline.map(|drive| drive.id().short()).unwrap_or_default());
        let go_on = || {
            cx.beat();
            !cx.stopping()
        };
        let more = Offline::step(self, &go_on)
            .map_err(|e| WorkError::new("bring the offline drive's visit to its end", e))?;
        Ok(if more { Outcome::More } else { Outcome::Rest })
    }
}

impl Pool {
    /// An offline drive that came says nothing of the last time it was here.
    fn note_here(&self, id: DriveId) {
        self.unpluggable.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Since when an offline drive may be unplugged; `None`: not now.
    fn note_unpluggable(&self, id: DriveId, since: Option<Timestamp>) {
        let mut all = self.unpluggable.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match since {
            Some(now) if !all.contains_key(&id) => all.insert(id, now).is_none(),
            Some(_) => false,
            None => all.remove(&id).is_some(),
        };
        drop(all);
        if changed {
            self.wake(Wake::Health);
        }
    }

    /// Offline drives that may be unplugged, and since when: those that are here, and those that were let go.
    pub(super) fn unpluggable(&self) -> HashMap<DriveId, Timestamp> {
        self.unpluggable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
