//! What to type into which app, and the code to scan: one file per group of apps. Only apps whose side of the conversation is built are listed.
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::face::address::Address;
use crate::model::account::{DeviceKind, Slug};

mod lomorage;
mod nextcloud;
mod programs;
mod sumu;
mod webdav;

/// An app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::face) enum App {
    /// Nextcloud's, for Android and iOS.
    Nextcloud,
    /// PhotoSync, for iOS and Android.
    PhotoSync,
    /// FolderSync, for Android.
    FolderSync,
    /// Anything else that speaks WebDAV.
    Webdav,
    /// Lomorage, for iOS and Android.
    Lomorage,
    /// Sumu Backup, for iOS.
    Sumu,
    /// rclone, and what is built on it.
    Rclone,
    /// Immich's command line, and immich-go.
    Immich,
    /// A computer's file manager.
    Files,
}

impl App {
    pub(in crate::face) const ALL: [Self; 9] = [
        Self::Nextcloud,
        Self::PhotoSync,
        Self::FolderSync,
        Self::Webdav,
        Self::Lomorage,
        Self::Sumu,
        Self::Rclone,
        Self::Immich,
        Self::Files,
    ];

    /// The word for the command line.
    pub(in crate::face) const fn word(self) -> &'static str {
        match self {
            Self::Nextcloud => "nextcloud",
            Self::PhotoSync => "photosync",
            Self::FolderSync => "foldersync",
            Self::Webdav => "webdav",
            Self::Lomorage => "lomorage",
            Self::Sumu => "sumu",
            Self::Rclone => "rclone",
            Self::Immich => "immich",
            Self::Files => "files",
        }
    }

    /// What it is, in one line.
    pub(in crate::face) const fn about(self) -> &'static str {
        match self {
            Self::Nextcloud => "Nextcloud for Android and iPhone: uploads by itself, free",
            Self::PhotoSync => "PhotoSync for iPhone and Android: uploads by itself",
            Self::FolderSync => "FolderSync for Android: uploads folders by itself",
            Self::Webdav => "any other app or program that uploads to WebDAV",
            Self::Lomorage => "Lomorage for iPhone and Android: uploads by itself, Live Photos as pairs",
            Self::Sumu => "Sumu Backup for iPhone: built by its owner, uploads at a tap",
            Self::Rclone => "rclone on a computer, and Round Sync on Android",
            Self::Immich => "Immich's command line and immich-go on a computer",
            Self::Files => "the file manager of Linux, Windows or a Mac",
        }
    }

    /// What a device with it usually is.
    pub(in crate::face) const fn kind(self) -> DeviceKind {
        match self {
            Self::Nextcloud
            | Self::PhotoSync
            | Self::FolderSync
            | Self::Webdav
            | Self::Lomorage
            | Self::Sumu => DeviceKind::Phone,
            Self::Rclone | Self::Immich | Self::Files => DeviceKind::Computer,
        }
    }

    /// Whether it can exchange a password that is good once for one of its own.
    pub(in crate::face) const fn takes_one_time(self) -> bool {
        match self {
            Self::Nextcloud => true,
            Self::PhotoSync
            | Self::FolderSync
            | Self::Webdav
            | Self::Lomorage
            | Self::Sumu
            | Self::Rclone
            | Self::Immich
            | Self::Files => false,
        }
    }

    /// What to scan, type and set.
    pub(in crate::face) fn setup(self, device: &NewDevice<'_>) -> Setup {
        let setup = match self {
            Self::Nextcloud => nextcloud::setup(device),
            Self::PhotoSync => webdav::photosync(device),
            Self::FolderSync => webdav::foldersync(device),
            Self::Webdav => webdav::any(device),
            Self::Lomorage => lomorage::setup(device),
            Self::Sumu => sumu::setup(device),
            Self::Rclone => programs::rclone(device),
            Self::Immich => programs::immich(device),
            Self::Files => programs::files(device),
        };
        let folder = match device.kind {
            // By album, or by month.
            _ if self == Self::Sumu => format!("photos/{}/", device.person),
            DeviceKind::Phone => format!("photos/{}/{}/", device.person, device.device),
            DeviceKind::Computer => format!("photos/{}/", device.person),
        };
        Setup { app: self.word(), folder, ..setup }
    }
}

/// The value of `--app`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::face) enum Choice {
    /// Print what there is.
    List,
    /// This one.
    One(App),
}

impl Choice {
    pub(in crate::face) fn one(self) -> Option<App> {
        match self {
            Self::List => None,
            Self::One(app) => Some(app),
        }
    }
}

impl FromStr for Choice {
    type Err = UnknownApp;
    fn from_str(text: &str) -> Result<Self, UnknownApp> {
        if text == "list" {
            return Ok(Self::List);
        }
        App::ALL.into_iter().find(|app| app.word() == text).map(Self::One).ok_or(UnknownApp)
    }
}

/// A word that is no app's.
#[derive(Debug)]
pub(in crate::face) struct UnknownApp;

impl fmt::Display for UnknownApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = App::ALL.iter().map(|app| app.word()).collect();
        write!(
            f,
            "there is {}; `--app list` tells what they are, and webdav is right for all others",
            words.join(", ")
        )
    }
}

impl std::error::Error for UnknownApp {}

/// What a device needs to sign in.
pub(in crate::face) struct NewDevice<'a> {
    pub(in crate::face) address: &'a Address,
    pub(in crate::face) person: &'a Slug,
    pub(in crate::face) device: &'a Slug,
    pub(in crate::face) kind: DeviceKind,
    pub(in crate::face) password: &'a str,
    /// The password is good once, for fetching the real one.
    pub(in crate::face) one_time: bool,
}

/// How an app is set up.
#[derive(Default, Serialize)]
pub(in crate::face) struct Setup {
    /// The app's word.
    pub(in crate::face) app: &'static str,
    /// The folder on the drives that it sees.
    pub(in crate::face) folder: String,
    /// What the code to scan holds, and what to do with it. There is a password in it.
    pub(in crate::face) code: Option<Code>,
    /// What to type, field by field.
    pub(in crate::face) settings: Vec<(&'static str, String)>,
    /// The switches that keep photos safe, each one sentence.
    pub(in crate::face) switches: Vec<&'static str>,
}

/// A code to scan.
#[derive(Serialize)]
pub(in crate::face) struct Code {
    pub(in crate::face) content: String,
    pub(in crate::face) how: &'static str,
}

/// True of every app that can delete what it has sent.
const KEEP_LOCAL: &str = "Let no app delete photos after uploading. A photo may go from the phone once `shoebox receipt` says: safe to delete.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_app_is_known_by_its_word() {
        for app in App::ALL {
            assert_eq!(app.word().parse::<Choice>().ok(), Some(Choice::One(app)));
        }
        assert_eq!("list".parse::<Choice>().ok(), Some(Choice::List));
        assert!("dropbox".parse::<Choice>().unwrap_err().to_string().contains("nextcloud, photosync"));
    }
}
