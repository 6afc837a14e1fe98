//! The minute check: gathers facts without touching a drive, has them judged, and publishes the findings.
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::drive::{DriveId, DriveRole, Standing};
use crate::model::health::Light;
use crate::model::plugged::Plugged;
use crate::os::{clock, inotify, process, systemd};
use crate::plan::facts::{
    BrakeFacts, CatalogueFacts, DriveFacts, Facts, Limits, PluggedFacts, WatchingFacts, WorkerReport,
};
use crate::plan::verdict;
use crate::work::pool::{Pool, Slot};
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// How the workers are doing, as the supervisor tells it.
pub type Reports = Arc<dyn Fn() -> Vec<WorkerReport> + Send + Sync>;

/// A probe under way is looked at again no sooner than after this.
const LOOK: Duration = Duration::from_millis(100);

/// And a drive that is being opened after this.
const OPENING: Duration = Duration::from_secs(2);

/// So long may files that are gone turn up under another name before people are told.
const SETTLING: Duration = Duration::from_secs(600);

/// Checks the box's health.
pub struct HealthCheck {
    pool: Arc<Pool>,
    limits: Limits,
    period: Duration,
    reports: Reports,
    began: Instant,
    /// Findings that are in the log: their code, and what they are about.
    told: HashSet<(String, String)>,
    /// When everything was last checked.
    checked: Option<Instant>,
    /// Drives that were ever seen, and when they were last ready.
    known: HashMap<DriveId, Known>,
    refused_before: u64,
    /// Since when files are missing on the primary.
    missed: Option<Timestamp>,
    catalogue: CatalogueFacts,
    /// When to look at the drives again.
    look: Duration,
    /// The last facts, for `/metrics`.
    latest: Arc<Mutex<Facts>>,
}

#[derive(Clone, Copy)]
struct Known {
    role: DriveRole,
    last_ready: Option<Timestamp>,
    since: Timestamp,
}

impl HealthCheck {
    /// Checks every `period`.
    pub fn new(
        pool: Arc<Pool>,
        limits: Limits,
        period: Duration,
        reports: Reports,
        latest: Arc<Mutex<Facts>>,
    ) -> Self {
        Self {
            pool,
            limits,
            period,
            reports,
            began: clock::monotonic(),
            told: HashSet::new(),
            checked: None,
            known: HashMap::new(),
            refused_before: 0,
            missed: None,
            catalogue: CatalogueFacts::Away,
            look: LOOK,
            latest,
        }
    }

    /// Gathers, judges, publishes.
    pub fn check(&mut self) {
        let now = self.pool.now();
        self.take_census();
        self.mark_stuck(now);
        let facts = self.gather(now);
        let before = self.pool.findings();
        let findings = verdict::judge(&facts, &before, &self.limits, now);
        // In its first seconds the demo makes its drives: what they lack until then is no news.
        let starting = facts.demo && facts.uptime < Duration::from_secs(5);
        for finding in findings.iter().filter(|_| !starting) {
            if self.told.insert((finding.code.clone(), finding.about.clone())) {
                let (code, about) = (finding.code.as_str(), finding.about.as_str());
                match finding.light {
                    Light::Red => log::error!(code, about; "{}", finding.sentence),
                    Light::Amber => log::warn!(code, about; "{}", finding.sentence),
                    Light::Green => log::info!(code, about; "{}", finding.sentence),
                }
            }
        }
        for gone in before.iter().filter(|b| !findings.iter().any(|f| f.code == b.code && f.about == b.about))
        {
            if self.told.remove(&(gone.code.clone(), gone.about.clone())) {
                log::info!(code = gone.code.as_str(), about = gone.about.as_str(); "no longer: {}", gone.sentence);
            }
        }
        systemd::status(&verdict::status_line(&findings, &facts));
        self.pool.set_findings(findings);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    /// What was last counted. Nothing here asks a drive: the one that hangs is to be reported, and not to be waited for.
    fn take_census(&mut self) {
        if self.pool.primary().is_err() {
            self.catalogue = CatalogueFacts::Away;
            return;
        }
        let Some(census) = self.pool.census() else { return };
        self.catalogue = census.catalogue;
        let now = self.pool.now();
        // Another one is the main drive now: this one is missed no more. Nor is one that was retired.
        self.known.retain(|id, known| {
            let counted = census.drives.iter().any(|(there, ..)| there == id);
            counted || (known.role != DriveRole::Primary && !self.pool.is_retired(*id))
        });
        for (id, role, last) in census.drives {
            let known = self.known.entry(id).or_insert(Known { role, last_ready: None, since: now });
            known.role = role;
            // Before this process began, only the drive's own dates tell.
            known.last_ready = known.last_ready.max(last);
        }
    }

    /// A probe that has not come back in time is the only witness of a drive that hangs. `true`: of one that did not hang before.
    fn mark_stuck(&self, now: Timestamp) -> bool {
        let mut newly = false;
        for slot in self.pool.slot_views() {
            let waiting = slot.probing_since.map(|since| waited(since, now));
            if slot.attached.is_some() && waiting.is_some_and(|w| w >= self.limits.stuck_probe) {
                newly |= slot.standing != Standing::Stuck;
                self.pool.set_stuck(&slot.mount);
            }
        }
        newly
    }

    /// When the next drive may be given up: one that hangs tells nobody, it has to be looked at, and looking oftener only wakes
    /// the box. It hangs right after it answered, is asked again within 8 s, and given up `health.probe_stuck_seconds` (18)
    /// later: less than half a minute in all (invariant I20). A disk that sleeps needs ten seconds to answer.
    fn until_stuck(&self, now: Timestamp) -> Duration {
        let stuck = self.limits.stuck_probe;
        let left = |slot: &Slot| match slot.probing_since {
            Some(_) if slot.attached.is_none() => OPENING,
            Some(since) if slot.standing != Standing::Stuck => stuck.saturating_sub(waited(since, now)),
            // One that begins after this look.
            Some(_) | None => stuck,
        };
        self.pool.slot_views().iter().map(left).min().unwrap_or(stuck).max(LOOK)
    }

    fn gather(&mut self, now: Timestamp) -> Facts {
        let slots = self.pool.slot_views();
        let usage = process::usage().unwrap_or_default();
        let refused = self.pool.counters.refused_full.load(Ordering::Relaxed);
        let refused_for_room = refused.saturating_sub(std::mem::replace(&mut self.refused_before, refused));
        let rescan = self.pool.last_rescan();
        let settling = self.is_settling(&slots, now);
        let mut drives = self.drive_facts(&slots, now);
        for drive in drives.iter_mut().filter(|drive| settling && drive.role == Some(DriveRole::Primary)) {
            drive.missing = 0;
        }
        let seen = self.pool.plugged();
        let plugged = seen.devices.into_iter().map(|plugged| plugged_facts(plugged, &slots)).collect();
        let unpluggable = self.pool.unpluggable();
        for (id, since) in unpluggable {
            drives
                .iter_mut()
                .filter(|drive| drive.id == id.short())
                .for_each(|drive| drive.unpluggable = Some(since));
        }
        Facts {
            demo: !self.pool.options().require_mount,
            uptime: clock::monotonic().saturating_duration_since(self.began),
            drives,
            catalogue: self.catalogue.clone(),
            unsaved_since: self.pool.unsaved_since(),
            brake: self.brake_facts(settling),
            watching: WatchingFacts {
                lost_since: self.pool.unwatched_since(),
                folders: rescan.map_or(0, |(_, report)| report.folders),
                limit: inotify::limits().map_or(0, |l| l.watches),
            },
            clock_unsure: !clock::trusted(),
            memory: usage.resident,
            memory_limit: usage.memory_limit,
            descriptors: usage.descriptors,
            descriptor_limit: usage.descriptor_limit,
            workers: (self.reports)(),
            last_rescan: rescan.map(|(at, _)| at),
            unholdable: rescan.map_or(0, |(_, report)| report.unholdable),
            sharing: self.pool.sharing(),
            lost: self.pool.census().and_then(|census| census.lost),
            plugged,
            unreadable_reports: seen.unreadable,
            quotas: self.pool.census().map(|census| census.quotas).unwrap_or_default(),
            refused_for_room,
        }
    }

    /// What is moved by hand is gone from one place before it is found in the other: while files are taken in, that some are gone
    /// is no news yet.
    fn is_settling(&mut self, slots: &[Slot], now: Timestamp) -> bool {
        let primary = |slot: &&Slot| slot.drive().is_some_and(|(_, role)| role == DriveRole::Primary);
        let missing = slots.iter().find(primary).is_some_and(|slot| slot.tally.missing > 0);
        self.missed = missing.then(|| self.missed.unwrap_or(now).min(now));
        let recent = self.missed.is_none_or(|since| waited(since, now) < SETTLING);
        recent && self.pool.is_taking_in()
    }

    fn brake_facts(&self, settling: bool) -> Option<BrakeFacts> {
        let held = self.pool.held()?;
        let facts = BrakeFacts {
            since: held.since,
            vanished: held.vanished,
            changed: held.changed,
            deleted: held.deleted,
        };
        let only_vanished = held.changed == 0 && held.deleted == 0;
        (!only_vanished || !settling).then_some(facts)
    }

    fn drive_facts(&mut self, slots: &[Slot], now: Timestamp) -> Vec<DriveFacts> {
        let mut facts = Vec::new();
        for slot in slots {
            match &slot.attached {
                Some(attached) => {
                    let new = Known { role: attached.role(), last_ready: None, since: now };
                    let known = self.known.entry(attached.id()).or_insert(new);
                    if slot.standing.takes_writes() {
                        known.last_ready = Some(now);
                        known.since = now;
                    }
                    facts.push(attached_facts(slot, attached.id(), *known, now, slots));
                }
                None if !matches!(slot.standing, Standing::Absent) => {
                    let drive = slot.recognised();
                    facts.push(DriveFacts {
                        id: drive.map_or_else(|| slot.mount.display().to_string(), |(id, _)| id.short()),
                        role: drive.map(|(_, role)| role),
                        wanted: slot.tally.wanted,
                        standing: slot.standing.clone(),
                        since: Some(slot.since),
                        ..DriveFacts::default()
                    });
                }
                None => {}
            }
        }
        for (id, known) in &self.known {
            if !slots.iter().any(|s| s.recognised().is_some_and(|(there, _)| there == *id)) {
                facts.push(DriveFacts {
                    id: id.short(),
                    role: Some(known.role),
                    standing: Standing::Absent,
                    since: Some(known.since),
                    last_ready: known.last_ready,
                    ..DriveFacts::default()
                });
            }
        }
        facts
    }
}

fn attached_facts(slot: &Slot, id: DriveId, known: Known, now: Timestamp, slots: &[Slot]) -> DriveFacts {
    let twin = slots.iter().find(|other| other.mount != slot.mount && other.device == slot.device);
    DriveFacts {
        id: id.short(),
        label: String::new(),
        role: Some(known.role),
        standing: slot.standing.clone(),
        since: Some(slot.since),
        last_ready: known.last_ready,
        space: slot.space,
        full_in: slot.full_in,
        probe: slot.probe_ms.map(Duration::from_millis),
        probe_waiting: slot.probing_since.map(|since| waited(since, now)),
        wanted: slot.tally.wanted,
        oldest_wanted: slot.tally.oldest_wanted,
        damaged: slot.tally.damaged,
        missing: slot.tally.missing,
        nowhere: slot.tally.nowhere,
        unread: slot.tally.overdue,
        unreadable: slot.attached.as_ref().map(|attached| attached.unreadable()).unwrap_or_default(),
        unpluggable: None,
        steps: slot.attached.as_ref().map(|attached| attached.steps()).unwrap_or_default(),
        same_disk_as: twin.and_then(|t| t.attached.as_ref()).map(|a| a.id().short()),
    }
}

/// A device, with the drive that is mounted from it.
fn plugged_facts(plugged: Plugged, slots: &[Slot]) -> PluggedFacts {
    let slot = plugged.at().and_then(|at| slots.iter().find(|slot| slot.mount == at));
    let drive = slot
        .map(|slot| slot.recognised().map_or_else(|| slot.mount.display().to_string(), |(id, _)| id.short()));
    PluggedFacts { plugged, drive }
}

/// How long something has been waited for; nothing, if the clock was set back meanwhile.
fn waited(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

impl Worker for HealthCheck {
    fn name(&self) -> &'static str {
        "health"
    }

    fn period(&self) -> Duration {
        self.period.min(self.look)
    }

    fn critical(&self) -> bool {
        true
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        let drive = self.pool.primary().map(|p| p.attached.id().short()).unwrap_or_default();
        let _drive = cx.blocked_on(&drive);
        let newly_stuck = self.mark_stuck(self.pool.now());
        let now = clock::monotonic();
        let started = self.began + self.limits.starting;
        let due = self.checked.is_none_or(|last| {
            // What was excused as being on its way is told as soon as it is excused no more.
            now.saturating_duration_since(last) >= self.period || (last < started && started <= now)
        });
        if self.pool.stirred() || newly_stuck || due {
            self.checked = Some(now);
            self.check();
        }
        // What is excused as being on its way is told when it is excused no more.
        let excused = started.saturating_duration_since(now);
        let excused = if excused.is_zero() { self.period } else { excused };
        let checked = self.checked.map(|last| now.saturating_duration_since(last)).unwrap_or_default();
        let due = self.period.saturating_sub(checked).max(LOOK);
        self.look = self.until_stuck(self.pool.now()).min(excused).min(due);
        Ok(Outcome::Rest)
    }
}
