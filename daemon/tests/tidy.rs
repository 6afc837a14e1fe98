//! The house rules that no compiler checks: floors, sizes, names, first lines, and documents that name every file.
//!
//! Each rule is a function from files to complaints; the tests below run all of them over this repository, and each
//! rule over a small case that it must complain about, so that a rule that checks nothing is noticed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "panicking is how a test reports")]
use std::fs;
use std::path::{Path, PathBuf};

/// Which floors a part of the house may import. The longest prefix that fits a file decides.
const EDGES: &[(&str, &[&str])] = &[
    ("model/", &["model"]),
    ("plan/", &["plan", "model"]),
    ("store/", &["store", "model"]),
    ("os/", &["os", "model"]),
    ("work/", &["work", "model", "plan", "store", "os"]),
    ("face/", &["face", "model", "work"]),
    ("face/cli/", &["face", "model", "work", "app", "settings", "logging"]),
    // A client of a box elsewhere: what both ends decide alike (names held back, halves of a pair, pauses) is decided once.
    ("face/cli/push/", &["face", "model", "plan", "settings"]),
    ("settings.rs", &["model", "settings"]),
    ("settings/", &["model", "settings"]),
    ("logging.rs", &[]),
    ("fuzzing.rs", &["face", "model", "work"]),
    ("app.rs", &["face", "model", "plan", "store", "os", "work", "settings", "logging"]),
    ("lib.rs", &[]),
    ("main.rs", &["face", "app", "settings", "logging"]),
];

/// Single paths that a floor may name beyond [`EDGES`], with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("face/", "crate::store::volume::ReadAt", "bodies of downloads: reading at an offset, and nothing else"),
    ("face/", "crate::store::volume::VolumeError", "what such a read answers when it fails"),
    ("face/", "crate::plan::rights", "what a device may do is said before its request is read"),
    ("face/", "crate::os::clock", "dates in replies, timers of connections"),
];

/// Text that may not occur in the code (not the tests) of a part of the house, with the reason.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("", "tokio::fs", "it reports success for bytes that are lost"),
    ("model/", "std::fs", "the pure floors do no I/O"),
    ("model/", "std::env", "settings are parsed once, in settings.rs"),
    ("model/", "std::thread", "decisions run on their caller's thread"),
    ("model/", "log::", "the pure floors tell nobody"),
    ("plan/", "std::fs", "the pure floors do no I/O"),
    ("plan/", "std::env", "settings are parsed once, in settings.rs"),
    ("plan/", "std::thread", "decisions run on their caller's thread"),
    ("plan/", "log::", "the pure floors tell nobody"),
    ("store/", "tokio", "async ends at the face"),
    ("store/", "hyper", "async ends at the face"),
    ("os/", "tokio", "async ends at the face"),
    ("os/", "hyper", "async ends at the face"),
    ("os/", "rusqlite", "the catalogue is the store's"),
    ("work/", "tokio", "async ends at the face"),
    ("work/", "hyper", "async ends at the face"),
    ("work/", "rusqlite", "the catalogue is the store's"),
    ("work/", "std::fs", "drives are reached through Volume only (invariant I7)"),
    ("face/http/", "std::fs", "drives are reached through Volume only (invariant I7)"),
    ("face/http/", "rusqlite", "the catalogue is the store's"),
];

/// Calls that only one file may make.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("Timestamp::now(", &["os/clock.rs"], "time is an argument; os::clock is the only reader of the clock"),
    ("SystemTime::now(", &["os/clock.rs"], "time is an argument; os::clock is the only reader of the clock"),
    ("Zoned::now(", &["os/clock.rs"], "time is an argument; os::clock is the only reader of the clock"),
    (
        "Instant::now(",
        &["os/clock.rs", "face/http/wire.rs"],
        "os::clock::monotonic; the wire has tokio's timers",
    ),
    ("unsafe ", &["store/syscall.rs"], "one file holds the calls that no crate wraps"),
    ("unsafe_code", &["store/syscall.rs"], "one file holds the calls that no crate wraps"),
];

const MOST_LINES: usize = 600;
const VAGUE_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "misc", "common", "manager", "managers"];

/// A file: its path below the directory looked at, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines that are compiled into the product, numbered: no comments, nothing from the first test module on.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.path.ends_with("tests.rs");
        self.text
            .lines()
            .enumerate()
            .take_while(move |(_, line)| !tests && !line.trim_start().starts_with("#[cfg(test)]"))
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or(line)))
    }

    /// The value of the longest prefix in a table that fits this file.
    fn part<'t, T>(&self, table: &'t [(&str, T)]) -> Option<&'t T> {
        table
            .iter()
            .filter(|(prefix, _)| self.path.starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, value)| value)
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below `dir` whose names end so, in a fixed order.
fn files(dir: &Path, ends: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    open.push(path);
                }
            } else if ends.iter().any(|end| name.ends_with(end)) {
                let below = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                found.push(Source { path: below, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "nothing to check below {}", dir.display());
    found
}

fn floors(all: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in all {
        let Some(allowed) = source.part(EDGES) else {
            complaints.push(format!("{}: belongs to no floor; put it into EDGES", source.path));
            continue;
        };
        for (number, line) in source.code() {
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at..];
                let floor: String = rest["crate::".len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let excepted = EXCEPTIONS
                    .iter()
                    .any(|(part, path, _)| source.path.starts_with(part) && rest.starts_with(path));
                if floor.is_empty() {
                    complaints
                        .push(format!("{}:{number}: one import per floor, not crate::{{…}}", source.path));
                } else if !allowed.contains(&floor.as_str()) && !excepted {
                    complaints.push(format!("{}:{number}: may not import crate::{floor}", source.path));
                }
            }
        }
    }
    complaints
}

fn forbidden(all: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in all {
        for (number, line) in source.code() {
            for (part, text, why) in FORBIDDEN {
                if source.path.starts_with(part) && mentions(line, text) {
                    complaints.push(format!("{}:{number}: {text}: {why}", source.path));
                }
            }
            for (text, allowed, why) in ONLY_IN {
                if line.contains(text) && !allowed.contains(&source.path.as_str()) {
                    complaints.push(format!(
                        "{}:{number}: {}: {why}",
                        source.path,
                        text.trim_end_matches(['(', ' '])
                    ));
                }
            }
        }
    }
    complaints
}

/// `text` as a whole word: `log::` is not in `catalog::`.
fn mentions(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && !line[at + text.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            || text.ends_with(':') && !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

fn sizes_and_first_lines(all: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in all {
        let lines = source.text.lines().count();
        if lines > MOST_LINES {
            complaints.push(format!("{}: {lines} lines, at most {MOST_LINES}", source.path));
        }
        let first = source.text.lines().next().unwrap_or_default();
        if first.strip_prefix("//! ").is_none_or(|said| said.len() <= 10) {
            complaints
                .push(format!("{}: the first line does not say what the file is for (//! …)", source.path));
        }
    }
    complaints
}

fn names(all: &[Source]) -> Vec<String> {
    let vague = |path: &str| path.split(['/', '.', '_']).any(|word| VAGUE_NAMES.contains(&word));
    all.iter().filter(|s| vague(&s.path)).map(|s| format!("{}: a name that says nothing", s.path)).collect()
}

/// Files that a person runs or installs say in their first comment what they are for.
fn comments_first(all: &[Source]) -> Vec<String> {
    let says = |source: &Source| {
        source
            .text
            .lines()
            .find(|line| !line.starts_with("#!"))
            .and_then(|line| line.strip_prefix(if source.path.ends_with(".js") { "// " } else { "# " }))
            .is_some_and(|said| said.len() > 10)
    };
    all.iter()
        .filter(|source| !says(source))
        .map(|source| format!("{}: the first line does not say what the file is for (# …)", source.path))
        .collect()
}

/// The floors as the map shows them, and what stands over each.
const MAP: &[(&str, &str)] = &[
    ("model/", "Floor 0: nouns and their laws"),
    ("plan/", "Floor 1: decisions"),
    ("store/", "Floor 2: durable things"),
    ("os/", "Floor 2: Linux"),
    ("work/", "Floor 3: doing"),
    ("face/", "Floor 4: who talks to us"),
    ("", "The whole"),
];
const MAP_BEGINS: &str = "<!-- The map is written by: UPDATE_MAP=1 cargo test --test tidy -->\n";
const MAP_ENDS: &str = "<!-- End of the map. -->\n";

/// One table per floor, each file with the first sentence of its own documentation.
fn map(all: &[Source]) -> String {
    let mut text = String::new();
    for (floor, title) in MAP {
        text.push_str(&format!("\n## {title}\n\n| file | what it is for |\n|---|---|\n"));
        // What is on no floor stands under the empty prefix, the last one: every file is in one table.
        let own = |path: &str| MAP.iter().map(|(prefix, _)| *prefix).find(|prefix| path.starts_with(prefix));
        for source in all.iter().filter(|source| own(&source.path) == Some(floor)) {
            text.push_str(&format!("| `{}` | {} |\n", source.path, first_sentence(&source.text)));
        }
    }
    text + "\n"
}

fn first_sentence(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
    let paragraph =
        lines.collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`").replace('|', "\\|");
    let end = paragraph
        .match_indices(". ")
        .map(|(at, _)| at)
        .find(|at| paragraph[at + 2..].starts_with(|c: char| c.is_uppercase() || c == '`'));
    end.map_or(&*paragraph, |at| &paragraph[..at]).trim_end_matches(['.', ':']).to_owned()
}

/// The document with the map in it replaced.
fn with_map(document: &str, map: &str) -> Option<String> {
    let (before, rest) = document.split_once(MAP_BEGINS)?;
    let (_, after) = rest.split_once(MAP_ENDS)?;
    Some(format!("{before}{MAP_BEGINS}{map}{MAP_ENDS}{after}"))
}

fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn source(path: &str, text: &str) -> Vec<Source> {
    vec![Source { path: path.to_owned(), text: text.to_owned() }]
}

fn daemon() -> Vec<Source> {
    files(&repository().join("daemon/src"), &[".rs"])
}

/// All other code of ours: the tests, and what root runs.
fn beside_the_daemon() -> Vec<Source> {
    let folders =
        ["daemon/tests", "daemon/shoebox-card/src", "daemon/shoebox-drive/src", "daemon/shoebox-drive/tests"];
    folders.into_iter().flat_map(|folder| files(&repository().join(folder), &[".rs"])).collect()
}

#[test]
fn each_floor_imports_only_what_it_may() {
    report(&floors(&daemon()));
    for (path, text) in [
        ("model/a.rs", "use crate::plan::verdict;"),
        ("store/a.rs", "let x = crate::os::clock::now();"),
        ("face/http/a.rs", "use crate::store::volume::Volume;"),
        ("face/http/a.rs", "use crate::{model, store};"),
        ("elsewhere/a.rs", ""),
    ] {
        assert_eq!(floors(&source(path, text)).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("face/http/a.rs", "use crate::store::volume::ReadAt;"),
        ("work/a.rs", "use crate::os::clock; // crate::face"),
        ("model/a.rs", "x();\n#[cfg(test)]\nuse crate::os;"),
    ] {
        assert_eq!(floors(&source(path, text)), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn what_is_forbidden_somewhere_is_not_there() {
    report(&forbidden(&daemon()));
    for (path, text) in [
        ("face/http/a.rs", "tokio::fs::write(x)"),
        ("work/a.rs", "use std::fs;"),
        ("plan/a.rs", "log::warn!(\"x\")"),
        ("work/a.rs", "let now = jiff::Timestamp::now();"),
        ("os/a.rs", "unsafe { x() }"),
        ("store/a.rs", "#![expect(unsafe_code)]"),
    ] {
        assert_eq!(forbidden(&source(path, text)).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("os/clock.rs", "Timestamp::now()"),
        ("plan/a.rs", "catalog::x()"),
        ("store/syscall.rs", "unsafe { x() }"),
    ] {
        assert_eq!(forbidden(&source(path, text)), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn files_are_small_and_say_what_they_are_for() {
    let mut all = daemon();
    all.extend(beside_the_daemon());
    report(&sizes_and_first_lines(&all));
    assert_eq!(sizes_and_first_lines(&source("a.rs", "use x;\n")).len(), 1);
    let long = "//! Says what it is for.\n".repeat(MOST_LINES + 1);
    assert_eq!(sizes_and_first_lines(&source("a.rs", &long)).len(), 1);
}

#[test]
fn names_come_from_the_field() {
    let mut all = daemon();
    all.extend(beside_the_daemon());
    report(&names(&all));
    assert_eq!(names(&source("os/misc.rs", "")).len() + names(&source("utils/a.rs", "")).len(), 2);
    assert!(names(&source("store/catalogue/mod.rs", "")).is_empty());
}

#[test]
fn what_people_run_and_install_says_what_it_is_for() {
    let mut all = Vec::new();
    for dir in ["scripts", "systemd", "udev"] {
        all.extend(files(&repository().join(dir), &[""]));
    }
    all.extend(files(&repository().join("image-build"), &[".sh", ".toml", ".sfdisk", ".conf"]));
    all.extend(files(&repository().join("daemon/debian"), &["inst", "rm"]));
    report(&comments_first(&all));
    assert_eq!(comments_first(&source("scripts/x", "#!/bin/sh\necho\n")).len(), 1);
}

#[test]
fn the_map_names_every_file() {
    let path = repository().join("docs/MAP.md");
    let document =
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}: the map is missing", path.display()));
    let wanted = with_map(&document, &map(&daemon())).expect("docs/MAP.md has the two lines around the map");
    for floor in wanted.split("\n## ") {
        assert!(
            floor.lines().count() <= 180,
            "a floor of more than 180 files is not read: move one out (decision 0003): {}",
            floor.lines().next().unwrap_or_default()
        );
    }
    if std::env::var_os("UPDATE_MAP").is_some() {
        fs::write(&path, &wanted).unwrap();
    } else {
        let old: Vec<&str> = document.lines().collect();
        let stale: Vec<&str> = wanted.lines().filter(|line| !old.contains(line)).collect();
        assert!(
            wanted == document,
            "run UPDATE_MAP=1 cargo test --test tidy; new or changed:\n{}",
            stale.join("\n")
        );
    }
}

#[test]
fn the_house_is_explained_on_one_page() {
    let page = fs::read_to_string(repository().join("docs/ARCHITECTURE.md")).unwrap();
    assert!(page.contains("](MAP.md)") && page.lines().count() <= 250);
}

#[test]
fn the_map_is_made_of_first_sentences() {
    let case = source("os/x.rs", "//! `X`: what [`Y`] of e.g. a|b\n//! is. More.\n//!\n//! Else.\nuse x;");
    assert!(map(&case).contains("## Floor 2: Linux\n\n| file | what it is for |\n|---|---|\n| `os/x.rs` | `X`: what `Y` of e.g. a\\|b is |\n"));
    assert_eq!(
        with_map(&format!("a\n{MAP_BEGINS}old\n{MAP_ENDS}b\n"), "new\n").unwrap(),
        format!("a\n{MAP_BEGINS}new\n{MAP_ENDS}b\n")
    );
    assert_eq!(with_map("no marks", ""), None);
}
