//! A copy that has what the primary does not: that is taken into the pool before anything of its tree is changed.
//!
//! A former primary may have taken photos that never reached the drive that took its place; and a primary that lied about its
//! flushes may have lost photos with all that it knew of them. Every file on it is compared with the pool by
//! name, size and time, and by its bytes where that does not fit. Bytes that the pool never had are stored there under their
//! name, or a free one beside it; so are people and devices. What the pool has under another name is to get that name here,
//! and what it has no more is to leave this drive later, like any deletion.
use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::model::account::{Device, DeviceKind, Slug, TokenHash};
use crate::model::drive::DriveRole;
use crate::model::event::What;
use crate::model::hash::{Also, ContentHash};
use crate::model::naming;
use crate::model::offer::Expect;
use crate::model::password::PasswordHash;
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::plan::shelving;
use crate::store::catalogue::{accounts, copies};
use crate::store::manifest;
use crate::store::volume::{EntryKind, Stat, VolumeError};
use crate::work::carry::{self, Carried, GoOn, Load};
use crate::work::changes::{Change, Store};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::mirror::End;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::reading;
use crate::work::record;

/// Filesystems keep times to two seconds at worst.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(2);

/// The look through a drive that may have more than the primary.
pub(super) struct Strays {
    /// Up to where its record says so: where it became a copy, or what it has beyond the primary's knowledge.
    since: u64,
    /// Folders to look into, deepest last.
    todo: Vec<Place>,
    found: Vec<Stray>,
    /// Files that could not be read: nothing is done about them, and the look is repeated another time.
    unread: u64,
    taken: u64,
}

/// A file whose bytes the pool never had.
struct Stray {
    path: RelPath,
    hash: ContentHash,
    size: u64,
    mtime: Timestamp,
}

/// What the drive's own record says.
#[derive(Default)]
struct Told {
    people: BTreeMap<Slug, Option<PasswordHash>>,
    devices: BTreeMap<(Slug, Slug), (DeviceKind, TokenHash, bool)>,
    /// From whom, and when it was received.
    origin: HashMap<ContentHash, (String, Timestamp)>,
}

impl Strays {
    /// `None`: this drive never was the primary and names nothing that the primary forgot, or was looked through since.
    pub(super) fn of(attached: &Attached, primary: &Primary) -> Result<Option<Self>, Refusal> {
        let changes = manifest::role_changes(&*attached.volume, attached.marker.generation);
        let changes = changes.map_err(|e| Refusal::Drive(attached.heed(e)))?;
        let former = changes.iter().rfind(|change| change.was == DriveRole::Primary).map(|last| last.seq);
        let (known, forgot) = primary
            .catalogue
            .read(|r| Ok((r.meta(&key(attached))?, r.meta(&record::forgot(attached.id()))?)))?;
        let forgot = forgot.and_then(|seq| seq.parse().ok());
        let Some(since) = former.max(forgot) else { return Ok(None) };
        if known.as_deref() == Some(&since.to_string()) {
            return Ok(None);
        }
        let todo = vec![Place::photos()];
        Ok(Some(Self { since, todo, found: Vec::new(), unread: 0, taken: 0 }))
    }
}

fn key(attached: &Attached) -> String {
    format!("looked through {}", attached.id())
}

impl End {
    /// Does one piece of the look. `true`: it goes on, and nothing else is to be done on this drive yet.
    pub(super) fn look_through(
        &mut self,
        pool: &Pool,
        primary: &Primary,
        go_on: GoOn<'_>,
    ) -> Result<bool, Refusal> {
        let Some(mut strays) = self.strays.take() else { return Ok(false) };
        if let Some(dir) = strays.todo.pop() {
            self.look_into(pool, primary, &dir, &mut strays, go_on)?;
            self.strays = Some(strays);
            return Ok(true);
        }
        let told = self.what_it_was_told(&strays)?;
        take_accounts(pool, primary, told.people, told.devices)?;
        while let Some(stray) = strays.found.pop() {
            if !go_on() {
                strays.found.push(stray);
                self.strays = Some(strays);
                return Ok(true);
            }
            self.take_in(pool, primary, &stray, &told.origin, &mut strays, go_on)?;
        }
        let drive = self.attached.id().short();
        if strays.taken > 0 {
            let taken = strays.taken;
            log::warn!(taken; "photos that only drive {drive} had, and the main drive knew nothing of, were taken in");
        }
        if strays.unread > 0 {
            let unread = strays.unread;
            log::error!(unread; "files of drive {drive}, which has more than the main drive, could not be read: they stay where they are");
        }
        // Repeated after a crash: what was taken in is known by then.
        let since = strays.since.to_string();
        primary.catalogue.write(|tx| accounts::set_meta(tx, &key(&self.attached), &since))?;
        Ok(true)
    }

    fn look_into(
        &self,
        pool: &Pool,
        primary: &Primary,
        dir: &Place,
        strays: &mut Strays,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let volume = &self.attached.volume;
        for entry in volume.list(dir).map_err(|e| self.heed(e))? {
            let Some(place) = entry.name.as_deref().and_then(|name| dir.entry(name)) else { continue };
            if entry.kind == EntryKind::Dir {
                strays.todo.push(place);
                continue;
            }
            let below = place.as_str().strip_prefix("photos/");
            let Some(path) = below.and_then(RelPath::from_disk) else { continue };
            let stat = match volume.stat(&place) {
                Ok(stat) if entry.kind == EntryKind::File => stat,
                Ok(_) | Err(VolumeError::NotFound { .. }) => continue,
                Err(e) => return Err(self.heed(e)),
            };
            if shelving::shelf(path.name(), stat.size) == Shelf::Photos {
                self.meet(pool, primary, &place, path, stat, strays, go_on)?;
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one file, and all that is asked about it")]
    fn meet(
        &self,
        pool: &Pool,
        primary: &Primary,
        place: &Place,
        path: RelPath,
        stat: Stat,
        strays: &mut Strays,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        let row = primary.catalogue.read(|r| r.name(&path.fold_key()))?;
        let alike = |size: u64, mtime: Timestamp| {
            size == stat.size && mtime.duration_since(stat.mtime).abs() <= SAME_TIME
        };
        // Its bytes are read before it counts as a copy, like those of any file that lies where a copy is wanted.
        if row.as_ref().is_some_and(|row| row.hash.is_some() && alike(row.size, row.mtime)) {
            return Ok(());
        }
        let mut beat = || {
            drop(self.attached.turns.background());
            go_on();
            Ok(())
        };
        let found = match reading::hash_medium(&*self.attached.volume, place, Also::default(), &mut beat) {
            Ok(found) => found,
            Err(e) => {
                let why = self.attached.file_only(e).map_err(Refusal::Drive)?;
                log::error!("a file of a drive that has more than the main drive cannot be read: {why}");
                strays.unread += 1;
                return Ok(());
            }
        };
        let (id, now, hash) = (self.attached.id(), pool.now(), found.content);
        if primary.catalogue.read(|r| r.asset(&hash))?.is_none() {
            strays.found.push(Stray { path, hash, size: found.size, mtime: stat.mtime });
            return Ok(());
        }
        if row.is_some_and(|row| row.hash == Some(hash)) {
            return Ok(());
        }
        primary.catalogue.write(|tx| {
            if !copies::lies_at(tx, id, &hash, &path, now)? {
                copies::leave_stray(tx, id, &hash, &path, now)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Read once, and only for what was found.
    fn what_it_was_told(&self, strays: &Strays) -> Result<Told, Refusal> {
        let mut told = Told::default();
        let wanted: HashMap<ContentHash, ()> = strays.found.iter().map(|s| (s.hash, ())).collect();
        let read = manifest::read(&*self.attached.volume, 0, &mut |event| match event.what {
            What::Person { person, .. } => drop(told.people.entry(person).or_default()),
            What::Password { person, hash } => drop(told.people.insert(person, hash)),
            What::Device { person, device, kind, token, .. } => {
                told.devices.insert((person, device), (kind, token, true));
            }
            What::Revoked { person, device, .. } => {
                if let Some(known) = told.devices.get_mut(&(person, device)) {
                    known.2 = false;
                }
            }
            What::Stored { hash, by, received, .. } if wanted.contains_key(&hash) => {
                told.origin.insert(hash, (by, received));
            }
            What::Stored { .. }
            | What::Folder { .. }
            | What::Trashed { .. }
            | What::Moved { .. }
            | What::Touched { .. }
            | What::Proved { .. }
            | What::Damaged { .. }
            | What::Retired { .. }
            | What::Role { .. }
            | What::Quota { .. }
            | What::Answered { .. }
            | What::Quarantined { .. } => {}
        });
        read.map_err(|e| self.heed(e))?;
        Ok(told)
    }

    fn take_in(
        &self,
        pool: &Pool,
        primary: &Primary,
        stray: &Stray,
        origin: &HashMap<ContentHash, (String, Timestamp)>,
        strays: &mut Strays,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        // Twice on this drive, and taken in a moment ago.
        if primary.catalogue.read(|r| r.asset(&stray.hash))?.is_some() {
            return Ok(());
        }
        let from = Place::photo(&stray.path);
        let load = Load { from, hash: stray.hash, size: stray.size, mtime: stray.mtime };
        let (synced, digests) = match carry::carry(&load, &self.attached, &primary.attached, go_on)? {
            Carried::Proved(synced, digests) => (synced, digests),
            Carried::BadSource(_) => {
                strays.unread += 1;
                return Ok(());
            }
            Carried::BadReadBack => return Err(carry::lied(&primary.attached, load.from)),
            Carried::Stopped => return Ok(()),
        };
        let (by, received) = origin.get(&stray.hash).cloned().unwrap_or((String::new(), stray.mtime));
        let store = Store {
            path: free_path(primary, &stray.path)?,
            synced,
            digests: *digests,
            mtime: Some(stray.mtime),
            dated: stray.mtime,
            ctime: None,
            received: Some(received),
            expect: Expect::Absent,
            make_parents: true,
            by,
            only_adds: true,
            known: None,
        };
        if store.path.name() != stray.path.name() {
            log::warn!(
                "{} is taken: what another drive of the pool has is kept as {}",
                stray.path,
                store.path
            );
        }
        primary.submit(Change::Store(Box::new(store)), pool.now())?;
        strays.taken += 1;
        Ok(())
    }
}

/// People and devices that came to the former primary last. What the pool knows of stays as it is there.
fn take_accounts(
    pool: &Pool,
    primary: &Primary,
    people: BTreeMap<Slug, Option<PasswordHash>>,
    devices: BTreeMap<(Slug, Slug), (DeviceKind, TokenHash, bool)>,
) -> Result<(), Refusal> {
    let known = primary.catalogue.read(|r| r.devices())?;
    for (person, hash) in people {
        if !primary.catalogue.read(|r| r.has_person(&person))? {
            log::warn!("person {person} was known to another drive of the pool only");
            primary.submit(Change::Person { person: person.clone() }, pool.now())?;
            if hash.is_some() {
                primary.submit(Change::Password { person, hash }, pool.now())?;
            }
        }
    }
    for ((person, name), (kind, token, may)) in devices {
        let there = known.iter().any(|d| d.device.person == person && d.device.name == name);
        if may && !there {
            log::warn!("device {person}/{name} was known to another drive of the pool only");
            let device = Device { person, name, kind };
            primary.submit(Change::Device { device, token }, pool.now())?;
        }
    }
    pool.load_accounts(primary)
}

/// The name itself, or a free one beside it.
fn free_path(primary: &Primary, path: &RelPath) -> Result<RelPath, Refusal> {
    let found = primary
        .catalogue
        .read(|r| naming::free_path(path, |path| Ok(r.name(&path.fold_key())?.is_some())))?;
    found.ok_or(Refusal::Exists)
}
