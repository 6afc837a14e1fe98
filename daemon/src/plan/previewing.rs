//! Previews: of what one can be made, and whether the one that a camera put into the file is large enough.
use crate::model::extension::{Medium, medium};
use crate::model::media::{Media, MediaKind, Pixels};
use crate::model::preview::Edge;

/// Pixels of a picture that is decoded: those of today's phones, and little enough for the memory that is allowed to it.
const MOST_PIXELS: u64 = 60_000_000;
/// The same of a HEIC, whose decoder needs about thirteen bytes for each. A larger one is shown by the small picture inside it.
pub const MOST_HEIF_PIXELS: u64 = 16_000_000;

/// Kinds of files, by their names, whose pictures are tried before anything is known of their bytes.
const ENDINGS: [&str; 8] = [".jpg", ".jpeg", ".png", ".gif", ".webp", ".heic", ".heif", ".hif"];

/// Whether a preview can be made of a file, as far as can be told without trying. `media`: `None` for a file that was not read yet.
pub fn can_be_shown(media: Option<&Media>, name: &str) -> bool {
    let Some(media) = media else {
        let name = name.to_ascii_lowercase();
        return medium(&name) == Medium::Image && ENDINGS.iter().any(|ending| name.ends_with(ending));
    };
    let small = media.size.is_some_and(|size| u64::from(size.width) * u64::from(size.height) <= MOST_PIXELS);
    match media.kind {
        MediaKind::Jpeg | MediaKind::Png | MediaKind::Gif | MediaKind::Webp => small,
        // Of the family only HEIC is decoded: AVIF, which is its sibling, says so by its name.
        MediaKind::Heif => media.size.is_some() && !name.to_ascii_lowercase().ends_with(".avif"),
        MediaKind::Tiff | MediaKind::Jxl | MediaKind::Movie | MediaKind::Unknown => false,
    }
}

/// Whether the small picture inside a file will do: it is as large as asked for, and shows what the large one shows. Some cameras put
/// black bars above and below.
pub fn embedded_will_do(embedded: Pixels, whole: Option<Pixels>, edge: Edge) -> bool {
    let large = embedded.width.max(embedded.height) >= edge.pixels();
    let shape = |size: Pixels| f64::from(size.width) / f64::from(size.height.max(1));
    large && whole.is_some_and(|whole| (shape(embedded) / shape(whole) - 1.0).abs() < 0.03)
}

/// Pixels of a preview: the picture within the edge, never larger than it is. Neither side is nothing.
pub fn fitting((width, height): (u32, u32), edge: Edge) -> (u32, u32) {
    let longer = width.max(height);
    if longer <= edge.pixels() {
        return (width.max(1), height.max(1));
    }
    let side = |side: u32| {
        let scaled = u64::from(side) * u64::from(edge.pixels()) / u64::from(longer);
        u32::try_from(scaled).unwrap_or(1).max(1)
    };
    (side(width), side(height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn media(kind: MediaKind, width: u64, height: u64) -> Media {
        Media { size: Pixels::new(width, height), ..Media::of(kind) }
    }

    #[test]
    fn of_what_there_are_previews() {
        for kind in MediaKind::ALL {
            let shown = can_be_shown(Some(&media(*kind, 4032, 3024)), "a");
            let expected = matches!(kind.as_str(), "jpeg" | "png" | "gif" | "webp" | "heif");
            assert_eq!(shown, expected, "{kind}");
            assert!(!can_be_shown(Some(&Media::of(*kind)), "a"), "{kind} of no size");
        }
        assert!(!can_be_shown(Some(&media(MediaKind::Png, 65_535, 65_535)), "a.png"), "a bomb");
        assert!(!can_be_shown(Some(&media(MediaKind::Heif, 40, 30)), "a.AVIF"));
        for (name, expected) in
            [("a.JPG", true), ("a.heic", true), ("a.mov", false), ("a.dng", false), ("jpg", false)]
        {
            assert_eq!(can_be_shown(None, name), expected, "{name}");
        }
    }

    #[test]
    fn a_small_picture_with_black_bars_is_none() {
        let pixels = |w, h| Pixels::new(w, h).unwrap();
        let small = Edge::for_asked(256);
        assert!(embedded_will_do(pixels(320, 240), Pixels::new(4032, 3024), small));
        assert!(embedded_will_do(pixels(240, 320), Pixels::new(3024, 4032), small));
        assert!(!embedded_will_do(pixels(160, 120), Pixels::new(4032, 3024), small));
        assert!(!embedded_will_do(pixels(320, 240), Pixels::new(6000, 4000), small), "bars");
        assert!(!embedded_will_do(pixels(320, 240), Pixels::new(3024, 4032), small), "lies on its side");
        assert!(!embedded_will_do(pixels(320, 240), None, small));
        assert!(!embedded_will_do(pixels(320, 240), Pixels::new(4032, 3024), Edge::for_asked(512)));
    }

    proptest! {
        #[test]
        fn a_preview_is_within_its_edge_and_never_larger_than_its_picture(width: u32, height: u32, asked: u32) {
            let edge = Edge::for_asked(asked);
            let (w, h) = fitting((width, height), edge);
            prop_assert!(w >= 1 && h >= 1 && w.max(h) <= edge.pixels());
            prop_assert!(w <= width.max(1) && h <= height.max(1));
        }
    }
}
