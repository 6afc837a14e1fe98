//! Takes the password out of `shoebox.toml` where it lies: same length, same place on the card. Pure.
//!
//! A new file in the old one's place would leave the old bytes in a part of the card that is free, for anybody to read; and FAT knows no
//! renaming that survives a power cut. One block that is written once is either the old or the new.
use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
struct Whole {
    wifi: Option<Part>,
}

#[derive(Deserialize)]
struct Part {
    password: Option<Spanned<String>>,
}

/// The same text with an empty password, and spaces to its old length. `None`: there is none, or it cannot be found.
#[must_use]
pub fn without(text: &str) -> Option<String> {
    let mark = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
    let password = toml::from_str::<Whole>(&text[mark..]).ok()?.wifi?.password?;
    let span = password.span();
    if password.get_ref().is_empty() {
        return None;
    }
    let (start, end) = (span.start + mark, span.end + mark);
    let mut blank = text.get(..start)?.to_owned();
    blank.push_str("\"\"");
    // A password in three quotes may go over lines; their number stays.
    blank.extend(text.get(start..end)?.bytes().skip(2).map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
    blank.push_str(text.get(end..)?);
    (blank.len() == text.len()).then_some(blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_goes() {
        let text = "# ours\nname = \"x\" # password = \"y\"\n[wifi]\nnetwork = \"password\"\npassword = \"long enough\" # why\ncountry=\"DE\"\n";
        let blank = without(text).unwrap();
        assert_eq!(
            blank,
            "# ours\nname = \"x\" # password = \"y\"\n[wifi]\nnetwork = \"password\"\npassword = \"\"            # why\ncountry=\"DE\"\n"
        );
        assert_eq!(without(&blank), None);
    }

    #[test]
    fn however_it_is_written() {
        for text in [
            "wifi = { password = 'long enough', network = \"x\" }",
            "wifi.password = \"long \\\" enough\"",
            "[wifi]\npassword = \"\"\"\nlong\nenough\"\"\"\ncountry = \"DE\"",
            "\u{feff}[wifi]\r\npassword = \"lang geheim\u{e4}\"\r\n",
        ] {
            let blank = without(text).unwrap();
            assert_eq!(blank.len(), text.len(), "{text}");
            assert!(!blank.contains("long") && !blank.contains("geheim"), "{blank}");
            assert_eq!(without(&blank), None, "{blank}");
        }
    }

    #[test]
    fn where_there_is_none() {
        for text in [
            "",
            "[wifi]\nnetwork = \"x\"",
            "[wifi]\npassword = \"\"",
            "password = [",
            "password = \"not wifi\"",
        ] {
            assert_eq!(without(text), None, "{text}");
        }
    }
}
