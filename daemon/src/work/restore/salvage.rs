//! Salvage: of a file that no drive has a good copy of, every block that can be read on some drive, as a file of its own, with a
//! list of what is missing beside it. Never under the file's own name.
use std::io;

use super::copying::{Name, No, fatal_or};
use super::{Run, Salvaged};
use crate::model::hash::{Also, ContentHash, Hasher};
use crate::model::path::RelPath;
use crate::plan::restoring::{self, Item};
use crate::plan::salvaging::{self, BLOCK, Block};
use crate::store::folder::{Reading, Unnamed};

/// Bytes read at once while all goes well.
const PIECE: usize = 256 * BLOCK;
/// Bytes that are hashed at most to find out which of differing blocks are right.
const TRIED: u64 = 64 << 30;

/// What putting a file together showed.
#[derive(Default)]
struct Together {
    /// Byte ranges that no drive has.
    lost: Vec<(u64, u64)>,
    /// Blocks in which drives differ, and how many different ones there are.
    differing: Vec<(u64, usize)>,
}

impl<'r> Run<'r> {
    /// Salvages an item whose every copy is bad, as `bad` says.
    pub(super) fn salvage(&mut self, item: &Item, bad: &str) -> Result<(), No> {
        let mut copies: Vec<Reading> = item
            .sources
            .iter()
            .filter_map(|source| self.shelves[source.drive].folder.read(source.place.as_str()).ok())
            .collect();
        if copies.is_empty() {
            return Err(No::This(bad.to_owned()));
        }
        let mut choice = Vec::new();
        let (mut file, mut hash, found) = self.assemble(item, &mut copies, &choice)?;
        let variants: Vec<usize> = found.differing.iter().map(|(_, count)| *count).collect();
        let ways = variants.iter().fold(1u64, |ways, count| ways.saturating_mul(*count as u64));
        let can_be_tried = found.lost.is_empty()
            && variants.len() <= salvaging::DIFFERING
            && ways.saturating_mul(item.size) <= TRIED;
        choice.resize(variants.len(), 0);
        while can_be_tried && item.hash.is_some_and(|wanted| wanted != hash) {
            if !salvaging::next_choice(&mut choice, &variants) {
                break;
            }
            (file, hash, _) = self.assemble(item, &mut copies, &choice)?;
        }
        let whole = item.hash == Some(hash);
        if !whole && choice.iter().any(|chosen| *chosen > 0) {
            choice.fill(0);
            (file, hash, _) = self.assemble(item, &mut copies, &choice)?;
        }
        let name = self.name_salvaged(item, file, hash)?;
        let salvaged = Salvaged {
            path: item.path.clone(),
            name: name.to_string(),
            whole,
            lost: found.lost,
            unsure: if whole { Vec::new() } else { ranges(&found.differing, item.size) },
        };
        self.put_text(&name, &told(&salvaged, item, bad))?;
        self.report.salvaged.push(salvaged);
        Ok(())
    }

    /// Puts the file together; of blocks in which drives differ, the one that was chosen.
    fn assemble(
        &mut self,
        item: &Item,
        copies: &mut [Reading],
        choice: &[usize],
    ) -> Result<(Unnamed<'r>, ContentHash, Together), No> {
        let mut file = self.target.stage().map_err(|e| fatal_or(&e, "write"))?;
        let mut hasher = Hasher::new(Also::default(), &[]);
        let mut found = Together::default();
        let zeros = [0; BLOCK];
        let mut buffers: Vec<(Vec<u8>, Vec<bool>)> = Vec::new();
        let mut at = 0;
        while at < item.size {
            let piece = usize::try_from(item.size - at).unwrap_or(PIECE).min(PIECE);
            buffers.clear();
            buffers.extend(copies.iter_mut().map(|copy| read_what_can_be_read(copy, at, piece)));
            for first in (0..piece).step_by(BLOCK) {
                let len = BLOCK.min(piece - first);
                let given: Vec<Option<&[u8]>> = buffers
                    .iter()
                    .map(|(bytes, good)| good[first / BLOCK].then(|| &bytes[first..first + len]))
                    .collect();
                let begins = at + first as u64;
                let bytes = match salvaging::compare(&given, len) {
                    Block::Agreed(bytes) => bytes,
                    Block::Lost => {
                        salvaging::lose(&mut found.lost, begins, len as u64);
                        &zeros[..len]
                    }
                    Block::Differing(all) => {
                        let chosen = choice.get(found.differing.len()).copied().unwrap_or(0);
                        found.differing.push((begins, all.len()));
                        all.get(chosen).copied().unwrap_or(all[0])
                    }
                };
                hasher.update(bytes);
                file.write(bytes).map_err(|e| fatal_or(&e, "write"))?;
            }
            at += piece as u64;
            (self.progress)(&self.now);
        }
        Ok((file, hasher.digests().content, found))
    }

    fn name_salvaged(&mut self, item: &Item, file: Unnamed<'r>, hash: ContentHash) -> Result<RelPath, No> {
        let none = || No::This("no free name was found for what was salvaged of it".to_owned());
        let path = restoring::marked(&item.path, ".salvaged").ok_or_else(none)?;
        let as_salvaged = Item { path, ..item.clone() };
        match self.name_for(&as_salvaged, item.size, hash)? {
            Name::Done(path) => Ok(path),
            Name::Free(path) => {
                let at = self.spelled(&path);
                self.make_above(&at)?;
                file.name(item.mtime, &at).map_err(|e| fatal_or(&e, "name"))?;
                self.note_new(&at);
                Ok(path)
            }
        }
    }

    /// The list beside it. One that is there is from a time before, and says the same or is not ours: it stays.
    fn put_text(&mut self, name: &RelPath, text: &str) -> Result<(), No> {
        let at = format!("{}.txt", self.spelled(name));
        let mut file = self.target.stage().map_err(|e| fatal_or(&e, "write"))?;
        file.write(text.as_bytes()).map_err(|e| fatal_or(&e, "write"))?;
        match file.name(crate::os::clock::now(), &at) {
            Ok(()) => self.note_new(&at),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(fatal_or(&e, "name the list beside")),
        }
        Ok(())
    }
}

/// A piece as far as it can be read, block by block from the medium where it cannot be read at once, and which blocks are good.
fn read_what_can_be_read(copy: &mut Reading, at: u64, len: usize) -> (Vec<u8>, Vec<bool>) {
    let mut bytes = vec![0; len];
    let blocks = len.div_ceil(BLOCK);
    if copy.read_at(&mut bytes, at).is_ok_and(|read| read == len) {
        return (bytes, vec![true; blocks]);
    }
    let mut good = Vec::with_capacity(blocks);
    for (number, block) in bytes.chunks_mut(BLOCK).enumerate() {
        let wanted = block.len();
        good.push(copy.read_alone(block, at + (number * BLOCK) as u64).is_ok_and(|read| read == wanted));
    }
    (bytes, good)
}

fn ranges(differing: &[(u64, usize)], size: u64) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    for (at, _) in differing {
        salvaging::lose(&mut all, *at, (BLOCK as u64).min(size - at));
    }
    all
}

fn told(salvaged: &Salvaged, item: &Item, bad: &str) -> String {
    let mut text = format!("{}\n", item.path);
    if salvaged.whole {
        text.push_str("Put together from several bad copies, it has exactly the content that was received: it is whole.\n");
    } else {
        text.push_str("What could be read of it. It is not what was received.\n");
    }
    for (from, to) in &salvaged.lost {
        text.push_str(&format!("missing, zeros instead: bytes {from} to {}\n", to - 1));
    }
    for (from, to) in &salvaged.unsure {
        text.push_str(&format!("drives differ, one of them taken: bytes {from} to {}\n", to - 1));
    }
    if !salvaged.whole && salvaged.lost.is_empty() && salvaged.unsure.is_empty() {
        text.push_str("Every byte could be read, and nobody can say which of them are wrong.\n");
    }
    text.push_str(&format!("Copies: {bad}\n"));
    text
}
