//! What must hold for any request path, `Range`, `If` and XML body. `crate::fuzzing` lists the targets.
use super::condition::{IfHeader, State};
use super::flavour::{self, Flavour};
use super::range::{Part, part};
use super::{lock, path, propfind, proppatch, xml};
use crate::face::http::hosts::Authority;
use crate::model::path::RelPath;
use crate::work::tree::PropertyChange;

/// Request paths and destinations: below the device's root or refused; and the path shown for a name leads to it.
pub fn request_path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(root) = RelPath::parse("anna/iphone") else { return };
    let Some(here) = Authority::parse("shoebox.local:8080") else { return };
    for read in [path::target(&root, text), path::destination(&root, (&here, &Flavour::plain()), text)] {
        let Ok(target) = read else { continue };
        assert!(target.path == root || target.path.below(&root).is_some(), "{target:?}");
        assert_eq!(target.is_root, target.path == root);
        // What a name may be is looked at by the target for names.
        assert_eq!(RelPath::parse(target.path.as_str()).as_ref(), Ok(&target.path));
        let shown = path::href(flavour::PLAIN, &root, &target.path, target.slash);
        assert!(shown.bytes().all(|b| b.is_ascii_graphic() && !b"<>&\"'".contains(&b)), "{shown}");
        let again = path::destination(&root, (&here, &Flavour::plain()), &shown).map(|again| again.path);
        assert_eq!(again.ok(), Some(target.path));
    }
}

/// `Range`: the size in the first eight bytes, then the header. A piece is inside, and not empty.
pub fn range(bytes: &[u8]) {
    let Some((size, text)) = bytes.split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let size = u64::from_le_bytes(*size);
    let Part::Piece(from, to) = part(Some(text), size) else { return };
    assert!(from < to && to <= size);
    assert_eq!(part(Some(&format!("bytes={from}-{}", to - 1)), size), Part::Piece(from, to));
    assert_eq!(text.matches('-').count(), 1, "one part only: {text}");
}

/// `If`: written back it reads the same; whoever shows tokens wrote them; all of them held and true, a list without "Not" holds.
pub fn condition(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(header) = IfHeader::parse(text) else { return };
    let written = header.write();
    let Ok(again) = IfHeader::parse(&written) else {
        assert_eq!(written, text, "cannot be read again");
        return;
    };
    assert_eq!(again, header);
    let tokens = header.tokens();
    for token in &tokens {
        assert!(text.contains(&format!("<{token}>")), "{token}");
    }
    let mut asked = 0;
    let held = header.holds(|tag| {
        asked += 1;
        assert!(tag.is_none_or(|tag| text.contains(&format!("<{tag}>"))));
        Ok(State { etag: None, tokens: tokens.clone() })
    });
    assert!(held.is_ok() && asked > 0);
    if !written.contains("Not") && !written.contains('[') {
        assert_eq!(held.ok(), Some(true), "{written}");
    }
}

/// XML bodies: what is read is written so that it reads the same, by itself; and so is what requests keep of it.
pub fn xml(bytes: &[u8]) {
    if let Ok(root) = xml::parse(bytes) {
        let written = reads_again(&root.write(None));
        assert_eq!(written, root.write(None));
        for inner in root.elements() {
            reads_again(&inner.write(Some("de")));
        }
    }
    if let Ok(wanted) = propfind::Wanted::read(bytes) {
        assert!(wanted.names().len() <= propfind::MOST_NAMES);
    }
    if let Ok(wish) = lock::Wish::read(bytes) {
        wish.owner.iter().for_each(|owner| drop(reads_again(owner)));
    }
    for step in proppatch::read(bytes).unwrap_or_default() {
        if let Some(PropertyChange::Set(property)) = step.change() {
            let kept = xml::parse(property.xml.as_bytes());
            let name = kept.map(|kept| (kept.name.namespace, kept.name.local)).ok();
            assert_eq!(name, Some((property.namespace, property.name)));
        }
    }
}

fn reads_again(text: &str) -> String {
    let read = xml::parse(text.as_bytes()).map(|element| element.write(None));
    assert_eq!(read.as_deref().ok(), Some(text));
    read.unwrap_or_default()
}
