//! The Sumu dialect against the real binary, on its own address: parts in any order, cuts, kills, who may ask, and what is never said to be here.
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::files;
use crate::support::luck::{self, Luck};
use crate::support::wire::{self, Leaving, Reply};

struct Home {
    _dir: tempfile::TempDir,
    daemon: Daemon,
    to: SocketAddr,
    phone: Account,
}

/// Below the ports that tests choose their main ones from.
fn own_port() -> u16 {
    let begin = std::process::id().wrapping_mul(31);
    for n in 0..2000 {
        let port = u16::try_from(4000 + begin.wrapping_add(n) % 5000).unwrap();
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_err() && CLAIMED.lock().unwrap().insert(port)
        {
            return port;
        }
    }
    panic!("no port is free");
}

static CLAIMED: std::sync::Mutex<BTreeSet<u16>> = std::sync::Mutex::new(BTreeSet::new());

/// Names say when a photo was taken by the box's clock on the wall.
pub(crate) const UTC: &[&str] = &["env", "TZ=UTC"];

/// A box that has an address for the app, and that address.
pub(crate) fn furnish(dir: &Path) -> (Daemon, SocketAddr) {
    for drive in ["a", "b"] {
        fs::create_dir_all(dir.join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir, 5, UTC);
    let to = SocketAddr::from(([127, 0, 0, 1], own_port()));
    daemon.log_level = "debug";
    daemon.more = format!("[sumu]\nlisten = [\"{to}\"]\n");
    daemon.begin();
    (daemon, to)
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, to) = furnish(dir.path());
    let phone = daemon.add_person("anna", "sumu", "phone");
    Home { _dir: dir, daemon, to, phone }
}

/// A JSON text as the app's writer has it: every slash behind a backslash.
fn written(value: &Value) -> String {
    value.to_string().replace('/', "\\/")
}

struct File<'a> {
    id: &'a str,
    at: u64,
    ext: &'a str,
    more: Value,
}

impl Home {
    fn get(&self, target: &str) -> Reply {
        wire::request(self.to, "none", "GET", target, "", b"").unwrap()
    }

    fn post(&self, target: &str, text: &str) -> Reply {
        wire::request(self.to, "none", "POST", target, "Content-Type: application/json\r\n", text.as_bytes())
            .unwrap()
    }

    /// As the app asks every five seconds.
    fn is_online(&self) -> bool {
        let target = format!("/health?p={}", self.phone.password);
        wire::request(self.to, "none", "GET", &target, "", b"")
            .is_ok_and(|reply| reply.status == 200 && reply.body == b"\"ok\"\n")
    }

    fn timestamps(&self) -> Value {
        let reply = self.get(&format!("/timestamps?p={}&u=anna", self.phone.password));
        assert_eq!(reply.status, 200, "{}", reply.text);
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn part_text(&self, id: &str, number: u64, bytes: &[u8], bytes_first: bool) -> String {
        let image = written(&json!(STANDARD.encode(bytes)));
        let (password, id) = (json!(self.phone.password), json!(id));
        if bytes_first {
            format!("{{\"i\":{image},\"o\":{number},\"d\":{id},\"p\":{password}}}")
        } else {
            format!("{{\"p\":{password},\"d\":{id},\"o\":{number},\"i\":{image}}}")
        }
    }

    fn part(&self, id: &str, number: u64, bytes: &[u8]) -> u16 {
        let text = self.part_text(id, number, bytes, number.is_multiple_of(2));
        self.post("/part", &text).status
    }

    fn save(&self, file: &File<'_>, parts: u64) -> u16 {
        let mut said = json!({
            "a": "2024-03", "p": self.phone.password, "u": "anna", "t": file.at, "lat": null, "long": null, "f": false,
            "v": false, "d": file.id, "n": parts, "l": false, "x": file.ext,
        });
        said.as_object_mut().unwrap().extend(file.more.as_object().cloned().unwrap_or_default());
        self.post("/save", &written(&said)).status
    }

    /// A file in one part.
    fn send(&self, file: &File<'_>, bytes: &[u8]) -> u16 {
        assert_eq!(self.part(file.id, 1, bytes), 200);
        self.save(file, 1)
    }

    fn files(&self) -> Vec<String> {
        files(&self.daemon.photos())
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.daemon.photos().join(path)).unwrap()
    }

    /// Uploads that wait, each with its parts.
    fn waiting(&self) -> Vec<usize> {
        let all = fs::read_dir(self.daemon.dir.join("a/.shoebox/uploads")).into_iter().flatten();
        // A part's file, or its record.
        let digits = |name: std::ffi::OsString| name.to_str().is_some_and(|name| name.len() >= 20);
        all.map(|one| {
            let files = fs::read_dir(one.unwrap().path()).unwrap();
            files.filter(|file| digits(file.as_ref().unwrap().file_name())).count()
        })
        .collect()
    }
}

/// 5 March 2024, 11:33:44.250 UTC.
const AT: u64 = 1_709_638_424_250;

fn photo<'a>(id: &'a str, at: u64) -> File<'a> {
    File { id, at, ext: "jpg", more: Value::Null }
}

#[test]
fn parts_come_in_any_order_and_the_second_run_sends_nothing() {
    let home = home();
    assert!(home.is_online());
    assert_eq!(home.timestamps(), json!({}));
    let bytes = luck::bytes(1, 2_000_000);
    let file = File { more: json!({"lat": 48.1375, "long": 11.575, "f": true}), ..photo("A-1", AT) };
    for (number, piece) in [(3, 1_400_000..2_000_000), (1, 0..700_000), (2, 700_000..1_400_000)] {
        assert_eq!(home.part(file.id, number, &bytes[piece]), 200);
    }
    assert!(home.files().is_empty() && home.timestamps() == json!({}), "nothing is here before it is saved");
    assert_eq!(home.save(&file, 3), 200);
    let names = [
        "anna/2024-03/20240305_113344_250.jpg",
        "anna/2024-03/20240305_113344_250.jpg.xmp",
        "anna/favorites/20240305_113344_250.jpg",
    ];
    assert_eq!(home.files(), names);
    for name in [names[0], names[2]] {
        assert!(home.read(name) == bytes, "{name}");
    }
    assert!(String::from_utf8(home.read(names[1])).unwrap().contains(">48,8.250000N<"));
    let modified = fs::metadata(home.daemon.photos().join(names[0])).unwrap().modified().unwrap();
    assert_eq!(
        modified.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_millis(),
        u128::from(AT)
    );
    assert_eq!(home.timestamps(), json!({"1709638424250": true}));
    // Whoever did not hear it is told again, and so is a late part; a new attempt with the same bytes changes nothing.
    assert_eq!((home.save(&file, 3), home.part(file.id, 2, b"late"), home.save(&file, 3)), (200, 200, 200));
    assert_eq!(home.send(&File { id: "A-2", more: file.more.clone(), ..photo("", AT) }, &bytes), 200);
    assert_eq!(home.files(), names);
    // Other bytes of the same moment: both are kept.
    assert_eq!(home.send(&photo("A-3", AT), b"another"), 200);
    assert_eq!(home.read("anna/2024-03/20240305_113344_250 (2).jpg"), b"another");
}

#[test]
fn a_live_photo_is_here_when_both_halves_are() {
    let home = home();
    let half = |id: &'static str, video: bool| File {
        ext: if video { "mov" } else { "jpg" },
        more: json!({"l": true, "v": video, "a": "Rome 2024"}),
        ..photo(id, AT)
    };
    // Something else has the name.
    assert_eq!(home.send(&File { more: json!({"a": "Rome 2024"}), ..photo("A-0", AT) }, b"other"), 200);
    assert_eq!(home.timestamps(), json!({"1709638424250": true}));
    assert_eq!(home.send(&File { at: AT + 1, ..half("B-1", false) }, b"still"), 200);
    assert_eq!(home.timestamps(), json!({"1709638424250": true}), "a half is not all of it");
    for _ in 0..2 {
        drop(home.timestamps());
    }
    assert_eq!(
        home.read("anna/Rome 2024/20240305_113344_251.jpg"),
        b"still",
        "and asking takes nothing away"
    );
    assert_eq!(home.send(&File { at: AT + 1, ..half("B-2", true) }, b"moves"), 200);
    assert_eq!(home.timestamps(), json!({"1709638424250": true, "1709638424251": true}));
    // A pair whose name is taken gets another, together; the moving half may come first.
    assert_eq!(
        home.send(&File { more: json!({"a": "Rome 2024"}), ext: "mov", ..photo("A-4", AT + 2) }, b"a film"),
        200
    );
    assert_eq!(home.send(&File { at: AT + 2, ..half("B-3", true) }, b"moves too"), 200);
    assert_eq!(home.send(&File { at: AT + 2, ..half("B-4", false) }, b"still too"), 200);
    assert_eq!(home.read("anna/Rome 2024/20240305_113344_252 (2).mov"), b"moves too");
    assert_eq!(home.read("anna/Rome 2024/20240305_113344_252 (2).jpg"), b"still too");
    // What is deleted is not here.
    let laptop = home.daemon.add_device("anna", "laptop", "computer");
    let gone = home.daemon.request(&laptop, "DELETE", "/dav/Rome%202024/20240305_113344_251.mov", "", b"");
    assert_eq!(gone.status, 204);
    assert_eq!(home.timestamps(), json!({"1709638424250": true, "1709638424252": true}));
}

#[test]
fn albums_that_are_folders_of_something_else_get_their_own() {
    let home = home();
    for (n, (album, folder)) in [
        ("", "2024-03"),
        ("2023-01", "2023-01"),
        ("sumu", "sumu (album)"),
        ("favorites", "favorites (album)"),
        ("../../etc", ".._.._etc"),
        ("..", "2024-03"),
        (".shoebox", "2024-03"),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, at) = (format!("C-{n}"), AT + 1000 * n as u64);
        let file = File { more: json!({"a": album}), ..photo(&id, at) };
        assert_eq!(home.send(&file, album.as_bytes().get(..2).unwrap_or(b"x")), 200, "{album}");
        let files = home.files();
        let found = files
            .iter()
            .filter(|path| path.starts_with(&format!("anna/{}/", folder.replace(".._.._etc", "..∕..∕etc"))));
        assert!(found.count() > 0, "{album}: {files:?}");
    }
    assert!(home.files().iter().all(|path| path.starts_with("anna/")), "{:?}", home.files());
}

#[test]
fn who_may_ask() {
    let home = home();
    let ben = home.daemon.add_person("ben", "sumu", "phone");
    let laptop = home.daemon.add_device("anna", "laptop", "computer");
    assert_eq!(home.send(&photo("A-1", AT), b"annas"), 200);
    let save = |password: &str, user: &str| {
        let said = json!({"a": "x", "p": password, "u": user, "t": AT, "f": false, "v": false, "d": "A-1", "n": 1, "l": false, "x": "jpg"});
        home.post("/save", &said.to_string()).status
    };
    let part = |password: &str| {
        home.post("/part", &json!({"p": password, "d": "Z", "o": 1, "i": "aGk="}).to_string()).status
    };
    let timestamps = |password: &str, user: &str| {
        let reply = home.get(&format!("/timestamps?p={password}&u={user}"));
        (reply.status, serde_json::from_slice::<Value>(&reply.body).unwrap()["1709638424250"].clone())
    };
    // No answer to /health is the only one that stops the app.
    let health = |password: &str| {
        let head =
            format!("GET /health?p={password} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", home.to);
        let answer = wire::exchange(home.to, head.as_bytes()).unwrap();
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let announced: usize =
            text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
        (text[9..12].to_owned(), announced == text.split("\r\n\r\n").nth(1).unwrap().len())
    };
    let revoked = home.daemon.add_device("anna", "old", "phone");
    assert_eq!(home.daemon.run(&["device", "revoke", "anna", "old"]).0, 0);
    for (who, password, allowed) in [
        ("the phone", home.phone.password.as_str(), true),
        ("a computer", laptop.password.as_str(), true),
        ("nobody", "", false),
        ("a guess", "aaaa-bbbb-cccc-dddd-eeee-ffff-gggg-hhhh", false),
        ("who was", revoked.password.as_str(), false),
    ] {
        let expected = if allowed { 200 } else { 401 };
        // Whoever guesses waits longer each time, until somebody signs in.
        let again = || assert!(home.is_online());
        again();
        assert_eq!(health(password), (expected.to_string(), allowed), "{who}");
        again();
        assert_eq!(timestamps(password, "anna").0, expected, "{who}");
        again();
        assert_eq!(part(password), expected, "{who}");
        again();
        assert_eq!(
            save(password, "anna"),
            if who == "a computer" { 400 } else { expected },
            "{who}: not its upload"
        );
    }
    // Another person's password neither sees nor takes what is Anna's, nor does one phone's photo stand for another's.
    assert_eq!(timestamps(&ben.password, "ben"), (200, Value::Null));
    assert_eq!(timestamps(&ben.password, "anna").0, 403);
    assert_eq!(
        (save(&ben.password, "anna"), save(&ben.password, "ben"), save(&home.phone.password, "ben")),
        (403, 400, 403)
    );
    assert_eq!(timestamps(&laptop.password, "anna"), (200, Value::Null));
    // Nothing but the four is here, and they are nowhere else.
    for target in ["/", "/dav/", "/api/users/me", "/upload", "/metrics"] {
        assert_eq!(home.get(target).status, 404, "{target}");
    }
    assert_eq!(home.get("/part").status, 405);
    for target in ["/timestamps?u=anna", "/part", "/save"] {
        assert_eq!(
            wire::request(home.daemon.address, "none", "GET", target, "", b"").unwrap().status,
            404,
            "{target}"
        );
    }
    assert_eq!(home.files().len(), 1);
    assert!(!home.daemon.log().contains(&home.phone.password), "no password is in the log");
}

/// From an address that nobody signed in from, no byte is taken before a password is known.
#[test]
fn a_stranger_writes_nothing() {
    let home = home();
    let large = luck::bytes(5, 1_000_000);
    for bytes_first in [true, false] {
        let text = home.part_text("S-1", 1, &large, bytes_first).replace(&home.phone.password, "aaaa-bbbb");
        assert_eq!(home.post("/part", &text).status, 401);
    }
    // The right password behind the bytes comes too late, from an address that is not known; in front of them it is fine.
    assert_eq!(home.post("/part", &home.part_text("S-1", 1, &large, true)).status, 401);
    assert_eq!(home.post("/part", &home.part_text("S-1", 1, &large, false)).status, 200);
    assert_eq!(home.post("/part", &home.part_text("S-1", 2, &large, true)).status, 200);
    assert_eq!(home.waiting(), [2]);
}

#[test]
fn what_is_wrong_leaves_nothing() {
    let home = home();
    assert!(home.is_online());
    let good = home.part_text("W-1", 1, b"photo", false);
    for (what, text) in [
        ("no JSON", "photo".to_owned()),
        ("cut", good[..good.len() - 3].to_owned()),
        ("no Base64", good.replace("cGhvdG8=", "cGhvdG8")),
        ("no number", good.replace("\"o\":1,", "")),
        ("number nought", good.replace("\"o\":1", "\"o\":0")),
        ("a very high number", good.replace("\"o\":1", "\"o\":100001")),
        ("no id", good.replace("\"d\":\"W-1\",", "")),
        ("a long id", good.replace("W-1", &"x".repeat(65))),
        ("nothing", String::new()),
    ] {
        assert_eq!(home.post("/part", &text).status, 400, "{what}: {text}");
    }
    assert_eq!(home.waiting(), [0; 0]);
    assert_eq!(home.save(&photo("W-0", AT), 1), 400, "nothing of it is here");
    assert_eq!((home.part("W-1", 1, b"ph"), home.part("W-1", 3, b"o")), (200, 200));
    for (parts, what) in [(2, "one is missing"), (3, "the second is missing"), (1, "there are more")] {
        assert_eq!(home.save(&photo("W-1", AT), parts), 400, "{what}");
    }
    assert_eq!(home.part("W-1", 2, b"ot"), 200);
    for more in [
        json!({"t": -5}),
        json!({"t": null}),
        json!({"t": 9_000_000_000_000_000_u64}),
        json!({"x": null}),
        json!({"n": 0}),
    ] {
        assert_eq!(home.save(&File { more: more.clone(), ..photo("W-1", AT) }, 3), 400, "{more}");
    }
    assert_eq!(home.files(), [""; 0]);
    assert_eq!(home.save(&photo("W-1", AT), 3), 200);
    assert_eq!(home.files().len(), 1);
    // Without a byte, or with the ending of what is not finished: no photo, and not said to be one.
    assert_eq!(home.send(&photo("W-2", AT + 1), b""), 400);
    assert_eq!(home.send(&File { ext: "part", ..photo("W-3", AT + 2) }, b"x"), 400);
    assert_eq!(home.timestamps(), json!({"1709638424250": true}));
    // The app begins anew after each failure: what it leaves behind does not pile up.
    for n in 0..20 {
        assert_eq!(home.part(&format!("L-{n}"), 1, b"left behind"), 200);
    }
    assert!(home.waiting().iter().filter(|parts| **parts > 0).count() <= 4, "{:?}", home.waiting());
}

/// Cut anywhere, in any way: no file under a name, the parts that were answered are kept, and only the one that was cut is sent again.
/// `SHOEBOX_SUMU_CUTS`: how often.
#[test]
fn a_part_that_is_cut_off_is_sent_again_and_no_other() {
    let mut home = home();
    assert!(home.is_online());
    let mut luck = Luck::new(luck::seed("sumu_cuts"));
    let bytes = luck::bytes(luck.next(), 900_000);
    let pieces: Vec<&[u8]> = bytes.chunks(300_000).collect();
    assert_eq!((home.part("X", 3, pieces[2]), home.part("X", 1, pieces[0])), (200, 200));
    let cuts = luck::size("SHOEBOX_SUMU_CUTS", 60);
    for round in 0..cuts {
        let text = home.part_text("X", 2, pieces[1], luck.below(2) == 0);
        let head = format!(
            "POST /part HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            home.to,
            text.len()
        );
        let whole = [head.as_bytes(), text.as_bytes()].concat();
        let end = usize::try_from(luck.below(whole.len() as u64 - 1)).unwrap();
        let leaving = if luck.below(2) == 0 { Leaving::Fin } else { Leaving::Reset };
        drop(wire::cut(home.to, &whole[..end], leaving).unwrap());
        if round % 100 == 19 {
            assert_eq!(home.save(&photo("X", AT), 3), 400, "one is missing");
            home.daemon.kill();
            home.daemon.start();
            assert!(home.is_online());
        }
    }
    let dir = home.daemon.dir.clone();
    home.daemon.until("nothing is left of what was cut off", |_| {
        fs::read_dir(dir.join("a/.shoebox/incoming")).is_ok_and(|mut all| all.next().is_none())
    });
    assert_eq!((home.files(), home.waiting(), home.timestamps()), (Vec::new(), vec![2], json!({})));
    assert_eq!((home.part("X", 2, pieces[1]), home.save(&photo("X", AT), 3)), (200, 200));
    assert!(home.read("anna/2024-03/20240305_113344_250.jpg") == bytes);
    // Killed after the answer, it is here, and known to be.
    home.daemon.kill();
    home.daemon.start();
    assert_eq!(home.timestamps(), json!({"1709638424250": true}));
    home.daemon.until("it is on B", |d| d.is_mirrored("anna/2024-03/20240305_113344_250.jpg"));
}

#[test]
fn a_drive_that_is_away_stops_the_app_and_nothing_is_said_of_what_is_on_it() {
    let mut home = home();
    assert_eq!(home.send(&photo("A-1", AT), b"kept"), 200);
    assert_eq!(home.part("A-2", 1, b"half of it"), 200);
    let (mount, away) = (home.daemon.dir.join("a"), home.daemon.dir.join("away"));
    fs::rename(&mount, &away).unwrap();
    fs::create_dir(&mount).unwrap();
    assert_eq!((home.part("A-2", 2, b"x"), home.save(&photo("A-2", AT + 1), 1)), (503, 503));
    let reply = home.get(&format!("/timestamps?p={}&u=anna", home.phone.password));
    assert!(reply.status == 503 && reply.text.to_lowercase().contains("\r\nretry-after: "), "{}", reply.text);
    let phone = home.phone.password.clone();
    let to = home.to;
    home.daemon.until("the app takes the box for absent", |_| {
        wire::request(to, "none", "GET", &format!("/health?p={phone}"), "", b"")
            .is_ok_and(|reply| reply.status == 503)
    });
    assert!(!home.is_online());
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 0);
    fs::remove_dir(&mount).unwrap();
    fs::rename(&away, &mount).unwrap();
    home.daemon.until("it is back", |d| {
        d.run(&["drive", "list", "--json"]).1.matches("\"standing\":\"ready\"").count() == 2
    });
    assert!(home.is_online());
    assert_eq!(home.timestamps(), json!({"1709638424250": true}));
    assert_eq!((home.part("A-2", 2, b", and the other"), home.save(&photo("A-2", AT + 1), 2)), (200, 200));
    assert_eq!(home.read("anna/2024-03/20240305_113344_251.jpg"), b"half of it, and the other");
}

/// The app opens a connection for each part, all at once, and asks again for none of them.
#[test]
fn a_hundred_parts_at_once() {
    let home = home();
    assert!(home.is_online());
    let bytes = luck::bytes(9, 6_400_000);
    let all: Vec<(u64, &[u8])> = (1..).zip(bytes.chunks(64_000)).collect();
    std::thread::scope(|scope| {
        let sent: Vec<_> = all.iter().map(|(n, piece)| scope.spawn(|| home.part("M", *n, piece))).collect();
        assert!(sent.into_iter().all(|one| one.join().unwrap() == 200));
    });
    assert_eq!(home.save(&File { ext: "mov", ..photo("M", AT) }, 100), 200);
    assert!(home.read("anna/2024-03/20240305_113344_250.mov") == bytes);
}

#[test]
fn a_quota_is_kept_to() {
    let home = home();
    assert_eq!(home.daemon.run(&["person", "quota", "anna", "100KB"]).0, 0);
    assert_eq!(home.part("Q", 1, &luck::bytes(3, 70_000)), 200);
    assert_eq!(home.part("Q", 2, &luck::bytes(4, 70_000)), 507);
    assert_eq!(home.save(&photo("Q", AT), 2), 400);
    assert_eq!((home.files(), home.timestamps()), (Vec::new(), json!({})));
}
