//! A drive's manifest: the append-only record from which everything else can be rebuilt. One file a month,
//! one self-checksummed line per event, each naming the checksum of the line before it.
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::event::{Event, Line, LineSum, What};
use crate::model::place::Place;
use crate::store::volume::{EntryKind, ReadAt, Volume, VolumeError};

/// The writing end. One per drive, held by whoever commits to that drive.
pub struct Manifest {
    volume: Arc<dyn Volume>,
    next: u64,
    after: LineSum,
    /// Files that exist already, so that a new one is followed by a flush of the directory.
    known: Vec<String>,
    /// Files that were there when this was opened. Before one is appended to, memory and medium are compared: a flush of
    /// it may have failed, in this process or in one before it, and the next flush would claim what is not so (I5).
    unchecked: Vec<String>,
    /// Files that end without a newline (a torn write before the last power cut).
    torn: Vec<String>,
    /// The lowest part number in use: raised past a file whose append failed, which is never flushed again (I5).
    part: u32,
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
        let mut end = Position::START;
        let mut torn = Vec::new();
        for file in &known {
            let (last, whole) = last_line(&*volume, file)?;
            if let Some(line) = last.filter(|l| l.event.seq > end.seq) {
                end = Position { seq: line.event.seq, sum: line.sum };
            }
            if !whole {
                torn.push(file.clone());
            }
        }
        let unchecked = known.clone();
        Ok(Self { volume, next: end.seq + 1, after: end.sum, known, unchecked, torn, part: 0 })
    }

    /// Where it ends now.
    pub fn position(&self) -> Position {
        Position { seq: self.next - 1, sum: self.after }
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
        self.volume.append(&Place::manifest(file), bytes)?;
        if !self.known.iter().any(|f| f == file) {
            // The lines are durable only when the new file's name is.
            self.volume.sync_dir(&Place::manifests())?;
            self.known.push(file.to_owned());
        }
        Ok(())
    }

    /// The file that takes events of this month, after a look at whether its pages are what the medium has.
    fn sound_file(&mut self, at: Timestamp) -> Result<String, VolumeError> {
        loop {
            let file = self.file_for(at);
            let Some(index) = self.unchecked.iter().position(|f| *f == file) else { return Ok(file) };
            if same_on_medium(&*self.volume, &Place::manifest(&file))? {
                self.unchecked.swap_remove(index);
                return Ok(file);
            }
            self.part = part_of(&file, &month(at)).unwrap_or(0) + 1;
        }
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
    let mut reading = Reading::default();
    let mut lines: Vec<Line> = Vec::new();
    for file in files(volume)? {
        each_line(volume, &file, &mut |number, text| match Line::read(text) {
            Ok(line) => {
                reading.lines += 1;
                if line.event.seq > after {
                    lines.push(line);
                }
            }
            Err(why) => {
                if reading.bad.len() < 100 {
                    reading.bad.push(format!("{file}:{number}: {why}"));
                }
            }
        })?;
    }
    lines.sort_by_key(|l| l.event.seq);
    let mut before: Option<LineSum> = None;
    for line in lines {
        if before.is_some_and(|sum| sum != line.after) {
            reading.breaks += 1;
        }
        before = Some(line.sum);
        take(line.event);
    }
    Ok(reading)
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

fn each_line(volume: &dyn Volume, file: &str, take: &mut dyn FnMut(usize, &str)) -> Result<(), VolumeError> {
    let mut reader = volume.open(&Place::manifest(file))?;
    let mut piece = vec![0; 256 * 1024];
    let (mut offset, mut number) = (0, 0);
    let mut held: Vec<u8> = Vec::new();
    loop {
        let read = reader.read_at(&mut piece, offset)?;
        if read == 0 {
            break;
        }
        offset += read as u64;
        held.extend_from_slice(&piece[..read]);
        let mut start = 0;
        while let Some(end) = held[start..].iter().position(|b| *b == b'\n').map(|n| start + n) {
            number += 1;
            if end > start {
                take(number, &String::from_utf8_lossy(&held[start..end]));
            }
            start = end + 1;
        }
        held.drain(..start);
    }
    if !held.is_empty() {
        take(number + 1, &String::from_utf8_lossy(&held));
    }
    Ok(())
}

/// Whether what memory shows of a file is what the medium has. Memory is asked first: reading the medium drops its pages.
fn same_on_medium(volume: &dyn Volume, place: &Place) -> Result<bool, VolumeError> {
    let mut in_memory = blake3::Hasher::new();
    let mut reader = volume.open(place)?;
    let mut piece = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        let read = reader.read_at(&mut piece, offset)?;
        if read == 0 {
            break;
        }
        in_memory.update(&piece[..read]);
        offset += read as u64;
    }
    let mut on_medium = blake3::Hasher::new();
    let mut medium = volume.open_medium(place)?;
    loop {
        let bytes = medium.next()?;
        if bytes.is_empty() {
            return Ok(in_memory.finalize() == on_medium.finalize());
        }
        on_medium.update(bytes);
    }
}

/// The last good line of a file, and whether the file ends with a newline.
fn last_line(volume: &dyn Volume, file: &str) -> Result<(Option<Line>, bool), VolumeError> {
    let place = Place::manifest(file);
    let size = volume.stat(&place)?.size;
    let mut reader = volume.open(&place)?;
    let mut reach = 64 * 1024;
    loop {
        let start = size.saturating_sub(reach);
        let tail = read_from(&mut *reader, start, size - start)?;
        let whole = tail.last().is_none_or(|b| *b == b'\n');
        let text = String::from_utf8_lossy(&tail);
        if let Some(line) = text.lines().rev().find_map(|l| Line::read(l).ok()) {
            return Ok((Some(line), whole));
        }
        if start == 0 {
            return Ok((None, whole));
        }
        reach *= 8;
    }
}

fn read_from(reader: &mut dyn ReadAt, offset: u64, len: u64) -> Result<Vec<u8>, VolumeError> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let read = reader.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes)
}
