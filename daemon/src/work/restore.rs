//! Restoring: files from one or more drives into a folder, without a daemon, each compared with its record while it is copied.
//!
//! Drives are only read. Nothing that is in the folder already is overwritten: what is equal counts as done, and beside what is
//! different the restored file gets a name of its own. So a restore that was broken off is simply run again.
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::drive::{DriveId, DriveRole};
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::plan::restoring::{self, Book, Item};
pub use crate::plan::restoring::{Deletion, Wish};
use crate::store::folder::Folder;
use crate::work::views::Progress;

mod copying;
mod looking;
mod salvage;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Order {
    /// Mount points of drives, the one to be believed first.
    pub from: Vec<PathBuf>,
    /// The folder the files go to.
    pub to: PathBuf,
    /// Which files.
    pub wish: Wish,
    /// Of a file without a good copy, salvage what can be read.
    pub salvage: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// No drive, nor a folder with photos, at one of the paths.
    #[error("{path} cannot be restored from: {why}")]
    NoDrive {
        /// The path.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The folder to restore into lies on one of the drives.
    #[error("{path} lies on a drive that is restored from: a drive is only read")]
    OnTheDrive {
        /// The folder.
        path: PathBuf,
    },
    /// The folder to restore into cannot be used.
    #[error("{path} cannot be written to: {why}")]
    NoTarget {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        why: String,
    },
    /// The folder to restore into has not enough room.
    #[error("no room: {needed} bytes are to be restored, and {available} are free")]
    NoRoom {
        /// Bytes that are not there yet.
        needed: u64,
        /// What is free.
        available: u64,
    },
}

/// A drive, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveRead {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its id, where its marker could be read.
    pub drive: Option<DriveId>,
    /// Its role.
    pub role: Option<DriveRole>,
    /// Good lines of its manifest.
    pub lines: u64,
    /// What is wrong with its marker or its manifest; empty: nothing.
    pub trouble: String,
}

/// A file and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Its name.
    pub path: RelPath,
    /// In words; for a file that got another name, that name.
    pub what: String,
}

/// What could be read of a file that no drive has a good copy of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salvaged {
    /// The file.
    pub path: RelPath,
    /// The name of what was salvaged of it; beside it lies a list of the same name and `.txt`.
    pub name: String,
    /// Put together from several bad copies, it has the content that was received.
    pub whole: bool,
    /// Byte ranges, the second number excluded, that no drive has: zeros instead.
    pub lost: Vec<(u64, u64)>,
    /// Byte ranges in which drives differ, and nobody knows which is right.
    pub unsure: Vec<(u64, u64)>,
}

/// A file that would be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its name.
    pub path: RelPath,
    /// Bytes.
    pub size: u64,
    /// Whether there is a record to compare it with.
    pub provable: bool,
    /// How it came into the trash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deletion>,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreReport {
    /// The drives.
    pub drives: Vec<DriveRead>,
    /// Files that the wish means.
    pub files: u64,
    /// Files restored.
    pub restored: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already, equal.
    pub already: u64,
    /// Files that got another name, because another file has theirs.
    pub beside: Vec<Remark>,
    /// Files of which no drive has a record: their bytes are what the drive gave, and nobody can say whether they are right.
    pub unproved: Vec<RelPath>,
    /// Copies that were no good; another one was taken.
    pub passed_over: Vec<Remark>,
    /// Of files that could not be restored: what could be read of them.
    #[serde(default)]
    pub salvaged: Vec<Salvaged>,
    /// Files that could not be restored.
    pub failed: Vec<Remark>,
    /// Folders that could not be read, and names that are no text.
    pub unread: Vec<String>,
    /// Why it ended early; what is left is what the sums lack.
    pub stopped: Option<String>,
    /// What a dry run would restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<Planned>,
}

impl RestoreReport {
    /// Whether everything that was asked for is there now, and proved.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty()
            && self.salvaged.iter().all(|file| file.whole)
            && self.unproved.is_empty()
            && self.unread.is_empty()
            && self.stopped.is_none()
    }
}

/// A drive to read from.
struct Shelf {
    folder: Folder,
    mount: PathBuf,
}

/// Carries out an order. Blocking, as long as it takes.
pub fn restore(order: &Order, progress: &mut dyn FnMut(&Progress)) -> Result<RestoreReport, RestoreError> {
    let mut report = RestoreReport::default();
    let (mut shelves, mut books) = (Vec::new(), Vec::new());
    for path in &order.from {
        let (shelf, book) = looking::read(path, &order.wish, &mut report)?;
        shelves.push(shelf);
        books.push(book);
    }
    let items = restoring::choose(&books, &order.wish);
    report.files = items.len() as u64;
    if order.dry_run {
        report.planned = items.into_iter().map(planned).collect();
        return Ok(report);
    }
    let target = open_target(&order.to, &shelves)?;
    let mut run = Run {
        shelves: &shelves,
        recorded: restoring::recorded(&books),
        any_name: target.takes_any_name(),
        target: &target,
        salvage: order.salvage,
        changed: BTreeSet::new(),
        there: HashSet::new(),
        failed: Vec::new(),
        now: Progress { files_total: report.files, ..Progress::default() },
        report,
        progress,
    };
    drop(books);
    run.has_room(&items)?;
    run.now.bytes_total = items.iter().map(|item| item.size).sum();
    for item in &items {
        if let Err(why) = run.restore(item) {
            run.report.stopped = Some(why);
            break;
        }
    }
    if let Err(why) = run.flush() {
        run.report.stopped.get_or_insert(why);
    }
    run.judge_failures();
    Ok(run.report)
}

fn planned(item: Item) -> Planned {
    Planned { path: item.path, size: item.size, provable: item.hash.is_some(), deleted: item.deleted }
}

fn open_target(to: &Path, shelves: &[Shelf]) -> Result<Folder, RestoreError> {
    let no = |e: io::Error| RestoreError::NoTarget { path: to.to_owned(), why: plain(&e) };
    let on_the_drive = || RestoreError::OnTheDrive { path: to.to_owned() };
    // Before anything is made: a folder on a drive is not even made there.
    let nearest = std::path::absolute(to).map_err(no)?;
    let nearest = nearest.ancestors().find_map(|dir| Folder::open(dir).ok());
    if nearest.is_some_and(|dir| shelves.iter().any(|shelf| dir.is_within(&shelf.folder))) {
        return Err(on_the_drive());
    }
    let target = Folder::make(to).map_err(no)?;
    target.sweep().map_err(no)?;
    Ok(target)
}

/// A kernel's answer without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// A restore under way.
struct Run<'r> {
    shelves: &'r [Shelf],
    target: &'r Folder,
    salvage: bool,
    /// Contents that some record knows.
    recorded: HashSet<ContentHash>,
    /// Whether names are written as people see them, and not as FAT can hold them.
    any_name: bool,
    /// Directories with new entries that are not flushed yet.
    changed: BTreeSet<String>,
    /// Contents that are in the folder now.
    there: HashSet<ContentHash>,
    failed: Vec<(Option<ContentHash>, Remark)>,
    now: Progress,
    report: RestoreReport,
    progress: &'r mut dyn FnMut(&Progress),
}

impl Run<'_> {
    /// How a name is spelled in the folder.
    fn spelled(&self, path: &RelPath) -> String {
        if self.any_name { path.as_str().to_owned() } else { path.on_disk() }
    }

    /// Asked before the first byte. What has its size already is taken for what was restored before.
    fn has_room(&self, items: &[Item]) -> Result<(), RestoreError> {
        let there = |item: &Item| {
            let look = self.target.look(&self.spelled(&item.path)).ok().flatten();
            look.is_some_and(|look| look.size == item.size)
        };
        let needed = items.iter().filter(|item| !there(item)).map(|item| item.size).sum();
        match self.target.room() {
            Ok(available) if available < needed => Err(RestoreError::NoRoom { needed, available }),
            Ok(_) => Ok(()),
            Err(e) => Err(RestoreError::NoTarget { path: self.target.path().to_owned(), why: plain(&e) }),
        }
    }

    /// A name that a drive's record still has, after a power cut between a move and its record: its content is there under the
    /// new one, and nothing of it is lost.
    fn judge_failures(&mut self) {
        for (hash, mut remark) in std::mem::take(&mut self.failed) {
            if hash.is_some_and(|hash| self.there.contains(&hash)) {
                remark.what.push_str("; its content is there under another name");
                self.report.passed_over.push(remark);
            } else {
                self.report.failed.push(remark);
            }
        }
    }

    /// Makes the names durable that were given since.
    fn flush(&mut self) -> Result<(), String> {
        for dir in std::mem::take(&mut self.changed) {
            self.target
                .flush(&dir)
                .map_err(|e| format!("could not flush the folder {dir:?}: {}", plain(&e)))?;
        }
        Ok(())
    }
}

/// What the record of a drive and its folders say together.
type Read = (Shelf, Book);
