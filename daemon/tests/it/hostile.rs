//! Requests that nobody honest sends: each gets a clear refusal, nothing is written, nothing leaks, and the daemon goes
//! on answering (I22, I28, I29, I30).
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, listing};
use crate::support::wire::{self, Reply};

/// A box with two people in it; bob's file is what nobody else may hear of.
struct Scene {
    daemon: Daemon,
    anna: Account,
    bob: Account,
    _dir: tempfile::TempDir,
}

const SECRET: &str = "bobs-secret-holiday.jpg";

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 2);
    let anna = daemon.add_person("anna", "laptop", "computer");
    let bob = daemon.add_person("bob", "laptop", "computer");
    for (who, name) in [(&anna, "mine.jpg"), (&bob, SECRET)] {
        assert_eq!(daemon.request(who, "PUT", &format!("/dav/{name}"), "", name.as_bytes()).status, 201);
    }
    // Nothing of the box's own work may be under way when the drives are compared.
    daemon.until("B has both", |d| d.is_mirrored("anna/mine.jpg") && d.is_mirrored(&format!("bob/{SECRET}")));
    Scene { daemon, anna, bob, _dir: dir }
}

impl Scene {
    /// All that is on both drives, but for the catalogue and what the health probe writes.
    fn drives(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for drive in ["a", "b"] {
            let found = listing(&self.daemon.dir.join(drive));
            all.extend(found.into_iter().map(|(name, content)| (format!("{drive}/{name}"), content)));
        }
        all.retain(|name, _| {
            !name.contains(".shoebox/catalogue.db")
                && !name.contains(".shoebox/probe")
                && !name.contains("/incoming/")
        });
        all
    }

    /// Sends bytes as they are. `None`: the connection was closed without a word.
    fn raw(&self, bytes: &[u8]) -> Option<Reply> {
        let answer = wire::exchange(self.daemon.address, bytes).unwrap_or_else(|e| {
            panic!("no end of {:?}: {e}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
        });
        self.leaks_nothing(&String::from_utf8_lossy(&answer));
        Reply::parse(&answer)
    }

    fn leaks_nothing(&self, answer: &str) {
        let dir = self.daemon.dir.to_string_lossy().into_owned();
        for secret in [dir.as_str(), SECRET, &self.anna.password, &self.bob.password, "root:x:", "panicked"] {
            assert!(!answer.contains(secret), "an answer tells {secret:?}: {answer}");
        }
    }

    fn head(&self, method: &str, target: &str, more: &str) -> String {
        let (to, basic) = (self.daemon.address, self.anna.basic());
        format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\nAuthorization: {basic}\r\n{more}")
    }

    /// Sends one request of anna's and expects a refusal of the client's making.
    fn refused(&self, what: &str, bytes: &[u8]) -> u16 {
        let reply = self.raw(bytes).unwrap_or_else(|| panic!("{what}: closed without an answer"));
        assert!((400..500).contains(&reply.status), "{what}: {}", reply.text);
        reply.status
    }

    /// It answers, and both files can still be had.
    fn goes_on(&mut self) {
        assert!(self.daemon.lives(), "{}", self.daemon.log());
        for (who, name) in [(&self.anna, "mine.jpg"), (&self.bob, SECRET)] {
            let reply = self.daemon.request(who, "GET", &format!("/dav/{name}"), "", b"");
            assert_eq!((reply.status, reply.body.as_slice()), (200, name.as_bytes()));
        }
        let log = self.daemon.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Names that must not be taken, as they stand in a request line behind `/dav/`.
fn bad_names() -> Vec<String> {
    let mut all: Vec<String> = [
        "..",
        "../x",
        "a/../../x",
        "./x",
        "%2e%2e/x",
        "%2E%2E/x",
        ".%2e/x",
        "%2e%2e%2fx",
        "..%2fx",
        "..%2Fx",
        "%2F..%2Fx",
        "a%2fb",
        "%2fetc%2fpasswd",
        "..%5cx",
        "..%5c..%5cx",
        "%2e%2e%5cx",
        "..\\x",
        "%c0%ae%c0%ae/x",
        "%c0%afx",
        "%e0%80%af",
        "%f0%80%80%af",
        "%ff%fe",
        "%80",
        "%ed%a0%80",
        "a%00b",
        "a%00.jpg",
        "%00",
        "a%0ab",
        "a%0d%0aX-Evil:%201",
        "a%1fb",
        "a%7fb",
        "%",
        "%2",
        "%zz",
        "%u002e",
        ".shoebox",
        ".shoebox/",
        ".shoebox/drive.toml",
        ".SHOEBOX/drive.toml",
        ".Shoebox/x",
        "%2eshoebox/x",
        "%2e%73%68%6f%65%62%6f%78/x",
        "a/.shoebox/x",
        "a/.sHoEbOx",
        ".shoebox/../x",
        "bob/../../bob/x",
        "../bob/bobs.jpg",
        "..%2f..%2f.shoebox/drive.toml",
    ]
    .map(str::to_owned)
    .to_vec();
    all.push("x".repeat(256));
    all.push("%C3%A4".repeat(128));
    all.push("x/".repeat(1500) + "x");
    all.push(format!("{}/x", "y".repeat(3000)));
    all.push("d/".repeat(65) + "x");
    all
}

#[test]
fn names_from_hell_are_refused_by_every_method() {
    let mut scene = scene();
    let before = scene.drives();
    let mut tried = 0;
    for name in bad_names() {
        for method in [
            "PUT",
            "MKCOL",
            "DELETE",
            "GET",
            "HEAD",
            "PROPFIND",
            "PROPPATCH",
            "LOCK",
            "UNLOCK",
            "MOVE",
            "COPY",
        ] {
            let (more, body) = match method {
                "PUT" => ("Content-Length: 4\r\n", "evil"),
                "MOVE" | "COPY" => ("Destination: /dav/taken.jpg\r\n", ""),
                _ => ("Content-Length: 0\r\n", ""),
            };
            let request =
                scene.head(method, &format!("/dav/{name}"), more) + "Connection: close\r\n\r\n" + body;
            scene.refused(&format!("{method} {name}"), request.as_bytes());
            tried += 1;
        }
        for method in ["MOVE", "COPY"] {
            for base in ["/dav/".to_owned(), format!("http://{}/dav/", scene.daemon.address)] {
                let more = format!("Destination: {base}{name}\r\nConnection: close\r\n\r\n");
                let request = scene.head(method, "/dav/mine.jpg", &more);
                scene.refused(&format!("{method} to {base}{name}"), request.as_bytes());
                tried += 1;
            }
        }
    }
    // Elsewhere is not on this box: RFC 4918 §9.8.5 has a code of its own for that.
    for (to, status) in [
        ("http://evil.example/dav/x.jpg", 502),
        ("file:///etc/passwd", 502),
        ("/etc/passwd", 403),
        ("//evil.example/dav/x", 403),
        ("x.jpg", 400),
        ("/dav/x.jpg?y", 400),
        ("/davx/../dav/x", 403),
    ] {
        let request =
            scene.head("MOVE", "/dav/mine.jpg", &format!("Destination: {to}\r\nConnection: close\r\n\r\n"));
        assert_eq!(scene.raw(request.as_bytes()).map(|r| r.status), Some(status), "{to}");
    }
    assert_eq!(scene.drives(), before);
    scene.goes_on();
    println!("hostile names: {tried} requests refused");
}

/// Odd, but a person may mean it: taken, under the person's own folder and nowhere else, and given back.
#[test]
fn odd_names_stay_in_their_folder_and_come_back() {
    let scene = scene();
    let before = scene.drives();
    let odd = [
        "%252e%252e",
        "%252e%252e%252fx",
        "..%252f..%252fx",
        "CON",
        "nul.jpg",
        "COM1",
        "aux",
        "a.",
        "a%20",
        "a.%20.",
        "...",
        ".hidden",
        "a%3Ab",
        "a%2Ab%3F",
        "a%22b",
        "a%3Cb%3E",
        "a%7Cb",
        "a%5cb",
        "%5c%5cserver%5cshare",
        "~",
        "~root",
        "$(id)",
        "%60id%60",
        "-rf",
        "%E2%80%AEgpj.exe",
        "%F0%9F%93%B7.jpg",
        "%EF%80%BAx",
        "shoebox",
        ".shoebox2",
        "x.shoebox",
        "%3Cscript%3E",
        "%26amp;",
        "%E2%80%8B",
        "%EF%BB%BFx",
        "a;b",
        "a,b",
        "%23x",
        "%3Fx",
    ];
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for (n, name) in odd.iter().enumerate() {
        let body = format!("odd {n}");
        let reply = scene.daemon.request(&scene.anna, "PUT", &format!("/dav/{name}"), "", body.as_bytes());
        assert!(matches!(reply.status, 201 | 403 | 400), "{name}: {}", reply.text);
        if reply.status == 201 {
            let back = scene.daemon.request(&scene.anna, "GET", &format!("/dav/{name}"), "", b"");
            assert_eq!((back.status, back.body), (200, body.clone().into_bytes()), "{name}");
            names.insert(hash(body.as_bytes()), name);
        }
    }
    assert!(names.len() > odd.len() / 2, "{names:?}");
    let mine = |path: &str| path.starts_with("a/photos/anna/") || path.starts_with("b/photos/anna/");
    let records = |path: &str| path.contains("/.shoebox/manifest/");
    for (path, content) in scene.drives() {
        let known = before.get(&path) == Some(&content) || mine(&path) || records(&path);
        assert!(known, "{path} appeared");
        // One level, whatever the name looks like: nothing made a folder of its own.
        if mine(&path) && names.contains_key(&content) {
            assert_eq!(path.matches('/').count(), 3, "{path}");
        }
    }
    let listed = scene.daemon.request(&scene.anna, "PROPFIND", "/dav/", "Depth: 1\r\n", b"");
    assert_eq!(listed.status, 207);
    assert!(!listed.text.contains("<script>"), "{}", listed.text);
}

#[test]
fn one_name_in_two_spellings_is_one_file() {
    let scene = scene();
    let (composed, decomposed) = ("K%C3%A4se.jpg", "Ka%CC%88se.jpg");
    let status = |name: &str, body: &str| {
        scene.daemon.request(&scene.anna, "PUT", &format!("/dav/{name}"), "", body.as_bytes()).status
    };
    assert_eq!(status(composed, "one"), 201);
    assert_eq!(status(decomposed, "one"), 204);
    assert_eq!(status("kÄSE.JPG".replace('Ä', "%C3%84").as_str(), "two"), 204);
    let files = listing(&scene.daemon.photos().join("anna"));
    let names: Vec<&String> = files.keys().filter(|name| name.to_lowercase().contains("se.jpg")).collect();
    assert_eq!(names, ["Käse.jpg"]);
    assert_eq!(scene.daemon.request(&scene.anna, "GET", &format!("/dav/{decomposed}"), "", b"").body, b"two");
}

fn bad_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let lol = |levels: u32| {
        let mut text = "<?xml version=\"1.0\"?><!DOCTYPE p [<!ENTITY l0 \"lol\">".to_owned();
        for n in 1..=levels {
            let _ = write!(text, "<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10));
        }
        text + &format!("]><D:propfind xmlns:D=\"DAV:\"><D:prop>&l{levels};</D:prop></D:propfind>")
    };
    let wrapped = |inner: &str| {
        format!("<D:propfind xmlns:D=\"DAV:\"><D:prop>{inner}</D:prop></D:propfind>").into_bytes()
    };
    let mut attributes = String::new();
    for n in 0..100_000 {
        let _ = write!(attributes, " a{n}=\"\"");
    }
    let mut spaces = String::new();
    for n in 0..50_000 {
        let _ = write!(spaces, " xmlns:n{n}=\"u:{n}\"");
    }
    vec![
        ("not XML", b"hello".to_vec()),
        ("an open end", b"<D:propfind xmlns:D=\"DAV:\"><D:prop>".to_vec()),
        ("crossed elements", b"<a><b></a></b>".to_vec()),
        ("two roots", b"<D:propfind xmlns:D=\"DAV:\"><D:allprop/></D:propfind><x/>".to_vec()),
        ("an unbound prefix", b"<D:propfind><D:allprop/></D:propfind>".to_vec()),
        ("a prefix bound to nothing", wrapped("<b:x xmlns:b=\"\"/>")),
        ("an attribute twice", wrapped("<x a=\"1\" a=\"2\"/>")),
        ("billion laughs", lol(9).into_bytes()),
        ("an external entity", b"<!DOCTYPE p [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><D:propfind xmlns:D=\"DAV:\"><D:prop><x>&x;</x></D:prop></D:propfind>".to_vec()),
        ("a bare document type", b"<!DOCTYPE p><D:propfind xmlns:D=\"DAV:\"><D:allprop/></D:propfind>".to_vec()),
        ("an unknown entity", wrapped("<x>&nbsp;</x>")),
        ("not UTF-8", wrapped("<x>").into_iter().chain([0xff, 0xfe]).chain(*b"</x>").collect()),
        ("UTF-16", "\u{feff}<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("depth 1000", wrapped(&("<x>".repeat(1000) + &"</x>".repeat(1000)))),
        ("100,000 attributes", wrapped(&format!("<x{attributes}/>"))),
        ("50,000 namespaces", wrapped(&format!("<x{spaces}/>"))),
        ("2 MiB", wrapped(&"<x/>".repeat(512 * 1024))),
        ("2 MiB of spaces", [b" ".repeat(2 << 20), b"<a/>".to_vec()].concat()),
        ("the wrong root", b"<D:mkcol xmlns:D=\"DAV:\"/>".to_vec()),
    ]
}

#[test]
fn broken_xml_and_bombs_are_refused() {
    let mut scene = scene();
    let before = scene.drives();
    for (what, body) in bad_bodies() {
        for (method, target) in
            [("PROPFIND", "/dav/"), ("PROPPATCH", "/dav/mine.jpg"), ("LOCK", "/dav/new.jpg")]
        {
            let more = format!("Depth: 0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let request = [scene.head(method, target, &more).into_bytes(), body.clone()].concat();
            let began = std::time::Instant::now();
            scene.refused(&format!("{method} with {what}"), &request);
            let took = began.elapsed();
            assert!(took.as_secs() < 3, "{method} with {what} took {took:?}");
        }
    }
    let more = "Content-Type: text/xml\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<bad>";
    assert_eq!(scene.refused("MKCOL with a body", scene.head("MKCOL", "/dav/new", more).as_bytes()), 415);
    let infinite =
        scene.head("PROPFIND", "/dav/", "Depth: infinity\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(scene.refused("PROPFIND of everything", infinite.as_bytes()), 403);
    assert_eq!(scene.drives(), before);
    let peak = scene.daemon.peak_memory();
    assert!(peak < 200 << 20, "{peak} bytes of memory");
    scene.goes_on();
}

/// Headers that two readers could understand differently, and lengths that are lies.
#[test]
fn lying_lengths_and_smuggled_headers_are_refused() {
    let mut scene = scene();
    let before = scene.drives();
    let smuggled =
        format!("0\r\n\r\n{}", scene.head("PUT", "/dav/smuggled.jpg", "Content-Length: 4\r\n\r\nevil"));
    let n = smuggled.len();
    for (what, more, body) in [
        (
            "both framings",
            format!("Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n"),
            smuggled.as_str(),
        ),
        (
            "both framings, the other way round",
            format!("Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n"),
            &smuggled,
        ),
        ("both framings, length 0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".into(), &smuggled),
        (
            "a tab before the coding",
            format!("Content-Length: {n}\r\nTransfer-Encoding:\tchunked\r\n"),
            &smuggled,
        ),
        ("a space before the colon", "Content-Length : 4\r\n".into(), "evil"),
        (
            "a space before the colon of the coding",
            "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n".into(),
            "evil",
        ),
        ("a folded line", "Content-Length:\r\n 4\r\n".into(), "evil"),
        ("a folded coding", format!("Transfer-Encoding:\r\n chunked\r\nContent-Length: {n}\r\n"), &smuggled),
        ("a negative length", "Content-Length: -4\r\n".into(), "evil"),
        ("a length with a plus", "Content-Length: +4\r\n".into(), "evil"),
        ("a hexadecimal length", "Content-Length: 0x4\r\n".into(), "evil"),
        ("a length of words", "Content-Length: four\r\n".into(), "evil"),
        ("no length in the length", "Content-Length: \r\n".into(), "evil"),
        ("two lengths", "Content-Length: 4\r\nContent-Length: 3\r\n".into(), "evil"),
        ("two lengths in one", "Content-Length: 4, 3\r\n".into(), "evil"),
        ("a length beyond numbers", "Content-Length: 99999999999999999999999\r\n".into(), "evil"),
        ("a coding nobody knows", "Transfer-Encoding: cow\r\n".into(), "evil"),
        ("chunked that is not last", "Transfer-Encoding: chunked, gzip\r\n".into(), "4\r\nevil\r\n0\r\n\r\n"),
        ("chunked in disguise", "Transfer-Encoding: xchunked\r\n".into(), "4\r\nevil\r\n0\r\n\r\n"),
        ("a negative chunk", "Transfer-Encoding: chunked\r\n".into(), "-4\r\nevil\r\n0\r\n\r\n"),
        ("a chunk with a plus", "Transfer-Encoding: chunked\r\n".into(), "+4\r\nevil\r\n0\r\n\r\n"),
        ("a chunk in 0x", "Transfer-Encoding: chunked\r\n".into(), "0x4\r\nevil\r\n0\r\n\r\n"),
        (
            "a chunk beyond numbers",
            "Transfer-Encoding: chunked\r\n".into(),
            "fffffffffffffffff\r\nevil\r\n0\r\n\r\n",
        ),
        ("a chunk longer than it says", "Transfer-Encoding: chunked\r\n".into(), "2\r\nevil\r\n0\r\n\r\n"),
        ("a chunk of words", "Transfer-Encoding: chunked\r\n".into(), "zz\r\nevil\r\n0\r\n\r\n"),
        ("a NUL in a header", "X-Nothing: a\0b\r\nContent-Length: 4\r\n".into(), "evil"),
        ("a header without a colon", "Nonsense\r\nContent-Length: 4\r\n".into(), "evil"),
        ("part of a file", "Content-Range: bytes 0-3/9\r\nContent-Length: 4\r\n".into(), "evil"),
        (
            "a wrong checksum",
            "OC-Checksum: SHA1:0000000000000000000000000000000000000000\r\nContent-Length: 4\r\n".into(),
            "evil",
        ),
        ("an unreadable checksum", "OC-Checksum: SHA1:zz\r\nContent-Length: 4\r\n".into(), "evil"),
        ("a coded body", "Content-Encoding: gzip\r\nContent-Length: 4\r\n".into(), "evil"),
    ] {
        let request = scene.head("PUT", "/dav/victim.jpg", &more) + "Connection: close\r\n\r\n" + body;
        scene.refused(what, request.as_bytes());
    }
    // A length that nothing comes up to: given up, not waited for for ever.
    let long = scene.head("PUT", "/dav/long.jpg", "Content-Length: 10\r\nConnection: close\r\n\r\nevil");
    scene.refused("a length too long", long.as_bytes());
    let huge = scene.head(
        "PUT",
        "/dav/huge.jpg",
        "Content-Length: 9223372036854775807\r\nConnection: close\r\n\r\nevil",
    );
    let status = scene.raw(huge.as_bytes()).map(|r| r.status);
    assert_eq!(status, Some(507), "a file larger than the drive");
    assert_eq!(scene.drives(), before);
    // A length too short takes that much; the rest is read as the next request, which it is not.
    let short = scene.head("PUT", "/dav/short.jpg", "Content-Length: 4\r\n\r\nevil and more\r\n\r\n");
    let reply = scene.raw(short.as_bytes()).unwrap();
    assert_eq!(reply.status, 201);
    assert_eq!(reply.text.matches("HTTP/1.1 ").count(), 2, "{}", reply.text);
    assert!(reply.text.contains("HTTP/1.1 400"), "{}", reply.text);
    assert_eq!(scene.daemon.request(&scene.anna, "GET", "/dav/short.jpg", "", b"").body, b"evil");
    scene.goes_on();
}

#[test]
fn huge_heads_and_lines_that_are_no_requests_are_refused() {
    let mut scene = scene();
    let before = scene.drives();
    let many: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
    let close = "Connection: close\r\n\r\n";
    let large = format!("X-Large: {}\r\n", "y".repeat(20_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("100 headers", (scene.head("GET", "/dav/mine.jpg", &many) + close).into_bytes()),
        ("a header of 20,000 bytes", (scene.head("GET", "/dav/mine.jpg", &large) + close).into_bytes()),
        (
            "an address of 20,000 bytes",
            (scene.head("GET", &format!("/dav/{}", "y".repeat(20_000)), "") + close).into_bytes(),
        ),
        ("nonsense", b"nonsense\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(4)),
        ("HTTP/9", b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec()),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a raw NUL in the address", scene.head("GET", "/dav/a\0b", close).into_bytes()),
        ("a raw space in the address", scene.head("GET", "/dav/a b", close).into_bytes()),
        (
            "raw bytes in the address",
            [b"GET /dav/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n".to_vec(), close.into()].concat(),
        ),
        ("CONNECT", scene.head("CONNECT", "evil.example:80", close).into_bytes()),
        ("TRACE", scene.head("TRACE", "/dav/", close).into_bytes()),
        ("an unknown method", scene.head("BREW", "/dav/mine.jpg", close).into_bytes()),
        (
            "an address of another host",
            scene.head("GET", "http://evil.example/dav/mine.jpg", close).into_bytes(),
        ),
        (
            "POST to a file",
            scene.head("POST", "/dav/mine.jpg", &format!("Content-Length: 0\r\n{close}")).into_bytes(),
        ),
    ];
    for (what, bytes) in cases {
        scene.refused(what, &bytes);
    }
    // A client that talks HTTP/2 without being asked to understands no answer of ours: closed at once.
    let preface = scene.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(preface.is_none_or(|r| (400..500).contains(&r.status)));
    assert_eq!(scene.drives(), before);
    scene.goes_on();
}

#[test]
fn nobody_signs_in_with_less_than_a_token() {
    let mut scene = scene();
    let spare = scene.daemon.add_device("anna", "old", "computer");
    assert_eq!(scene.daemon.request(&spare, "GET", "/dav/mine.jpg", "", b"").status, 200);
    assert_eq!(scene.daemon.run(&["device", "revoke", "anna", "old"]).0, 0);
    let before = scene.drives();
    let account =
        |user: &str, password: &str| Account { user: user.into(), password: password.into() }.basic();
    let (anna, bob) = (scene.anna.clone(), scene.bob.clone());
    let shorter = &anna.password[..anna.password.len() - 1];
    let headers = [
        String::new(),
        "Authorization: \r\n".to_owned(),
        "Authorization: Basic\r\n".to_owned(),
        "Authorization: Basic !!!!\r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", anna.password),
        format!("Authorization: {}\r\n", account("bob", &anna.password)),
        format!("Authorization: {}\r\n", account("nobody", &anna.password)),
        format!("Authorization: {}\r\n", account("", &anna.password)),
        format!("Authorization: {}\r\n", account("anna", "")),
        format!("Authorization: {}\r\n", account("anna", shorter)),
        format!("Authorization: {}\r\n", spare.basic()),
        format!("Authorization: {}\r\nAuthorization: {}\r\n", anna.basic(), bob.basic()),
        format!("X-Authorization: {}\r\n", anna.basic()),
        format!("Cookie: Authorization={}\r\n", anna.basic()),
    ];
    std::thread::scope(|scope| {
        for header in &headers {
            let scene = &scene;
            // A wrong guess makes the next one wait: all at once.
            scope.spawn(move || {
                for (method, target) in [("GET", "/dav/mine.jpg"), ("PUT", "/dav/evil.jpg")] {
                    let to = scene.daemon.address;
                    let request = format!(
                        "{method} {target} HTTP/1.1\r\nHost: {to}\r\n{header}Content-Length: 4\r\nConnection: close\r\n\r\nevil"
                    );
                    let reply = scene.raw(request.as_bytes()).unwrap();
                    assert_eq!(reply.status, 401, "{method} with {header:?}: {}", reply.text);
                    assert_eq!(reply.text.to_lowercase().matches("www-authenticate:").count(), 1);
                    assert!(!reply.text.contains("mine.jpg"), "{}", reply.text);
                }
            });
        }
    });
    assert_eq!(scene.drives(), before);
    scene.goes_on();
}

#[test]
fn other_hosts_and_other_sites_change_nothing() {
    let mut scene = scene();
    let before = scene.drives();
    let own = scene.daemon.address.to_string();
    let hosts = [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "shoebox.local.evil.example",
        "a@127.0.0.1",
        "",
        "127.0.0.1, evil.example",
        "evil.example#127.0.0.1",
        "[::1",
        "127.0.0.1:x",
    ];
    let methods = ["PUT", "DELETE", "MKCOL", "MOVE", "COPY", "PROPPATCH", "LOCK", "UNLOCK", "POST"];
    let send = |method: &str, host: &str, more: &str| {
        let basic = scene.anna.basic();
        let body = if method == "PUT" { "evil" } else { "" };
        let target = if method == "MKCOL" { "/dav/evil" } else { "/dav/mine.jpg" };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}Authorization: {basic}\r\nDestination: /dav/evil.jpg\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        scene.raw(request.as_bytes()).unwrap_or_else(|| panic!("{method} {host:?} {more:?}: no answer"))
    };
    for host in hosts {
        for method in methods.iter().chain(&["GET", "PROPFIND", "OPTIONS"]) {
            let reply = send(method, host, "");
            assert!(matches!(reply.status, 400 | 421), "{method} at {host:?}: {}", reply.text);
        }
    }
    let foreign = [
        "Origin: http://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        format!("Origin: http://{own}.evil.example\r\n"),
        "Origin: http://127.0.0.1:1\r\n".to_owned(),
        "Origin: \r\n".to_owned(),
        format!("Origin: http://{own}\r\nOrigin: http://evil.example\r\n"),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
        "Sec-Fetch-Site: CROSS-SITE\r\n".to_owned(),
        format!("Origin: http://{own}\r\nSec-Fetch-Site: cross-site\r\n"),
    ];
    for header in &foreign {
        for method in methods {
            let reply = send(method, &own, header);
            assert_eq!(reply.status, 403, "{method} with {header:?}: {}", reply.text);
        }
        let reply = send("OPTIONS", &own, header);
        assert!(!reply.text.to_lowercase().contains("access-control-allow"), "{}", reply.text);
    }
    let twice = format!("{own}\r\nHost: evil.example");
    assert_eq!(send("PUT", &twice, "").status, 400);
    assert_eq!(scene.drives(), before);
    // The same from its own page is not refused: what is refused above is refused for that reason.
    let reply = send("PUT", &own, &format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n"));
    assert_eq!(reply.status, 204, "{}", reply.text);
    scene.daemon.request(&scene.anna, "PUT", "/dav/mine.jpg", "", b"mine.jpg");
    scene.goes_on();
}
