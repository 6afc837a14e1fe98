//! Nextcloud for Android and iPhone.
use super::{Code, KEEP_LOCAL, NewDevice, Setup};

pub(super) fn setup(new: &NewDevice<'_>) -> Setup {
    // iOS reads the parts by their places and decodes nothing: this order, no slash at the end, plain letters.
    let (user, password, server) = (new.person, new.password, new.address.server());
    let scheme = if new.one_time { "nc://onetime-login/" } else { "nc://login/" };
    let how = if new.one_time {
        "In the app, choose to sign in with a QR code, and scan this within 15 minutes. It works once."
    } else {
        "In the app, choose to sign in with a QR code, and scan this."
    };
    let by_hand = if new.one_time {
        vec![("server address", server.clone())]
    } else {
        vec![
            ("server address", server.clone()),
            ("user", user.to_string()),
            ("password", password.to_owned()),
        ]
    };
    Setup {
        code: Some(Code { content: format!("{scheme}user:{user}&password:{password}&server:{server}"), how }),
        settings: by_hand,
        switches: vec![
            "Without a code: type the server address; the app opens a page on which you sign in with your own password (`shoebox person password`).",
            "Auto upload: on for the camera's folder, with videos. Android: allow access to all photos and files, and run in the background without battery limits.",
            "Original quality: on an iPhone, leave \"most compatible\" off, so that HEIC and Live Photos stay what they are.",
            "When a file is there already: Skip. It never replaces anything here, and a phone that was set up anew sends nothing twice.",
            "What happens to the original: keep it in its folder. Do not let the app move or delete it after the upload.",
            KEEP_LOCAL,
        ],
        ..Setup::default()
    }
}
