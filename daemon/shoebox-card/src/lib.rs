//! What makes a fresh card a family's own: `shoebox.toml` on the card's first partition, which any computer can edit. `main.rs` is the command.
//!
//! What is written there is checked value by value: one that is wrong is told in a file beside it, and does not keep the others from being
//! applied. It never writes to the card while there is nothing to say and no secret to take away.
pub mod apply;
pub mod folder;
pub mod keeping;
pub mod mistakes;
pub mod psk;
pub mod secret;
pub mod wifi;
pub mod wishes;
