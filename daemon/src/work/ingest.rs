//! Ingest: `Offer → Incoming → Received → Ack`. The only way to disk, for every dialect.
//!
//! Each step consumes the one before, and their fields are private to this file: an [`Ack`] cannot be made up.
//!
//! ```compile_fail
//! let forged = shoebox::work::ingest::Ack { node: todo!(), outcome: todo!() };
//! ```
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::model::account::{Device, DeviceKind};
use crate::model::hash::{Also, Digests, Hasher};
use crate::model::offer::{Expect, Offer, Unnamed};
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::model::upload::Assembled;
use crate::plan::placing::{Above, Situation};
use crate::store::volume::{Synced, VolumeError};
use crate::work::beside::name_for;
use crate::work::body::Body;
use crate::work::changes::{Change, Store, existing, prove_known};
use crate::work::commit::Announced;
use crate::work::error::Refusal;
use crate::work::hashing::Hashing;
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::quotas::Promise;
use crate::work::tree::Node;

/// By so much the length of a form is not that of the file in it.
const FRAMED: u64 = 64 << 10;

/// What is read at once of a file that has grown.
const PIECE: usize = 512 << 10;

/// Takes uploads.
#[derive(Clone)]
pub struct Ingest {
    pool: Arc<Pool>,
}

impl Ingest {
    /// For the uploads of a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// Checks room, the folder above and what the client expects, and opens a staging file. Blocking.
    pub fn begin(&self, offer: Offer) -> Result<Incoming, Refusal> {
        let primary = self.pool.primary()?;
        self.pool.expects_second()?;
        let needed = offer.size.unwrap_or(0);
        let promise = self.admit(&primary, &offer, needed)?;
        self.open(primary, offer, needed, Also::default(), promise)
    }

    /// The same for a file that gets its name when its bytes are here. Blocking.
    pub fn begin_unnamed(&self, unnamed: Unnamed) -> Result<UnnamedIncoming, Refusal> {
        let primary = self.pool.primary()?;
        self.pool.expects_second()?;
        primary.attached.takes_changes().map_err(|why| Refusal::Unavailable { why })?;
        let Unnamed { by, expected, declared, also } = unnamed;
        let quota = primary.catalogue.read(|r| r.quota(&by.person))?;
        let length = expected.saturating_sub(FRAMED)..=expected.saturating_add(FRAMED);
        let promise =
            quota.map(|quota| self.pool.promise(&primary, &by.person, (quota, 0), (expected, length)));
        let promise = promise.transpose()?;
        let available = self.pool.space_for_uploads(&primary)?;
        if expected > available {
            self.pool.count_refused_full(expected);
            return Err(Refusal::Full { needed: expected, available });
        }
        // Nothing has this path: it is put in the place of the one that `UnnamedReceived::name` is given.
        let path = Device { kind: DeviceKind::Computer, ..by.clone() }.root();
        let (expect, make_parents) = (Expect::Absent, true);
        let offer = Offer { by, path, size: None, declared, mtime: None, ctime: None, expect, make_parents };
        self.open(primary, offer, expected, also, promise).map(UnnamedIncoming)
    }

    fn open(
        &self,
        primary: Arc<Primary>,
        offer: Offer,
        expected: u64,
        also: Also,
        promise: Option<Promise>,
    ) -> Result<Incoming, Refusal> {
        let body = Body::open(&self.pool, primary, offer.size, promise)?;
        let hashing = Hashing::new(also, &offer.declared, expected);
        Ok(Incoming { offer, body, hashing })
    }

    /// Takes a file of [`Offer::size`] bytes that has grown on the primary: read from its beginning to its end by this alone, it is what
    /// its hashes say. `check` sees each piece, and may end it. What lies behind is
    /// cut off. From memory, where that has it: whether the medium does is proved by whoever copies it, as of every upload.
    /// Until it is acknowledged, nobody may append to it. `Unsupported`: see [`crate::store::volume::Volume::grow`]. Blocking.
    pub(super) fn take_grown(
        &self,
        offer: Offer,
        file: &Place,
        check: &mut dyn FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<Received, Refusal> {
        let primary = self.pool.primary()?;
        self.pool.expects_second()?;
        let size = offer.size.unwrap_or(0);
        let promise = self.admit(&primary, &offer, size)?;
        let mut hashing = Hashing::new(Also::default(), &offer.declared, size);
        let mut body = Body::grown(&self.pool, Arc::clone(&primary), (file, size), promise)?;
        let heed = |e| Refusal::Drive(primary.attached.heed(e));
        let mut reader = primary.attached.volume.open(file).map_err(heed)?;
        let mut piece = vec![0; PIECE];
        loop {
            let turn = primary.attached.turns.upload();
            let read = reader.read_at(&mut piece, body.received()).map_err(heed)?;
            drop(turn);
            let bytes = &piece[..read];
            if bytes.is_empty() {
                break;
            }
            check(bytes)?;
            if hashing.is_shared() {
                hashing.share(&self.pool.hashers, &Bytes::copy_from_slice(bytes));
            }
            hashing.update(bytes);
            body.passes(bytes.len() as u64);
        }
        Incoming { offer, body, hashing }.finish()
    }

    /// The same for one whose hashes are known: of all its bytes, as they came.
    pub(super) fn take_known(&self, offer: Offer, file: &Place, hasher: Hasher) -> Result<Received, Refusal> {
        let primary = self.pool.primary()?;
        self.pool.expects_second()?;
        let size = offer.size.unwrap_or(0);
        let promise = self.admit(&primary, &offer, size)?;
        let mut body = Body::grown(&self.pool, primary, (file, size), promise)?;
        body.passes(hasher.size());
        Incoming { offer, body, hashing: Hashing::from(hasher, size) }.finish()
    }

    /// The acknowledgement of an upload that was settled before, for a client that did not hear it: of what has the name now, if that
    /// is still what was settled. `NotFound`. Blocking.
    pub(super) fn again(&self, before: &Assembled) -> Result<Ack, Refusal> {
        let primary = self.pool.proved_primary()?;
        let row = primary.catalogue.read(|r| r.name(&before.path.fold_key()))?;
        let row = row.filter(|row| row.hash == Some(before.hash)).ok_or(Refusal::NotFound)?;
        match primary.attached.volume.stat(&row.place()) {
            Ok(stat) if !stat.is_dir && stat.size == before.size => {}
            Ok(_) | Err(VolumeError::NotFound { .. }) => return Err(Refusal::NotFound),
            Err(e) => return Err(Refusal::Drive(primary.attached.heed(e))),
        }
        let node = Node::from(row);
        self.pool.await_second(&primary, &node)?;
        Ok(Ack { node, outcome: if before.created { Outcome::Created } else { Outcome::Replaced } })
    }

    /// What can be refused before a byte has come. The commit decides again, on what holds then.
    fn admit(&self, primary: &Primary, offer: &Offer, needed: u64) -> Result<Option<Promise>, Refusal> {
        primary.attached.takes_changes().map_err(|why| Refusal::Unavailable { why })?;
        let (row, above, quota) = primary.catalogue.read(|r| {
            let above = match offer.path.parent() {
                None => Above::Folder,
                Some(parent) => match r.name(&parent.fold_key())? {
                    None => Above::Nothing,
                    Some(row) if row.hash.is_some() => Above::File,
                    Some(_) => Above::Folder,
                },
            };
            Ok((r.name(&offer.path.fold_key())?, above, r.quota(&offer.by.person)?))
        })?;
        Situation {
            existing: existing(row.as_ref()),
            above,
            make_parents: offer.make_parents,
            expect: &offer.expect,
        }
        .admit()
        .map_err(Refusal::from)?;
        // What has the name now goes to the trash, or is the same: it counts once.
        let replaced = match offer.expect {
            Expect::FreeOrSame => 0,
            Expect::Anything | Expect::Absent | Expect::Content(_) => row.map_or(0, |row| row.size),
        };
        let promise = quota.map(|quota| {
            self.pool.promise(primary, &offer.by.person, (quota, replaced), (needed, needed..=needed))
        });
        promise.transpose()
    }
}

/// An upload in progress; dropping it leaves nothing behind.
pub struct Incoming {
    offer: Offer,
    body: Body,
    hashing: Hashing,
}

impl Incoming {
    /// Takes the next bytes. Blocking.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.hashing.is_shared() {
            // A copy costs an eighth of the hash that another thread computes then.
            return self.take(&Bytes::copy_from_slice(bytes));
        }
        self.body.write(bytes)?;
        self.hashing.update(bytes);
        Ok(())
    }

    /// The same for bytes that can be shared with another thread as they are. Blocking.
    pub fn take(&mut self, bytes: &Bytes) -> Result<(), Refusal> {
        self.hashing.share(&self.body.pool.hashers, bytes);
        self.body.write(bytes)?;
        self.hashing.update(bytes);
        Ok(())
    }

    /// Ends the body: the data is flushed, length and hashes are compared with what was announced. Blocking.
    pub fn finish(self) -> Result<Received, Refusal> {
        let Self { offer, body, hashing } = self;
        body.is_whole()?;
        let hashed = hashing.end();
        let pool = Arc::clone(&body.pool);
        let dated = offer.mtime.unwrap_or_else(|| pool.now());
        let primary = Arc::clone(&body.primary);
        let turn = primary.attached.turns.upload();
        let announced = primary.announce();
        let synced = body.sync(dated);
        drop(turn);
        let (synced, promise) = synced?;
        // A hash may take until after the flush. Nothing has a name before it was compared, and what does not fit never gets one.
        let digests = hashed.digests()?;
        Ok(Received { pool, primary, offer, synced, digests, dated, promise, announced })
    }
}

/// An upload in progress that has no name yet; dropping it leaves nothing behind.
pub struct UnnamedIncoming(Incoming);

impl UnnamedIncoming {
    /// Takes the next bytes. Blocking.
    pub fn take(&mut self, bytes: &Bytes) -> Result<(), Refusal> {
        self.0.take(bytes)
    }

    /// Ends the body, as [`Incoming::finish`]. `mtime`, `ctime`: as in [`Offer`]. Blocking.
    pub fn finish(
        mut self,
        mtime: Option<Timestamp>,
        ctime: Option<Timestamp>,
    ) -> Result<UnnamedReceived, Refusal> {
        (self.0.offer.mtime, self.0.offer.ctime) = (mtime, ctime);
        self.0.finish().map(UnnamedReceived)
    }
}

/// All bytes are here, as in [`Received`], and it cannot be settled before it is named.
pub struct UnnamedReceived(Received);

impl UnnamedReceived {
    /// What the bytes are.
    pub fn digests(&self) -> &Digests {
        self.0.digests()
    }

    /// Says which name it is to get, full as in [`Offer::path`]; missing folders above it are made.
    pub fn name(self, path: RelPath, expect: Expect) -> Received {
        let mut received = self.0;
        (received.offer.path, received.offer.expect) = (path, expect);
        received
    }

    /// Says that they are the bytes which this name has already: its date stays, and they heal it where it went bad.
    pub fn known_as(self, path: RelPath) -> Received {
        let mut received = self.name(path, Expect::Anything);
        (received.offer.mtime, received.offer.ctime) = (None, None);
        received
    }
}

/// All bytes are here, durable no later than any name, and equal to what was announced; nothing has a name yet.
pub struct Received {
    pool: Arc<Pool>,
    primary: Arc<Primary>,
    offer: Offer,
    synced: Box<dyn Synced>,
    digests: Digests,
    /// The modification time the file was given.
    dated: Timestamp,
    promise: Option<Promise>,
    announced: Announced,
}

impl Received {
    /// What the bytes are.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Names it, and returns once name, manifest and catalogue are durable. Blocking.
    pub fn settle(self) -> Result<Ack, Refusal> {
        let Self { pool, primary, mut offer, synced, digests, dated, promise, announced } = self;
        if let Some(promise) = &promise {
            promise.admits(&primary, &digests.content, digests.size)?;
        }
        // Held until the name is in the catalogue, where the next one finds it.
        let _naming = match offer.expect {
            Expect::FreeOrSame => {
                let turn = pool.naming.turn(&offer.path);
                offer.path = name_for(&primary.catalogue, &offer.path, &digests.content)?;
                Some(turn)
            }
            Expect::Anything | Expect::Absent | Expect::Content(_) => None,
        };
        let (turn, by) = (primary.attached.turns.upload(), offer.by);
        let known = prove_known(&primary, &offer.path, &digests)?;
        let now = pool.now();
        let change = Change::Store(Box::new(Store {
            path: offer.path,
            synced,
            digests,
            mtime: offer.mtime,
            dated,
            ctime: offer.ctime,
            received: None,
            expect: offer.expect,
            make_parents: offer.make_parents,
            only_adds: by.kind == DeviceKind::Phone,
            by: by.label(),
            known,
        }));
        let done = primary.submit_announced(change, announced, now)?;
        drop(turn);
        let node = done.name.map(Node::from).ok_or(Refusal::Changed)?;
        pool.count_received(digests.size);
        if let Some(promise) = promise.filter(|_| done.outcome != Outcome::Unchanged) {
            promise.keep();
        }
        if done.healed {
            // With a good copy at last, bad ones on other drives can be made anew.
            pool.wake_healing();
        }
        if node.shelf == Shelf::Photos && done.outcome != Outcome::Unchanged {
            let what = NewsKind::Received { size: digests.size };
            pool.news().tell(&PhotoNews { path: node.path.clone(), what, at: now });
            pool.wake_mirror();
        } else if done.outcome == Outcome::Unchanged {
            pool.note_already(&by);
        }
        pool.await_second(&primary, &node)?;
        Ok(Ack { node, outcome: done.outcome })
    }
}

/// Proof that the upload is safe: the only thing a dialect may answer success with.
#[derive(Debug, Clone)]
pub struct Ack {
    node: Node,
    outcome: Outcome,
}

/// What happened to the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The name is new.
    Created,
    /// The name had other bytes, which are in the trash now.
    Replaced,
    /// The name already had these bytes; nothing changed.
    Unchanged,
}

impl Ack {
    /// The file as it is now.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What happened to the name.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
}
