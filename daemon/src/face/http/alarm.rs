//! Alarms that are put off: the time for the next head begins anew with each request, and seldom ends.
//!
//! A timer that is set anew is one that the runtime has to be woken for, when it ends before all others: a write and a wait of
//! its own for every answer. Kept as it was set first, it rings too early, once, and is set to what is left.
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::os::clock;

/// A timer for one connection, which has one alarm at a time.
#[derive(Clone, Default)]
pub(super) struct Alarms(Arc<Mutex<Kept>>);

/// The runtime's timer of the alarm before; it may ring for nobody.
type Kept = Option<Pin<Box<tokio::time::Sleep>>>;

struct Alarm {
    at: tokio::time::Instant,
    timer: Kept,
    alarms: Alarms,
}

impl Alarms {
    fn kept<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, at: tokio::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Alarm { at, timer: self.kept(Option::take), alarms: self.clone() })
    }
}

impl Timer for Alarms {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.set((clock::monotonic() + duration).into())
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.set(deadline.into())
    }

    fn now(&self) -> Instant {
        clock::monotonic()
    }
}

impl Sleep for Alarm {}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() == at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let timer = self.timer.take();
        self.alarms.kept(|kept| *kept = timer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn in_time<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(test)
    }

    async fn rings(alarm: &mut Pin<Box<dyn Sleep>>, within: Duration) -> bool {
        tokio::time::timeout(within, alarm).await.is_ok()
    }

    #[test]
    fn one_that_is_put_off_rings_at_its_own_time_and_not_before() {
        in_time(async {
            let alarms = Alarms::default();
            let mut first = alarms.sleep(SECOND / 10);
            assert!(!rings(&mut first, SECOND / 100).await);
            drop(first);
            let (began, mut second) = (Instant::now(), alarms.sleep_until(alarms.now() + SECOND / 5));
            // What is left of the first rings meanwhile.
            assert!(rings(&mut second, SECOND * 60).await);
            assert!(began.elapsed() >= SECOND / 5);
        });
    }

    #[test]
    fn one_that_is_earlier_does_not_wait_for_the_one_before() {
        in_time(async {
            let alarms = Alarms::default();
            let mut first = alarms.sleep(SECOND * 3600);
            assert!(!rings(&mut first, SECOND / 100).await);
            drop(first);
            assert!(rings(&mut alarms.sleep(SECOND / 100), SECOND * 60).await);
        });
    }

    #[test]
    fn one_that_rang_for_nobody_is_set_anew() {
        in_time(async {
            let alarms = Alarms::default();
            let mut first = alarms.sleep(SECOND / 100);
            assert!(!rings(&mut first, Duration::ZERO).await);
            drop(first);
            tokio::time::sleep(SECOND / 20).await;
            let mut second = alarms.sleep(SECOND * 3600);
            assert!(!rings(&mut second, SECOND / 20).await);
        });
    }
}
