//! Following: what a phone is told of a person's photos and albums, change by change, until it says that it has it.
//!
//! A change says only what is to be looked at again; what it is now is looked up when it is told. So nothing is told twice that changed twice,
//! and whoever is told too much is told the truth.
use jiff::SignedDuration;

use crate::model::account::Device;
use crate::model::copy::CopyState;
use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::model::uuid::Uuid;
use crate::plan::albums::album_of;
use crate::store::catalogue::feed::{self, About, Touched};
use crate::store::catalogue::library::AssetName;
use crate::store::catalogue::nanos;
use crate::work::error::Refusal;
use crate::work::library::{Album, Asset, Library, described, home};
use crate::work::primary::Primary;
use crate::work::tree::{Node, NodeKind};

/// Names that are put into a feed in one go.
const FILL: usize = 2000;
/// A device that did not ask for so long begins anew.
const IDLE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What a device is to be told, up to the change at which it asked.
#[derive(Debug, Clone)]
pub struct Feed {
    by: Device,
    home: RelPath,
    /// The last change of all.
    pub until: i64,
    /// Up to which change the device has heard of what.
    pub heard: Vec<(String, i64)>,
    /// In which numbers of another edition mean other changes: those that a power cut took are given again.
    pub edition: String,
    /// Folded names of folders that are phones'.
    phones: Vec<String>,
}

/// What something is by now.
#[derive(Debug, Clone, PartialEq)]
pub enum Now<T> {
    /// It is there.
    There(T),
    /// It is not.
    Gone,
    /// Nothing that can be told of: no album, or a photo whose SHA-1 or good copy is not there yet.
    Untold,
}

/// A photo in an album.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The change.
    pub seq: i64,
    /// The album.
    pub album: Uuid,
    /// The photo.
    pub asset: Uuid,
    /// Whether it is in it.
    pub now: Now<()>,
    /// The album, where it changed after the device asked: what is in it makes no sense to who was not told of it.
    pub new_album: Option<Album>,
    /// The photo, likewise.
    pub new_asset: Option<Asset>,
}

impl Library {
    /// What a device is to be told; `None`: it begins anew, and has to forget all it was told.
    pub fn feed(&self, by: &Device) -> Result<Option<Feed>, Refusal> {
        let (primary, home, label) = (self.primary()?, home(&by.person), by.label());
        let since = nanos(self.device_since(by)?);
        if primary.catalogue.read(|r| r.follower(&label))? != Some(since) {
            return Ok(None);
        }
        let key = home.fold_key();
        while !primary.catalogue.write(|tx| feed::fill(tx, &key, FILL))? {}
        let phones = self.devices(&primary, &by.person)?;
        let (until, heard) = primary.catalogue.read(|r| Ok((r.feed_end()?, r.heard(&label)?)))?;
        let edition = self.edition(&primary);
        Ok(Some(Feed { by: by.clone(), home, until, heard, edition, phones }))
    }

    /// See [`Feed::edition`].
    fn edition(&self, primary: &Primary) -> String {
        format!("{:x}.{}", self.run, primary.catalogue.opening())
    }

    /// A device follows from the beginning.
    pub fn follow(&self, by: &Device) -> Result<(), Refusal> {
        let (primary, key, now) = (self.primary()?, home(&by.person).fold_key(), self.pool.now());
        let since = self.device_since(by)?;
        let idle = now.saturating_sub(IDLE).unwrap_or_default();
        Ok(primary.catalogue.write(|tx| {
            feed::forget_idle(tx, idle)?;
            feed::follow(tx, &by.label(), &key, since, now)
        })?)
    }

    /// A device follows no longer.
    pub fn unfollow(&self, by: &Device) -> Result<(), Refusal> {
        let (primary, label) = (self.primary()?, by.label());
        if primary.catalogue.read(|r| r.follower(&label))?.is_some() {
            primary.catalogue.write(|tx| feed::unfollow(tx, &label))?;
        }
        Ok(())
    }

    /// A device says up to which change of an edition it has what it was told of some kinds.
    pub fn hear(&self, by: &Device, edition: &str, all: &[(&str, i64)]) -> Result<(), Refusal> {
        let (primary, label, now) = (self.primary()?, by.label(), self.pool.now());
        if edition != self.edition(&primary) {
            return Ok(()); // it is told once more
        }
        let until = primary.catalogue.read(|r| r.feed_end())?;
        // What a power cut takes of it is told once more.
        Ok(primary.catalogue.follow(|tx| {
            all.iter().try_for_each(|(entity, seq)| feed::hear(tx, &label, entity, (*seq).min(until), now))
        })?)
    }

    /// A device wants to be told of some kinds from the beginning; none: of all.
    pub fn unhear(&self, by: &Device, kinds: &[String]) -> Result<(), Refusal> {
        let (primary, label) = (self.primary()?, by.label());
        Ok(primary.catalogue.write(|tx| match kinds {
            [] => feed::unhear(tx, &label, None),
            kinds => kinds.iter().try_for_each(|kind| feed::unhear(tx, &label, Some(kind))),
        })?)
    }

    /// Up to which change a device has heard of what, and in which edition these are counted.
    pub fn heard(&self, by: &Device) -> Result<(Vec<(String, i64)>, String), Refusal> {
        let (primary, label) = (self.primary()?, by.label());
        Ok((primary.catalogue.read(|r| r.heard(&label))?, self.edition(&primary)))
    }

    /// The next photos to be told of, after a change.
    pub fn feed_photos(
        &self,
        feed: &Feed,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Uuid, Now<Asset>)>, Refusal> {
        let primary = self.primary()?;
        let mut photos = Vec::new();
        for Touched { seq, hash, .. } in self.touched(&primary, feed, About::Photos, after, limit)? {
            if let Some(hash) = hash {
                let now = self.photo_now(&primary, feed, &hash)?;
                let now = still(&primary, feed, ("", Some(&hash)), now)?;
                photos.push((seq, Uuid::of_content(&hash), now));
            }
        }
        Ok(photos)
    }

    /// The next albums.
    pub fn feed_albums(
        &self,
        feed: &Feed,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Uuid, Now<Album>)>, Refusal> {
        let primary = self.primary()?;
        let mut albums = Vec::new();
        for Touched { seq, folder, .. } in self.touched(&primary, feed, About::Folders, after, limit)? {
            let id = Uuid::of_name("album", &folder);
            let now = self.album_now(&primary, feed, &folder)?;
            albums.push((seq, id, still(&primary, feed, (&folder, None), now)?));
        }
        Ok(albums)
    }

    /// The next photos in albums.
    pub fn feed_members(&self, feed: &Feed, after: i64, limit: usize) -> Result<Vec<Member>, Refusal> {
        let (primary, key) = (self.primary()?, feed.home.fold_key());
        let mut members = Vec::new();
        for Touched { seq, folder, hash } in self.touched(&primary, feed, About::Members, after, limit)? {
            let Some(hash) = hash else { continue };
            let (album, asset) = (Uuid::of_name("album", &folder), Uuid::of_content(&hash));
            let mut member = Member { seq, album, asset, now: Now::Untold, new_album: None, new_asset: None };
            if is_album(feed, &folder) {
                let is_in = primary.catalogue.read(|r| {
                    let is_here =
                        |n: &AssetName| n.name.path.parent().is_some_and(|p| p.fold_key() == folder);
                    Ok(r.names_between(&feed.home, &hash, &hash)?.iter().any(is_here))
                })?;
                let photo = if is_in { self.photo_now(&primary, feed, &hash)? } else { Now::Gone };
                // After it: a photo that could be told of only a moment ago (its SHA-1 came) was touched by that, and nobody told of it before.
                let (album_at, photo_at) = primary.catalogue.read(|r| {
                    Ok((r.last_touched(&key, &folder, None)?, r.last_touched(&key, "", Some(&hash))?))
                })?;
                if let (Now::There(_), true) = (&photo, album_at > feed.until) {
                    member.new_album = self.album_now(&primary, feed, &folder)?.there();
                }
                member.now = photo.to_unit();
                member.new_asset = photo.there().filter(|_| photo_at > feed.until);
            }
            members.push(member);
        }
        Ok(members)
    }

    fn touched(
        &self,
        primary: &Primary,
        feed: &Feed,
        about: About,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Touched>, Refusal> {
        Ok(primary.catalogue.read(|r| r.feed(&feed.home.fold_key(), about, (after, feed.until), limit))?)
    }

    /// A photo is told of once its SHA-1 is known and a copy on the main drive is good. One that went bad later stays told: its
    /// copies are healed from each other, and a phone that was told of a deletion might delete its own.
    fn photo_now(&self, primary: &Primary, feed: &Feed, hash: &ContentHash) -> Result<Now<Asset>, Refusal> {
        let drive = primary.attached.id();
        let is_good = |state| matches!(state, CopyState::Settled | CopyState::Verified);
        Ok(primary.catalogue.read(|r| {
            let names = r.names_between(&feed.home, hash, hash)?;
            let Some(first) = names.first().cloned() else { return Ok(Now::Gone) };
            if first.sha1.is_none() {
                return Ok(Now::Untold);
            }
            for name in &names {
                let copies = r.copies_of_name(name.name.id)?;
                if copies.iter().any(|copy| copy.drive == drive && is_good(copy.state))
                    && !self.pool.is_doubted(drive, name.name.id)
                {
                    return described(r, &feed.home, first).map(Now::There);
                }
            }
            Ok(Now::Untold)
        })?)
    }

    /// The album in a folder, by its folded name.
    fn album_now(&self, primary: &Primary, feed: &Feed, folder: &str) -> Result<Now<Album>, Refusal> {
        if !is_album(feed, folder) {
            return Ok(Now::Untold);
        }
        let node = primary.catalogue.read(|r| r.name(folder))?.map(Node::from);
        let Some(node) = node.filter(|node| node.kind == NodeKind::Folder) else { return Ok(Now::Gone) };
        let Some(name) = album_of(node.path.name(), |folder| is_phone(feed, folder)) else {
            return Ok(Now::Untold);
        };
        let mut album = self.described_album(primary, &feed.home, name, &node)?;
        // A cover that the device was not told of yet comes with the next change of the album.
        if let Some(cover) = album.cover {
            let (from, to) = cover.contents();
            let told = primary.catalogue.read(|r| {
                let first = r.names_between(&feed.home, &from, &to)?.into_iter().find_map(|n| n.name.hash);
                first.map_or(Ok(i64::MAX), |hash| r.last_touched(&feed.home.fold_key(), "", Some(&hash)))
            })?;
            album.cover = album.cover.filter(|_| told <= feed.until);
        }
        Ok(Now::There(album))
    }
}

/// Whether a folder, by its folded name, is an album's, or was: its folded name is all that is left of one that is gone.
fn is_album(feed: &Feed, folder: &str) -> bool {
    let path = RelPath::parse(folder).ok();
    let directly =
        path.filter(|path| path.parent().is_some_and(|above| above.fold_key() == feed.home.fold_key()));
    directly.is_some_and(|path| album_of(path.name(), |folder| is_phone(feed, folder)).is_some())
}

fn is_phone(feed: &Feed, folder: &str) -> bool {
    feed.phones.iter().any(|phone| phone == folder)
}

/// What has changed since the device asked has moved behind the end of this stream, and comes with the next one. Told of now, it could be
/// described to who was not told of it: the kinds before this one were looked up earlier. So it is asked after looking up what it is.
fn still<T>(
    primary: &Primary,
    feed: &Feed,
    (folder, hash): (&str, Option<&ContentHash>),
    now: Now<T>,
) -> Result<Now<T>, Refusal> {
    let touched = primary.catalogue.read(|r| r.last_touched(&feed.home.fold_key(), folder, hash))?;
    Ok(if touched > feed.until { Now::Untold } else { now })
}

impl<T> Now<T> {
    /// What is there.
    fn there(self) -> Option<T> {
        match self {
            Self::There(it) => Some(it),
            Self::Gone | Self::Untold => None,
        }
    }

    fn to_unit(&self) -> Now<()> {
        match self {
            Self::There(_) => Now::There(()),
            Self::Gone => Now::Gone,
            Self::Untold => Now::Untold,
        }
    }
}

impl Feed {
    /// Whose it is.
    pub fn by(&self) -> &Device {
        &self.by
    }

    /// Up to which change something was heard of.
    pub fn heard_of(&self, entity: &str) -> i64 {
        self.heard.iter().find(|(name, _)| name == entity).map_or(0, |(_, seq)| *seq)
    }
}
