//! What is suspect: an asset whose bytes are all here as they were sent, and were not all of it when they were sent.
use crate::model::media::{Media, MediaKind, Structure};

/// Why an asset is suspect, in words that fit "it is suspect: …"; `None`: nothing speaks against it. A suspect asset is kept like any other.
pub fn suspect(media: &Media) -> Option<&'static str> {
    let movie = media.kind == MediaKind::Movie;
    match media.structure {
        Structure::Unchecked | Structure::Whole => None,
        Structure::EndsEarly if movie => Some("the video ends before it should, as if it was sent in part"),
        Structure::EndsEarly => Some("the picture ends before it should, as if it was sent in part"),
        Structure::NoIndex if movie => {
            Some("the recording was cut off: the part without which no program plays it is not there")
        }
        Structure::NoIndex => Some("the part that says where the picture is, is not there"),
        Structure::Broken => Some("it begins like a photo and goes on as something else"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_not_whole_and_nothing_else() {
        for kind in MediaKind::ALL {
            for structure in Structure::ALL {
                let found = suspect(&Media { structure: *structure, ..Media::of(*kind) });
                let fine = matches!(structure, Structure::Unchecked | Structure::Whole);
                assert_eq!(found.is_none(), fine, "{kind} {structure}");
                let as_video = found.is_some_and(|why| why.contains("video") || why.contains("recording"));
                assert_eq!(
                    as_video,
                    *kind == MediaKind::Movie
                        && matches!(structure, Structure::EndsEarly | Structure::NoIndex)
                );
            }
        }
    }
}
