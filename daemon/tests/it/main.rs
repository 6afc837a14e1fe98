//! Process tests: the real binary, port 0, temporary directories as drives.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

mod absent;
mod adopt;
mod card;
mod changes;
mod cli;
mod clocks;
mod cuts;
mod demo;
mod eject;
mod failing;
mod full;
mod hands;
mod hangs;
mod histories;
mod hostile_bytes;
mod hostile_names;
mod hostile_sites;
mod kill;
mod large;
mod lives;
mod login;
mod lying;
mod new_card;
mod offline;
mod people;
mod people_quotas;
mod power;
mod quota;
mod requests;
mod reserve;
mod restore;
mod restore_power;
mod rivals;
mod rot;
mod salvage;
mod scarce;
mod scrubbing;
mod sectors;
mod service;
mod store;
mod support;
mod swapped;
mod verify;
mod yank;
