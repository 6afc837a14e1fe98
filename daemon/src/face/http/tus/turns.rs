//! Whose turn it is on an upload: one request at a time, and the newest goes first.
//!
//! A phone that lost its network comes back on a new connection while the old one still seems to live. The old request is told to
//! give way; what came on it is kept, and only then is the new one told how much there is.
use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use crate::face::http::reply::Deny;
use crate::work::parts::UploadId;

/// How long the former request may take to put away what came on it, in [`NUDGES`] parts.
const NUDGE: Duration = Duration::from_secs(1);
const NUDGES: u32 = 10;

/// The turns of one upload.
#[derive(Default)]
struct Line {
    busy: Arc<Mutex<()>>,
    give_way: Notify,
}

/// All uploads that somebody works on.
#[derive(Default)]
pub(in crate::face::http) struct Turns(StdMutex<HashMap<UploadId, Arc<Line>>>);

/// The turn of one request.
pub(super) struct Turn {
    line: Arc<Line>,
    /// Travels with the work, which may go on when the request is gone.
    pub(super) held: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits for the turn, and has whoever holds it give way. 423 if that does not help: the client comes back.
    pub(super) async fn take(&self, id: &UploadId) -> Result<Turn, Deny> {
        let line = self.line(id);
        for _ in 0..NUDGES {
            line.give_way.notify_waiters();
            let lock = Arc::clone(&line.busy).lock_owned();
            if let Ok(held) = tokio::time::timeout(NUDGE, lock).await {
                return Ok(Turn { line, held });
            }
        }
        Err(Deny::Status(StatusCode::LOCKED, "another request works on this upload"))
    }

    fn line(&self, id: &UploadId) -> Arc<Line> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, line| Arc::strong_count(line) > 1 || line.busy.try_lock().is_err());
        Arc::clone(all.entry(id.clone()).or_default())
    }
}

impl Turn {
    /// Splits the turn: what travels with the work, and what says that somebody else wants it.
    pub(super) fn split(self) -> (OwnedMutexGuard<()>, impl Future<Output = ()>) {
        let Self { line, held } = self;
        (held, async move { line.give_way.notified().await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::account::{Device, DeviceKind};

    fn id(client: &str) -> UploadId {
        let (person, name) = ("anna".parse().unwrap(), "web".parse().unwrap());
        UploadId::of(&Device { person, name, kind: DeviceKind::Phone }, "tus", client)
    }

    #[test]
    fn who_comes_later_goes_first() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let turns = Arc::new(Turns::default());
            let (held, give_way) = turns.take(&id("1")).await.unwrap().split();
            let first = tokio::spawn(async move {
                give_way.await;
                drop(held);
            });
            // Another upload waits for nobody.
            assert!(turns.take(&id("2")).await.is_ok());
            assert!(turns.take(&id("1")).await.is_ok());
            first.await.unwrap();
            // Nothing is left of either.
            drop(turns.line(&id("3")));
            assert!(turns.0.lock().unwrap().len() <= 1);
        });
    }
}
