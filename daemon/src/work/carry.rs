//! Carrying one file from a drive to another: read, hash, write, flush, read back from the medium. It gets no name here.
use jiff::Timestamp;

use crate::model::hash::{Also, ContentHash, Digests, Hasher};
use crate::model::place::Place;
use crate::store::aligned::Aligned;
use crate::store::volume::{Staged, Synced, VolumeError};
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::reading;

/// Called after every piece of work: beats, and says whether to go on.
pub type GoOn<'g> = &'g dyn Fn() -> bool;

/// SHA-1 and SHA-256 are computed where the bytes pass anyway, never by a read of their own.
const BOTH: Also = Also { sha1: true, sha256: true };

/// What is to be carried, and what it must be.
pub(crate) struct Load {
    /// Where it lies on the drive it comes from.
    pub(crate) from: Place,
    /// Its content, as on record.
    pub(crate) hash: ContentHash,
    /// Bytes.
    pub(crate) size: u64,
    /// Modification time the new file gets.
    pub(crate) mtime: Timestamp,
}

impl Load {
    /// Whether these bytes are the ones it must be.
    pub(crate) fn is(&self, found: &Digests) -> bool {
        found.content == self.hash && found.size == self.size
    }
}

/// What became of it.
pub(crate) enum Carried {
    /// Durable without a name on the other drive, read back from its medium, equal.
    Proved(Box<dyn Synced>, Box<Digests>),
    /// The file it comes from is not what it should be: nothing is made of it (invariant I14).
    BadSource(Bad),
    /// What was read back is not what was written: nothing on that drive is to be believed.
    BadReadBack,
    /// Asked to stop in the middle.
    Stopped,
}

/// What is wrong with the file it comes from.
pub(crate) enum Bad {
    /// It is not there.
    Missing,
    /// It has other bytes, or some that cannot be read; in words.
    Different(String),
}

impl Bad {
    fn other(found: &Digests) -> Self {
        Self::Different(format!("{} bytes with hash {}", found.size, found.content))
    }
}

/// Carries `load` from `source` to `target`, both of which wait for their turn piece by piece.
pub(crate) fn carry(
    load: &Load,
    source: &Attached,
    target: &Attached,
    go_on: GoOn<'_>,
) -> Result<Carried, Refusal> {
    carry_hashing(load, source, target, BOTH, go_on)
}

/// The same with only these hashes beside ours.
pub(crate) fn carry_hashing(
    load: &Load,
    source: &Attached,
    target: &Attached,
    also: Also,
    go_on: GoOn<'_>,
) -> Result<Carried, Refusal> {
    let mut hasher = Hasher::new(also, &[]);
    let staged = match write(load, source, target, &mut |bytes| hasher.update(bytes), go_on)? {
        Written::All(staged) => staged,
        Written::BadSource(bad) => return Ok(Carried::BadSource(bad)),
        Written::Stopped => return Ok(Carried::Stopped),
    };
    let digests = hasher.digests();
    if !load.is(&digests) {
        return Ok(Carried::BadSource(Bad::other(&digests)));
    }
    let synced = sync(load, staged, target)?;
    drain(target)?;
    let back = read_back(&*synced, target, Also::default(), go_on)?;
    Ok(if load.is(&back) { Carried::Proved(synced, Box::new(digests)) } else { Carried::BadReadBack })
}

/// Makes what was written durable, with its date.
pub(crate) fn sync(
    load: &Load,
    staged: Box<dyn Staged>,
    target: &Attached,
) -> Result<Box<dyn Synced>, Refusal> {
    staged.sync(Some(load.mtime)).map_err(|e| Refusal::Drive(target.heed(e)))
}

/// Before anything of what was written is read back; once for several files.
pub(crate) fn drain(target: &Attached) -> Result<(), Refusal> {
    target.volume.drain().map_err(|e| Refusal::Drive(target.heed(e)))
}

/// What the medium gives back of what was written, before it gets a name: no reader ever sees a copy that was not proved (invariant
/// I12).
pub(crate) fn read_back(
    synced: &dyn Synced,
    target: &Attached,
    also: Also,
    go_on: GoOn<'_>,
) -> Result<Digests, Refusal> {
    let heed = |e| Refusal::Drive(target.heed(e));
    let mut medium = synced.medium().map_err(heed)?;
    reading::hash_all(&mut *medium, also, &mut || {
        drop(target.turns.background());
        go_on();
        Ok(())
    })
    .map_err(heed)
}

/// Other bytes came back than are on record: what is wrong with the file they come from; `None` if nothing, and it is the other drive
/// that most likely gave back what it was not given: memory shows what was read, unless it had to make room meanwhile.
pub(crate) fn doubt_source(load: &Load, source: &Attached, go_on: GoOn<'_>) -> Result<Option<Bad>, Refusal> {
    let found = reading::hash_memory(&*source.volume, &load.from, &mut || {
        drop(source.turns.background());
        go_on();
        Ok(())
    });
    match found {
        Ok(found) if load.is(&found) => Ok(None),
        Ok(found) => Ok(Some(Bad::other(&found))),
        Err(VolumeError::NotFound { .. }) => Ok(Some(Bad::Missing)),
        Err(e) => source.file_only(e).map_err(Refusal::Drive).map(|why| Some(Bad::Different(why))),
    }
}

/// A drive that gives back other bytes than it was given: until a probe passes, nothing on it is believed.
pub(crate) fn lied(drive: &Attached, place: Place) -> Refusal {
    let source = std::io::Error::other("what was read back differs from what was written");
    Refusal::Drive(drive.heed(VolumeError::Io { op: "verify", place, source }))
}

/// How the first half went.
pub(crate) enum Written {
    /// All of it is with the other drive, without a name, and neither durable nor read back yet.
    All(Box<dyn Staged>),
    /// As [`Carried::BadSource`], and why.
    BadSource(Bad),
    /// As [`Carried::Stopped`].
    Stopped,
}

/// Reads and writes; `seen` gets what passes. The page cache serves what just arrived.
pub(crate) fn write(
    load: &Load,
    source: &Attached,
    target: &Attached,
    seen: &mut dyn FnMut(&[u8]),
    go_on: GoOn<'_>,
) -> Result<Written, Refusal> {
    let heed = |e| Refusal::Drive(target.heed(e));
    let bad = |bad| Ok(Written::BadSource(bad));
    // One bad sector is that file's problem and not the drive's, which goes on with all its others.
    let unreadable = |e| source.file_only(e).map_err(Refusal::Drive).map(Bad::Different);
    let mut reader = match source.volume.open(&load.from) {
        Ok(reader) => reader,
        Err(VolumeError::NotFound { .. }) => return bad(Bad::Missing),
        Err(e) => return bad(unreadable(e)?),
    };
    let space = target.volume.space().map_err(heed)?;
    if load.size > space.for_uploads() {
        return Err(Refusal::Drive(VolumeError::Full { op: "copy", place: load.from.clone() }));
    }
    let mut staged = target.volume.stage_past_memory(Some(load.size)).map_err(heed)?;
    let mut buffer = Aligned::new();
    let mut at = 0;
    loop {
        drop(source.turns.background());
        let read = match reader.read_at(buffer.bytes_mut(), at) {
            Ok(read) => read,
            Err(e) => return bad(unreadable(e)?),
        };
        if read == 0 {
            break;
        }
        let lane = target.turns.background();
        seen(&buffer.bytes()[..read]);
        staged.write(&buffer.bytes()[..read]).map_err(heed)?;
        drop(lane);
        at += read as u64;
        if at > load.size {
            break;
        }
        if !go_on() {
            return Ok(Written::Stopped);
        }
    }
    Ok(Written::All(staged))
}
