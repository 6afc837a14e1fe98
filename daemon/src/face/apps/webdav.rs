//! Apps on phones that upload to WebDAV.
use super::{Code, KEEP_LOCAL, NewDevice, Setup};
use crate::face::address::Address;

fn code(new: &NewDevice<'_>) -> Option<Code> {
    let content = new.address.dav_signed_in(new.person.as_str(), new.password);
    Some(Code {
        content,
        how: "The address with user and password in it, to be copied from the phone's camera app: keep it to yourself.",
    })
}

fn one_by_one(new: &NewDevice<'_>) -> Vec<(&'static str, String)> {
    let (protocol, server, port) = new.address.pieces();
    vec![
        ("protocol", protocol.to_owned()),
        ("server", server.to_owned()),
        ("port", port.to_owned()),
        ("folder (path)", Address::path().to_owned()),
        ("user", new.person.to_string()),
        ("password", new.password.to_owned()),
    ]
}

pub(super) fn photosync(new: &NewDevice<'_>) -> Setup {
    Setup {
        code: code(new),
        settings: one_by_one(new),
        switches: vec![
            "Configure a WebDAV target with these; the folder must begin with /dav/.",
            "Send originals: no conversion of HEIC to JPEG, no smaller size, Live Photos with their video.",
            "Existing files: Skip.",
            "Auto-transfer: on. On an iPhone it also needs location access, always: it starts when the phone comes home. On Android, no battery limits.",
            "Delete after transfer: off.",
            KEEP_LOCAL,
        ],
        ..Setup::default()
    }
}

pub(super) fn foldersync(new: &NewDevice<'_>) -> Setup {
    let mut settings = vec![("address (URL)", new.address.dav())];
    settings.extend([("user", new.person.to_string()), ("password", new.password.to_owned())]);
    Setup {
        code: code(new),
        settings,
        switches: vec![
            "Add a WebDAV account with these, and a folder pair from DCIM to it, in the direction \"to remote folder\" only.",
            "Sync deletions: off. Conflicts, and files that are there already: Skip.",
            "Instant sync, or a schedule: on; run in the background without battery limits.",
            "Move files after the transfer: off.",
            KEEP_LOCAL,
        ],
        ..Setup::default()
    }
}

pub(super) fn any(new: &NewDevice<'_>) -> Setup {
    let mut settings = vec![("address (URL)", new.address.dav())];
    settings.extend(one_by_one(new));
    Setup {
        code: code(new),
        settings,
        switches: vec![
            "Most apps want the address; some want its pieces one by one. Sign-in: Basic.",
            "Original quality, without conversion; files that are there already: Skip.",
            "Let it run in the background without battery limits.",
            KEEP_LOCAL,
        ],
        ..Setup::default()
    }
}
