//! The quota properties (RFC 4331): what a file manager shows as used and free room.
use crate::support::daemon::{Account, Daemon};
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};
use crate::support::wire::Reply;

const BOTH: &str = "<D:propfind xmlns:D=\"DAV:\"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/></D:prop></D:propfind>";

fn propfind(daemon: &Daemon, who: &Account, target: &str, body: &str) -> Reply {
    let reply = daemon.request(who, "PROPFIND", target, "Depth: 0\r\n", body.as_bytes());
    assert_eq!(reply.status, 207, "{}", reply.text);
    reply
}

/// What is between the tags of a property that came back with 200.
fn figure(reply: &Reply, name: &str) -> u64 {
    let found = reply.text.split("<D:propstat>").find(|part| part.contains(&format!("<D:{name}>"))).unwrap();
    assert!(found.contains("HTTP/1.1 200 OK"), "{}", reply.text);
    let value = found.split(&format!("<D:{name}>")).nth(1).unwrap();
    value.split('<').next().unwrap().parse().unwrap()
}

/// Available and used.
fn quota(daemon: &Daemon, who: &Account, target: &str) -> (u64, u64) {
    let reply = propfind(daemon, who, target, BOTH);
    assert!(!reply.text.contains("404 Not Found"), "{}", reply.text);
    (figure(&reply, "quota-available-bytes"), figure(&reply, "quota-used-bytes"))
}

#[test]
fn a_folder_tells_its_quota_to_those_who_ask() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "laptop", "computer");
    assert_eq!(daemon.request(&who, "MKCOL", "/dav/folder", "", b"").status, 201);
    assert_eq!(daemon.request(&who, "PUT", "/dav/folder/a.jpg", "", b"photo").status, 201);
    let stat = nix::sys::statvfs::statvfs(&dir.path().join("a")).unwrap();
    let total = stat.blocks() * stat.fragment_size();
    for target in ["/dav/", "/dav/folder/"] {
        let (available, used) = quota(&daemon, &who, target);
        assert!(available > 0 && used > 0 && available < total, "{available} of {total}");
        assert!(available + used <= total, "{available} and {used} of {total}");
    }
    // A file has none, and RFC 4331 §3 gives them to nobody who did not ask.
    let of_file = propfind(&daemon, &who, "/dav/folder/a.jpg", BOTH);
    assert!(of_file.text.contains("404 Not Found") && !of_file.text.contains("200 OK"), "{}", of_file.text);
    assert!(!propfind(&daemon, &who, "/dav/", "").text.contains("quota"));
}

#[test]
fn the_quota_is_that_of_the_drive() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("a");
    std::fs::create_dir_all(&at).unwrap();
    let _small = match Mounted::tmpfs(&at, "size=64m,mode=0755") {
        Ok(small) => small,
        Err(why) => return leave_out("quota", &why),
    };
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "laptop", "computer");
    let free = || {
        let stat = nix::sys::statvfs::statvfs(&at).unwrap();
        stat.blocks_available() * stat.fragment_size()
    };
    let (before, used_before) = quota(&daemon, &who, "/dav/");
    assert!(before <= free(), "{before} of {}", free());
    assert!((30 * MIB..64 * MIB).contains(&before) && used_before < 20 * MIB, "{before}, {used_before}");
    let film = luck::bytes(1, 20 * MIB as usize);
    assert_eq!(daemon.request(&who, "PUT", "/dav/film.mov", "", &film).status, 201);
    daemon.until("it is counted", |d| quota(d, &who, "/dav/").0 + 18 * MIB < before);
    let (after, used_after) = quota(&daemon, &who, "/dav/");
    assert!(after <= free(), "{after} of {}", free());
    assert!(used_after >= used_before + 18 * MIB, "{used_before}, then {used_after}");
    assert!(after + used_after <= 64 * MIB, "{after} and {used_after}");
}
