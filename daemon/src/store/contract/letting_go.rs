//! The contract of a drive that was let go: nothing on it can be begun, or gone on with.
use super::{Kind, Verdict, done, fails, photo, stage, store};
use crate::model::place::Place;
use crate::store::volume::Volume;

pub(super) fn answers_no_more(volume: &dyn Volume) -> Verdict {
    let (a, b, folder) = (photo("a")?, photo("b")?, photo("folder")?);
    store(volume, &a, &[7; 1_100_000])?;
    let mut reader = done("open", volume.open(&a))?;
    let mut medium = done("open from the medium", volume.open_medium(&a))?;
    let mut staged = done("stage", volume.stage(Some(10)))?;
    let mut synced = stage(volume, b"synced")?;
    done("write", staged.write(b"12345"))?;
    done("read", reader.read_at(&mut [0; 100], 0))?;
    done("read from the medium", medium.next().map(drop))?;
    volume.let_go();
    let gone: &[Kind] = &[Kind::Gone];
    fails("write", staged.write(b"67890"), gone)?;
    fails("sync", staged.sync(None), gone)?;
    fails("publish", synced.publish(&b), gone)?;
    fails("publish over", synced.publish_over(&a), gone)?;
    fails("read back", synced.medium(), gone)?;
    fails("read", reader.read_at(&mut [0; 100], 100), gone)?;
    fails("read from the medium", medium.next().map(drop), gone)?;
    fails("prove", volume.prove(), gone)?;
    fails("stage", volume.stage(None), gone)?;
    fails("make_dir", volume.make_dir(&folder), gone)?;
    fails("sync_dir", volume.sync_dir(&Place::photos()), gone)?;
    fails("rename", volume.rename_new(&a, &b), gone)?;
    fails("link", volume.link(&a, &b), gone)?;
    fails("stat", volume.stat(&a), gone)?;
    fails("list", volume.list(&Place::photos()), gone)?;
    fails("open", volume.open(&a), gone)?;
    fails("open from the medium", volume.open_medium(&a), gone)?;
    fails("sync_file", volume.sync_file(&a), gone)?;
    fails("write_small", volume.write_small(&Place::probe(), b"x"), gone)?;
    fails("append", volume.append(&Place::manifests().entry("2026-11.jsonl").ok_or("a name")?, b"x"), gone)?;
    fails("space", volume.space(), gone)?;
    // Once more is no mistake.
    volume.let_go();
    Ok(())
}
