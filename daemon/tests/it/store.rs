//! The store and the work over it, on real directories: what must hold whatever other hands, drives and clocks do.
mod furnished;
mod reopening;
