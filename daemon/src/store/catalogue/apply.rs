//! `apply`: what an event of a drive's manifest changes in the catalogue. Used for every change as it happens and for
//! replaying manifests, so that both lead to the same rows (invariant I9).
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::model::drive::{DriveId, DriveRole};
use crate::model::event::{Event, What};
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::store::catalogue::names::{self, below};
use crate::store::catalogue::{
    CatalogueError, Tried, Tx, accounts, changes, checksums, copies, facts, nanos,
};
use crate::store::manifest::Position;

/// A file above this size waits behind all smaller ones in the mirror's queue.
pub const BIG: u64 = 64 << 20;

/// The drive whose manifest an event stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct On {
    /// The drive.
    pub drive: DriveId,
    /// Its role: events of the primary change names, events of others only their copies.
    pub role: DriveRole,
    /// The role it had when it wrote the line.
    pub wrote_as: DriveRole,
}

impl On {
    /// A drive that writes the line now.
    pub const fn now(drive: DriveId, role: DriveRole) -> Self {
        Self { drive, role, wrote_as: role }
    }
}

/// Carries an event into the catalogue. Applying one twice changes nothing.
pub fn apply(tx: &Tx<'_>, on: On, event: &Event) -> Result<(), CatalogueError> {
    use DriveRole::{Mirror, Offline, Primary};
    match (on.role, on.wrote_as) {
        (Primary, Primary) => apply_primary(tx, on.drive, event),
        (Primary, Mirror | Offline) => take_over(tx, on.drive, event),
        (Mirror | Offline, Mirror | Offline) => {
            facts::told(tx, on.drive, event)?;
            copies::apply_other(tx, on.drive, event)
        }
        // What a drive wrote while it was the primary says which bytes came, and not that they were read back from it: its
        // copies are found by being read.
        (Mirror | Offline, Primary) => Ok(()),
    }
}

/// A line that a promoted drive wrote while it was a copy: what is on it under a name is what that name has.
fn take_over(tx: &Tx<'_>, drive: DriveId, event: &Event) -> Result<(), CatalogueError> {
    // On the primary the new bytes follow at once; on a copy they may have got another name by then.
    if let What::Trashed { path, to, by, why } = &event.what
        && why == "replaced"
    {
        trash(tx, drive, path, to, by, "deleted", event.at)?;
        return changes::no_question(tx, drive);
    }
    apply_primary(tx, drive, event)?;
    if matches!(event.what, What::Trashed { .. }) {
        return changes::no_question(tx, drive);
    }
    // It got its name when it had been read back.
    let What::Stored { path, hash, .. } = &event.what else { return Ok(()) };
    let what = What::Proved { path: path.clone(), hash: *hash };
    copies::apply_other(tx, drive, &Event { seq: event.seq, at: event.at, what })
}

/// Records how far a drive's manifest is contained in the catalogue.
pub fn reached(tx: &Tx<'_>, drive: DriveId, to: Position) -> Result<(), CatalogueError> {
    tx.prepare_cached("UPDATE drive SET seq = ?2, sum = ?3 WHERE id = ?1")
        .and_then(|mut s| s.execute(params![drive.to_string(), to.seq as i64, to.sum.text()]))
        .tried("record the manifest's end")
        .map(drop)
}

fn apply_primary(tx: &Tx<'_>, drive: DriveId, event: &Event) -> Result<(), CatalogueError> {
    change(tx, drive, event)?;
    rise(tx, drive, event)
}

/// Marks every folder above what an event changes, up to the top: sync programs look below a folder only when it says that something
/// is new there. The mark is made of the event, so that replaying leads to the same one.
fn rise(tx: &Tx<'_>, drive: DriveId, event: &Event) -> Result<(), CatalogueError> {
    let (one, other) = match &event.what {
        What::Stored { path, .. }
        | What::Folder { path }
        | What::Trashed { path, .. }
        | What::Touched { path, .. } => (path, None),
        What::Moved { path, to, .. } => (path, Some(to)),
        What::Person { .. }
        | What::Device { .. }
        | What::Quota { .. }
        | What::Password { .. }
        | What::Revoked { .. }
        | What::Retired { .. }
        | What::Role { .. }
        | What::Answered { .. }
        | What::Proved { .. }
        | What::Damaged { .. }
        | What::Quarantined { .. } => return Ok(()),
    };
    let mark = blake3::hash(format!("{drive} {}", event.seq).as_bytes());
    let mark = mark.as_bytes().first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
    let mut update = tx
        .prepare_cached("UPDATE name SET changed = ?2 WHERE fold = ?1 AND hash IS NULL")
        .tried("mark a folder")?;
    for folder in one.ancestors().chain(other.into_iter().flat_map(RelPath::ancestors)) {
        update.execute(params![folder.fold_key(), mark]).tried("mark a folder")?;
    }
    Ok(())
}

fn change(tx: &Tx<'_>, drive: DriveId, event: &Event) -> Result<(), CatalogueError> {
    match &event.what {
        What::Person { person, since } => accounts::add_person(tx, person, since.unwrap_or(event.at)),
        What::Device { person, device, kind, token, since } => {
            accounts::add_device(tx, person, device, *kind, token, since.unwrap_or(event.at))
        }
        What::Quota { person, bytes } => accounts::set_quota(tx, person, *bytes, event.at),
        What::Password { person, hash } => accounts::set_password(tx, person, hash.as_ref(), event.at),
        What::Revoked { person, device, since } => {
            accounts::revoke(tx, person, device, since.unwrap_or(event.at))
        }
        What::Retired { drive: other, since } if *other != drive => {
            accounts::retire(tx, *other, since.unwrap_or(event.at))
        }
        What::Retired { .. } | What::Role { .. } => Ok(()),
        What::Folder { path } => folder(tx, path, event.at),
        What::Stored { path, hash, size, mtime, ctime, by, received, was, sha1, sha256 } => {
            let (hash, mtime, ctime, received) = (*hash, *mtime, *ctime, *received);
            let stored = Stored { path, hash, size: *size, mtime, ctime, by, received };
            copies::asset(tx, &hash, *size, received, sha1.as_deref(), sha256.as_deref())?;
            store(tx, drive, &stored, event.at)?;
            was.as_ref()
                .map_or(Ok(()), |was| names::leave_scratch(tx, &was.fold_key(), &hash, &path.fold_key()))
        }
        // A removal that was planned and dropped: the name stays.
        What::Trashed { why, .. } if why == "kept" => Ok(()),
        What::Trashed { path, why, .. } if why == "gone" => forget_folder(tx, path),
        What::Trashed { path, to, by, why } => trash(tx, drive, path, to, by, why, event.at),
        What::Moved { path, to, by: _ } => rename(tx, drive, path, to, event.at),
        What::Answered { .. } => changes::answered(tx),
        What::Touched { path, mtime } => {
            tx.prepare_cached("UPDATE name SET mtime = ?2 WHERE fold = ?1")
                .and_then(|mut s| s.execute(params![path.fold_key(), nanos(*mtime)]))
                .tried("set a time")?;
            copies::follow_time(tx, drive, &path.fold_key())
        }
        What::Proved { .. } | What::Damaged { .. } | What::Quarantined { .. } => {
            copies::apply_other(tx, drive, event)
        }
    }
}

/// A folder and those above it, as far as they are new.
fn folder(tx: &Tx<'_>, path: &RelPath, at: Timestamp) -> Result<(), CatalogueError> {
    for dir in path.ancestors().chain([path.clone()]) {
        tx.prepare_cached(
            "INSERT OR IGNORE INTO name (fold, parent, path, shelf, hash, mtime, received, by)
             VALUES (?1, ?2, ?3, 'photos', NULL, ?4, ?4, '')",
        )
        .and_then(|mut s| {
            let parent = dir.parent().map(|p| p.fold_key()).unwrap_or_default();
            s.execute(params![dir.fold_key(), parent, dir.as_str(), nanos(at)])
        })
        .tried("store a folder")?;
    }
    Ok(())
}

struct Stored<'e> {
    path: &'e RelPath,
    hash: ContentHash,
    size: u64,
    mtime: Timestamp,
    ctime: Option<Timestamp>,
    by: &'e str,
    received: Timestamp,
}

fn store(tx: &Tx<'_>, drive: DriveId, new: &Stored<'_>, at: Timestamp) -> Result<(), CatalogueError> {
    if let Some(parent) = new.path.parent() {
        folder(tx, &parent, at)?;
    }
    let fold = new.path.fold_key();
    checksums::stale(tx, drive, new.received)?;
    let old: Option<(i64, Option<[u8; 32]>)> = tx
        .prepare_cached("SELECT id, hash FROM name WHERE fold = ?1")
        .and_then(|mut s| s.query_row([&fold], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .tried("look a name up")?;
    if old.is_some() {
        checksums::stale_tree(tx, drive, &fold)?;
    }
    if let Some((id, hash)) = old
        && hash != Some(*new.hash.as_bytes())
    {
        copies::leave(tx, drive, id, new.by, "replaced", at)?;
    }
    tx.prepare_cached(
        "INSERT INTO name (fold, parent, path, shelf, hash, size, mtime, received, by, ctime)
         VALUES (?1, ?2, ?3, 'photos', ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (fold) DO UPDATE SET
           shelf = 'photos', hash = ?4, size = ?5, mtime = ?6, received = ?7, by = ?8, ctime = ?9",
    )
    .and_then(|mut s| {
        s.execute(params![
            fold,
            new.path.parent().map(|p| p.fold_key()).unwrap_or_default(),
            new.path.as_str(),
            new.hash.as_bytes(),
            new.size as i64,
            nanos(new.mtime),
            nanos(new.received),
            new.by,
            new.ctime.map(nanos)
        ])
    })
    .tried("store a name")?;
    let id: i64 = tx
        .prepare_cached("SELECT id FROM name WHERE fold = ?1")
        .and_then(|mut s| s.query_row([&fold], |row| row.get(0)))
        .tried("look a name up")?;
    copies::settled_on_primary(tx, drive, id, &new.hash, new.path, at)?;
    copies::want_elsewhere(tx, drive, id, &new.hash, new.path, new.size > BIG, at)
}

/// A name, and all below it, is gone from the primary; other drives keep their copies until their time comes.
fn trash(
    tx: &Tx<'_>,
    drive: DriveId,
    path: &RelPath,
    to: &str,
    by: &str,
    why: &str,
    at: Timestamp,
) -> Result<(), CatalogueError> {
    let fold = path.fold_key();
    let (from, until) = below(&fold);
    checksums::stale_tree(tx, drive, &fold)?;
    copies::leave_tree(tx, drive, &fold, by, why, at)?;
    changes::lost(tx, drive, path, to, by, why, at, (&fold, &from, &until))?;
    if why == "replaced" {
        return Ok(()); // the name lives on with other bytes: the Stored event that follows says which
    }
    tx.execute("DELETE FROM name WHERE fold = ?1 OR (fold >= ?2 AND fold < ?3)", params![fold, from, until])
        .tried("forget a name")
        .map(drop)
}

/// An empty folder that is not there any more. By now a file may have its name.
fn forget_folder(tx: &Tx<'_>, path: &RelPath) -> Result<(), CatalogueError> {
    tx.execute(
        "DELETE FROM name WHERE fold = ?1 AND hash IS NULL AND NOT EXISTS (SELECT 1 FROM name c WHERE c.parent = ?1)",
        [path.fold_key()],
    )
    .tried("forget a folder")
    .map(drop)
}

fn rename(
    tx: &Tx<'_>,
    drive: DriveId,
    from: &RelPath,
    to: &RelPath,
    at: Timestamp,
) -> Result<(), CatalogueError> {
    let fold = from.fold_key();
    if fold != to.fold_key() && to.is_within(from) {
        return Ok(()); // no folder can be moved into itself: not an event of ours
    }
    let (low, high) = below(&fold);
    // Scratch is no event: a catalogue from before may still have a placeholder under the new name.
    tx.prepare_cached("DELETE FROM name WHERE fold = ?1 AND fold <> ?2 AND shelf = 'scratch'")
        .and_then(|mut s| s.execute(params![to.fold_key(), fold]))
        .tried("make room for a name")?;
    checksums::stale_tree(tx, drive, &fold)?;
    if let Some(parent) = to.parent() {
        folder(tx, &parent, at)?;
    }
    copies::requeue_moved(tx, drive, &fold)?;
    let rows: Vec<(i64, String)> = tx
        .prepare("SELECT id, path FROM name WHERE fold = ?1 OR (fold >= ?2 AND fold < ?3)")
        .and_then(|mut s| s.query_map(params![fold, low, high], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .tried("list a tree")?;
    let depth = from.components().count();
    for (id, old) in rows {
        // By component: a row may spell the folders above it in another case, of another length in bytes.
        let below = old.split('/').skip(depth).map(|name| format!("/{name}")).collect::<String>();
        let Ok(path) = RelPath::parse(&format!("{to}{below}")) else { continue };
        // OR REPLACE: events are facts. Whatever the catalogue believed to be there is not there any more.
        tx.prepare_cached("UPDATE OR REPLACE name SET fold = ?2, parent = ?3, path = ?4 WHERE id = ?1")
            .and_then(|mut s| {
                let parent = path.parent().map(|p| p.fold_key()).unwrap_or_default();
                s.execute(params![id, path.fold_key(), parent, path.as_str()])
            })
            .tried("rename")?;
        // The primary's copy carries its new name at once, and so does one that was never made. Others lie where they lay
        // until the mirror renames them there.
        tx.prepare_cached(
            "UPDATE copy SET at = ?2 WHERE name = ?1 AND (drive = ?3 OR (state = 'wanted' AND settled IS NULL))",
        )
        .and_then(|mut s| s.execute(params![id, path.as_str(), drive.to_string()]))
        .tried("move a copy")?;
    }
    Ok(())
}
