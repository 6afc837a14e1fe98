//! Another disk where a drive should be: swapped sockets, a clone beside its original, a blank disk in A's place. Nothing is
//! written to a wrong one, byte for byte (P3, P5; rows 4 and 17). The real binary on real ext4.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::listing;
use crate::support::mounted::{Mounted, leave_out};

const EXT4: &[&str] = &["mkfs.ext4", "-q", "-F"];

struct Box {
    daemon: Daemon,
    who: Account,
    a: Mounted,
    b: Mounted,
}

fn furnish(dir: &Path) -> Result<Box, String> {
    let mount = |drive: &str| {
        fs::create_dir(dir.join(drive)).unwrap();
        Mounted::image(&dir.join(format!("{drive}.img")), 32, EXT4, &dir.join(drive))
    };
    let (a, b) = (mount("a")?, mount("b")?);
    let mut daemon = Daemon::new(dir, 5, &[]);
    daemon.require_mount = true;
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    assert_eq!(daemon.request(&who, "PUT", "/dav/a.jpg", "", b"kept").status, 201);
    daemon.until("B has it", |d| d.is_mirrored("anna/a.jpg"));
    Ok(Box { daemon, who, a, b })
}

/// All that is on a disk, but for the probe of a drive in use.
fn tree(at: &Path) -> BTreeMap<String, String> {
    let mut all = listing(at);
    all.retain(|name, _| !name.ends_with("/probe") && !name.contains("/incoming/"));
    all
}

fn standing(daemon: &Daemon, mount: &Path) -> String {
    let drives = daemon.ask(&["drive", "list", "--json"]);
    let found = drives.as_array().unwrap().iter().find(|d| d["mount"] == mount.to_str().unwrap()).cloned();
    found.unwrap()["standing"]["standing"].as_str().unwrap().to_owned()
}

struct Finding {
    light: String,
    code: String,
    sentence: String,
    remedy: String,
}

fn findings(daemon: &Daemon) -> Vec<Finding> {
    let status = daemon.ask(&["status", "--json"]);
    let text = |f: &serde_json::Value, key: &str| f[key].as_str().unwrap().to_owned();
    let all = status["findings"].as_array().unwrap().iter().map(|f| Finding {
        light: text(f, "light"),
        code: text(f, "code"),
        sentence: text(f, "sentence"),
        remedy: text(f, "remedy"),
    });
    all.collect()
}

/// What is told about drives, in order.
fn codes(daemon: &Daemon) -> Vec<String> {
    let about_drives = |f: &Finding| f.code.starts_with("drive") || f.code.starts_with("primary");
    findings(daemon).into_iter().filter(about_drives).map(|f| f.code).collect()
}

#[test]
fn drives_in_each_others_sockets_keep_their_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("drives-in-each-others-sockets", &why),
    };
    let marker = |at: &str| fs::read(dir.path().join(at).join(".shoebox/drive.toml")).unwrap();
    let (of_a, of_b) = (marker("a"), marker("b"));
    all.daemon.kill();
    drop((all.a, all.b));
    let there = |drive: &str, at: &str| {
        Mounted::behind(&dir.path().join(format!("{drive}.img")), &dir.path().join(at)).unwrap()
    };
    let (_a, _b) = (there("a", "b"), there("b", "a"));
    all.daemon.start();
    assert_eq!((marker("b"), marker("a")), (of_a, of_b));
    assert_eq!(all.daemon.request(&all.who, "PUT", "/dav/b.jpg", "", b"new").status, 201);
    // On A, wherever it is plugged in, before anywhere else; then on B.
    assert_eq!(fs::read(dir.path().join("b/photos/anna/b.jpg")).unwrap(), b"new");
    all.daemon.until("B has it", |d| d.is_mirrored("anna/b.jpg"));
    assert_eq!(fs::read(dir.path().join("a/photos/anna/b.jpg")).unwrap(), b"new");
    assert!(dir.path().join("b/.shoebox/catalogue.db").exists());
    assert!(!dir.path().join("a/.shoebox/catalogue.db").exists());
    let verified = all.daemon.ask(&["verify", "--json"]);
    assert_eq!((&verified["equal"], &verified["damaged"]), (&4.into(), &serde_json::json!([])));
}

#[test]
fn a_clone_of_a_drive_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("a-clone-of-a-drive", &why),
    };
    // Every byte of A, marker and UUID and all, in B's socket.
    all.daemon.kill();
    all.a.unmount().unwrap();
    fs::copy(dir.path().join("a.img"), dir.path().join("clone.img")).unwrap();
    all.a.mount_again();
    all.daemon.start();
    all.b.pull();
    let at = dir.path().join("b");
    let clone = Mounted::behind(&dir.path().join("clone.img"), &at).unwrap();
    let before = tree(&at);
    all.daemon.until("the clone is seen", |d| standing(d, &at) == "clone");
    assert_eq!(all.daemon.request(&all.who, "PUT", "/dav/b.jpg", "", b"new").status, 201);
    assert_eq!(
        fs::read(dir.path().join("a/photos/anna/b.jpg")).unwrap(),
        b"new",
        "on the one that is in use"
    );
    assert_ne!(all.daemon.run(&["drive", "adopt", at.to_str().unwrap(), "--role", "mirror"]).0, 0);
    assert_eq!(tree(&at), before, "nothing on the clone");
    clone.pull();
    all.b.mount_again();
    all.daemon.until("B is back and has it", |d| d.is_mirrored("anna/b.jpg"));
}

#[test]
fn a_blank_disk_in_as_place_stays_blank() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("a-blank-disk-in-as-place", &why),
    };
    let (at, b) = (dir.path().join("a"), dir.path().join("b"));
    for restart in [false, true] {
        if restart {
            all.daemon.kill();
        }
        all.a.pull();
        let image = dir.path().join(format!("blank-{restart}.img"));
        let blank = Mounted::image(&image, 32, EXT4, &at).unwrap();
        // What somebody had on it.
        fs::write(at.join("taxes.pdf"), b"not ours").unwrap();
        let before = (tree(&at), listing(&b.join("photos")));
        if restart {
            all.daemon.spawn();
            all.daemon.until_it_answers();
        }
        all.daemon.until("people are told what it is", |d| codes(d) == ["primary-blank"]);
        let found = findings(&all.daemon);
        let red: Vec<&Finding> = found.iter().filter(|f| f.light == "red").collect();
        let [one] = red.as_slice() else { panic!("one alarm, not {}", red.len()) };
        let place = at.display();
        assert_eq!(
            one.sentence,
            format!(
                "Drive A (main) is not there, and at {place} there is a disk that this box does not know; nothing is written to \
                 that disk, and new photos are refused until the main drive is back"
            )
        );
        for choice in [
            "plug the main drive in again",
            "shoebox drive promote mirror",
            &format!("shoebox drive replace primary --with {place}"),
        ] {
            assert!(one.remedy.contains(choice), "{choice}: {}", one.remedy);
        }
        for method in ["PUT", "GET", "DELETE", "PROPFIND"] {
            let reply = all.daemon.request(&all.who, method, "/dav/a.jpg", "", b"");
            assert_eq!(reply.status, 503, "{method}");
        }
        let adopted = all.daemon.run(&["drive", "adopt", at.to_str().unwrap(), "--role", "primary"]);
        assert_eq!(adopted.0, 1, "declined: {adopted:?}");
        assert_eq!((tree(&at), listing(&b.join("photos"))), before);
        blank.pull();
        all.a.mount_again();
        let (plugged, Box { daemon, who, .. }) = (Instant::now(), &mut all);
        daemon.until("A is back", |d| d.request(who, "GET", "/dav/a.jpg", "", b"").status == 200);
        // Goal 4.
        assert!(plugged.elapsed() < Duration::from_secs(10), "{:?}", plugged.elapsed());
        daemon.until("nothing is told any more", |d| codes(d).is_empty());
    }
}

/// A box that is off, with A's image and another one, both of which say that they are A.
struct Cloned {
    daemon: Daemon,
    who: Account,
    _b: Mounted,
}

/// `clone.img` is what A was; `a.img` got `b.jpg` since if `older`, and `clone.img` got `c.jpg` if `used`.
fn cloned(dir: &Path, older: bool, used: bool) -> Result<Cloned, String> {
    let Box { mut daemon, who, a, b } = furnish(dir)?;
    let put = |daemon: &mut Daemon, name: &str| {
        assert_eq!(daemon.request(&who, "PUT", &format!("/dav/{name}"), "", name.as_bytes()).status, 201);
    };
    assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
    a.unmount().unwrap();
    fs::copy(dir.join("a.img"), dir.join("clone.img")).unwrap();
    if used {
        // While A is away, its clone is all there is.
        let clone = Mounted::behind(&dir.join("clone.img"), &dir.join("a"))?;
        daemon.start();
        put(&mut daemon, "c.jpg");
        assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
        clone.unmount().unwrap();
    }
    if older {
        a.mount_again();
        daemon.start();
        put(&mut daemon, "b.jpg");
        daemon.until("B has it", |d| d.is_mirrored("anna/b.jpg"));
        assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
        a.unmount().unwrap();
    }
    drop(a);
    fs::create_dir(dir.join("c")).unwrap();
    Ok(Cloned { daemon, who, _b: b })
}

/// `first` is mounted where the settings look first. Which of the two is used, and every byte of the other.
fn of_two(first: &str, second: &str, older: bool) -> Option<()> {
    let dir = tempfile::tempdir().unwrap();
    let Cloned { mut daemon, who, _b } = match cloned(dir.path(), older, false) {
        Ok(all) => all,
        Err(why) => {
            leave_out("two-that-say-they-are-a", &why);
            return None;
        }
    };
    let there = |image: &str, at: &str| {
        Mounted::behind(&dir.path().join(format!("{image}.img")), &dir.path().join(at)).unwrap()
    };
    let (in_a, in_c) = (there(first, "a"), there(second, "c"));
    // Where they are equal, the one that the settings name first.
    let (used, left, other) = if !older || first == "a" { ("a", "c", in_c) } else { ("c", "a", in_a) };
    let (used, left) = (dir.path().join(used), dir.path().join(left));
    let before = tree(&left);
    daemon.spawn();
    daemon.until("one is used", |d| {
        d.run(&["drive", "list", "--json"]).0 == 0 && standing(d, &used) == "ready"
    });
    daemon.until("the other is told of", |d| standing(d, &left) == "clone" && codes(d) == ["drive-clone"]);
    for name in if older { &["a.jpg", "b.jpg"][..] } else { &["a.jpg"] } {
        assert_eq!(daemon.request(&who, "GET", &format!("/dav/{name}"), "", b"").status, 200, "{name}");
    }
    assert_eq!(daemon.request(&who, "PUT", "/dav/d.jpg", "", b"new").status, 201);
    assert_eq!(fs::read(used.join("photos/anna/d.jpg")).unwrap(), b"new");
    daemon.until("B has it", |d| d.is_mirrored("anna/d.jpg"));
    assert_eq!(tree(&left), before, "nothing on the clone");
    let one = findings(&daemon).into_iter().find(|f| f.code == "drive-clone").unwrap();
    assert_eq!(one.light, "amber");
    assert!(one.sentence.contains(&left.display().to_string()), "{}", one.sentence);
    other.pull();
    daemon.until("nothing more is told", |d| codes(d).is_empty());
    Some(())
}

#[test]
fn of_two_drives_that_say_they_are_a_the_one_that_goes_further_is_used() {
    for (first, second, older) in [("clone", "a", true), ("a", "clone", true), ("clone", "a", false)] {
        if of_two(first, second, older).is_none() {
            return;
        }
    }
}

/// One that comes while A is in use, and a copy of its files on another filesystem: A is used again whenever it is opened anew.
#[test]
fn what_says_that_it_is_a_and_is_not_keeps_a_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let c = dir.path().join("c");
    fs::create_dir(&c).unwrap();
    let (mut all, other) =
        match (furnish(dir.path()), Mounted::image(&dir.path().join("c.img"), 32, EXT4, &c)) {
            (Ok(all), Ok(other)) => (all, other),
            (Err(why), _) | (_, Err(why)) => return leave_out("a-copy-of-a-drive", &why),
        };
    let serves = |all: &mut Box, when: &str| {
        let who = all.who.clone();
        all.daemon.until(when, |d| d.request(&who, "GET", "/dav/a.jpg", "", b"").status == 200);
    };
    all.daemon.kill();
    let copied = Command::new("cp").arg("-a").arg(dir.path().join("a/.")).arg(&c).status().unwrap();
    assert!(copied.success());
    let before = tree(&c);
    all.daemon.spawn();
    all.daemon.until_it_answers();
    serves(&mut all, "A is used beside a copy of its files");
    all.daemon.until("the copy is left alone", |d| standing(d, &c) == "foreign");
    all.a.pull();
    all.daemon.until("A is missed", |d| codes(d).contains(&"drive-absent".to_owned()));
    all.a.mount_again();
    serves(&mut all, "A is back beside a copy of its files");
    assert_eq!(tree(&c), before);

    // A clone of the whole disk, which comes when A is in use.
    other.unmount().unwrap();
    fs::copy(dir.path().join("a.img"), dir.path().join("clone.img")).unwrap();
    let _clone = Mounted::behind(&dir.path().join("clone.img"), &c).unwrap();
    all.daemon.until("the clone is left alone", |d| standing(d, &c) == "clone");
    assert_eq!(all.daemon.request(&all.who, "PUT", "/dav/d.jpg", "", b"new").status, 201);
    all.a.pull();
    all.daemon.until("A is missed", |d| codes(d).contains(&"drive-absent".to_owned()));
    assert_eq!(standing(&all.daemon, &c), "clone");
    all.a.mount_again();
    serves(&mut all, "A is back beside a clone that came later");
    assert_eq!(all.daemon.request(&all.who, "GET", "/dav/d.jpg", "", b"").status, 200, "and not the clone");
}

#[test]
fn a_clone_that_was_left_alone_does_not_step_in() {
    let dir = tempfile::tempdir().unwrap();
    let Cloned { mut daemon, who, _b } = match cloned(dir.path(), false, false) {
        Ok(all) => all,
        Err(why) => return leave_out("a-clone-that-was-left-alone", &why),
    };
    let there =
        |image: &str, at: &str| Mounted::behind(&dir.path().join(image), &dir.path().join(at)).unwrap();
    let (a, _clone) = (there("a.img", "a"), there("clone.img", "c"));
    let c = dir.path().join("c");
    let before = tree(&c);
    daemon.spawn();
    daemon.until_it_answers();
    daemon.until("A is used", |d| d.request(&who, "GET", "/dav/a.jpg", "", b"").status == 200);
    daemon.until("the other is left alone", |d| standing(d, &c) == "clone");
    assert_eq!(daemon.request(&who, "PUT", "/dav/d.jpg", "", b"new").status, 201);
    a.pull();
    daemon.until("A is missed", |d| codes(d).contains(&"drive-absent".to_owned()));
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(standing(&daemon, &c), "clone");
    assert_eq!(daemon.request(&who, "GET", "/dav/a.jpg", "", b"").status, 503);
    assert_eq!(tree(&c), before);
    a.mount_again();
    daemon.until("A is back", |d| d.request(&who, "GET", "/dav/d.jpg", "", b"").status == 200);
}

#[test]
fn of_two_drives_that_each_have_something_of_their_own_none_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let Cloned { mut daemon, who, _b } = match cloned(dir.path(), true, true) {
        Ok(all) => all,
        Err(why) => return leave_out("two-that-diverged", &why),
    };
    let there =
        |image: &str, at: &str| Mounted::behind(&dir.path().join(image), &dir.path().join(at)).unwrap();
    let (_a, clone) = (there("a.img", "a"), there("clone.img", "c"));
    let places = [dir.path().join("a"), dir.path().join("c")];
    let before = places.each_ref().map(|at| tree(at));
    daemon.spawn();
    daemon.until("people are asked", |d| d.run(&["drive", "list"]).0 == 0 && codes(d) == ["drives-diverged"]);
    let red: Vec<Finding> = findings(&daemon).into_iter().filter(|f| f.light == "red").collect();
    let [one] = red.as_slice() else { panic!("one alarm, not {}", red.len()) };
    for said in places.iter().map(|at| at.display().to_string()).chain(["drive A (main)".to_owned()]) {
        assert!(one.sentence.contains(&said), "{said}: {}", one.sentence);
    }
    for method in ["PUT", "GET", "DELETE"] {
        assert_eq!(daemon.request(&who, method, "/dav/a.jpg", "", b"").status, 503, "{method}");
    }
    // After the seconds in which drives may be on their way, too.
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(codes(&daemon), ["drives-diverged"]);
    assert_eq!(places.each_ref().map(|at| tree(at)), before, "nothing on either");
    clone.pull();
    daemon.until("the other is used", |d| d.request(&who, "GET", "/dav/b.jpg", "", b"").status == 200);
    daemon.until("nothing is asked any more", |d| codes(d).is_empty());
    assert_eq!(tree(&places[1]).len(), 0, "unplugged");
}
