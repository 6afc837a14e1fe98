//! HTTPS with certificates of the box's own: real handshakes, what lies on the drives, new cards and drives, a certificate that ends, and
//! clients that shake hands slowly. The real binary, a real client (rustls).
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::Value;

use crate::support::clock;
use crate::support::daemon::{Account, Daemon, free_port};
use crate::support::mounted::leave_out;
use crate::support::wire::{self, Reply};

const AUTHORITY: &str = ".shoebox/authority.pem";
const CERTIFICATE: &str = ".shoebox/certificate.pem";

/// A box with HTTPS, and where that is.
struct Secure {
    daemon: Daemon,
    at: SocketAddr,
}

fn with_https(daemon: &mut Daemon) -> SocketAddr {
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    daemon.more = format!("[tls]\nlisten = [\"{at}\"]\n");
    at
}

impl Secure {
    fn furnish(dir: &Path) -> Self {
        for drive in ["a", "b"] {
            fs::create_dir(dir.join(drive)).unwrap();
        }
        let mut daemon = Daemon::new(dir, 5, &[]);
        let at = with_https(&mut daemon);
        daemon.begin();
        let mut secure = Self { daemon, at };
        secure.ready();
        secure
    }

    /// Waits until the certificate is there, on both drives.
    fn ready(&mut self) -> Value {
        self.daemon.until("both drives have the authority", |d| kept_on(d) == 2);
        self.daemon.ask(&["ca", "show", "--json"])
    }

    fn restart(&mut self) -> Value {
        self.daemon.kill();
        self.daemon.start();
        self.ready()
    }

    fn fingerprint(&self) -> String {
        let shown = self.daemon.ask(&["ca", "show", "--json"]);
        shown["authority"]["fingerprint"].as_str().unwrap().to_owned()
    }

    /// What a phone downloads.
    fn authority(&self) -> CertificateDer<'static> {
        let got = get(self.daemon.address, "/ca.crt");
        assert_eq!(got.status, 200, "{}", got.text);
        assert!(
            got.text.to_lowercase().contains("content-type: application/x-x509-ca-cert\r\n"),
            "{}",
            got.text
        );
        CertificateDer::from(got.body)
    }

    fn put(&self, who: &Account, name: &str, body: &[u8]) -> Reply {
        let head = format!("Authorization: {}\r\nContent-Length: {}\r\n", who.basic(), body.len());
        let trusted = [self.authority()];
        let bytes = said(self.at, "127.0.0.1", "PUT", &format!("/dav/{name}"), &head, body);
        Reply::parse(&exchange(self.at, "127.0.0.1", &trusted, &bytes, rustls::ALL_VERSIONS).unwrap())
            .unwrap()
    }

    fn file(&self, drive: &str, name: &str) -> String {
        fs::read_to_string(self.daemon.dir.join(drive).join(name)).unwrap()
    }
}

fn kept_on(daemon: &Daemon) -> usize {
    let (_, text) = daemon.run(&["ca", "show", "--json"]);
    let shown: Value = serde_json::from_str(&text).unwrap_or_default();
    shown["authority"]["kept_on"].as_array().map_or(0, Vec::len)
}

fn get(to: SocketAddr, target: &str) -> Reply {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    Reply::parse(&wire::exchange(to, request.as_bytes()).unwrap()).unwrap()
}

fn said(at: SocketAddr, host: &str, method: &str, target: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let port = at.port();
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n{more}\r\n");
    [head.as_bytes(), body].concat()
}

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A client that trusts these authorities and nobody else.
fn client(
    at: SocketAddr,
    host: &str,
    trusted: &[CertificateDer<'static>],
    versions: &[&'static SupportedProtocolVersion],
) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), wire::connect(at).unwrap())
}

fn exchange(
    at: SocketAddr,
    host: &str,
    trusted: &[CertificateDer<'static>],
    bytes: &[u8],
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Vec<u8>> {
    let mut stream = client(at, host, trusted, versions);
    stream.write_all(bytes)?;
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_phone_that_trusts_the_authority_uploads() {
    let dir = tempfile::tempdir().unwrap();
    let mut secure = Secure::furnish(dir.path());
    let who = secure.daemon.add_person("anna", "phone", "phone");
    assert_eq!(secure.put(&who, "a.jpg", b"a photo").status, 201);
    assert_eq!(fs::read(secure.daemon.photos().join("anna/phone/a.jpg")).unwrap(), b"a photo");
    secure.daemon.until("B has it", |d| d.is_mirrored("anna/phone/a.jpg"));

    // By every name of the box, in both versions of TLS.
    let trusted = [secure.authority()];
    for host in ["localhost", "127.0.0.1", "::1", "photos.example.org"] {
        let named = if host.contains("::") { format!("[{host}]") } else { host.to_owned() };
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let bytes = said(secure.at, &named, "GET", "/health", "", b"");
            let answer = exchange(secure.at, host, &trusted, &bytes, &[version]).unwrap();
            assert_eq!(Reply::parse(&answer).unwrap().status, 200, "{host} {version:?}");
        }
    }
    // No other name, and nobody who does not know the authority.
    let bytes = said(secure.at, "127.0.0.1", "GET", "/health", "", b"");
    for (host, trusted) in [("127.0.0.9", &trusted[..]), ("bank.example", &trusted), ("127.0.0.1", &[])] {
        let refused = exchange(secure.at, host, trusted, &bytes, rustls::ALL_VERSIONS).unwrap_err();
        assert!(refused.to_string().contains("certificate"), "{refused}");
    }
    // Programs are led back to where they came from.
    let bytes = said(secure.at, "127.0.0.1", "POST", "/index.php/login/v2", "Content-Length: 0\r\n", b"");
    let begun = exchange(secure.at, "127.0.0.1", &trusted, &bytes, rustls::ALL_VERSIONS).unwrap();
    let begun: Value = serde_json::from_slice(&Reply::parse(&begun).unwrap().body).unwrap();
    let login = begun["login"].as_str().unwrap();
    assert!(login.starts_with(&format!("https://{}/index.php/login/v2/flow/", secure.at)), "{login}");
}

#[test]
fn a_page_signs_in_with_a_cookie_that_never_travels_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let secure = Secure::furnish(dir.path());
    let who = secure.daemon.add_person("anna", "phone", "phone");
    let wish = serde_json::json!({ "user": who.user, "password": who.password }).to_string();
    let (trusted, at) = ([secure.authority()], secure.at);
    let ask = |origin: &str| {
        let more =
            format!("Content-Length: {}\r\nOrigin: {origin}\r\nSec-Fetch-Site: same-origin\r\n", wish.len());
        let bytes = said(at, "127.0.0.1", "POST", "/upload/session", &more, wish.as_bytes());
        Reply::parse(&exchange(at, "127.0.0.1", &trusted, &bytes, rustls::ALL_VERSIONS).unwrap()).unwrap()
    };
    let signed_in = ask(&format!("https://{at}"));
    assert_eq!(signed_in.status, 200, "{}", signed_in.text);
    assert!(signed_in.text.contains("; HttpOnly; SameSite=Strict; Secure\r\n"), "{}", signed_in.text);
    for elsewhere in
        ["https://evil.example", "null", &format!("https://127.0.0.1:{}", secure.daemon.address.port())]
    {
        assert_eq!(ask(elsewhere).status, 403, "{elsewhere}");
    }
}

#[test]
fn keys_are_on_both_drives_for_nobody_else_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let secure = Secure::furnish(dir.path());
    for name in [AUTHORITY, CERTIFICATE] {
        assert_eq!(secure.file("a", name), secure.file("b", name), "{name}");
        for drive in ["a", "b"] {
            let mode = |path: &str| {
                fs::metadata(secure.daemon.dir.join(drive).join(path)).unwrap().permissions().mode() & 0o777
            };
            assert_eq!((mode(name), mode(".shoebox")), (0o600, 0o700), "{drive}/{name}");
        }
    }
    // What is given away has no key.
    for page in ["/ca", "/ca.crt", "/ca.pem"] {
        let got = get(secure.daemon.address, page);
        assert_eq!(got.status, 200);
        assert!(!got.text.contains("PRIVATE"), "{page}");
    }
    let page = get(secure.daemon.address, "/ca").text;
    assert!(page.contains(&secure.fingerprint()) && page.contains("/ca.crt"), "{page}");
    assert!(page.contains(&format!("https://127.0.0.1:{}/", secure.at.port())), "{page}");
    for shown in
        [vec!["ca", "show"], vec!["ca", "show", "--pem"], vec!["ca", "show", "--json"], vec!["doctor"]]
    {
        assert!(!secure.daemon.run(&shown).1.contains("PRIVATE"), "{shown:?}");
    }
    let key = secure.file("a", AUTHORITY);
    let line = key.lines().nth(2).unwrap();
    assert!(line.len() > 40 && !secure.daemon.log().contains(line));
}

#[test]
fn a_new_card_with_the_old_drives_has_the_old_authority() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut secure = Secure::furnish(old.path());
    let (known, shown) = (secure.authority(), secure.file("a", CERTIFICATE));
    let who = secure.daemon.add_person("anna", "phone", "phone");
    secure.daemon.kill();
    // Settings, socket and log of its own; of the old box only the drives.
    for drive in ["a", "b"] {
        std::os::unix::fs::symlink(old.path().join(drive), new.path().join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(new.path(), 5, &[]);
    let at = with_https(&mut daemon);
    daemon.start();
    let mut again = Secure { daemon, at };
    again.ready();
    assert_eq!(again.authority(), known);
    assert_eq!(again.file("a", CERTIFICATE), shown, "apps that keep the certificate itself see the same one");
    assert_eq!(again.put(&who, "a.jpg", b"after").status, 201);
}

#[test]
fn a_drive_that_lost_the_authority_gets_it_from_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut secure = Secure::furnish(dir.path());
    let known = secure.fingerprint();
    for (drive, broken) in [("a", None), ("b", None), ("a", Some("rotten")), ("b", Some(""))] {
        secure.daemon.kill();
        let path = dir.path().join(drive).join(AUTHORITY);
        match broken {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => fs::write(&path, text).unwrap(),
        }
        fs::remove_file(dir.path().join(drive).join(CERTIFICATE)).unwrap();
        secure.daemon.start();
        secure.ready();
        assert_eq!(secure.fingerprint(), known, "{drive} {broken:?}");
        assert_eq!(secure.file("a", AUTHORITY), secure.file("b", AUTHORITY));
        let own = fs::read_dir(dir.path().join(drive).join(".shoebox")).unwrap();
        let aside = own.filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("authority.pem.aside-")
        });
        assert_eq!(aside.count(), usize::from(broken.is_some()), "{drive}: nothing is written over");
    }
}

/// The main drive has none, and the one that may have it is away: no new one is made that no phone knows.
#[test]
fn none_is_made_while_a_drive_that_may_have_it_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut secure = Secure::furnish(dir.path());
    let known = secure.fingerprint();
    secure.daemon.kill();
    fs::rename(dir.path().join("b"), dir.path().join("pulled")).unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    for name in [AUTHORITY, CERTIFICATE] {
        fs::remove_file(dir.path().join("a").join(name)).unwrap();
    }
    secure.daemon.spawn();
    secure.daemon.until_it_answers();
    secure.daemon.until("it says what it waits for", |d| {
        d.run(&["ca", "show"]).1.contains("another drive, which may have the authority, is not there")
    });
    assert_eq!(get(secure.daemon.address, "/ca.crt").status, 503);
    // Closed at once: with a reset, where what was sent is not read any more.
    assert!(wire::exchange(secure.at, b"\x16\x03\x01").unwrap_or_default().is_empty());
    fs::remove_dir(dir.path().join("b")).unwrap();
    fs::rename(dir.path().join("pulled"), dir.path().join("b")).unwrap();
    secure.daemon.until_a_minute_later("both have it", |d| kept_on(d) == 2);
    assert_eq!(secure.fingerprint(), known);
}

#[test]
fn a_certificate_is_made_anew_before_it_ends_and_the_authority_stays() {
    let dir = tempfile::tempdir().unwrap();
    let later = dir.path().join("later");
    let Some(under) = clock::under(&later) else {
        return leave_out("certificate-renewal", "no libfaketime");
    };
    let mut secure = Secure::furnish(dir.path());
    let (known, first) = (secure.authority(), secure.file("a", CERTIFICATE));
    assert!(secure.restart()["authority"]["pem"].as_str().unwrap().lines().count() > 5);
    assert_eq!(secure.file("a", CERTIFICATE), first, "a restart changes nothing");
    let text = fs::read_to_string(dir.path().join("a").join(CERTIFICATE)).unwrap();
    assert!(CertificateDer::from_pem_slice(text.as_bytes()).is_ok());
    secure.daemon.kill();

    fs::write(&later, "+790d\n").unwrap();
    let under: Vec<&str> = under.iter().map(String::as_str).collect();
    let mut daemon = Daemon::new(dir.path(), 5, &under);
    let at = with_https(&mut daemon);
    daemon.start();
    let mut again = Secure { daemon, at };
    let shown = again.ready();
    assert_ne!(again.file("a", CERTIFICATE), first, "790 days later there is another one");
    assert_eq!(again.file("a", CERTIFICATE), again.file("b", CERTIFICATE));
    assert_eq!(again.authority(), known);
    println!("tls: renewed after 790 days, good until {}", shown["until"]);
}

/// As with slow heads: whoever shakes hands slowly has the time of a head, and gives way when there is no room.
#[test]
fn slow_handshakes_end_and_keep_nobody_away() {
    let dir = tempfile::tempdir().unwrap();
    for drive in ["a", "b"] {
        fs::create_dir(dir.path().join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir.path(), 2, &[]);
    daemon.connections = [64, 64];
    let at = with_https(&mut daemon);
    daemon.begin();
    let mut secure = Secure { daemon, at };
    secure.ready();
    let who = secure.daemon.add_person("anna", "phone", "phone");

    // The time of a head, and no more.
    let mut slow = wire::connect(secure.at).unwrap();
    slow.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    let began = Instant::now();
    let _end = slow.read_to_end(&mut Vec::new());
    let took = began.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");

    for (kind, says) in
        [("nothing", &b""[..]), ("half a hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")]
    {
        let idle: Vec<TcpStream> = (0..1000)
            .map(|_| {
                let mut stream = wire::connect(secure.at).unwrap();
                // One that was sent away already may not take it.
                let _sent = stream.write_all(says);
                stream
            })
            .collect();
        let began = Instant::now();
        assert_eq!(secure.put(&who, &format!("{}.jpg", says.len()), b"a photo").status, 201);
        let (peak, took) = (secure.daemon.peak_memory() >> 20, began.elapsed());
        println!(
            "tls: an upload beside 1000 that say {kind} took {:.1} s, {peak} MiB at most",
            took.as_secs_f32()
        );
        assert!(took < Duration::from_secs(30) && peak < 64, "{took:?} {peak} MiB");
        drop(idle);
    }
    assert!(secure.daemon.lives());
}

/// A thousand that shook hands and lie idle: what each costs, and that the box goes on.
#[test]
fn a_thousand_idle_connections_are_held() {
    let dir = tempfile::tempdir().unwrap();
    for drive in ["a", "b"] {
        fs::create_dir(dir.path().join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir.path(), 60, &[]);
    daemon.connections = [1100, 1100];
    let at = with_https(&mut daemon);
    daemon.begin();
    let mut secure = Secure { daemon, at };
    secure.ready();
    let who = secure.daemon.add_person("anna", "phone", "phone");
    let trusted = [secure.authority()];
    let before = resident(&secure.daemon);
    let ask = |head: &str| format!("GET /health HTTP/1.1\r\nHost: {head}\r\n\r\n");
    let idle: Vec<Client> = (0..1000)
        .map(|_| {
            let mut stream = client(at, "127.0.0.1", &trusted, rustls::ALL_VERSIONS);
            stream.write_all(ask(&at.to_string()).as_bytes()).unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let held = resident(&secure.daemon).saturating_sub(before) / 1000;
    assert_eq!(secure.put(&who, "beside.jpg", b"a photo").status, 201);
    println!("tls: {} idle connections take {held} KiB each", idle.len());
    assert!(held < 64, "{held} KiB each");
    drop(idle);
}

/// In KiB.
fn resident(daemon: &Daemon) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", daemon.pid())).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
