//! Something encrypts, deletes or empties drive A under the running box: one alarm, nothing lost on B, and a person's answer
//! (P5, I15; rows 7 and 17). The real binary.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::support::clock;
use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, hashes, listing};
use crate::support::mounted::leave_out;

const MANY: usize = 60;
/// Taken long ago: a file that is written over has another time then.
const OLD: &str = "X-OC-Mtime: 1400000000\r\n";

fn name(number: usize) -> String {
    format!("anna/album {}/{number:02}.jpg", number % 3)
}

fn bytes(number: usize) -> Vec<u8> {
    format!("photo number {number} ").repeat(500).into_bytes()
}

/// A box with many photos, all on both drives.
fn many(dir: &Path) -> (Daemon, Account) {
    many_under(dir, &[])
}

/// The same started by other programs.
fn many_under(dir: &Path, under: &[&str]) -> (Daemon, Account) {
    for drive in ["a", "b"] {
        fs::create_dir(dir.join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir, 5, under);
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    for folder in 0..3 {
        assert_eq!(daemon.request(&who, "MKCOL", &format!("/dav/album%20{folder}"), "", b"").status, 201);
    }
    for number in 0..MANY {
        let target = format!("/dav/{}", name(number).replace("anna/", "").replace(' ', "%20"));
        assert_eq!(daemon.request(&who, "PUT", &target, OLD, &bytes(number)).status, 201);
    }
    until_mirrored(&mut daemon);
    (daemon, who)
}

fn until_mirrored(daemon: &mut Daemon) {
    daemon.until("B has everything", |d| {
        let drives = d.ask(&["drive", "list", "--json"]);
        drives.as_array().unwrap().iter().all(|d| d["wanted"] == 0 && d["role"] != Value::Null)
    });
}

/// What is red, without what only a demonstration on two folders would say.
fn alarms(daemon: &Daemon) -> Vec<String> {
    let status = daemon.ask(&["status", "--json"]);
    let findings = status["findings"].as_array().unwrap();
    let red = findings.iter().filter(|f| f["light"] == "red" && f["code"] != "two-drives-one-disk");
    red.map(|f| f["code"].as_str().unwrap().to_owned()).collect()
}

/// All that was ever received lies on B, among its photos or in its trash.
fn b_has_all(daemon: &Daemon) {
    let held: BTreeSet<String> = hashes(&daemon.dir.join("b")).into_iter().collect();
    for number in 0..MANY {
        assert!(held.contains(&hash(&bytes(number))), "{} is nowhere on B", name(number));
    }
}

fn a_is_as_it_was(daemon: &Daemon) {
    for number in 0..MANY {
        let there = fs::read(daemon.photos().join(name(number))).ok();
        assert!(there == Some(bytes(number)), "{} on A", name(number));
    }
}

/// Everything is on B again, read back, and nothing is alarming.
fn settles(daemon: &mut Daemon) {
    until_mirrored(daemon);
    daemon.until("all is well", |d| alarms(d).is_empty());
    let on_b = listing(&daemon.dir.join("b/photos"));
    for number in 0..MANY {
        assert_eq!(on_b.get(&name(number)), Some(&hash(&bytes(number))), "{} on B", name(number));
    }
}

#[test]
fn photos_that_something_encrypts_are_put_back_also_by_a_box_that_is_killed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, who) = many(dir.path());
    assert_eq!(daemon.run(&["changes", "show"]).0, 0);
    // A third in place, a third under another name, a third away.
    for number in 0..MANY {
        let file = daemon.photos().join(name(number));
        match number % 3 {
            0 => fs::write(&file, format!("encrypted {number}")).unwrap(),
            1 => {
                fs::write(file.with_extension("jpg.locked"), format!("locked {number}")).unwrap();
                fs::remove_file(file).unwrap();
            }
            _ => fs::remove_file(file).unwrap(),
        }
    }
    daemon.until("people are told", |d| !alarms(d).is_empty());
    daemon.until("all of it is seen", |d| {
        let (_, text) = d.run(&["changes", "show", "--json", "--limit", "0"]);
        text.lines().count() == MANY
    });
    // What is told follows what is counted within a moment: half of the count may show files gone and nothing held for it.
    daemon.until("one thing, one alarm", |d| alarms(d) == ["mirror-held"]);
    // What phones send is taken and copied all the while.
    assert_eq!(daemon.request(&who, "PUT", "/dav/new.jpg", "", b"a new photo").status, 201);
    daemon.until("B has the new one", |d| d.is_mirrored("anna/new.jpg"));
    b_has_all(&daemon);

    // Answered, and killed in the middle, and the question is still there.
    let right = |d: &Daemon| {
        (0..MANY)
            .filter(|n| fs::read(d.photos().join(name(*n))).is_ok_and(|there| there == bytes(*n)))
            .count()
    };
    let mut seen = right(&daemon);
    for _ in 0..3 {
        let config = daemon.dir.join("config.toml");
        let mut answer = std::process::Command::new(env!("CARGO_BIN_EXE_shoebox"));
        let line = ["--config", config.to_str().unwrap(), "changes", "put-it-back", "--json"];
        let mut child = answer.args(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        daemon.until("some more are back", |d| right(d) > seen);
        daemon.kill();
        child.wait().unwrap();
        daemon.start();
        seen = right(&daemon);
        println!("{seen} of {MANY} were back when the box was killed");
        if seen == MANY {
            break;
        }
        assert_eq!(daemon.run(&["changes", "show"]).0, 1, "the question is still there");
    }
    daemon.until("answered", |d| {
        let (code, text) = d.run(&["changes", "put-it-back", "--json"]);
        let answered: Value = serde_json::from_str(&text).unwrap_or_default();
        code == 0 && answered["failed"] == 0 && answered["open"] == false
    });
    a_is_as_it_was(&daemon);
    settles(&mut daemon);
    let trash: Vec<String> = hashes(&daemon.dir.join("a/.shoebox/trash"));
    for number in (0..MANY).step_by(3) {
        assert!(
            trash.contains(&hash(format!("encrypted {number}").as_bytes())),
            "{number}: nothing is destroyed"
        );
    }
    assert_eq!(daemon.run(&["changes", "show"]).0, 0);
    let verified = daemon.ask(&["verify", "--json"]);
    assert_eq!(
        (&verified["damaged"], &verified["missing"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
}

#[test]
fn what_an_app_deletes_all_at_once_comes_back_or_goes_as_is_answered() {
    for answer in ["put-it-back", "it-was-me"] {
        let dir = tempfile::tempdir().unwrap();
        let (mut daemon, who) = many(dir.path());
        for folder in 0..3 {
            let target = format!("/dav/album%20{folder}/");
            assert_eq!(daemon.request(&who, "DELETE", &target, "", b"").status, 204);
        }
        daemon.until("people are told", |d| alarms(d) == ["mirror-held"]);
        let on_b = listing(&daemon.dir.join("b/photos"));
        assert!((0..MANY).all(|n| on_b.contains_key(&name(n))));
        // A restart asks again.
        daemon.kill();
        daemon.start();
        daemon.until("people are told again", |d| alarms(d) == ["mirror-held"]);
        let shown = daemon.run(&["changes", "show", "--limit", "1"]).1;
        let number = shown.split("--seen ").nth(1).map_or("", |rest| &rest[..8]).to_owned();
        let mut command = vec!["changes", answer];
        if answer == "it-was-me" {
            assert_ne!(daemon.run(&command).0, 0, "it has to be said what the answer is for");
            assert_ne!(daemon.run(&["changes", answer, "--seen", "00000000"]).0, 0);
            assert_eq!(alarms(&daemon), ["mirror-held"], "nothing is answered by that");
            command.extend(["--seen", &number]);
        }
        let (code, text) = daemon.run(&command);
        assert_eq!(code, 0, "{text}");
        if answer == "put-it-back" {
            assert!(text.starts_with(&format!("{MANY} files put back")), "{text}");
            a_is_as_it_was(&daemon);
            settles(&mut daemon);
        } else {
            daemon.until("the alarm is over", |d| alarms(d).is_empty());
            assert!((0..MANY).all(|n| !daemon.photos().join(name(n)).exists()));
            // A day later, into the trash.
            let on_b = listing(&daemon.dir.join("b/photos"));
            assert!((0..MANY).all(|n| on_b.contains_key(&name(n))));
        }
        b_has_all(&daemon);
    }
}

/// Goal 7: nobody looks at the box for a month.
#[test]
fn what_was_deleted_a_month_ago_is_put_back_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("clock");
    fs::write(&set, "+0\n").unwrap();
    let Some(under) = clock::under(&set) else {
        return leave_out("put-back-after-a-month", "no libfaketime");
    };
    let (mut daemon, who) = many_under(dir.path(), &under.iter().map(String::as_str).collect::<Vec<_>>());
    for folder in 0..3 {
        let target = format!("/dav/album%20{folder}/");
        assert_eq!(daemon.request(&who, "DELETE", &target, "", b"").status, 204);
    }
    daemon.until("people are told", |d| alarms(d) == ["mirror-held"]);
    assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
    fs::write(&set, format!("+{}\n", 30 * 24 * 3600)).unwrap();
    daemon.start();
    daemon.until("people are told again", |d| alarms(d).contains(&"mirror-held".to_owned()));
    let deleted = |d: &Daemon| (0..MANY).all(|n| !d.photos().join(name(n)).exists());
    assert!(deleted(&daemon), "nothing comes back by itself");
    let on_b = listing(&dir.path().join("b/photos"));
    assert!((0..MANY).all(|n| on_b.get(&name(n)) == Some(&hash(&bytes(n)))), "a month later, all of it on B");
    let (code, text) = daemon.run(&["changes", "put-it-back"]);
    assert_eq!(code, 0, "{text}");
    a_is_as_it_was(&daemon);
    b_has_all(&daemon);
}

#[test]
fn a_main_drive_that_comes_back_empty_empties_nothing() {
    for all in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (mut daemon, who) = many(dir.path());
        let before = listing(&daemon.dir.join("b/photos"));
        daemon.kill();
        // The marker and the record are there, the photos are not: all of them, or two folders of three.
        if all {
            fs::remove_dir_all(daemon.photos()).unwrap();
        } else {
            for folder in 0..2 {
                fs::remove_dir_all(daemon.photos().join(format!("anna/album {folder}"))).unwrap();
            }
        }
        daemon.start();
        daemon.until("people are told", |d| alarms(d) == ["mirror-held"]);
        assert_eq!(listing(&daemon.dir.join("b/photos")), before);
        // Read from B meanwhile.
        let reply = daemon.request(&who, "GET", "/dav/album%200/00.jpg", "", b"");
        assert!(reply.status == 200 && reply.body == bytes(0), "{}", reply.status);
        let (code, text) = daemon.run(&["changes", "put-it-back"]);
        assert_eq!(code, 0, "{text}");
        a_is_as_it_was(&daemon);
        settles(&mut daemon);
        assert_eq!(listing(&daemon.dir.join("b/photos")), before);
    }
}
