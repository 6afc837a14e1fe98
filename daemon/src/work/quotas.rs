//! Quotas of people: what is used, and room promised to uploads under way, so that those that come at once do not exceed it
//! together.
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::account::Slug;
use crate::model::hash::ContentHash;
use crate::plan::quota::Use;
use crate::work::changes::Change;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;

/// What is known of everybody who has a quota.
#[derive(Default)]
pub(super) struct Quotas(Mutex<HashMap<Slug, Known>>);

#[derive(Default, Clone, Copy)]
struct Known {
    used: Use,
    /// The event up to which it was counted.
    at: Option<u64>,
}

/// Room promised to one upload; given back when this is dropped.
pub(super) struct Promise {
    pool: Arc<Pool>,
    person: Slug,
    quota: u64,
    /// Bytes that the upload takes the place of.
    replaced: u64,
    held: u64,
    /// How long the upload may turn out to be, as far as is known.
    length: RangeInclusive<u64>,
    /// The quota is full: only what the person has already is settled, which takes none of it.
    only_known: bool,
}

impl Quotas {
    fn lock(&self) -> MutexGuard<'_, HashMap<Slug, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Sets or lifts a person's quota. `NotFound`.
    pub fn set_quota(&self, person: &Slug, bytes: Option<u64>) -> Result<(), Refusal> {
        let primary = self.primary()?;
        if !primary.catalogue.read(|r| r.has_person(person))? {
            return Err(Refusal::NotFound);
        }
        primary.submit(Change::Quota { person: person.clone(), bytes }, self.now()).map(drop)
    }

    /// What a person uses, counted anew if anything changed.
    pub(super) fn used(&self, primary: &Primary, person: &Slug) -> Result<u64, Refusal> {
        let mut all = self.quotas.lock();
        let known = all.entry(person.clone()).or_default();
        count(primary, person, known)?;
        Ok(known.used.counted)
    }

    /// Everybody with a quota: what is used of it, and the quota. As last counted: a scan of all names for everybody, every
    /// few seconds, would hold uploads up.
    pub(super) fn quotas_used(&self, primary: &Primary) -> Result<Vec<(u64, u64)>, Refusal> {
        let mut used = Vec::new();
        for (person, quota) in primary.catalogue.read(|r| r.quotas())? {
            let known = self.quotas.lock().get(&person).copied().filter(|known| known.at.is_some());
            let all = known.map_or_else(|| self.used(primary, &person), |known| Ok(known.used.all()))?;
            used.push((all, quota));
        }
        Ok(used)
    }

    /// Promises room in a person's quota, before a byte has come, to an upload that takes the place of `replaced` bytes. Where there is
    /// none, and the person has a file of such a `length`, the upload is let in all the same: it may be that very file.
    pub(super) fn promise(
        self: &Arc<Self>,
        primary: &Primary,
        person: &Slug,
        (quota, replaced): (u64, u64),
        (needed, length): (u64, RangeInclusive<u64>),
    ) -> Result<Promise, Refusal> {
        let (pool, person) = (Arc::clone(self), person.clone());
        let mut promise = Promise { pool, person, quota, replaced, held: 0, length, only_known: false };
        promise.grow(primary, needed)?;
        Ok(promise)
    }
}

/// Counts what a person uses, if anything was recorded since it was last counted.
fn count(primary: &Primary, person: &Slug, known: &mut Known) -> Result<(), Refusal> {
    let id = primary.attached.id();
    // In one hold of the catalogue: nothing is recorded between the two answers.
    let counted = primary.catalogue.read(|r| {
        let at = r.drive(id)?.map(|drive| drive.position.seq);
        if at == known.at { Ok(None) } else { Ok(Some((at, r.used_by(person)?))) }
    })?;
    if let Some((at, bytes)) = counted {
        known.used = Use { counted: bytes, since: 0, promised: known.used.promised };
        known.at = at;
    }
    Ok(())
}

impl Promise {
    /// Promises room for `bytes` in all. Refused only after counting anew: what was deleted meanwhile, or sent twice, is none
    /// of the use any more.
    pub(super) fn grow(&mut self, primary: &Primary, bytes: u64) -> Result<(), Refusal> {
        if self.only_known && bytes <= *self.length.end() {
            return Ok(());
        }
        let more = bytes.saturating_sub(self.replaced).saturating_sub(self.held);
        if more == 0 {
            return Ok(());
        }
        let mut all = self.pool.quotas.lock();
        let known = all.entry(self.person.clone()).or_default();
        if known.at.is_none() || !known.used.fits(self.quota, more) {
            count(primary, &self.person, known)?;
        }
        if !known.used.fits(self.quota, more) {
            let available = known.used.left(self.quota).saturating_add(self.held);
            let lengths = bytes.max(*self.length.start())..=*self.length.end();
            self.only_known =
                !lengths.is_empty() && primary.catalogue.read(|r| r.has_file_of(&self.person, &lengths))?;
            return if self.only_known {
                Ok(())
            } else {
                Err(Refusal::OverQuota { needed: bytes, available })
            };
        }
        known.used.promised += more;
        self.held += more;
        Ok(())
    }

    /// Refuses content that the person has not, where the quota has no room for it.
    pub(super) fn admits(&self, primary: &Primary, content: &ContentHash, bytes: u64) -> Result<(), Refusal> {
        if !self.only_known {
            return Ok(());
        }
        let known = primary.catalogue.read(|r| r.has_content(&self.person, content))?;
        if known {
            return Ok(());
        }
        let all = self.pool.quotas.lock();
        let available = all.get(&self.person).map_or(0, |known| known.used.left(self.quota));
        Err(Refusal::OverQuota { needed: bytes, available })
    }

    /// The upload is acknowledged: what was promised is used.
    pub(super) fn keep(mut self) {
        let mut all = self.pool.quotas.lock();
        if let Some(known) = all.get_mut(&self.person) {
            known.used.since = known.used.since.saturating_add(self.held);
            known.used.promised = known.used.promised.saturating_sub(self.held);
            if self.replaced > 0 || self.only_known {
                // What it took the place of may have another name, and count as before.
                known.at = None;
            }
        }
        drop(all);
        self.held = 0;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(known) = self.pool.quotas.lock().get_mut(&self.person) {
            known.used.promised = known.used.promised.saturating_sub(self.held);
        }
    }
}
