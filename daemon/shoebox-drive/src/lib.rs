//! The privileged part of a Shoebox: what root does for the daemon, which has no privileges. `main.rs` is the command.
//!
//! It takes the kernel's name of a device and nothing else: no path, no option, no pattern. Every program it runs is run by its full
//! path, without a shell. It writes to no drive that bears no marker of a Shoebox, unless a person said so of that very drive.
pub mod asking;
pub mod attaching;
pub mod cache;
pub mod checking;
pub mod device;
pub mod ejecting;
pub mod exporting;
pub mod exports;
pub mod failure;
pub mod filesystem;
pub mod formatting;
pub mod mark;
pub mod mounted;
pub mod mounting;
pub mod name;
mod nfsd;
pub mod placing;
pub mod power;
pub mod preparing;
pub mod program;
pub mod report;
pub mod settings;
