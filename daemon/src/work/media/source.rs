//! A file as its parsers get it: so many bytes and so many looks, and then no more, whatever the file asks for.
use std::io::{self, Read, Seek, SeekFrom};

use crate::store::volume::{ReadAt, VolumeError};

/// Bytes that a parser may have of one file: more than the largest header seen, and little memory.
const BYTES: u64 = 8 << 20;
/// Times it may ask: a film of an hour in fragments has thousands of parts, and nobody needs all of them.
const LOOKS: u32 = 20_000;
/// Bytes that are read to find the end of a picture that does not end where its file does.
const SCAN: u64 = 64 << 20;

/// A file being looked at.
pub(super) struct Source<'r> {
    file: &'r mut dyn ReadAt,
    size: u64,
    at: u64,
    left: u64,
    looks: u32,
    failed: Option<VolumeError>,
}

impl<'r> Source<'r> {
    pub(super) fn new(file: &'r mut dyn ReadAt, size: u64) -> Self {
        Self { file, size, at: 0, left: BYTES, looks: LOOKS, failed: None }
    }

    /// Bytes of the file.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// What the drive answered, if that is why a parser got no more.
    pub(super) fn failed(self) -> Option<VolumeError> {
        self.failed
    }

    /// For another parser: from the beginning.
    pub(super) fn rewind(&mut self) -> &mut Self {
        self.at = 0;
        self
    }

    /// More bytes than a header has: for whoever reads a picture from end to end.
    pub(super) fn scanning(&mut self) -> &mut Self {
        self.left = self.left.saturating_add(SCAN);
        self
    }

    /// Exactly `len` bytes from `at` on.
    pub(super) fn piece(&mut self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let there = self.size.saturating_sub(at);
        if there < len as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        self.at = at;
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The same as an array.
    pub(super) fn array<const N: usize>(&mut self, at: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.at = at;
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// At most `most` bytes from the beginning on.
    pub(super) fn head(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.size).unwrap_or(most).min(most);
        self.piece(0, len)
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.at >= self.size {
            return Ok(0);
        }
        if self.left == 0 || self.looks == 0 {
            return Err(io::Error::other("more was asked for than a header has"));
        }
        let most = usize::try_from(self.left.min(self.size - self.at)).unwrap_or(usize::MAX).min(buf.len());
        match self.file.read_at(&mut buf[..most], self.at) {
            Ok(read) => {
                self.at += read as u64;
                self.left -= (read as u64).min(self.left);
                self.looks -= 1;
                Ok(read)
            }
            Err(e) => {
                let words = e.to_string();
                self.failed.get_or_insert(e);
                Err(io::Error::other(words))
            }
        }
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// Bytes in memory, read like a file.
pub(super) struct Bytes<'b>(pub(super) &'b [u8]);

impl ReadAt for Bytes<'_> {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, VolumeError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let rest = &self.0[from..];
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_more_than_a_header_has() {
        let bytes = vec![7; 64];
        let mut endless = Bytes(&bytes);
        // It says that it is larger than it is: reading ends where the bytes do.
        let mut source = Source::new(&mut endless, u64::MAX);
        assert_eq!(source.piece(60, 4).unwrap(), [7; 4]);
        assert!(source.piece(62, 4).is_err());
        let mut asked = 0;
        while source.rewind().read(&mut [0; 1]).is_ok() {
            asked += 1;
            assert!(asked <= LOOKS);
        }
        assert!(asked > LOOKS - 10);
        let large = vec![0; BYTES as usize + 10];
        let mut file = Bytes(&large);
        let mut source = Source::new(&mut file, large.len() as u64);
        assert!(source.read_to_end(&mut Vec::new()).is_err());
        assert!(source.scanning().rewind().read_to_end(&mut Vec::new()).is_ok());
    }

    #[test]
    fn a_seek_out_of_the_world_is_an_error_and_behind_the_end_is_the_end() {
        let mut file = Bytes(b"abc");
        let mut source = Source::new(&mut file, 3);
        assert!(source.seek(SeekFrom::Current(-1)).is_err());
        assert_eq!(source.seek(SeekFrom::End(-1)).unwrap(), 2);
        assert_eq!(source.seek(SeekFrom::Start(u64::MAX)).unwrap(), u64::MAX);
        assert!(source.seek(SeekFrom::Current(1)).is_err());
        assert_eq!(source.read(&mut [0; 4]).unwrap(), 0);
        assert!(source.piece(u64::MAX, 1).is_err());
    }
}
