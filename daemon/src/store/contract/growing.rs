//! The contract of a file that grows: it is appended to where its caller says, keeps its name, and is not touched once it has another.
use super::{Kind, REFUSED, Verdict, done, fails, holds, make_all, nothing, photo, read_medium, same, store};
use crate::model::account::{Device, DeviceKind};
use crate::model::place::Place;
use crate::model::upload::UploadId;
use crate::store::volume::{Volume, VolumeError};

fn whole() -> Result<Place, String> {
    let slug = |text: &str| text.parse().map_err(|_| format!("{text} is no slug"));
    let phone = Device { person: slug("anna")?, name: slug("phone")?, kind: DeviceKind::Phone };
    Ok(Place::upload_whole(&UploadId::of(&phone, "test", "1")))
}

fn append(volume: &dyn Volume, file: &Place, at: u64, bytes: &[u8]) -> Verdict {
    let mut staged = done("grow", volume.grow(file, at, Some(bytes.len() as u64)))?;
    done("write", staged.write(bytes))?;
    done("sync", staged.sync(None)).map(drop)
}

pub(super) fn keeps_its_name(volume: &dyn Volume) -> Verdict {
    let (file, kept) = (whole()?, photo("whole")?);
    let dir = file.parent().ok_or("a folder")?;
    fails("grow in no folder", volume.grow(&file, 0, None), &[Kind::NotFound, Kind::Unsupported])?;
    make_all(volume, &dir)?;
    store(volume, &kept, b"a photo")?;
    fails("grow a photo", volume.grow(&kept, 0, None), REFUSED)?;
    fails(
        "grow a file that is not there, from a byte on",
        volume.grow(&file, 1, None),
        &[Kind::Unsupported],
    )?;
    match volume.grow(&file, 0, None) {
        Err(VolumeError::Unsupported { .. }) => {
            fails("stat of what cannot grow", volume.stat(&file), &[Kind::NotFound])?;
            return nothing("left in staging", volume);
        }
        other => drop(done("grow", other)?),
    }
    holds(volume, &file, b"")?;
    // More than is written behind at once, and no part of it on a block.
    let piece: Vec<u8> =
        (0..65_521_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0] | 1).collect();
    let bytes = piece.repeat(145);
    let (first, second) = bytes.split_at((9 << 20) - 5);
    append(volume, &file, 0, first)?;
    append(volume, &file, first.len() as u64, b"others, and longer")?;
    append(volume, &file, first.len() as u64, second)?;
    holds(volume, &file, &bytes)?;
    // What was not synced leaves nothing behind, and less than was expected leaves no more than came.
    let mut dropped = done("grow", volume.grow(&file, bytes.len() as u64, Some(1 << 20)))?;
    done("write", dropped.write(b"dropped"))?;
    drop(dropped);
    holds(volume, &file, &bytes)?;
    drop(done("sync", done("grow", volume.grow(&file, bytes.len() as u64, Some(1 << 20)))?.sync(None))?);
    holds(volume, &file, &bytes)?;
    let more = bytes.len() as u64 + 1;
    fails("grow behind its end", volume.grow(&file, more, None), &[Kind::Unsupported])?;
    let total = done("space", volume.space())?.total;
    let too_much = volume.grow(&file, bytes.len() as u64, Some(total.saturating_add(1)));
    fails("grow by more than there is", too_much, &[Kind::Full])?;
    let mut synced = done("sync", done("grow", volume.grow(&file, bytes.len() as u64, None))?.sync(None))?;
    same("the medium", &(read_medium(done("medium", synced.medium())?)? == bytes), &true)?;
    fails("publish to a taken name", synced.publish(&kept), &[Kind::Exists])?;
    let twin = dir.entry("twin").ok_or("a name")?;
    done("publish", synced.publish(&twin))?;
    drop(synced);
    same("the inode", &done("stat", volume.stat(&twin))?.inode, &done("stat", volume.stat(&file))?.inode)?;
    fails("grow what has another name", volume.grow(&file, 0, None), &[Kind::Unsupported])?;
    done("discard", volume.discard(&file))?;
    holds(volume, &twin, &bytes)?;
    holds(volume, &kept, b"a photo")?;
    nothing("left in staging", volume)
}
