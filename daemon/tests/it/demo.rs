//! The demo as somebody meets it who tries Shoebox out: what it shows, what a restart keeps, and what a receipt says.
use std::io::{BufRead as _, BufReader, Lines};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::daemon::Account;
use crate::support::wire;

const GIVE_UP: Duration = Duration::from_secs(60);

struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    fn start(dir: &Path, listen: SocketAddr, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shoebox"))
            .args(["demo", "--listen", &listen.to_string(), "--dir"])
            .arg(dir)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap_or_else(|| panic!("the demo ended")).unwrap()
    }

    /// Everything up to the line that has `end` in it.
    fn until(&mut self, end: &str) -> Vec<String> {
        let mut all = Vec::new();
        while !all.last().is_some_and(|line: &String| line.contains(end)) {
            all.push(self.line());
        }
        all
    }

    /// Ctrl-C: the exit code, and what it still printed.
    fn interrupt(&mut self) -> (Option<i32>, Vec<String>) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
        let rest = self.lines.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address that no other process, and no other test, takes between a stop and a start: on a loopback address of its own.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(80);
    let [high, low] = u16::try_from(std::process::id() % 60_000).unwrap().to_be_bytes();
    let ip = Ipv4Addr::new(127, NEXT.fetch_add(1, Ordering::SeqCst), high, low);
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

fn anna(password: &str) -> Account {
    Account { user: "anna".to_owned(), password: password.to_owned() }
}

fn request(to: SocketAddr, password: &str, method: &str, name: &str, body: &[u8]) -> wire::Reply {
    wire::request(to, &anna(password).basic(), method, &format!("/dav/{name}"), "", body).unwrap()
}

fn ask(dir: &Path, args: &[&str]) -> Output {
    let config = dir.join("config.toml");
    Command::new(env!("CARGO_BIN_EXE_shoebox")).arg("--config").arg(config).args(args).output().unwrap()
}

fn receipt(dir: &Path, which: &str) -> Value {
    serde_json::from_slice(&ask(dir, &["receipt", which, "--json"]).stdout).unwrap_or_default()
}

/// The receipt once `enough` of its copies are verified.
fn once(dir: &Path, which: &str, enough: usize) -> Value {
    let began = Instant::now();
    loop {
        let found = receipt(dir, which);
        let copies = found["copies"].as_array().cloned().unwrap_or_default();
        if copies.iter().filter(|copy| copy["state"] == "verified").count() >= enough {
            return found;
        }
        assert!(began.elapsed() < GIVE_UP, "{found}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The receipt once both copies are verified and were re-read. Drive A is read back when somebody asks for it, and B's copy has to be
/// there by then, or the re-reading is over before it was made.
fn verified(dir: &Path, which: &str) -> Value {
    drop(once(dir, which, 1));
    assert_eq!(ask(dir, &["verify"]).status.code(), Some(0));
    once(dir, which, 2)
}

#[test]
fn a_restart_at_the_same_address_tells_all_seven_facts_again_and_has_the_photos() {
    let dir = tempfile::tempdir().unwrap();
    let at = own_address();
    let mut told = Vec::new();
    for start in 0..3 {
        let mut demo = Demo::start(dir.path(), at, &["--json"]);
        let facts: Value = serde_json::from_str(&demo.line()).unwrap();
        let password = facts["password"].as_str().unwrap().to_owned();
        assert_eq!(facts["web_url"], format!("http://{at}/"));
        for earlier in 0..start {
            let found = request(at, &password, "GET", &format!("{earlier}.jpg"), b"");
            assert_eq!((found.status, found.body), (200, vec![earlier; 1000]));
        }
        let mine = request(at, &password, "PUT", &format!("{start}.jpg"), &[start; 1000]);
        assert_eq!(mine.status, 201, "{}", mine.text);
        told.push(facts);
        // One restart after Ctrl-C, one after a power cut.
        if start == 0 {
            assert_eq!(demo.interrupt().0, Some(0));
        }
    }
    assert_eq!(told[0].as_object().unwrap().len(), 7);
    assert_eq!((&told[0], &told[0]), (&told[1], &told[2]));
}

#[test]
fn a_receipt_has_a_line_for_each_drive_with_dates_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let at = own_address();
    let before = Timestamp::now();
    let mut demo = Demo::start(dir.path(), at, &["--json"]);
    let facts: Value = serde_json::from_str(&demo.line()).unwrap();
    let put = request(at, facts["password"].as_str().unwrap(), "PUT", "a.jpg", b"a photo");
    assert_eq!(put.status, 201);
    let by_name = verified(dir.path(), "anna/phone/a.jpg");
    let hash = by_name["hash"].as_str().unwrap();
    assert_eq!(receipt(dir.path(), hash), by_name);
    let mut roles = Vec::new();
    for copy in by_name["copies"].as_array().unwrap() {
        let mut keys: Vec<&str> = copy.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["drive", "reread_at", "role", "settled_at", "state", "verified_at"]);
        roles.push(copy["role"].as_str().unwrap());
        let date = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
        let [settled, verified, reread] =
            ["settled_at", "verified_at", "reread_at"].map(|key| date(&copy[key]));
        let received = date(&by_name["received_at"]);
        let dates = [before, received, settled, verified, reread, Timestamp::now()];
        // The box counts in milliseconds in some of them.
        let late = |pair: &[Timestamp]| pair[0].as_second() > pair[1].as_second();
        assert!(!dates.windows(2).any(late), "{dates:?}");
    }
    roles.sort_unstable();
    assert_eq!(roles, ["mirror", "primary"]);
    assert_eq!(by_name["size"], 7);
}

#[test]
fn for_a_person_it_shows_how_to_sign_in_and_a_line_for_each_photo() {
    let dir = tempfile::tempdir().unwrap();
    let at = own_address();
    let mut demo = Demo::start(dir.path(), at, &[]);
    let shown = demo.until("Ctrl-C");
    let text = shown.join("\n");
    let told = |key: &str| {
        let line = shown.iter().find(|line| line.trim_start().starts_with(key));
        line.unwrap_or_else(|| panic!("no {key}: {text}")).split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!((told("address"), told("user")), (format!("http://{at}/dav/"), "anna".to_owned()));
    let password = told("password");
    // A code of version 2 or more, two dots a character in height, within its quiet zone.
    let of_code = |line: &&String| {
        let drawn = line.trim();
        drawn.chars().count() >= 25
            && drawn.chars().all(|c| matches!(c, ' ' | '\u{2580}' | '\u{2584}' | '\u{2588}'))
    };
    assert!(shown.iter().filter(of_code).count() >= 12, "{text}");

    for name in ["first.jpg", "second.jpg"] {
        assert_eq!(request(at, &password, "PUT", name, name.as_bytes()).status, 201);
    }
    drop(verified(dir.path(), "anna/phone/first.jpg"));
    drop(verified(dir.path(), "anna/phone/second.jpg"));
    let (code, news) = demo.interrupt();
    assert_eq!(code, Some(0));
    let wanted = ["first.jpg", "second.jpg"].map(|name| {
        let of = |what: &str| format!("anna/phone/{name}  {what}");
        [of("received ("), of("read back from drive B: equal")]
    });
    for event in wanted.as_flattened() {
        assert_eq!(news.iter().filter(|line| line.contains(event)).count(), 1, "{event}: {news:?}");
    }
    assert_eq!(news.len(), 4, "{news:?}");
}
