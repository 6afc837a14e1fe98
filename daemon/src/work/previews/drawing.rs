//! Drawing a preview: bytes of a file in, a JPEG out. Run only in a process of its own that was confined before (`os/confine.rs`):
//! whatever a file does to its decoder, it does to nobody else.
use std::io::{self, Cursor, Read};
use std::time::Duration;

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder as _, ImageEncoder as _, ImageFormat, ImageReader, RgbImage,
};

use crate::model::media::{MediaKind, Pixels};
use crate::model::preview::Edge;
use crate::os::confine::{self, Bounds};
use crate::plan::previewing::{MOST_HEIF_PIXELS, fitting};
use crate::work::media;

/// What the process that draws may use: with the rest it fits into what the unit allows (`MemoryHigh=`).
const MEMORY: u64 = 320 << 20;
/// The same of the processor. A HEIC of a new phone takes a Raspberry Pi 4 three seconds.
const PROCESSOR: Duration = Duration::from_secs(10);
/// Bytes of a file that are read at most: large pictures are 40 MB, and a motion photo's video needs not be read.
const MOST_INPUT: u64 = 64 << 20;
/// A colour profile larger than this is not passed on: a phone's has half a KiB.
const MOST_PROFILE: usize = 16 << 10;
/// Of JPEG, in parts of a hundred.
const QUALITY: u8 = 82;

/// Why nothing was drawn.
#[derive(Debug, thiserror::Error)]
pub enum Undrawable {
    /// The file could not be read, which says nothing about it.
    #[error("could not read the file: {0}")]
    Unread(#[source] io::Error),
    /// Its decoder does not make a picture of it.
    #[error("no picture: {0}")]
    NoPicture(String),
}

/// A picture, not turned yet, and what its colours mean.
struct Decoded {
    picture: DynamicImage,
    turn: Orientation,
    profile: Option<Vec<u8>>,
}

/// Confines this process for good, before it looks at a photo. Whatever fails, it must not go on.
pub fn confine() -> io::Result<()> {
    // The decoder of HEIC would make threads of its own otherwise.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global();
    alone.map_err(io::Error::other)?;
    confine::confine(Bounds { memory: MEMORY, processor: PROCESSOR })
}

/// Draws a file's picture within `edge`, as it is displayed.
pub fn draw(input: impl Read, edge: Edge) -> Result<Vec<u8>, Undrawable> {
    let mut bytes = Vec::new();
    input.take(MOST_INPUT).read_to_end(&mut bytes).map_err(Undrawable::Unread)?;
    let format = match media::kind_of(&bytes) {
        MediaKind::Jpeg => ImageFormat::Jpeg,
        MediaKind::Png => ImageFormat::Png,
        MediaKind::Gif => ImageFormat::Gif,
        MediaKind::Webp => ImageFormat::WebP,
        MediaKind::Heif => return finish(heic(bytes, edge)?, edge),
        other @ (MediaKind::Tiff | MediaKind::Jxl | MediaKind::Movie | MediaKind::Unknown) => {
            return Err(Undrawable::NoPicture(format!("files of kind {other} are not decoded")));
        }
    };
    let no_picture = |e: image::ImageError| Undrawable::NoPicture(e.to_string());
    let mut decoder =
        ImageReader::with_format(Cursor::new(&bytes), format).into_decoder().map_err(no_picture)?;
    let turn = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten();
    let picture = DynamicImage::from_decoder(decoder).map_err(no_picture)?;
    finish(Decoded { picture, turn, profile }, edge)
}

/// HEIC: the photo, or the small picture in it where that is large enough, or all that can be afforded. Its decoder turns it.
fn heic(mut bytes: Vec<u8>, edge: Edge) -> Result<Decoded, Undrawable> {
    let no_picture = |e: heic_decoder::HeifError| Undrawable::NoPicture(e.to_string());
    let whole = heic_decoder::probe(&bytes).map_err(no_picture)?;
    let large = (whole.coded_width as u64).saturating_mul(whole.coded_height as u64) > MOST_HEIF_PIXELS;
    let enough = |small: Pixels| small.width.max(small.height) >= edge.pixels();
    let mut pointed = bytes.clone();
    match media::point_at_thumbnail(&mut pointed) {
        Some(small) if large || enough(small) => bytes = pointed,
        Some(_) | None if large => {
            return Err(Undrawable::NoPicture("more pixels than there is memory for".into()));
        }
        Some(_) | None => drop(pointed),
    }
    let decoded = heic_decoder::decode(&bytes).map_err(no_picture)?;
    drop(bytes);
    let rgb = decoded.to_rgb8().map_err(no_picture)?;
    let profile = decoded.metadata.icc_profile;
    drop((decoded.y, decoded.cb, decoded.cr));
    let pixels = |side: usize| u32::try_from(side).unwrap_or(0);
    let picture = RgbImage::from_raw(pixels(rgb.width), pixels(rgb.height), rgb.data)
        .ok_or_else(|| Undrawable::NoPicture("a picture of the wrong size".into()))?;
    Ok(Decoded { picture: picture.into(), turn: Orientation::NoTransforms, profile })
}

/// Made small first, then turned: what is turned is copied.
fn finish(decoded: Decoded, edge: Edge) -> Result<Vec<u8>, Undrawable> {
    let Decoded { picture, turn, profile } = decoded;
    let size = (picture.width(), picture.height());
    let (width, height) = fitting(size, edge);
    let mut small = if size == (width, height) { picture } else { picture.thumbnail_exact(width, height) };
    small.apply_orientation(turn);
    let small = on_white(small);
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
    if let Some(profile) = profile.filter(|profile| is_of_rgb(profile)) {
        // An encoder that cannot say what the colours mean shows them a little paler.
        drop(encoder.set_icc_profile(profile));
    }
    encoder
        .write_image(small.as_raw(), small.width(), small.height(), ExtendedColorType::Rgb8)
        .map_err(|e| Undrawable::NoPicture(e.to_string()))?;
    Ok(jpeg)
}

/// What one sees through shows white.
fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    let mut flat = RgbImage::new(picture.width(), picture.height());
    for (to, from) in flat.pixels_mut().zip(picture.pixels()) {
        let [colours @ .., alpha] = from.0;
        let alpha = u32::from(alpha);
        to.0 =
            colours.map(|c| u8::try_from((u32::from(c) * alpha + 255 * (255 - alpha)) / 255).unwrap_or(255));
    }
    flat
}

/// Whether a colour profile is one for red, green and blue (ICC.1, 7.2.6), as the preview's colours are.
fn is_of_rgb(profile: &[u8]) -> bool {
    profile.len() <= MOST_PROFILE && profile.get(16..20) == Some(b"RGB ")
}
