//! A snapshot of the catalogue on a drive: a name that says which primary's it is, how far it reaches, and what its bytes are.
use std::fmt;
use std::str::FromStr;

use crate::model::drive::DriveId;
use crate::model::hash::ContentHash;

/// A snapshot, by its name: `2026-11-21.1f0a3b5c.4711.<BLAKE3>.db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The day it was made, `YYYY-MM-DD`: for people. Order comes from `seq` (invariant I24).
    pub day: String,
    /// The beginning of the primary's id.
    pub of: String,
    /// The last event of the primary's manifest that it contains.
    pub seq: u64,
    /// What its bytes hash to: whoever reads it can tell whether it is still what was checked.
    pub hash: ContentHash,
}

impl Snapshot {
    /// Whether it was made on this drive.
    pub fn is_of(&self, drive: DriveId) -> bool {
        self.of == drive.short()
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}.db", self.day, self.of, self.seq, self.hash)
    }
}

/// A name that is no snapshot's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a snapshot")]
pub struct NoSnapshot(String);

impl FromStr for Snapshot {
    type Err = NoSnapshot;
    fn from_str(name: &str) -> Result<Self, NoSnapshot> {
        let no = || NoSnapshot(name.to_owned());
        let parts: Vec<&str> = name.strip_suffix(".db").ok_or_else(no)?.split('.').collect();
        let [day, of, seq, hash] = parts.as_slice() else { return Err(no()) };
        let snapshot = Self {
            day: (*day).to_owned(),
            of: (*of).to_owned(),
            seq: seq.parse().map_err(|_| no())?,
            hash: hash.parse().map_err(|_| no())?,
        };
        let plain = |text: &str, more: char| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == more)
        };
        // One spelling each: what is read is what would be written.
        if plain(day, '-') && plain(of, '0') && snapshot.to_string() == name {
            Ok(snapshot)
        } else {
            Err(no())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_nothing_else_is_one() {
        let hash = ContentHash::of(b"x");
        let snapshot = Snapshot { day: "2026-11-21".into(), of: "1f0a3b5c".into(), seq: 4711, hash };
        let name = snapshot.to_string();
        assert_eq!(name.parse(), Ok(snapshot));
        let others = [
            String::new(),
            "catalogue.db".into(),
            name.replace("4711", "04711"),
            name.replace("4711", "-1"),
            name.replace(".db", ".db-wal"),
            name.replace("1f0a", "../a"),
            name.to_uppercase(),
            name.replace("2026-11-21.", ""),
        ];
        for other in others {
            assert!(other.parse::<Snapshot>().is_err(), "{other}");
        }
    }
}
