//! Judging drives that are not what they should be: one that fails again and again, several that say they are the same, a blank one in
//! the main drive's place.
use std::time::Duration;

use super::{About, Verdict, name};
use crate::model::drive::{DriveRole, Id, Standing};
use crate::model::health::Light;
use crate::plan::facts::DriveFacts;

impl Verdict<'_> {
    /// A drive that made an error `incidents` times, and answers.
    pub(super) fn failing(&mut self, drive: &DriveFacts, incidents: u64, closed: bool) {
        let who = name(drive);
        let (meaning, word) = match drive.role {
            Some(DriveRole::Primary) if closed => (
                "new photos are refused, because they might not be safe on it; what is on it is copied on",
                "primary",
            ),
            Some(DriveRole::Primary) => ("what it loses is made anew from the other drive", "primary"),
            Some(DriveRole::Mirror) => ("its copies do not count as safe", "mirror"),
            Some(DriveRole::Offline) | None => ("its copies do not count as safe", drive.id.as_str()),
        };
        let light = if drive.role == Some(DriveRole::Offline) { Light::Amber } else { Light::Red };
        self.find(
            "drive-failing",
            &About::drive(drive, light).since(drive.since),
            &format!("{who} is failing: it made errors {incidents} times within a day or two; {meaning}"),
            &format!(
                "Replace it soon: plug in a new drive, and shoebox drive replace {word} --with PATH. If its cable or power was bad \
                 and is changed, the message goes after a day without errors."
            ),
        );
    }

    /// An offline drive that has everything: the last thing that is said of it until it comes again. Whether it is one.
    pub(super) fn is_unpluggable(&mut self, drive: &DriveFacts) -> bool {
        // One that was taken away long ago is nothing to be told of.
        const FOR_A_DAY: Duration = Duration::from_secs(24 * 3600);
        let is_well = matches!(drive.standing, Standing::Ready | Standing::Absent | Standing::Ejected);
        let is_news = drive.standing != Standing::Absent || self.age(drive.unpluggable) < FOR_A_DAY;
        if drive.unpluggable.is_none() || !is_well || !is_news {
            return false;
        }
        self.find(
            "offline-drive-done",
            &About::drive(drive, Light::Green).since(drive.unpluggable),
            &format!("{} has everything, and may be unplugged", name(drive)),
            "Keep it somewhere else, and plug it in again within a month or so.",
        );
        true
    }

    /// One that was not here for long: a word first, then an alarm.
    pub(super) fn offline_absence(&mut self, drive: &DriveFacts) {
        // Without a date of its own, since the box knows of it.
        let seen = drive.last_ready.or(drive.since);
        let away = self.age(seen);
        if seen.is_none() || away <= self.limits.offline_reminder {
            return;
        }
        let light = if away > self.limits.offline_absence { Light::Amber } else { Light::Green };
        self.find(
            "offline-drive-due",
            &About::drive(drive, light),
            &format!(
                "{} has not been here for {} days and does not have the newest photos",
                name(drive),
                away.as_secs() / 86_400
            ),
            "Plug it in and leave it until the box says that it may be unplugged (shoebox status).",
        );
    }

    /// A drive that was opened around blocks of its own that cannot be read.
    pub(super) fn unreadable(&mut self, drive: &DriveFacts) {
        if drive.unreadable.is_empty() {
            return;
        }
        self.find(
            "drive-unreadable",
            &About::drive(drive, Light::Amber),
            &format!(
                "{} has bad spots: {} could not be read when it was opened; photos are kept and taken as before",
                name(drive),
                drive.unreadable.join(", ")
            ),
            "A drive that gets more bad spots is to be replaced (shoebox drive replace). What was in the trash there cannot be \
             put back; the message goes when the drive is opened and can be read.",
        );
    }

    /// One finding for all that say they are the same drive.
    pub(super) fn clone_of(&mut self, drive: &DriveFacts, of: Id, role: DriveRole) {
        let same =
            |other: &&DriveFacts| matches!(&other.standing, Standing::Clone { of: its, .. } if *its == of);
        let all: Vec<&DriveFacts> = self.facts.drives.iter().filter(same).collect();
        if all.first().is_none_or(|first| first.id != drive.id) {
            return;
        }
        let apart = all.iter().any(|other| matches!(other.standing, Standing::Clone { diverged: true, .. }));
        let places: Vec<&str> = all.iter().map(|other| other.id.as_str()).collect();
        let places = places.join(" and ");
        let who = name(&DriveFacts { role: Some(role), id: of.short(), ..DriveFacts::default() });
        let short = of.short();
        if apart {
            let meaning =
                if role == DriveRole::Primary { "new photos are refused" } else { "nothing is copied to it" };
            return self.find(
                "drives-diverged",
                &About { id: &short, light: Light::Red, since: drive.since },
                &format!(
                    "the drives at {places} both say that they are {who}, and each has something that the other has not; \
                     neither is used, and {meaning} until one is unplugged"
                ),
                "Unplug the one that is not to be used, and keep it: what only it has is on it and nowhere else. \
                 shoebox restore --from PATH reads it, on any computer.",
            );
        }
        self.find(
            "drive-clone",
            &About { id: &short, light: Light::Amber, since: drive.since },
            &format!("the drive at {places} is a copy of {who}, and only one of the two is used; this one is left alone"),
            "Unplug it, and keep it until you are sure that nothing on it is missing. The box uses the one whose record goes \
             further, and of two equal ones the one that its settings name first. To use this one, plug it in without the other.",
        );
    }

    /// Whether the main drive is away, although something says that there is one.
    fn is_primary_away(&self) -> bool {
        let primary = self.facts.drives.iter().find(|drive| drive.role == Some(DriveRole::Primary));
        match primary {
            Some(primary) => primary.standing == Standing::Absent,
            None => self.facts.drives.iter().any(|drive| drive.role.is_some()),
        }
    }

    /// A blank disk that is there while the main drive is not: together they are one thing to be told.
    pub(super) fn blank_instead(&self) -> Option<&DriveFacts> {
        let blank = self.facts.drives.iter().find(|drive| drive.standing == Standing::Blank);
        blank.filter(|_| self.is_primary_away())
    }

    /// Tells of both (promise P5: one alarm, and a question).
    pub(super) fn blank_in_its_place(&mut self, blank: &DriveFacts) {
        let primary = self.facts.drives.iter().find(|drive| drive.role == Some(DriveRole::Primary));
        if primary.is_none() && self.facts.uptime < self.limits.starting {
            return;
        }
        let since = primary.map_or(blank.since, |primary| primary.since);
        let place = blank.id.clone();
        self.find(
            "primary-blank",
            &About { id: primary.map_or("", |primary| &primary.id), light: Light::Red, since },
            &format!(
                "drive A (main) is not there, and at {place} there is a disk that this box does not know; nothing is written to \
                 that disk, and new photos are refused until the main drive is back"
            ),
            &format!(
                "Which is it? If the main drive is at hand: unplug that disk and plug the main drive in again. If it is lost or \
                 broken: let the copy take its place (shoebox drive promote mirror), or do that and make the new disk the copy \
                 (shoebox drive replace primary --with {place})."
            ),
        );
    }

    /// Whether the finding about clones says already why this drive, or the main drive, is not in use.
    pub(super) fn is_diverged(&self, fits: impl Fn(&str, DriveRole) -> bool) -> bool {
        self.facts.drives.iter().any(|drive| {
            matches!(&drive.standing, Standing::Clone { of, role, diverged: true } if fits(&of.short(), *role))
        })
    }
}
