//! Every request that the box knows (`face/http/listed.rs`), made by everybody: nobody, a password that was taken back, the phone whose photo
//! it is about, another phone and a computer of the same person, and another person's phone.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;
use shoebox::face::http::listed::{Listed, Signs, Who, listed};

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::listing;
use crate::support::wire::{self, Reply};

/// What only Anna's devices may ever be shown.
const SECRET: &[u8] = b"what only anna may see";

/// Who asks, with what they have to show.
const EVERYBODY: [&str; 6] = ["nobody", "revoked", "owner", "sibling", "computer", "stranger"];

struct Scene {
    daemon: Daemon,
    accounts: BTreeMap<&'static str, Account>,
    asset: String,
    upload: String,
}

fn scene(dir: &std::path::Path) -> Scene {
    for drive in ["a", "b"] {
        std::fs::create_dir(dir.join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir, 20, &[]);
    daemon.more = "[immich]\nphone_app = \"experimental\"\n".to_owned();
    daemon.begin();
    let mut accounts = BTreeMap::new();
    accounts.insert("revoked", daemon.add_person("anna", "old", "phone"));
    assert_eq!(daemon.run(&["device", "revoke", "anna", "old"]).0, 0);
    for (who, device, kind) in
        [("owner", "left", "phone"), ("sibling", "right", "phone"), ("computer", "pc", "computer")]
    {
        accounts.insert(who, daemon.add_device("anna", device, kind));
    }
    accounts.insert("stranger", daemon.add_person("ben", "phone", "phone"));
    let owner = &accounts["owner"];
    assert_eq!(daemon.request(owner, "PUT", "/dav/secret.jpg", "", SECRET).status, 201);
    // Immich's clients know a photo by its SHA-1, which is computed on the way to drive B.
    daemon.until("B has it", |d| d.is_mirrored("anna/left/secret.jpg"));
    let found = wire::request(
        daemon.address,
        "",
        "POST",
        "/api/search/metadata",
        &format!("x-api-key: {}\r\nContent-Type: application/json\r\n", owner.password),
        b"{}",
    );
    let found = found.unwrap();
    let found: Value = serde_json::from_slice(&found.body).unwrap();
    let asset = found["assets"]["items"][0]["id"].as_str().unwrap().to_owned();
    let more = "Tus-Resumable: 1.0.0\r\nUpload-Length: 22\r\nUpload-Metadata: filename eC5qcGc=\r\n";
    let begun = daemon.request(owner, "POST", "/tus/", more, b"");
    let place = begun.text.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let upload = place.rsplit('/').next().unwrap().to_owned();
    Scene { daemon, accounts, asset, upload }
}

impl Scene {
    fn ask(&self, one: &Listed, who: &str) -> Reply {
        let path = one.path.replace("{asset}", &self.asset).replace("{upload}", &self.upload);
        let account = self.accounts.get(who);
        let (basic, mut more) = match (one.signs, account) {
            (_, None) => (String::new(), String::new()),
            (Signs::Basic, Some(account)) => (account.basic(), String::new()),
            (Signs::ApiKey, Some(account)) => (String::new(), format!("x-api-key: {}\r\n", account.password)),
            (Signs::Lomorage, Some(account)) => (format!("token={}", account.password), String::new()),
        };
        if one.path.starts_with("/tus") {
            more.push_str("Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n");
        }
        if matches!(one.method, "MOVE" | "COPY") {
            more.push_str("Destination: /dav/elsewhere.jpg\r\n");
        }
        if one.path.starts_with("/api/") {
            more.push_str("Content-Type: application/json\r\n");
        }
        let body: &[u8] = match one.method {
            "PUT" => b"some bytes",
            "POST" if one.path.starts_with("/api/") => b"{}",
            _ => b"",
        };
        let authorization =
            if basic.is_empty() { String::new() } else { format!("Authorization: {basic}\r\n") };
        let length = if matches!(one.method, "GET" | "HEAD" | "DELETE") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let to = self.daemon.address;
        let head = format!(
            "{} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{authorization}{length}{more}\r\n",
            one.method
        );
        let answer = wire::exchange(to, &[head.as_bytes(), body].concat()).unwrap();
        Reply::parse(&answer).unwrap_or_else(|| panic!("{} {path} by {who}: no answer", one.method))
    }
}

#[test]
fn each_request_is_granted_to_those_who_may_make_it() {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene(dir.path());
    let mut table = String::new();
    for (index, one) in listed().into_iter().enumerate() {
        let mut answers = BTreeMap::new();
        for who in EVERYBODY.into_iter().filter(|who| is_asked(&one, index, who)) {
            let before = (who == "nobody" || who == "revoked").then(|| listing(&scene.daemon.photos()));
            let reply = scene.ask(&one, who);
            let what = format!("{} {} by {who}: {}", one.method, one.path, reply.text);
            if let Some(before) = before {
                assert_eq!(listing(&scene.daemon.photos()), before, "{what}");
            }
            let shows = reply.body.windows(SECRET.len()).any(|part| part == SECRET);
            assert!(!shows || matches!(who, "owner" | "computer" | "sibling"), "{what}");
            answers.insert(who, reply.status);
        }
        let what = format!("{} {}: {answers:?}", one.method, one.path);
        let is_refused = |who: &str| answers.get(who).is_none_or(|status| *status == 401);
        match one.who {
            // The same for everybody, whoever they say they are.
            Who::Anybody => {
                let all: BTreeSet<u16> = answers.values().copied().collect();
                assert!(all.len() == 1 && !all.contains(&403), "{what}");
            }
            Who::Once => assert!(EVERYBODY.iter().all(|who| is_refused(who)), "{what}"),
            Who::Device => {
                assert!(is_refused("nobody") && is_refused("revoked"), "{what}");
                assert!(EVERYBODY[2..].iter().all(|who| answers.get(who) != Some(&401)), "{what}");
            }
        }
        let shown = EVERYBODY.map(|who| answers.get(who).map_or_else(|| "-".to_owned(), u16::to_string));
        let shown = shown.map(|status| format!("{status:>9}")).concat();
        writeln!(table, "{:9}{:62}{shown}", one.method, one.path).unwrap();
    }
    let head = EVERYBODY.map(|who| format!("{who:>9}")).concat();
    let table = format!("{:71}{head}\n{table}", "");
    expect_test::expect_file!["../fixtures/rights.txt"].assert_eq(&table);
}

/// Who fails to sign in waits longer each time: a password that was taken back is tried now and then. Lomorage's tokens are made of more than
/// a password (`scripts/clients/lomorage` has them).
fn is_asked(one: &Listed, index: usize, who: &str) -> bool {
    match who {
        "nobody" => true,
        "revoked" => index.is_multiple_of(8),
        _ => one.signs != Signs::Lomorage,
    }
}
