//! Steps of a history, what each makes of the names people see, and how histories are drawn.
use std::collections::{BTreeMap, BTreeSet};

use crate::support::luck::{self, Luck};

/// Which drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Drive {
    A,
    B,
}

impl Drive {
    pub(super) const ALL: [Self; 2] = [Self::A, Self::B];

    pub(super) fn dir(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    pub(super) fn role(self) -> &'static str {
        match self {
            Self::A => "primary",
            Self::B => "mirror",
        }
    }
}

/// What somebody does. Contents are numbers; few of them, so that the same one is met again under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Put(String, u64),
    Folder(String),
    Delete(String),
    Move(String, String),
    Copy(String, String),
    /// By hand, on drive A: a new file.
    Drop(String, u64),
    /// By hand, on drive A: another file under the name of one that is there, as most programs save.
    Rewrite(String, u64),
    /// By hand, on drive A: other bytes into the file that is there.
    Overwrite(String, u64),
    /// A byte changes behind everybody's back.
    Flip(Drive, String),
    /// Pulled out.
    Away(Drive),
    /// Ejected, then taken out.
    Ejected(Drive),
    Back(Drive),
    Kill,
    /// Killed that many microseconds after a request was sent.
    Cut(Box<Self>, u64),
    Terminate,
    Verify,
    Rescan,
    /// Until the mirror has nothing to do.
    Rest,
}

/// The bytes of a content.
pub(super) fn content(number: u64) -> Vec<u8> {
    let len = if number.is_multiple_of(5) { 300_000 + number * 9_001 } else { 1 + (number * 7_919) % 40_000 };
    luck::bytes(number, len as usize)
}

/// Files and folders as people see them, by their paths in the device's tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<String, u64>,
    pub(super) folders: BTreeSet<String>,
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

impl Tree {
    fn has(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.folders.contains(path)
    }

    pub(super) fn has_parent(&self, path: &str) -> bool {
        path.rsplit_once('/').is_none_or(|(parent, _)| self.folders.contains(parent))
    }

    fn remove(&mut self, path: &str) {
        self.files.retain(|name, _| name != path && !is_below(name, path));
        self.folders.retain(|name| name != path && !is_below(name, path));
    }

    /// The tree after a request that is granted; `None` where it has to be refused. Requests on which programs do not depend
    /// are not sent at all: see `is_sensible`.
    pub(super) fn after(&self, step: &Step) -> Option<Self> {
        let mut next = self.clone();
        match step {
            Step::Put(name, number) => {
                if self.folders.contains(name) || !self.has_parent(name) {
                    return None;
                }
                next.files.insert(name.clone(), *number);
            }
            Step::Folder(name) => {
                if self.has(name) || !self.has_parent(name) {
                    return None;
                }
                next.folders.insert(name.clone());
            }
            Step::Delete(name) => {
                if !self.has(name) {
                    return None;
                }
                next.remove(name);
            }
            Step::Copy(from, to) => {
                let number = *self.files.get(from)?;
                if !self.has_parent(to) {
                    return None;
                }
                next.files.insert(to.clone(), number);
            }
            Step::Move(from, to) => {
                if !self.has(from) || !self.has_parent(to) {
                    return None;
                }
                next.remove(from);
                next.remove(to);
                let moved = |name: &String| -> Option<String> {
                    let rest = name.strip_prefix(from.as_str())?;
                    (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
                };
                next.files.extend(self.files.iter().filter_map(|(name, n)| Some((moved(name)?, *n))));
                next.folders.extend(self.folders.iter().filter_map(moved));
            }
            Step::Drop(..)
            | Step::Rewrite(..)
            | Step::Overwrite(..)
            | Step::Flip(..)
            | Step::Away(_)
            | Step::Ejected(_)
            | Step::Back(_)
            | Step::Kill
            | Step::Cut(..)
            | Step::Terminate
            | Step::Verify
            | Step::Rescan
            | Step::Rest => return None,
        }
        Some(next)
    }

    /// Whether the outcome of a request is one that all servers agree on.
    pub(super) fn is_sensible(&self, step: &Step) -> bool {
        let folder = |path: &str| self.folders.contains(path);
        if let Step::Copy(from, to) = step {
            return from != to && !folder(from) && !folder(to);
        }
        if let Step::Move(from, to) = step {
            let same_kind = folder(from) == folder(to) || !self.has(to);
            return from != to && !is_below(from, to) && !is_below(to, from) && same_kind;
        }
        true
    }

    /// What may be found after a request that was cut short.
    pub(super) fn after_a_cut(&self, step: &Step) -> Vec<Self> {
        let mut all = vec![self.clone()];
        let Some(after) = self.after(step) else { return all };
        if let Step::Move(_, to) | Step::Copy(_, to) = step {
            // What was there goes to the trash in a commit of its own.
            let mut between = self.clone();
            between.remove(to);
            all.push(between);
        }
        all.push(after);
        all
    }
}

/// A history: what happens, in a box that is set up in one of two ways.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// Deletions reach drive B at once and not a day later.
    pub(super) quick: bool,
    pub(super) steps: Vec<Step>,
}

const FOLDERS: [&str; 3] = ["f", "g", "f/h"];
const CONTENTS: u64 = 14;

fn file(luck: &mut Luck) -> String {
    let name = format!("{}.jpg", luck.below(4));
    match luck.below(4) {
        0 => name,
        folder => format!("{}/{name}", FOLDERS[folder as usize - 1]),
    }
}

fn folder(luck: &mut Luck) -> String {
    FOLDERS[luck.below(3) as usize].to_owned()
}

fn request(luck: &mut Luck) -> Step {
    match luck.below(14) {
        0..=6 => Step::Put(file(luck), luck.below(CONTENTS)),
        7 => Step::Folder(folder(luck)),
        8 => Step::Delete(file(luck)),
        9 if luck.below(3) == 0 => Step::Delete(folder(luck)),
        10 | 11 => Step::Move(file(luck), file(luck)),
        12 if luck.below(2) == 0 => Step::Move(folder(luck), folder(luck)),
        12 => Step::Folder(folder(luck)),
        _ => Step::Copy(file(luck), file(luck)),
    }
}

fn drive(luck: &mut Luck) -> Drive {
    // B is the one that is unplugged more often.
    if luck.below(3) == 0 { Drive::A } else { Drive::B }
}

/// Draws a history of so many steps.
pub(super) fn draw(luck: &mut Luck, steps: usize) -> History {
    let begin = FOLDERS.map(|name| Step::Folder(name.to_owned()));
    let one = |luck: &mut Luck| match luck.below(40) {
        0..=19 => request(luck),
        20 | 21 => Step::Drop(file(luck), luck.below(CONTENTS)),
        22 => Step::Rewrite(file(luck), luck.below(CONTENTS)),
        23 => Step::Overwrite(file(luck), luck.below(CONTENTS)),
        24..=26 => Step::Flip(if luck.below(2) == 0 { Drive::A } else { Drive::B }, file(luck)),
        27 => Step::Away(drive(luck)),
        28 => Step::Ejected(drive(luck)),
        29..=31 => Step::Back(drive(luck)),
        32 => Step::Kill,
        33..=35 => Step::Cut(Box::new(request(luck)), luck.below(30_000)),
        36 => Step::Terminate,
        37 => Step::Verify,
        38 => Step::Rescan,
        _ => Step::Rest,
    };
    let quick = luck.below(2) == 0;
    History { quick, steps: begin.into_iter().chain((0..steps).map(|_| one(luck))).collect() }
}
