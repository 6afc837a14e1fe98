//! `shoebox push` when something goes wrong: killed in the middle, the box killed, no room, files that vanish or change while they are sent.
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::push::{Laptop, counts};
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::listing::{hash, hashes, listing};
use crate::support::luck;

const MIB: u64 = 1 << 20;
const CHUNK: u64 = 16 * MIB;
/// Heads of requests, and questions.
const TALK: u64 = 256 << 10;

struct Scene {
    dir: tempfile::TempDir,
    daemon: Daemon,
    laptop: Laptop,
    gate: Gate,
}

/// A box behind a gate that closes after so many bytes.
fn scene(most: u64) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 60);
    let account = daemon.add_person("anna", "laptop", "computer");
    let mut laptop = Laptop::new(dir.path(), &daemon, &account);
    let gate = Gate::to(daemon.address, most);
    laptop.follow(gate.address);
    Scene { dir, daemon, laptop, gate }
}

fn report(child: Child) -> (i32, Value) {
    let done = child.wait_with_output().unwrap();
    (done.status.code().unwrap_or(-1), serde_json::from_slice(&done.stdout).unwrap_or_default())
}

fn photos(daemon: &Daemon) -> Vec<(String, String)> {
    listing(&daemon.photos()).into_iter().filter(|(name, _)| !name.ends_with('/')).collect()
}

#[test]
fn killed_in_the_middle_it_sends_at_most_one_chunk_again() {
    let mut it = scene(50 * MIB);
    let film = luck::bytes(1, usize::try_from(100 * MIB).unwrap() + 17);
    it.laptop.write("film.mp4", &film);
    let mut first = it.laptop.spawn(&[]);
    it.gate.until_closed();
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(photos(&it.daemon).is_empty());

    let gate = Gate::to(it.daemon.address, u64::MAX);
    it.laptop.follow(gate.address);
    let (code, report, said) = it.laptop.push();
    assert_eq!((code, counts(&report)), (0, [1, 0, 0, 0]), "{report} {said}");
    // Three chunks of the 50 MiB were whole.
    let (size, sent) = (film.len() as u64, gate.passed());
    assert!(sent <= size - 3 * CHUNK + TALK, "{sent} bytes of {size} were sent again or anew");
    assert!(sent >= size - 4 * CHUNK, "nothing of what was not there was sent: {sent}");
    assert_eq!(photos(&it.daemon), [("anna/Pictures/film.mp4".to_owned(), hash(&film))]);
    it.daemon.until("it is on B", |d| d.is_mirrored("anna/Pictures/film.mp4"));
    let (_, report, _) = it.laptop.push();
    assert_eq!(counts(&report), [0, 0, 1, 0]);
    drop(it.dir);
}

#[test]
fn two_runs_at_once_are_one() {
    let it = scene(2 * MIB);
    let film = luck::bytes(3, usize::try_from(4 * MIB).unwrap());
    it.laptop.write("film.mp4", &film);
    let first = it.laptop.spawn(&[]);
    it.gate.until_closed();
    let (code, _, said) = it.laptop.push();
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("under way"), "{said}");
    it.gate.open();
    let (code, report) = report(first);
    assert_eq!((code, counts(&report)), (0, [1, 0, 0, 0]), "{report}");
    assert_eq!(photos(&it.daemon), [("anna/Pictures/film.mp4".to_owned(), hash(&film))]);
}

#[test]
fn the_box_is_killed_and_comes_back() {
    let mut it = scene(50 * MIB);
    let film = luck::bytes(2, usize::try_from(100 * MIB).unwrap() + 3);
    it.laptop.write("film.mp4", &film);
    for n in 0..20u32 {
        it.laptop.write(&format!("IMG_{n}.jpg"), format!("photo {n}").as_bytes());
    }
    let run = it.laptop.spawn(&[]);
    it.gate.until_closed();
    it.daemon.kill();
    it.gate.open();
    std::thread::sleep(Duration::from_millis(500));
    it.daemon.start();
    it.gate.lead_to(it.daemon.address);
    let (code, report) = report(run);
    assert_eq!((code, counts(&report)[0] + counts(&report)[1], counts(&report)[3]), (0, 21, 0), "{report}");
    let (size, sent) = (film.len() as u64, it.gate.passed());
    assert!(sent <= size + CHUNK + TALK, "{sent} bytes were sent for {size}");
    let found = photos(&it.daemon);
    assert_eq!(found.len(), 21);
    assert!(found.contains(&("anna/Pictures/film.mp4".to_owned(), hash(&film))));
}

#[test]
fn a_box_that_is_not_there_is_waited_for_and_told_of() {
    let it = scene(u64::MAX);
    it.laptop.write("a.jpg", b"a");
    it.gate.lead_to("127.0.0.1:9".parse().unwrap());
    let (code, report, said) = it.laptop.push_with(&["--wait", "0"]);
    assert_eq!((code, report["outcome"].as_str()), (3, Some("unreachable")), "{report} {said}");
    // What answers there is something else.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    it.gate.lead_to(other.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in other.incoming() {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
            let mut client = client.unwrap();
            let _read = std::io::Read::read(&mut client, &mut [0; 4096]);
            let _sent = client.write_all(answer);
        }
    });
    let (code, report, said) = it.laptop.push_with(&["--wait", "0"]);
    assert_eq!(code, 1, "{report} {said}");
    assert!(report["because"].as_str().unwrap().contains("no Shoebox"), "{report}");
    it.gate.lead_to(it.daemon.address);
    assert_eq!(counts(&it.laptop.push().1), [1, 0, 0, 0]);
}

#[test]
fn a_quota_that_is_used_up_stops_the_run_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 20);
    assert_eq!(daemon.run(&["person", "add", "anna", "--quota", "1M"]).0, 0);
    let account = daemon.add_device("anna", "laptop", "computer");
    let laptop = Laptop::new(dir.path(), &daemon, &account);
    for n in 0..5u64 {
        laptop.write(&format!("IMG_{n}.jpg"), &luck::bytes(n, 400_000));
    }
    let (code, report, said) = laptop.push_with(&["--parallel", "1"]);
    assert_eq!((code, report["outcome"].as_str()), (5, Some("full")), "{report} {said}");
    assert_eq!((counts(&report), report["left"].as_u64()), ([2, 0, 0, 0], Some(3)), "{report}");
    assert!(report["because"].as_str().unwrap().contains("quota"), "{report}");
    assert!(report["last_backup"].is_null());
    assert_eq!(daemon.run(&["person", "quota", "anna", "10M"]).0, 0);
    let (code, report, said) = laptop.push();
    assert_eq!((code, counts(&report)), (0, [3, 0, 2, 0]), "{report} {said}");
    assert_eq!(photos(&daemon).len(), 5);
}

#[test]
fn what_vanishes_before_it_is_sent_is_skipped() {
    let it = scene(2 * MIB);
    it.laptop.write("a.jpg", &luck::bytes(1, 4 << 20));
    let late = it.laptop.write("b/late.jpg", b"gone in a moment");
    for n in 0..8u32 {
        it.laptop.write(&format!("b/{n}.jpg"), format!("photo {n}").as_bytes());
    }
    let run = it.laptop.spawn(&["--parallel", "1"]);
    it.gate.until_closed();
    fs::remove_file(late).unwrap();
    it.gate.open();
    let (code, report) = report(run);
    assert_eq!((code, counts(&report)), (0, [9, 0, 0, 0]), "{report}");
    assert_eq!(report["gone"], 1, "{report}");
}

/// Writes other bytes into a file, in its place, and puts its date back.
fn write_over(path: &Path, bytes: &[u8]) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.set_modified(modified).unwrap();
}

/// The whole of it, whichever way it is sent: what the box has is the file as it is at last, and no mixture ever has a name.
fn changes_while_it_is_sent(size: u64, most: u64) {
    let it = scene(most);
    let (old, new) =
        (luck::bytes(1, usize::try_from(size).unwrap()), luck::bytes(2, usize::try_from(size).unwrap()));
    let path = it.laptop.write("film.mp4", &old);
    let run = it.laptop.spawn(&[]);
    it.gate.until_closed();
    write_over(&path, &new);
    it.gate.open();
    let (code, report) = report(run);
    assert_eq!((code, counts(&report)), (0, [1, 0, 0, 0]), "{report}");
    // The old bytes may be there, too, if all of them had been read before; a mixture is not.
    let found = photos(&it.daemon);
    assert!(found.iter().all(|(_, one)| [hash(&old), hash(&new)].contains(one)), "{found:?}");
    assert!(found.iter().any(|(_, one)| *one == hash(&new)), "{found:?}");
    assert!(listing(&it.daemon.dir.join("a/.shoebox/uploads")).keys().all(|name| !name.ends_with("/1")));
}

#[test]
fn a_photo_that_changes_while_it_is_sent() {
    changes_while_it_is_sent(8 * MIB, 3 * MIB);
}

#[test]
fn a_film_that_changes_while_it_is_sent_in_chunks() {
    changes_while_it_is_sent(40 * MIB, 20 * MIB);
}

#[test]
fn what_is_written_to_all_the_time_is_never_called_safe() {
    let it = scene(u64::MAX);
    let path = it.laptop.write("film.mp4", &luck::bytes(1, 1 << 20));
    it.laptop.write("a.jpg", b"rests");
    let (stop, grow) = (AtomicBool::new(false), path.clone());
    let (code, report, said) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().append(true).open(&grow).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let done = it.laptop.push();
        stop.store(true, Ordering::Relaxed);
        done
    });
    assert_eq!((code, counts(&report)), (1, [1, 0, 0, 1]), "{report} {said}");
    assert!(report["failed"][0]["why"].as_str().unwrap().contains("written to"), "{report}");
    assert!(report["last_backup"].is_null());
    // Listed, and sent when it rests: by itself, or alone when asked for.
    let status = it.laptop.command(&["--status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["failed"][0]["path"].as_str().unwrap().ends_with("film.mp4"), "{status}");
    it.laptop.write("b.jpg", b"new meanwhile");
    let (code, report, said) = it.laptop.push_with(&["--retry-failed"]);
    assert_eq!((code, counts(&report)[0]), (0, 1), "{report} {said}");
    assert!(hashes(&it.daemon.photos()).contains(&hash(&fs::read(&path).unwrap())));
    assert_eq!(counts(&it.laptop.push().1)[0], 1);
}

#[test]
fn what_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let it = scene(u64::MAX);
    let path = it.laptop.write("secret.jpg", b"not for us");
    it.laptop.write("a.jpg", b"a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("left out push-permission: root may read everything");
        return;
    }
    let (code, report, said) = it.laptop.push();
    assert_eq!((code, counts(&report)), (1, [1, 0, 0, 1]), "{report} {said}");
    assert!(report["failed"][0]["why"].as_str().unwrap().contains("ermission denied"), "{report}");
}

#[test]
fn a_thousand_files_and_a_second_run_that_sends_none() {
    let it = scene(u64::MAX);
    let mut expected = Vec::new();
    for n in 0..1000u32 {
        let bytes = luck::bytes(u64::from(n), 500 + usize::try_from(n).unwrap() * 7);
        it.laptop.write(&format!("{}/IMG_{n:04}.jpg", n % 17), &bytes);
        expected.push(hash(&bytes));
    }
    let (code, report, said) = it.laptop.push();
    assert_eq!((code, counts(&report)), (0, [1000, 0, 0, 0]), "{report} {said}");
    assert!(said.lines().count() >= 1000, "a line for each file where nobody watches");
    let mut found = hashes(&it.daemon.photos());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let before = it.gate.passed();
    let (code, report, said) = it.laptop.push();
    assert_eq!((code, counts(&report)), (0, [0, 0, 1000, 0]), "{report} {said}");
    assert!(
        it.gate.passed() - before < 10_000,
        "{} bytes to learn that nothing is new",
        it.gate.passed() - before
    );
}

#[test]
fn another_box_at_the_same_address_gets_everything_and_one_that_lost_a_photo_is_told_of() {
    let mut it = scene(u64::MAX);
    for n in 0..5u32 {
        it.laptop.write(&format!("IMG_{n}.jpg"), format!("photo {n}").as_bytes());
    }
    assert_eq!(counts(&it.laptop.push().1), [5, 0, 0, 0]);
    let second = tempfile::tempdir().unwrap();
    let other = Daemon::furnish(second.path(), 20);
    it.laptop.account = other.add_person("anna", "laptop", "computer");
    it.gate.lead_to(other.address);
    assert_eq!(counts(&it.laptop.push().1), [5, 0, 0, 0]);
    assert_eq!(photos(&other).len(), 5);

    // Deleted there, by hand: it does not come back by itself, and it is said.
    let deleted = other.request(&it.laptop.account, "DELETE", "/dav/Pictures/IMG_3.jpg", "", b"");
    assert_eq!(deleted.status, 204, "{}", deleted.text);
    let state = rusqlite::Connection::open(it.laptop.home.join(".local/state/shoebox/push.db")).unwrap();
    assert_eq!(state.execute("UPDATE file SET confirmed = 0", []).unwrap(), 10);
    let (code, report, said) = it.laptop.push();
    assert_eq!((code, counts(&report)), (0, [0, 0, 5, 0]), "{report} {said}");
    assert_eq!(report["missing"], 1, "{report}");
    let (code, report, said) = it.laptop.push_with(&["--again"]);
    assert_eq!((code, counts(&report)), (0, [1, 4, 0, 0]), "{report} {said}");
    assert_eq!((&report["missing"], photos(&other).len()), (&Value::from(0), 5));
}
