//! The socket's address: made with the right mode from the start, never taken from a living daemon, of any length.
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;

/// `sun_path` holds 108 bytes with the closing NUL (unix(7)).
const LONGEST: usize = 107;

/// Makes the socket, mode 0660, and listens on it. What a dead daemon left there is replaced; a living one's
/// socket is `AddrInUse`; a file that is no socket is left alone. To be called within a tokio runtime.
pub fn bind_control(path: &Path) -> io::Result<UnixListener> {
    tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
    let (dir, name) = split(path)?;
    match DirBuilder::new().mode(0o750).create(dir) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let dir = File::open(dir)?;
    let held = lock(dir.try_clone()?)?;
    check_free(path)?;
    // Bound under another name and renamed: at no instant does the final name have the wrong mode, or is
    // missing, or belongs to a socket on which nobody listens yet.
    let fresh = format!("{name}.{}", std::process::id());
    let fresh_at = beside(&dir, &fresh);
    match fs::remove_file(&fresh_at) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&fresh_at)?;
    fs::set_permissions(&fresh_at, Permissions::from_mode(0o660))?;
    fs::rename(&fresh_at, beside(&dir, name))?;
    drop(held);
    Ok(listener)
}

/// Connects to the socket.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= LONGEST {
        return UnixStream::connect(path);
    }
    let (dir, name) = split(path)?;
    // O_PATH needs no right to list the directory, only to pass it, as connecting itself does.
    let dir = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(dir)?;
    UnixStream::connect(beside(&dir, name))
}

/// A short address for a name in a directory, however deep the directory lies (proc(5), /proc/pid/fd).
fn beside(dir: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let bad = |why: &str| io::Error::new(ErrorKind::InvalidInput, format!("{}: {why}", path.display()));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| bad("no usable socket name"))?;
    // Room for "/proc/self/fd/" and a process id.
    if name.len() > 64 {
        return Err(bad("the socket's name is longer than 64 bytes"));
    }
    let dir = path.parent().ok_or_else(|| bad("no directory"))?;
    Ok((if dir.as_os_str().is_empty() { Path::new(".") } else { dir }, name))
}

/// Two daemons starting at once take turns here; it lasts for three system calls.
fn lock(mut dir: File) -> io::Result<Flock<File>> {
    for _ in 0..100 {
        match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(held),
            Err((back, _busy)) => dir = back,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(io::Error::new(ErrorKind::WouldBlock, "the socket's directory stays locked by another program"))
}

fn check_free(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let what = format!("{} is there and is no socket; it is left alone", path.display());
        return Err(io::Error::new(ErrorKind::AlreadyExists, what));
    }
    match connect(path) {
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => Err(io::Error::new(
            ErrorKind::AddrInUse,
            format!("another shoebox answers on {}", path.display()),
        )),
    }
}
