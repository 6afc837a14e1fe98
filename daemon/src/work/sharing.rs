//! The photos for the computers of the house: asks the NFS server for one every minute, as a computer would, and has root see to it
//! where that fails. What came of it is told by the minute check, and announced in the network while it works.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::model::copy::CopyState;
use crate::model::drive::{DriveRole, Standing};
use crate::model::hash::ContentHash;
use crate::os::nfs::{MOST_STEPS, NfsError, Server};
use crate::os::requests::{self, Answer, AskError, Exported};
use crate::plan::facts::SharingFacts;
use crate::plan::sharing::{Ask, Look, facts, next};
use crate::store::catalogue::copies::CopyRow;
use crate::work::drive::Attached;
use crate::work::pool::{Pool, Wake};
use crate::work::worker::{Cx, Outcome, WorkError, Worker};

/// So much of a photo is read: small ones whole.
const MOST: u32 = 32 * 1024;
/// Photos that are tried at a look: one may have been moved meanwhile, several were not.
const TRIED: usize = 3;
/// Root may have to stop the server first.
const WITHIN: Duration = Duration::from_secs(45);

/// Where it is looked, and how.
pub struct Terms {
    /// The server.
    pub server: Server,
    /// Under which path computers know the photos.
    pub path: PathBuf,
    /// Whether anybody is to look; asked each time, as a server can be installed meanwhile.
    pub is_wanted: Box<dyn Fn() -> bool + Send>,
    /// Where the command that root runs is asked; nowhere: nobody is there.
    pub requests: Option<PathBuf>,
    /// How often.
    pub period: Duration,
    /// Has it announced that there are photos, or that there are none.
    pub announce: Box<dyn Fn(bool) + Send>,
}

/// Looks at them.
pub struct Sharing {
    pool: Arc<Pool>,
    terms: Terms,
    /// The name that was read last: another one each time.
    after: i64,
}

impl Sharing {
    /// For a pool.
    pub fn new(pool: Arc<Pool>, terms: Terms) -> Self {
        Self { pool, terms, after: 0 }
    }

    /// Looks once, and asks for what is to be done.
    pub fn look(&mut self, beat: &dyn Fn()) {
        let before = self.pool.sharing();
        let now = if (self.terms.is_wanted)() { self.now(&before, beat) } else { SharingFacts::Off };
        if now != before {
            (self.terms.announce)(now == SharingFacts::Well);
            self.pool.set_sharing(now);
            self.pool.wake(Wake::Health);
        }
    }

    fn now(&mut self, before: &SharingFacts, beat: &dyn Fn()) -> SharingFacts {
        let b = self.drive_b();
        let mut look = self.see(b.as_deref());
        beat();
        let mut why = None;
        let ask = match next(&look, before, b.is_some()) {
            Ask::Nothing => None,
            Ask::Settle => Some(requests::Ask::Export {}),
            Ask::StartAnew => Some(requests::Ask::MendExport {}),
        };
        if let Some(ask) = ask {
            log::info!("the photos for the computers of the house ({look:?}): asking for {ask:?}");
            why = self.have_seen_to(&ask);
            beat();
            look = self.see(b.as_deref());
        }
        facts(look, b.is_some(), why)
    }

    /// `Some`: why the photos are not exported now.
    fn have_seen_to(&self, ask: &requests::Ask) -> Option<String> {
        let socket = self.terms.requests.as_ref().ok_or(AskError::Nobody);
        match socket.and_then(|socket| requests::ask(socket, ask, WITHIN)) {
            Ok(Answer::Exported(Exported::Photos {})) => None,
            Ok(Answer::Exported(Exported::Nothing { why })) | Err(AskError::Refused(why)) => Some(why),
            Ok(_) => Some(AskError::NotUnderstood.to_string()),
            Err(e) => Some(format!("the box's own service for drives does not answer: {e}")),
        }
    }

    /// The mirror, while it can be read without waiting: one that hangs has a finding of its own.
    fn drive_b(&self) -> Option<Arc<Attached>> {
        let slots = self.pool.slot_views();
        let working = slots.into_iter().filter(|slot| slot.standing != Standing::Stuck);
        working.filter_map(|slot| slot.attached).find(|attached| attached.role() == DriveRole::Mirror)
    }

    fn see(&mut self, b: Option<&Attached>) -> Look {
        let (server, path) = (self.terms.server, self.terms.path.clone());
        let share = components(&path);
        if let Err(e) = server.answers().and_then(|()| server.has(&share)) {
            return seen(e);
        }
        let mut last = Look::Fine;
        for (row, size) in b.map(|b| self.photos(b, share.len())).unwrap_or_default() {
            let below = row.at.on_disk();
            let all: Vec<&str> = share.iter().copied().chain(below.split('/')).collect();
            last = match server.read(&all, MOST) {
                Ok(seen) if is_it(&row.hash, size, seen.size, &seen.bytes) => return Look::Fine,
                Ok(_) => Look::Unreadable("another one than was asked for came".to_owned()),
                Err(e @ NfsError::NotThere) => Look::Unreadable(e.to_string()),
                Err(e) => seen(e),
            };
        }
        last
    }

    /// A few copies on B that were read back equal, others than the last time, with their sizes.
    fn photos(&mut self, b: &Attached, depth: usize) -> Vec<(CopyRow, u64)> {
        // Enough that some of them will do.
        const PAGE: usize = 64;
        let Ok(primary) = self.pool.primary() else { return Vec::new() };
        let after = self.after;
        let found = primary.catalogue.read(|r| {
            let mut rows = r.copies_on(b.id(), after, PAGE)?;
            rows.retain(|row| {
                row.state == CopyState::Verified && depth + row.at.components().count() <= MOST_STEPS
            });
            rows.truncate(TRIED);
            let size = |row: CopyRow| Ok(r.asset(&row.hash)?.map(|asset| (row, asset.size)));
            rows.into_iter().map(size).collect::<Result<Vec<_>, _>>()
        });
        // A catalogue that cannot be read has a finding of its own.
        let found: Vec<_> = found.unwrap_or_default().into_iter().flatten().collect();
        // From the beginning, after the last.
        self.after = found.first().map_or(0, |(row, _)| row.name);
        found
    }
}

fn components(path: &Path) -> Vec<&str> {
    path.iter().filter_map(|part| part.to_str()).filter(|part| *part != "/").collect()
}

fn seen(error: NfsError) -> Look {
    match error {
        NfsError::NotThere => Look::NotThere,
        NfsError::Refused(_) => Look::Unreadable(error.to_string()),
        NfsError::NotUnderstood | NfsError::Io(_) => Look::Silent(error.to_string()),
    }
}

/// The whole of a small photo has its hash; of a larger one there are as many bytes as were asked for.
fn is_it(hash: &ContentHash, size: u64, size_seen: u64, bytes: &[u8]) -> bool {
    let whole = size <= u64::from(MOST);
    size == size_seen
        && bytes.len() as u64 == size.min(u64::from(MOST))
        && (!whole || ContentHash::of(bytes) == *hash)
}

impl Worker for Sharing {
    fn name(&self) -> &'static str {
        "sharing"
    }

    fn period(&self) -> Duration {
        self.terms.period
    }

    fn critical(&self) -> bool {
        false
    }

    fn step(&mut self, cx: &Cx) -> Result<Outcome, WorkError> {
        self.look(&|| cx.beat());
        Ok(Outcome::Rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_as_a_client_does() {
        assert_eq!(components(Path::new("/photos")), ["photos"]);
        assert_eq!(components(Path::new("/srv/shoebox/nfs/photos")), ["srv", "shoebox", "nfs", "photos"]);
    }

    #[test]
    fn a_small_photo_is_known_by_its_hash_and_a_large_one_by_its_size() {
        let hash = ContentHash::of(b"photo");
        assert!(is_it(&hash, 5, 5, b"photo"));
        assert!(
            !is_it(&hash, 5, 5, b"phota") && !is_it(&hash, 5, 6, b"photo") && !is_it(&hash, 5, 5, b"phot")
        );
        let large = vec![7; MOST as usize];
        assert!(is_it(&hash, 1 << 30, 1 << 30, &large));
        assert!(!is_it(&hash, 1 << 30, 1 << 30, b"photo"));
    }
}
