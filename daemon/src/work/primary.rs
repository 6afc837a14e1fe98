//! `Primary`: drive A open for business: its catalogue, its manifest, its one committer, and the recovery that runs
//! every time it is attached, after a clean stop as after a power cut.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;

use crate::model::copy::CopyEvent;
use crate::model::drive::DriveRole;
use crate::model::event::What;
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::model::place::Place;
use crate::store::around::is_bad_block;
use crate::store::catalogue::read::Reader;
use crate::store::catalogue::{self, Catalogue, accounts, copies};
use crate::store::manifest::Manifest;
use crate::store::volume::{EntryKind, VolumeError};
use crate::work::ballast;
use crate::work::changes::Change;
use crate::work::commit::{Announced, Done, GroupCommit};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::unrecorded::Unrecorded;
use crate::work::{record, tail};

/// The primary, ready.
pub struct Primary {
    /// The drive.
    pub attached: Arc<Attached>,
    /// The catalogue on it.
    pub catalogue: Arc<Catalogue>,
    commit: GroupCommit,
    /// How many changes that other drives have to follow it took since it was opened; counted before they are made.
    pub(super) changes: Arc<AtomicU64>,
}

/// How many replayed files are looked for.
const TAIL: usize = 1000;

/// What recovery found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Staging files of uploads that were never acknowledged, swept.
    pub swept: u64,
    /// Events that the catalogue did not contain yet.
    pub replayed: u64,
    /// Files that were on their way to the trash when the power went, put back under their names.
    pub put_back: u64,
    /// Manifest lines that are not believed.
    pub bad_lines: Vec<String>,
}

impl Primary {
    /// Recovers and opens the primary.
    pub fn open(
        attached: Arc<Attached>,
        catalogue: Arc<Catalogue>,
        now: Timestamp,
    ) -> Result<(Self, Recovered), Refusal> {
        let heed = |e| Refusal::Drive(attached.heed(e));
        let mut recovered =
            Recovered { swept: sweep(&attached).map_err(Refusal::Drive)?, ..Recovered::default() };
        ballast::throw(&attached).map_err(heed)?;
        let id = attached.id();
        let row = catalogue.read(|r| r.drive(id))?;
        // A drive that is full has no room for a row, and can be read all the same.
        if row.as_ref().is_none_or(|d| d.role != DriveRole::Primary) {
            catalogue.write(|tx| accounts::put_drive(tx, id, DriveRole::Primary, attached.marker.adopted))?;
        }
        let known = row.map_or(0, |d| d.position.seq);
        // Opened before it is read, so that nothing can be appended in between.
        let mut manifest = Manifest::open(Arc::clone(&attached.volume)).map_err(heed)?;
        // Numbers are given once, also those of events that the drive has lost.
        manifest.leave_out(known);
        let mut replayed: VecDeque<(RelPath, ContentHash)> = VecDeque::new();
        recovered.bad_lines = record::replay(&attached, &catalogue, &mut manifest, known, &mut |event| {
            recovered.replayed += 1;
            if let What::Stored { path, hash, .. } = &event.what {
                replayed.push_back((path.clone(), *hash));
                if replayed.len() > TAIL {
                    replayed.pop_front();
                }
            }
        })?;
        tail::opened(&attached, &catalogue, manifest.position().seq)?;
        let unrecorded = Unrecorded::find(&attached, &catalogue, manifest.position().seq)?;
        recovered.put_back = unrecorded.put_back;
        let commit = GroupCommit::new(Arc::clone(&attached), Arc::clone(&catalogue), manifest);
        let changes = commit.changes();
        let primary = Self { attached, catalogue, commit, changes };
        primary.recheck_tail(replayed, now)?;
        for (path, to) in unrecorded.replaced {
            // A name that vanished meanwhile needs no record.
            match primary.commit.submit(Change::RecordReplaced { path, to }, None, now) {
                Ok(_) | Err(Refusal::NotFound) => {}
                Err(e) => return Err(e),
            }
        }
        ballast::take(&primary.attached).map_err(|e| Refusal::Drive(primary.attached.heed(e)))?;
        Ok((primary, recovered))
    }

    /// The last of the replayed files are looked for: the manifest said durable, and the drive may have lied about its
    /// flushes. After a rebuild of everything, the rescan looks for the rest.
    fn recheck_tail(
        &self,
        tail: impl IntoIterator<Item = (RelPath, ContentHash)>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let id = self.attached.id();
        for (path, hash) in tail {
            let row = self.catalogue.read(|r| r.name(&path.fold_key()))?;
            // Replaced since: a later event speaks of it.
            let Some(row) = row.filter(|row| row.hash == Some(hash)) else { continue };
            if !self.attached.volume.stat(&row.place()).is_ok_and(|s| s.size == row.size) {
                self.catalogue.write(|tx| copies::observe(tx, row.id, id, CopyEvent::NotThere, now))?;
            }
        }
        Ok(())
    }

    /// Carries several changes out, sharing their flushes as far as they may; returns when all are durable or refused.
    pub(crate) fn submit_all(
        &self,
        changes: Vec<Change>,
        now: Timestamp,
    ) -> Result<Vec<Result<Done, Refusal>>, Refusal> {
        self.attached.takes_writes().map_err(|why| Refusal::Unavailable { why })?;
        Ok(self.commit.submit_all(changes, now))
    }

    /// Carries a change out and returns when it is durable.
    pub(crate) fn submit(&self, change: Change, now: Timestamp) -> Result<Done, Refusal> {
        self.attached.takes_writes().map_err(|why| Refusal::Unavailable { why })?;
        self.commit.submit(change, None, now)
    }

    /// The same for an upload that was announced: a client waits for it to be acknowledged.
    pub(crate) fn submit_announced(
        &self,
        change: Change,
        announced: Announced,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        self.attached.takes_changes().map_err(|why| Refusal::Unavailable { why })?;
        self.commit.submit(change, Some(announced), now)
    }

    /// Whether what a worker finds and does can be recorded. Where other programs left less, workers wait: work done
    /// without its record is done again and again.
    pub(super) fn has_room_to_record(&self) -> bool {
        // A drive that cannot say it answers for itself at the next thing that is asked of it.
        self.attached.volume.space().map_or(true, |space| space.available >= space.to_record())
    }

    /// Says that an upload is complete, and its change will come as soon as its data is with the drive.
    pub(crate) fn announce(&self) -> Announced {
        self.commit.announce()
    }
}

impl Primary {
    /// Returns when the commit under way is over: what its changes did to files is in the catalogue then, or refused.
    pub(super) fn quiesce(&self) {
        self.commit.quiesce();
    }

    /// Lets go of the drive, whoever still holds this (an upload, a worker in the middle of a step): a commit under way
    /// is finished, later ones are refused, the catalogue's file is free. Opening the drive anew needs this first: two
    /// writers on one manifest would break its chain.
    pub(super) fn close(&self) {
        self.commit.close();
        self.catalogue.close();
    }

    /// Lets go of the drive in order: what it was given is not doubted when it comes back. Nothing is committed after this.
    pub(super) fn rest(&self) {
        self.commit.close();
        self.rests(&self.attached);
    }

    /// Records that a drive is let go in order. If that fails, it counts as one that was not.
    pub(super) fn rests(&self, drive: &Attached) {
        if drive.takes_writes().is_err() {
            return;
        }
        let id = drive.id();
        let rest = self.catalogue.write(|tx| {
            let row = Reader::new(tx).drive(id)?;
            row.map_or(Ok(()), |row| catalogue::tail::rest(tx, id, row.position.seq))
        });
        if let Err(e) = rest {
            log::warn!("drive {} counts as pulled: {e}", id.short());
        }
    }
}

/// In a staging directory that cannot be read nothing can be named either, and no probe passes: it is put beside, and another one made
/// in its place. Asked before a drive of ours is probed for the first time.
pub(crate) fn staging_anew(attached: &Attached) -> Result<(), VolumeError> {
    const TRIES: u32 = 16;
    let (volume, is) = (&attached.volume, Place::incoming());
    match volume.list(&is) {
        Err(e) if is_bad_block(&**volume, &e) => attached.pass_over(&is, e)?,
        // The power went between the two.
        Err(VolumeError::NotFound { .. }) => return volume.make_dir(&is).map(drop),
        Ok(_) | Err(_) => return Ok(()),
    }
    for number in 0..TRIES {
        match volume.rename_new(&is, &is.set_aside(&number.to_string())) {
            Ok(()) => return volume.make_dir(&is).map(drop),
            Err(VolumeError::Exists { .. }) => {}
            // Older kernels read a directory that they rename.
            Err(e) => return attached.pass_over(&is, e),
        }
    }
    Ok(())
}

/// Empties the staging directory: nothing in it was ever acknowledged. Also used for the other drives.
pub(crate) fn sweep(attached: &Attached) -> Result<u64, VolumeError> {
    let mut swept = 0;
    let entries = match attached.volume.list(&Place::incoming()) {
        Ok(entries) => entries,
        Err(e) => return attached.pass_over(&Place::incoming(), e).map(|()| 0),
    };
    for entry in entries {
        let place = entry.name.as_deref().and_then(|name| Place::incoming().entry(name));
        if let (EntryKind::File, Some(place)) = (entry.kind, place) {
            match attached.volume.discard(&place) {
                Ok(()) => swept += 1,
                Err(e) => attached.pass_over(&place, e)?,
            }
        }
    }
    Ok(swept)
}
