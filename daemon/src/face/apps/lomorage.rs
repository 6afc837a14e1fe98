//! The Lomorage app.
use super::{Code, KEEP_LOCAL, NewDevice, Setup};

/// The code is what the app pairs by (lomo-mobile, `lomorage-pairing-v1`).
pub(super) fn setup(new: &NewDevice<'_>) -> Setup {
    let (protocol, server, port) = new.address.pieces();
    let server = format!("{protocol}://{server}:{port}");
    let pairing = serde_json::json!({
        "type": "lomorage-pairing-v1", "server": server, "username": new.person.as_str(), "password": new.password,
    });
    Setup {
        code: Some(Code {
            content: pairing.to_string(),
            how: "In the app: add a server, and scan this. Server, user and password are in it: keep it to yourself.",
        }),
        settings: vec![
            ("server", server),
            ("user", new.person.to_string()),
            ("password", new.password.to_owned()),
        ],
        switches: vec![
            "Only this app can sign in with this password: it sends it in a form of its own.",
            "Backup: on, originals, videos too. On Android, no battery limits for the app.",
            KEEP_LOCAL,
        ],
        ..Setup::default()
    }
}
