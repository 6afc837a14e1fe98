//! Replacing a drive by a new one, in stages that can be repeated: adopt, fill, take the old one's place, retire the old one.
use std::path::Path;
use std::time::{Duration, Instant};

use crate::model::drive::{DriveId, DriveRole};
use crate::os::clock;
use crate::work::changes::Change;
use crate::work::eject::EjectError;
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Slot, Wake};
use crate::work::primary::Primary;
use crate::work::promote::PromoteError;
use crate::work::views::{DriveView, Progress, Replacement};
use crate::work::watch::AdoptError;

/// How often it is looked how far a new drive is.
const LOOK: Duration = Duration::from_millis(500);
/// Nothing copied for so long although something is lacking: it will not be by waiting.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// Why a drive could not be replaced. What was done until then stays, and the command goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// No drive of that name is known.
    #[error("this box knows no drive {0:?}")]
    Unknown(String),
    /// Several drives have that name.
    #[error("{0:?} fits several drives")]
    Several(String),
    /// A drive cannot replace itself, and what is at the mount point has a part already.
    #[error("what is mounted there is not a drive that could replace another: {0}")]
    Unfit(String),
    /// The new drive could not be made one of ours.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The old primary is dead, and no drive could take its place.
    #[error(transparent)]
    Promote(#[from] PromoteError),
    /// The old drive could not be let go.
    #[error("the old drive could not be let go: {0}")]
    Eject(#[from] EjectError),
    /// The new drive does not get what it lacks.
    #[error("the new drive is not being filled: {0}")]
    NotFilled(String),
    /// All that can be copied is on the new drive.
    #[error(
        "{count} photos and videos have no good copy on any drive, and cannot be copied to the new one: {names}"
    )]
    Hopeless {
        /// How many.
        count: u64,
        /// The first of them.
        names: String,
    },
    /// The record of it failed.
    #[error("could not replace: {0}")]
    Refused(#[from] Refusal),
}

/// The drive that is to be replaced.
enum Old {
    /// A copy, there or not.
    Copy(DriveId, DriveRole),
    /// The primary, which is there.
    Primary(DriveId),
    /// The primary, which is not.
    Dead,
}

/// What keeps a drive from being filled, named.
fn hopeless(primary: &Primary, id: DriveId) -> Result<ReplaceError, Refusal> {
    const NAMED: usize = 10;
    let read = primary.catalogue.read(|r| Ok((r.hopeless(id)?, r.hopeless_names(id, NAMED)?)));
    let (hopeless, names) = read?;
    let count = hopeless.wanted + hopeless.bad;
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    if count > names.len() as u64 {
        names.push("\u{2026}".to_owned());
    }
    Ok(ReplaceError::Hopeless { count, names: names.join(", ") })
}

impl Pool {
    /// Replaces a drive, named by its role or the beginning of its id, by the one mounted at `with`. Blocking until the new one
    /// has everything, as long as the old one is needed until then. `agreed`: although something may be missing on the drive
    /// that takes a dead primary's place, or no drive has a good copy of something.
    pub fn replace(
        &self,
        old: &str,
        with: &Path,
        agreed: bool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Replacement, ReplaceError> {
        let old = self.resolve(old)?;
        let mut promotion = None;
        let role = match &old {
            Old::Copy(_, role) => *role,
            Old::Primary(_) => DriveRole::Mirror,
            Old::Dead => {
                promotion = Some(self.promote(self.only_copy()?, agreed)?);
                DriveRole::Mirror
            }
        };
        let new = self.part_of(with, role, &old)?;
        match old {
            Old::Dead => {}
            Old::Copy(id, _) => {
                // A drive that works is a copy more until the new one has all of it.
                if self.attached(id).is_some_and(|there| there.takes_writes().is_ok()) {
                    self.fill(new, agreed, progress)?;
                    self.eject(id)?;
                }
                self.retire(id)?;
            }
            Old::Primary(id) => {
                self.swap(id, new, agreed, progress)?;
                self.retire(id)?;
            }
        }
        let drive = self.slot_at(with).map(DriveView::from);
        let drive = drive.ok_or_else(|| ReplaceError::Unfit("it is gone".to_owned()))?;
        Ok(Replacement { drive, promotion })
    }

    fn resolve(&self, word: &str) -> Result<Old, ReplaceError> {
        let primary = self.primary().ok();
        let mut known: Vec<(DriveId, DriveRole)> = self.slots().iter().filter_map(Slot::drive).collect();
        if let Some(primary) = &primary {
            known.retain(|(id, role)| *role != DriveRole::Primary || *id == primary.attached.id());
            let rows = primary.catalogue.read(|r| r.drives()).map_err(Refusal::from)?;
            known.extend(rows.into_iter().map(|row| (row.id, row.role)));
        }
        known.sort_unstable();
        known.dedup();
        let role = word.parse::<DriveRole>().ok();
        if primary.is_none() && role == Some(DriveRole::Primary) {
            return Ok(Old::Dead);
        }
        let fits = |(id, its): &&(DriveId, DriveRole)| match role {
            Some(role) => *its == role,
            None => !word.is_empty() && id.to_string().starts_with(word),
        };
        let found: Vec<_> = known.iter().filter(fits).collect();
        match found.as_slice() {
            [(id, DriveRole::Primary)] if primary.is_some() => Ok(Old::Primary(*id)),
            [(_, DriveRole::Primary)] => Ok(Old::Dead),
            [(id, role)] => Ok(Old::Copy(*id, *role)),
            [] => Err(ReplaceError::Unknown(word.to_owned())),
            [_, _, ..] => Err(ReplaceError::Several(word.to_owned())),
        }
    }

    /// The drive that can take a dead primary's place.
    fn only_copy(&self) -> Result<DriveId, ReplaceError> {
        let copies: Vec<DriveId> =
            self.slots().iter().filter_map(|s| s.attached.clone()).map(|a| a.id()).collect();
        match copies.as_slice() {
            [one] => Ok(*one),
            [] => Err(PromoteError::NotThere.into()),
            [_, _, ..] => {
                Err(ReplaceError::Several("the drives that could take the main drive's place".to_owned()))
            }
        }
    }

    /// Makes the drive at a mount point a copy, if it is not one since the last time this was tried.
    fn part_of(&self, with: &Path, role: DriveRole, old: &Old) -> Result<DriveId, ReplaceError> {
        let here = self.slot_at(with).and_then(|slot| slot.attached);
        if let Some(attached) = here {
            let itself = matches!(old, Old::Copy(id, _) | Old::Primary(id) if *id == attached.id());
            let why = "it is the very drive that is to be replaced";
            return match attached.role() {
                DriveRole::Mirror | DriveRole::Offline if !itself => Ok(attached.id()),
                DriveRole::Mirror | DriveRole::Offline => Err(ReplaceError::Unfit(why.to_owned())),
                DriveRole::Primary => Err(ReplaceError::Unfit("it is the main drive".to_owned())),
            };
        }
        let drive = self.adopt(with, role)?;
        drive
            .id
            .filter(|_| drive.standing.takes_writes())
            .ok_or_else(|| ReplaceError::Unfit(drive.standing.word().to_owned()))
    }

    /// Waits until a drive has everything. The mirror fills it, whether somebody waits or not. What no drive has good is waited for by
    /// nobody: unless that is `agreed`, it is said as soon as all the rest is there.
    fn fill(
        &self,
        id: DriveId,
        agreed: bool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), ReplaceError> {
        let lost = |why: &str| ReplaceError::NotFilled(why.to_owned());
        let mut last: Option<(u64, Instant)> = None;
        let (mut files_total, mut bytes_total) = (0, 0);
        self.wake_mirror();
        while !self.is_level(id) {
            let primary = self.primary()?;
            self.attached(id).ok_or_else(|| lost("it is gone"))?;
            if self.is_filled(id) && !self.is_level(id) {
                return if agreed { Ok(()) } else { Err(hopeless(&primary, id)?) };
            }
            let tally = primary.catalogue.read(|r| r.tally(id, self.now())).map_err(Refusal::from)?;
            files_total = tally.wanted.max(files_total);
            bytes_total = tally.wanted_bytes.max(bytes_total);
            let (files, bytes) = (files_total - tally.wanted, bytes_total - tally.wanted_bytes);
            progress(&Progress { files, files_total, bytes, bytes_total });
            let now = clock::monotonic();
            match last {
                Some((wanted, since)) if wanted == tally.wanted => {
                    if now.saturating_duration_since(since) > IDLE {
                        let lacks = format!("{wanted} files are lacking and cannot be copied");
                        return Err(ReplaceError::NotFilled(lacks));
                    }
                    // Something may have come that needs no copying: facts, names.
                    self.wake_mirror();
                }
                Some(_) | None => last = Some((tally.wanted, now)),
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The new drive takes the place of a primary that works. Between the last look and the end of uploads something may come
    /// that it lacks: then the old one goes on, and it is tried again.
    fn swap(
        &self,
        old: DriveId,
        new: DriveId,
        agreed: bool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), ReplaceError> {
        const TRIES: u32 = 100;
        for _ in 0..TRIES {
            self.fill(new, agreed, progress)?;
            // Only the mount point: whoever holds on to the drive keeps its files open.
            let there = |s: &&Slot| s.drive().is_some_and(|(id, _)| id == old);
            let mount = self.slots().iter().find(there).map(|s| s.mount.clone());
            let mount = mount.ok_or(EjectError::NotThere)?;
            let let_go = self.eject(old);
            let level = self.is_level(new);
            let promoted = match (let_go, level || (agreed && self.is_filled(new))) {
                (Ok(_), true) => Some(self.promote(new, !level)),
                (Ok(_), false) => None,
                (Err(e), _) => Some(Err(PromoteError::NotReady(e.to_string()))),
            };
            // It is looked at anew: as the primary that goes on, or as a drive that is one no more.
            self.update_slot(&mount, |slot| slot.ejected = None);
            let looked = self.look_at(&mount);
            self.wait_while_moving(&mount);
            match promoted {
                Some(promoted) => return Ok(promoted.map(drop)?),
                None => looked?,
            }
        }
        Err(ReplaceError::NotFilled("there is always something new; try again when it is quiet".to_owned()))
    }

    /// A drive is used no more: it is not missed, and what is on it does not count.
    pub fn retire(&self, drive: DriveId) -> Result<(), Refusal> {
        if let Some(there) = self.attached(drive) {
            self.detach(&there);
        }
        let primary = self.primary()?;
        primary.submit(Change::Retire { drive }, self.now())?;
        self.remember_retired(drive);
        log::warn!("drive {} was retired", drive.short());
        self.wake(Wake::Drives);
        self.wake(Wake::Health);
        Ok(())
    }
}
