//! The Sumu Backup app, which its owner builds: what it needs to know is compiled into it.
use super::{KEEP_LOCAL, NewDevice, Setup};

/// There is nothing to scan: the app has no place for it.
pub(super) fn setup(new: &NewDevice<'_>) -> Setup {
    let (_, server, _) = new.address.pieces();
    Setup {
        settings: vec![
            ("SERVER", server.to_owned()),
            ("HARD_CODED_PASSWORD_HOW_SHAMEFUL", new.password.to_owned()),
            ("user", new.person.to_string()),
        ],
        switches: vec![
            "In Xcode: the first two are in Constants.swift, user is in ViewController.swift (take out the line that sets another by the phone's name). In Info.plist, allow the server under App Transport Security.",
            "On the box: `listen = [\"0.0.0.0:9090\"]` under [sumu] in its settings, and restart it. The port is built into the app. It sends its password unencrypted: only in the network at home.",
            "A server's name that is neither an address nor ends in .local belongs under [http] hosts as well.",
            "Build the app once for each phone, with the password of that phone: what is here of one phone must not stand for another's photos.",
            "The app knows photos by the moment they were taken, and sends only one of two that share it to the millisecond. HEIC photos arrive as JPEG; their date and place are kept beside them (.xmp).",
            KEEP_LOCAL,
        ],
        ..Setup::default()
    }
}
