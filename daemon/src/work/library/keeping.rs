//! Keeping: an upload without a name gets one in its album or month, or is found to be here already.
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::Date;

use crate::model::account::Device;
use crate::model::hash::ContentHash;
use crate::model::naming::{numbered, split};
use crate::model::offer::Expect;
use crate::model::path::RelPath;
use crate::model::place::Shelf;
use crate::model::uuid::Uuid;
use crate::plan::albums::{FAVORITES, month};
use crate::plan::naming::file_name;
use crate::plan::shelving;
use crate::store::catalogue::library::AssetName;
use crate::store::catalogue::names::NameRow;
use crate::work::error::Refusal;
use crate::work::ingest::{Ack, Outcome, UnnamedReceived};
use crate::work::library::{Library, home, names};
use crate::work::primary::Primary;

/// So many numbers behind a name are tried.
const MOST_NAMES: u32 = 10_000;

/// What the client said of an upload.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The file's name as sent.
    pub name: String,
    /// The local date of the capture; today where the client gave none.
    pub taken: Option<Date>,
    /// The moving half that this is the still of.
    pub motion: Option<Uuid>,
    /// Among the favourites.
    pub favourite: bool,
}

/// An upload that is safe.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What clients call it.
    pub id: Uuid,
    /// Its content.
    pub hash: ContentHash,
    /// Its name.
    pub path: RelPath,
    /// It was here before, and is good.
    pub known: bool,
}

/// Names that nobody else is given until this is dropped.
struct Given {
    giving: Arc<Mutex<HashSet<String>>>,
    folds: Vec<String>,
}

impl Drop for Given {
    fn drop(&mut self) {
        let mut giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        for fold in &self.folds {
            giving.remove(fold);
        }
    }
}

impl Library {
    /// Whether a file would be kept as a photo under this name: empty ones, and what systems leave behind, are not, and a client
    /// that may delete its own must not be told that they are safe.
    pub fn is_keepable(name: &str, size: u64) -> bool {
        shelving::shelf(&file_name(name), size) == Shelf::Photos
    }

    /// Keeps an upload, and returns once it is safe. What the person has already is named as it is: it is read from the medium,
    /// and these bytes heal it where it went bad. `NotFound`: the moving half is not there.
    pub fn keep(&self, received: UnnamedReceived, by: &Device, wish: &Wish) -> Result<Kept, Refusal> {
        let (primary, home) = (self.primary()?, home(&by.person));
        let motion = match wish.motion {
            None => None,
            Some(id) => Some(self.motion(&primary, &home, id)?),
        };
        let hash = received.digests().content;
        let ack = match oldest(&primary, &home, &hash)? {
            Some(name) => received.known_as(name.path).settle()?,
            None => {
                let taken =
                    wish.taken.unwrap_or_else(|| self.pool.now().to_zoned(jiff::tz::TimeZone::UTC).date());
                let folder = home.child(&month(taken)).map_err(|_| Refusal::NoParent)?;
                let (path, given) =
                    self.free_name(&primary, &folder, &file_name(&wish.name), motion.as_ref())?;
                let ack = received.name(path, Expect::Absent).settle().map_err(taken_meanwhile)?;
                drop(given);
                ack
            }
        };
        let path = ack.node().path.clone();
        if let Some(motion) = &motion {
            self.pair(by, &path, motion)?;
        }
        if wish.favourite {
            self.favour(by, &hash)?;
        }
        Ok(kept(&ack, hash))
    }

    /// Keeps what belongs to a photo beside it, under its name and one ending more. What had that name goes to the trash.
    pub fn keep_beside(
        &self,
        received: UnnamedReceived,
        photo: &RelPath,
        ending: &str,
    ) -> Result<Kept, Refusal> {
        let hash = received.digests().content;
        let folder = photo.parent().ok_or(Refusal::NoParent)?;
        let path = folder.child(&format!("{}{ending}", photo.name())).map_err(|_| Refusal::NoParent)?;
        Ok(kept(&received.name(path, Expect::Anything).settle()?, hash))
    }

    fn motion(&self, primary: &Primary, home: &RelPath, id: Uuid) -> Result<NameRow, Refusal> {
        let first = names(primary, home, id)?.into_iter().next().ok_or(Refusal::NotFound)?;
        Ok(first.name)
    }

    /// A name in a folder that nothing has, and for the still of a Live Photo one whose moving half may lie beside it.
    fn free_name(
        &self,
        primary: &Primary,
        folder: &RelPath,
        name: &str,
        motion: Option<&NameRow>,
    ) -> Result<(RelPath, Given), Refusal> {
        let first = folder.child(name).map_err(|_| Refusal::NoParent)?;
        for n in 1..=MOST_NAMES {
            let path = numbered(&first, n).ok_or(Refusal::NoParent)?;
            let pair = motion.map(|motion| beside_still(&path, motion)).transpose()?;
            let folds: Vec<String> = pair.iter().chain([&path]).map(RelPath::fold_key).collect();
            let mut giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
            if folds.iter().any(|fold| giving.contains(fold)) {
                continue;
            }
            let (own, other) = primary.catalogue.read(|r| {
                let other = pair.as_ref().map(|pair| r.name(&pair.fold_key())).transpose()?.flatten();
                Ok((r.name(&path.fold_key())?, other))
            })?;
            let fits = |row: NameRow| motion.is_some_and(|motion| row.hash == motion.hash);
            if own.is_none() && other.is_none_or(fits) {
                giving.extend(folds.iter().cloned());
                return Ok((path, Given { giving: Arc::clone(&self.giving), folds }));
            }
        }
        Err(Refusal::Exists)
    }

    /// Gives the moving half the still's name, beside it. It keeps its own.
    fn pair(&self, by: &Device, still: &RelPath, motion: &NameRow) -> Result<(), Refusal> {
        let beside = beside_still(still, motion)?;
        // Something else has that name already: the still was here before, and its half may be.
        if self.tree.find(&beside)?.is_some() {
            return Ok(());
        }
        self.link(by, motion, &beside)
    }

    /// Lets a photo appear among the favourites.
    pub fn favour(&self, by: &Device, hash: &ContentHash) -> Result<(), Refusal> {
        let (primary, home) = (self.primary()?, home(&by.person));
        let folder = home.child(FAVORITES).map_err(|_| Refusal::NoParent)?;
        self.make_folder(by, &folder)?;
        self.appear_in(&primary, by, &home, hash, &folder).map(drop)
    }

    /// Takes a photo from among the favourites: its names there go to the trash. `NotFound`: there is no such photo. `Forbidden`: it is nowhere
    /// else, and would be gone.
    pub fn unfavour(&self, by: &Device, hash: &ContentHash) -> Result<(), Refusal> {
        let (primary, home) = (self.primary()?, home(&by.person));
        let folder = home.child(FAVORITES).map_err(|_| Refusal::NoParent)?.fold_key();
        let names = primary.catalogue.read(|r| r.names_between(&home, hash, hash))?;
        let is_in = |name: &AssetName| name.name.path.parent().is_some_and(|p| p.fold_key() == folder);
        let (inside, outside): (Vec<_>, Vec<_>) = names.into_iter().partition(is_in);
        match (inside.is_empty(), outside.is_empty()) {
            (true, true) => Err(Refusal::NotFound),
            (false, true) => Err(Refusal::Forbidden),
            (_, false) => inside.iter().try_for_each(|name| self.tree.trash(by, &name.name.path)),
        }
    }

    /// Gives a photo a name in a folder too, unless it has one there. `false`: it had.
    pub(super) fn appear_in(
        &self,
        primary: &Primary,
        by: &Device,
        home: &RelPath,
        hash: &ContentHash,
        folder: &RelPath,
    ) -> Result<bool, Refusal> {
        let names = primary.catalogue.read(|r| r.names_between(home, hash, hash))?;
        let is_in =
            |path: &RelPath| path.parent().is_some_and(|parent| parent.fold_key() == folder.fold_key());
        if names.iter().any(|name| is_in(&name.name.path)) {
            return Ok(false);
        }
        let first = names.into_iter().next().ok_or(Refusal::NotFound)?.name;
        let (path, given) = self.free_name(primary, folder, first.path.name(), None)?;
        self.link(by, &first, &path)?;
        drop(given);
        Ok(true)
    }

    fn link(&self, by: &Device, from: &NameRow, to: &RelPath) -> Result<(), Refusal> {
        let linked = self.tree.copy(by, &from.path, to, false, false);
        linked.map(drop).map_err(taken_meanwhile)
    }

    /// Makes a folder of a person, unless it is there.
    pub(super) fn make_folder(&self, by: &Device, folder: &RelPath) -> Result<(), Refusal> {
        match self.tree.make_folder(by, folder) {
            Ok(()) | Err(Refusal::Exists) => Ok(()),
            Err(Refusal::NoParent) => {
                let above = folder.parent().ok_or(Refusal::NoParent)?;
                self.make_folder(by, &above)?;
                self.make_folder(by, folder)
            }
            Err(refusal) => Err(refusal),
        }
    }
}

fn kept(ack: &Ack, hash: ContentHash) -> Kept {
    let known = ack.outcome() == Outcome::Unchanged;
    Kept { id: Uuid::of_content(&hash), hash, path: ack.node().path.clone(), known }
}

/// The oldest name that a person has for a content, preferably none of the favourites.
fn oldest(primary: &Primary, home: &RelPath, hash: &ContentHash) -> Result<Option<NameRow>, Refusal> {
    let names = primary.catalogue.read(|r| r.names_between(home, hash, hash))?;
    Ok(names.into_iter().next().map(|name| name.name))
}

fn beside_still(still: &RelPath, motion: &NameRow) -> Result<RelPath, Refusal> {
    let folder = still.parent().ok_or(Refusal::NoParent)?;
    let name = format!("{}{}", split(still.name()).0, split(motion.path.name()).1);
    folder.child(&name).map_err(|_| Refusal::NoParent)
}

/// Another dialect took the name that was free a moment ago: sent again, the upload gets the next one.
fn taken_meanwhile(refusal: Refusal) -> Refusal {
    if matches!(refusal, Refusal::Changed | Refusal::Exists) {
        return Refusal::Unavailable { why: "another program took the name meanwhile".to_owned() };
    }
    refusal
}
