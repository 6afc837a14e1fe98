//! Uploads that are resumed (tus 1.0): cut, killed, repeated, refused; whatever happens, a file is whole under its name or not there.
use std::fs;
use std::io::Write as _;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, hashes, listing};
use crate::support::luck::{self, Luck};
use crate::support::wire::{self, Leaving, Reply};

const BYTES: &str = "Content-Type: application/offset+octet-stream\r\n";

fn ask(daemon: &Daemon, who: &Account, method: &str, target: &str, more: &str, body: &[u8]) -> Reply {
    daemon.request(who, method, target, &format!("Tus-Resumable: 1.0.0\r\n{more}"), body)
}

/// A header of an answer.
fn header(reply: &Reply, name: &str) -> Option<String> {
    let head = reply.text.split("\r\n\r\n").next()?;
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
    Some(line.split_once(": ")?.1.to_owned())
}

fn metadata(pairs: &[(&str, &str)]) -> String {
    let pair = |(key, value): &(&str, &str)| format!("{key} {}", STANDARD.encode(value));
    format!("Upload-Metadata: {}\r\n", pairs.iter().map(pair).collect::<Vec<_>>().join(","))
}

/// Begins an upload: where it is.
fn create(daemon: &Daemon, who: &Account, name: &str, length: usize) -> String {
    let more = format!("Upload-Length: {length}\r\n{}", metadata(&[("filename", name), ("album", "Rome")]));
    let reply = ask(daemon, who, "POST", "/tus/", &more, b"");
    assert_eq!(reply.status, 201, "{}", reply.text);
    assert!(header(&reply, "upload-expires").unwrap().ends_with("GMT"), "{}", reply.text);
    header(&reply, "location").unwrap()
}

fn patch(daemon: &Daemon, who: &Account, at: &str, offset: usize, body: &[u8]) -> Reply {
    ask(daemon, who, "PATCH", at, &format!("{BYTES}Upload-Offset: {offset}\r\n"), body)
}

/// The head of a request for all that is left.
fn patch_head(daemon: &Daemon, who: &Account, at: &str, offset: usize, total: usize) -> Vec<u8> {
    format!(
        "PATCH {at} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nTus-Resumable: 1.0.0\r\n{BYTES}Upload-Offset: {offset}\r\nContent-Length: {}\r\n\r\n",
        daemon.address,
        who.basic(),
        total - offset
    )
    .into_bytes()
}

fn offset(daemon: &Daemon, who: &Account, at: &str) -> usize {
    let reply = ask(daemon, who, "HEAD", at, "", b"");
    assert_eq!(reply.status, 200, "{}", reply.text);
    header(&reply, "upload-offset").unwrap().parse().unwrap()
}

fn begun(daemon: &Daemon) -> usize {
    let all = listing(&daemon.dir.join("a/.shoebox/uploads"));
    all.iter().filter(|(name, hash)| !hash.is_empty() && !name.ends_with("/whole")).count()
}

#[test]
fn a_file_that_comes_at_once_is_stored_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "web", "phone");
    let ben = daemon.add_person("ben", "web", "phone");
    let about = daemon.request(&anna, "OPTIONS", "/tus/", "", b"");
    assert_eq!(
        (about.status, header(&about, "tus-version").as_deref()),
        (204, Some("1.0.0")),
        "{}",
        about.text
    );
    let said = |name: &str| {
        format!(
            "{BYTES}Upload-Length: 5\r\n{}",
            metadata(&[("filename", name), ("lastModified", "1600000000123")])
        )
    };
    for (round, outcome) in [(1, "stored"), (2, "already-there")] {
        let reply = ask(&daemon, &anna, "POST", "/tus/", &said("a ü.jpg"), b"photo");
        assert_eq!(reply.status, 201, "{}", reply.text);
        assert_eq!(header(&reply, "shoebox-outcome").as_deref(), Some(outcome), "round {round}");
        assert_eq!(header(&reply, "shoebox-path").as_deref(), Some("anna/2020-09/a%20%C3%BC.jpg"));
        assert_eq!(header(&reply, "shoebox-hash"), Some(hash(b"photo")));
        let location = header(&reply, "location").unwrap();
        assert_eq!(offset(&daemon, &anna, &location), 5);
        assert_eq!(ask(&daemon, &ben, "HEAD", &location, "", b"").status, 404);
    }
    // Other bytes of that name do not take it away.
    let reply = ask(&daemon, &anna, "POST", "/tus/", &said("a ü.jpg"), b"other");
    assert_eq!(header(&reply, "shoebox-path").as_deref(), Some("anna/2020-09/a%20%C3%BC%20%282%29.jpg"));
    let file = daemon.photos().join("anna/2020-09/a ü.jpg");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis(), 1_600_000_000_123);
    assert_eq!(hashes(&daemon.photos()).len(), 2);
    daemon.until("both are on B", |d| {
        d.is_mirrored("anna/2020-09/a ü.jpg") && d.is_mirrored("anna/2020-09/a ü (2).jpg")
    });
    assert_eq!(begun(&daemon), 0);
}

#[test]
fn a_file_in_pieces_goes_on_through_cuts_and_kills() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "web", "phone");
    let body = luck::bytes(1, 3_000_000);
    let at = create(&daemon, &anna, "video.mov", body.len());
    assert_eq!(offset(&daemon, &anna, &at), 0);
    assert_eq!(patch(&daemon, &anna, &at, 0, &body[..500_000]).status, 204);
    // A connection that ends, one that says nothing more, one whose client is back on another before that is noticed, one that
    // breaks: what came counts. Where the client comes back at once, or a reset overtakes it, that may be nothing.
    let mut here = 500_000;
    let mut open = Vec::new();
    for (leaving, waits) in
        [(Leaving::Fin, true), (Leaving::Stall, true), (Leaving::Stall, false), (Leaving::Reset, false)]
    {
        let (parts, mut bytes) = (begun(&daemon), patch_head(&daemon, &anna, &at, here, body.len()));
        bytes.extend_from_slice(&body[here..here + 400_000]);
        open.push(wire::cut(daemon.address, &bytes, leaving).unwrap());
        if waits {
            daemon.until("what came is kept", |d| begun(d) > parts);
        }
        let known = offset(&daemon, &anna, &at);
        assert!((here..=here + 400_000).contains(&known), "{leaving:?}: {known}");
        assert!(!waits || known == here + 400_000, "{leaving:?}: {known}");
        here = known;
    }
    drop(open);
    // SIGKILL in the middle of a request: what was acknowledged is there.
    let acknowledged = here;
    let mut stream = wire::connect(daemon.address).unwrap();
    stream.write_all(&patch_head(&daemon, &anna, &at, here, body.len())).unwrap();
    stream.write_all(&body[here..here + 300_000]).unwrap();
    daemon.kill();
    assert!(!daemon.photos().join("anna/Rome").exists());
    daemon.start();
    here = offset(&daemon, &anna, &at);
    assert!(here >= acknowledged, "{here} < {acknowledged}");
    let last = patch(&daemon, &anna, &at, here, &body[here..]);
    assert_eq!(last.status, 204, "{}", last.text);
    assert_eq!(header(&last, "shoebox-path").as_deref(), Some("anna/Rome/video.mov"));
    assert_eq!(header(&last, "shoebox-hash"), Some(hash(&body)));
    assert_eq!(fs::read(daemon.photos().join("anna/Rome/video.mov")).unwrap(), body);
    // Whoever did not hear it is told again, also after a restart.
    daemon.kill();
    daemon.start();
    let again = ask(&daemon, &anna, "HEAD", &at, "", b"");
    assert_eq!(header(&again, "upload-offset"), Some(body.len().to_string()));
    assert_eq!(header(&again, "shoebox-hash"), Some(hash(&body)));
    assert_eq!(patch(&daemon, &anna, &at, here, &body[here..]).status, 409);
    assert_eq!(patch(&daemon, &anna, &at, body.len(), b"").status, 204);
    assert_eq!(hashes(&daemon.photos()), [hash(&body)]);
    daemon.until("it is on B", |d| d.is_mirrored("anna/Rome/video.mov"));
}

/// The last byte is durable, and the box dies before it can put the whole together: the client's next question ends it.
#[test]
fn a_file_whose_last_byte_is_here_is_put_together_by_the_next_question() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "web", "phone");
    let body = luck::bytes(2, 400_000);
    let at = create(&daemon, &anna, "a.mov", body.len());
    // A body without its end, of which all bytes came: it breaks off, and what came is all.
    let mut bytes = format!(
        "PATCH {at} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nTus-Resumable: 1.0.0\r\n{BYTES}Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        daemon.address, anna.basic()
    ).into_bytes();
    let mut chunked = wire::chunked(&body, 70_000);
    chunked.truncate(chunked.len() - 5);
    bytes.extend_from_slice(&chunked);
    wire::cut(daemon.address, &bytes, Leaving::Fin).unwrap();
    // What was said, and the one part.
    daemon.until("all of it is here", |d| begun(d) == 2);
    assert!(hashes(&daemon.photos()).is_empty());
    assert_eq!(offset(&daemon, &anna, &at), body.len());
    assert_eq!(fs::read(daemon.photos().join("anna/Rome/a.mov")).unwrap(), body);
    assert_eq!(
        header(&ask(&daemon, &anna, "GET", &at, "", b""), "shoebox-outcome").as_deref(),
        Some("stored")
    );
}

#[test]
fn no_upload_begins_that_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "web", "phone");
    let named = metadata(&[("filename", "a.jpg")]);
    for (more, body, expected) in [
        (format!("Upload-Length: 5\r\n{BYTES}"), &b"photo"[..], 400),
        (format!("Upload-Length: 0\r\n{named}"), b"", 400),
        (format!("Upload-Length: -5\r\n{named}"), b"", 400),
        (format!("Upload-Length: 5\r\nUpload-Length: 5\r\n{named}"), b"", 400),
        (named.clone(), b"", 400),
        (format!("Upload-Defer-Length: 1\r\n{named}"), b"", 400),
        (format!("Upload-Concat: partial\r\nUpload-Length: 5\r\n{named}"), b"", 400),
        ("Upload-Length: 5\r\nUpload-Metadata: filename !!!\r\n".to_owned(), b"", 400),
        (format!("Upload-Length: 5\r\nUpload-Metadata: {}\r\n", "x".repeat(5000)), b"", 400),
        (format!("Upload-Length: 99999999999999999999\r\n{named}"), b"", 400),
        (format!("Upload-Length: 9999999999999999999\r\n{named}"), b"", 413),
        (format!("Upload-Length: 99999999999999\r\n{named}"), b"", 413),
        (format!("Upload-Length: 5\r\n{named}"), b"photo", 415),
        (format!("Upload-Length: 5\r\n{named}Content-Type: image/jpeg\r\n"), b"photo", 415),
        (format!("Upload-Length: 4\r\n{named}{BYTES}"), b"photo", 413),
        (format!("Upload-Length: 5\r\n{named}{BYTES}Content-Range: bytes 0-4/9\r\n"), b"photo", 400),
        (format!("Upload-Length: 5\r\n{named}{BYTES}Upload-Checksum: crc32 AAAAAA==\r\n"), b"photo", 400),
        (
            format!(
                "Upload-Length: 5\r\n{named}{BYTES}Upload-Checksum: sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=\r\n"
            ),
            b"photo",
            460,
        ),
        (
            format!(
                "Upload-Length: 5\r\n{}{BYTES}",
                metadata(&[("filename", "a.jpg"), ("sha1", &"0".repeat(40))])
            ),
            b"photo",
            460,
        ),
        (format!("Upload-Length: 5\r\n{}{BYTES}", metadata(&[("filename", "a.jpg.part")])), b"photo", 400),
    ] {
        let reply = ask(&daemon, &anna, "POST", "/tus", &more, body);
        assert_eq!(reply.status, expected, "{more}: {}", reply.text);
        assert_eq!(header(&reply, "tus-resumable").as_deref(), Some("1.0.0"), "{}", reply.text);
    }
    assert!(hashes(&daemon.photos()).is_empty(), "{:?}", listing(&daemon.photos()));
    assert_eq!(begun(&daemon), 0);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "web", "phone");
    let ben = daemon.add_person("ben", "web", "phone");
    let at = create(&daemon, &anna, "a.jpg", 3);
    for (more, body, expected) in [
        (format!("{BYTES}Upload-Offset: 1\r\n"), &b"bc"[..], 409),
        (format!("{BYTES}Upload-Offset: 3\r\n"), b"", 409),
        (BYTES.to_owned(), b"abc", 400),
        (format!("{BYTES}Upload-Offset: x\r\n"), b"abc", 400),
        ("Upload-Offset: 0\r\n".to_owned(), b"abc", 415),
        (format!("{BYTES}Upload-Offset: 0\r\n"), b"abcd", 413),
        (
            format!("{BYTES}Upload-Offset: 0\r\nUpload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"),
            b"abc",
            460,
        ),
        (format!("{BYTES}Upload-Offset: 0\r\nUpload-Checksum: sha512 AAAA\r\n"), b"abc", 400),
    ] {
        let reply = ask(&daemon, &anna, "PATCH", &at, &more, body);
        assert_eq!(reply.status, expected, "{more}: {}", reply.text);
        assert_eq!(offset(&daemon, &anna, &at), 0, "{more}");
    }
    for method in ["HEAD", "PATCH", "DELETE"] {
        let more = format!("{BYTES}Upload-Offset: 0\r\n");
        assert_eq!(
            ask(&daemon, &ben, method, &at, &more, if method == "PATCH" { b"abc" } else { b"" }).status,
            404,
            "{method}"
        );
        assert_eq!(
            ask(&daemon, &anna, method, "/tus/no-such", &more, if method == "PATCH" { b"abc" } else { b"" })
                .status,
            404,
            "{method}"
        );
    }
    let versionless = daemon.request(&anna, "HEAD", &at, "", b"");
    assert_eq!((versionless.status, header(&versionless, "tus-version").as_deref()), (412, Some("1.0.0")));
    assert_eq!(ask(&daemon, &anna, "PUT", &at, "", b"abc").status, 405);
    assert!(hashes(&daemon.photos()).is_empty(), "{:?}", listing(&daemon.photos()));
    // With the checksum it says, by way of POST, it is taken; then it is a photo, and no upload any more.
    let good = format!(
        "X-HTTP-Method-Override: PATCH\r\n{BYTES}Upload-Offset: 0\r\nUpload-Checksum: sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=\r\n"
    );
    let reply = ask(&daemon, &anna, "POST", &at, &good, b"abc");
    assert_eq!(reply.status, 204, "{}", reply.text);
    assert_eq!(ask(&daemon, &anna, "DELETE", &at, "", b"").status, 404);
    assert_eq!(hashes(&daemon.photos()), [hash(b"abc")]);
    // One that is given up leaves nothing.
    let at = create(&daemon, &anna, "b.jpg", 3);
    assert_eq!(patch(&daemon, &anna, &at, 0, b"ab").status, 204);
    assert_eq!(ask(&daemon, &anna, "DELETE", &at, "", b"").status, 204);
    assert_eq!(ask(&daemon, &anna, "HEAD", &at, "", b"").status, 404);
    assert_eq!(hashes(&daemon.photos()), [hash(b"abc")]);
}

/// The hash of the whole that was said at the beginning does not fit: nothing gets a name, and the client begins anew.
#[test]
fn a_whole_that_is_not_what_was_announced_is_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "web", "phone");
    let said = metadata(&[("filename", "a.jpg"), ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d")]);
    for (body, expected) in [(b"abd", 460), (b"abc", 204)] {
        let reply = ask(&daemon, &anna, "POST", "/tus/", &format!("Upload-Length: 3\r\n{said}"), b"");
        let at = header(&reply, "location").unwrap();
        assert_eq!(patch(&daemon, &anna, &at, 0, &body[..2]).status, 204);
        assert_eq!(patch(&daemon, &anna, &at, 2, &body[2..]).status, expected);
        let after = ask(&daemon, &anna, "HEAD", &at, "", b"").status;
        assert_eq!(after, if expected == 204 { 200 } else { 404 });
    }
    assert_eq!(hashes(&daemon.photos()), [hash(b"abc")]);
}

#[test]
fn quotas_and_absent_drives_are_told_before_the_body() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    assert_eq!(daemon.run(&["person", "add", "anna", "--quota", "1M"]).0, 0);
    let anna = daemon.add_device("anna", "web", "phone");
    let body = luck::bytes(3, 800_000);
    let at = create(&daemon, &anna, "a.mov", body.len());
    assert_eq!(patch(&daemon, &anna, &at, 0, &body[..300_000]).status, 204);
    let large = format!(
        "{BYTES}Upload-Length: 1100000\r\n{}Expect: 100-continue\r\n",
        metadata(&[("filename", "b.mov")])
    );
    let head = format!(
        "POST /tus/ HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nTus-Resumable: 1.0.0\r\n{large}Content-Length: 1100000\r\nConnection: close\r\n\r\n",
        daemon.address,
        anna.basic()
    );
    let refused = Reply::parse(&wire::exchange(daemon.address, head.as_bytes()).unwrap()).unwrap();
    assert_eq!(refused.status, 507, "{}", refused.text);
    assert!(refused.text.contains("quota"), "{}", refused.text);
    // The drive goes, and comes back: the upload goes on.
    let (a, away) = (daemon.dir.join("a"), daemon.dir.join("away"));
    fs::rename(&a, &away).unwrap();
    for (method, target) in [("HEAD", at.as_str()), ("PATCH", &at), ("DELETE", &at), ("POST", "/tus/")] {
        let more = format!(
            "{BYTES}Upload-Offset: 300000\r\nUpload-Length: 5\r\n{}",
            metadata(&[("filename", "c.jpg")])
        );
        let reply = ask(
            &daemon,
            &anna,
            method,
            target,
            &more,
            if method == "PATCH" || method == "POST" { b"photo" } else { b"" },
        );
        // To HEAD any other answer would be the end of the upload.
        assert_eq!(reply.status, if method == "HEAD" { 423 } else { 503 }, "{method}: {}", reply.text);
        assert!(header(&reply, "retry-after").is_some(), "{}", reply.text);
    }
    assert!(!a.exists());
    fs::rename(&away, &a).unwrap();
    let mut here = 0;
    daemon.until("A is back", |d| {
        let reply = ask(d, &anna, "HEAD", &at, "", b"");
        here = header(&reply, "upload-offset").and_then(|text| text.parse().ok()).unwrap_or(0);
        reply.status == 200
    });
    assert_eq!(here, 300_000);
    assert_eq!(patch(&daemon, &anna, &at, here, &body[here..]).status, 204);
    assert_eq!(fs::read(daemon.photos().join("anna/Rome/a.mov")).unwrap(), body);
}

/// Cut at any byte, by a client that closes or vanishes, again and again: it goes on, nothing partial ever has a name, and no more is
/// sent again than what was on its way. `SHOEBOX_TUS_CUTS`: how often.
#[test]
fn cut_at_any_byte_it_goes_on() {
    let cuts = luck::size("SHOEBOX_TUS_CUTS", 60);
    let seed = luck::seed("tus");
    let mut luck = Luck::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "web", "phone");
    let (mut done, mut cut, mut kept) = (0, 0, 0);
    while cut < cuts {
        let body = luck::bytes(1000 + done, usize::try_from(1 + luck.below(300_000)).unwrap());
        let name = format!("{done}.mov");
        let at = create(&daemon, &anna, &name, body.len());
        let mut here = 0;
        for _ in 0..luck.below(6) {
            let mut bytes = patch_head(&daemon, &anna, &at, here, body.len());
            bytes.extend_from_slice(&body[here..]);
            // Never the last byte: then there is nothing to cut.
            bytes.truncate(usize::try_from(luck.below(bytes.len() as u64 - 1)).unwrap());
            let leaving = if luck.below(2) == 0 { Leaving::Fin } else { Leaving::Reset };
            wire::cut(daemon.address, &bytes, leaving).unwrap();
            let known = offset(&daemon, &anna, &at);
            assert!(
                (here..body.len()).contains(&known),
                "seed {seed}: {known} after {here} of {}",
                body.len()
            );
            assert!(
                !daemon.photos().join("anna/Rome").join(&name).exists(),
                "seed {seed}: {name} is there early"
            );
            (cut, kept) = (cut + 1, kept + u64::from(known > here));
            here = known;
        }
        // What was cut may be read by the box only now, and go before us.
        loop {
            let last = patch(&daemon, &anna, &at, here, &body[here..]);
            if last.status == 204 {
                break;
            }
            assert_eq!(last.status, 409, "seed {seed}: {}", last.text);
            here = offset(&daemon, &anna, &at);
        }
        assert_eq!(fs::read(daemon.photos().join("anna/Rome").join(&name)).unwrap(), body, "seed {seed}");
        done += 1;
    }
    println!(
        "tus: {cut} cuts of {done} uploads, something was kept {kept} times, 0 partial, 0 lost (seed {seed})"
    );
    assert_eq!(hashes(&daemon.photos()).len() as u64, done);
    let last = format!("anna/Rome/{}.mov", done - 1);
    daemon.until("the last is on B", |d| d.is_mirrored(&last));
    assert_eq!(hashes(&daemon.dir.join("a/.shoebox/incoming")).len(), 0);
}
