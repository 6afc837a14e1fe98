//! Facts of the pool that every drive's own record is to have, so that any one drive brings them back (promise P7): people,
//! their quotas and passwords, devices, drives that were retired, and folders with nothing in them. What a drive lacks is computed, never remembered.
//!
//! A new kind of fact needs an arm in `telling` and `concerned`, and its rows in `Reader::facts`.
use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::params;

use crate::model::account::Slug;
use crate::model::drive::DriveId;
use crate::model::event::{Event, What};
use crate::model::path::RelPath;
use crate::store::catalogue::read::{Reader, path};
use crate::store::catalogue::{CatalogueError, Tried, Tx};

/// The key under which a drive is told of a fact, and what it is told. The same for a fact that is to be told and for the line
/// that told it.
fn telling(what: &What, at: Timestamp) -> Option<(String, String)> {
    let when = |since: &Option<Timestamp>| since.unwrap_or(at).to_string();
    match what {
        What::Person { person, since } => Some((format!("person {person}"), when(since))),
        What::Device { person, device, kind, token, since } => {
            let token = crate::model::hash::hex(token.as_bytes());
            Some((format!("device {person}/{device}"), format!("{} {token} {}", kind.as_str(), when(since))))
        }
        What::Revoked { person, device, since } => Some((format!("revoked {person}/{device}"), when(since))),
        What::Quota { person, bytes } => Some((
            format!("quota {person}"),
            bytes.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string()),
        )),
        What::Password { person, hash } => Some((
            format!("password {person}"),
            hash.as_ref().map_or_else(|| "none".to_owned(), |hash| hash.as_str().to_owned()),
        )),
        What::Retired { drive, since } => Some((format!("retired {drive}"), when(since))),
        What::Folder { path } => Some((folder_key(path), path.as_str().to_owned())),
        What::Stored { .. }
        | What::Trashed { .. }
        | What::Moved { .. }
        | What::Touched { .. }
        | What::Proved { .. }
        | What::Damaged { .. }
        | What::Role { .. }
        | What::Answered { .. }
        | What::Quarantined { .. } => None,
    }
}

/// Whether an event on the primary may change what other drives are to be told.
pub(super) fn concerned(what: &What) -> bool {
    match what {
        What::Person { .. }
        | What::Quota { .. }
        | What::Password { .. }
        | What::Device { .. }
        | What::Revoked { .. }
        | What::Retired { .. }
        | What::Folder { .. }
        // A folder may be empty now, or gone, or have another name.
        | What::Trashed { .. }
        | What::Moved { .. } => true,
        What::Stored { .. }
        | What::Touched { .. }
        | What::Proved { .. }
        | What::Damaged { .. }
        | What::Role { .. }
        | What::Answered { .. }
        | What::Quarantined { .. } => false,
    }
}

fn folder_key(path: &RelPath) -> String {
    format!("folder {}", path.fold_key())
}

/// Carries into the catalogue what a line of a drive's manifest told that drive.
pub(super) fn told(tx: &Tx<'_>, drive: DriveId, event: &Event) -> Result<(), CatalogueError> {
    if let What::Trashed { path, why, .. } = &event.what
        && why == "gone"
    {
        return tx
            .prepare_cached("DELETE FROM told WHERE drive = ?1 AND key = ?2")
            .and_then(|mut s| s.execute(params![drive.to_string(), folder_key(path)]))
            .tried("take a fact back")
            .map(drop);
    }
    let Some((key, value)) = telling(&event.what, event.at) else { return Ok(()) };
    tx.prepare_cached("INSERT OR REPLACE INTO told (drive, key, value) VALUES (?1, ?2, ?3)")
        .and_then(|mut s| s.execute(params![drive.to_string(), key, value]))
        .tried("note a fact as told")
        .map(drop)
}

impl Reader<'_> {
    /// Everything that every drive is to be told, folders aside, in an order in which it can be replayed.
    fn facts(&self) -> Result<Vec<What>, CatalogueError> {
        let person = |(person, since)| What::Person { person, since: Some(since) };
        let mut facts: Vec<What> = self.people_since()?.into_iter().map(person).collect();
        let quota = |(person, bytes)| What::Quota { person, bytes: Some(bytes) };
        facts.extend(self.quotas()?.into_iter().map(quota));
        let password = |(person, hash)| What::Password { person, hash: Some(hash) };
        facts.extend(self.passwords()?.into_iter().map(password));
        for row in self.devices()? {
            let (person, device, kind) = (row.device.person, row.device.name, row.device.kind);
            let revoked = row.revoked.map(|since| What::Revoked {
                person: person.clone(),
                device: device.clone(),
                since: Some(since),
            });
            facts.push(What::Device { person, device, kind, token: row.token, since: Some(row.created) });
            facts.extend(revoked);
        }
        let retired = |(drive, since)| What::Retired { drive, since: Some(since) };
        facts.extend(self.retired()?.into_iter().map(retired));
        Ok(facts)
    }

    /// Facts that a drive's record lacks, folders aside.
    pub fn untold(&self, drive: DriveId) -> Result<Vec<What>, CatalogueError> {
        let told: HashMap<String, String> = self
            .connection
            .prepare_cached("SELECT key, value FROM told WHERE drive = ?1 AND key NOT GLOB 'folder *'")
            .and_then(|mut s| {
                s.query_map([drive.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
            })
            .tried("read what was told")?;
        let lacks = |what: &What| {
            telling(what, Timestamp::UNIX_EPOCH).is_some_and(|(key, value)| told.get(&key) != Some(&value))
        };
        let mut untold = self.facts()?;
        // A quota that was taken back is to be told only to a drive that knows of one.
        for person in told.keys().filter_map(|key| key.strip_prefix("quota ")?.parse::<Slug>().ok()) {
            if self.quota(&person)?.is_none() {
                untold.push(What::Quota { person, bytes: None });
            }
        }
        // And so with a password.
        for person in told
            .iter()
            .filter(|(_, value)| *value != "none")
            .filter_map(|(key, _)| key.strip_prefix("password ")?.parse::<Slug>().ok())
        {
            if self.password(&person)?.is_none() {
                untold.push(What::Password { person, hash: None });
            }
        }
        // A device that is told of anew may sign in again where the line is replayed: its revocation follows once more.
        let again: Vec<String> = untold
            .iter()
            .filter(|what| lacks(what))
            .filter_map(|what| {
                telling(what, Timestamp::UNIX_EPOCH)?.0.strip_prefix("device ").map(str::to_owned)
            })
            .collect();
        let follows = |what: &What| matches!(what, What::Revoked { person, device, .. } if again.contains(&format!("{person}/{device}")));
        untold.retain(|what| lacks(what) || follows(what));
        Ok(untold)
    }

    /// Folders with nothing in them that a drive's record lacks.
    pub fn untold_folders(&self, drive: DriveId, limit: usize) -> Result<Vec<RelPath>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT n.path FROM name n WHERE n.hash IS NULL AND n.shelf = 'photos'
                   AND NOT EXISTS (SELECT 1 FROM name c WHERE c.parent = n.fold AND c.shelf = 'photos')
                   AND NOT EXISTS (SELECT 1 FROM told t WHERE t.drive = ?1 AND t.key = 'folder ' || n.fold
                                   AND t.value = n.path)
                 ORDER BY n.fold LIMIT ?2",
            )
            .and_then(|mut s| {
                s.query_map(params![drive.to_string(), limit as i64], |row| path(row, 0))?.collect()
            })
            .tried("read empty folders")
    }

    /// Folders that a drive was told of, and that are gone, or spelled otherwise by now. Those below before those above.
    pub fn folders_gone(&self, drive: DriveId, limit: usize) -> Result<Vec<RelPath>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT t.value FROM told t WHERE t.drive = ?1 AND t.key >= 'folder ' AND t.key < 'folder!'
                   AND NOT EXISTS (SELECT 1 FROM name n WHERE n.fold = substr(t.key, 8) AND n.hash IS NULL
                                   AND n.path = t.value)
                 ORDER BY t.key DESC LIMIT ?2",
            )
            .and_then(|mut s| {
                s.query_map(params![drive.to_string(), limit as i64], |row| path(row, 0))?.collect()
            })
            .tried("read folders that are gone")
    }
}
