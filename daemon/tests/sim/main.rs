//! The power-cut simulation: seeded histories against drives that keep only what was made durable.
#[cfg(test)]
mod answering;
#[cfg(test)]
mod behind;
mod call;
mod calls;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod faults;
mod file;
#[cfg(test)]
mod growing;
mod handles;
#[cfg(test)]
mod hands;
#[cfg(test)]
mod healing;
#[cfg(test)]
mod history;
#[cfg(test)]
mod life;
#[cfg(test)]
mod look;
#[cfg(test)]
mod medium;
#[cfg(test)]
mod model;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod own;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod promoting;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rng;
#[cfg(test)]
mod room;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod volume;
#[cfg(test)]
mod world;
