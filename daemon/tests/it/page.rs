//! The upload page's own routes: what everybody may load, who is signed in, and what is proved of what was sent.
use serde_json::{Value, json};

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, hashes};
use crate::support::wire::{self, Reply};

/// A request as a browser sends it: no Basic, perhaps a cookie.
fn ask(daemon: &Daemon, method: &str, target: &str, more: &str, body: &[u8]) -> Reply {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{more}\r\n",
        daemon.address,
        body.len()
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    Reply::parse(&wire::exchange(daemon.address, &bytes).unwrap()).unwrap()
}

fn sign_in(daemon: &Daemon, user: &str, password: &str, more: &str) -> Reply {
    let body = json!({ "user": user, "password": password }).to_string();
    ask(daemon, "POST", "/upload/session", more, body.as_bytes())
}

/// The `Cookie` header of whoever signed in.
fn cookie(reply: &Reply) -> String {
    let line = reply.text.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie: ")).unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(line.contains(word), "{line}");
    }
    format!("Cookie: theme=dark; {}\r\n", line[12..].split(';').next().unwrap())
}

fn send(daemon: &Daemon, cookie: &str, name: &str, body: &[u8]) -> Reply {
    use base64::Engine as _;
    let name = base64::engine::general_purpose::STANDARD.encode(name);
    let more = format!(
        "{cookie}Tus-Resumable: 1.0.0\r\nUpload-Length: {}\r\nUpload-Metadata: filename {name},album UmVj\r\nContent-Type: application/offset+octet-stream\r\n",
        body.len()
    );
    ask(daemon, "POST", "/tus/", &more, body)
}

fn proofs(daemon: &Daemon, cookie: &str, hashes: &[String]) -> Vec<Value> {
    let body = json!({ "hashes": hashes }).to_string();
    let reply = ask(daemon, "POST", "/upload/proofs", cookie, body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text);
    serde_json::from_slice::<Value>(&reply.body).unwrap()["proofs"].as_array().unwrap().clone()
}

#[test]
fn everybody_may_load_the_page_and_nobody_sends_without_signing_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "web", "phone");
    let ben = daemon.add_person("ben", "web", "phone");
    let page = ask(&daemon, "GET", "/upload", "", b"");
    assert_eq!(page.status, 200);
    for word in ["script-src 'self'", "worker-src 'self'", "manifest-src 'self'", "default-src 'none'"] {
        assert!(page.text.contains(word) && !page.text.contains("unsafe"), "{}", page.text);
    }
    assert_eq!(ask(&daemon, "GET", "/upload/assets/upload.js", "", b"").status, 200);
    assert_eq!(ask(&daemon, "GET", "/upload/assets/../config.toml", "", b"").status, 404);
    for (method, target) in
        [("GET", "/upload/session"), ("POST", "/upload/proofs"), ("POST", "/tus/"), ("HEAD", "/tus/x")]
    {
        let reply = ask(&daemon, method, target, "Tus-Resumable: 1.0.0\r\n", b"{\"hashes\":[]}");
        assert_eq!(reply.status, 401, "{method} {target}: {}", reply.text);
        assert!(!reply.text.contains("Basic"), "a browser would show its own window: {}", reply.text);
    }
    assert_eq!(sign_in(&daemon, "anna", "wrong", "").status, 401);
    assert_eq!(sign_in(&daemon, "ben", &anna.password, "").status, 401);
    assert_eq!(sign_in(&daemon, "anna", &anna.password, "Origin: http://evil.example\r\n").status, 403);
    assert_eq!(ask(&daemon, "POST", "/upload/session", "", b"user=anna").status, 400);
    assert_eq!(ask(&daemon, "POST", "/upload/session", "", &[b'x'; 5000]).status, 413);

    let signed_in = sign_in(&daemon, " Anna", &anna.password, "");
    assert_eq!(signed_in.status, 200, "{}", signed_in.text);
    let (annas, bens) = (cookie(&signed_in), cookie(&sign_in(&daemon, "ben", &ben.password, "")));
    let who: Value =
        serde_json::from_slice(&ask(&daemon, "GET", "/upload/session", &annas, b"").body).unwrap();
    assert_eq!(who, json!({ "person": "anna", "device": "web" }));
    // The cookie opens the page's routes and nothing else, and nothing for another site.
    assert_eq!(ask(&daemon, "GET", "/dav/", &annas, b"").status, 401);
    assert_eq!(send(&daemon, &format!("{annas}Origin: http://evil.example\r\n"), "a.jpg", b"x").status, 403);
    assert_eq!(send(&daemon, &format!("{annas}Sec-Fetch-Site: cross-site\r\n"), "a.jpg", b"x").status, 403);
    assert!(hashes(&daemon.photos()).is_empty());
    let sent = send(&daemon, &annas, "a.jpg", b"photo");
    assert_eq!(sent.status, 201, "{}", sent.text);
    assert!(daemon.photos().join("anna/Rec/a.jpg").exists());
    let wanted = [hash(b"photo"), hash(b"never sent")];
    let mut last = Vec::new();
    daemon.until("it is proved on B", |d| {
        last = proofs(d, &annas, &wanted);
        assert!(last.len() == 1 && last[0]["on_a"].is_string(), "{last:?}");
        last[0]["on_b"].is_string()
    });
    // What others have is nobody else's business.
    assert_eq!(proofs(&daemon, &bens, &wanted), Vec::<Value>::new());
    let many: Vec<String> = (0..101).map(|n| hash(&[n])).collect();
    assert_eq!(
        ask(&daemon, "POST", "/upload/proofs", &annas, json!({ "hashes": many }).to_string().as_bytes())
            .status,
        400
    );
}

#[test]
fn what_is_shared_where_no_worker_takes_it_is_answered_with_the_page_and_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let anna = daemon.add_person("anna", "web", "phone");
    let cookie = cookie(&sign_in(&daemon, "anna", &anna.password, ""));
    let form = "Content-Type: multipart/form-data; boundary=x\r\n";
    let body = b"--x\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.jpg\"\r\n\r\nphoto\r\n--x--\r\n";
    // A phone's share sheet is no site; who is signed in does not matter, nor whether the drives are there.
    for more in ["", "Origin: null\r\n", "Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n"] {
        let reply = ask(&daemon, "POST", "/upload/share", &format!("{cookie}{form}{more}"), body);
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert!(reply.text.contains("role=\"alert\">What was shared did not arrive"), "{}", reply.text);
        assert!(reply.text.contains("frame-ancestors 'none'"), "{}", reply.text);
    }
    assert!(!ask(&daemon, "GET", "/upload", "", b"").text.contains("role=\"alert\">What was shared"));
    assert_eq!(ask(&daemon, "GET", "/upload/share", "", b"").status, 405);
    // More than anybody would read gets its answer, too.
    let large = vec![b'x'; 3_000_000];
    assert_eq!(ask(&daemon, "POST", "/upload/share", form, &large).status, 200);
    assert!(hashes(&daemon.photos()).is_empty());
    // The worker may answer for the page, and is asked for anew by whoever has it.
    let worker = ask(&daemon, "GET", "/upload/assets/worker.js", "", b"");
    assert!(
        worker.text.to_ascii_lowercase().contains("service-worker-allowed: /upload\r\n"),
        "{}",
        worker.text
    );
    assert!(
        worker.text.contains(concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "-")),
        "{}",
        worker.text
    );
}

#[test]
fn a_session_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    let Account { user, password } = daemon.add_person("anna", "web", "phone");
    let status = |d: &Daemon, cookie: &str| ask(d, "GET", "/upload/session", cookie, b"").status;
    let first = cookie(&sign_in(&daemon, &user, &password, ""));
    let second = cookie(&sign_in(&daemon, &user, &password, ""));
    assert_ne!(first, second);
    assert_eq!(ask(&daemon, "DELETE", "/upload/session", &first, b"").status, 204);
    assert_eq!((status(&daemon, &first), status(&daemon, &second)), (401, 200));
    // Without the drives nobody is told anything about passwords, and nobody is signed out.
    let (a, away) = (daemon.dir.join("a"), daemon.dir.join("away"));
    std::fs::rename(&a, &away).unwrap();
    daemon.until("it is known to be away", |d| status(d, &second) == 503);
    assert_eq!(sign_in(&daemon, &user, "wrong", "").status, 503);
    assert_eq!(send(&daemon, &second, "a.jpg", b"photo").status, 503);
    assert_eq!(ask(&daemon, "GET", "/upload", "", b"").status, 200);
    std::fs::rename(&away, &a).unwrap();
    daemon.until("A is back", |d| status(d, &second) == 200);
    assert_eq!(daemon.run(&["device", "revoke", "anna", "web"]).0, 0);
    assert_eq!(status(&daemon, &second), 401);
    // The same name with another password is another device.
    daemon.add_device("anna", "web", "phone");
    assert_eq!(status(&daemon, &second), 401);
    daemon.kill();
    daemon.start();
    assert_eq!(status(&daemon, &second), 401);
}
