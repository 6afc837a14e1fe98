//! Uploads whose parts come in order lie in one file, which becomes the photo: what of that survives, and when it is put together by
//! copying instead.
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shoebox::model::place::Place;
use shoebox::store::volume::VolumeError;
use shoebox::work::error::Refusal;
use shoebox::work::ingest::{Ack, Outcome};
use shoebox::work::parts::{Incomplete, Numbering, Part, Parts, Said, UploadId, Whole};

use super::decorated::Call;
use super::furnished::{Furnished, computer, offer};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

const COUNTED: Whole = Whole { total: None, numbering: Numbering::From(1) };
const PIECE: usize = 300_007;

/// An upload of three parts on a filesystem where they are appended.
struct Film {
    home: Furnished,
    bytes: Vec<u8>,
    _mounted: Option<Mounted>,
}

impl Film {
    /// `None`: there is no such filesystem here.
    fn begun() -> Option<Self> {
        let film = Self { home: Furnished::new(), bytes: luck::bytes(7, 3 * PIECE), _mounted: None };
        film.open();
        if !film.dir().join("whole").exists() {
            leave_out("parts-in-one", "no nameless files on the filesystem under TMPDIR");
            return None;
        }
        Some(film)
    }

    fn parts(&self) -> Parts {
        Parts::new(Arc::clone(&self.home.pool))
    }

    fn id() -> UploadId {
        UploadId::of(&computer(), "test", "a film")
    }

    fn open(&self) {
        self.parts().open(&computer(), &Self::id(), &Said::default()).unwrap();
    }

    fn dir(&self) -> PathBuf {
        self.home.mount("a").join(".shoebox/uploads").join(Self::id().as_str())
    }

    fn whole(&self) -> PathBuf {
        self.dir().join("whole")
    }

    fn piece(&self, number: usize) -> &[u8] {
        &self.bytes[(number - 1) * PIECE..number * PIECE]
    }

    fn begin(&self, number: usize) -> Incomplete {
        self.parts().begin(&Self::id(), number as u64, None).unwrap()
    }

    fn send_bytes(&self, number: usize, bytes: &[u8]) -> Result<Part, Refusal> {
        let mut part = self.parts().begin(&Self::id(), number as u64, Some(bytes.len() as u64))?;
        part.write(bytes)?;
        part.finish()
    }

    fn send(&self, number: usize) {
        self.send_bytes(number, self.piece(number)).unwrap();
    }

    /// Parts that are files of their own.
    fn apart(&self) -> Vec<u64> {
        let names = fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut numbers: Vec<u64> =
            names.filter_map(|name| Part::number_of(name.to_str().unwrap())).collect();
        numbers.sort_unstable();
        numbers
    }

    fn there(&self) -> Vec<u64> {
        let upload = self.parts().look(&Self::id()).unwrap().unwrap();
        upload.parts.iter().map(|part| part.number).collect()
    }

    fn assemble(&self) -> Result<Ack, Refusal> {
        self.parts().assemble(&Self::id(), COUNTED, offer("anna/film.mov", 0))
    }

    fn film(&self) -> PathBuf {
        self.home.at("a", "anna/film.mov")
    }

    /// Puts it together; it is as it was sent, and of its parts nothing is left.
    fn ends(&self) {
        assert_eq!(self.assemble().unwrap().outcome(), Outcome::Created);
        assert!(fs::read(self.film()).unwrap() == self.bytes);
        assert_eq!(fs::metadata(self.film()).unwrap().nlink(), 1);
        assert!(self.apart().is_empty() && !self.whole().exists() && !self.dir().join("closed").exists());
    }

    fn restarted(self) -> Self {
        Self { home: self.home.restarted(), ..self }
    }
}

fn inode(file: &PathBuf) -> u64 {
    fs::metadata(file).unwrap().ino()
}

#[test]
fn what_came_in_order_is_written_once() {
    let Some(film) = Film::begun() else { return };
    film.send(1);
    film.send(2);
    let film = film.restarted();
    film.send(3);
    assert!(film.apart().is_empty());
    let inode_before = inode(&film.whole());
    film.ends();
    assert_eq!(inode(&film.film()), inode_before);
}

#[test]
fn what_came_otherwise_is_copied() {
    for order in [[1, 3, 2], [3, 2, 1], [2, 1, 3], [2, 3, 1]] {
        let Some(film) = Film::begun() else { return };
        order.into_iter().for_each(|number| film.send(number));
        assert!(!film.apart().is_empty());
        film.ends();
    }
}

#[test]
fn a_part_that_is_sent_again_takes_no_room_unless_it_is_another() {
    let Some(film) = Film::begun() else { return };
    film.send(1);
    film.send_bytes(2, b"others").unwrap();
    film.send(1);
    assert!(film.apart().is_empty(), "the same bytes");
    film.send(2);
    assert_eq!((film.apart(), film.there()), (vec![2], vec![1, 2]));
    film.send(3);
    film.ends();
}

#[test]
fn what_was_dropped_is_written_over() {
    let Some(film) = Film::begun() else { return };
    film.send(1);
    film.send_bytes(2, &[7; 2 * PIECE]).unwrap();
    film.parts().drop_part(&Film::id(), 2).unwrap();
    assert!(matches!(film.parts().drop_part(&Film::id(), 2), Err(Refusal::NotFound)));
    film.send(2);
    assert_eq!(fs::metadata(film.whole()).unwrap().len(), 2 * PIECE as u64);
    film.send(3);
    let inode_before = inode(&film.whole());
    film.ends();
    assert_eq!(inode(&film.film()), inode_before);
}

#[test]
fn one_that_was_sent_again_and_dropped_is_gone() {
    let Some(film) = Film::begun() else { return };
    film.send(1);
    film.send_bytes(2, b"others").unwrap();
    film.send(2);
    film.parts().drop_part(&Film::id(), 2).unwrap();
    assert_eq!(film.there(), [1]);
    film.send(2);
    film.send(3);
    film.ends();
}

/// Killed after the bytes and before the record; and after the record and before the answer.
#[test]
fn a_kill_around_the_record_loses_nothing_that_was_acknowledged() {
    let Some(film) = Film::begun() else { return };
    film.send(1);
    let litter = |film: &Film| {
        let mut whole = File::options().append(true).open(film.whole()).unwrap();
        whole.write_all(&[9; PIECE + 11]).unwrap();
    };
    litter(&film);
    let film = film.restarted();
    assert_eq!(film.there(), [1]);
    film.send(2);
    assert_eq!(fs::metadata(film.whole()).unwrap().len(), 2 * PIECE as u64);
    let film = film.restarted();
    film.send(2);
    assert!(film.apart().is_empty());
    film.send(3);
    // And what came of a fourth.
    litter(&film);
    let film = film.restarted();
    film.ends();
}

#[test]
fn a_part_that_breaks_off_leaves_nothing() {
    let Some(film) = Film::begun() else { return };
    film.send(1);
    for announced in [None, Some(30 << 20)] {
        let mut cut = film.parts().begin(&Film::id(), 2, announced).unwrap();
        cut.write(&[9; 20 << 20]).unwrap();
        drop(cut);
        let left = fs::metadata(film.whole()).unwrap();
        assert_eq!(left.len(), PIECE as u64);
        assert!(left.blocks() * 512 < 2 * PIECE as u64, "{} blocks are set aside", left.blocks());
    }
    film.send(2);
    film.send(3);
    assert!(film.apart().is_empty());
    film.ends();
}

#[test]
fn a_record_of_more_than_there_is_says_nothing() {
    let Some(film) = Film::begun() else { return };
    film.send(1);
    film.send(2);
    film.send(3);
    File::options().write(true).open(film.whole()).unwrap().set_len(2 * PIECE as u64 - 1).unwrap();
    assert_eq!(film.there(), [1]);
    assert!(matches!(
        film.parts().assemble(
            &Film::id(),
            Whole { total: Some(film.bytes.len() as u64), ..COUNTED },
            offer("anna/film.mov", 0)
        ),
        Err(Refusal::NotWhole(_))
    ));
    film.send(2);
    film.send(3);
    film.ends();
}

#[test]
fn two_parts_at_once_and_the_same_twice() {
    let Some(film) = Film::begun() else { return };
    let (mut first, mut second) = (film.begin(1), film.begin(2));
    first.write(film.piece(1)).unwrap();
    second.write(film.piece(2)).unwrap();
    second.finish().unwrap();
    first.finish().unwrap();
    assert_eq!(film.apart(), [2]);
    film.send(3);
    film.ends();
    // The same number twice: the one that is a file of its own was answered, the other is not.
    let Some(film) = Film::begun() else { return };
    let (mut appended, mut alone) = (film.begin(1), film.begin(1));
    appended.write(b"others").unwrap();
    alone.write(film.piece(1)).unwrap();
    alone.finish().unwrap();
    assert!(matches!(appended.finish(), Err(Refusal::Unavailable { .. })));
    film.send(2);
    film.send(3);
    film.ends();
}

/// Whoever is still appending when the whole is made does not write into the photo.
#[test]
fn nobody_appends_to_a_photo() {
    let Some(film) = Film::begun() else { return };
    (1..=3).for_each(|number| film.send(number));
    let mut late = film.begin(4);
    late.write(&[9; PIECE]).unwrap();
    film.ends();
    late.write(&[9; PIECE]).unwrap();
    assert!(matches!(late.finish(), Err(Refusal::NotFound)));
    assert!(fs::read(film.film()).unwrap() == film.bytes);
    // Killed when it had its name and was not on record: the client goes on.
    let Some(film) = Film::begun() else { return };
    (1..=2).for_each(|number| film.send(number));
    let photo = film.home.at("a", "anna/other.mov");
    fs::create_dir_all(photo.parent().unwrap()).unwrap();
    fs::hard_link(film.whole(), &photo).unwrap();
    film.send(3);
    assert_eq!((fs::metadata(&photo).unwrap().len(), film.apart()), (2 * PIECE as u64, vec![3]));
    film.parts().drop_part(&Film::id(), 3).unwrap();
    let dated = fs::metadata(&photo).unwrap().modified().unwrap();
    film.assemble().unwrap();
    assert!(fs::read(film.film()).unwrap() == film.bytes[..2 * PIECE]);
    assert_ne!(inode(&film.film()), inode(&photo));
    assert_eq!(fs::metadata(&photo).unwrap().modified().unwrap(), dated);
}

#[test]
fn bytes_that_are_here_are_not_kept_twice() {
    let Some(film) = Film::begun() else { return };
    let bytes = film.bytes.clone();
    film.home.put("anna/same.mov", &bytes);
    (1..=3).for_each(|number| film.send(number));
    film.assemble().unwrap();
    assert_eq!(inode(&film.film()), inode(&film.home.at("a", "anna/same.mov")));
    assert!(!film.whole().exists());
}

/// A flush that fails, for a reason that says nothing against the drive.
fn failed(place: &Place) -> VolumeError {
    let source = std::io::Error::from_raw_os_error(libc::EINTR);
    VolumeError::Io { op: "flush", place: place.clone(), source }
}

/// A flush that failed is not tried again: what comes is kept apart, and all of it put together by copying.
#[test]
fn after_a_flush_that_failed_nothing_is_appended() {
    for number in [2, 3] {
        let Some(film) = Film::begun() else { return };
        let Film { home, bytes, .. } = film;
        let (home, a, _b) = home.decorated();
        let film = Film { home, bytes, _mounted: None };
        let flushes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&flushes);
        a.step_in(move |call, place| {
            let nth = if call == Call::Flush { counted.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
            if nth == number { Err(failed(place)) } else { Ok(()) }
        });
        film.send(1);
        if number == 3 {
            film.send(2);
        }
        let failing = usize::try_from(number).unwrap();
        assert!(film.send_bytes(failing, film.piece(failing)).is_err());
        assert!(film.dir().join("closed").exists() && !film.whole().exists());
        (failing..=3).for_each(|number| film.send(number));
        assert_eq!(film.apart(), (number..=3).collect::<Vec<u64>>());
        film.ends();
        assert_eq!(flushes.load(Ordering::SeqCst), number, "it was flushed again");
    }
}

/// The flush before it gets its name: the parts stay, and are copied the next time.
#[test]
fn a_flush_that_failed_at_the_end_is_not_tried_again() {
    let Some(film) = Film::begun() else { return };
    let Film { home, bytes, .. } = film;
    let (home, a, _b) = home.decorated();
    let film = Film { home, bytes, _mounted: None };
    (1..=3).for_each(|number| film.send(number));
    a.step_in(|call, place| if call == Call::Flush { Err(failed(place)) } else { Ok(()) });
    assert!(film.assemble().is_err());
    assert!(!film.film().exists());
    let film = film.restarted();
    assert_eq!(film.there(), [1, 2, 3]);
    film.ends();
}

/// Begun by a program that knew of no such file.
#[test]
fn an_upload_of_before_goes_on() {
    let Some(film) = Film::begun() else { return };
    fs::remove_file(film.whole()).unwrap();
    (1..=2).for_each(|number| film.send(number));
    assert_eq!(film.apart(), [1, 2]);
    let film = film.restarted();
    film.send(3);
    film.ends();
}

/// In order it needs its room once; otherwise twice, and that is said before it has come.
#[test]
fn room_once_or_twice() {
    let tmpfs = |at: &std::path::Path| Mounted::tmpfs(at, "size=64m");
    let (home, mounted) = match Furnished::mounted("a", tmpfs) {
        Ok(made) => made,
        Err(why) => return leave_out("parts-room", &why),
    };
    let film = Film { home, bytes: luck::bytes(3, 40 << 20), _mounted: Some(mounted) };
    let said = |total| Said { total: Some(total), ..Said::default() };
    let open = |total| film.parts().open(&computer(), &Film::id(), &said(total));
    assert!(matches!(open(70 << 20), Err(Refusal::Full { .. })));
    open(40 << 20).unwrap();
    let pieces: Vec<&[u8]> = film.bytes.chunks(10 << 20).collect();
    film.send_bytes(1, pieces[0]).unwrap();
    assert!(matches!(film.send_bytes(3, pieces[2]), Err(Refusal::Full { .. })));
    for number in 2..=4 {
        film.send_bytes(number, pieces[number - 1]).unwrap();
    }
    film.ends();
}

/// Behind what is left when damaged parts are thrown away there is no gap, and this client states no total.
#[test]
fn what_was_damaged_at_its_end_is_no_whole_until_it_was_sent_again() {
    for bad in [1, 2, 3] {
        let Some(film) = Film::begun() else { return };
        (1..=3).for_each(|number| film.send(number));
        let mut bytes = fs::read(film.whole()).unwrap();
        bytes[(bad - 1) * PIECE + 100] ^= 1;
        fs::write(film.whole(), bytes).unwrap();
        let later =
            |film: &Film| matches!(film.assemble(), Err(Refusal::Unavailable { .. } | Refusal::NotWhole(_)));
        assert!(later(&film), "{bad}: it was damaged");
        assert_eq!(film.there(), (1..bad as u64).collect::<Vec<_>>());
        // The answer was not heard: asked again, at once and after a restart.
        assert!(later(&film), "{bad}: it lacks its end");
        let film = film.restarted();
        assert!(later(&film) && !film.film().exists(), "{bad}: it lacks its end");
        (bad..=3).for_each(|number| film.send(number));
        assert_eq!(film.assemble().unwrap().outcome(), Outcome::Created);
        assert!(fs::read(film.film()).unwrap() == film.bytes);
    }
}
