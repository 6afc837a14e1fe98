//! What becomes of a drive that was plugged in: decided from facts, by one function.
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::device::{Bus, Device};
use crate::filesystem::Filesystem;
use crate::mark::{Mark, Role};
use crate::mounting;

/// What there is to decide by.
#[derive(Debug)]
pub struct Facts<'f> {
    /// The device.
    pub device: &'f Device,
    /// What is on it.
    pub filesystem: Option<&'f Filesystem>,
    /// Where something of the same disk is mounted, or used as swap: (place, is it this very device).
    pub in_use: &'f [(PathBuf, bool)],
    /// Where `/etc/fstab` wants it.
    pub fstab: Option<&'f Path>,
    /// Another device has a filesystem of the same UUID.
    pub twin: bool,
    /// What it says of itself; `None` before anybody looked.
    pub mark: Option<Option<&'f Mark>>,
}

/// Where drives go, and by which bus they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The first is the main drive's, the second its copy's, all others are for drives that are kept elsewhere. Which drive is which the
    /// daemon finds by itself, so one that finds its place taken may have any other.
    pub points: Vec<PathBuf>,
    /// Others are left alone.
    pub buses: Vec<Bus>,
    /// Where the photos of one of them are shown for the computers of the house.
    pub shown: PathBuf,
}

impl Places {
    /// Where exactly. A drive that is seen there is mounted elsewhere, too.
    pub fn photos(&self) -> PathBuf {
        self.shown.join("photos")
    }
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "decision")]
pub enum Decision {
    /// Its marker is to be looked at, without writing a byte.
    Look,
    /// It is checked and mounted.
    Mount {
        /// There.
        at: PathBuf,
    },
    /// The administrator said where, in `/etc/fstab`.
    AsFstabSays {
        /// There.
        at: PathBuf,
    },
    /// It is mounted already.
    Mounted {
        /// There.
        at: PathBuf,
    },
    /// Nothing is done to it.
    Leave {
        /// Why, for people.
        why: String,
        /// The same for programs.
        reason: Reason,
        /// How it can become one of the box's drives.
        offer: Offer,
    },
}

/// Why nothing is done to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Drives for photos do not come this way, or it is the system's.
    NotOurs,
    /// There is nothing on it.
    Empty,
    /// What is on it is nothing that drives for photos have.
    Filesystem,
    /// It bears no marker.
    Unmarked,
    /// It bears a marker that was written to another filesystem.
    Copied,
    /// It cannot be told from another one.
    Twin,
    /// All places are taken.
    NoPlace,
}

/// How a drive that is none of the box's can become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offer {
    /// Not at all.
    No,
    /// As it is; everything on it stays.
    Adopt,
    /// With a new filesystem; everything on it is lost.
    Format,
}

fn leave(reason: Reason, why: impl Into<String>, offer: Offer) -> Decision {
    Decision::Leave { why: why.into(), reason, offer }
}

/// Decides.
pub fn decide(facts: &Facts<'_>, places: &Places, taken: &[PathBuf]) -> Decision {
    let Facts { device, filesystem, .. } = facts;
    let photos = places.photos();
    let mut in_use = facts.in_use.iter().filter(|(at, _)| *at != photos);
    if let Some((at, _)) = in_use.clone().find(|(_, itself)| *itself) {
        return Decision::Mounted { at: at.clone() };
    }
    match facts.fstab {
        Some(at) if places.points.iter().any(|point| point == at) => {
            return Decision::AsFstabSays { at: at.to_owned() };
        }
        // The line may say `/dev/sda1`, and mean whatever stick is in the machine.
        Some(at) => {
            return leave(
                Reason::NotOurs,
                format!("/etc/fstab has a place for it that is not the box's: {}", at.display()),
                Offer::No,
            );
        }
        None => {}
    }
    if !places.buses.contains(&device.bus) {
        let why = "it is not attached by a bus that drives for photos come by";
        return leave(Reason::NotOurs, why, Offer::No);
    }
    // The system's own disk, whatever bus it is on: what is mounted elsewhere is somebody's.
    if let Some((at, _)) = in_use.find(|(at, _)| !places.points.contains(at)) {
        let why = format!("the system uses another part of this disk at {}", at.display());
        return leave(Reason::NotOurs, why, Offer::No);
    }
    let Some(filesystem) = filesystem else {
        return leave(Reason::Empty, "there is no filesystem on it", Offer::Format);
    };
    if let Err(why) = mounting::options(&filesystem.kind) {
        return leave(Reason::Filesystem, why, Offer::Format);
    }
    if facts.twin && filesystem.kind == "btrfs" {
        // btrfs takes devices of one UUID for parts of one filesystem and mixes them.
        return leave(
            Reason::Twin,
            "another drive has the same filesystem UUID, and btrfs cannot tell them apart; unplug one",
            Offer::No,
        );
    }
    match facts.mark {
        None => Decision::Look,
        Some(None) => leave(Reason::Unmarked, "it is no drive of a Shoebox", Offer::Adopt),
        Some(Some(mark)) if !mark.is_of(filesystem) => {
            leave(Reason::Copied, "its marker was copied from another drive", Offer::No)
        }
        Some(Some(mark)) => match place(mark.role, places, taken) {
            Some(at) => Decision::Mount { at },
            None => {
                let why = "more drives of a Shoebox are plugged in than there are places for";
                leave(Reason::NoPlace, why, Offer::No)
            }
        },
    }
}

/// The role's own place, or else one that nobody else has a claim to, or else any.
fn place(role: Role, places: &Places, taken: &[PathBuf]) -> Option<PathBuf> {
    let points = &places.points;
    let own = match role {
        Role::Primary => points.iter().take(1),
        Role::Mirror => points.get(1..).unwrap_or_default().iter().take(1),
        Role::Offline => points.get(2..).unwrap_or_default().iter().take(usize::MAX),
    };
    own.chain(points.iter().rev()).find(|at| !taken.contains(at)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            points: ["/a", "/b", "/o", "/p"].map(PathBuf::from).to_vec(),
            buses: vec![Bus::Usb],
            shown: "/n".into(),
        }
    }

    fn device(bus: Bus) -> Device {
        Device {
            name: "sda1".parse().unwrap(),
            disk: "sda".parse().unwrap(),
            bus,
            size: 1 << 40,
            read_only: false,
            model: String::new(),
            serial: String::new(),
            path: PathBuf::new(),
            held: None,
        }
    }

    fn filesystem(kind: &str) -> Filesystem {
        Filesystem { kind: kind.into(), uuid: "ab".repeat(16), label: String::new() }
    }

    fn mark(role: Role) -> Mark {
        Mark {
            pool: "0".repeat(32),
            drive: "1".repeat(32),
            role,
            filesystem: Some("ab".repeat(16)),
            volume: None,
        }
    }

    fn facts<'f>(
        device: &'f Device,
        filesystem: Option<&'f Filesystem>,
        mark: Option<Option<&'f Mark>>,
    ) -> Facts<'f> {
        Facts { device, filesystem, in_use: &[], fstab: None, twin: false, mark }
    }

    fn left(decision: Decision) -> String {
        match decision {
            Decision::Leave { why, offer, .. } => format!("{why} ({offer:?})"),
            other @ (Decision::Look
            | Decision::Mount { .. }
            | Decision::AsFstabSays { .. }
            | Decision::Mounted { .. }) => {
                panic!("{other:?}")
            }
        }
    }

    #[test]
    fn a_drive_of_ours_goes_to_its_own_place_or_to_any() {
        let (usb, ext4) = (device(Bus::Usb), filesystem("ext4"));
        let check = |role, taken: &[&str], at: &str| {
            let (mark, taken) = (mark(role), taken.iter().map(PathBuf::from).collect::<Vec<_>>());
            let decision = decide(&facts(&usb, Some(&ext4), Some(Some(&mark))), &places(), &taken);
            assert_eq!(decision, Decision::Mount { at: at.into() }, "{role:?} {taken:?}");
        };
        check(Role::Primary, &[], "/a");
        check(Role::Mirror, &[], "/b");
        check(Role::Offline, &[], "/o");
        check(Role::Offline, &["/o"], "/p");
        // Its clone, or an old main drive that comes back beside the new one.
        check(Role::Primary, &["/a"], "/p");
        check(Role::Mirror, &["/b", "/p"], "/o");
        check(Role::Offline, &["/o", "/p"], "/b");
        let (all, mark) = (places().points, mark(Role::Primary));
        let decision = decide(&facts(&usb, Some(&ext4), Some(Some(&mark))), &places(), &all);
        assert_eq!(left(decision), "more drives of a Shoebox are plugged in than there are places for (No)");
    }

    #[test]
    fn nothing_is_done_to_what_is_not_ours() {
        let (usb, ext4, own) = (device(Bus::Usb), filesystem("ext4"), mark(Role::Primary));
        let decide = |facts: &Facts<'_>| decide(facts, &places(), &[]);
        assert_eq!(decide(&facts(&usb, Some(&ext4), None)), Decision::Look, "nobody looked yet");
        assert_eq!(
            left(decide(&facts(&usb, Some(&ext4), Some(None)))),
            "it is no drive of a Shoebox (Adopt)"
        );
        assert_eq!(left(decide(&facts(&usb, None, None))), "there is no filesystem on it (Format)");
        let vfat = filesystem("vfat");
        assert!(left(decide(&facts(&usb, Some(&vfat), None))).contains("4 GiB"));
        let card = device(Bus::Card);
        let why = "it is not attached by a bus that drives for photos come by (No)";
        assert_eq!(left(decide(&facts(&card, Some(&ext4), Some(Some(&own))))), why, "not even with a marker");
        let other = Filesystem { uuid: "cd".repeat(16), ..ext4.clone() };
        assert_eq!(
            left(decide(&facts(&usb, Some(&other), Some(Some(&own))))),
            "its marker was copied from another drive (No)"
        );
    }

    #[test]
    fn what_the_system_uses_and_what_is_mounted_stays_as_it_is() {
        let (usb, ext4, own) = (device(Bus::Usb), filesystem("ext4"), mark(Role::Primary));
        let all = facts(&usb, Some(&ext4), Some(Some(&own)));
        let beside = [(PathBuf::from("/boot/firmware"), false)];
        let decision = decide(&Facts { in_use: &beside, ..all }, &places(), &[]);
        assert_eq!(left(decision), "the system uses another part of this disk at /boot/firmware (No)");
        // Two drives of ours on one disk are no reason to leave either.
        let beside = [(PathBuf::from("/b"), false)];
        let all = facts(&usb, Some(&ext4), Some(Some(&own)));
        assert_eq!(
            decide(&Facts { in_use: &beside, ..all }, &places(), &[]),
            Decision::Mount { at: "/a".into() }
        );
        let itself = [(PathBuf::from("/mnt"), true)];
        let all = facts(&usb, Some(&ext4), None);
        assert_eq!(
            decide(&Facts { in_use: &itself, ..all }, &places(), &[]),
            Decision::Mounted { at: "/mnt".into() }
        );
        let all = facts(&usb, Some(&ext4), None);
        let fstab = Facts { fstab: Some(Path::new("/b")), ..all };
        assert_eq!(decide(&fstab, &places(), &[]), Decision::AsFstabSays { at: "/b".into() });
        let all = facts(&usb, Some(&ext4), None);
        let fstab = Facts { fstab: Some(Path::new("/mnt/usb")), ..all };
        assert!(left(decide(&fstab, &places(), &[])).contains("not the box's: /mnt/usb (No)"));
        let (btrfs, own) = (filesystem("btrfs"), mark(Role::Mirror));
        let all = facts(&usb, Some(&btrfs), Some(Some(&own)));
        assert!(left(decide(&Facts { twin: true, ..all }, &places(), &[])).contains("btrfs"));
    }
}
