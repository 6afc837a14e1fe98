//! The command line against a running demo: facts, exit codes, and what a restart keeps.
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

struct Demo {
    child: Child,
    facts: Value,
}

impl Demo {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shoebox"))
            .args(["demo", "--json", "--listen", "127.0.0.1:0", "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let facts = serde_json::from_str(&line).unwrap();
        Self { child, facts }
    }

    fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap()
    }

    fn config(&self) -> PathBuf {
        self.fact("config").into()
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        run(&self.config(), args)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Killed, not stopped: a power cut takes the same path.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn run(config: &Path, args: &[&str]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_shoebox"))
        .arg("--config")
        .arg(config)
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_demo_tells_one_line_of_facts_once_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start(dir.path());
    let keys: Vec<&String> = demo.facts.as_object().unwrap().keys().collect();
    let expected = ["config", "dav_url", "device", "password", "person", "user", "web_url"];
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(sorted, expected.iter().collect::<Vec<_>>());
    let web = demo.fact("web_url");
    assert_eq!(demo.fact("dav_url"), format!("{web}dav/"));
    assert_eq!((demo.fact("user"), demo.fact("person"), demo.fact("device")), ("anna", "anna", "phone"));
    let address = web.trim_start_matches("http://").trim_end_matches('/');
    std::net::TcpStream::connect(address).unwrap();
}

#[test]
fn a_restart_of_the_demo_tells_the_same_and_a_second_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Demo::start(dir.path());
    let second = Command::new(env!("CARGO_BIN_EXE_shoebox"))
        .args(["demo", "--json", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!((second.status.code(), second.stdout.len()), (Some(2), 0));
    // The refused one has not touched what the first one needs.
    assert_eq!(first.run(&["person", "list"]).0, 0);
    let facts = first.facts.clone();
    drop(first);
    let again = Demo::start(dir.path());
    for key in ["user", "password", "person", "device", "config"] {
        assert_eq!(again.facts[key], facts[key], "{key}");
    }
}

#[test]
fn a_demo_that_cannot_be_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start(&dir.path().join("first"));
    let taken = demo.fact("web_url").trim_start_matches("http://").trim_end_matches('/');
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (at, listen, remedy) in
        [(dir.path().join("second"), taken, "--listen"), (file, "127.0.0.1:0", "another --dir")]
    {
        let done = Command::new(env!("CARGO_BIN_EXE_shoebox"))
            .args(["demo", "--json", "--listen", listen, "--dir"])
            .arg(&at)
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains(remedy), "{said}");
    }
}

#[test]
fn people_devices_and_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start(dir.path());
    assert_eq!(demo.run(&["person", "add", "bob"]).0, 0);
    assert_eq!(demo.run(&["person", "add", "bob"]).0, 2);
    let (code, text) = demo.run(&["person", "list", "--json"]);
    let names: Vec<Value> = json(&text).as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    assert_eq!((code, names), (0, vec!["anna".into(), "bob".into()]));

    assert_eq!(demo.run(&["device", "add", "nobody", "x", "--kind", "phone"]).0, 4);
    let (code, text) = demo.run(&["device", "add", "bob", "laptop", "--kind", "computer", "--json"]);
    assert_eq!(code, 0);
    let added = json(&text);
    assert_eq!(added["dav_url"], demo.facts["dav_url"]);
    assert_eq!((&added["user"], &added["kind"]), (&"bob".into(), &"computer".into()));
    assert_eq!(added["password"].as_str().unwrap().len(), 39);
    assert_eq!(demo.run(&["device", "add", "bob", "laptop", "--kind", "computer"]).0, 2);

    assert_eq!(demo.run(&["device", "revoke", "bob", "laptop"]).0, 0);
    assert_eq!(demo.run(&["device", "revoke", "bob", "nothing"]).0, 4);
    let (_, text) = demo.run(&["device", "list", "--person", "bob", "--json"]);
    assert_eq!(json(&text)[0]["revoked"], true);

    assert_eq!(demo.run(&["receipt", "anna/phone/none.jpg"]).0, 4);
    assert_eq!(demo.run(&["verify", "--drive", "offline"]).0, 4);
    assert_eq!(demo.run(&["verify", "--below", "anna/misspelt"]).0, 4);
    assert_eq!(demo.run(&["drive", "adopt", "/nonexistent", "--role", "mirror"]).0, 1);
    let (code, text) = demo.run(&["drive", "list", "--json"]);
    let roles: Vec<Value> = json(&text).as_array().unwrap().iter().map(|d| d["role"].clone()).collect();
    assert_eq!((code, roles), (0, vec!["primary".into(), "mirror".into()]));

    let (_, text) = demo.run(&["status", "--json"]);
    assert_eq!(json(&text)["counts"]["people"], 2);
    let (code, text) = demo.run(&["doctor"]);
    assert_eq!(code, 0);
    assert!(!text.contains(demo.fact("password")));
    assert!(text.contains("drive A"), "{text}");
}

#[test]
fn without_the_daemon_commands_say_so_and_doctor_works() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start(dir.path());
    let config = demo.config();
    drop(demo);
    assert_eq!(run(&config, &["status"]).0, 3);
    let (code, text) = run(&config, &["doctor", "--json"]);
    assert_eq!(code, 0);
    assert!(json(&text)["daemon_problem"].as_str().unwrap().contains("could not reach the daemon"));
}
