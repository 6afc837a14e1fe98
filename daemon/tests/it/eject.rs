//! A drive is ejected, unmounted while everything goes on, and used again when it is back: the real binary on real mounts.
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};
use crate::support::wire;

/// A drive that is there is looked at every 5 s: what it does not do in this time it does not do.
const A_LOOK: Duration = Duration::from_secs(7);
const MKFS: &[&str] = &["mkfs.ext4", "-q", "-F"];

struct Box {
    daemon: Daemon,
    who: Account,
    a: Mounted,
    b: Mounted,
}

fn furnish(dir: &Path) -> Result<Box, String> {
    let mount = |drive: &str| {
        fs::create_dir(dir.join(drive)).unwrap();
        Mounted::image(&dir.join(format!("{drive}.img")), 128, MKFS, &dir.join(drive))
    };
    let (a, b) = (mount("a")?, mount("b")?);
    let mut daemon = Daemon::new(dir, 5, &[]);
    daemon.require_mount = true;
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    Ok(Box { daemon, who, a, b })
}

fn standing(daemon: &Daemon, role: &str) -> String {
    let drives = daemon.ask(&["drive", "list", "--json"]);
    let found = drives.as_array().unwrap().iter().find(|drive| drive["role"] == role);
    found.map_or_else(String::new, |drive| drive["standing"]["standing"].as_str().unwrap().to_owned())
}

fn findings(daemon: &Daemon) -> Vec<Value> {
    daemon.ask(&["status", "--json"])["findings"].as_array().unwrap().clone()
}

fn put(daemon: &Daemon, who: &Account, name: &str, bytes: &[u8]) -> u16 {
    daemon.request(who, "PUT", &format!("/dav/{name}"), "", bytes).status
}

#[test]
fn drive_b_is_ejected_and_catches_up_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let Box { mut daemon, who, a: _a, b } = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("eject-drive-b", &why),
    };
    assert_eq!(put(&daemon, &who, "a.jpg", b"before"), 201);
    daemon.until("B has it", |d| d.is_mirrored("anna/a.jpg"));

    let ejection = daemon.ask(&["drive", "eject", "mirror", "--json"]);
    assert_eq!(
        (&ejection["drive"]["standing"]["standing"], &ejection["mounted"]),
        (&"ejected".into(), &true.into())
    );
    assert_eq!(put(&daemon, &who, "b.jpg", b"while it is ejected"), 201);
    std::thread::sleep(A_LOOK);
    assert_eq!(standing(&daemon, "mirror"), "ejected", "as long as it is not unmounted");
    assert!(!dir.path().join("b/photos/anna/b.jpg").exists());
    let said = |d: &Daemon| findings(d).iter().any(|f| f["code"] == "drive-ejected" && f["light"] == "amber");
    daemon.until("it says so", said);
    // A second time: the same answer.
    let (code, text) = daemon.run(&["drive", "eject", "mirror"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("1 file (19 B) are not on it yet"), "{text}");
    b.unmount().unwrap();
    assert_eq!(put(&daemon, &who, "c.jpg", b"while it is unmounted"), 201);
    daemon.until("it is seen to be away", |d| standing(d, "mirror") != "ejected");
    let id = ejection["drive"]["id"].as_str().unwrap();
    assert_eq!(daemon.run(&["drive", "eject", &id[..8]]).0, 4, "what is away cannot be ejected");

    b.mount_again();
    daemon.until("B has caught up", |d| ["b", "c"].iter().all(|n| d.is_mirrored(&format!("anna/{n}.jpg"))));
    assert_eq!(fs::read(dir.path().join("b/photos/anna/b.jpg")).unwrap(), b"while it is ejected");

    // So quickly back that nobody saw it go.
    assert_eq!(daemon.run(&["drive", "eject", dir.path().join("b").to_str().unwrap()]).0, 0);
    b.unmount().unwrap();
    b.mount_again();
    daemon.until("B is used again", |d| standing(d, "mirror") == "ready");
    let (code, text) = daemon.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("6 copies read back equal"), "{text}");
}

#[test]
fn drive_a_is_ejected_in_the_middle_of_transfers() {
    let dir = tempfile::tempdir().unwrap();
    let Box { mut daemon, who, a, b } = match furnish(dir.path()) {
        Ok(all) => all,
        Err(why) => return leave_out("eject-drive-a", &why),
    };
    let film = luck::bytes(3, 24 << 20);
    assert_eq!(put(&daemon, &who, "film.mov", &film), 201);
    daemon.until("B has it", |d| d.is_mirrored("anna/film.mov"));
    let request = |method: &str, name: &str, more: &str| {
        let (basic, to) = (who.basic(), daemon.address);
        format!("{method} /dav/{name} HTTP/1.1\r\nHost: {to}\r\nAuthorization: {basic}\r\n{more}\r\n")
    };
    let mut sending = wire::connect(daemon.address).unwrap();
    sending.write_all(request("PUT", "half.mov", "Content-Length: 20000000\r\n").as_bytes()).unwrap();
    sending.write_all(&film[..4 << 20]).unwrap();
    let mut taking = wire::connect(daemon.address).unwrap();
    taking.write_all(request("GET", "film.mov", "Connection: close\r\n").as_bytes()).unwrap();
    taking.read_exact(&mut [0; 4096]).unwrap();

    let (code, text) = daemon.run(&["drive", "eject", "primary"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("New photos are refused until it is back"), "{text}");
    a.unmount().unwrap();
    let refused = daemon.request(&who, "PUT", "/dav/b.jpg", "", b"never");
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.text.to_ascii_lowercase().contains("\r\nretry-after: "), "{}", refused.text);
    assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 0, "nothing beneath the mount point");
    drop((sending, taking));
    // Without A there is nothing for B to do, and nothing that keeps it.
    assert_eq!(daemon.run(&["drive", "eject", "mirror"]).0, 0);
    b.unmount().unwrap();

    a.mount_again();
    b.mount_again();
    daemon.until("A takes uploads", |d| matches!(put(d, &who, "b.jpg", b"at last"), 201 | 204));
    daemon.until("B has it", |d| d.is_mirrored("anna/b.jpg"));
    assert_eq!(fs::read_dir(dir.path().join("a/.shoebox/incoming")).unwrap().count(), 0);
    assert!(!dir.path().join("a/photos/anna/half.mov").exists());
    assert!(daemon.request(&who, "GET", "/dav/film.mov", "", b"").body == film);
    let (code, text) = daemon.run(&["verify"]);
    assert_eq!(code, 0, "{text}");
}
