//! Two daemons on the same drives: one has them, the other says so, touches nothing, and takes over when the first is gone.
use std::fs;

use serde_json::Value;

use crate::support::daemon::Daemon;

fn standings(daemon: &Daemon) -> Vec<String> {
    let (_, text) = daemon.run(&["drive", "list", "--json"]);
    let drives: Value = serde_json::from_str(&text).unwrap_or_default();
    let word = |drive: &Value| drive["standing"]["standing"].as_str().unwrap_or_default().to_owned();
    drives.as_array().map(|all| all.iter().map(word).collect()).unwrap_or_default()
}

#[test]
fn two_daemons_never_share_a_drive() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut daemon = Daemon::furnish(one.path(), 5);
    let who = daemon.add_person("anna", "laptop", "computer");
    let put =
        |d: &Daemon, name: &str| d.request(&who, "PUT", &format!("/dav/{name}"), "", name.as_bytes()).status;
    assert_eq!(put(&daemon, "a.jpg"), 201);

    let mut rival = daemon.rival(other.path());
    rival.until("it has looked at its drives", |d| standings(d) == ["in-use", "in-use"]);
    rival.until("and tells", |d| {
        let found = d.run(&["status", "--json"]).1;
        found.contains("drive-in-use") && !found.contains("no-primary")
    });
    assert_eq!(put(&rival, "b.jpg"), 503);
    daemon.until("B has the first photo", |d| d.is_mirrored("anna/a.jpg"));
    assert_eq!(put(&daemon, "c.jpg"), 201);

    daemon.kill();
    rival.until("it takes the drives over", |d| standings(d) == ["ready", "ready"]);
    for name in ["a.jpg", "c.jpg"] {
        assert_eq!(rival.request(&who, "GET", &format!("/dav/{name}"), "", b"").body, name.as_bytes());
    }
    assert_eq!(put(&rival, "d.jpg"), 201);
    rival.until("B has all of them", |d| {
        ["a.jpg", "c.jpg", "d.jpg"].iter().all(|n| d.is_mirrored(&format!("anna/{n}")))
    });
    let report = rival.ask(&["verify", "--json"]);
    assert_eq!(report["damaged"].as_array().map(Vec::len), Some(0), "{report}");
    let aside = fs::read_dir(one.path().join("a/.shoebox")).unwrap();
    assert!(aside.map(|e| e.unwrap().file_name()).all(|name| !name.to_string_lossy().contains("aside")));
}
