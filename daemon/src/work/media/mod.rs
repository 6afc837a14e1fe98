//! Metadata: what a photo's or video's own bytes say of it. Whatever they are: bounded in bytes, time and memory, and no panic gets past here.
mod boxes;
mod embedded;
mod exif;
mod jpeg;
mod looking;
mod movie;
mod pictures;
mod source;
mod thumbnail;
mod xmp;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::tz::TimeZone;

use crate::model::media::{Media, MediaKind, Pixels, Structure};
use crate::store::volume::{ReadAt, VolumeError};
use source::{Bytes, Source};

pub use embedded::{Embedded, embedded};
pub use looking::Looking;
pub use thumbnail::point_at_thumbnail;

#[cfg(test)]
mod tests;

/// Enough of a file to know what it is.
const HEAD: usize = 4096;

/// Reads what a file of `size` bytes says of itself. `zone`: that of the box, for videos that know no other. `Err`: the drive did
/// not give the bytes, which says nothing about them.
pub fn read(file: &mut dyn ReadAt, size: u64, zone: &TimeZone) -> Result<Media, VolumeError> {
    let mut source = Source::new(file, size);
    let known = source.head(HEAD).ok().map_or(MediaKind::Unknown, |head| kind(&head));
    // Nothing of ours is half changed behind this: there is only the file's reader, and it is thrown away.
    let read = catch_unwind(AssertUnwindSafe(|| look(&mut source, known, zone)));
    let broken = || Media { structure: Structure::Broken, ..Media::of(known) };
    let media = read.unwrap_or_else(|_| {
        log::error!(kind = known.as_str(), size; "a photo's metadata made its reader panic");
        broken()
    });
    source.failed().map_or(Ok(media), Err)
}

/// The same of bytes in memory, and a panic is one: for whoever looks for bytes that cause it.
pub fn read_bytes(bytes: &[u8], zone: &TimeZone) -> Media {
    let mut file = Bytes(bytes);
    let mut source = Source::new(&mut file, bytes.len() as u64);
    let known = kind_of(bytes);
    look(&mut source, known, zone)
}

/// What a file is, by its bytes.
pub fn kind_of(bytes: &[u8]) -> MediaKind {
    kind(&bytes[..bytes.len().min(HEAD)])
}

/// What bytes are, by how they begin.
fn kind(head: &[u8]) -> MediaKind {
    let is = |sign: &[u8]| head.starts_with(sign);
    if is(b"\xff\xd8\xff") {
        MediaKind::Jpeg
    } else if is(b"\x89PNG\r\n\x1a\n") {
        MediaKind::Png
    } else if is(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        MediaKind::Webp
    } else if is(b"GIF87a") || is(b"GIF89a") {
        MediaKind::Gif
    } else if is(b"II\x2a\0") || is(b"MM\0\x2a") {
        MediaKind::Tiff
    } else if is(b"\xff\x0a") || is(b"\0\0\0\x0cJXL \r\n\x87\n") {
        MediaKind::Jxl
    } else {
        boxes::kind(head).unwrap_or(MediaKind::Unknown)
    }
}

/// Each part of this may fail and leave the others as they are.
fn look(source: &mut Source<'_>, kind: MediaKind, zone: &TimeZone) -> Media {
    let mut media = Media::of(kind);
    match kind {
        MediaKind::Unknown => return media,
        MediaKind::Movie | MediaKind::Heif => {
            let Ok(top) = boxes::level(source, 0, source.size()) else { return media };
            if kind == MediaKind::Movie {
                media = movie::read(source, &top, zone).unwrap_or(media);
                media.structure = boxes::movie(&top);
            } else {
                media.size = boxes::picture(source, &top).ok().flatten();
                media.motion = top.first(b"mpvd").map(|video| video.to - video.from);
                media.structure = checked(boxes::heif(source, &top));
            }
        }
        MediaKind::Jpeg => {
            if let Ok(found) = jpeg::segments(source) {
                media.motion = found.motion.or_else(|| jpeg::samsung_motion(source).ok().flatten());
                media.structure = jpeg::structure(source, &found).unwrap_or(Structure::EndsEarly);
            } else {
                media.structure = Structure::EndsEarly;
            }
        }
        MediaKind::Png => media.structure = checked(pictures::png(source)),
        MediaKind::Webp => media.structure = checked(pictures::webp(source)),
        MediaKind::Gif => media.structure = checked(pictures::gif(source)),
        MediaKind::Tiff | MediaKind::Jxl => {}
    }
    if kind.is_picture() {
        picture(source, &mut media);
    }
    media
}

fn checked(found: io::Result<Structure>) -> Structure {
    let ended = |e: io::Error| e.kind() == io::ErrorKind::UnexpectedEof;
    found.unwrap_or_else(|e| if ended(e) { Structure::EndsEarly } else { Structure::Unchecked })
}

/// EXIF, and the size as shown.
fn picture(source: &mut Source<'_>, media: &mut Media) {
    let found = exif::find(source, media.kind == MediaKind::Tiff);
    let turned = found.as_ref().is_some_and(|found| exif::read(found, media));
    if media.kind == MediaKind::Heif {
        return;
    }
    let mut reader = io::BufReader::with_capacity(1024, source.rewind());
    let stored = match imagesize::reader_size(&mut reader) {
        Ok(size) => Pixels::new(size.width as u64, size.height as u64),
        Err(_) => found.as_ref().and_then(exif::tiff_size),
    };
    media.size = stored.map(|size| size.turned(turned));
}

/// Text of a camera's, fit to be shown: a line of readable characters without blanks around it, and not long.
fn words(bytes: &[u8]) -> Option<String> {
    const MOST: usize = 64;
    let text = String::from_utf8_lossy(bytes);
    let plain =
        text.chars().map(|c| if c.is_control() || c == char::REPLACEMENT_CHARACTER { ' ' } else { c });
    let text: String = plain.take(MOST).collect::<String>().trim().to_owned();
    (!text.is_empty()).then_some(text)
}
