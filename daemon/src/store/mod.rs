//! Floor 2: durable things. Drives as volumes, their manifests, the catalogue. Knows no HTTP and decides nothing.

pub(crate) mod aligned;
pub(crate) mod around;
pub mod cache;
pub mod catalogue;
pub mod contract;
pub mod disk;
pub mod folder;
mod gate;
pub mod identity;
mod journal;
mod listing;
pub mod manifest;
mod marker;
mod medium;
mod reader;
mod sealing;
mod staging;
pub(crate) mod syscall;
pub mod volume;
