//! Live Photos come as one archive: kept as the pair that is in it, and known by the archive's SHA-1 from then on.
use std::io;

use super::Cx;
use super::name::Told;
use crate::face::http::reply::Deny;
use crate::model::hash::{ContentHash, hex};
use crate::model::offer::Offer;
use crate::model::path::RelPath;
use crate::work::error::Refusal;
use crate::work::ingest::{Ack, Received};
use crate::work::tree::{Node, NodeKind};
use crate::work::unpacking::{self, Packed};

/// What an archive of the app's is called.
const ARCHIVE: &str = "zip";

/// Why a half was not taken out: the archive is none, or an upload is refused.
enum Failed {
    Archive(io::Error),
    Refused(Refusal),
}

impl From<io::Error> for Failed {
    fn from(e: io::Error) -> Self {
        Self::Archive(e)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Whether this is one.
pub(super) fn is_archive(told: &Told) -> bool {
    told.ending == ARCHIVE
}

/// The name it waits under, which is never shown and never mirrored: its content is brought to safety as what it is.
pub(super) fn waiting(path: &RelPath) -> Result<RelPath, Deny> {
    RelPath::parse(&format!("{path}.part")).map_err(|_| Deny::Bad("this date gives no name"))
}

fn keys(cx: &Cx) -> [String; 2] {
    ["picture", "video"].map(|half| format!("lomorage {half} {}", hex(&cx.sha1)))
}

/// What this archive was kept as. Forgotten with a catalogue that is lost, which costs one upload of what is here.
fn remember(cx: &Cx, halves: [ContentHash; 2]) {
    for (key, hash) in keys(cx).iter().zip(halves) {
        cx.shared.face.library.remember_key(&cx.device, key, hash);
    }
}

/// Whether both halves of this archive are here. Blocking.
pub(super) fn is_here(cx: &Cx) -> Result<bool, Refusal> {
    let keys = keys(cx);
    Ok(cx.shared.face.library.known_keys(&cx.device, &keys)?.len() == keys.len())
}

/// Both halves get their names and are durable, or the archive is kept as it is where it is no such pair. Blocking.
pub(super) fn settle(cx: &Cx, told: &Told, waiting: &Node) -> Result<(), Deny> {
    let tree = &cx.shared.face.tree;
    let size = match waiting.kind {
        NodeKind::File { size, .. } => size,
        NodeKind::Folder => 0,
    };
    match halves(cx, told, waiting, size) {
        Ok(Some(hashes)) => {
            remember(cx, hashes);
            // It did its service. If this fails, the sweep takes it.
            if let Err(refusal) = tree.trash(&cx.device, &waiting.path) {
                log::info!("an archive is left to the sweep: {refusal}");
            }
            Ok(())
        }
        kept @ (Ok(None) | Err(Failed::Archive(_))) => {
            if let Err(Failed::Archive(e)) = kept {
                log::info!("an archive is kept as it came: {e}");
            }
            let whole = cx.offer(told, None)?.path;
            tree.rename(&cx.device, &waiting.path, &whole, true)?;
            // What lay in scratch is known by our own hash alone.
            if let NodeKind::File { hash, .. } = waiting.kind {
                remember(cx, [hash; 2]);
            }
            Ok(())
        }
        Err(Failed::Refused(refusal)) => Err(refusal.into()),
    }
}

fn halves(cx: &Cx, told: &Told, waiting: &Node, size: u64) -> Result<Option<[ContentHash; 2]>, Failed> {
    let mut file = cx.shared.face.tree.open(waiting)?;
    let Some(pair) = unpacking::pair(&mut *file, size)? else { return Ok(None) };
    let mut take = |packed: &Packed| -> Result<Received, Failed> {
        let told = Told { ending: packed.ending.clone(), ..told.clone() };
        let offer = cx.offer(&told, Some(packed.size)).map_err(|_| Refusal::NotFound)?;
        // Of the halves nobody announced a hash: the archive has its own sums.
        let mut incoming = cx.shared.face.ingest.begin(Offer { declared: Vec::new(), ..offer })?;
        unpacking::unpack(&mut *file, packed, &mut |bytes| incoming.write(bytes).map_err(Failed::Refused))?;
        Ok(incoming.finish()?)
    };
    // Both are here before either gets a name.
    let (picture, video) = (take(&pair.picture)?, take(&pair.video)?);
    let hashes = [picture.digests().content, video.digests().content];
    let _acknowledged: [Ack; 2] = [picture.settle()?, video.settle()?];
    Ok(Some(hashes))
}
