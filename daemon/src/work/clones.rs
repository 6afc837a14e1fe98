//! Drives that say they are one and the same: before any of them is written to, all are looked at, each by its own watch, and the one
//! whose record goes on beyond the others' is used (promise P3).
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::model::drive::{DriveId, Marker, Standing};
use crate::os::clock;
use crate::plan::clones::{self, Choice, Relation};
use crate::store::disk::{self, DiskVolume, Found, Spot};
use crate::store::manifest::{self, Fit, Position};
use crate::store::volume::VolumeError;
use crate::work::pool::{Pool, Slot};

/// For so long the places where drives may be are waited for to be looked at, once, at the start: one that hangs keeps others waiting
/// no longer.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);

/// What was last seen at a mount point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nobody has looked yet.
    #[default]
    NotYet,
    /// No drive with a marker.
    NoDrive,
    /// One.
    Drive {
        /// Which it says it is.
        id: DriveId,
        /// And of which generation.
        generation: u64,
        /// Where it is mounted: what comes there later is mounted elsewhere, be it the same drive.
        spot: Option<Spot>,
        /// Where its record ends, once somebody had to know.
        end: Option<Position>,
    },
}

impl Pool {
    /// Every mount point has somebody who watches it from now on: what is found is used when all have been looked at.
    pub fn all_are_watched(&self) {
        *self.watched_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::monotonic());
    }

    /// A first look at a mount point, which says what is there and opens nothing; and a wait for the first looks at all others.
    pub(super) fn look_first(&self, mount: &Path) {
        let is_new = self.slot_at(mount).is_some_and(|slot| slot.seen == Seen::NotYet);
        if !is_new {
            return;
        }
        let seen = match disk::look(mount) {
            Found::Marked(_, marker) => Seen::of(&marker, mount),
            Found::Unmarked | Found::Unreadable(_) | Found::Nothing(_) => Seen::NoDrive,
        };
        self.note_seen(mount, seen);
        let since = *self.watched_since.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = since else { return };
        wait(since + PATIENCE, || self.slots().iter().all(|slot| slot.seen != Seen::NotYet));
    }

    /// What is at a mount point now. What was found out about the same drive's record stays.
    pub(super) fn note_seen(&self, mount: &Path, now: Seen) {
        self.update_slot(mount, |slot| {
            let same = matches!((slot.seen, now),
                (Seen::Drive { id, generation, spot, .. }, Seen::Drive { id: new, generation: its, spot: there, end: None })
                    if id == new && generation == its && spot == there);
            if !same {
                slot.seen = now;
            }
            if now == Seen::NoDrive {
                slot.left_alone = None;
            }
        });
    }

    /// Whether a marked drive is to be left alone because another one says that it is the same. Reads this drive, and no other.
    pub(super) fn among_clones(
        &self,
        mount: &Path,
        volume: &DiskVolume,
        marker: &Marker,
    ) -> Result<Option<Standing>, VolumeError> {
        let stands = |diverged| Standing::Clone { of: marker.drive, role: marker.role, diverged };
        let slots = self.slot_views();
        let spot = disk::spot(mount);
        let this = slots.iter().find(|slot| slot.mount == mount);
        // Left alone beside the one in use, it lacks what came since: it does not step in when that one goes.
        if spot.is_some() && this.is_some_and(|slot| slot.left_alone == spot) {
            return Ok(Some(stands(false)));
        }
        let in_use = |slot: &Slot| slot.mount != mount && slot.drive_or_moving() == Some(marker.drive);
        if slots.iter().any(in_use) {
            let attached = |slot: &Slot| slot.attached.as_ref().is_some_and(|a| a.id() == marker.drive);
            if slots.iter().any(|slot| in_use(slot) && attached(slot)) {
                // From this moment on it lacks what comes.
                self.update_slot(mount, |slot| slot.left_alone = spot);
            }
            return Ok(Some(stands(false)));
        }
        // What was left alone beside this one while it was in use is no rival when it is opened anew.
        let is_rival = |slot: &Slot| {
            let same = matches!(slot.seen, Seen::Drive { id, spot, .. }
                if id == marker.drive && (spot.is_none() || slot.left_alone != spot));
            same && slot.mount != mount && slot.ejected.is_none()
        };
        if !slots.iter().any(is_rival) {
            return Ok(None);
        }
        let own = manifest::end(volume)?;
        let seen = Seen::of(marker, mount).ending(own);
        self.update_slot(mount, |slot| slot.seen = seen);
        // Each says where its record ends. One that does not answer may be the one that goes further.
        let unknown = |slot: &Slot| is_rival(slot) && matches!(slot.seen, Seen::Drive { end: None, .. });
        if !wait(clock::monotonic() + PATIENCE, || !self.slots().iter().any(unknown)) {
            let other =
                self.slot_views().into_iter().find(unknown).map(|slot| slot.mount).unwrap_or_default();
            let why = format!(
                "the one at {} says that it is the same drive, and cannot be read: unplug that one to use this one",
                other.display()
            );
            return Ok(Some(Standing::Suspect { why }));
        }
        let (mut place, mut others) = (0, Vec::new());
        for (at, slot) in self.slot_views().into_iter().enumerate() {
            if slot.mount == mount {
                place = at;
            } else if is_rival(&slot) {
                others.push((at, relation(volume, marker, own, &slot)?));
            }
        }
        Ok(match clones::choose(place, &others) {
            Choice::Use => None,
            Choice::Leave => Some(stands(false)),
            Choice::Ask => Some(stands(true)),
        })
    }
}

/// The drive at a mount point is used, and was just found there: it is not the one that was pulled and came back elsewhere. Those that
/// say that they are the same are left alone from now on.
pub(super) fn leave_others_alone(slots: &mut [Slot], mount: &Path, used: DriveId) {
    for slot in slots.iter_mut().filter(|slot| slot.mount != mount) {
        if let Seen::Drive { id, spot, .. } = slot.seen
            && id == used
        {
            slot.left_alone = spot;
        }
    }
}

impl Seen {
    /// A marked drive, of whose record nothing is known.
    pub(super) fn of(marker: &Marker, mount: &Path) -> Self {
        let spot = disk::spot(mount);
        Self::Drive { id: marker.drive, generation: marker.generation, spot, end: None }
    }

    fn ending(self, end: Position) -> Self {
        match self {
            Self::Drive { id, generation, spot, .. } => Self::Drive { id, generation, spot, end: Some(end) },
            Self::NotYet | Self::NoDrive => self,
        }
    }
}

/// How the record of a drive stands to that of another one. Whose goes further says whether they are apart; the other takes its word.
fn relation(
    volume: &DiskVolume,
    marker: &Marker,
    own: Position,
    rival: &Slot,
) -> Result<Relation, VolumeError> {
    let Seen::Drive { generation, end: Some(end), .. } = rival.seen else { return Ok(Relation::Beyond) };
    if generation != marker.generation {
        // A higher one is right over a lower one (docs/decisions/0011).
        return Ok(if generation < marker.generation { Relation::Beyond } else { Relation::Behind });
    }
    if own.seq < end.seq {
        let apart = matches!(rival.standing, Standing::Clone { diverged: true, .. });
        return Ok(if apart { Relation::Apart } else { Relation::Behind });
    }
    if own == end {
        return Ok(Relation::Same);
    }
    let contained = own.seq > end.seq && manifest::fit(volume, end)? == Fit::Prefix;
    Ok(if contained { Relation::Beyond } else { Relation::Apart })
}

fn wait(until: Instant, there: impl Fn() -> bool) -> bool {
    loop {
        if there() {
            return true;
        }
        if clock::monotonic() >= until {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}
