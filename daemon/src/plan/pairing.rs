//! Live Photos: which picture and which video are the two halves of one.
use crate::model::hash::ContentHash;
use crate::model::media::{ContentId, Media, MediaKind};
use crate::model::path::RelPath;

/// Dates of the two halves differ by no more, milliseconds.
const APART: i64 = 3000;
/// The video of a Live Photo plays no longer, milliseconds.
const LONGEST: u64 = 4000;

/// An asset under one of its names, that may be half of a Live Photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Half {
    /// Its content.
    pub hash: ContentHash,
    /// Its name.
    pub path: RelPath,
    /// What it says of itself.
    pub media: Media,
}

/// What an asset is half of.
#[derive(Debug, Clone, PartialEq)]
pub enum Pairing {
    /// Of nothing.
    Alone,
    /// Of a Live Photo, and this is the other half.
    With(Box<Half>),
    /// Of a Live Photo whose other half is not here.
    Widowed,
}

/// The other half of `this` among `others`. By the identifier that the phone put into both; where one lost it on its way (converted, exported),
/// by the same name in the same folder, the same moment, and a short video.
pub fn pairing(this: &Half, others: &[Half]) -> Pairing {
    let opposite = |other: &&Half| {
        let (a, b) = (this.media.kind, other.media.kind);
        (a.is_picture() && b == MediaKind::Movie) || (a == MediaKind::Movie && b.is_picture())
    };
    let ours = |other: &&Half| person(this) == person(other) && this.hash != other.hash;
    let best =
        others.iter().filter(ours).filter(opposite).filter(|other| belong(this, other)).max_by_key(|other| {
            // Of several copies of the other half the one that is nearest.
            (
                same_name(this, other),
                this.path.parent() == other.path.parent(),
                std::cmp::Reverse(&other.path),
            )
        });
    match (best, &this.media.content_id) {
        (Some(other), _) => Pairing::With(Box::new(other.clone())),
        (None, Some(_)) => Pairing::Widowed,
        (None, None) => Pairing::Alone,
    }
}

fn belong(this: &Half, other: &Half) -> bool {
    let ids: [&Option<ContentId>; 2] = [&this.media.content_id, &other.media.content_id];
    match ids {
        [Some(a), Some(b)] => a == b,
        [_, _] => same_name(this, other) && same_moment(&this.media, &other.media),
    }
}

fn person(half: &Half) -> Option<&str> {
    half.path.components().next()
}

/// In one folder, and the same up to the ending.
fn same_name(this: &Half, other: &Half) -> bool {
    stem(&this.path.fold_key()) == stem(&other.path.fold_key())
}

/// A folded name without its ending.
pub fn stem(fold: &str) -> &str {
    let name = fold.rfind('/').map_or(0, |at| at + 1);
    match fold[name..].rfind('.') {
        Some(dot) if dot > 0 => &fold[..name + dot],
        Some(_) | None => fold,
    }
}

fn same_moment(a: &Media, b: &Media) -> bool {
    let video = if a.kind == MediaKind::Movie { a } else { b };
    let (Some(at), Some(there)) = (a.taken, b.taken) else { return false };
    // Moments where both are known: a video without a zone has that of the box.
    let apart = match (at.moment(), there.moment()) {
        (Some(at), Some(there)) => at.as_millisecond() - there.as_millisecond(),
        (Some(_) | None, _) => at.local_millis() - there.local_millis(),
    };
    apart.abs() <= APART && video.duration.is_some_and(|plays| plays <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::media::{Taken, TakenFrom};

    fn half(path: &str, kind: MediaKind, id: Option<&str>, second: i64) -> Half {
        Half {
            hash: ContentHash::of(path.as_bytes()),
            path: RelPath::parse(path).unwrap(),
            media: Media {
                content_id: id.map(|id| ContentId::parse(id).unwrap()),
                taken: Taken::from_millis(second * 1000, Some(3600), TakenFrom::Exif),
                duration: Some(2900),
                ..Media::of(kind)
            },
        }
    }

    const ID: Option<&str> = Some("11111111-AAAA");
    const OTHER: Option<&str> = Some("22222222-BBBB");
    const STILL: &str = "anna/iphone/IMG_1.HEIC";

    /// What is told apart, the identifier of the picture, what else there is, and which of that is the other half.
    type Case = (&'static str, Option<&'static str>, Vec<Half>, Option<&'static str>);

    fn cases() -> Vec<Case> {
        use MediaKind::{Jpeg, Movie};
        let long = |mut half: Half| {
            half.media.duration = Some(4001);
            half
        };
        let dateless = |mut half: Half| {
            half.media.taken = None;
            half
        };
        vec![
            (
                "by identifier",
                ID,
                vec![half("anna/iphone/IMG_1.MOV", Movie, ID, 999)],
                Some("anna/iphone/IMG_1.MOV"),
            ),
            (
                "whatever it is called",
                ID,
                vec![half("anna/x/clip.mov", Movie, ID, 0)],
                Some("anna/x/clip.mov"),
            ),
            (
                "the nearest of several",
                ID,
                vec![
                    half("anna/a.mov", Movie, ID, 0),
                    half("anna/iphone/IMG_1.MOV", Movie, ID, 0),
                    half("anna/iphone/A.MOV", Movie, ID, 0),
                ],
                Some("anna/iphone/IMG_1.MOV"),
            ),
            ("another's", ID, vec![half("ben/iphone/IMG_1.MOV", Movie, ID, 100)], None),
            ("another identifier", ID, vec![half("anna/iphone/IMG_1.MOV", Movie, OTHER, 100)], None),
            ("a picture is no other half", ID, vec![half("anna/iphone/IMG_1.JPG", Jpeg, ID, 100)], None),
            (
                "by name and moment",
                None,
                vec![half("anna/iphone/img_1.mov", Movie, None, 102)],
                Some("anna/iphone/img_1.mov"),
            ),
            (
                "one lost its identifier",
                ID,
                vec![half("anna/iphone/IMG_1.mp4", Movie, None, 98)],
                Some("anna/iphone/IMG_1.mp4"),
            ),
            ("another moment", None, vec![half("anna/iphone/IMG_1.MOV", Movie, None, 104)], None),
            ("another name", None, vec![half("anna/iphone/IMG_10.MOV", Movie, None, 100)], None),
            ("another folder", None, vec![half("anna/x/IMG_1.MOV", Movie, None, 100)], None),
            ("a real video", None, vec![long(half("anna/iphone/IMG_1.MOV", Movie, None, 100))], None),
            ("no date, no pair", None, vec![dateless(half("anna/iphone/IMG_1.MOV", Movie, None, 100))], None),
        ]
    }

    #[test]
    fn halves_find_each_other_and_nobody_else() {
        for (what, id, others, expect) in cases() {
            let this = &half(STILL, MediaKind::Heif, id, 100);
            let found = pairing(this, &others);
            match expect {
                Some(path) => assert_eq!(
                    found,
                    Pairing::With(Box::new(others.iter().find(|o| o.path.as_str() == path).unwrap().clone())),
                    "{what}"
                ),
                None if this.media.content_id.is_some() => assert_eq!(found, Pairing::Widowed, "{what}"),
                None => assert_eq!(found, Pairing::Alone, "{what}"),
            }
            // The other half says the same.
            if let Pairing::With(other) = found {
                assert_eq!(
                    pairing(&other, std::slice::from_ref(this)),
                    Pairing::With(Box::new(this.clone())),
                    "{what}"
                );
            }
        }
    }

    #[test]
    fn a_name_without_its_ending() {
        for (fold, expect) in [
            ("a/b.c/img_1.heic", "a/b.c/img_1"),
            ("a/.hidden", "a/.hidden"),
            ("a.b/c", "a.b/c"),
            ("x.tar.gz", "x.tar"),
        ] {
            assert_eq!(stem(fold), expect);
        }
    }
}
