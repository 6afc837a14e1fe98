//! PNG, WebP and GIF: whether they end as such files end.
use std::io;

use crate::model::media::Structure;
use crate::work::media::source::Source;

/// Parts of a PNG: one with more says nothing.
const MOST_CHUNKS: usize = 16_384;

/// PNG (third edition, 5.6): chunks up to `IEND`. What lies behind that is nobody's business.
pub(super) fn png(source: &mut Source<'_>) -> io::Result<Structure> {
    let mut at = 8_u64;
    for _ in 0..MOST_CHUNKS {
        if source.size().saturating_sub(at) < 12 {
            return Ok(Structure::EndsEarly);
        }
        let [l0, l1, l2, l3, kind @ ..] = source.array::<8>(at)?;
        if !kind.iter().all(u8::is_ascii_alphabetic) {
            return Ok(Structure::Broken);
        }
        at += 12 + u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
        if at > source.size() {
            return Ok(Structure::EndsEarly);
        }
        if kind == *b"IEND" {
            return Ok(Structure::Whole);
        }
    }
    Ok(Structure::Unchecked)
}

/// WebP (RFC 9649, 2.3): as long as its first chunk says.
pub(super) fn webp(source: &mut Source<'_>) -> io::Result<Structure> {
    let length = u64::from(u32::from_le_bytes(source.array(4)?));
    Ok(if 8 + length <= source.size() { Structure::Whole } else { Structure::EndsEarly })
}

/// GIF (89a, 27): the last byte that is not padding is the trailer.
pub(super) fn gif(source: &mut Source<'_>) -> io::Result<Structure> {
    const LOOKED_AT: u64 = 256;
    let from = source.size().saturating_sub(LOOKED_AT);
    let end = source.piece(from, usize::try_from(source.size() - from).unwrap_or(0))?;
    let last = end.iter().rev().find(|byte| **byte != 0);
    Ok(if last.is_none_or(|byte| *byte == 0x3b) { Structure::Whole } else { Structure::EndsEarly })
}
