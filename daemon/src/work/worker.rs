//! What a worker is: one bounded step at a time, woken by a flag that carries nothing.
//!
//! Looping, sleeping, retrying and stopping are the supervisor's (`work/supervisor.rs`); a worker compares what is
//! with what should be, does one unit of the difference, and says whether there is more.
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::os::clock;
use crate::plan::facts::{BlockedOn, WorkerError, WorkerReport};

/// Something done in the background, for as long as the daemon runs.
pub trait Worker: Send {
    /// One word, for the log, the thread and the findings.
    fn name(&self) -> &'static str;

    /// How long it may rest without being woken. An event that is lost costs at most this.
    fn period(&self) -> Duration;

    /// Whether the daemon is to be restarted when this worker falls silent.
    fn critical(&self) -> bool;

    /// Does one unit of work. Idempotent: it is called again after a failure, a panic or a power cut.
    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError>;
}

/// How a step that went well ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is more to do now.
    More,
    /// Nothing to do until woken, or until the period is over.
    Rest,
}

/// A step that failed: what was tried, and the cause.
#[derive(Debug)]
pub struct WorkError {
    op: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl WorkError {
    /// `op` fits "could not …".
    pub fn new(op: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { op: op.into(), source: Some(source.into()) }
    }

    /// A failure without a cause of its own; `op` fits "could not …".
    pub fn plain(op: impl Into<String>) -> Self {
        Self { op: op.into(), source: None }
    }
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.op)
    }
}

impl Error for WorkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// Wakes a worker. Cheap, cloneable, callable from any thread, and remembered when the worker is busy: after the
/// wake there is a step that began later than it.
#[derive(Debug, Clone, Default)]
pub struct Waker(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    state: Mutex<BellState>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct BellState {
    woken: bool,
    stop: bool,
}

impl Waker {
    /// A waker to hand out before its worker exists.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes.
    pub fn wake(&self) {
        self.lock().woken = true;
        self.0.rung.notify_all();
    }

    /// Ends every rest from now on.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.0.rung.notify_all();
    }

    pub(super) fn stopping(&self) -> bool {
        self.lock().stop
    }

    /// Rests until woken, stopped, or `most` has passed, and takes the wake.
    pub(super) fn rest(&self, most: Duration) {
        let waiting = |state: &mut BellState| !state.woken && !state.stop;
        let (mut state, _) = self
            .0
            .rung
            .wait_timeout_while(self.lock(), most, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        state.woken = false;
    }

    /// Waits until stopped or `time` has passed; a wake neither ends the wait nor is lost.
    pub(super) fn pause(&self, time: Duration) {
        let waiting = |state: &mut BellState| !state.stop;
        drop(self.0.rung.wait_timeout_while(self.lock(), time, waiting));
    }

    fn lock(&self) -> MutexGuard<'_, BellState> {
        // No code that could panic runs under this lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sign of life of a worker, or of a loop that is none (the accept loop): beaten by it, read by the watchdog.
#[derive(Debug, Clone)]
pub struct Heart(Arc<Mutex<Pulse>>);

#[derive(Debug)]
struct Pulse {
    report: WorkerReport,
    limit: Duration,
    beat: Instant,
    resting: bool,
    blocked: Option<(String, Instant)>,
}

impl Heart {
    pub(super) fn new(name: &str, critical: bool, limit: Duration) -> Self {
        let report = WorkerReport { name: name.to_owned(), critical, ..WorkerReport::default() };
        Self(Arc::new(Mutex::new(Pulse {
            report,
            limit,
            beat: clock::monotonic(),
            resting: false,
            blocked: None,
        })))
    }

    /// Still going. A drive that is waited for has answered, then, in the middle of whatever long work this is.
    pub fn beat(&self) {
        let mut pulse = self.lock();
        pulse.beat = clock::monotonic();
        let beat = pulse.beat;
        if let Some((_, since)) = &mut pulse.blocked {
            *since = beat;
        }
    }

    pub(super) fn rests(&self, resting: bool) {
        let mut pulse = self.lock();
        pulse.resting = resting;
        pulse.beat = clock::monotonic();
    }

    pub(super) fn went_well(&self, at: Timestamp) {
        let mut pulse = self.lock();
        pulse.report.steps += 1;
        pulse.report.failures = 0;
        pulse.report.last_step = Some(at);
    }

    /// The number of failures in a row, this one included.
    pub(super) fn failed(&self, at: Timestamp, what: String) -> u32 {
        let mut pulse = self.lock();
        pulse.report.errors += 1;
        pulse.report.failures = pulse.report.failures.saturating_add(1);
        pulse.report.last_step = Some(at);
        pulse.report.last_error = Some(WorkerError { at, what });
        pulse.report.failures
    }

    pub(super) fn panicked(&self, at: Timestamp, what: String) {
        let mut pulse = self.lock();
        pulse.report.panics += 1;
        pulse.report.failures = pulse.report.failures.saturating_add(1);
        pulse.report.last_error = Some(WorkerError { at, what });
        pulse.blocked = None;
    }

    /// Silent for longer than its limit, with no drive to explain it. Rest is no silence.
    pub(super) fn silent(&self, now: Instant) -> bool {
        self.lock().silent(now)
    }

    pub(super) fn critical(&self) -> bool {
        self.lock().report.critical
    }

    pub(super) fn report(&self, now: Instant) -> WorkerReport {
        let pulse = self.lock();
        let blocked_on = pulse.blocked.as_ref().map(|(drive, since)| BlockedOn {
            drive: drive.clone(),
            seconds: now.saturating_duration_since(*since).as_secs(),
        });
        WorkerReport { blocked_on, silent: pulse.silent(now), ..pulse.report.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Pulse> {
        // No code that could panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    fn silent(&self, now: Instant) -> bool {
        !self.resting && self.blocked.is_none() && now.saturating_duration_since(self.beat) > self.limit
    }
}

/// What a step is given: its heart, and whether to end early.
#[derive(Debug, Clone)]
pub struct Cx {
    heart: Heart,
    waker: Waker,
}

impl Cx {
    pub(super) fn new(heart: Heart, waker: Waker) -> Self {
        Self { heart, waker }
    }

    /// Call between units of a long step: every few megabytes of a copy, every directory of a walk.
    pub fn beat(&self) {
        self.heart.beat();
    }

    /// Hold the answer around a call that a drive may never return from (flush, read, unmount). Silence is then the
    /// drive's, by its short id: a restart does not cure a disk, so the watchdog lets it pass and the drive gets the
    /// finding. Inside another such guard, the inner one counts until it is dropped.
    #[must_use = "the drive is named only while the guard is held"]
    pub fn blocked_on(&self, drive: &str) -> Blocked<'_> {
        let mut pulse = self.heart.lock();
        let outer = pulse.blocked.replace((drive.to_owned(), clock::monotonic()));
        Blocked { heart: &self.heart, outer }
    }

    /// Whether the daemon is ending: return at the next safe point.
    pub fn stopping(&self) -> bool {
        self.waker.stopping()
    }
}

/// See [`Cx::blocked_on`].
#[derive(Debug)]
pub struct Blocked<'a> {
    heart: &'a Heart,
    outer: Option<(String, Instant)>,
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        let mut pulse = self.heart.lock();
        pulse.blocked = self.outer.take();
        pulse.beat = clock::monotonic();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Cx {
        Cx::new(Heart::new("test", true, Duration::from_secs(10)), Waker::new())
    }

    #[test]
    fn silence_counts_only_without_rest_and_without_a_drive() {
        let cx = cx();
        let late = clock::monotonic() + Duration::from_secs(60);
        assert!(cx.heart.silent(late));
        {
            let _outer = cx.blocked_on("aaaa");
            {
                let _inner = cx.blocked_on("bbbb");
                assert_eq!(cx.heart.report(late).blocked_on.unwrap().drive, "bbbb");
            }
            let report = cx.heart.report(late);
            assert_eq!(report.blocked_on, Some(BlockedOn { drive: "aaaa".to_owned(), seconds: 59 }));
            assert!(!report.silent);
        }
        assert!(cx.heart.report(late).silent);
        cx.heart.rests(true);
        assert!(!cx.heart.silent(late));
        cx.heart.rests(false);
        assert!(cx.heart.silent(late) && !cx.heart.silent(clock::monotonic()));
    }

    #[test]
    fn a_beat_in_the_middle_of_long_work_says_that_the_drive_answers() {
        let cx = cx();
        let _film = cx.blocked_on("aaaa");
        std::thread::sleep(Duration::from_millis(30));
        let late = clock::monotonic() + Duration::from_millis(1990);
        assert_eq!(cx.heart.report(late).blocked_on.unwrap().seconds, 2);
        cx.beat();
        assert_eq!(cx.heart.report(late).blocked_on.unwrap().seconds, 1);
    }

    #[test]
    fn a_wake_before_the_rest_is_not_lost() {
        let waker = Waker::new();
        waker.wake();
        waker.pause(Duration::from_millis(1));
        let began = clock::monotonic();
        waker.rest(Duration::from_secs(60));
        assert!(clock::monotonic() - began < Duration::from_secs(30));
        waker.stop();
        waker.rest(Duration::from_secs(60));
        waker.pause(Duration::from_secs(60));
        assert!(waker.stopping() && clock::monotonic() - began < Duration::from_secs(30));
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = WorkError::new("copy a.jpg", WorkError::new("flush", std::io::Error::other("cable")));
        assert_eq!(chain(&error), "could not copy a.jpg: could not flush: cable");
        assert_eq!(chain(&WorkError::plain("begin")), "could not begin");
    }
}
