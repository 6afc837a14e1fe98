//! Previews: small pictures of photos, from the cache, from the camera's own small picture, or drawn from the photo by a process that is
//! confined and does nothing else.
//!
//! Derived and losable, and never in the way: one is drawn at a time, uploads are let pass, and a photo that does its decoder harm costs a
//! preview. The daemon itself decodes nothing.
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::model::hash::ContentHash;
use crate::model::media::Media;
use crate::model::place::Shelf;
use crate::model::preview::{Drawn, Edge};
use crate::os::errand::{Ended, Errands};
use crate::plan::previewing::{can_be_shown, embedded_will_do};
use crate::store::cache::Cache;
use crate::store::volume::ReadAt;
use crate::work::error::Refusal;
use crate::work::media;
use crate::work::tree::{About, Node, NodeKind, Tree};

mod drawing;

pub use drawing::{Undrawable, confine, draw};

/// After so long it is killed: it waits for a drive, or for its turn on a busy processor.
const PATIENCE: Duration = Duration::from_secs(20);
/// A preview is smaller by far.
const MOST_BYTES: usize = 4 << 20;
/// Requests that wait for their turn; the next is told to come back.
const MOST_WAITING: usize = 48;
/// Uploads are let pass for so long.
const COURTESY: Duration = Duration::from_millis(300);
/// Photos of which is remembered that they have no preview. One more, and all are tried again.
const MOST_FAILED: usize = 10_000;

/// Previews of the photos in a pool.
#[derive(Clone)]
pub struct Previews {
    inner: Arc<Inner>,
}

struct Inner {
    tree: Tree,
    cache: Option<Cache>,
    program: PathBuf,
    errands: Errands,
    turn: Mutex<()>,
    waiting: AtomicUsize,
    failed: Mutex<HashSet<ContentHash>>,
    /// Said once: it is the machine's fault, and every photo would say it again.
    complained: AtomicBool,
}

/// Where they are kept, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// A folder; `None`: each is made anew every time.
    pub folder: Option<PathBuf>,
    /// Bytes in it.
    pub most: u64,
}

impl Previews {
    /// Of what is in a tree. `program`: this one, which draws when it is told so.
    pub fn new(tree: Tree, keeping: Keeping, program: &Path) -> Self {
        let cache = keeping.folder.map(|folder| Cache::new(folder, keeping.most));
        let inner = Inner {
            tree,
            cache,
            program: program.to_owned(),
            errands: Errands::default(),
            turn: Mutex::default(),
            waiting: AtomicUsize::new(0),
            failed: Mutex::default(),
            complained: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether there is one of a file, or it looks as if one could be made.
    pub fn can_show(&self, node: &Node, media: Option<&Media>) -> bool {
        let NodeKind::File { hash, .. } = node.kind else { return false };
        node.shelf == Shelf::Photos && can_be_shown(media, node.path.name()) && !self.inner.has_failed(&hash)
    }

    /// A JPEG of a file, its longer side within `edge`. `NotFound`: there is none; `Unavailable`: not now. Blocking.
    pub fn of(&self, node: &Node, edge: Edge) -> Result<Vec<u8>, Refusal> {
        let inner = &*self.inner;
        let NodeKind::File { hash, size } = node.kind else { return Err(Refusal::NotFound) };
        if node.shelf != Shelf::Photos {
            return Err(Refusal::NotFound);
        }
        if let Some(kept) = inner.kept(&hash, edge) {
            return Ok(kept);
        }
        let about = About { media: true, ..About::default() };
        let mut details = inner.tree.details_of(std::slice::from_ref(node), about)?;
        let known = details.remove(&node.id).unwrap_or_default().media;
        let mut file = inner.tree.open(node)?;
        let embedded = media::embedded(&mut *file, size).map_err(Refusal::Drive)?;
        let whole = known.as_ref().and_then(|media| media.size);
        let enough = embedded.as_ref().is_some_and(|small| embedded_will_do(small.size, whole, edge));
        let drawn = if enough || !self.can_show(node, known.as_ref()) {
            None
        } else {
            inner.draw(&hash, &*file, edge)?
        };
        // A small picture that is too small is better than none.
        let jpeg = drawn.or_else(|| embedded.map(|small| small.jpeg)).ok_or(Refusal::NotFound)?;
        inner.keep(&hash, edge, &jpeg);
        Ok(jpeg)
    }
}

impl Inner {
    fn kept(&self, hash: &ContentHash, edge: Edge) -> Option<Vec<u8>> {
        self.cache.as_ref()?.get(&key(hash, edge))
    }

    fn keep(&self, hash: &ContentHash, edge: Edge, jpeg: &[u8]) {
        let Some(cache) = &self.cache else { return };
        if let Err(e) = cache.put(&key(hash, edge), jpeg) {
            self.complain(&format!("previews are not kept, and made anew each time: {e}"));
        }
    }

    fn complain(&self, words: &str) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            log::warn!("{words}");
        }
    }

    fn has_failed(&self, hash: &ContentHash) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).contains(hash)
    }

    fn remember_failed(&self, hash: &ContentHash) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= MOST_FAILED {
            failed.clear();
        }
        failed.insert(*hash);
    }

    /// Draws one, when it is its turn. `None`: there is no picture in it.
    fn draw(&self, hash: &ContentHash, file: &dyn ReadAt, edge: Edge) -> Result<Option<Vec<u8>>, Refusal> {
        let later = |why: &str| Refusal::Unavailable { why: why.to_owned() };
        let waiting = Waiting::begin(&self.waiting);
        if waiting.before >= MOST_WAITING {
            return Err(later("too many previews are asked for at once"));
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have asked for the same one, and had the turn before.
        if let Some(kept) = self.kept(hash, edge) {
            return Ok(Some(kept));
        }
        if self.has_failed(hash) {
            return Ok(None);
        }
        self.tree.pool().primary()?.attached.turns.wait_for_calm(Duration::ZERO, COURTESY);
        let input = file.descriptor().ok_or_else(|| later("the file cannot be passed on"))?;
        let arguments = ["draw-preview".to_owned(), "--edge".to_owned(), edge.pixels().to_string()];
        let ended = self.errands.run(&self.program, &arguments, input, (MOST_BYTES, PATIENCE));
        self.weigh(hash, ended)
    }

    fn weigh(&self, hash: &ContentHash, ended: io::Result<Ended>) -> Result<Option<Vec<u8>>, Refusal> {
        match ended {
            Ok(Ended::Well(said)) => match Drawn::heard(said) {
                Drawn::Picture(jpeg) => Ok(Some(jpeg)),
                Drawn::Nothing => {
                    self.remember_failed(hash);
                    Ok(None)
                }
                Drawn::Unread => Err(Refusal::Unavailable { why: "the photo could not be read".to_owned() }),
            },
            Ok(Ended::Killed) => {
                log::info!("a photo has no preview: what draws it took more than it may, or broke down");
                self.remember_failed(hash);
                Ok(None)
            }
            Ok(Ended::Late) => {
                Err(Refusal::Unavailable { why: "the preview was not ready in time".to_owned() })
            }
            // It did not dare to begin.
            Ok(Ended::Code(code)) => {
                self.complain(&format!(
                    "no previews are drawn: the process that would could not be confined ({code})"
                ));
                Ok(None)
            }
            Err(e) => {
                self.complain(&format!("no previews are drawn: {e}"));
                Ok(None)
            }
        }
    }
}

fn key(hash: &ContentHash, edge: Edge) -> String {
    format!("{hash}-{}", edge.pixels())
}

/// One of those that wait or are served.
struct Waiting<'w> {
    all: &'w AtomicUsize,
    before: usize,
}

impl<'w> Waiting<'w> {
    fn begin(all: &'w AtomicUsize) -> Self {
        Self { before: all.fetch_add(1, Ordering::Relaxed), all }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}
