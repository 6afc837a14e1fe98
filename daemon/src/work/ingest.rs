//! Ingest: `Offer → Incoming → Received → Ack`. The only way to disk, for every dialect.
//!
//! Each step consumes the one before, and their fields are private to this file: an [`Ack`] cannot be made up.
//!
//! ```compile_fail
//! let forged = shoebox::work::ingest::Ack { node: todo!(), outcome: todo!() };
//! ```
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::account::DeviceKind;
use crate::model::hash::{Also, Digests, Hasher};
use crate::model::offer::Offer;
use crate::model::place::Shelf;
use crate::plan::placing::{Above, Situation};
use crate::store::volume::{Staged, Synced, VolumeError};
use crate::work::changes::{Change, Store, existing, prove_known};
use crate::work::commit::Announced;
use crate::work::error::Refusal;
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::quotas::Promise;
use crate::work::room::Aside;
use crate::work::tree::Node;

/// A body for which no room is set aside takes no more than this before the drive is asked again what is left.
const MEASURED: u64 = 256 << 10;

/// A staging file, the room that the drive does not keep for it, and what uploads could take before.
type Opened = (Box<dyn Staged>, Option<Aside>, u64);

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
        let (staged, aside, room) = match self.stage(&primary, offer.size) {
            // Others that came at once may have stood in its way, and been refused themselves: they gave back what they took.
            Err(Refusal::Full { .. }) => {
                let _alone = self.pool.room.again();
                self.stage(&primary, offer.size)
            }
            first => first,
        }
        .inspect_err(|refusal| {
            if matches!(refusal, Refusal::Full { .. }) {
                self.pool.count_refused_full(needed);
            }
        })?;
        let hasher = Hasher::new(Also::default(), &offer.declared);
        let pool = Arc::clone(&self.pool);
        Ok(Incoming { pool, primary, offer, staged, aside, hasher, room, measured: 0, promise })
    }

    /// A staging file with room for what was announced.
    fn stage(&self, primary: &Primary, size: Option<u64>) -> Result<Opened, Refusal> {
        let needed = size.unwrap_or(0);
        let available = self.pool.space_for_uploads(primary)?;
        if needed > available {
            return Err(Refusal::Full { needed, available });
        }
        let staged = primary.attached.volume.stage(size);
        let staged = staged.map_err(|e| full_or(primary.attached.heed(e), needed, available))?;
        if needed == 0 {
            return Ok((staged, None, available));
        }
        if !staged.has_its_room() {
            let aside = self.pool.set_aside(primary, needed)?;
            return Ok((staged, Some(aside), available));
        }
        // Uploads that begin at once are each told of the same room. What this one set aside is taken by now, and the reserve
        // must still be there; if not, it gives back what it took.
        if self.pool.is_reserve_touched(primary)? {
            return Err(Refusal::Full { needed, available: 0 });
        }
        Ok((staged, None, available))
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
        let replaced = row.map_or(0, |row| row.size);
        let promise =
            quota.map(|quota| self.pool.promise(primary, &offer.by.person, quota, replaced, needed));
        promise.transpose()
    }
}

fn full_or(error: VolumeError, needed: u64, available: u64) -> Refusal {
    match error {
        VolumeError::Full { .. } => Refusal::Full { needed, available },
        other @ (VolumeError::Gone { .. }
        | VolumeError::ReadOnly { .. }
        | VolumeError::Exists { .. }
        | VolumeError::NotFound { .. }
        | VolumeError::NotEmpty { .. }
        | VolumeError::Unsupported { .. }
        | VolumeError::Io { .. }) => Refusal::Drive(other),
    }
}

/// An upload in progress; dropping it leaves nothing behind.
pub struct Incoming {
    pool: Arc<Pool>,
    primary: Arc<Primary>,
    offer: Offer,
    staged: Box<dyn Staged>,
    /// Room that the drive does not keep for it.
    aside: Option<Aside>,
    hasher: Hasher,
    /// How long it may become: what uploads could take when that was last measured.
    room: u64,
    /// How long it was then.
    measured: u64,
    /// Room in the person's quota.
    promise: Option<Promise>,
}

impl Incoming {
    /// Takes the next bytes. Blocking.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let received = self.hasher.size() + bytes.len() as u64;
        if let Some(announced) = self.offer.size
            && received > announced
        {
            return Err(Refusal::WrongLength { announced, received });
        }
        // Without room that the drive keeps for it, a body must not eat the reserve either, nor several together (invariant I11).
        let is_measured = self.offer.size.is_none() || self.aside.is_some();
        if is_measured && received - self.measured > MEASURED {
            let room = match &self.aside {
                Some(_) => self.pool.measure_for_uploads(&self.primary)?,
                None => self.pool.space_for_uploads(&self.primary)?,
            };
            self.room = self.hasher.size().saturating_add(room);
            self.measured = received;
        }
        if received > self.room {
            return Err(Refusal::Full { needed: received, available: self.room });
        }
        if let Some(promise) = &mut self.promise {
            promise.grow(&self.primary, received)?;
        }
        if let Some(aside) = &mut self.aside {
            aside.take(bytes.len() as u64);
        }
        let _turn = self.primary.attached.turns.upload();
        self.staged.write(bytes).map_err(|e| full_or(self.primary.attached.heed(e), received, self.room))?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Ends the body: length and hashes are compared with what was announced, then the data is flushed. Blocking.
    pub fn finish(self) -> Result<Received, Refusal> {
        let Self { pool, primary, offer, staged, hasher, room, promise, .. } = self;
        let received = hasher.size();
        if let Some(announced) = offer.size
            && received != announced
        {
            return Err(Refusal::WrongLength { announced, received });
        }
        let digests = hasher.finish().map_err(Refusal::WrongHash)?;
        let dated = offer.mtime.unwrap_or_else(|| pool.now());
        let turn = primary.attached.turns.upload();
        let announced = primary.announce();
        let synced =
            staged.sync(Some(dated)).map_err(|e| full_or(primary.attached.heed(e), received, room))?;
        drop(turn);
        Ok(Received { pool, primary, offer, synced, digests, dated, promise, announced })
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
        let Self { pool, primary, offer, synced, digests, dated, promise, announced } = self;
        let turn = primary.attached.turns.upload();
        let known = prove_known(&primary, &offer.path, &digests)?;
        let now = pool.now();
        let change = Change::Store(Box::new(Store {
            path: offer.path,
            synced,
            digests,
            mtime: offer.mtime,
            dated,
            received: None,
            expect: offer.expect,
            make_parents: offer.make_parents,
            only_adds: offer.by.kind == DeviceKind::Phone,
            by: offer.by.label(),
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
