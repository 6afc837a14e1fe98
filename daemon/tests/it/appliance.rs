//! The daemon and the command that root runs, together: disks are prepared, formatted, unmounted and switched off for the daemon, and
//! what is told of them reaches people. The real binary, real filesystems, that command's own code.
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use shoebox_drive::device::Device;
use shoebox_drive::placing::Decision;
use shoebox_drive::report::{self, Report};
use shoebox_drive::{attaching, filesystem};

use crate::support::appliance::{Disk, Root, run};
use crate::support::daemon::{Account, Daemon};
use crate::support::listing::hash;
use crate::support::luck;
use crate::support::mounted::leave_out;

const EXT4: &[&str] = &["mkfs.ext4", "-q", "-F"];

struct Box {
    daemon: Daemon,
    who: Account,
    root: Root,
    /// A and B.
    disks: Vec<Disk>,
}

fn daemon(dir: &Path, more: &str) -> Daemon {
    let mut daemon = Daemon::new(dir, 5, &[]);
    daemon.require_mount = true;
    daemon.log_level = "info";
    daemon.more = format!("[health]\nperiod_seconds = 1\n{more}");
    daemon
}

fn adopt(daemon: &Daemon, what: &str, role: &str) {
    let adopted = daemon.run(&["drive", "adopt", what, "--role", role]);
    assert_eq!(adopted.0, 0, "{adopted:?}\n{}", daemon.log());
}

/// A and B, from blank disks with a filesystem, and one person.
fn furnish(dir: &Path, more: &str) -> Result<Box, String> {
    let root = Root::new(dir)?;
    root.answer();
    let mut daemon = daemon(dir, more);
    daemon.spawn();
    daemon.until_it_answers();
    let mut disks = Vec::new();
    for (name, role) in [("first", "primary"), ("second", "mirror")] {
        let (disk, report) = root.plug_in(&root.image(name, EXT4));
        assert_eq!((report["offer"].as_str(), report["reason"].as_str()), (Some("adopt"), Some("unmarked")));
        adopt(&daemon, &disk.name(), role);
        disks.push(disk);
    }
    let who = daemon.add_person("anna", "laptop", "computer");
    Ok(Box { daemon, who, root, disks })
}

fn put(all: &Box, names: std::ops::Range<u64>) {
    for number in names {
        let reply = all.daemon.request(&all.who, "PUT", &format!("/dav/{number}.jpg"), "", &photo(number));
        assert!(reply.is_success(), "{number}: {}\n{}", reply.text, all.daemon.log());
    }
}

fn photo(number: u64) -> Vec<u8> {
    luck::bytes(number, 20_000 + (number as usize * 7919) % 90_000)
}

/// Photos of a drive, by name.
fn photos(drive: &Path) -> BTreeMap<String, String> {
    let all = fs::read_dir(drive.join("photos/anna")).unwrap().map(|entry| entry.unwrap().path());
    all.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), hash(&fs::read(&path).unwrap())))
        .collect()
}

fn all_of(numbers: std::ops::Range<u64>) -> BTreeMap<String, String> {
    numbers.map(|number| (format!("{number}.jpg"), hash(&photo(number)))).collect()
}

fn finding(daemon: &Daemon, code: &str) -> Option<Value> {
    let status = daemon.ask(&["status", "--json"]);
    status["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code).cloned()
}

fn view(daemon: &Daemon, place: &Path) -> Value {
    let drives = daemon.ask(&["drive", "list", "--json"]);
    let is_there = |drive: &&Value| drive["mount"] == place.to_str().unwrap();
    drives.as_array().unwrap().iter().find(is_there).cloned().unwrap()
}

#[test]
fn an_offline_drive_is_filled_let_go_and_brought_up_to_date_when_it_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), "") {
        Ok(all) => all,
        Err(why) => return leave_out("offline-drive-visits", &why),
    };
    put(&all, 0..12);
    let image = all.root.image("third", EXT4);
    let (disk, _) = all.root.plug_in(&image);
    let name = disk.name();
    // Nothing is done to it, and it is said what can be.
    all.daemon.until("the strange drive is told of", |d| finding(d, "drive-strange").is_some());
    let listed = all.daemon.run(&["drive", "list"]).1;
    assert!(listed.contains("plugged in besides: ") && listed.contains(&name), "{listed}");
    let plugged = all.daemon.ask(&["drive", "list", "--plugged", "--json"]);
    assert_eq!(plugged.as_array().unwrap().len(), 3, "{plugged}");
    adopt(&all.daemon, &name, "offline");
    let at = dir.path().join("c");
    all.daemon.until("it has everything and is unmounted", |d| {
        finding(d, "offline-drive-done").is_some() && !all.root.is_taken("c")
    });
    let done = finding(&all.daemon, "offline-drive-done").unwrap();
    assert_eq!(done["light"], "green");
    assert!(done["sentence"].as_str().unwrap().ends_with("may be unplugged"), "{done}");
    assert!(all.daemon.run(&["status"]).1.contains("may be unplugged"));
    assert!(
        finding(&all.daemon, "drive-strange").is_none() && finding(&all.daemon, "drive-ejected").is_none()
    );
    // Unmounted, and told of a moment later.
    let told = |d: &Daemon| d.log().matches("has everything and may be unplugged").count();
    all.daemon.until("the journal has it", |d| told(d) == 1);
    drop(disk);
    all.root.within(&image, |root| {
        assert_eq!(photos(root), all_of(0..12));
        // A person's own program has nothing left to do, but for the dates of folders.
        let (from, to) = (format!("{}/", dir.path().join("a/photos").display()), root.join("photos"));
        assert_eq!(run("rsync", &["-anciO", &from, to.to_str().unwrap()]), "");
    });

    put(&all, 12..20);
    let (disk, report) = all.root.plug_in(&image);
    assert_eq!(report["at"], at.to_str().unwrap(), "recognised, without a question");
    all.daemon.until("it comes into use", |d| finding(d, "offline-drive-done").is_none());
    all.daemon.until("it was let go again", |d| {
        finding(d, "offline-drive-done").is_some() && !all.root.is_taken("c")
    });
    drop(disk);
    all.root.within(&image, |root| assert_eq!(photos(root), all_of(0..20)));
    // What was there before was re-read while it was here.
    all.daemon.until("the journal has it again", |d| told(d) >= 2);
    assert_eq!(told(&all.daemon), 2, "{}", all.daemon.log());
}

#[test]
fn an_offline_drive_stays_where_the_settings_want_it_and_is_ejected_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), "[offline]\neject_when_done = false\n") {
        Ok(all) => all,
        Err(why) => return leave_out("offline-drive-stays", &why),
    };
    put(&all, 0..3);
    let (disk, _) = all.root.plug_in(&all.root.image("third", EXT4));
    adopt(&all.daemon, &disk.name(), "offline");
    all.daemon.until("it may be unplugged", |d| finding(d, "offline-drive-done").is_some());
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert!(all.root.is_taken("c"), "it stays");
    let (code, said) = all.daemon.run(&["drive", "eject", &disk.name()]);
    assert_eq!((code, said.lines().last()), (0, Some("It was unmounted: it may be unplugged.")), "{said}");
    assert!(!all.root.is_taken("c"));
}

#[test]
fn a_drive_is_unmounted_when_it_is_ejected_and_somebody_who_uses_it_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), "") {
        Ok(all) => all,
        Err(why) => return leave_out("ejecting", &why),
    };
    put(&all, 0..3);
    let b = dir.path().join("b");
    all.daemon.until("B has them", |d| (0..3).all(|n| d.is_mirrored(&format!("anna/{n}.jpg"))));
    let held = fs::File::open(b.join("photos/anna/1.jpg")).unwrap();
    let (code, said) = all.daemon.run(&["drive", "eject", "mirror"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("It could not be unmounted") && said.contains("busy"), "{said}");
    assert!(all.root.is_taken("b"));
    drop(held);
    let (code, said) = all.daemon.run(&["drive", "eject", "mirror", "--json"]);
    let ejection: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &ejection["mounted"], &ejection["released"]["outcome"]),
        (0, &false.into(), &"off".into())
    );
    assert!(!all.root.is_taken("b"));
    put(&all, 3..5);
    // Unplugged, and plugged in again under another name.
    let disk = all.disks.pop().unwrap();
    let was = disk.name();
    drop(disk);
    let other = Disk::show(&all.root.image("between", &[]));
    let (disk, report) = all.root.plug_in(&dir.path().join("second.img"));
    assert_eq!(report["at"], b.to_str().unwrap());
    assert_ne!(disk.name(), was);
    all.daemon
        .until("B is back and has what came", |d| (0..5).all(|n| d.is_mirrored(&format!("anna/{n}.jpg"))));
    drop(other);
}

/// `shoebox drive format`, with a line on standard input.
fn format(daemon: &Daemon, disk: &str, line: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_shoebox"))
        .args(["--config", daemon.dir.join("config.toml").to_str().unwrap(), "drive", "format", disk])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever refuses before it asks is gone already.
    drop(child.stdin.take().unwrap().write_all(line.as_bytes()));
    let done = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

#[test]
fn a_disk_is_formatted_when_it_was_named_and_a_drive_of_a_shoebox_never() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), "") {
        Ok(all) => all,
        Err(why) => return leave_out("formatting", &why),
    };
    put(&all, 0..2);
    let image = all.root.image("old", &["mkfs.ext4", "-q", "-F", "-L", "Holidays"]);
    let before = hash(&fs::read(&image).unwrap());
    let (disk, _) = all.root.plug_in(&image);
    let name = disk.name();
    let (code, _, shown) = format(&all.daemon, &name, "yes\n");
    assert_eq!(code, 1, "{shown}");
    for word in ["\"Holidays\"", "All of this will be lost", "100663296 bytes"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert_eq!(hash(&fs::read(&image).unwrap()), before, "nothing was done to it");
    let wanted = shown.lines().find_map(|line| line.strip_prefix("To go on, type: ")).unwrap().to_owned();
    let (code, said, shown) = format(&all.daemon, &name, &format!("{wanted}\n"));
    assert_eq!(code, 0, "{shown}");
    let part = format!("{name}p1");
    assert!(said.contains(&format!("shoebox drive adopt {part} --role")), "{said}");
    // udev's part.
    attaching::attach(&part.parse().unwrap(), &all.root.settings).unwrap();
    adopt(&all.daemon, &part, "offline");
    assert!(all.daemon.run(&["drive", "eject", "offline"]).0 == 0 || !all.root.is_taken("c"));

    // A drive of the box's, in use and not.
    let refused = |all: &Box, disk: &str, why: &str| {
        let (_, _, shown) = format(&all.daemon, disk, "no\n");
        let wanted = shown.lines().find_map(|line| line.strip_prefix("To go on, type: ")).unwrap().to_owned();
        let (code, _, said) = format(&all.daemon, disk, &wanted);
        assert!(code == 1 && said.contains(why), "{said}");
    };
    let mirror = all.disks[1].name();
    refused(&all, &mirror, "in use at");
    all.daemon.until("B has them", |d| (0..2).all(|n| d.is_mirrored(&format!("anna/{n}.jpg"))));
    assert_eq!(all.daemon.run(&["drive", "eject", "mirror"]).0, 0);
    let before = hash(&fs::read(dir.path().join("second.img")).unwrap());
    refused(&all, &mirror, "is a drive of a Shoebox");
    assert_eq!(hash(&fs::read(dir.path().join("second.img")).unwrap()), before);
}

#[test]
fn where_nobody_does_what_takes_root_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path(), "");
    daemon.spawn();
    daemon.until_it_answers();
    for command in [&["drive", "prepare", "sdz1"][..], &["drive", "adopt", "sdz1", "--role", "mirror"]] {
        assert_eq!(daemon.run(command).0, 5, "{command:?}");
    }
    assert_eq!(daemon.ask(&["drive", "list", "--plugged", "--json"]), serde_json::json!([]));
    assert!(finding(&daemon, "device-report-unreadable").is_none());
    // What is told of a device that is there, and cannot be understood, is a finding and no more.
    fs::create_dir(dir.path().join("run")).unwrap();
    let device = fs::read_dir("/sys/class/block").unwrap().map(|entry| entry.unwrap().file_name()).next();
    let Some(device) = device else { return leave_out("unreadable-report", "no block device") };
    fs::write(dir.path().join("run").join(format!("{}.json", device.to_str().unwrap())), "{").unwrap();
    daemon.until("it is told", |d| finding(d, "device-report-unreadable").is_some());
}

/// The system's card is lost; the drives stay. Another box, nothing of the old one but the drives, in other sockets.
#[test]
fn a_fresh_card_finds_everything_on_the_old_drives_without_a_question() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), "") {
        Ok(all) => all,
        Err(why) => return leave_out("fresh-card", &why),
    };
    put(&all, 0..5);
    all.daemon.until("B has them", |d| (0..5).all(|n| d.is_mirrored(&format!("anna/{n}.jpg"))));
    all.daemon.kill();
    for disk in all.disks.drain(..) {
        all.root.pull(disk);
    }
    for left in ["config.toml", "log", "control.sock", "previews"] {
        let at = dir.path().join(left);
        let _gone = fs::remove_file(&at).or_else(|_| fs::remove_dir_all(&at));
    }
    let mut fresh = daemon(dir.path(), "");
    fresh.spawn();
    fresh.until_it_answers();
    // B first, so that the kernel's names are others.
    let (b, _) = all.root.plug_in(&dir.path().join("second.img"));
    let (a, report) = all.root.plug_in(&dir.path().join("first.img"));
    assert_eq!(report["at"], dir.path().join("a").to_str().unwrap());
    fresh.until("it serves", |d| d.request(&all.who, "PROPFIND", "/dav/", "Depth: 0\r\n", b"").status == 207);
    for number in 0..5 {
        let reply = fresh.request(&all.who, "GET", &format!("/dav/{number}.jpg"), "", b"");
        assert!(reply.status == 200 && reply.body == photo(number));
    }
    assert_eq!(fresh.request(&all.who, "PUT", "/dav/5.jpg", "", &photo(5)).status, 201);
    fresh.until("B has it", |d| d.is_mirrored("anna/5.jpg"));
    assert_eq!(fresh.run(&["verify"]).0, 0);
    drop((a, b));
}

/// A dies, the copy goes on; a new disk is filled; then B dies while phones go on sending.
#[test]
fn dead_drives_are_replaced_at_the_boxs_places_while_uploads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), "") {
        Ok(all) => all,
        Err(why) => return leave_out("replacing", &why),
    };
    put(&all, 0..6);
    all.daemon.until("B has them", |d| (0..6).all(|n| d.is_mirrored(&format!("anna/{n}.jpg"))));
    let (b, a) = (all.disks.pop().unwrap(), all.disks.pop().unwrap());
    all.root.pull(a);
    all.daemon.until("A is gone", |d| d.request(&all.who, "PUT", "/dav/x.jpg", "", b"x").status == 503);
    assert_eq!(all.daemon.run(&["drive", "promote", "mirror", "--yes"]).0, 0);
    all.daemon
        .until("the copy goes on", |d| d.request(&all.who, "PUT", "/dav/6.jpg", "", &photo(6)).is_success());
    // The new one is prepared, and takes the place of the copy that is missing now.
    let (new, _) = all.root.plug_in(&all.root.image("third", EXT4));
    adopt(&all.daemon, &new.name(), "mirror");
    all.daemon.until("it has everything", |d| (0..7).all(|n| d.is_mirrored(&format!("anna/{n}.jpg"))));

    // And that one dies.
    all.root.pull(new);
    let (other, _) = all.root.plug_in(&all.root.image("fourth", EXT4));
    let prepared = all.daemon.ask(&["drive", "prepare", &other.name(), "--json"]);
    let at = prepared["at"].as_str().unwrap().to_owned();
    assert_eq!(Path::new(&at), all.root.place_of(&other.name()));
    std::thread::scope(|scope| {
        let (lent, who) = (&all.daemon, &all.who);
        let uploads = scope.spawn(move || {
            for number in 7..30 {
                let reply = lent.request(who, "PUT", &format!("/dav/{number}.jpg"), "", &photo(number));
                assert!(reply.is_success(), "{number}: {}", reply.text);
            }
        });
        let (code, said) = lent.run(&["drive", "replace", "mirror", "--with", &at]);
        assert_eq!(code, 0, "{said}\n{}", lent.log());
        uploads.join().unwrap();
    });
    all.daemon
        .until("the new copy has everything", |d| (0..30).all(|n| d.is_mirrored(&format!("anna/{n}.jpg"))));
    // The old main drive comes back: it is not used, and what is on it stays.
    let (old, _) = all.root.plug_in(&dir.path().join("first.img"));
    let place = all.root.place_of(&old.name());
    all.daemon.until("it is known", |d| view(d, &place)["standing"]["standing"] == "former");
    assert_eq!(photos(&place), all_of(0..6));
    drop((b, other));
}

/// Of a filesystem without a UUID the number counts: a copy of all files on another stick is another drive (promise P3).
#[test]
fn an_offline_drive_with_exfat_is_known_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = match furnish(dir.path(), "[offline]\neject_when_done = false\n") {
        Ok(all) => all,
        Err(why) => return leave_out("exfat-number", &why),
    };
    put(&all, 0..4);
    let at = dir.path().join("c");
    let stick = |name: &str| -> Result<Disk, String> {
        let disk = Disk::show(&all.root.image(name, &["mkfs.exfat"]));
        let node = format!("/dev/{}", disk.name());
        let mounted = Command::new("mount").args(["-t", "exfat-fuse", &node]).arg(&at).output().unwrap();
        if !mounted.status.success() {
            return Err(String::from_utf8_lossy(&mounted.stderr).into_owned());
        }
        // What is told where the kernel mounts it.
        let told = Report {
            device: Device::read(&disk.name).unwrap(),
            filesystem: filesystem::on(&disk.name).unwrap(),
            marker: None,
            decision: Some(Decision::Mounted { at: at.clone() }),
            checked: None,
            cache: None,
            failed: None,
        };
        report::put(&all.root.settings.reports, &told).unwrap();
        Ok(disk)
    };
    let first = match stick("one") {
        Ok(first) => first,
        Err(why) => return leave_out("exfat-number", &why),
    };
    adopt(&all.daemon, at.to_str().unwrap(), "offline");
    let marker = fs::read_to_string(at.join(".shoebox/drive.toml")).unwrap();
    assert!(marker.contains("volume = \"") && !marker.contains("filesystem = "), "{marker}");
    all.daemon.until("it has everything", |d| finding(d, "offline-drive-done").is_some());
    assert_eq!(all.daemon.run(&["drive", "eject", "offline"]).0, 0, "{}", all.daemon.log());
    assert!(!all.root.is_taken("c"));
    let aside = dir.path().join("copied");
    fs::create_dir(&aside).unwrap();
    let copy =
        |from: &Path, to: &Path| run("cp", &["-r", &format!("{}/.", from.display()), to.to_str().unwrap()]);
    run("mount", &["-t", "exfat-fuse", &format!("/dev/{}", first.name()), all.root_aside()]);
    copy(Path::new(all.root_aside()), &aside);
    run("umount", &[all.root_aside()]);
    drop(first);

    let second = stick("two").unwrap();
    copy(&aside, &at);
    all.daemon.until("it is seen to be a copy", |d| view(d, &at)["standing"]["standing"] == "foreign");
    run("umount", &[at.to_str().unwrap()]);
    drop(second);

    // All of the ext4 drive B, on a stick: the marker names a UUID, and this filesystem has none.
    let third = stick("three").unwrap();
    run("umount", &[at.to_str().unwrap()]);
    let node = format!("/dev/{}", third.name());
    run("mount", &["-t", "exfat-fuse", &node, all.root_aside()]);
    copy(&dir.path().join("b"), Path::new(all.root_aside()));
    run("umount", &[all.root_aside()]);
    fs::remove_dir_all(all.root.settings.reports.clone()).unwrap();
    run("mount", &["-t", "exfat-fuse", &node, at.to_str().unwrap()]);
    all.daemon.until("it is seen to be a copy", |d| view(d, &at)["standing"]["standing"] == "foreign");
    run("umount", &[at.to_str().unwrap()]);
}

impl Box {
    fn root_aside(&self) -> &'static str {
        // One folder for all that is looked at beside the box; leaked, as the test ends soon.
        let at = self.daemon.dir.join("beside");
        fs::create_dir_all(&at).unwrap();
        String::leak(at.to_str().unwrap().to_owned())
    }
}

/// A form of the set-up page, sent as a browser does.
fn send(daemon: &Daemon, form: &str) -> crate::support::wire::Reply {
    let to = daemon.address;
    let request = format!(
        "POST /setup HTTP/1.1\r\nHost: {to}\r\nOrigin: http://{to}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    crate::support::wire::Reply::parse(&crate::support::wire::exchange(to, request.as_bytes()).unwrap())
        .unwrap()
}

fn set_up_page(daemon: &Daemon) -> String {
    let to = daemon.address;
    let request = format!("GET /setup HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    let reply = crate::support::wire::exchange(to, request.as_bytes()).unwrap();
    crate::support::wire::Reply::parse(&reply).unwrap().text
}

#[test]
fn a_new_disk_becomes_the_main_drive_on_the_set_up_page() {
    let dir = tempfile::tempdir().unwrap();
    let root = match Root::new(dir.path()) {
        Ok(root) => root,
        Err(why) => return leave_out("set-up-page", &why),
    };
    root.answer();
    let mut daemon = daemon(dir.path(), "");
    daemon.spawn();
    daemon.until_it_answers();
    let (disk, _) = root.plug_in(&root.image("new", EXT4));
    daemon.until("the page shows it", |d| set_up_page(d).contains("Use this one"));
    // Only what the page offers, by a name that is one.
    for other in ["sda1", "..%2Fsda", ""] {
        assert_eq!(send(&daemon, &format!("do=prepare&device={other}")).status, 409, "{other}");
    }
    let prepared = send(&daemon, &format!("do=prepare&device={}", disk.name()));
    assert_eq!(prepared.status, 303, "{}\n{}", prepared.text, daemon.log());
    daemon.until("it can be made drive A", |d| set_up_page(d).contains("Make this drive A"));
    let page = set_up_page(&daemon);
    let mount =
        page.split_once("name=\"mount\" value=\"").unwrap().1.split('"').next().unwrap().replace('/', "%2F");
    let adopted = send(&daemon, &format!("do=drive&mount={mount}&role=primary&fresh=yes"));
    assert_eq!(adopted.status, 303, "{}\n{}", adopted.text, daemon.log());
    daemon.until("it is in use", |d| set_up_page(d).contains("is in use."));
    drop(daemon);
}
