//! A run: what is left to be sent, shared by a few workers; how long a box that is away is waited for; and when all of it ends early.
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::conditions::{May, Only, Surroundings};
use super::display::Display;
use super::scan::{Found, Group};
use super::state::{Became, Row, State};
use super::trouble::Trouble;
use crate::model::hash::ContentHash;
use crate::os::clock;
use crate::plan::retrying::Backoff;

/// Pauses between attempts to reach the box.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60) };
/// So often is asked whether the charger is still there.
const LOOKED: Duration = Duration::from_secs(15);
/// Files that are asked about together, and read before any of them is sent: no more than this.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: u64 = 64 << 20;

/// Why a run ended before all was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The box was not reached for too long.
    Unreachable(String),
    /// No room there.
    Full(String),
    /// The box does not know us.
    SignIn(String),
    /// Not on battery, or not over this network.
    NotNow(String),
    /// This machine fails.
    Here(String),
}

/// What became of the files of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    /// The box had them.
    pub(super) there: u64,
    /// Read once more, and nothing new.
    pub(super) unchanged: u64,
    pub(super) gone: u64,
    /// Not over this network.
    pub(super) held_back: u64,
    /// Not reached before the run ended.
    pub(super) left: u64,
    pub(super) failed: Vec<(PathBuf, String)>,
}

/// What all workers share.
pub(super) struct Run<'a> {
    pub(super) state: &'a State,
    /// The box's name in the state.
    pub(super) id: &'a str,
    pub(super) display: &'a Display,
    /// How long a box that does not answer is waited for.
    patience: Duration,
    /// Whether the box is asked about files, too, that it had.
    pub(super) again: bool,
    only: Only,
    surroundings: &'a Surroundings,
    queue: Mutex<VecDeque<Vec<Group>>>,
    end: Mutex<Option<End>>,
    ended: AtomicBool,
    tally: Mutex<Tally>,
    heard: Mutex<Instant>,
    looked: Mutex<Option<(Instant, May)>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        (state, id): (&'a State, &'a str),
        display: &'a Display,
        (only, surroundings): (Only, &'a Surroundings),
        (patience, again): (Duration, bool),
    ) -> Self {
        Self {
            state,
            id,
            display,
            patience,
            again,
            only,
            surroundings,
            queue: Mutex::default(),
            end: Mutex::default(),
            ended: AtomicBool::new(false),
            tally: Mutex::default(),
            heard: Mutex::new(clock::monotonic()),
            looked: Mutex::default(),
        }
    }

    /// Puts the work out for so many workers.
    pub(super) fn lay_out(&self, groups: Vec<Group>, workers: usize) {
        // A few batches for each: nobody is left with a long one while the others rest.
        let most = (groups.len() / (workers.max(1) * 4)).clamp(1, BATCH_FILES);
        *held(&self.queue) = batches(groups, most);
    }

    /// The next batch. `None`: there is none, or the run ended.
    pub(super) fn next(&self) -> Option<Vec<Group>> {
        if self.has_ended() {
            return None;
        }
        held(&self.queue).pop_front()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends the run; the first reason counts.
    pub(super) fn end(&self, why: End) {
        held(&self.end).get_or_insert(why);
        self.ended.store(true, Ordering::Release);
    }

    /// Why the run ended, and what became of the files; what was not reached is counted.
    pub(super) fn conclude(self) -> (Option<End>, Tally) {
        let mut tally = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let queue = self.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        tally.left += queue.iter().flatten().map(|group| group.0.len() as u64).sum::<u64>();
        (self.end.into_inner().unwrap_or_else(PoisonError::into_inner), tally)
    }

    /// Does something with the box until it is done, refused, or the run ends.
    pub(super) fn patiently<T>(&self, mut act: impl FnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut failures = 0;
        loop {
            if self.has_ended() {
                return Err(Trouble::Ended);
            }
            match act() {
                Ok(done) => {
                    *held(&self.heard) = clock::monotonic();
                    if failures > 0 {
                        self.display.waits(None);
                    }
                    return Ok(done);
                }
                Err(Trouble::Wait { why, after }) => {
                    failures += 1;
                    self.wait(&why, BACKOFF.after(failures, luck()).min(after.unwrap_or(BACKOFF.most)))?;
                }
                Err(Trouble::Full(why)) => {
                    self.end(End::Full(why));
                    return Err(Trouble::Ended);
                }
                Err(Trouble::SignIn(why) | Trouble::Impostor(why)) => {
                    self.end(End::SignIn(why));
                    return Err(Trouble::Ended);
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Waits for the box, or gives it up for this run. A box that says "later" asks for a pause at most, not at least: most
    /// of what it waits for itself is over in seconds.
    fn wait(&self, why: &str, pause: Duration) -> Result<(), Trouble> {
        let silent = clock::monotonic().saturating_duration_since(*held(&self.heard));
        if silent + pause > self.patience {
            self.end(End::Unreachable(why.to_owned()));
            return Err(Trouble::Ended);
        }
        self.display.waits(Some(why));
        self.pause(pause);
        Ok(())
    }

    /// Rests, unless the run ends.
    pub(super) fn pause(&self, pause: Duration) {
        let began = clock::monotonic();
        while !self.has_ended() && clock::monotonic().saturating_duration_since(began) < pause {
            std::thread::sleep(Duration::from_millis(50).min(pause));
        }
    }

    /// What may be sent now.
    pub(super) fn may(&self) -> May {
        let mut looked = held(&self.looked);
        let now = clock::monotonic();
        match &*looked {
            Some((at, may)) if now.saturating_duration_since(*at) < LOOKED => may.clone(),
            Some(_) | None => {
                let may = self.surroundings.look(self.only);
                *looked = Some((now, may.clone()));
                may
            }
        }
    }

    /// Whether a photo, or a video, may go on being sent; the run ends where nothing may be.
    pub(super) fn allows(&self, video: bool) -> bool {
        let may = self.may();
        if !may.photos && !may.videos {
            self.end(End::NotNow(may.because.unwrap_or_default()));
        }
        if video { may.videos } else { may.photos }
    }

    /// Notes what became of a file that is on the box.
    pub(super) fn arrived(&self, file: &Found, (name, hash): (&str, ContentHash), became: Became) {
        let row = Row {
            path: file.path.clone(),
            name: name.to_owned(),
            look: file.look,
            hash: Some(hash),
            became,
            why: String::new(),
            attempts: 0,
            at: clock::now(),
        };
        self.record(&row);
        let mut tally = held(&self.tally);
        let said = if became == Became::Sent {
            tally.sent += 1;
            tally.sent_bytes += file.look.size;
            "sent"
        } else {
            tally.there += 1;
            "there already"
        };
        drop(tally);
        self.display.done(&shown(&file.path), file.look.size, Some(said));
    }

    /// A file that was on the box before, and is as it was, although it looked different.
    pub(super) fn unchanged(&self, file: &Found, before: &Row) {
        self.record(&Row { look: file.look, at: clock::now(), ..before.clone() });
        held(&self.tally).unchanged += 1;
        self.display.done(&shown(&file.path), file.look.size, None);
    }

    /// A file that did not arrive, for this reason.
    pub(super) fn failed(&self, file: &Found, before: Option<&Row>, trouble: &Trouble) {
        let path = shown(&file.path);
        match trouble {
            Trouble::Gone => {
                if let Err(e) = self.state.forget(self.id, &file.path) {
                    self.end(End::Here(format!("{e:#}")));
                }
                held(&self.tally).gone += 1;
                self.display.done(&path, file.look.size, Some("gone before it was sent"));
            }
            Trouble::Ended => held(&self.tally).left += 1,
            Trouble::Wait { .. }
            | Trouble::Full(_)
            | Trouble::SignIn(_)
            | Trouble::Impostor(_)
            | Trouble::Permission(_)
            | Trouble::Changed
            | Trouble::Taken
            | Trouble::NotFound
            | Trouble::Failed(_) => {
                let why = trouble.sentence();
                let attempts =
                    before.filter(|row| row.became == Became::Failed).map_or(0, |row| row.attempts);
                self.record(&Row {
                    path: file.path.clone(),
                    name: file.name.to_string(),
                    look: file.look,
                    hash: None,
                    became: Became::Failed,
                    why: why.clone(),
                    attempts: attempts.saturating_add(1),
                    at: clock::now(),
                });
                self.display.done(&path, file.look.size, Some(&format!("NOT sent: {why}")));
                held(&self.tally).failed.push((file.path.clone(), why));
            }
        }
    }

    /// Files that may not be sent over this network.
    pub(super) fn held_back(&self, group: &Group) {
        held(&self.tally).held_back += group.0.len() as u64;
    }

    fn record(&self, row: &Row) {
        // What cannot be noted is asked about again; but a disk that is full is no place to go on.
        if let Err(e) = self.state.put(self.id, row) {
            self.end(End::Here(format!("could not note what was sent: {e:#}")));
        }
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A path as people are shown it while files go by.
fn shown(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Any number, so that workers that failed together do not come back together.
fn luck() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness they do: no harm is done.
    let _drawn = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// Batches of so many files that are not too large together; a group stays whole.
fn batches(groups: Vec<Group>, most: usize) -> VecDeque<Vec<Group>> {
    let mut all: VecDeque<Vec<Group>> = VecDeque::new();
    let (mut files, mut bytes) = (0, 0);
    for group in groups {
        let fits = files + group.0.len() <= most && bytes + group.bytes() <= BATCH_BYTES;
        match all.back_mut() {
            Some(last) if fits => {
                (files, bytes) = (files + group.0.len(), bytes + group.bytes());
                last.push(group);
            }
            Some(_) | None => {
                (files, bytes) = (group.0.len(), group.bytes());
                all.push_back(vec![group]);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::cli::push::scan::Look;
    use crate::model::extension::Medium;
    use crate::model::path::RelPath;
    use proptest::prelude::*;

    fn group(sizes: &[u64]) -> Group {
        let file = |size: &u64| Found {
            path: "a.jpg".into(),
            name: RelPath::parse("a.jpg").unwrap(),
            medium: Medium::Image,
            look: Look { size: *size, mtime: 0, ctime: 0, inode: 1 },
        };
        Group(sizes.iter().map(file).collect())
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_batch_is_too_large(
            sizes in proptest::collection::vec(proptest::collection::vec(0u64..(200 << 20), 1..4), 0..60),
            most in 1usize..64,
        ) {
            let groups: Vec<Group> = sizes.iter().map(|sizes| group(sizes)).collect();
            let batches = batches(groups.clone(), most);
            prop_assert_eq!(batches.iter().flatten().cloned().collect::<Vec<_>>(), groups);
            for batch in batches {
                let files: usize = batch.iter().map(|group| group.0.len()).sum();
                let bytes: u64 = batch.iter().map(Group::bytes).sum();
                prop_assert!(batch.len() == 1 || (files <= most && bytes <= BATCH_BYTES));
            }
        }
    }

    fn run(patience: Duration, acts: Vec<Result<u8, Trouble>>) -> (Result<u8, Trouble>, Option<End>) {
        let dir = tempfile::tempdir().unwrap();
        let (state, display) = (State::open(dir.path()).unwrap(), Display::new(true));
        let surroundings = Surroundings { sys: dir.path().to_owned(), termux: false };
        let run = Run::new((&state, "b"), &display, (Only::default(), &surroundings), (patience, false));
        let mut acts = acts.into_iter();
        let done = run.patiently(|| acts.next().unwrap());
        (done, run.conclude().0)
    }

    #[test]
    fn each_trouble_has_its_end() {
        let wait = || Err(Trouble::network("connecting", "refused"));
        let minute = Duration::from_secs(60);
        assert_eq!(run(minute, vec![wait(), Ok(7)]), (Ok(7), None));
        let (done, end) = run(Duration::ZERO, vec![wait()]);
        assert_eq!(done, Err(Trouble::Ended));
        assert!(matches!(end, Some(End::Unreachable(why)) if why.contains("refused")));
        let full = run(minute, vec![Err(Trouble::Full("no room".into()))]);
        assert_eq!(full, (Err(Trouble::Ended), Some(End::Full("no room".into()))));
        assert_eq!(run(minute, vec![Err(Trouble::Gone)]), (Err(Trouble::Gone), None));
        assert!(matches!(run(minute, vec![Err(Trouble::SignIn("x".into()))]).1, Some(End::SignIn(_))));
    }
}
