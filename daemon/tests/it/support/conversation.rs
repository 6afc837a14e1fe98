//! Recorded conversations, played to the real binary: what a client sends, and what it must be answered.
//!
//! A file has exchanges with empty lines between them. `> METHOD target`, then `> Header: value`, then `>> body`; `< status`, then `< Header: value`,
//! then `<< body` (all of it) or `<~ text` (somewhere in the body). `{name}` is what differs from run to run: the first time it is noted, afterwards
//! it must be the same. `> Basic: user password` signs in. `#` begins a comment.
use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::daemon::Account;
use super::wire::{self, Reply};

/// What was noted.
pub(crate) type Noted = BTreeMap<String, String>;

/// Plays a conversation. What is noted beforehand may be used in it; what it notes comes back.
pub(crate) fn play(to: SocketAddr, text: &str, mut noted: Noted) -> Noted {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let mut played = 0;
    for exchange in lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty()) {
        play_one(to, exchange, &mut noted);
        played += 1;
    }
    assert!(played > 0, "a conversation of nothing");
    noted
}

fn play_one(to: SocketAddr, lines: &[&str], noted: &mut Noted) {
    let sent = |line: &str, noted: &Noted| fill(line, noted);
    let mut heads = lines.iter().filter_map(|line| line.strip_prefix("> "));
    let first = sent(heads.next().unwrap(), noted);
    let mut request = format!("{first} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for head in heads {
        let head = sent(head, noted);
        match head.strip_prefix("Basic: ").and_then(|pair| pair.split_once(' ')) {
            Some((user, password)) => {
                let who = Account { user: user.to_owned(), password: password.to_owned() };
                request.push_str(&format!("Authorization: {}\r\n", who.basic()));
            }
            None => request.push_str(&format!("{head}\r\n")),
        }
    }
    let body =
        lines.iter().find_map(|line| line.strip_prefix(">>")).map(|body| sent(body.trim_start(), noted));
    if let Some(body) = &body {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str(&format!("\r\n{}", body.unwrap_or_default()));
    let answer = Reply::parse(&wire::exchange(to, request.as_bytes()).unwrap()).unwrap();
    check(&first, &answer, lines, noted);
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
