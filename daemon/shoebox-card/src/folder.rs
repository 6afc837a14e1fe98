//! The card's first partition: read as it is mounted, and written to only while there is something to write.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use shoebox_drive::failure::Failure;

/// What a family writes.
pub const WISHES: &str = "shoebox.toml";
/// What the box answers.
pub const ERRORS: &str = "shoebox-error.txt";
/// Longer ones are nobody's.
const MOST_BYTES: u64 = 64 * 1024;

/// The partition, as it is mounted.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// The wishes as bytes. `None`: the card has none.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn wishes(&self) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.0.join(WISHES);
        let file = match OpenOptions::new().read(true).custom_flags(libc_nofollow()).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Failure::io("open", &path, e)),
        };
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(|e| Failure::io("read", &path, e))?;
        Ok(Some(bytes))
    }

    /// Writes over what differs, where it lies. Both texts have one length.
    ///
    /// # Errors
    /// It could not be written: the old text is there, or the new one.
    pub fn overwrite(&self, old: &[u8], new: &[u8]) -> Result<(), Failure> {
        let differs = |(old, new): (&u8, &u8)| old != new;
        let (Some(first), Some(last)) =
            (old.iter().zip(new).position(differs), old.iter().zip(new).rposition(differs))
        else {
            return Ok(());
        };
        let path = self.0.join(WISHES);
        let piece = new.get(first..=last).unwrap_or_default();
        self.writable(|| {
            let file = OpenOptions::new().write(true).custom_flags(libc_nofollow()).open(&path)?;
            file.write_all_at(piece, first as u64)?;
            file.sync_all()
        })
    }

    /// Leaves the answer there, or takes an old one away. Nothing is written when it is as it should be.
    ///
    /// # Errors
    /// It could not be written.
    pub fn answer(&self, text: Option<&str>) -> Result<(), Failure> {
        let path = self.0.join(ERRORS);
        let found = fs::read_to_string(&path).ok();
        match text {
            _ if found.as_deref() == text => Ok(()),
            None => self.writable(|| fs::remove_file(&path)),
            Some(text) => self.writable(|| {
                let mut file = File::create(&path)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()
            }),
        }
    }

    /// Mounted for writing as long as it takes, and no longer: a card that is not written to does not wear out, and a power cut finds nothing
    /// half done on it.
    fn writable(&self, work: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
        let read_only = statvfs(&self.0).is_ok_and(|facts| facts.flags().contains(FsFlags::ST_RDONLY));
        if read_only {
            remount(&self.0, MsFlags::empty())?;
        }
        let done = work().map_err(|e| Failure::io("write to", &self.0, e));
        if read_only {
            remount(&self.0, MsFlags::MS_RDONLY)?;
        }
        done
    }
}

fn remount(folder: &Path, how: MsFlags) -> Result<(), Failure> {
    // What it was mounted with besides stays: only the umask is ours, and vfat keeps that.
    mount(None::<&str>, folder, None::<&str>, MsFlags::MS_REMOUNT | how, None::<&str>)
        .map_err(|e| Failure::io("mount again", folder, e))
}

const fn libc_nofollow() -> i32 {
    nix::fcntl::OFlag::O_NOFOLLOW.bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder(dir.path().to_owned());
        assert_eq!(folder.wishes().unwrap(), None);
        folder.answer(Some("wrong")).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(ERRORS)).unwrap(), "wrong");
        folder.answer(None).unwrap();
        folder.answer(None).unwrap();
        assert!(!dir.path().join(ERRORS).exists());
    }

    #[test]
    fn only_what_differs_is_written_over() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder(dir.path().to_owned());
        fs::write(dir.path().join(WISHES), "a = \"secret\" # rest").unwrap();
        let inode = fs::metadata(dir.path().join(WISHES)).unwrap().ino();
        folder.overwrite(b"a = \"secret\" # rest", b"a = \"\"       # rest").unwrap();
        assert_eq!(folder.wishes().unwrap().unwrap(), b"a = \"\"       # rest");
        assert_eq!(fs::metadata(dir.path().join(WISHES)).unwrap().ino(), inode);
    }
}
