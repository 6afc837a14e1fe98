//! `shoebox push` over HTTPS: to the box whose authority it was told, and to nobody else.
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::daemon::{Account, Daemon, free_port};

/// A box with HTTPS, the address of that, and its authority's certificate in a file.
fn secure_box(dir: &Path) -> (Daemon, SocketAddr, String) {
    for drive in ["a", "b"] {
        fs::create_dir_all(dir.join(drive)).unwrap();
    }
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut daemon = Daemon::new(dir, 20, &[]);
    daemon.more = format!("[tls]\nlisten = [\"{at}\"]\n");
    daemon.begin();
    daemon.until("both drives have the authority", |d| {
        let (_, text) = d.run(&["ca", "show", "--json"]);
        let shown: Value = serde_json::from_str(&text).unwrap_or_default();
        shown["authority"]["kept_on"].as_array().map_or(0, Vec::len) == 2
    });
    let (code, pem) = daemon.run(&["ca", "show", "--pem"]);
    assert_eq!(code, 0);
    let file = dir.join("box.pem");
    fs::write(&file, pem).unwrap();
    (daemon, at, file.to_str().unwrap().to_owned())
}

/// A run with a home of its own: its exit code, and all it said.
fn push(home: &Path, more: &[&str], told: &str) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_shoebox"))
        .arg("push")
        .args(more)
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused before it asked.
    let _asked = child.stdin.take().unwrap().write_all(told.as_bytes());
    let done = child.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn it_sends_to_the_box_that_it_was_told_to_trust_and_to_no_other() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (daemon, at, authority) = secure_box(left.path());
    let (other, others_at, others_authority) = secure_box(right.path());
    let Account { user, password } = daemon.add_person("anna", "laptop", "computer");
    let home = left.path().join("home");
    fs::create_dir_all(home.join("Pictures")).unwrap();
    fs::write(home.join("Pictures/a.jpg"), b"a photo").unwrap();
    let (pictures, told) = (home.join("Pictures"), format!("{password}\n"));
    let pictures = pictures.to_str().unwrap();
    let (there, plain) = (format!("https://{at}"), format!("http://{}", daemon.address));

    // Without a certificate, with another's, with none in the file, and where it would prove nothing.
    let setup = |address: &str, ca: &[&str]| {
        let all = [&["--setup", address, "--user", &user], ca, &[pictures]].concat();
        push(&home, &all, &told)
    };
    for (address, ca, why) in [
        (&there, &[][..], "is not known here"),
        (&there, &["--ca", &others_authority], "does not prove to be the box"),
        (&there, &["--ca", &format!("{pictures}/a.jpg")], "no certificate in it"),
        (&there, &["--ca", "/nowhere"], "could not read /nowhere"),
        (&plain, &["--ca", &authority], "--ca is for https://"),
    ] {
        let (code, said) = setup(address, ca);
        assert!(code != 0 && said.contains(why), "{ca:?}: {code} {said}");
        assert!(!said.contains(&password), "{said}");
        assert!(!home.join(".config/shoebox/push.toml").exists(), "{ca:?}: nothing is kept");
    }

    let (code, said) = setup(&there, &["--ca", &authority]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = push(&home, &["--json"], "");
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read(daemon.photos().join("anna/Pictures/a.jpg")).unwrap(), b"a photo");

    // Another box takes the address: it gets nothing, and is told of.
    fs::write(home.join("Pictures/b.jpg"), b"another").unwrap();
    let settings = home.join(".config/shoebox/push.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace(&there, &format!("https://{others_at}"))).unwrap();
    let (code, said) = push(&home, &["--json"], "");
    assert!(code != 0 && said.contains("does not prove to be the box"), "{code} {said}");
    assert!(fs::read_dir(other.photos()).unwrap().next().is_none());
    fs::write(&settings, text).unwrap();
    let (code, said) = push(&home, &["--json"], "");
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read(daemon.photos().join("anna/Pictures/b.jpg")).unwrap(), b"another");
}
