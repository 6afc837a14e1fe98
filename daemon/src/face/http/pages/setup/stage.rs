//! How far a box is: which drives may become its own, and whether it is somebody's. Decides; touches nothing.
use std::path::PathBuf;

use crate::model::account::Slug;
use crate::model::drive::{self, DriveRole};
use crate::model::health::Finding;
use crate::model::plugged::{Decision, Offer, Plugged};
use crate::work::views::{DriveView, PersonView};

/// What there is.
#[derive(Default)]
pub(super) struct Found {
    pub(super) drives: Vec<DriveView>,
    /// Whether there is a pool, or may be one.
    pub(super) may_be_a_pool: bool,
    /// `None` while there is no main drive.
    pub(super) people: Option<Vec<PersonView>>,
    /// Whose the box is.
    pub(super) owner: Option<Slug>,
    /// What is plugged in, as the command that root runs tells it.
    pub(super) plugged: Vec<Plugged>,
    /// What is to be said besides.
    pub(super) findings: Vec<Finding>,
}

/// What is to be done next, by whoever looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no main drive, nor any sign of one: a drive has to become it.
    Drives,
    /// The main drive is away, or is being looked for. Nothing is known of people.
    Away,
    /// There is a main drive, and nobody: the first one comes.
    Claim,
    /// It is somebody's, who is to sign in; `false`: nobody has a password with which to do that.
    Locked(bool),
    /// Its owner is here.
    Owner(Slug),
    /// Somebody else of the family is here.
    Member(Slug),
}

impl Found {
    /// How far it is for `visitor`, who has signed in.
    pub(super) fn stage(&self, visitor: Option<&Slug>) -> Stage {
        let Some(people) = &self.people else {
            return if self.may_be_a_pool { Stage::Away } else { Stage::Drives };
        };
        let signs_in = |who: &&Slug| people.iter().any(|person| person.name == **who && person.password);
        match (&self.owner, visitor.filter(signs_in)) {
            _ if people.is_empty() => Stage::Claim,
            (Some(owner), Some(visitor)) if owner == visitor => Stage::Owner(owner.clone()),
            (_, Some(visitor)) => Stage::Member(visitor.clone()),
            (owner, None) => Stage::Locked(owner.is_some()),
        }
    }

    /// For whom `who` may add a phone: for whoever has a password of their own nobody else does. What a phone may see of its
    /// person's photos depends on the app.
    pub(super) fn may_add_for(&self, who: &Slug) -> Vec<&Slug> {
        let owner = self.owner.as_ref() == Some(who);
        let people = self.people.iter().flatten();
        people.filter(|of| of.name == *who || (owner && !of.password)).map(|of| &of.name).collect()
    }

    /// Where drives wait to become the box's, and what they may become.
    pub(super) fn adoptable(&self) -> Vec<(PathBuf, DriveRole)> {
        let has_mirror = self.drives.iter().any(|drive| drive.role == Some(DriveRole::Mirror));
        let may: &[DriveRole] = match &self.people {
            // Without a main drive there is nothing that another one could be of.
            None if self.may_be_a_pool => &[],
            None => &[DriveRole::Primary],
            Some(_) if has_mirror => &[DriveRole::Offline],
            Some(_) => &[DriveRole::Mirror, DriveRole::Offline],
        };
        let waiting = self.drives.iter().filter(|drive| drive.standing == drive::Standing::Blank);
        waiting.flat_map(|drive| may.iter().map(|role| (drive.mount.clone(), *role))).collect()
    }

    /// Devices that nothing was done to, with what it would take to make them drives of the box.
    pub(super) fn left(&self) -> impl Iterator<Item = (&Plugged, Offer, &str)> {
        self.plugged.iter().filter_map(|one| match &one.decision {
            Some(Decision::Leave { why, offer, .. }) if *offer != Offer::No => {
                Some((one, *offer, why.as_str()))
            }
            Some(_) | None => None,
        })
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
        let mut found = Found { drives, ..Found::default() };
        assert_eq!(found.stage(None), Stage::Drives);
        // Either of them may be the main drive, and none is anything else before there is one.
        let both = vec![("/a".into(), DriveRole::Primary), ("/b".into(), DriveRole::Primary)];
        assert_eq!(found.adoptable(), both);
        // With any sign of a box nobody is the first, and nothing begins anew.
        found.may_be_a_pool = true;
        assert_eq!(found.stage(None), Stage::Away);
        assert_eq!(found.adoptable(), []);
    }

    #[test]
    fn who_it_belongs_to() {
        let (anna, ben): (Slug, Slug) = ("anna".parse().unwrap(), "ben".parse().unwrap());
        let stands = |people: Vec<PersonView>, owner: Option<&Slug>| Found {
            drives: vec![drive("/a", Some(DriveRole::Primary), Ready), drive("/b", None, Blank)],
            may_be_a_pool: true,
            people: Some(people),
            owner: owner.cloned(),
            plugged: vec![],
            findings: vec![],
        };
        let nobody = stands(vec![], None);
        assert_eq!(nobody.stage(None), Stage::Claim);
        assert_eq!(nobody.stage(Some(&anna)), Stage::Claim);
        let either = [("/b".into(), DriveRole::Mirror), ("/b".into(), DriveRole::Offline)];
        assert_eq!(nobody.adoptable(), either);
        assert!(!nobody.has_two());
        let people = || vec![person("anna", true), person("ben", true), person("kim", false)];
        let hers = stands(people(), Some(&anna));
        assert_eq!(hers.stage(None), Stage::Locked(true));
        assert_eq!(hers.stage(Some(&ben)), Stage::Member(ben.clone()));
        assert_eq!(hers.stage(Some(&anna)), Stage::Owner(anna.clone()));
        // A visit of somebody who has no password any more is none.
        assert_eq!(hers.stage(Some(&"kim".parse().unwrap())), Stage::Locked(true));
        let names =
            |who: &Slug| hers.may_add_for(who).into_iter().map(Slug::as_str).collect::<Vec<_>>().join(" ");
        assert_eq!((names(&anna).as_str(), names(&ben).as_str()), ("anna kim", "ben"));
        assert_eq!(stands(vec![person("ben", false)], None).stage(None), Stage::Locked(false));
    }
}
