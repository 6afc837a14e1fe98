//! Requests at the edge of what RFC 4918 and RFC 9110 say, against the real binary: what is ignored elsewhere is refused
//! where ignoring it could cost a photo.
use crate::support::daemon::{Account, Daemon};
use crate::support::wire;

const LOCK: &[u8] = b"<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>";

fn furnished(dir: &tempfile::TempDir) -> (Daemon, Account) {
    let daemon = Daemon::furnish(dir.path(), 5);
    let laptop = daemon.add_person("anna", "laptop", "computer");
    (daemon, laptop)
}

/// RFC 4918 §8.4: a body where none has a meaning is refused, and nothing was done. A chunked body of nothing is none.
#[test]
fn a_body_that_would_be_ignored_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, who) = furnished(&dir);
    assert_eq!(daemon.request(&who, "PUT", "/dav/a.jpg", "", b"photo").status, 201);
    for (method, target) in [
        ("DELETE", "/dav/a.jpg"),
        ("MOVE", "/dav/a.jpg"),
        ("COPY", "/dav/a.jpg"),
        ("UNLOCK", "/dav/a.jpg"),
        ("MKCOL", "/dav/new"),
    ] {
        let reply = daemon.request(&who, method, target, "Destination: /dav/b.jpg\r\n", b"<x/>");
        assert_eq!(reply.status, 415, "{method}: {}", reply.text);
    }
    assert_eq!(daemon.request(&who, "GET", "/dav/a.jpg", "", b"").body, b"photo");
    for gone in ["/dav/b.jpg", "/dav/new"] {
        assert_eq!(daemon.request(&who, "GET", gone, "", b"").status, 404, "{gone}");
    }
    let (to, basic) = (daemon.address, who.basic());
    let chunked = format!(
        "MKCOL /dav/new HTTP/1.1\r\nHost: {to}\r\nAuthorization: {basic}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    let reply = wire::Reply::parse(&wire::exchange(to, chunked.as_bytes()).unwrap()).unwrap();
    assert_eq!(reply.status, 201, "{}", reply.text);
}

/// `a?1.jpg` sent without encoding is no upload of `a`, and no deletion of it.
#[test]
fn a_name_cut_off_at_a_question_mark_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, who) = furnished(&dir);
    assert_eq!(daemon.request(&who, "PUT", "/dav/a", "", b"photo").status, 201);
    for method in ["PUT", "DELETE", "MOVE", "COPY", "MKCOL", "LOCK", "PROPPATCH"] {
        let reply = daemon.request(&who, method, "/dav/a?1.jpg", "Destination: /dav/b\r\n", b"");
        assert_eq!(reply.status, 400, "{method}: {}", reply.text);
    }
    assert_eq!(daemon.request(&who, "GET", "/dav/a?fresh=1", "", b"").body, b"photo");
    assert_eq!(daemon.request(&who, "PUT", "/dav/a%3F1.jpg", "", b"other").status, 201);
}

/// RFC 9110 §13.1: no change while a condition does not hold, whichever method it comes with.
#[test]
fn conditions_hold_for_every_method_that_changes() {
    const PATCH: &[u8] = b"<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop><x xmlns=\"u\">1</x></D:prop></D:set></D:propertyupdate>";
    let dir = tempfile::tempdir().unwrap();
    let (daemon, who) = furnished(&dir);
    assert_eq!(daemon.request(&who, "PUT", "/dav/a.jpg", "", b"photo").status, 201);
    let to = "Destination: /dav/b.jpg\r\nDepth: 0\r\n";
    for (method, target, condition, body) in [
        ("PUT", "/dav/a.jpg", "If-Match: \"x\"", &b"other"[..]),
        ("DELETE", "/dav/a.jpg", "If-Match: \"x\"", b""),
        ("MOVE", "/dav/a.jpg", "If-Match: \"x\"", b""),
        ("COPY", "/dav/a.jpg", "If-None-Match: *", b""),
        ("PROPPATCH", "/dav/a.jpg", "If-Match: \"x\"", PATCH),
        ("LOCK", "/dav/a.jpg", "If-None-Match: *", LOCK),
        ("MKCOL", "/dav/new", "If-Match: *", b""),
        ("GET", "/dav/", "If: (<urn:uuid:none>)", b""),
    ] {
        let reply = daemon.request(&who, method, target, &format!("{to}{condition}\r\n"), body);
        assert_eq!(reply.status, 412, "{method}: {}", reply.text);
    }
    let reply = daemon.request(&who, "MKCOL", "/dav/a.jpg", "If-None-Match: *\r\n", b"");
    assert_eq!(reply.status, 405, "{}", reply.text);
}

/// A body that ends with the connection is no body to HTTP; an answer of 201 would be for nothing at all.
#[test]
fn an_upload_says_how_long_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, who) = furnished(&dir);
    let (to, basic) = (daemon.address, who.basic());
    for version in ["1.0", "1.1"] {
        let request = format!(
            "PUT /dav/a.jpg HTTP/{version}\r\nHost: {to}\r\nAuthorization: {basic}\r\nConnection: close\r\n\r\nphoto"
        );
        let answer = wire::exchange(to, request.as_bytes()).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(" 411 ") && !answer.contains(" 201 "), "{answer}");
    }
    assert_eq!(daemon.request(&who, "GET", "/dav/a.jpg", "", b"").status, 404);
    assert_eq!(daemon.request(&who, "PUT", "/dav/empty", "", b"").status, 201);
}

/// Somebody tidies up on the computer and deletes, or renames, the phone's whole folder: the phone goes on uploading.
#[test]
fn a_phone_whose_folder_was_taken_away_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, laptop) = furnished(&dir);
    let phone = daemon.add_device("anna", "phone", "phone");
    let take_away = |n: usize| {
        assert_eq!(daemon.request(&phone, "PUT", &format!("/dav/before-{n}.jpg"), "", b"photo").status, 201);
        let reply = match n % 2 {
            0 => daemon.request(&laptop, "DELETE", "/dav/phone", "", b""),
            _ => {
                daemon.request(&laptop, "MOVE", "/dav/phone", &format!("Destination: /dav/old-{n}\r\n"), b"")
            }
        };
        assert!(reply.is_success(), "{}", reply.text);
    };
    for (n, method, target, body) in [
        (0, "PUT", "/dav/after.jpg", &b"photo"[..]),
        (1, "PUT", "/dav/after.jpg.part", b"photo"),
        (2, "MKCOL", "/dav/Photos", b""),
        (3, "LOCK", "/dav/locked.jpg", LOCK),
    ] {
        take_away(n);
        let reply = daemon.request(&phone, method, target, "Depth: 0\r\n", body);
        assert_eq!(reply.status, 201, "{n} {method}: {}", reply.text);
        let below = daemon.request(&phone, "PUT", "/dav/no/such.jpg", "", b"photo");
        assert_eq!(below.status, 409, "{}", below.text);
    }
    assert_eq!(daemon.request(&laptop, "GET", "/dav/phone/locked.jpg", "", b"").status, 200);
}

/// A lock holds at whichever of the box's addresses the next request arrives.
#[test]
fn a_lock_holds_on_every_address() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, who) = furnished(&dir);
    assert_eq!(daemon.request(&who, "PUT", "/dav/a.jpg", "", b"photo").status, 201);
    assert_eq!(daemon.request(&who, "LOCK", "/dav/a.jpg", "Depth: 0\r\n", LOCK).status, 200);
    for at in [daemon.address, daemon.other_address()] {
        let reply = wire::request(at, &who.basic(), "PUT", "/dav/a.jpg", "", b"other").unwrap();
        assert_eq!(reply.status, 423, "{at}: {}", reply.text);
    }
}

/// RFC 4918 §9.10.2: a refreshed lock is described, and no Lock-Token header says that it is new.
#[test]
fn a_refresh_makes_no_new_token() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, who) = furnished(&dir);
    let made = daemon.request(&who, "LOCK", "/dav/a.jpg", "Depth: 0\r\n", LOCK);
    assert!(made.status == 201 && made.text.to_lowercase().contains("\r\nlock-token: <"), "{}", made.text);
    let token = &made.text[made.text.find("urn:uuid:").unwrap()..][..45];
    let again = daemon.request(&who, "LOCK", "/dav/a.jpg", &format!("If: (<{token}>)\r\n"), b"");
    assert!(again.status == 200 && again.text.contains(token), "{}", again.text);
    assert!(!again.text.to_lowercase().contains("\r\nlock-token:"), "{}", again.text);
}

/// The names under which a person finds the box: its own, and that of the address it prints for phones.
#[test]
fn the_boxes_own_names_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, _) = furnished(&dir);
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (host, expected) in [(own.trim(), 200), ("photos.example.org", 200), ("evil.example.org", 421)] {
        let request = format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = wire::exchange(daemon.address, request.as_bytes()).unwrap();
        assert_eq!(wire::Reply::parse(&answer).unwrap().status, expected, "{host}");
    }
}
