//! A drive that a person wants to take away: unmounted when nobody uses it any more, then switched off.
use std::path::PathBuf;

use serde::Serialize;

use crate::device::Device;
use crate::exporting::Manner;
use crate::failure::Failure;
use crate::mounting::{self, Patience};
use crate::name::Name;
use crate::placing::Decision;
use crate::power::{self, Down};
use crate::settings::Settings;
use crate::{attaching, exporting, mounted, report};

/// The daemon lets go of a drive before it asks; what is waited for is who came through NFS, or a hand at the console.
const PATIENCE: Patience = Patience { tries: 20 };

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ejected {
    /// What was switched off; nothing while other parts of its disk are mounted.
    pub power: Down,
}

/// Unmounts it in order and switches it off.
///
/// # Errors
/// Somebody uses it; it is not mounted at one of the box's places.
pub fn eject(name: &Name, settings: &Settings) -> Result<Ejected, Failure> {
    let shown = mounted::there(&settings.places.photos())?;
    let done = let_go(name, settings);
    if done.is_err() && shown.is_some() {
        // It stays, and its photos are exported as before. Why it stays is what is told.
        let _settled = exporting::settle(settings);
    }
    done
}

fn let_go(name: &Name, settings: &Settings) -> Result<Ejected, Failure> {
    let _device = attaching::alone_with(&settings.reports, name)?;
    let _alone = attaching::alone(&settings.reports)?;
    let device = Device::read(name)?;
    unmount(&device, settings)?;
    Ok(Ejected { power: if power::is_used(&device) { Down::Nothing } else { power::down(&device)? } })
}

/// Unmounts it in order, checks it, and mounts it where its marker says: what is read from it then was in nobody's memory. Tells where.
///
/// # Errors
/// As for ejecting and attaching.
pub fn mount_again(name: &Name, settings: &Settings) -> Result<PathBuf, Failure> {
    {
        let _device = attaching::alone_with(&settings.reports, name)?;
        let _alone = attaching::alone(&settings.reports)?;
        unmount(&Device::read(name)?, settings)?;
    }
    match attaching::attach(name, settings)?.decision {
        Some(Decision::Mount { at } | Decision::AsFstabSays { at } | Decision::Mounted { at }) => Ok(at),
        Some(Decision::Leave { why, .. }) => Err(Failure::new(why)),
        Some(Decision::Look) | None => Err(Failure::new("nothing was decided about it")),
    }
}

/// Only from a place of the box's. Whoever calls holds both locks.
fn unmount(device: &Device, settings: &Settings) -> Result<(), Failure> {
    let name = &device.name;
    let all = mounted::in_use(device)?;
    let photos = settings.places.photos();
    let mut own = all.iter().filter(|(at, itself)| *itself && *at != photos).map(|(at, _)| at);
    let at = own.next().ok_or_else(|| Failure::new(format!("{name} is not mounted")))?;
    let elsewhere = [at].into_iter().chain(own).find(|at| !settings.places.points.contains(at));
    if let Some(at) = elsewhere {
        return Err(Failure::new(format!(
            "{name} is mounted at {}, which is no place of the box's",
            at.display()
        )));
    }
    exporting::withdraw_of(name, settings, Manner::Gently)?;
    mounting::release(at, PATIENCE)?;
    // Nothing to free any more when the unit is stopped by the device's leaving.
    let _at = report::take(&settings.reports, name);
    Ok(())
}
