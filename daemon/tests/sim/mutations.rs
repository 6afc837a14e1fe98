//! The mutation test of the code: each single call that asks for a flush, left out by itself, must be missed by a history.
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::calls::{self, Call};
use crate::cases::CASES;
use crate::life::live;

/// Seeds whose lives are looked through for calls.
const SEEDS: u64 = 60;

/// Seeds that are asked before the cases. Most calls are missed at once, whoever lives.
const FIRST: usize = 6;

/// Calls of a drive's that make something durable, and the system calls under them.
const FLUSHES: [&str; 8] = [
    ".order_dir(",
    ".sync_dir(",
    ".sync_file(",
    ".sync(",
    ".append(",
    ".write_small(",
    ".sync_all(",
    ".sync_data(",
];

/// Files in which a flush is no decision of the code's: the real drives, and the tests that all drives pass. The catalogue's
/// file, its seal and its snapshots, which in the simulation are no files: they are derived, and proved before they are used
/// (`it/store/lost_catalogues.rs`). And what writes to folders that are no drives of the pool.
const BELOW: [&str; 8] = [
    "store/contract",
    "store/disk.rs",
    "store/folder.rs",
    "store/marker.rs",
    "store/medium.rs",
    "store/staging.rs",
    "work/opening.rs",
    "work/snapshots.rs",
];

/// Calls that look like flushes of a drive and are none, with the reason. File, part of the line.
const OTHERS: [(&str, &str, &str); 12] = [
    (
        "work/commit.rs",
        "self.manifest.append(",
        "the manifest's own append to the drive is a call of its own",
    ),
    ("work/record.rs", "manifest.append(", "the same"),
    ("work/promote.rs", "manifest.append(", "the same"),
    ("work/body.rs", "self.append(", "bytes of a body, which its own flush makes durable"),
    ("work/parts/taking.rs", "body.append(", "the same"),
    ("work/ingest.rs", "body.sync(", "the body's flush of its file is a call of its own"),
    ("work/parts/taking.rs", "body.sync(", "the same"),
    (
        "work/certificates/keeping.rs",
        "staged.sync(None)?.publish(&place)",
        "keys, which are no photos: one that a drive lost is brought from the other (`it::tls`); nothing cuts the power here",
    ),
    ("work/certificates/keeping.rs", "sync_dir(&Place::own())", "the same"),
    (
        "work/certificates/keeping.rs",
        "write_small(&Place::certificate()",
        "made anew from the authority when it is lost",
    ),
    (
        "face/cli/push/stored.rs",
        "file.sync_all()",
        "what `shoebox push` knows of its box, on the computer that it runs on",
    ),
    ("face/cli/demo/folder.rs", "file.sync_all()", "the demo's password, on no drive of the pool"),
];

/// Flushes that nobody needs, with the reason. File, part of the line.
const NEEDLESS: [(&str, &str, &str); 3] = [
    (
        "work/ballast.rs",
        "write_small(&Place::ballast()",
        "room set aside; lost, it is set aside at the next opening",
    ),
    (
        "work/promote.rs",
        "write_small(&Place::marker_copy()",
        "read where the marker cannot be, which no power cut brings about; compared with it at every probe",
    ),
    ("work/probe.rs", "write_small(&Place::probe()", "written to be read back, not to be kept"),
];

/// Lines of the code with a flush in them, by file and number.
type Lines = BTreeMap<(String, u32), String>;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// All lines of the product that look like a flush.
fn written() -> Lines {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut lines = Lines::new();
    for path in files {
        let file = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        if BELOW.iter().any(|below| file.starts_with(below)) || file.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"));
        for (number, line) in (1..).zip(code) {
            let code = line.split("//").next().unwrap_or_default();
            if FLUSHES.iter().any(|flush| code.contains(flush)) {
                lines.insert((file.clone(), number), code.trim().to_owned());
            }
        }
    }
    lines
}

fn is_listed(list: &[(&str, &str, &str)], file: &str, line: &str) -> bool {
    list.iter().any(|(in_file, part, _)| *in_file == file && line.contains(part))
}

/// How a history went; one that is told step by step says by a panic that it failed.
fn outcome(history: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(history)).unwrap_or_else(|_| Err("a panic".to_owned()))
}

fn tell(case: fn()) -> Result<(), String> {
    outcome(|| {
        case();
        Ok(())
    })
}

fn lived(seed: u64) -> Result<(), String> {
    outcome(|| live(seed, None).map(drop))
}

/// Which histories reach a call: names of cases, and seeds.
#[derive(Default)]
struct Reached {
    cases: Vec<(&'static str, fn())>,
    seeds: Vec<u64>,
}

fn reached() -> BTreeMap<Call, Reached> {
    assert_eq!(include_str!("cases.rs").matches("#[test]").count(), CASES.len(), "CASES names all cases");
    let mut all: BTreeMap<Call, Reached> = BTreeMap::new();
    for (name, case) in CASES {
        let (passed, seen) = calls::seen(|| tell(case));
        assert_eq!(passed, Ok(()), "{name} fails with all calls in place");
        seen.into_iter().for_each(|call| all.entry(call).or_default().cases.push((name, case)));
    }
    for seed in 1..=SEEDS {
        let (lived, seen) = calls::seen(|| lived(seed));
        if lived.is_ok() {
            seen.into_iter().for_each(|call| all.entry(call).or_default().seeds.push(seed));
        }
    }
    assert!(!all.is_empty(), "built without line tables (profile.dev.debug), nobody can tell who calls");
    all
}

/// The first history that fails when this call is left out.
fn missed_by(call: Call, by: &Reached) -> Option<String> {
    let seed = |seed: &u64| {
        let why = calls::without(call, || lived(*seed)).err()?;
        Some(format!("seed {seed}: {}", why.lines().next().unwrap_or_default()))
    };
    let case = |(name, case): &(&str, fn())| {
        calls::without(call, || tell(*case)).err().map(|_| format!("the case {name}"))
    };
    let (first, rest) = by.seeds.split_at(FIRST.min(by.seeds.len()));
    let found = first.iter().find_map(seed).or_else(|| by.cases.iter().find_map(case));
    found.or_else(|| rest.iter().find_map(seed))
}

/// Lists with entries that fit no line are wrong about the code.
fn stale(written: &Lines) -> Vec<String> {
    let fits = |file: &str, part: &str| written.iter().any(|((f, _), line)| f == file && line.contains(part));
    let listed = OTHERS.iter().chain(&NEEDLESS);
    let stale = listed.filter(|(file, part, _)| !fits(file, part));
    stale.map(|(file, part, _)| format!("daemon/src/{file} has no `{part}` any more")).collect()
}

/// Any one flush taken out of the code is missed; those that are needless are exactly those listed.
#[test]
fn every_call_is_needed() {
    let (written, reached) = (written(), reached());
    let mut complaints = stale(&written);
    for ((file, line), text) in written.iter().filter(|((file, _), text)| !is_listed(&OTHERS, file, text)) {
        if !reached.keys().any(|call| call.file == file && call.line == *line) {
            complaints.push(format!("daemon/src/{file}:{line} `{text}` is in no history"));
        }
    }
    for (call, by) in &reached {
        let Some(text) = written.get(&(call.file.to_owned(), call.line)) else {
            complaints.push(format!("{call} flushes, and FLUSHES has no word for it"));
            continue;
        };
        let missed = missed_by(*call, by);
        let found = missed.as_deref().unwrap_or("nobody");
        println!(
            "{call} `{text}`: in {} cases and {} seeds, missed by {found}",
            by.cases.len(),
            by.seeds.len()
        );
        match (is_listed(&NEEDLESS, call.file, text), missed) {
            (false, None) => complaints.push(format!("{call} `{text}` is missed by no history")),
            (true, Some(by)) => complaints.push(format!("{call} `{text}` is needed after all, by {by}")),
            (true, None) | (false, Some(_)) => {}
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
