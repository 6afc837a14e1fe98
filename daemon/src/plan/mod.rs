//! Floor 1: decisions. Values in, a value out; the time is an argument; nothing here does anything.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod albums;
pub mod announcing;
pub mod belonging;
pub mod braking;
pub mod certifying;
pub mod clones;
pub mod dating;
pub mod editing;
pub mod facts;
pub mod failing;
pub mod forecasting;
pub mod gathering;
pub mod mirroring;
pub mod naming;
pub mod pairing;
pub mod parts;
pub mod placing;
pub mod previewing;
pub mod quota;
pub mod restoring;
pub mod retrying;
pub mod rights;
pub mod safety;
pub mod salvaging;
pub mod scrubbing;
pub mod sharing;
pub mod shelving;
pub mod snapshots;
pub mod suspecting;
pub mod tail;
pub mod unplugging;
pub mod verdict;
