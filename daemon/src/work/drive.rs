//! `Attached`: a drive of the pool that is there now, what is doubted of it, and whose turn it is on it.
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::drive::{DriveId, DriveRole, Marker};
use crate::model::place::Place;
use crate::os::clock;
use crate::plan::facts::StepFacts;
use crate::plan::failing::Kind;
use crate::store::around;
use crate::store::manifest::Manifest;
use crate::store::volume::{Volume, VolumeError};

/// What only reads: an error in it says nothing about what was written.
const READING: [&str; 7] =
    ["read", "read from the medium", "open", "list", "look at", "drop from memory", "measure memory of"];

/// More than these parts of a drive's own folders are not told.
const UNREADABLE: usize = 8;

/// A drive that was recognised and opened.
pub struct Attached {
    /// Its marker as read.
    pub marker: Marker,
    /// The volume on it.
    pub volume: Arc<dyn Volume>,
    /// Where it was found.
    pub mount: PathBuf,
    /// Whose turn it is.
    pub turns: Turns,
    doubt: Mutex<Doubt>,
    /// A probe passed, or the drive is gone.
    judged: Condvar,
    /// How bringing it up to date goes. Forgotten when it is gone: another `Attached` comes in its place.
    steps: Mutex<StepFacts>,
    /// The writing end of its manifest, for every drive but the primary (whose committer holds it). `None` before the
    /// first use and after a failure.
    manifest: Mutex<Option<Manifest>>,
    /// Beside `manifest`, whose lock is held while the drive is waited for: this is read by those who wait for no drive.
    enrolled: AtomicBool,
    /// It fails again and again: clients get nothing more acknowledged on it.
    closed: AtomicBool,
    /// Whether its filesystem seals files, once it was asked.
    seals: Mutex<Option<bool>>,
    /// Names of copies that it failed at: others come first.
    failed_at: Mutex<BTreeSet<i64>>,
    /// Parts of its own folders that could not be read when it was opened.
    unreadable: Mutex<BTreeSet<String>>,
}

/// What is known against a drive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubt {
    /// A write, a flush, or a read of its record failed; until a probe passes nothing is written to it.
    pub suspect: Option<String>,
    /// A block of a file could not be read; until a probe passes, which reads beside it, too, nothing is acknowledged on it.
    pub unread: Option<Unread>,
    /// It is gone: to be detached and looked for again.
    pub gone: Option<String>,
    /// It takes no writes.
    pub read_only: bool,
    /// The worst that failed since a probe last said that it is there: an incident, if it turns out to be.
    pub incident: Option<Kind>,
    /// Probes that passed.
    pub passed: u64,
}

/// A block that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// What was answered.
    pub why: String,
    /// Of which file.
    pub place: Place,
    /// How often nothing beside it could be read either.
    pub alone: u32,
}

/// So long a client's change waits for the probe after a read that failed, which is made at once, before it is told to come back.
const PROBE_PATIENCE: Duration = Duration::from_secs(8);

impl Attached {
    /// A drive just recognised, free of doubt.
    pub fn new(marker: Marker, volume: Arc<dyn Volume>, mount: PathBuf) -> Self {
        Self {
            marker,
            volume,
            mount,
            turns: Turns::default(),
            doubt: Mutex::default(),
            judged: Condvar::default(),
            steps: Mutex::default(),
            manifest: Mutex::default(),
            enrolled: AtomicBool::default(),
            closed: AtomicBool::default(),
            seals: Mutex::default(),
            failed_at: Mutex::default(),
            unreadable: Mutex::default(),
        }
    }

    /// Its id.
    pub fn id(&self) -> DriveId {
        self.marker.drive
    }

    /// Its role.
    pub fn role(&self) -> DriveRole {
        self.marker.role
    }

    /// The writing end of its manifest.
    pub(super) fn manifest(&self) -> MutexGuard<'_, Option<Manifest>> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sequence number of its manifest's last event, as far as it is open.
    pub(super) fn events_so_far(&self) -> u64 {
        self.manifest().as_ref().map_or(0, |m| m.position().seq)
    }

    /// Whether its manifest is open, and all of it known to the catalogue. Never of the primary's. Waits for nothing.
    pub(super) fn is_enrolled(&self) -> bool {
        self.enrolled.load(Ordering::Acquire)
    }

    /// Whether it is, to be said by whoever has just made it so, or is about to.
    pub(super) fn set_enrolled(&self, enrolled: bool) {
        self.enrolled.store(enrolled, Ordering::Release);
    }

    /// Whether its filesystem seals files, as far as that is known.
    pub(super) fn seals(&self) -> Option<bool> {
        *self.seals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it does. `true`: that is news. Another `Attached` comes in its place when it was away, and is asked anew.
    pub(super) fn note_seals(&self, seals: bool) -> bool {
        let mut known = self.seals.lock().unwrap_or_else(PoisonError::into_inner);
        known.replace(seals) != Some(seals)
    }

    /// How the last steps on it went.
    pub(super) fn steps(&self) -> StepFacts {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How one more went: an error, or well. `true`: that is news.
    pub(super) fn note_step(&self, refusal: Option<String>) -> bool {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let before = steps.failures;
        *steps = refusal
            .map_or_else(StepFacts::default, |last| StepFacts { failures: before.saturating_add(1), last });
        steps.failures != before
    }

    fn lock(&self) -> MutexGuard<'_, Doubt> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The copies that it failed at.
    pub(super) fn failed_at(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.failed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known against it.
    pub fn doubt(&self) -> Doubt {
        self.lock().clone()
    }

    /// Draws the consequence of an error on this drive, and passes it on. A name that is taken or a drive that is
    /// full says nothing against the drive; an I/O error makes it suspect, because the kernel may by now show as
    /// written what never reached the medium (invariant I5).
    pub fn heed(&self, error: VolumeError) -> VolumeError {
        let mut doubt = self.lock();
        match &error {
            VolumeError::Io { op, .. } if error.doubts_the_drive() => {
                doubt.suspect = Some(error.to_string());
                let kind = if READING.contains(op) { Kind::Read } else { Kind::Write };
                doubt.incident = doubt.incident.max(Some(kind));
            }
            VolumeError::Gone { .. } => {
                doubt.gone = Some(error.to_string());
                self.judged.notify_all();
            }
            VolumeError::ReadOnly { .. } => doubt.read_only = true,
            VolumeError::Io { .. }
            | VolumeError::Full { .. }
            | VolumeError::Exists { .. }
            | VolumeError::NotFound { .. }
            | VolumeError::NotEmpty { .. }
            | VolumeError::Unsupported { .. } => {}
        }
        drop(doubt);
        error
    }

    /// Something failed on it that makes it no suspect: an incident all the same, if the drive is found there.
    pub(super) fn note_error(&self, kind: Kind) {
        let mut doubt = self.lock();
        doubt.incident = doubt.incident.max(Some(kind));
    }

    /// What failed since this was last asked. Whoever asks has found out that the drive is there: one that is pulled fails as well,
    /// and that is no incident.
    pub(super) fn take_incident(&self) -> Option<Kind> {
        self.lock().incident.take()
    }

    /// Whether clients may get anything acknowledged on it.
    pub(super) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Release);
    }

    /// Whether clients' changes may be acknowledged on it; otherwise why not. The box's own go by [`Attached::takes_writes`]: what is
    /// on a failing drive has still to be brought to safety. Blocking: a probe that is due is waited for, so that one bad
    /// block refuses nobody anything.
    pub fn takes_changes(&self) -> Result<(), String> {
        let doubt = self.lock();
        let passed = doubt.passed;
        // One that passed meanwhile is enough, whatever cannot be read since.
        let in_doubt =
            |doubt: &mut Doubt| doubt.unread.is_some() && doubt.passed == passed && doubt.gone.is_none();
        let judged = self.judged.wait_timeout_while(doubt, PROBE_PATIENCE, in_doubt);
        let (doubt, _) = judged.unwrap_or_else(PoisonError::into_inner);
        if let Some(unread) = doubt.unread.as_ref().filter(|_| doubt.passed == passed) {
            return Err(unread.why.clone());
        }
        drop(doubt);
        self.takes_writes()?;
        if self.closed.load(Ordering::Acquire) {
            return Err("the main drive is failing and takes nothing new".to_owned());
        }
        Ok(())
    }

    /// Something was left half done: the drive is to be closed and opened through recovery.
    pub(super) fn reopen(&self, why: &str) {
        let mut doubt = self.lock();
        if doubt.gone.is_none() {
            log::warn!("drive {} is opened anew: {why}", self.id().short());
            doubt.gone = Some(why.to_owned());
        }
    }

    /// Draws the consequence of an error in reading one file of this drive: while the drive still proves itself, a block that
    /// cannot be read is that file's problem, told in words, and the drive is suspect until a probe passes. Everything else is passed on
    /// like by [`Attached::heed`].
    pub fn file_only(&self, error: VolumeError) -> Result<String, VolumeError> {
        let words = error.to_string();
        match &error {
            VolumeError::Io { place, .. } => {
                self.volume.prove().map_err(|e| self.heed(e))?;
                if error.doubts_the_drive() {
                    self.suspect_reading(&words, place);
                }
                Ok(words)
            }
            VolumeError::Full { .. }
            | VolumeError::Gone { .. }
            | VolumeError::ReadOnly { .. }
            | VolumeError::Exists { .. }
            | VolumeError::NotFound { .. }
            | VolumeError::NotEmpty { .. }
            | VolumeError::Unsupported { .. } => Err(self.heed(error)),
        }
    }

    /// A block of a file could not be read: until a probe passes, nothing is acknowledged.
    pub(super) fn suspect_reading(&self, why: &str, place: &Place) {
        let mut doubt = self.lock();
        doubt.unread.get_or_insert_with(|| Unread { why: why.to_owned(), place: place.clone(), alone: 0 });
    }

    /// Draws the consequence of an error that a step of opening this drive met at `place`. While the drive gives other things, a block
    /// that cannot be read is passed over and told: what it held is nobody's only photo, and the drive is more. Everything else
    /// is passed on like by [`Attached::heed`].
    pub(super) fn pass_over(&self, place: &Place, error: VolumeError) -> Result<(), VolumeError> {
        if !around::is_bad_block(&*self.volume, &error) {
            return Err(self.heed(error));
        }
        log::error!("{error}: passed over");
        self.note_error(Kind::Read);
        let mut known = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < UNREADABLE {
            known.insert(place.own_part());
        }
        Ok(())
    }

    /// What could not be read when it was opened.
    pub(super) fn unreadable(&self) -> Vec<String> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A probe wrote, flushed and read back: what was suspected no longer holds. Gone stays gone.
    pub fn cleared(&self) {
        let mut doubt = self.lock();
        doubt.suspect = None;
        doubt.unread = None;
        doubt.read_only = false;
        doubt.passed += 1;
        self.judged.notify_all();
    }

    /// The same, but nothing was read beside what could not be read. More often than a few times that is not waited for: what a drive
    /// writes and reads back is safe on it, and of what it cannot read there may be no more than this.
    pub(super) fn cleared_but_for_reading(&self) {
        const ALONE: u32 = 3;
        let mut doubt = self.lock();
        doubt.suspect = None;
        doubt.read_only = false;
        doubt.unread = doubt.unread.take().map(|unread| Unread { alone: unread.alone + 1, ..unread });
        if doubt.unread.as_ref().is_some_and(|unread| unread.alone >= ALONE) {
            doubt.unread = None;
            doubt.passed += 1;
            self.judged.notify_all();
        }
    }

    /// Whether writes may be acknowledged on it; otherwise why not.
    pub fn takes_writes(&self) -> Result<(), String> {
        let doubt = self.lock();
        if let Some(why) = doubt.gone.as_ref().or(doubt.suspect.as_ref()) {
            return Err(why.clone());
        }
        if doubt.read_only { Err("the drive is read-only".to_owned()) } else { Ok(()) }
    }
}

/// How long background work lets uploads go first before each of its pieces.
const YIELD: Duration = Duration::from_millis(20);

/// Uploads first: background work waits a moment before each piece while uploads are under way, and is alone among
/// background work.
#[derive(Default)]
pub struct Turns {
    uploads: Mutex<Uploads>,
    /// When the last upload, or a piece of one, began or ended.
    stirred: Mutex<Option<Instant>>,
    idle: Condvar,
    lane: Mutex<()>,
}

/// How many there are, and how many wait for their end: nobody is woken, at the price of a system call, where nobody waits.
#[derive(Default)]
struct Uploads {
    under_way: usize,
    waiting: usize,
}

/// An upload under way.
pub struct UploadTurn<'t> {
    turns: &'t Turns,
}

impl Drop for UploadTurn<'_> {
    fn drop(&mut self) {
        self.turns.stir();
        let mut uploads = self.turns.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.under_way = uploads.under_way.saturating_sub(1);
        if uploads.under_way == 0 && uploads.waiting > 0 {
            self.turns.idle.notify_all();
        }
    }
}

impl Turns {
    /// Announces an upload; never waits.
    pub fn upload(&self) -> UploadTurn<'_> {
        self.stir();
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).under_way += 1;
        UploadTurn { turns: self }
    }

    fn stir(&self) {
        *self.stirred.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::monotonic());
    }

    /// Whether there was no upload for as long as `calm`.
    pub fn is_calm(&self, calm: Duration) -> bool {
        let stirred = *self.stirred.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = self.uploads.lock().unwrap_or_else(PoisonError::into_inner).under_way > 0;
        !under_way && stirred.is_none_or(|at| clock::monotonic().saturating_duration_since(at) >= calm)
    }

    /// For work that has weeks: returns when there was no upload for as long as `calm`, or when `patience` is at its end.
    pub fn wait_for_calm(&self, calm: Duration, patience: Duration) {
        const PAUSE: Duration = Duration::from_millis(50);
        let began = clock::monotonic();
        loop {
            if self.is_calm(calm) || clock::monotonic().saturating_duration_since(began) >= patience {
                return;
            }
            std::thread::sleep(PAUSE.min(patience));
        }
    }

    /// The lane for one piece of background work (at most a few MiB). Yields to uploads for a bounded time, so that a
    /// busy evening slows the mirror down and never stops it.
    pub fn background(&self) -> MutexGuard<'_, ()> {
        self.background_after(YIELD)
    }

    fn background_after(&self, patience: Duration) -> MutexGuard<'_, ()> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.under_way > 0 {
            uploads.waiting += 1;
            let waited = self.idle.wait_timeout_while(uploads, patience, |uploads| uploads.under_way > 0);
            let (mut uploads, _) = waited.unwrap_or_else(PoisonError::into_inner);
            uploads.waiting -= 1;
        } else {
            drop(uploads);
        }
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// What comes late on a loaded machine still comes; what does not come in a minute is a hang.
    const GIVE_UP: Duration = Duration::from_secs(60);
    /// What must not happen gets this long to happen all the same.
    const A_WHILE: Duration = Duration::from_millis(200);

    #[test]
    fn background_work_goes_on_under_a_stream_of_uploads_but_waits_before_each_piece() {
        let turns = Arc::new(Turns::default());
        let uploads = [turns.upload(), turns.upload()];
        let (done, pieces) = channel();
        let background = Arc::clone(&turns);
        let working = std::thread::spawn(move || {
            for _ in 0..3 {
                let began = Instant::now();
                drop(background.background());
                done.send(began.elapsed()).unwrap();
            }
        });
        for piece in 0..3 {
            let waited = pieces.recv_timeout(GIVE_UP).expect("uploads stop background work for ever");
            assert!(waited >= YIELD, "piece {piece} waited {waited:?}");
        }
        working.join().unwrap();
        drop(uploads);
    }

    #[test]
    fn background_work_goes_on_at_once_when_the_last_upload_ends() {
        let turns = Arc::new(Turns::default());
        let (one, two) = (turns.upload(), turns.upload());
        let (say, hear) = channel();
        let background = Arc::clone(&turns);
        let working = std::thread::spawn(move || {
            say.send(()).unwrap();
            drop(background.background_after(GIVE_UP * 10));
            say.send(()).unwrap();
        });
        hear.recv_timeout(GIVE_UP).unwrap();
        assert!(hear.recv_timeout(A_WHILE).is_err(), "went on with two uploads under way");
        drop(one);
        assert!(hear.recv_timeout(A_WHILE).is_err(), "went on with one upload under way");
        drop(two);
        hear.recv_timeout(GIVE_UP).expect("nobody told it that the uploads are over");
        working.join().unwrap();
    }

    #[test]
    fn what_has_weeks_waits_for_calm_but_not_for_ever() {
        let turns = Turns::default();
        let waits = |calm, patience| {
            let began = Instant::now();
            turns.wait_for_calm(calm, patience);
            began.elapsed()
        };
        // Nothing ever happened.
        assert!(waits(GIVE_UP, GIVE_UP) < GIVE_UP / 2);
        let upload = turns.upload();
        assert!(waits(Duration::ZERO, A_WHILE) >= A_WHILE, "beside an upload");
        drop(upload);
        assert!(waits(A_WHILE, GIVE_UP) >= A_WHILE / 2, "right after one");
        assert!(waits(A_WHILE, GIVE_UP) < GIVE_UP / 2, "long after it");
    }

    #[test]
    fn background_work_has_one_lane() {
        let turns = Arc::new(Turns::default());
        let lane = turns.background();
        let (say, hear) = channel();
        let background = Arc::clone(&turns);
        let working = std::thread::spawn(move || {
            say.send(()).unwrap();
            drop(background.background());
            say.send(()).unwrap();
        });
        hear.recv_timeout(GIVE_UP).unwrap();
        assert!(hear.recv_timeout(A_WHILE).is_err(), "two pieces of background work at once");
        // An upload never waits for the lane.
        drop(turns.upload());
        drop(lane);
        hear.recv_timeout(GIVE_UP).expect("the lane was given back and nobody got it");
        working.join().unwrap();
    }
}
