//! Judging devices as the command that root runs tells of them: what keeps a drive from its promise, and strange ones that somebody
//! plugged in.
use super::{About, Verdict, discreet, name};
use crate::model::drive::{DriveRole, Standing};
use crate::model::health::Light;
use crate::model::plugged::{Checked, Decision, Flush, Offer, Plugged, Reason};
use crate::plan::facts::{DriveFacts, PluggedFacts};

impl Verdict<'_> {
    /// Everything that is plugged in.
    pub(super) fn plugged(&mut self) {
        for plugged in &self.facts.plugged {
            if self.speaks_for_its_disk(plugged) {
                self.device(plugged);
            }
        }
        for device in &self.facts.unreadable_reports {
            self.find(
                "device-report-unreadable",
                &About { id: device, light: Light::Amber, since: None },
                &format!("what is known of the drive that is plugged in as {device} cannot be read"),
                "Unplug it and plug it in again. If the message returns, restart the box, and send us the output of shoebox doctor.",
            );
        }
    }

    /// Of a strange disk one thing is said, whatever parts it has; of a disk with parts, nothing of the whole.
    fn speaks_for_its_disk(&self, one: &PluggedFacts) -> bool {
        let device = &one.plugged.device;
        let others = || {
            let same = |other: &&PluggedFacts| {
                other.plugged.device.disk == device.disk && other.plugged.device.name != device.name
            };
            self.facts.plugged.iter().filter(same)
        };
        if device.name == device.disk {
            return others().next().is_none();
        }
        let Some(Decision::Leave { offer, .. }) = &one.plugged.decision else { return true };
        // One that is used says more, and of the others the one that can be used as it is.
        let weight = |offer: &Offer| match offer {
            Offer::Adopt => 2,
            Offer::Format => 1,
            Offer::No => 0,
        };
        others().filter(|other| other.plugged.device.name != device.disk).all(|other| {
            match &other.plugged.decision {
                Some(Decision::Leave { offer: its, .. }) => {
                    weight(its) < weight(offer)
                        || (weight(its) == weight(offer) && other.plugged.device.name > device.name)
                }
                Some(Decision::Mount { .. } | Decision::AsFstabSays { .. } | Decision::Mounted { .. }) => {
                    false
                }
                None => true,
            }
        })
    }

    fn device(&mut self, plugged: &PluggedFacts) {
        if let Some(why) = &plugged.plugged.failed {
            return self.not_attached(&plugged.plugged, why);
        }
        match &plugged.plugged.decision {
            Some(Decision::Leave { reason, offer, .. }) => self.left(&plugged.plugged, *reason, *offer),
            Some(Decision::Mount { .. } | Decision::AsFstabSays { .. } | Decision::Mounted { .. }) => {
                let drive = self.facts.drives.iter().find(|drive| plugged.drive.as_ref() == Some(&drive.id));
                if let Some(drive) = drive {
                    self.its_flushes(drive, &plugged.plugged);
                    self.its_filesystem(drive, &plugged.plugged);
                }
            }
            None => {}
        }
    }

    /// A drive whose flushes reach nothing cannot keep what was acknowledged through a power cut (promise P1).
    fn its_flushes(&mut self, drive: &DriveFacts, plugged: &Plugged) {
        if !matches!(plugged.cache, Some(Flush::NotSent { .. })) {
            return;
        }
        let light = if drive.role == Some(DriveRole::Primary) { Light::Red } else { Light::Amber };
        self.find(
            "drive-unflushed",
            &About::drive(drive, light),
            &format!(
                "{} ({}) does not say when it has really written something; what it was given last may be lost when its power goes",
                name(drive),
                kind_of(plugged)
            ),
            "Put the disk into another enclosure, or use another cable with its own adapter; most of them do say it. Until then, have the \
             box acknowledge a photo only when it is on both drives (acknowledge_after_copy = true in the settings).",
        );
    }

    fn its_filesystem(&mut self, drive: &DriveFacts, plugged: &Plugged) {
        if !matches!(plugged.checked, Some(Checked::Unsound { .. })) {
            return;
        }
        let device = &plugged.device.name;
        self.find(
            "drive-unsound",
            &About::drive(drive, self.weight(drive)),
            &format!(
                "the filesystem of {} ({}) is damaged in a way that the box does not mend by itself; it can be read, and takes nothing new",
                name(drive),
                kind_of(plugged)
            ),
            &format!(
                "Replace the drive (shoebox drive replace …): everything on it can still be read. Or have somebody who knows it repair the \
                 filesystem while the drive is ejected (fsck /dev/{device}, after a copy of the drive was made)."
            ),
        );
    }

    /// Whether a drive is known to be mounted for reading only because of its filesystem: that is said once.
    pub(super) fn is_unsound(&self, drive: &DriveFacts) -> bool {
        drive.standing == Standing::ReadOnly
            && self.facts.plugged.iter().any(|plugged| {
                plugged.drive.as_ref() == Some(&drive.id)
                    && matches!(plugged.plugged.checked, Some(Checked::Unsound { .. }))
            })
    }

    fn not_attached(&mut self, plugged: &Plugged, why: &str) {
        let role = plugged.marker.as_ref().map(|mark| mark.role);
        let light = if role == Some(DriveRole::Primary) { Light::Red } else { Light::Amber };
        let device = &plugged.device.name;
        self.find(
            "drive-not-attached",
            &About { id: plugged.device.disk.as_str(), light, since: None },
            &format!("the drive that is plugged in as {device} ({}) could not be taken into use ({})", kind_of(plugged), discreet(why)),
            "Unplug it and plug it in again, at another port or with another cable if there is one. If the message returns, the drive may \
             be broken; nothing was written to it.",
        );
    }

    fn left(&mut self, plugged: &Plugged, reason: Reason, offer: Offer) {
        let (device, disk) = (&plugged.device.name, plugged.device.disk.as_str());
        let about = About { id: disk, light: Light::Amber, since: None };
        let kind = kind_of(plugged);
        match (reason, offer) {
            (Reason::NotOurs, _) => {}
            (Reason::Copied, _) => self.find(
                "drive-copied",
                &about,
                &format!("the drive that is plugged in as {device} ({kind}) is a copy of one of this box's drives; nothing was written to it"),
                "Unplug it, and keep it until you are sure that nothing on it is missing. To use it as a drive of its own, format it \
                 anew on a computer.",
            ),
            (Reason::Twin, _) => self.find(
                "drive-twin",
                &about,
                &format!("two drives that are plugged in cannot be told from each other ({device}, {kind}); nothing was written to this one"),
                "Unplug one of the two.",
            ),
            (Reason::NoPlace, _) => self.find(
                "drive-no-place",
                &about,
                &format!("there are more drives of a Shoebox than places for them, and the one at {device} ({kind}) is not used"),
                "Eject a drive that is not needed now (shoebox drive eject …), and plug this one in again.",
            ),
            (_, Offer::Adopt) => self.find(
                "drive-strange",
                &about,
                &format!("a drive that this box does not know is plugged in as {device} ({kind}); nothing was written to it"),
                &format!(
                    "If it is to hold photos: shoebox drive adopt {device} --role offline (or mirror, or primary); everything on it stays. \
                     Otherwise unplug it."
                ),
            ),
            (_, Offer::Format) => self.find(
                "drive-strange",
                &about,
                &format!(
                    "a drive that this box does not know is plugged in as {device} ({kind}), and it cannot be used as it is; nothing was \
                     written to it"
                ),
                &format!(
                    "If it is to hold photos, and everything on it may be lost: shoebox drive format {disk}. Otherwise unplug it."
                ),
            ),
            (Reason::Empty | Reason::Filesystem | Reason::Unmarked | Reason::Other, Offer::No) => {}
        }
    }
}

/// `Samsung T7, 1.0 TB, ext4`.
fn kind_of(plugged: &Plugged) -> String {
    let device = &plugged.device;
    let gigabytes = device.size / 1_000_000_000;
    let size = match gigabytes {
        0 => format!("{} MB", device.size / 1_000_000),
        1..1000 => format!("{gigabytes} GB"),
        _ => format!("{}.{} TB", gigabytes / 1000, gigabytes % 1000 / 100),
    };
    let filesystem =
        plugged.filesystem.as_ref().map_or("no filesystem", |filesystem| filesystem.kind.as_str());
    let model = if device.model.is_empty() { "of unknown make" } else { device.model.as_str() };
    format!("{model}, {size}, {filesystem}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drive::Space;
    use crate::plan::facts::{CatalogueFacts, Facts, Limits};
    use crate::plan::verdict::judge;

    fn found(reports: &[&str]) -> String {
        let drive = |id: &str, role, standing| DriveFacts {
            id: id.to_owned(),
            role: Some(role),
            standing,
            space: Some(Space { total: 1 << 40, available: 1 << 39, inodes: u64::MAX }),
            ..DriveFacts::default()
        };
        let plugged = reports.iter().map(|text| {
            let plugged: Plugged = serde_json::from_str(text).unwrap();
            let drive = match plugged.at().and_then(|at| at.to_str()) {
                Some("/a") => Some("aaaa".to_owned()),
                Some("/b") => Some("bbbb".to_owned()),
                Some(_) | None => None,
            };
            PluggedFacts { plugged, drive }
        });
        let facts = Facts {
            drives: vec![
                drive("aaaa", DriveRole::Primary, Standing::Ready),
                drive("bbbb", DriveRole::Mirror, Standing::ReadOnly),
            ],
            catalogue: CatalogueFacts::Open,
            plugged: plugged.collect(),
            unreadable_reports: if reports.is_empty() { vec!["sdx".to_owned()] } else { Vec::new() },
            ..Facts::default()
        };
        let now = "2026-11-21T18:00:00Z".parse().unwrap();
        let all = judge(&facts, &[], &Limits::default(), now);
        let line = |f: &crate::model::health::Finding| {
            format!("{} {} {}: {} → {}\n", f.light.as_str(), f.code, f.about, f.sentence, f.remedy)
        };
        all.iter().map(line).collect()
    }

    fn device(name: &str, rest: &str) -> String {
        let disk = name.trim_end_matches(|c: char| c.is_ascii_digit());
        format!(
            r#"{{"device":{{"name":"{name}","disk":"{disk}","size":1000204886016,"model":"Samsung T7"}},{rest}}}"#
        )
    }

    #[test]
    fn what_a_drive_cannot_promise_is_said_and_once() {
        let text = [
            found(&[
                &device("sda1", r#""decision":"mount","at":"/a","cache":{"flush":"not-sent","why":"x"}"#),
                &device("sdb1", r#""decision":"mounted","at":"/b","checked":{"check":"unsound","said":"x"}"#),
                &device("sda", r#""decision":"leave","why":"x","reason":"empty","offer":"format""#),
            ]),
            found(&[
                &device("sda1", r#""decision":"mount","at":"/a","cache":{"flush":"sent-now"}"#),
                &device(
                    "sdc1",
                    r#""decision":"mount","at":"/elsewhere","cache":{"flush":"not-sent","why":"x"}"#,
                ),
            ]),
            found(&[]),
        ]
        .join("-\n");
        expect_test::expect![[r#"
            red drive-unflushed aaaa: Drive A (main) (Samsung T7, 1.0 TB, no filesystem) does not say when it has really written something; what it was given last may be lost when its power goes → Put the disk into another enclosure, or use another cable with its own adapter; most of them do say it. Until then, have the box acknowledge a photo only when it is on both drives (acknowledge_after_copy = true in the settings).
            amber drive-unsound bbbb: The filesystem of drive B (copy) (Samsung T7, 1.0 TB, no filesystem) is damaged in a way that the box does not mend by itself; it can be read, and takes nothing new → Replace the drive (shoebox drive replace …): everything on it can still be read. Or have somebody who knows it repair the filesystem while the drive is ejected (fsck /dev/sdb1, after a copy of the drive was made).
            -
            amber drive-read-only bbbb: Drive B (copy) can be read but takes nothing new; new photos get no second copy until it is back → Unplug it and plug it in again. If it stays so, the drive may be failing: replace it soon.
            -
            amber device-report-unreadable sdx: What is known of the drive that is plugged in as sdx cannot be read → Unplug it and plug it in again. If the message returns, restart the box, and send us the output of shoebox doctor.
            amber drive-read-only bbbb: Drive B (copy) can be read but takes nothing new; new photos get no second copy until it is back → Unplug it and plug it in again. If it stays so, the drive may be failing: replace it soon.
        "#]].assert_eq(&text);
    }

    #[test]
    fn a_strange_disk_is_told_of_once_with_what_can_be_done() {
        let left = |name: &str, reason: &str, offer: &str| {
            device(name, &format!(r#""decision":"leave","why":"x","reason":"{reason}","offer":"{offer}""#))
        };
        let only = |all: String| -> String {
            all.lines().filter(|line| !line.contains("bbbb")).map(|line| format!("{line}\n")).collect()
        };
        // A disk of a computer: a table, a part that is no good, two that would do.
        let parts = [
            left("sda", "empty", "format"),
            left("sda1", "filesystem", "format"),
            left("sda2", "unmarked", "adopt"),
            left("sda3", "unmarked", "adopt"),
            left("sdb", "empty", "format"),
            left("sdc1", "copied", "no"),
            left("sdd1", "no-place", "no"),
            left("sde1", "twin", "no"),
            left("sdf1", "not-ours", "no"),
            device("sdg1", r#""failed":"could not mount /dev/sdg1: I/O error""#),
            device("sdh1", r#""decision":"look""#),
        ];
        let all: Vec<&str> = parts.iter().map(String::as_str).collect();
        expect_test::expect![[r#"
            amber drive-copied sdc: The drive that is plugged in as sdc1 (Samsung T7, 1.0 TB, no filesystem) is a copy of one of this box's drives; nothing was written to it → Unplug it, and keep it until you are sure that nothing on it is missing. To use it as a drive of its own, format it anew on a computer.
            amber drive-no-place sdd: There are more drives of a Shoebox than places for them, and the one at sdd1 (Samsung T7, 1.0 TB, no filesystem) is not used → Eject a drive that is not needed now (shoebox drive eject …), and plug this one in again.
            amber drive-not-attached sdg: The drive that is plugged in as sdg1 (Samsung T7, 1.0 TB, no filesystem) could not be taken into use (could not mount /dev/sdg1: I/O error) → Unplug it and plug it in again, at another port or with another cable if there is one. If the message returns, the drive may be broken; nothing was written to it.
            amber drive-strange sda: A drive that this box does not know is plugged in as sda2 (Samsung T7, 1.0 TB, no filesystem); nothing was written to it → If it is to hold photos: shoebox drive adopt sda2 --role offline (or mirror, or primary); everything on it stays. Otherwise unplug it.
            amber drive-strange sdb: A drive that this box does not know is plugged in as sdb (Samsung T7, 1.0 TB, no filesystem), and it cannot be used as it is; nothing was written to it → If it is to hold photos, and everything on it may be lost: shoebox drive format sdb. Otherwise unplug it.
            amber drive-twin sde: Two drives that are plugged in cannot be told from each other (sde1, Samsung T7, 1.0 TB, no filesystem); nothing was written to this one → Unplug one of the two.
        "#]].assert_eq(&only(found(&all)));
    }
}
