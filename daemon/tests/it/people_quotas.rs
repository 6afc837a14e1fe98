//! Quotas of people: refused before the body, never exceeded together, counted once, and kept through the loss of the catalogue.
use std::fs;
use std::io::Write as _;

use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::luck;
use crate::support::wire::{self, Reply};

const KB: usize = 1000;

fn put(daemon: &Daemon, who: &Account, name: &str, body: &[u8]) -> u16 {
    daemon.request(who, "PUT", &format!("/dav/{name}"), "", body).status
}

/// Quota and what is used of it.
fn quota(daemon: &Daemon, person: &str) -> (Option<u64>, Option<u64>) {
    let people = daemon.ask(&["person", "list", "--json"]);
    let person = people.as_array().unwrap().iter().find(|p| p["name"] == person).unwrap().clone();
    (person["quota"]["bytes"].as_u64(), person["quota"]["used"].as_u64())
}

/// Available and used, as a file manager sees them.
fn told(daemon: &Daemon, who: &Account) -> (u64, u64) {
    let body = "<D:propfind xmlns:D=\"DAV:\"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/></D:prop></D:propfind>";
    let reply = daemon.request(who, "PROPFIND", "/dav/", "Depth: 0\r\n", body.as_bytes());
    let figure = |name: &str| {
        let value = reply.text.split(&format!("<D:{name}>")).nth(1).unwrap();
        value.split('<').next().unwrap().parse().unwrap()
    };
    (figure("quota-available-bytes"), figure("quota-used-bytes"))
}

fn codes(daemon: &Daemon) -> Vec<String> {
    let status = daemon.ask(&["status", "--json"]);
    let code = |finding: &Value| finding["code"].as_str().unwrap().to_owned();
    status["findings"].as_array().unwrap().iter().map(code).collect()
}

#[test]
fn a_quota_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    assert_eq!(daemon.run(&["person", "add", "anna", "--quota", "1M"]).0, 0);
    let anna = daemon.add_device("anna", "laptop", "computer");
    let bob = daemon.add_person("bob", "laptop", "computer");
    assert_eq!((quota(&daemon, "anna"), quota(&daemon, "bob")), ((Some(1_000_000), Some(0)), (None, None)));

    let photo = luck::bytes(1, 400 * KB);
    assert_eq!(put(&daemon, &anna, "a.jpg", &photo), 201);
    // The same again under its name, and under another one: used once.
    assert_eq!(put(&daemon, &anna, "a.jpg", &photo), 204);
    assert_eq!(put(&daemon, &anna, "again.jpg", &photo), 201);
    assert_eq!(quota(&daemon, "anna").1, Some(400_000));
    assert_eq!(told(&daemon, &anna), (600_000, 400_000));
    assert_eq!(put(&daemon, &anna, "b.jpg", &luck::bytes(2, 550 * KB)), 201);

    // Too much, and known before: no byte of the body is asked for.
    let head = format!(
        "PUT /dav/c.jpg HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nExpect: 100-continue\r\n\
         Content-Length: 50001\r\nConnection: close\r\n\r\n",
        daemon.address,
        anna.basic()
    );
    let reply = Reply::parse(&wire::exchange(daemon.address, head.as_bytes()).unwrap()).unwrap();
    assert_eq!(reply.status, 507, "{}", reply.text);
    assert!(
        reply.text.contains("no room in this person's quota: 50001 bytes offered, 50000 left"),
        "{}",
        reply.text
    );
    // Not known before: refused where it ends.
    let head = format!(
        "PUT /dav/c.jpg HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        daemon.address,
        anna.basic()
    );
    let chunked = [head.into_bytes(), wire::chunked(&luck::bytes(3, 60 * KB), 7000)].concat();
    let reply = Reply::parse(&wire::exchange(daemon.address, &chunked).unwrap()).unwrap();
    assert_eq!(reply.status, 507, "{}", reply.text);
    // What takes the place of as much fits; and nobody else is concerned, nor is the drive called full.
    assert_eq!(put(&daemon, &anna, "b.jpg", &luck::bytes(4, 550 * KB)), 204);
    assert_eq!(put(&daemon, &bob, "big.jpg", &luck::bytes(5, 2000 * KB)), 201);
    daemon.until("it is told", |d| codes(d).contains(&"quota-nearly-used".to_owned()));
    assert!(!codes(&daemon).contains(&"drive-full".to_owned()));

    // The catalogue is lost: the quota is in the manifest.
    daemon.kill();
    for end in ["", "-wal"] {
        let _there_or_not = fs::remove_file(dir.path().join(format!("a/.shoebox/catalogue.db{end}")));
    }
    daemon.start();
    assert_eq!(quota(&daemon, "anna"), (Some(1_000_000), Some(950_000)));
    assert_eq!(put(&daemon, &anna, "c.jpg", &luck::bytes(6, 60 * KB)), 507);

    // Room again: by deleting, and by lifting it.
    assert_eq!(daemon.request(&anna, "DELETE", "/dav/b.jpg", "", b"").status, 204);
    assert_eq!(put(&daemon, &anna, "c.jpg", &luck::bytes(6, 60 * KB)), 201);
    assert_eq!(daemon.run(&["person", "quota", "anna", "none"]).0, 0);
    assert_eq!(put(&daemon, &anna, "d.jpg", &luck::bytes(7, 3000 * KB)), 201);
    daemon.until("it is told no more", |d| !codes(d).contains(&"quota-nearly-used".to_owned()));
    assert_eq!(daemon.run(&["person", "quota", "nobody", "1G"]).0, 4);
    assert_eq!(daemon.run(&["person", "quota", "anna", "lots"]).0, 2);
}

#[test]
fn uploads_at_one_time_do_not_exceed_it_together() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "laptop", "computer");
    assert_eq!(daemon.run(&["person", "quota", "anna", "1M"]).0, 0);
    let (address, basic) = (daemon.address, anna.basic());
    let (address, basic) = (&address, &basic);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn(move || {
                    let body = luck::bytes(n, 300 * KB);
                    let head = format!(
                        "PUT /dav/{n}.jpg HTTP/1.1\r\nHost: {address}\r\nAuthorization: {basic}\r\n\
                         Content-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    let mut stream = wire::connect(*address).unwrap();
                    stream.write_all(head.as_bytes()).unwrap();
                    // All of them are there before one is done.
                    std::thread::sleep(std::time::Duration::from_millis(300));
                    let _refused_meanwhile = stream.write_all(&body);
                    wire::read_all(&mut stream)
                        .ok()
                        .and_then(|bytes| Reply::parse(&bytes))
                        .map_or(0, |r| r.status)
                })
            })
            .collect();
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|&&status| status == 201).count(), 3, "{statuses:?}");
    assert_eq!(quota(&daemon, "anna").1, Some(900_000));
    // What was promised to those that were refused is given back.
    assert_eq!(put(&daemon, &anna, "small.jpg", &luck::bytes(99, 100 * KB)), 201);
}

#[test]
fn a_photo_that_is_here_already_needs_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "laptop", "computer");
    let phone = daemon.add_device("anna", "phone", "phone");
    let photo = luck::bytes(1, 400 * KB);
    assert_eq!(put(&daemon, &anna, "a.jpg", &photo), 201);
    assert_eq!(daemon.run(&["person", "quota", "anna", "410K"]).0, 0);
    // Under another name, by another device, in a dialect that finds names by itself, and in a form around it.
    assert_eq!(put(&daemon, &anna, "b.jpg", &photo), 201);
    assert_eq!(put(&daemon, &phone, "c.jpg", &photo), 201);
    let inbox = |body: &[u8]| daemon.request(&phone, "PUT", "/inbox/c.jpg", "", body).status;
    assert!(matches!(inbox(&photo), 200 | 201 | 204));
    let form = |bytes: &[u8]| {
        let date = "Content-Disposition: form-data; name=\"fileCreatedAt\"\r\n\r\n2026-11-30T10:00:00.000Z\r\n--x\r\n";
        let file = "Content-Disposition: form-data; name=\"assetData\"; filename=\"d.jpg\"\r\n\r\n";
        let body = [format!("--x\r\n{date}{file}").as_bytes(), bytes, b"\r\n--x--\r\n"].concat();
        let more =
            format!("x-api-key: {}\r\nContent-Type: multipart/form-data; boundary=x\r\n", phone.password);
        wire::request(daemon.address, "none", "POST", "/api/assets", &more, &body).unwrap()
    };
    let reply = form(&photo);
    assert!(reply.status == 200 && reply.text.contains("duplicate"), "{}", reply.text);
    assert_eq!(quota(&daemon, "anna"), (Some(410_000), Some(400_000)));
    // Another photo that happens to be as long is found to be another one, and nothing of it is left.
    let other = luck::bytes(2, 400 * KB);
    assert_eq!(put(&daemon, &anna, "e.jpg", &other), 507);
    assert_eq!(inbox(&other), 507);
    let reply = form(&other);
    assert!(reply.status == 400 && reply.text.contains("Quota has been exceeded!"), "{}", reply.text);
    assert_eq!(quota(&daemon, "anna"), (Some(410_000), Some(400_000)));
    assert!(!daemon.photos().join("anna/e.jpg").exists());
}
