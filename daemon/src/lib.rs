//! Shoebox: a family's photo box. Five floors, each importing only from those above it in this list:
//!
//! - [`model`]: the nouns and their laws
//! - [`plan`]: decisions, from values to values
//! - [`store`]: durable things: drives, manifest, catalogue
//! - [`os`]: Linux, one fact or act per file
//! - [`work`]: doing: ingest, mirror, rescan, health
//! - [`face`]: who talks to us: HTTP, the command line
//!
//! `app` composes them; `docs/ARCHITECTURE.md` has the map.

pub mod app;
pub mod face;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod logging;
pub mod model;
pub mod os;
pub mod plan;
pub mod settings;
pub mod store;
pub mod work;
