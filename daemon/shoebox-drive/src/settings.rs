//! Where drives go and by which bus they come: `/etc/shoebox/drive.toml`, which only root writes and which need not be there.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::device::Bus;
use crate::exports::Network;
use crate::failure::Failure;
use crate::mounting::Owner;
use crate::placing::Places;
use crate::report;

/// Where it is looked for.
pub const FILE: &str = "/etc/shoebox/drive.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// The main drive's place first, its copy's second, then those of drives that are kept elsewhere.
    places: Vec<PathBuf>,
    /// `usb`, `nvme`, `card`, `virtual`, `other`.
    buses: Vec<String>,
    /// Who runs the daemon.
    user: String,
    nfs: NfsFile,
}

/// What is exported, and to whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NfsFile {
    /// Whether the photos of drive B are exported where an NFS server is installed.
    export: bool,
    /// To whom: a part of what homes use, such as `192.168.1.0/24`. Nobody else can be allowed in.
    networks: Vec<String>,
    /// Whether the photos are the root's `/photos` for NFSv4. `false` where this machine exports other folders: then the path is the
    /// whole one, `/srv/shoebox/nfs/photos`, as it is for NFSv3.
    root: bool,
}

impl Default for NfsFile {
    fn default() -> Self {
        Self {
            export: true,
            networks: Network::homes().iter().map(ToString::to_string).collect(),
            root: true,
        }
    }
}

impl Default for File {
    fn default() -> Self {
        Self {
            places: ["a", "b", "offline", "offline-2", "offline-3"]
                .map(|end| Path::new("/srv/shoebox").join(end))
                .to_vec(),
            buses: vec!["usb".into()],
            user: "shoebox".into(),
            nfs: NfsFile::default(),
        }
    }
}

/// What is to be gone by.
#[derive(Debug)]
pub struct Settings {
    /// Where drives go.
    pub places: Places,
    /// Who everything belongs to where a filesystem has no owners.
    pub owner: Owner,
    /// Where it is told what became of each drive.
    pub reports: PathBuf,
    /// What is exported.
    pub nfs: Nfs,
}

/// What is exported, and to whom.
#[derive(Debug)]
pub struct Nfs {
    /// Whether anything is.
    pub export: bool,
    /// To whom.
    pub networks: Vec<Network>,
    /// Whether the root of what NFSv4 shows is the box's.
    pub root: bool,
    /// The list for exports(5): `/etc/exports.d` has a link to it.
    pub list: PathBuf,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// The file is there and not understood, or the user does not exist.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Failure::io("read", file, e)),
        };
        let parsed = parse(&text).map_err(|why| Failure::new(format!("{}: {why}", file.display())))?;
        let user = nix::unistd::User::from_name(&parsed.user)
            .map_err(|e| Failure::io("look up", &parsed.user, e))?;
        let user = user.ok_or_else(|| Failure::new(format!("there is no user {:?}", parsed.user)))?;
        let buses = parsed.buses.iter().filter_map(|word| bus(word)).collect();
        let owner = Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() };
        let NfsFile { export, networks, root } = parsed.nfs;
        let networks = networks.iter().filter_map(|text| text.parse().ok()).collect();
        let nfs = Nfs { export, networks, root, list: Path::new(report::FOLDER).join("exports") };
        let places = Places { points: parsed.places, buses, shown: "/srv/shoebox/nfs".into() };
        Ok(Self { places, owner, reports: report::FOLDER.into(), nfs })
    }
}

fn parse(text: &str) -> Result<File, String> {
    let file: File = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    if let Some(word) = file.buses.iter().find(|word| bus(word).is_none()) {
        return Err(format!("buses: {word:?} is none of usb, nvme, card, virtual, other"));
    }
    if let Some(bad) = file.nfs.networks.iter().find_map(|text| text.parse::<Network>().err()) {
        return Err(format!("nfs.networks: {bad}"));
    }
    let odd = |at: &&PathBuf| {
        !at.is_absolute() || at.components().any(|part| part.as_os_str() == "..") || at.parent().is_none()
    };
    if let Some(at) = file.places.iter().find(odd) {
        return Err(format!("places: {} is not an absolute path below /", at.display()));
    }
    Ok(file)
}

fn bus(word: &str) -> Option<Bus> {
    match word {
        "usb" => Some(Bus::Usb),
        "nvme" => Some(Bus::Nvme),
        "card" => Some(Bus::Card),
        "virtual" => Some(Bus::Virtual),
        "other" => Some(Bus::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_what_is_refused() {
        let file = parse("").unwrap();
        assert_eq!(file.places.first(), Some(&PathBuf::from("/srv/shoebox/a")));
        assert_eq!((file.buses.as_slice(), file.user.as_str()), (["usb".to_owned()].as_slice(), "shoebox"));
        assert_eq!(parse("buses = ['usb', 'nvme']").unwrap().buses.len(), 2);
        assert!(parse("buses = ['fire']").unwrap_err().contains("none of usb"));
        assert!(parse("places = ['srv']").unwrap_err().contains("absolute"));
        assert!(parse("places = ['/srv/../etc']").unwrap_err().contains("absolute"));
        assert!(parse("places = ['/']").unwrap_err().contains("absolute"));
        assert!(parse("shell = 'rm'").is_err());
        assert!(parse("[nfs]\nnetworks = ['0.0.0.0/0']").unwrap_err().contains("no network of a home"));
        let narrow = parse("[nfs]\nnetworks = ['192.168.1.0/24']\nroot = false").unwrap().nfs;
        assert_eq!((narrow.networks.len(), narrow.root, narrow.export), (1, false, true));
    }
}
