//! Opening the catalogue of a primary: as it is, from the newest snapshot, or anew. The manifest has everything; what is opened only has to be
//! sound, and a beginning of what this drive's manifest tells.
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::model::drive::DriveRole;
use crate::model::hash::{Also, ContentHash};
use crate::model::place::Place;
use crate::store::catalogue::{Catalogue, Doubt, snapshot};
use crate::store::manifest::{self, Fit};
use crate::store::volume::VolumeError;
use crate::work::ballast;
use crate::work::carry::{self, Carried, Load};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::pool::{Pool, Wake};
use crate::work::primary::Primary;
use crate::work::snapshots::{Kept, kept};

/// Damaged catalogues that are kept beside the new one.
const ASIDE: usize = 2;

/// A catalogue that is found damaged more often within an hour is not made anew once more: the drive, or the memory, is at fault.
const TIMES_AN_HOUR: usize = 3;

/// What was found out about catalogues while they were used.
#[derive(Debug, Default)]
pub(super) struct Condemned {
    /// Of the one that is to be opened next.
    pending: Option<Doubt>,
    /// When one was found damaged.
    at: Vec<Timestamp>,
}

/// Opens it. One that is not sound, or is not this drive's, is set aside under a dated name and made anew.
pub(super) fn open(attached: &Attached, now: Timestamp, doubt: Doubt) -> Result<Catalogue, Refusal> {
    let heed = |e| Refusal::Drive(attached.heed(e));
    let Some(path) = attached.volume.os_path(&Place::catalogue()) else { return Ok(Catalogue::in_memory()?) };
    // Broken before anything is written: what is under it is what was there when it was closed.
    let seal = take_seal(attached).map_err(heed)?;
    let there = match attached.volume.stat(&Place::catalogue()) {
        Ok(stat) => stat.size > 0,
        Err(VolumeError::NotFound { .. }) => false,
        Err(e) => return Err(heed(e)),
    };
    let trouble = if there {
        match as_it_is(attached, &path, seal, doubt)? {
            Ok(catalogue) => return Ok(catalogue),
            Err(trouble) => trouble,
        }
    } else {
        "it is not there".to_owned()
    };
    let begun = !attached.volume.list(&Place::manifests()).map_err(heed)?.is_empty();
    if there || begun {
        log::error!("the catalogue is unusable and will be made anew: {trouble}");
    }
    set_aside(attached, now).map_err(heed)?;
    match from_snapshot(attached, now)? {
        Some(seq) => {
            log::warn!(seq; "the catalogue begins with a snapshot; the rest comes from the manifest")
        }
        None if there || begun => log::warn!("the catalogue is made anew from the manifest"),
        None => {}
    }
    Ok(Catalogue::open(&path)?)
}

/// The one that is there, if it is sound and this drive's; in words, why not.
fn as_it_is(
    attached: &Attached,
    path: &Path,
    seal: Option<ContentHash>,
    doubt: Doubt,
) -> Result<Result<Catalogue, String>, Refusal> {
    if doubt == Doubt::Damaged {
        return Ok(Err("it was found damaged while it was used".to_owned()));
    }
    let catalogue = match Catalogue::open_checked(path, seal, doubt == Doubt::Unread) {
        Ok(catalogue) => catalogue,
        Err(e) if e.is_damage() => return Ok(Err(e.to_string())),
        Err(e) => return Err(e.into()),
    };
    let drives = match catalogue.read(|r| r.drives()) {
        Ok(drives) => drives,
        Err(e) if e.is_damage() || !e.is_of_the_file() => return Ok(Err(e.to_string())),
        Err(e) => return Err(e.into()),
    };
    let Some(row) = drives.iter().find(|row| row.id == attached.id()) else {
        // Just made, or of another box.
        let foreign = drives.iter().any(|row| row.role == DriveRole::Primary);
        return Ok(if foreign { Err("it is another drive's".to_owned()) } else { Ok(catalogue) });
    };
    let fit = manifest::fit(&*attached.volume, row.position);
    Ok(match fit.map_err(|e| Refusal::Drive(attached.heed(e)))? {
        Fit::Prefix => Ok(catalogue),
        // The drive lost the end of its record. What the catalogue knows of it is all that is left.
        Fit::Ahead => {
            log::error!(seq = row.position.seq; "the manifest ends before what the catalogue knows");
            Ok(catalogue)
        }
        Fit::Other => Err("it tells of other things than this drive's manifest".to_owned()),
    })
}

/// Puts what is there out of the way, whole or in part: a log that stayed behind would be played into the next catalogue.
fn set_aside(attached: &Attached, now: Timestamp) -> Result<(), VolumeError> {
    let volume = &*attached.volume;
    let mut moved = false;
    for place in Place::catalogue_files() {
        let mut when = now.as_second();
        loop {
            match volume.rename_new(&place, &place.set_aside(&when.to_string())) {
                Ok(()) => moved = true,
                Err(VolumeError::NotFound { .. }) => {}
                Err(VolumeError::Exists { .. }) => {
                    when += 1;
                    continue;
                }
                Err(e) => return Err(e),
            }
            break;
        }
    }
    if !moved {
        return Ok(());
    }
    volume.sync_dir(&Place::own())?;
    let entries =
        volume.list(&Place::own())?.into_iter().filter_map(|entry| Place::own().entry(&entry.name?));
    let mut asides: Vec<Place> = entries.filter(Place::is_catalogue_aside).collect();
    let when =
        |place: &Place| place.as_str().rsplit('-').next().and_then(|n| n.parse::<i64>().ok()).unwrap_or(0);
    let mut dates: Vec<i64> = asides.iter().map(when).collect();
    dates.sort_unstable();
    dates.dedup();
    let oldest = dates.len().checked_sub(ASIDE).and_then(|at| dates.get(at).copied()).unwrap_or(i64::MIN);
    asides.retain(|place| when(place) < oldest);
    asides.iter().try_for_each(|place| volume.discard(place))
}

/// Puts the newest good snapshot in the catalogue's place, if there is one that this drive's manifest goes on from. Answers how far it
/// reaches.
fn from_snapshot(attached: &Attached, now: Timestamp) -> Result<Option<u64>, Refusal> {
    let mut all = match kept(attached) {
        Ok(all) => all,
        Err(Refusal::Drive(e)) => {
            attached.pass_over(&Place::snapshots(), e).map(|()| Vec::new()).map_err(Refusal::Drive)?
        }
        Err(refusal) => return Err(refusal),
    };
    all.retain(|kept| kept.snapshot.is_of(attached.id()));
    all.sort_by_key(|kept| std::cmp::Reverse(kept.snapshot.seq));
    for kept in all {
        match install(attached, &kept, now) {
            Ok(Ok(())) => return Ok(Some(kept.snapshot.seq)),
            Ok(Err(why)) => log::warn!("{} is not used: {why}", kept.snapshot),
            // Too full for a copy: the manifest alone has to do.
            Err(Refusal::Drive(VolumeError::Full { .. })) => return Ok(None),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(None)
}

/// Copies a snapshot: it is proved by its hash on the way, opened and checked under a staging name, and named last, durably.
fn install(attached: &Attached, kept: &Kept, now: Timestamp) -> Result<Result<(), String>, Refusal> {
    let (volume, heed) = (&*attached.volume, |e| Refusal::Drive(attached.heed(e)));
    let from = Place::snapshot(&kept.snapshot);
    let size = match volume.stat(&from) {
        Ok(stat) => stat.size,
        Err(e) => {
            attached.pass_over(&from, e).map_err(Refusal::Drive)?;
            return Ok(Err("it cannot be read".to_owned()));
        }
    };
    let load = Load { from, hash: kept.snapshot.hash, size, mtime: now };
    let mut synced = match carry::carry_hashing(&load, attached, attached, Also::default(), &|| true)? {
        Carried::Proved(synced, _) => synced,
        Carried::BadSource(_) => return Ok(Err("its bytes are not those that were checked".to_owned())),
        Carried::BadReadBack => return Err(carry::lied(attached, load.from)),
        Carried::Stopped => return Ok(Err("it was not copied".to_owned())),
    };
    let staged = Place::staged("catalogue.db");
    match volume.discard(&staged) {
        Ok(()) | Err(VolumeError::NotFound { .. }) => {}
        Err(e) => return Err(heed(e)),
    }
    synced.publish(&staged).map_err(heed)?;
    drop(synced);
    let fits = is_beginning(attached, &staged)?;
    if fits.is_err() {
        volume.discard(&staged).map_err(heed)?;
        return Ok(fits);
    }
    volume.rename_new(&staged, &Place::catalogue()).map_err(heed)?;
    volume.sync_dir(&Place::own()).map_err(heed)?;
    Ok(Ok(()))
}

fn is_beginning(attached: &Attached, staged: &Place) -> Result<Result<(), String>, Refusal> {
    let Some(path) = attached.volume.os_path(staged) else {
        return Ok(Err("the drive has no files".to_owned()));
    };
    let drives = match snapshot::check(&path) {
        Ok(drives) => drives,
        Err(e) => return Ok(Err(e.to_string())),
    };
    let Some(row) = drives.into_iter().find(|row| row.id == attached.id()) else {
        return Ok(Err("it does not know this drive".to_owned()));
    };
    let fit = manifest::fit(&*attached.volume, row.position).map_err(|e| Refusal::Drive(attached.heed(e)))?;
    let why = || format!("the manifest does not go on from it ({fit:?})");
    Ok(if fit == Fit::Prefix { Ok(()) } else { Err(why()) })
}

/// The seal of a catalogue that was closed in order, which is broken by this.
fn take_seal(attached: &Attached) -> Result<Option<ContentHash>, VolumeError> {
    let (volume, place) = (&*attached.volume, Place::catalogue_seal());
    let mut text = [0; 64];
    let read = match volume.open(&place) {
        Ok(mut reader) => reader.read_at(&mut text, 0),
        Err(VolumeError::NotFound { .. }) => return Ok(None),
        Err(e) => Err(e),
    };
    // One that cannot be read is none: the catalogue is checked all through.
    let read = match read {
        Ok(read) => read,
        Err(e) => attached.pass_over(&place, e).map(|()| 0)?,
    };
    let seal = std::str::from_utf8(&text[..read]).ok().and_then(|text| text.parse().ok());
    volume.discard(&place)?;
    // Should the power bring it back, it is compared with a file that has changed, and that is made anew for nothing.
    volume.sync_dir(&Place::own())?;
    Ok(seal)
}

/// Seals a catalogue that was closed in order, so that whoever opens it can tell whether it is what it was. `go_on`: too large for those who
/// wait is not sealed, and is checked instead.
pub(super) fn seal(attached: &Attached, go_on: &dyn Fn() -> bool) -> Result<(), Refusal> {
    let (volume, heed) = (&*attached.volume, |e| Refusal::Drive(attached.heed(e)));
    let [file, log, _] = Place::catalogue_files();
    if volume.os_path(&file).is_none() || volume.stat(&log).is_ok_and(|log| log.size > 0) {
        return Ok(());
    }
    let mut reader = volume.open(&file).map_err(heed)?;
    let mut hasher = crate::model::hash::Hasher::new(Also::default(), &[]);
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = reader.read_at(&mut piece, hasher.size()).map_err(heed)?;
        if read == 0 {
            break;
        }
        hasher.update(&piece[..read]);
        if !go_on() {
            return Ok(());
        }
    }
    let text = hasher.digests().content.to_string();
    volume.write_small(&Place::catalogue_seal(), text.as_bytes()).map_err(heed)
}

impl Pool {
    /// Whether the catalogue of this drive was found to be unusable while it was used: then it is to be opened anew.
    pub(super) fn condemn(&self, attached: &Attached, now: Timestamp) -> bool {
        let doubt = self.catalogue_doubt(attached);
        if doubt == Doubt::None {
            return false;
        }
        let mut condemned = self.condemned();
        condemned.pending = condemned.pending.max(Some(doubt));
        if doubt > Doubt::Behind {
            condemned.at.push(now);
        }
        drop(condemned);
        self.wake(Wake::Health);
        true
    }

    /// Opens the pool on a primary. A large catalogue is not looked through before it is used, so its damage may show here: then it is
    /// set aside and made anew at once, and not opened once more as it is.
    pub(super) fn open_primary(&self, attached: &Arc<Attached>) -> Result<(), Refusal> {
        // A catalogue of an older version is brought up to date, which takes room.
        ballast::throw(attached).map_err(|e| Refusal::Drive(attached.heed(e)))?;
        loop {
            let now = self.now();
            let catalogue = Arc::new(open(attached, now, self.take_condemned(now)?)?);
            let Err(refusal) = self.begin(attached, &catalogue) else { return Ok(()) };
            let doubt = catalogue.doubt();
            // Two connections to one file would not know of one another's locks.
            catalogue.close();
            let mut condemned = self.condemned();
            match doubt {
                Doubt::None | Doubt::Behind => return Err(refusal),
                // The drive went, or is failing: whoever opens it next looks at every page.
                Doubt::Unread => {
                    condemned.pending = condemned.pending.max(Some(doubt));
                    return Err(refusal);
                }
                Doubt::Damaged => {
                    log::error!("{refusal}");
                    condemned.pending = Some(doubt);
                    condemned.at.push(now);
                }
            }
        }
    }

    fn begin(&self, attached: &Arc<Attached>, catalogue: &Arc<Catalogue>) -> Result<(), Refusal> {
        let (primary, recovered) = Primary::open(Arc::clone(attached), Arc::clone(catalogue), self.now())?;
        log::info!(
            swept = recovered.swept, replayed = recovered.replayed, bad_lines = recovered.bad_lines.len();
            "primary drive {} open", attached.id().short()
        );
        self.set_primary(Some(Arc::new(primary)))
    }

    /// What is known of the catalogue that is to be opened now.
    fn take_condemned(&self, now: Timestamp) -> Result<Doubt, Refusal> {
        let mut condemned = self.condemned();
        condemned.at.retain(|at| *at <= now && now.duration_since(*at) < SignedDuration::from_hours(1));
        if condemned.at.len() > TIMES_AN_HOUR {
            let why = "the list of all photos on it was damaged again and again".to_owned();
            return Err(Refusal::Unavailable { why });
        }
        Ok(condemned.pending.take().unwrap_or(Doubt::None))
    }
}
