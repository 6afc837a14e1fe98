//! How far a box is: which drives may become its own, and whether it is somebody's. Decides; touches nothing.
use std::path::PathBuf;

use crate::model::account::Slug;
use crate::model::drive::{self, DriveRole};
use crate::work::views::{DriveView, PersonView};

/// What there is.
pub(super) struct Standing {
    pub(super) drives: Vec<DriveView>,
    /// `None` while there is no main drive.
    pub(super) people: Option<Vec<PersonView>>,
    /// Whose the box is.
    pub(super) keeper: Option<Slug>,
}

/// What is to be done next, by whoever looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no main drive, and no drive of a box: one has to become it.
    Drives,
    /// The main drive is away. Nothing is known of people.
    Away,
    /// There is a main drive, and nobody: the first one comes.
    Claim,
    /// It is somebody's, who is to sign in; `false`: nobody has a password with which to do that.
    Locked(bool),
    /// Its keeper is here.
    Open(Slug),
}

impl Standing {
    /// How far it is for `visitor`, who has signed in.
    pub(super) fn stage(&self, visitor: Option<&Slug>) -> Stage {
        let Some(people) = &self.people else {
            let known = self.drives.iter().any(|drive| drive.role.is_some());
            return if known { Stage::Away } else { Stage::Drives };
        };
        match (&self.keeper, visitor) {
            _ if people.is_empty() => Stage::Claim,
            (Some(keeper), Some(visitor)) if keeper == visitor => Stage::Open(keeper.clone()),
            (keeper, _) => Stage::Locked(keeper.is_some()),
        }
    }

    /// Where drives wait to become the box's, and what they may become.
    pub(super) fn adoptable(&self) -> Vec<(PathBuf, DriveRole)> {
        let mut taken: Vec<DriveRole> = self.drives.iter().filter_map(|drive| drive.role).collect();
        let waiting = self.drives.iter().filter(|drive| drive.standing == drive::Standing::Blank);
        let mut found = Vec::new();
        for drive in waiting {
            let next = [DriveRole::Primary, DriveRole::Mirror].into_iter().find(|role| !taken.contains(role));
            let role = next.unwrap_or(DriveRole::Offline);
            // Without a main drive there is nothing that another one could be of.
            if self.people.is_some() || role == DriveRole::Primary {
                found.push((drive.mount.clone(), role));
            }
            if self.people.is_some() {
                taken.push(role);
            }
        }
        found
    }

    /// Whether two drives are the box's, so that photos have two copies.
    pub(super) fn has_two(&self) -> bool {
        let has = |role| self.drives.iter().any(|drive| drive.role == Some(role));
        has(DriveRole::Primary) && has(DriveRole::Mirror)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drive::Id;
    use crate::work::views::Tally;

    fn drive(mount: &str, role: Option<DriveRole>, standing: drive::Standing) -> DriveView {
        DriveView {
            mount: mount.into(),
            id: role.map(|role| Id::from_random([role as u8 + 1; 16])),
            role,
            standing,
            space: None,
            since: jiff::Timestamp::UNIX_EPOCH,
            probe_ms: None,
            device: None,
            seconds_left: None,
            full_in_days: None,
            tally: Tally::default(),
            reread: None,
            snapshot: None,
            unplugging: None,
            disk: None,
        }
    }

    fn person(name: &str, password: bool) -> PersonView {
        PersonView { name: name.parse().unwrap(), devices: 0, files: 0, bytes: 0, password, quota: None }
    }

    use drive::Standing::{Absent, Blank, Ready};

    #[test]
    fn a_box_that_nobody_has_begun() {
        let drives = vec![drive("/a", None, Blank), drive("/b", None, Blank), drive("/c", None, Absent)];
        let standing = Standing { drives, people: None, keeper: None };
        assert_eq!(standing.stage(None), Stage::Drives);
        // Either of them may be the main drive, and none is anything else before there is one.
        let both = vec![("/a".into(), DriveRole::Primary), ("/b".into(), DriveRole::Primary)];
        assert_eq!(standing.adoptable(), both);
    }

    #[test]
    fn a_drive_of_a_box_that_is_away_makes_nobody_the_first() {
        let drives = vec![drive("/a", Some(DriveRole::Mirror), Ready), drive("/b", None, Blank)];
        let standing = Standing { drives, people: None, keeper: None };
        assert_eq!(standing.stage(None), Stage::Away);
    }

    #[test]
    fn who_it_belongs_to() {
        let anna: Slug = "anna".parse().unwrap();
        let ben: Slug = "ben".parse().unwrap();
        let drives = || vec![drive("/a", Some(DriveRole::Primary), Ready), drive("/b", None, Blank)];
        let stands = |people: Vec<PersonView>, keeper: Option<&Slug>| Standing {
            drives: drives(),
            people: Some(people),
            keeper: keeper.cloned(),
        };
        let nobody = stands(vec![], None);
        assert_eq!(nobody.stage(None), Stage::Claim);
        assert_eq!(nobody.stage(Some(&anna)), Stage::Claim);
        assert_eq!(nobody.adoptable(), [("/b".into(), DriveRole::Mirror)]);
        assert!(!nobody.has_two());
        let hers = stands(vec![person("anna", true), person("ben", true)], Some(&anna));
        assert_eq!(hers.stage(None), Stage::Locked(true));
        assert_eq!(hers.stage(Some(&ben)), Stage::Locked(true));
        assert_eq!(hers.stage(Some(&anna)), Stage::Open(anna));
        assert_eq!(stands(vec![person("ben", false)], None).stage(None), Stage::Locked(false));
    }
}
