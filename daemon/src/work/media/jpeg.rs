//! JPEG (ITU-T T.81, annex B): whether the picture ends, and whether a video lies behind it (Google's and Samsung's motion photos).
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};

use crate::model::media::Structure;
use crate::work::media::source::Source;
use crate::work::media::xmp;

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;
const APP1: u8 = 0xe1;
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// Segments before the picture: one with more is no photo.
const MOST_SEGMENTS: usize = 4096;
/// Samsung's trailer (SEF): the type of the record that is a video.
const SAMSUNG_VIDEO: [u8; 2] = [0x30, 0x0a];

/// What the segments show.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Segments {
    /// Where the picture's data begins.
    scan: Option<u64>,
    /// Bytes of a video behind it, as its XMP says.
    pub(super) motion: Option<u64>,
}

/// Walks over the segments up to the picture's data.
pub(super) fn segments(source: &mut Source<'_>) -> io::Result<Segments> {
    let mut found = Segments::default();
    let mut at = 2;
    for _ in 0..MOST_SEGMENTS {
        let [mark, code, high, low] = source.array(at)?;
        if mark != 0xff {
            break;
        }
        // Fill bytes (B.1.1.2), and marks that stand alone.
        if code == 0xff || matches!(code, 0x01 | 0xd0..=0xd8) {
            at += if code == 0xff { 1 } else { 2 };
            continue;
        }
        let length = u16::from_be_bytes([high, low]);
        if code == END_OF_IMAGE || length < 2 {
            break;
        }
        if code == APP1 && found.motion.is_none() {
            found.motion = motion(source, at + 4, usize::from(length - 2))?;
        }
        at += 2 + u64::from(length);
        if code == START_OF_SCAN {
            found.scan = Some(at);
            break;
        }
    }
    Ok(found)
}

fn motion(source: &mut Source<'_>, at: u64, len: usize) -> io::Result<Option<u64>> {
    if len <= XMP.len() || source.piece(at, XMP.len())? != XMP {
        return Ok(None);
    }
    Ok(xmp::motion(&source.piece(at + XMP.len() as u64, len - XMP.len())?))
}

/// Whether the picture ends. Nearly all files end with it; of others its data is read.
pub(super) fn structure(source: &mut Source<'_>, found: &Segments) -> io::Result<Structure> {
    let Some(scan) = found.scan else { return Ok(Structure::Broken) };
    let size = source.size();
    if size >= scan + 2 && source.array(size - 2)? == [0xff, END_OF_IMAGE] {
        return Ok(Structure::Whole);
    }
    let mut reader = BufReader::with_capacity(1 << 16, source.scanning());
    reader.seek(SeekFrom::Start(scan))?;
    let mut at = scan;
    Ok(match end_of_image(&mut reader, &mut at) {
        Ok(true) => Structure::Whole,
        Ok(false) => Structure::EndsEarly,
        // Too large to be read to its end, which was not where it is usually.
        Err(e) if at < size && e.kind() != io::ErrorKind::UnexpectedEof => Structure::Unchecked,
        Err(_) => Structure::EndsEarly,
    })
}

/// Reads entropy-coded data, and the segments between scans, up to the end of the image.
fn end_of_image<R: BufRead + Seek>(reader: &mut R, at: &mut u64) -> io::Result<bool> {
    loop {
        *at += skip_to_mark(reader)?;
        let mut code = 0xff;
        while code == 0xff {
            code = byte(reader)?;
            *at += 1;
        }
        match code {
            // A byte 0xff of the data, or a restart mark (B.1.1.5).
            0x00 | 0x01 | 0xd0..=0xd7 => {}
            END_OF_IMAGE => return Ok(true),
            // The next picture begins and this one never ended.
            0xd8 => return Ok(false),
            _ => {
                let length = u16::from_be_bytes([byte(reader)?, byte(reader)?]);
                let Some(rest) = length.checked_sub(2) else { return Ok(false) };
                for _ in 0..rest {
                    byte(reader)?;
                }
                *at += u64::from(length);
            }
        }
    }
}

/// Past the next 0xff; how many bytes that were.
fn skip_to_mark<R: BufRead>(reader: &mut R) -> io::Result<u64> {
    let mut passed = 0;
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let found = piece.iter().position(|b| *b == 0xff);
        let used = found.map_or(piece.len(), |at| at + 1);
        reader.consume(used);
        passed += used as u64;
        if found.is_some() {
            return Ok(passed);
        }
    }
}

fn byte<R: BufRead>(reader: &mut R) -> io::Result<u8> {
    let mut one = [0];
    reader.read_exact(&mut one)?;
    Ok(one[0])
}

/// Samsung's trailer: a directory before the last eight bytes, one entry for each record before it.
pub(super) fn samsung_motion(source: &mut Source<'_>) -> io::Result<Option<u64>> {
    const ENTRY: usize = 12;
    const MOST: u32 = 256;
    let size = source.size();
    let Some(end) = size.checked_sub(8) else { return Ok(None) };
    let [l0, l1, l2, l3, sign @ ..] = source.array::<8>(end)?;
    let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    if sign != *b"SEFT" || length < 12 || length > end {
        return Ok(None);
    }
    let directory = end - length;
    let [h0, h1, h2, h3, _, _, _, _, c0, c1, c2, c3] = source.array::<12>(directory)?;
    let count = u32::from_le_bytes([c0, c1, c2, c3]).min(MOST);
    if [h0, h1, h2, h3] != *b"SEFH" || u64::from(count) * ENTRY as u64 > length - 12 {
        return Ok(None);
    }
    let entries = source.piece(directory + 12, count as usize * ENTRY)?;
    let video = entries.chunks_exact(ENTRY).find(|entry| entry[2..4] == SAMSUNG_VIDEO);
    // The record begins with its kind and name, and those are no video.
    Ok(video.map(|entry| {
        u64::from(u32::from_le_bytes([entry[8], entry[9], entry[10], entry[11]])).saturating_sub(24)
    }))
}
