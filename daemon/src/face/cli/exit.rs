//! Exit codes: all of them, and which error gets which.
use std::io::ErrorKind;
use std::process::ExitCode;

use crate::face::control::{CallError, Fault, FaultKind};
use crate::settings::SettingsError;

/// The end of `shoebox --help`.
pub(super) const HELP: &str = "\
Exit codes:
   0  fine
   1  something was found that needs a person: status is not green, verify found a bad copy, a photo could not be restored or sent, a drive was declined
   2  the command line cannot be meant like this, or asks for a name that is taken
   3  the daemon cannot be reached
   4  there is no such person, device, drive or photo
   5  not available now: a drive is away, full or failing; try again later
  64  the settings file is invalid
  70  anything else: a defect, or this machine";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// Something was found that needs a person.
    NeedsPerson,
    /// The command line cannot be meant like this.
    Usage,
    /// The daemon cannot be reached.
    Unreachable,
    /// No such thing.
    NotFound,
    /// Not available now.
    Unavailable,
    /// The settings are invalid.
    Settings,
    /// Anything else.
    Internal,
    /// The daemon's own code, passed on.
    Daemon(u8),
}

impl Exit {
    /// The number the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::NeedsPerson => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotFound => 4,
            Self::Unavailable => 5,
            Self::Settings => 64,
            Self::Internal => 70,
            Self::Daemon(code) => code,
        }
    }

    /// What an error means to the shell.
    pub fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if let Some(fault) = cause.downcast_ref::<Fault>() {
                return Self::of_fault(fault.kind);
            }
            if let Some(call) = cause.downcast_ref::<CallError>() {
                return match call {
                    CallError::Unreachable { .. } | CallError::Forbidden { .. } => Self::Unreachable,
                    CallError::Fault(fault) => Self::of_fault(fault.kind),
                };
            }
            if cause.is::<SettingsError>() {
                return Self::Settings;
            }
            // `shoebox find | head` is no failure.
            if cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) {
                return Self::Fine;
            }
        }
        Self::Internal
    }

    const fn of_fault(kind: FaultKind) -> Self {
        match kind {
            FaultKind::BadRequest => Self::Usage,
            FaultKind::NotFound => Self::NotFound,
            FaultKind::Unavailable => Self::Unavailable,
            FaultKind::Declined => Self::NeedsPerson,
            FaultKind::Internal => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The remedy of an error as a further line, or nothing.
pub(super) fn remedy(error: &anyhow::Error) -> String {
    let fault = error.chain().find_map(|cause| match cause.downcast_ref::<CallError>() {
        Some(CallError::Fault(fault)) => Some(fault),
        Some(CallError::Unreachable { .. } | CallError::Forbidden { .. }) | None => cause.downcast_ref(),
    });
    fault.filter(|fault| !fault.remedy.is_empty()).map_or_else(String::new, |f| format!("\n{}", f.remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_code() {
        let fault = |kind| anyhow::Error::from(CallError::from(Fault::new(kind, "x", "y")));
        for (error, code) in [
            (fault(FaultKind::BadRequest), 2),
            (fault(FaultKind::NotFound), 4),
            (fault(FaultKind::Unavailable), 5),
            (fault(FaultKind::Declined), 1),
            (fault(FaultKind::Internal), 70),
            (fault(FaultKind::NotFound).context("while looking"), 4),
            (Fault::new(FaultKind::NotFound, "x", "").into(), 4),
            (CallError::Unreachable { socket: "/x".into(), why: String::new() }.into(), 3),
            (CallError::Forbidden { socket: "/x".into() }.into(), 3),
            (SettingsError::Invalid { path: "/x".into(), problems: Vec::new() }.into(), 64),
            (std::io::Error::from(ErrorKind::BrokenPipe).into(), 0),
            (std::io::Error::from(ErrorKind::NotFound).into(), 70),
            (anyhow::anyhow!("x"), 70),
        ] {
            assert_eq!(Exit::of(&error).code(), code, "{error:?}");
        }
    }

    #[test]
    fn the_help_lists_every_code() {
        for exit in [
            Exit::Fine,
            Exit::NeedsPerson,
            Exit::Usage,
            Exit::Unreachable,
            Exit::NotFound,
            Exit::Unavailable,
            Exit::Settings,
            Exit::Internal,
        ] {
            assert!(HELP.contains(&format!("\n  {:>2}  ", exit.code())), "{exit:?}");
        }
    }

    #[test]
    fn the_readme_says_the_same() {
        let readme = include_str!("../../../../README.md");
        let rows = HELP.lines().skip(1).map(|line| line.trim().split_once("  ").unwrap());
        for (code, meaning) in rows {
            assert!(readme.contains(&format!("| {code} | {meaning} |\n")), "{code}");
        }
    }

    #[test]
    fn a_remedy_is_a_line_of_its_own() {
        let error = CallError::from(Fault::new(FaultKind::Unavailable, "x", "plug it in"));
        assert_eq!(remedy(&error.into()), "\nplug it in");
        assert_eq!(remedy(&anyhow::anyhow!("x")), "");
    }
}
