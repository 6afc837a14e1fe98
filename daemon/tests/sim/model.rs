//! What the box has told people, kept beside it: names and contents it acknowledged, and where it may be in doubt
//! because an attempt was refused half-way.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use shoebox::model::hash::ContentHash;
use shoebox::model::path::RelPath;

/// All files of a drive, by their path from its root.
pub(crate) type Files = BTreeMap<String, Arc<Vec<u8>>>;

/// What was acknowledged of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// As it is spelled.
    pub(crate) path: RelPath,
    pub(crate) hash: ContentHash,
    /// Not asked of what other hands brought.
    pub(crate) mtime: Option<Timestamp>,
    pub(crate) by: String,
    pub(crate) received: Option<Timestamp>,
}

/// Everything the box was told or said.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Names in `photos/`, by fold key.
    pub(crate) names: BTreeMap<String, Kept>,
    /// Contents acknowledged in `photos/` at any time: none may ever be lost.
    pub(crate) owed: BTreeSet<ContentHash>,
    /// Contents that a client or another hand gave completely: nothing else may have a final name.
    pub(crate) given: BTreeSet<ContentHash>,
    /// Contents the mirror proved at any time.
    pub(crate) mirrored: BTreeSet<ContentHash>,
    /// Names in scratch: not promised, but known.
    pub(crate) scratch: BTreeMap<String, ContentHash>,
    /// Files of other hands that the box has not taken over, by fold key.
    pub(crate) foreign: BTreeMap<String, RelPath>,
    /// What other hands ever wrote.
    pub(crate) brought: Vec<Vec<u8>>,
    /// What another hand took away, by name.
    pub(crate) taken: BTreeMap<String, Vec<u8>>,
    /// Missing names whose file another hand put back since.
    pub(crate) put_back: BTreeSet<String>,
    /// All that ever were, and those that a cut spoiled, because nobody had flushed them.
    pub(crate) ever_put_back: BTreeSet<String>,
    pub(crate) spoiled: BTreeSet<String>,
    /// Names whose file another hand took away.
    pub(crate) removed: BTreeSet<String>,
    /// Trees whose state an attempt that failed left open; settled by looking after the next recovery.
    pub(crate) doubt: BTreeSet<String>,
    /// Trees that were ever in doubt while the box went on: a line of the failed attempt may stand in the manifest.
    pub(crate) ghosts: BTreeSet<String>,
    /// What scratch holds is not known: the catalogue went back in time.
    pub(crate) unsure_of_scratch: bool,
    /// Files may lie on B that no row tells of.
    pub(crate) b_may_have_strays: bool,
    /// Another hand put files on B.
    pub(crate) helped: bool,
    /// Copies were verified while a drive failed.
    pub(crate) shaken: bool,
    /// The catalogue went back in time, and B's own record was not carried into it since: the mirror's first step does.
    pub(crate) b_unread: bool,
    /// A step of the mirror failed on B since it last came to rest.
    pub(crate) b_in_flight: bool,
    /// Contents in the middle of a move on a drive without a journal when the power went.
    pub(crate) excused: BTreeSet<ContentHash>,
    /// When contents lost a name.
    pub(crate) deletions: Vec<(Timestamp, ContentHash)>,
}

fn within(tree: &str, name: &str) -> bool {
    name == tree || name.strip_prefix(tree).is_some_and(|rest| rest.starts_with('/'))
}

fn covered(trees: &BTreeSet<String>, name: &str) -> bool {
    trees.iter().any(|tree| within(tree, name))
}

impl Model {
    /// Whether the state of a name is open.
    pub(crate) fn doubts(&self, fold: &str) -> bool {
        covered(&self.doubt, fold)
    }

    /// Whether the state of a name was ever open.
    pub(crate) fn haunted(&self, fold: &str) -> bool {
        self.doubts(fold) || covered(&self.ghosts, fold)
    }

    /// Whether another hand took away the file of a name.
    pub(crate) fn is_removed(&self, fold: &str) -> bool {
        covered(&self.removed, fold) || self.spoiled.contains(fold)
    }

    /// An attempt to change these trees failed; `goes_on`: and whoever made it goes on writing.
    pub(crate) fn in_doubt(&mut self, trees: &[&RelPath], goes_on: bool, now: Timestamp) {
        for tree in trees {
            let fold = tree.fold_key();
            let below = self.names.iter().filter(|(name, _)| within(&fold, name));
            let hashes: Vec<ContentHash> = below.map(|(_, kept)| kept.hash).collect();
            self.deletions.extend(hashes.iter().map(|hash| (now, *hash)));
            self.excused.extend(hashes);
            // Beside a placeholder in scratch the file waits unseen, until the placeholder is forgotten with the catalogue.
            if goes_on || self.scratch.contains_key(&fold) {
                self.ghosts.insert(fold.clone());
            }
            self.doubt.insert(fold);
        }
    }

    /// A name in `photos/` lost its content to a placeholder in scratch.
    pub(crate) fn emptied(&mut self, path: &RelPath, now: Timestamp) {
        let fold = path.fold_key();
        if let Some(kept) = self.names.remove(&fold) {
            self.deletions.push((now, kept.hash));
        }
        self.removed.remove(&fold);
        self.doubt.remove(&fold);
    }

    /// The catalogue went back in time: what ever was in doubt may have turned out otherwise.
    pub(crate) fn remember_less(&mut self) {
        self.scratch.clear();
        self.unsure_of_scratch = true;
        self.b_unread = true;
        // That files were missing is no event: those that were put back are taken for what they were, until they are read.
        self.put_back.clear();
        let ghosts: Vec<String> = self.ghosts.iter().cloned().collect();
        self.doubt.extend(ghosts);
    }

    /// What is in doubt is as the catalogue has it.
    pub(crate) fn resolve(&mut self, found: Vec<Kept>) {
        let doubt = std::mem::take(&mut self.doubt);
        self.names.retain(|name, _| !covered(&doubt, name));
        self.foreign.retain(|name, _| !covered(&doubt, name));
        self.removed.retain(|name| !covered(&doubt, name));
        for kept in found.into_iter().filter(|kept| covered(&doubt, &kept.path.fold_key())) {
            self.names.insert(kept.path.fold_key(), kept);
        }
    }

    /// A content got a name, or has it already.
    pub(crate) fn stored(&mut self, kept: Kept, now: Timestamp) {
        let fold = kept.path.fold_key();
        self.owed.insert(kept.hash);
        self.excused.remove(&kept.hash);
        self.doubt.remove(&fold);
        self.spoiled.remove(&fold);
        self.removed.remove(&fold);
        self.scratch.remove(&fold);
        self.foreign.remove(&fold);
        let hash = kept.hash;
        if let Some(old) = self.names.insert(fold, kept)
            && old.hash != hash
        {
            self.deletions.push((now, old.hash));
        }
    }

    /// Names at or below `path`.
    pub(crate) fn below(&self, path: &RelPath) -> Vec<String> {
        let fold = path.fold_key();
        self.names.keys().filter(|name| within(&fold, name)).cloned().collect()
    }

    /// A tree went to the trash.
    pub(crate) fn trashed(&mut self, path: &RelPath, now: Timestamp) {
        for name in self.below(path) {
            if let Some(kept) = self.names.remove(&name) {
                self.deletions.push((now, kept.hash));
            }
        }
        let fold = path.fold_key();
        self.scratch.retain(|name, _| !within(&fold, name));
        self.foreign.retain(|name, _| !within(&fold, name));
        self.removed.retain(|name| !within(&fold, name));
    }

    /// A tree got another name.
    pub(crate) fn renamed(&mut self, from: &RelPath, to: &RelPath) {
        let (old, new) = (from.fold_key(), to.fold_key());
        let moved = |name: &str| format!("{new}{}", &name[old.len()..]);
        for name in self.below(from) {
            if let Some(mut kept) = self.names.remove(&name) {
                kept.path = moved_path(&kept.path, from, to);
                self.names.insert(moved(&name), kept);
            }
        }
        let foreign = std::mem::take(&mut self.foreign);
        for (name, path) in foreign {
            if within(&old, &name) {
                self.foreign.insert(moved(&name), moved_path(&path, from, to));
            } else {
                self.foreign.insert(name, path);
            }
        }
        let scratch = std::mem::take(&mut self.scratch);
        self.scratch = scratch
            .into_iter()
            .map(|(n, h)| if within(&old, &n) { (moved(&n), h) } else { (n, h) })
            .collect();
        let removed = std::mem::take(&mut self.removed);
        self.removed = removed.into_iter().map(|n| if within(&old, &n) { moved(&n) } else { n }).collect();
        let doubt: Vec<String> = self.doubt.iter().filter(|n| within(&old, n)).map(|n| moved(n)).collect();
        self.doubt.extend(doubt);
        let ghosts: Vec<String> = self.ghosts.iter().filter(|n| within(&old, n)).map(|n| moved(n)).collect();
        self.ghosts.extend(ghosts);
    }

    /// Power was cut: files of other hands that nobody took over may be gone, short, or full of zeros now.
    pub(crate) fn a_was_cut(&mut self, files: &Files) {
        self.was_torn(files);
        // A photo that another hand put back and nobody flushed: if the cut spoiled it, that is another version, and the name's.
        for fold in &self.ever_put_back {
            let Some(kept) = self.names.get(fold) else { continue };
            let bytes = files.get(&format!("photos/{}", kept.path));
            if bytes.is_some_and(|bytes| ContentHash::of(bytes) != kept.hash) {
                self.ghosts.insert(fold.clone());
                self.spoiled.insert(fold.clone());
            }
        }
        self.foreign.retain(|_, path| files.contains_key(&format!("photos/{path}")));
    }

    /// After a cut, what other hands wrote may be on a drive in part.
    pub(crate) fn was_torn(&mut self, files: &Files) {
        let photos = files.iter().filter(|(path, _)| path.starts_with("photos/"));
        let torn = photos.filter(|(_, bytes)| self.brought.iter().any(|whole| is_torn(whole, bytes)));
        let torn: Vec<ContentHash> = torn.map(|(_, bytes)| ContentHash::of(bytes)).collect();
        self.given.extend(torn);
    }
}

/// Whether `bytes` is what may be left of `whole` when it was not made durable. No byte of ours is zero.
fn is_torn(whole: &[u8], bytes: &[u8]) -> bool {
    bytes.len() <= whole.len() && bytes.iter().zip(whole).all(|(left, was)| left == was || *left == 0)
}

fn moved_path(path: &RelPath, from: &RelPath, to: &RelPath) -> RelPath {
    match path.below(from) {
        Some(rest) => to.join(&rest).expect("a path that was one before"),
        None => to.clone(),
    }
}
