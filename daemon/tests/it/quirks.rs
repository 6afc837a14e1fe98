//! Programs that speak WebDAV, each with what it insists on: their requests as their sources, their manuals or a recording have them, played to the
//! real binary (daemon/tests/fixtures/webdav).
use std::collections::BTreeMap;

use crate::support::conversation::play;
use crate::support::daemon::{Account, Daemon};
use crate::support::listing::{hash, listing};

/// A program, the kind of its device, its conversation, and what is then on the drive in the folder that the device has.
type Program = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const ALL: [Program; 9] = [
    (
        "photosync",
        "phone",
        include_str!("../fixtures/webdav/photosync.txt"),
        &[("Camera/IMG_0001.HEIC", "the photo"), ("Camera/IMG_0001.MOV", "its film")],
    ),
    (
        "foldersync",
        "phone",
        include_str!("../fixtures/webdav/foldersync.txt"),
        &[("DCIM/IMG_1.jpg", "the photo")],
    ),
    (
        "autosync",
        "phone",
        include_str!("../fixtures/webdav/autosync.txt"),
        &[("Auto/a.jpg", "a photo"), ("Auto/b.jpg", "another")],
    ),
    ("finder", "computer", include_str!("../fixtures/webdav/finder.txt"), &[("IMG_1.jpg", "the photo")]),
    ("windows", "computer", include_str!("../fixtures/webdav/windows.txt"), &[("Neu.jpg", "the photo")]),
    ("gnome", "computer", include_str!("../fixtures/webdav/gnome.txt"), &[("b c.jpg", "a photo")]),
    ("davfs2", "computer", include_str!("../fixtures/webdav/davfs2.txt"), &[("b.jpg", "the photo")]),
    (
        "shortcuts",
        "phone",
        include_str!("../fixtures/webdav/shortcuts.txt"),
        &[
            ("inbox/2026-11/IMG_1.HEIC", "the photo"),
            ("inbox/2026-11/IMG_1 (2).HEIC", "another photo of that name"),
        ],
    ),
    (
        "rclone",
        "computer",
        include_str!("../fixtures/webdav/rclone.txt"),
        &[("b.jpg", "a photo"), ("c.jpg", "a photo")],
    ),
];

#[test]
fn each_program_gets_what_it_insists_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::furnish(dir.path(), 5);
    for (program, kind, text, there) in ALL {
        // Each has a person of its own: a phone has a folder in theirs.
        let Account { user, password } = daemon.add_person(program, "device", kind);
        let noted = [("user", user), ("password", password), ("address", daemon.address.to_string())];
        play(daemon.address, text, noted.map(|(name, value)| (name.to_owned(), value)).into());
        let folder = if kind == "phone" { format!("{program}/device") } else { program.to_owned() };
        let mut on_drive = listing(&daemon.photos().join(&folder));
        on_drive.retain(|name, _| !name.ends_with('/'));
        let expected: BTreeMap<String, String> =
            there.iter().map(|(name, body)| ((*name).to_owned(), hash(body.as_bytes()))).collect();
        assert_eq!(on_drive, expected, "{program}");
        for (name, _) in there {
            daemon.until("B has it", |d| d.is_mirrored(&format!("{folder}/{name}")));
        }
    }
}
