//! Re-reading copies from the medium, and recording what was found: for the scrub, for `shoebox verify`, and whenever a copy
//! is doubted.
use crate::model::copy::{CopyEvent, CopyState};
use crate::model::drive::DriveRole;
use crate::model::event::What;
use crate::model::hash::{Also, ContentHash, Digests};
use crate::model::path::RelPath;
use crate::model::place::Place;
use crate::plan::editing::{self, Look};
use crate::plan::failing::Kind;
use crate::store::catalogue::Catalogue;
use crate::store::catalogue::copies::{self, CopyRow};
use crate::store::volume::VolumeError;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::news::{NewsKind, PhotoNews};
use crate::work::pool::{Pool, Wake};
use crate::work::primary::Primary;
use crate::work::{reading, record};

/// What re-reading a copy showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is what was received.
    Equal(RelPath),
    /// It differs, or cannot be read.
    Damaged(RelPath),
    /// It is not there.
    Missing(RelPath),
    /// It could not be read, and that says nothing about its bytes.
    NotRead(RelPath),
    /// It became something else while it was read, or is on its way to.
    Moved,
}

/// Copies of one drive that were re-read, to be recorded together: they share the flush of the manifest.
#[derive(Default)]
pub(crate) struct Reread {
    /// Bytes read from the medium.
    pub(crate) bytes: u64,
    events: Vec<What>,
}

/// Said after every piece that was read: to beat, to wait, to stop.
pub(crate) type Piece<'p> = &'p mut dyn FnMut() -> Result<(), VolumeError>;

impl Pool {
    /// Reads one copy from its drive's medium and notes what it is. A copy that is not there is recorded at once: on the
    /// primary that is for people to look at; another drive gets it again.
    pub(crate) fn reread(
        &self,
        primary: &Primary,
        drive: &Attached,
        row: &CopyRow,
        batch: &mut Reread,
        piece: Piece<'_>,
    ) -> Result<Found, Refusal> {
        let (path, hash) = (row.at.clone(), row.hash);
        let place = Place::photo(&row.at);
        let inode = || drive.volume.stat(&place).ok().map(|stat| stat.inode);
        let before = inode();
        // Once more unless it is equal: a bus that hiccups is no damage.
        let mut found = read(drive, row, piece);
        if !matches!(&found, Ok(digests) if digests.content == hash)
            && !matches!(&found, Err(VolumeError::NotFound { .. } | VolumeError::Gone { .. }))
        {
            found = read(drive, row, piece);
        }
        let words = match found {
            Ok(digests) => {
                batch.bytes += digests.size;
                if digests.content == hash {
                    // Only what was read: a file that came in its place was not.
                    // Uploads first, here too.
                    if inode() == before && piece().is_ok() {
                        self.seal_copy(drive, &place, digests.size);
                    }
                    batch.events.push(What::Proved { path: path.clone(), hash });
                    return Ok(Found::Equal(path));
                }
                Some(format!("{} bytes with hash {}", digests.size, digests.content))
            }
            Err(VolumeError::NotFound { .. }) => None,
            // This process is short of something, or may not read the file: that says nothing about its bytes.
            Err(e @ VolumeError::Io { .. }) if !e.doubts_the_drive() => {
                log::warn!("not re-read: {e}");
                return Ok(Found::NotRead(path));
            }
            // One bad block is the copy's problem; a drive that is gone is the drive's.
            Err(e) => {
                let words = drive.file_only(e).map_err(Refusal::Drive)?;
                if row.state != CopyState::Damaged {
                    drive.note_error(Kind::Read);
                }
                // Probed now: whoever uploads waits for that.
                self.wake(Wake::Drives);
                Some(words)
            }
        };
        // Renamed, replaced, healed, or written anew by other hands meanwhile: the next look is about what it is now.
        if !still(primary, row)? || inode() != before {
            return Ok(Found::Moved);
        }
        if drive.role() == DriveRole::Primary && written_anew(drive, &primary.catalogue, &row.at, &hash)? {
            self.wake(Wake::Rescan);
            return Ok(Found::Moved);
        }
        let Some(found) = words else {
            self.miss(primary, drive, row)?;
            return Ok(Found::Missing(path));
        };
        if row.state == CopyState::Damaged {
            // On record, and perhaps healed since the row was read.
            return Ok(Found::Damaged(path));
        }
        let what = NewsKind::Damaged { drive_role: drive.role() };
        self.news().tell(&PhotoNews { path: path.clone(), what, at: self.now() });
        batch.events.push(What::Damaged { path: path.clone(), hash, found });
        Ok(Found::Damaged(path))
    }

    /// Records what was found, on the drive it was found on. What is damaged is healed by others, who are woken.
    pub(crate) fn record_reread(
        &self,
        primary: &Primary,
        drive: &Attached,
        batch: Reread,
    ) -> Result<(), Refusal> {
        let damage = batch.events.iter().any(|what| matches!(what, What::Damaged { .. }));
        record::proofs(primary, drive, batch.events, self.now())?;
        if damage {
            self.wake_healing();
        }
        Ok(())
    }

    /// A copy that was found to be bad in passing: read by itself, and recorded for what it is.
    pub(crate) fn doubt_copy(
        &self,
        primary: &Primary,
        drive: &Attached,
        row: &CopyRow,
        piece: Piece<'_>,
    ) -> Result<(), Refusal> {
        let mut batch = Reread::default();
        self.reread(primary, drive, row, &mut batch, piece)?;
        self.record_reread(primary, drive, batch)
    }

    fn miss(&self, primary: &Primary, drive: &Attached, row: &CopyRow) -> Result<(), Refusal> {
        let (now, id) = (self.now(), drive.id());
        primary.catalogue.write(|tx| {
            copies::observe(tx, row.name, id, CopyEvent::NotThere, now)?;
            if drive.role() == DriveRole::Primary {
                return Ok(());
            }
            copies::observe(tx, row.name, id, CopyEvent::Requeued, now)
        })?;
        self.wake_healing();
        Ok(())
    }
}

/// Whether other hands wrote a file of the primary anew, by its size and time: then it is for the rescan to say what it is, and
/// nobody heals what is no damage.
pub(crate) fn written_anew(
    drive: &Attached,
    catalogue: &Catalogue,
    at: &RelPath,
    hash: &ContentHash,
) -> Result<bool, Refusal> {
    let stat = match drive.volume.stat(&Place::photo(at)) {
        Ok(stat) => stat,
        Err(VolumeError::NotFound { .. }) => return Ok(false),
        // What tells its size is a bad block: nobody wrote that.
        Err(e) => return drive.file_only(e).map(|_| false).map_err(Refusal::Drive),
    };
    let names = catalogue.read(|r| r.names_of_content(hash))?;
    let times: Vec<_> = names.iter().map(|name| name.mtime).collect();
    let Some(size) = names.first().map(|name| name.size) else { return Ok(false) };
    Ok(editing::look(size, &times, stat.size, stat.mtime) == Look::Written)
}

fn read(drive: &Attached, row: &CopyRow, piece: Piece<'_>) -> Result<Digests, VolumeError> {
    reading::hash_medium(&*drive.volume, &Place::photo(&row.at), Also::default(), &mut || {
        drop(drive.turns.background());
        piece()
    })
}

/// Whether a copy is still what it was when it was read: no rename, replacement or deletion came in between, or is on its way.
fn still(primary: &Primary, row: &CopyRow) -> Result<bool, Refusal> {
    primary.quiesce();
    let now = primary.catalogue.read(|r| Ok((r.name_by_id(row.name)?, r.copies_of_name(row.name)?)));
    let (name, copies) = now?;
    let copy = copies.iter().find(|c| c.drive == row.drive);
    Ok(name.is_some_and(|n| n.path == row.at) && copy.is_some_and(|c| c.at == row.at && c.hash == row.hash))
}
