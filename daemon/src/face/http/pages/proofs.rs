//! What is proved of photos that a page sent: on which drive each is, and since when that is known.
use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use jiff::Timestamp;

use crate::face::http::reply::{self, Deny, Reply};
use crate::face::http::{Shared, upload};
use crate::model::account::{Device, Slug};
use crate::model::copy::CopyState;
use crate::model::drive::DriveRole;
use crate::model::hash::ContentHash;
use crate::model::receipt::{CopyLine, Receipt};

/// So many are asked about at once.
const MOST: usize = 100;
const MOST_BYTES: u64 = 16 * 1024;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    hashes: Vec<ContentHash>,
}

/// What is proved of one photo. Dates are those of the receipt. Whether it may be deleted from the phone is not said here: what a
/// browser sends is often not what the phone has.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct Proof {
    hash: ContentHash,
    /// Since when it is durable on drive A; none if the copy there is not good.
    on_a: Option<Timestamp>,
    /// Since when it is read back equal on drive B.
    on_b: Option<Timestamp>,
}

#[derive(serde::Serialize)]
struct Answer {
    proofs: Vec<Proof>,
}

/// `POST /upload/proofs`: of each of these hashes, if the person has such a photo. Others are left out of the answer.
pub(in crate::face::http) async fn answer(
    shared: &Arc<Shared>,
    device: Device,
    body: &mut Option<Incoming>,
) -> Result<Reply, Deny> {
    let text = upload::collect(body.take(), MOST_BYTES, shared.face.limits.body_idle).await?;
    let question: Question =
        serde_json::from_slice(&text).map_err(|_| Deny::Bad("a list of hashes is needed"))?;
    if question.hashes.len() > MOST {
        return Err(Deny::Bad("not so many at once"));
    }
    let pool = Arc::clone(&shared.face.pool);
    let proofs = upload::blocking(&shared.face.pool, move || {
        let mut proofs = Vec::new();
        for hash in question.hashes {
            let receipt = pool.receipt(&hash.to_string())?;
            proofs.extend(receipt.and_then(|receipt| proof(&receipt, &device.person)));
        }
        Ok(proofs)
    });
    let mut reply = reply::json(StatusCode::OK, &Answer { proofs: proofs.await? });
    reply::set(&mut reply, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// `None`: the person has no such photo, whoever else may.
fn proof(receipt: &Receipt, person: &Slug) -> Option<Proof> {
    let is_own = |path: &crate::model::path::RelPath| path.components().next() == Some(person.as_str());
    receipt.names.iter().any(|name| is_own(&name.path)).then(|| Proof {
        hash: receipt.hash,
        on_a: since(receipt, DriveRole::Primary, |copy| {
            matches!(copy.state, CopyState::Settled | CopyState::Verified).then_some(copy.settled_at)?
        }),
        on_b: since(receipt, DriveRole::Mirror, |copy| {
            matches!(copy.state, CopyState::Verified).then_some(copy.verified_at)?
        }),
    })
}

fn since(
    receipt: &Receipt,
    role: DriveRole,
    when: impl Fn(&CopyLine) -> Option<Timestamp>,
) -> Option<Timestamp> {
    receipt.copies.iter().filter(|copy| copy.role == role).filter_map(when).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::path::RelPath;
    use crate::model::receipt::NamedAs;

    fn copy(role: DriveRole, state: CopyState) -> CopyLine {
        let at = |text: &str| Some(text.parse().unwrap());
        CopyLine {
            drive: "00000000000000000000000000000001".parse().unwrap(),
            role,
            state,
            settled_at: at("2026-11-14T18:02:12Z"),
            verified_at: at("2026-11-14T18:02:15Z"),
            reread_at: None,
        }
    }

    fn receipt(path: &str, copies: Vec<CopyLine>) -> Receipt {
        let received_at = "2026-11-14T18:02:11Z".parse().unwrap();
        Receipt {
            hash: ContentHash::of(b"photo"),
            size: 5,
            sha1: None,
            sha256: None,
            received_at,
            names: vec![NamedAs { path: RelPath::parse(path).unwrap(), by: "anna/web".into(), received_at }],
            copies,
            media: None,
            suspect: None,
            live_photo: None,
            safe_to_delete: false,
            not_yet_because: Vec::new(),
        }
    }

    #[test]
    fn a_copy_counts_for_what_is_proved_of_it() {
        use CopyState::{Damaged, Missing, Settled, Verified, Wanted};
        use DriveRole::{Mirror, Offline, Primary};
        for (a, b, expected) in [
            (Settled, Wanted, (true, false)),
            (Settled, Settled, (true, false)),
            (Settled, Verified, (true, true)),
            (Verified, Verified, (true, true)),
            (Missing, Verified, (false, true)),
            (Damaged, Wanted, (false, false)),
        ] {
            let all = vec![copy(Primary, a), copy(Mirror, b), copy(Offline, Verified)];
            let proof = proof(&receipt("anna/2026-11/a.jpg", all), &"anna".parse().unwrap()).unwrap();
            assert_eq!((proof.on_a.is_some(), proof.on_b.is_some()), expected, "{a:?} {b:?}");
        }
        let of_nobody = receipt("annas/a.jpg", vec![copy(Primary, Settled)]);
        assert_eq!(proof(&of_nobody, &"anna".parse().unwrap()), None);
    }
}
