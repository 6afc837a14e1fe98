//! A copy: a name's content on one drive, with its state. Which state may follow which is decided here only.
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The state of a copy, in the words of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyState {
    /// It should be on this drive and is not yet.
    Wanted,
    /// Durable on the drive: data, name and directories flushed.
    Settled,
    /// Read back from the medium and equal.
    Verified,
    /// It was there and is not.
    Missing,
    /// It was read back and differs, or cannot be read.
    Damaged,
}

/// What was observed of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyEvent {
    /// The bytes were made durable on the drive.
    SettledOnDrive,
    /// Read back from the medium: equal.
    ReadBackEqual,
    /// Read back from the medium: different, or unreadable.
    ReadBackDifferent,
    /// Looked for and not found.
    NotThere,
    /// To be made again from a good copy.
    Requeued,
}

/// An observation that makes no sense in the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {state} copy cannot take {event:?}")]
pub struct Illegal {
    /// The state it was in.
    pub state: CopyState,
    /// What was said to have happened.
    pub event: CopyEvent,
}

impl CopyState {
    /// All states, for tests and tables.
    pub const ALL: [Self; 5] = [Self::Wanted, Self::Settled, Self::Verified, Self::Missing, Self::Damaged];

    /// The state after `event`:
    ///
    /// | from | SettledOnDrive | ReadBackEqual | ReadBackDifferent | NotThere | Requeued |
    /// |---|---|---|---|---|---|
    /// | wanted | settled | – | – | wanted | wanted |
    /// | settled | settled | verified | damaged | missing | wanted |
    /// | verified | – | verified | damaged | missing | wanted |
    /// | missing | settled | – | – | missing | wanted |
    /// | damaged | settled | – | damaged | missing | wanted |
    ///
    /// A damaged copy never becomes good by being read once more: it is made anew from good bytes, or gone.
    pub fn on(self, event: CopyEvent) -> Result<Self, Illegal> {
        use CopyEvent::{NotThere, ReadBackDifferent, ReadBackEqual, Requeued, SettledOnDrive};
        let illegal = Err(Illegal { state: self, event });
        match self {
            Self::Wanted => match event {
                SettledOnDrive => Ok(Self::Settled),
                NotThere | Requeued => Ok(Self::Wanted),
                ReadBackEqual | ReadBackDifferent => illegal,
            },
            Self::Settled => match event {
                SettledOnDrive => Ok(Self::Settled),
                ReadBackEqual => Ok(Self::Verified),
                ReadBackDifferent => Ok(Self::Damaged),
                NotThere => Ok(Self::Missing),
                Requeued => Ok(Self::Wanted),
            },
            Self::Verified => match event {
                SettledOnDrive => illegal,
                ReadBackEqual => Ok(Self::Verified),
                ReadBackDifferent => Ok(Self::Damaged),
                NotThere => Ok(Self::Missing),
                Requeued => Ok(Self::Wanted),
            },
            Self::Missing => match event {
                SettledOnDrive => Ok(Self::Settled),
                ReadBackEqual | ReadBackDifferent => illegal,
                NotThere => Ok(Self::Missing),
                Requeued => Ok(Self::Wanted),
            },
            Self::Damaged => match event {
                SettledOnDrive => Ok(Self::Settled),
                ReadBackEqual => illegal,
                ReadBackDifferent => Ok(Self::Damaged),
                NotThere => Ok(Self::Missing),
                Requeued => Ok(Self::Wanted),
            },
        }
    }

    /// The word stored in the catalogue and shown in receipts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Settled => "settled",
            Self::Verified => "verified",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for CopyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no copy state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of wanted, settled, verified, missing, damaged")]
pub struct UnknownState(String);

impl FromStr for CopyState {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// Which copies of a drive are due to be re-read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Never read back, and made before this.
    pub made_before: Timestamp,
    /// Last read back before this.
    pub read_before: Timestamp,
    /// Made, or last read back, after this, says a clock that was wrong (invariant I24).
    pub read_after: Timestamp,
}

/// Copies, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lot {
    /// How many.
    pub copies: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Lot {
    fn add_assign(&mut self, more: Self) {
        self.copies = self.copies.saturating_add(more.copies);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// What is due to be re-read on one drive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Never read back, or of the tail: before all others.
    pub first: Lot,
    /// The others by age, the oldest first: read back before the moment, and not before that of the lot ahead of it.
    pub again: Vec<(Timestamp, Lot)>,
}

#[cfg(test)]
mod tests {
    use super::CopyEvent::{NotThere, ReadBackDifferent, ReadBackEqual, Requeued, SettledOnDrive};
    use super::*;

    #[test]
    fn every_pair_is_as_the_table_says() {
        let events = [SettledOnDrive, ReadBackEqual, ReadBackDifferent, NotThere, Requeued];
        let mut table = String::new();
        for state in CopyState::ALL {
            table.push_str(state.as_str());
            for event in events {
                table.push_str(" | ");
                table.push_str(state.on(event).map_or("–", CopyState::as_str));
            }
            table.push('\n');
        }
        expect_test::expect![[r"
            wanted | settled | – | – | wanted | wanted
            settled | settled | verified | damaged | missing | wanted
            verified | – | verified | damaged | missing | wanted
            missing | settled | – | – | missing | wanted
            damaged | settled | – | damaged | missing | wanted
        "]]
        .assert_eq(&table);
    }

    #[test]
    fn words_round_trip() {
        for state in CopyState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("fine".parse::<CopyState>().is_err());
    }
}
