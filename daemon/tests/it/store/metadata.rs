//! Metadata: read soon after a photo came, shown with its receipt, found by, and never in anybody's way.
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::civil::date;
use shoebox::model::media::{MediaKind, Structure};
use shoebox::model::receipt::Receipt;
use shoebox::work::media::Looking;
use shoebox::work::scrub::{Manners, Scrub};
use shoebox::work::views::FindQuery;

use super::decorated::{Call, eio};
use super::furnished::{Furnished, computer, path};

fn file(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/fixtures/media/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn receipt(home: &Furnished, name: &str) -> Receipt {
    home.pool.receipt(name).unwrap().unwrap()
}

/// On both drives, read back from both, and looked at.
fn safely_stored(home: &mut Furnished, files: &[(&str, &str)]) {
    for (name, from) in files {
        home.put(name, &file(from));
    }
    home.mirrored();
    home.pass(1);
    for drive in ["a", "b"] {
        let mut scrub = Scrub::new(Arc::clone(&home.pool), home.mount(drive), Manners::NONE);
        while scrub.step(&|| true).unwrap() {}
    }
    home.looked();
}

#[test]
fn a_live_photo_is_safe_when_both_halves_are() {
    let mut home = Furnished::new();
    safely_stored(
        &mut home,
        &[("anna/iphone/IMG_1.HEIC", "live.heic"), ("anna/iphone/IMG_2.HEIC", "turned.heic")],
    );
    let alone = receipt(&home, "anna/iphone/IMG_1.HEIC");
    assert!(!alone.safe_to_delete);
    assert_eq!(alone.not_yet_because, ["the video of this Live Photo has not been received"]);
    assert_eq!(alone.live_photo.unwrap().other_half, None);
    assert!(receipt(&home, "anna/iphone/IMG_2.HEIC").safe_to_delete, "no Live Photo, and fine");
    // Under another name in another folder: what the phone wrote into both says that they belong together.
    home.put("anna/elsewhere/clip.mov", &file("live.mov"));
    home.looked();
    let [still, video] =
        ["anna/iphone/IMG_1.HEIC", "anna/elsewhere/clip.mov"].map(|name| receipt(&home, name));
    assert_eq!(still.live_photo.unwrap().other_half, Some(path("anna/elsewhere/clip.mov")));
    assert_eq!(video.live_photo.unwrap().other_half, Some(path("anna/iphone/IMG_1.HEIC")));
    assert!(
        still.not_yet_because[0].starts_with("the video of this Live Photo: "),
        "{:?}",
        still.not_yet_because
    );
    safely_stored(&mut home, &[]);
    for name in ["anna/iphone/IMG_1.HEIC", "anna/elsewhere/clip.mov"] {
        assert_eq!(receipt(&home, name).not_yet_because, [""; 0], "{name}");
    }
}

#[test]
fn what_is_cut_off_is_kept_told_and_never_called_safe() {
    let mut home = Furnished::new();
    let whole = file("upright.jpg");
    home.put("anna/cut.jpg", &whole[..whole.len() - 100]);
    safely_stored(&mut home, &[("anna/whole.jpg", "upright.jpg")]);
    let cut = receipt(&home, "anna/cut.jpg");
    assert_eq!((home.state("anna/cut.jpg", "a"), home.state("anna/cut.jpg", "b")), ("verified", "verified"));
    assert_eq!(cut.media.as_ref().unwrap().structure, Structure::EndsEarly);
    assert!(!cut.safe_to_delete && cut.suspect.is_some());
    assert_eq!(cut.not_yet_because, [format!("it is suspect: {}", cut.suspect.unwrap())]);
    assert!(receipt(&home, "anna/whole.jpg").safe_to_delete);
    let suspect = home.pool.find(&FindQuery { suspect: true, ..FindQuery::default() }, None, 10).unwrap();
    assert_eq!(suspect.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["anna/cut.jpg"]);
}

#[test]
fn nobody_looked_is_not_safe() {
    let mut home = Furnished::new();
    home.put("anna/a.jpg", &file("bare.jpg"));
    home.mirrored();
    assert!(
        receipt(&home, "anna/a.jpg")
            .not_yet_because
            .contains(&"its bytes have not been looked at yet".to_owned())
    );
}

#[test]
fn photos_are_found_by_the_day_they_were_taken() {
    let home = Furnished::new();
    home.put("anna/one.jpg", &file("upright.jpg"));
    home.put("anna/no-date.jpg", &file("bare.jpg"));
    home.put("anna/text.txt", b"no photo");
    home.looked();
    let find = |taken_from, taken_to| -> Vec<String> {
        let query = FindQuery { taken_from, taken_to, ..FindQuery::default() };
        let found = home.pool.find(&query, None, 10).unwrap();
        found.into_iter().map(|f| f.path.name().to_owned()).collect()
    };
    let day = |n| Some(date(2024, 3, n));
    assert_eq!(find(day(5), day(5)), ["one.jpg"]);
    assert_eq!(find(day(5), None), ["one.jpg"]);
    assert_eq!(find(None, day(5)), ["one.jpg"]);
    assert_eq!((find(day(6), None), find(None, day(4))), (vec![], vec![]));
    assert_eq!(find(None, None).len(), 3);
}

/// It is derived: a catalogue made anew from the record reads it again.
#[test]
fn with_the_catalogue_lost_it_is_read_again() {
    let home = Furnished::new();
    home.put("anna/one.jpg", &file("upright.jpg"));
    home.looked();
    let before = receipt(&home, "anna/one.jpg").media;
    assert!(before.is_some());
    home.pool.rest();
    let home = home.away();
    for entry in fs::read_dir(home.mount("a").join(".shoebox")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("catalogue") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    home.watch("a");
    home.watch("b");
    assert_eq!(receipt(&home, "anna/one.jpg").media, None);
    home.looked();
    assert_eq!(receipt(&home, "anna/one.jpg").media, before);
}

#[test]
fn what_cannot_be_read_now_is_read_later_and_holds_up_nothing_else() {
    let home = Furnished::new();
    home.put("anna/sick.jpg", &file("upright.jpg"));
    home.put("anna/fine.jpg", &file("bare.jpg"));
    let (home, a, _) = home.decorated();
    let reads = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&reads);
    a.step_in(move |call, place| {
        if call == Call::ReadAt && place.as_str() == "photos/anna/sick.jpg" {
            seen.fetch_add(1, Ordering::SeqCst);
            return Err(eio(place));
        }
        Ok(())
    });
    home.looked();
    assert_eq!(receipt(&home, "anna/sick.jpg").media, None, "nothing is known, and nothing is made up");
    assert!(receipt(&home, "anna/fine.jpg").media.is_some());
    home.looked();
    assert_eq!(reads.load(Ordering::SeqCst), 1, "a sick drive is not asked again at once");
    a.step_in(|_, _| Ok(()));
    home.pass(1);
    home.looked();
    assert_eq!(receipt(&home, "anna/sick.jpg").media.unwrap().kind, MediaKind::Jpeg);
}

#[test]
fn what_was_deleted_before_it_was_looked_at_is_forgotten_and_looked_at_when_it_comes_again() {
    let home = Furnished::new();
    home.put("anna/a.jpg", &file("upright.jpg"));
    home.tree().trash(&computer(), &path("anna/a.jpg")).unwrap();
    home.looked();
    let left = |home: &Furnished| {
        home.pool.primary().unwrap().catalogue.read(|r| r.unread(home.pool.now(), 10)).unwrap()
    };
    assert_eq!(left(&home), []);
    home.put("anna/b.jpg", &file("upright.jpg"));
    assert_eq!(left(&home).len(), 1);
    home.looked();
    assert!(receipt(&home, "anna/b.jpg").media.is_some());
    // Once more under another name: its bytes are known.
    home.put("anna/c.jpg", &file("upright.jpg"));
    assert_eq!(left(&home), []);
    assert!(!Looking::new(Arc::clone(&home.pool), jiff::tz::TimeZone::UTC).step(&|| true).unwrap());
}
