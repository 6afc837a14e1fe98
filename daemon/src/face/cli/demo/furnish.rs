//! Puts into the demo's pool what it needs: two adopted drives, a person, a device. Does what is still missing.
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::folder::{Folder, Kept};
use super::{DEVICE, PERSON};
use crate::face::control::Fault;
use crate::model::account::{DeviceKind, Slug};
use crate::model::drive::{DriveRole, Standing};
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::views::DriveView;

/// Drives may take a moment to be looked at after the start.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Brings the pool to where the demo begins, and returns what to print.
pub(super) fn furnish(pool: &Pool, folder: &Folder, listen: SocketAddr) -> anyhow::Result<Kept> {
    adopt_both(pool, folder)?;
    let person: Slug = PERSON.parse()?;
    match with_patience(|| pool.add_person(&person)) {
        Ok(()) | Err(Refusal::Exists) => {}
        Err(e) => return Err(Fault::refused(&e, "catalogue").into()),
    }
    if let Some(kept) = folder.kept() {
        let signed_in = with_patience(|| pool.sign_in(kept.person.as_str(), &kept.password));
        if signed_in.map_err(|e| Fault::refused(&e, "device"))?.is_some() {
            let kept = Kept { listen, ..kept };
            folder.keep(&kept)?;
            return Ok(kept);
        }
    }
    let (device, password) = new_device(pool, &person)?;
    let kept = Kept { person, device, password, listen };
    folder.keep(&kept)?;
    Ok(kept)
}

/// Adopts what was never adopted. Blank beside one of ours is a lost drive, not a new one: that is for a person.
fn adopt_both(pool: &Pool, folder: &Folder) -> anyhow::Result<()> {
    let a = look(pool, &folder.drive_a())?;
    let b = look(pool, &folder.drive_b())?;
    let blank = |drive: &DriveView| drive.standing == Standing::Blank;
    if blank(&a) {
        if !blank(&b) || folder.kept().is_some() {
            bail!(
                "{} holds no drive of ours any more. Put back what was there, or start afresh with another --dir",
                a.mount.display()
            );
        }
        pool.adopt(&a.mount, DriveRole::Primary).context("could not adopt the folder a")?;
    }
    if blank(&b) {
        pool.adopt(&b.mount, DriveRole::Mirror).context("could not adopt the folder b")?;
    }
    Ok(())
}

/// How the drive at `mount` stands, once it was looked at.
fn look(pool: &Pool, mount: &Path) -> anyhow::Result<DriveView> {
    for _ in 0..TRIES {
        let found = pool.drives().into_iter().find(|drive| drive.mount == mount);
        if let Some(drive) = found.filter(|drive| drive.standing != Standing::Absent) {
            return Ok(drive);
        }
        std::thread::sleep(PAUSE);
    }
    bail!("{} is not seen as a drive", mount.display())
}

/// Repeats what is not available yet.
fn with_patience<T>(mut act: impl FnMut() -> Result<T, Refusal>) -> Result<T, Refusal> {
    for _ in 0..TRIES {
        match act() {
            Err(Refusal::Unavailable { .. }) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    act()
}

/// A device under the first name that is free: the password of an old one is known to nobody.
fn new_device(pool: &Pool, person: &Slug) -> anyhow::Result<(Slug, String)> {
    for number in 1..=99 {
        let name = if number == 1 { DEVICE.to_owned() } else { format!("{DEVICE}-{number}") };
        let name: Slug = name.parse()?;
        match pool.add_device(person, &name, DeviceKind::Phone) {
            Ok(token) => return Ok((name, token.reveal().to_owned())),
            Err(Refusal::Exists) => {}
            Err(e) => return Err(Fault::refused(&e, "person").into()),
        }
    }
    bail!("the demo has 99 phones by now; start afresh with another --dir")
}
