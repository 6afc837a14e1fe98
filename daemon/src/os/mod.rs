//! Floor 2: Linux, one fact or act per file. Asks the kernel and the service manager, decides nothing.

pub mod addresses;
pub mod avahi;
pub mod clock;
pub mod confine;
pub mod errand;
pub mod inotify;
pub mod mounts;
pub mod nfs;
pub mod places;
pub mod plugged;
pub mod process;
pub mod requests;
pub mod systemd;
