//! A drive that is really full: refused before a byte where the length is known, refused in the middle where it is not,
//! nothing partial, reading goes on, and with room everything goes on (I11, I22; product, table of requests).
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::clock;
use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, listing};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};
use crate::support::wire::{self, Reply};

/// A small filesystem in memory, mounted where drive A is to be.
struct Small {
    at: PathBuf,
    _mounted: Mounted,
}

impl Small {
    fn mount(at: &Path, size: &str) -> Result<Self, String> {
        fs::create_dir_all(at).unwrap();
        let mounted = Mounted::tmpfs(at, &format!("size={size},mode=0755"))?;
        Ok(Self { at: at.to_owned(), _mounted: mounted })
    }

    fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.at).unwrap();
        stat.blocks_available() * stat.fragment_size()
    }

    /// Another program fills it until no more than `left` bytes are free.
    fn fill(&self, left: u64) {
        let mut file = File::options().create(true).append(true).open(self.at.join("other-hands")).unwrap();
        let piece = vec![7; 64 * 1024];
        while self.free() > left + piece.len() as u64 {
            file.write_all(&piece).unwrap();
        }
        while self.free() > left && file.write_all(&piece[..4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.at.join("other-hands")).unwrap();
    }
}

const MIB: usize = 1 << 20;

/// Only the head; the body would follow after `100 Continue`.
fn announce(daemon: &Daemon, who: &Account, size: usize) -> Reply {
    let head = format!(
        "PUT /dav/announced.mov HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nExpect: 100-continue\r\n\
         Content-Length: {size}\r\nConnection: close\r\n\r\n",
        daemon.address,
        who.basic()
    );
    Reply::parse(&wire::exchange(daemon.address, head.as_bytes()).unwrap()).unwrap()
}

/// A request whose length nobody knows before its end.
fn without_length(daemon: &Daemon, who: &Account, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "PUT /dav/chunked.mov HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        daemon.address,
        who.basic()
    );
    [head.into_bytes(), wire::chunked(body, 60_000)].concat()
}

fn names(daemon: &Daemon) -> Vec<String> {
    listing(&daemon.photos().join("anna")).into_keys().collect()
}

#[test]
fn a_full_drive_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let small = match Small::mount(&dir.path().join("a"), "64m") {
        Ok(small) => small,
        Err(why) => return leave_out("full-drive", &why),
    };
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "laptop", "computer");
    let photo = luck::bytes(1, 300_000);
    assert_eq!(daemon.request(&who, "PUT", "/dav/kept.jpg", "", &photo).status, 201);

    // Known to be too large for what is left above the reserve: refused before the body.
    assert_eq!(announce(&daemon, &who, 62 * MIB).status, 507);
    let large = luck::bytes(2, 60 * MIB);
    assert_eq!(daemon.request(&who, "PUT", "/dav/large.mov", "", &large).status, 507);
    // Not known: refused once it has eaten what uploads may.
    let chunked = without_length(&daemon, &who, &large);
    let reply = Reply::parse(&wire::exchange(daemon.address, &chunked).unwrap()).unwrap();
    assert_eq!(reply.status, 507, "{}", reply.text);
    assert_eq!(names(&daemon), ["kept.jpg"]);
    let room = small.free();
    assert!(room > 55 * MIB as u64, "given back: {room}");

    // At the reserve: uploads are refused, and everything that needs only the catalogue still works.
    small.fill(6 * MIB as u64);
    assert_eq!(daemon.request(&who, "PUT", "/dav/one-more.jpg", "", &photo).status, 507);
    assert_eq!(daemon.request(&who, "GET", "/dav/kept.jpg", "", b"").body, photo);
    assert_eq!(daemon.request(&who, "PROPFIND", "/dav/", "Depth: 1\r\n", b"").status, 207);
    assert_eq!(daemon.request(&who, "MKCOL", "/dav/folder", "", b"").status, 201);
    let moved = daemon.request(&who, "MOVE", "/dav/kept.jpg", "Destination: /dav/folder/kept.jpg\r\n", b"");
    assert_eq!(moved.status, 201, "{}", moved.text);
    assert_eq!(names(&daemon), ["folder/", "folder/kept.jpg"]);

    // Filled to the brim by others while an upload is under way: the kernel says so in the middle of the body.
    small.make_room();
    let (first, rest) = chunked.split_at(8 * MIB);
    let mut stream = wire::connect(daemon.address).unwrap();
    stream.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    small.fill(0);
    let _refused_meanwhile = stream.write_all(&rest[..16 * MIB]);
    let reply = Reply::parse(&wire::read_all(&mut stream).unwrap()).unwrap();
    assert_eq!(reply.status, 507, "{}", reply.text);
    assert_eq!(names(&daemon), ["folder/", "folder/kept.jpg"]);
    small.fill(0);
    assert_eq!(daemon.request(&who, "PUT", "/dav/no-room.jpg", "", &photo).status, 507);
    assert_eq!(daemon.request(&who, "GET", "/dav/folder/kept.jpg", "", b"").body, photo);
    let brim = daemon.request(&who, "MKCOL", "/dav/no-room-either", "", b"");
    assert!(matches!(brim.status, 201 | 503 | 507), "{}", brim.text);
    // A box that starts on a full drive shows what is on it.
    daemon.kill();
    daemon.start();
    assert_eq!(daemon.request(&who, "GET", "/dav/folder/kept.jpg", "", b"").body, photo);
    assert_eq!(daemon.request(&who, "PUT", "/dav/no-room.jpg", "", &photo).status, 507);

    // Room again: everything goes on by itself, after a restart, too, and what was made is what is there.
    small.make_room();
    let put = |d: &Daemon, name: &str| d.request(&who, "PUT", &format!("/dav/{name}"), "", &photo).status;
    daemon.until("uploads are taken again", |d| matches!(put(d, "again.jpg"), 201 | 204));
    daemon.kill();
    daemon.start();
    assert_eq!(put(&daemon, "after.jpg"), 201);
    for name in ["folder/kept.jpg", "again.jpg", "after.jpg"] {
        assert_eq!(daemon.request(&who, "GET", &format!("/dav/{name}"), "", b"").body, photo, "{name}");
    }
    assert!(listing(&daemon.dir.join("a/.shoebox/incoming")).is_empty());
    let partial = listing(&daemon.photos()).into_iter().find(|(_, h)| !h.is_empty() && *h != hash(&photo));
    assert_eq!(partial, None);
    let report = daemon.ask(&["verify", "--json"]);
    assert_eq!(
        (report["damaged"].to_string(), report["missing"].to_string()),
        ("[]".into(), "[]".into()),
        "{report}"
    );
    drop(daemon);
    drop(small);
}

fn finding<'s>(status: &'s serde_json::Value, code: &str) -> Option<&'s serde_json::Value> {
    status["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code)
}

#[test]
fn a_full_second_drive_keeps_nobody_from_uploading_and_is_filled_up_later() {
    let dir = tempfile::tempdir().unwrap();
    let small = match Small::mount(&dir.path().join("b"), "64m") {
        Ok(small) => small,
        Err(why) => return leave_out("full-second-drive", &why),
    };
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "laptop", "computer");
    let put = |d: &Daemon, n: u64| {
        d.request(&who, "PUT", &format!("/dav/{n}.mov"), "", &luck::bytes(n, 3 * MIB)).status
    };
    assert_eq!(put(&daemon, 1), 201);
    daemon.until("B has the first", |d| d.is_mirrored("anna/1.mov"));
    small.fill(3 * MIB as u64);
    for n in 2..6 {
        assert_eq!(put(&daemon, n), 201, "A has room");
    }
    daemon.until("it is told", |d| {
        let status = d.ask(&["status", "--json"]);
        finding(&status, "drive-full").is_some_and(|f| f["sentence"].as_str().unwrap().starts_with("Drive B"))
    });
    assert!(!daemon.is_mirrored("anna/5.mov"));
    let reply = daemon.request(&who, "GET", "/dav/5.mov", "", b"");
    assert_eq!((reply.status, reply.body == luck::bytes(5, 3 * MIB)), (200, true));
    assert!(listing(&dir.path().join("b/.shoebox/incoming")).is_empty(), "nothing half made stays");

    // Room again: nobody has to ask.
    small.make_room();
    daemon.until("B has all", |d| (1..6).all(|n| d.is_mirrored(&format!("anna/{n}.mov"))));
    daemon.until("it is told no more", |d| finding(&d.ask(&["status", "--json"]), "drive-full").is_none());
    drop(daemon);
    drop(small);
}

/// Goal 8: by what came every day a month before, and in any case when a tenth is left; uploads are taken all the while.
#[test]
fn people_are_told_long_before_a_drive_is_full() {
    const DAY: i64 = 24 * 3600;
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("clock");
    fs::write(&set, "+0\n").unwrap();
    let small = Small::mount(&dir.path().join("a"), "64m");
    let under = clock::under(&set).ok_or_else(|| "no libfaketime".to_owned());
    let (small, under) = match (small, under) {
        (Ok(small), Ok(under)) => (small, under),
        (Err(why), _) | (_, Err(why)) => return leave_out("told-before-it-is-full", &why),
    };
    // A disk of its own, too: how full this machine's is must not be told of.
    let roomy = match Small::mount(&dir.path().join("b"), "1g") {
        Ok(roomy) => roomy,
        Err(why) => return leave_out("told-before-it-is-full", &why),
    };
    let mut daemon = Daemon::new(dir.path(), 5, &under.iter().map(String::as_str).collect::<Vec<_>>());
    daemon.more = "[health]\nperiod_seconds = 5\n".to_owned();
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    let put = |d: &Daemon, n: u64, size: usize| {
        let reply = d.request(&who, "PUT", &format!("/dav/{n}.jpg"), "", &luck::bytes(n, size));
        assert_eq!(reply.status, 201, "{}", reply.text);
    };
    let codes = |d: &Daemon| -> Vec<String> {
        let status = d.ask(&["status", "--json"]);
        let all = status["findings"].as_array().unwrap().iter();
        let of_room = all.filter(|f| f["code"].as_str().unwrap().starts_with("drive-f"));
        of_room
            .map(|f| format!("{} {}", f["code"].as_str().unwrap(), f["sentence"].as_str().unwrap()))
            .collect()
    };
    for day in 0..20 {
        put(&daemon, day, 1_400_000);
        fs::write(&set, format!("{:+}\n", DAY * (1 + day as i64))).unwrap();
        if day == 9 || day == 19 {
            // What came is counted anew: it is once an hour, by a clock that no file sets.
            assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
            daemon.start();
        }
        if day == 10 {
            assert_eq!(codes(&daemon), [""; 0], "after ten days nothing can be known");
        }
    }
    let told = |d: &Daemon, begins: &str| codes(d).iter().any(|told| told.starts_with(begins));
    daemon.until("it is told by what came", |d| told(d, "drive-full-soon Drive A (main) is full in about "));
    let days = &codes(&daemon)[0];
    let days: u64 = days.split(' ').rev().nth(1).unwrap().parse().unwrap();
    assert!((10..30).contains(&days), "{days} days, of 64 MiB at 1.4 MB a day");
    // Nothing comes for long, and then others fill it.
    fs::write(&set, format!("{:+}\n", DAY * 150)).unwrap();
    daemon.until("it is told no more", |d| codes(d).is_empty());
    small.fill(64 * MIB as u64 / 9 + 100_000);
    daemon.until("it is told by what is left", |d| told(d, "drive-filling Drive A (main) is 8"));
    put(&daemon, 20, 100_000);
    drop(daemon);
    drop((small, roomy));
}
