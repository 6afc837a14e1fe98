//! Process tests: the real binary, port 0, temporary directories as drives.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cli;
mod cuts;
mod full;
mod hostile;
mod kill;
mod people;
mod store;
mod support;
