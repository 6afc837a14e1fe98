//! Questions people ask: where is this photo, since when, and may it be deleted from the phone.
use crate::model::copy::CopyState;
use crate::model::drive::DriveId;
use crate::model::hash::ContentHash;
use crate::model::health::{Finding, Light};
use crate::model::media::Media;
use crate::model::path::RelPath;
use crate::model::receipt::{CopyLine, LivePhoto, NamedAs, Receipt};
use crate::plan::pairing::{self, Half, Pairing};
use crate::plan::safety::{self, Known, OtherHalf};
use crate::plan::suspecting;
use crate::store::catalogue::copies::CopyRow;
use crate::store::catalogue::names::NameRow;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::views::{FindQuery, FoundName};

impl Pool {
    /// The receipt of an asset, by a hash (BLAKE3, SHA-256 or SHA-1, in hex) or by a name below `photos/`.
    pub fn receipt(&self, key: &str) -> Result<Option<Receipt>, Refusal> {
        let primary = self.primary()?;
        let digits = key.to_ascii_lowercase();
        let other = primary.catalogue.read(|r| r.asset_by_sha(&digits))?;
        let by_name = match other.map_or_else(|| digits.parse::<ContentHash>(), Ok) {
            Ok(hash) => Err(hash),
            Err(_) => {
                let text = key.trim_matches('/');
                let text = text.strip_prefix("photos/").unwrap_or(text);
                match RelPath::parse(text) {
                    Ok(path) => Ok(path),
                    Err(_) => return Ok(None),
                }
            }
        };
        let found = primary.catalogue.read(|r| {
            let (hash, rows) = match &by_name {
                Ok(path) => match r.name(&path.fold_key())? {
                    Some(row) => (row.hash, vec![row]),
                    None => (None, Vec::new()),
                },
                Err(hash) => (Some(*hash), r.names_of_content(hash)?),
            };
            let Some(hash) = hash else { return Ok(None) };
            let Some(asset) = r.asset(&hash)? else { return Ok(None) };
            let mut copies = Vec::new();
            for row in &rows {
                copies.extend(r.copies_of_name(row.id)?);
            }
            Ok(Some((hash, asset, rows, copies)))
        })?;
        let Some((hash, asset, rows, copies)) = found else { return Ok(None) };
        let this = self.known(&primary, &hash, copies)?;
        let pairing = pairing_of(&primary, &hash, &rows, this.media.as_ref())?;
        let other = match &pairing {
            Pairing::With(half) => Some(self.known_by_hash(&primary, &half.hash)?),
            Pairing::Alone | Pairing::Widowed => None,
        };
        let half = match (&pairing, &other) {
            (Pairing::Widowed, _) => OtherHalf::NotHere,
            (_, Some(other)) => OtherHalf::Here(other.as_known()),
            (Pairing::Alone | Pairing::With(_), None) => OtherHalf::Needless,
        };
        let not_yet_because = safety::not_safe_because(this.as_known(), half, self.now());
        Ok(Some(Receipt {
            hash,
            size: asset.size,
            sha1: asset.sha1,
            sha256: asset.sha256,
            received_at: asset.received,
            names: rows
                .into_iter()
                .map(|row| NamedAs { path: row.path, by: row.by, received_at: row.received })
                .collect(),
            suspect: this.media.as_ref().and_then(suspecting::suspect).map(str::to_owned),
            media: this.media,
            live_photo: match pairing {
                Pairing::Alone => None,
                Pairing::Widowed => Some(LivePhoto { other_half: None, other_hash: None }),
                Pairing::With(half) => {
                    Some(LivePhoto { other_half: Some(half.path), other_hash: Some(half.hash) })
                }
            },
            copies: this.copies,
            safe_to_delete: not_yet_because.is_empty(),
            not_yet_because,
        }))
    }

    /// What an asset says of itself; `None`: nobody looked yet, or there is no such asset.
    pub fn media(&self, hash: &ContentHash) -> Result<Option<Media>, Refusal> {
        Ok(self.primary()?.catalogue.read(|r| r.media(hash))?)
    }

    fn known(
        &self,
        primary: &Primary,
        hash: &ContentHash,
        copies: Vec<CopyRow>,
    ) -> Result<Evidence, Refusal> {
        let copies = best_per_drive(copies);
        let media = primary.catalogue.read(|r| r.media(hash))?;
        Ok(Evidence { in_alarm: self.in_alarm(&copies), copies, media })
    }

    fn known_by_hash(&self, primary: &Primary, hash: &ContentHash) -> Result<Evidence, Refusal> {
        let copies = primary.catalogue.read(|r| {
            let names = r.names_of_content(hash)?;
            names.iter().map(|name| r.copies_of_name(name.id)).collect::<Result<Vec<_>, _>>()
        })?;
        self.known(primary, hash, copies.concat())
    }

    /// Those of these copies' drives that a red finding is about, there or not: a drive that was taken away proves nothing. Nor does one
    /// that is failing, also where that is less urgent (an offline drive).
    fn in_alarm(&self, copies: &[CopyLine]) -> Vec<DriveId> {
        let findings = self.findings();
        let alarms = |f: &Finding| f.light == Light::Red || f.code == "drive-failing";
        let red = |short: &str| findings.iter().any(|f| alarms(f) && f.about == short);
        copies.iter().map(|copy| copy.drive).filter(|id| red(&id.short())).collect()
    }

    /// Names that fit, in order of arrival, after the row id `after`.
    pub fn find(
        &self,
        query: &FindQuery,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<FoundName>, Refusal> {
        let primary = self.primary()?;
        let fits = crate::store::catalogue::find::Fits {
            person: query.person.as_ref().map(|p| p.as_str().to_owned()),
            device: query.device.as_ref().map(|d| d.as_str().to_owned()),
            fold_contains: query.name_contains.as_deref().map(crate::model::path::fold_text),
            received_from: query.received_from,
            received_to: query.received_to,
            taken_from: query.taken_from,
            taken_to: query.taken_to,
            suspect: query.suspect,
            state: query.state,
        };
        let rows = primary.catalogue.read(|r| r.find(&fits, after.unwrap_or(0), limit))?;
        Ok(rows
            .into_iter()
            .filter_map(|(row, worst, media)| {
                Some(FoundName {
                    id: row.id,
                    hash: row.hash?,
                    path: row.path,
                    size: row.size,
                    received_at: row.received,
                    by: row.by,
                    worst,
                    suspect: media.as_ref().and_then(suspecting::suspect).map(str::to_owned),
                    media,
                })
            })
            .collect())
    }
}

/// What the judgement about one asset rests on.
struct Evidence {
    copies: Vec<CopyLine>,
    in_alarm: Vec<DriveId>,
    media: Option<Media>,
}

impl Evidence {
    fn as_known(&self) -> Known<'_> {
        Known { copies: &self.copies, in_alarm: &self.in_alarm, media: self.media.as_ref() }
    }
}

/// What an asset is half of, under the first of its names that has the other half.
fn pairing_of(
    primary: &Primary,
    hash: &ContentHash,
    names: &[NameRow],
    media: Option<&Media>,
) -> Result<Pairing, Refusal> {
    /// Names of one asset that are looked around at.
    const MOST: usize = 16;
    let Some(media) = media else { return Ok(Pairing::Alone) };
    let mut last = Pairing::Alone;
    for name in names.iter().take(MOST) {
        let this = Half { hash: *hash, path: name.path.clone(), media: media.clone() };
        let fold = name.path.fold_key();
        let others = primary.catalogue.read(|r| r.halves(media.content_id.as_ref(), pairing::stem(&fold)))?;
        let others: Vec<Half> =
            others.into_iter().map(|(hash, path, media)| Half { hash, path, media }).collect();
        last = pairing::pairing(&this, &others);
        if matches!(last, Pairing::With(_)) {
            break;
        }
    }
    Ok(last)
}

/// One line per drive: an asset with several names may have several copies there; the best one speaks for the drive.
fn best_per_drive(copies: Vec<CopyRow>) -> Vec<CopyLine> {
    let mut lines: Vec<CopyLine> = Vec::new();
    for copy in copies {
        // The drive stopped without notice shortly after it was given this one: until it is re-read, no proof from before counts.
        let doubted = copy.tail && copy.state == CopyState::Verified;
        let line = CopyLine {
            drive: copy.drive,
            role: copy.role,
            state: if doubted { CopyState::Settled } else { copy.state },
            settled_at: copy.settled,
            verified_at: copy.verified,
            reread_at: copy.reread,
        };
        match lines.iter_mut().find(|l| l.drive == line.drive) {
            Some(known) if rank(&line) > rank(known) => *known = line,
            Some(_) => {}
            None => lines.push(line),
        }
    }
    lines.sort_by_key(|l| (l.role, l.drive));
    lines
}

fn rank(line: &CopyLine) -> (u8, Option<jiff::Timestamp>) {
    use crate::model::copy::CopyState::{Damaged, Missing, Settled, Verified, Wanted};
    let order = match line.state {
        Verified => 4,
        Settled => 3,
        Damaged => 2,
        Missing => 1,
        Wanted => 0,
    };
    (order, line.reread_at)
}
