//! Nextcloud's apps: their recorded conversations (`tests/fixtures/nextcloud`), spoken to the real binary; what its sync programs look at;
//! and a main drive that is pulled in the middle.
use std::fs;
use std::path::Path;

use sha1::Digest as _;

use crate::support::conversation::play_on;
use crate::support::daemon::{Account, Daemon};
use crate::support::luck;

fn speak(file: &str, kind: &str) {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nextcloud").join(file))
            .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "phone", kind);
    drop(daemon.add_person("ben", "phone", "phone"));
    play_on(&mut daemon, &text, [("password".to_owned(), who.password)].into());
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn the_android_app_is_answered_as_it_needs() {
    speak("android.txt", "phone");
}

#[test]
fn the_ios_app_is_answered_as_it_needs() {
    speak("ios.txt", "phone");
}

#[test]
fn the_desktop_client_is_answered_as_it_needs() {
    speak("desktop.txt", "computer");
}

const TAGS: &str = "<d:propfind xmlns:d=\"DAV:\"><d:prop><d:getetag/></d:prop></d:propfind>";

fn tag(daemon: &Daemon, who: &Account, folder: &str, depth: u8) -> String {
    let target = format!("/remote.php/dav/files/anna/{folder}");
    let reply = daemon.request(who, "PROPFIND", &target, &format!("Depth: {depth}\r\n"), TAGS.as_bytes());
    assert_eq!(reply.status, 207, "{}", reply.text);
    let text = String::from_utf8(reply.body).unwrap();
    text.split("<d:getetag>").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

#[test]
fn whatever_happens_below_a_folder_its_tag_says_so_up_to_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "laptop", "computer");
    let phone = daemon.add_device("anna", "phone", "phone");
    let files = "/remote.php/dav/files/anna";
    for folder in ["album", "album/deep", "other"] {
        assert_eq!(daemon.request(&who, "MKCOL", &format!("{files}/{folder}"), "", b"").status, 201);
    }
    let tags = |d: &Daemon| ["", "album/", "album/deep/", "other/"].map(|folder| tag(d, &who, folder, 0));
    let mut before = tags(&daemon);
    // Which of them changed; the root always must.
    let changed = |daemon: &Daemon, before: &mut [String; 4]| {
        let now = tags(daemon);
        let changed = [0, 1, 2, 3].map(|at| now[at] != before[at]);
        *before = now;
        changed
    };
    assert_eq!(changed(&daemon, &mut before), [false; 4], "asking changes nothing");
    assert_eq!(tag(&daemon, &who, "", 1), before[0], "at every depth the same");
    let put = |target: &str, body: &[u8]| daemon.request(&who, "PUT", target, "", body).status;
    assert_eq!(put(&format!("{files}/album/deep/a.jpg"), b"a"), 201);
    assert_eq!(changed(&daemon, &mut before), [true, true, true, false]);
    assert_eq!(put(&format!("{files}/album/deep/a.jpg"), b"a"), 204);
    assert_eq!(changed(&daemon, &mut before), [false; 4], "the same bytes again are no change");
    let to = format!("Destination: {files}/other/b.jpg\r\n");
    assert_eq!(daemon.request(&who, "MOVE", &format!("{files}/album/deep/a.jpg"), &to, b"").status, 201);
    assert_eq!(changed(&daemon, &mut before), [true, true, true, true]);
    assert_eq!(daemon.request(&who, "DELETE", &format!("{files}/other/b.jpg"), "", b"").status, 204);
    assert_eq!(changed(&daemon, &mut before), [true, false, false, true]);
    // Another device, another dialect, another hand.
    assert_eq!(daemon.request(&phone, "PUT", "/dav/c.jpg", "", b"c").status, 201);
    assert_eq!(changed(&daemon, &mut before), [true, false, false, false]);
    fs::write(daemon.photos().join("anna/album/card.jpg"), b"from a card").unwrap();
    daemon.until("the card's photo is known", |d| tags(d)[1] != before[1]);
    assert_eq!(changed(&daemon, &mut before), [true, true, false, false]);
    // A restart is no change: a desktop would fetch everything again.
    daemon.kill();
    daemon.start();
    assert_eq!(changed(&daemon, &mut before), [false; 4]);
}

#[test]
fn a_main_drive_that_is_pulled_is_no_empty_tree_and_no_lost_photo() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "phone", "phone");
    let (files, uploads) = ("/remote.php/dav/files/anna", "/remote.php/dav/uploads/anna/1");
    let photo = luck::bytes(1, 400_000);
    assert_eq!(daemon.request(&who, "PUT", &format!("{files}/kept.jpg"), "", b"kept").status, 201);
    assert_eq!(daemon.request(&who, "MKCOL", uploads, "", b"").status, 201);
    assert_eq!(daemon.request(&who, "PUT", &format!("{uploads}/1"), "", &photo[..200_000]).status, 201);
    let (at, elsewhere) = (dir.path().join("a"), dir.path().join("pulled"));
    fs::rename(&at, &elsewhere).unwrap();
    fs::create_dir(&at).unwrap();
    let whole = format!("Destination: {files}/big.jpg\r\nDepth: 0\r\n");
    for (method, target, body) in [
        ("PROPFIND", format!("{files}/"), &b""[..]),
        ("HEAD", format!("{files}/kept.jpg"), b""),
        ("HEAD", format!("{files}/"), b""),
        ("GET", format!("{files}/kept.jpg"), b""),
        ("PUT", format!("{files}/new.jpg"), b"new"),
        ("MKCOL", format!("{files}/folder"), b""),
        ("PROPFIND", uploads.to_owned(), b""),
        ("MKCOL", format!("{uploads}0"), b""),
        ("PUT", format!("{uploads}/2"), &photo[200_000..]),
        ("DELETE", uploads.to_owned(), b""),
        ("MOVE", format!("{uploads}/.file"), b""),
        ("GET", "/ocs/v2.php/cloud/user".to_owned(), b""),
        ("HEAD", "/remote.php/dav".to_owned(), b""),
        (
            "SEARCH",
            "/remote.php/dav".to_owned(),
            b"<d:searchrequest xmlns:d=\"DAV:\"><d:basicsearch/></d:searchrequest>",
        ),
    ] {
        let reply = daemon.request(&who, method, &target, &whole, body);
        assert_eq!(reply.status, 503, "{method} {target}: {}", reply.text);
        assert!(reply.text.to_ascii_lowercase().contains("\r\nretry-after: "), "{}", reply.text);
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(method == "HEAD" || body.contains("Sabre\\DAV\\Exception\\ServiceUnavailable"), "{body}");
    }
    // What is the same without a drive.
    for (target, status) in
        [("/status.php", 200), ("/index.php/204", 204), ("/ocs/v1.php/cloud/capabilities", 200)]
    {
        assert_eq!(daemon.request(&who, "GET", target, "", b"").status, status, "{target}");
    }
    fs::remove_dir(&at).unwrap();
    fs::rename(&elsewhere, &at).unwrap();
    daemon.until("A is back", |d| {
        d.request(&who, "PROPFIND", &format!("{files}/"), "Depth: 0\r\n", b"").status == 207
    });
    assert_eq!(daemon.request(&who, "PUT", &format!("{uploads}/2"), "", &photo[200_000..]).status, 201);
    assert_eq!(daemon.request(&who, "MOVE", &format!("{uploads}/.file"), &whole, b"").status, 201);
    assert!(fs::read(daemon.photos().join("anna/phone/big.jpg")).unwrap() == photo);
}

#[test]
fn a_picture_is_as_large_as_it_is_displayed_and_has_the_checksum_it_was_sent_with() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "phone", "phone");
    let upright =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/media/upright.jpg")).unwrap();
    let sha1: String = sha1::Sha1::digest(&upright).iter().map(|byte| format!("{byte:02x}")).collect();
    let target = "/remote.php/dav/files/anna/upright.jpg";
    let told = format!("OC-Checksum: SHA1:{sha1}\r\n");
    assert_eq!(daemon.request(&who, "PUT", target, &told, &upright).status, 201);
    let wrong = format!("OC-Checksum: SHA1:{}\r\n", "0".repeat(40));
    assert_eq!(daemon.request(&who, "PUT", target, &wrong, &upright).status, 400);
    let asked = "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\" xmlns:nc=\"http://nextcloud.org/ns\">\
        <d:prop><oc:checksums/><nc:metadata-photos-size/></d:prop></d:propfind>";
    let mut seen = String::new();
    daemon.until("its size is known", |d| {
        seen = d.request(&who, "PROPFIND", target, "Depth: 0\r\n", asked.as_bytes()).text;
        seen.contains("</nc:metadata-photos-size>")
    });
    let size = "<nc:metadata-photos-size><width>12</width><height>16</height></nc:metadata-photos-size>";
    assert!(
        seen.contains(size) && seen.contains(&format!("<oc:checksum>SHA1:{sha1}</oc:checksum>")),
        "{seen}"
    );
}

#[test]
fn what_is_no_upload_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "phone", "phone");
    let uploads = "/remote.php/dav/uploads";
    for (method, target, more, status) in [
        ("MKCOL", format!("{uploads}/ben/1"), "", 404),
        ("MKCOL", format!("{uploads}/anna/.."), "", 404),
        ("MKCOL", format!("{uploads}/anna/{}", "x".repeat(300)), "", 404),
        ("MKCOL", format!("{uploads}/anna/1"), "OC-Total-Length: much\r\n", 400),
        ("MKCOL", format!("{uploads}/anna/1"), "OC-Total-Length: 18446744073709551615\r\n", 507),
        ("PUT", format!("{uploads}/anna/1/1"), "", 404),
        ("PUT", format!("{uploads}/anna/1/x"), "", 404),
        ("PUT", format!("{uploads}/anna/1"), "", 405),
        ("DELETE", format!("{uploads}/anna/1"), "", 404),
        ("PROPFIND", format!("{uploads}/anna/1"), "", 404),
        ("MOVE", format!("{uploads}/anna/1/.file"), "", 400),
        ("MOVE", format!("{uploads}/anna/1/.file"), "Destination: /dav/a.jpg\r\n", 403),
        (
            "MOVE",
            format!("{uploads}/anna/1/.file"),
            "Destination: /remote.php/dav/files/anna/../ben/a\r\n",
            400,
        ),
        ("MOVE", format!("{uploads}/anna/1/.file"), "Destination: /remote.php/dav/files/anna/a.jpg\r\n", 404),
        ("SEARCH", "/remote.php/dav".to_owned(), "", 400),
        ("REPORT", "/remote.php/dav/files/anna/".to_owned(), "", 400),
        ("REPORT", "/dav/".to_owned(), "", 405),
    ] {
        let reply = daemon.request(&who, method, &target, more, b"");
        assert_eq!(reply.status, status, "{method} {target} {more}: {}", reply.text);
    }
    assert_eq!(fs::read_dir(daemon.photos().join("anna/phone")).unwrap().count(), 0);
    let left = fs::read_dir(dir.path().join("a/.shoebox/uploads"));
    assert_eq!(left.map_or(0, Iterator::count), 0);
}

/// A property of a folder, and those of the folders in it, in the order they are listed.
fn sizes(daemon: &Daemon, who: &Account, folder: &str) -> Vec<u64> {
    let body = "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\"><d:prop><oc:size/></d:prop></d:propfind>";
    let target = format!("/remote.php/dav/files/anna/{folder}");
    let reply = daemon.request(who, "PROPFIND", &target, "Depth: 1\r\n", body.as_bytes());
    let text = String::from_utf8(reply.body).unwrap();
    text.split("<oc:size>").skip(1).map(|rest| rest.split('<').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_folder_is_as_large_as_all_that_is_below_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "laptop", "computer");
    let files = "/remote.php/dav/files/anna";
    assert_eq!(sizes(&daemon, &who, ""), [0], "nothing was ever put there");
    for folder in ["a", "a/deep", "a/deep/deeper", "b"] {
        assert_eq!(daemon.request(&who, "MKCOL", &format!("{files}/{folder}"), "", b"").status, 201);
    }
    let put = |d: &Daemon, name: &str, bytes: usize| {
        let reply = d.request(&who, "PUT", &format!("{files}/{name}"), "", &luck::bytes(bytes as u64, bytes));
        assert!(matches!(reply.status, 201 | 204), "{name}: {}", reply.text);
    };
    assert_eq!(sizes(&daemon, &who, ""), [0, 0, 0]);
    put(&daemon, "a/deep/deeper/1.jpg", 1000);
    put(&daemon, "a/deep/2.jpg", 200);
    put(&daemon, "3.jpg", 30);
    assert_eq!(sizes(&daemon, &who, ""), [1230, 30, 1200, 0]);
    assert_eq!(sizes(&daemon, &who, "a/deep/"), [1200, 200, 1000]);
    put(&daemon, "a/deep/2.jpg", 500);
    let to = format!("Destination: {files}/b/1.jpg\r\n");
    assert_eq!(daemon.request(&who, "MOVE", &format!("{files}/a/deep/deeper/1.jpg"), &to, b"").status, 201);
    assert_eq!(sizes(&daemon, &who, ""), [1530, 30, 500, 1000]);
    // Another catalogue may give the same numbers to other folders.
    daemon.kill();
    for end in ["", "-wal"] {
        let _there_or_not = fs::remove_file(dir.path().join(format!("a/.shoebox/catalogue.db{end}")));
    }
    daemon.start();
    assert_eq!(daemon.request(&who, "DELETE", &format!("{files}/b/1.jpg"), "", b"").status, 204);
    assert_eq!(sizes(&daemon, &who, ""), [530, 30, 500, 0]);
}
