//! What happened, as the manifest records it: one line of JSON per event, chained and self-checksummed.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::account::{DeviceKind, Slug, TokenHash};
use crate::model::drive::{DriveId, DriveRole};
use crate::model::hash::ContentHash;
use crate::model::password::PasswordHash;
use crate::model::path::RelPath;

/// One event on one drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up by one on each drive, across files: order without trusting a clock (invariant I24).
    pub seq: u64,
    /// When, by the box's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// The kinds of event. Names and fields are the manifest's format: `docs/FORMAT.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A person was added.
    Person {
        /// Name.
        person: Slug,
        /// Since when, where this drive was told of it later than it happened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// What a person may use at most.
    Quota {
        /// Name.
        person: Slug,
        /// Bytes; absent: as much as there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    /// What a person signs in with on the login page.
    Password {
        /// Name.
        person: Slug,
        /// Its argon2id hash; absent: nothing, the person signs in nowhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<PasswordHash>,
    },
    /// A device was added.
    Device {
        /// Its person.
        person: Slug,
        /// Its name.
        device: Slug,
        /// Its kind.
        kind: DeviceKind,
        /// Keyed hash of its token.
        token: TokenHash,
        /// Since when, where this drive was told of it later than it happened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// A device may no longer sign in.
    Revoked {
        /// Its person.
        person: Slug,
        /// Its name.
        device: Slug,
        /// Since when, where this drive was told of it later than it happened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// A folder was made.
    Folder {
        /// Where.
        path: RelPath,
    },
    /// Content is durable under a name. On a mirror: and was read back equal before it got the name.
    Stored {
        /// The name.
        path: RelPath,
        /// BLAKE3 of the content.
        hash: ContentHash,
        /// Bytes.
        size: u64,
        /// Modification time the client gave.
        mtime: Timestamp,
        /// When the client says that it made the file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ctime: Option<Timestamp>,
        /// `person/device`; empty for files found on the drive.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        by: String,
        /// When the box received it.
        received: Timestamp,
        /// The temporary name it was uploaded under, which is no name any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<RelPath>,
        /// SHA-1, hex, where it was computed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha1: Option<String>,
        /// SHA-256, hex, where it was computed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
    /// A name and what lies below it went to the trash of this drive.
    Trashed {
        /// The name it had.
        path: RelPath,
        /// Where it lies now, from the drive's root.
        to: String,
        /// `person/device`.
        by: String,
        /// `deleted`, `replaced`, `foreign`, …: `docs/FORMAT.md` has them all.
        why: String,
    },
    /// A name, with all below it, became another.
    Moved {
        /// Old name.
        path: RelPath,
        /// New name.
        to: RelPath,
        /// `person/device`.
        by: String,
    },
    /// The modification time of a name was set.
    Touched {
        /// The name.
        path: RelPath,
        /// The new time.
        mtime: Timestamp,
    },
    /// A copy was read back from this drive's medium and equalled its hash.
    Proved {
        /// The name.
        path: RelPath,
        /// The hash it equalled.
        hash: ContentHash,
    },
    /// A copy was read back and did not equal its hash, or could not be read.
    Damaged {
        /// The name.
        path: RelPath,
        /// The hash it should have.
        hash: ContentHash,
        /// What was found.
        found: String,
    },
    /// Another drive of the pool is used no more, and is not missed.
    Retired {
        /// Which.
        drive: DriveId,
        /// Since when, where this drive was told of it later than it happened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// This drive is about to become, or became, something else than it was. Lines before it speak in its old role.
    Role {
        /// What it was.
        was: DriveRole,
        /// What it is from now on.
        role: DriveRole,
        /// The generation its marker has with that.
        generation: u64,
    },
    /// A damaged copy made room for one made anew: a `stored` for the same path follows.
    Quarantined {
        /// The name it had.
        path: RelPath,
        /// Where it lies now, from the drive's root.
        to: String,
    },
    /// A person answered for what was changed or vanished all at once: nothing up to here holds the mirror back any more.
    Answered {
        /// What was answered.
        answer: Answer,
    },
}

/// What a person says about a mass of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Meant so: deletions and replacements go on to the other drives.
    ItWasMe,
    /// Not meant so: everything was put back as it was before.
    PutItBack,
}

/// A line's own checksum: the first 16 bytes of the BLAKE3 of everything before it in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSum([u8; 16]);

/// A manifest line that proved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it records.
    pub event: Event,
    /// The checksum of the line before it on this drive; a break means that lines were lost or changed.
    pub after: LineSum,
    /// Its own checksum.
    pub sum: LineSum,
}

/// Why a manifest line is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// No checksum, or no closing brace: a torn write, or another hand's.
    #[error("line without a checksum")]
    NoChecksum,
    /// The checksum does not fit the line.
    #[error("line whose checksum does not fit")]
    Checksum,
    /// The checksum fits and the content is not an event this version knows.
    #[error("unknown event: {0}")]
    Content(String),
}

const SUM_FIELD: &str = ",\"sum\":\"";

#[derive(Serialize)]
struct Written<'e> {
    #[serde(flatten)]
    event: &'e Event,
    after: String,
}

#[derive(Deserialize)]
struct Read {
    after: String,
    #[serde(flatten)]
    event: Event,
}

impl LineSum {
    /// What a drive's first line comes after.
    pub const START: Self = Self([0; 16]);

    /// 32 hex digits.
    pub fn text(self) -> String {
        crate::model::hash::hex(&self.0)
    }

    /// A checksum read back from the catalogue or a line.
    pub fn parse(text: &str) -> Option<Self> {
        crate::model::hash::unhex(text).map(Self)
    }

    fn of(body: &[u8]) -> Self {
        let mut value = [0; 16];
        value.copy_from_slice(&blake3::hash(body).as_bytes()[..16]);
        Self(value)
    }
}

impl Line {
    /// Writes `event`, which comes after the line with checksum `after`, as a line ending in a newline.
    pub fn write(event: &Event, after: LineSum) -> (String, LineSum) {
        // An Event holds strings, numbers and times only: nothing that JSON cannot spell.
        let mut line = serde_json::to_string(&Written { event, after: after.text() }).unwrap_or_default();
        line.pop();
        let sum = LineSum::of(line.as_bytes());
        line.push_str(SUM_FIELD);
        line.push_str(&sum.text());
        line.push_str("\"}\n");
        (line, sum)
    }

    /// Reads a line without its newline.
    pub fn read(line: &str) -> Result<Self, BadLine> {
        let (body, tail) = line.rsplit_once(SUM_FIELD).ok_or(BadLine::NoChecksum)?;
        let sum = tail.strip_suffix("\"}").and_then(LineSum::parse).ok_or(BadLine::NoChecksum)?;
        if LineSum::of(body.as_bytes()) != sum {
            return Err(BadLine::Checksum);
        }
        let content = |e: String| BadLine::Content(e);
        let read: Read = serde_json::from_str(&format!("{body}}}")).map_err(|e| content(e.to_string()))?;
        let after = LineSum::parse(&read.after).ok_or_else(|| content("bad 'after'".to_owned()))?;
        Ok(Self { event: read.event, after, sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(seq: u64) -> Event {
        Event {
            seq,
            at: Timestamp::UNIX_EPOCH,
            what: What::Stored {
                path: RelPath::parse("anna/phone/,\"sum\":\".jpg").unwrap(),
                hash: ContentHash::of(b"x"),
                size: 1,
                mtime: Timestamp::UNIX_EPOCH,
                ctime: None,
                by: "anna/phone".to_owned(),
                received: Timestamp::UNIX_EPOCH,
                was: None,
                sha1: None,
                sha256: Some("00".to_owned()),
            },
        }
    }

    #[test]
    fn lines_prove_themselves_and_name_their_predecessor() {
        let (first, sum) = Line::write(&event(1), LineSum::START);
        let (second, _) = Line::write(&event(2), sum);
        assert_eq!(
            Line::read(first.trim_end()).unwrap(),
            Line { event: event(1), after: LineSum::START, sum }
        );
        assert_eq!(Line::read(second.trim_end()).unwrap().after, sum);
        assert_eq!(Line::read(&first[..first.len() - 2]), Err(BadLine::NoChecksum));
    }

    #[test]
    fn the_format_is_what_it_was() {
        let at = "2026-11-21T18:02:12Z".parse().unwrap();
        let what = What::Folder { path: RelPath::parse("anna/phone").unwrap() };
        let (line, _) = Line::write(&Event { seq: 7, at, what }, LineSum::START);
        expect_test::expect![[r#"
            {"seq":7,"at":"2026-11-21T18:02:12Z","event":"folder","path":"anna/phone","after":"00000000000000000000000000000000","sum":"b5491097983e1b365a7576560874a84a"}
        "#]]
        .assert_eq(&line);
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(at in 0usize..400, with in 1u8..255) {
            let (line, _) = Line::write(&event(1), LineSum::START);
            let mut bytes = line.trim_end().as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] ^= with;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(Line::read(&text).is_err());
            }
        }

        #[test]
        fn any_text_is_line_or_error(text in "\\PC{0,300}") {
            prop_assert!(Line::read(&text).is_err());
        }
    }
}
