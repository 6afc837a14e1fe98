//! No secret reaches the log, at any level: everybody signs in, rightly and wrongly, in every way there is, with secrets that are then
//! looked for (I30). The real binary, everything logged.
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use base64::Engine as _;
use serde_json::Value;

use crate::support::daemon::{Account, Daemon, free_port};
use crate::support::wire::{self, Reply};

/// What anybody might have typed, and nobody's token.
const WRONG: &str = "wr0ng-xyzzy-plugh";
const PASSWORD: &str = "anna-opens-sesame-47";

/// What must not be found, with the way it went.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Also in the forms in which secrets travel.
    fn note(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 8, "{what}: {secret:?} may be found by chance");
        let base64 = base64::engine::general_purpose::STANDARD.encode(secret);
        let bare = secret.replace('-', "");
        for form in [secret.to_owned(), base64.trim_end_matches('=').to_owned(), bare] {
            self.0.push((what.to_owned(), form));
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {pair}\r\n")
}

fn send(to: SocketAddr, method: &str, target: &str, more: &str, body: &str) -> Reply {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n{more}\r\n{body}",
        body.len()
    );
    Reply::parse(&wire::exchange(to, request.as_bytes()).unwrap()).unwrap()
}

fn set_password(daemon: &Daemon) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_shoebox"))
        .arg("--config")
        .arg(daemon.dir.join("config.toml"))
        .args(["person", "password", "anna"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    assert!(child.wait().unwrap().success());
}

fn between(text: &str, before: &str, after: &str) -> String {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
    rest.split(after).next().unwrap().to_owned()
}

/// Nextcloud's apps: the page, the poll, the app's password, giving it back; and one-time passwords.
fn nextcloud(daemon: &Daemon, secrets: &mut Secrets) {
    let to = daemon.address;
    let begun: Value = serde_json::from_slice(&send(to, "POST", "/index.php/login/v2", "", "").body).unwrap();
    let token = begun["poll"]["token"].as_str().unwrap().to_owned();
    let page = begun["login"].as_str().unwrap().replacen(&format!("http://{to}"), "", 1);
    secrets.note("poll token", &token);
    secrets.note("login page", page.rsplit('/').next().unwrap());
    let shown = send(to, "GET", &page, "", "");
    let mark = between(&shown.text, "name=\"mark\" value=\"", "\"");
    let cookie = between(&shown.text.to_lowercase(), "set-cookie: ", ";");
    secrets.note("the form's mark", &mark);
    secrets.note("the browser's cookie", cookie.split_once('=').unwrap().1);
    for password in [WRONG, PASSWORD] {
        let body = format!("mark={mark}&person=anna&password={password}&device=pixel&kind=phone");
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        send(to, "POST", &page, &format!("Cookie: {cookie}\r\n{kind}"), &body);
    }
    let granted = send(to, "POST", &format!("/index.php/login/v2/poll?token={token}"), "", "");
    let granted: Value = serde_json::from_slice(&granted.body).unwrap();
    let own = granted["appPassword"].as_str().unwrap();
    secrets.note("app password", own);
    assert_eq!(send(to, "GET", "/ocs/v2.php/cloud/user?format=json", &basic("anna", own), "").status, 200);
    assert_eq!(send(to, "DELETE", "/ocs/v2.php/core/apppassword", &basic("anna", own), "").status, 200);
    let made = daemon.ask(&["device", "add", "anna", "once", "--app", "nextcloud", "--one-time", "--json"]);
    let once = made["password"].as_str().unwrap();
    secrets.note("one-time password", once);
    for password in [once, once, WRONG] {
        let headers = format!("{}OCS-APIRequest: true\r\n", basic("anna", password));
        let got = send(to, "GET", "/ocs/v2.php/core/getapppassword-onetime?format=json", &headers, "");
        if let Some(at) = got.text.find("apppassword\":\"") {
            secrets.note("exchanged password", got.text[at + 14..].split('"').next().unwrap());
        }
    }
}

/// Immich's command line and apps, and the Lomorage app.
fn immich_and_lomorage(daemon: &Daemon, who: &Account, secrets: &mut Secrets) {
    let to = daemon.address;
    for key in [&*who.password, WRONG] {
        for more in [
            format!("x-api-key: {key}\r\n"),
            format!("Authorization: Bearer {key}\r\n"),
            format!("x-immich-user-token: {key}\r\n"),
            format!("Cookie: immich_access_token={key}\r\n"),
        ] {
            send(to, "GET", "/api/users/me", &more, "");
        }
        send(to, "GET", &format!("/api/users/me?apiKey={key}"), "", "");
        let body = serde_json::json!({ "email": "anna@box.local", "password": key }).to_string();
        let kind = "Content-Type: application/json\r\n";
        let got = send(to, "POST", "/api/auth/login", kind, &body);
        assert_eq!(got.is_success(), key != WRONG, "{}", got.text);
    }
    let made = daemon.ask(&["device", "add", "anna", "lomo", "--app", "lomorage", "--json"]);
    let password = made["password"].as_str().unwrap();
    secrets.note("Lomorage password", password);
    for word in [password, WRONG] {
        send(to, "GET", "/login", &basic("anna", &format!("{word}:5F0C1A2B")), "");
        send(to, "GET", &format!("/assets/merkletree?token={word}"), "", "");
        send(to, "GET", "/assets/merkletree", &format!("Authorization: token={word}\r\n"), "");
    }
}

#[test]
fn no_secret_reaches_the_log() {
    let dir = tempfile::tempdir().unwrap();
    for drive in ["a", "b"] {
        fs::create_dir(dir.path().join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir.path(), 5, &[]);
    daemon.log_level = "trace";
    daemon.more = format!("[tls]\nlisten = [\"127.0.0.1:{}\"]\n", free_port());
    daemon.begin();
    let who = daemon.add_person("anna", "laptop", "computer");
    set_password(&daemon);
    let mut secrets = Secrets::default();
    secrets.note("nobody's password", WRONG);
    secrets.note("a person's password", PASSWORD);
    secrets.note("a device's password", &who.password);

    let to = daemon.address;
    for password in [&*who.password, WRONG] {
        send(to, "PUT", "/dav/a.jpg", &basic("anna", password), "a photo");
        send(to, "POST", "/inbox/b.jpg", &basic("anna", password), "a photo");
        send(to, "POST", "/tus/", &format!("{}Tus-Resumable: 1.0.0\r\n", basic("anna", password)), "");
        let wish = serde_json::json!({ "user": "anna", "password": password }).to_string();
        let got = send(to, "POST", "/upload/session", "", &wish);
        if got.status == 200 {
            let cookie = between(&got.text.to_lowercase(), "shoebox_session=", ";");
            secrets.note("a page's cookie", &cookie);
            assert_eq!(
                send(to, "GET", "/upload/session", &format!("Cookie: shoebox_session={cookie}\r\n"), "")
                    .status,
                200
            );
        }
    }
    // What is no request, with a secret in it.
    send(to, "PUT", "/dav/a#b", &basic("anna", &who.password), "x");
    send(to, "GET", "/dav/", &format!("Authorization: Basic {WRONG}\r\n"), "");
    nextcloud(&daemon, &mut secrets);
    immich_and_lomorage(&daemon, &who, &mut secrets);
    daemon.until("the keys are there", |d| d.run(&["ca", "show"]).0 == 0);
    for name in ["authority.pem", "certificate.pem"] {
        let file = fs::read_to_string(dir.path().join("a/.shoebox").join(name)).unwrap();
        let key = between(&file, "PRIVATE KEY-----", "-----END");
        for line in key.lines().filter(|line| line.len() >= 8) {
            secrets.note(name, line);
        }
    }
    let token_key = fs::read_to_string(dir.path().join("a/.shoebox/drive.toml")).unwrap();
    secrets.note("the key of passwords", &between(&token_key, "token_key = \"", "\""));
    daemon.until("B has it", |d| d.is_mirrored("anna/a.jpg"));
    assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));

    let log = daemon.log();
    println!("secrets: {} forms looked for in {} lines", secrets.0.len(), log.lines().count());
    assert!(
        log.contains("debug: ") || log.contains("trace: "),
        "nothing is logged, and nothing is shown:\n{log}"
    );
    let folded = log.to_lowercase();
    for (what, secret) in &secrets.0 {
        assert!(!folded.contains(&secret.to_lowercase()), "{what} is in the log:\n{log}");
    }
}
