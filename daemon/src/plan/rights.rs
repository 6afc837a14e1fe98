//! Rights: what a device may take away from its tree. Adding is never decided here: every device may add.
use crate::model::account::DeviceKind;
use crate::model::path::RelPath;
use crate::model::place::Shelf;
use crate::plan::shelving::is_temporary;

/// What is about to lose its name, by DELETE, by MOVE, or by something taking its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Losing {
    /// A file.
    File {
        /// Its length, bytes.
        size: u64,
        /// Which tree it lies in.
        shelf: Shelf,
    },
    /// A folder with all below it.
    Folder,
}

/// Whether a device of this kind may take the name `path` away from what has it (DELETE, the source of a MOVE).
///
/// A phone only ever adds: what it has delivered stays, whatever it, or whoever holds it, asks for later. It
/// may clear away what the upload protocol itself left behind: temporary names, and the empty placeholders that
/// LOCK or an empty PUT make.
pub fn may_take_away(kind: DeviceKind, path: &RelPath, what: Losing) -> bool {
    match (kind, what) {
        (DeviceKind::Computer, Losing::File { .. } | Losing::Folder) => true,
        (DeviceKind::Phone, Losing::Folder) => false,
        (DeviceKind::Phone, Losing::File { size, shelf }) => {
            size == 0 || shelf == Shelf::Scratch || is_temporary(path.name())
        }
    }
}

/// Whether a device of this kind may put a file or folder in place of `what` (the target of MOVE or COPY).
/// For a file that is no more than an upload to the same name does: the old content goes to the trash.
pub fn may_replace(kind: DeviceKind, what: Losing) -> bool {
    match (kind, what) {
        (DeviceKind::Computer, Losing::File { .. } | Losing::Folder)
        | (DeviceKind::Phone, Losing::File { .. }) => true,
        (DeviceKind::Phone, Losing::Folder) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_take_what_away() {
        use DeviceKind::{Computer, Phone};
        let photo = Losing::File { size: 4_000_000, shelf: Shelf::Photos };
        let empty = Losing::File { size: 0, shelf: Shelf::Photos };
        let scratch = Losing::File { size: 120, shelf: Shelf::Scratch };
        for (kind, path, what, expected) in [
            (Phone, "anna/iphone/IMG_1.HEIC", photo, false),
            (Phone, "anna/iphone/IMG_1.HEIC.part", photo, true),
            (Phone, "anna/iphone/IMG_1.HEIC.TacitPart", photo, true),
            (Phone, "anna/iphone/x.partial", photo, true),
            (Phone, "anna/iphone/x.filepart", photo, true),
            (Phone, "anna/iphone/x.tmp", photo, true),
            (Phone, "anna/iphone/x.temp", photo, true),
            (Phone, "anna/iphone/x.pending", photo, true),
            (Phone, "anna/iphone/x.crdownload", photo, true),
            // The ending alone is a name like any other, and a temporary folder is still a folder.
            (Phone, "anna/iphone/.part", photo, false),
            (Phone, "anna/iphone/x.part/IMG_1.HEIC", photo, false),
            (Phone, "anna/iphone/x.part", Losing::Folder, false),
            (Phone, "anna/iphone/party", photo, false),
            (Phone, "anna/iphone/locked.jpg", empty, true),
            (Phone, "anna/iphone/._IMG_1.HEIC", scratch, true),
            (Computer, "anna/IMG_1.HEIC", photo, true),
            (Computer, "anna/2026", Losing::Folder, true),
        ] {
            let path = RelPath::parse(path).unwrap();
            assert_eq!(may_take_away(kind, &path, what), expected, "{kind:?} {path} {what:?}");
        }
    }

    #[test]
    fn a_phone_never_replaces_a_folder() {
        let photo = Losing::File { size: 9, shelf: Shelf::Photos };
        assert!(may_replace(DeviceKind::Phone, photo));
        assert!(!may_replace(DeviceKind::Phone, Losing::Folder));
        assert!(may_replace(DeviceKind::Computer, photo));
        assert!(may_replace(DeviceKind::Computer, Losing::Folder));
    }
}
