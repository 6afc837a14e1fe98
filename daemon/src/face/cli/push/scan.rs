//! What there is to send: the files below the folders, with what they look like now and the names they get, those that belong together in
//! one group.
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::albums::Choice;
use crate::model::extension::{Medium, SIDECARS, medium};
use crate::model::naming;
use crate::model::path::RelPath;
use crate::model::place::Shelf;
use crate::plan::{pairing, shelving};

/// A longer video is no moving half of a Live Photo: those play three seconds.
const LONGEST_HALF: u64 = 32 << 20;

/// What tells that a file was not written to since: what stat(2) says of it. `ctime` changes with every write, also where a program
/// puts the old date back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) mtime: i64,
    pub(super) ctime: i64,
    pub(super) inode: u64,
}

impl Look {
    /// Without following a link: what is at the path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let about = fs::symlink_metadata(path)?;
        if about.is_file() { Ok(Self::of(&about)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn of(about: &Metadata) -> Self {
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            size: about.len(),
            mtime: nanos(about.mtime(), about.mtime_nsec()),
            ctime: nanos(about.ctime(), about.ctime_nsec()),
            inode: about.ino(),
        }
    }
}

/// A file to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// The name it gets, below the device's folder.
    pub(super) name: RelPath,
    pub(super) medium: Medium,
    pub(super) look: Look,
}

/// Files that belong together: the two halves of a Live Photo, a photo and what lies beside it. Sent one after the other, under names
/// that fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group(pub(super) Vec<Found>);

impl Group {
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|file| file.look.size).sum()
    }

    /// Whether it counts as a video: the moving half of a Live Photo goes with its photo.
    pub(super) fn is_video(&self) -> bool {
        let any = |wanted| self.0.iter().any(|file| file.medium == wanted);
        any(Medium::Video) && !any(Medium::Image)
    }
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) groups: Vec<Group>,
    /// Files that are no photos, videos or what lies beside one.
    pub(super) others: u64,
    /// Files that are not finished, empty, or left behind by an operating system.
    pub(super) unfit: u64,
    /// What could not be looked at, and why.
    pub(super) unreadable: Vec<(PathBuf, String)>,
}

/// What is looked for.
pub(super) struct Search<'a> {
    pub(super) choice: &'a Choice,
    /// Files of every kind.
    pub(super) all_files: bool,
    /// Before every name.
    pub(super) into: Option<&'a RelPath>,
}

impl Search<'_> {
    /// Looks at everything below these folders, which are called differently.
    pub(super) fn scan(&self, folders: &[(PathBuf, String)]) -> Scan {
        let mut scan = Scan::default();
        let mut files = Vec::new();
        for (folder, name) in folders {
            self.walk(folder, &mut vec![name.clone()], &mut scan, &mut files);
        }
        scan.groups = groups(files);
        scan
    }

    fn walk(&self, dir: &Path, names: &mut Vec<String>, scan: &mut Scan, files: &mut Vec<Found>) {
        if self.choice.leaves_out(names) {
            return;
        }
        let entries = match fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(e) => return scan.unreadable.push((dir.to_owned(), e.to_string())),
        };
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Hidden: trash cans and thumbnails. Links lead elsewhere, or in a circle.
            let Ok(kind) = entry.file_type() else { continue };
            if name.starts_with('.') || kind.is_symlink() {
                continue;
            }
            if kind.is_dir() {
                names.push(name);
                self.walk(&entry.path(), names, scan, files);
                names.pop();
            } else if kind.is_file() && self.choice.takes(names) {
                match Look::at(&entry.path()) {
                    Ok(look) => self.consider(entry.path(), &name, names, look, (scan, files)),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => scan.unreadable.push((entry.path(), e.to_string())),
                }
            }
        }
    }

    fn consider(
        &self,
        path: PathBuf,
        name: &str,
        names: &[String],
        look: Look,
        into: (&mut Scan, &mut Vec<Found>),
    ) {
        let (scan, files) = into;
        let medium = medium(name);
        if shelving::shelf(name, look.size) == Shelf::Scratch {
            scan.unfit += 1;
        } else if medium == Medium::Other && !self.all_files {
            scan.others += 1;
        } else {
            match self.named(names, name) {
                Some(name) => files.push(Found { path, name, medium, look }),
                None => scan.unreadable.push((path, "its name is too long for the box".to_owned())),
            }
        }
    }

    /// The name a file gets: as it is, and each part that the box cannot take made one that it can.
    fn named(&self, folders: &[String], name: &str) -> Option<RelPath> {
        let parts = folders.iter().map(String::as_str).chain([name]);
        let fitting = |part: &str| match RelPath::parse(part) {
            Ok(one) if one.components().count() == 1 => Some(one.as_str().to_owned()),
            Ok(_) | Err(_) => naming::fitting(part),
        };
        let path = RelPath::parse(&parts.map(fitting).collect::<Option<Vec<_>>>()?.join("/")).ok()?;
        self.into.map_or(Some(path.clone()), |into| into.join(&path).ok())
    }
}

/// Puts together what belongs together: what is called the same in one folder, but for the ending. In the order of the names.
fn groups(files: Vec<Found>) -> Vec<Group> {
    let mut groups: BTreeMap<(String, bool, String), Vec<Found>> = BTreeMap::new();
    for file in files {
        let fold = file.name.fold_key();
        let photo =
            SIDECARS.iter().find_map(|end| fold.strip_suffix(end)).filter(|_| file.medium == Medium::Sidecar);
        // IMG_1.xmp and IMG_1.HEIC.xmp both lie beside IMG_1.HEIC.
        let photo = photo.map_or(&*fold, |rest| if medium(rest) == Medium::Other { &fold } else { rest });
        let alone =
            file.medium == Medium::Other || (file.medium == Medium::Video && file.look.size > LONGEST_HALF);
        let stem = if alone { fold.clone() } else { pairing::stem(photo).to_owned() };
        groups
            .entry((stem, alone, file.path.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned()))
            .or_default()
            .push(file);
    }
    let sorted = |mut files: Vec<Found>| {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Group(files)
    };
    groups.into_values().map(sorted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scan: &Scan) -> Vec<Vec<&str>> {
        scan.groups.iter().map(|group| group.0.iter().map(|file| file.name.as_str()).collect()).collect()
    }

    fn scan(files: &[(&str, usize)], choice: &Choice, all_files: bool) -> Scan {
        let dir = tempfile::tempdir().unwrap();
        for (name, size) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![7; *size]).unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("circle")).unwrap();
        let search = Search { choice, all_files, into: None };
        search.scan(&[(dir.path().to_owned(), "Camera".to_owned())])
    }

    #[test]
    fn what_belongs_together_is_one_group() {
        let found = scan(
            &[
                ("IMG_1.HEIC", 3),
                ("img_1.mov", 3),
                ("IMG_1.xmp", 3),
                ("IMG_1.HEIC.xmp", 3),
                ("IMG_10.HEIC", 3),
                ("IMG_2.MOV", 3),
                ("b/IMG_1.MOV", 3),
                ("notes.txt", 3),
                ("a.jpg.part", 3),
                ("empty.jpg", 0),
                (".hidden.jpg", 3),
                (".trash/x.jpg", 3),
            ],
            &Choice::default(),
            false,
        );
        assert_eq!(
            names(&found),
            [
                &["Camera/b/IMG_1.MOV"][..],
                &["Camera/IMG_1.HEIC", "Camera/IMG_1.HEIC.xmp", "Camera/IMG_1.xmp", "Camera/img_1.mov"],
                &["Camera/IMG_10.HEIC"],
                &["Camera/IMG_2.MOV"],
            ]
        );
        assert_eq!((found.others, found.unfit, found.unreadable.len()), (1, 2, 0));
        let video = |at: usize| found.groups[at].is_video();
        assert_eq!([video(0), video(1), video(2), video(3)], [true, false, false, true]);
    }

    #[test]
    fn a_long_video_is_no_moving_half() {
        let found = scan(&[("IMG_1.JPG", 3), ("IMG_1.MOV", (32 << 20) + 1)], &Choice::default(), false);
        assert_eq!(found.groups.len(), 2);
    }

    #[test]
    fn chosen_albums_and_files_of_every_kind() {
        let excluded = Choice { chosen: Vec::new(), excluded: vec!["Screenshots".parse().unwrap()] };
        let files =
            [("Rome/a.jpg", 1), ("Screenshots/b.jpg", 1), ("Screenshots/old/c.jpg", 1), ("notes.txt", 1)];
        assert_eq!(names(&scan(&files, &excluded, true)), [["Camera/notes.txt"], ["Camera/Rome/a.jpg"]]);
        let chosen = Choice { chosen: vec!["Rome".parse().unwrap()], excluded: Vec::new() };
        assert_eq!(names(&scan(&files, &chosen, true)), [["Camera/Rome/a.jpg"]]);
    }

    #[test]
    fn a_name_the_box_cannot_take_is_made_one() {
        let into = RelPath::parse("laptop").unwrap();
        let choice = Choice::default();
        let search = Search { choice: &choice, all_files: false, into: Some(&into) };
        let named = |folder: &str, name: &str| search.named(&[folder.to_owned()], name).unwrap().to_string();
        assert_eq!(named("Camera", "IMG_1.HEIC"), "laptop/Camera/IMG_1.HEIC");
        assert_eq!(named(".shoebox", "a\nb.jpg"), "laptop/_.shoebox/a_b.jpg");
        assert_eq!(named("Zoe\u{308}", "a\u{FFFD}.jpg"), "laptop/Zoë/a\u{FFFD}.jpg");
    }

    #[test]
    fn a_file_written_to_looks_different() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        fs::write(&path, b"abc").unwrap();
        let before = Look::at(&path).unwrap();
        assert_eq!(Look::at(&path).unwrap(), before);
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&path, b"abd").unwrap();
        let old = fs::File::options().write(true).open(&path).unwrap();
        old.set_modified(
            std::time::UNIX_EPOCH + std::time::Duration::from_nanos(u64::try_from(before.mtime).unwrap()),
        )
        .unwrap();
        let after = Look::at(&path).unwrap();
        assert_eq!((after.size, after.mtime), (before.size, before.mtime));
        assert_ne!(after, before);
        assert!(Look::at(dir.path()).is_err());
    }
}
