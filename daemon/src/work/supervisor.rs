//! Keeps the workers going: one thread each, rest and retry, panics caught, life told to the watchdog, an orderly stop.
//!
//! It refuses two things: to restart the daemon because a *drive* hangs (a restart does not cure a disk, and a loop of
//! restarts would take the healthy drive away too, invariant I25), and to hide a worker that panics again and again.
use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::os::clock;
use crate::plan::retrying::Backoff;
use crate::work::worker::{Cx, Heart, Outcome, Waker, Worker, chain};

pub use crate::plan::facts::WorkerReport;

/// How patient the supervisor is. `Default` is for production; tests shorten it.
#[derive(Debug, Clone)]
pub struct Patience {
    /// A worker that neither beats nor rests nor waits for a drive for longer is silent.
    pub silence: Duration,
    /// Pauses after failed steps.
    pub backoff: Backoff,
    /// Pause before a worker that panicked is built anew.
    pub rebuild: Duration,
    /// One panic more than this within [`Patience::panic_window`] ends the process.
    pub panics: usize,
    /// See [`Patience::panics`].
    pub panic_window: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(60),
            backoff: Backoff::default(),
            rebuild: Duration::from_secs(5),
            panics: 5,
            panic_window: Duration::from_secs(3600),
        }
    }
}

/// What the daemon exits with when a worker panics again and again (`EX_SOFTWARE` of sysexits.h).
pub const EXIT_SOFTWARE: i32 = 70;

/// Builds a worker, at first and after each panic.
pub type Factory = Box<dyn FnMut() -> Box<dyn Worker> + Send>;

/// Ends the process with the code it is given.
pub type GiveUp = Arc<dyn Fn(i32) + Send + Sync>;

/// All workers of the daemon.
pub struct Supervisor {
    patience: Patience,
    give_up: GiveUp,
    running: Mutex<Vec<Running>>,
}

struct Running {
    heart: Heart,
    /// `None`: a heart without a thread of ours (the accept loop).
    thread: Option<(Waker, JoinHandle<()>)>,
}

impl Supervisor {
    /// No workers yet. `give_up` is called, from a worker's thread, when going on makes no sense.
    pub fn new(patience: Patience, give_up: impl Fn(i32) + Send + Sync + 'static) -> Self {
        Self { patience, give_up: Arc::new(give_up), running: Mutex::default() }
    }

    /// Starts a worker. `waker` wakes it from now on; wakes before the start are not lost.
    pub fn spawn(
        &self,
        waker: &Waker,
        mut factory: impl FnMut() -> Box<dyn Worker> + Send + 'static,
    ) -> io::Result<()> {
        let worker = factory();
        let heart = Heart::new(worker.name(), worker.critical(), self.patience.silence);
        let mut keeper = Keeper {
            name: worker.name(),
            cx: Cx::new(heart.clone(), waker.clone()),
            heart: heart.clone(),
            waker: waker.clone(),
            patience: self.patience.clone(),
            give_up: Arc::clone(&self.give_up),
            panics: VecDeque::new(),
        };
        let mut factory: Factory = Box::new(factory);
        let thread = std::thread::Builder::new()
            .name(worker.name().to_owned())
            .spawn(move || keeper.keep(worker, &mut factory))?;
        self.lock().push(Running { heart, thread: Some((waker.clone(), thread)) });
        Ok(())
    }

    /// A heart for a loop that is no worker but must be alive too: the accept loop.
    pub fn heart(&self, name: &str, limit: Duration) -> Heart {
        let heart = Heart::new(name, true, limit);
        self.lock().push(Running { heart: heart.clone(), thread: None });
        heart
    }

    /// How every worker has been doing.
    pub fn report(&self) -> Vec<WorkerReport> {
        let now = clock::monotonic();
        self.lock().iter().map(|running| running.heart.report(now)).collect()
    }

    /// Whether the service manager may be told that the daemon is alive: no critical worker is silent. One that waits
    /// for a drive is not silent.
    pub fn alive(&self, now: Instant) -> bool {
        !self.lock().iter().any(|running| running.heart.critical() && running.heart.silent(now))
    }

    /// Asks all workers to end at their next step boundary and waits for them, at most until `deadline` has passed.
    /// The names of those that did not end: they wait for a drive, and dying in the middle of it is safe (crash-only).
    pub fn stop(&self, deadline: Duration) -> Vec<String> {
        let end = clock::monotonic() + deadline;
        let running = std::mem::take(&mut *self.lock());
        for (waker, _) in running.iter().filter_map(|one| one.thread.as_ref()) {
            waker.stop();
        }
        let mut left: Vec<_> =
            running.into_iter().filter_map(|one| one.thread.map(|(_, thread)| (one.heart, thread))).collect();
        loop {
            left.retain(|(_, thread)| !thread.is_finished());
            if left.is_empty() || clock::monotonic() >= end {
                return left.into_iter().map(|(heart, _)| heart.report(clock::monotonic()).name).collect();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's thread.
struct Keeper {
    name: &'static str,
    cx: Cx,
    heart: Heart,
    waker: Waker,
    patience: Patience,
    give_up: GiveUp,
    panics: VecDeque<Instant>,
}

impl Keeper {
    fn keep(&mut self, first: Box<dyn Worker>, factory: &mut Factory) {
        let mut first = Some(first);
        while !self.waker.stopping() {
            let run = || {
                let mut worker = first.take().unwrap_or_else(&mut *factory);
                self.work(&mut *worker);
            };
            // The worker is dropped with its half-done state and built anew, so nothing torn is seen again.
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(()) => return,
                Err(payload) if self.is_one_too_many(&*payload) => return (self.give_up)(EXIT_SOFTWARE),
                Err(_) => self.wait(self.patience.rebuild),
            }
        }
    }

    fn work(&self, worker: &mut dyn Worker) {
        while !self.waker.stopping() {
            self.heart.beat();
            match worker.step(&self.cx) {
                Ok(outcome) => {
                    self.heart.went_well(clock::now());
                    if outcome == Outcome::Rest {
                        self.heart.rests(true);
                        self.waker.rest(worker.period());
                        self.heart.rests(false);
                    }
                }
                Err(error) => {
                    let what = chain(&error);
                    let failures = self.heart.failed(clock::now(), what.clone());
                    log::warn!(worker = self.name, failures; "{}: {what}", self.name);
                    self.wait(self.patience.backoff.after(failures, getrandom::u32().unwrap_or(0)));
                }
            }
        }
    }

    /// A wait that a wake does not cut short: what fails at every step must not run at the speed of its wakes.
    fn wait(&self, time: Duration) {
        self.heart.rests(true);
        self.waker.pause(time);
        self.heart.rests(false);
    }

    fn is_one_too_many(&mut self, payload: &(dyn Any + Send)) -> bool {
        let what = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "something without a message".to_owned());
        self.heart.panicked(clock::now(), format!("panicked: {what}"));
        let now = clock::monotonic();
        self.panics.push_back(now);
        let window = self.patience.panic_window;
        self.panics.retain(|at| now.saturating_duration_since(*at) < window);
        log::error!(worker = self.name, panics = self.panics.len(); "{} panicked: {what}", self.name);
        self.panics.len() > self.patience.panics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::worker::WorkError;
    use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
    use std::sync::mpsc;

    type Step = Box<dyn FnMut(&Cx) -> Result<Outcome, WorkError> + Send>;

    struct Scripted {
        period: Duration,
        critical: bool,
        step: Step,
    }

    impl Worker for Scripted {
        fn name(&self) -> &'static str {
            "scripted"
        }
        fn period(&self) -> Duration {
            self.period
        }
        fn critical(&self) -> bool {
            self.critical
        }
        fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
            (self.step)(cx)
        }
    }

    const LONG: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_secs(10);

    fn supervisor() -> (Supervisor, Arc<AtomicI32>) {
        let code = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&code);
        let patience = Patience {
            silence: Duration::from_millis(200),
            backoff: Backoff { first: Duration::from_millis(20), most: Duration::from_millis(80) },
            rebuild: Duration::from_millis(1),
            ..Patience::default()
        };
        (Supervisor::new(patience, move |exit| seen.store(exit, Ordering::SeqCst)), code)
    }

    fn scripted(step: impl FnMut(&Cx) -> Result<Outcome, WorkError> + Send + 'static) -> Box<dyn Worker> {
        Box::new(Scripted { period: LONG, critical: true, step: Box::new(step) })
    }

    fn until(what: &str, holds: impl Fn() -> bool) {
        let end = clock::monotonic() + SOON;
        while !holds() {
            assert!(clock::monotonic() < end, "{what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn more_goes_on_rest_waits_for_a_wake_and_stop_ends_it() {
        let (supervisor, _) = supervisor();
        let waker = Waker::new();
        let (send, steps) = mpsc::channel();
        let mut left = 3;
        let mut worker = Some(scripted(move |_| {
            send.send(()).unwrap();
            left -= 1;
            Ok(if left > 0 { Outcome::More } else { Outcome::Rest })
        }));
        supervisor.spawn(&waker, move || worker.take().unwrap()).unwrap();
        for _ in 0..3 {
            steps.recv_timeout(SOON).unwrap();
        }
        assert!(steps.recv_timeout(Duration::from_millis(50)).is_err(), "it rests");
        waker.wake();
        steps.recv_timeout(SOON).unwrap();
        until("steps are counted", || supervisor.report()[0].steps == 4);
        assert_eq!(supervisor.stop(SOON), Vec::<String>::new());
        assert!(steps.recv().is_err(), "the worker is gone");
    }

    #[test]
    fn the_period_wakes_by_itself() {
        let (supervisor, _) = supervisor();
        supervisor
            .spawn(&Waker::new(), || {
                let step: Step = Box::new(|_| Ok(Outcome::Rest));
                Box::new(Scripted { period: Duration::from_millis(5), critical: false, step })
            })
            .unwrap();
        until("many periods", || supervisor.report()[0].steps > 5);
        supervisor.stop(SOON);
    }

    #[test]
    fn a_failing_worker_backs_off_reports_and_recovers() {
        let (supervisor, _) = supervisor();
        let waker = Waker::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let began = clock::monotonic();
        let mut worker = Some(scripted(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
            0..=2 => Err(WorkError::new("read the drive", io::Error::other("cable"))),
            _ => Ok(Outcome::Rest),
        }));
        supervisor.spawn(&waker, move || worker.take().unwrap()).unwrap();
        until("it failed", || supervisor.report()[0].failures > 0);
        // Wakes do not shorten a pause.
        until("it recovered", || {
            waker.wake();
            supervisor.report()[0].steps > 0
        });
        // 20, 40 and 80 ms, less at most a quarter each.
        assert!(clock::monotonic() - began >= Duration::from_millis(105));
        let report = supervisor.report().remove(0);
        assert_eq!((report.errors, report.failures, report.panics), (3, 0, 0));
        assert_eq!(report.last_error.unwrap().what, "could not read the drive: cable");
        supervisor.stop(SOON);
    }

    #[test]
    fn a_panicking_worker_is_built_anew() {
        let (supervisor, code) = supervisor();
        let built = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&built);
        supervisor
            .spawn(&Waker::new(), move || {
                let nth = count.fetch_add(1, Ordering::SeqCst);
                scripted(move |cx| {
                    let _guard = cx.blocked_on("aaaa");
                    assert!(nth >= 2, "torn {nth}");
                    Ok(Outcome::Rest)
                })
            })
            .unwrap();
        until("the third one works", || supervisor.report()[0].steps == 1);
        let report = supervisor.report().remove(0);
        assert_eq!((report.panics, report.failures, report.blocked_on), (2, 0, None));
        assert_eq!(report.last_error.unwrap().what, "panicked: torn 1");
        assert_eq!(code.load(Ordering::SeqCst), 0);
        supervisor.stop(SOON);
    }

    #[test]
    fn too_many_panics_end_the_process() {
        let (supervisor, code) = supervisor();
        supervisor.spawn(&Waker::new(), || scripted(|_| std::panic::panic_any(7))).unwrap();
        until("it gave up", || code.load(Ordering::SeqCst) == EXIT_SOFTWARE);
        assert_eq!(supervisor.report()[0].panics, 6);
        supervisor.stop(SOON);
    }

    #[test]
    fn a_silent_critical_worker_is_death_one_stuck_on_a_drive_is_not() {
        for (drive, critical, alive) in [(None, true, false), (None, false, true), (Some("aaaa"), true, true)]
        {
            let (supervisor, _) = supervisor();
            let (release, held) = mpsc::channel::<()>();
            let (enter, entered) = mpsc::channel::<()>();
            let mut worker: Option<Box<dyn Worker>> = Some(Box::new(Scripted {
                period: LONG,
                critical,
                step: Box::new(move |cx| {
                    let _guard = drive.map(|drive| cx.blocked_on(drive));
                    enter.send(()).unwrap();
                    let _ = held.recv();
                    Ok(Outcome::Rest)
                }),
            }));
            supervisor.spawn(&Waker::new(), move || worker.take().unwrap()).unwrap();
            entered.recv_timeout(SOON).unwrap();
            let later = clock::monotonic() + Duration::from_secs(1);
            assert_eq!(supervisor.alive(later), alive, "{drive:?} {critical}");
            assert!(supervisor.alive(clock::monotonic()) || !alive);
            assert_eq!(supervisor.stop(Duration::from_millis(20)), ["scripted"], "it cannot end yet");
            drop(release);
        }
    }

    #[test]
    fn a_heart_of_another_loop_counts() {
        let (supervisor, _) = supervisor();
        let heart = supervisor.heart("accept", Duration::from_millis(50));
        assert!(supervisor.alive(clock::monotonic()));
        assert!(!supervisor.alive(clock::monotonic() + Duration::from_millis(60)));
        std::thread::sleep(Duration::from_millis(60));
        heart.beat();
        assert!(supervisor.alive(clock::monotonic()));
        assert_eq!(supervisor.stop(SOON), Vec::<String>::new());
    }
}
