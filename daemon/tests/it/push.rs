//! `shoebox push`: a real box and real runs of the uploader, which share nothing but the wire.
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, hashes, listing};
use crate::support::luck;

const MIB: usize = 1 << 20;

/// A computer that pushes: a home of its own, with pictures in it.
pub(crate) struct Laptop {
    pub(crate) home: PathBuf,
    address: String,
    pub(crate) account: Account,
    path: Option<PathBuf>,
}

impl Laptop {
    pub(crate) fn new(dir: &Path, daemon: &Daemon, account: &Account) -> Self {
        let home = dir.join("home");
        fs::create_dir_all(home.join("Pictures")).unwrap();
        let address = format!("http://{}", daemon.address);
        Self { home, address, account: account.clone(), path: None }
    }

    /// Programs of this folder only.
    fn with_programs(mut self, dir: PathBuf) -> Self {
        self.path = Some(dir);
        self
    }

    pub(crate) fn pictures(&self) -> PathBuf {
        self.home.join("Pictures")
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.pictures().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoebox"));
        command.arg("push").args(more).env_clear().env("HOME", &self.home);
        command.env("SHOEBOX_PUSH_ADDRESS", &self.address).env("SHOEBOX_PUSH_USER", &self.account.user);
        command.env("SHOEBOX_PUSH_PASSWORD", &self.account.password);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }

    pub(crate) fn push_with(&self, more: &[&str]) -> (i32, Value, String) {
        let pictures = self.pictures();
        let mut all = vec![pictures.to_str().unwrap(), "--json"];
        all.extend(more);
        let done = self.command(&all).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let report = serde_json::from_slice(&done.stdout).unwrap_or_default();
        (done.status.code().unwrap_or(-1), report, said)
    }

    pub(crate) fn push(&self) -> (i32, Value, String) {
        self.push_with(&[])
    }

    pub(crate) fn spawn(&self, more: &[&str]) -> Child {
        let pictures = self.pictures();
        let mut all = vec![pictures.to_str().unwrap(), "--json"];
        all.extend(more);
        self.command(&all).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The box by another way.
    pub(crate) fn follow(&mut self, address: SocketAddr) {
        self.address = format!("http://{address}");
    }
}

pub(crate) fn counts(report: &Value) -> [u64; 4] {
    let failed = report["failed"].as_array().map_or(u64::MAX, |all| all.len() as u64);
    let count = |key: &str| report[key].as_u64().unwrap_or(u64::MAX);
    [count("uploaded"), count("already_there"), count("unchanged"), failed]
}

fn scene(kind: &str) -> (tempfile::TempDir, Daemon, Laptop) {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 20);
    let account = daemon.add_person("anna", "laptop", kind);
    let laptop = Laptop::new(dir.path(), &daemon, &account);
    (dir, daemon, laptop)
}

/// Uploads in parts that wait on the box, with the bytes in each.
fn waiting(daemon: &Daemon) -> Vec<u64> {
    let uploads = daemon.dir.join("a/.shoebox/uploads");
    let is_part = |name: &String| name.rsplit('/').next().is_some_and(|last| last.parse::<u64>().is_ok());
    let sizes = listing(&uploads).into_keys().filter(is_part);
    sizes.map(|name| fs::metadata(uploads.join(name)).map_or(0, |about| about.len())).collect()
}

#[test]
fn a_first_run_a_second_that_sends_nothing_and_what_changed() {
    let (_dir, mut daemon, laptop) = scene("computer");
    laptop.write("2026/Rome/IMG_1.jpg", b"one");
    laptop.write("2026/Rome/IMG_2.jpg", b"two");
    laptop.write("Screenshots/s.png", b"a screenshot");
    laptop.write("notes.txt", b"no photo");
    laptop.write("half.jpg.part", b"not finished");
    laptop.write("empty.jpg", b"");
    let film = luck::bytes(1, 40 * MIB + 17);
    laptop.write("film.mp4", &film);
    let old = fs::File::options().write(true).open(laptop.pictures().join("2026/Rome/IMG_1.jpg")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000)).unwrap();

    let (code, report, said) = laptop.push_with(&["--exclude", "Screenshots"]);
    assert_eq!((code, counts(&report)), (0, [3, 0, 0, 0]), "{report} {said}");
    assert_eq!((report["total"].as_u64(), report["not_photos"].as_u64()), (Some(3), Some(1)), "{report}");
    assert!(report["last_backup"].is_string());
    let on_a = listing(&daemon.photos());
    let files: Vec<&String> = on_a.keys().filter(|name| !name.ends_with('/')).collect();
    assert_eq!(
        files,
        ["anna/Pictures/2026/Rome/IMG_1.jpg", "anna/Pictures/2026/Rome/IMG_2.jpg", "anna/Pictures/film.mp4"]
    );
    assert_eq!(on_a["anna/Pictures/film.mp4"], hash(&film));
    let kept =
        fs::metadata(daemon.photos().join("anna/Pictures/2026/Rome/IMG_1.jpg")).unwrap().modified().unwrap();
    assert_eq!(kept.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_600_000_000);
    for name in files {
        daemon.until("it is on B", |d| d.is_mirrored(name));
    }
    // Nothing is sent twice, also when all that was noted is lost.
    let (code, report, said) = laptop.push_with(&["--exclude", "Screenshots"]);
    assert_eq!((code, counts(&report)), (0, [0, 0, 3, 0]), "{report} {said}");
    fs::remove_dir_all(laptop.home.join(".local")).unwrap();
    let (code, report, said) = laptop.push_with(&["--exclude", "Screenshots"]);
    assert_eq!((code, counts(&report)), (0, [0, 3, 0, 0]), "{report} {said}");

    // A new one, an edited one, one that was moved, one only touched.
    laptop.write("2026/Rome/IMG_3.jpg", b"three");
    laptop.write("2026/Rome/IMG_2.jpg", b"two, edited");
    fs::rename(laptop.pictures().join("film.mp4"), laptop.pictures().join("2026/film.mp4")).unwrap();
    laptop.write("2026/Rome/IMG_1.jpg", b"one");
    let (code, report, said) = laptop.push();
    assert_eq!((code, counts(&report)), (0, [3, 1, 1, 0]), "{report} {said}");
    let names: BTreeSet<String> =
        listing(&daemon.photos()).into_keys().filter(|name| !name.ends_with('/')).collect();
    assert!(names.contains("anna/Pictures/Screenshots/s.png"), "{names:?}");
    let contents: Vec<String> = hashes(&daemon.photos());
    for bytes in [&b"two"[..], b"two, edited", b"three"] {
        assert!(contents.contains(&hash(bytes)), "{names:?}");
    }
    let (code, text) = {
        let done = laptop.command(&["--status"]).output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap())
    };
    assert_eq!(code, Some(0));
    assert!(text.contains("0 failed") && text.contains("Last complete backup:"), "{text}");
    assert!(waiting(&daemon).is_empty());
}

#[test]
fn an_edit_is_sent_beside_and_nothing_is_replaced() {
    let (_dir, daemon, laptop) = scene("computer");
    laptop.write("a.jpg", b"first");
    // Not sent: the box has these bytes, and goes on having them.
    laptop.write("copy/of a.jpg", b"first");
    let (_, report, said) = laptop.push_with(&["--parallel", "1"]);
    assert_eq!(counts(&report)[0] + counts(&report)[1], 2, "{report} {said}");
    for text in ["second", "third"] {
        laptop.write("a.jpg", text.as_bytes());
        let (_, report, said) = laptop.push();
        assert_eq!(counts(&report), [1, 0, 1, 0], "{report} {said}");
    }
    let contents = hashes(&daemon.photos());
    for text in ["first", "second", "third"] {
        assert!(contents.contains(&hash(text.as_bytes())), "{text}");
    }
    assert!(daemon.photos().join("anna/Pictures/a (2).jpg").exists());
    assert!(daemon.photos().join("anna/Pictures/a (3).jpg").exists());
    assert!(hashes(&daemon.dir.join("a/.shoebox/trash")).is_empty());
    assert_eq!(counts(&laptop.push().1), [0, 0, 2, 0]);
}

#[test]
fn live_photos_stay_together_under_names_that_fit() {
    let (_dir, daemon, laptop) = scene("phone");
    let other = daemon.add_device("anna", "other", "computer");
    assert_eq!(daemon.request(&other, "MKCOL", "/dav/laptop/Pictures", "", b"").status, 201);
    let put = daemon.request(&other, "PUT", "/dav/laptop/Pictures/IMG_1.MOV", "", b"another film");
    assert_eq!(put.status, 201, "{}", put.text);
    laptop.write("IMG_1.HEIC", b"still");
    laptop.write("IMG_1.MOV", b"moving");
    laptop.write("IMG_1.xmp", b"beside");
    laptop.write("IMG_2.HEIC", b"still 2");
    laptop.write("IMG_2.MOV", b"moving 2");
    let (code, report, said) = laptop.push();
    assert_eq!((code, counts(&report)), (0, [5, 0, 0, 0]), "{report} {said}");
    let found = listing(&daemon.photos());
    let names: Vec<&str> = found
        .keys()
        .filter_map(|name| name.strip_prefix("anna/laptop/Pictures/"))
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        names,
        ["IMG_1 (2).HEIC", "IMG_1 (2).MOV", "IMG_1 (2).xmp", "IMG_1.MOV", "IMG_2.HEIC", "IMG_2.MOV"]
    );
}

#[test]
fn it_is_set_up_once_and_the_password_is_its_owners() {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, daemon, laptop) = scene("computer");
    let path = laptop.home.join(".config/shoebox/push.toml");
    let set_up = |password: &str| {
        let address = format!("{}", daemon.address);
        let pictures = laptop.pictures();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shoebox"))
            .args([
                "push",
                "--setup",
                &address,
                pictures.to_str().unwrap(),
                "--exclude",
                "Screenshots",
                "--only-charging",
            ])
            .env_clear()
            .env("HOME", &laptop.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "Anna\n{password}").unwrap();
        let done = child.wait_with_output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let (code, said) = set_up("wrong-password");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("shoebox device add") && !path.exists(), "{said}");
    let (code, said) = set_up(&laptop.account.password);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("lets anna in") && !said.contains(&laptop.account.password), "{said}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    laptop.write("a.jpg", b"a");
    laptop.write("Screenshots/b.jpg", b"b");
    let supplies = dir.path().join("sys/class/power_supply");
    fs::create_dir_all(&supplies).unwrap();
    let sys = dir.path().join("sys");
    let push = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoebox"));
        command.args(["push", "--json", "--sysfs", sys.to_str().unwrap()]).args(more);
        let done = command.env_clear().env("HOME", &laptop.home).output().unwrap();
        let report = serde_json::from_slice::<Value>(&done.stdout).unwrap_or_default();
        (done.status.code().unwrap(), report, String::from_utf8(done.stderr).unwrap())
    };
    let (code, report, said) = push(&[]);
    assert_eq!((code, counts(&report)), (0, [1, 0, 0, 0]), "{report} {said}");
    // Others may read it: refused, and nobody is told the password.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, said) = push(&[]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("chmod 600"), "{said}");
    // A wrong password, and no settings at all.
    let stranger = Laptop {
        account: Account { user: "anna".into(), password: "no".into() },
        ..Laptop::new(dir.path(), &daemon, &laptop.account)
    };
    fs::remove_file(&path).unwrap();
    let (code, report, said) = stranger.push();
    assert_eq!((code, report["outcome"].as_str()), (1, Some("sign-in")), "{report} {said}");
    let (code, _, said) = push(&[]);
    assert_eq!(code, 2);
    assert!(said.contains("shoebox push --setup"), "{said}");
}

/// A program that prints this, in a folder of its own.
fn program(dir: &Path, name: &str, prints: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join(name), format!("#!/bin/sh\nprintf '%s\\n' '{prints}'\n")).unwrap();
    fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn on_a_metered_network_and_on_battery() {
    let (dir, daemon, laptop) = scene("computer");
    let programs = dir.path().join("bin");
    let laptop = laptop.with_programs(programs.clone());
    laptop.write("a.jpg", b"photo");
    laptop.write("b.mp4", b"video");
    laptop.write("IMG_1.HEIC", b"still");
    laptop.write("IMG_1.MOV", b"moving");

    program(&programs, "busctl", "u 1");
    let (code, report, said) = laptop.push_with(&["--only-unmetered"]);
    assert_eq!((code, report["outcome"].as_str()), (0, Some("not-now")), "{report} {said}");
    assert!(hashes(&daemon.photos()).is_empty());
    let (code, report, said) = laptop.push_with(&["--videos-only-unmetered"]);
    assert_eq!((code, counts(&report)), (0, [3, 0, 0, 0]), "{report} {said}");
    assert_eq!((report["held_back"].as_u64(), &report["last_backup"]), (Some(1), &Value::Null), "{report}");
    // Without busctl, nmcli is asked.
    fs::remove_file(programs.join("busctl")).unwrap();
    program(&programs, "nmcli", "yes (guessed)");
    let (_, report, _) = laptop.push_with(&["--only-unmetered"]);
    assert_eq!(report["outcome"], "not-now");
    program(&programs, "nmcli", "no (guessed)");
    let sys = dir.path().join("sys");
    let battery = sys.join("class/power_supply/BAT0");
    fs::create_dir_all(&battery).unwrap();
    fs::write(battery.join("type"), "Battery\n").unwrap();
    fs::write(battery.join("status"), "Discharging\n").unwrap();
    let more = ["--only-unmetered", "--only-charging", "--sysfs", sys.to_str().unwrap()];
    let (code, report, _) = laptop.push_with(&more);
    assert_eq!((code, report["because"].as_str()), (0, Some("it is not charging")), "{report}");
    fs::write(battery.join("status"), "Charging\n").unwrap();
    let (code, report, said) = laptop.push_with(&more);
    assert_eq!((code, counts(&report)), (0, [1, 0, 3, 0]), "{report} {said}");
    // Nobody tells: a computer sends, and says so.
    laptop.write("c.jpg", b"another photo");
    fs::remove_file(programs.join("nmcli")).unwrap();
    let (code, report, said) = laptop.push_with(&["--only-unmetered"]);
    assert_eq!((code, counts(&report)[0]), (0, 1), "{report} {said}");
    assert!(said.contains("does not say whether the network is metered"), "{said}");
}

#[test]
fn on_a_phone_with_termux() {
    let (dir, _daemon, laptop) = scene("phone");
    let programs = dir.path().join("bin");
    let laptop = laptop.with_programs(programs.clone());
    laptop.write("a.jpg", b"photo");
    let push = || {
        let pictures = laptop.pictures();
        let mut command =
            laptop.command(&[pictures.to_str().unwrap(), "--json", "--only-unmetered", "--only-charging"]);
        let done = command.env("TERMUX_VERSION", "0.118").output().unwrap();
        serde_json::from_slice::<Value>(&done.stdout).unwrap_or_default()
    };
    let report = push();
    assert!(report["because"].as_str().unwrap().contains("termux-api"), "{report}");
    program(&programs, "termux-battery-status", r#"{"plugged": "UNPLUGGED"}"#);
    program(&programs, "termux-wifi-connectioninfo", r#"{"supplicant_state": "DISCONNECTED"}"#);
    assert_eq!(push()["because"], "it is not charging");
    program(&programs, "termux-battery-status", r#"{"plugged": "PLUGGED_AC"}"#);
    assert_eq!(push()["because"], "the network is metered");
    program(
        &programs,
        "termux-wifi-connectioninfo",
        r#"{"supplicant_state": "COMPLETED", "ip": "192.168.1.7"}"#,
    );
    assert_eq!(counts(&push()), [1, 0, 0, 0]);
}
