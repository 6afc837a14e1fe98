//! The store and the work over it, on real directories: what must hold whatever other hands, drives and clocks do.
mod braking;
mod committing;
mod cut_moves;
mod damaged_catalogues;
mod decorated;
mod disks;
mod furnished;
mod lists;
mod manifests;
mod mirroring;
mod other_hands;
mod queue;
mod reopening;
mod scrubbing;
mod snapshots;
mod tails;
mod truth;
