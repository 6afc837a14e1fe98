//! The key of a wireless network, made of its name and password (IEEE 802.11i, H.4.1), so that the password itself is kept nowhere. Pure.
use sha1::{Digest as _, Sha1};

const BLOCK: usize = 64;

/// HMAC (RFC 2104) with SHA-1: what the standard asks for.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut padded = [0_u8; BLOCK];
    // A passphrase is shorter than a block, so the key is never hashed.
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    let mut inner = Sha1::new_with_prefix(padded.map(|byte| byte ^ 0x36));
    for part in parts {
        inner.update(part);
    }
    Sha1::new_with_prefix(padded.map(|byte| byte ^ 0x5c)).chain_update(inner.finalize()).finalize().into()
}

/// PBKDF2 (RFC 8018) with 4096 rounds and 256 bits, as 64 hex digits.
#[must_use]
pub fn psk(network: &str, password: &str) -> String {
    let mut out = String::with_capacity(64);
    for number in 1..=2_u32 {
        let mut round = hmac(password.as_bytes(), &[network.as_bytes(), &number.to_be_bytes()]);
        let mut sum = round;
        for _ in 1..4096 {
            round = hmac(password.as_bytes(), &[&round]);
            for (to, from) in sum.iter_mut().zip(round) {
                *to ^= from;
            }
        }
        for byte in sum {
            out.push_str(&format!("{byte:02x}"));
        }
    }
    out.truncate(64);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IEEE 802.11i, H.4.3.
    #[test]
    fn the_standards_own_examples() {
        assert_eq!(
            psk("IEEE", "password"),
            "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
        );
        assert_eq!(
            psk("ThisIsASSID", "ThisIsAPassword"),
            "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"
        );
    }
}
