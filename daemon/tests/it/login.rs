//! Signing in on the login page and with one-time passwords: the whole of it as the apps do it, and what must not work.
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::conversation::{Noted, play};
use crate::support::daemon::Daemon;
use crate::support::wire::{self, Reply};

const ANDROID: &str = include_str!("../fixtures/login/android.txt");
const IOS: &str = include_str!("../fixtures/login/ios.txt");
const ONE_TIME: &str = include_str!("../fixtures/login/onetime.txt");

const SECRET: &str = "correct-horse-battery";

/// A box with Anna, who has a password.
fn furnish(dir: &std::path::Path) -> Daemon {
    let daemon = Daemon::furnish(dir, 5);
    assert_eq!(daemon.run(&["person", "add", "anna"]).0, 0);
    assert_eq!(set_password(&daemon, "anna", SECRET), 0);
    daemon
}

/// As from a pipe.
fn set_password(daemon: &Daemon, person: &str, password: &str) -> i32 {
    let config = daemon.dir.join("config.toml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_shoebox"))
        .args(["--config", config.to_str().unwrap(), "person", "password", person])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    writeln!(pipe, "{password}").unwrap();
    drop(pipe);
    child.wait().unwrap().code().unwrap()
}

fn noted(daemon: &Daemon) -> Noted {
    let base = format!("http://{}", daemon.address);
    [("base", base), ("password", SECRET.to_owned())].map(|(name, value)| (name.to_owned(), value)).into()
}

fn post(to: SocketAddr, target: &str, more: &str, body: &str) -> Reply {
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n{more}\r\n{body}",
        body.len()
    );
    Reply::parse(&wire::exchange(to, request.as_bytes()).unwrap()).unwrap()
}

fn get(to: SocketAddr, target: &str) -> Reply {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    Reply::parse(&wire::exchange(to, request.as_bytes()).unwrap()).unwrap()
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1.split(after).next().unwrap()
}

/// A login that was begun, with its page open in a browser.
struct Begun {
    to: SocketAddr,
    token: String,
    page: String,
    mark: String,
    cookie: String,
}

impl Begun {
    fn new(to: SocketAddr) -> Self {
        let begun: Value = serde_json::from_slice(&post(to, "/index.php/login/v2", "", "").body).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let page = text(&begun["login"]).replacen(&format!("http://{to}"), "", 1);
        let shown = get(to, &page);
        assert_eq!(shown.status, 200, "{}", shown.text);
        let mark = between(&shown.text, "name=\"mark\" value=\"", "\"").to_owned();
        let cookie = between(&shown.text.to_lowercase(), "set-cookie: ", ";").to_owned();
        Self { to, token: text(&begun["poll"]["token"]), page, mark, cookie }
    }

    fn send(&self, more: &str) -> Reply {
        let body = format!("mark={}&{more}", self.mark);
        post(self.to, &self.page, &format!("Cookie: {}\r\n", self.cookie), &body)
    }

    fn fetch(&self) -> Option<Value> {
        let reply = post(self.to, "/index.php/login/v2/poll", "", &format!("token={}", self.token));
        match reply.status {
            200 => Some(serde_json::from_slice(&reply.body).unwrap()),
            404 => {
                assert_eq!(reply.body, b"");
                None
            }
            other => panic!("{other}: {}", reply.text),
        }
    }
}

fn form(device: &str, password: &str) -> String {
    format!("person=anna&password={password}&device={device}&kind=phone")
}

#[test]
fn the_apps_sign_in_as_they_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = furnish(dir.path());
    daemon.more = String::new();
    play(daemon.address, ANDROID, noted(&daemon));
    play(daemon.address, IOS, noted(&daemon));
    let devices = daemon.ask(&["device", "list", "--json"]);
    let told: Vec<String> = devices
        .as_array()
        .unwrap()
        .iter()
        .map(|d| format!("{} {} {} {} {}", d["name"], d["kind"], d["app"], d["app_version"], d["revoked"]))
        .collect();
    assert_eq!(
        told,
        [
            "\"annas-iphone\" \"phone\" \"Nextcloud for iOS\" \"6.2.1\" true",
            "\"pixel-8\" \"phone\" \"Nextcloud for Android\" \"3.30.0\" true"
        ]
    );
    // What they sent is where it belongs, and no file was taken for a password.
    for photo in ["anna/pixel-8/IMG_1.jpg", "anna/annas-iphone/IMG_0001.HEIC"] {
        assert_eq!(fs::read(daemon.photos().join(photo)).unwrap(), b"a photo");
    }
}

#[test]
fn one_time_passwords_are_good_once() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = furnish(dir.path());
    let mut noted = noted(&daemon);
    for (name, device) in [("otp", "iphone"), ("otp2", "pixel")] {
        let made =
            daemon.ask(&["device", "add", "anna", device, "--app", "nextcloud", "--one-time", "--json"]);
        noted.insert(name.to_owned(), made["password"].as_str().unwrap().to_owned());
    }
    noted.insert("wrong".to_owned(), "abcd-efgh-jkmn-pqrs".to_owned());
    let devices = || daemon.ask(&["device", "list", "--json"]).as_array().unwrap().len();
    assert_eq!(devices(), 0, "no device before it came");
    play(daemon.address, ONE_TIME, noted);
    assert_eq!(devices(), 2);
    // Nobody gets one for a device that is there, or for somebody who is not.
    assert_eq!(daemon.run(&["device", "add", "anna", "iphone", "--app", "nextcloud", "--one-time"]).0, 2);
    assert_eq!(daemon.run(&["device", "add", "ben", "iphone", "--app", "nextcloud", "--one-time"]).0, 4);
}

#[test]
fn wrong_passwords_wait_and_never_lock_anybody_out() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = furnish(dir.path());
    let login = Begun::new(daemon.address);
    let began = Instant::now();
    for wrong in ["wrong-password", "", "correct-horse-batter"] {
        let reply = login.send(&form("phone", wrong));
        assert_eq!(reply.status, 403, "{}", reply.text);
        assert!(
            reply.text.contains("do not belong together")
                && !reply.text.contains(&*daemon.address.port().to_string().repeat(3))
        );
        assert!(!reply.text.contains("wrong-password"), "{}", reply.text);
    }
    // 0.25 s, 0.5 s, 1 s: the daemon's own waiting, whatever else this machine does.
    assert!(began.elapsed().as_millis() >= 1750, "{:?}", began.elapsed());
    let stranger = login.send("person=nobody&password=wrong-password&device=phone&kind=phone");
    assert_eq!((stranger.status, stranger.text.contains("do not belong together")), (403, true));
    assert!(login.fetch().is_none());
    assert_eq!(daemon.ask(&["device", "list", "--json"]), serde_json::json!([]));
    // The right one, after all of these, and from the same address.
    assert_eq!(login.send(&form("phone", SECRET)).status, 200);
    assert_eq!(login.fetch().unwrap()["loginName"], "anna");
    assert!(login.fetch().is_none());
}

#[test]
fn guesses_at_once_are_counted_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = furnish(dir.path());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reply = Begun::new(daemon.address).send(&form("phone", "wrong-password"));
                assert_eq!(reply.status, 403, "{}", reply.text);
            });
        }
    });
    // 0.25 + 0.5 + 1 + 2 s, as if they had come after each other.
    assert!(began.elapsed().as_millis() >= 3750, "{:?}", began.elapsed());
}

#[test]
fn a_device_of_that_name_is_asked_about() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = furnish(dir.path());
    let old = daemon.add_device("anna", "phone", "phone");
    let works = |password: &str| {
        let who = crate::support::daemon::Account { user: "anna".to_owned(), password: password.to_owned() };
        daemon.request(&who, "PROPFIND", "/dav/", "Depth: 0\r\n", b"").status == 207
    };
    // Told to replace without having been asked: asked all the same.
    let login = Begun::new(daemon.address);
    let reply = login.send(&format!("{}&replace=yes", form("phone", SECRET)));
    assert_eq!(reply.status, 409, "{}", reply.text);
    assert!(reply.text.contains("There is a phone already") && works(&old.password));
    assert!(login.fetch().is_none());
    // Who signed in need not do so again; another browser must.
    let other = Begun::new(daemon.address);
    let foreign = post(
        daemon.address,
        &login.page,
        &format!("Cookie: {}\r\n", other.cookie),
        &format!("mark={}&person=anna&device=phone&kind=phone&replace=yes", login.mark),
    );
    assert_eq!(foreign.status, 403, "{}", foreign.text);
    assert!(works(&old.password));
    assert_eq!(login.send("person=anna&device=phone&kind=phone&replace=yes").status, 200);
    let new = login.fetch().unwrap()["appPassword"].as_str().unwrap().to_owned();
    assert!(works(&new) && !works(&old.password));
    // Or it gets another name.
    let login = Begun::new(daemon.address);
    assert_eq!(login.send(&form("phone", SECRET)).status, 409);
    assert_eq!(login.send("person=anna&device=Second+phone&kind=phone").status, 200);
    assert!(works(login.fetch().unwrap()["appPassword"].as_str().unwrap()) && works(&new));
}

#[test]
fn forms_of_others_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = furnish(dir.path());
    let login = Begun::new(daemon.address);
    let good = format!("mark={}&{}", login.mark, form("phone", SECRET));
    let cookie = format!("Cookie: {}\r\n", login.cookie);
    let refused = |more: &str, body: &str, expected: u16| {
        let reply = post(daemon.address, &login.page, more, body);
        assert_eq!(reply.status, expected, "{more} {body}: {}", reply.text);
    };
    refused("", &good, 403);
    refused(&cookie, &form("phone", SECRET), 403);
    refused(&cookie, &good.replacen("mark=", "mark=0", 1), 403);
    refused(&format!("{cookie}Origin: http://evil.example\r\n"), &good, 403);
    refused(&format!("{cookie}Sec-Fetch-Site: cross-site\r\n"), &good, 403);
    refused(&cookie, &good.replacen("kind=phone", "kind=admin", 1), 400);
    refused(&cookie, &good.replacen("device=phone", "device=%2e%2e", 1), 400);
    refused(&cookie, &format!("{good}&x={}", "y".repeat(9000)), 413);
    assert_eq!(get(daemon.address, "/index.php/login/v2/flow/0000").status, 404);
    assert_eq!(get(daemon.address, &login.page.replace("flow/", "flow/../flow/")).status, 404);
    let host = "POST /index.php/login/v2 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let reply = Reply::parse(&wire::exchange(daemon.address, host.as_bytes()).unwrap()).unwrap();
    assert_eq!(reply.status, 421, "{}", reply.text);
    assert!(login.fetch().is_none());
    assert_eq!(daemon.ask(&["device", "list", "--json"]), serde_json::json!([]));
    // Behind a proxy that ends TLS, all addresses say https, and the cookie is for it only.
    let proxied = "POST /index.php/login/v2 HTTP/1.1\r\nHost: photos.example.org\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let reply = Reply::parse(&wire::exchange(daemon.address, proxied.as_bytes()).unwrap()).unwrap();
    let begun: Value = serde_json::from_slice(&reply.body).unwrap();
    for address in [&begun["login"], &begun["poll"]["endpoint"]] {
        assert!(
            address.as_str().unwrap().starts_with("https://photos.example.org/index.php/login/v2/"),
            "{address}"
        );
    }
}

#[test]
fn a_thousand_logins_leave_room_for_those_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = furnish(dir.path());
    let mine = Begun::new(daemon.other_address());
    let first = Begun::new(daemon.address);
    for n in 0..1000 {
        let reply = post(daemon.address, "/index.php/login/v2", "", "");
        assert_eq!(reply.status, 200, "{n}: {}", reply.text);
    }
    // All come from one address here: the oldest made room.
    assert_eq!(get(daemon.address, &first.page).status, 404);
    assert_eq!(get(daemon.address, &mine.page).status, 404);
    let last = Begun::new(daemon.address);
    assert_eq!(last.send(&form("phone", SECRET)).status, 200);
    for _ in 0..1000 {
        post(daemon.address, "/index.php/login/v2", "", "");
    }
    assert_eq!(last.fetch().unwrap()["loginName"], "anna", "what was granted is kept");
    assert!(daemon.peak_memory() < 120 << 20, "{}", daemon.peak_memory());
}

#[test]
fn while_the_drives_are_away_nobody_is_told_that_a_password_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = furnish(dir.path());
    let device = daemon.add_device("anna", "phone", "phone");
    daemon.kill();
    let (a, away) = (dir.path().join("a"), dir.path().join("away"));
    fs::rename(&a, &away).unwrap();
    daemon.spawn();
    daemon.until_it_answers();
    let login = Begun::new(daemon.address);
    let reply = login.send(&form("other", SECRET));
    assert_eq!(reply.status, 503, "{}", reply.text);
    assert!(reply.text.to_lowercase().contains("retry-after: 30"), "{}", reply.text);
    assert_eq!(login.send(&form("other", "wrong-password")).status, 503);
    for (method, target) in
        [("DELETE", "/ocs/v2.php/core/apppassword"), ("GET", "/ocs/v2.php/core/getapppassword-onetime")]
    {
        assert_eq!(daemon.request(&device, method, target, "", b"").status, 503, "{target}");
    }
    assert!(login.fetch().is_none());
    fs::rename(&away, &a).unwrap();
    daemon.until("the drive is back", |_| login.send(&form("other", SECRET)).status == 200);
    assert!(login.fetch().is_some());
}

/// Its password comes back from any one drive, through the loss of the catalogue and from a bare copy (P7).
#[test]
fn a_persons_password_survives_everything_but_its_removal() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = furnish(dir.path());
    let signs_in = |daemon: &Daemon, device: &str, password: &str| {
        Begun::new(daemon.address).send(&form(device, password)).status
    };
    assert_eq!(set_password(&daemon, "anna", "short"), 2);
    assert_eq!(set_password(&daemon, "ben", SECRET), 4);
    assert_eq!(signs_in(&daemon, "one", SECRET), 200);
    let told = |daemon: &Daemon| {
        fs::read_dir(dir.path().join("b/.shoebox/manifest"))
            .unwrap()
            .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
            .any(|text| text.contains("\"event\":\"password\"") && text.contains("$argon2id$"))
            && daemon.run(&["status"]).0 != 3
    };
    daemon.until("drive B was told", told);
    daemon.kill();
    for file in fs::read_dir(dir.path().join("a/.shoebox")).unwrap() {
        let file = file.unwrap().path();
        if file.file_name().unwrap().to_string_lossy().starts_with("catalogue") {
            if file.is_dir() { fs::remove_dir_all(file).unwrap() } else { fs::remove_file(file).unwrap() }
        }
    }
    daemon.start();
    assert_eq!(signs_in(&daemon, "two", SECRET), 200);
    daemon.kill();
    // Drive A is gone for good; B, bare, becomes the pool.
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    let b = dir.path().join("b");
    let config = dir.path().join("config.toml");
    let rebuilt = Command::new(env!("CARGO_BIN_EXE_shoebox"))
        .args(["--config", config.to_str().unwrap(), "rebuild", "--from", b.to_str().unwrap(), "--promote"])
        .output()
        .unwrap();
    assert!(rebuilt.status.success(), "{rebuilt:?}");
    daemon.spawn();
    daemon.until_it_answers();
    daemon.until("it takes people again", |d| signs_in(d, "three", SECRET) == 200);
    assert_eq!(signs_in(&daemon, "four", "wrong-password"), 403);
    assert_eq!(daemon.run(&["person", "password", "anna", "--remove"]).0, 0);
    assert_eq!(signs_in(&daemon, "four", SECRET), 403);
    assert_eq!(daemon.ask(&["person", "list", "--json"])[0]["password"], false);
}

#[test]
fn no_secret_is_in_any_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = furnish(dir.path());
    daemon.kill();
    daemon.log_level = "debug";
    daemon.start();
    let device = daemon.add_device("anna", "tablet", "phone");
    let one = daemon.ask(&["device", "add", "anna", "iphone", "--app", "nextcloud", "--one-time", "--json"]);
    let generated = daemon.ask(&["person", "add", "ben", "--generate", "--json"]);
    assert_eq!(set_password(&daemon, "anna", "another-secret-word"), 0);
    let mut given = noted(&daemon);
    given.insert("password".to_owned(), "another-secret-word".to_owned());
    let seen = play(daemon.address, ANDROID, given);
    let login = Begun::new(daemon.address);
    assert_eq!(login.send(&form("phone", "a-wrong-password")).status, 403);
    let text = |value: &Value| value["password"].as_str().unwrap().to_owned();
    let secrets = [
        SECRET.to_owned(),
        "another-secret-word".to_owned(),
        "a-wrong-password".to_owned(),
        "$argon2id$".to_owned(),
        device.password,
        text(&one),
        text(&generated),
        seen["app"].clone(),
        seen["token"].clone(),
        seen["mark"].clone(),
        seen["browser"].clone(),
        login.token.clone(),
    ];
    daemon.until("it tells of the login", |d| d.log().contains("anna/pixel-8 was added on the login page"));
    let log = daemon.log();
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}
