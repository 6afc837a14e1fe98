//! A gate between a client and a box: counts what the client sends, holds it back after so many bytes, and leads to wherever the box is now.
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const GIVE_UP: Duration = Duration::from_secs(60);

struct Passing {
    to: Mutex<SocketAddr>,
    passed: AtomicU64,
    most: AtomicU64,
    ended: AtomicBool,
}

/// The gate.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    passing: Arc<Passing>,
}

impl Gate {
    /// To this box, through which so many bytes pass before it closes.
    pub(crate) fn to(box_at: SocketAddr, most: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passing = Arc::new(Passing {
            to: Mutex::new(box_at),
            passed: AtomicU64::new(0),
            most: AtomicU64::new(most),
            ended: AtomicBool::new(false),
        });
        let shared = Arc::clone(&passing);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, client) = (Arc::clone(&shared), client.unwrap());
                std::thread::spawn(move || shared.lead(&client));
            }
        });
        Self { address, passing }
    }

    /// What the client sent so far.
    pub(crate) fn passed(&self) -> u64 {
        self.passing.passed.load(Ordering::Relaxed)
    }

    /// Waits until it has closed.
    pub(crate) fn until_closed(&self) {
        let began = Instant::now();
        while self.passed() < self.passing.most.load(Ordering::Relaxed) {
            assert!(began.elapsed() < GIVE_UP, "only {} bytes came", self.passed());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets everything through.
    pub(crate) fn open(&self) {
        self.passing.most.store(u64::MAX, Ordering::Relaxed);
    }

    /// The box is elsewhere now.
    pub(crate) fn lead_to(&self, box_at: SocketAddr) {
        *self.passing.to.lock().unwrap() = box_at;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.passing.ended.store(true, Ordering::Relaxed);
        self.open();
        drop(TcpStream::connect(self.address));
    }
}

impl Passing {
    /// A connection, both ways, until one side ends it.
    fn lead(&self, client: &TcpStream) {
        let to = *self.to.lock().unwrap();
        let Ok(server) = TcpStream::connect(to) else { return };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                copy(&server, client, |_| ());
                drop(client.shutdown(Shutdown::Both));
            });
            copy(client, &server, |bytes| self.pass(bytes));
            drop(server.shutdown(Shutdown::Both));
        });
    }

    fn pass(&self, bytes: u64) {
        self.passed.fetch_add(bytes, Ordering::Relaxed);
        while self.passed.load(Ordering::Relaxed) >= self.most.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Each piece is counted before it goes on.
fn copy(mut from: &TcpStream, mut to: &TcpStream, count: impl Fn(u64)) {
    let mut piece = [0; 64 << 10];
    while let Ok(read) = from.read(&mut piece) {
        if read == 0 {
            return;
        }
        count(read as u64);
        if to.write_all(&piece[..read]).is_err() {
            return;
        }
    }
}
