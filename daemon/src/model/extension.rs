//! What kind of file a name says it is, by its ending: photo, video, or a file that belongs to one.

/// What a name's ending says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A photo.
    Image,
    /// A video, or the moving half of a Live Photo.
    Video,
    /// What a program keeps beside a photo.
    Sidecar,
    /// Anything else. It is kept like all that is sent.
    Other,
}

/// Endings of photos, lower case, with their dot: those that phones and cameras write, raw formats included.
pub const IMAGES: [&str; 44] = [
    ".3fr", ".arw", ".avif", ".bmp", ".cap", ".cin", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff",
    ".gif", ".heic", ".heif", ".hif", ".iiq", ".insp", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".k25",
    ".kdc", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".png", ".psd", ".raf", ".raw", ".rw2", ".rwl", ".sr2",
    ".srf", ".srw", ".svg", ".tif", ".tiff", ".webp",
];

/// Endings of videos.
pub const VIDEOS: [&str; 18] = [
    ".3gp", ".3gpp", ".avi", ".flv", ".insv", ".m2t", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpe",
    ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv",
];

/// Endings of what belongs to a photo.
pub const SIDECARS: [&str; 1] = [".xmp"];

/// What a file's name says it is.
pub fn medium(name: &str) -> Medium {
    let Some((_, ending)) = name.rsplit_once('.') else { return Medium::Other };
    let ending = format!(".{}", ending.to_ascii_lowercase());
    let is_in = |all: &[&str]| all.contains(&ending.as_str());
    match () {
        () if is_in(&IMAGES) => Medium::Image,
        () if is_in(&VIDEOS) => Medium::Video,
        () if is_in(&SIDECARS) => Medium::Sidecar,
        () => Medium::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_ending() {
        for (name, expected) in [
            ("IMG_1.HEIC", Medium::Image),
            ("a.b.jpg", Medium::Image),
            ("IMG_1.MOV", Medium::Video),
            ("IMG_1.jpg.xmp", Medium::Sidecar),
            ("notes.txt", Medium::Other),
            ("jpg", Medium::Other),
            ("", Medium::Other),
        ] {
            assert_eq!(medium(name), expected, "{name}");
        }
    }

    #[test]
    fn endings_are_written_as_they_are_compared() {
        for all in [&IMAGES[..], &VIDEOS, &SIDECARS] {
            assert!(all.is_sorted(), "{all:?}");
            assert!(all.iter().all(|e| e.starts_with('.') && *e == e.to_ascii_lowercase()));
        }
    }
}
