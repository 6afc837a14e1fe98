//! A drive that a person wants to take away: unmounted when nobody uses it any more, then switched off.
use serde::Serialize;

use crate::device::Device;
use crate::failure::Failure;
use crate::mounting::{self, Patience};
use crate::name::Name;
use crate::power::{self, Down};
use crate::settings::Settings;
use crate::{attaching, mounted, report};

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
    let _alone = attaching::alone(&settings.reports)?;
    let device = Device::read(name)?;
    let places = &settings.places.points;
    let all = mounted::in_use(&device)?;
    let Some((at, _)) = all.iter().find(|(_, itself)| *itself) else {
        return Err(Failure::new(format!("{name} is not mounted")));
    };
    if !places.contains(at) {
        return Err(Failure::new(format!(
            "{name} is mounted at {}, which is no place of the box's",
            at.display()
        )));
    }
    mounting::release(at, PATIENCE)?;
    // Nothing to free any more when the unit is stopped by the device's leaving.
    let _at = report::take(&settings.reports, name);
    let others = all.iter().any(|(_, itself)| !itself);
    Ok(Ejected { power: if others { Down::Nothing } else { power::down(&device)? } })
}
