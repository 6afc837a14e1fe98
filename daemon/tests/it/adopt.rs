//! A drive that is in use already becomes one of the box's: everything on it stays as it is, byte for byte, and what lies among the
//! photos is taken in (P2). The real binary on real filesystems.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::support::daemon::Daemon;
use crate::support::listing::listing;
use crate::support::luck;
use crate::support::mounted::{Mounted, leave_out};

/// What was there before: name, hash, inode, time.
type There = BTreeMap<String, (String, u64, i64)>;

/// Everything on a drive but what is the box's own.
fn there(root: &Path) -> There {
    let files = listing(root).into_iter().filter(|(name, _)| !name.starts_with(".shoebox"));
    files
        .map(|(name, hash)| {
            let stat = fs::metadata(root.join(&name)).unwrap();
            // The time of a folder is that of its newest entry.
            let mtime = if hash.is_empty() { 0 } else { stat.mtime() };
            (name, (hash, stat.ino(), mtime))
        })
        .collect()
}

fn fill(root: &Path, files: &[(&str, Vec<u8>)]) {
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    }
}

#[test]
fn what_is_on_a_drive_stays_and_its_photos_are_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |drive: &str| {
        fs::create_dir(dir.path().join(drive)).unwrap();
        let image = dir.path().join(format!("{drive}.img"));
        Mounted::image(&image, 64, &["mkfs.ext4", "-q", "-F"], &dir.path().join(drive))
    };
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let _mounted = match (mount("a"), mount("b")) {
        (Ok(a), Ok(b)) => [a, b],
        (Err(why), _) | (_, Err(why)) => return leave_out("adopt-what-is-there", &why),
    };
    let photos = [("photos/anna/2020/IMG_1.JPG", 1), ("photos/bob/clip.mov", 2), ("photos/loose.jpg", 9)];
    let other = [("taxes.pdf", 3), ("Documents/letters/1.odt", 4), (".hidden", 5)];
    let bytes = |n: u64| luck::bytes(n, 200_000);
    let files: Vec<_> = photos.iter().chain(&other).map(|(name, n)| (*name, bytes(*n))).collect();
    fill(&a, &files);
    // The second drive has something of its own under the same name, and more.
    fill(
        &b,
        &[
            ("photos/anna/2020/IMG_1.JPG", bytes(6)),
            ("photos/anna/only-b.jpg", bytes(7)),
            ("will.pdf", bytes(8)),
        ],
    );
    let before = [there(&a), there(&b)];

    let mut daemon = Daemon::new(dir.path(), 5, &[]);
    daemon.require_mount = true;
    daemon.begin();
    daemon.add_person("anna", "laptop", "computer");
    assert_eq!(daemon.run(&["rescan"]).0, 0);
    daemon.until("all are on B", |d| {
        ["anna/2020/IMG_1.JPG", "bob/clip.mov", "loose.jpg"].iter().all(|name| d.is_mirrored(name))
    });
    assert_eq!(daemon.run(&["verify"]).0, 0);

    let after = there(&a);
    for (name, was) in &before[0] {
        assert_eq!(after.get(name), Some(was), "{name} on A");
    }
    for (name, n) in photos {
        let name = name.strip_prefix("photos/").unwrap();
        let receipt = daemon.ask(&["receipt", name, "--json"]);
        assert_eq!(receipt["hash"], blake3::hash(&bytes(n)).to_hex().as_str(), "{receipt}");
        let copies = receipt["copies"].as_array().unwrap();
        assert!(copies.len() == 2 && copies.iter().all(|copy| copy["state"] == "verified"), "{receipt}");
        assert_eq!(fs::read(b.join("photos").join(name)).unwrap(), bytes(n), "{name} on B");
    }
    let (_, found) = daemon.run(&["find", "--json"]);
    for (name, _) in other {
        let last = name.rsplit('/').next().unwrap();
        assert!(!found.contains(last), "{name} is no photo of anybody: {found}");
        assert!(!b.join("photos").join(last).exists() && !b.join(name).exists(), "{name} is not copied");
    }
    // On B nothing that was there is gone: what was in a photo's place lies in the trash.
    let contents: Vec<_> = listing(&b).into_values().collect();
    for (name, (hash, ..)) in &before[1] {
        assert!(contents.contains(hash), "{name} on B");
    }
    assert_eq!(there(&b).get("will.pdf"), before[1].get("will.pdf"));
}
