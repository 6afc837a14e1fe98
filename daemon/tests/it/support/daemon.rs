//! A box of the real binary: two folders for drives, people and devices, killed and started at will.
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::Value;

use super::wire;

/// What comes late on a loaded machine still comes; what does not come in two minutes is a hang. How soon something has to come is for
/// the tests to measure that promise it.
const GIVE_UP: Duration = Duration::from_secs(120);

/// A device that may sign in.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Account {
    /// The value of its `Authorization` header.
    pub(crate) fn basic(&self) -> String {
        let pair = format!("{}:{}", self.user, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

/// A box in a folder of its own.
pub(crate) struct Daemon {
    pub(crate) dir: PathBuf,
    pub(crate) address: SocketAddr,
    idle_seconds: u64,
    /// Whether it takes only mount points for drives, as the box does and no test with mere folders can.
    pub(crate) require_mount: bool,
    /// Connections it takes, in all and from one address.
    pub(crate) connections: [u32; 2],
    /// Where its control socket is.
    pub(crate) socket: PathBuf,
    /// Settings besides those that every test has: whole tables.
    pub(crate) more: String,
    /// What it writes into its log, at least.
    pub(crate) log_level: &'static str,
    /// Minutes between two walks over the whole tree.
    pub(crate) walk_minutes: u64,
    /// What its command line begins with: programs that become the next one, as `env` does.
    under: Vec<String>,
    child: Option<Child>,
}

/// A port that nobody listens on. Below those that the kernel gives to clients: one of them could take it before the daemon does.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const MANY: u32 = 22_000;
    // Other programs of tests begin elsewhere.
    let begin = std::process::id().wrapping_mul(7919);
    loop {
        let port = FIRST + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % MANY;
        let port = u16::try_from(port).unwrap();
        // Asked, not bound: a child of another test, between its fork and its exec, would keep what was bound from the daemon.
        let taken = |address| TcpStream::connect((address, port)).is_ok();
        if !taken("127.0.0.1") && !taken("127.0.0.2") {
            return port;
        }
    }
}

impl Daemon {
    /// Furnishes a box: drives `a` and `b` adopted, nobody there yet. `idle_seconds`: how long a silent client is
    /// waited for.
    pub(crate) fn furnish(dir: &Path, idle_seconds: u64) -> Self {
        for drive in ["a", "b"] {
            fs::create_dir_all(dir.join(drive)).unwrap();
        }
        let mut daemon = Self::new(dir, idle_seconds, &[]);
        daemon.begin();
        daemon
    }

    /// Starts it for the first time, and has it adopt its drives.
    pub(crate) fn begin(&mut self) {
        self.spawn();
        self.until_it_answers();
        for (drive, role) in [("a", "primary"), ("b", "mirror")] {
            let mount = self.dir.join(drive);
            let adopted = self.run(&["drive", "adopt", mount.to_str().unwrap(), "--role", role]);
            assert_eq!(adopted.0, 0, "{adopted:?}");
        }
    }

    /// One in a folder where there may be drives or none, not started yet.
    pub(crate) fn new(dir: &Path, idle_seconds: u64, under: &[&str]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let under = under.iter().map(|&word| word.to_owned()).collect();
        Self {
            dir: dir.to_owned(),
            address,
            idle_seconds,
            require_mount: false,
            connections: [128, 128],
            socket: dir.join("control.sock"),
            more: String::new(),
            log_level: "warn",
            walk_minutes: 60,
            under,
            child: None,
        }
    }

    /// A second one on the same drives, with an address, a socket and a log of its own. Not waited for.
    pub(crate) fn rival(&self, dir: &Path) -> Self {
        for drive in ["a", "b"] {
            std::os::unix::fs::symlink(self.dir.join(drive), dir.join(drive)).unwrap();
        }
        let mut rival = Self::new(dir, self.idle_seconds, &[]);
        rival.spawn();
        rival
    }

    pub(crate) fn photos(&self) -> PathBuf {
        self.dir.join("a/photos")
    }

    /// Starts it, and returns once it takes uploads again.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.until("the primary is ready", |d| {
            let (_, text) = d.run(&["drive", "list", "--json"]);
            let drives: Value = serde_json::from_str(&text).unwrap_or_default();
            let ready = |d: &Value| d["standing"]["standing"] == "ready";
            drives.as_array().is_some_and(|all| all.len() == 2 && all.iter().all(ready))
        });
    }

    pub(crate) fn until_it_answers(&mut self) {
        self.until("it answers", |d| d.run(&["status", "--json"]).0 != 3);
    }

    /// Starts it, and returns at once.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none());
        // A port that was free a moment ago; the daemon's own of last time may still be in use by its connections.
        self.address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        fs::write(self.config(), self.settings()).unwrap();
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let config = self.config();
        let own = [env!("CARGO_BIN_EXE_shoebox"), "--config", config.to_str().unwrap(), "serve"];
        let line: Vec<&str> = self.under.iter().map(String::as_str).chain(own).collect();
        let child = Command::new(line[0]).args(&line[1..]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
    }

    fn settings(&self) -> String {
        // A third place for a drive, for whoever makes it.
        let mounts: Vec<_> = ["a", "b", "c"].iter().map(|drive| self.dir.join(drive)).collect();
        let mounts: Vec<_> = mounts.iter().filter(|mount| !mount.ends_with("c") || mount.exists()).collect();
        let (socket, cache) = (&self.socket, self.dir.join("previews"));
        let (address, other, idle) = (self.address, self.other_address(), self.idle_seconds);
        let (mount, walk, more) = (self.require_mount, self.walk_minutes, &self.more);
        let log = self.log_level;
        let [connections, per_ip] = self.connections;
        // Who does what takes root, for tests that have somebody who does.
        let (reports, requests) = (self.dir.join("run"), self.dir.join("requests.sock"));
        format!(
            "[http]\nlisten = [\"{address}\", \"{other}\"]\npublic_url = \"https://photos.example.org\"\nconnections = {connections}\nper_ip = {per_ip}\nheader_seconds = {idle}\n\
             idle_seconds = {idle}\n[drives]\nmounts = {mounts:?}\nrequire_mount = {mount}\nreports = {reports:?}\nrequests = {requests:?}\n[control]\n\
             socket = {socket:?}\n[previews]\ncache = {cache:?}\n[rescan]\nperiod_minutes = {walk}\nquiet_seconds = 1\n[log]\nlevel = \"{log}\"\n{more}"
        )
    }

    /// A second address it listens on.
    pub(crate) fn other_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 2], self.address.port()))
    }

    fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// SIGKILL: a power cut without the loss of what the kernel holds.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end, and waits for its exit code.
    pub(crate) fn end(&mut self, signal: nix::sys::signal::Signal) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
        self.ended()
    }

    /// Waits until it ends by itself: its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let began = Instant::now();
        while self.lives() {
            assert!(began.elapsed() < GIVE_UP, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.take().unwrap().wait().unwrap().code()
    }

    /// Whether the process is there at all.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Its peak of memory, bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The command line: exit code and standard output.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String) {
        let done = Command::new(env!("CARGO_BIN_EXE_shoebox"))
            .arg("--config")
            .arg(self.config())
            .args(args)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap())
    }

    /// The command line, for what it says.
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        let (code, text) = self.run(args);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{args:?} ended with {code}: {text}"))
    }

    /// A person's first device, the person too.
    pub(crate) fn add_person(&self, person: &str, device: &str, kind: &str) -> Account {
        assert_eq!(self.run(&["person", "add", person]).0, 0);
        self.add_device(person, device, kind)
    }

    pub(crate) fn add_device(&self, person: &str, device: &str, kind: &str) -> Account {
        let made = self.ask(&["device", "add", person, device, "--kind", kind, "--json"]);
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        Account { user: text("user"), password: text("password") }
    }

    /// Whether the copy of a name on B is recorded as read back.
    pub(crate) fn is_mirrored(&self, name: &str) -> bool {
        let (_, text) = self.run(&["receipt", name, "--json"]);
        let receipt: Value = serde_json::from_str(&text).unwrap_or_default();
        let on_b = |copy: &Value| copy["role"] == "mirror" && copy["state"] == "verified";
        receipt["copies"].as_array().is_some_and(|copies| copies.iter().any(on_b))
    }

    /// Waits for something that must come true.
    pub(crate) fn until(&mut self, what: &str, there: impl FnMut(&Self) -> bool) {
        self.until_within(GIVE_UP, what, there);
    }

    /// The same for what a worker makes true that rests for a minute when it has nothing to do.
    pub(crate) fn until_a_minute_later(&mut self, what: &str, there: impl FnMut(&Self) -> bool) {
        self.until_within(Duration::from_secs(60) + GIVE_UP, what, there);
    }

    fn until_within(&mut self, most: Duration, what: &str, mut there: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !there(self) {
            assert!(self.lives(), "the daemon ended while waiting until {what}:\n{}", self.log());
            assert!(began.elapsed() < most, "never {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One request of a client that behaves.
    pub(crate) fn request(
        &self,
        who: &Account,
        method: &str,
        target: &str,
        more: &str,
        body: &[u8],
    ) -> wire::Reply {
        wire::request(self.address, &who.basic(), method, target, more, body)
            .unwrap_or_else(|e| panic!("{method} {target}: no answer: {e}\n{}", self.log()))
    }
}

impl Daemon {
    /// What a test that fails leaves behind: what the box said of its drives at that moment, and the end of its log.
    fn last_words(&self) -> String {
        let drives = Command::new("timeout")
            .args(["10", env!("CARGO_BIN_EXE_shoebox"), "--config"])
            .arg(self.config())
            .args(["drive", "list", "--json"])
            .output();
        let drives =
            drives.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
        let log = self.log();
        let begin = log.lines().count().saturating_sub(60);
        let log: Vec<&str> = log.lines().skip(begin).collect();
        format!("drives at the failure: {drives}\nthe end of the log:\n{}", log.join("\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() && self.child.is_some() {
            println!("{}", self.last_words());
        }
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
