//! Incidents: which drive made an error when, kept in memory and in the catalogue, so that neither a restart nor a plug that is pulled
//! makes a drive good again that fails time after time.
//!
//! Written by whoever looks after the primary, once its probe came back. If the primary is the one that fails, its catalogue is told
//! as soon as it takes writes again; while it takes none it is suspect, and needs no history to be refused.
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::model::drive::{DriveId, Standing};
use crate::plan::failing::{Failing, History};
use crate::store::catalogue::CatalogueError;
use crate::store::catalogue::accounts::{forget_meta, set_meta};
use crate::work::drive::Attached;
use crate::work::pool::Pool;
use crate::work::primary::Primary;

/// What is known of all drives.
#[derive(Default)]
pub(super) struct Incidents {
    by_drive: BTreeMap<DriveId, History>,
    /// The catalogue does not know all of it.
    unsaved: bool,
}

const KEY: &str = "incidents ";

impl Pool {
    fn lock_incidents(&self) -> MutexGuard<'_, Incidents> {
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A drive is there: what failed on it since it was last found there is an incident.
    pub(super) fn note_incident(&self, attached: &Attached, now: Timestamp) {
        let Some(kind) = attached.take_incident() else { return };
        let mut incidents = self.lock_incidents();
        incidents.by_drive.entry(attached.id()).or_default().note(kind, now);
        incidents.unsaved = true;
        drop(incidents);
        log::warn!("drive {} made an error, and answers", attached.id().short());
    }

    /// How a drive that takes writes stands, which depends on what it did before. Clients are refused or admitted by that.
    pub(super) fn stands(&self, attached: &Attached, now: Timestamp) -> Standing {
        let mut incidents = self.lock_incidents();
        let mut failing = None;
        let mut changed = false;
        if let Some(history) = incidents.by_drive.get_mut(&attached.id()) {
            changed = history.settle(now);
            failing = history.judge(now);
        }
        incidents.unsaved |= changed;
        drop(incidents);
        attached.set_closed(failing.is_some_and(|failing| failing.closed));
        failing.map_or(Standing::Ready, |Failing { incidents, last, closed }| Standing::Failing {
            incidents,
            last,
            closed,
        })
    }

    /// A primary was opened: what its catalogue knows is added to what is known.
    pub(super) fn load_incidents(&self, primary: &Primary) -> Result<(), CatalogueError> {
        let rows = primary.catalogue.read(|r| r.metas(KEY))?;
        let mut incidents = self.lock_incidents();
        for (key, text) in rows {
            if let Ok(id) = key[KEY.len()..].parse() {
                incidents.by_drive.entry(id).or_default().merge(&History::parse(&text));
            }
        }
        // Another catalogue may know less.
        incidents.unsaved = !incidents.by_drive.is_empty();
        Ok(())
    }

    /// Writes down what the catalogue does not know. Blocking.
    pub(super) fn save_incidents(&self, primary: &Primary) -> Result<(), CatalogueError> {
        let mut incidents = self.lock_incidents();
        if !incidents.unsaved {
            return Ok(());
        }
        let all: Vec<(String, String)> = incidents
            .by_drive
            .iter()
            .map(|(id, history)| (format!("{KEY}{id}"), history.to_string()))
            .collect();
        // Said before it is done: what comes meanwhile is written next time.
        incidents.unsaved = false;
        drop(incidents);
        let saved = primary.catalogue.write(|tx| {
            all.iter().try_for_each(|(key, text)| {
                if text.is_empty() { forget_meta(tx, key) } else { set_meta(tx, key, text) }
            })
        });
        let mut incidents = self.lock_incidents();
        match &saved {
            Ok(()) => incidents.by_drive.retain(|_, history| !history.is_empty()),
            Err(_) => incidents.unsaved = true,
        }
        saved
    }
}
