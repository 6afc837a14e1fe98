//! Process tests: the real binary, port 0, temporary directories as drives.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cli;
mod cuts;
mod kill;
mod store;
mod support;
