//! `shoebox-error.txt`: what was not understood, for whoever puts the card into a computer. Pure.
use crate::wishes::Mistake;

/// The file's text, with the line ends that every computer's editor knows. `None`: there is nothing to say, and the file goes.
#[must_use]
pub fn text(mistakes: &[Mistake]) -> Option<String> {
    if mistakes.is_empty() {
        return None;
    }
    let mut text =
        String::from("This was not understood in shoebox.toml; everything else was applied.\r\n\r\n");
    for mistake in mistakes {
        text.push_str(&format!("{}: {}\r\n", mistake.key, mistake.why));
    }
    text.push_str("\r\nCorrect it there, and start the box again. This file goes by itself.\r\n");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_wrong_nothing_said() {
        assert_eq!(text(&[]), None);
        let said = text(&[Mistake { key: "name", why: "too long".into() }]).unwrap();
        assert!(said.contains("\r\nname: too long\r\n"));
    }
}
