//! One worker: reads a batch of files, asks what the box has of it, and sends the rest, each file until it is there or cannot be sent.
//!
//! A file counts as safe only if it looked the same before it was read and after the box acknowledged it, and the box's hash of what it
//! got was that of what was read.
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::dialect::{CHUNK, Expect, Remote, Told, chunk_of, upload_id};
use super::run::Run;
use super::scan::{Found, Group, Look};
use super::state::{Became, Row};
use super::trouble::Trouble;
use super::wire::Stretch;
use crate::model::hash::ContentHash;
use crate::model::naming;
use crate::model::path::RelPath;
use crate::os::clock;

/// A file that is being written to is tried so often in one run, and left to rest a little longer each time.
const CHANGES: u32 = 3;
const REST: Duration = Duration::from_secs(1);
/// A file that was written to more recently may still be on its way here.
const QUIET: Duration = Duration::from_secs(2);
/// Names are looked for so often when others take them at the same time.
const NAMES: u32 = 5;
const PIECE: usize = 1 << 20;

/// A file that was read.
struct Ready {
    file: Found,
    hash: ContentHash,
    before: Option<Row>,
}

/// A worker.
pub(super) struct Worker<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) remote: Remote,
}

impl Worker<'_> {
    /// Works until nothing is left, or the run ends.
    pub(super) fn work(&mut self) {
        while let Some(batch) = self.run.next() {
            self.batch(batch);
        }
    }

    fn batch(&mut self, batch: Vec<Group>) {
        let mut ready = Vec::new();
        for group in batch {
            if self.run.allows(group.is_video()) {
                let files: Vec<Ready> = group.0.iter().filter_map(|file| self.read(file)).collect();
                ready.push((group.is_video(), files));
            } else {
                self.run.held_back(&group);
            }
        }
        let hashes: HashSet<ContentHash> =
            ready.iter().flat_map(|(_, files)| files).map(|ready| ready.hash).collect();
        let hashes: Vec<ContentHash> = hashes.into_iter().collect();
        let mut there = match self.run.patiently(|| self.remote.there(&hashes)) {
            Ok(there) => there,
            Err(trouble) => {
                for ready in ready.iter().flat_map(|(_, files)| files) {
                    self.run.failed(&ready.file, ready.before.as_ref(), &trouble);
                }
                return;
            }
        };
        for (video, files) in ready {
            self.group(video, files, &mut there);
        }
    }

    /// Reads a file. `None`: what became of it is noted.
    fn read(&mut self, file: &Found) -> Option<Ready> {
        let before = match self.run.state.find(self.run.id, &file.path) {
            Ok(before) => before,
            Err(e) => {
                self.run.end(super::run::End::Here(format!("{e:#}")));
                None
            }
        };
        match self.hashed(file) {
            Ok((look, hash)) => {
                let file = Found { look, ..file.clone() };
                // Only read because its date was too fresh to be trusted, or somebody touched it.
                let known =
                    before.as_ref().filter(|row| row.hash == Some(hash) && row.became != Became::Failed);
                if let Some(row) = known.filter(|_| !self.run.again) {
                    self.run.unchanged(&file, row);
                    return None;
                }
                Some(Ready { file, hash, before })
            }
            Err(trouble) => {
                self.run.failed(file, before.as_ref(), &trouble);
                None
            }
        }
    }

    /// Hashes a file that rests.
    fn hashed(&self, file: &Found) -> Result<(Look, ContentHash), Trouble> {
        let reading = |e| Trouble::reading(&file.path, &e);
        let (mut attempt, mut rests) = (0, 0);
        while !self.run.has_ended() {
            let before = Look::at(&file.path).map_err(reading)?;
            if let Some(left) = restless(&before).filter(|_| rests < CHANGES) {
                rests += 1;
                self.run.pause(left);
                continue;
            }
            let mut open = File::open(&file.path).map_err(reading)?;
            let (mut hasher, mut piece) = (blake3::Hasher::new(), vec![0; PIECE]);
            loop {
                if self.run.has_ended() {
                    return Err(Trouble::Ended);
                }
                match open.read(&mut piece) {
                    Ok(0) => break,
                    Ok(read) => hasher.update(&piece[..read]),
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => &mut hasher,
                    Err(e) => return Err(reading(e)),
                };
            }
            if restless(&before).is_none() && Look::at(&file.path).map_err(reading)? == before {
                return Ok((before, ContentHash::from_bytes(*hasher.finalize().as_bytes())));
            }
            attempt += 1;
            if attempt >= CHANGES {
                return Err(Trouble::Changed);
            }
            self.run.pause(REST * attempt);
        }
        Err(Trouble::Ended)
    }

    /// Sends what is not there of a group, under names that go together.
    fn group(&mut self, video: bool, files: Vec<Ready>, there: &mut HashSet<ContentHash>) {
        let (here, missing): (Vec<Ready>, Vec<Ready>) =
            files.into_iter().partition(|ready| there.contains(&ready.hash));
        for ready in here {
            let name =
                ready.before.as_ref().map_or_else(|| ready.file.name.to_string(), |row| row.name.clone());
            self.run.arrived(&ready.file, (&name, ready.hash), Became::There);
        }
        let names = match self.names(&missing) {
            Ok(names) => names,
            Err(trouble) => {
                return missing
                    .iter()
                    .for_each(|ready| self.run.failed(&ready.file, ready.before.as_ref(), &trouble));
            }
        };
        for ready in missing {
            // The same bytes a second time, a moment later.
            if there.contains(&ready.hash) {
                self.run.arrived(&ready.file, (ready.file.name.as_str(), ready.hash), Became::There);
                continue;
            }
            let wanted = names.get(&ready.file.name).unwrap_or(&ready.file.name).clone();
            let mut ready = ready;
            match self.until_it_rests(video, &mut ready, wanted) {
                Ok((name, became)) => {
                    there.insert(ready.hash);
                    self.run.arrived(&ready.file, (name.as_str(), ready.hash), became);
                }
                Err(trouble) => self.run.failed(&ready.file, ready.before.as_ref(), &trouble),
            }
        }
    }

    /// Names for files that go together: if one of theirs is taken by something else, all get the same number. One that is sent alone
    /// learns that when it is sent.
    fn names(&mut self, missing: &[Ready]) -> Result<HashMap<RelPath, RelPath>, Trouble> {
        let mut names = HashMap::new();
        if missing.len() < 2 {
            return Ok(names);
        }
        let all = |number: u32| missing.iter().map(move |ready| numbered(&ready.file.name, number));
        let number = {
            let mut is_taken = |number: u32| {
                for (name, ready) in all(number).zip(missing) {
                    let name = name?;
                    let found = self.run.patiently(|| self.remote.look(&name))?;
                    if found.is_some_and(|etag| etag != ready.hash.etag()) {
                        return Ok(true);
                    }
                }
                Ok(false)
            };
            if is_taken(1)? { naming::free_number(is_taken)?.ok_or(Trouble::Taken)? } else { 1 }
        };
        for (name, ready) in all(number).zip(missing) {
            names.insert(ready.file.name.clone(), name?);
        }
        Ok(names)
    }

    /// Sends a file, and does it again if it was written to meanwhile.
    fn until_it_rests(
        &mut self,
        video: bool,
        ready: &mut Ready,
        wanted: RelPath,
    ) -> Result<(RelPath, Became), Trouble> {
        for attempt in 1..=CHANGES {
            match self.send(video, ready, &wanted) {
                Ok(name) => {
                    let now = Look::at(&ready.file.path);
                    if now.map_err(|e| Trouble::reading(&ready.file.path, &e))? == ready.file.look {
                        return Ok((name, Became::Sent));
                    }
                    // What the box has is an earlier state of it, and stays: somebody may count on those bytes.
                }
                Err(Trouble::Changed) => {}
                Err(trouble) => return Err(trouble),
            }
            if attempt == CHANGES {
                break;
            }
            self.run.pause(REST * attempt);
            (ready.file.look, ready.hash) = self.hashed(&ready.file)?;
            if self.run.patiently(|| self.remote.there(&[ready.hash]))?.contains(&ready.hash) {
                return Ok((wanted, Became::There));
            }
        }
        Err(Trouble::Changed)
    }

    /// Sends a file under its name, or a free one beside it. What has the name is never replaced, not even by an edit of what was sent
    /// from here: other files, here and on other devices, were not sent because the box has those bytes.
    fn send(&mut self, video: bool, ready: &Ready, wanted: &RelPath) -> Result<RelPath, Trouble> {
        let sent = Arc::new(AtomicU64::new(0));
        let flight = self.run.display.begin(ready.file.name.name(), ready.file.look.size, &sent);
        let done = self.send_named(video, ready, wanted, &sent);
        self.run.display.land(flight);
        done
    }

    fn send_named(
        &mut self,
        video: bool,
        ready: &Ready,
        wanted: &RelPath,
        sent: &Arc<AtomicU64>,
    ) -> Result<RelPath, Trouble> {
        let path = &ready.file.path;
        let file = Arc::new(File::open(path).map_err(|e| Trouble::reading(path, &e))?);
        let (mut name, mut expect) = (wanted.clone(), Expect::Free);
        for _ in 0..NAMES {
            let look = ready.file.look;
            let told =
                Told { name: name.clone(), hash: ready.hash, size: look.size, mtime: look.mtime, expect };
            sent.store(0, Ordering::Relaxed);
            match self.transfer(video, &told, &file, sent) {
                Ok(()) => return Ok(name),
                Err(Trouble::Taken) => {}
                Err(trouble) => return Err(trouble),
            }
            match self.run.patiently(|| self.remote.look(&name))? {
                // These very bytes: of an answer that was lost, or a copy that is bad there and is made good by being sent again.
                Some(etag) if etag == ready.hash.etag() => expect = Expect::Has(ready.hash),
                Some(_) => {
                    let free = naming::free_number(|number| {
                        let beside = numbered(wanted, number)?;
                        self.run.patiently(|| self.remote.look(&beside)).map(|found| found.is_some())
                    })?;
                    (name, expect) = (numbered(wanted, free.ok_or(Trouble::Taken)?)?, Expect::Free);
                }
                None => expect = Expect::Free,
            }
        }
        Err(Trouble::Taken)
    }

    /// Sends the bytes: in one request, or chunk by chunk.
    fn transfer(
        &mut self,
        video: bool,
        told: &Told,
        file: &Arc<File>,
        sent: &Arc<AtomicU64>,
    ) -> Result<(), Trouble> {
        let stretch = |from, length| Stretch { file: Arc::clone(file), from, length, sent: Arc::clone(sent) };
        if told.size <= CHUNK {
            return self.run.patiently(|| {
                sent.store(0, Ordering::Relaxed);
                self.remote.put(told, stretch(0, told.size))
            });
        }
        let id = upload_id(told);
        let Err(first) = self.in_chunks(video, &id, told, &stretch) else { return Ok(()) };
        match first {
            // What was sent of other bytes, or what the box has lost of it, is of no use.
            Trouble::Changed | Trouble::Failed(_) | Trouble::NotFound => {
                self.run.patiently(|| self.remote.abandon(&id))?;
                if first == Trouble::Changed {
                    return Err(first);
                }
                sent.store(0, Ordering::Relaxed);
                self.in_chunks(video, &id, told, &stretch)
            }
            Trouble::Wait { .. }
            | Trouble::Full(_)
            | Trouble::SignIn(_)
            | Trouble::Impostor(_)
            | Trouble::Gone
            | Trouble::Permission(_)
            | Trouble::Taken
            | Trouble::Ended => Err(first),
        }
    }

    fn in_chunks(
        &mut self,
        video: bool,
        id: &str,
        told: &Told,
        stretch: &dyn Fn(u64, u64) -> Stretch,
    ) -> Result<(), Trouble> {
        let here = match self.run.patiently(|| self.remote.chunks(id))? {
            Some(here) => here,
            None => {
                self.run.patiently(|| self.remote.begin(id, told.size))?;
                Default::default()
            }
        };
        let chunk = chunk_of(told.size);
        for number in 1..=told.size.div_ceil(chunk) {
            let from = (number - 1) * chunk;
            let length = chunk.min(told.size - from);
            let sent = stretch(from, length).sent;
            let before = sent.load(Ordering::Relaxed);
            if here.get(&number) == Some(&length) {
                sent.store(before + length, Ordering::Relaxed);
                continue;
            }
            if !self.run.allows(video) {
                return Err(Trouble::Ended);
            }
            self.run.patiently(|| {
                sent.store(before, Ordering::Relaxed);
                self.remote.chunk(id, number, stretch(from, length))
            })?;
        }
        self.run.patiently(|| self.remote.assemble(id, told))
    }
}

/// How long a file is left alone before it is read. A date that lies ahead says nothing.
fn restless(look: &Look) -> Option<Duration> {
    let now = i64::try_from(clock::now().as_nanosecond()).unwrap_or(i64::MAX);
    let age = u64::try_from(now.saturating_sub(look.ctime)).ok()?;
    QUIET.checked_sub(Duration::from_nanos(age)).filter(|left| !left.is_zero())
}

/// A name, or the `number`th beside it.
fn numbered(name: &RelPath, number: u32) -> Result<RelPath, Trouble> {
    let path = naming::numbered(name, number);
    path.ok_or_else(|| Trouble::Failed(format!("there is no name beside {name}")))
}
