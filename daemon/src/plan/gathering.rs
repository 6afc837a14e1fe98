//! Gathering: whether a commit waits for uploads that are not here yet, so that they share its flushes.
//!
//! Clients that send one file after the other come back a moment after they were answered. A commit that begins at once with
//! those that came while the one before was under way leaves the others for the next, and each pays for half of them only.
use std::time::Duration;

/// What the commits before say about the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gathering {
    /// Uploads that were under way when the last commit ended: those it answered, and those that waited.
    expected: usize,
    /// How long it took: what sharing the next one can save.
    took: Duration,
    /// Waits in a row that brought nobody.
    vain: u32,
    /// Commits that begin at once for that.
    passing: u32,
}

/// A commit that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How many uploads were there when it began to wait; `None`: it did not.
    pub waited_from: Option<usize>,
    /// Uploads it answered.
    pub answered: usize,
    /// Uploads that wait for the next one.
    pub waiting: usize,
    /// How long it took, without the wait.
    pub took: Duration,
}

/// Waits in a row that brought nobody, after which the pauses between them grow no longer.
const MOST_VAIN: u32 = 6;

impl Gathering {
    /// For how many uploads to wait, those that are `here` among them, and how long at most. `None`: to begin at once.
    pub fn wait(&self, here: usize) -> Option<(usize, Duration)> {
        let worth_it = here > 0 && here < self.expected && self.passing == 0;
        worth_it.then_some((self.expected, self.took))
    }

    /// A commit ended. One client alone is never waited for: it is the one that is answered.
    pub fn ended(&mut self, commit: Ended) {
        self.passing = self.passing.saturating_sub(1);
        match commit.waited_from {
            Some(here) if commit.answered > here => self.vain = 0,
            Some(_) => {
                self.vain = (self.vain + 1).min(MOST_VAIN);
                self.passing = 1 << self.vain;
            }
            None => {}
        }
        self.expected = commit.answered + commit.waiting;
        self.took = commit.took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOOK: Duration = Duration::from_millis(2);

    fn after(commits: &[(Option<usize>, usize, usize)]) -> Gathering {
        let mut gathering = Gathering::default();
        for &(waited_from, answered, waiting) in commits {
            gathering.ended(Ended { waited_from, answered, waiting, took: TOOK });
        }
        gathering
    }

    #[test]
    fn who_is_waited_for() {
        let (none, four) = (None, Some((4, TOOK)));
        for (commits, here, expected) in [
            (&[][..], 1, none),
            // One client alone, again and again.
            (&[(None, 1, 0)], 1, none),
            (&[(None, 1, 0), (None, 1, 0)], 1, none),
            // Two were answered while two came: the next waits for the first two.
            (&[(None, 2, 2)], 2, four),
            (&[(None, 2, 2)], 4, none),
            (&[(None, 2, 2), (Some(2), 4, 0)], 1, four),
            // Nothing waits for others.
            (&[(None, 2, 2)], 0, none),
            // They did not come in time: it is not tried again at once.
            (&[(None, 2, 2), (Some(2), 2, 2)], 2, none),
            (&[(None, 2, 2), (Some(2), 2, 2), (None, 2, 2)], 2, none),
            (&[(None, 2, 2), (Some(2), 2, 2), (None, 2, 2), (None, 2, 2)], 2, four),
            // All but one went away.
            (&[(None, 2, 2), (Some(1), 2, 0), (Some(1), 1, 0)], 1, none),
        ] {
            assert_eq!(after(commits).wait(here), expected, "{commits:?}, {here} here");
        }
    }

    proptest! {
        #[test]
        fn waits_in_vain_are_few(vain in 1u32..2000) {
            // Two clients that never come in time.
            let mut gathering = after(&[(None, 1, 1)]);
            let mut waits = 0;
            for _ in 0..vain {
                let waited_from = gathering.wait(1).map(|_| 1);
                waits += u32::from(waited_from.is_some());
                gathering.ended(Ended { waited_from, answered: 1, waiting: 1, took: TOOK });
            }
            prop_assert!(waits <= 6 + vain / 64);
        }

        #[test]
        fn never_for_fewer_than_are_here(expected in 0usize..99, here in 0usize..99) {
            if let Some((wanted, most)) = after(&[(None, expected, 0)]).wait(here) {
                prop_assert!(wanted > here && most == TOOK);
            }
        }
    }
}
