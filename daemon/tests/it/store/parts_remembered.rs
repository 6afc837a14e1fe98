//! What came of an upload in parts is hashed as it comes: its end reads nothing again, as long as memory holds what was hashed. What memory
//! let go is read from the medium, and what rotted there never becomes a photo.
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use shoebox::model::hash::{Also, DeclaredHash, Hasher};
use shoebox::model::offer::Offer;
use shoebox::work::error::Refusal;
use shoebox::work::ingest::Ack;
use shoebox::work::parts::{Incomplete, Numbering, Parts, Said, UploadId, Whole};

use super::decorated::{Call, Decorated};
use super::furnished::{Furnished, computer, offer};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

const COUNTED: Whole = Whole { total: None, numbering: Numbering::From(1) };
/// No multiple of a page: each part is written on where the one before ended.
const PIECE: usize = 300_007;

/// An upload of three parts, and how often what they grow in was read.
struct Film {
    home: Furnished,
    bytes: Vec<u8>,
    reads: Arc<AtomicU64>,
}

impl Film {
    /// `None`: there is no filesystem here on which parts are appended.
    fn begun(sha1: bool) -> Option<Self> {
        Self::on(Furnished::new(), sha1)
    }

    fn on(home: Furnished, sha1: bool) -> Option<Self> {
        let (home, a, _b) = home.decorated();
        let film = Self { home, bytes: luck::bytes(7, 3 * PIECE), reads: count(&a) };
        film.parts().open(&computer(), &id(), &Said { sha1, ..Said::default() }).unwrap();
        if !film.whole().exists() {
            leave_out("parts-remembered", "no nameless files on the filesystem under TMPDIR");
            return None;
        }
        Some(film)
    }

    fn restarted(self) -> Self {
        let (home, a, _b) = self.home.decorated();
        Self { home, bytes: self.bytes, reads: count(&a) }
    }

    fn parts(&self) -> Parts {
        Parts::new(Arc::clone(&self.home.pool))
    }

    fn whole(&self) -> PathBuf {
        self.home.mount("a").join(".shoebox/uploads").join(id().as_str()).join("whole")
    }

    /// Memory holds nothing of it any more.
    fn let_go(&self) {
        let file = File::open(self.whole()).unwrap();
        file.sync_all().unwrap();
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    }

    fn begin(&self, number: usize) -> Incomplete {
        self.parts().begin(&id(), number as u64, None).unwrap()
    }

    fn send(&self, numbers: std::ops::RangeInclusive<usize>) {
        for number in numbers {
            let mut part = self.begin(number);
            for piece in self.bytes[(number - 1) * PIECE..number * PIECE].chunks(70_000) {
                part.write(piece).unwrap();
            }
            part.finish().unwrap();
        }
    }

    fn assemble(&self, declared: Vec<DeclaredHash>) -> Result<Ack, Refusal> {
        self.parts().assemble(&id(), COUNTED, Offer { declared, ..offer("anna/film.mov", 0) })
    }

    /// Puts it together: it is as it was sent. How often it was read for that.
    fn ends(&self, declared: Vec<DeclaredHash>) -> u64 {
        self.assemble(declared).unwrap();
        let reads = self.reads.load(Ordering::SeqCst);
        assert!(fs::read(self.home.at("a", "anna/film.mov")).unwrap() == self.bytes);
        reads
    }
}

fn id() -> UploadId {
    UploadId::of(&computer(), "test", "a film")
}

fn count(a: &Decorated) -> Arc<AtomicU64> {
    let reads = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reads);
    a.step_in(move |call, place| {
        if call == Call::ReadAt && place.as_str().ends_with("/whole") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    });
    reads
}

fn sha1(bytes: &[u8]) -> DeclaredHash {
    let mut hasher = Hasher::new(Also { sha1: true, sha256: false }, &[]);
    hasher.update(bytes);
    DeclaredHash::Sha1(hasher.digests().sha1.unwrap())
}

#[test]
fn what_came_in_order_is_not_read_again() {
    let Some(film) = Film::begun(false) else { return };
    film.send(1..=3);
    assert_eq!(film.ends(vec![]), 0);
}

/// Nothing is gained by forgetting what was whole before it.
#[test]
fn a_part_that_broke_off_changes_nothing_of_that() {
    let Some(film) = Film::begun(false) else { return };
    film.send(1..=1);
    let mut broken = film.begin(2);
    broken.write(&[9; 100_000]).unwrap();
    drop(broken);
    film.send(2..=3);
    assert_eq!(film.ends(vec![]), 0);
}

#[test]
fn after_a_restart_it_is_read_and_every_record_compared() {
    for before in 1..=3 {
        let Some(film) = Film::begun(false) else { return };
        film.send(1..=before);
        let film = film.restarted();
        film.send(before + 1..=3);
        assert!(film.ends(vec![]) > 0, "{before}");
    }
}

/// The hash that its client knows it by is computed as its parts come, and compared at the end.
#[test]
fn another_hash_is_remembered_as_well() {
    for (asked, right) in [(true, true), (true, false), (false, true), (false, false)] {
        let Some(film) = Film::begun(asked) else { return };
        film.send(1..=3);
        let declared = vec![if right { sha1(&film.bytes) } else { sha1(b"other bytes") }];
        if right {
            assert_eq!(film.ends(declared) == 0, asked);
        } else {
            assert!(matches!(film.assemble(declared), Err(Refusal::WrongHash(_))), "{asked}");
            assert!(!film.home.at("a", "anna/film.mov").exists());
        }
    }
}

/// Another program wrote into it.
#[test]
fn what_others_changed_is_found() {
    for at in [PIECE / 2, 3 * PIECE / 2, 3 * PIECE - 1] {
        let Some(film) = Film::begun(false) else { return };
        film.send(1..=3);
        let mut bytes = fs::read(film.whole()).unwrap();
        bytes[at] ^= 1;
        fs::write(film.whole(), bytes).unwrap();
        assert!(matches!(film.assemble(vec![]), Err(Refusal::Unavailable { .. })), "{at}");
        let there = film.parts().look(&id()).unwrap().unwrap().parts.len();
        assert_eq!(there, at / PIECE, "those before are good");
        film.send(there + 1..=3);
        film.ends(vec![]);
    }
}

/// A part out of its order has the others copied, each compared with its record, also with one that tells of all before.
#[test]
fn what_is_copied_is_compared_too() {
    for rotten in [false, true] {
        let Some(film) = Film::begun(false) else { return };
        film.send(1..=3);
        film.parts().drop_part(&id(), 1).unwrap();
        film.send(1..=1);
        if rotten {
            let mut bytes = fs::read(film.whole()).unwrap();
            bytes[3 * PIECE / 2] ^= 1;
            fs::write(film.whole(), bytes).unwrap();
            assert!(matches!(film.assemble(vec![]), Err(Refusal::Unavailable { .. })));
            film.send(2..=3);
        }
        film.ends(vec![]);
    }
}

/// The drive gives other bytes than it was given, and memory has let the good ones go: before another part comes, or behind the last one.
#[test]
fn what_rotted_on_the_drive_while_it_waited_is_asked_for_again() {
    for before in [1, 3] {
        let spare = tempfile::tempdir().unwrap();
        let image = spare.path().join("image");
        let ext4 = |at: &Path| Mounted::image(&image, 64, &["mkfs.ext4", "-q", "-F"], at);
        let (home, _mounted) = match Furnished::mounted("a", ext4) {
            Ok(made) => made,
            Err(why) => return leave_out("parts-remembered", &why),
        };
        let Some(film) = Film::on(home, false) else { return };
        film.send(1..=before);
        film.let_go();
        let medium = File::options().read(true).write(true).open(&image).unwrap();
        let sector = &film.bytes[4096..4096 + 512];
        let on_medium = fs::read(&image).unwrap();
        let at =
            on_medium.chunks(512).position(|there| there == sector).expect("it was flushed") as u64 * 512;
        medium.write_all_at(&[!sector[0]], at).unwrap();
        film.send(before + 1..=3);
        assert!(matches!(film.assemble(vec![]), Err(Refusal::Unavailable { .. })), "{before}");
        assert!(film.parts().look(&id()).unwrap().unwrap().parts.is_empty());
        film.send(1..=3);
        film.ends(vec![]);
    }
}

/// Memory let it go, and the drive has it as it was: it is read.
#[test]
fn what_memory_let_go_is_read() {
    let spare = tempfile::tempdir().unwrap();
    let ext4 = |at: &Path| Mounted::image(&spare.path().join("image"), 64, &["mkfs.ext4", "-q", "-F"], at);
    let (home, _mounted) = match Furnished::mounted("a", ext4) {
        Ok(made) => made,
        Err(why) => return leave_out("parts-remembered", &why),
    };
    let Some(film) = Film::on(home, false) else { return };
    film.send(1..=3);
    film.let_go();
    assert!(film.ends(vec![]) > 0);
}

/// Of which it is said behind its bytes whose they are: a photo that is sent as one becomes what it was written as. Sent again, or one of
/// several, its bytes are put together as ever.
#[test]
fn an_only_part_is_not_written_again() {
    for numbers in [&[1][..], &[1, 1], &[1, 2, 3], &[2, 1, 3], &[3, 2, 1]] {
        let Some(film) = Film::begun(false) else { return };
        for number in numbers {
            let mut loose = film.parts().begin_loose(PIECE as u64).unwrap();
            loose.write(&film.bytes[(number - 1) * PIECE..number * PIECE]).unwrap();
            film.parts().keep(&computer(), &id(), *number as u64, loose).unwrap();
        }
        let whole = fs::metadata(film.whole()).unwrap();
        let total = numbers.iter().max().unwrap();
        assert_eq!(whole.len(), PIECE as u64);
        let counted = Whole { total: None, numbering: Numbering::Counted(*total as u64) };
        film.parts().assemble(&id(), counted, offer("anna/film.mov", 0)).unwrap();
        let made = film.home.at("a", "anna/film.mov");
        assert!(fs::read(&made).unwrap() == film.bytes[..total * PIECE], "{numbers:?}");
        let is_it = fs::metadata(&made).unwrap().ino() == whole.ino();
        assert_eq!(is_it && film.reads.load(Ordering::SeqCst) == 0, numbers.len() == 1, "{numbers:?}");
        assert!(!film.whole().exists());
    }
}
