//! Copying a batch: carried from the primary and proved, named, recorded. Damaged copies are made anew the same way.
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::copy::{CopyEvent, CopyState};
use crate::model::event::What;
use crate::model::hash::{Also, ContentHash, Digests, unhex};
use crate::model::place::Place;
use crate::plan::mirroring;
use crate::store::catalogue::copies;
use crate::store::catalogue::queue::WantedRow;
use crate::store::volume::{Synced, VolumeError};
use crate::work::carry::{self, Bad, GoOn, Load, Written};
use crate::work::changes;
use crate::work::error::Refusal;
use crate::work::mirror::{End, Piece};
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::pool::{Pool, Wake};
use crate::work::primary::Primary;
use crate::work::reading;

/// So many attempts must find the primary's file bad, each after a longer pause, before it is called damaged.
const SURE: u32 = 3;

/// On the drive without a name, not read back yet.
struct Unproved {
    row: WantedRow,
    known: Known,
    synced: Box<dyn Synced>,
}

fn load(row: &WantedRow) -> Load {
    Load { from: Place::photo(&row.path), hash: row.hash, size: row.size, mtime: row.mtime }
}

fn event(row: &WantedRow, digests: &Digests) -> What {
    changes::stored(&row.path, digests, (row.mtime, None), row.by.clone(), row.received)
}

/// The hashes for others that are on record of a content: a phone announced them, or another drive's copy was made earlier. They
/// cost as much as all the rest of a copy, and are not computed again.
struct Known {
    sha1: Option<[u8; 20]>,
    sha256: Option<[u8; 32]>,
}

impl Known {
    fn of(primary: &Primary, hash: &ContentHash) -> Result<Self, Refusal> {
        let asset = primary.catalogue.read(|r| r.asset(hash))?;
        let (sha1, sha256) = asset.map_or((None, None), |a| (a.sha1, a.sha256));
        Ok(Self { sha1: sha1.and_then(|h| unhex(&h)), sha256: sha256.and_then(|h| unhex(&h)) })
    }

    const fn lacking(&self) -> Also {
        Also { sha1: self.sha1.is_none(), sha256: self.sha256.is_none() }
    }

    /// This drive's own record is to have them as well. Only for what proved to be that content.
    fn with(&self, digests: Digests) -> Box<Digests> {
        Box::new(Digests {
            sha1: digests.sha1.or(self.sha1),
            sha256: digests.sha256.or(self.sha256),
            ..digests
        })
    }
}

/// How one copy went.
enum Made {
    /// On the drive, read back equal, under its name.
    Proved(Box<Digests>),
    /// On the drive, to be read back and named.
    Written(Box<dyn Synced>, Known),
    /// The primary's file is not what it should be: nothing is copied from it (invariant I14).
    BadSource(Bad),
    /// Something on the drive would have to make room, and nothing does until a person has answered.
    Held,
    /// Asked to stop in the middle.
    Stopped,
}

impl End {
    /// Makes the next copies. `held`: only those for which nothing has to make room. `true`: there may be more.
    pub(super) fn copy_batch(
        &mut self,
        pool: &Pool,
        primary: &Primary,
        held: bool,
        go_on: GoOn<'_>,
    ) -> Result<bool, Refusal> {
        let (id, now) = (self.attached.id(), pool.now());
        let rows = self.next(primary, now, held)?;
        let count = mirroring::batch(rows.iter().map(|r| r.size));
        self.directories.start();
        let mut piece = Piece::default();
        let mut made: Vec<WantedRow> = Vec::new();
        let mut written: Vec<Unproved> = Vec::new();
        let mut worked = false;
        for row in rows.into_iter().take(count) {
            let copied = match self.copy(primary, &row, &mut piece, now, held, go_on) {
                // Too large for what is left: it waits, and smaller ones may fit.
                Err(Refusal::Drive(VolumeError::Full { .. })) => {
                    let retry = mirroring::retry_at(row.tries, now);
                    primary.catalogue.write(|tx| copies::failed(tx, row.name, id, retry))?;
                    continue;
                }
                other => self.or_last(&row, other)?,
            };
            match copied {
                Made::Proved(digests) => {
                    piece.events.push(event(&row, &digests));
                    made.push(row);
                }
                Made::Written(synced, known) => written.push(Unproved { row, known, synced }),
                Made::BadSource(found) => source_failed(pool, primary, self, &row, found, go_on)?,
                Made::Held => {
                    let retry = mirroring::retry_at(row.tries, now);
                    primary.catalogue.write(|tx| copies::failed(tx, row.name, id, retry))?;
                }
                Made::Stopped => break,
            }
            worked = true;
        }
        self.prove_written(pool, primary, written, &mut piece, &mut made, go_on)?;
        if !piece.events.is_empty() {
            let now = pool.now();
            self.commit(&primary.catalogue, piece, now)?;
            self.withdraw(primary, &made, now)?;
            pool.note_pace(self.attached.id(), made.iter().map(|row| row.size).sum());
            for row in made {
                self.attached.failed_at().remove(&row.name);
                pool.count_proved(row.size);
                let drive_role = self.attached.role();
                let what = if row.damaged {
                    NewsKind::Healed { drive_role }
                } else {
                    NewsKind::Proved { drive_role }
                };
                pool.news().tell(&PhotoNews { path: row.path, what, at: now });
            }
        }
        Ok(worked)
    }

    /// A copy that the drive fails at comes after all others from then on: it may be the only one, in a folder that cannot be read,
    /// and is not to be in every batch, which fails with it.
    fn or_last<T>(&self, row: &WantedRow, done: Result<T, Refusal>) -> Result<T, Refusal> {
        const MOST: usize = 10_000;
        if let Err(Refusal::Drive(VolumeError::Io { .. })) = &done {
            let mut failed_at = self.attached.failed_at();
            if failed_at.len() < MOST {
                failed_at.insert(row.name);
            }
        }
        done
    }

    /// The next copies to be made; those that the drive failed at when there are no others.
    fn next(&self, primary: &Primary, now: Timestamp, held: bool) -> Result<Vec<WantedRow>, Refusal> {
        let id = self.attached.id();
        let latest = now.saturating_add(mirroring::LONGEST_WAIT).unwrap_or(Timestamp::MAX);
        let failed_at = self.attached.failed_at().clone();
        let limit = mirroring::BATCH_FILES + failed_at.len();
        let rows = primary.catalogue.read(|r| {
            let mut rows = r.curable(id, Some(primary.attached.id()), now, latest, limit)?;
            rows.extend(r.wanted(id, now, latest, held, limit - rows.len())?);
            Ok(rows)
        })?;
        let (last, first): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| failed_at.contains(&row.name));
        let mut next = if first.is_empty() { last } else { first };
        next.truncate(mirroring::BATCH_FILES);
        Ok(next)
    }

    /// Whether something on the drive stands where this copy belongs.
    fn needs_room(&self, row: &WantedRow, to: &Place) -> Result<bool, Refusal> {
        match self.attached.volume.stat(to) {
            Ok(_) => Ok(true),
            Err(VolumeError::NotFound { .. }) => Ok(self.file_above(&row.path)?.is_some()),
            // A file among the folders above, as some filesystems say it.
            Err(e) => match self.file_above(&row.path)? {
                Some(_) => Ok(true),
                None => Err(self.heed(e)),
            },
        }
    }

    /// The second half, after all of the batch is written: one flush of the drive's memory, then each is read back and named.
    fn prove_written(
        &mut self,
        pool: &Pool,
        primary: &Primary,
        written: Vec<Unproved>,
        piece: &mut Piece,
        made: &mut Vec<WantedRow>,
        go_on: GoOn<'_>,
    ) -> Result<(), Refusal> {
        if written.is_empty() {
            return Ok(());
        }
        let now = pool.now();
        carry::drain(&self.attached)?;
        for Unproved { row, known, mut synced } in written {
            let to = Place::photo(&row.path);
            // Hashed once, as it comes back: what equals the record here was right when it was read from the primary, too.
            let back = carry::read_back(&*synced, &self.attached, known.lacking(), go_on);
            let back = self.or_last(&row, back)?;
            if !load(&row).is(&back) {
                match carry::doubt_source(&load(&row), &primary.attached, go_on)? {
                    Some(found) => {
                        source_failed(pool, primary, self, &row, found, go_on)?;
                        continue;
                    }
                    None => return Err(carry::lied(&self.attached, to)),
                }
            }
            let named = self.name(primary, &row, &to, &mut *synced, piece, now);
            self.or_last(&row, named)?;
            piece.events.push(event(&row, &known.with(back)));
            made.push(row);
            // Asked to stop: the rest has no names, and goes.
            if !go_on() {
                break;
            }
        }
        Ok(())
    }

    fn copy(
        &mut self,
        primary: &Primary,
        row: &WantedRow,
        piece: &mut Piece,
        now: Timestamp,
        held: bool,
        go_on: GoOn<'_>,
    ) -> Result<Made, Refusal> {
        let to = Place::photo(&row.path);
        let known = Known::of(primary, &row.hash)?;
        // A damaged copy is never made good by being read once more.
        if !row.damaged
            && let Some(digests) = self.already_there(row, &to, known.lacking(), piece, go_on)?
        {
            return Ok(Made::Proved(known.with(digests)));
        }
        if held && !row.damaged && self.needs_room(row, &to)? {
            return Ok(Made::Held);
        }
        if let Some(name) = self.file_above(&row.path)? {
            self.clear_name(primary, &name, piece, now)?;
        }
        if let Some(digests) = self.link_twin(primary, row, &to, known.lacking(), piece, go_on)? {
            return Ok(Made::Proved(known.with(digests)));
        }
        let load = load(row);
        Ok(match carry::write(&load, &primary.attached, &self.attached, &mut |_| {}, go_on)? {
            Written::All(staged) => Made::Written(carry::sync(&load, staged, &self.attached)?, known),
            Written::BadSource(bad) => Made::BadSource(bad),
            Written::Stopped => Made::Stopped,
        })
    }

    /// Names that became others, or got other content, while their old content was on its way here: what was recorded under
    /// them is no copy of anything, and goes to this drive's trash.
    fn withdraw(&mut self, primary: &Primary, made: &[WantedRow], now: Timestamp) -> Result<(), Refusal> {
        let id = self.attached.id();
        self.directories.start();
        let mut piece = Piece::default();
        for row in made {
            if primary.catalogue.read(|r| r.copy_at(id, &row.path))?.is_none() {
                let from = Place::photo(&row.path);
                self.retire(&row.path, &from, "", "withdrawn", &mut piece, now)?;
                self.prune(&row.path, &mut piece)?;
            }
        }
        self.commit(&primary.catalogue, piece, now)
    }

    fn name(
        &mut self,
        primary: &Primary,
        row: &WantedRow,
        to: &Place,
        synced: &mut dyn Synced,
        piece: &mut Piece,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let dir = to.parent().unwrap_or_else(Place::root);
        let named = self.directories.within(&dir, &mut piece.dirs, || synced.publish(to));
        match named.map_err(|e| self.heed(e))? {
            Ok(()) => {}
            Err(VolumeError::Exists { .. }) => {
                if row.damaged {
                    self.quarantine(&row.path, to, piece, now)?;
                } else {
                    self.clear_name(primary, &row.path, piece, now)?;
                }
                synced.publish(to).map_err(|e| self.heed(e))?;
            }
            Err(e) => return Err(self.heed(e)),
        }
        piece.dirs.insert(dir);
        Ok(())
    }

    /// The drive has a file of this size under this name already: made before a crash, or before the catalogue was
    /// lost. Equal from the medium: it is the copy. It is flushed, because who made it is not known.
    fn already_there(
        &mut self,
        row: &WantedRow,
        to: &Place,
        also: Also,
        piece: &mut Piece,
        go_on: GoOn<'_>,
    ) -> Result<Option<Digests>, Refusal> {
        let volume = Arc::clone(&self.attached.volume);
        match volume.stat(to) {
            Ok(stat) if !stat.is_dir && stat.size == row.size => {}
            Ok(_) | Err(VolumeError::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(self.heed(e)),
        }
        let found = reading::hash_sound(&*volume, to, also, &mut || {
            drop(self.attached.turns.background());
            go_on();
            Ok(())
        });
        let found = match found {
            Ok(Some(found)) if found.content == row.hash => found,
            // Other bytes, or some that cannot be read or never reached the medium: it makes room when the new copy is here.
            Ok(_) => return Ok(None),
            Err(e) => return self.attached.file_only(e).map(|_| None).map_err(Refusal::Drive),
        };
        volume.sync_file(to).map_err(|e| self.heed(e))?;
        let dir = to.parent().unwrap_or_else(Place::root);
        self.directories.ensure(&dir, &mut piece.dirs).map_err(|e| self.heed(e))?;
        piece.dirs.insert(dir);
        Ok(Some(found))
    }

    /// Equal content that this drive holds under another name: proved once more, then linked instead of copied.
    fn link_twin(
        &mut self,
        primary: &Primary,
        row: &WantedRow,
        to: &Place,
        also: Also,
        piece: &mut Piece,
        go_on: GoOn<'_>,
    ) -> Result<Option<Digests>, Refusal> {
        let id = self.attached.id();
        let Some(twin) = primary.catalogue.read(|r| r.verified_twin(id, &row.hash))? else { return Ok(None) };
        let from = Place::photo(&twin.at);
        let volume = Arc::clone(&self.attached.volume);
        let found = reading::hash_medium(&*volume, &from, also, &mut || {
            drop(self.attached.turns.background());
            go_on();
            Ok(())
        });
        // A twin that cannot be read or differs is the scrub's to report; this name gets bytes of its own.
        let Ok(found) = found else { return Ok(None) };
        if found.content != row.hash {
            return Ok(None);
        }
        let dir = to.parent().unwrap_or_else(Place::root);
        let linked = self.directories.within(&dir, &mut piece.dirs, || volume.link(&from, to));
        if linked.map_err(|e| self.heed(e))?.is_err() {
            return Ok(None);
        }
        piece.dirs.insert(dir);
        Ok(Some(found))
    }
}

/// The hash of receipt is never replaced by what is found later (invariant I13): the primary's copy is marked, the name
/// waits, and healing is for a copy that is good.
fn source_failed(
    pool: &Pool,
    primary: &Primary,
    end: &End,
    row: &WantedRow,
    found: Bad,
    go_on: GoOn<'_>,
) -> Result<(), Refusal> {
    // A replacement or a rename may have been between its file and its row. Once it is committed, a row that still says
    // the same is about the file that was read.
    primary.quiesce();
    let (on, id) = (primary.attached.id(), end.attached.id());
    let known = primary.catalogue.read(|r| r.copies_of_name(row.name))?;
    let same = known.iter().find(|c| c.drive == on && c.hash == row.hash && c.at == row.path);
    let Some(known) = same else { return Ok(()) };
    let now = pool.now();
    let retry = mirroring::retry_at(row.tries, now);
    let again = primary.catalogue.write(|tx| copies::failed(tx, row.name, id, retry));
    match found {
        // A bus that hiccups is no damage: only what stays so is.
        Bad::Different(_) if row.tries + 1 < SURE => return Ok(again?),
        // It is on record.
        Bad::Different(_) if known.state == CopyState::Damaged => return Ok(again?),
        Bad::Missing => {
            primary.catalogue.write(|tx| copies::observe(tx, row.name, on, CopyEvent::NotThere, now))?;
        }
        // Nor is a file that this process may not read, or lacks the means to: read once more from the medium, and called what it is.
        Bad::Different(_) => {
            again?;
            return pool.doubt_copy(primary, &primary.attached, known, &mut || {
                go_on();
                Ok(())
            });
        }
    }
    again?;
    pool.wake(Wake::Heal);
    let what = NewsKind::Damaged { drive_role: primary.attached.role() };
    pool.news().tell(&PhotoNews { path: row.path.clone(), what, at: now });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_record_is_not_computed_again() {
        let nothing = Known { sha1: None, sha256: None };
        assert_eq!(nothing.lacking(), Also { sha1: true, sha256: true });
        let announced = Known { sha1: Some([1; 20]), sha256: None };
        assert_eq!(announced.lacking(), Also { sha1: false, sha256: true });
        let computed = Digests { content: ContentHash::of(b""), size: 0, sha1: None, sha256: Some([2; 32]) };
        let both = announced.with(computed);
        assert_eq!((both.sha1, both.sha256), (Some([1; 20]), Some([2; 32])));
    }
}
