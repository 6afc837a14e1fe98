//! Names from hell: refused by every method, or taken and kept where they belong (I28).
use std::collections::BTreeMap;

use crate::support::listing::{hash, listing};
use crate::support::scene::scene;

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
        "d%2Fx",
        "d%5c..%5cx",
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
    // So that what is refused is the spelling, not a folder that is not there.
    for folder in ["d", "a", "bob", "%252e%252e"] {
        let made = scene.daemon.request(&scene.anna, "MKCOL", &format!("/dav/{folder}"), "", b"");
        assert_eq!(made.status, 201, "{}", made.text);
    }
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
    assert_eq!(status(decomposed, "one"), 201);
    assert_eq!(status(composed, "one"), 204);
    assert_eq!(status("kÄSE.JPG".replace('Ä', "%C3%84").as_str(), "two"), 204);
    let files = listing(&scene.daemon.photos().join("anna"));
    let names: Vec<&String> = files.keys().filter(|name| name.to_lowercase().contains("se.jpg")).collect();
    assert_eq!(names, ["Käse.jpg"]);
    assert_eq!(scene.daemon.request(&scene.anna, "GET", &format!("/dav/{decomposed}"), "", b"").body, b"two");
}
