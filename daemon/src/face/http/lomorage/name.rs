//! Names for photos that come without one: by the date the app gives and the photo's SHA-1.
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::model::hash::hex;
use crate::model::path::RelPath;

/// What the app says of a photo, in the query of its upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// `ext`: its ending, as safe to put into a name.
    pub(super) ending: String,
    /// `createtime`.
    pub(super) at: Option<Timestamp>,
    /// `createtime` as it came, to be found again.
    pub(super) created: String,
}

impl Told {
    /// From the query's values. A date without a zone is the box's.
    pub(super) fn new(ext: &str, created: &str, zone: &TimeZone) -> Self {
        const LONGEST: usize = 8;
        let plain: String = ext.trim_start_matches('.').to_ascii_lowercase();
        let fits = (1..=LONGEST).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_alphanumeric());
        let ending = if fits { plain } else { "bin".to_owned() };
        let moment = || created.parse::<Timestamp>().ok();
        let here = || created.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok().map(|at| at.timestamp());
        let kept: String = created.chars().take(64).collect();
        Self { ending, at: moment().or_else(here), created: kept }
    }

    /// `2024/03/20240305_123344_a9993e364706.heic` below the device's folder. With twelve digits of the hash no photo gets another's name.
    pub(super) fn path(
        &self,
        root: &RelPath,
        sha1: &[u8; 20],
        received: Timestamp,
        zone: &TimeZone,
    ) -> Option<RelPath> {
        let at: Zoned = self.at.unwrap_or(received).to_zoned(zone.clone());
        let name = format!("{}_{}.{}", at.strftime("%Y%m%d_%H%M%S"), &hex(sha1)[..12], self.ending);
        RelPath::parse(&format!("{root}/{:04}/{:02}/{name}", at.year(), at.month())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_by_date_and_hash() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let (root, now) = (RelPath::parse("anna/iphone").unwrap(), "2026-11-30T23:30:00Z".parse().unwrap());
        for (ext, created, expect) in [
            ("HEIC", "2024-03-05T11:33:44.250Z", "anna/iphone/2024/03/20240305_123344_abababababab.heic"),
            (".jpg", "2024-03-05T12:33:44", "anna/iphone/2024/03/20240305_123344_abababababab.jpg"),
            ("mov", "2023-12-31T23:30:00Z", "anna/iphone/2024/01/20240101_003000_abababababab.mov"),
            ("../../x", "soon", "anna/iphone/2026/12/20261201_003000_abababababab.bin"),
            ("", "", "anna/iphone/2026/12/20261201_003000_abababababab.bin"),
        ] {
            let told = Told::new(ext, created, &zone);
            assert_eq!(told.path(&root, &[0xab; 20], now, &zone).unwrap().as_str(), expect);
        }
    }

    proptest! {
        #[test]
        fn whatever_it_says_the_photo_stays_in_the_devices_folder(ext in "\\PC{0,12}", created in "\\PC{0,30}|[0-9T:.Z+-]{0,30}") {
            let root = RelPath::parse("anna/iphone").unwrap();
            let path = Told::new(&ext, &created, &TimeZone::UTC).path(&root, &[1; 20], Timestamp::UNIX_EPOCH, &TimeZone::UTC);
            prop_assert!(path.is_none_or(|path| path.is_within(&root)));
        }
    }
}
