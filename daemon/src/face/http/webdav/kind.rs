//! Content types by a name's ending. Only a label: no decoder of ours acts on it, and nothing is shown inline.

/// The media type for a name; `application/octet-stream` for what is not listed.
pub(in crate::face::http) fn content_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "jpg" | "jpeg" | "jpe" => "image/jpeg",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "avif" => "image/avif",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "tif" | "tiff" => "image/tiff",
        "bmp" => "image/bmp",
        "jxl" => "image/jxl",
        "dng" => "image/x-adobe-dng",
        "cr2" => "image/x-canon-cr2",
        "cr3" => "image/x-canon-cr3",
        "nef" => "image/x-nikon-nef",
        "arw" => "image/x-sony-arw",
        "orf" => "image/x-olympus-orf",
        "raf" => "image/x-fuji-raf",
        "rw2" => "image/x-panasonic-rw2",
        "mov" | "qt" => "video/quicktime",
        "mp4" | "m4v" => "video/mp4",
        "3gp" => "video/3gpp",
        "avi" => "video/x-msvideo",
        "mkv" => "video/x-matroska",
        "webm" => "video/webm",
        "mts" | "m2ts" => "video/mp2t",
        "m4a" => "audio/mp4",
        "mp3" => "audio/mpeg",
        "aae" => "application/xml",
        "xmp" => "application/rdf+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings() {
        for (name, expected) in [
            ("IMG_1.HEIC", "image/heic"),
            ("a.b.MOV", "video/quicktime"),
            ("jpg", "application/octet-stream"),
            ("x.svg", "application/octet-stream"),
            ("x.html", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), expected, "{name}");
        }
    }
}
