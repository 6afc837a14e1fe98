//! What the Lomorage app makes of a password before it sends it (lomorage/lomo-mobile, `src/services/AuthService.js`).
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::model::account::Slug;
use crate::model::hash::hex;

/// Argon2id with 4 MiB, three passes, one lane, 32 bytes.
const MEMORY: u32 = 4096;
const PASSES: u32 = 3;

/// The app's word for a password: Argon2id in its usual spelling (`$argon2id$v=19$…`), in hex, and a zero byte. The salt is the user's name
/// with a fixed end, so that the same password always gives the same word, and this is all that is ever sent.
pub fn sent_for(user: &Slug, password: &str) -> Option<String> {
    let salt = format!("{user}@lomorage.lomoware");
    let params = Params::new(MEMORY, PASSES, 1, Some(32)).ok()?;
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt.as_bytes(), &mut hash)
        .ok()?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(&salt), STANDARD_NO_PAD.encode(hash));
    let spelled = format!("$argon2id$v=19$m={MEMORY},t={PASSES},p=1${salt}${hash}");
    Some(format!("{}00", hex(spelled.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with argon2-cffi, which is the reference implementation.
    #[test]
    fn it_is_what_the_app_computes() {
        let sent = sent_for(&"anna".parse().unwrap(), "abcd-efgh-jkmn").unwrap();
        assert_eq!(
            sent,
            "246172676f6e32696424763d3139246d3d343039362c743d332c703d3124595735755955427362323176636d466e5a53357362323176643246795a512439334f507537564c346e76516d5546656f73386d4d46375a4e586769466b462f465542714935456668535900"
        );
    }
}
