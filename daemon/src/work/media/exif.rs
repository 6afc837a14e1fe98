//! EXIF (CIPA DC-008), read by the `exif` crate out of whatever file it is in: date and zone, camera, place, orientation, Apple's notes.
use std::io::{BufReader, Seek as _, SeekFrom};

use exif::{Exif, In, Tag, Value};
use jiff::civil::DateTime;

use crate::model::media::{ContentId, Coordinates, Media, Taken, TakenFrom};
use crate::work::media::source::Source;

/// Bytes of a TIFF or raw file in which its first directories are looked for.
const TIFF_HEAD: usize = 4 << 20;

/// The EXIF part of a picture, if it has one that can be read. Broken entries are left out.
pub(super) fn find(source: &mut Source<'_>, is_tiff: bool) -> Option<Exif> {
    let mut reader = exif::Reader::new();
    reader.continue_on_error(true);
    let read = if is_tiff {
        reader.read_raw(source.head(TIFF_HEAD).ok()?)
    } else {
        let mut buffered = BufReader::with_capacity(4096, source.rewind());
        buffered.seek(SeekFrom::Start(0)).ok()?;
        reader.read_from_container(&mut buffered)
    };
    read.or_else(|e| e.distill_partial_result(|_| ())).ok()
}

/// Takes over what it says; how the picture is to be turned is returned.
pub(super) fn read(exif: &Exif, media: &mut Media) -> bool {
    media.taken = taken(exif).or(media.taken);
    media.make = text(exif, Tag::Make).or_else(|| media.make.take());
    media.model = text(exif, Tag::Model).or_else(|| media.model.take());
    media.place = place(exif).or(media.place);
    media.content_id = content_id(exif).or_else(|| media.content_id.take());
    let orientation = exif.get_field(Tag::Orientation, In::PRIMARY).and_then(|f| f.value.get_uint(0));
    // 5 to 8: rows are columns (CIPA DC-008, 4.6.5.1.6).
    matches!(orientation, Some(5..=8))
}

/// Pixels of a TIFF as it stores them.
pub(super) fn tiff_size(exif: &Exif) -> Option<crate::model::media::Pixels> {
    let number = |tag| exif.get_field(tag, In::PRIMARY).and_then(|f| f.value.get_uint(0)).map(u64::from);
    crate::model::media::Pixels::new(number(Tag::ImageWidth)?, number(Tag::ImageLength)?)
}

fn taken(exif: &Exif) -> Option<Taken> {
    [
        (Tag::DateTimeOriginal, Tag::SubSecTimeOriginal, Tag::OffsetTimeOriginal),
        (Tag::DateTimeDigitized, Tag::SubSecTimeDigitized, Tag::OffsetTimeDigitized),
        (Tag::DateTime, Tag::SubSecTime, Tag::OffsetTime),
    ]
    .into_iter()
    .find_map(|(date, fraction, offset)| {
        let mut at = exif::DateTime::from_ascii(ascii(exif, date)?).ok()?;
        // Either may be missing or wrong, and the date is one all the same.
        if let Some(bytes) = ascii(exif, fraction) {
            drop(at.parse_subsec(bytes));
        }
        if let Some(bytes) = ascii(exif, offset) {
            drop(at.parse_offset(bytes));
        }
        let small = |n: u8| i8::try_from(n).ok();
        let nanos =
            at.nanosecond.and_then(|n| i32::try_from(n).ok()).filter(|n| *n < 1_000_000_000).unwrap_or(0);
        let local = DateTime::new(
            i16::try_from(at.year).ok()?,
            small(at.month)?,
            small(at.day)?,
            small(at.hour)?,
            small(at.minute)?,
            // A leap second.
            small(at.second)?.min(59),
            nanos / 1_000_000 * 1_000_000,
        );
        Taken::new(local.ok()?, at.offset.map(|minutes| i32::from(minutes) * 60), TakenFrom::Exif)
    })
}

fn ascii(exif: &Exif, tag: Tag) -> Option<&[u8]> {
    let Value::Ascii(values) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
    values.first().map(Vec::as_slice)
}

fn text(exif: &Exif, tag: Tag) -> Option<String> {
    super::words(ascii(exif, tag)?)
}

fn place(exif: &Exif) -> Option<Coordinates> {
    let degrees = |tag| {
        let Value::Rational(parts) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
        let [degrees, minutes, seconds] = parts.get(..3)? else { return None };
        let whole = [degrees, minutes, seconds].iter().all(|part| part.denom != 0);
        whole.then(|| degrees.to_f64() + minutes.to_f64() / 60.0 + seconds.to_f64() / 3600.0)
    };
    let signed = |value: f64, tag, negative: u8| {
        let south_or_west = ascii(exif, tag).and_then(|text| text.first()).is_some_and(|c| *c == negative);
        if south_or_west { -value } else { value }
    };
    let latitude = signed(degrees(Tag::GPSLatitude)?, Tag::GPSLatitudeRef, b'S');
    Coordinates::new(latitude, signed(degrees(Tag::GPSLongitude)?, Tag::GPSLongitudeRef, b'W'))
}

/// What a Live Photo's picture shares with its video: Apple's maker note, a directory of its own behind the words `Apple iOS`,
/// in which 0x0011 is that identifier. Offsets count from the beginning of the note.
fn content_id(exif: &Exif) -> Option<ContentId> {
    const SIGN: &[u8] = b"Apple iOS\0";
    const DIRECTORY: usize = 14;
    const ENTRY: usize = 12;
    let Value::Undefined(note, _) = &exif.get_field(Tag::MakerNote, In::PRIMARY)?.value else { return None };
    if !note.starts_with(SIGN) || note.get(12..DIRECTORY)? != b"MM" {
        return None;
    }
    let number = |at: usize, len| super::boxes::number(note, at, len).and_then(|n| usize::try_from(n).ok());
    let count = number(DIRECTORY, 2)?;
    let entry = (0..count)
        .map(|n| DIRECTORY + 2 + n * ENTRY)
        .take_while(|at| at + ENTRY <= note.len())
        .find(|at| number(*at, 4) == Some(0x0011_0002))?;
    let (len, at) = (number(entry + 4, 4)?, number(entry + 8, 4)?);
    // Up to four bytes would stand in the entry itself: no identifier is so short.
    ContentId::parse(std::str::from_utf8(note.get(at..at.checked_add(len)?)?).ok()?)
}
