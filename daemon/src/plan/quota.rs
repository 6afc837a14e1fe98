//! A person's quota: how much of it is used, and whether more fits.

/// What is known of a person's use. Never less than what is really used, but for what other hands put on the drive since it was
/// counted; often a little more: what was sent twice is counted once only when it is counted anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// Bytes of different contents under the person's names, when it was last counted.
    pub counted: u64,
    /// Bytes acknowledged since.
    pub since: u64,
    /// Bytes promised to uploads that are under way.
    pub promised: u64,
}

impl Use {
    /// All of it.
    pub const fn all(&self) -> u64 {
        self.counted.saturating_add(self.since).saturating_add(self.promised)
    }

    /// What of `quota` is left.
    pub const fn left(&self, quota: u64) -> u64 {
        quota.saturating_sub(self.all())
    }

    /// Whether `more` bytes fit.
    pub const fn fits(&self, quota: u64, more: u64) -> bool {
        more == 0 || more <= self.left(quota)
    }
}

/// From here on, a quota is worth a word.
pub const NEARLY: u8 = 90;

/// How much of a quota is used, in percent, not above 255. A quota of nothing is always used up.
pub fn percent(used: u64, quota: u64) -> u8 {
    let percent = (u128::from(used) * 100).checked_div(u128::from(quota)).unwrap_or(100);
    u8::try_from(percent).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_used() {
        let used = Use { counted: 50, since: 20, promised: 10 };
        assert_eq!((used.all(), used.left(100), used.left(70)), (80, 20, 0));
        assert!(used.fits(100, 20) && !used.fits(100, 21) && used.fits(70, 0) && !used.fits(70, 1));
        assert!(!Use { counted: u64::MAX, since: 1, promised: 1 }.fits(u64::MAX, 1));
    }

    #[test]
    fn percents() {
        for (used, quota, said) in [(0, 100, 0), (89, 100, 89), (180, 200, 90), (0, 0, 100), (1000, 1, 255)] {
            assert_eq!(percent(used, quota), said);
        }
    }
}
