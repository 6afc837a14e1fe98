//! What a family may ask for in `shoebox.toml`, and what is wrong with what it wrote. Pure.
use base64::Engine as _;
use serde::Deserialize;

/// One value that was not taken, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key, as it is in the file.
    pub key: &'static str,
    /// What is wrong, and what it should be like.
    pub why: String,
}

/// What is asked for and may be done. Empty values are no wishes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The box's name in the network.
    pub name: Option<String>,
    /// As in /usr/share/zoneinfo.
    pub time_zone: Option<String>,
    /// A line for authorized_keys.
    pub ssh_key: Option<String>,
    /// The short name of the first person.
    pub person: Option<String>,
    /// The wireless network.
    pub wifi: Option<Wifi>,
}

/// A wireless network; without a password if that was taken away already.
#[derive(Clone, PartialEq, Eq)]
pub struct Wifi {
    /// Its name.
    pub network: String,
    /// Its password, as typed.
    pub password: Option<String>,
    /// Where the box is: two letters.
    pub country: String,
}

/// Passwords are in no message.
impl std::fmt::Debug for Wifi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wifi({:?}, {:?}, password: {})", self.network, self.country, self.password.is_some())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    name: String,
    time_zone: String,
    ssh_key: String,
    person: String,
    wifi: WrittenWifi,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenWifi {
    network: String,
    password: String,
    country: String,
}

impl std::fmt::Debug for WrittenWifi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.network)
    }
}

/// Reads the file's text. A file that is no TOML, or has a key that is not known, asks for nothing: what was meant is anybody's guess.
#[must_use]
pub fn read(text: &str) -> (Wishes, Vec<Mistake>) {
    // Editors of other systems begin a text with a mark of its encoding.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let written = match toml::from_str::<Written>(text) {
        Ok(written) => written,
        Err(e) => {
            return (Wishes::default(), vec![Mistake { key: "shoebox.toml", why: not_understood(text, &e) }]);
        }
    };
    let mut mistakes = Vec::new();
    let mut take = |key, value: &str, law: fn(&str) -> Result<(), &'static str>| match value.trim() {
        "" => None,
        value => match law(value) {
            Ok(()) => Some(value.to_owned()),
            Err(why) => {
                mistakes.push(Mistake { key, why: why.to_owned() });
                None
            }
        },
    };
    let wishes = Wishes {
        name: take("name", &written.name.to_ascii_lowercase(), host_name),
        time_zone: take("time_zone", &written.time_zone, time_zone),
        ssh_key: take("ssh_key", &written.ssh_key, ssh_key),
        person: take("person", &written.person.to_lowercase(), person),
        wifi: None,
    };
    let wifi = wifi(&written.wifi, &mut mistakes);
    (Wishes { wifi, ..wishes }, mistakes)
}

/// Which line, and what the parser says: never the line itself, which may be the one with the password.
fn not_understood(text: &str, error: &toml::de::Error) -> String {
    let line = error
        .span()
        .map_or(1, |span| text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1));
    let why = error.message().lines().next().unwrap_or_default();
    format!(
        "line {line} cannot be understood ({why}). A text stands between two \" and each key once. Nothing of the file was applied."
    )
}

fn host_name(name: &str) -> Result<(), &'static str> {
    let fits = name.len() <= 63
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    fits.then_some(())
        .ok_or("a name in the network has letters a to z, digits and hyphens, at most 63, as in \"shoebox\"")
}

fn time_zone(zone: &str) -> Result<(), &'static str> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+'))
    };
    (zone.len() <= 64 && zone.split('/').all(part))
        .then_some(())
        .ok_or("a time zone is as in \"Europe/Berlin\"")
}

fn ssh_key(key: &str) -> Result<(), &'static str> {
    let why =
        "a public key is one line that begins with ssh-ed25519, ssh-rsa or ecdsa-sha2-nistp256 and the like";
    if key.chars().any(char::is_control) {
        return Err(why);
    }
    let mut words = key.split(' ');
    let (Some(kind), Some(body)) = (words.next(), words.next()) else { return Err(why) };
    let known = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    // RFC 4253, 6.6: the key repeats its kind, with its length before it.
    let bytes = base64::engine::general_purpose::STANDARD.decode(body).map_err(|_| why)?;
    let length = u32::try_from(kind.len()).map_err(|_| why)?.to_be_bytes();
    let repeats = bytes.strip_prefix(&length).is_some_and(|rest| rest.starts_with(kind.as_bytes()));
    (known.contains(&kind) && repeats).then_some(()).ok_or(why)
}

/// Narrower than the daemon's own law, which has the last word.
fn person(name: &str) -> Result<(), &'static str> {
    let fits = name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    fits.then_some(())
        .ok_or("a person's short name has letters a to z, digits, hyphens, dots, at most 32, as in \"anna\"")
}

fn wifi(written: &WrittenWifi, mistakes: &mut Vec<Mistake>) -> Option<Wifi> {
    if written.network.is_empty() {
        if !written.password.is_empty() {
            mistakes.push(Mistake {
                key: "wifi.network",
                why: "there is a password, and no network that it is for".into(),
            });
        }
        return None;
    }
    let before = mistakes.len();
    let mut wrong = |key, why: &str| mistakes.push(Mistake { key, why: why.to_owned() });
    if written.network.len() > 32 || written.network.chars().any(char::is_control) {
        wrong(
            "wifi.network",
            "the name of a wireless network has at most 32 bytes, and no control characters",
        );
    }
    let country = written.country.trim().to_ascii_uppercase();
    if country.len() != 2 || !country.chars().all(|c| c.is_ascii_uppercase()) {
        wrong(
            "wifi.country",
            "two letters that say in which country the box is, as in \"DE\": the radio must keep to its rules",
        );
    }
    // IEEE 802.11i, H.4.1: a passphrase has 8 to 63 characters of ASCII that can be printed.
    let printable = written.password.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    let fits = written.password.is_empty() || (8..=63).contains(&written.password.len()) && printable;
    if !fits {
        wrong("wifi.password", "the password of a wireless network has 8 to 63 plain characters");
    }
    let password = Some(written.password.clone()).filter(|password| !password.is_empty());
    (mistakes.len() == before).then(|| Wifi { network: written.network.clone(), password, country })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g anna@laptop";

    fn keys(text: &str) -> Vec<&'static str> {
        read(text).1.into_iter().map(|mistake| mistake.key).collect()
    }

    #[test]
    fn what_is_left_empty_is_no_wish() {
        for text in ["", "\u{feff}", include_str!("../../../image-build/tree/boot/firmware/shoebox.toml")] {
            assert_eq!(read(text), (Wishes::default(), Vec::new()));
        }
    }

    #[test]
    fn all_that_can_be_wished() {
        let text = format!(
            "name = \"Photos\"\ntime_zone = \"Europe/Berlin\"\nssh_key = \"{KEY}\"\nperson = \"Anna\"\n\
             [wifi]\nnetwork = \"Home, sweet \\\"home\\\"\"\npassword = \"long enough\"\ncountry = \"de\"\n"
        );
        let (wishes, mistakes) = read(&text);
        assert_eq!(mistakes, []);
        assert_eq!(wishes.name.as_deref(), Some("photos"));
        assert_eq!(wishes.person.as_deref(), Some("anna"));
        assert_eq!(wishes.ssh_key.as_deref(), Some(KEY));
        assert_eq!(wishes.time_zone.as_deref(), Some("Europe/Berlin"));
        let wifi = wishes.wifi.unwrap();
        assert_eq!((wifi.network.as_str(), wifi.country.as_str()), ("Home, sweet \"home\"", "DE"));
        assert!(!format!("{wifi:?}").contains("enough"));
    }

    #[test]
    fn one_mistake_does_not_keep_the_rest_from_being_applied() {
        let (wishes, mistakes) = read(
            "name = \"no spaces here\"\nperson = \"anna\"\n[wifi]\nnetwork = \"x\"\npassword = \"short\"\ncountry = \"DE\"",
        );
        assert_eq!(mistakes.iter().map(|mistake| mistake.key).collect::<Vec<_>>(), ["name", "wifi.password"]);
        assert_eq!((wishes.person.as_deref(), wishes.name, wishes.wifi), (Some("anna"), None, None));
    }

    #[test]
    fn what_is_not_taken() {
        for (text, key) in [
            ("name = \"-a\"", "name"),
            ("name = \"a.b\"", "name"),
            ("time_zone = \"../../etc/shadow\"", "time_zone"),
            ("time_zone = \"/etc/passwd\"", "time_zone"),
            ("ssh_key = \"ssh-ed25519 AAAA\"", "ssh_key"),
            ("ssh_key = \"ssh-ed25519\"", "ssh_key"),
            ("ssh_key = \"command=\\\"x\\\" ssh-ed25519 AAAA\"", "ssh_key"),
            ("person = \"../anna\"", "person"),
            ("[wifi]\npassword = \"long enough\"", "wifi.network"),
            ("[wifi]\nnetwork = \"x\"\npassword = \"long enough\"", "wifi.country"),
            ("[wifi]\nnetwork = \"x\\ny\"\ncountry = \"DE\"", "wifi.network"),
            ("names = \"x\"", "shoebox.toml"),
            ("name = x", "shoebox.toml"),
        ] {
            assert_eq!(keys(text), [key], "{text}");
        }
    }

    #[test]
    fn a_key_of_two_lines_is_none() {
        assert_eq!(keys(&format!("ssh_key = \"\"\"{KEY}\n{KEY}\"\"\"")), ["ssh_key"]);
    }

    #[test]
    fn a_line_that_is_not_understood_is_told_by_its_number_alone() {
        let (_, mistakes) = read("name = \"a\"\n[wifi]\npassword = my secret words\n");
        assert!(mistakes[0].why.contains("line 3") && !mistakes[0].why.contains("secret"), "{mistakes:?}");
    }
}
