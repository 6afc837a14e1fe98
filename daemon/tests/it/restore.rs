//! Photos come back from any one drive, without a daemon: whole, proved, never over anything, and again as often as it takes.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::listing::{hash, listing};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

/// A box whose daemon is gone, and what was uploaded to it.
struct Left {
    daemon: Daemon,
    dir: tempfile::TempDir,
}

const FAT: &str = "12%3A30%3F.jpg";

fn left() -> Left {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "laptop", "computer");
    let phone = daemon.add_device("anna", "phone", "phone");
    let bob = daemon.add_person("bob", "laptop", "computer");
    let put = |who, name: &str, bytes: &[u8]| {
        let more = "X-OC-Mtime: 1600000000\r\n";
        let reply = daemon.request(who, "PUT", &format!("/dav/{name}"), more, bytes);
        assert!(reply.is_success(), "{}", reply.text);
    };
    assert_eq!(daemon.request(&anna, "MKCOL", "/dav/trip", "", b"").status, 201);
    put(&anna, "trip/a.jpg", b"a");
    put(&anna, "trip/b.jpg", &luck::bytes(1, 2_500_000));
    put(&anna, &format!("trip/{FAT}"), b"mapped");
    put(&phone, "p.jpg", b"from the phone");
    put(&bob, "c.jpg", b"first");
    put(&bob, "c.jpg", b"second");
    put(&bob, "gone.jpg", b"gone");
    daemon.until("B has all", |d| {
        let (_, text) = d.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        status["drives"].as_array().is_some_and(|all| {
            all.iter()
                .any(|drive| drive["role"] == "mirror" && drive["wanted"] == 0 && drive["verified"] == 6)
        })
    });
    assert_eq!(daemon.request(&bob, "DELETE", "/dav/gone.jpg", "", b"").status, 204);
    assert_eq!(daemon.request(&anna, "MOVE", "/dav/trip", "Destination: /dav/Journey\r\n", b"").status, 201);
    daemon.until("B has followed", |_| {
        let lines: Vec<String> =
            manifests(&dir.path().join("b")).iter().map(|m| fs::read_to_string(m).unwrap()).collect();
        lines.concat().matches("\"event\":\"moved\"").count() == 3
    });
    Left { daemon, dir }
}

fn manifests(drive: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(drive.join(".shoebox/manifest")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect()
}

impl Left {
    fn drive(&self, drive: &str) -> String {
        self.dir.path().join(drive).to_str().unwrap().to_owned()
    }

    fn to(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `shoebox restore`: exit code and report.
    fn restore(&self, drives: &[&str], to: &Path, more: &[&str]) -> (i32, Value) {
        let (code, text) = self.daemon.run(&self.line(drives, to, more));
        (code, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{code}: {text}")))
    }

    fn line<'a>(&self, drives: &[&str], to: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        let mut line = vec!["restore", "--json", "--to", to.to_str().unwrap()];
        for drive in drives {
            line.extend(["--from", self.drive(drive).leak()]);
        }
        line.extend(more);
        line
    }

    fn gone(mut self) -> Self {
        self.daemon.kill();
        self
    }
}

fn names(to: &Path) -> Vec<String> {
    listing(to).into_keys().filter(|name| !name.ends_with('/')).collect()
}

const ALL: [&str; 5] =
    ["anna/Journey/12:30?.jpg", "anna/Journey/a.jpg", "anna/Journey/b.jpg", "anna/phone/p.jpg", "bob/c.jpg"];

#[test]
fn everything_comes_back_from_one_drive_and_a_second_time_changes_nothing() {
    let left = left().gone();
    let before = listing(&left.to("a"));
    let to = left.to("new/folder");
    let (code, report) = left.restore(&["a"], &to, &[]);
    assert_eq!((code, &report["restored"], &report["files"]), (0, &json!(5), &json!(5)), "{report}");
    assert_eq!(names(&to), ALL);
    assert_eq!(fs::read(to.join("anna/Journey/b.jpg")).unwrap(), luck::bytes(1, 2_500_000));
    assert_eq!(fs::read(to.join("bob/c.jpg")).unwrap(), b"second");
    let dated = |name: &str| fs::metadata(to.join(name)).unwrap().modified().unwrap();
    let given = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    assert_eq!(dated("anna/phone/p.jpg"), given);

    let (code, report) = left.restore(&["a"], &to, &[]);
    assert_eq!((code, &report["restored"], &report["already"]), (0, &json!(0), &json!(5)), "{report}");
    assert_eq!((names(&to), dated("anna/phone/p.jpg")), (ALL.map(str::to_owned).to_vec(), given));
    assert_eq!(listing(&left.to("a")), before, "the drive is only read");

    // B is a day behind with deletions: together with A it is told what holds.
    let (code, report) = left.restore(&["b"], &left.to("b-alone"), &[]);
    assert_eq!(code, 0, "{report}");
    let alone = names(&left.to("b-alone"));
    assert!(alone.contains(&"bob/gone.jpg".to_owned()) && alone.len() == 6, "{alone:?}: {report}");
    let (code, _) = left.restore(&["a", "b"], &left.to("both"), &[]);
    assert_eq!((code, names(&left.to("both"))), (0, ALL.map(str::to_owned).to_vec()));
}

#[test]
fn what_is_asked_for_is_what_comes() {
    let left = left().gone();
    let mut count = 0;
    let mut found = |more: &[&str]| {
        count += 1;
        let to = left.to(&count.to_string());
        let (code, report) = left.restore(&["a"], &to, more);
        (code, names(&to), report)
    };
    assert_eq!(found(&["anna/journey"]).1, ALL[..3]);
    assert_eq!(found(&["photos/anna/Journey/a.jpg", "bob"]).1, [ALL[1], ALL[4]]);
    assert_eq!(found(&["--person", "bob"]).1, [ALL[4]]);
    assert_eq!(found(&["--device", "phone"]).1, [ALL[3]]);
    assert_eq!(found(&["--since", "2000-01-01", "--until", "2001-01-01"]).0, 4);
    assert_eq!(found(&["--since", "2001-01-01"]).1, ALL);
    assert_eq!(found(&["nobody"]).0, 4);

    let (code, there, report) = found(&["--deleted"]);
    assert_eq!((code, there), (0, vec!["bob/c.jpg".to_owned(), "bob/gone.jpg".to_owned()]), "{report}");
    assert_eq!(fs::read(left.to(&count.to_string()).join("bob/c.jpg")).unwrap(), b"first");
    let (code, report) = left.restore(&["a"], &left.to("dry"), &["--deleted", "--dry-run"]);
    let planned = &report["planned"][1];
    assert_eq!(
        (code, &planned["path"], &planned["deleted"]["by"]),
        (0, &json!("bob/gone.jpg"), &json!("bob/laptop"))
    );
    assert_eq!((&planned["deleted"]["why"], left.to("dry").exists()), (&json!("deleted"), false));
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let left = left().gone();
    let to = left.to("back");
    fs::create_dir_all(to.join("anna/Journey/b.jpg")).unwrap();
    fs::create_dir_all(to.join("bob")).unwrap();
    fs::write(to.join("anna/Journey/a.jpg"), b"A").unwrap();
    fs::write(to.join("anna/Journey/a (restored).jpg"), b"as well").unwrap();
    fs::write(to.join("bob/c.jpg"), b"second").unwrap();
    std::os::unix::fs::symlink("/etc", to.join("anna/phone")).unwrap();
    for restored in [3, 0] {
        let (code, report) = left.restore(&["a"], &to, &[]);
        assert_eq!((code, &report["restored"]), (1, &json!(restored)), "{report}");
        assert_eq!(report["failed"][0]["path"], "anna/phone/p.jpg", "no link is followed: {report}");
        let beside: Vec<&Value> = report["beside"].as_array().unwrap().iter().map(|r| &r["what"]).collect();
        assert_eq!(beside, ["anna/Journey/a (restored 2).jpg", "anna/Journey/b (restored).jpg"], "{report}");
    }
    for (name, bytes) in [("a.jpg", "A"), ("a (restored).jpg", "as well"), ("a (restored 2).jpg", "a")] {
        assert_eq!(fs::read(to.join("anna/Journey").join(name)).unwrap(), bytes.as_bytes(), "{name}");
    }
    assert!(to.join("anna/Journey/b.jpg").is_dir());
    for (to, code) in [(left.to("a/photos"), 2), (left.to("a/new"), 2), (left.to("log"), 5)] {
        assert_eq!(left.daemon.run(&left.line(&["a"], &to, &[])).0, code, "{}", to.display());
    }
    assert!(!left.to("a/new").exists());
    assert_eq!(left.daemon.run(&left.line(&["nowhere"], &to, &[])).0, 4);
}

#[test]
fn a_damaged_copy_is_named_and_another_drive_has_a_good_one() {
    let left = left().gone();
    let photo = left.to("a/photos/anna/Journey/b.jpg");
    let mut bytes = fs::read(&photo).unwrap();
    bytes[1_234_567] ^= 1;
    fs::write(&photo, &bytes).unwrap();
    fs::remove_file(left.to("a/photos/bob/c.jpg")).unwrap();

    let (code, report) = left.restore(&["a"], &left.to("one"), &[]);
    let failed: Vec<&Value> = report["failed"].as_array().unwrap().iter().map(|r| &r["path"]).collect();
    assert_eq!((code, failed), (1, vec![&json!(ALL[2]), &json!(ALL[4])]), "{report}");
    assert_eq!(names(&left.to("one")), [ALL[0], ALL[1], ALL[3]]);

    let (code, report) = left.restore(&["a", "b"], &left.to("one"), &[]);
    assert_eq!((code, &report["restored"], &report["already"]), (0, &json!(2), &json!(3)), "{report}");
    assert_eq!(report["passed_over"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(hash(&fs::read(left.to("one").join(ALL[2])).unwrap()), hash(&luck::bytes(1, 2_500_000)));
}

#[test]
fn what_is_damaged_everywhere_is_salvaged_on_request() {
    let left = left().gone();
    let name = "photos/anna/Journey/b.jpg";
    let right = luck::bytes(1, 2_500_000);
    let spoil = |drive: &str, at: &[usize]| {
        let mut bytes = right.clone();
        at.iter().for_each(|at| bytes[*at] ^= 1);
        fs::write(left.to(&format!("{drive}/{name}")), bytes).unwrap();
    };
    let salvaged = |to: &str, ends: &str| {
        fs::read(left.to(to).join(format!("anna/Journey/b.salvaged.jpg{ends}"))).unwrap()
    };

    // In different places: together they are whole.
    spoil("a", &[5000, 700_000]);
    spoil("b", &[2_400_000]);
    assert_eq!(left.restore(&["a", "b"], &left.to("asked-not"), &[name]).0, 1);
    assert!(names(&left.to("asked-not")).is_empty());
    for _again in 0..2 {
        let (code, report) = left.restore(&["a", "b"], &left.to("whole"), &["--salvage", name]);
        assert_eq!((code, &report["salvaged"][0]["whole"]), (0, &json!(true)), "{report}");
        assert_eq!(
            names(&left.to("whole")),
            ["anna/Journey/b.salvaged.jpg", "anna/Journey/b.salvaged.jpg.txt"]
        );
        assert!(salvaged("whole", "") == right);
    }

    // In the same place, differently; and one lacks its end.
    spoil("b", &[5001]);
    fs::write(left.to(&format!("a/{name}")), &right[..2_000_000]).unwrap();
    let (code, report) = left.restore(&["b"], &left.to("bad"), &["--salvage", name]);
    assert_eq!((code, &report["salvaged"][0]["whole"]), (1, &json!(false)), "{report}");
    spoil("b", &[5001, 5002]);
    let mut cut = right[..2_000_000].to_vec();
    cut[5000] ^= 1;
    fs::write(left.to(&format!("a/{name}")), cut).unwrap();
    let (_, report) = left.restore(&["a", "b"], &left.to("bad-both"), &["--salvage", name]);
    assert_eq!(report["salvaged"][0]["unsure"], json!([[4096, 8192]]), "{report}");
    let (code, report) = left.restore(&["a"], &left.to("cut"), &["--salvage", name]);
    let lost = json!([[1_998_848, 2_500_000]]);
    assert_eq!((code, &report["salvaged"][0]["lost"]), (1, &lost), "{report}");
    assert!(salvaged("cut", "")[8192..1_998_848] == right[8192..1_998_848]);
    assert!(salvaged("cut", "")[1_998_848..].iter().all(|byte| *byte == 0));
    let said = String::from_utf8(salvaged("cut", ".txt")).unwrap();
    assert!(said.contains("missing, zeros instead: bytes 1998848 to 2499999"), "{said}");
}

#[test]
fn without_a_whole_record_everything_comes_and_what_is_not_proved_is_named() {
    let left = left().gone();
    let manifests = manifests(&left.to("a"));
    let [manifest] = &manifests[..] else { panic!("{manifests:?}") };
    let text = fs::read_to_string(manifest).unwrap();
    // The line that says when b.jpg came is torn.
    let torn: Vec<&str> =
        text.lines().map(|l| if l.contains("b.jpg\",\"hash") { &l[..40] } else { l }).collect();
    fs::write(manifest, torn.join("\n") + "\n").unwrap();
    let (code, report) = left.restore(&["a"], &left.to("torn"), &[]);
    assert_eq!(
        (code, names(&left.to("torn")), &report["unproved"]),
        (1, ALL.map(str::to_owned).to_vec(), &json!([ALL[2]])),
        "{report}"
    );
    // Another drive's record knows the name.
    let (code, report) = left.restore(&["a", "b"], &left.to("torn-both"), &[]);
    assert_eq!(
        (code, names(&left.to("torn-both")).len(), &report["unproved"]),
        (0, 5, &json!([])),
        "{report}"
    );

    fs::remove_file(manifest).unwrap();
    let (code, report) = left.restore(&["a"], &left.to("none"), &[]);
    assert_eq!(
        (code, names(&left.to("none")), &report["unproved"]),
        (1, ALL.map(str::to_owned).to_vec(), &json!(ALL)),
        "{report}"
    );
    let (_, report) = left.restore(&["a"], &left.to("trash"), &["--deleted"]);
    assert_eq!((&report["restored"], names(&left.to("trash")).len()), (&json!(2), 2), "{report}");

    // Another computer, another user: only the photos can be read.
    fs::remove_dir_all(left.to("a/.shoebox")).unwrap();
    let (code, report) = left.restore(&["a"], &left.to("bare"), &["--person", "anna"]);
    assert_eq!(
        (code, names(&left.to("bare"))),
        (1, ALL[..4].iter().map(|&n| n.to_owned()).collect()),
        "{report}"
    );
    assert_eq!(report["drives"][0]["trouble"], "it has no marker of Shoebox's");
}

#[test]
fn a_restore_that_is_killed_leaves_whole_files_and_is_run_again() {
    let left = left().gone();
    let many = left.to("a/photos/many");
    fs::create_dir(&many).unwrap();
    for n in 0..400 {
        fs::write(many.join(format!("{n:03}.jpg")), luck::bytes(n, 300_000)).unwrap();
    }
    let to = left.to("back");
    for wanted in [20, 150] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shoebox"))
            .args(left.line(&["a"], &to, &[]))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let there = || fs::read_dir(to.join("many")).map_or(0, Iterator::count);
        while there() < wanted && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((wanted..400).contains(&there()), "{}", there());
        for entry in fs::read_dir(to.join("many")).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let number = name.strip_suffix(".jpg").unwrap().parse().unwrap();
            assert!(fs::read(entry.path()).unwrap() == luck::bytes(number, 300_000), "{name}");
        }
    }
    let (_, report) = left.restore(&["a"], &to, &[]);
    assert_eq!((names(&to).len(), report["failed"].as_array().unwrap().len()), (405, 0), "{report}");
    assert!(report["already"].as_u64().unwrap() >= 150, "{report}");
}

#[test]
fn with_a_daemon_its_drives_are_used() {
    let left = left();
    let to = left.to("back");
    fs::write(left.to("a/photos/anna/Journey/a.jpg"), b"?").unwrap();
    let (code, report) = left.restore(&[], &to, &["anna"]);
    assert_eq!((code, names(&to).len()), (0, 4), "{report}");
    assert_eq!(report["drives"][0]["role"], "primary");
    assert_eq!(fs::read(to.join("anna/Journey/a.jpg")).unwrap(), b"a");
    let left = left.gone();
    assert_eq!(left.daemon.run(&left.line(&[], &to, &[])).0, 3);
}

#[test]
fn a_stick_and_a_read_only_drive() {
    let left = left().gone();
    let [stick, small, frozen] = ["stick", "small", "frozen"].map(|name| left.to(name));
    [&stick, &small, &frozen].iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let fat = Mounted::image(&left.to("stick.img"), 64, &["mkfs.exfat"], &stick);
    let (_fat, _tmpfs) = match fat.and_then(|fat| Ok((fat, Mounted::tmpfs(&small, "size=1m")?))) {
        Ok(both) => both,
        Err(why) => return leave_out("restore-to-a-stick", &why),
    };
    // What a restore that was killed leaves on a filesystem without nameless files.
    fs::write(stick.join(".shoebox-restoring-0123"), b"half").unwrap();
    let (code, report) = left.restore(&["a"], &stick, &[]);
    assert_eq!((code, &report["restored"]), (0, &json!(5)), "{report}");
    assert!(stick.join("anna/Journey/12\u{F03A}30\u{F03F}.jpg").exists());
    assert_eq!(names(&stick).len(), 5);
    assert_eq!(left.restore(&["a"], &stick, &[]).1["already"], 5);

    let (code, text) = left.daemon.run(&left.line(&["a"], &small, &[]));
    assert_eq!((code, names(&small).len()), (5, 0), "{text}");

    let image = left.to("frozen.img");
    let drive =
        Mounted::image(&image, 64, &["mkfs.ext4", "-q", "-F", "-d", &left.drive("a")], &frozen).unwrap();
    drop(drive);
    let done = Command::new("mount").args(["-o", "loop,ro"]).args([&image, &frozen]).status().unwrap();
    assert!(done.success());
    let (code, report) = left.restore(&["frozen"], &left.to("from-frozen"), &[]);
    assert!(Command::new("umount").arg(&frozen).status().unwrap().success());
    assert_eq!((code, &report["restored"]), (0, &json!(5)), "{report}");
}
