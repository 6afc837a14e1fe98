//! Salvaging a file of which no drive has a good copy: what is taken for each block, and what is left to try.

/// Bytes of a block: no drive of today loses less at once.
pub const BLOCK: usize = 4096;
/// More blocks in which drives differ are not tried through.
pub const DIFFERING: usize = 10;

/// What the drives gave for one block, in their order; `None`: it could not be read there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block<'b> {
    /// No drive has it.
    Lost,
    /// Every drive that has it has these bytes.
    Agreed(&'b [u8]),
    /// Drives have different bytes: one of them, or none, is right.
    Differing(Vec<&'b [u8]>),
}

/// Compares what the drives gave for one block of `len` bytes. A drive that gave fewer has not got it.
pub fn compare<'b>(given: &[Option<&'b [u8]>], len: usize) -> Block<'b> {
    let mut different: Vec<&[u8]> = Vec::new();
    for bytes in given.iter().flatten().filter(|bytes| bytes.len() == len) {
        if !different.contains(bytes) {
            different.push(bytes);
        }
    }
    match different[..] {
        [] => Block::Lost,
        [one] => Block::Agreed(one),
        [..] => Block::Differing(different),
    }
}

/// The next way to choose among the blocks in which drives differ; `variants` says how many there are for each. `false`: all
/// were tried.
pub fn next_choice(choice: &mut [usize], variants: &[usize]) -> bool {
    for (chosen, count) in choice.iter_mut().zip(variants) {
        *chosen += 1;
        if *chosen < *count {
            return true;
        }
        *chosen = 0;
    }
    false
}

/// Notes that the bytes from `at` on are lost, as one range with what was lost just before.
pub fn lose(lost: &mut Vec<(u64, u64)>, at: u64, len: u64) {
    match lost.last_mut() {
        Some((_, end)) if *end == at => *end += len,
        Some(_) | None => lost.push((at, at + len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_readable_block_counts_and_differences_show() {
        let (a, b): (&[u8], &[u8]) = (b"aaaa", b"bbbb");
        for (given, block) in [
            (vec![], Block::Lost),
            (vec![None, None], Block::Lost),
            (vec![None, Some(b)], Block::Agreed(b)),
            (vec![Some(&a[..2]), Some(b)], Block::Agreed(b)),
            (vec![Some(a), Some(a)], Block::Agreed(a)),
            (vec![Some(a), Some(b), Some(a)], Block::Differing(vec![a, b])),
        ] {
            assert_eq!(compare(&given, 4), block, "{given:?}");
        }
    }

    #[test]
    fn every_choice_comes_once() {
        let variants = [2, 3];
        let mut choice = [0, 0];
        let mut seen = vec![choice];
        while next_choice(&mut choice, &variants) {
            seen.push(choice);
        }
        assert_eq!(seen, [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2]]);
        assert!(!next_choice(&mut [], &[]));
    }

    #[test]
    fn neighbours_are_lost_together() {
        let mut lost = Vec::new();
        for (at, len) in [(0, 4096), (4096, 4096), (12288, 100)] {
            lose(&mut lost, at, len);
        }
        assert_eq!(lost, [(0, 8192), (12288, 12388)]);
    }
}
