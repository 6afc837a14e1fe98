//! Previews as Nextcloud's apps ask for them: by a file's number, or by its name, with the pixels they want.
use std::borrow::Cow;
use std::sync::Arc;

use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;

use super::route::{Pictured, after};
use crate::face::http::reply::{Deny, Reply};
use crate::face::http::{Shared, previews, upload};
use crate::model::account::Device;
use crate::model::path::RelPath;
use crate::model::preview::Edge;
use crate::work::error::Refusal;
use crate::work::tree::{Node, Tree};

/// Which file, and how large.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    file: Which,
    pixels: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Which {
    Number(i64),
    /// Below what the device sees.
    Name(String),
}

impl Asked {
    /// `None`: no file is named.
    fn read(pictured: Pictured<'_>, query: &str) -> Option<Self> {
        let value = |name: &str| -> Option<Cow<'_, str>> {
            form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
        };
        let side = |name| value(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let asked = u32::max(side("x"), side("y"));
        match pictured {
            Pictured::Query => {
                let number = value("fileId").and_then(|text| number(&text)).map(Which::Number);
                let name = || value("file").map(|text| Which::Name(text.into_owned()));
                Some(Self { file: number.or_else(name)?, pixels: asked })
            }
            Pictured::Photo(id) => Some(Self { file: Which::Number(number(id)?), pixels: asked }),
            Pictured::Sized(rest) => {
                let mut parts = rest.splitn(3, '/');
                let mut side = || parts.next()?.parse::<u32>().ok();
                let pixels = side()?.max(side()?);
                let name = percent_decode_str(parts.next()?).decode_utf8().ok()?.into_owned();
                Some(Self { file: Which::Name(name), pixels })
            }
        }
    }
}

/// A file's number, of which some of the apps send the long form: digits, `oc`, and whose they are.
fn number(text: &str) -> Option<i64> {
    let digits = text.split("oc").next().unwrap_or_default();
    digits.parse().ok().filter(|number| *number > 0)
}

/// Answers a device that signed in. Nothing is cut to a square: the apps ask for the photo's shape, or cut for themselves (docs/NEXTCLOUD.md).
pub(super) async fn answer(
    shared: &Arc<Shared>,
    device: Device,
    parts: &Parts,
    pictured: Pictured<'_>,
) -> Result<Reply, Deny> {
    const NONE: Deny = Deny::Refused(Refusal::NotFound);
    let asked = Asked::read(pictured, parts.uri.query().unwrap_or_default()).ok_or(NONE)?;
    let (face, headers) = (Arc::clone(&shared.face), parts.headers.clone());
    upload::blocking(&shared.face.pool, move || {
        let node = find(&face.tree, &device, &asked.file)?.ok_or(NONE)?;
        previews::reply(&face.previews, &node, Edge::for_asked(asked.pixels), &headers)
    })
    .await
}

/// Only what the device sees of the tree.
fn find(tree: &Tree, device: &Device, which: &Which) -> Result<Option<Node>, Refusal> {
    let root = device.root();
    let node = match which {
        Which::Number(number) => tree.find_by_id(*number)?,
        Which::Name(name) => match RelPath::parse(&format!("{root}/{}", name.trim_matches('/'))) {
            Ok(path) => tree.find(&path)?,
            Err(_) => None,
        },
    };
    Ok(node.filter(|node| after(&node.path.fold_key(), &root.fold_key()).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_apps_ask_for() {
        let number = |number, pixels| Some(Asked { file: Which::Number(number), pixels });
        let name = |name: &str, pixels| Some(Asked { file: Which::Name(name.to_owned()), pixels });
        for (pictured, query, expected) in [
            (Pictured::Query, "fileId=42&x=256&y=512&a=1&mode=cover", number(42, 512)),
            (Pictured::Query, "fileId=00000042ocabcdef012345&x=64&y=64", number(42, 64)),
            (Pictured::Query, "file=%2Fa%2Fb%20c.jpg&x=9&y=8", name("/a/b c.jpg", 9)),
            (Pictured::Query, "fileId=&file=a.jpg", name("a.jpg", 0)),
            (Pictured::Query, "fileId=-1&x=1", None),
            (Pictured::Query, "fileId=0", None),
            (Pictured::Query, "x=-1&y=a", None),
            (Pictured::Query, "", None),
            (Pictured::Photo("42"), "x=99999999999&y=5", number(42, 5)),
            (Pictured::Photo("x"), "", None),
            (Pictured::Sized("10/20/a/b%20c.jpg"), "", name("a/b c.jpg", 20)),
            (Pictured::Sized("10/20"), "", None),
            (Pictured::Sized("10/x/a.jpg"), "", None),
            (Pictured::Sized("1/2/%ff"), "", None),
        ] {
            assert_eq!(Asked::read(pictured, query), expected, "{pictured:?} {query}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            for pictured in [Pictured::Query, Pictured::Photo(&text), Pictured::Sized(&text)] {
                let _read = Asked::read(pictured, &text);
            }
        }
    }
}
