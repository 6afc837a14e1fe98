//! Judging room: how full drives are, and how much of their quotas people use.
use super::{About, Verdict, name};
use crate::model::drive::DriveRole;
use crate::model::health::Light;
use crate::plan::facts::DriveFacts;
use crate::plan::quota;

impl Verdict<'_> {
    pub(super) fn room(&mut self, drive: &DriveFacts) {
        let Some(space) = drive.space.filter(|space| space.total > 0) else {
            return;
        };
        let percent = space.percent_used();
        let primary = drive.role == Some(DriveRole::Primary);
        let refused = if primary { self.facts.refused_for_room } else { 0 };
        let full = percent >= self.limits.full_percent || space.inodes < self.limits.inodes || refused > 0;
        let who = name(drive);
        if full {
            let meaning = if refused > 0 {
                "and photos were refused for lack of room"
            } else {
                "and will soon take nothing more"
            };
            self.find(
                "drive-full",
                &About::drive(
                    drive,
                    if primary || drive.role.is_none() { Light::Red } else { self.weight(drive) },
                ),
                &format!("{who} is {percent} % full {meaning}"),
                "It has to be replaced by a larger one. Nothing that is on it is lost or thinned out.",
            );
        } else if let Some(days) = drive.full_in.filter(|days| *days < self.limits.soon_days) {
            self.find(
                "drive-full-soon",
                &About::drive(drive, Light::Amber),
                &format!("{who} is full in about {days} {}", if days == 1 { "day" } else { "days" }),
                "Get a larger drive now. Nothing that is on this one is lost or thinned out.",
            );
        } else if percent >= self.limits.filling_percent {
            self.find(
                "drive-filling",
                &About::drive(drive, Light::Amber),
                &format!("{who} is {percent} % full"),
                "Get a larger drive in the coming weeks.",
            );
        }
    }

    /// Without names: findings are shown to whoever reaches the port.
    pub(super) fn quotas(&mut self) {
        let nearly =
            self.facts.quotas.iter().filter(|(used, quota)| quota::percent(*used, *quota) >= quota::NEARLY);
        let people = match nearly.count() {
            0 => return,
            1 => "one person has".to_owned(),
            count => format!("{count} people have"),
        };
        self.find(
            "quota-nearly-used",
            &About::box_itself(Light::Amber),
            &format!("{people} used {} % or more of what they may", quota::NEARLY),
            "Look who with `shoebox person list`. Give them more with `shoebox person quota NAME SIZE`, or let them delete \
             something; once it is used up, their new photos are refused.",
        );
    }
}
