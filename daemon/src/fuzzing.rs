//! What must hold for any bytes whatever: each target reads them as one of our parsers would, and asserts more than that it returns.
//!
//! Compiled into tests, which run the checked-in inputs, and into `daemon/fuzz`, which looks for more (`scripts/fuzz`).
use crate::model::drive::Marker;
use crate::model::event::{BadLine, Line};
use crate::model::media::{Media, Structure, Taken};
use crate::model::path::RelPath;

pub use crate::face::http::fuzzing::{condition, form, framing, range, request_path, sumu_part, xml};

/// A target: it panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its program in `daemon/fuzz` and of its inputs there.
pub const TARGETS: &[(&str, Target)] = &[
    ("path", path),
    ("request_path", request_path),
    ("range", range),
    ("condition", condition),
    ("xml", xml),
    ("framing", framing),
    ("form", form),
    ("sumu_part", sumu_part),
    ("marker", marker),
    ("line", line),
    ("media", media),
];

/// Names: one canonical form, a spelling on a drive that comes back, and no way out of a folder.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(path) = RelPath::parse(text) else {
        assert_eq!(RelPath::from_disk(text), None, "what is no name is none on a drive either");
        return;
    };
    assert_eq!(RelPath::parse(path.as_str()).as_ref(), Ok(&path), "canonical");
    let disk = path.on_disk();
    assert_eq!(RelPath::from_disk(&disk).as_ref(), Some(&path), "comes back from a drive");
    assert_eq!(disk.split('/').count(), path.components().count());
    for component in disk.split('/') {
        stays_where_it_is(component);
    }
    if let Ok(again) = RelPath::parse(&path.fold_key()) {
        assert_eq!(again.fold_key(), path.fold_key(), "compared in one form");
    }
    assert!(path.is_within(&path));
    assert_eq!(path.ancestors().count() + 1, path.components().count());
    for above in path.ancestors() {
        assert!(path.is_within(&above) && !above.is_within(&path));
        let rest = path.below(&above);
        assert_eq!(rest.and_then(|rest| above.join(&rest).ok()).as_ref(), Some(&path));
    }
}

/// A component as spelled on a drive is one name on ext4, exFAT and NTFS, and not one of ours.
fn stays_where_it_is(component: &str) {
    assert!(!matches!(component, "" | "." | ".."), "{component:?}");
    assert!(component.len() <= 255 && !component.chars().any(char::is_control), "{component:?}");
    assert!(!component.contains(['<', '>', ':', '"', '\\', '|', '?', '*']), "{component:?}");
    assert!(!component.ends_with(['.', ' ']), "{component:?}");
    assert!(!component.eq_ignore_ascii_case(crate::model::path::RESERVED), "{component:?}");
}

/// A drive's marker: what is taken for one is written back as the same, and its key is not shown.
pub fn marker(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(marker) = toml::from_str::<Marker>(text) else { return };
    let written = toml::to_string(&marker).unwrap_or_default();
    assert_eq!(toml::from_str::<Marker>(&written).as_ref(), Ok(&marker));
    let key = written.lines().find_map(|line| line.strip_prefix("token_key = "));
    let key = key.unwrap_or_default().trim_matches('"');
    assert_eq!(key.len(), 64, "{written}");
    assert!(!format!("{marker:?}").contains(key));
}

/// Lines of a manifest: none is believed without its sum, and what is believed is written back as the same event.
pub fn line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    believed(text);
    // Nobody finds a checksum by chance: the content of a line is reached with one that fits.
    let sum = blake3::hash(text.as_bytes()).to_hex();
    let summed = |digits: &str| format!("{text},\"sum\":\"{digits}\"}}");
    assert_ne!(Line::read(&summed(&sum[..32])), Err(BadLine::Checksum));
    believed(&summed(&sum[..32]));
    let last = if sum.as_bytes()[31] == b'0' { '1' } else { '0' };
    assert_eq!(Line::read(&summed(&format!("{}{last}", &sum[..31]))), Err(BadLine::Checksum));
}

fn believed(text: &str) {
    let Ok(read) = Line::read(text) else { return };
    let (written, sum) = Line::write(&read.event, read.after);
    let again = Line::read(written.trim_end_matches('\n'));
    assert_eq!(again, Ok(Line { event: read.event, after: read.after, sum }));
    assert_eq!(written.matches('\n').count(), 1, "one line");
}

/// Photos and videos: whatever is read from them can be stored and read again, and what is cut off by a byte is not called whole where
/// its kind shows that.
pub fn media(bytes: &[u8]) {
    let read = crate::work::media::read_bytes(bytes, &jiff::tz::TimeZone::UTC);
    let json = serde_json::to_string(&read).unwrap_or_default();
    let again: Option<Media> = serde_json::from_str(&json).ok();
    assert_eq!(
        again.map(|m| (m.kind, m.size, m.taken, m.content_id)),
        Some((read.kind, read.size, read.taken, read.content_id))
    );
    if let Some(taken) = read.taken {
        assert_eq!(Taken::from_millis(taken.local_millis(), taken.offset, taken.from), Some(taken));
    }
    assert!(read.kind != crate::model::media::MediaKind::Unknown || read.structure == Structure::Unchecked);
    assert!([&read.make, &read.model].into_iter().flatten().all(|text| !text.chars().any(char::is_control)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    fn fuzz() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
    }

    fn names_in(dir: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(dir)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_target_has_its_program_its_inputs_and_its_words() {
        let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        for dir in ["fuzz_targets", "seeds", "words"] {
            assert_eq!(names_in(dir), targets, "{dir}");
        }
        let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }

    #[test]
    fn what_was_found_once_holds() {
        for (name, target) in TARGETS {
            let mut many = 0;
            for entry in fs::read_dir(fuzz().join("seeds").join(name)).unwrap() {
                let path = entry.unwrap().path();
                println!("{}", path.display());
                target(&fs::read(path).unwrap());
                many += 1;
            }
            assert!(many > 0, "{name}");
        }
    }
}
