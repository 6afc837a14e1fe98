//! Clones: of several drives that all say they are the same one, which is used, and whether any is.
//!
//! A clone has every byte of the original, marker and UUID among them. What tells them apart is how far their records go.

/// How the record of one drive stands to that of another which says that it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// It goes on from where the other's ends.
    Beyond,
    /// They end with the same line.
    Same,
    /// The other's goes further.
    Behind,
    /// Each has something that the other has not.
    Apart,
}

/// What becomes of a drive that has clones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It is used.
    Use,
    /// Another one is used.
    Leave,
    /// None is used until a person has chosen.
    Ask,
}

/// What becomes of the drive at the place `own` of the settings' list, with each other's place and how its record stands to theirs.
pub fn choose(own: usize, others: &[(usize, Relation)]) -> Choice {
    let is = |what: Relation| others.iter().any(|(_, relation)| *relation == what);
    let earlier = others.iter().any(|(place, relation)| *relation == Relation::Same && *place < own);
    if is(Relation::Apart) {
        Choice::Ask
    } else if is(Relation::Behind) || earlier {
        Choice::Leave
    } else {
        Choice::Use
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_used_and_the_same_one_whoever_is_looked_at_first() {
        use Relation::{Apart, Behind, Beyond, Same};
        assert_eq!(choose(0, &[]), Choice::Use);
        for (of_first, of_second, expected) in [
            (Same, Same, [Choice::Use, Choice::Leave]),
            (Beyond, Behind, [Choice::Use, Choice::Leave]),
            (Behind, Beyond, [Choice::Leave, Choice::Use]),
            (Apart, Apart, [Choice::Ask, Choice::Ask]),
        ] {
            assert_eq!([choose(0, &[(1, of_first)]), choose(1, &[(0, of_second)])], expected);
        }
        // Two equal ones, and an older one.
        assert_eq!(choose(2, &[(0, Beyond), (1, Same)]), Choice::Leave);
        assert_eq!(choose(1, &[(0, Beyond), (2, Same)]), Choice::Use);
        assert_eq!(choose(0, &[(1, Behind), (2, Behind)]), Choice::Leave);
        assert_eq!(choose(0, &[(1, Behind), (2, Apart)]), Choice::Ask);
    }
}
