//! What a photo or video says of itself: when, where and with what it was taken, how large it is shown, what belongs to it, and whether it is whole.
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

/// What was read from an asset's own bytes. Derived: it is read again when it is lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// What its bytes are, whatever its name says.
    pub kind: MediaKind,
    /// Whether they are all there, as far as their order shows.
    pub structure: Structure,
    /// Pixels as shown: a picture that was taken upright is higher than wide.
    pub size: Option<Pixels>,
    /// When it was taken.
    pub taken: Option<Taken>,
    /// Who made the camera.
    pub make: Option<String>,
    /// Which camera.
    pub model: Option<String>,
    /// Where.
    pub place: Option<Coordinates>,
    /// How long it plays, milliseconds.
    pub duration: Option<u64>,
    /// What the two halves of a Live Photo share.
    pub content_id: Option<ContentId>,
    /// A picture with a video behind it in the same file: that video's bytes, 0 where the file does not say.
    pub motion: Option<u64>,
}

impl Media {
    /// Of bytes that are of no kind that is known.
    pub const fn unknown() -> Self {
        Self::of(MediaKind::Unknown)
    }

    /// Of a kind, with nothing else known.
    pub const fn of(kind: MediaKind) -> Self {
        Self {
            kind,
            structure: Structure::Unchecked,
            size: None,
            taken: None,
            make: None,
            model: None,
            place: None,
            duration: None,
            content_id: None,
            motion: None,
        }
    }

    /// Maker and model as people say it, the maker not twice.
    pub fn camera(&self) -> Option<String> {
        match (self.make.as_deref(), self.model.as_deref()) {
            (Some(make), Some(model)) if !model.to_lowercase().starts_with(&make.to_lowercase()) => {
                Some(format!("{make} {model}"))
            }
            (_, Some(model)) => Some(model.to_owned()),
            (Some(make), None) => Some(make.to_owned()),
            (None, None) => None,
        }
    }
}

/// An enum whose variants are stored and printed under fixed words.
macro_rules! words {
    ($name:ident, $bad:literal, $($variant:ident => $word:literal),+ $(,)?) => {
        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As stored.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = BadWord;

            fn from_str(text: &str) -> Result<Self, BadWord> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or_else(|| BadWord(text.to_owned(), $bad))
            }
        }
    };
}

/// A word that stands for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no {1}")]
pub struct BadWord(String, &'static str);

/// What bytes are, by how they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// JPEG (ITU-T T.81).
    Jpeg,
    /// HEIC, HEIF, AVIF (ISO/IEC 23008-12).
    Heif,
    /// PNG.
    Png,
    /// WebP.
    Webp,
    /// GIF.
    Gif,
    /// TIFF, and raw pictures that are built like it: DNG, CR2, NEF, ARW.
    Tiff,
    /// JPEG XL.
    Jxl,
    /// MP4, QuickTime, 3GP (ISO/IEC 14496-12).
    Movie,
    /// None of these.
    Unknown,
}
words!(MediaKind, "kind of file", Jpeg => "jpeg", Heif => "heif", Png => "png", Webp => "webp", Gif => "gif",
    Tiff => "tiff", Jxl => "jxl", Movie => "movie", Unknown => "unknown");

impl MediaKind {
    /// A still picture.
    pub const fn is_picture(self) -> bool {
        !matches!(self, Self::Movie | Self::Unknown)
    }
}

/// What the order of a file's parts says about whether all of it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// Nobody looks at how such a file ends.
    Unchecked,
    /// It ends where it says that it ends.
    Whole,
    /// It ends before that.
    EndsEarly,
    /// A video that never got the index without which nothing plays it: the recording was cut off.
    NoIndex,
    /// It begins like one of its kind, and what follows makes no sense.
    Broken,
}
words!(Structure, "structure", Unchecked => "unchecked", Whole => "whole", EndsEarly => "ends-early",
    NoIndex => "no-index", Broken => "broken");

/// Width and height, both more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pixels {
    /// Across.
    pub width: u32,
    /// Down.
    pub height: u32,
}

impl Pixels {
    /// `None` where either is nothing or absurd.
    pub fn new(width: u64, height: u64) -> Option<Self> {
        const MOST: u64 = 1 << 20;
        let fits = |n: u64| u32::try_from(n).ok().filter(|_| (1..=MOST).contains(&n));
        Some(Self { width: fits(width)?, height: fits(height)? })
    }

    /// The same lying on its side.
    #[must_use]
    pub const fn turned(self, turned: bool) -> Self {
        if turned { Self { width: self.height, height: self.width } } else { self }
    }
}

/// When something was taken: what a clock there showed, and how far that clock was from UTC, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Date and time of day where it was taken.
    pub local: DateTime,
    /// Seconds east of UTC.
    pub offset: Option<i32>,
    /// Who says so.
    pub from: TakenFrom,
}

/// Where a date comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TakenFrom {
    /// EXIF: `DateTimeOriginal`, and what stands in for it.
    Exif,
    /// QuickTime's creation date, which has a zone.
    Quicktime,
    /// A movie's header, which is in UTC: the time of day is that of the box's zone.
    Movie,
}
words!(TakenFrom, "source of a date", Exif => "exif", Quicktime => "quicktime", Movie => "movie");

impl Taken {
    /// With a date that a photo can have, and a zone that a place on Earth can have; `None` for the zeros of a camera that was never set.
    pub fn new(local: DateTime, offset: Option<i32>, from: TakenFrom) -> Option<Self> {
        const FARTHEST: i32 = 15 * 3600;
        let offset = offset.filter(|o| o.abs() <= FARTHEST);
        (1826..=2200).contains(&local.year()).then_some(Self { local, offset, from })
    }

    /// The moment, where the zone is known.
    pub fn moment(&self) -> Option<Timestamp> {
        let offset = Offset::from_seconds(self.offset?).ok()?;
        offset.to_timestamp(self.local).ok()
    }

    /// The day where it was taken.
    pub fn date(&self) -> Date {
        self.local.date()
    }

    /// The time of day as a number of milliseconds since 1970-01-01T00:00 there: for storing and comparing.
    pub fn local_millis(&self) -> i64 {
        Offset::UTC.to_timestamp(self.local).map_or(0, |at| at.as_millisecond())
    }

    /// Back from [`Taken::local_millis`].
    pub fn from_millis(millis: i64, offset: Option<i32>, from: TakenFrom) -> Option<Self> {
        Self::new(Offset::UTC.to_datetime(Timestamp::from_millisecond(millis).ok()?), offset, from)
    }
}

/// A place on Earth, degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    /// North.
    pub latitude: f64,
    /// East.
    pub longitude: f64,
}

impl Coordinates {
    /// `None` off the Earth, and for 0, 0, which cameras write that know no place.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let there = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        let nowhere = latitude == 0.0 && longitude == 0.0;
        (there && !nowhere).then_some(Self { latitude, longitude })
    }
}

/// What the two halves of a Live Photo share: usually a UUID.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentId(String);

impl ContentId {
    /// `None` for what is none: 8 to 64 letters, digits and signs between them.
    pub fn parse(text: &str) -> Option<Self> {
        let fits =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '+' | '=');
        let text = text.trim_matches(['\0', ' ']);
        ((8..=64).contains(&text.len()) && text.chars().all(fits)).then(|| Self(text.to_ascii_uppercase()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ContentId {
    type Error = BadWord;

    fn try_from(text: String) -> Result<Self, BadWord> {
        Self::parse(&text).ok_or(BadWord(text, "content identifier"))
    }
}

impl From<ContentId> for String {
    fn from(id: ContentId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_come_back() {
        for kind in MediaKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for structure in Structure::ALL {
            assert_eq!(structure.as_str().parse(), Ok(*structure));
            assert_eq!(serde_json::to_value(structure).unwrap(), structure.as_str());
        }
        for from in TakenFrom::ALL {
            assert_eq!(from.as_str().parse(), Ok(*from));
            assert_eq!(serde_json::to_value(from).unwrap(), from.as_str());
        }
        assert_eq!("film".parse::<MediaKind>().unwrap_err().to_string(), "\"film\" is no kind of file");
    }

    #[test]
    fn a_camera_is_named_as_people_name_it() {
        let camera = |make: &str, model: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Media { make: some(make), model: some(model), ..Media::unknown() }.camera()
        };
        assert_eq!(camera("Apple", "iPhone 15").as_deref(), Some("Apple iPhone 15"));
        assert_eq!(camera("Canon", "Canon EOS R5").as_deref(), Some("Canon EOS R5"));
        assert_eq!(camera("samsung", "SAMSUNG SM-G991B").as_deref(), Some("SAMSUNG SM-G991B"));
        assert_eq!(camera("", "Pixel 9").as_deref(), Some("Pixel 9"));
        assert_eq!(camera("Google", "").as_deref(), Some("Google"));
        assert_eq!(camera("", ""), None);
    }

    #[test]
    fn dates_and_places_that_cannot_be_are_none() {
        let at = |text: &str, offset| Taken::new(text.parse().unwrap(), offset, TakenFrom::Exif);
        let taken = at("2026-11-14T18:02:05", Some(3600)).unwrap();
        assert_eq!(taken.moment().unwrap().to_string(), "2026-11-14T17:02:05Z");
        assert_eq!(at("2026-11-14T18:02:05", Some(20 * 3600)).unwrap().moment(), None);
        assert_eq!(at("1601-01-01T00:00:00", None), None);
        assert_eq!(Coordinates::new(0.0, 0.0), None);
        assert_eq!(Coordinates::new(f64::NAN, 16.0), None);
        assert_eq!(Coordinates::new(91.0, 16.0), None);
        assert!(Coordinates::new(-33.9, 151.2).is_some());
        assert_eq!(Pixels::new(0, 5), None);
        assert_eq!(Pixels::new(u64::MAX, 5), None);
        let upright = Pixels::new(4, 3).unwrap().turned(true);
        assert_eq!((upright.width, upright.height), (3, 4));
        let id = |text| ContentId::parse(text).map(String::from);
        assert_eq!(
            id("4e1f9c0e-8aa3-4c1e-bb0e-0d2f1d0f4a10\0").as_deref(),
            Some("4E1F9C0E-8AA3-4C1E-BB0E-0D2F1D0F4A10")
        );
        assert_eq!([id("short"), id("with a space in it"), id(&"x".repeat(65))], [None, None, None]);
    }

    proptest! {
        #[test]
        fn a_date_comes_back(millis in -4_000_000_000_000..7_000_000_000_000i64, offset in proptest::option::of(-54_000..=54_000i32)) {
            let taken = Taken::from_millis(millis, offset, TakenFrom::Exif).unwrap();
            prop_assert_eq!(taken.local_millis(), millis);
            prop_assert_eq!(taken.moment().map(|at| at.as_millisecond()), offset.map(|o| millis - i64::from(o) * 1000));
        }
    }
}
