//! The contract of a sealed file: it is read, renamed, dated, linked, replaced and thrown away like any other. That nobody writes into it is
//! not for a volume to show: it has no call that would.
use jiff::Timestamp;

use super::{Kind, NOT_A_FILE, Verdict, done, fails, holds, photo, read_medium, same, stage, store};
use crate::model::place::Place;
use crate::store::volume::{Volume, VolumeError};

pub(super) fn only_reads(volume: &dyn Volume) -> Verdict {
    let (a, b, folder) = (photo("a")?, photo("b")?, photo("folder")?);
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    store(volume, &a, &bytes)?;
    done("make_dir", volume.make_dir(&folder))?;
    fails("seal nothing", volume.seal(&photo("none")?), &[Kind::NotFound, Kind::Unsupported])?;
    fails("seal a folder", volume.seal(&folder), NOT_A_FILE)?;
    match volume.seal(&a) {
        // And then nothing is different.
        Err(VolumeError::Unsupported { .. }) => {}
        other => {
            same("a seal that is new", &done("seal", other)?, &true)?;
            same("a seal that is not", &done("seal again", volume.seal(&a))?, &false)?;
        }
    }
    let unchanged = |place: &Place| {
        same("the size", &done("stat", volume.stat(place))?.size, &70_000)?;
        same("the medium", &read_medium(done("open_medium", volume.open_medium(place))?)?, &bytes)?;
        holds(volume, place, &bytes)?;
        // Memory holds it now, and is passed by all the same.
        same("the medium again", &read_medium(done("open_medium", volume.open_medium(place))?)?, &bytes)
    };
    unchanged(&a)?;
    done("sync_file", volume.sync_file(&a))?;
    done("set time", volume.set_mtime(&a, Timestamp::from_second(1_700_000_000).unwrap_or_default()))?;
    same("the time", &done("stat", volume.stat(&a))?.mtime.as_second(), &1_700_000_000)?;
    done("rename", volume.rename_new(&a, &b))?;
    unchanged(&b)?;
    match volume.link(&b, &a) {
        Ok(()) | Err(VolumeError::Unsupported { .. }) => {}
        Err(e) => return Err(e.to_string()),
    }
    done("publish over", stage(volume, b"new")?.publish_over(&b))?;
    holds(volume, &b, b"new")
}
