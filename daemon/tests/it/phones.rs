//! What families do with phones: two that number their photos alike, one that is set up anew and sends everything again, a camera that begins to
//! count anew. Nothing is lost, nothing is on a drive twice, and it is said how much was here already.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, listing};
use crate::support::luck;

const PHOTOS: u64 = 12;

/// How an app asks for a photo to be kept.
const WAYS: [(&str, &str); 3] =
    [("webdav", "/dav/"), ("nextcloud", "/remote.php/dav/files/anna/"), ("shortcuts", "/inbox/")];

fn send_all(daemon: &Daemon, who: &Account, way: &str, below: u64) {
    for number in 0..PHOTOS {
        let (target, body) = (format!("{way}IMG_{number:04}.jpg"), luck::bytes(below + number, 3000));
        let reply = daemon.request(who, "PUT", &target, "", &body);
        assert!(reply.is_success(), "{target}: {}", reply.text);
    }
}

/// What is on drive A: how often each content is there among the photos, and what is in the trash.
fn on_drive(daemon: &Daemon) -> (BTreeMap<String, u32>, BTreeSet<String>) {
    let mut photos = BTreeMap::new();
    for content in listing(&daemon.photos()).into_values().filter(|content| !content.is_empty()) {
        *photos.entry(content).or_default() += 1;
    }
    let trash = listing(&daemon.dir.join("a/.shoebox/trash"));
    (photos, trash.into_values().filter(|content| !content.is_empty()).collect())
}

fn device(daemon: &Daemon, name: &str) -> Value {
    let all = daemon.ask(&["device", "list", "--json"]);
    all.as_array().unwrap().iter().find(|d| d["name"] == name && d["revoked"] == false).unwrap().clone()
}

#[test]
fn phones_that_number_alike_are_set_up_anew_and_begin_anew_lose_nothing() {
    for (app, way) in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::furnish(dir.path(), 5);
        let left = daemon.add_person("anna", "left", "phone");
        let right = daemon.add_device("anna", "right", "phone");
        // The same names, other photos.
        send_all(&daemon, &left, way, 0);
        send_all(&daemon, &right, way, 100);
        let once = |numbers: &[u64]| -> BTreeMap<String, u32> {
            let all = numbers.iter().flat_map(|from| *from..*from + PHOTOS);
            all.map(|number| (hash(&luck::bytes(number, 3000)), 1)).collect()
        };
        assert_eq!(
            on_drive(&daemon),
            (once(&[0, 100]), BTreeSet::new()),
            "{app}: each phone has a folder of its own"
        );
        assert_eq!(device(&daemon, "right")["already"], 0, "{app}");

        // Set up anew: what its old password could do is over, and everything is sent again.
        assert_eq!(daemon.run(&["device", "revoke", "anna", "right"]).0, 0);
        assert_eq!(
            daemon.request(&right, "PUT", &format!("{way}IMG_0000.jpg"), "", b"x").status,
            401,
            "{app}"
        );
        let right = daemon.add_device("anna", "right", "phone");
        let (before, began) =
            (device(&daemon, "right")["already"].as_u64().unwrap(), listing(&daemon.photos()));
        send_all(&daemon, &right, way, 100);
        assert_eq!(listing(&daemon.photos()), began, "{app}: nothing is here twice");
        assert_eq!(device(&daemon, "right")["already"], before + PHOTOS, "{app}");
        assert_eq!(device(&daemon, "left")["already"], 0, "{app}");
        let (_, text) = daemon.run(&["device", "list"]);
        assert!(text.contains(&format!("already had {PHOTOS}")), "{app}: {text}");

        // It begins to count anew: other photos under the names of old ones.
        send_all(&daemon, &right, way, 200);
        let (photos, trash) = on_drive(&daemon);
        let all: BTreeSet<String> = photos.keys().cloned().chain(trash.iter().cloned()).collect();
        assert_eq!(all, once(&[0, 100, 200]).into_keys().collect(), "{app}: nothing is lost");
        assert!(photos.values().all(|times| *times == 1), "{app}: nothing is here twice");
        assert!(photos.keys().all(|content| !trash.contains(content)), "{app}");
        // And once more: that was here already.
        let began = listing(&daemon.photos());
        send_all(&daemon, &right, way, 200);
        assert_eq!(listing(&daemon.photos()), began, "{app}");
        assert_eq!(device(&daemon, "right")["already"], before + 2 * PHOTOS, "{app}");
    }
}
