//! "Safe to delete from the phone": the product's definition, evaluated for one asset, with the reasons when it is not.
use jiff::{SignedDuration, Timestamp};

use crate::model::copy::CopyState;
use crate::model::drive::DriveId;
use crate::model::media::{Media, MediaKind};
use crate::model::receipt::CopyLine;
use crate::plan::suspecting;

/// A proof older than this no longer counts.
pub const PROOF_LASTS: SignedDuration = SignedDuration::from_hours(35 * 24);

/// A date of proof may be ahead of the clock by as much as clocks are set now and then.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(24);

/// What is known of an asset.
#[derive(Debug, Clone, Copy)]
pub struct Known<'k> {
    /// Its copies.
    pub copies: &'k [CopyLine],
    /// Drives with a red finding.
    pub in_alarm: &'k [DriveId],
    /// What it says of itself; `None`: nobody looked yet.
    pub media: Option<&'k Media>,
}

/// The other half of a Live Photo.
#[derive(Debug, Clone, Copy)]
pub enum OtherHalf<'k> {
    /// It is none.
    Needless,
    /// It is one, and the other half is not here.
    NotHere,
    /// This is it.
    Here(Known<'k>),
}

/// The reasons why an asset is not safe to delete from the phone; none: it is safe.
pub fn not_safe_because(this: Known<'_>, other: OtherHalf<'_>, now: Timestamp) -> Vec<String> {
    let mut reasons = alone(this, now);
    let half = match this.media.map(|media| media.kind) {
        Some(MediaKind::Movie) => "the picture",
        Some(_) | None => "the video",
    };
    match other {
        OtherHalf::Needless => {}
        OtherHalf::NotHere => reasons.push(format!("{half} of this Live Photo has not been received")),
        OtherHalf::Here(other) => {
            reasons
                .extend(alone(other, now).into_iter().map(|why| format!("{half} of this Live Photo: {why}")));
        }
    }
    reasons
}

fn alone(asset: Known<'_>, now: Timestamp) -> Vec<String> {
    let mut reasons = not_proved_because(asset.copies, asset.in_alarm, now);
    match asset.media.map(suspecting::suspect) {
        Some(Some(why)) => reasons.push(format!("it is suspect: {why}")),
        Some(None) => {}
        None => reasons.push("its bytes have not been looked at yet".to_owned()),
    }
    reasons
}

fn not_proved_because(copies: &[CopyLine], in_alarm: &[DriveId], now: Timestamp) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut proved = 0;
    for copy in copies {
        let drive = format!("the {} drive", copy.role);
        match copy.state {
            CopyState::Wanted => reasons.push(format!("{drive} does not have it yet")),
            CopyState::Settled => reasons.push(format!("the copy on {drive} has not been read back yet")),
            CopyState::Missing => reasons.push(format!("the copy on {drive} is missing")),
            CopyState::Damaged => reasons.push(format!("the copy on {drive} is damaged")),
            CopyState::Verified => match copy.reread_at.max(copy.verified_at) {
                // The trace of a clock that was wrong: nobody knows how long ago it was.
                Some(at) if at.duration_since(now) > CLOCKS_DIFFER => {
                    reasons
                        .push(format!("the copy on {drive} was read back at a date that has not come yet"));
                }
                Some(at) if now.duration_since(at) > PROOF_LASTS => {
                    reasons.push(format!("the copy on {drive} was last read back more than 35 days ago"));
                }
                Some(_) if in_alarm.contains(&copy.drive) => reasons.push(format!("{drive} is in alarm")),
                Some(_) => proved += 1,
                None => reasons.push(format!("the copy on {drive} has no date of proof")),
            },
        }
    }
    if proved >= 2 {
        // A third drive that lags does not take the two good ones away; a damaged copy anywhere makes the asset suspect.
        reasons.retain(|r| r.ends_with("is damaged"));
    } else if reasons.is_empty() {
        reasons.push("fewer than two drives hold it".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drive::{DriveRole, Id};

    fn line(n: u8, role: DriveRole, state: CopyState, at: Option<i64>) -> CopyLine {
        let at = at.map(|s| Timestamp::from_second(s).unwrap());
        CopyLine {
            drive: Id::from_random([n; 16]),
            role,
            state,
            settled_at: at,
            verified_at: at,
            reread_at: at,
        }
    }

    #[test]
    fn two_fresh_proofs_and_nothing_less() {
        use CopyState::{Damaged, Settled, Verified, Wanted};
        use DriveRole::{Mirror, Offline, Primary};
        let now = Timestamp::from_second(40 * 86_400).unwrap();
        let fresh = Some(39 * 86_400);
        let a = line(1, Primary, Verified, fresh);
        let b = line(2, Mirror, Verified, fresh);
        let looked = Media::unknown();
        let why = |copies: &[CopyLine], in_alarm: &[DriveId]| {
            let known = Known { copies, in_alarm, media: Some(&looked) };
            not_safe_because(known, OtherHalf::Needless, now).join("; ")
        };
        assert_eq!(why(&[a.clone(), b.clone()], &[]), "");
        assert_eq!(why(&[a.clone(), b.clone(), line(3, Offline, Wanted, None)], &[]), "");
        assert_eq!(why(std::slice::from_ref(&a), &[]), "fewer than two drives hold it");
        assert_eq!(
            why(&[line(1, Primary, Settled, fresh), b.clone()], &[]),
            "the copy on the primary drive has not been read back yet"
        );
        assert_eq!(
            why(&[line(1, Primary, Verified, Some(0)), b.clone()], &[]),
            "the copy on the primary drive was last read back more than 35 days ago"
        );
        assert_eq!(
            why(&[line(1, Primary, Verified, Some(45 * 86_400)), b.clone()], &[]),
            "the copy on the primary drive was read back at a date that has not come yet"
        );
        assert_eq!(why(&[a.clone(), b.clone()], &[b.drive]), "the mirror drive is in alarm");
        assert_eq!(
            why(&[a, b, line(3, Offline, Damaged, fresh)], &[]),
            "the copy on the offline drive is damaged"
        );
    }

    #[test]
    fn what_nobody_looked_at_what_is_suspect_and_half_a_live_photo() {
        use crate::model::media::Structure;
        let now = Timestamp::from_second(40 * 86_400).unwrap();
        let at = Some(39 * 86_400);
        let both = [
            line(1, DriveRole::Primary, CopyState::Verified, at),
            line(2, DriveRole::Mirror, CopyState::Verified, at),
        ];
        let (still, video) = (Media::of(MediaKind::Heif), Media::of(MediaKind::Movie));
        let cut = Media { structure: Structure::EndsEarly, ..Media::of(MediaKind::Jpeg) };
        let known = |copies, media| Known { copies, in_alarm: &[], media };
        let fine = |media| known(&both[..], Some(media));
        for (what, this, other, expect) in [
            ("whole and alone", fine(&still), OtherHalf::Needless, ""),
            (
                "nobody looked",
                known(&both[..], None),
                OtherHalf::Needless,
                "its bytes have not been looked at yet",
            ),
            (
                "suspect",
                fine(&cut),
                OtherHalf::Needless,
                "it is suspect: the picture ends before it should, as if it was sent in part",
            ),
            (
                "no video",
                fine(&still),
                OtherHalf::NotHere,
                "the video of this Live Photo has not been received",
            ),
            (
                "no picture",
                fine(&video),
                OtherHalf::NotHere,
                "the picture of this Live Photo has not been received",
            ),
            ("both halves", fine(&still), OtherHalf::Here(fine(&video)), ""),
            (
                "the other half on one drive",
                fine(&still),
                OtherHalf::Here(known(&both[..1], Some(&video))),
                "the video of this Live Photo: fewer than two drives hold it",
            ),
            (
                "the other half not looked at",
                fine(&still),
                OtherHalf::Here(known(&both[..], None)),
                "the video of this Live Photo: its bytes have not been looked at yet",
            ),
        ] {
            assert_eq!(not_safe_because(this, other, now).join("; "), expect, "{what}");
        }
    }
}
