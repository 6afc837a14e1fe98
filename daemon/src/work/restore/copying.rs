//! Restoring one file: a name in the folder that is free or has it already, and the first copy that equals its record.
use std::io;

use super::{Remark, Run, plain};
use crate::model::hash::{Also, ContentHash, Hasher};
use crate::model::path::RelPath;
use crate::plan::restoring::{self, Item, Source};
use crate::store::folder::{Reading, Unnamed};
use crate::store::volume::EntryKind;

/// Bytes moved at once.
const PIECE: usize = 1 << 20;
/// Names tried beside one that is taken.
const NAMES: u32 = 1000;

/// What a name in the folder is for an item.
pub(super) enum Name {
    Free(RelPath),
    /// It has the item's content already.
    Done(RelPath),
}

/// Why an item is not restored.
pub(super) enum No {
    /// That one; the others are.
    This(String),
    /// No copy of it is good.
    Bad(String),
    /// The folder takes nothing any more.
    All(String),
}

/// What a copy is good for.
enum Copied<'f> {
    /// The file, its content, and its bytes.
    Good(Unnamed<'f>, ContentHash, u64),
    Bad(String),
}

impl<'r> Run<'r> {
    /// Restores one item. `Err`: there is no point in going on.
    pub(super) fn restore(&mut self, item: &Item) -> Result<(), String> {
        let before = self.now.bytes;
        let brought = match self.bring(item) {
            Err(No::Bad(bad)) if self.salvage => {
                self.now.bytes = before;
                self.salvage(item, &bad)
            }
            other => other,
        };
        match brought {
            Ok(()) => {}
            Err(No::This(what) | No::Bad(what)) => {
                self.failed.push((item.hash, Remark { path: item.path.clone(), what }));
            }
            Err(No::All(why)) => return Err(why),
        }
        self.now.files += 1;
        self.now.bytes = before + item.size;
        (self.progress)(&self.now);
        Ok(())
    }

    fn bring(&mut self, item: &Item) -> Result<(), No> {
        // With a record, what is there is compared without a look at the drive.
        if let Some(hash) = item.hash
            && let Name::Done(_) = self.name_for(item, item.size, hash)?
        {
            self.report.already += 1;
            return Ok(());
        }
        let begun = self.now.bytes;
        let (mut file, hash, size) = self.copy(item)?;
        for _ in 0..NAMES {
            let path = match self.name_for(item, size, hash)? {
                Name::Done(_) => {
                    self.report.already += 1;
                    self.note_unproved(item, hash);
                    return Ok(());
                }
                Name::Free(path) => path,
            };
            let at = self.spelled(&path);
            self.make_above(&at)?;
            match file.name(item.mtime, &at) {
                Ok(()) => {
                    self.named(item, &path, &at, hash, size);
                    return Ok(());
                }
                // Somebody else took it in this moment.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    self.now.bytes = begun;
                    file = self.copy(item)?.0;
                }
                Err(e) => return Err(fatal_or(&e, "name")),
            }
        }
        Err(No::This("no free name was found for it".to_owned()))
    }

    fn named(&mut self, item: &Item, path: &RelPath, at: &str, hash: ContentHash, size: u64) {
        self.report.restored += 1;
        self.there.insert(hash);
        self.report.bytes += size;
        if *path != item.path {
            self.report.beside.push(Remark { path: item.path.clone(), what: path.to_string() });
        }
        self.note_unproved(item, hash);
        self.note_new(at);
    }

    /// The name is durable once its directory is flushed.
    pub(super) fn note_new(&mut self, at: &str) {
        self.changed.insert(at.rsplit_once('/').map_or("", |(above, _)| above).to_owned());
    }

    /// The same of a name that was there before, and of the folders above it: nobody knows who made them.
    fn note_there(&mut self, at: &str) {
        self.note_new(at);
        let above = at.match_indices('/').map(|(end, _)| &at[..end]);
        self.changed.extend(above.map(str::to_owned));
        self.changed.insert(String::new());
    }

    /// Without a record under its name, a content may still be one that some record knows.
    fn note_unproved(&mut self, item: &Item, hash: ContentHash) {
        if item.hash.is_none() && !self.recorded.contains(&hash) {
            self.report.unproved.push(item.path.clone());
        }
    }

    pub(super) fn make_above(&mut self, at: &str) -> Result<(), No> {
        let Some((above, _)) = at.rsplit_once('/') else { return Ok(()) };
        if self.changed.contains(above) {
            return Ok(());
        }
        // One folder is done: its names become durable before the next one's.
        self.flush().map_err(No::All)?;
        let changed = self.target.ensure(above).map_err(|e| fatal_or(&e, "make the folder of"))?;
        self.changed.extend(changed);
        Ok(())
    }

    /// The first name that is free, or has the content already.
    pub(super) fn name_for(&mut self, item: &Item, size: u64, hash: ContentHash) -> Result<Name, No> {
        for nth in 0..NAMES {
            let path = if nth == 0 { Some(item.path.clone()) } else { restoring::beside(&item.path, nth) };
            let path = path.ok_or_else(|| No::This("no free name was found for it".to_owned()))?;
            let at = self.spelled(&path);
            let look = self.target.look(&at).map_err(|e| fatal_or(&e, "look at"))?;
            match look {
                None => return Ok(Name::Free(path)),
                Some(look) if look.kind == EntryKind::File && look.size == size => {
                    let mut there = self.target.read(&at).map_err(|e| fatal_or(&e, "read"))?;
                    let found = self.hash_of(&mut there).map_err(|e| fatal_or(&e, "read"))?;
                    if found == hash {
                        // What was read may be in memory only, and its name, too: a restore that was killed has not flushed its
                        // folder, and a copy by other hands nothing at all. It is said to be there, so it is made durable.
                        there.settle().map_err(|e| fatal_or(&e, "flush"))?;
                        self.note_there(&at);
                        self.there.insert(hash);
                        if nth > 0 {
                            let what = path.to_string();
                            self.report.beside.push(Remark { path: item.path.clone(), what });
                        }
                        return Ok(Name::Done(path));
                    }
                }
                Some(_) => {}
            }
        }
        Err(No::This("no free name was found for it".to_owned()))
    }

    fn hash_of(&mut self, file: &mut Reading) -> io::Result<ContentHash> {
        let (mut hasher, mut buffer) = (Hasher::new(Also::default(), &[]), vec![0; PIECE]);
        loop {
            let read = file.read_at(&mut buffer, hasher.size())?;
            if read == 0 {
                return Ok(hasher.digests().content);
            }
            hasher.update(&buffer[..read]);
            (self.progress)(&self.now);
        }
    }

    /// Copies from the first drive whose bytes are right.
    fn copy(&mut self, item: &Item) -> Result<(Unnamed<'r>, ContentHash, u64), No> {
        let begun = self.now.bytes;
        let mut bad = Vec::new();
        for source in &item.sources {
            self.now.bytes = begun;
            match self.copy_from(item, source)? {
                Copied::Good(file, hash, size) => {
                    if !bad.is_empty() {
                        let what = bad.join("; ");
                        self.report.passed_over.push(Remark { path: item.path.clone(), what });
                    }
                    return Ok((file, hash, size));
                }
                Copied::Bad(why) => {
                    bad.push(format!(
                        "{}: {why}",
                        self.shelves[source.drive].mount.join(source.place.as_str()).display()
                    ));
                }
            }
        }
        Err(No::Bad(bad.join("; ")))
    }

    fn copy_from(&mut self, item: &Item, source: &Source) -> Result<Copied<'r>, No> {
        let bad = |e: &io::Error| {
            let not_there = e.kind() == io::ErrorKind::NotFound;
            let why = if not_there {
                "it is not there".to_owned()
            } else {
                format!("it cannot be read ({})", plain(e))
            };
            Ok(Copied::Bad(why))
        };
        let mut reader = match self.shelves[source.drive].folder.read(source.place.as_str()) {
            Ok(reader) => reader,
            Err(e) => return bad(&e),
        };
        let mut file = self.target.stage().map_err(|e| fatal_or(&e, "write"))?;
        let (mut hasher, mut buffer) = (Hasher::new(Also::default(), &[]), vec![0; PIECE]);
        loop {
            let read = match reader.read_at(&mut buffer, hasher.size()) {
                Ok(read) => read,
                Err(e) => return bad(&e),
            };
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            file.write(&buffer[..read]).map_err(|e| fatal_or(&e, "write"))?;
            self.now.bytes += read as u64;
            (self.progress)(&self.now);
        }
        let found = hasher.digests();
        match item.hash {
            Some(hash) if hash != found.content => {
                Ok(Copied::Bad("it is damaged: it differs from its record".to_owned()))
            }
            Some(_) | None => Ok(Copied::Good(file, found.content, found.size)),
        }
    }
}

/// What the folder answers about one name is that file's trouble; what it answers about anything is the end.
pub(super) fn fatal_or(error: &io::Error, what: &str) -> No {
    let why = format!("could not {what} it: {}", plain(error));
    let only_this = [
        libc::EFBIG,
        libc::ENAMETOOLONG,
        libc::EINVAL,
        libc::ELOOP,
        libc::ENOTDIR,
        libc::EEXIST,
        libc::EISDIR,
        libc::EILSEQ,
    ];
    match error.raw_os_error() {
        Some(code) if only_this.contains(&code) => No::This(why),
        Some(_) | None => No::All(why),
    }
}
