//! Questions people ask: where is this photo, since when, and may it be deleted from the phone.
use crate::model::copy::CopyState;
use crate::model::drive::DriveId;
use crate::model::hash::ContentHash;
use crate::model::health::{Finding, Light};
use crate::model::path::RelPath;
use crate::model::receipt::{CopyLine, NamedAs, Receipt};
use crate::plan::safety;
use crate::store::catalogue::copies::CopyRow;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
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
        let copies = best_per_drive(copies);
        let not_yet_because = safety::not_safe_because(&copies, &self.in_alarm(&copies), self.now());
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
            copies,
            safe_to_delete: not_yet_because.is_empty(),
            not_yet_because,
        }))
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
            state: query.state,
        };
        let rows = primary.catalogue.read(|r| r.find(&fits, after.unwrap_or(0), limit))?;
        Ok(rows
            .into_iter()
            .filter_map(|(row, worst)| {
                Some(FoundName {
                    id: row.id,
                    hash: row.hash?,
                    path: row.path,
                    size: row.size,
                    received_at: row.received,
                    by: row.by,
                    worst,
                })
            })
            .collect())
    }
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
