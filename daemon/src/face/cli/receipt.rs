//! `shoebox receipt`: everything provable about one photo, as one paragraph.
use clap::Args;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::{Cx, Exit, drive, screen};
use crate::face::control::Request;
use crate::model::copy::CopyState;
use crate::model::receipt::{CopyLine, NamedAs, Receipt};

/// Print the dated record of one photo
///
/// Says when the photo was received and from which device, since when it is on each drive, when each copy was last
/// read back from the medium and found equal, and whether it is safe to delete from the phone. Dates are in this
/// machine's time zone.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  shoebox receipt anna/iphone/Photos/2026/11/IMG_4711.HEIC
  shoebox receipt \"$(b3sum --no-names IMG_4711.HEIC)\"
  shoebox receipt anna/iphone/IMG_4711.HEIC --json | jq .safe_to_delete")]
pub(super) struct ReceiptOf {
    /// A path below photos/, or the photo's BLAKE3 hash (64 hex digits)
    #[arg(value_name = "PATH|HASH")]
    key: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ReceiptOf {
    pub(super) fn run(self, cx: &mut Cx<'_>) -> anyhow::Result<Exit> {
        let receipt: Receipt = cx.ask(&Request::Receipt { key: self.key.clone() })?;
        if self.json {
            cx.json(&receipt)?;
        } else {
            write!(cx.out, "{}", text(&receipt, &self.key, &TimeZone::system()))?;
        }
        Ok(Exit::Fine)
    }
}

/// The paragraph, and below it what identifies the bytes.
fn text(receipt: &Receipt, key: &str, zone: &TimeZone) -> String {
    let asked = receipt.names.iter().find(|name| key.ends_with(name.path.as_str()));
    let shown = asked.or_else(|| receipt.names.first());
    let mut parts = vec![received(receipt, shown, zone)];
    parts.extend(receipt.copies.iter().map(|copy| stands(receipt, copy, zone)));
    let reread: Vec<String> = receipt.copies.iter().filter_map(|copy| reread(receipt, copy, zone)).collect();
    if !reread.is_empty() {
        parts.push(format!("re-read {}", reread.join(", ")));
    }
    let name = shown.map_or_else(|| "a photo without a name".to_owned(), |n| screen::plain(n.path.name()));
    let verdict = if receipt.safe_to_delete {
        "Safe to delete from the phone.".to_owned()
    } else if receipt.not_yet_because.is_empty() {
        "Not yet safe to delete from the phone.".to_owned()
    } else {
        format!("Not yet safe to delete from the phone: {}.", receipt.not_yet_because.join("; "))
    };
    let mut text = format!("{name} — {}. {verdict}\n\n", parts.join(" · "));
    for named in &receipt.names {
        text.push_str(&format!("  name    {}\n", screen::plain(named.path.as_str())));
    }
    text.push_str(&says(receipt));
    text.push_str(&format!("  size    {} bytes\n  blake3  {}\n", receipt.size, receipt.hash));
    for (label, hash) in [("sha256", &receipt.sha256), ("sha1  ", &receipt.sha1)] {
        if let Some(hash) = hash {
            text.push_str(&format!("  {label}  {hash}\n"));
        }
    }
    text
}

/// What it says of itself, a line for each thing.
fn says(receipt: &Receipt) -> String {
    let Some(media) = &receipt.media else { return String::new() };
    let mut lines = Vec::new();
    if let Some(taken) = media.taken {
        let zone = taken.offset.and_then(|seconds| Offset::from_seconds(seconds).ok());
        let zone = zone.map_or_else(|| ", zone unknown".to_owned(), |zone| format!(" {zone}"));
        lines.push(("taken", format!("{}{zone}", taken.local.strftime("%-d %b %Y %H:%M:%S"))));
    }
    if let Some(camera) = media.camera() {
        lines.push(("camera", screen::plain(&camera)));
    }
    if let Some(size) = media.size {
        let plays = media.duration.map_or_else(String::new, |ms| format!(", {:.1} s", ms as f64 / 1000.0));
        lines.push(("pixels", format!("{} × {}{plays}", size.width, size.height)));
    }
    if let Some(place) = media.place {
        lines.push(("place", format!("{:.5}, {:.5}", place.latitude, place.longitude)));
    }
    if media.motion.is_some() {
        lines.push(("motion", "a video lies in the same file".to_owned()));
    }
    if let Some(live) = &receipt.live_photo {
        let other = live.other_half.as_ref().map(|path| screen::plain(path.as_str()));
        let words = other
            .map_or_else(|| "the other half has not been received".to_owned(), |path| format!("with {path}"));
        lines.push(("live", words));
    }
    if let Some(why) = &receipt.suspect {
        lines.push(("suspect", why.clone()));
    }
    lines.iter().map(|(label, words)| format!("  {label:<7} {words}\n")).collect()
}

fn received(receipt: &Receipt, shown: Option<&NamedAs>, zone: &TimeZone) -> String {
    let at = screen::moment(receipt.received_at, zone);
    match shown {
        Some(name) if !name.by.is_empty() => format!("received from {} {at}", screen::plain(&name.by)),
        Some(_) | None => format!("found on the drive {at}"),
    }
}

fn stands(receipt: &Receipt, copy: &CopyLine, zone: &TimeZone) -> String {
    let drive = drive_name(receipt, copy);
    let beside = |at: Timestamp| screen::moment_beside(at, receipt.received_at, zone);
    match copy.state {
        CopyState::Wanted => format!("not yet on {drive}"),
        CopyState::Missing => format!("MISSING from {drive}"),
        CopyState::Damaged => format!("DAMAGED on {drive}"),
        CopyState::Settled | CopyState::Verified => {
            let mut text = format!("on {drive}");
            if let Some(at) = copy.settled_at {
                text.push_str(&format!(", flushed {}", beside(at)));
            }
            match (copy.state, copy.verified_at) {
                (CopyState::Verified, Some(at)) => {
                    text.push_str(&format!(", read back equal {}", beside(at)));
                }
                (CopyState::Verified, None) => text.push_str(", read back equal"),
                (CopyState::Settled | CopyState::Wanted | CopyState::Missing | CopyState::Damaged, _) => {
                    text.push_str(", not yet read back");
                }
            }
            text
        }
    }
}

/// `on drive A 20 Nov 2026`, if it was re-read after the first time.
fn reread(receipt: &Receipt, copy: &CopyLine, zone: &TimeZone) -> Option<String> {
    let at = copy.reread_at.filter(|at| copy.verified_at.is_none_or(|first| first < *at))?;
    Some(format!("on {} {}", drive_name(receipt, copy), screen::day(at, zone)))
}

fn drive_name(receipt: &Receipt, copy: &CopyLine) -> String {
    let name = drive::role_name(copy.role);
    if receipt.copies.iter().filter(|other| other.role == copy.role).count() > 1 {
        format!("{name} {}", copy.drive.short())
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drive::{DriveRole, Id};
    use crate::model::hash::ContentHash;
    use crate::model::path::RelPath;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn copy(id: u8, role: DriveRole, state: CopyState) -> CopyLine {
        CopyLine {
            drive: Id::from_random([id; 16]),
            role,
            state,
            settled_at: None,
            verified_at: None,
            reread_at: None,
        }
    }

    fn receipt() -> Receipt {
        let name = |path: &str, by: &str| NamedAs {
            path: RelPath::parse(path).unwrap(),
            by: by.to_owned(),
            received_at: at("2026-11-14T18:02:11Z"),
        };
        Receipt {
            hash: ContentHash::of(b"abc"),
            size: 3_210_000,
            sha1: None,
            sha256: Some("ba78".to_owned()),
            received_at: at("2026-11-14T18:02:11Z"),
            names: vec![name("anna/iphone/IMG_4711.HEIC", "anna/iphone"), name("anna/best/x.heic", "")],
            media: None,
            suspect: None,
            live_photo: None,
            copies: vec![
                CopyLine {
                    settled_at: Some(at("2026-11-14T18:02:12Z")),
                    verified_at: Some(at("2026-11-14T18:03:00Z")),
                    reread_at: Some(at("2026-11-20T03:00:00Z")),
                    ..copy(1, DriveRole::Primary, CopyState::Verified)
                },
                CopyLine {
                    settled_at: Some(at("2026-11-15T18:02:14Z")),
                    verified_at: Some(at("2026-11-15T18:02:15Z")),
                    reread_at: Some(at("2026-11-15T18:02:15Z")),
                    ..copy(2, DriveRole::Mirror, CopyState::Verified)
                },
            ],
            safe_to_delete: true,
            not_yet_because: Vec::new(),
        }
    }

    #[test]
    fn the_sentence_of_the_product() {
        let text = text(&receipt(), "photos/anna/iphone/IMG_4711.HEIC", &TimeZone::UTC);
        expect_test::expect![[r#"
            IMG_4711.HEIC — received from anna/iphone 14 Nov 2026 18:02:11 · on drive A, flushed 18:02:12, read back equal 18:03:00 · on drive B, flushed 15 Nov 2026 18:02:14, read back equal 15 Nov 2026 18:02:15 · re-read on drive A 20 Nov 2026. Safe to delete from the phone.

              name    anna/iphone/IMG_4711.HEIC
              name    anna/best/x.heic
              size    3210000 bytes
              blake3  6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85
              sha256  ba78
        "#]].assert_eq(&text);
    }

    #[test]
    fn bad_news_is_plain() {
        let mut receipt = receipt();
        receipt.safe_to_delete = false;
        receipt.not_yet_because = vec!["drive B lacks it".to_owned(), "a copy is damaged".to_owned()];
        receipt.copies = vec![
            CopyLine {
                settled_at: Some(at("2026-11-14T18:02:12Z")),
                ..copy(1, DriveRole::Primary, CopyState::Settled)
            },
            copy(2, DriveRole::Mirror, CopyState::Wanted),
            copy(3, DriveRole::Offline, CopyState::Damaged),
            copy(4, DriveRole::Offline, CopyState::Missing),
        ];
        let text = text(&receipt, "anna/best/x.heic", &TimeZone::UTC);
        expect_test::expect![[r#"
            x.heic — found on the drive 14 Nov 2026 18:02:11 · on drive A, flushed 18:02:12, not yet read back · not yet on drive B · DAMAGED on offline drive 03030303 · MISSING from offline drive 04040404. Not yet safe to delete from the phone: drive B lacks it; a copy is damaged.

              name    anna/iphone/IMG_4711.HEIC
              name    anna/best/x.heic
              size    3210000 bytes
              blake3  6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85
              sha256  ba78
        "#]].assert_eq(&text);
    }

    #[test]
    fn what_it_says_of_itself() {
        use crate::model::media::{Coordinates, Media, MediaKind, Pixels, Structure, Taken, TakenFrom};
        use crate::model::receipt::LivePhoto;
        let mut receipt = receipt();
        let taken = |offset| Taken::new("2026-11-14T18:02:05".parse().unwrap(), offset, TakenFrom::Exif);
        receipt.media = Some(Media {
            structure: Structure::EndsEarly,
            size: Pixels::new(3024, 4032),
            taken: taken(Some(3600)),
            make: Some("Apple".to_owned()),
            model: Some("iPhone 15".to_owned()),
            place: Coordinates::new(48.2082, -16.3738),
            duration: Some(2930),
            motion: Some(0),
            ..Media::of(MediaKind::Heif)
        });
        receipt.suspect = Some("the picture ends before it should".to_owned());
        receipt.live_photo = Some(LivePhoto { other_half: None, other_hash: None });
        expect_test::expect![[r#"
            says
              taken   14 Nov 2026 18:02:05 +01
              camera  Apple iPhone 15
              pixels  3024 × 4032, 2.9 s
              place   48.20820, -16.37380
              motion  a video lies in the same file
              live    the other half has not been received
              suspect the picture ends before it should
        "#]]
        .assert_eq(&format!("says\n{}", says(&receipt)));
        receipt.live_photo = RelPath::parse("anna/IMG_4711.MOV")
            .ok()
            .map(|path| LivePhoto { other_half: Some(path), other_hash: None });
        receipt.media = Some(Media { taken: taken(None), ..Media::unknown() });
        receipt.suspect = None;
        expect_test::expect![[r#"
            says
              taken   14 Nov 2026 18:02:05, zone unknown
              live    with anna/IMG_4711.MOV
        "#]]
        .assert_eq(&format!("says\n{}", says(&receipt)));
    }
}
