//! What travels over the control socket: requests, replies, faults. JSON, one object per line.
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::devices::DeviceRequest;
use crate::model::account::{App, DeviceKind, Slug};
use crate::model::drive::{DriveId, DriveRole};
use crate::model::health::{Finding, Light};
use crate::model::password::Password;
use crate::model::path::RelPath;
use crate::model::plugged::Plugged;
use crate::work::error::Refusal;
use crate::work::views::{Cursor, DriveView, FindQuery, FoundName, Progress};

/// A request is refused beyond this size; the longest honest one carries one path.
pub(super) const MAX_REQUEST: usize = 64 * 1024;

/// What the command line may ask of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How everything stands: a [`StatusReport`].
    Status {},
    /// All people: `Vec<PersonView>`.
    PersonList {},
    /// A new person: nothing.
    PersonAdd {
        /// The name.
        name: Slug,
        /// What they may use at most, bytes.
        #[serde(default)]
        quota: Option<u64>,
        /// What they sign in with on the login page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<Password>,
    },
    /// What a person signs in with on the login page: nothing.
    PersonPassword {
        /// The name.
        name: Slug,
        /// The password; none: they sign in there no more.
        password: Option<Password>,
    },
    /// What a person may use at most: nothing.
    PersonQuota {
        /// The name.
        name: Slug,
        /// Bytes; none: as much as there is.
        quota: Option<u64>,
    },
    /// All devices: `Vec<DeviceView>`.
    DeviceList {},
    /// A new device: [`Added`].
    DeviceAdd {
        /// Whose.
        person: Slug,
        /// Its name.
        name: Slug,
        /// What it may do.
        kind: DeviceKind,
        /// Which app it signs in with, where that sends passwords in a form of its own.
        #[serde(default)]
        app: App,
    },
    /// A password with which a device that is not there yet fetches its own, once: [`Added`].
    DeviceOneTime {
        /// Whose.
        person: Slug,
        /// Its name.
        name: Slug,
        /// What it may do.
        kind: DeviceKind,
    },
    /// A device that may no longer sign in: nothing.
    DeviceRevoke {
        /// Whose.
        person: Slug,
        /// Its name.
        name: Slug,
    },
    /// All drives: `Vec<DriveView>`.
    DriveList {},
    /// Make the drive at a mount point one of ours: a `DriveView`.
    DriveAdopt {
        /// The mount point.
        mount: PathBuf,
        /// What it is to be.
        role: DriveRole,
    },
    /// Let go of a drive: an `Ejection`.
    DriveEject {
        /// Which.
        drive: DriveId,
    },
    /// About a device, to be passed on to the command that root runs.
    Device {
        /// What.
        request: DeviceRequest,
    },
    /// Make a drive the primary, in the place of one that is dead: a `Promotion`.
    DrivePromote {
        /// Which.
        drive: DriveId,
        /// Although something may be missing on it.
        #[serde(default)]
        agreed: bool,
    },
    /// Put a new drive in another one's place: a `Replacement`.
    DriveReplace {
        /// Which: its role, or the beginning of its id. It need not be there.
        old: String,
        /// Where the new one is mounted.
        with: PathBuf,
        /// Although something may be missing on the copy that takes a dead primary's place.
        #[serde(default)]
        agreed: bool,
    },
    /// Names that fit: a [`FoundPage`].
    Find {
        /// What they must fit.
        query: FindQuery,
        /// Start after this row.
        after: Option<i64>,
        /// At most so many.
        limit: usize,
    },
    /// The record of one asset: a `Receipt`.
    Receipt {
        /// A hash, or a path below `photos/`.
        key: String,
    },
    /// Re-read copies from the medium now: a `VerifyReport`.
    Verify {
        /// Only on this drive.
        drive: Option<DriveId>,
        /// Only below this folder.
        below: Option<RelPath>,
        /// Only what was not read back since.
        #[serde(default)]
        read_before: Option<Timestamp>,
    },
    /// What phones need to trust the box: a `CertificateView`.
    CaShow {},
    /// Compare the drives with the catalogue now: a `RescanReport`.
    Rescan {},
    /// What was changed or vanished, and waits for an answer: a `ChangesPage`.
    Changes {
        /// Start after this.
        after: Option<Cursor>,
        /// At most so many.
        limit: usize,
    },
    /// Put what was changed or vanished back as it was: an `Answered`.
    PutItBack {
        /// Only these names and folders; none: all.
        below: Vec<RelPath>,
    },
    /// Let what was changed or vanished through: an `Answered`.
    ItWasMe {
        /// Only these names and folders; none: all.
        below: Vec<RelPath>,
        /// The number of the question as it was shown; needed for all.
        #[serde(default)]
        seen: Option<String>,
    },
}

impl Request {
    /// How long the command line waits for each line of the answer; `None`: as long as it takes.
    pub(super) const fn patience(&self) -> Option<Duration> {
        match self {
            Self::Status {}
            | Self::CaShow {}
            | Self::PersonList {}
            | Self::DeviceList {}
            | Self::DriveList {}
            | Self::Find { .. }
            | Self::Changes { .. }
            // Longer than the daemon takes to find out that a drive hangs, and to say so.
            | Self::Receipt { .. } => Some(Duration::from_secs(60)),
            // These flush to drives, and a drive may have to spin up first.
            Self::PersonAdd { .. }
            | Self::PersonQuota { .. }
            | Self::PersonPassword { .. }
            | Self::DeviceAdd { .. }
            | Self::DeviceOneTime { .. }
            | Self::DeviceRevoke { .. }
            | Self::DriveAdopt { .. }
            | Self::DriveEject { .. } => Some(Duration::from_secs(150)),
            Self::Device { request } => request.patience(),
            // The catalogue is built anew from the drive's record.
            Self::DrivePromote { .. }
            | Self::DriveReplace { .. }
            | Self::Verify { .. }
            | Self::Rescan {}
            | Self::PutItBack { .. }
            | Self::ItWasMe { .. } => None,
        }
    }
}

/// One line from the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply {
    /// How far it is.
    Progress(Progress),
    /// The answer; the last line.
    Done(serde_json::Value),
    /// Why there is none; the last line.
    Error(Fault),
}

/// A new device's password: the only time it leaves the daemon.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Added {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Added(…)")
    }
}

/// A part of the names that fit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FoundPage {
    /// In the order of their rows.
    pub names: Vec<FoundName>,
    /// Where the next part starts; `None`: there is none.
    pub next: Option<i64>,
}

/// How everything stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReport {
    /// The daemon's version.
    pub version: String,
    /// The worst light of all findings.
    pub light: Light,
    /// What is not as it should be, worst first.
    pub findings: Vec<Finding>,
    /// Every drive, with what it still lacks.
    pub drives: Vec<DriveView>,
    /// Devices that are plugged in, where somebody tells of them.
    #[serde(default)]
    pub plugged: Vec<Plugged>,
    /// How much there is; `None` while the catalogue is not available.
    pub counts: Option<Counts>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// People.
    pub people: usize,
    /// Devices that may sign in.
    pub devices: usize,
    /// Files, over all people.
    pub files: u64,
    /// Bytes, over all people.
    pub bytes: u64,
}

/// Why the daemon did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of reason: decides the exit code.
    pub kind: FaultKind,
    /// What happened, for people.
    pub message: String,
    /// What to do about it; may be empty.
    #[serde(default)]
    pub remedy: String,
}

/// Kinds of reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The request makes no sense to this daemon, or asks for a name that is taken.
    BadRequest,
    /// No such thing.
    NotFound,
    /// Not now: a drive is away, full or failing.
    Unavailable,
    /// Looked at and declined: a person must decide.
    Declined,
    /// A defect in the daemon.
    Internal,
}

impl Fault {
    /// A fault with a remedy.
    pub fn new(kind: FaultKind, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: remedy.into() }
    }

    /// The fault for a refusal about `what` (a person, a device, a photo).
    pub fn refused(refusal: &Refusal, what: &str) -> Self {
        let look = "see `shoebox status` and `shoebox drive list`";
        match refusal {
            Refusal::Unavailable { why } => {
                Self::new(FaultKind::Unavailable, format!("not available now: {why}"), look)
            }
            Refusal::Full { .. } => Self::new(
                FaultKind::Unavailable,
                refusal.to_string(),
                "make room on the primary drive, or replace it with a larger one",
            ),
            Refusal::OverQuota { .. } => {
                Self::new(FaultKind::Unavailable, refusal.to_string(), "see `shoebox person quota --help`")
            }
            Refusal::NotFound | Refusal::NoParent => {
                Self::new(FaultKind::NotFound, format!("there is no {what}"), "")
            }
            Refusal::Exists => {
                Self::new(FaultKind::BadRequest, format!("{what} is there already"), "choose another name")
            }
            Refusal::Reserved => Self::new(
                FaultKind::BadRequest,
                format!("{what} cannot be added: {refusal} (favourites, or a month)"),
                "choose another name",
            ),
            Refusal::Drive(_) | Refusal::Catalogue(_) => {
                Self::new(FaultKind::Unavailable, refusal.to_string(), look)
            }
            Refusal::Damaged => Self::new(
                FaultKind::Unavailable,
                refusal.to_string(),
                "what can be read of it: `shoebox restore --salvage`",
            ),
            Refusal::NotAFolder
            | Refusal::IsAFolder
            | Refusal::Changed
            | Refusal::Overlap
            | Refusal::Forbidden
            | Refusal::WrongLength { .. }
            | Refusal::NotWhole(_)
            | Refusal::TooMany(_)
            | Refusal::WrongHash(_) => Self::new(FaultKind::BadRequest, refusal.to_string(), ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::copy::CopyState;
    use proptest::prelude::*;

    proptest! {
        /// One byte of an honest request spoilt, or any bytes: taken or refused, and what is taken is a request.
        #[test]
        fn no_line_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..120),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let honest = r#"{"command":"person-add","name":"anna"}"#;
            let mut spoilt = honest.as_bytes().to_vec();
            let at = at.index(spoilt.len());
            spoilt[at] = byte;
            for line in [bytes, spoilt] {
                if let Ok(request) = serde_json::from_slice::<Request>(&line) {
                    let again = serde_json::to_string(&request).unwrap();
                    prop_assert_eq!(serde_json::from_str::<Request>(&again).unwrap(), request);
                }
            }
        }
    }

    #[test]
    fn requests_are_what_they_were() {
        let requests = [
            Request::Status {},
            Request::DeviceAdd {
                person: "anna".parse().unwrap(),
                name: "phone".parse().unwrap(),
                kind: DeviceKind::Phone,
                app: App::Any,
            },
            Request::Find {
                query: FindQuery {
                    name_contains: Some("IMG".to_owned()),
                    received_from: Some(Timestamp::UNIX_EPOCH),
                    taken_to: Some(jiff::civil::date(2026, 11, 14)),
                    state: Some(CopyState::Damaged),
                    ..FindQuery::default()
                },
                after: None,
                limit: 5,
            },
        ];
        let lines: Vec<String> = requests.iter().map(|r| serde_json::to_string(r).unwrap()).collect();
        for (request, line) in requests.iter().zip(&lines) {
            assert_eq!(&serde_json::from_str::<Request>(line).unwrap(), request);
        }
        expect_test::expect![[r#"
            {"command":"status"}
            {"command":"device-add","person":"anna","name":"phone","kind":"phone","app":"any"}
            {"command":"find","query":{"person":null,"device":null,"name_contains":"IMG","received_from":"1970-01-01T00:00:00Z","received_to":null,"taken_from":null,"taken_to":"2026-11-14","suspect":false,"state":"damaged"},"after":null,"limit":5}
        "#]].assert_eq(&(lines.join("\n") + "\n"));
    }

    #[test]
    fn what_is_not_a_request_is_refused() {
        for bad in [
            "",
            "{}",
            r#"{"command":"format"}"#,
            r#"{"command":"status","drive":"a"}"#,
            r#"{"command":"person-add"}"#,
            r#"{"command":"person-add","name":"../x"}"#,
            r#"{"command":"verify","below":"../etc"}"#,
        ] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
        // Absent options are `null`: what an older command line does not know, it does not send.
        assert!(serde_json::from_str::<Request>(r#"{"command":"verify"}"#).is_ok());
    }

    #[test]
    fn a_password_has_no_debug() {
        assert_eq!(format!("{:?}", Added { password: "x".to_owned() }), "Added(…)");
    }
}
