//! The manifest on a real directory: what a torn or changed file costs, and what it never does.
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use proptest::prelude::*;
use shoebox::model::account::TokenKey;
use shoebox::model::drive::{DriveRole, Id, Marker};
use shoebox::model::event::{Event, What};
use shoebox::model::place::Place;
use shoebox::store::disk::adopt;
use shoebox::store::manifest::{Manifest, Reading, read};
use shoebox::store::volume::Volume;

use super::decorated::{Call, Decorated, eio};
use super::furnished::path;

struct Drive {
    dir: tempfile::TempDir,
    decorated: Arc<Decorated>,
    volume: Arc<dyn Volume>,
}

impl Drive {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let marker = Marker {
            format: 1,
            pool: Id::from_random([1; 16]),
            drive: Id::from_random([2; 16]),
            role: DriveRole::Primary,
            generation: 1,
            adopted: Timestamp::UNIX_EPOCH,
            filesystem: None,
            volume: None,
            token_key: TokenKey::from_random([3; 32]),
        };
        let volume = adopt(dir.path(), &marker).unwrap();
        let decorated = Arc::new(Decorated::new(Box::new(volume)));
        let volume = Decorated::volume(&decorated);
        Self { dir, decorated, volume }
    }

    fn open(&self) -> Manifest {
        Manifest::open(Arc::clone(&self.volume)).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(".shoebox/manifest").join(name)
    }

    fn read(&self, after: u64) -> (Vec<Event>, Reading) {
        let mut events = Vec::new();
        let reading = read(&*self.volume, after, &mut |event| events.push(event)).unwrap();
        (events, reading)
    }

    fn seqs(&self, after: u64) -> Vec<u64> {
        self.read(after).0.iter().map(|e| e.seq).collect()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn folders(names: impl IntoIterator<Item = u64>) -> Vec<What> {
    names.into_iter().map(|n| What::Folder { path: path(&format!("anna/{n}")) }).collect()
}

const NOVEMBER: &str = "2026-11-21T18:00:00Z";

#[test]
fn a_manifest_goes_on_where_it_ended() {
    let drive = Drive::new();
    let mut manifest = drive.open();
    assert_eq!(manifest.position().seq, 0);
    let events = manifest.append(at(NOVEMBER), &folders(1..=3)).unwrap();
    assert!(manifest.append(at(NOVEMBER), &[]).unwrap().is_empty());
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3]);
    let mut again = drive.open();
    assert_eq!(again.position(), manifest.position());
    again.append(at("2026-12-01T00:00:00Z"), &folders([4])).unwrap();
    let (events, reading) = drive.read(0);
    assert_eq!((events.len(), reading.lines, reading.breaks, reading.bad.len()), (4, 4, 0, 0));
    assert_eq!(drive.seqs(2), [3, 4]);
    assert!(drive.file("2026-11.jsonl").exists() && drive.file("2026-12.jsonl").exists());
}

#[test]
fn a_torn_line_costs_itself_and_nothing_else() {
    let drive = Drive::new();
    drive.open().append(at(NOVEMBER), &folders(1..=2)).unwrap();
    let file = drive.file("2026-11.jsonl");
    let mut text = fs::read(&file).unwrap();
    let whole = text.len();
    text.extend_from_within(..60);
    fs::write(&file, &text).unwrap();
    let mut manifest = drive.open();
    assert_eq!(manifest.position().seq, 2);
    manifest.append(at(NOVEMBER), &folders([3])).unwrap();
    manifest.append(at(NOVEMBER), &folders([4])).unwrap();
    let (events, reading) = drive.read(0);
    assert_eq!((events.len(), reading.breaks), (4, 0));
    assert_eq!(reading.bad, ["2026-11.jsonl:3: line without a checksum"]);
    let text = fs::read(&file).unwrap();
    assert_eq!(text[whole + 60], b'\n', "what is torn stays as it was, on a line of its own");
}

#[test]
fn a_file_whose_flush_failed_is_never_written_again() {
    let drive = Drive::new();
    let mut manifest = drive.open();
    manifest.append(at(NOVEMBER), &folders([1])).unwrap();
    drive.decorated.step_in(|call, place| if call == Call::Append { Err(eio(place)) } else { Ok(()) });
    manifest.append(at(NOVEMBER), &folders(2..=3)).unwrap_err();
    drive.decorated.step_in(|_, _| Ok(()));
    let before = fs::read(drive.file("2026-11.jsonl")).unwrap();
    manifest.append(at(NOVEMBER), &folders([4])).unwrap();
    assert_eq!(fs::read(drive.file("2026-11.jsonl")).unwrap(), before);
    assert!(drive.file("2026-11.1.jsonl").exists());
    // Numbers of the failed lines are not used again: those lines may be on the medium after all.
    assert_eq!(drive.seqs(0), [1, 4]);
    assert_eq!(drive.read(0).1.breaks, 0);
    drive.open().append(at(NOVEMBER), &folders([5])).unwrap();
    assert_eq!(drive.seqs(0), [1, 4, 5]);
    assert_eq!(fs::read(drive.file("2026-11.jsonl")).unwrap(), before);
}

#[test]
fn lines_that_only_memory_has_are_not_believed_at_the_next_opening() {
    let drive = Drive::new();
    let mut manifest = drive.open();
    manifest.append(at(NOVEMBER), &folders([1])).unwrap();
    let on_medium = fs::read(drive.file("2026-11.jsonl")).unwrap();
    manifest.append(at(NOVEMBER), &folders(2..=3)).unwrap();
    // As after a failed flush: the page cache shows all three, the medium has one.
    drive.decorated.medium_has(&Place::manifest("2026-11.jsonl"), &on_medium);
    let mut again = drive.open();
    assert_eq!(again.position().seq, 1);
    let before = fs::read(drive.file("2026-11.jsonl")).unwrap();
    assert_eq!(again.append(at(NOVEMBER), &folders([4])).unwrap()[0].seq, 2);
    assert_eq!(fs::read(drive.file("2026-11.jsonl")).unwrap(), before, "nobody flushes that file again");
}

#[test]
fn order_is_by_number_whatever_the_clock_said() {
    let drive = Drive::new();
    let mut manifest = drive.open();
    for (nth, when) in
        [NOVEMBER, "1970-01-01T00:00:05Z", "2031-05-05T00:00:00Z", NOVEMBER].into_iter().enumerate()
    {
        manifest.append(at(when), &folders([nth as u64 * 2, nth as u64 * 2 + 1])).unwrap();
    }
    assert_eq!(drive.seqs(0), (1..=8).collect::<Vec<_>>());
    let (_, reading) = drive.read(0);
    assert_eq!((reading.breaks, reading.lines), (0, 8));
    assert_eq!(drive.open().position(), manifest.position());
    fs::remove_file(drive.file("1970-01.jsonl")).unwrap();
    assert_eq!((drive.seqs(0).len(), drive.read(0).1.breaks), (6, 1), "a lost file shows");
}

#[test]
fn a_long_manifest_is_read_in_order_across_its_files() {
    let drive = Drive::new();
    let mut manifest = drive.open();
    for nth in 0..40u64 {
        let when = if nth % 3 == 0 { NOVEMBER } else { "2026-12-01T00:00:00Z" };
        manifest.append(at(when), &folders(nth * 250..(nth + 1) * 250)).unwrap();
    }
    let (events, reading) = drive.read(5_000);
    assert_eq!((events.len(), reading.lines, reading.breaks), (5_000, 10_000, 0));
    assert!(events.iter().zip(5_001..).all(|(event, seq)| event.seq == seq));
    assert_eq!(events[4_999].what, What::Folder { path: path("anna/9999") });
}

#[test]
fn a_file_of_rubbish_is_bounded_and_told() {
    let drive = Drive::new();
    drive.open().append(at(NOVEMBER), &folders([1])).unwrap();
    fs::write(drive.file("2026-10.jsonl"), vec![0; 3 << 20]).unwrap();
    fs::write(drive.file("2026-09.jsonl"), b"\xff\xfe\n\n\nnot a line\n").unwrap();
    let (events, reading) = drive.read(0);
    assert_eq!((events.len(), reading.lines, reading.bad.len()), (1, 1, 3));
    let mut manifest = drive.open();
    assert_eq!(manifest.append(at(NOVEMBER), &folders([2])).unwrap()[0].seq, 2);
}

#[test]
fn a_directory_that_cannot_be_flushed_makes_no_line_durable() {
    let drive = Drive::new();
    let mut manifest = drive.open();
    let once = AtomicBool::new(true);
    drive.decorated.step_in(move |call, place| {
        let fails = call == Call::SyncDir && once.swap(false, Ordering::SeqCst);
        if fails { Err(eio(place)) } else { Ok(()) }
    });
    manifest.append(at(NOVEMBER), &folders([1])).unwrap_err();
    manifest.append(at(NOVEMBER), &folders([2])).unwrap();
    assert!(drive.file("2026-11.1.jsonl").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens to a file: no event comes out that did not go in, and all whole lines before the damage do.
    #[test]
    fn damage_never_makes_an_event_and_never_costs_an_earlier_line(cut in any::<bool>(), place in 0.0..1.0f64, flip in 1u8..=255) {
        let drive = Drive::new();
        let written = drive.open().append(at(NOVEMBER), &folders(1..=12)).unwrap();
        let file = drive.file("2026-11.jsonl");
        let mut bytes = fs::read(&file).unwrap();
        let place = ((bytes.len() - 1) as f64 * place) as usize;
        let whole_before = bytes[..place].iter().filter(|b| **b == b'\n').count();
        if cut { bytes.truncate(place) } else { bytes[place] ^= flip }
        fs::write(&file, &bytes).unwrap();
        let (events, _) = drive.read(0);
        prop_assert!(events.iter().all(|event| written.contains(event)));
        prop_assert_eq!(&events[..whole_before], &written[..whole_before]);
        prop_assert!(cut || events.len() >= written.len() - 2, "one byte costs one line, or two that it joins");
        // And it goes on, with numbers nobody has used for something else.
        let mut manifest = drive.open();
        let last = events.last().map_or(0, |e| e.seq);
        prop_assert_eq!(manifest.position().seq, last);
        manifest.append(at(NOVEMBER), &folders([99])).unwrap();
        prop_assert_eq!(drive.seqs(last).len(), 1);
    }
}
