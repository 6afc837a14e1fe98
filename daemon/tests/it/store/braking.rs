//! The brake: what changes or vanishes all at once on A takes nothing away from B until a person has answered (P5, I15, I24).
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use jiff::SignedDuration;
use shoebox::work::error::Refusal;
use shoebox::work::views::Answered;

use super::furnished::{Furnished, computer, path};

/// Beyond a hand, in a pool as small as these.
const MANY: usize = 33;
/// Two thirds are beyond it, too.
const THIRD: usize = MANY / 3;

fn name(number: usize) -> String {
    format!("anna/album/{number:03}.jpg")
}

fn bytes(number: usize) -> Vec<u8> {
    format!("photo number {number}").into_bytes()
}

/// A pool with many photos on both drives.
fn many() -> Furnished {
    let mut home = Furnished::new();
    for number in 0..MANY {
        home.put(&name(number), &bytes(number));
    }
    home.mirrored();
    home.pass(3);
    home
}

/// B's photos are all what they were.
fn b_is_untouched(home: &Furnished) {
    for number in 0..MANY {
        assert_eq!(fs::read(home.at("b", &name(number))).unwrap(), bytes(number), "{number}");
    }
}

fn findings(home: &Furnished) -> Vec<(u64, u64, u64)> {
    home.pool.take_census().unwrap();
    home.pool
        .changes(None, 0)
        .unwrap()
        .summary
        .map(|s| (s.vanished, s.changed, s.deleted))
        .into_iter()
        .collect()
}

/// Writes over a photo of A as other programs do.
fn encrypt(home: &Furnished, name: &str) {
    fs::write(home.at("a", name), b"pay us, or else!").unwrap();
}

#[test]
fn many_files_written_over_stay_as_they_were_on_b() {
    let mut home = many();
    for number in 0..MANY {
        encrypt(&home, &name(number));
    }
    assert_eq!(home.rescanned().adopted, MANY as u64);
    home.put("anna/phone/new.jpg", b"a new photo");
    for _ in 0..3 {
        home.mirrored();
        home.pass(30);
    }
    b_is_untouched(&home);
    assert_eq!(home.state("anna/phone/new.jpg", "b"), "verified", "what is new is copied all the while");
    assert_eq!(findings(&home), [(0, MANY as u64, 0)]);
    // A new daemon, and one whose catalogue is lost, know of it from the record.
    let mut home = home.restarted();
    home.mirrored();
    b_is_untouched(&home);
    let home = home.away();
    for end in ["", "-wal"] {
        drop(fs::remove_file(home.mount("a").join(format!(".shoebox/catalogue.db{end}"))));
    }
    let mut home = home.restarted();
    for _ in 0..3 {
        home.mirrored();
        home.pass(30);
    }
    b_is_untouched(&home);
    assert_eq!(findings(&home), [(0, MANY as u64, 0)]);
}

#[test]
fn a_hand_full_of_edits_goes_through() {
    let mut home = many();
    for number in 0..20 {
        encrypt(&home, &name(number));
    }
    home.rescanned();
    home.mirrored();
    assert_eq!(fs::read(home.at("b", &name(19))).unwrap(), b"pay us, or else!");
    assert_eq!(findings(&home), []);
}

#[test]
fn one_file_saved_again_and_again_is_no_catastrophe() {
    let mut home = many();
    for number in 0..60 {
        home.put(&name(0), format!("version {number}").as_bytes());
    }
    home.mirrored();
    assert_eq!(fs::read(home.at("b", &name(0))).unwrap(), b"version 59");
    assert_eq!(findings(&home), []);
}

#[test]
fn any_mix_of_hands_counts() {
    let mut home = many();
    let mac = computer();
    for number in 0..8 {
        home.tree().trash(&mac, &path(&name(number))).unwrap();
    }
    for number in 8..16 {
        home.put(&name(number), b"overwritten by an app");
    }
    for number in 16..24 {
        let file = home.at("a", &name(number));
        fs::write(file.with_extension("locked"), b"rubbish").unwrap();
        fs::remove_file(file).unwrap();
    }
    home.rescanned();
    for _ in 0..3 {
        home.mirrored();
        home.pass(30);
    }
    b_is_untouched(&home);
    assert_eq!(findings(&home), [(8, 8, 8)]);
    // The clock is wrong by years, forth and back: nothing goes (I24).
    for hours in [90_000, -180_000, 90_000] {
        home.pass(hours);
        home.rescanned();
        home.mirrored();
        b_is_untouched(&home);
    }
    let locked = home.at("b", "anna/album/016.locked");
    assert_eq!(fs::read(locked).unwrap(), b"rubbish", "new names are additions, whatever is in them");
}

#[test]
fn an_empty_or_missing_tree_on_a_empties_nothing() {
    for all in [false, true] {
        let mut home = many();
        let top = home.mount("a").join("photos");
        fs::remove_dir_all(&top).unwrap();
        if !all {
            fs::create_dir(&top).unwrap();
        }
        assert_eq!(home.rescanned().missing, MANY as u64);
        for _ in 0..3 {
            home.mirrored();
            home.pass(30);
            home.rescanned();
        }
        b_is_untouched(&home);
        assert_eq!(findings(&home), [(MANY as u64, 0, 0)]);
        assert!(home.tree().find(&path("anna/phone")).unwrap().is_some(), "no folder was forgotten for it");
        home.put("anna/phone/new.jpg", b"a new photo");
        home.mirrored();
        assert_eq!(home.state("anna/phone/new.jpg", "b"), "verified");
    }
}

/// What A's tree holds, with times: by name.
fn tree_of_a(home: &Furnished) -> Vec<(String, Vec<u8>, i64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(home.at("a", "anna/album")).unwrap() {
        let file = entry.unwrap().path();
        let at = fs::metadata(&file).unwrap().modified().unwrap();
        let at = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        all.push((file.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&file).unwrap(), at));
    }
    all.sort();
    all
}

fn put_it_back(home: &Furnished, below: &[&str]) -> Answered {
    let below: Vec<_> = below.iter().map(|name| path(name)).collect();
    home.pool.put_it_back(&below, &mut |_| ()).unwrap()
}

/// How often these bytes lie below a directory of a drive.
fn count(home: &Furnished, drive: &str, below: &str, bytes: &[u8]) -> usize {
    let (mut found, mut todo) = (0, vec![home.mount(drive).join(below)]);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => todo.push(path),
                false => found += usize::from(fs::read(path).unwrap() == bytes),
            }
        }
    }
    found
}

/// A third of the photos is deleted by an app, a third written over, a third renamed by something that encrypts them.
fn struck(home: &mut Furnished) {
    for number in 0..THIRD {
        home.tree().trash(&computer(), &path(&name(number))).unwrap();
    }
    for number in THIRD..2 * THIRD {
        encrypt(home, &name(number));
    }
    for number in 2 * THIRD..MANY {
        let file = home.at("a", &name(number));
        fs::write(file.with_extension("locked"), format!("locked {number}")).unwrap();
        fs::remove_file(file).unwrap();
    }
    home.rescanned();
    home.mirrored();
}

#[test]
fn everything_is_put_back_as_it_was() {
    let mut home = many();
    let before = (tree_of_a(&home), home.pool.receipt(&name(3)).unwrap().unwrap());
    struck(&mut home);
    let page = home.pool.changes(None, 7).unwrap();
    let summary = page.summary.unwrap();
    assert_eq!((summary.vanished, summary.changed, summary.deleted), (11, 11, 11));
    let mut lines = page.lines;
    let mut next = page.next;
    while let Some(at) = next {
        let page = home.pool.changes(Some(at), 7).unwrap();
        assert!(page.lines.len() <= 7);
        lines.extend(page.lines);
        next = page.next;
    }
    let mut names: Vec<&str> = lines.iter().map(|line| line.path.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, (0..MANY).map(name).collect::<Vec<_>>());

    let answered = put_it_back(&home, &[]);
    assert_eq!((answered.done, answered.failed, answered.open), (MANY as u64, 0, false), "{answered:?}");
    let after: Vec<_> = tree_of_a(&home).into_iter().filter(|(name, ..)| !name.ends_with("locked")).collect();
    assert_eq!(after, before.0, "names, bytes and dates");
    let receipt = home.pool.receipt(&name(3)).unwrap().unwrap();
    assert_eq!((receipt.received_at, &receipt.names), (before.1.received_at, &before.1.names));
    assert_eq!(
        count(&home, "a", ".shoebox/trash", b"pay us, or else!"),
        THIRD,
        "what was there is in the trash"
    );
    assert_eq!(home.rescanned().missing, 0);
    let inode = |home: &Furnished| fs::metadata(home.at("b", &name(15))).unwrap().ino();
    let on_b = inode(&home);
    for _ in 0..3 {
        home.mirrored();
        home.pass(30);
    }
    b_is_untouched(&home);
    assert_eq!(inode(&home), on_b, "B's files stay what they are, and nothing is copied for it");
    for number in 0..MANY {
        assert_eq!(home.state(&name(number), "b"), "verified", "{number}");
    }
    assert_eq!(findings(&home), []);
    assert_eq!(put_it_back(&home, &[]).done, 0, "once is enough");
    // The answer is on record: a catalogue made anew asks no more.
    let home = home.away();
    for end in ["", "-wal"] {
        drop(fs::remove_file(home.mount("a").join(format!(".shoebox/catalogue.db{end}"))));
    }
    let home = home.restarted();
    assert_eq!((home.rescanned().missing, findings(&home)), (0, Vec::new()));
}

#[test]
fn one_folder_is_put_back_and_the_rest_still_waits() {
    let mut home = many();
    struck(&mut home);
    let answered = put_it_back(&home, &[&name(12), &name(25)]);
    assert_eq!((answered.done, answered.open), (2, true));
    assert_eq!(fs::read(home.at("a", &name(12))).unwrap(), bytes(12));
    assert_eq!(fs::read(home.at("a", &name(25))).unwrap(), bytes(25));
    assert_eq!(fs::read(home.at("a", &name(13))).unwrap(), b"pay us, or else!");
    // Broken off and begun once more: what is as it was is passed over, what was there in between is no photo of before.
    let answered = put_it_back(&home, &[]);
    assert_eq!((answered.done, answered.already, answered.open), (MANY as u64 - 2, 1, false), "{answered:?}");
    for number in 0..MANY {
        assert_eq!(fs::read(home.at("a", &name(number))).unwrap(), bytes(number), "{number}");
    }
}

#[test]
fn what_b_no_longer_has_is_said_and_the_question_stays() {
    let mut home = many();
    struck(&mut home);
    // One bad copy on B, one gone: nothing is made of either.
    fs::write(home.at("b", &name(12)), b"photo number 9?").unwrap();
    fs::remove_file(home.at("b", &name(22))).unwrap();
    let answered = put_it_back(&home, &[]);
    assert_eq!((answered.done, answered.failed, answered.open), (MANY as u64 - 2, 2, true), "{answered:?}");
    assert_eq!(
        fs::read(home.at("a", &name(12))).unwrap(),
        b"pay us, or else!",
        "no bad bytes for other bad ones"
    );
    assert!(!home.at("a", &name(22)).exists());
    home.mirrored();
    assert_eq!(home.pool.it_was_me(&[], None, &mut |_| ()).unwrap().done, 1);
    assert_eq!(findings(&home), []);
}

#[test]
fn what_spoiled_in_the_trash_of_a_comes_back_from_b() {
    let home = many();
    home.tree().trash(&computer(), &path("anna/album")).unwrap();
    let spoiled =
        Command::new("find").arg(home.mount("a").join(".shoebox/trash")).args(["-name", "007.jpg"]).output();
    let spoiled = String::from_utf8(spoiled.unwrap().stdout).unwrap();
    fs::write(spoiled.trim(), b"photo number ?").unwrap();
    let answered = put_it_back(&home, &[]);
    assert_eq!((answered.done, answered.failed), (MANY as u64, 0), "{answered:?}");
    for number in 0..MANY {
        assert_eq!(fs::read(home.at("a", &name(number))).unwrap(), bytes(number), "{number}");
    }
    assert_eq!(fs::read(spoiled.trim()).unwrap(), b"photo number ?", "it is left as it is");
}

#[test]
fn it_was_me_lets_it_through_in_its_time() {
    let mut home = many();
    struck(&mut home);
    b_is_untouched(&home);
    let answered = home.pool.it_was_me(&[], None, &mut |_| ()).unwrap();
    assert_eq!((answered.done, answered.open), (THIRD as u64, false));
    home.mirrored();
    for number in THIRD..2 * THIRD {
        assert_eq!(fs::read(home.at("b", &name(number))).unwrap(), b"pay us, or else!");
        assert_eq!(count(&home, "b", ".shoebox/trash", &bytes(number)), 1, "the old version is kept");
    }
    for number in (0..THIRD).chain(2 * THIRD..MANY) {
        assert_eq!(fs::read(home.at("b", &name(number))).unwrap(), bytes(number), "not before its time");
    }
    home.pass(25);
    home.mirrored();
    for number in (0..THIRD).chain(2 * THIRD..MANY) {
        assert!(!home.at("b", &name(number)).exists(), "{number}");
        assert_eq!(count(&home, "b", ".shoebox/trash", &bytes(number)), 1, "{number}");
    }
    assert_eq!((home.rescanned().missing, findings(&home)), (0, Vec::new()));
    // The next time it is asked again, before anything goes.
    let home = home.restarted();
    assert_eq!(findings(&home), []);
}

/// An answer is for what was shown, and for nothing that came since.
#[test]
fn what_changed_after_it_was_shown_is_not_answered_for() {
    let mut home = many();
    struck(&mut home);
    let shown = |home: &Furnished| home.pool.changes(None, 1).unwrap().question;
    let seen = shown(&home);
    assert_eq!(seen, shown(&home), "it is the same as long as nothing changes");
    fs::remove_file(home.at("a", &name(THIRD))).unwrap();
    home.rescanned();
    assert!(matches!(home.pool.it_was_me(&[], Some(&seen), &mut |_| ()), Err(Refusal::Changed)));
    assert_eq!(findings(&home).len(), 1, "nothing is answered by that");
    b_is_untouched(&home);
    let seen = shown(&home);
    assert!(!home.pool.it_was_me(&[], Some(&seen), &mut |_| ()).unwrap().open);
}

/// What B let go while it was the copy was answered for: as the main drive it does not ask again.
#[test]
fn a_promoted_copy_asks_nothing_about_what_was_answered() {
    let mut home = many();
    struck(&mut home);
    home.pool.it_was_me(&[], None, &mut |_| ()).unwrap();
    home.mirrored();
    home.pass(25);
    home.mirrored();
    let b = home.id("b");
    let a = home.mount("a");
    fs::rename(&a, a.with_extension("gone")).unwrap();
    fs::create_dir(&a).unwrap();
    home.watch("a");
    home.watch("a");
    home.pool.promote(b, true).unwrap();
    assert_eq!((home.rescanned().missing, findings(&home)), (0, Vec::new()));
    for number in THIRD..2 * THIRD {
        assert_eq!(fs::read(home.at("b", &name(number))).unwrap(), b"pay us, or else!");
    }
}

#[test]
fn a_few_files_that_vanished_can_be_answered_for_one_by_one() {
    let mut home = many();
    for number in 0..3 {
        fs::remove_file(home.at("a", &name(number))).unwrap();
    }
    home.rescanned();
    let page = home.pool.changes(None, 10).unwrap();
    assert_eq!((page.summary, page.missing, page.lines.len()), (None, 3, 3));
    assert_eq!(put_it_back(&home, &[&name(0)]).done, 1);
    assert_eq!((home.state(&name(0), "a"), home.state(&name(1), "a")), ("settled", "missing"));
    assert_eq!(home.pool.it_was_me(&[path(&name(1))], None, &mut |_| ()).unwrap().done, 1);
    assert_eq!(home.state(&name(1), "a"), "none");
    assert_eq!(put_it_back(&home, &[]).done, 1);
    home.pass(25);
    home.mirrored();
    assert!(!home.at("b", &name(1)).exists() && home.at("b", &name(2)).exists());
    for number in [0, 2] {
        assert_eq!(fs::read(home.at("a", &name(number))).unwrap(), bytes(number));
    }
}

#[test]
fn a_mass_deletion_is_held_until_the_answer_however_long_it_waits() {
    let mut home = many();
    home.tree().trash(&computer(), &path("anna/album")).unwrap();
    home.pass(24 * 60);
    home.put("anna/x.jpg", b"x");
    home.mirrored();
    b_is_untouched(&home);
    assert_eq!(findings(&home), [(0, 0, MANY as u64)]);
    let options = home.pool.options();
    assert_eq!(options.delete_delay, SignedDuration::from_hours(24));
}
