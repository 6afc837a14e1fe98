//! Immich's phone app against the real binary: what it is told of changes, in whatever order they come, and who is told nothing.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::immich::{Home, home_with, sha1};
use crate::support::daemon::Account;
use crate::support::luck::{self, Luck};
use crate::support::wire::{self, Reply};

const ON: &str = "[immich]\nphone_app = \"experimental\"\n";
const TYPES: [&str; 8] = [
    "AuthUsersV1",
    "UsersV1",
    "AssetsV2",
    "AssetExifsV1",
    "AlbumsV2",
    "AlbumUsersV1",
    "AlbumToAssetsV1",
    "PeopleV1",
];

/// What the app keeps of what it was told, with its rule that nothing may name what is not there.
#[derive(Debug, Default)]
struct Tables {
    assets: BTreeMap<String, String>,
    described: BTreeSet<String>,
    albums: BTreeMap<String, String>,
    owned: BTreeSet<String>,
    members: BTreeSet<(String, String)>,
    resets: u32,
    lines: usize,
}

impl Tables {
    fn take(&mut self, line: &Value) {
        let data = &line["data"];
        let text = |key: &str| data[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_owned();
        let asset = |tables: &Self| {
            let id = text("assetId");
            assert!(tables.assets.contains_key(&id), "a photo that was not told of: {line}");
            id
        };
        let album = |tables: &Self| {
            let id = text("albumId");
            assert!(tables.albums.contains_key(&id), "an album that was not told of: {line}");
            id
        };
        self.lines += 1;
        match line["type"].as_str().unwrap() {
            "AuthUserV1" | "UserV1" | "SyncCompleteV1" => self.lines -= 1,
            "SyncResetV1" => *self = Self { resets: self.resets + 1, ..Self::default() },
            "AssetV2" => {
                let known = self.assets.insert(text("id"), text("checksum"));
                assert!(known.is_none_or(|sum| sum == text("checksum")), "{line}");
            }
            "AssetDeleteV1" => {
                self.assets.remove(&text("assetId"));
                self.described.remove(&text("assetId"));
                self.members.retain(|(_, asset)| *asset != text("assetId"));
            }
            "AssetExifV1" => drop(self.described.insert(asset(self))),
            "AlbumV2" => {
                let cover = data["thumbnailAssetId"].as_str();
                assert!(cover.is_none_or(|id| self.assets.contains_key(id)), "no such cover: {line}");
                self.albums.insert(text("id"), text("name"));
            }
            "AlbumDeleteV1" => {
                self.albums.remove(&text("albumId"));
                self.owned.remove(&text("albumId"));
                self.members.retain(|(album, _)| *album != text("albumId"));
            }
            "AlbumUserV1" => drop(self.owned.insert(album(self))),
            "AlbumToAssetV1" => drop(self.members.insert((album(self), asset(self)))),
            "AlbumToAssetDeleteV1" => drop(self.members.remove(&(text("albumId"), text("assetId")))),
            other => panic!("a type that was not asked for: {other}"),
        }
    }
}

/// Something asked of the box, as the app does it: its body without its framing, or that it broke off.
fn ask(home: &Home, who: &Account, method: &str, path: &str, body: &Value) -> (u16, Option<String>) {
    let cookie = format!("Cookie: immich_access_token={}\r\n", who.password);
    let reply = home.raw(&cookie, method, path, body);
    (reply.status, reply.unchunked().map(|body| String::from_utf8(body).unwrap()))
}

fn stream(home: &Home, who: &Account) -> Vec<Value> {
    let (status, text) = ask(home, who, "POST", "/api/sync/stream", &json!({"types": TYPES}));
    assert_eq!(status, 200, "{text:?}");
    text.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ack(home: &Home, who: &Account, ack: &Value) {
    assert_eq!(ask(home, who, "POST", "/api/sync/ack", &json!({"acks": [ack]})).0, 204, "{ack}");
}

/// One sync as the app does it: lines of one type are taken together, and the last of them acknowledged. `most`: how many such groups until
/// the app is killed.
fn sync(home: &Home, who: &Account, tables: &mut Tables, most: usize) {
    let lines = stream(home, who);
    assert!(["SyncCompleteV1", "SyncResetV1"].map(Value::from).contains(&lines.last().unwrap()["type"]));
    for group in lines.chunk_by(|a, b| a["type"] == b["type"]).take(most) {
        group.iter().for_each(|line| tables.take(line));
        ack(home, who, &group.last().unwrap()["ack"]);
    }
    if lines[0]["type"] == "SyncResetV1" && most > 1 {
        sync(home, who, tables, most - 1);
    }
}

/// Until all photos are there with what they say of themselves; then nothing more is told.
fn settled(home: &Home, who: &Account, tables: &mut Tables, photos: usize) {
    let began = Instant::now();
    loop {
        let before = tables.lines;
        sync(home, who, tables, usize::MAX);
        if tables.lines == before && tables.assets.len() == photos {
            let (_, found) = home.ask(who, "POST", "/api/search/metadata", &json!({"size": 1000}));
            let items = found["assets"]["items"].as_array().unwrap();
            if items.iter().all(|item| item["hasMetadata"] == true) {
                sync(home, who, tables, usize::MAX);
                return;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{} of {photos}: {tables:?}", tables.assets.len());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn put(home: &Home, path: &str, bytes: &[u8]) {
    let folder = path.split('/').next().unwrap();
    // It may be there.
    drop(home.daemon.request(&home.laptop, "MKCOL", &format!("/dav/{folder}"), "", b""));
    let reply = home.daemon.request(&home.laptop, "PUT", &format!("/dav/{path}"), "", bytes);
    assert!(reply.is_success(), "{path}: {}", reply.text);
}

#[test]
fn without_the_setting_there_is_nothing_and_with_it_nothing_for_strangers() {
    let routes = [
        ("POST", "/api/sync/stream"),
        ("GET", "/api/sync/ack"),
        ("POST", "/api/sync/ack"),
        ("DELETE", "/api/sync/ack"),
        ("GET", "/api/socket.io/?EIO=4&transport=websocket"),
        ("GET", "/api/users/me/preferences"),
        ("GET", "/api/memories"),
        ("GET", "/api/assets/00000000-0000-4000-8000-000000000000/thumbnail"),
        ("GET", "/api/assets/00000000-0000-4000-8000-000000000000/original"),
        ("PUT", "/api/assets"),
    ];
    let home = home_with("");
    for (method, path) in routes {
        assert_eq!(ask(&home, &home.phone, method, path, &Value::Null).0, 404, "{method} {path}");
    }
    let home = home_with(ON);
    let nobody = Account { user: "anna".into(), password: "wrong".into() };
    for (method, path) in routes {
        assert_eq!(ask(&home, &nobody, method, path, &Value::Null).0, 401, "{method} {path}");
        assert_ne!(ask(&home, &home.phone, method, path, &Value::Null).0, 401, "{method} {path}");
    }
    // Another person's photos are nobody's business.
    let ben = home.daemon.add_person("ben", "phone", "phone");
    let (_, id) = home.upload(&home.phone, "IMG_1.JPG", b"photo", &[]);
    let mut tables = Tables::default();
    sync(&home, &ben, &mut tables, usize::MAX);
    assert_eq!((tables.assets.len(), tables.resets), (0, 1));
    for rest in ["original", "thumbnail", "video/playback"] {
        let path = format!("/api/assets/{id}/{rest}");
        assert_eq!(ask(&home, &ben, "GET", &path, &Value::Null).0, 404, "{path}");
    }
    assert_eq!(ask(&home, &ben, "PUT", "/api/assets", &json!({"ids": [id], "isFavorite": true})).0, 404);
}

/// What was there before anybody followed is told in full, in pages; what was heard is not told again, through a kill; what was not is.
#[test]
fn a_first_sync_goes_on_where_it_was_cut_off() {
    const MANY: usize = 450;
    let mut home = home_with(ON);
    for n in 0..MANY {
        let folder = if n % 3 == 0 { "Trip" } else { "2026-11" };
        put(&home, &format!("{folder}/{n}.jpg"), format!("photo {n}").as_bytes());
    }
    put(&home, "2026-11/again.jpg", b"photo 0");
    let phone = home.phone.clone();
    // SHA-1 of what came over WebDAV is known after the mirror's pass.
    let mut tables = Tables::default();
    settled(&home, &phone, &mut tables, MANY);
    assert_eq!((tables.albums.len(), tables.members.len(), tables.owned.len()), (1, MANY / 3, 1));
    assert_eq!(tables.described.len(), MANY);
    assert_eq!(stream(&home, &phone).len(), 3, "nothing is told twice");
    // The app begins anew, and is killed after the first page of photos, and the box after the next.
    let reset = json!({"types": TYPES, "reset": true});
    assert_eq!(ask(&home, &phone, "POST", "/api/sync/stream", &reset).0, 200);
    let mut tables = Tables::default();
    let all = stream(&home, &phone);
    let of = |lines: &[Value], kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
    assert_eq!((of(&all, "AssetV2"), of(&all, "AlbumToAssetV1")), (MANY, MANY / 3));
    let hundredth = all.iter().filter(|line| line["type"] == "AssetV2").nth(99).unwrap();
    all.iter().filter(|line| line["type"] == "AssetV2").take(100).for_each(|line| tables.take(line));
    ack(&home, &phone, &hundredth["ack"]);
    assert_eq!(of(&stream(&home, &phone), "AssetV2"), MANY - 100);
    home.daemon.kill();
    home.daemon.start();
    // A power cut may take the last acknowledgements; what is told again was told before.
    let again = stream(&home, &phone);
    assert!((MANY - 100..=MANY).contains(&of(&again, "AssetV2")));
    // An acknowledgement of what the last life told says nothing now.
    ack(&home, &phone, &all.last().unwrap()["ack"]);
    assert_eq!(stream(&home, &phone).len(), again.len());
    sync(&home, &phone, &mut tables, usize::MAX);
    assert_eq!((tables.assets.len(), tables.members.len()), (MANY, MANY / 3));
    // Asked to tell of one kind again, it tells of that.
    assert_eq!(ask(&home, &phone, "DELETE", "/api/sync/ack", &json!({"types": ["AlbumV2"]})).0, 204);
    let lines = stream(&home, &phone);
    assert_eq!((of(&lines, "AlbumV2"), of(&lines, "AssetV2"), lines.len()), (1, 0, 4));
}

/// Photos come, move, get into albums and go while the app asks again and again, is killed in the middle, and asks again: nothing it is told names
/// what it was not told of, and in the end it knows what is there.
#[test]
fn changes_while_the_app_asks() {
    let home = home_with(ON);
    let mut luck = Luck::new(luck::seed("immich_app"));
    let mut tables = Tables::default();
    std::thread::scope(|scope| {
        let home = &home;
        let changing = scope.spawn(move || change(home, 160));
        while !changing.is_finished() {
            let most = if luck.below(3) == 0 { 1 + luck.below(6) as usize } else { usize::MAX };
            sync(home, &home.phone, &mut tables, most);
        }
    });
    let files = home.files();
    let of = |path: &String| sha1(&fs::read(home.daemon.photos().join(path)).unwrap());
    let sums: BTreeSet<String> = files.iter().map(of).collect();
    settled(&home, &home.phone, &mut tables, sums.len());
    let folders: BTreeSet<&str> = files
        .iter()
        .filter_map(|path| path.split('/').nth(1))
        .filter(|name| name.starts_with("Trip"))
        .collect();
    let albums: BTreeSet<&str> = tables.albums.values().map(String::as_str).collect();
    assert!(albums.is_superset(&folders), "{albums:?} {folders:?}");
    let in_albums: BTreeSet<(String, String)> = files
        .iter()
        .filter(|path| path.split('/').nth(1).is_some_and(|name| name.starts_with("Trip")))
        .map(|path| (path.split('/').nth(1).unwrap().to_owned(), of(path)))
        .collect();
    assert_eq!(tables.members.len(), in_albums.len());
    assert_eq!(tables.resets, 1);
    println!("immich-app: {} photos, {} in albums, all told", sums.len(), in_albums.len());
}

/// A person with a computer and a phone who is never done.
fn change(home: &Home, times: u64) {
    let mut luck = Luck::new(luck::seed("immich_app_changes"));
    for n in 0..times {
        let (old, album) = (luck.below(n + 1), luck.below(4));
        match luck.below(6) {
            0 | 1 => drop(home.upload(&home.phone, &format!("{n}.jpg"), format!("up {n}").as_bytes(), &[])),
            2 => put(home, &format!("Trip-{album}/{n}.jpg"), format!("put {n}").as_bytes()),
            3 => {
                let to =
                    format!("Destination: http://{}/dav/Trip-{}\r\n", home.daemon.address, luck.below(4));
                let from = format!("/dav/Trip-{album}");
                drop(home.daemon.request(&home.laptop, "MOVE", &from, &to, b""));
            }
            4 => {
                let path = format!("/dav/Trip-{album}/{old}.jpg");
                drop(home.daemon.request(&home.laptop, "DELETE", &path, "", b""));
            }
            _ => {
                let (_, id) =
                    home.upload(&home.phone, &format!("{n}.jpg"), format!("up {n}").as_bytes(), &[]);
                let name = format!("Trip-{album}");
                let new = json!({"albumName": name, "assetIds": [id]});
                assert_eq!(home.ask(&home.phone, "POST", "/api/albums", &new).0, 201);
            }
        }
    }
}

/// Without the catalogue nobody knows what the app was told: it is told to forget it.
#[test]
fn a_lost_catalogue_makes_the_app_begin_anew() {
    let mut home = home_with(ON);
    let phone = home.phone.clone();
    home.upload(&phone, "IMG_1.JPG", b"photo", &[]);
    home.upload(&phone, "IMG_2.JPG", b"another", &[]);
    let mut tables = Tables::default();
    settled(&home, &phone, &mut tables, 2);
    home.daemon.kill();
    for drive in ["a", "b"] {
        for entry in fs::read_dir(home.daemon.dir.join(drive).join(".shoebox")).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("catalogue") && path.is_file() {
                fs::remove_file(path).unwrap();
            }
        }
    }
    home.daemon.start();
    // Gone meanwhile: nobody could tell of it.
    let gone = home.daemon.request(&home.laptop, "DELETE", "/dav/2026-11/IMG_2.JPG", "", b"");
    assert!(gone.is_success(), "{}", gone.text);
    settled(&home, &phone, &mut tables, 1);
    assert_eq!(tables.resets, 2);
}

#[test]
fn favourites_and_originals() {
    let home = home_with(ON);
    let phone = &home.phone;
    let (_, id) = home.upload(phone, "IMG_1.JPG", b"0123456789", &[]);
    let change = |favourite: bool| {
        ask(&home, phone, "PUT", "/api/assets", &json!({"ids": [id], "isFavorite": favourite})).0
    };
    let both = ["anna/2026-11/IMG_1.JPG", "anna/favorites/IMG_1.JPG"].map(str::to_owned);
    assert_eq!((change(true), home.files()), (204, both.clone().into()));
    assert_eq!((change(true), home.files()), (204, both.into()));
    let (_, asset) = home.ask(phone, "GET", &format!("/api/assets/{id}"), &Value::Null);
    assert_eq!(asset["isFavorite"], true);
    let (status, asset) = home.ask(phone, "PUT", &format!("/api/assets/{id}"), &json!({"isFavorite": false}));
    assert_eq!((status, &asset["isFavorite"], home.files().len()), (200, &json!(false), 1));
    assert_eq!(change(false), 204);
    // What means nothing here is refused, not left out.
    let hide = json!({"ids": [id], "visibility": "archive"});
    assert_eq!(ask(&home, phone, "PUT", "/api/assets", &hide).0, 400);
    // A photo that is nowhere else would be gone.
    put(&home, "favorites/only.jpg", b"only");
    let (_, found) =
        home.ask(phone, "POST", "/api/search/metadata", &json!({"originalFileName": "only.jpg"}));
    let began = Instant::now();
    let mut found = found;
    while found["assets"]["count"] == 0 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(100));
        found = home.ask(phone, "POST", "/api/search/metadata", &json!({"originalFileName": "only.jpg"})).1;
    }
    let only = &found["assets"]["items"][0]["id"];
    assert_eq!(ask(&home, phone, "PUT", "/api/assets", &json!({"ids": [only], "isFavorite": false})).0, 403);
    // Its bytes, whole and in part.
    for (rest, range, expected) in
        [("original", "", (200, "0123456789")), ("video/playback", "Range: bytes=2-4\r\n", (206, "234"))]
    {
        let head = format!("x-api-key: {}\r\n{range}", phone.password);
        let reply = home.raw(&head, "GET", &format!("/api/assets/{id}/{rest}"), &Value::Null);
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (expected.0, expected.1.as_bytes()),
            "{}",
            reply.text
        );
    }
}

/// Pages by number and by cursor have every photo once, also when what was remembered is lost, and when photos come in between.
#[test]
fn pages_have_every_photo_once() {
    let mut home = home_with("");
    let phone = home.phone.clone();
    for n in 0..60 {
        home.upload(&phone, &format!("{n}.jpg"), format!("photo {n}").as_bytes(), &[]);
    }
    let page = |home: &Home, asked: Value| {
        let (status, found) = home.ask(&phone, "POST", "/api/search/metadata", &asked);
        assert_eq!(status, 200, "{found}");
        let items = found["assets"]["items"].as_array().unwrap();
        let ids: Vec<String> = items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        (ids, found["assets"]["nextPage"].clone(), found["assets"]["nextCursor"].clone())
    };
    let mut by_number = Vec::new();
    for n in 1..=9 {
        let (ids, next, _) = page(&home, json!({"page": n, "size": 7}));
        by_number.extend(ids);
        assert_eq!(next, if n < 9 { json!((n + 1).to_string()) } else { Value::Null });
        // A photo that comes meanwhile is behind all others.
        home.upload(&phone, "0.jpg", b"photo 0", &[]);
    }
    let (mut by_cursor, mut asked) = (Vec::new(), json!({"size": 7}));
    loop {
        let (ids, _, next) = page(&home, asked);
        by_cursor.extend(ids);
        if next.is_null() {
            break;
        }
        asked = json!({"size": 7, "cursor": next});
    }
    assert_eq!(by_number, by_cursor);
    assert_eq!(by_number.iter().collect::<BTreeSet<_>>().len(), 60);
    home.daemon.kill();
    home.daemon.start();
    assert_eq!(page(&home, json!({"page": 5, "size": 7})).0, by_number[28..35]);
    assert_eq!(home.ask(&phone, "POST", "/api/search/metadata", &json!({"cursor": "x"})).0, 400);
}

/// A socket of the app: what it heard, message by message.
struct Listening(TcpStream, Vec<u8>);

impl Listening {
    fn open(home: &Home, who: &Account, query: &str) -> Result<Self, u16> {
        let mut stream = TcpStream::connect(home.daemon.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "GET /api/socket.io/?{query} HTTP/1.1\r\nHost: {}\r\nCookie: immich_access_token={}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            home.daemon.address, who.password
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&piece[..read]);
        }
        let reply = Reply::parse(&bytes).unwrap();
        if reply.status != 101 {
            return Err(reply.status);
        }
        assert!(reply.text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{}", reply.text);
        Ok(Self(stream, reply.body))
    }

    fn hear(&mut self) -> String {
        loop {
            if let [first, length, rest @ ..] = self.1.as_slice() {
                let (length, at) = match (*length, rest) {
                    (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
                    (short, _) => (usize::from(short), 2),
                };
                if self.1.len() >= at + length {
                    assert_eq!(*first, 0x81, "{:x?}", self.1);
                    let text = String::from_utf8(self.1[at..at + length].to_vec()).unwrap();
                    self.1.drain(..at + length);
                    return text;
                }
            }
            let mut piece = [0; 4096];
            let read = self.0.read(&mut piece).unwrap();
            assert!(read > 0, "the socket ended");
            self.1.extend_from_slice(&piece[..read]);
        }
    }

    fn say(&mut self, text: &str) {
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 7, 7, 7, 7];
        frame.extend(text.bytes().map(|byte| byte ^ 7));
        self.0.write_all(&frame).unwrap();
    }
}

#[test]
fn a_socket_tells_of_uploads() {
    let home = home_with(ON);
    let query = "EIO=4&transport=websocket";
    let mut socket = Listening::open(&home, &home.phone, query).unwrap_or_else(|status| panic!("{status}"));
    let opened: Value = serde_json::from_str(socket.hear().strip_prefix('0').unwrap()).unwrap();
    assert!(opened["sid"].is_string() && opened["upgrades"] == json!([]) && opened["pingInterval"].is_u64());
    socket.say("40{\"token\":\"x\"}");
    assert!(socket.hear().starts_with("40{\"sid\":"));
    // Somebody else's photo is not told of.
    let ben = home.daemon.add_person("ben", "phone", "phone");
    home.upload(&ben, "BEN.JPG", b"somebody else's", &[]);
    let (_, id) = home.upload(&home.phone, "IMG_1.JPG", b"photo", &[]);
    let told: Value = serde_json::from_str(socket.hear().strip_prefix("42").unwrap()).unwrap();
    assert_eq!(told[0], "AssetUploadReadyV2");
    assert_eq!((&told[1]["asset"]["id"], &told[1]["exif"]["assetId"]), (&json!(id), &json!(id)));
    socket.say("2");
    assert_eq!(socket.hear(), "3");
    // Not a client: it ends, and nothing else does.
    socket.0.write_all(&[0x81, 0x01, b'2']).unwrap();
    let mut rest = Vec::new();
    socket.0.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [0x88, 0x02, 0x03, 0xea]);
    for (query, status) in [("EIO=4&transport=polling", 400), ("EIO=3&transport=websocket", 400)] {
        assert_eq!(Listening::open(&home, &home.phone, query).err(), Some(status), "{query}");
    }
    let wrong = Account { user: "anna".into(), password: "wrong".into() };
    assert_eq!(Listening::open(&home, &wrong, query).err(), Some(401));
    let all: Vec<Listening> = (0..32)
        .map(|_| Listening::open(&home, &home.phone, query).unwrap_or_else(|s| panic!("{s}")))
        .collect();
    assert_eq!(Listening::open(&home, &home.phone, query).err(), Some(503));
    drop(all);
    // What is no question for a socket is answered on a connection that goes on.
    let reply = wire::request(home.daemon.address, "none", "GET", "/api/server/ping", "", b"").unwrap();
    assert_eq!(reply.status, 200);
}
