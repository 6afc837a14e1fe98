//! Group commit on the primary: whoever arrives while a commit is under way joins the next one, and all of them share
//! the flushes of directories, manifest and catalogue.
//!
//! The order of every acknowledgement: data → name → directories → manifest line, flushed → catalogue row → answer. A power
//! cut after any step leaves either the acknowledged state or an unacknowledged file that the rescan finds; never a
//! row without its file. Whether the steps before the line are flushed one by one or by the line's flush is the
//! drive's to know (docs/decisions/0013). A batch that fails in the middle closes the primary: it is
//! opened again through the recovery of a power cut, which puts names and record back in step (crash-only).
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::copy::CopyEvent;
use crate::model::drive::DriveId;
use crate::model::event::What;
use crate::model::path::RelPath;
use crate::model::place::{Place, Shelf};
use crate::os::clock;
use crate::plan::gathering::{Ended, Gathering};
use crate::store::catalogue::apply::{self, On};
use crate::store::catalogue::copies;
use crate::store::catalogue::names::{self, NameRow, ScratchFile};
use crate::store::catalogue::{Catalogue, CatalogueError, Tx};
use crate::store::manifest::Manifest;
use crate::store::volume::VolumeError;
use crate::work::changes::{Change, Needs};
use crate::work::directories::Directories;
use crate::work::drive::Attached;
use crate::work::error::Refusal;
use crate::work::ingest::Outcome;

/// How many changes share one commit at most.
const BATCH: usize = 64;

/// How long a commit waits at most for uploads whose data is on its way to the drive already: about what its own flushes
/// cost there, which are shared with them then.
const PATIENCE: Duration = Duration::from_millis(10);

/// How many events uploads that share a commit have at most: each that something made room for, and that it is there.
pub(crate) const EVENTS_TOGETHER: u64 = 2 * BATCH as u64;

/// What a change amounts to, once its files are in place and before anything of it is durable.
#[derive(Default)]
pub(crate) struct Draft {
    /// Directories whose entries must be durable before the answer.
    pub(crate) dirs: BTreeSet<Place>,
    /// For the manifest; the catalogue follows from them.
    pub(crate) events: Vec<What>,
    /// Catalogue rows that are no events: scratch, properties.
    pub(crate) rows: Vec<Row>,
    /// The name to report, if any.
    pub(crate) name: Option<RelPath>,
    /// What happened to it.
    pub(crate) outcome: Option<Outcome>,
    /// A good file took the place of one that was bad or gone.
    pub(crate) healed: bool,
}

/// A catalogue row that is no event.
pub(crate) enum Row {
    Scratch {
        path: RelPath,
        hash: crate::model::hash::ContentHash,
        size: u64,
        mtime: Timestamp,
        by: String,
    },
    DropScratch {
        fold: String,
    },
    RenameScratch {
        id: i64,
        to: RelPath,
    },
    Property {
        name: i64,
        namespace: String,
        local: String,
        xml: Option<String>,
    },
    CopyProperties {
        from: i64,
        to_fold: String,
    },
    /// The file of this name was found on the primary again, and flushed.
    Settled {
        name: i64,
    },
}

/// A committed change.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) name: Option<NameRow>,
    pub(crate) outcome: Outcome,
    pub(crate) healed: bool,
}

type Slot = Arc<Mutex<Option<Result<Done, Refusal>>>>;

struct Job {
    change: Change,
    slot: Slot,
    /// From a client, who may come again as soon as this is answered.
    upload: bool,
}

/// The door to all changes on the primary.
pub(crate) struct GroupCommit {
    door: Door,
    lead: Mutex<Committer>,
    changes: Arc<AtomicU64>,
}

/// Who waits for a commit, and who will in a moment.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<Waiting>, Condvar)>);

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Uploads that are complete, and whose data is on its way to the drive.
    coming: usize,
    /// What a commit that is about to begin waits for.
    awaited: Option<Awaited>,
}

#[derive(Clone, Copy)]
enum Awaited {
    /// So many uploads are here, or coming.
    Uploads(usize),
    /// All that are coming are here.
    Complete,
}

/// An upload that is complete and will want a commit in a moment, until this is dropped.
pub(crate) struct Announced(Option<Door>);

impl Door {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        change(&mut waiting);
        // Telling nobody costs a call into the kernel, and telling too early a change of threads.
        if waiting.awaited.is_some_and(|what| waiting.has(what)) {
            self.0.1.notify_all();
        }
    }

    /// Waits for others who may share the next commit, a little. That commit's changes, and how many uploads were there before the
    /// wait for those that are not.
    fn gather(&self, gathering: &Gathering) -> (Vec<Job>, Option<usize>) {
        let mut waiting = self.lock();
        let here = waiting.uploads();
        let wanted = gathering.wait(here);
        if let Some((wanted, most)) = wanted {
            waiting = self.wait(waiting, Awaited::Uploads(wanted), most.min(PATIENCE));
        }
        waiting = self.wait(waiting, Awaited::Complete, PATIENCE);
        (waiting.take(), wanted.map(|_| here))
    }

    fn wait<'a>(
        &'a self,
        mut waiting: MutexGuard<'a, Waiting>,
        what: Awaited,
        most: Duration,
    ) -> MutexGuard<'a, Waiting> {
        waiting.awaited = Some(what);
        let ended = self.0.1.wait_timeout_while(waiting, most, |waiting| !waiting.has(what));
        let mut waiting = ended.unwrap_or_else(PoisonError::into_inner).0;
        waiting.awaited = None;
        waiting
    }
}

impl Waiting {
    fn has(&self, what: Awaited) -> bool {
        match what {
            Awaited::Uploads(wanted) => self.uploads() >= wanted,
            Awaited::Complete => self.coming == 0,
        }
    }

    fn uploads(&self) -> usize {
        self.jobs.iter().filter(|job| job.upload).count() + self.coming
    }

    /// Uploads to different names go together; everything else goes alone, in its turn.
    fn take(&mut self) -> Vec<Job> {
        let mut batch: Vec<Job> = Vec::new();
        let mut folds = HashSet::new();
        while let Some(job) = self.jobs.front() {
            let fits = match job.change.upload_fold() {
                Some(fold) => batch.len() < BATCH && folds.insert(fold),
                None => batch.is_empty(),
            };
            if !fits {
                break;
            }
            let alone = job.change.upload_fold().is_none();
            batch.extend(self.jobs.pop_front());
            if alone {
                break;
            }
        }
        batch
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Some(door) = self.0.take() {
            door.change(|waiting| waiting.coming -= 1);
        }
    }
}

/// What one commit at a time works with.
pub(crate) struct Committer {
    pub(crate) attached: Arc<Attached>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) manifest: Manifest,
    pub(crate) directories: Directories,
    /// Names that a found file of this batch has already claimed as its former self.
    pub(crate) claimed: HashSet<i64>,
    /// Folders made in this batch, by fold key.
    pub(crate) new_folders: HashMap<String, RelPath>,
    /// Counts what other drives have to follow.
    changes: Arc<AtomicU64>,
    /// So little is left on the drive that nothing may wait to be written; or nobody has measured, for what is tried in any case.
    scarce: bool,
    closed: bool,
    /// Whom the next commit waits for.
    gathering: Gathering,
}

impl GroupCommit {
    pub(crate) fn new(attached: Arc<Attached>, catalogue: Arc<Catalogue>, manifest: Manifest) -> Self {
        let directories = Directories::new(Arc::clone(&attached.volume));
        let (claimed, new_folders) = (HashSet::new(), HashMap::new());
        let changes = Arc::<AtomicU64>::default();
        let committer = Committer {
            attached,
            catalogue,
            manifest,
            directories,
            claimed,
            new_folders,
            changes: Arc::clone(&changes),
            scarce: false,
            closed: false,
            gathering: Gathering::default(),
        };
        Self { door: Door::default(), lead: Mutex::new(committer), changes }
    }

    /// Says that a change will come in a moment: a commit that is about to begin waits for it, a little.
    pub(crate) fn announce(&self) -> Announced {
        self.door.change(|waiting| waiting.coming += 1);
        Announced(Some(self.door.clone()))
    }

    /// Carries a change out; returns when it is durable. The first to get the lead works for all who wait.
    pub(crate) fn submit(
        &self,
        change: Change,
        announced: Option<Announced>,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        self.lead(&self.enqueue(change, announced), now)
    }

    /// Carries several changes out, in order, sharing commits as far as they may.
    pub(crate) fn submit_all(&self, changes: Vec<Change>, now: Timestamp) -> Vec<Result<Done, Refusal>> {
        let slots: Vec<Slot> = changes.into_iter().map(|change| self.enqueue(change, None)).collect();
        slots.iter().map(|slot| self.lead(slot, now)).collect()
    }

    fn enqueue(&self, change: Change, mut announced: Option<Announced>) -> Slot {
        let slot: Slot = Arc::default();
        // From the one count to the other in one step: who waits counts both.
        let came = announced.as_mut().and_then(|announced| announced.0.take()).is_some();
        let job = Job { change, slot: Arc::clone(&slot), upload: came };
        self.door.change(|waiting| {
            waiting.jobs.push_back(job);
            waiting.coming -= usize::from(came);
        });
        slot
    }

    /// Waits for the lead and works through the queue until this slot is answered.
    fn lead(&self, slot: &Slot, now: Timestamp) -> Result<Done, Refusal> {
        let mut lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return result;
            }
            let (jobs, waited_from) = self.door.gather(&lead.gathering);
            if jobs.is_empty() {
                // Only after a panic of another leader in the middle of its batch, ours included.
                return Err(Refusal::Unavailable { why: "an earlier commit broke off".to_owned() });
            }
            let (answered, began) = (jobs.iter().filter(|job| job.upload).count(), clock::monotonic());
            lead.run(jobs, now);
            if answered > 0 {
                let (waiting, took) = (self.door.lock().uploads(), began.elapsed());
                lead.gathering.ended(Ended { waited_from, answered, waiting, took });
            }
        }
    }

    /// How many changes that other drives have to follow were begun.
    pub(crate) fn changes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.changes)
    }

    /// Waits for the commit under way, if any.
    pub(crate) fn quiesce(&self) {
        drop(self.lead.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the commit under way, if any, and lets nothing follow: the manifest may have another writer from now on.
    pub(crate) fn close(&self) {
        self.lead.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}

impl Committer {
    fn run(&mut self, jobs: Vec<Job>, now: Timestamp) {
        self.directories.start();
        self.claimed.clear();
        self.new_folders.clear();
        self.scarce = false;
        let mut drafts: Vec<(Slot, Draft)> = Vec::with_capacity(jobs.len());
        for mut job in jobs {
            let draft = self.open(&job.change).and_then(|()| self.draft(&mut job.change, now));
            match draft {
                Ok(draft) => drafts.push((job.slot, draft)),
                Err(refusal) => {
                    if broke_off(&refusal) {
                        self.attached.reopen(&refusal.to_string());
                    }
                    answer(&job.slot, Err(refusal));
                }
            }
        }
        let (slots, drafts): (Vec<Slot>, Vec<Draft>) = drafts.into_iter().unzip();
        match self.make_durable(&drafts, now) {
            Ok(()) => {
                self.directories.settle(&drafts.iter().flat_map(|d| d.dirs.iter().cloned()).collect());
                for (slot, draft) in slots.iter().zip(drafts) {
                    answer(slot, self.finish(draft));
                }
            }
            Err(refusal) => {
                // Nothing of this batch is acknowledged, and names on the drive may be ahead of the record.
                let why = refusal.to_string();
                self.attached.reopen(&why);
                for slot in &slots {
                    answer(slot, Err(Refusal::Unavailable { why: why.clone() }));
                }
            }
        }
    }

    /// Asked before the first name is touched. Others may have filled the drive to the last byte since an upload was let in, and a
    /// record that finds no room closes the drive until it is opened again.
    fn open(&mut self, change: &Change) -> Result<(), Refusal> {
        if self.closed {
            return Err(Refusal::Unavailable { why: "the drive was let go".to_owned() });
        }
        self.attached.takes_writes().map_err(|why| Refusal::Unavailable { why })?;
        let is_scratch = |path: &RelPath| Ok(self.row(path)?.is_some_and(|row| row.shelf == Shelf::Scratch));
        let needs = change.needs(is_scratch)?;
        if needs == Needs::Nothing {
            self.scarce = true;
            return Ok(());
        }
        let space = self.attached.volume.space().map_err(|e| self.heed(e))?;
        let needed = if needs == Needs::Record { space.to_record() } else { space.to_note() };
        let available = space.available;
        self.scarce |= space.is_scarce();
        if available < needed { Err(Refusal::Full { needed, available }) } else { Ok(()) }
    }

    /// The three shared flushes, in the order that survives a power cut between any two of them.
    fn make_durable(&mut self, drafts: &[Draft], now: Timestamp) -> Result<(), Refusal> {
        let attached = Arc::clone(&self.attached);
        let heed = |e| Refusal::Drive(attached.heed(e));
        // 1. Names: a manifest line must never speak of a name that a power cut could still take away.
        // Where a line follows, its flush is theirs as well if the filesystem keeps the order (docs/decisions/0013).
        let what: Vec<What> = drafts.iter().flat_map(|d| d.events.iter().cloned()).collect();
        let dirs: BTreeSet<&Place> = drafts.iter().flat_map(|d| &d.dirs).collect();
        for dir in dirs {
            if what.is_empty() {
                attached.volume.sync_dir(dir).map_err(heed)?;
            } else {
                attached.volume.order_dir(dir).map_err(heed)?;
            }
        }
        // 2. Manifest: the truth beside the files. If the catalogue commit is lost, start-up replays these lines.
        let follows = |what: &&What| {
            !matches!(what, What::Proved { .. } | What::Damaged { .. } | What::Quarantined { .. })
        };
        let news = what.iter().filter(follows).count() as u64;
        self.changes.fetch_add(news, Ordering::AcqRel);
        let events = self.manifest.append(now, &what).map_err(heed)?;
        if events.is_empty() {
            // Nothing has asked the drive yet, and the catalogue's open file outlives it: a pulled drive would take a
            // property and lose it with the next plug.
            attached.volume.prove().map_err(heed)?;
        }
        // 3. Catalogue. What only follows from lines is durable in them: its flush can wait. Rows that stand nowhere else
        // are flushed before COMMIT returns, with all that was committed before them.
        let rows: Vec<&Row> = drafts.iter().flat_map(|d| &d.rows).collect();
        let on = On::now(attached.id(), attached.role());
        let position = self.manifest.position();
        let follows = rows.is_empty() && !events.is_empty();
        let carry = |tx: &Tx<'_>| {
            for event in &events {
                apply::apply(tx, on, event)?;
            }
            for row in &rows {
                write_row(tx, attached.id(), row, now)?;
            }
            if events.is_empty() { Ok(()) } else { apply::reached(tx, attached.id(), position) }
        };
        let carried = if follows { self.catalogue.follow(carry) } else { self.catalogue.write(carry) };
        carried.map_err(Refusal::from)?;
        if self.scarce {
            // Others may take the last of it before the sixty-fourth change comes.
            self.catalogue.commit_what_follows()?;
        }
        // Once more: a drive that was compared while this was under way is not level with it.
        self.changes.fetch_add(news, Ordering::AcqRel);
        self.catalogue.count_facts(&events);
        Ok(())
    }

    fn finish(&self, draft: Draft) -> Result<Done, Refusal> {
        let name = match &draft.name {
            Some(path) => self.catalogue.read(|r| r.name(&path.fold_key()))?,
            None => None,
        };
        Ok(Done { name, outcome: draft.outcome.unwrap_or(Outcome::Created), healed: draft.healed })
    }
}

/// A draft that the drive or the catalogue ended may have made some of its renames and not others.
fn broke_off(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Drive(VolumeError::Unsupported { .. }) => false,
        // A file of somebody else's, a link where a folder should be: nothing that opening anew would change.
        Refusal::Drive(e @ VolumeError::Io { .. }) => e.doubts_the_drive(),
        Refusal::Drive(_) | Refusal::Catalogue(_) => true,
        Refusal::Unavailable { .. }
        | Refusal::Full { .. }
        | Refusal::OverQuota { .. }
        | Refusal::NotFound
        | Refusal::NoParent
        | Refusal::NotAFolder
        | Refusal::IsAFolder
        | Refusal::Exists
        | Refusal::Changed
        | Refusal::Overlap
        | Refusal::Forbidden
        | Refusal::Reserved
        | Refusal::WrongLength { .. }
        | Refusal::NotWhole(_)
        | Refusal::TooMany(_)
        | Refusal::WrongHash(_)
        | Refusal::Damaged => false,
    }
}

fn answer(slot: &Slot, result: Result<Done, Refusal>) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
}

fn write_row(tx: &Tx<'_>, drive: DriveId, row: &Row, now: Timestamp) -> Result<(), CatalogueError> {
    match row {
        Row::Scratch { path, hash, size, mtime, by } => {
            let file = ScratchFile { path, hash: *hash, size: *size, mtime: *mtime, received: now, by };
            names::put_scratch(tx, &file)
        }
        Row::DropScratch { fold } => names::drop_scratch(tx, fold),
        Row::RenameScratch { id, to } => names::rename_scratch(tx, *id, to),
        Row::Property { name, namespace, local, xml } => {
            names::set_property(tx, *name, namespace, local, xml.as_deref())
        }
        Row::CopyProperties { from, to_fold } => names::copy_properties(tx, *from, to_fold),
        Row::Settled { name } => copies::observe(tx, *name, drive, CopyEvent::SettledOnDrive, now),
    }
}
