//! A cache of small files that can be made again: a folder that is on no drive of the pool, of bounded size, the oldest going first.
//!
//! Nothing here is flushed, and all of it may be lost at any time. Each file carries its own hash, so that what a power cut left of it is
//! not taken for it. A folder that cannot be made or written to keeps nothing, and that is all.
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Bytes of a hash before the content.
const HEAD: usize = 32;
/// What is left after room was made, in parts of a hundred.
const KEPT: u64 = 90;
/// Files are begun under a name that ends so.
const BEGUN: &str = "~";

/// The folder.
pub struct Cache {
    dir: PathBuf,
    most: u64,
    /// Bytes in it, once that was looked up; and a number for names of files that are begun.
    held: Mutex<(Option<u64>, u64)>,
}

/// A file in it.
struct Held {
    path: PathBuf,
    bytes: u64,
    made: SystemTime,
}

impl Cache {
    /// A folder that is made with the first file, for at most `most` bytes.
    pub fn new(dir: PathBuf, most: u64) -> Self {
        Self { dir, most, held: Mutex::default() }
    }

    /// What was kept under a key: letters, digits and `-`.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.dir.join(key);
        let kept = fs::read(&path).ok()?;
        // Reading writes nothing: who looks at pictures all day wears no card out.
        let whole =
            kept.split_at_checked(HEAD).filter(|(head, content)| head == blake3::hash(content).as_bytes());
        if whole.is_none() {
            log::info!("a preview in the cache is not what was put there, and goes");
            drop(fs::remove_file(&path));
            self.lock().0 = None;
        }
        whole.map(|(_, content)| content.to_vec())
    }

    /// Keeps bytes under a key. The caller has them and goes on either way.
    pub fn put(&self, key: &str, content: &[u8]) -> io::Result<()> {
        let bytes = (HEAD + content.len()) as u64;
        if bytes > self.most {
            return Ok(());
        }
        let mut held = self.lock();
        fs::create_dir_all(&self.dir)?;
        let before = match held.0 {
            Some(before) => before,
            None => self.list(true)?.iter().map(|file| file.bytes).sum(),
        };
        let mut all = before;
        if all + bytes > self.most {
            all = self.make_room(bytes)?;
        }
        held.1 += 1;
        let begun = self.dir.join(format!("{}-{}{BEGUN}", std::process::id(), held.1));
        let written = write(&begun, content).and_then(|()| fs::rename(&begun, self.dir.join(key)));
        held.0 = Some(all + bytes);
        if written.is_err() {
            drop(fs::remove_file(&begun));
            held.0 = None;
        }
        written
    }

    /// Has the oldest go until there is room for so many bytes; what is left then.
    fn make_room(&self, bytes: u64) -> io::Result<u64> {
        let mut files = self.list(true)?;
        files.sort_by_key(|file| file.made);
        let mut all: u64 = files.iter().map(|file| file.bytes).sum();
        let goal = (self.most / 100 * KEPT).min(self.most - bytes);
        for file in files {
            if all <= goal {
                break;
            }
            fs::remove_file(&file.path)?;
            all -= file.bytes;
        }
        Ok(all)
    }

    /// What is in it. `sweep`: what others only began goes.
    fn list(&self, sweep: bool) -> io::Result<Vec<Held>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if sweep && entry.file_name().to_string_lossy().ends_with(BEGUN) {
                drop(fs::remove_file(entry.path()));
                continue;
            }
            let Ok(look) = entry.metadata() else { continue };
            if look.is_file() {
                let made = look.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push(Held { path: entry.path(), bytes: look.len(), made });
            }
        }
        Ok(files)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<u64>, u64)> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(blake3::hash(content).as_bytes())?;
    file.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept_comes_back_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("made/by/it");
        let cache = Cache::new(at.clone(), 5 * (100 + HEAD as u64));
        assert_eq!(cache.get("a"), None);
        for (n, key) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            cache.put(key, &[n as u8; 100]).unwrap();
            let old = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000 + n as u64);
            File::options().write(true).open(at.join(key)).unwrap().set_modified(old).unwrap();
        }
        assert_eq!(cache.get("a"), Some(vec![0; 100]));
        cache.put("f", &[5; 100]).unwrap();
        assert_eq!(names(&at), ["b", "c", "d", "e", "f"]);
        // What another process left behind in the middle is no file of the cache's, and counts like one until it is looked at.
        fs::write(at.join("9-1~"), [0; 900]).unwrap();
        let again = Cache::new(at.clone(), 3 * (100 + HEAD as u64));
        again.put("g", &[6; 100]).unwrap();
        assert_eq!(names(&at), ["e", "f", "g"].map(str::to_owned), "down to nine tenths of less room");
        again.put("large", &[0; 1000]).unwrap();
        assert_eq!(again.get("large"), None, "larger than all there is");
        assert_eq!(again.get("g"), Some(vec![6; 100]));
    }

    #[test]
    fn what_is_damaged_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().to_owned(), 10_000);
        for damage in [&b""[..], b"short", &[0; 200]] {
            cache.put("a", b"a picture").unwrap();
            fs::write(dir.path().join("a"), damage).unwrap();
            assert_eq!(cache.get("a"), None);
            assert_eq!(names(dir.path()).len(), 0, "it is gone");
        }
    }

    #[test]
    fn where_nothing_can_be_kept_nothing_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"in the way").unwrap();
        let cache = Cache::new(file.join("below"), 10_000);
        assert!(cache.put("a", b"a picture").is_err());
        assert_eq!(cache.get("a"), None);
    }
}
