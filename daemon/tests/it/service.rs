//! What the service manager hears (sd_notify(3)) and what the journal gets: the real binary, the sockets a test's own.
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::daemon::Daemon;
use crate::support::mounted::leave_out;
use crate::support::wire;

const GIVE_UP: Duration = Duration::from_secs(60);

/// The other end: a socket, and everything that was said so far.
struct Listener {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Listener {
    fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, heard: Vec::new() }
    }

    /// The next message, if one comes within a moment.
    fn next(&mut self) -> Option<String> {
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer).ok()?;
        self.heard.push(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned());
        self.heard.last().cloned()
    }

    /// Listens until something was said.
    fn until(&mut self, what: &str, said: impl Fn(&[String]) -> bool) {
        let began = Instant::now();
        while !said(&self.heard) {
            assert!(began.elapsed() < GIVE_UP, "never {what}: {:?}", self.heard);
            self.next();
        }
    }

    fn rest(&mut self) {
        while self.next().is_some() {}
    }

    fn count(&self, message: &str) -> usize {
        self.heard.iter().filter(|heard| *heard == message).count()
    }
}

fn service(dir: &Path, more: &[&str]) -> (Listener, Daemon) {
    let path = dir.join("notify");
    let listener = Listener::bind(&path);
    let socket = format!("NOTIFY_SOCKET={}", path.display());
    let under = [&["env", "-u", "WATCHDOG_PID", "-u", "WATCHDOG_USEC", &socket], more].concat();
    let mut daemon = Daemon::new(dir, 5, &under);
    daemon.require_mount = true;
    (listener, daemon)
}

fn says(what: &'static str) -> impl Fn(&[String]) -> bool {
    move |heard| heard.iter().any(|message| message.starts_with(what))
}

#[test]
fn the_service_manager_hears_of_start_health_life_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut manager, mut daemon) = service(dir.path(), &["WATCHDOG_USEC=200000"]);
    daemon.spawn();
    manager.until("ready", says("READY=1"));
    // From this moment on others are started that rely on it: no patience with the answer.
    for address in [daemon.address, daemon.other_address()] {
        drop(TcpStream::connect(address).unwrap());
    }
    assert_eq!(wire::request(daemon.address, "", "GET", "/health", "", b"").unwrap().status, 200);
    manager.until("how it is", says("STATUS=red: "));
    // A watchdog that is fed once is a watchdog that bites at the second period.
    manager
        .until("alive, again and again", |heard| heard.iter().filter(|m| *m == "WATCHDOG=1").count() >= 10);
    assert_eq!(manager.count("STOPPING=1"), 0);
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    manager.rest();
    assert_eq!((manager.count("READY=1"), manager.count("STOPPING=1")), (1, 1), "{:?}", manager.heard);
    let known = ["READY=1", "STATUS=", "WATCHDOG=1", "STOPPING=1"];
    let strange = manager.heard.iter().find(|message| !known.iter().any(|k| message.starts_with(k)));
    assert_eq!(strange, None);
}

#[test]
fn who_cannot_listen_is_never_ready() {
    let dir = tempfile::tempdir().unwrap();
    let (mut manager, mut daemon) = service(dir.path(), &["WATCHDOG_USEC=200000"]);
    // The folder is there, and no socket can be made in it.
    std::fs::create_dir(dir.path().join("control.sock")).unwrap();
    std::fs::write(dir.path().join("control.sock/file"), "").unwrap();
    daemon.spawn();
    assert!(daemon.ended().is_some_and(|code| code != 0));
    manager.rest();
    assert_eq!(manager.count("READY=1"), 0, "{:?}", manager.heard);
}

#[test]
fn without_a_watchdog_nobody_is_fed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut manager, mut daemon) = service(dir.path(), &[]);
    daemon.spawn();
    manager.until("how it is", says("STATUS="));
    assert_eq!(daemon.end(Signal::SIGINT), Some(0));
    manager.rest();
    assert_eq!((manager.count("WATCHDOG=1"), manager.count("STOPPING=1")), (0, 1));
}

/// Puts a folder of the test's in the place of the journal's, for one process and its children, and connects its standard
/// error to the journal as systemd.exec(5) says it is told, or to nothing that it is told of.
const WITH_JOURNAL: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
    mount --bind \"$0\" /run/systemd/journal && JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/$1) && \
    export JOURNAL_STREAM && shift && exec \"$@\"";

/// A daemon where there is a journal, with the descriptor that is connected to it; and the journal's end.
fn with_journal(dir: &Path, connected: &str) -> Result<(Listener, Daemon), String> {
    let journal = dir.join("journal");
    std::fs::create_dir(&journal).unwrap();
    let place = journal.to_str().unwrap();
    let under = ["unshare", "--map-root-user", "--mount", "sh", "-c", WITH_JOURNAL, place, connected];
    let tried = Command::new(under[0]).args(&under[1..]).arg("true").output();
    if !tried.as_ref().is_ok_and(|done| done.status.success()) {
        return Err(format!("no namespaces of its own: {tried:?}"));
    }
    let mut daemon = Daemon::new(dir, 5, &under);
    daemon.require_mount = true;
    Ok((Listener::bind(&journal.join("socket")), daemon))
}

#[test]
fn the_journal_gets_records_with_fields_and_standard_error_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, mut daemon) = match with_journal(dir.path(), "2") {
        Ok(both) => both,
        Err(why) => return leave_out("journal", &why),
    };
    daemon.spawn();
    journal.until("what is wrong", |heard| heard.iter().any(|record| record.contains("no-primary")));
    let record = journal.heard.iter().find(|record| record.contains("no-primary")).unwrap();
    let fields: Vec<&str> = record.lines().collect();
    for field in ["SYSLOG_IDENTIFIER=shoebox", "PRIORITY=3"] {
        assert!(fields.contains(&field), "{field}: {record}");
    }
    for field in ["MESSAGE", "CODE"] {
        assert!(fields.iter().any(|line| line.split('=').next() == Some(field)), "{field}: {record}");
    }
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    assert_eq!(daemon.log(), "");
}

#[test]
fn who_runs_it_in_a_terminal_sees_the_records_there_and_the_journal_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, mut daemon) = match with_journal(dir.path(), "0") {
        Ok(both) => both,
        Err(why) => return leave_out("terminal", &why),
    };
    daemon.spawn();
    daemon.until("it says what is wrong", |d| d.log().contains("no-primary"));
    assert!(daemon.log().starts_with("error: "), "{}", daemon.log());
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    journal.rest();
    assert_eq!(journal.heard, [""; 0]);
}

#[test]
fn without_a_journal_the_records_are_lines_on_standard_error() {
    let dir = tempfile::tempdir().unwrap();
    // The variable of another process's standard error, inherited through some terminal.
    let mut daemon = Daemon::new(dir.path(), 5, &["env", "JOURNAL_STREAM=1:1"]);
    daemon.require_mount = true;
    daemon.spawn();
    daemon.until("it says what is wrong", |d| d.log().contains("no-primary"));
    assert!(daemon.log().starts_with("error: "), "{}", daemon.log());
}
