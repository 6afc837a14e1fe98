//! Floor 4: who talks to us. HTTP with one folder per dialect, the control socket, the command line. The only async code.

mod address;
mod apps;
pub mod cli;
pub mod control;
pub mod http;
