//! Conversations of Immich's clients, answer by answer, against the real binary.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::immich::{Home, Part, form, home_with};

/// A conversation of a client: `@NAME` in an expected answer is an id to remember, `@@NAME` any text, `=NAME` that again, `<kind>` any of the kind.
struct Replay {
    known: BTreeMap<String, String>,
}

impl Replay {
    /// A text with the ids it names filled in.
    fn filled(&self, text: &str) -> String {
        self.known.iter().fold(text.to_owned(), |text, (name, id)| text.replace(&format!("={name}"), id))
    }

    /// Whether an answer has all that is expected of it.
    fn check(&mut self, at: &str, expected: &Value, got: &Value) {
        match expected {
            Value::Object(fields) => {
                for (key, expected) in fields {
                    self.check(&format!("{at}.{key}"), expected, got.get(key).unwrap_or(&json!("(missing)")));
                }
            }
            Value::Array(items) => {
                assert_eq!(got.as_array().map(Vec::len), Some(items.len()), "{at}: {got}");
                for (n, expected) in items.iter().enumerate() {
                    self.check(&format!("{at}[{n}]"), expected, &got[n]);
                }
            }
            Value::String(text) => match text.as_str() {
                "<any>" => {}
                "<text>" => assert!(got.is_string(), "{at}: {got}"),
                "<number>" => assert!(got.is_u64(), "{at}: {got}"),
                "<list>" => assert!(got.as_array().is_some_and(|list| !list.is_empty()), "{at}: {got}"),
                "<uuid>" => assert_eq!(got.as_str().map(str::len), Some(36), "{at}: {got}"),
                _ => match text.strip_prefix('@') {
                    Some(name) if name.starts_with('@') => {
                        let text = got.as_str().unwrap_or_else(|| panic!("{at}: no text: {got}"));
                        self.known.insert(name[1..].to_owned(), text.to_owned());
                    }
                    Some(name) => {
                        let id = got.as_str().filter(|id| id.len() == 36);
                        let id = id.unwrap_or_else(|| panic!("{at}: no id: {got}"));
                        self.known.insert(name.to_owned(), id.to_owned());
                    }
                    None => assert_eq!(*got, json!(self.filled(text)), "{at}"),
                },
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => assert_eq!(got, expected, "{at}"),
        }
    }
}

impl Replay {
    /// Plays a conversation to the end. A step is a question with its answer, as JSON (`answer`) or as lines of it (`lines`); `wait` names a
    /// photo whose metadata has to be read first; `computer` asks with the laptop's token.
    fn play(home: &Home, text: &str) {
        let script: Value = serde_json::from_str(text).unwrap();
        let mut replay = Self { known: BTreeMap::new() };
        for account in [("phone_password", &home.phone), ("laptop_password", &home.laptop)] {
            replay.known.insert(account.0.to_owned(), account.1.password.clone());
        }
        for (n, step) in script["steps"].as_array().unwrap().iter().enumerate() {
            if let Some(id) = step["wait"].as_str() {
                replay.until_read(home, id);
                continue;
            }
            replay.step(home, n, step, script["by"] == "phone");
        }
    }

    /// Until what a photo says of itself is known: it is told then, once more.
    fn until_read(&self, home: &Home, id: &str) {
        let path = self.filled(&format!("/api/assets/{id}"));
        let began = Instant::now();
        while home.ask(&home.phone, "GET", &path, &Value::Null).1["hasMetadata"] != true {
            assert!(began.elapsed() < Duration::from_secs(60), "{path} is never read");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn step(&mut self, home: &Home, n: usize, step: &Value, is_phone: bool) {
        let ask = self.filled(step["ask"].as_str().unwrap());
        let (method, path) = ask.split_once(' ').unwrap();
        let who = if is_phone && step["computer"] != true { &home.phone } else { &home.laptop };
        let (status, text) = if let Some(sent) = step.get("form") {
            let (before, after) = (self.fields(&sent["before"]), self.fields(&sent["after"]));
            let (name, text) = (sent["file"]["name"].as_str(), sent["file"]["text"].as_str().unwrap());
            let mut parts: Vec<Part<'_>> = before.iter().map(|(k, v)| Part(k, None, v.as_bytes())).collect();
            parts.push(Part("assetData", name, text.as_bytes()));
            parts.extend(after.iter().map(|(k, v)| Part(k, None, v.as_bytes())));
            let (status, answer) = home.send(who, "", &form(&parts));
            (status, answer.to_string())
        } else {
            let body = step
                .get("body")
                .map_or(Value::Null, |body| serde_json::from_str(&self.filled(&body.to_string())).unwrap());
            let reply = home.raw(&self.signed(who, step), method, path, &body);
            (reply.status, String::from_utf8(reply.unchunked().unwrap()).unwrap())
        };
        let at = format!("{n}: {ask}");
        assert_eq!(json!(status), step["status"], "{at}: {text}");
        if let Some(lines) = step.get("lines") {
            let mut got: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let mut lines: Vec<Value> = serde_json::from_str(&self.filled(&lines.to_string())).unwrap();
            if step["sorted"] == true {
                let types: Vec<Value> = lines.iter().map(|line| line["type"].clone()).collect();
                got.sort_by_key(|line| by_type_and_id(&types, line));
                lines.sort_by_key(|line| by_type_and_id(&types, line));
            }
            self.check(&format!("{at}: lines"), &Value::Array(lines), &Value::Array(got));
        } else if let Some(answer) = step.get("answer") {
            let got = serde_json::from_str(&text).unwrap_or(Value::Null);
            self.check(&format!("{at}: answer"), answer, &got);
        }
    }

    /// How a request signs in: as an API key, or in a cookie, as the app does.
    fn signed(&self, who: &crate::support::daemon::Account, step: &Value) -> String {
        match step["cookie"].as_str() {
            Some(token) => format!(
                "Cookie: immich_is_authenticated=true; immich_access_token={}\r\n",
                self.filled(token)
            ),
            None if step["anybody"] == true => String::new(),
            None => format!("x-api-key: {}\r\n", who.password),
        }
    }

    fn fields(&self, of: &Value) -> Vec<(String, String)> {
        let pair = |(name, value): (&String, &Value)| (name.clone(), self.filled(value.as_str().unwrap()));
        of.as_object().unwrap().iter().map(pair).collect()
    }
}

/// Lines of one type may come in any order.
fn by_type_and_id(types: &[Value], line: &Value) -> (usize, String) {
    let at = types.iter().position(|one| *one == line["type"]).unwrap_or(usize::MAX);
    let ids = ["id", "assetId"].map(|key| line["data"][key].to_string());
    (at, ids.concat())
}

#[test]
fn immich_go_is_answered_as_it_expects() {
    let home = home_with("");
    Replay::play(&home, include_str!("../fixtures/immich/immich-go.json"));
    let files = ["2026-11/IMG_1.HEIC", "2026-11/VID_1.mp4", "Holiday/IMG_1.HEIC", "Holiday/VID_1.mp4"];
    assert_eq!(home.files(), files.map(|file| format!("anna/{file}")).into());
}

/// Login, the first backup, a second run that sends nothing, a new photo and a deletion, in the app's order.
#[test]
fn the_phone_app_is_answered_as_it_expects() {
    let home = home_with("[immich]\nphone_app = \"experimental\"\n");
    Replay::play(&home, include_str!("../fixtures/immich/phone-app.json"));
    let files = ["2026-11/IMG_1.HEIC", "2026-11/IMG_1.MOV", "2026-11/IMG_3.JPG", "Holiday/IMG_1.HEIC"];
    assert_eq!(home.files(), files.map(|file| format!("anna/{file}")).into());
}
