//! Pages for people who have a browser and no app: the upload page, what it is made of, and who is signed in on it.
//!
//! The page itself is the same for everybody and holds nothing of anybody's; what is somebody's comes through routes that ask
//! who it is. Nothing on it comes from another server, and no script or style is written into it.
pub(super) mod assets;
pub(super) mod authority;
pub(super) mod front;
pub(super) mod proofs;
pub(super) mod session;
pub(super) mod setup;
