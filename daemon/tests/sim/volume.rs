//! `SimVolume`: a drive that loses, on a power cut, whatever was not made durable by the call that says so.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use shoebox::model::drive::Space;
use shoebox::model::place::Place;
use shoebox::store::volume::{Entry, EntryKind, MediumRead, ReadAt, Staged, Stat, Volume, VolumeError};

use crate::call::{Call, call};
use crate::calls;
use crate::faults::{Area, Failure, Fault, Faults, Op, Site};
use crate::file::File;
use crate::handles::{Held, Platter, Reading, Staging};
use crate::medium::{Ino, Kind, Medium, Problem};
use crate::rng::Rng;

/// One mount of a simulated drive, and the hand that pulls its plug. Clones are the same mount: after a cut or an
/// unplug all of them answer `Gone` for ever, as do their open files; [`SimVolume::mounted`] is the new one.
#[derive(Clone)]
pub(crate) struct SimVolume {
    drive: Arc<Mutex<Drive>>,
    mount: u64,
}

/// The drive behind all mounts.
pub(crate) struct Drive {
    pub(crate) kind: Kind,
    pub(crate) medium: Medium,
    pub(crate) capacity: u64,
    mount: u64,
    plugged: bool,
    read_only: bool,
    /// Staging names given so far.
    serial: u64,
    faults: Faults,
    calls: u64,
    sites: BTreeMap<Site, u64>,
    swallowed: BTreeSet<Site>,
    repeated_flushes: Vec<String>,
}

impl Drive {
    /// Counts a durability call and says whether it is to be carried out.
    fn reaches(&mut self, site: Site) -> bool {
        *self.sites.entry(site).or_default() += 1;
        calls::counts() && !self.swallowed.contains(&site)
    }

    fn room_for(&self, ino: Ino, more: usize) -> Result<usize, Problem> {
        let file = self.medium.file(ino)?;
        let free = self.capacity.saturating_sub(self.medium.used());
        let ahead = file.reserved.saturating_sub(u64::try_from(file.live.len()).unwrap_or(u64::MAX));
        Ok(more.min(usize::try_from(free + ahead).unwrap_or(usize::MAX)))
    }

    /// Takes what fits.
    pub(crate) fn extend(&mut self, ino: Ino, bytes: &[u8]) -> Result<(), Problem> {
        let fits = self.room_for(ino, bytes.len())?;
        let now = self.medium.now;
        let file = self.medium.file_mut(ino)?;
        if file.sealed.is_some() {
            return Err(REFUSED);
        }
        Arc::make_mut(&mut file.live).extend_from_slice(&bytes[..fits]);
        file.mtime = now;
        if fits < bytes.len() { Err(Problem::Full) } else { Ok(()) }
    }

    fn append(&mut self, file: &Place, bytes: &[u8]) -> Result<Ino, Problem> {
        if !file.is_below(&Place::manifests()) {
            return Err(REFUSED);
        }
        let ino = if let Ok(ino) = self.medium.walk(file) {
            ino
        } else {
            let slot = self.medium.free_slot(file)?;
            let ino = self.medium.new_file();
            self.medium.set(slot, ino);
            self.medium.release(ino);
            ino
        };
        self.extend(ino, bytes).map(|()| ino)
    }

    pub(crate) fn flush(&mut self, site: Site, ino: Ino, place: &Place) -> Result<(), Problem> {
        let reaches = self.reaches(site);
        self.flush_if(reaches, site, ino, place, File::flush)
    }

    /// A staged file is durable no later than its name: with a journal, that is when the name is, and not before.
    pub(crate) fn settle(&mut self, ino: Ino, place: &Place) -> Result<(), Problem> {
        let reaches = self.reaches(Site::Data);
        let settle = match self.kind {
            Kind::Ext4 => File::write_back,
            Kind::Exfat => File::flush,
        };
        self.flush_if(reaches, Site::Data, ino, place, settle)?;
        let file = self.medium.file(ino)?;
        if reaches && self.kind == Kind::Ext4 && file.names > 0 && !file.flush_failed {
            self.medium.written_back(ino);
        }
        Ok(())
    }

    fn flush_if(
        &mut self,
        reaches: bool,
        site: Site,
        ino: Ino,
        place: &Place,
        act: fn(&mut File),
    ) -> Result<(), Problem> {
        let file = self.medium.file_mut(ino)?;
        if file.flush_failed {
            self.repeated_flushes.push(format!("{site:?} {place}"));
        } else if reaches {
            act(file);
        }
        Ok(())
    }

    fn staging_name(&mut self) -> Place {
        self.serial += 1;
        Place::staged(&format!("sim-{}", self.serial))
    }

    /// A short-lived file with a name in the staging directory; the directory must be there.
    pub(crate) fn staging_slot(&mut self) -> Result<(Ino, String), Problem> {
        let place = self.staging_name();
        self.medium.free_slot(&place)
    }

    fn round(&self, time: Timestamp) -> Timestamp {
        let second = time.as_second();
        match self.kind {
            Kind::Ext4 => time,
            Kind::Exfat => Timestamp::from_second(second - second.rem_euclid(2)).unwrap_or(time),
        }
    }
}

/// A flush that failed is never made good by another (fsyncgate).
fn lose_pages(drive: &mut Drive, file: &Place, failure: Failure) {
    if let (Ok(ino), Failure::Io) = (drive.medium.walk(file), failure)
        && let Ok(file) = drive.medium.file_mut(ino)
    {
        file.fail_flush();
    }
}

/// ext4 aborts its journal and is read-only until the next mount; without a journal the entries are forgotten.
fn lose_names(drive: &mut Drive, dir: &Place, failure: Failure) {
    if let (Ok(ino), Failure::Io) = (drive.medium.walk(dir), failure) {
        match drive.kind {
            Kind::Ext4 => drive.read_only = true,
            Kind::Exfat => drive.medium.fail_commit(ino),
        }
    }
}

impl SimVolume {
    /// A drive with an empty filesystem of `capacity` bytes.
    pub(crate) fn blank(kind: Kind, capacity: u64) -> Self {
        let now = Timestamp::from_second(1_790_000_000).unwrap_or_default();
        let drive = Drive {
            kind,
            medium: Medium::new(kind, now),
            capacity,
            mount: 1,
            plugged: true,
            read_only: false,
            serial: 0,
            faults: Faults::default(),
            calls: 0,
            sites: BTreeMap::new(),
            swallowed: BTreeSet::new(),
            repeated_flushes: Vec::new(),
        };
        Self { drive: Arc::new(Mutex::new(drive)), mount: 1 }
    }

    /// The same with our directories on it, durable.
    pub(crate) fn with_our_folders(kind: Kind, capacity: u64) -> Self {
        let new = Self::blank(kind, capacity);
        {
            let mut drive = new.lock();
            let own = |name: &str| Place::own().entry(name);
            let ours = [Some(Place::photos()), Some(Place::own()), Some(Place::incoming())];
            let more = [own("trash"), own("quarantine"), Some(Place::manifests()), Some(Place::scratches())];
            for place in ours.into_iter().chain(more).flatten() {
                drive.medium.make_dir(&place).expect("the parent was made before");
            }
            drive.medium.flush_all();
        }
        new
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Drive> {
        self.drive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this mount is the drive's present one.
    pub(crate) fn is_alive(&self) -> bool {
        let drive = self.lock();
        drive.plugged && drive.mount == self.mount
    }

    /// Carries out a call, unless the drive is gone or a fault lies in wait.
    pub(crate) fn run<T>(
        &self,
        call: &Call<'_>,
        act: impl FnOnce(&mut Drive) -> Result<T, Problem>,
    ) -> Result<T, VolumeError> {
        self.run_or(call, |_, _| (), act)
    }

    /// The same for a call that does some `harm` when it fails.
    pub(crate) fn run_or<T>(
        &self,
        call: &Call<'_>,
        harm: impl FnOnce(&mut Drive, Failure),
        act: impl FnOnce(&mut Drive) -> Result<T, Problem>,
    ) -> Result<T, VolumeError> {
        let mut drive = self.lock();
        if !drive.plugged || drive.mount != self.mount {
            return Err(call.failed(Failure::Gone));
        }
        drive.calls += 1;
        if drive.read_only && call.op.changes() {
            return Err(call.failed(Failure::ReadOnly));
        }
        let Some(fault) = drive.faults.hit(call.op) else {
            return act(&mut drive).map_err(|problem| call.refused(problem));
        };
        if fault.done && call.op != Op::Stage {
            // what could not be staged has no name
            drop(act(&mut drive));
        } else {
            harm(&mut drive, fault.failure);
        }
        match fault.failure {
            Failure::Gone => drive.plugged &= !fault.lasting,
            Failure::ReadOnly => drive.read_only |= fault.lasting,
            Failure::Full | Failure::Io => {}
        }
        Err(call.failed(fault.failure))
    }

    // The hand that pulls the plug, and the eye that sees the medium.
    /// The drive as it is mounted now: what a restarted daemon opens.
    pub(crate) fn mounted(&self) -> Self {
        Self { drive: Arc::clone(&self.drive), mount: self.lock().mount }
    }

    /// Power is gone and back. All handles are dead; `rng` says what of the pending had made it to the medium.
    pub(crate) fn cut(&self, rng: &mut Rng) -> Self {
        let mut drive = self.lock();
        drive.medium.cut(rng);
        drive.mount += 1;
        drive.plugged = true;
        drive.read_only = false;
        drop(drive);
        self.mounted()
    }

    /// Whether the drive refuses writes until it is mounted anew.
    pub(crate) fn is_read_only(&self) -> bool {
        self.lock().read_only
    }

    /// Whether a directory's flush failed that no journal guards: what is shown may never be on the medium.
    pub(crate) fn lost_names(&self) -> bool {
        self.lock().medium.lost_names()
    }

    /// The drive is off the bus: every call answers `Gone` until [`SimVolume::cut`], which is also how it comes back.
    pub(crate) fn unplug(&self) {
        self.lock().plugged = false;
    }

    /// The drive is back on the bus after [`SimVolume::unplug`]; to it, that was a power cut.
    pub(crate) fn replug(&self, rng: &mut Rng) -> Self {
        self.cut(rng)
    }

    /// Lets the `nth` call of `op` from now on fail.
    pub(crate) fn fail_nth(&self, op: Op, nth: u64, fault: Fault) {
        self.lock().faults.arm(Some(op), nth, fault);
    }

    /// Lets the `nth` call, whichever it is, fail.
    pub(crate) fn fail_any(&self, nth: u64, fault: Fault) {
        self.lock().faults.arm(None, nth, fault);
    }

    /// Takes back all faults, a read-only drive included.
    pub(crate) fn heal(&self) {
        let mut drive = self.lock();
        drive.faults.clear();
        drive.read_only = false;
    }

    /// From now on answers `Ok` at this site and makes nothing durable.
    pub(crate) fn swallow(&self, site: Site) {
        self.lock().swallowed.insert(site);
    }

    /// How often each site was reached so far.
    pub(crate) fn sites(&self) -> BTreeMap<Site, u64> {
        self.lock().sites.clone()
    }

    /// Calls of the trait so far.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Flushes asked of a file of which an earlier flush had failed: each is a breach of invariant I5.
    pub(crate) fn repeated_flushes(&self) -> Vec<String> {
        self.lock().repeated_flushes.clone()
    }

    /// The time given to new files from now on.
    pub(crate) fn set_now(&self, now: Timestamp) {
        self.lock().medium.now = now;
    }

    /// Everything is written back, as it would be after half a minute of quiet.
    pub(crate) fn settle(&self) {
        self.lock().medium.flush_all();
    }

    /// All files as readers see them, by their path from the root.
    pub(crate) fn files(&self) -> BTreeMap<String, Arc<Vec<u8>>> {
        let drive = self.lock();
        let mut found = BTreeMap::new();
        let mut below = vec![Place::root()];
        while let Some(dir) = below.pop() {
            let names = drive.medium.walk(&dir).and_then(|ino| drive.medium.names(ino));
            for (name, ino) in names.into_iter().flatten() {
                let place = dir.entry(name).expect("a name that was made by us");
                match drive.medium.file(*ino) {
                    Ok(file) => drop(found.insert(place.as_str().to_owned(), Arc::clone(&file.live))),
                    Err(_) => below.push(place),
                }
            }
        }
        found
    }
}

pub(crate) const REFUSED: Problem = Problem::Other(io::ErrorKind::PermissionDenied);

impl Volume for SimVolume {
    fn prove(&self) -> Result<(), VolumeError> {
        self.run(&call(Op::Prove, "prove", &Place::marker()), |_| Ok(()))
    }

    fn let_go(&self) {
        let mut drive = self.lock();
        // Another mount's number: this one and all that was opened on it are dead.
        drive.mount += u64::from(drive.mount == self.mount);
    }

    fn stage(&self, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        let incoming = Place::incoming();
        let (ino, slot) = self.run(&call(Op::Stage, "stage", &incoming), |drive| {
            let dir = drive.medium.walk(&incoming)?;
            drive.medium.names(dir)?;
            let expected = expected.unwrap_or(0);
            if drive.medium.used().saturating_add(expected) > drive.capacity {
                return Err(Problem::Full);
            }
            let (slot, reserved) = match drive.kind {
                Kind::Ext4 => (None, expected),
                Kind::Exfat => (Some(drive.staging_slot()?), 0),
            };
            let ino = drive.medium.new_file();
            drive.medium.file_mut(ino)?.reserved = reserved;
            if let Some(slot) = &slot {
                drive.medium.set(slot.clone(), ino);
            }
            Ok((ino, slot))
        })?;
        Ok(Box::new(Staging(Held { volume: self.clone(), ino, slot, back_to: None })))
    }

    fn grow(&self, file: &Place, at: u64, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        let ino =
            self.run(&call(Op::Grow, "grow", file), |drive| drive.grow(file, at, expected.unwrap_or(0)))?;
        let held = Held { volume: self.clone(), ino, slot: None, back_to: usize::try_from(at).ok() };
        Ok(Box::new(Staging(held)))
    }

    fn drain(&self) -> Result<(), VolumeError> {
        self.prove() // nothing is durable by it that was not
    }

    fn make_dir(&self, dir: &Place) -> Result<bool, VolumeError> {
        self.run(&call(Op::MakeDir, "make", dir), |drive| drive.medium.make_dir(dir))
    }

    fn sync_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        let harm = |drive: &mut Drive, failure| lose_names(drive, dir, failure);
        self.run_or(&call(Op::SyncDir, "flush", dir), harm, |drive| {
            let ino = drive.medium.walk(dir)?;
            drive.medium.names(ino)?;
            let site = Site::Dir(Area::of(dir), drive.medium.pending(ino));
            if drive.reaches(site) {
                drive.medium.commit(ino, None);
            }
            Ok(())
        })
    }

    fn order_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        let harm = |drive: &mut Drive, failure| lose_names(drive, dir, failure);
        self.run_or(&call(Op::SyncDir, "order", dir), harm, |drive| {
            let ino = drive.medium.walk(dir)?;
            drive.medium.names(ino)?;
            let site = Site::Dir(Area::of(dir), drive.medium.pending(ino));
            match (drive.reaches(site), drive.kind) {
                (false, _) => {}
                (true, Kind::Ext4) => drive.medium.order(ino),
                (true, Kind::Exfat) => drive.medium.commit(ino, None),
            }
            Ok(())
        })
    }

    fn rename_new(&self, from: &Place, to: &Place) -> Result<(), VolumeError> {
        self.run(&call(Op::RenameNew, "rename", to), |drive| {
            drive.medium.walk(from)?;
            if to.is_below(from) {
                return Err(Problem::Other(io::ErrorKind::InvalidInput));
            }
            let (old, new) = (drive.medium.slot(from)?, drive.medium.free_slot(to)?);
            drive.medium.rename(old, new)
        })
    }

    fn link(&self, from: &Place, to: &Place) -> Result<(), VolumeError> {
        self.run(&call(Op::Link, "link", to), |drive| match drive.kind {
            Kind::Exfat => Err(Problem::Unsupported),
            Kind::Ext4 => {
                let ino = drive.medium.walk(from)?;
                drive.medium.file(ino)?;
                let slot = drive.medium.free_slot(to)?;
                drive.medium.set(slot, ino);
                Ok(())
            }
        })
    }

    fn remove_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        self.run(&call(Op::RemoveDir, "remove", dir), |drive| drive.medium.remove_dir(dir))
    }

    fn discard(&self, file: &Place) -> Result<(), VolumeError> {
        self.run(&call(Op::Discard, "discard", file), |drive| {
            if !file.may_be_unlinked() {
                return Err(REFUSED);
            }
            let ino = drive.medium.walk(file)?;
            drive.medium.file(ino)?;
            let slot = drive.medium.slot(file)?;
            drive.medium.unset(slot);
            Ok(())
        })
    }

    fn set_mtime(&self, file: &Place, mtime: Timestamp) -> Result<(), VolumeError> {
        self.run(&call(Op::SetMtime, "set time of", file), |drive| {
            let ino = drive.medium.walk(file)?;
            drive.medium.file_mut(ino)?.mtime = mtime;
            Ok(())
        })
    }

    fn stat(&self, place: &Place) -> Result<Stat, VolumeError> {
        self.run(&call(Op::Stat, "look at", place), |drive| {
            let inode = drive.medium.walk(place)?;
            if let Some(mtime) = drive.medium.dir_mtime(inode) {
                return Ok(Stat { is_dir: true, size: 0, mtime, inode });
            }
            let file = drive.medium.file(inode)?;
            let size = u64::try_from(file.live.len()).unwrap_or(u64::MAX);
            Ok(Stat { is_dir: false, size, mtime: drive.round(file.mtime), inode })
        })
    }

    fn list(&self, dir: &Place) -> Result<Vec<Entry>, VolumeError> {
        self.run(&call(Op::List, "list", dir), |drive| {
            let names = drive.medium.names(drive.medium.walk(dir)?)?;
            let entry = |(name, ino): (&String, &Ino)| {
                let kind = if drive.medium.file(*ino).is_ok() { EntryKind::File } else { EntryKind::Dir };
                Entry { name: Some(name.clone()), kind }
            };
            Ok(names.iter().map(entry).collect())
        })
    }

    fn open(&self, file: &Place) -> Result<Box<dyn ReadAt>, VolumeError> {
        let ino = self.run(&call(Op::Open, "open", file), |drive| {
            let ino = drive.medium.walk(file)?;
            drive.medium.file(ino).map(|_| ino)
        })?;
        Ok(Box::new(Reading { volume: self.clone(), ino, place: file.clone() }))
    }

    fn open_medium(&self, file: &Place) -> Result<Box<dyn MediumRead>, VolumeError> {
        let (bytes, unreadable) = self.run(&call(Op::OpenMedium, "open", file), |drive| {
            let ino = drive.medium.walk(file)?;
            let file = drive.medium.file(ino)?;
            let bytes = file.written_back();
            let unreadable = file.unreadable || file.breaks_seal(&bytes);
            Ok((bytes, unreadable))
        })?;
        Ok(Box::new(Platter::new(self.clone(), file.clone(), bytes, unreadable)))
    }

    fn sync_file(&self, file: &Place) -> Result<(), VolumeError> {
        let harm = |drive: &mut Drive, failure| lose_pages(drive, file, failure);
        self.run_or(&call(Op::SyncFile, "flush", file), harm, |drive| {
            let ino = drive.medium.walk(file)?;
            drive.flush(Site::SyncFile, ino, file)
        })
    }

    fn seal(&self, file: &Place) -> Result<bool, VolumeError> {
        self.run(&call(Op::Seal, "seal", file), |drive| {
            let ino = drive.medium.walk(file)?;
            match drive.kind {
                Kind::Ext4 => Ok(drive.medium.file_mut(ino)?.seal()),
                Kind::Exfat => Err(Problem::Unsupported),
            }
        })
    }

    fn append(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError> {
        // A failing append leaves a torn line, and a flush that failed never brings it out.
        let harm = |drive: &mut Drive, failure| {
            drive.append(file, &bytes[..bytes.len() / 2]).ok();
            lose_pages(drive, file, failure);
        };
        self.run_or(&call(Op::Append, "append to", file), harm, |drive| {
            let ino = drive.append(file, bytes)?;
            let reaches = drive.reaches(Site::Append);
            if reaches {
                drive.medium.commit_ordered();
            }
            drive.flush_if(reaches, Site::Append, ino, file, File::flush)
        })
    }

    fn write_small(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError> {
        self.run(&call(Op::WriteSmall, "write", file), |drive| {
            if file.is_below(&Place::photos()) {
                return Err(REFUSED);
            }
            let to = drive.medium.slot(file)?;
            if let Ok(there) = drive.medium.walk(file) {
                drive.medium.file(there)?;
            }
            let ino = drive.medium.new_file();
            let written = drive.extend(ino, bytes);
            if written.is_ok() {
                drive.medium.set(to.clone(), ino);
            }
            drive.medium.release(ino);
            written?;
            if drive.reaches(Site::WriteSmall) {
                drive.medium.file_mut(ino)?.flush();
                drive.medium.commit(to.0, Some(&to.1));
            }
            Ok(())
        })
    }

    fn space(&self) -> Result<Space, VolumeError> {
        self.run(&call(Op::Space, "measure", &Place::root()), |drive| {
            let available = drive.capacity.saturating_sub(drive.medium.used());
            Ok(Space { total: drive.capacity, available, inodes: u64::MAX })
        })
    }

    fn os_path(&self, _place: &Place) -> Option<PathBuf> {
        None
    }
}
