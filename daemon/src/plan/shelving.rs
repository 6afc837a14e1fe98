//! Which tree a file belongs in: `photos/`, or scratch for litter, temporary names and empty placeholders.
use crate::model::place::Shelf;

/// Endings of names that upload protocols give a file before its MOVE (research/clients.md §4.3: rclone, FolderSync,
/// curl, browsers, office programs).
const TEMPORARY_ENDINGS: [&str; 8] =
    [".part", ".tacitpart", ".partial", ".filepart", ".tmp", ".temp", ".pending", ".crdownload"];
const TEMPORARY_STARTS: [&str; 3] = [".syncthing.", ".~", "~$"];
/// What macOS and Windows leave in every folder they touch, and FUSE in place of a file that was removed while open.
const LITTER: [&str; 7] =
    [".ds_store", "thumbs.db", "desktop.ini", ".localized", ".metadata_never_index", "ehthumbs.db", "icon\r"];
const LITTER_STARTS: [&str; 6] =
    ["._", ".spotlight-", ".trashes", ".fseventsd", ".temporaryitems", ".fuse_hidden"];

/// A name that a protocol gives a file which is not finished.
pub fn is_temporary(name: &str) -> bool {
    let name = name.to_lowercase();
    TEMPORARY_ENDINGS.iter().any(|end| name.ends_with(end) && name.len() > end.len())
        || TEMPORARY_STARTS.iter().any(|start| name.starts_with(start))
}

/// A name that an operating system leaves behind for itself.
pub fn is_litter(name: &str) -> bool {
    let name = name.to_lowercase();
    LITTER.contains(&name.as_str()) || LITTER_STARTS.iter().any(|start| name.starts_with(start))
}

/// The tree for a file of `size` bytes under the last component `name`.
pub fn shelf(name: &str, size: u64) -> Shelf {
    if size == 0 || is_temporary(name) || is_litter(name) { Shelf::Scratch } else { Shelf::Photos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_kept_and_litter_is_not() {
        for kept in
            ["IMG_1.HEIC", "a", ".part", "temp", "party.jpg", ".hidden.jpg", "x.part.jpg", "Thumbs.dbx"]
        {
            assert_eq!(shelf(kept, 1), Shelf::Photos, "{kept}");
        }
        for held in [
            "IMG_1.HEIC.part",
            "a.TacitPart",
            "._IMG_1.HEIC",
            ".DS_Store",
            "Thumbs.db",
            ".~lock",
            "~$doc.docx",
            "b.crdownload",
            ".Spotlight-V100",
            ".fuse_hidden0000005700000004",
            "x.tmp",
        ] {
            assert_eq!(shelf(held, 1), Shelf::Scratch, "{held}");
        }
        assert_eq!(shelf("IMG_1.HEIC", 0), Shelf::Scratch);
    }
}
