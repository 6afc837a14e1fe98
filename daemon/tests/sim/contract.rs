//! The simulation keeps the contract of every volume, and a volume with a flaw does not.
use std::path::PathBuf;

use jiff::Timestamp;
use shoebox::model::drive::Space;
use shoebox::model::place::Place;
use shoebox::store::contract::contract;
use shoebox::store::volume::{Entry, MediumRead, ReadAt, Staged, Stat, Synced, Volume, VolumeError};

use crate::faults::Site;
use crate::medium::Kind;
use crate::volume::SimVolume;

#[test]
fn both_kinds_keep_the_contract() {
    for kind in [Kind::Ext4, Kind::Exfat] {
        let volume = || Box::new(SimVolume::blank(kind, 16 << 20)) as Box<_>;
        contract(&volume).unwrap_or_else(|why| panic!("{kind:?}:\n{why}"));
    }
}

#[test]
fn data_that_is_not_on_the_medium_breaks_the_contract() {
    let volume = || {
        let volume = SimVolume::blank(Kind::Ext4, 16 << 20);
        volume.swallow(Site::Data);
        Box::new(volume) as Box<_>
    };
    let found = contract(&volume).unwrap_err();
    assert!(found.contains("what was written is on the medium: 1 bytes"), "{found}");
}

#[test]
fn every_flaw_breaks_the_contract() {
    let flaws = [
        (Flaw::RenameReplaces, "rename never replaces"),
        (Flaw::PublishReplaces, "publish never replaces"),
        (Flaw::PublishOverRefuses, "publish over replaces"),
        (Flaw::StagingStays, "a staged file leaves nothing behind"),
        (Flaw::AlwaysNew, "make_dir tells new from there"),
        (Flaw::RemovesFull, "remove_dir removes empty folders only"),
        (Flaw::DiscardsAll, "discard refuses what we keep"),
        (Flaw::AppendReplaces, "append adds at the end"),
        (Flaw::WritesPhotos, "write_small replaces, and no photo"),
        (Flaw::EmptyForNothing, "list tells names and kinds"),
        (Flaw::NoRoomCheck, "more than the drive holds"),
        (Flaw::OwnTimes, "times round-trip"),
        (Flaw::LinkCopies, "a link is a second name"),
        (Flaw::ShortReads, "reading ends where the file ends"),
        (Flaw::SealsAnew, "a sealed file is only read, and goes where any goes: a seal that is not"),
        (Flaw::GrowsAtTheEnd, "a file that grows: "),
        (Flaw::GrowsPhotos, "a file that grows: grow what has another name"),
        (Flaw::FlushesNothing, "flushing needs something to flush"),
        (Flaw::Clings, "a drive that was let go answers no more"),
    ];
    for (flaw, sentence) in flaws {
        let volume = || Box::new(Flawed { sound: SimVolume::blank(Kind::Ext4, 16 << 20), flaw }) as Box<_>;
        let found = contract(&volume).err().unwrap_or_default();
        assert!(found.contains(sentence), "{flaw:?}: {found}");
    }
}

/// One way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    RenameReplaces,
    PublishReplaces,
    PublishOverRefuses,
    StagingStays,
    AlwaysNew,
    RemovesFull,
    DiscardsAll,
    AppendReplaces,
    WritesPhotos,
    EmptyForNothing,
    NoRoomCheck,
    OwnTimes,
    LinkCopies,
    ShortReads,
    SealsAnew,
    GrowsAtTheEnd,
    GrowsPhotos,
    FlushesNothing,
    Clings,
}

struct Flawed {
    sound: SimVolume,
    flaw: Flaw,
}

impl Flawed {
    fn has(&self, flaw: Flaw, place: &Place) -> bool {
        self.flaw == flaw && self.sound.stat(place).is_ok()
    }

    fn bytes(&self, place: &Place) -> Vec<u8> {
        self.sound.files().get(place.as_str()).map(|bytes| bytes.to_vec()).unwrap_or_default()
    }
}

impl Volume for Flawed {
    fn prove(&self) -> Result<(), VolumeError> {
        self.sound.prove()
    }
    fn let_go(&self) {
        if self.flaw != Flaw::Clings {
            self.sound.let_go();
        }
    }
    fn stage(&self, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        if self.flaw == Flaw::StagingStays {
            self.sound.put_by_other_hand(&Place::staged("left"), b"");
        }
        let staged = self.sound.stage(expected.filter(|_| self.flaw != Flaw::NoRoomCheck))?;
        Ok(Box::new(FlawedStaged { sound: staged, volume: self.sound.clone(), flaw: self.flaw }))
    }
    fn grow(&self, file: &Place, at: u64, expected: Option<u64>) -> Result<Box<dyn Staged>, VolumeError> {
        let at = match (self.flaw, self.sound.stat(file)) {
            (Flaw::GrowsAtTheEnd, Ok(stat)) => at.max(stat.size),
            _ => at,
        };
        let twin = file.parent().and_then(|dir| dir.entry("twin"));
        if let (Flaw::GrowsPhotos, Some(twin)) =
            (self.flaw, twin.filter(|twin| self.sound.stat(twin).is_ok()))
        {
            self.sound.remove_by_other_hand(&twin);
        }
        self.sound.grow(file, at, expected)
    }
    fn drain(&self) -> Result<(), VolumeError> {
        self.sound.drain()
    }
    fn make_dir(&self, dir: &Place) -> Result<bool, VolumeError> {
        self.sound.make_dir(dir).map(|new| new || self.flaw == Flaw::AlwaysNew)
    }
    fn sync_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        if self.flaw == Flaw::FlushesNothing { Ok(()) } else { self.sound.sync_dir(dir) }
    }
    fn order_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        self.sound.order_dir(dir)
    }
    fn rename_new(&self, from: &Place, to: &Place) -> Result<(), VolumeError> {
        if self.has(Flaw::RenameReplaces, to) {
            self.sound.remove_by_other_hand(to);
        }
        self.sound.rename_new(from, to)
    }
    fn link(&self, from: &Place, to: &Place) -> Result<(), VolumeError> {
        if self.has(Flaw::LinkCopies, from) {
            self.sound.put_by_other_hand(to, &self.bytes(from));
            return Ok(());
        }
        self.sound.link(from, to)
    }
    fn remove_dir(&self, dir: &Place) -> Result<(), VolumeError> {
        if self.has(Flaw::RemovesFull, dir) {
            self.sound.remove_by_other_hand(dir);
            return Ok(());
        }
        self.sound.remove_dir(dir)
    }
    fn discard(&self, file: &Place) -> Result<(), VolumeError> {
        if self.has(Flaw::DiscardsAll, file) {
            self.sound.remove_by_other_hand(file);
            return Ok(());
        }
        self.sound.discard(file)
    }
    fn set_mtime(&self, file: &Place, mtime: Timestamp) -> Result<(), VolumeError> {
        if self.flaw == Flaw::OwnTimes { Ok(()) } else { self.sound.set_mtime(file, mtime) }
    }
    fn stat(&self, place: &Place) -> Result<Stat, VolumeError> {
        self.sound.stat(place)
    }
    fn list(&self, dir: &Place) -> Result<Vec<Entry>, VolumeError> {
        let listed = self.sound.list(dir);
        if self.flaw == Flaw::EmptyForNothing { Ok(listed.unwrap_or_default()) } else { listed }
    }
    fn open(&self, file: &Place) -> Result<Box<dyn ReadAt>, VolumeError> {
        let sound = self.sound.open(file)?;
        Ok(if self.flaw == Flaw::ShortReads { Box::new(ShortReader(sound)) } else { sound })
    }
    fn open_medium(&self, file: &Place) -> Result<Box<dyn MediumRead>, VolumeError> {
        self.sound.open_medium(file)
    }
    fn sync_file(&self, file: &Place) -> Result<(), VolumeError> {
        self.sound.sync_file(file)
    }
    fn seal(&self, file: &Place) -> Result<bool, VolumeError> {
        self.sound.seal(file).map(|new| new || self.flaw == Flaw::SealsAnew)
    }
    fn append(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError> {
        if self.has(Flaw::AppendReplaces, file) {
            self.sound.put_by_other_hand(file, bytes);
            return Ok(());
        }
        self.sound.append(file, bytes)
    }
    fn write_small(&self, file: &Place, bytes: &[u8]) -> Result<(), VolumeError> {
        if self.flaw == Flaw::WritesPhotos && file.is_below(&Place::photos()) {
            self.sound.put_by_other_hand(file, bytes);
            return Ok(());
        }
        self.sound.write_small(file, bytes)
    }
    fn space(&self) -> Result<Space, VolumeError> {
        self.sound.space()
    }
    fn os_path(&self, place: &Place) -> Option<PathBuf> {
        self.sound.os_path(place)
    }
}

struct ShortReader(Box<dyn ReadAt>);

impl ReadAt for ShortReader {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
        let len = buf.len().min(3);
        self.0.read_at(&mut buf[..len], offset)
    }
}

struct FlawedStaged {
    sound: Box<dyn Staged>,
    volume: SimVolume,
    flaw: Flaw,
}

impl Staged for FlawedStaged {
    fn has_its_room(&self) -> bool {
        self.sound.has_its_room()
    }
    fn write(&mut self, bytes: &[u8]) -> Result<(), VolumeError> {
        self.sound.write(bytes)
    }
    fn sync(self: Box<Self>, mtime: Option<Timestamp>) -> Result<Box<dyn Synced>, VolumeError> {
        let sound = self.sound.sync(mtime.filter(|_| self.flaw != Flaw::OwnTimes))?;
        Ok(Box::new(FlawedSynced { sound, volume: self.volume, flaw: self.flaw }))
    }
}

struct FlawedSynced {
    sound: Box<dyn Synced>,
    volume: SimVolume,
    flaw: Flaw,
}

impl Synced for FlawedSynced {
    fn medium(&self) -> Result<Box<dyn MediumRead>, VolumeError> {
        self.sound.medium()
    }
    fn publish(&mut self, to: &Place) -> Result<(), VolumeError> {
        if self.flaw == Flaw::PublishReplaces && self.volume.stat(to).is_ok_and(|stat| !stat.is_dir) {
            return self.sound.publish_over(to);
        }
        self.sound.publish(to)
    }
    fn publish_over(&mut self, to: &Place) -> Result<(), VolumeError> {
        if self.flaw == Flaw::PublishOverRefuses {
            self.sound.publish(to)
        } else {
            self.sound.publish_over(to)
        }
    }
}
