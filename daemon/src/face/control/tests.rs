//! The control protocol over real sockets: round trips, limits, and whose socket it is.
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::serve::{Answers, InVain, serve};
use super::wire::{Fault, FaultKind, MAX_REQUEST, Request};
use super::{CallError, Client, bind_control};
use crate::work::views::{FindQuery, Progress};

struct Daemon {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    ended: tokio::task::JoinHandle<()>,
}

/// A daemon with answers of its own: what is tested is the way there and back.
#[derive(Default)]
struct Desk {
    /// What `find` waits for, the first time.
    hangs: Arc<(Mutex<bool>, Condvar)>,
    asked: AtomicUsize,
}

impl Answers for Desk {
    fn answer(&self, request: Request, progress: &mut dyn FnMut(&Progress)) -> Result<Value, Fault> {
        let waits = matches!(request, Request::Find { .. } | Request::DeviceList {});
        if waits && self.asked.fetch_add(1, Ordering::SeqCst) < 2 {
            let (hangs, ended) = &*self.hangs;
            let give_up = std::time::Duration::from_secs(60);
            drop(ended.wait_timeout_while(hangs.lock().unwrap(), give_up, |hangs| *hangs).unwrap());
            return Ok(json!("late"));
        }
        answer(request, progress)
    }

    fn waits_in_vain(&self, request: &Request) -> Option<InVain> {
        if *request == (Request::DeviceList {}) {
            return Some(InVain::AskAgain);
        }
        let refused = Fault::new(FaultKind::Unavailable, "the drive does not respond", "");
        matches!(request, Request::Find { .. }).then_some(InVain::Refuse(refused))
    }
}

fn answer(request: Request, progress: &mut dyn FnMut(&Progress)) -> Result<Value, Fault> {
    if request == (Request::Rescan {}) {
        progress(&Progress { files: 1, files_total: 2, ..Progress::default() });
        progress(&Progress { files: 2, files_total: 2, ..Progress::default() });
        return Ok(json!({"files": 2}));
    }
    if let Request::Receipt { key } = request {
        return Err(Fault::new(FaultKind::NotFound, key, "look elsewhere"));
    }
    if request == (Request::PersonList {}) {
        for _ in 0..30 {
            progress(&Progress::default());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    assert!(request != (Request::DriveList {}), "a defect");
    Ok(json!(format!("{request:?}")))
}

fn start(path: &Path) -> Daemon {
    start_with(path, Desk::default())
}

fn start_with(path: &Path, desk: Desk) -> Daemon {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (stop, stopped) = watch::channel(false);
    let guard = runtime.enter();
    let listener = bind_control(path).unwrap();
    drop(guard);
    let ended = runtime.spawn(serve(listener, stopped, Arc::new(desk)));
    Daemon { runtime, stop, ended }
}

#[test]
fn a_request_that_waits_in_vain_is_asked_again_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let desk = Desk::default();
    let hangs = Arc::clone(&desk.hangs);
    *hangs.0.lock().unwrap() = true;
    let _daemon = start_with(&path, desk);
    let find = Request::Find { query: FindQuery::default(), after: None, limit: 1 };
    let refused = Client::new(&path).call::<Value>(&find, &mut |_| ()).unwrap_err();
    assert!(matches!(&refused, CallError::Fault(fault) if fault.kind == FaultKind::Unavailable), "{refused}");
    // One that only asks is asked again: the first time it hangs as well.
    let (clients, again) = (Client::new(&path), Client::new(&path));
    let first = std::thread::spawn(move || clients.call::<String>(&Request::DeviceList {}, &mut |_| ()));
    assert_eq!(first.join().unwrap().unwrap(), "DeviceList");
    assert_eq!(again.call::<String>(&Request::DeviceList {}, &mut |_| ()).unwrap(), "DeviceList");
    // Both hang still, and others are answered.
    assert!(Client::new(&path).call::<String>(&Request::Status {}, &mut |_| ()).is_ok());
    *hangs.0.lock().unwrap() = false;
    hangs.1.notify_all();
}

fn bind_again(path: &Path) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _guard = runtime.enter();
    bind_control(path).map(|_| ())
}

fn long_path(base: &Path) -> PathBuf {
    let mut dir = base.to_owned();
    while dir.as_os_str().len() < 200 {
        dir.push("a-directory-that-makes-it-long");
        std::fs::create_dir(&dir).unwrap();
    }
    dir.join("control.sock")
}

#[test]
fn a_round_trip_with_progress_on_short_and_long_paths() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("control.sock"), dir.path().join("new/control.sock"), long_path(dir.path())]
    {
        let _daemon = start(&path);
        let mut seen = Vec::new();
        let client = Client::new(&path);
        let done: Value = client.call(&Request::Rescan {}, &mut |now| seen.push(now.files)).unwrap();
        assert_eq!(done, json!({"files": 2}));
        assert_eq!(seen, [1, 2]);
        let done: String = client.call(&Request::Status {}, &mut |_| ()).unwrap();
        assert_eq!(done, "Status");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        // Nothing is left beside it.
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap();
        let left = left.filter(|e| e.as_ref().unwrap().file_type().unwrap().is_file()).count();
        assert_eq!(left, 0);
    }
}

#[test]
fn a_fault_arrives_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _daemon = start(&path);
    let client = Client::new(&path);
    let error = client.call::<Value>(&Request::Receipt { key: "x".to_owned() }, &mut |_| ()).unwrap_err();
    let CallError::Fault(fault) = error else { panic!("{error}") };
    assert_eq!(fault, Fault::new(FaultKind::NotFound, "x", "look elsewhere"));
}

#[test]
fn a_defect_is_answered_and_the_daemon_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _daemon = start(&path);
    let client = Client::new(&path);
    for _ in 0..20 {
        let error = client.call::<Value>(&Request::DriveList {}, &mut |_| ()).unwrap_err();
        assert!(matches!(&error, CallError::Fault(f) if f.kind == FaultKind::Internal), "{error}");
    }
    client.call::<Value>(&Request::Status {}, &mut |_| ()).unwrap();
}

fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    // The daemon may hang up before it has read everything.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut text = String::new();
    drop(stream.read_to_string(&mut text));
    text
}

#[test]
fn what_is_no_request_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _daemon = start(&path);
    let mut long = vec![b' '; MAX_REQUEST + 1];
    long.push(b'\n');
    for bytes in [&b""[..], b"\n", b"\xff\n", b"GET / HTTP/1.1\r\n", b"{\"command\":\"format\"}\n", &long] {
        let text = raw(&path, bytes);
        assert!(text.starts_with("{\"error\":{\"kind\":\"bad-request\""), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
    let mut fits = vec![b' '; 1000];
    fits.extend(b"{\"command\":\"status\"}\n");
    assert_eq!(raw(&path, &fits), "{\"done\":\"Status\"}\n");
}

#[test]
fn a_living_daemons_socket_is_not_taken_and_a_dead_ones_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let daemon = start(&path);
    assert_eq!(bind_again(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    Client::new(&path).call::<Value>(&Request::Status {}, &mut |_| ()).unwrap();

    daemon.stop.send(true).unwrap();
    daemon.runtime.block_on(daemon.ended).unwrap();
    let error = Client::new(&path).call::<Value>(&Request::Status {}, &mut |_| ()).unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(path.exists());

    let _second = start(&path);
    Client::new(&path).call::<Value>(&Request::Status {}, &mut |_| ()).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(bind_again(&path).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn without_a_runtime_it_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    assert!(bind_control(&dir.path().join("control.sock")).is_err());
}

#[test]
fn work_that_nobody_waits_for_any_more_counts_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _daemon = start(&path);
    for _ in 0..16 {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"{\"command\":\"person-list\"}\n").unwrap();
        // Begun, and broken off.
        stream.read_exact(&mut [0; 8]).unwrap();
    }
    let began = std::time::Instant::now();
    Client::new(&path).call::<Value>(&Request::Status {}, &mut |_| ()).unwrap();
    assert!(began.elapsed().as_millis() > 500, "{:?}", began.elapsed());
}

#[test]
fn the_connections_wait_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _daemon = start(&path);
    let idle: Vec<UnixStream> = (0..16).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let asking = {
        let path = path.clone();
        std::thread::spawn(move || Client::new(&path).call::<Value>(&Request::Status {}, &mut |_| ()))
    };
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!asking.is_finished());
    drop(idle);
    asking.join().unwrap().unwrap();
}
