//! What clients announce of large photos (SHA-1), which a thread beside the upload computes: what does not fit is never stored, alone or with
//! many others at once, and memory stays what it was.
use std::collections::BTreeSet;

use serde_json::json;

use crate::immich::{Home, Part, form, home_with, sha1};

/// Far above what is hashed in line, and not a whole number of anything.
const LARGE: usize = (3 << 20) + 4711;

fn photo(number: u8, length: usize) -> Vec<u8> {
    let begin = u32::from(number) * 7919;
    (0..length as u32).map(|n| (n.wrapping_add(begin).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn send(home: &Home, name: &str, bytes: &[u8], announced: &str) -> u16 {
    let body = form(&[
        Part("fileCreatedAt", None, b"2026-11-30T23:30:00.000Z"),
        Part("assetData", Some(name), bytes),
    ]);
    home.send(&home.phone, &format!("x-immich-checksum: {announced}\r\n"), &body).0
}

/// Whether the box says that it has this: only what was hashed when it came is known by its SHA-1 before the mirror was there.
fn is_known(home: &Home, bytes: &[u8]) -> bool {
    let asked = json!({"assets": [{"id": "a", "checksum": sha1(bytes)}]});
    let (_, answer) = home.ask(&home.phone, "POST", "/api/assets/bulk-upload-check", &asked);
    answer["results"][0]["action"] == "reject"
}

#[test]
fn a_large_photo_that_is_another_is_refused_and_leaves_nothing() {
    let home = home_with("");
    let (right, wrong) = (photo(1, LARGE), sha1(b"another"));
    let put = |name: &str, announced: &str| {
        let more = format!("OC-Checksum: SHA1:{announced}\r\n");
        home.daemon.request(&home.laptop, "PUT", &format!("/dav/{name}"), &more, &right).status
    };
    assert_eq!(send(&home, "IMG_1.HEIC", &right, &wrong), 400);
    assert_eq!(put("wrong.jpg", &wrong), 400);
    // The last byte is another: all before it were hashed already.
    let mut spoilt = right.clone();
    *spoilt.last_mut().unwrap() ^= 1;
    assert_eq!(send(&home, "IMG_1.HEIC", &spoilt, &sha1(&right)), 400);
    assert_eq!(home.files(), BTreeSet::new());
    assert!(home.is_swept() && !is_known(&home, &right) && !is_known(&home, &spoilt));
    assert_eq!(send(&home, "IMG_1.HEIC", &right, &sha1(&right)), 201);
    assert_eq!(put("right.jpg", &sha1(&right)), 201);
    assert!(is_known(&home, &right));
    for path in ["anna/2026-11/IMG_1.HEIC", "anna/right.jpg"] {
        assert!(home.read(path) == right, "{path}");
    }
}

/// More at once than there are threads for it.
#[test]
fn many_large_photos_at_once_are_each_compared() {
    const MANY: u8 = 16;
    let home = home_with("");
    let announced = |n: u8, bytes: &[u8]| if n.is_multiple_of(4) { sha1(b"another") } else { sha1(bytes) };
    std::thread::scope(|scope| {
        for n in 0..MANY {
            let home = &home;
            scope.spawn(move || {
                let bytes = photo(n, LARGE + usize::from(n));
                let expected = if n.is_multiple_of(4) { 400 } else { 201 };
                let status = send(home, &format!("IMG_{n}.HEIC"), &bytes, &announced(n, &bytes));
                assert_eq!(status, expected, "{n}");
            });
        }
    });
    for n in 0..MANY {
        let bytes = photo(n, LARGE + usize::from(n));
        let path = format!("anna/2026-11/IMG_{n}.HEIC");
        let is_here = home.files().contains(&path);
        assert_eq!((is_here, is_known(&home, &bytes)), (!n.is_multiple_of(4), !n.is_multiple_of(4)), "{n}");
        assert!(!is_here || home.read(&path) == bytes, "{n}");
    }
    assert!(home.is_swept());
    let most = home.daemon.peak_memory();
    assert!(most < 256 << 20, "{most}");
}
