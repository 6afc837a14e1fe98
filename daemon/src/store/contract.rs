//! What every [`Volume`] does, as named checks: run against a real directory and against the simulation.
//!
//! Each check gets a fresh volume with nothing on it but, perhaps, our own folders. It answers in words and never
//! panics, so that it can run in a test of any crate.
use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::hash::ContentHash;
use crate::model::path::RelPath;
use crate::model::place::Place;
use crate::store::volume::{EntryKind, MediumRead, ReadAt, Synced, Volume, VolumeError};

mod growing;
mod letting_go;
mod sealing;

/// What a check found out: nothing, or what is wrong.
pub type Verdict = Result<(), String>;

/// One thing that holds for every volume.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The sentence that holds.
    pub name: &'static str,
    /// Tries it on a fresh volume.
    pub run: fn(&dyn Volume) -> Verdict,
}

/// Runs all checks, each on a volume fresh from `make`; all that fail are in the answer.
pub fn contract(make: &dyn Fn() -> Box<dyn Volume>) -> Verdict {
    let failed: Vec<String> = CHECKS
        .iter()
        .filter_map(|check| {
            let volume = make();
            let verdict = ready(volume.as_ref()).and_then(|()| (check.run)(volume.as_ref()));
            verdict.err().map(|why| format!("{}: {why}", check.name))
        })
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// All of them.
pub const CHECKS: &[Check] = &[
    Check { name: "rename never replaces", run: rename_never_replaces },
    Check { name: "rename needs a source and a folder for the target", run: rename_needs_both_ends },
    Check { name: "a folder moves with all below it", run: rename_moves_all_below },
    Check { name: "publish never replaces", run: publish_never_replaces },
    Check { name: "publish needs the folder", run: publish_needs_the_folder },
    Check { name: "publish over replaces, and only files", run: publish_over_replaces },
    Check { name: "a staged file leaves nothing behind", run: staging_leaves_nothing },
    Check { name: "staged files are independent, whatever was expected", run: staged_files_are_independent },
    Check { name: "more than the drive holds is refused at the start", run: too_much_is_refused },
    Check { name: "make_dir tells new from there", run: make_dir_tells_new_from_there },
    Check { name: "remove_dir removes empty folders only", run: remove_dir_removes_empty_ones },
    Check { name: "discard refuses what we keep", run: discard_refuses_what_we_keep },
    Check { name: "append adds at the end, to manifests only", run: append_adds_at_the_end },
    Check { name: "write_small replaces, and no photo", run: write_small_replaces },
    Check { name: "list tells names and kinds", run: list_tells_names_and_kinds },
    Check { name: "stat tells files from folders from nothing", run: stat_tells },
    Check { name: "reading ends where the file ends", run: reading_ends },
    Check { name: "what was written is on the medium", run: medium_has_what_was_written },
    Check { name: "times round-trip to the second", run: times_round_trip },
    Check { name: "a link is a second name for one file", run: link_is_a_second_name },
    Check { name: "a file is not a folder", run: a_file_is_not_a_folder },
    Check { name: "a sealed file is only read, and goes where any goes", run: sealing::only_reads },
    Check { name: "a file that grows", run: growing::keeps_its_name },
    Check { name: "flushing needs something to flush", run: flushing_needs_something },
    Check { name: "ordinary programs see the same files", run: programs_see_the_same },
    Check { name: "the drive proves itself and its room", run: the_drive_proves_itself },
    Check { name: "a drive that was let go answers no more", run: letting_go::answers_no_more },
];

/// The kinds of errors, to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    Gone,
    ReadOnly,
    Exists,
    NotFound,
    NotEmpty,
    Unsupported,
    Io,
}

const fn kind(error: &VolumeError) -> Kind {
    match error {
        VolumeError::Full { .. } => Kind::Full,
        VolumeError::Gone { .. } => Kind::Gone,
        VolumeError::ReadOnly { .. } => Kind::ReadOnly,
        VolumeError::Exists { .. } => Kind::Exists,
        VolumeError::NotFound { .. } => Kind::NotFound,
        VolumeError::NotEmpty { .. } => Kind::NotEmpty,
        VolumeError::Unsupported { .. } => Kind::Unsupported,
        VolumeError::Io { .. } => Kind::Io,
    }
}

/// A file where a folder is needed: no caller tells these two apart.
const NOT_A_FOLDER: &[Kind] = &[Kind::NotFound, Kind::Io];

/// Refused for a reason that no caller branches on.
const REFUSED: &[Kind] = &[Kind::Io, Kind::Unsupported];

/// There is something, and it is no file.
const NOT_A_FILE: &[Kind] = &[Kind::NotFound, Kind::Io, Kind::Unsupported];

fn done<T>(what: &str, result: Result<T, VolumeError>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

fn fails<T>(what: &str, result: Result<T, VolumeError>, with: &[Kind]) -> Verdict {
    match result {
        Ok(_) => Err(format!("{what}: succeeded instead of failing with {with:?}")),
        Err(error) if with.contains(&kind(&error)) => Ok(()),
        Err(error) => Err(format!("{what}: failed with {:?} ({error}) instead of {with:?}", kind(&error))),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: impl Display, found: &T, wanted: &T) -> Verdict {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?} instead of {wanted:?}")) }
}

fn photo(name: &str) -> Result<Place, String> {
    let path = RelPath::parse(name).map_err(|why| format!("{name}: {why}"))?;
    Ok(Place::photo(&path))
}

/// The folders that adoption makes.
fn ready(volume: &dyn Volume) -> Verdict {
    let folders = [Place::photos(), Place::incoming(), Place::manifests(), Place::scratches()];
    folders.iter().try_for_each(|folder| make_all(volume, folder))
}

fn make_all(volume: &dyn Volume, folder: &Place) -> Verdict {
    match folder.parent() {
        None => Ok(()),
        Some(parent) => {
            make_all(volume, &parent)?;
            done("make a folder", volume.make_dir(folder)).map(drop)
        }
    }
}

fn stage(volume: &dyn Volume, bytes: &[u8]) -> Result<Box<dyn Synced>, String> {
    let mut staged = done("stage", volume.stage(None))?;
    // An odd piece, so that no write begins on a block.
    for piece in bytes.chunks(65_537) {
        done("write", staged.write(piece))?;
    }
    done("sync", staged.sync(None))
}

fn store(volume: &dyn Volume, place: &Place, bytes: &[u8]) -> Verdict {
    done("publish", stage(volume, bytes)?.publish(place))?;
    place.parent().map_or(Ok(()), |folder| done("sync_dir", volume.sync_dir(&folder)))
}

fn read(volume: &dyn Volume, place: &Place) -> Result<Vec<u8>, String> {
    let mut reader = done("open", volume.open(place))?;
    read_all(reader.as_mut())
}

fn read_all(reader: &mut dyn ReadAt) -> Result<Vec<u8>, String> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 100_003]);
    loop {
        let len = done("read_at", reader.read_at(&mut piece, bytes.len() as u64))?;
        if len == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(piece.get(..len).ok_or("read_at: more bytes than room")?);
    }
}

fn read_medium(mut reader: Box<dyn MediumRead>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    loop {
        let piece = done("read from the medium", reader.next())?;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(piece);
    }
}

fn holds(volume: &dyn Volume, place: &Place, wanted: &[u8]) -> Verdict {
    let found = read(volume, place)?;
    if found == wanted {
        return Ok(());
    }
    let differs = found.iter().zip(wanted).position(|(a, b)| a != b);
    let (found, wanted) = (found.len(), wanted.len());
    Err(format!("{place}: {found} bytes where {wanted} were written, first difference at {differs:?}"))
}

fn names(volume: &dyn Volume, folder: &Place) -> Result<Vec<String>, String> {
    let mut names: Vec<String> =
        done("list", volume.list(folder))?.into_iter().filter_map(|entry| entry.name).collect();
    names.sort();
    Ok(names)
}

/// Nothing in staging, at once or soon: where FUSE serves the files, one that is removed while anybody still has it open
/// (a child of this process between fork and exec is enough) keeps a hidden name until it is closed.
fn nothing(what: &str, volume: &dyn Volume) -> Verdict {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..100 {
        if names(volume, &Place::incoming())?.is_empty() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    same(what, &names(volume, &Place::incoming())?, &Vec::new())
}

fn rename_never_replaces(volume: &dyn Volume) -> Verdict {
    let (a, b, folder, empty) = (photo("a")?, photo("b")?, photo("folder")?, photo("empty")?);
    store(volume, &a, b"aaa")?;
    store(volume, &b, b"bb")?;
    for new in [&folder, &empty] {
        same("make_dir", &done("make_dir", volume.make_dir(new))?, &true)?;
    }
    for (from, to) in [(&a, &b), (&a, &empty), (&folder, &b), (&folder, &empty), (&a, &a)] {
        fails(&format!("rename {from} to {to}"), volume.rename_new(from, to), &[Kind::Exists])?;
    }
    holds(volume, &a, b"aaa")?;
    holds(volume, &b, b"bb")?;
    done("rename", volume.rename_new(&a, &photo("c")?))?;
    fails("stat of the old name", volume.stat(&a), &[Kind::NotFound])?;
    holds(volume, &photo("c")?, b"aaa")
}

fn rename_needs_both_ends(volume: &dyn Volume) -> Verdict {
    let (a, folder) = (photo("a")?, photo("folder")?);
    store(volume, &a, b"a")?;
    done("make_dir", volume.make_dir(&folder))?;
    fails("rename of nothing", volume.rename_new(&photo("none")?, &photo("b")?), &[Kind::NotFound])?;
    fails("rename into no folder", volume.rename_new(&a, &photo("none/a")?), &[Kind::NotFound])?;
    fails("rename into itself", volume.rename_new(&folder, &photo("folder/below")?), REFUSED)?;
    fails("rename below a file", volume.rename_new(&folder, &photo("a/below")?), NOT_A_FOLDER)?;
    holds(volume, &a, b"a")
}

fn rename_moves_all_below(volume: &dyn Volume) -> Verdict {
    make_all(volume, &photo("x/y")?)?;
    make_all(volume, &photo("z")?)?;
    store(volume, &photo("x/y/deep")?, b"deep")?;
    store(volume, &photo("x/top")?, b"top")?;
    done("rename", volume.rename_new(&photo("x")?, &photo("z/x")?))?;
    holds(volume, &photo("z/x/y/deep")?, b"deep")?;
    holds(volume, &photo("z/x/top")?, b"top")?;
    fails("list of the old name", volume.list(&photo("x")?), &[Kind::NotFound])
}

fn publish_never_replaces(volume: &dyn Volume) -> Verdict {
    let (a, folder) = (photo("a")?, photo("folder")?);
    store(volume, &a, b"first")?;
    done("make_dir", volume.make_dir(&folder))?;
    let mut second = stage(volume, b"second")?;
    fails("publish to a taken name", second.publish(&a), &[Kind::Exists])?;
    fails("publish to a folder", second.publish(&folder), &[Kind::Exists])?;
    holds(volume, &a, b"first")?;
    done("publish to a free name", second.publish(&photo("b")?))?;
    drop(second);
    holds(volume, &a, b"first")?;
    holds(volume, &photo("b")?, b"second")
}

fn publish_needs_the_folder(volume: &dyn Volume) -> Verdict {
    let place = photo("folder/a")?;
    let mut synced = stage(volume, b"a")?;
    fails("publish into no folder", synced.publish(&place), &[Kind::NotFound])?;
    done("make_dir", volume.make_dir(&photo("folder")?))?;
    done("publish", synced.publish(&place))?;
    holds(volume, &place, b"a")
}

fn publish_over_replaces(volume: &dyn Volume) -> Verdict {
    let (a, trash, folder) = (photo("a")?, Place::own().entry("kept").ok_or("a name")?, photo("folder")?);
    store(volume, &a, b"first")?;
    done("make_dir", volume.make_dir(&folder))?;
    let linked = volume.link(&a, &trash).is_ok();
    let before = done("stat", volume.stat(&a))?;
    let mut second = stage(volume, b"second")?;
    fails("publish over a folder", second.publish_over(&folder), &[Kind::Exists, Kind::Io])?;
    drop(second);
    let mut second = stage(volume, b"second")?;
    done("publish over a file", second.publish_over(&a))?;
    drop(second);
    holds(volume, &a, b"second")?;
    if linked {
        holds(volume, &trash, b"first")?;
        same("the old file", &done("stat", volume.stat(&trash))?.inode, &before.inode)?;
        if done("stat", volume.stat(&a))?.inode == before.inode {
            return Err("the new content lies in the old file".to_owned());
        }
    }
    nothing("left in staging", volume)
}

fn staging_leaves_nothing(volume: &dyn Volume) -> Verdict {
    let mut staged = done("stage", volume.stage(Some(10)))?;
    done("write", staged.write(b"12345"))?;
    drop(staged);
    drop(done("stage", volume.stage(None))?);
    drop(stage(volume, b"never named")?);
    nothing("left by dropped files", volume)?;
    store(volume, &photo("a")?, b"named")?;
    let mut refused = stage(volume, b"refused")?;
    fails("publish", refused.publish(&photo("a")?), &[Kind::Exists])?;
    drop(refused);
    nothing("left after publishing", volume)?;
    same("in photos", &names(volume, &Place::photos())?, &vec!["a".to_owned()])
}

fn staged_files_are_independent(volume: &dyn Volume) -> Verdict {
    let mut more = done("stage", volume.stage(Some(1 << 20)))?;
    let mut less = done("stage", volume.stage(Some(1)))?;
    done("write", more.write(b"mo"))?;
    done("write", less.write(b"le"))?;
    done("write", more.write(b"re"))?;
    done("write", less.write(b""))?;
    done("write", less.write(b"ss"))?;
    let (a, b) = (photo("a")?, photo("b")?);
    done("publish", done("sync", more.sync(None))?.publish(&a))?;
    done("publish", done("sync", less.sync(None))?.publish(&b))?;
    holds(volume, &a, b"more")?;
    holds(volume, &b, b"less")?;
    same("size with more set aside", &done("stat", volume.stat(&a))?.size, &4)
}

fn too_much_is_refused(volume: &dyn Volume) -> Verdict {
    let total = done("space", volume.space())?.total;
    fails("stage for more than there is", volume.stage(Some(total.saturating_add(1))), &[Kind::Full])?;
    nothing("left in staging", volume)
}

fn make_dir_tells_new_from_there(volume: &dyn Volume) -> Verdict {
    let (folder, file) = (photo("folder")?, photo("file")?);
    same("first", &done("make_dir", volume.make_dir(&folder))?, &true)?;
    store(volume, &photo("folder/a")?, b"a")?;
    same("second", &done("make_dir", volume.make_dir(&folder))?, &false)?;
    holds(volume, &photo("folder/a")?, b"a")?;
    fails("make_dir in no folder", volume.make_dir(&photo("none/folder")?), &[Kind::NotFound])?;
    store(volume, &file, b"file")?;
    fails("make_dir over a file", volume.make_dir(&file), &[Kind::Exists])?;
    holds(volume, &file, b"file")
}

fn remove_dir_removes_empty_ones(volume: &dyn Volume) -> Verdict {
    let (folder, inner) = (photo("folder")?, photo("folder/a")?);
    done("make_dir", volume.make_dir(&folder))?;
    store(volume, &inner, b"a")?;
    fails("remove_dir of a full folder", volume.remove_dir(&folder), &[Kind::NotEmpty])?;
    fails("remove_dir of a file", volume.remove_dir(&inner), NOT_A_FOLDER)?;
    holds(volume, &inner, b"a")?;
    done("rename", volume.rename_new(&inner, &photo("a")?))?;
    done("remove_dir", volume.remove_dir(&folder))?;
    fails("stat", volume.stat(&folder), &[Kind::NotFound])?;
    fails("remove_dir of nothing", volume.remove_dir(&folder), &[Kind::NotFound])
}

fn discard_refuses_what_we_keep(volume: &dyn Volume) -> Verdict {
    let name = RelPath::parse("a").map_err(|why| why.to_string())?;
    let trash = Place::trash("2026-11-21", 1, &name);
    let quarantine = Place::quarantine("2026-11-21", 1, &name);
    for place in [&trash, &quarantine] {
        make_all(volume, &place.parent().ok_or("a parent")?)?;
    }
    for kept in [Place::photo(&name), trash, quarantine, Place::manifest("a")] {
        store(volume, &kept, b"kept")?;
        fails(&format!("discard {kept}"), volume.discard(&kept), REFUSED)?;
        holds(volume, &kept, b"kept")?;
    }
    // A drive that was adopted has its marker already.
    if volume.stat(&Place::marker()).is_err() {
        store(volume, &Place::marker(), b"kept")?;
    }
    fails("discard the marker", volume.discard(&Place::marker()), REFUSED)?;
    done("stat of the marker", volume.stat(&Place::marker()))?;
    for litter in [Place::scratch(&ContentHash::of(b"x")), Place::staged("a"), Place::probe()] {
        store(volume, &litter, b"litter")?;
        done("discard", volume.discard(&litter))?;
        fails("stat", volume.stat(&litter), &[Kind::NotFound])?;
        fails("discard of nothing", volume.discard(&litter), &[Kind::NotFound])?;
        done("make_dir", volume.make_dir(&litter))?;
        fails("discard of a folder", volume.discard(&litter), REFUSED)?;
    }
    Ok(())
}

fn append_adds_at_the_end(volume: &dyn Volume) -> Verdict {
    let (lines, kept) = (Place::manifest("2026-11.jsonl"), photo("a")?);
    for line in ["one\n", "", "two\n"] {
        done("append", volume.append(&lines, line.as_bytes()))?;
    }
    holds(volume, &lines, b"one\ntwo\n")?;
    same("medium", &read_medium(done("open_medium", volume.open_medium(&lines))?)?, &b"one\ntwo\n".to_vec())?;
    store(volume, &kept, b"a")?;
    fails("append to a photo", volume.append(&kept, b"b"), REFUSED)?;
    fails("append to a new photo", volume.append(&photo("b")?, b"b"), REFUSED)?;
    holds(volume, &kept, b"a")?;
    same("in photos", &names(volume, &Place::photos())?, &vec!["a".to_owned()])
}

fn write_small_replaces(volume: &dyn Volume) -> Verdict {
    let (sums, kept) = (Place::manifest("2026-11.sha256"), photo("a")?);
    for content in ["first, and longer", "second", ""] {
        done("write_small", volume.write_small(&sums, content.as_bytes()))?;
        holds(volume, &sums, content.as_bytes())?;
    }
    done("write_small", volume.write_small(&Place::probe(), b"probe"))?;
    same("left", &names(volume, &Place::manifests())?, &vec!["2026-11.sha256".to_owned()])?;
    nothing("left in staging", volume)?;
    let missing = Place::manifests().entry("none").and_then(|none| none.entry("a.sha256")).ok_or("a name")?;
    fails("write_small in no folder", volume.write_small(&missing, b"a"), &[Kind::NotFound])?;
    store(volume, &kept, b"a")?;
    fails("write_small over a photo", volume.write_small(&kept, b"b"), REFUSED)?;
    holds(volume, &kept, b"a")
}

fn list_tells_names_and_kinds(volume: &dyn Volume) -> Verdict {
    let folder = photo("folder")?;
    done("make_dir", volume.make_dir(&folder))?;
    same("in an empty folder", &done("list", volume.list(&folder))?, &Vec::new())?;
    // What FAT forbids is spelled with private-use characters; the longest name is 255 bytes.
    let spelled = ["Ünï 🌅.heic".to_owned(), "a:b?.jpg".to_owned(), " lead".to_owned(), "x".repeat(255)];
    let mut wanted = Vec::new();
    for name in &spelled {
        let place = photo(&format!("folder/{name}"))?;
        store(volume, &place, name.as_bytes())?;
        holds(volume, &place, name.as_bytes())?;
        wanted.push((Some(place.name().to_owned()), false));
    }
    done("make_dir", volume.make_dir(&photo("folder/sub")?))?;
    wanted.push((Some("sub".to_owned()), true));
    wanted.sort();
    let entries = done("list", volume.list(&folder))?;
    let mut found: Vec<(Option<String>, bool)> =
        entries.into_iter().map(|entry| (entry.name, entry.kind == EntryKind::Dir)).collect();
    found.sort();
    same("list", &found, &wanted)?;
    let root: Vec<String> = names(volume, &Place::root())?;
    let ours = root.iter().filter(|name| matches!(name.as_str(), "photos" | ".shoebox")).count();
    same("our folders at the root", &ours, &2)?;
    fails("list of nothing", volume.list(&photo("none")?), &[Kind::NotFound])
}

fn stat_tells(volume: &dyn Volume) -> Verdict {
    store(volume, &photo("a")?, b"12345")?;
    let file = done("stat", volume.stat(&photo("a")?))?;
    same("size and kind", &(file.size, file.is_dir), &(5, false))?;
    for folder in [Place::root(), Place::photos()] {
        same("a folder", &done("stat", volume.stat(&folder))?.is_dir, &true)?;
    }
    fails("stat of nothing", volume.stat(&photo("b")?), &[Kind::NotFound])?;
    fails("stat in no folder", volume.stat(&photo("none/b")?), &[Kind::NotFound])
}

fn reading_ends(volume: &dyn Volume) -> Verdict {
    let (a, empty) = (photo("a")?, photo("empty")?);
    store(volume, &a, b"0123456789")?;
    store(volume, &empty, b"")?;
    let mut reader = done("open", volume.open(&a))?;
    for (offset, wanted) in [(7, "789"), (0, "0123"), (9, "9"), (10, ""), (11, ""), (1 << 40, "")] {
        let mut buf = [b'.'; 4];
        let len = done("read_at", reader.read_at(&mut buf, offset))?;
        same(format!("read at {offset}"), &buf.get(..len), &Some(wanted.as_bytes()))?;
    }
    same("read into nothing", &done("read_at", reader.read_at(&mut [], 0))?, &0)?;
    // An open file stays what it was, whatever happens to its name.
    done("publish over", stage(volume, b"new")?.publish_over(&a))?;
    same("the old file", &read_all(reader.as_mut())?, &b"0123456789".to_vec())?;
    holds(volume, &empty, b"")?;
    fails("open nothing", volume.open(&photo("none")?), &[Kind::NotFound])?;
    fails("open nothing on the medium", volume.open_medium(&photo("none")?), &[Kind::NotFound])
}

fn medium_has_what_was_written(volume: &dyn Volume) -> Verdict {
    for size in [0, 1, 4095, 4096, 4097, (1 << 20) + 1, 3 * (1 << 20) + 17] {
        let place = photo(&size.to_string())?;
        // No zeros: those are what a block that was never written back looks like.
        let bytes: Vec<u8> =
            (0..size).map(|at: u32| at.wrapping_mul(2_654_435_761).to_be_bytes()[0] | 1).collect();
        let mut synced = stage(volume, &bytes)?;
        let nameless = read_medium(done("medium", synced.medium())?)?;
        done("publish", synced.publish(&place))?;
        let again = read_medium(done("medium", synced.medium())?)?;
        drop(synced);
        let named = read_medium(done("open_medium", volume.open_medium(&place))?)?;
        let reads = [(nameless, "before it is named"), (again, "once it is"), (named, "by its name")];
        if let Some((found, when)) = reads.into_iter().find(|(found, _)| *found != bytes) {
            return Err(format!("{size} bytes, read from the medium {when}: {} others came", found.len()));
        }
        holds(volume, &place, &bytes)?;
    }
    Ok(())
}

fn times_round_trip(volume: &dyn Volume) -> Verdict {
    // exFAT has no hard links and may keep even seconds only.
    let probe = photo("probe")?;
    store(volume, &probe, b"")?;
    let coarse = volume.link(&probe, &photo("link")?).is_err();
    for second in [1_000_000_000, 1_700_000_001, 1_700_000_002, 2_208_988_800_i64] {
        let time = Timestamp::from_second(second).map_err(|why| why.to_string())?;
        let place = photo(&second.to_string())?;
        let mut staged = done("stage", volume.stage(None))?;
        done("write", staged.write(b"dated"))?;
        done("publish", done("sync", staged.sync(Some(time)))?.publish(&place))?;
        let found = || Ok::<_, String>(done("stat", volume.stat(&place))?.mtime.as_second());
        let is_right = |found: i64, second: i64| found == second || (coarse && found == second - second % 2);
        if !is_right(found()?, second) {
            return Err(format!("{second} came back as {}", found()?));
        }
        let later = second + 100_000;
        done("set time", volume.set_mtime(&place, Timestamp::from_second(later).unwrap_or_default()))?;
        if !is_right(found()?, later) {
            return Err(format!("{later}, set later, came back as {}", found()?));
        }
    }
    let absent = volume.set_mtime(&photo("absent")?, Timestamp::UNIX_EPOCH);
    fails("set time of nothing", absent, &[Kind::NotFound])
}

fn link_is_a_second_name(volume: &dyn Volume) -> Verdict {
    let (a, b, folder) = (photo("a")?, photo("b")?, photo("folder")?);
    store(volume, &a, b"a")?;
    done("make_dir", volume.make_dir(&folder))?;
    match volume.link(&a, &b) {
        Err(VolumeError::Unsupported { .. }) => {
            return fails("stat after no link", volume.stat(&b), &[Kind::NotFound]);
        }
        other => done("link", other)?,
    }
    let (first, second) = (done("stat", volume.stat(&a))?, done("stat", volume.stat(&b))?);
    same("the inode", &first.inode, &second.inode)?;
    fails("link to a taken name", volume.link(&a, &folder), &[Kind::Exists])?;
    fails("link to its own name", volume.link(&a, &b), &[Kind::Exists])?;
    fails("link of nothing", volume.link(&photo("none")?, &photo("c")?), &[Kind::NotFound])?;
    fails("link into no folder", volume.link(&a, &photo("none/c")?), &[Kind::NotFound])?;
    fails("link of a folder", volume.link(&folder, &photo("c")?), REFUSED)?;
    done("publish over", stage(volume, b"new")?.publish_over(&a))?;
    holds(volume, &b, b"a")
}

fn a_file_is_not_a_folder(volume: &dyn Volume) -> Verdict {
    let (file, below) = (photo("file")?, photo("file/below")?);
    store(volume, &file, b"file")?;
    store(volume, &photo("other")?, b"other")?;
    fails("list", volume.list(&file), NOT_A_FOLDER)?;
    fails("make_dir below", volume.make_dir(&below), NOT_A_FOLDER)?;
    fails("publish below", stage(volume, b"x")?.publish(&below), NOT_A_FOLDER)?;
    fails("rename below", volume.rename_new(&photo("other")?, &below), NOT_A_FOLDER)?;
    fails("stat below", volume.stat(&below), NOT_A_FOLDER)?;
    fails("open below", volume.open(&below), NOT_A_FOLDER)?;
    fails("open a folder", volume.open(&Place::photos()), NOT_A_FILE)?;
    fails("open a folder on the medium", volume.open_medium(&Place::photos()), NOT_A_FILE)?;
    holds(volume, &file, b"file")
}

fn flushing_needs_something(volume: &dyn Volume) -> Verdict {
    let file = photo("file")?;
    store(volume, &file, b"file")?;
    for folder in [Place::root(), Place::own(), Place::photos()] {
        done("sync_dir", volume.sync_dir(&folder))?;
    }
    fails("sync_dir of nothing", volume.sync_dir(&photo("none")?), &[Kind::NotFound])?;
    fails("sync_dir of a file", volume.sync_dir(&file), NOT_A_FOLDER)?;
    done("sync_file", volume.sync_file(&file))?;
    fails("sync_file of nothing", volume.sync_file(&photo("none")?), &[Kind::NotFound])?;
    holds(volume, &file, b"file")
}

fn programs_see_the_same(volume: &dyn Volume) -> Verdict {
    let place = photo("a:b")?;
    store(volume, &place, b"seen")?;
    let Some(path) = volume.os_path(&place) else { return Ok(()) };
    let found = std::fs::read(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    same("through the path", &found, &b"seen".to_vec())
}

fn the_drive_proves_itself(volume: &dyn Volume) -> Verdict {
    done("prove", volume.prove())?;
    let space = done("space", volume.space())?;
    if space.available > space.total || space.total == 0 || space.inodes == 0 {
        return Err(format!("{space:?}"));
    }
    Ok(())
}
