//! Making one file of the parts: by giving the one that grew its name, or by copying them in their order.
use std::sync::Arc;

use blake3::OUT_LEN;
use jiff::Timestamp;

use super::lying::{discard, read_through};
use super::taking::close;
use super::{
    Appended, Assembled, Found, HashOf, Lying, Parts, UploadId, Whole, discard_parts, find, in_one, note, put,
};
use crate::model::offer::Offer;
use crate::model::place::Place;
use crate::store::volume::{ReadAt, Volume, VolumeError};
use crate::work::error::Refusal;
use crate::work::ingest::{Ack, Incoming, Outcome, Received};
use crate::work::primary::Primary;

impl Parts {
    /// Makes one file of the parts under the offer's name, by way of an ordinary upload. Repeated, also while the first attempt goes on,
    /// it has the same outcome, for a day. `NotFound`, `NotWhole`, and what any upload is refused for; the parts stay then.
    pub fn assemble(&self, id: &UploadId, whole: Whole, offer: Offer) -> Result<Ack, Refusal> {
        let primary = self.changeable()?;
        let turns = self.pool.uploads.of(id);
        let _alone = turns.work();
        let found = find(&primary, id)?.ok_or(Refusal::NotFound)?;
        if let Some(before) = &found.assembled {
            return self.ingest.again(before);
        }
        let total = whole.of(&found.parts()).map_err(Refusal::NotWhole)?;
        // Parts that were thrown away leave no gap behind the last one that is left, and not every client states a total.
        if note::<u64>(&primary, &Place::upload_lacking(id))?.is_some_and(|had| total < had) {
            return Err(damaged());
        }
        let offer = Offer { size: Some(total), ..offer };
        // To the end: from the moment that it is a photo as well until it lost its own name, nobody appends to it.
        let is_one = found.grows && in_one(&found.lying) == Some(total);
        let growing = if is_one { self.pool.uploads.claim(id) } else { None };
        let joined = match &growing {
            Some(_) => self.join(&primary, id, &found, offer.clone())?,
            None => None,
        };
        let received = match joined {
            Some(received) => received,
            None => self.copy(&primary, id, &found, offer)?,
        };
        let (hash, at) = (received.digests().content, self.pool.now());
        let ack = received.settle()?;
        let (path, created) = (ack.node().path.clone(), ack.outcome() == Outcome::Created);
        let assembled = Assembled { path, hash, size: total, created, at };
        // The photo is safe from here on, whatever happens to its parts. They go only when the outcome is on record: until then, a
        // repeated request finds them, and the same bytes under the name.
        if let Err(e) = conclude(&*primary.attached.volume, id, &assembled) {
            log::warn!("parts of an upload are left to the sweep: {}", primary.attached.heed(e));
        }
        drop(growing);
        Ok(ack)
    }

    /// What all parts were appended to. `None`: it cannot be named, and they have to be copied.
    fn join(
        &self,
        primary: &Arc<Primary>,
        id: &UploadId,
        found: &Found,
        offer: Offer,
    ) -> Result<Option<Received>, Refusal> {
        let volume = &*primary.attached.volume;
        let inode = volume.stat(&found.grown).map_err(|e| Refusal::Drive(primary.attached.heed(e)))?.inode;
        let mut check = Check::new(&found.lying);
        let total = offer.size.unwrap_or(0);
        let known = self.pool.uploads.memories.recall(primary, id, total, self.pool.now());
        let taken = match known.and_then(|hasher| hasher.declare(&offer.declared)) {
            Some(hasher) => self.ingest.take_known(offer, &found.grown, hasher),
            None => self.ingest.take_grown(offer, &found.grown, &mut |bytes| check.see(bytes)),
        };
        match (check.bad, taken) {
            (Some(bad), _) => Err(throw_away(primary, id, bad, self.pool.now())),
            (None, Ok(received)) => Ok(Some(received)),
            (None, Err(Refusal::Drive(VolumeError::Unsupported { .. }))) => Ok(None),
            (None, Err(refusal)) => {
                // Its flush may be what failed.
                if matches!(refusal, Refusal::Drive(_) | Refusal::Full { .. }) {
                    close(&self.pool, primary, id, inode);
                }
                Err(refusal)
            }
        }
    }

    /// The parts once more, in their order.
    fn copy(
        &self,
        primary: &Primary,
        id: &UploadId,
        found: &Found,
        offer: Offer,
    ) -> Result<Received, Refusal> {
        let mut incoming = self.ingest.begin(offer)?;
        let mut so_far = SoFar::default();
        for one in &found.lying {
            if !pour(primary, id, (found, one), &mut so_far, &mut incoming)? {
                return Err(throw_away(primary, id, one.part.number, self.pool.now()));
            }
        }
        incoming.finish()
    }
}

/// Compares what was appended with its records, while it goes by.
struct Check<'a> {
    rest: std::slice::Iter<'a, Lying>,
    now: Option<(Appended, u64, blake3::Hasher)>,
    /// Of all so far, while there may be a record of that.
    all: Option<blake3::Hasher>,
    /// The number of the first part whose bytes are not those that came.
    bad: Option<u64>,
}

impl<'a> Check<'a> {
    fn new(lying: &'a [Lying]) -> Self {
        let is_of_all = |one: &Lying| one.within.is_some_and(|within| within.of == HashOf::AllSoFar);
        let all = lying.iter().any(is_of_all).then(blake3::Hasher::new);
        Self { rest: lying.iter(), now: None, all, bad: None }
    }

    fn see(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let next = |within: Appended| (within, within.part.size, blake3::Hasher::new());
            let now = self.now.take().or_else(|| self.rest.find_map(|one| one.within).map(next));
            let Some((within, left, mut alone)) = now else { return Ok(()) };
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            if within.of == HashOf::Part {
                alone.update(&bytes[..taken]);
            }
            if let Some(all) = &mut self.all {
                all.update(&bytes[..taken]);
            }
            bytes = &bytes[taken..];
            match left - taken as u64 {
                0 => {
                    let hashed = match (within.of, &self.all) {
                        (HashOf::AllSoFar, Some(all)) => all.finalize(),
                        (HashOf::AllSoFar, None) | (HashOf::Part, _) => alone.finalize(),
                    };
                    if hashed.as_bytes() != within.hash.as_bytes() {
                        self.bad = Some(within.part.number);
                        return Err(damaged());
                    }
                }
                left => self.now = Some((within, left, alone)),
            }
        }
        Ok(())
    }
}

/// What was hashed of the growing file from its beginning.
#[derive(Default)]
struct SoFar {
    hasher: blake3::Hasher,
    end: u64,
}

/// One part into the whole. `false`: its bytes are not those that came.
fn pour(
    primary: &Primary,
    id: &UploadId,
    (found, one): (&Found, &Lying),
    so_far: &mut SoFar,
    into: &mut Incoming,
) -> Result<bool, Refusal> {
    let heed = |e| Refusal::Drive(primary.attached.heed(e));
    let (place, from) = match &one.within {
        Some(within) => (found.grown.clone(), within.offset),
        None => (Place::part(id, one.part.number), 0),
    };
    let mut reader = primary.attached.volume.open(&place).map_err(heed)?;
    let of_all = one.within.is_some_and(|within| within.of == HashOf::AllSoFar);
    let mut hasher = blake3::Hasher::new();
    if of_all {
        let SoFar { hasher: before, end } = std::mem::take(so_far);
        let start = if end <= from {
            hasher = before;
            end
        } else {
            0
        };
        let mut take = |bytes: &[u8]| {
            hasher.update(bytes);
            Ok(())
        };
        if !read_through(primary, &mut *reader, start..from, &mut take)? {
            return Ok(false);
        }
    }
    let mut take = |bytes: &[u8]| {
        hasher.update(bytes);
        into.write(bytes)
    };
    if !read_through(primary, &mut *reader, from..from + one.part.size, &mut take)? {
        return Ok(false);
    }
    let said = match &one.within {
        Some(within) => *within.hash.as_bytes(),
        None => seal(&mut *reader, one.part.size).map_err(heed)?,
    };
    let is_same = hasher.finalize().as_bytes() == &said;
    if of_all {
        *so_far = SoFar { hasher, end: from + one.part.size };
    }
    Ok(is_same)
}

/// What a part that is a file of its own ends with.
fn seal(reader: &mut dyn ReadAt, at: u64) -> Result<[u8; OUT_LEN], VolumeError> {
    let mut seal = [0; OUT_LEN];
    let mut have = 0;
    while have < seal.len() {
        match reader.read_at(&mut seal[have..], at + have as u64)? {
            0 => break,
            read => have += read,
        }
    }
    Ok(seal)
}

/// A part whose bytes are not those that came, and all behind it, are thrown away: every client can go on from the end of what is there.
/// How much there was is noted first: a client that goes on to the end of it without having heard of this must not be told that it is whole.
fn throw_away(primary: &Primary, id: &UploadId, number: u64, now: Timestamp) -> Refusal {
    log::error!("part {number} of an upload was damaged on the drive, and is to be sent again");
    let volume = &*primary.attached.volume;
    let lacking = Place::upload_lacking(id);
    let noted = note::<u64>(primary, &lacking).and_then(|before| {
        let had = find(primary, id)?.map_or(0, |found| found.received()).max(before.unwrap_or(0));
        put(volume, &lacking, had.to_string().as_bytes(), now)
            .map_err(|e| Refusal::Drive(primary.attached.heed(e)))
    });
    if let Err(refusal) = noted {
        return refusal;
    }
    match discard_parts(volume, id, |other| other >= number) {
        Ok(_) => damaged(),
        Err(e) => Refusal::Drive(primary.attached.heed(e)),
    }
}

fn damaged() -> Refusal {
    Refusal::Unavailable { why: "a part was damaged on the drive, and is to be sent again".to_owned() }
}

/// Puts the outcome on record, then throws the parts away. What grew is a photo by now, and loses its other name.
fn conclude(volume: &dyn Volume, id: &UploadId, assembled: &Assembled) -> Result<(), VolumeError> {
    let place = Place::upload_assembled(id);
    let text = serde_json::to_vec(assembled).map_err(|e| VolumeError::Io {
        op: "write",
        place: place.clone(),
        source: e.into(),
    })?;
    put(volume, &place, &text, assembled.at)?;
    for grown in [Place::upload_whole(id), Place::upload_closed(id)] {
        discard(volume, &grown)?;
    }
    discard_parts(volume, id, |_| true).map(drop)
}
