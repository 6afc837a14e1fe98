//! The `.sha256` lists: a stranger with `sha256sum` checks both drives, whatever happened to the photos (P7, P8).
use std::fs;
use std::process::Command;
use std::sync::Arc;

use shoebox::model::hash::{ContentHash, DeclaredHash};
use shoebox::model::offer::Offer;
use shoebox::work::checksums::Checksums;
use shoebox::work::ingest::Ingest;

use super::furnished::{Furnished, computer, offer, path};
use crate::support::listing::listing;

/// What a stranger may find hard: spaces, what no Windows drive can spell, quotes, other scripts.
const NAMES: [&str; 6] = [
    "anna/a.jpg",
    "anna/first of two.jpg",
    "anna/  spaces  within  .jpg",
    "anna/back\\slash: \"quoted\" *?<|>.jpg",
    "anna/日本 – Zoë's Ærø/🦊 100%.jpg",
    "anna/-c.jpg",
];

fn lists_written(home: &Furnished) {
    let mut lists = Checksums::new(Arc::clone(&home.pool));
    for _ in 0..100 {
        if !lists.step().unwrap() {
            return;
        }
    }
    panic!("the lists do not come to rest");
}

/// From the root of a drive: what `sha256sum` says of its lists, with one line less for every file that is well.
fn judged(home: &Furnished, drive: &str) -> (bool, String) {
    let root = home.mount(drive);
    let mut lists: Vec<String> = listing(&root.join(".shoebox/manifest")).into_keys().collect();
    lists.retain(|name| name.ends_with(".sha256"));
    assert!(!lists.is_empty());
    let done = Command::new("sha256sum")
        .args(["--quiet", "--strict", "-c", "--"])
        .args(lists.iter().map(|name| format!(".shoebox/manifest/{name}")))
        .env("LC_ALL", "C.UTF-8")
        .current_dir(root)
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The names in the lists of a drive, sorted.
fn listed(home: &Furnished, drive: &str) -> Vec<String> {
    let lists = home.mount(drive).join(".shoebox/manifest");
    let mut all = Vec::new();
    for name in listing(&lists).into_keys().filter(|name| name.ends_with(".sha256")) {
        let text = fs::read_to_string(lists.join(name)).unwrap();
        all.extend(text.lines().map(|line| line[66..].trim_start_matches("photos/").to_owned()));
    }
    all.sort();
    all
}

fn photos(home: &Furnished, drive: &str) -> Vec<String> {
    let found = listing(&home.mount(drive).join("photos"));
    found.into_keys().filter(|name| !name.ends_with('/')).collect()
}

/// Both drives pass; `whole`: nothing is missing from the lists either.
fn pass(home: &Furnished, when: &str, whole: bool) {
    lists_written(home);
    for drive in ["a", "b"] {
        assert_eq!(judged(home, drive), (true, String::new()), "{drive}, {when}");
        if whole {
            assert_eq!(listed(home, drive), photos(home, drive), "{drive}, {when}");
        }
    }
}

#[test]
fn both_drives_pass_sha256sum_whatever_happens() {
    let mut home = Furnished::new();
    for name in NAMES {
        home.put(name, name.as_bytes());
    }
    home.mirrored();
    pass(&home, "after mirroring", true);
    assert_eq!(photos(&home, "a").len(), NAMES.len());

    home.rename("anna/first of two.jpg", "anna/renamed  \u{201c}here\u{201d}.jpg");
    home.rename("anna/日本 – Zoë's Ærø", "anna/moved folder");
    pass(&home, "after a rename on A", false);
    home.mirrored();
    pass(&home, "after a rename", true);

    home.put("anna/a.jpg", b"other bytes, another day");
    pass(&home, "after a replacement on A", false);
    home.mirrored();
    pass(&home, "after a replacement", true);

    home.tree().trash(&computer(), &path("anna/-c.jpg")).unwrap();
    pass(&home, "after a deletion on A", false);
    home.pass(25);
    home.mirrored();
    pass(&home, "after a deletion", true);

    // A second month, and a photo of the first that changes in it.
    home.pass(31 * 24);
    home.put("anna/december.jpg", b"snow");
    home.rename("anna/a.jpg", "anna/november.jpg");
    home.mirrored();
    pass(&home, "a month later", true);
    assert_eq!(photos(&home, "b"), photos(&home, "a"));
    assert_eq!(photos(&home, "a").len(), NAMES.len());
}

#[test]
fn a_spoiled_byte_is_found_and_named() {
    let mut home = Furnished::new();
    for name in NAMES {
        home.put(name, name.as_bytes());
    }
    home.mirrored();
    pass(&home, "before", true);
    for drive in ["a", "b"] {
        let file = home.at(drive, "anna/first of two.jpg");
        let mut bytes = fs::read(&file).unwrap();
        bytes[3] ^= 1;
        fs::write(&file, bytes).unwrap();
        let (well, said) = judged(&home, drive);
        assert!(!well && said.starts_with("photos/anna/first of two.jpg: FAILED\n"), "{said}");
        assert_eq!(said.matches("FAILED").count(), 1, "{said}");
    }
}

/// SHA-1 and SHA-256 of "abc" (FIPS 180-4).
const ABC: [&str; 2] = [
    "a9993e364706816aba3e25717850c26c9cd0d89d",
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
];

#[test]
fn the_copys_own_record_has_both_hashes_whichever_the_phone_announced() {
    for announced in ["", "SHA1:", "SHA256:"] {
        let mut home = Furnished::new();
        let digits = if announced == "SHA1:" { ABC[0] } else { ABC[1] };
        let declared = match announced {
            "" => vec![DeclaredHash::Blake3(ContentHash::of(b"abc"))],
            kind => DeclaredHash::parse_oc(&format!("{kind}{digits}")).unwrap(),
        };
        let sent = Offer { declared, ..offer("anna/abc.jpg", 3) };
        let mut incoming = Ingest::new(Arc::clone(&home.pool)).begin(sent).unwrap();
        incoming.write(b"abc").unwrap();
        incoming.finish().unwrap().settle().unwrap();
        home.mirrored();
        let record = home.mount("b").join(".shoebox/manifest");
        let mut lines = listing(&record).into_keys().filter(|name| name.ends_with(".jsonl"));
        let text = fs::read_to_string(record.join(lines.next().unwrap())).unwrap();
        assert!(ABC.iter().all(|hash| text.contains(hash)), "{announced:?}: {text}");
        pass(&home, announced, true);
    }
}
