//! Floor 0: the nouns and their laws. No I/O, no clock, no randomness; nothing of ours is imported here.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod account;
pub mod agent;
pub mod certificate;
pub mod copy;
pub mod drive;
pub mod event;
pub mod extension;
pub mod hash;
pub mod health;
pub mod lomorage;
pub mod media;
pub mod naming;
pub mod offer;
pub mod password;
pub mod path;
pub mod place;
pub mod plugged;
pub mod preview;
pub mod receipt;
pub mod snapshot;
pub mod upload;
pub mod uuid;
