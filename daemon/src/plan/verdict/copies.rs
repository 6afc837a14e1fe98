//! Judging copies: how good those on a drive are, what it lacks, and whether it gets it.
use jiff::SignedDuration;

use super::{About, Verdict, discreet, name, photos};
use crate::model::drive::DriveRole;
use crate::model::health::Light;
use crate::plan::facts::DriveFacts;

impl Verdict<'_> {
    pub(super) fn copies(&mut self, drive: &DriveFacts) {
        let who = name(drive);
        if drive.damaged > 0 {
            self.find(
                "copies-damaged",
                &About::drive(drive, Light::Red),
                &format!("{} on {who} cannot be read as they were received", photos(drive.damaged)),
                "Keep them on the phones. The box makes them again from a good copy where there is one; if the number \
                 grows, replace the drive (shoebox find --state damaged lists them).",
            );
        }
        // One alarm for one thing: if so many are gone that everything waits for an answer, that says it.
        let told = self.facts.brake.is_some_and(|b| b.vanished > 0) && drive.role == Some(DriveRole::Primary);
        if drive.missing > 0 && !told {
            self.missing(drive);
        }
        if drive.unread > 0 {
            self.find(
                "reread-overdue",
                &About::drive(drive, Light::Amber),
                &format!("{} on {who} have not been checked for over a month", photos(drive.unread)),
                "Leave the box switched on with the drive plugged in; it catches up by itself.",
            );
        }
    }

    /// What can be put back, and what the phones have to send once more.
    fn missing(&mut self, drive: &DriveFacts) {
        let are = |count: u64| if count == 1 { "is" } else { "are" };
        let gone = format!(
            "{} {} gone from {} and nobody asked for that",
            photos(drive.missing),
            are(drive.missing),
            name(drive)
        );
        let put_back = "shoebox changes put-it-back brings them back. If somebody removed them on purpose: \
                        shoebox changes show lists them, and says how to answer.";
        let (sentence, remedy) = if drive.nowhere == 0 {
            (gone, format!("They are still on another drive: {put_back}"))
        } else {
            let nowhere = if drive.nowhere >= drive.missing {
                format!(
                    "{gone}; no other drive is known to have {}",
                    if drive.missing == 1 { "it" } else { "them" }
                )
            } else {
                format!("{gone}; {} of them {} on no other drive either", drive.nowhere, are(drive.nowhere))
            };
            let remedy = "shoebox find --state missing lists them. Let the phones that still have them send them once more, or plug in any \
                          other drive that may have them.";
            (nowhere, format!("{remedy} What another drive has: {put_back}"))
        };
        self.find("copies-missing", &About::drive(drive, Light::Red), &sentence, &remedy);
    }

    pub(super) fn lag(&mut self, drive: &DriveFacts) {
        let lag = self.age(drive.oldest_wanted);
        // Copies that wait for an answer are no lag.
        if self.facts.brake.is_some_and(|brake| brake.changed > 0) {
            return;
        }
        // While the drive is away, the finding about the drive says what is lacking.
        if drive.role != Some(DriveRole::Mirror)
            || !drive.standing.takes_writes()
            || drive.wanted == 0
            || lag <= self.limits.mirror_lag
        {
            return;
        }
        let red = lag >= self.limits.one_copy.saturating_mul(24);
        self.find(
            "mirror-behind",
            &About::drive(drive, if red { Light::Red } else { Light::Amber }).since(drive.oldest_wanted),
            &format!(
                "{} still lacks {}, the oldest for {} minutes",
                name(drive),
                photos(drive.wanted),
                lag.as_secs() / 60
            ),
            "Usually it catches up by itself after a large upload. If the number does not fall within a day, restart \
             the box.",
        );
    }

    /// What no drive knows of any more cannot be listed; since when it would have come can be said. For a month: nobody can tell
    /// the box that the phones have sent it all again.
    pub(super) fn lost(&mut self) {
        const SAID_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
        let Some(lost) = self.facts.lost.filter(|lost| self.now.duration_since(lost.noted) < SAID_FOR) else {
            return;
        };
        self.find(
            "record-lost",
            &About::box_itself(Light::Red).since(Some(lost.since)),
            "Drive A (main) lost what it had said was written; what is on another drive is brought back, and what came since then and \
             had reached no other may be gone",
            "Let the phones send everything from that day on once more; what is there already is not stored twice. A drive \
             that forgets does it again: replace it (shoebox drive replace --help).",
        );
    }

    /// A drive that answers and yet does not get its copies. That others work does not make it better.
    pub(super) fn steps(&mut self, drive: &DriveFacts) {
        let failures = drive.steps.failures;
        if failures < self.limits.worker_failures {
            return;
        }
        let light = if drive.role == Some(DriveRole::Offline) { Light::Amber } else { Light::Red };
        self.find(
            "copies-failing",
            &About::drive(drive, light),
            &format!(
                "{} does not get its copies: {failures} attempts in a row failed ({})",
                name(drive),
                discreet(&drive.steps.last)
            ),
            "If another drive is reported as well, see to that first. Otherwise unplug this one and plug it in again. If the \
             message returns, look at it on a computer: files on it may be protected, or its filesystem be damaged. If \
             nothing helps, replace it.",
        );
    }
}
