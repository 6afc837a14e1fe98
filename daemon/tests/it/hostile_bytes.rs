//! Bodies and heads that nobody honest sends: XML bombs, lengths that lie, headers that can be read in two ways; each is
//! refused clearly and soon, and nothing is written (I22, I23).
use std::fmt::Write as _;

use crate::support::scene::scene;

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

/// What is said about the body, and the body.
fn lies(smuggled: &str) -> Vec<(&'static str, String, &str)> {
    let n = smuggled.len();
    vec![
        ("both framings", format!("Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n"), smuggled),
        (
            "both framings, the other way round",
            format!("Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n"),
            smuggled,
        ),
        ("both framings, length 0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".into(), smuggled),
        (
            "a tab before the coding",
            format!("Content-Length: {n}\r\nTransfer-Encoding:\tchunked\r\n"),
            smuggled,
        ),
        ("a space before the colon", "Content-Length : 4\r\n".into(), "evil"),
        (
            "a space before the colon of the coding",
            "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n".into(),
            "evil",
        ),
        ("a folded line", "Content-Length:\r\n 4\r\n".into(), "evil"),
        ("a folded coding", format!("Transfer-Encoding:\r\n chunked\r\nContent-Length: {n}\r\n"), smuggled),
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
    ]
}

/// Headers that two readers could understand differently, and lengths that are lies.
#[test]
fn lying_lengths_and_smuggled_headers_are_refused() {
    let mut scene = scene();
    let before = scene.drives();
    let smuggled =
        format!("0\r\n\r\n{}", scene.head("PUT", "/dav/smuggled.jpg", "Content-Length: 4\r\n\r\nevil"));
    for (what, more, body) in lies(&smuggled) {
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
