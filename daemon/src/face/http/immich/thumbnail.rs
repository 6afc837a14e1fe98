//! Thumbnails of photos: a small one for grids, a large one for a screen.
use hyper::HeaderMap;

use crate::face::http::Face;
use crate::face::http::previews;
use crate::face::http::reply::{Deny, Reply};
use crate::model::account::Device;
use crate::model::preview::Edge;
use crate::model::uuid::Uuid;
use crate::work::error::Refusal;

/// Pixels of `AssetMediaSize` as Immich makes them; larger than its largest there are none here, and the photo itself is to be had.
fn pixels(query: &str) -> u32 {
    let size = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "size");
    match size.as_ref().map(|(_, size)| &**size) {
        None | Some("thumbnail") => 250,
        Some(_) => 1440,
    }
}

/// A JPEG of a photo of the person's.
pub(super) fn of(
    face: &Face,
    device: &Device,
    (id, query): (&str, Option<&str>),
    headers: &HeaderMap,
) -> Result<Reply, Deny> {
    let id: Uuid = id.parse().map_err(|_| Deny::Bad("id must be a UUID"))?;
    let asset = face.library.asset(&device.person, id)?.ok_or(Refusal::NotFound)?;
    let node = face.tree.find(&asset.path)?.ok_or(Refusal::NotFound)?;
    previews::reply(&face.previews, &node, Edge::for_asked(pixels(query.unwrap_or_default())), headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_names() {
        for (query, expected) in [
            ("", 250),
            ("size=thumbnail", 250),
            ("size=preview&edited=true", 1440),
            ("edited=true", 250),
            ("size=x", 1440),
        ] {
            assert_eq!(pixels(query), expected, "{query}");
        }
    }
}
