//! Seeded randomness for the simulation, and the loop over seeds: a failure prints one line that replays it.
use std::env;

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, the same sequence everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The sequence of `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0. The bias of the remainder does not matter here.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % n).unwrap_or(0)
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// How many of `len` things in order happened: none, all, or some, each often enough to be seen.
    pub(crate) fn prefix(&mut self, len: usize) -> usize {
        match self.below(4) {
            0 => 0,
            1 => len,
            _ => self.below(len + 1),
        }
    }

    /// One of `items`, of which there is at least one.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// `len` arbitrary bytes, none of them zero, so that lost blocks are never mistaken for content.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.next() % 255).unwrap_or(0) + 1).collect()
    }
}

/// Every seed that ever failed, `property seed` a line: run first, for ever.
const FAILED: &str = include_str!("seeds.txt");

/// Runs `property` for one seed after the other. `SHOEBOX_SEED=n` runs only that one, `SHOEBOX_SEEDS=n` so many.
pub(crate) fn for_seeds(name: &str, usual: u64, property: impl Fn(u64) -> Result<(), String>) {
    for seed in seeds(name, usual) {
        if let Err(why) = property(seed) {
            panic!("{name}, seed {seed}: {why}\nreplay: SHOEBOX_SEED={seed} cargo test --test sim {name}");
        }
    }
}

fn seeds(name: &str, usual: u64) -> Vec<u64> {
    let number = |key: &str| env::var(key).ok().map(|text| text.parse().expect("SHOEBOX_SEED(S): a number"));
    if let Some(only) = number("SHOEBOX_SEED") {
        return vec![only];
    }
    let failed = FAILED.lines().filter_map(|line| {
        let (property, seed) = line.split_once('#').map_or(line, |(line, _)| line).trim().split_once(' ')?;
        (property == name).then(|| seed.trim().parse().expect("seeds.txt: property seed"))
    });
    failed.chain(1..=number("SHOEBOX_SEEDS").unwrap_or(usual)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        // The first outputs of the reference implementation for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        assert_eq!([rng.next(), rng.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
        assert!(Rng::new(7).bytes(1000).iter().all(|&byte| byte != 0));
    }

    #[test]
    #[should_panic(expected = "replay: SHOEBOX_SEED=")]
    fn a_failing_seed_says_how_to_see_it_again() {
        for_seeds("a_failing_seed", 3, |seed| Err(format!("seed {seed} is bad")));
    }
}
