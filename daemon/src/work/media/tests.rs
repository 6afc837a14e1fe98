//! Files of every kind that phones make (`daemon/tests/fixtures/media`): what is read from them, whole, cut off anywhere, and with bytes changed.
use proptest::prelude::*;

use super::*;
use crate::model::media::Taken;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/media/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn zone() -> TimeZone {
    TimeZone::fixed(jiff::tz::offset(2))
}

fn told(media: &Media) -> String {
    let taken = |t: Taken| format!("{} {:?} {}", t.local, t.offset, t.from);
    let parts = [
        Some(format!("{} {}", media.kind, media.structure)),
        media.size.map(|s| format!("{}x{}", s.width, s.height)),
        media.taken.map(taken),
        media.camera(),
        media.place.map(|p| format!("{:.4} {:.4}", p.latitude, p.longitude)),
        media.duration.map(|ms| format!("{ms} ms")),
        media.content_id.as_ref().map(|id| id.as_str().to_owned()),
        media.motion.map(|bytes| format!("video of {bytes}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// Checked against ExifTool 12.57, which reads the same of them.
#[test]
fn what_each_kind_of_file_says() {
    let mut all = String::new();
    for name in [
        "upright.jpg",
        "progressive.jpg",
        "bare.jpg",
        "google-motion.jpg",
        "samsung-motion.jpg",
        "live.heic",
        "turned.heic",
        "plain.png",
        "plain.webp",
        "plain.gif",
        "plain.tif",
        "live.mov",
        "keys-in-user-data.mov",
        "turned.mp4",
        "make",
    ] {
        all.push_str(&format!("{name}: {}\n", told(&read_bytes(&file(name), &zone()))));
    }
    expect_test::expect![[r#"
        upright.jpg: jpeg whole · 12x16 · 2024-03-05T12:33:44.25 Some(3600) exif · Apple iPhone 15 Pro · 48.2082 -16.3738
        progressive.jpg: jpeg whole · 16x12
        bare.jpg: jpeg whole · 16x12
        google-motion.jpg: jpeg whole · 16x12 · video of 964
        samsung-motion.jpg: jpeg whole · 16x12 · video of 964
        live.heic: heif whole · 16x12 · 2024-03-05T12:33:44.25 Some(3600) exif · Apple iPhone 15 Pro · 48.2082 -16.3738 · 4E1F9C0E-8AA3-4C1E-BB0E-0D2F1D0F4A10
        turned.heic: heif whole · 12x16 · 2024-03-05T12:33:44.25 Some(3600) exif · Apple iPhone 15 Pro · 48.2082 -16.3738
        plain.png: png whole · 12x16 · 2024-03-05T12:33:44.25 Some(3600) exif · Apple iPhone 15 Pro · 48.2082 -16.3738
        plain.webp: webp whole · 12x16 · 2024-03-05T12:33:44.25 Some(3600) exif · Apple iPhone 15 Pro · 48.2082 -16.3738
        plain.gif: gif whole · 16x12
        plain.tif: tiff unchecked · 16x12 · Apple iPhone 15 Pro
        live.mov: movie whole · 32x16 · 2024-03-05T12:33:44 Some(3600) quicktime · Apple iPhone 15 Pro · 48.2082 -16.3738 · 1000 ms · 4E1F9C0E-8AA3-4C1E-BB0E-0D2F1D0F4A10
        keys-in-user-data.mov: movie whole · 32x16 · 2024-03-05T12:33:44 Some(3600) quicktime · Apple iPhone 15 Pro · 48.2082 -16.3738 · 1000 ms · 4E1F9C0E-8AA3-4C1E-BB0E-0D2F1D0F4A10
        turned.mp4: movie whole · 16x32 · 2024-03-05T13:33:44 Some(7200) movie · 1000 ms
        make: unknown unchecked
    "#]].assert_eq(&all);
}

/// Every place at which sending can stop.
#[test]
fn a_file_that_is_cut_off_anywhere_is_never_taken_for_whole() {
    for name in [
        "bare.jpg",
        "progressive.jpg",
        "upright.jpg",
        "live.heic",
        "turned.heic",
        "plain.png",
        "plain.webp",
        "plain.gif",
        "live.mov",
        "keys-in-user-data.mov",
        "turned.mp4",
    ] {
        let whole = file(name);
        assert_eq!(read_bytes(&whole, &zone()).structure, Structure::Whole, "{name}");
        for len in 0..whole.len() {
            let media = read_bytes(&whole[..len], &zone());
            assert_ne!(media.structure, Structure::Whole, "{name} of {len} bytes");
            // What is known at all is known to be cut off, and not only not known to be whole.
            let expect = media.kind == MediaKind::Unknown || media.structure != Structure::Unchecked;
            assert!(expect, "{name} of {len} bytes: {media:?}");
        }
    }
}

/// A filesystem that lost the rest of a file shows zeros for it.
#[test]
fn a_file_that_ends_in_zeros_is_suspect_where_that_can_be_seen() {
    for (name, from, expect) in [
        ("bare.jpg", 640, Structure::EndsEarly),
        ("progressive.jpg", 500, Structure::EndsEarly),
        ("plain.png", 300, Structure::Broken),
        ("live.mov", 40, Structure::NoIndex),
    ] {
        let mut bytes = file(name);
        bytes[from..].fill(0);
        assert_eq!(read_bytes(&bytes, &zone()).structure, expect, "{name}");
    }
    // Behind its end a picture may have anything: Samsung's trailer, a second picture, padding.
    let padded = [file("bare.jpg"), vec![0; 5000]].concat();
    assert_eq!(read_bytes(&padded, &zone()).structure, Structure::Whole);
}

#[test]
fn what_the_drive_did_not_give_says_nothing_about_the_bytes() {
    struct Sick(Vec<u8>, u64);
    impl ReadAt for Sick {
        fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
            if offset + buf.len() as u64 > self.1 {
                let source = io::Error::from_raw_os_error(libc::EIO);
                return Err(VolumeError::Io {
                    op: "read",
                    place: crate::model::place::Place::root(),
                    source,
                });
            }
            Bytes(&self.0).read_at(buf, offset)
        }
    }
    for name in ["bare.jpg", "live.heic", "live.mov", "keys-in-user-data.mov", "plain.png"] {
        let bytes = file(name);
        let size = bytes.len() as u64;
        assert!(read(&mut Sick(bytes.clone(), 0), size, &zone()).is_err(), "{name}");
        assert!(read(&mut Sick(bytes.clone(), 200), size, &zone()).is_err(), "{name}");
        assert_eq!(
            read(&mut Sick(bytes.clone(), u64::MAX), size, &zone()).unwrap(),
            read_bytes(&bytes, &zone())
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Anything may come back, and it comes back.
    #[test]
    fn changed_bytes_are_survived(
        which in 0..11usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let names = ["upright.jpg", "google-motion.jpg", "samsung-motion.jpg", "live.heic", "turned.heic", "plain.png", "plain.webp", "plain.tif", "live.mov", "keys-in-user-data.mov", "turned.mp4"];
        let mut bytes = file(names[which]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        let media = read_bytes(&bytes, &zone());
        if let Some(taken) = media.taken {
            prop_assert_eq!(Taken::from_millis(taken.local_millis(), taken.offset, taken.from), Some(taken));
        }
        let json = serde_json::to_string(&media).unwrap();
        let back: Media = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(back.content_id, media.content_id);
    }
}
