//! `Place`: where a file lies on a drive, counted from its root. Only these shapes exist.
use std::fmt;

use crate::model::hash::ContentHash;
use crate::model::path::{RESERVED, RelPath};
use crate::model::snapshot::Snapshot;
use crate::model::upload::{Appended, Part, UploadId};

/// A growing file, in the directory of its upload.
pub(crate) const WHOLE: &str = "whole";
/// One that grows no more.
pub(crate) const CLOSED: &str = "closed";

/// A path from a drive's root, in its on-disk spelling. Made only by the constructors here, so that nothing
/// outside `photos/` and `.shoebox/` can be named.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(String);

/// Which tree a name lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// `photos/`: kept, mirrored, proved.
    Photos,
    /// `.shoebox/scratch/`: litter, temporary names and empty placeholders; readable back, never mirrored, swept.
    Scratch,
}

impl Shelf {
    /// The word stored in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Photos => "photos",
            Self::Scratch => "scratch",
        }
    }
}

impl Place {
    /// The drive's root itself.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// The photos.
    pub fn photos() -> Self {
        Self("photos".to_owned())
    }

    /// Where a person's name lies.
    pub fn photo(path: &RelPath) -> Self {
        Self(format!("photos/{}", path.on_disk()))
    }

    /// The directory of scratch files.
    pub fn scratches() -> Self {
        Self(format!("{RESERVED}/scratch"))
    }

    /// A scratch file lies under its hash and not under its name: whatever a power cut leaves of a row, the bytes it
    /// names are the bytes it has.
    pub fn scratch(hash: &ContentHash) -> Self {
        Self(format!("{RESERVED}/scratch/{hash}"))
    }

    /// Our own directory.
    pub fn own() -> Self {
        Self(RESERVED.to_owned())
    }

    /// The marker that says which drive this is.
    pub fn marker() -> Self {
        Self(format!("{RESERVED}/drive.toml"))
    }

    /// The same once more, in other blocks of the medium.
    pub fn marker_copy() -> Self {
        Self(format!("{RESERVED}/drive.copy.toml"))
    }

    /// The authority that the box's certificates come from, with its private key.
    pub fn authority() -> Self {
        Self(format!("{RESERVED}/authority.pem"))
    }

    /// The certificate that the box shows, with its private key.
    pub fn certificate() -> Self {
        Self(format!("{RESERVED}/certificate.pem"))
    }

    /// The staging directory: whatever lies here is nobody's yet and is swept at start.
    pub fn incoming() -> Self {
        Self(format!("{RESERVED}/incoming"))
    }

    /// A staging name. `id` is ours, never a client's.
    pub fn staged(id: &str) -> Self {
        Self(format!("{RESERVED}/incoming/{id}"))
    }

    /// The directory of uploads that come in parts.
    pub fn uploads() -> Self {
        Self(format!("{RESERVED}/uploads"))
    }

    /// One of them: a directory.
    pub fn upload(id: &UploadId) -> Self {
        Self(format!("{RESERVED}/uploads/{id}"))
    }

    /// What its client said of it.
    pub fn upload_said(id: &UploadId) -> Self {
        Self(format!("{RESERVED}/uploads/{id}/said"))
    }

    /// What became of it.
    pub fn upload_assembled(id: &UploadId) -> Self {
        Self(format!("{RESERVED}/uploads/{id}/assembled"))
    }

    /// How many bytes of it had been acknowledged when some of them were found damaged and thrown away.
    pub fn upload_lacking(id: &UploadId) -> Self {
        Self(format!("{RESERVED}/uploads/{id}/lacking"))
    }

    /// One of its parts, as a file of its own.
    pub fn part(id: &UploadId, number: u64) -> Self {
        Self(format!("{RESERVED}/uploads/{id}/{}", Part::file_name(number)))
    }

    /// The file that its parts are appended to, as long as they come in order.
    pub fn upload_whole(id: &UploadId) -> Self {
        Self(format!("{RESERVED}/uploads/{id}/{WHOLE}"))
    }

    /// The same, once a flush of it failed: from then on it is only read.
    pub fn upload_closed(id: &UploadId) -> Self {
        Self(format!("{RESERVED}/uploads/{id}/{CLOSED}"))
    }

    /// The record of a part that was appended: an empty file, whose name says it all.
    pub fn appended(id: &UploadId, appended: &Appended) -> Self {
        Self(format!("{RESERVED}/uploads/{id}/{appended}"))
    }

    /// The file the health probe writes and reads back.
    pub fn probe() -> Self {
        Self(format!("{RESERVED}/probe"))
    }

    /// Room that is set aside for opening a full drive.
    pub fn ballast() -> Self {
        Self(format!("{RESERVED}/ballast"))
    }

    /// The trash of one day, `YYYY-MM-DD`. `serial` keeps two retirements of one name apart.
    pub fn trash(day: &str, serial: u64, path: &RelPath) -> Self {
        Self(format!("{RESERVED}/trash/{day}/{serial}/{}", path.on_disk()))
    }

    /// All days' trash.
    pub fn trashes() -> Self {
        Self(format!("{RESERVED}/trash"))
    }

    /// Where a damaged copy goes.
    pub fn quarantine(day: &str, serial: u64, path: &RelPath) -> Self {
        Self(format!("{RESERVED}/quarantine/{day}/{serial}/{}", path.on_disk()))
    }

    /// All days' quarantine.
    pub fn quarantines() -> Self {
        Self(format!("{RESERVED}/quarantine"))
    }

    /// The directory of manifests.
    pub fn manifests() -> Self {
        Self(format!("{RESERVED}/manifest"))
    }

    /// A file in the directory of manifests.
    pub fn manifest(file: &str) -> Self {
        Self(format!("{RESERVED}/manifest/{file}"))
    }

    /// The catalogue.
    pub fn catalogue() -> Self {
        Self(format!("{RESERVED}/catalogue.db"))
    }

    /// The catalogue and the files SQLite keeps beside it.
    pub fn catalogue_files() -> [Self; 3] {
        ["", "-wal", "-journal"].map(|end| Self(format!("{RESERVED}/catalogue.db{end}")))
    }

    /// What the catalogue's bytes hash to, while nobody has it open.
    pub fn catalogue_seal() -> Self {
        Self(format!("{RESERVED}/catalogue.sum"))
    }

    /// A name beside this one for a file that is set aside and kept.
    pub fn set_aside(&self, when: &str) -> Self {
        Self(format!("{}.aside-{when}", self.0))
    }

    /// All snapshots of the catalogue.
    pub fn snapshots() -> Self {
        Self(format!("{RESERVED}/snapshots"))
    }

    /// A snapshot of the catalogue.
    pub fn snapshot(snapshot: &Snapshot) -> Self {
        Self(format!("{RESERVED}/snapshots/{snapshot}"))
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory this lies in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.0.rsplit_once('/').map_or_else(Self::root, |(parent, _)| Self(parent.to_owned())))
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Which part of the drive's own folders this is in, without the names of people and photos: `.shoebox/trash/2026-11-21`.
    pub fn own_part(&self) -> String {
        match self.0.strip_prefix(RESERVED) {
            Some(_) => self.0.split('/').take(3).collect::<Vec<_>>().join("/"),
            None => self.0.split('/').take(1).collect(),
        }
    }

    /// A directory entry found below this directory, as the drive spells it. `None` for `.`, `..`, or a name with `/`.
    pub fn entry(&self, name: &str) -> Option<Self> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return None;
        }
        Some(if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}/{name}", self.0)) })
    }

    /// Whether this lies strictly below `dir`.
    pub fn is_below(&self, dir: &Self) -> bool {
        dir.0.is_empty() && !self.0.is_empty()
            || self.0.strip_prefix(&dir.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether our program may unlink what lies here: staging, scratch, parts of uploads, snapshots of the catalogue, damaged ones set aside, its seal, probe
    /// and ballast, nothing else (promise P2).
    pub fn may_be_unlinked(&self) -> bool {
        let trees = [Self::incoming(), Self::scratches(), Self::uploads(), Self::snapshots()];
        trees.iter().any(|tree| self.is_below(tree)) || self.is_own_filling() || self.is_catalogue_aside()
    }

    fn is_own_filling(&self) -> bool {
        *self == Self::probe() || *self == Self::ballast() || *self == Self::catalogue_seal()
    }

    /// A catalogue that was damaged, or one of the files beside it, which was set aside.
    pub fn is_catalogue_aside(&self) -> bool {
        let name = self.0.strip_prefix(RESERVED).and_then(|name| name.strip_prefix("/catalogue.db"));
        name.is_some_and(|rest| rest.contains(".aside-") && !rest.contains('/'))
    }
}

impl Place {
    /// Whether our program may append to what lies here: manifests, nothing else.
    pub fn may_be_appended(&self) -> bool {
        self.is_below(&Self::manifests())
    }

    /// Whether our program may cut off the end of what lies here and append to it: what parts of an upload are appended to, nothing else.
    pub fn may_grow(&self) -> bool {
        self.is_below(&Self::uploads()) && self.name() == WHOLE
    }

    /// Whether our program may replace what lies here in one go: probe, ballast, marker and its copy, the catalogue's seal, the box's certificate (not
    /// the authority it comes from, which phones know) and what is derived beside the manifests.
    pub fn may_be_rewritten(&self) -> bool {
        self.is_own_filling()
            || *self == Self::marker()
            || *self == Self::marker_copy()
            || *self == Self::certificate()
            || (self.is_below(&Self::manifests()) && self.0.ends_with(".sha256"))
    }
}

impl Place {
    /// Whether what lies here is for the daemon's eyes only, whoever may look into the directory.
    pub fn is_secret(&self) -> bool {
        *self == Self::authority() || *self == Self::certificate()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::account::{Device, DeviceKind};

    #[test]
    fn only_staging_scratch_and_snapshots_may_be_unlinked() {
        let name = RelPath::parse("anna/phone/a.jpg").unwrap();
        assert!(Place::staged("x").may_be_unlinked());
        let hash = ContentHash::of(b"x");
        assert!(Place::scratch(&hash).may_be_unlinked());
        let snapshot = Snapshot { day: "2026-11-21".into(), of: "1f0a3b5c".into(), seq: 1, hash };
        assert!(Place::snapshot(&snapshot).may_be_unlinked());
        assert!(Place::catalogue_seal().may_be_unlinked());
        let phone = Device {
            person: "anna".parse().unwrap(),
            name: "phone".parse().unwrap(),
            kind: DeviceKind::Phone,
        };
        let upload = UploadId::of(&phone, "tus", "../../photos/anna");
        assert!(Place::upload_whole(&upload).may_be_unlinked() && Place::upload_whole(&upload).may_grow());
        assert!(Place::upload_closed(&upload).may_be_unlinked() && !Place::upload_closed(&upload).may_grow());
        assert!(
            !Place::photo(&RelPath::parse("whole").unwrap()).may_grow() && !Place::staged("whole").may_grow()
        );
        let notes =
            [Place::upload_said(&upload), Place::upload_assembled(&upload), Place::upload_lacking(&upload)];
        for own in notes.into_iter().chain([Place::part(&upload, 7)]) {
            assert!(own.may_be_unlinked(), "{own}");
            assert!(!own.may_grow(), "{own}");
        }
        assert!(Place::catalogue_files().iter().all(|file| file.set_aside("7").may_be_unlinked()));
        assert!(!Place::photo(&RelPath::parse("catalogue.db.aside-7").unwrap()).may_be_unlinked());
        for kept in [
            Place::photo(&name),
            Place::trash("2026-11-21", 1, &name),
            Place::quarantine("2026-11-21", 1, &name),
            Place::manifest("2026-11.jsonl"),
            Place::marker(),
            Place::marker_copy(),
            Place::authority(),
            Place::authority().set_aside("7"),
            Place::certificate(),
            Place::catalogue(),
            Place::manifest("catalogue.db.aside-7"),
            Place::snapshots(),
            Place::incoming(),
            Place::uploads(),
            Place::root(),
        ] {
            assert!(!kept.may_be_unlinked() && !kept.may_grow(), "{kept}");
        }
    }

    #[test]
    fn parents_end_at_the_root() {
        let place = Place::photo(&RelPath::parse("a/b").unwrap());
        let parent = place.parent().unwrap();
        assert_eq!(parent.as_str(), "photos/a");
        assert_eq!(parent.parent().unwrap().parent().unwrap(), Place::root());
        assert_eq!(Place::root().parent(), None);
        assert!(place.is_below(&Place::root()));
    }
}
