//! Luck that can be had again: a seeded generator, and bytes made from a number.
use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose moments and sizes.
#[derive(Clone)]
pub(crate) struct Luck(u64);

impl Luck {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Bytes that no other number makes.
pub(crate) fn bytes(number: u64, len: usize) -> Vec<u8> {
    let mut luck = Luck::new(number ^ 0x5eed_5eed);
    let mut all = Vec::with_capacity(len + 8);
    while all.len() < len {
        all.extend_from_slice(&luck.next().to_le_bytes());
    }
    all.truncate(len);
    all
}

/// The seed of a test: `SHOEBOX_SEED`, or a new one. Printed, so that a failure can be had again.
pub(crate) fn seed(test: &str) -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("SHOEBOX_SEED").ok().map_or_else(now, |text| text.parse().unwrap());
    println!("{test}: SHOEBOX_SEED={seed}");
    seed
}

/// How much of a test: the variable, or what plain `cargo test` does.
pub(crate) fn size(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().unwrap())
}
