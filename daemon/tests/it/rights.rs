//! Every request that the box knows (`face/http/listed.rs`), made by everybody: nobody; a password that was taken back; the person whose photo it is
//! about, with the password of the login page; a person called `admin`, with theirs; the phone whose photo it is; another phone and a computer of the
//! same person; and another person's phone.
//!
//! There is no administrator on the wire. Whoever may open the control socket is one, and needs no password; a person called like one is as any other.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::thread;

use serde_json::Value;
use shoebox::face::http::listed::{Listed, Signs, Who, listed};

use crate::support::daemon::{Account, Daemon};
use crate::support::listing::listing;
use crate::support::wire::{self, Reply};

/// What only Anna's devices may ever be shown.
const SECRET: &[u8] = b"what only anna may see";

/// Who asks, with what they have to show. The first have no right, but that persons may sign in where the login page asks for it.
const EVERYBODY: [&str; 8] =
    ["nobody", "revoked", "person", "admin", "owner", "sibling", "computer", "stranger"];
const WITHOUT: usize = 4;

struct Scene {
    daemon: Daemon,
    accounts: BTreeMap<&'static str, Account>,
    /// What Lomorage's app shows instead of a password.
    passes: BTreeMap<&'static str, String>,
    asset: String,
    upload: String,
}

fn scene(dir: &std::path::Path) -> Scene {
    for drive in ["a", "b"] {
        std::fs::create_dir(dir.join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir, 20, &[]);
    // Who fails waits, and all who fail do it at once.
    daemon.connections = [512, 512];
    daemon.more = "[immich]\nphone_app = \"experimental\"\n".to_owned();
    daemon.begin();
    let (mut accounts, mut passes) = (BTreeMap::new(), BTreeMap::new());
    let old = daemon.add_person("anna", "old", "phone");
    passes.insert("revoked", lomorage_pass(&daemon, &old));
    accounts.insert("revoked", old);
    assert_eq!(daemon.run(&["device", "revoke", "anna", "old"]).0, 0);
    for (who, line) in [("person", ["person", "password", "anna"]), ("admin", ["person", "add", "admin"])] {
        let made = daemon.ask(&[&line[..], &["--generate", "--json"]].concat());
        let password = made["password"].as_str().unwrap().to_owned();
        accounts.insert(who, Account { user: line[2].to_owned(), password });
    }
    for (who, device, kind) in
        [("owner", "left", "phone"), ("sibling", "right", "phone"), ("computer", "pc", "computer")]
    {
        accounts.insert(who, daemon.add_device("anna", device, kind));
    }
    accounts.insert("stranger", daemon.add_person("ben", "phone", "phone"));
    for who in ["owner", "sibling", "computer", "stranger"] {
        passes.insert(who, lomorage_pass(&daemon, &accounts[who]));
    }
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
    Scene { daemon, accounts, passes, asset, upload }
}

/// As Lomorage's app signs in: `word:id of the phone` for a password.
fn for_lomorage(account: &Account) -> Account {
    Account { user: account.user.clone(), password: format!("{}:0123", account.password) }
}

fn lomorage_pass(daemon: &Daemon, account: &Account) -> String {
    let reply = daemon.request(&for_lomorage(account), "GET", "/login", "", b"");
    let told: Value = serde_json::from_slice(&reply.body).unwrap();
    told["Token"].as_str().unwrap().to_owned()
}

/// What stands for a name and a password in the body of a login, and the headers it comes with.
fn login_body(one: &Listed, account: Option<&Account>, flow: Option<&Flow>) -> (String, String) {
    let (user, password) =
        account.map_or(("", ""), |account| (account.user.as_str(), account.password.as_str()));
    let json = |name: &str| {
        (serde_json::json!({ name: user, "password": password }).to_string(), "application/json")
    };
    let (body, kind) = match (one.path.as_str(), flow) {
        ("/upload/session", _) => json("user"),
        ("/api/auth/login", _) => json("email"),
        (_, Some(flow)) => (
            format!("mark={}&person={user}&password={password}&device=granted&kind=phone", flow.mark),
            "application/x-www-form-urlencoded",
        ),
        (other, None) => panic!("what is asked at {other}?"),
    };
    let cookie = flow.map_or_else(String::new, |flow| format!("Cookie: {}\r\n", flow.cookie));
    (body, format!("Content-Type: {kind}\r\n{cookie}"))
}

/// A login that was begun, its page open in a browser.
struct Flow {
    id: String,
    mark: String,
    cookie: String,
}

impl Flow {
    fn begin(daemon: &Daemon) -> Self {
        let nobody =
            |method, path: &str| wire::request(daemon.address, "none", method, path, "", b"").unwrap();
        let begun: Value = serde_json::from_slice(&nobody("POST", "/index.php/login/v2").body).unwrap();
        let id = begun["login"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let shown = nobody("GET", &format!("/index.php/login/v2/flow/{id}")).text;
        let between =
            |before: &str, after| shown.split_once(before).unwrap().1.split(after).next().unwrap().to_owned();
        let (mark, cookie) = (between("name=\"mark\" value=\"", '"'), between("et-cookie: ", ';'));
        Self { id, mark, cookie }
    }
}

impl Scene {
    fn ask(&self, one: &Listed, who: &str) -> Reply {
        let flow = one.path.contains("{flow}").then(|| Flow::begin(&self.daemon));
        let path = one.path.replace("{asset}", &self.asset).replace("{upload}", &self.upload);
        let path = flow.as_ref().map_or(path.clone(), |flow| path.replace("{flow}", &flow.id));
        let account = self.accounts.get(who);
        let (basic, mut more) = match (one.signs, account) {
            (_, None) | (Signs::Body, _) => (String::new(), String::new()),
            (Signs::Basic, Some(account)) => (account.basic(), String::new()),
            (Signs::ApiKey, Some(account)) => (String::new(), format!("x-api-key: {}\r\n", account.password)),
            (Signs::Lomorage, Some(account)) if path == "/login" => {
                (for_lomorage(account).basic(), String::new())
            }
            (Signs::Lomorage, Some(account)) => {
                (format!("token={}", self.passes.get(who).unwrap_or(&account.password)), String::new())
            }
        };
        if one.path.starts_with("/tus") {
            more.push_str("Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n");
        }
        if matches!(one.method, "MOVE" | "COPY") {
            more.push_str("Destination: /dav/elsewhere.jpg\r\n");
        }
        let mut body = match one.method {
            "PUT" => "some bytes".to_owned(),
            "POST" if one.path.starts_with("/api/") => "{}".to_owned(),
            _ => String::new(),
        };
        if one.signs == Signs::Body {
            let (text, headers) = login_body(one, account, flow.as_ref());
            (body, more) = (text, more + &headers);
        } else if one.path.starts_with("/api/") {
            more.push_str("Content-Type: application/json\r\n");
        }
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
        let answer = wire::exchange(to, &[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        Reply::parse(&answer).unwrap_or_else(|| panic!("{} {path} by {who}: no answer", one.method))
    }
}

/// What those without a right are answered, in the order of the list. All at once: who fails to sign in waits longer each time.
fn ask_without(scene: &Scene, all: &[Listed]) -> Vec<BTreeMap<&'static str, Reply>> {
    thread::scope(|scope| {
        let asked = all.iter().map(|one| {
            let of = |who: &'static str| (who, scope.spawn(move || scene.ask(one, who)));
            EVERYBODY[..WITHOUT].iter().map(|who| of(who)).collect::<Vec<_>>()
        });
        let asked: Vec<_> = asked.collect();
        let ended = |of: Vec<(_, thread::ScopedJoinHandle<'_, _>)>| {
            of.into_iter().map(|(who, thread)| (who, thread.join().unwrap())).collect()
        };
        asked.into_iter().map(ended).collect()
    })
}

/// What the list says, and nothing else.
fn judge(one: &Listed, answers: &BTreeMap<&str, u16>) {
    let what = format!("{} {}: {answers:?}", one.method, one.path);
    let of = |who: &[&str]| -> BTreeSet<u16> { who.iter().map(|who| answers[who]).collect() };
    let (without, with) = (of(&EVERYBODY[..WITHOUT]), of(&EVERYBODY[WITHOUT..]));
    let refused = BTreeSet::from([401]);
    match one.who {
        // The same for everybody, whoever they say they are.
        Who::Anybody => assert!(without == with && with.len() == 1 && !with.contains(&403), "{what}"),
        Who::Once => assert!(without == refused && with == refused, "{what}"),
        Who::Device => assert!(without == refused && !with.contains(&401), "{what}"),
        // A browser would ask by itself after a 401, for what nobody has; without a name the form is none.
        Who::Person => {
            assert!(answers["nobody"] == 400 && answers["revoked"] == 403, "{what}");
            assert!(with == BTreeSet::from([403]), "{what}");
            assert!(answers["person"] == 200 && answers["admin"] == 200, "{what}");
        }
    }
}

#[test]
fn each_request_is_granted_to_those_who_may_make_it() {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene(dir.path());
    let all = listed();
    let before = listing(&scene.daemon.photos());
    let without = ask_without(&scene, &all);
    let mut after = listing(&scene.daemon.photos());
    // The devices that the login page added, each with its folder.
    for made in ["admin/", "admin/granted/", "anna/granted/"] {
        assert!(after.remove(made).is_some(), "no {made}");
    }
    assert_eq!(after, before);
    let mut table = String::new();
    for (one, mut replies) in all.iter().zip(without) {
        replies.extend(EVERYBODY[WITHOUT..].iter().map(|who| (*who, scene.ask(one, who))));
        for (who, reply) in &replies {
            let shows = reply.body.windows(SECRET.len()).any(|part| part == SECRET);
            let may = matches!(*who, "owner" | "computer" | "sibling");
            assert!(!shows || may, "{} {} by {who}: {}", one.method, one.path, reply.text);
        }
        let answers = replies.into_iter().map(|(who, reply)| (who, reply.status)).collect();
        judge(one, &answers);
        let shown = EVERYBODY.map(|who| format!("{:>9}", answers[who])).concat();
        writeln!(table, "{:9}{:62}{shown}", one.method, one.path).unwrap();
    }
    let head = EVERYBODY.map(|who| format!("{who:>9}")).concat();
    let table = format!("{:71}{head}\n{table}", "");
    expect_test::expect_file!["../fixtures/rights.txt"].assert_eq(&table);
}
