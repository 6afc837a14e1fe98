//! `Refusal`: why an upload or a change to the tree did not happen, in terms a dialect can answer with.
use crate::model::hash::DeclaredHash;
use crate::plan::parts::Gap;
use crate::store::catalogue::CatalogueError;
use crate::store::volume::VolumeError;

/// Why a request was not carried out. `face/http/reply.rs` is the only place that turns it into a status code.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Drive A, or the catalogue on it, cannot be used now; it may heal (503, try again).
    #[error("not available now: {why}")]
    Unavailable {
        /// What was observed.
        why: String,
    },
    /// Not enough room (507).
    #[error("no room: {needed} bytes offered, {available} left for uploads")]
    Full {
        /// What was announced or already sent.
        needed: u64,
        /// What uploads may take.
        available: u64,
    },
    /// Not enough left of the person's quota (507).
    #[error("no room in this person's quota: {needed} bytes offered, {available} left")]
    OverQuota {
        /// What was announced or already sent.
        needed: u64,
        /// What is left of it.
        available: u64,
    },
    /// Nothing under that name.
    #[error("not found")]
    NotFound,
    /// The folder above the name does not exist.
    #[error("the folder above does not exist")]
    NoParent,
    /// The name, or one above it, is a file where a folder is needed.
    #[error("a file is in the way")]
    NotAFolder,
    /// The name is a folder where a file is needed.
    #[error("a folder is in the way")]
    IsAFolder,
    /// The name is taken and may not be replaced.
    #[error("already there")]
    Exists,
    /// The box has a folder of its own under this name.
    #[error("the box keeps this name for a folder of its own")]
    Reserved,
    /// What the client expected of the name no longer holds (412).
    #[error("changed meanwhile")]
    Changed,
    /// The target lies within the source, or is the source.
    #[error("source and target overlap")]
    Overlap,
    /// This device may not do that (403).
    #[error("this device may not do that")]
    Forbidden,
    /// Fewer or more bytes came than were announced.
    #[error("{received} bytes came where {announced} were announced")]
    WrongLength {
        /// Announced by the client.
        announced: u64,
        /// Received.
        received: u64,
    },
    /// The parts of an upload are not the whole.
    #[error("{0}")]
    NotWhole(Gap),
    /// More of something than one client may have at once.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// The bytes do not have the hash that was announced.
    #[error("the bytes do not have the announced checksum")]
    WrongHash(DeclaredHash),
    /// No drive has this file as it was received, as far as is on record (500): its bytes are not sent as if they were the photo.
    #[error("damaged on every drive")]
    Damaged,
    /// The attempt failed on the drive; a new attempt may succeed (503).
    #[error("the attempt failed: {0}")]
    Drive(#[source] VolumeError),
    /// The catalogue failed (503).
    #[error("the catalogue failed: {0}")]
    Catalogue(String),
}

impl From<CatalogueError> for Refusal {
    fn from(error: CatalogueError) -> Self {
        Self::Catalogue(error.to_string())
    }
}
