//! Storing: an upload's nameless, durable bytes get their name, or are found to be here already.
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::copy::CopyState;
use crate::model::event::What;
use crate::model::hash::{Also, Digests, hex};
use crate::model::offer::Expect;
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::plan::placing::{Above, Existing, Misfit, Placement, Situation};
use crate::plan::shelving;
use crate::store::catalogue::copies::CopyRow;
use crate::store::catalogue::names::NameRow;
use crate::store::volume::{Stat, Synced, VolumeError};
use crate::work::commit::{Committer, Draft, Row};
use crate::work::error::Refusal;
use crate::work::ingest::Outcome;
use crate::work::primary::Primary;
use crate::work::reading;

/// An upload ready to be named.
pub(crate) struct Store {
    pub(crate) path: RelPath,
    pub(crate) synced: Box<dyn Synced>,
    pub(crate) digests: Digests,
    /// The modification time the client announced.
    pub(crate) mtime: Option<Timestamp>,
    /// The one the file was given.
    pub(crate) dated: Timestamp,
    /// When the client says that it was made.
    pub(crate) ctime: Option<Timestamp>,
    /// When it was received, if that was not now.
    pub(crate) received: Option<Timestamp>,
    pub(crate) expect: Expect,
    pub(crate) make_parents: bool,
    pub(crate) by: String,
    /// From a phone: it may bring other bytes, and takes nothing away.
    pub(crate) only_adds: bool,
    /// A file on the drive that was just read from the medium and has these very bytes.
    pub(crate) known: Option<Known>,
}

/// A file that was read from the medium a moment ago.
pub(crate) struct Known {
    place: Place,
    inode: u64,
}

/// Looks for the upload's bytes on the drive, where the catalogue says that they are: under the name itself, else under any.
/// What the drive does not give back from its medium, now, is not there: a success answer must not rest on what a row says
/// (promise P1). Read by the upload's own thread, so that nobody else's commit waits for it.
pub(crate) fn prove_known(
    primary: &Primary,
    path: &RelPath,
    digests: &Digests,
) -> Result<Option<Known>, Refusal> {
    let rows =
        primary.catalogue.read(|r| Ok((r.name(&path.fold_key())?, r.name_of_content(&digests.content)?)))?;
    let own = rows.0.filter(|row| row.hash == Some(digests.content));
    let Some(row) = own.or(rows.1) else { return Ok(None) };
    let (volume, place) = (&*primary.attached.volume, row.place());
    let proved = volume.stat(&place).and_then(|stat| {
        let found = reading::hash_medium(volume, &place, Also::default(), &mut || Ok(()))?;
        Ok((!stat.is_dir && found.content == digests.content).then_some(stat.inode))
    });
    match proved {
        Ok(inode) => Ok(inode.map(|inode| Known { place, inode })),
        Err(VolumeError::NotFound { .. }) => Ok(None),
        // Bytes that cannot be read are not these: the upload's own are here.
        Err(e) => primary.attached.file_only(e).map(|_| None).map_err(Refusal::Drive),
    }
}

/// How an old file was kept.
#[derive(PartialEq, Eq)]
pub(super) enum Kept {
    /// Under a second name; the first may be taken over.
    StillNamed,
    /// The filesystem has no links: under another name instead of the first.
    Moved,
    /// There was none.
    Nothing,
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::IsFolder => Self::IsAFolder,
            Misfit::NoParent => Self::NoParent,
            Misfit::ParentIsFile => Self::NotAFolder,
            Misfit::Changed => Self::Changed,
        }
    }
}

/// Where an upload's file belongs.
fn home(store: &Store, shelf: Shelf) -> Place {
    match shelf {
        Shelf::Photos => Place::photo(&store.path),
        Shelf::Scratch => Place::scratch(&store.digests.content),
    }
}

/// What the catalogue has under a name, in the terms of placing.
pub(crate) fn existing(row: Option<&NameRow>) -> Existing {
    match row {
        None => Existing::Nothing,
        Some(NameRow { hash: None, .. }) => Existing::Folder,
        Some(NameRow { hash: Some(hash), shelf, .. }) => Existing::File { hash: *hash, shelf: *shelf },
    }
}

impl Committer {
    pub(super) fn draft_store(&mut self, store: &mut Store, now: Timestamp) -> Result<Draft, Refusal> {
        let (above, spelled) = self.above(&store.path)?;
        let row = self.row(&store.path)?;
        // A name keeps the spelling it was first given.
        store.path = row.as_ref().map_or(spelled, |r| r.path.clone());
        if above == Above::Nothing {
            self.remember_spelling(&store.path);
        }
        let shelf = shelving::shelf(store.path.name(), store.digests.size);
        let situation = Situation {
            existing: existing(row.as_ref()),
            above,
            make_parents: store.make_parents,
            expect: &store.expect,
        };
        match situation.place(&store.digests.content, shelf)? {
            Placement::AlreadyHave => {
                if self.is_known(store, &home(store, shelf)) && !self.is_doubted(row.as_ref())? {
                    return self.unchanged(store, row.as_ref());
                }
                // The catalogue says yes and the drive says no: these bytes heal it. Received it was when it came first.
                store.received = store.received.or_else(|| row.as_ref().map(|row| row.received));
                let draft = self.store_new(store, shelf, now, Outcome::Unchanged)?;
                Ok(Draft { healed: true, ..draft })
            }
            Placement::Store => self.store_new(store, shelf, now, Outcome::Created),
            Placement::Supersede => self.store_new(store, shelf, now, Outcome::Replaced),
            Placement::Replace => self.store_over(store, shelf, now),
        }
    }

    fn is_there(&self, place: &Place, size: u64) -> bool {
        self.attached.volume.stat(place).is_ok_and(|s| !s.is_dir && s.size == size)
    }

    /// Whether this drive's copy of a name is known to be bad: then bytes that come once more are welcome.
    pub(super) fn is_doubted(&self, row: Option<&NameRow>) -> Result<bool, Refusal> {
        let Some(row) = row.filter(|row| row.shelf == Shelf::Photos) else { return Ok(false) };
        let copies = self.catalogue.read(|r| r.copies_of_name(row.id))?;
        let good = |c: &CopyRow| matches!(c.state, CopyState::Settled | CopyState::Verified);
        Ok(!copies.iter().any(|c| c.drive == self.attached.id() && good(c)))
    }

    fn store_new(
        &mut self,
        store: &mut Store,
        shelf: Shelf,
        now: Timestamp,
        outcome: Outcome,
    ) -> Result<Draft, Refusal> {
        let mut draft = Draft { name: Some(store.path.clone()), outcome: Some(outcome), ..Draft::default() };
        let to = home(store, shelf);
        let dir = to.parent().unwrap_or_else(Place::root);
        if shelf == Shelf::Scratch {
            self.publish_scratch(store, &to, &mut draft)?;
        } else if !self.link_known(store, &to, &mut draft.dirs)? {
            let named = self.within(&dir, &mut draft.dirs, || store.synced.publish(&to))?;
            match named {
                Ok(()) => {}
                Err(VolumeError::Exists { .. }) => self.meet_stranger(store, &to, &mut draft, now)?,
                Err(e) => return Err(self.heed(e)),
            }
        }
        draft.dirs.insert(dir);
        record(store, shelf, now, &mut draft);
        Ok(draft)
    }

    /// Nothing but perhaps its date.
    fn unchanged(&self, store: &Store, row: Option<&NameRow>) -> Result<Draft, Refusal> {
        let mut draft =
            Draft { name: Some(store.path.clone()), outcome: Some(Outcome::Unchanged), ..Draft::default() };
        let Some(row) = row else { return Ok(draft) };
        match store.mtime {
            Some(mtime) if mtime != row.mtime && row.shelf == Shelf::Photos => {
                self.date(row, mtime)?;
                draft.events.push(What::Touched { path: row.path.clone(), mtime });
            }
            Some(_) | None => {}
        }
        Ok(draft)
    }

    /// Gives a name's file its time. Before the record: a file that is ahead of it is found by the rescan and set back.
    pub(super) fn date(&self, row: &NameRow, mtime: Timestamp) -> Result<(), Refusal> {
        match self.attached.volume.set_mtime(&row.place(), mtime) {
            Ok(()) | Err(VolumeError::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.heed(e)),
        }
    }

    /// Whether the file at a place is the one that was read a moment ago, and found to be these bytes.
    fn is_known(&self, store: &Store, place: &Place) -> bool {
        let same = |known: &Known| {
            known.place == *place
                && self.attached.volume.stat(place).is_ok_and(|stat| {
                    stat.inode == known.inode && stat.size == store.digests.size && !stat.is_dir
                })
        };
        store.known.as_ref().is_some_and(same)
    }

    /// A file that is there under this hash may have spoiled since. It is nobody's photo: it makes room.
    fn publish_scratch(&mut self, store: &mut Store, to: &Place, draft: &mut Draft) -> Result<(), Refusal> {
        let dir = to.parent().unwrap_or_else(Place::root);
        let named = self.within(&dir, &mut draft.dirs, || store.synced.publish(to))?;
        draft.dirs.insert(dir);
        match named {
            Ok(()) => Ok(()),
            Err(VolumeError::Exists { .. }) if self.is_content(to, &store.digests)? => Ok(()),
            Err(VolumeError::Exists { .. }) => store.synced.publish_over(to).map_err(|e| self.heed(e)),
            Err(e) => Err(self.heed(e)),
        }
    }

    /// Whether the file at a place has these bytes on the medium, to stay: who wrote it, and whether he flushed it, is not known.
    pub(super) fn is_content(&self, place: &Place, digests: &Digests) -> Result<bool, Refusal> {
        let volume = &*self.attached.volume;
        if !self.is_there(place, digests.size) {
            return Ok(false);
        }
        let read = reading::hash_sound(volume, place, Also::default(), &mut || Ok(()));
        let same = |found: Option<Digests>| found.is_some_and(|found| found.content == digests.content);
        match read
            .and_then(|found| if same(found) { volume.sync_file(place).map(|()| true) } else { Ok(false) })
        {
            Ok(is_content) => Ok(is_content),
            // A socket, or a link: no bytes at all.
            Err(VolumeError::NotFound { .. }) => Ok(false),
            // Bytes that cannot be read are not these.
            Err(e) => self.attached.file_only(e).map(|_| false).map_err(Refusal::Drive),
        }
    }

    /// Equal content that is here under another name: a hard link instead of a second copy. `false`: not possible.
    fn link_known(&mut self, store: &Store, to: &Place, dirs: &mut BTreeSet<Place>) -> Result<bool, Refusal> {
        let Some(twin) = self.catalogue.read(|r| r.name_of_content(&store.digests.content))? else {
            return Ok(false);
        };
        if twin.path == store.path || !self.is_known(store, &twin.place()) {
            return Ok(false);
        }
        if self.is_doubted(Some(&twin))? {
            return Ok(false);
        }
        let from = Place::photo(&twin.path);
        let dir = to.parent().unwrap_or_else(Place::root);
        let volume = Arc::clone(&self.attached.volume);
        let linked = self.within(&dir, dirs, || volume.link(&from, to))?;
        match linked {
            Ok(()) => Ok(true),
            // Any other difficulty: the bytes are here and will be named themselves.
            Err(_) => Ok(false),
        }
    }

    /// The name is taken on the drive by a file the catalogue does not know: left by a crash before its commit, or put
    /// there by other hands. Equal bytes: it is taken over. Others: to the trash with it, as with any replaced file.
    fn meet_stranger(
        &mut self,
        store: &mut Store,
        to: &Place,
        draft: &mut Draft,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let volume = Arc::clone(&self.attached.volume);
        if volume.stat(to).is_ok_and(|s| s.is_dir) {
            return Err(Refusal::IsAFolder);
        }
        if self.is_content(to, &store.digests)? {
            return Ok(());
        }
        self.retire(&store.path.clone(), to, "foreign", &store.by.clone(), draft, now)?;
        store.synced.publish_over(to).map_err(|e| self.heed(e))
    }

    fn store_over(&mut self, store: &mut Store, shelf: Shelf, now: Timestamp) -> Result<Draft, Refusal> {
        // An empty file takes a photo's name away, and the right to that is its deletion's.
        if shelf == Shelf::Scratch && store.only_adds {
            let (name, outcome) = (Some(store.path.clone()), Some(Outcome::Unchanged));
            return Ok(Draft { name, outcome, ..Draft::default() });
        }
        if shelf == Shelf::Scratch {
            return self.placeholder_over_photo(store, now);
        }
        let mut draft =
            Draft { name: Some(store.path.clone()), outcome: Some(Outcome::Replaced), ..Draft::default() };
        let to = Place::photo(&store.path);
        let path = store.path.clone();
        // What is put back as it was is put back by a person, and not by the device that once sent it.
        let by = if store.received.is_some() { String::new() } else { store.by.clone() };
        let still_named = self.retire(&path, &to, "replaced", &by, &mut draft, now)?;
        let dir = to.parent().unwrap_or_else(Place::root);
        let named = self.within(&dir, &mut draft.dirs, || {
            if still_named { store.synced.publish_over(&to) } else { store.synced.publish(&to) }
        })?;
        named.map_err(|e| self.heed(e))?;
        draft.dirs.insert(dir);
        record(store, shelf, now, &mut draft);
        Ok(draft)
    }

    /// An empty file over a photo (editors and Finder do this before they write): the photo goes to the trash under
    /// its name, the placeholder to scratch.
    fn placeholder_over_photo(&mut self, store: &mut Store, now: Timestamp) -> Result<Draft, Refusal> {
        let mut draft =
            Draft { name: Some(store.path.clone()), outcome: Some(Outcome::Replaced), ..Draft::default() };
        let photo = Place::photo(&store.path);
        let (to, dirs) = self.trash_place(&store.path.clone(), now)?;
        let to = match self.attached.volume.rename_new(&photo, &to) {
            Ok(()) => {
                draft.dirs.extend(photo.parent());
                to.as_str().to_owned()
            }
            Err(VolumeError::NotFound { .. }) => String::new(),
            Err(e) => return Err(self.heed(e)),
        };
        draft.dirs.extend(dirs);
        self.publish_scratch(store, &home(store, Shelf::Scratch), &mut draft)?;
        draft.events.push(What::Trashed {
            path: store.path.clone(),
            to,
            by: store.by.clone(),
            why: "deleted".to_owned(),
        });
        record(store, Shelf::Scratch, now, &mut draft);
        Ok(draft)
    }

    /// Gives the file at `from` a durable second name in the trash. `true`: it still has its first name, which may now
    /// be taken over; `false`: the filesystem has no links and the file was moved.
    ///
    /// The flushes come here and not with the batch: the new file may take the name only when a power cut can no
    /// longer take away the old one's name in the trash.
    fn retire(
        &mut self,
        path: &RelPath,
        from: &Place,
        why: &str,
        by: &str,
        draft: &mut Draft,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let (to, dirs) = self.trash_place(path, now)?;
        let kept = self.keep_as(from, &to, dirs, draft)?;
        if kept != Kept::Nothing {
            draft.events.push(What::Trashed {
                path: path.clone(),
                to: to.as_str().to_owned(),
                by: by.to_owned(),
                why: why.to_owned(),
            });
        }
        Ok(kept == Kept::StillNamed)
    }

    /// Gives the file at `from` the name `to`, durably; `dirs` are to be flushed for it. See [`Committer::retire`].
    pub(super) fn keep_as(
        &mut self,
        from: &Place,
        to: &Place,
        mut dirs: BTreeSet<Place>,
        draft: &mut Draft,
    ) -> Result<Kept, Refusal> {
        let volume = Arc::clone(&self.attached.volume);
        let linked = match volume.link(from, to) {
            Err(VolumeError::Unsupported { .. }) => {
                dirs.extend(from.parent());
                volume.rename_new(from, to).map(|()| Kept::Moved)
            }
            other => other.map(|()| Kept::StillNamed),
        };
        let kept = match linked {
            Ok(kept) => kept,
            // Nothing there to keep: the name is free.
            Err(VolumeError::NotFound { .. }) => {
                draft.dirs.extend(to.parent());
                return Ok(Kept::Nothing);
            }
            Err(e) => return Err(self.heed(e)),
        };
        for dir in &dirs {
            volume.sync_dir(dir).map_err(|e| self.heed(e))?;
        }
        Ok(kept)
    }

    /// A free place in today's trash whose directory exists, and the directories to flush for it.
    pub(super) fn trash_place(
        &mut self,
        path: &RelPath,
        now: Timestamp,
    ) -> Result<(Place, BTreeSet<Place>), Refusal> {
        let serial = self.manifest.position().seq + 1;
        self.directories.trash_place(path, serial, now).map_err(|e| self.heed(e))
    }

    pub(super) fn draft_adopt(
        &mut self,
        path: &RelPath,
        digests: &Digests,
        mtime: Timestamp,
        now: Timestamp,
    ) -> Result<Draft, Refusal> {
        if self.row(path)?.is_some() {
            return Err(Refusal::Exists);
        }
        let place = Place::photo(path);
        // What other hands wrote is durable only when we have flushed it, the directories above included.
        match self.attached.volume.sync_file(&place) {
            Ok(()) => {}
            Err(VolumeError::NotFound { .. }) => return Err(Refusal::NotFound),
            Err(e) => return Err(self.heed(e)),
        }
        let mut draft = Draft { name: Some(path.clone()), ..Draft::default() };
        let dir = place.parent().unwrap_or_else(Place::root);
        self.ensure(&dir, &mut draft.dirs)?;
        draft.dirs.insert(dir);
        match self.other_end(&place, digests)? {
            // Renamed by other hands, or by a crash between a rename and its record: the name moves, with all its history.
            Some(row) if row.shelf == Shelf::Photos => {
                self.claimed.insert(row.id);
                draft.rows.push(Row::Settled { name: row.id });
                draft.events.push(What::Moved { path: row.path, to: path.clone(), by: String::new() });
            }
            // The end of an upload under a temporary name, cut before its record.
            Some(row) => {
                self.claimed.insert(row.id);
                draft.events.push(renamed_from(&row, path, digests, row.by.clone(), now));
            }
            None => draft.events.push(stored(path, digests, (mtime, None), String::new(), now)),
        }
        Ok(draft)
    }

    /// The old bytes are gone from this drive, where other hands wrote over them. The other drives have them until their time
    /// to leave comes, and in their trash after that.
    pub(super) fn draft_edited(
        &mut self,
        path: &RelPath,
        digests: &Digests,
        seen: Stat,
        now: Timestamp,
    ) -> Result<Draft, Refusal> {
        let row = self.row(path)?.ok_or(Refusal::NotFound)?;
        let place = row.place();
        let there = self.attached.volume.stat(&place);
        let same = row.path == *path && row.shelf == Shelf::Photos && there.is_ok_and(|stat| stat == seen);
        if !same || row.hash.is_none_or(|hash| hash == digests.content) {
            return Err(Refusal::Changed);
        }
        self.attached.volume.sync_file(&place).map_err(|e| self.heed(e))?;
        let mut draft = Draft { name: Some(row.path.clone()), ..Draft::default() };
        let dir = place.parent().unwrap_or_else(Place::root);
        self.ensure(&dir, &mut draft.dirs)?;
        draft.dirs.insert(dir);
        let gone = |why: &str| {
            let (to, by, why) = (String::new(), String::new(), why.to_owned());
            What::Trashed { path: row.path.clone(), to, by, why }
        };
        // Another photo was renamed over it: that one has its name now.
        if let Some(from) = self.other_end(&place, digests)?.filter(|from| from.shelf == Shelf::Photos) {
            draft.rows.push(Row::Settled { name: from.id });
            draft.events.push(gone("deleted"));
            draft.events.push(What::Moved { path: from.path, to: row.path.clone(), by: String::new() });
            return Ok(draft);
        }
        draft.events.push(gone("replaced"));
        draft.events.push(stored(&row.path, digests, (seen.mtime, None), String::new(), now));
        Ok(draft)
    }

    /// Where a file without a row came from, if it was renamed: a name with its content whose file is not there any more, or
    /// the temporary name whose file it is a link of. Of two uploads of the same bytes nobody can tell whose it is.
    fn other_end(&self, place: &Place, digests: &Digests) -> Result<Option<NameRow>, Refusal> {
        let volume = &*self.attached.volume;
        let mut holders = self.catalogue.read(|r| r.holders_of_content(&digests.content))?;
        holders.retain(|row| !self.claimed.contains(&row.id));
        let gone = |row: &NameRow| matches!(volume.stat(&row.place()), Err(VolumeError::NotFound { .. }));
        if let Some(at) = holders.iter().position(gone) {
            return Ok(Some(holders.swap_remove(at)));
        }
        holders.retain(|row| row.shelf == Shelf::Scratch);
        let inode = volume.stat(place).map_err(|e| self.heed(e))?.inode;
        match (holders.pop(), holders.is_empty()) {
            (Some(row), true) if volume.stat(&row.place()).is_ok_and(|s| s.inode == inode) => Ok(Some(row)),
            (Some(_) | None, _) => Ok(None),
        }
    }
}

fn record(store: &Store, shelf: Shelf, now: Timestamp, draft: &mut Draft) {
    let (mtime, times) = (store.dated, (store.dated, store.ctime));
    match shelf {
        Shelf::Photos => {
            let received = store.received.unwrap_or(now);
            draft.events.push(stored(&store.path, &store.digests, times, store.by.clone(), received));
        }
        Shelf::Scratch => draft.rows.push(Row::Scratch {
            path: store.path.clone(),
            hash: store.digests.content,
            size: store.digests.size,
            mtime,
            by: store.by.clone(),
        }),
    }
}

/// The event of content that got a name. With when it was changed, and made, as its client says.
pub(crate) fn stored(
    path: &RelPath,
    digests: &Digests,
    (mtime, ctime): (Timestamp, Option<Timestamp>),
    by: String,
    received: Timestamp,
) -> What {
    What::Stored {
        path: path.clone(),
        hash: digests.content,
        size: digests.size,
        mtime,
        ctime,
        by,
        received,
        was: None,
        sha1: digests.sha1.map(|h| hex(&h)),
        sha256: digests.sha256.map(|h| hex(&h)),
    }
}

/// The event of a scratch file that became a photo.
pub(crate) fn renamed_from(
    scratch: &NameRow,
    to: &RelPath,
    digests: &Digests,
    by: String,
    now: Timestamp,
) -> What {
    let mut event = stored(to, digests, (scratch.mtime, scratch.ctime), by, now);
    if let What::Stored { was, .. } = &mut event {
        *was = Some(scratch.path.clone());
    }
    event
}
