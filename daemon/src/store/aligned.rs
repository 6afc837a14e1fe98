//! Memory for reads and writes past the page cache: aligned to whole blocks, in one large page, and used again for the next file.
use std::sync::{Mutex, PoisonError};

use crate::store::syscall;

/// Bytes of one piece. A multiple of every logical block size in use, as O_DIRECT requires of length and offset.
pub(crate) const PIECE: usize = 1 << 20;
/// Alignment in memory: a page covers every device we know of.
pub(super) const BLOCK: usize = 4096;

/// What the kernel backs with one page if it is asked to and finds one (x86-64, and ARM with pages of 4 KiB). A device is then
/// given a piece as one stretch of memory instead of 256, in fewer commands: half the system time, and up to twice the
/// speed on a drive that waits for commands. Where there is none, only the piece's own small pages are ever touched.
const LARGE_PAGE: usize = 2 << 20;

/// A file up to this size, bytes, gets memory of its own size: the probe of a drive, which is all that a box at rest reads, would
/// otherwise keep a large page for its few bytes.
const SMALL: u64 = 64 << 10;

/// Fresh memory costs a page fault for each 4 KiB, which is more than hashing them. So many pieces are kept.
const KEPT: usize = 3;
static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// One piece, or less. What is in it at first is of no meaning.
pub(crate) struct Aligned {
    buffer: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(crate) fn new() -> Self {
        let kept = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let buffer = kept.unwrap_or_else(|| {
            let mut fresh = vec![0; 2 * LARGE_PAGE];
            let start = fresh.as_ptr().align_offset(LARGE_PAGE);
            syscall::prefer_large_pages(&mut fresh[start..start + LARGE_PAGE]);
            fresh
        });
        let start = buffer.as_ptr().align_offset(LARGE_PAGE);
        Self { buffer, start, len: PIECE }
    }

    /// For a file of so many bytes: whole blocks, all of it or one piece.
    pub(crate) fn for_file(size: u64) -> Self {
        match usize::try_from(size) {
            Ok(bytes) if size <= SMALL => {
                let len = bytes.max(1).next_multiple_of(BLOCK);
                let buffer = vec![0; len + BLOCK];
                let start = buffer.as_ptr().align_offset(BLOCK);
                Self { buffer, start, len }
            }
            Ok(_) | Err(_) => Self::new(),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.len]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        if self.len < PIECE {
            return;
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.buffer));
        }
    }
}

/// Gives back what is kept: there is nothing more to do for now.
pub(crate) fn let_go() {
    FREE.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Whether bytes can go to a drive as they lie, without being copied into a piece first.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.len().is_multiple_of(BLOCK) && bytes.as_ptr().align_offset(BLOCK) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_gets_whole_blocks_and_no_large_page() {
        for (size, len) in [(0, BLOCK), (64, BLOCK), (4096, BLOCK), (4097, 2 * BLOCK), (SMALL, 64 << 10)] {
            let mut small = Aligned::for_file(size);
            assert!(is_whole(small.bytes()) && small.bytes().len() == len, "{size}");
            small.bytes_mut()[len - 1] = 7;
            assert!(small.buffer.len() < LARGE_PAGE);
        }
        assert_eq!(Aligned::for_file(SMALL + 1).bytes().len(), PIECE);
        assert_eq!(Aligned::for_file(u64::MAX).bytes().len(), PIECE);
    }

    #[test]
    fn a_piece_is_aligned_and_used_again() {
        let mut first = Aligned::new();
        assert!(is_whole(first.bytes()) && first.bytes().len() == PIECE);
        assert!(!is_whole(&first.bytes()[1..]) && !is_whole(&first.bytes()[..PIECE - 1]));
        first.bytes_mut()[7] = 7;
        drop(first);
        let_go();
        assert_eq!(Aligned::new().bytes().len(), PIECE);
    }
}
