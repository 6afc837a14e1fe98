//! The changes that can be made on the primary, one at a time, each drafted here and committed by `commit.rs`.
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::model::account::{Device, DeviceKind, Slug, TokenHash};
use crate::model::copy::CopyState;
use crate::model::drive::DriveId;
use crate::model::event::{Answer, What};
use crate::model::hash::{ContentHash, Digests};
use crate::model::password::PasswordHash;
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::plan::placing::Above;
use crate::store::catalogue::copies::CopyRow;
use crate::store::catalogue::names::NameRow;
use crate::store::volume::{Stat, VolumeError};
use crate::work::commit::{Committer, Draft, Row};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::ingest::Outcome;
use crate::work::tree::PropertyChange;

mod heal;
mod replaced;
mod store;
mod tree;

pub(crate) use heal::Heal;
pub(crate) use store::{Store, existing, prove_known, stored};

/// A change on the primary.
pub(crate) enum Change {
    /// An upload whose bytes are durable and nameless.
    Store(Box<Store>),
    /// A file other hands put on the drive.
    Adopt { path: RelPath, digests: Digests, mtime: Timestamp },
    /// A file of a known name that other hands wrote anew: its bytes, and what it looked like when they were read.
    Edited { path: RelPath, digests: Digests, seen: Stat },
    /// A folder.
    Folder { path: RelPath, parents: bool },
    /// Another name for a file or folder; the target is free.
    Rename { by: Device, from: RelPath, to: RelPath },
    /// A second name for a file's content; the target is free.
    Link { by: Device, from: RelPath, to: RelPath },
    /// To the trash.
    Trash { by: Device, path: RelPath },
    /// A file's modification time.
    Touch { path: RelPath, mtime: Timestamp },
    /// Dead properties.
    Properties { path: RelPath, changes: Vec<PropertyChange> },
    /// A replacement that a crash cut off between taking the name over and its record: `to` is the old file in the trash.
    RecordReplaced { path: RelPath, to: Place },
    /// An empty folder that is not on the drive any more.
    Forget { path: RelPath },
    /// A scratch name nobody came back for.
    DropScratch { path: RelPath, older_than: Timestamp },
    /// Scratch files that no name has any more.
    SweepScratch,
    /// Names whose files are gone from the drive: a person said that they were meant to go.
    LetGo { names: Vec<RelPath> },
    /// A person's answer for all that was changed or vanished so far.
    Answer { answer: Answer },
    /// A damaged copy made anew from a good one.
    Heal(Box<Heal>),
    /// What reading the primary's own copies back from the medium showed.
    Proofs { proofs: Vec<What> },
    /// A person.
    Person { person: Slug },
    /// What a person may use at most.
    Quota { person: Slug, bytes: Option<u64> },
    /// What a person signs in with on the login page.
    Password { person: Slug, hash: Option<PasswordHash> },
    /// A device and its folder.
    Device { device: Device, token: TokenHash },
    /// A device may no longer sign in.
    Revoke { person: Slug, device: Slug },
    /// A drive is used no more.
    Retire { drive: DriveId },
}

impl Change {
    /// For uploads: the fold key of the name. Uploads to different names may share a commit.
    pub(crate) fn upload_fold(&self) -> Option<String> {
        match self {
            Self::Store(store) => Some(store.path.fold_key()),
            Self::Adopt { path, .. } => Some(path.fold_key()),
            Self::Folder { .. }
            | Self::Edited { .. }
            | Self::Rename { .. }
            | Self::Link { .. }
            | Self::Trash { .. }
            | Self::Touch { .. }
            | Self::Properties { .. }
            | Self::Proofs { .. }
            | Self::Heal(_)
            | Self::DropScratch { .. }
            | Self::Forget { .. }
            | Self::LetGo { .. }
            | Self::Answer { .. }
            | Self::SweepScratch
            | Self::RecordReplaced { .. }
            | Self::Person { .. }
            | Self::Retire { .. }
            | Self::Quota { .. }
            | Self::Password { .. }
            | Self::Device { .. }
            | Self::Revoke { .. } => None,
        }
    }

    /// What must be left on the drive before it is begun. What touches photos or the trash before it is recorded would be half made
    /// without its record. The others write lines or rows, and nothing before them; of these, what makes room or shuts a
    /// lost phone out is tried on whatever is left.
    pub(crate) fn needs(
        &self,
        is_scratch: impl FnOnce(&RelPath) -> Result<bool, Refusal>,
    ) -> Result<Needs, Refusal> {
        match self {
            Self::Trash { path, .. } => Ok(if is_scratch(path)? { Needs::Nothing } else { Needs::Record }),
            Self::Store(_)
            | Self::Adopt { .. }
            | Self::Edited { .. }
            | Self::Folder { .. }
            | Self::Rename { .. }
            | Self::Link { .. }
            | Self::Touch { .. }
            | Self::RecordReplaced { .. }
            | Self::Heal(_)
            | Self::Device { .. } => Ok(Needs::Record),
            Self::Properties { .. }
            | Self::Forget { .. }
            | Self::LetGo { .. }
            | Self::Answer { .. }
            | Self::Proofs { .. }
            | Self::Person { .. }
            | Self::Quota { .. }
            | Self::Password { .. }
            | Self::Retire { .. } => Ok(Needs::Note),
            Self::DropScratch { .. } | Self::SweepScratch | Self::Revoke { .. } => Ok(Needs::Nothing),
        }
    }
}

/// What must be left before a change is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// [`Space::to_record`](crate::model::drive::Space::to_record).
    Record,
    /// [`Space::to_note`](crate::model::drive::Space::to_note).
    Note,
    /// It is tried.
    Nothing,
}

impl Committer {
    /// Puts a change's files in place and says what must become durable for it.
    pub(crate) fn draft(&mut self, change: &mut Change, now: Timestamp) -> Result<Draft, Refusal> {
        match change {
            Change::Store(store) => self.draft_store(store, now),
            Change::Adopt { path, digests, mtime } => self.draft_adopt(path, digests, *mtime, now),
            Change::Edited { path, digests, seen } => self.draft_edited(path, digests, *seen, now),
            Change::Folder { path, parents } => self.draft_folder(path, *parents),
            Change::Rename { by, from, to } => self.draft_rename(by, from, to, now),
            Change::Link { by, from, to } => self.draft_link(by, from, to, now),
            Change::Trash { by, path } => self.draft_trash(by, path, now),
            Change::Touch { path, mtime } => self.draft_touch(path, *mtime),
            Change::Properties { path, changes } => self.draft_properties(path, changes),
            Change::RecordReplaced { path, to } => self.draft_record_replaced(path, to, now),
            Change::SweepScratch => self.sweep_scratch(),
            Change::Forget { path } => self.draft_forget(path),
            Change::DropScratch { path, older_than } => self.draft_drop_scratch(path, *older_than),
            Change::LetGo { names } => self.draft_let_go(names),
            Change::Answer { answer } => Ok(Draft::of(vec![What::Answered { answer: *answer }])),
            Change::Heal(heal) => self.draft_heal(heal, now),
            Change::Proofs { proofs } => Ok(Draft::of(std::mem::take(proofs))),
            Change::Person { person } => {
                Ok(Draft::of(vec![What::Person { person: person.clone(), since: None }]))
            }
            Change::Retire { drive } => Ok(Draft::of(vec![What::Retired { drive: *drive, since: None }])),
            Change::Quota { person, bytes } => {
                Ok(Draft::of(vec![What::Quota { person: person.clone(), bytes: *bytes }]))
            }
            Change::Password { person, hash } => {
                Ok(Draft::of(vec![What::Password { person: person.clone(), hash: hash.clone() }]))
            }
            Change::Device { device, token } => self.draft_device(device, *token),
            Change::Revoke { person, device } => {
                let (person, device) = (person.clone(), device.clone());
                Ok(Draft::of(vec![What::Revoked { person, device, since: None }]))
            }
        }
    }

    fn draft_device(&mut self, device: &Device, token: TokenHash) -> Result<Draft, Refusal> {
        let own = Device { kind: DeviceKind::Phone, ..device.clone() }.root();
        let root = if device.kind == DeviceKind::Phone { own } else { device.root() };
        let mut draft = match self.draft_folder(&root, true) {
            Ok(draft) => draft,
            Err(Refusal::Exists) => Draft::default(),
            Err(other) => return Err(other),
        };
        draft.name = None;
        draft.events.push(What::Device {
            person: device.person.clone(),
            device: device.name.clone(),
            kind: device.kind,
            token,
            since: None,
        });
        Ok(draft)
    }

    fn draft_forget(&self, path: &RelPath) -> Result<Draft, Refusal> {
        let row = self.need(path)?;
        let place = Place::photo(&row.path);
        let gone = matches!(self.attached.volume.stat(&place), Err(VolumeError::NotFound { .. }));
        let empty = self.catalogue.read(|r| r.children(&row.path.fold_key(), "", 1))?.is_empty();
        if row.hash.is_some() || !gone || !empty {
            return Ok(Draft::default());
        }
        let (by, why) = (String::new(), "gone".to_owned());
        Ok(Draft::of(vec![What::Trashed { path: row.path, to: String::new(), by, why }]))
    }

    /// Those that are still gone, and known to be.
    fn draft_let_go(&self, names: &[RelPath]) -> Result<Draft, Refusal> {
        let mut draft = Draft::default();
        for path in names {
            let Some(row) = self.row(path)?.filter(|row| row.hash.is_some()) else { continue };
            let copies = self.catalogue.read(|r| r.copies_of_name(row.id))?;
            let missing = |c: &CopyRow| c.drive == self.attached.id() && c.state == CopyState::Missing;
            match self.attached.volume.stat(&row.place()) {
                Err(VolumeError::NotFound { .. }) if copies.iter().any(missing) => {}
                Ok(_) | Err(VolumeError::NotFound { .. }) => continue,
                Err(e) => return Err(self.heed(e)),
            }
            let (to, by, why) = (String::new(), String::new(), "deleted".to_owned());
            draft.events.push(What::Trashed { path: row.path, to, by, why });
        }
        Ok(draft)
    }

    /// In the committer's turn, so that no upload can be between its file and its row.
    fn sweep_scratch(&self) -> Result<Draft, Refusal> {
        let volume = &self.attached.volume;
        for entry in volume.list(&Place::scratches()).map_err(|e| self.heed(e))? {
            let Some(hash) = entry.name.as_deref().and_then(|n| n.parse::<ContentHash>().ok()) else {
                continue;
            };
            if !self.catalogue.read(|r| r.is_in_scratch(&hash))? {
                volume.discard(&Place::scratch(&hash)).map_err(|e| self.heed(e))?;
            }
        }
        Ok(Draft::default())
    }

    fn draft_drop_scratch(&self, path: &RelPath, older_than: Timestamp) -> Result<Draft, Refusal> {
        let row = self.need(path)?;
        // Written again since it was listed: it stays.
        if row.shelf != Shelf::Scratch || row.received >= older_than {
            return Ok(Draft::default());
        }
        Ok(Draft { rows: vec![Row::DropScratch { fold: row.path.fold_key() }], ..Draft::default() })
    }

    fn draft_touch(&self, path: &RelPath, mtime: Timestamp) -> Result<Draft, Refusal> {
        let row = self.need(path)?;
        if row.shelf == Shelf::Scratch {
            let hash = row.hash.ok_or(Refusal::IsAFolder)?;
            let row = Row::Scratch { path: row.path, hash, size: row.size, mtime, by: row.by };
            return Ok(Draft { rows: vec![row], name: Some(path.clone()), ..Draft::default() });
        }
        if row.hash.is_some() {
            self.date(&row, mtime)?;
        }
        let mut draft = Draft::of(vec![What::Touched { path: row.path.clone(), mtime }]);
        draft.name = Some(row.path);
        draft.outcome = Some(Outcome::Unchanged);
        Ok(draft)
    }

    fn draft_properties(&self, path: &RelPath, changes: &[PropertyChange]) -> Result<Draft, Refusal> {
        let row = self.need(path)?;
        let rows = changes
            .iter()
            .map(|change| match change {
                PropertyChange::Set(p) => Row::Property {
                    name: row.id,
                    namespace: p.namespace.clone(),
                    local: p.name.clone(),
                    xml: Some(p.xml.clone()),
                },
                PropertyChange::Remove { namespace, name } => Row::Property {
                    name: row.id,
                    namespace: namespace.clone(),
                    local: name.clone(),
                    xml: None,
                },
            })
            .collect();
        Ok(Draft { rows, name: Some(row.path), outcome: Some(Outcome::Unchanged), ..Draft::default() })
    }

    /// What is under a name.
    pub(crate) fn row(&self, path: &RelPath) -> Result<Option<NameRow>, Refusal> {
        Ok(self.catalogue.read(|r| r.name(&path.fold_key()))?)
    }

    fn need(&self, path: &RelPath) -> Result<NameRow, Refusal> {
        self.row(path)?.ok_or(Refusal::NotFound)
    }

    /// What is above a name, and the name in the spelling its folder already has.
    fn above(&self, path: &RelPath) -> Result<(Above, RelPath), Refusal> {
        let Some(parent) = path.parent() else { return Ok((Above::Folder, path.clone())) };
        match self.row(&parent)? {
            Some(row) if row.hash.is_some() => Ok((Above::File, path.clone())),
            Some(row) => {
                let spelled = row.path.child(path.name()).map_err(|_| Refusal::NoParent)?;
                Ok((Above::Folder, spelled))
            }
            None => {
                // Higher folders may exist in another spelling, or a file may stand in the way.
                let (above, parent) = match self.new_folders.get(&parent.fold_key()) {
                    Some(spelled) => (Above::Nothing, spelled.clone()),
                    None => self.above(&parent)?,
                };
                let spelled = parent.child(path.name()).map_err(|_| Refusal::NoParent)?;
                Ok((if above == Above::File { Above::File } else { Above::Nothing }, spelled))
            }
        }
    }

    /// Folders that a change of this batch makes: another change of the batch may spell them otherwise, and the catalogue
    /// does not know them yet.
    fn remember_spelling(&mut self, path: &RelPath) {
        for folder in path.ancestors() {
            self.new_folders.entry(folder.fold_key()).or_insert(folder);
        }
    }

    /// Makes directories; a file in the way is the client's problem, not the drive's.
    pub(crate) fn ensure(&mut self, dir: &Place, dirs: &mut BTreeSet<Place>) -> Result<(), Refusal> {
        self.directories.ensure(dir, dirs).map_err(|e| not_a_folder(&self.attached, e))
    }

    /// Runs an operation in a directory that is made first; the inner error is the operation's.
    pub(crate) fn within<T>(
        &mut self,
        dir: &Place,
        dirs: &mut BTreeSet<Place>,
        operation: impl FnMut() -> Result<T, VolumeError>,
    ) -> Result<Result<T, VolumeError>, Refusal> {
        self.directories.within(dir, dirs, operation).map_err(|e| not_a_folder(&self.attached, e))
    }

    pub(crate) fn heed(&self, error: VolumeError) -> Refusal {
        Refusal::Drive(self.attached.heed(error))
    }
}

fn not_a_folder(attached: &Attached, error: VolumeError) -> Refusal {
    match error {
        VolumeError::Exists { .. } | VolumeError::NotFound { .. } => Refusal::NotAFolder,
        other @ (VolumeError::Full { .. }
        | VolumeError::Gone { .. }
        | VolumeError::ReadOnly { .. }
        | VolumeError::NotEmpty { .. }
        | VolumeError::Unsupported { .. }
        | VolumeError::Io { .. }) => Refusal::Drive(attached.heed(other)),
    }
}

impl Draft {
    pub(crate) fn of(events: Vec<What>) -> Self {
        Self { events, ..Self::default() }
    }
}
