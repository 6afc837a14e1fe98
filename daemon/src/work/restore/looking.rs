//! Reading a drive for a restore: its marker and manifest as far as they can be read, then its folders, for files that no record
//! knows.
use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{DriveRead, Read, RestoreError, RestoreReport, Shelf, plain};
use crate::model::path::RelPath;
use crate::model::place::Place;
use crate::plan::restoring::{Book, Wish};
use crate::store::disk::{self, Found};
use crate::store::folder::Folder;
use crate::store::manifest;
use crate::store::volume::EntryKind;

/// Reads the drive at `path`. Writes nothing, and takes no hold of it: a daemon may be at work on it.
pub(super) fn read(path: &Path, wish: &Wish, report: &mut RestoreReport) -> Result<Read, RestoreError> {
    let no_drive = |why: String| RestoreError::NoDrive { path: path.to_owned(), why };
    let folder = Folder::open(path).map_err(|e| no_drive(plain(&e)))?;
    let mut book = Book::default();
    let drive = read_record(path, &mut book);
    let photos = folder.look(Place::photos().as_str()).map_err(|e| no_drive(plain(&e)))?;
    if drive.drive.is_none() && photos.is_none_or(|look| look.kind != EntryKind::Dir) {
        return Err(no_drive("there is neither a drive of Shoebox's nor a folder photos".to_owned()));
    }
    let mut walk = Walk { folder: &folder, book: &mut book, unread: Vec::new() };
    walk.photos(wish);
    if wish.deleted {
        walk.trash();
    }
    let unread = walk.unread.into_iter().map(|what| format!("{}: {what}", path.display()));
    report.unread.extend(unread);
    report.drives.push(drive);
    Ok((Shelf { folder, mount: path.to_owned() }, book))
}

fn read_record(path: &Path, book: &mut Book) -> DriveRead {
    let mut drive =
        DriveRead { mount: path.to_owned(), drive: None, role: None, lines: 0, trouble: String::new() };
    let volume = match disk::look(path) {
        Found::Marked(volume, marker) => {
            (drive.drive, drive.role) = (Some(marker.drive), Some(marker.role));
            volume
        }
        Found::Unmarked => {
            drive.trouble = "it has no marker of Shoebox's".to_owned();
            return drive;
        }
        Found::Unreadable(why) | Found::Nothing(why) => {
            drive.trouble = format!("its marker cannot be read ({why})");
            return drive;
        }
    };
    match manifest::read(&volume, 0, &mut |event| book.take(&event)) {
        Ok(reading) => {
            drive.lines = reading.lines;
            drive.trouble = if reading.lines == 0 {
                "it has no record of what is on it".to_owned()
            } else if reading.breaks > 0 || !reading.bad.is_empty() {
                format!("of its record {} good, and some are torn or missing", lines(reading.lines))
            } else {
                String::new()
            };
        }
        Err(e) => drive.trouble = format!("its record cannot be read ({e})"),
    }
    drive
}

fn lines(count: u64) -> String {
    if count == 1 { "1 line is".to_owned() } else { format!("{count} lines are") }
}

struct Walk<'w> {
    folder: &'w Folder,
    book: &'w mut Book,
    unread: Vec<String>,
}

impl Walk<'_> {
    /// Adds what lies below `photos/` and is in no record. Only where the wish looks, if that can be told from the names.
    fn photos(&mut self, wish: &Wish) {
        let whole = vec![Place::photos()];
        let person = wish.person.as_ref().and_then(|person| RelPath::parse(person.as_str()).ok());
        let asked: Vec<&RelPath> =
            if wish.paths.is_empty() { person.iter().collect() } else { wish.paths.iter().collect() };
        let places: Vec<Place> = asked.iter().map(|path| Place::photo(path)).collect();
        let there = |place: &Place| matches!(self.folder.look(place.as_str()), Ok(Some(_)));
        let starts = if places.is_empty() || !places.iter().all(there) { whole } else { places };
        for start in starts {
            self.tree(start, &mut |walk, place| {
                let below = place.as_str().strip_prefix("photos/").unwrap_or_default();
                // Other hands may have spelled it in a way of their own.
                match RelPath::parse(below) {
                    Ok(path) => {
                        let (folder, at) = (walk.folder, place.clone());
                        walk.book.found(path, place, || looks(folder, &at));
                    }
                    Err(why) => walk.unread.push(format!("{place}: {why}")),
                }
            });
        }
    }

    /// Adds what lies in the trash and is in no record: `trash/YYYY-MM-DD/<number>/<path>`.
    fn trash(&mut self) {
        self.tree(Place::trashes(), &mut |walk, place| {
            let below = place.as_str().strip_prefix(Place::trashes().as_str()).unwrap_or_default();
            let mut parts = below.trim_start_matches('/').splitn(3, '/');
            let day = parts.next().and_then(|day| day.parse::<Date>().ok());
            let day = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|day| day.timestamp());
            let path = parts.nth(1).and_then(|path| RelPath::parse(path).ok());
            if let (Some(day), Some(path)) = (day, path) {
                let (folder, at) = (walk.folder, place.clone());
                walk.book.found_deleted(path, place, day, || looks(folder, &at));
            }
        });
    }

    /// Every file from a place on down.
    fn tree(&mut self, start: Place, file: &mut dyn FnMut(&mut Self, Place)) {
        if let Ok(Some(look)) = self.folder.look(start.as_str())
            && look.kind == EntryKind::File
        {
            return file(self, start);
        }
        let mut todo = vec![start];
        while let Some(dir) = todo.pop() {
            let entries = match self.folder.list(dir.as_str()) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => {
                    self.unread.push(format!("{dir}: {}", plain(&e)));
                    continue;
                }
            };
            for (name, kind) in entries {
                match (name.as_deref().and_then(|name| dir.entry(name)), kind) {
                    (Some(place), EntryKind::Dir) => todo.push(place),
                    (Some(place), EntryKind::File) => file(self, place),
                    (None, EntryKind::Dir | EntryKind::File) => {
                        self.unread.push(format!("{dir}: a name in it is no text"));
                    }
                    (_, EntryKind::Other) => {}
                }
            }
        }
    }
}

fn looks(folder: &Folder, at: &Place) -> Option<(u64, Timestamp)> {
    folder.look(at.as_str()).ok().flatten().map(|look| (look.size, look.mtime))
}
