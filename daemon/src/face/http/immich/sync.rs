//! `/api/sync`: what changed since the phone app asked last, as lines of JSON, and up to where it says that it has it.
//!
//! The kinds come in an order in which each names only what came before it: photos, what they say of themselves, albums, what is in them. The
//! app's tables refer to each other, and a line that refers to nothing ends its sync.
use std::collections::BTreeSet;

use hyper::StatusCode;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use super::answer::{json, read};
use super::telling::{
    ALBUM_GONE, ASSET_GONE, COMPLETE, EXIF, Form, Lines, MEMBER, MEMBER_GONE, OWNER, RESET, reset,
};
use crate::face::http::body::Payload;
use crate::face::http::reply::{self, Deny, Reply};
use crate::model::account::Device;
use crate::model::uuid::Uuid;
use crate::work::error::Refusal;
use crate::work::library::{Feed, Library, Now};

/// Changes that are looked up at once: the catalogue serves nobody else meanwhile.
const PAGE: usize = 200;
/// Acknowledgements in one request, as Immich has it.
const MOST_ACKS: usize = 1000;
/// A kind's name, and more.
const LONGEST: usize = 2000;
const LINES: &str = "application/jsonlines+json";

/// `SyncStreamDto`. Kinds that nothing is known of are passed over: nothing of theirs ever changes.
#[derive(Deserialize)]
struct Wanted {
    types: Vec<String>,
    #[serde(default)]
    reset: Option<bool>,
}

/// What comes next in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    People,
    Photos,
    Details,
    Albums,
    Owners,
    Members,
    End,
}

impl Kind {
    const ORDER: [Self; 6] =
        [Self::People, Self::Photos, Self::Details, Self::Albums, Self::Owners, Self::Members];

    fn next(self) -> Self {
        let at = Self::ORDER.iter().position(|kind| *kind == self);
        at.and_then(|at| Self::ORDER.get(at + 1).copied()).unwrap_or(Self::End)
    }
}

/// Which kinds were asked for, and in which form.
struct Asked {
    auth_user: bool,
    users: bool,
    photos: Option<Form>,
    details: bool,
    albums: Option<Form>,
    owners: bool,
    members: bool,
}

impl Asked {
    fn new(types: &[String]) -> Self {
        let has = |name: &str| types.iter().any(|asked| asked == name);
        let form = |v1, v2| if has(v2) { Some(Form::V2) } else { has(v1).then_some(Form::V1) };
        Self {
            auth_user: has("AuthUsersV1"),
            users: has("UsersV1"),
            photos: form("AssetsV1", "AssetsV2"),
            details: has("AssetExifsV1"),
            albums: form("AlbumsV1", "AlbumsV2"),
            owners: has("AlbumUsersV1"),
            members: has("AlbumToAssetsV1"),
        }
    }

    /// The entities of a kind: what is there, and what is gone.
    fn entities(&self, kind: Kind) -> Option<(&'static str, Option<&'static str>)> {
        match kind {
            Kind::Photos => self.photos.map(|form| (form.asset(), Some(ASSET_GONE))),
            Kind::Details => self.details.then_some((EXIF, None)),
            Kind::Albums => self.albums.map(|form| (form.album(), Some(ALBUM_GONE))),
            Kind::Owners => self.owners.then_some((OWNER, None)),
            Kind::Members => self.members.then_some((MEMBER, Some(MEMBER_GONE))),
            Kind::People | Kind::End => None,
        }
    }

    /// All of them.
    fn all(&self) -> String {
        let entities = Kind::ORDER.into_iter().filter_map(|kind| self.entities(kind));
        let names: Vec<&str> = entities.flat_map(|(there, gone)| [Some(there), gone]).flatten().collect();
        names.join(",")
    }
}

/// A stream on its way.
struct Stream {
    library: Library,
    feed: Feed,
    asked: Asked,
    kind: Kind,
    /// Up to which change this kind was told; `None`: it was not begun.
    after: Option<i64>,
    ended: bool,
}

/// Tells a device what changed. One that was never told anything, or of which nothing is known any more, is told to forget what it has: what
/// vanished meanwhile cannot be told. It says that it has, and asks again.
pub(super) fn stream(library: &Library, device: &Device, body: &[u8]) -> Result<Reply, Deny> {
    let wanted: Wanted = read(body)?;
    if wanted.reset == Some(true) {
        library.follow(device)?;
    }
    let Some(feed) = library.feed(device)? else {
        return Ok(reply::whole(StatusCode::OK, LINES, reset()));
    };
    let asked = Asked::new(&wanted.types);
    let library = library.clone();
    let mut stream = Stream { library, feed, asked, kind: Kind::People, after: None, ended: false };
    // The first lines before the status: a drive that is away must answer 503, not a stream without an end.
    let mut first = Some(stream.lines()?);
    let mut reply = reply::whole(StatusCode::OK, LINES, Bytes::new());
    *reply.body_mut() = Payload::pieces(None, move || {
        let text = match first.take() {
            Some(text) => text,
            None => stream.lines().map_err(broken)?,
        };
        Ok((!text.is_empty()).then(|| Bytes::from(text)))
    });
    Ok(reply)
}

/// Ends the connection: what was told cannot be taken for all.
fn broken(deny: Deny) -> Refusal {
    match deny {
        Deny::Refused(refusal) => refusal,
        Deny::Bad(_) | Deny::Status(..) | Deny::Condition(..) | Deny::Locked(_) | Deny::Method(_) => {
            Refusal::Unavailable { why: "a line could not be written".to_owned() }
        }
    }
}

impl Stream {
    /// The next lines; empty: there are none.
    fn lines(&mut self) -> Result<String, Deny> {
        while !self.ended {
            let feed = self.feed.clone();
            let mut lines = Lines::of(&feed);
            match self.kind {
                Kind::People => {
                    lines.people(&self.library, feed.by(), (self.asked.auth_user, self.asked.users))?;
                    self.kind = self.kind.next();
                }
                Kind::End => {
                    lines.complete(feed.until, &self.asked.all())?;
                    self.ended = true;
                }
                kind @ (Kind::Photos | Kind::Details | Kind::Albums | Kind::Owners | Kind::Members) => {
                    match self.asked.entities(kind) {
                        Some(entities) => self.page(kind, entities, &mut lines)?,
                        None => self.kind = kind.next(),
                    }
                }
            }
            if !lines.text.is_empty() {
                return Ok(lines.text);
            }
        }
        Ok(String::new())
    }

    /// A page of one kind. What is gone comes before what is there: the app takes lines of one type together.
    fn page(
        &mut self,
        kind: Kind,
        (there, gone): (&str, Option<&str>),
        lines: &mut Lines<'_>,
    ) -> Result<(), Deny> {
        let heard_there = self.feed.heard_of(there);
        let heard_gone = gone.map_or(i64::MAX, |gone| self.feed.heard_of(gone));
        let after = self.after.unwrap_or_else(|| heard_there.min(heard_gone));
        let heard = Heard { there: heard_there, gone: heard_gone };
        let last = match kind {
            Kind::Photos | Kind::Details => self.photos(kind, after, heard, lines)?,
            Kind::Albums | Kind::Owners => self.albums(kind, after, heard, lines)?,
            Kind::Members => self.members(after, heard, lines)?,
            Kind::People | Kind::End => None,
        };
        (self.kind, self.after) = match last {
            Some(last) => (kind, Some(last)),
            None => (kind.next(), None),
        };
        Ok(())
    }

    fn photos(
        &self,
        kind: Kind,
        after: i64,
        heard: Heard,
        lines: &mut Lines<'_>,
    ) -> Result<Option<i64>, Deny> {
        let page = self.library.feed_photos(&self.feed, after, PAGE)?;
        let (form, by) = (self.asked.photos.unwrap_or(Form::V2), self.feed.by());
        if kind != Kind::Photos {
            return tell(
                &page,
                heard,
                lines,
                |_, _, _| Ok(()),
                |lines, seq, _, asset| lines.details(seq, asset),
            );
        }
        tell(&page, heard, lines, Lines::asset_gone, |lines, seq, _, asset| lines.asset(form, seq, by, asset))
    }

    fn albums(
        &self,
        kind: Kind,
        after: i64,
        heard: Heard,
        lines: &mut Lines<'_>,
    ) -> Result<Option<i64>, Deny> {
        let page = self.library.feed_albums(&self.feed, after, PAGE)?;
        let (form, by) = (self.asked.albums.unwrap_or(Form::V2), self.feed.by());
        if kind != Kind::Albums {
            return tell(&page, heard, lines, |_, _, _| Ok(()), |lines, seq, id, _| lines.owner(seq, by, id));
        }
        tell(&page, heard, lines, Lines::album_gone, |lines, seq, _, album| lines.album(form, seq, by, album))
    }

    /// What changed while this stream runs has moved behind its end: what a line refers to is told with it, once more or for the first time.
    fn members(&self, after: i64, heard: Heard, lines: &mut Lines<'_>) -> Result<Option<i64>, Deny> {
        let page = self.library.feed_members(&self.feed, after, PAGE)?;
        for member in page.iter().filter(|member| matches!(member.now, Now::Gone)) {
            if member.seq > heard.gone {
                lines.member(member.seq, member.album, member.asset, false)?;
            }
        }
        let (by, until) = (self.feed.by(), self.feed.until);
        let mut told = BTreeSet::new();
        for member in page.iter().filter(|member| matches!(member.now, Now::There(()))) {
            if member.seq <= heard.there {
                continue;
            }
            if let (Some(form), Some(asset)) = (self.asked.photos, &member.new_asset)
                && told.insert(asset.id)
            {
                lines.asset(form, until, by, asset)?;
            }
            if let (Some(form), Some(album)) = (self.asked.albums, &member.new_album)
                && told.insert(album.id)
            {
                lines.album(form, until, by, album)?;
                if self.asked.owners {
                    lines.owner(until, by, album.id)?;
                }
            }
            lines.member(member.seq, member.album, member.asset, true)?;
        }
        Ok(page.last().map(|member| member.seq))
    }
}

/// Up to which change a device has heard of what is there, and of what is gone.
#[derive(Clone, Copy)]
struct Heard {
    there: i64,
    gone: i64,
}

/// Tells a page of what a device has not heard of: first what is gone, then what is there. Up to which change that goes.
fn tell<'f, T>(
    page: &[(i64, Uuid, Now<T>)],
    heard: Heard,
    lines: &mut Lines<'f>,
    gone: impl Fn(&mut Lines<'f>, i64, Uuid) -> Result<(), Deny>,
    there: impl Fn(&mut Lines<'f>, i64, Uuid, &T) -> Result<(), Deny>,
) -> Result<Option<i64>, Deny> {
    for (seq, id, now) in page {
        if matches!(now, Now::Gone) && *seq > heard.gone {
            gone(lines, *seq, *id)?;
        }
    }
    for (seq, id, now) in page {
        match now {
            Now::There(what) if *seq > heard.there => there(lines, *seq, *id, what)?,
            Now::There(_) | Now::Gone | Now::Untold => {}
        }
    }
    Ok(page.last().map(|(seq, ..)| *seq))
}

/// `SyncAckDto`.
#[derive(Serialize)]
struct Ack {
    #[serde(rename = "type")]
    entity: String,
    ack: String,
}

/// Up to which change a device has heard of what.
pub(super) fn heard(library: &Library, device: &Device) -> Result<Reply, Deny> {
    let (all, edition) = library.heard(device)?;
    let ack = |(entity, seq): (String, i64)| Ack { ack: format!("{entity}|{seq}|{edition}"), entity };
    Ok(json(StatusCode::OK, &all.into_iter().map(ack).collect::<Vec<_>>()))
}

/// `SyncAckSetDto`.
#[derive(Deserialize)]
struct Acks {
    acks: Vec<String>,
}

/// An acknowledgement that was understood.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    /// It forgot all.
    Reset,
    /// It has all of these kinds up to a change of an edition.
    Has(Vec<&'a str>, i64, &'a str),
}

fn said(ack: &str) -> Option<Said<'_>> {
    let mut parts = ack.split('|');
    let (entity, number) = (parts.next()?, parts.next()?);
    if entity == RESET {
        return Some(Said::Reset);
    }
    let (seq, edition) = (number.parse().ok().filter(|seq| *seq >= 0)?, parts.next()?);
    let known =
        |name: &&str| (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    let entities: Vec<&str> = match entity {
        COMPLETE => parts.next()?.split(',').filter(known).take(16).collect(),
        entity => Some(entity).filter(known).into_iter().collect(),
    };
    Some(Said::Has(entities, seq, edition))
}

/// A device has what it was told.
pub(super) fn hear(library: &Library, device: &Device, body: &[u8]) -> Result<Reply, Deny> {
    let acks: Acks = read(body)?;
    if acks.acks.len() > MOST_ACKS || acks.acks.iter().any(|ack| ack.len() > LONGEST) {
        return Err(Deny::Bad("too many acknowledgements at once"));
    }
    for ack in &acks.acks {
        match said(ack).ok_or(Deny::Bad("an acknowledgement is none of ours"))? {
            Said::Reset => library.follow(device)?,
            Said::Has(entities, seq, edition) => {
                let all: Vec<_> = entities.into_iter().map(|entity| (entity, seq)).collect();
                library.hear(device, edition, &all)?;
            }
        }
    }
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

/// `SyncAckDeleteDto`.
#[derive(Deserialize, Default)]
struct Forgotten {
    #[serde(default)]
    types: Option<Vec<String>>,
}

/// A device wants to be told again.
pub(super) fn unhear(library: &Library, device: &Device, body: &[u8]) -> Result<Reply, Deny> {
    let forgotten: Forgotten = if body.is_empty() { Forgotten::default() } else { read(body)? };
    let types = forgotten.types.unwrap_or_default();
    if types.len() > MOST_ACKS {
        return Err(Deny::Bad("too many types at once"));
    }
    library.unhear(device, &types)?;
    Ok(reply::bare(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn acknowledgements() {
        assert_eq!(said("SyncResetV1|reset"), Some(Said::Reset));
        assert_eq!(said("AssetV2|12|ab.0"), Some(Said::Has(vec!["AssetV2"], 12, "ab.0")));
        assert_eq!(
            said("SyncCompleteV1|7|e|AssetV2,AssetDeleteV1"),
            Some(Said::Has(vec!["AssetV2", "AssetDeleteV1"], 7, "e"))
        );
        // As newer apps may build some of their own.
        assert_eq!(said("AssetV2|12|ab.0|"), Some(Said::Has(vec!["AssetV2"], 12, "ab.0")));
        for none in ["", "AssetV2", "AssetV2|x|e", "AssetV2|-1|e", "AssetV2|1", "SyncCompleteV1|7|e"] {
            assert_eq!(said(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_asked_for() {
        let asked = |types: &[&str]| Asked::new(&types.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        let app =
            asked(&["AuthUsersV1", "AssetsV2", "AssetExifsV1", "AlbumsV2", "AlbumToAssetsV1", "FacesV9"]);
        assert_eq!(
            app.all(),
            "AssetV2,AssetDeleteV1,AssetExifV1,AlbumV2,AlbumDeleteV1,AlbumToAssetV1,AlbumToAssetDeleteV1"
        );
        assert_eq!(asked(&["AssetsV1", "AssetsV2"]).photos, Some(Form::V2));
        assert_eq!(asked(&["AssetsV1"]).photos, Some(Form::V1));
        assert_eq!(asked(&[]).all(), "");
    }

    proptest! {
        #[test]
        fn any_text_is_an_acknowledgement_or_none(text in "\\PC{0,40}|[A-Za-z0-9]{0,9}\\|[0-9-]{0,22}\\|[a-z,|]{0,9}") {
            let _said = said(&text);
        }
    }
}
