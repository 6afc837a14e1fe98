//! Names for files whose client sends one without a folder: made safe.
use crate::model::naming::split;
use crate::model::path::RelPath;

/// What a file is called whose name says nothing.
const NAMELESS: &str = "photo";
/// A name keeps room for a number, and for the spelling of characters that FAT and NTFS do not take.
const LONGEST: usize = 200;

/// The file's name as sent, without folders before it and with what no name can have left out.
pub fn file_name(sent: &str) -> String {
    let last = sent.rsplit(['/', '\\']).next().unwrap_or(sent);
    let plain: String = last.chars().filter(|c| !c.is_control()).collect();
    let plain = plain.trim();
    let fits = |name: &str| RelPath::parse(name).ok().filter(|path| path.on_disk().len() <= LONGEST);
    if let Some(path) = fits(plain) {
        return path.into();
    }
    let (stem, ending) = split(plain);
    let ending = if (2..=12).contains(&ending.chars().count()) { ending } else { "" };
    // Longest first: what is cut off is what need be.
    let ends = stem.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
    let shorter =
        ends.filter(|end| *end <= LONGEST).find_map(|end| fits(&format!("{}{ending}", &stem[..end])));
    // What is no name at all does not become one by losing its end.
    let is_long = plain.len() > LONGEST || RelPath::parse(plain).is_ok();
    let shorter = shorter.filter(|_| is_long);
    shorter.or_else(|| fits(&format!("{NAMELESS}{ending}"))).map_or_else(|| NAMELESS.to_owned(), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::naming::beside;
    use crate::plan::shelving;
    use proptest::prelude::*;

    #[test]
    fn names() {
        for (sent, name) in [
            ("IMG_1.HEIC", "IMG_1.HEIC"),
            ("ünïcode ☃.heic", "ünïcode ☃.heic"),
            ("../../etc/passwd", "passwd"),
            ("C:\\photos\\a.jpg", "a.jpg"),
            ("a\u{0}b\n.jpg", "ab.jpg"),
            ("..", "photo"),
            ("", "photo"),
            (".shoebox", "photo"),
            ("a/", "photo"),
            ("12:30?.jpg", "12:30?.jpg"),
        ] {
            assert_eq!(file_name(sent), name, "{sent:?}");
        }
        let long = file_name(&format!("{}.jpg", "ä".repeat(300)));
        assert!(long.ends_with("ä.jpg") && long.len() <= LONGEST, "{long}");
    }

    proptest! {
        #[test]
        fn every_name_is_one(sent in "\\PC{0,300}|.{0,60}|[a.:*/\\\\ ]{0,20}", n in 2u32..100_000) {
            let name = file_name(&sent);
            let path = RelPath::parse(&name).unwrap();
            prop_assert_eq!(path.components().count(), 1);
            let next = beside(&name, n);
            prop_assert!(RelPath::parse(&next).is_ok(), "{next}");
            prop_assert_ne!(&next, &name);
            // A number makes no litter of a photo.
            let kept = |name: &str| shelving::shelf(name, 1);
            prop_assert_eq!(kept(&next), kept(&name));
        }
    }
}
