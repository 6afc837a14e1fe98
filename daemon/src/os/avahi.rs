//! Telling avahi what to announce: one file in the directory that it watches (avahi-daemon(8)). Where that is not there, nothing is.
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Ours, among those of other programs.
const NAME: &str = "shoebox.service";
/// avahi reads what ends in `.service`.
const NEW: &str = "shoebox.service.new";

/// Has avahi announce this from now on; the same again changes nothing. `false`: there is no such directory.
///
/// The file is renamed into place, so that avahi, which looks as soon as anything happens there, never reads half of it. It is not
/// flushed: after a power cut it is written anew.
pub fn announce(directory: &Path, service: &str) -> io::Result<bool> {
    if !directory.is_dir() {
        return Ok(false);
    }
    let at = directory.join(NAME);
    if std::fs::read_to_string(&at).is_ok_and(|there| there == service) {
        return Ok(true);
    }
    let new = directory.join(NEW);
    // What a crash left.
    drop(std::fs::remove_file(&new));
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_NOFOLLOW).open(&new)?;
    // avahi is a user of its own; what the daemon's mask leaves of a mode would keep it out.
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.write_all(service.as_bytes())?;
    std::fs::rename(&new, &at)?;
    Ok(true)
}

/// Has avahi announce it no more.
pub fn withdraw(directory: &Path) -> io::Result<()> {
    match std::fs::remove_file(directory.join(NAME)) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_whole_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join(NAME);
        std::fs::write(dir.path().join(NEW), "half").unwrap();
        for text in ["one", "one", "two"] {
            assert!(announce(dir.path(), text).unwrap());
            assert_eq!(std::fs::read_to_string(&at).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        withdraw(dir.path()).unwrap();
        withdraw(dir.path()).unwrap();
        assert!(!at.exists());
    }

    #[test]
    fn without_avahi_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let none = dir.path().join("avahi");
        assert!(!announce(&none, "x").unwrap() && !none.exists());
        withdraw(&none).unwrap();
    }
}
