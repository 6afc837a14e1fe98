//! A Live Photo that comes as one archive (ZIP, PKWARE APPNOTE 6.3): its two halves taken out, each by way of an ordinary upload.
//!
//! Two files are taken out of an archive of two, of a picture and of a video; whatever else it is stays as it came. No name out of an
//! archive is used, no size that it only claims is set aside, and what inflates beyond all photos is none.
use std::io::{self, Read};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::store::volume::ReadAt;

/// The end of the list: 22 bytes, and a comment, which phones do not write.
const END: u64 = 22;
const LONGEST_COMMENT: u64 = 1024;
/// Pictures and videos are packed already: more than this many times what was sent is none.
const MOST_TIMES: u64 = 4;
/// Entries of an archive that is looked at.
const MOST_ENTRIES: u64 = 64;
const MOST_LIST: u64 = 64 << 10;

const PICTURES: [&str; 4] = ["heic", "heif", "jpg", "jpeg"];
const VIDEOS: [&str; 3] = ["mov", "mp4", "m4v"];

/// One of the two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Its ending, lower case.
    pub ending: String,
    /// Bytes unpacked.
    pub size: u64,
    packed: u64,
    deflated: bool,
    crc: u32,
    header: u64,
}

/// The two halves of a Live Photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The picture.
    pub picture: Packed,
    /// The video.
    pub video: Packed,
}

/// The pair in an archive of `size` bytes; `None`: it is something else.
pub fn pair(file: &mut dyn ReadAt, size: u64) -> io::Result<Option<Pair>> {
    let tail = size.min(END + LONGEST_COMMENT);
    let bytes = piece(file, size - tail, tail)?;
    let Some(at) = bytes.windows(4).rposition(|sign| sign == b"PK\x05\x06") else { return Ok(None) };
    let end = &bytes[at..];
    let (Some(entries), Some(length), Some(start)) =
        (number(end, 10, 2), number(end, 12, 4), number(end, 16, 4))
    else {
        return Ok(None);
    };
    if entries > MOST_ENTRIES || length > MOST_LIST || start.saturating_add(length) > size {
        return Ok(None);
    }
    let list = piece(file, start, length)?;
    let (mut pictures, mut videos, mut others, mut at) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..entries {
        let Some((entry, next)) = entry(&list, at) else { return Ok(None) };
        at = next;
        match entry {
            Some(packed) if PICTURES.contains(&packed.ending.as_str()) => pictures.push(packed),
            Some(packed) if VIDEOS.contains(&packed.ending.as_str()) => videos.push(packed),
            Some(_) => others += 1,
            None => {}
        }
    }
    let (Some(picture), Some(video), 0) = (pictures.pop(), videos.pop(), others) else { return Ok(None) };
    let only = pictures.is_empty() && videos.is_empty();
    let likely = |packed: &Packed| packed.size / MOST_TIMES <= packed.packed && packed.size > 0;
    Ok((only && likely(&picture) && likely(&video)).then_some(Pair { picture, video }))
}

/// An entry of the list (4.3.12), and where the next begins. `Some(None)` in front: a folder, or what macOS puts beside files.
fn entry(list: &[u8], at: usize) -> Option<(Option<Packed>, usize)> {
    let bytes = list.get(at..).filter(|bytes| bytes.starts_with(b"PK\x01\x02"))?;
    let field = |at, len| number(bytes, at, len);
    let lengths = [28, 30, 32].map(|at| field(at, 2));
    let [name_len, extra, comment] = [lengths[0]?, lengths[1]?, lengths[2]?];
    let name = bytes.get(46..46 + usize::try_from(name_len).ok()?)?;
    let next = at + 46 + usize::try_from(name_len + extra + comment).ok()?;
    let name = String::from_utf8_lossy(name).to_lowercase();
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.is_empty() || last.starts_with("._") || name.starts_with("__macosx/") {
        return Some((None, next));
    }
    let ending = last.rsplit_once('.').map_or("", |(_, ending)| ending).to_owned();
    let (flags, method) = (field(8, 2)?, field(10, 2)?);
    // Encrypted, or packed in a way that no phone uses.
    if flags & 1 == 1 || !matches!(method, 0 | 8) {
        return None;
    }
    let packed = Packed {
        ending,
        size: field(24, 4)?,
        packed: field(20, 4)?,
        deflated: method == 8,
        crc: u32::try_from(field(16, 4)?).ok()?,
        header: field(42, 4)?,
    };
    Some((Some(packed), next))
}

/// Takes one file out, piece by piece; fails where it is not what the archive says.
pub fn unpack<E: From<io::Error>>(
    file: &mut dyn ReadAt,
    packed: &Packed,
    write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let header = piece(file, packed.header, 30)?;
    let skip =
        number(&header, 26, 2).zip(number(&header, 28, 2)).filter(|_| header.starts_with(b"PK\x03\x04"));
    let (name, extra) = skip.ok_or_else(broken)?;
    let raw = Span { file, at: packed.header + 30 + name + extra, left: packed.packed };
    let mut bytes: Box<dyn Read> =
        if packed.deflated { Box::new(DeflateDecoder::new(raw)) } else { Box::new(raw) };
    let (mut crc, mut buffer, mut left) = (Crc::new(), vec![0; 128 << 10], packed.size);
    loop {
        let read = bytes.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64).ok_or_else(broken)?;
        crc.update(&buffer[..read]);
        write(&buffer[..read])?;
    }
    if left == 0 && crc.sum() == packed.crc { Ok(()) } else { Err(broken().into()) }
}

/// A stretch of a file.
struct Span<'f> {
    file: &'f mut dyn ReadAt,
    at: u64,
    left: u64,
}

impl Read for Span<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let read = self.file.read_at(&mut buf[..most], self.at).map_err(io::Error::other)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

fn piece(file: &mut dyn ReadAt, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let read = file.read_at(&mut bytes, at).map_err(io::Error::other)?;
    if read == bytes.len() { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// A number of up to eight bytes, the lowest first.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let digits = bytes.get(at..at.checked_add(len)?)?;
    Some(digits.iter().rev().fold(0, |n, digit| n << 8 | u64::from(*digit)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::store::volume::VolumeError;
    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use proptest::prelude::*;

    struct Bytes(Vec<u8>);

    impl ReadAt for Bytes {
        fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
            let len = buf.len().min(self.0.len() - from);
            buf[..len].copy_from_slice(&self.0[from..from + len]);
            Ok(len)
        }
    }

    fn zip(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let (mut all, mut list) = (Vec::new(), Vec::new());
        for (name, bytes, deflated) in files {
            let mut crc = Crc::new();
            crc.update(bytes);
            let mut packed = bytes.to_vec();
            if *deflated {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes).unwrap();
                packed = encoder.finish().unwrap();
            }
            let common = [
                &[20, 0, 0, 0, if *deflated { 8 } else { 0 }, 0, 0, 0, 0, 0][..],
                &crc.sum().to_le_bytes(),
                &(packed.len() as u32).to_le_bytes(),
                &(bytes.len() as u32).to_le_bytes(),
                &(name.len() as u16).to_le_bytes(),
                &[0, 0],
            ]
            .concat();
            let header = all.len() as u32;
            list.extend(
                [b"PK\x01\x02\x14\0", &common[..], &[0; 10], &header.to_le_bytes(), name.as_bytes()].concat(),
            );
            all.extend([b"PK\x03\x04", &common[..], name.as_bytes(), &packed].concat());
        }
        let count = (files.len() as u16).to_le_bytes();
        let (length, start) = ((list.len() as u32).to_le_bytes(), (all.len() as u32).to_le_bytes());
        [all, list, [b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &length, &start, &[0, 0]].concat()]
            .concat()
    }

    fn looked(bytes: &[u8]) -> Option<Pair> {
        pair(&mut Bytes(bytes.to_vec()), bytes.len() as u64).ok().flatten()
    }

    fn taken(bytes: &[u8], packed: &Packed) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        unpack(&mut Bytes(bytes.to_vec()), packed, &mut |piece| {
            all.extend_from_slice(piece);
            Ok::<_, io::Error>(())
        })?;
        Ok(all)
    }

    #[test]
    fn a_pair_comes_out_as_it_went_in_and_nothing_else_is_one() {
        const STILL: &[u8] = b"a picture, a picture and a video";
        const FILM: &[u8] = b"a video";
        let packed = zip(&[
            ("a/IMG_1.HEIC", STILL, true),
            ("__MACOSX/._IMG_1.HEIC", b"x", false),
            ("IMG_1.MOV", FILM, false),
            ("a/", b"", false),
        ]);
        let found = looked(&packed).unwrap();
        assert_eq!((found.picture.ending.as_str(), found.video.ending.as_str()), ("heic", "mov"));
        assert_eq!(taken(&packed, &found.picture).unwrap(), STILL);
        assert_eq!(taken(&packed, &found.video).unwrap(), FILM);
        let zeros = vec![0; 1 << 20];
        for (what, files) in [
            ("one file", vec![("a.heic", STILL, false)]),
            (
                "two pictures",
                vec![("a.heic", STILL, false), ("b.heic", STILL, false), ("c.mov", FILM, false)],
            ),
            (
                "something else in it",
                vec![("a.heic", STILL, false), ("b.mov", FILM, false), ("c.txt", STILL, false)],
            ),
            ("a bomb", vec![("a.heic", &zeros[..], true), ("b.mov", FILM, false)]),
            ("nothing", vec![]),
        ] {
            assert_eq!(looked(&zip(&files)), None, "{what}");
        }
        assert_eq!(looked(b"PK"), None);
        // A flipped byte is found out.
        let mut spoiled = packed.clone();
        let at = packed.windows(FILM.len()).position(|w| w == FILM).unwrap();
        spoiled[at] ^= 1;
        assert!(taken(&spoiled, &found.video).is_err());
    }

    proptest! {
        #[test]
        fn changed_bytes_are_survived(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
            let mut bytes = zip(&[("a.heic", b"a picture, a picture and a video", true), ("a.mov", b"a video", false)]);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(bytes.len() - cut.index(2) * cut.index(bytes.len()));
            if let Some(found) = looked(&bytes) {
                for packed in [found.picture, found.video] {
                    // No more than it says, which is no more than four times what there is.
                    if let Ok(all) = taken(&bytes, &packed) {
                        prop_assert_eq!(all.len() as u64, packed.size);
                    }
                }
            }
        }
    }
}
