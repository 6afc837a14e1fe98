//! What a photo says of itself, as Immich tells it: when, where, with what, and how large it is shown.
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::Serialize;

use super::users::time;
use crate::model::media::Taken;
use crate::work::library::Asset;

/// `ExifResponseDto`, as far as anything of it is known.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Exif {
    date_time_original: Option<String>,
    exif_image_height: Option<u32>,
    exif_image_width: Option<u32>,
    file_size_in_byte: u64,
    latitude: Option<f64>,
    longitude: Option<f64>,
    make: Option<String>,
    model: Option<String>,
    modify_date: String,
    time_zone: Option<String>,
}

impl Exif {
    /// Of a photo.
    pub(super) fn new(asset: &Asset) -> Self {
        let media = asset.media.as_ref();
        let size = media.and_then(|media| media.size);
        let place = media.and_then(|media| media.place);
        Self {
            date_time_original: taken(asset).map(|_| time(created(asset))),
            exif_image_height: size.map(|size| size.height),
            exif_image_width: size.map(|size| size.width),
            file_size_in_byte: asset.size,
            latitude: place.map(|place| place.latitude),
            longitude: place.map(|place| place.longitude),
            make: media.and_then(|media| media.make.clone()),
            model: media.and_then(|media| media.model.clone()),
            modify_date: time(asset.mtime),
            time_zone: taken(asset).and_then(|taken| taken.offset).map(zone),
        }
    }
}

/// `SyncAssetExifV1`: the same and all that nobody knows, which must be there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SyncExif {
    asset_id: String,
    #[serde(flatten)]
    known: Exif,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Unknown {
    city: Option<()>,
    country: Option<()>,
    description: Option<()>,
    exposure_time: Option<()>,
    f_number: Option<()>,
    focal_length: Option<()>,
    fps: Option<()>,
    iso: Option<()>,
    lens_model: Option<()>,
    orientation: Option<()>,
    profile_description: Option<()>,
    projection_type: Option<()>,
    rating: Option<()>,
    state: Option<()>,
}

impl SyncExif {
    /// Of a photo.
    pub(super) fn new(asset: &Asset) -> Self {
        Self { asset_id: asset.id.to_string(), known: Exif::new(asset), unknown: Unknown::default() }
    }
}

fn taken(asset: &Asset) -> Option<Taken> {
    asset.media.as_ref().and_then(|media| media.taken)
}

/// When a photo was made: by itself where it names the zone, else as the client said, else by its own clock, else by its file's date.
pub(super) fn created(asset: &Asset) -> Timestamp {
    let taken = taken(asset);
    let by_its_clock = || taken.and_then(|taken| Offset::UTC.to_timestamp(taken.local).ok());
    taken.and_then(|taken| taken.moment()).or(asset.ctime).or_else(by_its_clock).unwrap_or(asset.mtime)
}

/// What a clock showed where it was made, written as if it was in UTC; so Immich has it.
pub(super) fn local(asset: &Asset) -> String {
    let shown = taken(asset).and_then(|taken| Offset::UTC.to_timestamp(taken.local).ok());
    time(shown.unwrap_or_else(|| created(asset)))
}

/// A zone as Immich names one that is known by its offset: `UTC+5:30`.
fn zone(seconds: i32) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs() / 60);
    match (minutes / 60, minutes % 60) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("UTC{sign}{hours}"),
        (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
    }
}

/// How long something plays, as servers before 3.0 told it: `0:00:03.500000`.
pub(super) fn clock(millis: u64) -> String {
    let (seconds, rest) = (millis / 1000, millis % 1000);
    format!("{}:{:02}:{:02}.{rest:03}000", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_and_clocks() {
        assert_eq!(zone(0), "UTC");
        assert_eq!(zone(3600), "UTC+1");
        assert_eq!(zone(-34_200), "UTC-9:30");
        assert_eq!(clock(3500), "0:00:03.500000");
        assert_eq!(clock(3_723_004), "1:02:03.004000");
    }
}
