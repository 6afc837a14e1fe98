//! The tree a device sees: finding, listing, reading, and the changes it may make. Blocking; answered from the catalogue.
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::account::{Device, Slug};
use crate::model::copy::CopyState;
use crate::model::drive::PoolId;
use crate::model::hash::ContentHash;
use crate::model::media::Media;
use crate::model::offer::{Expect, Offer};
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::store::catalogue::names::{NameRow, PropertyRow};
use crate::store::volume::{ReadAt, Stat, VolumeError};
use crate::work::changes::Change;
use crate::work::commit::Done;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::ingest::{Ingest, Outcome};
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::pool::{Pool, Wake};
use crate::work::primary::Primary;
use crate::work::sums::Sums;

/// A file or folder under a name. Paths are full, below `photos/`; the face cuts the device's root off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Row id, stable across renames: the basis of file ids.
    pub id: i64,
    /// Full name.
    pub path: RelPath,
    /// File or folder.
    pub kind: NodeKind,
    /// Modification time: the client's for files, of the last change below for folders.
    pub mtime: Timestamp,
    /// When the client says that it was made.
    pub ctime: Option<Timestamp>,
    /// When the box got it.
    pub created: Timestamp,
    /// Of a folder: differs after every change of anything below it.
    pub changed: i64,
    /// Which tree it lies in.
    pub shelf: Shelf,
}

/// File or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A file.
    File {
        /// Its content.
        hash: ContentHash,
        /// Bytes.
        size: u64,
    },
    /// A folder.
    Folder,
}

/// A copy on another drive than the primary, open.
type Elsewhere = (Arc<Attached>, Box<dyn ReadAt>);

/// A file on a drive; from where it cannot be read on the primary, a copy on another drive is read on.
struct Reading {
    reader: Box<dyn ReadAt>,
    drive: Arc<Attached>,
    tree: Tree,
    node: Node,
    /// Until it was turned to another drive.
    begun_on: Option<Arc<Primary>>,
}

impl Reading {
    /// The copy is read again by others, and healed; whoever asks for it meanwhile gets another.
    fn doubt(&self, error: &VolumeError) {
        if self.node.shelf == Shelf::Photos {
            self.tree.pool.doubt(&self.drive, self.node.id, error);
        }
    }
}

impl ReadAt for Reading {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
        let error = match self.reader.read_at(buf, offset) {
            Err(error) => error,
            read => return read,
        };
        self.doubt(&error);
        let Some(primary) = self.begun_on.take() else { return Err(error) };
        let Ok(Some((drive, reader))) = self.tree.open_elsewhere(&primary, &self.node) else {
            return Err(error);
        };
        log::warn!("{}: read on from another drive: {error}", Place::photo(&self.node.path).as_str());
        (self.drive, self.reader) = (drive, reader);
        self.reader.read_at(buf, offset).inspect_err(|error| self.doubt(error))
    }

    fn read_cached(&mut self, buf: &mut [u8], offset: u64) -> usize {
        self.reader.read_cached(buf, offset)
    }

    fn descriptor(&self) -> Option<OwnedFd> {
        self.reader.descriptor()
    }
}

impl Node {
    fn place(&self) -> Place {
        match (self.shelf, &self.kind) {
            (Shelf::Scratch, NodeKind::File { hash, .. }) => Place::scratch(hash),
            (Shelf::Scratch, NodeKind::Folder) | (Shelf::Photos, _) => Place::photo(&self.path),
        }
    }
}

/// A dead property: stored for the client, without meaning to us (RFC 4918 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// XML namespace; may be empty.
    pub namespace: String,
    /// Local name.
    pub name: String,
    /// The whole element as XML text, as it is to be written back.
    pub xml: String,
}

/// One step of a PROPPATCH, in document order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyChange {
    /// Set or replace.
    Set(Property),
    /// Remove; no error if absent.
    Remove {
        /// XML namespace.
        namespace: String,
        /// Local name.
        name: String,
    },
}

/// Which details of files are looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About {
    /// Dead properties.
    pub properties: bool,
    /// SHA-1, where it is known.
    pub sha1: bool,
    /// What the bytes say of themselves.
    pub media: bool,
    /// How many bytes lie below a folder.
    pub sizes: bool,
}

/// Details of a file or folder: those that were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// Dead properties.
    pub properties: Vec<Property>,
    /// SHA-1, lower-case hex.
    pub sha1: Option<String>,
    /// What the bytes say of themselves; `None` also where they were not read yet.
    pub media: Option<Media>,
    /// Bytes below a folder.
    pub below: Option<u64>,
}

/// The tree.
#[derive(Clone)]
pub struct Tree {
    pool: Arc<Pool>,
    sums: Arc<Sums>,
}

impl From<NameRow> for Node {
    fn from(row: NameRow) -> Self {
        let kind = match row.hash {
            Some(hash) => NodeKind::File { hash, size: row.size },
            None => NodeKind::Folder,
        };
        Self {
            id: row.id,
            path: row.path,
            kind,
            mtime: row.mtime,
            ctime: row.ctime,
            created: row.received,
            changed: row.changed,
            shelf: row.shelf,
        }
    }
}

impl Tree {
    /// The tree of a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool, sums: Arc::default() }
    }

    /// Whose tree it is.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The pool, and how often another drive took the main drive's place in it.
    pub fn identity(&self) -> Result<(PoolId, u64), Refusal> {
        let primary = self.pool.primary()?;
        Ok((primary.attached.marker.pool, primary.attached.marker.generation))
    }

    /// What is under `path`; case- and normalisation-blind.
    pub fn find(&self, path: &RelPath) -> Result<Option<Node>, Refusal> {
        let primary = self.pool.proved_primary()?;
        Ok(primary.catalogue.read(|r| r.name(&path.fold_key()))?.map(Node::from))
    }

    /// What has this row id.
    pub fn find_by_id(&self, id: i64) -> Result<Option<Node>, Refusal> {
        let primary = self.pool.proved_primary()?;
        Ok(primary.catalogue.read(|r| r.name_by_id(id))?.map(Node::from))
    }

    /// Up to `limit` children of a folder in name order, starting after the fold key `after`.
    pub fn list(&self, folder: &RelPath, after: Option<&str>, limit: usize) -> Result<Vec<Node>, Refusal> {
        let primary = self.pool.proved_primary()?;
        let (parent, after) = (folder.fold_key(), after.unwrap_or_default());
        let rows = primary.catalogue.read(|r| r.children(&parent, after, limit))?;
        Ok(rows.into_iter().map(Node::from).collect())
    }

    /// Opens a file for reading; a copy on another drive serves where the primary's is damaged or in doubt, cannot be opened, or not
    /// read to its end. `NotFound` where the name went while this looked; `Damaged` where no drive has it whole.
    pub fn open(&self, node: &Node) -> Result<Box<dyn ReadAt>, Refusal> {
        let primary = self.pool.primary()?;
        let (id, volume) = (primary.attached.id(), &primary.attached.volume);
        let damaged = primary.catalogue.read(|r| r.is_damaged(node.id, id))?;
        let begin = |drive: Arc<Attached>, reader, begun_on| -> Box<dyn ReadAt> {
            Box::new(Reading { reader, drive, tree: self.clone(), node: node.clone(), begun_on })
        };
        if (damaged || self.pool.is_doubted(id, node.id))
            && let Some((drive, reader)) = self.open_elsewhere(&primary, node)?
        {
            return Ok(begin(drive, reader, None));
        }
        let same = |stat: Stat| matches!(node.kind, NodeKind::File { size, .. } if size == stat.size);
        let failed = if damaged {
            None
        } else {
            match volume.stat(&node.place()).and_then(|stat| Ok((stat, volume.open(&node.place())?))) {
                Ok((stat, reader)) if same(stat) => {
                    return Ok(begin(Arc::clone(&primary.attached), reader, Some(primary)));
                }
                // Bytes that nobody has hashed are not sent as if they were the photo.
                Ok(_) => None,
                Err(e) => Some(e),
            }
        };
        if let Some((drive, reader)) = self.open_elsewhere(&primary, node)? {
            if let (Some(error), Shelf::Photos) = (&failed, node.shelf) {
                self.pool.doubt(&primary.attached, node.id, error);
            }
            return Ok(begin(drive, reader, None));
        }
        Err(match failed {
            None if damaged => self.damaged(&primary, node)?,
            // Between the look at the catalogue and the one at the drive a rename was recorded: the name is free, and to ask a
            // client to come again for it would be untrue.
            Some(VolumeError::NotFound { .. }) if self.find(&node.path)?.is_none() => Refusal::NotFound,
            Some(error) => {
                if matches!(error, VolumeError::NotFound { .. }) {
                    self.pool.wake(Wake::Rescan);
                }
                Refusal::Drive(primary.attached.heed(error))
            }
            None => {
                self.pool.wake(Wake::Rescan);
                let why = "another program has changed this file, and it has not been read yet".to_owned();
                Refusal::Unavailable { why }
            }
        })
    }

    /// Why a file whose copy on the primary is damaged cannot be read: a good one may only be away, or not be read back yet.
    fn damaged(&self, primary: &Primary, node: &Node) -> Result<Refusal, Refusal> {
        let copies = primary.catalogue.read(|r| r.copies_of_name(node.id))?;
        let hope = copies.iter().any(|c| match c.state {
            CopyState::Settled | CopyState::Verified => {
                matches!(node.kind, NodeKind::File { hash, .. } if hash == c.hash)
            }
            CopyState::Wanted | CopyState::Missing | CopyState::Damaged => false,
        });
        Ok(if hope {
            Refusal::Unavailable {
                why: "it is damaged, and the drive with the good copy cannot be read".to_owned(),
            }
        } else {
            Refusal::Damaged
        })
    }

    /// The same content on another drive.
    fn open_elsewhere(&self, primary: &Primary, node: &Node) -> Result<Option<Elsewhere>, Refusal> {
        let copies = primary.catalogue.read(|r| r.copies_of_name(node.id))?;
        for copy in copies {
            let same = matches!(node.kind, NodeKind::File { hash, .. } if hash == copy.hash);
            let good =
                same && matches!(copy.state, CopyState::Verified) && copy.drive != primary.attached.id();
            let good = good && !self.pool.is_doubted(copy.drive, node.id);
            if let (true, Some(other)) = (good, self.pool.attached(copy.drive))
                && let Ok(reader) = other.volume.open(&Place::photo(&copy.at))
            {
                return Ok(Some((other, reader)));
            }
        }
        Ok(None)
    }

    fn submit(&self, change: Change) -> Result<Done, Refusal> {
        let primary = self.pool.primary()?;
        primary.attached.takes_changes().map_err(|why| Refusal::Unavailable { why })?;
        primary.submit(change, self.pool.now())
    }

    /// Makes one folder: `Exists`, `NoParent`, `NotAFolder`. Durable on return, like every change here.
    pub fn make_folder(&self, _by: &Device, path: &RelPath) -> Result<(), Refusal> {
        self.submit(Change::Folder { path: path.clone(), parents: false }).map(drop)
    }

    /// Renames a file or folder. With `overwrite`, what has the target name goes to trash first, in a commit of its
    /// own: a power cut in between leaves the source as it was and the old target in the trash.
    pub fn rename(
        &self,
        by: &Device,
        from: &RelPath,
        to: &RelPath,
        overwrite: bool,
    ) -> Result<Outcome, Refusal> {
        self.pool.expects_second()?;
        if let Some((source, target)) = self.same_content(from, to)?.filter(|_| overwrite) {
            self.pool.await_second(&*self.pool.primary()?, &target)?;
            // The target has these very bytes: nothing is to be cleared for them. It gets the source's time, by which sync
            // programs tell whether they are done, and the old name goes.
            if source.mtime != target.mtime {
                self.set_mtime(by, to, source.mtime)?;
            }
            self.trash(by, from)?;
            return Ok(Outcome::Replaced);
        }
        let outcome = self.clear_target(by, from, to, overwrite)?;
        match self.submit(Change::Rename { by: by.clone(), from: from.clone(), to: to.clone() }) {
            Ok(_) => {}
            // Out of scratch on a filesystem without links: the bytes are uploaded once more, by ourselves.
            Err(Refusal::Drive(VolumeError::Unsupported { .. })) => {
                let source = self.find(from)?.ok_or(Refusal::NotFound)?;
                let NodeKind::File { size, .. } = source.kind else { return Err(Refusal::IsAFolder) };
                self.copy_bytes(by, &source, to, size)?;
                self.trash(by, from)?;
            }
            Err(e) => return Err(e),
        }
        self.pool.wake_mirror();
        if self.pool.options().acknowledge_after_copy
            && let Some(node) = self.find(to)?
        {
            self.pool.await_second(&*self.pool.primary()?, &node)?;
        }
        Ok(outcome)
    }

    /// Both, if they are files of equal content under different names, and the target's is there and good.
    fn same_content(&self, from: &RelPath, to: &RelPath) -> Result<Option<(Node, Node)>, Refusal> {
        let (Some(source), Some(target)) = (self.find(from)?, self.find(to)?) else { return Ok(None) };
        let (hash, other, size) = match (&source.kind, &target.kind) {
            (NodeKind::File { hash, .. }, NodeKind::File { hash: other, size }) => (*hash, *other, *size),
            (NodeKind::Folder, _) | (_, NodeKind::Folder) => return Ok(None),
        };
        if hash != other || source.id == target.id || target.shelf != Shelf::Photos {
            return Ok(None);
        }
        // A target that other hands took away, or that is known to be bad, is no reason to part with a good source.
        let primary = self.pool.primary()?;
        let id = primary.attached.id();
        let copies = primary.catalogue.read(|r| r.copies_of_name(target.id))?;
        let good = |state| matches!(state, CopyState::Settled | CopyState::Verified);
        let good = copies.iter().any(|copy| copy.drive == id && good(copy.state));
        let there = primary.attached.volume.stat(&target.place()).is_ok_and(|s| !s.is_dir && s.size == size);
        Ok((good && there).then_some((source, target)))
    }

    /// Makes sure that the source exists, does not overlap with the target, and that the target is free.
    fn clear_target(
        &self,
        by: &Device,
        from: &RelPath,
        to: &RelPath,
        overwrite: bool,
    ) -> Result<Outcome, Refusal> {
        let source = self.find(from)?.ok_or(Refusal::NotFound)?;
        match to.parent().map(|p| self.find(&p)).transpose()? {
            Some(None) => return Err(Refusal::NoParent),
            Some(Some(node)) if node.kind != NodeKind::Folder => return Err(Refusal::NotAFolder),
            Some(Some(_)) | None => {}
        }
        let Some(target) = self.find(to)? else { return Ok(Outcome::Created) };
        if target.id == source.id {
            return Ok(Outcome::Created);
        }
        if to.is_within(from) || from.is_within(to) {
            return Err(Refusal::Overlap);
        }
        if !overwrite {
            return Err(Refusal::Exists);
        }
        // Nothing is cleared for a source that other hands took away.
        let primary = self.pool.primary()?;
        match primary.attached.volume.stat(&source.place()) {
            Ok(_) => {}
            Err(VolumeError::NotFound { .. }) => return Err(Refusal::NotFound),
            Err(e) => return Err(Refusal::Drive(primary.attached.heed(e))),
        }
        self.trash(by, to)?;
        Ok(Outcome::Replaced)
    }

    /// Copies a file, or a folder (`deep`: with all below it). Content is stored once where links exist.
    pub fn copy(
        &self,
        by: &Device,
        from: &RelPath,
        to: &RelPath,
        overwrite: bool,
        deep: bool,
    ) -> Result<Outcome, Refusal> {
        if to.is_within(from) {
            return Err(Refusal::Overlap);
        }
        self.pool.expects_second()?;
        let outcome = self.clear_target(by, from, to, overwrite)?;
        let source = self.find(from)?.ok_or(Refusal::NotFound)?;
        self.copy_one(by, &source, to)?;
        if self.pool.options().acknowledge_after_copy
            && let Some(node) = self.find(to)?
        {
            self.pool.await_second(&*self.pool.primary()?, &node)?;
        }
        if source.kind == NodeKind::Folder && deep {
            self.copy_below(by, &source, to)?;
        }
        self.pool.wake_mirror();
        Ok(outcome)
    }

    fn copy_below(&self, by: &Device, source: &Node, to: &RelPath) -> Result<(), Refusal> {
        let primary = self.pool.primary()?;
        let fold = source.path.fold_key();
        let mut after = String::new();
        loop {
            // Fold order puts a folder before what is in it.
            let page = primary.catalogue.read(|r| r.names_below(&fold, &after, 200))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.path.fold_key();
            for row in page {
                let Some(rest) = row.path.below(&source.path) else { continue };
                let target = to.join(&rest).map_err(|_| Refusal::NoParent)?;
                self.copy_one(by, &Node::from(row), &target)?;
            }
        }
    }

    fn copy_one(&self, by: &Device, source: &Node, to: &RelPath) -> Result<(), Refusal> {
        match source.kind {
            NodeKind::Folder => {
                self.make_folder(by, to)?;
                let changes: Vec<PropertyChange> =
                    self.properties(&source.path)?.into_iter().map(PropertyChange::Set).collect();
                if changes.is_empty() { Ok(()) } else { self.change_properties(by, to, &changes) }
            }
            NodeKind::File { size, .. } if source.shelf == Shelf::Photos => {
                let change = Change::Link { by: by.clone(), from: source.path.clone(), to: to.clone() };
                match self.submit(change) {
                    Err(Refusal::Drive(VolumeError::Unsupported { .. })) => {
                        self.copy_bytes(by, source, to, size)
                    }
                    other => other.map(drop),
                }
            }
            NodeKind::File { size, .. } => self.copy_bytes(by, source, to, size),
        }
    }

    /// A copy by way of an ordinary upload, where there are no hard links.
    fn copy_bytes(&self, by: &Device, source: &Node, to: &RelPath, size: u64) -> Result<(), Refusal> {
        let offer = Offer {
            by: by.clone(),
            path: to.clone(),
            size: Some(size),
            declared: Vec::new(),
            mtime: Some(source.mtime),
            ctime: source.ctime,
            expect: Expect::Absent,
            make_parents: false,
        };
        let mut incoming = Ingest::new(Arc::clone(&self.pool)).begin(offer)?;
        let mut reader = self.open(source)?;
        let mut piece = vec![0; 256 * 1024];
        let mut offset = 0;
        loop {
            let read = reader.read_at(&mut piece, offset).map_err(Refusal::Drive)?;
            if read == 0 {
                break;
            }
            incoming.write(&piece[..read])?;
            offset += read as u64;
        }
        incoming.finish()?.settle().map(drop)
    }

    /// Moves a file or folder to the trash.
    pub fn trash(&self, by: &Device, path: &RelPath) -> Result<(), Refusal> {
        self.submit(Change::Trash { by: by.clone(), path: path.clone() })?;
        let news = PhotoNews { path: path.clone(), what: NewsKind::Trashed, at: self.pool.now() };
        self.pool.news().tell(&news);
        self.pool.wake_mirror();
        Ok(())
    }

    /// Sets the modification time of a file.
    pub fn set_mtime(&self, _by: &Device, path: &RelPath, mtime: Timestamp) -> Result<(), Refusal> {
        self.submit(Change::Touch { path: path.clone(), mtime }).map(drop)
    }

    /// All dead properties of a file or folder.
    pub fn properties(&self, path: &RelPath) -> Result<Vec<Property>, Refusal> {
        let primary = self.pool.primary()?;
        let rows = primary.catalogue.read(|r| match r.name(&path.fold_key())? {
            Some(row) => r.properties(row.id),
            None => Ok(Vec::new()),
        })?;
        Ok(rows.into_iter().map(|p| Property { namespace: p.namespace, name: p.local, xml: p.xml }).collect())
    }

    /// What else is known of several at once, by their row ids.
    pub fn details_of(&self, nodes: &[Node], about: About) -> Result<HashMap<i64, Details>, Refusal> {
        let primary = self.pool.proved_primary()?;
        let own = |p: PropertyRow| Property { namespace: p.namespace, name: p.local, xml: p.xml };
        let details = primary.catalogue.read(|r| {
            let mut all = HashMap::new();
            for node in nodes {
                let mut known = Details::default();
                if about.properties {
                    known.properties = r.properties(node.id)?.into_iter().map(own).collect();
                }
                if let NodeKind::File { hash, .. } = &node.kind {
                    if about.sha1 {
                        known.sha1 = r.asset(hash)?.and_then(|asset| asset.sha1);
                    }
                    if about.media {
                        known.media = r.media(hash)?;
                    }
                }
                all.insert(node.id, known);
            }
            Ok(all)
        });
        let mut details: HashMap<i64, Details> = details?;
        for folder in nodes.iter().filter(|node| about.sizes && node.kind == NodeKind::Folder) {
            let below = self.sums.of(&primary, folder)?;
            details.entry(folder.id).or_default().below = Some(below);
        }
        Ok(details)
    }

    /// Carries out all changes or none.
    pub fn change_properties(
        &self,
        _by: &Device,
        path: &RelPath,
        changes: &[PropertyChange],
    ) -> Result<(), Refusal> {
        self.submit(Change::Properties { path: path.clone(), changes: changes.to_vec() }).map(drop)
    }

    /// What a person may still store, and what is used: of the person's quota, or of the primary where there is none.
    pub fn room(&self, person: &Slug) -> Result<(u64, u64), Refusal> {
        let space = self.pool.primary_space()?;
        let primary = self.pool.primary()?;
        match primary.catalogue.read(|r| r.quota(person))? {
            Some(quota) => {
                let used = self.pool.used(&primary, person)?;
                Ok((quota.saturating_sub(used).min(space.for_uploads()), used))
            }
            None => Ok((space.for_uploads(), space.total.saturating_sub(space.available))),
        }
    }
}
