//! Little memory, few file descriptors, and a thousand clients that say nothing: the box stays within its bounds, and whoever
//! uploads gets through (I23; goals 3 and 19). The real binary.
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::daemon::{Account, Daemon};
use crate::support::luck;
use crate::support::mounted::leave_out;
use crate::support::wire::{self, Reply};

const LIMIT: u64 = 256 << 20;

/// A control group of version 1 whose memory is bounded; gone when the test is over.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Self, String> {
        let at = PathBuf::from(format!("/sys/fs/cgroup/memory/shoebox-test-{}", std::process::id()));
        fs::create_dir(&at).map_err(|e| format!("no memory control group can be made: {e}"))?;
        let group = Self(at);
        group.write("memory.limit_in_bytes", &LIMIT.to_string())?;
        // Where there is swap, it does not help either.
        drop(group.write("memory.memsw.limit_in_bytes", &LIMIT.to_string()));
        Ok(group)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        fs::write(self.0.join(file), text).map_err(|e| format!("{file}: {e}"))
    }

    fn number(&self, file: &str) -> u64 {
        fs::read_to_string(self.0.join(file)).unwrap().trim().parse().unwrap()
    }

    /// What a program is started by to be in it.
    fn enter(&self) -> [String; 4] {
        let line = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", self.0.display());
        ["sh".to_owned(), "-c".to_owned(), line, "sh".to_owned()]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last process in it may not be reaped yet.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn furnish(dir: &Path, under: &[&str], connections: [u32; 2]) -> (Daemon, Account) {
    for drive in ["a", "b"] {
        fs::create_dir(dir.join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir, 10, under);
    daemon.connections = connections;
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    (daemon, who)
}

#[test]
fn eight_uploads_at_once_fit_into_256_mib() {
    let group = match Group::new() {
        Ok(group) => group,
        Err(why) => return leave_out("little-memory", &why),
    };
    let mib = luck::size("SHOEBOX_SCARCE_MIB", 48);
    let dir = tempfile::tempdir().unwrap();
    let enter = group.enter();
    let (mut daemon, who) = furnish(dir.path(), &enter.each_ref().map(String::as_str), [64, 32]);
    let pid = daemon.pid();
    std::thread::scope(|scope| {
        let (daemon, who) = (&daemon, &who);
        for number in 0..8 {
            scope.spawn(move || {
                let film = luck::bytes(number, (mib << 20) as usize);
                let reply = daemon.request(who, "PUT", &format!("/dav/{number}.mov"), "", &film);
                assert_eq!(reply.status, 201, "{}", reply.text);
            });
        }
    });
    for number in 0..8 {
        daemon.until("B has it", |d| d.is_mirrored(&format!("anna/{number}.mov")));
    }
    assert_eq!(daemon.run(&["verify"]).0, 0);
    let (used, peak) = (group.number("memory.max_usage_in_bytes") >> 20, daemon.peak_memory() >> 20);
    println!(
        "scarce: 8 x {mib} MiB within 256 MiB: {used} MiB with page cache, {peak} MiB of its own, at most"
    );
    assert!(daemon.lives() && daemon.pid() == pid, "it was not killed for want of memory");
    assert!((peak..=256).contains(&used), "{used} MiB: the kernel does not count");
    assert!(peak < 200, "{peak} MiB");
    drop(daemon);
}

/// A connection from another address of this machine.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    let made: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(made.as_raw_fd(), &SockaddrIn::new(from[0], from[1], from[2], from[3], 0)).unwrap();
    connect(made.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, to.port())).unwrap();
    TcpStream::from(made)
}

/// An upload of a client that waits as long as phones do.
fn upload(daemon: &Daemon, who: &Account, name: &str) -> (Option<Reply>, Duration) {
    let began = Instant::now();
    let (basic, to) = (who.basic(), daemon.address);
    let mut stream = connect_from([127, 0, 0, 9], to);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let body = luck::bytes(7, 50_000);
    let head = format!(
        "PUT /dav/{name} HTTP/1.1\r\nHost: {to}\r\nAuthorization: {basic}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    let mut answer = Vec::new();
    let _end = stream.read_to_end(&mut answer);
    (Reply::parse(&answer), began.elapsed())
}

/// Seconds of processor time the daemon used so far.
fn processor(daemon: &Daemon) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Uploads beside many connections that keep their places, and says how long it took. What they cost stays bounded.
fn uploads_beside(daemon: &Daemon, who: &Account, idle: &[TcpStream], kind: &str) -> Duration {
    let before = processor(daemon);
    let (reply, took) = upload(daemon, who, "a.jpg");
    let spent = processor(daemon) - before;
    let peak = daemon.peak_memory();
    println!(
        "scarce: an upload beside {} connections that {kind} took {:.1} s; {spent:.1} s of processor, {} MiB at most",
        idle.len(),
        took.as_secs_f32(),
        peak >> 20
    );
    assert!(reply.is_some_and(|reply| reply.is_success()), "{kind}: {took:?}");
    assert!(spent < took.as_secs_f64() / 2.0 + 1.0, "{spent} s of processor in {took:?}");
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
    took
}

#[test]
fn an_upload_gets_through_a_thousand_clients_that_say_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, who) = furnish(dir.path(), &[], [64, 32]);
    let idle: Vec<TcpStream> = (0..1000).map(|_| wire::connect(daemon.address).unwrap()).collect();
    let took = uploads_beside(&daemon, &who, &idle, "say nothing, of one address");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// As many addresses, so that no share of one of them bounds what they take: whoever is silent gives way.
#[test]
fn an_upload_gets_through_a_thousand_addresses_that_keep_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, who) = furnish(dir.path(), &[], [64, 32]);
    let asked = format!("GET /dav/ HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address);
    for (kind, says) in [
        ("say nothing", ""),
        ("never end their head", "PUT /dav/x HTTP/1.1\r\nHost: "),
        ("ask once", asked.as_str()),
    ] {
        let idle: Vec<TcpStream> = (0..1000_u16)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                let mut stream = connect_from([127, 1, high, low], daemon.address);
                stream.write_all(says.as_bytes()).unwrap();
                stream
            })
            .collect();
        let took = uploads_beside(&daemon, &who, &idle, &format!("{kind}, of as many addresses"));
        // 64 of them give way every half second.
        assert!(took < Duration::from_secs(12), "{took:?}");
    }
}

#[test]
fn few_descriptors_are_enough_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, who) = furnish(dir.path(), &["prlimit", "--nofile=64:64"], [128, 128]);
    assert_eq!(daemon.request(&who, "PUT", "/dav/before.jpg", "", b"before").status, 201);
    let idle: Vec<TcpStream> = (0..200).map(|_| wire::connect(daemon.address).unwrap()).collect();
    let (before, began) = (processor(&daemon), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let (spent, took) = (processor(&daemon) - before, began.elapsed());
    assert!(spent < took.as_secs_f64() / 2.0, "{spent} s of processor in {took:?}: it spins");
    let short = daemon.log().contains("could not accept a connection");
    drop(idle);
    daemon.until("it takes uploads", |d| {
        wire::request(d.address, &who.basic(), "PUT", "/dav/a.jpg", "", b"after")
            .is_ok_and(|r| r.is_success())
    });
    daemon.until("B has it", |d| d.is_mirrored("anna/a.jpg") && d.is_mirrored("anna/before.jpg"));
    assert_eq!(daemon.run(&["verify"]).0, 0);
    println!(
        "scarce: 64 descriptors, 200 idle connections: {spent:.2} s of processor in {:.1} s",
        took.as_secs_f32()
    );
    assert!(short, "descriptors never ran out, and nothing is shown");
}
