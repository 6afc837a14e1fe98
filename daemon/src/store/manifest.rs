//! A drive's manifest: the append-only record from which everything else can be rebuilt. One file a month,
//! one self-checksummed line per event, each naming the checksum of the line before it.
use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::drive::DriveRole;
use crate::model::event::{Event, Line, LineSum, What};
use crate::model::place::Place;
use crate::store::around::{Around, is_bad_block, same_on_medium};
use crate::store::volume::{EntryKind, Volume, VolumeError};

/// The writing end. One per drive, held by whoever commits to that drive.
pub struct Manifest {
    volume: Arc<dyn Volume>,
    next: u64,
    after: LineSum,
    /// Files that exist already.
    known: Vec<String>,
    /// The one that it ended in when this was opened.
    ends_in: Option<String>,
    /// Those of them whose name was made durable here. One that was there when this was opened may owe its name to a process
    /// that was killed, or to an append that failed, before the flush of the directory.
    named: Vec<String>,
    /// Files that were there when this was opened. Before one is appended to, memory and medium are compared: a flush of
    /// it may have failed, in this process or in one before it, and the next flush would claim what is not so (I5).
    unchecked: Vec<String>,
    /// Files of which memory showed more than the medium has when this was opened: none of them is ever flushed again.
    unsound: Vec<String>,
    /// Files that end without a newline (a torn write before the last power cut).
    torn: Vec<String>,
    /// The lowest part number in use: raised past a file whose append failed, which is never flushed again (I5).
    part: u32,
    /// The file that was appended to last, and its length.
    length: Option<(String, u64)>,
}

/// A file that has grown so far, bytes, takes no more: looking at the end of a long record, whether memory shows what the medium has, and
/// where the last of it lies, takes no longer than for a short one.
const PART: u64 = 16 << 20;

/// How a position that somebody remembers fits to what a drive's manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The manifest goes on from there, or ends there.
    Prefix,
    /// The manifest ends before.
    Ahead,
    /// The manifest has something else there.
    Other,
}

/// Where a manifest ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Sequence number of the last event; 0 before the first.
    pub seq: u64,
    /// Checksum of its line.
    pub sum: LineSum,
}

impl Position {
    /// Before the first event.
    pub const START: Self = Self { seq: 0, sum: LineSum::START };
}

/// What reading a manifest found besides its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Good lines.
    pub lines: u64,
    /// Lines that are not believed, as `file:line: why`; at most 100 are kept.
    pub bad: Vec<String>,
    /// Places where a line does not follow the one before it.
    pub breaks: u64,
}

impl Manifest {
    /// Opens the manifest of a drive for appending, after its last good line.
    pub fn open(volume: Arc<dyn Volume>) -> Result<Self, VolumeError> {
        let known = files(&*volume)?;
        let mut tails = known.iter().map(|file| tail(&*volume, file)).collect::<Result<Vec<Tail>, _>>()?;
        let (mut proved, mut unsound) = (HashSet::new(), Vec::new());
        // After a flush that failed, memory may show lines that the medium does not have, and the kernel has forgotten
        // that it owes them. Where the record ends, only the medium is believed.
        let (end, ends_in) = loop {
            let newest = (0..tails.len()).max_by_key(|n| tails[*n].end.seq);
            let Some(newest) = newest else { break (Position::START, None) };
            if !proved.insert(newest) {
                break (tails[newest].end, Some(known[newest].clone()));
            }
            let file = &known[newest];
            let on_medium = match tail_on_medium(&*volume, file) {
                Ok(found) => found.filter(|found| *found != tails[newest]),
                // Asking the medium made memory forget: this is what it gives around its bad blocks.
                Err(e) if is_bad_block(&*volume, &e) => Some(tail(&*volume, file)?),
                Err(e) => return Err(e),
            };
            if let Some(on_medium) = on_medium {
                unsound.push(file.clone());
                tails[newest] = on_medium;
            }
        };
        let torn =
            known.iter().zip(&tails).filter(|(_, tail)| !tail.whole).map(|(file, _)| file.clone()).collect();
        let unchecked = known.clone();
        let named = Vec::new();
        Ok(Self {
            volume,
            next: end.seq + 1,
            after: end.sum,
            known,
            ends_in,
            named,
            unchecked,
            unsound,
            torn,
            part: 0,
            length: None,
        })
    }

    /// Where it ends now.
    pub fn position(&self) -> Position {
        Position { seq: self.next - 1, sum: self.after }
    }

    /// Leaves all numbers up to this one out: they were given to events that the drive has lost.
    pub fn leave_out(&mut self, up_to: u64) {
        self.next = self.next.max(up_to.saturating_add(1));
    }

    /// Makes durable what was there when this was opened. Whoever wrote the last of it may have been killed before its flush:
    /// before that, a power cut can take away what was already believed.
    pub fn settle(&mut self) -> Result<(), VolumeError> {
        let Some(file) = self.ends_in.take() else { return Ok(()) };
        let place = Place::manifest(&file);
        if !self.unsound.contains(&file) && same_on_medium(&*self.volume, &place)? {
            self.volume.sync_file(&place)?;
        }
        self.volume.sync_dir(&Place::manifests())?;
        self.named.clone_from(&self.known);
        Ok(())
    }

    /// Appends one event per element of `what` and returns them once they are durable.
    pub fn append(&mut self, at: Timestamp, what: &[What]) -> Result<Vec<Event>, VolumeError> {
        if what.is_empty() {
            return Ok(Vec::new());
        }
        let file = self.sound_file(at)?;
        let mut text = String::new();
        if self.torn.contains(&file) {
            text.push('\n');
        }
        let (mut next, mut after) = (self.next, self.after);
        let mut events = Vec::with_capacity(what.len());
        for what in what {
            let event = Event { seq: next, at, what: what.clone() };
            let (line, sum) = Line::write(&event, after);
            text.push_str(&line);
            events.push(event);
            after = sum;
            next += 1;
        }
        // Sequence numbers of a failed append are not used again: some of its lines may be on the medium.
        self.next = next;
        if let Err(e) = self.write(&file, text.as_bytes()) {
            let failed = part_of(&file, &month(at)).unwrap_or(0);
            self.part = self.part.max(failed + 1);
            return Err(e);
        }
        self.after = after;
        self.torn.retain(|f| *f != file);
        Ok(events)
    }

    fn write(&mut self, file: &str, bytes: &[u8]) -> Result<(), VolumeError> {
        // Unknown after an append that failed.
        let length = self.length.take().filter(|(of, _)| of == file).map_or(0, |(_, length)| length);
        self.volume.append(&Place::manifest(file), bytes)?;
        self.length = Some((file.to_owned(), length + bytes.len() as u64));
        if !self.known.iter().any(|f| f == file) {
            self.known.push(file.to_owned());
        }
        if !self.named.iter().any(|f| f == file) {
            // The lines are durable only when the file's name is.
            self.volume.sync_dir(&Place::manifests())?;
            self.named.push(file.to_owned());
        }
        Ok(())
    }

    /// The file that takes events of this month, after a look at whether its pages are what the medium has.
    fn sound_file(&mut self, at: Timestamp) -> Result<String, VolumeError> {
        loop {
            let mut file = self.file_for(at);
            if self.length_of(&file)? >= PART {
                file = format!("{}.{}.jsonl", month(at), part_of(&file, &month(at)).unwrap_or(0).max(1) + 1);
            }
            let Some(index) = self.unchecked.iter().position(|f| *f == file) else { return Ok(file) };
            let sound = !self.unsound.contains(&file);
            if sound && same_on_medium(&*self.volume, &Place::manifest(&file))? {
                self.unchecked.swap_remove(index);
                return Ok(file);
            }
            self.part = part_of(&file, &month(at)).unwrap_or(0) + 1;
        }
    }

    fn length_of(&mut self, file: &str) -> Result<u64, VolumeError> {
        if let Some((of, length)) = &self.length
            && of == file
        {
            return Ok(*length);
        }
        let length = match self.volume.stat(&Place::manifest(file)) {
            Ok(stat) => stat.size,
            Err(VolumeError::NotFound { .. }) => 0,
            Err(e) => return Err(e),
        };
        self.length = Some((file.to_owned(), length));
        Ok(length)
    }

    /// The file that takes events of this month: the one with the highest part number.
    fn file_for(&self, at: Timestamp) -> String {
        let month = month(at);
        let part =
            self.known.iter().filter_map(|name| part_of(name, &month)).max().unwrap_or(0).max(self.part);
        if part == 0 { format!("{month}.jsonl") } else { format!("{month}.{part}.jsonl") }
    }
}

/// The part number of a manifest file of `month`: `2026-11.jsonl` is 0, `2026-11.3.jsonl` is 3.
fn part_of(name: &str, month: &str) -> Option<u32> {
    match name.strip_prefix(month)?.strip_suffix(".jsonl")? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse().ok(),
    }
}

/// `YYYY-MM` in UTC.
pub fn month(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
}

/// `YYYY-MM-DD` in UTC.
pub fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string()
}

/// Reads all events with a sequence number above `after`, in order of sequence number, whatever file they are in.
pub fn read(volume: &dyn Volume, after: u64, take: &mut dyn FnMut(Event)) -> Result<Reading, VolumeError> {
    read_lines(volume, after, &mut |line| {
        take(line.event);
        true
    })
}

/// Where a good line lies. What is held of each line while their order is found out, so that a manifest of a million lines
/// fits into the memory of a small box.
#[derive(Clone, Copy)]
struct Found {
    seq: u64,
    offset: u64,
    file: u32,
    len: u32,
}

/// Like [`read`], with the lines themselves. `take` says whether to go on.
pub fn read_lines(
    volume: &dyn Volume,
    after: u64,
    take: &mut dyn FnMut(Line) -> bool,
) -> Result<Reading, VolumeError> {
    let mut reading = Reading::default();
    let mut found: Vec<Found> = Vec::new();
    let files = files(volume)?;
    for (number, file) in (0u32..).zip(&files) {
        // Numbers rise within a file: one that ends before has nothing to tell.
        if after > 0 && tail(volume, file)?.end.seq <= after {
            continue;
        }
        each_line(volume, file, &mut |at, text| match Line::read(text.unwrap_or_default()) {
            Ok(line) => {
                reading.lines += 1;
                if line.event.seq > after {
                    found.push(Found { seq: line.event.seq, offset: at.offset, file: number, len: at.len });
                }
            }
            Err(why) if reading.bad.len() < 100 => reading.bad.push(format!("{file}:{}: {why}", at.number)),
            Err(_) => {}
        })?;
    }
    found.sort_by_key(|line| line.seq);
    let mut before: Option<LineSum> = None;
    let mut window: Option<(u32, Window<'_>)> = None;
    for at in found {
        let open = match window.take() {
            Some((file, open)) if file == at.file => open,
            Some(_) | None => Window::open(volume, &files[at.file as usize])?,
        };
        let open = &mut window.insert((at.file, open)).1;
        let Ok(line) = Line::read(&String::from_utf8_lossy(open.bytes(at.offset, at.len as usize)?)) else {
            continue; // it was good a moment ago: a medium that changes its mind is the probe's to find
        };
        if before.is_some_and(|sum| sum != line.after) {
            reading.breaks += 1;
        }
        before = Some(line.sum);
        if !take(line) {
            break;
        }
    }
    Ok(reading)
}

/// A line in which a drive says that it became something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleChange {
    /// Where it stands.
    pub seq: u64,
    /// What the drive was.
    pub was: DriveRole,
    /// What it is from there on.
    pub role: DriveRole,
    /// The generation that came with it.
    pub generation: u64,
}

/// All changes of a drive's role that came about, in order: a change is recorded before the marker is rewritten, so one with a
/// higher generation than the marker's never did, and of several that are the same only the last.
pub fn role_changes(volume: &dyn Volume, generation: u64) -> Result<Vec<RoleChange>, VolumeError> {
    let mut changes: Vec<RoleChange> = Vec::new();
    // The first generation comes with adoption: nothing has changed since, and a long record need not be read to know.
    if generation <= 1 {
        return Ok(changes);
    }
    for file in files(volume)? {
        each_line(volume, &file, &mut |_, text| {
            // Parsing every line of a long record for the few that matter would be felt at each start.
            let text = text.unwrap_or_default();
            if !text.contains(r#""event":"role""#) {
                return;
            }
            let Ok(Line {
                event: Event { seq, what: What::Role { was, role, generation: new }, .. }, ..
            }) = Line::read(text)
            else {
                return;
            };
            if new <= generation {
                changes.push(RoleChange { seq, was, role, generation: new });
            }
        })?;
    }
    changes.sort_by_key(|change| (change.generation, change.was, change.role, change.seq));
    let last = |later: &mut RoleChange, kept: &mut RoleChange| {
        let kind = |change: &RoleChange| (change.generation, change.was, change.role);
        let same = kind(later) == kind(kept);
        if same {
            *kept = *later;
        }
        same
    };
    changes.dedup_by(last);
    changes.sort_by_key(|change| change.seq);
    Ok(changes)
}

/// Which role a drive had when it wrote a line; `None`: the one it always had.
pub fn role_at(changes: &[RoleChange], seq: u64) -> Option<DriveRole> {
    let before = changes.iter().rfind(|change| change.seq <= seq);
    before.map(|change| change.role).or_else(|| changes.first().map(|change| change.was))
}

/// Where a drive's record ends.
pub fn end(volume: &dyn Volume) -> Result<Position, VolumeError> {
    let mut end = Position::START;
    for file in files(volume)? {
        let tail = tail(volume, &file)?.end;
        if tail.seq > end.seq {
            end = tail;
        }
    }
    Ok(end)
}

/// How a remembered position fits. Reads no more than what comes after it, and the ends of the other files.
pub fn fit(volume: &dyn Volume, position: Position) -> Result<Fit, VolumeError> {
    let end = end(volume)?;
    if end.seq <= position.seq {
        let same = end == position || (end.seq == 0 && position.seq == 0);
        return Ok(if end.seq < position.seq {
            Fit::Ahead
        } else if same {
            Fit::Prefix
        } else {
            Fit::Other
        });
    }
    let mut next = None;
    read_lines(volume, position.seq, &mut |line| {
        next = Some(line.after);
        false
    })?;
    Ok(if next == Some(position.sum) { Fit::Prefix } else { Fit::Other })
}

/// A piece of a file held in memory, moved along as lines are asked for.
struct Window<'v> {
    reader: Around<'v>,
    start: u64,
    held: Vec<u8>,
}

impl<'v> Window<'v> {
    fn open(volume: &'v dyn Volume, file: &str) -> Result<Self, VolumeError> {
        Ok(Self { reader: Around::open(volume, Place::manifest(file))?, start: 0, held: Vec::new() })
    }

    /// `len` bytes from `offset`; fewer where the file has become shorter.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], VolumeError> {
        let inside = offset >= self.start && offset + len as u64 <= self.start + self.held.len() as u64;
        if !inside {
            self.held = read_from(&mut self.reader, offset, (PIECE.max(len)) as u64)?;
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.held.len());
        Ok(&self.held[from..(from + len).min(self.held.len())])
    }
}

fn files(volume: &dyn Volume) -> Result<Vec<String>, VolumeError> {
    let mut names: Vec<String> = volume
        .list(&Place::manifests())?
        .into_iter()
        .filter(|e| e.kind == EntryKind::File)
        .filter_map(|e| e.name)
        .filter(|name| name.ends_with(".jsonl"))
        .collect();
    names.sort();
    Ok(names)
}

/// How much of a file is read at once.
const PIECE: usize = 256 * 1024;
/// No line of ours is longer: what goes on for longer without a newline is not read as one.
const MOST: usize = 64 * 1024;

/// Where a line lies.
struct At {
    number: usize,
    offset: u64,
    len: u32,
}

/// Gives every line that is not empty; `None` for one that is too long or not text.
fn each_line(
    volume: &dyn Volume,
    file: &str,
    take: &mut dyn FnMut(At, Option<&str>),
) -> Result<(), VolumeError> {
    let mut reader = Around::open(volume, Place::manifest(file))?;
    let mut piece = vec![0; PIECE];
    let (mut offset, mut number, mut begun) = (0, 1, 0);
    let mut held: Vec<u8> = Vec::new();
    let mut end = |held: &mut Vec<u8>, begun: u64, number: usize| {
        if !held.is_empty() {
            let text = std::str::from_utf8(held).ok().filter(|text| text.len() <= MOST);
            take(At { number, offset: begun, len: u32::try_from(held.len()).unwrap_or(u32::MAX) }, text);
        }
        held.clear();
    };
    loop {
        let read = reader.read_at(&mut piece, offset)?;
        if read == 0 {
            break;
        }
        let mut rest = &piece[..read];
        while let Some(at) = rest.iter().position(|b| *b == b'\n') {
            hold(&mut held, &rest[..at]);
            end(&mut held, begun, number);
            rest = &rest[at + 1..];
            begun = offset + (read - rest.len()) as u64;
            number += 1;
        }
        hold(&mut held, rest);
        offset += read as u64;
    }
    end(&mut held, begun, number);
    Ok(())
}

/// Bounded: one byte more than a line may have is enough to know that it is none.
fn hold(held: &mut Vec<u8>, bytes: &[u8]) {
    held.extend_from_slice(&bytes[..bytes.len().min(MOST + 1 - held.len().min(MOST + 1))]);
}

/// How a file ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tail {
    /// Its last good line.
    end: Position,
    /// Its last byte ends a line.
    whole: bool,
}

impl Tail {
    /// Of the last bytes of a file; `None` when no good line is in them.
    fn of(bytes: &[u8]) -> Option<Self> {
        let line =
            bytes.rsplit(|b| *b == b'\n').find_map(|l| Line::read(std::str::from_utf8(l).ok()?).ok())?;
        let end = Position { seq: line.event.seq, sum: line.sum };
        Some(Self { end, whole: bytes.last() == Some(&b'\n') })
    }

    fn without_lines(bytes: &[u8]) -> Self {
        Self { end: Position::START, whole: bytes.last().is_none_or(|b| *b == b'\n') }
    }
}

/// The tail of a file as memory shows it.
fn tail(volume: &dyn Volume, file: &str) -> Result<Tail, VolumeError> {
    let place = Place::manifest(file);
    let size = volume.stat(&place)?.size;
    let mut reader = Around::open(volume, place)?;
    let mut reach = 64 * 1024;
    loop {
        let start = size.saturating_sub(reach);
        let bytes = read_from(&mut reader, start, size - start)?;
        if let Some(tail) = Tail::of(&bytes) {
            return Ok(tail);
        }
        if start == 0 {
            return Ok(Tail::without_lines(&bytes));
        }
        reach *= 8;
    }
}

/// The tail of a file as the medium has it; `None` where this filesystem cannot be read past memory.
fn tail_on_medium(volume: &dyn Volume, file: &str) -> Result<Option<Tail>, VolumeError> {
    let mut medium = match volume.open_medium(&Place::manifest(file)) {
        Ok(medium) => medium,
        Err(VolumeError::Unsupported { .. }) => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut last: Option<Tail> = None;
    let mut held: Vec<u8> = Vec::new();
    loop {
        let bytes = medium.next()?;
        if bytes.is_empty() {
            return Ok(Some(last.unwrap_or_else(|| Tail::without_lines(&held))));
        }
        // A line may begin in one piece and end in the next.
        let kept = held.len().saturating_sub(MOST);
        held.drain(..kept);
        held.extend_from_slice(bytes);
        let whole = held.last() == Some(&b'\n');
        last = Tail::of(&held).or(last).map(|tail| Tail { whole, ..tail });
    }
}

fn read_from(reader: &mut Around<'_>, offset: u64, len: u64) -> Result<Vec<u8>, VolumeError> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let read = reader.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes)
}
