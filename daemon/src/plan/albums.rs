//! Albums as folders of a person, and the folder of what is in none: its month.
//!
//! A person's folder also has the folders of phones, the months, and the favourites. An album of such a name gets a folder with a
//! mark behind it, so that its name comes back and nothing is mixed up.
use jiff::civil::Date;

use crate::model::path::{RelPath, fold_text};

/// The folder in which favourites appear once more.
pub const FAVORITES: &str = "favorites";
/// Behind the name of an album whose folder would be one that is no album.
const MARK: &str = " (album)";
/// In a folder's name for `/`, which no folder's name can have.
const SLASH: char = '\u{2215}';

/// The folder of what is in no album.
pub fn month(taken: Date) -> String {
    format!("{:04}-{:02}", taken.year(), taken.month())
}

/// Whether a folder's name is that of a month.
fn is_month(folder: &str) -> bool {
    let bytes = folder.as_bytes();
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    bytes.len() == 7
        && digits(&bytes[..4])
        && bytes[4] == b'-'
        && matches!(&bytes[5..], b"10" | b"11" | b"12" | [b'0', b'1'..=b'9'])
}

/// Whether a person's folder of this name is the box's own, so that no device may be called so: it would be its folder, too.
pub fn is_reserved(folder: &str) -> bool {
    let folded = fold_text(folder);
    // The other spelling would be taken for it, by people.
    folded == FAVORITES || folded == "favourites" || is_month(&folded)
}

/// Whether a folder of a person is something else than an album. `is_device`: whether a device has that name.
fn is_taken(folder: &str, is_device: &impl Fn(&str) -> bool) -> bool {
    let folded = fold_text(folder);
    folded == FAVORITES || is_month(&folded) || is_device(&folded)
}

/// The folder of an album. `None`: no folder can be named so.
pub fn folder_of(album: &str, is_device: impl Fn(&str) -> bool) -> Option<String> {
    let folder: String = album.trim().chars().map(|c| if c == '/' { SLASH } else { c }).collect();
    let is_taken = is_taken(&folder, &is_device) || folder.ends_with(MARK);
    let folder = if is_taken { folder + MARK } else { folder };
    RelPath::parse(&folder).ok().map(String::from)
}

/// The album whose folder this is. `None`: it is none's.
pub fn album_of(folder: &str, is_device: impl Fn(&str) -> bool) -> Option<String> {
    if is_taken(folder, &is_device) {
        return None;
    }
    let album = match folder.strip_suffix(MARK) {
        Some(marked) if is_taken(marked, &is_device) || marked.ends_with(MARK) => marked,
        Some(_) | None => folder,
    };
    Some(album.replace(SLASH, "/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn names_that_no_device_may_have() {
        for name in ["favorites", "Favourites", "2026-11"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["favorite", "phone", "2026-13", "2026"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
    use proptest::prelude::*;

    fn is_phone(folder: &str) -> bool {
        folder == "annas-iphone"
    }

    #[test]
    fn albums_and_their_folders() {
        for (album, folder) in [
            ("Holiday", Some("Holiday")),
            ("  Holiday ", Some("Holiday")),
            ("Rome / Day 1", Some("Rome ∕ Day 1")),
            ("2026-11", Some("2026-11 (album)")),
            ("2026-13", Some("2026-13")),
            ("Favorites", Some("Favorites (album)")),
            ("Annas-iPhone", Some("Annas-iPhone (album)")),
            ("2026-11 (album)", Some("2026-11 (album) (album)")),
            ("..", None),
            ("", None),
            (".shoebox", None),
        ] {
            assert_eq!(folder_of(album, is_phone).as_deref(), folder, "{album:?}");
            if let Some(folder) = folder {
                assert_eq!(album_of(folder, is_phone).as_deref(), Some(album.trim()), "{folder:?}");
            }
        }
        for none in ["2026-11", "favorites", "annas-iphone"] {
            assert_eq!(album_of(none, is_phone), None, "{none}");
        }
        assert_eq!(album_of("Trip (album)", is_phone).as_deref(), Some("Trip (album)"));
    }

    #[test]
    fn months() {
        assert_eq!(month(date(2026, 11, 30)), "2026-11");
        assert_eq!(month(date(812, 1, 1)), "0812-01");
        assert!(is_month("1999-12") && !is_month("1999-00") && !is_month("1999-1") && !is_month("ab99-01"));
    }

    proptest! {
        /// Two albums never share a folder, and no album's folder is one that is something else.
        #[test]
        fn an_albums_name_comes_back(album in "[a-c/ ()A-C]{0,8}( \\(album\\)){0,2}|20[0-9]{2}-[0-9]{2}|\\PC{0,20}") {
            if let Some(folder) = folder_of(&album, is_phone) {
                prop_assert!(!is_taken(&folder, &is_phone));
                prop_assert!(!folder.contains('/'));
                let album = RelPath::parse(&album.trim().replace('/', "\u{2215}")).unwrap();
                prop_assert_eq!(album_of(&folder, is_phone), Some(album.as_str().replace('\u{2215}', "/")));
            }
        }
    }
}
