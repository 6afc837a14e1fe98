//! ISO base media files (ISO/IEC 14496-12): MP4, QuickTime, HEIF. Boxes in boxes; only headers and small boxes are read.
use std::io;

use crate::model::media::{MediaKind, Pixels, Structure};
use crate::work::media::source::Source;

/// Boxes looked at in one level: a film in fragments has many, and its header is among the first.
const MOST_BOXES: usize = 8192;
/// Bytes of a box that is read whole.
const MOST_BYTES: u64 = 1 << 20;

/// Where a box's content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) kind: [u8; 4],
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    /// Its content, of which there may not be too much.
    pub(super) fn read(&self, source: &mut Source<'_>) -> io::Result<Vec<u8>> {
        let len = self.to.saturating_sub(self.from);
        if len > MOST_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        source.piece(self.from, usize::try_from(len).unwrap_or(usize::MAX))
    }
}

/// Boxes one after another, and how that ended.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) boxes: Vec<Span>,
    /// A box says that it goes on where there is nothing more.
    pub(super) cut: bool,
}

impl Level {
    pub(super) fn first(&self, kind: &[u8; 4]) -> Option<Span> {
        self.boxes.iter().find(|b| b.kind == *kind).copied()
    }
}

/// The boxes between two offsets. Bytes that begin no box (a trailer of the camera's, zeros) end it.
pub(super) fn level(source: &mut Source<'_>, from: u64, to: u64) -> io::Result<Level> {
    let mut found = Level::default();
    let mut at = from;
    while to.saturating_sub(at) >= 8 && found.boxes.len() < MOST_BOXES {
        let [s0, s1, s2, s3, kind @ ..] = source.array::<8>(at)?;
        if !kind.iter().all(|b| (0x20..0x7f).contains(b) || *b == 0xa9) {
            break;
        }
        let (header, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            0 => (8, to - at),
            1 if to - at >= 16 => (16, u64::from_be_bytes(source.array(at + 8)?)),
            1 => (16, u64::MAX),
            size => (8, u64::from(size)),
        };
        let end = at.checked_add(size);
        let whole = size >= header && end.is_some_and(|end| end <= to);
        if !whole {
            found.cut = size >= header;
            // What of it is there may be of use all the same.
            found.boxes.push(Span { kind, from: (at + header).min(to), to });
            break;
        }
        found.boxes.push(Span { kind, from: at + header, to: at + size });
        at += size;
    }
    Ok(found)
}

/// What a file is that begins with a box: by its brands (`ftyp`), or because QuickTime was there before them.
pub(super) fn kind(head: &[u8]) -> Option<MediaKind> {
    const PICTURES: [&[u8; 4]; 11] =
        [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1", b"avif", b"avis"];
    let word = |at: usize| head.get(at..at + 4);
    match word(4)? {
        b"ftyp" => {
            let size = u32::from_be_bytes(word(0)?.try_into().ok()?) as usize;
            let brands = (16..size.min(head.len())).step_by(4).filter_map(word).chain(word(8));
            let mut pictures = brands.filter(|brand| PICTURES.iter().any(|p| p.as_slice() == *brand));
            Some(if pictures.next().is_some() { MediaKind::Heif } else { MediaKind::Movie })
        }
        b"moov" | b"mdat" | b"wide" | b"pnot" => Some(MediaKind::Movie),
        b"free" | b"skip" => {
            let next = usize::try_from(u32::from_be_bytes(word(0)?.try_into().ok()?)).ok()?;
            matches!(word(next.checked_add(4)?)?, b"moov" | b"mdat" | b"wide").then_some(MediaKind::Movie)
        }
        _ => None,
    }
}

/// Whether a movie is whole: no box goes on behind the end, and its index and its data are there.
pub(super) fn movie(top: &Level) -> Structure {
    let has = |kind| top.first(kind).is_some();
    match (top.cut, has(b"moov") || has(b"moof"), has(b"mdat")) {
        (true, _, _) => Structure::EndsEarly,
        (false, true, true) => Structure::Whole,
        // Either may be among those that were not looked at.
        (false, _, _) if top.boxes.len() == MOST_BOXES => Structure::Unchecked,
        (false, false, _) => Structure::NoIndex,
        (false, true, false) => Structure::EndsEarly,
    }
}

/// Whether a HEIF is whole: no box goes on behind the end, and all that its items are made of lies before it.
pub(super) fn heif(source: &mut Source<'_>, top: &Level) -> io::Result<Structure> {
    let Some(meta) = top.first(b"meta") else {
        // A sequence of pictures is built like a movie.
        return Ok(if top.cut { Structure::EndsEarly } else { movie(top) });
    };
    let iloc = level(source, meta.from + 4, meta.to)?.first(b"iloc");
    let end = match iloc {
        Some(iloc) => items_end(&iloc.read(source)?),
        None => None,
    };
    Ok(if top.cut || end.is_some_and(|end| end > source.size()) {
        Structure::EndsEarly
    } else {
        Structure::Whole
    })
}

/// Where the last byte of the items lies that are in the file itself (`iloc`, ISO/IEC 14496-12, 8.11.3).
fn items_end(iloc: &[u8]) -> Option<u64> {
    const MOST: u64 = 65_536;
    let version = number(iloc, 0, 1)?;
    let sizes = number(iloc, 4, 2)?;
    let nibble = |shift: u32| usize::try_from(sizes >> shift & 0xf).ok().filter(|n| matches!(n, 0 | 4 | 8));
    let (offset, length, base) = (nibble(12)?, nibble(8)?, nibble(4)?);
    let index = if version > 0 { nibble(0)? } else { 0 };
    let wide = if version < 2 { 2 } else { 4 };
    let (mut at, mut end) = (6 + wide, 0);
    for _ in 0..number(iloc, 6, wide)?.min(MOST) {
        at += wide;
        let in_file = version == 0 || number(iloc, at, 2)? & 0xf == 0;
        // How it is made, and in which file.
        at += if version > 0 { 4 } else { 2 };
        let from = number(iloc, at, base)?;
        let extents = number(iloc, at + base, 2)?;
        at += base + 2;
        for _ in 0..extents {
            let begins = number(iloc, at + index, offset)?.saturating_add(from);
            let extent = begins.saturating_add(number(iloc, at + index + offset, length)?);
            at += index + offset + length;
            end = if in_file { extent.max(end) } else { end };
            // Extents that take no bytes here could go on for ever.
            if index + offset + length == 0 {
                break;
            }
        }
    }
    Some(end)
}

/// Pixels of a HEIF's primary picture as shown: its `ispe`, cut by its `clap`, turned by its `irot` (ISO/IEC 23008-12, 6.5).
/// EXIF's orientation says nothing there.
pub(super) fn picture(source: &mut Source<'_>, top: &Level) -> io::Result<Option<Pixels>> {
    let Some(meta) = top.first(b"meta") else { return Ok(None) };
    let inner = level(source, meta.from + 4, meta.to)?;
    let (Some(pitm), Some(iprp)) = (inner.first(b"pitm"), inner.first(b"iprp")) else { return Ok(None) };
    let pitm = pitm.read(source)?;
    let primary = match pitm.first() {
        Some(0) => number(&pitm, 4, 2),
        Some(_) => number(&pitm, 4, 4),
        None => None,
    };
    let parts = level(source, iprp.from, iprp.to)?;
    let (Some(ipco), Some(ipma), Some(primary)) = (parts.first(b"ipco"), parts.first(b"ipma"), primary)
    else {
        return Ok(None);
    };
    let properties = level(source, ipco.from, ipco.to)?.boxes;
    let (mut size, mut turned) = (None, false);
    for index in associated(&ipma.read(source)?, primary) {
        let Some(property) = index.checked_sub(1).and_then(|at| properties.get(at)) else { continue };
        match &property.kind {
            b"ispe" => {
                let ispe = property.read(source)?;
                size = number(&ispe, 4, 4).zip(number(&ispe, 8, 4)).and_then(|(w, h)| Pixels::new(w, h));
            }
            // Cut to the picture: encoders fill up to whole blocks.
            b"clap" => {
                let clap = property.read(source)?;
                let side = |at| number(&clap, at, 4)?.checked_div(number(&clap, at + 4, 4)?);
                size = side(0).zip(side(8)).and_then(|(w, h)| Pixels::new(w, h)).or(size);
            }
            b"irot" => turned = property.read(source)?.first().is_some_and(|angle| angle % 2 == 1),
            _ => {}
        }
    }
    Ok(size.map(|size| size.turned(turned)))
}

/// Which properties an item has (`ipma`, ISO/IEC 23008-12, 9.3.1): numbers that count from 1.
fn associated(ipma: &[u8], item: u64) -> Vec<usize> {
    let version = ipma.first().copied().unwrap_or(0);
    let wide = ipma.get(3).is_some_and(|flags| flags & 1 == 1);
    let (id_bytes, index_bytes) = (if version == 0 { 2 } else { 4 }, if wide { 2 } else { 1 });
    let entries = number(ipma, 4, 4).unwrap_or(0);
    let mut at = 8;
    for _ in 0..entries {
        let (Some(id), Some(count)) = (number(ipma, at, id_bytes), number(ipma, at + id_bytes, 1)) else {
            break;
        };
        at += id_bytes + 1;
        let indices = (0..count as usize).filter_map(|n| number(ipma, at + n * index_bytes, index_bytes));
        if id == item {
            // The highest bit says whether it is essential.
            let mask = if wide { 0x7fff } else { 0x7f };
            return indices.filter_map(|index| usize::try_from(index & mask).ok()).collect();
        }
        at += count as usize * index_bytes;
    }
    Vec::new()
}

/// A number of up to eight bytes, the highest first.
pub(super) fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let digits = bytes.get(at..at.checked_add(len)?)?;
    Some(digits.iter().fold(0, |n, digit| n << 8 | u64::from(*digit)))
}
