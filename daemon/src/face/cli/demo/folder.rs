//! The demo's folder: what is in it, and what is kept there between two runs.
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::face::control::{Fault, FaultKind};
use crate::model::account::Slug;
use crate::settings::Settings;

/// The folder.
pub(super) struct Folder(PathBuf);

/// What a restart needs to print the same facts: `demo.json`, mode 0600. The only place where a password is kept in
/// the clear, which is what makes it a demo.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) person: Slug,
    pub(super) device: Slug,
    pub(super) password: String,
    pub(super) listen: SocketAddr,
}

impl Kept {
    fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

impl Folder {
    /// Makes the folder with `a` and `b` in it; what is there stays.
    pub(super) fn make(dir: &Path) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir)?;
        for part in [dir.clone(), dir.join("a"), dir.join("b")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&part).map_err(|e| {
                let what = format!("could not make {}: {e}", part.display());
                Fault::new(FaultKind::BadRequest, what, "give another --dir, one that you may write to")
            })?;
        }
        // Without symlinks, because drives are compared by where they really are.
        Ok(Self(fs::canonicalize(&dir).with_context(|| format!("could not open {}", dir.display()))?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn drive_a(&self) -> PathBuf {
        self.0.join("a")
    }

    pub(super) fn drive_b(&self) -> PathBuf {
        self.0.join("b")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// The demo's settings, but for the address.
    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.drives.mounts = vec![self.drive_a(), self.drive_b()];
        settings.drives.require_mount = false;
        // Real drives are none of the demo's.
        (settings.drives.reports, settings.drives.requests) = (None, None);
        settings.control.socket = self.0.join("control.sock");
        settings.previews.cache = Some(self.0.join("previews"));
        // The demo writes nothing outside its folder, so nobody announces it.
        settings.announce.directory = self.0.join("announced");
        settings.log.level = log::LevelFilter::Warn;
        settings
    }

    /// Writes the settings in force, for the other commands' `--config`.
    pub(super) fn write_config(&self, settings: &Settings) -> anyhow::Result<()> {
        let text = format!("# Written by `shoebox demo` at every start.\n{}", settings.render());
        fs::write(self.config(), text).with_context(|| format!("could not write {}", self.config().display()))
    }

    fn kept_file(&self) -> PathBuf {
        self.0.join("demo.json")
    }

    /// What the last run kept, if it is there and readable.
    pub(super) fn kept(&self) -> Option<Kept> {
        Kept::read(&fs::read(self.kept_file()).ok()?)
    }

    /// Keeps facts for the next run. Written beside and renamed, so that a kill leaves the old or the new.
    pub(super) fn keep(&self, kept: &Kept) -> anyhow::Result<()> {
        let fresh = self.0.join("demo.json.new");
        let write = || -> io::Result<()> {
            match fs::remove_file(&fresh) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(&serde_json::to_vec(kept)?)?;
            file.sync_all()?;
            fs::rename(&fresh, self.kept_file())
        };
        write().with_context(|| format!("could not write {}", self.kept_file().display()))
    }
}

/// Returns once an HTTP answer, whatever it says, came from `listen`.
pub(super) fn wait_until_it_answers(listen: SocketAddr) -> anyhow::Result<()> {
    let mut at = listen;
    match at {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => at.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => at.set_ip(Ipv6Addr::LOCALHOST.into()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => {}
    }
    let mut last = io::Error::from(ErrorKind::TimedOut);
    for _ in 0..100 {
        match answers(at) {
            Ok(()) => return Ok(()),
            Err(e) => last = e,
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(last).with_context(|| format!("it does not answer on {at}"))
}

fn answers(at: SocketAddr) -> io::Result<()> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&at, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("HEAD / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut start = [0; 7];
    stream.read_exact(&mut start)?;
    if &start == b"HTTP/1." { Ok(()) } else { Err(io::Error::other("the answer is not HTTP")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(&dir.path().join("x/demo")).unwrap();
        assert!(folder.kept().is_none());
        let mut kept = Kept {
            person: "anna".parse().unwrap(),
            device: "phone".parse().unwrap(),
            password: "secret".to_owned(),
            listen: "0.0.0.0:8080".parse().unwrap(),
        };
        folder.keep(&kept).unwrap();
        kept.password = "other".to_owned();
        folder.keep(&kept).unwrap();
        let again = Folder::make(&dir.path().join("x/demo")).unwrap();
        assert!(again.kept() == Some(kept));
        let mode = fs::metadata(again.kept_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_settings_it_writes_are_valid() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        folder.write_config(&folder.settings()).unwrap();
        assert_eq!(Settings::load(Some(&folder.config())).unwrap(), folder.settings());
    }

    #[test]
    fn an_answer_is_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 16]).unwrap();
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").unwrap();
        });
        wait_until_it_answers(at).unwrap();
        serving.join().unwrap();
        assert!(answers(at).is_err());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_as_it_was_written(
            person in "[a-z0-9]{1,9}", device in "[a-z]{1,3}-[a-z0-9]{1,9}", password in "\\PC{0,40}|[\\\\\"\\n\u{0}]{0,9}", ip: std::net::IpAddr, port: u16,
        ) {
            let (person, device) = (person.parse().unwrap(), device.parse().unwrap());
            let kept = Kept { person, device, password, listen: SocketAddr::new(ip, port) };
            prop_assert!(Kept::read(&serde_json::to_vec(&kept).unwrap()) == Some(kept));
        }

        /// The file may have been edited, or cut off: a name is none unless it keeps the law of names.
        #[test]
        fn what_is_read_keeps_the_law_of_names(name in "\\PC{0,12}", rest in "\\PC{0,30}", end in 0..90usize) {
            let text = serde_json::json!({
                "person": name, "device": name, "password": rest, "listen": "[::1]:80",
            });
            let text = text.to_string();
            let kept = Kept::read(text.as_bytes());
            prop_assert_eq!(kept.map(|kept| kept.person.to_string()), name.parse::<Slug>().ok().map(|slug| slug.to_string()));
            prop_assert!(Kept::read(&text.as_bytes()[..end.min(text.len() - 1)]).is_none());
            let _read = Kept::read(rest.as_bytes());
        }
    }
}
