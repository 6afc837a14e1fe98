//! Albums: folders of a person, which photos appear in by a second name.
use jiff::Timestamp;

use crate::model::account::{Device, DeviceKind, Slug};
use crate::model::path::{RelPath, fold_text};
use crate::model::uuid::Uuid;
use crate::plan::albums::{album_of, folder_of, is_month};
use crate::plan::rights::{Losing, may_take_away};
use crate::store::catalogue::library::Among;
use crate::work::error::Refusal;
use crate::work::library::{Library, home, names};
use crate::work::primary::Primary;
use crate::work::tree::{Node, NodeKind};

/// Folders of a person that are looked through for albums.
const MOST_FOLDERS: usize = 10_000;
/// How many at once.
const PAGE: usize = 500;

/// An album.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Album {
    /// What clients call it; it changes with its name.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: RelPath,
    /// When it was made.
    pub created: Timestamp,
    /// When something in it changed last.
    pub changed: Timestamp,
    /// How many photos it has.
    pub assets: u64,
    /// The first of them.
    pub cover: Option<Uuid>,
    /// The dates of its first and last photo.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// What came of adding a photo to an album.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is in it now.
    Now,
    /// It was in it.
    Before,
    /// There is no such photo.
    Unknown,
}

impl Library {
    /// All albums of a person, by name.
    pub fn albums(&self, person: &Slug) -> Result<Vec<Album>, Refusal> {
        let (primary, home) = (self.primary()?, home(person));
        let devices = self.devices(&primary, person)?;
        let mut albums = Vec::new();
        for node in self.folders(&home)? {
            let name = album_of(node.path.name(), |folder| devices.iter().any(|device| device == folder));
            if let Some(name) = name {
                albums.push(self.described_album(&primary, &home, name, &node)?);
            }
        }
        Ok(albums)
    }

    /// One of them.
    pub fn album(&self, person: &Slug, id: Uuid) -> Result<Option<Album>, Refusal> {
        let (primary, home) = (self.primary()?, home(person));
        let devices = self.devices(&primary, person)?;
        for node in self.folders(&home)? {
            let name = album_of(node.path.name(), |folder| devices.iter().any(|device| device == folder));
            if let Some(name) = name.filter(|_| id_of(&node.path) == id) {
                return self.described_album(&primary, &home, name, &node).map(Some);
            }
        }
        Ok(None)
    }

    /// Makes an album, unless there is one of that name: then it is that one. `IsAFolder`, `NotAFolder`: no album can be called so.
    pub fn make_album(&self, by: &Device, name: &str) -> Result<Album, Refusal> {
        let (primary, home) = (self.primary()?, home(&by.person));
        let devices = self.devices(&primary, &by.person)?;
        let folder = folder_of(name, |folder| devices.iter().any(|device| device == folder));
        let folder = folder.and_then(|folder| home.child(&folder).ok()).ok_or(Refusal::NotAFolder)?;
        self.make_folder(by, &folder)?;
        self.album(&by.person, id_of(&folder))?.ok_or(Refusal::NotFound)
    }

    /// The folder of what a client puts into an album of this name, or under a month's; it may not be there yet. `NotAFolder`: no album
    /// can be called so.
    pub fn folder_for(&self, person: &Slug, album: &str) -> Result<RelPath, Refusal> {
        let (primary, home) = (self.primary()?, home(person));
        let devices = self.devices(&primary, person)?;
        let is_device = |folder: &str| devices.iter().any(|device| device == folder);
        let month = Some(album.trim()).filter(|album| is_month(album)).map(str::to_owned);
        let folder = month.or_else(|| folder_of(album, is_device));
        folder.and_then(|folder| home.child(&folder).ok()).ok_or(Refusal::NotAFolder)
    }

    /// Lets photos appear in an album: what came of each, in order.
    pub fn add_to_album(&self, by: &Device, album: &Album, ids: &[Uuid]) -> Result<Vec<Added>, Refusal> {
        let (primary, home) = (self.primary()?, home(&by.person));
        let add = |id: &Uuid| {
            let Some(first) = names(&primary, &home, *id)?.into_iter().next() else {
                return Ok(Added::Unknown);
            };
            let Some(hash) = first.name.hash else { return Ok(Added::Unknown) };
            let is_new = self.appear_in(&primary, by, &home, &hash, &album.folder)?;
            Ok(if is_new { Added::Now } else { Added::Before })
        };
        ids.iter().map(add).collect()
    }

    /// Takes photos out of an album: the names they have there go to the trash, and a photo that has no other stays with its
    /// month's. What came of each, in order; `Unknown`: it is not in the album. `Forbidden`.
    pub fn take_from_album(&self, by: &Device, album: &Album, ids: &[Uuid]) -> Result<Vec<Added>, Refusal> {
        let (primary, home) = (self.primary()?, home(&by.person));
        if !may_take_away(by.kind, &album.folder, Losing::Folder) {
            return Err(Refusal::Forbidden);
        }
        let take = |id: &Uuid| {
            let all = names(&primary, &home, *id)?;
            let in_album =
                |path: &RelPath| path.parent().is_some_and(|p| p.fold_key() == album.folder.fold_key());
            let (inside, outside): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|name| in_album(&name.name.path));
            let (Some(first), is_elsewhere) = (inside.first(), !outside.is_empty()) else {
                return Ok(Added::Unknown);
            };
            if let (false, Some(hash)) = (is_elsewhere, first.name.hash) {
                let taken = first.name.mtime.to_zoned(jiff::tz::TimeZone::UTC).date();
                let month = home.child(&crate::plan::albums::month(taken)).map_err(|_| Refusal::NoParent)?;
                self.make_folder(by, &month)?;
                self.appear_in(&primary, by, &home, &hash, &month)?;
            }
            for name in &inside {
                self.tree.trash(by, &name.name.path)?;
            }
            Ok(Added::Now)
        };
        ids.iter().map(take).collect()
    }

    pub(super) fn described_album(
        &self,
        primary: &Primary,
        home: &RelPath,
        name: String,
        node: &Node,
    ) -> Result<Album, Refusal> {
        let among = Among { folders: vec![node.path.clone()], ..Among::default() };
        let (sum, first) = primary.catalogue.read(|r| {
            Ok((r.folder_sum(&node.path)?, r.assets_among(home, &among, (0, 0), 1)?.into_iter().next()))
        })?;
        Ok(Album {
            id: id_of(&node.path),
            name,
            folder: node.path.clone(),
            created: node.created,
            changed: node.mtime,
            assets: sum.assets,
            cover: first.and_then(|first| first.name.hash).map(|hash| Uuid::of_content(&hash)),
            span: sum.earliest.zip(sum.latest),
        })
    }

    /// Folded names of the phones whose folders are beside the albums'; also of those that may no longer sign in.
    pub(super) fn devices(&self, primary: &Primary, person: &Slug) -> Result<Vec<String>, Refusal> {
        let rows = primary.catalogue.read(|r| r.devices())?;
        let phones = rows.into_iter().map(|row| row.device).filter(|device| device.kind == DeviceKind::Phone);
        let own = phones.filter(|device| device.person == *person);
        Ok(own.map(|device| fold_text(device.name.as_str())).collect())
    }

    fn folders(&self, home: &RelPath) -> Result<Vec<Node>, Refusal> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.tree.list(home, after.as_deref(), PAGE)?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|node| node.path.fold_key());
            all.extend(page.into_iter().filter(|node| node.kind == NodeKind::Folder));
            if is_last || all.len() >= MOST_FOLDERS {
                return Ok(all);
            }
        }
    }
}

/// The id of the album in a folder: of its folded name, so that it stays when the catalogue is made anew.
fn id_of(folder: &RelPath) -> Uuid {
    Uuid::of_name("album", &folder.fold_key())
}
