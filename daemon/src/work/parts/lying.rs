//! What lies of uploads on the primary, and how it is read, written and thrown away.
use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;

use super::{Upload, refuse};
use crate::model::place::{CLOSED, Place, WHOLE};
use crate::model::upload::{Appended, Assembled, Lying, Part, Said, UploadId};
use crate::plan::parts::MOST_NOTES;
use crate::store::volume::{Entry, ReadAt, Stat, Volume, VolumeError};
use crate::work::error::Refusal;
use crate::work::primary::Primary;

/// Each part that is a file of its own ends with its hash, so that what rots between two requests never becomes a photo.
const SEAL: u64 = blake3::OUT_LEN as u64;

/// What is read at once.
const PIECE: usize = 512 << 10;

/// An upload, and where its parts lie.
pub(super) struct Found {
    pub(super) said: Said,
    /// In the order of their numbers.
    pub(super) lying: Vec<Lying>,
    pub(super) assembled: Option<Assembled>,
    /// There is a file to append to.
    pub(super) grows: bool,
    /// What was appended, and to what.
    pub(super) grown: Place,
}

impl Found {
    pub(super) fn parts(&self) -> Vec<Part> {
        self.lying.iter().map(|one| one.part).collect()
    }

    pub(super) fn received(&self) -> u64 {
        self.lying.iter().map(|one| one.part.size).sum()
    }
}

impl From<Found> for Upload {
    fn from(found: Found) -> Self {
        let parts = found.parts();
        Self { said: found.said, parts, assembled: found.assembled }
    }
}

/// One that is not put together yet.
pub(super) fn unfinished(primary: &Primary, id: &UploadId) -> Result<Found, Refusal> {
    find(primary, id)?.filter(|found| found.assembled.is_none()).ok_or(Refusal::NotFound)
}

/// Where an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Unknown,
    Open,
    Assembled,
}

/// The same without a look at its parts, of which there may be very many.
pub(super) fn stage(primary: &Primary, id: &UploadId) -> Result<Stage, Refusal> {
    if note::<Said>(primary, &Place::upload_said(id))?.is_none() {
        return Ok(Stage::Unknown);
    }
    let assembled = note::<Assembled>(primary, &Place::upload_assembled(id))?;
    Ok(if assembled.is_some() { Stage::Assembled } else { Stage::Open })
}

pub(super) fn find(primary: &Primary, id: &UploadId) -> Result<Option<Found>, Refusal> {
    let volume = &*primary.attached.volume;
    let entries = match volume.survey(&Place::upload(id), &mut || ()) {
        Err(VolumeError::NotFound { .. }) => return Ok(None),
        found => found.map_err(|e| refuse(primary, e))?,
    };
    let Some(said) = note(primary, &Place::upload_said(id))? else { return Ok(None) };
    let assembled = note(primary, &Place::upload_assembled(id))?;
    let size = |name: &str| {
        let mut files = entries.iter().filter(|(entry, _)| entry.name.as_deref() == Some(name));
        files.find_map(|(_, stat)| stat.as_ref()).map(|stat| stat.size)
    };
    let (whole, closed) = (size(WHOLE), size(CLOSED));
    let lying = if assembled.is_some() { Vec::new() } else { lying(&entries, whole.or(closed).unwrap_or(0)) };
    let grown = if whole.is_some() { Place::upload_whole(id) } else { Place::upload_closed(id) };
    Ok(Some(Found { said, lying, assembled, grows: whole.is_some() && closed.is_none(), grown }))
}

/// The parts, in the order of their numbers. A file of its own counts before what was appended under the same number earlier; a record of
/// more than the file has is none.
fn lying(entries: &[(Entry, Option<Stat>)], grown: u64) -> Vec<Lying> {
    let mut lying = BTreeMap::new();
    for (entry, stat) in entries {
        let Some(name) = entry.name.as_deref() else { continue };
        if let (Some(number), Some(stat)) = (Part::number_of(name), stat) {
            let Some(size) = stat.size.checked_sub(SEAL) else { continue };
            lying.insert(number, Lying { part: Part { number, size }, within: None });
        } else if let Some(within) = Appended::of(name).filter(|it| it.end().is_some_and(|end| end <= grown))
        {
            let now = Lying { part: within.part, within: Some(within) };
            let there = lying.entry(within.part.number).or_insert(now);
            if there.within.is_some_and(|other| other.offset < within.offset) {
                *there = now;
            }
        }
    }
    lying.into_values().collect()
}

/// When something of an upload was written last. What grew may have the date of a film that was to be made of it.
pub(super) fn last_written(entries: &[(Entry, Option<Stat>)]) -> Option<Timestamp> {
    let grown = |entry: &Entry| matches!(entry.name.as_deref(), Some(WHOLE | CLOSED));
    entries.iter().filter(|(entry, _)| !grown(entry)).filter_map(|(_, stat)| Some(stat.as_ref()?.mtime)).max()
}

/// Reads some of a file, piece by piece. `false`: it ends before that.
pub(super) fn read_through(
    primary: &Primary,
    reader: &mut dyn ReadAt,
    range: Range<u64>,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Refusal>,
) -> Result<bool, Refusal> {
    let (mut piece, mut at) = (vec![0; PIECE], range.start);
    while at < range.end {
        let most = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(PIECE);
        let read = reader.read_at(&mut piece[..most], at);
        let read = read.map_err(|e| Refusal::Drive(primary.attached.heed(e)))?;
        if read == 0 {
            return Ok(false);
        }
        take(&piece[..read])?;
        at += read as u64;
    }
    Ok(true)
}

/// A note of ours; `None` if it is not there, or not what we write.
pub(super) fn note<T: serde::de::DeserializeOwned>(
    primary: &Primary,
    place: &Place,
) -> Result<Option<T>, Refusal> {
    let mut text = vec![0; 4 * MOST_NOTES];
    let read = primary.attached.volume.open(place).and_then(|mut file| file.read_at(&mut text, 0));
    match read {
        Ok(read) => Ok(serde_json::from_slice(&text[..read]).ok()),
        Err(VolumeError::NotFound { .. }) => Ok(None),
        Err(e) => Err(refuse(primary, e)),
    }
}

/// Writes a note, durable on return.
pub(super) fn put(
    volume: &dyn Volume,
    place: &Place,
    text: &[u8],
    now: Timestamp,
) -> Result<(), VolumeError> {
    let mut staged = volume.stage(Some(text.len() as u64))?;
    staged.write(text)?;
    let mut synced = staged.sync(Some(now))?;
    match synced.publish(place) {
        Err(VolumeError::Exists { .. }) => synced.publish_over(place)?,
        other => other?,
    }
    volume.sync_dir(&place.parent().unwrap_or_else(Place::root))
}

/// All uploads there are.
pub(super) fn uploads(volume: &dyn Volume) -> Result<Vec<UploadId>, VolumeError> {
    match volume.list(&Place::uploads()) {
        Ok(entries) => Ok(entries.into_iter().filter_map(|entry| entry.name?.parse().ok()).collect()),
        Err(VolumeError::NotFound { .. }) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Throws parts away, by their numbers; how many names that were. Records before files: of a part that was sent again, the bytes
/// before are never what is left.
pub(super) fn discard_parts(
    volume: &dyn Volume,
    id: &UploadId,
    these: impl Fn(u64) -> bool,
) -> Result<usize, VolumeError> {
    let entries = volume.list(&Place::upload(id))?;
    let names = entries.iter().filter_map(|entry| entry.name.as_deref());
    let mut places: Vec<(bool, Place)> = Vec::new();
    for name in names {
        if let Some(appended) = Appended::of(name).filter(|it| these(it.part.number)) {
            places.push((false, Place::appended(id, &appended)));
        } else if let Some(number) = Part::number_of(name).filter(|&number| these(number)) {
            places.push((true, Place::part(id, number)));
        }
    }
    places.sort();
    places.iter().try_for_each(|(_, place)| volume.discard(place))?;
    Ok(places.len())
}

/// Removes all there is of an upload. What was said of it first, durably: without that it is none, and a power cut in the middle
/// leaves no upload that lost its end.
pub(super) fn clear(volume: &dyn Volume, id: &UploadId) -> Result<(), VolumeError> {
    let dir = Place::upload(id);
    let entries = match volume.list(&dir) {
        Err(VolumeError::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    match volume.discard(&Place::upload_said(id)) {
        Ok(()) => volume.sync_dir(&dir)?,
        Err(VolumeError::NotFound { .. }) => {}
        Err(e) => return Err(e),
    }
    for entry in entries {
        let Some(file) = entry.name.as_deref().and_then(|name| dir.entry(name)) else { continue };
        discard(volume, &file)?;
    }
    volume.remove_dir(&dir)
}

/// Throws a file away, if it is there.
pub(super) fn discard(volume: &dyn Volume, file: &Place) -> Result<(), VolumeError> {
    match volume.discard(file) {
        Ok(()) | Err(VolumeError::NotFound { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}
