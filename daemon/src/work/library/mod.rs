//! A person's photos as a library, for clients that know photos and albums and no folders: a photo is one whatever names it has,
//! an album is a folder of the person. Blocking.
//!
//! It keeps nothing of its own but what clients call their photos: all else is the tree.
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::model::account::{Device, DeviceKind, Slug};
use crate::model::copy::CopyState;
use crate::model::extension::{Medium, VIDEOS, medium};
use crate::model::hash::ContentHash;
use crate::model::media::Media;
use crate::model::naming;
use crate::model::path::{RelPath, fold_text};
use crate::model::uuid::Uuid;
use crate::plan::albums::FAVORITES;
use crate::plan::rights::{Losing, may_take_away};
use crate::store::catalogue::CatalogueError;
use crate::store::catalogue::library::{Among, AssetName, put_client_key};
use crate::store::catalogue::names::NameRow;
use crate::store::catalogue::read::Reader;
use crate::work::error::Refusal;
use crate::work::pool::Pool;
use crate::work::primary::Primary;
use crate::work::tree::Tree;

mod albums;
mod feed;
mod keeping;

pub use albums::{Added, Album};
pub use feed::{Feed, Member, Now};
pub use keeping::{Kept, Wish};

/// Keys of clients that are remembered in memory before they are written down together: a restart that loses some costs
/// uploads of what is here.
const TOGETHER: usize = 64;

/// One photo, video or other file of a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// What clients call it.
    pub id: Uuid,
    /// Its place in the order in which photos came.
    pub place: i64,
    /// Its content.
    pub hash: ContentHash,
    /// Its oldest name.
    pub path: RelPath,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// When it was made, where the client said so.
    pub ctime: Option<Timestamp>,
    /// When the box received it.
    pub received: Timestamp,
    /// SHA-1, once that is known: computed while receiving where a client asks by it, else when it is mirrored.
    pub sha1: Option<[u8; 20]>,
    /// It is among the favourites.
    pub favourite: bool,
    /// The moving half, where this is the still of a Live Photo.
    pub motion: Option<Uuid>,
    /// It is the moving half of one itself.
    pub is_half: bool,
    /// What its bytes say of it; `None`: they were not read yet.
    pub media: Option<Media>,
}

/// Which of a person's photos are asked for; nothing set: all whose SHA-1 is known.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In one of these albums.
    pub albums: Vec<Uuid>,
    /// With this SHA-1.
    pub sha1: Option<[u8; 20]>,
    /// Called this.
    pub called: Option<String>,
}

/// The libraries of all people.
#[derive(Clone)]
pub struct Library {
    pool: Arc<Pool>,
    tree: Tree,
    /// Names that are being given to uploads, folded: two that come at once must not both be told that one is free.
    giving: Arc<Mutex<HashSet<String>>>,
    /// What devices call photos, not written down yet.
    keys: Arc<Mutex<Vec<(String, String, ContentHash)>>>,
    /// Another number in every process.
    run: u64,
}

/// A person's folder.
fn home(person: &Slug) -> RelPath {
    let name = person.clone();
    Device { person: person.clone(), name, kind: DeviceKind::Computer }.root()
}

/// The SHA-1 of a row.
fn sha1(text: Option<&str>) -> Option<[u8; 20]> {
    text.and_then(crate::model::hash::unhex)
}

impl Library {
    /// The libraries of a pool.
    pub fn new(pool: Arc<Pool>) -> Self {
        let tree = Tree::new(Arc::clone(&pool));
        let run = RandomState::new().hash_one(0);
        Self { pool, tree, giving: Arc::default(), keys: Arc::default(), run }
    }

    fn keys(&self) -> MutexGuard<'_, Vec<(String, String, ContentHash)>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The primary, proved to be there.
    fn primary(&self) -> Result<Arc<Primary>, Refusal> {
        self.pool.proved_primary()
    }

    /// For each SHA-1 the person's photo that has it, if it is here and good as far as is known. `None` also where the SHA-1 of what
    /// is here is not known yet: then the upload is recognised when it comes.
    pub fn by_sha1(&self, person: &Slug, all: &[[u8; 20]]) -> Result<Vec<Option<ContentHash>>, Refusal> {
        let (primary, home) = (self.primary()?, home(person));
        let find = |sha1| {
            let Some(hash) = primary.catalogue.read(|r| r.content_by_sha1(sha1))? else { return Ok(None) };
            Ok(self.is_sound(&primary, &home, &hash)?.then_some(hash))
        };
        all.iter().map(find).collect()
    }

    /// Whether a good copy of this content is on the primary under one of the person's names, now.
    fn is_sound(&self, primary: &Primary, home: &RelPath, hash: &ContentHash) -> Result<bool, Refusal> {
        let (id, volume) = (primary.attached.id(), &primary.attached.volume);
        for name in primary.catalogue.read(|r| r.names_between(home, hash, hash))? {
            let copies = primary.catalogue.read(|r| r.copies_of_name(name.name.id))?;
            let good = |state| matches!(state, CopyState::Settled | CopyState::Verified);
            let there = |stat: crate::store::volume::Stat| !stat.is_dir && stat.size == name.name.size;
            if copies.iter().any(|copy| copy.drive == id && copy.hash == *hash && good(copy.state))
                && !self.pool.is_doubted(id, name.name.id)
                && volume.stat(&name.name.place()).is_ok_and(there)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The photo of a person with this id.
    pub fn asset(&self, person: &Slug, id: Uuid) -> Result<Option<Asset>, Refusal> {
        let (primary, home) = (self.primary()?, home(person));
        let names = names(&primary, &home, id)?;
        let Some(first) = names.into_iter().next() else { return Ok(None) };
        Ok(Some(primary.catalogue.read(|r| described(r, &home, first))?))
    }

    /// Up to `limit` photos that fit, in the order they came, after a place and `skip` more.
    pub fn assets(
        &self,
        person: &Slug,
        filter: &Filter,
        from: (i64, u64),
        limit: u64,
    ) -> Result<Vec<Asset>, Refusal> {
        let (primary, home) = (self.primary()?, home(person));
        let mut folders = Vec::new();
        for album in &filter.albums {
            // An album that is not there has no photos; it must not be taken for all of them.
            folders.push(match self.album(person, *album)? {
                Some(album) => album.folder,
                None => return Ok(Vec::new()),
            });
        }
        let among = Among { folders, sha1: filter.sha1, called: filter.called.clone() };
        Ok(primary.catalogue.read(|r| {
            let page = r.assets_among(&home, &among, from, limit)?;
            page.into_iter().map(|name| described(r, &home, name)).collect::<Result<Vec<_>, CatalogueError>>()
        })?)
    }

    /// How many photos and how many videos a person has.
    pub fn count(&self, person: &Slug) -> Result<(u64, u64), Refusal> {
        let primary = self.primary()?;
        let (all, videos) = primary.catalogue.read(|r| r.count_assets(&home(person), &VIDEOS))?;
        Ok((all.saturating_sub(videos), videos))
    }

    /// A person's quota, if there is one, and what is used.
    pub fn quota(&self, person: &Slug) -> Result<(Option<u64>, u64), Refusal> {
        let primary = self.primary()?;
        let quota = primary.catalogue.read(|r| r.quota(person))?;
        Ok((quota, self.pool.used(&primary, person)?))
    }

    /// What uploads may take of the main drive, and what is used of it, bytes; as last measured.
    pub fn space(&self) -> Result<(u64, u64), Refusal> {
        let space = self.pool.primary_space()?;
        Ok((space.for_uploads(), space.total.saturating_sub(space.available)))
    }

    /// When a device was added.
    pub fn device_since(&self, device: &Device) -> Result<Timestamp, Refusal> {
        let rows = self.primary()?.catalogue.read(|r| r.devices())?;
        let row = rows.into_iter().find(|row| row.device == *device && row.revoked.is_none());
        Ok(row.map_or(Timestamp::UNIX_EPOCH, |row| row.created))
    }

    /// When a person was added.
    pub fn person_since(&self, person: &Slug) -> Result<Timestamp, Refusal> {
        let people = self.primary()?.catalogue.read(|r| r.people_since())?;
        Ok(people
            .into_iter()
            .find(|(name, _)| name == person)
            .map_or(Timestamp::UNIX_EPOCH, |(_, since)| since))
    }

    /// Moves all names of these photos to the trash: `NotFound` if one is not there, `Forbidden` if the device may not; then none is.
    pub fn trash(&self, by: &Device, ids: &[Uuid]) -> Result<(), Refusal> {
        let (primary, home) = (self.primary()?, home(&by.person));
        let mut paths = Vec::new();
        for id in ids {
            let names = names(&primary, &home, *id)?;
            if names.is_empty() {
                return Err(Refusal::NotFound);
            }
            for AssetName { name, .. } in names {
                let losing = Losing::File { size: name.size, shelf: name.shelf };
                if !may_take_away(by.kind, &name.path, losing) {
                    return Err(Refusal::Forbidden);
                }
                paths.push(name.path);
            }
        }
        for path in paths {
            match self.tree.trash(by, &path) {
                // The same id twice, or others were faster.
                Ok(()) | Err(Refusal::NotFound) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }

    /// Remembers what a device calls a photo that was acknowledged.
    pub fn remember_key(&self, by: &Device, key: &str, hash: ContentHash) {
        let mut keys = self.keys();
        keys.push((by.label(), key.to_owned(), hash));
        if keys.len() < TOGETHER {
            return;
        }
        let waiting = std::mem::take(&mut *keys);
        drop(keys);
        let written = self.primary().and_then(|primary| {
            Ok(primary.catalogue.write(|tx| {
                waiting.iter().try_for_each(|(device, key, hash)| put_client_key(tx, device, key, hash))
            })?)
        });
        if let Err(refusal) = written {
            log::warn!("{} names that clients have for photos are forgotten: {refusal}", waiting.len());
        }
    }

    /// The same, written down on return: where a client asks by nothing else.
    pub fn remember_key_now(&self, by: &Device, key: &str, hash: &ContentHash) -> Result<(), Refusal> {
        Ok(self.primary()?.catalogue.write(|tx| put_client_key(tx, &by.label(), key, hash))?)
    }

    /// Which of a device's keys that begin with `start` stand for photos that are here and good, by the catalogue's word: there may be
    /// a hundred thousand, and what other hands take away it learns within moments. `start` ends with a blank.
    pub fn keys_held(&self, by: &Device, start: &str) -> Result<BTreeSet<String>, Refusal> {
        let (primary, home) = (self.primary()?, home(&by.person));
        let drive = primary.attached.id();
        let held = primary.catalogue.read(|r| r.client_keys_held(&by.label(), start, &home, drive))?;
        let sure = held.into_iter().filter(|(_, name)| !self.pool.is_doubted(drive, *name));
        Ok(sure.map(|(key, _)| key).collect())
    }

    /// A name, in this folder, of the photo that a device calls by this key.
    pub fn name_by_key(&self, by: &Device, key: &str, folder: &RelPath) -> Result<Option<RelPath>, Refusal> {
        let (primary, home, label) = (self.primary()?, home(&by.person), by.label());
        let Some(hash) = primary.catalogue.read(|r| r.content_by_client_key(&label, key))? else {
            return Ok(None);
        };
        let names = primary.catalogue.read(|r| r.names_between(&home, &hash, &hash))?;
        let is_in =
            |path: &RelPath| path.parent().is_some_and(|parent| parent.fold_key() == folder.fold_key());
        Ok(names.into_iter().map(|name| name.name.path).find(is_in))
    }

    /// Which of these keys stand for photos that are here and good.
    pub fn known_keys<'k>(&self, by: &Device, all: &'k [String]) -> Result<Vec<&'k str>, Refusal> {
        let (primary, home, label) = (self.primary()?, home(&by.person), by.label());
        let waiting: Vec<_> = self.keys().iter().filter(|(device, ..)| *device == label).cloned().collect();
        let mut known = Vec::new();
        for key in all {
            let recent = waiting.iter().rev().find(|(_, other, _)| other == key).map(|(.., hash)| *hash);
            let hash = match recent {
                Some(hash) => Some(hash),
                None => primary.catalogue.read(|r| r.content_by_client_key(&label, key))?,
            };
            if let Some(hash) = hash
                && self.is_sound(&primary, &home, &hash)?
            {
                known.push(key.as_str());
            }
        }
        Ok(known)
    }
}

/// All names that a person has for the photo with this id, oldest first.
fn names(primary: &Primary, home: &RelPath, id: Uuid) -> Result<Vec<AssetName>, Refusal> {
    let (from, to) = id.contents();
    let mut names = primary.catalogue.read(|r| r.names_between(home, &from, &to))?;
    // Two contents with one id are two in 2^122. The older one has it.
    if let Some(hash) = names.first().and_then(|name| name.name.hash) {
        names.retain(|name| name.name.hash == Some(hash));
    }
    Ok(names)
}

/// All that is to be said of a photo under a name.
fn described(r: &Reader<'_>, home: &RelPath, asset: AssetName) -> Result<Asset, CatalogueError> {
    let AssetName { name, sha1: digits } = asset;
    let hash = name.hash.unwrap_or_else(|| ContentHash::of(b""));
    let favorites = format!("{}/{}", home.fold_key(), FAVORITES);
    let is_favourite =
        |other: &NameRow| other.path.parent().is_some_and(|parent| parent.fold_key() == favorites);
    let names = r.names_of_content(&hash)?;
    let own = names.iter().filter(|other| other.path.is_within(home));
    let is_half = own.map(|other| is_half(r, other)).collect::<Result<Vec<_>, _>>()?.contains(&true);
    Ok(Asset {
        id: Uuid::of_content(&hash),
        place: name.id,
        hash,
        motion: motion_of(r, &name)?,
        path: name.path,
        size: name.size,
        mtime: name.mtime,
        ctime: name.ctime,
        received: name.received,
        sha1: sha1(digits.as_deref()),
        favourite: names.iter().any(is_favourite),
        is_half,
        media: r.media(&hash)?,
    })
}

/// The endings that the still of a Live Photo has, and those of its moving half, folded.
const STILLS: [&str; 5] = [".heic", ".heif", ".hif", ".jpg", ".jpeg"];
const HALVES: [&str; 2] = [".mov", ".mp4"];

/// The moving half of a Live Photo lies beside the still under its stem.
fn motion_of(r: &Reader<'_>, still: &NameRow) -> Result<Option<Uuid>, CatalogueError> {
    Ok(beside(r, still, &STILLS, &HALVES)?.map(|hash| Uuid::of_content(&hash)))
}

/// Whether a name is that of a moving half: its still lies beside it.
fn is_half(r: &Reader<'_>, name: &NameRow) -> Result<bool, CatalogueError> {
    Ok(beside(r, name, &HALVES, &STILLS)?.is_some())
}

/// What lies beside a name that has one of these endings, under its stem and one of those.
fn beside(
    r: &Reader<'_>,
    name: &NameRow,
    own: &[&str],
    others: &[&str],
) -> Result<Option<ContentHash>, CatalogueError> {
    let (stem, ending) = naming::split(name.path.name());
    let Some(folder) = name.path.parent().filter(|_| own.contains(&fold_text(ending).as_str())) else {
        return Ok(None);
    };
    for ending in others {
        let beside = folder.child(&format!("{stem}{ending}")).ok();
        let row = beside.map(|path| r.name(&path.fold_key())).transpose()?.flatten();
        if let Some(hash) = row.and_then(|row| row.hash) {
            return Ok(Some(hash));
        }
    }
    Ok(None)
}

impl Asset {
    /// Photo, video or something else.
    pub fn medium(&self) -> Medium {
        medium(self.path.name())
    }
}
