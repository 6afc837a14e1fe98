//! The inbox: one file in one request, from programs that can neither ask nor make folders (iOS Shortcuts).
use std::fs;

use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, hashes, listing};
use crate::support::wire;

fn send(daemon: &Daemon, who: &Account, name: &str, more: &str, body: &[u8]) -> (u16, Value, String) {
    let reply = daemon.request(who, "PUT", &format!("/inbox/{name}"), more, body);
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default(), reply.text)
}

#[test]
fn a_shortcut_sends_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let phone = daemon.add_person("anna", "phone", "phone");
    let dated = "X-OC-Mtime: 1600000000\r\nContent-Type: image/heic\r\n";
    let (status, said, text) = send(&daemon, &phone, "2026-11/IMG%201.HEIC", dated, b"first");
    assert_eq!((status, said["outcome"].as_str()), (201, Some("stored")), "{text}");
    assert_eq!(said["path"], "anna/phone/inbox/2026-11/IMG 1.HEIC");
    assert!(text.to_ascii_lowercase().contains("x-oc-mtime: accepted"), "{text}");
    let file = daemon.photos().join("anna/phone/inbox/2026-11/IMG 1.HEIC");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_600_000_000);

    // The same again, also in other letters: a success, and nothing new.
    for name in ["2026-11/IMG%201.HEIC", "2026-11/img%201.heic"] {
        let (status, said, text) = send(&daemon, &phone, name, "", b"first");
        assert_eq!((status, said["outcome"].as_str()), (200, Some("already there")), "{text}");
        assert_eq!(said["path"], "anna/phone/inbox/2026-11/IMG 1.HEIC");
    }
    // Other bytes under the name: beside it, and each of them is known from then on.
    for _ in 0..2 {
        for (number, body) in [("", &b"first"[..]), (" (2)", b"second"), (" (3)", b"third")] {
            let (status, said, text) = send(&daemon, &phone, "2026-11/IMG%201.HEIC", "", body);
            assert!(matches!(status, 200 | 201), "{text}");
            assert_eq!(said["path"], format!("anna/phone/inbox/2026-11/IMG 1{number}.HEIC"));
        }
    }
    // POST is the same; a folder in the way of a name is no obstacle either.
    let posted = daemon.request(&phone, "POST", "/inbox/2026-11", "", b"a file named like the folder");
    assert_eq!(posted.status, 201, "{}", posted.text);
    let listed = listing(&daemon.photos());
    let mut expected: Vec<String> = ["IMG 1.HEIC", "IMG 1 (2).HEIC", "IMG 1 (3).HEIC"]
        .map(|name| format!("anna/phone/inbox/2026-11/{name}"))
        .to_vec();
    expected.push("anna/phone/inbox/2026-11 (2)".to_owned());
    expected.sort();
    assert_eq!(
        listed.keys().filter(|p| daemon.photos().join(p).is_file()).cloned().collect::<Vec<_>>(),
        expected
    );
    assert!(listing(&daemon.dir.join("a/.shoebox/trash")).is_empty());
    for name in expected {
        daemon.until("it is on B", |d| d.is_mirrored(&name));
    }
}

#[test]
fn what_is_no_file_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let phone = daemon.add_person("anna", "phone", "phone");
    for (name, more, body, expected) in [
        ("a.jpg", "Content-Type: multipart/form-data; boundary=x\r\n", &b"--x"[..], 415),
        ("a.jpg", "Content-Type: application/x-www-form-urlencoded\r\n", b"a=b", 415),
        ("a.jpg", "Content-Encoding: gzip\r\n", b"x", 415),
        ("a.jpg", "Content-Range: bytes 0-0/2\r\n", b"x", 400),
        ("a.jpg", "OC-Checksum: SHA1:0000000000000000000000000000000000000000\r\n", b"x", 400),
        ("a.jpg", "", b"", 400),
        ("a.jpg?x", "", b"x", 400),
        ("", "", b"x", 400),
        ("a/", "", b"x", 400),
        ("../a.jpg", "", b"x", 400),
        ("a/%2e%2e/%2e%2e/b.jpg", "", b"x", 400),
        ("%ff.jpg", "", b"x", 400),
    ] {
        let (status, _, text) = send(&daemon, &phone, name, more, body);
        assert_eq!(status, expected, "{name} {more}: {text}");
    }
    assert_eq!(daemon.request(&phone, "GET", "/inbox/a.jpg", "", b"").status, 405);
    let stranger = Account { user: phone.user.clone(), password: "no-such-password".into() };
    assert_eq!(send(&daemon, &stranger, "a.jpg", "", b"x").0, 401);
    let elsewhere = daemon.request(&phone, "PUT", "/inbox/a.jpg", "Origin: http://evil.example\r\n", b"x");
    assert_eq!(elsewhere.status, 403, "{}", elsewhere.text);
    assert!(hashes(&daemon.photos()).is_empty(), "{:?}", listing(&daemon.photos()));
}

/// Many at once under one name, as when a phone calls all of them `image.jpg`: each content once, none over another.
#[test]
fn uploads_at_once_under_one_name_all_have_one() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 20);
    let phone = daemon.add_person("anna", "phone", "phone");
    let (address, basic) = (daemon.address, phone.basic());
    std::thread::scope(|scope| {
        for worker in 0..6u32 {
            let basic = &basic;
            scope.spawn(move || {
                for n in 0..10u32 {
                    // Every content comes twice, from two of them.
                    let body = format!("content {}", worker / 2 * 10 + n);
                    let reply = wire::request(address, basic, "PUT", "/inbox/image.jpg", "", body.as_bytes());
                    let reply = reply.unwrap();
                    assert!(matches!(reply.status, 200 | 201), "{}", reply.text);
                }
            });
        }
    });
    let found = listing(&daemon.photos());
    let mut contents: Vec<&String> = found.values().filter(|content| !content.is_empty()).collect();
    contents.sort();
    let mut expected: Vec<String> = (0..30).map(|n| hash(format!("content {n}").as_bytes())).collect();
    expected.sort();
    assert_eq!(contents, expected.iter().collect::<Vec<_>>());
    assert!(listing(&daemon.dir.join("a/.shoebox/trash")).is_empty());
}
