//! A file of a simulated drive that grows: opened to be appended to, as long as it has one name.
use shoebox::model::place::Place;

use crate::medium::{Ino, Kind, Problem};
use crate::volume::{Drive, REFUSED};

impl Drive {
    /// Opens what parts are appended to.
    pub(crate) fn grow(&mut self, place: &Place, at: u64, expected: u64) -> Result<Ino, Problem> {
        if !place.may_grow() {
            return Err(REFUSED);
        }
        if self.kind == Kind::Exfat {
            return Err(Problem::Unsupported);
        }
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let ino = match self.medium.walk(place) {
            Ok(there) => there,
            Err(_) if at == 0 => {
                let slot = self.medium.free_slot(place)?;
                let ino = self.medium.new_file();
                self.medium.set(slot, ino);
                self.medium.release(ino);
                ino
            }
            Err(_) => return Err(Problem::Unsupported),
        };
        let used = self.medium.used();
        let file = self.medium.file_mut(ino)?;
        if file.names != 1 || file.live.len() < at {
            return Err(Problem::Unsupported);
        }
        let litter = u64::try_from(file.live.len() - at).unwrap_or(u64::MAX);
        if (used - litter).saturating_add(expected) > self.capacity {
            return Err(Problem::Full);
        }
        file.cut_off(at);
        file.reserved = u64::try_from(at).unwrap_or(u64::MAX).saturating_add(expected);
        Ok(ino)
    }
}
