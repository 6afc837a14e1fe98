//! The Immich dialect against the real binary: what its clients rely on and no client shows, rights, and what must not be stored.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::{Account, Daemon};
use crate::support::luck::{self, Luck};
use crate::support::wire::{self, Leaving, Reply};

const BOUNDARY: &str = "----shoebox-4711";

pub(crate) struct Home {
    _dir: tempfile::TempDir,
    pub(crate) daemon: Daemon,
    pub(crate) phone: Account,
    pub(crate) laptop: Account,
}

fn home() -> Home {
    home_with("")
}

/// A box with these settings besides the usual ones.
pub(crate) fn home_with(more: &str) -> Home {
    let dir = tempfile::tempdir().unwrap();
    for drive in ["a", "b"] {
        fs::create_dir_all(dir.path().join(drive)).unwrap();
    }
    let mut daemon = Daemon::new(dir.path(), 5, &[]);
    daemon.more = more.to_owned();
    daemon.begin();
    let phone = daemon.add_person("anna", "phone", "phone");
    let laptop = daemon.add_device("anna", "laptop", "computer");
    Home { _dir: dir, daemon, phone, laptop }
}

/// A part: a field, or a file under a name.
pub(crate) struct Part<'a>(pub(crate) &'a str, pub(crate) Option<&'a str>, pub(crate) &'a [u8]);

pub(crate) fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for Part(name, file, bytes) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

impl Home {
    pub(crate) fn ask(&self, who: &Account, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let reply = self.raw(&format!("x-api-key: {}\r\n", who.password), method, path, body);
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    pub(crate) fn raw(&self, headers: &str, method: &str, path: &str, body: &Value) -> Reply {
        let text = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let more = format!("Content-Type: application/json\r\n{headers}");
        wire::request(self.daemon.address, "none", method, path, &more, &text).unwrap()
    }

    fn head(&self, who: &Account, more: &str, length: usize) -> String {
        let (to, token) = (self.daemon.address, &who.password);
        format!(
            "POST /api/assets HTTP/1.1\r\nHost: {to}\r\nx-api-key: {token}\r\nConnection: close\r\nContent-Length: {length}\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{more}\r\n"
        )
    }

    pub(crate) fn send(&self, who: &Account, more: &str, body: &[u8]) -> (u16, Value) {
        let mut bytes = self.head(who, more, body.len()).into_bytes();
        bytes.extend_from_slice(body);
        let reply = Reply::parse(&wire::exchange(self.daemon.address, &bytes).unwrap()).unwrap();
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    /// Sends one photo as the apps do; its id and whether it was new.
    pub(crate) fn upload(
        &self,
        who: &Account,
        name: &str,
        bytes: &[u8],
        fields: &[(&str, &str)],
    ) -> (u16, String) {
        let mut parts = vec![Part("fileCreatedAt", None, b"2026-11-30T23:30:00.000Z")];
        parts.extend(fields.iter().map(|(name, value)| Part(name, None, value.as_bytes())));
        parts.push(Part("assetData", Some(name), bytes));
        let (status, answer) = self.send(who, "", &form(&parts));
        (status, answer["id"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn files(&self) -> BTreeSet<String> {
        fn walk(dir: &Path, root: &Path, all: &mut BTreeSet<String>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, all);
                } else {
                    all.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let mut all = BTreeSet::new();
        walk(&self.daemon.photos(), &self.daemon.photos(), &mut all);
        all
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.daemon.photos().join(path)).unwrap()
    }

    /// Nothing that was begun is left on the drive.
    pub(crate) fn is_swept(&self) -> bool {
        fs::read_dir(self.daemon.dir.join("a/.shoebox/incoming")).is_ok_and(|mut all| all.next().is_none())
    }
}

pub(crate) fn sha1(bytes: &[u8]) -> String {
    use sha1::Digest as _;
    sha1::Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn fields_may_come_in_any_order_and_the_month_is_that_of_the_place() {
    let home = home();
    let body = form(&[
        Part("assetData", Some("IMG_1.HEIC"), b"photo"),
        Part("sidecarData", Some("IMG_1.HEIC.xmp"), b"<x/>"),
        Part("somethingNew", None, b"whatever"),
        Part("fileModifiedAt", None, b"2026-11-30T23:31:00.000Z"),
        Part("fileCreatedAt", None, b"2026-12-01T00:30:00.000+01:00"),
        Part("filename", None, b"IMG_0815.HEIC"),
        Part("isFavorite", None, b"true"),
    ]);
    let (status, answer) = home.send(&home.phone, "", &body);
    assert_eq!((status, &answer["status"]), (201, &json!("created")), "{answer}");
    let expected =
        ["anna/2026-12/IMG_0815.HEIC", "anna/2026-12/IMG_0815.HEIC.xmp", "anna/favorites/IMG_0815.HEIC"];
    assert_eq!(home.files(), expected.map(str::to_owned).into());
    let mtime = fs::metadata(home.daemon.photos().join(expected[0])).unwrap().modified().unwrap();
    let mtime = mtime.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(mtime, 1_796_081_460);
    let (_, asset) = home.ask(
        &home.phone,
        "GET",
        &format!("/api/assets/{}", answer["id"].as_str().unwrap()),
        &Value::Null,
    );
    assert_eq!(
        (&asset["isFavorite"], &asset["fileModifiedAt"]),
        (&json!(true), &json!("2026-11-30T23:31:00.000Z"))
    );
}

/// One photo, one file, whoever sends it and under whatever name; other bytes under the same name lie beside it.
#[test]
fn the_same_photo_is_kept_once_and_another_of_its_name_beside_it() {
    let home = home();
    let (status, first) = home.upload(&home.phone, "IMG_1.HEIC", b"photo", &[]);
    assert_eq!(status, 201);
    assert_eq!(home.upload(&home.phone, "IMG_1.HEIC", b"photo", &[]), (200, first.clone()));
    assert_eq!(home.upload(&home.laptop, "other.HEIC", b"photo", &[]), (200, first.clone()));
    let (status, second) = home.upload(&home.phone, "img_1.heic", b"another", &[]);
    assert_eq!(status, 201);
    assert_ne!(first, second);
    assert_eq!(
        home.files(),
        ["anna/2026-11/IMG_1.HEIC", "anna/2026-11/img_1 (2).heic"].map(str::to_owned).into()
    );
    assert_eq!(home.read("anna/2026-11/IMG_1.HEIC"), b"photo");
    // Somebody else's photos are somebody else's.
    let ben = home.daemon.add_person("ben", "phone", "phone");
    assert_eq!(home.upload(&ben, "IMG_1.HEIC", b"photo", &[]), (201, first.clone()));
    let asked = json!({"assets": [{"id": "a", "checksum": sha1(b"another")}]});
    let (_, answer) = home.ask(&ben, "POST", "/api/assets/bulk-upload-check", &asked);
    assert_eq!(answer["results"][0]["action"], "accept");
    assert_eq!(home.ask(&ben, "GET", &format!("/api/assets/{second}"), &Value::Null).0, 404);
}

/// What a client may delete its own for: only what is here, whole, now.
#[test]
fn a_check_tells_the_truth() {
    let home = home();
    home.upload(&home.phone, "IMG_1.HEIC", b"photo", &[("deviceAssetId", "42"), ("deviceId", "D")]);
    let asked = json!({"assets": [
        {"id": "/a", "checksum": sha1(b"photo")}, {"id": "/b", "checksum": sha1(b"none")}, {"id": "/a", "checksum": sha1(b"photo").to_uppercase()}]});
    let check = |expected: [&str; 3]| {
        let (status, answer) = home.ask(&home.phone, "POST", "/api/assets/bulk-upload-check", &asked);
        let actions: Vec<&str> =
            answer["results"].as_array().unwrap().iter().map(|r| r["action"].as_str().unwrap()).collect();
        assert_eq!((status, actions), (200, expected.to_vec()), "{answer}");
    };
    let exist = || {
        let asked = json!({"deviceAssetIds": ["42", "43"], "deviceId": "D"});
        home.ask(&home.phone, "POST", "/api/assets/exist", &asked).1["existingIds"].clone()
    };
    check(["reject", "accept", "reject"]);
    assert_eq!(exist(), json!(["42"]));
    // Announced, it is known before a byte of it came.
    let head = home.head(
        &home.phone,
        &format!("x-immich-checksum: {}\r\nExpect: 100-continue\r\n", sha1(b"photo")),
        1 << 30,
    );
    let answer = wire::exchange(home.daemon.address, head.as_bytes()).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    // Other hands take it away: it is not here, whatever a catalogue says.
    fs::remove_file(home.daemon.photos().join("anna/2026-11/IMG_1.HEIC")).unwrap();
    check(["accept", "accept", "accept"]);
    assert_eq!(exist(), json!([]));
    let bad = json!({"assets": [{"id": "/a", "checksum": "abc"}]});
    assert_eq!(home.ask(&home.phone, "POST", "/api/assets/bulk-upload-check", &bad).0, 400);
}

#[test]
fn a_live_photo_is_kept_as_a_pair() {
    let home = home();
    // As apps since 2.0 send it: the moving half first, then the still that names it.
    let (_, motion) = home.upload(&home.phone, "IMG_1.MOV", b"moves", &[("visibility", "hidden")]);
    let (status, still) = home.upload(&home.phone, "IMG_1.HEIC", b"still", &[("livePhotoVideoId", &motion)]);
    assert_eq!(status, 201);
    let (_, asset) = home.ask(&home.phone, "GET", &format!("/api/assets/{still}"), &Value::Null);
    assert_eq!(asset["livePhotoVideoId"], json!(motion));
    // A renumbered camera: the names are taken, and the pair gets others, together.
    let (_, motion) = home.upload(&home.phone, "IMG_1.MOV", b"moves differently", &[]);
    let (_, still) =
        home.upload(&home.phone, "IMG_1.HEIC", b"still different", &[("livePhotoVideoId", &motion)]);
    let (_, asset) = home.ask(&home.phone, "GET", &format!("/api/assets/{still}"), &Value::Null);
    assert_eq!(asset["livePhotoVideoId"], json!(motion));
    // As apps before 2.0 sent it: both in one form.
    let body = form(&[
        Part("fileCreatedAt", None, b"2026-11-30T23:30:00.000Z"),
        Part("livePhotoData", Some("IMG_2.MOV"), b"moves third"),
        Part("assetData", Some("IMG_2.HEIC"), b"still third"),
    ]);
    let (status, answer) = home.send(&home.phone, "", &body);
    assert_eq!(status, 201, "{answer}");
    let (_, asset) = home.ask(
        &home.phone,
        "GET",
        &format!("/api/assets/{}", answer["id"].as_str().unwrap()),
        &Value::Null,
    );
    assert!(asset["livePhotoVideoId"].is_string(), "{asset}");
    let names = ["IMG_1.HEIC", "IMG_1.MOV", "IMG_1 (2).HEIC", "IMG_1 (2).MOV", "IMG_2.HEIC", "IMG_2.MOV"];
    assert_eq!(home.files(), names.map(|name| format!("anna/2026-11/{name}")).into());
    assert_eq!(home.read("anna/2026-11/IMG_1 (2).MOV"), b"moves differently");
    // A half that is not here: nothing is kept.
    let nobody = "00000000-0000-4000-8000-000000000000";
    assert_eq!(home.upload(&home.phone, "IMG_3.HEIC", b"alone", &[("livePhotoVideoId", nobody)]).0, 400);
    assert_eq!(home.files().len(), 6);
}

#[test]
fn albums_are_folders_and_a_phone_takes_nothing_away() {
    let home = home();
    let (_, id) = home.upload(&home.phone, "IMG_1.HEIC", b"photo", &[]);
    let (status, album) = home.ask(&home.phone, "POST", "/api/albums", &json!({"albumName": "phone"}));
    assert_eq!((status, &album["albumName"]), (201, &json!("phone")));
    let assets = format!("/api/albums/{}/assets", album["id"].as_str().unwrap());
    let (_, added) = home.ask(&home.phone, "PUT", &assets, &json!({"ids": [id, id]}));
    assert_eq!(
        added,
        json!([{"id": id, "success": true}, {"id": id, "success": false, "error": "duplicate"}])
    );
    // As apps before 3.0: by name, which is made.
    let (status, _) =
        home.ask(&home.phone, "POST", "/api/albums/Rome%20%2F%201/assets", &json!({"assetIds": [id]}));
    assert_eq!(status, 200);
    let all = ["anna/2026-11/IMG_1.HEIC", "anna/Rome ∕ 1/IMG_1.HEIC", "anna/phone (album)/IMG_1.HEIC"]
        .map(str::to_owned);
    assert_eq!(home.files(), all.clone().into());
    let (_, albums) = home.ask(&home.phone, "GET", "/api/albums", &Value::Null);
    let named: Vec<_> =
        albums.as_array().unwrap().iter().map(|a| (&a["albumName"], &a["assetCount"])).collect();
    assert_eq!(named, [(&json!("phone"), &json!(1)), (&json!("Rome / 1"), &json!(1))]);
    assert_eq!(home.ask(&home.phone, "GET", "/api/albums?shared=true", &Value::Null).1, json!([]));
    for (method, path, body) in [
        ("DELETE", "/api/assets", json!({"ids": [id], "force": true})),
        ("DELETE", &assets, json!({"ids": [id]})),
    ] {
        assert_eq!(home.ask(&home.phone, method, path, &body).0, 403, "{method} {path}");
    }
    assert_eq!(home.files(), all.into());
    // A computer's: out of an album it stays a photo, and deleted it goes to the trash under all its names.
    assert_eq!(
        home.ask(&home.laptop, "DELETE", &assets, &json!({"ids": [id]})).1,
        json!([{"id": id, "success": true}])
    );
    assert_eq!(home.files().len(), 2);
    assert_eq!(home.ask(&home.laptop, "DELETE", "/api/assets", &json!({"ids": [id], "force": true})).0, 204);
    assert_eq!(home.files(), BTreeSet::new());
    assert_eq!(home.ask(&home.laptop, "DELETE", "/api/assets", &json!({"ids": [id]})).0, 404);
    assert_eq!(
        home.upload(&home.phone, "IMG_1.HEIC", b"photo", &[]).0,
        201,
        "what is in the trash is sent again"
    );
}

#[test]
fn who_is_told_what() {
    let home = home();
    for (path, open) in [
        ("/.well-known/immich", true),
        ("/api/server/ping", true),
        ("/api/server/media-types", true),
        ("/api/server/config", true),
        ("/api/users/me", false),
        ("/api/albums", false),
        ("/api/server/about", false),
    ] {
        let reply = home.raw("", "GET", path, &Value::Null);
        assert_eq!(reply.status, if open { 200 } else { 401 }, "{path}");
        assert_eq!(
            home.raw("x-api-key: wrong\r\n", "GET", path, &Value::Null).status,
            if open { 200 } else { 401 }
        );
    }
    let wrong = home.raw("x-api-key: wrong\r\n", "GET", "/api/users/me", &Value::Null);
    let wrong: Value = serde_json::from_slice(&wrong.body).unwrap();
    assert_eq!(wrong, json!({"message": "Invalid API key", "error": "Unauthorized", "statusCode": 401}));
    let login = |email: &str, password: &str| {
        let reply = home.raw("", "POST", "/api/auth/login", &json!({"email": email, "password": password}));
        (reply.status, serde_json::from_slice::<Value>(&reply.body).unwrap())
    };
    let (status, session) = login("Anna@shoebox.local", &home.phone.password);
    assert_eq!((status, &session["isAdmin"]), (201, &json!(false)), "{session}");
    let bearer = format!("Authorization: Bearer {}\r\n", session["accessToken"].as_str().unwrap());
    let me = format!(
        "GET /api/users/me HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{bearer}\r\n",
        home.daemon.address
    );
    let me = Reply::parse(&wire::exchange(home.daemon.address, me.as_bytes()).unwrap()).unwrap();
    assert_eq!(me.status, 200, "{}", me.text);
    assert_eq!(login("ben@shoebox.local", &home.phone.password).0, 401);
    assert_eq!(login("anna@shoebox.local", "wrong").0, 401);
    let (status, unknown) = home.ask(&home.phone, "GET", "/api/people", &Value::Null);
    assert_eq!((status, &unknown["statusCode"]), (404, &json!(404)));
    // A token that was revoked is none.
    assert_eq!(home.daemon.run(&["device", "revoke", "anna", "phone"]).0, 0);
    assert_eq!(home.ask(&home.phone, "GET", "/api/users/me", &Value::Null).0, 401);
}

#[test]
fn a_full_quota_ends_the_apps_run_and_an_absent_drive_does_not() {
    let mut home = home();
    assert_eq!(home.daemon.run(&["person", "quota", "anna", "100KB"]).0, 0);
    let body = form(&[Part("assetData", Some("big.jpg"), &vec![7; 200_000])]);
    let (status, answer) = home.send(&home.phone, "", &body);
    assert_eq!((status, &answer["message"]), (400, &json!("Quota has been exceeded!")), "{answer}");
    // Before the body, where the client asks.
    let head = home.head(&home.phone, "Expect: 100-continue\r\n", 1 << 30);
    let answer = wire::exchange(home.daemon.address, head.as_bytes()).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(home.upload(&home.phone, "small.jpg", b"photo", &[]).0, 201);
    let (_, me) = home.ask(&home.phone, "GET", "/api/users/me", &Value::Null);
    assert_eq!((&me["quotaSizeInBytes"], &me["quotaUsageInBytes"]), (&json!(100_000), &json!(5)));
    // Another drive where the main one was: nothing is said of what is on it.
    let (mount, away) = (home.daemon.dir.join("a"), home.daemon.dir.join("away"));
    fs::rename(&mount, &away).unwrap();
    fs::create_dir(&mount).unwrap();
    let (status, _) = home.upload(&home.phone, "other.jpg", b"other", &[]);
    assert_eq!(status, 503);
    for path in ["/api/albums", "/api/users/me", "/api/assets/statistics"] {
        let reply = home.raw(&format!("x-api-key: {}\r\n", home.phone.password), "GET", path, &Value::Null);
        assert!(
            reply.status == 503 && reply.text.to_lowercase().contains("retry-after"),
            "{path}: {}",
            reply.text
        );
    }
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 0);
    fs::remove_dir(&mount).unwrap();
    fs::rename(&away, &mount).unwrap();
    let phone = home.phone.clone();
    let home = &mut home;
    let again = form(&[Part("assetData", Some("other.jpg"), b"other")]);
    let head = home.head(&phone, "", again.len());
    home.daemon.until("it takes uploads again", |daemon| {
        let bytes = [head.as_bytes(), &again].concat();
        let reply = wire::exchange(daemon.address, &bytes).ok().and_then(|answer| Reply::parse(&answer));
        reply.is_some_and(|reply| reply.status == 201)
    });
}

/// Whatever is wrong with a form: an answer of 4xx, nothing with a name, nothing left behind.
#[test]
fn a_form_that_is_wrong_leaves_nothing() {
    let home = home();
    let whole = form(&[
        Part("fileCreatedAt", None, b"2026-11-30T23:30:00Z"),
        Part("assetData", Some("a.jpg"), b"photo"),
    ]);
    let spoilt =
        |from: &str, to: &str| String::from_utf8(whole.clone()).unwrap().replace(from, to).into_bytes();
    let many: Vec<Part<'_>> = (0..70).map(|_| Part("x", None, b"y")).collect();
    let long = vec![b'x'; 5000];
    let large = vec![b'x'; 2 << 20];
    for (what, body) in [
        ("no file", form(&[Part("fileCreatedAt", None, b"2026-11-30T23:30:00Z")])),
        (
            "two files",
            form(&[Part("assetData", Some("a.jpg"), b"1"), Part("assetData", Some("b.jpg"), b"2")]),
        ),
        ("an empty file", form(&[Part("assetData", Some("a.jpg"), b"")])),
        ("litter", form(&[Part("assetData", Some("._a.jpg"), b"x")])),
        ("a temporary name", form(&[Part("assetData", Some("a.jpg.part"), b"x")])),
        (
            "a moving half under a temporary name",
            form(&[Part("livePhotoData", Some("a.mov.part"), b"x"), Part("assetData", Some("a.jpg"), b"x")]),
        ),
        ("too many parts", form(&many)),
        ("a long field", form(&[Part("assetData", Some("a.jpg"), b"x"), Part("filename", None, &long)])),
        (
            "much that means nothing",
            form(&[Part("assetData", Some("a.jpg"), b"x"), Part("other", None, &large)]),
        ),
        (
            "a field of bytes",
            form(&[Part("assetData", Some("a.jpg"), b"x"), Part("filename", None, b"\xff")]),
        ),
        (
            "a bad id",
            form(&[Part("assetData", Some("a.jpg"), b"x"), Part("livePhotoVideoId", None, b"../..")]),
        ),
        ("another boundary", spoilt(BOUNDARY, "----other")),
        ("no last boundary", spoilt(&format!("--{BOUNDARY}--"), "")),
        ("no name", spoilt("name=\"assetData\";", "")),
        ("encoded", spoilt("filename=\"a.jpg\"", "filename=\"a.jpg\"\r\nContent-Transfer-Encoding: base64")),
        ("nothing", Vec::new()),
    ] {
        let (status, answer) = home.send(&home.phone, "", &body);
        assert_eq!((status, answer["statusCode"].as_u64()), (400, Some(400)), "{what}: {answer}");
        assert_eq!(home.files(), BTreeSet::new(), "{what}");
    }
    for (what, header, expected) in [
        ("another checksum", format!("x-immich-checksum: {}\r\n", sha1(b"other")), 400),
        ("no checksum", "x-immich-checksum: abc\r\n".to_owned(), 400),
    ] {
        assert_eq!(home.send(&home.phone, &header, &whole).0, expected, "{what}");
    }
    let plain =
        home.raw(&format!("x-api-key: {}\r\n", home.phone.password), "POST", "/api/assets", &json!({}));
    assert_eq!(plain.status, 415);
    assert_eq!(home.files(), BTreeSet::new());
    assert!(home.is_swept());
}

/// Names that lead elsewhere are names of photos like any other.
#[test]
fn a_name_leads_nowhere_else() {
    let home = home();
    for name in ["../../../up.jpg", "/etc/up.jpg", "..\\..\\up.jpg", ".shoebox/up.jpg"] {
        let body = form(&[
            Part("assetData", Some("a.jpg"), name.as_bytes()),
            Part("filename", None, name.as_bytes()),
        ]);
        assert_eq!(home.send(&home.phone, "", &body).0, 201, "{name}");
    }
    assert!(
        home.files().iter().all(|path| path.starts_with("anna/20") && path.contains("/up")),
        "{:?}",
        home.files()
    );
    assert!(home.is_swept());
}

/// Cut anywhere, in any way: no file under a name, nothing left behind, and sent again it is there.
#[test]
fn a_form_that_is_cut_off_leaves_nothing() {
    let mut home = home();
    let mut luck = Luck::new(luck::seed("immich_cuts"));
    let photo = luck::bytes(luck.next(), 400_000);
    let body = form(&[
        Part("fileCreatedAt", None, b"2026-11-30T23:30:00Z"),
        Part("livePhotoData", Some("a.mov"), b"moves"),
        Part("assetData", Some("a.jpg"), &photo),
        Part("filename", None, b"b.jpg"),
    ]);
    let whole = [home.head(&home.phone, "", body.len()).as_bytes(), &body].concat();
    for _ in 0..60 {
        // Before the last boundary's dashes: what comes after them is no part of the form.
        let end = usize::try_from(luck.below(whole.len() as u64 - 4)).unwrap();
        let leaving = if luck.below(2) == 0 { Leaving::Fin } else { Leaving::Reset };
        drop(wire::cut(home.daemon.address, &whole[..end], leaving).unwrap());
    }
    let phone = home.phone.clone();
    let (dir, photos) = (home.daemon.dir.clone(), home.daemon.photos());
    home.daemon.until("nothing is left of what was cut off", |_| {
        fs::read_dir(dir.join("a/.shoebox/incoming")).is_ok_and(|mut all| all.next().is_none())
    });
    assert_eq!(home.files(), BTreeSet::new());
    assert_eq!(home.send(&phone, "", &body).0, 201);
    assert_eq!(fs::read(photos.join("anna/2026-11/b.jpg")).unwrap(), photo);
    assert_eq!(home.send(&phone, "", &body).0, 200);
    // Killed after the answer, it is there, and known by its SHA-1.
    home.daemon.kill();
    home.daemon.start();
    let asked = json!({"assets": [{"id": "a", "checksum": sha1(&photo)}]});
    let (_, answer) = home.ask(&phone, "POST", "/api/assets/bulk-upload-check", &asked);
    assert_eq!(answer["results"][0]["action"], "reject", "{answer}");
}

/// Many at once: every name is given once, and no photo is lost or doubled.
#[test]
fn many_at_once_of_one_name() {
    let home = home();
    std::thread::scope(|scope| {
        for n in 0..24u8 {
            let home = &home;
            // Each photo is sent twice, at once.
            scope.spawn(move || {
                let status = home.upload(&home.phone, "IMG_1.HEIC", &[n / 2 + 1; 1000], &[]).0;
                assert!(matches!(status, 200 | 201), "{status}");
            });
        }
    });
    let contents: Vec<Vec<u8>> = home.files().iter().map(|path| home.read(path)).collect();
    let different: BTreeSet<_> = contents.iter().collect();
    assert_eq!(different.len(), 12);
    let (_, statistics) = home.ask(&home.phone, "GET", "/api/assets/statistics", &Value::Null);
    assert_eq!(statistics["total"], 12);
}
