//! Whether a marker belongs to the filesystem it lies on, or came there with a copy of all files (promise P3).
use crate::model::drive::{Id, Marker, VolumeId};

/// What can be told of a filesystem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Its UUID of 128 bits.
    pub uuid: Option<Id>,
    /// What it is known by where it has none of these.
    pub volume: Option<VolumeId>,
    /// It is of a kind that never has a UUID of 128 bits: exFAT, FAT, NTFS, whatever a program shows as a filesystem.
    pub has_no_uuid: bool,
}

/// Whether the marker was written to another filesystem. What cannot be told says nothing: an older kernel tells no UUID (before 6.9),
/// and where nobody has looked at a drive with exFAT nobody knows its number.
pub fn is_elsewheres(marker: &Marker, told: &Told) -> bool {
    let uuid = match (marker.filesystem, told.uuid) {
        (Some(written), Some(found)) => written != found,
        // One that names a UUID was never written to a filesystem that cannot have one.
        (Some(_), None) => told.has_no_uuid,
        (None, _) => false,
    };
    let volume = match (&marker.volume, &told.volume) {
        (Some(written), Some(found)) => written != found,
        (Some(_), None) => told.uuid.is_some(),
        (None, _) => false,
    };
    uuid || volume
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::account::TokenKey;
    use crate::model::drive::DriveRole;

    #[test]
    fn a_marker_that_came_with_a_copy_is_known() {
        let (one, other) = (Id::from_random([1; 16]), Id::from_random([2; 16]));
        let volume = |text: &str| text.parse::<VolumeId>().unwrap();
        let check = |written: (Option<Id>, Option<&str>), told: Told, expect: bool| {
            let marker = Marker {
                format: 1,
                pool: one,
                drive: one,
                role: DriveRole::Offline,
                generation: 1,
                adopted: jiff::Timestamp::UNIX_EPOCH,
                filesystem: written.0,
                volume: written.1.map(volume),
                token_key: TokenKey::from_random([0; 32]),
            };
            assert_eq!(is_elsewheres(&marker, &told), expect, "{written:?} on {told:?}");
        };
        let ext4 = |id| Told { uuid: Some(id), ..Told::default() };
        let exfat = |text: &str| Told {
            volume: (!text.is_empty()).then(|| volume(text)),
            has_no_uuid: true,
            ..Told::default()
        };
        check((Some(one), None), ext4(one), false);
        check((Some(one), None), ext4(other), true);
        check((Some(one), None), Told::default(), false); // an older kernel
        check((Some(one), None), exfat(""), true); // all of an ext4 drive, on a stick
        check((Some(one), None), exfat("1A2B-3C4D"), true);
        check((None, Some("1A2B-3C4D")), exfat("1a2b-3c4d"), false);
        check((None, Some("1A2B-3C4D")), exfat("1A2B-3C4E"), true);
        check((None, Some("1A2B-3C4D")), exfat(""), false);
        check((None, Some("1A2B-3C4D")), ext4(one), true);
        check((None, None), exfat("1A2B-3C4D"), false); // adopted where nobody knew it
        check((None, None), ext4(one), false);
    }
}
