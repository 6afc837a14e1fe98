//! Recorded conversations, played to the real binary: what a client sends, and what it must be answered.
//!
//! A file has exchanges with empty lines between them; `#` begins a comment. An exchange asks: `> METHOD target`, then `> Header: value`, then `>> body`
//! or `>@ SEED TOTAL FROM TO` (that piece of pseudo-random bytes; without the last two, all). `> Basic: user password` signs in. It expects:
//! `< status`, then `< Header: value` or `<^ header: beginning`, then `<< body` (all of it), `<~ text` (somewhere in the body), `<! text` (nowhere in it);
//! and of drive A `= PATH SEED TOTAL` (those bytes) or `=! PATH` (nothing is there). `{name}` is what differs from run to run: the first time it is
//! noted, afterwards it must be the same; `{host}` is the box, and `MD5(text)` in a target that text's hash.
//!
//! Instead of an answer `!cut` resets the connection in the middle of the body. `>* Header: value`, by itself, goes with every request from there on,
//! but not its `Basic` with one that has `> anybody`. `!restart`, by itself, kills the daemon and starts it anew.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use md5::{Digest as _, Md5};

use super::daemon::{Account, Daemon};
use super::luck;
use super::wire::{self, Leaving, Reply};

/// What was noted.
pub(crate) type Noted = BTreeMap<String, String>;

/// Plays a conversation. What is noted beforehand may be used in it; what it notes comes back.
pub(crate) fn play(to: SocketAddr, text: &str, noted: Noted) -> Noted {
    Player { to, daemon: None, noted, always: Vec::new() }.play(text)
}

/// The same with one in which the daemon is started anew, or its drives are looked at.
pub(crate) fn play_on(daemon: &mut Daemon, text: &str, noted: Noted) -> Noted {
    Player { to: daemon.address, daemon: Some(daemon), noted, always: Vec::new() }.play(text)
}

struct Player<'d, 't> {
    to: SocketAddr,
    daemon: Option<&'d mut Daemon>,
    noted: Noted,
    /// Headers that go with every request.
    always: Vec<&'t str>,
}

impl<'t> Player<'_, 't> {
    fn play(mut self, text: &'t str) -> Noted {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let mut played = 0;
        for exchange in lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty()) {
            if exchange == ["!restart"] {
                self.restart();
            } else if let Some(more) =
                exchange.iter().map(|line| line.strip_prefix(">* ")).collect::<Option<Vec<_>>>()
            {
                self.always.extend(more);
            } else {
                self.exchange(exchange);
                played += 1;
            }
        }
        assert!(played > 0, "a conversation of nothing");
        self.noted
    }

    fn restart(&mut self) {
        let daemon = self.daemon.as_mut().unwrap();
        daemon.kill();
        daemon.start();
        self.to = daemon.address;
    }

    fn exchange(&mut self, lines: &[&'t str]) {
        self.noted.insert("host".to_owned(), self.to.to_string());
        for line in lines {
            let known = ["> ", ">>", ">@ ", "< ", "<^ ", "<<", "<~ ", "<! ", "= ", "=! ", "!cut"];
            assert!(known.iter().any(|beginning| line.starts_with(beginning)), "what is {line}?");
        }
        let (first, head, body) = self.request(lines);
        if lines.contains(&"!cut") {
            let sent = [head.as_bytes(), &body[..body.len() / 2]].concat();
            assert!(wire::cut(self.to, &sent, Leaving::Reset).unwrap().is_none(), "{first}");
        } else {
            let answer = wire::exchange(self.to, &[head.as_bytes(), &body].concat()).unwrap();
            let answer = Reply::parse(&answer).unwrap_or_else(|| panic!("{first}: no answer"));
            check(&first, &answer, lines, &mut self.noted);
        }
        for line in lines {
            if let Some((path, spec)) = line.strip_prefix("= ").and_then(|rest| rest.split_once(' ')) {
                let found = std::fs::read(self.on_a(path)).unwrap_or_default();
                assert!(found == bytes(spec), "{first}: {path} has other bytes");
            } else if let Some(path) = line.strip_prefix("=! ") {
                assert!(!self.on_a(path).exists(), "{first}: {path} is there");
            }
        }
    }

    fn on_a(&self, path: &str) -> PathBuf {
        self.daemon.as_ref().unwrap().photos().join(path)
    }

    /// The request's first line, its whole head, and its body.
    fn request(&self, lines: &[&str]) -> (String, String, Vec<u8>) {
        let mut heads = lines.iter().filter_map(|line| line.strip_prefix("> "));
        let first = hashed(&fill(heads.next().unwrap(), &self.noted));
        let mut head = format!("{first} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.to);
        let is_anybody = lines.contains(&"> anybody");
        let always = self.always.iter().copied().filter(|line| !(is_anybody && line.starts_with("Basic: ")));
        for line in always.chain(heads.filter(|line| *line != "anybody")) {
            let line = fill(line, &self.noted);
            match line.strip_prefix("Basic: ").and_then(|pair| pair.split_once(' ')) {
                Some((user, password)) => {
                    let who = Account { user: user.to_owned(), password: password.to_owned() };
                    head.push_str(&format!("Authorization: {}\r\n", who.basic()));
                }
                None => head.push_str(&format!("{line}\r\n")),
            }
        }
        let text = lines.iter().find_map(|line| line.strip_prefix(">>"));
        let text = text.map(|text| fill(text.trim_start(), &self.noted).into_bytes());
        let body = text.or_else(|| lines.iter().find_map(|line| line.strip_prefix(">@ ")).map(bytes));
        if let Some(body) = &body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        (first, head + "\r\n", body.unwrap_or_default())
    }
}

/// `MD5(…)` stands for the hash of what is in it.
fn hashed(line: &str) -> String {
    let Some((before, rest)) = line.split_once("MD5(") else { return line.to_owned() };
    let (inner, after) = rest.split_once(')').unwrap();
    let hash: String = Md5::digest(inner).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{before}{hash}{after}")
}

/// `SEED TOTAL`, and `FROM TO` if not all of it.
fn bytes(spec: &str) -> Vec<u8> {
    let numbers: Vec<u64> = spec.split(' ').map(|number| number.parse().unwrap()).collect();
    let all = luck::bytes(numbers[0], numbers[1] as usize);
    match numbers.get(2..4) {
        Some(&[from, to]) => all[from as usize..to as usize].to_vec(),
        _ => all,
    }
}

fn check(first: &str, answer: &Reply, lines: &[&str], noted: &mut Noted) {
    let mut heads = lines.iter().filter_map(|line| line.strip_prefix("< "));
    assert_eq!(answer.status.to_string(), heads.next().unwrap(), "{first}: {}", answer.text);
    let head = answer.text.split("\r\n\r\n").next().unwrap();
    for expected in heads {
        let (name, value) = expected.split_once(": ").unwrap();
        let of_it = |line: &&str| line.split_once(": ").is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        let line = head.lines().find(of_it).unwrap_or_else(|| panic!("{first}: no {name}: {}", answer.text));
        let found = fits(value, line.split_once(": ").unwrap().1, noted, true);
        assert!(found, "{first}: {line}, expected {expected}");
    }
    let body = String::from_utf8_lossy(&answer.body);
    for line in lines {
        if let Some(expected) = line.strip_prefix("<<") {
            assert!(fits(expected.trim_start(), &body, noted, true), "{first}: {body}\nexpected {expected}");
        } else if let Some(expected) = line.strip_prefix("<~ ") {
            assert!(fits(expected, &body, noted, false), "{first}: {body}\nexpected {expected}");
        } else if let Some(unwanted) = line.strip_prefix("<! ") {
            assert!(!body.contains(unwanted), "{first}: {unwanted} in {body}");
        } else if let Some(begins) = line.strip_prefix("<^ ") {
            let head = head.to_ascii_lowercase();
            assert!(head.contains(&format!("\r\n{begins}")), "{first}: no {begins} in {head}");
        }
    }
}

fn fill(text: &str, noted: &Noted) -> String {
    let value = |name: &str| {
        let known =
            noted.get(name).unwrap_or_else(|| panic!("what stands for {name} in {text} is not known yet"));
        known.as_str()
    };
    pieces(text).into_iter().map(|piece| piece.unwrap_or_else(value)).collect()
}

/// Whether a pattern is all of a text, or somewhere in it. Notes what it stands for.
fn fits(pattern: &str, text: &str, noted: &mut Noted, all: bool) -> bool {
    let pieces = pieces(pattern);
    let starts: Vec<usize> =
        if all { vec![0] } else { text.char_indices().map(|(at, _)| at).chain([text.len()]).collect() };
    for start in starts {
        let mut new = Noted::new();
        if let Some(rest) = fits_here(&pieces, &text[start..], noted, &mut new)
            && (!all || rest.is_empty())
        {
            noted.append(&mut new);
            return true;
        }
    }
    false
}

/// Text as it is, and names of what differs. A brace that encloses no plain name is text.
fn pieces(pattern: &str) -> Vec<Result<&str, &str>> {
    let mut pieces = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(open) = pattern[at..].find('{').map(|n| n + at) {
        let name = pattern[open + 1..].split('}').next().unwrap();
        if !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric())
            && pattern[open + 1 + name.len()..].starts_with('}')
        {
            pieces.extend([Ok(&pattern[from..open]), Err(name)]);
            from = open + name.len() + 2;
            at = from;
        } else {
            at = open + 1;
        }
    }
    pieces.push(Ok(&pattern[from..]));
    pieces
}

fn fits_here<'t>(
    pieces: &[Result<&str, &str>],
    mut text: &'t str,
    noted: &Noted,
    new: &mut Noted,
) -> Option<&'t str> {
    for piece in pieces {
        match piece {
            Ok(plain) => text = text.strip_prefix(plain)?,
            Err(name) => {
                if let Some(known) = noted.get(*name).or_else(|| new.get(*name)) {
                    text = text.strip_prefix(known.as_str())?;
                    continue;
                }
                let value: String =
                    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
                if value.is_empty() {
                    return None;
                }
                text = &text[value.len()..];
                new.insert((*name).to_owned(), value);
            }
        }
    }
    Some(text)
}

#[test]
fn a_conversation_that_went_otherwise_is_noticed() {
    let mut noted = Noted::new();
    let known = Noted::from([("x".to_owned(), "1".to_owned())]);
    assert_eq!(fill("{\"a\":{x}, \"b\":{}}", &known), "{\"a\":1, \"b\":{}}");
    assert!(fits("{\"a\":\"{x}\"}", "{\"a\":\"1-b\"}", &mut noted, true));
    assert_eq!(noted["x"], "1-b");
    assert!(!fits("{x}", "1-c", &mut noted, true), "noted otherwise");
    assert!(fits("b{x}c", "aab1-bcc", &mut noted, false));
    for (pattern, text) in [("", "x"), ("a", "ab"), ("{y}", ""), ("a{y}", "b1")] {
        assert!(!fits(pattern, text, &mut noted, true), "{pattern} {text}");
    }
}
