//! Recorded conversations of clients that have no other home (`tests/fixtures/<dialect>`), spoken to the real binary, and what lies on the
//! drive afterwards.
use std::net::SocketAddr;

use shoebox::model::lomorage::sent_for;

use crate::sumu::UTC;
use crate::support::conversation::{Noted, play};
use crate::support::daemon::Daemon;
use crate::support::listing::files;

fn noted(name: &str, value: &str) -> Noted {
    Noted::from([(name.to_owned(), value.to_owned())])
}

#[test]
fn the_sumu_app_is_answered_as_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let (daemon, to): (Daemon, SocketAddr) = crate::sumu::furnish(dir.path());
    let who = daemon.add_person("anna", "phone", "phone");
    play(to, include_str!("../fixtures/sumu/app.txt"), noted("password", &who.password));
    let expected = [
        "anna/2020-04/20200412_140000_123.jpg",
        "anna/2020-04/20200412_140000_123.jpg.xmp",
        "anna/Rome/20200412_140100_000.jpg",
        "anna/Rome/20200412_140100_000.mov",
        "anna/favorites/20200412_140000_123.jpg",
    ];
    assert_eq!(files(&daemon.photos()), expected);
}

#[test]
fn the_lomorage_app_is_answered_as_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::new(dir.path(), 5, UTC);
    for drive in ["a", "b"] {
        std::fs::create_dir(dir.path().join(drive)).unwrap();
    }
    daemon.begin();
    assert_eq!(daemon.run(&["person", "add", "anna"]).0, 0);
    let made = daemon.ask(&["device", "add", "anna", "lomo", "--app", "lomorage", "--json"]);
    let word = sent_for(&"anna".parse().unwrap(), made["password"].as_str().unwrap());
    play(daemon.address, include_str!("../fixtures/lomorage/app.txt"), noted("word", &word.unwrap()));
    let files = files(&daemon.photos());
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files[0].starts_with("anna/lomo/2024/03/20240305_123344_"), "{files:?}");
}

#[test]
fn tus_js_client_is_answered_as_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::furnish(dir.path(), 5);
    let who = daemon.add_person("anna", "phone", "phone");
    play(daemon.address, include_str!("../fixtures/tus/tus-js-client.txt"), noted("password", &who.password));
    assert_eq!(files(&daemon.photos()), ["anna/Rome/IMG 1.HEIC"]);
}
