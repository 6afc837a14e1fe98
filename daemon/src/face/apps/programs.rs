//! Programs on computers.
use super::{NewDevice, Setup};
use crate::model::account::DeviceKind;

pub(super) fn rclone(new: &NewDevice<'_>) -> Setup {
    let (url, user, password) = (new.address.dav(), new.person, new.password);
    Setup {
        code: None,
        settings: vec![
            (
                "once",
                format!(
                    "rclone config create shoebox webdav url={url} vendor=owncloud user={user} pass=\"$(rclone obscure {password})\""
                ),
            ),
            ("then", "rclone copy --checksum DIR shoebox:".to_owned()),
        ],
        switches: vec![
            "The vendor owncloud sends each file's date and SHA-1 along, which the box compares before it answers.",
            "copy, not sync and not move: sync takes away here what is gone there, move deletes there what was sent.",
        ],
        ..Setup::default()
    }
}

pub(super) fn immich(new: &NewDevice<'_>) -> Setup {
    let (server, key) = (new.address.server(), new.password);
    Setup {
        settings: vec![
            ("server", format!("{server}/api")),
            ("API key", key.to_owned()),
            ("Immich CLI", format!("immich login {server}/api {key}")),
            ("", "immich upload --recursive --album DIR".to_owned()),
            ("immich-go", format!("immich-go upload from-folder --server={server} --api-key={key} DIR")),
        ],
        switches: vec![
            "Leave --delete out: a photo may go from the computer once `shoebox receipt` says: safe to delete.",
            "What is here already is recognised by its content, and not sent again.",
        ],
        ..Setup::default()
    }
}

pub(super) fn files(new: &NewDevice<'_>) -> Setup {
    let dav = new.address.dav().replacen("http", "dav", 1);
    let rights = match new.kind {
        DeviceKind::Computer => {
            "It may rename and delete. What it deletes goes to the trash, and comes back with `shoebox restore`."
        }
        DeviceKind::Phone => "This device was added as a phone: it may add, and neither rename nor delete.",
    };
    Setup {
        code: None,
        settings: vec![
            ("Linux (GNOME, KDE)", dav),
            ("Mac, Windows", new.address.dav()),
            ("user", new.person.to_string()),
            ("password", new.password.to_owned()),
        ],
        switches: vec![
            "GNOME: Other Locations, Connect to Server. Mac: Finder, Go, Connect to Server. Windows: Map network drive.",
            "Windows sends passwords only over https unless it is told otherwise, and refuses files over 50 MB as it comes: rclone does better there.",
            rights,
        ],
        ..Setup::default()
    }
}
