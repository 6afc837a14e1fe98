//! What can go wrong while photos are sent, and what is done about it: wait, stop, skip, begin again, or say.
use std::io;
use std::path::Path;
use std::time::Duration;

/// Why something was not done. Each variant is one thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No network, no box, or a box that says "later": wait, and try again.
    Wait {
        /// What happened.
        why: String,
        /// When the box wants to be asked again.
        after: Option<Duration>,
    },
    /// No room on the box, or the person's quota is used up: nothing more is sent in this run.
    Full(String),
    /// The box does not let this device in: nothing more can be done in this run.
    SignIn(String),
    /// Whoever answers does not prove to be the box: nothing is said to them, and the run ends.
    Impostor(String),
    /// The file is not there any more: skip it.
    Gone,
    /// The file may not be read: say so.
    Permission(String),
    /// The file was written to while it was read or sent: what was sent of it counts for nothing.
    Changed,
    /// Something else has the name on the box.
    Taken,
    /// There is nothing of the kind on the box.
    NotFound,
    /// The box refuses this file, or this machine cannot read it: say so.
    Failed(String),
    /// The run ends: no fault of this file's.
    Ended,
}

impl Trouble {
    /// Of the network, by the operation that failed.
    pub(super) fn network(what: &str, why: impl std::fmt::Display) -> Self {
        Self::Wait { why: format!("{what}: {why}"), after: None }
    }

    /// What failed while a file was read here.
    pub(super) fn reading(path: &Path, error: &io::Error) -> Self {
        let said = || format!("could not read {}: {error}", path.display());
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            Self::Gone
        } else if kind == io::ErrorKind::PermissionDenied {
            Self::Permission(said())
        } else if kind == io::ErrorKind::UnexpectedEof {
            // The file ended before its length: it was made shorter.
            Self::Changed
        } else {
            Self::Failed(said())
        }
    }

    /// What an answer of the box means that is no success.
    pub(super) fn answered(status: u16, words: &str, after: Option<Duration>) -> Self {
        let said = || {
            if words.is_empty() {
                format!("the box answers {status}")
            } else {
                format!("the box answers {status}: {words}")
            }
        };
        match status {
            401 => Self::SignIn("the box does not know this name and password".to_owned()),
            404 => Self::NotFound,
            412 => Self::Taken,
            // What came does not hash to what was announced: it was written to while it was sent.
            400 if words.contains("checksum") => Self::Changed,
            // Locks, drives that are away, a box that starts: all of it heals (docs/decisions/0022).
            408 | 423 | 429 | 502..=504 => Self::Wait { why: said(), after },
            507 => Self::Full(if words.is_empty() {
                "there is no room on the box".to_owned()
            } else {
                words.to_owned()
            }),
            _ => Self::Failed(said()),
        }
    }

    /// In one sentence, for people.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Wait { why, .. } | Self::Full(why) | Self::SignIn(why) | Self::Impostor(why) => why.clone(),
            Self::Permission(why) | Self::Failed(why) => why.clone(),
            Self::Gone => "it is not there any more".to_owned(),
            Self::Changed => "it is being written to; it is sent once it rests".to_owned(),
            Self::Taken => "its name is taken on the box again and again".to_owned(),
            Self::NotFound => "the box does not know what was begun".to_owned(),
            Self::Ended => "the run ended".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_errors() {
        let of = |kind| Trouble::reading(Path::new("a.jpg"), &io::Error::from(kind));
        assert_eq!(of(io::ErrorKind::NotFound), Trouble::Gone);
        assert_eq!(of(io::ErrorKind::UnexpectedEof), Trouble::Changed);
        assert!(
            matches!(of(io::ErrorKind::PermissionDenied), Trouble::Permission(why) if why.contains("a.jpg"))
        );
        assert!(matches!(of(io::ErrorKind::InvalidData), Trouble::Failed(_)));
        assert_eq!(
            Trouble::answered(400, "the bytes do not have the announced checksum", None),
            Trouble::Changed
        );
        for (status, kind) in [
            (400, "failed"),
            (401, "sign in"),
            (403, "failed"),
            (404, "not found"),
            (405, "failed"),
            (408, "wait"),
            (412, "taken"),
            (413, "failed"),
            (423, "wait"),
            (429, "wait"),
            (500, "failed"),
            (502, "wait"),
            (503, "wait"),
            (504, "wait"),
            (507, "full"),
        ] {
            let found = match Trouble::answered(status, "words", None) {
                Trouble::Wait { why, .. } => {
                    assert!(why.contains("words"));
                    "wait"
                }
                Trouble::Full(why) => {
                    assert_eq!(why, "words");
                    "full"
                }
                Trouble::SignIn(_) => "sign in",
                Trouble::Impostor(_) => "an impostor",
                Trouble::NotFound => "not found",
                Trouble::Taken => "taken",
                Trouble::Failed(_) => "failed",
                Trouble::Gone | Trouble::Permission(_) | Trouble::Changed | Trouble::Ended => "of a file",
            };
            assert_eq!(found, kind, "{status}");
        }
    }

    #[test]
    fn everything_is_said_in_a_sentence() {
        for trouble in [
            Trouble::network("connecting", "refused"),
            Trouble::Full("no room".into()),
            Trouble::Gone,
            Trouble::Changed,
            Trouble::Taken,
            Trouble::NotFound,
            Trouble::Ended,
            Trouble::answered(500, "", None),
        ] {
            assert!(trouble.sentence().len() > 5, "{trouble:?}");
        }
    }
}
