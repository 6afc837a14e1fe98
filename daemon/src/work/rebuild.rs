//! Rebuilding from one bare drive, without a daemon: its catalogue is made anew from its record and its files.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::account::Slug;
use crate::model::drive::{DriveId, DriveRole, Standing};
use crate::model::place::Place;
use crate::store::catalogue::Catalogue;
use crate::store::disk::{self, Found};
use crate::store::manifest::{self, Fit};
use crate::store::volume::{EntryKind, Volume, VolumeError};
use crate::work::appliance::Appliance;
use crate::work::error::Refusal;
use crate::work::pool::{Clock, Options, Pool};
use crate::work::promote::PromoteError;
use crate::work::views::{Progress, RebuildReport, VerifyScope};
use crate::work::watch::DriveWatch;

/// What to rebuild, and how.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// Where the drive is mounted.
    pub from: PathBuf,
    /// A copy becomes the primary of its pool.
    pub promote: bool,
    /// Every file is read back from the medium.
    pub verify: bool,
}

/// Why a drive could not be rebuilt from, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// No directory there.
    #[error("there is no drive at {0}: {1}")]
    Nothing(PathBuf, String),
    /// No marker.
    #[error(
        "the drive at {0} has no marker of ours (.shoebox/drive.toml). Adopt it (shoebox drive adopt {0} --role primary, with \
         no other drive there): everything on it stays, and the files in photos/ are taken over; people and devices have to \
         be added again"
    )]
    Unmarked(PathBuf),
    /// A marker that cannot be read.
    #[error(
        "the marker of the drive at {0} cannot be read ({1}). It has eight lines, which docs/FORMAT.md explains: mend it, or \
         move it away and adopt the drive anew, which keeps everything on it and takes the files in photos/ over"
    )]
    Unreadable(PathBuf, String),
    /// A copy.
    #[error(
        "the drive at {0} is a {1} of its box and has no catalogue of its own; with --promote it becomes the main drive"
    )]
    IsCopy(PathBuf, DriveRole),
    /// It cannot be used.
    #[error("the drive cannot be used: {0}")]
    Standing(String),
    /// Another program has it.
    #[error("a Shoebox is using this drive; stop it first (systemctl stop shoebox)")]
    InUse,
    /// It could not be made the primary.
    #[error(transparent)]
    Promote(#[from] PromoteError),
    /// It failed on the way. What was there is there; it can be repeated.
    #[error("could not rebuild: {0}")]
    Refused(#[from] Refusal),
}

impl From<VolumeError> for RebuildError {
    fn from(error: VolumeError) -> Self {
        Self::Refused(Refusal::Drive(error))
    }
}

/// Makes a good catalogue on a drive. Changes no original.
pub fn rebuild(
    what: &Rebuild,
    clock: Clock,
    progress: &mut dyn FnMut(&'static str, &Progress),
) -> Result<RebuildReport, RebuildError> {
    let from = std::path::absolute(&what.from).unwrap_or_else(|_| what.from.clone());
    let pool = Arc::new(Pool::new(options(&from), clock));
    let (role, kept) = set_catalogue_aside(&pool, what, &from)?;
    progress("reading the record", &Progress::default());
    let mut watch = DriveWatch::new(Arc::clone(&pool), from.clone());
    watch.step()?;
    usable(&pool)?;
    if role != DriveRole::Primary {
        let id = pool.drives().first().and_then(|d| d.id).ok_or(PromoteError::NotThere)?;
        pool.promote(id, true)?;
    }
    let report = look_through(&pool, what, kept, progress);
    drop(pool.set_primary(None));
    report
}

fn options(from: &Path) -> Options {
    use jiff::SignedDuration;
    let days = SignedDuration::from_hours(24);
    Options {
        mounts: vec![from.to_owned()],
        require_mount: false,
        delete_delay: days,
        brake: crate::plan::mirroring::Brake { percent: 1, files: 200 },
        quiet: SignedDuration::ZERO,
        scratch_keep: days,
        acknowledge_after_copy: false,
        seal_copies: false,
        appliance: Appliance::default(),
    }
}

/// Whatever catalogue there is, good or bad, is kept beside: the new one follows from record and files alone. But for one that is sound and
/// knows more than the record, which lost its end: all that is left of that is in it. The role the drive has, and whether it was kept.
fn set_catalogue_aside(pool: &Pool, what: &Rebuild, from: &Path) -> Result<(DriveRole, bool), RebuildError> {
    let (volume, marker) = match disk::look(from) {
        Found::Marked(volume, marker) => (volume, marker),
        Found::Unmarked => return Err(RebuildError::Unmarked(from.to_owned())),
        Found::Unreadable(why) => return Err(RebuildError::Unreadable(from.to_owned(), why)),
        Found::Nothing(why) => return Err(RebuildError::Nothing(from.to_owned(), why)),
    };
    if marker.role != DriveRole::Primary && !what.promote {
        return Err(RebuildError::IsCopy(from.to_owned(), marker.role));
    }
    let Some(_hold) = volume.hold()? else { return Err(RebuildError::InUse) };
    let kept = marker.role == DriveRole::Primary && knows_more(&volume, marker.drive)?;
    if kept {
        // It was checked all through just now, and may have been brought up to date by that: the seal is of what it was.
        match volume.discard(&Place::catalogue_seal()) {
            Ok(()) | Err(VolumeError::NotFound { .. }) => {}
            Err(e) => return Err(e.into()),
        }
    }
    if marker.role == DriveRole::Primary && !kept {
        let when = pool.now().as_second().to_string();
        for place in Place::catalogue_files() {
            match volume.rename_new(&place, &place.set_aside(&when)) {
                Ok(()) | Err(VolumeError::NotFound { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok((marker.role, kept))
}

/// Whether the drive's catalogue is sound all through, and its manifest ends before what that knows.
fn knows_more(volume: &dyn Volume, drive: DriveId) -> Result<bool, VolumeError> {
    let Some(path) = volume.os_path(&Place::catalogue()).filter(|path| path.exists()) else {
        return Ok(false);
    };
    let known = Catalogue::open_checked(&path, None, true).and_then(|catalogue| {
        let drives = catalogue.read(|r| r.drives());
        catalogue.close();
        drives
    });
    let row = known.ok().and_then(|drives| drives.into_iter().find(|row| row.id == drive));
    row.map_or(Ok(false), |row| Ok(manifest::fit(volume, row.position)? == Fit::Ahead))
}

fn usable(pool: &Pool) -> Result<(), RebuildError> {
    let standing = pool.drives().into_iter().next().map_or(Standing::Absent, |drive| drive.standing);
    match standing {
        Standing::Ready | Standing::Failing { .. } => Ok(()),
        Standing::InUse => Err(RebuildError::InUse),
        Standing::Foreign { why } | Standing::Suspect { why } => Err(RebuildError::Standing(why)),
        Standing::Absent
        | Standing::Ejected
        | Standing::Former
        | Standing::Retired
        | Standing::Clone { .. }
        | Standing::Blank
        | Standing::ReadOnly
        | Standing::Stuck => Err(RebuildError::Standing(standing.word().to_owned())),
    }
}

fn look_through(
    pool: &Arc<Pool>,
    what: &Rebuild,
    kept: bool,
    progress: &mut dyn FnMut(&'static str, &Progress),
) -> Result<RebuildReport, RebuildError> {
    let primary = pool.primary()?;
    let reading = manifest::read(&*primary.attached.volume, 0, &mut |_| ())?;
    people_from_folders(pool)?;
    let rescan = pool.rescan_now(&mut |now| progress("comparing the files", now))?;
    let mut report = RebuildReport {
        drive: primary.attached.id(),
        people: 0,
        devices: 0,
        files: 0,
        bytes: 0,
        lines: reading.lines,
        bad_lines: reading.bad.len() as u64,
        breaks: reading.breaks,
        catalogue_kept: kept,
        adopted: rescan.adopted,
        missing: rescan.missing,
        unholdable: rescan.unholdable,
        equal: None,
        damaged: Vec::new(),
        not_read: Vec::new(),
    };
    if what.verify {
        let verified = pool.verify_now(&VerifyScope::default(), &mut |now| progress("reading back", now))?;
        report.equal = Some(verified.equal);
        report.damaged = verified.damaged;
        report.not_read = verified.not_read;
    }
    let people = pool.people()?;
    report.people = people.len() as u64;
    report.files = people.iter().map(|person| person.files).sum();
    report.bytes = people.iter().map(|person| person.bytes).sum();
    report.devices = pool.devices()?.iter().filter(|device| !device.revoked).count() as u64;
    Ok(report)
}

/// Where the record is lost, a folder at the top is all there is to tell of a person.
fn people_from_folders(pool: &Pool) -> Result<(), RebuildError> {
    let primary = pool.primary()?;
    for entry in primary.attached.volume.list(&Place::photos())? {
        let name = entry.name.filter(|_| entry.kind == EntryKind::Dir);
        let Some(person) = name.and_then(|name| name.parse::<Slug>().ok()) else { continue };
        match pool.add_person(&person) {
            Ok(()) => log::warn!("person {person} is known by the folder only"),
            Err(Refusal::Exists) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
