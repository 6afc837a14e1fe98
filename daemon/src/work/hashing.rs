//! Hashing an upload: BLAKE3 on the thread that takes its bytes, and what else its client knows it by (SHA-1, which costs more than all the
//! rest that is done for a photo) on a second one beside it, so that both together take as long as the longer of them.
//!
//! The second thread is there for one upload, and ends with it. There are a few at most; an upload that finds them taken, or gets none from
//! the system, hashes in line. The bytes are shared with it and not copied, and only so many wait for it.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;

use crate::model::hash::{Also, DeclaredHash, Digests, Hasher, Others};
use crate::work::error::Refusal;

/// Below this an upload is hashed in line: a thread would take longer to begin.
const LEAST: u64 = 256 << 10;
/// What goes to the other thread at once: waking it costs as much as hashing some KiB.
const LOAD: usize = 256 << 10;
/// So many pieces are a load whatever their size.
const PIECES: usize = 64;
/// Loads that wait for it, besides the one that grows and the one that is hashed: half of a photo, so that a thread that gets no processor for
/// a moment holds up nobody. Whoever brings more waits.
const WAITING: usize = 6;
/// Threads beside uploads at once: a box has four cores, and more would only take turns on them.
const MOST: usize = 4;
/// It needs little of it, and its size is promised to each.
const STACK: usize = 256 << 10;

/// How many threads hash beside uploads now.
#[derive(Default)]
pub(super) struct Threads(Arc<AtomicUsize>);

impl Threads {
    fn one_more(&self) -> Option<Permit> {
        let more = |now: usize| (now < MOST).then_some(now + 1);
        let counted = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.ok().map(|_| Permit(Arc::clone(&self.0)))
    }
}

/// One of them.
struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An upload being hashed; dropping it lets its thread end.
pub(super) struct Hashing {
    hasher: Hasher,
    /// Bytes that are announced; 0 where that is not known.
    expected: u64,
    side: Side,
    stack: usize,
}

/// The thread beside it.
enum Side {
    /// None yet: too little came.
    NotYet,
    /// None: there is nothing to do for one, or none could be had.
    None,
    Thread(Beside),
}

struct Beside {
    loads: SyncSender<Vec<Bytes>>,
    load: Vec<Bytes>,
    size: usize,
    thread: JoinHandle<Others>,
}

/// All bytes were given to it, and it may not be through yet.
pub(super) struct Ended {
    hasher: Hasher,
    thread: Option<JoinHandle<Others>>,
}

impl Hashing {
    /// Of an upload from which so many bytes are expected, or 0 if nobody said how many.
    pub(super) fn new(also: Also, declared: &[DeclaredHash], expected: u64) -> Self {
        Self::from(Hasher::new(also, declared), expected)
    }

    /// Goes on from bytes that were hashed before.
    pub(super) const fn from(hasher: Hasher, expected: u64) -> Self {
        Self { hasher, expected, side: Side::NotYet, stack: STACK }
    }

    /// Gives the next bytes to the thread beside, and begins one if that is worth it. [`Hashing::update`] has to be told the same.
    pub(super) fn share(&mut self, threads: &Threads, bytes: &Bytes) {
        let is_due = self.hasher.size() + bytes.len() as u64 >= LEAST || self.expected >= LEAST;
        if is_due && matches!(self.side, Side::NotYet) {
            self.side = self.begin(threads).map_or(Side::None, Side::Thread);
        }
        if let Side::Thread(beside) = &mut self.side {
            beside.push(bytes.clone());
        }
    }

    /// Whether bytes have to be shared: where they would be copied for it.
    pub(super) fn is_shared(&self) -> bool {
        match self.side {
            Side::NotYet => self.hasher.wants_others(),
            Side::None => false,
            Side::Thread(_) => true,
        }
    }

    /// Hashes the next bytes, as far as that is this thread's to do.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    fn begin(&mut self, threads: &Threads) -> Option<Beside> {
        let others = self.hasher.lend()?;
        let Some(permit) = threads.one_more() else {
            self.hasher.take_back(others);
            return None;
        };
        // What is lent goes over when there is somebody to take it.
        let (lend, lent) = sync_channel(1);
        let (loads, waiting) = sync_channel(WAITING);
        let thread = Builder::new().name("hash".to_owned()).stack_size(self.stack);
        match thread.spawn(move || hash(&lent, &waiting, permit)) {
            Ok(thread) => {
                // A thread that is there takes it; if it ended, whoever joins it hears that.
                let _taken = lend.send(others);
                Some(Beside { loads, load: Vec::new(), size: 0, thread })
            }
            Err(e) => {
                log::debug!("no thread to hash beside an upload, it is hashed in line: {e}");
                self.hasher.take_back(others);
                None
            }
        }
    }

    /// No more bytes come. The thread beside goes on with what it has.
    pub(super) fn end(self) -> Ended {
        let Self { hasher, side, .. } = self;
        let thread = match side {
            Side::NotYet | Side::None => None,
            Side::Thread(mut beside) => {
                beside.send();
                Some(beside.thread)
            }
        };
        Ended { hasher, thread }
    }
}

impl Beside {
    fn push(&mut self, bytes: Bytes) {
        self.size += bytes.len();
        self.load.push(bytes);
        if self.size >= LOAD || self.load.len() >= PIECES {
            self.send();
        }
    }

    fn send(&mut self) {
        self.size = 0;
        // A thread that is gone is heard of when it is joined.
        let _sent = self.loads.send(std::mem::take(&mut self.load));
    }
}

/// What the thread does.
fn hash(lent: &Receiver<Others>, loads: &Receiver<Vec<Bytes>>, _counted: Permit) -> Others {
    let mut others = lent.recv().unwrap_or_default();
    while let Ok(load) = loads.recv() {
        for bytes in load {
            others.update(&bytes);
        }
    }
    others
}

impl Ended {
    /// The digests, if all that was announced fits. Waits for the thread beside.
    pub(super) fn digests(self) -> Result<Digests, Refusal> {
        self.hasher()?.finish().map_err(Refusal::WrongHash)
    }

    /// The hashes so far, which may be gone on with. Waits for the thread beside.
    pub(super) fn hasher(self) -> Result<Hasher, Refusal> {
        let Self { mut hasher, thread } = self;
        if let Some(thread) = thread {
            let broken = |_| Refusal::Unavailable { why: "a hash did not come to its end".to_owned() };
            hasher.take_back(thread.join().map_err(broken)?);
        }
        Ok(hasher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: Also = Also { sha1: true, sha256: true };

    fn in_line(bytes: &[u8]) -> Digests {
        let mut hasher = Hasher::new(BOTH, &[]);
        hasher.update(bytes);
        hasher.digests()
    }

    /// In pieces of this length; and whether there was a thread.
    fn beside(mut hashing: Hashing, threads: &Threads, bytes: &Bytes, piece: usize) -> (Ended, bool) {
        for from in (0..bytes.len()).step_by(piece) {
            let piece = bytes.slice(from..bytes.len().min(from + piece));
            hashing.share(threads, &piece);
            hashing.update(&piece);
        }
        let thread = matches!(hashing.side, Side::Thread(_));
        (hashing.end(), thread)
    }

    fn noise(length: usize) -> Bytes {
        (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
    }

    #[test]
    fn small_uploads_and_those_with_no_other_hash_have_no_thread() {
        let (threads, bytes) = (Threads::default(), noise(1 << 20));
        for (length, expected, also, thread) in [
            (1 << 20, 1 << 20, BOTH, true),
            (1 << 20, 0, BOTH, true),
            (100, 1 << 20, BOTH, true),
            (100, 100, BOTH, false),
            (1 << 20, 1 << 20, Also::default(), false),
        ] {
            let bytes = bytes.slice(..length);
            let (ended, had) = beside(Hashing::new(also, &[], expected), &threads, &bytes, 1 << 16);
            assert_eq!(had, thread, "{length} {expected}");
            let (digests, whole) = (ended.digests().unwrap(), in_line(&bytes));
            assert_eq!((digests.content, digests.size), (whole.content, whole.size));
            if also == BOTH {
                assert_eq!(digests, whole);
            }
        }
    }

    #[test]
    fn a_wrong_hash_is_refused_whoever_computes_it() {
        let (threads, bytes) = (Threads::default(), noise(700_000));
        let right = DeclaredHash::Sha1(in_line(&bytes).sha1.unwrap());
        let wrong = DeclaredHash::Sha1([7; 20]);
        for stack in [STACK, 1 << 60] {
            let hash = |declared: DeclaredHash| {
                let hashing = Hashing { stack, ..Hashing::new(Also::default(), &[declared], 0) };
                let (ended, thread) = beside(hashing, &threads, &bytes, 300_000);
                // Nobody has a stack of an exbibyte.
                assert_eq!(thread, stack == STACK);
                ended.digests()
            };
            assert!(matches!(hash(wrong), Err(Refusal::WrongHash(named)) if named == wrong));
            assert!(hash(right).is_ok());
        }
        assert_eq!(threads.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_a_thread_did_not_finish_is_no_success() {
        let declared = DeclaredHash::Sha1([7; 20]);
        let thread = std::thread::spawn(|| -> Others { std::panic::resume_unwind(Box::new(())) });
        let ended = Ended { hasher: Hasher::new(Also::default(), &[declared]), thread: Some(thread) };
        assert!(matches!(ended.digests(), Err(Refusal::Unavailable { .. })));
    }

    #[test]
    fn many_at_once_share_a_few_threads_and_leave_none() {
        let (threads, bytes) = (Arc::new(Threads::default()), noise(3 << 20));
        let whole = in_line(&bytes);
        let start = Arc::new(std::sync::Barrier::new(3 * MOST));
        let all: Vec<_> = (0..3 * MOST)
            .map(|n| {
                let (threads, bytes, start) = (Arc::clone(&threads), bytes.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    let mut hashing = Hashing::new(BOTH, &[], 0);
                    hashing.share(&threads, &bytes);
                    hashing.update(&bytes);
                    let thread = matches!(hashing.side, Side::Thread(_));
                    // All of them are under way, and one in three gives up.
                    start.wait();
                    if n % 3 == 0 {
                        return (thread, None);
                    }
                    (thread, Some(hashing.end().digests().unwrap()))
                })
            })
            .collect();
        let all: Vec<_> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().filter(|(thread, _)| *thread).count(), MOST);
        assert!(all.iter().filter_map(|(_, digests)| *digests).all(|digests| digests == whole));
        // Those that were given up end by themselves.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while threads.0.load(Ordering::Relaxed) > 0 {
            assert!(std::time::Instant::now() < until);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn hashed_beside_it_is_the_same(length in 0usize..900_000, piece in 3_000usize..400_000, expected in prop_oneof![Just(0u64), Just(1 << 20)]) {
            let bytes = noise(length);
            let (ended, _) = beside(Hashing::new(BOTH, &[], expected), &Threads::default(), &bytes, piece);
            prop_assert_eq!(ended.digests().unwrap(), in_line(&bytes));
        }
    }
}
