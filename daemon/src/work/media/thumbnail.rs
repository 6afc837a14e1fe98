//! The small picture inside a HEIF (`thmb`, ISO/IEC 23008-12, 6.4.3): made the primary one in memory, so that a decoder takes it for the
//! photo, and need not decode the photo.
use std::io;

use crate::model::media::Pixels;
use crate::work::media::boxes::{self, Level, Span, number};
use crate::work::media::source::{Bytes, Source};

/// Where the primary item's number stands in a file, and the number of its thumbnail.
struct Found {
    at: usize,
    wide: usize,
    thumbnail: u64,
}

/// Has a HEIF say that its thumbnail is its primary picture, and returns how large that is shown. `None`: it has none, and is as before.
pub fn point_at_thumbnail(heif: &mut [u8]) -> Option<Pixels> {
    let found = find(heif).ok().flatten()?;
    let place = heif.get_mut(found.at..found.at + found.wide)?;
    let before = place.to_vec();
    place.copy_from_slice(&found.thumbnail.to_be_bytes()[8 - found.wide..]);
    let size = size(heif).ok().flatten();
    if size.is_none()
        && let Some(place) = heif.get_mut(found.at..found.at + found.wide)
    {
        place.copy_from_slice(&before);
    }
    size
}

/// How large the primary picture is shown.
fn size(heif: &[u8]) -> io::Result<Option<Pixels>> {
    let mut bytes = Bytes(heif);
    let mut source = Source::new(&mut bytes, heif.len() as u64);
    let top = boxes::level(&mut source, 0, heif.len() as u64)?;
    boxes::picture(&mut source, &top)
}

fn find(heif: &[u8]) -> io::Result<Option<Found>> {
    let mut bytes = Bytes(heif);
    let mut source = Source::new(&mut bytes, heif.len() as u64);
    let top = boxes::level(&mut source, 0, heif.len() as u64)?;
    let Some(meta) = top.first(b"meta") else { return Ok(None) };
    let inner = boxes::level(&mut source, meta.from + 4, meta.to)?;
    let (Some(pitm), Some(iref)) = (inner.first(b"pitm"), inner.first(b"iref")) else { return Ok(None) };
    let primary = pitm.read(&mut source)?;
    let wide = if primary.first() == Some(&0) { 2 } else { 4 };
    let Some(item) = number(&primary, 4, wide) else { return Ok(None) };
    let Some(thumbnail) = thumbnail_of(&mut source, &iref, item)? else { return Ok(None) };
    let at = usize::try_from(pitm.from + 4).unwrap_or(usize::MAX);
    Ok(Some(Found { at, wide, thumbnail }))
}

/// The item that says it is this one's thumbnail (`iref`, ISO/IEC 14496-12, 8.11.12).
fn thumbnail_of(source: &mut Source<'_>, iref: &Span, item: u64) -> io::Result<Option<u64>> {
    let [version, ..] = source.array::<4>(iref.from)?;
    let wide = if version == 0 { 2 } else { 4 };
    let references: Level = boxes::level(source, iref.from + 4, iref.to)?;
    for reference in references.boxes.iter().filter(|one| one.kind == *b"thmb") {
        let bytes = reference.read(source)?;
        let (Some(from), Some(count)) = (number(&bytes, 0, wide), number(&bytes, wide, 2)) else { continue };
        let mut to = (0..count as usize).map_while(|n| number(&bytes, wide + 2 + n * wide, wide));
        if to.any(|to| to == item) {
            return Ok(Some(from));
        }
    }
    Ok(None)
}
