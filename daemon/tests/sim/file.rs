//! A simulated file: its bytes in memory and on the medium, what of the difference a power cut leaves, and the seal that it may have.
use std::sync::Arc;

use jiff::Timestamp;

use crate::rng::Rng;

const BLOCK: usize = 4096;

/// A file's bytes, cached and on the medium.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// What readers through the page cache get.
    pub(crate) live: Arc<Vec<u8>>,
    /// What lies on the medium.
    pub(crate) durable: Arc<Vec<u8>>,
    /// So many bytes from the start have nothing to be written back.
    pub(crate) kept: usize,
    /// Modification time, cached.
    pub(crate) mtime: Timestamp,
    pub(crate) durable_mtime: Timestamp,
    /// Bytes set aside.
    pub(crate) reserved: u64,
    /// A flush failed: the kernel takes the pages for clean and never writes them again.
    pub(crate) flush_failed: bool,
    /// What memory holds of it may be what the medium made of it.
    pub(crate) forgotten: bool,
    /// The medium gives an error.
    pub(crate) unreadable: bool,
    /// On the drive, and to stay no later than any name.
    written_back: Option<(Arc<Vec<u8>>, Timestamp)>,
    /// Names it has in the cached tree.
    pub(crate) names: u32,
    /// What it had when it was sealed, and whether that is durable.
    pub(crate) sealed: Option<(Arc<Vec<u8>>, bool)>,
}

impl File {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            live: Arc::default(),
            durable: Arc::default(),
            kept: 0,
            mtime: now,
            durable_mtime: now,
            reserved: 0,
            flush_failed: false,
            forgotten: false,
            unreadable: false,
            written_back: None,
            names: 0,
            sealed: None,
        }
    }

    fn is_dirty(&self) -> bool {
        self.kept < self.live.len()
            || self.durable.len() != self.live.len()
            || self.mtime != self.durable_mtime
    }

    /// What a read past the page cache finds: old bytes, or zeros, where nothing was written back.
    pub(crate) fn on_medium(&self) -> Arc<Vec<u8>> {
        if let Some((bytes, _)) = &self.written_back {
            return Arc::clone(bytes);
        }
        if self.durable.len() == self.live.len() {
            return Arc::clone(&self.durable);
        }
        let mut bytes = Vec::clone(&self.durable);
        bytes.resize(self.live.len(), 0);
        Arc::new(bytes)
    }

    /// What a read past the page cache finds by the file's name: opening it so has dirty pages written back first
    /// (open(2), O_DIRECT). That is not durable: it is in the drive's own cache.
    pub(crate) fn written_back(&self) -> Arc<Vec<u8>> {
        if self.kept == 0 {
            return Arc::clone(&self.live);
        }
        let mut bytes = Vec::clone(&self.durable);
        bytes.truncate(self.kept);
        bytes.extend_from_slice(self.live.get(self.kept..).unwrap_or_default());
        Arc::new(bytes)
    }

    /// What is behind `len` goes. What was written back of it may still be on the medium after a power cut.
    pub(crate) fn cut_off(&mut self, len: usize) {
        Arc::make_mut(&mut self.live).truncate(len);
        self.kept = self.kept.min(len);
    }

    /// Writes back, to stay no later than any name it gets.
    pub(crate) fn write_back(&mut self) {
        self.written_back = Some((self.written_back(), self.mtime));
    }

    /// A name of it is durable.
    pub(crate) fn named(&mut self) {
        let Some((bytes, mtime)) = self.written_back.take() else { return };
        // What came since, as the next part of a file that grows, is still to be written back.
        let blocks = bytes.chunks(BLOCK).zip(self.live.chunks(BLOCK));
        let same = blocks.take_while(|(there, live)| there == live).map(|(there, _)| there.len()).sum();
        self.kept = if Arc::ptr_eq(&bytes, &self.live) { bytes.len() } else { self.kept.max(same) };
        (self.durable, self.durable_mtime) = (bytes, mtime);
    }

    /// Writes back, to stay.
    pub(crate) fn flush(&mut self) {
        self.durable = self.written_back();
        self.written_back = None;
        self.kept = self.live.len();
        self.durable_mtime = self.mtime;
        if let Some((_, durable)) = &mut self.sealed {
            *durable = true;
        }
    }

    /// Sealed as it is on the medium. `false`: it was before.
    pub(crate) fn seal(&mut self) -> bool {
        let new = self.sealed.is_none();
        if new {
            self.sealed = Some((self.written_back(), false));
        }
        new
    }

    /// Whether what a read finds is held back by the seal: it is not what was sealed.
    pub(crate) fn breaks_seal(&self, found: &Arc<Vec<u8>>) -> bool {
        self.sealed.as_ref().is_some_and(|(sealed, _)| sealed != found)
    }

    /// Fails to write back: the medium keeps what it had, the cache forgets that there was anything to write.
    pub(crate) fn fail_flush(&mut self) {
        self.durable = self.on_medium();
        self.written_back = None;
        self.kept = self.live.len();
        self.flush_failed = true;
    }

    /// The page cache is lost; of what was not written back, `rng` says what had made it by itself.
    pub(crate) fn cut(&mut self, rng: &mut Rng) {
        self.written_back = None;
        if self.is_dirty() {
            let kept = self.kept.min(self.durable.len());
            let tail = self.live.get(kept..).unwrap_or_default();
            let mut bytes = self.durable[..kept].to_vec();
            match rng.below(5) {
                0 => bytes = Vec::clone(&self.durable),
                1 => bytes.extend_from_slice(tail),
                2 => bytes.resize(self.live.len(), 0),
                3 => bytes.extend_from_slice(&tail[..rng.below(tail.len() + 1)]),
                _ => {
                    for block in tail.chunks(BLOCK) {
                        let there = rng.one_in(2);
                        bytes.extend(block.iter().map(|&byte| if there { byte } else { 0 }));
                    }
                }
            }
            self.durable = Arc::new(bytes);
            if rng.one_in(2) {
                self.durable_mtime = self.mtime;
            }
        }
        // A seal is in the journal behind what it seals.
        if let Some((sealed, false)) = &self.sealed
            && (*sealed != self.durable || rng.one_in(2))
        {
            self.sealed = None;
        }
        if let Some((_, durable)) = &mut self.sealed {
            *durable = true;
        }
        self.live = Arc::clone(&self.durable);
        self.kept = self.live.len();
        self.mtime = self.durable_mtime;
        self.reserved = 0;
        self.flush_failed = false;
    }
}
