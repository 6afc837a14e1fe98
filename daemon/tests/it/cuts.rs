//! Uploads that end in the middle: nothing partial gets a name, what had the name keeps it, nothing is left behind, and
//! the next upload works (I2, I3, I6, I22).
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, listing};
use crate::support::luck::{self, Luck};
use crate::support::wire::{self, Leaving, Reply};

const IDLE: u64 = 2;

/// A request that is never sent to its end.
struct Upload {
    bytes: Vec<u8>,
    what: String,
}

fn upload(daemon: &Daemon, who: &Account, name: &str, luck: &mut Luck) -> Upload {
    let len = if luck.below(3) == 0 { 256 * 1024 + luck.below(600_000) } else { 2 + luck.below(100_000) };
    let body = luck::bytes(luck.next(), len as usize);
    let in_chunks = luck.below(2) == 0;
    let (framing, body) = if in_chunks {
        ("Transfer-Encoding: chunked".to_owned(), wire::chunked(&body, 1 + luck.below(70_000) as usize))
    } else {
        (format!("Content-Length: {len}"), body)
    };
    let head = format!(
        "PUT /dav/{name} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n{framing}\r\n\r\n",
        daemon.address,
        who.basic()
    );
    let whole = [head.as_bytes(), &body].concat();
    // Anywhere, the head included, but never all of it; a third ends within the last bytes, where mistakes live.
    let end = whole.len() as u64;
    let cut = match luck.below(3) {
        0 => end - 1 - luck.below(8),
        1 => head.len() as u64 + luck.below(end - head.len() as u64),
        _ => 1 + luck.below(end - 1),
    };
    let what = format!("PUT {name}, {framing}, {cut} of {end} bytes");
    Upload { bytes: whole[..cut as usize].to_vec(), what }
}

/// The daemon gives up on those who stand still, and says so or closes.
fn wait_out(stalled: &mut Vec<(String, TcpStream)>) {
    for (what, mut stream) in stalled.drain(..) {
        let answer = wire::read_all(&mut stream);
        match answer {
            Ok(bytes) => {
                let reply = Reply::parse(&bytes);
                assert!(reply.as_ref().is_none_or(|r| (400..500).contains(&r.status)), "{what}: {reply:?}");
            }
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{what}: held for ever: {e}"),
        }
    }
}

/// Files without a name that the process still holds open on A.
fn nameless(daemon: &Daemon) -> Vec<String> {
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let targets = open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    let own = daemon.dir.join("a").to_string_lossy().into_owned();
    targets
        .map(|t| t.to_string_lossy().into_owned())
        .filter(|t| t.starts_with(&own) && t.ends_with("(deleted)"))
        .collect()
}

fn check(daemon: &mut Daemon, expected: &BTreeMap<String, String>) {
    let files = |drive: &std::path::Path| {
        let mut all = listing(&drive.join("photos/anna"));
        all.retain(|name, _| !name.ends_with('/'));
        all
    };
    // Those who left a moment ago may still be looked after.
    daemon.until("nothing is held open", |d| nameless(d).is_empty());
    assert_eq!(&files(&daemon.dir.join("a")), expected, "what has a name on A");
    for drive in ["a", "b"] {
        for own in [".shoebox/incoming", ".shoebox/trash", ".shoebox/scratch"] {
            let mut left = listing(&daemon.dir.join(drive).join(own));
            left.retain(|name, _| !name.ends_with('/'));
            assert!(left.is_empty(), "left in {drive}/{own}: {left:?}");
        }
    }
    let b = files(&daemon.dir.join("b"));
    assert!(b.iter().all(|(name, content)| expected.get(name) == Some(content)), "on B: {b:?}");
}

/// What holds bytes on a drive that photos came with: each file with its inode and its blocks.
fn inodes(drive: &std::path::Path) -> BTreeMap<String, (u64, u64)> {
    let own = ["photos", ".shoebox/trash", ".shoebox/quarantine", ".shoebox/incoming", ".shoebox/scratch"];
    let below = own.into_iter().flat_map(|own| listing(&drive.join(own)).into_keys().map(move |n| (own, n)));
    below
        .filter(|(_, name)| !name.ends_with('/'))
        .map(|(own, name)| {
            let about = std::fs::metadata(drive.join(own).join(&name)).unwrap();
            (format!("{own}/{name}"), (about.ino(), about.blocks()))
        })
        .collect()
}

#[test]
fn an_upload_that_ends_early_leaves_nothing() {
    let cuts = luck::size("SHOEBOX_CUTS", 100);
    let mut luck = Luck::new(luck::seed("cuts"));
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), IDLE);
    let who = daemon.add_person("anna", "laptop", "computer");
    let mut expected = BTreeMap::new();
    for n in 0..8 {
        let body = luck::bytes(1_000_000 + n, 50_000);
        assert_eq!(daemon.request(&who, "PUT", &format!("/dav/old{n}.jpg"), "", &body).status, 201);
        expected.insert(format!("old{n}.jpg"), hash(&body));
    }
    let (mut stalled, mut counts) = (Vec::new(), BTreeMap::new());
    for n in 0..cuts {
        let name =
            if luck.below(2) == 0 { format!("old{}.jpg", luck.below(8)) } else { format!("new{n}.jpg") };
        let upload = upload(&daemon, &who, &name, &mut luck);
        let leaving = [Leaving::Fin, Leaving::Reset, Leaving::Stall][luck.below(3) as usize];
        if let Ok(Some(stream)) = wire::cut(daemon.address, &upload.bytes, leaving) {
            stalled.push((format!("{n}: {}", upload.what), stream));
        }
        *counts.entry(format!("{leaving:?}")).or_insert(0) += 1;
        if stalled.len() == 60 {
            wait_out(&mut stalled);
        }
        if n % 25 == 24 {
            let (name, body) = (format!("whole{n}.jpg"), luck::bytes(2_000_000 + n, 300_000));
            let reply = daemon.request(&who, "PUT", &format!("/dav/{name}"), "", &body);
            assert_eq!(reply.status, 201, "the next upload: {}", reply.text);
            expected.insert(name, hash(&body));
        }
    }
    wait_out(&mut stalled);
    check(&mut daemon, &expected);
    // And what is there can be had whole.
    for (name, content) in &expected {
        let reply = daemon.request(&who, "GET", &format!("/dav/{name}"), "", b"");
        assert_eq!((reply.status, &hash(&reply.body)), (200, content), "{name}");
    }
    // Once more by a phone that did not hear the answer: not a byte on either drive.
    daemon.until("B has all", |d| expected.keys().all(|name| d.is_mirrored(&format!("anna/{name}"))));
    let files = |d: &Daemon| ["a", "b"].map(|drive| inodes(&d.dir.join(drive)));
    let before = files(&daemon);
    for n in 0..8 {
        let body = luck::bytes(1_000_000 + n, 50_000);
        assert!(daemon.request(&who, "PUT", &format!("/dav/old{n}.jpg"), "", &body).is_success());
    }
    assert_eq!(files(&daemon), before, "a duplicate costs nothing");
    // The names that were cut are free, and those that were kept can still be replaced.
    for name in ["new0.jpg", "old0.jpg"] {
        let body = luck::bytes(3_000_000, 70_000);
        assert!(daemon.request(&who, "PUT", &format!("/dav/{name}"), "", &body).is_success());
        assert_eq!(daemon.request(&who, "GET", &format!("/dav/{name}"), "", b"").body, body);
    }
    daemon.kill();
    daemon.start();
    let report = daemon.ask(&["verify", "--json"]);
    assert_eq!((report["damaged"].to_string(), report["missing"].to_string()), ("[]".into(), "[]".into()));
    println!("cuts: {cuts} uploads cut ({counts:?}), 0 partial, 0 left behind");
}
