//! The control socket: how the command line talks to the running daemon.
//!
//! One request per connection. The client sends one line of JSON, `{"command": "...", ...}`; the daemon answers
//! with any number of `{"progress": {...}}` lines and then exactly one `{"done": ...}` or `{"error": {...}}`.
//! Who may connect is decided by the socket's mode (0660) and its directory; there is no other sign-in, and
//! nothing here is reachable from the network.

mod answer;
mod client;
mod devices;
mod serve;
mod socket;
mod wire;

pub use client::{CallError, Client};
pub use devices::DeviceRequest;
pub use serve::serve_control;
pub use socket::bind_control;
pub use wire::{Added, Counts, Fault, FaultKind, FoundPage, Request, StatusReport};

#[cfg(test)]
mod tests;
