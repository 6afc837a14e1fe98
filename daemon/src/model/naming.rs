//! Names that need not be exactly what a client said: made safe, and made different where other bytes have them.
use unicode_normalization::UnicodeNormalization;

use crate::model::path::{RelPath, fold_text};

/// A component made safe has no more than this, as stored: room is left for [`beside`], and for the extension of its other half.
const MOST: usize = 200;
/// What is longer is no extension.
const LONGEST_EXTENSION: usize = 16;
/// Texts are cut to this before anything else is done with them.
const MOST_CHARS: usize = 512;

/// A text made one component of a [`RelPath`]: slashes and control characters become `_`, blanks around it go, what is too
/// long is cut before its extension. `None`: nothing is left that could be a name.
pub fn fitting(text: &str) -> Option<String> {
    let tidy = |c: char| if c.is_control() || matches!(c, '/' | '\\') { '_' } else { c };
    let text: String = text.trim().nfc().map(tidy).collect();
    let text = text.trim();
    if text.is_empty() || text.bytes().all(|b| b == b'.') {
        return None;
    }
    let (stem, extension) = split(text);
    let mut stem: String = stem.chars().take(MOST_CHARS).collect();
    loop {
        // What is cut may end with a blank that stood within.
        let name = format!("{stem}{extension}");
        let name = name.trim_end();
        match RelPath::parse(name) {
            Ok(path) if path.on_disk().len() <= MOST => return Some(path.as_str().to_owned()),
            // Short and no name all the same: it is one of ours.
            Err(_) if name.len() <= MOST / 4 => {
                return RelPath::parse(&format!("_{name}")).ok().map(|p| p.as_str().to_owned());
            }
            Ok(_) | Err(_) => {}
        }
        stem.pop()?;
    }
}

/// The stem, and the extension with its dot; the extension is empty where there is none.
pub fn split(name: &str) -> (&str, &str) {
    let at = name.rfind('.').filter(|at| *at > 0).unwrap_or(name.len());
    let (stem, extension) = name.split_at(at);
    let is_extension = extension.len() <= LONGEST_EXTENSION
        && extension.bytes().skip(1).all(|b| b.is_ascii_alphanumeric())
        && extension.len() > 1;
    if is_extension { (stem, extension) } else { (name, "") }
}

/// The `number`th name beside this one, counted from 2: `IMG_1 (2).JPG`.
pub fn beside(name: &str, number: u32) -> String {
    let (stem, extension) = split(name);
    format!("{stem} ({number}){extension}")
}

/// The `number`th path to try, from 1 on: the path itself, then those [`beside`] it. `None`: that would be no path.
pub fn numbered(path: &RelPath, number: u32) -> Option<RelPath> {
    if number <= 1 { Some(path.clone()) } else { path.sibling(&beside(path.name(), number)).ok() }
}

/// The path itself or one beside it, whichever is free, as [`free_number`] finds it.
pub fn free_path<E>(
    path: &RelPath,
    mut is_taken: impl FnMut(&RelPath) -> Result<bool, E>,
) -> Result<Option<RelPath>, E> {
    if !is_taken(path)? {
        return Ok(Some(path.clone()));
    }
    // A path that cannot be is as good as taken.
    let number = free_number(|number| numbered(path, number).map_or(Ok(true), |path| is_taken(&path)))?;
    Ok(number.and_then(|number| numbered(path, number)))
}

/// Whether `other` is this name, or one [`beside`] it, blind to case as names are.
pub fn is_beside(name: &str, other: &str) -> bool {
    let (name, other) = (fold_text(name), fold_text(other));
    if name == other {
        return true;
    }
    let (stem, extension) = split(&name);
    let number = other
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_suffix(extension))
        .and_then(|rest| rest.strip_prefix(" (")?.strip_suffix(')'));
    number.is_some_and(|digits| {
        !digits.starts_with('0') && digits.parse::<u32>().is_ok_and(|n| n >= 2 && n.to_string() == digits)
    })
}

/// The number of a free name beside one, found in few looks: `is_taken` says which are. `None`: so many are taken that something
/// is wrong.
pub fn free_number<E>(mut is_taken: impl FnMut(u32) -> Result<bool, E>) -> Result<Option<u32>, E> {
    const MOST_NUMBERS: u32 = 1 << 20;
    let (mut taken, mut free) = (1, 2);
    while is_taken(free)? {
        if free >= MOST_NUMBERS {
            return Ok(None);
        }
        (taken, free) = (free, free * 2);
    }
    // What is between may have holes: whichever free number is found is free.
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_taken(middle)? { taken = middle } else { free = middle }
    }
    Ok(Some(free))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    #[test]
    fn made_safe() {
        for (text, expected) in [
            ("IMG_1.HEIC", Some("IMG_1.HEIC")),
            (" IMG 1.HEIC\n", Some("IMG 1.HEIC")),
            ("a/b\\c.jpg", Some("a_b_c.jpg")),
            ("a\0b\u{7}.jpg", Some("a_b_.jpg")),
            ("a:b?.jpg", Some("a:b?.jpg")),
            ("Zoe\u{308}.jpg", Some("Zoë.jpg")),
            (".shoebox", Some("_.shoebox")),
            ("..\\x", Some(".._x")),
            ("", None),
            (" \t", None),
            (".", None),
            ("..", None),
        ] {
            assert_eq!(fitting(text).as_deref(), expected, "{text:?}");
        }
        let long = fitting(&format!("{}.jpeg", "ü".repeat(5000))).unwrap();
        assert!(long.ends_with("ü.jpeg") && long.len() <= MOST && long.len() > MOST - 4, "{}", long.len());
    }

    #[test]
    fn names_beside() {
        assert_eq!(beside("IMG_1.JPG", 2), "IMG_1 (2).JPG");
        assert_eq!(beside("notes", 3), "notes (3)");
        assert_eq!(beside(".hidden", 2), ".hidden (2)");
        assert_eq!(beside("3. of May", 2), "3. of May (2)");
        assert_eq!(beside("a.tar.gz", 3), "a.tar (3).gz");
        for (other, expected) in [
            ("IMG_1.JPG", true),
            ("img_1.jpg", true),
            ("IMG_1 (2).JPG", true),
            ("IMG_1 (17).jpg", true),
            ("IMG_1 (1).JPG", false),
            ("IMG_1 (02).JPG", false),
            ("IMG_1 (x).JPG", false),
            ("IMG_1 ().JPG", false),
            ("IMG_1 (99999999999).JPG", false),
            ("IMG_1 (2).PNG", false),
            ("IMG_12.JPG", false),
            (".JPG", false),
        ] {
            assert_eq!(is_beside("IMG_1.JPG", other), expected, "{other}");
        }
    }

    #[test]
    fn what_is_cut_at_a_blank_stays_as_it_is() {
        for blanks in 0..8 {
            let text = format!("{}{}b", "a".repeat(MOST - 4), "\u{2002}".repeat(blanks));
            let name = fitting(&text).unwrap();
            assert_eq!(fitting(&name).as_deref(), Some(name.as_str()));
        }
    }

    proptest! {
        #[test]
        fn what_was_made_safe_is_a_name_and_stays_as_it_is(text in "\\PC{0,300}|[a-zA-Z./\\\\ :\\x00-\\x20]{0,40}") {
            if let Some(name) = fitting(&text) {
                let path = RelPath::parse(&name).unwrap();
                prop_assert_eq!(path.components().count(), 1);
                let again = fitting(&name);
                prop_assert_eq!(again.as_deref(), Some(name.as_str()));
                for number in [2, 4_000_000] {
                    let other = beside(&name, number);
                    let other_path = RelPath::parse(&other).unwrap();
                    prop_assert_eq!(other_path.as_str(), &other);
                    prop_assert!(is_beside(&name, &other));
                    prop_assert_ne!(fold_text(&name), fold_text(&other));
                }
            }
        }

        #[test]
        fn a_free_number_is_free_and_found_soon(taken in proptest::collection::btree_set(2u32..400, 0..400)) {
            let mut looks = 0;
            let found = free_number(|n| { looks += 1; Ok::<_, Infallible>(taken.contains(&n)) }).unwrap().unwrap();
            prop_assert!(found >= 2 && !taken.contains(&found));
            prop_assert!(looks <= 20, "{} looks", looks);
            let full: BTreeSet<u32> = (2..2 + u32::try_from(taken.len()).unwrap()).collect();
            let next = free_number(|n| Ok::<_, Infallible>(full.contains(&n))).unwrap();
            prop_assert_eq!(next, Some(2 + u32::try_from(taken.len()).unwrap()));
        }
    }

    #[test]
    fn a_free_path_is_the_path_itself_or_lies_beside_it() {
        let free = |path: &str, taken: &[&str]| {
            let path = RelPath::parse(path).unwrap();
            let found = free_path(&path, |path| Ok::<_, Infallible>(taken.contains(&path.as_str())));
            found.unwrap().map(String::from)
        };
        assert_eq!(free("a/b.jpg", &[]).as_deref(), Some("a/b.jpg"));
        assert_eq!(free("a/b.jpg", &["a/b.jpg"]).as_deref(), Some("a/b (2).jpg"));
        assert_eq!(free("a/b.jpg", &["a/b.jpg", "a/b (2).jpg"]).as_deref(), Some("a/b (3).jpg"));
        assert_eq!(free("b.jpg", &["b.jpg"]).as_deref(), Some("b (2).jpg"));
        let long = "x".repeat(255);
        assert_eq!(free(&long, &[&long]), None, "nothing fits beside it");
    }

    #[test]
    fn where_all_are_taken_none_is_found() {
        assert_eq!(free_number(|_| Ok::<_, Infallible>(true)).unwrap(), None);
        assert_eq!(free_number(|_| Err("a drive")), Err("a drive"));
    }
}
