//! What `shoebox push` is told once and keeps: where the box is, who we are, and what is sent. A file that only its owner can read, and the
//! environment over it.
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::ClientConfig;

use super::address::Address;
use super::conditions::Only;
use super::trust;
use crate::face::control::{Fault, FaultKind};
use crate::settings::{SettingsError, SettingsProblem};

/// The settings file. Every key may be left out.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Stored {
    pub(super) address: String,
    pub(super) user: String,
    pub(super) password: String,
    /// The certificate of the box's authority (PEM), for an `https://` address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) authority: String,
    pub(super) folders: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) albums: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) exclude: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) into: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) all_files: bool,
    pub(super) only: Only,
}

/// Where the box is, and what we show there.
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) user: String,
    pub(super) authorization: HeaderValue,
    pub(super) trust: Option<Arc<ClientConfig>>,
}

impl Stored {
    /// Reads the file, if there is one, and puts the environment over it.
    pub(super) fn load(path: &Path, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let mut stored = match fs::read_to_string(path) {
            Ok(text) => {
                is_private(path)?;
                Self::parse(path, &text)?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(e) => return Err(e).with_context(|| format!("could not read {}", path.display())),
        };
        for (name, value) in
            [("ADDRESS", &mut stored.address), ("USER", &mut stored.user), ("PASSWORD", &mut stored.password)]
        {
            if let Some(given) = environment(&format!("SHOEBOX_PUSH_{name}")) {
                *value = given;
            }
        }
        Ok(stored)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        toml::from_str(text).map_err(|e: toml::de::Error| {
            // The error's own text would show the line, and with it perhaps the password.
            let line =
                e.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let problem =
                SettingsProblem { line: Some(line).filter(|line| *line > 0), what: e.message().to_owned() };
            SettingsError::Invalid { path: path.to_owned(), problems: vec![problem] }
        })
    }

    /// Writes it where only its owner reads it: beside, then in its place.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let what = || format!("could not write {}", path.display());
        if let Some(dir) = path.parent() {
            make_private(dir)?;
        }
        let text = toml::to_string(self).with_context(what)?;
        let new = path.with_extension("new");
        // One that an earlier attempt left may have another mode.
        drop(fs::remove_file(&new));
        let mut file =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new).with_context(what)?;
        let head = "# What `shoebox push` sends where. Written by `shoebox push --setup`; `shoebox push --help` explains it.\n";
        file.write_all(head.as_bytes()).and_then(|()| file.write_all(text.as_bytes())).with_context(what)?;
        // Its bytes before its name: after a power cut there is the old file or the new one.
        file.sync_all().and_then(|()| fs::rename(&new, path)).with_context(what)
    }

    /// Who we are, if all of that is known.
    pub(super) fn target(&self, path: &Path) -> anyhow::Result<Target> {
        if self.address.is_empty() || self.user.is_empty() || self.password.is_empty() {
            let remedy = "run `shoebox push --setup http://shoebox.local:8080 ~/Pictures` once";
            return Err(Fault::new(
                FaultKind::BadRequest,
                format!("{} does not say which box to send to", path.display()),
                remedy,
            )
            .into());
        }
        let address: Address =
            self.address.parse().map_err(|why: String| Fault::new(FaultKind::BadRequest, why, ""))?;
        Ok(Target {
            trust: trust::of(&address, &self.authority)?,
            address,
            user: self.user.trim().to_lowercase(),
            authorization: basic(&self.user, &self.password)?,
        })
    }
}

/// `Authorization: Basic …` (RFC 7617). Never shown, not even in an error.
pub(super) fn basic(user: &str, password: &str) -> anyhow::Result<HeaderValue> {
    use base64::Engine as _;
    let pair = format!("{}:{}", user.trim().to_lowercase(), password.trim());
    let mut value =
        HeaderValue::try_from(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Refuses a file that others may read: it holds a password.
fn is_private(path: &Path) -> anyhow::Result<()> {
    let mode = fs::metadata(path)
        .with_context(|| format!("could not look at {}", path.display()))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let problem = SettingsProblem {
        line: None,
        what: format!("others may read it, and the password in it: chmod 600 {}", path.display()),
    };
    Err(SettingsError::Invalid { path: path.to_owned(), problems: vec![problem] }.into())
}

/// A folder that is the user's alone, made if it is not there.
pub(super) fn make_private(dir: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("could not make {}", dir.display()))
}

/// Where something of ours lies: `$XDG_CONFIG_HOME/shoebox`, say, or what that is where it is not set (XDG Base Directory Specification).
pub(super) fn own(
    variable: &str,
    below_home: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<PathBuf> {
    // A relative path there is to be ignored, the specification says.
    let set = environment(variable).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || environment("HOME").map(|home| Path::new(&home).join(below_home));
    let dir = set
        .or_else(home)
        .ok_or_else(|| Fault::new(FaultKind::BadRequest, "HOME is not set", "give --settings and --state"))?;
    Ok(dir.join("shoebox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn stored() -> Stored {
        Stored {
            address: "http://box:8080".into(),
            user: "Anna".into(),
            password: "secret".into(),
            folders: vec!["/home/anna/Pictures".into()],
            only: Only { charging: true, ..Only::default() },
            ..Stored::default()
        }
    }

    #[test]
    fn kept_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/push.toml");
        stored().save(&path).unwrap();
        stored().save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Stored::load(&path, nothing).unwrap() == stored());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Stored::load(&path, nothing).err().unwrap();
        assert!(
            refused.to_string().contains("push.toml") && format!("{refused:#}").contains("chmod 600"),
            "{refused:#}"
        );
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let environment = |name: &str| (name == "SHOEBOX_PUSH_USER").then(|| "ben".to_owned());
        let read = Stored::load(&dir.path().join("none"), environment).unwrap();
        assert_eq!((read.user.as_str(), read.address.as_str()), ("ben", ""));
        let refused = read.target(Path::new("x")).err().unwrap();
        assert!(refused.to_string().contains("which box"));
        let target = stored().target(Path::new("x")).unwrap();
        assert_eq!(
            (target.user.as_str(), target.authorization.to_str().unwrap()),
            ("anna", "Basic YW5uYTpzZWNyZXQ=")
        );
        assert!(!format!("{:?}", target.authorization).contains("YW5u"));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_no_password_with_it() {
        let text = "address = \"box\"\npassword = \"hunter2\" x\n";
        let error = Stored::parse(Path::new("/p"), text).err().unwrap();
        let said = format!("{error}");
        assert!(said.contains('2') && !said.contains("hunter2"), "{said}");
        assert!(Stored::parse(Path::new("/p"), "addres = \"x\"").is_err());
    }

    #[test]
    fn folders_of_ones_own() {
        let environment = |name: &str| match name {
            "HOME" => Some("/home/anna".to_owned()),
            "XDG_STATE_HOME" => Some("/var/anna".to_owned()),
            "XDG_CONFIG_HOME" => Some("relative".to_owned()),
            _ => None,
        };
        assert_eq!(
            own("XDG_STATE_HOME", ".local/state", environment).unwrap(),
            Path::new("/var/anna/shoebox")
        );
        assert_eq!(
            own("XDG_CONFIG_HOME", ".config", environment).unwrap(),
            Path::new("/home/anna/.config/shoebox")
        );
        assert!(own("XDG_CONFIG_HOME", ".config", nothing).is_err());
    }
}
