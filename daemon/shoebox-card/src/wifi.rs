//! What wpa_supplicant is told, and what is kept on the drives of it. Pure.
use std::fmt;

use serde::{Deserialize, Serialize};

/// A network that the box may join without its password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Its name.
    pub network: String,
    /// The country's two letters.
    pub country: String,
    /// The key, 64 hex digits.
    pub psk: String,
}

/// A key is in no message.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({:?}, {:?})", self.network, self.country)
    }
}

impl Kept {
    /// Whether it is as this program would write it: it was on a drive that anybody may have had.
    #[must_use]
    pub fn is_lawful(&self) -> bool {
        self.psk.len() == 64
            && self.psk.bytes().all(|byte| byte.is_ascii_hexdigit())
            && (1..=32).contains(&self.network.len())
            && self.country.len() == 2
            && self.country.bytes().all(|byte| byte.is_ascii_uppercase())
    }

    /// wpa_supplicant's own file. The name in hex digits: nothing in it can be taken for anything else.
    #[must_use]
    pub fn supplicant(&self) -> String {
        let name: String = self.network.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "# Written by shoebox-card at each start.\nctrl_interface=/run/wpa_supplicant\ncountry={}\nnetwork={{\n\tssid={name}\n\tpsk={}\n\tkey_mgmt=WPA-PSK WPA-PSK-SHA256\n}}\n",
            self.country, self.psk
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_taken_for_a_setting() {
        let kept = Kept { network: "a\"}\n#".into(), country: "DE".into(), psk: "0".repeat(64) };
        assert!(kept.supplicant().contains("\tssid=61227d0a23\n"));
        assert!(kept.is_lawful() && !format!("{kept:?}").contains("000"));
        assert!(!Kept { country: "D\n".into(), ..kept.clone() }.is_lawful());
        assert!(!Kept { psk: format!("{}\n", "0".repeat(63)), ..kept }.is_lawful());
    }
}
