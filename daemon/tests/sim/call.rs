//! One call of a simulated drive, and the words in which it fails.
use std::io;

use shoebox::model::place::Place;
use shoebox::store::volume::VolumeError;

use crate::faults::{Failure, Op};
use crate::medium::Problem;

/// A call of the trait: what it is called and what it is about.
pub(crate) struct Call<'a> {
    pub(crate) op: Op,
    verb: &'static str,
    place: &'a Place,
}

impl Call<'_> {
    pub(crate) fn failed(&self, failure: Failure) -> VolumeError {
        let (op, place) = (self.verb, self.place.clone());
        match failure {
            Failure::Full => VolumeError::Full { op, place },
            Failure::Gone => VolumeError::Gone { op, place, why: "simulated".to_owned() },
            Failure::ReadOnly => VolumeError::ReadOnly { op, place },
            Failure::Io => VolumeError::Io { op, place, source: io::Error::from_raw_os_error(5) },
        }
    }

    pub(crate) fn refused(&self, problem: Problem) -> VolumeError {
        let (op, place) = (self.verb, self.place.clone());
        match problem {
            Problem::Full => VolumeError::Full { op, place },
            Problem::Exists => VolumeError::Exists { op, place },
            Problem::NotFound => VolumeError::NotFound { op, place },
            Problem::NotEmpty => VolumeError::NotEmpty { op, place },
            Problem::Unsupported => VolumeError::Unsupported { op, place },
            Problem::Other(kind) => VolumeError::Io { op, place, source: kind.into() },
        }
    }
}

/// Names a call.
pub(crate) const fn call<'a>(op: Op, verb: &'static str, place: &'a Place) -> Call<'a> {
    Call { op, verb, place }
}
