//! Movies (ISO/IEC 14496-12, QuickTime File Format): when and where, how large as shown, how long, and what a Live Photo's halves share.
use std::io;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::media::{ContentId, Coordinates, Media, MediaKind, Pixels, Taken, TakenFrom};
use crate::work::media::boxes::{self, Level, number};
use crate::work::media::source::Source;

/// From 1904-01-01, where these files begin to count, to 1970, seconds.
const SINCE_1904: i64 = 2_082_844_800;
/// Tracks of a film: one with more is none.
const MOST_TRACKS: usize = 64;

/// Reads a movie's header. What cannot be read is left unknown.
pub(super) fn read(source: &mut Source<'_>, top: &Level, zone: &TimeZone) -> io::Result<Media> {
    let mut media = Media::of(MediaKind::Movie);
    let Some(moov) = top.first(b"moov") else { return Ok(media) };
    let parts = boxes::level(source, moov.from, moov.to)?;
    if let Some(mvhd) = parts.first(b"mvhd") {
        header(&mvhd.read(source)?, &mut media, zone);
    }
    for track in parts.boxes.iter().filter(|b| b.kind == *b"trak").take(MOST_TRACKS) {
        let shown = shown(source, track.from, track.to)?;
        let pixels = |size: Option<Pixels>| size.map_or(0, |s| u64::from(s.width) * u64::from(s.height));
        if pixels(shown) > pixels(media.size) {
            media.size = shown;
        }
    }
    if let Some(udta) = parts.first(b"udta") {
        let fields = boxes::level(source, udta.from, udta.to)?;
        for field in &fields.boxes {
            if let Some(name) = user_data(field.kind)
                && let Ok(bytes) = field.read(source)
                // Length and language, then the text.
                && let Some(text) = number(&bytes, 0, 2).and_then(|n| bytes.get(4..4 + usize::try_from(n).ok()?))
            {
                say(&mut media, name, &String::from_utf8_lossy(text));
            }
        }
        // Programs put it there, phones into the movie itself, which has the last word.
        if let Some(meta) = fields.first(b"meta") {
            keys(source, meta.from, meta.to, &mut media)?;
        }
    }
    if let Some(meta) = parts.first(b"meta") {
        keys(source, meta.from, meta.to, &mut media)?;
    }
    Ok(media)
}

/// `mvhd`: UTC, and how long it plays.
fn header(mvhd: &[u8], media: &mut Media, zone: &TimeZone) {
    let wide = mvhd.first() == Some(&1);
    let (created, scale, length) = if wide {
        (number(mvhd, 4, 8), number(mvhd, 20, 4), number(mvhd, 24, 8))
    } else {
        (number(mvhd, 4, 4), number(mvhd, 12, 4), number(mvhd, 16, 4))
    };
    let unknown = if wide { u64::MAX } else { u64::from(u32::MAX) };
    media.duration = length
        .filter(|length| *length != unknown)
        .zip(scale.filter(|scale| *scale > 0))
        .and_then(|(length, scale)| u64::try_from(u128::from(length) * 1000 / u128::from(scale)).ok());
    // Zero, or a count from 1970 of a camera that did not know better: no date.
    let since = created.and_then(|at| i64::try_from(at).ok()).map(|at| at - SINCE_1904).filter(|at| *at > 0);
    let at = since.and_then(|at| Timestamp::from_second(at).ok());
    media.taken = at.and_then(|at| {
        let there = at.to_zoned(zone.clone());
        Taken::new(there.datetime(), Some(there.offset().seconds()), TakenFrom::Movie)
    });
}

/// The size a track is shown in, if it is one to be looked at: `tkhd`, with its matrix.
fn shown(source: &mut Source<'_>, from: u64, to: u64) -> io::Result<Option<Pixels>> {
    let Some(tkhd) = boxes::level(source, from, to)?.first(b"tkhd") else { return Ok(None) };
    let tkhd = tkhd.read(source)?;
    let matrix = if tkhd.first() == Some(&1) { 52 } else { 40 };
    let at = |index: usize| number(&tkhd, matrix + index * 4, 4);
    // 16.16 fixed point; the matrix is a b u, c d v, x y w.
    let turned = at(0) == Some(0) && at(4) == Some(0) && at(1) != Some(0) && at(3) != Some(0);
    let size = at(9).zip(at(10)).and_then(|(width, height)| Pixels::new(width >> 16, height >> 16));
    Ok(size.map(|size| size.turned(turned)))
}

/// What a field of `udta` is, by the name that the same thing has among the keys of `meta`.
fn user_data(kind: [u8; 4]) -> Option<&'static str> {
    match &kind {
        b"\xa9day" => Some("creationdate"),
        b"\xa9xyz" => Some("location.ISO6709"),
        b"\xa9mak" => Some("make"),
        b"\xa9mod" => Some("model"),
        _ => None,
    }
}

/// `meta`: names in `keys`, values in `ilst` under their numbers (QuickTime File Format, "Metadata").
fn keys(source: &mut Source<'_>, from: u64, to: u64, media: &mut Media) -> io::Result<()> {
    // QuickTime's is a plain box, that of MP4 has version and flags first.
    let plain = from + 8 <= to && source.array::<4>(from + 4)? == *b"hdlr";
    let parts = boxes::level(source, if plain { from } else { from + 4 }, to)?;
    let (Some(keys), Some(list)) = (parts.first(b"keys"), parts.first(b"ilst")) else { return Ok(()) };
    let names = key_names(&keys.read(source)?);
    let list = list.read(source)?;
    let mut at = 0;
    while let (Some(size), Some(index)) = (number(&list, at, 4), number(&list, at + 4, 4)) {
        let Ok(size) = usize::try_from(size) else { break };
        if size < 8 {
            break;
        }
        // A `data` box: its kind (1: UTF-8), its language, the value.
        let value =
            list.get(at + 24..(at + size).min(list.len())).filter(|_| number(&list, at + 16, 4) == Some(1));
        let name = usize::try_from(index).ok().and_then(|n| names.get(n.checked_sub(1)?));
        if let (Some(name), Some(value)) = (name, value) {
            let short = name.strip_prefix("com.apple.quicktime.").or(match name.as_str() {
                "com.android.manufacturer" => Some("make"),
                "com.android.model" => Some("model"),
                _ => None,
            });
            if let Some(short) = short {
                say(media, short, &String::from_utf8_lossy(value));
            }
        }
        at += size;
    }
    Ok(())
}

fn key_names(keys: &[u8]) -> Vec<String> {
    const MOST: u64 = 1024;
    let (mut names, mut at) = (Vec::new(), 8);
    for _ in 0..number(keys, 4, 4).unwrap_or(0).min(MOST) {
        let Some(size) = number(keys, at, 4).and_then(|n| usize::try_from(n).ok()).filter(|n| *n >= 8) else {
            break;
        };
        let Some(name) = keys.get(at + 8..at.saturating_add(size)) else { break };
        names.push(String::from_utf8_lossy(name).into_owned());
        at += size;
    }
    names
}

/// Takes over what a field says.
fn say(media: &mut Media, name: &str, value: &str) {
    match name {
        "creationdate" => media.taken = dated(value).or(media.taken),
        "content.identifier" => {
            media.content_id = ContentId::parse(value).or_else(|| media.content_id.take())
        }
        "location.ISO6709" => media.place = coordinates(value).or(media.place),
        "make" => media.make = super::words(value.as_bytes()).or_else(|| media.make.take()),
        "model" => media.model = super::words(value.as_bytes()).or_else(|| media.model.take()),
        _ => {}
    }
}

/// `2024-03-05T12:33:44+0100`, with or without a zone.
fn dated(text: &str) -> Option<Taken> {
    let text = text.trim_matches(['\0', ' ']);
    let local = text.get(..19)?.parse::<DateTime>().ok()?;
    let zone = text[19..].trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.chars().next() {
        None => None,
        Some('Z') => Some(0),
        Some(sign) => {
            let digits: String = zone.chars().skip(1).filter(|c| *c != ':').collect();
            let (hours, minutes) =
                (digits.get(..2)?.parse::<i32>().ok()?, digits.get(2..4)?.parse::<i32>().ok()?);
            let seconds = hours * 3600 + minutes * 60;
            Some(if sign == '-' { -seconds } else { seconds })
        }
    };
    Taken::new(local, offset, TakenFrom::Quicktime)
}

/// `+48.2082+016.3738+171.000/` (ISO 6709, annex H, decimal degrees).
fn coordinates(text: &str) -> Option<Coordinates> {
    let text = text.trim_matches(['\0', ' ', '/']);
    let mut signs = text.char_indices().filter(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
    let (first, second) = (signs.next()?, signs.next()?);
    let end = text[second + 1..].find(['+', '-', '/', 'C']).map_or(text.len(), |at| second + 1 + at);
    Coordinates::new(text[first..second].parse().ok()?, text[second..end].parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_and_without_a_zone() {
        let read = |text| dated(text).map(|taken| (taken.local.to_string(), taken.offset));
        for (text, offset) in [
            ("2024-03-05T12:33:44+0100", Some(3600)),
            ("2024-03-05T12:33:44-03:30", Some(-12_600)),
            ("2024-03-05T12:33:44.250Z\0", Some(0)),
            ("2024-03-05T12:33:44", None),
        ] {
            assert_eq!(read(text), Some(("2024-03-05T12:33:44".to_owned(), offset)), "{text}");
        }
        for bad in [
            "",
            "2024-03-05",
            "2024-03-05T12:33:44+",
            "2024-03-05T12:33:44\u{fffd}0100",
            "2024-03-05T12:33:4\u{fffd}",
            "5 March 2024, at noon",
        ] {
            assert!(read(bad).is_none_or(|(_, offset)| offset.is_some()), "{bad}");
        }
    }

    #[test]
    fn places() {
        let read = |text| coordinates(text).map(|place| (place.latitude, place.longitude));
        assert_eq!(read("+48.2082-016.3738+171.000/"), Some((48.2082, -16.3738)));
        assert_eq!(read("-33.9+151.2/"), Some((-33.9, 151.2)));
        for bad in ["", "+", "+1", "++", "+48.2\u{fffd}+16", "+91+16", "+0+0"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
