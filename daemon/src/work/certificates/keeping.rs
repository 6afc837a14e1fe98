//! Keys on drives: reading, and putting them there durably, for nobody else to read.
use crate::model::place::Place;
use crate::plan::certifying::{Held, Keep};
use crate::store::volume::VolumeError;
use crate::work::drive::Attached;

use super::looking::{Authority, Shown};

/// Larger is no key and no certificate.
const MOST: usize = 16 * 1024;

/// What one drive has.
pub(super) struct Found {
    pub(super) held: Held,
    pub(super) authority: Option<Authority>,
    pub(super) shown: Option<Shown>,
}

/// Reads what a drive has. What cannot be read because of its own blocks counts as broken.
pub(super) fn look(drive: &Attached) -> Result<Found, VolumeError> {
    let (held, authority) = match read(drive, &Place::authority())? {
        Content::Nothing => (Held::None, None),
        Content::Unreadable => (Held::Broken, None),
        Content::Bytes(file) => {
            let authority = Authority::read(&file);
            (authority.as_ref().map_or(Held::Broken, |one| Held::Whole(one.fingerprint())), authority)
        }
    };
    let shown = match read(drive, &Place::certificate())? {
        Content::Bytes(file) => Shown::read(&file),
        Content::Nothing | Content::Unreadable => None,
    };
    Ok(Found { held, authority, shown })
}

enum Content {
    Nothing,
    Unreadable,
    Bytes(Vec<u8>),
}

fn read(drive: &Attached, place: &Place) -> Result<Content, VolumeError> {
    let whole = || {
        let mut file = drive.volume.open(place)?;
        let mut bytes = vec![0; MOST];
        let mut held = 0;
        while held < MOST {
            match file.read_at(&mut bytes[held..], held as u64)? {
                0 => break,
                more => held += more,
            }
        }
        bytes.truncate(held);
        Ok(bytes)
    };
    match whole() {
        Ok(bytes) => Ok(Content::Bytes(bytes)),
        Err(VolumeError::NotFound { .. }) => Ok(Content::Nothing),
        Err(error) => drive.file_only(error).map(|_words| Content::Unreadable),
    }
}

/// Puts an authority on a drive. One that is there is set aside first, and kept: nothing is written over. A crash between the two leaves
/// none there, and it is put there at the next look; the name comes after the bytes, and is durable when this returns.
pub(super) fn put_authority(
    drive: &Attached,
    keep: Keep,
    authority: &[u8],
    when: i64,
) -> Result<(), VolumeError> {
    let place = Place::authority();
    let put = || {
        match keep {
            Keep::Nothing => return Ok(()),
            Keep::Write => {}
            Keep::SetAside => drive.volume.rename_new(&place, &place.set_aside(&when.to_string()))?,
        }
        let mut staged = drive.volume.stage(Some(authority.len() as u64))?;
        staged.keep_secret()?;
        staged.write(authority)?;
        staged.sync(None)?.publish(&place)?;
        drive.volume.sync_dir(&Place::own())
    };
    put().map_err(|e| drive.heed(e))
}

/// Puts a certificate on a drive, in the place of the one before.
pub(super) fn put_certificate(drive: &Attached, file: &[u8]) -> Result<(), VolumeError> {
    drive.volume.write_small(&Place::certificate(), file).map_err(|e| drive.heed(e))
}
