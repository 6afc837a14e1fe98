//! What to restore: a drive's record read as a book of names, which of them a wish means, and where the bytes of each may be had.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::account::Slug;
use crate::model::event::{Event, What};
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::model::place::Place;

/// A file on one drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The name a person sees.
    pub path: RelPath,
    /// Where it lies, where that is not under its name.
    pub place: Option<Place>,
    /// Its content as on record; `None`: no record of it could be read.
    pub hash: Option<ContentHash>,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// When the box received it.
    pub received: Timestamp,
    /// `person/device`; empty where nobody knows.
    pub by: Arc<str>,
}

impl Kept {
    fn place(&self) -> Place {
        self.place.clone().unwrap_or_else(|| Place::photo(&self.path))
    }
}

/// How a file came into the trash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// `person/device`; empty where nobody knows.
    pub by: String,
    /// `deleted`, `replaced` and so on: `docs/FORMAT.md`.
    pub why: String,
}

/// What one drive's record says of its files.
#[derive(Debug, Default)]
pub struct Book {
    /// By fold key.
    live: BTreeMap<String, Kept>,
    /// Names that this drive had, and has no more.
    gone: HashSet<String>,
    deleted: Vec<(Kept, Deletion)>,
    /// Where these lie.
    in_trash: HashSet<Place>,
    /// What was moved to the trash in one go.
    tops: Vec<(Place, Deletion)>,
    people: HashSet<Arc<str>>,
}

impl Book {
    /// Reads the next event of the drive's manifest.
    pub fn take(&mut self, event: &Event) {
        match &event.what {
            What::Stored { path, hash, size, mtime, by, received, .. } => {
                let by = self.one(by);
                self.put(Kept {
                    path: path.clone(),
                    place: None,
                    hash: Some(*hash),
                    size: *size,
                    mtime: *mtime,
                    received: *received,
                    by,
                });
            }
            // A removal that was planned and dropped: the name stays.
            What::Trashed { why, .. } if why == "kept" => {}
            What::Trashed { path, to, by, why } => {
                let how = Deletion { at: event.at, by: by.clone(), why: why.clone() };
                self.trash(path, place(to), &how);
            }
            What::Moved { path, to, .. } => self.rename(path, to),
            What::Touched { path, mtime } => {
                if let Some(kept) = self.live.get_mut(&path.fold_key()) {
                    kept.mtime = *mtime;
                }
            }
            // The event after it says what has the name now.
            What::Quarantined { path, .. } => drop(self.live.remove(&path.fold_key())),
            What::Person { .. }
            | What::Quota { .. }
            | What::Password { .. }
            | What::Device { .. }
            | What::Revoked { .. }
            | What::Folder { .. }
            | What::Retired { .. }
            | What::Role { .. }
            | What::Answered { .. }
            | What::Proved { .. }
            | What::Damaged { .. } => {}
        }
    }

    /// A file that lies below `photos/`. `true`: no record of it is known, and it is in the book now.
    pub fn found(
        &mut self,
        path: RelPath,
        place: Place,
        look: impl FnOnce() -> Option<(u64, Timestamp)>,
    ) -> bool {
        if self.live.contains_key(&path.fold_key()) {
            return false;
        }
        let Some((size, mtime)) = look() else { return false };
        let by = self.one("");
        self.put(Kept { path, place: Some(place), hash: None, size, mtime, received: mtime, by });
        true
    }

    /// A file that lies in the trash; `day` is the beginning of the day whose trash it is in.
    pub fn found_deleted(
        &mut self,
        path: RelPath,
        place: Place,
        day: Timestamp,
        look: impl FnOnce() -> Option<(u64, Timestamp)>,
    ) {
        if self.in_trash.contains(&place) {
            return;
        }
        let Some((size, mtime)) = look() else { return };
        let unknown = Deletion { at: day, by: String::new(), why: String::new() };
        let top = self.tops.iter().find(|(top, _)| *top == place || place.is_below(top));
        let how = top.map_or(unknown, |(_, how)| how.clone());
        let by = self.one("");
        let kept = Kept { path, place: Some(place), hash: None, size, mtime, received: mtime, by };
        self.deleted.push((kept, how));
    }

    /// Whether it names nothing at all.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.deleted.is_empty()
    }

    /// One of few names, held once.
    fn one(&mut self, by: &str) -> Arc<str> {
        if let Some(known) = self.people.get(by) {
            return Arc::clone(known);
        }
        let new: Arc<str> = by.into();
        self.people.insert(Arc::clone(&new));
        new
    }

    fn put(&mut self, kept: Kept) {
        let fold = kept.path.fold_key();
        self.gone.remove(&fold);
        self.live.insert(fold, kept);
    }

    /// Takes a name, with all below it, out of the book.
    fn pull(&mut self, path: &RelPath) -> Vec<Kept> {
        let fold = path.fold_key();
        // '0' comes after '/': all that begins with the folder and a slash.
        let below = self.live.range(format!("{fold}/")..format!("{fold}0")).map(|(key, _)| key.clone());
        let keys: Vec<String> = below.chain([fold]).collect();
        let mut pulled = Vec::new();
        for key in keys {
            if let Some(kept) = self.live.remove(&key) {
                pulled.push(kept);
                self.gone.insert(key);
            }
        }
        pulled
    }

    fn trash(&mut self, path: &RelPath, to: Option<Place>, how: &Deletion) {
        let depth = path.components().count();
        for mut kept in self.pull(path) {
            // By component: a name may spell the folders above it in another case.
            let lies = to.clone().and_then(|to| {
                let mut below = kept.path.components().skip(depth);
                below.try_fold(to, |at, name| at.entry(&RelPath::parse(name).ok()?.on_disk()))
            });
            let Some(lies) = lies else { continue };
            self.in_trash.insert(lies.clone());
            kept.place = Some(lies);
            self.deleted.push((kept, how.clone()));
        }
        self.gone.insert(path.fold_key());
        self.tops.extend(to.map(|to| (to, how.clone())));
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) {
        let depth = from.components().count();
        for mut kept in self.pull(from) {
            let below: String = kept.path.components().skip(depth).map(|name| format!("/{name}")).collect();
            let Ok(path) = RelPath::parse(&format!("{to}{below}")) else { continue };
            kept.path = path;
            self.put(kept);
        }
    }

    fn has_an_opinion(&self, fold: &str) -> bool {
        self.live.contains_key(fold) || self.gone.contains(fold)
    }
}

/// A place in a drive's trash, as its manifest spells it.
fn place(text: &str) -> Option<Place> {
    let place = text.split('/').try_fold(Place::root(), |at, name| at.entry(name))?;
    place.is_below(&Place::trashes()).then_some(place)
}

/// What a person wants back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Only these files and folders.
    pub paths: Vec<RelPath>,
    /// Only this person's.
    pub person: Option<Slug>,
    /// Only what a device of this name sent.
    pub device: Option<Slug>,
    /// Only received (with `deleted`: deleted) at or after.
    pub since: Option<Timestamp>,
    /// Only received (with `deleted`: deleted) before.
    pub until: Option<Timestamp>,
    /// What lies in the trash, and not what lies under its name.
    pub deleted: bool,
}

impl Wish {
    fn means(&self, kept: &Kept, fold: &str, date: Timestamp) -> bool {
        let within = |folder: &str| {
            fold.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // Without a record, the folder a phone sends to is the only witness of who sent it.
        let device = || match kept.by.split_once('/') {
            Some((_, device)) => Some(device.to_owned()),
            None => kept.path.components().nth(1).map(str::to_owned),
        };
        (self.paths.is_empty() || self.paths.iter().any(|path| within(&path.fold_key())))
            && self.person.as_ref().is_none_or(|person| within(person.as_str()))
            && self.device.as_ref().is_none_or(|wanted| device().as_deref() == Some(wanted.as_str()))
            && self.since.is_none_or(|since| date >= since)
            && self.until.is_none_or(|until| date < until)
    }
}

/// Where the bytes of an item may be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The drive, counted from 0 in the order they were given.
    pub drive: usize,
    /// Where on it.
    pub place: Place,
}

/// One file to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub path: RelPath,
    /// Its content; `None`: no drive has a record of it.
    pub hash: Option<ContentHash>,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// To be tried in this order.
    pub sources: Vec<Source>,
    /// How it came into the trash.
    pub deleted: Option<Deletion>,
}

/// The items that a wish means, by name; of several with one name, the one deleted last comes first.
///
/// The first drive that has, or had, a name decides: another one may be behind, and still hold what was deleted or moved. A
/// drive without a record of a name takes it from the next one's.
pub fn choose(books: &[Book], wish: &Wish) -> Vec<Item> {
    let mut items = if wish.deleted { deleted(books, wish) } else { live(books, wish) };
    let elsewhere = by_content(books, &items);
    for item in &mut items {
        let fold = item.path.fold_key();
        // Without a record, the name is all that speaks for a content: a move that a power cut left out of the record.
        let unproved = books.iter().enumerate().filter_map(|(drive, book)| {
            let kept = book.live.get(&fold).filter(|kept| kept.hash.is_none())?;
            Some(Source { drive, place: kept.place() })
        });
        let unproved: Vec<Source> = if item.deleted.is_none() { unproved.collect() } else { Vec::new() };
        let more = item.hash.and_then(|hash| elsewhere.get(&hash)).into_iter().flatten().chain(&unproved);
        let more: Vec<Source> = more.filter(|source| !item.sources.contains(source)).cloned().collect();
        item.sources.extend(more);
    }
    items
}

fn live(books: &[Book], wish: &Wish) -> Vec<Item> {
    let mut items: BTreeMap<&str, Item> = BTreeMap::new();
    for (drive, book) in books.iter().enumerate() {
        for (fold, kept) in &book.live {
            if books[..drive].iter().any(|earlier| earlier.has_an_opinion(fold)) {
                continue;
            }
            let recorded = kept.hash.is_none().then(|| on_record(&books[drive + 1..], fold)).flatten();
            let facts = recorded.unwrap_or(kept);
            if wish.means(facts, fold, facts.received) {
                items.insert(fold, item(drive, kept, facts, None));
            }
        }
    }
    items.into_values().collect()
}

fn on_record<'b>(books: &'b [Book], fold: &str) -> Option<&'b Kept> {
    books.iter().filter_map(|book| book.live.get(fold)).find(|kept| kept.hash.is_some())
}

fn deleted(books: &[Book], wish: &Wish) -> Vec<Item> {
    let mut items: Vec<(String, Item)> = Vec::new();
    let mut seen = HashSet::new();
    for (drive, book) in books.iter().enumerate() {
        // The newest first: it is the one that gets the name.
        for (kept, how) in book.deleted.iter().rev() {
            let fold = kept.path.fold_key();
            if wish.means(kept, &fold, how.at) && seen.insert((fold.clone(), kept.hash)) {
                items.push((fold, item(drive, kept, kept, Some(how.clone()))));
            }
        }
    }
    // Stable: what was deleted last stays first.
    items.sort_by(|a, b| a.0.cmp(&b.0));
    items.into_iter().map(|(_, item)| item).collect()
}

fn item(drive: usize, kept: &Kept, facts: &Kept, deleted: Option<Deletion>) -> Item {
    Item {
        path: kept.path.clone(),
        hash: facts.hash,
        size: facts.size,
        mtime: facts.mtime,
        sources: vec![Source { drive, place: kept.place() }],
        deleted,
    }
}

/// Every place where the content of one of the items lies: what is under its name before what is in the trash.
fn by_content(books: &[Book], items: &[Item]) -> HashMap<ContentHash, Vec<Source>> {
    let mut places: HashMap<ContentHash, Vec<Source>> =
        items.iter().filter_map(|item| Some((item.hash?, Vec::new()))).collect();
    let mut note = |drive, kept: &Kept| {
        if let Some(all) = kept.hash.and_then(|hash| places.get_mut(&hash)) {
            all.push(Source { drive, place: kept.place() });
        }
    };
    for (drive, book) in books.iter().enumerate() {
        book.live.values().for_each(|kept| note(drive, kept));
    }
    for (drive, book) in books.iter().enumerate() {
        book.deleted.iter().for_each(|(kept, _)| note(drive, kept));
    }
    places
}

/// All contents that some drive has a record of.
pub fn recorded(books: &[Book]) -> HashSet<ContentHash> {
    let live = books.iter().flat_map(|book| book.live.values());
    let deleted = books.iter().flat_map(|book| book.deleted.iter().map(|(kept, _)| kept));
    live.chain(deleted).filter_map(|kept| kept.hash).collect()
}

/// A name beside one that is taken: `IMG_1 (restored).JPG`, then `IMG_1 (restored 2).JPG`.
pub fn beside(path: &RelPath, nth: u32) -> Option<RelPath> {
    let word = if nth <= 1 { " (restored)".to_owned() } else { format!(" (restored {nth})") };
    marked(path, &word)
}

/// The name with a mark before its ending, as long a piece of it as fits.
pub fn marked(path: &RelPath, mark: &str) -> Option<RelPath> {
    let name = path.name();
    let (stem, end) = match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() && end.len() <= 10 => (stem, format!(".{end}")),
        Some(_) | None => (name, String::new()),
    };
    let mut stem = stem.to_owned();
    loop {
        if let Ok(made) = path.sibling(&format!("{stem}{mark}{end}")) {
            return Some(made);
        }
        stem.pop()?;
    }
}

#[cfg(test)]
#[path = "restoring_tests.rs"]
mod tests;
