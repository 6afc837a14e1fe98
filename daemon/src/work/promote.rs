//! Changing what a drive is for: a copy takes the place of a primary that is dead, a former primary becomes a copy.
//! What a drive is for is in its marker alone; a higher generation is right over a lower one (docs/decisions/0011).
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::drive::{DriveId, DriveRole, Marker, PoolId, Standing};
use crate::model::event::What;
use crate::model::place::Place;
use crate::store::disk::{self, Found};
use crate::store::manifest::{self, Manifest};
use crate::store::volume::VolumeError;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Slot, Wake};
use crate::work::primary::Primary;
use crate::work::views::{DriveView, Losses, Promotion};
use crate::work::watch::Moving;

/// What is known of the roles of drives, there or not. In memory: every drive carries its own part of it.
#[derive(Default)]
pub(super) struct Roles {
    /// The highest generation seen of each pool.
    generations: HashMap<PoolId, u64>,
    /// Drives of the pool that are used no more.
    retired: HashSet<DriveId>,
    /// The primary that was open last, and how many changes it took since it was opened.
    last: Option<(DriveId, Arc<AtomicU64>)>,
    /// With which primary's how many changes each other drive had all there was.
    level: HashMap<DriveId, (DriveId, u64)>,
    /// The same, but for what no drive has good.
    filled: HashMap<DriveId, (DriveId, u64)>,
}

/// Why a drive could not be promoted.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// No drive of this id is in use.
    #[error("there is no such drive")]
    NotThere,
    /// There is a primary.
    #[error("the main drive is there")]
    PrimaryThere,
    /// It is the primary.
    #[error("it is the main drive")]
    IsPrimary,
    /// The drive is in no state for it.
    #[error("the drive cannot take the main drive's place now: {0}")]
    NotReady(String),
    /// Something may be lost, and nobody agreed to that.
    #[error("{0}")]
    MayLose(Losses),
    /// It was begun and failed. The drive is what it was, or what it was to become.
    #[error("could not promote: {0}")]
    Refused(#[from] Refusal),
}

impl From<VolumeError> for PromoteError {
    fn from(error: VolumeError) -> Self {
        Self::Refused(Refusal::Drive(error))
    }
}

/// Makes a drive something else. Nobody else may have it open; it has to be opened anew after this, by its new marker.
///
/// The order survives a power cut between any two steps. 1: the record says what is about to change, with the generation
/// that comes with it. As long as the marker has a lower one, the line counts for nothing. 2: a catalogue from an earlier life
/// of this drive is set aside; a copy needs none, and a primary builds its own from the record. 3: the marker is written
/// beside the old one, flushed, renamed over it, and the directory flushed: it is the old or the new one, whole, and with the
/// second it is done. Repeated after a cut, the line is written once more, and the last one counts.
pub fn turn(attached: &Attached, next: &Marker, now: Timestamp) -> Result<(), Refusal> {
    let heed = |e| Refusal::Drive(attached.heed(e));
    let mut manifest = Manifest::open(Arc::clone(&attached.volume)).map_err(heed)?;
    manifest.settle().map_err(heed)?;
    let change = What::Role { was: attached.role(), role: next.role, generation: next.generation };
    manifest.append(now, &[change]).map_err(heed)?;
    let serial = format!("role-{}", manifest.position().seq);
    for place in Place::catalogue_files() {
        match attached.volume.rename_new(&place, &place.set_aside(&serial)) {
            // Its directory is flushed with the marker.
            Ok(()) | Err(VolumeError::NotFound { .. }) => {}
            Err(e) => return Err(heed(e)),
        }
    }
    write_marker(attached, next)
}

/// Takes a higher generation over from the primary: a drive that was there after a promotion is witness to it ever after.
pub(super) fn raise(attached: &Attached, generation: u64) -> Result<(), Refusal> {
    write_marker(attached, &Marker { generation, ..attached.marker.clone() })
}

fn write_marker(attached: &Attached, marker: &Marker) -> Result<(), Refusal> {
    // A marker is ids, words and numbers: nothing that TOML cannot spell.
    let text = toml::to_string(marker).map_err(|e| Refusal::Unavailable { why: e.to_string() })?;
    // The copy first: should the marker not be readable one day, its copy tells of what was begun, and never of what was before.
    let copied = attached.volume.write_small(&Place::marker_copy(), text.as_bytes());
    let written = copied.and_then(|()| attached.volume.write_small(&Place::marker(), text.as_bytes()));
    written.map_err(|e| Refusal::Drive(attached.heed(e)))
}

impl Pool {
    fn roles(&self) -> MutexGuard<'_, Roles> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a drive of ours is one that is used no more; and that there is such a generation is remembered.
    pub(super) fn put_out(&self, marker: &Marker) -> Option<Standing> {
        let mut roles = self.roles();
        let highest = roles.generations.entry(marker.pool).or_default();
        *highest = marker.generation.max(*highest);
        let former = marker.role == DriveRole::Primary && marker.generation < *highest;
        if roles.retired.contains(&marker.drive) {
            return Some(Standing::Retired);
        }
        former.then_some(Standing::Former)
    }

    /// A drive is used no more from now on.
    pub(super) fn remember_retired(&self, id: DriveId) {
        self.roles().retired.insert(id);
    }

    /// Whether a drive is used no more.
    pub(super) fn is_retired(&self, id: DriveId) -> bool {
        self.roles().retired.contains(&id)
    }

    /// A primary was opened: what it knows of other drives counts from now on.
    pub(super) fn remember_primary(&self, primary: &Primary) -> Result<(), Refusal> {
        let retired = primary.catalogue.read(|r| r.retired())?;
        let mut roles = self.roles();
        roles.retired = retired.into_iter().map(|(id, _)| id).collect();
        roles.last = Some((primary.attached.id(), Arc::clone(&primary.changes)));
        roles.level.clear();
        roles.filled.clear();
        Ok(())
    }

    /// A drive had all there was when the primary had taken so many changes.
    pub(super) fn note_level(&self, drive: DriveId, primary: &Primary, changes: u64) {
        self.roles().level.insert(drive, (primary.attached.id(), changes));
    }

    /// A drive had all that can be copied to it when the primary had taken so many changes.
    pub(super) fn note_filled(&self, drive: DriveId, primary: &Primary, changes: u64) {
        self.roles().filled.insert(drive, (primary.attached.id(), changes));
    }

    /// Whether a drive is known to have everything but what no drive has good.
    pub(super) fn is_filled(&self, drive: DriveId) -> bool {
        let roles = self.roles();
        let Some((last, changes)) = &roles.last else { return false };
        roles.filled.get(&drive) == Some(&(*last, changes.load(Ordering::Acquire)))
    }

    /// Whether a drive is known to have everything that the primary had last.
    pub(super) fn is_level(&self, drive: DriveId) -> bool {
        let roles = self.roles();
        let Some((last, changes)) = &roles.last else { return false };
        roles.level.get(&drive) == Some(&(*last, changes.load(Ordering::Acquire)))
    }

    /// What may be missing on a drive that takes the primary's place. `None`: nothing is.
    fn losses(&self, slot: &Slot, attached: &Attached) -> Result<Option<Losses>, VolumeError> {
        let id = attached.id();
        if self.is_level(id) {
            return Ok(None);
        }
        let seen = self.roles().last.is_some();
        let mut newest = None;
        manifest::read(&*attached.volume, 0, &mut |event| {
            if let What::Stored { received, .. } = event.what {
                newest = newest.max(Some(received));
            }
        })?;
        let lacking = seen.then_some((slot.tally.wanted, slot.tally.wanted_bytes));
        Ok(Some(Losses { lacking, newest }))
    }

    /// Makes a drive the primary, in the place of one that is dead. `agreed`: although something may be missing on it.
    pub fn promote(&self, id: DriveId, agreed: bool) -> Result<Promotion, PromoteError> {
        let slots = self.slot_views();
        let primary = |s: &Slot| {
            let role = s.attached.as_ref().map(|a| a.role()).or(s.moving.map(|(_, role)| role));
            role == Some(DriveRole::Primary)
        };
        let slot = slots.iter().find(|s| s.attached.as_ref().is_some_and(|a| a.id() == id));
        let slot = slot.ok_or(PromoteError::NotThere)?;
        let attached = slot.attached.clone().ok_or(PromoteError::NotThere)?;
        if attached.role() == DriveRole::Primary {
            return Err(PromoteError::IsPrimary);
        }
        if slots.iter().any(primary) {
            return Err(PromoteError::PrimaryThere);
        }
        if !slot.standing.takes_writes() {
            return Err(PromoteError::NotReady(slot.standing.word().to_owned()));
        }
        attached.takes_writes().map_err(PromoteError::NotReady)?;
        let losses = self.losses(slot, &attached)?;
        if let Some(losses) = losses.clone().filter(|_| !agreed) {
            return Err(PromoteError::MayLose(losses));
        }
        let highest = self.roles().generations.get(&attached.marker.pool).copied().unwrap_or_default();
        let generation = highest.max(attached.marker.generation) + 1;
        let marker = Marker { role: DriveRole::Primary, generation, ..attached.marker.clone() };
        let drive = self.turn_into(&attached, &marker)?;
        log::warn!("drive {} ({}) took the main drive's place", id.short(), attached.role());
        Ok(Promotion { drive, losses })
    }

    /// Lets go of a drive in use, makes it something else, and takes it into use as that.
    pub(super) fn turn_into(
        &self,
        attached: &Arc<Attached>,
        next: &Marker,
    ) -> Result<DriveView, PromoteError> {
        let mount = attached.mount.clone();
        let turned = self.seize(attached).and_then(|moving| {
            let turned = self.turn_at(&mount, &attached.marker, next);
            drop(moving);
            turned
        });
        self.look_at(&mount)?;
        self.wait_while_moving(&mount);
        turned?;
        self.wake(Wake::Health);
        self.slot_at(&mount).map(DriveView::from).ok_or(PromoteError::NotThere)
    }

    /// Takes a former primary, or a drive that was retired, into the pool as a copy, with all that is on it. One that was retired
    /// gets another id: its old one stays retired, on every drive that knows of it.
    pub(super) fn rejoin(&self, mount: &Path, is: &Marker, next: &Marker) -> Result<DriveView, PromoteError> {
        let mut ours = false;
        self.update_slot(mount, |slot| {
            ours = slot.attached.is_none() && slot.moving.is_none();
            if ours {
                slot.moving = Some((is.drive, is.role));
            }
        });
        if !ours {
            return Err(PromoteError::NotReady("it is being opened".to_owned()));
        }
        let moving = Moving::of(self, mount);
        let turned = self.turn_at(mount, is, next);
        drop(moving);
        self.look_at(mount)?;
        self.wait_while_moving(mount);
        turned?;
        self.slot_at(mount).map(DriveView::from).ok_or(PromoteError::NotThere)
    }

    /// Lets go of a drive and keeps everybody, its watch included, from opening it again.
    fn seize(&self, attached: &Arc<Attached>) -> Result<Moving<'_>, PromoteError> {
        const PAUSE: Duration = Duration::from_millis(10);
        let mount = &attached.mount;
        for _ in 0..1000 {
            if let Some(there) = self.slot_at(mount).and_then(|slot| slot.attached) {
                self.detach(&there);
            }
            let mut ours = false;
            self.update_slot(mount, |slot| {
                ours = slot.attached.is_none() && slot.moving.is_none();
                if ours {
                    slot.moving = Some((attached.id(), attached.role()));
                }
            });
            if ours {
                return Ok(Moving::of(self, mount));
            }
            std::thread::sleep(PAUSE);
        }
        Err(PromoteError::NotReady("it is being opened".to_owned()))
    }

    /// Turns the drive at a mount point, if it is the one it is taken for. The caller keeps others from opening it.
    pub(super) fn turn_at(&self, mount: &Path, is: &Marker, next: &Marker) -> Result<(), PromoteError> {
        let other = || PromoteError::NotReady("another drive is there now".to_owned());
        let (volume, marker) = match disk::look(mount) {
            Found::Marked(volume, marker) if *marker == *is => (volume, *marker),
            Found::Marked(..) | Found::Unmarked | Found::Unreadable(_) | Found::Nothing(_) => {
                return Err(other());
            }
        };
        let hold = volume.hold()?;
        let Some(_hold) = hold else {
            return Err(PromoteError::NotReady("another program uses it".to_owned()));
        };
        let attached = Attached::new(marker, Arc::new(volume), mount.to_owned());
        Ok(turn(&attached, next, self.now())?)
    }
}
