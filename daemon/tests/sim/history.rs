//! Histories on one simulated drive: a sequence of uploads and replacements by the recipe, ended by a power cut.
//!
//! The recipe here is the smallest honest user of [`Volume`]: it is what the simulation is itself tested with.
use std::collections::{BTreeMap, BTreeSet};

use shoebox::model::hash::ContentHash;
use shoebox::model::path::RelPath;
use shoebox::model::place::Place;
use shoebox::store::volume::{Volume, VolumeError};

use crate::rng::Rng;
use crate::volume::SimVolume;

/// What somebody was told is safe, and what has to be found again after any cut.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// Under its name.
    pub(crate) named: BTreeMap<RelPath, ContentHash>,
    /// Replaced since, so in the trash.
    pub(crate) retired: BTreeSet<ContentHash>,
    /// Names in the middle of a change: the old or the new content may be there, and the old in the trash.
    pub(crate) in_doubt: BTreeMap<RelPath, ContentHash>,
    /// Lines of the manifest.
    pub(crate) lines: Vec<String>,
}

/// Uploads by the recipe of a drive that takes no chances.
pub(crate) struct Recipe<'a> {
    pub(crate) volume: &'a dyn Volume,
    pub(crate) serial: u64,
}

impl Recipe<'_> {
    /// Makes the directory and all above it, each durable in the one above.
    fn folder(&self, dir: &Place) -> Result<(), VolumeError> {
        let Some(parent) = dir.parent() else { return Ok(()) };
        self.folder(&parent)?;
        if self.volume.make_dir(dir)? {
            self.volume.sync_dir(&parent)?;
        }
        Ok(())
    }

    fn folder_of(&self, place: &Place) -> Result<Place, VolumeError> {
        let dir = place.parent().unwrap_or_else(Place::root);
        self.folder(&dir)?;
        Ok(dir)
    }

    /// Puts bytes under a name; what had it goes to the trash first.
    fn upload(&mut self, path: &RelPath, bytes: &[u8]) -> Result<(), VolumeError> {
        let place = Place::photo(path);
        let dir = self.folder_of(&place)?;
        let mut staged = self.volume.stage(Some(bytes.len() as u64))?;
        for piece in bytes.chunks(5000) {
            staged.write(piece)?;
        }
        let mut synced = staged.sync(None)?;
        if self.volume.stat(&place).is_ok() {
            let linked = self.retire(path, &place)?;
            if linked { synced.publish_over(&place)? } else { synced.publish(&place)? }
        } else {
            synced.publish(&place)?;
        }
        self.volume.sync_dir(&dir)
    }

    /// Gives the old content its name in the trash; `false`: and took the old name away.
    fn retire(&mut self, path: &RelPath, place: &Place) -> Result<bool, VolumeError> {
        self.serial += 1;
        let trash = Place::trash("2026-11-21", self.serial, path);
        let dir = self.folder_of(&trash)?;
        let linked = match self.volume.link(place, &trash) {
            Ok(()) => true,
            Err(VolumeError::Unsupported { .. }) => {
                self.volume.rename_new(place, &trash)?;
                false
            }
            Err(other) => return Err(other),
        };
        self.volume.sync_dir(&dir)?;
        Ok(linked)
    }

    fn note(&self, line: &str) -> Result<(), VolumeError> {
        let file = Place::manifest("2026-11.jsonl");
        let new = self.volume.stat(&file).is_err();
        self.volume.append(&file, line.as_bytes())?;
        if new { self.volume.sync_dir(&Place::manifests()) } else { Ok(()) }
    }
}

/// Runs `steps` uploads on `volume` until one fails, and says what was acknowledged until then.
pub(crate) fn uploads(volume: &SimVolume, rng: &mut Rng, steps: usize) -> Acknowledged {
    let mut told = Acknowledged::default();
    let mut recipe = Recipe { volume, serial: 0 };
    for step in 0..steps {
        let folder = rng.pick(&["anna/phone/2026/11", "anna/phone/2026/12", "ben/phone"]);
        let name = format!("{folder}/{}.jpg", rng.pick(&["a", "b", "c"]));
        let path = RelPath::parse(&name).expect("a path of ours");
        let len = rng.pick(&[0, 1, 700, 4096, 13_000]);
        let mut bytes = rng.bytes(len);
        bytes.extend_from_slice(&step.to_le_bytes());
        let hash = ContentHash::of(&bytes);
        let line = format!("{hash} {name}\n");
        let old = told.named.remove(&path);
        told.in_doubt.extend(old.map(|old| (path.clone(), old)));
        if recipe.upload(&path, &bytes).and_then(|()| recipe.note(&line)).is_err() {
            return told;
        }
        told.retired.extend(told.in_doubt.remove(&path));
        told.named.insert(path, hash);
        told.lines.push(line);
    }
    told
}

/// Says what is lost or wrong of what was acknowledged. `strict`: a name in the middle of a change counts, too.
pub(crate) fn audit(volume: &SimVolume, told: &Acknowledged, strict: bool) -> Result<(), String> {
    let files = volume.files();
    let hashes: BTreeMap<&str, ContentHash> =
        files.iter().map(|(path, bytes)| (path.as_str(), ContentHash::of(bytes))).collect();
    for (path, hash) in &told.named {
        let place = Place::photo(path);
        match hashes.get(place.as_str()) {
            Some(found) if found == hash => {}
            Some(_) => return Err(format!("{path}: other bytes than acknowledged")),
            None => return Err(format!("{path}: not there")),
        }
    }
    let held: BTreeSet<&ContentHash> = hashes.values().collect();
    let doubtful = told.in_doubt.values().filter(|_| strict);
    if let Some(lost) = told.retired.iter().chain(doubtful).find(|hash| !held.contains(hash)) {
        return Err(format!("{lost}: replaced, and not in the trash"));
    }
    let manifest = files.get(Place::manifest("2026-11.jsonl").as_str()).map(|bytes| bytes.to_vec());
    if !manifest.unwrap_or_default().starts_with(told.lines.concat().as_bytes()) {
        return Err("the manifest lacks an acknowledged line".to_owned());
    }
    Ok(())
}
