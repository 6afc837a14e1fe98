//! `POST /api/assets`: a form with one photo, and perhaps its moving half and its sidecar. Files are staged as they come, whatever the
//! order of the fields, and get their names when the whole form is here.
use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::fmt::temporal::Pieces;
use serde::Serialize;

use super::Cx;
use super::answer::json;
use super::check::{own_key, sha1};
use super::socket;
use crate::face::http::multipart::{BadForm, Event, Form, boundary};
use crate::face::http::reply::{Deny, Reply};
use crate::face::http::upload::{self, Sink};
use crate::model::account::Device;
use crate::model::hash::{Also, ContentHash, DeclaredHash};
use crate::model::offer::Unnamed;
use crate::model::uuid::Uuid;
use crate::work::error::Refusal;
use crate::work::ingest::{Ingest, UnnamedIncoming, UnnamedReceived};
use crate::work::library::{Kept, Library, Wish};

/// A field's value.
const MOST_FIELD: usize = 4 * 1024;
/// All that is passed over in one form.
const MOST_IGNORED: usize = 1 << 20;
/// What a form has besides its files, at most, when it is asked whether there is room.
const OVERHEAD: u64 = 16 * 1024;

/// A file of the form.
struct File {
    incoming: UnnamedIncoming,
    name: String,
    size: u64,
}

/// What the bytes that come belong to.
enum Current {
    Nothing,
    Field(String, Vec<u8>),
    Asset,
    Motion,
    Sidecar,
    Ignored,
}

/// What the fields said.
#[derive(Default)]
struct Fields {
    created: Option<String>,
    modified: Option<String>,
    file_name: Option<String>,
    favourite: bool,
    live_video: Option<String>,
    own_id: Option<String>,
    device_id: Option<String>,
}

/// A form on its way in.
struct Taking {
    form: Form,
    library: Library,
    ingest: Ingest,
    device: Device,
    fields: Fields,
    current: Current,
    ignored: usize,
    /// Begun before the first byte was asked for, so that a refusal comes before it.
    begun: Option<UnnamedIncoming>,
    asset: Option<File>,
    motion: Option<File>,
    sidecar: Option<File>,
}

/// A form that was taken in.
struct Taken {
    kept: Kept,
    own_id: Option<String>,
}

/// `AssetMediaResponseDto`; apps before 3.0 also read their own id.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_asset_id: Option<String>,
}

/// Created (201) or here before (200): either way the photo is safe.
fn answer(id: Uuid, known: bool, device_asset_id: Option<String>) -> Reply {
    let (code, status) = if known { (StatusCode::OK, "duplicate") } else { (StatusCode::CREATED, "created") };
    json(code, &Answer { id: id.to_string(), status, device_asset_id })
}

/// Takes a form in.
pub(super) async fn upload(cx: Cx, body: &mut Option<Incoming>) -> Result<Reply, Deny> {
    let boundary = boundary(&cx.headers)
        .ok_or(Deny::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a form with files was expected"))?;
    let announced = match cx.headers.get("x-immich-checksum") {
        None => None,
        Some(value) => {
            Some(value.to_str().ok().and_then(sha1).ok_or(Deny::Bad("x-immich-checksum must be a SHA-1"))?)
        }
    };
    let face = &cx.shared.face;
    if let Some(announced) = announced {
        let (library, person) = (face.library.clone(), cx.device.person.clone());
        let known = upload::blocking(&face.pool, move || Ok(library.by_sha1(&person, &[announced])?));
        // Before the body, so that the client need not send it.
        if let Some(hash) = known.await?.into_iter().next().flatten() {
            return Ok(answer(Uuid::of_content(&hash), true, None));
        }
    }
    let length = body.as_ref().and_then(|body| body.size_hint().exact());
    let waits = upload::waits(&cx.headers);
    let unnamed = Unnamed {
        by: cx.device.clone(),
        expected: length.unwrap_or(0).saturating_sub(OVERHEAD),
        declared: announced.map(DeclaredHash::Sha1).into_iter().collect(),
        also: ALSO,
    };
    let told = cx.device.clone();
    let (ingest, library, device) = (face.ingest.clone(), face.library.clone(), cx.device);
    let begin = move || Taking::begin(Form::new(&boundary), library, ingest, device, unnamed);
    let taken = match upload::whole(body, face, length, waits).await? {
        Some(pieces) => {
            let all = move || {
                let mut taking = begin()?;
                pieces.iter().try_for_each(|bytes| taking.write(bytes))?;
                taking.finish()
            };
            upload::blocking(&face.pool, all).await?
        }
        None => upload::pump(body, face, begin).await?,
    };
    socket::tell(&cx.shared, &told, taken.kept.id).await;
    Ok(answer(taken.kept.id, taken.kept.known, taken.own_id))
}

/// Clients of this dialect ask by it.
const ALSO: Also = Also { sha1: true, sha256: false };

impl From<BadForm> for Deny {
    fn from(bad: BadForm) -> Self {
        Self::Bad(bad.0)
    }
}

impl Sink for Taking {
    type Done = Taken;

    fn write(&mut self, bytes: &Bytes) -> Result<(), Deny> {
        // The form tells this what it reads, so it cannot be a part of it meanwhile.
        let mut form = std::mem::replace(&mut self.form, Form::new(""));
        let fed = form.feed(bytes, |event| self.heed(event));
        self.form = form;
        fed
    }

    fn finish(mut self) -> Result<Taken, Deny> {
        if !self.form.is_complete() {
            return Err(Deny::Bad("the form ended too early"));
        }
        let mut asset = self.asset.take().ok_or(Deny::Bad("assetData is missing"))?;
        if let Some(name) = self.fields.file_name.take().filter(|name| !name.is_empty()) {
            asset.name = name;
        }
        let is_kept = |file: &File| Library::is_keepable(&file.name, file.size);
        if !is_kept(&asset) || self.motion.as_ref().is_some_and(|motion| motion.size > 0 && !is_kept(motion))
        {
            return Err(Deny::Bad(
                "an empty file, or one that a system leaves behind, is not kept as a photo",
            ));
        }
        let ctime = self.fields.created.as_deref().and_then(moment);
        let mtime = self.fields.modified.as_deref().and_then(moment).or(ctime);
        // All files are whole and fit what was announced before any gets a name.
        let finish = |file: File| -> Result<(UnnamedReceived, String), Deny> {
            Ok((file.incoming.finish(mtime, ctime)?, file.name))
        };
        let motion = self.motion.take().filter(|file| file.size > 0).map(finish).transpose()?;
        let sidecar = self.sidecar.take().filter(|file| file.size > 0).map(finish).transpose()?;
        let (asset, name) = finish(asset)?;
        self.settle(asset, name, motion, sidecar)
    }
}

impl Taking {
    fn begin(
        form: Form,
        library: Library,
        ingest: Ingest,
        device: Device,
        unnamed: Unnamed,
    ) -> Result<Self, Deny> {
        let begun = Some(ingest.begin_unnamed(unnamed)?);
        let (fields, current) = (Fields::default(), Current::Nothing);
        let (asset, motion, sidecar) = (None, None, None);
        Ok(Self { form, library, ingest, device, fields, current, ignored: 0, begun, asset, motion, sidecar })
    }

    fn heed(&mut self, event: Event) -> Result<(), Deny> {
        match event {
            Event::Begin(head) => {
                let file_name = head.file_name.unwrap_or_default();
                self.current = match head.name.as_str() {
                    "assetData" => {
                        let incoming = self.begun.take().ok_or(Deny::Bad("assetData is there twice"))?;
                        self.asset = Some(File { incoming, name: file_name, size: 0 });
                        Current::Asset
                    }
                    "livePhotoData" if self.motion.is_none() => {
                        self.motion = Some(self.another(file_name)?);
                        Current::Motion
                    }
                    "sidecarData" if self.sidecar.is_none() => {
                        self.sidecar = Some(self.another(file_name)?);
                        Current::Sidecar
                    }
                    "livePhotoData" | "sidecarData" => return Err(Deny::Bad("a file is there twice")),
                    "fileCreatedAt" | "fileModifiedAt" | "filename" | "isFavorite" | "livePhotoVideoId"
                    | "deviceAssetId" | "deviceId" => Current::Field(head.name, Vec::new()),
                    _ => Current::Ignored,
                };
                Ok(())
            }
            Event::Bytes(bytes) => self.bytes(&bytes),
            Event::End => match std::mem::replace(&mut self.current, Current::Nothing) {
                Current::Field(name, value) => self.field(&name, value),
                Current::Nothing | Current::Asset | Current::Motion | Current::Sidecar | Current::Ignored => {
                    Ok(())
                }
            },
        }
    }

    fn another(&self, name: String) -> Result<File, Deny> {
        let by = self.device.clone();
        let unnamed = Unnamed { by, expected: 0, declared: Vec::new(), also: ALSO };
        Ok(File { incoming: self.ingest.begin_unnamed(unnamed)?, name, size: 0 })
    }

    fn bytes(&mut self, bytes: &Bytes) -> Result<(), Deny> {
        let file = match &mut self.current {
            Current::Asset => &mut self.asset,
            Current::Motion => &mut self.motion,
            Current::Sidecar => &mut self.sidecar,
            Current::Field(_, value) if value.len() + bytes.len() <= MOST_FIELD => {
                value.extend_from_slice(bytes);
                return Ok(());
            }
            Current::Field(..) => return Err(Deny::Bad("a field is too long")),
            Current::Nothing | Current::Ignored => {
                self.ignored += bytes.len();
                let fits = self.ignored <= MOST_IGNORED;
                return if fits { Ok(()) } else { Err(Deny::Bad("too much of the form means nothing here")) };
            }
        };
        if let Some(file) = file {
            file.incoming.take(bytes)?;
            file.size += bytes.len() as u64;
        }
        Ok(())
    }

    fn field(&mut self, name: &str, value: Vec<u8>) -> Result<(), Deny> {
        let value = String::from_utf8(value).map_err(|_| Deny::Bad("a field is not UTF-8"))?;
        let fields = &mut self.fields;
        match name {
            "fileCreatedAt" => fields.created = Some(value),
            "fileModifiedAt" => fields.modified = Some(value),
            "filename" => fields.file_name = Some(value),
            "isFavorite" => fields.favourite = value == "true",
            "livePhotoVideoId" => fields.live_video = Some(value).filter(|id| !id.is_empty()),
            "deviceAssetId" => fields.own_id = Some(value),
            _ => fields.device_id = Some(value),
        }
        Ok(())
    }

    /// Names all of it: the moving half first, as the apps send it, then the photo, then what lies beside it.
    fn settle(
        self,
        asset: UnnamedReceived,
        name: String,
        motion: Option<(UnnamedReceived, String)>,
        sidecar: Option<(UnnamedReceived, String)>,
    ) -> Result<Taken, Deny> {
        let Self { library, device, fields, .. } = self;
        let taken =
            [&fields.created, &fields.modified].into_iter().flatten().find_map(|text| local_date(text));
        let wish = |name: String| Wish { name, taken, motion: None, favourite: false };
        let live = match (motion, &fields.live_video) {
            (Some((motion, name)), _) => Some(library.keep(motion, &device, &wish(name))?.id),
            (None, Some(id)) => Some(id.parse().map_err(|_| Deny::Bad("livePhotoVideoId must be a UUID"))?),
            (None, None) => None,
        };
        let wish = Wish { motion: live, favourite: fields.favourite, ..wish(name) };
        let kept = library.keep(asset, &device, &wish).map_err(|refusal| {
            let is_gone = live.is_some() && matches!(refusal, Refusal::NotFound);
            if is_gone { Deny::Bad("Live photo video not found") } else { Deny::Refused(refusal) }
        })?;
        if let Some((sidecar, _)) = sidecar {
            library.keep_beside(sidecar, &kept.path, ".xmp")?;
        }
        remember(&library, &device, &fields, kept.hash);
        Ok(Taken { kept, own_id: fields.own_id })
    }
}

fn remember(library: &Library, device: &Device, fields: &Fields, hash: ContentHash) {
    let Some(own_id) = &fields.own_id else { return };
    if let Some(key) = own_key(fields.device_id.as_deref().unwrap_or_default(), own_id) {
        library.remember_key(device, &key, hash);
    }
}

/// The moment a text of ISO 8601 names; one without a zone names none.
fn moment(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok()
}

/// The date as it was where the photo was taken: as written, whatever the zone.
fn local_date(text: &str) -> Option<Date> {
    Pieces::parse(text.trim()).ok().map(|pieces| pieces.date())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    #[test]
    fn dates_are_those_of_the_place() {
        for (text, expected) in [
            ("2026-12-01T00:30:00.000+01:00", Some(date(2026, 12, 1))),
            ("2026-11-30T23:30:00.000Z", Some(date(2026, 11, 30))),
            ("2026-11-30T23:30:00", Some(date(2026, 11, 30))),
            ("2026-11-30T23:30:00+00:00", Some(date(2026, 11, 30))),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(local_date(text), expected, "{text}");
        }
        assert_eq!(moment("2026-12-01T00:30:00.000+01:00"), moment("2026-11-30T23:30:00Z"));
        assert!(moment("2026-11-30T23:30:00Z").is_some());
        assert_eq!(moment("2026-11-30T23:30:00"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_date_or_none(text in "\\PC{0,40}|[0-9TZ:.+-]{0,30}") {
            let _date = local_date(&text);
            let _moment = moment(&text);
        }
    }
}
