//! The verdict: facts in, findings out, and one light over all of them.
//!
//! A finding is for a family member: it names the drive as they know it, says what it means for their photos, and
//! what to do. It keeps the date from which it has held. Nothing is found that nobody could act on.
use std::time::Duration;

use jiff::Timestamp;

use crate::model::drive::{DriveRole, Standing};
use crate::model::health::{Finding, Light};
use crate::plan::facts::{CatalogueFacts, DriveFacts, Facts, Limits, WorkerReport};

mod copies;
mod drives;
mod plugged;
mod room;
mod sharing;

/// Judges. `before` is the last verdict: what persists (same code, same subject) keeps its date.
/// The answer is sorted, worst first.
pub fn judge(facts: &Facts, before: &[Finding], limits: &Limits, now: Timestamp) -> Vec<Finding> {
    let mut verdict = Verdict { facts, before, limits, now, found: Vec::new() };
    verdict.roles();
    for drive in &facts.drives {
        if !verdict.is_unpluggable(drive) {
            verdict.standing(drive);
        }
        verdict.speed(drive);
        verdict.room(drive);
        verdict.copies(drive);
        verdict.lag(drive);
        verdict.steps(drive);
        verdict.twins(drive);
        verdict.unreadable(drive);
    }
    verdict.plugged();
    verdict.quotas();
    verdict.catalogue();
    verdict.snapshots();
    verdict.lost();
    verdict.brake();
    verdict.watching();
    verdict.sharing();
    verdict.process();
    for worker in &facts.workers {
        verdict.worker(worker);
    }
    let mut found = verdict.found;
    found.sort_by(|a, b| b.light.cmp(&a.light).then_with(|| (&a.code, &a.about).cmp(&(&b.code, &b.about))));
    found
}

/// The one light over all findings.
pub fn light(findings: &[Finding]) -> Light {
    findings.iter().map(|finding| finding.light).max().unwrap_or(Light::Green)
}

/// One line for `systemctl status` and `GET /health`.
pub fn status_line(findings: &[Finding], facts: &Facts) -> String {
    let Some(worst) = findings.first() else {
        return format!("green: {}", rooms(facts));
    };
    let more = match findings.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    format!("{}: {}{more}", worst.light.as_str(), worst.sentence)
}

fn rooms(facts: &Facts) -> String {
    let rooms: Vec<String> = facts
        .drives
        .iter()
        .filter_map(|drive| Some(format!("{} {} % full", name(drive), drive.space?.percent_used())))
        .collect();
    if rooms.is_empty() { "nothing to report".to_owned() } else { rooms.join(", ") }
}

/// How people know a drive.
fn name(drive: &DriveFacts) -> String {
    match drive.role {
        Some(DriveRole::Primary) => "drive A (main)".to_owned(),
        Some(DriveRole::Mirror) => "drive B (copy)".to_owned(),
        Some(DriveRole::Offline) if drive.label.is_empty() => format!("the offline drive {}", drive.id),
        Some(DriveRole::Offline) => format!("the offline drive \"{}\"", drive.label),
        None => format!("the new drive at {}", drive.id),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `1 photo or video`, `2 photos and videos`.
fn photos(count: u64) -> String {
    if count == 1 { "1 photo or video".to_owned() } else { format!("{count} photos and videos") }
}

/// An error's words without the names of photos: findings are shown to whoever reaches the port, and a name says whose
/// it is. What is behind the last colon is the reason; the journal has all of it.
fn discreet(why: &str) -> String {
    let private = ["photos/", ".shoebox/trash/", ".shoebox/quarantine/"];
    match private.iter().filter_map(|tree| why.find(tree)).min() {
        None => why.to_owned(),
        Some(start) => {
            let reason = why[start..].rfind(": ").map_or("", |colon| &why[start + colon..]);
            format!("{}a photo{reason}", &why[..start])
        }
    }
}

struct Verdict<'a> {
    facts: &'a Facts,
    before: &'a [Finding],
    limits: &'a Limits,
    now: Timestamp,
    found: Vec<Finding>,
}

/// Whom a finding is about, how bad it is and since when, if that is known.
struct About<'a> {
    id: &'a str,
    light: Light,
    since: Option<Timestamp>,
}

impl<'a> About<'a> {
    fn box_itself(light: Light) -> Self {
        Self { id: "", light, since: None }
    }

    fn drive(drive: &'a DriveFacts, light: Light) -> Self {
        Self { id: &drive.id, light, since: None }
    }

    fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }
}

impl Verdict<'_> {
    fn find(&mut self, code: &str, about: &About<'_>, sentence: &str, remedy: &str) {
        let earlier = self.before.iter().find(|f| f.code == code && f.about == about.id).map(|f| f.since);
        // A date in the future is the trace of a clock that was wrong; it would never age.
        let since = earlier.or(about.since).unwrap_or(self.now).min(self.now);
        self.found.push(Finding {
            code: code.to_owned(),
            about: about.id.to_owned(),
            light: about.light,
            sentence: capital(sentence),
            remedy: remedy.to_owned(),
            since,
        });
    }

    fn age(&self, since: Option<Timestamp>) -> Duration {
        since.and_then(|since| Duration::try_from(self.now.duration_since(since)).ok()).unwrap_or_default()
    }

    /// Red at once where uploads depend on the drive; where only the second copy does, after a while.
    fn weight(&self, drive: &DriveFacts) -> Light {
        match drive.role {
            Some(DriveRole::Primary) => Light::Red,
            Some(DriveRole::Mirror) if self.age(drive.since) >= self.limits.one_copy => Light::Red,
            Some(DriveRole::Mirror | DriveRole::Offline) | None => Light::Amber,
        }
    }

    fn roles(&mut self) {
        let has = |role| self.facts.drives.iter().any(|drive| drive.role == Some(role));
        let (primary, mirror) = (has(DriveRole::Primary), has(DriveRole::Mirror));
        let other = self.facts.drives.iter().find(|drive| drive.role.is_some());
        // Whatever role a drive has that somebody else uses.
        if self.facts.drives.iter().any(|drive| drive.standing == Standing::InUse) {
            return;
        }
        if self.is_diverged(|_, role| role == DriveRole::Primary) {
            return;
        }
        if let Some(blank) = self.blank_instead().cloned() {
            return self.blank_in_its_place(&blank);
        }
        // Drives take a moment to be recognised and opened.
        if self.facts.uptime < self.limits.starting {
            return;
        }
        // A drive with a role proves that there is a main drive somewhere, whether it was ever seen by this process or not.
        if let (false, Some(other)) = (primary, other) {
            self.find(
                "primary-absent",
                &About::box_itself(Light::Red).since(other.since),
                &format!(
                    "drive A (main) is not there, though {} belongs with it; new photos are refused until it is back",
                    name(other)
                ),
                "Plug in the main drive, and check that its plug sits firmly and that it has power. If it is lost or broken, \
                 the other drive can take its place (shoebox drive promote …).",
            );
        } else if !primary {
            self.find(
                "no-primary",
                &About::box_itself(Light::Red),
                "no main drive has been set up, so the box cannot take photos yet",
                "Plug in the drive that is to hold the photos and adopt it as the main drive \
                 (shoebox drive adopt … --role primary).",
            );
        } else if !mirror {
            self.find(
                "no-mirror",
                &About::box_itself(Light::Amber),
                "there is no second drive, so every photo exists only once in this box",
                "Plug in a second drive and adopt it as the copy (shoebox drive adopt … --role mirror). \
                 Until then, keep the photos on the phones.",
            );
        }
    }

    fn standing(&mut self, drive: &DriveFacts) {
        let who = name(drive);
        let about = About::drive(drive, self.weight(drive)).since(drive.since);
        let meaning = match drive.role {
            Some(DriveRole::Primary) => "new photos are refused until it is back".to_owned(),
            Some(DriveRole::Mirror) => match drive.wanted {
                0 => "new photos get no second copy until it is back".to_owned(),
                lacking => format!("{} have no second copy until it is back", photos(lacking)),
            },
            Some(DriveRole::Offline) | None => "it cannot be brought up to date".to_owned(),
        };
        match &drive.standing {
            Standing::Ready => {}
            Standing::Absent if drive.role == Some(DriveRole::Offline) => self.offline_absence(drive),
            Standing::Absent if self.is_diverged(|id, _| id == drive.id) => {}
            // Told of with the disk.
            Standing::Absent if drive.role == Some(DriveRole::Primary) && self.blank_instead().is_some() => {}
            Standing::Blank if self.blank_instead().is_some() => {}
            Standing::Absent => self.find(
                "drive-absent",
                &about,
                &format!("{who} is not there; {meaning}"),
                "Check that its plug sits firmly in the box and that it has power. If its light stays off, try another \
                 cable or another port. If it is broken, put a new one in its place (shoebox drive replace …).",
            ),
            Standing::Ejected => self.find(
                "drive-ejected",
                &about,
                &format!("{who} was ejected and is left alone; {meaning}"),
                "Unmount it if the box has not done so, and unplug it. To use it again, plug it in again.",
            ),
            Standing::Foreign { why } => self.find(
                "drive-foreign",
                &about,
                &format!(
                    "where {who} belongs there is another drive ({}); nothing is written to it, and {meaning}",
                    discreet(why)
                ),
                "Unplug that drive and plug in the one that belongs there. Its photos are untouched.",
            ),
            Standing::Former | Standing::Retired => self.put_out(drive),
            Standing::InUse => self.find(
                "drive-in-use",
                &about,
                &format!("{who} is used by another program on this machine; nothing is written to it, and {meaning}"),
                "End the other Shoebox that runs here: two of them must not share a drive.",
            ),
            Standing::Blank => self.find(
                "drive-blank",
                &About::drive(drive, Light::Amber).since(drive.since),
                &format!("{who} is not known to this box and is left alone"),
                "If it is to hold photos, adopt it (shoebox drive adopt). Otherwise unplug it.",
            ),
            Standing::ReadOnly if self.is_unsound(drive) => {}
            Standing::ReadOnly => self.find(
                "drive-read-only",
                &about,
                &format!("{who} can be read but takes nothing new; {meaning}"),
                "Unplug it and plug it in again. If it stays so, the drive may be failing: replace it soon.",
            ),
            Standing::Suspect { why } => self.find(
                "drive-suspect",
                &about,
                &format!("{who} has made an error ({}) and is not trusted now; {meaning}", discreet(why)),
                "Check its cable and its power. If the message returns, replace the drive; the other copies are safe.",
            ),
            Standing::Stuck => self.stuck(drive),
            Standing::Failing { incidents, closed, .. } => self.failing(drive, *incidents, *closed),
            Standing::Clone { of, role, .. } => self.clone_of(drive, *of, *role),
        }
    }

    /// A drive of ours that is no part of the pool any more, or not yet again.
    fn put_out(&mut self, drive: &DriveFacts) {
        let about = About::drive(drive, Light::Amber).since(drive.since);
        if drive.standing == Standing::Former {
            return self.find(
                "drive-former",
                &about,
                &format!(
                    "the drive at {} was the main drive once, and another one took its place while it was away; \
                     nothing is written to it",
                    drive.id
                ),
                "Make it a copy again (shoebox drive adopt … --role mirror): photos that only it has are taken over first. \
                 Or keep it as it is and unplug it.",
            );
        }
        self.find(
            "drive-retired",
            &about,
            &format!("the drive at {} was replaced by another one; nothing is written to it", drive.id),
            "Unplug it, and keep it as long as you like: its photos are untouched. To use it again, adopt it \
             (shoebox drive adopt … --role mirror).",
        );
    }

    fn stuck(&mut self, drive: &DriveFacts) {
        let about = About::drive(drive, self.weight(drive)).since(drive.since);
        self.find(
            "drive-stuck",
            &about,
            &format!("{} does not answer", name(drive)),
            "Check its cable and its power. If it does not answer within a few minutes, unplug it and plug it in again.",
        );
    }

    fn speed(&mut self, drive: &DriveFacts) {
        if drive.standing == Standing::Stuck {
            return;
        }
        let longest = self
            .facts
            .workers
            .iter()
            .filter_map(|worker| worker.blocked_on.as_ref())
            .filter(|blocked| blocked.drive == drive.id)
            .map(|blocked| Duration::from_secs(blocked.seconds))
            .max()
            .unwrap_or_default();
        let waiting = drive.probe_waiting.unwrap_or_default();
        if waiting >= self.limits.stuck_probe || longest >= self.limits.stuck_worker {
            return self.stuck(drive);
        }
        let slowest = drive.probe.unwrap_or_default().max(waiting);
        if slowest >= self.limits.slow_probe {
            self.find(
                "drive-slow",
                &About::drive(drive, Light::Amber),
                &format!("{} takes {} seconds to answer", name(drive), slowest.as_secs()),
                "If it stays so for a day, try another cable or port; a slow drive is often a failing one.",
            );
        }
    }

    fn twins(&mut self, drive: &DriveFacts) {
        let Some(other) = drive.same_disk_as.as_deref().filter(|_| !self.facts.demo) else {
            return;
        };
        // One finding for the pair, not two.
        let other = self.facts.drives.iter().find(|candidate| candidate.id == other);
        if let Some(other) = other.filter(|other| drive.id < other.id || other.same_disk_as.is_none()) {
            self.find(
                "two-drives-one-disk",
                &About::drive(drive, Light::Red),
                &format!(
                    "{} and {} are on one and the same disk and would fail together",
                    name(drive),
                    name(other)
                ),
                "Plug in a second disk and adopt it in place of one of the two.",
            );
        }
    }

    fn catalogue(&mut self) {
        match &self.facts.catalogue {
            CatalogueFacts::Away | CatalogueFacts::Open => {}
            CatalogueFacts::Trouble { why } => self.find(
                "catalogue-trouble",
                &About::box_itself(Light::Red),
                &format!(
                    "the list of all photos cannot be used ({}); the photos themselves are not affected",
                    discreet(why)
                ),
                "Restart the box. If the message stays, stop it and move .shoebox/catalogue.db away from drive A: the \
                 list is made anew from the drive at the next start.",
            ),
        }
    }

    fn snapshots(&mut self) {
        let unsaved = self.age(self.facts.unsaved_since);
        let open = self.facts.catalogue == CatalogueFacts::Open;
        if !open || unsaved < self.limits.snapshot || self.facts.uptime < self.limits.snapshot_grace {
            return;
        }
        self.find(
            "snapshot-overdue",
            &About::box_itself(Light::Amber),
            &format!(
                "no copy of the list of all photos could be put aside for {} days; the photos themselves are not affected",
                unsaved.as_secs() / 86_400
            ),
            "See that drive A (main) has room. If the message stays for a day, send us the output of shoebox doctor.",
        );
    }

    fn brake(&mut self) {
        let Some(brake) = self.facts.brake else { return };
        let parts = [(brake.vanished, "vanished"), (brake.changed, "changed"), (brake.deleted, "deleted")];
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let all = brake.vanished.saturating_add(brake.changed).saturating_add(brake.deleted);
        self.find(
            "mirror-held",
            &About::box_itself(Light::Red).since(Some(brake.since)),
            &format!(
                "{} on drive A (main) vanished or were changed at once ({}); the other drives and the trash keep all they \
                 have until somebody decides",
                photos(all),
                parts.join(", ")
            ),
            "Look at them: shoebox changes show, which says how to answer if it was you. If not, find out what did it, and \
             then: shoebox changes put-it-back brings everything back. New photos are taken and copied all the while.",
        );
    }

    fn watching(&mut self) {
        let watching = self.facts.watching;
        if watching.lost_since.is_some() {
            self.find(
                "watcher-lost",
                &About::box_itself(Light::Amber).since(watching.lost_since),
                "files that are put on drive A (main) by hand are noticed late, within hours instead of seconds",
                "Uploads from phones are not affected. If the message stays for a day, restart the box.",
            );
        }
        if watching.limit > 0 && watching.folders.saturating_mul(5) >= watching.limit.saturating_mul(4) {
            self.find(
                "watch-limit-low",
                &About::box_itself(Light::Amber),
                &format!(
                    "there are {} folders and this system lets the box watch only {}",
                    watching.folders, watching.limit
                ),
                "Raise fs.inotify.max_user_watches to 524288 (a file in /etc/sysctl.d).",
            );
        }
        let ready =
            |drive: &DriveFacts| drive.role == Some(DriveRole::Primary) && drive.standing.takes_writes();
        let since_rescan = self.facts.last_rescan.map_or(self.facts.uptime, |at| self.age(Some(at)));
        if self.facts.drives.iter().any(ready) && since_rescan > self.limits.rescan {
            self.find(
                "rescan-overdue",
                &About::box_itself(Light::Amber),
                "the photos on drive A (main) have not been compared with the list for over a day",
                "Leave the box switched on overnight, or start it now (shoebox rescan).",
            );
        }
        if self.facts.unholdable > 0 {
            self.find(
                "names-unholdable",
                &About::box_itself(Light::Amber),
                &format!(
                    "{} on drive A (main) have names that not every drive can hold, and are not copied",
                    photos(self.facts.unholdable)
                ),
                "Rename them: shorter, without control characters, and different in more than capitals from what is \
                 beside them. The journal names them (journalctl -u shoebox).",
            );
        }
    }

    fn process(&mut self) {
        if self.facts.clock_unsure {
            self.find(
                "clock-unsure",
                &About::box_itself(Light::Amber),
                "the box does not know the time for certain, so new dates may be wrong",
                "Check that the box reaches the internet; it sets its clock by itself.",
            );
        }
        let limit = self.facts.memory_limit.unwrap_or(u64::MAX).min(self.limits.memory.saturating_mul(5) / 4);
        if self.facts.memory >= limit / 5 * 4 {
            self.find(
                "memory-high",
                &About::box_itself(Light::Amber),
                &format!(
                    "the box's program uses {} MB of memory, more than it should",
                    self.facts.memory >> 20
                ),
                "Restart the box when no upload is running, and send us the output of shoebox doctor.",
            );
        }
        let (open, most) = (self.facts.descriptors, self.facts.descriptor_limit);
        if most > 0 && open >= most / 5 * 4 {
            self.find(
                "descriptors-low",
                &About::box_itself(if open >= most / 20 * 19 { Light::Red } else { Light::Amber }),
                &format!("the box has {open} of at most {most} files and connections open"),
                "If no large upload is running, restart the box, and send us the output of shoebox doctor.",
            );
        }
    }

    fn worker(&mut self, worker: &WorkerReport) {
        if worker.failures < self.limits.worker_failures && !worker.silent {
            return;
        }
        let why = worker
            .last_error
            .as_ref()
            .filter(|_| !worker.silent)
            .map_or_else(|| "it does not respond".to_owned(), |error| discreet(&error.what));
        self.find(
            "worker-failing",
            &About { id: &worker.name, light: if worker.critical { Light::Red } else { Light::Amber }, since: None },
            &format!("the box's own job \"{}\" keeps failing ({why})", worker.name),
            "If a drive is reported as well, see to that first. Otherwise restart the box, and send us the output of \
             shoebox doctor.",
        );
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
