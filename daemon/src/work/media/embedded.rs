//! The small JPEG that cameras put beside their EXIF data (CIPA DC-008, 4.5.5): found, bounded and checked, and not decoded.
use std::panic::{AssertUnwindSafe, catch_unwind};

use exif::{In, Tag};

use crate::model::media::{MediaKind, Pixels};
use crate::store::volume::{ReadAt, VolumeError};
use crate::work::media::source::Source;
use crate::work::media::{HEAD, exif as exif_part, kind};

/// The standard lets it have 64 KiB; some cameras do not care.
const MOST_BYTES: usize = 256 << 10;

/// A small picture of a large one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// A JPEG, from its beginning to its end, as it was found.
    pub jpeg: Vec<u8>,
    /// Its pixels, and how large it is shown is the same: one that would have to be turned is none.
    pub size: Pixels,
}

/// Looks for one that can be shown as it is. `Err`: the drive did not give the bytes.
pub fn embedded(file: &mut dyn ReadAt, size: u64) -> Result<Option<Embedded>, VolumeError> {
    let mut source = Source::new(file, size);
    // As in `super::read`: nothing of ours is half changed behind a panic.
    let found = catch_unwind(AssertUnwindSafe(|| look(&mut source))).unwrap_or_else(|_| {
        log::error!(size; "a photo's small picture made its reader panic");
        None
    });
    source.failed().map_or(Ok(found), Err)
}

fn look(source: &mut Source<'_>) -> Option<Embedded> {
    let kind = kind(&source.head(HEAD).ok()?);
    if !matches!(kind, MediaKind::Jpeg | MediaKind::Heif | MediaKind::Tiff) {
        return None;
    }
    let exif = exif_part::find(source, kind == MediaKind::Tiff)?;
    let number = |tag, of| exif.get_field(tag, of).and_then(|field| field.value.get_uint(0));
    // Upright already. To turn it, it would have to be decoded.
    if !matches!(number(Tag::Orientation, In::PRIMARY), None | Some(1)) {
        return None;
    }
    let from = usize::try_from(number(Tag::JPEGInterchangeFormat, In::THUMBNAIL)?).ok()?;
    let length = usize::try_from(number(Tag::JPEGInterchangeFormatLength, In::THUMBNAIL)?).ok()?;
    let bytes = exif.buf().get(from..from.checked_add(length.min(MOST_BYTES))?)?;
    whole(bytes)
}

/// From its beginning to its end, behind which cameras leave zeros.
fn whole(bytes: &[u8]) -> Option<Embedded> {
    if !bytes.starts_with(b"\xff\xd8\xff") {
        return None;
    }
    let end = memchr::memmem::rfind(bytes, b"\xff\xd9")? + 2;
    let jpeg = bytes[..end].to_vec();
    let size = imagesize::blob_size(&jpeg).ok()?;
    let size = Pixels::new(size.width as u64, size.height as u64)?;
    Some(Embedded { jpeg, size })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::work::media::source::Bytes;
    use proptest::prelude::*;

    const SMALL: &[u8] = include_bytes!("../../../tests/fixtures/media/bare.jpg");

    /// A JPEG with an EXIF segment in which there is this small picture, and this orientation.
    pub(in crate::work) fn with_embedded(jpeg: &[u8], small: &[u8], orientation: u16) -> Vec<u8> {
        let mut tiff = b"II\x2a\0\x08\0\0\0".to_vec();
        let entry = |tag: u16, kind: u16, value: u32| {
            [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &1u32.to_le_bytes(), &value.to_le_bytes()].concat()
        };
        let first = [&1u16.to_le_bytes()[..], &entry(0x112, 3, u32::from(orientation)), &26u32.to_le_bytes()];
        tiff.extend(first.concat());
        let at = 26 + 2 + 24 + 4;
        let second = [
            &2u16.to_le_bytes()[..],
            &entry(0x201, 4, at),
            &entry(0x202, 4, small.len() as u32),
            &0u32.to_le_bytes(),
        ];
        tiff.extend(second.concat());
        tiff.extend_from_slice(small);
        let length = u16::try_from(tiff.len() + 8).unwrap().to_be_bytes();
        [b"\xff\xd8\xff\xe1", &length[..], b"Exif\0\0", &tiff, &jpeg[2..]].concat()
    }

    fn found(bytes: &[u8]) -> Option<Embedded> {
        embedded(&mut Bytes(bytes), bytes.len() as u64).unwrap()
    }

    #[test]
    fn a_small_picture_that_is_upright_and_whole_is_found() {
        let photo = with_embedded(SMALL, SMALL, 1);
        assert_eq!(found(&photo).unwrap().jpeg, SMALL);
        assert_eq!(found(&with_embedded(SMALL, SMALL, 6)), None, "it would lie on its side");
        assert_eq!(found(&with_embedded(SMALL, b"\xff\xd8\xff\xd9", 1)), None, "of no size");
        assert_eq!(found(&with_embedded(SMALL, &SMALL[..SMALL.len() / 2], 1)), None, "cut off");
        let padded = [SMALL, &[0; 100]].concat();
        assert_eq!(found(&with_embedded(SMALL, &padded, 1)).unwrap().jpeg, SMALL);
        assert_eq!(found(SMALL), None);
        for end in 0..photo.len() {
            let _whatever = found(&photo[..end]);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_changed_what_is_found_is_a_jpeg(at in 0usize..400, byte: u8) {
            let mut photo = with_embedded(SMALL, SMALL, 1);
            if let Some(place) = photo.get_mut(at) {
                *place = byte;
            }
            if let Some(found) = found(&photo) {
                prop_assert!(found.jpeg.starts_with(b"\xff\xd8\xff") && found.jpeg.ends_with(b"\xff\xd9"));
            }
        }
    }
}
