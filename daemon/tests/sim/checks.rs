//! What must hold: after every cut, after every recovery, and when everything has come to rest. The numbers are those
//! of the invariants in the research notes on reliability.
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use shoebox::model::event::What;
use shoebox::model::hash::ContentHash;
use shoebox::model::path::RelPath;
use shoebox::model::place::Place;
use shoebox::store::manifest;

use crate::look::{self, Picture, Row};
use crate::medium::Kind;
use crate::model::{Files, Kept};
use crate::world::{BRAKE, DELAY, Which, World};

const NAMES: &str = "SELECT path, hash, mtime, received, by FROM name
                     WHERE shelf = 'photos' AND hash IS NOT NULL ORDER BY path";
const COPIES: &str =
    "SELECT c.drive, c.at, c.hash, c.state, n.path, n.fold FROM copy c JOIN name n ON n.id = c.name
                      ORDER BY c.drive, c.at";
const HOUR: i64 = 3_600_000_000_000;

/// What was on B before a step of the mirror, and what was to leave it.
pub(crate) struct Before {
    files: Files,
    /// Name on B, since when.
    leaving: Vec<(String, i64)>,
}

fn hash_of(bytes: &[u8]) -> ContentHash {
    ContentHash::of(bytes)
}

fn on_photos(path: &str) -> Result<String, String> {
    let path = RelPath::parse(path).map_err(|e| e.to_string())?;
    Ok(Place::photo(&path).as_str().to_owned())
}

fn kept_below(files: &Files) -> BTreeSet<ContentHash> {
    let trees = ["photos/", ".shoebox/trash/", ".shoebox/quarantine/"];
    let keeps = |path: &str| trees.iter().any(|tree| path.starts_with(tree));
    files.iter().filter(|(path, _)| keeps(path)).map(|(_, bytes)| hash_of(bytes)).collect()
}

fn in_photos(files: &Files) -> BTreeSet<ContentHash> {
    let photos = files.iter().filter(|(path, _)| path.starts_with("photos/"));
    photos.map(|(_, bytes)| hash_of(bytes)).collect()
}

impl World {
    /// Names in the catalogue, as the model would have them.
    pub(crate) fn names(&self) -> Result<Vec<Row>, String> {
        look::rows(&self.catalogue, NAMES)
    }

    fn copies(&self) -> Result<Vec<Row>, String> {
        look::rows(&self.catalogue, COPIES)
    }

    /// Right after a cut, before anything is repaired: contents are there (I1, I3, P5).
    pub(crate) fn check_contents(&mut self) -> Result<(), String> {
        if self.a.is_alive() {
            if self.kinds.0 == Kind::Exfat {
                let excused = &self.model.excused;
                self.model.owed.retain(|hash| !excused.contains(hash));
            }
            let there = kept_below(&self.a.files());
            if let Some(lost) = self.model.owed.iter().find(|hash| !there.contains(hash)) {
                let names: Vec<&Kept> = self.model.names.values().filter(|k| k.hash == *lost).collect();
                return Err(format!("I1/I3: A lost {lost}, acknowledged as {names:?}"));
            }
        }
        if self.b.is_alive() {
            let there = kept_below(&self.b.files());
            if self.kinds.1 == Kind::Exfat && self.model.b_in_flight {
                self.model.mirrored.retain(|hash| there.contains(hash));
            }
            if let Some(lost) = self.model.mirrored.iter().find(|hash| !there.contains(hash)) {
                return Err(format!("P5: B lost {lost}, which it once had"));
            }
        }
        self.check_final_names()
    }

    /// Nothing incomplete under a final name (I2).
    fn check_final_names(&self) -> Result<(), String> {
        for which in [Which::A, Which::B] {
            let volume = self.volume(which);
            let files = if volume.is_alive() { volume.files() } else { Files::new() };
            for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("photos/")) {
                if !self.model.given.contains(&hash_of(bytes)) {
                    return Err(format!("I2: {path} on {which:?} has {} bytes nobody gave", bytes.len()));
                }
            }
        }
        Ok(())
    }

    /// Right after a cut of B: what is recorded as proved is there (I12). Not asked when a step had failed half-way.
    pub(crate) fn check_proofs(&self, which: Which) -> Result<(), String> {
        if !self.volume(which).is_alive() {
            return Ok(());
        }
        let (files, id) = (self.volume(which).files(), World::id(which).to_string());
        for row in self.copies()?.iter().filter(|row| look::text(row, 0) == id) {
            let (at, state, fold) = (look::text(row, 1), look::text(row, 3), look::text(row, 5));
            if !matches!(state.as_str(), "settled" | "verified") {
                continue;
            }
            if which == Which::A && (self.model.is_removed(&fold) || self.model.haunted(&fold)) {
                continue;
            }
            let found = files.get(&on_photos(&at)?).map(|bytes| hash_of(bytes));
            if found != Some(look::hash(row, 2)?) {
                return Err(format!("I8/I12: {at} is {state} on {which:?}, and there is {found:?}"));
            }
        }
        Ok(())
    }

    /// Nothing is left in staging (I6).
    pub(crate) fn check_incoming(&self, which: Which) -> Result<(), String> {
        let files = self.volume(which).files();
        match files.keys().find(|path| path.starts_with(".shoebox/incoming/")) {
            Some(left) => Err(format!("I6: {left} is left on {which:?}")),
            None => Ok(()),
        }
    }

    /// What a catalogue recovered from the manifest says of every name that was not in doubt (I9).
    pub(crate) fn check_rebuilt(&self, before: &[Row]) -> Result<(), String> {
        let sure = |row: &&Row| {
            RelPath::parse(&look::text(row, 0)).is_ok_and(|p| !self.model.haunted(&p.fold_key()))
        };
        let after = self.names()?;
        let (one, two): (Vec<&Row>, Vec<&Row>) =
            (before.iter().filter(sure).collect(), after.iter().filter(sure).collect());
        if let Some(row) = one.iter().find(|row| !two.contains(row)) {
            let now = two.iter().find(|other| look::text(other, 0) == look::text(row, 0));
            return Err(format!("I9: before the loss {row:?}, after it {now:?}"));
        }
        match two.iter().find(|row| !one.contains(row)) {
            Some(row) => Err(format!("I9: {row:?} came out of nothing")),
            None => Ok(()),
        }
    }

    /// Files of other hands that the rescan took over are names from then on.
    pub(crate) fn take_over(&mut self) -> Result<(), String> {
        self.count_again()?;
        if self.model.foreign.is_empty() {
            return Ok(());
        }
        for kept in self.found()? {
            if self.model.foreign.remove(&kept.path.fold_key()).is_some() {
                if !self.model.given.contains(&kept.hash) {
                    return Err(format!("I2: {} was taken over with bytes nobody gave", kept.path));
                }
                self.note(format!("  took {} over", kept.path));
                let now = self.now();
                self.model.stored(kept, now);
            }
        }
        Ok(())
    }

    /// A file that was missing and is back counts from when the box says so.
    fn count_again(&mut self) -> Result<(), String> {
        if self.model.put_back.is_empty() {
            return Ok(());
        }
        let missing = self.missing_on_a()?;
        let back: Vec<String> =
            self.model.put_back.iter().filter(|fold| !missing.contains(*fold)).cloned().collect();
        for fold in back {
            self.model.put_back.remove(&fold);
            let Some(kept) = self.model.names.get(&fold).filter(|_| !self.model.doubts(&fold)) else {
                continue;
            };
            self.model.owed.insert(kept.hash);
            self.model.removed.remove(&fold);
        }
        Ok(())
    }

    /// Names as the catalogue has them now.
    fn found(&self) -> Result<Vec<Kept>, String> {
        let kept = |row: &Row| {
            let path = RelPath::parse(&look::text(row, 0)).map_err(|e| e.to_string())?;
            Ok(Kept { path, hash: look::hash(row, 1)?, mtime: None, by: look::text(row, 4), received: None })
        };
        self.names()?.iter().map(kept).collect()
    }

    /// Looks at what came of the attempts that failed.
    pub(crate) fn resolve_doubts(&mut self) -> Result<(), String> {
        if self.model.doubt.is_empty() {
            return Ok(());
        }
        let found = self.found()?;
        // A rename that was refused after it was made leaves a name without its file, until a person looks.
        let mut without: BTreeSet<String> = self.missing_on_a()?;
        without.retain(|fold| self.model.doubts(fold));
        self.model.resolve(found);
        self.model.removed.extend(without);
        Ok(())
    }

    pub(crate) fn missing_on_a(&self) -> Result<BTreeSet<String>, String> {
        let id = World::id(Which::A).to_string();
        let rows = self.copies()?;
        let missing = rows.iter().filter(|row| look::text(row, 0) == id && look::text(row, 3) == "missing");
        Ok(missing.map(|row| look::text(row, 5)).collect())
    }

    /// At rest, every name is where it should be, on both drives (I1, I8, I12, I16).
    pub(crate) fn check_names(&mut self) -> Result<(), String> {
        let rows: BTreeMap<String, Row> =
            self.names()?.into_iter().map(|row| (look::text(&row, 0), row)).collect();
        let (on_a, on_b) = (self.a.files(), self.b.files());
        for (fold, kept) in &self.model.names {
            if self.model.is_removed(fold) {
                continue;
            }
            let path = kept.path.as_str();
            let row = rows.get(path).ok_or_else(|| format!("I1: {path} is not in the catalogue"))?;
            let nanos = |time: Timestamp| i64::try_from(time.as_nanosecond()).unwrap_or(0);
            let same = look::hash(row, 1)? == kept.hash
                && kept.mtime.is_none_or(|time| nanos(time) == look::number(row, 2))
                && kept.received.is_none_or(|time| nanos(time) == look::number(row, 3))
                && kept.by == look::text(row, 4);
            if !same {
                return Err(format!("I1: {kept:?} is in the catalogue as {row:?}"));
            }
            for (files, which) in [(&on_a, Which::A), (&on_b, Which::B)] {
                let found = files.get(&on_photos(path)?).map(|bytes| hash_of(bytes));
                if found != Some(kept.hash) {
                    return Err(format!("I1/I16: {path} should be {} on {which:?}, is {found:?}", kept.hash));
                }
            }
        }
        for path in rows.keys() {
            let fold = RelPath::parse(path).map_err(|e| e.to_string())?.fold_key();
            if !self.model.names.contains_key(&fold) {
                return Err(format!("{path} is in the catalogue and nobody put it there"));
            }
        }
        self.check_strays(&rows, &on_a)?;
        self.check_states()
    }

    /// At rest, whatever lies in A's photos is known (I16).
    fn check_strays(&self, rows: &BTreeMap<String, Row>, on_a: &Files) -> Result<(), String> {
        let scratch = look::rows(&self.catalogue, "SELECT fold FROM name WHERE shelf = 'scratch'")?;
        let scratch: BTreeSet<String> = scratch.iter().map(|row| look::text(row, 0)).collect();
        for (place, bytes) in on_a.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            let Some(path) = place.strip_prefix("photos/") else { continue };
            let fold = RelPath::parse(path).map_err(|e| e.to_string())?.fold_key();
            // A placeholder in scratch has the name until it is swept.
            if !rows.contains_key(path) && !scratch.contains(&fold) {
                return Err(format!("I16: {path} lies on A, {} bytes, and nobody knows", bytes.len()));
            }
        }
        Ok(())
    }

    /// At rest, whatever lies in B's photos is a copy, or is to leave. Not asked once the catalogue was lost, which had
    /// the names that were to leave, or when a half-made move may have left two names.
    fn check_strays_on_b(&mut self) -> Result<(), String> {
        self.model.b_may_have_strays |=
            self.model.b_in_flight || self.model.unsure_of_scratch || self.model.helped;
        if self.model.b_may_have_strays {
            return Ok(());
        }
        let id = World::id(Which::B).to_string();
        let leaving = look::rows(&self.catalogue, "SELECT drive, at FROM leaving")?;
        let rows = [self.copies()?, leaving].concat();
        let at = |row: &Row| (look::text(row, 0) == id).then(|| on_photos(&look::text(row, 1)));
        let known: BTreeSet<String> = rows.iter().filter_map(at).collect::<Result<_, String>>()?;
        match self.b.files().keys().find(|path| path.starts_with("photos/") && !known.contains(*path)) {
            Some(stray) => Err(format!("I16: {stray} lies on B, and nobody knows")),
            None => Ok(()),
        }
    }

    fn check_states(&mut self) -> Result<(), String> {
        let id = World::id(Which::B).to_string();
        for row in self.copies()? {
            let (on_b, at, state) = (look::text(&row, 0) == id, look::text(&row, 1), look::text(&row, 3));
            if self.model.is_removed(&look::text(&row, 5)) {
                continue;
            }
            // A read that failed while verifying counts as damage until the copy is replaced.
            if state == "damaged" && self.model.shaken {
                continue;
            }
            let right = if on_b { state == "verified" } else { state == "settled" || state == "verified" };
            if !right || at != look::text(&row, 4) {
                return Err(format!(
                    "I16: at rest, {at} is {state}, on B: {on_b}, for {}",
                    look::text(&row, 4)
                ));
            }
            if on_b {
                self.model.mirrored.insert(look::hash(&row, 2)?);
            }
        }
        Ok(())
    }

    /// B's own manifest tells of every copy that counts as proved on it: alone, it is enough to know what B holds (P7).
    pub(crate) fn check_record_of_b(&self) -> Result<(), String> {
        let mut told: BTreeMap<String, ContentHash> = BTreeMap::new();
        let mut take = |what: What| match what {
            What::Stored { path, hash, .. } => drop(told.insert(path.as_str().to_owned(), hash)),
            What::Moved { path, to, .. } => {
                if let Some(hash) = told.remove(path.as_str()) {
                    told.insert(to.as_str().to_owned(), hash);
                }
            }
            What::Quarantined { path, .. } => drop(told.remove(path.as_str())),
            What::Trashed { path, why, .. } if why != "kept" => drop(told.remove(path.as_str())),
            What::Trashed { .. }
            | What::Proved { .. }
            | What::Damaged { .. }
            | What::Person { .. }
            | What::Device { .. }
            | What::Revoked { .. }
            | What::Retired { .. }
            | What::Role { .. }
            | What::Quota { .. }
            | What::Password { .. }
            | What::Folder { .. }
            | What::Answered { .. }
            | What::Touched { .. } => {}
        };
        manifest::read(&self.b, 0, &mut |event| take(event.what)).map_err(|e| e.to_string())?;
        let id = World::id(Which::B).to_string();
        for row in self.copies()?.iter().filter(|r| look::text(r, 0) == id && look::text(r, 3) == "verified")
        {
            let at = look::text(row, 1);
            if told.get(&at) != Some(&look::hash(row, 2)?) {
                return Err(format!("P7: {at} is verified on B and its manifest says {:?}", told.get(&at)));
            }
        }
        Ok(())
    }

    /// What the next step of the mirror is compared with.
    pub(crate) fn before_mirror(&self) -> Result<Before, String> {
        let id = World::id(Which::B).to_string();
        let rows = look::rows(&self.catalogue, "SELECT drive, at, since FROM leaving ORDER BY since")?;
        // What a person answered for may go, however much it is.
        let open = |row: &&Row| look::text(row, 0) == id && look::number(row, 2) > self.answered;
        let own = rows.iter().filter(open);
        let leaving = own.map(|row| (look::text(row, 1), look::number(row, 2))).collect();
        Ok(Before { files: self.b.files(), leaving })
    }

    /// Nothing left B but for its trash, and that not before its time (P5, I15).
    pub(crate) fn after_mirror(&mut self, before: &Before) -> Result<(), String> {
        let after = self.b.files();
        let (photos, kept) = (in_photos(&after), kept_below(&after));
        if let Some(lost) = in_photos(&before.files).iter().find(|hash| !kept.contains(hash)) {
            return Err(format!("P5: {lost} left B's photos, and not for its trash"));
        }
        let due = self.now().saturating_sub(DELAY).map_err(|e| e.to_string())?;
        for (place, bytes) in &after {
            let Some(rest) =
                place.strip_prefix(".shoebox/trash/").filter(|_| !before.files.contains_key(place))
            else {
                continue;
            };
            // Day and serial number come before the name.
            let name = rest.splitn(3, '/').nth(2).unwrap_or_default().to_owned();
            let hash = hash_of(bytes);
            self.note(format!("  B lets {name} go"));
            let fold = RelPath::parse(&name).map_err(|e| e.to_string())?.fold_key();
            let needed = self.model.names.get(&fold).is_some_and(|kept| kept.hash != hash);
            if photos.contains(&hash) || needed || self.model.haunted(&fold) {
                continue;
            }
            if !self.model.deletions.iter().any(|(at, gone)| *gone == hash && *at <= due) {
                return Err(format!("P5: {name} left B before its time"));
            }
            let Some((_, since)) = before.leaving.iter().find(|(at, _)| *at == name) else { continue };
            let around = |from: i64| {
                before.leaving.iter().filter(|(_, at)| (from..=from + HOUR).contains(at)).count() as u64
            };
            let windows = before.leaving.iter().filter(|(_, at)| *at <= *since && *since <= *at + HOUR);
            if let Some(many) = windows.map(|(_, from)| around(*from)).find(|many| *many > BRAKE) {
                return Err(format!("P5: {name} left B though {many} files were deleted within an hour"));
            }
        }
        Ok(())
    }

    /// Everything heals, comes to rest, and is right.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        self.note("everything comes to rest".to_owned());
        for which in [Which::A, Which::B] {
            self.heal(which)?;
        }
        self.disturbed = false;
        self.check_contents()?;
        for which in [Which::A, Which::B] {
            self.watch(which)?;
            self.bring_back(which)?;
            self.watch(which)?;
        }
        self.rescan_all()?;
        self.turn(11);
        self.rescan_all()?;
        self.answer()?;
        self.mirror_to_rest()?;
        self.turn(16 * 60);
        self.mirror_to_rest()?;
        self.resolve_doubts()?;
        self.check_strays_on_b()?;
        self.model.b_in_flight = false;
        self.check_incoming(Which::A)?;
        self.check_incoming(Which::B)?;
        self.check_contents()?;
        self.check_names()?;
        self.check_proofs(Which::A)?;
        self.check_proofs(Which::B)?;
        self.check_record_of_b()
    }

    /// A person says that all of it was meant so, if too much changed at once for the box to go on by itself.
    fn answer(&mut self) -> Result<(), String> {
        let page = self.pool.changes(None, 1).map_err(|e| e.to_string())?;
        if !self.answers || page.summary.is_none() {
            return Ok(());
        }
        self.note(format!("it was me: {:?}", page.summary));
        let missing = self.missing_on_a()?;
        let answered = self.pool.it_was_me(&[], None, &mut |_| ()).map_err(|e| e.to_string())?;
        if answered.open {
            return Err("P5: answered, and the question is still open".to_owned());
        }
        let now = self.now();
        let known: BTreeSet<String> = self.names()?.iter().map(|row| look::text(row, 0)).collect();
        for fold in missing.iter().filter(|fold| !known.contains(*fold)) {
            if let Some(kept) = self.model.names.get(fold).cloned() {
                self.model.trashed(&kept.path, now);
            }
            self.model.taken.remove(fold);
        }
        self.answered = i64::try_from(now.as_nanosecond()).map_err(|e| e.to_string())?;
        Ok(())
    }

    /// The drive is in use, whatever was.
    pub(crate) fn bring_back(&mut self, which: Which) -> Result<(), String> {
        if self.is_attached(which) {
            return Ok(());
        }
        self.attach(which)
            .map_err(|e| format!("{which:?} could not be opened though nothing was wrong: {e}"))?;
        if which == Which::A { self.check_incoming(Which::A) } else { Ok(()) }
    }

    /// The mirror runs until it has nothing to do, which must be soon.
    pub(crate) fn mirror_to_rest(&mut self) -> Result<(), String> {
        for _ in 0..400 {
            if !self.mirror_step(usize::MAX)? {
                return Ok(());
            }
        }
        Err("I19: the mirror does not come to rest".to_owned())
    }

    /// At rest, doing everything twice more changes nothing (I19), and no flush was ever repeated (I5).
    pub(crate) fn check_rest(&mut self) -> Result<(), String> {
        self.sweep()?;
        // A folder that was there for the scratch names in it only goes when they are gone.
        self.rescan_all()?;
        self.rescan_all()?;
        let before = (Picture::of(&self.catalogue)?, self.a.files(), self.b.files());
        for _ in 0..2 {
            self.rescan_all()?;
            self.mirror_to_rest()?;
            self.sweep()?;
        }
        if let Some(difference) = before.0.difference(&Picture::of(&self.catalogue)?) {
            return Err(format!("I19: the catalogue changed at rest:\n{difference}"));
        }
        if before.1 != self.a.files() || before.2 != self.b.files() {
            return Err("I19: files changed at rest".to_owned());
        }
        let repeated = [self.a.repeated_flushes(), self.b.repeated_flushes()].concat();
        if repeated.is_empty() {
            Ok(())
        } else {
            Err(format!("I5: flushed again after a failure: {repeated:?}"))
        }
    }

    /// Time enough for every deletion to come through.
    pub(crate) fn days_go_by(&mut self) {
        self.turn((DELAY + SignedDuration::from_hours(24)).as_secs());
    }
}
