//! `Body`: bytes of an upload on their way onto the primary: room for them, within the reserve and the person's quota, and a staging
//! file. For whole files and for parts of them alike.
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::place::Place;
use crate::store::volume::{Staged, Synced, VolumeError};
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::quotas::Promise;
use crate::work::room::Aside;

/// A body for which no room is set aside takes no more than this before the drive is asked again what is left.
const MEASURED: u64 = 256 << 10;

/// A staging file, the room that the drive does not keep for it, and what uploads could take before.
type Opened = (Box<dyn Staged>, Option<Aside>, u64);

/// Bytes under way; dropping it leaves nothing behind.
pub(super) struct Body {
    pub(super) pool: Arc<Pool>,
    pub(super) primary: Arc<Primary>,
    /// How long it is to become, where that was announced.
    announced: Option<u64>,
    staged: Box<dyn Staged>,
    /// Room that the drive does not keep for it.
    aside: Option<Aside>,
    /// How long it may become: what uploads could take when that was last measured.
    room: u64,
    /// How long it was then.
    measured: u64,
    /// How long it is.
    received: u64,
    /// Room in the person's quota.
    pub(super) promise: Option<Promise>,
}

impl Body {
    /// A staging file with room for what was announced. Blocking.
    pub(super) fn open(
        pool: &Arc<Pool>,
        primary: Arc<Primary>,
        announced: Option<u64>,
        promise: Option<Promise>,
    ) -> Result<Self, Refusal> {
        Self::over(pool, primary, None, announced, promise)
    }

    /// The same for bytes that go behind the first `at` of a file that grows. Blocking.
    pub(super) fn behind(
        pool: &Arc<Pool>,
        primary: Arc<Primary>,
        (file, at): (&Place, u64),
        announced: Option<u64>,
    ) -> Result<Self, Refusal> {
        Self::over(pool, primary, Some((file, at)), announced, None)
    }

    /// A file that has grown to this length: its bytes only pass by. Blocking.
    pub(super) fn grown(
        pool: &Arc<Pool>,
        primary: Arc<Primary>,
        (file, size): (&Place, u64),
        promise: Option<Promise>,
    ) -> Result<Self, Refusal> {
        let (pool, announced, room) = (Arc::clone(pool), Some(size), size);
        let staged = primary.attached.volume.grow(file, size, None);
        let staged = staged.map_err(|e| full_or(primary.attached.heed(e), 0, 0))?;
        Ok(Self { pool, primary, announced, staged, aside: None, room, measured: 0, received: 0, promise })
    }

    fn over(
        pool: &Arc<Pool>,
        primary: Arc<Primary>,
        behind: Option<(&Place, u64)>,
        announced: Option<u64>,
        promise: Option<Promise>,
    ) -> Result<Self, Refusal> {
        let needed = announced.unwrap_or(0);
        let (staged, aside, room) = match stage(pool, &primary, behind, announced) {
            // Others that came at once may have stood in its way, and been refused themselves: they gave back what they took.
            Err(Refusal::Full { .. }) => {
                let _alone = pool.room.again();
                stage(pool, &primary, behind, announced)
            }
            first => first,
        }
        .inspect_err(|refusal| {
            if matches!(refusal, Refusal::Full { .. }) {
                pool.count_refused_full(needed);
            }
        })?;
        let pool = Arc::clone(pool);
        Ok(Self { pool, primary, announced, staged, aside, room, measured: 0, received: 0, promise })
    }

    /// How long it is so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next bytes. Blocking.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let received = self.received + bytes.len() as u64;
        if let Some(announced) = self.announced
            && received > announced
        {
            return Err(Refusal::WrongLength { announced, received });
        }
        // Without room that the drive keeps for it, a body must not eat the reserve either, nor several together (invariant I11).
        let is_measured = self.announced.is_none() || self.aside.is_some();
        if is_measured && received - self.measured > MEASURED {
            let room = match &self.aside {
                Some(_) => self.pool.measure_for_uploads(&self.primary)?,
                None => self.pool.space_for_uploads(&self.primary)?,
            };
            self.room = self.received.saturating_add(room);
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
        self.append(bytes)?;
        self.received = received;
        Ok(())
    }

    /// Counts bytes that are there already.
    pub(super) fn passes(&mut self, bytes: u64) {
        self.received += bytes;
    }

    /// Writes what is not the client's: nobody counts it.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let _turn = self.primary.attached.turns.upload();
        let received = self.received;
        self.staged.write(bytes).map_err(|e| full_or(self.primary.attached.heed(e), received, self.room))
    }

    /// Whether as much came as was announced.
    pub(super) fn is_whole(&self) -> Result<(), Refusal> {
        match self.announced {
            Some(announced) if self.received != announced => {
                Err(Refusal::WrongLength { announced, received: self.received })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Flushes the data. Blocking.
    pub(super) fn sync(self, dated: Timestamp) -> Result<(Box<dyn Synced>, Option<Promise>), Refusal> {
        let Self { primary, staged, received, room, promise, .. } = self;
        let synced =
            staged.sync(Some(dated)).map_err(|e| full_or(primary.attached.heed(e), received, room))?;
        Ok((synced, promise))
    }
}

fn stage(
    pool: &Arc<Pool>,
    primary: &Primary,
    behind: Option<(&Place, u64)>,
    size: Option<u64>,
) -> Result<Opened, Refusal> {
    let needed = size.unwrap_or(0);
    let available = pool.space_for_uploads(primary)?;
    if needed > available {
        return Err(Refusal::Full { needed, available });
    }
    let volume = &primary.attached.volume;
    let staged = behind.map_or_else(|| volume.stage(size), |(file, at)| volume.grow(file, at, size));
    let staged = staged.map_err(|e| full_or(primary.attached.heed(e), needed, available))?;
    if needed == 0 {
        return Ok((staged, None, available));
    }
    if !staged.has_its_room() {
        let aside = pool.set_aside(primary, needed)?;
        return Ok((staged, Some(aside), available));
    }
    // Uploads that begin at once are each told of the same room. What this one set aside is taken by now, and the reserve
    // must still be there; if not, it gives back what it took.
    if pool.is_reserve_touched(primary)? {
        return Err(Refusal::Full { needed, available: 0 });
    }
    Ok((staged, None, available))
}

pub(super) fn full_or(error: VolumeError, needed: u64, available: u64) -> Refusal {
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
