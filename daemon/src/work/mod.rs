//! Floor 3: doing. Ingest, tree, mirror, rescan, drives, health: blocking code on named threads, no async.

pub mod accounts;
mod census;
mod changes;
pub mod checksums;
mod commit;
mod directories;
pub mod drive;
pub mod error;
pub mod health;
pub mod ingest;
pub mod inquiry;
pub mod mirror;
pub mod news;
pub mod pool;
pub mod primary;
mod reading;
mod record;
pub mod rescan;
pub mod supervisor;
pub mod sweep;
pub mod tree;
mod unrecorded;
pub mod verify;
pub mod views;
pub mod watch;
pub mod watcher;
pub mod worker;
