//! What is on a drive, as somebody without Shoebox sees it.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A file's content, in short.
pub(crate) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// All files below `dir` with the hash of their content; folders end in a slash and have none.
pub(crate) fn listing(dir: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    walk(dir, "", &mut all);
    all
}

fn walk(dir: &Path, prefix: &str, all: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.insert(format!("{name}/"), String::new());
            walk(&entry.path(), &format!("{name}/"), all);
        } else if kind.is_file() {
            // Gone between the listing and now: as if it had never been seen.
            if let Ok(bytes) = fs::read(entry.path()) {
                all.insert(name, hash(&bytes));
            }
        } else {
            all.insert(name, "neither file nor folder".to_owned());
        }
    }
}

/// The names of all files below `dir`.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    listing(dir).into_iter().filter(|(_, hash)| !hash.is_empty()).map(|(name, _)| name).collect()
}

/// The hashes of all files below `dir`.
pub(crate) fn hashes(dir: &Path) -> Vec<String> {
    listing(dir).into_values().filter(|hash| !hash.is_empty()).collect()
}
