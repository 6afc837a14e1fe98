//! What the app says of a photo besides its bytes, kept beside it as XMP (ISO 16684-1; the properties are Exif's, CIPA DC-010): the app makes a JPEG of
//! each HEIC photo, and what the camera had noted in it is lost on the way.
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Shared;
use crate::face::http::reply::Deny;
use crate::model::account::Device;
use crate::model::offer::{Expect, Offer};
use crate::model::path::RelPath;
use crate::work::error::Refusal;

/// The text, or none if this is no place on earth.
pub(super) fn text(latitude: f64, longitude: f64, at: Timestamp, zone: &TimeZone) -> Option<String> {
    let (latitude, longitude) =
        (degrees(latitude, 90.0, ['N', 'S'])?, degrees(longitude, 180.0, ['E', 'W'])?);
    let date = at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
    Some(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n \
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n  \
         <rdf:Description rdf:about=\"\" xmlns:exif=\"http://ns.adobe.com/exif/1.0/\">\n   \
         <exif:DateTimeOriginal>{date}</exif:DateTimeOriginal>\n   \
         <exif:GPSLatitude>{latitude}</exif:GPSLatitude>\n   \
         <exif:GPSLongitude>{longitude}</exif:GPSLongitude>\n  \
         </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n"
    ))
}

/// Degrees and minutes, as XMP has coordinates: `48,8.250000N`.
fn degrees(value: f64, most: f64, [positive, negative]: [char; 2]) -> Option<String> {
    if !value.is_finite() || value.abs() > most {
        return None;
    }
    // In millionths of a minute, so that sixty minutes are never written.
    let all = (value.abs() * 60e6).round() as u64;
    let side = if value < 0.0 { negative } else { positive };
    Some(format!("{},{}.{:06}{side}", all / 60_000_000, all / 1_000_000 % 60, all % 1_000_000))
}

/// Keeps it beside the photo, unless something is there already: another program's may say more. Blocking.
pub(super) fn keep(
    shared: &Shared,
    device: &Device,
    photo: &RelPath,
    text: &Option<String>,
) -> Result<(), Deny> {
    let beside = photo.parent().and_then(|folder| folder.child(&format!("{}.xmp", photo.name())).ok());
    let (Some(text), Some(path)) = (text, beside) else { return Ok(()) };
    let offer = Offer {
        by: device.clone(),
        path,
        size: Some(text.len() as u64),
        declared: Vec::new(),
        mtime: None,
        ctime: None,
        expect: Expect::Absent,
        make_parents: true,
    };
    let kept = shared.face.ingest.begin(offer).and_then(|mut incoming| {
        incoming.write(text.as_bytes())?;
        incoming.finish()?.settle()
    });
    match kept {
        Ok(_) | Err(Refusal::Exists | Refusal::Changed) => Ok(()),
        Err(refusal) => Err(refusal.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_as_xmp_has_them() {
        for (value, expect) in [
            (48.1375, Some("48,8.250000N")),
            (-33.5, Some("33,30.000000S")),
            (0.0, Some("0,0.000000N")),
            (1.999_999_999_9, Some("2,0.000000N")),
            (90.0, Some("90,0.000000N")),
            (90.1, None),
            (f64::NAN, None),
        ] {
            assert_eq!(degrees(value, 90.0, ['N', 'S']).as_deref(), expect, "{value}");
        }
    }

    #[test]
    fn a_sidecar() {
        let at = "2024-03-05T11:33:44.25Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let text = text(48.1375, -11.575, at, &zone).unwrap();
        for part in ["2024-03-05T12:33:44.250+01:00<", ">48,8.250000N<", ">11,34.500000W<"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(super::text(91.0, 0.0, at, &zone), None);
    }
}
