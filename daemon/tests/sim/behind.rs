//! What happens to a simulated drive behind the box's back: files that other hands write and remove, and a medium that rots.
use std::sync::Arc;

use shoebox::model::place::Place;

use crate::volume::SimVolume;

impl SimVolume {
    /// Some other hand (scp, a card reader) writes a file, making the directories above it. Not durable.
    pub(crate) fn put_by_other_hand(&self, place: &Place, bytes: &[u8]) {
        let mut drive = self.lock();
        let mut above: Vec<Place> = std::iter::successors(place.parent(), Place::parent).collect();
        above.pop();
        for dir in above.iter().rev() {
            drive.medium.make_dir(dir).expect("no file where a directory is needed");
        }
        let ino = if let Ok(ino) = drive.medium.walk(place) {
            ino
        } else {
            let slot = drive.medium.free_slot(place).expect("the directory was made above");
            let ino = drive.medium.new_file();
            drive.medium.set(slot, ino);
            drive.medium.release(ino);
            ino
        };
        let now = drive.medium.now;
        let file = drive.medium.file_mut(ino).expect("a file, not a directory");
        assert!(file.sealed.is_none(), "{place} is sealed: the kernel lets no hand write to it");
        file.live = Arc::new(bytes.to_vec());
        file.kept = 0;
        file.mtime = now;
    }

    /// Some other hand removes a file. Not durable.
    pub(crate) fn remove_by_other_hand(&self, place: &Place) {
        let mut drive = self.lock();
        let slot = drive.medium.slot(place).expect("a directory");
        drive.medium.unset(slot);
    }

    /// What a directory says of one name is written back.
    pub(crate) fn settle_name(&self, place: &Place) {
        let mut drive = self.lock();
        let (dir, name) = drive.medium.slot(place).expect("a directory");
        drive.medium.commit(dir, Some(&name));
    }

    /// Flips one bit on the medium, `at` bytes from the start (modulo the length). The page cache keeps the good byte.
    pub(crate) fn rot(&self, place: &Place, at: usize) {
        let mut drive = self.lock();
        let ino = drive.medium.walk(place).expect("a file to rot");
        let file = drive.medium.file_mut(ino).expect("a file to rot");
        let bytes = Arc::make_mut(&mut file.durable);
        let at = at % bytes.len();
        bytes[at] ^= 0x10;
    }

    /// Memory is short: what it holds of a file goes, and what the medium has is read from now on.
    pub(crate) fn forget_pages(&self, place: &Place) {
        let mut drive = self.lock();
        let ino = drive.medium.walk(place).expect("a file to forget");
        let file = drive.medium.file_mut(ino).expect("a file to forget");
        file.live = Arc::clone(&file.durable);
        file.forgotten = true;
    }

    /// The medium under a file gives an error from now on; the page cache still serves it.
    pub(crate) fn break_sector(&self, place: &Place) {
        let mut drive = self.lock();
        let ino = drive.medium.walk(place).expect("a file to break");
        drive.medium.file_mut(ino).expect("a file to break").unreadable = true;
    }

    /// What lies on the medium, whatever a seal lets through.
    pub(crate) fn on_platter(&self, place: &Place) -> Vec<u8> {
        let drive = self.lock();
        let ino = drive.medium.walk(place).expect("a file to look at");
        drive.medium.file(ino).expect("a file to look at").durable.to_vec()
    }

    /// Whether the kernel sealed it.
    pub(crate) fn is_sealed(&self, place: &Place) -> bool {
        let drive = self.lock();
        drive.medium.walk(place).and_then(|ino| drive.medium.file(ino).map(|file| file.sealed.is_some()))
            == Ok(true)
    }
}
