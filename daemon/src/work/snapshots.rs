//! Snapshots of the catalogue: copied onto the primary's own disk while uploads go on, opened and checked there, named, then carried to
//! every other drive. With the manifests they make any drive enough to begin anew from, and a rebuild short.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::hash::{Also, ContentHash, Hasher};
use crate::model::place::Place;
use crate::model::snapshot::Snapshot;
use crate::os::clock;
use crate::plan::failing::Kind;
use crate::plan::snapshots::{self, Now};
use crate::store::around::is_bad_block;
use crate::store::catalogue::accounts::DriveRow;
use crate::store::catalogue::snapshot::{self, AtRest};
use crate::store::catalogue::{CatalogueError, Doubt, Unproved};
use crate::store::manifest::day;
use crate::store::volume::{Synced, VolumeError};
use crate::work::carry::{self, Carried, GoOn, Load};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Wake};
use crate::work::primary::Primary;
use crate::work::reading;
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// Bytes copied between two looks at whose turn it is.
const PIECE: usize = 1 << 20;
/// A larger catalogue is not copied while somebody waits for the box to end.
const AT_STOP: u64 = 64 << 20;
/// How long they wait for one that is not.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Makes and carries snapshots.
pub struct Snapshots {
    pool: Arc<Pool>,
    /// Uploads counted when they were last looked at, and since when there were no more.
    stirred: Option<(u64, Timestamp)>,
}

/// A snapshot on a drive, and its date.
pub(crate) struct Kept {
    pub(crate) snapshot: Snapshot,
    at: Timestamp,
}

impl Snapshots {
    /// For a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool, stirred: None }
    }

    /// Makes a snapshot if one is due, and brings the newest to the drives that lack it.
    pub fn step(&mut self, go_on: GoOn<'_>) -> Result<(), Refusal> {
        let now = self.pool.now();
        let received = self.pool.counters.received.load(Ordering::Relaxed);
        let stirred = match self.stirred {
            // A date that has not come yet is the trace of a clock that was wrong.
            Some((count, since)) if count == received && since <= now => since,
            Some(_) | None => now,
        };
        self.stirred = Some((received, stirred));
        self.pool.snapshot_now(stirred, false, go_on)
    }
}

impl Worker for Snapshots {
    fn name(&self) -> &'static str {
        "snapshots"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn critical(&self) -> bool {
        false
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        let Ok(primary) = self.pool.primary() else { return Ok(Outcome::Rest) };
        let _drive = cx.blocked_on(&primary.attached.id().short());
        if !primary.has_room_to_record() {
            return Ok(Outcome::Rest);
        }
        let go_on = || {
            cx.beat();
            !cx.stopping()
        };
        Snapshots::step(self, &go_on).map_err(|e| WorkError::new("keep snapshots of the catalogue", e))?;
        Ok(Outcome::Rest)
    }
}

impl Pool {
    /// At the end of an orderly stop, when no worker and no upload is left. Bounded: what takes longer is left to the next start.
    pub fn snapshot_at_stop(&self) -> Result<(), Refusal> {
        let until: Instant = clock::monotonic() + STOP_PATIENCE;
        self.snapshot_now(self.now(), true, &|| clock::monotonic() < until)
    }

    fn snapshot_now(&self, stirred: Timestamp, stopping: bool, go_on: GoOn<'_>) -> Result<(), Refusal> {
        let primary = self.primary()?;
        primary.attached.takes_writes().map_err(|why| Refusal::Unavailable { why })?;
        let id = primary.attached.id();
        let end = primary.catalogue.read(|r| r.drive(id))?.map_or(0, |row| row.position.seq);
        let last = newest(&primary.attached, &kept(&primary.attached)?, end);
        let changed = last.as_ref().is_none_or(|kept| kept.snapshot.seq != end);
        let last_at = last.as_ref().map(|kept| kept.at);
        let adopted = primary.attached.marker.adopted;
        let know = Now { last: last_at, adopted, changed, stirred, stopping };
        let mut made = None;
        if let Some(Unproved::Sealed(seal)) = primary.catalogue.unproved() {
            self.prove(&primary, seal, go_on)?;
        }
        let unchecked = primary.catalogue.unproved() == Some(Unproved::Unchecked);
        if (unchecked && !stopping) || snapshots::is_wanted(&know, self.now()) {
            made = self.make(&primary, stopping, go_on)?;
        }
        self.set_unsaved_since(if changed && made.is_none() {
            Some(last_at.unwrap_or(adopted))
        } else {
            None
        });
        let newest = made.or(last);
        self.tidy(&primary.attached, newest.as_ref(), end)?;
        let Some(newest) = newest else { return Ok(()) };
        let mut failed = None;
        for other in self.others() {
            if other.takes_writes().is_ok() && go_on() {
                let carried = self.carry_snapshot(&primary, &other, &newest, end, go_on);
                failed = failed.or(carried.err());
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Compares a large catalogue that was closed in order with what it was then.
    fn prove(&self, primary: &Primary, seal: ContentHash, go_on: GoOn<'_>) -> Result<(), Refusal> {
        let Some(at_rest) = primary.catalogue.at_rest()? else { return Ok(()) };
        let unread = |source| VolumeError::Io { op: "read", place: Place::catalogue(), source };
        let mut hasher = Hasher::new(Also::default(), &[]);
        let mut buffer = vec![0; PIECE];
        loop {
            let _lane = primary.attached.turns.background();
            let read = at_rest
                .read_at(&mut buffer, hasher.size())
                .map_err(|e| Refusal::Drive(primary.attached.heed(unread(e))))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            if !go_on() {
                // The next start has a seal again, or checks.
                return Ok(());
            }
            if at_rest.is_pressed() {
                primary.catalogue.set_unproved(Some(Unproved::Unchecked));
                return Ok(());
            }
        }
        if at_rest.is_whole() && hasher.digests().content != seal {
            log::error!("the catalogue's bytes are not those it was closed with");
            primary.catalogue.condemn(Doubt::Damaged);
            self.wake(Wake::Drives);
        }
        primary.catalogue.set_unproved(None);
        Ok(())
    }

    /// Copies the catalogue, has the copy checked, and names it: what has the name of a snapshot is whole.
    fn make(&self, primary: &Primary, stopping: bool, go_on: GoOn<'_>) -> Result<Option<Kept>, Refusal> {
        let drive = &primary.attached;
        let heed = |e| Refusal::Drive(drive.heed(e));
        let now = self.now();
        let Some(at_rest) = primary.catalogue.at_rest()? else { return Ok(None) };
        let room = drive.volume.space().map_err(heed)?.for_uploads();
        if room < at_rest.size.saturating_mul(2) || (stopping && at_rest.size > AT_STOP) {
            return Ok(None);
        }
        let Some(Copied { synced, hash }) = copy(drive, &at_rest, now, go_on)? else { return Ok(None) };
        drop(at_rest);
        // Under a staging name, which whoever starts next would sweep. SQLite reads it from there.
        let staged = Place::staged("snapshot.db");
        let drives = match check(drive, &staged, synced)? {
            Ok(drives) => drives,
            Err(trouble) => {
                drop(drive.volume.discard(&staged));
                if trouble.is_damage() {
                    // What was copied was read back, and is what the catalogue is.
                    primary.catalogue.condemn(Doubt::Damaged);
                    self.wake(Wake::Drives);
                }
                return Err(trouble.into());
            }
        };
        if primary.catalogue.unproved() == Some(Unproved::Unchecked) {
            primary.catalogue.set_unproved(None);
        }
        let seq = drives.iter().find(|row| row.id == drive.id()).map_or(0, |row| row.position.seq);
        let snapshot = Snapshot { day: day(now), of: drive.id().short(), seq, hash };
        let named = name(drive, |place| drive.volume.rename_new(&staged, place), &snapshot);
        match named {
            Ok(()) => {}
            // The same catalogue, byte for byte.
            Err(VolumeError::Exists { .. }) => drive.volume.discard(&staged).map_err(heed)?,
            Err(e) => return Err(heed(e)),
        }
        log::info!(seq; "snapshot of the catalogue made and checked");
        Ok(Some(Kept { snapshot, at: now }))
    }

    /// Brings a drive the newest snapshot: the bytes that were checked, read back from its medium, opened there and checked once more, before
    /// they get their name.
    fn carry_snapshot(
        &self,
        primary: &Primary,
        other: &Attached,
        newest: &Kept,
        end: u64,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let (from, heed) = (Place::snapshot(&newest.snapshot), |e| Refusal::Drive(other.heed(e)));
        if kept(other)?.iter().any(|there| there.snapshot == newest.snapshot) {
            return self.tidy(other, Some(newest), end);
        }
        let size =
            primary.attached.volume.stat(&from).map_err(|e| Refusal::Drive(primary.attached.heed(e)))?.size;
        let load = Load { from, hash: newest.snapshot.hash, size, mtime: newest.at };
        match carry::carry_hashing(&load, &primary.attached, other, Also::default(), go_on) {
            Ok(Carried::Proved(synced, _)) => {
                let staged = Place::staged("snapshot.db");
                if let Err(trouble) = check(other, &staged, synced)? {
                    drop(other.volume.discard(&staged));
                    let path = primary.attached.volume.os_path(&load.from);
                    if path.is_some_and(|path| snapshot::check(&path).is_err_and(|e| e.proves_damage())) {
                        throw_away(&primary.attached, &load.from)?;
                    }
                    return Err(trouble.into());
                }
                name(other, |place| other.volume.rename_new(&staged, place), &newest.snapshot)
                    .map_err(heed)?;
            }
            // Not what was checked any more: another one is made in its place. What could not be read just now stays, for the next time.
            Ok(Carried::BadSource(_)) => {
                if is_proved_bad(&primary.attached, &load, go_on)? {
                    throw_away(&primary.attached, &load.from)?;
                }
            }
            Ok(Carried::BadReadBack) => return Err(carry::lied(other, load.from)),
            Ok(Carried::Stopped) => {}
            // A drive without room has no snapshot; its photos matter more.
            Err(Refusal::Drive(VolumeError::Full { .. })) => {}
            Err(refusal) => return Err(refusal),
        }
        self.tidy(other, Some(newest), end)
    }

    /// Throws away what is not kept, and tells when the drive's newest is from.
    fn tidy(&self, drive: &Attached, newest: Option<&Kept>, end: u64) -> Result<(), Refusal> {
        let all = kept(drive)?;
        let has = newest.filter(|newest| all.iter().any(|there| there.snapshot == newest.snapshot));
        if let Some(newest) = has {
            let all = all.iter().map(|kept| kept.snapshot.clone()).collect();
            for gone in snapshots::superfluous(all, &newest.snapshot.of, end.max(newest.snapshot.seq)) {
                match drive.volume.discard(&Place::snapshot(&gone)) {
                    Ok(()) | Err(VolumeError::NotFound { .. }) => {}
                    Err(e) => return Err(Refusal::Drive(drive.heed(e))),
                }
            }
        }
        let date = has.map(|kept| kept.at).or_else(|| all.iter().map(|kept| kept.at).max());
        self.update_slot(&drive.mount, |slot| slot.snapshot = date);
        Ok(())
    }
}

/// A copy that is durable, was read back, and has no name.
struct Copied {
    synced: Box<dyn Synced>,
    hash: ContentHash,
}

/// Whether the medium has other bytes than were checked, or cannot give them although it gives others.
fn is_proved_bad(drive: &Attached, load: &Load, go_on: GoOn<'_>) -> Result<bool, Refusal> {
    let read = reading::hash_medium(&*drive.volume, &load.from, Also::default(), &mut || {
        drop(drive.turns.background());
        go_on();
        Ok(())
    });
    match read {
        Ok(found) => Ok(found.content != load.hash),
        Err(VolumeError::NotFound { .. }) => Ok(false),
        Err(e) if is_bad_block(&*drive.volume, &e) => {
            drive.note_error(Kind::Read);
            Ok(true)
        }
        Err(e) => drive.file_only(e).map_err(Refusal::Drive).map(|why| {
            log::warn!("a snapshot of the catalogue was not carried: {why}");
            false
        }),
    }
}

fn throw_away(drive: &Attached, snapshot: &Place) -> Result<(), Refusal> {
    log::error!("{snapshot} is damaged and is thrown away");
    drive.volume.discard(snapshot).map_err(|e| Refusal::Drive(drive.heed(e)))
}

/// The snapshots on a drive.
pub(crate) fn kept(drive: &Attached) -> Result<Vec<Kept>, Refusal> {
    let dir = Place::snapshots();
    let entries = match drive.volume.list(&dir) {
        Ok(entries) => entries,
        Err(VolumeError::NotFound { .. }) => Vec::new(),
        Err(e) => return Err(Refusal::Drive(drive.heed(e))),
    };
    let names = entries.into_iter().filter_map(|entry| entry.name?.parse::<Snapshot>().ok());
    let dated = names.filter_map(|snapshot| {
        let at = drive.volume.stat(&Place::snapshot(&snapshot)).ok()?.mtime;
        Some(Kept { snapshot, at })
    });
    Ok(dated.collect())
}

/// The newest of this primary's, as far as its record reaches.
fn newest(drive: &Attached, kept: &[Kept], end: u64) -> Option<Kept> {
    let ours = kept.iter().filter(|kept| kept.snapshot.is_of(drive.id()) && kept.snapshot.seq <= end);
    let newest = ours.max_by_key(|kept| (kept.snapshot.seq, kept.at))?;
    Some(Kept { snapshot: newest.snapshot.clone(), at: newest.at })
}

/// Copies what is at rest into a nameless file, durable and read back from the medium. `None`: not now.
fn copy(
    drive: &Attached,
    at_rest: &AtRest<'_>,
    now: Timestamp,
    go_on: GoOn<'_>,
) -> Result<Option<Copied>, Refusal> {
    let heed = |e| Refusal::Drive(drive.heed(e));
    let unread = |source| VolumeError::Io { op: "read", place: Place::catalogue(), source };
    let mut staged = drive.volume.stage(Some(at_rest.size)).map_err(heed)?;
    let mut hasher = Hasher::new(Also::default(), &[]);
    let mut buffer = vec![0; PIECE];
    loop {
        let _lane = drive.turns.background();
        let read = at_rest.read_at(&mut buffer, hasher.size()).map_err(|e| heed(unread(e)))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        staged.write(&buffer[..read]).map_err(heed)?;
        if !go_on() || at_rest.is_pressed() {
            return Ok(None);
        }
    }
    let hash = hasher.digests().content;
    if !at_rest.is_whole() {
        return Ok(None);
    }
    let synced = staged.sync(Some(now)).map_err(heed)?;
    let mut medium = synced.medium().map_err(heed)?;
    let back = reading::hash_all(&mut *medium, Also::default(), &mut || {
        drop(drive.turns.background());
        go_on();
        Ok(())
    });
    if back.map_err(heed)?.content != hash {
        return Err(carry::lied(drive, Place::catalogue()));
    }
    drop(medium);
    Ok(Some(Copied { synced, hash }))
}

/// Gives the copy a staging name and has SQLite check it there.
fn check(
    drive: &Attached,
    staged: &Place,
    mut synced: Box<dyn Synced>,
) -> Result<Result<Vec<DriveRow>, CatalogueError>, Refusal> {
    let heed = |e| Refusal::Drive(drive.heed(e));
    match drive.volume.discard(staged) {
        Ok(()) | Err(VolumeError::NotFound { .. }) => {}
        Err(e) => return Err(heed(e)),
    }
    synced.publish(staged).map_err(heed)?;
    drop(synced);
    let no_path = || Refusal::Unavailable { why: "the drive has no files".to_owned() };
    let path = drive.volume.os_path(staged).ok_or_else(no_path)?;
    Ok(snapshot::check(&path))
}

/// Gives durable, checked bytes the name of a snapshot. The directory is flushed last: a power cut leaves the name with the bytes, or
/// neither.
fn name(
    drive: &Attached,
    give: impl FnOnce(&Place) -> Result<(), VolumeError>,
    snapshot: &Snapshot,
) -> Result<(), VolumeError> {
    drive.volume.make_dir(&Place::snapshots())?;
    // Each time: the one who made it may have been killed before its flush.
    drive.volume.sync_dir(&Place::own())?;
    give(&Place::snapshot(snapshot))?;
    drive.volume.sync_dir(&Place::snapshots())
}
