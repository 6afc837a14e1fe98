//! What process tests stand on: a box of the real binary, a client that may misbehave, luck with a seed, listings.
pub(crate) mod appliance;
pub(crate) mod clock;
pub(crate) mod conversation;
pub(crate) mod daemon;
pub(crate) mod disk;
pub(crate) mod gate;
pub(crate) mod listing;
pub(crate) mod luck;
pub(crate) mod mounted;
pub(crate) mod scene;
pub(crate) mod wire;
